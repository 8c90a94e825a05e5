//! Key types: wiped on drop, never printed, and distinct, so that the compiler refuses one in the place of another.
//!
//! A key lives on the heap, so moving it leaves no copy behind; wiping what it was made from is up to the caller. There
//! is no `Clone`, `Display` or `Serialize`; `expose` is the one way to the bytes, easy to find in a review. [`Wraps`] is
//! the key hierarchy.

use std::fmt;

use dryoc::classic::crypto_core::crypto_scalarmult_base;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of another length than the key has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{actual} bytes where a key of {expected} belongs")]
pub struct KeyLengthError {
    /// Length of the key, in bytes.
    pub expected: usize,
    /// Length given, in bytes.
    pub actual: usize,
}

/// A secret key of 32 bytes, whatever it is for.
pub trait Key: Sized {
    /// The plain bytes.
    fn expose(&self) -> &[u8; 32];

    /// Takes over bytes that already lie on the heap.
    fn from_box(bytes: Box<[u8; 32]>) -> Self;
}

/// Says that a secretbox under `Self` may hold an `Inner`.
pub trait Wraps<Inner: Key>: Key {}

macro_rules! key_type {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        pub struct $name(Box<[u8; $length]>);

        impl $name {
            /// The plain bytes, for saving or for use outside this module.
            pub fn expose(&self) -> &[u8; $length] {
                &self.0
            }
        }

        impl From<[u8; $length]> for $name {
            fn from(bytes: [u8; $length]) -> Self {
                Self(Box::new(bytes))
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = KeyLengthError;

            fn try_from(bytes: &[u8]) -> Result<Self, KeyLengthError> {
                let mut key = Self(Box::new([0; $length]));
                if bytes.len() != $length {
                    return Err(KeyLengthError {
                        expected: $length,
                        actual: bytes.len(),
                    });
                }
                key.0.copy_from_slice(bytes);
                Ok(key)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(stringify!($name))
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                self.0.zeroize();
            }
        }

        impl ZeroizeOnDrop for $name {}
    };
}

macro_rules! key32_type {
    ($(#[$doc:meta])* $name:ident) => {
        key_type!($(#[$doc])* $name, 32);

        impl Key for $name {
            fn expose(&self) -> &[u8; 32] {
                &self.0
            }

            fn from_box(bytes: Box<[u8; 32]>) -> Self {
                Self(bytes)
            }
        }
    };
}

key32_type!(
    /// From the password by Argon2id; wraps the master key.
    Kek
);
key32_type!(
    /// The account's key; wraps everything that the account owns.
    MasterKey
);
key32_type!(
    /// What the owner wrote down; wraps the master key once more.
    RecoveryKey
);
key32_type!(
    /// The secret half of the account's X25519 key pair.
    SecretKey
);
key32_type!(
    /// The key of one collection; wraps the keys of the files listed in it.
    CollectionKey
);
key32_type!(
    /// The key of one file: its metadata, thumbnail and content.
    FileKey
);
key_type!(
    /// The secret that a sign-in proves knowledge of; from the KEK, used nowhere else.
    LoginKey,
    16
);

impl Wraps<MasterKey> for Kek {}
impl Wraps<MasterKey> for RecoveryKey {}
impl Wraps<RecoveryKey> for MasterKey {}
impl Wraps<SecretKey> for MasterKey {}
impl Wraps<CollectionKey> for MasterKey {}
impl Wraps<FileKey> for CollectionKey {}

/// The public half of the account's X25519 key pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(pub [u8; 32]);

/// The account's X25519 key pair; the halves always belong together.
#[derive(Debug)]
pub struct KeyPair {
    public: PublicKey,
    secret: SecretKey,
}

impl KeyPair {
    /// Completes `secret` with its public half.
    ///
    /// Compare [`KeyPair::public`] with the public key that the server names: another one means damaged attributes.
    pub fn new(secret: SecretKey) -> Self {
        let mut public = [0; 32];
        crypto_scalarmult_base(&mut public, secret.expose());
        Self {
            public: PublicKey(public),
            secret,
        }
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The secret half.
    pub fn secret(&self) -> &SecretKey {
        &self.secret
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_names_the_type_and_nothing_else() {
        let pair = KeyPair::new(SecretKey::from([0x42; 32]));
        assert_eq!(format!("{:?}", MasterKey::from([0x42; 32])), "MasterKey");
        assert_eq!(format!("{:?}", LoginKey::from([0x42; 16])), "LoginKey");
        assert!(format!("{pair:?}").contains("secret: SecretKey }"));
    }

    #[test]
    fn a_key_has_one_length() {
        let error = KeyLengthError {
            expected: 32,
            actual: 31,
        };
        assert_eq!(FileKey::try_from(&[7; 31][..]).err(), Some(error));
        let key = FileKey::try_from(&[7; 32][..]).expect("right length");
        assert_eq!(key.expose(), &[7; 32]);
    }

    #[test]
    fn the_public_half_follows_from_the_secret_one() {
        let secret: [u8; 32] = std::array::from_fn(|index| index as u8);
        let public = "8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f";
        let pair = KeyPair::new(SecretKey::from(secret));
        assert_eq!(hex::encode(pair.public().0), public);
    }
}
