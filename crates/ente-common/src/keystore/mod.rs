//! Credentials at rest: one folder per account, in it `token` and `keys`, each readable by its
//! owner alone and complete in itself, so that either can be copied to another machine without
//! the other. The layout is in `docs/formats/keystore.md`.
//!
//! What they hold may be sealed: with a passphrase, or with a key in the system's own store.

mod accounts;
mod args;
mod error;
mod file;
mod keyring;
mod passphrase;
mod place;
mod seal;
#[cfg(test)]
#[cfg(feature = "crypto")]
mod tests;
#[cfg(feature = "crypto")]
mod transfer;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::manifest::{Account, private_dir};
use crate::token::Token;

pub use accounts::{Entry, Select, Unreadable};
pub use args::KeystoreArgs;
pub use error::KeystoreError;
use file::Credential;
use passphrase::Passphrase;
pub use passphrase::SEALED;
use place::folder_name;
pub use seal::Seal;

#[cfg(feature = "crypto")]
use {
    crate::crypto::{KeyPair, MasterKey, SecretKey},
    crate::model::{EntryError, OpenedCollection},
    crate::wire,
    serde::{Deserialize as _, Deserializer},
};

const TOKEN: &str = "token";
const KEYS: &str = "keys";
/// What a run may leave that was killed while it saved.
const LEFT_OVER: [&str; 2] = ["token.new", "keys.new"];
/// Names the folder of the account that is used where none is named.
const DEFAULT: &str = "default";
/// Held by the run that writes.
const LOCK: &str = "lock";

/// What lets a tool ask the server.
#[derive(Debug)]
pub struct TokenFile {
    /// Whose token it is, and of which server.
    pub account: Account,
    /// The token.
    pub token: Token,
}

/// What lets a tool decrypt.
#[cfg(feature = "crypto")]
#[derive(Debug)]
pub struct KeysFile {
    /// Whose keys they are.
    pub account: Account,
    /// Opens what the account owns.
    pub master_key: MasterKey,
    /// Opens what is shared with the account.
    pub key_pair: KeyPair,
}

#[cfg(feature = "crypto")]
impl KeysFile {
    /// Reads a collection from its JSON and opens it.
    ///
    /// # Errors
    /// As [`OpenedCollection::open`], and when it is no collection.
    pub fn read_collection<'de>(
        &self,
        json: impl Deserializer<'de, Error = serde_json::Error>,
    ) -> Result<OpenedCollection, EntryError> {
        let served = wire::Collection::deserialize(json)?;
        let user_id = self.account.user_id;
        let opened = OpenedCollection::open(&served, user_id, &self.master_key, &self.key_pair)?;
        Ok(opened)
    }
}

/// The folder that holds the credentials of all accounts.
#[derive(Debug, Clone)]
pub struct Keystore {
    dir: PathBuf,
    passphrase: Passphrase,
    /// How to seal what is saved; `None`: as before.
    seal: Option<Seal>,
}

/// One of the two files of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// Lets a tool ask the server.
    Token,
    /// Lets a tool decrypt.
    Keys,
}

impl Half {
    fn file(self) -> &'static str {
        match self {
            Self::Token => TOKEN,
            Self::Keys => KEYS,
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Token => Self::Keys,
            Self::Keys => Self::Token,
        }
    }

    fn missing(self, account: &Account) -> KeystoreError {
        KeystoreError::Missing {
            what: match self {
                Self::Token => "credentials for the server",
                Self::Keys => "keys",
            },
            account: Box::new(account.clone()),
        }
    }
}

impl Keystore {
    /// The keystore at `dir`, without anybody to ask for a passphrase. Nothing is read or made yet.
    pub fn open(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            passphrase: Passphrase::default(),
            seal: None,
        }
    }

    /// The same keystore, where what is saved from now on is sealed so.
    #[must_use]
    pub fn sealing(self, seal: Option<Seal>) -> Self {
        Self { seal, ..self }
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Loads the token of an account.
    ///
    /// # Errors
    /// As [`find`](Self::find), and when there is none or it cannot be read or unsealed.
    pub fn token(&self, select: Select<'_>) -> Result<TokenFile, KeystoreError> {
        self.open_token(&self.load(&self.find(select)?, Half::Token)?)
    }

    /// Saves a token; one of the same account is replaced.
    ///
    /// # Errors
    /// When it cannot be written; what was there is then still there.
    pub fn save_token(&self, account: &Account, token: &Token) -> Result<(), KeystoreError> {
        let body = file::TokenBody {
            token: &token.text(),
        };
        self.save(account, Half::Token, &file::to_json(&body))
    }

    /// Loads the keys of an account.
    ///
    /// # Errors
    /// As [`find`](Self::find), and when there are none, or they cannot be read or unsealed or do not fit together.
    #[cfg(feature = "crypto")]
    pub fn keys(&self, select: Select<'_>) -> Result<KeysFile, KeystoreError> {
        self.open_keys(&self.load(&self.find(select)?, Half::Keys)?)
    }

    /// Saves keys; those of the same account are replaced.
    ///
    /// # Errors
    /// When they cannot be written; what was there is then still there.
    #[cfg(feature = "crypto")]
    pub fn save_keys(
        &self,
        account: &Account,
        master_key: &MasterKey,
        key_pair: &KeyPair,
    ) -> Result<(), KeystoreError> {
        use crate::encoding::to_base64;
        use zeroize::Zeroizing;

        let body = file::KeysBody {
            master_key: &Zeroizing::new(to_base64(master_key.expose())),
            secret_key: &Zeroizing::new(to_base64(key_pair.secret().expose())),
            public_key: &to_base64(&key_pair.public().0),
        };
        self.save(account, Half::Keys, &file::to_json(&body))
    }

    /// Makes sure that the credentials of `entry`, or of a new account, can be sealed: has the passphrase at hand (a new one
    /// where a seal is asked for, else that of what is there), or the system's key store.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn prepare(&self, entry: Option<&Entry>) -> Result<(), KeystoreError> {
        match (self.seal, entry) {
            (Some(Seal::Passphrase), _) => self.passphrase.choose().map(drop),
            (Some(Seal::Keyring), _) => keyring::probe(),
            (None, Some(entry)) => self
                .load(entry, entry.sealed_half())?
                .body(&self.passphrase)
                .map(drop),
            (Some(Seal::None), _) | (None, None) => Ok(()),
        }
    }

    fn load(&self, entry: &Entry, half: Half) -> Result<Credential, KeystoreError> {
        let path = self.dir.join(&entry.folder).join(half.file());
        Credential::load(&path)?.ok_or_else(|| half.missing(&entry.account))
    }

    fn open_token(&self, saved: &Credential) -> Result<TokenFile, KeystoreError> {
        let body = saved.body(&self.passphrase)?;
        let body: file::TokenBody<'_> = saved.read_body(&body)?;
        Ok(TokenFile {
            account: saved.account().clone(),
            token: Token::parse(body.token)
                .map_err(|_| KeystoreError::Damaged(saved.path().to_owned()))?,
        })
    }

    #[cfg(feature = "crypto")]
    fn open_keys(&self, saved: &Credential) -> Result<KeysFile, KeystoreError> {
        let body = saved.body(&self.passphrase)?;
        let body: file::KeysBody<'_> = saved.read_body(&body)?;
        let damaged = || KeystoreError::Damaged(saved.path().to_owned());
        let key = |text: &str| decode_key(text).ok_or_else(damaged);
        let key_pair = KeyPair::new(SecretKey::from(*key(body.secret_key)?));
        if key_pair.public().0 != *key(body.public_key)? {
            return Err(damaged());
        }
        Ok(KeysFile {
            account: saved.account().clone(),
            master_key: MasterKey::from(*key(body.master_key)?),
            key_pair,
        })
    }

    /// The secret members of an unsealed body, without those of the file's head.
    fn only_secrets(
        &self,
        saved: &Credential,
        half: Half,
        body: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
        match half {
            Half::Token => Ok(file::to_json(
                &saved.read_body::<file::TokenBody<'_>>(body)?,
            )),
            #[cfg(feature = "crypto")]
            Half::Keys => Ok(file::to_json(&saved.read_body::<file::KeysBody<'_>>(body)?)),
            #[cfg(not(feature = "crypto"))]
            Half::Keys => Err(half.missing(saved.account())),
        }
    }

    fn save(&self, account: &Account, half: Half, body: &[u8]) -> Result<(), KeystoreError> {
        let _alone = self.lock()?;
        let before = self.before(account)?;
        let as_before = before.as_ref().map(Entry::seal);
        let seal = self.seal.or(as_before).unwrap_or_default();
        let text = file::encode(account, half.file(), body, seal, &self.passphrase)?;
        let folder = self.folder_for(account)?;
        file::write(&folder.join(half.file()), &text)?;
        // A seal on one half alone would protect less than it seems to.
        let other = half.other();
        match before {
            Some(entry) if seal != Seal::None && entry.has(other) == Some(Seal::None) => {
                let plain = self.load(&entry, other)?;
                let body = self.only_secrets(&plain, other, plain.text())?;
                let text =
                    file::encode(plain.account(), other.file(), &body, seal, &self.passphrase)?;
                file::write(&folder.join(other.file()), &text)
            }
            _ => Ok(()),
        }
    }

    /// Removes the credentials of an account from this machine.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn remove(&self, entry: &Entry) -> Result<(), KeystoreError> {
        if [entry.token, entry.keys].contains(&Some(Seal::Keyring)) {
            // Without its files the key opens nothing, so what the store says does not matter.
            let _ = keyring::forget(&entry.account);
        }
        self.remove_files(&entry.folder)
    }

    /// Removes the credentials in `folder`, which are damaged; to what session they belong cannot be told any more.
    ///
    /// # Errors
    /// When they are not damaged but cannot be read for another reason, or a file cannot be removed.
    pub fn remove_damaged(&self, folder: &str) -> Result<(), KeystoreError> {
        let (_, unreadable) = self.survey()?;
        let found = unreadable.into_iter().find(|it| it.folder == folder);
        match found.map(|it| it.error) {
            Some(KeystoreError::Damaged(_)) => self.remove_files(folder),
            Some(error) => Err(error),
            None => Err(KeystoreError::Unknown(folder.to_owned())),
        }
    }

    fn remove_files(&self, folder: &str) -> Result<(), KeystoreError> {
        let _alone = self.lock()?;
        let folder = self.dir.join(folder);
        for name in [TOKEN, KEYS].iter().chain(&LEFT_OVER) {
            let path = folder.join(name);
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(self.io(&path, source));
                }
                _ => {}
            }
        }
        // Stays where the user keeps something else in it.
        let _ = fs::remove_dir(&folder);
        Ok(())
    }

    /// Makes `entry` the account that is used where none is named.
    ///
    /// # Errors
    /// When the mark cannot be written.
    pub fn set_default(&self, entry: &Entry) -> Result<(), KeystoreError> {
        let _alone = self.lock()?;
        self.mark_default(entry)
    }

    fn mark_default(&self, entry: &Entry) -> Result<(), KeystoreError> {
        let path = self.dir.join(DEFAULT);
        crate::disk::write_whole(&path, format!("{}\n", entry.folder).as_bytes(), false)
            .map_err(|source| self.io(&path, source))
    }

    /// The folder of an account, for whoever holds the lock: the one it has, whatever its e-mail address was then, or a new
    /// one. The first account becomes the default, so that a second one changes nothing for it.
    fn folder_for(&self, account: &Account) -> Result<PathBuf, KeystoreError> {
        if let Some(entry) = self.before(account)? {
            return Ok(self.dir.join(&entry.folder));
        }
        if let [first] = &self.accounts()?[..] {
            self.mark_default(first)?;
        }
        let name = folder_name(account);
        let mut folder = self.dir.join(&name);
        let mut number = 1;
        // The same address on another server, or a folder that is not ours.
        while fs::symlink_metadata(&folder).is_ok() && !is_free(&folder) {
            folder = self.dir.join(format!("{name}_{number}"));
            number += 1;
        }
        private_dir(&folder).map_err(|source| self.io(&folder, source))?;
        Ok(folder)
    }

    /// Keeps other runs from writing here until the answer is dropped; makes the keystore where there is none.
    fn lock(&self) -> Result<Option<fs::File>, KeystoreError> {
        let made = self.dir.parent().map_or(Ok(()), crate::disk::make_dir_all);
        made.and_then(|()| private_dir(&self.dir))
            .map_err(|source| self.io(&self.dir, source))?;
        let path = self.dir.join(LOCK);
        let mut options = fs::File::options();
        let opened = options.create(true).truncate(false).write(true).open(&path);
        let file = opened.map_err(|source| self.io(&path, source))?;
        // Some network file systems have no locks. Each file is whole there too; two runs at once are then seldom enough.
        Ok(file.lock().is_ok().then_some(file))
    }

    fn io(&self, path: &Path, source: io::Error) -> KeystoreError {
        KeystoreError::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// Whether a folder holds nothing, or what a run left that was killed while it saved for the first time.
fn is_free(path: &Path) -> bool {
    let is_left_over = |item: io::Result<fs::DirEntry>| {
        item.is_ok_and(|item| LEFT_OVER.iter().any(|name| item.file_name() == *name))
    };
    fs::read_dir(path).is_ok_and(|mut listing| listing.all(is_left_over))
}

#[cfg(feature = "crypto")]
fn decode_key(text: &str) -> Option<zeroize::Zeroizing<[u8; 32]>> {
    let bytes = zeroize::Zeroizing::new(crate::encoding::from_base64(text).ok()?);
    bytes
        .as_slice()
        .try_into()
        .ok()
        .map(zeroize::Zeroizing::new)
}
