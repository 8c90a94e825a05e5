//! Does the steps that need no content to be made, in one batch: everything that leaves its place is parked, the facts are committed, everything
//! goes where it belongs. So swaps and cycles need no order, and names and moves become true together.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use ente_common::disk;
use ente_common::exit::Failure;
use ente_common::id::Version;
use ente_common::manifest::facts::{DecryptFact, Folder, How, Part, Placement, Trash};
use ente_common::manifest::setting::OnRemove;
use ente_common::manifest::{ContentKey, Parked, PartKey, PlacementKey};
use ente_common::naming::{self, Kind};
use ente_common::record::Problem;

use crate::adopt::Adoption;
use crate::batch::Batch;
use crate::content::blake3_of;
use crate::desired::{Desired, Name};
use crate::moves::{Arrival, Why};
use crate::plan::{Fate, FolderRename, Restore, Step, Structure};
use crate::tree::{Album, Did, Look, Tree, problem};

/// What became of a step.
enum Departure {
    /// The files are parked on their way.
    Goes(Arrival),
    /// There is nothing more to do about it, but to commit.
    Done,
    /// The files are where and as they were; what was in the way is a problem.
    Failed,
}

impl Tree {
    /// Commits the names and does the steps of `plan`.
    ///
    /// # Errors
    /// When something cannot be written; the next start finishes or undoes what was under way.
    pub(crate) fn restructure(
        &mut self,
        desired: &Desired,
        plan: &Structure,
    ) -> Result<(), Failure> {
        let mut batch = Batch::default();
        let mut arrivals = Vec::new();
        let mut placements = self.state.decrypt.placements.values();
        let mut are_dated = plan.is_whole || placements.all(|placement| placement.parts.is_empty());
        for step in &plan.steps {
            match self.depart(&mut batch, desired, step) {
                Departure::Goes(arrival) => arrivals.push(arrival),
                Departure::Done => {}
                Departure::Failed => are_dated = false,
            }
        }
        for restore in &plan.restores {
            arrivals.extend(self.take_back(&mut batch, desired, restore));
        }
        for adoption in &plan.adoptions {
            arrivals.extend(self.adopt(&mut batch, desired, adoption));
        }
        if !plan.folders.is_empty() {
            batch.sync_dates()?;
            self.sync_parked(&batch)?;
        }
        let folders = self.rename_folders(&mut batch, desired, &plan.folders, &mut arrivals);
        for folder in folders {
            self.stage(&mut batch, DecryptFact::Folder(folder));
        }
        self.name(&mut batch, desired, plan, &arrivals);
        for arrival in arrivals {
            let name = desired.name(&self.state, arrival.key).unwrap_or_default();
            if self.arrive(&mut batch, &arrival, name) {
                continue;
            }
            let is_of = |adoption: &&Adoption| adoption.to == arrival.key;
            match plan.adoptions.iter().find(is_of) {
                Some(adoption) if arrival.did == Did::Adopted => {
                    self.give_back(&mut batch, &arrival, adoption);
                }
                _ => self.turn_away(&mut batch, arrival),
            }
        }
        self.drop_folders(&mut batch);
        for fact in self.settings.take_news(are_dated) {
            self.stage(&mut batch, fact);
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.commit(batch)
    }

    /// Parks, dates, discards or lets go of the files of one placement.
    fn depart(&mut self, batch: &mut Batch, desired: &Desired, step: &Step) -> Departure {
        let placement = self.placement(step.key);
        let looks = match step.fate {
            // Whatever lies there.
            Fate::Forget => Ok(Vec::new()),
            _ => self.look_at(&placement, step),
        };
        let looks = match looks {
            Ok(looks) => looks,
            Err(departure) => return departure,
        };
        let is_ours = looks.iter().all(|look| *look == Look::Ours);
        let is_done = match step.fate {
            Fate::Stay => self.stay(batch, desired, placement, step.mtime.filter(|_| is_ours)),
            Fate::Rename | Fate::Move(_) if is_ours => {
                let Some(arrival) = self.park_parts(batch, &placement, step) else {
                    return Departure::Failed;
                };
                if let Fate::Move(_) = step.fate {
                    self.did.insert(step.key, Did::Moved);
                    self.stage_gone(batch, step.key);
                }
                return Departure::Goes(arrival);
            }
            Fate::Rename => self.let_go(batch, &placement, &looks, Why::Renamed),
            Fate::Displace => self.let_go(batch, &placement, &looks, Why::Displaced),
            Fate::Move(_) | Fate::Remove => {
                let did = match self.settings.on_remove {
                    OnRemove::Delete => Did::Deleted,
                    _ => Did::Trashed,
                };
                let is_gone = self.let_go(batch, &placement, &looks, Why::Removed);
                if is_gone {
                    self.did.insert(step.key, did);
                    self.stage_gone(batch, step.key);
                }
                is_gone
            }
            Fate::Forget => {
                self.stage_gone(batch, step.key);
                true
            }
        };
        if is_done {
            Departure::Done
        } else {
            Departure::Failed
        }
    }

    /// Looks at the files of a placement; where nothing can be done to them, that is what becomes of the step.
    fn look_at(&mut self, placement: &Placement, step: &Step) -> Result<Vec<Look>, Departure> {
        match self.album(&self.folder(step.key.0)) {
            Album::Real | Album::Absent => {
                self.seen(placement, step.mtime).ok_or(Departure::Failed)
            }
            // What lies behind a link is not ours to date.
            Album::Foreign => Err(Departure::Done),
            Album::Unseen => Err(Departure::Failed),
        }
    }

    /// Dates the files of a placement where they are, and records what it is called; false where one cannot be dated.
    fn stay(
        &mut self,
        batch: &mut Batch,
        desired: &Desired,
        mut placement: Placement,
        mtime: Option<i64>,
    ) -> bool {
        let key = (placement.collection, placement.file);
        if let Some(us) = mtime {
            let folder = self.folder(key.0);
            for part in &mut placement.parts {
                let path = self.path(&folder, &part.name);
                match batch.date(&path, part.mtime, us) {
                    Ok(time) => part.mtime = time,
                    Err(error) => {
                        self.cannot_move(key, &path, &error);
                        return false;
                    }
                }
            }
        }
        if let Some(name) = desired.name(&self.state, key) {
            name.apply(&mut placement);
        }
        if placement != self.placement(key) {
            self.stage(batch, DecryptFact::Placement(placement));
        }
        true
    }

    /// Parks all parts of a placement with their sidecars, on their way to another name or album.
    fn park_parts(
        &mut self,
        batch: &mut Batch,
        placement: &Placement,
        step: &Step,
    ) -> Option<Arrival> {
        let to = match step.fate {
            Fate::Move(to) => to,
            _ => step.key,
        };
        let folder = self.folder(step.key.0);
        let mut parts = Vec::new();
        let mut sidecars = Vec::new();
        for (index, part) in placement.parts.iter().enumerate() {
            let from = self.path(&folder, &part.name);
            let name = Parked::Old(
                (step.key.0, step.key.1, index),
                placement.version.unwrap_or_default(),
            );
            let key: PartKey = (step.key.0, step.key.1, index);
            // Dated where it is parked: in its place it would no longer be what the fact says.
            let parked = self.park(batch, &from, name);
            let sidecar = parked.and_then(|parked| {
                let dated = step.mtime.map(|us| batch.date(&parked, part.mtime, us));
                parts.push((part.clone(), parked));
                if let (Some(time), Some((part, _))) = (dated, parts.last_mut()) {
                    part.mtime = time?;
                }
                self.park_sidecar(batch, key, &folder, &part.name)
            });
            match sidecar {
                // In another album it says something else: `ente-meta` writes that one. What somebody edited goes along.
                Ok(Some(parked))
                    if to != step.key
                        && self.is_sidecar_unchanged(key, &parked).unwrap_or(false) =>
                {
                    batch.drop_parked(parked);
                }
                Ok(Some(parked)) => sidecars.push((index, parked)),
                Ok(None) => {}
                Err(error) => {
                    self.cannot_move(step.key, &from, &error);
                    // A live photo moves whole or not at all, and no part without its sidecar.
                    for (part, parked) in parts {
                        let _ = disk::move_new(&parked, &self.path(&folder, &part.name));
                    }
                    return None;
                }
            }
        }
        Tree::thins(batch, &folder);
        let stays = to == step.key;
        Some(Arrival {
            key: to,
            version: placement.version,
            n: if stays {
                placement.n
            } else {
                self.placement(to).n + 1
            },
            parts,
            sidecars,
            did: Did::Moved,
        })
    }

    pub(crate) fn cannot_move(&mut self, key: PlacementKey, path: &Path, error: &std::io::Error) {
        let path = path.strip_prefix(self.export.dir()).unwrap_or(path);
        self.problems.push(Problem {
            class: "io".into(),
            file: Some(key.1),
            collection: Some(key.0),
            path: Some(path.display().to_string()),
            cause: error.to_string(),
            hint: "see who may write there, then run the same command again".into(),
            ..problem()
        });
    }

    /// Ends what a placement has on disk: what is ours goes out of the tree, what the user changed stays and is no longer ours. False where
    /// something of ours could not be moved, or lies behind a link; nothing is recorded then.
    pub(crate) fn let_go(
        &mut self,
        batch: &mut Batch,
        placement: &Placement,
        looks: &[Look],
        why: Why,
    ) -> bool {
        let key = (placement.collection, placement.file);
        let folder = self.folder(key.0);
        if !self.album(&folder).is_open() {
            return false;
        }
        let mut leaving = Vec::new();
        for (index, look) in looks.iter().enumerate() {
            let part = &placement.parts[index];
            let parked = match look {
                Look::Ours => {
                    let parked = self.park_part(batch, placement, index, why.takes_sidecars());
                    parked.map(|parked| leaving.push(parked))
                }
                Look::Theirs => {
                    self.problems.push(Problem {
                        class: "modified".into(),
                        file: Some(key.1),
                        collection: Some(key.0),
                        version: placement.version,
                        path: Some(format!("{folder}/{}", part.name)),
                        cause: "the file was changed since it was exported; it stays where it is and belongs to you now".into(),
                        hint: "nothing has to be done; what the account has comes under another name".into(),
                        ..problem()
                    });
                    Ok(())
                }
                Look::Missing if why.takes_sidecars() => {
                    self.discard_sidecar(batch, placement, index)
                }
                Look::Missing => Ok(()),
            };
            if let Err(error) = parked {
                let path = format!("{folder}/{}", part.name);
                self.cannot_move(key, path.as_ref(), &error);
                // A live photo goes whole or not at all.
                for parked in leaving {
                    self.unpark_part(placement, parked);
                }
                return false;
            }
        }
        Tree::thins(batch, &folder);
        for parked in leaving {
            self.discard(batch, placement, why, parked);
        }
        let mut bare = self.placement(key);
        bare.parts.clear();
        bare.version = None;
        self.stage(batch, DecryptFact::Placement(bare));
        true
    }

    /// Parks files of the trash that come back.
    fn take_back(
        &mut self,
        batch: &mut Batch,
        desired: &Desired,
        restore: &Restore,
    ) -> Option<Arrival> {
        // Where an album is not renamed because its folder cannot be had, that is where its files go.
        let wanted = desired.folder(&self.state, restore.to.0);
        let folders = [
            wanted.unwrap_or_default().to_owned(),
            self.folder(restore.to.0),
        ];
        if folders.iter().any(|folder| !self.album(folder).is_open()) {
            return None;
        }
        let facts: Vec<Trash> = restore
            .paths
            .iter()
            .filter_map(|path| self.state.decrypt.trash.get(path).cloned())
            .collect();
        let part = |trash: &Trash| Part {
            name: trash.path.rsplit('/').next().unwrap_or_default().to_owned(),
            size: trash.size,
            blake3: trash.blake3,
            mtime: trash.mtime,
            hash: trash.hash,
            how: How::Restored,
        };
        let name = desired.name(&self.state, restore.to).unwrap_or_default();
        let time = self.settings.mtime.pick(name.taken, name.modified);
        // As a hard link to a file that stayed longer it may have been dated anew with that.
        let of_file = Placement {
            file: restore.to.1,
            ..Placement::default()
        };
        // What rotted here may have rotted there too, above all as a hard link to the same file.
        let is_broken = |index| self.state.broken(restore.to, index).is_some();
        let is_doubtful = (0..facts.len()).any(is_broken);
        let mut whole = true;
        for trash in &facts {
            let path = self.trash(&trash.path);
            let is_well = || -> io::Result<bool> {
                Ok(!is_doubtful || Some(blake3_of(File::open(&path)?)?) == trash.blake3)
            };
            let look = self.look(&path, &part(trash), &of_file, time);
            match look.and_then(|look| Ok(look == Look::Ours && is_well()?)) {
                Ok(true) => {}
                // Somebody cleared the trash or changed what lies there, or it rotted: it is no longer what we know.
                Ok(false) => {
                    whole = false;
                    self.stage_untrashed(batch, trash);
                }
                Err(error) => {
                    self.cannot_move(restore.to, &path, &error);
                    return None;
                }
            }
        }
        let version = facts.first()?.version;
        if !whole {
            // Another copy of it may lie there still.
            self.plans_anew = true;
            if !self.has_content((restore.to.1, version?)) {
                self.problems.push(trash_gone(restore.to, version?));
            }
        }
        let mut parts = Vec::new();
        let mut sidecars = Vec::new();
        for (index, trash) in facts.iter().enumerate().filter(|_| whole) {
            let from = self.trash(&trash.path);
            let parked = Parked::Old(
                (restore.to.0, restore.to.1, index),
                version.unwrap_or_default(),
            );
            let mut part = part(trash);
            // Dated where it is parked: in the trash it would no longer be what the fact says.
            let parked = self.park(batch, &from, parked).and_then(|parked| {
                part.mtime =
                    time.map_or(Ok(part.mtime), |us| batch.date(&parked, part.mtime, us))?;
                Ok(parked)
            });
            match parked {
                Ok(parked) => parts.push((part, parked)),
                Err(error) => {
                    self.cannot_move(restore.to, &from, &error);
                    return None;
                }
            }
            let key = (restore.to.0, restore.to.1, index);
            sidecars.extend(
                self.sidecar_back(batch, key, trash)
                    .map(|parked| (index, parked)),
            );
        }
        if whole {
            for trash in &facts {
                self.stage_untrashed(batch, trash);
            }
        }
        whole.then(|| Arrival {
            key: restore.to,
            version,
            n: self.placement(restore.to).n + 1,
            parts,
            sidecars,
            did: Did::Restored,
        })
    }

    /// Content is at hand as far as the facts tell: as an object, in another album or in the trash.
    fn has_content(&self, content: ContentKey) -> bool {
        let is_whole = |placement: &Placement| {
            placement.version == Some(content.1)
                && self.state.is_whole((placement.collection, placement.file))
        };
        let mut placements = self.state.decrypt.placements_of(content.0);
        self.state.object(content).is_some()
            || placements.any(is_whole)
            || self.state.trashed().contains_key(&content)
    }

    /// A sidecar comes back from the trash if `ente-meta` still holds it to be there.
    fn sidecar_back(&self, batch: &mut Batch, key: PartKey, trash: &Trash) -> Option<PathBuf> {
        let (folder, name) = trash.path.rsplit_once('/')?;
        let path = self.trash(&format!("{folder}/metadata/{name}.json"));
        if !self.is_sidecar_unchanged(key, &path).unwrap_or(false) {
            return None;
        }
        let parked = Parked::Sidecar(key);
        self.park(batch, &path, parked).ok()
    }

    /// Renames album folders: each as one, by way of `partial/`. Where a folder lies under the new name already, the files move there one by
    /// one. Tells the facts of all folders that have their new name then.
    fn rename_folders(
        &mut self,
        batch: &mut Batch,
        desired: &Desired,
        renames: &[FolderRename],
        arrivals: &mut Vec<Arrival>,
    ) -> Vec<Folder> {
        let mut facts: BTreeMap<i64, Folder> = desired.folders.clone();
        // One that failed before in this run is not among the renames any more.
        facts.retain(|id, folder| {
            let recorded = self.state.decrypt.folders.get(id);
            recorded.is_none_or(|recorded| recorded.name == folder.name)
                || renames.iter().any(|rename| rename.collection == *id)
        });
        if !renames.is_empty() {
            // What was emptied just now is in nobody's way.
            for collection in self.state.decrypt.folders.keys() {
                if !self.state.pull.collections.contains_key(collection) {
                    self.drop_if_empty(&self.folder(*collection));
                }
            }
        }
        let mut whole: Vec<&FolderRename> = Vec::new();
        for rename in renames {
            match self.album(&rename.from) {
                Album::Real => whole.push(rename),
                Album::Absent => {}
                // Paths below it keep saying where the files were.
                Album::Foreign | Album::Unseen => drop(facts.remove(&rename.collection)),
            }
        }
        loop {
            let leaving: Vec<String> = whole
                .iter()
                .map(|rename| rename.from.to_lowercase())
                .collect();
            let is_blocked = |rename: &&FolderRename| {
                fs::symlink_metadata(self.export.dir().join(&rename.to)).is_ok()
                    && !leaving.contains(&rename.to.to_lowercase())
            };
            let Some(at) = whole.iter().position(is_blocked) else {
                break;
            };
            let rename = whole.remove(at);
            if self.album(&rename.to) == Album::Real && !self.is_anothers(&facts, rename) {
                self.move_files(batch, rename.collection, arrivals);
            } else {
                facts.remove(&rename.collection);
            }
        }
        let mut parked = Vec::new();
        let mut staying = Vec::new();
        for rename in whole {
            match self.park_folder(batch, rename.collection, &rename.from) {
                Ok(()) => parked.push(rename),
                // Folders of a lower layer of an overlay do not move; their files do.
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                    self.move_files(batch, rename.collection, arrivals);
                }
                Err(error) => {
                    self.cannot_move((rename.collection, 0), rename.from.as_ref(), &error);
                    staying.push(rename);
                }
            }
            // It may have lost its last file just now.
            Tree::thins(batch, &rename.to);
        }
        // Where one stays, whoever was to have its name stays too.
        while let Some(rename) = staying.pop() {
            facts.remove(&rename.collection);
            let name = rename.from.to_lowercase();
            let is_next = |other: &&FolderRename| other.to.to_lowercase() == name;
            if let Some(at) = parked.iter().position(is_next) {
                let back = parked.remove(at);
                self.unpark_folder(batch, back.collection, &back.from);
                staying.push(back);
            }
        }
        // One whose own folder is not there moves without a step: not where another one stays.
        while let Some(rename) = renames.iter().find(|rename| {
            facts.contains_key(&rename.collection) && self.is_anothers(&facts, rename)
        }) {
            facts.remove(&rename.collection);
        }
        self.keep_apart(&mut facts);
        facts.into_values().collect()
    }

    /// The folder that an album is to have is that of another one, which keeps it.
    fn is_anothers(&self, facts: &BTreeMap<i64, Folder>, rename: &FolderRename) -> bool {
        let homes = self.homes(facts);
        let is_same = |home: &str| home.to_lowercase() == rename.to.to_lowercase();
        homes
            .into_iter()
            .any(|(id, home)| id != rename.collection && is_same(home))
    }

    /// The folders of live albums that have one, as they will be with these facts.
    fn homes<'a>(
        &'a self,
        facts: &'a BTreeMap<i64, Folder>,
    ) -> impl Iterator<Item = (i64, &'a str)> {
        let recorded = self.state.decrypt.folders.iter();
        let live = recorded.filter(|(id, _)| self.state.pull.collections.contains_key(id));
        live.map(|(id, folder)| (*id, &*facts.get(id).unwrap_or(folder).name))
    }

    /// Where an album keeps the name that a new one was to have, that takes the next free one.
    fn keep_apart(&self, facts: &mut BTreeMap<i64, Folder>) {
        let is_new = |id: &i64| !self.state.decrypt.folders.contains_key(id);
        let new: Vec<i64> = facts.keys().copied().filter(is_new).collect();
        if new.is_empty() {
            return;
        }
        let mut top = naming::Folder::new(self.settings.name_bytes);
        for (_, home) in self.homes(facts) {
            top.claim_exact(home, Kind::Album);
        }
        let (_, taken): (Vec<i64>, Vec<i64>) = new
            .into_iter()
            .partition(|id| top.claim_exact(&facts[id].name, Kind::Album));
        for id in taken {
            if let Some(folder) = facts.get_mut(&id) {
                folder.name = top.claim(&folder.name, Kind::Album, id);
            }
        }
    }

    /// Parks every file of an album that is still in its folder.
    fn move_files(&mut self, batch: &mut Batch, collection: i64, arrivals: &mut Vec<Arrival>) {
        let on_way: Vec<PlacementKey> = arrivals.iter().map(|arrival| arrival.key).collect();
        let placements = self.state.decrypt.placements_in(collection);
        let is_still_there =
            |it: &&Placement| !it.parts.is_empty() && !on_way.contains(&(collection, it.file));
        let placements: Vec<Placement> = placements.filter(is_still_there).cloned().collect();
        for placement in placements {
            let Some(looks) = self.seen(&placement, None) else {
                continue;
            };
            if looks.iter().all(|look| *look == Look::Ours) {
                let step = Step {
                    key: (collection, placement.file),
                    fate: Fate::Rename,
                    mtime: None,
                };
                arrivals.extend(self.park_parts(batch, &placement, &step));
            } else {
                self.let_go(batch, &placement, &looks, Why::Renamed);
            }
        }
    }

    /// Records the names of placements whose files stay where they are for now.
    fn name(
        &mut self,
        batch: &mut Batch,
        desired: &Desired,
        plan: &Structure,
        arrivals: &[Arrival],
    ) {
        let done: HashSet<PlacementKey> = arrivals
            .iter()
            .map(|arrival| arrival.key)
            .chain(
                plan.steps
                    .iter()
                    .filter(|step| step.fate == Fate::Stay)
                    .map(|step| step.key),
            )
            .collect();
        for (&key, name) in &desired.names {
            if done.contains(&key) || !self.state.pull.files.contains_key(&key) {
                continue;
            }
            let mut placement = self.placement(key);
            let mut name = name.clone();
            let times = |name: &Name| self.settings.mtime.pick(name.taken, name.modified);
            let old = Name::of(&placement);
            if !placement.parts.is_empty() && times(&name) != times(&old) {
                // Its files are still to be dated anew: until then it counts as changed.
                name = Name {
                    digest: old.digest,
                    taken: old.taken,
                    modified: old.modified,
                    ..name
                };
            }
            if Name::of(&placement) == name {
                continue;
            }
            name.apply(&mut placement);
            self.stage(batch, DecryptFact::Placement(placement));
        }
    }

    /// Files whose album has no folder that they could go to leave the tree, for the trash in any case: the account still has them.
    fn turn_away(&mut self, batch: &mut Batch, arrival: Arrival) {
        let placement = Placement {
            version: arrival.version,
            parts: arrival.parts.iter().map(|(part, _)| part.clone()).collect(),
            ..self.placement(arrival.key)
        };
        let mut sidecars: BTreeMap<usize, _> = arrival.sidecars.into_iter().collect();
        for (index, (_, parked)) in arrival.parts.into_iter().enumerate() {
            let sidecar = sidecars.remove(&index);
            self.move_to_trash(batch, &placement, index, "removed", parked, sidecar);
        }
        let mut bare = self.placement(arrival.key);
        bare.parts.clear();
        bare.version = None;
        self.did.insert(arrival.key, Did::Trashed);
        self.stage(batch, DecryptFact::Placement(bare));
    }

    /// Forgets the folders of collections that are gone and have no file left.
    fn drop_folders(&mut self, batch: &mut Batch) {
        let gone: Vec<i64> = self
            .state
            .decrypt
            .folders
            .keys()
            .copied()
            .filter(|id| {
                let mut left = self.state.decrypt.placements_in(*id);
                !self.state.pull.collections.contains_key(id) && left.next().is_none()
            })
            .collect();
        for collection in gone {
            let folder = Folder {
                collection,
                gone: true,
                ..Folder::default()
            };
            self.stage(batch, DecryptFact::Folder(folder));
        }
    }
}

/// Sets the modification time of a file; tells what the file system made of it, or `was` where it has no such times.
///
/// # Errors
/// When it should be possible to set it.
pub(crate) fn date(path: &Path, was: i64, us: i64) -> io::Result<i64> {
    use io::ErrorKind as Kind;
    let Some(time) = disk::system_time(us) else {
        return Ok(was);
    };
    let file = fs::File::options().write(true).open(path);
    // A file that nobody may write can be dated by its owner.
    let file = file.or_else(|_| fs::File::open(path))?;
    match file.set_modified(time) {
        Ok(()) => Ok(disk::mtime_us(&file.metadata()?)),
        Err(error)
            if matches!(
                error.kind(),
                Kind::InvalidInput | Kind::Unsupported | Kind::PermissionDenied
            ) =>
        {
            Ok(was)
        }
        Err(error) => Err(error),
    }
}

/// What was to come back from the trash is not there as it was put there: `ente-pull` fetches it in its next run.
fn trash_gone(key: PlacementKey, version: Version) -> Problem {
    Problem {
        class: "missing".into(),
        file: Some(key.1),
        collection: Some(key.0),
        version: Some(version),
        cause: "it was to come back from `.ente/trash`, and is not there as it was".into(),
        hint: "run the same commands again: `ente-pull` fetches it".into(),
        ..problem()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, File, version};

    /// A new date counts as given once nothing failed.
    #[test]
    fn what_cannot_be_looked_at_failed_and_what_is_no_folder_is_not_ours() {
        let long = "x".repeat(300).leak();
        for (folder, has_failed) in [("A", false), ("a file", false), (long, true)] {
            let dir = tempfile::tempdir().unwrap();
            let mut tree = testing::tree(&dir.path().join("Ente"));
            fs::write(tree.export.dir().join("a file"), "").unwrap();
            let albums = [testing::Album::new(
                1,
                "A",
                folder,
                &[File::new(7, "x", "x")],
            )];
            tree.state = testing::state(&albums, &albums);
            let step = Step {
                key: (1, 7),
                fate: Fate::Stay,
                mtime: Some(1_000_000),
            };
            let departure = tree.depart(&mut Batch::default(), &Desired::default(), &step);
            let failed = matches!(departure, Departure::Failed);
            assert_eq!(failed, has_failed, "{folder}: {:?}", tree.problems);
        }
    }

    #[test]
    fn a_live_photo_of_which_one_part_cannot_be_parked_stays_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut tree = testing::tree(&dir.path().join("Ente"));
        let albums = [testing::Album::new(
            1,
            "A",
            "A",
            &[File::new(7, "x", "x").live()],
        )];
        tree.state = testing::state(&albums, &albums);
        let album = tree.export.dir().join("A");
        fs::create_dir(&album).unwrap();
        for name in ["x.heic", "x.mov"] {
            fs::write(album.join(name), name).unwrap();
        }
        fs::create_dir(tree.export.parked(Parked::Old((1, 7, 1), version(1)))).unwrap();
        let mut batch = Batch::default();
        let placement = tree.placement((1, 7));
        let looks = [Look::Ours, Look::Ours];
        assert!(!tree.let_go(&mut batch, &placement, &looks, Why::Relinked));
        assert!(batch.is_empty() && tree.placement((1, 7)) == placement);
        for name in ["x.heic", "x.mov"] {
            assert!(album.join(name).is_file(), "{name}");
        }
    }
}
