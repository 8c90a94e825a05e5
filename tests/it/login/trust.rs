//! Servers that mean harm, machines that are short of memory, terminals that are not there.

use super::*;

/// Signs in with the password on standard input.
fn sign_in(museum: &Museum) -> Outcome {
    machine().run_with(
        &line(museum, &["--password-file", "-", "--retries", "0"]),
        ADAS_PASSWORD,
    )
}

#[test]
fn an_absurd_cost_is_refused_before_the_password_is_asked_for() {
    for (memory, passes) in [(1_u64 << 40, 1), (1 << 30, 1 << 20), (1024, 1)] {
        let museum = ada(|account| {
            account.key_attributes["memLimit"] = memory.into();
            account.key_attributes["opsLimit"] = passes.into();
        });
        let outcome = machine().run(&line(&museum, &[])).expect(1);
        let cause =
            format!("cause: {memory} bytes of memory and {passes} passes are outside the limits");
        assert!(outcome.stderr.contains(&cause), "{}", outcome.stderr);
        assert_eq!(calls(&museum, "/create-session"), 0);
    }
}

#[test]
fn wrong_keys_and_malformed_tokens_are_refused_by_name() {
    let museum = ada(|account| {
        let other = account.key_attributes["kekSalt"].clone();
        account.key_attributes["publicKey"] = other;
    });
    let outcome = sign_in(&museum).expect(1);
    assert!(
        outcome
            .stderr
            .contains("cause: the public key of the account is damaged")
    );

    let museum = ada(|_| {});
    let attributes = museum.with_library(|library| library.account().key_attributes.clone());
    let answer = serde_json::json!({"id": 1, "keyAttributes": attributes, "encryptedToken": base64(&[7; 80])});
    let fault = Fault::Answer {
        status: 200,
        content_type: "application/json",
        body: answer.to_string(),
    };
    museum.inject(Match::api().path("/verify-email"), fault, None);
    let line = line(
        &museum,
        &["--email-code", "123456", "--recovery-key-file", "-"],
    );
    let words = museum.with_library(|library| hex::encode(library.account().recovery_key));
    let outcome = machine().run_with(&line, &words).expect(1);
    assert!(
        outcome
            .stderr
            .contains("cause: the session token of the account is damaged")
    );
}

#[test]
fn bodies_without_end_and_without_sense_are_refused() {
    for (fault, exit, said) in [
        (Fault::Endless, 1, "is too large"),
        (
            Fault::Answer {
                status: 200,
                content_type: "text/html",
                body: "<p>Please log in to the network".to_owned(),
            },
            1,
            "no JSON but a web page",
        ),
        (
            Fault::Answer {
                status: 200,
                content_type: "application/json",
                body: "[[[[[[".to_owned(),
            },
            1,
            "no JSON of the expected form",
        ),
    ] {
        for path in ["/srp/attributes", "/create-session", "/verify-session"] {
            let museum = ada(|_| {});
            museum.inject(Match::api().path(path), fault.clone(), None);
            let outcome = sign_in(&museum).expect(exit);
            assert!(outcome.stderr.contains(said), "{path}: {}", outcome.stderr);
        }
    }
}

#[test]
fn a_server_behind_a_path_is_used_with_it() {
    let museum = ada(|_| {});
    let machine = machine();
    let endpoint = format!("{}/behind/a/proxy/", museum.api_url());
    let line = [
        "ente-login",
        "--endpoint",
        &endpoint,
        "--password-file",
        "-",
        ADA,
    ];
    let _ = machine.run_with(&line, ADAS_PASSWORD).expect(0);
    assert_signed_in(&machine, &museum);
    let requests = museum.requests();
    assert!(
        requests
            .iter()
            .all(|request| request.path.starts_with("/behind/a/proxy/"))
    );
}

#[cfg(target_os = "linux")]
#[test]
fn memory_that_cannot_be_had_is_told_and_what_to_do() {
    let museum = ada(|account| {
        account.key_attributes["memLimit"] = (1_u64 << 30).into();
        account.key_attributes["opsLimit"] = 4.into();
    });
    let machine = machine();
    let line = line(&museum, &["--password-command", "echo correct horse"]);
    let output = machine
        .in_shell("ulimit -v 1000000", &line)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("cause: 1073741824 bytes of memory are needed and cannot be had"),
        "{said}"
    );
    assert!(
        said.contains("hint: sign in on a machine with more memory"),
        "{said}"
    );
}

#[cfg(unix)]
#[test]
fn whatever_the_umask_credentials_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let museum = ada(|_| {});
    for umask in ["0000", "0022", "0077"] {
        let machine = machine();
        let line = line(&museum, &["--password-command", "echo correct horse"]);
        let output = machine
            .in_shell(&format!("umask {umask}"), &line)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{umask}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let folder = machine.config().join(ADA);
        let modes = [
            (machine.config(), 0o700),
            (folder.clone(), 0o700),
            (folder.join("token"), 0o600),
            (folder.join("keys"), 0o600),
        ];
        for (path, mode) in modes {
            let found = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(found, mode, "{umask}: {}", path.display());
        }
        let pull = ["ente-pull", machine.dir()];
        let output = machine
            .in_shell(&format!("umask {umask}"), &pull)
            .output()
            .unwrap();
        assert!(output.status.success());
        let state = std::fs::metadata(machine.export.join(".ente")).unwrap();
        assert_eq!(state.permissions().mode() & 0o777, 0o700, "{umask}");
    }
}

#[test]
fn questions_reach_the_terminal_though_all_streams_lead_elsewhere() {
    let museum = ada(|account| account.totp_enabled = true);
    let machine = machine();
    let mut terminal = machine.at_terminal_redirected(&line(&museum, &[]));
    terminal
        .wait_for("ente-login: password of ada@example.org: ")
        .type_line(ADAS_PASSWORD);
    terminal.wait_for("code of the authenticator");
    let now_s = museum.clock().now_s();
    let code = museum.with_library(|library| library.account().totp_code(now_s));
    terminal.type_line(&code);
    let _ = terminal.end().expect(0);
    assert_signed_in(&machine, &museum);
}

#[test]
fn without_a_terminal_the_options_for_a_password_are_named() {
    let museum = ada(|_| {});
    let outcome = machine().run(&line(&museum, &[])).expect(2);
    assert!(outcome.stderr.contains("there is no terminal to ask on"));
    assert!(
        outcome
            .stderr
            .contains("`--password-file FILE`, `--password-fd N` or `--password-command COMMAND`")
    );
}

#[test]
fn a_question_is_left_by_ctrl_c_and_by_the_end_of_input() {
    let museum = ada(|_| {});
    for (key, exit) in [("\u{3}", 130), ("\u{4}", 12)] {
        let machine = machine();
        let mut terminal = at_terminal(&machine, &museum, &[]);
        terminal.wait_for("password of ").press(key);
        let _ = terminal.end().expect(exit);
        assert_not_signed_in(&machine);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_work_on_the_password_is_shown() {
    use std::io::Read as _;

    use pty_process::blocking::{Command, open};

    let museum = ada(|_| {});
    let machine = machine();
    let line = line(&museum, &["--password-command", "echo 'correct horse'"]);
    let (mut screen, terminal) = open().unwrap();
    // One that can draw.
    let command = Command::from(machine.command(&line)).env("TERM", "xterm");
    let mut child = command.spawn(terminal).unwrap();
    let (mut shown, mut buffer) = (Vec::new(), [0; 4096]);
    // An error is how the end of a terminal looks.
    while let Ok(length @ 1..) = screen.read(&mut buffer) {
        shown.extend_from_slice(&buffer[..length]);
    }
    assert!(child.wait().unwrap().success());
    let shown = String::from_utf8_lossy(&shown);
    assert!(
        shown.contains("ente-login: working out the keys (") && shown.contains(" passes)"),
        "{shown}"
    );
}

#[test]
fn keys_without_a_token_are_no_answer() {
    let museum = ada(|account| account.email_mfa = true);
    let attributes = museum.with_library(|library| library.account().key_attributes.clone());
    let answer = serde_json::json!({"id": 1, "keyAttributes": attributes});
    let fault = Fault::Answer {
        status: 200,
        content_type: "application/json",
        body: answer.to_string(),
    };
    museum.inject(Match::api().path("/verify-email"), fault, None);
    let arguments = ["--password-file", "-", "--email-code", "123456"];
    let outcome = machine()
        .run_with(&line(&museum, &arguments), ADAS_PASSWORD)
        .expect(1);
    let said = "error: the server's answer makes no sense\n  cause: it holds keys and no token";
    assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
}

#[test]
fn a_sign_in_that_cannot_be_confirmed_just_now_is_kept() {
    for fault in [
        Fault::Status(503),
        Fault::Status(429),
        Fault::Cut { after: 3 },
    ] {
        let museum = ada(|_| {});
        let machine = machine();
        museum.inject(Match::api().path("/session-validity"), fault, Some(1));
        let arguments = ["--password-file", "-", "--retries", "0"];
        let outcome = machine
            .run_with(&line(&museum, &arguments), ADAS_PASSWORD)
            .expect(0);
        let said = "warning: the server could not confirm the new session just now";
        assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
        assert_signed_in(&machine, &museum);
    }
}

#[test]
fn a_token_for_plain_http_is_used_with_consent_only() {
    let token = r#"{"format":1,"seal":"none","account":{"endpoint":"http://192.0.2.1","app":"photos","user_id":1,"email":"ada@example.org"},"token":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="}"#;
    let machine = machine();
    let import = ["ente-login", "--import", "-"];
    let outcome = machine.run_with(&import, token).expect(2);
    assert!(
        outcome
            .stderr
            .contains("hint: use `https`, or `--insecure-http`")
    );
    let consent = [&import[..], &["--insecure-http"]].concat();
    let _ = machine.run_with(&consent, token).expect(0);
    let patience = ["--timeout", "0.05", "--retries", "0"];
    for (line, refused) in [
        (&["ente-login", "--check"][..], 2),
        (&["ente-pull", machine.dir()], 2),
        (&["ente-login", "--logout"], 2),
    ] {
        let outcome = machine.run(&[line, &patience].concat()).expect(refused);
        let said = outcome.stdout + &outcome.stderr;
        assert!(said.contains("`http://192.0.2.1` is plain http"), "{said}");
        assert!(said.contains("--insecure-http"), "{said}");
    }
    // With consent it is tried; nobody answers there.
    let check = ["ente-login", "--check", "--insecure-http"];
    let outcome = machine.run(&[&check[..], &patience].concat()).expect(13);
    assert!(!outcome.stdout.contains("plain http"), "{}", outcome.stdout);
}
