//! No secret of the golden account is anywhere but in the keystore: not in what the tools print, not in the export, not in
//! what the system shows of their processes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use crypto_secretbox::aead::Aead as _;
use crypto_secretbox::{KeyInit as _, XSalsa20Poly1305};
use ente_tests::harness::{Machine, Outcome};
use ente_tests::museum::{Fault, Match};
use serde_json::Value;

use crate::{EMAIL, PASSWORD, golden, machine};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/account");

fn json(path: &str) -> Value {
    serde_json::from_slice(&fs::read(format!("{GOLDEN}/{path}")).unwrap()).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}

/// Every secret of the account, with a name for it.
fn secrets() -> Vec<(String, Vec<u8>)> {
    let account = json("account.json");
    let token = account["token"].as_str().unwrap();
    let token = base64::engine::general_purpose::URL_SAFE
        .decode(token)
        .unwrap();
    let recovery_key = hex::decode(account["recoveryKey"]["hex"].as_str().unwrap()).unwrap();
    let words = account["recoveryKey"]["mnemonic"].as_str().unwrap();
    let mut secrets = vec![
        ("password".to_owned(), PASSWORD.as_bytes().to_vec()),
        ("recovery words".to_owned(), words.as_bytes().to_vec()),
        ("recovery key".to_owned(), recovery_key),
        ("token".to_owned(), token),
        (
            "authenticator's secret".to_owned(),
            account["totpSecret"].as_str().unwrap().into(),
        ),
    ];
    for name in ["kek", "loginKey", "masterKey", "secretKey"] {
        secrets.push((name.to_owned(), bytes(&account[name])));
    }
    secrets.extend(content_keys(&account));
    secrets
}

/// The keys of collections and files, opened by RustCrypto.
fn content_keys(account: &Value) -> Vec<(String, Vec<u8>)> {
    let unwrap = |key: &[u8], sealed: &Value, nonce: &Value| {
        let nonce: [u8; 24] = bytes(nonce).try_into().unwrap();
        let cipher = XSalsa20Poly1305::new_from_slice(key).unwrap();
        cipher.decrypt(&nonce.into(), &bytes(sealed)[..]).unwrap()
    };
    let secret_key: [u8; 32] = bytes(&account["secretKey"]).try_into().unwrap();
    let secret_key = crypto_box::SecretKey::from(secret_key);
    let master_key = bytes(&account["masterKey"]);
    let mut keys = BTreeMap::new();
    for collection in json("1-initial/wire/collections.json")["collections"]
        .as_array()
        .unwrap()
    {
        let id = &collection["id"];
        let sealed = &collection["encryptedKey"];
        if sealed.as_str().is_none_or(str::is_empty) || collection["isDeleted"] == true {
            continue;
        }
        let key = if collection["owner"]["id"] == account["userID"] {
            unwrap(&master_key, sealed, &collection["keyDecryptionNonce"])
        } else {
            secret_key.unseal(&bytes(sealed)).unwrap()
        };
        keys.insert(format!("key of collection {id}"), key.clone());
        let Ok(diff) = fs::read(format!("{GOLDEN}/1-initial/wire/diff/{id}.json")) else {
            continue;
        };
        let diff: Value = serde_json::from_slice(&diff).unwrap();
        for file in diff["diff"].as_array().unwrap() {
            let removed = file["isDeleted"] == true || file["file"]["encryptedData"] == "-";
            if removed
                || file["encryptedKey"]
                    .as_str()
                    .is_none_or(|key| key.len() < 64)
            {
                continue;
            }
            let key = unwrap(&key, &file["encryptedKey"], &file["keyDecryptionNonce"]);
            keys.insert(format!("key of file {}", file["id"]), key);
        }
    }
    assert!(keys.len() > 25, "{} keys", keys.len());
    keys.into_iter().collect()
}

/// The forms in which a secret could slip out.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    vec![
        secret.to_vec(),
        hex::encode(secret).into_bytes(),
        hex::encode_upper(secret).into_bytes(),
        STANDARD_NO_PAD.encode(secret).into_bytes(),
        URL_SAFE_NO_PAD.encode(secret).into_bytes(),
        // As `Debug` prints bytes.
        format!("{secret:?}").into_bytes(),
    ]
}

/// Finds many texts in one pass: the first two bytes say which of them may start there.
struct Search<'a> {
    texts: Vec<(&'a str, Vec<u8>)>,
    by_start: Vec<Vec<usize>>,
}

impl<'a> Search<'a> {
    fn new(texts: Vec<(&'a str, Vec<u8>)>) -> Self {
        let mut by_start = vec![Vec::new(); 1 << 16];
        for (index, (_, text)) in texts.iter().enumerate() {
            by_start[start(text)].push(index);
        }
        Self { texts, by_start }
    }

    /// The name of the first one that is in `place`.
    fn find(&self, place: &[u8]) -> Option<&'a str> {
        (0..place.len().saturating_sub(1)).find_map(|at| {
            let candidates = self.by_start[start(&place[at..])].iter();
            let mut found = candidates.map(|index| &self.texts[*index]);
            found
                .find(|(_, text)| place[at..].starts_with(text))
                .map(|(name, _)| *name)
        })
    }
}

fn start(text: &[u8]) -> usize {
    usize::from(text[0]) << 8 | usize::from(text[1])
}

/// Everything that was seen, by where it was seen.
#[derive(Default)]
struct Seen(BTreeMap<String, Vec<u8>>);

impl Seen {
    fn add(&mut self, place: impl Into<String>, text: impl Into<Vec<u8>>) {
        self.0.insert(place.into(), text.into());
    }

    fn outcomes(&mut self, run: &str, outcomes: &[Outcome]) {
        for (stage, outcome) in outcomes.iter().enumerate() {
            self.add(
                format!("{run}, stage {stage}, stdout"),
                outcome.stdout.clone(),
            );
            self.add(
                format!("{run}, stage {stage}, stderr"),
                outcome.stderr.clone(),
            );
        }
    }

    /// Every file below `dir`, its name included.
    fn folder(&mut self, dir: &Path) {
        for entry in walkdir::WalkDir::new(dir) {
            let entry = entry.unwrap();
            let path = entry.path().display().to_string();
            if entry.file_type().is_file() {
                self.add(path.clone(), fs::read(entry.path()).unwrap());
            }
            self.add(format!("the name {path}"), path);
        }
    }

    /// What the system shows of a process.
    #[cfg(target_os = "linux")]
    fn process(&mut self, what: &str, id: u32) {
        for file in ["cmdline", "environ"] {
            let text = match fs::read(format!("/proc/{id}/{file}")) {
                // Closed to all but the administrator, as whom the tests may run. Arguments never are.
                Err(error)
                    if file == "environ"
                        && error.kind() == std::io::ErrorKind::PermissionDenied =>
                {
                    continue;
                }
                text => text.unwrap(),
            };
            assert!(!text.is_empty(), "{what}: {file}");
            self.add(format!("{file} of {what}"), text);
        }
        let limits = fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"))
            .unwrap();
        let numbers: Vec<_> = core.split_whitespace().skip(4).take(2).collect();
        assert_eq!(numbers, ["0", "0"], "{what} may dump core");
    }

    fn assert_free_of(&self, secrets: &[(String, Vec<u8>)]) {
        if let Some((name, place)) = self.find(secrets) {
            panic!("the {name} is in {place}");
        }
    }

    /// A secret that is in one of the places, in whatever form.
    fn find<'a>(&self, secrets: &'a [(String, Vec<u8>)]) -> Option<(&'a str, String)> {
        let all = secrets
            .iter()
            .flat_map(|(name, secret)| forms(secret).into_iter().map(|form| (name.as_str(), form)));
        let search = Search::new(all.collect());
        let mut places = self.0.iter();
        places.find_map(|(place, text)| Some((search.find(text)?, place.clone())))
    }
}

/// A file of its own in the machine's home, which is not looked through.
fn put(machine: &Machine, name: &str, text: &str) -> String {
    let file = machine.home().join(name);
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn the_search_finds_what_is_there() {
    let secrets = secrets();
    let mut seen = Seen::default();
    seen.add("a place", "nothing of interest");
    assert_eq!(seen.find(&secrets), None);
    for (name, secret) in &secrets {
        for form in forms(secret) {
            seen.add("a place", [b"before ", &form[..], b" after"].concat());
            assert_eq!(
                seen.find(&secrets),
                Some((name.as_str(), "a place".to_owned()))
            );
        }
    }
}

#[test]
fn signing_in_shows_no_secret() {
    let mut seen = Seen::default();
    let (museum, machine) = golden();
    let _ = machine.run(&["ente-pull", machine.dir()]).expect(0);
    let account = json("account.json");
    let secret = |name: &str| account[name].as_str().unwrap();
    let password = put(&machine, "password", PASSWORD);
    let totp = put(&machine, "totp", secret("totpSecret"));
    let recovery_key = put(
        &machine,
        "recovery key",
        account["recoveryKey"]["mnemonic"].as_str().unwrap(),
    );
    let endpoint = museum.api_url();
    let base = ["ente-login", "--endpoint", endpoint, EMAIL];
    let by_password = ["--password-file", &password];
    museum.with_library(|library| library.account_mut().totp_enabled = true);
    let by_totp = [&by_password[..], &["--totp-secret-file", &totp]].concat();
    seen.outcomes(
        "a password",
        &[machine.run(&[&base[..], &by_totp].concat()).expect(0)],
    );

    museum.with_library(|library| library.account_mut().totp_enabled = false);
    let by_key = ["--recovery-key-file", &recovery_key];
    let asking = machine.run(&[&base[..], &by_key].concat());
    let code = museum.mailbox(EMAIL).pop().unwrap();
    let with_code = [&base[..], &by_key, &["--email-code", &code]].concat();
    let done = machine.run(&with_code).expect(0);
    seen.outcomes("a recovery key", &[asking, done]);

    let offline = ["ente-login", "--offline", machine.dir()];
    for by in [by_password, by_key] {
        let outcome = machine.run(&[&offline[..], &by].concat()).expect(0);
        seen.outcomes("offline", &[outcome]);
    }
    let mut terminal = machine.at_terminal(&base);
    terminal.wait_for("password of ").type_line("not this one");
    terminal.wait_for("password of ").type_line(PASSWORD);
    seen.outcomes("a terminal", &[terminal.end().expect(0)]);
    seen.outcomes(
        "the end",
        &[machine.run(&["ente-login", "--logout"]).expect(0)],
    );
    seen.assert_free_of(&secrets());
}

#[test]
fn a_whole_export_shows_no_secret() {
    let mut seen = Seen::default();
    let (_museum, machine) = golden();
    let stages: [&[&str]; 4] = [
        &["ente-pull", "--objects", "keep", machine.dir()],
        &["ente-decrypt", "-"],
        &["ente-meta", "-"],
        &["ente-verify", "-"],
    ];
    for last in 1..=stages.len() {
        seen.outcomes(&format!("a pipe of {last}"), &machine.pipe(&stages[..last]));
    }
    for line in [
        &["ente-login", "--status"][..],
        &["ente-login", "--check"],
        &["ente-pull", "--list", machine.dir()],
        &["ente-meta", "--print", machine.dir()],
        &["ente-verify", machine.dir()],
    ] {
        seen.outcomes(&line.join(" "), &[machine.run(line)]);
    }
    seen.folder(&machine.export);
    seen.assert_free_of(&secrets());
}

#[test]
fn errors_show_no_secret() {
    let mut seen = Seen::default();
    let (museum, machine) = golden();
    let pull = ["ente-pull", "--objects", "keep", machine.dir()];
    let decrypt = ["ente-decrypt", machine.dir()];
    let meta = ["ente-meta", machine.dir()];
    let _ = machine.run(&pull).expect(0);

    museum.revoke_tokens();
    seen.outcomes("an ended session", &[machine.run(&pull)]);
    let folder = machine.config().join(EMAIL);
    for file in ["token", "keys"] {
        let path = folder.join(file);
        let good = fs::read_to_string(&path).unwrap();
        for (what, bad) in [
            ("cut", good[..good.len() - 20].to_owned()),
            ("without a comma", good.replacen(',', " ", 4)),
            ("with a number", good.replace("\"}", "\",\"format\":\"1\"}")),
            (
                "of a newer format",
                good.replace("\"format\":1", "\"format\":9"),
            ),
        ] {
            fs::write(&path, bad).unwrap();
            for line in [&pull[..], &decrypt, &meta, &["ente-login", "--status"]] {
                let outcome = machine.run(line);
                assert_ne!(outcome.code, 0, "{what}");
                seen.outcomes(&format!("{file} {what}: {line:?}"), &[outcome]);
            }
        }
        fs::write(&path, good).unwrap();
    }
    let password = put(&machine, "password", PASSWORD);
    let base = [
        "ente-login",
        "--endpoint",
        museum.api_url(),
        "--password-file",
        &password,
        EMAIL,
    ];
    for (path, fault) in [
        ("/verify-session", Fault::Status(401)),
        ("/verify-session", Fault::Status(500)),
        ("/verify-session", Fault::Cut { after: 9 }),
        ("/session-validity", Fault::Status(401)),
    ] {
        museum.inject(Match::api().path(path), fault, Some(1));
        let line = [&base[..], &["--retries", "0"]].concat();
        let outcome = machine.run(&line);
        assert_ne!(outcome.code, 0);
        seen.outcomes(path, &[outcome]);
    }
    seen.assert_free_of(&secrets());
}

#[test]
fn an_encrypted_mirror_tells_no_more_than_the_server_knows() {
    let (_museum, machine) = golden();
    let outcome = machine
        .run(&["ente-pull", "--objects", "keep", machine.dir()])
        .expect(0);
    let mut seen = Seen::default();
    seen.outcomes("ente-pull", &[outcome]);
    seen.folder(&machine.export.join(".ente"));
    // Names of members too: `export.json` holds the key attributes as served.
    let mut wire = json("account.json")["keyAttributes"]
        .to_string()
        .into_bytes();
    for entry in walkdir::WalkDir::new(format!("{GOLDEN}/1-initial/wire")) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            wire.extend(fs::read(entry.path()).unwrap());
        }
    }
    let mut texts = Vec::new();
    for row in json("1-initial/expected.json").as_array().unwrap() {
        texts.push(row["album"].clone());
        texts.extend(
            row["parts"]
                .as_array()
                .unwrap()
                .iter()
                .map(|part| part["name"].clone()),
        );
        let sidecar = row["sidecar"].as_object().unwrap().values();
        texts.extend(sidecar.filter(|value| value.is_string()).cloned());
    }
    let known_to_the_server = |text: &str| {
        let search = Search::new(vec![("text", text.as_bytes().to_vec())]);
        search.find(&wire).is_some()
    };
    let texts: Vec<(String, Vec<u8>)> = texts
        .iter()
        .filter_map(Value::as_str)
        // Times are numbers that may be part of others.
        .filter(|text| text.parse::<i64>().is_err() && text.len() > 3)
        .filter(|text| !known_to_the_server(text))
        .map(|text| (format!("text `{text}`"), text.as_bytes().to_vec()))
        .collect();
    assert!(texts.len() > 25, "{} texts", texts.len());
    seen.assert_free_of(&texts);
}

#[cfg(target_os = "linux")]
#[test]
fn the_system_shows_no_secret_of_a_process_and_keeps_no_core_of_it() {
    let mut seen = Seen::default();
    let (museum, signed_in) = golden();
    let begin = signed_in.run(&["ente-pull", signed_in.dir()]).expect(0);
    museum.with_library(|library| library.account_mut().totp_enabled = true);
    let endpoint = museum.api_url();

    let typed = machine();
    let mut terminal = typed.at_terminal(&["ente-login", "--endpoint", endpoint, EMAIL]);
    terminal.wait_for("password of ").type_line(PASSWORD);
    terminal.wait_for("code of the authenticator");
    seen.process("a sign-in by hand", terminal.id());
    terminal.press("\u{3}");
    seen.outcomes("a sign-in by hand", &[terminal.end().expect(130)]);

    let password = put(&typed, "password", PASSWORD);
    let command = format!("cat '{password}'");
    let line = [
        "ente-login",
        "--endpoint",
        endpoint,
        "--password-command",
        &command,
        EMAIL,
    ];
    let mut terminal = typed.at_terminal(&line);
    terminal.wait_for("code of the authenticator");
    seen.process("a sign-in by command", terminal.id());
    terminal.press("\u{3}");
    let _ = terminal.end().expect(130);

    museum.reset_log();
    museum.inject(Match::api().path("/collections"), Fault::StallHeaders, None);
    let mut pull = signed_in
        .command(&["ente-pull", signed_in.dir()])
        .spawn()
        .unwrap();
    while museum
        .requests()
        .iter()
        .all(|request| !request.path.contains("/collections"))
    {
        std::thread::yield_now();
    }
    seen.process("a pull", pull.id());
    pull.kill().unwrap();
    pull.wait().unwrap();

    // With the keys in hand, and more records to come.
    let begin = begin.stdout.lines().next().unwrap();
    for tool in ["ente-decrypt", "ente-meta"] {
        let mut stage = signed_in.command(&[tool, "-"]);
        let mut stage = stage.stdin(Stdio::piped()).spawn().unwrap();
        writeln!(stage.stdin.as_mut().unwrap(), "{begin}").unwrap();
        let mut printed = String::new();
        let mut output = BufReader::new(stage.stdout.take().unwrap());
        output.read_line(&mut printed).unwrap();
        assert!(printed.contains(r#""type":"begin""#), "{tool}: {printed}");
        seen.process(tool, stage.id());
        stage.kill().unwrap();
        stage.wait().unwrap();
    }
    seen.assert_free_of(&secrets());
}

#[test]
fn sealed_credentials_show_no_secret_either() {
    let mut seen = Seen::default();
    let (museum, machine) = golden();
    let password = put(&machine, "password", PASSWORD);
    let passphrase = put(&machine, "passphrase", "red wax, warm");
    let line = [
        "ente-login",
        "--endpoint",
        museum.api_url(),
        "--password-file",
        &password,
        "--seal",
        "passphrase",
        "--passphrase-file",
        &passphrase,
        EMAIL,
    ];
    seen.outcomes("sealing", &[machine.run(&line).expect(0)]);
    seen.folder(&machine.config());
    seen.assert_free_of(&secrets());
    seen.assert_free_of(&[("passphrase".to_owned(), b"red wax, warm".to_vec())]);
}
