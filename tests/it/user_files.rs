//! What the user put into the tree or changed in it is the user's.

use std::fs;

use ente_tests::harness::{expect_all, tree};
use ente_tests::library::GoldenState;

use crate::golden;

#[test]
fn an_edited_file_and_one_that_was_there_before_survive_every_run() {
    let (museum, machine) = golden();
    // In the way of a name before the first run.
    fs::create_dir_all(machine.export.join("Family")).unwrap();
    fs::write(machine.export.join("Family/VID_20240605.mp4"), "mine").unwrap();
    let _ = machine.run(&["ente-pull", machine.dir()]).expect(0);
    let decrypt = machine.run(&["ente-decrypt", machine.dir()]);
    assert!(decrypt.code == 0 || decrypt.code == 3, "{}", decrypt.stderr);
    expect_all(&[machine.run(&["ente-meta", machine.dir()])], 0);
    let files = tree(&machine.export);
    assert_eq!(files["Family/VID_20240605.mp4"].bytes, b"mine");
    assert_eq!(files["Family/VID_20240605_1.mp4"].bytes.len(), 206_343);

    // Edited: in state 2 file 103 (`photo1_1.jpg`) has new content, 106 is removed and 13 renamed.
    fs::write(
        machine.export.join("Vacation 2024/photo1_1.jpg"),
        "edited by me",
    )
    .unwrap();
    fs::write(
        machine.export.join("Family/VID_20240605_1.mp4"),
        "edited too",
    )
    .unwrap();
    fs::write(machine.export.join("Vacation 2024/notes.txt"), "my notes").unwrap();
    museum.with_library(|library| library.switch_to(GoldenState::Changed));
    let outcomes = machine.pipeline();
    assert!(
        outcomes[1].code == 0 || outcomes[1].code == 3,
        "{}",
        outcomes[1].stderr
    );
    let _ = machine.pipeline();
    let files = tree(&machine.export);
    let bytes = |bytes: &[u8]| files.values().filter(|file| file.bytes == bytes).count();
    for mine in [&b"mine"[..], b"edited by me", b"edited too", b"my notes"] {
        assert_eq!(
            bytes(mine),
            1,
            "`{}` is there once; {:?}",
            String::from_utf8_lossy(mine),
            files.keys()
        );
    }
    assert!(
        files.iter().any(
            |(path, file)| path.starts_with("Vacation 2024 (Italy)/photo1")
                && file.bytes.len() == 9_819
        ),
        "the server's new version came too, under a free name"
    );
}

#[test]
fn an_edited_sidecar_is_left_alone() {
    let (museum, machine) = golden();
    expect_all(&machine.pipeline(), 0);
    let sidecar = machine
        .export
        .join("Vacation 2024/metadata/photo2.jpg.json");
    fs::write(&sidecar, "{\"mine\":true}").unwrap();
    museum.with_library(|library| library.switch_to(GoldenState::Changed));
    expect_all(&machine.steps()[..3], 0);
    let moved = machine
        .export
        .join("Vacation 2024 (Italy)/metadata/photo2.jpg.json");
    assert_eq!(fs::read_to_string(moved).unwrap(), "{\"mine\":true}");
}
