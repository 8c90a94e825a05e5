//! What is too large for memory or for a line.

use ente_tests::harness::tree;
use ente_tests::museum::{Fault, Match};
use serde_json::{Value, json};

use super::{MALLORY, Scene, bytes, measured, problems};

#[test]
fn huge_texts_take_neither_memory_nor_the_others_down() {
    let scene = Scene::new();
    let text = "x".repeat(37 << 20);
    scene.upload_with_metadata(
        json!({"title": "huge.jpg", "caption": text})
            .to_string()
            .as_bytes(),
    );
    scene.upload("small.jpg", bytes(b"small"));
    // And fifty million bytes in the listing of albums.
    scene.museum.inject(
        Match::api().path("/collections/v2").skip(1),
        Fault::edit(|answer| {
            if let Some(collection) = answer
                .get_mut("collections")
                .and_then(|list| list.get_mut(0))
            {
                collection["sharees"] = json!([{"id": 1, "email": "x".repeat(50_000_000)}]);
            }
        }),
        Some(1),
    );
    for outcome in measured(&scene) {
        assert!(matches!(outcome.code, 0 | 3 | 4), "{}", outcome.stderr);
    }
    let outcome = scene.pipeline().expect(3);
    assert!(
        problems(&outcome)
            .iter()
            .any(|(class, _)| class == "unreadable-entry"),
        "{}",
        outcome.stdout
    );
    assert!(tree(&scene.machine.export).contains_key("Shared/small.jpg"));
}

#[test]
fn millions_of_entries_that_are_none_take_no_memory() {
    let scene = Scene::new();
    scene.museum.inject(
        Match::api().path("/collections/v2/diff"),
        Fault::edit(|answer| {
            if let Some(diff) = answer.get_mut("diff").and_then(Value::as_array_mut) {
                diff.extend(std::iter::repeat_n(json!(0), 2_000_000));
            }
        }),
        Some(1),
    );
    let outcomes = measured(&scene);
    assert_eq!(outcomes[0].code, 3, "{}", outcomes[0].stderr);
}

#[test]
fn a_record_stays_readable_in_however_many_albums_a_file_lies() {
    let scene = Scene::new();
    let caption = "x".repeat(180_000);
    let file = scene.upload("many.jpg", bytes(b"many"));
    scene.museum.with_library(|library| {
        let live = library.live_mut();
        live.edit_public(file, "caption", caption.into());
        for number in 0..80 {
            let album = live.share_in(MALLORY, &format!("Album {number}"));
            live.add(file, album);
        }
    });
    let outcome = scene.pipeline().expect(0);
    assert_eq!(problems(&outcome), []);
    let files = tree(&scene.machine.export);
    for number in 0..80 {
        assert!(files.contains_key(&format!("Album {number}/many.jpg")));
        let sidecar = &files[&format!("Album {number}/metadata/many.jpg.json")].bytes;
        let sidecar: Value = serde_json::from_slice(sidecar).unwrap();
        assert_eq!(sidecar["caption"].as_str().map(str::len), Some(180_000));
    }
}
