//! What is saved: sealed, checked, moved, chosen among several.

use std::fs;

use ente_tests::harness::expect_all;
use ente_tests::museum::{Clock, Options};

use super::*;

const DAY_S: i64 = 86_400;

/// A machine where Ada is signed in.
fn signed_in(museum: &Museum, arguments: &[&str]) -> Machine {
    let machine = machine();
    let line = line(museum, &[&["--password-file", "-"], arguments].concat());
    let _ = machine.run_with(&line, ADAS_PASSWORD).expect(0);
    machine
}

fn passphrase_file(machine: &Machine, passphrase: &str) -> String {
    let file = machine.home().join("passphrase");
    fs::write(&file, passphrase).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn a_monitor_gets_one_line_and_a_code() {
    let now_s = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs() as i64;
    let check = ["ente-login", "--check", "--retries", "0"];
    for (days, said) in [(0, "today"), (1, "1 day ago"), (300, "300 days ago")] {
        let options = Options {
            clock: Clock::fixed(now_s - days * DAY_S - 60),
            ..Options::default()
        };
        let museum = ada_with(options, |_| {});
        let machine = signed_in(&museum, &[]);
        let outcome = machine.run(&check).expect(0);
        assert_eq!(
            outcome.stdout,
            format!("{ADA}: the session is good; last used {said}\n")
        );
        assert_eq!(outcome.stderr, "");
    }
    let museum = ada(|_| {});
    let machine = signed_in(&museum, &[]);
    museum.revoke_tokens();
    let line = format!("run `ente-login --endpoint {} {ADA}`, ", museum.api_url());
    let outcome = machine.run(&check).expect(10);
    let said = format!("{ADA}: the session of `{ADA}` has ended: ");
    assert!(outcome.stdout.starts_with(&said), "{}", outcome.stdout);
    assert!(outcome.stdout.contains(&line) && outcome.stdout.lines().count() == 1);

    // The line to type is the same wherever the end of the session is noticed.
    let outcome = machine.run(&["ente-pull", machine.dir()]).expect(10);
    assert!(outcome.stderr.contains(&line), "{}", outcome.stderr);
    let renew = [
        "ente-login",
        ADA,
        "--password-command",
        "echo correct horse",
    ];
    let _ = machine.run(&renew).expect(0);
    let _ = machine.run(&check).expect(0);

    let url = museum.api_url().to_owned();
    drop(museum);
    let outcome = machine.run(&check).expect(13);
    assert_eq!(outcome.stdout.lines().count(), 1);
    fs::remove_file(machine.config().join(ADA).join("token")).unwrap();
    let outcome = machine.run(&check).expect(10);
    assert!(
        outcome
            .stdout
            .contains("there are no credentials for the server")
    );
    let line = format!("sign in again with `ente-login --endpoint {url} {ADA}`\n");
    assert!(outcome.stdout.ends_with(&line), "{}", outcome.stdout);
    let nobody = super::machine().run(&check).expect(10);
    assert_eq!(nobody.stdout.lines().count(), 1);
    assert!(nobody.stdout.starts_with("no account is signed in; run "));
}

#[test]
fn a_passphrase_is_chosen_on_a_terminal_and_asked_for_by_each_tool() {
    let museum = ada(|_| {});
    let machine = machine();
    let mut terminal = at_terminal(&machine, &museum, &["--seal", "passphrase"]);
    terminal
        .wait_for("new passphrase for the credentials: ")
        .type_line("red wax");
    terminal.wait_for("the same again: ").type_line("red wax");
    terminal.wait_for("password of ").type_line(ADAS_PASSWORD);
    let outcome = terminal.end().expect(0);
    assert!(!outcome.stderr.contains("red wax"), "no echo");

    let status = machine.run(&["ente-login", "--status"]).expect(0).stdout;
    assert!(
        status.contains("token and keys, sealed by a passphrase"),
        "{status}"
    );
    let list = ["ente-pull", "--list", machine.dir()];
    let outcome = machine.run(&list).expect(10);
    assert!(outcome.stderr.contains("the credentials are sealed"));
    assert!(outcome.stderr.contains("--passphrase-file FILE"));

    // On the terminal, although all three streams lead elsewhere.
    let mut terminal = machine.at_terminal_redirected(&list);
    terminal
        .wait_for("ente-pull: passphrase of the credentials of ada@example.org: ")
        .type_line("green wax");
    terminal
        .wait_for("ente-pull: passphrase of the credentials of ada@example.org: ")
        .type_line("red wax");
    let outcome = terminal.end().expect(0);
    assert!(outcome.stderr.contains("the passphrase is wrong"));
    assert_eq!(outcome.records_of("end").len(), 1);

    // Signed in again, the seal stays; and nothing is sent before it is open.
    museum.reset_log();
    let again = ["ente-login", "--password-command", "echo correct horse"];
    let _ = machine.run(&again).expect(10);
    assert!(museum.requests().is_empty());
    let file = passphrase_file(&machine, "red wax");
    let with_passphrase = [&again[..], &["--passphrase-file", &file]].concat();
    let _ = machine.run(&with_passphrase).expect(0);
    let status = machine.run(&["ente-login", "--status"]).expect(0).stdout;
    assert!(status.contains("sealed by a passphrase"), "{status}");
}

#[test]
fn the_tools_of_a_pipe_ask_one_after_the_other() {
    let museum = ada(|_| {});
    let machine = machine();
    let file = passphrase_file(&machine, "red wax");
    let sealed = [
        "--seal",
        "passphrase",
        "--passphrase-file",
        &file,
        "--password-file",
        "-",
    ];
    let _ = machine
        .run_with(&line(&museum, &sealed), ADAS_PASSWORD)
        .expect(0);
    fs::remove_file(&file).unwrap();
    let mut terminal = machine.pipe_at_terminal(&[
        &["ente-pull", machine.dir()],
        &["ente-decrypt", "-"],
        &["ente-meta", "--quiet", "-"],
    ]);
    for tool in ["ente-pull", "ente-decrypt", "ente-meta"] {
        let asked = format!("{tool}: passphrase of the credentials of ada@example.org: ");
        terminal.wait_for(&asked).type_line("red wax");
    }
    let outcome = terminal.end().expect(0);
    // Each question is answered before the next one comes, and nothing comes between.
    let shown: Vec<&str> = outcome.stderr.lines().map(str::trim_end).collect();
    let questions = ["ente-pull", "ente-decrypt", "ente-meta"]
        .map(|tool| format!("{tool}: passphrase of the credentials of ada@example.org:"));
    assert_eq!(shown, questions);
}

#[test]
fn two_passphrases_that_differ_are_noticed_before_anything_is_sent() {
    let museum = ada(|_| {});
    let machine = machine();
    let mut terminal = at_terminal(&machine, &museum, &["--seal", "passphrase"]);
    terminal.wait_for("new passphrase").type_line("red wax");
    terminal
        .wait_for("the same again: ")
        .type_line("red whacks");
    let outcome = terminal.end().expect(12);
    assert!(
        outcome
            .stderr
            .contains("the two passphrases are not the same")
    );
    assert!(museum.requests().is_empty());
}

#[test]
fn the_environment_names_the_passphrase_for_a_whole_pipe() {
    let museum = ada(|_| {});
    let machine = machine();
    let file = passphrase_file(&machine, "red wax");
    let sealed = [
        "--seal",
        "passphrase",
        "--passphrase-file",
        &file,
        "--password-file",
        "-",
    ];
    let _ = machine
        .run_with(&line(&museum, &sealed), ADAS_PASSWORD)
        .expect(0);
    for (variable, value) in [
        ("ENTE_PASSPHRASE_FILE", file.as_str()),
        ("ENTE_PASSPHRASE_COMMAND", "printf 'red wax'"),
    ] {
        let run = |line: &[&str]| {
            let mut command = machine.command(line);
            let output = command.env(variable, value).output().unwrap();
            let shown = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{line:?} with {variable}: {shown}");
        };
        for tool in ["ente-pull", "ente-decrypt", "ente-meta"] {
            run(&[tool, machine.dir()]);
        }
    }
    let _ = machine.run(&["ente-decrypt", machine.dir()]).expect(10);
}

#[test]
fn one_half_goes_to_another_machine_and_is_enough_there() {
    let museum = ada(|_| {});
    let home = signed_in(&museum, &[]);
    let token = home
        .run(&["ente-login", "--export-token", "-"])
        .expect(0)
        .stdout;
    let puller = machine();
    let _ = puller
        .run_with(&["ente-login", "--import", "-"], &token)
        .expect(0);
    let status = puller.run(&["ente-login", "--status"]).expect(0).stdout;
    assert!(status.contains(": token only, default, in "), "{status}");
    let _ = puller.run(&["ente-pull", puller.dir()]).expect(0);

    let file = home.home().join("keys for the other");
    let path = file.to_str().unwrap();
    let _ = home.run(&["ente-login", "--export-keys", path]).expect(0);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    let _ = puller.run(&["ente-login", "--import", path]).expect(0);
    expect_all(&[puller.run(&["ente-decrypt", puller.dir()])], 0);
    let nothing = machine()
        .run(&["ente-login", "--export-keys", "-"])
        .expect(10);
    assert_eq!(nothing.stdout, "");
    let damaged = ["ente-login", "--import", "-"];
    let outcome = machine().run_with(&damaged, "{\"format\":1}").expect(1);
    assert!(
        outcome
            .stderr
            .contains("`standard input` holds no credentials")
    );
}

#[test]
fn a_key_store_that_is_not_there_is_noticed_before_anything_is_sent() {
    let museum = ada(|_| {});
    // Without a desktop session, whether the build could use one or not.
    let sealed = line(&museum, &["--seal", "keyring", "--password-file", "-"]);
    let outcome = machine().run_with(&sealed, ADAS_PASSWORD).expect(10);
    assert!(outcome.stderr.contains("key store"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("--seal passphrase`"));
    assert!(museum.requests().is_empty());
}

#[test]
fn several_accounts_live_side_by_side() {
    let museum = ada(|_| {});
    museum.add_account(Library::empty(2, "bob@example.org", "hunter2"));
    let machine = signed_in(&museum, &[]);
    let bob = [
        "ente-login",
        "--endpoint",
        museum.api_url(),
        "--password-file",
        "-",
        "Bob@Example.org",
    ];
    let _ = machine.run_with(&bob, "hunter2").expect(0);
    let locker = line(&museum, &["--app", "locker", "--password-file", "-"]);
    let _ = machine.run_with(&locker, ADAS_PASSWORD).expect(0);
    museum.reset_log();
    let status = machine.run(&["ente-login", "--status"]).expect(0).stdout;
    assert!(museum.requests().is_empty(), "the network is left alone");
    assert_eq!(status.lines().count(), 3, "{status}");
    assert!(
        status.contains(", locker): token and keys, in "),
        "{status}"
    );
    assert_eq!(status.matches("default").count(), 1);

    let pulls = |arguments: &[&str]| {
        museum.reset_log();
        let _ = machine
            .run(&[&["ente-pull", "--list", machine.dir()], arguments].concat())
            .expect(0);
        let requests = museum.requests();
        requests[0].header("x-client-package").unwrap().to_owned()
    };
    assert_eq!(pulls(&["--account", "bob@example.org"]), "io.ente.photos");
    assert_eq!(pulls(&["--account", "ada@example.org_1"]), "io.ente.locker");
    let _ = machine
        .run(&["ente-login", "--default", "bob@example.org"])
        .expect(0);
    let out = machine.run(&["ente-login", "--check"]).expect(0).stdout;
    assert!(out.starts_with("bob@example.org: "), "{out}");
    let _ = machine
        .run(&["ente-login", "--logout", "bob@example.org"])
        .expect(0);
    assert!(!machine.config().join("bob@example.org").exists());
}

#[test]
fn an_export_opens_offline_with_the_recovery_key_too() {
    let (museum, machine) = golden();
    let _ = machine.run(&["ente-pull", machine.dir()]).expect(0);
    let words = {
        let file = include_str!("../../golden/account/account.json");
        let account: serde_json::Value = serde_json::from_str(file).unwrap();
        account["recoveryKey"]["mnemonic"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    drop(museum);
    let _ = machine
        .run(&["ente-login", "--logout", "--retries", "0"])
        .expect(3);
    let mut terminal =
        machine.at_terminal(&["ente-login", "--offline", machine.dir(), "--recovery-key"]);
    terminal
        .wait_for("recovery key of golden@example.org")
        .type_line(&words);
    let outcome = terminal.end().expect(0);
    assert!(!outcome.stderr.contains("capital head"), "no echo");
    expect_all(&[machine.run(&["ente-decrypt", machine.dir()])], 0);
}
