//! What every album and every file in it is to be called: a pure function of the listing, the titles and the names already given.
//!
//! Only what differs from the facts is held here; everything else stays as the facts say. A title whose digest is unchanged keeps its name;
//! after those, new and changed titles take theirs in ascending order of collection and file ID, so that no order of arrival matters.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use ente_common::manifest::facts::{Folder, Placement};
use ente_common::manifest::{Digest, PlacementKey, State};
use ente_common::naming::{self, Kind};

/// Titles that had to be read: of everything that is new or was changed since it was named.
#[derive(Clone, Debug, Default)]
pub(crate) struct Titles {
    /// Of albums.
    pub folders: BTreeMap<i64, String>,
    /// Albums of which some edits could not be read: to be read again in the next run.
    pub doubtful: BTreeSet<i64>,
    /// Of files in albums.
    pub files: BTreeMap<PlacementKey, FileTitle>,
    /// Files that cannot be read now: what was exported of them stays as it is.
    pub unreadable: BTreeSet<PlacementKey>,
}

/// What a file's metadata says about its name and time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileTitle {
    /// The effective title; empty where there is none.
    pub title: String,
    /// The object is a ZIP of a still and a video.
    pub live: bool,
    /// Capture time in microseconds.
    pub taken: Option<i64>,
    /// Modification time in microseconds.
    pub modified: Option<i64>,
    /// Some edits could not be read: to be read again in the next run.
    pub doubtful: bool,
}

/// The collections and files whose entry has changed since it was read for its name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stale {
    /// Collection IDs.
    pub collections: Vec<i64>,
    /// Placements.
    pub files: Vec<PlacementKey>,
}

impl Stale {
    /// Compares the digests in the listing with those in the names.
    pub(crate) fn of(state: &State) -> Self {
        let collections = &state.pull.collections;
        let folders = &state.decrypt.folders;
        Self {
            collections: collections
                .values()
                .filter(|collection| {
                    folders
                        .get(&collection.id)
                        .is_none_or(|folder| folder.digest != collection.digest)
                })
                .map(|collection| collection.id)
                .collect(),
            files: state
                .pull
                .files
                .iter()
                .filter(|(key, file)| {
                    let placement = state.decrypt.placements.get(key);
                    placement.is_none_or(|placement| placement.digest != file.digest)
                })
                .map(|(key, _)| *key)
                .collect(),
        }
    }
}

/// Name and times that a placement is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Name {
    /// Name of the file; the stem of a live photo.
    pub name: String,
    /// It is the stem of a live photo.
    pub live: bool,
    /// Digest of the entry that this comes from.
    pub digest: Digest,
    /// Digest of the title.
    pub title: Digest,
    /// Capture time in microseconds.
    pub taken: Option<i64>,
    /// Modification time in microseconds.
    pub modified: Option<i64>,
}

impl Name {
    /// As recorded.
    pub(crate) fn of(placement: &Placement) -> Self {
        Self {
            name: placement.name.clone(),
            live: placement.live,
            digest: placement.digest,
            title: placement.title,
            taken: placement.taken,
            modified: placement.modified,
        }
    }

    /// Writes it into a placement's fact.
    pub(crate) fn apply(self, placement: &mut Placement) {
        placement.name = self.name;
        placement.live = self.live;
        placement.digest = self.digest;
        placement.title = self.title;
        placement.taken = self.taken;
        placement.modified = self.modified;
    }
}

/// Where the names differ from the facts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Desired {
    /// Folders of albums that are new, renamed or were read again.
    pub folders: BTreeMap<i64, Folder>,
    /// Names of placements that are new, renamed or were read again.
    pub names: BTreeMap<PlacementKey, Name>,
    /// Live, but unreadable now: left alone.
    pub unreadable: BTreeSet<PlacementKey>,
}

impl Desired {
    /// Names everything in the listing.
    pub(crate) fn new(state: &State, titles: &Titles, name_bytes: usize) -> Self {
        let mut desired = Self {
            folders: folders(state, titles, name_bytes),
            names: names(state, &titles.files, name_bytes),
            unreadable: titles.unreadable.clone(),
        };
        desired.settle(state, &HashSet::new());
        desired
    }

    /// Nothing differs from the facts.
    pub(crate) fn is_empty(&self) -> bool {
        self.folders.is_empty() && self.names.is_empty()
    }

    /// Forgets what the facts say by now, and names that could not be had.
    pub(crate) fn settle(&mut self, state: &State, evaded: &HashSet<PlacementKey>) {
        let (folders, placements) = (&state.decrypt.folders, &state.decrypt.placements);
        self.folders
            .retain(|id, folder| folders.get(id) != Some(folder));
        self.names.retain(|key, name| {
            !evaded.contains(key)
                && placements.get(key).map(|it| Name::of(it)).as_ref() != Some(name)
        });
    }

    /// What a live placement is to be called; `None` while it has no name.
    pub(crate) fn name(&self, state: &State, key: PlacementKey) -> Option<Name> {
        let changed = self.names.get(&key).cloned();
        changed.or_else(|| state.decrypt.placements.get(&key).map(|it| Name::of(it)))
    }

    /// What the folder of a collection is to be called: the folder of one that is gone keeps its name until it is empty.
    pub(crate) fn folder<'a>(&'a self, state: &'a State, collection: i64) -> Option<&'a str> {
        let folder = self.folders.get(&collection);
        folder
            .or_else(|| state.decrypt.folders.get(&collection))
            .map(|folder| folder.name.as_str())
    }
}

/// What kind of name a placement has.
pub(crate) fn kind(live: bool) -> Kind {
    if live { Kind::LivePhoto } else { Kind::File }
}

fn folders(state: &State, titles: &Titles, name_bytes: usize) -> BTreeMap<i64, Folder> {
    let given = &state.decrypt.folders;
    let live = &state.pull.collections;
    let mut folders = BTreeMap::new();
    let mut retitled = BTreeMap::new();
    for (&id, title) in &titles.folders {
        let Some(collection) = live.get(&id) else {
            continue;
        };
        let folder = Folder {
            collection: id,
            digest: if titles.doubtful.contains(&id) {
                Digest::default()
            } else {
                collection.digest
            },
            title: Digest::of(title.as_bytes()),
            ..Folder::default()
        };
        match given.get(&id) {
            Some(old) if old.title == folder.title => {
                let name = old.name.clone();
                folders.insert(id, Folder { name, ..folder });
            }
            _ => {
                retitled.insert(id, (title, folder));
            }
        }
    }
    if !retitled.is_empty() {
        let mut top = naming::Folder::new(name_bytes);
        for (id, old) in given {
            // What is gone gives its name back at once, so that another may have it in the same run.
            if live.contains_key(id) && !retitled.contains_key(id) {
                top.claim_exact(&old.name, Kind::Album);
            }
        }
        for (id, (title, folder)) in retitled {
            let name = top.claim(title, Kind::Album, id);
            folders.insert(id, Folder { name, ..folder });
        }
    }
    folders
}

fn names(
    state: &State,
    titles: &BTreeMap<PlacementKey, FileTitle>,
    name_bytes: usize,
) -> BTreeMap<PlacementKey, Name> {
    let given = &state.decrypt.placements;
    let mut names = BTreeMap::new();
    let mut retitled: BTreeMap<i64, BTreeMap<PlacementKey, (&str, Name)>> = BTreeMap::new();
    for (&key, file) in titles {
        let Some(listed) = state.pull.files.get(&key) else {
            continue;
        };
        let name = Name {
            name: String::new(),
            live: file.live,
            // Without the digest it counts as changed again next time.
            digest: if file.doubtful {
                Digest::default()
            } else {
                listed.digest
            },
            title: Digest::of(file.title.as_bytes()),
            taken: file.taken,
            modified: file.modified,
        };
        match given.get(&key) {
            Some(old) if old.title == name.title && old.live == name.live => {
                let old = old.name.clone();
                names.insert(key, Name { name: old, ..name });
            }
            _ => {
                let titles = retitled.entry(key.0).or_default();
                titles.insert(key, (&file.title, name));
            }
        }
    }
    for (collection, titles) in retitled {
        let mut folder = naming::Folder::new(name_bytes);
        for file in state.pull.files_in(collection) {
            let key = (collection, file.id);
            if let Some(old) = given.get(&key).filter(|_| !titles.contains_key(&key)) {
                folder.claim_exact(&old.name, kind(old.live));
            }
        }
        for (key, (title, name)) in titles {
            let claimed = folder.claim(title, kind(name.live), key.1);
            let name = Name {
                name: claimed,
                ..name
            };
            names.insert(key, name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Album, state};

    fn desired(given: &[Album], listed: &[Album]) -> Desired {
        let state = state(given, listed);
        let mut titles = Titles::default();
        for album in listed {
            titles.folders.insert(album.id, album.title.to_owned());
            for file in album.files {
                let title = FileTitle {
                    title: file.title.to_owned(),
                    live: file.live,
                    ..FileTitle::default()
                };
                titles.files.insert((album.id, file.id), title);
            }
        }
        Desired::new(&state, &titles, 250)
    }

    fn folder_names(desired: &Desired) -> Vec<(i64, &str)> {
        let folders = desired.folders.values();
        folders
            .map(|folder| (folder.collection, folder.name.as_str()))
            .collect()
    }

    #[test]
    fn an_album_whose_edits_cannot_be_read_is_read_again_in_the_next_run() {
        let mut state = state(&[], &[Album::new(1, "Trip", "", &[])]);
        state.pull.collections.get_mut(&1).unwrap().digest = Digest::of(b"entry");
        let titles = Titles {
            folders: BTreeMap::from([(1, "Trip".to_owned())]),
            doubtful: BTreeSet::from([1]),
            ..Titles::default()
        };
        let desired = Desired::new(&state, &titles, 250);
        state.decrypt.folders.clone_from(&desired.folders);
        assert_eq!(Stale::of(&state).collections, [1]);
        assert!(
            Desired::new(&state, &titles, 250).is_empty(),
            "and no fact is written again"
        );
    }

    #[test]
    fn albums_keep_their_names_and_what_is_gone_frees_its_own() {
        let trip = Album::new(1, "Trip", "Trip", &[]);
        let second = Album::new(2, "Trip", "Trip_1", &[]);
        type Row<'a> = (&'a [Album], &'a [Album], &'a [(i64, &'a str)]);
        let rows: &[Row<'_>] = &[
            // The first run.
            (
                &[],
                &[
                    Album::new(2, "Trip", "", &[]),
                    Album::new(1, "trip", "", &[]),
                ],
                &[(1, "trip"), (2, "Trip_1")],
            ),
            // A given name stays, whatever became free.
            (&[trip, second], &[second], &[]),
            // Renamed to the name of one that went in the same round.
            (
                &[trip, Album::new(3, "Rome", "Rome", &[])],
                &[Album::new(3, "Trip", "", &[])],
                &[(3, "Trip")],
            ),
            // A swap.
            (
                &[trip, Album::new(3, "Rome", "Rome", &[])],
                &[
                    Album::new(1, "Rome", "", &[]),
                    Album::new(3, "Trip", "", &[]),
                ],
                &[(1, "Rome"), (3, "Trip")],
            ),
            // A cycle: x goes, x_1 comes to be called x.
            (
                &[trip, second],
                &[
                    Album::new(1, "Trip_1", "", &[]),
                    Album::new(2, "Trip ", "", &[]),
                ],
                &[(1, "Trip_1"), (2, "Trip")],
            ),
        ];
        for (given, listed, expected) in rows {
            let desired = desired(given, listed);
            let renamed: Vec<_> = folder_names(&desired);
            assert_eq!(&renamed, expected, "{listed:?}");
        }
    }

    #[test]
    fn files_keep_their_names_and_what_is_gone_frees_its_own() {
        use crate::testing::File;
        let a = File::new(7, "a.jpg", "a.jpg");
        let b = File::new(8, "a.jpg", "a_1.jpg");
        type Row<'a> = (&'a [File], &'a [File], &'a [(i64, &'a str)]);
        let rows: &[Row<'_>] = &[
            (&[], &[b, a], &[(7, "a.jpg"), (8, "a_1.jpg")]),
            (&[a, b], &[b], &[]),
            (&[a, b], &[File::new(8, "A.JPG", "")], &[(8, "A.JPG")]),
            (
                &[a, b],
                &[File::new(7, "a_1.jpg", ""), File::new(8, "a.jpg ", "")],
                &[(7, "a_1.jpg"), (8, "a.jpg")],
            ),
            // An ordinary file that became a live photo takes its whole stem.
            (
                &[a, File::new(9, "b.mov", "b.mov")],
                &[
                    File::new(7, "b.heic", "").live(),
                    File::new(9, "b.mov", "b.mov"),
                ],
                &[(7, "b_1")],
            ),
        ];
        for (given, listed, expected) in rows {
            let given: [Album; 1] = [Album::new(1, "Trip", "Trip", given)];
            let listed: [Album; 1] = [Album::new(1, "Trip", "Trip", listed)];
            let desired = desired(&given, &listed);
            let names: Vec<_> = desired
                .names
                .iter()
                .map(|(key, name)| (key.1, name.name.as_str()))
                .collect();
            assert_eq!(&names, expected, "{listed:?}");
        }
    }

    #[test]
    fn only_what_changed_is_read_again() {
        use crate::testing::File;
        let album = |title| {
            let files = &*vec![File::new(7, title, "a.jpg"), File::new(8, "b.jpg", "b.jpg")].leak();
            [Album::new(1, "Trip", "Trip", files)]
        };
        let state = state(&album("a.jpg"), &album("new.jpg"));
        let stale = Stale::of(&state);
        assert!(stale.collections.is_empty());
        assert_eq!(stale.files, [(1, 7)]);
    }
}
