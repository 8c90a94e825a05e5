//! `ente-pull`: mirrors what the server holds, still encrypted, resumable.
//!
//! A round lists the account, compares that with the manifest, prints what changed, fetches what is lacking and stores it. The tool holds
//! the session token and nothing else: it cannot read a title, let alone a photo.

mod album;
mod changes;
mod doubt;
mod download;
mod fetch;
mod init;
mod jobs;
mod listing;
mod part;
mod place;
mod plan;
mod problems;
mod records;
mod rest;
mod round;
mod select;
mod session;
mod store;
mod summary;
mod task;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use ente_common::api::Connection;
use ente_common::cli::{Common, Io, Tool, run_id};
use ente_common::exit::{Exit, Failure};
use ente_common::keystore::KeystoreArgs;
use ente_common::manifest::Export;
use ente_common::manifest::setting::Objects;
use ente_common::record::{Begin, Record};
use ente_common::upstream::Upstream;
use tokio::time::Instant;

use jobs::JobsArg;
use records::Counts;
use select::Ids;
use session::Session;
use task::{Task, Until};

/// The pause of `--watch` where none is given; the help names it.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(300);

const EXAMPLES: &str = "\
Examples:
  Export everything, or bring an export up to date:
    ente-pull ~/Ente | ente-decrypt - | ente-meta - | ente-verify -
  Keep an encrypted mirror on a machine that holds no keys:
    ente-pull --objects keep /srv/ente
  See what a run would do:
    ente-pull --dry-run ~/Ente
  Only one album:
    ente-pull --list ~/Ente | ente-meta --album 'Vacation*' - | ente-pull --only - ~/Ente | ente-decrypt - | ente-meta -
  Take over photos that are here already, without a download:
    ente-pull --init ~/Ente
    ente-pull --list ~/Ente | ente-meta - | ente-verify --adopt ~/Pictures -
    ente-pull ~/Ente | ente-decrypt - | ente-meta -
  Keep going, at night's speed:
    ente-pull --watch 15m --bwlimit 2M ~/Ente | ente-decrypt - | ente-meta -";

/// Mirror what the server holds into an export, still encrypted
///
/// Fetches what the account holds and the export lacks, and records what changed. Safe to interrupt: the same command goes on where it stopped.
#[derive(Clone, Debug, Parser)]
#[command(name = "ente-pull", version, after_help = EXAMPLES, max_term_width = 110)]
pub struct Args {
    /// The export; made if it is not there. Default: $ENTE_EXPORT or the export around the current folder
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,

    /// List every album and file as records; write nothing
    #[arg(long, conflicts_with_all = ["dry_run", "watch", "refetch", "objects"])]
    list: bool,
    /// Say what would be done; write nothing
    #[arg(long, conflicts_with = "watch")]
    dry_run: bool,
    /// Begin an export and fetch nothing: before `ente-verify --adopt`, and where the manifest of an old export is lost or damaged
    ///
    /// An export whose manifest can be read is left as it is; else what is left of it is set aside in `.ente/lost-DATE`.
    #[arg(long, conflicts_with_all = ["list", "dry_run", "only", "watch", "refetch", "full"])]
    init: bool,
    /// Fetch only the files that the records on standard input name
    #[arg(long, value_name = "-", value_parser = ["-"], hide_possible_values = true, conflicts_with_all = ["list", "watch"])]
    only: Option<String>,

    #[command(flatten)]
    selection: select::Options,

    /// Keep encrypted objects, or drop each once it is decrypted [default: spool; remembered]
    #[arg(
        long,
        value_enum,
        value_name = "spool|keep",
        hide_possible_values = true
    )]
    objects: Option<Objects>,
    /// In this run, believe that up to N files were removed [default: 100 or a fifth of them, whichever is more]
    ///
    /// Above the default this also holds where no file would be left, and for files that may be in an album which the server did not list. Up to the
    /// default it is a brake, and nothing else.
    #[arg(long, value_name = "N")]
    max_remove: Option<usize>,
    /// Fetch this file again, whatever is known of it; may be given several times
    #[arg(long, value_name = "ID", conflicts_with = "watch")]
    refetch: Vec<i64>,
    /// List everything from the start, as every week
    #[arg(long)]
    full: bool,
    /// Keep going: run again after each INTERVAL (30s, 5m, 1h) [default interval: 5m]
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "5m", value_parser = parse_watch)]
    watch: Option<Watch>,

    /// Downloads at a time [default: auto: as many as help]
    #[arg(
        long,
        value_name = "N|auto",
        default_value = "auto",
        hide_default_value = true,
        help_heading = "Connection"
    )]
    jobs: JobsArg,
    /// Bytes per second, for all downloads together: 500K, 5M
    #[arg(long, value_name = "RATE", value_parser = jobs::parse_rate, help_heading = "Connection")]
    bwlimit: Option<u64>,
    /// Stop after this time (30m, 2h); the next run goes on
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "Connection")]
    max_duration: Option<Duration>,
    #[command(flatten)]
    connection: Connection,

    #[command(flatten)]
    keystore: KeystoreArgs,
    /// Take over the lock that a run on another machine, or in another container, left behind
    #[arg(long)]
    break_lock: bool,
    #[command(flatten)]
    common: Common,
}

impl Args {
    /// The export that is named.
    fn dir(&self) -> Result<Option<&Path>, Failure> {
        match (&self.dir, &self.watch) {
            (None, Some(Watch::In(dir))) => Ok(Some(dir)),
            (Some(_), Some(Watch::In(text))) => Err(Failure::new(
                Exit::Usage,
                format!("`{}` is no interval", text.display()),
            )
            .hint("give it like `--watch 30s`, `--watch 5m` or `--watch 1h`")),
            (dir, _) => Ok(dir.as_deref()),
        }
    }

    /// The pause between rounds; none without `--watch`.
    fn interval(&self) -> Option<Duration> {
        self.watch.as_ref().map(|watch| match watch {
            Watch::Every(interval) => *interval,
            Watch::In(_) => DEFAULT_INTERVAL,
        })
    }
}

/// What follows `--watch`.
#[derive(Clone, Debug)]
enum Watch {
    /// The pause.
    Every(Duration),
    /// `--watch DIR`: no interval at all, but the export.
    In(PathBuf),
}

fn parse_watch(text: &str) -> Result<Watch, String> {
    Ok(parse_duration(text).map_or_else(|_| Watch::In(text.into()), Watch::Every))
}

impl Tool for Args {
    const NAME: &'static str = problems::STAGE;

    fn common(&self) -> &Common {
        &self.common
    }

    fn run(&self, io: &mut Io) -> Result<Exit, Failure> {
        let named = match &self.only {
            Some(_) => Some(Named::read(io)?),
            None => None,
        };
        let upstream = named.as_ref().and_then(|named| named.begin.export());
        let dir = Export::locate(self.dir()?, upstream.as_deref())?;
        let session = Session::open(self, &dir, io)?;
        if let Some(named) = &named {
            session.check(&named.begin)?;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::disk("cannot start", &error))?;
        let exit = match self.init {
            true => runtime
                .block_on(init::run(self, io, &session, &dir, &run_id()))
                .map(|()| Exit::Done),
            false => runtime.block_on(rounds(self, io, &session, &dir, named.as_ref())),
        };
        // Downloads that were given up may still wait for the network.
        runtime.shutdown_background();
        exit
    }
}

/// What `--only -` read.
struct Named {
    begin: Begin,
    ids: Ids,
    /// What went wrong before: whoever reads on must know.
    problems: Vec<Record>,
    end: Option<Record>,
}

impl Named {
    fn read(io: &mut Io) -> Result<Self, Failure> {
        let mut input = io.read_records()?;
        let (mut ids, mut problems) = (Ids::default(), Vec::new());
        while let Some(record) = input.next_record()? {
            ids.take(&record);
            if record.kind() == "problem" {
                problems.push(record);
            }
        }
        Ok(Self {
            begin: input.begin().clone(),
            ids,
            problems,
            end: input.upstream().end,
        })
    }

    /// How the stage before ended. Its findings are what this one is to fetch: they go no further.
    fn upstream(&self) -> Upstream {
        Upstream {
            end: self.end.clone(),
            problems: self.problems.len() as u64,
            ..Upstream::default()
        }
    }
}

/// One round, or with `--watch` one after the other.
async fn rounds(
    args: &Args,
    io: &mut Io,
    session: &Session,
    dir: &Path,
    named: Option<&Named>,
) -> Result<Exit, Failure> {
    let run = named.map(|named| named.begin.run.clone());
    let run = run.filter(|run| is_run(run)).unwrap_or_else(run_id);
    let task = Task {
        args,
        account: &session.account,
        client: &session.client,
        downloads: &session.downloads,
        dir,
        run: &run,
        ids: named.map(|named| &named.ids),
        until: Until {
            interrupt: io.interrupt.clone(),
            deadline: args.max_duration.map(|time| Instant::now() + time),
        },
        has_begun: Cell::new(false),
        has_export: Cell::new(false),
    };
    let mut total = Counts::default();
    loop {
        let mut counts = Counts::default();
        let done = round::run(&task, io, &mut counts).await;
        total.add(&counts);
        let is_away = done.is_err();
        match done {
            Ok(()) => {
                if io.interrupt.is_set() {
                    return Ok(Exit::Interrupted);
                }
                if args.interval().is_some() {
                    io.print(&counts.to_record("round"))?;
                }
            }
            // A network that is down for a while is no reason to stop watching.
            Err(failure) if args.watch.is_some() && failure.exit == Exit::Unreachable => {
                io.ui.warning(&failure);
                // What it printed stands, and the stages behind are not to wait for the network.
                if counts.records > 0 {
                    io.print(&counts.to_record("round"))?;
                }
            }
            Err(failure) if failure.exit == Exit::Interrupted => return Ok(Exit::Interrupted),
            Err(failure) => return Err(failure),
        }
        match args.interval() {
            Some(interval) if task.until.pause(interval).await => {}
            // What was told of it as a warning is how it ends.
            _ if is_away => return Ok(Exit::Unreachable),
            _ => break,
        }
    }
    let problems = named.map_or(&[][..], |named| &named.problems);
    problems.iter().try_for_each(|problem| io.print(problem))?;
    let exit = match total.problems {
        0 => Exit::Done,
        _ => Exit::Problems,
    };
    let upstream = named.map_or_else(Upstream::none, Named::upstream);
    Ok(io.finish(upstream, &total.to_record("end"))?.and(exit))
}

/// The text is a run ID; what comes from outside may be anything.
fn is_run(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Parses `30s`, `5m`, `2h`, `1d`, or a plain number of seconds.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = match text.char_indices().next_back() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3600),
        Some((at, 'd')) => (&text[..at], 86_400),
        _ => (text, 1),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "not a number with s, m, h or d".to_owned())?;
    Ok(Duration::from_secs(number.saturating_mul(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }

    #[test]
    fn durations_are_read() {
        for (text, seconds) in [
            ("90", Some(90)),
            ("30s", Some(30)),
            ("5m", Some(300)),
            ("2h", Some(7200)),
            ("1d", Some(86_400)),
            ("m", None),
            ("1.5h", None),
            ("-1", None),
            ("", None),
        ] {
            let parsed = parse_duration(text).ok().map(|time| time.as_secs());
            assert_eq!(parsed, seconds, "{text}");
        }
    }

    #[test]
    fn run_ids_are_sixteen_digits_and_differ() {
        let (one, other) = (run_id(), run_id());
        assert!(is_run(&one) && !is_run("../../etc/passwd"));
        assert_ne!(one, other);
    }
}
