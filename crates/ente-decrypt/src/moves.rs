//! How files and their sidecars leave their places and get new ones, as parts of a batch.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use blake3::Hash;
use ente_common::disk;
use ente_common::id::Version;
use ente_common::manifest::facts::{DecryptFact, How, Part, Placement, Trash};
use ente_common::manifest::setting::OnRemove;
use ente_common::manifest::{Parked, PartKey, PlacementKey};
use ente_common::naming;
use ente_common::record::Problem;

use crate::batch::Batch;
use crate::desired::{Name, kind};
use crate::plan::part_names;
use crate::tree::{Did, Tree, problem};

/// Why files leave the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The account has them there no longer.
    Removed,
    /// Content takes their place with the same batch.
    Replaced,
    /// The same content takes their place with the same batch, shared in another way: nothing of them is kept.
    Relinked,
    /// They are in the way, or half of what was written; nothing is at hand to take their place.
    Displaced,
    /// The same, and what takes their place one day has another name.
    Renamed,
    /// They no longer hold what was written; nothing is at hand to take their place.
    Rotten,
}

impl Why {
    /// As facts of the trash spell it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Replaced | Self::Relinked | Self::Displaced | Self::Renamed => "replaced",
            Self::Rotten => DAMAGED,
        }
    }

    /// Their sidecars leave too: no successor will have them.
    pub(crate) fn takes_sidecars(self) -> bool {
        matches!(self, Self::Removed | Self::Renamed)
    }
}

/// How facts of the trash spell that a part did not hold what was written.
pub(crate) const DAMAGED: &str = "damaged";

/// A part on its way out of the tree, parked.
#[derive(Debug)]
pub(crate) struct Leaving {
    /// Index of the part.
    pub index: usize,
    /// Where it is parked.
    pub parked: PathBuf,
    /// Where its sidecar is, if that goes along.
    pub sidecar: Option<PathBuf>,
    /// It was found damaged.
    pub is_damaged: bool,
}

/// Files that become those of a placement.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// The placement.
    pub key: PlacementKey,
    /// Content version.
    pub version: Option<Version>,
    /// How many times content was written there, this time included.
    pub n: u32,
    /// Its parts; their names so far tell the extensions.
    pub parts: Vec<(Part, PathBuf)>,
    /// Sidecars that come along, by part.
    pub sidecars: Vec<(usize, PathBuf)>,
    /// For the records.
    pub did: Did,
}

impl Tree {
    /// Parks the sidecar of a part, if it has one; a second one for importers goes, as `ente-meta` writes another for the new name.
    ///
    /// # Errors
    /// When it cannot be looked at or moved; it is then where it was.
    pub(crate) fn park_sidecar(
        &self,
        batch: &mut Batch,
        key: PartKey,
        folder: &str,
        name: &str,
    ) -> io::Result<Option<PathBuf>> {
        let fact = self.state.meta.sidecars.get(&key);
        let path = self.sidecar(folder, &format!("{name}.json"));
        let Some((fact, path)) = fact.zip(path) else {
            return Ok(None);
        };
        if fact.second
            && let Some(second) = naming::second_sidecar_name(name)
            && let Some(second) = self.sidecar(folder, &second)
            && is_unchanged(&second, fact.blake3)?
        {
            // What is left behind by a failure here is found by `ente-verify`.
            let _ = fs::remove_file(second);
        }
        if !file_at(&path)?.is_some_and(|metadata| metadata.is_file()) {
            return Ok(None);
        }
        let parked = Parked::Sidecar(key);
        self.park(batch, &path, parked).map(Some)
    }

    fn sidecar(&self, folder: &str, name: &str) -> Option<PathBuf> {
        let path = self.state.meta.sidecars_at().path(folder, name)?;
        Some(ente_common::layout::join(self.export.dir(), &path))
    }

    /// Whether a sidecar is as `ente-meta` wrote it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn is_sidecar_unchanged(&self, key: PartKey, path: &Path) -> io::Result<bool> {
        let fact = self.state.meta.sidecars.get(&key);
        fact.map_or(Ok(false), |fact| is_unchanged(path, fact.blake3))
    }

    /// Parks a part on its way out of the tree. Its sidecar goes along unless it stays for a successor of the part, or was edited and is the
    /// user's.
    ///
    /// # Errors
    /// When the file cannot be parked; it is then where it was.
    pub(crate) fn park_part(
        &self,
        batch: &mut Batch,
        placement: &Placement,
        index: usize,
        takes_sidecar: bool,
    ) -> io::Result<Leaving> {
        let key = (placement.collection, placement.file);
        let folder = self.folder(key.0);
        let part = &placement.parts[index];
        let of_part = (key.0, key.1, index);
        let takes_sidecar = takes_sidecar && self.may_take_sidecar(of_part, &folder, &part.name)?;
        let from = self.path(&folder, &part.name);
        let parked = Parked::Old(of_part, placement.version.unwrap_or_default());
        let parked = self.park(batch, &from, parked)?;
        let sidecar = match takes_sidecar {
            true => self.park_sidecar(batch, of_part, &folder, &part.name),
            false => Ok(None),
        };
        // The part stays where its sidecar does.
        let sidecar = sidecar.inspect_err(|_| drop(disk::move_new(&parked, &from)))?;
        let finding = self.state.broken((key.0, key.1), index);
        Ok(Leaving {
            index,
            parked,
            sidecar,
            is_damaged: finding.is_some_and(|finding| finding.class == DAMAGED),
        })
    }

    /// The sidecar of a part is not the user's: as it was written, or not there (then there may be a second one).
    fn may_take_sidecar(&self, key: PartKey, folder: &str, name: &str) -> io::Result<bool> {
        match self.sidecar(folder, &format!("{name}.json")) {
            Some(path) => Ok(file_at(&path)?.is_none() || self.is_sidecar_unchanged(key, &path)?),
            None => Ok(false),
        }
    }

    /// Sends the sidecar of a part that is no more out of the tree, as if it left with the part.
    ///
    /// # Errors
    /// When it cannot be parked; it is then where it was.
    pub(crate) fn discard_sidecar(
        &self,
        batch: &mut Batch,
        placement: &Placement,
        index: usize,
    ) -> io::Result<()> {
        let folder = self.folder(placement.collection);
        let name = &placement.parts[index].name;
        let key = (placement.collection, placement.file, index);
        if !self.may_take_sidecar(key, &folder, name)? {
            return Ok(());
        }
        match self.park_sidecar(batch, key, &folder, name)? {
            Some(parked) if self.settings.on_remove == OnRemove::Delete => {
                batch.drop_parked(parked);
            }
            Some(parked) => {
                let folder = format!("{}/{folder}/metadata", self.today);
                let name = self.free_in_trash(&folder, &format!("{name}.json"));
                batch.carry(parked, self.trash(&format!("{folder}/{name}")));
            }
            None => {}
        }
        Ok(())
    }

    /// Puts a part, and its sidecar, back from where they were parked. One that cannot go back waits for the next start.
    pub(crate) fn unpark_part(&self, placement: &Placement, leaving: Leaving) {
        let folder = self.folder(placement.collection);
        let name = &placement.parts[leaving.index].name;
        let _ = disk::move_new(&leaving.parked, &self.path(&folder, name));
        let sidecar = self.sidecar(&folder, &format!("{name}.json"));
        if let Some((parked, place)) = leaving.sidecar.zip(sidecar) {
            let _ = disk::move_new(&parked, &place);
        }
    }

    /// Sends a parked part, and its sidecar, out of the tree: to the trash, or away for good where that is wanted and the account does not have
    /// the very content.
    pub(crate) fn discard(
        &mut self,
        batch: &mut Batch,
        placement: &Placement,
        why: Why,
        leaving: Leaving,
    ) {
        let Leaving {
            index,
            parked,
            sidecar,
            is_damaged,
        } = leaving;
        if why == Why::Relinked {
            batch.drop_parked(parked);
            return;
        }
        let key = (placement.collection, placement.file);
        let may_go = || why == Why::Replaced || !self.is_needed(placement);
        if self.settings.on_remove == OnRemove::Delete && may_go() {
            batch.drop_parked(parked);
            let of_part = (key.0, key.1, index);
            match sidecar {
                Some(parked) if self.is_sidecar_unchanged(of_part, &parked).unwrap_or(false) => {
                    batch.drop_parked(parked);
                }
                Some(edited) => {
                    let album = self.folder(placement.collection);
                    self.carry_sidecar(batch, edited, &album, None);
                }
                None => {}
            }
            return;
        }
        let reason = if is_damaged { DAMAGED } else { why.as_str() };
        self.move_to_trash(batch, placement, index, reason, parked, sidecar);
    }

    /// Somewhere in the account is the very content of this placement, and it is not whole elsewhere as far as the facts tell.
    fn is_needed(&self, placement: &Placement) -> bool {
        let collections = self.state.pull.collections.keys();
        let mut keys = collections.map(|id| (*id, placement.file));
        keys.any(|key| {
            let listed = self.state.pull.files.get(&key);
            let is_other = key.0 != placement.collection;
            listed.is_some_and(|file| file.version == placement.version)
                && !(is_other && self.state.is_whole(key))
        })
    }

    /// Sends a parked part, and its sidecar, to the trash.
    pub(crate) fn move_to_trash(
        &mut self,
        batch: &mut Batch,
        placement: &Placement,
        index: usize,
        reason: &str,
        parked: PathBuf,
        sidecar: Option<PathBuf>,
    ) {
        let part = &placement.parts[index];
        let mut album = self.folder(placement.collection);
        if album.is_empty() {
            album = placement.collection.to_string();
        }
        let folder = format!("{}/{album}", self.today);
        let name = self.free_in_trash(&folder, &part.name);
        let path = format!("{folder}/{name}");
        let fact = Trash {
            path: path.clone(),
            collection: placement.collection,
            file: placement.file,
            part: index,
            of: placement.parts.len(),
            version: placement.version,
            size: part.size,
            blake3: part.blake3,
            hash: part.hash,
            mtime: part.mtime,
            reason: reason.to_owned(),
            gone: false,
        };
        batch.carry(parked, self.trash(&path));
        if let Some(parked) = sidecar {
            let name = self.free_in_trash(&format!("{folder}/metadata"), &format!("{name}.json"));
            batch.carry(parked, self.trash(&format!("{folder}/metadata/{name}")));
        }
        self.stage(batch, DecryptFact::Trash(fact));
    }

    /// A name that nothing in a folder of the trash has.
    fn free_in_trash(&self, folder: &str, name: &str) -> String {
        let is_free = |name: &str| {
            let path = format!("{folder}/{name}");
            !self.state.decrypt.trash.contains_key(&path)
                && fs::symlink_metadata(self.trash(&path)).is_err()
        };
        let safe = naming::safe_name(name, 0);
        let numbered = |number: u64| format!("{}_{number}{}", safe.stem, safe.ext);
        let mut candidates = std::iter::once(name.to_owned()).chain((1..).map(numbered));
        candidates
            .find(|name| is_free(name))
            .expect("there are more numbers than files")
    }

    /// Gives files their place: records where they will be and sends them there with the batch. Where something of the user's is in the way,
    /// the placement takes the next free name.
    ///
    /// False, and the parts are left to the caller, where the album's folder cannot be had.
    pub(crate) fn arrive(&mut self, batch: &mut Batch, arrival: &Arrival, name: Name) -> bool {
        let Arrival { key, parts, .. } = arrival;
        let folder = self.folder(key.0);
        let dir = match batch.folder_under_way(key.0) {
            Some(parked) => parked.to_owned(),
            None if !self.album(&folder).is_open() => return false,
            None => match disk::make_dir_below(self.export.dir(), &folder) {
                Ok(dir) => dir,
                Err(error) => {
                    self.problems.push(Problem {
                        class: "io".into(),
                        collection: Some(key.0),
                        path: Some(folder),
                        cause: error.to_string(),
                        hint: "see who may write there, then run the same command again".into(),
                        ..problem()
                    });
                    return false;
                }
            },
        };
        let extensions: Vec<&str> = parts.iter().map(|(part, _)| part.name.as_str()).collect();
        let names_under = |name: &str, live| {
            part_names(name, live, extensions.iter().copied())
                .unwrap_or_else(|| extensions.iter().map(|name| (*name).to_owned()).collect())
        };
        let home = self.export.dir().join(&folder);
        let is_taken = |name: &str| {
            fs::symlink_metadata(dir.join(name)).is_ok() || batch.is_bound(&home.join(name))
        };
        let mut name = name;
        let mut wanted = names_under(&name.name, name.live).into_iter().zip(parts);
        // What is there already, or is the very same, is in nobody's way.
        let is_blocked = wanted.any(|(name, (part, at))| {
            *at != home.join(&name) && is_taken(&name) && self.seen_at(key.0, &name, part).is_none()
        });
        if is_blocked {
            name.name = self.next_free(*key, &name, |candidate| {
                let names = names_under(candidate, name.live);
                names.iter().any(|name| is_taken(name))
            });
            self.evaded.insert(*key);
        }
        let mut placement = self.placement(*key);
        let named = names_under(&name.name, name.live);
        name.apply(&mut placement);
        placement.version = arrival.version;
        placement.n = arrival.n;
        placement.parts.clear();
        for ((part, at), named) in parts.iter().zip(named) {
            let to = self.path(&folder, &named);
            let mut part = part.clone();
            if *at != to {
                match self.seen_at(key.0, &named, &part) {
                    // The same lies there, and was offered: it need not be replaced.
                    Some(seen) => {
                        // One that cannot be dated keeps its own time.
                        part.mtime = batch
                            .date(&to, seen.mtime, part.mtime)
                            .unwrap_or(seen.mtime);
                        part.how = How::Adopted;
                        batch.drop_parked(at.clone());
                    }
                    None => batch.carry(at.clone(), to),
                }
            }
            part.name = named;
            placement.parts.push(part);
        }
        let names: Vec<String> = placement
            .parts
            .iter()
            .map(|part| part.name.clone())
            .collect();
        for (index, parked) in &arrival.sidecars {
            let name = names.get(*index).map(String::as_str);
            self.carry_sidecar(batch, parked.clone(), &folder, name);
        }
        self.did.insert(*key, arrival.did);
        self.stage(batch, DecryptFact::Placement(placement));
        true
    }

    /// Sends a parked sidecar to its part; to the trash where the part is no more or something lies there already.
    pub(crate) fn carry_sidecar(
        &self,
        batch: &mut Batch,
        parked: PathBuf,
        folder: &str,
        part: Option<&str>,
    ) {
        let name = format!("{}.json", part.unwrap_or("sidecar"));
        let beside = part.and_then(|_| self.sidecar(folder, &name));
        // In a folder that is under way nobody can be in the way.
        let to = beside.filter(|to| fs::symlink_metadata(to).is_err());
        let to = to.unwrap_or_else(|| {
            let folder = format!("{}/{folder}/metadata", self.today);
            let name = self.free_in_trash(&folder, &name);
            self.trash(&format!("{folder}/{name}"))
        });
        batch.carry(parked, to);
    }

    /// The next name that is free both by the names given and on disk.
    fn next_free(
        &mut self,
        key: PlacementKey,
        name: &Name,
        is_taken: impl Fn(&str) -> bool,
    ) -> String {
        let (state, name_bytes) = (&self.state, self.settings.name_bytes);
        let folder = self.names.entry(key.0).or_insert_with(|| {
            let mut folder = naming::Folder::new(name_bytes);
            for file in state.pull.files_in(key.0) {
                if let Some(other) = state.decrypt.placements.get(&(key.0, file.id)) {
                    folder.claim_exact(&other.name, kind(other.live));
                }
            }
            folder
        });
        folder.release(&name.name, kind(name.live));
        // Any extension marks where the stem of a live photo ends.
        let title = if name.live {
            format!("{}.jpg", name.name)
        } else {
            name.name.clone()
        };
        folder.claim_unless(&title, kind(name.live), key.1, is_taken)
    }
}

fn is_unchanged(path: &Path, blake3: Option<Hash>) -> io::Result<bool> {
    // Sidecars are small; anything else is not one of ours.
    const MAX_SIDECAR_BYTES: u64 = 1 << 20;
    match file_at(path)? {
        Some(metadata) if metadata.is_file() && metadata.len() <= MAX_SIDECAR_BYTES => {
            Ok(Some(blake3::hash(&fs::read(path)?)) == blake3)
        }
        _ => Ok(false),
    }
}

/// What is at a path; none where nothing is.
fn file_at(path: &Path) -> io::Result<Option<fs::Metadata>> {
    use io::ErrorKind as Kind;
    match fs::symlink_metadata(path) {
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::NotADirectory) => Ok(None),
        metadata => metadata.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use ente_common::manifest::facts::Folder;

    use super::*;
    use crate::testing::tree;

    #[test]
    fn two_that_give_way_in_one_batch_do_not_meet() {
        let home = tempfile::tempdir().unwrap();
        let mut tree = tree(home.path());
        tree.state.decrypt.apply(DecryptFact::Folder(Folder {
            collection: 1,
            name: "A".into(),
            ..Folder::default()
        }));
        fs::create_dir(home.path().join("A")).unwrap();
        fs::write(home.path().join("A/x.jpg"), "the user's").unwrap();
        let mut batch = Batch::default();
        // The second is to have the name that the first takes because of the user's file.
        for (file, name) in [(7, "x.jpg"), (8, "x_1.jpg")] {
            let parked = tree
                .export
                .parked(Parked::Old((1, file, 0), Version::default()));
            fs::write(&parked, name).unwrap();
            let part = Part {
                name: name.into(),
                ..Part::default()
            };
            let arrival = Arrival {
                key: (1, file),
                version: None,
                n: 1,
                parts: vec![(part, parked)],
                sidecars: Vec::new(),
                did: Did::Moved,
            };
            let name = Name {
                name: name.into(),
                ..Name::default()
            };
            assert!(tree.arrive(&mut batch, &arrival, name));
        }
        tree.commit(batch).unwrap();
        assert!(tree.problems.is_empty(), "{:?}", tree.problems);
        for (file, content) in [(7, "x.jpg"), (8, "x_1.jpg")] {
            let path = tree.state.decrypt.path((1, file), 0).unwrap();
            assert_eq!(
                fs::read(home.path().join(path)).unwrap(),
                content.as_bytes()
            );
        }
        assert_eq!(
            fs::read(home.path().join("A/x.jpg")).unwrap(),
            b"the user's"
        );
    }
}
