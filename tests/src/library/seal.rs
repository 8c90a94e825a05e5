//! Encryption as Ente's clients do it, by RustCrypto: another implementation than the one that the tools decrypt with.

use argon2::{Algorithm, Argon2, Params, Version};
use blake2::digest::FixedOutput;
use blake2::digest::consts::U32;
use blake2::{Blake2b512, Blake2bMac, Digest};
use bytes::Bytes;
use crypto_box::PublicKey;
use crypto_secretbox::XSalsa20Poly1305;
use crypto_secretbox::aead::{Aead, KeyInit};
use crypto_secretstream::{Key, PushStream, Tag};
use rand_core::{CryptoRng, Error, RngCore};
use serde_json::Value;

use super::encode;
use super::seed::Stream;

/// Plaintext bytes of one chunk of an object.
pub(crate) const CHUNK: usize = 4 * 1024 * 1024;
/// What secretstream adds per chunk.
const CHUNK_OVERHEAD: usize = 17;

/// How the chunks of an object are tagged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// The last chunk is final; the others are plain messages.
    #[default]
    Standard,
    /// The last chunk is a plain message too: the end is not marked.
    WithoutFinal,
    /// Chunks before the last carry the push tag, as one of the official apps writes them.
    PushTags,
}

/// A secretbox: MAC and ciphertext.
pub(crate) fn secretbox(key: &[u8; 32], nonce: [u8; 24], plain: &[u8]) -> Vec<u8> {
    XSalsa20Poly1305::new(key.into())
        .encrypt(&nonce.into(), plain)
        .expect("fits in memory")
}

/// An anonymous sealed box.
pub(crate) fn sealed_box(public_key: &[u8; 32], mut random: Stream, plain: &[u8]) -> Vec<u8> {
    PublicKey::from(*public_key)
        .seal(&mut random, plain)
        .expect("fits in memory")
}

/// A secretstream of one final message.
pub(crate) fn blob(key: &[u8; 32], header: [u8; 24], plain: &[u8]) -> Vec<u8> {
    let mut message = plain.to_vec();
    push_stream(key, header)
        .push(&mut message, &[], Tag::Final)
        .expect("fits in memory");
    message
}

/// The blob of a JSON object, in base64.
pub(crate) fn json_blob(key: &[u8; 32], header: [u8; 24], plain: &Value) -> String {
    encode(blob(key, header, plain.to_string().as_bytes()))
}

/// A secretstream in chunks of 4 MiB.
pub(crate) fn object(key: &[u8; 32], header: [u8; 24], plain: &[u8], framing: Framing) -> Vec<u8> {
    let mut stream = push_stream(key, header);
    let chunks = plain.len().div_ceil(CHUNK).max(1);
    let mut sealed = Vec::with_capacity(plain.len() + chunks * CHUNK_OVERHEAD);
    for index in 0..chunks {
        let mut chunk = plain[index * CHUNK..plain.len().min((index + 1) * CHUNK)].to_vec();
        let tag = match (index + 1 == chunks, framing) {
            (true, Framing::Standard | Framing::PushTags) => Tag::Final,
            (false, Framing::PushTags) => Tag::Push,
            _ => Tag::Message,
        };
        stream.push(&mut chunk, &[], tag).expect("fits in memory");
        sealed.append(&mut chunk);
    }
    sealed
}

/// As [`object`] of so many zeros, chunk by chunk.
pub(crate) fn zeros(
    key: &[u8; 32],
    header: [u8; 24],
    length: u64,
) -> impl Iterator<Item = Bytes> + use<> {
    chunks(key, header, length, |_| ())
}

/// As [`object`] of so many bytes, chunk by chunk; `fill` is given each chunk, which is zeros, to make it what it is to be.
pub(crate) fn chunks<F: FnMut(&mut [u8])>(
    key: &[u8; 32],
    header: [u8; 24],
    length: u64,
    mut fill: F,
) -> impl Iterator<Item = Bytes> + use<F> {
    let mut stream = push_stream(key, header);
    let chunks = length.div_ceil(CHUNK as u64).max(1);
    (0..chunks).map(move |index| {
        let left = length - index * CHUNK as u64;
        let mut chunk = vec![0; left.min(CHUNK as u64) as usize];
        fill(&mut chunk);
        let is_last = index + 1 == chunks;
        let tag = if is_last { Tag::Final } else { Tag::Message };
        stream.push(&mut chunk, &[], tag).expect("fits in memory");
        chunk.into()
    })
}

/// The content hash of so many zeros.
pub(crate) fn hash_of_zeros(length: u64) -> String {
    let mut hasher = Blake2b512::new();
    let block = vec![0; CHUNK];
    let mut left = length;
    while left > 0 {
        let part = left.min(CHUNK as u64);
        hasher.update(&block[..part as usize]);
        left -= part;
    }
    encode(hasher.finalize())
}

/// The length of [`object`] for so many plaintext bytes.
pub(crate) fn sealed_len(plain: u64) -> u64 {
    plain + plain.div_ceil(CHUNK as u64).max(1) * CHUNK_OVERHEAD as u64
}

/// The content hash that uploads carry in their metadata.
pub(crate) fn content_hash(plain: &[u8]) -> String {
    encode(Blake2b512::digest(plain))
}

/// Argon2id of a password, with limits in the server's units: bytes and passes.
pub(crate) fn kek(password: &str, salt: &[u8], memory_bytes: u32, passes: u32) -> [u8; 32] {
    let params = Params::new(memory_bytes / 1024, passes, 1, Some(32)).expect("valid limits");
    let mut kek = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.as_bytes(), salt, &mut kek)
        .expect("memory for Argon2");
    kek
}

/// The login sub-key of a KEK.
pub(crate) fn login_key(kek: &[u8; 32]) -> [u8; 16] {
    let mut salt = [0; 16];
    salt[0] = 1;
    let subkey = Blake2bMac::<U32>::new_with_salt_and_personal(Some(kek), &salt, b"loginctx")
        .expect("valid lengths")
        .finalize_fixed();
    subkey[..16].try_into().expect("half of 32 bytes")
}

fn push_stream(key: &[u8; 32], header: [u8; 24]) -> PushStream {
    let (made, stream) = PushStream::init(Fixed(header), &Key::from(*key));
    debug_assert_eq!(made.as_ref(), &header, "the header is all that is drawn");
    stream
}

/// "Randomness" that is the header to use, and nothing else.
pub(crate) struct Fixed(pub(crate) [u8; 24]);

impl RngCore for Fixed {
    fn next_u32(&mut self) -> u32 {
        unreachable!("a stream draws bytes")
    }

    fn next_u64(&mut self) -> u64 {
        unreachable!("a stream draws bytes")
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.0);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for Fixed {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::decode;

    fn vectors(name: &str) -> Vec<Value> {
        let all: Value = serde_json::from_str(include_str!("../../vectors/crypto.json")).unwrap();
        all[name].as_array().unwrap().clone()
    }

    fn array<const N: usize>(value: &Value) -> [u8; N] {
        decode(value).try_into().unwrap()
    }

    #[test]
    fn keys_from_passwords_equal_the_vectors() {
        for row in vectors("argon2id")
            .iter()
            .filter(|row| row["memLimit"].as_u64() < Some(100 << 20))
        {
            let limit = |name: &str| row[name].as_u64().unwrap() as u32;
            let password = row["password"].as_str().unwrap();
            let made = kek(
                password,
                &decode(&row["salt"]),
                limit("memLimit"),
                limit("opsLimit"),
            );
            assert_eq!(encode(made), row["key"]);
        }
        for row in vectors("kdf")
            .iter()
            .filter(|row| !row["loginKey"].is_null())
        {
            assert_eq!(encode(login_key(&array(&row["key"]))), row["loginKey"]);
        }
    }

    #[test]
    fn ciphertext_equals_the_vectors() {
        for row in vectors("secretbox") {
            let made = secretbox(
                &array(&row["key"]),
                array(&row["nonce"]),
                &decode(&row["plaintext"]),
            );
            assert_eq!(encode(made), row["ciphertext"]);
        }
        for row in vectors("blob") {
            let made = blob(
                &array(&row["key"]),
                array(&row["header"]),
                &decode(&row["plaintext"]),
            );
            assert_eq!(encode(made), row["ciphertext"]);
        }
        for row in vectors("contentHash")
            .iter()
            .filter(|row| row["text"].is_string())
        {
            let text = row["text"].as_str().unwrap();
            assert_eq!(content_hash(text.as_bytes()), row["hash"]);
        }
    }

    #[test]
    fn objects_have_the_length_and_hash_of_the_protocol_notes() {
        use sha2::Sha256;
        let key: [u8; 32] = std::array::from_fn(|i| i as u8);
        let header: [u8; 24] = std::array::from_fn(|i| 0x40 + i as u8);
        let cases = [
            (
                4_194_304,
                "8be2ba3bdc1a072305a847a437fc80dcc03b3130859629088fe80046bb629085",
            ),
            (
                4_194_305,
                "b85f7d38ca4b757215a59e5385a4e086b8b2369dda1d9b0ec31652c6d70c3244",
            ),
        ];
        for (len, sha256) in cases {
            let plain: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let sealed = object(&key, header, &plain, Framing::Standard);
            assert_eq!(sealed.len() as u64, sealed_len(len));
            assert_eq!(hex::encode(Sha256::digest(&sealed)), sha256);
        }
        assert_eq!(object(&key, header, &[], Framing::Standard).len(), 17);
    }

    #[test]
    fn a_sealed_box_opens_with_the_secret_key() {
        let row = &vectors("sealedBox")[0];
        let stream = super::super::seed::Seed::new(1).stream("test", &[]);
        let sealed = sealed_box(&array(&row["publicKey"]), stream, b"token");
        let secret = crypto_box::SecretKey::from(array::<32>(&row["secretKey"]));
        assert_eq!(secret.unseal(&sealed).unwrap(), b"token");
    }
}
