//! The frame of every tool: shared options, streams, signals, and the one place where a run becomes an exit code.

use std::ffi::OsString;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, BufRead, BufReader, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::builder::Resettable;
use clap::{Args, Command, Parser, ValueEnum};

use crate::exit::{Exit, Failure, chain};
use crate::record::{Input, Record, RecordError, Writer};
use crate::ui::Ui;
use crate::upstream::Upstream;

/// When records are printed on standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// Always.
    Always,
    /// Never.
    Never,
    /// When standard output is not a terminal.
    #[default]
    Auto,
}

/// Options that all tools share.
#[derive(Clone, Debug, Default, Args)]
pub struct Common {
    /// Print records on standard output [default: auto: when it is not a terminal]
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub records: When,
    /// Show no progress and no summary
    #[arg(short, long)]
    pub quiet: bool,
}

/// Where a stage takes its work from.
#[derive(Clone, Debug, Default, Args)]
pub struct Source {
    /// The export, or `-` for the records of the tool before; default: $ENTE_EXPORT or the export around the current folder
    #[arg(value_name = "DIR|-", num_args = 0..=2)]
    pub source: Vec<PathBuf>,
}

impl Source {
    /// Records are read from standard input.
    pub fn reads_records(&self) -> bool {
        self.source.iter().any(|source| source.as_os_str() == "-")
    }

    /// The export that is named.
    ///
    /// # Errors
    /// With [`Exit::Usage`] where several are.
    pub fn dir(&self) -> Result<Option<&Path>, Failure> {
        let mut dirs = self.source.iter().filter(|it| it.as_os_str() != "-");
        match (dirs.next(), dirs.next()) {
            (Some(_), Some(second)) => {
                let what = format!("a second export is named: `{}`", second.display());
                Err(Failure::new(Exit::Usage, what).hint("run the tool once for each"))
            }
            (dir, _) => Ok(dir.map(PathBuf::as_path)),
        }
    }
}

/// Set by the first Ctrl-C or termination signal: finish what is whole, commit, stop. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// The run is to stop.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Asks the run to stop.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a tool sees of the world; tests bring their own.
pub struct Io {
    /// Standard input: records, where `-` is given.
    pub input: Box<dyn BufRead + Send>,
    /// Standard output: records.
    pub records: Writer,
    /// Standard output too: text that was asked for in place of records, such as `--status`.
    pub output: Box<dyn Write + Send>,
    /// Standard error and the terminal.
    pub ui: Ui,
    /// Set when the run is to stop.
    pub interrupt: Interrupt,
    /// Now, in microseconds since 1970.
    pub clock: fn() -> i64,
}

impl std::fmt::Debug for Io {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Io")
            .field("records", &self.records)
            .field("ui", &self.ui)
            .finish_non_exhaustive()
    }
}

impl Io {
    /// The streams of this process.
    pub fn system(tool: &'static str, common: &Common) -> Self {
        let stdout = io::stdout();
        let prints = match common.records {
            When::Always => true,
            When::Never => false,
            When::Auto => !stdout.is_terminal(),
        };
        Self {
            input: Box::new(BufReader::with_capacity(256 << 10, io::stdin())),
            records: Writer::new(prints.then(|| Box::new(io::stdout()) as _)),
            output: Box::new(stdout),
            // In a pipe on a terminal the last stage owns the screen: the others would draw over it.
            ui: Ui::new(tool, common.quiet, stdout_is_pipe()),
            interrupt: on_signals(),
            clock: now_us,
        }
    }

    /// Prints a record.
    ///
    /// # Errors
    /// When it cannot be written; with [`Exit::PipeClosed`] when nobody reads it.
    pub fn print(&mut self, record: &Record) -> Result<(), Failure> {
        self.records
            .write(record)
            .map_err(|error| output_failure(&error))
    }

    /// Ends a stage: prints its `end` where all records came, and says so where they were cut short. Tells what passed.
    ///
    /// # Errors
    /// When the records could not be read on, or `end` not be printed.
    pub fn finish(&mut self, upstream: Upstream, end: &Record) -> Result<Exit, Failure> {
        let exit = upstream.exit();
        if let Some(error) = upstream.error {
            return Err(error.into());
        }
        match upstream.end {
            Some(_) => self.print(end).map(|()| exit),
            None => {
                self.ui.warning(&cut_short());
                Ok(exit.and(Exit::Failed))
            }
        }
    }

    /// The records of the stage before.
    ///
    /// # Errors
    /// When they do not begin as records do.
    pub fn read_records(&mut self) -> Result<Input<Box<dyn BufRead + Send>>, Failure> {
        Ok(Input::open(std::mem::replace(
            &mut self.input,
            Box::new(io::empty()),
        ))?)
    }
}

/// A fresh run ID: 16 hex digits. The standard library seeds its hashers at random.
pub fn run_id() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

fn now_us() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
        })
}

#[cfg(unix)]
fn stdout_is_pipe() -> bool {
    rustix::fs::fstat(io::stdout()).is_ok_and(|stat| {
        rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Fifo
    })
}

#[cfg(not(unix))]
fn stdout_is_pipe() -> bool {
    !io::stdout().is_terminal()
}

/// The first signal asks, the second one insists.
#[expect(
    clippy::exit,
    reason = "whoever asks twice does not want to wait for anything"
)]
fn on_signals() -> Interrupt {
    let interrupt = Interrupt::default();
    let asked = interrupt.clone();
    // A handler that is there already (tests) keeps its place.
    let _ = ctrlc::set_handler(move || {
        if asked.is_set() {
            // The journals are append-only and torn lines are dropped, so this loses nothing that was recorded. No `abort`:
            // that asks for a core dump.
            std::process::exit(Exit::Interrupted as i32);
        }
        asked.set();
    });
    interrupt
}

/// A tool's command line.
pub trait Tool: Parser {
    /// Its name, `ente-…`.
    const NAME: &'static str;
    /// The shared options.
    fn common(&self) -> &Common;
    /// Does the work.
    ///
    /// # Errors
    /// With what ended the run.
    fn run(&self, io: &mut Io) -> Result<Exit, Failure>;
}

/// Parses the command line of this process, runs the tool, tells how it ended.
pub fn main<T: Tool>() -> ExitCode {
    main_from::<T>(std::env::args_os())
}

/// [`main`] with a command line of its own, the tool's name first.
pub fn main_from<T: Tool>(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
    let parsed = unset_if_empty(T::command())
        .try_get_matches_from(args)
        .and_then(|matches| T::from_arg_matches(&matches));
    let tool = match parsed {
        Ok(tool) => tool,
        Err(error) => {
            // Help and version go to standard output; a closed pipe there is nobody's trouble.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            }
            .into();
        }
    };
    forbid_core_dumps();
    let mut io = Io::system(T::NAME, tool.common());
    match tool.run(&mut io) {
        Ok(exit) if io.interrupt.is_set() && exit != Exit::PipeClosed => {
            io.ui.note(
                "interrupted; what is finished is kept, and the same command goes on from there",
            );
            Exit::Interrupted.into()
        }
        Ok(exit) => exit.into(),
        Err(failure) if failure.exit == Exit::PipeClosed => Exit::PipeClosed.into(),
        Err(failure) => {
            io.ui.error(&failure);
            failure.exit.into()
        }
    }
}

/// An environment variable that is empty counts as one that is not there.
fn unset_if_empty(command: Command) -> Command {
    command.mut_args(|arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        if value.is_some_and(|value| value.is_empty()) {
            arg.env(Resettable::Reset)
        } else {
            arg
        }
    })
}

/// Keys, passwords and tokens lie in memory, and a core dump would put them on the disk.
fn forbid_core_dumps() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        // A limit may always be lowered.
        let _ = setrlimit(Resource::Core, none);
    }
    // A limit does not hold for a dump that the system hands to a program. This does, and closes the memory to other
    // processes of the user.
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        match &error {
            RecordError::NoBegin => Failure::new(
                Exit::Failed,
                "no records came in: see what the tool before it said",
            ),
            RecordError::TooNew { .. } => Failure::new(Exit::FormatTooNew, error.to_string())
                .hint("use tools of one release in a pipe"),
            _ => Failure::new(Exit::Failed, "the records cannot be read").cause(chain(&error)),
        }
    }
}

/// The input ended without its `end` record: what came was done, and whoever reads on must know that it was not everything.
pub fn cut_short() -> Failure {
    Failure::new(Exit::Failed, "the records were cut short")
        .cause("the tool before did not finish")
        .hint("see what it said, then run the same command again; it goes on where it stopped")
}

/// A record could not be printed: a closed pipe ends the run quietly.
pub fn output_failure(error: &io::Error) -> Failure {
    Failure::disk("cannot write to standard output", error)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn no_core_is_dumped_wherever_cores_go() {
        use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};
        forbid_core_dumps();
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
