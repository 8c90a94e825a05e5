//! What a listing means for each file, and whether its removals can be believed. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use ente_common::manifest::facts;
use ente_common::manifest::state::PullState;

use crate::listing::Listing;

/// Files that any run may remove, however few there are.
const FEW_FILES: usize = 100;

/// One of the words of the member `change` in a `file` record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    New,
    Content,
    Metadata,
    Placement,
    Removed,
}

/// All, in order.
const KINDS: [Kind; 5] = [
    Kind::New,
    Kind::Content,
    Kind::Metadata,
    Kind::Placement,
    Kind::Removed,
];

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Content => "content",
            Self::Metadata => "metadata",
            Self::Placement => "placement",
            Self::Removed => "removed",
        }
    }
}

/// What happened to one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kinds(u8);

impl Kinds {
    fn add(&mut self, kind: Kind) {
        self.0 |= 1 << kind as u8;
    }

    /// Each once, in order.
    pub(crate) fn iter(self) -> impl Iterator<Item = Kind> {
        let has = move |kind: &Kind| self.0 & 1 << *kind as u8 != 0;
        KINDS.into_iter().filter(has)
    }
}

impl From<Kind> for Kinds {
    fn from(kind: Kind) -> Self {
        Self(1 << kind as u8)
    }
}

/// Where a file was and is no longer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Left {
    /// The collections.
    pub(crate) collections: Vec<i64>,
    /// Its user ID, for a record of a file that is nowhere any more.
    pub(crate) owner: i64,
}

/// What a listing changes, compared with the one before.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Changes {
    /// By file ID.
    pub(crate) files: BTreeMap<i64, Kinds>,
    /// Those that left some collection, by file ID.
    pub(crate) left: BTreeMap<i64, Left>,
    /// Files that were somewhere and are nowhere now.
    pub(crate) gone: usize,
    /// Files that were somewhere.
    pub(crate) known: usize,
    /// Files that are somewhere now.
    pub(crate) remaining: usize,
}

impl Changes {
    /// Compares `listing` with the state `before` it.
    pub(crate) fn of(before: &PullState, listing: &Listing) -> Self {
        if listing.changes_nothing() {
            return Self::default();
        }
        let mut placements: HashMap<i64, i64> = HashMap::new();
        for key in before.files.keys() {
            *placements.entry(key.1).or_default() += 1;
        }
        let known: HashSet<i64> = placements.keys().copied().collect();
        let mut changes = Self {
            known: known.len(),
            ..Self::default()
        };
        for collection in listing.collections.iter().filter(|one| one.gone) {
            for file in before.files_in(collection.id) {
                changes.leave(file);
                *placements.entry(file.id).or_default() -= 1;
            }
        }
        for file in listing.files() {
            let old = before.files.get(&(file.collection, file.id));
            match old {
                Some(old) if file.gone => {
                    changes.leave(old);
                    *placements.entry(file.id).or_default() -= 1;
                }
                Some(old) => changes.add(file.id, kind_of_edit(old, file)),
                None if file.gone => {}
                None => {
                    *placements.entry(file.id).or_default() += 1;
                    let is_known = known.contains(&file.id);
                    changes.add(file.id, if is_known { Kind::Placement } else { Kind::New });
                }
            }
        }
        changes.remaining = placements.values().filter(|count| **count > 0).count();
        for (id, kinds) in &mut changes.files {
            if placements.get(id).is_none_or(|count| *count <= 0) {
                *kinds = Kind::Removed.into();
                changes.gone += 1;
            }
        }
        changes
    }

    /// The files that were somewhere and are nowhere now, each with its owner.
    pub(crate) fn gone_files(&self) -> Vec<(i64, i64)> {
        let removed = Kind::Removed.into();
        let left = self.left.iter();
        left.filter(|(id, _)| self.files.get(id) == Some(&removed))
            .map(|(id, left)| (*id, left.owner))
            .collect()
    }

    fn add(&mut self, id: i64, kind: Kind) {
        self.files.entry(id).or_default().add(kind);
    }

    fn leave(&mut self, file: &facts::File) {
        self.add(file.id, Kind::Placement);
        let left = self.left.entry(file.id).or_default();
        left.collections.push(file.collection);
        left.owner = file.owner;
    }

    /// So many files are gone that the listing itself is suspect: more than is [believed](Self::believed) without a word, and than the
    /// user `allowed`; a number that is no [word](Self::is_word) is a brake, and allows no more than none does.
    pub(crate) fn are_suspect(&self, is_blank: bool, allowed: Option<usize>) -> bool {
        let believed = self.believed(is_blank);
        let limit = match allowed {
            Some(allowed) if self.is_word(allowed) => allowed,
            Some(allowed) => allowed.min(believed),
            None => believed,
        };
        self.gone > limit
    }

    /// So many files may go without the user's word: none where the listing is blank or nothing is left.
    fn believed(&self, is_blank: bool) -> usize {
        match is_blank || self.remaining == 0 {
            true => 0,
            false => believed(self.known),
        }
    }

    /// The number says more than that there is to be a brake: it is above the default.
    pub(crate) fn is_word(&self, allowed: usize) -> bool {
        allowed > believed(self.known)
    }

    /// The least number that is the user's word for so many files.
    pub(crate) fn word_for(&self, files: usize) -> usize {
        files.max(believed(self.known) + 1)
    }
}

/// Of so many files, how many any run may remove: 100, or a fifth of them.
pub(crate) fn believed(known: usize) -> usize {
    FEW_FILES.max(known / 5)
}

fn kind_of_edit(old: &facts::File, new: &facts::File) -> Kind {
    if old.version == new.version {
        Kind::Metadata
    } else {
        Kind::Content
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ente_common::id::Version;
    use ente_common::manifest::Digest;
    use ente_common::manifest::facts::{Collection, File, PullFact};

    fn file(collection: i64, id: i64, version: u8, digest: &str) -> File {
        File {
            collection,
            id,
            version: Some(Version::from_bytes([version; 8])),
            digest: Digest::of(digest.as_bytes()),
            ..File::default()
        }
    }

    fn gone(collection: i64, id: i64) -> File {
        File {
            collection,
            id,
            gone: true,
            ..File::default()
        }
    }

    /// File 1 lies in collections 10 and 11, file 2 in 10, file 3 in 11.
    fn before() -> PullState {
        let mut state = PullState::default();
        for (collection, id) in [(10, 1), (11, 1), (10, 2), (11, 3)] {
            state.apply(PullFact::File(file(collection, id, 1, "a")));
        }
        state.apply(PullFact::Listing(facts::Listing::default()));
        state
    }

    fn words(files: Vec<File>, gone_collections: &[i64]) -> Vec<(i64, String, Vec<i64>)> {
        let collections = gone_collections.iter().map(|id| Collection {
            id: *id,
            gone: true,
            ..Collection::default()
        });
        let listing = Listing {
            collections: collections.collect(),
            albums: vec![files],
            ..Listing::default()
        };
        let changes = Changes::of(&before(), &listing);
        let left = |id| changes.left.get(id).map(|left| left.collections.clone());
        let files = changes.files.iter();
        files
            .map(|(id, kinds)| {
                let words: Vec<_> = kinds.iter().map(Kind::as_str).collect();
                (*id, words.join(" "), left(id).unwrap_or_default())
            })
            .collect()
    }

    #[test]
    fn each_kind_of_change_has_its_word() {
        let row = |id, word: &str, left: &[i64]| vec![(id, word.to_owned(), left.to_vec())];
        for (files, collections, expected) in [
            (vec![], &[][..], vec![]),
            (vec![file(10, 4, 1, "a")], &[], row(4, "new", &[])),
            (vec![file(10, 2, 1, "b")], &[], row(2, "metadata", &[])),
            (vec![file(10, 2, 2, "b")], &[], row(2, "content", &[])),
            (vec![file(11, 2, 1, "b")], &[], row(2, "placement", &[])),
            (vec![gone(10, 1)], &[], row(1, "placement", &[10])),
            (vec![gone(10, 2)], &[], row(2, "removed", &[10])),
            (vec![gone(10, 9)], &[], vec![]),
            (
                vec![gone(10, 2), file(11, 2, 2, "b")],
                &[],
                row(2, "placement", &[10]),
            ),
            (
                vec![
                    file(10, 1, 2, "b"),
                    file(11, 1, 2, "b"),
                    file(12, 1, 2, "b"),
                ],
                &[],
                row(1, "content placement", &[]),
            ),
            (
                vec![],
                &[11],
                [row(1, "placement", &[11]), row(3, "removed", &[11])].concat(),
            ),
        ] {
            assert_eq!(words(files.clone(), collections), expected, "{files:?}");
        }
    }

    #[test]
    fn gone_files_have_their_last_owner() {
        let mut state = before();
        for (key, file) in &mut state.files {
            file.owner = 100 + key.1;
        }
        let listing = Listing {
            albums: vec![vec![gone(10, 1), gone(10, 2)], vec![gone(11, 3)]],
            ..Listing::default()
        };
        let changes = Changes::of(&state, &listing);
        assert_eq!(changes.gone_files(), [(2, 102), (3, 103)]);
        assert_eq!((changes.gone, changes.remaining), (2, 1));
    }

    #[test]
    fn only_a_number_above_the_default_is_a_word() {
        for (known, allowed, is_word) in [
            (20, 20, false),
            (200, 100, false),
            (200, 101, true),
            (1000, 200, false),
            (1000, 201, true),
        ] {
            let changes = Changes {
                known,
                ..Changes::default()
            };
            assert_eq!(changes.is_word(allowed), is_word, "{allowed} of {known}");
        }
    }

    #[test]
    fn too_many_removals_are_suspect() {
        for (gone, known, empty, allowed, suspect) in [
            (0, 10_000, false, None, false),
            (1, 1, false, None, true),
            (100, 100, false, None, true),
            (100, 101, false, None, false),
            (101, 102, false, None, true),
            (101, 506, false, None, false),
            (101, 504, false, None, true),
            (2_001, 10_000, false, None, true),
            (2_000, 10_000, false, None, false),
            (1, 1, true, None, true),
            (0, 0, true, None, false),
            (2_001, 10_000, false, Some(2_001), false),
            (2_002, 10_000, false, Some(2_001), true),
            (2_001, 10_000, false, Some(2_000), true),
            (51, 10_000, false, Some(50), true),
            // A brake believes no empty answer.
            (80, 80, true, Some(90), true),
            (80, 80, true, Some(100), true),
            (80, 80, true, Some(101), false),
            (80, 80, false, Some(90), true),
            (80, 80, false, Some(101), false),
            (1_000, 1_000, true, Some(999), true),
            (1_000, 1_000, true, Some(1_000), false),
            (1, 10_000, false, Some(0), true),
        ] {
            let changes = Changes {
                gone,
                known,
                remaining: known - gone,
                ..Changes::default()
            };
            assert_eq!(
                changes.are_suspect(empty, allowed),
                suspect,
                "{gone} of {known}, {empty}, {allowed:?}"
            );
            // The number that is named suffices.
            let word = changes.word_for(gone);
            assert!(changes.is_word(word) && !changes.are_suspect(empty, Some(word)));
        }
    }
}
