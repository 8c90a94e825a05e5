//! The content hash: BLAKE2b-512 without a key over the plain bytes, left in the metadata by the device that uploaded
//! the file. A live photo has one per part.

use std::fmt;
use std::str::FromStr;

use blake2b_simd::State;

use crate::encoding::{EncodingError, array_from_base64, to_base64};

/// Computes one BLAKE2b-512 digest from pieces.
#[derive(Debug)]
pub struct ContentHasher(State);

impl ContentHasher {
    /// Starts with nothing hashed.
    #[expect(
        clippy::new_without_default,
        reason = "a hasher is always started on purpose"
    )]
    pub fn new() -> Self {
        Self(State::new())
    }

    /// Hashes `bytes` after what came before.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything hashed.
    pub fn finish(self) -> [u8; 64] {
        *self.0.finalize().as_array()
    }
}

/// What the metadata says of a file's content. Its text form is base64, `image:video` for live photos.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentHash {
    /// Digest of the file; of the ZIP, for a live photo of a very old upload.
    Whole([u8; 64]),
    /// Digests of a live photo's unpacked parts.
    Live {
        /// Digest of the image.
        image: [u8; 64],
        /// Digest of the video.
        video: [u8; 64],
    },
}

impl ContentHash {
    /// The digest of each exported part; none where it is that of a live photo's archive, or does not fit the kind of file.
    pub fn parts(self, is_live: bool) -> Vec<[u8; 64]> {
        match self {
            Self::Whole(digest) if !is_live => vec![digest],
            Self::Live { image, video } if is_live => vec![image, video],
            _ => Vec::new(),
        }
    }
}

impl FromStr for ContentHash {
    type Err = EncodingError;

    fn from_str(text: &str) -> Result<Self, EncodingError> {
        Ok(match text.split_once(':') {
            None => Self::Whole(array_from_base64(text)?),
            Some((image, video)) => Self::Live {
                image: array_from_base64(image)?,
                video: array_from_base64(video)?,
            },
        })
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(digest) => formatter.write_str(&to_base64(digest)),
            Self::Live { image, video } => {
                write!(formatter, "{}:{}", to_base64(image), to_base64(video))
            }
        }
    }
}

#[cfg(all(test, feature = "crypto"))]
mod tests {
    use super::*;
    use crate::crypto::vectors::{self, text};

    const EMPTY: &str =
        "eGoC90IBWQPGxv2FJVLScpEvR0DhWEdhiobiF/cfVBnSXhAxr+5YUxOJZESTTrBLkDpoWxRIt1XVb3Aa/pvizg==";
    const ABC: &str =
        "uoClP5gcTQ1qJ5e2nxL26UwhLxRoWsS3SxK7b9v/otF9h8U5Kqt5LcJS1d5FM8yVGNOKqNvxklq5I4bt1ACZIw==";

    fn digest(pieces: &[&[u8]]) -> [u8; 64] {
        let mut hasher = ContentHasher::new();
        pieces.iter().for_each(|piece| hasher.update(piece));
        hasher.finish()
    }

    #[test]
    fn golden_hashes() {
        for case in vectors::list(&vectors::crypto(), "contentHash") {
            let content = match &case["repeat"] {
                serde_json::Value::Null => text(case, "text").to_owned(),
                repeat => text(repeat, "char").repeat(repeat["count"].as_u64().unwrap() as usize),
            };
            let content = content.as_bytes();
            let expected = text(case, "hash");
            assert_eq!(to_base64(&digest(&[content])), expected);
            let pieces: Vec<_> = content.chunks(1000).collect();
            assert_eq!(to_base64(&digest(&pieces)), expected);
        }
    }

    #[test]
    fn both_text_forms() {
        let (empty, abc) = (digest(&[]), digest(&[b"a", b"", b"bc"]));
        let live = ContentHash::Live {
            image: empty,
            video: abc,
        };
        let cases = [
            (ABC.to_owned(), ContentHash::Whole(abc)),
            (format!("{EMPTY}:{ABC}"), live),
        ];
        for (text, hash) in cases {
            assert_eq!(text.parse(), Ok(hash));
            assert_eq!(hash.to_string(), text);
        }
        for text in [
            "",
            ":",
            "abc",
            &ABC[..84],
            &format!("{ABC}:"),
            &format!("{ABC}:{ABC}:{ABC}"),
        ] {
            assert!(text.parse::<ContentHash>().is_err(), "{text:?}");
        }
    }
}
