//! Which accounts the keystore holds, and which of them is meant.

use std::fs;
use std::io;

use super::file::{self, Credential};
use super::{DEFAULT, Half, KEYS, Keystore, KeystoreError, Seal, TOKEN};
use crate::manifest::Account;

/// Which of several accounts.
#[derive(Debug, Clone, Copy)]
pub enum Select<'a> {
    /// The only one, or the one marked as default.
    Default,
    /// By e-mail address, user ID, or the name of its folder.
    Named(&'a str),
    /// This one.
    Account(&'a Account),
    /// The one that an export belongs to; where it is not here the one that would be used anyway, for the export to refuse.
    Owner(&'a Account),
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

impl<'a> Select<'a> {
    /// The name, where one is said.
    pub fn name(self) -> Option<&'a str> {
        match self {
            Self::Named(name) => Some(name),
            Self::Within { name, .. } => name,
            Self::Default | Self::Account(_) | Self::Owner(_) => None,
        }
    }
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

/// A folder whose credentials cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    /// Its name in the keystore.
    pub folder: String,
    /// Why not.
    pub error: KeystoreError,
}

impl Entry {
    /// How what is saved for this account is to be sealed: as one half is, where the other is not.
    pub(super) fn seal(&self) -> Seal {
        let halves = [self.keys, self.token].into_iter().flatten();
        let mut sealed = halves.filter(|seal| *seal != Seal::None);
        sealed.next().unwrap_or_default()
    }

    /// A half that is sealed so.
    pub(super) fn sealed_half(&self) -> Half {
        match self.keys {
            Some(seal) if seal == self.seal() => Half::Keys,
            _ => Half::Token,
        }
    }

    pub(super) fn has(&self, half: Half) -> Option<Seal> {
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

impl Keystore {
    /// All accounts, by name of their folder.
    ///
    /// # Errors
    /// When the folder, or a credential file in it, cannot be read.
    pub fn accounts(&self) -> Result<Vec<Entry>, KeystoreError> {
        let (accounts, mut unreadable) = self.survey()?;
        unreadable.pop().map_or(Ok(accounts), |it| Err(it.error))
    }

    /// The accounts that can be read, by name of their folder, and what is wrong with the others.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn survey(&self) -> Result<(Vec<Entry>, Vec<Unreadable>), KeystoreError> {
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
                match self.entry(&folder) {
                    Ok(entry) => entries.extend(entry),
                    Err(error) => unreadable.push(Unreadable { folder, error }),
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
        if let Select::Owner(account) = select {
            return match self.find(Select::Account(account)) {
                Err(absent @ KeystoreError::Absent(_)) => {
                    self.find(Select::Default).map_err(|_| absent)
                }
                found => found,
            };
        }
        let (accounts, mut unreadable) = self.survey()?;
        let names = |entries: &[Entry]| entries.iter().map(|entry| entry.folder.clone()).collect();
        let meant = |entry: &Entry| match select {
            Select::Default => entry.is_default,
            Select::Account(account) | Select::Owner(account) => entry.account.is(account),
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
        let name = select.name();
        let all_names: Vec<_> = names(&accounts);
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
            (0, _) if !unreadable.is_empty() => {
                let named = |it: &Unreadable| Some(it.folder.as_str()) == name;
                let index = unreadable.iter().position(named).unwrap_or(0);
                Err(unreadable.swap_remove(index).error)
            }
            (0, Select::Account(account) | Select::Owner(account)) => {
                Err(KeystoreError::Absent(Box::new(account.clone())))
            }
            _ if all_names.is_empty() => Err(KeystoreError::Empty),
            (_, Select::Default) => Err(KeystoreError::Several(all_names)),
            (0, Select::Within { endpoint, app, .. }) => {
                let said = [name, endpoint, app].into_iter().flatten();
                Err(KeystoreError::Unknown(said.collect::<Vec<_>>().join(" ")))
            }
            (0, Select::Named(name)) => Err(KeystoreError::Unknown(name.to_owned())),
            _ => Err(KeystoreError::Several(names(&found))),
        }
    }

    /// What is saved for this account already.
    pub(super) fn before(&self, account: &Account) -> Result<Option<Entry>, KeystoreError> {
        let (entries, mut unreadable) = self.survey()?;
        let found = entries.into_iter().find(|entry| entry.account.is(account));
        match (found, unreadable.pop()) {
            // It may be that one.
            (None, Some(unreadable)) => Err(unreadable.error),
            (found, _) => Ok(found),
        }
    }

    /// What a folder holds, if it is one of ours.
    fn entry(&self, folder: &str) -> Result<Option<Entry>, KeystoreError> {
        let path = self.dir.join(folder);
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
            folder: folder.to_owned(),
            token: token_seal,
            keys: keys_seal,
            is_default: false,
        }))
    }
}
