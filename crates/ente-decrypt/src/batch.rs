//! Changes that are committed together.
//!
//! Files are parked in `partial/` under names that say whose they are, the facts that tell where they belong are written and synced, then the
//! files go there. A start that finds something parked finishes or undoes the move (`recover`).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ente_common::disk;
use ente_common::exit::Failure;
use ente_common::manifest::facts::{DecryptFact, Placement, Trash};
use ente_common::manifest::parked;
use ente_common::manifest::{Parked, PlacementKey};
use ente_common::record::Problem;

use crate::place::sync_all;
use crate::structure::date;
use crate::tree::{Tree, problem};

/// Changes that are committed together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    facts: Vec<DecryptFact>,
    /// Placements that are no more. Their facts come last: a power cut may take the end of a batch, and files on their way have two homes then
    /// rather than none.
    gone: BTreeSet<PlacementKey>,
    /// Files of the trash that come back, or are no more, by path. They come last too, and for the same reason.
    untrashed: BTreeMap<String, Trash>,
    carries: Vec<Carry>,
    /// Where something will lie afterwards, in small letters.
    bound: HashSet<String>,
    /// Album folders under way, by collection: where each is parked.
    folders: BTreeMap<i64, PathBuf>,
    /// Folders that files left: synced before the facts.
    left: BTreeSet<PathBuf>,
    /// Album folders that may be empty afterwards.
    thinned: BTreeSet<String>,
    /// Files that were dated anew and are to be synced.
    dated: Vec<PathBuf>,
}

fn fold(path: &Path) -> String {
    path.to_string_lossy().to_lowercase()
}

#[derive(Debug)]
struct Carry {
    parked: PathBuf,
    /// `None`: it is deleted.
    to: Option<PathBuf>,
}

impl Batch {
    /// Nothing would be committed.
    pub(crate) fn is_empty(&self) -> bool {
        self.facts.is_empty()
            && self.gone.is_empty()
            && self.untrashed.is_empty()
            && self.carries.is_empty()
    }

    /// Sends a parked file on its way once the facts are safe.
    pub(crate) fn carry(&mut self, parked: PathBuf, to: PathBuf) {
        self.bound.insert(fold(&to));
        self.carries.push(Carry {
            parked,
            to: Some(to),
        });
    }

    /// Where the folder of an album is parked, if it is on its way.
    pub(crate) fn folder_under_way(&self, collection: i64) -> Option<&Path> {
        self.folders.get(&collection).map(PathBuf::as_path)
    }

    /// Something will lie there once the batch is committed.
    pub(crate) fn is_bound(&self, path: &Path) -> bool {
        self.bound.contains(&fold(path))
    }

    /// As [`date`]; if that changed the file, it is synced with the others of the batch.
    ///
    /// # Errors
    /// As [`date`].
    pub(crate) fn date(&mut self, path: &Path, was: i64, us: i64) -> io::Result<i64> {
        let time = date(path, was, us)?;
        if time != was {
            self.dated.push(path.to_owned());
        }
        Ok(time)
    }

    /// Makes the new dates durable, before facts rest on them and before folders are moved.
    ///
    /// # Errors
    /// With the first file that cannot be synced.
    pub(crate) fn sync_dates(&mut self) -> Result<(), Failure> {
        let mut dated = std::mem::take(&mut self.dated);
        // One that was parked may have gone back, for all of it or none is moved.
        dated.retain(|path| path.exists());
        sync_all(dated.iter().map(PathBuf::as_path))
    }

    /// Deletes a parked file once the facts are safe.
    pub(crate) fn drop_parked(&mut self, parked: PathBuf) {
        self.carries.push(Carry { parked, to: None });
    }
}

impl Tree {
    /// Records a fact with the batch; from here on it counts for planning.
    pub(crate) fn stage(&mut self, batch: &mut Batch, fact: DecryptFact) {
        self.state.decrypt.apply(fact.clone());
        match &fact {
            DecryptFact::Placement(it) => drop(batch.gone.remove(&(it.collection, it.file))),
            DecryptFact::Trash(it) => drop(batch.untrashed.remove(&it.path)),
            _ => {}
        }
        batch.facts.push(fact);
    }

    /// Records that a placement is no more.
    pub(crate) fn stage_gone(&mut self, batch: &mut Batch, key: PlacementKey) {
        self.state.decrypt.apply(gone(key));
        batch.gone.insert(key);
    }

    /// Records that a file is in the trash no more. The fact names what it was of: `ente-pull` may have to fetch that.
    pub(crate) fn stage_untrashed(&mut self, batch: &mut Batch, trash: &Trash) {
        let gone = Trash {
            gone: true,
            ..trash.clone()
        };
        self.state.decrypt.apply(DecryptFact::Trash(gone.clone()));
        batch.untrashed.insert(gone.path.clone(), gone);
    }

    /// Parks a file that leaves its place.
    ///
    /// # Errors
    /// When it cannot be renamed; it is then where it was.
    pub(crate) fn park(
        &self,
        batch: &mut Batch,
        from: &Path,
        parked: Parked,
    ) -> io::Result<PathBuf> {
        let parked = self.export.parked(parked);
        disk::move_new(from, &parked)?;
        batch.left.extend(from.parent().map(Path::to_owned));
        Ok(parked)
    }

    /// Notes that files left this album, so that its folder goes when it is empty.
    pub(crate) fn thins(batch: &mut Batch, folder: &str) {
        batch.thinned.insert(folder.to_owned());
    }

    /// Parks an album folder that gets another name.
    ///
    /// # Errors
    /// As [`park`](Self::park).
    pub(crate) fn park_folder(
        &self,
        batch: &mut Batch,
        collection: i64,
        from: &str,
    ) -> io::Result<()> {
        let from = self.export.dir().join(from);
        let parked = self.park(batch, &from, Parked::Album(collection))?;
        batch.folders.insert(collection, parked);
        Ok(())
    }

    /// Puts a parked album folder back. One that cannot go back waits for the next start.
    pub(crate) fn unpark_folder(&self, batch: &mut Batch, collection: i64, to: &str) {
        if let Some(parked) = batch.folders.remove(&collection) {
            let _ = disk::rename_new(&parked, &self.export.dir().join(to));
        }
    }

    /// Makes durable that files left their places for `partial/`: before the facts tell of it, and before folders that they left are removed.
    ///
    /// # Errors
    /// When a folder cannot be synced.
    pub(crate) fn sync_parked(&self, batch: &Batch) -> Result<(), Failure> {
        let partial = self.partial();
        let left = batch.left.iter().filter(|dir| dir.is_dir());
        std::iter::once(&partial)
            .chain(left)
            .try_for_each(|dir| disk::sync_dir(dir).map_err(failed(dir)))
    }

    /// Makes the batch true: syncs what is parked, writes and syncs the facts, puts everything in its place.
    ///
    /// # Errors
    /// When something cannot be written; what is parked then waits for the next start.
    pub(crate) fn commit(&mut self, mut batch: Batch) -> Result<(), Failure> {
        batch.sync_dates()?;
        if !batch.carries.is_empty() || !batch.folders.is_empty() {
            self.sync_parked(&batch)?;
        }
        let folders = self.state.decrypt.folders.values();
        let names: HashSet<&str> = folders.map(|folder| folder.name.as_str()).collect();
        for folder in &batch.thinned {
            // Once the facts forget a folder, nobody would come to remove it.
            if !names.contains(folder.as_str()) {
                self.drop_if_empty(folder);
            }
        }
        let journal = self.journal();
        for fact in &batch.facts {
            journal.append(fact);
        }
        for key in batch.gone {
            journal.append(&gone(key));
        }
        for trash in batch.untrashed.into_values() {
            journal.append(&DecryptFact::Trash(trash));
        }
        journal.sync()?;
        let mut reached = BTreeSet::new();
        for (collection, parked) in &batch.folders {
            let to = self.export.dir().join(self.folder(*collection));
            self.put(parked, &to, &mut reached)?;
        }
        for carry in &batch.carries {
            match &carry.to {
                Some(to) => self.put(&carry.parked, to, &mut reached)?,
                None => match fs::remove_file(&carry.parked) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(failed(&carry.parked)(error));
                    }
                    _ => {}
                },
            }
        }
        for dir in &reached {
            disk::sync_dir(dir).map_err(failed(dir))?;
        }
        for folder in &batch.thinned {
            self.drop_if_empty(folder);
        }
        let trash = self.trash("");
        for dir in batch.left.iter().filter(|dir| dir.starts_with(&trash)) {
            // What came back may leave an album of the trash, and a day, empty.
            let _ = fs::remove_dir(dir.join("metadata"));
            let _ = fs::remove_dir(dir);
            let _ = dir.parent().map(fs::remove_dir);
        }
        Ok(())
    }

    /// Renames what is parked to its place. What came into its way meanwhile stays; the file then waits for the next start.
    fn put(
        &mut self,
        parked: &Path,
        to: &Path,
        reached: &mut BTreeSet<PathBuf>,
    ) -> Result<(), Failure> {
        let result = self
            .make_parent(to, reached)
            .and_then(|()| disk::move_new(parked, to));
        let Err(error) = result else {
            return Ok(());
        };
        let (class, cause, hint) = match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => (
                "occupied",
                "something came to lie there while this run was writing".to_owned(),
                "run the same command again",
            ),
            // What is about this place stops nothing else: the file waits.
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::InvalidFilename
            | io::ErrorKind::CrossesDevices => (
                "io",
                error.to_string(),
                "see who may write there, then run the same command again",
            ),
            _ => {
                let what = format!("cannot write `{}`", to.display());
                return Err(Failure::disk(what, &error));
            }
        };
        let path = to.strip_prefix(self.export.dir()).unwrap_or(to);
        self.problems.push(Problem {
            class: class.into(),
            path: Some(path.display().to_string()),
            cause,
            hint: hint.into(),
            ..problem()
        });
        Ok(())
    }

    /// Makes the folder that a file goes to, without passing through links, and notes what has to be synced.
    fn make_parent(&self, to: &Path, reached: &mut BTreeSet<PathBuf>) -> io::Result<()> {
        let root = self.export.dir();
        let parent = to.parent().unwrap_or(root);
        if !reached.contains(parent) {
            let relative: Vec<_> = parent
                .strip_prefix(root)
                .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?
                .iter()
                .map(|component| component.to_string_lossy())
                .collect();
            disk::make_dir_below(root, &relative.join("/"))?;
            reached.insert(parent.to_owned());
        }
        Ok(())
    }

    /// Removes an album folder, and its folder of sidecars, that nothing is left in, durably.
    pub(crate) fn drop_if_empty(&self, folder: &str) {
        let dir = self.export.dir().join(folder);
        // Only empty folders can be removed; a link is none. Where syncing fails, an empty folder may come back.
        let is_thinner = fs::remove_dir(dir.join("metadata")).is_ok();
        let _ = match fs::remove_dir(&dir) {
            Ok(()) => disk::sync_parent(&dir),
            Err(_) if is_thinner => disk::sync_dir(&dir),
            Err(_) => Ok(()),
        };
    }

    /// Appends a fact that rests on nothing in flight and hands it to the system.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn note(&mut self, facts: Vec<DecryptFact>) -> Result<(), Failure> {
        for fact in facts {
            self.journal().append(&fact);
            self.state.decrypt.apply(fact);
        }
        Ok(self.journal().flush()?)
    }

    /// Removes what this run was writing and did not finish.
    pub(crate) fn sweep(&self) {
        let entries = fs::read_dir(self.partial()).into_iter().flatten().flatten();
        for entry in entries {
            if entry.file_name().to_str().is_some_and(parked::is_half) {
                // What stays is removed by the next start.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Syncs the journal.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn sync(&mut self) -> Result<(), Failure> {
        if self.is_writing() {
            self.journal().sync()?;
        }
        Ok(())
    }
}

fn gone(key: PlacementKey) -> DecryptFact {
    DecryptFact::Placement(Placement {
        collection: key.0,
        file: key.1,
        gone: true,
        ..Placement::default()
    })
}

fn failed(dir: &Path) -> impl Fn(io::Error) -> Failure {
    let what = format!("cannot write in `{}`", dir.display());
    move |error| Failure::disk(what.clone(), &error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tree;

    /// A power cut may take the end of a batch.
    #[test]
    fn what_comes_back_from_the_trash_has_its_new_home_first() {
        let home = tempfile::tempdir().unwrap();
        let mut tree = tree(home.path());
        let trash = |day| Trash {
            path: format!("{day}/A/x.jpg"),
            collection: 1,
            file: 7,
            ..Trash::default()
        };
        let mut batch = Batch::default();
        for day in ["2026-01-01", "2026-01-02"] {
            tree.stage(&mut batch, DecryptFact::Trash(trash(day)));
            tree.stage_untrashed(&mut batch, &trash(day));
        }
        assert!(tree.state.decrypt.trash.is_empty());
        tree.stage(&mut batch, DecryptFact::Placement(Placement::default()));
        // One goes back to where it was.
        tree.stage(&mut batch, DecryptFact::Trash(trash("2026-01-02")));
        tree.commit(batch).unwrap();
        let journal = tree.export.state_dir().join("decrypt.jsonl");
        let facts = fs::read_to_string(journal).unwrap();
        let told: Vec<_> = facts
            .lines()
            .skip(1)
            .map(|line| (line.contains("placement"), line.contains("gone")))
            .collect();
        let (trashed, placed, gone) = ((false, false), (true, false), (false, true));
        assert_eq!(told, [trashed, trashed, placed, trashed, gone], "{facts}");
        assert!(facts.lines().last().unwrap().contains("2026-01-01/A/x.jpg"));
    }
}
