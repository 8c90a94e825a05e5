//! One account as the server stores it.
//!
//! A [`Library`] answers what the wire asks for: collections, what changed in them, the trash, encrypted objects.
//! Where it comes from is its own affair: [`golden`] is data as it lies on disk.

mod account;
mod golden;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

pub use account::{Account, Token};
pub use golden::GoldenState;

use golden::Golden;

/// One account and everything that it may see.
pub struct Library {
    account: Account,
    source: Source,
    patches: BTreeMap<(i64, i64), Value>,
}

enum Source {
    Golden(Golden),
}

/// Which of a file's two objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The file itself.
    Original,
    /// Its thumbnail.
    Thumbnail,
}

/// One stored object. A replaced file gets a new version; the old one stays readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// The file it belongs to.
    pub file: i64,
    /// Original or thumbnail.
    pub part: Part,
    /// Counts the replacements, from 1.
    pub version: u32,
}

/// Why an object is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// There is no such file, or it was deleted for good.
    NotFound,
    /// The account may not see the file.
    Forbidden,
}

/// What the server asks a library for. Rows are JSON exactly as sent, masked for this account.
pub(crate) trait Stored {
    /// Every collection of the listing with its times (own, share), owned ones first.
    fn collections(&self) -> Vec<(i64, Value)>;
    /// One collection, deleted or not; `None` if the account never had access.
    fn collection(&self, id: i64) -> Option<Value>;
    /// (`updationTime`, file) of every row of a collection; `None` without access.
    fn rows(&self, collection: i64) -> Option<Vec<(i64, i64)>>;
    /// A row as a diff shows it.
    fn row(&self, collection: i64, file: i64) -> Value;
    /// A row without masking; `None` if the file is not in the collection now.
    fn single(&self, collection: i64, file: i64) -> Option<Value>;
    /// (`updatedAt`, file) of every row of the trash.
    fn trash_rows(&self) -> Vec<(i64, i64)>;
    /// A row of the trash.
    fn trash_row(&self, file: i64) -> Value;
    /// The current object of a file that the account may read.
    fn object(&self, file: i64, part: Part) -> Result<ObjectKey, Denied>;
    /// The encrypted bytes of any version that ever existed.
    fn bytes(&self, key: ObjectKey) -> Option<Bytes>;
    /// Encrypted sizes (file, thumbnail) of an owned file; `None` for a file of somebody else.
    fn sizes(&self, file: i64) -> Option<(i64, i64)>;
}

impl Library {
    /// The golden account in one of its two states, served exactly as it lies in `tests/golden/account`.
    ///
    /// # Panics
    ///
    /// If the data cannot be read: the checkout is not whole.
    pub fn golden(state: GoldenState) -> Self {
        Self {
            account: Account::golden(),
            source: Source::Golden(Golden::load(state)),
            patches: BTreeMap::new(),
        }
    }

    /// Moves the golden account to another state.
    ///
    /// # Panics
    ///
    /// If this is no golden library.
    pub fn switch_to(&mut self, state: GoldenState) {
        match &mut self.source {
            Source::Golden(golden) => *golden = Golden::load(state),
        }
    }

    /// The account: credentials and keys.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The account, to change how it signs in.
    pub fn account_mut(&mut self) -> &mut Account {
        &mut self.account
    }

    /// From now on serves the row of `file` in `collection` with `patch` merged into it (RFC 7396), to make records
    /// that no honest server would send. A `null` patch takes the change back.
    pub fn patch_row(&mut self, collection: i64, file: i64, patch: Value) {
        match patch {
            Value::Null => self.patches.remove(&(collection, file)),
            patch => self.patches.insert((collection, file), patch),
        };
    }

    pub(crate) fn stored(&self) -> &dyn Stored {
        match &self.source {
            Source::Golden(golden) => golden,
        }
    }

    /// A row as a diff shows it, patched.
    pub(crate) fn row(&self, collection: i64, file: i64) -> Value {
        let mut row = self.stored().row(collection, file);
        if let Some(patch) = self.patches.get(&(collection, file)) {
            merge(&mut row, patch);
        }
        row
    }
}

/// JSON merge patch.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let target = target.as_object_mut().expect("made an object above");
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// Standard base64, padded.
pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// The bytes of a base64 string in JSON.
///
/// # Panics
///
/// If it is none: the data is ours.
pub(crate) fn decode(value: &Value) -> Vec<u8> {
    decode_text(value.as_str().expect("a string")).expect("valid base64")
}

/// The bytes of standard base64 with padding; `None` for anything else.
pub(crate) fn decode_text(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_patch_replaces_adds_and_removes() {
        let mut row = json!({"id": 1, "metadata": {"encryptedData": "x", "size": 0}, "info": {}});
        merge(
            &mut row,
            &json!({"metadata": {"encryptedData": "-"}, "info": null, "action": "REMOVE"}),
        );
        assert_eq!(
            row,
            json!({"id": 1, "metadata": {"encryptedData": "-", "size": 0}, "action": "REMOVE"})
        );
    }
}
