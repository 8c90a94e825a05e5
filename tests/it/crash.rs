//! What the crash tests (`cargo xtask crash`) found, each in the least that shows it.

use std::fs;
use std::process::Command;

use ente_tests::harness::{Machine, expect_all, tree};
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
    let mut dead = Command::new("true").spawn().unwrap();
    dead.wait().unwrap();
    let host = Command::new("uname").arg("-n").output().unwrap().stdout;
    let lock = serde_json::json!({
        "tool": "ente-decrypt",
        "pid": dead.id(),
        "host": String::from_utf8(host).unwrap().trim(),
        "started": 1,
        "run": "0123456789abcdef",
        "since": 0,
    });
    fs::write(machine.export.join(".ente/decrypt.lock"), lock.to_string()).unwrap();
    let _ = machine.run(&["ente-decrypt", machine.dir()]).expect(0);
    assert!(!machine.export.join("Emptied").exists());
    assert!(!machine.export.join(".ente/decrypt.lock").exists());
}
