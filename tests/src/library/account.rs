//! Who signs in: credentials, keys, and how the server answers about them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::{Value, json};

use super::golden::golden_folder;
use super::seed::Seed;
use super::{decode, encode, seal};
use crate::museum::srp::verifier;
use crate::museum::{totp, uuid};

/// Limits of Argon2id for made-up accounts: low, so that tests that sign in are quick. Real accounts of this strength
/// exist.
const MEMORY_LIMIT: u32 = 8 * 1024 * 1024;
const PASSES_LIMIT: u32 = 2;
/// Real user IDs look like this one, beyond 32 bits.
const FIRST_USER_ID: i64 = 1_580_559_962_386_000;

/// An account with everything that a test may want to compare with, secrets included.
#[derive(Debug, Clone)]
pub struct Account {
    /// The user's ID.
    pub user_id: i64,
    /// The e-mail address, lower case.
    pub email: String,
    /// The password.
    pub password: String,
    /// Whether signing in takes a code of the second factor.
    pub totp_enabled: bool,
    /// The key of the second factor.
    pub totp_secret: Vec<u8>,
    /// Whether the server wants a code by e-mail before anything else.
    pub email_mfa: bool,
    /// Whether SRP is set up; else only a code by e-mail signs in.
    pub srp_set_up: bool,
    /// Whether the sign-up was ever finished.
    pub keys_set_up: bool,
    /// Whether a passkey is a second factor, alone or beside the code.
    pub passkey: Passkey,
    /// The master key.
    pub master_key: [u8; 32],
    /// The secret half of the key pair.
    pub secret_key: [u8; 32],
    /// The public half of the key pair.
    pub public_key: [u8; 32],
    pub(crate) srp_user_id: String,
    pub(crate) srp_salt: Vec<u8>,
    pub(crate) srp_verifier: Vec<u8>,
    /// What the server holds of the keys: all of it wrapped.
    pub key_attributes: Value,
    /// The recovery key.
    pub recovery_key: [u8; 32],
    tokens: Tokens,
}

/// A passkey as a second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passkey {
    /// There is none.
    None,
    /// The browser is waited for.
    Asks,
    /// The browser is quicker than the first question.
    Approves,
}

/// Where tokens come from.
#[derive(Debug, Clone)]
enum Tokens {
    /// The only token of the golden account, whose sealed form is part of the data.
    Fixed(Token),
    /// A new one for each sign-in.
    Fresh(Seed),
}

/// A session token, plain as the client sends it and sealed as the server hands it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// URL-safe base64 with padding.
    pub plain: String,
    /// The same 32 bytes in a sealed box, standard base64.
    pub sealed: String,
}

impl Account {
    /// The golden account, without its second factor.
    pub(super) fn golden() -> Self {
        let path = golden_folder().join("account.json");
        let file = std::fs::read(&path).expect("the golden account is part of the checkout");
        let golden: Value = serde_json::from_slice(&file).expect("the golden account is JSON");
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        Self {
            user_id: golden["userID"].as_i64().expect("an integer"),
            email: text(&golden["email"]),
            password: text(&golden["password"]),
            totp_enabled: false,
            totp_secret: base32(&text(&golden["totpSecret"])).expect("valid base32"),
            email_mfa: false,
            srp_set_up: true,
            keys_set_up: true,
            passkey: Passkey::None,
            master_key: key(&golden["masterKey"]),
            secret_key: key(&golden["secretKey"]),
            public_key: key(&golden["keyAttributes"]["publicKey"]),
            srp_user_id: text(&golden["srpAttributes"]["srpUserID"]),
            srp_salt: decode(&golden["srpAttributes"]["srpSalt"]),
            srp_verifier: decode(&golden["srpVerifier"]),
            key_attributes: with_every_member(&golden["keyAttributes"]),
            recovery_key: hex::decode(text(&golden["recoveryKey"]["hex"]))
                .ok()
                .and_then(|bytes| bytes.try_into().ok())
                .expect("32 bytes in hex"),
            tokens: Tokens::Fixed(Token {
                plain: text(&golden["token"]),
                sealed: text(&golden["encryptedToken"]),
            }),
        }
    }

    /// The code of the second factor at `unix_s`.
    pub fn totp_code(&self, unix_s: i64) -> String {
        totp::code(&self.totp_secret, unix_s)
    }

    /// An account made up from a seed, with a key pair, recovery key, verifier and second factor of its own.
    pub(super) fn new(seed: Seed, email: &str, password: &str) -> Self {
        let random_key = |label: &str| seed.bytes::<32>(label, &[]);
        let wrap = |key: &[u8; 32], label: &str, plain: &[u8]| {
            let nonce = seed.bytes(label, &[]);
            (encode(seal::secretbox(key, nonce, plain)), encode(nonce))
        };
        let kek_salt = seed.bytes::<16>("kek salt", &[]);
        let kek = seal::kek(password, &kek_salt, MEMORY_LIMIT, PASSES_LIMIT);
        let master_key = random_key("master key");
        let recovery_key = random_key("recovery key");
        let secret_key = random_key("secret key");
        let public_key = *crypto_box::SecretKey::from(secret_key)
            .public_key()
            .as_bytes();
        let (encrypted_key, key_nonce) = wrap(&kek, "master key nonce", &master_key);
        let (encrypted_secret, secret_nonce) = wrap(&master_key, "secret key nonce", &secret_key);
        let (recovered, recovered_nonce) = wrap(&recovery_key, "recovered nonce", &master_key);
        let (recovery, recovery_nonce) = wrap(&master_key, "recovery nonce", &recovery_key);
        let srp_user_id = uuid(seed.bytes("srp user", &[]));
        let srp_salt = seed.bytes::<16>("srp salt", &[]);
        let user_number = i64::from(u32::from_le_bytes(seed.bytes("user", &[])));
        Self {
            user_id: FIRST_USER_ID + user_number,
            email: email.to_lowercase(),
            password: password.to_owned(),
            totp_enabled: false,
            totp_secret: seed.bytes::<20>("totp", &[]).to_vec(),
            email_mfa: false,
            srp_set_up: true,
            keys_set_up: true,
            passkey: Passkey::None,
            master_key,
            secret_key,
            public_key,
            srp_verifier: verifier(&srp_user_id, &seal::login_key(&kek), &srp_salt).to_vec(),
            srp_user_id,
            srp_salt: srp_salt.to_vec(),
            key_attributes: with_every_member(&json!({
                "kekSalt": encode(kek_salt),
                "encryptedKey": encrypted_key,
                "keyDecryptionNonce": key_nonce,
                "publicKey": encode(public_key),
                "encryptedSecretKey": encrypted_secret,
                "secretKeyDecryptionNonce": secret_nonce,
                "memLimit": MEMORY_LIMIT,
                "opsLimit": PASSES_LIMIT,
                "masterKeyEncryptedWithRecoveryKey": recovered,
                "masterKeyDecryptionNonce": recovered_nonce,
                "recoveryKeyEncryptedWithMasterKey": recovery,
                "recoveryKeyDecryptionNonce": recovery_nonce,
            })),
            recovery_key,
            tokens: Tokens::Fresh(seed),
        }
    }

    /// The token of sign-in number `sign_in`.
    pub(crate) fn issue_token(&self, sign_in: i64) -> Token {
        match &self.tokens {
            Tokens::Fixed(token) => token.clone(),
            Tokens::Fresh(seed) => {
                let raw = seed.bytes::<32>("token", &[sign_in]);
                let random = seed.stream("token seal", &[sign_in]);
                let sealed = seal::sealed_box(&self.public_key, random, &raw);
                Token {
                    plain: URL_SAFE.encode(raw),
                    sealed: encode(sealed),
                }
            }
        }
    }

    /// What a server says of an address that it does not know, so that nobody can tell.
    pub(crate) fn invented_attributes() -> Value {
        json!({
            "srpUserID": uuid([9; 16]),
            "srpSalt": encode([9; 16]),
            "memLimit": MEMORY_LIMIT,
            "opsLimit": PASSES_LIMIT,
            "kekSalt": encode([9; 16]),
            "isEmailMFAEnabled": false,
        })
    }

    /// The answer to `GET /users/srp/attributes`.
    pub(crate) fn srp_attributes(&self) -> Value {
        json!({
            "srpUserID": self.srp_user_id,
            "srpSalt": encode(&self.srp_salt),
            "memLimit": self.key_attributes["memLimit"],
            "opsLimit": self.key_attributes["opsLimit"],
            "kekSalt": self.key_attributes["kekSalt"],
            "isEmailMFAEnabled": self.email_mfa,
        })
    }
}

fn key(value: &Value) -> [u8; 32] {
    decode(value).try_into().expect("a key has 32 bytes")
}

/// The server writes all thirteen members; what the database lacks comes out empty.
fn with_every_member(attributes: &Value) -> Value {
    const MEMBERS: [&str; 13] = [
        "kekSalt",
        "kekHash",
        "encryptedKey",
        "keyDecryptionNonce",
        "publicKey",
        "encryptedSecretKey",
        "secretKeyDecryptionNonce",
        "memLimit",
        "opsLimit",
        "masterKeyEncryptedWithRecoveryKey",
        "masterKeyDecryptionNonce",
        "recoveryKeyEncryptedWithMasterKey",
        "recoveryKeyDecryptionNonce",
    ];
    MEMBERS
        .iter()
        .map(|name| {
            let value = attributes.get(*name).cloned();
            ((*name).to_owned(), value.unwrap_or_else(|| "".into()))
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Decodes RFC 4648 base32 without padding; `None` on any other character.
fn base32(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut out = Vec::with_capacity(text.len() * 5 / 8);
    let (mut bits, mut count) = (0u32, 0);
    for letter in text.bytes() {
        let value = ALPHABET.iter().position(|&known| known == letter)?;
        bits = bits << 5 | u32::try_from(value).ok()?;
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base32_equals_the_rfc() {
        for (text, expected) in [("", &b""[..]), ("MZXW6YTB", b"fooba"), ("MY", b"f")] {
            assert_eq!(base32(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(base32("M1"), None);
    }
}
