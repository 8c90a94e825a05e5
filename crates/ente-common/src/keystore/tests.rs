//! What the keystore promises, tried on scratch folders.

use super::place::folder_name;
use super::*;
use crate::exit::{Exit, Failure};

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
    let plain = Some(Seal::None);
    assert_eq!((entry.token, entry.keys), (plain, plain));
    assert!(entry.is_default);
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
fn debug_output_of_what_was_read_holds_no_secret() {
    let (_dir, keystore) = keystore();
    keystore.save_token(&ada(), &token(7)).unwrap();
    let path = keystore.dir().join("ada@example.org/token");
    let saved = Credential::load(&path).unwrap().unwrap();
    let text = String::from_utf8(saved.text().to_vec()).unwrap();
    assert!(text.contains("BwcHBwcH"), "{text}");
    let shown = format!("{saved:?} {:?}", keystore.token(Select::Default));
    let as_numbers = format!("{:?}", &saved.text()[text.find("BwcH").unwrap()..][..8]);
    for secret in ["BwcHBwcH", "7, 7, 7", as_numbers.trim_matches(['[', ']'])] {
        assert!(!shown.contains(secret), "{shown}");
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
fn what_a_killed_run_left_is_taken_up() {
    let (_dir, keystore) = keystore();
    let folder = keystore.dir().join("ada@example.org");
    private_dir(keystore.dir()).unwrap();
    private_dir(&folder).unwrap();
    fs::write(folder.join("keys.new"), "half of it").unwrap();
    save_keys(&keystore, &ada());
    assert_eq!(keystore.accounts().unwrap()[0].folder, "ada@example.org");
    assert!(!folder.join("keys.new").exists());
    // A folder with anything else in it is somebody's.
    let folder = keystore.dir().join("bob@example.org");
    private_dir(&folder).unwrap();
    fs::write(folder.join("notes"), "").unwrap();
    fs::write(folder.join("keys.new"), "half of it").unwrap();
    save_keys(&keystore, &bob());
    assert!(folder.join("keys.new").exists());
    assert_eq!(keystore.accounts().unwrap()[1].folder, "bob@example.org_1");
}

#[test]
fn runs_at_once_do_not_meet() {
    let (_dir, keystore) = keystore();
    // One account again and again, and others of the same address.
    std::thread::scope(|scope| {
        for number in 0..8 {
            let keystore = &keystore;
            scope.spawn(move || {
                for _ in 0..10 {
                    keystore.save_token(&ada(), &token(7)).unwrap();
                }
                let endpoint = format!("https://{number}.example.org");
                let other = account(&endpoint, 1, "ada@example.org");
                keystore.save_token(&other, &token(number)).unwrap();
            });
        }
    });
    let accounts = keystore.accounts().unwrap();
    assert_eq!(accounts.len(), 9);
    let defaults = accounts.iter().filter(|entry| entry.is_default);
    assert_eq!(defaults.count(), 1);
    for number in 0..8 {
        let endpoint = format!("https://{number}.example.org");
        let other = account(&endpoint, 1, "ada@example.org");
        let saved = keystore.token(Select::Account(&other)).unwrap();
        assert_eq!(saved.token, token(number));
    }
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
        (good.replace("\"none\"", "\"wax\""), Exit::NotSignedIn),
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

/// A keystore that seals with a passphrase, which it has from a file.
fn sealing(keystore: &Keystore, passphrase: &str) -> Keystore {
    let file = keystore.dir().with_extension(passphrase);
    fs::write(&file, passphrase).unwrap();
    Keystore {
        passphrase: Passphrase::from_file(file),
        ..Keystore::open(keystore.dir()).sealing(Some(Seal::Passphrase))
    }
}

#[test]
fn a_sealed_file_opens_by_the_documented_recipe() {
    use dryoc::classic::crypto_aead_xchacha20poly1305_ietf::crypto_aead_xchacha20poly1305_ietf_decrypt as open;
    use dryoc::classic::crypto_pwhash::{PasswordHashAlgorithm, crypto_pwhash};

    let (_dir, keystore) = keystore();
    save_keys(&sealing(&keystore, "red wax"), &ada());
    let text = fs::read_to_string(keystore.dir().join("ada@example.org/keys")).unwrap();
    for secret in ["CQkJ", "CAgI", "master_key"] {
        assert!(!text.contains(secret), "{text}");
    }
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    let bytes = |name: &str| crate::encoding::from_base64(file[name].as_str().unwrap()).unwrap();
    let limit = |name: &str| file[name].as_u64().unwrap();
    let mut key = [0; 32];
    let salt = bytes("salt");
    let (passes, memory) = (limit("ops_limit"), limit("mem_limit") as usize);
    let argon2id = PasswordHashAlgorithm::Argon2id13;
    crypto_pwhash(&mut key, b"red wax", &salt, passes, memory, argon2id).unwrap();
    let bound_to = b"ente-tools keystore 1\nkeys\nhttps://api.ente.com\nphotos\n1\n";
    let (sealed, nonce) = (bytes("sealed"), bytes("nonce").try_into().unwrap());
    let mut body = vec![0; sealed.len() - 16];
    open(&mut body, &sealed, Some(bound_to), &nonce, &key).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        body["master_key"],
        "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk="
    );
    assert_eq!(body.as_object().unwrap().len(), 3);
}

#[test]
fn what_another_implementation_sealed_opens() {
    let (_dir, keystore) = keystore();
    for (file, text) in [
        (
            TOKEN,
            include_str!("../../../../tests/vectors/keystore/token"),
        ),
        (
            KEYS,
            include_str!("../../../../tests/vectors/keystore/keys"),
        ),
    ] {
        let file_name = Path::new(file);
        keystore
            .import(text.as_bytes(), file_name, |_| Ok(()))
            .unwrap();
        let path = keystore.dir().join("ada@example.org").join(file);
        assert_eq!(fs::read_to_string(path).unwrap(), text);
    }
    let opened = sealing(&keystore, "naïve red wax ");
    let token = opened.token(Select::Default).unwrap();
    assert_eq!(
        (token.account.app.as_str(), token.account.user_id),
        ("locker", 42)
    );
    let bytes: [u8; 32] = std::array::from_fn(|index| 255 - index as u8);
    assert_eq!(token.token, Token::from_bytes(&bytes).unwrap());
    let keys = opened.keys(Select::Default).unwrap();
    assert_eq!(
        keys.master_key.expose(),
        &std::array::from_fn(|index| index as u8)
    );
    assert_eq!(
        keys.key_pair.secret().expose(),
        &std::array::from_fn(|index| 64 + index as u8)
    );
}

#[test]
fn only_the_passphrase_opens_a_seal_and_only_that_of_this_file() {
    let (_dir, keystore) = keystore();
    let sealed = sealing(&keystore, "red wax");
    sealed.save_token(&ada(), &token(7)).unwrap();
    save_keys(&sealed, &ada());
    assert_eq!(sealed.token(Select::Default).unwrap().token, token(7));
    assert_eq!(
        sealed.keys(Select::Default).unwrap().master_key.expose(),
        &[9; 32]
    );
    let entry = &keystore.accounts().unwrap()[0];
    let passphrase = Some(Seal::Passphrase);
    assert_eq!((entry.token, entry.keys), (passphrase, passphrase));

    let refused = |keystore: &Keystore| Failure::from(keystore.token(Select::Default).unwrap_err());
    let wrong = refused(&sealing(&keystore, "green wax"));
    assert_eq!(wrong.exit, Exit::NotSignedIn);
    assert_eq!(wrong.what, "the credentials stay sealed");
    let nobody = refused(&keystore);
    assert!(nobody.hint.unwrap().contains("--passphrase-file"));

    let path = keystore.dir().join("ada@example.org/token");
    let good = fs::read_to_string(&path).unwrap();
    let keys = fs::read_to_string(path.with_file_name("keys")).unwrap();
    for bad in [
        // Put into the place of the other, or under another account.
        keys.replace("\"holds\":\"keys\"", "\"holds\":\"token\""),
        good.replace("\"user_id\":1", "\"user_id\":2"),
        good.replace("api.ente.com", "api.example.org"),
        good.replace("\"ops_limit\":4", "\"ops_limit\":3"),
        // More than anybody could want.
        good.replace("\"ops_limit\":4", "\"ops_limit\":4000000000"),
        good.replace("\"mem_limit\":67108864", "\"mem_limit\":1099511627776"),
        good.replace("\"salt\"", "\"pepper\""),
        good.replace("\"passphrase\"", "\"none\""),
    ] {
        assert_ne!(bad, good);
        fs::write(&path, &bad).unwrap();
        let keystore = sealing(&keystore, "red wax");
        let folder = Select::Named("ada@example.org");
        fs::remove_file(path.with_file_name("keys")).unwrap();
        let error = keystore.token(folder).unwrap_err();
        assert_eq!(Failure::from(error).exit, Exit::NotSignedIn, "{bad}");
        fs::write(path.with_file_name("keys"), &keys).unwrap();
        #[cfg(unix)]
        fs::set_permissions(
            path.with_file_name("keys"),
            std::os::unix::fs::PermissionsExt::from_mode(0o600),
        )
        .unwrap();
    }
}

#[test]
fn a_seal_stays_until_another_is_asked_for() {
    let (_dir, keystore) = keystore();
    save_keys(&sealing(&keystore, "red wax"), &ada());
    let seal = || keystore.accounts().unwrap()[0].keys.unwrap();
    let as_before = sealing(&keystore, "red wax").sealing(None);
    as_before
        .prepare(Some(&keystore.accounts().unwrap()[0]))
        .unwrap();
    save_keys(&as_before, &ada());
    assert_eq!(seal(), Seal::Passphrase);
    let wrong = sealing(&keystore, "green wax").sealing(None);
    wrong
        .prepare(Some(&keystore.accounts().unwrap()[0]))
        .unwrap_err();

    // Another passphrase is chosen without the old one, which may be lost.
    let chosen_anew = sealing(&keystore, "blue wax");
    let entry = &keystore.accounts().unwrap()[0];
    chosen_anew.prepare(Some(entry)).unwrap();
    save_keys(&chosen_anew, &ada());
    as_before.keys(Select::Default).unwrap_err();
    save_keys(&keystore.clone().sealing(Some(Seal::None)), &ada());
    assert_eq!(seal(), Seal::None);
    assert_eq!(
        keystore.keys(Select::Default).unwrap().master_key.expose(),
        &[9; 32]
    );
}

#[test]
fn a_seal_on_one_half_is_one_on_both() {
    let passphrase = Some(Seal::Passphrase);
    // As `--offline --seal passphrase` does: only the keys are saved anew.
    let (_dir, plain) = keystore();
    plain.save_token(&ada(), &token(7)).unwrap();
    save_keys(&plain, &ada());
    let sealed = sealing(&plain, "red wax");
    save_keys(&sealed, &ada());
    let entry = plain.find(Select::Default).unwrap();
    assert_eq!((entry.token, entry.keys), (passphrase, passphrase));
    assert_eq!(sealed.token(Select::Default).unwrap().token, token(7));

    // A plain half from another machine, beside a sealed one.
    let (_other_dir, other) = keystore();
    let here = sealing(&other, "green wax");
    save_keys(&here, &ada());
    let (_third_dir, third) = keystore();
    third.save_token(&ada(), &token(9)).unwrap();
    let text = third.export(Select::Default, Half::Token).unwrap();
    let unasked = other.import(&text[..], Path::new("-"), |_| Ok(()));
    assert!(matches!(unasked, Err(KeystoreError::Seal(_))));
    assert_eq!(other.find(Select::Default).unwrap().token, None);
    let here = here.sealing(None);
    here.import(&text[..], Path::new("-"), |_| Ok(())).unwrap();
    let entry = other.find(Select::Default).unwrap();
    assert_eq!((entry.token, entry.keys), (passphrase, passphrase));
    assert_eq!(here.token(Select::Default).unwrap().token, token(9));
}

#[test]
fn what_was_sealed_elsewhere_keeps_its_seal_and_gives_it_to_what_follows() {
    let (_dir, here) = keystore();
    save_keys(&here, &ada());
    let (_other_dir, other) = keystore();
    let sealed = sealing(&other, "red wax");
    sealed.save_token(&ada(), &token(7)).unwrap();
    let text = sealed
        .clone()
        .sealing(None)
        .export(Select::Default, Half::Token)
        .unwrap();
    here.import(&text[..], Path::new("-"), |_| Ok(())).unwrap();
    let entry = here.find(Select::Default).unwrap();
    let both = (entry.token, entry.keys);
    assert_eq!(both, (Some(Seal::Passphrase), Some(Seal::None)));
    // Signing in again must not unseal the one for the sake of the other.
    let again = sealing(&here, "red wax").sealing(None);
    again.prepare(Some(&entry)).unwrap();
    again.save_token(&ada(), &token(8)).unwrap();
    let entry = here.find(Select::Default).unwrap();
    let both = (entry.token, entry.keys);
    assert_eq!(both, (Some(Seal::Passphrase), Some(Seal::Passphrase)));
}

#[test]
fn what_is_not_allowed_is_not_imported() {
    let (_dir, full) = keystore();
    full.save_token(&ada(), &token(7)).unwrap();
    let text = full.export(Select::Default, Half::Token).unwrap();
    let (_other_dir, other) = keystore();
    let no = |_: &Account| Err(Failure::new(Exit::Usage, "no"));
    other.import(&text[..], Path::new("-"), no).unwrap_err();
    assert!(other.accounts().unwrap().is_empty());
}

#[test]
fn the_former_name_of_the_server_is_the_present_one() {
    let (_dir, keystore) = keystore();
    let former = account("https://api.ente.io", 1, "ada@example.org");
    let sealed = sealing(&keystore, "red wax");
    sealed.save_token(&former, &token(7)).unwrap();
    let found = keystore.find(Select::Account(&ada())).unwrap();
    assert_eq!(found.account, former);
    // The seal is bound to the name that stands in the file.
    let opened = sealed.token(Select::Account(&ada())).unwrap();
    assert_eq!(opened.token, token(7));
    sealed.save_token(&ada(), &token(8)).unwrap();
    assert_eq!(keystore.accounts().unwrap().len(), 1);
}

#[test]
fn server_and_app_tell_accounts_of_one_address_apart() {
    let (_dir, keystore) = keystore();
    let locker = Account {
        app: "locker".to_owned(),
        ..ada()
    };
    let elsewhere = account("http://localhost:8080", 5, "ada@example.org");
    for account in [ada(), locker.clone(), elsewhere.clone(), bob()] {
        keystore.save_token(&account, &token(7)).unwrap();
    }
    let found = |name, endpoint, app| {
        let select = Select::Within {
            name,
            endpoint,
            app,
        };
        keystore.find(select).map(|entry| entry.account).ok()
    };
    let email = Some("ada@example.org");
    let (here, there) = (Some("https://api.ente.com"), Some("http://localhost:8080"));
    for (name, endpoint, app, expected) in [
        (None, None, None, Some(ada())),
        (email, None, None, Some(ada())),
        (email, None, Some("locker"), Some(locker.clone())),
        (None, None, Some("locker"), Some(locker)),
        (None, Some("https://api.ente.io/"), None, Some(ada())),
        (email, there, None, Some(elsewhere.clone())),
        (None, there, Some("photos"), Some(elsewhere)),
        (Some("bob@example.org"), here, Some("photos"), Some(bob())),
        (Some("bob@example.org"), here, Some("locker"), None),
        (email, there, Some("locker"), None),
    ] {
        assert_eq!(found(name, endpoint, app), expected);
    }
}

#[test]
fn a_damaged_account_is_in_nobodys_way_but_its_own() {
    let (_dir, keystore) = keystore();
    for account in [ada(), bob()] {
        keystore.save_token(&account, &token(7)).unwrap();
    }
    fs::write(keystore.dir().join("bob@example.org/token"), "{").unwrap();
    let ada_still = keystore.token(Select::Named("ada@example.org")).unwrap();
    assert_eq!(ada_still.account, ada());
    for select in [Select::Named("bob@example.org"), Select::Account(&bob())] {
        let damaged = keystore.find(select).unwrap_err();
        assert!(matches!(damaged, KeystoreError::Damaged(_)), "{damaged}");
    }
    let (readable, unreadable) = keystore.survey().unwrap();
    assert_eq!((readable.len(), unreadable.len()), (1, 1));
    keystore.save_token(&ada(), &token(8)).unwrap();
    // This one may be the account that cannot be read.
    let carol = account("https://api.ente.com", 3, "carol@example.org");
    keystore.save_token(&carol, &token(8)).unwrap_err();
}

#[test]
fn one_half_moves_to_another_machine() {
    for (seal, is_sealed) in [(None, true), (Some(Seal::None), false)] {
        let (_dir, full) = keystore();
        let sealed = sealing(&full, "red wax");
        sealed.save_token(&ada(), &token(7)).unwrap();
        save_keys(&sealed, &ada());
        for half in [Half::Token, Half::Keys] {
            let text = sealed
                .clone()
                .sealing(seal)
                .export(Select::Default, half)
                .unwrap();
            assert_eq!(
                String::from_utf8_lossy(&text).contains("\"sealed\""),
                is_sealed
            );
            let (_other_dir, other) = keystore();
            assert_eq!(
                other.import(&text[..], Path::new("-"), |_| Ok(())).unwrap(),
                (ada(), half)
            );
            let entry = other.find(Select::Default).unwrap();
            assert_eq!(
                (entry.token.is_some(), entry.keys.is_some()),
                (half == Half::Token, half == Half::Keys)
            );
            let opened = sealing(&other, "red wax");
            match half {
                Half::Token => assert_eq!(opened.token(Select::Default).unwrap().token, token(7)),
                Half::Keys => drop(opened.keys(Select::Default).unwrap()),
            }
        }
    }
    let (_dir, empty) = keystore();
    for damaged in [
        "",
        "{}",
        "{\"format\":1,\"seal\":\"none\",\"account\":{\"endpoint\":\"e\",\"app\":\"photos\",\"user_id\":1,\"email\":\"e\"},\"token\":\"AAAA\"}",
    ] {
        assert!(
            empty
                .import(damaged.as_bytes(), Path::new("-"), |_| Ok(()))
                .is_err(),
            "{damaged}"
        );
    }
    assert!(empty.accounts().unwrap().is_empty());
}

#[cfg(unix)]
#[test]
fn a_folder_that_others_can_write_to_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_dir, keystore) = keystore();
    keystore.save_token(&ada(), &token(7)).unwrap();
    for folder in [
        keystore.dir().to_owned(),
        keystore.dir().join("ada@example.org"),
    ] {
        for (mode, refused) in [(0o720, true), (0o702, true), (0o755, false), (0o700, false)] {
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
            let found = keystore.token(Select::Default);
            let exposed = matches!(found, Err(KeystoreError::Exposed { is_dir: true, .. }));
            assert_eq!(exposed, refused, "{mode:o}");
        }
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
            Err(KeystoreError::Exposed { .. })
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
