//! Starts the measurements: `cargo xtask bench`.
#![expect(
    clippy::print_stdout,
    reason = "this is a command for people at a terminal"
)]

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    use clap::Parser as _;
    use ente_tests::bench;

    if std::env::args().nth(1).as_deref() == Some(bench::STOPWATCH) {
        return end(bench::stopwatch().map_err(|error| error.to_string()));
    }
    let args = bench::Args::parse();
    let tools = std::env::current_exe().map_err(|error| error.to_string());
    let tools = tools.and_then(|own| {
        own.parent()
            .map(Into::into)
            .ok_or_else(|| "no folder".into())
    });
    end(tools.and_then(|tools| bench::run(&args, tools)))
}

#[cfg(target_os = "linux")]
fn end(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    println!("bench: needs /proc and GNU tools of Linux");
    ExitCode::FAILURE
}
