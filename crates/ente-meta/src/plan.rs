//! Which sidecars a file is to have, and whether those that are recorded still hold.
//!
//! Decided from facts alone: while the digest of all inputs is the recorded one, nothing is decrypted and nothing is read.

use std::collections::{HashMap, HashSet};

use blake3::Hasher;
use ente_common::layout::Sidecars;
use ente_common::manifest::facts::{Part, Placement};
use ente_common::manifest::{Digest, PartKey, State};
use ente_common::model::Visibility;
use ente_common::naming::second_sidecar_name;

use crate::open::Library;
use crate::sidecar::{FORM, visibility_name};

/// A sidecar that is to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// What it is about.
    pub(crate) key: PartKey,
    /// The album folder.
    pub(crate) folder: String,
    /// Name of the exported file.
    pub(crate) name: String,
    /// Name of the second sidecar, where importers need one.
    pub(crate) second: Option<String>,
    /// Digest of all that it is made of.
    pub(crate) inputs: Digest,
}

/// The plan of a whole export; remembers the names in folders where it matters.
#[derive(Debug, Default)]
pub(crate) struct Planner {
    folders: HashMap<i64, Names>,
}

/// The names in an album folder, in lower case.
#[derive(Debug, Default)]
struct Names {
    files: HashSet<String>,
    /// Stems that live photos own.
    stems: HashSet<String>,
    /// Who comes first under the name of a second sidecar.
    seconds: HashMap<String, (i64, usize)>,
}

impl Planner {
    /// Forgets names: others may have been given.
    pub(crate) fn forget(&mut self) {
        self.folders.clear();
    }

    /// All sidecars that a file is to have; with `stale`, only those that are not as recorded.
    pub(crate) fn wanted(
        &mut self,
        library: &Library,
        at: Sidecars,
        file: i64,
        stale: bool,
    ) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        if at == Sidecars::None {
            return wanted;
        }
        let state = &library.state;
        let mut base = None;
        for collection in library.holders(file) {
            let (Some(placement), Some(folder)) = (
                state.decrypt.placements.get(&(collection, file)),
                state.decrypt.folders.get(&collection),
            ) else {
                continue;
            };
            for (part, Part { name, .. }) in placement.parts.iter().enumerate() {
                let base = base.get_or_insert_with(|| inputs_of_file(library, file));
                let second = self.second(state, at, placement, part);
                let key = (collection, file, part);
                let inputs = inputs(base, key, [&folder.name, name], second.as_deref());
                if !stale || !holds(state, key, inputs) {
                    wanted.push(Wanted {
                        key,
                        folder: folder.name.clone(),
                        name: name.clone(),
                        second,
                        inputs,
                    });
                }
            }
        }
        wanted
    }

    /// The second sidecar of a part, unless a file, or the sidecar of another, has that name.
    fn second(
        &mut self,
        state: &State,
        at: Sidecars,
        placement: &Placement,
        part: usize,
    ) -> Option<String> {
        let second = second_sidecar_name(&placement.parts[part].name)?;
        let names = self
            .folders
            .entry(placement.collection)
            .or_insert_with(|| Names::of(state, placement.collection));
        let folded = second.to_lowercase();
        let of_file = folded.strip_suffix(".json").unwrap_or(&folded);
        let stem = of_file.rsplit_once('.').map_or(of_file, |(stem, _)| stem);
        let is_taken = names.files.contains(of_file)
            || names.stems.contains(stem)
            || (at == Sidecars::Beside && names.files.contains(&folded))
            || names.seconds.get(&folded) != Some(&(placement.file, part));
        (!is_taken).then_some(second)
    }
}

impl Names {
    fn of(state: &State, collection: i64) -> Self {
        let mut names = Self::default();
        for placement in state.decrypt.placements_in(collection) {
            let name = placement.name.to_lowercase();
            if placement.live {
                names.stems.insert(name);
            } else {
                names.files.insert(name);
            }
            for (index, part) in placement.parts.iter().enumerate() {
                names.files.insert(part.name.to_lowercase());
                if let Some(second) = second_sidecar_name(&part.name) {
                    let first = names.seconds.entry(second.to_lowercase());
                    first.or_insert((placement.file, index));
                }
            }
        }
        names
    }
}

/// The recorded sidecar is made of these inputs and was not found missing since.
fn holds(state: &State, key: PartKey, inputs: Digest) -> bool {
    let recorded = state.meta.sidecars.get(&key);
    recorded.is_some_and(|sidecar| sidecar.inputs == inputs) && !state.sidecar_lost(key)
}

/// What all sidecars of a file share: its entries in the order in which they are tried, and its albums.
fn inputs_of_file(library: &Library, file: i64) -> Hasher {
    let mut hasher = Hasher::new();
    let mut text = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    text(&format!("{FORM} {file}"));
    let holders: Vec<i64> = library.holders(file).collect();
    for &collection in &holders {
        let (name, visibility) = library
            .album_name(collection)
            .unwrap_or(("", Visibility::Visible));
        text(&format!("{collection} {}", visibility_name(visibility)));
        text(name);
    }
    text(if library.is_favorite(&holders) {
        "favorite"
    } else {
        ""
    });
    for collection in library.by_age(file) {
        text(&collection.to_string());
        let fact = library.state.pull.files.get(&(collection, file));
        text(&fact.map_or_else(String::new, |fact| fact.digest.to_string()));
    }
    hasher
}

/// The path takes part, though contents do not depend on it: where it changed, a look shows whether the sidecar came along.
fn inputs(
    base: &Hasher,
    (collection, _, part): PartKey,
    path: [&str; 2],
    second: Option<&str>,
) -> Digest {
    let mut hasher = base.clone();
    hasher.update(format!("{collection} {part} ").as_bytes());
    // A slash is in no name, so the names cannot run into each other.
    hasher.update(path.join("/").as_bytes());
    hasher.update(b"/");
    hasher.update(second.unwrap_or_default().as_bytes());
    hasher.finalize().into()
}
