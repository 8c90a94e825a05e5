//! The tools as a shell sees them: exit codes, pipes that close, help, signals.

use std::process::Stdio;

use ente_tests::harness::{expect_all, tree};

use crate::{golden, machine};

const TOOLS: [&str; 5] = [
    "ente-login",
    "ente-pull",
    "ente-decrypt",
    "ente-meta",
    "ente-verify",
];

#[test]
fn help_and_version_touch_nothing_and_usage_errors_are_2() {
    let machine = machine();
    for tool in TOOLS {
        let help = machine.run(&[tool, "--help"]).expect(0);
        assert!(
            help.stdout.contains("Examples:") && help.stdout.contains("Usage:"),
            "{tool}: {}",
            help.stdout
        );
        assert!(help.stderr.is_empty());
        let version = machine.run(&[tool, "--version"]).expect(0);
        assert_eq!(
            version.stdout,
            format!("{tool} {}\n", env!("CARGO_PKG_VERSION"))
        );
        let _ = machine.run(&[tool, "--no-such-option"]).expect(2);
    }
    assert_eq!(
        std::fs::read_dir(machine.home()).unwrap().count(),
        0,
        "nothing was written anywhere"
    );
}

#[test]
fn without_credentials_each_tool_says_what_to_type() {
    let machine = machine();
    let outcome = machine.run(&["ente-pull", machine.dir()]).expect(10);
    assert!(
        outcome.stderr.contains("hint:") && outcome.stderr.contains("ente-login"),
        "{}",
        outcome.stderr
    );
    assert!(!machine.export.exists());
    for tool in ["ente-decrypt", "ente-meta", "ente-verify"] {
        let outcome = machine.run(&[tool, machine.dir()]).expect(1);
        assert!(
            outcome.stderr.starts_with(&format!("{tool}: error: ")),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn a_reader_that_goes_away_ends_a_tool_quietly() {
    let (_museum, machine) = golden();
    let mut child = machine
        .command(&["ente-pull", "--list", machine.dir()])
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn two_runs_at_once_keep_out_of_each_others_way() {
    let (museum, machine) = golden();
    expect_all(&machine.pipeline(), 0);
    // A living process that holds the lock: this test itself.
    let holder = serde_json::json!({
        "tool": "ente-pull", "pid": std::process::id(), "host": hostname(), "started": null, "run": "another", "since": 0,
    });
    std::fs::write(machine.export.join(".ente/pull.lock"), holder.to_string()).unwrap();
    museum.with_library(|library| library.switch_to(ente_tests::library::GoldenState::Changed));
    let outcome = machine.run(&["ente-pull", machine.dir()]).expect(11);
    assert!(
        outcome.stderr.contains(&std::process::id().to_string()),
        "{}",
        outcome.stderr
    );
    std::fs::remove_file(machine.export.join(".ente/pull.lock")).unwrap();
    expect_all(&machine.pipeline(), 0);
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .unwrap()
        .trim()
        .to_owned()
}

#[test]
fn a_closed_standard_output_of_the_last_stage_leaves_whole_files() {
    let (_museum, machine) = golden();
    let _ = machine.run(&["ente-pull", machine.dir()]).expect(0);
    let mut child = machine
        .command(&["ente-decrypt", machine.dir()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(141));
    expect_all(&machine.steps(), 0);
    ente_tests::harness::assert_golden(&machine.export, &crate::expected("1-initial"));
    assert!(tree(&machine.export).len() > 30);
}
