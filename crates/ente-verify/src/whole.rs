//! `ente-verify DIR`: everything that the record knows, and what it does not know.

use std::collections::HashSet;
use std::path::Path;

use ente_common::cli::Io;
use ente_common::exit::{Exit, Failure};
use ente_common::manifest::Export;
use ente_common::manifest::facts::Checked;
use ente_common::record::{Begin, Expect, Record, Scope, path_to_value, run_id};
use ente_common::ui::{human_bytes, human_count};
use rayon::prelude::*;
use serde_json::json;

use crate::live::Live;
use crate::look::{Looker, Outcome};
use crate::plan::{self, Expected, What};
use crate::report::{Book, Found, Report, print, unfinished};
use crate::{Args, NAME, walk};

/// The tools that move files about in the tree.
pub(crate) const MOVERS: [&str; 2] = ["ente-decrypt", "ente-meta"];

/// Files whose findings are recorded and printed together.
const BATCH: usize = 4096;

/// Checks the whole export.
pub(crate) fn run(args: &Args, io: &mut Io) -> Result<Exit, Failure> {
    let export = Export::open(&Export::locate(args.source.dir(), None)?)?;
    let run = run_id((io.clock)(), std::process::id());
    export.check_idle(&MOVERS, &run, args.break_lock)?;
    let mut report = Report::new(&export, Book::load(&export, &run, args.break_lock)?);
    report.book.open(&export, io)?;
    let mut live = Live::load(&export)?;
    let expected = plan::whole(&live.state);
    let totals = Totals::of(&expected);
    print(io, &begin(&export, &run).to_record())?;

    let bytes = if args.quick { 0 } else { totals.bytes };
    let progress = io.ui.progress("checking", totals.files, bytes);
    let looker = Looker::new(&export, args.quick, io.interrupt.clone(), progress);
    let done = check_all(args, &looker, &expected, &mut live, &mut report, io);
    looker.finish();
    done?;
    if io.interrupt.is_set() {
        report.book.sync()?;
        return Ok(report.exit());
    }

    report.book.clear_rest();
    report.book.checked(Checked {
        run,
        when: (io.clock)(),
        mode: if args.quick { "quick" } else { "full" }.to_owned(),
        files: totals.files,
        bytes: looker.bytes(),
        findings: report.total(),
    });
    report.book.sync()?;
    let counts = report.counts(totals.files, looker.bytes());
    print(
        io,
        &Record::new("end").with("counts", json!({ NAME: counts })),
    )?;
    report.tell(totals.files, io);
    if report.exit() == Exit::Done {
        io.ui.note(&format!(
            "{} files, {}: every file is there and {}",
            human_count(totals.files),
            human_bytes(totals.bytes),
            if args.quick {
                "of its size and time"
            } else {
                "unchanged"
            },
        ));
    }
    Ok(report.exit())
}

fn begin(export: &Export, run: &str) -> Begin {
    Begin {
        tool: NAME.into(),
        run: run.into(),
        scope: Scope::Only,
        export: path_to_value(export.dir()),
        account: export.about().account.clone(),
        expect: Expect::default(),
    }
}

/// What people are told: exported files, and all bytes with the sidecars.
struct Totals {
    files: u64,
    bytes: u64,
}

impl Totals {
    fn of(expected: &[Expected]) -> Self {
        let written = || expected.iter().filter(|it| it.written.is_some());
        Self {
            files: written()
                .filter(|it| it.subject.what == What::Content)
                .count() as u64,
            bytes: written()
                .filter_map(|it| it.written.as_ref())
                .map(|it| it.size)
                .sum(),
        }
    }
}

/// Looks at everything, in batches, each of which is recorded and printed in the order of paths.
fn check_all(
    args: &Args,
    looker: &Looker,
    expected: &[Expected],
    live: &mut Live,
    report: &mut Report<'_>,
    io: &mut Io,
) -> Result<(), Failure> {
    let export = report.export;
    if let Some(found) = unfinished(export, &live.state) {
        report.findings(&[found], io)?;
    }
    let pool = pool(args)?;
    let mut news = News::default();
    for batch in expected.chunks(BATCH) {
        if io.interrupt.is_set() {
            return Ok(());
        }
        let outcomes: Vec<Outcome> = pool.install(|| {
            batch
                .par_iter()
                .with_max_len(1)
                .map(|it| looker.check(it))
                .collect()
        });
        let mut found = Vec::new();
        for (expected, outcome) in batch.iter().zip(outcomes) {
            match outcome {
                Outcome::Stopped => {}
                Outcome::Well => {
                    // Sizes and times cannot clear what reading the content found.
                    let known = args.quick.then(|| report.book.known(&expected.subject));
                    if let Some(class) = known.flatten() {
                        found.push((expected, class, None));
                    }
                }
                Outcome::Wrong(class, cause) => found.push((expected, class, cause)),
                Outcome::Unreadable(error) => {
                    let path = Path::new(expected.path.as_deref().unwrap_or_default());
                    report.unreadable(Some(&expected.subject), path, &error, io)?;
                }
            }
        }
        if !found.is_empty() {
            news.hear(live)?;
        }
        let found: Vec<Found> = found
            .into_iter()
            .filter(|(expected, ..)| news.confirms(expected))
            .map(|(expected, class, cause)| Found::of(expected, class, cause))
            .collect();
        report.findings(&found, io)?;
    }

    let known: Vec<&str> = expected
        .iter()
        .filter_map(|it| it.path.as_deref())
        .collect();
    let walked = walk::extras(export.dir(), &known, &io.interrupt);
    for error in walked.unreadable {
        let path = error.path().unwrap_or(Path::new("")).to_owned();
        let path = path.strip_prefix(export.dir()).unwrap_or(&path);
        report.unreadable(None, path, &error, io)?;
    }
    news.hear(live)?;
    let extras: Vec<Found> = walked
        .extras
        .into_iter()
        .filter(|path| !news.knows(path))
        .map(Found::extra)
        .collect();
    report.findings(&extras, io)
}

pub(crate) fn pool(args: &Args) -> Result<rayon::ThreadPool, Failure> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(args.jobs.map_or(0, std::num::NonZeroUsize::get))
        .build()
        .map_err(|error| Failure::new(Exit::Failed, "cannot start threads").cause(error))
}

/// What other tools recorded since the plan was made: a run that began meanwhile moves files, which is no difference.
#[derive(Default)]
struct News {
    expected: Option<HashSet<Expected>>,
    paths: HashSet<String>,
}

impl News {
    fn hear(&mut self, live: &mut Live) -> Result<(), Failure> {
        if live.refresh()? {
            let expected: HashSet<Expected> = plan::whole(&live.state).into_iter().collect();
            self.paths = expected.iter().filter_map(|it| it.path.clone()).collect();
            self.expected = Some(expected);
        }
        Ok(())
    }

    /// The record still says what it said when the plan was made.
    fn confirms(&self, expected: &Expected) -> bool {
        self.expected
            .as_ref()
            .is_none_or(|now| now.contains(expected))
    }

    /// A file that was recorded since.
    fn knows(&self, path: &Path) -> bool {
        path.to_str().is_some_and(|path| self.paths.contains(path))
    }
}
