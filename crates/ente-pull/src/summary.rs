//! What people are told at the end of a round.

use ente_common::exit::{Exit, Failure};
use ente_common::ui::{Ui, human_bytes, human_count};

use crate::plan::Plan;
use crate::records::{Counts, Printer};
use crate::round::expect;
use crate::task::Task;

/// Messages about single albums and the like before the rest is only counted.
const MOST_NOTICES: usize = 5;

/// One line for whoever watches; warnings for everybody where something did not come.
pub(crate) fn say(ui: &Ui, task: &Task<'_>, plan: &Plan, printer: &Printer<'_>) {
    let counts = &printer.counts;
    ui.note(&line(task, plan, counts));
    for notice in printer.notices.iter().take(MOST_NOTICES) {
        let what = match notice.collection {
            Some(id) => format!("album {id}: {}", notice.cause),
            None => notice.cause.clone(),
        };
        ui.warning(&Failure::new(Exit::Problems, what).hint(&*notice.hint));
    }
    let rest = counts
        .problems
        .saturating_sub(printer.notices.len().min(MOST_NOTICES) as u64);
    if counts.failed > 0 {
        let what = format!(
            "{} of {} files were not fetched; each is a `problem` record",
            human_count(counts.failed),
            human_count(plan.targets.len() as u64),
        );
        ui.warning(
            &Failure::new(Exit::Problems, what)
                .hint("run the same command again; it retries only those"),
        );
    } else if rest > 0 {
        let what = format!(
            "{} more problems; each is a `problem` record",
            human_count(rest)
        );
        ui.warning(&Failure::new(Exit::Problems, what));
    }
}

fn line(task: &Task<'_>, plan: &Plan, counts: &Counts) -> String {
    if task.args.list {
        return format!("{} files listed", human_count(counts.files));
    }
    let changed = counts.files.saturating_sub(counts.removed);
    if task.args.dry_run {
        let expected = expect(plan);
        return format!(
            "would fetch {} files ({}); {} new or changed, {} removed; nothing was written",
            human_count(expected.files),
            human_bytes(expected.bytes),
            human_count(changed),
            human_count(counts.removed),
        );
    }
    format!(
        "{} files fetched ({}); {} new or changed, {} removed; the account holds {}",
        human_count(counts.fetched),
        human_bytes(counts.bytes),
        human_count(changed),
        human_count(counts.removed),
        human_count(plan.targets.len() as u64),
    )
}
