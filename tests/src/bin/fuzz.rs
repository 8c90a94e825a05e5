//! Feeds one fuzz target for a while on stable Rust: `ente-fuzz TARGET SECONDS [SEED]`. What breaks an invariant is added to its corpus.
#![expect(
    clippy::print_stdout,
    reason = "this is a command for people at a terminal"
)]

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ente_tests::fuzz::{Target, driver};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| args.get(at).and_then(|text| text.parse::<u64>().ok());
    let target = args.first().and_then(|name| Target::named(name));
    let (Some(target), Some(seconds)) = (target, number(1)) else {
        println!("usage: ente-fuzz TARGET SECONDS [SEED]");
        return ExitCode::from(2);
    };
    // Other inputs on each day, and the same ones again with the number that is shown.
    let seed = number(2).unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.unwrap_or_default().as_secs()
    });
    let start = Instant::now();
    let limit = Duration::from_secs(seconds);
    let report = driver::run(&target, seed, |_| start.elapsed() < limit);
    println!(
        "{}: {} inputs in {:.0} s, the slowest in {:.0?}, seed {seed}",
        target.name,
        report.inputs,
        start.elapsed().as_secs_f64(),
        report.slowest
    );
    let Some(input) = report.found else {
        return ExitCode::SUCCESS;
    };
    let name = format!("found-{}", &blake3::hash(&input).to_hex()[..16]);
    let path = target.folder().join(name);
    match std::fs::write(&path, input) {
        Ok(()) => println!(
            "{}: an invariant is broken by `{}`",
            target.name,
            path.display()
        ),
        Err(error) => println!("{}: cannot keep what was found: {error}", target.name),
    }
    ExitCode::FAILURE
}
