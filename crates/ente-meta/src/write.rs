//! Writes sidecars in batches: whole files first, then the facts, then the names.
//!
//! A fact may run ahead of the rename that makes it true; the whole file then waits in `partial/`, and the next start finishes the move. What
//! somebody edited, and what is not ours, is left alone.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use ente_common::disk;
use ente_common::exit::{Exit, Failure};
use ente_common::layout::{self, Sidecars};
use ente_common::manifest::facts::{MetaFact, Sidecar};
use ente_common::manifest::state::MetaState;
use ente_common::manifest::{Export, Journal, Lock, PartKey, State, private_dir};
use ente_common::naming::second_sidecar_name;
use rayon::prelude::*;

use crate::plan::Wanted;
use crate::settle::LeftOver;

/// Syncs of small files wait most of their time, and wait well together.
const WRITERS: usize = 16;

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

/// The one writer of `meta.jsonl`; takes its lock when there is something to write.
#[derive(Debug)]
pub(crate) struct Writer {
    export: Export,
    run: String,
    now_us: i64,
    break_lock: bool,
    hold: Option<Hold>,
}

#[derive(Debug)]
struct Hold {
    journal: Journal,
    pool: rayon::ThreadPool,
    /// Freed last.
    _lock: Lock,
}

/// What a task comes down to.
struct Step<'a> {
    fact: Sidecar,
    files: Vec<Whole<'a>>,
    /// A second sidecar that is no longer wanted, and the BLAKE3 that it has if it is ours.
    unwanted: Option<(String, String)>,
    outcome: Outcome,
}

/// A file that is to be written whole.
struct Whole<'a> {
    path: String,
    temporary: PathBuf,
    bytes: &'a [u8],
    /// One of ours is there.
    replaces: bool,
}

/// What lies at a path.
#[derive(PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// A file with this BLAKE3.
    File(String),
    /// A folder, a link or the like.
    Other,
}

impl Writer {
    /// A writer that has not written yet.
    pub(crate) fn new(export: Export, run: String, now_us: i64, break_lock: bool) -> Self {
        Self {
            export,
            run,
            now_us,
            break_lock,
            hold: None,
        }
    }

    /// The export that is written to.
    pub(crate) fn export(&self) -> &Export {
        &self.export
    }

    /// Takes the lock, if it is not held already, and takes in what another run may have written before.
    ///
    /// # Errors
    /// When another run holds it, or moves files.
    pub(crate) fn lock(&mut self, state: &mut State) -> Result<(), Failure> {
        if self.hold.is_some() {
            return Ok(());
        }
        let export = &self.export;
        export.check_idle(&["ente-decrypt"], &self.run, self.break_lock)?;
        let lock = export.lock("ente-meta", &self.run, self.now_us, self.break_lock)?;
        state.meta = MetaState::load(&export.state_dir())?;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(WRITERS)
            .build()
            .map_err(|error| Failure::new(Exit::Failed, "cannot start threads").cause(error))?;
        self.hold = Some(Hold {
            journal: Journal::open(&export.state_dir(), "meta")?,
            pool,
            _lock: lock,
        });
        Ok(())
    }

    fn hold(&mut self, state: &mut State) -> Result<&mut Hold, Failure> {
        self.lock(state)?;
        Ok(self.hold.as_mut().expect("it was just taken"))
    }

    /// Records facts for good; takes them into `state`.
    ///
    /// # Errors
    /// When the lock cannot be had or the journal not be written.
    pub(crate) fn record(
        &mut self,
        state: &mut State,
        facts: Vec<MetaFact>,
    ) -> Result<(), Failure> {
        if facts.is_empty() {
            return Ok(());
        }
        let journal = &mut self.hold(state)?.journal;
        facts.iter().for_each(|fact| journal.append(fact));
        journal.sync()?;
        facts.into_iter().for_each(|fact| state.meta.apply(fact));
        Ok(())
    }

    /// Makes the sidecars of a batch say what they are to say; one outcome for each task.
    ///
    /// # Errors
    /// When nothing more can be written: another run holds the lock, the disk is full.
    pub(crate) fn write(
        &mut self,
        state: &mut State,
        at: Sidecars,
        tasks: &[Task],
    ) -> Result<Vec<Outcome>, Failure> {
        for task in tasks {
            // `ente-decrypt` is done with this file: what waits was left by a killed run.
            for left in LeftOver::of(&self.export, task.wanted.key) {
                self.lock(state)?;
                left.settle(&self.export, state)?;
            }
        }
        let mut steps = self.plan(state, at, tasks);
        if steps.iter().any(|step| step.is_news(state)) {
            if self.hold.is_none() {
                // The lock comes before the first byte; what was seen without it may be history.
                self.lock(state)?;
                steps = self.plan(state, at, tasks);
            }
            self.store(state, &mut steps)?;
            let facts = steps.iter().filter(|step| step.is_news(state));
            let facts = facts.map(|step| MetaFact::Sidecar(step.fact.clone()));
            let facts = facts.collect();
            self.record(state, facts)?;
            let gone = self.place(&mut steps)?;
            self.record(state, gone)?;
        }
        Ok(steps.into_iter().map(|step| step.outcome).collect())
    }

    fn plan<'a>(&self, state: &State, at: Sidecars, tasks: &'a [Task]) -> Vec<Step<'a>> {
        let export = &self.export;
        let plan = |task| plan(export, state, at, task);
        tasks.par_iter().map(plan).collect()
    }

    /// Writes whole, synced files into `partial/`.
    fn store(&mut self, state: &mut State, steps: &mut [Step<'_>]) -> Result<(), Failure> {
        let dir = self.export.dir().to_owned();
        private_dir(&self.export.state_path("partial"))
            .map_err(|error| Failure::disk("cannot make `.ente/partial`", &error))?;
        let results: Vec<_> = self.hold(state)?.pool.install(|| {
            let store = |file: &Whole<'_>| {
                disk::make_dir_below(&dir, parent(&file.path))?;
                let mut temporary = File::create(&file.temporary)?;
                temporary.write_all(file.bytes)?;
                temporary.sync_data()
            };
            let all = |step: &Step<'_>| step.files.iter().try_for_each(store);
            steps.par_iter().map(all).collect()
        });
        for (step, result) in steps.iter_mut().zip(results) {
            if let Err(error) = result {
                step.fail(error)?;
            }
        }
        Ok(())
    }

    /// Gives the files their names, makes that durable, and tells what is not there after all.
    fn place(&mut self, steps: &mut [Step<'_>]) -> Result<Vec<MetaFact>, Failure> {
        let dir = self.export.dir();
        let mut touched = BTreeSet::new();
        let mut gone = Vec::new();
        for step in steps {
            let mut result = Ok(());
            for file in &step.files {
                let path = layout::join(dir, &file.path);
                result = if file.replaces {
                    fs::rename(&file.temporary, &path)
                } else {
                    disk::rename_new(&file.temporary, &path)
                };
                if result.is_err() {
                    break;
                }
                touched.insert(parent(&file.path).to_owned());
            }
            if let Err(error) = result {
                // Something came there since we looked.
                step.fail(error)?;
                gone.push(MetaFact::Sidecar(Sidecar {
                    gone: true,
                    ..step.fact.clone()
                }));
            }
            if let Some((path, blake3)) = &step.unwanted
                && matches!(look(dir, path), Ok(Found::File(found)) if found == *blake3)
            {
                // It is a copy of a sidecar that stays: if it cannot be removed, nothing is wrong.
                let _ = fs::remove_file(layout::join(dir, path));
                touched.insert(parent(path).to_owned());
            }
        }
        for folder in touched {
            let path = layout::join(dir, &folder);
            disk::sync_dir(&path)
                .map_err(|error| Failure::disk(format!("cannot sync `{folder}`"), &error))?;
        }
        Ok(gone)
    }
}

impl Step<'_> {
    /// There is something to write or to record.
    fn is_news(&self, state: &State) -> bool {
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

    /// One sidecar that cannot be written stops nothing, but a full disk does.
    fn fail(&mut self, error: io::Error) -> Result<(), Failure> {
        let path = self.files.first().map_or("", |file| &file.path).to_owned();
        for file in self.files.drain(..) {
            let _ = fs::remove_file(file.temporary);
        }
        let failure = Failure::disk(format!("cannot write `{path}`"), &error);
        if failure.exit == Exit::NotWritable && error.kind() != io::ErrorKind::PermissionDenied {
            return Err(failure);
        }
        self.outcome = if error.kind() == io::ErrorKind::AlreadyExists {
            Outcome::Left(path)
        } else {
            Outcome::Failed(path, error)
        };
        Ok(())
    }
}

/// Decides by looking only.
fn plan<'a>(export: &Export, state: &State, at: Sidecars, task: &'a Task) -> Step<'a> {
    let wanted = &task.wanted;
    let (collection, file, part) = wanted.key;
    let recorded = state.meta.sidecars.get(&wanted.key);
    let mut step = Step {
        fact: Sidecar {
            collection,
            file,
            part,
            size: task.bytes.len() as u64,
            blake3: blake3::hash(&task.bytes).to_hex().to_string(),
            inputs: if task.complete { &wanted.inputs } else { "" }.to_owned(),
            second: false,
            n: recorded.map_or(1, |recorded| recorded.n),
            gone: false,
        },
        files: Vec::new(),
        unwanted: None,
        outcome: Outcome::Same,
    };
    let path = at
        .path(&wanted.folder, &format!("{}.json", wanted.name))
        .unwrap_or_default();
    if let Err(error) = plan_files(export, state, at, task, &path, &mut step) {
        step.files.clear();
        step.outcome = Outcome::Failed(path, error);
    }
    step
}

fn plan_files<'a>(
    export: &Export,
    state: &State,
    at: Sidecars,
    task: &'a Task,
    path: &str,
    step: &mut Step<'a>,
) -> io::Result<()> {
    let wanted = &task.wanted;
    let (collection, file, part) = wanted.key;
    let recorded = state.meta.sidecars.get(&wanted.key);
    let whole = |path: &str, suffix: &str, replaces: bool| Whole {
        path: path.to_owned(),
        temporary: export.state_path(&format!("partial/meta-{collection}-{file}-{part}{suffix}")),
        bytes: &task.bytes,
        replaces,
    };
    if !fs::symlink_metadata(export.dir().join(&wanted.folder))?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    match look(export.dir(), path)? {
        Found::File(found) if found == step.fact.blake3 => {}
        Found::File(found)
            if recorded.is_none_or(|recorded| recorded.blake3 != found)
                && !is_second_of_another(state, wanted, &found) =>
        {
            step.outcome = Outcome::Left(path.to_owned());
            return Ok(());
        }
        Found::Other => {
            step.outcome = Outcome::Left(path.to_owned());
            return Ok(());
        }
        found => {
            step.outcome = Outcome::Written;
            step.fact.n = recorded.map_or(0, |recorded| recorded.n) + 1;
            step.files.push(whole(path, "", found != Found::Nothing));
        }
    }
    let had_second = recorded.filter(|recorded| recorded.second);
    let second_path = |name: &str| at.path(&wanted.folder, name).unwrap_or_default();
    if let Some(second) = &wanted.second {
        let path = second_path(second);
        match look(export.dir(), &path)? {
            Found::File(found) if found == step.fact.blake3 => step.fact.second = true,
            // Theirs came first; the first sidecar is enough for most readers.
            Found::File(found) if had_second.is_none_or(|had| had.blake3 != found) => {}
            Found::Other => {}
            found => {
                step.fact.second = true;
                step.outcome = Outcome::Written;
                step.files.push(whole(&path, "-2", found != Found::Nothing));
            }
        }
    } else if let Some(had) = had_second
        && let Some(second) = second_sidecar_name(&wanted.name)
    {
        step.unwanted = Some((second_path(&second), had.blake3.clone()));
    }
    Ok(())
}

/// The content is that of a second sidecar in the same folder, which gives way to a first.
fn is_second_of_another(state: &State, wanted: &Wanted, blake3: &str) -> bool {
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
                && sidecar.blake3 == blake3
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
            Ok(Found::File(blake3::hash(&bytes).to_hex().to_string()))
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
