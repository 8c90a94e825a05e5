//! The export as a round finds it, opens it and lets a listing count in it.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use ente_common::exit::Failure;
use ente_common::layout;
use ente_common::manifest::facts::{self, PullFact, Setting};
use ente_common::manifest::follow::Follow;
use ente_common::manifest::setting::{Objects, word};
use ente_common::manifest::state::{DecryptState, PullState, VerifyState};
use ente_common::manifest::{
    ContentKey, Export, Focus, Journal, JournalError, Lock, News, Rest, State,
};
use ente_common::record::{Problem, Scope};
use ente_common::wire;
use serde_json::value::RawValue;
use tempfile::TempDir;

use crate::Args;
use crate::album;
use crate::changes::{self, Changes};
use crate::doubt;
use crate::listing::{self, Kept, Listing, Manner};
use crate::problems::{self, STAGE};
use crate::records::Entries;
use crate::rest;
use crate::store::{self, Store};
use crate::task::Task;

/// After so long everything is listed from the start again.
const FULL_LISTING_EVERY_US: i64 = 7 * 24 * 3600 * 1_000_000;

/// A full listing is due, after the last one that there was.
pub(crate) fn is_full_listing_due(last: Option<i64>, now: i64) -> bool {
    last.is_none_or(|last| now - last >= FULL_LISTING_EVERY_US || now < last)
}

/// The export of a round; there may be none yet.
pub(crate) struct Place {
    pub(crate) export: Option<Export>,
    pub(crate) state: State,
    /// There where the round writes.
    pub(crate) store: Option<Store>,
    /// What this round may leave behind, if it finds nothing to do.
    pub(crate) rest: Rest,
    /// Where only a part of the state is loaded.
    part: Option<Part>,
    /// Files that are not in the state, since they can have no part in this round.
    pub(crate) others: usize,
    /// Held until the end of the round.
    lock: Option<Lock>,
    /// Holds what is served while nothing may be written.
    scratch: Option<TempDir>,
}

/// What can be touched since the last round that found nothing to do.
struct Part {
    news: News,
    /// The files in collections that the manifest names.
    rows: Vec<(i64, i64)>,
}

impl Place {
    /// Opens the export, if there is one, for writing if the run writes.
    pub(crate) fn open(task: &Task<'_>, now: i64) -> Result<Self, Failure> {
        let export = match task.finds_export()? {
            true => Some(Export::open(task.dir)?),
            false => None,
        };
        let mut place = Self {
            export,
            state: State::default(),
            store: None,
            rest: Rest::default(),
            part: None,
            others: 0,
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
                // A listing that another run has not closed is not to be closed by this one's.
                place.state.pull.apply(PullFact::Listing(facts::Listing {
                    void: true,
                    ..facts::Listing::default()
                }));
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
        let is_disturbed = rest::is_disturbed(export);
        let lock = export.lock(STAGE, task.run, now, task.args.break_lock)?;
        if lock.follows_power_cut() {
            // They are synced when they are whole: what is there of others may be zeros, and no length tells.
            store::drop_parts(export)?;
        }
        self.lock = Some(lock);
        self.rest = rest::begin(export);
        // Under the lock: a run that ended a moment ago must not be done over.
        let state_dir = export.state_dir();
        let news = (!is_disturbed).then(|| rest::news(task, export, now));
        self.state = match news.flatten() {
            None => State::load(&state_dir)?,
            Some(news) => {
                let (pull, rows) = PullState::survey(&state_dir)?;
                self.part = Some(Part { news, rows });
                State {
                    pull,
                    verify: VerifyState::load(&state_dir)?,
                    focus: Some(Focus::default()),
                    ..State::default()
                }
            }
        };
        self.store = Some(Store::open(export, &mut self.state, task.run)?);
        Ok(())
    }

    pub(crate) fn needs_full_listing(&self, now: i64) -> bool {
        is_full_listing_due(self.state.pull.full_listing_at, now) || self.is_ciphertext_damaged()
    }

    /// Makes the export where there is none, brings the key attributes up to date where everything is listed, and stores the settings. Tells what is
    /// wrong with the key attributes.
    pub(crate) async fn settle(
        &mut self,
        task: &Task<'_>,
        full: bool,
        now: i64,
    ) -> Result<Option<Problem>, Failure> {
        if task.scope() == Scope::Listing {
            return Ok(None);
        }
        let mut problem = None;
        if full || self.export.is_none() {
            let session = task.client.session().await;
            let session = session.map_err(|error| problems::failure(&error, task.account))?;
            match &mut self.export {
                // An answer without them must not cost the export its way in.
                Some(_) if session.key_attributes.is_null() => {}
                Some(export) => {
                    let is_taken = export.update(task.account.clone(), session.key_attributes)?;
                    problem = (!is_taken).then(problems::other_keys);
                }
                None => {
                    let account = task.account.clone();
                    let export = Export::create(task.dir, account, session.key_attributes)?;
                    self.export = Some(export);
                    task.has_export.set(true);
                    self.enter(task, now)?;
                }
            }
        }
        let stored = self.state.pull.settings.get("objects");
        if task.args.objects.is_none() && stored.is_some() {
            return Ok(problem);
        }
        let chosen = word(&task.args.objects.unwrap_or_default());
        if stored != Some(&chosen)
            && let Some(store) = &mut self.store
        {
            let setting = Setting {
                name: "objects".to_owned(),
                value: chosen,
            };
            store.note(&mut self.state, PullFact::Setting(setting));
        }
        Ok(problem)
    }

    pub(crate) fn keeps_objects(&self, args: &Args) -> bool {
        match args.objects {
            Some(chosen) => chosen == Objects::Keep,
            None => self.state.pull.keeps_objects(),
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

    /// `ente-verify` found damaged what was listed, and it was not listed anew since.
    fn is_ciphertext_damaged(&self) -> bool {
        let found = self.state.verify.extras.get(Path::new(layout::CIPHERTEXT));
        found.is_some_and(|finding| Some(finding.when) > self.state.pull.full_listing_at)
    }

    /// Loads what the listing of `served` can touch: everything, where `full`.
    pub(crate) fn prepare(&mut self, served: &[Box<RawValue>], full: bool) -> Result<(), Failure> {
        let Some(part) = &mut self.part else {
            return Ok(());
        };
        let state = &self.state;
        if full || !state.pull.failed.is_empty() || state.verify.adopts_from_tree() {
            return self.load_all();
        }
        let focus = &mut part.news.focus;
        for text in served {
            let collection = serde_json::from_str::<wire::Collection>(text.get());
            if let Ok(collection) = collection
                && album::is_due(self.state.pull.collections.get(&collection.id), &collection)
            {
                focus.album(collection.id);
            }
        }
        focus.take_files(&part.rows);
        self.load_part()
    }

    /// Loads what is known of everything that was listed; of everything at all, where something is gone.
    pub(crate) fn complete(&mut self, listing: &Listing) -> Result<(), Failure> {
        let Some(part) = &mut self.part else {
            return Ok(());
        };
        let is_gone =
            listing.collections.iter().any(|one| one.gone) || listing.files().any(|file| file.gone);
        if is_gone {
            // Whether that can be believed depends on how many are left.
            return self.load_all();
        }
        let focus = &mut part.news.focus;
        let ids = listing.files().map(|file| file.id);
        let added: HashSet<i64> = ids.filter(|id| !focus.has(*id)).collect();
        added.iter().for_each(|id| focus.file(*id));
        match part.rows.iter().any(|(_, file)| added.contains(file)) {
            true => self.load_part(),
            false => Ok(()),
        }
    }

    fn load_all(&mut self) -> Result<(), Failure> {
        self.part = None;
        self.others = 0;
        if let (Some(export), Some(store)) = (&self.export, &mut self.store) {
            store.flush()?;
            self.state = State::load(&export.state_dir())?;
        }
        Ok(())
    }

    fn load_part(&mut self) -> Result<(), Failure> {
        let (Some(export), Some(store), Some(part)) =
            (&self.export, &mut self.store, &mut self.part)
        else {
            return Ok(());
        };
        store.flush()?;
        let state_dir = export.state_dir();
        let focus = &part.news.focus;
        let load_pull = || -> Result<_, JournalError> {
            let mut pull = PullState::default();
            let mut facts = Follow::new::<PullFact>(&state_dir);
            let wants = |row| focus.covers(row);
            facts.read_to(part.news.at.bytes, wants, |fact| pull.apply(fact))?;
            let known: HashSet<i64> = pull.files.keys().map(|key| key.1).collect();
            facts.catch_up_where(wants, |fact| pull.apply(fact))?;
            Ok((pull, known.len()))
        };
        let (decrypt, pull) = std::thread::scope(|scope| {
            let decrypt = scope.spawn(|| DecryptState::load_within(&state_dir, Some(focus)));
            let pull = load_pull();
            (decrypt.join().expect("reading does not panic"), pull)
        });
        let (pull, known) = pull?;
        self.others = rest::files(&part.news.rest).saturating_sub(known);
        self.state = State {
            pull,
            decrypt: decrypt?,
            verify: std::mem::take(&mut self.state.verify),
            focus: Some(focus.clone()),
            ..State::default()
        };
        Ok(())
    }

    pub(crate) async fn list(
        &self,
        task: &Task<'_>,
        served: &[Box<RawValue>],
        full: bool,
    ) -> Result<(Listing, Journal), Failure> {
        let kept = self.export.as_ref().map(Kept::of).unwrap_or_default();
        let manner = Manner {
            full,
            kept: &kept,
            trusting: task
                .args
                .max_remove
                .is_some_and(|allowed| allowed > changes::believed(self.known_files())),
        };
        let mut journal = Journal::open(&self.ciphertext_dir(), "ciphertext")?;
        let before = &self.state.pull;
        let listing = listing::list(task.client, served, before, manner, &mut journal).await;
        Ok((listing.map_err(|error| task.failure(error))?, journal))
    }

    /// How many files there were before the listing.
    fn known_files(&self) -> usize {
        let ids: HashSet<i64> = self.state.pull.files.keys().map(|key| key.1).collect();
        ids.len() + self.others
    }

    /// What the listing changes; removals that cannot be believed are left out of it, which is a problem and told by `true`.
    pub(crate) async fn believe(
        &self,
        task: &Task<'_>,
        listing: &mut Listing,
    ) -> Result<(Changes, bool), Failure> {
        let before = &self.state.pull;
        let changes = Changes::of(before, listing);
        let allowed = task.args.max_remove;
        if changes.are_suspect(listing.is_blank, allowed) {
            let word = changes.word_for(changes.gone);
            let problem = problems::held_back(changes.gone, changes.known, word, task.dir);
            listing.problems.push(problem);
            listing.hold_back_removals(before, None);
            return Ok((Changes::of(before, listing), true));
        }
        let is_on_word = allowed.is_some_and(|allowed| changes.is_word(allowed));
        if changes.gone == 0 || is_on_word {
            return Ok((changes, false));
        }
        if !listing.is_partial {
            // A file that left one album meanwhile may have come to another that was looked at before.
            let moved_on = doubt::moved_on(task.client, self.rest.given.get("collections")).await;
            listing.is_partial = moved_on.map_err(|error| task.failure(error))?;
        }
        if !listing.is_partial {
            return Ok((changes, false));
        }
        let mut gone = changes.gone_files();
        let user = task.account.user_id;
        let certain = doubt::certainly_gone(task.client, user, &gone).await;
        let certain = certain.map_err(|error| task.failure(error))?;
        gone.retain(|(id, _)| !certain.contains(id));
        if gone.is_empty() {
            return Ok((changes, false));
        }
        let problem = problems::in_doubt(gone.len(), changes.word_for(gone.len()), task.dir);
        listing.problems.push(problem);
        let held = gone.into_iter().map(|(id, _)| id).collect();
        listing.hold_back_removals(before, Some(&held));
        Ok((Changes::of(before, listing), true))
    }

    /// Lets the listing count, on disk before anything rests on it; its files are in the state then, and no longer in it.
    pub(crate) fn close_listing(
        &mut self,
        task: &Task<'_>,
        listing: &mut Listing,
        is_full: bool,
        now: i64,
        ciphertext: &mut Journal,
    ) -> Result<(), Failure> {
        if listing.changes_nothing() && !is_full {
            return Ok(());
        }
        let close = facts::Listing {
            run: task.run.to_owned(),
            when: now,
            full: is_full,
            void: false,
        };
        if let Some(store) = &mut self.store {
            // The index must not outlive what it points to.
            ciphertext.sync()?;
            store.append_all(listing.facts())?;
            store.append_all([PullFact::Listing(close.clone())])?;
            store.sync()?;
        }
        self.state.pull.take_listing(listing.take_facts(), close);
        Ok(())
    }

    pub(crate) fn entries(&self, listing: &Listing) -> Entries {
        let state_dir = self.export.as_ref().map(Export::state_dir);
        let scratch = self.scratch.as_ref().map(TempDir::path);
        let mut entries = Entries::new(state_dir.as_deref(), scratch);
        entries.found(listing);
        entries
    }

    /// Content that lies on this machine already, where `ente-verify --adopt` found it, and is not exported yet.
    pub(crate) fn adopted(&self) -> HashSet<ContentKey> {
        let (Some(export), state) = (&self.export, &self.state) else {
            return HashSet::new();
        };
        if state.verify.adopted.is_empty() {
            return HashSet::new();
        }
        let held = state.plaintexts();
        let files = state.pull.files.values();
        let wanted: BTreeSet<ContentKey> = files
            .filter_map(|file| Some((file.id, file.version?)))
            .filter(|content| !held.contains(content))
            .collect();
        let adoptable = state.adoptable(&wanted, |adopted| export.has_adopted(adopted));
        adoptable.covered()
    }

    /// Objects that the manifest counts as stored and that are not there. Kept mirrors are not walked: `ente-verify --objects` does that.
    pub(crate) fn missing_objects(&self, keep: bool) -> HashSet<ContentKey> {
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
