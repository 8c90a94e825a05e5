//! Kills the tools at every point at which they change something on disk, and at random moments, cuts the `power` there, and looks whether the
//! next run makes it good.
//!
//! Each `scenario` is prepared once: an account, an export in some state, a line of tools, and the tree that the line leads to when nothing
//! happens. A run under `strace` counts the calls of each stage that change something. A round then starts from a copy of that state, has
//! `strace` kill one stage just before one of these calls, `check`s what lies there, runs the line again and checks that nothing was lost,
//! nothing half is there, and nothing was fetched twice. Nothing is left to timing but the kills at random moments.

#![expect(
    clippy::print_stdout,
    reason = "this is a command for people at a terminal"
)]

mod account;
mod calls;
mod check;
mod disk;
mod pipe;
mod power;
mod round;
mod scenario;
mod strace;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Parser;

use crate::library::seed::{Seed, Stream};

use disk::Loss;
use pipe::Kill;
use round::{Played, Ready};
use scenario::Scenario;
use strace::Point;

/// Kill the tools, and cut the power, at points where they change something, run them again, see that all is well
#[derive(Clone, Debug, Parser)]
#[command(name = "cargo xtask crash", bin_name = "cargo xtask crash")]
pub struct Args {
    /// So many kills, over all scenarios
    #[arg(long, default_value_t = 200)]
    rounds: usize,
    /// So many power cuts, over all scenarios [default: a fifth of the rounds]
    #[arg(long, value_name = "N")]
    cuts: Option<usize>,
    /// What is random follows from this number
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only scenarios whose name contains this
    #[arg(long, value_name = "NAME", default_value = "")]
    only: String,
    /// Only this point, as a failure shows it
    #[arg(long, value_name = "STAGE:CALL:NTH")]
    at: Option<Point>,
    /// Only a power cut after so many calls, as a failure shows it
    #[arg(long, value_name = "N")]
    cut: Option<usize>,
    /// Rounds at a time [default: the number of cores]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

/// One in so many rounds is killed at a random moment instead of at a point.
const RANDOM_MOMENTS: u64 = 5;

/// Figures of one scenario.
#[derive(Debug, Default)]
struct Figures {
    name: String,
    points: usize,
    hit: BTreeSet<Point>,
    rounds: usize,
    moments: usize,
    through: usize,
    held: usize,
    resumed: usize,
    fetched: usize,
    calls: usize,
    cuts: usize,
    failures: Vec<String>,
}

/// Kills, and prints figures; true if all is well. `tool` is the binary that holds all five tools.
///
/// # Panics
/// If a scenario does not work even without a kill.
pub fn run(args: &Args, tool: PathBuf) -> Result<(), String> {
    if let Some(missing) = strace::missing() {
        return Err(missing.to_owned());
    }
    // What goes wrong is caught, and shown with the way to repeat it.
    std::panic::set_hook(Box::new(|_| {}));
    let since = Instant::now();
    let mut scenarios = scenario::all(args.seed);
    scenarios.retain(|scenario| scenario.name.contains(&args.only));
    let count = scenarios.len().max(1);
    let share = |of: usize, number: usize| of / count + usize::from(number < of % count);
    let cuts = args.cuts.unwrap_or(args.rounds / 5);
    let shares = (0..count).map(|number| (share(args.rounds, number), share(cuts, number)));
    let queue: Mutex<Vec<_>> = Mutex::new(scenarios.into_iter().zip(shares).rev().collect());
    let all = Mutex::new(Vec::new());
    let jobs = args
        .jobs
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no worker panics").pop();
                    let Some((scenario, share)) = next else { break };
                    let figures = rounds(args, &scenario, share, &tool);
                    show(&figures);
                    all.lock().expect("no worker panics").push(figures);
                }
            });
        }
    });
    let all = all.into_inner().expect("no worker panics");
    sum_up(&all, since.elapsed())
}

fn rounds(args: &Args, scenario: &Scenario, share: (usize, usize), tool: &Path) -> Figures {
    let mut figures = Figures {
        name: scenario.name.clone(),
        ..Figures::default()
    };
    let label: i64 = scenario.name.bytes().map(i64::from).sum();
    let mut random = Seed::new(args.seed).stream("crash", &[label]);
    match caught(|| Ready::new(scenario, tool)) {
        Ok(ready) => {
            kills(args, &ready, share.0, &mut random, &mut figures);
            cuts(args, &ready, share.1, &mut random, &mut figures);
        }
        Err(said) => figures.failures.push(format!("without a kill: {said}")),
    }
    figures
}

fn kills(args: &Args, ready: &Ready, share: usize, random: &mut Stream, figures: &mut Figures) {
    figures.points = ready.points.len();
    let mut points = args
        .at
        .as_ref()
        .map_or_else(|| ready.points.clone(), |point| vec![point.clone()]);
    shuffle(&mut points, random);
    let mut next = points.iter().cycle();
    for _ in 0..share {
        let kill = match next.next() {
            Some(point) if args.at.is_some() || random.below(RANDOM_MOMENTS) > 0 => Kill::At {
                point: point.clone(),
                all: random.below(2) == 0,
            },
            _ => {
                figures.moments += 1;
                let micros = random.below(ready.time.as_micros() as u64);
                Kill::After(Duration::from_micros(micros))
            }
        };
        figures.rounds += 1;
        match caught(|| ready.play(&kill)) {
            Ok(played) => figures.note(&kill, played),
            Err(said) => figures.failures.push(format!("{}: {said}", repeat(&kill))),
        }
    }
}

fn cuts(args: &Args, ready: &Ready, share: usize, random: &mut Stream, figures: &mut Figures) {
    // A log with all bytes of a large file would be larger still.
    if share == 0 || ready.scenario.is_large() {
        return;
    }
    let recorded = match caught(|| ready.record()) {
        Ok(recorded) => recorded,
        Err(said) => return figures.failures.push(format!("recorded: {said}")),
    };
    figures.calls = recorded.calls.len();
    let losses = [Loss::Everything, Loss::Content, Loss::Names, Loss::Some];
    let mut states: Vec<_> = match args.cut {
        Some(after) => vec![after],
        None => (0..recorded.calls.len()).collect(),
    };
    shuffle(&mut states, random);
    // The end of the run comes first: what it promises is more than what a cut in the middle must leave.
    let states = args
        .cut
        .into_iter()
        .chain([recorded.calls.len()])
        .chain(states)
        .cycle();
    for (number, after) in states.take(share).enumerate() {
        let loss = match number {
            0 => Loss::Everything,
            _ => *random.pick(&losses),
        };
        figures.cuts += 1;
        if let Err(said) = caught(|| ready.cut(&recorded, after, loss, random)) {
            let call = recorded.calls[..after].last();
            let call = call.map(|call| call.to_string()).unwrap_or_default();
            figures.failures.push(format!(
                "--cut {after} (lost: {loss:?}, after {call}): {said}"
            ));
        }
    }
}

impl Figures {
    fn note(&mut self, kill: &Kill, played: Played) {
        match kill {
            _ if !played.was_killed => self.through += 1,
            Kill::At { point, .. } => drop(self.hit.insert(point.clone())),
            Kill::After(_) | Kill::None => {}
        }
        self.held += played.held;
        self.resumed += played.resumed;
        self.fetched += played.fetched;
    }
}

fn repeat(kill: &Kill) -> String {
    match kill {
        Kill::At { point, all } => format!("--at {point} (all: {all})"),
        Kill::After(time) => format!("after {time:?}"),
        Kill::None => "no kill".to_owned(),
    }
}

fn shuffle<T>(points: &mut [T], random: &mut Stream) {
    for last in (1..points.len()).rev() {
        points.swap(last, random.below(last as u64 + 1) as usize);
    }
}

/// What a panic said.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default()
    })
}

fn show(figures: &Figures) {
    println!(
        "{:<26} {:>6} points, {:>5} rounds: {:>5} points hit, {:>4} random moments, {:>4} ran through; {:>5} objects held, {:>3} in part, {:>5} fetched; {:>4} power cuts in {:>4} calls; {} wrong",
        figures.name,
        figures.points,
        figures.rounds,
        figures.hit.len(),
        figures.moments,
        figures.through,
        figures.held,
        figures.resumed,
        figures.fetched,
        figures.cuts,
        figures.calls,
        figures.failures.len()
    );
    for failure in &figures.failures {
        println!("    FAILED {failure}");
    }
}

fn sum_up(all: &[Figures], time: Duration) -> Result<(), String> {
    let sum = |of: fn(&Figures) -> usize| all.iter().map(of).sum::<usize>();
    let wrong = sum(|figures| figures.failures.len());
    println!(
        "\n{} scenarios, {} points, {} rounds in {:.0} s: {} points hit, {} random moments, {} ran through; {} objects held, none of them fetched again, {} in part, all resumed; {} power cuts in {} calls; {wrong} wrong",
        all.len(),
        sum(|figures| figures.points),
        sum(|figures| figures.rounds),
        time.as_secs_f64(),
        sum(|figures| figures.hit.len()),
        sum(|figures| figures.moments),
        sum(|figures| figures.through),
        sum(|figures| figures.held),
        sum(|figures| figures.resumed),
        sum(|figures| figures.cuts),
        sum(|figures| figures.calls),
    );
    if wrong == 0 {
        Ok(())
    } else {
        Err(format!("{wrong} rounds went wrong"))
    }
}
