//! Signing in, and what a server can do to it.

use std::time::{SystemTime, UNIX_EPOCH};

use ente_tests::harness::{Machine, Outcome};
use ente_tests::library::{GoldenState, Library};
use ente_tests::museum::{Fault, Match, Museum, Options};

use super::{EMAIL, PASSWORD, golden, machine};

fn museum() -> Museum {
    Museum::start(Library::golden(GoldenState::Initial), Options::default())
}

/// Signs in with further arguments; needs a server where no code is asked for, or `--otp`.
fn sign_in_with(machine: &Machine, museum: &Museum, arguments: &[&str]) -> Outcome {
    let mut line = vec!["ente-login", "--endpoint", museum.api_url()];
    line.extend(["--password-file", "-", "--retries", "0", EMAIL]);
    line.extend(arguments);
    machine.run_with(&line, &format!("{PASSWORD}\n"))
}

fn calls(museum: &Museum, path: &str) -> usize {
    let requests = museum.requests();
    requests
        .iter()
        .filter(|request| request.path.ends_with(path))
        .count()
}

#[test]
fn what_is_saved_is_shown_and_removed() {
    let (museum, machine) = golden();
    let status = machine.run(&["ente-login", "--status"]).expect(0).stdout;
    let account = format!("{EMAIL} (user 1580559962386001 at {}): ", museum.api_url());
    assert!(status.starts_with(&account), "{status}");
    assert!(
        status.contains(": token and keys, default, in "),
        "{status}"
    );

    let _ = machine.run(&["ente-login", "--logout"]).expect(0);
    assert_eq!(calls(&museum, "/users/logout"), 1);
    let outcome = machine.run(&["ente-login", "--status"]).expect(10);
    assert!(
        outcome.stderr.contains("hint: run `ente-login EMAIL`"),
        "{}",
        outcome.stderr
    );
    assert!(museum.leaked_tokens().is_empty());
}

#[test]
fn an_ended_session_is_renewed_without_naming_the_account_again() {
    let (museum, machine) = golden();
    museum.revoke_tokens();
    let again = ["ente-login", "--password-file", "-"];
    let _ = machine.run_with(&again, PASSWORD).expect(0);
    assert_eq!(calls(&museum, "/users/session-validity/v2"), 2);
}

#[test]
fn wrong_passwords_and_addresses_are_refused_alike() {
    let museum = museum();
    for (email, password) in [(EMAIL, "wrong"), ("eve@example.org", PASSWORD)] {
        let machine = machine();
        let outcome = machine
            .sign_in(museum.api_url(), email, password)
            .expect(12);
        let start =
            format!("ente-login: error: the server refused the sign-in for `{email}`\n  cause: ");
        assert!(outcome.stderr.starts_with(&start), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("\n  hint: "));
        let _ = machine.run(&["ente-login", "--status"]).expect(10);
    }
}

#[test]
fn the_second_factor_is_asked_for_and_spent() {
    let museum = museum();
    let machine = machine();
    museum.with_library(|library| library.account_mut().totp_enabled = true);
    let now_s = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs() as i64;
    let code = museum.with_library(|library| library.account().totp_code(now_s));
    let wrong = if code == "000000" { "000001" } else { "000000" };
    for (code, exit) in [(wrong, 12), (code.as_str(), 0), (code.as_str(), 12)] {
        let outcome = sign_in_with(&machine, &museum, &["--otp", code]).expect(exit);
        let said = outcome
            .stderr
            .contains("the code is wrong or was used before");
        assert_eq!(said, exit == 12, "{}", outcome.stderr);
    }

    // An account that never got keys.
    let body = r#"{"id":1580559962386001}"#.to_owned();
    let no_keys = Fault::Answer {
        status: 200,
        content_type: "application/json",
        body,
    };
    museum.inject(Match::api().path("/two-factor/verify"), no_keys, None);
    let outcome = sign_in_with(&machine, &museum, &["--otp", "123456"]).expect(12);
    assert!(
        outcome.stderr.contains("the account has no keys"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn accounts_that_need_an_email_code_are_told_so_before_the_password() {
    let museum = museum();
    museum.with_library(|library| library.account_mut().email_mfa = true);
    let outcome = sign_in_with(&machine(), &museum, &[]).expect(12);
    assert!(
        outcome.stderr.contains("a code by e-mail"),
        "{}",
        outcome.stderr
    );
    assert_eq!(calls(&museum, "/users/srp/create-session"), 0);
}

#[test]
fn a_server_that_does_not_know_the_account_is_not_believed() {
    for proof in [
        "",
        r#","srpM2":"AAAA""#,
        r#","srpM2":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=""#,
    ] {
        let museum = museum();
        let machine = machine();
        let body = format!(r#"{{"id":1,"twoFactorSessionID":"x"{proof}}}"#);
        let impostor = Fault::Answer {
            status: 200,
            content_type: "application/json",
            body,
        };
        museum.inject(Match::api().path("/verify-session"), impostor, None);
        let outcome = sign_in_with(&machine, &museum, &["--otp", "123456"]).expect(12);
        assert!(
            outcome.stderr.contains("the server did not prove"),
            "{}",
            outcome.stderr
        );
        assert_eq!(
            calls(&museum, "/two-factor/verify"),
            0,
            "no code for an impostor"
        );
        assert!(!machine.config().exists());
    }
}

#[test]
fn a_proof_is_sent_once_whatever_the_server_says() {
    for (fault, exit) in [
        (Fault::Status(503), 13),
        (Fault::Cut { after: 5 }, 13),
        (Fault::Status(429), 12),
        (Fault::Status(410), 12),
    ] {
        let museum = museum();
        museum.inject(Match::api().path("/verify-session"), fault, None);
        let machine = machine();
        let mut line = vec!["ente-login", "--endpoint", museum.api_url()];
        line.extend(["--password-file", "-", EMAIL]);
        let _ = machine.run_with(&line, PASSWORD).expect(exit);
        assert_eq!(calls(&museum, "/verify-session"), 1);
    }
}
