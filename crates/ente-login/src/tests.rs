//! What `ente-login` does without a server.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use clap::CommandFactory as _;
use ente_common::keystore::Keystore;
use ente_common::record::Writer;
use ente_common::token::Token;
use ente_common::ui::Ui;
use tempfile::TempDir;

use super::*;
use crate::golden;

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Machine {
    dir: TempDir,
}

struct Outcome {
    result: Result<Exit, Failure>,
    stdout: String,
    stderr: String,
}

impl Machine {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("config")
    }

    fn keystore(&self) -> Keystore {
        Keystore::open(self.config())
    }

    fn run(&self, line: &[&str], input: &'static str) -> Outcome {
        let config = self.config();
        let fixed = ["ente-login", "--keystore", config.to_str().unwrap()];
        let args = Args::try_parse_from(fixed.iter().chain(line)).unwrap();
        let output = Output::default();
        let mut io = Io {
            input: Box::new(input.as_bytes()),
            records: Writer::new(None),
            output: Box::new(output.clone()),
            ui: Ui::capture("ente-login"),
            interrupt: Interrupt::default(),
            clock: || 0,
        };
        let result = args.run(&mut io);
        let stdout = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
        Outcome {
            result,
            stdout,
            stderr: io.ui.captured(),
        }
    }
}

fn account(endpoint: &str) -> Account {
    Account {
        endpoint: endpoint.to_owned(),
        app: "photos".to_owned(),
        user_id: golden::account()["userID"].as_i64().unwrap(),
        email: "golden@example.org".to_owned(),
    }
}

fn token() -> Token {
    Token::parse(golden::account()["token"].as_str().unwrap()).unwrap()
}

#[test]
fn the_command_line_is_sound() {
    Args::command().debug_assert();
    for line in [
        &["--status", "--logout"][..],
        &["--offline", "x", "a@b"],
        &["--endpoint", "ftp://x", "a@b"],
        &["--password-file", "x", "--password-fd", "3", "a@b"],
        &["--default", "a@b", "--logout"],
    ] {
        let args = ["ente-login"].iter().chain(line);
        assert!(Args::try_parse_from(args).is_err(), "{line:?}");
    }
}

#[test]
fn an_export_and_its_password_give_the_keys() {
    let machine = Machine::new();
    let export = machine.dir.path().join("Ente");
    let attributes = golden::account()["keyAttributes"].take();
    Export::create(&export, account("https://api.ente.com"), attributes).unwrap();
    let line = [
        "--offline",
        export.to_str().unwrap(),
        "--password-file",
        "-",
    ];

    let failure = machine.run(&line, "wrong\n").result.unwrap_err();
    assert_eq!(failure.exit, Exit::Refused);
    assert_eq!(
        failure.cause.as_deref(),
        Some("the password does not match this account")
    );
    assert!(machine.keystore().accounts().unwrap().is_empty());

    let outcome = machine.run(&line, "golden password: naïve café\n");
    assert_eq!(outcome.result, Ok(Exit::Done));
    let keys = machine.keystore().keys(Select::Default).unwrap();
    assert_eq!(keys.account, account("https://api.ente.com"));
    let master_key = golden::account()["masterKey"].take();
    let saved = ente_common::encoding::to_base64(keys.master_key.expose());
    assert_eq!(saved, master_key.as_str().unwrap());
    assert!(
        machine.keystore().token(Select::Default).is_err(),
        "no token from nowhere"
    );
}

#[test]
fn an_export_without_key_attributes_says_so() {
    let machine = Machine::new();
    let export = machine.dir.path().join("Ente");
    let nothing = serde_json::Value::Null;
    Export::create(&export, account("https://api.ente.com"), nothing).unwrap();
    let line = ["--offline", export.to_str().unwrap()];
    let failure = machine.run(&line, "").result.unwrap_err();
    assert!(failure.what.contains("carries no keys"), "{failure}");
}

#[test]
fn status_tells_what_is_held() {
    let machine = Machine::new();
    let failure = machine.run(&["--status"], "").result.unwrap_err();
    assert_eq!(failure.exit, Exit::NotSignedIn);

    let account = account("https://api.ente.com");
    machine.keystore().save_token(&account, &token()).unwrap();
    let outcome = machine.run(&["--status"], "");
    assert_eq!(outcome.result, Ok(Exit::Done));
    let folder = machine.config().join("golden@example.org");
    assert_eq!(
        outcome.stdout,
        format!(
            "golden@example.org (user 1580559962386001 at https://api.ente.com): token only, default, in {}\n",
            folder.display()
        )
    );
    assert_eq!(outcome.stderr, "");
}

#[test]
fn signing_out_without_a_server_removes_and_warns() {
    let machine = Machine::new();
    // Nothing listens on the port "tcpmux".
    let account = account("http://127.0.0.1:1");
    machine.keystore().save_token(&account, &token()).unwrap();
    let outcome = machine.run(&["--logout", "--retries", "0"], "");
    assert_eq!(outcome.result, Ok(Exit::Problems));
    assert!(
        outcome
            .stderr
            .contains("warning: the credentials are removed"),
        "{}",
        outcome.stderr
    );
    assert!(machine.keystore().accounts().unwrap().is_empty());
}

#[test]
fn plain_http_to_another_machine_needs_consent() {
    let machine = Machine::new();
    let line = ["--endpoint", "http://192.0.2.1", "ada@example.org"];
    let failure = machine.run(&line, "").result.unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.hint.unwrap().contains("--insecure-http"));
}

#[test]
fn a_server_out_of_reach_has_its_own_code() {
    let machine = Machine::new();
    let line = [
        "--endpoint",
        "http://127.0.0.1:1",
        "--retries",
        "0",
        "ada@example.org",
    ];
    let failure = machine.run(&line, "").result.unwrap_err();
    assert_eq!(failure.exit, Exit::Unreachable, "{failure}");
}

#[test]
fn certificates_that_are_none_are_refused_before_anything_is_sent() {
    let machine = Machine::new();
    let empty = machine.dir.path().join("empty.pem");
    std::fs::write(&empty, "no certificate").unwrap();
    let missing = machine.dir.path().join("missing.pem");
    for (file, cause) in [
        (empty, "no certificate in PEM form"),
        (missing, "cannot read the certificates"),
    ] {
        let line = ["--ca-file", file.to_str().unwrap(), "ada@example.org"];
        let failure = machine.run(&line, "").result.unwrap_err();
        assert_eq!(failure.exit, Exit::Failed);
        assert!(failure.cause.unwrap().starts_with(cause));
    }
}

#[test]
fn nobody_to_sign_in_again_is_said() {
    let failure = Machine::new().run(&[], "").result.unwrap_err();
    assert_eq!(failure.exit, Exit::NotSignedIn);
    assert!(failure.hint.unwrap().contains("ente-login EMAIL"));
}
