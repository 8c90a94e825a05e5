//! Writes sidecars in batches: whole files first, then the facts, then the names.
//!
//! A fact may run ahead of the rename that makes it true; the whole file then waits in `partial/`, and the next start finishes the move. What
//! somebody edited, and what is not ours, is left alone.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use ente_common::cli::Io;
use ente_common::disk;
use ente_common::exit::{Exit, Failure};
use ente_common::layout::{self, Sidecars};
use ente_common::manifest::facts::{MetaFact, Sidecar};
use ente_common::manifest::state::{DecryptState, MetaState};
use ente_common::manifest::{Claim, Claimed, Export, Journal, Lock, State, private_dir};
use rayon::prelude::*;

use crate::decide::{Found, Outcome, Step, Task, Whole, decide, look, parent};
use crate::settle::LeftOver;

/// Syncs of small files wait most of their time, and wait well together.
const WRITERS: usize = 32;

/// How often a folder is made again that somebody removes.
const TRIES: usize = 20;

/// The one writer of `meta.jsonl`; takes its lock when there is something to write.
#[derive(Debug)]
pub(crate) struct Writer {
    export: Export,
    clock: fn() -> i64,
    claim: Claim,
    hold: Option<Hold>,
}

#[derive(Debug)]
struct Hold {
    journal: Journal,
    pool: rayon::ThreadPool,
    /// Freed last.
    _lock: Lock,
}

impl Writer {
    /// A writer that has not written yet.
    pub(crate) fn new(export: Export, claim: Claim, io: &Io) -> Self {
        Self {
            export,
            clock: io.clock,
            claim,
            hold: None,
        }
    }

    /// The export that is written to.
    pub(crate) fn export(&self) -> &Export {
        &self.export
    }

    /// Takes the lock, if it is not held already, and takes in what another run may have written before. True after a wait for another run: what
    /// was planned before may be history.
    ///
    /// # Errors
    /// When another run holds it, or moves files.
    pub(crate) fn lock(&mut self, state: &mut State) -> Result<bool, Failure> {
        if self.hold.is_some() {
            return Ok(false);
        }
        let export = &self.export;
        let Claimed {
            lock, has_waited, ..
        } = self.claim.take(export, &["ente-decrypt"], || Ok(()))?;
        let state_dir = export.state_dir();
        state.meta = MetaState::load_within(&state_dir, state.focus.as_ref())?;
        if has_waited {
            state.decrypt = DecryptState::load_within(&state_dir, state.focus.as_ref())?;
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(WRITERS)
            .build()
            .map_err(|error| Failure::new(Exit::Failed, "cannot start threads").cause(error))?;
        self.hold = Some(Hold {
            journal: Journal::open(&export.state_dir(), "meta")?,
            pool,
            _lock: lock,
        });
        Ok(has_waited)
    }

    /// A stage before this one holds the lock.
    pub(crate) fn is_another_at_work(&self) -> bool {
        let holder = Lock::holder(&self.export.state_dir(), "ente-meta");
        let holder = holder.ok().flatten();
        self.hold.is_none() && holder.is_some_and(|holder| holder.run == self.claim.run())
    }

    /// Frees the lock until there is something to write again; who holds it then is waited for.
    pub(crate) fn release(&mut self, io: &Io) {
        self.hold = None;
        self.claim.be_patient(io);
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

    /// Makes the sidecars of a batch say what they are to say; one outcome for each task. `None` after a wait for another run: the tasks are to be
    /// planned anew, and nothing was written yet.
    ///
    /// # Errors
    /// When nothing more can be written: another run holds the lock, the disk is full.
    pub(crate) fn write(
        &mut self,
        state: &mut State,
        at: Sidecars,
        tasks: &[Task],
    ) -> Result<Option<Vec<Outcome>>, Failure> {
        for task in tasks {
            // `ente-decrypt` is done with this file: what waits was left by a killed run.
            for left in LeftOver::of(&self.export, task.wanted.key) {
                if self.lock(state)? {
                    return Ok(None);
                }
                // One that has to wait is told of at the end of the run, if it waits still.
                let _ = left.settle(&self.export, state)?;
            }
        }
        let mut steps = self.decide(state, at, tasks);
        if steps.iter().any(|step| step.is_news(state)) {
            if self.hold.is_none() {
                // The lock comes before the first byte; what was seen without it may be history.
                if self.lock(state)? {
                    return Ok(None);
                }
                steps = self.decide(state, at, tasks);
            }
            self.store(state, &mut steps)?;
            let facts = steps.iter().filter(|step| step.is_news(state));
            let facts = facts.map(|step| MetaFact::Sidecar(step.fact.clone()));
            let facts = facts.collect();
            self.record(state, facts)?;
            let untrue = self.place(state, &mut steps)?;
            self.record(state, untrue)?;
        }
        let outcomes = steps.into_iter().map(|step| step.outcome);
        Ok(Some(outcomes.collect()))
    }

    fn decide<'a>(&self, state: &State, at: Sidecars, tasks: &'a [Task]) -> Vec<Step<'a>> {
        let export = &self.export;
        let decide = |task| decide(export, state, at, task);
        tasks.par_iter().map(decide).collect()
    }

    /// Writes whole, synced files into `partial/`.
    fn store(&mut self, state: &mut State, steps: &mut [Step<'_>]) -> Result<(), Failure> {
        let (export, day) = (self.export.clone(), layout::day((self.clock)()));
        let dir = export.dir().to_owned();
        private_dir(&self.export.state_path("partial"))
            .map_err(|error| Failure::disk("cannot make `.ente/partial`", &error))?;
        let results: Vec<_> = self.hold(state)?.pool.install(|| {
            let store = |file: &Whole<'_>| {
                disk::make_dir_below(&dir, parent(&file.path))?;
                let mut temporary = File::create(&file.temporary)?;
                temporary.write_all(file.bytes)?;
                temporary.sync_data()
            };
            let all = |step: &Step<'_>| {
                if let Some(path) = &step.older {
                    discard(&export, &day, path)?;
                }
                step.files.iter().try_for_each(store)
            };
            steps.par_iter().map(all).collect()
        });
        let partial = self.export.state_path("partial");
        disk::sync_dir(&partial)
            .map_err(|error| Failure::disk("cannot sync `.ente/partial`", &error))?;
        for (step, result) in steps.iter_mut().zip(results) {
            if let Err(error) = result {
                step.fail(error)?;
                for file in step.files.drain(..) {
                    let _ = fs::remove_file(file.temporary);
                }
            }
        }
        Ok(())
    }

    /// Gives the files their names and makes that durable. Tells which facts are not true after all.
    fn place(
        &mut self,
        state: &mut State,
        steps: &mut [Step<'_>],
    ) -> Result<Vec<MetaFact>, Failure> {
        let dir = self.export.dir().to_owned();
        // Side by side: freeing the file that is replaced takes some file systems milliseconds.
        let results: Vec<Result<(), (bool, io::Error)>> = self.hold(state)?.pool.install(|| {
            let place = |file: &Whole<'_>| {
                let named = give_name(&dir, file);
                named.map_err(|error| (file.is_second, error))
            };
            let all = |step: &Step<'_>| step.files.iter().try_for_each(place);
            steps.par_iter().map(all).collect()
        });
        let mut touched = BTreeSet::new();
        let mut untrue = Vec::new();
        for (step, result) in steps.iter_mut().zip(results) {
            touched.extend(step.files.iter().map(|file| parent(&file.path).to_owned()));
            match result {
                Err((is_second, error)) if error.kind() == io::ErrorKind::AlreadyExists => {
                    // Somebody was faster: what came there since we looked is not ours.
                    untrue.push(MetaFact::Sidecar(Sidecar {
                        gone: !is_second,
                        second: false,
                        ..step.fact.clone()
                    }));
                    for file in step
                        .files
                        .drain(..)
                        .filter(|file| is_second == file.is_second)
                    {
                        let _ = fs::remove_file(file.temporary);
                        step.outcome = Outcome::Left(file.path);
                    }
                }
                // The whole file waits in `partial/` for the next start.
                Err((_, error)) => step.fail(error)?,
                Ok(()) => {}
            }
            if let Some((path, blake3)) = &step.unwanted
                && matches!(look(&dir, path), Ok(Found::File(found)) if Some(found) == *blake3)
            {
                // It is a copy of a sidecar that stays: if it cannot be removed, nothing is wrong.
                let _ = fs::remove_file(layout::join(&dir, path));
                touched.insert(parent(path).to_owned());
            }
        }
        for folder in touched {
            let path = layout::join(&dir, &folder);
            disk::sync_dir(&path)
                .map_err(|error| Failure::disk(format!("cannot sync `{folder}`"), &error))?;
        }
        Ok(untrue)
    }
}

/// Moves a file to the trash, under a name that is free there. Before any fact: its place is free then for whatever comes.
fn discard(export: &Export, day: &str, path: &str) -> io::Result<()> {
    let below = format!("trash/{day}/{}", parent(path));
    let folder = disk::make_dir_below(&export.state_dir(), &below)?;
    let from = layout::join(export.dir(), path);
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    let stem = name.strip_suffix(".json").unwrap_or(name);
    let mut number = 0;
    loop {
        let to = match number {
            0 => folder.join(name),
            _ => folder.join(format!("{stem}_{number}.json")),
        };
        match disk::move_new(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            moved => return moved.and_then(|()| disk::sync_dir(&folder)),
        }
    }
}

/// Gives a file its final name. `ente-decrypt`, at work beside us in a pipe, removes folders that it finds empty, also one that was just made.
fn give_name(dir: &Path, file: &Whole<'_>) -> io::Result<()> {
    let path = layout::join(dir, &file.path);
    let rename = || match file.replaces {
        true => disk::move_over(&file.temporary, &path),
        false => disk::move_new(&file.temporary, &path),
    };
    for _ in 0..TRIES {
        match rename() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                disk::make_dir_below(dir, parent(&file.path))?;
            }
            result => return result,
        }
    }
    rename()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_removed_meanwhile_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let temporary = dir.path().join("meta-1-2-0");
        fs::write(&temporary, "{}").unwrap();
        let file = Whole {
            path: "Album/metadata/a.jpg.json".to_owned(),
            temporary,
            bytes: b"{}",
            replaces: false,
            is_second: false,
        };
        give_name(dir.path(), &file).unwrap();
        assert!(dir.path().join("Album/metadata/a.jpg.json").is_file());
    }
}
