//! Content versions: which stored bytes of a file are meant.
//!
//! Every upload encrypts with a fresh random 24-byte header, so a header names one stored object. Its first
//! 8 bytes are enough to tell the few versions of one file apart, and short enough for file names and facts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::encoding::{array_from_base64, text};

/// What a decryption header has, decoded.
const HEADER_BYTES: usize = 24;

/// The version of a file's content: the first 8 bytes of the header that its stored object is encrypted with.
///
/// Written as 16 lower-case hex digits everywhere.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version([u8; 8]);

impl Version {
    /// The version with these first 8 bytes of a header.
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The version that a decryption header names; `None` unless it is base64 of 24 bytes.
    pub fn of_header(header: &str) -> Option<Self> {
        let bytes: [u8; HEADER_BYTES] = array_from_base64(header).ok()?;
        bytes.first_chunk().copied().map(Self)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({self})")
    }
}

/// The text is not a content version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a content version is 16 lower-case hex digits")]
pub struct ParseVersionError;

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // One spelling only, so that equal versions make equal file names.
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(ParseVersionError);
        }
        let mut bytes = [0; 8];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseVersionError)?;
        Ok(Self(bytes))
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "16 lower-case hex digits", |text| {
            text.parse().ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_names_a_version() {
        // Header of file 128 in the golden account; hex by coreutils: `base64 -d | od -An -tx1`.
        let version = Version::of_header("mMJ4fvQZtIA/8Spx3is34UTeXv1e3UaH").unwrap();
        assert_eq!(version.to_string(), "98c2787ef419b480");
        assert_eq!("98c2787ef419b480".parse(), Ok(version));
        assert_eq!(
            serde_json::to_string(&version).unwrap(),
            r#""98c2787ef419b480""#
        );
        assert_eq!(
            serde_json::from_str::<Version>(r#""98c2787ef419b48\u0030""#).unwrap(),
            version
        );
    }

    #[test]
    fn anything_else_is_refused() {
        for header in [
            "",
            "-",
            "mMJ4fvQZtIA=",
            "mMJ4fvQZtIA/8Spx3is34UTeXv1e3Ua",
            "not base64",
        ] {
            assert_eq!(Version::of_header(header), None, "{header}");
        }
        for text in [
            "",
            "98c2787ef419b48",
            "98c2787ef419b4800",
            "98C2787EF419B480",
            "../98c2787ef41",
        ] {
            assert_eq!(text.parse::<Version>(), Err(ParseVersionError), "{text}");
        }
    }
}
