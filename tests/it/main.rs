//! The five tools against the stand-in server, run as a user runs them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod adopt;
mod crash;
mod ends;
mod faults;
mod fuzz;
mod golden;
mod history;
mod hostile;
mod lessons;
mod listing;
mod local;
mod login;
mod mirror;
mod problems;
mod pull;
mod rest;
mod returns;
mod secrets;
mod shell;
mod tls;
mod user_files;
mod verify;

use ente_tests::harness::Machine;
use ente_tests::library::{GoldenState, Library};
use ente_tests::museum::{Museum, Options};

/// The e-mail address of the golden account.
const EMAIL: &str = "golden@example.org";
/// Its password.
const PASSWORD: &str = "golden password: naïve café";

fn machine() -> Machine {
    Machine::new(env!("CARGO_BIN_EXE_ente-tool"))
}

/// A server with the golden account in its first state, and a machine that is signed in.
fn golden() -> (Museum, Machine) {
    let museum = Museum::start(Library::golden(GoldenState::Initial), Options::default());
    let machine = machine();
    let _ = machine.sign_in(museum.api_url(), EMAIL, PASSWORD).expect(0);
    (museum, machine)
}

/// Where the golden account's expectations lie: `1-initial/expected.json`.
fn expected(state: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden/account")
        .join(state)
        .join("expected.json")
}
