//! What the user put into the tree or changed in it stays; what was lost or damaged comes back; sidecars go with their files.

use std::collections::BTreeSet;
use std::fs;

use ente_common::exit::Exit;
use ente_common::manifest::Journal;
use ente_common::manifest::facts::{Finding, MetaFact, Sidecar, VerifyFact};

use crate::golden::assert_tree;
use crate::mirror::Mirror;

fn changed(mut mirror: Mirror, prepare: impl FnOnce(&Mirror)) -> Mirror {
    mirror.run(&[]).done();
    prepare(&mirror);
    mirror.list("2-changed", |_| ());
    mirror.fetch_all("2-changed");
    mirror
}

fn bytes(mirror: &Mirror, path: &str) -> Option<Vec<u8>> {
    mirror.tree().remove(path).map(|(bytes, _)| bytes)
}

#[test]
fn a_file_in_the_way_is_walked_around() {
    let mirror = Mirror::initial();
    fs::create_dir_all(mirror.path("Family")).unwrap();
    fs::write(mirror.path("Family/VID_20240605.mp4"), "mine").unwrap();
    fs::create_dir_all(mirror.path("Camera/IMG_0002.mp4")).unwrap();
    mirror.run(&[]).done();
    assert_eq!(bytes(&mirror, "Family/VID_20240605.mp4").unwrap(), b"mine");
    assert_eq!(
        bytes(&mirror, "Family/VID_20240605_1.mp4").unwrap().len(),
        206_343
    );
    assert!(
        bytes(&mirror, "Camera/IMG_0002_1.jpg").is_some(),
        "both halves walk around together"
    );
    assert!(bytes(&mirror, "Camera/IMG_0002_1.mp4").is_some());
    let tree = mirror.tree();
    mirror.run(&[]).done();
    assert_eq!(mirror.tree(), tree, "the name stays");
}

#[test]
fn an_edited_file_stays_and_is_told_of_once() {
    // In the second state 103 is replaced, 105 renamed, 106 removed, 104 moved.
    let edited = ["photo1_1.jpg", "IMG_0001.jpg"].map(|name| format!("Vacation 2024/{name}"));
    let edited = edited.into_iter().chain([
        "Family/VID_20240605.mp4".into(),
        "Family/Grandma's birthday.jpg".into(),
    ]);
    let edited: Vec<String> = edited.collect();
    let mirror = changed(Mirror::initial(), |mirror| {
        for path in &edited {
            fs::write(mirror.path(path), path).unwrap();
        }
    });
    let outcome = mirror.run(&[]);
    assert_eq!(outcome.exit, Ok(Exit::Problems));
    let expected = [103, 104, 105, 106].map(|id| ("modified".to_owned(), id));
    assert_eq!(outcome.problems(), BTreeSet::from(expected));
    for path in &edited {
        let now = path.replace("Vacation 2024/", "Vacation 2024 (Italy)/");
        assert_eq!(bytes(&mirror, &now).unwrap(), path.as_bytes(), "{now}");
    }
    assert_eq!(
        bytes(&mirror, "Vacation 2024 (Italy)/photo1_1_1.jpg")
            .unwrap()
            .len(),
        9_819
    );
    assert!(mirror.run(&[]).done().of("file").is_empty());
}

#[test]
fn a_folder_that_is_none_is_left_alone() {
    let outside = tempfile::tempdir().unwrap();
    let mirror = Mirror::initial();
    #[cfg(unix)]
    std::os::unix::fs::symlink(outside.path(), mirror.path("Family")).unwrap();
    #[cfg(not(unix))]
    fs::write(mirror.path("Family"), "mine").unwrap();
    let outcome = mirror.run(&[]);
    assert_eq!(outcome.exit, Ok(Exit::Problems));
    assert_eq!(outcome.of("problem")[0]["path"], "Family");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert!(bytes(&mirror, "Camera/IMG.JPG").is_some());
    fs::remove_file(mirror.path("Family")).unwrap();
    mirror.run(&[]).done();
    assert_tree(&mirror, "1-initial");
}

#[test]
fn folders_that_were_emptied_go_and_others_stay() {
    let mirror = changed(Mirror::initial(), |mirror| {
        fs::write(mirror.path("Plain old name/notes.txt"), "mine").unwrap();
    });
    mirror.run(&[]).done();
    assert_eq!(bytes(&mirror, "Plain old name/notes.txt").unwrap(), b"mine");
    let mirror = changed(Mirror::initial(), |_| ());
    mirror.run(&[]).done();
    assert!(!mirror.path("Plain old name").exists());
}

#[test]
fn what_is_removed_stays_or_goes_as_it_is_wanted() {
    let keep = changed(Mirror::initial(), |_| ());
    keep.run(&["--on-remove", "keep"]).done();
    assert!(bytes(&keep, "Family/VID_20240605.mp4").is_some());
    assert!(!keep.state().decrypt.placements.contains_key(&(14, 106)));
    assert!(
        keep.held("trash")
            .iter()
            .all(|path| path.contains("photo1_1")),
        "only what was replaced"
    );
    keep.run(&[]).done();
    assert!(
        bytes(&keep, "Family/VID_20240605.mp4").is_some(),
        "and stays"
    );

    let delete = changed(Mirror::initial(), |_| ());
    delete.run(&["--on-remove", "delete"]).done();
    assert_tree(&delete, "2-changed");
    assert!(delete.held("trash").is_empty());
}

#[test]
fn what_verify_found_is_made_well_again() {
    let mut mirror = Mirror::initial();
    mirror.run(&[]).done();
    let find = |mirror: &Mirror, collection, file, class: &str| {
        let mut journal = Journal::open(&mirror.path(".ente"), "verify").unwrap();
        journal.append(&VerifyFact::Finding(Finding {
            collection,
            file,
            class: class.into(),
            n: mirror.state().decrypt.placements[&(collection, file)].n,
            ..Finding::default()
        }));
        journal.sync().unwrap();
    };
    // Damaged like a disk does it; another album has it whole.
    let path = mirror.path("Best Photos/photo1.jpg");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    let mut rotten = fs::read(&path).unwrap();
    rotten[100] ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, &rotten).unwrap();
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(time)
        .unwrap();
    find(&mirror, 15, 101, "damaged");
    // Lost, and nowhere else.
    fs::remove_file(mirror.path("Camera/IMG.JPG")).unwrap();
    find(&mirror, 24, 114, "missing");
    mirror.run(&[]).done();
    assert_eq!(mirror.held("trash"), ["2025-11-22/Best Photos/photo1.jpg"]);
    assert_eq!(
        mirror.state().decrypt.trash.values().next().unwrap().reason,
        "damaged"
    );
    assert!(
        bytes(&mirror, "Camera/IMG.JPG").is_none(),
        "it has to be fetched first"
    );
    mirror.fetch("1-initial", 114, |_| ());
    mirror.run(&[]).done();
    assert_tree(&mirror, "1-initial");
    assert!(mirror.run(&[]).done().of("file").is_empty());
}

#[test]
fn sidecars_go_with_their_files() {
    let sidecar = |mirror: &Mirror, collection, file, part: &str, text: &str| {
        let folder = &mirror.state().decrypt.folders[&collection].name;
        fs::create_dir_all(mirror.path(&format!("{folder}/metadata"))).unwrap();
        fs::write(mirror.path(&format!("{folder}/metadata/{part}.json")), text).unwrap();
        let mut journal = Journal::open(&mirror.path(".ente"), "meta").unwrap();
        journal.append(&MetaFact::Sidecar(Sidecar {
            collection,
            file,
            blake3: Some(blake3::hash(b"ours")),
            ..Sidecar::default()
        }));
        journal.sync().unwrap();
    };
    let mirror = changed(Mirror::initial(), |mirror| {
        sidecar(mirror, 13, 105, "IMG_0001.jpg", "ours");
        sidecar(mirror, 13, 103, "photo1_1.jpg", "ours");
        sidecar(mirror, 14, 106, "VID_20240605.mp4", "ours");
        sidecar(mirror, 14, 104, "Grandma's birthday.jpg", "ours");
        sidecar(mirror, 25, 130, "from an old client.jpg", "edited");
    });
    mirror.run(&[]).done();
    let tree = mirror.tree();
    let sidecars: Vec<_> = tree
        .keys()
        .filter(|path| path.contains("/metadata/"))
        .collect();
    assert_eq!(
        sidecars,
        [
            "Plain old name/metadata/from an old client.jpg.json",
            "Vacation 2024 (Italy)/metadata/Sunset.jpg.json",
            "Vacation 2024 (Italy)/metadata/photo1_1.jpg.json",
        ],
        "edited; renamed; kept for the new content; in another album `ente-meta` writes it anew"
    );
    let trash = mirror.held("trash");
    let gone = "2025-11-22/Family/metadata/VID_20240605.mp4.json".to_owned();
    assert!(trash.contains(&gone), "{trash:?}");
}
