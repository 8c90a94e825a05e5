//! From encrypted metadata to a sidecar: whatever the JSON says that somebody encrypted for us, what comes out is JSON, small, and the same each time.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ente_common::crypto::CollectionKey;
use ente_common::model::{OpenedFile, Visibility};
use ente_common::wire::{self, Envelope, FileEntry};
use ente_meta::sidecar::{Place, Subject, contents, record_metadata};
use serde_json::Value;

use crate::library::seal;

const COLLECTION_KEY: [u8; 32] = [4; 32];
const FILE_KEY: [u8; 32] = [5; 32];

/// Lines: upload metadata, public edits, private edits, name of the album.
pub(in crate::fuzz) fn run(data: &[u8]) {
    let mut lines = data.split(|&byte| byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (upload, public, private) = (line(), line(), line());
    let album = String::from_utf8_lossy(line()).into_owned();

    let entry = entry(upload, public, private);
    let key = CollectionKey::from(COLLECTION_KEY);
    let Ok(opened) = OpenedFile::open(&entry, &key) else {
        assert!(
            serde_json::from_slice::<Value>(upload).is_err(),
            "JSON that was not read"
        );
        return;
    };
    let metadata = opened.metadata;
    let albums = [album.clone()];
    let subject = Subject {
        id: entry.id,
        owner: entry.owner_id,
        version: entry.content_version(),
        metadata: &metadata,
        visibility: Visibility::Visible,
        albums: &albums,
        favorite: true,
    };
    let place = Place {
        collection: entry.collection_id,
        album: &album,
        part: 0,
    };
    let bytes = contents(&subject, place);
    assert_eq!(bytes, contents(&subject, place));
    assert!(
        bytes.len() <= 12 * data.len() + 4096,
        "{} bytes of {}",
        bytes.len(),
        data.len()
    );
    let sidecar: Value = serde_json::from_slice(&bytes).expect("a sidecar is JSON");
    assert_eq!(sidecar["title"].as_str(), metadata.title.as_deref());
    assert_eq!(sidecar["description"].as_str(), metadata.caption.as_deref());
    assert_eq!(sidecar["ente"]["album"], album);
    assert_eq!(sidecar["ente"]["taken_us"].as_i64(), metadata.taken_at_us);
    for place in sidecar["geoData"]
        .as_object()
        .into_iter()
        .flat_map(|place| place.values())
    {
        assert!(place.as_f64().is_some_and(f64::is_finite));
    }
    let told = record_metadata(&subject).to_string();
    assert!(serde_json::from_str::<Value>(&told).is_ok());
}

fn entry(upload: &[u8], public: &[u8], private: &[u8]) -> FileEntry {
    let sealed = |plain: &[u8], header: u8| Envelope {
        data: STANDARD.encode(seal::blob(&FILE_KEY, [header; 24], plain)),
        header: STANDARD.encode([header; 24]),
    };
    let metadata = sealed(upload, 1);
    let edits = |plain: &[u8], header| (!plain.is_empty()).then(|| sealed(plain, header));
    FileEntry {
        id: 1,
        collection_id: 2,
        owner_id: 3,
        encrypted_key: STANDARD.encode(seal::secretbox(&COLLECTION_KEY, [6; 24], &FILE_KEY)),
        key_decryption_nonce: STANDARD.encode([6; 24]),
        file: wire::ObjectRef {
            decryption_header: STANDARD.encode([9; 24]),
        },
        metadata: wire::Metadata {
            encrypted_data: metadata.data,
            decryption_header: metadata.header,
        },
        is_deleted: false,
        updation_time: 0,
        magic_metadata: edits(private, 3),
        pub_magic_metadata: edits(public, 2),
        info: None,
    }
}
