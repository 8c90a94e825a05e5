//! `ente-pull` by itself: what it prints, stores and asks of the server.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;

use ente_tests::harness::{Machine, Outcome, folded};
use ente_tests::library::{Content, GenerateOptions, GoldenState, Library, NewFile};
use ente_tests::museum::{Fault, Match, Museum, Options, Origin};
use serde_json::{Value, json};

use crate::golden;

pub(crate) fn pull(machine: &Machine, options: &[&str]) -> Outcome {
    let mut line = vec!["ente-pull"];
    line.extend(options);
    line.push(machine.dir());
    machine.run(&line)
}

/// Files of the golden account that lie in an album.
const FILES: usize = 27;

/// The encrypted objects of the export: BLAKE3 by file ID.
pub(crate) fn objects(machine: &Machine) -> BTreeMap<i64, String> {
    let root = machine.export.join(".ente/objects");
    let files = walkdir::WalkDir::new(root).into_iter().flatten();
    let files = files.filter(|entry| entry.file_type().is_file());
    files
        .map(|entry| {
            let name = entry.file_name().to_str().unwrap();
            let (id, _) = name.split_once('-').unwrap();
            (id.parse().unwrap(), digest(entry.path()))
        })
        .collect()
}

/// The objects that the golden account serves in its first state, those of trashed files left out.
fn golden_objects() -> BTreeMap<i64, String> {
    let expected = fs::read(crate::expected("1-initial")).unwrap();
    let rows: Vec<Value> = serde_json::from_slice(&expected).unwrap();
    let ids = rows.iter().map(|row| row["fileID"].as_i64().unwrap());
    ids.map(|id| (id, digest(&golden_object(id)))).collect()
}

fn golden_object(id: i64) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/account/1-initial/objects");
    root.join(id.to_string())
}

fn digest(path: &Path) -> String {
    blake3::hash(&fs::read(path).unwrap()).to_hex().to_string()
}

fn manifest(machine: &Machine) -> [Vec<u8>; 3] {
    ["pull.jsonl", "ciphertext.jsonl", "export.json"]
        .map(|name| fs::read(machine.export.join(".ente").join(name)).unwrap())
}

fn partials(machine: &Machine) -> usize {
    fs::read_dir(machine.export.join(".ente/partial")).map_or(0, Iterator::count)
}

pub(crate) fn changed_words(outcome: &Outcome) -> BTreeMap<i64, String> {
    let files = outcome.records_of("file");
    files
        .iter()
        .map(|file| {
            let words: Vec<_> = file["change"]
                .as_array()
                .unwrap()
                .iter()
                .map(|word| word.as_str().unwrap())
                .collect();
            (file["id"].as_i64().unwrap(), words.join(" "))
        })
        .collect()
}

pub(crate) fn classes(outcome: &Outcome) -> Vec<String> {
    let problems = outcome.records_of("problem");
    problems
        .iter()
        .map(|problem| problem["class"].as_str().unwrap().to_owned())
        .collect()
}

fn switch(museum: &Museum) {
    museum.with_library(|library| library.switch_to(GoldenState::Changed));
    museum.reset_log();
}

#[test]
fn everything_is_fetched_once_then_what_changed_then_nothing() {
    let (museum, machine) = golden();
    let first = pull(&machine, &["--objects", "keep"]).expect(0);
    assert_eq!(objects(&machine), golden_objects());
    assert_eq!(first.records()[0]["expect"]["files"], FILES);
    assert_eq!(first.records_of("file").len(), FILES);
    assert!(
        first
            .records_of("file")
            .iter()
            .all(|file| file["object"] == "stored" && file["change"] == json!(["new"]))
    );
    let end = first.records().pop().unwrap();
    assert_eq!(end["type"], "end");
    assert_eq!(end["counts"]["ente-pull"]["fetched"], FILES);
    assert!(museum.leaked_tokens().is_empty());

    switch(&museum);
    let second = pull(&machine, &[]).expect(0);
    assert_eq!(museum.fetched_objects(), BTreeSet::from([103, 127]));
    let words = changed_words(&second);
    assert_eq!(words[&103], "content", "{words:?}");
    assert_eq!(words[&127], "new", "{words:?}");
    assert!(words.values().any(|word| word == "metadata"));
    assert!(words.values().any(|word| word == "removed"));

    let before = manifest(&machine);
    museum.reset_log();
    let third = pull(&machine, &[]).expect(0);
    let kinds: Vec<_> = third
        .records()
        .iter()
        .map(|record| record["type"].clone())
        .collect();
    assert_eq!(kinds, ["begin", "end"]);
    assert!(
        manifest(&machine) == before,
        "nothing to do, nothing written"
    );
    assert_eq!(
        museum.requests().len(),
        1,
        "one listing call: {:?}",
        museum.requests()
    );
    assert_eq!(partials(&machine), 0);
}

#[test]
fn a_full_pass_finds_nothing_new_and_an_edit_without_a_trace() {
    let (museum, machine) = golden();
    let _ = pull(&machine, &[]).expect(0);
    let before = folded(&machine.export);
    let full = pull(&machine, &["--full"]).expect(0);
    assert!(full.records_of("file").is_empty(), "{}", full.stdout);
    assert_eq!(folded(&machine.export), before);
    museum.with_library(|library| library.patch_row(24, 114, json!({"pubMagicMetadata": {"version": 9, "count": 1, "data": "AAAA", "header": "AAAA"}})));
    assert!(pull(&machine, &[]).expect(0).records_of("file").is_empty());
    let full = pull(&machine, &["--full"]).expect(0);
    assert_eq!(
        changed_words(&full),
        BTreeMap::from([(114, "metadata".to_owned())])
    );
}

#[test]
fn listing_prints_everything_and_writes_nothing() {
    let (museum, machine) = golden();
    let list = pull(&machine, &["--list"]).expect(0);
    assert!(!machine.export.exists());
    assert_eq!(list.records_of("file").len(), FILES);
    assert_eq!(list.records()[0]["scope"], "listing");
    assert!(
        list.records_of("collection")
            .iter()
            .all(|record| record["change"] == "listed")
    );

    let _ = pull(&machine, &[]).expect(0);
    switch(&museum);
    let before = manifest(&machine);
    let dry = pull(&machine, &["--dry-run"]).expect(0);
    let list = pull(&machine, &["--list"]).expect(0);
    assert!(manifest(&machine) == before && museum.fetched_objects().is_empty());
    assert_eq!(dry.records()[0]["expect"]["files"], 2);
    let real = pull(&machine, &[]).expect(0);
    assert_eq!(changed_words(&dry), changed_words(&real));
    let entry = |outcome: &Outcome| {
        let files = outcome.records_of("file");
        files.iter().find(|file| file["id"] == 103).unwrap()["placements"].clone()
    };
    assert_eq!(
        entry(&list),
        entry(&real),
        "entries are those of the present listing"
    );
}

#[test]
fn only_takes_ids_and_leaves_the_rest_alone() {
    let (museum, machine) = golden();
    let list = pull(&machine, &["--list"]).expect(0);
    let chosen: String = list
        .stdout
        .lines()
        .filter(|line| {
            let record: Value = serde_json::from_str(line).unwrap();
            record["type"] != "file" || record["id"] == 101 || record["id"] == 105
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let line = ["ente-pull", "--only", "-", machine.dir()];
    let only = machine.run_with(&line, &chosen).expect(0);
    assert_eq!(museum.fetched_objects(), BTreeSet::from([101, 105]));
    assert_eq!(only.records()[0]["scope"], "only");
    assert_eq!(only.records()[0]["run"], list.records()[0]["run"]);
    assert_eq!(only.records_of("file").len(), 2);

    let cut: String = chosen
        .lines()
        .filter(|line| !line.contains("\"end\""))
        .map(|line| format!("{line}\n"))
        .collect();
    let cut = machine.run_with(&line, &cut).expect(1);
    assert!(cut.records_of("end").is_empty());

    let rest = pull(&machine, &[]).expect(0);
    assert_eq!(rest.records_of("file").len(), FILES - 2);
}

#[test]
fn the_server_side_selection_narrows_and_a_name_needs_keys() {
    let (museum, machine) = golden();
    let album = museum.with_library(|_| 13).to_string();
    let one = pull(&machine, &["--album", &album]).expect(0);
    let files = one.records_of("file");
    assert!(!files.is_empty() && files.len() < FILES);
    for file in &files {
        for placement in file["placements"].as_array().unwrap() {
            assert_eq!(placement["collection"], 13);
        }
    }
    let unknown = pull(&machine, &["--album", "Vacation*"]).expect(2);
    assert!(
        unknown.stderr.contains("ente-meta --album 'Vacation*'"),
        "{}",
        unknown.stderr
    );
    let _ = pull(&machine, &["--no-shared"]).expect(0);
    let rest = pull(&machine, &[]).expect(0);
    assert!(
        !rest.records_of("file").is_empty(),
        "shared albums were left out"
    );
}

#[test]
fn what_can_pass_is_tried_again_and_resumed() {
    let (museum, machine) = golden();
    let all = BTreeSet::from_iter(golden_objects().into_keys());
    museum.inject(Match::object(101), Fault::Cut { after: 3_000 }, Some(1));
    museum.inject(Match::object(102), Fault::Status(503), Some(1));
    museum.inject(Match::object(103), Fault::ExpiredLink, Some(1));
    museum.inject(
        Match::download(104),
        Fault::TooManyRequests {
            retry_after_s: None,
        },
        Some(1),
    );
    museum.inject(
        Match::path(Match::api(), "/collections/v2/diff"),
        Fault::Status(500),
        Some(1),
    );
    let _ = pull(&machine, &["--objects", "keep"]).expect(0);
    assert_eq!(objects(&machine), golden_objects());
    assert_eq!(museum.fetched_objects(), all);
    let ranges: Vec<_> = museum
        .requests()
        .iter()
        .filter_map(|request| request.header("range").map(str::to_owned))
        .collect();
    assert_eq!(ranges, ["bytes=3000-"]);
}

#[test]
fn a_part_of_an_earlier_run_is_taken_up() {
    let (museum, machine) = golden();
    for id in [101, 102, 103] {
        museum.inject(Match::object(id), Fault::Cut { after: 2_000 }, Some(1));
    }
    museum.inject(Match::object(102).skip(1), Fault::IgnoreRange, None);
    let failed = pull(&machine, &["--objects", "keep", "--retries", "0"]).expect(3);
    assert_eq!(classes(&failed), ["interrupted"; 3]);
    assert_eq!(partials(&machine), 3);
    // One is complete, as if killed before its rename; one is longer than the object can be.
    let part = |id: i64| {
        let dir = fs::read_dir(machine.export.join(".ente/partial"))
            .unwrap()
            .flatten();
        let name = format!("get-{id}-");
        dir.map(|entry| entry.path())
            .find(|path| {
                path.file_name()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .starts_with(&name)
            })
            .unwrap()
    };
    fs::copy(golden_object(103), part(103)).unwrap();
    museum.reset_log();
    let again = pull(&machine, &[]).expect(0);
    assert_eq!(
        changed_words(&again).into_keys().collect::<Vec<_>>(),
        [101, 102, 103]
    );
    assert_eq!(objects(&machine), golden_objects());
    assert_eq!(museum.fetched_objects(), BTreeSet::from([101, 102]));
    assert_eq!(partials(&machine), 0);
}

#[test]
fn what_is_not_the_listed_object_is_never_stored() {
    let (museum, machine) = golden();
    museum.inject(Match::object(101), Fault::WrongLength(10), None);
    museum.inject(
        Match::object(102),
        Fault::Answer {
            status: 200,
            content_type: "application/octet-stream",
            body: String::new(),
        },
        None,
    );
    museum.inject(
        Match::object(103),
        Fault::Answer {
            status: 200,
            content_type: "text/html",
            body: "<p>".into(),
        },
        None,
    );
    museum.inject(Match::download(104), Fault::Status(404), None);
    museum.inject(Match::object(105), Fault::ExpiredLink, None);
    let failed = pull(&machine, &["--objects", "keep", "--retries", "1"]).expect(3);
    let classes: BTreeMap<i64, String> = failed
        .records_of("problem")
        .iter()
        .map(|problem| {
            (
                problem["file"].as_i64().unwrap(),
                problem["class"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let expected = [
        (101, "size-mismatch"),
        (102, "size-mismatch"),
        (103, "unexpected-answer"),
        (104, "not-found"),
        (105, "forbidden"),
    ];
    assert_eq!(
        classes,
        expected.map(|(id, class)| (id, class.to_owned())).into()
    );
    assert_eq!(objects(&machine).len(), FILES - 5);
    let requests = museum.requests();
    let refused = requests
        .iter()
        .filter(|request| request.path.ends_with("/download/104"));
    assert_eq!(
        refused.count(),
        1,
        "what was refused for good is not asked again"
    );
    assert!(
        !failed.stdout.contains("X-Amz-Signature") && !failed.stderr.contains("X-Amz-Signature")
    );
    museum.clear_faults();
    museum.reset_log();
    let _ = pull(&machine, &[]).expect(0);
    assert_eq!(
        museum.fetched_objects(),
        BTreeSet::from([101, 102, 103, 104, 105])
    );
    assert_eq!(objects(&machine), golden_objects());
}

#[test]
fn a_listing_that_lacks_too_much_removes_nothing() {
    let (museum, machine) = golden();
    let _ = pull(&machine, &["--objects", "keep"]).expect(0);
    let before = folded(&machine.export);
    museum.inject(
        Match::api().path("/collections/v2"),
        Fault::Answer {
            status: 200,
            content_type: "application/json",
            body: r#"{"collections":[]}"#.into(),
        },
        // Each run asks twice, as the export rested.
        Some(8),
    );
    let held = pull(&machine, &[]).expect(3);
    assert_eq!(classes(&held), ["removals-held-back"]);
    let hint = &held.records_of("problem")[0]["hint"];
    assert!(hint.as_str().unwrap().contains("--max-remove 101 "));
    assert!(
        held.stderr.contains("nothing was removed") || held.stdout.contains("nothing was removed")
    );
    assert_eq!(folded(&machine.export), before);
    // A brake is no word, however few files there are.
    for brake in ["27", "100"] {
        let _ = pull(&machine, &["--max-remove", brake]).expect(3);
        assert_eq!(folded(&machine.export), before);
    }
    let _ = pull(&machine, &["--max-remove", "101"]).expect(0);
    assert!(objects(&machine).is_empty());
    // They were there all the time: back from the trash, without a download.
    museum.reset_log();
    let back = pull(&machine, &[]).expect(0);
    assert_eq!(back.records_of("file").len(), FILES);
    assert_eq!(objects(&machine), golden_objects());
    assert!(museum.fetched_objects().is_empty());
}

#[test]
fn an_album_that_cannot_be_listed_keeps_its_old_state() {
    let (museum, machine) = golden();
    let _ = pull(&machine, &[]).expect(0);
    let before = folded(&machine.export);
    museum.inject(
        Match::api().path("/collections/v2/diff"),
        Fault::Status(404),
        None,
    );
    let failed = pull(&machine, &["--full"]).expect(3);
    assert!(classes(&failed).iter().all(|class| class == "not-found"));
    let mut after = folded(&machine.export);
    for (key, fact) in &mut after {
        if key.starts_with("pull collection ") {
            assert_eq!(fact["synced"], 0, "{key}");
            fact["synced"] = before[key]["synced"].clone();
        }
    }
    assert_eq!(after, before);
}

#[test]
fn a_file_that_moved_to_an_album_that_cannot_be_listed_is_not_removed() {
    // One of the two albums, whichever is asked for first.
    for unharmed in [0, 1] {
        let (museum, machine) = made_up();
        let (file, from, to) = museum.with_library(|library| {
            let live = library.live_mut();
            let (from, to) = (live.create_album("from"), live.create_album("to"));
            (live.upload(from, photo("moved.jpg")), from, to)
        });
        let _ = pull(&machine, &[]).expect(0);
        museum.with_library(|library| library.live_mut().move_to(file, from, to));
        museum.inject(
            Match::api().path("/collections/v2/diff").skip(unharmed),
            Fault::Status(404),
            Some(1),
        );
        let failed = pull(&machine, &[]).expect(3);
        assert!(classes(&failed).contains(&"not-found".to_owned()));
        let changed = changed_words(&failed);
        assert!(
            changed.values().all(|words| words != "removed"),
            "{changed:?}"
        );
        museum.reset_log();
        let _ = pull(&machine, &[]).expect(0);
        assert!(museum.fetched_objects().is_empty());
    }
}

#[test]
fn an_ended_session_says_what_to_type() {
    let (museum, machine) = golden();
    museum.revoke_tokens();
    let outcome = pull(&machine, &[]).expect(10);
    assert!(
        outcome
            .stderr
            .contains("ente-login --endpoint http://127.0.0.1:"),
        "{}",
        outcome.stderr
    );
    assert!(!machine.export.exists());
    drop(museum);
    let outcome = pull(&machine, &["--retries", "0"]).expect(13);
    assert!(outcome.stderr.contains("hint:"), "{}", outcome.stderr);
}

#[test]
fn spooled_objects_that_nobody_wants_any_more_are_removed() {
    let (museum, machine) = golden();
    let _ = pull(&machine, &[]).expect(0);
    switch(&museum);
    let second = pull(&machine, &[]).expect(0);
    let removed: Vec<i64> = second
        .records_of("file")
        .iter()
        .filter(|file| file["object"] == "none")
        .map(|file| file["id"].as_i64().unwrap())
        .collect();
    assert!(!removed.is_empty());
    let left = objects(&machine);
    assert!(removed.iter().all(|id| !left.contains_key(id)));
    assert!(!machine.export.join(".ente/trash").exists());
    assert_eq!(
        left.len(),
        walkdir::WalkDir::new(machine.export.join(".ente/objects"))
            .into_iter()
            .flatten()
            .filter(|entry| entry.file_type().is_file())
            .count()
    );
}

#[test]
fn watching_goes_round_until_its_time_is_up() {
    let (_museum, machine) = golden();
    let watched = pull(&machine, &["--watch", "0s", "--max-duration", "3s"]).expect(0);
    assert!(watched.records_of("round").len() > 1);
    assert_eq!(watched.records_of("begin").len(), 1);
    assert_eq!(watched.records().pop().unwrap()["type"], "end");
}

#[test]
fn watching_ends_as_the_last_round_did() {
    let (mut museum, machine) = golden();
    let mut child = machine
        .command(&[
            "ente-pull",
            "--retries",
            "0",
            "--watch",
            "1s",
            "--max-duration",
            "5s",
            machine.dir(),
        ])
        .spawn()
        .unwrap();
    let (mut last, mut rounds) = (Value::Null, 0);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        last = serde_json::from_str(&line.unwrap()).unwrap();
        if last["type"] == "round" {
            rounds += 1;
            museum.kill();
        }
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(13));
    assert_eq!(last["type"], "round", "it was not complete");
    assert_eq!(rounds, 1, "those after it printed nothing");
}

#[test]
fn a_round_that_failed_counts_and_begins_like_any_other() {
    let (museum, machine) = golden();
    let away = Fault::RedirectTo("http://127.0.0.1:1/gone".into());
    museum.inject(Match::api().path("/files/download"), away, Some(10));
    let options = ["--retries", "0", "--jobs", "1", "--watch", "1s"];
    let options = [&options[..], &["--max-duration", "5s"]].concat();
    let watched = pull(&machine, &options).expect(3);
    assert_eq!(watched.records_of("begin").len(), 1);
    let end = watched.records().pop().unwrap();
    assert_eq!(end["type"], "end");
    let told = watched.records_of("problem").len();
    assert!(told > 0);
    assert_eq!(end["counts"]["ente-pull"]["problems"], told);
    // The stages behind need not hold what they hold until the network is back.
    let first = &watched.records_of("round")[0];
    assert_eq!(first["counts"]["ente-pull"]["problems"], told);
    assert_eq!(objects(&machine), golden_objects());
}

#[test]
fn an_export_that_vanishes_while_it_is_watched_is_not_begun_anew() {
    let (_museum, machine) = golden();
    let line = ["ente-pull", "--watch", "1s", "--max-duration", "20s"];
    let mut child = machine
        .command(&[&line[..], &[machine.dir()]].concat())
        .spawn()
        .unwrap();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let record: Value = serde_json::from_str(&line.unwrap()).unwrap();
        if record["type"] == "round" && machine.export.join(".ente").exists() {
            // As when its disk is unmounted, and the mount point stays.
            fs::rename(&machine.export, machine.home().join("away")).unwrap();
            fs::create_dir(&machine.export).unwrap();
        }
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("mount"));
    assert!(!machine.export.join(".ente").exists());
}

#[test]
fn ctrl_c_keeps_what_came_and_the_next_run_goes_on() {
    let (museum, machine) = golden();
    let stall = Fault::StallBody { after: 1_000 };
    museum.inject(Match::object(120), stall, None);
    let mut child = machine
        .command(&["ente-pull", "--objects", "keep", machine.dir()])
        .spawn()
        .unwrap();
    let mut files = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let record: Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert_ne!(record["type"], "end", "it was not complete");
        files += usize::from(record["type"] == "file");
        if files == FILES - 1 {
            let pid = child.id().to_string();
            let _ = Command::new("kill").args(["-INT", &pid]).status().unwrap();
        }
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(output.stderr.is_empty());
    assert_eq!(objects(&machine).len(), FILES - 1);
    assert!(!machine.export.join(".ente/pull.lock").exists());
    museum.clear_faults();
    museum.reset_log();
    let rest = pull(&machine, &[]).expect(0);
    assert_eq!(
        changed_words(&rest),
        BTreeMap::from([(120, "pending".to_owned())])
    );
    let ranges: Vec<_> = museum
        .requests()
        .iter()
        .filter_map(|request| request.header("range").map(str::to_owned))
        .collect();
    assert_eq!(ranges, ["bytes=1000-"]);
    assert_eq!(objects(&machine), golden_objects());
}

#[test]
fn the_number_of_downloads_and_the_rate_are_kept() {
    let (museum, machine) = golden();
    let _ = pull(&machine, &["--jobs", "1", "--bwlimit", "100M"]).expect(0);
    assert_eq!(
        museum.connections(Origin::Store),
        1,
        "one at a time needs one connection"
    );
    assert_eq!(objects(&machine), golden_objects());
    let _ = pull(&machine, &["--jobs", "0"]).expect(2);
    let _ = pull(&machine, &["--bwlimit", "fast"]).expect(2);
    let _ = pull(&machine, &["--watch", "soon"]).expect(2);
    let refetch = pull(&machine, &["--refetch", "101", "--refetch", "999"]).expect(3);
    assert_eq!(classes(&refetch), ["not-listed"]);
    assert_eq!(
        changed_words(&refetch).into_keys().collect::<Vec<_>>(),
        [101]
    );
}

/// A small account whose contents can be changed.
pub(crate) fn made_up() -> (Museum, Machine) {
    let library = Library::generate(&GenerateOptions {
        files: 30,
        albums: 4,
        photo_bytes: 2_000..4_000,
        video_bytes: 4_000..8_000,
        ..GenerateOptions::default()
    });
    let options = GenerateOptions::default();
    let museum = Museum::start(library, Options::default());
    let machine = crate::machine();
    let _ = machine
        .sign_in(museum.api_url(), &options.email, &options.password)
        .expect(0);
    (museum, machine)
}

pub(crate) fn photo(title: &str) -> NewFile {
    NewFile::new(title, Content::Bytes(0, vec![7; 1_000].into()))
}

#[test]
fn pages_of_any_size_and_equal_times_lose_nothing() {
    for page_size in [1, 2, 7] {
        let library = Library::golden(GoldenState::Initial);
        let museum = Museum::start(
            library,
            Options {
                page_size,
                ..Options::default()
            },
        );
        let machine = crate::machine();
        let _ = machine
            .sign_in(museum.api_url(), crate::EMAIL, crate::PASSWORD)
            .expect(0);
        let listed = pull(&machine, &["--list"]).expect(0);
        assert_eq!(listed.records_of("file").len(), FILES, "{page_size}");
    }
}

#[test]
fn a_change_that_became_visible_late_is_found() {
    let (museum, machine) = made_up();
    let _ = pull(&machine, &[]).expect(0);
    let late = museum.with_library(|library| {
        let live = library.live_mut();
        let album = live.create_album("late");
        let before = live.now_us();
        let _ = live.upload(album, photo("in time.jpg"));
        (album, before)
    });
    let _ = pull(&machine, &[]).expect(0);
    let (album, before) = late;
    let id = museum.with_library(|library| {
        library.live_mut().at(before - 60_000_000, |live| {
            live.upload(album, photo("late.jpg"))
        })
    });
    let words = changed_words(&pull(&machine, &[]).expect(0));
    assert_eq!(words, BTreeMap::from([(id, "new".to_owned())]));
}

#[test]
fn an_album_of_somebody_else_that_vanishes_takes_its_files_along() {
    let (museum, machine) = made_up();
    let (album, id) = museum.with_library(|library| {
        let live = library.live_mut();
        let album = live.share_in("bob@example.org", "Bob's");
        (album, live.upload(album, photo("bob.jpg")))
    });
    let _ = pull(&machine, &[]).expect(0);
    museum.with_library(|library| library.live_mut().vanish(album));
    // Once is no proof.
    let missing = pull(&machine, &[]).expect(3);
    assert_eq!(classes(&missing), ["album-missing"]);
    assert!(missing.records_of("file").is_empty());
    let gone = pull(&machine, &[]).expect(0);
    assert_eq!(
        changed_words(&gone),
        BTreeMap::from([(id, "removed".to_owned())])
    );
    assert_eq!(gone.records_of("collection")[0]["change"], "gone");
    assert_eq!(
        gone.records_of("file")[0]["placements"],
        json!([{"collection": album, "gone": true}])
    );
    assert!(pull(&machine, &[]).expect(0).records_of("file").is_empty());
}

#[test]
fn an_entry_that_cannot_be_read_stays_a_problem_until_it_can() {
    let (museum, machine) = made_up();
    let (album, id) = museum.with_library(|library| {
        let live = library.live_mut();
        let album = live.create_album("odd");
        let _ = live.upload(album, photo("good.jpg"));
        (album, live.upload(album, photo("odd.jpg")))
    });
    museum.with_library(|library| library.patch_row(album, id, json!({"ownerID": "nobody"})));
    let first = pull(&machine, &[]).expect(3);
    assert_eq!(classes(&first), ["unreadable-entry"]);
    assert!(!changed_words(&first).contains_key(&id));
    let again = pull(&machine, &[]).expect(3);
    assert_eq!(classes(&again), ["unreadable-entry"]);
    assert!(again.records_of("file").is_empty());
    museum.with_library(|library| library.patch_row(album, id, Value::Null));
    let words = changed_words(&pull(&machine, &[]).expect(0));
    assert_eq!(words, BTreeMap::from([(id, "new".to_owned())]));
}

#[test]
fn an_object_replaced_while_it_is_fetched_is_listed_again() {
    let (museum, machine) = made_up();
    let id = museum.with_library(|library| {
        let live = library.live_mut();
        let album = live.create_album("busy");
        live.upload(album, photo("one.jpg"))
    });
    let _ = pull(&machine, &[]).expect(0);
    // Replaced without any sign in the album's time, as far as a stale listing can tell.
    museum.inject(Match::object(id), Fault::WrongLength(5), Some(1));
    let failed = pull(&machine, &["--refetch", &id.to_string()]).expect(3);
    assert_eq!(classes(&failed), ["size-mismatch"]);
    museum.reset_log();
    let _ = pull(&machine, &[]).expect(0);
    let diffs = museum
        .requests()
        .iter()
        .filter(|request| request.path.ends_with("/diff"))
        .count();
    assert_eq!(diffs, 1, "only the album concerned");
    museum.reset_log();
    let _ = pull(&machine, &[]).expect(0);
    assert_eq!(
        museum.requests().len(),
        1,
        "what is at hand is no failure any more"
    );
}
