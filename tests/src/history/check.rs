//! What an export holds, read by its manifest, against what the account says.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::Value;

use crate::harness::{Entry, Machine, empty_folders, folded, tree};
use crate::library::{FileView, Live};

/// Collection and file.
pub type Key = (i64, i64);

/// What is exported, by placement, whatever the names: bytes, time in seconds and sidecar of each part.
pub type Exported = BTreeMap<Key, Vec<(Vec<u8>, i64, Value)>>;

/// Where the manifest says that the parts of each placement lie.
///
/// # Panics
/// If the manifest breaks its own contract.
pub fn placed(machine: &Machine) -> BTreeMap<Key, Vec<Placed>> {
    let facts = folded(&machine.export);
    let number = |fact: &Value, name: &str| fact[name].as_i64().expect("a fact has its key");
    let text = |fact: &Value, name: &str| fact[name].as_str().expect("a fact is whole").to_owned();
    let placements = facts
        .iter()
        .filter(|(key, _)| key.starts_with("decrypt placement "));
    placements
        .map(|(_, fact)| {
            let key = (number(fact, "collection"), number(fact, "file"));
            let folder = facts.get(&format!("decrypt folder {}", key.0));
            let folder = text(folder.expect("a placement has a folder"), "name");
            let parts = fact["parts"].as_array().map_or(&[][..], Vec::as_slice);
            let parts = parts.iter().map(|part| Placed {
                folder: folder.clone(),
                name: text(part, "name"),
                blake3: text(part, "blake3"),
            });
            (key, parts.collect())
        })
        .collect()
}

/// A file that the manifest promises.
#[derive(Clone, Debug)]
pub struct Placed {
    folder: String,
    name: String,
    blake3: String,
}

impl Placed {
    /// Its path in the export.
    pub fn path(&self) -> String {
        format!("{}/{}", self.folder, self.name)
    }

    /// Its bytes are the recorded ones.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self, files: &BTreeMap<String, Entry>) -> Result<(), String> {
        match files.get(&self.path()) {
            None => Err(format!("`{}` is missing", self.path())),
            Some(file) if blake3::hash(&file.bytes).to_hex().as_str() != self.blake3 => {
                Err(format!("`{}` has other content than recorded", self.path()))
            }
            Some(_) => Ok(()),
        }
    }
}

/// Reads an export by its manifest; every file of the tree must belong to a placement.
///
/// # Errors
/// What is missing, or too many.
pub fn exported(machine: &Machine) -> Result<Exported, String> {
    let mut files = tree(&machine.export);
    let mut exported = Exported::new();
    for (key, parts) in placed(machine) {
        let mut found = Vec::new();
        for part in parts {
            part.check(&files)?;
            let file = files.remove(&part.path()).ok_or("two parts in one file")?;
            let path = format!("{}/metadata/{}.json", part.folder, part.name);
            let sidecar = files
                .remove(&path)
                .ok_or_else(|| format!("`{path}` is missing"))?;
            let sidecar = serde_json::from_slice(&sidecar.bytes)
                .map_err(|error| format!("`{path}`: {error}"))?;
            found.push((file.bytes, file.mtime_s, sidecar));
        }
        exported.insert(key, found);
    }
    if let Some(path) = files.keys().next() {
        return Err(format!("`{path}` belongs to nothing"));
    }
    match empty_folders(&machine.export).first() {
        Some(folder) => Err(format!("`{}` is empty", folder.display())),
        None => Ok(exported),
    }
}

/// The export is what the account says.
///
/// # Errors
/// What differs.
pub fn check(exported: &Exported, live: &Live) -> Result<(), String> {
    let mut placements = BTreeSet::new();
    for album in live.albums() {
        for file in &album.files {
            let key = (album.id, file.id);
            placements.insert(key);
            let found = exported
                .get(&key)
                .ok_or_else(|| format!("file {} is not in album {}", file.id, album.id))?;
            check_file(found, &contents(live, file.id), file)
                .map_err(|error| format!("file {} in album {}: {error}", file.id, album.id))?;
        }
    }
    match exported.keys().find(|key| !placements.contains(key)) {
        Some((album, file)) => Err(format!("file {file} is no longer in album {album}")),
        None => Ok(()),
    }
}

/// The plain contents of a file: one, or those of both parts of a live photo.
pub fn contents(live: &Live, file: i64) -> Vec<Bytes> {
    match live.live_parts(file) {
        Some(parts) => parts.into(),
        None => vec![live.content(file)],
    }
}

fn check_file(
    found: &[(Vec<u8>, i64, Value)],
    contents: &[Bytes],
    file: &FileView,
) -> Result<(), String> {
    if found.len() != contents.len() {
        return Err(format!("{} parts", found.len()));
    }
    for ((bytes, mtime_s, sidecar), content) in found.iter().zip(contents) {
        let text = |name: &str| sidecar.get(name).and_then(Value::as_str);
        for (what, is_right) in [
            ("content", bytes == content),
            ("time", *mtime_s == file.taken_at_us.div_euclid(1_000_000)),
            ("title", text("title") == Some(&file.title)),
            ("caption", text("description") == file.caption.as_deref()),
            (
                "favourite",
                sidecar.get("favorited").is_some() == file.favorite,
            ),
        ] {
            if !is_right {
                return Err(format!("its {what} is wrong"));
            }
        }
    }
    Ok(())
}
