//! `ente-verify` in pipes: what it finds with each of its options, and that the others put it right.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ente_tests::harness::{assert_golden, expect_all};

use crate::{expected, golden};

/// All objects of an export, sorted.
fn objects(export: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(export.join(".ente/objects")).unwrap();
    let mut objects: Vec<PathBuf> = folders
        .flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap())
        .map(|object| object.unwrap().path())
        .collect();
    objects.sort();
    objects
}

/// The file that an object is of.
fn id(object: &Path) -> i64 {
    let name = object.file_name().unwrap().to_str().unwrap();
    name.split('-').next().unwrap().parse().unwrap()
}

/// Flips one bit in the middle.
fn rot(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_mirror_heals_by_pipe_and_by_the_next_pull() {
    for spooled in [true, false] {
        let (museum, machine) = golden();
        let keep = if spooled { "spool" } else { "keep" };
        let pull = ["ente-pull", "--objects", keep, machine.dir()];
        expect_all(&[machine.run(&pull)], 0);
        let check = ["ente-verify", "--objects", machine.dir()];
        expect_all(&[machine.run(&check)], 0);
        let damage = || {
            let objects = objects(&machine.export);
            rot(&objects[1]);
            fs::remove_file(&objects[4]).unwrap();
            BTreeSet::from([id(&objects[1]), id(&objects[4])])
        };

        let broken = damage();
        museum.reset_log();
        let outcomes = machine.pipe(&[&check, &["ente-pull", "--only", "-", machine.dir()]]);
        assert_eq!([outcomes[0].code, outcomes[1].code], [4, 0], "{outcomes:?}");
        assert_eq!(museum.fetched_objects(), broken);
        expect_all(&[machine.run(&check)], 0);

        let broken = damage();
        assert_eq!(machine.run(&check).code, 4);
        museum.reset_log();
        expect_all(&[machine.run(&pull)], 0);
        assert_eq!(museum.fetched_objects(), broken);
        expect_all(&[machine.run(&check)], 0);

        expect_all(&machine.pipeline(), 0);
        assert_golden(&machine.export, &expected("1-initial"));
    }
}
