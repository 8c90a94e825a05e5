//! The seal on a credential file: Argon2id and XChaCha20-Poly1305, or a key from the system's store.
//!
//! ```text
//! key    = Argon2id 1.3(passphrase, salt(16), mem_limit / 1024 KiB, ops_limit passes, 1 lane), 32 bytes
//! sealed = XChaCha20-Poly1305(key, nonce(24), AAD, body)       ciphertext ‖ MAC(16)
//! AAD    = "ente-tools keystore 1\n" HOLDS "\n" ENDPOINT "\n" APP "\n" USER-ID "\n"
//! ```
//!
//! The AAD binds the body to its account and to which of the two files it is.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::encoding::{array_from_base64, from_base64, to_base64};
use crate::manifest::Account;

/// What a new seal costs: a quarter of a second on an ordinary computer, for each tool that opens it.
const MEM_LIMIT_BYTES: u64 = 64 << 20;
const OPS_LIMIT: u32 = 4;

/// The most that a file may ask of us.
const MAX_MEM_LIMIT_BYTES: u64 = 4 << 30;
const MAX_WORK: u64 = 1 << 36;

/// How credentials are protected beyond the permissions of their files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Seal {
    /// Not.
    #[default]
    None,
    /// With a passphrase that each tool needs.
    Passphrase,
    /// With a key in the system's own store.
    Keyring,
}

impl Seal {
    /// As the files name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Passphrase => "passphrase",
            Self::Keyring => "keyring",
        }
    }

    /// The seal that a file names; `None` if this build does not know it.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::None, Self::Passphrase, Self::Keyring]
            .into_iter()
            .find(|seal| seal.as_str() == name)
    }
}

/// A sealed body, as it stands in a file in place of the plain one.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sealed {
    /// Which of the two files it is: `token` or `keys`.
    pub(super) holds: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mem_limit: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ops_limit: Option<u32>,
    nonce: String,
    sealed: String,
}

/// Why a seal did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// The passphrase is wrong, or the file was altered.
    DoesNotOpen,
    /// It cannot be a sealed file of ours.
    Malformed,
    /// There is not enough memory.
    OutOfMemory,
}

impl Sealed {
    /// Seals `body` with a passphrase. `random` is fresh.
    pub(super) fn with_passphrase(
        holds: &str,
        account: &Account,
        body: &[u8],
        passphrase: &[u8],
        random: &[u8; 40],
    ) -> Result<Self, Broken> {
        let (salt, nonce) = random.split_at(16);
        let key = derive(passphrase, salt, MEM_LIMIT_BYTES, OPS_LIMIT)?;
        Ok(Self {
            salt: Some(to_base64(salt)),
            mem_limit: Some(MEM_LIMIT_BYTES),
            ops_limit: Some(OPS_LIMIT),
            ..Self::with_key(holds, account, body, &key, nonce)?
        })
    }

    /// Seals `body` with a key from elsewhere. The nonce (24) is fresh.
    pub(super) fn with_key(
        holds: &str,
        account: &Account,
        body: &[u8],
        key: &[u8; 32],
        nonce: &[u8],
    ) -> Result<Self, Broken> {
        let nonce: [u8; 24] = nonce.try_into().map_err(|_| Broken::Malformed)?;
        let payload = Payload {
            msg: body,
            aad: &bound_to(holds, account),
        };
        let sealed = XChaCha20Poly1305::new(key.into())
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| Broken::Malformed)?;
        Ok(Self {
            holds: holds.to_owned(),
            salt: None,
            mem_limit: None,
            ops_limit: None,
            nonce: to_base64(&nonce),
            sealed: to_base64(&sealed),
        })
    }

    /// The body, if this is its passphrase.
    pub(super) fn open_with_passphrase(
        &self,
        account: &Account,
        passphrase: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Broken> {
        let (Some(salt), Some(memory), Some(passes)) = (&self.salt, self.mem_limit, self.ops_limit)
        else {
            return Err(Broken::Malformed);
        };
        let salt: [u8; 16] = array_from_base64(salt).map_err(|_| Broken::Malformed)?;
        self.open_with_key(account, &*derive(passphrase, &salt, memory, passes)?)
    }

    /// The body, if this is its key.
    pub(super) fn open_with_key(
        &self,
        account: &Account,
        key: &[u8; 32],
    ) -> Result<Zeroizing<Vec<u8>>, Broken> {
        let nonce: [u8; 24] = array_from_base64(&self.nonce).map_err(|_| Broken::Malformed)?;
        let sealed = from_base64(&self.sealed).map_err(|_| Broken::Malformed)?;
        let payload = Payload {
            msg: &sealed,
            aad: &bound_to(&self.holds, account),
        };
        XChaCha20Poly1305::new(key.into())
            .decrypt(&XNonce::from(nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| Broken::DoesNotOpen)
    }
}

/// The e-mail address is left out: it can change.
fn bound_to(holds: &str, account: &Account) -> Vec<u8> {
    let (endpoint, app, user) = (&account.endpoint, &account.app, account.user_id);
    format!("ente-tools keystore 1\n{holds}\n{endpoint}\n{app}\n{user}\n").into_bytes()
}

fn derive(
    passphrase: &[u8],
    salt: &[u8],
    mem_limit_bytes: u64,
    ops_limit: u32,
) -> Result<Zeroizing<[u8; 32]>, Broken> {
    let work = mem_limit_bytes.saturating_mul(ops_limit.into());
    if mem_limit_bytes > MAX_MEM_LIMIT_BYTES || work > MAX_WORK {
        return Err(Broken::Malformed);
    }
    let params = u32::try_from(mem_limit_bytes / 1024)
        .ok()
        .and_then(|kib| Params::new(kib, ops_limit, 1, Some(32)).ok())
        .ok_or(Broken::Malformed)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, salt, &mut *key)
        .map_err(|error| match error {
            argon2::Error::OutOfMemory => Broken::OutOfMemory,
            _ => Broken::Malformed,
        })?;
    Ok(key)
}
