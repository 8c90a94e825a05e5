//! `cargo xtask bench`: builds the tools as users get them, and measures them.

use std::process::Command;

use crate::Result;
use crate::run::{cargo, run};
use crate::scene::TOOLS;

/// How to build, and what is handed on to the driver.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measure the debug build, which is there already; its figures mean nothing. Must come first
    #[arg(long)]
    dev: bool,
    /// Cases and options of the driver; `-- --help` tells which there are
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Builds and measures.
pub(crate) fn measure(args: &Args) -> Result {
    let folder = if args.dev { "debug" } else { "release" };
    if args.dev {
        run_cargo(&["build", "--locked", "--workspace", "--bins"])?;
    } else {
        // One by one, as `cargo install` does: built together, each would carry what the others need of their common crates.
        for tool in TOOLS {
            run_cargo(&["build", "--release", "--locked", "--package", tool])?;
        }
        run_cargo(&[
            "build",
            "--release",
            "--locked",
            "--package",
            "ente-tests",
            "--bin",
            "ente-bench",
        ])?;
    }
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).ok_or("no target folder")?;
    let driver = target.join(folder).join("ente-bench");
    run(Command::new(driver).args(&args.args))
}

fn run_cargo(args: &[&str]) -> Result {
    run(&mut cargo(args))
}
