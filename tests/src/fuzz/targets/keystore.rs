//! Credential files: what cannot be read is refused, and no message quotes it.

use std::fs;

use ente_common::exit::chain;
use ente_common::keystore::{Keystore, KeystoreError, Select};

use super::scratch;

/// What the corpus has for secrets begins with this.
const MARK: &str = "SECRET";

/// The first line is the file `token`, the rest is `keys`.
pub(in crate::fuzz) fn run(data: &[u8]) {
    let dir = scratch();
    let folder = dir.path().join("ada@example.org");
    fs::create_dir(&folder).expect("scratch");
    let end = data
        .iter()
        .position(|&byte| byte == b'\n')
        .unwrap_or(data.len());
    for (name, bytes) in [("token", &data[..end]), ("keys", &data[end..])] {
        if bytes.is_empty() {
            continue;
        }
        use std::os::unix::fs::PermissionsExt as _;
        let path = folder.join(name);
        fs::write(&path, bytes).expect("scratch");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("scratch");
    }
    let keystore = Keystore::open(dir.path());
    tells_nothing(&keystore.accounts());
    let token = keystore.token(Select::Default);
    tells_nothing(&token);
    if let Ok(token) = token {
        keystore
            .save_token(&token.account, &token.token)
            .expect("scratch");
        let again = keystore
            .token(Select::Account(&token.account))
            .expect("it was just saved");
        assert_eq!(again.token.text(), token.token.text());
    }
    let keys = keystore.keys(Select::Default);
    tells_nothing(&keys);
    if let Ok(keys) = keys {
        keystore
            .save_keys(&keys.account, &keys.master_key, &keys.key_pair)
            .expect("scratch");
        let again = keystore
            .keys(Select::Account(&keys.account))
            .expect("they were just saved");
        assert_eq!(again.master_key.expose(), keys.master_key.expose());
    }
}

/// Neither the error nor what a developer prints of the result holds a secret.
fn tells_nothing<T: std::fmt::Debug>(result: &Result<T, KeystoreError>) {
    assert!(!format!("{result:?}").contains(MARK));
    if let Err(error) = result {
        assert!(!chain(error).contains(MARK));
    }
}
