//! Secretbox (XSalsa20-Poly1305): wrapped keys and collection names.
//!
//! ```text
//! ciphertext = MAC(16) ‖ body        nonce(24) apart
//! ```

use dryoc::classic::crypto_secretbox::crypto_secretbox_open_easy;

use super::{Key, Nonce, OpenError, key::Wraps, plain_len};

/// What a secretbox adds to its content: 16 bytes of MAC.
const OVERHEAD: usize = 16;

/// Decrypts `ciphertext`; returns the plaintext only if all of it is authentic.
pub fn open(key: &impl Key, nonce: &Nonce, ciphertext: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut plaintext = vec![0; plain_len(ciphertext, OVERHEAD)?];
    open_into(&mut plaintext, key, nonce, ciphertext)?;
    Ok(plaintext)
}

/// Unwraps the key that `wrapped` holds. Which key may wrap which is known to the compiler.
///
/// ```
/// # use ente_common::crypto::{secretbox, Kek, MasterKey, OpenError};
/// # fn example(kek: &Kek, nonce: &[u8; 24], wrapped: &[u8]) -> Result<(), OpenError> {
/// let master_key: MasterKey = secretbox::unwrap(kek, nonce, wrapped)?;
/// # Ok(())
/// # }
/// ```
pub fn unwrap<K: Key>(key: &impl Wraps<K>, nonce: &Nonce, wrapped: &[u8]) -> Result<K, OpenError> {
    let mut unwrapped = Box::new([0; 32]);
    let actual = plain_len(wrapped, OVERHEAD)?;
    if actual != unwrapped.len() {
        return Err(OpenError::KeyLength {
            expected: unwrapped.len(),
            actual,
        });
    }
    open_into(&mut unwrapped[..], key, nonce, wrapped)?;
    Ok(K::from_box(unwrapped))
}

fn open_into(
    plaintext: &mut [u8],
    key: &impl Key,
    nonce: &Nonce,
    ciphertext: &[u8],
) -> Result<(), OpenError> {
    crypto_secretbox_open_easy(plaintext, ciphertext, nonce, key.expose())
        .map_err(|_| OpenError::Authentication)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::vectors::{self, array, bytes};
    use crate::crypto::{CollectionKey, Kek, MasterKey, RecoveryKey, SecretKey};
    use crate::encoding::{array_from_base64, from_base64};

    #[test]
    fn golden_boxes() {
        for case in vectors::list(&vectors::crypto(), "secretbox") {
            let key = CollectionKey::from(array(case, "key"));
            let plaintext = open(&key, &array(case, "nonce"), &bytes(case, "ciphertext"));
            assert_eq!(plaintext, Ok(bytes(case, "plaintext")));
        }
    }

    #[test]
    fn the_published_box() {
        let key = array_from_base64("kercNpvGufMTTHmDwAhz26DgCAvznd1+/buBqKEkWr4=").unwrap();
        let nonce = array_from_base64("jgfPDOsQh2VdIHWJVSBicMPF2sQW3HIY").unwrap();
        let data = "KHwRN+RzvTu+jC7mCdkMsqnTPSLvevtZILmcR2OYFbIRPqDyjAl+m8KxD9B5fiEo";
        let expected = from_base64("O1ObUBMv+SCE1qWHD7+WViEIZcAeTp18Y+m9eMlDE1Y=");
        let plaintext = open(&MasterKey::from(key), &nonce, &from_base64(data).unwrap());
        assert_eq!(plaintext.ok(), expected.ok());
    }

    /// The published chain from the password to the recovery key, less its first step, which is a test of `kdf`.
    #[test]
    fn the_published_chain() {
        let unwrapped = |text: &str| from_base64(text).unwrap();
        let kek = array_from_base64("vp8d8Nee0BbIML4ab8Cp34uYnyrN77cRwTl920flyT0=").unwrap();
        let master_key: MasterKey = unwrap(
            &Kek::from(kek),
            &[1; 24],
            &unwrapped("UeL5vd4bRtp10jgblViDI27MvnO3r/eZ1qS5AJKi19NOQ+vvR0l7ZhY9pVSZyTW5"),
        )
        .unwrap();
        assert_eq!(master_key.expose(), &[0x11; 32]);
        let secret_key: SecretKey = unwrap(
            &master_key,
            &[2; 24],
            &unwrapped("/OamwRGDy5YHSCmMAUt4nPGQU/xAtm+JbdbH7OPXbpb91KwFFf5OIYl0fV/NBt0i"),
        )
        .unwrap();
        assert_eq!(secret_key.expose()[..], (0..32).collect::<Vec<u8>>());
        let recovery_key: RecoveryKey = unwrap(
            &master_key,
            &[4; 24],
            &unwrapped("zYNxaQqSy9IOKTBptvXIQDooLtemwXwpmFgdjKqMeABxxKCFzdPMbsddQY2QEGzJ"),
        )
        .unwrap();
        assert_eq!(recovery_key.expose()[..], (0x80..0xa0).collect::<Vec<u8>>());
        let again: MasterKey = unwrap(
            &recovery_key,
            &[3; 24],
            &unwrapped("FUg8/5aWfwMtRkpTA7uKLbH4wgG9tkT8iFtcJOqBxoH4LlcZ7KtrbQNs35sAVsNY"),
        )
        .unwrap();
        assert_eq!(again.expose(), &[0x11; 32]);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let vectors = vectors::crypto();
        let case = &vectors::list(&vectors, "secretbox")[2];
        let key = CollectionKey::from(array(case, "key"));
        let nonce = array(case, "nonce");
        let ciphertext = bytes(case, "ciphertext");
        for bit in 0..ciphertext.len() * 8 {
            let mut damaged = ciphertext.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let result = open(&key, &nonce, &damaged);
            assert_eq!(result, Err(OpenError::Authentication), "bit {bit}");
        }
    }

    #[test]
    fn lengths_are_checked_first() {
        let key = MasterKey::from([0; 32]);
        let error = OpenError::TooShort {
            minimum: 16,
            actual: 15,
        };
        assert_eq!(open(&key, &[0; 24], &[0; 15]), Err(error));
        for actual in [0, 31, 33] {
            let error = OpenError::KeyLength {
                expected: 32,
                actual,
            };
            let result = unwrap::<CollectionKey>(&key, &[0; 24], &vec![0; 16 + actual]);
            assert_eq!(result.err(), Some(error));
        }
    }
}
