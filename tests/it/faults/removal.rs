//! What leaves the account leaves the export, and nothing else does.

use super::{IMPATIENT, Scene, content, look, problem, problems};
use ente_tests::harness::{Outcome, assert_same, expect_all};
use ente_tests::journal::summed;
use ente_tests::library::{Live, NewFile};
use ente_tests::museum::{Fault, Match};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::time::SystemTime;

const HELD_BACK: &str = "removals-held-back";

/// An export that is up to date.
fn exported() -> Scene {
    let scene = Scene::new();
    expect_all(&scene.machine.pipeline(), 0);
    scene
}

impl Scene {
    /// A run that changes nothing, exits with 3 and says what it could not believe.
    fn assert_kept(&self, options: &[&str], expected: &[(String, i64)]) {
        let before = look(&self.machine.export);
        let outcomes = self.pull_and_go_on(options);
        assert_eq!(problems(&outcomes), expected);
        for outcome in &outcomes[..3] {
            assert_eq!(outcome.code, 3, "{}", outcome.stderr);
        }
        assert_same(&look(&self.machine.export), &before);
        assert!(
            outcomes[0].stderr.contains("warning: "),
            "{}",
            outcomes[0].stderr
        );
    }

    /// The whole pipe, whatever comes of it.
    fn pull_and_go_on(&self, options: &[&str]) -> Vec<Outcome> {
        let mut pull = vec!["ente-pull"];
        pull.extend(options);
        pull.push(self.machine.dir());
        let rest: [&[&str]; 3] = [
            &["ente-decrypt", "-"],
            &["ente-meta", "-"],
            &["ente-verify", "-"],
        ];
        self.machine.pipe(&[&pull[..], rest[0], rest[1], rest[2]])
    }

    /// A plain run follows the account; tells what was fetched.
    fn follow(&self) -> BTreeSet<i64> {
        self.museum.reset_log();
        expect_all(&self.machine.pipeline(), 0);
        assert_same(&look(&self.machine.export), &self.reference);
        self.museum.fetched_objects()
    }

    /// Files in the trash of the export.
    fn trashed(&self) -> usize {
        let trash = walkdir::WalkDir::new(self.machine.export.join(".ente/trash"));
        let files = trash
            .into_iter()
            .flatten()
            .filter(|entry| entry.file_type().is_file());
        files
            .filter(|entry| entry.path().extension().is_some_and(|one| one == "jpg"))
            .count()
    }
}

#[test]
fn what_the_server_trashed_comes_back_from_our_trash_until_that_is_emptied() {
    let mut scene = exported();
    let (album, id) = (scene.albums[0], scene.files[1]);
    scene.change(|live| live.trash(id));
    assert_eq!(scene.follow(), BTreeSet::new());
    assert_eq!(scene.trashed(), 1);
    scene.change(|live| live.restore(id, album));
    assert_eq!(scene.follow(), BTreeSet::new(), "no download");
    assert_eq!(scene.trashed(), 0);

    scene.change(|live| live.trash(id));
    scene.follow();
    // What was trashed today stays for its thirty days; what is asked for goes.
    for (prune, left) in [("--prune", 1), ("--prune=0", 0)] {
        let _ = scene
            .machine
            .run(&["ente-verify", prune, scene.machine.dir()])
            .expect(0);
        assert_eq!(scene.trashed(), left, "{prune}");
    }
    assert_same(&look(&scene.machine.export), &scene.reference);
    scene.change(|live| live.restore(id, album));
    assert_eq!(scene.follow(), BTreeSet::from([id]));
}

#[test]
fn what_is_removed_is_trashed_kept_or_deleted_as_chosen() {
    for (choice, in_tree, in_trash) in [("trash", 0, 1), ("keep", 1, 0), ("delete", 0, 0)] {
        let mut scene = exported();
        let (album, id) = (scene.albums[0], scene.files[1]);
        let _ = scene
            .machine
            .run(&["ente-decrypt", "--on-remove", choice, scene.machine.dir()])
            .expect(0);
        scene.change(|live| live.trash(id));
        expect_all(&scene.machine.pipeline(), 0);
        let is_there = look(&scene.machine.export).contains_key("One/1.jpg");
        assert_eq!(
            (usize::from(is_there), scene.trashed()),
            (in_tree, in_trash),
            "{choice}"
        );
        scene.change(|live| live.restore(id, album));
        if choice == "keep" {
            // What was kept is the user's from then on, so what comes back takes the next free name.
            let kept = scene.reference["One/1.jpg"].clone();
            expect_all(&scene.machine.pipeline(), 0);
            let files = look(&scene.machine.export);
            assert_eq!((&files["One/1.jpg"], &files["One/1_1.jpg"]), (&kept, &kept));
        } else {
            assert_eq!(scene.follow().contains(&id), choice == "delete", "{choice}");
        }
    }
}

#[test]
fn a_choice_of_a_newer_release_deletes_nothing() {
    let mut scene = exported();
    let keep = ["ente-pull", "--objects", "keep", scene.machine.dir()];
    let _ = scene.machine.run(&keep).expect(0);
    let chosen = ["ente-decrypt", "--on-remove", "delete", scene.machine.dir()];
    let _ = scene.machine.run(&chosen).expect(0);
    let journal = scene.machine.export.join(".ente/decrypt.jsonl");
    let facts = fs::read_to_string(&journal).unwrap();
    let newer = facts.replace("\"delete\"", "\"hand-over\"");
    assert_ne!(newer, facts);
    fs::write(&journal, summed(newer.as_bytes())).unwrap();
    let id = scene.files[1];
    scene.change(|live| live.trash(id));
    expect_all(&scene.machine.pipeline(), 0);
    assert_eq!(scene.trashed(), 1);
    let object = format!("{id}-");
    let trash = walkdir::WalkDir::new(scene.machine.export.join(".ente/trash"));
    let mut names = trash.into_iter().map(|entry| entry.unwrap());
    assert!(names.any(|entry| entry.file_name().to_string_lossy().starts_with(&object)));
}

#[test]
fn what_moved_to_an_album_that_cannot_be_had_waits_in_the_trash() {
    for is_emptied in [false, true] {
        let mut scene = exported();
        let (from, id) = (scene.albums[0], scene.files[1]);
        let blocked = scene.machine.export.join("Blocked");
        fs::write(&blocked, "a list").unwrap();
        let _ = scene
            .machine
            .run(&["ente-decrypt", "--on-remove", "delete", scene.machine.dir()])
            .expect(0);
        scene.change(|live| {
            let to = live.create_album("Blocked");
            live.move_to(id, from, to);
        });
        let outcomes = scene.pull_and_go_on(&[]);
        assert_eq!(outcomes[1].code, 3, "{}", outcomes[1].stderr);
        assert_eq!(scene.trashed(), 1, "the account still has it");
        assert_eq!(fs::read_to_string(&blocked).unwrap(), "a list");
        fs::remove_file(&blocked).unwrap();
        if is_emptied {
            fs::remove_dir_all(scene.machine.export.join(".ente/trash")).unwrap();
        }
        scene.museum.reset_log();
        // Where it was to be taken from the trash, only `ente-decrypt` finds that empty. No check tells `ente-pull` besides.
        let export = |codes| {
            let pull = ["ente-pull", scene.machine.dir()];
            let outcomes = scene.machine.pipe(&[&pull, &["ente-decrypt", "-"]]);
            assert_eq!([outcomes[0].code, outcomes[1].code], codes);
        };
        export([0, if is_emptied { 3 } else { 0 }]);
        export([0, 0]);
        assert_eq!(scene.museum.fetched_objects().contains(&id), is_emptied);
        assert!(blocked.join("1.jpg").is_file());
        let facts = fs::read_to_string(scene.machine.export.join(".ente/decrypt.jsonl")).unwrap();
        let mut ends = facts
            .lines()
            .filter(|line| line.contains(r#""fact":"trash""#));
        let ended = ends.rfind(|line| line.contains(r#""gone":true"#)).unwrap();
        assert!(ended.contains(&format!(r#""file":{id}"#)), "{ended}");
    }
}

#[test]
fn what_was_taken_over_goes_back_where_its_album_cannot_be_had() {
    // Elsewhere, and where it belongs.
    for name in ["Ours", "Voyage"] {
        let mut scene = exported();
        let export = scene.machine.export.clone();
        // The user has another name for the folder, and then another use for its name.
        let ours = export.join(name);
        fs::rename(export.join("One"), &ours).unwrap();
        let photo = fs::File::open(ours.join("1.jpg")).unwrap();
        photo.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let _ = scene
            .machine
            .run(&["ente-verify", scene.machine.dir()])
            .expect(4);
        let adopted = scene.machine.pipe(&[
            &["ente-pull", "--list", scene.machine.dir()],
            &["ente-meta", "-"],
            &["ente-verify", "--adopt", scene.machine.dir(), "-"],
        ]);
        expect_all(&adopted, 0);
        fs::write(export.join("One"), "a list").unwrap();
        let before = look(&export);
        let album = scene.albums[0];
        scene.change(|live| live.rename_album(album, "Voyage"));
        for _ in 0..2 {
            scene.museum.reset_log();
            let outcomes = scene.pull_and_go_on(&[]);
            assert_eq!(outcomes[1].code, 3, "{outcomes:?}");
            assert_eq!(scene.museum.fetched_objects(), BTreeSet::new(), "{name}");
            let after = look(&export);
            for (path, entry) in before.iter().filter(|(path, _)| path.ends_with(".jpg")) {
                assert_eq!(after.get(path), Some(entry), "`{path}`");
            }
            assert_eq!(scene.trashed(), 0);
        }
        fs::remove_file(export.join("One")).unwrap();
        scene.museum.reset_log();
        let outcomes = scene.pull_and_go_on(&[]);
        assert_eq!(outcomes[1].code, 0, "{outcomes:?}");
        assert_eq!(scene.museum.fetched_objects(), BTreeSet::new(), "{name}");
        assert!(export.join("Voyage/1.jpg").is_file());
    }
}

#[test]
fn too_many_removals_need_a_word() {
    let mut scene = Scene::new();
    let album = scene.albums[0];
    let many: Vec<i64> = scene.change(|live| {
        let upload =
            |n: u8| NewFile::new(&format!("many {n}.jpg"), content(n, 100 + usize::from(n)));
        (0..120).map(|n| live.upload(album, upload(n))).collect()
    });
    scene.follow();
    scene.change(|live| many.iter().for_each(|id| live.trash(*id)));
    scene.assert_kept(&[], &[problem(HELD_BACK, 0)]);
    scene.assert_kept(&["--max-remove", "119"], &[problem(HELD_BACK, 0)]);
    scene.assert_kept(&[], &[problem(HELD_BACK, 0)]);
    expect_all(&scene.pull_and_go_on(&["--max-remove", "120"]), 0);
    assert_eq!(scene.follow(), BTreeSet::new());
    assert_eq!(scene.trashed(), 120);
    // The word was for that run.
    scene.change(|live| many.iter().for_each(|id| live.restore(*id, album)));
    assert_eq!(scene.follow(), BTreeSet::new());
    scene.change(|live| many.iter().for_each(|id| live.trash(*id)));
    scene.assert_kept(&[], &[problem(HELD_BACK, 0)]);
}

fn no_files() -> Fault {
    Fault::edit(|answer| answer["diff"] = json!([]))
}

#[test]
fn an_account_that_looks_empty_removes_nothing() {
    let scene = exported();
    let albums = scene.albums;
    let missing: Vec<_> = albums.map(|album| problem("album-missing", album)).into();
    let cut: Vec<_> = albums
        .map(|album| problem("unexpected-answer", album))
        .into();
    let everything_deleted = Fault::edit(|answer| {
        for collection in answer["collections"].as_array_mut().unwrap() {
            collection["isDeleted"] = true.into();
        }
    });
    let others = Fault::edit(|answer| {
        let mut stranger = answer["collections"][0].clone();
        stranger["id"] = 77.into();
        answer["collections"] = json!([stranger]);
    });
    let held = vec![problem(HELD_BACK, 0)];
    let not_found = problem("not-found", 77);
    for (matches, fault, options, expected) in [
        (
            Match::collections(),
            Fault::json(json!({"collections": []})),
            &[][..],
            held.clone(),
        ),
        (
            Match::collections(),
            Fault::json(json!({"collections": null})),
            &[],
            held.clone(),
        ),
        (Match::collections(), everything_deleted, &[], held),
        (
            Match::collections(),
            others,
            &[],
            [missing, vec![not_found]].concat(),
        ),
        (Match::api().path("/diff"), no_files(), &["--full"], cut),
    ] {
        scene.museum.inject(matches, fault, None);
        // However often it is said.
        for _ in 0..3 {
            scene.assert_kept(options, &expected);
        }
        scene.museum.clear_faults();
        assert_eq!(scene.follow(), BTreeSet::new());
    }
}

fn without_album(album: i64) -> Fault {
    Fault::edit(move |answer| {
        let collections = answer["collections"].as_array_mut().unwrap();
        collections.retain(|collection| collection["id"] != album);
    })
}

#[test]
fn a_list_of_albums_that_is_cut_short_removes_nothing() {
    let scene = exported();
    let album = scene.albums[1];
    scene
        .museum
        .inject(Match::collections(), without_album(album), None);
    for _ in 0..3 {
        scene.assert_kept(&[], &[problem("album-missing", album)]);
    }
    scene.museum.clear_faults();
    assert_eq!(scene.follow(), BTreeSet::new());
}

#[test]
fn an_album_that_is_listed_in_part_removes_nothing() {
    let mut scene = exported();
    let album = scene.albums[0];
    let in_part = Fault::edit(|answer| {
        let entries = answer["diff"].as_array_mut().unwrap();
        entries.truncate(1);
    });
    scene.museum.inject(Match::diff(album), in_part, None);
    for _ in 0..3 {
        scene.assert_kept(&["--full"], &[problem("unexpected-answer", album)]);
    }
    scene.museum.clear_faults();
    assert_eq!(scene.follow(), BTreeSet::new());
    // A file that is really gone without a trace is gone: the server says so when asked.
    let (file, fault) = (scene.files[1], without_file(scene.files[1]));
    scene.change(|live| live.trash(file));
    scene.museum.inject(Match::diff(album), fault, None);
    expect_all(&scene.pull_and_go_on(&["--full"]), 0);
    assert_same(&look(&scene.machine.export), &scene.reference);
}

fn without_file(file: i64) -> Fault {
    Fault::edit(move |answer| {
        let entries = answer["diff"].as_array_mut().unwrap();
        entries.retain(|entry| entry["id"] != file);
    })
}

/// An album of somebody else, with one file.
fn share(live: &mut Live) -> (i64, i64) {
    let album = live.share_in("anna@example.org", "Anna's");
    let file = NewFile::new("anna.jpg", content(50, 700));
    (album, live.upload_by("anna@example.org", album, file))
}

#[test]
fn a_share_that_vanishes_for_one_run_stays() {
    let mut scene = exported();
    let (album, _) = scene.change(share);
    scene.follow();
    let vanish = |scene: &Scene| {
        scene
            .museum
            .with_library(|library| library.live_mut().vanish(album));
        scene.assert_kept(&[], &[problem("album-missing", album)]);
    };
    vanish(&scene);
    scene
        .museum
        .with_library(|library| library.live_mut().share_again(album));
    assert_eq!(scene.follow(), BTreeSet::new());
    // That it was missing once is forgotten by then.
    vanish(&scene);
    // A second run, and the server denies it by another way too: it is gone.
    scene.change(|_| ());
    assert_eq!(scene.follow(), BTreeSet::new());
    assert_eq!(scene.trashed(), 1);
    // Shared again: back without a download.
    scene.change(|live| live.share_again(album));
    assert_eq!(scene.follow(), BTreeSet::new());
    assert_eq!(scene.trashed(), 0);
    // Unshared with a word to that effect: gone at once.
    scene.change(|live| live.unshare(album));
    assert_eq!(scene.follow(), BTreeSet::new());
}

#[test]
fn an_album_that_can_never_be_listed_does_not_hold_up_what_is_certain() {
    let mut scene = exported();
    let [one, two, three] = scene.albums;
    let (album, annas) = scene.change(share);
    let hidden = scene.change(|live| live.create_album("Never"));
    scene.follow();
    let (trashed, moved, twice) = (scene.files[1], scene.files[2], scene.files[0]);
    scene.museum.with_library(|library| {
        let live = library.live_mut();
        live.trash(trashed);
        live.remove(twice, three);
        live.move_to(moved, one, hidden);
        live.remove(annas, album);
        live.rename_album(two, "Zwei");
    });
    scene
        .museum
        .inject(Match::diff(hidden), Fault::Status(403), None);
    let expected = [problem("forbidden", hidden), problem(HELD_BACK, 0)];
    for _ in 0..2 {
        let outcomes = scene.pull_and_go_on(&IMPATIENT);
        assert_eq!(problems(&outcomes), expected);
        assert_eq!(outcomes[0].code, 3);
        let files = look(&scene.machine.export);
        let is_there = |path: &str| files.contains_key(path);
        assert!(
            is_there("One/2.jpg"),
            "it may lie in the album that is not told"
        );
        assert!(is_there("One/0.jpg") && is_there("Zwei/3.jpg"));
        for path in ["One/1.jpg", "Three/0.jpg", "Anna's/anna.jpg", "Two/3.jpg"] {
            assert!(!is_there(path), "`{path}` is certainly gone");
        }
    }
    // The trash cannot be read either: then nothing of one's own is certain.
    scene
        .museum
        .with_library(|library| library.live_mut().trash(scene.files[4]));
    scene
        .museum
        .inject(Match::api().path("/trash/"), Fault::Status(500), None);
    scene.pull_and_go_on(&IMPATIENT);
    assert!(look(&scene.machine.export).contains_key("Zwei/4.jpg"));
    scene.museum.clear_faults();
    scene.refer();
    assert_eq!(scene.follow(), BTreeSet::new());
}

#[test]
fn a_word_lets_through_what_cannot_be_certain() {
    let mut scene = exported();
    let [one, two, _] = scene.albums;
    let moved = scene.files[1];
    scene
        .museum
        .with_library(|library| library.live_mut().move_to(moved, one, two));
    scene
        .museum
        .inject(Match::diff(two), Fault::Status(403), None);
    let kept = [problem("forbidden", two), problem(HELD_BACK, 0)];
    scene.assert_kept(&IMPATIENT, &kept);
    // A number below the default is a brake, and no word.
    let careful = [&IMPATIENT[..], &["--max-remove", "100"]].concat();
    scene.assert_kept(&careful, &kept);
    let trusting = [&IMPATIENT[..], &["--max-remove", "101"]].concat();
    let outcomes = scene.pull_and_go_on(&trusting);
    assert_eq!(problems(&outcomes), [problem("forbidden", two)]);
    assert!(!look(&scene.machine.export).contains_key("One/1.jpg"));
    scene.museum.clear_faults();
    scene.refer();
    assert_eq!(scene.follow(), BTreeSet::new(), "back from the trash");
}
