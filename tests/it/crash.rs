//! What the crash tests (`cargo xtask crash`) found, each in the least that shows it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use ente_tests::harness::{Machine, expect_all, tree};
use ente_tests::journal::{before_rest, summed};
use ente_tests::library::{Content, Library, Live, NewFile, Picture};
use ente_tests::museum::{Museum, Options};

const EMAIL: &str = "crash@example.org";
const PASSWORD: &str = "crash";

fn photo(variant: u64) -> Content {
    Content::Photo(Picture::new(variant))
}

/// A server with an account that is filled in so, and a machine that exported it.
fn exported<T>(fill: impl FnOnce(&mut Live) -> T) -> (Museum, Machine, T) {
    let mut library = Library::empty(7, EMAIL, PASSWORD);
    let ids = fill(library.live_mut());
    let museum = Museum::start(library, Options::default());
    let machine = crate::machine();
    let _ = machine.sign_in(museum.api_url(), EMAIL, PASSWORD).expect(0);
    expect_all(&machine.pipeline(), 0);
    (museum, machine, ids)
}

#[test]
fn a_file_that_leaves_an_album_while_it_is_dated_anew_is_no_edit_of_the_users() {
    let (museum, machine, (file, second)) = exported(|live| {
        let (first, second) = (live.create_album("First"), live.create_album("Second"));
        let file = live.upload(first, NewFile::new("a.jpg", photo(1)));
        live.add(file, second);
        (file, second)
    });
    museum.with_library(|library| {
        let live = library.live_mut();
        live.remove(file, second);
        live.set_taken_at(file, 1_600_000_000_000_000);
    });
    // Where the file system cannot share contents in another way, both albums have the same file.
    expect_all(&machine.steps(), 0);
    let files: Vec<_> = tree(&machine.export).into_keys().collect();
    assert_eq!(files, ["First/a.jpg", "First/metadata/a.jpg.json"]);
}

#[test]
fn sidecars_that_were_on_their_way_to_another_place_go_on() {
    let (_museum, machine, ()) = exported(|live| {
        let album = live.create_album("Album");
        live.upload(album, NewFile::new("a.jpg", photo(1)));
    });
    let journal = machine.export.join(".ente/meta.jsonl");
    let _ = machine
        .run(&["ente-meta", "--sidecars", "beside", machine.dir()])
        .expect(0);
    // Killed when all were moved and the folder that this emptied was gone.
    let facts = fs::read_to_string(&journal).unwrap();
    let facts = before_rest(&facts);
    let last = facts.trim_end().rfind('\n').unwrap() + 1;
    assert!(facts[last..].contains("sidecars_from"), "{facts}");
    fs::write(&journal, &facts[..last]).unwrap();
    let _ = machine.run(&["ente-meta", machine.dir()]).expect(0);
    assert!(machine.export.join("Album/a.jpg.json").is_file());
    let _ = machine.run(&["ente-verify", machine.dir()]).expect(0);
}

#[test]
fn a_file_that_was_being_linked_anew_does_not_go_to_the_trash() {
    let (_museum, machine, ()) = exported(|live| {
        let (first, second) = (live.create_album("First"), live.create_album("Second"));
        let file = live.upload(first, NewFile::new("a.jpg", photo(1)));
        live.add(file, second);
    });
    let facts = ente_tests::harness::folded(&machine.export);
    let (_, placement) = facts
        .iter()
        .rfind(|(key, _)| key.starts_with("decrypt placement "))
        .unwrap();
    let name = format!(
        "old-{}-{}-0-{}",
        placement["collection"],
        placement["file"],
        placement["version"].as_str().unwrap()
    );
    // Killed when the new file was in its place and the old one not yet deleted.
    let parked = machine.export.join(".ente/partial").join(name);
    fs::create_dir_all(parked.parent().unwrap()).unwrap();
    fs::copy(machine.export.join("Second/a.jpg"), &parked).unwrap();
    let before = tree(&machine.export);
    let _ = machine.run(&["ente-decrypt", machine.dir()]).expect(0);
    assert!(!parked.exists());
    assert!(before == tree(&machine.export));
    assert!(!machine.export.join(".ente/trash").exists());
}

#[test]
fn a_folder_that_a_killed_run_had_emptied_goes_at_the_next() {
    let (_museum, machine, ()) = exported(|live| {
        let album = live.create_album("Album");
        live.upload(album, NewFile::new("a.jpg", photo(1)));
        live.create_album("Emptied");
    });
    fs::create_dir_all(machine.export.join("Emptied/metadata")).unwrap();
    leave_lock(&machine, "ente-decrypt", "the one before");
    let _ = machine.run(&["ente-decrypt", machine.dir()]).expect(0);
    assert!(!machine.export.join("Emptied").exists());
    assert!(!machine.export.join(".ente/decrypt.lock").exists());
}

#[test]
fn an_album_whose_new_name_stays_taken_stays_where_it_is() {
    let (museum, machine, (first, second)) = exported(|live| {
        let (first, second) = (live.create_album("First"), live.create_album("Second"));
        live.upload(first, NewFile::new("a.jpg", photo(1)));
        live.upload(second, NewFile::new("b.jpg", photo(2)));
        (first, second)
    });
    museum.with_library(|library| {
        library.live_mut().rename_album(first, "Second");
        library.live_mut().rename_album(second, "Third");
    });
    let _ = machine.run(&["ente-pull", machine.dir()]).expect(0);
    // The second one cannot leave: something lies in its way that can go nowhere.
    let stray = machine.export.join(format!(".ente/partial/album-{second}"));
    fs::create_dir_all(&stray).unwrap();
    fs::write(stray.join("b.jpg"), "left").unwrap();
    let before: Vec<_> = tree(&machine.export).into_keys().collect();
    let _ = machine.run(&["ente-decrypt", machine.dir()]).expect(3);
    let after: Vec<_> = tree(&machine.export).into_keys().collect();
    assert_eq!(before, after);
    fs::remove_dir_all(stray).unwrap();
    expect_all(&machine.steps(), 0);
    let files = tree(&machine.export);
    assert!(files.contains_key("Second/a.jpg") && files.contains_key("Third/b.jpg"));
}

#[test]
fn what_was_being_healed_is_made_once() {
    let (_museum, machine, (album, file)) = exported(|live| {
        let album = live.create_album("Album");
        let file = live.upload(album, NewFile::new("a.jpg", photo(1)));
        live.upload(album, NewFile::new("b.jpg", photo(2)));
        (album, file)
    });
    let lost = machine.export.join("Album/a.jpg");
    let facts = ente_tests::harness::folded(&machine.export);
    let version = facts[&format!("decrypt placement {album} {file}")]["version"].clone();
    let whole = fs::read(&lost).unwrap();
    let modified = fs::metadata(&lost).unwrap().modified().unwrap();
    fs::remove_file(&lost).unwrap();
    let _ = machine.run(&["ente-verify", machine.dir()]).expect(4);
    let _ = machine.run(&["ente-pull", machine.dir()]).expect(0);
    // Killed before the facts told of the new file.
    let name = format!(
        ".ente/partial/new-{album}-{file}-0-{}",
        version.as_str().unwrap()
    );
    let parked = machine.export.join(name);
    fs::write(&parked, &whole).unwrap();
    let parked = fs::File::options().append(true).open(parked).unwrap();
    parked.set_modified(modified).unwrap();
    expect_all(&machine.steps(), 0);
    assert_eq!(fs::read(lost).unwrap(), whole);
    assert!(!machine.export.join(".ente/trash").exists());
}

#[test]
fn a_move_of_which_half_the_facts_are_there_needs_no_download() {
    let (museum, machine, (first, second, file)) = exported(|live| {
        let (first, second) = (live.create_album("First"), live.create_album("Second"));
        let file = live.upload(first, NewFile::new("a.jpg", photo(1)));
        live.upload(first, NewFile::new("b.jpg", photo(2)));
        (first, second, file)
    });
    museum.with_library(|library| library.live_mut().move_to(file, first, second));
    expect_all(&machine.steps(), 0);
    let expected = tree(&machine.export);
    let facts = ente_tests::harness::folded(&machine.export);
    let version = facts[&format!("decrypt placement {second} {file}")]["version"].clone();
    // A power cut left all facts but the last one, and the file not yet in its place.
    let journal = machine.export.join(".ente/decrypt.jsonl");
    let facts = fs::read_to_string(&journal).unwrap();
    let facts = before_rest(&facts);
    let last = facts.trim_end().rfind('\n').unwrap() + 1;
    assert!(facts[last..].contains("\"gone\":true"), "{facts}");
    fs::write(&journal, &facts[..last]).unwrap();
    let name = format!("old-{first}-{file}-0-{}", version.as_str().unwrap());
    let parked = machine.export.join(".ente/partial").join(name);
    fs::rename(machine.export.join("Second/a.jpg"), parked).unwrap();
    museum.reset_log();
    expect_all(&machine.steps(), 0);
    assert!(museum.fetched_objects().is_empty());
    assert!(tree(&machine.export) == expected);
    assert!(!machine.export.join(".ente/trash").exists());
}

#[test]
fn objects_on_their_way_to_the_trash_get_there() {
    let mut library = Library::empty(7, EMAIL, PASSWORD);
    let live = library.live_mut();
    let album = live.create_album("Album");
    let file = live.upload(album, NewFile::new("a.jpg", photo(1)));
    live.upload(album, NewFile::new("b.jpg", photo(2)));
    let museum = Museum::start(library, Options::default());
    let machine = crate::machine();
    let _ = machine.sign_in(museum.api_url(), EMAIL, PASSWORD).expect(0);
    let keep = ["ente-pull", "--objects", "keep", machine.dir()];
    let _ = machine.run(&keep).expect(0);
    museum.with_library(|library| library.live_mut().trash(file));
    let journal = machine.export.join(".ente/pull.jsonl");
    let _ = machine.run(&keep).expect(0);
    // Killed when it had moved the object and before it wrote that down.
    let facts = fs::read_to_string(&journal).unwrap();
    let facts = before_rest(&facts);
    let last = facts.trim_end().rfind('\n').unwrap() + 1;
    assert!(facts[last..].contains("trashed"), "{facts}");
    fs::write(&journal, &facts[..last]).unwrap();
    let _ = machine.run(&keep).expect(0);
    let again = fs::read_to_string(&journal).unwrap();
    assert!(before_rest(&again).ends_with(&facts[last..]), "{again}");
}

#[test]
fn half_an_object_is_not_trusted_after_a_power_cut() {
    let (museum, machine, album) = exported(|live| live.create_album("Album"));
    let file = museum.with_library(|library| {
        let new = NewFile::new("a.jpg", photo(1));
        library.live_mut().upload(album, new)
    });
    // What a torn download leaves: as long as the object, and empty.
    let _ = machine.run(&["ente-pull", machine.dir()]).expect(0);
    let facts = ente_tests::harness::folded(&machine.export);
    let fact = &facts[&format!("pull file {album} {file}")];
    let version = fact["version"].as_str().unwrap();
    let size = usize::try_from(fact["size"].as_u64().unwrap()).unwrap();
    let object = format!(".ente/objects/{}/{file}-{version}", &version[..2]);
    fs::remove_file(machine.export.join(object)).unwrap();
    let partial = machine
        .export
        .join(format!(".ente/partial/get-{file}-{version}"));
    fs::write(partial, vec![0; size]).unwrap();
    let journal = machine.export.join(".ente/pull.jsonl");
    let facts = fs::read_to_string(&journal).unwrap();
    let lines = facts.split_inclusive('\n');
    let kept: String = lines
        .filter(|line| !line.contains("\"fact\":\"object\""))
        .collect();
    fs::write(journal, summed(kept.as_bytes())).unwrap();
    leave_lock(&machine, "ente-pull", "the one before");
    expect_all(&machine.pipeline(), 0);
    assert!(machine.export.join("Album/a.jpg").is_file());
}

/// An album with a photo whose caption was edited: the sidecar before that, and the one that tells it.
fn edited() -> (Museum, Machine, PathBuf, [Vec<u8>; 2], PathBuf) {
    let (museum, machine, (album, file)) = exported(|live| {
        let album = live.create_album("Album");
        let file = live.upload(album, NewFile::new("a.jpg", photo(1)));
        (album, file)
    });
    let sidecar = machine.export.join("Album/metadata/a.jpg.json");
    let old = fs::read(&sidecar).unwrap();
    museum.with_library(|library| library.live_mut().set_caption(file, "new"));
    expect_all(&machine.steps(), 0);
    let new = fs::read(&sidecar).unwrap();
    assert_ne!(old, new);
    let parked = format!(".ente/partial/meta-{album}-{file}-0");
    let parked = machine.export.join(parked);
    (museum, machine, sidecar, [old, new], parked)
}

#[test]
fn a_sidecar_that_cannot_take_its_place_waits_for_it() {
    let (_museum, machine, sidecar, [old, new], parked) = edited();
    // Its fact was written, and its place cannot be had.
    fs::write(&parked, &new).unwrap();
    fs::write(&sidecar, &old).unwrap();
    let folder = sidecar.parent().unwrap();
    let aside = machine.home().join("metadata");
    fs::rename(folder, &aside).unwrap();
    fs::write(folder, "in the way").unwrap();
    for _ in 0..2 {
        let run = machine.run(&["ente-meta", machine.dir()]).expect(3);
        assert_eq!(run.records_of("problem")[0]["class"], "not-written");
        assert_eq!(fs::read(&parked).unwrap(), new);
    }
    fs::remove_file(folder).unwrap();
    fs::rename(&aside, folder).unwrap();
    let _ = machine.run(&["ente-meta", machine.dir()]).expect(0);
    assert_eq!(fs::read(&sidecar).unwrap(), new);
    assert!(!parked.exists());
}

#[test]
fn what_the_user_put_where_a_sidecar_was_to_come_stays() {
    let (museum, machine, sidecar, [_, new], parked) = edited();
    let mine = b"{\"mine\":true}";
    fs::write(&parked, &new).unwrap();
    fs::write(&sidecar, mine).unwrap();
    let _ = machine.run(&["ente-meta", machine.dir()]).expect(0);
    assert_eq!(fs::read(&sidecar).unwrap(), mine);
    assert!(!parked.exists());

    // The same of the first sidecar of a file.
    let (album, file) = museum.with_library(|library| {
        let live = library.live_mut();
        let album = live.create_album("Second");
        (album, live.upload(album, NewFile::new("b.jpg", photo(2))))
    });
    expect_all(&machine.steps()[..3], 0);
    let sidecar = machine.export.join("Second/metadata/b.jpg.json");
    let parked = format!(".ente/partial/meta-{album}-{file}-0");
    let parked = machine.export.join(parked);
    fs::rename(&sidecar, &parked).unwrap();
    fs::write(&sidecar, mine).unwrap();
    let _ = machine.run(&["ente-meta", machine.dir()]).expect(0);
    assert_eq!(fs::read(&sidecar).unwrap(), mine);
    assert!(!parked.exists());
}

#[test]
fn what_waits_in_partial_is_not_missing() {
    let (museum, machine, (first, file)) = exported(|live| {
        let (first, second) = (live.create_album("First"), live.create_album("Second"));
        live.upload(second, NewFile::new("b.jpg", photo(2)));
        (first, live.upload(first, NewFile::new("a.jpg", photo(1))))
    });
    let facts = ente_tests::harness::folded(&machine.export);
    let version = facts[&format!("pull file {first} {file}")]["version"].clone();
    let second = museum.with_library(|library| {
        let live = library.live_mut();
        let second = live.albums_of(file)[0];
        let to = live.create_album("Third");
        live.move_to(file, second, to);
        to
    });
    expect_all(&machine.steps(), 0);
    let before = tree(&machine.export);
    let version = version.as_str().unwrap();
    for (path, name) in [
        ("Third", format!("album-{second}")),
        ("Third/a.jpg", format!("old-{first}-{file}-0-{version}")),
        (
            "Third/metadata/a.jpg.json",
            format!("meta-{second}-{file}-0"),
        ),
    ] {
        let parked = machine.export.join(".ente/partial").join(&name);
        fs::rename(machine.export.join(path), &parked).unwrap();
        let checked = machine.run(&["ente-verify", machine.dir()]).expect(4);
        let findings = checked.records_of("finding");
        assert!(!findings.is_empty());
        for finding in findings {
            assert_eq!(finding["class"], "not-exported", "{name}: {finding}");
        }
        museum.reset_log();
        expect_all(&machine.pipeline(), 0);
        assert!(museum.fetched_objects().is_empty(), "{name}");
        assert!(!parked.exists());
        let _ = machine.run(&["ente-verify", machine.dir()]).expect(0);
        assert!(tree(&machine.export).keys().eq(before.keys()), "{name}");
    }
}

#[test]
fn an_album_whose_sidecars_cannot_move_does_not_hold_up_the_others() {
    let (_museum, machine, ()) = exported(|live| {
        for (variant, name) in (1..).zip(["First", "Second", "Third"]) {
            let album = live.create_album(name);
            live.upload(album, NewFile::new("a.jpg", photo(variant)));
        }
    });
    let convert = |to: &str| machine.run(&["ente-meta", "--sidecars", to, machine.dir()]);
    let _ = convert("beside").expect(0);
    let in_the_way = machine.export.join("Second/metadata");
    fs::write(&in_the_way, "mine").unwrap();
    for run in [
        convert("metadata"),
        machine.run(&["ente-meta", machine.dir()]),
        convert("none"),
    ] {
        let problems = run.expect(3).records_of("problem");
        assert_eq!(problems[0]["path"], "Second/a.jpg.json");
        for moved in ["First", "Third"] {
            let path = format!("{moved}/metadata/a.jpg.json");
            assert!(machine.export.join(path).is_file());
        }
    }
    fs::remove_file(in_the_way).unwrap();
    let _ = machine.run(&["ente-meta", machine.dir()]).expect(0);
    assert!(machine.export.join("Second/metadata/a.jpg.json").is_file());
    let _ = machine.run(&["ente-verify", machine.dir()]).expect(0);
}

#[test]
fn a_new_manifest_takes_over_sidecars_that_are_out_of_date() {
    let (museum, machine, file) = exported(|live| {
        let album = live.create_album("Album");
        live.upload(album, NewFile::new("b.jpg", photo(2)));
        live.upload(album, NewFile::new("a.jpg", photo(1)))
    });
    fs::remove_dir_all(machine.export.join(".ente")).unwrap();
    museum.with_library(|library| library.live_mut().set_caption(file, "new"));
    let sidecar = machine.export.join("Album/metadata/a.jpg.json");
    let old = fs::read(&sidecar).unwrap();
    let theirs = machine.export.join("Album/metadata/b.jpg.json");
    fs::write(&theirs, "{\"mine\":true}").unwrap();
    let pull = ["ente-pull", "--init", machine.dir()];
    let _ = machine.run(&pull).expect(0);
    expect_all(
        &machine.pipe(&[
            &["ente-pull", "--list", machine.dir()],
            &["ente-meta", "-"],
            &["ente-verify", "--adopt", machine.dir(), "-"],
        ]),
        0,
    );
    expect_all(&machine.steps()[..3], 0);
    let new = fs::read_to_string(&sidecar).unwrap();
    assert!(new.contains("\"caption\": \"new\""), "{new}");
    let day = fs::read_dir(machine.export.join(".ente/trash")).unwrap();
    let trashed = day.flatten().next().unwrap().path();
    let trashed = trashed.join("Album/metadata/a.jpg.json");
    assert_eq!(fs::read(trashed).unwrap(), old);
    assert_eq!(fs::read_to_string(theirs).unwrap(), "{\"mine\":true}");
    let checked = machine.run(&["ente-verify", machine.dir()]).expect(4);
    let findings = checked.records_of("finding");
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0]["path"], "Album/metadata/b.jpg.json");
    let cause = findings[0]["cause"].as_str().unwrap();
    assert!(cause.starts_with("another file lies there"), "{cause}");
}

#[test]
fn a_sidecar_that_waits_holds_up_no_other_of_its_file() {
    let (museum, machine, (first, file)) = exported(|live| {
        let (first, second) = (live.create_album("First"), live.create_album("Second"));
        let file = live.upload(first, NewFile::new("a.jpg", photo(1)));
        live.add(file, second);
        (first, file)
    });
    let parked = format!(".ente/partial/meta-{first}-{file}-0");
    let folder = machine.export.join("First/metadata");
    fs::rename(folder.join("a.jpg.json"), machine.export.join(parked)).unwrap();
    fs::remove_dir(&folder).unwrap();
    fs::write(&folder, "in the way").unwrap();
    museum.with_library(|library| library.live_mut().set_caption(file, "new"));
    let _ = machine.run(&["ente-pull", machine.dir()]).expect(0);
    let run = machine.run(&["ente-meta", machine.dir()]).expect(3);
    let problems = run.records_of("problem");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0]["class"], "not-written");
    let other = fs::read_to_string(machine.export.join("Second/metadata/a.jpg.json"));
    assert!(other.unwrap().contains(r#""caption": "new""#));
}

/// The lock of a process that is no more, of this or another start of the host.
fn leave_lock(machine: &Machine, tool: &str, boot: &str) {
    let mut dead = Command::new("true").spawn().unwrap();
    dead.wait().unwrap();
    let host = Command::new("uname").arg("-n").output().unwrap().stdout;
    let lock = serde_json::json!({
        "tool": tool,
        "pid": dead.id(),
        "host": String::from_utf8(host).unwrap().trim(),
        "started": 1,
        "boot": boot,
        "run": "0123456789abcdef",
        "since": 0,
    });
    let name = tool.trim_start_matches("ente-");
    let path = machine.export.join(format!(".ente/{name}.lock"));
    fs::write(path, lock.to_string()).unwrap();
}
