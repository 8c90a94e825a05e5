//! The facts of `ente-meta`, folded.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use blake3::Hash;

use super::{PartKey, covers};
use crate::layout::Sidecars;
use crate::manifest::facts::{MetaFact, Sidecar};
use crate::manifest::focus::Focus;
use crate::manifest::follow::Follow;
use crate::manifest::journal::JournalError;

/// What `ente-meta` holds to be so.
#[derive(Clone, Debug, Default)]
pub struct MetaState {
    /// Settings by name.
    pub settings: BTreeMap<String, String>,
    /// Sidecars as written.
    pub sidecars: BTreeMap<PartKey, Sidecar>,
    /// What the last sidecar of a part was that has none any more: where the part was lost and not moved, it lies there still.
    pub former: HashMap<PartKey, Hash>,
}

impl MetaState {
    /// Folds `meta.jsonl`, without what is out of focus.
    ///
    /// # Errors
    /// As [`Follow::catch_up`](crate::manifest::follow::Follow::catch_up).
    pub fn load_within(state_dir: &Path, focus: Option<&Focus>) -> Result<Self, JournalError> {
        let mut state = Self::default();
        Follow::new::<MetaFact>(state_dir)
            .catch_up_where(|row| covers(focus, row), |fact| state.apply(fact))?;
        Ok(state)
    }

    /// Takes in the next fact.
    pub fn apply(&mut self, fact: MetaFact) {
        match fact {
            MetaFact::Setting(setting) => {
                self.settings.insert(setting.name, setting.value);
            }
            MetaFact::Sidecar(sidecar) => {
                let key = (sidecar.collection, sidecar.file, sidecar.part);
                if sidecar.gone {
                    self.sidecars.remove(&key);
                    self.former
                        .extend(sidecar.blake3.map(|blake3| (key, blake3)));
                } else {
                    self.former.remove(&key);
                    self.sidecars.insert(key, sidecar);
                }
            }
            MetaFact::Rest(_) => {}
        }
    }

    /// Where sidecars lie: the setting `sidecars`.
    pub fn sidecars_at(&self) -> Sidecars {
        self.settings
            .get("sidecars")
            .and_then(|value| value.parse().ok())
            .unwrap_or_default()
    }
}
