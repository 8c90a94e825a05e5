//! Starts the tests of what can go wrong on this machine: `cargo xtask local-faults`.
#![expect(
    clippy::print_stdout,
    reason = "this is a command for people at a terminal"
)]

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    use clap::Parser as _;

    let args = ente_tests::local::Args::parse();
    let tool = std::env::current_exe().map(|path| path.with_file_name("ente-tool"));
    let result = tool
        .map_err(|error| error.to_string())
        .and_then(|tool| ente_tests::local::run(&args, &tool));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("local-faults: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    println!("local-faults: needs the mounts of Linux");
    ExitCode::FAILURE
}
