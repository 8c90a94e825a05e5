//! An object that is written while more of it is received.

use std::collections::BTreeSet;

use ente_tests::harness::expect_all;
use ente_tests::museum::{Fault, Match};

use super::ranges::ranges;
use super::{IMPATIENT, Scene, content, problem, problems};

const BYTES: usize = 17 << 20;
/// Neither at the end of what is handed on at once, nor at that of a chunk of the encryption.
const CUT: usize = 9_000_001;

fn with_a_large_file() -> (Scene, i64) {
    let mut scene = Scene::new();
    let id = scene.files[1];
    scene.change(|live| live.replace(id, content(77, BYTES)));
    scene.start_over();
    (scene, id)
}

#[test]
fn all_that_came_of_a_large_object_is_gone_on_with() {
    let (mut scene, id) = with_a_large_file();
    let object = Match::object(id);
    let cut = Fault::Cut { after: CUT };
    // Between runs.
    scene.museum.inject(object.clone(), cut.clone(), Some(1));
    let outcomes = scene.run(&IMPATIENT);
    assert_eq!(problems(&outcomes), [problem("interrupted", id)]);
    scene.museum.reset_log();
    expect_all(&scene.run(&IMPATIENT), 0);
    assert_eq!(ranges(&scene), [format!("bytes={CUT}-")]);
    assert_eq!(scene.heal(), BTreeSet::new());
    // Within a run.
    scene.start_over();
    scene.museum.inject(object.clone(), cut, Some(1));
    let stall = Fault::StallBody { after: 5_000_000 };
    scene.museum.inject(object.skip(1), stall, Some(1));
    expect_all(&scene.run(&["--timeout", "0.5"]), 0);
    let after = [CUT, CUT + 5_000_000].map(|after| format!("bytes={after}-"));
    assert_eq!(ranges(&scene), after);
    assert_eq!(scene.heal(), BTreeSet::new());
}

#[test]
fn a_large_object_is_of_the_listed_length_or_nothing_of_it_stays() {
    let (mut scene, id) = with_a_large_file();
    for fault in [
        Fault::WrongLength(5),
        Fault::WrongLength(-5),
        Fault::Endless,
    ] {
        scene.start_over();
        scene
            .museum
            .inject(Match::object(id), fault.clone(), Some(1));
        let outcomes = scene.run(&IMPATIENT);
        assert_eq!(
            problems(&outcomes),
            [problem("size-mismatch", id)],
            "{fault:?}"
        );
        let partial = scene.machine.export.join(".ente/partial");
        assert_eq!(std::fs::read_dir(partial).unwrap().count(), 0, "{fault:?}");
        assert_eq!(scene.heal(), BTreeSet::from([id]), "{fault:?}");
    }
}

/// What the disk takes of it stays.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_in_the_midst_of_a_large_object_ends_the_run() {
    let (scene, id) = with_a_large_file();
    let line = ["ente-pull", "--jobs", "1", scene.machine.dir()];
    // In units of 512 or of 1,024 bytes.
    let no_room = scene
        .machine
        .in_shell("trap '' XFSZ; ulimit -f 8192", &line)
        .output()
        .unwrap();
    let said = String::from_utf8(no_room.stderr).unwrap();
    assert_eq!(no_room.status.code(), Some(1), "{said}");
    assert!(said.contains("error: cannot write `"), "{said}");
    scene.museum.reset_log();
    expect_all(&scene.run(&[]), 0);
    let ranges = ranges(&scene);
    assert!(
        ranges == ["bytes=4194304-"] || ranges == ["bytes=8388608-"],
        "{ranges:?}"
    );
    assert!(scene.museum.fetched_objects().contains(&id));
    assert_eq!(scene.heal(), BTreeSet::new());
}
