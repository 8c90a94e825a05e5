//! From what the server sends to what it means, with the account's keys.
//!
//! ```text
//! master key or key pair ─▶ collection key ─▶ file key ─▶ metadata, edits
//! ```

use std::fmt;

use serde::{Deserialize as _, Deserializer};
use serde_json::Value;

use super::{Collection, EffectiveMetadata};
use crate::crypto::{
    CollectionKey, FileKey, Key, KeyPair, MasterKey, OpenError, blob, sealed_box, secretbox,
};
use crate::encoding::{EncodingError, array_from_base64, from_base64};
use crate::wire;

/// An album's name is told in every sidecar of its files; a longer one, which no app lets a person type, is cut.
const MAX_ALBUM_NAME_BYTES: usize = 4096;

/// A collection and what opens the files in it.
#[derive(Debug)]
pub struct OpenedCollection {
    /// Unwraps the keys of its files.
    pub key: CollectionKey,
    /// The collection.
    pub collection: Collection,
    /// Private metadata that could not be read: the collection is usable, but may be hidden or archived.
    pub unreadable: Option<Unreadable>,
}

/// A file and what opens its content.
#[derive(Debug)]
pub struct OpenedFile {
    /// Decrypts the content.
    pub key: FileKey,
    /// Metadata with all edits that could be read.
    pub metadata: EffectiveMetadata,
    /// Edits that could not be read: the file is usable, but a caption or a new name may be missing.
    pub unreadable: Vec<Unreadable>,
}

/// A piece of a collection or file that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the {piece}")]
pub struct Unreadable {
    /// Which piece.
    pub piece: Piece,
    /// Why.
    #[source]
    pub cause: Cause,
}

/// The pieces that are read one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// The wrapped key of a collection.
    CollectionKey,
    /// The encrypted name of a collection.
    CollectionName,
    /// Metadata of a collection that is private to the account.
    CollectionMetadata,
    /// The wrapped key of a file.
    FileKey,
    /// Metadata of a file, fixed at upload.
    FileMetadata,
    /// Edits that everybody with access to the file sees.
    PublicMetadata,
    /// Edits that only the owner of the file sees.
    PrivateMetadata,
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CollectionKey => "key of the collection",
            Self::CollectionName => "name of the collection",
            Self::CollectionMetadata => "private metadata of the collection",
            Self::FileKey => "key of the file",
            Self::FileMetadata => "metadata of the file",
            Self::PublicMetadata => "edits of the file",
            Self::PrivateMetadata => "private edits of the file",
        })
    }
}

/// Why a piece could not be read. Holds nothing of its content.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// Not base64 of the right length.
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    /// Does not authenticate, or is too short to.
    #[error(transparent)]
    Crypto(#[from] OpenError),
    /// Authentic, but not UTF-8.
    #[error("its content is not UTF-8")]
    NotText,
    /// Authentic, but not JSON.
    #[error("its content is not JSON")]
    NotJson,
}

/// Why the entry of a collection or file does not open.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Not the JSON that servers send.
    #[error("the entry is not as the server writes them")]
    Malformed(#[from] serde_json::Error),
    /// What was removed keeps its ID, but neither keys nor metadata.
    #[error("the entry was removed")]
    Removed,
    /// A piece without which nothing can be made of it.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

impl Piece {
    fn unreadable(self) -> impl FnOnce(Cause) -> Unreadable {
        move |cause| Unreadable { piece: self, cause }
    }
}

impl OpenedCollection {
    /// Opens a collection with the keys of an account: its own with the master key, others with the key pair.
    ///
    /// # Errors
    /// Fails without key or name. Unreadable metadata is reported in the result.
    pub fn open(
        served: &wire::Collection,
        user_id: i64,
        master_key: &MasterKey,
        key_pair: &KeyPair,
    ) -> Result<Self, Unreadable> {
        // Ownership decides, never the presence of a nonce or of `magicMetadata`: some answers carry the owner's for
        // sharees too.
        let is_owned = served.owner.id == user_id;
        let (key, envelope) = if is_owned {
            (owned_key(served, master_key), &served.magic_metadata)
        } else {
            (shared_key(served, key_pair), &served.shared_magic_metadata)
        };
        let key = key.map_err(Piece::CollectionKey.unreadable())?;
        let name = collection_name(served, &key).map_err(Piece::CollectionName.unreadable())?;
        let mut unreadable = None;
        let private = envelope.as_ref().and_then(|envelope| {
            open_envelope(envelope, &key)
                .map_err(|cause| unreadable = Some(Piece::CollectionMetadata.unreadable()(cause)))
                .ok()
        });
        let collection = Collection::new(served, user_id, name, private.as_ref());
        Ok(Self {
            key,
            collection,
            unreadable,
        })
    }
}

impl OpenedFile {
    /// Reads an entry from its JSON and opens it with the key of the collection that it is listed in.
    ///
    /// # Errors
    /// As [`Self::open`], and when it is no entry or one that was removed.
    pub fn read<'de>(
        json: impl Deserializer<'de, Error = serde_json::Error>,
        collection_key: &CollectionKey,
    ) -> Result<(wire::FileEntry, Self), EntryError> {
        let entry = wire::FileEntry::deserialize(json)?;
        if entry.is_removed() {
            return Err(EntryError::Removed);
        }
        let opened = Self::open(&entry, collection_key)?;
        Ok((entry, opened))
    }

    /// Opens a file with the key of the collection that the entry is listed in. The entry must not be
    /// [removed](wire::FileEntry::is_removed).
    ///
    /// # Errors
    /// Fails without key or upload metadata. Unreadable edits are reported in the result.
    pub fn open(
        entry: &wire::FileEntry,
        collection_key: &CollectionKey,
    ) -> Result<Self, Unreadable> {
        let key = file_key(entry, collection_key).map_err(Piece::FileKey.unreadable())?;
        let upload = &entry.metadata;
        let metadata = open_json(&upload.encrypted_data, &upload.decryption_header, &key)
            .map_err(Piece::FileMetadata.unreadable())?;

        let mut unreadable = Vec::new();
        let mut edits = |piece: Piece, envelope: &Option<wire::Envelope>| {
            open_envelope(envelope.as_ref()?, &key)
                .map_err(|cause| unreadable.push(piece.unreadable()(cause)))
                .ok()
        };
        let public = edits(Piece::PublicMetadata, &entry.pub_magic_metadata);
        let private = edits(Piece::PrivateMetadata, &entry.magic_metadata);
        let metadata = EffectiveMetadata::merge(&metadata, public.as_ref(), private.as_ref());
        Ok(Self {
            key,
            metadata,
            unreadable,
        })
    }
}

fn owned_key(served: &wire::Collection, key: &MasterKey) -> Result<CollectionKey, Cause> {
    let nonce = array_from_base64(&served.key_decryption_nonce)?;
    Ok(secretbox::unwrap(
        key,
        &nonce,
        &from_base64(&served.encrypted_key)?,
    )?)
}

fn shared_key(served: &wire::Collection, key_pair: &KeyPair) -> Result<CollectionKey, Cause> {
    Ok(sealed_box::unwrap(
        key_pair,
        &from_base64(&served.encrypted_key)?,
    )?)
}

fn collection_name(served: &wire::Collection, key: &CollectionKey) -> Result<String, Cause> {
    let mut name = if served.name.is_empty() {
        let nonce = array_from_base64(&served.name_decryption_nonce)?;
        let name = secretbox::open(key, &nonce, &from_base64(&served.encrypted_name)?)?;
        String::from_utf8(name).map_err(|_| Cause::NotText)?
    } else {
        served.name.clone()
    };
    name.truncate(name.floor_char_boundary(MAX_ALBUM_NAME_BYTES));
    Ok(name)
}

fn file_key(entry: &wire::FileEntry, key: &CollectionKey) -> Result<FileKey, Cause> {
    let nonce = array_from_base64(&entry.key_decryption_nonce)?;
    Ok(secretbox::unwrap(
        key,
        &nonce,
        &from_base64(&entry.encrypted_key)?,
    )?)
}

fn open_envelope(envelope: &wire::Envelope, key: &impl Key) -> Result<Value, Cause> {
    open_json(&envelope.data, &envelope.header, key)
}

fn open_json(data: &str, header: &str, key: &impl Key) -> Result<Value, Cause> {
    // The tag does not matter: it is authentic, and nothing can follow.
    let json = blob::open(key, &array_from_base64(header)?, &from_base64(data)?)?.plaintext;
    parse_json(&json)
}

/// Parses what some client wrote: the odd byte or half of a character pair in a title costs that character only.
fn parse_json(json: &[u8]) -> Result<Value, Cause> {
    serde_json::from_slice(json)
        .or_else(|_| serde_json::from_str(&mend_surrogates(&String::from_utf8_lossy(json))))
        .map_err(|_| Cause::NotJson)
}

/// Replaces `\uD800` to `\uDFFF` that make no pair. JavaScript cuts texts between the halves of a pair and writes
/// what is left.
fn mend_surrogates(json: &str) -> String {
    let unit = |text: &str| {
        let hex = text.strip_prefix("\\u")?.get(..4)?;
        u16::from_str_radix(hex, 16).ok()
    };
    let mut mended = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(escape) = rest.find('\\') {
        mended.push_str(&rest[..escape]);
        rest = &rest[escape..];
        let high = unit(rest).is_some_and(|unit| (0xd800..0xdc00).contains(&unit));
        let low = |text: &str| unit(text).is_some_and(|unit| (0xdc00..0xe000).contains(&unit));
        let (kept, bytes) = if high && rest.get(6..).is_some_and(low) {
            (&rest[..12], 12)
        } else if high || low(rest) {
            ("\\ufffd", 6)
        } else {
            // The escaped character with its backslash, so that `\\u` is not taken for an escape.
            let bytes = rest
                .char_indices()
                .nth(2)
                .map_or(rest.len(), |(index, _)| index);
            (&rest[..bytes], bytes)
        };
        mended.push_str(kept);
        rest = &rest[bytes..];
    }
    mended + rest
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use serde::de::DeserializeOwned;

    use super::*;
    use crate::crypto::SecretKey;
    use crate::model::{CollectionKind, FileType};
    use crate::naming::{Folder, Kind, MAX_NAME_BYTES};

    const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/account");

    fn read<T: DeserializeOwned>(name: &str) -> T {
        serde_json::from_str(&fs::read_to_string(format!("{GOLDEN}/{name}")).unwrap()).unwrap()
    }

    struct Keys {
        user_id: i64,
        master_key: MasterKey,
        key_pair: KeyPair,
    }

    impl Keys {
        fn open(&self, served: &wire::Collection) -> Result<OpenedCollection, Unreadable> {
            OpenedCollection::open(served, self.user_id, &self.master_key, &self.key_pair)
        }
    }

    fn keys() -> Keys {
        let account: Value = read("account.json");
        let key = |name: &str| array_from_base64::<32>(account[name].as_str().unwrap()).unwrap();
        Keys {
            user_id: account["userID"].as_i64().unwrap(),
            master_key: key("masterKey").into(),
            key_pair: KeyPair::new(SecretKey::from(key("secretKey"))),
        }
    }

    /// Everything of a golden state that opens, in ascending order of collection and file ID.
    type State = BTreeMap<
        i64,
        (
            OpenedCollection,
            BTreeMap<i64, Result<OpenedFile, Unreadable>>,
        ),
    >;

    fn open_state(state: &str) -> State {
        let keys = keys();
        let list: wire::Collections = read(&format!("{state}/wire/collections.json"));
        let live = list.collections.iter().filter(|served| !served.is_deleted);
        live.map(|served| {
            let opened = keys.open(served).unwrap();
            assert!(opened.unreadable.is_none(), "{:?}", opened.unreadable);
            let page: wire::DiffPage = read(&format!("{state}/wire/diff/{}.json", served.id));
            let files = page.diff.iter().filter(|entry| !entry.is_removed());
            let files = files
                .map(|entry| (entry.id, OpenedFile::open(entry, &opened.key)))
                .collect();
            (served.id, (opened, files))
        })
        .collect()
    }

    type Names = BTreeMap<(i64, i64), (String, String)>;

    /// Album folder and file name (or stem) of every placement. What was given before for the same titles stays.
    fn give_names(state: &State, given: &Names) -> Names {
        let mut names = Names::new();
        let mut albums = Folder::new(MAX_NAME_BYTES);
        let mut folders = BTreeMap::new();
        for (&id, (opened, _)) in state {
            let old = given
                .range((id, 0)..(id + 1, 0))
                .next()
                .map(|(_, (folder, _))| folder);
            let title = opened.collection.folder_title();
            if let Some(old) = old.filter(|old| old.starts_with(title)) {
                assert!(albums.claim_exact(old, Kind::Album));
                folders.insert(id, old.clone());
            }
        }
        for (&id, (opened, files)) in state {
            let title = opened.collection.folder_title();
            let folder = folders
                .entry(id)
                .or_insert_with(|| albums.claim(title, Kind::Album, id))
                .clone();
            let mut folder_names = Folder::new(MAX_NAME_BYTES);
            for (&file, opened) in files {
                let Ok(opened) = opened else { continue };
                let kind = match opened.metadata.file_type {
                    FileType::LivePhoto => Kind::LivePhoto,
                    _ => Kind::File,
                };
                let title = opened.metadata.title.as_deref().unwrap_or_default();
                let name = folder_names.claim(title, kind, file);
                names.insert((id, file), (folder.clone(), name));
            }
        }
        names
    }

    #[test]
    fn the_golden_account_leads_to_the_expected_names_and_values() {
        let mut given = Names::new();
        for state in ["1-initial", "2-changed"] {
            let opened = open_state(state);
            given = give_names(&opened, &given);
            for row in read::<Vec<Value>>(&format!("{state}/expected.json")) {
                let id = (
                    row["collectionID"].as_i64().unwrap(),
                    row["fileID"].as_i64().unwrap(),
                );
                let metadata = &opened[&id.0].1[&id.1].as_ref().unwrap().metadata;
                let (folder, name) = &given[&id];
                assert_eq!(row["album"], folder.as_str(), "{id:?}");
                for part in row["parts"].as_array().unwrap() {
                    let part = part["name"].as_str().unwrap();
                    let is_right = match metadata.file_type {
                        FileType::LivePhoto => part.rsplit_once('.').unwrap().0 == name,
                        _ => part == name,
                    };
                    assert!(is_right, "{id:?} {part} {name}");
                }

                let seconds = |us: Option<i64>| us.unwrap().div_euclid(1_000_000).to_string();
                let sidecar = &row["sidecar"];
                assert_eq!(
                    sidecar["photoTakenTime"],
                    seconds(metadata.taken_at_us),
                    "{id:?}"
                );
                assert_eq!(
                    sidecar["modificationTime"],
                    seconds(metadata.modified_at_us),
                    "{id:?}"
                );
                assert_eq!(
                    sidecar["description"].as_str(),
                    metadata.caption.as_deref(),
                    "{id:?}"
                );
                let place = metadata.location;
                assert_eq!(
                    sidecar["geoData"]["latitude"].as_f64(),
                    place.map(|place| place.latitude)
                );
                assert_eq!(
                    sidecar["geoData"]["longitude"].as_f64(),
                    place.map(|place| place.longitude)
                );
                let is_favorite = opened.values().any(|(album, files)| {
                    album.collection.kind == (CollectionKind::Favorites { own: true })
                        && files.contains_key(&id.1)
                });
                assert_eq!(
                    sidecar["favorited"].as_bool().unwrap_or(false),
                    is_favorite,
                    "{id:?}"
                );
            }
        }
    }

    #[test]
    fn failures_name_the_piece() {
        let list: wire::Collections = read("1-initial/wire/collections.json");
        let album = list
            .collections
            .iter()
            .find(|served| served.id == 13)
            .unwrap();
        let keys = keys();
        let key = keys.open(album).unwrap().key;
        let page: wire::DiffPage = read("1-initial/wire/diff/13.json");
        let entry = page.diff.iter().find(|entry| entry.id == 101).unwrap();
        let envelope = || {
            Some(wire::Envelope {
                data: "AAAA".into(),
                header: "AAAA".into(),
            })
        };

        let mut broken = album.clone();
        broken.key_decryption_nonce.clear();
        let error = keys.open(&broken).unwrap_err();
        assert_eq!(error.piece, Piece::CollectionKey);
        assert!(matches!(error.cause, Cause::Encoding(_)));

        let mut broken = album.clone();
        broken.owner.id += 1; // not ours: the key is no sealed box
        assert_eq!(keys.open(&broken).unwrap_err().piece, Piece::CollectionKey);

        let mut broken = album.clone();
        broken.encrypted_name = album.encrypted_key.clone();
        assert_eq!(keys.open(&broken).unwrap_err().piece, Piece::CollectionName);

        let mut endless = album.clone();
        endless.name = "é".repeat(1 << 20);
        assert_eq!(
            keys.open(&endless).unwrap().collection.name,
            "é".repeat(2048)
        );

        let mut broken = album.clone();
        broken.magic_metadata = envelope();
        let opened = keys.open(&broken).unwrap();
        assert_eq!(opened.unreadable.unwrap().piece, Piece::CollectionMetadata);

        let mut broken = entry.clone();
        broken.encrypted_key = album.encrypted_key.clone();
        let error = OpenedFile::open(&broken, &key).unwrap_err();
        assert_eq!(error.to_string(), "cannot read the key of the file");
        assert!(matches!(
            error.cause,
            Cause::Crypto(OpenError::Authentication)
        ));

        let mut broken = entry.clone();
        broken.metadata.decryption_header = broken.file.decryption_header.clone();
        assert_eq!(
            OpenedFile::open(&broken, &key).unwrap_err().piece,
            Piece::FileMetadata
        );

        let mut broken = entry.clone();
        broken.pub_magic_metadata = envelope();
        broken.magic_metadata = envelope();
        let opened = OpenedFile::open(&broken, &key).unwrap();
        let pieces: Vec<_> = opened
            .unreadable
            .iter()
            .map(|unreadable| unreadable.piece)
            .collect();
        assert_eq!(pieces, [Piece::PublicMetadata, Piece::PrivateMetadata]);
        assert_eq!(opened.metadata.title.as_deref(), Some("photo1.jpg"));
    }

    #[test]
    fn a_broken_character_costs_only_itself() {
        let rows: [(&[u8], &str); 8] = [
            (br#"{"t":"a\ud83d.jpg"}"#, "a\u{fffd}.jpg"),
            (br#"{"t":"\udc8d\ud83d"}"#, "\u{fffd}\u{fffd}"),
            (
                br#"{"t":"\ud83d\udc8d \ud83d\ud83d\udc8d"}"#,
                "💍 \u{fffd}💍",
            ),
            (br#"{"t":"\\ud83d \ud83d"}"#, "\\ud83d \u{fffd}"),
            (br#"{"t":"\n\"\u00e9\ud83d\n"}"#, "\n\"é\u{fffd}\n"),
            (b"{\"t\":\"a\xff\"}", "a\u{fffd}"),
            (b"{\"t\":\"\xe9\\ud83d\"}", "\u{fffd}\u{fffd}"),
            (br#"{"t":"fine"}"#, "fine"),
        ];
        for (json, title) in rows {
            assert_eq!(parse_json(json).unwrap()["t"], title);
        }
        for json in [
            &b""[..],
            b"{",
            b"\\",
            b"{\"t\":\"\\",
            b"{\"t\":\"\\u",
            "{\"t\":\"\\u12é\"".as_bytes(),
        ] {
            assert!(matches!(parse_json(json), Err(Cause::NotJson)));
        }
    }
}
