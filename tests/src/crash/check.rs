//! What must hold after a kill, and after the next run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{Entry, assert_same, empty_folders, folded, tree};
use crate::library::Part;
use crate::museum::Museum;

use super::pipe::Ended;

/// Bytes of files, told by their BLAKE3.
pub(super) type Digests = BTreeSet<[u8; 32]>;

fn digest(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}

/// All files below a folder, by path; none where it is not there.
pub(super) fn files_below(dir: &Path) -> BTreeMap<String, Entry> {
    if dir.is_dir() {
        tree(dir)
    } else {
        BTreeMap::new()
    }
}

/// What an export holds, to be compared with that of another one.
#[derive(Debug)]
pub(super) struct Whole {
    tree: BTreeMap<String, Entry>,
    /// Contents, however they are called: names in the trash tell the day and the order.
    trash: Vec<[u8; 32]>,
    objects: BTreeSet<String>,
    empty: Vec<PathBuf>,
}

impl Whole {
    pub(super) fn of(export: &Path) -> Self {
        let state = export.join(".ente");
        let trash = files_below(&state.join("trash"));
        // A sidecar on its way to the trash is removed by a recovery: what the account says can be had again.
        let trash = trash.iter().filter(|(path, _)| !path.ends_with(".json"));
        let mut trash: Vec<_> = trash.map(|(_, entry)| digest(&entry.bytes)).collect();
        trash.sort_unstable();
        let mut tree = files_below(export);
        // A sidecar bears the time when it was written.
        let sidecars = tree.iter_mut().filter(|(path, _)| path.ends_with(".json"));
        sidecars.for_each(|(_, entry)| entry.mtime_s = 0);
        Self {
            tree,
            trash,
            objects: files_below(&state.join("objects")).into_keys().collect(),
            empty: if export.is_dir() {
                names_below(export, empty_folders(export))
            } else {
                Vec::new()
            },
        }
    }

    /// # Panics
    /// If objects are missing, or more than wanted; one that no fact counts on may be left by a power cut, and costs space, nothing else.
    fn assert_objects(&self, other: &Self, export: &Path) {
        let missing: Vec<_> = other.objects.difference(&self.objects).collect();
        assert!(missing.is_empty(), "objects missing: {missing:?}");
        let facts = folded(export);
        for path in self.objects.difference(&other.objects) {
            let name = path.rsplit('/').next().unwrap_or_default();
            let (id, version) = name.split_once('-').expect("objects have such names");
            let fetch = |tool: &str| {
                let fact = facts.get(&format!("{tool} object {id} \"{version}\""));
                fact.and_then(|fact| fact["fetch"].as_u64()).unwrap_or(0)
            };
            assert!(
                fetch("decrypt") >= fetch("pull"),
                "`{path}` is left in `objects`"
            );
        }
    }

    /// The contents of the tree.
    pub(super) fn digests(&self) -> Digests {
        self.tree
            .values()
            .map(|entry| digest(&entry.bytes))
            .collect()
    }

    /// # Panics
    /// If other files lie in the tree of `other`.
    pub(super) fn assert_files(&self, other: &Self) {
        assert_same(&self.tree, &other.tree);
    }

    /// # Panics
    /// If `other` holds something else, or has left something lying about.
    pub(super) fn assert_as(&self, other: &Self, export: &Path) {
        assert_same(&other.tree, &self.tree);
        assert_eq!(self.trash.len(), other.trash.len(), "files in the trash");
        assert!(self.trash == other.trash, "contents of the trash");
        self.assert_objects(other, export);
        assert_eq!(self.empty, other.empty, "empty folders");
        let state = export.join(".ente");
        let partial: Vec<_> = files_below(&state.join("partial")).into_keys().collect();
        assert!(partial.is_empty(), "left in `partial`: {partial:?}");
        // The lock of a dead process harms nobody: it frees itself at the next write.
        let odd: Vec<_> = fs::read_dir(&state)
            .expect("the export is there")
            .map(|entry| entry.expect("it can be read").file_name())
            .filter(|name| name.as_encoded_bytes().ends_with(b".new"))
            .collect();
        assert!(odd.is_empty(), "left in `.ente`: {odd:?}");
    }
}

fn names_below(dir: &Path, paths: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut names: Vec<_> = paths
        .into_iter()
        .filter_map(|path| Some(path.strip_prefix(dir).ok()?.to_owned()))
        .collect();
    names.sort();
    names
}

/// # Panics
/// If a file bears a final name that holds something else than one of `known`.
pub(super) fn assert_no_half(export: &Path, known: &Digests) {
    for (path, entry) in files_below(export) {
        assert!(
            known.contains(&digest(&entry.bytes)),
            "`{path}` holds {entry:?}, which is no version of anything"
        );
    }
}

/// # Panics
/// Unless each of these files is there once, in the tree or on its way with the folder of an album.
pub(super) fn assert_users_files(export: &Path, users: &[Vec<u8>]) {
    let mut files = files_below(export);
    for (path, entry) in files_below(&export.join(".ente/partial")) {
        if path.starts_with("album-") {
            files.insert(format!(".ente/partial/{path}"), entry);
        }
    }
    for bytes in users {
        let count = files.values().filter(|entry| entry.bytes == *bytes).count();
        assert_eq!(
            count,
            1,
            "the user's file {:?} is there once; {:?}",
            String::from_utf8_lossy(bytes),
            files.keys()
        );
    }
}

/// Each file of the keystore under a final name is whole.
///
/// # Panics
/// If one is not.
pub(super) fn assert_keystore(config: &Path) {
    for (path, entry) in files_below(config) {
        if path.ends_with("/token") || path.ends_with("/keys") {
            let saved: Result<Value, _> = serde_json::from_slice(&entry.bytes);
            assert!(
                saved.is_ok_and(|saved| saved["format"] == 1),
                "`{path}` is no whole file"
            );
        }
    }
}

/// # Panics
/// If a record was printed whose fact is not in the manifest.
pub(super) fn assert_facts_of(printed: &[Ended], export: &Path) {
    let facts = folded(export);
    for stage in printed {
        for line in stage
            .stdout
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
        {
            let Ok(record) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            match record["type"].as_str() {
                Some("file") => assert_file(&record, &facts),
                Some("finding") => assert_finding(&record, export),
                _ => {}
            }
        }
    }
}

fn assert_file(record: &Value, facts: &BTreeMap<String, Value>) {
    let id = &record["id"];
    if record["object"] == "stored" {
        let key = format!("pull object {id} {}", record["version"]);
        assert!(
            facts.contains_key(&key),
            "printed, and not in the manifest: {key}"
        );
    }
    for placement in record["placements"].as_array().into_iter().flatten() {
        let collection = &placement["collection"];
        let fact = facts.get(&format!("decrypt placement {collection} {id}"));
        let recorded = fact
            .and_then(|fact| fact["parts"].as_array())
            .map_or(&[][..], Vec::as_slice);
        let parts = placement["parts"].as_array().map_or(&[][..], Vec::as_slice);
        match placement["did"].as_str() {
            Some("written" | "replaced" | "linked" | "moved" | "restored") => {
                let digests = |parts: &[Value]| {
                    parts
                        .iter()
                        .map(|part| part["blake3"].clone())
                        .collect::<Vec<_>>()
                };
                assert_eq!(
                    digests(parts),
                    digests(recorded),
                    "printed of file {id} in {collection}, and in the manifest"
                );
            }
            Some("trashed" | "deleted") => assert!(
                recorded.is_empty(),
                "file {id} in {collection} was to be gone"
            ),
            _ => {}
        }
        for (index, part) in parts
            .iter()
            .enumerate()
            .filter(|(_, part)| part["sidecar"].is_string())
        {
            let key = format!("meta sidecar {collection} {id} {index}");
            assert!(
                facts.contains_key(&key),
                "printed, and not in the manifest: {key} ({})",
                part["sidecar"]
            );
        }
    }
}

fn assert_finding(record: &Value, export: &Path) {
    let facts = fs::read_to_string(export.join(".ente/verify.jsonl")).unwrap_or_default();
    let class = format!("\"class\":{}", record["class"]);
    let about = match record["file"].as_i64() {
        Some(id) => format!("\"file\":{id},"),
        None => format!("\"path\":{}", record["path"]),
    };
    let mut lines = facts.lines();
    assert!(
        lines.any(|line| line.contains(&class) && line.contains(&about)),
        "printed, and not in the manifest: {record}"
    );
}

/// The files whose objects need not be fetched again: those that the manifest tells of since `before`, and those that lie there whole.
pub(super) fn held(
    export: &Path,
    before: &BTreeMap<String, Value>,
    wanted: &BTreeMap<i64, (String, u64)>,
    parts: &BTreeMap<i64, u64>,
) -> BTreeSet<i64> {
    let is_whole = |(id, length): (&i64, &u64)| (wanted[id].1 == *length).then_some(*id);
    let mut held: BTreeSet<i64> = parts.iter().filter_map(is_whole).collect();
    for (key, fact) in folded(export) {
        if key.starts_with("pull object ") && before.get(&key) != Some(&fact) {
            held.extend(wanted_id(
                wanted,
                fact["id"].as_i64(),
                fact["version"].as_str(),
            ));
        }
    }
    let state = export.join(".ente");
    for path in files_below(&state.join("objects")).into_keys() {
        let known = before.keys().filter(|key| key.starts_with("pull object "));
        let name = path.rsplit('/').next().unwrap_or_default();
        if let Some((id, version)) = name.split_once('-')
            && !known
                .into_iter()
                .any(|key| *key == format!("pull object {id} \"{version}\""))
        {
            held.extend(wanted_id(wanted, id.parse().ok(), Some(version)));
        }
    }
    held
}

/// How many bytes there are of objects that were being fetched.
pub(super) fn parts(export: &Path, wanted: &BTreeMap<i64, (String, u64)>) -> BTreeMap<i64, u64> {
    let partial = files_below(&export.join(".ente/partial"));
    let parts = partial.into_iter().filter_map(|(path, entry)| {
        let (id, version) = path.strip_prefix("get-")?.split_once('-')?;
        let id = wanted_id(wanted, id.parse().ok(), Some(version))?;
        let length = entry.bytes.len() as u64;
        (0 < length && length <= wanted[&id].1).then_some((id, length))
    });
    parts.collect()
}

/// # Panics
/// If something of an object was fetched that was there.
pub(super) fn assert_resumed(museum: &Museum, parts: &BTreeMap<i64, u64>) {
    let requests = museum.requests();
    for served in requests.into_iter().filter_map(|request| request.served) {
        if let Some(&there) = parts.get(&served.key.file)
            && served.key.part == Part::Original
        {
            let from = served.range.start;
            assert_eq!(from, there, "what is fetched of file {}", served.key.file);
        }
    }
}

fn wanted_id(
    wanted: &BTreeMap<i64, (String, u64)>,
    id: Option<i64>,
    version: Option<&str>,
) -> Option<i64> {
    let id = id?;
    (wanted.get(&id)?.0 == version?).then_some(id)
}

/// Version and size of the object of each file that the manifest lists.
pub(super) fn wanted(facts: &BTreeMap<String, Value>) -> BTreeMap<i64, (String, u64)> {
    let files = facts
        .iter()
        .filter(|(key, _)| key.starts_with("pull file "));
    files
        .filter_map(|(_, fact)| {
            let version = fact["version"].as_str()?.to_owned();
            Some((
                fact["id"].as_i64()?,
                (version, fact["size"].as_u64().unwrap_or(u64::MAX)),
            ))
        })
        .collect()
}

/// # Panics
/// If something was fetched that is held, or that a run without a kill does not fetch.
pub(super) fn assert_fetched(museum: &Museum, held: &BTreeSet<i64>, may: &BTreeSet<i64>) -> usize {
    let fetched = museum.fetched_objects();
    let again: Vec<_> = fetched.intersection(held).collect();
    assert!(again.is_empty(), "fetched again: {again:?}");
    let more: Vec<_> = fetched.difference(may).collect();
    assert!(more.is_empty(), "fetched without need: {more:?}");
    fetched.len()
}
