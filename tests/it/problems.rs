//! One bad item never stops a run and never goes unnoticed.

use std::collections::BTreeSet;
use std::fs;

use ente_tests::harness::{assert_golden, expect_all, tree};
use ente_tests::museum::{Fault, Match};

use crate::{expected, golden};

fn classes(outcomes: &[ente_tests::harness::Outcome]) -> BTreeSet<(String, i64)> {
    outcomes
        .last()
        .expect("a pipe has a last stage")
        .records_of("problem")
        .iter()
        .map(|problem| {
            assert!(
                problem["hint"]
                    .as_str()
                    .is_some_and(|hint| !hint.is_empty()),
                "{problem}"
            );
            (
                problem["class"].as_str().expect("a class").to_owned(),
                problem["file"].as_i64().unwrap_or(0),
            )
        })
        .collect()
}

#[test]
fn a_damaged_object_a_missing_one_and_an_unreadable_record_leave_the_others_alone() {
    let (museum, machine) = golden();
    museum.inject(
        Match::object(102),
        Fault::CorruptByte { offset: 5_000 },
        None,
    );
    museum.inject(Match::download(104), Fault::Status(404), None);
    museum.with_library(|library| {
        library.patch_row(21, 119, serde_json::json!({"metadata": {"encryptedData": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "decryptionHeader": "pM3z3H3YvH1W0ZprbJ6XKCmOIHMgQYRv", "size": 0}}));
    });
    let problems = BTreeSet::from([
        ("damaged".to_owned(), 102),
        ("not-found".to_owned(), 104),
        ("undecryptable".to_owned(), 119),
    ]);
    let outcomes = machine.pipeline();
    assert!(
        outcomes[..3].iter().all(|outcome| outcome.code == 3),
        "{outcomes:#?}"
    );
    assert_eq!(classes(&outcomes), problems);
    let missing = [
        "Vacation 2024/photo2.jpg",
        "Family/Grandma's birthday.jpg",
        "Archive 2019/archived.jpg",
    ];
    let files = tree(&machine.export);
    for path in missing {
        let (album, name) = path.split_once('/').unwrap();
        for path in [path, &format!("{album}/metadata/{name}.json")] {
            assert!(!files.contains_key(path), "`{path}` is not to be exported");
        }
    }

    // The damaged one is fetched once more, the missing one is asked for again, nothing else.
    museum.reset_log();
    let outcomes = machine.pipeline();
    assert!(
        outcomes[..3].iter().all(|outcome| outcome.code == 3),
        "{outcomes:#?}"
    );
    assert_eq!(museum.fetched_objects(), BTreeSet::from([102]));
    assert_eq!(classes(&outcomes), problems);

    // The same bytes came again: from now on only on demand.
    museum.reset_log();
    let outcomes = machine.pipeline();
    assert_eq!(classes(&outcomes), problems);
    assert_eq!(museum.fetched_objects(), BTreeSet::new());
    assert!(
        !format!("{outcomes:?}").contains("fetched once more"),
        "{outcomes:#?}"
    );

    // All is well again on the server.
    museum.clear_faults();
    museum.with_library(|library| library.patch_row(21, 119, serde_json::Value::Null));
    let _ = machine
        .run(&["ente-pull", "--full", "--refetch", "102", machine.dir()])
        .expect(0);
    expect_all(&machine.pipeline(), 0);
    assert_golden(&machine.export, &expected("1-initial"));
}

#[test]
fn what_verify_finds_is_healed_by_the_pipe_and_by_the_next_plain_run() {
    let (_museum, machine) = golden();
    expect_all(&machine.pipeline(), 0);
    let damaged = machine.export.join("Camera/exactly-one-chunk.mp4");
    let damage = || {
        let time = fs::metadata(&damaged).unwrap().modified().unwrap();
        let mut bytes = fs::read(&damaged).unwrap();
        bytes[1_000_000] ^= 1;
        fs::write(&damaged, bytes).unwrap();
        fs::File::options()
            .write(true)
            .open(&damaged)
            .unwrap()
            .set_modified(time)
            .unwrap();
        fs::remove_file(machine.export.join("Family/favourite.jpg")).unwrap();
        fs::remove_file(
            machine
                .export
                .join("Vacation 2024/metadata/photo1.jpg.json"),
        )
        .unwrap();
    };
    damage();
    let found = machine.run(&["ente-verify", machine.dir()]).expect(4);
    let classes: BTreeSet<_> = found
        .records_of("finding")
        .iter()
        .map(|finding| {
            (
                finding["class"].as_str().unwrap().to_owned(),
                finding["path"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let finding = |class: &str, path: &str| (class.to_owned(), path.to_owned());
    assert_eq!(
        classes,
        BTreeSet::from([
            finding("damaged", "Camera/exactly-one-chunk.mp4"),
            finding("missing", "Family/favourite.jpg"),
            finding("missing", "Vacation 2024/metadata/photo1.jpg.json"),
        ])
    );
    let quick = machine
        .run(&["ente-verify", "--quick", machine.dir()])
        .expect(4);
    assert_eq!(
        quick.records_of("finding").len(),
        3,
        "size and time tell nothing of the damaged one, so what was read before stands: {}",
        quick.stdout
    );
    let _ = machine.run(&["ente-verify", machine.dir()]).expect(4);
    let healing = machine.pipe(&[
        &["ente-verify", machine.dir()],
        &["ente-pull", "--only", "-", machine.dir()],
        &["ente-decrypt", "-"],
        &["ente-meta", "-"],
    ]);
    assert_eq!(healing[0].code, 4);
    expect_all(&healing[1..], 0);
    let _ = machine.run(&["ente-verify", machine.dir()]).expect(0);
    assert_golden(&machine.export, &expected("1-initial"));

    damage();
    let _ = machine.run(&["ente-verify", machine.dir()]).expect(4);
    expect_all(&machine.steps(), 0);
    assert_golden(&machine.export, &expected("1-initial"));
}

#[test]
fn an_interrupted_run_is_seen_by_verify() {
    let (_museum, machine) = golden();
    let _ = machine.run(&["ente-pull", machine.dir()]).expect(0);
    let found = machine.run(&["ente-verify", machine.dir()]).expect(4);
    assert_eq!(
        found.records_of("finding").len(),
        29,
        "every placement is still to be exported"
    );
    assert!(
        found
            .records_of("finding")
            .iter()
            .all(|finding| finding["class"] == "not-exported")
    );
    expect_all(&machine.steps(), 0);
}

#[test]
fn another_account_is_refused_and_changes_nothing() {
    let (_museum, machine) = golden();
    expect_all(&machine.pipeline(), 0);
    let about = machine.export.join(".ente/export.json");
    let text = fs::read_to_string(&about)
        .unwrap()
        .replace("1580559962386001", "7");
    fs::write(&about, &text).unwrap();
    let before = tree(&machine.export);
    for tool in ["ente-pull", "ente-decrypt", "ente-meta"] {
        let outcome = machine.run(&[tool, machine.dir()]);
        assert_eq!(outcome.code, 12, "{tool}: {}", outcome.stderr);
    }
    ente_tests::harness::assert_same(&tree(&machine.export), &before);
    assert_eq!(fs::read_to_string(&about).unwrap(), text);
}
