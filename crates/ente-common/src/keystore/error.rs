//! What can go wrong with credentials, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use super::{KEYS, TOKEN};
use crate::exit::{Exit, Failure};
use crate::manifest::Account;

/// Why credentials were not found, read or saved.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// No account is signed in here.
    #[error("no account is signed in")]
    Empty,
    /// None of the accounts is the one that is meant.
    #[error("the account `{0}` is not signed in")]
    Unknown(String),
    /// The account that an export belongs to is not signed in.
    #[error("the account `{}` is not signed in", .0.email)]
    Absent(Box<Account>),
    /// More than one account could be meant.
    #[error("several accounts are signed in: {}", .0.join(", "))]
    Several(Vec<String>),
    /// The account is known, but this of its files is not here.
    #[error("there are no {what} of `{}` on this machine", account.email)]
    Missing {
        /// `keys`, or `credentials for the server`.
        what: &'static str,
        /// The account.
        account: Box<Account>,
    },
    /// Other users of the machine can get at the file or folder.
    #[error("`{}` can be {} by others", path.display(), if *is_dir { "written" } else { "read or written" })]
    Exposed {
        /// The file or folder.
        path: PathBuf,
        /// It is a folder.
        is_dir: bool,
    },
    /// The file is sealed in a way that this build does not know.
    #[error("`{}` is sealed in an unknown way", .0.display())]
    UnknownSeal(PathBuf),
    /// The seal was not opened, or not made.
    #[error("{0}")]
    Seal(Box<Failure>),
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
            KeystoreError::Empty | KeystoreError::Unknown(_) => new(Exit::NotSignedIn).hint(
                "run `ente-login EMAIL`; to decrypt an export, `ente-login --offline DIR` is enough",
            ),
            KeystoreError::Absent(account) => new(Exit::NotSignedIn).hint(format!(
                "run `{}`; to decrypt an export, `ente-login --offline DIR` is enough",
                account.sign_in_line()
            )),
            KeystoreError::Missing { account, .. } => new(Exit::NotSignedIn)
                .hint(format!("sign in again with `{}`", account.sign_in_line())),
            KeystoreError::Several(_) => new(Exit::NotSignedIn)
                .hint("name one with `--account`, or choose one with `ente-login --default EMAIL`"),
            KeystoreError::Exposed { path, is_dir } => {
                let mode = if *is_dir { "700" } else { "600" };
                new(Exit::NotSignedIn).hint(format!("run `chmod {mode} '{}'`", path.display()))
            }
            KeystoreError::UnknownSeal(_) => new(Exit::NotSignedIn).hint("update the tools"),
            KeystoreError::Seal(failure) => Failure::clone(failure),
            KeystoreError::Damaged(path) => new(Exit::NotSignedIn).hint(format!(
                "run `ente-login --logout '{}'`, then sign in again",
                folder_of(path)
            )),
            KeystoreError::TooNew { .. } => new(Exit::FormatTooNew)
                .cause("a newer release wrote it")
                .hint("update the tools; nothing was changed"),
            KeystoreError::Io { source, .. } => Failure::disk(error.to_string(), source),
        }
    }
}

/// The folder in the keystore that a file, or the folder itself, belongs to.
fn folder_of(path: &Path) -> String {
    let is_file = path.ends_with(TOKEN) || path.ends_with(KEYS);
    let folder = if is_file { path.parent() } else { Some(path) };
    let name = folder.and_then(Path::file_name).unwrap_or_default();
    name.to_string_lossy().into_owned()
}

impl From<Failure> for KeystoreError {
    fn from(failure: Failure) -> Self {
        Self::Seal(Box::new(failure))
    }
}
