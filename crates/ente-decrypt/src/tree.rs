//! The album tree and the facts about it: what lies where, and what was written there.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ente_common::disk;
use ente_common::manifest::facts::{Part, Placement};
use ente_common::manifest::{Export, Journal, Lock, PlacementKey, State};
use ente_common::naming;
use ente_common::record::Problem;

use crate::settings::Settings;

/// What was done for a placement, as records say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Did {
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
    /// It lay on this machine already.
    Adopted,
    /// It went to the trash.
    Trashed,
    /// It was deleted.
    Deleted,
}

impl Did {
    /// As records spell it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Replaced => "replaced",
            Self::Linked => "linked",
            Self::Moved => "moved",
            Self::Restored => "restored",
            Self::Adopted => "adopted",
            Self::Trashed => "trashed",
            Self::Deleted => "deleted",
        }
    }
}

/// What lies where a part is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// The file that was written there.
    Ours,
    /// Something else, or the file changed: the user's.
    Theirs,
    /// Nothing.
    Missing,
}

/// What lies where an album folder is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Album {
    /// A folder.
    Real,
    /// Nothing.
    Absent,
    /// A link or a file: nothing below it is touched.
    Foreign,
    /// Nobody can tell; nothing below it is touched either.
    Unseen,
}

impl Album {
    /// It is a folder of ours, or can become one.
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Real | Self::Absent)
    }
}

/// The tree of an export with its facts.
#[derive(Debug)]
pub(crate) struct Tree {
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
    pub(crate) today: String,
    /// Placements that took another name than they were to have, because something was in the way.
    pub evaded: HashSet<PlacementKey>,
    /// Names taken in the albums where something was in the way.
    pub(crate) names: HashMap<i64, naming::Folder>,
    /// Album folders that are not open, once they were told of.
    closed: HashSet<String>,
    /// What was to come back from the trash was not what lay there: other steps may be possible now.
    pub(crate) plans_anew: bool,
}

impl Tree {
    /// The tree as the facts have it; `today` names the folder of what goes to the trash.
    pub(crate) fn new(export: Export, state: State, settings: Settings, today: String) -> Self {
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
            closed: HashSet::new(),
            plans_anew: false,
        }
    }

    /// Facts can be written.
    pub(crate) fn is_writing(&self) -> bool {
        self.writer.is_some()
    }

    /// Takes the journal over.
    pub(crate) fn begin_writing(&mut self, journal: Journal, lock: Lock) {
        self.writer = Some((journal, lock));
    }

    /// Frees the lock. What was written must be synced.
    pub(crate) fn end_writing(&mut self) {
        self.writer = None;
    }

    /// Takes in newer facts, of a later listing or after the lock was waited for.
    pub(crate) fn reload(&mut self, state: State, settings: Settings, today: String) {
        self.state = state;
        self.settings = settings;
        self.today = today;
        self.plans_anew = false;
        self.evaded.clear();
        self.names.clear();
        self.closed.clear();
    }

    pub(crate) fn journal(&mut self) -> &mut Journal {
        let (journal, _) = self
            .writer
            .as_mut()
            .expect("whoever changes the tree has taken the lock");
        journal
    }

    /// `partial/`, where things wait for their place.
    pub(crate) fn partial(&self) -> PathBuf {
        self.export.state_path("partial")
    }

    /// A path below `trash/`.
    pub(crate) fn trash(&self, relative: &str) -> PathBuf {
        self.export.state_path(&format!("trash/{relative}"))
    }

    /// Path of a file in an album folder.
    pub(crate) fn path(&self, folder: &str, name: &str) -> PathBuf {
        self.export.dir().join(folder).join(name)
    }

    /// The name of an album's folder.
    pub(crate) fn folder(&self, collection: i64) -> String {
        let folder = self.state.decrypt.folders.get(&collection);
        folder.map(|folder| folder.name.clone()).unwrap_or_default()
    }

    /// What is recorded of a placement.
    pub(crate) fn placement(&self, key: PlacementKey) -> Placement {
        match self.state.decrypt.placements.get(&key) {
            Some(placement) => (**placement).clone(),
            None => Placement {
                collection: key.0,
                file: key.1,
                ..Placement::default()
            },
        }
    }

    /// Looks at an album folder; one that is not open is a problem, once a run.
    pub(crate) fn album(&mut self, folder: &str) -> Album {
        let (album, told) = match fs::symlink_metadata(self.export.dir().join(folder)) {
            Ok(metadata) if metadata.is_dir() => return Album::Real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Album::Absent,
            Ok(_) => {
                let told = Problem {
                    class: "not-a-folder".into(),
                    cause: "a link or a file is where the folder of an album belongs".into(),
                    hint: "move it away, then run the same command again".into(),
                    ..problem()
                };
                (Album::Foreign, told)
            }
            Err(error) => (Album::Unseen, unseen(&error)),
        };
        if self.closed.insert(folder.to_owned()) {
            let path = Some(folder.into());
            self.problems.push(Problem { path, ..told });
        }
        album
    }

    /// Looks whether a part is still the file that was written; `also` is a time that it may bear by now.
    ///
    /// # Errors
    /// When that cannot be told: it is then not to be taken for missing.
    pub(crate) fn look(
        &self,
        path: &Path,
        part: &Part,
        placement: &Placement,
        also: Option<i64>,
    ) -> io::Result<Look> {
        use io::ErrorKind as Kind;
        let metadata = match fs::symlink_metadata(path) {
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::NotADirectory) => {
                return Ok(Look::Missing);
            }
            metadata => metadata?,
        };
        let mtime = disk::mtime_us(&metadata);
        // A run that was killed while it dated files anew leaves one of the times that it would have set.
        let is_ours = mtime == part.mtime
            || [placement.taken, placement.modified, also].contains(&Some(mtime))
            || self.is_time_of_a_twin(placement, part, mtime);
        let is_same = metadata.is_file() && metadata.len() == part.size && is_ours;
        Ok(if is_same { Look::Ours } else { Look::Theirs })
    }

    /// Looks at each part of a placement where it is recorded.
    ///
    /// # Errors
    /// As [`look`](Self::look).
    pub(crate) fn looks(&self, placement: &Placement, also: Option<i64>) -> io::Result<Vec<Look>> {
        let folder = self.folder(placement.collection);
        let look = |part: &Part| self.look(&self.path(&folder, &part.name), part, placement, also);
        placement.parts.iter().map(look).collect()
    }

    /// As [`looks`](Self::looks); what cannot be told is a problem, and nothing is to be done about the placement.
    pub(crate) fn seen(&mut self, placement: &Placement, also: Option<i64>) -> Option<Vec<Look>> {
        let looks = self.looks(placement, also);
        looks
            .map_err(|error| {
                self.problems.push(Problem {
                    file: Some(placement.file),
                    collection: Some(placement.collection),
                    version: placement.version,
                    path: Some(self.folder(placement.collection)),
                    ..unseen(&error)
                });
            })
            .ok()
    }

    /// Another placement of the same file was given this time: as a hard link to it, this one bears it too, though its own album may not have
    /// been listed since.
    fn is_time_of_a_twin(&self, placement: &Placement, part: &Part, mtime: i64) -> bool {
        let twins = self.state.decrypt.placements_of(placement.file);
        let mut parts = twins.flat_map(|twin| &twin.parts);
        parts.any(|one| one.mtime == mtime && one.blake3 == part.blake3)
    }
}

/// Something cannot be looked at.
fn unseen(error: &io::Error) -> Problem {
    Problem {
        class: "io".into(),
        cause: error.to_string(),
        hint:
            "see that the disk is in order and who may read there, then run the same command again"
                .into(),
        ..problem()
    }
}

/// A problem of this stage.
pub(crate) fn problem() -> Problem {
    Problem {
        stage: crate::NAME.into(),
        ..Problem::default()
    }
}
