//! The writing half: facts, and objects on their way from `partial/` to `objects/`.
//!
//! Objects are synced in batches, before the facts that rest on them; the records wait for both.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ente_common::disk;
use ente_common::exit::Failure;
use ente_common::layout;
use ente_common::manifest::facts::{Failed, Object, PullFact};
use ente_common::manifest::{ContentKey, Export, Journal, Parked, State, private_dir};

use crate::download::Whole;
use crate::plan::Fetch;
use crate::problems;

/// A batch closes at so many files, so many bytes, or after so long.
const BATCH_FILES: usize = 64;
const BATCH_BYTES: u64 = 64 << 20;
const BATCH_TIME: Duration = Duration::from_millis(200);
/// Files that are synced side by side: a sync mostly waits.
const SYNC_THREADS: usize = 8;

/// Facts of a listing that may wait in memory: it counts only with the last of them.
const FLUSH_BYTES: usize = 1 << 20;

/// What of a file is to be told once its batch is closed.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// With the bytes of the object, none where it was here already.
    Stored {
        id: i64,
        fetched: Option<u64>,
    },
    Failed(Failed),
}

/// The export while this tool writes to it.
#[derive(Debug)]
pub(crate) struct Store {
    dir: PathBuf,
    journal: Journal,
    waiting: Vec<Whole>,
    outcomes: Vec<Outcome>,
    bytes: u64,
    since: Option<Instant>,
    /// Folders of `objects/` that are known to be there.
    folders: BTreeSet<PathBuf>,
}

impl Store {
    /// Opens the manifest for writing and throws away a listing that was never closed. The caller holds the lock.
    pub(crate) fn open(export: &Export, state: &mut State, run: &str) -> Result<Self, Failure> {
        let dir = export.state_dir();
        for folder in ["objects", "partial"] {
            let path = dir.join(folder);
            private_dir(&path).map_err(|error| cannot("make", &path, &error))?;
        }
        let mut store = Self {
            journal: Journal::open(&dir, "pull")?,
            dir,
            waiting: Vec::new(),
            outcomes: Vec::new(),
            bytes: 0,
            since: None,
            folders: BTreeSet::new(),
        };
        if state.pull.has_open_listing() {
            let void = ente_common::manifest::facts::Listing {
                run: run.to_owned(),
                void: true,
                ..Default::default()
            };
            store.note(state, PullFact::Listing(void));
        }
        Ok(store)
    }

    /// Appends a fact and lets it hold; it survives a kill after the next [`flush`](Self::flush).
    pub(crate) fn note(&mut self, state: &mut State, fact: PullFact) {
        self.journal.append(&fact);
        state.pull.apply(fact);
    }

    /// Appends facts; they survive a power cut after the next [`sync`](Self::sync). The caller lets them hold.
    pub(crate) fn append_all(
        &mut self,
        facts: impl IntoIterator<Item = PullFact>,
    ) -> Result<(), Failure> {
        for fact in facts {
            self.journal.append(&fact);
            if self.journal.pending_bytes() > FLUSH_BYTES {
                self.journal.flush()?;
            }
        }
        Ok(())
    }

    /// What was noted survives a kill.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.journal.flush()?)
    }

    /// What was noted survives a power cut.
    pub(crate) fn sync(&mut self) -> Result<(), Failure> {
        Ok(self.journal.sync()?)
    }

    /// Takes an object into the present batch.
    pub(crate) fn add(&mut self, whole: Whole) {
        self.bytes += whole.size;
        self.since.get_or_insert_with(Instant::now);
        self.waiting.push(whole);
    }

    /// Takes a failed download into the present batch.
    pub(crate) fn fail(&mut self, state: &mut State, fetch: &Fetch, class: &str, cause: String) {
        let known = state.pull.failed.get(&fetch.key());
        let failed = Failed {
            id: fetch.id,
            version: fetch.version,
            class: class.to_owned(),
            cause,
            tries: known.map_or(0, |known| known.tries) + 1,
            gone: false,
        };
        self.since.get_or_insert_with(Instant::now);
        self.outcomes.push(Outcome::Failed(failed.clone()));
        self.note(state, PullFact::Failed(failed));
    }

    /// The present batch is to be closed.
    pub(crate) fn is_due(&self) -> bool {
        self.waiting.len() >= BATCH_FILES
            || self.bytes >= BATCH_BYTES
            || self
                .since
                .is_some_and(|since| since.elapsed() >= BATCH_TIME)
    }

    /// Closes the batch: objects durable at their places, then their facts. Tells what may be printed now.
    pub(crate) fn commit(&mut self, state: &mut State) -> Result<Vec<Outcome>, Failure> {
        self.since = None;
        self.bytes = 0;
        let batch = std::mem::take(&mut self.waiting);
        sync_all(&batch)?;
        let mut folders = BTreeSet::new();
        for whole in &batch {
            let place = self.path(&layout::object(whole.fetch.id, whole.fetch.version));
            let folder = place.parent().unwrap_or(&self.dir).to_owned();
            self.make_folder(&folder)?;
            if whole.path != place {
                fs::rename(&whole.path, &place).map_err(|error| cannot("write", &place, &error))?;
            }
            folders.insert(folder);
        }
        for folder in &folders {
            disk::sync_dir(folder).map_err(|error| cannot("sync", folder, &error))?;
        }
        for whole in batch {
            self.note_stored(state, &whole);
            self.outcomes.push(Outcome::Stored {
                id: whole.fetch.id,
                fetched: (!whole.found).then_some(whole.size),
            });
        }
        self.flush()?;
        Ok(std::mem::take(&mut self.outcomes))
    }

    fn note_stored(&mut self, state: &mut State, whole: &Whole) {
        let key = whole.fetch.key();
        // Bytes that were found good, and came again because they were lost here, say nothing about the server.
        let verdict = state.decrypt.verdicts.get(&key);
        let before = verdict.filter(|verdict| verdict.class == problems::DAMAGED);
        let before = before.and_then(|verdict| {
            let object = state.pull.objects.get(&key)?;
            let is_of_it = verdict.fetch >= object.fetch;
            is_of_it.then(|| verdict.blake3.or(object.blake3))?
        });
        let object = Object {
            id: whole.fetch.id,
            version: whole.fetch.version,
            size: whole.size,
            same: before == Some(whole.blake3),
            blake3: Some(whole.blake3),
            fetch: whole.fetch.number,
            gone: false,
            trashed: None,
        };
        self.note(state, PullFact::Object(object));
        if let Some(failed) = state.pull.failed.get(&key) {
            let gone = gone(failed);
            self.note(state, PullFact::Failed(gone));
        }
    }

    fn make_folder(&mut self, folder: &Path) -> Result<(), Failure> {
        if self.folders.contains(folder) {
            return Ok(());
        }
        self.make_below(folder)
            .map_err(|error| cannot("make", folder, &error))?;
        self.folders.insert(folder.to_owned());
        Ok(())
    }

    /// Makes a folder of ours that no link leads out of.
    fn make_below(&self, folder: &Path) -> io::Result<()> {
        let below = folder.strip_prefix(&self.dir).unwrap_or(folder);
        let below = below.to_str().ok_or(io::ErrorKind::InvalidInput)?;
        disk::make_dir_below(&self.dir, below).map(drop)
    }

    /// Puts objects that nobody wants into the trash, or removes them where `trash` names none.
    ///
    /// The facts come last: after a kill between the two, the next run finds an object still unwanted and records what was done. The other way
    /// round, a file that no fact counts on would lie in `objects/` for ever.
    pub(crate) fn retire(
        &mut self,
        state: &mut State,
        objects: Vec<Object>,
        trash: Option<&str>,
    ) -> Result<(), Failure> {
        let mut facts = Vec::new();
        let mut touched = BTreeSet::new();
        for object in objects {
            let place = layout::object(object.id, object.version);
            let from = self.path(&place);
            let to = trash.map(|date| (format!("{date}/{place}"), format!("trash/{date}/{place}")));
            let done = match &to {
                None => fs::remove_file(&from),
                Some((_, to)) => {
                    let folder = to.rsplit_once('/').map_or("", |(folder, _)| folder);
                    let folder = disk::make_dir_below(&self.dir, folder);
                    folder.and_then(|folder| {
                        touched.insert(folder);
                        fs::rename(&from, self.path(to))
                    })
                }
            };
            match done {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(cannot("remove", &from, &error));
                }
                _ => {}
            }
            touched.extend(from.parent().map(Path::to_owned));
            facts.push(Object {
                gone: true,
                trashed: to.map(|(below, _)| below),
                ..object
            });
        }
        for folder in touched.iter().filter(|folder| folder.is_dir()) {
            disk::sync_dir(folder).map_err(|error| cannot("sync", folder, &error))?;
        }
        for fact in facts {
            self.note(state, PullFact::Object(fact));
        }
        self.flush()
    }

    /// Brings an object back from the trash; `false` if it is no longer there.
    pub(crate) fn restore(&mut self, state: &mut State, object: &Object) -> Result<bool, Failure> {
        let Some(trashed) = &object.trashed else {
            return Ok(false);
        };
        let place = self.path(&layout::object(object.id, object.version));
        let folder = place.parent().unwrap_or(&self.dir).to_owned();
        self.make_folder(&folder)?;
        match fs::rename(self.path(&format!("trash/{trashed}")), &place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            result => result.map_err(|error| cannot("write", &place, &error))?,
        }
        disk::sync_parent(&place).map_err(|error| cannot("sync", &place, &error))?;
        let fact = Object {
            gone: false,
            trashed: None,
            ..object.clone()
        };
        self.note(state, PullFact::Object(fact));
        Ok(true)
    }

    /// Forgets failures and parts of everything but `needed`: of content that the account no longer has, or that is at hand after all.
    pub(crate) fn forget_all_but(
        &mut self,
        state: &mut State,
        needed: &HashSet<ContentKey>,
    ) -> Result<(), Failure> {
        let failed = state.pull.failed.iter();
        let stale = failed.filter(|(key, _)| !needed.contains(key));
        let stale: Vec<Failed> = stale.map(|(_, failed)| gone(failed)).collect();
        for fact in stale {
            self.note(state, PullFact::Failed(fact));
        }
        let partial = self.path("partial");
        let listing = fs::read_dir(&partial).map_err(|error| cannot("read", &partial, &error))?;
        for found in listing {
            let found = found.map_err(|error| cannot("read", &partial, &error))?;
            let name = found.file_name();
            let parked = name.to_str().and_then(Parked::parse);
            if let Some(Parked::Download(key)) = parked
                && !needed.contains(&key)
            {
                fs::remove_file(found.path())
                    .map_err(|error| cannot("remove", &found.path(), &error))?;
            }
        }
        Ok(())
    }

    fn path(&self, relative: &str) -> PathBuf {
        layout::join(&self.dir, relative)
    }
}

/// Removes what was fetched of objects that are not whole.
pub(crate) fn drop_parts(export: &Export) -> Result<(), Failure> {
    let partial = export.state_path("partial");
    let listing = match fs::read_dir(&partial) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        listing => listing.map_err(|error| cannot("read", &partial, &error))?,
    };
    for found in listing {
        let found = found.map_err(|error| cannot("read", &partial, &error))?;
        let name = found.file_name();
        if let Some(Parked::Download(_)) = name.to_str().and_then(Parked::parse) {
            fs::remove_file(found.path())
                .map_err(|error| cannot("remove", &found.path(), &error))?;
        }
    }
    Ok(())
}

fn gone(failed: &Failed) -> Failed {
    Failed {
        id: failed.id,
        version: failed.version,
        gone: true,
        ..Failed::default()
    }
}

fn cannot(verb: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::disk(format!("cannot {verb} `{}`", path.display()), error)
}

/// Waits until the contents of all files of a batch are on the disk.
fn sync_all(batch: &[Whole]) -> Result<(), Failure> {
    let sync = |whole: &Whole| {
        // Windows syncs only through a handle that may write.
        let file = File::options().append(true).open(&whole.path);
        file.and_then(|file| file.sync_all())
            .map_err(|error| cannot("sync", &whole.path, &error))
    };
    let share = batch.len().div_ceil(SYNC_THREADS).max(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = batch
            .chunks(share)
            .map(|share| scope.spawn(move || share.iter().try_for_each(sync)))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("syncing does not panic"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ente_common::id::Version;
    use ente_common::manifest::Account;
    use ente_common::manifest::facts::{self, Listing, Verdict};

    use crate::plan::Fetch;

    fn files(ids: std::ops::Range<i64>) -> impl Iterator<Item = PullFact> {
        ids.map(|id| {
            PullFact::File(facts::File {
                collection: 1,
                id,
                ..facts::File::default()
            })
        })
    }

    #[test]
    fn a_listing_that_was_written_in_part_never_counts() {
        let dir = tempfile::tempdir().unwrap();
        let export = export(dir.path());
        let load = || State::load(&export.state_dir()).unwrap();
        let mut store = Store::open(&export, &mut State::default(), "one").unwrap();
        store.append_all(files(0..20_000)).unwrap();
        drop(store);
        let mut state = load();
        assert!(state.pull.has_open_listing(), "a part of it was written");
        assert!(state.pull.files.is_empty());
        let mut store = Store::open(&export, &mut state, "two").unwrap();
        store.append_all(files(30_000..30_001)).unwrap();
        store
            .append_all([PullFact::Listing(Listing::default())])
            .unwrap();
        store.sync().unwrap();
        let ids: Vec<i64> = load().pull.files.keys().map(|key| key.1).collect();
        assert_eq!(ids, [30_000]);
    }

    fn export(dir: &Path) -> Export {
        let account = Account {
            endpoint: "https://e".into(),
            app: "photos".into(),
            user_id: 1,
            email: "a@b".into(),
        };
        Export::create(dir, account, serde_json::Value::Null).unwrap()
    }

    #[test]
    fn only_bytes_that_were_found_damaged_come_again() {
        let [good, rotten] = [b"good", b"rots"].map(|bytes| blake3::hash(bytes));
        let version = Version::from_bytes([1; 8]);
        let judged = |class: &str, bytes| {
            Some(Verdict {
                id: 7,
                version,
                fetch: 1,
                class: class.to_owned(),
                blake3: Some(bytes),
                ..Verdict::default()
            })
        };
        for (verdict, same) in [
            (None, false),
            (judged("hash-mismatch", good), false),
            (judged("damaged", rotten), false),
            (judged("damaged", good), true),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let export = export(dir.path());
            let mut state = State::default();
            let mut store = Store::open(&export, &mut state, "run").unwrap();
            let whole = |number| Whole {
                fetch: Fetch {
                    id: 7,
                    version,
                    size: None,
                    number,
                    adopt: false,
                },
                path: PathBuf::new(),
                size: 4,
                blake3: good,
                found: false,
            };
            store.note_stored(&mut state, &whole(1));
            state
                .decrypt
                .verdicts
                .extend(verdict.clone().map(|one| ((7, version), one)));
            store.note_stored(&mut state, &whole(2));
            let stored = &state.pull.objects[&(7, version)];
            assert_eq!((stored.fetch, stored.same), (2, same), "{verdict:?}");
        }
    }
}
