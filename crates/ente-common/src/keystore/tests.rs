//! What the keystore promises, tried on scratch folders.

use super::place::folder_name;
use super::*;
use crate::exit::Exit;

fn account(endpoint: &str, user_id: i64, email: &str) -> Account {
    Account {
        endpoint: endpoint.to_owned(),
        app: "photos".to_owned(),
        user_id,
        email: email.to_owned(),
    }
}

fn ada() -> Account {
    account("https://api.ente.com", 1, "ada@example.org")
}

fn bob() -> Account {
    account("https://api.ente.com", 2, "bob@example.org")
}

fn token(byte: u8) -> Token {
    Token::from_bytes(&[byte; 32]).unwrap()
}

fn keystore() -> (tempfile::TempDir, Keystore) {
    let dir = tempfile::tempdir().unwrap();
    let keystore = Keystore::open(dir.path().join("ente-tools"));
    (dir, keystore)
}

fn save_keys(keystore: &Keystore, account: &Account) {
    let pair = KeyPair::new(SecretKey::from([8; 32]));
    let master_key = MasterKey::from([9; 32]);
    keystore.save_keys(account, &master_key, &pair).unwrap();
}

#[test]
fn what_is_saved_is_loaded() {
    let (_dir, keystore) = keystore();
    assert!(matches!(
        keystore.token(Select::Default),
        Err(KeystoreError::Empty)
    ));
    keystore.save_token(&ada(), &token(1)).unwrap();
    keystore.save_token(&ada(), &token(7)).unwrap();
    save_keys(&keystore, &ada());
    let loaded = keystore.token(Select::Default).unwrap();
    assert_eq!((loaded.account, loaded.token), (ada(), token(7)));
    let keys = keystore.keys(Select::Named("ADA@example.org")).unwrap();
    assert_eq!(keys.master_key.expose(), &[9; 32]);
    assert_eq!(keys.key_pair.secret().expose(), &[8; 32]);
    let entry = &keystore.accounts().unwrap()[0];
    assert!(entry.has_token && entry.has_keys && entry.is_default);
}

#[test]
fn the_files_are_as_documented_and_private() {
    let (_dir, keystore) = keystore();
    keystore.save_token(&ada(), &token(7)).unwrap();
    save_keys(&keystore, &ada());
    let folder = keystore.dir().join("ada@example.org");
    let head = r#"{"format":1,"seal":"none","account":{"endpoint":"https://api.ente.com","app":"photos","user_id":1,"email":"ada@example.org"}"#;
    assert_eq!(
        fs::read_to_string(folder.join("token")).unwrap(),
        format!("{head},\"token\":\"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\"}}\n")
    );
    let keys = fs::read_to_string(folder.join("keys")).unwrap();
    let members = r#","master_key":"CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=","secret_key":"CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=","public_key":""#;
    assert!(keys.starts_with(&format!("{head}{members}")), "{keys}");
    #[cfg(unix)]
    for (path, mode) in [
        (folder.join("token"), 0o600),
        (folder.join("keys"), 0o600),
        (folder, 0o700),
        (keystore.dir().to_owned(), 0o700),
    ] {
        use std::os::unix::fs::PermissionsExt as _;
        let found = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{}", path.display());
    }
}

#[test]
fn either_file_alone_is_enough_for_its_half() {
    for (only, can_pull) in [("token", true), ("keys", false)] {
        let (_dir, full) = keystore();
        full.save_token(&ada(), &token(7)).unwrap();
        save_keys(&full, &ada());
        let (_other_dir, copy) = keystore();
        let folder = copy.dir().join("any name");
        fs::create_dir_all(&folder).unwrap();
        fs::copy(
            full.dir().join("ada@example.org").join(only),
            folder.join(only),
        )
        .unwrap();
        assert_eq!(copy.token(Select::Default).is_ok(), can_pull);
        assert_eq!(copy.keys(Select::Default).is_ok(), !can_pull);
        let missing = copy
            .token(Select::Default)
            .err()
            .or(copy.keys(Select::Default).err());
        assert!(matches!(missing, Some(KeystoreError::Missing { .. })));
    }
}

#[test]
fn several_accounts_are_told_apart() {
    let (_dir, keystore) = keystore();
    let elsewhere = account("http://localhost:8080", 1, "ada@example.org");
    for account in [ada(), bob(), elsewhere.clone()] {
        keystore.save_token(&account, &token(7)).unwrap();
    }
    let found = |select| {
        keystore
            .find(select)
            .map(|entry| entry.account)
            .map_err(|error| error.to_string())
    };
    assert_eq!(
        found(Select::Default),
        Ok(ada()),
        "the first stays the default"
    );
    assert_eq!(found(Select::Named("bob@example.org")), Ok(bob()));
    assert_eq!(found(Select::Named("2")), Ok(bob()));
    assert_eq!(
        found(Select::Named("ada@example.org_1")),
        Ok(elsewhere.clone())
    );
    assert_eq!(found(Select::Account(&elsewhere)), Ok(elsewhere.clone()));
    assert_eq!(
        found(Select::Named("ada@example.org")),
        Ok(ada()),
        "a folder's name is exact"
    );
    assert!(found(Select::Named("1")).unwrap_err().contains("several"));
    assert!(found(Select::Named("eve")).unwrap_err().contains("`eve`"));

    keystore
        .set_default(&keystore.find(Select::Named("2")).unwrap())
        .unwrap();
    assert_eq!(found(Select::Default), Ok(bob()));
    keystore
        .remove(&keystore.find(Select::Default).unwrap())
        .unwrap();
    assert!(found(Select::Default).unwrap_err().contains("several"));
}

#[test]
fn a_new_address_of_an_account_keeps_its_folder() {
    let (_dir, keystore) = keystore();
    keystore.save_token(&ada(), &token(1)).unwrap();
    let renamed = Account {
        email: "ada@example.net".to_owned(),
        ..ada()
    };
    keystore.save_token(&renamed, &token(7)).unwrap();
    let accounts = keystore.accounts().unwrap();
    assert_eq!(accounts.len(), 1);
    assert_eq!(accounts[0].account, renamed);
}

#[test]
fn removing_leaves_no_credential() {
    let (_dir, keystore) = keystore();
    keystore.save_token(&ada(), &token(7)).unwrap();
    save_keys(&keystore, &ada());
    let folder = keystore.dir().join("ada@example.org");
    fs::write(folder.join("keys.new"), "half").unwrap();
    keystore
        .remove(&keystore.find(Select::Default).unwrap())
        .unwrap();
    assert!(!folder.exists());
    assert!(keystore.accounts().unwrap().is_empty());
}

#[test]
fn what_cannot_be_trusted_is_refused() {
    let (_dir, keystore) = keystore();
    save_keys(&keystore, &ada());
    let path = keystore.dir().join("ada@example.org/keys");
    let good = fs::read_to_string(&path).unwrap();
    for (bad, exit) in [
        (
            good.replace("\"format\":1", "\"format\":2"),
            Exit::FormatTooNew,
        ),
        (
            good.replace("\"none\"", "\"passphrase\""),
            Exit::NotSignedIn,
        ),
        (good.replace("CQkJ", "CQ"), Exit::NotSignedIn),
        (good.replace("CAgI", "CAgJ"), Exit::NotSignedIn),
        (good[..good.len() / 2].to_owned(), Exit::NotSignedIn),
        (String::new(), Exit::NotSignedIn),
    ] {
        fs::write(&path, &bad).unwrap();
        let error = keystore.keys(Select::Default).unwrap_err();
        assert!(!error.to_string().contains("CQkJ"));
        assert_eq!(Failure::from(error).exit, exit, "{bad}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_dir, keystore) = keystore();
    keystore.save_token(&ada(), &token(7)).unwrap();
    let path = keystore.dir().join("ada@example.org/token");
    for (mode, refused) in [(0o640, true), (0o604, true), (0o620, true), (0o400, false)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let exposed = matches!(
            keystore.token(Select::Default),
            Err(KeystoreError::Exposed(_))
        );
        assert_eq!(exposed, refused, "{mode:o}");
    }
}

#[test]
fn folder_names_are_harmless() {
    for (email, name) in [
        ("Ada@Example.org", "ada@example.org"),
        ("../x@y", "1"),
        ("a/b@c", "a_b@c"),
        ("naïve@x.org", "na_ve@x.org"),
        ("default", "1"),
        ("a@b.", "1"),
        ("", "1"),
    ] {
        assert_eq!(folder_name(&account("https://e", 1, email)), name);
    }
}
