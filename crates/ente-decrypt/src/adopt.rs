//! Content that `ente-verify --adopt` found on this machine: files of the tree are renamed in place, those elsewhere are copied and stay.
//!
//! Files of the tree are planned like everything that needs no content to be made, and looked at by size and time before they are taken, as all
//! that is moved is; one under another time is read, and counts if it has the recorded BLAKE3. Copies are hashed again as they are made.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use ente_common::digest::ContentHash;
use ente_common::disk;
use ente_common::exit::Failure;
use ente_common::layout::join;
use ente_common::manifest::adoption::Adoptable;
use ente_common::manifest::facts::{Adopted, How, Part, Verdict};
use ente_common::manifest::{ContentKey, Export, Parked, PlacementKey, State};
use ente_common::model::FileType;

use crate::batch::Batch;
use crate::desired::Desired;
use crate::moves::Arrival;
use crate::open::{Library, Open};
use crate::plan::{Fate, Siblings, Source, Structure, lacks, part_names, source};
use crate::run::Run;
use crate::tree::{Did, Tree};

/// Files of the tree that become those of a placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Adoption {
    /// The placement.
    pub to: PlacementKey,
    /// Paths below the export, in order of the parts.
    pub paths: Vec<PathBuf>,
}

/// What was adopted, is still there, and is content that some placement lacks.
fn adoptable(state: &State, desired: &Desired, export: &Export) -> Adoptable {
    if state.verify.adopted.is_empty() {
        return Adoptable::default();
    }
    let keys = state.pull.files.keys();
    let lacking = keys.filter_map(|key| Some((key.1, lacks(state, desired, *key)?)));
    state.adoptable(&lacking.collect(), |adopted| export.has_adopted(adopted))
}

/// Plans which files of the tree serve which placements: first those that lie where they belong, then those in the right album folder; from
/// elsewhere in the tree only for content that nobody would have otherwise, since a stray copy is the user's own.
fn adoptions(
    state: &State,
    desired: &Desired,
    plan: &Structure,
    siblings: &Siblings,
    adoptable: &Adoptable,
) -> Vec<Adoption> {
    if adoptable.is_empty() {
        return Vec::new();
    }
    let mut served: HashSet<PlacementKey> = plan.restores.iter().map(|it| it.to).collect();
    served.extend(plan.steps.iter().filter_map(|step| match step.fate {
        Fate::Move(to) => Some(to),
        _ => None,
    }));
    let mut lacking: BTreeMap<PlacementKey, ContentKey> = BTreeMap::new();
    for &key in state.pull.files.keys().filter(|key| !served.contains(key)) {
        if let Some(version) = lacks(state, desired, key) {
            lacking.insert(key, (key.1, version));
        }
    }
    let mut used = HashSet::new();
    let mut adoptions = Vec::new();
    let mut held: HashSet<ContentKey> = HashSet::new();
    for pass in [Pass::Place, Pass::Album, Pass::Tree] {
        lacking.retain(|&to, &mut content| {
            let is_held = || {
                held.contains(&content)
                    || source(state, content, siblings.of(content.0)) != Source::Nowhere
            };
            if pass == Pass::Tree && is_held() {
                return true;
            }
            let Some(taken) = adoptable.take(content, &mut used, |_, path| {
                pass.fits(state, desired, to, path)
            }) else {
                return true;
            };
            held.insert(content);
            let paths = taken.iter().map(|adopted| adopted.path.clone()).collect();
            adoptions.push(Adoption { to, paths });
            false
        });
    }
    adoptions
}

/// The digests that the owner's device left of each part, as the keys open them.
pub(crate) fn owners_digests(open: &Open) -> Vec<[u8; 64]> {
    let metadata = &open.file.metadata;
    let hash: Option<ContentHash> = metadata.hash.as_ref().and_then(|hash| hash.parse().ok());
    let is_live = metadata.file_type == FileType::LivePhoto;
    hash.map_or_else(Vec::new, |hash| hash.parts(is_live))
}

/// The facts say of these files what the owner's device said of the content: who forges facts does not choose what is exported.
fn is_owners(library: &mut Library, state: &State, adoption: &Adoption) -> bool {
    let Ok(open) = library
        .sealed(state, adoption.to)
        .and_then(|sealed| sealed.open())
    else {
        return false;
    };
    let facts = adoption.paths.iter().map(|path| {
        let adopted = state.verify.adopted.get(path)?;
        adopted.hash
    });
    owners_digests(&open).into_iter().map(Some).eq(facts)
}

/// How near to its place a file lies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Place,
    Album,
    Tree,
}

impl Pass {
    fn fits(self, state: &State, desired: &Desired, to: PlacementKey, path: &Path) -> bool {
        let (Some(folder), Some(name)) = (desired.folder(state, to.0), desired.name(state, to))
        else {
            return false;
        };
        let file = path.file_name().and_then(|name| name.to_str());
        match self {
            Self::Place => {
                let names =
                    file.and_then(|file| part_names(&name.name, name.live, [file].into_iter()));
                names.is_some_and(|names| path == Path::new(folder).join(&names[0]))
            }
            Self::Album => path.parent() == Some(Path::new(folder)),
            Self::Tree => true,
        }
    }
}

/// What is known of an adopted file, as a part of a placement.
pub(crate) fn part_of(adopted: &Adopted) -> Part {
    let name = adopted.path.file_name().unwrap_or_default();
    Part {
        name: name.to_string_lossy().into_owned(),
        size: adopted.size,
        blake3: adopted.blake3,
        mtime: adopted.mtime,
        hash: adopted.hash,
        how: How::Adopted,
    }
}

impl Run<'_> {
    /// Finds what lies here already, and plans what becomes of files of the tree.
    pub(crate) fn survey_adoptions(&mut self, state: &State) {
        self.adoptable = adoptable(state, &self.desired, &self.tree.export);
        let adoptions = adoptions(
            state,
            &self.desired,
            &self.steps,
            &self.siblings,
            &self.adoptable,
        );
        let library = &mut self.library;
        (self.steps.adoptions, self.forged) = adoptions
            .into_iter()
            .partition(|adoption| is_owners(library, state, adoption));
        let adopted: Vec<_> = self.steps.adoptions.iter().map(|it| it.to).collect();
        self.steps.make_room(state, adopted);
        // What is at hand in another way needs no verdict.
        let siblings = &self.siblings;
        self.forged.retain(|Adoption { to, .. }| {
            let version = state.pull.files.get(to).and_then(|file| file.version);
            version.is_some_and(|version| {
                source(state, (to.1, version), siblings.of(to.1)) == Source::Nowhere
            })
        });
    }

    /// Content that the facts wrongly hold to be here is to be fetched: a verdict tells `ente-pull`.
    pub(crate) fn refuse_forged(&mut self) -> Result<(), Failure> {
        if self.forged.is_empty() {
            return Ok(());
        }
        self.begin_writing()?;
        let forged = std::mem::take(&mut self.forged);
        let mut batch = Batch::default();
        for adoption in forged {
            let (collection, id) = adoption.to;
            let listed = self.tree.state.pull.files.get(&adoption.to);
            let Some(version) = listed.and_then(|file| file.version) else {
                continue;
            };
            let verdict = Verdict {
                id,
                version,
                class: "damaged".into(),
                cause: "what was adopted for it is not what the owner's device uploaded".into(),
                ..Verdict::default()
            };
            let content = (id, version);
            self.pool.told.insert(content);
            self.tree
                .judge(&mut batch, content, collection, verdict, None)?;
        }
        self.tree.commit(batch)
    }
}

impl Tree {
    /// Takes files of the tree over. Those that do not lie where they belong are parked.
    pub(crate) fn adopt(
        &mut self,
        batch: &mut Batch,
        desired: &Desired,
        adoption: &Adoption,
    ) -> Option<Arrival> {
        let key = adoption.to;
        let version = self.state.pull.files.get(&key)?.version;
        let name = desired.name(&self.state, key)?;
        let folder = desired.folder(&self.state, key.0)?.to_owned();
        if !self.album(&folder).is_open() {
            return None;
        }
        let files: Vec<Adopted> = adoption
            .paths
            .iter()
            .filter_map(|path| self.state.verify.adopted.get(path).cloned())
            .collect();
        if files.len() != adoption.paths.len()
            || !files.iter().all(|it| self.export.has_adopted(it))
        {
            return None;
        }
        let mut parts: Vec<(Part, PathBuf)> = Vec::new();
        for adopted in &files {
            let at = self.export.dir().join(&adopted.path);
            let mtime = disk::mtime_us(&fs::symlink_metadata(&at).ok()?);
            let part = part_of(adopted);
            parts.push((Part { mtime, ..part }, at));
        }
        let names = parts.iter().map(|(part, _)| part.name.as_str());
        let names = part_names(&name.name, name.live, names.collect::<Vec<_>>().into_iter())?;
        let home = self.export.dir().join(&folder);
        let stays = parts
            .iter()
            .zip(&names)
            .all(|((_, at), name)| *at == home.join(name));
        let time = self.settings.mtime.pick(name.taken, name.modified);
        for index in 0..parts.len() {
            let (part, at) = &mut parts[index];
            let parked = match stays {
                true => Ok(at.clone()),
                false => self.park(
                    batch,
                    at,
                    Parked::Old((key.0, key.1, index), version.unwrap_or_default()),
                ),
            };
            let dated = parked.and_then(|parked| {
                *at = parked;
                part.mtime = time.map_or(Ok(part.mtime), |us| batch.date(at, part.mtime, us))?;
                Ok(())
            });
            if let Err(error) = dated {
                let left = files.iter().map(|it| self.export.dir().join(&it.path));
                let left: Vec<PathBuf> = left.collect();
                self.cannot_move(key, &left[index], &error);
                for ((_, parked), left) in parts.iter().zip(&left).filter(|((_, at), it)| at != *it)
                {
                    let _ = disk::move_new(parked, left);
                }
                return None;
            }
            if stays {
                continue;
            }
            if let Some(left) = files[index].path.parent().and_then(Path::to_str)
                && !left.is_empty()
            {
                Self::thins(batch, left);
            }
        }
        Some(Arrival {
            key,
            version,
            n: self.placement(key).n + 1,
            parts,
            sidecars: Vec::new(),
            did: Did::Adopted,
        })
    }

    /// Files that were to be taken over go back to where they were, with the time that they had. What cannot, waits for the next start.
    pub(crate) fn give_back(&self, batch: &mut Batch, arrival: &Arrival, adoption: &Adoption) {
        for ((part, parked), path) in arrival.parts.iter().zip(&adoption.paths) {
            let from = self.export.dir().join(path);
            if *parked != from && disk::move_new(parked, &from).is_err() {
                continue;
            }
            if let Some(adopted) = self.state.verify.adopted.get(path) {
                let _ = batch.date(&from, part.mtime, adopted.mtime);
            }
        }
    }

    /// Where in the tree a parked file lay before it was adopted, if nothing lies there now.
    pub(crate) fn adopted_from(&self, file: i64, index: usize, parked: &Path) -> Option<PathBuf> {
        let size = fs::symlink_metadata(parked).ok()?.len();
        let is_it = |it: &&Adopted| {
            it.path.is_relative()
                && it.size == size
                && it.of.iter().any(|of| (of.id, of.part) == (file, index))
        };
        let adopted = self.state.verify.adopted.values().filter(is_it);
        let mut paths = adopted.map(|it| self.export.dir().join(&it.path));
        paths.find(|path| fs::symlink_metadata(path).is_err())
    }

    /// The user's own file of this name in an album's folder, if it was shown to `--adopt` and is the very content of `part`.
    pub(crate) fn seen_at(&self, collection: i64, name: &str, part: &Part) -> Option<Adopted> {
        let folder = self.folder(collection);
        let path = Path::new(&folder).join(name);
        let seen = self.state.is_seen(&path, part.size, part.blake3)?;
        let album = (collection, i64::MIN)..=(collection, i64::MAX);
        let mut placements = self.state.decrypt.placements.range(album);
        if placements.any(|(_, it)| it.parts.iter().any(|part| part.name == name)) {
            return None;
        }
        let at = join(self.export.dir(), &format!("{folder}/{name}"));
        disk::is_as_recorded(&at, seen.size, seen.mtime).then(|| seen.clone())
    }
}
