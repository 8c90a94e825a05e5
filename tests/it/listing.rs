//! Listings that are not what they should be: what they may remove, and what later ones make up for.

use std::collections::BTreeMap;
use std::fs;

use ente_tests::museum::{Fault, Match};
use serde_json::{Value, json};

use crate::golden;
use crate::pull::{changed_words, classes, pull};

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
