//! Servers that mean harm, machines that are short of memory, terminals that are not there.

use std::process::Command;

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

/// The tool in a shell that has taken something away first.
fn in_shell(machine: &Machine, first: &str, line: &[&str]) -> Command {
    let tool = machine.command(line);
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{first}; exec \"$@\""), "sh"])
        .arg(tool.get_program())
        .args(tool.get_args())
        .current_dir(machine.home())
        .env_clear()
        .envs(
            tool.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
    command
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
    let output = in_shell(&machine, "ulimit -v 1000000", &line)
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
        let output = in_shell(&machine, &format!("umask {umask}"), &line)
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
        let output = in_shell(&machine, &format!("umask {umask}"), &pull)
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

#[cfg(unix)]
#[test]
fn a_password_comes_from_a_descriptor() {
    let museum = ada(|_| {});
    let machine = machine();
    let line = line(&museum, &["--password-fd", "3"]);
    let file = machine.home().join("a file");
    std::fs::write(&file, ADAS_PASSWORD).unwrap();
    let output = in_shell(&machine, "exec 3< 'a file'", &line)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_signed_in(&machine, &museum);
}
