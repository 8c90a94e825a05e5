//! The facts of `ente-pull`, folded.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::{ContentKey, PlacementKey, covers};
use crate::manifest::facts::{Collection, Failed, File, Listing, Object, PullFact};
use crate::manifest::focus::{Focus, Row};
use crate::manifest::follow::Follow;
use crate::manifest::journal::JournalError;
use crate::manifest::setting::{self, Objects};

/// What `ente-pull` holds to be so. `collections` and `files` are those of the last closed listing.
///
/// Values of maps with an entry per file are boxed, here and below: trees filled in order, and tables just grown, are half empty.
#[derive(Clone, Debug, Default)]
pub struct PullState {
    /// Settings by name.
    pub settings: BTreeMap<String, String>,
    /// Live collections.
    pub collections: BTreeMap<i64, Collection>,
    /// Live files of live collections.
    pub files: BTreeMap<PlacementKey, Box<File>>,
    /// Objects under `objects/`, dropped or not; see [`State::object`](super::State::object).
    pub objects: HashMap<ContentKey, Box<Object>>,
    /// Objects that were moved to the trash, pruned since or not.
    pub trashed_objects: HashMap<ContentKey, Box<Object>>,
    /// Downloads to be tried again.
    pub failed: HashMap<ContentKey, Failed>,
    /// The last closed listing.
    pub listing: Option<Listing>,
    /// When everything was last listed from the start, in microseconds.
    pub full_listing_at: Option<i64>,
    /// Facts of a listing that was never closed.
    open: Vec<PullFact>,
}

impl PullState {
    /// Folds `pull.jsonl`, without what is out of focus.
    ///
    /// # Errors
    /// As [`Follow::catch_up`](crate::manifest::follow::Follow::catch_up).
    pub fn load_within(state_dir: &Path, focus: Option<&Focus>) -> Result<Self, JournalError> {
        let mut state = Self::default();
        Follow::new::<PullFact>(state_dir)
            .catch_up_where(|row| covers(focus, row), |fact| state.apply(fact))?;
        Ok(state)
    }

    /// Everything but files and objects; and instead of those, what each fact about a file in a collection is about, in order, whether the file
    /// is still there and its listing counts or not: (collection ID, file ID).
    ///
    /// # Errors
    /// As [`Follow::catch_up`](crate::manifest::follow::Follow::catch_up).
    pub fn survey(state_dir: &Path) -> Result<(Self, Vec<(i64, i64)>), JournalError> {
        let (mut state, mut rows) = (Self::default(), Vec::new());
        let look = |row: Row| {
            rows.extend(row.collection.map(|collection| (collection, row.file)));
        };
        Follow::new::<PullFact>(state_dir).survey(look, |fact| state.apply(fact))?;
        Ok((state, rows))
    }

    /// Takes in the next fact.
    pub fn apply(&mut self, fact: PullFact) {
        match fact {
            PullFact::Collection(_) | PullFact::File(_) => self.open.push(fact),
            PullFact::Listing(listing) if listing.void => self.open.clear(),
            PullFact::Listing(listing) => self.take_listing([], listing),
            PullFact::Setting(setting) => {
                self.settings.insert(setting.name, setting.value);
            }
            PullFact::Object(object) => {
                let key = (object.id, object.version);
                self.trashed_objects.remove(&key);
                if !object.gone {
                    self.objects.insert(key, Box::new(object));
                    return;
                }
                self.objects.remove(&key);
                if object.trashed.is_some() {
                    self.trashed_objects.insert(key, Box::new(object));
                }
            }
            PullFact::Failed(failed) => {
                let key = (failed.id, failed.version);
                if failed.gone {
                    self.failed.remove(&key)
                } else {
                    self.failed.insert(key, failed)
                };
            }
            PullFact::Rest(_) => {}
        }
    }

    /// Takes in further collections and files, and that the listing is closed with them: they need not wait for that here.
    pub fn take_listing(&mut self, facts: impl IntoIterator<Item = PullFact>, closed: Listing) {
        let open = std::mem::take(&mut self.open);
        open.into_iter()
            .chain(facts)
            .for_each(|fact| self.close(fact));
        if closed.full {
            self.full_listing_at = Some(closed.when);
        }
        self.listing = Some(closed);
    }

    /// A listing was begun and never closed: its writer must void it before the next.
    pub fn has_open_listing(&self) -> bool {
        !self.open.is_empty()
    }

    fn close(&mut self, fact: PullFact) {
        match fact {
            PullFact::Collection(collection) if collection.gone => {
                self.collections.remove(&collection.id);
                let files: Vec<_> = self
                    .files
                    .range((collection.id, i64::MIN)..=(collection.id, i64::MAX))
                    .map(|(key, _)| *key)
                    .collect();
                for key in files {
                    self.files.remove(&key);
                }
            }
            PullFact::Collection(collection) => {
                self.collections.insert(collection.id, collection);
            }
            PullFact::File(file) => {
                let key = (file.collection, file.id);
                if file.gone {
                    self.files.remove(&key)
                } else {
                    self.files.insert(key, Box::new(file))
                };
            }
            _ => unreachable!("only collections and files wait for the end of a listing"),
        }
    }

    /// Objects stay when their plaintext is safe: the setting `objects`.
    pub fn keeps_objects(&self) -> bool {
        setting::stored(&self.settings, "objects") == Some(Objects::Keep)
    }

    /// The files of one collection, by file ID.
    pub fn files_in(&self, collection: i64) -> impl Iterator<Item = &File> {
        self.files
            .range((collection, i64::MIN)..=(collection, i64::MAX))
            .map(|(_, file)| &**file)
    }
}
