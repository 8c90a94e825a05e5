//! Sealed box (X25519 and XSalsa20-Poly1305): keys of collections that others share with us, and the token.
//!
//! ```text
//! ciphertext = ephemeral public key(32) ‖ MAC(16) ‖ body
//! nonce      = BLAKE2b-192(ephemeral public key ‖ our public key)
//! key        = HSalsa20(X25519(our secret key, ephemeral public key), 0^16)
//! ```
//!
//! Anyone can make one: that it opens says nothing about who sent it.

use dryoc::classic::crypto_box::crypto_box_seal_open;

use super::{CollectionKey, Key, KeyPair, OpenError, plain_len};

/// What a sealed box adds to its content: 32 bytes of public key and 16 of MAC.
const OVERHEAD: usize = 48;

/// Decrypts `ciphertext`; returns the plaintext only if all of it is authentic.
///
/// An ephemeral key that makes the shared secret zero, and so the box open to everyone, is refused.
pub fn open(pair: &KeyPair, ciphertext: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut plaintext = vec![0; plain_len(ciphertext, OVERHEAD)?];
    open_into(&mut plaintext, pair, ciphertext)?;
    Ok(plaintext)
}

/// Unwraps the key of a collection that someone else owns.
pub fn unwrap(pair: &KeyPair, wrapped: &[u8]) -> Result<CollectionKey, OpenError> {
    let mut unwrapped = Box::new([0; 32]);
    let actual = plain_len(wrapped, OVERHEAD)?;
    if actual != unwrapped.len() {
        return Err(OpenError::KeyLength {
            expected: unwrapped.len(),
            actual,
        });
    }
    open_into(&mut unwrapped[..], pair, wrapped)?;
    Ok(CollectionKey::from_box(unwrapped))
}

fn open_into(plaintext: &mut [u8], pair: &KeyPair, ciphertext: &[u8]) -> Result<(), OpenError> {
    let (public, secret) = (&pair.public().0, pair.secret().expose());
    crypto_box_seal_open(plaintext, ciphertext, public, secret)
        .map_err(|_| OpenError::Authentication)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SecretKey;
    use crate::crypto::vectors::{self, array, bytes};
    use crate::encoding::from_base64;

    #[test]
    fn golden_boxes() {
        for case in vectors::list(&vectors::crypto(), "sealedBox") {
            let pair = KeyPair::new(SecretKey::from(array(case, "secretKey")));
            assert_eq!(pair.public().0, array(case, "publicKey"));
            let plaintext = bytes(case, "plaintext");
            let ciphertext = bytes(case, "ciphertext");
            assert_eq!(open(&pair, &ciphertext), Ok(plaintext.clone()));
            let key = unwrap(&pair, &ciphertext);
            assert_eq!(key.is_ok(), plaintext.len() == 32);
            if let Ok(key) = key {
                assert_eq!(key.expose()[..], plaintext);
            }
        }
    }

    #[test]
    fn the_published_token() {
        let secret: [u8; 32] = std::array::from_fn(|index| index as u8);
        let pair = KeyPair::new(SecretKey::from(secret));
        let sealed = "NYBy1jZYgNGu6jKa35EhODhR7SGijjt16WXQ0s0WYlQ+njbxAkfyHD7K6L+hIgXGZb4yfTQ/yok9oyObLuza7M5oZs2yI6Z+VLdX0Zr/cmw=";
        let token = open(&pair, &from_base64(sealed).unwrap());
        assert_eq!(token, Ok((0xe0..=0xff).collect()));
    }

    /// A box under the shared secret zero opens for everyone. The oracle accepts this one, so it is well made but for
    /// that.
    #[test]
    fn a_forged_box_is_refused() {
        let secret = crypto_box::SecretKey::from([0x42; 32]);
        let zero = crypto_box::PublicKey::from([0; 32]);
        let pair = KeyPair::new(SecretKey::from([0x42; 32]));
        let mut nonce = [0; 24];
        let public_keys = [[0; 32], pair.public().0].concat();
        dryoc::classic::crypto_generichash::crypto_generichash(&mut nonce, &public_keys, None)
            .unwrap();
        let mut forged = vec![0; 32];
        let salsa = crypto_box::SalsaBox::new(&zero, &secret);
        let body = crypto_box::aead::Aead::encrypt(&salsa, &nonce.into(), &[7; 32][..]).unwrap();
        forged.extend(body);

        assert_eq!(secret.unseal(&forged).unwrap(), [7; 32]);
        assert_eq!(open(&pair, &forged), Err(OpenError::Authentication));
        let error = Some(OpenError::Authentication);
        assert_eq!(unwrap(&pair, &forged).err(), error);
    }

    #[test]
    fn damage_is_noticed() {
        let vectors = vectors::crypto();
        let case = &vectors::list(&vectors, "sealedBox")[1];
        let pair = KeyPair::new(SecretKey::from(array(case, "secretKey")));
        let ciphertext = bytes(case, "ciphertext");
        // The top bit of an X25519 key is ignored, but here it also enters the nonce.
        for bit in 0..ciphertext.len() * 8 {
            let mut damaged = ciphertext.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&pair, &damaged), Err(OpenError::Authentication));
        }
        for length in 0..48 {
            let error = OpenError::TooShort {
                minimum: 48,
                actual: length,
            };
            assert_eq!(open(&pair, &ciphertext[..length]), Err(error));
        }
    }
}
