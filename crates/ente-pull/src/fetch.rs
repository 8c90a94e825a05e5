//! Runs downloads side by side: as many as help, until all are done or the run is to stop.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ente_common::api::session_ended;
use ente_common::exit::{Exit, Failure};
use ente_common::manifest::Account;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::download::{Downloader, Trouble, Whole};
use crate::jobs::{Jobs, JobsArg};
use crate::plan::Fetch;
use crate::problems;
use crate::task::Until;

/// How often the loop looks at the clock and at the signal to stop.
const TICK: Duration = Duration::from_millis(50);
/// Ticks of one window in which throughput is measured.
const WINDOW_TICKS: u32 = 10;
/// What a file counts for beside its bytes, so that small files weigh by their number.
const FILE_WEIGHT: u64 = 64 << 10;
/// Failed connections in a row after which the network is taken to be down.
const MOST_UNREACHABLE: u32 = 10;

/// Results that may wait to be stored before downloads pause.
const MOST_WAITING: usize = 256;

/// A download that came to its end.
type Finished = (Fetch, Result<Whole, Trouble>);

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

/// Runs the downloads; returns how many were left undone because the run is to stop.
///
/// Storing and printing happen in `take`, on this thread; downloads go on meanwhile, until enough results wait.
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
    let (sender, mut results) = mpsc::channel(MOST_WAITING);
    let crew = Crew {
        queue: fetches.into(),
        jobs: Jobs::new(jobs),
        running: JoinSet::new(),
        downloader,
        seen: 0,
        files: 0,
    };
    // When the results are dropped, because `take` failed for instance, it stops by itself.
    let crew = tokio::spawn(crew.work(until.clone(), sender));
    let mut unreachable = 0;
    let (mut failure, mut taken) = (None, Ok(()));
    while taken.is_ok() {
        let event = match timeout(TICK, results.recv()).await {
            Err(_) => Ok(Event::Tick),
            Ok(None) => break,
            Ok(Some((fetch, result))) => settle(fetch, result, &mut unreachable, account),
        };
        match event {
            Ok(event) => taken = take(event),
            Err(ended) => {
                failure = Some(ended);
                break;
            }
        }
    }
    drop(results);
    // However this ends: another run may write to `partial/` as soon as it does.
    let crew = crew.await;
    taken.and_then(|()| take(Event::Last))?;
    match (failure, crew) {
        (Some(failure), _) => Err(failure),
        (None, Ok(Ok(left))) => Ok(left),
        // A fault of ours must not look like objects that came.
        (None, Ok(Err(error)) | Err(error)) => {
            Err(Failure::new(Exit::Failed, "a download broke off").cause(error))
        }
    }
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
        Err(Trouble::SignedOut) => Err(session_ended(account)),
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

/// The downloads that run, and those that wait for their turn.
struct Crew {
    queue: VecDeque<Fetch>,
    jobs: Jobs,
    running: JoinSet<Finished>,
    downloader: Arc<Downloader>,
    /// Bytes at the last measurement.
    seen: u64,
    /// Files done since the last measurement.
    files: u64,
}

impl Crew {
    /// Works until everything is done, the run is to stop or nobody takes the results; tells how many were left undone.
    ///
    /// Nothing is written to `partial/` any more when this returns.
    async fn work(
        mut self,
        until: Until,
        results: mpsc::Sender<Finished>,
    ) -> Result<usize, JoinError> {
        let left = self.fetch_all(until, results).await;
        self.running.shutdown().await;
        self.downloader.settle().await;
        left
    }

    async fn fetch_all(
        &mut self,
        until: Until,
        results: mpsc::Sender<Finished>,
    ) -> Result<usize, JoinError> {
        let mut clock = interval(TICK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ticks = 0;
        loop {
            self.fill();
            if self.running.is_empty() || until.is_over() || results.is_closed() {
                return Ok(self.queue.len() + self.running.len());
            }
            tokio::select! {
                _ = clock.tick() => {
                    ticks += 1;
                    if ticks % WINDOW_TICKS == 0 {
                        self.measure();
                    }
                }
                Some(finished) = self.running.join_next() => {
                    self.files += 1;
                    if results.send(finished?).await.is_err() {
                        return Ok(self.queue.len() + self.running.len());
                    }
                }
            }
        }
    }

    fn fill(&mut self) {
        while self.running.len() < self.jobs.limit() {
            let Some(fetch) = self.queue.pop_front() else {
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
    fn measure(&mut self) {
        let bytes = self.downloader.moved.load(Ordering::Relaxed);
        let moved = bytes - self.seen + self.files * FILE_WEIGHT;
        self.seen = bytes;
        self.files = 0;
        if self.downloader.overloaded.swap(false, Ordering::Relaxed) {
            self.jobs.overload();
        } else if !self.queue.is_empty() {
            // With nothing left to start, the number in flight says nothing about the line.
            self.jobs.window(moved as f64);
        }
    }
}
