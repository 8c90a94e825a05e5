//! Links and facts that somebody planted in the export.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use ente_tests::harness::expect_all;
use ente_tests::journal::summed;
use ente_tests::library::{Content, NewFile, Picture};
use ente_tests::museum::{Fault, Match};

use super::{Scene, assert_tame, bytes, outside};

/// Plants a link, changes the account so that everybody writes there, and looks at what it leads to.
fn with_link(at: &str, target_is_file: bool) {
    let scene = Scene::new();
    scene.upload("first.jpg", bytes(b"first"));
    let live = Content::LivePhoto {
        picture: Picture::default(),
        image: "heic",
        video: "mov",
    };
    scene.upload("live.heic", live.clone());
    expect_all(&scene.machine.pipeline(), 0);
    let place = scene.machine.export.join(at);
    let target = scene.machine.home().join("elsewhere");
    if place.is_dir() {
        fs::rename(&place, scene.machine.home().join("moved")).unwrap();
    } else if place.exists() {
        fs::remove_file(&place).unwrap();
    }
    if target_is_file {
        fs::write(&target, "the user's own").unwrap();
    } else {
        fs::create_dir(&target).unwrap();
        fs::write(target.join("new.jpg"), "the user's own").unwrap();
    }
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent).unwrap();
    }
    symlink(&target, &place).unwrap();
    let before = outside(&scene.machine);

    scene.upload("new.jpg", bytes(b"new"));
    scene.upload("new.heic", live);
    scene.museum.with_library(|library| {
        let live = library.live_mut();
        let own = live.create_album("Second");
        live.upload(own, NewFile::new("second.jpg", bytes(b"second")));
        let first = live.files_in(scene.shared)[0];
        live.edit_public(first, "caption", "edited".into());
        live.edit_public(first, "editedName", "renamed.jpg".into());
        live.replace(first, bytes(b"replaced"));
        let gone = live.files_in(scene.shared)[1];
        live.remove(gone, scene.shared);
    });
    for _ in 0..2 {
        for outcome in scene.machine.pipeline() {
            assert!(outcome.code < 128, "{at}: {}", outcome.stderr);
        }
        assert_eq!(outside(&scene.machine), before, "{at} was followed");
    }
    let files = tree_without_links(&scene.machine.export);
    if at.starts_with("Shared") {
        assert!(
            files.contains_key("Second/second.jpg"),
            "{at}: the rest is exported"
        );
    }
}

fn tree_without_links(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let walk = walkdir::WalkDir::new(dir).follow_links(false).into_iter();
    let files = walk
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file());
    files
        .map(|entry| {
            let path = entry.path().strip_prefix(dir).unwrap();
            (
                path.to_str().unwrap().to_owned(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .collect()
}

#[test]
fn links_planted_in_the_album_tree_are_not_followed() {
    for at in ["Shared", "Shared/metadata", "Second"] {
        with_link(at, false);
    }
    for at in [
        "Shared/new.jpg",
        "Shared/renamed.jpg",
        "Shared/first.jpg",
        "Shared/metadata/new.jpg.json",
        "Shared/metadata/first.jpg.json",
    ] {
        with_link(at, true);
    }
}

#[test]
fn links_planted_in_the_state_folder_are_not_followed() {
    for at in [".ente/partial", ".ente/objects", ".ente/trash"] {
        with_link(at, false);
    }
    for at in [".ente/decrypt.lock", ".ente/export.json.new"] {
        with_link(at, true);
    }
}

#[test]
fn links_planted_among_what_is_under_way_are_not_followed() {
    let scene = Scene::new();
    let file = scene.upload("first.jpg", bytes(b"first"));
    let cut = scene.upload("cut.jpg", bytes(&[7; 5_000]));
    let fault = Fault::Cut { after: 1_000 };
    scene.museum.inject(Match::object(cut), fault, None);
    scene.pipeline();
    scene.museum.clear_faults();
    let partial = scene.machine.export.join(".ente/partial");
    let part = fs::read_dir(&partial).unwrap().next().unwrap().unwrap();
    fs::remove_file(part.path()).unwrap();
    scene.museum.with_library(|library| {
        let live = library.live_mut();
        live.edit_public(file, "caption", "edited".into());
    });
    for (name, target) in [
        (part.file_name().into_string().unwrap(), "precious.jpg"),
        (format!("meta-{}-{file}-0", scene.shared), "precious.jpg"),
        (format!("album-{}", scene.shared), "private"),
    ] {
        symlink(scene.machine.home().join(target), partial.join(&name)).unwrap();
        for tool in ["ente-pull", "ente-decrypt", "ente-meta"] {
            let outcome = scene.machine.run(&[tool, scene.machine.dir()]);
            scene.assert_contained();
            assert_eq!(outcome.code, 1, "{name}: {}", outcome.stderr);
            let told = format!("{name}` is a link");
            assert!(outcome.stderr.contains(&told), "{}", outcome.stderr);
        }
        fs::remove_file(partial.join(name)).unwrap();
    }
    expect_all(&scene.machine.pipeline(), 0);
}

#[test]
fn a_manifest_that_was_tampered_with_leads_nowhere_else() {
    let forged = [
        (
            "decrypt",
            r#"{"fact":"folder","collection":C,"name":"../metadata","digest":"","title":""}"#,
        ),
        (
            "decrypt",
            r#"{"fact":"folder","collection":C,"name":".ente","digest":"","title":""}"#,
        ),
        (
            "decrypt",
            r#"{"fact":"folder","collection":C,"name":"/tmp","digest":"","title":""}"#,
        ),
        (
            "decrypt",
            r#"{"fact":"placement","collection":C,"file":F,"name":"../../precious.jpg","digest":"","title":""}"#,
        ),
        (
            "decrypt",
            r#"{"fact":"placement","collection":C,"file":F,"name":"a.jpg","version":"0000000000000000","n":1,"parts":[{"name":"../../precious.jpg","size":10,"blake3":"00","mtime":0}]}"#,
        ),
        (
            "decrypt",
            r#"{"fact":"trash","path":"../../../precious.jpg","collection":C,"file":F,"of":1,"reason":"removed"}"#,
        ),
        (
            "decrypt",
            r#"{"fact":"aside","id":F,"version":"0000000000000000","path":"../../../precious.jpg"}"#,
        ),
        (
            "pull",
            r#"{"fact":"object","id":F,"version":"0000000000000000","gone":true,"trashed":"../../../precious.jpg"}"#,
        ),
        (
            "verify",
            r#"{"fact":"pruned","path":"../../../precious.jpg"}"#,
        ),
    ];
    let scene = Scene::new();
    let file = scene.upload("first.jpg", bytes(b"first"));
    expect_all(&scene.machine.pipeline(), 0);
    scene.museum.with_library(|library| {
        let live = library.live_mut();
        live.replace(file, bytes(b"replaced"));
        live.edit_public(file, "caption", "edited".into());
    });
    for (name, line) in forged {
        let path = scene.machine.export.join(format!(".ente/{name}.jsonl"));
        let whole = fs::read_to_string(&path).unwrap();
        let line = line
            .replace("C,", &format!("{},", scene.shared))
            .replace("F,", &format!("{file},"));
        fs::write(&path, summed(format!("{whole}{line}\n").as_bytes())).unwrap();
        for mut tool in [
            vec!["ente-pull"],
            vec!["ente-decrypt"],
            vec!["ente-meta"],
            vec!["ente-verify"],
            vec!["ente-verify", "--prune=0"],
        ] {
            tool.push(scene.machine.dir());
            let outcome = scene.machine.run(&tool);
            assert!(outcome.code < 128, "{tool:?}: {}", outcome.stderr);
            assert_tame(&outcome.stderr);
            scene.assert_contained();
        }
        fs::write(&path, whole).unwrap();
    }
}
