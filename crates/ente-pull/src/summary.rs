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
pub(crate) fn say(ui: &Ui, task: &Task<'_>, plan: &Plan, files: u64, printer: &Printer<'_>) {
    let counts = &printer.counts;
    ui.note(&line(task, plan, files, counts));
    for notice in printer.notices.iter().take(MOST_NOTICES) {
        let what = match notice.collection {
            Some(id) => format!("album {id}: {}", notice.cause),
            None => notice.cause.clone(),
        };
        ui.warning(&Failure::new(Exit::Problems, what).hint(&*notice.hint));
    }
    if let Some(example) = &printer.example {
        let what = format!(
            "{} of {} files were not fetched; each is a `problem` record",
            human_count(counts.failed),
            human_count(files),
        );
        let file = example.file.unwrap_or_default();
        ui.warning(
            &Failure::new(Exit::Problems, what)
                .cause(format!("file {file}: {}", example.cause))
                .hint(&*example.hint),
        );
    }
    let rest = printer.notices.len().saturating_sub(MOST_NOTICES) as u64;
    if rest > 0 {
        let what = format!("{} more problems", human_count(rest));
        ui.warning(&Failure::new(Exit::Problems, what).cause("each is a `problem` record"));
    }
}

fn line(task: &Task<'_>, plan: &Plan, files: u64, counts: &Counts) -> String {
    if task.args.list {
        return format!(
            "{} files listed; in a pipe, each is a record",
            human_count(counts.files)
        );
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
    let holds = human_count(files);
    let mut line = if counts.files == 0 {
        format!("nothing new; {holds} files")
    } else {
        format!(
            "{} files fetched ({}); {} new or changed, {} removed, of {holds}",
            human_count(counts.fetched),
            human_bytes(counts.bytes),
            human_count(changed),
            human_count(counts.removed),
        )
    };
    if counts.found > 0 {
        line.push_str(&format!(
            "; {} more objects were here already",
            human_count(counts.found)
        ));
    }
    if counts.left > 0 {
        line.push_str(&format!(
            "; {} still to be fetched: the same command goes on",
            human_count(counts.left)
        ));
    }
    line
}
