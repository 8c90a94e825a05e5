//! What other exporters get wrong (`docs/lessons.md`) where no smaller test shows that it is avoided here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use ente_tests::harness::{Entry, Machine, Outcome, assert_same, expect_all, tree};
use ente_tests::library::{Content, Library, Live, NewFile, Picture};
use ente_tests::museum::{Fault, Match, Museum, Options};
use serde_json::json;

/// A server with an account made up by `fill`, and a machine that is signed in.
fn account<T>(fill: impl FnOnce(&mut Live) -> T) -> (Museum, Machine, T) {
    let mut library = Library::empty(82, "lessons@example.org", "lessons");
    let filled = fill(library.live_mut());
    let museum = Museum::start(library, Options::default());
    let machine = crate::machine();
    let signed_in = machine.sign_in(museum.api_url(), "lessons@example.org", "lessons");
    let _ = signed_in.expect(0);
    (museum, machine, filled)
}

fn picture(variant: u64) -> Picture {
    Picture {
        variant,
        ..Picture::default()
    }
}

fn photo(title: &str, variant: u64) -> NewFile {
    NewFile::new(title, Content::Photo(picture(variant)))
}

/// Everything but sidecars, whose times are those of their writing.
fn media(machine: &Machine) -> BTreeMap<String, Entry> {
    let mut files = tree(&machine.export);
    files.retain(|path, _| !path.contains("/metadata/"));
    files
}

fn paths(machine: &Machine) -> Vec<String> {
    media(machine).into_keys().collect()
}

fn without_patience(machine: &Machine) -> Vec<Outcome> {
    machine.pipe(&[
        &["ente-pull", "--retries", "0", machine.dir()],
        &["ente-decrypt", "-"],
        &["ente-meta", "-"],
    ])
}

/// D4, G1: others remove the old file first.
#[test]
fn a_replaced_file_stays_until_its_successor_is_whole() {
    for fault in [Fault::Status(500), Fault::CorruptByte { offset: 99 }] {
        let (museum, machine, file) = account(|live| {
            let album = live.create_album("Trip");
            live.upload(album, photo("a.jpg", 1))
        });
        expect_all(&machine.pipeline(), 0);
        let before = media(&machine);
        let new = Content::Photo(picture(2));
        museum.with_library(|library| library.live_mut().replace(file, new));
        museum.inject(Match::object(file), fault, None);
        for _ in 0..2 {
            expect_all(&without_patience(&machine)[2..], 3);
            assert_same(&media(&machine), &before);
        }
        museum.clear_faults();
        let id = file.to_string();
        let again = ["ente-pull", "--refetch", &id, machine.dir()];
        let _ = machine.run(&again).expect(0);
        expect_all(&machine.pipeline(), 0);
        let now = museum.with_library(|library| library.live().content(file));
        assert_eq!(media(&machine)["Trip/a.jpg"].bytes, now);
        let day = fs::read_dir(machine.export.join(".ente/trash")).unwrap();
        let old = day.flatten().next().unwrap().path().join("Trip/a.jpg");
        assert_eq!(fs::read(old).unwrap(), before["Trip/a.jpg"].bytes);
    }
}

/// D25: others write both halves again, under new names.
#[test]
fn half_of_a_live_photo_that_was_lost_comes_back_beside_the_other() {
    let (_museum, machine, ()) = account(|live| {
        let album = live.create_album("Trip");
        let content = Content::LivePhoto {
            picture: picture(1),
            image: "HEIC",
            video: "MOV",
        };
        live.upload(album, NewFile::new("a.heic", content));
    });
    expect_all(&machine.pipeline(), 0);
    let before = media(&machine);
    assert_eq!(paths(&machine), ["Trip/a.HEIC", "Trip/a.MOV"]);
    for half in ["Trip/a.MOV", "Trip/a.HEIC"] {
        fs::remove_file(machine.export.join(half)).unwrap();
        let _ = machine.run(&["ente-verify", machine.dir()]).expect(4);
        expect_all(&machine.pipeline(), 0);
        assert_same(&media(&machine), &before);
        let _ = machine.run(&["ente-verify", machine.dir()]).expect(0);
    }
}

/// R3: others take the video of the same stem along.
#[test]
fn a_video_of_the_same_stem_outlives_the_photo_that_is_removed() {
    let (museum, machine, photo) = account(|live| {
        let album = live.create_album("Trip");
        live.upload(album, NewFile::new("a.mov", Content::Video(picture(1))));
        live.upload(album, photo("a.jpg", 2))
    });
    expect_all(&machine.pipeline(), 0);
    assert_eq!(paths(&machine), ["Trip/a.jpg", "Trip/a.mov"]);
    museum.with_library(|library| library.live_mut().trash(photo));
    expect_all(&machine.pipeline(), 0);
    let left: Vec<_> = tree(&machine.export).into_keys().collect();
    assert_eq!(left, ["Trip/a.mov", "Trip/metadata/a.mov.json"]);
}

/// R4: others take a file that they cannot open for one that was removed.
#[test]
fn what_does_not_open_any_more_stays_as_it_is() {
    let (museum, machine, (album, file)) = account(|live| {
        let album = live.create_album("Trip");
        live.upload(album, photo("b.jpg", 1));
        (album, live.upload(album, photo("a.jpg", 2)))
    });
    expect_all(&machine.pipeline(), 0);
    let before = tree(&machine.export);
    let other = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    museum.with_library(|library| {
        library.patch_row(album, file, json!({"encryptedKey": other}));
    });
    let _ = machine.run(&["ente-pull", "--full", machine.dir()]);
    for _ in 0..2 {
        let outcomes = machine.pipeline();
        assert_eq!(outcomes[1].code, 3, "{}", outcomes[1].stderr);
        assert_same(&tree(&machine.export), &before);
    }
}

/// G19: others overlook it.
#[test]
fn an_album_renamed_in_case_alone_is_renamed() {
    let (museum, machine, album) = account(|live| {
        let album = live.create_album("Trip");
        live.upload(album, photo("a.jpg", 1));
        album
    });
    expect_all(&machine.pipeline(), 0);
    museum.reset_log();
    museum.with_library(|library| library.live_mut().rename_album(album, "TRIP"));
    expect_all(&machine.pipeline(), 0);
    assert_eq!(paths(&machine), ["TRIP/a.jpg"]);
    assert_eq!(museum.fetched_objects(), BTreeSet::new());
}

/// D15, D16, D18, D27, G16, G17, G18, G20, R13: names with a meaning of their own to somebody.
#[test]
fn names_that_others_stumble_over_come_and_go_like_any_other() {
    let long = "x".repeat(252);
    let titles = [
        ("2023", "2023"),
        ("true", "true"),
        ("null", "null"),
        ("album_meta", "album_meta"),
        ("export_status.json", "export_status.json"),
        ("aux.jpg", "aux_.jpg"),
        (&format!("{long}.jpg"), &format!("{}.jpg", &long[..246])),
        ("metadata", "metadata_1"),
        ("a/../b.jpg", "a_.._b.jpg"),
        // These get their ID.
        ("..", ""),
        (".", ""),
        ("", ""),
    ];
    let albums = [
        ("Trash", "Trash"),
        ("trash", "trash_1"),
        ("a/../b", "a_.._b"),
        ("x/..", "x_"),
        ("CON", "CON_"),
        ("..", ""),
        ("", ""),
    ];
    let (museum, machine, (expected, made)) = account(|live| {
        let anchor = live.create_album("Anchor");
        live.upload(anchor, photo("anchor.jpg", 0));
        let mut expected = BTreeSet::from(["Anchor/anchor.jpg".to_owned()]);
        let named = |name: &str, id: i64| match name {
            "" => id.to_string(),
            name => name.to_owned(),
        };
        let mut made = Vec::new();
        let odd = live.create_album("Odd");
        for (title, name) in titles {
            let id = live.upload(odd, photo(title, 1));
            expected.insert(format!("Odd/{}", named(name, id)));
            made.push(id);
        }
        let id = live.upload(odd, photo("named.jpg", 2));
        live.edit_public(id, "editedName", "".into());
        expected.insert("Odd/named.jpg".to_owned());
        made.push(id);
        for (title, name) in albums {
            let album = live.create_album(title);
            made.push(live.upload(album, photo("a.jpg", 3)));
            expected.insert(format!("{}/a.jpg", named(name, album)));
        }
        (expected, made)
    });
    expect_all(&machine.pipeline(), 0);
    let found: BTreeSet<_> = paths(&machine).into_iter().collect();
    assert_eq!(found, expected);
    let _ = machine.run(&["ente-verify", machine.dir()]).expect(0);
    museum.reset_log();
    expect_all(&machine.pipeline(), 0);
    assert_eq!(museum.fetched_objects(), BTreeSet::new());
    museum.with_library(|library| {
        made.iter().for_each(|id| library.live_mut().trash(*id));
    });
    expect_all(&machine.pipeline(), 0);
    let left: Vec<_> = tree(&machine.export).into_keys().collect();
    assert_eq!(
        left,
        ["Anchor/anchor.jpg", "Anchor/metadata/anchor.jpg.json"]
    );
}

/// D26, G13, G15, R6, R14: a value that somebody cannot write ends the run after the file is in its place.
#[test]
fn metadata_of_any_sort_stops_nothing() {
    let odd = [
        // Year 20000; before all years; before 1970 by less than a second.
        json!({"creationTime": 568_971_820_800_000_000_i64}),
        json!({"creationTime": i64::MIN, "modificationTime": i64::MAX}),
        json!({"creationTime": -1}),
        json!({"creationTime": 1.6e15, "modificationTime": "1600000000000000.5"}),
        json!({"creationTime": null, "modificationTime": null, "title": null, "fileType": null}),
        json!({"title": 7, "fileType": 9, "latitude": null, "longitude": "x"}),
        json!({"hash": [], "duration": "long", "subType": {}, "deviceFolder": 3}),
    ];
    let (museum, machine, ids) = account(|live| {
        let album = live.create_album("Trip");
        let upload = |metadata: &serde_json::Value| {
            let metadata = metadata.as_object().unwrap().clone();
            let file = photo("a.jpg", 1);
            live.upload(album, NewFile { metadata, ..file })
        };
        odd.iter().map(upload).collect::<BTreeSet<i64>>()
    });
    expect_all(&machine.pipeline(), 0);
    assert_eq!(museum.fetched_objects(), ids);
    let files = tree(&machine.export);
    assert_eq!(files.len(), 2 * odd.len(), "{:?}", files.keys());
    assert_eq!(files["Trip/a_2.jpg"].mtime_s, -1);
    let _ = machine.run(&["ente-verify", machine.dir()]).expect(0);
    museum.reset_log();
    expect_all(&machine.pipeline(), 0);
    assert_eq!(museum.fetched_objects(), BTreeSet::new());
    assert_same(&tree(&machine.export), &files);
}
