//! Texts that stand for bytes. Base64 as the API writes it: standard alphabet with padding everywhere, except for the
//! token in requests, which is URL-safe with padding. Anything else (other alphabet, missing padding, stray bits) is refused.

use std::fmt;

use base64::{Engine, engine::general_purpose};
use serde::Deserializer;
use serde::de::{Error, Visitor};

/// Why a text is not the base64 that was expected. Never repeats the text, which may be secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// Not padded base64 of the expected alphabet.
    #[error("not valid base64")]
    Base64,
    /// Valid, but of another length than the protocol prescribes.
    #[error("{actual} bytes where {expected} belong")]
    Length {
        /// What the protocol prescribes, in bytes.
        expected: usize,
        /// What the text holds, in bytes.
        actual: usize,
    },
}

/// Encodes `bytes` with the standard alphabet, padded.
pub fn to_base64(bytes: &[u8]) -> String {
    general_purpose::STANDARD.encode(bytes)
}

/// Decodes standard, padded base64 of any length.
pub fn from_base64(text: &str) -> Result<Vec<u8>, EncodingError> {
    general_purpose::STANDARD
        .decode(text)
        .map_err(|_| EncodingError::Base64)
}

/// Decodes standard, padded base64 of exactly `N` bytes: keys, nonces, headers, salts.
pub fn array_from_base64<const N: usize>(text: &str) -> Result<[u8; N], EncodingError> {
    let mut bytes = [0; N];
    match general_purpose::STANDARD.decode_slice(text, &mut bytes) {
        Ok(actual) if actual == N => Ok(bytes),
        _ => Err(EncodingError::Length {
            expected: N,
            actual: from_base64(text)?.len(),
        }),
    }
}

/// Encodes an auth token the way `X-Auth-Token` wants it: URL-safe alphabet, padded.
pub fn to_base64_url(bytes: &[u8]) -> String {
    general_purpose::URL_SAFE.encode(bytes)
}

/// Decodes URL-safe, padded base64.
pub fn from_base64_url(text: &str) -> Result<Vec<u8>, EncodingError> {
    general_purpose::URL_SAFE
        .decode(text)
        .map_err(|_| EncodingError::Base64)
}

/// Reads a text of JSON without a copy of it.
pub(crate) fn text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    expected: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, D::Error> {
    struct Text<F>(&'static str, F);
    impl<T, F: FnOnce(&str) -> Option<T>> Visitor<'_> for Text<F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            (self.1)(text).ok_or_else(|| E::custom(format_args!("not {}", self.0)))
        }
    }
    deserializer.deserialize_str(Text(expected, parse))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_url_safe_and_padded() {
        let token: Vec<u8> = (0xe0..=0xff).collect();
        let text = "4OHi4-Tl5ufo6err7O3u7_Dx8vP09fb3-Pn6-_z9_v8=";
        assert_eq!(to_base64_url(&token), text);
        assert_eq!(from_base64_url(text), Ok(token));
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in ["-_8=", "+/8", "+/9=", "+/8=\n", " +/8=", "+/8=="] {
            assert_eq!(from_base64(text), Err(EncodingError::Base64), "{text:?}");
        }
        for text in ["+/8=", "-_8", "-_9="] {
            assert_eq!(
                from_base64_url(text),
                Err(EncodingError::Base64),
                "{text:?}"
            );
        }
        assert_eq!(from_base64("+/8="), Ok(vec![0xfb, 0xff]));
        assert_eq!(from_base64_url("-_8="), Ok(vec![0xfb, 0xff]));
    }

    #[test]
    fn a_fixed_length_is_checked() {
        assert_eq!(array_from_base64::<2>("+/8="), Ok([0xfb, 0xff]));
        let error = EncodingError::Length {
            expected: 24,
            actual: 2,
        };
        assert_eq!(array_from_base64::<24>("+/8="), Err(error));
        assert_eq!(array_from_base64::<0>(""), Ok([]));
    }
}
