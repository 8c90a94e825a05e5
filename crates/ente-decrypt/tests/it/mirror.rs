//! An export that holds what `ente-pull` would have stored of the golden account, and a run of the tool over it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use clap::Parser as _;
use ente_common::cli::{Interrupt, Io, Tool as _};
use ente_common::crypto::{KeyPair, MasterKey, SecretKey};
use ente_common::encoding::array_from_base64;
use ente_common::exit::Exit;
use ente_common::keystore::Keystore;
use ente_common::manifest::facts::{Collection, File, Listing, Object, PullFact, Setting};
use ente_common::manifest::{Account, Digest, Export, Journal, State, ciphertext};
use ente_common::record::Writer;
use ente_common::ui::Ui;
use ente_common::{layout, wire};
use ente_decrypt::Args;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/account");

pub(crate) fn read(path: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(format!("{GOLDEN}/{path}")).unwrap()).unwrap()
}

/// How a run ended and what it printed.
pub(crate) struct Outcome {
    pub(crate) exit: Result<Exit, ente_common::exit::Failure>,
    pub(crate) records: Vec<Value>,
}

impl Outcome {
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.exit, Ok(Exit::Done), "{:#?}", self.of("problem"));
        self
    }

    pub(crate) fn of(&self, kind: &str) -> Vec<&Value> {
        let is = |record: &&Value| record["type"] == kind;
        self.records.iter().filter(is).collect()
    }

    pub(crate) fn problems(&self) -> BTreeSet<(String, i64)> {
        let of = |problem: &&Value| {
            assert!(!problem["hint"].as_str().unwrap().is_empty());
            (
                problem["class"].as_str().unwrap().to_owned(),
                problem["file"].as_i64().unwrap_or(0),
            )
        };
        self.of("problem").iter().map(of).collect()
    }
}

/// The golden account as a machine that holds the mirror and the keys has it.
pub(crate) struct Mirror {
    home: TempDir,
    fetches: BTreeMap<(i64, String), u32>,
}

impl Mirror {
    /// An export of the account without a listing yet.
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let account = account();
        let (_, master_key, key_pair) = keys();
        Keystore::open(home.path().join("keys"))
            .save_keys(&account, &master_key, &key_pair)
            .unwrap();
        Export::create(&home.path().join("Ente"), account, Value::Null).unwrap();
        Self {
            home,
            fetches: BTreeMap::new(),
        }
    }

    /// A first listing and all objects.
    pub(crate) fn initial() -> Self {
        let mut mirror = Self::new();
        mirror.list("1-initial", |_| ());
        mirror.fetch_all("1-initial");
        mirror
    }

    pub(crate) fn keystore(&self) -> PathBuf {
        self.home.path().join("keys")
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.home.path().join("Ente")
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.dir().join(relative)
    }

    pub(crate) fn state(&self) -> State {
        State::load(&self.path(".ente")).unwrap()
    }

    fn journal(&self, facts: &[PullFact]) {
        let mut journal = Journal::open(&self.path(".ente"), "pull").unwrap();
        facts.iter().for_each(|fact| journal.append(fact));
        journal.sync().unwrap();
    }

    pub(crate) fn keep_objects(&self) {
        self.journal(&[PullFact::Setting(Setting {
            name: "objects".into(),
            value: "keep".into(),
        })]);
    }

    /// Commits the listing of a golden state; `edit` may change each entry (collections have no `collectionID`).
    pub(crate) fn list(&mut self, golden: &str, mut edit: impl FnMut(&mut Value)) {
        let before = self.state();
        let mut facts = Vec::new();
        let mut entries = Journal::open(&self.path(".ente"), "ciphertext").unwrap();
        let mut seen = BTreeSet::new();
        for mut entry in take(&mut read(&format!("{golden}/wire/collections.json"))["collections"])
        {
            edit(&mut entry);
            let id = entry["id"].as_i64().unwrap();
            if entry["isDeleted"] == true {
                facts.push(PullFact::Collection(Collection {
                    id,
                    gone: true,
                    ..Collection::default()
                }));
                continue;
            }
            let (at, len) = ciphertext::append(&mut entries, id, None, &raw(&entry));
            facts.push(PullFact::Collection(Collection {
                id,
                owner: entry["owner"]["id"].as_i64().unwrap(),
                digest: digest(&entry),
                at,
                len,
                ..Collection::default()
            }));
            for mut entry in take(&mut read(&format!("{golden}/wire/diff/{id}.json"))["diff"]) {
                edit(&mut entry);
                let wire: wire::FileEntry = serde_json::from_value(entry.clone()).unwrap();
                let mut file = File {
                    collection: id,
                    id: wire.id,
                    gone: wire.is_removed(),
                    ..File::default()
                };
                if !file.gone {
                    let (at, len) =
                        ciphertext::append(&mut entries, id, Some(wire.id), &raw(&entry));
                    file = File {
                        owner: wire.owner_id,
                        version: wire.content_version(),
                        size: wire.object_size_bytes(),
                        digest: digest(&entry),
                        at,
                        len,
                        ..file
                    };
                    seen.insert((id, wire.id));
                }
                facts.push(PullFact::File(file));
            }
        }
        for &(collection, id) in before.pull.files.keys().filter(|key| !seen.contains(key)) {
            facts.push(PullFact::File(File {
                collection,
                id,
                gone: true,
                ..File::default()
            }));
        }
        entries.sync().unwrap();
        facts.push(PullFact::Listing(Listing::default()));
        self.journal(&facts);
    }

    /// Stores one object, changed by `edit`.
    pub(crate) fn fetch(&mut self, golden: &str, id: i64, edit: impl FnOnce(&mut Vec<u8>)) {
        let state = self.state();
        let mut files = state.pull.files.values();
        let version = files
            .find(|file| file.id == id)
            .and_then(|file| file.version)
            .unwrap();
        let mut bytes = fs::read(format!("{GOLDEN}/{golden}/objects/{id}")).unwrap();
        edit(&mut bytes);
        let path = self.path(".ente").join(layout::object(id, version));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &bytes).unwrap();
        let fetch = self.fetches.entry((id, version.to_string())).or_default();
        *fetch += 1;
        let fact = PullFact::Object(Object {
            id,
            version,
            size: bytes.len() as u64,
            blake3: Some(blake3::hash(&bytes)),
            fetch: *fetch,
            ..Object::default()
        });
        self.journal(&[fact]);
    }

    /// Stores every object that the listing wants and this golden state holds.
    pub(crate) fn fetch_all(&mut self, golden: &str) {
        let ids: BTreeSet<i64> = self.state().pull.files.keys().map(|key| key.1).collect();
        for id in ids {
            if Path::new(&format!("{GOLDEN}/{golden}/objects/{id}")).exists() {
                self.fetch(golden, id, |_| ());
            }
        }
    }

    /// Runs the tool over the export.
    pub(crate) fn run(&self, options: &[&str]) -> Outcome {
        self.run_on(options, None, Interrupt::default())
    }

    /// Runs the tool over records.
    pub(crate) fn pipe(&self, options: &[&str], records: &str) -> Outcome {
        self.run_on(options, Some(records.to_owned()), Interrupt::default())
    }

    /// Runs the tool when Ctrl-C was pressed already.
    pub(crate) fn interrupted(&self) -> Outcome {
        let interrupt = Interrupt::default();
        interrupt.set();
        self.run_on(&[], None, interrupt)
    }

    fn run_on(&self, options: &[&str], records: Option<String>, interrupt: Interrupt) -> Outcome {
        let keystore = self.keystore();
        let source = match records {
            Some(_) => "-".into(),
            None => self.dir().into_os_string(),
        };
        let mut line: Vec<std::ffi::OsString> =
            vec!["ente-decrypt".into(), "--keystore".into(), keystore.into()];
        line.extend(options.iter().map(Into::into));
        line.push(source);
        let printed = Arc::new(Mutex::new(Vec::new()));
        let mut io = Io {
            input: Box::new(Cursor::new(records.unwrap_or_default().into_bytes())),
            records: Writer::new(Some(Box::new(Printed(printed.clone())))),
            output: Box::new(std::io::sink()),
            ui: Ui::capture("ente-decrypt"),
            interrupt,
            clock: || 1_763_800_000_000_000,
        };
        let exit = Args::try_parse_from(line).unwrap().run(&mut io);
        let printed = String::from_utf8(printed.lock().unwrap().clone()).unwrap();
        let records = printed
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        Outcome {
            exit,
            records: records.collect(),
        }
    }

    /// The records that `ente-pull` prints for these files, with `begin` and, unless it was cut short, `end`.
    pub(crate) fn records(&self, scope: &str, ids: &[i64], is_whole: bool) -> String {
        let state = self.state();
        let mut lines = vec![
            json!({"v": 1, "type": "begin", "tool": "ente-pull", "run": "00112233445566ff",
            "scope": scope, "export": self.dir().to_str().unwrap(), "account": account()}),
        ];
        for &id in ids {
            let files = || state.pull.files.values().filter(|file| file.id == id);
            let mut placements: Vec<Value> = files()
                .map(|file| json!({"collection": file.collection, "mine": "stays"}))
                .collect();
            for key in state.decrypt.placements.keys().filter(|key| key.1 == id) {
                if !state.pull.files.contains_key(key) {
                    placements.push(json!({"collection": key.0, "gone": true}));
                }
            }
            let version = files()
                .next()
                .and_then(|file| file.version)
                .map(|version| version.to_string());
            lines.push(
                json!({"v": 1, "type": "file", "id": id, "version": version, "change": ["new"],
                "object": "stored", "placements": placements}),
            );
        }
        if is_whole {
            lines.push(
                json!({"v": 1, "type": "end", "counts": {"ente-pull": {"files": ids.len()}}}),
            );
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Every file but those below `.ente` by path: bytes and modification time in whole seconds.
    pub(crate) fn tree(&self) -> BTreeMap<String, (Vec<u8>, i64)> {
        let mut files = BTreeMap::new();
        walk(&self.dir(), "", &mut files);
        files
    }

    /// Names of what lies in a folder below `.ente`.
    pub(crate) fn held(&self, folder: &str) -> Vec<String> {
        let mut files = BTreeMap::new();
        let folder = self.path(".ente").join(folder);
        if folder.exists() {
            walk(&folder, "", &mut files);
        }
        files.into_keys().collect()
    }

    /// What the manifest says about the tree.
    pub(crate) fn facts(&self) -> String {
        let state = self.state().decrypt;
        format!(
            "{:#?} {:#?} {:#?} {:#?}",
            state.folders, state.placements, state.trash, state.settings
        )
    }
}

/// User ID and keys of the account.
pub(crate) fn keys() -> (i64, MasterKey, KeyPair) {
    let golden = read("account.json");
    let key = |name: &str| array_from_base64::<32>(golden[name].as_str().unwrap()).unwrap();
    let pair = KeyPair::new(SecretKey::from(key("secretKey")));
    (
        golden["userID"].as_i64().unwrap(),
        key("masterKey").into(),
        pair,
    )
}

fn account() -> Account {
    let golden = read("account.json");
    Account {
        endpoint: "https://api.ente.com".into(),
        app: "photos".into(),
        user_id: golden["userID"].as_i64().unwrap(),
        email: golden["email"].as_str().unwrap().into(),
    }
}

fn take(list: &mut Value) -> Vec<Value> {
    serde_json::from_value(list.take()).unwrap()
}

fn raw(entry: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(entry).unwrap()
}

fn digest(entry: &Value) -> Digest {
    let mut entry = entry.clone();
    entry.as_object_mut().unwrap().remove("updationTime");
    Digest::of(entry.to_string().as_bytes())
}

struct Printed(Arc<Mutex<Vec<u8>>>);

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn walk(dir: &Path, prefix: &str, files: &mut BTreeMap<String, (Vec<u8>, i64)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if prefix.is_empty() && name == ".ente" {
            continue;
        }
        let path = format!("{prefix}{name}");
        let metadata = fs::symlink_metadata(entry.path()).unwrap();
        if metadata.is_dir() {
            walk(&entry.path(), &format!("{path}/"), files);
        } else {
            let seconds = ente_common::disk::mtime_us(&metadata).div_euclid(1_000_000);
            files.insert(path, (fs::read(entry.path()).unwrap_or_default(), seconds));
        }
    }
}
