//! One run: what is surveyed, done and printed in which order, alone or while records come in.
//!
//! This thread alone changes the tree and its facts. Workers make files and hand them over; a batch of them is synced, recorded and given its
//! place at once; then the records that rest on it are printed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::BufRead;

use crossbeam_channel::{Receiver, Sender, bounded, never, select};
use ente_common::cli::{Io, run_id};
use ente_common::exit::{Exit, Failure};
use ente_common::keystore::KeysFile;
use ente_common::layout;
use ente_common::manifest::adoption::Adoptable;
use ente_common::manifest::facts::PullFact;
use ente_common::manifest::follow::Follow;
use ente_common::manifest::state::{DecryptState, MetaState, PullState, VerifyState, covers};
use ente_common::manifest::{
    Claim, Claimed, ContentKey, Export, Journal, JournalError, PlacementKey, Rest, State,
    private_dir,
};
use ente_common::naming::MAX_NAME_BYTES;
use ente_common::record::{Begin, Expect, Input, Problem, Record, Scope, path_to_value};
use ente_common::ui::Progress;
use ente_common::upstream::{Event, READ_AHEAD, Upstream, read_ahead};

use crate::adopt::Adoption;
use crate::content::{Done, Job, Workshop};
use crate::desired::{Desired, Stale};
use crate::finish::Counts;
use crate::listing::begin_of;
use crate::open::Library;
use crate::plan::{Siblings, Structure, lacks, relinks, structure};
use crate::pool::{BATCH_FILES, Group, Pool};
use crate::records::{annotate, annotate_collection, pending};
use crate::settings::{Settings, longest_name};
use crate::tree::Tree;
use crate::{Args, NAME, recover, rest};

/// Files that wait for content before more records are read.
const MAX_WAITING: usize = 512;
/// Problems that are shown to whoever watches; the others are counted.
pub(crate) const SHOWN_PROBLEMS: u64 = 20;

/// A file with work under way.
#[derive(Debug, Default)]
struct Waiting {
    groups: usize,
    records: Vec<Record>,
}

/// A run of the tool.
pub(crate) struct Run<'a> {
    pub(crate) args: &'a Args,
    pub(crate) io: &'a mut Io,
    pub(crate) scope: Scope,
    pub(crate) tree: Tree,
    pub(crate) library: Library,
    pub(crate) follow: Follow,
    /// What this run rests upon, if nothing is left to do after it.
    pub(crate) basis: Rest,
    /// `ente-pull` recorded more than this run took in.
    pub(crate) is_behind: bool,
    /// Records are about what a partial state does not tell.
    pub(crate) wants_all: bool,
    /// Those records, until everything is loaded.
    strange: Vec<Record>,
    /// Length of `decrypt.jsonl` when it was read.
    read_bytes: u64,
    pub(crate) desired: Desired,
    /// Those that are still to be done.
    pub(crate) steps: Structure,
    pub(crate) siblings: Siblings,
    /// Content that lies on this machine already.
    pub(crate) adoptable: Adoptable,
    /// What the facts wrongly call the content of a placement.
    pub(crate) forged: Vec<Adoption>,
    /// Problems of titles that could not be read, until they are told.
    pub(crate) unread: Vec<Problem>,
    pub(crate) surveyed: bool,
    /// Records that wait for the survey.
    held: Vec<Record>,
    /// The end of a round of `--watch` that waits for the work before it.
    round: Option<Record>,
    claim: Claim,
    /// What is pending in the manifest was queued too.
    is_last: bool,
    pub(crate) pool: Pool,
    /// Files with work under way, and the records that wait for it.
    waiting: HashMap<i64, Waiting>,
    pub(crate) counts: Counts,
    pub(crate) progress: Progress,
}

impl<'a> Run<'a> {
    /// A run over `export`; `begin` is that of the records, where there are any.
    pub(crate) fn new(
        args: &'a Args,
        io: &'a mut Io,
        export: Export,
        keys: KeysFile,
        begin: Option<Begin>,
    ) -> Self {
        let now = (io.clock)();
        let expect = begin
            .as_ref()
            .map_or(Expect::default(), |begin| begin.expect);
        let settings = Settings::new(&State::default(), None, None, None, || MAX_NAME_BYTES);
        let run = begin
            .as_ref()
            .map_or_else(run_id, |begin| begin.run.clone());
        Self {
            claim: Claim::new(NAME, &run, args.break_lock, io),
            scope: begin.as_ref().map_or(Scope::All, |begin| begin.scope),
            progress: io.ui.progress("decrypting", expect.files, expect.bytes),
            library: Library::new(keys, export.clone()),
            follow: Follow::new::<PullFact>(&export.state_dir()),
            tree: Tree::new(export, State::default(), settings, layout::day(now)),
            args,
            io,
            basis: Rest::default(),
            is_behind: false,
            wants_all: false,
            strange: Vec::new(),
            read_bytes: 0,
            desired: Desired::default(),
            steps: Structure::default(),
            siblings: Siblings::default(),
            adoptable: Adoptable::default(),
            forged: Vec::new(),
            unread: Vec::new(),
            surveyed: false,
            held: Vec::new(),
            round: None,
            is_last: false,
            pool: Pool::new(args.jobs()),
            waiting: HashMap::new(),
            counts: Counts::default(),
        }
    }

    /// Does the run.
    ///
    /// # Errors
    /// With what ended it; what was recorded stays, and the next run goes on from there.
    pub(crate) fn run<R>(mut self, input: Option<Input<R>>) -> Result<Exit, Failure>
    where
        R: BufRead + Send + 'static,
    {
        let scope = self.args.dry_run.then_some("listing");
        let begin = match &input {
            Some(input) => begin_of(input.begin_record(), scope),
            None => begin_of(&self.own_begin().to_record(), scope),
        };
        self.io.print(&begin)?;
        let (send, events) = bounded(READ_AHEAD);
        match input {
            Some(input) => read_ahead(input, move |event| send.send(event).is_ok()),
            // There is room for it.
            None => drop(send.send(Event::Over(Upstream::none()))),
        }
        if self.args.dry_run {
            return self.dry_run(&events);
        }
        let result = self.work(&events);
        self.progress.finish();
        let ended = result?;
        if self.tree.is_writing() {
            self.tree.sweep();
        }
        self.finish(ended)
    }

    fn own_begin(&self) -> Begin {
        Begin {
            tool: NAME.into(),
            run: self.claim.run().to_owned(),
            scope: Scope::All,
            partial: false,
            writers: Vec::new(),
            export: path_to_value(self.tree.export.dir()),
            account: self.tree.export.about().account.clone(),
            expect: Expect::default(),
        }
    }

    /// Starts the workers and goes through everything that comes in.
    fn work(&mut self, events: &Receiver<Event>) -> Result<Upstream, Failure> {
        let (to_do, jobs) = bounded::<Job>(self.pool.capacity());
        let (hand_over, results) = bounded::<Done>(self.pool.capacity());
        let workshop = Workshop::new(
            self.tree.partial(),
            self.io.interrupt.clone(),
            self.progress.clone(),
        );
        std::thread::scope(|scope| {
            for _ in 0..self.args.jobs() {
                let (jobs, hand_over, workshop) = (jobs.clone(), hand_over.clone(), &workshop);
                scope.spawn(move || {
                    for job in jobs {
                        if hand_over.send(workshop.run(job)).is_err() {
                            break;
                        }
                    }
                });
            }
            // The workers go when this thread lets go of the other end.
            let to_do = to_do;
            let result = self.stream(events, &to_do, &results);
            if result.is_err() {
                workshop.stop();
                // While this run has the lock: the next one gives its files the same names.
                self.pool.discard();
            }
            result
        })
    }

    /// Takes records in and results back until the input is over and all work is done.
    fn stream(
        &mut self,
        events: &Receiver<Event>,
        to_do: &Sender<Job>,
        results: &Receiver<Done>,
    ) -> Result<Upstream, Failure> {
        let mut ended: Option<Upstream> = None;
        let nothing = never();
        loop {
            if self.io.interrupt.is_set() {
                self.pool.give_up();
            }
            self.start_jobs(to_do)?;
            let is_idle = self.pool.is_idle();
            let is_stopped = self.io.interrupt.is_set();
            let is_strange = !self.strange.is_empty();
            let is_last =
                is_idle && (is_stopped || is_strange || ended.is_some() || self.round.is_some());
            if self.pool.is_due() || (is_last && self.pool.has_batch()) {
                self.close_batch()?;
                continue;
            }
            if is_idle && is_stopped {
                return Ok(ended.unwrap_or_default());
            }
            if is_idle && !self.strange.is_empty() {
                self.load_all()?;
                continue;
            }
            if is_last {
                let is_whole = ended.as_ref().is_none_or(|ended| ended.end.is_some());
                if !self.is_over(is_whole)? {
                    continue;
                }
                match (self.round.take(), ended.take()) {
                    (Some(round), none) => {
                        ended = none;
                        self.end_round(&round)?;
                    }
                    (None, Some(ended)) => return Ok(ended),
                    (None, None) => {}
                }
                continue;
            }
            let has_room = ended.is_none()
                && self.round.is_none()
                && !is_strange
                && self.waiting.len() < MAX_WAITING;
            select! {
                recv(if has_room { events } else { &nothing }) -> event => match event {
                    Ok(Event::Record(record)) => self.take_in(record, events, &mut ended)?,
                    Ok(Event::Over(over)) => ended = Some(over),
                    Err(_) => ended = Some(Upstream::default()),
                },
                recv(results) -> done => {
                    if let Ok(done) = done {
                        self.pool.hand_in(done);
                    }
                }
                default(self.pool.patience()) => {}
            }
        }
    }

    /// The work that the input brought is done. With scope `all` what else is pending comes next: false while there is such.
    fn is_over(&mut self, is_whole: bool) -> Result<bool, Failure> {
        if self.is_last {
            return Ok(true);
        }
        self.is_last = true;
        if is_whole && !self.surveyed && self.held.is_empty() && self.is_at_rest() {
            return Ok(true);
        }
        if !is_whole && !self.surveyed {
            // The stage before stopped before it told of a file: there is nothing to go by.
            return self.release_held().map(|()| true);
        }
        self.begin_work()?;
        if is_whole && self.scope == Scope::All {
            self.catch_up()?;
            self.queue_all();
        }
        Ok(false)
    }

    /// Plans anew with everything, for records of which a part of it does not tell.
    fn load_all(&mut self) -> Result<(), Failure> {
        if self.tree.is_writing() {
            self.tree.sync()?;
        }
        self.surveyed = false;
        let records = std::mem::take(&mut self.strange);
        self.take_files(records)
    }

    /// A round of `--watch` is over: its record says that all before it is done. The next one is surveyed anew.
    fn end_round(&mut self, record: &Record) -> Result<(), Failure> {
        self.print_left()?;
        self.tree.sync()?;
        if self.tree.is_writing() {
            self.tree.sweep();
        }
        // Whoever waits for the next round need not keep out who checks what is there.
        self.tree.end_writing();
        self.claim.be_patient(self.io);
        self.io.print(record)?;
        self.surveyed = false;
        self.is_last = false;
        Ok(())
    }

    /// Queues everything that lacks content.
    fn queue_all(&mut self) {
        let mut groups: BTreeMap<ContentKey, Vec<PlacementKey>> = BTreeMap::new();
        for &key in self.tree.state.pull.files.keys() {
            if let Some(version) = lacks(&self.tree.state, &self.desired, key) {
                groups.entry((key.1, version)).or_default().push(key);
            }
        }
        for ((id, version), keys) in groups {
            self.queue(Group::lacking(id, version, keys));
        }
        let (state, mode) = (&self.tree.state, self.tree.settings.link);
        for (from, keys) in relinks(state, mode, &self.siblings) {
            if let Some(version) = self.tree.placement(from).version {
                self.queue(Group {
                    id: from.1,
                    version,
                    keys,
                    relink: Some(from),
                });
            }
        }
    }

    fn queue(&mut self, group: Group) {
        self.waiting.entry(group.id).or_default().groups += 1;
        self.pool.queue.push_back(group);
    }

    /// Loads the facts, reads what is new in the listing, plans.
    pub(crate) fn survey(&mut self) -> Result<(), Failure> {
        let state_dir = self.tree.export.state_dir();
        self.basis = rest::basis(&state_dir);
        self.is_behind = false;
        self.read_bytes = journal_bytes(&self.tree.export);
        let verify = VerifyState::load(&state_dir)?;
        let news = self.news(&verify)?;
        let seen = news.as_ref().map_or(u64::MAX, |news| news.seen("pull"));
        let found = news.map(|news| news.focus);
        let focus = found.as_ref();
        self.follow = Follow::new::<PullFact>(&state_dir);
        let mut pull = PullState::default();
        let follow = &mut self.follow;
        let mut is_strange = false;
        let (others, read) = std::thread::scope(|scope| {
            let others = scope.spawn(|| -> Result<_, JournalError> {
                let decrypt = DecryptState::load_within(&state_dir, focus)?;
                let meta = MetaState::load_within(&state_dir, focus)?;
                Ok((decrypt, meta))
            });
            let read = follow.read_to(seen, |row| covers(focus, row), |fact| pull.apply(fact));
            // What came meanwhile may be about anything.
            let read = read.and_then(|()| {
                follow.catch_up(|fact| {
                    is_strange |= focus.is_some_and(|focus| match &fact {
                        PullFact::Collection(_) => true,
                        PullFact::File(file) => !focus.has(file.id),
                        PullFact::Object(object) => !focus.has(object.id),
                        _ => false,
                    });
                    pull.apply(fact);
                })
            });
            (others.join().expect("reading does not panic"), read)
        });
        read?;
        if is_strange {
            self.wants_all = true;
            return self.survey();
        }
        let (decrypt, meta) = others?;
        let state = State {
            pull,
            decrypt,
            meta,
            verify,
            focus: found,
        };
        let (args, partial) = (self.args, self.tree.partial());
        let settings = Settings::new(&state, args.mtime, args.link, args.on_remove, || {
            longest_name(&partial, !args.dry_run)
        });
        self.library.reload();
        self.unread.clear();
        let titles = self
            .library
            .titles(&state, &Stale::of(&state), &mut self.unread);
        self.desired = Desired::new(&state, &titles, settings.name_bytes);
        self.steps = structure(&state, &self.desired, &settings);
        self.siblings = Siblings::new(&state);
        self.survey_adoptions(&state);
        self.steps.defer(&state);
        // A watch goes on for days.
        self.tree
            .reload(state, settings, layout::day((self.io.clock)()));
        self.surveyed = true;
        Ok(())
    }

    /// Surveys, recovers what a killed run left, commits the names; with scope `all` does all steps that need no content. Once a round.
    fn begin_work(&mut self) -> Result<(), Failure> {
        if self.surveyed {
            return Ok(());
        }
        self.survey()?;
        let is_new = !self.desired.is_empty() || self.tree.settings.changed();
        let has_steps = self.scope == Scope::All && !self.steps.is_empty();
        if is_new || has_steps || recover::is_needed(&self.tree.export)? {
            self.begin_writing()?;
            self.restructure(&BTreeSet::new())?;
        }
        self.refuse_forged()?;
        if self.scope == Scope::All {
            let unread = std::mem::take(&mut self.unread);
            self.tree.problems.extend(unread);
        }
        self.tell_problems()?;
        self.release_held()
    }

    fn release_held(&mut self) -> Result<(), Failure> {
        for mut record in std::mem::take(&mut self.held) {
            self.name_collection(&mut record);
            self.io.print(&record)?;
        }
        Ok(())
    }

    /// Takes the lock at the first write. Facts that came since the survey, or that recovering changed, are surveyed again: true then. So is
    /// everything after a wait for another run.
    pub(crate) fn begin_writing(&mut self) -> Result<bool, Failure> {
        if self.tree.is_writing() {
            return Ok(false);
        }
        let export = &self.tree.export;
        let Claimed {
            lock,
            seen: has_left,
            has_waited,
        } = self
            .claim
            .take(export, &[], || recover::is_needed(export))?;
        private_dir(&export.state_path("partial"))
            .map_err(|error| Failure::disk("cannot make `.ente/partial`", &error))?;
        let is_stale = has_waited || journal_bytes(export) != self.read_bytes;
        let journal = Journal::open(&export.state_dir(), "decrypt")?;
        self.tree.begin_writing(journal, lock);
        if is_stale {
            self.survey()?;
        }
        if has_left {
            self.tree.recover()?;
            self.survey()?;
        }
        Ok(is_stale || has_left)
    }

    /// As [`begin_writing`](Self::begin_writing), with what a newer survey finds to be done first.
    pub(crate) fn begin_writing_content(&mut self) -> Result<(), Failure> {
        if self.tree.is_writing() {
            return Ok(());
        }
        self.begin_writing()?;
        self.restructure(&BTreeSet::new())
    }

    /// Takes out the steps that are to be done now.
    fn take_steps(&mut self, chosen: &BTreeSet<PlacementKey>) -> Structure {
        match self.scope {
            Scope::All => std::mem::take(&mut self.steps),
            _ => self.steps.take(&self.tree.state, &self.desired, chosen),
        }
    }

    /// Does the planned steps: all, or with scope `only` those about `chosen`.
    fn restructure(&mut self, chosen: &BTreeSet<PlacementKey>) -> Result<(), Failure> {
        let mut plan = self.take_steps(chosen);
        let is_new = !self.desired.is_empty() || self.tree.settings.changed();
        if plan.is_empty() && !is_new {
            return Ok(());
        }
        if self.begin_writing()? {
            // Planned on what was the case before the lock.
            plan = self.take_steps(chosen);
        }
        self.tree.restructure(&self.desired, &plan)?;
        self.desired.settle(&self.tree.state, &self.tree.evaded);
        self.tell_problems()?;
        let has_left = |key: &PlacementKey| self.tree.placement(*key).parts.is_empty();
        if self.tree.plans_anew || plan.deferred.iter().any(has_left) {
            self.survey()?;
            return self.restructure(chosen);
        }
        Ok(())
    }

    /// Takes in what the stage before stored since. Its next listing waits for the next round.
    fn catch_up(&mut self) -> Result<(), Failure> {
        let State { pull, focus, .. } = &mut self.tree.state;
        let is_behind = &mut self.is_behind;
        self.follow.catch_up(|fact| match fact {
            // Of one that is about anything else, the next run is told.
            PullFact::Object(ref object)
                if focus.as_ref().is_some_and(|focus| !focus.has(object.id)) =>
            {
                *is_behind = true;
            }
            PullFact::Object(_) => pull.apply(fact),
            PullFact::Rest(_) | PullFact::Failed(_) => {}
            _ => *is_behind = true,
        })?;
        Ok(())
    }

    /// Takes in a record, and those that came with it.
    fn take_in(
        &mut self,
        record: Record,
        events: &Receiver<Event>,
        ended: &mut Option<Upstream>,
    ) -> Result<(), Failure> {
        let mut records = vec![record];
        let ends_round = |record: &Record| record.kind() == "round";
        while records.len() < BATCH_FILES && ended.is_none() && !records.iter().any(ends_round) {
            match events.try_recv() {
                Ok(Event::Record(record)) => records.push(record),
                Ok(Event::Over(over)) => *ended = Some(over),
                Err(_) => break,
            }
        }
        let mut files = Vec::new();
        for mut record in records {
            match record.kind() {
                "file" => files.push(record),
                "collection" if self.surveyed => {
                    self.name_collection(&mut record);
                    self.io.print(&record)?;
                }
                "collection" => self.held.push(record),
                "round" => self.round = Some(record),
                _ => self.io.print(&record)?,
            }
        }
        self.take_files(files)
    }

    fn take_files(&mut self, records: Vec<Record>) -> Result<(), Failure> {
        if records.is_empty() {
            return Ok(());
        }
        self.begin_work()?;
        let mut ids = records.iter().filter_map(|record| record.int("id"));
        if !ids.all(|id| self.tree.state.knows(id)) {
            self.wants_all = true;
            self.strange = records;
            return Ok(());
        }
        self.catch_up()?;
        let keys_of = |record: &Record| -> Vec<PlacementKey> {
            let Some(id) = record.int("id") else {
                return Vec::new();
            };
            let collections = record.placement_collections().into_iter();
            collections.map(|collection| (collection, id)).collect()
        };
        if self.scope == Scope::Only {
            let chosen: BTreeSet<_> = records.iter().flat_map(keys_of).collect();
            self.restructure(&chosen)?;
            let (told, unread) =
                std::mem::take(&mut self.unread)
                    .into_iter()
                    .partition(|problem| {
                        let key = problem.collection.zip(problem.file);
                        key.is_none_or(|key| chosen.contains(&key))
                    });
            self.unread = unread;
            self.tree.problems.extend::<Vec<_>>(told);
            self.tell_problems()?;
        }
        for record in records {
            let mut groups: BTreeMap<ContentKey, Vec<PlacementKey>> = BTreeMap::new();
            for key in keys_of(&record) {
                if let Some(version) = lacks(&self.tree.state, &self.desired, key) {
                    groups.entry((key.1, version)).or_default().push(key);
                }
            }
            for ((id, version), keys) in groups {
                self.queue(Group::lacking(id, version, keys));
            }
            match record.int("id").and_then(|id| self.waiting.get_mut(&id)) {
                Some(waiting) => waiting.records.push(record),
                None => self.print_file(record)?,
            }
        }
        Ok(())
    }

    fn print_file(&mut self, mut record: Record) -> Result<(), Failure> {
        annotate(&mut self.tree, &mut record, &mut self.counts);
        self.io.print(&record)
    }

    /// One group of a file is done: when it was the last, what waited for the file is printed.
    pub(crate) fn group_done(&mut self, id: i64) -> Result<(), Failure> {
        let Some(waiting) = self.waiting.get_mut(&id) else {
            return Ok(());
        };
        waiting.groups -= 1;
        if waiting.groups > 0 {
            return Ok(());
        }
        let waiting = self.waiting.remove(&id).unwrap_or_default();
        let is_named = !waiting.records.is_empty();
        for record in waiting.records {
            self.print_file(record)?;
        }
        if is_named {
            Ok(())
        } else {
            self.print_pending(id)
        }
    }

    /// Prints a record of our own about a file that something was done for.
    pub(crate) fn print_pending(&mut self, id: i64) -> Result<(), Failure> {
        let collections = self.siblings.of(id);
        let mut keys = collections.iter().map(|&collection| (collection, id));
        if !keys.any(|key| self.tree.did.contains_key(&key)) {
            return Ok(());
        }
        let record = pending(
            &mut self.tree,
            &mut self.library,
            &self.siblings,
            id,
            &mut self.counts,
        );
        self.io.print(&record)
    }

    fn name_collection(&mut self, record: &mut Record) {
        let fact = record
            .int("id")
            .and_then(|id| self.tree.state.pull.collections.get(&id));
        let opened = fact.and_then(|fact| self.library.collection(fact).ok());
        let name = opened
            .as_ref()
            .map(|opened| opened.collection.folder_title());
        annotate_collection(&self.tree.state, name, record);
    }

    /// Prints the problems that were met; shows them where nobody reads records.
    pub(crate) fn tell_problems(&mut self) -> Result<(), Failure> {
        for problem in std::mem::take(&mut self.tree.problems) {
            self.counts.problems += 1;
            if self.io.records.prints() {
                self.io.print(&problem.to_record())?;
            } else if self.counts.problems <= SHOWN_PROBLEMS {
                self.io.ui.warning(&problem.to_failure());
            }
        }
        Ok(())
    }
}

fn journal_bytes(export: &Export) -> u64 {
    let path = export.state_path("decrypt.jsonl");
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}
