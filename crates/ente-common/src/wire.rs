//! What the server sends, spelled as it spells it.
//!
//! These structs only read, and only what somebody looks at: what has to be kept is kept as the text that was served. They are tolerant on purpose.
//! Only IDs and the lists themselves must be there (an answer without its list is not an empty list); everything
//! else may be missing or null, and unknown members are ignored,
//! so that one odd entry never costs a whole page. Lists take the type of their entries as a parameter: one that
//! begins as a `RawValue` keeps the text of each entry and survives a broken one.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};

use crate::id::Version;

/// Answer to `GET /collections/v2`.
#[derive(Debug, Clone, Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub struct Collections<T = Collection> {
    /// Owned collections, then those shared with the caller; tombstones included.
    #[serde(deserialize_with = "or_default")]
    pub collections: Vec<T>,
}

/// Answer to `GET /collections/v2/diff` and `GET /trash/v2/diff`.
#[derive(Debug, Clone, Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"), rename_all = "camelCase")]
pub struct DiffPage<T = FileEntry> {
    /// Entries in ascending order of their time; order within equal times is arbitrary.
    #[serde(deserialize_with = "or_default")]
    pub diff: Vec<T>,
    /// Whether to ask again from the last time of this page.
    #[serde(default, deserialize_with = "or_default")]
    pub has_more: bool,
}

/// A file that was in the trash at some time, in an answer to `GET /trash/v2/diff`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrashEntry {
    /// Which file.
    pub file: TrashedFile,
    /// It was put back into a collection. Else it is in the trash, or was deleted for good.
    #[serde(default, deserialize_with = "or_default")]
    pub is_restored: bool,
    /// Microseconds of the Unix epoch.
    pub updated_at: i64,
}

/// The part of a file in the trash that is looked at.
#[derive(Debug, Clone, Deserialize)]
pub struct TrashedFile {
    /// Unique on the server.
    pub id: i64,
}

/// A container of files: album, folder, favorites, uncategorized.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Collection {
    /// Unique on the server.
    pub id: i64,
    /// Decides how [`Collection::encrypted_key`] is wrapped.
    pub owner: Owner,
    /// Base64: a secretbox under the master key when the caller owns the collection, else a sealed box.
    #[serde(default, deserialize_with = "or_default")]
    pub encrypted_key: String,
    /// Base64. Says nothing about ownership: some answers carry the owner's nonce for sharees too.
    #[serde(default, deserialize_with = "or_default")]
    pub key_decryption_nonce: String,
    /// Plain name, only on very old collections; when it is not empty it is the name.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// Base64: a secretbox under the collection key.
    #[serde(default, deserialize_with = "or_default")]
    pub encrypted_name: String,
    /// Base64.
    #[serde(default, deserialize_with = "or_default")]
    pub name_decryption_nonce: String,
    /// `album`, `folder`, `favorites`, `uncategorized`; anything else counts as `album`.
    #[serde(default, rename = "type", deserialize_with = "or_default")]
    pub kind: String,
    /// Microseconds. Can move backwards: compare for inequality, never for order.
    #[serde(default, deserialize_with = "or_default")]
    pub updation_time: i64,
    /// Deleted, unshared or left.
    #[serde(default, deserialize_with = "or_default")]
    pub is_deleted: bool,
    /// The owner's private metadata; ignore it unless the caller is the owner.
    #[serde(default)]
    pub magic_metadata: Option<Envelope>,
    /// The caller's own metadata of a collection shared with the caller.
    #[serde(default)]
    pub shared_magic_metadata: Option<Envelope>,
}

/// Who owns a collection.
#[derive(Debug, Clone, Deserialize)]
pub struct Owner {
    /// The user's ID.
    pub id: i64,
}

/// An encrypted JSON object that can be edited: all magic metadata.
#[derive(Debug, Clone, Deserialize)]
#[serde(bound(deserialize = "S: Deserialize<'de> + Default"))]
pub struct Envelope<S = String> {
    /// Base64: a blob under the collection or file key.
    #[serde(default, deserialize_with = "or_default")]
    pub data: S,
    /// Base64 of its 24-byte header.
    #[serde(default, deserialize_with = "or_default")]
    pub header: S,
}

/// A text of an answer, copied only where it was escaped: whoever only lists looks at few of them.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// One file in one collection. Its texts are of the type `S`: [`Text`] where they are not to be copied.
#[derive(Debug, Clone, Deserialize)]
#[serde(
    bound(deserialize = "S: Deserialize<'de> + Default"),
    rename_all = "camelCase"
)]
pub struct FileEntry<S = String> {
    /// Unique on the server; the same in every collection that holds the file.
    pub id: i64,
    /// The collection of this entry.
    #[serde(rename = "collectionID")]
    pub collection_id: i64,
    /// Who uploaded it; neither the caller nor the collection's owner, possibly.
    #[serde(rename = "ownerID")]
    pub owner_id: i64,
    /// Base64: the file key, a secretbox under the key of **this** collection.
    #[serde(default, deserialize_with = "or_default")]
    pub encrypted_key: S,
    /// Base64.
    #[serde(default, deserialize_with = "or_default")]
    pub key_decryption_nonce: S,
    /// The original.
    #[serde(default, deserialize_with = "or_default")]
    pub file: ObjectRef<S>,
    /// What was fixed at upload.
    #[serde(default, deserialize_with = "or_default")]
    pub metadata: Metadata<S>,
    /// No longer in this collection; see [`FileEntry::is_removed`].
    #[serde(default, deserialize_with = "or_default")]
    pub is_deleted: bool,
    /// Microseconds: when this file changed in this collection.
    #[serde(default, deserialize_with = "or_default")]
    pub updation_time: i64,
    /// The owner's private edits; only the owner of the file gets them.
    #[serde(default)]
    pub magic_metadata: Option<Envelope<S>>,
    /// The owner's edits that everybody with access sees.
    #[serde(default)]
    pub pub_magic_metadata: Option<Envelope<S>>,
    /// Sizes; absent on old files.
    #[serde(default)]
    pub info: Option<Info>,
}

impl<S: AsRef<str>> FileEntry<S> {
    /// Whether the file is no longer in this collection.
    ///
    /// Besides tombstones this takes in files that were scrubbed while a stale entry survived. What is left in a
    /// removed entry must not be decrypted.
    pub fn is_removed(&self) -> bool {
        self.is_deleted || matches!(self.metadata.encrypted_data.as_ref(), "" | "-")
    }

    /// Which content the entry stands for; `None` when its header is no header.
    pub fn content_version(&self) -> Option<Version> {
        Version::of_header(self.file.decryption_header.as_ref())
    }

    /// Size in bytes of the encrypted original, where the server knows it.
    pub fn object_size_bytes(&self) -> Option<u64> {
        let size = self.info.as_ref()?.file_size;
        u64::try_from(size).ok().filter(|&size| size > 0)
    }
}

/// What opens a stored object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(
    bound(deserialize = "S: Deserialize<'de> + Default"),
    rename_all = "camelCase"
)]
pub struct ObjectRef<S = String> {
    /// Base64 of the 24-byte secretstream header.
    #[serde(default, deserialize_with = "or_default")]
    pub decryption_header: S,
}

/// Metadata fixed at upload.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(
    bound(deserialize = "S: Deserialize<'de> + Default"),
    rename_all = "camelCase"
)]
pub struct Metadata<S = String> {
    /// Base64: a blob under the file key; `-` or empty once the file is scrubbed.
    #[serde(default, deserialize_with = "or_default")]
    pub encrypted_data: S,
    /// Base64 of its 24-byte header.
    #[serde(default, deserialize_with = "or_default")]
    pub decryption_header: S,
}

/// The size of the encrypted object; 0 or negative where unknown.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// Of the original, in bytes.
    #[serde(default, deserialize_with = "or_default")]
    pub file_size: i64,
}

/// What leads from a password to every key of an account; all of it ciphertext or public.
///
/// Kept with an export, so that the password alone opens it later.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyAttributes {
    /// Base64 of the 16-byte Argon2id salt.
    #[serde(default, deserialize_with = "or_default")]
    pub kek_salt: String,
    /// Argon2id memory in bytes.
    #[serde(default, deserialize_with = "or_default")]
    pub mem_limit: u64,
    /// Argon2id passes.
    #[serde(default, deserialize_with = "or_default")]
    pub ops_limit: u64,
    /// Base64: the master key, a secretbox under the KEK.
    #[serde(default, deserialize_with = "or_default")]
    pub encrypted_key: String,
    /// Base64.
    #[serde(default, deserialize_with = "or_default")]
    pub key_decryption_nonce: String,
    /// Base64 of the X25519 public key.
    #[serde(default, deserialize_with = "or_default")]
    pub public_key: String,
    /// Base64: the X25519 secret key, a secretbox under the master key.
    #[serde(default, deserialize_with = "or_default")]
    pub encrypted_secret_key: String,
    /// Base64.
    #[serde(default, deserialize_with = "or_default")]
    pub secret_key_decryption_nonce: String,
    /// Base64: the master key, a secretbox under the recovery key; empty on the oldest accounts.
    #[serde(default, deserialize_with = "or_default")]
    pub master_key_encrypted_with_recovery_key: String,
    /// Base64; empty on the oldest accounts.
    #[serde(default, deserialize_with = "or_default")]
    pub master_key_decryption_nonce: String,
    /// Base64: the recovery key, a secretbox under the master key; empty on the oldest accounts.
    #[serde(default, deserialize_with = "or_default")]
    pub recovery_key_encrypted_with_master_key: String,
    /// Base64; empty on the oldest accounts.
    #[serde(default, deserialize_with = "or_default")]
    pub recovery_key_decryption_nonce: String,
}

/// Null counts as missing.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn only_ids_must_be_there() {
        let entry: FileEntry =
            serde_json::from_str(r#"{"id":1580559962386440,"collectionID":2,"ownerID":3}"#)
                .unwrap();
        assert_eq!(entry.id, 1_580_559_962_386_440);
        assert!(entry.is_removed(), "no metadata means scrubbed");
        assert_eq!(entry.content_version(), None);
        assert_eq!(entry.object_size_bytes(), None);

        let nulls = r#"{"id":1,"collectionID":2,"ownerID":3,"collectionOwnerID":null,"encryptedKey":null,
            "keyDecryptionNonce":null,"file":null,"thumbnail":{"decryptionHeader":null},"metadata":null,
            "isDeleted":null,"updationTime":null,"magicMetadata":null,"pubMagicMetadata":{"data":null},
            "info":{"fileSize":null},"from the future":[{}]}"#;
        let entry: FileEntry = serde_json::from_str(nulls).unwrap();
        assert_eq!(entry.pub_magic_metadata.unwrap().data, "");

        let collection: Collection = serde_json::from_str(
            r#"{"id":1,"owner":{"id":2,"email":1},"sharees":[{"id":"x"}],"publicURLs":null,"type":null}"#,
        )
        .unwrap();
        assert_eq!(
            collection.owner.id, 2,
            "what nobody looks at may be anything"
        );

        for broken in [
            r#"{"collectionID":2,"ownerID":3}"#,
            r#"{"id":1,"ownerID":3}"#,
            r#"{"id":null}"#,
        ] {
            assert!(
                serde_json::from_str::<FileEntry>(broken).is_err(),
                "{broken}"
            );
        }
    }

    #[test]
    fn lent_texts_are_checked_as_copied_ones() {
        let entry = |members: &str| format!(r#"{{"id":1,"collectionID":2,"ownerID":3,{members}}}"#);
        for members in [
            r#""encryptedKey":1"#,
            r#""keyDecryptionNonce":{}"#,
            r#""file":{"decryptionHeader":[]}"#,
            r#""metadata":{"encryptedData":true}"#,
            r#""isDeleted":0"#,
            r#""updationTime":"1""#,
            r#""updationTime":1.5"#,
            r#""magicMetadata":{"data":1}"#,
            r#""pubMagicMetadata":{"header":7}"#,
            r#""info":{"fileSize":"1"}"#,
            r#""encryptedKey":"","encryptedKey":"""#,
            r#""encryptedKey":"\ud800""#,
        ] {
            let text = entry(members);
            assert!(serde_json::from_str::<FileEntry>(&text).is_err(), "{text}");
            assert!(
                serde_json::from_str::<FileEntry<Text<'_>>>(&text).is_err(),
                "{text}"
            );
        }
        let text = entry(
            r#""file":{"decryptionHeader":"AAAA\u0041\/+8"},"metadata":{"encryptedData":"\u002d"},"encryptedKey":null"#,
        );
        let lent: FileEntry<Text<'_>> = serde_json::from_str(&text).unwrap();
        assert_eq!(lent.file.decryption_header.as_ref(), "AAAAA/+8");
        assert_eq!(lent.encrypted_key.as_ref(), "");
        assert!(lent.is_removed());
        let plain = entry(r#""encryptedKey":"QUJD""#);
        let lent: FileEntry<Text<'_>> = serde_json::from_str(&plain).unwrap();
        assert!(matches!(lent.encrypted_key.0, Cow::Borrowed("QUJD")));
    }

    #[test]
    fn removed_means_deleted_or_scrubbed() {
        let rows = [
            (
                r#""isDeleted":false,"metadata":{"encryptedData":"AAAA"}"#,
                false,
            ),
            (
                r#""isDeleted":true,"metadata":{"encryptedData":"AAAA"}"#,
                true,
            ),
            (
                r#""isDeleted":false,"metadata":{"encryptedData":"-"}"#,
                true,
            ),
            (r#""isDeleted":false,"metadata":{"encryptedData":""}"#, true),
        ];
        for (members, removed) in rows {
            let json = format!(r#"{{"id":1,"collectionID":2,"ownerID":3,{members}}}"#);
            let entry: FileEntry = serde_json::from_str(&json).unwrap();
            assert_eq!(entry.is_removed(), removed, "{members}");
        }
    }

    #[test]
    fn a_page_keeps_its_entries_as_served() {
        let page: DiffPage<Box<RawValue>> =
            serde_json::from_str(r#"{"diff":[{"id": 1 , "new":"\u00e9"}],"hasMore":true}"#)
                .unwrap();
        assert_eq!(page.diff[0].get(), r#"{"id": 1 , "new":"\u00e9"}"#);
        assert!(page.has_more);
        let page: DiffPage = serde_json::from_str(r#"{"diff":null}"#).unwrap();
        assert!(page.diff.is_empty() && !page.has_more);
    }

    #[test]
    fn the_golden_account_reads() {
        for state in ["1-initial", "2-changed"] {
            let wire = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/account");
            let read = |name: &str| {
                std::fs::read_to_string(format!("{wire}/{state}/wire/{name}")).unwrap()
            };
            let list: Collections = serde_json::from_str(&read("collections.json")).unwrap();
            assert!(list.collections.len() > 10);
            for collection in list
                .collections
                .iter()
                .filter(|collection| !collection.is_deleted)
            {
                let page: DiffPage =
                    serde_json::from_str(&read(&format!("diff/{}.json", collection.id))).unwrap();
                for entry in page.diff.iter().filter(|entry| !entry.is_removed()) {
                    assert_eq!(entry.collection_id, collection.id);
                    assert!(entry.content_version().is_some(), "file {}", entry.id);
                }
            }
        }
    }

    #[test]
    fn key_attributes_survive_a_round_trip() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/golden/account/account.json"
        );
        let account: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let attributes = KeyAttributes::deserialize(&account["keyAttributes"]).unwrap();
        assert_eq!(
            (attributes.mem_limit, attributes.ops_limit),
            (67_108_864, 2)
        );
        assert_eq!(
            serde_json::to_value(&attributes).unwrap(),
            account["keyAttributes"]
        );
    }
}
