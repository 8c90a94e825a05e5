//! The recovery key as people keep it: 24 English BIP-39 words, or, from very early users, 64 hexadecimal digits.
//!
//! The words encode the key itself (256 bits and 8 of checksum); there is no passphrase and no seed derivation.

use bip39::{Language, Mnemonic};
use zeroize::Zeroizing;

use super::RecoveryKey;

/// Why a text is not a recovery key. Never repeats the text, which is a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// Neither one word (of digits) nor 24.
    #[error("a recovery key has 24 words, not {actual}")]
    WordCount {
        /// How many words the text has.
        actual: usize,
    },
    /// A word that is not on the list.
    #[error("word {position} is not on the list of recovery words")]
    UnknownWord {
        /// Which one, counted from 1.
        position: usize,
    },
    /// All words are known, but not together: one was changed, or their order.
    #[error("the words do not fit together; one is wrong or out of place")]
    Checksum,
    /// A single word that is not 64 hexadecimal digits.
    #[error("a recovery key has 24 words or 64 hexadecimal digits")]
    Digits,
}

/// Reads a recovery key as typed: any white space, upper or lower case.
pub fn parse(text: &str) -> Result<RecoveryKey, RecoveryError> {
    let mut bytes = Zeroizing::new([0; 32]);
    let text = Zeroizing::new(text.trim().to_ascii_lowercase());
    match text.split_whitespace().count() {
        1 => hex::decode_to_slice(&*text, &mut bytes[..]).map_err(|_| RecoveryError::Digits)?,
        24 => {
            let mnemonic = Mnemonic::parse_in_normalized(Language::English, &text).map_err(
                |error| match error {
                    bip39::Error::UnknownWord(index) => RecoveryError::UnknownWord {
                        position: index + 1,
                    },
                    _ => RecoveryError::Checksum,
                },
            )?;
            bytes.copy_from_slice(&Zeroizing::new(mnemonic.to_entropy()));
        }
        actual => return Err(RecoveryError::WordCount { actual }),
    }
    Ok(RecoveryKey::from(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::vectors::{self, bytes, text};

    const WORDS: &str = "letter army path animal flash duck captain course merit good glove busy animal sing exact naive notable rubber chapter cry right excite kidney utility";

    #[test]
    fn golden_recovery_keys() {
        for case in vectors::list(&vectors::crypto(), "recovery") {
            let (words, digits) = (text(case, "mnemonic"), text(case, "hex"));
            for form in [words, digits] {
                assert_eq!(parse(form).unwrap().expose()[..], bytes(case, "key"));
            }
        }
    }

    #[test]
    fn published_recovery_keys() {
        let counting: [u8; 32] = std::array::from_fn(|index| 0x80 + index as u8);
        let zeros = format!("{} art", ["abandon"; 23].join(" "));
        for (key, words) in [(counting, WORDS), ([0; 32], &zeros)] {
            assert_eq!(parse(words).unwrap().expose(), &key);
        }
    }

    #[test]
    fn typing_is_forgiven() {
        let typed = format!("  {}\n", WORDS.to_uppercase().replace(' ', "\n\t "));
        let digits: String = (0x80..0xa0).map(|byte| format!("{byte:02X}")).collect();
        for text in [typed, format!("{digits}\r\n")] {
            assert_eq!(parse(&text).unwrap().expose()[..3], [0x80, 0x81, 0x82]);
        }
    }

    #[test]
    fn mistakes_are_named() {
        let words = |count: usize| WORDS.split(' ').take(count).collect::<Vec<_>>().join(" ");
        let zeros = "00".repeat(32);
        let cases = [
            (String::new(), RecoveryError::WordCount { actual: 0 }),
            (words(12), RecoveryError::WordCount { actual: 12 }),
            (words(23), RecoveryError::WordCount { actual: 23 }),
            (
                format!("{WORDS} art"),
                RecoveryError::WordCount { actual: 25 },
            ),
            (
                WORDS.replace("path", "paths"),
                RecoveryError::UnknownWord { position: 3 },
            ),
            (
                WORDS.replace("letter army", "army letter"),
                RecoveryError::Checksum,
            ),
            (WORDS.replace("utility", "zoo"), RecoveryError::Checksum),
            ("letter".into(), RecoveryError::Digits),
            (zeros[1..].into(), RecoveryError::Digits),
            (format!("{zeros}0"), RecoveryError::Digits),
            (zeros.replacen('0', "g", 1), RecoveryError::Digits),
        ];
        for (text, error) in cases {
            assert_eq!(parse(&text).err(), Some(error), "{text}");
        }
    }
}
