//! What a round is to do, and until when.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use ente_common::api::Client;
use ente_common::cli::Interrupt;
use ente_common::exit::{Exit, Failure};
use ente_common::manifest::{Account, Export};
use ente_common::record::Scope;
use tokio::time::Instant;

use crate::Args;
use crate::listing::ListingError;
use crate::problems;
use crate::select::Ids;

/// How often signals are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a round is to do.
#[derive(Debug)]
pub(crate) struct Task<'a> {
    pub(crate) args: &'a Args,
    pub(crate) account: &'a Account,
    pub(crate) client: &'a Client,
    /// For objects: a client that does not repeat by itself.
    pub(crate) downloads: &'a Client,
    pub(crate) dir: &'a Path,
    /// Run ID.
    pub(crate) run: &'a str,
    /// What `--only -` named.
    pub(crate) ids: Option<&'a Ids>,
    pub(crate) until: Until,
    /// `begin` was printed, by this round or an earlier one.
    pub(crate) has_begun: Cell<bool>,
    /// There was an export, in this round or an earlier one: where there is none now, none is to be made.
    pub(crate) has_export: Cell<bool>,
}

impl Task<'_> {
    pub(crate) fn scope(&self) -> Scope {
        if self.args.list || self.args.dry_run {
            Scope::Listing
        } else if self.is_narrow() {
            Scope::Only
        } else {
            Scope::All
        }
    }

    /// The round lists, and not everything: what would be done, or what was chosen.
    pub(crate) fn is_part_of_listing(&self) -> bool {
        self.args.dry_run || (self.args.list && self.is_narrow())
    }

    /// The round is about a part of the account.
    pub(crate) fn is_narrow(&self) -> bool {
        self.ids.is_some() || !self.args.selection.choose_nothing()
    }

    /// Whether there is an export; none may be where there was one before, as when its disk was unmounted and the mount point stays.
    pub(crate) fn finds_export(&self) -> Result<bool, Failure> {
        let is_there = Export::is_at(self.dir)?;
        if self.has_export.get() && !is_there {
            let what = format!("`{}` is not an export any more", self.dir.display());
            return Err(Failure::new(Exit::Failed, what)
                .cause("it was one in an earlier round of this run")
                .hint("mount the disk that it lies on, then run the same command again"));
        }
        self.has_export.set(is_there);
        Ok(is_there)
    }

    /// Waits for something, unless the run is to stop.
    pub(crate) async fn interruptible<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        tokio::select! {
            done = work => Ok(done),
            () = self.until.interrupted() => Err(Failure::new(Exit::Interrupted, "interrupted")),
        }
    }

    pub(crate) fn failure(&self, error: ListingError) -> Failure {
        match error {
            ListingError::Api(error) => problems::failure(&error, self.account),
            ListingError::Journal(error) => error.into(),
            ListingError::Endless | ListingError::Cut => {
                Failure::new(Exit::Failed, error.to_string())
            }
        }
    }
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
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.interrupt.is_set()
            || self
                .deadline
                .is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Waits for the next round; `false` when there is to be none.
    pub(crate) async fn pause(&self, interval: Duration) -> bool {
        let next = Instant::now() + interval;
        while !self.is_over() {
            let now = Instant::now();
            if now >= next {
                return true;
            }
            tokio::time::sleep(LOOK_EVERY.min(next - now)).await;
        }
        false
    }
}
