//! What belongs to the user stays, whatever else happens.

use std::fs;
use std::path::Path;

use ente_common::exit::Exit;
use ente_common::manifest::Journal;
use ente_common::manifest::facts::{
    DecryptFact, Finding, MetaFact, Part, Placement, Sidecar, Trash, VerifyFact,
};

use crate::mirror::Mirror;

/// Moves an album out of the export and leaves a link to it.
#[cfg(unix)]
fn move_away(mirror: &Mirror, folder: &str, to: &Path) {
    fs::rename(mirror.path(folder), to).unwrap();
    std::os::unix::fs::symlink(to, mirror.path(folder)).unwrap();
}

fn record<F: ente_common::manifest::journal::Facts>(mirror: &Mirror, name: &str, fact: &F) {
    let mut journal = Journal::open(&mirror.path(".ente"), name).unwrap();
    journal.append(fact);
    journal.sync().unwrap();
}

fn class_of(problems: &[(String, i64)]) -> Vec<&str> {
    problems.iter().map(|(class, _)| class.as_str()).collect()
}

#[cfg(unix)]
#[test]
fn nothing_behind_a_link_is_moved() {
    let mut mirror = Mirror::initial();
    let _ = mirror.run(&[]).done();
    let elsewhere = tempfile::tempdir().unwrap();
    let album = elsewhere.path().join("album");
    move_away(&mirror, "Vacation 2024", &album);
    let names = || -> Vec<_> {
        let mut names: Vec<_> = fs::read_dir(&album)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    let before = names();
    // There one file has new content, others are new or gone, and the album has another name.
    mirror.list("2-changed", |_| ());
    mirror.fetch_all("2-changed");
    let outcome = mirror.run(&[]);
    assert_eq!(outcome.exit, Ok(Exit::Problems));
    assert_eq!(names(), before);
    fs::remove_file(mirror.path("Vacation 2024")).unwrap();
    fs::rename(&album, mirror.path("Vacation 2024")).unwrap();
    let _ = mirror.run(&[]).done();
    crate::golden::assert_tree(&mirror, "2-changed");
}

#[cfg(unix)]
#[test]
fn a_changed_file_behind_a_link_is_no_source() {
    let mirror = Mirror::initial();
    let _ = mirror.run(&[]).done();
    let state = mirror.state().decrypt;
    let (lost, linked) = (
        state.path((13, 101), 0).unwrap(),
        state.path((15, 101), 0).unwrap(),
    );
    let elsewhere = tempfile::tempdir().unwrap();
    let folder = state.folders[&15].name.clone();
    move_away(&mirror, &folder, &elsewhere.path().join("album"));
    fs::remove_file(mirror.path(&lost)).unwrap();
    fs::remove_file(mirror.path(&linked)).unwrap();
    fs::write(mirror.path(&linked), "edited").unwrap();
    let missing = Finding {
        collection: 13,
        file: 101,
        class: "missing".into(),
        n: state.placements[&(13, 101)].n,
        ..Finding::default()
    };
    record(&mirror, "verify", &VerifyFact::Finding(missing));
    assert_eq!(mirror.run(&[]).exit, Ok(Exit::Problems));
    assert_eq!(fs::read(mirror.path(&linked)).unwrap(), b"edited");
}

#[test]
fn an_edited_sidecar_outlives_its_file() {
    for on_remove in ["trash", "delete"] {
        let mut mirror = Mirror::initial();
        let _ = mirror.run(&[]).done();
        let path = mirror.state().decrypt.path((14, 106), 0).unwrap();
        let (folder, name) = path.rsplit_once('/').unwrap();
        let sidecar = mirror.path(&format!("{folder}/metadata/{name}.json"));
        fs::create_dir_all(sidecar.parent().unwrap()).unwrap();
        fs::write(&sidecar, "edited").unwrap();
        let written = Sidecar {
            collection: 14,
            file: 106,
            blake3: Some(blake3::hash(b"as written")),
            n: 1,
            ..Sidecar::default()
        };
        record(&mirror, "meta", &MetaFact::Sidecar(written));
        mirror.list("2-changed", |_| ());
        mirror.fetch_all("2-changed");
        let _ = mirror.run(&["--on-remove", on_remove]).done();
        assert!(!mirror.path(&path).exists());
        assert_eq!(fs::read(&sidecar).unwrap(), b"edited", "{on_remove}");
    }
}

#[test]
fn what_came_into_the_way_of_a_killed_run_stays_and_the_file_comes_too() {
    for kind in ["new", "old"] {
        let mirror = Mirror::initial();
        let _ = mirror.run(&[]).done();
        let state = mirror.state().decrypt;
        let path = mirror.path(&state.path((13, 101), 0).unwrap());
        let bytes = fs::read(&path).unwrap();
        let version = state.placements[&(13, 101)].version.unwrap();
        let parked = mirror.path(&format!(".ente/partial/{kind}-13-101-0-{version}"));
        fs::rename(&path, parked).unwrap();
        fs::write(&path, "mine").unwrap();
        let outcome = mirror.run(&[]);
        assert_eq!(outcome.exit, Ok(Exit::Problems), "{kind}");
        let problems: Vec<_> = outcome.problems().into_iter().collect();
        assert!(class_of(&problems).contains(&"modified"), "{problems:?}");
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        let now = mirror.path(&mirror.state().decrypt.path((13, 101), 0).unwrap());
        assert_ne!(now, path, "{kind}");
        assert_eq!(fs::read(now).unwrap(), bytes);
        assert!(mirror.held("partial").is_empty());
        let _ = mirror.run(&[]).done();
    }
}

#[test]
fn a_rotten_source_is_told_of_and_leaves_the_tree() {
    let mirror = Mirror::initial();
    let _ = mirror.run(&["--link", "copy"]).done();
    let state = mirror.state().decrypt;
    let path = |collection| mirror.path(&state.path((collection, 101), 0).unwrap());
    fs::remove_file(path(13)).unwrap();
    let time = fs::metadata(path(15)).unwrap().modified().unwrap();
    let mut bytes = fs::read(path(15)).unwrap();
    bytes[99] ^= 1;
    fs::write(path(15), bytes).unwrap();
    let file = fs::File::options().write(true).open(path(15)).unwrap();
    file.set_modified(time).unwrap();
    let missing = Finding {
        collection: 13,
        file: 101,
        class: "missing".into(),
        n: state.placements[&(13, 101)].n,
        ..Finding::default()
    };
    record(&mirror, "verify", &VerifyFact::Finding(missing));
    let outcome = mirror.run(&[]);
    assert_eq!(outcome.exit, Ok(Exit::Problems));
    assert!(outcome.problems().contains(&("damaged".to_owned(), 101)));
    assert!(
        !path(13).exists() && !path(15).exists(),
        "the next pull fetches it"
    );
    assert!(
        !mirror
            .state()
            .plaintexts()
            .iter()
            .any(|content| content.0 == 101)
    );
}

/// The manifest of a mirror comes from a box that nobody trusts.
#[test]
fn forged_facts_take_nothing_from_outside() {
    for is_trash in [false, true] {
        let mut mirror = Mirror::initial();
        let _ = mirror.run(&[]).done();
        let placement = mirror.state().decrypt.placements[&(14, 106)].clone();
        // In the second state 106 is removed.
        mirror.list("2-changed", |_| ());
        mirror.fetch_all("2-changed");
        let precious = mirror.dir().with_file_name("precious.mp4");
        fs::write(&precious, "precious").unwrap();
        let metadata = fs::metadata(&precious).unwrap();
        let (size, mtime) = (metadata.len(), ente_common::disk::mtime_us(&metadata));
        let blake3 = Some(blake3::hash(b"precious"));
        let forged = if is_trash {
            let _ = mirror.run(&["--on-remove", "delete"]).done();
            mirror.list("1-initial", |_| ());
            DecryptFact::Trash(Trash {
                path: "../../../precious.mp4".into(),
                collection: 14,
                file: 106,
                of: 1,
                version: placement.version,
                size,
                blake3,
                mtime,
                reason: "removed".into(),
                ..Trash::default()
            })
        } else {
            let parts = vec![Part {
                name: "../../precious.mp4".into(),
                size,
                blake3,
                mtime,
                ..Part::default()
            }];
            DecryptFact::Placement(Placement {
                parts,
                ..*placement
            })
        };
        record(&mirror, "decrypt", &forged);
        let exit = mirror.run(&[]).exit;
        assert!(precious.exists(), "{exit:?}");
        let failure = exit.unwrap_err();
        assert_eq!(failure.what, "the manifest is damaged", "{failure:?}");
    }
}
