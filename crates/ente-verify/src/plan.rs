//! What should be in the tree, as the facts tell: an expectation for each part, each sidecar and each file that was never written.
//!
//! Pure: facts in, expectations out.

use blake3::Hash;
use ente_common::id::Version;
use ente_common::manifest::facts::{File, Part, Placement, Sidecar};
use ente_common::manifest::{PlacementKey, State};
use ente_common::naming::second_sidecar_name;
use rayon::prelude::*;

/// Which file of a part is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum What {
    /// Its content.
    Content,
    /// Its sidecar.
    Sidecar,
    /// No part at all, but an encrypted object.
    Object,
}

impl What {
    /// As facts and records spell it; content goes without saying.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Content => "",
            Self::Sidecar => "sidecar",
            Self::Object => "object",
        }
    }

    /// People count these, and not the sidecars.
    pub(crate) fn is_file(self) -> bool {
        self != Self::Sidecar
    }
}

/// What an expectation is about, apart from where it lies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Subject {
    /// Collection ID; 0 for an object, which belongs to no collection.
    pub(crate) collection: i64,
    /// File ID.
    pub(crate) file: i64,
    /// Index of the part.
    pub(crate) part: usize,
    /// The part's content, its sidecar, or the object.
    pub(crate) what: What,
    /// Content version.
    pub(crate) version: Option<Version>,
    /// How many times it was written or fetched: a finding holds for one writing.
    pub(crate) n: u32,
}

/// The recorded bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Written {
    /// Size in bytes.
    pub(crate) size: u64,
    /// Digest; `None` if the record holds none that can be read, which no content equals.
    pub(crate) blake3: Option<Hash>,
    /// Digest that the owner's device left of the content, where it did.
    pub(crate) origin: Option<[u8; 64]>,
    /// Modification time in microseconds; sidecars have none on record.
    pub(crate) mtime: Option<i64>,
}

/// How the account sees what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum InAccount {
    /// As it is here, as far as this run asks.
    Same,
    /// It holds something newer.
    Newer,
    /// It no longer has it there.
    Gone,
}

/// One thing that should be in the tree.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Expected {
    /// What it is.
    pub(crate) subject: Subject,
    /// Its path below the export; `None` while it has no name.
    pub(crate) path: Option<String>,
    /// What was written; `None` if nothing was.
    pub(crate) written: Option<Written>,
    /// How the account sees it.
    pub(crate) account: InAccount,
    /// Why it was not written, or is not as in the account, where known.
    pub(crate) cause: Option<String>,
}

impl Expected {
    /// It stands for its whole placement.
    pub(crate) fn is_first(&self) -> bool {
        self.subject.part == 0 && self.subject.what == What::Content
    }
}

/// Everything that should be in the tree.
pub(crate) fn whole(state: &State) -> Vec<Expected> {
    let mut expected = Vec::new();
    for key in state.decrypt.placements.keys() {
        of_placement(state, *key, &mut expected);
    }
    for (key, file) in &state.pull.files {
        expected.extend(never_written(state, *key, file));
    }
    expected
}

/// What should be in the tree of one file in one album.
pub(crate) fn of_key(state: &State, key: PlacementKey) -> Vec<Expected> {
    let mut expected = Vec::new();
    of_placement(state, key, &mut expected);
    if let Some(file) = state.pull.files.get(&key) {
        expected.extend(never_written(state, key, file));
    }
    expected
}

/// Sorts by path.
pub(crate) fn sort(expected: &mut [Expected]) {
    expected.par_sort_unstable_by(|a, b| (&a.path, sort_key(a)).cmp(&(&b.path, sort_key(b))));
}

/// The paths of sorted expectations, sorted.
pub(crate) fn paths(expected: &[Expected]) -> Vec<&str> {
    let paths = expected.iter().filter_map(|it| it.path.as_deref());
    paths.collect()
}

fn sort_key(expected: &Expected) -> (i64, i64, usize, What) {
    let of = &expected.subject;
    (of.collection, of.file, of.part, of.what)
}

/// Adds what was written of one placement, and the sidecars that belong to it. Adds nothing for one that is not written.
pub(crate) fn of_placement(state: &State, key: PlacementKey, expected: &mut Vec<Expected>) {
    let (Some(placement), Some(folder)) = (
        state.decrypt.placements.get(&key),
        state.decrypt.folders.get(&key.0),
    ) else {
        return;
    };
    let wanted = state.pull.files.get(&key);
    for (index, part) in placement.parts.iter().enumerate() {
        // Once per placement: its first part stands for all.
        let is_outdated =
            index == 0 && wanted.is_some_and(|file| file.version != placement.version);
        expected.push(Expected {
            subject: subject(key, index, What::Content, placement.version, placement.n),
            path: Some(format!("{}/{}", folder.name, part.name)),
            written: Some(written(part)),
            account: if is_outdated {
                InAccount::Newer
            } else {
                InAccount::Same
            },
            cause: is_outdated.then(|| "the account holds newer content".to_owned()),
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
                        account: InAccount::Same,
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
                account: InAccount::Same,
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
        blake3: part.blake3,
        origin: part.hash,
        mtime: Some(part.mtime),
    }
}

fn written_sidecar(sidecar: &Sidecar) -> Written {
    Written {
        size: sidecar.size,
        blake3: sidecar.blake3,
        origin: None,
        mtime: None,
    }
}

/// A file of the account of which nothing is on disk yet; `None` if something is.
fn never_written(state: &State, key: PlacementKey, file: &File) -> Option<Expected> {
    let placement = state.decrypt.placements.get(&key);
    let folder = state.decrypt.folders.get(&key.0);
    if folder.is_some() && placement.is_some_and(|it| !it.parts.is_empty()) {
        return None;
    }
    Some(Expected {
        subject: subject(key, 0, What::Content, file.version, 0),
        // Where it is to come, if its album and it were named already.
        path: folder
            .zip(placement)
            .map(|(folder, placement)| format!("{}/{}", folder.name, placement.name)),
        written: None,
        account: InAccount::Same,
        cause: file
            .version
            .and_then(|version| why_not(state, key.1, version)),
    })
}

/// Why content was not exported, as far as the facts tell.
fn why_not(state: &State, file: i64, version: Version) -> Option<String> {
    let content = (file, version);
    let aside = state.decrypt.asides.get(&content).map(|it| &it.cause);
    let verdict = state.decrypt.verdicts.get(&content).map(|it| &it.cause);
    let failed = state.pull.failed.get(&content).map(|it| &it.cause);
    let cause = aside.or(verdict).or(failed)?;
    (!cause.is_empty()).then(|| cause.clone())
}
