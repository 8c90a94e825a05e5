//! Content that is not as it should be, sealed by RustCrypto: wrong hashes, ends that are not marked, archives of all sorts.

use std::collections::BTreeSet;

use blake2::{Blake2b512, Digest as _};
use crypto_secretstream::{Key, PushStream, Tag};
use ente_common::encoding::to_base64;
use ente_common::exit::Exit;
use ente_common::model::{OpenedCollection, OpenedFile};
use rand_core::OsRng;
use serde_json::{Value, json};

use crate::mirror::{Mirror, keys, read};

/// The file that is made odd, alone in its album of the listing.
const FILE: i64 = 102;

/// Contents with checksums that everybody knows.
const STILL: &[u8] = b"123456789";
const STILL_CRC: u32 = 0xcbf4_3926;
const VIDEO: &[u8] = b"The quick brown fox jumps over the lazy dog";
const VIDEO_CRC: u32 = 0x414f_a339;

fn hash(bytes: &[u8]) -> String {
    to_base64(&Blake2b512::digest(bytes))
}

fn file_key() -> [u8; 32] {
    let (user_id, master, pair) = keys();
    let collections = read("1-initial/wire/collections.json");
    let collection = collections["collections"].as_array().unwrap().iter();
    let collection = collection.clone().find(|entry| entry["id"] == 13).unwrap();
    let collection = serde_json::from_value(collection.clone()).unwrap();
    let collection = OpenedCollection::open(&collection, user_id, &master, &pair).unwrap();
    let page = read("1-initial/wire/diff/13.json");
    let entry = page["diff"].as_array().unwrap().iter();
    let entry = entry.clone().find(|entry| entry["id"] == FILE).unwrap();
    let entry = serde_json::from_value(entry.clone()).unwrap();
    *OpenedFile::open(&entry, &collection.key)
        .unwrap()
        .key
        .expose()
}

/// One message of a secretstream: header and ciphertext.
fn seal(plain: &[u8], tag: Tag) -> (String, Vec<u8>) {
    let (header, mut stream) = PushStream::init(OsRng, &Key::from(file_key()));
    let mut message = plain.to_vec();
    stream.push(&mut message, &[], tag).unwrap();
    (to_base64(header.as_ref()), message)
}

/// A ZIP of stored entries, by the format's specification.
fn zip(entries: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content, crc) in entries {
        let (at, size) = (bytes.len() as u32, content.len() as u32);
        let mut head = [20_u16, 0, 0, 0, 0].map(u16::to_le_bytes).concat();
        head.extend([*crc, size, size].map(u32::to_le_bytes).concat());
        head.extend([name.len() as u16, 0].map(u16::to_le_bytes).concat());
        bytes.extend([b"PK\x03\x04", &head[..], name.as_bytes(), content].concat());
        directory.extend([b"PK\x01\x02\x14\x00", &head[..], &[0; 10]].concat());
        directory.extend([&at.to_le_bytes(), name.as_bytes()].concat());
    }
    let ends = [directory.len() as u32, bytes.len() as u32];
    let count = (entries.len() as u16).to_le_bytes();
    bytes.extend(directory);
    bytes.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count].concat());
    bytes.extend([&ends.map(u32::to_le_bytes).concat()[..], &[0, 0]].concat());
    bytes
}

/// The golden account with other content and metadata of one file, decrypted.
fn odd(
    metadata: Value,
    content: &[u8],
    tag: Tag,
    size: Option<usize>,
) -> (Mirror, crate::mirror::Outcome) {
    let mut mirror = Mirror::new();
    let (header, object) = seal(content, tag);
    let (metadata_header, metadata) = seal(metadata.to_string().as_bytes(), Tag::Final);
    mirror.list("1-initial", |entry| {
        if entry["id"] == FILE && entry.get("collectionID").is_some() {
            entry["file"]["decryptionHeader"] = header.clone().into();
            entry["info"] = json!({"fileSize": size.unwrap_or(object.len())});
            entry["metadata"] =
                json!({"decryptionHeader": metadata_header, "encryptedData": to_base64(&metadata)});
        }
    });
    mirror.fetch("1-initial", FILE, |bytes| *bytes = object);
    let outcome = mirror.run(&[]);
    (mirror, outcome)
}

fn metadata(title: &str, file_type: i64, hash: Option<String>) -> Value {
    json!({"title": title, "fileType": file_type, "creationTime": 1_700_000_000_000_000_i64, "hash": hash})
}

fn check(
    what: &str,
    odd: (Mirror, crate::mirror::Outcome),
    tree: &[&str],
    aside: &[&str],
    class: &str,
    standing: bool,
) {
    let (mirror, outcome) = odd;
    let problems = match class {
        "" => BTreeSet::new(),
        class => BTreeSet::from([(class.to_owned(), FILE)]),
    };
    assert_eq!(outcome.problems(), problems, "{what}");
    assert_eq!(
        mirror.tree().into_keys().collect::<Vec<_>>(),
        tree,
        "{what}"
    );
    let extensions: Vec<_> = mirror
        .held("aside")
        .iter()
        .map(|name| name[name.find('.').unwrap_or(name.len())..].to_owned())
        .collect();
    assert_eq!(extensions, aside, "{what}");
    assert!(mirror.held("partial").is_empty(), "{what}");
    assert_eq!(
        mirror.held("objects").is_empty(),
        class != "damaged",
        "{what}: what is safe needs no object"
    );
    let facts = || {
        let text = std::fs::read_to_string(mirror.path(".ente/decrypt.jsonl")).unwrap();
        let lines = text
            .lines()
            .filter(|line| !line.starts_with(r#"{"fact":"rest""#));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = facts();
    let again = mirror.run(&[]);
    assert_eq!(again.problems().is_empty(), !standing, "{what}");
    assert_eq!(
        again.exit,
        Ok(if standing { Exit::Problems } else { Exit::Done }),
        "{what}"
    );
    assert_eq!(facts(), before, "{what}");
}

#[test]
fn only_what_is_whole_and_right_gets_a_name() {
    let photo = |hash| metadata("a.jpg", 0, hash);
    let whole = |hash, tag, size| odd(photo(hash), STILL, tag, size);
    let right = || Some(hash(STILL));
    let path = &["Vacation 2024/a.jpg"][..];
    check(
        "all well",
        whole(right(), Tag::Final, None),
        path,
        &[],
        "",
        false,
    );
    check(
        "no hash",
        whole(None, Tag::Final, None),
        path,
        &[],
        "",
        false,
    );
    check(
        "a hash that is none",
        whole(Some("?".into()), Tag::Final, None),
        path,
        &[],
        "",
        false,
    );
    check(
        "another hash",
        whole(Some(hash(VIDEO)), Tag::Final, None),
        &[],
        &[".jpg"],
        "hash-mismatch",
        true,
    );
    check(
        "no final tag",
        whole(right(), Tag::Message, None),
        path,
        &[],
        "no-final-tag",
        false,
    );
    check(
        "no final tag, no hash",
        whole(None, Tag::Message, None),
        &[],
        &[],
        "damaged",
        true,
    );
    check(
        "no final tag, another length",
        whole(right(), Tag::Message, Some(99)),
        &[],
        &[],
        "damaged",
        true,
    );
}

#[test]
fn live_photos_of_all_sorts() {
    let both = zip(&[
        ("image.HEIC", STILL, STILL_CRC),
        ("video.MOV", VIDEO, VIDEO_CRC),
    ]);
    let photo = |hash| metadata("a.heic", 2, hash);
    let live = |content: &[u8], hash| odd(photo(hash), content, Tag::Final, None);
    let halves = format!("{}:{}", hash(STILL), hash(VIDEO));
    let swapped = format!("{}:{}", hash(VIDEO), hash(STILL));
    let path = &["Vacation 2024/a.HEIC", "Vacation 2024/a.MOV"][..];
    check(
        "both halves",
        live(&both, Some(halves.clone())),
        path,
        &[],
        "",
        false,
    );
    check(
        "the hash of the archive",
        live(&both, Some(hash(&both))),
        path,
        &[],
        "",
        false,
    );
    check("no hash", live(&both, None), path, &[], "", false);
    check(
        "hashes of others",
        live(&both, Some(swapped)),
        &[],
        &[".zip"],
        "hash-mismatch",
        true,
    );
    let half = zip(&[("video.mov", VIDEO, VIDEO_CRC)]);
    check(
        "half",
        live(&half, Some(halves.clone())),
        &["Vacation 2024/a.mov"],
        &[".zip"],
        "missing-half",
        false,
    );
    let rotten = zip(&[("image.jpg", STILL, 7), ("video.mov", VIDEO, VIDEO_CRC)]);
    check(
        "a wrong checksum",
        live(&rotten, None),
        &[],
        &[],
        "damaged",
        true,
    );
    let none = zip(&[("notes.txt", STILL, STILL_CRC)]);
    check(
        "neither half",
        live(&none, None),
        &[],
        &[".zip"],
        "bad-archive",
        true,
    );
    check(
        "no archive",
        live(STILL, Some(hash(STILL))),
        &["Vacation 2024/a.heic"],
        &[],
        "not-a-zip",
        false,
    );
    check(
        "no archive and another hash",
        live(STILL, Some(hash(VIDEO))),
        &[],
        &[".heic"],
        "hash-mismatch",
        true,
    );
    let alike = zip(&[("image", STILL, STILL_CRC), ("video", VIDEO, VIDEO_CRC)]);
    let path = &["Vacation 2024/a.heic", "Vacation 2024/a.mov"][..];
    check(
        "no extensions",
        live(&alike, Some(halves)),
        path,
        &[],
        "",
        false,
    );
}
