//! The golden account: wire JSON and objects as they lie in `tests/golden/account`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Denied, ObjectKey, Part, Stored, encode};

/// The two states of the golden account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoldenState {
    /// Before any change.
    Initial,
    /// After one of every kind of change.
    Changed,
}

impl GoldenState {
    /// The folder that holds `wire` and `expected.json` of this state.
    pub fn folder(self) -> PathBuf {
        golden_folder().join(match self {
            Self::Initial => "1-initial",
            Self::Changed => "2-changed",
        })
    }
}

/// `tests/golden/account` in the checkout.
pub(super) fn golden_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/account")
}

pub(super) struct Golden {
    state: GoldenState,
    collections: Vec<Value>,
    rows: BTreeMap<i64, Vec<Value>>,
    trash: Vec<Value>,
}

impl Golden {
    pub(super) fn load(state: GoldenState) -> Self {
        let wire = state.folder().join("wire");
        let collections = list(&wire.join("collections.json"), "collections");
        let rows = collections
            .iter()
            .map(|collection| {
                let id = integer(&collection["id"]);
                (id, list(&wire.join(format!("diff/{id}.json")), "diff"))
            })
            .collect();
        Self {
            state,
            collections,
            rows,
            trash: list(&wire.join("trash.json"), "diff"),
        }
    }

    /// Where an object of this version lies. Only what was replaced has a second version.
    fn path(key: ObjectKey) -> PathBuf {
        let folder = match key.part {
            Part::Original => "objects",
            Part::Thumbnail => "thumbnails",
        };
        let state = if key.version == 1 {
            GoldenState::Initial
        } else {
            GoldenState::Changed
        };
        state.folder().join(folder).join(key.file.to_string())
    }

    /// A row of this file, wherever it is listed.
    fn any_row(&self, file: i64) -> Option<&Value> {
        let listed = self.rows.values().flatten();
        listed
            .chain(self.trash.iter().map(|item| &item["file"]))
            .find(|row| row["id"] == file)
    }

    fn find(&self, collection: i64, file: i64) -> Option<&Value> {
        self.rows
            .get(&collection)?
            .iter()
            .find(|row| row["id"] == file)
    }
}

impl Stored for Golden {
    fn collections(&self) -> Vec<(i64, Value)> {
        let time = |c: &Value| integer(&c["updationTime"]).max(c["sharedAt"].as_i64().unwrap_or(0));
        self.collections
            .iter()
            .map(|collection| (time(collection), collection.clone()))
            .collect()
    }

    fn collection(&self, id: i64) -> Option<Value> {
        let mut collection = self.collections.iter().find(|c| c["id"] == id)?.clone();
        // For a sharee the real server leaves the owner's nonce in and the sharee's own metadata out.
        if collection.get("keyDecryptionNonce").is_none() {
            let members = collection
                .as_object_mut()
                .expect("a collection is an object");
            members.remove("sharedMagicMetadata");
            members.insert("keyDecryptionNonce".to_owned(), encode([0x5a; 24]).into());
        }
        Some(collection)
    }

    fn rows(&self, collection: i64) -> Option<Vec<(i64, i64)>> {
        let listed = self.collections.iter().find(|c| c["id"] == collection)?;
        if listed["isDeleted"] == true {
            return None;
        }
        let rows = self.rows.get(&collection)?.iter();
        Some(
            rows.map(|row| (integer(&row["updationTime"]), integer(&row["id"])))
                .collect(),
        )
    }

    fn row(&self, collection: i64, file: i64) -> Value {
        self.find(collection, file)
            .expect("only listed rows are asked for")
            .clone()
    }

    fn single(&self, collection: i64, file: i64) -> Option<Value> {
        let row = self.find(collection, file)?;
        (row["isDeleted"] == false).then(|| row.clone())
    }

    fn trash_rows(&self) -> Vec<(i64, i64)> {
        let item = |item: &Value| (integer(&item["updatedAt"]), integer(&item["file"]["id"]));
        self.trash.iter().map(item).collect()
    }

    fn trash_row(&self, file: i64) -> Value {
        let mut items = self.trash.iter();
        items
            .find(|item| item["file"]["id"] == file)
            .expect("only listed rows are asked for")
            .clone()
    }

    fn object(&self, file: i64, part: Part) -> Result<ObjectKey, Denied> {
        self.any_row(file).ok_or(Denied::NotFound)?;
        let newest = if self.state == GoldenState::Changed {
            2
        } else {
            1
        };
        (1..=newest)
            .rev()
            .map(|version| ObjectKey {
                file,
                part,
                version,
            })
            .find(|key| Self::path(*key).exists())
            .ok_or(Denied::NotFound)
    }

    fn bytes(&self, key: ObjectKey) -> Option<Box<dyn FnOnce() -> Bytes + Send>> {
        let path = Self::path(key);
        path.exists().then(|| -> Box<dyn FnOnce() -> Bytes + Send> {
            Box::new(move || fs::read(path).expect("an object that can be read").into())
        })
    }

    fn sizes(&self, file: i64) -> Option<(i64, i64)> {
        let row = self.any_row(file)?;
        let owned = self
            .collections
            .iter()
            .find(|c| c.get("keyDecryptionNonce").is_some())?;
        if row["ownerID"] != owned["owner"]["id"] {
            return None;
        }
        let size = |name: &str| row["info"][name].as_i64().unwrap_or(-1);
        Some((size("fileSize"), size("thumbSize")))
    }
}

/// The array `member` of a JSON file.
fn list(path: &Path, member: &str) -> Vec<Value> {
    let text = fs::read(path).unwrap_or_else(|e| panic!("reading {}: {e}", path.display()));
    let mut value: Value = serde_json::from_slice(&text).expect("golden data is JSON");
    match value.get_mut(member).map(Value::take) {
        Some(Value::Array(list)) => list,
        other => panic!("{}: `{member}` is {}", path.display(), json!(other)),
    }
}

fn integer(value: &Value) -> i64 {
    value.as_i64().expect("an integer")
}
