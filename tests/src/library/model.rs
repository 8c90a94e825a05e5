//! A library in plain text, with the server's bookkeeping around it.
//!
//! Nothing here is encrypted: ciphertext is made from the seed whenever a row or an object is served, and is the same
//! each time, so a library of 100,000 files takes some tens of megabytes.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::account::Account;
use super::content::{Content, Version};
use super::seal::Framing;
use super::seed::Seed;

/// Another user of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user's ID.
    pub id: i64,
    /// The e-mail address.
    pub email: String,
}

/// Type of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An album made by hand.
    Album,
    /// A device folder.
    Folder,
    /// The favourites.
    Favorites,
    /// What is in no album.
    Uncategorized,
}

impl Kind {
    /// As the wire spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Album => "album",
            Self::Folder => "folder",
            Self::Favorites => "favorites",
            Self::Uncategorized => "uncategorized",
        }
    }
}

/// Whether a collection or file shows up in the apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// Everywhere.
    Visible,
    /// Only in the archive.
    Archived,
    /// Only after unlocking. For collections.
    Hidden,
}

/// What a participant of an album asks the owner of a file to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Take it out of the album.
    Remove,
    /// Delete it.
    Delete,
}

/// How far a collection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Live,
    /// Listed as a tombstone.
    Deleted,
    /// No longer listed at all.
    Vanished,
}

/// One metadata envelope; version 0 means that it was never written.
#[derive(Debug, Clone, Default)]
pub(super) struct Envelope {
    pub(super) version: i64,
    pub(super) values: Map<String, Value>,
}

impl Envelope {
    /// Sets or, with `null`, removes a member.
    pub(super) fn set(&mut self, key: &str, value: Value) {
        self.version += 1;
        if value.is_null() {
            self.values.remove(key);
        } else {
            self.values.insert(key.to_owned(), value);
        }
    }
}

#[derive(Debug)]
pub(super) struct Collection {
    pub(super) owner: User,
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) name_version: i64,
    /// The owner's private metadata.
    pub(super) magic: Envelope,
    pub(super) public_magic: Envelope,
    /// This account's view of a collection of somebody else.
    pub(super) shared_magic: Envelope,
    pub(super) sharees: Vec<(User, &'static str)>,
    pub(super) presence: Presence,
    /// The files still have to go to the trash.
    pub(super) trash_queued: bool,
    pub(super) updated_at: i64,
    pub(super) shared_at: Option<i64>,
    pub(super) rows: BTreeMap<i64, Row>,
}

/// A file's being, or having been, in a collection.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) added_at: i64,
    pub(super) updated_at: i64,
    pub(super) removed: bool,
    pub(super) action: Option<(Action, i64)>,
}

#[derive(Debug)]
pub(super) struct File {
    pub(super) owner: i64,
    pub(super) title: String,
    pub(super) taken_at_us: i64,
    pub(super) modified_at_us: i64,
    pub(super) location: Option<(f64, f64)>,
    /// Merged over the metadata that the fields above make.
    pub(super) metadata: Map<String, Value>,
    pub(super) versions: Vec<Version>,
    pub(super) framing: Framing,
    pub(super) magic: Envelope,
    pub(super) public_magic: Envelope,
    pub(super) updated_at: i64,
    pub(super) has_info: bool,
    /// Objects are gone.
    pub(super) deleted: bool,
    /// What was left of the metadata is gone as well.
    pub(super) scrubbed: bool,
}

impl File {
    pub(super) fn current(&self) -> &Version {
        self.versions.last().expect("a file has content")
    }
}

#[derive(Debug, Clone)]
pub(super) struct TrashRow {
    /// Whose key wraps the file's key.
    pub(super) collection: i64,
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
    pub(super) restored: bool,
    pub(super) deleted: bool,
}

/// A file to upload.
#[derive(Debug, Clone)]
pub struct NewFile {
    /// File name.
    pub title: String,
    /// What it consists of.
    pub content: Content,
    /// Capture time.
    pub taken_at_us: i64,
    /// Modification time.
    pub modified_at_us: i64,
    /// Latitude and longitude.
    pub location: Option<(f64, f64)>,
    /// Members that replace those made from the fields above, or, as `null`, remove them.
    pub metadata: Map<String, Value>,
    /// Public magic metadata that it is uploaded with; empty for none.
    pub public: Map<String, Value>,
    /// Whether the server knows the sizes of the objects.
    pub has_info: bool,
    /// How the object's chunks are tagged.
    pub framing: Framing,
}

impl NewFile {
    /// A file with times and place of its picture, or of summer 2024.
    pub fn new(title: &str, content: Content) -> Self {
        let picture = match &content {
            Content::Photo(picture)
            | Content::Video(picture)
            | Content::LivePhoto { picture, .. } => *picture,
            Content::Bytes(..) | Content::Zeros(_) => super::Picture::default(),
        };
        Self {
            title: title.to_owned(),
            content,
            taken_at_us: picture.taken_at_us,
            modified_at_us: picture.taken_at_us,
            location: picture.location,
            metadata: Map::new(),
            public: Map::new(),
            has_info: true,
            framing: Framing::Standard,
        }
    }
}

/// A library that can be changed: what a server holds for one account.
#[derive(Debug)]
pub struct Live {
    pub(super) seed: Seed,
    pub(super) user: User,
    pub(super) master_key: [u8; 32],
    pub(super) public_key: [u8; 32],
    /// The server's time of the last change.
    pub(super) now_us: i64,
    /// While set, every change happens at this time.
    pub(super) held_us: Option<i64>,
    pub(super) next_id: i64,
    pub(super) collections: BTreeMap<i64, Collection>,
    pub(super) files: BTreeMap<i64, File>,
    pub(super) trash: BTreeMap<i64, TrashRow>,
}

impl Live {
    /// An account without anything in it.
    pub(super) fn new(seed: Seed, account: &Account) -> Self {
        Self {
            seed,
            user: User {
                id: account.user_id,
                email: account.email.clone(),
            },
            master_key: account.master_key,
            public_key: account.public_key,
            now_us: 1_700_000_000_000_000,
            held_us: None,
            next_id: 1_000_001,
            collections: BTreeMap::new(),
            files: BTreeMap::new(),
            trash: BTreeMap::new(),
        }
    }

    /// Whether the file is in this collection, and the collection is there.
    pub(super) fn is_active(&self, collection: i64, file: i64) -> bool {
        self.collections.get(&collection).is_some_and(|collection| {
            collection.presence == Presence::Live
                && collection.rows.get(&file).is_some_and(|row| !row.removed)
        })
    }

    /// The collections that the file is in now.
    pub(super) fn places(&self, file: i64) -> Vec<i64> {
        let ids = self.collections.keys().copied();
        ids.filter(|collection| self.is_active(*collection, file))
            .collect()
    }

    pub(super) fn is_mine(&self, file: i64) -> bool {
        self.files
            .get(&file)
            .is_some_and(|known| known.owner == self.user.id)
    }
}
