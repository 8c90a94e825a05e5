//! Before the first sidecar: finishes what a killed run began, and moves sidecars where the setting wants them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use ente_common::disk;
use ente_common::exit::Failure;
use ente_common::layout::{self, Sidecars};
use ente_common::manifest::facts::{MetaFact, Setting, Sidecar};
use ente_common::manifest::{Digest, Export, Parked, PartKey, State};
use ente_common::naming::second_sidecar_name;

use crate::decide::{Found, ends_the_run, look, parent};
use crate::write::Writer;

/// Where sidecars lie.
const SIDECARS: &str = "sidecars";
/// Where they may lie still, while a change of that setting is under way.
pub(crate) const FROM: &str = "sidecars_from";

/// What did not come to its place.
#[derive(Debug)]
pub(crate) enum Unsettled {
    /// Somebody's file lies at this path, and stays.
    Left(String),
    /// This sidecar could not be moved to this path, and waits.
    Stuck(PartKey, String, io::Error),
}

impl Unsettled {
    fn is_stuck(&self) -> bool {
        matches!(self, Self::Stuck(..))
    }
}

/// Finishes what killed runs left in `partial/`, and tells what did not come to its place. No other tool may be moving sidecars meanwhile.
///
/// # Errors
/// When the disk does not let us, or another run holds the lock.
pub(crate) fn recover(writer: &mut Writer, state: &mut State) -> Result<Vec<Unsettled>, Failure> {
    let mut unsettled = Vec::new();
    let entries = match fs::read_dir(writer.export().state_path("partial")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(unsettled),
        entries => entries.map_err(|error| untidy(&error))?,
    };
    for entry in entries {
        let name = entry.map_err(|error| untidy(&error))?.file_name();
        if let Some(left) = name.to_str().and_then(LeftOver::parse) {
            writer.lock(state)?;
            unsettled.extend(left.settle(writer.export(), state)?);
        }
    }
    Ok(unsettled)
}

fn untidy(error: &io::Error) -> Failure {
    Failure::disk("cannot tidy `.ente/partial`", error)
}

/// A sidecar in `partial/`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LeftOver {
    name: String,
    key: PartKey,
    /// One that we wrote, perhaps not to its end; else one that `ente-decrypt` was moving.
    is_new: bool,
    is_second: bool,
}

impl LeftOver {
    fn parse(name: &str) -> Option<Self> {
        let (key, is_new, is_second) = match Parked::parse(name)? {
            Parked::Meta { of, is_second } => (of, true, is_second),
            Parked::Sidecar(of) => (of, false, false),
            _ => return None,
        };
        Some(Self {
            name: name.to_owned(),
            key,
            is_new,
            is_second,
        })
    }

    /// What killed runs left of one part.
    pub(crate) fn of(export: &Export, key: PartKey) -> Vec<Self> {
        let meta = |is_second| Parked::Meta { of: key, is_second };
        let all = [meta(false), meta(true), Parked::Sidecar(key)];
        let is_there = |parked: &Parked| fs::symlink_metadata(export.parked(*parked)).is_ok();
        let there = all.into_iter().filter(is_there);
        there
            .filter_map(|parked| Self::parse(&parked.to_string()))
            .collect()
    }

    /// Moves it to its place, or removes it where it has none. One that was edited is kept, and so is one that cannot be moved now.
    pub(crate) fn settle(
        &self,
        export: &Export,
        state: &State,
    ) -> Result<Option<Unsettled>, Failure> {
        let partial = export.state_path("partial");
        let Found::File(blake3) = look(&partial, &self.name).map_err(|error| untidy(&error))?
        else {
            return Ok(None);
        };
        let recorded = state.meta.sidecars.get(&self.key);
        let is_recorded = recorded.is_some_and(|sidecar| sidecar.blake3 == Some(blake3));
        let place = place(state, state.meta.sidecars_at(), self.key);
        let place = place.and_then(|(first, second)| match self.is_second {
            true => second,
            false => Some(first),
        });
        let from = partial.join(&self.name);
        let mut left = None;
        if let Some(path) = place.filter(|_| is_recorded || !self.is_new) {
            let replaces = self.replaces(export, recorded, &path);
            match replaces.and_then(|replaces| put(export, &from, &path, replaces)) {
                Ok(()) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    left = self.is_new.then_some(Unsettled::Left(path));
                }
                Err(error) => return Ok(Some(Unsettled::Stuck(self.key, path, error))),
            }
        }
        // An edited one without a place stays where it is: it is the user's.
        if self.is_new || is_recorded {
            fs::remove_file(from).map_err(|error| untidy(&error))?;
        }
        Ok(left)
    }

    /// The fact of a new one was written, the rename was not: at its path is still what it takes the place of, unless somebody came first.
    fn replaces(
        &self,
        export: &Export,
        recorded: Option<&Sidecar>,
        path: &str,
    ) -> io::Result<bool> {
        let Some(recorded) = recorded.filter(|_| self.is_new) else {
            return Ok(false);
        };
        Ok(match look(export.dir(), path)? {
            Found::File(found) => {
                Some(found) == recorded.blake3 || Digest::from(found) == recorded.over
            }
            Found::Nothing | Found::Other => false,
        })
    }
}

fn put(export: &Export, from: &Path, path: &str, replaces: bool) -> io::Result<()> {
    let folder = disk::make_dir_below(export.dir(), parent(path))?;
    let to = layout::join(export.dir(), path);
    if replaces {
        disk::move_over(from, &to)?;
    } else {
        disk::move_new(from, &to)?;
    }
    disk::sync_dir(&folder)
}

/// Makes `wanted`, or else what is stored, the place where sidecars lie, and moves those that lie elsewhere. Tells which stay where they are:
/// edited ones that should go, those that something stands in the way of, and those that cannot be moved now. While there are such, the old place
/// is kept in mind and no other is chosen.
///
/// # Errors
/// When the disk does not let us, or another run holds the lock.
pub(crate) fn convert(
    writer: &mut Writer,
    state: &mut State,
    wanted: Option<Sidecars>,
) -> Result<Vec<Unsettled>, Failure> {
    let mut left = Vec::new();
    let setting = |state: &State, name: &str| state.meta.settings.get(name).cloned();
    let fact = |name: &str, at: Sidecars| {
        MetaFact::Setting(Setting {
            name: name.to_owned(),
            value: at.as_str().to_owned(),
        })
    };
    let now = state.meta.sidecars_at();
    let from: Option<Sidecars> = setting(state, FROM).and_then(|from| from.parse().ok());
    if let Some(from) = from.filter(|from| *from != now) {
        left = relocate(writer, state, from, now)?;
        if left.iter().any(Unsettled::is_stuck) {
            return Ok(left);
        }
        writer.record(state, vec![fact(FROM, now)])?;
    }
    let Some(wanted) = wanted else {
        return Ok(left);
    };
    if wanted == now {
        if setting(state, SIDECARS).is_none() {
            writer.record(state, vec![fact(SIDECARS, wanted)])?;
        }
        return Ok(left);
    }
    if state.meta.sidecars.is_empty() {
        writer.record(state, vec![fact(SIDECARS, wanted)])?;
        return Ok(left);
    }
    // The old place is kept in mind until all are moved, so that a killed run is finished by the next.
    writer.record(state, vec![fact(FROM, now), fact(SIDECARS, wanted)])?;
    left.extend(relocate(writer, state, now, wanted)?);
    if !left.iter().any(Unsettled::is_stuck) {
        writer.record(state, vec![fact(FROM, wanted)])?;
    }
    Ok(left)
}

/// Moves all sidecars, or removes them where none are to be kept; tells which were left.
fn relocate(
    writer: &mut Writer,
    state: &mut State,
    from: Sidecars,
    to: Sidecars,
) -> Result<Vec<Unsettled>, Failure> {
    let dir = writer.export().dir().to_owned();
    let mut left = Vec::new();
    let mut gone = Vec::new();
    let mut touched = BTreeSet::new();
    for (key, sidecar) in &state.meta.sidecars {
        let old = place(state, from, *key);
        let new = place(state, to, *key);
        let Some((first, second)) = old else {
            continue;
        };
        let (new_first, new_second) =
            new.map_or((None, None), |(first, second)| (Some(first), second));
        let second = second.filter(|_| sidecar.second);
        let mut is_stuck = false;
        for (old, new) in [(Some(first), new_first), (second, new_second)] {
            let Some(old) = old else { continue };
            match move_or_remove(&dir, &old, new.as_deref(), sidecar) {
                Ok(true) => {
                    touched.insert(parent(&old).to_owned());
                    touched.extend(new.map(|new| parent(&new).to_owned()));
                }
                Ok(false) => left.push(Unsettled::Left(old)),
                Err(error) => {
                    let failure = Failure::disk(format!("cannot move `{old}`"), &error);
                    if ends_the_run(&failure, &error) {
                        return Err(failure);
                    }
                    is_stuck = true;
                    left.push(Unsettled::Stuck(*key, old, error));
                }
            }
        }
        if to == Sidecars::None && !is_stuck {
            gone.push(MetaFact::Sidecar(Sidecar {
                gone: true,
                ..sidecar.clone()
            }));
        }
    }
    for folder in &touched {
        let path = layout::join(&dir, folder);
        // Removes the `metadata` folder that was emptied, unless a killed run did; anything else in it keeps it.
        let is_gone = folder.ends_with("/metadata") && fs::remove_dir(&path).is_ok();
        let changed = if is_gone {
            disk::sync_parent(&path)
        } else {
            disk::sync_dir(&path)
        };
        match changed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Failure::disk(format!("cannot sync `{folder}`"), &error));
            }
            _ => {}
        }
    }
    writer.record(state, gone)?;
    Ok(left)
}

/// Moves one sidecar to `new`, or removes it; `false` if it was left where it is. One that is not there (any more) counts as moved.
fn move_or_remove(dir: &Path, old: &str, new: Option<&str>, sidecar: &Sidecar) -> io::Result<bool> {
    let path = layout::join(dir, old);
    let found = look(dir, old)?;
    match (found, new) {
        (Found::Nothing, _) => Ok(true),
        (Found::File(_), Some(new)) => {
            disk::make_dir_below(dir, parent(new))?;
            match disk::rename_new(&path, &layout::join(dir, new)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                result => result.map(|()| true),
            }
        }
        (Found::File(found), None) if Some(found) == sidecar.blake3 => {
            fs::remove_file(path).map(|()| true)
        }
        _ => Ok(false),
    }
}

/// Paths of the first and the second sidecar of a part; `None` while the part is not on disk or none are kept.
fn place(state: &State, at: Sidecars, key: PartKey) -> Option<(String, Option<String>)> {
    let folder = &state.decrypt.folders.get(&key.0)?.name;
    let placement = state.decrypt.placements.get(&(key.0, key.1))?;
    let name = &placement.parts.get(key.2)?.name;
    let first = at.path(folder, &format!("{name}.json"))?;
    let second = second_sidecar_name(name).and_then(|second| at.path(folder, &second));
    Some((first, second))
}
