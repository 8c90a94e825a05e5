//! One account as the server stores it.
//!
//! A [`Library`] answers what the wire asks for: collections, what changed in them, the trash, encrypted objects.
//! Where that comes from is its own affair: [`Library::golden`] is data as it lies on disk; [`Library::empty`] and
//! [`Library::generate`] are made up from a seed, and can be changed and looked into through [`Live`]; [`Library::bulk`] is
//! for measuring.

mod account;
mod albums;
mod bulk;
mod content;
mod files;
mod generate;
mod golden;
mod media;
mod model;
pub(crate) mod seal;
pub(crate) mod seed;
#[cfg(test)]
mod tests;
mod view;
mod wire;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

pub use account::{Account, Passkey, Token};
pub use bulk::{Bulk, BulkOptions};
pub use content::Content;
pub use generate::GenerateOptions;
pub use golden::GoldenState;
pub use media::Picture;
pub use model::{Action, Kind, Live, NewFile, User, Visibility};
pub use seal::Framing;
pub use view::{AlbumView, FileView};

use golden::Golden;
use seed::Seed;

/// One account and everything that it may see.
pub struct Library {
    account: Account,
    source: Source,
    patches: BTreeMap<(i64, i64), Value>,
}

enum Source {
    Golden(Golden),
    Live(Box<Live>),
    Bulk(Box<Bulk>),
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

/// An object piece by piece.
pub(crate) type Pieces = Box<dyn Iterator<Item = Bytes> + Send>;

/// What the server asks a library for. Rows are JSON exactly as sent, masked for this account.
pub(crate) trait Stored {
    /// Every collection of the listing with its times (own, share), owned ones first.
    fn collections(&self) -> Vec<(i64, Value)>;
    /// One collection, deleted or not; `None` if the account never had access.
    fn collection(&self, id: i64) -> Option<Value>;
    /// (`updationTime`, file) of every row of a collection; `None` without access.
    fn rows(&self, collection: i64) -> Option<Vec<(i64, i64)>>;
    /// What a diff answers in place of a page of rows, where that was prepared: up to `size` rows later than `since_us`.
    fn page(&self, _collection: i64, _since_us: i64, _size: usize) -> Option<String> {
        None
    }
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
    /// A recipe for the encrypted bytes of any version that ever existed; it may take a while.
    fn bytes(&self, key: ObjectKey) -> Option<Box<dyn FnOnce() -> Bytes + Send>>;
    /// The encrypted bytes of an object that is too large for memory, in pieces, and their length; `None` for all others.
    fn pieces(&self, _key: ObjectKey) -> Option<(u64, Pieces)> {
        None
    }
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

    /// An account without any collection, everything about it derived from `seed`.
    pub fn empty(seed: u64, email: &str, password: &str) -> Self {
        let seed = Seed::new(seed);
        let account = Account::new(seed, email, password);
        let live = Live::new(seed, &account);
        Self {
            account,
            source: Source::Live(Box::new(live)),
            patches: BTreeMap::new(),
        }
    }

    /// A made-up account with photos, videos and live photos in albums, as many as asked for; contents are made when
    /// they are asked for, so memory does not grow with their size.
    pub fn generate(options: &GenerateOptions) -> Self {
        let mut library = Self::empty(options.seed, &options.email, &options.password);
        generate::fill(library.live_mut(), Seed::new(options.seed), options);
        library
    }

    /// An account of many files that costs next to nothing to serve.
    pub fn bulk(seed: u64, email: &str, password: &str, options: BulkOptions) -> Self {
        let seed = Seed::new(seed);
        let account = Account::new(seed, email, password);
        let bulk = Bulk::new(seed, &account, options);
        Self {
            account,
            source: Source::Bulk(Box::new(bulk)),
            patches: BTreeMap::new(),
        }
    }

    /// The contents of an account made by [`Library::bulk`], to change.
    ///
    /// # Panics
    ///
    /// If this is another one.
    pub fn bulk_mut(&mut self) -> &mut Bulk {
        match &mut self.source {
            Source::Bulk(bulk) => bulk,
            _ => panic!("this account was not made for measuring"),
        }
    }

    /// The contents of a made-up account, to look into.
    ///
    /// # Panics
    ///
    /// If this is another one.
    pub fn live(&self) -> &Live {
        match &self.source {
            Source::Live(live) => live,
            _ => panic!("this account cannot be looked into"),
        }
    }

    /// The contents of a made-up account, to change.
    ///
    /// # Panics
    ///
    /// If this is another one.
    pub fn live_mut(&mut self) -> &mut Live {
        match &mut self.source {
            Source::Live(live) => live,
            _ => panic!("this account cannot be changed so"),
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
            _ => panic!("a made-up account has no golden states"),
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
            Source::Live(live) => &**live,
            Source::Bulk(bulk) => &**bulk,
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

/// The login sub-key of a password.
#[cfg(test)]
pub(crate) fn login_key(password: &str, salt: &[u8], memory_bytes: u32, passes: u32) -> [u8; 16] {
    seal::login_key(&seal::kek(password, salt, memory_bytes, passes))
}
