//! The facts of `ente-decrypt`, folded.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::{ContentKey, PlacementKey, covers};
use crate::manifest::facts::{Aside, DecryptFact, Folder, Placement, Trash, Verdict};
use crate::manifest::focus::Focus;
use crate::manifest::follow::Follow;
use crate::manifest::journal::JournalError;
use crate::manifest::setting::{self, OnRemove};

/// What `ente-decrypt` holds to be so.
#[derive(Clone, Debug, Default)]
pub struct DecryptState {
    /// Settings by name.
    pub settings: BTreeMap<String, String>,
    /// Album folders by collection.
    pub folders: BTreeMap<i64, Folder>,
    /// Names given and parts written.
    pub placements: BTreeMap<PlacementKey, Box<Placement>>,
    /// The last `fetch` that was dropped.
    pub dropped: HashMap<ContentKey, u32>,
    /// Objects that could not be exported.
    pub verdicts: HashMap<ContentKey, Verdict>,
    /// What lies in the trash, by path.
    pub trash: BTreeMap<String, Trash>,
    /// What was put aside.
    pub asides: HashMap<ContentKey, Aside>,
}

impl DecryptState {
    /// Folds `decrypt.jsonl`, without what is out of focus.
    ///
    /// # Errors
    /// As [`Follow::catch_up`](crate::manifest::follow::Follow::catch_up).
    pub fn load_within(state_dir: &Path, focus: Option<&Focus>) -> Result<Self, JournalError> {
        let mut state = Self::default();
        Follow::new::<DecryptFact>(state_dir)
            .catch_up_where(|row| covers(focus, row), |fact| state.apply(fact))?;
        Ok(state)
    }

    /// Takes in the next fact.
    pub fn apply(&mut self, fact: DecryptFact) {
        match fact {
            DecryptFact::Setting(setting) => {
                self.settings.insert(setting.name, setting.value);
            }
            DecryptFact::Folder(folder) => {
                let key = folder.collection;
                if folder.gone {
                    self.folders.remove(&key)
                } else {
                    self.folders.insert(key, folder)
                };
            }
            DecryptFact::Placement(placement) => {
                let key = (placement.collection, placement.file);
                if placement.gone {
                    self.placements.remove(&key)
                } else {
                    self.placements.insert(key, Box::new(placement))
                };
            }
            DecryptFact::Dropped(dropped) => {
                self.dropped
                    .insert((dropped.id, dropped.version), dropped.fetch);
            }
            DecryptFact::Verdict(verdict) => {
                let key = (verdict.id, verdict.version);
                if verdict.gone {
                    self.verdicts.remove(&key)
                } else {
                    self.verdicts.insert(key, verdict)
                };
            }
            DecryptFact::Trash(trash) => {
                if trash.gone {
                    self.trash.remove(&trash.path);
                } else {
                    self.trash.insert(trash.path.clone(), trash);
                }
            }
            DecryptFact::Aside(aside) => {
                let key = (aside.id, aside.version);
                if aside.gone {
                    self.asides.remove(&key)
                } else {
                    self.asides.insert(key, aside)
                };
            }
            DecryptFact::Rest(_) => {}
        }
    }

    /// The setting `on_remove`.
    pub fn on_remove(&self) -> OnRemove {
        setting::stored(&self.settings, "on_remove").unwrap_or_default()
    }

    /// The placements of one collection, by file ID.
    pub fn placements_in(&self, collection: i64) -> impl Iterator<Item = &Placement> {
        let placements = self
            .placements
            .range((collection, i64::MIN)..=(collection, i64::MAX));
        placements.map(|(_, placement)| &**placement)
    }

    /// The placements of a file, by collection: one look for each collection, whatever these hold.
    pub fn placements_of(&self, file: i64) -> impl Iterator<Item = &Placement> {
        let first_from = |collection| {
            let mut from = self.placements.range((collection, i64::MIN)..);
            from.next().map(|(key, _)| key.0)
        };
        let next = move |collection: &i64| first_from(collection.checked_add(1)?);
        std::iter::successors(first_from(i64::MIN), next)
            .filter_map(move |collection| self.placements.get(&(collection, file)))
            .map(Box::as_ref)
    }

    /// Path of a part below the export; `None` while its album has no folder or the part is not written.
    pub fn path(&self, key: PlacementKey, part: usize) -> Option<String> {
        let folder = self.folders.get(&key.0)?;
        let part = self.placements.get(&key)?.parts.get(part)?;
        Some(format!("{}/{}", folder.name, part.name))
    }
}
