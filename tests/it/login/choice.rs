//! Which of several accounts is meant.

use std::fs;

use super::*;

const PASSWORD_COMMAND: [&str; 2] = ["--password-command", "echo 'correct horse'"];

/// A machine where Ada is signed in for Photos, sealed, and for Locker.
fn both_apps(museum: &Museum) -> Machine {
    let machine = machine();
    fs::write(machine.home().join("wax"), "red wax").unwrap();
    let sealed = ["--seal", "passphrase", "--passphrase-file", "wax"];
    let photos = [&PASSWORD_COMMAND[..], &sealed].concat();
    let _ = machine.run(&line(museum, &photos)).expect(0);
    // Nobody is there to be asked for the passphrase of Photos.
    let locker = [&PASSWORD_COMMAND[..], &["--app", "locker"]].concat();
    let _ = machine.run(&line(museum, &locker)).expect(0);
    machine
}

#[test]
fn an_app_has_credentials_of_its_own() {
    let museum = ada(|_| {});
    let machine = both_apps(&museum);
    let status = machine.run(&["ente-login", "--status"]).expect(0).stdout;
    assert!(
        status.contains("): token and keys, sealed by a passphrase, default, in "),
        "{status}"
    );
    assert!(
        status.contains(", locker): token and keys, in "),
        "{status}"
    );
    // Renewed without saying more than the app.
    let again = [&["ente-login", "--app", "locker"][..], &PASSWORD_COMMAND].concat();
    let _ = machine.run(&again).expect(0);
    let token = ["ente-login", "--app", "locker", "--export-token", "-"];
    let exported = machine.run(&token).expect(0).stdout;
    assert!(exported.contains(r#""app":"locker""#), "{exported}");
    let check = ["ente-login", "--check", "--app", "locker", ADA];
    let _ = machine.run(&check).expect(0);
    let _ = machine
        .run(&["ente-login", "--logout", "--app", "locker"])
        .expect(0);
    let status = machine.run(&["ente-login", "--status"]).expect(0).stdout;
    assert_eq!(status.lines().count(), 1, "{status}");
    assert!(!status.contains("locker"), "{status}");
    let gone = machine.run(&token).expect(10);
    assert_eq!(gone.stdout, "");
}

#[test]
fn a_keystore_may_lie_in_the_current_folder() {
    let museum = ada(|_| {});
    let machine = machine();
    for dir in ["keys", "more/keys"] {
        let named = [&PASSWORD_COMMAND[..], &["--keystore", dir]].concat();
        let _ = machine.run(&line(&museum, &named)).expect(0);
        let status = machine.run(&["ente-login", "--status", "--keystore", dir]);
        assert!(status.expect(0).stdout.contains("token and keys"));
    }
}

#[test]
fn a_server_has_credentials_of_its_own() {
    let (here, there) = (ada(|_| {}), ada(|_| {}));
    let machine = machine();
    for museum in [&here, &there] {
        let _ = machine.run(&line(museum, &PASSWORD_COMMAND)).expect(0);
    }
    here.reset_log();
    there.reset_log();
    let at = |museum: &Museum, action: &str| {
        machine.run(&["ente-login", action, "--endpoint", museum.api_url(), ADA])
    };
    let _ = at(&there, "--check").expect(0);
    assert!(here.requests().is_empty());
    let _ = at(&there, "--logout").expect(0);
    assert_eq!(calls(&there, "/users/logout"), 1);
    assert!(here.requests().is_empty());
    let _ = at(&there, "--check").expect(10);
    let _ = at(&here, "--check").expect(0);
}
