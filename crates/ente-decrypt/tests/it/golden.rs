//! The golden states: names, bytes and times are those that other implementations made.

use std::collections::BTreeMap;

use ente_common::manifest::facts::How;
use serde_json::Value;

use crate::mirror::{Mirror, read};

/// Path, BLAKE3 and time of every file of a golden state; files that nobody can decrypt or fetch are not in it.
fn expected(golden: &str) -> BTreeMap<String, (String, i64)> {
    let mut files = BTreeMap::new();
    for row in read(&format!("{golden}/expected.json")).as_array().unwrap() {
        let time = row["sidecar"]["photoTakenTime"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        for part in row["parts"].as_array().unwrap() {
            let path = format!(
                "{}/{}",
                row["album"].as_str().unwrap(),
                part["name"].as_str().unwrap()
            );
            files.insert(path, (part["blake3"].as_str().unwrap().to_owned(), time));
        }
    }
    files
}

pub(crate) fn assert_tree(mirror: &Mirror, golden: &str) {
    let found: BTreeMap<_, _> = mirror
        .tree()
        .into_iter()
        .map(|(path, (bytes, time))| (path, (blake3::hash(&bytes).to_hex().to_string(), time)))
        .collect();
    let expected = expected(golden);
    for (path, file) in &expected {
        assert_eq!(found.get(path), Some(file), "{path}");
    }
    let extra: Vec<_> = found
        .keys()
        .filter(|path| !expected.contains_key(*path))
        .collect();
    assert!(extra.is_empty(), "{extra:?}");
    assert!(
        mirror.held("partial").is_empty(),
        "{:?}",
        mirror.held("partial")
    );
}

fn did(record: &Value) -> Vec<(i64, &str)> {
    let placements = record["placements"].as_array().unwrap().iter();
    placements
        .map(|placement| {
            (
                placement["collection"].as_i64().unwrap(),
                placement["did"].as_str().unwrap(),
            )
        })
        .collect()
}

#[test]
fn both_states_come_out_and_a_third_run_does_nothing() {
    let mut mirror = Mirror::initial();
    let outcome = mirror.run(&[]).done();
    assert_tree(&mirror, "1-initial");
    assert!(
        mirror.held("objects").is_empty(),
        "spooled objects are dropped"
    );
    let files = outcome.of("file");
    let of = |id: i64| *files.iter().find(|file| file["id"] == id).unwrap();
    assert_eq!(did(of(101)), [(13, "written"), (15, "linked")]);
    assert_eq!(
        of(105)["placements"][0]["parts"].as_array().unwrap().len(),
        2
    );
    assert_eq!(
        of(105)["placements"][0]["path"],
        "Vacation 2024/IMG_0001.jpg"
    );

    mirror.list("2-changed", |_| ());
    mirror.fetch_all("2-changed");
    let outcome = mirror.run(&[]).done();
    assert_tree(&mirror, "2-changed");
    let files = outcome.of("file");
    let of = |id: i64| did(files.iter().find(|file| file["id"] == id).unwrap());
    assert_eq!(of(101), [(13, "kept"), (15, "trashed")]);
    assert_eq!(of(103), [(13, "replaced")]);
    assert_eq!(of(104), [(14, "moved"), (15, "moved")]);
    assert_eq!(of(105), [(13, "moved")]);
    assert_eq!(of(127), [(13, "written")]);
    assert!(
        mirror
            .held("trash")
            .contains(&"2025-11-22/Vacation 2024 (Italy)/photo1_1.jpg".to_owned()),
        "{:?}",
        mirror.held("trash")
    );

    let facts = std::fs::read(mirror.path(".ente/decrypt.jsonl")).unwrap();
    let outcome = mirror.run(&[]).done();
    assert!(outcome.of("file").is_empty());
    assert_eq!(
        std::fs::read(mirror.path(".ente/decrypt.jsonl")).unwrap(),
        facts
    );

    // Everything back as it was: what lies in the trash needs no object.
    mirror.list("1-initial", |_| ());
    mirror.fetch("1-initial", 103, |_| ());
    let outcome = mirror.run(&[]).done();
    let files = outcome.of("file");
    let of = |id: i64| did(files.iter().find(|file| file["id"] == id).unwrap());
    assert_eq!(of(106), [(14, "restored")]);
    let names: Vec<_> = mirror.tree().into_keys().collect();
    assert!(
        names.contains(&"Family/VID_20240605.mp4".to_owned()),
        "{names:?}"
    );
}

#[test]
fn one_job_and_many_make_the_same_tree_and_facts() {
    let facts = ["1", "2", "16"].map(|jobs| {
        let mut mirror = Mirror::initial();
        mirror.run(&["--jobs", jobs]).done();
        mirror.list("2-changed", |_| ());
        mirror.fetch_all("2-changed");
        mirror.run(&["--jobs", jobs]).done();
        assert_tree(&mirror, "2-changed");
        mirror.facts()
    });
    assert_eq!(facts[0], facts[1]);
    assert_eq!(facts[0], facts[2]);
}

#[test]
fn kept_objects_stay() {
    let mirror = Mirror::initial();
    mirror.keep_objects();
    let before = mirror.held("objects");
    mirror.run(&["--link", "copy"]).done();
    assert_tree(&mirror, "1-initial");
    assert_eq!(mirror.held("objects"), before);
}

#[test]
fn another_time_dates_all_files_anew_and_back() {
    let mirror = Mirror::initial();
    mirror.run(&[]).done();
    let taken = mirror.tree();
    mirror.run(&["--mtime", "modified"]).done();
    let row = &read("1-initial/expected.json")[0];
    let modified: i64 = row["sidecar"]["modificationTime"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(mirror.tree()["Vacation 2024/photo1.jpg"].1, modified);
    assert_eq!(mirror.state().decrypt.settings["mtime"], "modified");
    assert!(
        mirror.run(&[]).done().of("file").is_empty(),
        "it is remembered"
    );
    mirror.run(&["--mtime", "taken"]).done();
    assert_eq!(mirror.tree(), taken);
}

#[test]
fn a_dry_run_tells_and_writes_nothing() {
    let mut mirror = Mirror::initial();
    let outcome = mirror.run(&["--dry-run"]).done();
    assert_eq!(outcome.records[0]["scope"], "listing");
    assert!(mirror.tree().is_empty());
    assert!(!mirror.path(".ente/decrypt.jsonl").exists());
    let planned: Vec<_> = outcome
        .of("file")
        .iter()
        .map(|file| file["placements"][0]["path"].clone())
        .collect();
    assert!(
        planned.contains(&"Vacation 2024/photo1_1.jpg".into()),
        "{planned:?}"
    );
    mirror.run(&[]).done();
    mirror.list("2-changed", |_| ());
    let before = mirror.tree();
    let outcome = mirror.run(&["--dry-run"]).done();
    assert_eq!(mirror.tree(), before);
    let files = outcome.of("file");
    let of = |id: i64| did(files.iter().find(|file| file["id"] == id).unwrap());
    assert_eq!(of(105), [(13, "moved")]);
    assert_eq!(of(127), [(13, "pending")]);
}

#[test]
fn another_way_of_sharing_converts_what_is_there() {
    let mirror = Mirror::initial();
    mirror.run(&["--link", "hard"]).done();
    let how = |mirror: &Mirror| {
        let placements = mirror.state().decrypt.placements;
        placements[&(15, 101)].parts[0].how
    };
    assert_eq!(how(&mirror), How::Hard);
    let outcome = mirror.run(&["--link", "copy"]).done();
    assert_eq!(outcome.of("file").len(), 2);
    let files = outcome.of("file");
    let photo = files.iter().find(|file| file["id"] == 101);
    assert_eq!(did(photo.unwrap()), [(13, "kept"), (15, "linked")]);
    assert_eq!(how(&mirror), How::Copy);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let copy = std::fs::metadata(mirror.path("Best Photos/photo1.jpg")).unwrap();
        assert_eq!(copy.nlink(), 1);
    }
    assert_tree(&mirror, "1-initial");
    assert!(
        mirror.held("trash").is_empty(),
        "the same content is not kept twice"
    );
    assert!(mirror.run(&[]).done().of("file").is_empty());
}

#[test]
fn a_way_of_sharing_that_the_file_system_lacks_is_said_so() {
    let mirror = Mirror::initial();
    let outcome = mirror.run(&["--link", "reflink"]);
    match outcome.exit {
        // It knows reflinks.
        Ok(_) => assert_tree(&mirror, "1-initial"),
        Err(failure) => {
            assert_eq!(failure.exit, ente_common::exit::Exit::Failed);
            assert!(failure.hint.unwrap().contains("--link auto"));
            let left = mirror.held("partial");
            assert!(left.is_empty(), "plaintext that nobody wants: {left:?}");
            mirror.run(&["--link", "auto"]).done();
            assert_tree(&mirror, "1-initial");
        }
    }
}
