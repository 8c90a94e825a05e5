//! The facts of each file, as `docs/formats/manifest.md` defines them.

mod paths;

use std::path::{Path, PathBuf};

use blake3::Hash;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::id::Version;
use crate::manifest::compact;
use crate::manifest::hash::{self, Digest};
use crate::manifest::journal::{Facts, encode_fact, parse_fact};
use crate::manifest::rest::Rest;
use crate::wire;
use paths::{inside, path, some_path};

/// Declares the facts of one file and how each kind is spelled.
macro_rules! facts {
    ($(#[$doc:meta])* $name:ident in $file:literal { $($kind:literal => $variant:ident($fact:ty)),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name {
            $(#[doc = concat!("A `", $kind, "` fact.")] $variant($fact),)+
        }
        impl Facts for $name {
            const FILE: &'static str = $file;
            fn parse(kind: &str, line: &[u8]) -> Result<Option<Self>, serde_json::Error> {
                Ok(match kind {
                    $($kind => Some(Self::$variant(parse_fact(line)?)),)+
                    _ => None,
                })
            }
            fn encode(&self, line: &mut Vec<u8>) {
                match self { $(Self::$variant(fact) => encode_fact($kind, fact, line),)+ }
            }
        }
    };
}

facts! {
    /// What `ente-pull` knows.
    PullFact in "pull" {
        "setting" => Setting(Setting),
        "collection" => Collection(Collection),
        "file" => File(File),
        "listing" => Listing(Listing),
        "object" => Object(Object),
        "failed" => Failed(Failed),
        "rest" => Rest(Rest),
    }
}

facts! {
    /// What `ente-decrypt` knows.
    DecryptFact in "decrypt" {
        "setting" => Setting(Setting),
        "folder" => Folder(Folder),
        "placement" => Placement(Placement),
        "object" => Dropped(Dropped),
        "verdict" => Verdict(Verdict),
        "trash" => Trash(Trash),
        "aside" => Aside(Aside),
        "rest" => Rest(Rest),
    }
}

facts! {
    /// What `ente-meta` knows.
    MetaFact in "meta" {
        "setting" => Setting(Setting),
        "sidecar" => Sidecar(Sidecar),
        "rest" => Rest(Rest),
    }
}

facts! {
    /// What `ente-verify` knows.
    VerifyFact in "verify" {
        "finding" => Finding(Finding),
        "checked" => Checked(Checked),
        "adopted" => Adopted(Adopted),
        "pruned" => Pruned(Pruned),
    }
}

fn no(flag: &bool) -> bool {
    !flag
}

/// A list without room for more: it would be room for four, and there are as many of these as files.
fn exact<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let mut list = Vec::deserialize(deserializer)?;
    list.shrink_to_fit();
    Ok(list)
}

/// A setting of the export, stored at its first use by the tool that owns it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value, as on the command line.
    pub value: String,
}

/// A collection as listed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Collection {
    /// Collection ID.
    pub id: i64,
    /// User ID of its owner.
    #[serde(default)]
    pub owner: i64,
    /// The API's `type`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// `updationTime` as listed.
    #[serde(default)]
    pub updated: i64,
    /// The `updated` up to which its files were listed; 0: all are to be listed.
    #[serde(default)]
    pub synced: i64,
    /// The greatest `updationTime` seen among its files.
    #[serde(default)]
    pub cursor: i64,
    /// Of the collection as served.
    #[serde(default, skip_serializing_if = "Digest::is_unknown")]
    pub digest: Digest,
    /// Offset of its line in `ciphertext.jsonl`.
    #[serde(default)]
    pub at: u64,
    /// Length of that line.
    #[serde(default)]
    pub len: u64,
    /// The last listing lacked it, though nothing says that it was deleted or unshared.
    #[serde(default, skip_serializing_if = "no")]
    pub missing: bool,
    /// Deleted, unshared or no longer listed.
    #[serde(default, skip_serializing_if = "no")]
    pub gone: bool,
}

/// A file in a collection as listed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct File {
    /// Collection ID.
    pub collection: i64,
    /// File ID.
    pub id: i64,
    /// User ID of whoever uploaded it.
    #[serde(default)]
    pub owner: i64,
    /// Content version; absent where the served header is no header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Size of the encrypted object in bytes, where the server says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// `updationTime` of the placement.
    #[serde(default)]
    pub updated: i64,
    /// Of the entry as served, without its `updationTime`.
    #[serde(default, skip_serializing_if = "Digest::is_unknown")]
    pub digest: Digest,
    /// Offset of its line in `ciphertext.jsonl`.
    #[serde(default)]
    pub at: u64,
    /// Length of that line.
    #[serde(default)]
    pub len: u64,
    /// No longer in this collection.
    #[serde(default, skip_serializing_if = "no")]
    pub gone: bool,
}

impl File {
    /// The fact about an entry as listed, but for where its line lies.
    pub fn listed(entry: &wire::FileEntry<impl AsRef<str>>, digest: Digest) -> Self {
        Self {
            collection: entry.collection_id,
            id: entry.id,
            owner: entry.owner_id,
            version: entry.content_version(),
            size: entry.object_size_bytes(),
            updated: entry.updation_time,
            digest,
            ..Self::default()
        }
    }
}

/// Digest of an entry without its time, which changes with every move to and fro.
pub fn entry_digest(entry: &str) -> Digest {
    Digest::of(&compact::without("updationTime", entry))
}

/// Closes a listing: the collections and files before it count from here on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    /// The run that made it.
    pub run: String,
    /// When, in microseconds.
    #[serde(default)]
    pub when: i64,
    /// Every collection was listed from the start.
    #[serde(default, skip_serializing_if = "no")]
    pub full: bool,
    /// Throws away what stands unclosed before it.
    #[serde(default, skip_serializing_if = "no")]
    pub void: bool,
}

/// An object stored under `objects/`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// File ID.
    pub id: i64,
    /// Content version.
    pub version: Version,
    /// Size in bytes.
    #[serde(default)]
    pub size: u64,
    /// BLAKE3 of the encrypted bytes.
    #[serde(default, with = "hash::hex", skip_serializing_if = "Option::is_none")]
    pub blake3: Option<Hash>,
    /// How many times this version was fetched.
    #[serde(default)]
    pub fetch: u32,
    /// The fetch before gave the same bytes, and they were found damaged.
    #[serde(default, skip_serializing_if = "no")]
    pub same: bool,
    /// No longer under `objects/`.
    #[serde(default, skip_serializing_if = "no")]
    pub gone: bool,
    /// Where it lies below `trash/` since.
    #[serde(
        default,
        deserialize_with = "inside::some_path",
        skip_serializing_if = "Option::is_none"
    )]
    pub trashed: Option<String>,
}

/// A download that failed and is to be tried again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// File ID.
    pub id: i64,
    /// Content version.
    pub version: Version,
    /// Class of the problem, as in the record.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub class: String,
    /// What was seen.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cause: String,
    /// Runs in which it failed so far.
    #[serde(default)]
    pub tries: u32,
    /// It came after all, or is no longer wanted.
    #[serde(default, skip_serializing_if = "no")]
    pub gone: bool,
}

/// The folder of an album.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Folder {
    /// Collection ID.
    pub collection: i64,
    /// Folder name: one path component.
    #[serde(
        default,
        deserialize_with = "inside::name",
        skip_serializing_if = "String::is_empty"
    )]
    pub name: String,
    /// [`Collection::digest`] of the collection that it was named after.
    #[serde(default, skip_serializing_if = "Digest::is_unknown")]
    pub digest: Digest,
    /// Digest of the album's name.
    #[serde(default, skip_serializing_if = "Digest::is_unknown")]
    pub title: Digest,
    /// The album is no more.
    #[serde(default, skip_serializing_if = "no")]
    pub gone: bool,
}

/// One file in one album: its name and, once written, its parts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// Collection ID.
    pub collection: i64,
    /// File ID.
    pub file: i64,
    /// Exported name; for a live photo the stem of both parts.
    #[serde(
        default,
        deserialize_with = "inside::name",
        skip_serializing_if = "String::is_empty"
    )]
    pub name: String,
    /// It claims its whole stem.
    #[serde(default, skip_serializing_if = "no")]
    pub live: bool,
    /// [`File::digest`] of the entry that it was named after.
    #[serde(default, skip_serializing_if = "Digest::is_unknown")]
    pub digest: Digest,
    /// Digest of the effective title.
    #[serde(default, skip_serializing_if = "Digest::is_unknown")]
    pub title: Digest,
    /// Capture time in microseconds, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<i64>,
    /// Modification time from the metadata in microseconds, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<i64>,
    /// Content version of the parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// How many times its content was written here.
    #[serde(default)]
    pub n: u32,
    /// The files on disk; none yet while empty.
    #[serde(
        default,
        deserialize_with = "exact",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub parts: Vec<Part>,
    /// No longer exported.
    #[serde(default, skip_serializing_if = "no")]
    pub gone: bool,
}

/// One exported file; a live photo has two, the still first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Its name in the album folder.
    #[serde(deserialize_with = "inside::name")]
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// BLAKE3 of its content.
    #[serde(default, with = "hash::hex")]
    pub blake3: Option<Hash>,
    /// Modification time in microseconds, as the file system gave it back.
    #[serde(default)]
    pub mtime: i64,
    /// What the owner's device left of its content, where it did: BLAKE2b-512, in base64.
    #[serde(
        default,
        with = "hash::base64",
        skip_serializing_if = "Option::is_none"
    )]
    pub hash: Option<[u8; 64]>,
    /// How it came there.
    #[serde(default, skip_serializing_if = "How::is_unknown")]
    pub how: How,
}

impl Part {
    /// It lies at `path`, as records tell it.
    pub fn at(&self, path: &str) -> Value {
        let blake3 = self.blake3.map(|hash| hash.to_hex());
        let blake3 = blake3.as_ref().map_or("", |hex| hex.as_str());
        json!({"path": path, "size": self.size, "blake3": blake3})
    }
}

/// How a part came to its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// Decrypted there.
    Written,
    /// Shares the blocks of another part.
    Reflink,
    /// Is another part's file.
    Hard,
    /// Copied from another part.
    Copy,
    /// Came back from the trash.
    Restored,
    /// Was there, or was copied from elsewhere on this machine.
    Adopted,
    /// Nothing is said, or by a word of a newer release.
    #[default]
    #[serde(other)]
    Unknown,
}

impl How {
    /// From another part, in one of the ways that can be chosen.
    pub fn is_linked(self) -> bool {
        matches!(self, Self::Reflink | Self::Hard | Self::Copy)
    }

    fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }
}

/// An object that was dropped after its plaintext was safe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Dropped {
    /// File ID.
    pub id: i64,
    /// Content version.
    pub version: Version,
    /// [`Object::fetch`] of what was dropped.
    pub fetch: u32,
}

/// An object that could not be exported.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// File ID.
    pub id: i64,
    /// Content version.
    pub version: Version,
    /// [`Object::fetch`] of what was judged.
    #[serde(default)]
    pub fetch: u32,
    /// Class of the problem; `damaged` lets `ente-pull` fetch it once more.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub class: String,
    /// What was seen.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cause: String,
    /// BLAKE3 of the object.
    #[serde(default, with = "hash::hex", skip_serializing_if = "Option::is_none")]
    pub blake3: Option<Hash>,
    /// It was exported after all.
    #[serde(default, skip_serializing_if = "no")]
    pub gone: bool,
}

/// A part that lies in the trash.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trash {
    /// Path below `trash/`, with `/`.
    #[serde(deserialize_with = "inside::path")]
    pub path: String,
    /// Collection ID of the placement that it was.
    #[serde(default)]
    pub collection: i64,
    /// File ID.
    #[serde(default)]
    pub file: i64,
    /// Index of the part.
    #[serde(default)]
    pub part: usize,
    /// How many parts the placement had: a live photo comes back only with both.
    #[serde(default)]
    pub of: usize,
    /// Content version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Size in bytes.
    #[serde(default)]
    pub size: u64,
    /// BLAKE3 of its content.
    #[serde(default, with = "hash::hex", skip_serializing_if = "Option::is_none")]
    pub blake3: Option<Hash>,
    /// [`Part::hash`].
    #[serde(
        default,
        with = "hash::base64",
        skip_serializing_if = "Option::is_none"
    )]
    pub hash: Option<[u8; 64]>,
    /// Modification time in microseconds.
    #[serde(default)]
    pub mtime: i64,
    /// `removed`, `replaced` or `damaged`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Restored or deleted.
    #[serde(default, skip_serializing_if = "no")]
    pub gone: bool,
}

/// Plaintext whose content hash differs from the owner's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Aside {
    /// File ID.
    pub id: i64,
    /// Content version.
    pub version: Version,
    /// Path below `aside/`.
    #[serde(
        default,
        deserialize_with = "inside::path",
        skip_serializing_if = "String::is_empty"
    )]
    pub path: String,
    /// What was seen.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cause: String,
    /// Exported after all, or removed.
    #[serde(default, skip_serializing_if = "no")]
    pub gone: bool,
}

/// A sidecar as written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sidecar {
    /// Collection ID.
    pub collection: i64,
    /// File ID.
    pub file: i64,
    /// Index of the part.
    pub part: usize,
    /// Size in bytes.
    #[serde(default)]
    pub size: u64,
    /// BLAKE3 of its content.
    #[serde(default, with = "hash::hex", skip_serializing_if = "Option::is_none")]
    pub blake3: Option<Hash>,
    /// Digest of all that it was made of.
    #[serde(default, skip_serializing_if = "Digest::is_unknown")]
    pub inputs: Digest,
    /// BLAKE3 of what it took the place of; unknown where nothing was there.
    #[serde(default, skip_serializing_if = "Digest::is_unknown")]
    pub over: Digest,
    /// A second one for importers stands beside it.
    #[serde(default, skip_serializing_if = "no")]
    pub second: bool,
    /// How many times it was written here.
    #[serde(default)]
    pub n: u32,
    /// No longer there.
    #[serde(default, skip_serializing_if = "no")]
    pub gone: bool,
}

/// One thing that `ente-verify` found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Collection ID; 0 where the finding is about a path.
    #[serde(default)]
    pub collection: i64,
    /// File ID; 0 where the finding is about a path.
    #[serde(default)]
    pub file: i64,
    /// Index of the part.
    #[serde(default)]
    pub part: usize,
    /// `sidecar` where it is about the part's sidecar, `object` where about an encrypted object; empty where it is about the part's content.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub what: String,
    /// Content version of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// The path of an `extra` file.
    #[serde(default, with = "path", skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// `missing`, `damaged`, `modified`, `sidecar-edited`, `extra` or `not-exported`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub class: String,
    /// [`Placement::n`], [`Sidecar::n`] or [`Object::fetch`] when it was found.
    #[serde(default)]
    pub n: u32,
    /// When, in microseconds.
    #[serde(default)]
    pub when: i64,
    /// Seen to be well again.
    #[serde(default, skip_serializing_if = "no")]
    pub gone: bool,
}

/// A finished run of `ente-verify`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// The run.
    pub run: String,
    /// When it ended, in microseconds.
    #[serde(default)]
    pub when: i64,
    /// How it looked: `full`, `quick`, `origin`, `objects` or `quick-objects`.
    #[serde(default)]
    pub mode: String,
    /// The share of the export that it looked at, as `3/30`; absent for all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subset: Option<String>,
    /// Files looked at.
    #[serde(default)]
    pub files: u64,
    /// Bytes hashed.
    #[serde(default)]
    pub bytes: u64,
    /// Findings that stand.
    #[serde(default)]
    pub findings: u64,
}

/// A file that `ente-verify --adopt` found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Adopted {
    /// Where it is. A relative path lies below the export itself: such a file is renamed; an absolute one is copied and stays.
    #[serde(with = "some_path")]
    pub path: PathBuf,
    /// Size in bytes.
    #[serde(default)]
    pub size: u64,
    /// Modification time in microseconds.
    #[serde(default)]
    pub mtime: i64,
    /// BLAKE3 of its content.
    #[serde(default, with = "hash::hex", skip_serializing_if = "Option::is_none")]
    pub blake3: Option<Hash>,
    /// Base64 of the BLAKE2b-512 of its content.
    #[serde(
        default,
        with = "hash::base64",
        skip_serializing_if = "Option::is_none"
    )]
    pub hash: Option<[u8; 64]>,
    /// What in the account it is. Nothing: it was only seen, and may be recognised when content comes that has its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub of: Vec<PartOf>,
    /// No longer there, or no longer wanted.
    #[serde(default, skip_serializing_if = "no")]
    pub gone: bool,
}

/// One part of one content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartOf {
    /// File ID.
    pub id: i64,
    /// Content version.
    pub version: Version,
    /// Index of the part.
    #[serde(default)]
    pub part: usize,
    /// How many parts there are.
    pub parts: usize,
}

/// A file that left the trash for good.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pruned {
    /// Path below `trash/`.
    #[serde(deserialize_with = "inside::path")]
    pub path: String,
}

impl Pruned {
    /// The fact about this path below `trash/`; `None` where no tool gives such names, so that nobody recorded what lay there.
    pub fn of(path: &Path) -> Option<Self> {
        let names: Option<Vec<&str>> = path.iter().map(|name| name.to_str()).collect();
        let path = names?.join("/");
        inside::is_path(&path).then_some(Self { path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::journal::Facts;

    fn is_taken<F: Facts>(kind: &str, line: &str, name: &str) -> bool {
        let line = line.replace("NAME", name);
        F::parse(kind, line.as_bytes()).is_ok()
    }

    #[test]
    fn an_adopted_file_lies_elsewhere_or_inside() {
        for (path, is_taken) in [
            ("/x/a.jpg", true),
            ("A/a.jpg", true),
            ("../a.jpg", false),
            ("A/../../a.jpg", false),
        ] {
            let line = format!("{{\"path\":\"{path}\"}}");
            let parsed = VerifyFact::parse("adopted", line.as_bytes());
            assert_eq!(parsed.is_ok(), is_taken, "{path}");
        }
    }

    #[test]
    fn a_fact_that_leads_out_of_the_export_is_damage() {
        let folder = r#"{"collection":1,"name":"NAME"}"#;
        let placement = r#"{"collection":1,"file":2,"name":"NAME"}"#;
        let parts = r#"{"collection":1,"file":2,"parts":[{"name":"NAME","size":1,"blake3":""}]}"#;
        let trash = r#"{"path":"2026-11-22/NAME"}"#;
        let aside = r#"{"id":1,"version":"0011223344556677","path":"NAME"}"#;
        let object = r#"{"id":1,"version":"0011223344556677","trashed":"2026-11-22/NAME"}"#;
        for (name, is_inside) in [
            ("photo 1.jpg", true),
            ("..a", true),
            ("...", true),
            ("..", false),
            (".", false),
            ("../a", false),
            ("/a", false),
            ("a\\\\b", false),
            ("C:a", false),
            ("a\\u0000", false),
        ] {
            assert_eq!(
                is_taken::<DecryptFact>("folder", folder, name),
                is_inside,
                "{name}"
            );
            assert_eq!(
                is_taken::<DecryptFact>("placement", placement, name),
                is_inside,
                "{name}"
            );
            assert_eq!(
                is_taken::<DecryptFact>("placement", parts, name),
                is_inside,
                "{name}"
            );
            assert_eq!(
                is_taken::<DecryptFact>("trash", trash, name),
                is_inside,
                "{name}"
            );
            assert_eq!(
                is_taken::<DecryptFact>("aside", aside, name),
                is_inside,
                "{name}"
            );
            assert_eq!(
                is_taken::<PullFact>("object", object, name),
                is_inside,
                "{name}"
            );
            assert_eq!(
                is_taken::<VerifyFact>("pruned", trash, name),
                is_inside,
                "{name}"
            );
        }
        assert!(
            !is_taken::<DecryptFact>("folder", folder, "a/b"),
            "one component"
        );
        assert!(is_taken::<DecryptFact>("trash", trash, "a/metadata/b.json"));
    }
}
