//! A live library as the wire shows it.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::content::Content;
use super::model::{Action, Collection, Envelope, File, Live, Presence, Row};
use super::{Denied, ObjectKey, Part, Pieces, Stored, encode, merge, seal};

/// How long after trashing a file is to be deleted for good.
const TRASH_LIFETIME_US: i64 = 30 * 24 * 3600 * 1_000_000;

/// What permanently deleted rows hold in place of metadata.
const SCRUBBED: &str = "-";

/// A file's key under that of a collection, in base64.
pub(super) struct Wrapped {
    pub(super) key: String,
    pub(super) nonce: String,
}

impl Stored for Live {
    fn collections(&self) -> Vec<(i64, Value)> {
        let listed = self
            .collections
            .iter()
            .filter(|(_, c)| c.presence != Presence::Vanished);
        let (mut own, shared): (Vec<_>, Vec<_>) = listed.partition(|(_, c)| self.owns(c));
        own.extend(shared);
        own.into_iter()
            .map(|(id, c)| {
                (
                    c.updated_at.max(c.shared_at.unwrap_or(0)),
                    self.listed(*id, c),
                )
            })
            .collect()
    }

    fn collection(&self, id: i64) -> Option<Value> {
        let collection = self.collections.get(&id)?;
        let mut value = self.listed(id, collection);
        if !self.owns(collection) {
            if collection.presence != Presence::Live {
                return None;
            }
            // The real server leaves the owner's nonce in, and the sharee's own metadata out.
            let members = value.as_object_mut()?;
            members.remove("sharedMagicMetadata");
            let nonce = self.seed.bytes::<24>("owner's nonce", &[id]);
            members.insert("keyDecryptionNonce".to_owned(), encode(nonce).into());
        }
        Some(value)
    }

    fn rows(&self, collection: i64) -> Option<Vec<(i64, i64)>> {
        let collection = self.collections.get(&collection)?;
        let rows = collection
            .rows
            .iter()
            .map(|(file, row)| (row.updated_at, *file));
        (collection.presence == Presence::Live).then(|| rows.collect())
    }

    fn row(&self, collection: i64, file: i64) -> Value {
        let mut value = self.full_row(collection, file);
        let (row, file) = (
            &self.collections[&collection].rows[&file],
            &self.files[&file],
        );
        let asked_to_go = row.action.is_some() && file.owner != self.user.id;
        if asked_to_go || file.scrubbed {
            value["isDeleted"] = true.into();
        }
        if file.owner != self.user.id {
            let members = value.as_object_mut().expect("a row is an object");
            members.retain(|name, _| {
                !["magicMetadata", "action", "actionUser"].contains(&name.as_str())
            });
        }
        value
    }

    fn single(&self, collection: i64, file: i64) -> Option<Value> {
        self.is_active(collection, file)
            .then(|| self.full_row(collection, file))
    }

    fn trash_rows(&self) -> Vec<(i64, i64)> {
        self.trash
            .iter()
            .map(|(file, row)| (row.updated_at, *file))
            .collect()
    }

    fn trash_row(&self, id: i64) -> Value {
        let (trashed, file) = (&self.trash[&id], &self.files[&id]);
        let mut value = self.file_json(trashed.collection, id, file);
        value.insert("collectionOwnerID".to_owned(), Value::Null);
        value.insert("isDeleted".to_owned(), false.into());
        value.insert("updationTime".to_owned(), file.updated_at.into());
        self.add_metadata(&mut value, id, file);
        json!({
            "file": value,
            "isDeleted": trashed.deleted,
            "isRestored": trashed.restored,
            "deleteBy": trashed.created_at + TRASH_LIFETIME_US,
            "createdAt": trashed.created_at,
            "updatedAt": trashed.updated_at,
        })
    }

    fn object(&self, id: i64, part: Part) -> Result<ObjectKey, Denied> {
        let file = self
            .files
            .get(&id)
            .filter(|file| !file.deleted)
            .ok_or(Denied::NotFound)?;
        if file.owner != self.user.id && self.places(id).is_empty() {
            return Err(Denied::Forbidden);
        }
        Ok(ObjectKey {
            file: id,
            part,
            version: file.versions.len() as u32,
        })
    }

    fn bytes(&self, key: ObjectKey) -> Option<Box<dyn FnOnce() -> Bytes + Send>> {
        let file = self.files.get(&key.file)?;
        let version = file
            .versions
            .get(key.version.checked_sub(1)? as usize)?
            .clone();
        let file_key = self.file_key(key.file);
        let header = self.header(key);
        let framing = file.framing;
        Some(Box::new(move || {
            match key.part {
                Part::Original => {
                    seal::object(&file_key, header, &version.content.bytes(), framing)
                }
                Part::Thumbnail => seal::blob(&file_key, header, &version.thumbnail()),
            }
            .into()
        }))
    }

    fn pieces(&self, key: ObjectKey) -> Option<(u64, Pieces)> {
        let file = self.files.get(&key.file)?;
        let version = &file.versions[key.version.checked_sub(1)? as usize];
        match (&version.content, key.part) {
            (Content::Zeros(length), Part::Original) => {
                let pieces = seal::zeros(&self.file_key(key.file), self.header(key), *length);
                Some((seal::sealed_len(*length), Box::new(pieces)))
            }
            _ => None,
        }
    }

    fn sizes(&self, file: i64) -> Option<(i64, i64)> {
        let file = self
            .files
            .get(&file)
            .filter(|file| file.owner == self.user.id)?;
        let facts = file.current().facts();
        Some(if file.has_info {
            (facts.sealed_len as i64, facts.thumbnail_len as i64)
        } else {
            (-1, -1)
        })
    }
}

impl Live {
    /// A patch for [`Library::patch_row`](super::Library::patch_row): in place of a file's metadata these bytes, encrypted as a client with the
    /// file's key would.
    pub fn forged_metadata(&self, file: i64, plain: &[u8]) -> Value {
        let header = self.seed.bytes("forged metadata", &[file]);
        let data = encode(seal::blob(&self.file_key(file), header, plain));
        json!({"metadata": {"encryptedData": data, "decryptionHeader": encode(header)}})
    }

    fn owns(&self, collection: &Collection) -> bool {
        collection.owner.id == self.user.id
    }

    fn collection_key(&self, id: i64) -> [u8; 32] {
        self.seed.bytes("collection key", &[id])
    }

    fn file_key(&self, id: i64) -> [u8; 32] {
        self.seed.bytes("file key", &[id])
    }

    fn header(&self, key: ObjectKey) -> [u8; 24] {
        self.seed.bytes(
            "object",
            &[key.file, key.part as i64, i64::from(key.version)],
        )
    }

    /// A collection as the listing shows it to this account.
    fn listed(&self, id: i64, collection: &Collection) -> Value {
        let key = self.collection_key(id);
        let own = self.owns(collection);
        let deleted = collection.presence == Presence::Deleted;
        let owner_email = if own || deleted {
            ""
        } else {
            &collection.owner.email
        };
        let mut value = Map::new();
        let mut set = |name: &str, member: Value| value.insert(name.to_owned(), member);
        set("id", id.into());
        set(
            "owner",
            json!({"id": collection.owner.id, "email": owner_email, "name": "", "role": ""}),
        );
        if own {
            let nonce = self.seed.bytes("collection key nonce", &[id]);
            set(
                "encryptedKey",
                encode(seal::secretbox(&self.master_key, nonce, &key)).into(),
            );
            set("keyDecryptionNonce", encode(nonce).into());
        } else {
            let random = self.seed.stream("collection key seal", &[id]);
            set(
                "encryptedKey",
                encode(seal::sealed_box(&self.public_key, random, &key)).into(),
            );
        }
        let nonce = self
            .seed
            .bytes("name nonce", &[id, collection.name_version]);
        set("name", "".into());
        set(
            "encryptedName",
            encode(seal::secretbox(&key, nonce, collection.name.as_bytes())).into(),
        );
        set("nameDecryptionNonce", encode(nonce).into());
        set("type", collection.kind.as_str().into());
        set("attributes", json!({"version": if own { 1 } else { 0 }}));
        let visible_sharees = if deleted && !own {
            &[][..]
        } else {
            &collection.sharees
        };
        let sharees = visible_sharees.iter();
        set(
            "sharees",
            sharees
                .map(|(user, role)| json!({"id": user.id, "email": user.email, "name": "", "role": role}))
                .collect(),
        );
        set("publicURLs", json!([]));
        set("updationTime", collection.updated_at.into());
        if let (false, Some(shared_at)) = (own, collection.shared_at) {
            set("sharedAt", shared_at.into());
        }
        if deleted {
            set("isDeleted", true.into());
        }
        let private = if own {
            ("magicMetadata", &collection.magic)
        } else {
            ("sharedMagicMetadata", &collection.shared_magic)
        };
        for (name, envelope) in [private, ("pubMagicMetadata", &collection.public_magic)] {
            let header = self.seed.bytes(name, &[id, envelope.version]);
            if let Some(sealed) = envelope.sealed(&key, header) {
                set(name, sealed);
            }
        }
        set("app", "photos".into());
        value.into()
    }

    /// A row without masking.
    fn full_row(&self, collection: i64, id: i64) -> Value {
        let owner = self.collections[&collection].owner.id;
        let (row, file) = (&self.collections[&collection].rows[&id], &self.files[&id]);
        let mut value = self.file_json(collection, id, file);
        value.insert("collectionOwnerID".to_owned(), owner.into());
        value.insert("collectionAddedAt".to_owned(), row.added_at.into());
        value.insert("isDeleted".to_owned(), row.removed.into());
        value.insert("updationTime".to_owned(), row.updated_at.into());
        self.add_metadata(&mut value, id, file);
        add_action(&mut value, row);
        value.into()
    }

    /// Wraps the key of a file for a collection.
    pub(super) fn wrap(&self, collection: i64, file: i64, key: &[u8; 32]) -> Wrapped {
        let nonce = self.seed.bytes("file key nonce", &[collection, file]);
        let sealed = seal::secretbox(&self.collection_key(collection), nonce, key);
        Wrapped {
            key: encode(sealed),
            nonce: encode(nonce),
        }
    }

    /// What rows of a collection and of the trash have in common.
    fn file_json(&self, collection: i64, id: i64, file: &File) -> Map<String, Value> {
        let key = self.file_key(id);
        let wrapped = self.wrap(collection, id, &key);
        let version = file.versions.len() as u32;
        let object = |part| {
            let header = self.header(ObjectKey {
                file: id,
                part,
                version,
            });
            json!({"decryptionHeader": encode(header), "size": 0})
        };
        let header = self.seed.bytes("metadata", &[id, i64::from(version)]);
        let metadata = if file.scrubbed {
            SCRUBBED.to_owned()
        } else {
            seal::json_blob(&key, header, &file.metadata_json())
        };
        let value = json!({
            "id": id,
            "ownerID": file.owner,
            "collectionID": collection,
            "encryptedKey": wrapped.key,
            "keyDecryptionNonce": wrapped.nonce,
            "file": object(Part::Original),
            "thumbnail": object(Part::Thumbnail),
            "metadata": {"encryptedData": metadata, "decryptionHeader": encode(header), "size": 0},
        });
        match value {
            Value::Object(members) => members,
            _ => unreachable!("made as an object"),
        }
    }

    /// Magic metadata and sizes.
    fn add_metadata(&self, value: &mut Map<String, Value>, id: i64, file: &File) {
        if file.scrubbed {
            return;
        }
        let key = self.file_key(id);
        for (name, envelope) in [
            ("magicMetadata", &file.magic),
            ("pubMagicMetadata", &file.public_magic),
        ] {
            let header = self.seed.bytes(name, &[id, envelope.version]);
            if let Some(sealed) = envelope.sealed(&key, header) {
                value.insert(name.to_owned(), sealed);
            }
        }
        if file.has_info {
            let facts = file.current().facts();
            let info = json!({"fileSize": facts.sealed_len, "thumbSize": facts.thumbnail_len});
            value.insert("info".to_owned(), info);
        }
    }
}

fn add_action(value: &mut Map<String, Value>, row: &Row) {
    if let Some((action, by)) = row.action {
        let action = match action {
            Action::Remove => "REMOVE",
            Action::Delete => "DELETE_SUGGESTED",
        };
        value.insert("action".to_owned(), action.into());
        value.insert("actionUser".to_owned(), by.into());
    }
}

impl Envelope {
    /// As sent; `None` if it was never written. A count of 0 is left out.
    fn sealed(&self, key: &[u8; 32], header: [u8; 24]) -> Option<Value> {
        if self.version == 0 {
            return None;
        }
        let data = seal::json_blob(key, header, &Value::Object(self.values.clone()));
        let mut value = json!({"version": self.version});
        if !self.values.is_empty() {
            value["count"] = self.values.len().into();
        }
        value["data"] = data.into();
        value["header"] = encode(header).into();
        Some(value)
    }
}

impl File {
    /// The metadata fixed at upload, in plain text.
    pub(super) fn metadata_json(&self) -> Value {
        let version = self.current();
        let mut metadata = json!({
            "title": self.title,
            "fileType": version.content.file_type(),
            "creationTime": self.taken_at_us,
            "modificationTime": self.modified_at_us,
            "hash": version.facts().hash,
        });
        if let Some((latitude, longitude)) = self.location {
            metadata["latitude"] = latitude.into();
            metadata["longitude"] = longitude.into();
        }
        merge(&mut metadata, &Value::Object(self.metadata.clone()));
        metadata
    }
}
