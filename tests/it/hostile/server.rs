//! Listings that contradict themselves, and a server that asks for too much.

use std::fs;

use ente_tests::harness::{expect_all, tree};
use ente_tests::museum::{Fault, Match};
use serde_json::{Value, json};

use super::{EMAIL, PASSWORD, Scene, assert_tame, bytes, problems};
use crate::machine;

#[test]
fn entries_that_contradict_each_other_cost_only_themselves() {
    let scene = Scene::new();
    let file = scene.upload("fine.jpg", bytes(b"fine"));
    scene.upload("other.jpg", bytes(b"other"));
    let shared = scene.shared;
    let forge = move |answer: &mut Value| {
        let Some(diff) = answer.get_mut("diff").and_then(Value::as_array_mut) else {
            return;
        };
        let Some(good) = diff.iter().find(|entry| entry["id"] == file).cloned() else {
            return;
        };
        let with = |name: &str, value: Value| {
            let mut entry = good.clone();
            entry[name] = value;
            entry
        };
        let numbered = |id: i64, name: &str, value: &str| {
            let mut entry = with("id", id.into());
            entry[name] = value.into();
            entry
        };
        let forged = [
            good.clone(),
            with("collectionID", 424_242.into()),
            with("collectionID", (-shared).into()),
            with("id", (-5).into()),
            with("id", i64::MAX.into()),
            with("id", i64::MIN.into()),
            with("id", 1.5.into()),
            with("id", "7".into()),
            numbered(901, "encryptedKey", "AAAA"),
            numbered(902, "encryptedKey", "not base64 \u{1b}[31m"),
            numbered(903, "keyDecryptionNonce", ""),
            numbered(
                904,
                "keyDecryptionNonce",
                "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            ),
            Value::Null,
            json!([]),
            json!({}),
        ];
        diff.extend(forged);
    };
    scene.museum.inject(
        Match::api().path("/collections/v2/diff"),
        Fault::edit(forge),
        None,
    );
    scene.museum.inject(
        Match::api().path("/collections/v2"),
        Fault::edit(|answer| {
            let Some(list) = answer.get_mut("collections").and_then(Value::as_array_mut) else {
                return;
            };
            let twice = list[0].clone();
            let with = |id: i64, name: &str, value: Value| {
                let mut collection = twice.clone();
                collection["id"] = id.into();
                collection[name] = value;
                collection
            };
            list.extend([
                twice.clone(),
                with(-1, "type", "album".into()),
                with(777, "encryptedKey", "AAAA".into()),
                with(778, "nameDecryptionNonce", "AAAA".into()),
                with(779, "owner", json!({"id": -9, "email": "\u{1b}[31m"})),
                json!(null),
                json!({"id": "x"}),
            ]);
        }),
        None,
    );
    for _ in 0..2 {
        let outcome = scene.pipeline().expect(3);
        assert!(!problems(&outcome).is_empty());
        let files = tree(&scene.machine.export);
        // A forged file of a lower ID may have the better name.
        for content in [&b"fine"[..], b"other"] {
            let shared = files.iter().filter(|(path, _)| path.starts_with("Shared/"));
            assert!(shared.into_iter().any(|(_, entry)| entry.bytes == content));
        }
    }
}

#[test]
fn members_nested_deeper_than_a_parser_follows_stop_nothing() {
    for (path, list) in [
        ("/collections/v2/diff", "diff"),
        ("/collections/v2", "collections"),
    ] {
        // In a record it lies some levels deeper.
        for depth in [125, 200] {
            let scene = Scene::new();
            scene.upload("fine.jpg", bytes(b"fine"));
            let edit = Fault::edit(move |answer| {
                let entries = answer.get_mut(list).and_then(Value::as_array_mut);
                for entry in entries.into_iter().flatten() {
                    entry["later"] = (0..depth).fold(Value::Null, |inner, _| json!([inner]));
                }
            });
            scene.museum.inject(Match::api().path(path), edit, None);
            for _ in 0..2 {
                let _ = scene.pipeline().expect(0);
                assert!(tree(&scene.machine.export).contains_key("Shared/fine.jpg"));
            }
        }
    }
}

#[test]
fn a_server_cannot_ask_for_a_terabyte_or_send_us_in_circles() {
    let scene = Scene::new();
    let fresh = machine();
    for (path, member) in [
        ("/users/srp/attributes", "attributes"),
        ("", "keyAttributes"),
    ] {
        let edit = move |answer: &mut Value| {
            let limits = answer.get_mut(member);
            if let Some(limits) = limits.filter(|limits| limits.is_object()) {
                limits["memLimit"] = (1_u64 << 40).into();
                limits["opsLimit"] = 4.into();
            }
        };
        scene
            .museum
            .inject(Match::api().path(path), Fault::edit(edit), None);
        let outcome = fresh.sign_in(scene.museum.api_url(), EMAIL, PASSWORD);
        // The limits that are kept with the keys count only where a password opens an export.
        let is_asked = member == "attributes";
        assert!(outcome.code != 0 || !is_asked, "{}", outcome.stderr);
        assert!(outcome.code < 128, "{}", outcome.stderr);
        assert_tame(&outcome.stderr);
        if !is_asked {
            let _ = scene.pipeline().expect(0);
        }
        scene.museum.clear_faults();
    }
    let about = fs::read_to_string(scene.machine.export.join(".ente/export.json")).unwrap();
    assert!(about.contains(&(1_u64 << 40).to_string()), "{about}");
    let dir = scene.machine.dir();
    let line = ["ente-login", "--offline", dir, "--password-file", "-"];
    let outcome = fresh.run_with(&line, PASSWORD).expect(1);
    let said = &outcome.stderr;
    assert!(said.contains("1099511627776 bytes of memory"), "{said}");

    let file = scene.upload("circle.jpg", bytes(b"circle"));
    scene
        .museum
        .inject(Match::object(file), Fault::RedirectLoop, None);
    let outcome = scene.pipeline().expect(3);
    assert!(
        problems(&outcome).iter().any(|(_, id)| *id == file),
        "{}",
        outcome.stdout
    );
    scene.museum.clear_faults();
    expect_all(&scene.machine.pipeline(), 0);
    scene.museum.inject(Match::api(), Fault::RedirectLoop, None);
    let outcome = scene.machine.run(&["ente-pull", scene.machine.dir()]);
    assert!(
        outcome.code != 0 && outcome.code < 128,
        "{}",
        outcome.stderr
    );
}
