//! What can go wrong on this machine: disks that are full, broken, read-only or gone, odd file systems, other users, clocks.
//!
//! Each case makes something go wrong, looks at what the tools said and left, puts it right, and runs them again: the export must
//! then be what the account says. What cannot be had here is skipped, by name and with the reason.

#![expect(
    clippy::print_stdout,
    reason = "the driver of a command for people at a terminal"
)]

mod bench;
mod clock;
mod large;
mod mounts;
mod names;
mod needs;
mod sweep;
mod users;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

use needs::Need;

/// Lets things go wrong on this machine, one by one
#[derive(clap::Parser)]
#[command(name = "cargo xtask local-faults")]
pub struct Args {
    /// Only the cases whose names contain one of these
    cases: Vec<String>,
    /// Of the operations on the disk let only every Nth fail, for a shorter run
    #[arg(long, value_name = "N", default_value = "1")]
    every: usize,
    /// Try an object of so many GiB too
    #[arg(long, value_name = "GIB")]
    large: Option<u64>,
    /// Say which cases there are
    #[arg(long)]
    list: bool,
}

/// What a case is given.
struct Context {
    tool: PathBuf,
    every: usize,
    large_gib: Option<u64>,
}

/// What a case saw, or what was wrong.
type Verdict = Result<String, String>;

struct Case {
    name: &'static str,
    needs: &'static [Need],
    run: fn(&Context) -> Verdict,
}

fn cases() -> Vec<Case> {
    [
        sweep::CASES,
        mounts::CASES,
        users::CASES,
        names::CASES,
        clock::CASES,
        large::CASES,
    ]
    .concat()
}

impl Clone for Case {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

/// Runs the cases; `tool` is the binary that holds all five tools.
///
/// # Errors
/// When one failed; each is told by a line on standard output.
pub fn run(args: &Args, tool: &Path) -> Result<(), String> {
    let context = Context {
        tool: tool.to_owned(),
        every: args.every.max(1),
        large_gib: args.large,
    };
    let is_chosen = |case: &Case| {
        args.cases.is_empty()
            || args
                .cases
                .iter()
                .any(|part| case.name.contains(part.as_str()))
    };
    let (mut passed, mut skipped, mut failed) = (0, 0, 0);
    for case in cases().into_iter().filter(is_chosen) {
        if args.list {
            println!("{}", case.name);
            continue;
        }
        if let Some(missing) = case.needs.iter().find_map(|need| need.missing()) {
            println!("skipped {}: {missing}", case.name);
            skipped += 1;
            continue;
        }
        let start = Instant::now();
        let verdict = catch_unwind(AssertUnwindSafe(|| (case.run)(&context)));
        let seconds = start.elapsed().as_secs();
        match verdict.unwrap_or_else(|_| Err("broke off; see above".into())) {
            Ok(seen) => {
                println!("ok      {} ({seconds} s): {seen}", case.name);
                passed += 1;
            }
            Err(error) => {
                println!("FAILED  {} ({seconds} s): {error}", case.name);
                failed += 1;
            }
        }
    }
    if args.list {
        return Ok(());
    }
    println!("\nlocal faults: {passed} passed, {failed} failed, {skipped} skipped");
    match failed {
        0 => Ok(()),
        _ => Err(format!("{failed} cases failed")),
    }
}
