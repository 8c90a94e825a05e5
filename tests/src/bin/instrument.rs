//! Stands before the compiler while `cargo xtask fuzz --guided` builds: our own crates, and with them the generic code of others that they use, tell
//! libFuzzer which code an input reaches. All of these flags are stable Rust.

use std::process::{Command, ExitCode};

const FLAGS: [&str; 6] = [
    "-Copt-level=2",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let compiler = args.next().unwrap_or_else(|| "rustc".into());
    let status = Command::new(compiler).args(args).args(FLAGS).status();
    match status.ok().and_then(|status| status.code()) {
        Some(0) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
