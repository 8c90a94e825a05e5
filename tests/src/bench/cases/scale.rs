//! The work on content at 1×, 10× and 100×: by how many files there are, and by how large one is. What grows faster is a defect.

use super::Case;
use super::content::decrypt;
use super::first::{PIPE, account, export};
use crate::bench::Setup;
use crate::bench::contest::Row;
use crate::bench::machine::fits;
use crate::bench::yard::Yard;
use crate::library::BulkOptions;
use crate::museum::Conditions;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "growth-files",
            about: "first export, decryption, check and new captions of 100, 1,000 and 10,000 files of 300 KB",
            needs: &[],
            run: |setup| grow(setup, "growth-files", "files", FILES, files),
        },
        Case {
            name: "growth-video",
            about: "the same of one video of 16, 160 and 1,600 MB",
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

/// Runs everything at each size, of which there are so many `things` in an account.
fn grow(
    setup: &Setup,
    case: &str,
    things: &'static str,
    sizes: [usize; 3],
    account: fn(usize) -> BulkOptions,
) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for size in sizes.map(|size| setup.scaled(size)) {
        let account = account(size);
        let bytes = (account.albums * account.files) as u64 * account.bytes;
        // Two exports with objects and plaintext.
        let gib = 1 + 4 * bytes.div_ceil(1 << 30);
        if !fits(&setup.memory, gib, &format!("{size} {things}")) {
            continue;
        }
        let yard = Yard::open(setup, account, Conditions::default())?;
        let mirror = yard.in_memory()?;
        export(&yard, &mirror, &["--objects", "keep"], &PIPE)?;
        let mut contest = setup.contest(&format!("{case} {size}"));
        contest.enter(FIRST, || export(&yard, &yard.in_memory()?, &[], &PIPE));
        contest.enter(DECRYPT, || decrypt(&yard, &mirror));
        contest.enter(VERIFY, || yard.run(&[&["ente-verify", &mirror.dir()]]));
        contest.enter(CAPTIONS, || {
            yard.museum.with_library(|library| {
                let bulk = library.bulk_mut();
                bulk.edit_captions(bulk.files());
            });
            export(&yard, &mirror, &[], &PIPE)
        });
        let series = contest.run()?;
        setup.keep(&series)?;
        rows.extend([FIRST, DECRYPT, VERIFY, CAPTIONS].map(|entrant| {
            let row = series.row(entrant);
            let each_ms = row.wall_s * 1e3 / size as f64;
            row.note(format!("{each_ms:.2} ms for each of {size} {things}"))
                .growth(entrant, size, things)
        }));
    }
    Ok(rows)
}

const FIRST: &str = "first export: pipe";
const DECRYPT: &str = "decrypt";
const VERIFY: &str = "verify";
const CAPTIONS: &str = "new captions: pipe";
