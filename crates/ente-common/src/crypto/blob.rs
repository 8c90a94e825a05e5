//! Blob: a secretstream (XChaCha20-Poly1305, libsodium's construction) of a single message. Metadata, magic metadata,
//! thumbnails. Never split into chunks, whatever its length.
//!
//! ```text
//! ciphertext = encrypted tag(1) ‖ body ‖ MAC(16)        header(24) apart
//! ```

use dryoc::classic::crypto_secretstream_xchacha20poly1305::{
    State, crypto_secretstream_xchacha20poly1305_init_pull as init_pull,
    crypto_secretstream_xchacha20poly1305_pull as pull,
};

use super::{Header, Key, OpenError, plain_len};

/// What a blob adds to its content: 1 byte of tag and 16 of MAC.
const OVERHEAD: usize = 17;

/// Tag of a message that others may follow.
const MESSAGE: u8 = 0;
/// Tag of the last message.
const FINAL: u8 = 3;

/// The content of a blob.
#[derive(Debug, PartialEq, Eq)]
pub struct Blob {
    /// The authentic plaintext.
    pub plaintext: Vec<u8>,
    /// How the message was tagged.
    pub tag: BlobTag,
}

/// How the only message of a blob is tagged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobTag {
    /// As the last message: as it should be.
    Final,
    /// As one that others may follow. The content is authentic, but the photo clients never wrote such a blob: worth a
    /// warning.
    NotFinal,
}

/// Decrypts a blob; returns the plaintext only if all of it is authentic.
pub fn open(key: &impl Key, header: &Header, ciphertext: &[u8]) -> Result<Blob, OpenError> {
    let mut plaintext = vec![0; plain_len(ciphertext, OVERHEAD)?];
    let mut state = State::new();
    init_pull(&mut state, header, key.expose());
    let mut tag = u8::MAX;
    pull(&mut state, &mut plaintext, &mut tag, ciphertext, None)
        .map_err(|_| OpenError::Authentication)?;
    let tag = match tag {
        FINAL => BlobTag::Final,
        MESSAGE => BlobTag::NotFinal,
        tag => return Err(OpenError::UnexpectedTag { tag }),
    };
    Ok(Blob { plaintext, tag })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::FileKey;
    use crate::crypto::vectors::{self, array, bytes};

    #[test]
    fn golden_blobs() {
        for case in vectors::list(&vectors::crypto(), "blob") {
            let key = FileKey::from(array(case, "key"));
            let blob = open(&key, &array(case, "header"), &bytes(case, "ciphertext"));
            let plaintext = bytes(case, "plaintext");
            let tag = BlobTag::Final;
            assert_eq!(blob, Ok(Blob { plaintext, tag }));
        }
    }

    /// Single messages under the key 00 01 … 1f and the header 40 41 … 57: tag, plaintext, ciphertext. Their lengths
    /// are those at which libsodium's padding of the MAC differs from what one would expect.
    const PUBLISHED: [(BlobTag, &[u8], &str); 7] = [
        (BlobTag::Final, b"", "0efe5473cc4cdfd38c7ea2bca80eb9164f"),
        (BlobTag::NotFinal, b"", "0dff2db0dcccf8b9cea79016f3d4ae8e52"),
        (BlobTag::Final, b"a", "0ea2403c7642e9d6defb8ad741f3391e68dd"),
        (
            BlobTag::Final,
            b"aaaaaaaaaaaaaaa",
            "0ea2f921886ab9c9280b02c2fd314e77d58eb0a79cef57f17e549e6f73a6d10a",
        ),
        (
            BlobTag::Final,
            b"aaaaaaaaaaaaaaaa",
            "0ea2f921886ab9c9280b02c2fd314e77217b6b12227225e246da8164c52781511b",
        ),
        (
            BlobTag::Final,
            b"aaaaaaaaaaaaaaaaa",
            "0ea2f921886ab9c9280b02c2fd314e7721c7785ee8e74fd91da15eef7a1a397c261b",
        ),
        (
            BlobTag::Final,
            b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "0ea2f921886ab9c9280b02c2fd314e7721c7d1c7bfea933ce6119c1465dfa19128c2365d64cda79abecd0e628142bc44",
        ),
    ];

    fn published_key() -> (FileKey, Header) {
        let key: [u8; 32] = std::array::from_fn(|index| index as u8);
        let header = std::array::from_fn(|index| 0x40 + index as u8);
        (FileKey::from(key), header)
    }

    #[test]
    fn published_blobs() {
        let (key, header) = published_key();
        for (tag, plaintext, ciphertext) in PUBLISHED {
            let plaintext = plaintext.to_vec();
            let blob = open(&key, &header, &hex::decode(ciphertext).unwrap());
            assert_eq!(blob, Ok(Blob { plaintext, tag }), "{ciphertext}");
        }
    }

    #[test]
    fn other_tags_are_refused() {
        let (key, header) = published_key();
        for (tag, ciphertext) in [
            (
                1,
                "0cb3ed338126acc92e0d06c7bc3347632ecde26fbff9f49a95f9516e2f7dc3f61b93",
            ),
            (2, "0fa20649bc8ec0c70497c44b0dc3aafdcfff"),
        ] {
            let result = open(&key, &header, &hex::decode(ciphertext).unwrap());
            assert_eq!(result, Err(OpenError::UnexpectedTag { tag }));
        }
    }

    #[test]
    fn damage_is_noticed() {
        let (key, header) = published_key();
        let whole = hex::decode(PUBLISHED[5].2).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let result = open(&key, &header, &damaged);
            assert_eq!(result, Err(OpenError::Authentication), "bit {bit}");
        }
        for actual in 0..17 {
            let minimum = 17;
            let error = OpenError::TooShort { minimum, actual };
            assert_eq!(open(&key, &header, &whole[..actual]), Err(error));
        }
        for length in 17..whole.len() {
            let result = open(&key, &header, &whole[..length]);
            assert_eq!(result, Err(OpenError::Authentication));
        }
    }
}
