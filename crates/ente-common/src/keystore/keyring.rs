//! A key in the system's own store: Secret Service, Keychain, Credential Manager. Only in builds with the feature `keyring`.

use zeroize::Zeroizing;

use super::KeystoreError;
use crate::exit::{Exit, Failure};
use crate::manifest::Account;

/// Whether there is a store to keep keys in.
///
/// # Errors
/// When there is none.
pub(super) fn probe() -> Result<(), KeystoreError> {
    store::load("probe").map(drop)
}

/// The key that seals this account's credentials.
pub(super) fn key(account: &Account) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
    store::load(&name(account))?.ok_or_else(|| {
        Failure::new(Exit::NotSignedIn, "the credentials stay sealed")
            .cause("the system's key store has no key for them")
            .hint(format!(
                "sign in again with `{} --seal keyring`",
                account.sign_in_line()
            ))
            .into()
    })
}

/// The key, made if there is none yet.
pub(super) fn key_or_new(account: &Account) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
    if let Some(key) = store::load(&name(account))? {
        return Ok(key);
    }
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *key).map_err(|error| {
        Failure::new(Exit::Failed, "this system gives no random numbers").cause(error)
    })?;
    store::save(&name(account), &key)?;
    Ok(key)
}

/// Forgets the key, as far as that is possible.
pub(super) fn forget(account: &Account) -> Result<(), KeystoreError> {
    store::remove(&name(account))
}

/// The e-mail address is left out: it can change.
fn name(account: &Account) -> String {
    format!("{} {} {}", account.endpoint, account.app, account.user_id)
}

#[cfg(not(feature = "keyring"))]
mod store {
    use super::*;

    pub(super) fn load(_: &str) -> Result<Option<Zeroizing<[u8; 32]>>, KeystoreError> {
        Err(absent())
    }

    pub(super) fn save(_: &str, _: &[u8; 32]) -> Result<(), KeystoreError> {
        Err(absent())
    }

    pub(super) fn remove(_: &str) -> Result<(), KeystoreError> {
        Err(absent())
    }

    fn absent() -> KeystoreError {
        Failure::new(
            Exit::NotSignedIn,
            "this build does not use the system's key store",
        )
        .hint(
            "install the tools with `cargo install --features keyring`, or use `--seal passphrase`",
        )
        .into()
    }
}

#[cfg(feature = "keyring")]
mod store {
    use ::keyring::v1::{Entry, Error};

    use super::*;
    use crate::exit::chain;

    const SERVICE: &str = "ente-tools";

    pub(super) fn load(name: &str) -> Result<Option<Zeroizing<[u8; 32]>>, KeystoreError> {
        let secret = match entry(name)?.get_secret() {
            Ok(secret) => Zeroizing::new(secret),
            Err(Error::NoEntry) => return Ok(None),
            Err(error) => return Err(failed(&error)),
        };
        let key = secret.as_slice().try_into().map(Zeroizing::new);
        key.map(Some).map_err(|_| {
            Failure::new(
                Exit::NotSignedIn,
                "the key in the system's key store is damaged",
            )
            .into()
        })
    }

    pub(super) fn save(name: &str, key: &[u8; 32]) -> Result<(), KeystoreError> {
        entry(name)?.set_secret(key).map_err(|error| failed(&error))
    }

    pub(super) fn remove(name: &str) -> Result<(), KeystoreError> {
        entry(name)?
            .delete_credential()
            .map_err(|error| failed(&error))
    }

    fn entry(name: &str) -> Result<Entry, KeystoreError> {
        if let Err(error) = Entry::store_status() {
            return Err(failed(error));
        }
        Entry::new(SERVICE, name).map_err(|error| failed(&error))
    }

    fn failed(error: &Error) -> KeystoreError {
        Failure::new(Exit::NotSignedIn, "the system's key store cannot be used")
            .cause(chain(error))
            .hint("unlock it, or sign in again with `ente-login --seal passphrase`")
            .into()
    }
}
