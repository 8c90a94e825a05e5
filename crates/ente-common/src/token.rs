//! The session token: what `ente-pull` may hold, and the only secret it ever sees.

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::encoding;

/// How many bytes a token has.
pub const TOKEN_BYTES: usize = 32;

/// A session token, wiped on drop and never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Token([u8; TOKEN_BYTES]);

/// The text or bytes are no token: a token is 32 bytes, in URL-safe base64 with padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a session token: 32 bytes in URL-safe base64 are expected")]
pub struct BadToken;

impl Token {
    /// Takes the bytes that the sealed token opens to. Fails unless there are exactly 32.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadToken> {
        bytes.try_into().map(Self).map_err(|_| BadToken)
    }

    /// Reads the text form, as [`Token::text`] writes it.
    pub fn parse(text: &str) -> Result<Self, BadToken> {
        let bytes = Zeroizing::new(encoding::from_base64_url(text).map_err(|_| BadToken)?);
        Self::from_bytes(&bytes)
    }

    /// The form that goes over the wire: URL-safe base64 **with** padding. The server compares it
    /// byte for byte, so the standard alphabet or a missing `=` would be refused.
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(encoding::to_base64_url(&self.0))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Bytes and text of the pair `token-1` in the published vectors.
    const TEXT: &str = "4OHi4-Tl5ufo6err7O3u7_Dx8vP09fb3-Pn6-_z9_v8=";

    #[test]
    fn text_matches_the_vector_and_reads_back() {
        let bytes: Vec<u8> = (0xe0..=0xff).collect();
        let token = Token::from_bytes(&bytes).unwrap();
        assert_eq!(*token.text(), TEXT);
        assert_eq!(Token::parse(TEXT).unwrap(), token);
    }

    #[test]
    fn other_forms_are_refused() {
        let standard = TEXT.replace('-', "+").replace('_', "/");
        let unpadded = TEXT.trim_end_matches('=');
        for text in ["", "AAAA", &standard, unpadded] {
            assert_eq!(Token::parse(text), Err(BadToken), "{text}");
        }
    }

    #[test]
    fn debug_output_shows_nothing() {
        assert_eq!(
            format!("{:?}", Token::parse(TEXT).unwrap()),
            "Token(hidden)"
        );
    }
}
