//! Content that lies on this machine already: what `ente-verify --adopt` found, as far as it still holds.
//!
//! Files elsewhere (absolute paths) may be copied any number of times. Files of the tree itself (relative paths) are renamed, so each of them serves
//! one placement.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use blake3::Hash;

use crate::disk::is_as_recorded;
use crate::manifest::Export;
use crate::manifest::facts::{Adopted, PartOf};
use crate::manifest::state::{ContentKey, State};
use crate::naming::part_extension;

/// A live photo has two.
const MOST_PARTS: usize = 2;

/// The files that may stand for each content.
#[derive(Clone, Debug, Default)]
pub struct Adoptable {
    /// For each part, the files that may be it.
    contents: BTreeMap<ContentKey, Vec<Vec<Adopted>>>,
    /// Contents of which files were adopted that are not there, as far as nothing else stands for them, and one such file.
    gone: BTreeMap<ContentKey, PathBuf>,
}

impl State {
    /// What was adopted, is one of the `wanted` contents, and is still what it was, as `is_there` tells.
    pub fn adoptable(
        &self,
        wanted: &BTreeSet<ContentKey>,
        is_there: impl Fn(&Adopted) -> bool,
    ) -> Adoptable {
        let mut adoptable = Adoptable::default();
        if wanted.is_empty() || self.verify.adopted.is_empty() {
            return adoptable;
        }
        let is_wanted = |of: &&PartOf| wanted.contains(&(of.id, of.version));
        let adopted = self.verify.adopted.values();
        let matched: Vec<_> = adopted
            .filter(|it| it.of.iter().any(|of| is_wanted(&of)))
            .collect();
        let is_ours = match matched.iter().any(|it| it.path.is_relative()) {
            true => self.recorded_paths(),
            false => HashSet::new(),
        };
        for adopted in matched.iter().filter(|it| !is_ours.contains(&it.path)) {
            let is_there = is_there(adopted);
            for of in adopted.of.iter().filter(is_wanted) {
                let content = (of.id, of.version);
                if !is_there {
                    adoptable.gone.insert(content, adopted.path.clone());
                    continue;
                }
                let parts = adoptable
                    .contents
                    .entry(content)
                    .or_insert_with(|| vec![Vec::new(); of.parts.min(MOST_PARTS)]);
                if let Some(part) = parts.get_mut(of.part) {
                    part.push(Adopted::clone(adopted));
                }
            }
        }
        adoptable
            .contents
            .retain(|_, parts| !parts.is_empty() && parts.iter().all(|part| !part.is_empty()));
        let held = &adoptable.contents;
        adoptable
            .gone
            .retain(|content, _| !held.contains_key(content));
        adoptable
    }

    /// Paths below the export at which a part is recorded.
    pub fn recorded_paths(&self) -> HashSet<PathBuf> {
        let placements = self.decrypt.placements.iter();
        let parts = placements.flat_map(|(key, it)| (0..it.parts.len()).map(|part| (*key, part)));
        parts
            .filter_map(|(key, part)| self.decrypt.path(key, part))
            .map(PathBuf::from)
            .collect()
    }

    /// A file of the tree that was seen by `--adopt`, is nobody's, and has this content: the very file that is to come there.
    pub fn is_seen(&self, path: &Path, size: u64, blake3: Option<Hash>) -> Option<&Adopted> {
        let seen = self.verify.adopted.get(path)?;
        ((seen.size, seen.blake3) == (size, blake3)).then_some(seen)
    }
}

impl Export {
    /// The file is still what `--adopt` found. One of the tree lies behind no link, or it would lead out of it; and where it bears another time,
    /// its content tells, since a run that was killed before it could record that may have dated it.
    pub fn has_adopted(&self, adopted: &Adopted) -> bool {
        let path = self.dir().join(&adopted.path);
        let folders = adopted.path.ancestors().skip(1);
        let mut folders = folders.filter(|it| !it.as_os_str().is_empty());
        let is_real = |folder: &Path| {
            let path = self.dir().join(folder);
            fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
        };
        (adopted.path.is_absolute() || folders.all(is_real))
            && (is_as_recorded(&path, adopted.size, adopted.mtime)
                || adopted.path.is_relative() && holds(&path, adopted.size, adopted.blake3))
    }
}

/// A regular file of this content is at `path`.
fn holds(path: &Path, size: u64, blake3: Option<Hash>) -> bool {
    let is_it = || -> io::Result<bool> {
        let metadata = fs::symlink_metadata(path)?;
        if !metadata.is_file() || metadata.len() != size {
            return Ok(false);
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(path)?)?;
        Ok(Some(hasher.finalize()) == blake3)
    };
    is_it().unwrap_or(false)
}

impl Adoptable {
    /// Nothing was adopted.
    pub fn is_empty(&self) -> bool {
        self.contents.is_empty()
    }

    /// A file that was adopted for this content and is not there, if nothing else stands for it.
    pub fn gone(&self, content: ContentKey) -> Option<&Path> {
        self.gone.get(&content).map(PathBuf::as_path)
    }

    /// The contents that can be had without a download.
    pub fn covered(&self) -> HashSet<ContentKey> {
        let mut used = HashSet::new();
        let contents = self.contents.keys().copied();
        contents
            .filter(|content| {
                self.elsewhere(*content).is_some()
                    || self.take(*content, &mut used, |_, _| true).is_some()
            })
            .collect()
    }

    /// Files elsewhere that are this content: one for each part.
    pub fn elsewhere(&self, content: ContentKey) -> Option<Vec<&Adopted>> {
        self.choose(content, |_, adopted| adopted.path.is_absolute())
    }

    /// Files of the tree that are this content and not `used` yet, one for each part; `fits` says which. They count as used then.
    pub fn take(
        &self,
        content: ContentKey,
        used: &mut HashSet<PathBuf>,
        fits: impl Fn(usize, &Path) -> bool,
    ) -> Option<Vec<&Adopted>> {
        let chosen = self.choose(content, |part, adopted| {
            adopted.path.is_relative() && !used.contains(&adopted.path) && fits(part, &adopted.path)
        })?;
        used.extend(chosen.iter().map(|adopted| adopted.path.clone()));
        Some(chosen)
    }

    fn choose(
        &self,
        content: ContentKey,
        fits: impl Fn(usize, &Adopted) -> bool,
    ) -> Option<Vec<&Adopted>> {
        let parts = self.contents.get(&content)?;
        let mut chosen: Vec<&Adopted> = Vec::new();
        for (index, candidates) in parts.iter().enumerate() {
            // Both halves of a live photo share a stem, so only their extensions keep them apart.
            let is_free = |adopted: &&Adopted| {
                !chosen
                    .iter()
                    .any(|other| extension(&other.path) == extension(&adopted.path))
            };
            let mut candidates = candidates.iter().filter(|adopted| fits(index, adopted));
            chosen.push(candidates.find(is_free)?);
        }
        Some(chosen)
    }
}

fn extension(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    part_extension(&name.to_string_lossy()).to_lowercase()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::id::Version;
    use crate::manifest::Account;
    use crate::manifest::facts::{DecryptFact, Folder, Part, Placement, VerifyFact};

    #[test]
    fn a_file_of_the_tree_that_bears_another_time_is_told_by_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let account = Account {
            endpoint: "https://e".into(),
            app: "photos".into(),
            user_id: 1,
            email: "a@b".into(),
        };
        let export = Export::create(&dir.path().join("Ente"), account, Value::Null).unwrap();
        let path = export.dir().join("x.jpg");
        fs::write(&path, "photo").unwrap();
        let adopted = |path: &Path, text: &str| Adopted {
            path: path.to_owned(),
            size: 5,
            blake3: Some(blake3::hash(text.as_bytes())),
            mtime: 1,
            ..Adopted::default()
        };
        assert!(export.has_adopted(&adopted(Path::new("x.jpg"), "photo")));
        assert!(!export.has_adopted(&adopted(Path::new("x.jpg"), "other")));
        assert!(!export.has_adopted(&adopted(&path, "photo")), "elsewhere");
    }

    fn content(id: i64) -> ContentKey {
        (id, Version::from_bytes([1; 8]))
    }

    /// A file that may be part `part` of `parts` of the files `ids`.
    fn adopted(path: &str, ids: &[i64], part: usize, parts: usize) -> VerifyFact {
        let of = |id: &i64| PartOf {
            id: *id,
            version: content(*id).1,
            part,
            parts,
        };
        VerifyFact::Adopted(Adopted {
            path: path.into(),
            of: ids.iter().map(of).collect(),
            ..Adopted::default()
        })
    }

    fn state(facts: Vec<VerifyFact>) -> State {
        let mut state = State::default();
        facts.into_iter().for_each(|fact| state.verify.apply(fact));
        state
    }

    fn covered(state: &State, ids: &[i64]) -> Vec<i64> {
        let wanted = ids.iter().map(|id| content(*id)).collect();
        let covered = state.adoptable(&wanted, |_| true).covered();
        let mut ids: Vec<i64> = covered.into_iter().map(|key| key.0).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn a_file_of_the_tree_serves_once_and_one_elsewhere_any_number_of_times() {
        let elsewhere = state(vec![adopted("/x/a.jpg", &[1, 2, 3], 0, 1)]);
        assert_eq!(covered(&elsewhere, &[1, 2, 3]), [1, 2, 3]);
        let in_place = state(vec![
            adopted("x/a.jpg", &[1, 2, 3], 0, 1),
            adopted("y/a.jpg", &[1, 2, 3], 0, 1),
        ]);
        assert_eq!(covered(&in_place, &[1, 2, 3]), [1, 2]);
        assert_eq!(
            covered(&in_place, &[3]),
            [3],
            "what nobody wants takes nothing"
        );
        let wanted = BTreeSet::from([content(1), content(2)]);
        let gone = in_place.adoptable(&wanted, |it| it.path.starts_with("y"));
        assert_eq!(gone.covered().len(), 1);
    }

    #[test]
    fn a_live_photo_needs_both_halves_and_names_that_tell_them_apart() {
        let still = || adopted("/x/a.jpg", &[1], 0, 2);
        assert_eq!(covered(&state(vec![still()]), &[1]), [0; 0]);
        let same = adopted("/x/b.JPG", &[1], 1, 2);
        assert_eq!(covered(&state(vec![still(), same.clone()]), &[1]), [0; 0]);
        let video = adopted("/x/c.mov", &[1], 1, 2);
        assert_eq!(covered(&state(vec![still(), same, video]), &[1]), [1]);
    }

    #[test]
    fn what_a_placement_took_is_ours_and_no_longer_adopted() {
        let mut state = state(vec![adopted("A/a.jpg", &[1], 0, 1)]);
        assert_eq!(covered(&state, &[1]), [1]);
        state.decrypt.apply(DecryptFact::Folder(Folder {
            collection: 5,
            name: "A".into(),
            ..Folder::default()
        }));
        state.decrypt.apply(DecryptFact::Placement(Placement {
            collection: 5,
            file: 1,
            parts: vec![Part {
                name: "a.jpg".into(),
                ..Part::default()
            }],
            ..Placement::default()
        }));
        assert_eq!(covered(&state, &[1]), [0; 0]);
    }
}
