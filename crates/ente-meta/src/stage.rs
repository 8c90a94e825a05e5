//! The flow of records: gathered in batches, looked at side by side, printed once their sidecars are safe.

use std::collections::{BTreeSet, HashSet};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use ente_common::cli::Io;
use ente_common::exit::{Exit, Failure};
use ente_common::layout::Sidecars;
use ente_common::manifest::facts::{MetaFact, Sidecar};
use ente_common::manifest::{PartKey, State};
use ente_common::record::{Input, Problem, Record};
use ente_common::ui::Progress;
use ente_common::upstream::{Event, READ_AHEAD, Upstream, read_ahead};
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::decide::Outcome;
use crate::filter::Filter;
use crate::job::{Job, Told, file_record};
use crate::open::{Entries, Library, live_placements, record_entries};
use crate::plan::Planner;
use crate::problem;
use crate::rest;
use crate::settle::{self, Unsettled};
use crate::tally::Tally;
use crate::write::Writer;

/// A batch is closed when it holds this many files …
const BATCH_FILES: usize = 256;
/// … or this many records, or is this old.
const BATCH_RECORDS: usize = 512;
const BATCH_AGE: Duration = Duration::from_millis(200);

/// What a run was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    /// Which records pass.
    pub(crate) filter: &'a Filter,
    /// Where sidecars are to lie, if that was said.
    pub(crate) sidecars: Option<Sidecars>,
    /// Records, not the manifest, say what the library holds.
    pub(crate) listing: bool,
    /// A stage before this one writes sidecars too. Waiting for its lock would hold up the pipe, and so that stage: what records name is written
    /// when a round or the run is over.
    pub(crate) is_later: bool,
    /// The whole export is this run's work, not only what records name.
    pub(crate) whole: bool,
}

/// A run.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    plan: Plan<'a>,
    io: &'a mut Io,
    library: Library,
    planner: Planner,
    /// `None` where nothing is written.
    writer: Option<Writer>,
    queue: Vec<Item>,
    since: Instant,
    progress: Option<Progress>,
    tally: Tally,
    /// Files with a sidecar that this run tried in vain to put right.
    stuck: HashSet<i64>,
    /// Sidecars that a problem was told of.
    told: HashSet<PartKey>,
    /// Files that were named and are not looked at yet.
    put_off: BTreeSet<i64>,
}

#[derive(Debug)]
enum Item {
    Pass(Record),
    File(Box<Job>),
}

impl<'a> Stage<'a> {
    /// A run that has not begun; without `writer` it writes nothing.
    pub(crate) fn new(
        plan: Plan<'a>,
        io: &'a mut Io,
        library: Library,
        writer: Option<Writer>,
    ) -> Self {
        Self {
            plan,
            io,
            library,
            planner: Planner::default(),
            writer,
            queue: Vec::new(),
            since: Instant::now(),
            progress: None,
            tally: Tally::default(),
            stuck: HashSet::new(),
            told: HashSet::new(),
            put_off: BTreeSet::new(),
        }
    }

    /// Enriches and passes on what comes in, then does what is pending.
    ///
    /// # Errors
    /// With what ended the run.
    pub(crate) fn pass<R>(mut self, input: Input<R>, begin: &Record) -> Result<Exit, Failure>
    where
        R: std::io::BufRead + Send + 'static,
    {
        let expect = input.begin().expect;
        let ui = self.io.ui.clone();
        self.progress = ui
            .is_lively()
            .then(|| ui.progress("exporting", expect.files, expect.bytes));
        self.io.print(begin)?;
        let (send, events) = sync_channel(READ_AHEAD);
        read_ahead(input, move |event| send.send(event).is_ok());
        let mut has_loaded = false;
        let upstream = loop {
            if self.io.interrupt.is_set() {
                self.flush()?;
                return self.close(Upstream::default());
            }
            match events.recv_timeout(BATCH_AGE) {
                Ok(Event::Record(record)) => {
                    if !has_loaded {
                        self.load()?;
                        has_loaded = true;
                    }
                    self.take(record)?;
                }
                Ok(Event::Over(upstream)) => break upstream,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break Upstream::default(),
            }
            if self.since.elapsed() >= BATCH_AGE {
                self.flush()?;
            }
        };
        if upstream.is_whole() && !has_loaded {
            return self.finish(upstream);
        }
        self.flush()?;
        if upstream.is_whole() {
            self.pending()?;
        }
        self.close(upstream)
    }

    /// Begins to go by the manifest.
    fn load(&mut self) -> Result<(), Failure> {
        let state_dir = self
            .writer
            .as_ref()
            .filter(|_| self.plan.whole)
            .map(|writer| writer.export().state_dir());
        let news = match state_dir {
            Some(dir) => rest::news(&dir, self.plan.sidecars)?,
            None => None,
        };
        self.library.load(news)?;
        let state = &self.library.state;
        let is_new = state.focus.is_none() && state.meta.sidecars.is_empty();
        if is_new && !self.plan.is_later {
            // Nobody moves sidecars where there are none: they can be where they are to be from the first.
            self.settle()?;
        }
        Ok(())
    }

    /// Does what is pending where nothing was loaded yet.
    fn finish(mut self, upstream: Upstream) -> Result<Exit, Failure> {
        let state_dir = self
            .writer
            .as_ref()
            .map(|writer| writer.export().state_dir());
        let is_at_rest = |dir| rest::holds(dir, self.plan.sidecars);
        if !self.plan.whole || !state_dir.as_deref().is_some_and(is_at_rest) {
            self.load()?;
            self.pending()?;
        }
        self.close(upstream)
    }

    /// Goes through the whole export by itself; with `all`, prints every file.
    ///
    /// # Errors
    /// With what ended the run.
    pub(crate) fn walk(mut self, begin: &Record, all: bool) -> Result<Exit, Failure> {
        self.io.print(begin)?;
        if !all {
            return self.finish(Upstream::none());
        }
        self.library.load(None)?;
        self.library.refresh()?;
        self.print_albums()?;
        for file in self.library.files() {
            if self.io.interrupt.is_set() {
                break;
            }
            let record = file_record(&self.library, file, "listed");
            self.queue_file(record, file, false)?;
        }
        self.flush()?;
        self.close(Upstream::none())
    }

    fn print_albums(&mut self) -> Result<(), Failure> {
        let ids: Vec<i64> = self
            .library
            .state
            .pull
            .collections
            .keys()
            .copied()
            .collect();
        for id in ids {
            let record = Record::new("collection")
                .with("id", id)
                .with("change", "listed");
            self.take_collection(record)?;
        }
        self.flush()
    }

    fn take(&mut self, record: Record) -> Result<(), Failure> {
        match record.kind() {
            "file" => {
                let Some(file) = record.int("id") else {
                    return self.enqueue(Item::Pass(record));
                };
                if let Some(progress) = &self.progress {
                    progress.file();
                    let size = record.members.get("size").and_then(Value::as_u64);
                    progress.bytes(size.unwrap_or(0));
                }
                return self.queue_file(record, file, false);
            }
            "collection" => return self.take_collection(record),
            kind @ ("problem" | "finding") => {
                if let Some(progress) = self.progress.as_ref().filter(|_| kind == "problem") {
                    progress.failed();
                }
                let prints = self.io.records.prints();
                self.tally.passed(&record, &self.io.ui, prints);
            }
            "round" => {
                self.flush()?;
                let writer = self.writer.as_ref().filter(|_| self.plan.is_later);
                if !writer.is_some_and(Writer::is_another_at_work) {
                    self.pending()?;
                }
                self.stuck.clear();
                self.told.clear();
                if let Some(writer) = &mut self.writer {
                    writer.release(self.io);
                }
            }
            _ => {}
        }
        self.enqueue(Item::Pass(record))
    }

    fn take_collection(&mut self, mut record: Record) -> Result<(), Failure> {
        let Some(id) = record.int("id") else {
            return self.enqueue(Item::Pass(record));
        };
        if record.members.get("change") == Some(&json!("gone")) {
            return self.enqueue(Item::Pass(record));
        }
        let opened = match record.members.get("entry") {
            Some(entry) => self.library.open_record(id, entry, self.plan.listing),
            None => {
                self.refresh()?;
                let known = self.library.album_name(id);
                known
                    .map(|(name, visibility)| (name.to_owned(), visibility))
                    .ok_or_else(|| "it is not in the manifest, or does not open".to_owned())
            }
        };
        match opened {
            Ok((name, visibility)) => {
                if !self.plan.filter.takes_album(&name, visibility) {
                    return Ok(());
                }
                record = record.with("name", name);
                if let Some(folder) = self.library.state.decrypt.folders.get(&id)
                    && !record.members.contains_key("path")
                {
                    record = record.with("path", folder.name.as_str());
                }
                self.enqueue(Item::Pass(record))
            }
            Err(cause) => {
                self.enqueue(Item::Pass(record))?;
                self.flush()?;
                self.problem(problem::unopened_album(id, &cause))
            }
        }
    }

    fn queue_file(&mut self, record: Record, file: i64, is_pending: bool) -> Result<(), Failure> {
        let is_of_file = |item: &Item| matches!(item, Item::File(job) if job.file == file);
        if self.queue.iter().any(is_of_file) {
            // What is written for the first record need not be written for the second.
            self.flush()?;
        }
        self.refresh()?;
        if !self.library.state.knows(file) {
            self.library.load(None)?;
            self.refresh()?;
            self.planner.forget();
        }
        let live = live_placements(&record);
        let puts_off = self.plan.is_later && !is_pending;
        if puts_off {
            self.put_off.insert(file);
        }
        let wanted = match &self.writer {
            Some(_) if !live.is_empty() && !puts_off => {
                let at = self.library.state.meta.sidecars_at();
                self.planner.wanted(&self.library, at, file, true)
            }
            _ => Vec::new(),
        };
        let asked = self.io.records.prints() || self.plan.filter.is_active();
        let mut job = Job {
            open: !live.is_empty() && (asked || !wanted.is_empty()),
            is_pending,
            record,
            file,
            holders: Vec::new(),
            entries: Entries::new(),
            wanted,
        };
        if job.open {
            (job.holders, job.entries) = self.sources(&job.record, live, file);
        }
        self.enqueue(Item::File(Box::new(job)))
    }

    /// Which collections hold a file, and its entries in them. The manifest is the truth, as a record may have been narrowed; but a listing does
    /// not write it.
    fn sources(&mut self, record: &Record, live: Vec<i64>, file: i64) -> (Vec<i64>, Entries) {
        let told = record_entries(record);
        if self.plan.listing && !told.is_empty() {
            return (live, told);
        }
        match self.library.entries(file) {
            known if known.is_empty() => (live, told),
            known => (self.library.holders(file).collect(), known),
        }
    }

    /// Takes in what was recorded since.
    fn refresh(&mut self) -> Result<(), Failure> {
        if self.library.refresh()? {
            self.planner.forget();
        }
        Ok(())
    }

    /// Puts the sidecars in order that are there. Only while no stage before this one moves any.
    fn settle(&mut self) -> Result<(), Failure> {
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        let state = &mut self.library.state;
        let mut unsettled = settle::recover(writer, state)?;
        unsettled.extend(settle::convert(writer, state, self.plan.sidecars)?);
        for unsettled in unsettled {
            match unsettled {
                Unsettled::Left(path) => {
                    self.tally.left.insert(path);
                }
                // What this run tried in vain to write was told.
                Unsettled::Stuck(key, path, error) => {
                    if self.told.insert(key) {
                        self.problem(problem::not_written(key, path, &error))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn enqueue(&mut self, item: Item) -> Result<(), Failure> {
        if self.queue.is_empty() {
            self.since = Instant::now();
        }
        self.queue.push(item);
        let files = self
            .queue
            .iter()
            .filter(|item| matches!(item, Item::File(_)));
        if self.queue.len() >= BATCH_RECORDS || files.count() >= BATCH_FILES {
            self.flush()?;
        }
        Ok(())
    }

    /// Does what the batch asks for, then prints its records.
    fn flush(&mut self) -> Result<(), Failure> {
        self.since = Instant::now();
        let items = std::mem::take(&mut self.queue);
        let (library, filter) = (&self.library, self.plan.filter);
        let mut told: Vec<Option<Told>> = items
            .par_iter()
            .map(|item| match item {
                Item::Pass(_) => None,
                Item::File(job) => Some(job.look(library, filter)),
            })
            .collect();
        let tasks: Vec<_> = told
            .iter_mut()
            .flatten()
            .flat_map(|told| std::mem::take(&mut told.tasks))
            .collect();
        let (mut failed, mut written) = (Vec::new(), HashSet::new());
        if let Some(writer) = &mut self.writer
            && !tasks.is_empty()
        {
            let at = self.library.state.meta.sidecars_at();
            let Some(outcomes) = writer.write(&mut self.library.state, at, &tasks)? else {
                self.queue = items;
                return self.plan_anew();
            };
            for (task, outcome) in tasks.iter().zip(outcomes) {
                match outcome {
                    Outcome::Written => {
                        self.tally.written += 1;
                        written.insert(task.wanted.key.1);
                    }
                    Outcome::Same => {}
                    Outcome::Left(path) => {
                        self.stuck.insert(task.wanted.key.1);
                        self.tally.left.insert(path);
                    }
                    Outcome::Failed(path, error) => {
                        self.stuck.insert(task.wanted.key.1);
                        if self.told.insert(task.wanted.key) {
                            failed.push((task.wanted.key, path, error));
                        }
                    }
                }
            }
        }
        for (item, told) in items.into_iter().zip(told) {
            match (item, told) {
                (Item::Pass(record), _) => self.io.print(&record)?,
                (Item::File(job), told) => {
                    let is_news = !job.is_pending || written.contains(&job.file);
                    self.print_file(*job, told.unwrap_or_default(), is_news)?;
                }
            }
        }
        for (key, path, error) in failed {
            self.problem(problem::not_written(key, path, &error))?;
        }
        Ok(())
    }

    /// Plans what waits in the queue by what another run did meanwhile, and does it.
    fn plan_anew(&mut self) -> Result<(), Failure> {
        self.refresh()?;
        self.planner.forget();
        let at = self.library.state.meta.sidecars_at();
        for item in &mut self.queue {
            if let Item::File(job) = item
                && !job.wanted.is_empty()
            {
                job.wanted = self.planner.wanted(&self.library, at, job.file, true);
            }
        }
        self.flush()
    }

    fn print_file(&mut self, job: Job, told: Told, is_news: bool) -> Result<(), Failure> {
        let file = job.file;
        if is_news && let Some(record) = job.finish(&self.library, self.plan.filter, &told) {
            self.tally.files += 1;
            self.io.print(&record)?;
        }
        match told.unread {
            Some(cause) if self.tally.is_first_told(file) => {
                self.problem(problem::unopened_file(file, &cause))
            }
            _ => Ok(()),
        }
    }

    fn problem(&mut self, problem: Problem) -> Result<(), Failure> {
        let prints = self.io.records.prints();
        self.tally.problem(&problem, &self.io.ui, prints);
        self.io.print(&problem.to_record())
    }

    /// What the manifest shows as pending: sidecars that do not hold, and facts of those that went with their files.
    fn pending(&mut self) -> Result<(), Failure> {
        self.library.refresh_findings()?;
        self.refresh()?;
        self.settle()?;
        let put_off = std::mem::take(&mut self.put_off);
        if self.writer.is_none() || !(self.plan.whole || self.plan.is_later) {
            return Ok(());
        }
        self.planner.forget();
        // What comes while this goes on is for the next run; so is what the filter leaves out.
        let rest = self.library.rest();
        let rest = rest.filter(|_| !self.plan.filter.is_active());
        let at = self.library.state.meta.sidecars_at();
        let files = self.library.files().into_iter();
        let known: Vec<i64> = files
            .filter(|file| self.library.state.knows(*file))
            .filter(|file| self.plan.whole || put_off.contains(file))
            .collect();
        for file in known {
            if self.io.interrupt.is_set() {
                break;
            }
            let wanted = self.planner.wanted(&self.library, at, file, true);
            if !wanted.is_empty() && !self.stuck.contains(&file) {
                let record = file_record(&self.library, file, "pending");
                self.queue_file(record, file, true)?;
            }
        }
        self.flush()?;
        if !self.plan.whole {
            return Ok(());
        }
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        let state = &mut self.library.state;
        let mut facts = gone(state);
        if !facts.is_empty() && writer.lock(state)? {
            facts = gone(state);
        }
        writer.record(state, facts)?;
        let is_done =
            self.tally.exit() == Exit::Done && self.stuck.is_empty() && self.told.is_empty();
        match rest.filter(|_| is_done && !self.io.interrupt.is_set()) {
            Some(rest) => rest::note(writer, &mut self.library.state, rest),
            None => Ok(()),
        }
    }

    /// Tells people and the next stage how it went.
    fn close(mut self, upstream: Upstream) -> Result<Exit, Failure> {
        if let Some(progress) = self.progress.take() {
            progress.finish();
        }
        self.tally.tell(&self.io.ui, self.io.records.prints());
        let albums = self.library.album_names();
        for pattern in self.plan.filter.unmatched(&albums) {
            let warning = Failure::new(Exit::Done, format!("no album is called `{pattern}`"));
            let hint = "`ente-meta --print` shows the names of all albums";
            self.io.ui.warning(&warning.hint(hint));
        }
        let end = upstream.end_with("ente-meta", self.tally.counts());
        self.io.ui.summary(&end);
        let exit = self.tally.exit();
        if upstream.error.is_none() && self.io.interrupt.is_set() {
            return Ok(exit);
        }
        Ok(self.io.finish(upstream, &end)?.and(exit))
    }
}

/// Facts of the sidecars that went with their files.
fn gone(state: &State) -> Vec<MetaFact> {
    let is_there = |key: &PartKey| {
        let placement = state.decrypt.placements.get(&(key.0, key.1));
        placement.is_some_and(|placement| key.2 < placement.parts.len())
    };
    let gone = state.meta.sidecars.iter().filter(|(key, _)| !is_there(key));
    let gone = gone.map(|(_, sidecar)| {
        MetaFact::Sidecar(Sidecar {
            gone: true,
            ..sidecar.clone()
        })
    });
    gone.collect()
}
