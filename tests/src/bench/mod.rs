//! How fast the tools are, and what bounds them: each figure beside a reference that was taken in the same run.
//!
//! A case prepares an account and a machine, lets ours and the references run by turns (`contest`), each in a process of its own that is timed by a
//! small one ([`stopwatch`]), and gives rows for the table. The goals stand with the cases. `docs/performance.md` shows the table of a quiet machine.

#![expect(
    clippy::print_stdout,
    reason = "the driver of a command for people at a terminal"
)]

mod cases;
mod contest;
mod machine;
mod picture;
mod primitives;
mod report;
mod stopwatch;
mod yard;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use tempfile::TempDir;

use contest::{Contest, Rounds, Series};

pub use stopwatch::{ARGUMENT as STOPWATCH, serve as stopwatch};

/// Measures the tools against references, case by case
#[derive(clap::Parser)]
#[command(name = "cargo xtask bench")]
pub struct Args {
    /// Only these cases, or those whose names begin so
    cases: Vec<String>,
    /// A hundredth of everything, once: whether the cases work, not how fast the tools are
    #[arg(long)]
    quick: bool,
    /// How many entries the manifests have that show growth
    #[arg(long, value_name = "N,N…", value_delimiter = ',', default_values_t = [10_000, 100_000, 1_000_000])]
    entries: Vec<usize>,
    /// Start this tool through another command, which is timed with it: --wrap 'ente-pull=strace -fco /tmp/calls'; may be given several times
    #[arg(long, value_name = "TOOL=COMMAND", value_parser = parse_wrap)]
    wrap: Vec<(String, Vec<String>)>,
    /// Where exports in memory lie
    #[arg(long, value_name = "FOLDER", default_value = "/dev/shm")]
    memory: PathBuf,
    /// Where exports on the disk lie [default: beside this program]
    #[arg(long, value_name = "FOLDER")]
    disk: Option<PathBuf>,
    /// Append every single run, and every row, to this file as JSON Lines
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Put the figures of these cases into docs/performance.md, and their curves beside it
    #[arg(long, conflicts_with = "quick")]
    write_docs: bool,
    /// Say which cases there are
    #[arg(long)]
    list: bool,
}

/// What every case is given.
pub(crate) struct Setup {
    /// Where the five tools are.
    tools: PathBuf,
    memory: PathBuf,
    disk: PathBuf,
    is_quick: bool,
    entries: Vec<usize>,
    wrap: Vec<(String, Vec<String>)>,
    json: Option<File>,
}

impl Setup {
    /// A fresh folder below one of the two.
    fn scratch(&self, below: &Path) -> Result<TempDir, String> {
        let folder = tempfile::Builder::new()
            .prefix("ente-bench-")
            .tempdir_in(below);
        folder.map_err(|error| format!("no folder below `{}`: {error}", below.display()))
    }

    /// A size as it is meant, or a hundredth of it, at least 1.
    fn scaled(&self, size: usize) -> usize {
        if self.is_quick {
            (size / 100).max(1)
        } else {
            size
        }
    }

    /// A contest of runs that take some seconds.
    fn contest<'a>(&self, case: &str) -> Contest<'a> {
        self.contest_of(case, 3)
    }

    /// A contest with so many rounds at least.
    fn contest_of<'a>(&self, case: &str, least: usize) -> Contest<'a> {
        let rounds = match self.is_quick {
            true => Rounds {
                least: 1,
                most: 1,
                budget: Duration::ZERO,
            },
            false => Rounds {
                least,
                most: 9,
                budget: Duration::from_secs(15),
            },
        };
        Contest::new(case, rounds)
    }

    /// Writes down every run of a contest.
    fn keep(&self, series: &Series) -> Result<(), String> {
        series
            .samples()
            .try_for_each(|sample| self.write_down(&sample))
    }

    fn write_down(&self, value: &impl Serialize) -> Result<(), String> {
        let Some(mut file) = self.json.as_ref() else {
            return Ok(());
        };
        let mut line = serde_json::to_string(value).map_err(|error| error.to_string())?;
        line.push('\n');
        file.write_all(line.as_bytes())
            .map_err(|error| error.to_string())
    }
}

fn parse_wrap(text: &str) -> Result<(String, Vec<String>), String> {
    let (tool, command) = text.split_once('=').ok_or("not TOOL=COMMAND")?;
    let words = command.split_whitespace().map(str::to_owned);
    Ok((tool.to_owned(), words.collect()))
}

/// Runs the cases and prints the table; `tools` is the folder of the five tools.
///
/// # Errors
/// When a case could not be run; a goal that is missed is no error.
pub fn run(args: &Args, tools: PathBuf) -> Result<(), String> {
    let mut chosen = cases::all();
    let names: Vec<&str> = chosen.iter().map(|case| case.name).collect();
    // A whole name means that case alone, though others may begin with it.
    let is_meant = |name: &str, meant: &str| {
        name == meant || name.starts_with(meant) && !names.contains(&meant)
    };
    chosen.retain(|case| {
        args.cases.is_empty() || args.cases.iter().any(|meant| is_meant(case.name, meant))
    });
    if args.list {
        chosen
            .iter()
            .for_each(|case| println!("{:16} {}", case.name, case.about));
        return Ok(());
    }
    if chosen.is_empty() {
        return Err("no case has such a name; `--list` shows them".to_owned());
    }
    let setup = Setup {
        disk: args.disk.clone().unwrap_or_else(|| tools.clone()),
        memory: if args.memory.is_dir() {
            args.memory.clone()
        } else {
            std::env::temp_dir()
        },
        tools,
        is_quick: args.quick,
        entries: args.entries.clone(),
        wrap: args.wrap.clone(),
        json: args.json.as_deref().map(opened).transpose()?,
    };
    let machine = machine::describe(&setup);
    println!("{machine}\n");
    setup.write_down(&serde_json::json!({"machine": machine, "quick": args.quick}))?;
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for case in &chosen {
        if let Some(missing) = case.needs.iter().find_map(machine::missing) {
            println!("skipped {}: {missing}", case.name);
            continue;
        }
        let start = Instant::now();
        match (case.run)(&setup) {
            Ok(found) if found.is_empty() => {
                println!("FAILED {}: no size had room", case.name);
                failed.push(case.name);
            }
            Ok(found) => {
                println!("{} ({:.0} s)", case.name, start.elapsed().as_secs_f64());
                found.iter().try_for_each(|row| setup.write_down(row))?;
                if args.write_docs {
                    report::write_docs(&machine, case.name, &found)?;
                }
                rows.extend(found);
            }
            Err(error) => {
                println!("FAILED {}: {error}", case.name);
                failed.push(case.name);
            }
        }
    }
    println!("\n{}", report::table(&rows));
    if args.quick {
        println!(
            "Sizes are a hundredth, and each ran once: these figures only show that the cases work."
        );
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(format!("these cases failed: {}", failed.join(", "))),
    }
}

fn opened(path: &Path) -> Result<File, String> {
    let file = File::options().create(true).append(true).open(path);
    file.map_err(|error| format!("{}: {error}", path.display()))
}
