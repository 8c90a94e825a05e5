//! What should be in the tree, as the facts tell: an expectation for each part, each sidecar and each file that was never written.
//!
//! Pure: facts in, expectations out.

use blake3::Hash;
use ente_common::id::Version;
use ente_common::manifest::facts::{Part, Placement, Sidecar};
use ente_common::manifest::{PlacementKey, State};
use ente_common::naming::second_sidecar_name;

/// Which file of a part is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// Its content.
    Content,
    /// Its sidecar.
    Sidecar,
}

impl What {
    /// As facts and records spell it; content goes without saying.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Content => "",
            Self::Sidecar => "sidecar",
        }
    }
}

/// What an expectation is about, apart from where it lies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// Collection ID.
    pub collection: i64,
    /// File ID.
    pub file: i64,
    /// Index of the part.
    pub part: usize,
    /// The part's content or its sidecar.
    pub what: What,
    /// Content version.
    pub version: Option<Version>,
    /// How many times it was written: a finding holds for one writing.
    pub n: u32,
}

/// The recorded bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Written {
    /// Size in bytes.
    pub size: u64,
    /// Digest; `None` if the record holds none that can be read, which no content equals.
    pub blake3: Option<Hash>,
    /// Modification time in microseconds; sidecars have none on record.
    pub mtime: Option<i64>,
}

/// One thing that should be in the tree.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Expected {
    /// What it is.
    pub subject: Subject,
    /// Its path below the export; `None` while it has no name.
    pub path: Option<String>,
    /// What was written; `None` if nothing was.
    pub written: Option<Written>,
    /// The account holds newer content.
    pub outdated: bool,
    /// Why it was not written, where known.
    pub cause: Option<String>,
}

/// Everything that should be in the tree, sorted by path.
pub fn whole(state: &State) -> Vec<Expected> {
    let mut expected = Vec::new();
    for key in state.decrypt.placements.keys() {
        of_placement(state, *key, &mut expected);
    }
    for (key, file) in &state.pull.files {
        if !is_written(state, *key) {
            let subject = subject(*key, 0, What::Content, file.version, 0);
            expected.push(never_written(state, subject, pending_path(state, *key)));
        }
    }
    expected.sort_by(|a, b| (&a.path, sort_key(a)).cmp(&(&b.path, sort_key(b))));
    expected
}

fn sort_key(expected: &Expected) -> (i64, i64, usize, What) {
    let of = &expected.subject;
    (of.collection, of.file, of.part, of.what)
}

/// Whether anything of a placement is on disk, as far as the facts tell.
fn is_written(state: &State, key: PlacementKey) -> bool {
    let parts = state.decrypt.placements.get(&key).map(|it| it.parts.len());
    parts.is_some_and(|parts| parts > 0) && state.decrypt.folders.contains_key(&key.0)
}

/// Adds what was written of one placement, and the sidecars that belong to it. Adds nothing for one that is not written.
pub fn of_placement(state: &State, key: PlacementKey, expected: &mut Vec<Expected>) {
    let (Some(placement), Some(folder)) = (
        state.decrypt.placements.get(&key),
        state.decrypt.folders.get(&key.0),
    ) else {
        return;
    };
    let wanted = state.pull.files.get(&key);
    for (index, part) in placement.parts.iter().enumerate() {
        expected.push(Expected {
            subject: subject(key, index, What::Content, placement.version, placement.n),
            path: Some(format!("{}/{}", folder.name, part.name)),
            written: Some(written(part)),
            // Once per placement: its first part stands for all.
            outdated: index == 0 && wanted.is_some_and(|file| file.version != placement.version),
            cause: None,
        });
        sidecars(state, key, index, placement, &folder.name, expected);
    }
}

/// The sidecars of one part: those on record, or the one that is still to be written.
fn sidecars(
    state: &State,
    key: PlacementKey,
    index: usize,
    placement: &Placement,
    folder: &str,
    expected: &mut Vec<Expected>,
) {
    let at = state.meta.sidecars_at();
    let part = &placement.parts[index];
    let Some(path) = at.path(folder, &format!("{}.json", part.name)) else {
        return;
    };
    match state.meta.sidecars.get(&(key.0, key.1, index)) {
        Some(sidecar) => {
            let second = sidecar
                .second
                .then(|| second_sidecar_name(&part.name))
                .flatten()
                .and_then(|name| at.path(folder, &name));
            expected.extend(
                [Some(path), second]
                    .into_iter()
                    .flatten()
                    .map(|path| Expected {
                        subject: subject(key, index, What::Sidecar, placement.version, sidecar.n),
                        path: Some(path),
                        written: Some(written_sidecar(sidecar)),
                        outdated: false,
                        cause: None,
                    }),
            );
        }
        // Who does not use `ente-meta` misses no sidecar; nor does a file that left the account.
        None if !state.meta.sidecars.is_empty() && state.pull.files.contains_key(&key) => {
            let subject = subject(key, index, What::Sidecar, placement.version, 0);
            expected.push(Expected {
                subject,
                path: Some(path),
                written: None,
                outdated: false,
                cause: Some("its sidecar is not written yet".to_owned()),
            });
        }
        None => {}
    }
}

fn subject(
    key: PlacementKey,
    part: usize,
    what: What,
    version: Option<Version>,
    n: u32,
) -> Subject {
    let (collection, file) = key;
    Subject {
        collection,
        file,
        part,
        what,
        version,
        n,
    }
}

fn written(part: &Part) -> Written {
    Written {
        size: part.size,
        blake3: Hash::from_hex(&part.blake3).ok(),
        mtime: Some(part.mtime),
    }
}

fn written_sidecar(sidecar: &Sidecar) -> Written {
    Written {
        size: sidecar.size,
        blake3: Hash::from_hex(&sidecar.blake3).ok(),
        mtime: None,
    }
}

fn never_written(state: &State, subject: Subject, path: Option<String>) -> Expected {
    let content = subject.version.map(|version| (subject.file, version));
    let known = content.and_then(|content| {
        let verdict = state.decrypt.verdicts.get(&content).map(|it| &it.cause);
        let aside = state.decrypt.asides.get(&content).map(|it| &it.cause);
        let failed = state.pull.failed.get(&content).map(|it| &it.cause);
        aside.or(verdict).or(failed).cloned()
    });
    Expected {
        subject,
        path,
        written: None,
        outdated: false,
        cause: known.filter(|cause| !cause.is_empty()),
    }
}

/// Where a file is to come, if its album and it were named already.
fn pending_path(state: &State, key: PlacementKey) -> Option<String> {
    let folder = state.decrypt.folders.get(&key.0)?;
    let placement = state.decrypt.placements.get(&key)?;
    Some(format!("{}/{}", folder.name, placement.name))
}
