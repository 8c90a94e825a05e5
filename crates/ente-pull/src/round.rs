//! One round: list, plan, say what changed, fetch, tidy up.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use ente_common::api::Retry;
use ente_common::cli::Io;
use ente_common::exit::Failure;
use ente_common::layout;
use ente_common::manifest::facts::PullFact;
use ente_common::manifest::setting::{Objects, OnRemove, word};
use ente_common::manifest::{ContentKey, Rest, Waiting, facts};
use ente_common::record::{Begin, Expect, Scope, path_to_value};
use ente_common::ui::{Progress, Ui};
use tokio::sync::Semaphore;

use crate::changes::{Changes, Kind, Kinds};
use crate::download::{Downloader, MOST_BESIDE};
use crate::fetch::{self, Event};
use crate::jobs::Throttle;
use crate::listing::Listing;
use crate::place::Place;
use crate::plan::{self, Fetch, Plan, Request, Step};
use crate::problems::{self, STAGE};
use crate::records::{Counts, Entries, Printer};
use crate::rest;
use crate::select::Selection;
use crate::store::Outcome;
use crate::summary;
use crate::task::Task;

/// Runs one round; `counts` is what it did, also where it fails.
///
/// # Errors
/// With [`Exit::Interrupted`] when it was stopped before anything was printed; else with what ended it.
pub(crate) async fn run(task: &Task<'_>, io: &mut Io, counts: &mut Counts) -> Result<(), Failure> {
    if task.interruptible(rest::round(task, io)).await?? {
        return Ok(());
    }
    let now = (io.clock)();
    let mut place = Place::open(task, now)?;
    if place.export.is_none() && task.scope() != Scope::Listing && holds_files(task.dir) {
        io.ui.warning(&problems::strange_files(task.dir));
    }
    let listed = task.interruptible(list(task, &mut place, now)).await??;
    let mut round = Round {
        task,
        printer: Printer {
            writer: &mut io.records,
            entries: listed.entries,
            counts: Counts::default(),
            notices: Vec::new(),
            example: None,
        },
        changes: listed.changes,
        may_rest: listed.is_certain,
        is_first: !task.has_begun.get(),
        place,
    };
    let done = round.act(&listed.listing, &listed.known, &io.ui, now).await;
    *counts = round.printer.counts;
    done
}

/// Something is in the folder.
fn holds_files(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some())
}

/// A listing that counts.
struct Listed {
    /// Without its files.
    listing: Listing,
    entries: Entries,
    changes: Changes,
    /// The collections that were known before.
    known: HashSet<i64>,
    /// Nothing of it is in doubt or was left out.
    is_certain: bool,
}

/// Lists the account and lets the result count.
async fn list(task: &Task<'_>, place: &mut Place, now: i64) -> Result<Listed, Failure> {
    let served = task.client.collections().await;
    let served = served.map_err(|error| problems::failure(&error, task.account))?;
    let full = task.args.full || place.needs_full_listing(now);
    place.prepare(&served, full)?;
    let problem = place.settle(task, full, now).await?;
    let (mut listing, mut ciphertext) = place.list(task, &served, full).await?;
    listing.problems.extend(problem);
    let collections = ("collections".to_owned(), rest::digest_of(&served));
    place.rest.given.extend([collections]);
    drop(served);
    place.complete(&listing)?;
    let known = place.state.pull.collections.keys().copied().collect();
    let (changes, is_held_back) = place.believe(task, &mut listing).await?;
    let entries = place.entries(&listing);
    // What was held back must be found again by the next run.
    let is_full = full && !is_held_back;
    place.close_listing(task, &mut listing, is_full, now, &mut ciphertext)?;
    Ok(Listed {
        is_certain: listing.problems.is_empty() && !listing.is_partial && !is_held_back,
        listing,
        entries,
        changes,
        known,
    })
}

/// A round after its listing.
struct Round<'a> {
    task: &'a Task<'a>,
    place: Place,
    changes: Changes,
    /// Nothing that was listed keeps the next round from resting.
    may_rest: bool,
    /// Nothing was printed before.
    is_first: bool,
    printer: Printer<'a>,
}

impl Round<'_> {
    /// Plans, says what changed, fetches, tidies up.
    async fn act(
        &mut self,
        listing: &Listing,
        known: &HashSet<i64>,
        ui: &Ui,
        now: i64,
    ) -> Result<(), Failure> {
        let plan = self.plan()?;
        self.begin(&plan)?;
        self.collections(listing, known)?;
        self.problems(listing, &plan)?;
        let fetches = self.files(&plan)?;
        if self.task.scope() != Scope::Listing {
            let bytes = fetches.iter().filter_map(|fetch| fetch.size).sum();
            let progress = ui.progress("fetching", fetches.len() as u64, bytes);
            let needed = fetches.iter().map(Fetch::key).collect();
            let left = self.fetch(&plan, fetches, &progress).await;
            progress.finish();
            self.finish(&plan, left?, &needed, now)?;
        }
        let files = plan.targets.len() + self.place.others;
        summary::say(ui, self.task, &plan, files as u64, &self.printer);
        Ok(())
    }

    fn plan(&mut self) -> Result<Plan, Failure> {
        let (args, state) = (self.task.args, &self.place.state);
        let keep = self.place.keeps_objects(args);
        let missing = self.place.missing_objects(keep);
        let adopted = self.place.adopted();
        // What lies elsewhere may be gone by the time that it is to be copied.
        self.may_rest &= adopted.is_empty();
        let user_id = self.task.account.user_id;
        let selection = Selection::new(self.task.ids, &args.selection, state, user_id)?;
        let request = Request {
            selection: self.task.is_narrow().then_some(&selection),
            refetch: &BTreeSet::from_iter(args.refetch.iter().copied()),
            keep,
            missing: &missing,
            adopted: &adopted,
        };
        Ok(Plan::new(state, &request))
    }

    fn begin(&mut self, plan: &Plan) -> Result<(), Failure> {
        if self.task.has_begun.replace(true) {
            return Ok(());
        }
        let begin = begin(self.task, expect(plan))?;
        self.printer.print(&begin.to_record())
    }

    fn collections(&mut self, listing: &Listing, known: &HashSet<i64>) -> Result<(), Failure> {
        if self.task.args.list {
            let mut listed = self.place.state.pull.collections.values();
            return listed.try_for_each(|collection| self.printer.collection(collection, "listed"));
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

    fn problems(&mut self, listing: &Listing, plan: &Plan) -> Result<(), Failure> {
        for problem in &listing.problems {
            self.printer.problem(problem)?;
        }
        let unknown = self.task.args.refetch.iter();
        for id in unknown.filter(|id| !plan.steps.contains_key(id)) {
            self.printer.problem(&problems::not_listed(*id))?;
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

    /// The files that this round has a record for, by ID: those with news, or all that were asked for by name.
    fn shown(&self, plan: &Plan) -> Vec<i64> {
        let is_named = self.task.is_narrow() && self.is_first;
        if is_named || self.task.args.list {
            return plan.targets.keys().copied().collect();
        }
        let changed = self.changes.files.keys().copied();
        let mut shown: BTreeSet<i64> = changed
            .filter(|id| !self.task.is_narrow() || plan.targets.contains_key(id))
            .collect();
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
        self.printer.problem(&problem)
    }

    /// Prints the record of a file.
    fn file(&mut self, plan: &Plan, id: i64, object: Option<&str>) -> Result<(), Failure> {
        let mut target = plan.targets.get(&id).cloned().unwrap_or_default();
        let is_nowhere = target.collections.is_empty();
        let left = self.changes.left.get(&id);
        if let Some(left) = left.filter(|_| is_nowhere) {
            target.owner = left.owner;
        }
        let left = match left {
            Some(left) if !self.task.is_narrow() => left.collections.clone(),
            _ => target.left.clone(),
        };
        let kinds = self.changes.files.get(&id).copied();
        let words = words(kinds, self.task.args.list, is_nowhere);
        if is_nowhere {
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
        progress: &Progress,
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
            beside: Arc::new(Semaphore::new(MOST_BESIDE as usize)),
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

    fn take(&mut self, plan: &Plan, event: Event, progress: &Progress) -> Result<(), Failure> {
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
                Outcome::Stored { id, fetched } => {
                    let counts = &mut self.printer.counts;
                    match fetched {
                        Some(bytes) => {
                            counts.fetched += 1;
                            counts.bytes += bytes;
                        }
                        None => counts.found += 1,
                    }
                    self.file(plan, id, Some("stored"))?;
                }
                Outcome::Failed(failed) => {
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
    fn finish(
        &mut self,
        plan: &Plan,
        left: usize,
        needed: &HashSet<ContentKey>,
        now: i64,
    ) -> Result<(), Failure> {
        self.printer.counts.left = left as u64;
        let is_complete = left == 0 && self.task.scope() == Scope::All;
        if left > 0 && !self.task.until.interrupt.is_set() {
            self.printer.problem(&problems::out_of_time(left))?;
        }
        let keep = self.place.keeps_objects(self.task.args);
        let Place { store, state, .. } = &mut self.place;
        let Some(store) = store else { return Ok(()) };
        if is_complete {
            let unwanted = plan::unwanted(state);
            match state.decrypt.on_remove() {
                OnRemove::Keep if keep => {}
                OnRemove::Trash if keep => {
                    store.retire(state, unwanted, Some(&layout::day(now)))?
                }
                // What is only spooled was never part of the mirror.
                OnRemove::Delete | OnRemove::Keep | OnRemove::Trash => {
                    store.retire(state, unwanted, None)?;
                }
            }
            store.forget_all_but(state, needed)?;
        }
        if is_complete && self.may_rest && self.printer.counts.problems == 0 {
            self.rest(plan)?;
        }
        match &mut self.place.store {
            Some(store) => store.sync(),
            None => Ok(()),
        }
    }

    /// Notes that nothing is left to do, or nothing but for `ente-decrypt`, so that the next round need not find that out.
    fn rest(&mut self, plan: &Plan) -> Result<(), Failure> {
        let keep = self.place.keeps_objects(self.task.args);
        let Place {
            store,
            state,
            export,
            rest,
            others,
            ..
        } = &mut self.place;
        let (Some(store), Some(export)) = (store, export) else {
            return Ok(());
        };
        let Some(full) = state.pull.full_listing_at else {
            return Ok(());
        };
        let mut waiting = Waiting::default();
        if !keep {
            let objects = state.pull.objects.keys();
            let spooled = objects.filter_map(|key| state.object(*key));
            spooled.for_each(|object| waiting.add(object));
        }
        rest.waiting = (!waiting.is_empty()).then(|| waiting.to_string());
        let objects = if keep { Objects::Keep } else { Objects::Spool };
        rest.given.extend([
            ("full".to_owned(), full.to_string()),
            ("objects".to_owned(), word(&objects)),
            (
                "files".to_owned(),
                (plan.targets.len() + *others).to_string(),
            ),
            (
                "ciphertext".to_owned(),
                rest::ciphertext_bytes(export).to_string(),
            ),
        ]);
        store.flush()?;
        if Rest::last::<PullFact>(&export.state_dir()).as_ref() != Some(rest) {
            store.note(state, PullFact::Rest(rest.clone()));
        }
        Ok(())
    }
}

/// The record that all others follow.
pub(crate) fn begin(task: &Task<'_>, expect: Expect) -> Result<Begin, Failure> {
    let dir = std::path::absolute(task.dir)
        .map_err(|error| Failure::disk("cannot tell the current folder", &error))?;
    Ok(Begin {
        tool: STAGE.to_owned(),
        run: task.run.to_owned(),
        scope: task.scope(),
        partial: task.is_part_of_listing(),
        writers: Vec::new(),
        export: path_to_value(&dir),
        account: task.account.clone(),
        expect,
    })
}

/// The words of the member `change`.
fn words(kinds: Option<Kinds>, is_listing: bool, is_nowhere: bool) -> Vec<&'static str> {
    match kinds {
        _ if is_listing => vec!["listed"],
        Some(kinds) => kinds.iter().map(Kind::as_str).collect(),
        None if is_nowhere => vec!["removed"],
        None => vec!["pending"],
    }
}

pub(crate) fn expect(plan: &Plan) -> Expect {
    Expect {
        files: plan.fetches().count() as u64,
        bytes: plan.fetches().filter_map(|fetch| fetch.size).sum(),
    }
}
