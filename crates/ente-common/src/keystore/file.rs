//! The two credential files, `token` and `keys`: what stands in them and how they are read.
//!
//! Each names its account, so that a machine which holds only one of them knows whose it is.
//! The layout is in `docs/formats/keystore.md`. Secrets are decoded straight from the buffer that
//! the file was read into, and that buffer is wiped.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::KeystoreError;
use crate::disk;
use crate::manifest::Account;

/// The newest format that this build reads, and the one that it writes.
const FORMAT: u32 = 1;

/// The only seal that this build knows: secrets stand in the file as they are.
const NO_SEAL: &str = "none";

/// No honest credential file is larger.
const MAX_BYTES: u64 = 64 * 1024;

/// What both files begin with.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    format: u32,
    seal: String,
    pub(super) account: Account,
}

impl Head {
    pub(super) fn new(account: &Account) -> Self {
        Self {
            format: FORMAT,
            seal: NO_SEAL.to_owned(),
            account: account.clone(),
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct TokenBody<'a> {
    #[serde(borrow)]
    pub(super) token: &'a str,
}

#[cfg(feature = "crypto")]
#[derive(Serialize, Deserialize)]
pub(super) struct KeysBody<'a> {
    #[serde(borrow)]
    pub(super) master_key: &'a str,
    #[serde(borrow)]
    pub(super) secret_key: &'a str,
    #[serde(borrow)]
    pub(super) public_key: &'a str,
}

/// Reads a file whole into memory that is wiped; `None` if it is not there.
///
/// Refuses a file that anybody but its owner can read or write.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, KeystoreError> {
    let failed = |source| KeystoreError::Io {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.map_err(failed)?,
    };
    // Asked of the open file: what is checked is what is read.
    let metadata = file.metadata().map_err(failed)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(KeystoreError::Exposed(path.to_owned()));
        }
    }
    // The whole size at once: a buffer that grows leaves copies behind.
    let size = metadata.len().min(MAX_BYTES);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size as usize + 1));
    file.take(size).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

/// Reads what both files begin with and refuses what this build cannot open.
pub(super) fn head(bytes: &[u8], path: &Path) -> Result<Head, KeystoreError> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let format: Format = parse(bytes, path)?;
    if format.format > FORMAT {
        return Err(KeystoreError::TooNew {
            path: path.to_owned(),
            found: format.format,
        });
    }
    let head: Head = parse(bytes, path)?;
    if head.seal != NO_SEAL {
        return Err(KeystoreError::Sealed(path.to_owned()));
    }
    Ok(head)
}

/// Parses a part of the file; members that are not asked for are ignored.
pub(super) fn parse<'a, T: Deserialize<'a>>(
    bytes: &'a [u8],
    path: &Path,
) -> Result<T, KeystoreError> {
    // The parser's message may quote a secret, so it is not kept.
    serde_json::from_slice(bytes).map_err(|_| KeystoreError::Damaged(path.to_owned()))
}

/// Writes head and body as one object, whole or not at all, readable by its owner alone.
pub(super) fn write(path: &Path, head: &Head, body: &impl Serialize) -> Result<(), KeystoreError> {
    let failed = |source| KeystoreError::Io {
        path: path.to_owned(),
        source,
    };
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_BYTES as usize));
    join(&mut text, head, body).map_err(|error| failed(error.into()))?;
    disk::write_whole(path, &text, true).map_err(failed)
}

/// `{…head}` and `{…body}` become `{…head,…body}`; `serde(flatten)` would copy the secrets around.
fn join(text: &mut Vec<u8>, head: &Head, body: &impl Serialize) -> serde_json::Result<()> {
    serde_json::to_writer(&mut *text, head)?;
    let seam = text.len() - 1;
    serde_json::to_writer(&mut *text, body)?;
    text.splice(seam..seam + 2, [b',']);
    text.push(b'\n');
    Ok(())
}
