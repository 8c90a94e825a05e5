//! Credentials at rest: one folder per account, in it `token` and `keys`, each readable by its
//! owner alone and complete in itself, so that either can be copied to another machine without
//! the other. The layout is in `docs/formats/keystore.md`.
//!
//! Sealing the files is not here yet; the format has its place for it.

mod error;
mod file;
mod place;
#[cfg(test)]
#[cfg(feature = "crypto")]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::exit::{Exit, Failure};
use crate::manifest::{Account, private_dir};
use crate::token::Token;

pub use error::KeystoreError;
use place::{default_dir, folder_name};

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

/// Options of every tool that uses saved credentials.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct KeystoreArgs {
    /// Use this account, where several are signed in
    #[arg(
        long,
        value_name = "EMAIL|ID",
        env = "ENTE_ACCOUNT",
        hide_env_values = true
    )]
    pub account: Option<String>,

    /// Keep credentials in this folder instead of the user's configuration folder
    #[arg(
        long,
        value_name = "DIR",
        env = "ENTE_CONFIG_DIR",
        hide_env_values = true
    )]
    pub keystore: Option<PathBuf>,
}

impl KeystoreArgs {
    /// The keystore that is meant. Nothing is read or made yet.
    ///
    /// # Errors
    /// When neither an option nor the environment says where it is.
    pub fn open(&self) -> Result<Keystore, Failure> {
        let named = self
            .keystore
            .clone()
            .filter(|dir| !dir.as_os_str().is_empty());
        let dir = named.or_else(default_dir).ok_or_else(|| {
            Failure::new(Exit::Failed, "there is no place for credentials")
                .cause("no home folder is set in the environment")
                .hint("name a folder with `--keystore DIR` or `ENTE_CONFIG_DIR`")
        })?;
        Ok(Keystore::open(dir))
    }

    /// The account that is named, or [`Select::Default`].
    pub fn select(&self) -> Select<'_> {
        match self.account.as_deref() {
            None | Some("") => Select::Default,
            Some(name) => Select::Named(name),
        }
    }

    /// The keys of `owner`, whose export or records are at hand, or of the account that is named.
    ///
    /// # Errors
    /// When there are none (10), or only those of another account (12).
    #[cfg(feature = "crypto")]
    pub fn keys_of(&self, owner: &Account) -> Result<KeysFile, Failure> {
        let keystore = self.open()?;
        let keys = match self.select() {
            Select::Default => match keystore.keys(Select::Account(owner)) {
                // Somebody else is signed in: that is for the export to refuse.
                Err(KeystoreError::Unknown(_)) => keystore.keys(Select::Default),
                found => found,
            },
            named => keystore.keys(named),
        }?;
        if !keys.account.is(owner) {
            let what = format!("the export belongs to `{}`", owner.email);
            return Err(Failure::new(Exit::Refused, what)
                .cause(format!(
                    "the keys are those of `{}` at {}",
                    keys.account.email, keys.account.endpoint
                ))
                .hint("sign in with `ente-login`, or choose the account with `--account`"));
        }
        Ok(keys)
    }
}

/// Which of several accounts.
#[derive(Debug, Clone, Copy)]
pub enum Select<'a> {
    /// The only one, or the one marked as default.
    Default,
    /// By e-mail address, user ID, or the name of its folder.
    Named(&'a str),
    /// The account that an export belongs to.
    Account(&'a Account),
}

/// One account of the keystore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose credentials they are.
    pub account: Account,
    /// Name of its folder in the keystore.
    pub folder: String,
    /// Whether a token is there.
    pub has_token: bool,
    /// Whether keys are there.
    pub has_keys: bool,
    /// Whether it is the one used where none is named.
    pub is_default: bool,
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
}

impl Keystore {
    /// The keystore at `dir`. Nothing is read or made yet.
    pub fn open(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
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
        let failed = |source| self.io(&self.dir, source);
        let listing = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            result => result.map_err(failed)?,
        };
        let mut entries = Vec::new();
        for item in listing {
            let item = item.map_err(failed)?;
            // A name of ours is ASCII; whatever else lies here is not ours.
            let Ok(folder) = item.file_name().into_string() else {
                continue;
            };
            if item.path().is_dir() {
                entries.extend(self.entry(folder)?);
            }
        }
        entries.sort_by(|a, b| a.folder.cmp(&b.folder));
        let marked = fs::read_to_string(self.dir.join(DEFAULT)).unwrap_or_default();
        let only = entries.len() == 1;
        for entry in &mut entries {
            entry.is_default = only || entry.folder == marked.trim();
        }
        Ok(entries)
    }

    /// Finds one account.
    ///
    /// # Errors
    /// When none or several could be meant.
    pub fn find(&self, select: Select<'_>) -> Result<Entry, KeystoreError> {
        let accounts = self.accounts()?;
        if accounts.is_empty() {
            return Err(KeystoreError::Empty);
        }
        let names = |entries: &[Entry]| entries.iter().map(|entry| entry.folder.clone()).collect();
        let meant = |entry: &Entry| match select {
            Select::Default => entry.is_default,
            Select::Account(account) => entry.account.is(account),
            Select::Named(name) => {
                entry.account.email.eq_ignore_ascii_case(name)
                    || entry.account.user_id.to_string() == name
                    || entry.folder == name
            }
        };
        let all_names = names(&accounts);
        let mut found: Vec<Entry> = accounts.into_iter().filter(meant).collect();
        // The address of one account may be the folder of another, on a second server.
        if let Select::Named(name) = select
            && found.iter().any(|entry| entry.folder == name)
        {
            found.retain(|entry| entry.folder == name);
        }
        match (found.len(), select) {
            (1, _) => Ok(found.remove(0)),
            (_, Select::Default) => Err(KeystoreError::Several(all_names)),
            (0, Select::Named(name)) => Err(KeystoreError::Unknown(name.to_owned())),
            (0, Select::Account(account)) => Err(KeystoreError::Unknown(account.email.clone())),
            _ => Err(KeystoreError::Several(names(&found))),
        }
    }

    /// Loads the token of an account.
    ///
    /// # Errors
    /// As [`find`](Self::find), and when there is none or it cannot be read.
    pub fn token(&self, select: Select<'_>) -> Result<TokenFile, KeystoreError> {
        let entry = self.find(select)?;
        let path = self.dir.join(&entry.folder).join(TOKEN);
        let bytes = file::read(&path)?.ok_or(KeystoreError::Missing {
            what: "credentials for the server",
            account: entry.account.email,
        })?;
        let head = file::head(&bytes, &path)?;
        let body: file::TokenBody<'_> = file::parse(&bytes, &path)?;
        Ok(TokenFile {
            account: head.account,
            token: Token::parse(body.token).map_err(|_| KeystoreError::Damaged(path))?,
        })
    }

    /// Saves a token; one of the same account is replaced.
    ///
    /// # Errors
    /// When it cannot be written; what was there is then still there.
    pub fn save_token(&self, account: &Account, token: &Token) -> Result<(), KeystoreError> {
        let path = self.folder_for(account)?.join(TOKEN);
        let body = file::TokenBody {
            token: &token.text(),
        };
        file::write(&path, &file::Head::new(account), &body)
    }

    /// Loads the keys of an account.
    ///
    /// # Errors
    /// As [`find`](Self::find), and when there are none, or they cannot be read or do not fit
    /// together.
    #[cfg(feature = "crypto")]
    pub fn keys(&self, select: Select<'_>) -> Result<KeysFile, KeystoreError> {
        let entry = self.find(select)?;
        let path = self.dir.join(&entry.folder).join(KEYS);
        let bytes = file::read(&path)?.ok_or(KeystoreError::Missing {
            what: "keys",
            account: entry.account.email,
        })?;
        let head = file::head(&bytes, &path)?;
        let body: file::KeysBody<'_> = file::parse(&bytes, &path)?;
        let key = |text: &str| decode_key(text).ok_or_else(|| KeystoreError::Damaged(path.clone()));
        let key_pair = KeyPair::new(SecretKey::from(*key(body.secret_key)?));
        if key_pair.public().0 != *key(body.public_key)? {
            return Err(KeystoreError::Damaged(path));
        }
        Ok(KeysFile {
            account: head.account,
            master_key: MasterKey::from(*key(body.master_key)?),
            key_pair,
        })
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

        let path = self.folder_for(account)?.join(KEYS);
        let body = file::KeysBody {
            master_key: &Zeroizing::new(to_base64(master_key.expose())),
            secret_key: &Zeroizing::new(to_base64(key_pair.secret().expose())),
            public_key: &to_base64(&key_pair.public().0),
        };
        file::write(&path, &file::Head::new(account), &body)
    }

    /// Removes the credentials of an account from this machine.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn remove(&self, entry: &Entry) -> Result<(), KeystoreError> {
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
        let account = |name: &str| -> Result<Option<Account>, KeystoreError> {
            let path = self.dir.join(&folder).join(name);
            let Some(bytes) = file::read(&path)? else {
                return Ok(None);
            };
            Ok(Some(file::head(&bytes, &path)?.account))
        };
        let (token, keys) = (account(TOKEN)?, account(KEYS)?);
        let (has_token, has_keys) = (token.is_some(), keys.is_some());
        if let (Some(one), Some(other)) = (&token, &keys)
            && !one.is(other)
        {
            // Files of two accounts were copied into one folder.
            return Err(KeystoreError::Damaged(self.dir.join(&folder)));
        }
        Ok(token.or(keys).map(|account| Entry {
            account,
            folder,
            has_token,
            has_keys,
            is_default: false,
        }))
    }

    /// The folder of an account: the one it has, whatever its e-mail address was then, or a new
    /// one. The first account becomes the default, so that a second one changes nothing for it.
    fn folder_for(&self, account: &Account) -> Result<PathBuf, KeystoreError> {
        let accounts = self.accounts()?;
        if let Some(entry) = accounts.iter().find(|entry| entry.account.is(account)) {
            return Ok(self.dir.join(&entry.folder));
        }
        let made = self.dir.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| private_dir(&self.dir))
            .map_err(|source| self.io(&self.dir, source))?;
        if let [first] = &accounts[..] {
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
