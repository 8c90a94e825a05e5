//! What can go wrong on the user's machine and needs no special machine to show it: locks, the manifest, things in the way.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ente_tests::harness::{Machine, assert_golden, assert_same, expect_all, tree};
use ente_tests::library::GoldenState;
use ente_tests::museum::Museum;
use serde_json::json;

use crate::{expected, golden};

const TOOLS: [&str; 4] = ["ente-pull", "ente-decrypt", "ente-meta", "ente-verify"];
const JOURNALS: [&str; 5] = ["pull", "ciphertext", "decrypt", "meta", "verify"];

/// An export of the golden account in its first state, on a server that is in its second.
fn changed() -> (Museum, Machine) {
    let (museum, machine) = golden();
    expect_all(&machine.steps(), 0);
    museum.with_library(|library| library.switch_to(GoldenState::Changed));
    museum.reset_log();
    (museum, machine)
}

fn journal(machine: &Machine, name: &str) -> PathBuf {
    machine.export.join(format!(".ente/{name}.jsonl"))
}

/// All tools run well, and the export is the second state.
fn assert_heals(machine: &Machine) {
    expect_all(&machine.steps(), 0);
    assert_golden(&machine.export, &expected("2-changed"));
}

/// Every file of the export, those of `.ente` too.
fn everything(dir: &Path) -> BTreeSet<(PathBuf, Vec<u8>)> {
    let files = walkdir::WalkDir::new(dir).into_iter().flatten();
    let files = files.filter(|entry| entry.file_type().is_file());
    files
        .map(|entry| (entry.path().to_owned(), fs::read(entry.path()).unwrap()))
        .collect()
}

#[test]
fn a_torn_last_line_costs_nothing() {
    let (_museum, machine) = changed();
    for name in JOURNALS {
        let path = journal(&machine, name);
        let mut text = fs::read(&path).unwrap();
        text.extend(b"{\"fact\":\"fi");
        fs::write(&path, text).unwrap();
    }
    assert_heals(&machine);
}

#[test]
fn what_was_listed_and_rots_is_found_and_listed_anew() {
    let (museum, machine) = changed();
    expect_all(&machine.steps(), 0);
    let path = journal(&machine, "ciphertext");
    let mut bytes = fs::read(&path).unwrap();
    // The last line, since those above may be about things listed again since, to which no fact points any more.
    let last = bytes.len() - 40;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    for options in [&["--subset", "1/2"][..], &[]] {
        let args = [&["ente-verify"], options, &[machine.dir()]].concat();
        let found = machine.run(&args).expect(4);
        assert!(found.stdout.contains(".ente/ciphertext.jsonl"), "{found:?}");
    }
    let quick = machine.run(&["ente-verify", "--quick", machine.dir()]);
    assert_eq!(quick.code, 0, "what is not read is not told: {quick:?}");
    museum.reset_log();
    assert_heals(&machine);
    assert!(museum.fetched_objects().is_empty());
    let _ = machine.run(&["ente-verify", machine.dir()]).expect(0);
    // It is not listed anew once more.
    museum.reset_log();
    expect_all(&machine.steps(), 0);
    assert_eq!(museum.requests().len(), 1);
}

#[test]
fn what_rots_before_it_is_decrypted_names_the_way_out() {
    let (museum, machine) = changed();
    let _ = machine.run(&["ente-pull", machine.dir()]).expect(0);
    let path = journal(&machine, "ciphertext");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"file\":{", "\"fila\":{")).unwrap();
    let decrypted = machine.run(&["ente-decrypt", machine.dir()]).expect(3);
    let problems = decrypted.records_of("problem");
    assert!(!problems.is_empty());
    for problem in problems {
        let hint = problem["hint"].as_str().unwrap();
        assert!(hint.contains("`ente-pull --full`"), "{problem}");
    }
    let _ = machine
        .run(&["ente-pull", "--full", machine.dir()])
        .expect(0);
    museum.reset_log();
    assert_heals(&machine);
    assert!(museum.fetched_objects().is_empty());
}

#[test]
fn a_damaged_line_is_named_and_nothing_is_changed() {
    let (_museum, machine) = changed();
    for name in ["pull", "decrypt", "meta", "verify"] {
        let path = journal(&machine, name);
        let sound = fs::read_to_string(&path).unwrap();
        let mut lines: Vec<&str> = sound.lines().collect();
        lines[1] = "\u{0}\u{0}\u{0}";
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        let before = everything(&machine.export);
        let mut told = 0;
        for tool in TOOLS {
            let outcome = machine.run(&[tool, machine.dir()]);
            let text = &outcome.stderr;
            if outcome.code == 0 {
                continue;
            }
            assert_eq!(outcome.code, 1, "{tool}: {text}");
            assert!(
                text.contains(&format!("{name}.jsonl` is damaged at line 2")),
                "{text}"
            );
            assert!(text.contains("  hint: restore the file"), "{text}");
            told += 1;
        }
        assert!(told > 0, "nobody noticed {name}");
        if told == TOOLS.len() {
            assert!(everything(&machine.export) == before, "{name}");
        }
        fs::write(&path, sound).unwrap();
    }
    assert_heals(&machine);
}

#[test]
fn a_newer_format_is_left_alone() {
    let (_museum, machine) = changed();
    let about = machine.export.join(".ente/export.json");
    for path in ["pull", "decrypt", "meta", "verify"]
        .map(|name| journal(&machine, name))
        .into_iter()
        .chain([about])
    {
        let sound = fs::read_to_string(&path).unwrap();
        fs::write(
            &path,
            sound
                .replacen("\"format\": 1", "\"format\": 2", 1)
                .replacen("\"format\":1", "\"format\":2", 1),
        )
        .unwrap();
        let before = everything(&machine.export);
        for tool in TOOLS {
            let outcome = machine.run(&[tool, machine.dir()]).expect(14);
            assert!(
                outcome.stderr.contains("is in format 2"),
                "{}",
                outcome.stderr
            );
        }
        assert!(everything(&machine.export) == before, "{}", path.display());
        fs::write(&path, sound).unwrap();
    }
    assert_heals(&machine);
}

#[test]
fn a_part_of_the_manifest_that_is_gone_comes_back_without_a_download() {
    for name in [
        "pull.jsonl",
        "ciphertext.jsonl",
        "meta.jsonl",
        "verify.jsonl",
        "export.json",
    ] {
        let (museum, machine) = golden();
        expect_all(&machine.steps(), 0);
        museum.reset_log();
        let before = tree(&machine.export);
        fs::remove_file(machine.export.join(".ente").join(name)).unwrap();
        expect_all(&machine.steps(), 0);
        assert_same(&tree(&machine.export), &before);
        assert_eq!(museum.fetched_objects(), BTreeSet::new(), "{name}");
        museum.with_library(|library| library.switch_to(GoldenState::Changed));
        assert_heals(&machine);
    }
}

#[test]
fn locks_of_the_dead_are_no_obstacle_and_those_of_other_hosts_only_until_they_are_broken() {
    let (_museum, machine) = changed();
    let lock = |tool: &str| machine.export.join(format!(".ente/{}.lock", &tool[5..]));
    for tool in TOOLS {
        // As after a power cut: there, and empty.
        fs::write(lock(tool), "").unwrap();
    }
    expect_all(&machine.steps(), 0);
    assert_golden(&machine.export, &expected("2-changed"));
    // Only who writes needs the lock: something to do for each.
    let spoil = || {
        let lost = tree(&machine.export).into_keys();
        let mut photos =
            lost.filter(|path| path.starts_with("Camera/") && !path.ends_with(".json"));
        let photo = photos.next().unwrap().replace("Camera/", "");
        for path in [photo.clone(), format!("metadata/{photo}.json")] {
            fs::remove_file(machine.export.join("Camera").join(path)).unwrap();
        }
    };
    spoil();
    for tool in TOOLS {
        let foreign = json!({"tool": tool, "pid": 1, "host": "elsewhere", "started": null, "run": "x", "since": 0});
        fs::write(lock(tool), foreign.to_string()).unwrap();
    }
    for tool in ["ente-verify", "ente-pull", "ente-decrypt", "ente-meta"] {
        let outcome = machine.run(&[tool, machine.dir()]).expect(11);
        assert!(outcome.stderr.contains("elsewhere"), "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("--break-lock"),
            "{}",
            outcome.stderr
        );
        let broken = machine.run(&[tool, "--break-lock", machine.dir()]);
        let code = if tool == "ente-verify" { 4 } else { 0 };
        assert_eq!(broken.code, code, "{tool}: {}", broken.stderr);
        assert!(!lock(tool).exists());
    }
    assert_heals(&machine);
}

#[test]
fn two_pipes_at_once_make_one_right_tree() {
    let (_museum, machine) = golden();
    let (one, other) = std::thread::scope(|scope| {
        let other = scope.spawn(|| machine.pipeline());
        (machine.pipeline(), other.join().unwrap())
    });
    for outcome in one.iter().chain(&other) {
        // 1: the input of a stage was cut short, because the one before was kept out.
        assert!(
            [0, 1, 4, 11].contains(&outcome.code),
            "{}: {}",
            outcome.code,
            outcome.stderr
        );
    }
    expect_all(&machine.steps(), 0);
    assert_golden(&machine.export, &expected("1-initial"));
}

#[test]
fn an_album_that_turned_into_a_file_waits_until_that_is_gone() {
    let (_museum, machine) = changed();
    let (album, away) = (
        machine.export.join("Vacation 2024"),
        machine.home().join("away"),
    );
    fs::rename(&album, &away).unwrap();
    fs::write(&album, "the user's").unwrap();
    let _ = machine.run(&["ente-pull", machine.dir()]).expect(0);
    let decrypted = machine.run(&["ente-decrypt", machine.dir()]).expect(3);
    assert!(
        decrypted.stdout.contains("not-a-folder"),
        "{}",
        decrypted.stdout
    );
    let written = machine.run(&["ente-meta", machine.dir()]).expect(3);
    assert!(written.stdout.contains("not-written"), "{}", written.stdout);
    let _ = machine.run(&["ente-verify", machine.dir()]).expect(4);
    assert_eq!(fs::read_to_string(&album).unwrap(), "the user's");
    fs::remove_file(&album).unwrap();
    fs::rename(&away, &album).unwrap();
    assert_heals(&machine);
}

#[test]
fn an_export_is_not_begun_where_the_folder_above_is_not_there() {
    let (_museum, mut machine) = golden();
    machine.export = machine.home().join("media/disk/Ente");
    let outcome = machine.run(&["ente-pull", machine.dir()]).expect(1);
    assert!(
        outcome.stderr.contains("mount the disk"),
        "{}",
        outcome.stderr
    );
    assert!(!machine.home().join("media").exists());
    fs::create_dir_all(machine.home().join("media/disk")).unwrap();
    expect_all(&machine.steps(), 0);
    assert_golden(&machine.export, &expected("1-initial"));
}
