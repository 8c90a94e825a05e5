//! All automation of the workspace: `cargo xtask COMMAND`.
//!
//! Each command is a module. Nothing here needs a shell, and only `interop`, `crash` and `bench` need programs that Rust does not bring.

#![expect(
    clippy::print_stdout,
    reason = "these are commands for people at a terminal"
)]

mod bench;
mod ci;
mod demo;
mod fuzz;
mod interop;
mod run;
mod scene;
mod serve;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

/// What ends a command, told in one line.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Checks, demonstrates and serves the workspace
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Run everything that must pass: format, tidy, clippy, docs, all tests
    Ci,
    /// Check layers, file sizes, links, words and forgotten test files
    Tidy,
    /// Hold exports against other people's programs: b3sum, jq, exiftool, parallel, xargs, Python with PyNaCl
    Interop,
    /// Feed every parser with odd input for a while and hold it to its invariants
    Fuzz(fuzz::Args),
    /// Serve an account made up for trying the tools, until Ctrl-C
    Serve(serve::Args),
    /// Show what the tools do, on an account made up for it
    Demo(demo::Args),
    /// Kill the tools, and cut the power, wherever they change something on disk; see that the next run makes it good; needs strace
    Crash(DriverArgs),
    /// Let server and network fail at random, and see that the next run makes it good
    Faults(DriverArgs),
    /// Measure the tools, as users get them, beside curl, b2sum, b3sum and dd
    Bench(bench::Args),
    /// Let things go wrong on this machine: full, broken and odd disks, permissions, clocks
    LocalFaults(DriverArgs),
}

/// What is handed on to a driver of the tests; `-- --help` tells what it takes
#[derive(clap::Args)]
struct DriverArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Ci => ci::run_all(),
        Command::Tidy => tidy::run(),
        Command::Interop => interop::run(),
        Command::Fuzz(args) => fuzz::feed(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Crash(driver) => run::driver("ente-crash", &driver.args),
        Command::Faults(driver) => run::driver("ente-faults", &driver.args),
        Command::Bench(args) => bench::measure(&args),
        Command::LocalFaults(driver) => run::driver("ente-local", &driver.args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("xtask: error: {error}");
            ExitCode::FAILURE
        }
    }
}
