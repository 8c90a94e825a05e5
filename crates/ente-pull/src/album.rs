//! The files of one collection, as differences from the last listing.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use ente_common::api::Client;
use ente_common::manifest::facts::{self, entry_digest, short_digest};
use ente_common::manifest::state::PullState;
use ente_common::manifest::{Journal, ciphertext};
use ente_common::record::Problem;
use ente_common::wire;
use serde_json::value::RawValue;

use crate::listing::ListingError;
use crate::problems;

/// How far back a listing reaches beyond the last time seen.
const OVERLAP_US: i64 = 5 * 60 * 1_000_000;
/// Ciphertext that may wait in memory.
const FLUSH_BYTES: usize = 4 << 20;

/// What one collection came to.
#[derive(Default)]
pub(crate) struct Listed {
    pub(crate) collection: Option<facts::Collection>,
    pub(crate) files: Vec<facts::File>,
    pub(crate) problem: Option<Problem>,
    /// Nothing is known of its files.
    pub(crate) failed: bool,
}

/// Lists one collection.
pub(crate) struct Lister<'a> {
    pub(crate) client: &'a Client,
    pub(crate) before: &'a PullState,
    /// Where entries as served go.
    pub(crate) sink: &'a RefCell<&'a mut Journal>,
    pub(crate) collection: &'a wire::Collection,
    pub(crate) text: &'a RawValue,
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
    /// Lists what changed since the last time, or with `full` everything.
    pub(crate) async fn run(&self, full: bool) -> Result<Listed, ListingError> {
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
