//! Options of the tools that use saved credentials.

use std::path::PathBuf;

use super::passphrase::PassphraseArgs;
use super::place::default_dir;
use super::{Keystore, Select};
use crate::cli::Io;
use crate::exit::{Exit, Failure};
use crate::manifest::Account;

#[cfg(feature = "crypto")]
use super::KeysFile;

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

    #[command(flatten)]
    passphrase: PassphraseArgs,
}

impl KeystoreArgs {
    /// The keystore that is meant, with somebody to ask for its passphrase. Nothing is read or made yet.
    ///
    /// # Errors
    /// When neither an option nor the environment says where it is.
    pub fn open(&self, io: &Io) -> Result<Keystore, Failure> {
        let named = self
            .keystore
            .clone()
            .filter(|dir| !dir.as_os_str().is_empty());
        let dir = named.or_else(default_dir).ok_or_else(|| {
            Failure::new(Exit::Failed, "there is no place for credentials")
                .cause("no home folder is set in the environment")
                .hint("name a folder with `--keystore DIR` or `ENTE_CONFIG_DIR`")
        })?;
        let passphrase = self.passphrase.resolve(io);
        Ok(Keystore {
            passphrase,
            ..Keystore::open(dir)
        })
    }

    /// The account that is named, or [`Select::Default`].
    pub fn select(&self) -> Select<'_> {
        match self.account.as_deref() {
            None | Some("") => Select::Default,
            Some(name) => Select::Named(name),
        }
    }

    /// The account that is named, else `owner`, whose export is at hand.
    pub fn select_for<'a>(&'a self, owner: &'a Account) -> Select<'a> {
        match self.select() {
            Select::Default => Select::Owner(owner),
            named => named,
        }
    }

    /// The keys of `owner`, whose export or records are at hand, or of the account that is named.
    ///
    /// # Errors
    /// When there are none (10), or only those of another account (12).
    #[cfg(feature = "crypto")]
    pub fn keys_of(&self, owner: &Account, io: &Io) -> Result<KeysFile, Failure> {
        let keys = self.open(io)?.keys(self.select_for(owner))?;
        if !keys.account.is(owner) {
            let what = format!("the export belongs to `{}`", owner.email);
            return Err(Failure::new(Exit::Refused, what)
                .cause(format!(
                    "the keys are those of `{}` at {}",
                    keys.account.email, keys.account.endpoint
                ))
                .hint(format!(
                    "run `{}`, or choose the account with `--account`",
                    owner.sign_in_line()
                )));
        }
        Ok(keys)
    }
}
