//! `--adopt FOLDER`: which files of a folder are already in the account, told by the hashes that the owners' devices left there.
//!
//! The folder is read first and once; then records pass by, and each is looked up. Matches become facts, which the other tools take for content at
//! hand. Nothing in the folder is touched.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ente_common::cli::{Interrupt, Io};
use ente_common::digest::{ContentHash, ContentHasher};
use ente_common::disk::mtime_us;
use ente_common::exit::{Exit, Failure};
use ente_common::id::Version;
use ente_common::layout::STATE_DIR;
use ente_common::manifest::facts::{Adopted, PartOf, VerifyFact};
use ente_common::manifest::{ContentKey, Export, Journal, State};
use ente_common::record::{Problem, Record, path_to_value};
use ente_common::ui::shell_word;
use ente_common::ui::{Progress, human_bytes, human_count};
use rayon::prelude::*;
use serde_json::{Value, json};
use walkdir::WalkDir;

use crate::look::read_whole;
use crate::report::{UNREADABLE_HINT, counted};
use crate::stream::finish;
use crate::whole::pool;
use crate::{Args, NAME};

const RECIPE: &str = "`ente-pull --list DIR | ente-meta - | ente-verify --adopt FOLDER -`";

/// Hashes `folder`, matches it with the records, records what can be used.
pub(crate) fn run(args: &Args, folder: &Path, io: &mut Io) -> Result<Exit, Failure> {
    if !args.source.reads_records() {
        let what = "`--adopt` takes the account's hashes from records";
        return Err(Failure::new(Exit::Usage, what).hint(RECIPE));
    }
    let mut input = io.read_records()?;
    let begin = input.begin().clone();
    if ["ente-pull", "ente-decrypt"].contains(&&*begin.tool) {
        let what = "the records bring no hashes: they did not pass through `ente-meta`";
        return Err(Failure::new(Exit::Usage, what).hint(RECIPE));
    }
    let dir = Export::locate(args.source.dir()?, begin.export().as_deref())?;
    let export = Export::open(&dir).map_err(|failure| match failure.exit {
        Exit::Failed => failure.hint(format!(
            "`ente-pull --init {}` begins one",
            shell_word(&dir)
        )),
        _ => failure,
    })?;
    export.check_account(&begin.account)?;
    let _lock = export.lock(NAME, &begin.run, (io.clock)(), args.break_lock)?;
    let state = State::load(&export.state_dir())?;
    io.print(&input.begin_record().clone().with("tool", NAME))?;
    let mut adopter = Adopter::new(folder, &export, &state)?;
    adopter.read(args, io)?;
    while let Some(mut record) = input.next_record()? {
        if io.interrupt.is_set() {
            return Ok(Exit::Interrupted);
        }
        if record.kind() == "file" {
            adopter.look_up(&mut record);
        }
        io.print(&record)?;
    }
    let upstream = input.upstream();
    adopter.record(&export, upstream.is_whole())?;
    adopter.tell(io)?;
    let exit = finish(upstream, adopter.counts(), io)?;
    adopter.summary(io);
    Ok(match adopter.problems {
        0 => exit,
        _ => exit.and(Exit::Problems),
    })
}

/// A file of the folder.
struct Local {
    fact: Adopted,
    /// Files of the account that it is, or is a part of.
    ids: BTreeSet<i64>,
}

impl Local {
    fn looks_like_sidecar(&self) -> bool {
        let extension = self.fact.path.extension();
        extension.is_some_and(|it| it.eq_ignore_ascii_case("json"))
    }
}

/// A folder and what in the account it is.
struct Adopter<'a> {
    state: &'a State,
    root: PathBuf,
    /// The folder is the export itself.
    in_place: bool,
    /// The export, where it lies in the folder: what is there is no stranger.
    skip: PathBuf,
    held: HashSet<ContentKey>,
    files: Vec<Local>,
    by_hash: HashMap<[u8; 64], Vec<usize>>,
    bytes: u64,
    problems: u64,
    /// Files of the account that can be had, are exported already, or have no hash to find them by.
    adopted: u64,
    exported: u64,
    bare: u64,
}

/// Both digests of a file.
type Digests = ([u8; 64], blake3::Hash);

impl<'a> Adopter<'a> {
    fn new(folder: &Path, export: &Export, state: &'a State) -> Result<Self, Failure> {
        let real = |path: &Path| {
            let what = || format!("cannot read `{}`", path.display());
            fs::canonicalize(path).map_err(|error| Failure::disk(what(), &error))
        };
        let (root, dir) = (real(folder)?, real(export.dir())?);
        if !root.is_dir() {
            let what = format!("`{}` is not a folder", folder.display());
            return Err(Failure::new(Exit::Usage, what));
        }
        Ok(Self {
            state,
            in_place: root == dir,
            root,
            skip: dir,
            held: state.plaintexts(),
            files: Vec::new(),
            by_hash: HashMap::new(),
            bytes: 0,
            problems: 0,
            adopted: 0,
            exported: 0,
            bare: 0,
        })
    }

    /// Hashes every file of the folder, on all cores.
    fn read(&mut self, args: &Args, io: &mut Io) -> Result<(), Failure> {
        let mut found = Vec::new();
        let (in_place, skip) = (self.in_place, self.skip.clone());
        let is_wanted = |entry: &walkdir::DirEntry| {
            let is_state = entry.depth() == 1 && entry.file_name() == STATE_DIR;
            !is_state && (in_place || entry.path() != skip)
        };
        for entry in WalkDir::new(&self.root)
            .min_depth(1)
            .into_iter()
            .filter_entry(is_wanted)
        {
            match entry {
                Ok(entry) if entry.file_type().is_file() => found.push(entry.into_path()),
                Ok(_) => {}
                Err(error) => {
                    let path = error.path().unwrap_or(&self.root).to_owned();
                    self.unreadable(&path, &error, io)?;
                }
            }
        }
        if self.in_place {
            // What was written here is ours already.
            let recorded = self.state.recorded_paths();
            found.retain(|path| {
                let relative = path.strip_prefix(&self.root);
                relative.is_ok_and(|relative| !recorded.contains(relative))
            });
        }
        found.sort();
        let progress = io.ui.progress("hashing", found.len() as u64, 0);
        let look = |path: &PathBuf| look(path, &io.interrupt, &progress);
        let seen: Vec<io::Result<Option<(Adopted, Digests)>>> =
            pool(args)?.install(|| found.par_iter().with_max_len(1).map(look).collect());
        progress.finish();
        for (path, seen) in found.iter().zip(seen) {
            match seen {
                Ok(Some((mut fact, (digest, _)))) => {
                    if let (true, Ok(relative)) = (self.in_place, path.strip_prefix(&self.root)) {
                        fact.path = relative.to_owned();
                    }
                    self.bytes += fact.size;
                    self.by_hash
                        .entry(digest)
                        .or_default()
                        .push(self.files.len());
                    self.files.push(Local {
                        fact,
                        ids: BTreeSet::new(),
                    });
                }
                Ok(None) => {}
                Err(error) => self.unreadable(path, &error, io)?,
            }
        }
        Ok(())
    }

    /// Notes which files of the folder the file of a record is; adds that to the record.
    fn look_up(&mut self, record: &mut Record) {
        let version = record.members.get("version").and_then(Value::as_str);
        let version: Option<Version> = version.and_then(|it| it.parse().ok());
        let (Some(id), Some(version)) = (record.int("id"), version) else {
            return;
        };
        let digests = digests(record);
        if digests.is_empty() {
            self.bare += 1;
            return;
        }
        let found: Vec<&[usize]> = digests
            .iter()
            .map(|digest| self.by_hash.get(digest).map_or(&[][..], Vec::as_slice))
            .collect();
        let is_whole = found.iter().all(|files| !files.is_empty());
        let is_exported = self.held.contains(&(id, version));
        for (part, files) in found.iter().enumerate() {
            for &file in *files {
                let local = &mut self.files[file];
                local.ids.insert(id);
                if is_whole && !is_exported {
                    local.fact.of.push(PartOf {
                        id,
                        version,
                        part,
                        parts: digests.len(),
                    });
                }
            }
        }
        self.exported += u64::from(is_exported);
        self.adopted += u64::from(is_whole && !is_exported);
        record
            .members
            .insert("adopted".into(), (is_whole && !is_exported).into());
    }

    /// Writes the facts, and withdraws those of an earlier look at this folder that no longer hold.
    fn record(&self, export: &Export, is_whole: bool) -> Result<(), Failure> {
        let mut journal = Journal::open(&export.state_dir(), "verify")?;
        let standing = &self.state.verify.adopted;
        let mut left: BTreeMap<&PathBuf, &Adopted> = standing.iter().collect();
        left.retain(|path, _| match self.in_place {
            true => path.is_relative(),
            false => path.starts_with(&self.root),
        });
        for local in self.files.iter().filter(|it| self.is_worth(it)) {
            if left.remove(&local.fact.path) != Some(&local.fact) {
                journal.append(&VerifyFact::Adopted(local.fact.clone()));
            }
        }
        // What did not come may have matched.
        for adopted in left.into_values().filter(|_| is_whole) {
            journal.append(&VerifyFact::Adopted(Adopted {
                path: adopted.path.clone(),
                gone: true,
                ..Adopted::default()
            }));
        }
        Ok(journal.sync()?)
    }

    /// In the export itself a file counts also where no hash tells what it is: content may come that is the same.
    fn is_worth(&self, local: &Local) -> bool {
        !local.fact.of.is_empty()
            || self.in_place && local.ids.is_empty() && !local.looks_like_sidecar()
    }

    /// Prints a record for each file of the folder.
    fn tell(&self, io: &mut Io) -> Result<(), Failure> {
        for local in &self.files {
            let record = Record::new("local")
                .with("path", path_to_value(&local.fact.path))
                .with("size", local.fact.size)
                .with("files", json!(local.ids));
            io.print(&record)?;
        }
        Ok(())
    }

    fn unreadable(
        &mut self,
        path: &Path,
        error: &dyn std::fmt::Display,
        io: &mut Io,
    ) -> Result<(), Failure> {
        self.problems += 1;
        let problem = Problem {
            stage: NAME.into(),
            class: "unreadable".into(),
            path: Some(path.to_string_lossy().into_owned()),
            cause: error.to_string(),
            hint: UNREADABLE_HINT.into(),
            ..Problem::default()
        };
        if !io.records.prints() {
            io.ui.warning(&problem.to_failure());
        }
        io.print(&problem.to_record())
    }

    fn matched(&self) -> u64 {
        self.files.iter().filter(|it| !it.ids.is_empty()).count() as u64
    }

    fn counts(&self) -> Value {
        json!({
            "files": self.files.len(),
            "bytes": self.bytes,
            "matched": self.matched(),
            "adopted": self.adopted,
            "exported": self.exported,
            "without_hash": self.bare,
            "problems": self.problems,
        })
    }

    fn summary(&self, io: &Io) {
        let (sidecars, strange): (Vec<&Local>, Vec<&Local>) = self
            .files
            .iter()
            .filter(|it| it.ids.is_empty())
            .partition(|it| it.looks_like_sidecar());
        io.ui.note(&format!(
            "{}, {}: {} in the account, {} not, {} of metadata",
            counted(self.files.len() as u64, "file"),
            human_bytes(self.bytes),
            human_count(self.matched()),
            human_count(strange.len() as u64),
            human_count(sidecars.len() as u64),
        ));
        io.ui.note(&format!(
            "{} of the account need no download; {} have no hash to find them by",
            counted(self.adopted, "file"),
            human_count(self.bare),
        ));
        if self.adopted > 0 {
            io.ui
                .note("`ente-pull DIR | ente-decrypt - | ente-meta -` puts them in their places");
        }
    }
}

/// Looks at one file and reads it; `None` where the run is to stop.
fn look(
    path: &Path,
    interrupt: &Interrupt,
    progress: &Progress,
) -> io::Result<Option<(Adopted, Digests)>> {
    let metadata = fs::symlink_metadata(path)?;
    let (mut origin, mut blake3) = (ContentHasher::new(), blake3::Hasher::new());
    let is_whole = read_whole(path, metadata.len(), |bytes| {
        origin.update(bytes);
        blake3.update(bytes);
        progress.bytes(bytes.len() as u64);
        !interrupt.is_set()
    })?;
    progress.file();
    let (digest, blake3) = (origin.finish(), blake3.finalize());
    let fact = Adopted {
        path: path.to_owned(),
        size: metadata.len(),
        mtime: mtime_us(&metadata),
        blake3: Some(blake3),
        hash: Some(digest),
        ..Adopted::default()
    };
    Ok(is_whole.then_some((fact, (digest, blake3))))
}

/// The digest of each exported part of a record's file; none where the owner's device left nothing that says it.
fn digests(record: &Record) -> Vec<[u8; 64]> {
    let metadata = record.members.get("metadata");
    let text = |name: &str| metadata.and_then(|it| it[name].as_str());
    let is_live = text("type") == Some("live-photo");
    let hash: Option<ContentHash> = text("hash").and_then(|hash| hash.parse().ok());
    hash.map_or_else(Vec::new, |hash| hash.parts(is_live))
}
