//! `ente-verify DIR`: everything that the record knows, and what it does not know; with `--objects`, the same of the encrypted mirror; with
//! `--against -`, the same again by what the account holds now.

use std::io;
use std::path::Path;

use ente_common::cli::{Io, run_id};
use ente_common::exit::{Exit, Failure};
use ente_common::layout;
use ente_common::manifest::ciphertext::Ciphertext;
use ente_common::manifest::facts::Checked;
use ente_common::manifest::{Export, JournalError, Lock, State};
use ente_common::record::{Begin, Expect, Record, Scope, path_to_value};
use ente_common::ui::human_bytes;
use rayon::ThreadPool;
use rayon::prelude::*;
use serde_json::json;

use crate::against::Listed;
use crate::book::Book;
use crate::check::Class;
use crate::live::Live;
use crate::look::{How, Looker, Outcome};
use crate::plan::{self, Expected};
use crate::report::{Found, Report, counted};
use crate::span::{Area, Span};
use crate::walk::Known;
use crate::{Args, NAME, against, walk};

/// Files whose findings are recorded and printed together.
const BATCH: usize = 4096;

/// Checks the whole export, or the share of it that was asked for.
pub(crate) fn run(args: &Args, io: &mut Io) -> Result<Exit, Failure> {
    let listing = match args.against {
        Some(_) => Some(io.read_records()?),
        None => None,
    };
    let upstream = listing.as_ref().map(|input| input.begin().clone());
    let named = upstream.as_ref().and_then(Begin::export);
    let export = Export::open(&Export::locate(args.source.dir()?, named.as_deref())?)?;
    if let Some(begin) = &upstream {
        export.check_account(&begin.account)?;
    }
    let run = upstream.map_or_else(run_id, |begin| begin.run);
    let (span, how) = (args.span(), args.how());
    export.check_idle(span.area.movers(), &run, args.break_lock)?;
    let book = Book::load(&export, args.claim(&run, io), listing.is_none())?;
    let mut report = Report::new(&export, book);
    report.book.open(&export, io)?;
    let mut live = Live::load(&export, span.area)?;
    io.print(&begin(&export, &run).to_record())?;
    let listed = match listing {
        Some(input) => Some(against::read(input, &mut live.state, io)?),
        None => None,
    };
    let mut expected = span.expected(&live.state);
    if let Some(listed) = &listed {
        listed.compare(&live.state, &mut expected);
    }
    let totals = Totals::of(&expected);

    let bytes = if how == How::Quick { 0 } else { totals.bytes };
    let progress = io.ui.progress("checking", totals.files, bytes);
    let looker = Looker::new(&export, how, io.interrupt.clone(), Some(progress));
    let mut check = Check {
        how,
        span,
        listed: listed.as_ref(),
        looker: &looker,
        live,
        report,
        grown: false,
    };
    let done = check.run(&expected, &pool(args)?, io);
    looker.finish();
    done?;
    let Check {
        mut report, live, ..
    } = check;
    if io.interrupt.is_set() {
        report.book.sync()?;
        return Ok(report.exit());
    }

    if listed.is_none() {
        report.book.clear_rest(&span);
    }
    report.book.checked(Checked {
        run,
        when: (io.clock)(),
        mode: args.mode().to_owned(),
        subset: span.subset.map(|subset| subset.to_string()),
        files: totals.files,
        bytes: looker.bytes(),
        findings: report.total(),
    });
    report.book.sync()?;
    let mut counts = report.counts(totals.files, looker.bytes());
    if how == How::Origin {
        counts["without_hash"] = totals.without_hash.into();
    }
    let counts = json!({ NAME: counts });
    // Whoever reads on must know where it was not everything.
    if listed.as_ref().is_none_or(|listed| listed.has_ended) {
        io.print(&Record::new("end").with("counts", counts))?;
    }
    if totals.files == 0 && span.area == Area::Tree {
        report.tell_unexported(&live.state, io);
    } else {
        report.tell(span.area, totals.files, io);
    }
    if how == How::Origin && totals.without_hash > 0 {
        io.ui.note(&format!(
            "{} came without a hash of their owner's device; they were held against the record of this export",
            counted(totals.without_hash, "file"),
        ));
    }
    let exit = report.exit();
    if exit == Exit::Done {
        let seen = summary(span.area, how, listed.as_ref());
        io.ui.note(&format!(
            "{}, {}: {seen}",
            counted(totals.files, span.area.noun()),
            human_bytes(totals.bytes),
        ));
    }
    Ok(exit.and(listed.map_or(Exit::Done, |listed| listed.exit)))
}

/// What people are told when all is well.
fn summary(area: Area, how: How, listed: Option<&Listed>) -> &'static str {
    match (area, how) {
        _ if listed.is_some_and(|listed| listed.is_whole) => {
            "everything that the account holds is here"
        }
        _ if listed.is_some() => "all that was listed is here",
        (Area::Tree, How::Quick) => "every file is there, with its size and time",
        (Area::Tree, How::Record) => "every file is there and unchanged",
        (Area::Tree, How::Origin) => "every file is as its owner's device left it",
        (Area::Objects, How::Quick) => "every object is there, with its size",
        (Area::Objects, _) => "every object is there and unchanged",
    }
}

fn begin(export: &Export, run: &str) -> Begin {
    Begin {
        tool: NAME.into(),
        run: run.into(),
        scope: Scope::Only,
        partial: false,
        writers: Vec::new(),
        export: path_to_value(export.dir()),
        account: export.about().account.clone(),
        expect: Expect::default(),
    }
}

/// What people are told: exported files, and all bytes with the sidecars.
struct Totals {
    files: u64,
    bytes: u64,
    without_hash: u64,
}

impl Totals {
    fn of(expected: &[Expected]) -> Self {
        let written = || expected.iter().filter(|it| it.written.is_some());
        let is_bare = |it: &&Expected| {
            let written = it.written.as_ref();
            it.subject.what.is_file() && written.is_some_and(|it| it.origin.is_none())
        };
        Self {
            without_hash: written().filter(is_bare).count() as u64,
            files: written().filter(|it| it.subject.what.is_file()).count() as u64,
            bytes: written()
                .filter_map(|it| it.written.as_ref())
                .map(|it| it.size)
                .sum(),
        }
    }
}

/// How many of these lines of the ciphertext are not there as they were written.
fn lost_of(export: &Export, lines: &[(u64, u64)]) -> io::Result<usize> {
    let ciphertext = match Ciphertext::open(&export.state_dir()) {
        Err(JournalError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(lines.len());
        }
        opened => opened.map_err(io::Error::other)?,
    };
    let mut lost = 0;
    for &(at, len) in lines {
        lost += usize::from(!ciphertext.is_whole(at, len)?);
    }
    Ok(lost)
}

struct Check<'a> {
    how: How,
    span: Span,
    listed: Option<&'a Listed>,
    looker: &'a Looker,
    live: Live,
    report: Report<'a>,
    /// Another run recorded something since the plan was made.
    grown: bool,
}

impl Check<'_> {
    /// Looks at everything in batches, each of which is recorded and printed in the order of paths; then at what nobody recorded.
    fn run(
        &mut self,
        expected: &[Expected],
        pool: &ThreadPool,
        io: &mut Io,
    ) -> Result<(), Failure> {
        if self.listed.is_none()
            && let Some(found) = unfinished(self.report.export, &self.live.state)
        {
            self.report.findings(&[found], io)?;
        }
        for batch in expected.chunks(BATCH) {
            if io.interrupt.is_set() {
                return Ok(());
            }
            let look = |it| self.looker.check(it);
            let outcomes: Vec<Outcome> =
                pool.install(|| batch.par_iter().with_max_len(1).map(look).collect());
            let mut found = self.found(batch, outcomes, io)?;
            if !found.is_empty() && self.has_grown()? {
                found = self.again(&found, pool, io)?;
            }
            self.report.findings(&found, io)?;
        }
        if self.span.has_listing() && self.listed.is_none() {
            self.listing(io)?;
        }
        self.extras(expected, pool, io)
    }

    /// Looks whether what was listed is as `ente-pull` wrote it: without it nothing can be decrypted once more.
    fn listing(&mut self, io: &mut Io) -> Result<(), Failure> {
        let pull = &self.live.state.pull;
        let collections = pull.collections.values().map(|it| (it.at, it.len));
        let files = pull.files.values().map(|it| (it.at, it.len));
        let mut lines: Vec<(u64, u64)> = collections.chain(files).collect();
        // In the order in which they lie on the disk.
        lines.sort_unstable();
        let lost = lost_of(self.report.export, &lines);
        match lost {
            Ok(0) => Ok(()),
            Ok(lost) => {
                let found = Found::listing(lost, lines.len());
                self.report.findings(&[found], io)
            }
            Err(error) => {
                let path = Path::new(layout::CIPHERTEXT);
                self.report.unreadable(None, path, &error, io)
            }
        }
    }

    fn found(
        &mut self,
        expected: &[Expected],
        outcomes: Vec<Outcome>,
        io: &mut Io,
    ) -> Result<Vec<Found>, Failure> {
        let mut found = Vec::new();
        for (expected, outcome) in expected.iter().zip(outcomes) {
            // Sizes and times cannot clear what reading the content found.
            let known = (self.how == How::Quick).then(|| self.report.book.known(&expected.subject));
            match (outcome, known.flatten()) {
                (Outcome::Stopped, _) => {}
                (Outcome::Well | Outcome::Wrong(Class::NotExported, _), Some(class)) => {
                    found.push(Found::of(expected, class, None));
                }
                (Outcome::Well, None) => {}
                (Outcome::Wrong(class, cause), _) => found.push(Found::of(expected, class, cause)),
                (Outcome::Unreadable(error), _) => {
                    self.report.unreadable_part(expected, &error, io)?
                }
            }
        }
        Ok(found)
    }

    fn has_grown(&mut self) -> Result<bool, Failure> {
        self.grown |= self.live.refresh()?;
        Ok(self.grown)
    }

    /// Looks once more, by the facts as they are now: a run that began meanwhile moves files, which is no difference.
    fn again(
        &mut self,
        found: &[Found],
        pool: &ThreadPool,
        io: &mut Io,
    ) -> Result<Vec<Found>, Failure> {
        let subjects = found.iter().filter_map(|it| it.subject.as_ref());
        let mut expected = self.span.again(&self.live.state, subjects);
        if let Some(listed) = self.listed {
            listed.compare(&self.live.state, &mut expected);
        }
        let looker = self.looker;
        looker.forget();
        let outcomes = pool.install(|| expected.iter().map(|it| looker.check(it)).collect());
        self.found(&expected, outcomes, io)
    }

    fn extras(
        &mut self,
        expected: &[Expected],
        pool: &ThreadPool,
        io: &mut Io,
    ) -> Result<(), Failure> {
        let root = self.report.export.dir();
        let start = match self.span.area {
            Area::Tree => root.to_owned(),
            Area::Objects => self.report.export.state_path("objects"),
        };
        // What nobody recorded is no business of the account.
        if !start.is_dir() || self.listed.is_some() {
            return Ok(());
        }
        let whole = Span {
            subset: None,
            ..self.span
        };
        // A share of the files says nothing of what the others are called.
        let all = match self.span.subset {
            Some(_) => &whole.expected(&self.live.state),
            None => expected,
        };
        let paths = plan::paths(all);
        let known = Known::new(&paths);
        let walked = pool.install(|| walk::extras(root, &start, &known, &io.interrupt));
        for error in walked.unreadable {
            let path = error.path().unwrap_or(Path::new("")).to_owned();
            let path = path.strip_prefix(root).unwrap_or(&path);
            self.report.unreadable(None, path, &error, io)?;
        }
        let mut extras = walked.extras;
        extras.retain(|path| self.span.has_path(path));
        if !extras.is_empty() && self.has_grown()? {
            let now = whole.expected(&self.live.state);
            let paths = plan::paths(&now);
            let known = Known::new(&paths);
            extras.retain(|path| !known.has(path));
        }
        let extras: Vec<Found> = extras.into_iter().map(Found::extra).collect();
        self.report.findings(&extras, io)
    }
}

pub(crate) fn pool(args: &Args) -> Result<ThreadPool, Failure> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(args.jobs.map_or(0, std::num::NonZeroUsize::get))
        .build()
        .map_err(|error| Failure::new(Exit::Failed, "cannot start threads").cause(error))
}

/// An unfinished listing: the last `ente-pull` was cut off before it knew what the account holds.
fn unfinished(export: &Export, state: &State) -> Option<Found> {
    if state.pull.listing.is_none() {
        return Some(Found::unfinished(
            "no listing of the account was ever completed; run `ente-pull`",
        ));
    }
    // While `ente-pull` lives, its open listing is no sign of a run that was cut off.
    let is_idle = || matches!(Lock::holder(&export.state_dir(), "ente-pull"), Ok(None));
    let cut_off = state.pull.has_open_listing() && is_idle();
    cut_off.then(|| {
        Found::unfinished("the last listing of the account was cut off; run `ente-pull` again")
    })
}
