//! How `--jobs auto` finds the number of downloads that pays: at several distances, and at a server that refuses what is too much.

use std::time::{Duration, Instant};

use super::Case;
use super::first::{account, export};
use crate::bench::Setup;
use crate::bench::contest::Row;
use crate::bench::stopwatch::Taken;
use crate::bench::yard::Yard;
use crate::museum::{Conditions, Request};

/// Points of a curve.
const POINTS: usize = 100;
/// Calls a second beyond which the server answers 429, where it does.
const LIMIT: usize = 300;

pub(super) fn cases() -> Vec<Case> {
    vec![Case {
        name: "jobs",
        about: "--jobs auto at 0, 20, 50 and 200 ms, and at a server that answers 429 above 300 calls a second",
        needs: &[],
        run: jobs,
    }]
}

fn jobs(setup: &Setup) -> Result<Vec<Row>, String> {
    let files = setup.scaled(2000);
    let yard = Yard::open_with(setup, account(files, 100_000), Conditions::default(), true)?;
    let mut rows = Vec::new();
    for latency_ms in [0, 20, 50, 200] {
        let conditions = Conditions {
            latency: Duration::from_millis(latency_ms),
            ..Conditions::default()
        };
        rows.push(distance(
            setup,
            &yard,
            &format!("jobs {latency_ms} ms"),
            conditions,
        )?);
    }
    let conditions = Conditions {
        latency: Duration::from_millis(20),
        max_requests_per_s: Some(LIMIT),
        ..Conditions::default()
    };
    yard.museum.set_conditions(conditions);
    let (mut curve, mut refused) = (Vec::new(), 0);
    let mut contest = setup.contest_of("jobs 429", 1);
    contest.enter("auto", || {
        let taken = pull(&yard, "auto")?;
        let requests = yard.museum.requests();
        refused = requests
            .iter()
            .filter(|request| matches!(request.status, 429 | 503))
            .count();
        curve = in_flight(&requests);
        Ok(taken)
    });
    let floor = format!("{LIMIT} a second");
    contest.enter(&*floor, || Ok(Taken::seconds(files as f64 / LIMIT as f64)));
    let series = contest.run()?;
    setup.keep(&series)?;
    rows.push(
        series
            .versus("auto", &floor)
            .note(format!("{refused} refused"))
            .curve(curve),
    );
    Ok(rows)
}

fn distance(
    setup: &Setup,
    yard: &Yard<'_>,
    case: &str,
    conditions: Conditions,
) -> Result<Row, String> {
    yard.museum.set_conditions(conditions);
    let mut curve = Vec::new();
    let mut contest = setup.contest_of(case, 1);
    contest.enter("auto", || {
        let taken = pull(yard, "auto")?;
        curve = in_flight(&yard.museum.requests());
        Ok(taken)
    });
    contest.enter("--jobs 64", || pull(yard, "64"));
    let series = contest.run()?;
    setup.keep(&series)?;
    let most = curve.iter().map(|(_, count)| *count).fold(0.0, f64::max);
    Ok(series
        .versus("auto", "--jobs 64")
        .note(format!("up to {most:.0} in flight"))
        .curve(curve))
}

fn pull(yard: &Yard<'_>, jobs: &str) -> Result<Taken, String> {
    let place = yard.in_memory()?;
    yard.museum.reset_log();
    export(yard, &place, &["--jobs", jobs], &[])
}

/// Seconds since the first request, and the requests that waited for their answer then.
fn in_flight(requests: &[Request]) -> Vec<(f64, f64)> {
    let Some(start) = requests.iter().map(|request| request.arrived).min() else {
        return Vec::new();
    };
    let since = |at: Instant| (at - start).as_secs_f64();
    let spans: Vec<(f64, f64)> = requests
        .iter()
        .filter_map(|request| Some((since(request.arrived), since(request.answered?))))
        .collect();
    let end = spans.iter().map(|span| span.1).fold(0.0, f64::max);
    let step = end / POINTS as f64;
    // The mean over a step: the time that requests waited within it, over its length.
    let mean = |from: f64| {
        let waited = spans
            .iter()
            .map(|(begin, end)| (end.min(from + step) - begin.max(from)).max(0.0));
        waited.sum::<f64>() / step
    };
    (0..POINTS)
        .map(|point| point as f64 * step)
        .map(|from| (from + step / 2.0, mean(from)))
        .collect()
}
