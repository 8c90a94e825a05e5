//! What could not go where it should, or is to come back from where it went, and what later runs make of it.

use std::fs;
use std::path::PathBuf;

use ente_tests::harness::{Machine, Outcome, expect_all, tree};
use ente_tests::library::{Content, Library, Live, NewFile, Picture};
use ente_tests::museum::{Museum, Options};

const EMAIL: &str = "ada@example.org";
const PASSWORD: &str = "password";

struct Scene {
    museum: Museum,
    machine: Machine,
}

impl Scene {
    /// A machine that is signed in to an account; what filling that gave.
    fn new<T>(fill: impl FnOnce(&mut Live) -> T) -> (Self, T) {
        let mut library = Library::empty(7, EMAIL, PASSWORD);
        let filled = fill(library.live_mut());
        let museum = Museum::start(library, Options::default());
        let machine = crate::machine();
        let _ = machine.sign_in(museum.api_url(), EMAIL, PASSWORD).expect(0);
        (Self { museum, machine }, filled)
    }

    fn change(&self, change: impl FnOnce(&mut Live)) {
        self.museum
            .with_library(|library| change(library.live_mut()));
    }

    /// `ente-pull | ente-decrypt -`, with further options of the latter.
    fn export(&self, options: &[&str]) -> Vec<Outcome> {
        let decrypt = [&["ente-decrypt"], options, &["-"]].concat();
        self.machine
            .pipe(&[&["ente-pull", self.machine.dir()], &decrypt])
    }

    fn path(&self, path: &str) -> PathBuf {
        self.machine.export.join(path)
    }

    fn has(&self, path: &str) -> bool {
        self.path(path).is_file()
    }

    /// Everything that is recorded is there, whole.
    fn assert_verified(&self) {
        let _ = self
            .machine
            .run(&["ente-verify", self.machine.dir()])
            .expect(0);
    }

    /// Lets a file rot.
    fn spoil(&self, path: &str) {
        let path = self.path(path);
        let metadata = fs::metadata(&path).unwrap();
        fs::write(&path, vec![0; metadata.len() as usize]).unwrap();
        let rotten = fs::File::options().write(true).open(&path).unwrap();
        rotten.set_modified(metadata.modified().unwrap()).unwrap();
    }

    /// Lets a file rot, and `ente-verify` find it.
    fn rot(&self, path: &str) {
        self.spoil(path);
        let _ = self
            .machine
            .run(&["ente-verify", self.machine.dir()])
            .expect(4);
    }

    /// The names of files in the trash, below the folder of the day.
    fn trash(&self) -> Vec<String> {
        let files = tree(&self.path(".ente/trash"));
        let below = |path: &String| path.split_once('/').unwrap().1.to_owned();
        files.keys().map(below).collect()
    }
}

fn picture(seed: u8) -> Picture {
    Picture {
        variant: seed.into(),
        ..Picture::default()
    }
}

fn photo(title: &str, seed: u8) -> NewFile {
    NewFile::new(title, Content::Photo(picture(seed)))
}

fn live_photo(title: &str, seed: u8) -> NewFile {
    let content = Content::LivePhoto {
        picture: picture(seed),
        image: "heic",
        video: "mov",
    };
    NewFile::new(title, content)
}

#[test]
fn half_a_live_photo_that_the_account_has_is_not_deleted() {
    let (scene, file) = Scene::new(|live| {
        let album = live.create_album("Album");
        live.upload(album, live_photo("a.heic", 1))
    });
    expect_all(&scene.export(&["--on-remove", "delete"]), 0);
    fs::remove_file(scene.path("Album/a.mov")).unwrap();
    scene.change(|live| live.rename(file, "b.heic"));
    let _ = scene.export(&["--on-remove", "delete"]);
    assert_eq!(scene.trash(), ["Album/a.heic"]);
    let _ = scene.export(&[]);
    assert!(scene.has("Album/b.heic") && scene.has("Album/b.mov"));
}

#[test]
fn half_a_live_photo_that_moves_to_another_album_is_not_deleted() {
    let (scene, (file, first, second)) = Scene::new(|live| {
        let first = live.create_album("First");
        let second = live.create_album("Second");
        live.upload(second, photo("x.jpg", 2));
        (live.upload(first, live_photo("a.heic", 1)), first, second)
    });
    expect_all(&scene.export(&["--on-remove", "delete"]), 0);
    fs::remove_file(scene.path("First/a.mov")).unwrap();
    scene.change(|live| live.move_to(file, first, second));
    let _ = scene.export(&["--on-remove", "delete"]);
    assert_eq!(scene.trash(), ["First/a.heic"]);
    let _ = scene.export(&[]);
    assert!(scene.has("Second/a.heic") && scene.has("Second/a.mov"));
}

#[test]
fn content_comes_back_from_another_copy_in_the_trash_where_one_was_cleared() {
    let (scene, (file, first)) = Scene::new(|live| {
        let first = live.create_album("First");
        let second = live.create_album("Second");
        let file = live.upload(first, photo("x.jpg", 1));
        live.add(file, second);
        live.upload(first, photo("y.jpg", 2));
        live.upload(second, photo("z.jpg", 3));
        (file, first)
    });
    expect_all(&scene.export(&[]), 0);
    scene.change(|live| live.trash(file));
    expect_all(&scene.export(&[]), 0);
    let trashed = tree(&scene.path(".ente/trash"));
    assert_eq!(scene.trash(), ["First/x.jpg", "Second/x.jpg"]);
    let second = trashed.keys().find(|path| path.contains("Second")).unwrap();
    fs::remove_file(scene.path(".ente/trash").join(second)).unwrap();
    scene.change(|live| live.restore(file, first));
    let _ = scene.export(&[]);
    let _ = scene.export(&[]);
    assert!(scene.has("First/x.jpg"));
    scene.assert_verified();
}

#[test]
fn what_cannot_come_back_from_the_trash_stays_there_as_it_is() {
    let (scene, (album, file)) = Scene::new(|live| {
        let album = live.create_album("Old");
        live.upload(album, photo("y.jpg", 2));
        (album, live.upload(album, photo("x.jpg", 1)))
    });
    expect_all(&scene.export(&[]), 0);
    scene.change(|live| live.trash(file));
    expect_all(&scene.export(&[]), 0);
    fs::rename(scene.path("Old"), scene.path("away")).unwrap();
    std::os::unix::fs::symlink("away", scene.path("Old")).unwrap();
    scene.change(|live| {
        live.rename_album(album, "New");
        live.restore(file, album);
    });
    for _ in 0..2 {
        let outcomes = scene.export(&[]);
        let end = outcomes[1].records_of("end");
        assert_eq!(end[0]["counts"]["ente-decrypt"]["removed"], 0);
        assert_eq!(scene.trash(), ["Old/x.jpg"]);
    }
    fs::remove_file(scene.path("Old")).unwrap();
    fs::rename(scene.path("away"), scene.path("Old")).unwrap();
    expect_all(&scene.export(&[]), 0);
    assert!(scene.has("New/x.jpg") && scene.has("New/y.jpg"));
    scene.assert_verified();
}

#[test]
fn a_rename_that_failed_is_not_recorded_by_a_run_of_one_album() {
    let (scene, album) = Scene::new(|live| {
        let album = live.create_album("Old");
        live.upload(album, photo("x.jpg", 1));
        album
    });
    expect_all(&scene.export(&[]), 0);
    fs::write(scene.path("New"), "in the way").unwrap();
    scene.change(|live| live.rename_album(album, "New"));
    let _ = scene.export(&[]);
    let _ = scene.machine.pipe(&[
        &["ente-pull", "--list", scene.machine.dir()],
        &["ente-meta", "--album", "New", "-"],
        &["ente-pull", "--only", "-", scene.machine.dir()],
        &["ente-decrypt", "-"],
    ]);
    assert!(scene.has("Old/x.jpg"));
    scene.assert_verified();
    fs::remove_file(scene.path("New")).unwrap();
    expect_all(&scene.export(&[]), 0);
    assert!(scene.has("New/x.jpg") && !scene.path("Old").exists());
    scene.assert_verified();
}

#[test]
fn no_two_albums_share_a_folder_where_the_last_of_a_chain_cannot_be_renamed() {
    let (scene, (first, second)) = Scene::new(|live| {
        let first = live.create_album("A");
        let second = live.create_album("B");
        live.upload(first, photo("x.jpg", 1));
        live.upload(second, photo("y.jpg", 2));
        (first, second)
    });
    expect_all(&scene.export(&[]), 0);
    fs::write(scene.path("C"), "in the way").unwrap();
    scene.change(|live| {
        live.rename_album(second, "C");
        live.rename_album(first, "B");
    });
    let _ = scene.export(&[]);
    assert!(scene.has("A/x.jpg") && scene.has("B/y.jpg"));
    scene.assert_verified();
    fs::remove_file(scene.path("C")).unwrap();
    expect_all(&scene.export(&[]), 0);
    assert!(scene.has("B/x.jpg") && scene.has("C/y.jpg"));
    scene.assert_verified();
}

#[test]
fn an_empty_album_is_not_renamed_to_the_folder_that_another_one_keeps() {
    let (scene, (empty, full)) = Scene::new(|live| {
        let empty = live.create_album("A");
        let full = live.create_album("B");
        live.upload(full, photo("y.jpg", 2));
        (empty, full)
    });
    expect_all(&scene.export(&[]), 0);
    let _ = fs::remove_dir(scene.path("A"));
    fs::write(scene.path("C"), "in the way").unwrap();
    scene.change(|live| {
        live.rename_album(full, "C");
        live.rename_album(empty, "B");
    });
    let _ = scene.export(&[]);
    scene.change(|live| {
        live.upload(empty, photo("x.jpg", 1));
    });
    let _ = scene.export(&[]);
    assert!(scene.has("A/x.jpg") && scene.has("B/y.jpg"));
    fs::remove_file(scene.path("C")).unwrap();
    expect_all(&scene.export(&[]), 0);
    assert!(scene.has("B/x.jpg") && scene.has("C/y.jpg"));
    scene.assert_verified();
}

#[test]
fn another_time_is_remembered_though_something_else_is_wrong() {
    let dated = |title: &str, seed| NewFile {
        modified_at_us: 1_600_000_000_000_000,
        ..photo(title, seed)
    };
    let (scene, album) = Scene::new(|live| {
        let album = live.create_album("Album");
        live.upload(album, dated("x.jpg", 1));
        album
    });
    expect_all(&scene.export(&[]), 0);
    fs::write(scene.path("New"), "in the way").unwrap();
    scene.change(|live| live.rename_album(album, "New"));
    let _ = scene.export(&["--mtime", "modified"]);
    scene.change(|live| {
        live.upload(album, dated("y.jpg", 2));
    });
    let _ = scene.export(&[]);
    let metadata = fs::metadata(scene.path("Album/y.jpg")).unwrap();
    let time = metadata.modified().unwrap();
    let time = time.duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(time.as_secs(), 1_600_000_000);
}

#[test]
fn a_new_album_leaves_the_folder_to_one_that_was_to_give_it_up_and_cannot() {
    let (scene, old) = Scene::new(|live| {
        let old = live.create_album("Trip");
        live.upload(old, photo("x.jpg", 1));
        old
    });
    expect_all(&scene.export(&[]), 0);
    fs::write(scene.path("Rome"), "in the way").unwrap();
    scene.change(|live| {
        live.rename_album(old, "Rome");
        let new = live.create_album("Trip");
        live.upload(new, photo("y.jpg", 2));
    });
    let _ = scene.export(&[]);
    assert!(scene.has("Trip/x.jpg") && scene.has("Trip_1/y.jpg"));
    scene.assert_verified();
    fs::remove_file(scene.path("Rome")).unwrap();
    expect_all(&scene.export(&[]), 0);
    assert!(scene.has("Rome/x.jpg") && scene.has("Trip_1/y.jpg"));
    scene.assert_verified();
}

#[test]
fn another_time_is_given_to_all_files_though_one_album_had_it_first() {
    let (scene, ()) = Scene::new(|live| {
        for (album, seed) in [("First", 1), ("Second", 2)] {
            let album = live.create_album(album);
            let file = NewFile {
                modified_at_us: 1_600_000_000_000_000,
                ..photo("x.jpg", seed)
            };
            live.upload(album, file);
        }
    });
    expect_all(&scene.export(&[]), 0);
    expect_all(
        &scene.machine.pipe(&[
            &["ente-pull", "--list", scene.machine.dir()],
            &["ente-meta", "--album", "First", "-"],
            &["ente-pull", "--only", "-", scene.machine.dir()],
            &["ente-decrypt", "--mtime", "modified", "-"],
        ]),
        0,
    );
    expect_all(&scene.export(&["--mtime", "modified"]), 0);
    for album in ["First", "Second"] {
        let metadata = fs::metadata(scene.path(album).join("x.jpg")).unwrap();
        let time = metadata.modified().unwrap();
        let time = time.duration_since(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(time.as_secs(), 1_600_000_000, "{album}");
    }
    scene.assert_verified();
}

#[test]
fn a_good_copy_in_the_trash_takes_the_place_of_a_damaged_file() {
    let (scene, (file, second)) = Scene::new(|live| {
        let first = live.create_album("First");
        let second = live.create_album("Second");
        let file = live.upload(first, photo("x.jpg", 1));
        live.add(file, second);
        (file, second)
    });
    expect_all(&scene.export(&["--link", "copy"]), 0);
    scene.change(|live| live.remove(file, second));
    expect_all(&scene.export(&[]), 0);
    scene.rot("First/x.jpg");
    scene.museum.reset_log();
    expect_all(&scene.export(&[]), 0);
    assert!(scene.museum.fetched_objects().is_empty());
    assert_eq!(scene.trash(), ["First/x.jpg"]);
    scene.assert_verified();
}

#[test]
fn a_good_copy_that_is_adopted_takes_the_place_of_a_damaged_file() {
    let (scene, file) = Scene::new(|live| {
        let album = live.create_album("Album");
        live.upload(album, photo("x.jpg", 1))
    });
    expect_all(&scene.export(&[]), 0);
    let live = |library: &mut Library| library.live().content(file);
    let good = scene.museum.with_library(live);
    scene.rot("Album/x.jpg");
    fs::write(scene.path("copy.jpg"), good).unwrap();
    let _ = scene.machine.pipe(&[
        &["ente-pull", "--list", scene.machine.dir()],
        &["ente-meta", "-"],
        &["ente-verify", "--adopt", scene.machine.dir(), "-"],
    ]);
    scene.museum.reset_log();
    expect_all(&scene.export(&[]), 0);
    assert!(scene.museum.fetched_objects().is_empty());
    assert!(!scene.has("Album/x_1.jpg") && !scene.has("copy.jpg"));
    assert_eq!(scene.trash(), ["Album/x.jpg"]);
    scene.assert_verified();
}

#[test]
fn what_rotted_in_the_trash_too_does_not_come_back() {
    let (scene, (first, second, file)) = Scene::new(|live| {
        let (first, second) = (live.create_album("One"), live.create_album("Two"));
        let file = live.upload(first, photo("a.jpg", 1));
        live.add(file, second);
        (first, second, file)
    });
    expect_all(&scene.export(&["--link", "hard"]), 0);
    let content = fs::read(scene.path("One/a.jpg")).unwrap();
    scene.change(|live| live.remove(file, second));
    expect_all(&scene.export(&[]), 0);
    assert_eq!(scene.trash(), ["Two/a.jpg"]);
    // The same file under both names.
    scene.rot("One/a.jpg");
    let outcomes = scene.export(&[]);
    assert_eq!(outcomes[1].code, 3, "{}", outcomes[1].stderr);
    let problems = outcomes[1].records_of("problem");
    assert_eq!(problems[0]["class"], "missing");
    assert_eq!(problems[0]["collection"], first);
    expect_all(&scene.export(&[]), 0);
    assert!(fs::read(scene.path("One/a.jpg")).unwrap() == content);
    scene.assert_verified();
}

#[test]
fn no_sidecar_stays_behind_a_part_that_was_gone() {
    let (scene, (album, file)) = Scene::new(|live| {
        let album = live.create_album("Album");
        live.upload(album, photo("b.jpg", 2));
        (album, live.upload(album, photo("a-edited.jpg", 1)))
    });
    let export = || expect_all(&scene.machine.pipeline(), 0);
    export();
    let sidecars = [
        "Album/metadata/a-edited.jpg.json",
        "Album/metadata/a.jpg.json",
    ];
    assert!(sidecars.iter().all(|sidecar| scene.has(sidecar)));
    for lost in ["Album/a-edited.jpg", sidecars[0]] {
        fs::remove_file(scene.path(lost)).unwrap();
        scene.change(|live| live.remove(file, album));
        export();
        let left: Vec<_> = sidecars.iter().filter(|it| scene.has(it)).collect();
        assert!(left.is_empty(), "{lost}: {left:?}");
        scene.change(|live| live.add(file, album));
        export();
        assert!(sidecars.iter().all(|sidecar| scene.has(sidecar)));
        scene.assert_verified();
    }
    // As before, what somebody wrote into one is theirs.
    fs::remove_file(scene.path("Album/a-edited.jpg")).unwrap();
    fs::write(scene.path(sidecars[0]), "mine").unwrap();
    scene.change(|live| live.remove(file, album));
    let _ = scene.machine.pipeline();
    assert_eq!(fs::read(scene.path(sidecars[0])).unwrap(), b"mine");
}

#[test]
fn a_sidecar_is_ours_again_once_its_lost_part_is_back() {
    let (scene, (second, file)) = Scene::new(|live| {
        let (first, second) = (live.create_album("One"), live.create_album("Two"));
        (second, live.upload(first, photo("a.jpg", 1)))
    });
    expect_all(&scene.export(&["--link", "copy"]), 0);
    expect_all(&scene.machine.pipeline(), 0);
    // Found where it is to be linked; until `ente-pull` fetched it again the placement has no part.
    scene.spoil("One/a.jpg");
    scene.change(|live| live.add(file, second));
    assert_eq!(scene.machine.pipeline()[1].code, 3);
    expect_all(&scene.machine.pipeline(), 0);
    let sidecar = fs::read_to_string(scene.path("One/metadata/a.jpg.json")).unwrap();
    assert!(sidecar.contains("Two"), "{sidecar}");
    scene.assert_verified();
}
