//! What this stage prints.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use ente_common::cli::output_failure;
use ente_common::exit::Failure;
use ente_common::manifest::ciphertext::Ciphertext;
use ente_common::manifest::facts;
use ente_common::manifest::{PlacementKey, State};
use ente_common::record::{Problem, Record, Writer, entry_to_value};
use serde_json::{Map, Value, json};

use crate::plan::Target;

/// The most of a record that entries take up. Whoever reads records stops at lines of 16 MiB; what is left out here stands in the manifest.
const MAX_ENTRIES_BYTES: u64 = 8 << 20;

/// What was done, for `end` and the summary.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Records of any type.
    pub(crate) records: u64,
    /// `file` records.
    pub(crate) files: u64,
    pub(crate) removed: u64,
    pub(crate) fetched: u64,
    /// Objects that were here already, though the manifest did not know.
    pub(crate) found: u64,
    /// Bytes of the objects fetched.
    pub(crate) bytes: u64,
    /// Problems that are about a file.
    pub(crate) failed: u64,
    pub(crate) problems: u64,
    /// Objects still to be fetched when the run was stopped.
    pub(crate) left: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.files += other.files;
        self.removed += other.removed;
        self.fetched += other.fetched;
        self.found += other.found;
        self.bytes += other.bytes;
        self.failed += other.failed;
        self.problems += other.problems;
        self.left = other.left;
    }

    /// A closing record: `end` or `round`.
    pub(crate) fn to_record(self, kind: &str) -> Record {
        let counts = json!({
            "files": self.files, "fetched": self.fetched, "bytes": self.bytes, "problems": self.problems,
        });
        Record::new(kind).with("counts", json!({ crate::problems::STAGE: counts }))
    }
}

/// Entries as served, wherever the present listing put them.
#[derive(Debug)]
pub(crate) struct Entries {
    /// `.ente/` of the export; none while there is no export.
    state_dir: Option<PathBuf>,
    /// Where a run that writes nothing put what it was served.
    scratch: Option<PathBuf>,
    collections: HashSet<i64>,
    files: HashSet<PlacementKey>,
    stored: Option<Ciphertext>,
    fresh: Option<Ciphertext>,
}

impl Entries {
    pub(crate) fn new(state_dir: Option<&Path>, scratch: Option<&Path>) -> Self {
        Self {
            state_dir: state_dir.map(Path::to_owned),
            scratch: scratch.map(Path::to_owned),
            collections: HashSet::new(),
            files: HashSet::new(),
            stored: None,
            fresh: None,
        }
    }

    /// Notes what the listing found, so that it is looked for where the listing put it.
    pub(crate) fn found(&mut self, listing: &crate::listing::Listing) {
        if self.scratch.is_some() {
            self.collections.extend(&listing.written);
            let files = listing.files();
            self.files
                .extend(files.map(|file| (file.collection, file.id)));
        }
    }

    fn collection(&mut self, fact: &facts::Collection) -> Result<Option<Value>, Failure> {
        let is_fresh = self.collections.contains(&fact.id);
        Ok(entry_to_value(&self.source(is_fresh)?.collection(fact)?))
    }

    fn file(&mut self, fact: &facts::File) -> Result<Option<Value>, Failure> {
        let is_fresh = self.files.contains(&(fact.collection, fact.id));
        Ok(entry_to_value(&self.source(is_fresh)?.file(fact)?))
    }

    /// Opened at the first use: a run without changes needs neither.
    fn source(&mut self, is_fresh: bool) -> Result<&Ciphertext, Failure> {
        let (source, dir) = if is_fresh {
            (&mut self.fresh, &self.scratch)
        } else {
            (&mut self.stored, &self.state_dir)
        };
        match source {
            Some(source) => Ok(source),
            none => {
                let dir = dir.as_deref().unwrap_or(Path::new("."));
                Ok(none.insert(Ciphertext::open(dir)?))
            }
        }
    }
}

/// Prints records and counts them.
#[derive(Debug)]
pub(crate) struct Printer<'a> {
    pub(crate) writer: &'a mut Writer,
    pub(crate) entries: Entries,
    pub(crate) counts: Counts,
    /// Problems that are not about a file: each is worth a message of its own.
    pub(crate) notices: Vec<Problem>,
    /// The first problem that is about a file.
    pub(crate) example: Option<Problem>,
}

impl Printer<'_> {
    pub(crate) fn print(&mut self, record: &Record) -> Result<(), Failure> {
        self.counts.records += 1;
        self.writer
            .write(record)
            .map_err(|error| output_failure(&error))
    }

    pub(crate) fn problem(&mut self, problem: &Problem) -> Result<(), Failure> {
        self.counts.problems += 1;
        if problem.file.is_none() {
            self.notices.push(problem.clone());
        } else {
            self.counts.failed += 1;
            self.example.get_or_insert_with(|| problem.clone());
        }
        self.print(&problem.to_record())
    }

    /// Prints a collection; `change` is `new`, `changed`, `gone` or `listed`.
    pub(crate) fn collection(
        &mut self,
        fact: &facts::Collection,
        change: &str,
    ) -> Result<(), Failure> {
        if !self.writer.prints() {
            return Ok(());
        }
        let mut record = Record::new("collection")
            .with("id", fact.id)
            .with("change", change);
        if !fact.gone
            && let Some(entry) = self.entries.collection(fact)?
        {
            record = record.with("entry", entry);
        }
        self.print(&record)
    }

    /// Prints a file with its placements. `left`: collections that it is no longer in.
    pub(crate) fn file(
        &mut self,
        state: &State,
        id: i64,
        target: &Target,
        change: &[&str],
        object: Option<&str>,
        left: &[i64],
    ) -> Result<(), Failure> {
        self.counts.files += 1;
        if !self.writer.prints() {
            return Ok(());
        }
        let mut record = Record::new("file")
            .with("id", id)
            .with("owner", target.owner);
        if let Some(version) = target.version {
            record = record.with("version", version.to_string());
        }
        if let Some(size) = target.size {
            record = record.with("size", size);
        }
        record = record.with("change", change);
        if let Some(object) = object {
            record = record.with("object", object);
        }
        let mut placements = Vec::new();
        let mut room = MAX_ENTRIES_BYTES;
        for collection in &target.collections {
            let Some(fact) = state.pull.files.get(&(*collection, id)) else {
                continue;
            };
            let mut placement = Map::new();
            placement.insert("collection".into(), (*collection).into());
            if let Some(left) = room.checked_sub(fact.len) {
                room = left;
                let entry = self.entries.file(fact)?;
                placement.extend(entry.map(|entry| ("entry".to_owned(), entry)));
            }
            placements.push(Value::Object(placement));
        }
        placements.extend(
            left.iter()
                .map(|collection| json!({"collection": collection, "gone": true})),
        );
        self.print(&record.with("placements", placements))
    }
}
