//! Second factors: the authenticator's code, the passkey, either.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use ente_tests::library::Passkey;
use ente_tests::museum::{Clock, Options};

use super::*;

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// What the authenticator shows.
fn totp_code(museum: &Museum) -> String {
    let now_s = museum.clock().now_s();
    museum.with_library(|library| library.account().totp_code(now_s))
}

/// Types the password.
fn past_the_password(machine: &Machine, museum: &Museum, arguments: &[&str]) -> Terminal {
    let mut terminal = at_terminal(machine, museum, arguments);
    terminal.wait_for("password of ").type_line(ADAS_PASSWORD);
    terminal
}

#[test]
fn a_wrong_code_is_asked_for_again() {
    let museum = ada(|account| account.totp_enabled = true);
    let machine = machine();
    let mut terminal = past_the_password(&machine, &museum, &[]);
    terminal
        .wait_for("code of the authenticator for ada@example.org: ")
        .type_line("12345");
    terminal.wait_for("a code has six digits");
    let code = totp_code(&museum);
    let wrong = if code == "000000" { "000001" } else { "000000" };
    terminal
        .wait_for("code of the authenticator")
        .type_line(wrong);
    terminal.wait_for("the code is wrong or was used before");
    let code = totp_code(&museum);
    terminal
        .wait_for("code of the authenticator")
        .type_line(&code);
    let _ = terminal.end().expect(0);
    assert_eq!(calls(&museum, "/srp/create-session"), 1);
    assert_eq!(calls(&museum, "/two-factor/verify"), 2);
    assert_signed_in(&machine, &museum);
}

#[test]
fn a_code_that_comes_too_late_starts_again_without_the_password() {
    let options = Options {
        clock: Clock::fixed(now_s()),
        ..Options::default()
    };
    let museum = ada_with(options, |account| account.totp_enabled = true);
    let machine = machine();
    let mut terminal = past_the_password(&machine, &museum, &[]);
    terminal.wait_for("code of the authenticator");
    museum.clock().advance(Duration::from_secs(600));
    terminal.type_line(&totp_code(&museum));
    terminal
        .wait_for("starting again")
        .wait_for("code of the authenticator");
    let code = totp_code(&museum);
    terminal.type_line(&code);
    let outcome = terminal.end().expect(0);
    assert_eq!(outcome.stderr.matches("password of").count(), 1);
    assert_signed_in(&machine, &museum);
}

#[test]
fn ten_wrong_codes_close_the_session() {
    for (fault, cause) in [
        (Fault::Status(429), "there were too many wrong codes"),
        (too_fast(), "there were too many calls"),
    ] {
        let museum = ada(|account| account.totp_enabled = true);
        museum.inject(Match::api().path("/two-factor/verify"), fault, None);
        let arguments = ["--password-file", "-", "--otp", "123456"];
        let outcome = machine()
            .run_with(&line(&museum, &arguments), ADAS_PASSWORD)
            .expect(12);
        let said = format!("cause: {cause}\n");
        assert!(outcome.stderr.contains(&said), "{}", outcome.stderr);
        assert_eq!(calls(&museum, "/two-factor/verify"), 1);
    }
}

#[test]
fn without_a_terminal_the_options_for_a_code_are_named() {
    let museum = ada(|account| account.totp_enabled = true);
    let outcome = machine()
        .run_with(&line(&museum, &["--password-file", "-"]), ADAS_PASSWORD)
        .expect(2);
    assert!(
        outcome
            .stderr
            .contains("hint: give the code with `--otp CODE` or `--totp-secret-file FILE`")
    );
}

/// RFC 4648 base32 of a secret whose length is a multiple of five.
fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let groups = bits.as_bytes().chunks(5);
    groups
        .map(|group| {
            let number = group
                .iter()
                .fold(0, |number, bit| number * 2 + usize::from(bit - b'0'));
            char::from(ALPHABET[number])
        })
        .collect()
}

#[test]
fn codes_are_made_from_a_secret() {
    let museum = ada(|account| account.totp_enabled = true);
    let machine = machine();
    let secret = museum.with_library(|library| base32(&library.account().totp_secret));
    let file = machine.home().join("totp");
    fs::write(&file, format!("{secret}\n")).unwrap();
    let path = file.to_str().unwrap();
    let arguments = ["--password-file", "-", "--totp-secret-file", path];
    let _ = machine
        .run_with(&line(&museum, &arguments), ADAS_PASSWORD)
        .expect(0);
    assert_signed_in(&machine, &museum);

    fs::write(&file, "123456").unwrap();
    let outcome = machine
        .run_with(&line(&museum, &arguments), ADAS_PASSWORD)
        .expect(1);
    assert!(outcome.stderr.contains("holds no authenticator secret"));
}

/// Half a second before an authenticator's next code.
const JUST_BEFORE_S: i64 = 1_700_000_009;

#[test]
fn a_second_sign_in_in_the_same_half_minute_waits_for_the_next_code() {
    use clap::Parser as _;
    use ente_common::cli::{Interrupt, Io, Tool as _};
    use ente_common::record::Writer;
    use ente_common::ui::Ui;

    let options = Options {
        clock: Clock::fixed(JUST_BEFORE_S),
        ..Options::default()
    };
    let museum = ada_with(options, |account| account.totp_enabled = true);
    let machine = machine();
    let file = machine.home().join("totp");
    let secret = museum.with_library(|library| base32(&library.account().totp_secret));
    fs::write(&file, secret).unwrap();
    let config = machine.config();
    let arguments = [
        "--keystore",
        config.to_str().unwrap(),
        "--password-command",
        "echo 'correct horse'",
        "--totp-secret-file",
        file.to_str().unwrap(),
    ];
    // In this process, where the clock can be chosen.
    let args = ente_login::Args::try_parse_from(line(&museum, &arguments)).unwrap();
    let mut io = Io {
        input: Box::new(std::io::empty()),
        records: Writer::new(None),
        output: Box::new(std::io::sink()),
        ui: Ui::capture("ente-login"),
        interrupt: Interrupt::default(),
        clock: || JUST_BEFORE_S * 1_000_000 + 990_000,
    };
    for codes in [1, 3] {
        args.run(&mut io).unwrap();
        // The first code of the second run was used by the first run.
        assert_eq!(calls(&museum, "/two-factor/verify"), codes);
    }
}

#[test]
fn a_passkey_is_used_in_a_browser_and_waited_for() {
    let museum = ada(|account| account.passkey = Passkey::Asks);
    let machine = machine();
    let mut terminal = past_the_password(&machine, &museum, &[]);
    terminal.wait_for("open this page and use the passkey: https://accounts.example.org/passkeys/verify?clientPackage=io.ente.photos&passkeySessionID=");
    terminal.wait_for("press Enter when the browser is done");
    terminal.type_line("");
    terminal.wait_for("press Enter when the browser is done");
    museum.pass_passkey();
    terminal.type_line("");
    let _ = terminal.end().expect(0);
    assert_signed_in(&machine, &museum);
}

#[test]
fn the_address_that_a_browser_cannot_open_can_be_pasted() {
    let museum = ada(|account| account.passkey = Passkey::Asks);
    // Asking the server leads nowhere here, however often it is asked meanwhile: only what is pasted does.
    museum.inject(
        Match::api().path("/get-token"),
        typed(400, "SESSION_NOT_VERIFIED"),
        None,
    );
    let machine = machine();
    let mut terminal = past_the_password(&machine, &museum, &[]);
    terminal
        .wait_for("paste the address")
        .type_line("https://accounts.example.org/");
    terminal.wait_for("this is not the address that the page ends at");
    terminal.wait_for("paste the address");
    let address = museum.pass_passkey();
    terminal.type_line(&address);
    let _ = terminal.end().expect(0);
    assert_signed_in(&machine, &museum);
}

#[test]
fn who_keeps_pressing_enter_is_not_shut_out_by_the_server() {
    let options = Options {
        sign_in_calls_per_minute: Some(10),
        ..Options::default()
    };
    let museum = ada_with(options, |account| account.passkey = Passkey::Asks);
    let machine = machine();
    let mut terminal = past_the_password(&machine, &museum, &[]);
    for _ in 0..25 {
        terminal
            .wait_for("press Enter when the browser is done")
            .type_line("");
    }
    terminal.wait_for("press Enter when the browser is done");
    let asked = calls(&museum, "/get-token");
    assert!((2..=9).contains(&asked), "{asked} times");
    terminal.press("\u{3}");
    let outcome = terminal.end().expect(130);
    assert!(!outcome.stderr.contains("too many"), "{}", outcome.stderr);
}

#[test]
fn a_passkey_that_comes_too_late_starts_again() {
    for gone in [Fault::Status(404), typed(410, "INVALID_SESSION")] {
        let museum = ada(|account| account.passkey = Passkey::Asks);
        let machine = machine();
        museum.inject(Match::api().path("/get-token"), gone, Some(1));
        let mut terminal = past_the_password(&machine, &museum, &[]);
        terminal.wait_for("starting again").wait_for("press Enter");
        museum.pass_passkey();
        terminal.type_line("");
        let outcome = terminal.end().expect(0);
        assert_eq!(outcome.stderr.matches("password of").count(), 1);
        assert_eq!(outcome.stderr.matches("open this page").count(), 2);
        assert_signed_in(&machine, &museum);
    }
}

#[test]
fn a_desktop_opens_the_page_by_itself() {
    let museum = ada(|account| account.passkey = Passkey::Approves);
    let machine = machine();
    let (bin, opened) = (machine.home().join("bin"), machine.home().join("opened"));
    fs::create_dir(&bin).unwrap();
    let script = bin.join("xdg-open");
    fs::write(
        &script,
        format!(
            "#!/bin/sh\necho \"$1\" > '{}.new'\nmv '{0}.new' '{0}'\n",
            opened.display()
        ),
    )
    .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    for display in [None, Some(":0")] {
        let mut command = machine.command(&line(
            &museum,
            &["--password-command", "echo 'correct horse'"],
        ));
        command.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
        if let Some(display) = display {
            command.env("DISPLAY", display);
        }
        let output = command.output().unwrap();
        let shown = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{shown}");
        assert!(shown.contains("open this page and use the passkey: https://"));
        if display.is_none() {
            assert!(!opened.exists());
            continue;
        }
        // Opened by a process of its own, which need not be done yet.
        while !opened.exists() {
            std::thread::yield_now();
        }
        let page = fs::read_to_string(&opened).unwrap();
        assert!(shown.contains(page.trim()), "{page}\n{shown}");
    }
    assert_signed_in(&machine, &museum);
}

#[test]
fn a_passkey_without_a_page_is_no_answer() {
    let museum = ada(|account| account.srp_set_up = false);
    let body = r#"{"id":1,"passkeySessionID":"s","accountsUrl":"file:///etc"}"#.to_owned();
    let answer = Fault::Answer {
        status: 200,
        content_type: "application/json",
        body,
    };
    museum.inject(Match::api().path("/verify-email"), answer, None);
    let outcome = machine()
        .run(&line(
            &museum,
            &["--email-code", "1", "--password-command", "echo x"],
        ))
        .expect(1);
    assert!(
        outcome
            .stderr
            .contains("it asks for a passkey and names no page for it")
    );
}

#[test]
fn where_both_would_do_the_person_chooses() {
    for uses_passkey in [true, false] {
        let museum = ada(|account| {
            account.totp_enabled = true;
            account.passkey = Passkey::Approves;
        });
        let machine = machine();
        let mut terminal = past_the_password(&machine, &museum, &[]);
        terminal
            .wait_for("code of the authenticator for ada@example.org, or Enter for the passkey: ");
        let code = totp_code(&museum);
        terminal.type_line(if uses_passkey { "" } else { &code });
        let _ = terminal.end().expect(0);
        assert_eq!(calls(&museum, "/get-token"), usize::from(uses_passkey));
        assert_signed_in(&machine, &museum);
    }
    // And without a terminal an option does.
    let museum = ada(|account| {
        account.totp_enabled = true;
        account.passkey = Passkey::Approves;
    });
    let machine = machine();
    let arguments = ["--password-file", "-", "--passkey"];
    let _ = machine
        .run_with(&line(&museum, &arguments), ADAS_PASSWORD)
        .expect(0);
    assert_signed_in(&machine, &museum);
}
