//! What changes without new content, and content that lies in many albums.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::Case;
use super::first::{PIPE, conditions, export};
use crate::bench::Setup;
use crate::bench::contest::{Goal, Row};
use crate::bench::machine::{CP, has_room};
use crate::bench::yard::{Export, Yard};
use crate::library::BulkOptions;
use crate::museum::Origin;

/// How often all captions were edited before, where that is what is looked at.
const EDITS: usize = 8;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "captions",
            about: "another caption for each of 10,000 files, beside cp of their sidecars",
            needs: &[CP],
            run: captions,
        },
        Case {
            name: "albums",
            about: "16 albums that hold the same 1,000 files, beside one that does",
            needs: &[],
            run: albums,
        },
    ]
}

/// Requests to the object store since the log was emptied.
fn fetched(yard: &Yard<'_>) -> usize {
    let requests = yard.museum.requests();
    requests
        .iter()
        .filter(|request| request.origin == Origin::Store)
        .count()
}

fn captions(setup: &Setup) -> Result<Vec<Row>, String> {
    let account = BulkOptions {
        albums: 10,
        files: setup.scaled(1000),
        bytes: 2000,
        shared: false,
    };
    let count = account.albums * account.files;
    let yard = Yard::open_with(setup, account, conditions(0), true)?;
    let first = yard.in_memory()?;
    export(&yard, &first, &[], &PIPE)?;
    yard.museum.reset_log();
    // Its journals hold what was before, too.
    let edited = yard.copy_of(&first)?;
    for _ in 0..setup.scaled(EDITS).max(1) {
        yard.edit_captions();
        export(&yard, &edited, &[], &PIPE)?;
    }
    let mut contest = setup.contest("captions");
    contest.enter("pipe", || {
        let place = yard.copy_of(&first)?;
        yard.edit_captions();
        export(&yard, &place, &[], &PIPE)
    });
    contest.enter("meta alone", || {
        let place = yard.copy_of(&first)?;
        yard.edit_captions();
        export(&yard, &place, &[], &["ente-decrypt"])?;
        yard.run(&[&["ente-meta", &place.dir()]])
    });
    let again = format!("pipe, after {EDITS} such runs");
    contest.enter(&*again, || {
        let place = yard.copy_of(&edited)?;
        yard.edit_captions();
        export(&yard, &place, &[], &PIPE)
    });
    contest.enter("cp", || {
        let copies = setup.scratch(&setup.memory)?;
        let target = copies.path().to_string_lossy().into_owned();
        let folders = first.sidecar_folders()?;
        let copy = ["--recursive", "--parents", "--target-directory", &target];
        let copy: Vec<&str> = ["cp"]
            .into_iter()
            .chain(copy)
            .chain(folders.iter().map(String::as_str))
            .collect();
        yard.run_in(&first.path(), &[&copy])
    });
    let series = contest.run()?;
    setup.keep(&series)?;
    let objects = fetched(&yard);
    let row = |entrant: &str| {
        let row = series.versus(entrant, "cp");
        let rate = count as f64 / row.wall_s;
        let goal = Goal::Rate {
            count,
            per_s: 5000.0,
        };
        row.goal(goal).goal(Goal::Holds(objects == 0)).note(format!(
            "{rate:.0} sidecars a second, {objects} objects fetched"
        ))
    };
    Ok(vec![row("pipe"), row("meta alone"), row(&again)])
}

fn albums(setup: &Setup) -> Result<Vec<Row>, String> {
    has_room(&setup.memory, 6)?;
    let account = |albums| BulkOptions {
        albums,
        files: setup.scaled(1000),
        bytes: 300_000,
        shared: true,
    };
    let many = Yard::open_with(setup, account(16), conditions(0), true)?;
    let one = Yard::open_with(setup, account(1), conditions(0), true)?;
    let mut counted = BTreeSet::new();
    let mut contest = setup.contest("albums");
    contest.enter("pipe, one album", || {
        export(&one, &one.in_memory()?, &[], &PIPE)
    });
    contest.enter("pipe, 16 albums", || {
        let place = many.in_memory()?;
        many.museum.reset_log();
        let taken = export(&many, &place, &[], &PIPE)?;
        counted.insert((fetched(&many), stored(&place)?));
        Ok(taken)
    });
    let series = contest.run()?;
    setup.keep(&series)?;
    let files = account(1).files;
    let row = series.versus("pipe, 16 albums", "pipe, one album");
    let is_once = counted.iter().all(|seen| *seen == (files, files));
    let seen: Vec<String> = counted
        .iter()
        .map(|(fetched, stored)| format!("{fetched} fetched, {stored} stored"))
        .collect();
    Ok(vec![row.goal(Goal::Holds(is_once)).note(seen.join("; "))])
}

/// Exported files that share their place on the disk with no other.
fn stored(place: &Export) -> Result<usize, String> {
    let mut inodes = BTreeSet::new();
    for file in place.files()? {
        let metadata = fs::metadata(place.path().join(file)).map_err(|error| error.to_string())?;
        inodes.insert(metadata.ino());
    }
    Ok(inodes.len())
}
