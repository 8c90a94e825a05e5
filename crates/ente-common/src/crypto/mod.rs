//! Everything that opens what Ente encrypted, compatible with libsodium byte for byte.
//!
//! | module | opens or makes |
//! | --- | --- |
//! | [`key`] | key types, and which key wraps which |
//! | [`kdf`] | password → KEK → login key |
//! | [`srp`] | the client's half of a sign-in |
//! | [`secretbox`] | wrapped keys, collection names |
//! | [`sealed_box`] | keys of shared collections, the token |
//! | [`blob`] | metadata and thumbnails: a stream of one message |
//! | [`stream`] | file contents: a stream of 4 MiB chunks |
//! | [`recovery`] | the recovery key as people write it down |
//!
//! Pure: no clock, no randomness, no input or output of its own. Wire layouts and the sources of the test vectors are in
//! `docs/crypto.md`. The library that does the arithmetic (`dryoc`) is named nowhere outside this module.

pub mod blob;
pub mod kdf;
pub mod key;
pub mod recovery;
pub mod sealed_box;
pub mod secretbox;
pub mod srp;
pub mod stream;

pub use key::{
    CollectionKey, FileKey, Kek, Key, KeyPair, LoginKey, MasterKey, PublicKey, RecoveryKey,
    SecretKey,
};

/// Nonce of a secretbox.
pub type Nonce = [u8; 24];

/// Header that starts a blob or a stream; lies in the JSON, never in front of the ciphertext.
pub type Header = [u8; 24];

/// Why a secretbox, sealed box or blob was not opened. No plaintext is released in any of these cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Too short to hold even an empty message.
    #[error("{actual} bytes cannot be a whole message of at least {minimum}")]
    TooShort {
        /// Length of the shortest message, in bytes.
        minimum: usize,
        /// Length given, in bytes.
        actual: usize,
    },
    /// The authentication code does not fit: the key is wrong or the ciphertext was altered.
    #[error("does not authenticate: wrong key or altered ciphertext")]
    Authentication,
    /// Authentic, but not of the length of a key.
    #[error("holds {actual} bytes where a key of {expected} belongs")]
    KeyLength {
        /// Length of a key, in bytes.
        expected: usize,
        /// Length found, in bytes.
        actual: usize,
    },
    /// Authentic, but with a tag that no blob has.
    #[error("ends with the unexpected tag {tag}")]
    UnexpectedTag {
        /// The decrypted tag.
        tag: u8,
    },
}

/// Length of the plaintext in a ciphertext that carries `overhead` bytes more.
fn plain_len(ciphertext: &[u8], overhead: usize) -> Result<usize, OpenError> {
    ciphertext
        .len()
        .checked_sub(overhead)
        .ok_or(OpenError::TooShort {
            minimum: overhead,
            actual: ciphertext.len(),
        })
}

#[cfg(test)]
pub(crate) mod vectors;
