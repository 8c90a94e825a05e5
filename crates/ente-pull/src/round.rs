//! One round: list, plan, say what changed, fetch, tidy up.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use ente_common::api::{Client, Retry};
use ente_common::cli::Io;
use ente_common::exit::{Exit, Failure};
use ente_common::layout;
use ente_common::manifest::facts::{self, PullFact, Setting};
use ente_common::manifest::{Account, ContentKey, Export, Journal, Lock, State};
use ente_common::record::{Begin, Expect, Scope, path_to_value};
use ente_common::ui::{human_bytes, human_count};
use tempfile::TempDir;

use crate::changes::{Change, Changes};
use crate::download::Downloader;
use crate::fetch::{self, Event, Until};
use crate::jobs::Throttle;
use crate::listing::{self, Listing, ListingError};
use crate::plan::{self, Fetch, Plan, Request, Step};
use crate::problems::{self, STAGE};
use crate::records::{Counts, Entries, Printer};
use crate::select::{Ids, Selection};
use crate::store::{Outcome, Store};
use crate::{Args, Objects};

/// After so long everything is listed from the start again.
const FULL_LISTING_EVERY_US: i64 = 7 * 24 * 3600 * 1_000_000;

/// What a round is to do.
#[derive(Debug)]
pub(crate) struct Task<'a> {
    pub(crate) args: &'a Args,
    pub(crate) account: &'a Account,
    pub(crate) client: &'a Client,
    /// For objects: a client that does not repeat by itself.
    pub(crate) downloads: &'a Client,
    pub(crate) dir: &'a Path,
    /// Run ID.
    pub(crate) run: &'a str,
    /// What `--only -` named.
    pub(crate) ids: Option<&'a Ids>,
    pub(crate) until: Until,
    /// `begin` was printed by an earlier round.
    pub(crate) has_begun: bool,
}

impl Task<'_> {
    fn scope(&self) -> Scope {
        if self.args.only_lists() {
            Scope::Listing
        } else if self.ids.is_some() || !self.args.selection.choose_nothing() {
            Scope::Only
        } else {
            Scope::All
        }
    }

    fn failure(&self, error: ListingError) -> Failure {
        match error {
            ListingError::Api(error) => problems::failure(&error, self.account),
            ListingError::Journal(error) => error.into(),
            ListingError::Endless => Failure::new(Exit::Failed, error.to_string()),
        }
    }
}

/// Runs one round; tells what it did.
pub(crate) async fn run(task: &Task<'_>, io: &mut Io) -> Result<Counts, Failure> {
    let now = (io.clock)();
    let mut place = Place::open(task, now)?;
    let served = task.client.collections().await;
    let served = served.map_err(|error| problems::failure(&error, task.account))?;
    let full = task.args.full || place.needs_full_listing(now);
    place.settle(task, full, now).await?;
    let (mut listing, mut journal) = place.list(task, &served, full).await?;
    drop(served);
    let (changes, is_held_back) = place.believe(task, &mut listing);
    // What was held back must be found again by the next run.
    let is_full = full && is_held_back.is_none();
    let collections = place.close_listing(task, &listing, is_full, now, &mut journal)?;

    let mut round = Round {
        task,
        printer: Printer {
            writer: &mut io.records,
            entries: place.entries(&listing),
            counts: Counts::default(),
        },
        changes,
        place,
    };
    if let Some(problem) = is_held_back {
        listing.problems.push(problem);
    }
    let plan = round.plan()?;
    round.begin(&plan)?;
    round.collections(&listing, &collections)?;
    for problem in &listing.problems {
        round.printer.problem(problem)?;
    }
    let fetches = round.files(&plan)?;
    if task.scope() != Scope::Listing {
        let progress = io.ui.progress(
            "Fetching",
            fetches.len() as u64,
            fetches.iter().filter_map(|fetch| fetch.size).sum(),
        );
        let done = round.fetch(&plan, fetches, &progress).await;
        progress.finish();
        let left = done?;
        round.finish(left, now)?;
    }
    let counts = round.printer.counts;
    say(&io.ui, task, &plan, &counts);
    Ok(counts)
}

/// The export as a run finds it and leaves it.
struct Place {
    export: Option<Export>,
    state: State,
    store: Option<Store>,
    lock: Option<Lock>,
    /// Holds what is served while nothing may be written.
    scratch: Option<TempDir>,
}

impl Place {
    /// Opens the export, if there is one, for writing if the run writes.
    fn open(task: &Task<'_>, now: i64) -> Result<Self, Failure> {
        let is_there = task
            .dir
            .join(layout::STATE_DIR)
            .join("export.json")
            .exists();
        let mut place = Self {
            export: is_there.then(|| Export::open(task.dir)).transpose()?,
            state: State::default(),
            store: None,
            lock: None,
            scratch: None,
        };
        if let Some(export) = &place.export {
            export.check_account(task.account)?;
        }
        if task.scope() == Scope::Listing {
            let scratch = tempfile::tempdir();
            let scratch =
                scratch.map_err(|error| Failure::disk("cannot make a scratch folder", &error))?;
            place.scratch = Some(scratch);
            if let Some(export) = &place.export {
                place.state = State::load(&export.state_dir())?;
            }
        } else if place.export.is_some() {
            place.enter(task, now)?;
        }
        Ok(place)
    }

    /// Takes the lock, loads what is known, opens the manifest for writing.
    fn enter(&mut self, task: &Task<'_>, now: i64) -> Result<(), Failure> {
        let Some(export) = &self.export else {
            return Ok(());
        };
        self.lock = Some(export.lock(STAGE, task.run, now, task.args.break_lock)?);
        // Under the lock: a run that ended a moment ago must not be done over.
        self.state = State::load(&export.state_dir())?;
        self.store = Some(Store::open(export, &mut self.state, task.run)?);
        Ok(())
    }

    fn needs_full_listing(&self, now: i64) -> bool {
        let last = self.state.pull.full_listing_at;
        last.is_none_or(|last| now - last >= FULL_LISTING_EVERY_US || now < last)
    }

    /// Makes the export where there is none, brings the key attributes up to date where everything is listed, and stores the settings.
    async fn settle(&mut self, task: &Task<'_>, full: bool, now: i64) -> Result<(), Failure> {
        if task.scope() == Scope::Listing {
            return Ok(());
        }
        if full || self.export.is_none() {
            let session = task.client.session().await;
            let session = session.map_err(|error| problems::failure(&error, task.account))?;
            let attributes = session.key_attributes;
            match &mut self.export {
                Some(export) => export.update(task.account.clone(), attributes)?,
                None => {
                    let account = task.account.clone();
                    self.export = Some(Export::create(task.dir, account, attributes)?);
                    self.enter(task, now)?;
                }
            }
        }
        let stored = self.state.pull.settings.get("objects");
        let chosen = match task.args.objects {
            Some(chosen) => chosen.as_str(),
            None if stored.is_some() => return Ok(()),
            None => Objects::Spool.as_str(),
        };
        if stored.is_none_or(|stored| stored != chosen)
            && let Some(store) = &mut self.store
        {
            let setting = Setting {
                name: "objects".to_owned(),
                value: chosen.to_owned(),
            };
            store.note(&mut self.state, PullFact::Setting(setting));
        }
        Ok(())
    }

    fn keeps_objects(&self, args: &Args) -> bool {
        let stored = self.state.pull.settings.get("objects");
        match args.objects {
            Some(chosen) => chosen == Objects::Keep,
            None => stored.is_some_and(|stored| stored == Objects::Keep.as_str()),
        }
    }

    /// Where entries as served are written: the export, or a scratch folder.
    fn ciphertext_dir(&self) -> PathBuf {
        match (&self.scratch, &self.export) {
            (Some(scratch), _) => scratch.path().to_owned(),
            (None, Some(export)) => export.state_dir(),
            (None, None) => PathBuf::new(),
        }
    }

    async fn list(
        &self,
        task: &Task<'_>,
        served: &[Box<serde_json::value::RawValue>],
        full: bool,
    ) -> Result<(Listing, Journal), Failure> {
        let mut journal = Journal::open(&self.ciphertext_dir(), "ciphertext")?;
        let before = &self.state.pull;
        let listing = listing::list(task.client, served, before, full, &mut journal).await;
        Ok((listing.map_err(|error| task.failure(error))?, journal))
    }

    /// What the listing changes; removals that cannot be believed are left out of it.
    fn believe(
        &self,
        task: &Task<'_>,
        listing: &mut Listing,
    ) -> (Changes, Option<ente_common::record::Problem>) {
        let changes = Changes::of(&self.state.pull, listing);
        if !changes.are_suspect(listing.is_empty, task.args.max_remove) {
            return (changes, None);
        }
        let dir = task.dir.display().to_string();
        let problem = problems::held_back(changes.gone, changes.known, &dir);
        listing.hold_back_removals(&self.state.pull);
        (Changes::of(&self.state.pull, listing), Some(problem))
    }

    /// Lets the listing count, on disk before anything rests on it. Returns the collections that were known before.
    fn close_listing(
        &mut self,
        task: &Task<'_>,
        listing: &Listing,
        is_full: bool,
        now: i64,
        journal: &mut Journal,
    ) -> Result<HashSet<i64>, Failure> {
        let known = self.state.pull.collections.keys().copied().collect();
        if listing.changes_nothing() && !is_full {
            return Ok(known);
        }
        let close = PullFact::Listing(facts::Listing {
            run: task.run.to_owned(),
            when: now,
            full: is_full,
            void: false,
        });
        let facts = listing.facts().chain([close]);
        match &mut self.store {
            None => facts.for_each(|fact| self.state.pull.apply(fact)),
            Some(store) => {
                // The index must not outlive what it points to.
                journal.sync()?;
                facts.for_each(|fact| store.note(&mut self.state, fact));
                store.sync()?;
            }
        }
        Ok(known)
    }

    fn entries(&self, listing: &Listing) -> Entries {
        let state_dir = self.export.as_ref().map(Export::state_dir);
        let scratch = self.scratch.as_ref().map(TempDir::path);
        let mut entries = Entries::new(state_dir.as_deref(), scratch);
        entries.found(listing);
        entries
    }

    /// Objects that the manifest counts as stored and that are not there. Kept mirrors are not walked: `ente-verify --objects` does that.
    fn missing_objects(&self, keep: bool) -> HashSet<ContentKey> {
        let Some(export) = &self.export else {
            return HashSet::new();
        };
        let keys = self.state.pull.objects.keys().copied();
        keys.filter(|key| self.state.object(*key).is_some())
            .filter(|key| !keep || self.state.decrypt.verdicts.contains_key(key))
            .filter(|key| !export.state_path(&layout::object(key.0, key.1)).exists())
            .collect()
    }
}

/// A round after its listing.
struct Round<'a> {
    task: &'a Task<'a>,
    place: Place,
    changes: Changes,
    printer: Printer<'a>,
}

impl Round<'_> {
    fn plan(&mut self) -> Result<Plan, Failure> {
        let (args, state) = (self.task.args, &self.place.state);
        let keep = self.place.keeps_objects(args);
        let missing = self.place.missing_objects(keep);
        let is_narrow = self.task.ids.is_some() || !args.selection.choose_nothing();
        let user_id = self.task.account.user_id;
        let selection = Selection::new(self.task.ids, &args.selection, state, user_id)?;
        let request = Request {
            selection: is_narrow.then_some(&selection),
            refetch: &BTreeSet::from_iter(args.refetch.iter().copied()),
            keep,
            missing: &missing,
        };
        Ok(Plan::new(state, &request))
    }

    fn begin(&mut self, plan: &Plan) -> Result<(), Failure> {
        if self.task.has_begun {
            return Ok(());
        }
        let dir = std::path::absolute(self.task.dir)
            .map_err(|error| Failure::disk("cannot tell the current folder", &error))?;
        let begin = Begin {
            tool: STAGE.to_owned(),
            run: self.task.run.to_owned(),
            scope: self.task.scope(),
            export: path_to_value(&dir),
            account: self.task.account.clone(),
            expect: expect(plan),
        };
        self.printer.print(&begin.to_record())
    }

    fn collections(&mut self, listing: &Listing, known: &HashSet<i64>) -> Result<(), Failure> {
        if self.task.args.list {
            let listed: Vec<_> = self
                .place
                .state
                .pull
                .collections
                .values()
                .cloned()
                .collect();
            return listed
                .iter()
                .try_for_each(|collection| self.printer.collection(collection, "listed"));
        }
        for collection in &listing.collections {
            let change = match collection {
                one if one.gone => "gone",
                one if known.contains(&one.id) => "changed",
                _ => "new",
            };
            self.printer.collection(collection, change)?;
        }
        Ok(())
    }

    /// Prints the files that need no download, brings back what lies in the trash, and tells what is to be fetched.
    fn files(&mut self, plan: &Plan) -> Result<Vec<Fetch>, Failure> {
        let mut fetches = Vec::new();
        let shown: Vec<i64> = self.shown(plan);
        for id in shown {
            match plan.steps.get(&id) {
                Some(Step::Fetch(fetch)) if self.task.scope() != Scope::Listing => {
                    fetches.push(fetch.clone());
                }
                Some(Step::Restore(object)) => match self.restore(object)? {
                    None => self.file(plan, id, Some("stored"))?,
                    Some(fetch) => fetches.push(fetch),
                },
                Some(Step::Hopeless { cause }) => {
                    self.file(plan, id, Some("failed"))?;
                    self.hopeless(plan, id, cause)?;
                }
                Some(Step::Nameless) => {
                    self.file(plan, id, Some("failed"))?;
                    self.printer.counts.failed += 1;
                    self.printer.problem(&problems::bad_entry(None, Some(id)))?;
                }
                step => {
                    let object = match step {
                        Some(Step::AtHand) => Some("stored"),
                        Some(Step::Exported) => Some("exported"),
                        Some(Step::Judged) => Some("failed"),
                        Some(_) => None,
                        None => Some("none"),
                    };
                    self.file(plan, id, object)?;
                }
            }
        }
        if let Some(store) = &mut self.place.store {
            store.flush()?;
        }
        Ok(fetches)
    }

    /// Brings an object back from the trash; what to fetch where it is no longer there.
    fn restore(&mut self, object: &facts::Object) -> Result<Option<Fetch>, Failure> {
        let Some(store) = &mut self.place.store else {
            return Ok(None);
        };
        if store.restore(&mut self.place.state, object)? {
            return Ok(None);
        }
        Ok(Some(Fetch {
            id: object.id,
            version: object.version,
            size: Some(object.size),
            number: object.fetch + 1,
            adopt: true,
        }))
    }

    /// The files that this round has a record for, by ID.
    fn shown(&self, plan: &Plan) -> Vec<i64> {
        let narrow = self.task.ids.is_some() || !self.task.args.selection.choose_nothing();
        if narrow || self.task.args.list {
            return plan.targets.keys().copied().collect();
        }
        let mut shown: BTreeSet<i64> = self.changes.files.keys().copied().collect();
        let steps = plan.steps.iter();
        shown.extend(steps.filter_map(|(id, step)| {
            let quiet = matches!(step, Step::AtHand | Step::Exported | Step::Judged);
            (!quiet).then_some(*id)
        }));
        shown.into_iter().collect()
    }

    fn hopeless(&mut self, plan: &Plan, id: i64, cause: &str) -> Result<(), Failure> {
        let version = plan.targets.get(&id).and_then(|target| target.version);
        let cause = format!("the server gave the same bytes twice: {cause}");
        let version = version.unwrap_or_default();
        let problem = problems::not_fetched(id, version, problems::DAMAGED, &cause);
        self.printer.counts.failed += 1;
        self.printer.problem(&problem)
    }

    /// Prints the record of a file.
    fn file(&mut self, plan: &Plan, id: i64, object: Option<&str>) -> Result<(), Failure> {
        let change = self.changes.files.get(&id);
        let mut target = plan.targets.get(&id).cloned().unwrap_or_default();
        if target.collections.is_empty()
            && let Some(change) = change
        {
            target.owner = change.owner;
        }
        let narrow = self.task.ids.is_some() || !self.task.args.selection.choose_nothing();
        let left = match change {
            Some(change) if !narrow => change.left.clone(),
            _ => target.left.clone(),
        };
        let words = words(change, self.task.args.list, target.collections.is_empty());
        if target.collections.is_empty() {
            self.printer.counts.removed += 1;
        }
        let state = &self.place.state;
        self.printer.file(state, id, &target, &words, object, &left)
    }

    /// Fetches, stores in batches, prints what is stored. Returns how many were left undone because the run is to stop.
    async fn fetch(
        &mut self,
        plan: &Plan,
        fetches: Vec<Fetch>,
        progress: &ente_common::ui::Progress,
    ) -> Result<usize, Failure> {
        let (task, args) = (self.task, self.task.args);
        let Some(export) = &self.place.export else {
            return Ok(0);
        };
        let downloader = Arc::new(Downloader {
            client: task.downloads.clone(),
            retry: Retry {
                retries: args.connection.retries,
                ..Retry::default()
            },
            throttle: Throttle::new(args.bwlimit),
            progress: progress.clone(),
            state_dir: export.state_dir(),
            moved: AtomicU64::new(0),
            overloaded: AtomicBool::new(false),
        });
        let take = |event| self.take(plan, event, progress);
        fetch::run(
            fetches,
            downloader,
            args.jobs,
            &task.until,
            task.account,
            take,
        )
        .await
    }

    fn take(
        &mut self,
        plan: &Plan,
        event: Event,
        progress: &ente_common::ui::Progress,
    ) -> Result<(), Failure> {
        let Some(store) = &mut self.place.store else {
            return Ok(());
        };
        let state = &mut self.place.state;
        let mut is_last = false;
        match event {
            Event::Stored(whole) => {
                progress.file();
                store.add(whole);
            }
            Event::Failed {
                fetch,
                class,
                cause,
            } => {
                progress.failed();
                store.fail(state, &fetch, class, cause);
            }
            Event::Tick => {}
            Event::Last => is_last = true,
        }
        if !is_last && !store.is_due() {
            return Ok(());
        }
        for outcome in store.commit(state)? {
            match outcome {
                Outcome::Stored { id, size } => {
                    self.printer.counts.fetched += 1;
                    self.printer.counts.bytes += size;
                    self.file(plan, id, Some("stored"))?;
                }
                Outcome::Failed(failed) => {
                    self.printer.counts.failed += 1;
                    self.file(plan, failed.id, Some("failed"))?;
                    let (id, version) = (failed.id, failed.version);
                    let problem = problems::not_fetched(id, version, &failed.class, &failed.cause);
                    self.printer.problem(&problem)?;
                }
            }
        }
        Ok(())
    }

    /// After the downloads: nothing that nobody wants stays behind, and everything is on the disk.
    fn finish(&mut self, left: usize, now: i64) -> Result<(), Failure> {
        let is_complete = left == 0 && self.task.scope() == Scope::All;
        if left > 0 && !self.task.until.interrupt.is_set() {
            self.printer.problem(&problems::out_of_time(left))?;
        }
        let keep = self.place.keeps_objects(self.task.args);
        let Place { store, state, .. } = &mut self.place;
        let Some(store) = store else { return Ok(()) };
        if is_complete {
            let on_remove = state.decrypt.settings.get("on_remove");
            let on_remove = on_remove.map_or("trash", String::as_str).to_owned();
            let date = date_of(now);
            for object in plan::unwanted(state) {
                match &*on_remove {
                    "keep" if keep => {}
                    "trash" if keep => store.retire(state, &object, Some(&date))?,
                    _ => store.retire(state, &object, None)?,
                }
            }
            store.forget_unwanted(state)?;
        }
        store.sync()
    }
}

/// The words of the member `change`.
fn words(change: Option<&Change>, is_listing: bool, is_nowhere: bool) -> Vec<&'static str> {
    match change {
        _ if is_listing => vec!["listed"],
        Some(change) => change.kinds.iter().map(|kind| kind.as_str()).collect(),
        None if is_nowhere => vec!["removed"],
        None => vec!["pending"],
    }
}

fn expect(plan: &Plan) -> Expect {
    Expect {
        files: plan.fetches().count() as u64,
        bytes: plan.fetches().filter_map(|fetch| fetch.size).sum(),
    }
}

fn date_of(now_us: i64) -> String {
    jiff::Timestamp::from_microsecond(now_us)
        .unwrap_or_default()
        .strftime("%Y-%m-%d")
        .to_string()
}

/// One paragraph for whoever watches; a warning for everybody where something did not come.
fn say(ui: &ente_common::ui::Ui, task: &Task<'_>, plan: &Plan, counts: &Counts) {
    let expected = expect(plan);
    if task.args.list {
        ui.note(&format!("{} files listed", human_count(counts.files)));
    } else if task.args.dry_run {
        ui.note(&format!(
            "would fetch {} files ({}); {} files changed; nothing was written",
            human_count(expected.files),
            human_bytes(expected.bytes),
            human_count(counts.files),
        ));
    } else {
        let known = plan.targets.len() as u64;
        ui.note(&format!(
            "{} files fetched ({}), {} changed, {} removed; the account holds {}",
            human_count(counts.fetched),
            human_bytes(counts.bytes),
            human_count(counts.files.saturating_sub(counts.fetched + counts.removed)),
            human_count(counts.removed),
            human_count(known),
        ));
    }
    if counts.problems > 0 {
        let what = format!(
            "{} problems; each is a `problem` record, {} are about files that were not fetched",
            human_count(counts.problems),
            human_count(counts.failed)
        );
        ui.warning(
            &Failure::new(Exit::Problems, what)
                .hint("run the same command again; it retries only those"),
        );
    }
}
