//! `--prune`: empties the trash of what has lain there long enough.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ente_common::cli::{Io, run_id};
use ente_common::disk;
use ente_common::exit::{Exit, Failure};
use ente_common::manifest::facts::{Pruned, VerifyFact};
use ente_common::manifest::{Export, Journal};
use ente_common::ui::human_bytes;
use jiff::civil::Date;
use walkdir::WalkDir;

use crate::report::counted;
use crate::{Args, NAME};

/// The tools that put things into the trash and take them back.
const TRASHERS: [&str; 2] = ["ente-pull", "ente-decrypt"];

/// Files whose facts are synced together, before the files go.
const BATCH: usize = 1024;

/// Removes every file below `trash/DATE` where DATE is `days` days ago or earlier, and the folders that it empties.
pub(crate) fn run(args: &Args, days: i64, io: &mut Io) -> Result<Exit, Failure> {
    let export = Export::open(&Export::locate(args.source.dir()?, None)?)?;
    let run = run_id();
    export.check_idle(&TRASHERS, &run, args.break_lock)?;
    let trash = export.state_path("trash");
    let old = old_folders(&trash, days, (io.clock)())
        .map_err(|error| Failure::disk(format!("cannot read `{}`", trash.display()), &error))?;
    if old.is_empty() {
        io.ui.note("nothing in the trash is that old");
        return Ok(Exit::Done);
    }
    let _lock = export.lock(NAME, &run, (io.clock)(), args.break_lock)?;
    let mut pruner = Pruner {
        journal: Journal::open(&export.state_dir(), "verify")?,
        files: 0,
        bytes: 0,
        failed: 0,
        touched: BTreeSet::new(),
    };
    for folder in &old {
        pruner.empty(&trash, folder, io)?;
    }
    for folder in pruner.touched.iter().filter(|folder| folder.is_dir()) {
        disk::sync_dir(folder).map_err(|error| {
            Failure::disk(format!("cannot sync `{}`", folder.display()), &error)
        })?;
    }
    io.ui.note(&format!(
        "removed {}, {}, from the trash",
        counted(pruner.files, "file"),
        human_bytes(pruner.bytes)
    ));
    Ok(if pruner.failed == 0 {
        Exit::Done
    } else {
        Exit::Problems
    })
}

/// The folders of the trash that are old enough, oldest first. Whatever is not called after a day is none of ours.
fn old_folders(trash: &Path, days: i64, now_us: i64) -> io::Result<Vec<PathBuf>> {
    match fs::symlink_metadata(trash) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    }
    let mut folders = Vec::new();
    for entry in fs::read_dir(trash)? {
        let entry = entry?;
        let age = entry
            .file_name()
            .to_str()
            .and_then(|name| age_days(name, now_us));
        if age.is_some_and(|age| age >= days) && entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    folders.sort();
    Ok(folders)
}

/// How many days ago the day in a folder's name was, as the calendar counts; `None` if the name is no day. A day to come is today's elsewhere.
fn age_days(name: &str, now_us: i64) -> Option<i64> {
    let day: Date = name.parse().ok()?;
    let today = jiff::Timestamp::from_microsecond(now_us)
        .ok()?
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date();
    let age = today.since(day).ok()?.get_days();
    // One spelling only: the parser knows others.
    (day.to_string() == name).then(|| i64::from(age).max(0))
}

struct Pruner {
    journal: Journal,
    files: u64,
    bytes: u64,
    failed: u64,
    /// Folders that something was removed from.
    touched: BTreeSet<PathBuf>,
}

impl Pruner {
    fn empty(&mut self, trash: &Path, folder: &Path, io: &Io) -> Result<(), Failure> {
        let mut batch = Vec::new();
        // What lies in a folder before the folder itself, so that emptied ones can go.
        for entry in WalkDir::new(folder)
            .contents_first(true)
            .sort_by_file_name()
        {
            if io.interrupt.is_set() {
                break;
            }
            match entry {
                Ok(entry) if entry.file_type().is_dir() => {
                    self.remove(trash, &mut batch, io)?;
                    // One that is not empty stays, and whoever is in it was reported.
                    let _ = fs::remove_dir(entry.path());
                    self.touched
                        .extend(entry.path().parent().map(Path::to_owned));
                }
                Ok(entry) => {
                    let size = entry.metadata().map_or(0, |metadata| metadata.len());
                    batch.push((entry.into_path(), size));
                    if batch.len() == BATCH {
                        self.remove(trash, &mut batch, io)?;
                    }
                }
                Err(error) => self.fail(error.path().unwrap_or(folder), &error, io),
            }
        }
        self.remove(trash, &mut batch, io)
    }

    /// Facts first: what is said to be gone and is still there costs nothing, the other way round somebody would look for it.
    fn remove(
        &mut self,
        trash: &Path,
        batch: &mut Vec<(PathBuf, u64)>,
        io: &Io,
    ) -> Result<(), Failure> {
        for (path, _) in batch.iter() {
            if let Some(fact) = Pruned::of(path.strip_prefix(trash).unwrap_or(path)) {
                self.journal.append(&VerifyFact::Pruned(fact));
            }
        }
        self.journal.sync()?;
        for (path, size) in batch.drain(..) {
            self.touched.extend(path.parent().map(Path::to_owned));
            match fs::remove_file(&path) {
                Ok(()) => {
                    self.files += 1;
                    self.bytes += size;
                }
                Err(error) => self.fail(&path, &error, io),
            }
        }
        Ok(())
    }

    fn fail(&mut self, path: &Path, error: &dyn std::fmt::Display, io: &Io) {
        self.failed += 1;
        io.ui.warning(
            &Failure::new(
                Exit::Problems,
                format!("cannot remove `{}`", path.display()),
            )
            .cause(error)
            .hint("check who may write there, then run the same command again"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_days_have_an_age() {
        let now_us = 1_795_392_000_000_000; // 2026-11-23T00:00:00Z
        for (name, age) in [
            ("2026-11-23", Some(0)),
            ("2026-11-22", Some(1)),
            ("2026-10-24", Some(30)),
            ("2025-11-23", Some(365)),
            ("2026-11-24", Some(0)),
            ("2026-13-01", None),
            ("20261122", None),
            ("2026-11-22T10:00:00", None),
            ("notes", None),
            ("", None),
        ] {
            assert_eq!(age_days(name, now_us), age, "{name}");
        }
    }
}
