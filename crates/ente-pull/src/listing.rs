//! What the account holds now, as differences from the last listing.
//!
//! Every run lists all collections; the files of one only where its time differs from the one noted, with some minutes of overlap, because the
//! server's times are given before a change can be seen and may even move backwards. Fat entries go to `ciphertext.jsonl` as they come; the
//! thin facts about them are gathered and count only when the caller has closed the listing.

use std::cell::RefCell;
use std::collections::BTreeSet;

use ente_common::api::{ApiError, Client, ErrorKind};
use ente_common::manifest::facts::{self, PullFact};
use ente_common::manifest::state::PullState;
use ente_common::manifest::{Journal, JournalError};
use ente_common::record::Problem;
use ente_common::wire;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::album::Lister;
use crate::problems;

/// Collections that are listed side by side: metadata calls go easy on a small server.
const PARALLEL: usize = 4;

/// What differs from the last listing.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// New, changed and gone collections.
    pub(crate) collections: Vec<facts::Collection>,
    /// New, changed and gone files. Those of a collection that is gone are not named.
    pub(crate) files: Vec<facts::File>,
    /// What could not be listed; its old state stays.
    pub(crate) problems: Vec<Problem>,
    /// The server named no collection at all, or did not tell what is in one of them: a file that is nowhere may be there.
    pub(crate) is_incomplete: bool,
}

/// Why a listing ends without a result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListingError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("the server sends the same page of changes again and again")]
    Endless,
}

impl ListingError {
    /// No other collection can be listed either.
    fn ends_the_run(&self) -> bool {
        match self {
            Self::Journal(_) => true,
            Self::Endless => false,
            Self::Api(error) => matches!(
                error.kind,
                ErrorKind::Unauthorized | ErrorKind::Unreachable | ErrorKind::Untrusted
            ),
        }
    }
}

impl Listing {
    /// Nothing is new, changed or gone.
    pub(crate) fn changes_nothing(&self) -> bool {
        self.collections.is_empty() && self.files.is_empty()
    }

    /// The facts in the order in which they are appended.
    pub(crate) fn facts(&self) -> impl Iterator<Item = PullFact> + '_ {
        let collections = self.collections.iter().cloned().map(PullFact::Collection);
        collections.chain(self.files.iter().cloned().map(PullFact::File))
    }

    /// Leaves out everything that is gone, and lets the collections concerned be listed again by the next run.
    pub(crate) fn hold_back_removals(&mut self, before: &PullState) {
        let concerned: BTreeSet<i64> = self
            .files
            .iter()
            .filter(|file| file.gone)
            .map(|file| file.collection)
            .collect();
        self.files.retain(|file| !file.gone);
        self.collections.retain(|collection| !collection.gone);
        for collection in &mut self.collections {
            if concerned.contains(&collection.id) {
                let old = before.collections.get(&collection.id);
                collection.synced = old.map_or(0, |old| old.synced);
                collection.cursor = old.map_or(0, |old| old.cursor);
            }
        }
    }
}

/// Lists the files of `served` collections. `full`: all of them from the start.
pub(crate) async fn list(
    client: &Client,
    served: &[Box<RawValue>],
    before: &PullState,
    full: bool,
    journal: &mut Journal,
) -> Result<Listing, ListingError> {
    let mut listing = Listing {
        is_incomplete: served.is_empty(),
        ..Listing::default()
    };
    let (live, gone) = sort(served, before, &mut listing.problems);
    listing
        .collections
        .extend(gone.into_iter().map(|id| facts::Collection {
            id,
            gone: true,
            ..facts::Collection::default()
        }));
    let suspects = suspects(before);
    let sink = RefCell::new(journal);
    let listed: Vec<_> = stream::iter(&live)
        .map(|(collection, text)| {
            let lister = Lister {
                client,
                before,
                sink: &sink,
                collection,
                text,
            };
            let full = full || suspects.contains(&collection.id);
            async move { lister.run(full).await }
        })
        .buffered(PARALLEL)
        .try_collect()
        .await?;
    for one in listed {
        listing.collections.extend(one.collection);
        listing.files.extend(one.files);
        listing.problems.extend(one.problem);
        listing.is_incomplete |= one.failed;
    }
    sink.borrow_mut().flush()?;
    Ok(listing)
}

/// Parts what is served into live collections and the IDs of known ones that are gone: deleted, no longer shared, or silently missing.
fn sort<'a>(
    served: &'a [Box<RawValue>],
    before: &PullState,
    problems: &mut Vec<Problem>,
) -> (Vec<(wire::Collection, &'a RawValue)>, Vec<i64>) {
    #[derive(Deserialize)]
    struct Id {
        id: i64,
    }
    let mut live = Vec::new();
    let mut unknown_ids = false;
    let mut kept = BTreeSet::new();
    for text in served {
        match serde_json::from_str::<wire::Collection>(text.get()) {
            Ok(collection) if collection.is_deleted => {}
            Ok(collection) => {
                kept.insert(collection.id);
                live.push((collection, &**text));
            }
            Err(_) => {
                let id = serde_json::from_str::<Id>(text.get()).ok().map(|id| id.id);
                unknown_ids |= id.is_none();
                kept.extend(id);
                problems.push(problems::bad_entry(id, None));
            }
        }
    }
    // Whoever the nameless ones are, they are not gone.
    let gone = before.collections.keys().copied();
    let gone = gone.filter(|id| !kept.contains(id) && !unknown_ids);
    (live, gone.collect())
}

/// Collections whose listing may be out of date without their times telling: a file of theirs could not be fetched as listed.
fn suspects(before: &PullState) -> BTreeSet<i64> {
    let stale: BTreeSet<i64> = before
        .failed
        .values()
        .filter(|failed| problems::may_be_outdated(&failed.class))
        .map(|failed| failed.id)
        .collect();
    if stale.is_empty() {
        return BTreeSet::new();
    }
    let files = before.files.keys().filter(|key| stale.contains(&key.1));
    files.map(|key| key.0).collect()
}
