//! What is to be done about a sidecar, decided by looking: at what is recorded and at what lies there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use blake3::Hash;
use ente_common::exit::{Exit, Failure};
use ente_common::layout::{self, Sidecars};
use ente_common::manifest::facts::{How, Sidecar};
use ente_common::manifest::{Digest, Export, Parked, PartKey, State};
use ente_common::naming::second_sidecar_name;

use crate::plan::Wanted;
use crate::sidecar::is_about;

/// A sidecar and what it is to say.
#[derive(Debug)]
pub(crate) struct Task {
    /// Which one.
    pub(crate) wanted: Wanted,
    /// Its contents.
    pub(crate) bytes: Vec<u8>,
    /// All of the file could be read; else the next run looks again.
    pub(crate) complete: bool,
}

/// What became of a task.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Written.
    Written,
    /// It said so already.
    Same,
    /// What lies at this path was edited or is not ours; it was left alone.
    Left(String),
    /// It could not be written at this path.
    Failed(String, io::Error),
}

/// What a task comes down to.
pub(crate) struct Step<'a> {
    pub(crate) fact: Sidecar,
    pub(crate) files: Vec<Whole<'a>>,
    /// Where a sidecar of ours lies that no fact tells of; it goes to the trash.
    pub(crate) older: Option<String>,
    /// A second sidecar that is no longer wanted, and the BLAKE3 that it has if it is ours.
    pub(crate) unwanted: Option<(String, Option<Hash>)>,
    pub(crate) outcome: Outcome,
}

/// A file that is to be written whole.
pub(crate) struct Whole<'a> {
    pub(crate) path: String,
    pub(crate) temporary: PathBuf,
    pub(crate) bytes: &'a [u8],
    /// One of ours is there.
    pub(crate) replaces: bool,
    /// The second sidecar of its part.
    pub(crate) is_second: bool,
}

/// What lies at a path.
#[derive(PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// A file with this BLAKE3.
    File(Hash),
    /// A folder, a link or the like.
    Other,
}

impl Step<'_> {
    /// There is something to write or to record.
    pub(crate) fn is_news(&self, state: &State) -> bool {
        let fact = &self.fact;
        let recorded = state
            .meta
            .sidecars
            .get(&(fact.collection, fact.file, fact.part));
        match self.outcome {
            Outcome::Written => true,
            Outcome::Same => recorded != Some(fact) || self.unwanted.is_some(),
            Outcome::Left(_) | Outcome::Failed(..) => false,
        }
    }

    /// Takes a failure. One sidecar that cannot be written stops nothing, but a full disk does.
    pub(crate) fn fail(&mut self, error: io::Error) -> Result<(), Failure> {
        let path = self.files.first().map_or("", |file| &file.path).to_owned();
        let failure = Failure::disk(format!("cannot write `{path}`"), &error);
        if ends_the_run(&failure, &error) {
            return Err(failure);
        }
        self.outcome = Outcome::Failed(path, error);
        Ok(())
    }
}

/// No other file can be written either. Who may not write in one folder may in others.
pub(crate) fn ends_the_run(failure: &Failure, error: &io::Error) -> bool {
    failure.exit == Exit::NotWritable && error.kind() != io::ErrorKind::PermissionDenied
}

/// Decides by looking only.
pub(crate) fn decide<'a>(export: &Export, state: &State, at: Sidecars, task: &'a Task) -> Step<'a> {
    let (collection, file, part) = task.wanted.key;
    let recorded = state.meta.sidecars.get(&task.wanted.key);
    let mut step = Step {
        fact: Sidecar {
            collection,
            file,
            part,
            size: task.bytes.len() as u64,
            blake3: Some(blake3::hash(&task.bytes)),
            inputs: if task.complete {
                task.wanted.inputs
            } else {
                Digest::default()
            },
            over: recorded.map_or(Digest::default(), |recorded| recorded.over),
            second: false,
            n: recorded.map_or(1, |recorded| recorded.n),
            gone: false,
        },
        files: Vec::new(),
        older: None,
        unwanted: None,
        outcome: Outcome::Same,
    };
    let place = |name: &str| at.path(&task.wanted.folder, name).unwrap_or_default();
    let path = place(&format!("{}.json", task.wanted.name));
    let decided = is_folder(export, &task.wanted.folder)
        .and_then(|()| step.decide_first(export, state, task, &path))
        .and_then(|()| step.decide_second(export, state, task, place));
    if let Err(error) = decided {
        step.files.clear();
        step.outcome = Outcome::Failed(path, error);
    }
    step
}

/// Sidecars do not make the album folder: where it is gone, their files are too.
fn is_folder(export: &Export, folder: &str) -> io::Result<()> {
    match fs::symlink_metadata(export.dir().join(folder))?.is_dir() {
        true => Ok(()),
        false => Err(io::ErrorKind::NotADirectory.into()),
    }
}

impl<'a> Step<'a> {
    fn decide_first(
        &mut self,
        export: &Export,
        state: &State,
        task: &'a Task,
        path: &str,
    ) -> io::Result<()> {
        let recorded = state.meta.sidecars.get(&task.wanted.key);
        let found = look(export.dir(), path)?;
        let is_ours = match &found {
            Found::Nothing => true,
            Found::File(found) if Some(*found) == self.fact.blake3 => return Ok(()),
            Found::File(found) => {
                let former = state.meta.former.get(&task.wanted.key).copied();
                recorded.map_or(former, |recorded| recorded.blake3) == Some(*found)
                    || is_second_of_another(state, &task.wanted, *found)
            }
            Found::Other => false,
        };
        let is_older = !is_ours
            && found != Found::Other
            && recorded.is_none()
            && is_older(export, state, &task.wanted, path)?;
        if is_older {
            self.older = Some(path.to_owned());
        }
        if is_ours || is_older {
            let found = if is_older { Found::Nothing } else { found };
            self.fact.n = recorded.map_or(0, |recorded| recorded.n) + 1;
            self.fact.over = Digest::default();
            self.add(export, task, path.to_owned(), found, false);
        } else {
            self.outcome = Outcome::Left(path.to_owned());
        }
        Ok(())
    }

    fn decide_second(
        &mut self,
        export: &Export,
        state: &State,
        task: &'a Task,
        place: impl Fn(&str) -> String,
    ) -> io::Result<()> {
        if matches!(self.outcome, Outcome::Left(_)) {
            return Ok(());
        }
        let recorded = state.meta.sidecars.get(&task.wanted.key);
        let had = recorded.filter(|recorded| recorded.second);
        let Some(second) = &task.wanted.second else {
            let name = second_sidecar_name(&task.wanted.name);
            self.unwanted = had.zip(name).map(|(had, name)| (place(&name), had.blake3));
            return Ok(());
        };
        let path = place(second);
        let found = look(export.dir(), &path)?;
        let is_ours = match &found {
            Found::Nothing => true,
            Found::File(found) if Some(*found) == self.fact.blake3 => {
                self.fact.second = true;
                return Ok(());
            }
            Found::File(found) => {
                let former = state.meta.former.get(&task.wanted.key).copied();
                recorded.map_or(former, |_| had.and_then(|had| had.blake3)) == Some(*found)
            }
            Found::Other => false,
        };
        // Where something else came first, the first sidecar is enough for most readers.
        if is_ours {
            self.fact.second = true;
            self.add(export, task, path, found, true);
        }
        Ok(())
    }

    fn add(
        &mut self,
        export: &Export,
        task: &'a Task,
        path: String,
        found: Found,
        is_second: bool,
    ) {
        let of = task.wanted.key;
        let parked = Parked::Meta { of, is_second };
        self.outcome = Outcome::Written;
        if let Found::File(found) = found {
            // Of two it is the same content, the one before.
            self.fact.over = found.into();
        }
        self.files.push(Whole {
            path,
            temporary: export.parked(parked),
            bytes: &task.bytes,
            replaces: found != Found::Nothing,
            is_second,
        });
    }
}

/// What lies there is a sidecar of this very part from a manifest that was lost: the part was taken over as it lay here.
fn is_older(export: &Export, state: &State, wanted: &Wanted, path: &str) -> io::Result<bool> {
    let (collection, file, part) = wanted.key;
    let placement = state.decrypt.placements.get(&(collection, file));
    let recorded = placement.and_then(|placement| placement.parts.get(part));
    if recorded.is_none_or(|part| part.how != How::Adopted) {
        return Ok(false);
    }
    let bytes = fs::read(layout::join(export.dir(), path))?;
    Ok(is_about(&bytes, wanted.key))
}

/// The content is that of a second sidecar in the same folder, which gives way to a first.
fn is_second_of_another(state: &State, wanted: &Wanted, blake3: Hash) -> bool {
    let name = format!("{}.json", wanted.name);
    let (collection, ..) = wanted.key;
    let first: PartKey = (collection, i64::MIN, 0);
    let last: PartKey = (collection, i64::MAX, usize::MAX);
    state
        .meta
        .sidecars
        .range(first..=last)
        .any(|(key, sidecar)| {
            sidecar.second
                && sidecar.blake3 == Some(blake3)
                && state
                    .decrypt
                    .placements
                    .get(&(key.0, key.1))
                    .and_then(|placement| placement.parts.get(key.2))
                    .and_then(|part| second_sidecar_name(&part.name))
                    == Some(name.clone())
        })
}

/// Looks at a path below `dir` without following links.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn look(dir: &Path, path: &str) -> io::Result<Found> {
    let path = layout::join(dir, path);
    match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_file() => {
            let bytes = fs::read(&path)?;
            Ok(Found::File(blake3::hash(&bytes)))
        }
        Ok(_) => Ok(Found::Other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) => Err(error),
    }
}

/// The folder of a path below the export.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}
