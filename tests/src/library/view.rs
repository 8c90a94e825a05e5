//! What is in a live library, in plain text: what an export has to contain.

use bytes::Bytes;
use serde_json::Value;

use super::model::{File, Kind, Live, Presence, Visibility};

/// A collection that this account sees now.
#[derive(Debug, Clone)]
pub struct AlbumView {
    /// The collection's ID.
    pub id: i64,
    /// Its name; the default hidden collection is called `.hidden`.
    pub name: String,
    /// Its type.
    pub kind: Kind,
    /// Whether it belongs to this account.
    pub owned: bool,
    /// Effective visibility: the owner's, or this account's choice for what others share.
    pub visibility: Visibility,
    /// Whether it holds the files that were hidden one by one.
    pub default_hidden: bool,
    /// What is in it, by ascending ID.
    pub files: Vec<FileView>,
}

/// A file as a participant sees it: effective metadata. What [`super::NewFile::metadata`] overrides is not looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct FileView {
    /// The file's ID.
    pub id: i64,
    /// Who uploaded it.
    pub owner: i64,
    /// `editedName` or the title.
    pub title: String,
    /// The caption.
    pub caption: Option<String>,
    /// Edited or original capture time.
    pub taken_at_us: i64,
    /// Modification time.
    pub modified_at_us: i64,
    /// Edited or original place; none for (0, 0).
    pub location: Option<(f64, f64)>,
    /// Whether it is in this account's own favourites.
    pub favorite: bool,
    /// Archived or not.
    pub visibility: Visibility,
    /// 0 image, 1 video, 2 live photo.
    pub file_type: i64,
    /// Counts the replacements of the content, from 1.
    pub content_version: u32,
}

impl Live {
    /// Every collection that is there, empty ones included, by ascending ID.
    pub fn albums(&self) -> Vec<AlbumView> {
        let live = self
            .collections
            .iter()
            .filter(|(_, c)| c.presence == Presence::Live);
        live.map(|(id, collection)| {
            let owned = collection.owner.id == self.user.id;
            let envelope = if owned {
                &collection.magic
            } else {
                &collection.shared_magic
            };
            AlbumView {
                id: *id,
                name: collection.name.clone(),
                kind: collection.kind,
                owned,
                visibility: visibility(envelope.values.get("visibility")),
                default_hidden: owned && collection.is_default_hidden(),
                files: self
                    .files_in(*id)
                    .into_iter()
                    .map(|file| self.file(file))
                    .collect(),
            }
        })
        .collect()
    }

    /// The files that an export of this collection has to contain, by ascending ID.
    pub fn files_in(&self, collection: i64) -> Vec<i64> {
        let rows = self.collections[&collection].rows.iter();
        rows.filter(|(id, row)| {
            let file = &self.files[id];
            let masked = row.action.is_some() && file.owner != self.user.id || file.scrubbed;
            !row.removed && !masked
        })
        .map(|(id, _)| *id)
        .collect()
    }

    /// A file with its effective metadata.
    ///
    /// # Panics
    ///
    /// If there is none with this ID.
    pub fn file(&self, id: i64) -> FileView {
        let file = &self.files[&id];
        let edited = |key: &str| file.public_magic.values.get(key);
        let text = |key: &str| edited(key).and_then(Value::as_str).map(str::to_owned);
        let title = text("editedName").filter(|name| !name.trim().is_empty());
        let time = edited("editedTime")
            .and_then(Value::as_i64)
            .filter(|time| *time != 0);
        let private = if file.owner == self.user.id {
            file.magic.values.get("visibility")
        } else {
            None
        };
        FileView {
            id,
            owner: file.owner,
            title: title.unwrap_or_else(|| file.title.clone()),
            caption: text("caption"),
            taken_at_us: time.unwrap_or(file.taken_at_us),
            modified_at_us: file.modified_at_us,
            location: location(file),
            favorite: self.is_favorite(id),
            visibility: visibility(private),
            file_type: file.current().content.file_type(),
            content_version: file.versions.len() as u32,
        }
    }

    /// The plaintext of a file, as uploaded: for a live photo the ZIP.
    pub fn content(&self, id: i64) -> Bytes {
        self.files[&id].current().content.bytes()
    }

    /// Still and video of a live photo; `None` for other files.
    pub fn live_parts(&self, id: i64) -> Option<[Bytes; 2]> {
        self.files[&id].current().content.live_parts()
    }

    /// Every file that was ever uploaded, by ascending ID.
    pub fn file_ids(&self) -> Vec<i64> {
        self.files.keys().copied().collect()
    }

    /// The files in the trash, by ascending ID.
    pub fn trashed(&self) -> Vec<i64> {
        let rows = self
            .trash
            .iter()
            .filter(|(_, row)| !row.restored && !row.deleted);
        rows.map(|(id, _)| *id).collect()
    }

    /// The collections that a file is in now, by ascending ID.
    pub fn albums_of(&self, file: i64) -> Vec<i64> {
        self.places(file)
    }

    fn is_favorite(&self, file: i64) -> bool {
        self.places(file).iter().any(|id| {
            let collection = &self.collections[id];
            collection.kind == Kind::Favorites && collection.owner.id == self.user.id
        })
    }
}

/// The edited pair where it is whole, else the original one; (0, 0) is no place.
fn location(file: &File) -> Option<(f64, f64)> {
    let edited = |key: &str| file.public_magic.values.get(key).and_then(Value::as_f64);
    edited("lat")
        .zip(edited("long"))
        .or(file.location)
        .filter(|place| *place != (0.0, 0.0))
}

fn visibility(value: Option<&Value>) -> Visibility {
    match value.and_then(Value::as_i64) {
        Some(1) => Visibility::Archived,
        Some(2) => Visibility::Hidden,
        _ => Visibility::Visible,
    }
}
