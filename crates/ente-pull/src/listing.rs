//! What the account holds now, as differences from the last listing.
//!
//! Every run lists all collections; the files of one only where its time differs from the one noted, with some minutes of overlap, because the
//! server's times are given before a change can be seen and may even move backwards. Fat entries go to `ciphertext.jsonl` as they come; the
//! thin facts about them are gathered and count only when the caller has closed the listing.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use ente_common::api::{ApiError, Client, ErrorKind};
use ente_common::manifest::facts::{self, PullFact, entry_digest, short_digest};
use ente_common::manifest::state::PullState;
use ente_common::manifest::{Journal, JournalError, ciphertext};
use ente_common::record::Problem;
use ente_common::wire;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::problems;

/// How far back a listing reaches beyond the last time seen.
const OVERLAP_US: i64 = 5 * 60 * 1_000_000;
/// Collections that are listed side by side: metadata calls go easy on a small server.
const PARALLEL: usize = 4;
/// Ciphertext that may wait in memory.
const FLUSH_BYTES: usize = 4 << 20;

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

/// What one collection came to.
#[derive(Default)]
struct Listed {
    collection: Option<facts::Collection>,
    files: Vec<facts::File>,
    problem: Option<Problem>,
    /// Nothing is known of its files.
    failed: bool,
}

struct Lister<'a> {
    client: &'a Client,
    before: &'a PullState,
    sink: &'a RefCell<&'a mut Journal>,
    collection: &'a wire::Collection,
    text: &'a RawValue,
}

/// What the entries seen so far say about the files of a collection.
#[derive(Default)]
struct Seen {
    /// The last entry of each file wins; `None` where it says what was known.
    files: BTreeMap<i64, Option<facts::File>>,
    /// Files that are in the collection.
    present: BTreeSet<i64>,
    newest: i64,
    broken: bool,
}

impl Lister<'_> {
    async fn run(&self, full: bool) -> Result<Listed, ListingError> {
        let id = self.collection.id;
        let old = self.before.collections.get(&id);
        let is_synced = old.is_some_and(|old| old.synced == self.collection.updation_time);
        let since = match old {
            Some(old) if !full => (old.cursor - OVERLAP_US).max(0),
            _ => 0,
        };
        let mut seen = Seen::default();
        if full || !is_synced {
            match self.diff(since, &mut seen).await {
                Err(error) if !error.ends_the_run() => {
                    return Ok(Listed {
                        problem: Some(problems::unlisted(id, &error)),
                        failed: true,
                        ..Listed::default()
                    });
                }
                other => other?,
            }
        }
        if since == 0 && (full || !is_synced) && !seen.broken {
            // Complete: what was known and did not come is gone.
            for file in self.before.files_in(id) {
                if !seen.present.contains(&file.id) {
                    seen.files.insert(file.id, Some(gone(id, file.id)));
                }
            }
        }
        let problem = seen.broken.then(|| problems::bad_entry(Some(id), None));
        Ok(Listed {
            collection: self.fact(&seen),
            files: seen.files.into_values().flatten().collect(),
            problem,
            failed: false,
        })
    }

    /// Reads the pages from `since` on.
    async fn diff(&self, mut since: i64, seen: &mut Seen) -> Result<(), ListingError> {
        loop {
            let page = self.client.diff(self.collection.id, since).await?;
            page.diff.iter().for_each(|text| self.take(text, seen));
            let mut sink = self.sink.borrow_mut();
            if sink.pending_bytes() > FLUSH_BYTES {
                sink.flush()?;
            }
            drop(sink);
            if page.diff.is_empty() || !page.has_more {
                return Ok(());
            }
            if seen.newest <= since {
                return Err(ListingError::Endless);
            }
            since = seen.newest;
        }
    }

    fn take(&self, text: &RawValue, seen: &mut Seen) {
        let id = self.collection.id;
        let entry = match serde_json::from_str::<wire::FileEntry>(text.get()) {
            Ok(entry) if entry.collection_id == id => entry,
            _ => {
                seen.broken = true;
                return;
            }
        };
        seen.newest = seen.newest.max(entry.updation_time);
        let known = self.before.files.get(&(id, entry.id));
        let fact = if entry.is_removed() {
            seen.present.remove(&entry.id);
            known.map(|_| gone(id, entry.id))
        } else {
            seen.present.insert(entry.id);
            let digest = digest_of(text);
            (known.is_none_or(|known| known.digest != digest))
                .then(|| self.file(&entry, text, digest))
        };
        seen.files.insert(entry.id, fact);
    }

    fn file(&self, entry: &wire::FileEntry, text: &RawValue, digest: String) -> facts::File {
        let mut sink = self.sink.borrow_mut();
        let (at, len) = ciphertext::append(&mut sink, self.collection.id, Some(entry.id), text);
        facts::File {
            at,
            len,
            ..facts::File::listed(entry, digest)
        }
    }

    /// The fact about the collection, where it differs from the last.
    fn fact(&self, seen: &Seen) -> Option<facts::Collection> {
        let old = self.before.collections.get(&self.collection.id);
        let digest = short_digest(self.text.get().as_bytes());
        // A broken entry must not be forgotten: the same entries are asked for again.
        let (synced, cursor) = if seen.broken {
            old.map_or((0, 0), |old| (old.synced, old.cursor))
        } else {
            let cursor = old.map_or(0, |old| old.cursor);
            (self.collection.updation_time, cursor.max(seen.newest))
        };
        if old.is_some_and(|old| (&old.digest, old.synced, old.cursor) == (&digest, synced, cursor))
        {
            return None;
        }
        let (at, len) = match old.filter(|old| old.digest == digest) {
            Some(old) => (old.at, old.len),
            None => ciphertext::append(
                &mut self.sink.borrow_mut(),
                self.collection.id,
                None,
                self.text,
            ),
        };
        Some(facts::Collection {
            id: self.collection.id,
            owner: self.collection.owner.id,
            kind: self.collection.kind.clone(),
            updated: self.collection.updation_time,
            synced,
            cursor,
            digest,
            at,
            len,
            gone: false,
        })
    }
}

fn gone(collection: i64, id: i64) -> facts::File {
    facts::File {
        collection,
        id,
        gone: true,
        ..facts::File::default()
    }
}

fn digest_of(text: &RawValue) -> String {
    match serde_json::from_str(text.get()) {
        Ok(members) => entry_digest(members),
        Err(_) => short_digest(text.get().as_bytes()),
    }
}
