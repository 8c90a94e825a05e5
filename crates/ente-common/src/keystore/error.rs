//! What can go wrong with credentials, and what to do about it.

use std::io;
use std::path::PathBuf;

use crate::exit::{Exit, Failure, chain};

/// Why credentials were not found, read or saved.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// No account is signed in here.
    #[error("no account is signed in")]
    Empty,
    /// None of the accounts is the one that is meant.
    #[error("the account `{0}` is not signed in")]
    Unknown(String),
    /// More than one account could be meant.
    #[error("several accounts are signed in: {}", .0.join(", "))]
    Several(Vec<String>),
    /// The account is known, but this of its files is not here.
    #[error("there are no {what} of `{account}` on this machine")]
    Missing {
        /// `keys`, or `credentials for the server`.
        what: &'static str,
        /// The account's e-mail address.
        account: String,
    },
    /// Other users of the machine can get at the file.
    #[error("`{}` can be read or written by others", .0.display())]
    Exposed(PathBuf),
    /// The file is sealed, and this build cannot open seals.
    #[error("`{}` is sealed", .0.display())]
    Sealed(PathBuf),
    /// Not a credential file, or a damaged one.
    #[error("`{}` is damaged", .0.display())]
    Damaged(PathBuf),
    /// A newer release wrote the file.
    #[error("`{}` is in format {found}; this build reads format 1", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The system did not let us.
    #[error("cannot use `{}`", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl From<KeystoreError> for Failure {
    fn from(error: KeystoreError) -> Self {
        let new = |exit| Failure::new(exit, error.to_string());
        match &error {
            KeystoreError::Empty | KeystoreError::Unknown(_) | KeystoreError::Missing { .. } => {
                new(Exit::NotSignedIn)
                    .hint("run `ente-login EMAIL`; to decrypt an export, `ente-login --offline DIR` is enough")
            }
            KeystoreError::Several(_) => new(Exit::NotSignedIn)
                .hint("name one with `--account`, or choose one with `ente-login --default EMAIL`"),
            KeystoreError::Exposed(path) => {
                new(Exit::NotSignedIn).hint(format!("run `chmod 600 '{}'`", path.display()))
            }
            KeystoreError::Sealed(_) => new(Exit::NotSignedIn)
                .cause("this build cannot open sealed credentials")
                .hint("update the tools"),
            KeystoreError::Damaged(_) => {
                new(Exit::NotSignedIn).hint("remove it, then sign in again with `ente-login EMAIL`")
            }
            KeystoreError::TooNew { .. } => new(Exit::FormatTooNew)
                .cause("a newer release wrote it")
                .hint("update the tools; nothing was changed"),
            KeystoreError::Io { source, .. } => Failure::disk(chain(&error), source),
        }
    }
}
