//! A run that is killed is finished or undone by the next: at every step of the way between `partial/` and the final names, and in the middle.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use ente_common::manifest::State;

use crate::golden::assert_tree;
use crate::mirror::Mirror;

fn version(state: &State, key: (i64, i64)) -> String {
    state.decrypt.placements[&key].version.unwrap().to_string()
}

/// The first state exported, the second one listed and fetched.
fn before() -> Mirror {
    let mut mirror = Mirror::initial();
    mirror.run(&[]).done();
    mirror.list("2-changed", |_| ());
    mirror.fetch_all("2-changed");
    mirror
}

fn park(mirror: &Mirror, from: &str, name: &str) {
    fs::create_dir_all(mirror.path(".ente/partial")).unwrap();
    fs::rename(mirror.path(from), mirror.path(".ente/partial").join(name)).unwrap();
}

#[test]
fn what_was_parked_before_the_facts_goes_back_first() {
    let mirror = before();
    let state = mirror.state();
    let old = |collection, file, part| {
        let version = version(&state, (collection, file));
        format!("old-{collection}-{file}-{part}-{version}")
    };
    park(&mirror, "Vacation 2024/IMG_0001.jpg", &old(13, 105, 0));
    park(&mirror, "Family/Grandma's birthday.jpg", &old(14, 104, 0));
    park(&mirror, "Family/VID_20240605.mp4", &old(14, 106, 0));
    park(&mirror, "Best Photos/photo1.jpg", &old(15, 101, 0));
    park(&mirror, "Vacation 2024/photo1_1.jpg", &old(13, 103, 0));
    park(&mirror, "Vacation 2024", "album-13");
    fs::write(mirror.path(".ente/partial/tmp-7"), "half").unwrap();
    let listed = state.pull.files[&(13, 103)].version.unwrap();
    fs::write(
        mirror.path(&format!(".ente/partial/new-13-103-0-{listed}")),
        "new",
    )
    .unwrap();
    mirror.run(&[]).done();
    assert_tree(&mirror, "2-changed");

    let whole = before();
    whole.run(&[]).done();
    assert_eq!(mirror.facts(), whole.facts());
    assert_eq!(mirror.held("trash"), whole.held("trash"));
}

#[test]
fn what_was_parked_after_the_facts_goes_on() {
    let mirror = before();
    let before = mirror.state();
    mirror.run(&[]).done();
    let (tree, facts, trash) = (mirror.tree(), mirror.facts(), mirror.held("trash"));
    let after = mirror.state();
    let old = |collection, file, part| {
        let version = version(&before, (collection, file));
        format!("old-{collection}-{file}-{part}-{version}")
    };
    park(
        &mirror,
        "Vacation 2024 (Italy)/Sunset.mov",
        &old(13, 105, 1),
    );
    park(
        &mirror,
        "Best Photos/Grandma's birthday.jpg",
        &old(14, 104, 0),
    );
    let day = ".ente/trash/2025-11-22";
    park(
        &mirror,
        &format!("{day}/Family/VID_20240605.mp4"),
        &old(14, 106, 0),
    );
    park(
        &mirror,
        &format!("{day}/Vacation 2024 (Italy)/photo1_1.jpg"),
        &old(13, 103, 0),
    );
    let new = version(&after, (13, 103));
    park(
        &mirror,
        "Vacation 2024 (Italy)/photo1_1.jpg",
        &format!("new-13-103-0-{new}"),
    );
    park(&mirror, "Vacation 2024 (Italy)", "album-13");
    let outcome = mirror.run(&[]).done();
    assert!(outcome.of("file").is_empty(), "nothing is left to be done");
    assert_eq!(mirror.tree(), tree);
    assert_eq!(mirror.facts(), facts);
    assert_eq!(mirror.held("trash"), trash);
    assert!(mirror.held("partial").is_empty());
}

#[test]
fn what_has_no_place_any_more_is_kept_in_the_trash() {
    let mirror = Mirror::initial();
    mirror.run(&[]).done();
    fs::create_dir_all(mirror.path(".ente/partial")).unwrap();
    let stray = ".ente/partial/old-13-102-0-0123456789abcdef";
    fs::write(mirror.path(stray), "of another version").unwrap();
    mirror.run(&[]).done();
    assert_tree(&mirror, "1-initial");
    assert_eq!(
        mirror.held("trash"),
        ["2025-11-22/Vacation 2024/photo2.jpg"]
    );
}

/// Starts the tool as a process and kills it when it has printed so many records.
fn killed_after(mirror: &Mirror, keystore: &Path, records: usize) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ente-decrypt"))
        .arg("--keystore")
        .arg(keystore)
        .args(["--jobs", "2"])
        .arg(mirror.dir())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.take(records).for_each(drop);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_killed_run_is_taken_up_by_the_next() {
    for records in [1, 2, 7, 20] {
        let mut mirror = Mirror::initial();
        killed_after(&mirror, &mirror.keystore(), records);
        mirror.run(&[]).done();
        assert_tree(&mirror, "1-initial");
        mirror.list("2-changed", |_| ());
        mirror.fetch_all("2-changed");
        killed_after(&mirror, &mirror.keystore(), records);
        mirror.run(&[]).done();
        assert_tree(&mirror, "2-changed");
        assert!(mirror.held("objects").is_empty());
    }
}
