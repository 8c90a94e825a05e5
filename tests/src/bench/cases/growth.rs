//! Manifests of 10,000, 100,000 and 1,000,000 entries, made by the tools themselves from an account of as many empty files: what grows faster than the
//! account is a defect.

use std::fs;
use std::path::Path;

use super::Case;
use super::first::list;
use crate::bench::Setup;
use crate::bench::contest::{Contest, Goal, Row};
use crate::bench::machine::{CURL, fits};
use crate::bench::stopwatch::Taken;
use crate::bench::yard::{Export, Yard};
use crate::library::BulkOptions;
use crate::museum::Conditions;

/// Files of one album.
const ALBUM: usize = 1000;
/// An inode and a sidecar's page of memory for each file, its lines in the manifest, and what the tools hold.
const BYTES_PER_ENTRY: usize = 16 << 10;

const FIRST: &str = "first export";
const SECOND: &str = "the run after the first export";
const CHANGED: &str = "one changed: pipe";
/// The three journals that a run with a change goes through, once each.
const READING: &str = "reading the journals";

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "listing",
            about: "first listing of 10,000, 100,000 and 1,000,000 files",
            needs: &[CURL],
            run: listing,
        },
        Case {
            name: "nothing",
            about: "nothing to do, and one changed file, among as many; verify --quick",
            needs: &[],
            run: nothing,
        },
    ]
}

/// 1×, 10×, 100×, as far as there is room in memory, at so many bytes for each entry.
fn sizes(setup: &Setup, entry_bytes: usize) -> impl Iterator<Item = usize> {
    let sizes = setup.entries.iter().map(|entries| setup.scaled(*entries));
    // The largest would not be quick even so.
    let sizes = sizes.filter(|entries| !setup.is_quick || *entries <= ALBUM);
    sizes.filter(move |entries| {
        let gib = 1 + (entries * entry_bytes) as u64 / (1 << 30);
        fits(&setup.memory, gib, &format!("{entries} files"))
    })
}

fn account(entries: usize) -> BulkOptions {
    BulkOptions {
        albums: entries.div_ceil(ALBUM),
        files: entries.min(ALBUM),
        bytes: 0,
        shared: false,
    }
}

/// More rounds where they are short.
fn contest<'a>(setup: &Setup, case: &str, entries: usize) -> Contest<'a> {
    setup.contest_of(
        &format!("{case} {entries}"),
        if entries > 100_000 { 1 } else { 3 },
    )
}

fn listing(setup: &Setup) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for entries in sizes(setup, BYTES_PER_ENTRY / 4) {
        let yard = Yard::open(setup, account(entries), Conditions::default())?;
        let pages = yard.pages();
        let mut contest = contest(setup, "listing", entries);
        contest.enter("curl, 8 at once", || yard.curl(8, &pages));
        contest.enter("pull", || list(&yard));
        let series = contest.run()?;
        setup.keep(&series)?;
        let mut row = series
            .versus("pull", "curl, 8 at once")
            .goal(Goal::Ratio(1.5))
            .growth("first listing", entries, "files");
        if entries == 1_000_000 {
            row = row.goal(Goal::Megabytes(250));
        }
        rows.push(row);
    }
    Ok(rows)
}

fn nothing(setup: &Setup) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for entries in sizes(setup, BYTES_PER_ENTRY) {
        let yard = Yard::open(setup, account(entries), Conditions::default())?;
        let place = yard.in_memory()?;
        let first = ("first export before it", FIRST);
        rows.push(once(setup, &yard, &place, entries, first)?);
        // It finds out that nothing is left.
        let second = ("the run after that", SECOND);
        let second = once(setup, &yard, &place, entries, second)?;
        rows.push(match entries {
            1_000_000 => second.goal(Goal::Seconds(2.5)).goal(Goal::Megabytes(250)),
            _ => second,
        });
        rows.extend(later_runs(setup, &yard, &place, entries)?);
    }
    let smaller = rows.clone();
    let held = rows.into_iter().map(|row| in_proportion(row, &smaller));
    Ok(held.collect())
}

/// Holds what has no reference of its own against the same at the next smaller size. Starting the processes is most of the rest.
fn in_proportion(row: Row, rows: &[Row]) -> Row {
    let Some(growth) = &row.growth else {
        return row;
    };
    let curve = growth.curve.clone();
    let of_curve = rows
        .iter()
        .filter_map(|row| Some((row, row.growth.as_ref()?)));
    let smaller = of_curve.filter(|(_, it)| it.curve == curve && it.count < growth.count);
    let Some((less, at)) = smaller.max_by_key(|(_, it)| it.count) else {
        return row;
    };
    let seconds = less.wall_s * growth.count as f64 / at.count as f64;
    match &*curve {
        FIRST | SECOND | CHANGED => row.in_proportion(seconds).goal(Goal::Ratio(1.1)),
        READING => row.in_proportion(seconds),
        _ => row,
    }
}

fn once(
    setup: &Setup,
    yard: &Yard<'_>,
    place: &Export,
    entries: usize,
    (what, growth): (&'static str, &'static str),
) -> Result<Row, String> {
    let mut contest = Contest::new(format!("nothing {entries}"), crate::bench::contest::ONCE);
    contest.enter(what, || pipe(yard, place));
    let series = contest.run()?;
    setup.keep(&series)?;
    let row = series.row(what);
    let rate = entries as f64 / row.wall_s;
    Ok(row
        .note(format!("{rate:.0} files a second"))
        .growth(growth, entries, "files"))
}

fn later_runs(
    setup: &Setup,
    yard: &Yard<'_>,
    place: &Export,
    entries: usize,
) -> Result<Vec<Row>, String> {
    let dir = place.dir();
    let journals = ["pull", "decrypt", "meta"].map(|name| format!(".ente/{name}.jsonl"));
    let mut contest = contest(setup, "nothing", entries);
    contest.enter("pipe, one changed", || {
        let edit = |library: &mut crate::library::Library| {
            let bulk = library.bulk_mut();
            let file = bulk.files().start;
            bulk.edit_captions([file]);
        };
        yard.museum.with_library(edit);
        pipe(yard, place)
    });
    // It finds that nothing is left of the change.
    contest.enter("pipe after it", || pipe(yard, place));
    contest.enter("pipe", || pipe(yard, place));
    contest.enter("pull", || yard.run(&[&["ente-pull", &dir]]));
    contest.enter(READING, || place.read(&journals));
    contest.enter("walk and stat", || {
        Taken::timed(|| {
            let walked = walk(&place.path());
            walked.map(|_| ()).map_err(|error| error.to_string())
        })
    });
    contest.enter("verify --quick", || {
        yard.run(&[&["ente-verify", "--quick", &dir]])
    });
    let series = contest.run()?;
    setup.keep(&series)?;
    let (mut pull, mut pipe) = (series.row("pull"), series.row("pipe"));
    let (mut changed, mut after) = (series.row("pipe, one changed"), series.row("pipe after it"));
    match entries {
        10_000 => pull = pull.goal(Goal::Seconds(0.03)).goal(Goal::Megabytes(24)),
        100_000 => pull = pull.goal(Goal::Seconds(0.15)),
        1_000_000 => {
            pull = pull.goal(Goal::Seconds(1.2)).goal(Goal::Megabytes(250));
            pipe = pipe.goal(Goal::Seconds(2.5)).goal(Goal::Megabytes(250));
            changed = changed.goal(Goal::Seconds(2.5)).goal(Goal::Megabytes(250));
            after = after.goal(Goal::Seconds(2.5)).goal(Goal::Megabytes(250));
        }
        _ => {}
    }
    let quick = series
        .versus("verify --quick", "walk and stat")
        .goal(Goal::Ratio(1.2));
    Ok(vec![
        pull.growth("nothing to do: pull", entries, "files"),
        pipe.growth("nothing to do: pipe", entries, "files"),
        changed.growth(CHANGED, entries, "files"),
        after,
        series.row(READING).growth(READING, entries, "files"),
        quick.growth("verify --quick", entries, "files"),
    ])
}

fn pipe(yard: &Yard<'_>, place: &Export) -> Result<Taken, String> {
    yard.run(&[
        &["ente-pull", &place.dir()],
        &["ente-decrypt", "-"],
        &["ente-meta", "-"],
    ])
}

/// Looks at every file of a tree on one thread: what must be asked of the file system, and no more.
fn walk(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        bytes += match entry.file_type()?.is_dir() {
            true => walk(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(bytes)
}
