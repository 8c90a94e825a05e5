//! What this stage adds to the records, and the records that it makes itself.

use std::collections::BTreeMap;

use ente_common::manifest::{PlacementKey, State};
use ente_common::record::{Record, entry_to_value};
use serde_json::{Map, Value, json};

use crate::finish::Counts;
use crate::open::Library;
use crate::plan::{Siblings, Source, source};
use crate::tree::Tree;

/// Adds path, parts and what was done to each placement of a `file`.
pub(crate) fn annotate(tree: &mut Tree, record: &mut Record, counts: &mut Counts) {
    let Some(id) = record.int("id") else { return };
    for placement in record.placements_mut() {
        let Some(collection) = placement["collection"].as_i64() else {
            continue;
        };
        if let Some(members) = placement.as_object_mut() {
            fill(tree, (collection, id), members, counts);
        }
    }
}

fn fill(tree: &mut Tree, key: PlacementKey, members: &mut Map<String, Value>, counts: &mut Counts) {
    let done = tree.did.remove(&key);
    let placement = tree.state.decrypt.placements.get(&key);
    let listed = tree.state.pull.files.get(&key);
    let is_whole = match (placement, listed) {
        (Some(placement), Some(listed)) => {
            placement.version == listed.version && tree.state.is_whole(key)
        }
        (_, None) => true,
        (None, Some(_)) => false,
    };
    let did = match done {
        Some(did) => {
            counts.count(did);
            did.as_str()
        }
        None if is_whole => "kept",
        None => "pending",
    };
    let parts = parts(&tree.state, key);
    if let Some(path) = parts.first().map(|part| part["path"].clone()) {
        members.insert("path".into(), path);
    }
    members.insert("did".into(), did.into());
    if !parts.is_empty() {
        members.insert("parts".into(), parts.into());
    }
}

fn parts(state: &State, key: PlacementKey) -> Vec<Value> {
    let placement = state.decrypt.placements.get(&key);
    let parts = placement.iter().flat_map(|placement| &placement.parts);
    parts
        .enumerate()
        .filter_map(|(index, part)| Some(part.at(&state.decrypt.path(key, index)?)))
        .collect()
}

/// Adds the path of what is known already; nothing was done.
pub(crate) fn annotate_listed(state: &State, record: &mut Record) {
    let Some(id) = record.int("id") else { return };
    for placement in record.placements_mut() {
        let Some(collection) = placement["collection"].as_i64() else {
            continue;
        };
        let key = (collection, id);
        let parts = parts(state, key);
        if let (Some(members), Some(path)) = (
            placement.as_object_mut(),
            parts.first().map(|part| part["path"].clone()),
        ) {
            members.insert("path".into(), path);
            members.insert("parts".into(), parts.into());
        }
    }
}

/// Adds name and folder to a `collection`.
pub(crate) fn annotate_collection(state: &State, name: Option<&str>, record: &mut Record) {
    if let Some(name) = name {
        record.members.insert("name".into(), name.into());
    }
    let folder = record
        .int("id")
        .and_then(|id| state.decrypt.folders.get(&id));
    if let Some(folder) = folder {
        record
            .members
            .insert("path".into(), folder.name.as_str().into());
    }
}

/// The `file` record of something that was done although no record named it.
pub(crate) fn pending(
    tree: &mut Tree,
    library: &mut Library,
    siblings: &Siblings,
    id: i64,
    counts: &mut Counts,
) -> Record {
    let mut placements: BTreeMap<i64, Value> = BTreeMap::new();
    let collections: Vec<i64> = siblings.of(id).to_vec();
    let mut listed = None;
    for &collection in &collections {
        if let Some(file) = tree.state.pull.files.get(&(collection, id)) {
            listed = listed.or(Some(file.clone()));
            let mut value = json!({ "collection": collection });
            if let Ok(sealed) = library.sealed(&tree.state, (collection, id))
                && let Some(entry) = entry_to_value(sealed.entry())
            {
                value["entry"] = entry;
            }
            placements.insert(collection, value);
        } else if tree.did.contains_key(&(collection, id)) {
            placements.insert(collection, json!({"collection": collection, "gone": true}));
        }
    }
    let mut record = Record::new("file").with("id", id);
    let mut object = "none";
    if let Some(file) = listed {
        record = record.with("owner", file.owner);
        if let Some(version) = file.version {
            record = record.with("version", version.to_string());
            object = match source(&tree.state, (id, version), &collections) {
                Source::Placement(_) => "exported",
                Source::Object | Source::Refused => "stored",
                Source::Nowhere => "failed",
            };
        }
        if let Some(size) = file.size {
            record = record.with("size", size);
        }
    }
    let mut record = record
        .with("change", json!(["pending"]))
        .with("object", object)
        .with("placements", placements.into_values().collect::<Vec<_>>());
    annotate(tree, &mut record, counts);
    record
}
