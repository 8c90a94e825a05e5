//! The album tree and the facts about it, changed together.
//!
//! A change goes through a [`Batch`]: files are parked in `partial/` under names that say whose they are, the facts that tell where they belong
//! are written and synced, then the files go there. A start that finds something parked finishes or undoes the move (`recover`).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ente_common::disk;
use ente_common::exit::{Exit, Failure};
use ente_common::id::Version;
use ente_common::manifest::facts::{DecryptFact, Part, Placement, Trash};
use ente_common::manifest::{Export, Journal, Lock, PartKey, PlacementKey, State};
use ente_common::naming;
use ente_common::record::Problem;

use crate::desired::{Name, kind};
use crate::plan::part_names;
use crate::settings::{OnRemove, Settings};

/// What was done for a placement, as records say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    /// Its content was decrypted.
    Written,
    /// It had other content before.
    Replaced,
    /// It shares the content of another placement.
    Linked,
    /// It has another path.
    Moved,
    /// It came back from the trash.
    Restored,
    /// It went to the trash.
    Trashed,
    /// It was deleted.
    Deleted,
}

impl Did {
    /// As records spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Replaced => "replaced",
            Self::Linked => "linked",
            Self::Moved => "moved",
            Self::Restored => "restored",
            Self::Trashed => "trashed",
            Self::Deleted => "deleted",
        }
    }
}

/// What lies where a part is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The file that was written there.
    Ours,
    /// Something else, or the file changed: the user's.
    Theirs,
    /// Nothing.
    Missing,
}

/// What lies where an album folder is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Album {
    /// A folder.
    Real,
    /// Nothing.
    Absent,
    /// A link or a file: nothing below it is touched.
    Foreign,
}

/// Changes that are committed together.
#[derive(Debug, Default)]
pub struct Batch {
    facts: Vec<DecryptFact>,
    carries: Vec<Carry>,
    /// Where something will lie afterwards, in small letters.
    bound: HashSet<String>,
    /// Album folders under way, by collection: where each is parked.
    folders: BTreeMap<i64, PathBuf>,
    /// Folders that files left: synced before the facts.
    left: BTreeSet<PathBuf>,
    /// Album folders that may be empty afterwards.
    thinned: BTreeSet<String>,
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
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty() && self.carries.is_empty()
    }

    /// Sends a parked file on its way once the facts are safe.
    pub fn carry(&mut self, parked: PathBuf, to: PathBuf) {
        self.bound.insert(fold(&to));
        self.carries.push(Carry {
            parked,
            to: Some(to),
        });
    }

    /// Something will lie there once the batch is committed.
    fn is_bound(&self, path: &Path) -> bool {
        self.bound.contains(&fold(path))
    }

    /// Deletes a parked file once the facts are safe.
    pub fn drop_parked(&mut self, parked: PathBuf) {
        self.carries.push(Carry { parked, to: None });
    }
}

/// Files that become those of a placement.
#[derive(Debug)]
pub struct Arrival {
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

/// The tree of an export with its facts.
#[derive(Debug)]
pub struct Tree {
    /// The export.
    pub export: Export,
    /// All facts.
    pub state: State,
    /// What holds in this run.
    pub settings: Settings,
    /// What was done, until it was printed.
    pub did: HashMap<PlacementKey, Did>,
    /// What failed, until it was printed.
    pub problems: Vec<Problem>,
    writer: Option<(Journal, Lock)>,
    /// Folder of today's trash.
    today: String,
    /// Placements that took another name than they were to have, because something was in the way.
    pub evaded: HashSet<PlacementKey>,
    /// Names taken in the albums where something was in the way.
    names: HashMap<i64, naming::Folder>,
    foreign: HashSet<String>,
}

impl Tree {
    /// The tree as the facts have it; `today` names the folder of what goes to the trash.
    pub fn new(export: Export, state: State, settings: Settings, today: String) -> Self {
        Self {
            export,
            state,
            settings,
            did: HashMap::new(),
            problems: Vec::new(),
            writer: None,
            today,
            evaded: HashSet::new(),
            names: HashMap::new(),
            foreign: HashSet::new(),
        }
    }

    /// Facts can be written.
    pub fn is_writing(&self) -> bool {
        self.writer.is_some()
    }

    /// Takes the journal over.
    pub fn begin_writing(&mut self, journal: Journal, lock: Lock) {
        self.writer = Some((journal, lock));
    }

    /// Takes in newer facts, of a later listing or after the lock was waited for.
    pub fn reload(&mut self, state: State, settings: Settings) {
        self.state = state;
        self.settings = settings;
        self.evaded.clear();
        self.names.clear();
        self.foreign.clear();
    }

    fn journal(&mut self) -> &mut Journal {
        let (journal, _) = self
            .writer
            .as_mut()
            .expect("whoever changes the tree has taken the lock");
        journal
    }

    /// A path below `partial/`.
    pub fn partial(&self, name: &str) -> PathBuf {
        self.export.state_path("partial").join(name)
    }

    /// A path below `trash/`.
    pub fn trash(&self, relative: &str) -> PathBuf {
        self.export.state_path(&format!("trash/{relative}"))
    }

    /// Path of a file in an album folder.
    pub fn path(&self, folder: &str, name: &str) -> PathBuf {
        self.export.dir().join(folder).join(name)
    }

    /// The name of an album's folder.
    pub fn folder(&self, collection: i64) -> String {
        let folder = self.state.decrypt.folders.get(&collection);
        folder.map(|folder| folder.name.clone()).unwrap_or_default()
    }

    /// What is recorded of a placement.
    pub fn placement(&self, key: PlacementKey) -> Placement {
        let placement = self.state.decrypt.placements.get(&key).cloned();
        placement.unwrap_or_else(|| Placement {
            collection: key.0,
            file: key.1,
            ..Placement::default()
        })
    }

    /// Looks at an album folder; a foreign one is a problem, once a run.
    pub fn album(&mut self, folder: &str) -> Album {
        match fs::symlink_metadata(self.export.dir().join(folder)) {
            Ok(metadata) if metadata.is_dir() => Album::Real,
            Err(_) => Album::Absent,
            Ok(_) => {
                if self.foreign.insert(folder.to_owned()) {
                    self.problems.push(Problem {
                        class: "not-a-folder".into(),
                        path: Some(folder.into()),
                        cause: "a link or a file is where the folder of an album belongs".into(),
                        hint: "move it away, then run the same command again".into(),
                        ..problem()
                    });
                }
                Album::Foreign
            }
        }
    }

    /// Looks whether a part is still the file that was written; `also` is a time that it may bear by now.
    pub fn look(&self, path: &Path, part: &Part, placement: &Placement, also: Option<i64>) -> Look {
        let Ok(metadata) = fs::symlink_metadata(path) else {
            return Look::Missing;
        };
        let mtime = disk::mtime_us(&metadata);
        // A run that was killed while it dated files anew leaves one of the times that it would have set.
        let is_ours = mtime == part.mtime
            || [placement.taken, placement.modified, also].contains(&Some(mtime));
        if metadata.is_file() && metadata.len() == part.size && is_ours {
            Look::Ours
        } else {
            Look::Theirs
        }
    }

    /// Records a fact with the batch; from here on it counts for planning.
    pub fn stage(&mut self, batch: &mut Batch, fact: DecryptFact) {
        self.state.decrypt.apply(fact.clone());
        batch.facts.push(fact);
    }

    /// Parks a file that leaves its place.
    ///
    /// # Errors
    /// When it cannot be renamed; it is then where it was.
    pub fn park(&self, batch: &mut Batch, from: &Path, parked: String) -> io::Result<PathBuf> {
        let parked = self.partial(&parked);
        disk::rename_new(from, &parked)?;
        batch.left.extend(from.parent().map(Path::to_owned));
        Ok(parked)
    }

    /// Notes that files left this album, so that its folder goes when it is empty.
    pub fn thins(batch: &mut Batch, folder: &str) {
        batch.thinned.insert(folder.to_owned());
    }

    /// Parks an album folder that gets another name.
    ///
    /// # Errors
    /// As [`park`](Self::park).
    pub fn park_folder(&self, batch: &mut Batch, collection: i64, from: &str) -> io::Result<()> {
        let from = self.export.dir().join(from);
        let parked = self.park(batch, &from, format!("album-{collection}"))?;
        batch.folders.insert(collection, parked);
        Ok(())
    }

    /// Parks the sidecar of a part; a second one for importers goes, as `ente-meta` writes another for the new name.
    pub fn park_sidecar(
        &self,
        batch: &mut Batch,
        key: PartKey,
        folder: &str,
        name: &str,
    ) -> Option<PathBuf> {
        let fact = self.state.meta.sidecars.get(&key)?;
        let path = self.sidecar(folder, &format!("{name}.json"))?;
        if fact.second
            && let Some(second) = naming::second_sidecar_name(name)
            && let Some(second) = self.sidecar(folder, &second)
            && is_unchanged(&second, &fact.blake3)
        {
            // What is left behind by a failure here is found by `ente-verify`.
            let _ = fs::remove_file(second);
        }
        if !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
            return None;
        }
        self.park(
            batch,
            &path,
            format!("sidecar-{}-{}-{}", key.0, key.1, key.2),
        )
        .ok()
    }

    fn sidecar(&self, folder: &str, name: &str) -> Option<PathBuf> {
        let path = self.state.meta.sidecars_at().path(folder, name)?;
        Some(ente_common::layout::join(self.export.dir(), &path))
    }

    /// Whether a sidecar is as `ente-meta` wrote it.
    pub fn is_sidecar_unchanged(&self, key: PartKey, path: &Path) -> bool {
        let fact = self.state.meta.sidecars.get(&key);
        fact.is_some_and(|fact| is_unchanged(path, &fact.blake3))
    }

    /// Sends a part out of the tree: to the trash, or away for good where that is wanted. Its sidecar goes along unless it stays for a
    /// successor of the part, or was edited and is the user's.
    ///
    /// # Errors
    /// When the file cannot be parked; it is then where it was.
    pub fn part_out(
        &mut self,
        batch: &mut Batch,
        placement: &Placement,
        index: usize,
        reason: &str,
        takes_sidecar: bool,
    ) -> io::Result<()> {
        let key = (placement.collection, placement.file);
        let folder = self.folder(key.0);
        let part = &placement.parts[index];
        let from = self.path(&folder, &part.name);
        let parked = self.park(
            batch,
            &from,
            parked_name("old", key, index, placement.version),
        )?;
        Self::thins(batch, &folder);
        let of_part = (key.0, key.1, index);
        let is_ours = self
            .sidecar(&folder, &format!("{}.json", part.name))
            .is_some_and(|path| self.is_sidecar_unchanged(of_part, &path));
        let sidecar = (takes_sidecar && is_ours)
            .then(|| self.park_sidecar(batch, of_part, &folder, &part.name))
            .flatten();
        self.discard(batch, placement, index, reason, parked, sidecar);
        Ok(())
    }

    /// Sends a parked part, and its sidecar, out of the tree.
    pub fn discard(
        &mut self,
        batch: &mut Batch,
        placement: &Placement,
        index: usize,
        reason: &str,
        parked: PathBuf,
        sidecar: Option<PathBuf>,
    ) {
        let part = &placement.parts[index];
        if self.settings.on_remove == OnRemove::Delete {
            batch.drop_parked(parked);
            let of_part = (placement.collection, placement.file, index);
            match sidecar {
                Some(parked) if self.is_sidecar_unchanged(of_part, &parked) => {
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
            blake3: part.blake3.clone(),
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
    pub fn arrive(&mut self, batch: &mut Batch, arrival: &Arrival, name: Name) -> bool {
        let Arrival { key, parts, .. } = arrival;
        let folder = self.folder(key.0);
        let dir = match batch.folders.get(&key.0) {
            Some(parked) => parked.clone(),
            None if self.album(&folder) == Album::Foreign => return false,
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
        let is_taken = |name: &str, live| {
            names_under(name, live).iter().any(|name| {
                fs::symlink_metadata(dir.join(name)).is_ok() || batch.is_bound(&home.join(name))
            })
        };
        let mut name = name;
        if is_taken(&name.name, name.live) {
            name.name = self.next_free(*key, &name, |candidate| is_taken(candidate, name.live));
            self.evaded.insert(*key);
        }
        let mut placement = self.placement(*key);
        let named = names_under(&name.name, name.live);
        name.apply(&mut placement);
        placement.version = arrival.version;
        placement.n = arrival.n;
        placement.parts.clear();
        for ((part, parked), named) in parts.iter().zip(named) {
            batch.carry(parked.clone(), self.path(&folder, &named));
            let name = named;
            placement.parts.push(Part {
                name,
                ..part.clone()
            });
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
    pub fn carry_sidecar(
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

    /// Makes the batch true: syncs what is parked, writes and syncs the facts, puts everything in its place.
    ///
    /// # Errors
    /// When something cannot be written; what is parked then waits for the next start.
    pub fn commit(&mut self, batch: Batch) -> Result<(), Failure> {
        let failed = |what: &Path| {
            let what = format!("cannot write in `{}`", what.display());
            move |error: io::Error| Failure::disk(what.clone(), &error)
        };
        if !batch.carries.is_empty() || !batch.folders.is_empty() {
            let partial = self.partial("");
            disk::sync_dir(&partial).map_err(failed(&partial))?;
            for dir in batch.left.iter().filter(|dir| dir.is_dir()) {
                disk::sync_dir(dir).map_err(failed(dir))?;
            }
        }
        let journal = self.journal();
        for fact in &batch.facts {
            journal.append(fact);
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
            .and_then(|()| disk::rename_new(parked, to));
        match result {
            Ok(()) => Ok(()),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory
                ) =>
            {
                let path = to.strip_prefix(self.export.dir()).unwrap_or(to);
                self.problems.push(Problem {
                    class: "occupied".into(),
                    path: Some(path.display().to_string()),
                    cause: "something came to lie there while this run was writing".into(),
                    hint: "run the same command again".into(),
                    ..problem()
                });
                Ok(())
            }
            Err(error) => Err(Failure::disk(
                format!("cannot write `{}`", to.display()),
                &error,
            )),
        }
    }

    /// Makes the folder that a file goes to, without passing through links, and notes what has to be synced.
    fn make_parent(&self, to: &Path, reached: &mut BTreeSet<PathBuf>) -> io::Result<()> {
        let root = self.export.dir();
        let Some(parent) = to.parent().filter(|parent| *parent != root) else {
            reached.insert(root.to_owned());
            return Ok(());
        };
        if !reached.contains(parent) {
            let relative: Vec<_> = parent
                .strip_prefix(root)
                .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?
                .iter()
                .map(|component| component.to_string_lossy())
                .collect();
            disk::make_dir_below(root, &relative.join("/"))?;
            // New folders are entries of the ones above them.
            let above = parent.ancestors().take_while(|dir| *dir != root);
            reached.extend(above.map(Path::to_owned));
            reached.insert(root.to_owned());
        }
        Ok(())
    }

    /// Removes an album folder, and its folder of sidecars, that nothing is left in.
    pub fn drop_if_empty(&self, folder: &str) {
        let dir = self.export.dir().join(folder);
        // Only empty folders can be removed; a link is none.
        let _ = fs::remove_dir(dir.join("metadata"));
        let _ = fs::remove_dir(dir);
    }

    /// Appends a fact that rests on nothing in flight and hands it to the system.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note(&mut self, facts: Vec<DecryptFact>) -> Result<(), Failure> {
        for fact in facts {
            self.journal().append(&fact);
            self.state.decrypt.apply(fact);
        }
        Ok(self.journal().flush()?)
    }

    /// Removes what this run was writing and did not finish.
    pub fn sweep(&self) {
        let entries = fs::read_dir(self.partial(""))
            .into_iter()
            .flatten()
            .flatten();
        for entry in entries {
            if entry.file_name().as_encoded_bytes().starts_with(b"tmp-") {
                // What stays is removed by the next start.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Syncs the journal.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn sync(&mut self) -> Result<(), Failure> {
        match &mut self.writer {
            Some((journal, _)) => Ok(journal.sync()?),
            None => Ok(()),
        }
    }
}

/// The name under which a part waits in `partial/`.
pub fn parked_name(
    kind: &str,
    key: PlacementKey,
    index: usize,
    version: Option<Version>,
) -> String {
    format!(
        "{kind}-{}-{}-{index}-{}",
        key.0,
        key.1,
        version.unwrap_or_default()
    )
}

/// A problem of this stage.
pub fn problem() -> Problem {
    Problem {
        stage: crate::NAME.into(),
        ..Problem::default()
    }
}

fn is_unchanged(path: &Path, blake3: &str) -> bool {
    // Sidecars are small; anything else is not one of ours.
    const MAX_SIDECAR_BYTES: u64 = 1 << 20;
    let is_small = fs::symlink_metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.len() <= MAX_SIDECAR_BYTES);
    is_small && fs::read(path).is_ok_and(|bytes| blake3::hash(&bytes).to_hex().as_str() == blake3)
}

/// A problem in words, for whoever watches.
pub fn words(problem: &Problem) -> Failure {
    let mut what = match (&problem.path, problem.file, problem.collection) {
        (Some(path), ..) => format!("`{path}`"),
        (None, Some(file), _) => format!("file {file}"),
        (None, None, Some(collection)) => format!("album {collection}"),
        (None, None, None) => "the export".to_owned(),
    };
    if let (Some(_), Some(file)) = (&problem.path, problem.file) {
        what.push_str(&format!(" (file {file})"));
    }
    Failure::new(Exit::Problems, format!("{what}: {}", problem.class))
        .cause(&problem.cause)
        .hint(&problem.hint)
}

#[cfg(test)]
mod tests {
    use ente_common::manifest::facts::Folder;
    use ente_common::manifest::{Account, private_dir};

    use super::*;

    #[test]
    fn two_that_give_way_in_one_batch_do_not_meet() {
        let home = tempfile::tempdir().unwrap();
        let account = Account {
            endpoint: "https://api.ente.com".into(),
            app: "photos".into(),
            user_id: 1,
            email: "ada@example.org".into(),
        };
        let export = Export::create(home.path(), account, serde_json::Value::Null).unwrap();
        private_dir(&export.state_path("partial")).unwrap();
        let lock = export.lock(crate::NAME, "run", 0, false).unwrap();
        let journal = Journal::open(&export.state_dir(), "decrypt").unwrap();
        let settings = Settings::new(&State::default(), None, None, None, || 250);
        let mut tree = Tree::new(export, State::default(), settings, "2026-11-22".into());
        tree.begin_writing(journal, lock);
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
            let parked = tree.partial(&format!("old-1-{file}-0-0000000000000000"));
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
