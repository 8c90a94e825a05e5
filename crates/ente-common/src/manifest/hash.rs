//! Hashes of facts: texts in the journal, bytes in memory, of which there are as many as files.

use std::fmt;

use blake3::Hash;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::encoding::{array_from_base64, text, to_base64};

/// Tells whether something is still as it was: the first 8 bytes of its BLAKE3, written as 16 lower-case hex digits. The default, written as
/// nothing, says that it is not known.
///
/// Too short against somebody who looks for a second text with the same digest; whoever serves the first can serve any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Digest(u64);

impl Digest {
    /// That of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        blake3::hash(bytes).into()
    }

    /// It is not known.
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }

    fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        match text.len() {
            0 => Some(Self::default()),
            16 if text.bytes().all(is_digit) => u64::from_str_radix(text, 16).ok().map(Self),
            _ => None,
        }
    }
}

impl From<Hash> for Digest {
    fn from(hash: Hash) -> Self {
        let first = hash.as_bytes().first_chunk().copied().unwrap_or_default();
        Self(u64::from_be_bytes(first))
    }
}

impl From<Digest> for u64 {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_unknown() {
            true => Ok(()),
            false => write!(f, "{:016x}", self.0),
        }
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "16 lower-case hex digits", Self::parse)
    }
}

/// `Option<blake3::Hash>` as 64 hex digits, or nothing.
pub(super) mod hex {
    use super::{Deserializer, Hash, Serializer, text};

    pub(in super::super) fn serialize<S: Serializer>(
        hash: &Option<Hash>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match hash {
            Some(hash) => serializer.serialize_str(&hash.to_hex()),
            None => serializer.serialize_str(""),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Hash>, D::Error> {
        text(deserializer, "64 hex digits", |text| match text {
            "" => Some(None),
            text => Hash::from_hex(text).ok().map(Some),
        })
    }
}

/// `Option<[u8; 64]>` as base64, or nothing.
pub(super) mod base64 {
    use super::{Deserializer, Serializer, array_from_base64, text, to_base64};

    pub(in super::super) fn serialize<S: Serializer>(
        bytes: &Option<[u8; 64]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = bytes.map(|bytes| to_base64(&bytes));
        serializer.serialize_str(text.as_deref().unwrap_or_default())
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<[u8; 64]>, D::Error> {
        text(deserializer, "base64 of 64 bytes", |text| match text {
            "" => Some(None),
            text => array_from_base64(text).ok().map(Some),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_start_of_a_blake3() {
        // By `printf abc | b3sum`.
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string(), "6437b3ac38465133");
        assert_eq!(Digest::parse("6437b3ac38465133"), Some(digest));
        assert_eq!(
            serde_json::to_string(&digest).unwrap(),
            r#""6437b3ac38465133""#
        );
        assert_eq!(Digest::parse(""), Some(Digest::default()));
        for text in ["6437B3AC38465133", "6437b3ac3846513", "+437b3ac38465133"] {
            assert_eq!(Digest::parse(text), None, "{text}");
        }
    }
}
