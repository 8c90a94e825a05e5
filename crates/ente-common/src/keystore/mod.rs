//! Credentials at rest: one folder per account, in it `token` and `keys`, each readable by its
//! owner alone and complete in itself, so that either can be copied to another machine without
//! the other. The layout is in `docs/formats/keystore.md`.
//!
//! What they hold may be sealed: with a passphrase, or with a key in the system's own store.

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

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::exit::{Exit, Failure};
use crate::manifest::{Account, private_dir};
use crate::token::Token;

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
/// Names the folder of the account that is used where none is named.
const DEFAULT: &str = "default";

/// Which of several accounts.
#[derive(Debug, Clone, Copy)]
pub enum Select<'a> {
    /// The only one, or the one marked as default.
    Default,
    /// By e-mail address, user ID, or the name of its folder.
    Named(&'a str),
    /// The account that an export belongs to.
    Account(&'a Account),
    /// As far as it is said: the name as above, the server, the app. Of several, the one marked as default.
    Within {
        /// E-mail address, user ID or folder.
        name: Option<&'a str>,
        /// The server's address, normalised.
        endpoint: Option<&'a str>,
        /// `photos` or `locker`.
        app: Option<&'a str>,
    },
}

/// One account of the keystore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose credentials they are.
    pub account: Account,
    /// Name of its folder in the keystore.
    pub folder: String,
    /// How the token is sealed, if one is there.
    pub token: Option<Seal>,
    /// How the keys are sealed, if they are there.
    pub keys: Option<Seal>,
    /// Whether it is the one used where none is named.
    pub is_default: bool,
}

impl Entry {
    /// How what is saved for this account is to be sealed: as one half is, where the other is not.
    fn seal(&self) -> Seal {
        let halves = [self.keys, self.token].into_iter().flatten();
        let mut sealed = halves.filter(|seal| *seal != Seal::None);
        sealed.next().unwrap_or_default()
    }

    /// A half that is sealed so.
    fn sealed_half(&self) -> Half {
        match self.keys {
            Some(seal) if seal == self.seal() => Half::Keys,
            _ => Half::Token,
        }
    }

    fn has(&self, half: Half) -> Option<Seal> {
        match half {
            Half::Token => self.token,
            Half::Keys => self.keys,
        }
    }

    fn is_called(&self, name: &str) -> bool {
        self.account.email.eq_ignore_ascii_case(name)
            || self.account.user_id.to_string() == name
            || self.folder == name
    }
}

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
            account: account.email.clone(),
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

    /// All accounts, by name of their folder.
    ///
    /// # Errors
    /// When the folder, or a credential file in it, cannot be read.
    pub fn accounts(&self) -> Result<Vec<Entry>, KeystoreError> {
        let (accounts, mut unreadable) = self.survey()?;
        unreadable.pop().map_or(Ok(accounts), Err)
    }

    /// The accounts that can be read, by name of their folder, and what is wrong with the others.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn survey(&self) -> Result<(Vec<Entry>, Vec<KeystoreError>), KeystoreError> {
        let failed = |source| self.io(&self.dir, source);
        let listing = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Default::default()),
            result => result.map_err(failed)?,
        };
        let metadata = fs::metadata(&self.dir).map_err(failed)?;
        file::refuse_if_open_to(0o022, &metadata, &self.dir)?;
        let (mut entries, mut unreadable) = (Vec::new(), Vec::new());
        for item in listing {
            let item = item.map_err(failed)?;
            // A name of ours is ASCII; whatever else lies here is not ours.
            let Ok(folder) = item.file_name().into_string() else {
                continue;
            };
            if item.path().is_dir() {
                match self.entry(folder) {
                    Ok(entry) => entries.extend(entry),
                    Err(error) => unreadable.push(error),
                }
            }
        }
        entries.sort_by(|a, b| a.folder.cmp(&b.folder));
        let marked = fs::read_to_string(self.dir.join(DEFAULT)).unwrap_or_default();
        let only = entries.len() + unreadable.len() == 1;
        for entry in &mut entries {
            entry.is_default = only || entry.folder == marked.trim();
        }
        Ok((entries, unreadable))
    }

    /// Finds one account. Others that cannot be read are in nobody's way.
    ///
    /// # Errors
    /// When none or several could be meant.
    pub fn find(&self, select: Select<'_>) -> Result<Entry, KeystoreError> {
        let (accounts, mut unreadable) = self.survey()?;
        if accounts.is_empty() {
            return Err(unreadable.pop().unwrap_or(KeystoreError::Empty));
        }
        let names = |entries: &[Entry]| entries.iter().map(|entry| entry.folder.clone()).collect();
        let meant = |entry: &Entry| match select {
            Select::Default => entry.is_default,
            Select::Account(account) => entry.account.is(account),
            Select::Named(name) => entry.is_called(name),
            Select::Within {
                name,
                endpoint,
                app,
            } => {
                name.is_none_or(|name| entry.is_called(name))
                    && endpoint.is_none_or(|endpoint| entry.account.is_at(endpoint))
                    && app.is_none_or(|app| entry.account.app == app)
            }
        };
        let name = match select {
            Select::Named(name) => Some(name),
            Select::Within { name, .. } => name,
            Select::Default | Select::Account(_) => None,
        };
        let all_names = names(&accounts);
        let mut found: Vec<Entry> = accounts.into_iter().filter(meant).collect();
        // The address of one account may be the folder of another, on a second server.
        if let Some(name) = name
            && found.iter().any(|entry| entry.folder == name)
        {
            found.retain(|entry| entry.folder == name);
        }
        if name.is_none() && found.iter().any(|entry| entry.is_default) {
            found.retain(|entry| entry.is_default);
        }
        match (found.len(), select) {
            (1, _) => Ok(found.remove(0)),
            // It may be one of those.
            (0, _) if !unreadable.is_empty() => Err(unreadable.remove(0)),
            (_, Select::Default) => Err(KeystoreError::Several(all_names)),
            (0, Select::Account(account)) => Err(KeystoreError::Unknown(account.email.clone())),
            (0, Select::Within { endpoint, app, .. }) => {
                let said = [name, endpoint, app].into_iter().flatten();
                Err(KeystoreError::Unknown(said.collect::<Vec<_>>().join(" ")))
            }
            (0, Select::Named(name)) => Err(KeystoreError::Unknown(name.to_owned())),
            _ => Err(KeystoreError::Several(names(&found))),
        }
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

    /// One file of an account, complete in itself, for another machine: sealed as it is, or as this keystore is
    /// [`sealing`](Self::sealing).
    ///
    /// # Errors
    /// When it is not there, or has to be unsealed and cannot be.
    pub fn export(
        &self,
        select: Select<'_>,
        half: Half,
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, KeystoreError> {
        let saved = self.load(&self.find(select)?, half)?;
        match (self.seal, saved.seal()) {
            (None, Some(Seal::Keyring)) => Err(Failure::new(
                Exit::Usage,
                "the key that seals these credentials stays on this machine",
            )
            .hint("say how to seal the copy: `--seal passphrase` or `--seal none`")
            .into()),
            (None, _) => Ok(zeroize::Zeroizing::new(saved.text().to_vec())),
            (Some(seal), _) => {
                // A passphrase that opened it is not the one for the copy.
                let body = saved.body(&self.passphrase)?;
                let body = self.only_secrets(&saved, half, &body)?;
                let passphrase = self.passphrase.another();
                file::encode(saved.account(), half.file(), &body, seal, &passphrase)
            }
        }
    }

    /// Takes in a file that [`export`](Self::export) gave on another machine; `what` is its name, for messages. What comes
    /// plain is sealed as the other half is. Returns whose it is, and which half.
    ///
    /// # Errors
    /// When it is damaged, `allowed` says no, or it cannot be sealed or written.
    #[cfg(feature = "crypto")]
    pub fn import(
        &self,
        from: impl io::Read,
        what: &Path,
        allowed: impl FnOnce(&Account) -> Result<(), Failure>,
    ) -> Result<(Account, Half), KeystoreError> {
        let bytes = file::read(from).map_err(|source| self.io(what, source))?;
        let credential = Credential::parse(what, bytes)?;
        let account = credential.account().clone();
        let half = match credential.holds()?.as_str() {
            TOKEN => Half::Token,
            KEYS => Half::Keys,
            _ => return Err(KeystoreError::Damaged(what.to_owned())),
        };
        // What is sealed is looked into when it is used: who copies it need not have the passphrase.
        match (credential.seal(), half) {
            (Some(Seal::None), Half::Token) => drop(self.open_token(&credential)?),
            (Some(Seal::None), Half::Keys) => drop(self.open_keys(&credential)?),
            _ => {}
        }
        allowed(&account)?;
        let before = self.before(&account)?;
        let sealed = before.filter(|entry| entry.seal() != Seal::None);
        match (credential.seal(), sealed) {
            (Some(Seal::None), Some(entry)) => {
                self.prepare(Some(&entry))?;
                let body = self.only_secrets(&credential, half, credential.text())?;
                self.save(&account, half, &body)?;
            }
            _ => {
                let path = self.folder_for(&account)?.join(half.file());
                file::write(&path, credential.text())?;
            }
        }
        Ok((account, half))
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
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, KeystoreError> {
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

    /// What is saved for this account already.
    fn before(&self, account: &Account) -> Result<Option<Entry>, KeystoreError> {
        let (entries, mut unreadable) = self.survey()?;
        let found = entries.into_iter().find(|entry| entry.account.is(account));
        match (found, unreadable.pop()) {
            // It may be that one.
            (None, Some(error)) => Err(error),
            (found, _) => Ok(found),
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
        let folder = self.dir.join(&entry.folder);
        // The last two may be left from a run that was killed while it saved.
        for name in [TOKEN, KEYS, "token.new", "keys.new"] {
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
        let path = self.dir.join(DEFAULT);
        crate::disk::write_whole(&path, format!("{}\n", entry.folder).as_bytes(), false)
            .map_err(|source| self.io(&path, source))
    }

    /// What a folder holds, if it is one of ours.
    fn entry(&self, folder: String) -> Result<Option<Entry>, KeystoreError> {
        let path = self.dir.join(&folder);
        let token = Credential::load(&path.join(TOKEN))?;
        let keys = Credential::load(&path.join(KEYS))?;
        if let (Some(one), Some(other)) = (&token, &keys)
            && !one.account().is(other.account())
        {
            // Files of two accounts were copied into one folder.
            return Err(KeystoreError::Damaged(path));
        }
        let seal = |saved: &Option<Credential>| {
            let saved = saved.as_ref();
            let seal = saved.map(|saved| {
                let unknown = || KeystoreError::UnknownSeal(saved.path().to_owned());
                saved.seal().ok_or_else(unknown)
            });
            seal.transpose()
        };
        let (token_seal, keys_seal) = (seal(&token)?, seal(&keys)?);
        let Some(saved) = keys.or(token) else {
            return Ok(None);
        };
        let metadata = fs::metadata(&path).map_err(|source| self.io(&path, source))?;
        file::refuse_if_open_to(0o022, &metadata, &path)?;
        Ok(Some(Entry {
            account: saved.account().clone(),
            folder,
            token: token_seal,
            keys: keys_seal,
            is_default: false,
        }))
    }

    /// The folder of an account: the one it has, whatever its e-mail address was then, or a new
    /// one. The first account becomes the default, so that a second one changes nothing for it.
    fn folder_for(&self, account: &Account) -> Result<PathBuf, KeystoreError> {
        if let Some(entry) = self.before(account)? {
            return Ok(self.dir.join(&entry.folder));
        }
        let made = self.dir.parent().map_or(Ok(()), crate::disk::make_dir_all);
        made.and_then(|()| private_dir(&self.dir))
            .map_err(|source| self.io(&self.dir, source))?;
        if let [first] = &self.accounts()?[..] {
            self.set_default(first)?;
        }
        let name = folder_name(account);
        let mut folder = self.dir.join(&name);
        let mut number = 1;
        // The same address on another server, or a folder that is not ours.
        while fs::symlink_metadata(&folder).is_ok() && !is_empty_dir(&folder) {
            folder = self.dir.join(format!("{name}_{number}"));
            number += 1;
        }
        private_dir(&folder).map_err(|source| self.io(&folder, source))?;
        Ok(folder)
    }

    fn io(&self, path: &Path, source: io::Error) -> KeystoreError {
        KeystoreError::Io {
            path: path.to_owned(),
            source,
        }
    }
}

fn is_empty_dir(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut listing| listing.next().is_none())
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
