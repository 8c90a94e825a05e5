//! Decryption and verification, beside the hashes that are the least they could cost.

use std::time::Duration;

use super::Case;
use super::first::{account, bytes_of};
use crate::bench::Setup;
use crate::bench::contest::{Goal, Row};
use crate::bench::machine::{B2SUM, B3SUM, has_room};
use crate::bench::primitives::Costs;
use crate::bench::stopwatch::Taken;
use crate::bench::yard::{Export, Yard, words};
use crate::library::BulkOptions;
use crate::museum::Conditions;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "decrypt-1g",
            about: "ente-decrypt of one object of 1 GiB, beside b2sum of its plaintext",
            needs: &[B2SUM],
            run: decrypt_one,
        },
        Case {
            name: "decrypt-64",
            about: "ente-decrypt of 64 objects of 32 MB, beside the work of one thread ÷ cores",
            needs: &[],
            run: decrypt_many,
        },
        Case {
            name: "verify-large",
            about: "ente-verify of 64 files of 32 MB, beside b3sum",
            needs: &[B3SUM],
            run: verify_large,
        },
        Case {
            name: "verify-video",
            about: "ente-verify of one file of 2 GB, beside b3sum",
            needs: &[B3SUM],
            run: verify_video,
        },
        Case {
            name: "verify-small",
            about: "ente-verify of 20,000 files of 20 KB, beside b3sum",
            needs: &[B3SUM],
            run: verify_small,
        },
    ]
}

/// An export in memory with its objects kept.
fn pulled<'a>(setup: &'a Setup, account: BulkOptions) -> Result<(Yard<'a>, Export), String> {
    let bytes = bytes_of(&account);
    has_room(&setup.memory, 2 + 3 * bytes / (1 << 30))?;
    let yard = Yard::open(setup, account, Conditions::default())?;
    let place = yard.in_memory()?;
    yard.run(&[&["ente-pull", "--objects", "keep", &place.dir()]])?;
    Ok((yard, place))
}

pub(super) fn decrypt(yard: &Yard<'_>, place: &Export) -> Result<Taken, String> {
    place.forget_plaintext()?;
    yard.run(&[&["ente-decrypt", &place.dir()]])
}

fn decrypt_one(setup: &Setup) -> Result<Vec<Row>, String> {
    let (yard, place) = pulled(setup, account(1, setup.scaled(1 << 30) as u64))?;
    let mut contest = setup.contest("decrypt-1g");
    contest.enter("decrypt", || decrypt(&yard, &place));
    contest.enter("b2sum", || {
        yard.run_in(&place.path(), &[&words("b2sum", &place.files()?)])
    });
    let series = contest.run()?;
    setup.keep(&series)?;
    Ok(vec![
        series
            .versus("decrypt", "b2sum")
            .goal(Goal::Ratio(1.2))
            .goal(Goal::Megabytes(48)),
    ])
}

fn decrypt_many(setup: &Setup) -> Result<Vec<Row>, String> {
    let each = setup.scaled(32_000_000) as u64;
    let (yard, place) = pulled(setup, account(64, each))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let floor = format!("work ÷ {cores}");
    let mut contest = setup.contest("decrypt-64");
    contest.enter("decrypt", || decrypt(&yard, &place));
    let mut costs = Costs::default();
    contest.enter(&*floor, || {
        costs = Costs::measure(setup)?;
        Ok(Taken::seconds(costs.work_s(64 * each) / cores as f64))
    });
    let series = contest.run()?;
    setup.keep(&series)?;
    Ok(vec![
        series
            .versus("decrypt", &floor)
            .goal(Goal::Ratio(1.0 / 0.85))
            .goal(Goal::Megabytes(48)),
        series.row(&floor).note(costs.to_string()),
    ])
}

fn verify_large(setup: &Setup) -> Result<Vec<Row>, String> {
    verify(
        setup,
        "verify-large",
        account(64, setup.scaled(32_000_000) as u64),
    )
}

fn verify_video(setup: &Setup) -> Result<Vec<Row>, String> {
    let account = account(1, setup.scaled(2_000_000_000) as u64);
    verify(setup, "verify-video", account)
}

fn verify_small(setup: &Setup) -> Result<Vec<Row>, String> {
    verify(setup, "verify-small", account(setup.scaled(20_000), 20_000))
}

fn verify(setup: &Setup, case: &str, account: BulkOptions) -> Result<Vec<Row>, String> {
    has_room(&setup.memory, 4)?;
    let conditions = Conditions {
        latency: Duration::ZERO,
        ..Conditions::default()
    };
    let yard = Yard::open(setup, account, conditions)?;
    let place = yard.in_memory()?;
    // Without sidecars, which b3sum would not be given.
    yard.run(&[&["ente-pull", &place.dir()], &["ente-decrypt", "-"]])?;
    let files = place.files()?;
    let mut contest = setup.contest(case);
    contest.enter("verify", || yard.run(&[&["ente-verify", &place.dir()]]));
    contest.enter("b3sum", || {
        yard.run_in(&place.path(), &[&words("b3sum", &files)])
    });
    let series = contest.run()?;
    setup.keep(&series)?;
    Ok(vec![
        series
            .versus("verify", "b3sum")
            .goal(Goal::Ratio(1.0 / 0.95)),
    ])
}
