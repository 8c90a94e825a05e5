//! The facts of all tools folded to what holds now, and what follows from them (section 8 of `docs/formats/manifest.md`).

mod decrypt;
mod meta;
mod pull;
mod verify;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use crate::id::Version;
use crate::manifest::facts::{Finding, Object, Trash};
use crate::manifest::focus::{Focus, Row};
use crate::manifest::journal::JournalError;

pub use decrypt::DecryptState;
pub use meta::MetaState;
pub use pull::PullState;
pub use verify::VerifyState;

/// A file in a collection: (collection ID, file ID).
pub type PlacementKey = (i64, i64);
/// A part of a file in a collection: (collection ID, file ID, part).
pub type PartKey = (i64, i64, usize);
/// Content: (file ID, version).
pub type ContentKey = (i64, Version);

/// It is in focus; without one, everything is.
pub fn covers(focus: Option<&Focus>, row: Row) -> bool {
    focus.is_none_or(|focus| focus.covers(row))
}

/// All four together: what every tool looks at before it plans.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Of `ente-pull`.
    pub pull: PullState,
    /// Of `ente-decrypt`.
    pub decrypt: DecryptState,
    /// Of `ente-meta`.
    pub meta: MetaState,
    /// Of `ente-verify`.
    pub verify: VerifyState,
    /// Of what alone this tells; `None`: of everything.
    pub focus: Option<Focus>,
}

impl State {
    /// Reads all four files; those that are not there count as empty.
    ///
    /// # Errors
    /// As [`Follow::catch_up`](crate::manifest::follow::Follow::catch_up).
    pub fn load(state_dir: &Path) -> Result<Self, JournalError> {
        Self::load_within(state_dir, None)
    }

    /// As [`load`](Self::load), without what is out of focus.
    ///
    /// # Errors
    /// As [`Follow::catch_up`](crate::manifest::follow::Follow::catch_up).
    pub fn load_within(state_dir: &Path, focus: Option<Focus>) -> Result<Self, JournalError> {
        // Where there is much, the first is as long as the others together.
        let (decrypt, others) = std::thread::scope(|scope| {
            let decrypt = scope.spawn(|| DecryptState::load_within(state_dir, focus.as_ref()));
            let others = Self::load_others(state_dir, focus.as_ref());
            (decrypt.join().expect("reading does not panic"), others)
        });
        Ok(Self {
            decrypt: decrypt?,
            focus,
            ..others?
        })
    }

    /// As [`load_within`](Self::load_within), but for what `ente-decrypt` knows.
    fn load_others(state_dir: &Path, focus: Option<&Focus>) -> Result<Self, JournalError> {
        Ok(Self {
            pull: PullState::load_within(state_dir, focus)?,
            meta: MetaState::load_within(state_dir, focus)?,
            verify: VerifyState::load(state_dir)?,
            ..Self::default()
        })
    }

    /// Everything is known of this file.
    pub fn knows(&self, file: i64) -> bool {
        self.focus.as_ref().is_none_or(|focus| focus.has(file))
    }

    /// The object of this content, if it lies under `objects/` as far as the facts tell, whatever became of its bytes since.
    pub fn stored(&self, key: ContentKey) -> Option<&Object> {
        let object = self.pull.objects.get(&key)?;
        let dropped = self.decrypt.dropped.get(&key).copied().unwrap_or(0);
        (dropped < object.fetch).then_some(object)
    }

    /// The object of this content, if it is at hand: stored, and not found missing or damaged since.
    pub fn object(&self, key: ContentKey) -> Option<&Object> {
        let finding = self.verify.objects.get(&key);
        let is_broken = |object: &Object| {
            finding.is_some_and(|finding| finding.n == object.fetch && is_broken(finding))
        };
        self.stored(key).filter(|object| !is_broken(object))
    }

    /// A part that `ente-verify` found missing or damaged and that was not written again since.
    pub fn broken(&self, key: PlacementKey, part: usize) -> Option<&Finding> {
        let finding = self.verify.findings.get(&(key.0, key.1, part))?;
        let placement = self.decrypt.placements.get(&key)?;
        (finding.n == placement.n && is_broken(finding)).then_some(finding)
    }

    /// A sidecar that `ente-verify` did not find and that was not written again since: `ente-meta` writes it anew.
    pub fn sidecar_lost(&self, key: PartKey) -> bool {
        match (self.verify.sidecars.get(&key), self.meta.sidecars.get(&key)) {
            (Some(finding), Some(sidecar)) => finding.n == sidecar.n && finding.class == "missing",
            _ => false,
        }
    }

    /// A placement whose parts are all on disk and whole, as far as the facts tell.
    pub fn is_whole(&self, key: PlacementKey) -> bool {
        self.decrypt.placements.get(&key).is_some_and(|placement| {
            !placement.parts.is_empty()
                && (0..placement.parts.len()).all(|part| self.broken(key, part).is_none())
        })
    }

    /// Its plaintext was put aside, and stays there: a verdict says that it is not to be exported. What lies aside without one is what else came
    /// with content that was.
    pub fn is_refused(&self, content: ContentKey) -> bool {
        self.decrypt.asides.contains_key(&content) && self.decrypt.verdicts.contains_key(&content)
    }

    /// A trash entry that is still there, as far as the facts tell.
    pub fn in_trash<'a>(&'a self, trash: &'a Trash) -> bool {
        !self.verify.pruned.contains(&trash.path)
    }

    /// All content whose plaintext is at hand: in the tree, in the trash, or aside for good.
    pub fn plaintexts(&self) -> HashSet<ContentKey> {
        let mut held: HashSet<ContentKey> = self
            .decrypt
            .placements
            .iter()
            .filter(|(key, _)| self.is_whole(**key))
            .filter_map(|(key, placement)| placement.version.map(|version| (key.1, version)))
            .collect();
        let asides = self.decrypt.asides.keys();
        held.extend(asides.filter(|content| self.is_refused(**content)));
        held.extend(self.trashed().into_keys());
        held
    }

    /// Content that lies in the trash with all its parts, and where these lie below it: half a live photo cannot be taken from there.
    pub fn trashed(&self) -> HashMap<ContentKey, Vec<&str>> {
        /// Path of each part, and how many there were.
        type Parts<'a> = BTreeMap<usize, (&'a str, usize)>;
        let mut sets: BTreeMap<(i64, ContentKey), Parts<'_>> = BTreeMap::new();
        for trash in self.decrypt.trash.values() {
            if let Some(version) = trash.version
                && trash.reason != "damaged"
                && self.in_trash(trash)
            {
                let content = (trash.file, version);
                let parts = sets.entry((trash.collection, content)).or_default();
                parts.insert(trash.part, (&trash.path, trash.of));
            }
        }
        let whole = sets.into_iter().filter(|(_, parts)| {
            let of = parts.values().map(|(_, of)| *of).max().unwrap_or(0);
            parts.keys().copied().eq(0..of)
        });
        whole
            .map(|((_, content), parts)| {
                let paths = parts.into_values().map(|(path, _)| path);
                (content, paths.collect())
            })
            .collect()
    }
}

/// The finding says that content is lost.
fn is_broken(finding: &Finding) -> bool {
    matches!(finding.class.as_str(), "missing" | "damaged")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::facts::{
        Collection, DecryptFact, File, Listing, MetaFact, Part, Placement, PullFact, Setting,
        Sidecar, VerifyFact,
    };

    fn version(byte: u8) -> Version {
        Version::from_bytes([byte; 8])
    }

    fn file(id: i64) -> PullFact {
        PullFact::File(File {
            collection: 1,
            id,
            version: Some(version(1)),
            ..File::default()
        })
    }

    #[test]
    fn the_placements_of_a_file_are_found_in_all_albums() {
        let mut state = DecryptState::default();
        let keys = [
            (-2, 7),
            (1, 6),
            (1, 8),
            (2, 7),
            (5, 7),
            (5, 8),
            (i64::MAX, 7),
        ];
        for (collection, file) in keys {
            state.apply(DecryptFact::Placement(Placement {
                collection,
                file,
                ..Placement::default()
            }));
        }
        let of = |file| -> Vec<i64> {
            let placements = state.placements_of(file);
            placements.map(|placement| placement.collection).collect()
        };
        assert_eq!(of(7), [-2, 2, 5, i64::MAX]);
        assert_eq!(of(8), [1, 5]);
        assert!(of(9).is_empty() && DecryptState::default().placements_of(7).next().is_none());
    }

    #[test]
    fn a_listing_counts_only_when_it_is_closed() {
        let mut state = PullState::default();
        state.apply(PullFact::Collection(Collection {
            id: 1,
            ..Collection::default()
        }));
        state.apply(file(7));
        state.apply(PullFact::Setting(Setting {
            name: "objects".into(),
            value: "keep".into(),
        }));
        assert!(state.files.is_empty() && state.has_open_listing());
        assert_eq!(state.settings["objects"], "keep");
        state.apply(PullFact::Listing(Listing::default()));
        assert_eq!(state.files.len(), 1);
        state.apply(file(8));
        state.apply(PullFact::Listing(Listing {
            void: true,
            ..Listing::default()
        }));
        state.apply(PullFact::Listing(Listing::default()));
        assert_eq!(state.files.len(), 1, "what was voided never counts");
    }

    #[test]
    fn a_listing_can_be_taken_in_at_once() {
        let gone = |id| {
            PullFact::File(File {
                collection: 1,
                id,
                gone: true,
                ..File::default()
            })
        };
        let closed = Listing {
            when: 5,
            full: true,
            ..Listing::default()
        };
        let mut state = PullState::default();
        state.apply(file(7));
        state.take_listing([file(8), file(9), gone(8)], closed.clone());
        let files: Vec<i64> = state.files.keys().map(|key| key.1).collect();
        assert_eq!(files, [7, 9], "the last fact about a thing wins");
        assert_eq!(state.full_listing_at, Some(5));
        assert_eq!(state.listing, Some(closed));
        assert!(!state.has_open_listing());
    }

    #[test]
    fn a_collection_takes_its_files_along() {
        let mut state = PullState::default();
        state.apply(file(7));
        state.apply(PullFact::Listing(Listing::default()));
        state.apply(PullFact::Collection(Collection {
            id: 1,
            gone: true,
            ..Collection::default()
        }));
        state.apply(PullFact::Listing(Listing::default()));
        assert!(state.files.is_empty());
    }

    #[test]
    fn a_dropped_object_is_at_hand_again_once_it_is_fetched_again() {
        let mut state = State::default();
        let key = (7, version(1));
        let object = |fetch| {
            PullFact::Object(Object {
                id: 7,
                version: version(1),
                fetch,
                ..Object::default()
            })
        };
        state.pull.apply(object(1));
        assert!(state.object(key).is_some());
        state.decrypt.dropped.insert(key, 1);
        assert!(state.object(key).is_none());
        state.pull.apply(object(2));
        assert!(state.object(key).is_some());
    }

    #[test]
    fn a_lost_object_is_stored_but_not_at_hand_until_it_is_fetched_again() {
        let key = (7, version(1));
        let object = |fetch| {
            PullFact::Object(Object {
                id: 7,
                version: version(1),
                fetch,
                ..Object::default()
            })
        };
        for class in ["missing", "damaged"] {
            let mut state = State::default();
            state.pull.apply(object(1));
            let finding = |gone| {
                VerifyFact::Finding(Finding {
                    file: 7,
                    version: Some(version(1)),
                    what: "object".into(),
                    class: class.into(),
                    n: 1,
                    gone,
                    ..Finding::default()
                })
            };
            state.verify.apply(finding(false));
            assert!(state.object(key).is_none() && state.stored(key).is_some());
            state.pull.apply(object(2));
            assert!(state.object(key).is_some());
            state.pull.apply(object(1));
            state.verify.apply(finding(true));
            assert!(state.object(key).is_some());
        }
    }

    #[test]
    fn halves_of_a_live_photo_in_the_trash_are_whole_only_if_they_differ() {
        let mut state = State::default();
        let part = |path: &str, part| {
            DecryptFact::Trash(Trash {
                collection: 1,
                file: 7,
                version: Some(version(1)),
                part,
                of: 2,
                path: path.into(),
                ..Trash::default()
            })
        };
        // Twice it was removed, and each time somebody deleted its video from the trash.
        state.decrypt.apply(part("2026-01-01/A/x.jpg", 0));
        state.decrypt.apply(part("2026-01-02/A/x.jpg", 0));
        assert!(state.trashed().is_empty() && state.plaintexts().is_empty());
        state.decrypt.apply(part("2026-01-03/A/x.mov", 1));
        assert_eq!(state.plaintexts(), HashSet::from([(7, version(1))]));
        let paths = &state.trashed()[&(7, version(1))];
        assert_eq!(paths, &["2026-01-02/A/x.jpg", "2026-01-03/A/x.mov"]);
    }

    #[test]
    fn a_finding_holds_until_the_part_is_written_again() {
        let mut state = State::default();
        let placement = |n| Placement {
            collection: 1,
            file: 7,
            n,
            version: Some(version(1)),
            parts: vec![Part::default()],
            ..Placement::default()
        };
        state.decrypt.apply(DecryptFact::Placement(placement(1)));
        assert!(state.plaintexts().contains(&(7, version(1))));
        state.verify.apply(VerifyFact::Finding(Finding {
            collection: 1,
            file: 7,
            class: "missing".into(),
            n: 1,
            ..Finding::default()
        }));
        assert!(state.plaintexts().is_empty());
        state.decrypt.apply(DecryptFact::Placement(placement(2)));
        assert!(state.plaintexts().contains(&(7, version(1))));
    }

    #[test]
    fn a_lost_sidecar_is_no_lost_content_and_is_lost_until_it_is_written_again() {
        let mut state = State::default();
        let sidecar = |n| Sidecar {
            collection: 1,
            file: 7,
            n,
            ..Sidecar::default()
        };
        state.decrypt.apply(DecryptFact::Placement(Placement {
            collection: 1,
            file: 7,
            n: 1,
            version: Some(version(1)),
            parts: vec![Part::default()],
            ..Placement::default()
        }));
        state.meta.apply(MetaFact::Sidecar(sidecar(1)));
        state.verify.apply(VerifyFact::Finding(Finding {
            collection: 1,
            file: 7,
            what: "sidecar".into(),
            class: "missing".into(),
            n: 1,
            ..Finding::default()
        }));
        assert!(state.is_whole((1, 7)));
        assert!(state.sidecar_lost((1, 7, 0)));
        state.meta.apply(MetaFact::Sidecar(sidecar(2)));
        assert!(!state.sidecar_lost((1, 7, 0)));
    }
}
