//! `cargo xtask ci`: everything that must pass before a change lands, in the order of how soon it fails.

use crate::run::{cargo, run, run_seen};
use crate::{Result, tidy};

/// Runs all checks; the tests come last, so that what cargo says about them ends the output.
pub(crate) fn run_all() -> Result {
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    tidy::run()?;
    run(&mut cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--features",
        "ente-login/keyring",
        "--locked",
        "--",
        "--deny",
        "warnings",
    ]))?;
    let doc = ["doc", "--workspace", "--no-deps", "--locked"];
    run(cargo(&doc).env("RUSTDOCFLAGS", "--deny warnings"))?;
    test()
}

fn test() -> Result {
    let mut summary = Vec::new();
    let test = ["test", "--workspace", "--locked", "--no-fail-fast"];
    let result = run_seen(&mut cargo(&test), |line| {
        let said = ["Running ", "Doc-tests ", "test result: "];
        if said
            .iter()
            .any(|start| line.trim_start().starts_with(start))
        {
            summary.push(line.to_owned());
        }
    });
    println!("\nSummary of the tests:");
    for line in summary {
        println!("{line}");
    }
    result
}
