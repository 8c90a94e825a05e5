//! The encrypted mirror: kept, copied, opened offline; and the split into a machine with the token and one with the keys.

use std::fs;
use std::path::Path;

use ente_tests::harness::{assert_golden, expect_all, tree};
use ente_tests::museum::{Fault, Match};
use serde_json::{Value, json};

use crate::{EMAIL, PASSWORD, expected, golden, machine};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_kept_mirror_opens_offline_with_the_password_alone() {
    let (museum, machine) = golden();
    let outcomes = machine.pipe(&[
        &["ente-pull", "--objects", "keep", machine.dir()],
        &["ente-decrypt", "-"],
        &["ente-meta", "-"],
    ]);
    expect_all(&outcomes, 0);
    assert_golden(&machine.export, &expected("1-initial"));
    drop(museum);

    let other = crate::machine();
    copy(&machine.export.join(".ente"), &other.export.join(".ente"));
    for part in ["decrypt", "meta", "verify"] {
        let _ = fs::remove_file(other.export.join(format!(".ente/{part}.jsonl")));
    }
    let password = other.home().join("password");
    fs::write(&password, PASSWORD).unwrap();
    let _ = other
        .run(&[
            "ente-login",
            "--offline",
            other.dir(),
            "--password-file",
            password.to_str().unwrap(),
        ])
        .expect(0);
    expect_all(
        &[
            other.run(&["ente-decrypt", other.dir()]),
            other.run(&["ente-meta", other.dir()]),
        ],
        0,
    );
    assert_golden(&other.export, &expected("1-initial"));
}

#[test]
fn one_machine_holds_the_token_another_the_keys() {
    let (museum, signed_in) = golden();
    let account = signed_in.config().join(EMAIL);
    let puller = machine();
    fs::create_dir_all(puller.config().join(EMAIL)).unwrap();
    fs::copy(
        account.join("token"),
        puller.config().join(EMAIL).join("token"),
    )
    .unwrap();
    let _ = puller
        .run(&["ente-pull", "--objects", "keep", puller.dir()])
        .expect(0);
    let refused = puller.run(&["ente-decrypt", puller.dir()]);
    assert_eq!(
        refused.code, 10,
        "a machine without keys opens nothing: {}",
        refused.stderr
    );
    assert!(tree(&puller.export).is_empty());
    drop(museum);

    let opener = machine();
    fs::create_dir_all(opener.config().join(EMAIL)).unwrap();
    fs::copy(
        account.join("keys"),
        opener.config().join(EMAIL).join("keys"),
    )
    .unwrap();
    copy(&puller.export, &opener.export);
    expect_all(
        &[
            opener.run(&["ente-decrypt", opener.dir()]),
            opener.run(&["ente-meta", opener.dir()]),
        ],
        0,
    );
    assert_golden(&opener.export, &expected("1-initial"));
    let refused = opener.run(&["ente-pull", opener.dir()]);
    assert_eq!(
        refused.code, 10,
        "a machine without token fetches nothing: {}",
        refused.stderr
    );
}

#[test]
fn keeping_and_spooling_can_be_changed_later() {
    let (museum, machine) = golden();
    expect_all(&machine.pipeline(), 0);
    let objects = machine.export.join(".ente/objects");
    let count = || {
        walkdir::WalkDir::new(&objects)
            .into_iter()
            .filter(|entry| entry.as_ref().unwrap().file_type().is_file())
            .count()
    };
    assert_eq!(
        count(),
        0,
        "spooled objects are dropped once their plaintext is safe"
    );
    museum.reset_log();
    let _ = machine
        .run(&["ente-pull", "--objects", "keep", machine.dir()])
        .expect(0);
    expect_all(&machine.pipeline(), 0);
    assert_eq!(count(), 27);
    let _ = machine
        .run(&["ente-pull", "--objects", "spool", machine.dir()])
        .expect(0);
    expect_all(&machine.pipeline(), 0);
    assert_eq!(count(), 0);
    assert_golden(&machine.export, &expected("1-initial"));
}

#[test]
fn the_way_in_without_the_server_is_not_given_up_for_a_bad_answer() {
    let (museum, machine) = golden();
    let pull = ["ente-pull", "--full", machine.dir()];
    let _ = machine.run(&pull).expect(0);
    let about = || fs::read_to_string(machine.export.join(".ente/export.json")).unwrap();
    let before = about();
    let answer = |edit: fn(&mut Value)| {
        museum.clear_faults();
        let edit = Fault::edit(move |answer| edit(&mut answer["keyAttributes"]));
        museum.inject(Match::api().path("session-validity"), edit, None);
    };
    let spoil: [fn(&mut Value); 4] = [
        |attributes| *attributes = json!({}),
        |attributes| *attributes = json!("none"),
        |attributes| attributes["encryptedSecretKey"] = json!(""),
        |attributes| {
            attributes["publicKey"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
        },
    ];
    for edit in spoil {
        answer(edit);
        let kept = machine.run(&pull).expect(3);
        let problems = kept.records_of("problem");
        assert_eq!(problems[0]["class"], "unexpected-answer");
        assert_eq!(about(), before);
    }
    // As after a change of the password.
    answer(|attributes| attributes["kekSalt"] = json!("AAAAAAAAAAAAAAAAAAAAAA=="));
    let _ = machine.run(&pull).expect(0);
    assert!(about().contains("AAAAAAAAAAAAAAAAAAAAAA=="));
}
