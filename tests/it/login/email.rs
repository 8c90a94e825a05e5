//! Codes by e-mail.

use std::time::Duration;

use ente_tests::museum::{Clock, Fault, Match, Options};

use super::*;

/// Waits at the prompt for a code, and reads the newest e-mail.
fn newest_code(terminal: &mut Terminal, museum: &Museum) -> String {
    terminal.wait_for("code from the e-mail to ada@example.org: ");
    museum.mailbox(ADA).pop().expect("an e-mail was sent")
}

#[test]
fn accounts_without_srp_and_careful_ones_are_sent_a_code() {
    for change in [
        |account: &mut Account| account.srp_set_up = false,
        |account: &mut Account| account.email_mfa = true,
    ] {
        let museum = ada(change);
        let machine = machine();
        let mut terminal = at_terminal(&machine, &museum, &[]);
        let code = newest_code(&mut terminal, &museum);
        terminal.type_line(&format!("{} {}", &code[..3], &code[3..]));
        terminal.wait_for("password of ").type_line(ADAS_PASSWORD);
        let _ = terminal.end().expect(0);
        assert_eq!(calls(&museum, "/srp/create-session"), 0);
        assert_eq!(museum.mailbox(ADA).len(), 1);
        assert_signed_in(&machine, &museum);
    }
}

#[test]
fn a_password_typed_before_the_server_asks_for_a_code_is_not_asked_for_again() {
    let museum = ada(|_| {});
    let machine = machine();
    let refuses = typed(409, "EMAIL_MFA_ENABLED");
    museum.inject(Match::api().path("/create-session"), refuses, None);
    let mut terminal = at_terminal(&machine, &museum, &[]);
    terminal.wait_for("password of ").type_line(ADAS_PASSWORD);
    let code = newest_code(&mut terminal, &museum);
    terminal.type_line(&code);
    let outcome = terminal.end().expect(0);
    assert_eq!(outcome.stderr.matches("password of").count(), 1);
    assert_signed_in(&machine, &museum);
}

#[test]
fn wrong_codes_and_passwords_are_asked_for_again() {
    let museum = ada(|account| account.email_mfa = true);
    let machine = machine();
    let mut terminal = at_terminal(&machine, &museum, &[]);
    let code = newest_code(&mut terminal, &museum);
    let wrong = if code == "000000" { "000001" } else { "000000" };
    terminal.type_line(wrong);
    terminal.wait_for("the code from the e-mail is wrong");
    newest_code(&mut terminal, &museum);
    terminal.type_line(&code);
    terminal.wait_for("password of ").type_line("wrong");
    terminal.wait_for("the password does not match this account");
    terminal.wait_for("password of ").type_line(ADAS_PASSWORD);
    let _ = terminal.end().expect(0);
    assert_eq!(museum.mailbox(ADA).len(), 1, "one e-mail is enough");
    assert_eq!(calls(&museum, "/verify-email"), 2);
    assert_signed_in(&machine, &museum);
}

#[test]
fn what_cannot_be_a_code_is_asked_for_again_and_not_sent() {
    let museum = ada(|account| account.email_mfa = true);
    let machine = machine();
    let mut terminal = at_terminal(&machine, &museum, &[]);
    for typed in ["", "  ", "nonsense", "12345", "1234567"] {
        newest_code(&mut terminal, &museum);
        terminal.type_line(typed);
        terminal.wait_for("a code has six digits");
    }
    let code = newest_code(&mut terminal, &museum);
    terminal.type_line(&code);
    terminal.wait_for("password of ").type_line(ADAS_PASSWORD);
    let _ = terminal.end().expect(0);
    assert_eq!(calls(&museum, "/verify-email"), 1);
    assert_signed_in(&machine, &museum);
}

#[test]
fn a_code_that_was_never_sent_leads_to_the_address() {
    let options = Options {
        invents_attributes: true,
        ..Options::default()
    };
    let museum = ada_with(options, |_| {});
    let machine = machine();
    let key = "22".repeat(32);
    let command = format!("echo {key}");
    let mut terminal = machine.at_terminal(&[
        "ente-login",
        "--endpoint",
        museum.api_url(),
        "--recovery-key-command",
        &command,
        "eve@example.org",
    ]);
    for _ in 0..2 {
        let question = "code from the e-mail to eve@example.org: ";
        terminal.wait_for(question).type_line("123456");
        terminal.wait_for("used before, has expired or was never sent");
    }
    let outcome = terminal.end().expect(12);
    assert!(
        outcome.stderr.contains("hint: check the address"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_code_that_has_expired_is_replaced() {
    let options = Options {
        clock: Clock::fixed(1_700_000_000),
        ..Options::default()
    };
    let museum = ada_with(options, |account| account.email_mfa = true);
    let machine = machine();
    let mut terminal = at_terminal(&machine, &museum, &[]);
    let late = newest_code(&mut terminal, &museum);
    museum.clock().advance(Duration::from_secs(3600));
    terminal.type_line(&late);
    terminal.wait_for("another one is on its way");
    let code = newest_code(&mut terminal, &museum);
    terminal.type_line(&code);
    terminal.wait_for("password of ").type_line(ADAS_PASSWORD);
    let _ = terminal.end().expect(0);
    assert_signed_in(&machine, &museum);
}

#[test]
fn without_a_terminal_the_code_comes_with_a_second_run() {
    let museum = ada(|account| account.email_mfa = true);
    let machine = machine();
    let with_password = ["--password-command", "echo 'correct horse'"];
    let outcome = machine.run(&line(&museum, &with_password)).expect(2);
    assert!(
        outcome
            .stderr
            .contains("hint: run it again with `--email-code CODE`")
    );
    let code = museum.mailbox(ADA).pop().unwrap();
    let with_code = [&with_password[..], &["--email-code", &code]].concat();
    let _ = machine.run(&line(&museum, &with_code)).expect(0);
    assert_eq!(museum.mailbox(ADA).len(), 1);
    assert_signed_in(&machine, &museum);

    // It worked once.
    let outcome = machine.run(&line(&museum, &with_code)).expect(12);
    assert!(
        outcome
            .stderr
            .contains("the code was used before or has expired")
    );
    assert!(outcome.stderr.contains("without `--email-code`"));
}

#[test]
fn addresses_without_an_account_or_without_keys_come_to_a_clear_end() {
    let museum = ada(|account| {
        account.srp_set_up = false;
        account.keys_set_up = false;
    });
    for (address, cause) in [
        (ADA, "the account has no keys"),
        ("eve@example.org", "there is no account with this address"),
    ] {
        let line = [
            "ente-login",
            "--endpoint",
            museum.api_url(),
            "--password-command",
            "echo 'correct horse'",
            address,
        ];
        let outcome = machine().run(&line).expect(12);
        assert!(outcome.stderr.contains(cause), "{}", outcome.stderr);
    }
}

#[test]
fn each_refusal_of_a_code_has_its_cause() {
    for (path, fault, cause) in [
        (
            "/users/ott",
            Fault::Status(429),
            "too many codes were asked for",
        ),
        (
            "/verify-email",
            Fault::Status(429),
            "there were too many wrong codes",
        ),
        ("/users/ott", too_fast(), "there were too many calls"),
        ("/verify-email", too_fast(), "there were too many calls"),
        (
            "/verify-email",
            Fault::Status(403),
            "there is no account with this address",
        ),
        (
            "/verify-email",
            typed(403, "ACCOUNT_SCHEDULED_FOR_DELETION"),
            "the account is to be deleted",
        ),
    ] {
        let museum = ada(|account| account.email_mfa = true);
        museum.inject(Match::api().path(path), fault, None);
        let codes = [
            "--email-code-command",
            "echo 123456",
            "--password-command",
            "echo 'correct horse'",
        ];
        let outcome = machine().run(&line(&museum, &codes)).expect(12);
        assert!(
            outcome.stderr.contains(&format!("cause: {cause}\n")),
            "{}",
            outcome.stderr
        );
        assert_eq!(calls(&museum, path), 1);
    }
}

#[test]
fn the_recovery_key_takes_the_place_of_the_password() {
    let museum = ada(|_| {});
    let hex = museum.with_library(|library| hex::encode(library.account().recovery_key));
    let machine = machine();
    let mut terminal = at_terminal(&machine, &museum, &["--recovery-key"]);
    terminal
        .wait_for("recovery key of ada@example.org (24 words): ")
        .type_line(&hex);
    let code = newest_code(&mut terminal, &museum);
    terminal.type_line(&code);
    let outcome = terminal.end().expect(0);
    assert!(!outcome.stderr.contains(&hex), "no echo");
    assert_signed_in(&machine, &museum);
}

#[test]
fn a_recovery_key_that_is_none_costs_no_code() {
    let museum = ada(|_| {});
    let machine = machine();
    let file = machine.home().join("words");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "letter army path").unwrap();
    let outcome = machine
        .run(&line(&museum, &["--recovery-key-file", path]))
        .expect(12);
    assert!(
        outcome
            .stderr
            .contains("cause: a recovery key has 24 words, not 3")
    );
    assert!(museum.requests().is_empty());

    // A good one, but of another account, and an account that never had one.
    std::fs::write(&file, "22".repeat(32)).unwrap();
    for (change, cause) in [
        (
            (|_| {}) as fn(&mut Account),
            "the recovery key does not match this account",
        ),
        (
            |account| account.key_attributes["masterKeyEncryptedWithRecoveryKey"] = "".into(),
            "this account never had a recovery key",
        ),
    ] {
        museum.with_library(|library| change(library.account_mut()));
        let _ = machine
            .run(&line(&museum, &["--recovery-key-file", path]))
            .expect(2);
        let code = museum.mailbox(ADA).pop().unwrap();
        let arguments = ["--recovery-key-file", path, "--email-code", &code];
        let outcome = machine.run(&line(&museum, &arguments));
        assert!(outcome.stderr.contains(cause), "{}", outcome.stderr);
        assert_not_signed_in(&machine);
    }
}
