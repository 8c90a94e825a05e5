//! Waiting for other runs. A run that cannot have its lock ends at once, but for a stage of a watch: between rounds its lock is free to take, and
//! who took it is no reason to end what goes on for days.

use std::thread;
use std::time::{Duration, Instant};

use crate::cli::{Interrupt, Io};
use crate::exit::{Exit, Failure};
use crate::ui::Ui;

/// How often a wait looks whether it is over.
const LOOK_UP: Duration = Duration::from_millis(500);

/// How often it is said again that a run waits: the other may have died where nobody here can tell.
const TELL_AGAIN: Duration = Duration::from_secs(3600);

/// What a run does that finds another one at work in the export: by default it has no patience, and ends.
#[derive(Clone, Debug, Default)]
pub struct Patience(Option<(Ui, Interrupt)>);

impl Patience {
    /// It waits, says so, and heeds the interrupt: for a stage that has seen a round.
    pub fn of(io: &Io) -> Self {
        Self(Some((io.ui.clone(), io.interrupt.clone())))
    }

    /// It waits.
    pub fn waits(&self) -> bool {
        self.0.is_some()
    }

    /// Tries until no other run stands in the way. With it comes whether one did: what was known before may be history then.
    ///
    /// # Errors
    /// As `attempt`; with [`Exit::Locked`] only without patience. With [`Exit::Interrupted`] where the wait was ended.
    pub fn until_free<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, Failure>,
    ) -> Result<(T, bool), Failure> {
        let mut told: Option<Instant> = None;
        loop {
            let failure = match attempt() {
                Err(failure) if failure.exit == Exit::Locked => failure,
                done => return done.map(|it| (it, told.is_some())),
            };
            let Some((ui, interrupt)) = &self.0 else {
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
