//! How sessions and runs end.

use std::fs;

use super::*;

fn holds_credentials(machine: &Machine) -> bool {
    let folder = machine.config().join(ADA);
    folder.join("token").exists() && folder.join("keys").exists()
}

/// Signs Ada in with a sealed keystore.
fn sealed(museum: &Museum) -> Machine {
    let machine = machine();
    fs::write(machine.home().join("passphrase"), "red wax").unwrap();
    let arguments = [
        "--seal",
        "passphrase",
        "--passphrase-file",
        "passphrase",
        "--password-command",
        "echo 'correct horse'",
    ];
    let _ = machine.run(&line(museum, &arguments)).expect(0);
    machine
}

#[test]
fn ctrl_c_leaves_the_credentials_where_they_are() {
    let museum = ada(|_| {});
    let machine = sealed(&museum);
    let mut terminal = machine.at_terminal(&["ente-login", "--logout"]);
    terminal
        .wait_for("passphrase of the credentials of ada@example.org: ")
        .press("\u{3}");
    let _ = terminal.end().expect(130);
    assert!(holds_credentials(&machine));
    assert_eq!(calls(&museum, "/users/logout"), 0);

    museum.inject(
        Match::api().path("/users/logout"),
        Fault::StallHeaders,
        None,
    );
    let logout = ["ente-login", "--logout", "--passphrase-file", "passphrase"];
    let mut terminal = machine.at_terminal(&logout);
    while calls(&museum, "/users/logout") == 0 {
        std::thread::yield_now();
    }
    terminal.press("\u{3}");
    let outcome = terminal.end().expect(130);
    assert!(holds_credentials(&machine));
    let said = "interrupted; the credentials are still here";
    assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn a_second_ctrl_c_ends_what_does_not_listen() {
    let museum = ada(|_| {});
    let machine = machine();
    let pipe = machine.home().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let mut tool = machine
        .command(&line(&museum, &["--password-file", "pipe"]))
        .spawn()
        .unwrap();
    // Open as soon as the tool reads, which it does until this is closed: nothing else can interrupt it.
    let writer = fs::File::options().write(true).open(&pipe).unwrap();
    let id = tool.id().to_string();
    for _ in 0..2 {
        let sent = std::process::Command::new("kill")
            .args(["-INT", &id])
            .status();
        assert!(sent.unwrap().success());
        // Two signals that wait together are one.
        while !fs::read_to_string(format!("/proc/{id}/status"))
            .unwrap()
            .contains("ShdPnd:\t0000000000000000")
        {
            std::thread::yield_now();
        }
    }
    assert_eq!(tool.wait().unwrap().code(), Some(130));
    drop(writer);
    assert_not_signed_in(&machine);
}

#[test]
fn the_line_to_type_signs_in_to_the_same_app_again() {
    let museum = ada(|_| {});
    let machine = machine();
    let locker = [
        "--app",
        "locker",
        "--password-command",
        "echo 'correct horse'",
    ];
    let _ = machine.run(&line(&museum, &locker)).expect(0);
    museum.revoke_tokens();
    let expected = format!(
        "run `ente-login --endpoint {} --app locker {ADA}`, then",
        museum.api_url()
    );
    let outcome = machine.run(&["ente-login", "--check"]).expect(10);
    assert!(outcome.stdout.contains(&expected), "{}", outcome.stdout);
    let outcome = machine.run(&["ente-pull", machine.dir()]).expect(10);
    assert!(outcome.stderr.contains(&expected), "{}", outcome.stderr);
}

#[test]
fn one_damaged_account_does_not_stand_in_the_way_of_another() {
    let museum = ada(|_| {});
    museum.add_account(Library::empty(2, "bob@example.org", "hunter2"));
    let machine = machine();
    let password = ["--password-command", "echo 'correct horse'"];
    let _ = machine.run(&line(&museum, &password)).expect(0);
    let bob = [
        "ente-login",
        "--endpoint",
        museum.api_url(),
        "--password-command",
        "echo hunter2",
        "bob@example.org",
    ];
    let _ = machine.run(&bob).expect(0);
    fs::write(machine.config().join("bob@example.org/keys"), "{").unwrap();
    let outcome = machine.run(&["ente-login", "--status"]).expect(10);
    assert!(outcome.stdout.starts_with(ADA), "{}", outcome.stdout);
    assert!(
        outcome.stderr.contains("bob@example.org/keys` is damaged"),
        "{}",
        outcome.stderr
    );
    let _ = machine.run(&["ente-login", "--check", ADA]).expect(0);
    let _ = machine.run(&["ente-login", "--logout", ADA]).expect(0);
    assert!(!machine.config().join(ADA).exists());
    // Nobody is taken for the only account while another cannot be read.
    let outcome = machine.run(&["ente-login", "--logout"]).expect(10);
    assert!(outcome.stderr.contains("is damaged"), "{}", outcome.stderr);

    // Named as the message names it, it goes.
    let line = "run `ente-login --logout 'bob@example.org'`, then sign in again";
    assert!(outcome.stderr.contains(line), "{}", outcome.stderr);
    let _ = machine.run(&bob).expect(10);
    let logout = ["ente-login", "--logout", "bob@example.org"];
    let outcome = machine.run(&logout).expect(3);
    let said = "the session goes on at the server\n  cause: they are damaged\n";
    assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
    assert!(!machine.config().join("bob@example.org").exists());
    let _ = machine.run(&bob).expect(0);
    let newer = r#"{"format":2}"#;
    fs::write(machine.config().join("bob@example.org/keys"), newer).unwrap();
    let _ = machine.run(&logout).expect(14);
    assert!(machine.config().join("bob@example.org/keys").exists());
}

#[test]
fn credentials_that_are_not_here_are_asked_for_by_the_whole_line() {
    let museum = ada(|_| {});
    let machine = machine();
    let locker = [
        "--app",
        "locker",
        "--password-command",
        "echo 'correct horse'",
    ];
    let _ = machine.run(&line(&museum, &locker)).expect(0);
    let _ = machine.run(&["ente-pull", machine.dir()]).expect(0);
    let url = museum.api_url();
    let expected = format!("`ente-login --endpoint {url} --app locker {ADA}`");
    let says_so = |line: &[&str]| {
        let outcome = machine.run(line).expect(10);
        assert!(
            outcome.stderr.contains(&expected),
            "{line:?}: {}",
            outcome.stderr
        );
    };
    let folder = machine.config().join(ADA);
    for (file, tools) in [
        ("token", &["ente-pull"][..]),
        ("keys", &["ente-decrypt", "ente-meta"]),
    ] {
        fs::remove_file(folder.join(file)).unwrap();
        for tool in tools {
            says_so(&[tool, machine.dir()]);
        }
    }
    // Nobody at all is signed in now.
    for tool in ["ente-pull", "ente-decrypt", "ente-meta"] {
        says_so(&[tool, machine.dir()]);
    }
}

/// What happens where the credentials cannot be written to the end.
#[cfg(target_os = "linux")]
#[test]
fn what_is_saved_stays_whole_where_a_new_one_cannot_be_written() {
    let museum = ada(|_| {});
    let machine = machine();
    let files = ["token", "keys"].map(|file| machine.config().join(ADA).join(file));
    let password = ["--password-command", "echo 'correct horse'"];
    // No file may grow: the system ends the tool in the middle of saving, or refuses to write as a full disk does.
    for (no_room, code) in [("ulimit -f 0", 128 + 25), ("trap '' XFSZ; ulimit -f 0", 1)] {
        let run = || {
            let mut command = machine.in_shell(no_room, &line(&museum, &password));
            Outcome::from(command.output().unwrap())
        };
        let _ = run().expect(code);
        assert!(files.iter().all(|file| !file.exists()), "{no_room}");
        assert_not_signed_in(&machine);

        let _ = machine.run(&line(&museum, &password)).expect(0);
        let before = files.each_ref().map(|file| fs::read(file).unwrap());
        let outcome = run().expect(code);
        assert_eq!(files.each_ref().map(|file| fs::read(file).unwrap()), before);
        if code == 1 {
            let said = format!("error: cannot use `{}`\n  cause: ", files[1].display());
            assert!(outcome.stderr.contains(&said), "{}", outcome.stderr);
        }
        assert_signed_in(&machine, &museum);
        let _ = machine.run(&line(&museum, &password)).expect(0);
        let _ = machine.run(&["ente-login", "--logout"]).expect(0);
        assert!(
            !machine.config().join(ADA).exists(),
            "what is left of a killed run goes too"
        );
    }
}

#[test]
fn a_copy_of_the_token_outlives_a_new_sign_in_and_ends_with_its_session() {
    let museum = ada(|_| {});
    let home = machine();
    let password = ["--password-command", "echo 'correct horse'"];
    let _ = home.run(&line(&museum, &password)).expect(0);
    // A bare name, in the current folder.
    let _ = home
        .run(&["ente-login", "--export-token", "copy"])
        .expect(0);
    let copy = fs::read_to_string(home.home().join("copy")).unwrap();
    let puller = machine();
    let import = ["ente-login", "--import", "-"];
    let _ = puller.run_with(&import, &copy).expect(0);
    let _ = home.run(&line(&museum, &password)).expect(0);
    let _ = puller.run(&["ente-login", "--check"]).expect(0);
    let _ = puller.run(&["ente-login", "--logout"]).expect(0);
    let _ = puller.run_with(&import, &copy).expect(0);
    let _ = puller.run(&["ente-login", "--check"]).expect(10);
    let _ = home.run(&["ente-login", "--check"]).expect(0);
}
