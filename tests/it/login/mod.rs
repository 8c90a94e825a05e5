//! Signing in, and what a server can do to it.

mod choice;
mod email;
mod ended;
mod factor;
mod saved;
mod sources;
mod trust;

use std::time::{SystemTime, UNIX_EPOCH};

use ente_tests::harness::{Machine, Outcome, Terminal};
use ente_tests::library::{Account, GoldenState, Library};
use ente_tests::museum::{Fault, Match, Museum, Options};

use super::{EMAIL, PASSWORD, golden, machine};

/// The account of most tests here: one that opens quickly.
const ADA: &str = "ada@example.org";
const ADAS_PASSWORD: &str = "correct horse";

/// A server with Ada's account, changed by `change`.
fn ada(change: impl FnOnce(&mut Account)) -> Museum {
    ada_with(Options::default(), change)
}

fn ada_with(options: Options, change: impl FnOnce(&mut Account)) -> Museum {
    let mut library = Library::empty(1, ADA, ADAS_PASSWORD);
    change(library.account_mut());
    Museum::start(library, options)
}

/// `ente-login` for Ada at this server, with further arguments.
fn line<'a>(museum: &'a Museum, arguments: &[&'a str]) -> Vec<&'a str> {
    let mut line = vec!["ente-login", "--endpoint", museum.api_url(), ADA];
    line.extend(arguments);
    line
}

/// Ada at a terminal.
fn at_terminal(machine: &Machine, museum: &Museum, arguments: &[&str]) -> Terminal {
    machine.at_terminal(&line(museum, arguments))
}

/// Asserts that the last run saved credentials that open the account and are taken by the server.
fn assert_signed_in(machine: &Machine, museum: &Museum) {
    let folder = machine.config().join(ADA);
    let keys = std::fs::read_to_string(folder.join("keys")).unwrap();
    let (master_key, secret_key) = museum.with_library(|library| {
        let account = library.account();
        (account.master_key, account.secret_key)
    });
    let keys: serde_json::Value = serde_json::from_str(&keys).unwrap();
    assert_eq!(keys["master_key"], base64(&master_key));
    assert_eq!(keys["secret_key"], base64(&secret_key));
    let _ = machine
        .run(&["ente-pull", "--list", machine.dir()])
        .expect(0);
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Asserts that nothing was saved.
fn assert_not_signed_in(machine: &Machine) {
    let _ = machine.run(&["ente-login", "--status"]).expect(10);
}

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
        // Without a code: the account was deleted.
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

/// A typed error as the server words it.
fn typed(status: u16, code: &str) -> Fault {
    Fault::Answer {
        status,
        content_type: "application/json",
        body: format!(r#"{{"code":"{code}","message":""}}"#),
    }
}

/// Too many calls a minute, as the server words it; a bare 429 is about codes.
fn too_fast() -> Fault {
    Fault::Answer {
        status: 429,
        content_type: "application/json",
        body: r#"{"error":"Rate limit breached, try later"}"#.to_owned(),
    }
}

#[test]
fn a_mistyped_password_is_asked_for_again_within_one_session() {
    let museum = ada(|_| {});
    let machine = machine();
    let mut terminal = at_terminal(&machine, &museum, &[]);
    for password in ["wrong", "wrong again", ADAS_PASSWORD] {
        terminal
            .wait_for("password of ada@example.org: ")
            .type_line(password);
    }
    let outcome = terminal.end().expect(0);
    assert_eq!(outcome.stderr.matches("the password is wrong").count(), 2);
    assert!(!outcome.stderr.contains("wrong again"), "no echo");
    assert!(!outcome.stderr.contains(ADAS_PASSWORD), "no echo");
    assert_eq!(calls(&museum, "/srp/create-session"), 1);
    assert_signed_in(&machine, &museum);
}

#[test]
fn three_wrong_passwords_are_enough() {
    let museum = ada_with(
        Options {
            invents_attributes: true,
            ..Options::default()
        },
        |_| {},
    );
    let machine = machine();
    for address in [ADA, "eve@example.org"] {
        museum.reset_log();
        let line = ["ente-login", "--endpoint", museum.api_url(), address];
        let mut terminal = machine.at_terminal(&line);
        for _ in 0..3 {
            terminal.wait_for("password of ").type_line("wrong");
        }
        let outcome = terminal.end().expect(12);
        let said = "cause: the address or the password is wrong";
        assert_eq!(outcome.stderr.matches(said).count(), 3);
        assert_eq!(calls(&museum, "/srp/create-session"), 1);
    }
    assert_not_signed_in(&machine);
}

#[test]
fn a_spent_session_is_replaced_without_asking_for_the_password_again() {
    for code in ["SESSION_ALREADY_VERIFIED", "TOO_MANY_WRONG_ATTEMPTS"] {
        let museum = ada(|_| {});
        let machine = machine();
        museum.inject(
            Match::api().path("/verify-session"),
            typed(410, code),
            Some(1),
        );
        let mut terminal = at_terminal(&machine, &museum, &[]);
        terminal.wait_for("password of ").type_line(ADAS_PASSWORD);
        let outcome = terminal.end().expect(0);
        assert_eq!(outcome.stderr.matches("password of").count(), 1);
        assert_eq!(calls(&museum, "/srp/create-session"), 2);
        assert_signed_in(&machine, &museum);
    }
}

#[test]
fn each_refusal_of_the_server_has_its_cause_and_is_not_repeated() {
    for (path, fault, cause) in [
        (
            "/srp/attributes",
            Fault::Status(429),
            "there were too many calls",
        ),
        (
            "/create-session",
            Fault::Status(429),
            "there were too many calls",
        ),
        (
            "/create-session",
            typed(429, "TOO_MANY_UNVERIFIED_SESSIONS"),
            "ten sign-ins failed within the last hour",
        ),
        (
            "/verify-session",
            Fault::Status(410),
            "the account was deleted",
        ),
        (
            "/verify-session",
            typed(403, "ACCOUNT_SCHEDULED_FOR_DELETION"),
            "the account is to be deleted",
        ),
    ] {
        let museum = ada(|_| {});
        museum.inject(Match::api().path(path), fault, None);
        let machine = machine();
        let line = line(&museum, &["--password-file", "-"]);
        let outcome = machine.run_with(&line, ADAS_PASSWORD).expect(12);
        let said = format!("cause: {cause}\n  hint: ");
        assert!(outcome.stderr.contains(&said), "{}", outcome.stderr);
        assert_eq!(calls(&museum, path), 1);
        assert_not_signed_in(&machine);
    }
}

#[test]
fn a_limit_of_ten_calls_a_minute_is_kept_by_a_whole_sign_in() {
    let options = Options {
        sign_in_calls_per_minute: Some(10),
        ..Options::default()
    };
    let museum = ada_with(options, |_| {});
    let machine = machine();
    for _ in 0..10 {
        let line = line(&museum, &["--password-file", "-"]);
        let _ = machine.run_with(&line, ADAS_PASSWORD).expect(0);
    }
    let line = line(&museum, &["--password-file", "-"]);
    let outcome = machine.run_with(&line, ADAS_PASSWORD).expect(12);
    assert!(outcome.stderr.contains("hint: wait a minute"));
}
