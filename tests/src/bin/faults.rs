//! Starts random faults over random histories; everything is in [`ente_tests::faults`].

#![expect(clippy::print_stdout, reason = "a command for people at a terminal")]

use std::process::ExitCode;

use clap::Parser;
use ente_tests::faults::{Plan, run};

/// Lets server and network fail at random, and checks what the tools make of it
#[derive(Parser)]
struct Args {
    /// Random histories of an account
    #[arg(long, default_value_t = 100)]
    rounds: u64,
    /// Of the first one; each further one has the next
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Histories side by side
    #[arg(long, default_value_t = 4)]
    workers: usize,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let tool = std::env::current_exe().map(|own| own.with_file_name("ente-tool"));
    let Ok(tool) = tool else {
        println!("faults: the folder of this program cannot be found");
        return ExitCode::FAILURE;
    };
    let plan = Plan {
        tool,
        rounds: args.rounds,
        seed: args.seed,
        workers: args.workers,
    };
    let figures = run(&plan, |wrong| println!("{wrong}"));
    println!("{figures}");
    match figures.are_good() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
