//! From the password to the account's keys. Pure: no network, no files.

use ente_common::crypto::kdf::{self, KdfError};
use ente_common::crypto::{Kek, KeyPair, MasterKey, Nonce, SecretKey, sealed_box, secretbox};
use ente_common::encoding::{EncodingError, array_from_base64, from_base64};
use ente_common::token::Token;
use ente_common::wire::KeyAttributes;

/// What a password opens.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) master_key: MasterKey,
    pub(crate) key_pair: KeyPair,
}

/// Why a password opened nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnlockError {
    #[error("the password does not match this account")]
    WrongPassword,
    #[error("{0} of the account is damaged")]
    Damaged(&'static str),
    #[error(transparent)]
    Kdf(#[from] KdfError),
}

/// Derives the KEK as the account's attributes prescribe.
pub(crate) fn derive_kek(password: &[u8], attributes: &KeyAttributes) -> Result<Kek, UnlockError> {
    let salt = from_base64(&attributes.kek_salt).map_err(damaged("the password salt"))?;
    let (memory, passes) = (attributes.mem_limit, attributes.ops_limit);
    Ok(kdf::derive_kek(password, &salt, memory, passes)?)
}

/// Unwraps the keys, each of which authenticates; the key pair is checked against the public key.
pub(crate) fn unlock(kek: &Kek, attributes: &KeyAttributes) -> Result<Keys, UnlockError> {
    let wrapped = |text: &str, nonce: &str| -> Result<(Vec<u8>, Nonce), EncodingError> {
        Ok((from_base64(text)?, array_from_base64(nonce)?))
    };
    let (text, nonce) = (&attributes.encrypted_key, &attributes.key_decryption_nonce);
    let (sealed, nonce) = wrapped(text, nonce).map_err(damaged("the master key"))?;
    // Nothing else can be wrong with an intact secretbox.
    let master_key: MasterKey =
        secretbox::unwrap(kek, &nonce, &sealed).map_err(|_| UnlockError::WrongPassword)?;

    let text = &attributes.encrypted_secret_key;
    let nonce = &attributes.secret_key_decryption_nonce;
    let (sealed, nonce) = wrapped(text, nonce).map_err(damaged("the secret key"))?;
    let secret_key: SecretKey =
        secretbox::unwrap(&master_key, &nonce, &sealed).map_err(damaged("the secret key"))?;

    let key_pair = KeyPair::new(secret_key);
    let public = array_from_base64(&attributes.public_key).map_err(damaged("the public key"))?;
    if key_pair.public().0 != public {
        return Err(UnlockError::Damaged("the public key"));
    }
    Ok(Keys {
        master_key,
        key_pair,
    })
}

/// Opens the sealed token.
pub(crate) fn open_token(key_pair: &KeyPair, encrypted: &str) -> Result<Token, UnlockError> {
    let sealed = from_base64(encrypted).map_err(damaged("the session token"))?;
    let bytes = sealed_box::open(key_pair, &sealed).map_err(damaged("the session token"))?;
    let bytes = zeroize::Zeroizing::new(bytes);
    Token::from_bytes(&bytes).map_err(damaged("the session token"))
}

fn damaged<E>(what: &'static str) -> impl Fn(E) -> UnlockError {
    move |_| UnlockError::Damaged(what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn the_golden_password_opens_the_golden_keys() {
        let golden = golden::account();
        let attributes = golden::attributes();
        let password = golden["password"].as_str().unwrap();
        let kek = derive_kek(password.as_bytes(), &attributes).unwrap();
        let keys = unlock(&kek, &attributes).unwrap();
        let bytes = |name: &str| from_base64(golden[name].as_str().unwrap()).unwrap();
        assert_eq!(keys.master_key.expose()[..], bytes("masterKey"));
        assert_eq!(keys.key_pair.secret().expose()[..], bytes("secretKey"));
        let token = open_token(&keys.key_pair, golden["encryptedToken"].as_str().unwrap());
        assert_eq!(*token.unwrap().text(), golden["token"].as_str().unwrap());
    }

    #[test]
    fn each_damage_has_its_name() {
        let good = golden::attributes();
        let kek =
            Kek::try_from(&from_base64(golden::account()["kek"].as_str().unwrap()).unwrap()[..]);
        let kek = kek.unwrap();
        let other = golden::account()["masterKey"].as_str().unwrap().to_owned();
        let change = |edit: &dyn Fn(&mut KeyAttributes)| {
            let mut attributes = good.clone();
            edit(&mut attributes);
            unlock(&kek, &attributes).unwrap_err().to_string()
        };
        for (found, expected) in [
            (
                change(&|a| a.encrypted_key = a.encrypted_secret_key.clone()),
                "the password does not match this account",
            ),
            (
                change(&|a| a.key_decryption_nonce = String::new()),
                "the master key of the account is damaged",
            ),
            (
                change(&|a| a.encrypted_secret_key = a.encrypted_key.clone()),
                "the secret key of the account is damaged",
            ),
            (
                change(&|a| a.public_key = other.clone()),
                "the public key of the account is damaged",
            ),
        ] {
            assert_eq!(found, expected);
        }
    }
}
