//! The two credential files, `token` and `keys`: what stands in them and how they are read.
//!
//! Each names its account, so that a machine which holds only one of them knows whose it is.
//! The layout is in `docs/formats/keystore.md`. Secrets are decoded straight from the buffer that
//! the file was read into, and that buffer is wiped.

use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::passphrase::Passphrase;
use super::seal::{Broken, Seal, Sealed};
use super::{KeystoreError, keyring};
use crate::disk;
use crate::exit::{Exit, Failure};
use crate::manifest::Account;

/// The newest format that this build reads, and the one that it writes.
const FORMAT: u32 = 1;

/// No honest credential file is larger.
const MAX_BYTES: u64 = 64 * 1024;

/// What both files begin with.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: u32,
    seal: String,
    account: Account,
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

/// A credential file that was read; what is sealed in it still is.
pub(super) struct Credential {
    path: PathBuf,
    head: Head,
    bytes: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("path", &self.path)
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}

impl Credential {
    /// Reads a file whole into memory that is wiped; `None` if it is not there.
    ///
    /// Refuses a file that anybody but its owner can read or write.
    pub(super) fn load(path: &Path) -> Result<Option<Self>, KeystoreError> {
        let failed = |source| KeystoreError::Io {
            path: path.to_owned(),
            source,
        };
        let file = match fs::File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(failed)?,
        };
        // Asked of the open file: what is checked is what is read.
        let metadata = file.metadata().map_err(failed)?;
        refuse_if_open_to(0o077, &metadata, path)?;
        let bytes = read(file).map_err(failed)?;
        Self::parse(path, bytes).map(Some)
    }

    /// Takes what was read from somewhere; `path` is for messages.
    pub(super) fn parse(path: &Path, bytes: Zeroizing<Vec<u8>>) -> Result<Self, KeystoreError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let format: Format = parse(&bytes, path)?;
        if format.format > FORMAT {
            return Err(KeystoreError::TooNew {
                path: path.to_owned(),
                found: format.format,
            });
        }
        Ok(Self {
            head: parse(&bytes, path)?,
            path: path.to_owned(),
            bytes,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whose it is.
    pub(super) fn account(&self) -> &Account {
        &self.head.account
    }

    /// How it is sealed; `None` if this build does not know.
    pub(super) fn seal(&self) -> Option<Seal> {
        Seal::named(&self.head.seal)
    }

    /// As it stands in the file.
    pub(super) fn text(&self) -> &[u8] {
        &self.bytes
    }

    /// Which of the two files it is.
    #[cfg(feature = "crypto")]
    pub(super) fn holds(&self) -> Result<String, KeystoreError> {
        #[derive(Deserialize)]
        struct Members {
            holds: Option<String>,
            token: Option<serde::de::IgnoredAny>,
        }
        let members: Members = parse(&self.bytes, &self.path)?;
        Ok(match (members.holds, members.token) {
            (Some(holds), _) => holds,
            (None, Some(_)) => super::TOKEN.to_owned(),
            (None, None) => super::KEYS.to_owned(),
        })
    }

    /// JSON with the secret members, unsealed. Others may be there too.
    pub(super) fn body(
        &self,
        passphrase: &Passphrase,
    ) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
        let broken = |broken| match broken {
            Broken::DoesNotOpen => KeystoreError::Damaged(self.path.clone()),
            broken => self.broken(broken),
        };
        match self.seal() {
            Some(Seal::None) => Ok(self.bytes.clone()),
            Some(Seal::Passphrase) => {
                let sealed: Sealed = parse(&self.bytes, &self.path)?;
                passphrase.open(self.account(), |passphrase| {
                    match sealed.open_with_passphrase(self.account(), passphrase) {
                        Ok(body) => Ok(Some(body)),
                        Err(Broken::DoesNotOpen) => Ok(None),
                        Err(broken) => Err(self.broken(broken)),
                    }
                })
            }
            Some(Seal::Keyring) => {
                let sealed: Sealed = parse(&self.bytes, &self.path)?;
                let key = keyring::key(self.account())?;
                sealed.open_with_key(self.account(), &key).map_err(broken)
            }
            None => Err(KeystoreError::UnknownSeal(self.path.clone())),
        }
    }

    fn broken(&self, broken: Broken) -> KeystoreError {
        match broken {
            Broken::OutOfMemory => {
                Failure::new(Exit::Failed, "there is not enough memory to open the seal").into()
            }
            _ => KeystoreError::Damaged(self.path.clone()),
        }
    }

    /// Parses a part of a body; members that are not asked for are ignored.
    pub(super) fn read_body<'a, T: Deserialize<'a>>(
        &self,
        body: &'a [u8],
    ) -> Result<T, KeystoreError> {
        parse(body, &self.path)
    }
}

/// What a credential file holds, as text, sealed in the way that is asked for.
pub(super) fn encode(
    account: &Account,
    holds: &str,
    body: &[u8],
    seal: Seal,
    passphrase: &Passphrase,
) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
    let head = Head {
        format: FORMAT,
        seal: seal.as_str().to_owned(),
        account: account.clone(),
    };
    let mut random = Zeroizing::new([0; 40]);
    getrandom::fill(&mut *random).map_err(|error| {
        Failure::new(Exit::Failed, "this system gives no random numbers").cause(error)
    })?;
    let sealed = match seal {
        Seal::None => return Ok(join(&head, body)),
        Seal::Passphrase => {
            let passphrase = match passphrase.known() {
                Some(known) => known,
                None => passphrase.choose()?,
            };
            Sealed::with_passphrase(holds, account, body, passphrase, &random)
        }
        Seal::Keyring => {
            let key = keyring::key_or_new(account)?;
            Sealed::with_key(holds, account, body, &key, &random[16..])
        }
    };
    let sealed = sealed.map_err(|broken| {
        Failure::new(Exit::Failed, "the credentials cannot be sealed").cause(match broken {
            Broken::OutOfMemory => "there is not enough memory",
            _ => "the key cannot be used",
        })
    })?;
    Ok(join(&head, &to_json(&sealed)))
}

/// A value of ours as JSON, in memory that is wiped.
pub(super) fn to_json(value: &impl Serialize) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_BYTES as usize));
    serde_json::to_writer(&mut *text, value).expect("our own types have a JSON form");
    text
}

/// `{…head}` and `{…body}` become `{…head,…body}`; `serde(flatten)` would copy the secrets around.
fn join(head: &Head, body: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut text = to_json(head);
    text.pop();
    text.push(b',');
    text.extend_from_slice(body.get(1..).unwrap_or_default());
    text.push(b'\n');
    text
}

/// Writes a credential file whole or not at all, readable by its owner alone.
pub(super) fn write(path: &Path, text: &[u8]) -> Result<(), KeystoreError> {
    disk::write_whole(path, text, true).map_err(|source| KeystoreError::Io {
        path: path.to_owned(),
        source,
    })
}

/// Reads what is no larger than a credential file, into memory that is wiped.
pub(super) fn read(reader: impl io::Read) -> io::Result<Zeroizing<Vec<u8>>> {
    // The whole size at once: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES as usize + 1));
    reader.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Refuses what has one of these permission bits.
pub(super) fn refuse_if_open_to(
    bits: u32,
    metadata: &fs::Metadata,
    path: &Path,
) -> Result<(), KeystoreError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if metadata.permissions().mode() & bits != 0 {
            return Err(KeystoreError::Exposed {
                path: path.to_owned(),
                is_dir: metadata.is_dir(),
            });
        }
    }
    #[cfg(not(unix))]
    let _ = (bits, metadata, path);
    Ok(())
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8], path: &Path) -> Result<T, KeystoreError> {
    // The parser's message may quote a secret, so it is not kept.
    serde_json::from_slice(bytes).map_err(|_| KeystoreError::Damaged(path.to_owned()))
}
