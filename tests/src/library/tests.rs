//! A made-up library as the wire shows it, opened again with RustCrypto, and the times that changes give.

use crypto_secretbox::XSalsa20Poly1305;
use crypto_secretbox::aead::{Aead, KeyInit};
use crypto_secretstream::{Key, PullStream};
use serde_json::{Value, json};

use super::*;

fn library() -> Library {
    Library::empty(7, "ada@example.org", "a password")
}

fn photo(variant: u64) -> NewFile {
    NewFile::new(
        &format!("IMG_{variant:04}.JPG"),
        Content::Photo(Picture::new(variant)),
    )
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    decode(value).try_into().unwrap()
}

fn open_box(key: &[u8; 32], nonce: &Value, sealed: &Value) -> Vec<u8> {
    let nonce: [u8; 24] = array(nonce);
    XSalsa20Poly1305::new(key.into())
        .decrypt(&nonce.into(), &decode(sealed)[..])
        .unwrap()
}

fn open_blob(key: &[u8; 32], header: &Value, sealed: Vec<u8>) -> Vec<u8> {
    let mut message = sealed;
    let mut stream = PullStream::init(array::<24>(header).into(), &Key::from(*key));
    stream.pull(&mut message, &[]).unwrap();
    message
}

fn listed(library: &Library, id: i64) -> Value {
    let listing = library.stored().collections();
    listing
        .into_iter()
        .map(|(_, collection)| collection)
        .find(|c| c["id"] == id)
        .unwrap()
}

fn time(library: &Library, collection: i64) -> i64 {
    listed(library, collection)["updationTime"]
        .as_i64()
        .unwrap()
}

fn row_time(library: &Library, collection: i64, file: i64) -> i64 {
    library.row(collection, file)["updationTime"]
        .as_i64()
        .unwrap()
}

#[test]
fn what_is_served_opens_to_what_was_put_in() {
    let mut library = library();
    let album = library.live_mut().create_album("Lisbon 🌞");
    let file = library.live_mut().upload(album, photo(1));
    library.live_mut().set_caption(file, "at the river");
    let master_key = library.account().master_key;

    let collection = listed(&library, album);
    let key = open_box(
        &master_key,
        &collection["keyDecryptionNonce"],
        &collection["encryptedKey"],
    );
    let key: [u8; 32] = key.try_into().unwrap();
    let name = open_box(
        &key,
        &collection["nameDecryptionNonce"],
        &collection["encryptedName"],
    );
    assert_eq!(name, "Lisbon 🌞".as_bytes());

    let row = library.row(album, file);
    let file_key = open_box(&key, &row["keyDecryptionNonce"], &row["encryptedKey"])
        .try_into()
        .unwrap();
    let metadata = decode(&row["metadata"]["encryptedData"]);
    let metadata = open_blob(&file_key, &row["metadata"]["decryptionHeader"], metadata);
    let metadata: Value = serde_json::from_slice(&metadata).unwrap();
    assert_eq!(
        (&metadata["title"], &metadata["fileType"]),
        (&json!("IMG_0001.JPG"), &json!(0))
    );
    let public = &row["pubMagicMetadata"];
    assert_eq!(
        (&public["version"], &public["count"]),
        (&json!(1), &json!(1))
    );
    let public = open_blob(&file_key, &public["header"], decode(&public["data"]));
    assert_eq!(public, br#"{"caption":"at the river"}"#);

    let object = library.stored().object(file, Part::Original).unwrap();
    let sealed = library.stored().bytes(object).unwrap()();
    assert_eq!(row["info"]["fileSize"], sealed.len());
    let plain = open_blob(&file_key, &row["file"]["decryptionHeader"], sealed.to_vec());
    assert_eq!(plain, library.live().content(file));
    assert_eq!(metadata["hash"], seal::content_hash(&plain));
}

#[test]
fn a_shared_collection_opens_with_the_key_pair() {
    let mut library = library();
    let album = library.live_mut().share_in("bob@example.org", "Bob's");
    let file = library.live_mut().upload(album, photo(1));
    library
        .live_mut()
        .edit_public(file, "caption", "his".into());
    library.live_mut().set_archived(file, true);
    let collection = listed(&library, album);
    assert!(collection.get("keyDecryptionNonce").is_none());
    assert_eq!(collection["owner"]["email"], "bob@example.org");
    assert_eq!(collection["sharees"][0]["id"], library.account().user_id);
    let secret = crypto_box::SecretKey::from(library.account().secret_key);
    let key: [u8; 32] = secret
        .unseal(&decode(&collection["encryptedKey"]))
        .unwrap()
        .try_into()
        .unwrap();
    open_box(
        &key,
        &collection["nameDecryptionNonce"],
        &collection["encryptedName"],
    );
    let row = library.row(album, file);
    assert!(
        row.get("magicMetadata").is_none(),
        "private metadata is for the owner"
    );
    assert!(row.get("pubMagicMetadata").is_some());

    library.live_mut().unshare(album);
    let tombstone = listed(&library, album);
    assert_eq!(
        (&tombstone["isDeleted"], &tombstone["owner"]["email"]),
        (&json!(true), &json!(""))
    );
    assert_eq!(tombstone["sharees"], json!([]));
    assert!(library.stored().rows(album).is_none());
    assert_eq!(
        library.stored().object(file, Part::Original),
        Err(Denied::Forbidden)
    );
    library.live_mut().share_again(album);
    assert!(library.stored().object(file, Part::Original).is_ok());
    library.live_mut().vanish(album);
    assert!(library.stored().collections().is_empty());
}

#[test]
fn changes_give_the_times_of_the_real_server() {
    let mut library = library();
    let live = library.live_mut();
    let (a, b, c) = (
        live.create_album("A"),
        live.create_album("B"),
        live.create_album("C"),
    );
    let file = live.upload(a, photo(1));
    live.add(file, b);
    live.move_to(file, b, c);

    // A row of B is a tombstone now. Metadata edits leave it alone, replacements and trashing do not.
    let removed_at = row_time(&library, b, file);
    assert_eq!(library.row(b, file)["isDeleted"], true);
    library.live_mut().rename(file, "new.jpg");
    let edited_at = library.live().now_us();
    assert_eq!(
        [a, b, c].map(|id| row_time(&library, id, file)),
        [edited_at, removed_at, edited_at]
    );
    assert_eq!(
        [a, b, c].map(|id| time(&library, id)),
        [edited_at, removed_at, edited_at]
    );

    library
        .live_mut()
        .edit_public_unseen(file, "caption", "x".into());
    assert_eq!(row_time(&library, a, file), edited_at);

    let before = library.stored().object(file, Part::Original).unwrap();
    let header = library.row(a, file)["file"]["decryptionHeader"].clone();
    library
        .live_mut()
        .replace(file, Content::Photo(Picture::new(2)));
    let replaced_at = library.live().now_us();
    assert_eq!(
        [a, b, c].map(|id| row_time(&library, id, file)),
        [replaced_at; 3]
    );
    assert_eq!([a, b, c].map(|id| time(&library, id)), [replaced_at; 3]);
    assert_ne!(library.row(a, file)["file"]["decryptionHeader"], header);
    assert!(
        library.stored().bytes(before).is_some(),
        "the old object is still there"
    );

    library.live_mut().trash(file);
    let trashed_at = library.live().now_us();
    assert_eq!(
        [a, b, c].map(|id| row_time(&library, id, file)),
        [trashed_at; 3]
    );
    assert_eq!(
        [a, b, c].map(|id| time(&library, id)),
        [trashed_at, replaced_at, trashed_at]
    );
    assert_eq!(library.stored().trash_row(file)["file"]["collectionID"], a);
    library.live_mut().restore(file, b);
    assert_eq!(library.stored().trash_row(file)["isRestored"], true);
    assert_eq!(library.live().albums_of(file), [b]);

    library.live_mut().rename_album(b, "B2");
    assert!(time(&library, b) > row_time(&library, b, file));
    library
        .live_mut()
        .at(5, |live| live.rename_album(b, "late"));
    assert_eq!(time(&library, b), 5, "times can move backwards");
}

#[test]
fn albums_are_deleted_with_or_without_their_files() {
    let mut library = library();
    let live = library.live_mut();
    let (a, b, c) = (
        live.create_album("A"),
        live.create_album("B"),
        live.create_album("C"),
    );
    let only_in_a = live.upload(a, photo(1));
    let in_both = live.upload(a, photo(2));
    live.add(in_both, b);
    live.delete_album(a);
    let uncategorized = live.uncategorized();
    assert_eq!(live.albums_of(only_in_a), [uncategorized]);
    assert_eq!(live.albums_of(in_both), [b]);

    let doomed = live.upload(c, photo(3));
    live.delete_album_with_files(c);
    assert_eq!((live.albums_of(doomed), live.trashed()), (vec![], vec![]));
    live.run_trash_queue();
    assert_eq!(live.trashed(), [doomed]);
    assert_eq!(listed(&library, c)["isDeleted"], true);
    assert_eq!(library.stored().collection(c).unwrap()["isDeleted"], true);
    library.live_mut().delete_forever(doomed);
    assert_eq!(
        library.stored().object(doomed, Part::Original),
        Err(Denied::NotFound)
    );
}

#[test]
fn rows_are_masked_for_who_asks() {
    let mut library = library();
    let live = library.live_mut();
    let album = live.create_album("A");
    live.share_out(album, "bob@example.org");
    let theirs = live.upload_by("bob@example.org", album, photo(1));
    let mine = live.upload(album, photo(2));
    live.suggest(album, theirs, Action::Remove, "eve@example.org");
    live.suggest(album, mine, Action::Remove, "bob@example.org");
    assert_eq!(library.row(album, theirs)["isDeleted"], true);
    assert!(library.row(album, theirs).get("action").is_none());
    assert_eq!(library.row(album, mine)["isDeleted"], false);
    assert_eq!(library.row(album, mine)["action"], "REMOVE");
    assert_eq!(
        library.stored().single(album, theirs).unwrap()["isDeleted"],
        false
    );
    assert_eq!(library.live().files_in(album), [mine]);
    library.live_mut().scrub(mine);
    let row = library.row(album, mine);
    assert_eq!(
        (&row["metadata"]["encryptedData"], &row["isDeleted"]),
        (&json!("-"), &json!(true))
    );
    library.live_mut().unshare_out(album, "bob@example.org");
    assert_eq!(library.row(album, theirs)["isDeleted"], true);
}

#[test]
fn a_seed_gives_the_same_ciphertext_each_time() {
    let make = |seed| {
        let mut library = Library::empty(seed, "ada@example.org", "pw");
        let album = library.live_mut().create_album("A");
        let file = library.live_mut().upload(album, photo(1));
        (
            listed(&library, album),
            library.row(album, file),
            library.account().key_attributes.clone(),
        )
    };
    assert_eq!(make(1), make(1));
    assert_ne!(make(1).2, make(2).2);
}

#[test]
fn media_files_have_the_length_asked_for() {
    for min_len in [0, 5_000, 200_000] {
        let picture = Picture {
            min_len,
            location: Some((38.7, -9.1)),
            ..Picture::new(3)
        };
        for (name, bytes) in [("jpeg", picture.jpeg()), ("mp4", picture.mp4())] {
            assert!(bytes.len() >= min_len, "{name} of {} bytes", bytes.len());
            assert!(
                min_len == 0 || bytes.len() < min_len + 100,
                "{name} of {} bytes",
                bytes.len()
            );
        }
        assert!(
            picture.jpeg().starts_with(b"\xff\xd8\xff\xe1")
                && picture.jpeg().ends_with(b"\xff\xd9")
        );
    }
}

#[test]
fn a_patch_replaces_adds_and_removes() {
    let mut row = json!({"id": 1, "metadata": {"encryptedData": "x", "size": 0}, "info": {}});
    merge(
        &mut row,
        &json!({"metadata": {"encryptedData": "-"}, "info": null, "action": "REMOVE"}),
    );
    assert_eq!(
        row,
        json!({"id": 1, "metadata": {"encryptedData": "-", "size": 0}, "action": "REMOVE"})
    );
}
