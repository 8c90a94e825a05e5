//! Random account histories against a model: after each run the tree is what a fresh export of the same state would be, up to the names that
//! stay, and nothing was fetched that the model does not call for.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use ente_tests::harness::{Machine, empty_folders, expect_all, folded, tree};
use ente_tests::library::{Content, Library, Live, NewFile, Picture, Visibility};
use ente_tests::museum::{Museum, Options};

const EMAIL: &str = "history@example.org";
const PASSWORD: &str = "history";

/// One thing that happens to an account. Numbers choose among what is there at that moment.
#[derive(Clone, Debug)]
enum Op {
    Upload {
        album: usize,
        title: usize,
        live: bool,
    },
    Add {
        file: usize,
        album: usize,
    },
    Move {
        file: usize,
        from: usize,
        album: usize,
    },
    Remove {
        file: usize,
        from: usize,
    },
    Rename {
        file: usize,
        title: usize,
    },
    SwapTitles {
        file: usize,
        other: usize,
    },
    Caption {
        file: usize,
        text: u8,
    },
    Date {
        file: usize,
        days: u16,
    },
    Archive {
        file: usize,
        archived: bool,
    },
    Hide {
        file: usize,
    },
    Trash {
        file: usize,
    },
    Restore {
        file: usize,
        album: usize,
    },
    DeleteForever {
        file: usize,
    },
    Replace {
        file: usize,
    },
    Favorite {
        file: usize,
    },
    Unfavorite {
        file: usize,
    },
    CreateAlbum {
        title: usize,
    },
    RenameAlbum {
        album: usize,
        title: usize,
    },
    DeleteAlbum {
        album: usize,
    },
    DeleteAlbumWithFiles {
        album: usize,
    },
    RunTrashQueue,
    ShareIn {
        title: usize,
        files: u8,
    },
    Unshare,
    ShareAgain,
    Vanish,
    HideAlbum {
        album: usize,
        hidden: bool,
    },
}

/// Few titles, so that they clash often, also by case and Unicode form.
const TITLES: [&str; 8] = [
    "a.jpg",
    "A.JPG",
    "a_1.jpg",
    "b.jpg",
    "Cafe\u{301}.jpg",
    "Café.jpg",
    "a.png",
    "x/y.jpg",
];
const ALBUMS: [&str; 5] = ["Trip", "trip", "Trip_1", "St. Petersburg", "metadata"];

fn op() -> impl Strategy<Value = Op> {
    let n = || 0usize..64;
    let title = || 0..TITLES.len();
    let album = || 0..ALBUMS.len();
    prop_oneof![
        6 => (n(), title(), prop::bool::weighted(0.2)).prop_map(|(album, title, live)| Op::Upload { album, title, live }),
        3 => (n(), n()).prop_map(|(file, album)| Op::Add { file, album }),
        3 => (n(), n(), n()).prop_map(|(file, from, album)| Op::Move { file, from, album }),
        3 => (n(), n()).prop_map(|(file, from)| Op::Remove { file, from }),
        3 => (n(), title()).prop_map(|(file, title)| Op::Rename { file, title }),
        2 => (n(), n()).prop_map(|(file, other)| Op::SwapTitles { file, other }),
        1 => (n(), any::<u8>()).prop_map(|(file, text)| Op::Caption { file, text }),
        1 => (n(), any::<u16>()).prop_map(|(file, days)| Op::Date { file, days }),
        1 => (n(), any::<bool>()).prop_map(|(file, archived)| Op::Archive { file, archived }),
        1 => n().prop_map(|file| Op::Hide { file }),
        3 => n().prop_map(|file| Op::Trash { file }),
        3 => (n(), n()).prop_map(|(file, album)| Op::Restore { file, album }),
        1 => n().prop_map(|file| Op::DeleteForever { file }),
        3 => n().prop_map(|file| Op::Replace { file }),
        1 => n().prop_map(|file| Op::Favorite { file }),
        1 => n().prop_map(|file| Op::Unfavorite { file }),
        2 => album().prop_map(|title| Op::CreateAlbum { title }),
        3 => (n(), album()).prop_map(|(album, title)| Op::RenameAlbum { album, title }),
        1 => n().prop_map(|album| Op::DeleteAlbum { album }),
        1 => n().prop_map(|album| Op::DeleteAlbumWithFiles { album }),
        1 => Just(Op::RunTrashQueue),
        1 => (album(), 1u8..3).prop_map(|(title, files)| Op::ShareIn { title, files }),
        1 => Just(Op::Unshare),
        1 => Just(Op::ShareAgain),
        1 => Just(Op::Vanish),
        1 => (n(), any::<bool>()).prop_map(|(album, hidden)| Op::HideAlbum { album, hidden }),
    ]
}

/// The account and what the model remembers beside it.
struct Account {
    /// A file that nothing happens to: an account never becomes empty.
    anchor: i64,
    shared: Vec<i64>,
    seed: u64,
}

fn pick<T: Copy>(items: &[T], n: usize) -> Option<T> {
    (!items.is_empty()).then(|| items[n % items.len()])
}

fn picture(seed: u64) -> Picture {
    Picture {
        variant: seed,
        ..Picture::default()
    }
}

impl Account {
    fn content(&mut self, live: bool) -> Content {
        self.seed += 1;
        if live {
            Content::LivePhoto {
                picture: picture(self.seed),
                image: "JPG",
                video: "mov",
            }
        } else {
            Content::Photo(picture(self.seed))
        }
    }

    /// Does it; what does not apply at this moment is left out.
    fn apply(&mut self, live: &mut Live, op: &Op) {
        let own: Vec<i64> = live
            .albums()
            .iter()
            .filter(|album| album.owned)
            .map(|album| album.id)
            .collect();
        let plain: Vec<i64> = live
            .albums()
            .iter()
            .filter(|album| album.owned && album.kind.as_str() == "album" && !album.default_hidden)
            .map(|album| album.id)
            .filter(|id| !live.files_in(*id).contains(&self.anchor))
            .collect();
        let user = live.file(self.anchor).owner;
        let files: Vec<i64> = live
            .file_ids()
            .into_iter()
            .filter(|id| {
                *id != self.anchor
                    && live.file(*id).owner == user
                    && !live.albums_of(*id).is_empty()
            })
            .collect();
        let trashed = live.trashed();
        match *op {
            Op::Upload {
                album,
                title,
                live: is_live,
            } => {
                let content = self.content(is_live);
                if let Some(album) = pick(&own, album) {
                    live.upload(album, NewFile::new(TITLES[title], content));
                }
            }
            Op::Add { file, album } => {
                if let (Some(file), Some(album)) = (pick(&files, file), pick(&own, album)) {
                    live.add(file, album);
                }
            }
            Op::Move { file, from, album } => {
                if let (Some(file), Some(to)) = (pick(&files, file), pick(&own, album))
                    && let Some(from) = pick(&live.albums_of(file), from)
                    && from != to
                {
                    live.move_to(file, from, to);
                }
            }
            Op::Remove { file, from } => {
                if let Some(file) = pick(&files, file)
                    && let Some(from) = pick(&live.albums_of(file), from)
                {
                    live.remove(file, from);
                }
            }
            Op::Rename { file, title } => {
                if let Some(file) = pick(&files, file) {
                    live.rename(file, TITLES[title]);
                }
            }
            Op::SwapTitles { file, other } => {
                if let (Some(file), Some(other)) = (pick(&files, file), pick(&files, other)) {
                    let (a, b) = (live.file(file).title, live.file(other).title);
                    live.rename(file, &b);
                    live.rename(other, &a);
                }
            }
            Op::Caption { file, text } => {
                if let Some(file) = pick(&files, file) {
                    live.set_caption(file, &format!("caption {text}"));
                }
            }
            Op::Date { file, days } => {
                if let Some(file) = pick(&files, file) {
                    live.set_taken_at(file, i64::from(days) * 86_400_000_000 + 1_000_000);
                }
            }
            Op::Archive { file, archived } => {
                if let Some(file) = pick(&files, file) {
                    live.set_archived(file, archived);
                }
            }
            Op::Hide { file } => {
                if let Some(file) = pick(&files, file) {
                    live.hide(file);
                }
            }
            Op::Trash { file } => {
                if let Some(file) = pick(&files, file) {
                    live.trash(file);
                }
            }
            Op::Restore { file, album } => {
                if let (Some(file), Some(album)) = (pick(&trashed, file), pick(&own, album)) {
                    live.restore(file, album);
                }
            }
            Op::DeleteForever { file } => {
                if let Some(file) = pick(&trashed, file) {
                    live.delete_forever(file);
                }
            }
            Op::Replace { file } => {
                if let Some(file) = pick(&files, file) {
                    let content = self.content(live.file(file).file_type == 2);
                    live.replace(file, content);
                }
            }
            Op::Favorite { file } => {
                if let Some(file) = pick(&files, file) {
                    live.favorite(file);
                }
            }
            Op::Unfavorite { file } => {
                let favorites = live.favorites();
                if let Some(file) =
                    pick(&files, file).filter(|file| live.albums_of(*file).contains(&favorites))
                {
                    live.unfavorite(file);
                }
            }
            Op::CreateAlbum { title } => {
                live.create_album(ALBUMS[title]);
            }
            Op::RenameAlbum { album, title } => {
                if let Some(album) = pick(&plain, album) {
                    live.rename_album(album, ALBUMS[title]);
                }
            }
            Op::DeleteAlbum { album } => {
                if let Some(album) = pick(&plain, album) {
                    live.delete_album(album);
                }
            }
            Op::DeleteAlbumWithFiles { album } => {
                if let Some(album) = pick(&plain, album) {
                    live.delete_album_with_files(album);
                }
            }
            Op::RunTrashQueue => live.run_trash_queue(),
            Op::ShareIn { title, files } => {
                let album = live.share_in("anna@example.org", ALBUMS[title]);
                for n in 0..files {
                    let content = self.content(false);
                    live.upload_by(
                        "anna@example.org",
                        album,
                        NewFile::new(TITLES[usize::from(n)], content),
                    );
                }
                self.shared.push(album);
            }
            Op::Unshare => {
                if let Some(album) = self.shared.last() {
                    live.unshare(*album);
                }
            }
            Op::ShareAgain => {
                if let Some(album) = self.shared.last() {
                    live.share_again(*album);
                }
            }
            Op::Vanish => {
                if let Some(album) = self.shared.pop() {
                    live.vanish(album);
                }
            }
            Op::HideAlbum { album, hidden } => {
                if let Some(album) = pick(&plain, album) {
                    live.set_visibility(
                        album,
                        if hidden {
                            Visibility::Hidden
                        } else {
                            Visibility::Visible
                        },
                    );
                }
            }
        }
    }
}

/// What is exported, by placement, whatever the names: bytes and sidecar of each part.
type Exported = BTreeMap<(i64, i64), Vec<(Vec<u8>, i64, Value)>>;

/// Reads an export by its manifest; every file of the tree must belong to a placement.
fn exported(machine: &Machine) -> Exported {
    let facts = folded(&machine.export);
    let mut files = tree(&machine.export);
    let mut exported = Exported::new();
    for (_, placement) in facts
        .iter()
        .filter(|(key, _)| key.starts_with("decrypt placement "))
    {
        let key = (
            placement["collection"].as_i64().unwrap(),
            placement["file"].as_i64().unwrap(),
        );
        let folder = facts[&format!("decrypt folder {}", key.0)]["name"]
            .as_str()
            .unwrap();
        let parts = placement["parts"].as_array().map_or(&[][..], Vec::as_slice);
        let parts = parts.iter().map(|part| {
            let name = part["name"].as_str().unwrap();
            let path = format!("{folder}/{name}");
            let file = files
                .remove(&path)
                .unwrap_or_else(|| panic!("`{path}` is missing"));
            assert_eq!(
                blake3::hash(&file.bytes).to_hex().as_str(),
                part["blake3"],
                "`{path}`"
            );
            let path = format!("{folder}/metadata/{name}.json");
            let sidecar = files
                .remove(&path)
                .unwrap_or_else(|| panic!("`{path}` is missing"));
            (
                file.bytes,
                file.mtime_s,
                serde_json::from_slice(&sidecar.bytes).unwrap(),
            )
        });
        let parts = parts.collect();
        exported.insert(key, parts);
    }
    assert!(
        files.is_empty(),
        "nothing else was expected: {:?}",
        files.keys()
    );
    assert_eq!(
        empty_folders(&machine.export),
        Vec::<std::path::PathBuf>::new()
    );
    exported
}

/// What the account says that must be exported.
fn assert_model(exported: &Exported, live: &Live) {
    let mut placements = BTreeSet::new();
    for album in live.albums() {
        for file in &album.files {
            placements.insert((album.id, file.id));
            let parts = exported
                .get(&(album.id, file.id))
                .unwrap_or_else(|| panic!("file {} is not in album {}", file.id, album.id));
            let contents: Vec<Vec<u8>> = match live.live_parts(file.id) {
                Some(parts) => parts.iter().map(|part| part.to_vec()).collect(),
                None => vec![live.content(file.id).to_vec()],
            };
            assert_eq!(parts.len(), contents.len());
            for ((bytes, mtime_s, sidecar), content) in parts.iter().zip(&contents) {
                assert!(
                    bytes == content,
                    "content of file {} in album {}",
                    file.id,
                    album.id
                );
                assert_eq!(*mtime_s, file.taken_at_us.div_euclid(1_000_000));
                assert_eq!(sidecar["title"], file.title);
                assert_eq!(
                    sidecar.get("description").and_then(Value::as_str),
                    file.caption.as_deref()
                );
                assert_eq!(sidecar.get("favorited").is_some(), file.favorite);
            }
        }
    }
    let found: BTreeSet<_> = exported.keys().copied().collect();
    assert_eq!(found, placements);
}

fn replay(rounds: &[Vec<Op>]) {
    let mut library = Library::empty(7, EMAIL, PASSWORD);
    let live = library.live_mut();
    let anchor_album = live.create_album("Anchor");
    let anchor = live.upload(
        anchor_album,
        NewFile::new("anchor.jpg", Content::Photo(picture(1))),
    );
    let album = live.create_album("Trip");
    live.upload(album, NewFile::new("a.jpg", Content::Photo(picture(2))));
    live.upload(album, NewFile::new("a.jpg", Content::Photo(picture(3))));
    let mut account = Account {
        anchor,
        shared: Vec::new(),
        seed: 100,
    };
    let museum = Museum::start(library, Options::default());
    let machine = crate::machine();
    let _ = machine.sign_in(museum.api_url(), EMAIL, PASSWORD).expect(0);
    let mut held = BTreeSet::new();
    for (number, round) in std::iter::once(&Vec::new()).chain(rounds).enumerate() {
        museum.with_library(|library| {
            for op in round {
                account.apply(library.live_mut(), op);
            }
        });
        museum.reset_log();
        // In turn through the pipe and step by step: both keep the same manifest.
        let outcomes = if number % 2 == 0 {
            machine.pipeline()
        } else {
            machine.steps()
        };
        for outcome in &outcomes {
            let problems = outcome.records_of("problem");
            assert!(problems.is_empty(), "round {number}: {problems:#?}");
        }
        expect_all(&outcomes, 0);
        let exported = exported(&machine);
        let wanted: BTreeSet<_> = museum.with_library(|library| {
            let live = library.live();
            assert_model(&exported, live);
            live.albums()
                .iter()
                .flat_map(|album| {
                    album
                        .files
                        .iter()
                        .map(|file| (file.id, file.content_version))
                })
                .collect()
        });
        let called_for: BTreeSet<i64> = wanted.difference(&held).map(|(file, _)| *file).collect();
        assert_eq!(
            museum.fetched_objects(),
            called_for,
            "downloads of round {number}"
        );
        held.extend(wanted);
    }
    let _ = machine.run(&["ente-verify", machine.dir()]).expect(0);
    let fresh = crate::machine();
    let _ = fresh.sign_in(museum.api_url(), EMAIL, PASSWORD).expect(0);
    expect_all(&fresh.pipeline(), 0);
    assert!(
        self::exported(&fresh) == self::exported(&machine),
        "a fresh export is the same"
    );
}

#[test]
fn every_history_leads_to_what_a_fresh_export_would_be() {
    let cases = std::env::var("ENTE_HISTORIES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(8);
    let config = Config {
        cases,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..Config::default()
    };
    let rounds = prop::collection::vec(prop::collection::vec(op(), 1..12), 1..5);
    TestRunner::new(config)
        .run(&rounds, |rounds| {
            replay(&rounds);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn cycles_swaps_and_names_of_the_deleted_come_out_right() {
    let upload = |title| Op::Upload {
        album: 1,
        title,
        live: false,
    };
    replay(&[
        vec![upload(0), upload(3), Op::CreateAlbum { title: 3 }],
        vec![Op::SwapTitles { file: 0, other: 3 }],
        vec![
            Op::Rename { file: 0, title: 2 },
            Op::Rename { file: 1, title: 0 },
            Op::Rename { file: 2, title: 2 },
        ],
        vec![
            Op::RenameAlbum { album: 1, title: 0 },
            Op::RenameAlbum { album: 0, title: 3 },
        ],
        vec![
            Op::DeleteAlbumWithFiles { album: 0 },
            Op::RenameAlbum { album: 0, title: 3 },
        ],
        vec![
            Op::RunTrashQueue,
            Op::Restore { file: 0, album: 0 },
            Op::Restore { file: 0, album: 0 },
        ],
    ]);
}
