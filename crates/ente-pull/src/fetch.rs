//! Runs downloads side by side: as many as help, until all are done or the run is to stop.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ente_common::cli::Interrupt;
use ente_common::exit::{Exit, Failure};
use ente_common::manifest::Account;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::download::{Downloader, Trouble, Whole};
use crate::jobs::{Jobs, JobsArg};
use crate::plan::Fetch;
use crate::problems;

/// How often the loop looks at the clock and at the signal to stop.
const TICK: Duration = Duration::from_millis(50);
/// Ticks of one window in which throughput is measured.
const WINDOW_TICKS: u32 = 10;
/// What a file counts for beside its bytes, so that small files weigh by their number.
const FILE_WEIGHT: u64 = 64 << 10;
/// Failed connections in a row after which the network is taken to be down.
const MOST_UNREACHABLE: u32 = 10;

/// What happens while downloads run.
pub(crate) enum Event {
    /// An object is there in full.
    Stored(Whole),
    /// One did not come; the run goes on.
    Failed {
        fetch: Fetch,
        class: &'static str,
        cause: String,
    },
    /// Time passed.
    Tick,
    /// Nothing more will come: keep what came.
    Last,
}

/// When to stop before everything is done.
#[derive(Clone, Debug)]
pub(crate) struct Until {
    pub(crate) interrupt: Interrupt,
    pub(crate) deadline: Option<Instant>,
}

impl Until {
    /// Returns when the run was interrupted.
    pub(crate) async fn interrupted(&self) {
        while !self.interrupt.is_set() {
            tokio::time::sleep(TICK).await;
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.interrupt.is_set()
            || self
                .deadline
                .is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// Runs the downloads; returns how many were left undone because the run is to stop.
///
/// # Errors
/// When no download can succeed any more, or `take` fails.
pub(crate) async fn run(
    fetches: Vec<Fetch>,
    downloader: Arc<Downloader>,
    jobs: JobsArg,
    until: &Until,
    account: &Account,
    mut take: impl FnMut(Event) -> Result<(), Failure>,
) -> Result<usize, Failure> {
    let mut queue = VecDeque::from(fetches);
    let mut crew = Crew {
        jobs: Jobs::new(jobs),
        running: JoinSet::new(),
        seen: 0,
        files: 0,
        downloader,
    };
    let mut unreachable = 0;
    let mut clock = interval(TICK);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks = 0;
    let result = loop {
        crew.fill(&mut queue);
        if crew.running.is_empty() {
            break Ok(0);
        }
        if until.is_over() {
            break Ok(queue.len() + crew.running.len());
        }
        tokio::select! {
            _ = clock.tick() => {
                ticks += 1;
                if ticks % WINDOW_TICKS == 0 {
                    // With nothing left to start, the number in flight says nothing about the line.
                    crew.measure(!queue.is_empty());
                }
                take(Event::Tick)?;
            }
            Some(joined) = crew.running.join_next() => {
                // A panic in a download is a fault of ours; it must not look like an object that came.
                let (fetch, result) = match joined {
                    Ok(joined) => joined,
                    Err(error) => break Err(Failure::new(Exit::Failed, "a download broke off").cause(error)),
                };
                crew.files += 1;
                match settle(fetch, result, &mut unreachable, account) {
                    Ok(event) => take(event)?,
                    Err(failure) => break Err(failure),
                }
            }
        }
    };
    crew.running.abort_all();
    take(Event::Last)?;
    result
}

/// Sorts what became of a download: an event, or the end of the run.
fn settle(
    fetch: Fetch,
    result: Result<Whole, Trouble>,
    unreachable: &mut u32,
    account: &Account,
) -> Result<Event, Failure> {
    match result {
        Ok(whole) => {
            *unreachable = 0;
            Ok(Event::Stored(whole))
        }
        Err(Trouble::SignedOut) => Err(problems::signed_out(account)),
        Err(Trouble::Disk(path, error)) => Err(Failure::disk(
            format!("cannot write `{}`", path.display()),
            &error,
        )),
        Err(Trouble::Item { class, cause }) => {
            *unreachable = if class == problems::UNREACHABLE {
                *unreachable + 1
            } else {
                0
            };
            if *unreachable >= MOST_UNREACHABLE {
                return Err(Failure::new(Exit::Unreachable, "objects cannot be fetched")
                    .cause(cause)
                    .hint("check that this machine reaches the object store, then run the same command again: it goes on where it stopped"));
            }
            Ok(Event::Failed {
                fetch,
                class,
                cause,
            })
        }
    }
}

/// The downloads that run.
struct Crew {
    jobs: Jobs,
    running: JoinSet<(Fetch, Result<Whole, Trouble>)>,
    downloader: Arc<Downloader>,
    /// Bytes at the last measurement.
    seen: u64,
    /// Files done since the last measurement.
    files: u64,
}

impl Crew {
    fn fill(&mut self, queue: &mut VecDeque<Fetch>) {
        while self.running.len() < self.jobs.limit() {
            let Some(fetch) = queue.pop_front() else {
                return;
            };
            let downloader = Arc::clone(&self.downloader);
            self.running.spawn(async move {
                let result = downloader.fetch(&fetch).await;
                (fetch, result)
            });
        }
    }

    /// Adapts the number of downloads to what the last window moved.
    fn measure(&mut self, is_full: bool) {
        let bytes = self.downloader.moved.load(Ordering::Relaxed);
        let moved = bytes - self.seen + self.files * FILE_WEIGHT;
        self.seen = bytes;
        self.files = 0;
        if self.downloader.overloaded.swap(false, Ordering::Relaxed) {
            self.jobs.overload();
        } else if is_full {
            self.jobs.window(moved as f64);
        }
    }
}
