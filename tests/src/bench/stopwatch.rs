//! Runs a command line and takes its time, processor time and memory.
//!
//! A small process of its own starts what is measured: the kernel counts the memory that a process had before it became another program, so a
//! child of the driver would seem to need as much as the driver itself.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use wait4::Wait4 as _;

/// The argument that makes the driver the small process.
pub const ARGUMENT: &str = "stopwatch";

/// Programs joined by pipes; the output of the last is thrown away.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Line {
    /// Each with its arguments.
    pub(super) stages: Vec<Vec<String>>,
    /// All of the environment.
    pub(super) env: Vec<(String, String)>,
    /// Where they run.
    pub(super) folder: PathBuf,
    /// How often, one after the other.
    pub(super) times: usize,
}

impl Line {
    /// As one would type it, programs and paths by their last names.
    pub(super) fn text(&self) -> String {
        let stage = |stage: &Vec<String>| {
            let words = stage
                .iter()
                .map(|word| match Path::new(word).is_absolute() {
                    true => Path::new(word)
                        .file_name()
                        .unwrap_or_default()
                        .to_string_lossy(),
                    false => word.into(),
                });
            words.collect::<Vec<_>>().join(" ")
        };
        self.stages
            .iter()
            .map(stage)
            .collect::<Vec<_>>()
            .join(" | ")
    }
}

/// What one run of a line took.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Taken {
    /// From before the start of the first stage until all had ended.
    pub(super) wall_s: f64,
    pub(super) stages: Vec<Stage>,
}

/// What one process took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stage {
    pub(super) program: String,
    /// Exit code; none after a signal.
    pub(super) code: Option<i32>,
    pub(super) user_s: f64,
    pub(super) system_s: f64,
    /// Most memory that was resident.
    pub(super) peak_bytes: u64,
}

impl Taken {
    /// So much time and nothing else: a reference that is put together.
    pub(super) fn seconds(wall_s: f64) -> Self {
        Self {
            wall_s,
            stages: Vec::new(),
        }
    }

    /// What this program takes for a piece of work.
    pub(super) fn timed(work: impl FnOnce() -> Result<(), String>) -> Result<Self, String> {
        let start = Instant::now();
        work()?;
        Ok(Self::seconds(start.elapsed().as_secs_f64()))
    }

    /// Processor time of all stages.
    pub(super) fn cpu_s(&self) -> f64 {
        self.stages
            .iter()
            .map(|stage| stage.user_s + stage.system_s)
            .sum()
    }

    /// The most that any one stage held.
    pub(super) fn peak_bytes(&self) -> u64 {
        self.stages
            .iter()
            .map(|stage| stage.peak_bytes)
            .max()
            .unwrap_or(0)
    }
}

/// Runs the line; every stage must end with 0.
pub(super) fn take(line: &Line) -> Result<Vec<Taken>, String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
    let own = std::env::current_exe().map_err(|error| failed("the driver's own path", &error))?;
    let said = tempfile::NamedTempFile::new().map_err(|error| failed("a scratch file", &error))?;
    let errors = said
        .reopen()
        .map_err(|error| failed("a scratch file", &error))?;
    let mut child = Command::new(own)
        .arg(ARGUMENT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .map_err(|error| failed("the stopwatch", &error))?;
    let order = serde_json::to_vec(line).map_err(|error| failed("the line", &error))?;
    let mut stdin = child.stdin.take().ok_or("the stopwatch takes no orders")?;
    stdin
        .write_all(&order)
        .map_err(|error| failed("the stopwatch", &error))?;
    drop(stdin);
    let output = child
        .wait_with_output()
        .map_err(|error| failed("the stopwatch", &error))?;
    let said = || {
        let text = std::fs::read_to_string(said.path()).unwrap_or_default();
        let tail: Vec<&str> = text.lines().rev().take(12).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    };
    if !output.status.success() {
        return Err(format!("`{}` cannot be run:\n{}", line.text(), said()));
    }
    let taken: Vec<Taken> =
        serde_json::from_slice(&output.stdout).map_err(|error| failed("the stopwatch", &error))?;
    match taken
        .iter()
        .flat_map(|one| &one.stages)
        .find(|stage| stage.code != Some(0))
    {
        None => Ok(taken),
        Some(stage) => Err(format!(
            "in `{}`, {} ended with {:?}:\n{}",
            line.text(),
            stage.program,
            stage.code,
            said()
        )),
    }
}

/// The small process: reads a line from standard input, runs it, writes what it took to standard output.
///
/// # Errors
/// When something cannot be started.
pub fn serve() -> std::io::Result<()> {
    let line: Line = serde_json::from_reader(std::io::stdin().lock())?;
    let taken = (0..line.times.max(1))
        .map(|_| run(&line))
        .collect::<std::io::Result<Vec<_>>>()?;
    serde_json::to_writer(std::io::stdout().lock(), &taken)?;
    Ok(())
}

fn run(line: &Line) -> std::io::Result<Taken> {
    let start = Instant::now();
    let mut children: Vec<Child> = Vec::new();
    let mut upstream = Stdio::null();
    for (number, stage) in line.stages.iter().enumerate() {
        let is_last = number + 1 == line.stages.len();
        let output = match is_last {
            true => File::options().write(true).open("/dev/null")?.into(),
            false => Stdio::piped(),
        };
        let program = stage.first().map(String::as_str).unwrap_or_default();
        let child = Command::new(program)
            .args(&stage[1..])
            .env_clear()
            .envs(line.env.iter().cloned())
            .current_dir(&line.folder)
            .stdin(upstream)
            .stdout(output)
            .spawn();
        let mut child =
            child.map_err(|error| std::io::Error::other(format!("{program}: {error}")))?;
        upstream = child.stdout.take().map_or_else(Stdio::null, Stdio::from);
        children.push(child);
    }
    let mut stages = Vec::new();
    for (child, stage) in children.into_iter().zip(&line.stages) {
        let used = child.wait4()?;
        stages.push(Stage {
            program: Path::new(&stage[0])
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            code: used.status.code(),
            user_s: used.rusage.utime.as_secs_f64(),
            system_s: used.rusage.stime.as_secs_f64(),
            peak_bytes: used.rusage.maxrss,
        });
    }
    Ok(Taken {
        wall_s: start.elapsed().as_secs_f64(),
        stages,
    })
}
