//! `ente-verify` in pipes: what it finds with each of its options, and that the others put it right.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use ente_tests::harness::{Machine, Outcome, assert_golden, expect_all, folded};
use ente_tests::journal::summed;
use ente_tests::library::GoldenState;
use serde_json::Value;

use crate::{expected, golden};

/// All objects of an export, sorted.
fn objects(export: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(export.join(".ente/objects")).unwrap();
    let mut objects: Vec<PathBuf> = folders
        .flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap())
        .map(|object| object.unwrap().path())
        .collect();
    objects.sort();
    objects
}

/// The file that an object is of.
fn id(object: &Path) -> i64 {
    let name = object.file_name().unwrap().to_str().unwrap();
    name.split('-').next().unwrap().parse().unwrap()
}

/// Flips one bit in the middle.
fn rot(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_mirror_heals_by_pipe_and_by_the_next_pull() {
    for spooled in [true, false] {
        let (museum, machine) = golden();
        let keep = if spooled { "spool" } else { "keep" };
        let pull = ["ente-pull", "--objects", keep, machine.dir()];
        expect_all(&[machine.run(&pull)], 0);
        let check = ["ente-verify", "--objects", machine.dir()];
        expect_all(&[machine.run(&check)], 0);
        let damage = || {
            let objects = objects(&machine.export);
            rot(&objects[1]);
            fs::remove_file(&objects[4]).unwrap();
            BTreeSet::from([id(&objects[1]), id(&objects[4])])
        };

        let broken = damage();
        museum.reset_log();
        let outcomes = machine.pipe(&[&check, &["ente-pull", "--only", "-", machine.dir()]]);
        assert_eq!([outcomes[0].code, outcomes[1].code], [4, 0], "{outcomes:?}");
        assert_eq!(museum.fetched_objects(), broken);
        expect_all(&[machine.run(&check)], 0);

        let broken = damage();
        assert_eq!(machine.run(&check).code, 4);
        museum.reset_log();
        expect_all(&[machine.run(&pull)], 0);
        assert_eq!(museum.fetched_objects(), broken);
        expect_all(&[machine.run(&check)], 0);

        expect_all(&machine.pipeline(), 0);
        assert_golden(&machine.export, &expected("1-initial"));
    }
}

fn against(machine: &Machine) -> Outcome {
    let outcomes = machine.pipe(&[
        &["ente-pull", "--list", machine.dir()],
        &["ente-verify", "--against", "-", machine.dir()],
    ]);
    assert_eq!(outcomes[0].code, 0, "{}", outcomes[0].stderr);
    outcomes.into_iter().next_back().unwrap()
}

#[test]
fn an_export_is_held_against_what_the_account_holds_now() {
    let (museum, machine) = golden();
    expect_all(&machine.pipeline(), 0);
    let _ = against(&machine).expect(0);
    museum.with_library(|library| library.switch_to(GoldenState::Changed));
    let before = folded(&machine.export);
    let behind = against(&machine).expect(4);
    assert_eq!(folded(&machine.export), before, "nothing is written");
    let findings = behind.records_of("finding");
    let with = |class: &str, cause: &str| -> BTreeSet<i64> {
        let is = |it: &&Value| it["class"] == class && it["cause"].as_str().unwrap_or("") == cause;
        findings
            .iter()
            .filter(is)
            .map(|it| it["file"].as_i64().unwrap())
            .collect()
    };
    assert_eq!(
        with("not-exported", "the account holds newer content"),
        BTreeSet::from([103])
    );
    assert!(with("not-exported", "").contains(&127), "{findings:?}");
    assert!(!with("not-exported", "the account holds newer metadata").is_empty());
    assert!(!with("extra", "the account no longer has it there").is_empty());

    // What was found is what the pipe brings.
    museum.reset_log();
    let feed = behind.stdout.clone();
    let pulled = machine
        .run_with(&["ente-pull", "--only", "-", machine.dir()], &feed)
        .expect(0);
    assert_eq!(museum.fetched_objects(), BTreeSet::from([103, 127]));
    let decrypted = machine
        .run_with(&["ente-decrypt", "-"], &pulled.stdout)
        .expect(0);
    let _ = machine
        .run_with(&["ente-meta", "-"], &decrypted.stdout)
        .expect(0);
    expect_all(&machine.pipeline(), 0);
    let _ = against(&machine).expect(0);
    assert_golden(&machine.export, &expected("2-changed"));
}

/// Rewrites an exported file and its fact as somebody would who wants nobody to notice.
fn forge(machine: &Machine, path: &str, forged: &[u8], hash: Option<&str>) {
    let file = machine.export.join(path);
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    let old = blake3::hash(&fs::read(&file).unwrap()).to_hex();
    fs::write(&file, forged).unwrap();
    fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(time)
        .unwrap();
    let journal = machine.export.join(".ente/decrypt.jsonl");
    let facts = fs::read_to_string(&journal).unwrap();
    let facts: String = facts
        .lines()
        .map(|line| {
            if !line.contains(old.as_str()) {
                return format!("{line}\n");
            }
            let mut fact: Value = serde_json::from_str(line).unwrap();
            let part = &mut fact["parts"][0];
            part["blake3"] = blake3::hash(forged).to_hex().as_str().into();
            part["size"] = forged.len().into();
            if let Some(hash) = hash {
                part["hash"] = hash.into();
            }
            format!("{fact}\n")
        })
        .collect();
    fs::write(journal, summed(facts.as_bytes())).unwrap();
}

#[test]
fn the_owners_hashes_tell_what_a_forged_record_hides() {
    let (_museum, machine) = golden();
    expect_all(&machine.pipeline(), 0);
    let listed = || {
        machine.pipe(&[
            &["ente-pull", "--list", machine.dir()],
            &["ente-meta", "-"],
            &["ente-verify", "--origin", "-"],
        ])
    };
    let origin = || machine.run(&["ente-verify", "--origin", machine.dir()]);
    let counts = |outcome: &Outcome| outcome.records_of("end")[0]["counts"]["ente-verify"].clone();
    let first = origin().expect(0);
    let outcomes = listed();
    expect_all(&outcomes, 0);
    // Old clients left no hash, or only that of the archive; what is there was held against it all the same.
    let files = outcomes[2].records_of("file");
    let bare: usize = files
        .iter()
        .map(|file| {
            let hash = file["metadata"]["hash"].as_str().unwrap_or("");
            let is_live = file["metadata"]["type"] == "live-photo";
            let parts = if is_live { 2 } else { 1 };
            let is_bare = hash.is_empty() || is_live && !hash.contains(':');
            if is_bare {
                parts * file["placements"].as_array().unwrap().len()
            } else {
                0
            }
        })
        .sum();
    assert!(bare > 0);
    assert_eq!(counts(&first)["without_hash"], bare);
    assert_eq!(counts(&outcomes[2])["without_hash"], bare);
    assert!(files.iter().all(|file| file["verified"] == true));

    let path = "Vacation 2024/photo2.jpg";
    forge(&machine, path, b"not what was uploaded", None);
    let plain = machine.run(&["ente-verify", machine.dir()]).expect(0);
    assert!(plain.records_of("finding").is_empty());
    let found = origin().expect(4).records_of("finding");
    assert_eq!(
        (&found[0]["class"], &found[0]["path"]),
        (&"damaged".into(), &path.into())
    );

    // Even a forged hash does not stand up to the account.
    let forged =
        "uoClP5gcTQ1qJ5e2nxL26UwhLxRoWsS3SxK7b9v/otF9h8U5Kqt5LcJS1d5FM8yVGNOKqNvxklq5I4bt1ACZIw==";
    forge(&machine, path, b"abc", Some(forged));
    let _ = origin().expect(0);
    let before = folded(&machine.export);
    let outcomes = listed();
    assert_eq!(outcomes[2].code, 4, "{}", outcomes[2].stderr);
    assert_eq!(outcomes[2].records_of("finding")[0]["path"], path);
    assert_eq!(folded(&machine.export), before, "a listing writes nothing");
}

#[test]
fn a_foreign_name_in_the_trash_goes_without_a_fact() {
    let (_museum, machine) = golden();
    expect_all(&machine.pipeline(), 0);
    let trashed = machine.export.join(".ente/trash/2020-01-01/A");
    fs::create_dir_all(&trashed).unwrap();
    for name in ["x.jpg:Zone.Identifier", "a\\b.jpg", "x.jpg"] {
        fs::write(trashed.join(name), name).unwrap();
    }
    let _ = machine
        .run(&["ente-verify", "--prune", machine.dir()])
        .expect(0);
    assert!(!trashed.exists());
    expect_all(&machine.steps(), 0);
}

#[test]
fn what_is_found_a_second_time_in_a_later_round_is_recorded_too() {
    let (_museum, machine) = golden();
    let printed = machine.pipe(&[
        &["ente-pull", machine.dir()],
        &["ente-decrypt", "-"],
        &["ente-meta", "-"],
    ]);
    expect_all(&printed, 0);
    let lines: Vec<&str> = printed[2].stdout.lines().collect();
    let path = "Vacation 2024/photo2.jpg";
    let file = lines.iter().find(|line| line.contains(path)).unwrap();
    let lost = machine.export.join(path);
    let mut verify = machine.command(&["ente-verify", "-"]);
    let mut verify = verify.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = verify.stdin.take().unwrap();
    let mut told = BufReader::new(verify.stdout.take().unwrap()).lines();
    writeln!(stdin, "{}", lines[0]).unwrap();
    for round in 1..=2 {
        fs::remove_file(&lost).unwrap();
        writeln!(stdin, "{file}\n{{\"v\":1,\"type\":\"round\"}}").unwrap();
        let is_finding = |line: String| line.contains("\"finding\"");
        assert!(told.any(|line| is_finding(line.unwrap())), "{round}");
        if round == 1 {
            let is_round = |line: String| line.contains("\"round\"");
            assert!(told.any(|line| is_round(line.unwrap())));
            let export = [&["ente-pull", machine.dir()][..], &["ente-decrypt", "-"]];
            expect_all(&machine.pipe(&export), 0);
            assert!(lost.is_file());
            // Who waits for the next round keeps nobody out.
            let _ = machine.run(&["ente-verify", machine.dir()]).expect(0);
        }
    }
    drop(stdin);
    told.for_each(drop);
    let _ = verify.wait().unwrap();
    expect_all(&machine.pipeline(), 0);
    assert!(lost.is_file());
}

#[test]
fn a_part_of_a_listing_is_not_taken_for_the_account() {
    let (_museum, machine) = golden();
    expect_all(&machine.pipeline(), 0);
    fs::remove_file(machine.export.join("Vacation 2024/photo2.jpg")).unwrap();
    let pull = |option| ["ente-pull", option, machine.dir()];
    let meta = |album| ["ente-meta", "--album", album, "-"];
    let check = ["ente-verify", "--against", "-", machine.dir()];
    let pipes: [&[&[&str]]; 3] = [
        &[&pull("--dry-run"), &check],
        &[&pull("--list"), &meta("Family"), &check],
        &[
            &["ente-pull", "--list", "--album", "13", machine.dir()],
            &check,
        ],
    ];
    for stages in pipes {
        let outcomes = machine.pipe(stages);
        let checked = outcomes.last().unwrap();
        let is_told = checked.stderr.contains("a part of the account");
        assert!(is_told, "{checked:?}");
        let findings = checked.records_of("finding");
        assert!(findings.iter().all(|it| it["class"] != "extra"));
    }
    let outcomes = machine.pipe(&[&pull("--list"), &meta("Vacation*"), &check]);
    assert_eq!(outcomes[2].records_of("finding")[0]["class"], "missing");
    assert_eq!(outcomes[2].code, 4);
}
