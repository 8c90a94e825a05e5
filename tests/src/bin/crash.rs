//! Starts the crash tests: `cargo xtask crash`.
#![expect(
    clippy::print_stdout,
    reason = "this is a command for people at a terminal"
)]

use std::process::ExitCode;

use clap::Parser as _;
use ente_tests::crash::{self, Args};

fn main() -> ExitCode {
    let args = Args::parse();
    let tool = std::env::current_exe().map(|path| path.with_file_name("ente-tool"));
    let result = tool
        .map_err(|error| error.to_string())
        .and_then(|tool| crash::run(&args, tool));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("crash: {error}");
            ExitCode::FAILURE
        }
    }
}
