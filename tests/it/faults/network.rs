//! No server, another clock, a server that dies and comes back.

use super::{IMPATIENT, Scene, assert_ended, content, look, problems};
use ente_tests::harness::{assert_same, expect_all};
use ente_tests::journal::{before_rest, summed};
use ente_tests::library::NewFile;
use ente_tests::museum::{Fault, Match, Origin};
use std::collections::BTreeSet;
use std::fs;

#[test]
fn a_server_that_is_down_is_told_in_a_word_and_costs_nothing() {
    let mut scene = Scene::new();
    scene.museum.kill();
    let outcomes = scene.run(&IMPATIENT);
    assert_ended(&outcomes[0], 13, "Connection refused");
    assert!(!scene.machine.export.exists());
    scene.museum.revive();
    scene.heal();
    scene.museum.kill();
    assert_ended(&scene.run(&IMPATIENT)[0], 13, "nothing was removed");
    assert_same(&look(&scene.machine.export), &scene.reference);
    scene.museum.revive();
    assert_eq!(scene.heal(), BTreeSet::new());
}

#[test]
fn a_name_that_no_longer_resolves_is_told_in_a_word() {
    let scene = Scene::new();
    expect_all(&scene.machine.pipeline(), 0);
    // The reserved name never resolves; what knows the server's name is made to say it.
    let port = scene.museum.api_url().rsplit(':').next().unwrap();
    let gone = format!("http://museum.invalid:{port}");
    let credentials = walkdir::WalkDir::new(scene.machine.config()).into_iter();
    let files = credentials
        .flatten()
        .filter(|entry| entry.file_type().is_file());
    let mut files: Vec<_> = files.map(|entry| entry.into_path()).collect();
    files.push(scene.machine.export.join(".ente/export.json"));
    let rename = |from: &str, to: &str| {
        for file in &files {
            let text = fs::read_to_string(file).unwrap();
            fs::write(file, text.replace(from, to)).unwrap();
        }
    };
    rename(scene.museum.api_url(), &gone);
    let mut command = scene.machine.command(&[
        "ente-pull",
        "--insecure-http",
        "--retries",
        "0",
        scene.machine.dir(),
    ]);
    let output = command
        .env("RES_OPTIONS", "timeout:1 attempts:1")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(13), "{said}");
    assert!(
        said.contains("museum.invalid") && said.contains("hint: "),
        "{said}"
    );
    rename(&gone, scene.museum.api_url());
    assert_eq!(scene.heal(), BTreeSet::new());
}

/// Starts `ente-pull`, waits until the last file is under way, and kills the server.
fn killed_half_way(scene: &mut Scene) -> std::process::Output {
    let last = *scene.files.last().unwrap();
    scene
        .museum
        .inject(Match::object(last), Fault::StallBody { after: 9_000 }, None);
    let line = [
        "ente-pull",
        "--jobs",
        "1",
        "--retries",
        "1",
        scene.machine.dir(),
    ];
    let child = scene.machine.command(&line).spawn().unwrap();
    let part = scene.machine.export.join(".ente/partial");
    let is_there = || {
        let found = fs::read_dir(&part).into_iter().flatten().flatten();
        found
            .map(|entry| entry.metadata().map_or(0, |found| found.len()))
            .any(|len| len == 9_000)
    };
    while !is_there() {
        std::thread::yield_now();
    }
    scene.museum.kill();
    child.wait_with_output().unwrap()
}

#[test]
fn a_server_that_dies_half_way_and_comes_back_is_gone_on_with() {
    let mut scene = Scene::new();
    let killed = killed_half_way(&mut scene);
    assert_eq!(killed.status.code(), Some(3));
    let said = String::from_utf8(killed.stderr).unwrap();
    assert!(said.contains("1 of 7 files were not fetched"), "{said}");
    scene.museum.clear_faults();
    scene.museum.revive();
    scene.museum.reset_log();
    let last = *scene.files.last().unwrap();
    expect_all(&scene.run(&[]), 0);
    let requests = scene.museum.requests();
    let ranges = requests.iter().filter(|one| one.origin == Origin::Store);
    let ranges: Vec<_> = ranges.map(|one| one.header("range")).collect();
    assert_eq!(ranges, [Some("bytes=9000-")]);
    assert_eq!(scene.museum.fetched_objects(), BTreeSet::from([last]));
    assert_eq!(scene.heal(), BTreeSet::new());
}

#[test]
fn a_server_that_dies_between_the_albums_leaves_everything_as_it_was() {
    let scene = Scene::new();
    expect_all(&scene.machine.pipeline(), 0);
    // Listed so far: the collections and one album.
    let rest = Match::api().path("/diff").skip(1);
    scene.museum.inject(rest, Fault::Cut { after: 0 }, None);
    let outcomes = scene.run(&["--full", "--retries", "0"]);
    assert_eq!(outcomes[0].code, 3, "{}", outcomes[0].stderr);
    assert_eq!(problems(&outcomes).len(), 2);
    assert_same(&look(&scene.machine.export), &scene.reference);
    assert_eq!(scene.heal(), BTreeSet::new());
}

#[test]
fn clocks_may_be_wrong() {
    // The server's, by decades either way: nothing that counts is asked of it.
    for date in [
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Fri, 31 Dec 2099 23:59:59 GMT",
    ] {
        let scene = Scene::new();
        scene
            .museum
            .inject(Match::any(), Fault::Header("date", date), None);
        expect_all(&scene.run(&[]), 0);
        assert_eq!(scene.heal(), BTreeSet::new());
    }
}

#[test]
fn an_hour_that_the_server_lived_in_the_future_hides_nothing_later() {
    let mut scene = Scene::new();
    let (album, year) = (scene.albums[0], 365 * 86_400 * 1_000_000);
    let (one, two) = (scene.files[0], scene.files[1]);
    expect_all(&scene.machine.pipeline(), 0);
    let upload = |scene: &Scene, at: Option<i64>, number: u8| {
        scene.museum.with_library(|library| {
            let live = library.live_mut();
            let file = NewFile::new(&format!("later {number}.jpg"), content(number, 500));
            match at {
                Some(at) => live.at(at, |live| live.upload(album, file)),
                None => live.upload(album, file),
            }
        })
    };
    let follow = |scene: &mut Scene| {
        scene.refer();
        scene.museum.reset_log();
        expect_all(&scene.machine.pipeline(), 0);
        assert_same(&look(&scene.machine.export), &scene.reference);
    };
    // A year ahead for one upload; then set right again.
    let now = scene.museum.with_library(|library| library.live().now_us());
    upload(&scene, Some(now + year), 101);
    follow(&mut scene);
    upload(&scene, None, 102);
    follow(&mut scene);
    scene
        .museum
        .with_library(|library| library.live_mut().remove(one, album));
    upload(&scene, None, 103);
    follow(&mut scene);
    scene
        .museum
        .with_library(|library| library.live_mut().rename(two, "renamed.jpg"));
    follow(&mut scene);
}

#[test]
fn the_local_clock_decides_over_no_file() {
    let scene = Scene::new();
    expect_all(&scene.machine.pipeline(), 0);
    // As if the last full listing had been made by a clock that was wrong, either way.
    for when in ["1", "4102444800000000"] {
        let path = scene.machine.export.join(".ente/pull.jsonl");
        let text = fs::read_to_string(&path).unwrap();
        let lines = before_rest(&text)
            .lines()
            .map(|line| match line.find("\"when\":") {
                Some(at) if line.contains("\"listing\"") => {
                    let rest = line[at + 7..].trim_start_matches(|c: char| c.is_ascii_digit());
                    format!("{}{when}{rest}\n", &line[..at + 7])
                }
                _ => format!("{line}\n"),
            });
        fs::write(&path, summed(lines.collect::<String>().as_bytes())).unwrap();
        scene.museum.reset_log();
        expect_all(&scene.run(&[]), 0);
        let listed = scene.museum.requests();
        let listed = listed
            .iter()
            .filter(|one| one.path.ends_with("/diff"))
            .count();
        assert_eq!(listed, 3, "everything is listed from the start again");
        assert_eq!(scene.heal(), BTreeSet::new());
    }
}
