//! What a killed run left in `partial/`: finished where the facts were written, undone where they were not. The table is in section 5 of
//! `docs/formats/manifest.md`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use blake3::Hash;
use ente_common::disk;
use ente_common::exit::Failure;
use ente_common::id::Version;
use ente_common::manifest::facts::{Part, Placement};
use ente_common::manifest::parked::{self, Parked};
use ente_common::manifest::{Export, Lock, PlacementKey};
use ente_common::record::Problem;

use crate::batch::Batch;
use crate::content::blake3_of;
use crate::moves::{DAMAGED, Leaving, Why};
use crate::tree::{Look, Tree, problem};

/// Something of ours that waits in `partial/`.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    /// A file that was being written.
    Half(PathBuf),
    /// The folder of an album on its way to another name.
    Album(PathBuf, i64),
    /// New content of a part.
    New(PathBuf, PartOf),
    /// A part on its way to another place.
    Old(PathBuf, PartOf),
}

/// Which part of which content of which placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PartOf {
    key: PlacementKey,
    index: usize,
    version: Version,
}

impl Left {
    fn parse(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        if parked::is_half(name) {
            return Some(Self::Half(path));
        }
        let part = |(collection, file, index), version| PartOf {
            key: (collection, file),
            index,
            version,
        };
        match Parked::parse(name)? {
            Parked::Album(collection) => Some(Self::Album(path, collection)),
            Parked::New(of, version) => Some(Self::New(path, part(of, version))),
            Parked::Old(of, version) => Some(Self::Old(path, part(of, version))),
            // They are of other tools.
            Parked::Download(_) | Parked::Meta { .. } | Parked::Sidecar(_) => None,
        }
    }

    /// Folders first, so that paths lead somewhere; then new content, before old content looks for a free place.
    fn rank(&self) -> (u8, PathBuf) {
        match self {
            Self::Half(path) => (0, path.clone()),
            Self::Album(path, _) => (1, path.clone()),
            Self::New(path, _) => (2, path.clone()),
            Self::Old(path, _) => (3, path.clone()),
        }
    }
}

fn left(export: &Export) -> Result<Vec<Left>, Failure> {
    let partial = export.state_path("partial");
    let failed = |error| Failure::disk(format!("cannot read `{}`", partial.display()), &error);
    let entries = match fs::read_dir(&partial) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut left = Vec::new();
    for entry in entries {
        left.extend(Left::parse(entry.map_err(failed)?.path()));
    }
    left.sort_by_key(Left::rank);
    Ok(left)
}

/// A killed run left something to recover, or folders that it would have removed.
///
/// # Errors
/// When that cannot be told.
pub(crate) fn is_needed(export: &Export) -> Result<bool, Failure> {
    Ok(!left(export)?.is_empty() || Lock::is_left(&export.state_dir(), crate::NAME))
}

impl Tree {
    /// Puts everything that a killed run left where the facts say it belongs.
    ///
    /// # Errors
    /// When something cannot be written.
    pub(crate) fn recover(&mut self) -> Result<(), Failure> {
        let mut batch = Batch::default();
        let mut displaced = BTreeSet::new();
        for left in left(&self.export)? {
            if let Left::New(path, part) | Left::Old(path, part) = &left
                && self.is_displaced(*part, path)?
            {
                displaced.insert(part.key);
            }
            match left {
                Left::Half(path) => remove(&path)?,
                Left::Album(path, collection) => self.finish_album(&path, collection)?,
                Left::New(path, part) => match self.home(part.key, part, &path, true) {
                    Some(home) => batch.carry(path, home),
                    None => remove(&path)?,
                },
                Left::Old(path, part) => self.finish_old(&mut batch, path, part)?,
            }
            // Each is put in place before the next one looks for a free path.
            self.commit(std::mem::take(&mut batch))?;
        }
        for key in displaced {
            // The facts must not claim what is the user's: without files the placement gets its content again, under a free name.
            let placement = self.placement(key);
            let looks = self.looked_at(&placement)?;
            self.let_go(&mut batch, &placement, &looks, Why::Displaced);
        }
        self.commit(batch)?;
        for folder in self.state.decrypt.folders.values() {
            self.drop_if_empty(&folder.name);
        }
        Ok(())
    }

    /// Something of the user's lies where this part is recorded.
    fn is_displaced(&self, of: PartOf, parked: &Path) -> Result<bool, Failure> {
        let placement = self.placement(of.key);
        let is_recorded =
            self.recorded(of.key, of).is_some() && self.home(of.key, of, parked, false).is_none();
        Ok(is_recorded && self.looked_at(&placement)?.get(of.index) == Some(&Look::Theirs))
    }

    fn looked_at(&self, placement: &Placement) -> Result<Vec<Look>, Failure> {
        let folder = self.export.dir().join(self.folder(placement.collection));
        self.looks(placement, None)
            .map_err(|error| cannot(&folder, &error))
    }

    fn finish_old(
        &mut self,
        batch: &mut Batch,
        path: PathBuf,
        part: PartOf,
    ) -> Result<(), Failure> {
        // Where the album it came from no longer has it, it was on its way to another one.
        let placements = self.state.decrypt.placements_of(part.key.1);
        let mut keys: Vec<PlacementKey> = placements
            .map(|placement| (placement.collection, placement.file))
            .collect();
        keys.sort_by_key(|key| (!self.state.pull.files.contains_key(key), *key != part.key));
        if let Some(trash) = self.rotten(part, &path)? {
            batch.carry(path, trash);
            return Ok(());
        }
        if let Some(home) = keys
            .iter()
            .find_map(|key| self.home(*key, part, &path, false))
        {
            batch.carry(path, home);
            return Ok(());
        }
        if let Some(from) = self.adopted_from(part.key.1, part.index, &path) {
            batch.carry(path, from);
            return Ok(());
        }
        let trashed = self.state.decrypt.trash.values().find(|trash| {
            (trash.file, trash.part, trash.version) == (part.key.1, part.index, Some(part.version))
                && fs::symlink_metadata(self.trash(&trash.path)).is_err()
        });
        if let Some(trash) = trashed {
            let to = self.trash(&trash.path);
            batch.carry(path, to);
            return Ok(());
        }
        // It has no place any more: what replaced it is there, or it was to be deleted.
        let (metadata, blake3) = measure(&path).map_err(|error| cannot(&path, &error))?;
        let recorded = self.placement(part.key);
        if self
            .recorded(part.key, part)
            .is_some_and(|part| part.blake3 == Some(blake3))
            && self.looked_at(&recorded)?.get(part.index) == Some(&Look::Ours)
        {
            // It was to be shared in another way, and is.
            return remove(&path);
        }
        let name = match recorded.parts.get(part.index) {
            Some(part) => part.name.clone(),
            None => format!("{}-{}", part.key.1, part.version),
        };
        let mut parts = vec![Part::default(); part.index];
        parts.push(Part {
            name,
            size: metadata.len(),
            blake3: Some(blake3),
            mtime: disk::mtime_us(&metadata),
            ..Part::default()
        });
        let placement = Placement {
            // Nobody knows whether it is whole, so it is kept for the user, not for restoring.
            version: None,
            parts,
            ..recorded
        };
        let leaving = Leaving {
            index: part.index,
            parked: path,
            sidecar: None,
            is_damaged: false,
        };
        self.discard(batch, &placement, Why::Replaced, leaving);
        Ok(())
    }

    /// Where in the trash a damaged part belongs: its successor has the same version and size, and only the content tells them apart.
    fn rotten(&self, part: PartOf, parked: &Path) -> Result<Option<PathBuf>, Failure> {
        let key = (part.key, part.index, Some(part.version));
        let damaged = self.state.decrypt.trash.values().find(|trash| {
            let of = ((trash.collection, trash.file), trash.part, trash.version);
            let is_free = || fs::symlink_metadata(self.trash(&trash.path)).is_err();
            of == key && trash.reason == DAMAGED && is_free()
        });
        let Some(trash) = damaged else {
            return Ok(None);
        };
        let (_, blake3) = measure(parked).map_err(|error| cannot(parked, &error))?;
        Ok((Some(blake3) != trash.blake3).then(|| self.trash(&trash.path)))
    }

    /// What is recorded of a part in this placement, if it has this content there.
    fn recorded(&self, key: PlacementKey, of: PartOf) -> Option<&Part> {
        let placement = self.state.decrypt.placements.get(&key)?;
        let has_version = placement.version == Some(of.version);
        placement.parts.get(of.index).filter(|_| has_version)
    }

    /// The path at which a part of this placement is recorded, if nothing lies there.
    fn home(&self, key: PlacementKey, of: PartOf, parked: &Path, is_new: bool) -> Option<PathBuf> {
        let part = self.recorded(key, of)?;
        let metadata = fs::symlink_metadata(parked).ok()?;
        let fits = metadata.len() == part.size;
        // New content that the facts do not tell of yet may bear another time, or be for a part that was found missing; it is made again.
        let is_told =
            disk::mtime_us(&metadata) == part.mtime && self.state.broken(key, of.index).is_none();
        let is_recorded = !is_new || is_told;
        let path = self.path(&self.folder(key.0), &part.name);
        (fits && is_recorded && fs::symlink_metadata(&path).is_err()).then_some(path)
    }

    fn finish_album(&mut self, parked: &Path, collection: i64) -> Result<(), Failure> {
        let folder = self.folder(collection);
        if folder.is_empty() {
            self.problems.push(stranded(parked));
            return Ok(());
        }
        let to = self.export.dir().join(&folder);
        match disk::rename_new(parked, &to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                merge(parked, &to).map_err(|error| cannot(parked, &error))?;
                if parked.exists() {
                    self.problems.push(stranded(parked));
                }
            }
            Err(error) => return Err(cannot(parked, &error)),
        }
        disk::sync_parent(&to).map_err(|error| cannot(&to, &error))
    }
}

/// Moves what is in one folder into another, but for what is in the way there.
fn merge(from: &Path, to: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(to)?.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match disk::rename_new(&entry.path(), &target) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if entry.file_type()?.is_dir() {
                    merge(&entry.path(), &target)?;
                }
            }
            result => result?,
        }
    }
    match fs::remove_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        result => result,
    }
}

fn stranded(parked: &Path) -> Problem {
    Problem {
        class: "stranded".into(),
        cause: format!(
            "`{}` was left by a run that was stopped, and its place is taken",
            parked.display()
        ),
        hint: "move what is in it to where you want it".into(),
        ..problem()
    }
}

fn measure(path: &Path) -> io::Result<(fs::Metadata, Hash)> {
    let file = fs::File::open(path)?;
    Ok((file.metadata()?, blake3_of(file)?))
}

fn remove(path: &Path) -> Result<(), Failure> {
    fs::remove_file(path).map_err(|error| cannot(path, &error))
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    Failure::disk(format!("cannot recover `{}`", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_ours_is_recognised() {
        let version = "7f94edcecfcc66ad".parse().unwrap();
        let part = PartOf {
            key: (13, 101),
            index: 1,
            version,
        };
        let path = PathBuf::from;
        let rows = [
            ("p/tmp-3", Some(Left::Half(path("p/tmp-3")))),
            (
                "p/.ente-tmp-x.jpg",
                Some(Left::Half(path("p/.ente-tmp-x.jpg"))),
            ),
            ("p/album-13", Some(Left::Album(path("p/album-13"), 13))),
            (
                "p/new-13-101-1-7f94edcecfcc66ad",
                Some(Left::New(path("p/new-13-101-1-7f94edcecfcc66ad"), part)),
            ),
            (
                "p/old-13-101-1-7f94edcecfcc66ad",
                Some(Left::Old(path("p/old-13-101-1-7f94edcecfcc66ad"), part)),
            ),
            ("p/old-13-101-1-7f94edcecfcc66ad-x", None),
            ("p/old-13-101-7f94edcecfcc66ad", None),
            ("p/get-101-7f94edcecfcc66ad", None),
            ("p/sidecar-13-101-0", None),
            ("p/notes", None),
        ];
        for (name, expected) in rows {
            assert_eq!(Left::parse(path(name)), expected, "{name}");
        }
    }
}
