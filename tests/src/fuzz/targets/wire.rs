//! What a server sends: lists keep the text of their entries, versions have one spelling, and nothing opens that was not encrypted for us.

use ente_common::crypto::{KeyPair, MasterKey, SecretKey};
use ente_common::model::{OpenedCollection, OpenedFile};
use ente_common::wire;
use serde_json::Value;
use serde_json::value::RawValue;

pub(in crate::fuzz) fn run(data: &[u8]) {
    if let Ok(page) = serde_json::from_slice::<wire::DiffPage<Box<RawValue>>>(data) {
        entries_are_those_of(data, "diff", &page.diff);
        page.diff
            .iter()
            .for_each(|entry| file(entry.get().as_bytes()));
    }
    if let Ok(list) = serde_json::from_slice::<wire::Collections<Box<RawValue>>>(data) {
        entries_are_those_of(data, "collections", &list.collections);
        for entry in &list.collections {
            collection(entry.get().as_bytes());
        }
    }
    file(data);
    collection(data);
    if let Ok(attributes) = serde_json::from_slice::<wire::KeyAttributes>(data) {
        let text = serde_json::to_string(&attributes).expect("plain data");
        assert_eq!(serde_json::from_str(&text).ok(), Some(attributes));
    }
}

/// Lists are not shortened, and the text of each entry is what stood there.
fn entries_are_those_of(data: &[u8], list: &str, entries: &[Box<RawValue>]) {
    // Numbers beyond a double are no JSON for the oracle; and where members are told by their place, it does not know their names.
    let Ok(page @ Value::Object(_)) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    assert_eq!(page[list].as_array().map_or(0, Vec::len), entries.len());
    for (entry, raw) in page[list].as_array().into_iter().flatten().zip(entries) {
        assert_eq!(
            serde_json::from_str::<Value>(raw.get()).ok().as_ref(),
            Some(entry)
        );
    }
}

fn file(data: &[u8]) {
    let Ok(entry) = serde_json::from_slice::<wire::FileEntry>(data) else {
        return;
    };
    if let Some(version) = entry.content_version() {
        let text = version.to_string();
        assert!(text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(text.parse(), Ok(version));
    }
    assert_ne!(entry.object_size_bytes(), Some(0));
    let key = ente_common::crypto::CollectionKey::from([7; 32]);
    assert!(
        OpenedFile::open(&entry, &key).is_err(),
        "a forged file opens"
    );
}

fn collection(data: &[u8]) {
    let Ok(served) = serde_json::from_slice::<wire::Collection>(data) else {
        return;
    };
    let key_pair = KeyPair::new(SecretKey::from([9; 32]));
    for user in [served.owner.id, served.owner.id.wrapping_add(1)] {
        let opened = OpenedCollection::open(&served, user, &MasterKey::from([8; 32]), &key_pair);
        assert!(opened.is_err(), "a forged collection opens");
    }
}
