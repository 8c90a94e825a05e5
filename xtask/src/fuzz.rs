//! `cargo xtask fuzz`: feeds the parsers for a while.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use ente_tests::fuzz::{TARGETS, Target};

use crate::Result;
use crate::run::{built, cargo, run};
use crate::workspace::root;

/// How many targets are fed at once.
const SIDE_BY_SIDE: usize = 2;

/// Where libFuzzer collects inputs that reached something new.
const COLLECTED: &str = "target/fuzz";

/// What to feed, and for how long.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Feed only this target
    target: Option<String>,
    /// Feed each for so long
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Let libFuzzer choose the inputs by the code that they reach; needs a C++ compiler
    #[arg(long)]
    guided: bool,
}

/// Feeds all targets, or one; fails when an invariant is broken.
pub(crate) fn feed(args: &Args) -> Result {
    let is_meant = |target: &Target| {
        args.target
            .as_deref()
            .is_none_or(|name| name == target.name)
    };
    let targets: VecDeque<Target> = TARGETS.into_iter().filter(is_meant).collect();
    if targets.is_empty() {
        let names = TARGETS.map(|target| target.name).join(", ");
        return Err(format!("there is no such target; there are {names}").into());
    }
    let program = if args.guided {
        guided()?
    } else {
        built("ente-fuzz")?
    };
    let waiting = Mutex::new(targets);
    let next = || waiting.lock().ok()?.pop_front();
    let work = || {
        let mut failed = Vec::new();
        while let Some(target) = next() {
            let mut command = if args.guided {
                by_libfuzzer(&program, &target, args.seconds)?
            } else {
                let mut command = Command::new(&program);
                command.arg(target.name).arg(args.seconds.to_string());
                command
            };
            if run(&mut command).is_err() {
                failed.push(target.name);
            }
        }
        Ok::<_, std::io::Error>(failed)
    };
    let mut failed = Vec::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..SIDE_BY_SIDE).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            failed.extend(worker.join().expect("a worker does not panic")?);
        }
        Ok::<_, std::io::Error>(())
    })?;
    if failed.is_empty() {
        return Ok(());
    }
    Err(format!(
        "an invariant is broken in {}; the input is in its corpus",
        failed.join(", ")
    )
    .into())
}

/// Builds our own crates once more, instrumented.
fn guided() -> Result<PathBuf> {
    let instrument = built("ente-instrument")?;
    let mut build = cargo(&["build", "--locked", "--package", "ente-tests"]);
    build.args(["--features", "guided", "--bin", "ente-fuzz-guided"]);
    build.env("RUSTC_WORKSPACE_WRAPPER", &instrument);
    run(&mut build)?;
    Ok(instrument.with_file_name("ente-fuzz-guided"))
}

fn by_libfuzzer(program: &Path, target: &Target, seconds: u64) -> std::io::Result<Command> {
    let collected = root().join(COLLECTED).join(target.name);
    std::fs::create_dir_all(&collected)?;
    let found = target.folder().join("found-");
    let mut command = Command::new(program);
    command.env("ENTE_FUZZ_TARGET", target.name);
    command.arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-artifact_prefix={}", found.display()));
    command.args([
        "-timeout=20",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
        "-verbosity=0",
    ]);
    command.arg(collected).arg(target.folder());
    Ok(command)
}
