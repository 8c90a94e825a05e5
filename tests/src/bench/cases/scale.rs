//! The work on content at 1×, 10× and 100×: by how many files there are, and by how large one is. What grows faster is a defect.

use super::Case;
use super::content::decrypt;
use super::first::{PIPE, account, bytes_of, export};
use crate::bench::Setup;
use crate::bench::contest::{Goal, Row, Series};
use crate::bench::machine::fits;
use crate::bench::yard::Yard;
use crate::library::BulkOptions;
use crate::museum::Conditions;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "growth-files",
            about: "first export, decryption, check and new captions: 100, 1,000 and 10,000 files of 300 KB",
            needs: &[],
            run: |setup| grow(setup, "growth-files", "files", FILES, files),
        },
        Case {
            name: "growth-video",
            about: "first export, decryption and check: one video of 16, 160 and 1,600 MB",
            needs: &[],
            run: |setup| grow(setup, "growth-video", "MB", MEGABYTES, video),
        },
    ]
}

const FILES: [usize; 3] = [100, 1000, 10_000];
const MEGABYTES: [usize; 3] = [16, 160, 1600];

fn files(count: usize) -> BulkOptions {
    account(count, 300_000)
}

fn video(megabytes: usize) -> BulkOptions {
    account(1, megabytes as u64 * 1_000_000)
}

const FIRST: &str = "first export: pipe";
const DECRYPT: &str = "decrypt";
const VERIFY: &str = "verify";
const CAPTIONS: &str = "new captions: pipe";
/// What of it is the system's: objects and plaintext written, plaintext read.
const WRITING: &str = "writing alone";
const READING: &str = "reading alone";

/// Runs everything at each size, of which there are so many `things` in an account.
fn grow(
    setup: &Setup,
    case: &str,
    things: &'static str,
    sizes: [usize; 3],
    account: fn(usize) -> BulkOptions,
) -> Result<Vec<Row>, String> {
    let mut sizes = sizes.map(|size| setup.scaled(size)).to_vec();
    sizes.dedup();
    let mut rows = Vec::new();
    let mut smaller: Option<(usize, Series)> = None;
    for size in sizes {
        let account = account(size);
        let bytes = bytes_of(&account);
        // Two exports with objects and plaintext.
        let gib = 1 + 4 * bytes.div_ceil(1 << 30);
        if !fits(&setup.memory, gib, &format!("{size} {things}")) {
            continue;
        }
        let yard = Yard::open(setup, account, Conditions::default())?;
        let mirror = yard.in_memory()?;
        let pipe = || export(&yard, &mirror, &["--objects", "keep"], &PIPE);
        pipe()?;
        let mut contest = setup.contest(&format!("{case} {size}"));
        contest.enter(FIRST, || export(&yard, &yard.in_memory()?, &[], &PIPE));
        contest.enter(DECRYPT, || {
            let taken = decrypt(&yard, &mirror)?;
            // For those after it, all is as it was.
            pipe()?;
            Ok(taken)
        });
        contest.enter(VERIFY, || yard.run(&[&["ente-verify", &mirror.dir()]]));
        contest.enter(WRITING, || yard.written_twice(&account));
        contest.enter(READING, || mirror.read(&mirror.files()?));
        let mut entrants = vec![FIRST, DECRYPT, VERIFY, WRITING, READING];
        // Of one file there is one, whatever its size.
        if things == "files" {
            contest.enter(CAPTIONS, || {
                yard.edit_captions();
                pipe()
            });
            entrants.push(CAPTIONS);
        }
        let series = contest.run()?;
        setup.keep(&series)?;
        rows.extend(entrants.iter().map(|entrant| {
            let row = series.row(entrant).growth(entrant, size, things);
            match &smaller {
                None => row,
                Some((less, series)) => {
                    let seconds = series.row(entrant).wall_s * size as f64 / *less as f64;
                    let row = row.in_proportion(seconds);
                    match *entrant {
                        WRITING | READING => row,
                        _ => row.goal(Goal::Ratio(1.1)),
                    }
                }
            }
        }));
        smaller = Some((size, series));
    }
    Ok(rows)
}
