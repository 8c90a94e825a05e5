//! `ente-verify -`: reads back what the records name, as they pass.
//!
//! Records say which files are meant; what they should be, the manifest says: a record is printed after its fact is written.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use ente_common::cli::Io;
use ente_common::digest::ContentHash;
use ente_common::exit::{Exit, Failure};
use ente_common::manifest::{Export, PlacementKey};
use ente_common::naming::is_component;
use ente_common::record::{Input, Problem, Record, Scope};
use ente_common::ui::Progress;
use ente_common::upstream::{Event, Upstream, read_ahead};
use rayon::prelude::*;
use serde_json::Value;

use crate::book::Book;
use crate::live::Live;
use crate::look::{How, Looker, Outcome};
use crate::plan::{self, Expected, InAccount, Subject, What};
use crate::report::{Found, Report, SHOWN};
use crate::span::Area;
use crate::whole::pool;
use crate::{Args, NAME};

/// Records that are checked together; the pipe waits while as many are in flight.
const BATCH: usize = 64;

/// How often a wait for records looks up whether the run is to stop.
const LOOK_UP: Duration = Duration::from_millis(200);

type Records = Input<Box<dyn std::io::BufRead + Send>>;

/// Checks what the records name.
pub(crate) fn run(args: &Args, io: &mut Io) -> Result<Exit, Failure> {
    let input = io.read_records()?;
    let begin = input.begin().clone();
    io.print(&input.begin_record().clone().with("tool", NAME))?;
    let writes = begin.scope != Scope::Listing;
    if !writes && !args.origin {
        return pass_on(input, io);
    }
    let export = Export::open(&Export::locate(
        args.source.dir()?,
        begin.export().as_deref(),
    )?)?;
    export.check_account(&begin.account)?;
    export.check_idle(Area::Tree.movers(), &begin.run, args.break_lock)?;
    let mut stage = Stage {
        report: Report::new(
            &export,
            Book::load(&export, args.claim(&begin.run, io), writes)?,
        ),
        live: Live::load(&export, Area::Tree)?,
        looker: Looker::new(&export, args.how(), io.interrupt.clone(), None),
        progress: io
            .ui
            .progress("checking", begin.expect.files, begin.expect.bytes),
        how: args.how(),
        files: 0,
        without_hash: 0,
        told: 0,
    };
    let pool = pool(args)?;
    let (send, events) = sync_channel(BATCH);
    read_ahead(input, move |event| send.send(event).is_ok());
    let upstream = loop {
        let (batch, over) = next_batch(&events, io);
        pool.install(|| stage.check(batch, io))?;
        if over.is_some() || io.interrupt.is_set() {
            break over.unwrap_or_default();
        }
    };
    stage.progress.finish();
    stage.report.book.sync()?;
    if io.interrupt.is_set() {
        stage.report.tell(Area::Tree, stage.files, io);
        return Ok(stage.report.exit());
    }
    let mut counts = stage.report.counts(stage.files, stage.looker.bytes());
    if args.origin {
        counts["without_hash"] = stage.without_hash.into();
    }
    let exit = finish(upstream, counts, io)?;
    stage.report.tell(Area::Tree, stage.files, io);
    if stage.files > 0 && stage.report.exit() == Exit::Done {
        io.ui.note("what was read back is as it was written");
    }
    Ok(exit.and(stage.report.exit()))
}

/// A listing is about nothing on disk.
fn pass_on(mut input: Records, io: &mut Io) -> Result<Exit, Failure> {
    while let Some(record) = input.next_record()? {
        io.print(&record)?;
        if io.interrupt.is_set() {
            return Ok(Exit::Done);
        }
    }
    let upstream = input.upstream();
    let end = upstream.end.clone().unwrap_or_else(|| Record::new("end"));
    io.ui.summary(&end);
    io.finish(upstream, &end)
}

/// Prints `end` with our counts, and tells how the stages before went.
pub(crate) fn finish(upstream: Upstream, counts: Value, io: &mut Io) -> Result<Exit, Failure> {
    let end = upstream.end_with(NAME, counts);
    if upstream.is_whole() {
        io.ui.summary(&end);
    }
    io.finish(upstream, &end)
}

/// The records that are there, and how the input ended, if it did; neither when the run is to stop.
fn next_batch(events: &Receiver<Event>, io: &Io) -> (Vec<Record>, Option<Upstream>) {
    let mut batch = Vec::new();
    let mut event = loop {
        match events.recv_timeout(LOOK_UP) {
            _ if io.interrupt.is_set() => return (batch, None),
            Ok(event) => break event,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return (batch, Some(Upstream::default())),
        }
    };
    loop {
        match event {
            Event::Record(record) => batch.push(record),
            Event::Over(upstream) => return (batch, Some(upstream)),
        }
        // Of what comes after a round, nothing is looked at before it is over.
        if batch.len() == BATCH || batch.last().is_some_and(|it| it.kind() == "round") {
            return (batch, None);
        }
        event = match events.try_recv() {
            Ok(event) => event,
            Err(_) => return (batch, None),
        };
    }
}

struct Stage<'a> {
    report: Report<'a>,
    live: Live,
    looker: Looker,
    /// Of files and bytes as `begin` told them: by records.
    progress: Progress,
    how: How,
    files: u64,
    without_hash: u64,
    /// Problems of the stages before that were shown.
    told: usize,
}

impl Stage<'_> {
    fn check(&mut self, batch: Vec<Record>, io: &mut Io) -> Result<(), Failure> {
        self.live.refresh()?;
        let expected: Vec<Vec<Expected>> = batch.iter().map(|it| self.expected(it)).collect();
        let outcomes: Vec<Vec<Outcome>> = expected
            .par_iter()
            .map(|of_record| {
                of_record
                    .par_iter()
                    .map(|it| self.looker.check(it))
                    .collect()
            })
            .collect();
        let is_news = expected.iter().zip(&outcomes);
        let mut is_news = is_news.flat_map(|(expected, outcomes)| expected.iter().zip(outcomes));
        if self.report.book.waits()
            && is_news.any(|(expected, outcome)| self.is_news(expected, outcome))
            && self.report.book.open(self.report.export, io)?
        {
            return self.check(batch, io);
        }
        for ((mut record, expected), outcomes) in batch.into_iter().zip(expected).zip(outcomes) {
            if outcomes.iter().any(|it| matches!(it, Outcome::Stopped)) {
                return Ok(());
            }
            if record.kind() == "round" {
                self.report.book.next_round(io)?;
            }
            let gone = self.not_gone(&record);
            if !outcomes.is_empty() {
                let well = outcomes.iter().all(|it| matches!(it, Outcome::Well));
                record.members.insert("verified".into(), well.into());
            }
            self.count(&record, io);
            io.print(&record)?;
            self.judge(&expected, outcomes, io)?;
            self.report.findings(&gone, io)?;
        }
        Ok(())
    }

    /// Counts what passes. A problem of a stage before is shown where nobody reads records.
    fn count(&mut self, record: &Record, io: &Io) {
        match record.kind() {
            "file" => {
                let size = record.members.get("size").and_then(Value::as_u64);
                self.progress.bytes(size.unwrap_or(0));
                self.progress.file();
            }
            "problem" => {
                self.progress.failed();
                if !io.records.prints() && self.told < SHOWN {
                    self.told += 1;
                    // Another tool's may lack what ours have.
                    let problem = record.parse::<Problem>().unwrap_or_default();
                    io.ui.warning(&problem.to_failure());
                }
            }
            _ => {}
        }
    }

    /// What the manifest says of the placements that a record names, as far as they are written.
    fn expected(&self, record: &Record) -> Vec<Expected> {
        let mut expected = Vec::new();
        for key in keys(record) {
            plan::of_placement(&self.live.state, key, &mut expected);
        }
        // What is still to come is the business of the stages before, which said so.
        expected.retain(|it| it.written.is_some());
        let version = record.members.get("version").and_then(Value::as_str);
        let hash = told_hash(record);
        for it in &mut expected {
            it.account = InAccount::Same;
            // What the account says now outranks what it said when the file was written.
            if it.subject.version.map(|it| it.to_string()).as_deref() == version
                && let Some(written) = &mut it.written
                && it.subject.what == What::Content
                && let Some(digest) = hash.and_then(|hash| self.of_part(hash, &it.subject))
            {
                written.origin = Some(digest);
            }
        }
        expected
    }

    /// What a hash says of one part; that of a live photo's archive says nothing.
    fn of_part(&self, hash: ContentHash, of: &Subject) -> Option<[u8; 64]> {
        let placements = &self.live.state.decrypt.placements;
        let placement = placements.get(&(of.collection, of.file))?;
        match (hash, placement.parts.len(), of.part) {
            (ContentHash::Whole(digest), 1, 0) if !placement.live => Some(digest),
            (ContentHash::Live { image, .. }, 2, 0) => Some(image),
            (ContentHash::Live { video, .. }, 2, 1) => Some(video),
            _ => None,
        }
    }

    /// Something is to be written about it.
    fn is_news(&self, expected: &Expected, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Well => self.how != How::Quick && self.report.book.stands(&expected.subject),
            Outcome::Wrong(..) => true,
            Outcome::Unreadable(_) | Outcome::Stopped => false,
        }
    }

    fn judge(
        &mut self,
        expected: &[Expected],
        outcomes: Vec<Outcome>,
        io: &mut Io,
    ) -> Result<(), Failure> {
        let mut found = Vec::new();
        for (expected, outcome) in expected.iter().zip(outcomes) {
            if expected.subject.what == What::Content {
                let origin = expected.written.as_ref().and_then(|it| it.origin);
                self.files += 1;
                self.without_hash += u64::from(origin.is_none());
            }
            match outcome {
                Outcome::Well => {
                    if self.is_news(expected, &Outcome::Well) {
                        self.report.book.open(self.report.export, io)?;
                        self.report.book.clear(&expected.subject);
                    }
                }
                Outcome::Wrong(class, cause) => found.push(Found::of(expected, class, cause)),
                Outcome::Unreadable(error) => self.report.unreadable_part(expected, &error, io)?,
                Outcome::Stopped => {}
            }
        }
        self.report.findings(&found, io)
    }

    /// Paths of ended placements at which something is that the manifest does not know.
    fn not_gone(&self, record: &Record) -> Vec<Found> {
        let ended = placements(record).filter(|it| it["gone"] == true && it["did"] == "trashed");
        ended
            .filter_map(|placement| placement["path"].as_str())
            .filter(|path| path.split('/').all(is_component))
            .filter(|path| self.looker.is_there(path) && !self.is_known(path))
            .map(|path| Found::extra(PathBuf::from(path)))
            .collect()
    }

    fn is_known(&self, path: &str) -> bool {
        let placements = &self.live.state.decrypt.placements;
        let mut parts = placements
            .iter()
            .flat_map(|(key, it)| (0..it.parts.len()).map(move |part| (*key, part)));
        parts.any(|(key, part)| self.live.state.decrypt.path(key, part).as_deref() == Some(path))
    }
}

/// The hash of the owner's device, where a stage before opened the metadata.
fn told_hash(record: &Record) -> Option<ContentHash> {
    let metadata = record.members.get("metadata")?;
    metadata["hash"].as_str()?.parse().ok()
}

fn placements(record: &Record) -> impl Iterator<Item = &Value> {
    let placements = record.members.get("placements").and_then(Value::as_array);
    placements.into_iter().flatten()
}

/// The placements that a `file` names.
fn keys(record: &Record) -> Vec<PlacementKey> {
    let id = record.int("id").filter(|_| record.kind() == "file");
    let Some(id) = id else {
        return Vec::new();
    };
    let collections = record.placement_collections().into_iter();
    collections.map(|collection| (collection, id)).collect()
}
