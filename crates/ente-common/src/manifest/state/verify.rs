//! The facts of `ente-verify`, folded.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::{ContentKey, PartKey};
use crate::manifest::facts::{Adopted, Checked, Finding, VerifyFact};
use crate::manifest::follow::Follow;
use crate::manifest::journal::JournalError;

/// What `ente-verify` holds to be so.
#[derive(Clone, Debug, Default)]
pub struct VerifyState {
    /// Findings about parts; whether one still holds depends on [`Placement::n`](crate::manifest::facts::Placement::n): see [`State::broken`](super::State::broken).
    pub findings: BTreeMap<PartKey, Finding>,
    /// Findings about sidecars; whether one still holds depends on [`Sidecar::n`](crate::manifest::facts::Sidecar::n): see [`State::sidecar_lost`](super::State::sidecar_lost).
    pub sidecars: BTreeMap<PartKey, Finding>,
    /// Findings about objects; whether one still holds depends on [`Object::fetch`](crate::manifest::facts::Object::fetch): see [`State::object`](super::State::object).
    pub objects: BTreeMap<ContentKey, Finding>,
    /// Findings about paths that the manifest does not know.
    pub extras: BTreeMap<PathBuf, Finding>,
    /// The last finished run.
    pub checked: Option<Checked>,
    /// Trash paths that were pruned.
    pub pruned: HashSet<String>,
    /// Files that may stand for content, by path; see [`State::adoptable`](super::State::adoptable).
    pub adopted: BTreeMap<PathBuf, Adopted>,
}

impl VerifyState {
    /// Folds `verify.jsonl`.
    ///
    /// # Errors
    /// As [`Follow::catch_up`](crate::manifest::follow::Follow::catch_up).
    pub fn load(state_dir: &Path) -> Result<Self, JournalError> {
        let mut state = Self::default();
        Follow::new::<VerifyFact>(state_dir).catch_up(|fact| state.apply(fact))?;
        Ok(state)
    }

    /// Takes in the next fact.
    pub fn apply(&mut self, fact: VerifyFact) {
        match fact {
            VerifyFact::Finding(finding) => match finding.path.clone() {
                Some(path) if finding.gone => {
                    self.extras.remove(&path);
                }
                Some(path) => {
                    self.extras.insert(path, finding);
                }
                None => {
                    let key = (finding.collection, finding.file, finding.part);
                    match finding.what.as_str() {
                        "" => settle(&mut self.findings, key, finding),
                        "sidecar" => settle(&mut self.sidecars, key, finding),
                        "object" => {
                            let version = finding.version.unwrap_or_default();
                            settle(&mut self.objects, (finding.file, version), finding);
                        }
                        _ => {}
                    }
                }
            },
            VerifyFact::Checked(checked) => self.checked = Some(checked),
            VerifyFact::Pruned(pruned) => {
                self.pruned.insert(pruned.path);
            }
            VerifyFact::Adopted(adopted) if adopted.gone => {
                self.adopted.remove(&adopted.path);
            }
            VerifyFact::Adopted(adopted) => {
                self.adopted.insert(adopted.path.clone(), adopted);
            }
        }
    }

    /// Files of the tree itself may stand for content: whose they are takes all placements to tell.
    pub fn adopts_from_tree(&self) -> bool {
        self.adopted.keys().any(|path| path.is_relative())
    }
}

/// Lets a finding stand, or no longer.
fn settle<K: Ord>(findings: &mut BTreeMap<K, Finding>, key: K, finding: Finding) {
    if finding.gone {
        findings.remove(&key);
    } else {
        findings.insert(key, finding);
    }
}
