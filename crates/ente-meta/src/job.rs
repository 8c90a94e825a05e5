//! One file on its way through: what is told about it, which of its placements pass, what its sidecars are to say.

use ente_common::manifest::State;
use ente_common::record::Record;
use serde_json::{Map, Value, json};

use crate::decide::Task;
use crate::filter::Filter;
use crate::open::{Entries, Library};
use crate::plan::Wanted;
use crate::sidecar::{Place, Subject, contents, record_metadata};

/// A file that is to be looked at.
#[derive(Debug)]
pub(crate) struct Job {
    /// Its record.
    pub(crate) record: Record,
    /// File ID.
    pub(crate) file: i64,
    /// The collections that hold it.
    pub(crate) holders: Vec<i64>,
    /// What it is opened from.
    pub(crate) entries: Entries,
    /// Sidecars that are not as they should be.
    pub(crate) wanted: Vec<Wanted>,
    /// It did not come in: it is looked at because of its sidecars only.
    pub(crate) is_pending: bool,
    /// Somebody wants to know what is in it.
    pub(crate) open: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The filter lets it pass.
    pub(crate) passes: bool,
    /// The `metadata` of its record.
    pub(crate) metadata: Option<Value>,
    /// Sidecars to be written.
    pub(crate) tasks: Vec<Task>,
    /// Why it, or a part of it, could not be read.
    pub(crate) unread: Option<String>,
}

impl Job {
    /// Opens the file and decides. Touches nothing, so that many can be looked at side by side.
    pub(crate) fn look(&self, library: &Library, filter: &Filter) -> Told {
        if !self.open {
            return Told {
                passes: true,
                ..Told::default()
            };
        }
        let opened = match library.open(&self.entries) {
            Ok(opened) => opened,
            Err(cause) => {
                return Told {
                    // Nobody can tell whether it is wanted; its albums are known.
                    passes: !filter.judges_files(),
                    unread: Some(cause),
                    ..Told::default()
                };
            }
        };
        let names = self.holders.iter().filter_map(|&id| library.album_name(id));
        let albums: Vec<String> = names.map(|(name, _)| name.to_owned()).collect();
        let subject = Subject {
            id: self.file,
            owner: opened.entry.owner_id,
            version: opened.entry.content_version(),
            visibility: library.visibility(opened.metadata.visibility, &self.holders),
            favorite: library.is_favorite(&self.holders),
            metadata: &opened.metadata,
            albums: &albums,
        };
        if !filter.takes_file(&subject) {
            return Told::default();
        }
        let tasks = self.wanted.iter().filter_map(|wanted| {
            let (collection, _, part) = wanted.key;
            let (album, visibility) = library.album_name(collection).unwrap_or_default();
            filter.takes_album(album, visibility).then(|| Task {
                wanted: wanted.clone(),
                bytes: contents(
                    &subject,
                    Place {
                        collection,
                        album,
                        part,
                    },
                ),
                complete: opened.unread.is_none(),
            })
        });
        Told {
            passes: true,
            tasks: tasks.collect(),
            metadata: Some(record_metadata(&subject)),
            unread: opened.unread,
        }
    }

    /// The record as it goes on; `None` if the filter leaves nothing of it.
    pub(crate) fn finish(
        mut self,
        library: &Library,
        filter: &Filter,
        told: &Told,
    ) -> Option<Record> {
        if !told.passes {
            return None;
        }
        if let Some(metadata) = &told.metadata {
            self.record = self.record.with("metadata", metadata.clone());
        }
        let placements = self.record.placements_mut();
        let had_any = !placements.is_empty();
        placements.retain(|placement| {
            // What ended is told to everybody: what was exported before follows the account.
            if placement["gone"] == Value::Bool(true) {
                return true;
            }
            let id = placement["collection"].as_i64();
            let (album, visibility) = id.and_then(|id| library.album_name(id)).unwrap_or_default();
            filter.takes_album(album, visibility)
        });
        if had_any && placements.is_empty() {
            return None;
        }
        for placement in placements {
            add_sidecars(&library.state, self.file, placement);
        }
        Some(self.record)
    }
}

/// Names the sidecars of the parts that a placement lists.
fn add_sidecars(state: &State, file: i64, placement: &mut Value) {
    let Some(collection) = placement["collection"].as_i64() else {
        return;
    };
    let Some(parts) = placement.get_mut("parts").and_then(Value::as_array_mut) else {
        return;
    };
    for (index, part) in parts.iter_mut().enumerate() {
        if let Some(part) = part.as_object_mut()
            && let Some(path) = sidecar_path(state, (collection, file, index))
        {
            part.insert("sidecar".into(), path.into());
        }
    }
}

/// Path of a sidecar that was written.
fn sidecar_path(state: &State, key: (i64, i64, usize)) -> Option<String> {
    state.meta.sidecars.get(&key)?;
    let folder = &state.decrypt.folders.get(&key.0)?.name;
    let placement = state.decrypt.placements.get(&(key.0, key.1))?;
    let name = format!("{}.json", placement.parts.get(key.2)?.name);
    state.meta.sidecars_at().path(folder, &name)
}

/// A record of a file as the manifest has it.
pub(crate) fn file_record(library: &Library, file: i64, change: &str) -> Record {
    let state = &library.state;
    let placements: Vec<Value> = library
        .holders(file)
        .map(|collection| placement(state, collection, file))
        .collect();
    let mut record = Record::new("file").with("id", file);
    let newest = library.by_age(file).first().copied();
    if let Some(fact) = newest.and_then(|id| state.pull.files.get(&(id, file))) {
        record = record.with("owner", fact.owner);
        if let Some(version) = fact.version {
            let key = (file, version);
            let object = if state.object(key).is_some() {
                "stored"
            } else if state.pull.failed.contains_key(&key) {
                "failed"
            } else {
                "exported"
            };
            record = record
                .with("version", version.to_string())
                .with("size", fact.size)
                .with("change", json!([change]))
                .with("object", object);
        }
    }
    record.with("placements", placements)
}

fn placement(state: &State, collection: i64, file: i64) -> Value {
    let mut members = Map::new();
    members.insert("collection".into(), collection.into());
    let key = (collection, file);
    let parts = state
        .decrypt
        .placements
        .get(&key)
        .map(|placement| &placement.parts);
    let parts: Vec<Value> = parts
        .into_iter()
        .flatten()
        .enumerate()
        .filter_map(|(index, part)| Some(part.at(&state.decrypt.path(key, index)?)))
        .collect();
    if let Some(first) = parts.first() {
        members.insert("path".into(), first["path"].clone());
        members.insert("parts".into(), parts.into());
    }
    Value::Object(members)
}
