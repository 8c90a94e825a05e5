//! The golden account as the stages before leave it, and the sidecars and records that must come of it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod scratch;

use std::collections::BTreeMap;

use scratch::{Scratch, expected, read_json};
use serde_json::{Value, json};

const STATES: [&str; 2] = ["1-initial", "2-changed"];

/// The members of a sidecar that `expected.json` lists, in its form.
fn told(sidecar: &Value) -> Value {
    let mut told = json!({});
    for name in ["photoTakenTime", "modificationTime"] {
        if let Some(timestamp) = sidecar.pointer(&format!("/{name}/timestamp")) {
            told[name] = timestamp.clone();
        }
    }
    for name in ["description", "geoData", "favorited"] {
        if let Some(value) = sidecar.get(name) {
            told[name] = value.clone();
        }
    }
    told
}

fn check_sidecars(scratch: &Scratch, state: &str) {
    let mut paths = Vec::new();
    for row in expected(state) {
        for (index, part) in row["parts"].as_array().unwrap().iter().enumerate() {
            let album = row["album"].as_str().unwrap();
            let path = format!("{album}/metadata/{}.json", part["name"].as_str().unwrap());
            let sidecar = read_json(&scratch.path(&path));
            assert_eq!(told(&sidecar), row["sidecar"], "{path}");
            assert_eq!(sidecar["ente"]["file"], row["fileID"]);
            assert_eq!(sidecar["ente"]["collection"], row["collectionID"]);
            assert_eq!(sidecar["ente"]["part"], index);
            paths.push(path);
        }
    }
    paths.sort();
    assert_eq!(scratch.sidecars(), paths, "nothing else is there");
}

#[test]
fn both_states_come_out_as_expected_and_a_rerun_changes_nothing() {
    let mut scratch = Scratch::new();
    for state in STATES {
        scratch.enter(state);
        let run = scratch.run(&["DIR"]);
        assert_eq!(run.exit(), 0, "{}", run.messages);
        check_sidecars(&scratch, state);

        let before = scratch.snapshot();
        let run = scratch.run(&["DIR"]);
        assert_eq!(run.exit(), 0);
        assert_eq!(run.of("file").count(), 0, "nothing is pending");
        assert_eq!(scratch.snapshot(), before);
    }
}

#[test]
fn a_pipe_writes_what_a_plain_run_writes() {
    let mut plain = Scratch::new();
    let mut piped = Scratch::new();
    for state in STATES {
        plain.enter(state);
        plain.run(&["DIR"]);
        piped.enter(state);
        let run = piped.pipe(&["-"], &piped.records("all"));
        assert_eq!(run.exit(), 0, "{}", run.messages);
        assert_eq!(run.of("end").count(), 1);
        check_sidecars(&piped, state);
        assert_eq!(plain.tree(), piped.tree());
        assert_eq!(plain.recorded(), piped.recorded());
        for file in run.of("file") {
            assert!(file["metadata"]["title"].is_string());
            for placement in file["placements"].as_array().unwrap() {
                for part in placement["parts"].as_array().into_iter().flatten() {
                    let sidecar = part["sidecar"].as_str().unwrap();
                    assert!(piped.path(sidecar).is_file(), "{sidecar}");
                }
            }
        }
    }
}

#[test]
fn only_what_changed_is_written_again() {
    let mut scratch = Scratch::new();
    scratch.enter("1-initial");
    scratch.run(&["DIR"]);
    scratch.enter("2-changed");
    let run = scratch.run(&["DIR"]);
    let mut pending: Vec<i64> = run
        .of("file")
        .map(|file| file["id"].as_i64().unwrap())
        .collect();
    pending.sort_unstable();
    // The album that was renamed (13), what was moved or edited in it, what left or entered an album.
    assert!(pending.contains(&101) && pending.contains(&127));
    for untouched in [107, 112, 118, 119, 122, 126] {
        assert!(!pending.contains(&untouched), "{untouched}");
    }
}

#[test]
fn records_tell_what_is_in_a_file() {
    let mut scratch = Scratch::new();
    scratch.enter("1-initial");
    let before = scratch.snapshot();
    let run = scratch.run(&["--print", "DIR"]);
    assert_eq!(run.exit(), 0, "{}", run.messages);
    assert_eq!(scratch.snapshot(), before, "nothing is written");
    assert_eq!(run.records[0]["scope"], "listing");
    let file = |id: i64| run.of("file").find(|file| file["id"] == id).unwrap();
    let grandma = &file(104)["metadata"];
    assert_eq!(grandma["title"], "Grandma's birthday.jpg");
    assert_eq!(grandma["caption"], "Cake, \"candles\" & naïve café 🎂");
    assert_eq!(grandma["taken"], "2021-02-18T12:00:00.000000Z");
    assert_eq!(grandma["albums"], json!(["Family"]));
    assert_eq!(
        file(101)["metadata"]["albums"],
        json!(["Vacation 2024", "Best Photos"])
    );
    assert_eq!(file(105)["metadata"]["type"], "live-photo");
    assert_eq!(file(106)["metadata"]["type"], "video");
    assert_eq!(file(118)["metadata"]["visibility"], "hidden");
    assert_eq!(file(119)["metadata"]["visibility"], "archived");
    assert_eq!(file(125)["metadata"]["favorite"], true);
    assert_eq!(file(104)["metadata"]["favorite"], false);
    let names = run.of("collection").map(|record| &record["name"]);
    assert!(names.into_iter().any(|name| name == "Anna's Wedding 💍"));
}

#[test]
fn a_listing_is_told_from_records_alone() {
    let mut scratch = Scratch::new();
    scratch.enter("1-initial");
    let records = scratch.records("listing");
    scratch.forget();
    let run = scratch.pipe(&["-"], &records);
    assert_eq!(run.exit(), 0, "{}", run.messages);
    assert_eq!(run.records[0]["scope"], "listing");
    let mut files = 0;
    for file in run.of("file") {
        assert!(file["metadata"]["title"].is_string(), "{file}");
        files += 1;
    }
    assert!(files > 20);
    assert!(!scratch.path(".ente").exists());
}

#[test]
fn a_filter_narrows_placements_and_the_scope() {
    let mut scratch = Scratch::new();
    scratch.enter("1-initial");
    let records = scratch.records("all");
    let run = scratch.pipe(
        &["--album", "vacation 2024", "--type", "image", "-"],
        &records,
    );
    assert_eq!(run.exit(), 0, "{}", run.messages);
    assert_eq!(run.records[0]["scope"], "only");
    let files: Vec<i64> = run
        .of("file")
        .map(|file| file["id"].as_i64().unwrap())
        .collect();
    assert_eq!(files, [101, 102, 103, 121, 122]);
    for file in run.of("file") {
        let placements = file["placements"].as_array().unwrap();
        assert!(
            placements
                .iter()
                .all(|p| p["collection"] == 13 || p["collection"] == 16)
        );
    }
    assert_eq!(run.of("collection").count(), 2);
    assert!(!scratch.path("Best Photos/metadata").exists());
    assert!(
        scratch
            .path("Vacation 2024/metadata/photo1.jpg.json")
            .is_file()
    );

    for (args, ids) in [
        (&["--favorites", "-"][..], &[125][..]),
        (&["--type", "live-photo", "-"], &[105, 113, 132]),
        (&["--until", "1999-12-31", "-"], &[122]),
        (
            &["--since", "2024-06-20", "--until", "2024-06-21", "-"],
            &[131, 132],
        ),
        (&["--album", "nowhere", "-"], &[]),
    ] {
        let run = scratch.pipe(args, &scratch.records("listing"));
        assert_eq!(run.records[0]["scope"], "listing");
        let files: Vec<i64> = run
            .of("file")
            .map(|file| file["id"].as_i64().unwrap())
            .collect();
        assert_eq!(files, ids, "{args:?}");
        assert_eq!(
            run.messages.contains("no album is called `nowhere`"),
            ids.is_empty()
        );
    }
}

#[test]
fn sidecars_move_where_the_setting_wants_them() {
    let mut scratch = Scratch::new();
    scratch.enter("1-initial");
    scratch.run(&["DIR"]);
    let contents = |scratch: &Scratch| {
        let mut contents: Vec<_> = scratch.tree().into_values().collect();
        contents.sort();
        contents
    };
    let in_metadata = scratch.tree();
    let all = contents(&scratch);
    let run = scratch.run(&["--sidecars", "beside", "DIR"]);
    assert_eq!(run.exit(), 0, "{}", run.messages);
    assert!(scratch.path("Family/favourite.jpg.json").is_file());
    assert!(!scratch.path("Family/metadata").exists());
    assert_eq!(contents(&scratch), all);
    assert_eq!(scratch.run(&["DIR"]).of("file").count(), 0);

    std::fs::write(scratch.path("Family/favourite.jpg.json"), "mine").unwrap();
    let run = scratch.run(&["--sidecars", "none", "DIR"]);
    assert!(run.messages.contains("left alone 1"), "{}", run.messages);
    assert_eq!(scratch.sidecars(), ["Family/favourite.jpg.json"]);
    assert_eq!(scratch.run(&["DIR"]).of("file").count(), 0);
    std::fs::remove_file(scratch.path("Family/favourite.jpg.json")).unwrap();

    scratch.run(&["--sidecars", "metadata", "DIR"]);
    assert_eq!(scratch.tree(), in_metadata);
}

#[test]
fn what_the_user_edited_is_left_alone() {
    let mut scratch = Scratch::new();
    scratch.enter("1-initial");
    std::fs::create_dir_all(scratch.path("Family/metadata")).unwrap();
    std::fs::write(
        scratch.path("Family/metadata/favourite.jpg.json"),
        "in the way",
    )
    .unwrap();
    let run = scratch.run(&["DIR"]);
    assert_eq!(run.exit(), 0);
    assert!(run.messages.contains("left alone 1"), "{}", run.messages);
    assert_eq!(
        scratch.text("Family/metadata/favourite.jpg.json"),
        "in the way"
    );

    // 102 gets a caption in the second state.
    std::fs::write(
        scratch.path("Vacation 2024/metadata/photo2.jpg.json"),
        "edited",
    )
    .unwrap();
    scratch.enter("2-changed");
    let run = scratch.pipe(&["-"], &scratch.records("all"));
    assert!(run.messages.contains("left alone 2"), "{}", run.messages);
    let path = "Vacation 2024 (Italy)/metadata/photo2.jpg.json";
    assert_eq!(scratch.text(path), "edited");
    std::fs::remove_file(scratch.path(path)).unwrap();
    std::fs::remove_file(scratch.path("Family/metadata/favourite.jpg.json")).unwrap();
    assert_eq!(scratch.run(&["DIR"]).messages, "");
    check_sidecars(&scratch, "2-changed");
}

#[test]
fn a_killed_run_is_finished_by_the_next() {
    let mut scratch = Scratch::new();
    scratch.enter("1-initial");
    scratch.run(&["DIR"]);
    let before = scratch.tree();
    let partial = |name: &str| scratch.path(&format!(".ente/partial/{name}"));
    // The fact stands, the rename did not happen.
    let sidecar = scratch.path("Family/metadata/favourite.jpg.json");
    std::fs::rename(&sidecar, partial("meta-14-125-0")).unwrap();
    // The fact was not written.
    std::fs::write(partial("meta-13-101-0"), "half").unwrap();
    // `ente-decrypt` was moving these, one of them edited.
    let moving = scratch.path("Camera/metadata/IMG.JPG.json");
    std::fs::rename(moving, partial("sidecar-24-114-0")).unwrap();
    let moving = scratch.path("Camera/metadata/img_1.jpg.json");
    std::fs::remove_file(&moving).unwrap();
    std::fs::write(partial("sidecar-24-115-0"), "edited").unwrap();
    std::fs::write(partial("tmp-7"), "not ours").unwrap();
    let img_1 = "Camera/metadata/img_1.jpg.json".to_owned();
    let before = BTreeMap::from_iter(before.into_iter().chain([(img_1, b"edited".to_vec())]));
    scratch.run(&["DIR"]);
    assert_eq!(scratch.tree(), before);
    let left = std::fs::read_dir(scratch.path(".ente/partial")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["tmp-7"]);

    // In a pipe the same holds for what is about to change: 102 gets a caption.
    let sidecar = scratch.path("Vacation 2024/metadata/photo2.jpg.json");
    std::fs::copy(&sidecar, scratch.path(".ente/partial/meta-13-102-0")).unwrap();
    std::fs::remove_file(scratch.path("Camera/metadata/img_1.jpg.json")).unwrap();
    scratch.enter("2-changed");
    let run = scratch.pipe(&["-"], &scratch.records("all"));
    assert_eq!(run.messages, "");
    let sidecar = read_json(&scratch.path("Vacation 2024 (Italy)/metadata/photo2.jpg.json"));
    assert_eq!(sidecar["caption"], "now with a caption");
}

#[test]
fn importers_find_numbered_and_edited_names() {
    let mut scratch = Scratch::new();
    scratch.enter("1-initial");
    scratch.rename_part(24, 111, "IMG(1).jpg");
    scratch.rename_part(24, 110, "IMG-edited.JPG");
    scratch.rename_part(14, 104, "cake-edited.jpg");
    scratch.run(&["DIR"]);
    let second = scratch.text("Camera/metadata/IMG.jpg(1).json");
    assert_eq!(second, scratch.text("Camera/metadata/IMG(1).jpg.json"));
    assert!(scratch.path("Family/metadata/cake.jpg.json").is_file());
    // `IMG.JPG` is a file of its own: its sidecar comes first.
    let first = read_json(&scratch.path("Camera/metadata/IMG.JPG.json"));
    assert_eq!(first["ente"]["file"], 114);

    // `cake.jpg` comes: the second sidecar gives way to its first.
    scratch.rename_part(14, 106, "cake.jpg");
    let run = scratch.run(&["DIR"]);
    assert_eq!(run.messages, "");
    let first = read_json(&scratch.path("Family/metadata/cake.jpg.json"));
    assert_eq!(first["ente"]["file"], 106);
    assert_eq!(scratch.run(&["DIR"]).of("file").count(), 0);
}

#[test]
fn one_that_does_not_open_is_a_problem_and_the_rest_goes_on() {
    let mut scratch = Scratch::new();
    scratch.enter("1-initial");
    scratch.spoil(102);
    let run = scratch.pipe(&["-"], &scratch.records("all"));
    assert_eq!(run.exit(), 3);
    let problems: Vec<_> = run.of("problem").collect();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0]["class"], "undecryptable");
    assert_eq!(problems[0]["file"], 102);
    let record = run.of("file").find(|file| file["id"] == 102).unwrap();
    assert!(record.get("metadata").is_none());
    assert!(
        !scratch
            .path("Vacation 2024/metadata/photo2.jpg.json")
            .exists()
    );
    assert!(
        scratch
            .path("Vacation 2024/metadata/photo1.jpg.json")
            .exists()
    );
}

#[test]
fn cut_input_and_problems_of_others_are_passed_on() {
    let mut scratch = Scratch::new();
    scratch.enter("1-initial");
    let records = scratch.records("all");
    let (cut, _) = records.split_at(records.len() - 3);
    let run = scratch.pipe(&["-"], cut);
    assert_eq!(run.exit(), 1);
    assert_eq!(run.of("end").count(), 0);
    let mut records = records;
    records.insert(1, json!({"v": 1, "type": "problem", "class": "x"}));
    records.insert(1, json!({"v": 1, "type": "from the future", "mine": [1]}));
    let run = scratch.pipe(&["-"], &records);
    assert_eq!(run.exit(), 3);
    assert_eq!(run.of("from the future").count(), 1);
}

#[test]
fn what_ended_passes_every_filter() {
    let mut scratch = Scratch::new();
    scratch.enter("1-initial");
    let mut records = scratch.records("all");
    let gone = json!({"v": 1, "type": "file", "id": 7, "change": ["removed"],
        "placements": [{"collection": 13, "gone": true}], "mine": true});
    let moved = records
        .iter()
        .position(|record| record["id"] == 101)
        .unwrap();
    let left = json!({"collection": 99, "gone": true});
    records[moved]["placements"]
        .as_array_mut()
        .unwrap()
        .push(left);
    records.insert(moved, gone.clone());
    let run = scratch.pipe(&["--album", "best*", "-"], &records);
    assert_eq!(run.exit(), 0);
    let files: Vec<&Value> = run.of("file").collect();
    assert_eq!(files.len(), 2);
    assert_eq!(files[0], &gone, "nothing to be told of it");
    let placements = files[1]["placements"].as_array().unwrap();
    let collections: Vec<_> = placements
        .iter()
        .map(|placement| &placement["collection"])
        .collect();
    assert_eq!(collections, [15, 99]);
}

#[test]
fn a_round_is_passed_on_when_all_of_it_is_done() {
    let mut scratch = Scratch::new();
    scratch.enter("1-initial");
    let end = json!({"v": 1, "type": "end"});
    let begin = scratch.records("all").remove(0);
    let run = scratch.pipe(&["-"], &[begin, json!({"v": 1, "type": "round"}), end]);
    let kinds: Vec<_> = run
        .records
        .iter()
        .map(|record| record["type"].as_str().unwrap())
        .collect();
    let round = kinds.iter().position(|kind| *kind == "round").unwrap();
    assert_eq!(round, kinds.len() - 2, "before it, what was pending");
    assert!(
        run.of("file")
            .all(|file| file["change"] == json!(["pending"]))
    );
    check_sidecars(&scratch, "1-initial");
}

#[test]
fn a_listing_takes_no_setting() {
    let mut scratch = Scratch::new();
    scratch.enter("1-initial");
    let run = scratch.pipe(&["--sidecars", "beside", "-"], &scratch.records("listing"));
    assert_eq!(run.exit(), 2);
}

#[test]
fn edits_that_do_not_open_are_told_in_every_run() {
    let mut scratch = Scratch::new();
    scratch.enter("1-initial");
    scratch.spoil_edits(104);
    for written in [1, 0] {
        let run = scratch.run(&["DIR"]);
        assert_eq!(run.exit(), 3);
        let problem = run.of("problem").next().unwrap();
        assert_eq!(problem["file"], 104);
        let records = run.of("file").filter(|file| file["id"] == 104);
        assert_eq!(records.count(), written);
    }
    assert!(
        scratch
            .path("Family/metadata/Grandma's birthday.jpg.json")
            .exists()
    );
}

#[test]
fn keys_of_another_account_are_refused() {
    let mut scratch = Scratch::new();
    scratch.enter("1-initial");
    scratch.sign_in_another();
    let before = scratch.snapshot();
    assert_eq!(
        scratch.run(&["--account", "eve@example.org", "DIR"]).exit(),
        12
    );
    let mut records = scratch.records("all");
    records[0]["account"]["user_id"] = json!(4);
    assert_eq!(scratch.pipe(&["-"], &records).exit(), 12);
    scratch.sign_out("golden@example.org");
    assert_eq!(scratch.run(&["DIR"]).exit(), 12);
    scratch.sign_out("eve@example.org");
    assert_eq!(scratch.run(&["DIR"]).exit(), 10);
    assert_eq!(scratch.snapshot(), before);
}
