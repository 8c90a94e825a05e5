//! The same in a pipe: while records come in, for some files only, cut short, and with items that fail.

use std::collections::BTreeSet;

use ente_common::exit::Exit;
use serde_json::json;

use crate::golden::assert_tree;
use crate::mirror::Mirror;

fn ids(mirror: &Mirror) -> Vec<i64> {
    let files = mirror.state().pull.files;
    let ids: BTreeSet<i64> = files.keys().map(|key| key.1).collect();
    ids.into_iter().collect()
}

#[test]
fn a_pipe_makes_the_same_tree_and_facts_as_a_run_alone() {
    let mut alone = Mirror::initial();
    alone.run(&[]).done();
    let mut piped = Mirror::initial();
    let mut order = ids(&piped);
    order.reverse();
    let outcome = piped.pipe(&[], &piped.records("all", &order, true)).done();
    assert_tree(&piped, "1-initial");
    assert_eq!(outcome.of("file").len(), order.len());
    let file = outcome
        .of("file")
        .into_iter()
        .find(|file| file["id"] == 101)
        .unwrap();
    assert_eq!(file["placements"][1]["did"], "linked");
    assert_eq!(file["placements"][1]["mine"], "stays");
    assert_eq!(file["placements"][1]["path"], "Best Photos/photo1.jpg");
    let last = outcome.records.last().unwrap();
    assert_eq!(last["counts"]["ente-decrypt"]["linked"], 2);
    assert_eq!(last["counts"]["ente-pull"]["files"], order.len());
    assert_eq!(piped.facts(), alone.facts());

    for mirror in [&mut alone, &mut piped] {
        mirror.list("2-changed", |_| ());
        mirror.fetch_all("2-changed");
    }
    alone.run(&[]).done();
    // A record that is missing changes nothing: what it would have named is pending at the end.
    piped
        .pipe(&[], &piped.records("all", &[127, 104], true))
        .done();
    assert_tree(&piped, "2-changed");
    assert_eq!(piped.facts(), alone.facts());
}

#[test]
fn with_scope_only_nothing_else_is_touched_and_names_are_those_of_the_whole() {
    let mut mirror = Mirror::initial();
    mirror
        .pipe(&[], &mirror.records("only", &[103, 115], true))
        .done();
    let tree: Vec<_> = mirror.tree().into_keys().collect();
    assert_eq!(tree, ["Camera/img_1.jpg", "Vacation 2024/photo1_1.jpg"]);
    mirror.run(&[]).done();
    assert_tree(&mirror, "1-initial");

    mirror.list("2-changed", |_| ());
    mirror.fetch_all("2-changed");
    mirror
        .pipe(&[], &mirror.records("only", &[105], true))
        .done();
    let tree: Vec<_> = mirror.tree().into_keys().collect();
    let has = |path: &str| tree.iter().any(|found| found == path);
    assert!(has("Vacation 2024 (Italy)/Sunset.mov"), "{tree:?}");
    assert!(
        has("Family/VID_20240605.mp4"),
        "what went on the server waits for a run over all"
    );
    mirror.run(&[]).done();
    assert_tree(&mirror, "2-changed");
}

#[test]
fn input_that_was_cut_short_is_done_as_far_as_it_came() {
    let mirror = Mirror::initial();
    let outcome = mirror.pipe(&[], &mirror.records("all", &[102, 101], false));
    assert_eq!(outcome.exit, Ok(Exit::Failed));
    assert!(outcome.of("end").is_empty());
    let tree: Vec<_> = mirror.tree().into_keys().collect();
    assert_eq!(
        tree,
        [
            "Best Photos/photo1.jpg",
            "Vacation 2024/photo1.jpg",
            "Vacation 2024/photo2.jpg"
        ]
    );
    mirror.run(&[]).done();
    assert_tree(&mirror, "1-initial");
}

#[test]
fn a_listing_is_passed_on_with_names_and_paths_and_writes_nothing() {
    let mirror = Mirror::initial();
    let listing = mirror.records("listing", &[101], true);
    let outcome = mirror.pipe(&[], &listing).done();
    assert!(outcome.of("file")[0]["placements"][0].get("did").is_none());
    assert!(!mirror.path(".ente/decrypt.jsonl").exists());
    mirror.run(&[]).done();
    let outcome = mirror.pipe(&[], &listing).done();
    assert_eq!(
        outcome.of("file")[0]["placements"][0]["path"],
        "Vacation 2024/photo1.jpg"
    );
    assert_eq!(outcome.of("begin")[0]["tool"], "ente-decrypt");
}

#[test]
fn unknown_records_pass_and_problems_of_others_count() {
    let mirror = Mirror::initial();
    let mut records: Vec<String> = mirror
        .records("all", &[101], true)
        .lines()
        .map(str::to_owned)
        .collect();
    let problem = json!({"v": 1, "type": "problem", "stage": "ente-pull", "class": "not-found", "file": 5,
        "cause": "c", "hint": "h"});
    records.insert(
        1,
        json!({"v": 1, "type": "of-tomorrow", "x": [1, {"y": null}]}).to_string(),
    );
    records.insert(2, problem.to_string());
    let outcome = mirror.pipe(&[], &(records.join("\n") + "\n"));
    assert_eq!(outcome.exit, Ok(Exit::Problems));
    assert_eq!(*outcome.of("problem")[0], problem);
    assert_eq!(outcome.of("of-tomorrow")[0]["x"], json!([1, {"y": null}]));
}

#[test]
fn bad_items_leave_the_others_alone_and_are_told_again() {
    let mut mirror = Mirror::new();
    mirror.list("1-initial", |entry| {
        if entry["id"] == 119 {
            entry["metadata"]["encryptedData"] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into();
        }
    });
    mirror.fetch_all("1-initial");
    // Fetched once more, and damaged: a bit flipped, the end cut off.
    mirror.fetch("1-initial", 102, |bytes| bytes[5000] ^= 1);
    mirror.fetch("1-initial", 106, |bytes| bytes.truncate(100_000));
    let outcome = mirror.run(&[]);
    assert_eq!(outcome.exit, Ok(Exit::Problems));
    let expected = BTreeSet::from([
        ("damaged".to_owned(), 102),
        ("damaged".to_owned(), 106),
        ("undecryptable".to_owned(), 119),
    ]);
    assert_eq!(outcome.problems(), expected);
    let tree: Vec<_> = mirror.tree().into_keys().collect();
    assert_eq!(tree.len(), 32 - 3);
    let facts = std::fs::read(mirror.path(".ente/decrypt.jsonl")).unwrap();
    assert_eq!(
        mirror.run(&[]).problems(),
        expected,
        "a standing verdict is told again"
    );
    assert_eq!(
        std::fs::read(mirror.path(".ente/decrypt.jsonl")).unwrap(),
        facts
    );
    let verdict = mirror
        .state()
        .decrypt
        .verdicts
        .into_values()
        .find(|verdict| verdict.id == 102)
        .unwrap();
    assert_eq!(verdict.fetch, 2);

    // Fetched once more, it is well.
    mirror.fetch("1-initial", 102, |_| ());
    mirror.fetch("1-initial", 106, |_| ());
    mirror.list("1-initial", |_| ());
    mirror.run(&[]).done();
    assert_tree(&mirror, "1-initial");
    assert!(mirror.state().decrypt.verdicts.is_empty());
}

#[test]
fn an_album_that_does_not_open_leaves_the_others_and_its_own_files_alone() {
    let lock = |entry: &mut serde_json::Value| {
        if entry["id"] == 14 && entry.get("collectionID").is_none() {
            entry["encryptedKey"] = "AAAA".into();
        }
    };
    let mut mirror = Mirror::new();
    mirror.list("1-initial", lock);
    mirror.fetch_all("1-initial");
    let outcome = mirror.run(&[]);
    assert_eq!(outcome.exit, Ok(Exit::Problems));
    let tree = mirror.tree();
    assert!(tree.contains_key("Vacation 2024/photo1.jpg"));
    assert!(!tree.keys().any(|path| path.starts_with("Family/")));
    mirror.list("1-initial", |_| ());
    mirror.run(&[]).done();
    assert_tree(&mirror, "1-initial");
    mirror.list("1-initial", lock);
    assert_eq!(mirror.run(&[]).exit, Ok(Exit::Problems));
    assert_tree(&mirror, "1-initial");
}

#[test]
fn a_round_is_whole_before_its_record_and_the_next_one_goes_on() {
    let mirror = Mirror::initial();
    let records = mirror.records("all", &[101], false);
    let round = json!({"v": 1, "type": "round", "counts": {}});
    let second = mirror.records("all", &[101], true);
    let second: String = second
        .lines()
        .skip(1)
        .map(|line| format!("{line}\n"))
        .collect();
    let outcome = mirror
        .pipe(&[], &format!("{records}{round}\n{second}"))
        .done();
    assert_tree(&mirror, "1-initial");
    let at = |kind: &str| {
        outcome
            .records
            .iter()
            .position(|record| record["type"] == kind)
    };
    let before = &outcome.records[..at("round").unwrap()];
    let files = before
        .iter()
        .filter(|record| record["type"] == "file")
        .count();
    assert_eq!(
        files, 27,
        "everything that was pending is in the first round"
    );
    let last = outcome.of("file").pop().unwrap();
    assert_eq!(last["placements"][0]["did"], "kept");
}

#[test]
fn a_run_that_is_asked_to_stop_leaves_nothing_half() {
    let mirror = Mirror::initial();
    let outcome = mirror.interrupted();
    assert!(outcome.exit.is_ok());
    assert!(outcome.of("end").is_empty());
    assert!(mirror.held("partial").is_empty());
    mirror.run(&[]).done();
    assert_tree(&mirror, "1-initial");
}
