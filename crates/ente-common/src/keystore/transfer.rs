//! One half of an account's credentials on its way to another machine.

use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use super::file::{self, Credential};
use super::{Half, KEYS, Keystore, KeystoreError, Seal, Select, TOKEN};
use crate::exit::{Exit, Failure};
use crate::manifest::Account;

impl Keystore {
    /// One file of an account, complete in itself, for another machine: sealed as it is, or as this keystore is
    /// [`sealing`](Self::sealing).
    ///
    /// # Errors
    /// When it is not there, or has to be unsealed and cannot be.
    pub fn export(
        &self,
        select: Select<'_>,
        half: Half,
    ) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
        let saved = self.load(&self.find(select)?, half)?;
        match (self.seal, saved.seal()) {
            (None, Some(Seal::Keyring)) => Err(Failure::new(
                Exit::Usage,
                "the key that seals these credentials stays on this machine",
            )
            .hint("say how to seal the copy: `--seal passphrase` or `--seal none`")
            .into()),
            (None, _) => Ok(Zeroizing::new(saved.text().to_vec())),
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
                let _alone = self.lock()?;
                let path = self.folder_for(&account)?.join(half.file());
                file::write(&path, credential.text())?;
            }
        }
        Ok((account, half))
    }
}
