//! The files of one collection, as differences from the last listing.

use std::cell::RefCell;
use std::collections::BTreeMap;

use ente_common::api::Client;
use ente_common::manifest::facts::{self, entry_digest};
use ente_common::manifest::state::PullState;
use ente_common::manifest::{Digest, Journal, JournalError, ciphertext};
use ente_common::record::Problem;
use ente_common::wire;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::doubt;
use crate::listing::{ListingError, MAX_ENTRY_BYTES, Manner};
use crate::problems;

/// How far back a listing reaches beyond the last time seen.
const OVERLAP_US: i64 = 5 * 60 * 1_000_000;
/// Pages in a row that name no file that was not named before; an honest server has no reason to send many of them.
const MAX_IDLE_PAGES: u32 = 100;
/// Ciphertext that may wait in memory: what a processor keeps at hand.
const FLUSH_BYTES: usize = 512 << 10;

/// The files of a collection are to be listed: they changed since they were, or never were.
pub(crate) fn is_due(known: Option<&facts::Collection>, served: &wire::Collection) -> bool {
    known.is_none_or(|known| known.synced != served.updation_time)
}

/// Lets a known collection be listed from the start by the next run; `None` where it says so already.
///
/// Its cursor stays: where that listing fails, what came since is found from there.
pub(crate) fn anew(known: &facts::Collection) -> Option<facts::Collection> {
    (known.synced != 0).then(|| facts::Collection {
        synced: 0,
        ..known.clone()
    })
}

/// What one collection came to.
#[derive(Default)]
pub(crate) struct Listed {
    pub(crate) collection: Option<facts::Collection>,
    /// Its entry was written by this listing; else it stands where it stood.
    pub(crate) is_written: bool,
    pub(crate) files: Vec<facts::File>,
    /// Not all of its files are known.
    pub(crate) problem: Option<Problem>,
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

/// An entry of a page: the fact about it, but for where its line lies, and its text as served; `None` where it is broken.
///
/// All is worked out while it is parsed, since that goes on beside other pages. Boxed, since a server can send millions that are none.
struct Entry(Option<Box<(facts::File, Box<RawValue>)>>);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?;
        let fact = fact_of(text.get());
        Ok(Self(fact.map(|fact| Box::new((fact, text.to_owned())))))
    }
}

fn fact_of(text: &str) -> Option<facts::File> {
    if text.len() > MAX_ENTRY_BYTES {
        return None;
    }
    let entry: wire::FileEntry<wire::Text<'_>> = serde_json::from_str(text).ok()?;
    Some(match entry.is_removed() {
        true => facts::File {
            updated: entry.updation_time,
            ..gone(entry.collection_id, entry.id)
        },
        false => facts::File::listed(&entry, entry_digest(text)),
    })
}

/// What the entries seen so far say about the files of a collection.
#[derive(Default)]
struct Seen {
    /// The last entry of each file wins; `None` where it says what was known.
    files: BTreeMap<i64, Option<facts::File>>,
    newest: i64,
    broken: bool,
    /// They are what came since the last time, and all of them could not be had.
    is_rest_owed: bool,
}

impl Lister<'_> {
    /// Lists what changed since the last time, or everything.
    pub(crate) async fn run(&self, manner: Manner<'_>) -> Result<Listed, ListingError> {
        let id = self.collection.id;
        let old = self.before.collections.get(&id);
        // What a full listing could not do is made up for in full.
        let full = manner.full || old.is_some_and(|old| old.synced == 0);
        let manner = Manner { full, ..manner };
        let updated = self.collection.updation_time;
        let since = match old {
            // Where the server's clock was set back, what changed since then has times before the cursor.
            Some(old) if !full && updated >= old.cursor.saturating_sub(OVERLAP_US) => {
                since_last(old)
            }
            _ => 0,
        };
        let mut seen = Seen::default();
        if full || is_due(old, self.collection) {
            match self.files(since, manner, &mut seen).await {
                Err(error) if !error.ends_the_run() => {
                    return self.without_all(old.filter(|_| full), manner, &error).await;
                }
                other => other?,
            }
        }
        let problem = seen.broken.then(|| problems::bad_entry(Some(id), None));
        Ok(self.listed(manner, seen, problem))
    }

    /// What a collection comes to whose listing failed: it stays as it was. Where that was to be a full one of a `known` collection, it is
    /// owed, and what came since the last time is taken in, if so much can be listed.
    async fn without_all(
        &self,
        known: Option<&facts::Collection>,
        manner: Manner<'_>,
        error: &ListingError,
    ) -> Result<Listed, ListingError> {
        let since = known.map_or(0, since_last);
        if since > 0 {
            let mut seen = Seen {
                is_rest_owed: true,
                ..Seen::default()
            };
            match self.diff(since, manner, &mut seen).await {
                Ok(()) => {
                    let problem = problems::unlisted_in_full(self.collection.id, error);
                    return Ok(self.listed(manner, seen, Some(problem)));
                }
                Err(error) if error.ends_the_run() => return Err(error),
                // Why all of them cannot be listed tells more.
                Err(_) => {}
            }
        }
        Ok(Listed {
            collection: known.and_then(anew),
            problem: Some(problems::unlisted(self.collection.id, error)),
            ..Listed::default()
        })
    }

    fn listed(&self, manner: Manner<'_>, seen: Seen, problem: Option<Problem>) -> Listed {
        let (collection, is_written) = self.fact(manner, &seen).unzip();
        let mut files: Vec<_> = seen.files.into_values().flatten().collect();
        // Those of all collections are held until the last is listed.
        files.shrink_to_fit();
        Listed {
            collection,
            is_written: is_written.unwrap_or_default(),
            files,
            problem,
        }
    }

    /// Reads what changed from `since` on; where that is everything, finds out what is no longer there.
    async fn files(
        &self,
        since: i64,
        manner: Manner<'_>,
        seen: &mut Seen,
    ) -> Result<(), ListingError> {
        self.diff(since, manner, seen).await?;
        if since > 0 || seen.broken {
            return Ok(());
        }
        let id = self.collection.id;
        let known = self.before.files_in(id).map(|file| file.id);
        let absent: Vec<i64> = known
            .filter(|file| !seen.files.contains_key(file))
            .collect();
        // What left is named as such for ever, so that one that is not named at all is most likely there.
        if !manner.trusting && !doubt::all_left(self.client, id, &absent).await? {
            return Err(ListingError::Cut);
        }
        let gone = absent.into_iter().map(|file| (file, Some(gone(id, file))));
        seen.files.extend(gone);
        Ok(())
    }

    /// Reads the pages from `since` on.
    async fn diff(
        &self,
        mut since: i64,
        manner: Manner<'_>,
        seen: &mut Seen,
    ) -> Result<(), ListingError> {
        let mut idle_pages = 0;
        loop {
            let page = self.client.diff::<Entry>(self.collection.id, since).await?;
            let named = seen.files.len();
            let is_empty = page.diff.is_empty();
            for entry in page.diff {
                self.take(entry, manner, seen)?;
            }
            if !page.has_more {
                return Ok(());
            }
            if is_empty {
                return Err(ListingError::Cut);
            }
            idle_pages = match seen.files.len() > named {
                true => 0,
                false => idle_pages + 1,
            };
            if seen.newest <= since || idle_pages > MAX_IDLE_PAGES {
                return Err(ListingError::Endless);
            }
            since = seen.newest;
        }
    }

    fn take(&self, entry: Entry, manner: Manner<'_>, seen: &mut Seen) -> Result<(), JournalError> {
        let id = self.collection.id;
        let Some((fact, text)) = entry
            .0
            .map(|entry| *entry)
            .filter(|it| it.0.collection == id)
        else {
            seen.broken = true;
            return Ok(());
        };
        seen.newest = seen.newest.max(fact.updated);
        let file = fact.id;
        let known = self.before.files.get(&(id, file));
        let news = if fact.gone {
            known.map(|_| gone(id, file))
        } else if known.is_some_and(|known| {
            known.digest == fact.digest && manner.kept.holds(known.at, known.len, manner.full)
        }) {
            None
        } else {
            Some(self.kept(fact, &text)?)
        };
        seen.files.insert(file, news);
        Ok(())
    }

    /// The fact about an entry, with where it is written.
    fn kept(&self, fact: facts::File, text: &RawValue) -> Result<facts::File, JournalError> {
        let mut sink = self.sink.borrow_mut();
        let (at, len) = ciphertext::append(&mut sink, fact.collection, Some(fact.id), text);
        if sink.pending_bytes() > FLUSH_BYTES {
            sink.flush()?;
        }
        Ok(facts::File { at, len, ..fact })
    }

    /// The fact about the collection, where it differs from the last, and whether its entry had to be written.
    fn fact(&self, manner: Manner<'_>, seen: &Seen) -> Option<(facts::Collection, bool)> {
        let known = self.before.collections.get(&self.collection.id);
        let old = known.filter(|old| manner.kept.holds(old.at, old.len, manner.full));
        let digest = Digest::of(self.text.get().as_bytes());
        let cursor = known.map_or(0, |known| known.cursor);
        let (synced, cursor) = match seen.broken {
            // A broken entry must not be forgotten: the same entries are asked for again.
            true if manner.full => (0, cursor),
            true => (known.map_or(0, |known| known.synced), cursor),
            false if seen.is_rest_owed => (0, cursor.max(seen.newest)),
            false => (self.collection.updation_time, cursor.max(seen.newest)),
        };
        let is_same = |old: &facts::Collection| {
            !old.missing && (old.digest, old.synced, old.cursor) == (digest, synced, cursor)
        };
        if old.is_some_and(is_same) {
            return None;
        }
        let written = old.filter(|old| old.digest == digest);
        let (at, len) = match written {
            Some(old) => (old.at, old.len),
            None => ciphertext::append(
                &mut self.sink.borrow_mut(),
                self.collection.id,
                None,
                self.text,
            ),
        };
        let fact = facts::Collection {
            id: self.collection.id,
            owner: self.collection.owner.id,
            kind: self.collection.kind.clone(),
            updated: self.collection.updation_time,
            synced,
            cursor,
            digest,
            at,
            len,
            missing: false,
            gone: false,
        };
        Some((fact, written.is_none()))
    }
}

/// Where a listing goes on that is to find what came since the last one.
fn since_last(known: &facts::Collection) -> i64 {
    known.cursor.saturating_sub(OVERLAP_US).max(0)
}

fn gone(collection: i64, id: i64) -> facts::File {
    facts::File {
        collection,
        id,
        gone: true,
        ..facts::File::default()
    }
}
