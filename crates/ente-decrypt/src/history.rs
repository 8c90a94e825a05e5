//! Property: whatever happens to an account, in one round or in many, alone or together, the tree follows it.
//!
//! Small random histories of albums and files whose titles clash on purpose are replayed against real folders. Content is not decrypted here but
//! written as its name, so that every file tells what it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use ente_common::manifest::facts::{Collection, File as Listed, Listing, Part, PullFact};
use ente_common::manifest::{Digest, Parked, PlacementKey, State};
use proptest::prelude::*;

use crate::batch::Batch;
use crate::desired::{Desired, FileTitle, Stale, Titles};
use crate::moves::{Arrival, Why};
use crate::plan::{Siblings, Source, lacks, source, structure};
use crate::testing::{tree, version};
use crate::tree::{Did, Tree};

/// An account: titles of albums; in each, files with title, whether they are live, and version.
type Library = BTreeMap<i64, (&'static str, BTreeMap<i64, Shot>)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shot {
    title: &'static str,
    live: bool,
    version: u8,
}

struct World {
    dir: tempfile::TempDir,
    tree: Tree,
}

fn content(file: i64, version: impl std::fmt::Display, part: usize) -> String {
    format!("{file}-{version}-{part}")
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tree = tree(dir.path());
        Self { dir, tree }
    }

    /// Lists the account as it is now.
    fn list(&mut self, library: &Library) {
        let pull = &mut self.tree.state.pull;
        let gone: Vec<i64> = pull.collections.keys().copied().collect();
        for id in gone {
            pull.apply(PullFact::Collection(Collection {
                id,
                gone: true,
                ..Collection::default()
            }));
        }
        for (&id, (title, files)) in library {
            pull.apply(PullFact::Collection(Collection {
                id,
                digest: Digest::of(title.as_bytes()),
                ..Collection::default()
            }));
            for (&file, shot) in files {
                pull.apply(PullFact::File(Listed {
                    collection: id,
                    id: file,
                    version: Some(version(shot.version)),
                    digest: Digest::of(format!("{shot:?}").as_bytes()),
                    ..Listed::default()
                }));
            }
        }
        pull.apply(PullFact::Listing(Listing::default()));
    }

    /// A run: everything that needs no content, then content for what lacks it. Tells how many contents had to be made from objects.
    fn follow(&mut self, library: &Library) -> usize {
        self.list(library);
        let state = &self.tree.state;
        let stale = Stale::of(state);
        let mut titles = Titles::default();
        for id in stale.collections {
            titles.folders.insert(id, library[&id].0.to_owned());
        }
        for key in stale.files {
            let shot = library[&key.0].1[&key.1];
            let title = FileTitle {
                title: shot.title.to_owned(),
                live: shot.live,
                ..FileTitle::default()
            };
            titles.files.insert(key, title);
        }
        let mut desired = Desired::new(state, &titles, 250);
        let plan = structure(state, &desired, &self.tree.settings);
        let siblings = Siblings::new(state);
        self.tree.restructure(&desired, &plan).unwrap();
        desired.settle(&self.tree.state, &self.tree.evaded);
        let keys: Vec<PlacementKey> = self.tree.state.pull.files.keys().copied().collect();
        let mut made = 0;
        for key in keys {
            let Some(wanted) = lacks(&self.tree.state, &desired, key) else {
                continue;
            };
            let from = source(&self.tree.state, (key.1, wanted), siblings.of(key.1));
            made += usize::from(!matches!(from, Source::Placement(_)));
            self.write(key, &library[&key.0].1[&key.1], &desired);
        }
        made
    }

    /// Gives a placement its content in the way that workers do.
    fn write(&mut self, key: PlacementKey, shot: &Shot, desired: &Desired) {
        let mut batch = Batch::default();
        let old = self.tree.placement(key);
        let looks = self.tree.looks(&old, None).unwrap();
        assert!(self.tree.let_go(&mut batch, &old, &looks, Why::Replaced));
        let wanted = version(shot.version);
        let extensions: &[&str] = if shot.live { &[".heic", ".mov"] } else { &[""] };
        let mut parts = Vec::new();
        for (index, extension) in extensions.iter().enumerate() {
            let text = content(key.1, wanted, index);
            let parked = self
                .tree
                .export
                .parked(Parked::New((key.0, key.1, index), wanted));
            fs::write(&parked, &text).unwrap();
            let part = Part {
                name: format!("{}{extension}", key.1),
                size: text.len() as u64,
                mtime: ente_common::disk::mtime_us(&fs::metadata(&parked).unwrap()),
                ..Part::default()
            };
            parts.push((part, parked));
        }
        let arrival = Arrival {
            key,
            version: Some(wanted),
            n: old.n + 1,
            parts,
            sidecars: Vec::new(),
            did: Did::Written,
        };
        let name = desired.name(&self.tree.state, key).unwrap();
        assert!(self.tree.arrive(&mut batch, &arrival, name));
        self.tree.commit(batch).unwrap();
    }

    /// Every file of the tree, but for the state folder, with what it says.
    fn files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        walk(self.dir.path(), "", &mut files);
        files
    }

    fn check(&self, library: &Library) -> Result<(), TestCaseError> {
        prop_assert!(self.tree.problems.is_empty(), "{:?}", self.tree.problems);
        let state = &self.tree.state;
        let mut expected = BTreeMap::new();
        for (&collection, (_, files)) in library {
            for (&file, shot) in files {
                let key = (collection, file);
                let placement = self.tree.placement(key);
                prop_assert_eq!(placement.version, Some(version(shot.version)));
                prop_assert_eq!(placement.parts.len(), 1 + usize::from(shot.live));
                for index in 0..placement.parts.len() {
                    let path = state.decrypt.path(key, index).unwrap();
                    expected.insert(path, content(file, version(shot.version), index));
                }
            }
        }
        prop_assert_eq!(self.files(), expected);
        let live: BTreeSet<_> = library.keys().collect();
        prop_assert_eq!(state.decrypt.folders.keys().collect::<BTreeSet<_>>(), live);
        let recorded: BTreeSet<_> = state.decrypt.placements.keys().copied().collect();
        let listed: BTreeSet<_> = state.pull.files.keys().copied().collect();
        prop_assert_eq!(recorded, listed);
        let partial = self.tree.partial();
        prop_assert_eq!(fs::read_dir(partial).unwrap().count(), 0);
        for trash in state.decrypt.trash.values() {
            let text = fs::read_to_string(self.tree.trash(&trash.path)).unwrap();
            let version = trash.version.unwrap();
            prop_assert_eq!(text, content(trash.file, version, trash.part));
        }
        Ok(())
    }

    /// What a start after this would know.
    fn reread(&self) -> State {
        State::load(&self.tree.export.state_dir()).unwrap()
    }
}

fn walk(dir: &Path, prefix: &str, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if prefix.is_empty() && name == ".ente" {
            continue;
        }
        let path = format!("{prefix}{name}");
        if entry.file_type().unwrap().is_dir() {
            let before = files.len();
            walk(&entry.path(), &format!("{path}/"), files);
            assert!(files.len() > before, "`{path}` is empty");
        } else {
            files.insert(path, fs::read_to_string(entry.path()).unwrap());
        }
    }
}

fn shot() -> impl Strategy<Value = Shot> {
    let titles = prop::sample::select(vec!["x.jpg", "X.jpg", "x_1.jpg", "x.heic", "y.jpg", ""]);
    (titles, prop::bool::weighted(0.3), 1..3_u8).prop_map(|(title, live, version)| Shot {
        title,
        live,
        version,
    })
}

/// One title and content for a file wherever it lies, as an account has it.
fn library() -> impl Strategy<Value = Library> {
    let titles = prop::sample::select(vec!["A", "a", "A_1", "B", ""]);
    let files = prop::collection::btree_map(1..6_i64, shot(), 0..5);
    let albums = prop::collection::btree_map(
        1..5_i64,
        (titles, prop::collection::btree_set(1..6_i64, 0..5)),
        0..4,
    );
    (files, albums).prop_map(|(files, albums)| {
        let album = |(title, ids): (&'static str, BTreeSet<i64>)| {
            let ids = ids.into_iter();
            (
                title,
                ids.filter_map(|id| Some((id, *files.get(&id)?))).collect(),
            )
        };
        albums.into_iter().map(|(id, of)| (id, album(of))).collect()
    })
}

/// Whether two accounts differ in what a file holds, not only in where it lies and what it is called.
fn contents(library: &Library) -> BTreeSet<(i64, u8, bool)> {
    let files = library.values().flat_map(|(_, files)| files);
    files
        .map(|(id, shot)| (*id, shot.version, shot.live))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_follows_any_history(history in prop::collection::vec(library(), 1..5)) {
        let mut world = World::new();
        let mut seen: BTreeSet<(i64, u8, bool)> = BTreeSet::new();
        for library in &history {
            // A content keeps its form: another one is another upload.
            let now = contents(library);
            let clashes = |of: &(i64, u8, bool)| seen.contains(&(of.0, of.1, !of.2));
            prop_assume!(!now.iter().any(clashes));
            let made = world.follow(library);
            world.check(library)?;
            prop_assert!(made <= now.difference(&seen).count(), "what was there once needs no object");
            seen.extend(now);
            prop_assert_eq!(world.follow(library), 0);
            let state = world.reread();
            prop_assert_eq!(&state.decrypt.placements, &world.tree.state.decrypt.placements);
            prop_assert_eq!(&state.decrypt.trash, &world.tree.state.decrypt.trash);
        }
    }
}
