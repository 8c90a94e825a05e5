//! First exports, beside `curl` fetching the same objects to nowhere: the floor that the server allows.
//!
//! The server answers about 900 calls of its API a second, as a real one on such a machine did, each no sooner than after a millisecond; the object
//! store is as fast as the machine. On the disk, `dd conv=fsync` of the same bytes is the floor.

use std::time::Duration;

use super::Case;
use crate::bench::Setup;
use crate::bench::contest::{Goal, Round, Row, Series};
use crate::bench::machine::{B2SUM, CURL, DD, has_room};
use crate::bench::primitives::Costs;
use crate::bench::stopwatch::Taken;
use crate::bench::yard::{Export, Yard, words};
use crate::library::BulkOptions;
use crate::museum::Conditions;

const MB: u64 = 1_000_000;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "first-300k",
            about: "first export of 2,000 files of 300 KB, no latency",
            needs: &[CURL, DD],
            run: photos,
        },
        Case {
            name: "first-50ms",
            about: "the same with round trips of 50 ms",
            needs: &[CURL],
            run: photos_far_away,
        },
        Case {
            name: "first-2k",
            about: "first export of 10,000 files of 2 KB",
            needs: &[CURL, DD],
            run: small,
        },
        Case {
            name: "first-videos",
            about: "first export of 20 videos of 50 MB",
            needs: &[CURL, DD],
            run: videos,
        },
        Case {
            name: "first-video",
            about: "first export of one video of 1.5 GB",
            needs: &[CURL, B2SUM, DD],
            run: video,
        },
    ]
}

/// A server that is busy, so far away.
pub(super) fn conditions(latency_ms: u64) -> Conditions {
    Conditions {
        latency: Duration::from_millis(latency_ms.max(1)),
        calls_per_s: Some(900),
        ..Conditions::default()
    }
}

/// So many files in albums of a hundred.
pub(super) fn account(files: usize, bytes: u64) -> BulkOptions {
    BulkOptions {
        albums: files.div_ceil(100),
        files: files.min(100),
        bytes,
        shared: false,
    }
}

/// What its files have in plaintext.
pub(super) fn bytes_of(account: &BulkOptions) -> u64 {
    (account.albums * account.files) as u64 * account.bytes
}

/// Runs a pipe over an export.
pub(super) fn export(
    yard: &Yard<'_>,
    place: &Export,
    pull: &[&str],
    rest: &[&str],
) -> Result<Taken, String> {
    let dir = place.dir();
    let first: Vec<&str> = ["ente-pull"]
        .into_iter()
        .chain(pull.iter().copied())
        .chain([&*dir])
        .collect();
    let rest: Vec<[&str; 2]> = rest.iter().map(|tool| [*tool, "-"]).collect();
    let stages: Vec<&[&str]> = std::iter::once(&first[..])
        .chain(rest.iter().map(|stage| &stage[..]))
        .collect();
    yard.run(&stages)
}

/// Lists everything into a new export; nobody's files are wanted, so that nothing follows.
pub(super) fn list(yard: &Yard<'_>) -> Result<Taken, String> {
    export(yard, &yard.in_memory()?, &["--owner", "1"], &[])
}

/// What makes an export, and the same with its proof: both are called the whole pipe.
pub(super) const PIPE: [&str; 2] = ["ente-decrypt", "ente-meta"];
const PROVED: [&str; 3] = ["ente-decrypt", "ente-meta", "ente-verify"];

fn dd(yard: &Yard<'_>, bytes: u64) -> Result<Taken, String> {
    let place = yard.on_disk()?;
    let of = format!("of={}", place.dir());
    let count = format!("count={bytes}");
    yard.run(&[&[
        "dd",
        "if=/dev/zero",
        &of,
        "bs=4M",
        "iflag=count_bytes",
        &count,
        "conv=fsync",
        "status=none",
    ]])
}

/// The album of an account of at most a hundred files, exported for `b2sum` to read.
fn plaintext(yard: &Yard<'_>) -> Result<Export, String> {
    let place = yard.in_memory()?;
    export(yard, &place, &[], &PIPE)?;
    Ok(place)
}

/// What all cases without latency have in common: `curl`, pull and pipe in memory; pipe and `dd` on the disk.
struct Near {
    name: &'static str,
    account: BulkOptions,
    /// How many objects `curl` fetches at once.
    curls: &'static [usize],
    /// Whether `b2sum` reads the same bytes.
    sums: bool,
}

impl Near {
    fn bytes(&self) -> u64 {
        bytes_of(&self.account)
    }

    /// Runs them by turns; `rows` says what to show of those in memory.
    fn run(
        &self,
        setup: &Setup,
        rows: impl Fn(&Series, &Costs) -> Vec<Row>,
    ) -> Result<Vec<Row>, String> {
        let gib = self.bytes().div_ceil(1 << 30);
        has_room(&setup.memory, 1 + 4 * gib)?;
        has_room(&setup.disk, 1 + 2 * gib)?;
        let yard = Yard::open(setup, self.account, conditions(0))?;
        let originals = yard.originals();
        let read = match self.sums {
            true => Some(plaintext(&yard)?),
            false => None,
        };
        let mut contest = setup.contest(self.name);
        for at_once in self.curls {
            let fetch = || yard.curl(*at_once, &originals);
            contest.enter(format!("curl, {at_once} at once"), fetch);
        }
        contest.enter("pull", || export(&yard, &yard.in_memory()?, &[], &[]));
        contest.enter("pipe", || export(&yard, &yard.in_memory()?, &[], &PIPE));
        contest.enter("pipe with verify", || {
            export(&yard, &yard.in_memory()?, &[], &PROVED)
        });
        if let Some(read) = &read {
            contest.enter("b2sum", || {
                yard.run_in(&read.path(), &[&words("b2sum", &read.files()?)])
            });
        }
        let mut costs = Costs::default();
        contest.enter(WORK, || {
            costs = Costs::measure(setup)?;
            Ok(Taken::seconds(costs.work_s(self.bytes())))
        });
        contest.enter(WRITING, || yard.written_twice(&self.account));
        contest.enter("dd on the disk", || dd(&yard, self.bytes()));
        contest.enter("pipe on the disk", || {
            export(&yard, &yard.on_disk()?, &[], &PIPE)
        });
        let series = contest.run()?;
        setup.keep(&series)?;
        let mut found = rows(&series, &costs);
        found.push(series.versus("pipe on the disk", "dd on the disk"));
        Ok(found)
    }
}

const CURL_1: &str = "curl, 1 at once";
const CURL_16: &str = "curl, 16 at once";
const WORK: &str = "work on one thread";
/// What the system takes for objects and plaintext.
const WRITING: &str = "writing alone";

fn photos(setup: &Setup) -> Result<Vec<Row>, String> {
    let near = Near {
        name: "first-300k",
        account: account(setup.scaled(2000), 300_000),
        curls: &[1, 16],
        sums: false,
    };
    near.run(setup, |series, _| {
        let pipe = |name| series.versus(name, CURL_16).goal(Goal::Ratio(1.6));
        let pull = series.versus("pull", CURL_16).goal(Goal::Ratio(1.3));
        vec![
            series.row(CURL_1),
            pull,
            pipe("pipe"),
            pipe("pipe with verify"),
        ]
    })
}

fn small(setup: &Setup) -> Result<Vec<Row>, String> {
    let near = Near {
        name: "first-2k",
        account: account(setup.scaled(10_000), 2000),
        curls: &[16],
        sums: false,
    };
    near.run(setup, |series, _| {
        let pipe = |name| series.versus(name, CURL_16).goal(Goal::Ratio(1.3));
        vec![
            series.versus("pull", CURL_16),
            pipe("pipe"),
            pipe("pipe with verify"),
        ]
    })
}

fn videos(setup: &Setup) -> Result<Vec<Row>, String> {
    let near = Near {
        name: "first-videos",
        account: account(20, setup.scaled(50) as u64 * MB),
        curls: &[1, 16],
        sums: false,
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let floor = format!("{CURL_16} + work ÷ {cores}");
    near.run(setup, |series, costs| {
        let pipe = |name| {
            series
                .against(name, &floor, |round: &Round<'_>| {
                    round.wall_s(CURL_16) + round.wall_s(WORK) / cores as f64
                })
                .goal(Goal::Ratio(1.5))
        };
        vec![
            series.row(CURL_1),
            series.versus("pull", CURL_16),
            pipe("pipe"),
            pipe("pipe with verify"),
            series.row(WORK).note(costs.to_string()),
            series.row(WRITING),
        ]
    })
}

fn video(setup: &Setup) -> Result<Vec<Row>, String> {
    let near = Near {
        name: "first-video",
        account: account(1, setup.scaled(1500) as u64 * MB),
        curls: &[1],
        sums: true,
    };
    near.run(setup, |series, costs| {
        let floor = |round: &Round<'_>| round.wall_s(CURL_1) + round.wall_s("b2sum");
        let pipe = |name| {
            series
                .against(name, "curl + b2sum", floor)
                .goal(Goal::Ratio(1.2))
                .goal(Goal::Megabytes(48))
        };
        let pull = series.versus("pull", CURL_1).goal(Goal::Megabytes(48));
        let work = series.row(WORK).note(costs.to_string());
        let writing = series.row(WRITING);
        vec![pull, pipe("pipe"), pipe("pipe with verify"), work, writing]
    })
}

fn photos_far_away(setup: &Setup) -> Result<Vec<Row>, String> {
    let yard = Yard::open(setup, account(setup.scaled(2000), 300_000), conditions(50))?;
    let originals = yard.originals();
    let mut contest = setup.contest("first-50ms");
    let pull = |options: &[&str]| export(&yard, &yard.in_memory()?, options, &[]);
    contest.enter(CURL_16, || yard.curl(16, &originals));
    contest.enter("pull --jobs 16", || pull(&["--jobs", "16"]));
    contest.enter("curl, 64 at once", || yard.curl(64, &originals));
    contest.enter("pull --jobs 64", || pull(&["--jobs", "64"]));
    contest.enter("pull", || pull(&[]));
    contest.enter("pipe", || export(&yard, &yard.in_memory()?, &[], &PIPE));
    contest.enter("listing alone", || list(&yard));
    let series = contest.run()?;
    setup.keep(&series)?;
    Ok(vec![
        series
            .versus("pull --jobs 16", CURL_16)
            .goal(Goal::Ratio(1.1)),
        series
            .versus("pull --jobs 64", "curl, 64 at once")
            .goal(Goal::Ratio(1.1)),
        series
            .versus("pull", "curl, 64 at once")
            .goal(Goal::Ratio(1.3)),
        series
            .versus("pipe", "curl, 64 at once")
            .goal(Goal::Ratio(1.3)),
        series.row("listing alone"),
    ])
}
