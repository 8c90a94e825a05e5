//! Listings that are not what they should be: what they may remove, and what later ones make up for.

use std::collections::BTreeMap;
use std::fs;

use ente_tests::harness::{Machine, expect_all, folded};
use ente_tests::museum::{Fault, Match, Museum};
use serde_json::{Value, json};

use crate::golden;
use crate::pull::{changed_words, classes, made_up, photo, pull};

/// An album of the golden account, and a file in it.
const ALBUM: i64 = 24;
const FILE: i64 = 114;

#[test]
fn what_a_full_listing_could_not_list_is_listed_in_full_by_the_next_run() {
    let edit =
        json!({"pubMagicMetadata": {"version": 9, "count": 1, "data": "AAAA", "header": "AAAA"}});
    let lack = Fault::edit(|answer| {
        let collections = answer["collections"].as_array_mut().unwrap();
        collections.retain(|one| one["id"] != ALBUM);
    });
    let spoil = Fault::edit(|answer| {
        let collections = answer["collections"].as_array_mut().unwrap();
        let album = collections.iter_mut().find(|one| one["id"] == ALBUM);
        album.unwrap()["updationTime"] = "soon".into();
    });
    let break_one = Fault::edit(|answer| {
        let entries = answer["diff"].as_array_mut().unwrap();
        let file = entries.iter_mut().find(|one| one["id"] == FILE);
        file.unwrap()["ownerID"] = "nobody".into();
    });
    for (matches, fault, class) in [
        (Match::diff(ALBUM), Fault::Status(500), "server"),
        (Match::diff(ALBUM), break_one, "unreadable-entry"),
        (Match::collections(), lack, "album-missing"),
        (Match::collections(), spoil, "unreadable-entry"),
    ] {
        let (museum, machine) = golden();
        let _ = pull(&machine, &[]).expect(0);
        // Without any sign in the times.
        museum.with_library(|library| library.patch_row(ALBUM, FILE, edit.clone()));
        museum.inject(matches, fault, None);
        let failed = pull(&machine, &["--full", "--retries", "0"]).expect(3);
        assert_eq!(classes(&failed), [class]);
        let again = pull(&machine, &["--retries", "0"]).expect(3);
        assert_eq!(classes(&again), [class]);
        museum.clear_faults();
        museum.reset_log();
        let words = changed_words(&pull(&machine, &[]).expect(0));
        let edited = BTreeMap::from([(FILE, "metadata".to_owned())]);
        assert_eq!(words, edited, "{class}");
        let mut requests = museum.requests();
        requests.retain(|request| request.path.ends_with("/diff"));
        assert_eq!(requests.len(), 1, "only the album concerned: {class}");
        museum.reset_log();
        let _ = pull(&machine, &[]).expect(0);
        assert_eq!(museum.requests().len(), 1, "{class}");
    }
}

#[test]
fn an_album_that_can_never_be_listed_in_full_still_gets_its_new_photos() {
    let (museum, machine) = made_up();
    let album = museum.with_library(|library| {
        let album = library.live_mut().create_album("long");
        library.live_mut().upload(album, photo("first.jpg"));
        album
    });
    let _ = pull(&machine, &[]).expect(0);
    let noted = || folded(&machine.export)[&format!("pull collection {album}")].clone();
    let mut cursor = noted()["cursor"].as_i64().unwrap();
    for options in [&["--retries", "0", "--full"][..], &["--retries", "0"]] {
        let new = museum.with_library(|library| library.live_mut().upload(album, photo("new.jpg")));
        // The first page of all, and not what comes since the last time.
        museum.inject(Match::diff(album), Fault::Status(500), Some(1));
        museum.reset_log();
        let listed = pull(&machine, options).expect(3);
        assert_eq!(classes(&listed), ["server"]);
        assert_eq!(
            changed_words(&listed),
            BTreeMap::from([(new, "new".to_owned())])
        );
        assert!(museum.fetched_objects().contains(&new));
        let now = noted();
        assert!(now["cursor"].as_i64().unwrap() > cursor);
        assert_eq!(now["synced"], 0, "a full listing is owed");
        cursor = now["cursor"].as_i64().unwrap();
    }
    museum.reset_log();
    let _ = pull(&machine, &[]).expect(0);
    let requests = museum.requests();
    let listed = requests.iter().filter(|one| one.path.ends_with("/diff"));
    let asked: Vec<_> = listed.map(|one| one.query.clone()).collect();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].contains("sinceTime=0"), "{asked:?}");
    assert_ne!(noted()["synced"], 0);
}

#[test]
fn what_rotted_in_an_album_that_could_not_be_listed_heals_with_the_next_run() {
    let (museum, machine) = golden();
    let _ = pull(&machine, &[]).expect(0);
    let path = machine.export.join(".ente/ciphertext.jsonl");
    let mut bytes = fs::read(&path).unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    let line = format!("{{\"collection\":{ALBUM},\"file\":{FILE},");
    bytes[text.find(&line).unwrap() + line.len() + 40] ^= 1;
    fs::write(&path, bytes).unwrap();
    let check = ["ente-verify", machine.dir()];
    let is_rotten = || {
        let found = machine.run(&check).records_of("finding");
        let is_of_listing = |one: &Value| one["path"] == ".ente/ciphertext.jsonl";
        found.iter().any(is_of_listing)
    };
    assert!(is_rotten());
    museum.inject(Match::diff(ALBUM), Fault::Status(500), None);
    let _ = pull(&machine, &["--retries", "0"]).expect(3);
    museum.clear_faults();
    let _ = pull(&machine, &[]).expect(0);
    assert!(!is_rotten());
}

/// Somebody with a file in the first of two albums, all of which was listed.
fn two_albums() -> (Museum, Machine, [i64; 3]) {
    let (museum, machine) = made_up();
    let ids = museum.with_library(|library| {
        let live = library.live_mut();
        let (from, to) = (live.create_album("from"), live.create_album("to"));
        [live.upload(from, photo("moved.jpg")), from, to]
    });
    let _ = pull(&machine, &[]).expect(0);
    (museum, machine, ids)
}

/// The list of collections as it was before this album changed.
fn before_change_of(machine: &Machine, album: i64) -> Fault {
    let known = folded(&machine.export);
    let updated = known[&format!("pull collection {album}")]["updated"].clone();
    Fault::edit(move |answer| edit_album(answer, album, "updationTime", &updated))
}

fn edit_album(answer: &mut Value, album: i64, member: &str, value: &Value) {
    let collections = answer["collections"].as_array_mut().unwrap();
    let album = collections.iter_mut().find(|one| one["id"] == album);
    album.unwrap()[member] = value.clone();
}

/// The file stays, which is a problem; the next run finds it where it is, without a download.
fn assert_stays(museum: &Museum, machine: &Machine, file: i64, class: Option<&str>) {
    let held = pull(machine, &[]).expect(3);
    let expected: Vec<&str> = class.into_iter().chain(["removals-held-back"]).collect();
    assert_eq!(classes(&held), expected);
    let changed = changed_words(&held);
    assert!(!changed.contains_key(&file), "{changed:?}");
    museum.clear_faults();
    museum.reset_log();
    let found = changed_words(&pull(machine, &[]).expect(0));
    assert_eq!(found[&file], "placement");
    assert!(museum.fetched_objects().is_empty());
}

#[test]
fn a_file_that_moves_while_it_is_listed_is_not_removed() {
    let (museum, machine, [file, from, to]) = two_albums();
    museum.with_library(|library| library.live_mut().move_to(file, from, to));
    museum.inject(
        Match::collections(),
        before_change_of(&machine, to),
        Some(1),
    );
    assert_stays(&museum, &machine, file, None);
}

#[test]
fn a_file_that_is_deleted_while_others_come_is_removed() {
    let (museum, machine, [file, _, to]) = two_albums();
    museum.with_library(|library| {
        library.live_mut().trash(file);
        library.live_mut().upload(to, photo("new.jpg"));
    });
    museum.inject(
        Match::collections(),
        before_change_of(&machine, to),
        Some(1),
    );
    let words = changed_words(&pull(&machine, &[]).expect(0));
    assert_eq!(words, BTreeMap::from([(file, "removed".to_owned())]));
}

#[test]
fn a_file_that_moved_to_what_cannot_be_read_is_not_removed() {
    for album_is_broken in [true, false] {
        let (museum, machine, [file, from, to]) = two_albums();
        museum.with_library(|library| library.live_mut().move_to(file, from, to));
        if album_is_broken {
            let odd = json!("soon");
            let edit = move |answer: &mut Value| edit_album(answer, to, "updationTime", &odd);
            museum.inject(Match::collections(), Fault::edit(edit), None);
        } else {
            let edit = |answer: &mut Value| answer["diff"][0]["ownerID"] = "nobody".into();
            museum.inject(Match::diff(to), Fault::edit(edit), None);
        }
        assert_stays(&museum, &machine, file, Some("unreadable-entry"));
    }
}

#[test]
fn what_is_kept_back_is_listed_with_its_entries() {
    let (museum, machine, [file, from, to]) = two_albums();
    let list = |code, problems: &[&str]| {
        for option in ["--list", "--dry-run"] {
            let listed = pull(&machine, &[option]).expect(code);
            assert_eq!(classes(&listed), problems);
            for collection in listed.records_of("collection") {
                assert_eq!(collection["entry"]["id"], collection["id"]);
            }
        }
    };
    let lack = Fault::edit(move |answer| {
        let collections = answer["collections"].as_array_mut().unwrap();
        collections.retain(|one| one["id"] != to);
    });
    museum.inject(Match::collections(), lack, None);
    list(3, &["album-missing"]);
    let _ = pull(&machine, &[]).expect(3);
    museum.clear_faults();
    // It is back.
    list(0, &[]);
    let _ = pull(&machine, &[]).expect(0);
    museum.with_library(|library| library.live_mut().move_to(file, from, to));
    museum.inject(Match::diff(to), Fault::Status(404), None);
    list(3, &["not-found", "removals-held-back"]);
}

#[test]
fn problems_of_a_listing_go_on_through_a_narrow_run() {
    let (museum, machine) = golden();
    museum.inject(Match::diff(ALBUM), Fault::Status(404), Some(1));
    let stages = machine.pipe(&[
        &["ente-pull", "--list", machine.dir()],
        &["ente-pull", "--only", "-", machine.dir()],
        &["ente-decrypt", "-"],
        &["ente-meta", "-"],
    ]);
    expect_all(&stages, 3);
    let problems = stages[3].records_of("problem");
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0]["collection"], ALBUM);
}
