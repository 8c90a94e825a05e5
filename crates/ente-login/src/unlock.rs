//! From the KEK or the recovery key to the account's keys. Pure: no network, no files.

use ente_common::crypto::kdf::KdfError;
use ente_common::crypto::{
    Kek, KeyPair, MasterKey, Nonce, RecoveryKey, SecretKey, sealed_box, secretbox,
};
use ente_common::encoding::{EncodingError, array_from_base64, from_base64};
use ente_common::token::Token;
use ente_common::wire::KeyAttributes;

/// What a password or recovery key opens.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) master_key: MasterKey,
    pub(crate) key_pair: KeyPair,
}

/// Why nothing was opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnlockError {
    #[error("the password does not match this account")]
    WrongPassword,
    #[error("the recovery key does not match this account")]
    WrongRecoveryKey,
    #[error("this account never had a recovery key")]
    NoRecoveryKey,
    #[error("{0} of the account is damaged")]
    Damaged(&'static str),
    #[error(transparent)]
    Kdf(#[from] KdfError),
}

/// Opens the keys with what the password gives.
pub(crate) fn with_kek(kek: &Kek, attributes: &KeyAttributes) -> Result<Keys, UnlockError> {
    let (text, nonce) = (&attributes.encrypted_key, &attributes.key_decryption_nonce);
    let (wrapped, nonce) = decode(text, nonce).map_err(damaged("the master key"))?;
    // Nothing else can be wrong with an intact secretbox.
    let master_key =
        secretbox::unwrap(kek, &nonce, &wrapped).map_err(|_| UnlockError::WrongPassword)?;
    key_pair(master_key, attributes)
}

/// Opens the keys with the recovery key.
pub(crate) fn with_recovery_key(
    key: &RecoveryKey,
    attributes: &KeyAttributes,
) -> Result<Keys, UnlockError> {
    let text = &attributes.master_key_encrypted_with_recovery_key;
    let nonce = &attributes.master_key_decryption_nonce;
    if text.is_empty() {
        return Err(UnlockError::NoRecoveryKey);
    }
    let (wrapped, nonce) = decode(text, nonce).map_err(damaged("the master key"))?;
    let master_key =
        secretbox::unwrap(key, &nonce, &wrapped).map_err(|_| UnlockError::WrongRecoveryKey)?;
    key_pair(master_key, attributes)
}

fn decode(text: &str, nonce: &str) -> Result<(Vec<u8>, Nonce), EncodingError> {
    Ok((from_base64(text)?, array_from_base64(nonce)?))
}

/// Completes the master key with the key pair, which is checked against the public key.
fn key_pair(master_key: MasterKey, attributes: &KeyAttributes) -> Result<Keys, UnlockError> {
    let text = &attributes.encrypted_secret_key;
    let nonce = &attributes.secret_key_decryption_nonce;
    let (wrapped, nonce) = decode(text, nonce).map_err(damaged("the secret key"))?;
    let secret_key: SecretKey =
        secretbox::unwrap(&master_key, &nonce, &wrapped).map_err(damaged("the secret key"))?;

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
    use ente_common::crypto::recovery;

    use super::*;
    use crate::golden;

    fn kek() -> Kek {
        let bytes = from_base64(golden::account()["kek"].as_str().unwrap()).unwrap();
        Kek::try_from(&bytes[..]).unwrap()
    }

    #[test]
    fn password_and_recovery_key_open_the_same_keys() {
        let golden = golden::account();
        let attributes = golden::attributes();
        let words = golden["recoveryKey"]["mnemonic"].as_str().unwrap();
        let recovery_key = recovery::parse(words).unwrap();
        for keys in [
            with_kek(&kek(), &attributes).unwrap(),
            with_recovery_key(&recovery_key, &attributes).unwrap(),
        ] {
            let bytes = |name: &str| from_base64(golden[name].as_str().unwrap()).unwrap();
            assert_eq!(keys.master_key.expose()[..], bytes("masterKey"));
            assert_eq!(keys.key_pair.secret().expose()[..], bytes("secretKey"));
            let token = open_token(&keys.key_pair, golden["encryptedToken"].as_str().unwrap());
            assert_eq!(*token.unwrap().text(), golden["token"].as_str().unwrap());
        }
    }

    #[test]
    fn a_recovery_key_that_does_not_fit_is_told_from_one_that_never_was() {
        let mut attributes = golden::attributes();
        let failed = |attributes: &KeyAttributes| {
            let other = RecoveryKey::from([7; 32]);
            with_recovery_key(&other, attributes)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            failed(&attributes),
            "the recovery key does not match this account"
        );
        attributes.master_key_encrypted_with_recovery_key.clear();
        assert_eq!(failed(&attributes), "this account never had a recovery key");
    }

    #[test]
    fn a_token_that_is_none_is_refused() {
        let keys = with_kek(&kek(), &golden::attributes()).unwrap();
        for sealed in [
            "",
            "AAAA",
            golden::account()["keyAttributes"]["encryptedKey"]
                .as_str()
                .unwrap(),
        ] {
            let error = open_token(&keys.key_pair, sealed).unwrap_err();
            assert_eq!(
                error.to_string(),
                "the session token of the account is damaged"
            );
        }
    }

    #[test]
    fn each_damage_has_its_name() {
        let good = golden::attributes();
        let other = golden::account()["masterKey"].as_str().unwrap().to_owned();
        let change = |edit: &dyn Fn(&mut KeyAttributes)| {
            let mut attributes = good.clone();
            edit(&mut attributes);
            with_kek(&kek(), &attributes).unwrap_err().to_string()
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
