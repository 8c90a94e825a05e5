//! Streams made by RustCrypto's `crypto_secretstream`, or by libsodium, opened by ours.

use crypto_secretstream::{Key, PushStream, Tag};
use proptest::prelude::*;
use rand_core::{CryptoRng, RngCore};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::*;
use crate::crypto::vectors::{self, array, bytes, text};
use crate::digest::ContentHasher;
use crate::encoding::to_base64;

/// Gives the oracle the header that we want, in the place of a random one.
struct FixedHeader(Header);

impl RngCore for FixedHeader {
    fn next_u32(&mut self) -> u32 {
        unreachable!("a header is asked for in bytes")
    }
    fn next_u64(&mut self) -> u64 {
        unreachable!("a header is asked for in bytes")
    }
    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.0);
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for FixedHeader {}

/// Encrypts `messages` with the oracle.
fn push_all(key: [u8; 32], header: Header, messages: &[(&[u8], Tag)]) -> Vec<Vec<u8>> {
    let (_, mut stream) = PushStream::init(FixedHeader(header), &Key::from(key));
    let push = |&(plaintext, tag): &(&[u8], Tag)| {
        let mut message = plaintext.to_vec();
        stream.push(&mut message, &[], tag).unwrap();
        message
    };
    messages.iter().map(push).collect()
}

/// Decrypts `messages` one by one; returns what was released and how it ended.
fn open_all<M: AsRef<[u8]>>(
    key: [u8; 32],
    header: Header,
    messages: &[M],
) -> (Vec<Vec<u8>>, Result<u64, StreamError>) {
    let mut decryptor = Decryptor::new(&FileKey::from(key), &header, None);
    let (mut released, mut plaintext) = (Vec::new(), Vec::new());
    for message in messages {
        if decryptor.decrypt(message.as_ref(), &mut plaintext).is_err() {
            assert!(plaintext.is_empty());
            break;
        }
        released.push(plaintext.clone());
    }
    (released, decryptor.finish())
}

const KEY: [u8; 32] = counting(0);
const HEADER: Header = counting(0x40);

const fn counting<const N: usize>(first: u8) -> [u8; N] {
    let mut bytes = [0; N];
    let mut index = 0;
    while index < N {
        bytes[index] = first + index as u8;
        index += 1;
    }
    bytes
}

#[test]
fn golden_streams() {
    for case in vectors::list(&vectors::crypto(), "secretstream") {
        let messages = vectors::list(case, "messages");
        let encrypted: Vec<_> = messages
            .iter()
            .map(|message| bytes(message, "ciphertext"))
            .collect();
        let (released, end) = open_all(array(case, "key"), array(case, "header"), &encrypted);
        let expected: Vec<_> = messages
            .iter()
            .map(|message| bytes(message, "plaintext"))
            .collect();
        assert_eq!(released, expected);
        assert_eq!(end, Ok(expected.concat().len() as u64));
    }
}

#[test]
fn published_streams() {
    let cases: [(&[&[u8]], &[&str]); 3] = [
        (
            &[
                b"The first chunk is 33 bytes long.",
                b"0123456789abcdef",
                b"final",
            ],
            &[
                "0d97f025c96db1da3a1e43c0f425417d60cfc386edb8d23ffe04980624d2af9e7cab427ca2121d2e1c14d97a17dfe7bfd30e",
                "c48f92e72aceaebb2c9f0957ad0511b0afac5fe53b04a50ba877a7090ea4c3d0b7",
                "025f7369785fbad26aa8e7bd5d16112e67d48a33a02c",
            ],
        ),
        // Tag 2: the key changes in between.
        (
            &[b"a", b"b"],
            &[
                "0fa20649bc8ec0c70497c44b0dc3aafdcfff",
                "a90bd83aa5ee0babea0bb2bf8e326ff70975",
            ],
        ),
        // Tag 1, as the Locker app writes it.
        (
            &[b"push-tagged chunk", b"end"],
            &[
                "0cb3ed338126acc92e0d06c7bc3347632ecde26fbff9f49a95f9516e2f7dc3f61b93",
                "9a4561dc527c7dae7b5a78f400a302bd0d00a37b",
            ],
        ),
    ];
    for (plaintexts, messages) in cases {
        let messages: Vec<_> = messages
            .iter()
            .map(|hex| hex::decode(hex).unwrap())
            .collect();
        let (released, end) = open_all(KEY, HEADER, &messages);
        assert_eq!(released, plaintexts);
        assert_eq!(end, Ok(plaintexts.concat().len() as u64));
    }
}

/// A message that libsodium wrote after FINAL, under the changed key: authentic, and yet not part of the file.
#[test]
fn a_message_after_final_is_trailing_data() {
    let messages = [
        "0ea5f1329a7ffeabdcf3a300917515cd158095d023a1",
        "6ec769c133215047a27b6d638fb47590b683b6cab05c6d",
    ];
    let messages = messages.map(|hex| hex::decode(hex).unwrap());
    let (released, end) = open_all(KEY, HEADER, &messages);
    assert_eq!(released, [b"first"]);
    assert_eq!(end, Err(StreamError::TrailingData));
}

/// The oracle has no such tag, so this message is made by the library under test.
#[test]
fn an_unknown_tag_is_refused() {
    use dryoc::classic::crypto_secretstream_xchacha20poly1305::crypto_secretstream_xchacha20poly1305_push as push;
    for tag in [4, 7, 0xff] {
        let mut state = State::new();
        init_pull(&mut state, &HEADER, &KEY);
        let mut message = [0; 18];
        push(&mut state, &mut message, b"x", None, tag).unwrap();
        let (released, end) = open_all(KEY, HEADER, &[message]);
        assert!(released.is_empty());
        assert_eq!(end, Err(StreamError::UnexpectedTag { chunk: 0, tag }));
    }
}

proptest! {
    #[test]
    fn what_the_oracle_encrypts_we_decrypt(
        key: [u8; 32],
        header: [u8; 24],
        messages in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), 0..3_u8), 0..8),
        last in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let tags = [Tag::Message, Tag::Push, Tag::Rekey];
        let mut tagged: Vec<(&[u8], Tag)> = messages
            .iter()
            .map(|(plaintext, tag)| (&plaintext[..], tags[usize::from(*tag)]))
            .collect();
        tagged.push((&last, Tag::Final));
        let plaintexts: Vec<_> = tagged.iter().map(|(plaintext, _)| *plaintext).collect();

        let encrypted = push_all(key, header, &tagged);
        let (released, end) = open_all(key, header, &encrypted);
        prop_assert_eq!(&released, &plaintexts);
        prop_assert_eq!(end, Ok(plaintexts.concat().len() as u64));

        // Cut between any two messages: all before the cut is released, and the loss is seen.
        for chunks in 1..encrypted.len() {
            let (released, end) = open_all(key, header, &encrypted[..chunks]);
            prop_assert_eq!(&released, &plaintexts[..chunks]);
            prop_assert_eq!(end, Err(StreamError::MissingFinal { chunks: chunks as u64 }));
        }
    }
}

/// How a whole object decrypts.
#[derive(Debug, PartialEq)]
struct Opened {
    sha256: String,
    content_hash: String,
    end: Result<u64, StreamError>,
}

/// Reads and decrypts `object` as a tool would.
fn open_object(key: [u8; 32], header: Header, expected_len: Option<u64>, object: &[u8]) -> Opened {
    let mut decryptor = Decryptor::new(&FileKey::from(key), &header, expected_len);
    let (mut chunk, mut plaintext) = (Vec::new(), Vec::new());
    let (mut sha256, mut content_hash) = (Sha256::new(), ContentHasher::new());
    let mut object = object;
    while read_chunk(&mut object, &mut chunk).unwrap() {
        assert!(chunk.capacity() == ENCRYPTED_CHUNK && plaintext.capacity() <= PLAIN_CHUNK);
        if decryptor.decrypt(&chunk, &mut plaintext).is_err() {
            break;
        }
        sha256.update(&plaintext);
        content_hash.update(&plaintext);
    }
    Opened {
        sha256: hex::encode(sha256.finalize()),
        content_hash: to_base64(&content_hash.finish()),
        end: decryptor.finish(),
    }
}

/// Encrypts a file of `len` bytes, byte i being i mod 251, with the oracle.
fn published_object(len: usize) -> (Vec<u8>, Vec<u8>) {
    let file: Vec<u8> = (0..len).map(|index| (index % 251) as u8).collect();
    let mut chunks: Vec<_> = file
        .chunks(PLAIN_CHUNK)
        .map(|chunk| (chunk, Tag::Message))
        .collect();
    if let Some((_, tag)) = chunks.last_mut() {
        *tag = Tag::Final;
    }
    let object = push_all(KEY, HEADER, &chunks).concat();
    (file, object)
}

/// Whole files on the chunk boundary: length, SHA-256 of the object, content hash.
#[test]
fn published_files() {
    let cases = [
        (
            4_194_304,
            "8be2ba3bdc1a072305a847a437fc80dcc03b3130859629088fe80046bb629085",
            "n8BjZcJ7yuw7yCbsp3KC5rxXMOII2Ard5nMTd4LHcPpAgTgSO93r01fQbOa8IOt60GS3Csqut3SyRipoG9J1wg==",
        ),
        (
            4_194_305,
            "b85f7d38ca4b757215a59e5385a4e086b8b2369dda1d9b0ec31652c6d70c3244",
            "faja4Z38wo26axKYAQd3g8qxEhsj5DxqiRwAJj80zzh98IuP+3HaI6aMOcmp8egk5iheJtGNgGEnL2o+ujAJ7g==",
        ),
        (
            8_388_613,
            "30cb6db0115796e55e2fbe8a12bd63018aea88097de373f04527414fd0c1fc6d",
            "KAaFpd9NSzIJ32nBJJehhxvI+G1QpYDfX8kj+Uev3JVyb8H06zTElHvQAwxOVi02PEE1MUmWDuWQz7Y9V/mf9w==",
        ),
    ];
    for (len, object_sha256, content_hash) in cases {
        let (file, object) = published_object(len);
        assert_eq!(hex::encode(Sha256::digest(&object)), object_sha256);
        let expected = Opened {
            sha256: hex::encode(Sha256::digest(&file)),
            content_hash: content_hash.into(),
            end: Ok(len as u64),
        };
        assert_eq!(open_object(KEY, HEADER, None, &object), expected);
    }
}

/// Each way to break `object`, whose chunks are whole but for the last, with the class of failure when the length that
/// it should have is known and when it is not.
fn broken(object: &[u8]) -> Vec<(&'static str, Vec<u8>, StreamError, StreamError)> {
    const C: usize = ENCRYPTED_CHUNK;
    let count = object.len().div_ceil(C) as u64;
    let (last, alike) = (count - 1, |error| (error, error));
    let altered = |chunk| StreamError::Authentication { chunk };
    let cut = |chunk| StreamError::Truncated { chunk };
    let flipped = |at: usize| {
        let mut object = object.to_vec();
        object[at] ^= 0x10;
        object
    };
    let with = |tail: &[u8]| [object, tail].concat();
    let swapped = [&object[C..2 * C], &object[..C], &object[2 * C..]].concat();
    let repeated = [&object[..C], object].concat();
    let missing_first = object[C..].to_vec();
    let boundary = StreamError::MissingFinal { chunks: last };
    let cases = [
        (
            "cut at a chunk boundary",
            object[..C * last as usize].to_vec(),
            alike(boundary),
        ),
        (
            "bit flipped in the second chunk",
            flipped(C + 1000),
            alike(altered(1)),
        ),
        (
            "bit flipped in the tag of the first",
            flipped(0),
            alike(altered(0)),
        ),
        (
            "bit flipped in the last MAC",
            flipped(object.len() - 1),
            alike(altered(last)),
        ),
        ("first two chunks swapped", swapped, alike(altered(0))),
        ("first chunk twice", repeated, (altered(1), altered(1))),
        ("first chunk missing", missing_first, alike(altered(0))),
        (
            "a byte after the final message",
            with(&[0]),
            (StreamError::TrailingData, altered(last)),
        ),
        (
            "a chunk after the final message",
            with(&object[..C]),
            (StreamError::TrailingData, altered(last)),
        ),
        (
            "last byte missing",
            object[..object.len() - 1].to_vec(),
            (cut(last), altered(last)),
        ),
        (
            "cut inside the second chunk",
            object[..C + 1000].to_vec(),
            (cut(1), altered(1)),
        ),
        (
            "cut inside a tag and MAC",
            object[..C + 16].to_vec(),
            alike(cut(1)),
        ),
        ("nothing left", Vec::new(), alike(cut(0))),
    ];
    cases
        .into_iter()
        .map(|(name, object, (known, unknown))| (name, object, known, unknown))
        .collect()
}

fn assert_breakage_is_classified(key: [u8; 32], header: Header, object: &[u8]) {
    let len = object.len() as u64;
    for (name, broken, known, unknown) in broken(object) {
        let end = open_object(key, header, Some(len), &broken).end;
        assert_eq!(end, Err(known), "{name}, length known");
        let end = open_object(key, header, None, &broken).end;
        assert_eq!(end, Err(unknown), "{name}, length unknown");
    }
}

#[test]
fn each_broken_stream_has_its_class() {
    let (_, object) = published_object(2 * PLAIN_CHUNK + 5);
    assert_breakage_is_classified(KEY, HEADER, &object);
}

#[test]
fn data_after_a_full_final_chunk_needs_no_known_length() {
    let (_, mut object) = published_object(PLAIN_CHUNK);
    object.push(0);
    let end = open_object(KEY, HEADER, None, &object).end;
    assert_eq!(end, Err(StreamError::TrailingData));
}

#[test]
fn a_failed_stream_stays_failed() {
    let messages = push_all(KEY, HEADER, &[(b"one", Tag::Message), (b"two", Tag::Final)]);
    let mut decryptor = Decryptor::new(&FileKey::from(KEY), &HEADER, None);
    let mut plaintext = Vec::new();
    let error = Err(StreamError::Authentication { chunk: 0 });
    assert_eq!(decryptor.decrypt(&messages[1], &mut plaintext), error);
    assert_eq!(decryptor.decrypt(&messages[0], &mut plaintext), error);
    assert_eq!(decryptor.finish().map(drop), error);
}

#[test]
fn a_decryptor_may_move_to_another_thread() {
    fn assert_send<T: Send>() {}
    assert_send::<Decryptor>();
}

/// Gives one byte, then two, then three …, as a slow pipe does.
struct Dribble<'a>(&'a [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 += 1;
        let len = self.1.min(buffer.len());
        self.0.read(&mut buffer[..len])
    }
}

#[test]
fn short_reads_do_not_move_chunk_boundaries() {
    let object: Vec<u8> = (0..ENCRYPTED_CHUNK + 100)
        .map(|index| index as u8)
        .collect();
    let mut reader = Dribble(&object, 0);
    let mut chunk = Vec::new();
    assert!(read_chunk(&mut reader, &mut chunk).unwrap());
    assert_eq!(chunk, &object[..ENCRYPTED_CHUNK]);
    assert!(read_chunk(&mut reader, &mut chunk).unwrap());
    assert_eq!(chunk, &object[ENCRYPTED_CHUNK..]);
    assert!(!read_chunk(&mut reader, &mut chunk).unwrap());
    assert!(chunk.is_empty());
}

/// Objects of libsodium's, up to 8 MB each and so not kept in the repository.
#[test]
#[expect(clippy::print_stderr, reason = "a skipped test should say so")]
fn golden_large() {
    let Some(folder) = std::env::var_os("ENTE_GOLDEN_LARGE") else {
        eprintln!("skipped: ENTE_GOLDEN_LARGE names no folder of large vectors");
        return;
    };
    let folder = std::path::Path::new(&folder);
    let index = std::fs::read_to_string(folder.join("index.json")).unwrap();
    let index: Value = serde_json::from_str(&index).unwrap();
    for case in index.as_array().unwrap() {
        let object = std::fs::read(folder.join(text(case, "file"))).unwrap();
        let (key, header) = (array(case, "key"), array(case, "header"));
        let expected = Opened {
            sha256: text(case, "sha256").into(),
            content_hash: text(case, "contentHash").into(),
            end: Ok(case["size"].as_u64().unwrap()),
        };
        let opened = open_object(key, header, case["ciphertextSize"].as_u64(), &object);
        assert_eq!(opened, expected, "{}", text(case, "name"));
        if text(case, "name") == "three-chunks" {
            assert_breakage_is_classified(key, header, &object);
        }
    }
}
