//! How a run comes by the lock of its tool: once it has something to write, and no other run stands in the way. One that finds another at work ends
//! at once, but for a stage of a watch: between rounds its lock is free to take, and who took it is no reason to end what goes on for days.

use std::thread;
use std::time::{Duration, Instant};

use super::{Export, Lock};
use crate::cli::{Interrupt, Io};
use crate::exit::{Exit, Failure};
use crate::ui::Ui;

/// How often a wait looks whether it is over.
const LOOK_UP: Duration = Duration::from_millis(500);

/// How often it is said again that a run waits: the other may have died where nobody here can tell.
const TELL_AGAIN: Duration = Duration::from_secs(3600);

/// A run's claim to the lock of its tool.
#[derive(Clone, Debug)]
pub struct Claim {
    tool: &'static str,
    run: String,
    breaks_foreign: bool,
    clock: fn() -> i64,
    /// What a wait says, and heeds; `None`: the run does not wait.
    patience: Option<(Ui, Interrupt)>,
}

/// A lock that was taken, and what was seen just before.
#[derive(Debug)]
pub struct Claimed<T> {
    /// The lock.
    pub lock: Lock,
    /// What was seen.
    pub seen: T,
    /// Another run was waited for: what was known before may be history.
    pub has_waited: bool,
}

impl Claim {
    /// That of `run`; `breaks_foreign` takes a lock of another host or container.
    pub fn new(tool: &'static str, run: &str, breaks_foreign: bool, io: &Io) -> Self {
        Self {
            tool,
            run: run.to_owned(),
            breaks_foreign,
            clock: io.clock,
            patience: None,
        }
    }

    /// From now on it waits for other runs: for a stage that has seen a round.
    pub fn be_patient(&mut self, io: &Io) {
        self.patience = Some((io.ui.clone(), io.interrupt.clone()));
    }

    /// It waits for other runs.
    pub fn waits(&self) -> bool {
        self.patience.is_some()
    }

    /// The run whose claim it is.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Takes the lock when no other run of this tool or of `others` writes, and looks just before.
    ///
    /// # Errors
    /// As [`Export::lock`] and `look`; with [`Exit::Locked`] only where it does not wait. With [`Exit::Interrupted`] where the wait was ended.
    pub fn take<T>(
        &self,
        export: &Export,
        others: &[&str],
        look: impl Fn() -> Result<T, Failure>,
    ) -> Result<Claimed<T>, Failure> {
        let attempt = || -> Result<_, Failure> {
            // Writes nothing while it waits.
            export.check_idle(others, &self.run, self.breaks_foreign)?;
            export.check_idle(&[self.tool], &self.run, self.breaks_foreign)?;
            let seen = look()?;
            let lock = export.lock(self.tool, &self.run, (self.clock)(), self.breaks_foreign)?;
            Ok((lock, seen))
        };
        let mut told: Option<Instant> = None;
        loop {
            let failure = match attempt() {
                Err(failure) if failure.exit == Exit::Locked => failure,
                done => {
                    return done.map(|(lock, seen)| Claimed {
                        lock,
                        seen,
                        has_waited: told.is_some(),
                    });
                }
            };
            let Some((ui, interrupt)) = &self.patience else {
                return Err(failure);
            };
            if interrupt.is_set() {
                let what = "interrupted while it waited for another run";
                return Err(Failure::new(Exit::Interrupted, what));
            }
            if told.is_none_or(|at| at.elapsed() >= TELL_AGAIN) {
                ui.warning(&Failure {
                    what: format!("{}; this one waits for it to end", failure.what),
                    ..failure
                });
                told = Some(Instant::now());
            }
            thread::sleep(LOOK_UP);
        }
    }
}
