//! What the account holds now, as differences from the last listing.
//!
//! Every run lists all collections; the files of one only where its time differs from the one noted, with some minutes of overlap, because the
//! server's times are given before a change can be seen and may even move backwards. Fat entries go to `ciphertext.jsonl` as they come; the
//! thin facts about them are gathered and count only when the caller has closed the listing.

use std::cell::RefCell;
use std::collections::BTreeSet;

use ente_common::api::{ApiError, Client, ErrorKind};
use ente_common::manifest::ciphertext::Ciphertext;
use ente_common::manifest::facts::{self, PullFact};
use ente_common::manifest::state::PullState;
use ente_common::manifest::{Export, Journal, JournalError};
use ente_common::record::Problem;
use ente_common::wire;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::album::{self, Lister};
use crate::doubt;
use crate::problems;

/// Collections that are listed side by side: with round trips of 50 ms, 20 of them take 0.32 s, and 0.42 s four at a time. Downloads ask more of a small
/// server.
const PARALLEL: usize = 8;
/// The longest entry that is taken in. Honest ones have a few KiB, and each is held and passed on several times along the pipe.
pub(crate) const MAX_ENTRY_BYTES: usize = 256 << 10;

/// What differs from the last listing.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// New, changed and gone collections.
    pub(crate) collections: Vec<facts::Collection>,
    /// Those whose entry this listing wrote.
    pub(crate) written: BTreeSet<i64>,
    /// New, changed and gone files, those of each collection together, until they count. Those of a collection that is gone are not named.
    pub(crate) albums: Vec<Vec<facts::File>>,
    /// What could not be listed; its old state stays.
    pub(crate) problems: Vec<Problem>,
    /// The server named no collection at all.
    pub(crate) is_blank: bool,
    /// The server did not tell what is in some collection, or something changed meanwhile: a file that is nowhere may be there.
    pub(crate) is_partial: bool,
}

/// Why a listing ends without a result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListingError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("the server sends the same changes again and again")]
    Endless,
    #[error("the server's list is not complete")]
    Cut,
}

impl ListingError {
    /// No other collection can be listed either.
    pub(crate) fn ends_the_run(&self) -> bool {
        match self {
            Self::Journal(_) => true,
            Self::Endless | Self::Cut => false,
            Self::Api(error) => ends_the_run(error),
        }
    }
}

/// No other call will succeed either.
pub(crate) fn ends_the_run(error: &ApiError) -> bool {
    matches!(
        error.kind,
        ErrorKind::Unauthorized | ErrorKind::Unreachable | ErrorKind::Untrusted
    )
}

impl Listing {
    /// Nothing is new, changed or gone.
    pub(crate) fn changes_nothing(&self) -> bool {
        self.collections.is_empty() && self.files().next().is_none()
    }

    /// New, changed and gone files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &facts::File> {
        self.albums.iter().flatten()
    }

    /// The facts in the order in which they are appended.
    pub(crate) fn facts(&self) -> impl Iterator<Item = PullFact> + '_ {
        let collections = self.collections.iter().cloned().map(PullFact::Collection);
        collections.chain(self.files().cloned().map(PullFact::File))
    }

    /// The same facts; the files are not held any longer.
    pub(crate) fn take_facts(&mut self) -> impl Iterator<Item = PullFact> + '_ {
        let collections = self.collections.iter().cloned().map(PullFact::Collection);
        let files = std::mem::take(&mut self.albums).into_iter().flatten();
        collections.chain(files.map(PullFact::File))
    }

    /// Leaves out that these files are gone, and with `None` everything that is; lets the collections concerned be listed again by the
    /// next run.
    pub(crate) fn hold_back_removals(&mut self, before: &PullState, files: Option<&BTreeSet<i64>>) {
        let is_held = |id| files.is_none_or(|files| files.contains(&id));
        let concerned: BTreeSet<i64> = self
            .files()
            .filter(|file| file.gone && is_held(file.id))
            .map(|file| file.collection)
            .collect();
        for files in &mut self.albums {
            files.retain(|file| !(file.gone && is_held(file.id)));
        }
        self.collections.retain(|collection| {
            let mut lost = before.files_in(collection.id);
            !collection.gone || files.is_some() && !lost.any(|file| is_held(file.id))
        });
        for id in concerned {
            let old = before.collections.get(&id);
            match self.collections.iter_mut().find(|one| one.id == id) {
                Some(one) => {
                    // Where that is what it has now, only a listing from the start finds them again.
                    let finds_all = |synced: &i64| *synced != one.updated && one.synced != 0;
                    let synced = old.map(|old| old.synced).filter(finds_all);
                    one.synced = synced.unwrap_or(0);
                    one.cursor = old.map_or(0, |old| old.cursor);
                }
                None => self.collections.extend(old.and_then(album::anew)),
            }
        }
    }
}

/// How to list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner<'a> {
    /// All files of all collections, from the start; entries that are not as they were written are written again.
    pub(crate) full: bool,
    /// What facts point to and is not there is lost, and everything is listed from the start.
    pub(crate) kept: &'a Kept,
    /// What is not named is gone, on the user's word, which is a number of removals above the default; else it is asked for.
    pub(crate) trusting: bool,
}

/// The ciphertext that is there from before.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    bytes: u64,
    file: Option<Ciphertext>,
}

impl Kept {
    /// That of an export.
    pub(crate) fn of(export: &Export) -> Self {
        // One that cannot be looked at cannot be written either, and that is told there.
        let metadata = std::fs::metadata(export.state_path("ciphertext.jsonl"));
        Self {
            bytes: metadata.map_or(0, |metadata| metadata.len()),
            file: Ciphertext::open(&export.state_dir()).ok(),
        }
    }

    fn has(&self, at: u64, len: u64) -> bool {
        at.checked_add(len).is_some_and(|end| end <= self.bytes)
    }

    /// It is there; and, if that is to be `checked`, as it was written.
    pub(crate) fn holds(&self, at: u64, len: u64, checked: bool) -> bool {
        let is_whole = |file: &Ciphertext| file.is_whole(at, len).unwrap_or(false);
        self.has(at, len) && (!checked || self.file.as_ref().is_some_and(is_whole))
    }
}

/// Lists the files of `served` collections.
pub(crate) async fn list(
    client: &Client,
    served: &[Box<RawValue>],
    before: &PullState,
    manner: Manner<'_>,
    journal: &mut Journal,
) -> Result<Listing, ListingError> {
    let is_lost = |at: u64, len: u64| !manner.kept.has(at, len);
    let full = manner.full
        || before.collections.values().any(|it| is_lost(it.at, it.len))
        || before.files.values().any(|it| is_lost(it.at, it.len));
    let mut listing = Listing {
        is_blank: served.is_empty(),
        ..Listing::default()
    };
    let sorted = sort(served, before, &mut listing.problems);
    listing.is_partial = !listing.problems.is_empty();
    let live = sorted.live;
    listing
        .collections
        .extend(sorted.gone.into_iter().map(gone));
    for id in sorted.missing {
        if manner.trusting || listing.is_blank {
            listing.collections.push(gone(id));
        } else if let Some(known) = before.collections.get(&id) {
            miss(client, known, full, &mut listing).await?;
        }
    }
    if full {
        let unread = sorted.unread.iter();
        let unread = unread.filter_map(|id| before.collections.get(id));
        listing.collections.extend(unread.filter_map(album::anew));
    }
    let suspects = suspects(before);
    let sink = RefCell::new(journal);
    let mut listed = stream::iter(&live)
        .map(|(collection, text)| {
            let lister = Lister {
                client,
                before,
                sink: &sink,
                collection,
                text,
            };
            let full = full || suspects.contains(&collection.id);
            async move { lister.run(Manner { full, ..manner }).await }
        })
        .buffered(PARALLEL);
    while let Some(one) = listed.try_next().await? {
        let written = one.collection.as_ref().filter(|_| one.is_written);
        listing.written.extend(written.map(|written| written.id));
        listing.collections.extend(one.collection);
        listing.albums.push(one.files);
        listing.is_partial |= one.problem.is_some();
        listing.problems.extend(one.problem);
    }
    drop(listed);
    sink.borrow_mut().flush()?;
    Ok(listing)
}

fn gone(id: i64) -> facts::Collection {
    facts::Collection {
        id,
        gone: true,
        ..facts::Collection::default()
    }
}

/// Takes note that a known collection is not listed. That alone is no proof: it is gone when the next listing lacks it too, and the server
/// denies it when asked. One that a `full` listing lacks is listed from the start when it is back.
async fn miss(
    client: &Client,
    known: &facts::Collection,
    full: bool,
    listing: &mut Listing,
) -> Result<(), ListingError> {
    if known.missing && doubt::collection_is_gone(client, known.id).await? {
        listing.collections.push(gone(known.id));
        return Ok(());
    }
    listing.problems.push(problems::missing(known.id));
    listing.is_partial = true;
    let due = if full { album::anew(known) } else { None };
    if due.is_some() || !known.missing {
        listing.collections.push(facts::Collection {
            missing: true,
            ..due.unwrap_or_else(|| known.clone())
        });
    }
    Ok(())
}

/// What is served, and what is not.
struct Sorted<'a> {
    live: Vec<(wire::Collection, &'a RawValue)>,
    /// Known ones that were deleted or are no longer shared.
    gone: Vec<i64>,
    /// Known ones of which nothing is said.
    missing: Vec<i64>,
    /// Known ones whose entry cannot be read, or may be one that cannot.
    unread: Vec<i64>,
}

fn sort<'a>(
    served: &'a [Box<RawValue>],
    before: &PullState,
    problems: &mut Vec<Problem>,
) -> Sorted<'a> {
    #[derive(Deserialize)]
    struct Id {
        id: i64,
    }
    let mut live = Vec::new();
    let mut unknown_ids = false;
    let mut kept = BTreeSet::new();
    let mut deleted = BTreeSet::new();
    for text in served {
        match serde_json::from_str::<wire::Collection>(text.get()) {
            Ok(collection) if collection.is_deleted => {
                deleted.insert(collection.id);
            }
            Ok(collection) if text.get().len() > MAX_ENTRY_BYTES => {
                kept.insert(collection.id);
                problems.push(problems::bad_entry(Some(collection.id), None));
            }
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
    let is_live: BTreeSet<i64> = live.iter().map(|(one, _)| one.id).collect();
    let mut sorted = Sorted {
        live,
        gone: Vec::new(),
        missing: Vec::new(),
        unread: Vec::new(),
    };
    for id in before.collections.keys() {
        let fate = match () {
            () if is_live.contains(id) => continue,
            () if kept.contains(id) => &mut sorted.unread,
            () if deleted.contains(id) => &mut sorted.gone,
            // Whoever the nameless ones are, they are not missing.
            () if unknown_ids => &mut sorted.unread,
            () => &mut sorted.missing,
        };
        fate.push(*id);
    }
    sorted
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_back_is_found_again() {
        let known = facts::Collection {
            id: 10,
            updated: 5,
            synced: 5,
            cursor: 4,
            ..facts::Collection::default()
        };
        let mut before = PullState::default();
        before.apply(PullFact::Collection(known.clone()));
        before.apply(PullFact::Listing(facts::Listing::default()));
        let anew = |updated| facts::Collection {
            updated,
            synced: 0,
            ..known.clone()
        };
        let listed = |updated| facts::Collection {
            updated,
            synced: updated,
            cursor: updated,
            ..known.clone()
        };
        let asked_again = facts::Collection {
            updated: 7,
            ..known.clone()
        };
        for (found, kept) in [
            // Of an album that says what it said before, only a full listing tells.
            (vec![], vec![anew(5)]),
            (vec![listed(5)], vec![anew(5)]),
            (vec![listed(7)], vec![asked_again]),
        ] {
            let mut listing = Listing {
                collections: found,
                albums: vec![vec![facts::File {
                    collection: 10,
                    id: 1,
                    gone: true,
                    ..facts::File::default()
                }]],
                ..Listing::default()
            };
            listing.hold_back_removals(&before, None);
            assert_eq!(listing.collections, kept);
            assert_eq!(listing.files().count(), 0);
        }
    }
}
