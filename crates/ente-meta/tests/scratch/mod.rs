//! A scratch export in the state in which `ente-pull` and `ente-decrypt` leave it, made from the golden account by hand.

#![expect(unreachable_pub, reason = "a test has no outside")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use blake3::Hash;
use clap::Parser as _;
use ente_common::cli::{Interrupt, Io, Tool as _};
use ente_common::crypto::{KeyPair, MasterKey, SecretKey};
use ente_common::encoding::array_from_base64;
use ente_common::exit::{Exit, Failure};
use ente_common::id::Version;
use ente_common::keystore::Keystore;
use ente_common::manifest::facts::{self, DecryptFact, Folder, Listing, Part, Placement, PullFact};
use ente_common::manifest::{Account, Digest, Export, Journal, State, ciphertext};
use ente_common::record::Writer;
use ente_common::ui::Ui;
use ente_meta::Args;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/account");

pub fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
        .unwrap()
}

pub fn expected(state: &str) -> Vec<Value> {
    let rows = read_json(Path::new(&format!("{GOLDEN}/{state}/expected.json")));
    rows.as_array().unwrap().clone()
}

/// What a run came to.
pub struct Run {
    result: Result<Exit, Failure>,
    pub records: Vec<Value>,
    pub messages: String,
}

impl Run {
    pub fn exit(&self) -> u8 {
        match &self.result {
            Ok(exit) => *exit as u8,
            Err(failure) => failure.exit as u8,
        }
    }

    pub fn of(&self, kind: &'static str) -> impl Iterator<Item = &Value> {
        self.records
            .iter()
            .filter(move |record| record["type"] == kind)
    }
}

pub struct Scratch {
    dir: tempfile::TempDir,
    keystore: tempfile::TempDir,
    account: Account,
    collections: Vec<Value>,
    /// Live entries by (collection, file).
    entries: BTreeMap<(i64, i64), Value>,
}

/// Standard output of a run.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn id(value: &Value, name: &str) -> i64 {
    value[name].as_i64().unwrap()
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap().to_owned()
}

fn digest(value: &Value) -> Digest {
    let mut value = value.clone();
    value.as_object_mut().unwrap().remove("updationTime");
    Digest::of(value.to_string().as_bytes())
}

impl Scratch {
    /// An empty export of the golden account, which is signed in.
    pub fn new() -> Self {
        let golden = read_json(Path::new(&format!("{GOLDEN}/account.json")));
        let account = Account {
            endpoint: "https://api.ente.com".into(),
            app: "photos".into(),
            user_id: id(&golden, "userID"),
            email: text(&golden, "email"),
        };
        let key = |name: &str| array_from_base64::<32>(&text(&golden, name)).unwrap();
        let keystore = tempfile::tempdir().unwrap();
        let master_key = MasterKey::from(key("masterKey"));
        let key_pair = KeyPair::new(SecretKey::from(key("secretKey")));
        Keystore::open(keystore.path())
            .save_keys(&account, &master_key, &key_pair)
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        Export::create(dir.path(), account.clone(), Value::Null).unwrap();
        Self {
            dir,
            keystore,
            account,
            collections: Vec::new(),
            entries: BTreeMap::new(),
        }
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    pub fn text(&self, relative: &str) -> String {
        fs::read_to_string(self.path(relative)).unwrap()
    }

    fn state_dir(&self) -> PathBuf {
        self.path(".ente")
    }

    /// Makes the manifest and the tree those of a golden state.
    pub fn enter(&mut self, state: &str) {
        let read = |name: &str| read_json(Path::new(&format!("{GOLDEN}/{state}/wire/{name}")));
        let list = read("collections.json");
        let collections = list["collections"].as_array().unwrap().iter();
        self.collections = collections
            .filter(|collection| collection["isDeleted"] != true)
            .cloned()
            .collect();
        self.entries.clear();
        for collection in &self.collections {
            let collection = id(collection, "id");
            for entry in read(&format!("diff/{collection}.json"))["diff"]
                .as_array()
                .unwrap()
            {
                if entry["isDeleted"] != true && entry["metadata"]["encryptedData"] != "-" {
                    self.entries
                        .insert((collection, id(entry, "id")), entry.clone());
                }
            }
        }
        self.list();
        self.place(&expected(state));
    }

    /// What `ente-pull` records of a listing.
    fn list(&self) {
        let old = State::load(&self.state_dir()).unwrap();
        let mut fat = Journal::open(&self.state_dir(), "ciphertext").unwrap();
        let mut thin = Journal::open(&self.state_dir(), "pull").unwrap();
        for collection in &self.collections {
            let raw = to_raw_value(collection).unwrap();
            let (at, len) = ciphertext::append(&mut fat, id(collection, "id"), None, &raw);
            thin.append(&PullFact::Collection(facts::Collection {
                id: id(collection, "id"),
                owner: id(&collection["owner"], "id"),
                kind: text(collection, "type"),
                digest: digest(collection),
                at,
                len,
                ..Default::default()
            }));
        }
        for (&(collection, file), entry) in &self.entries {
            let raw = to_raw_value(entry).unwrap();
            let (at, len) = ciphertext::append(&mut fat, collection, Some(file), &raw);
            thin.append(&PullFact::File(facts::File {
                collection,
                id: file,
                owner: id(entry, "ownerID"),
                version: Version::of_header(entry["file"]["decryptionHeader"].as_str().unwrap()),
                updated: id(entry, "updationTime"),
                digest: digest(entry),
                at,
                len,
                ..Default::default()
            }));
        }
        let live: Vec<i64> = self.collections.iter().map(|c| id(c, "id")).collect();
        for collection in old.pull.collections.into_values() {
            if !live.contains(&collection.id) {
                thin.append(&PullFact::Collection(facts::Collection {
                    gone: true,
                    ..collection
                }));
            }
        }
        for (key, file) in old.pull.files {
            if !self.entries.contains_key(&key) {
                thin.append(&PullFact::File(facts::File {
                    gone: true,
                    ..*file
                }));
            }
        }
        thin.append(&PullFact::Listing(Listing::default()));
        fat.sync().unwrap();
        thin.sync().unwrap();
    }

    /// What `ente-decrypt` does and records: folders, names, parts; sidecars go with their files.
    fn place(&self, rows: &[Value]) {
        let old = State::load(&self.state_dir()).unwrap();
        let mut journal = Journal::open(&self.state_dir(), "decrypt").unwrap();
        let mut placed = BTreeMap::new();
        for row in rows {
            let (collection, file) = (id(row, "collectionID"), id(row, "fileID"));
            let album = text(row, "album");
            journal.append(&DecryptFact::Folder(Folder {
                collection,
                name: album.clone(),
                ..Default::default()
            }));
            let parts: Vec<Part> = row["parts"]
                .as_array()
                .unwrap()
                .iter()
                .map(|part| Part {
                    name: text(part, "name"),
                    size: part["size"].as_u64().unwrap(),
                    blake3: Hash::from_hex(text(part, "blake3")).ok(),
                    ..Default::default()
                })
                .collect();
            let live = parts.len() > 1;
            let name = parts[0].name.clone();
            let stem = name
                .rsplit_once('.')
                .map_or(name.as_str(), |(stem, _)| stem);
            fs::create_dir_all(self.path(&album)).unwrap();
            for (index, part) in parts.iter().enumerate() {
                fs::write(self.path(&format!("{album}/{}", part.name)), "").unwrap();
                placed.insert(
                    (collection, file, index),
                    format!("{album}/metadata/{}.json", part.name),
                );
            }
            journal.append(&DecryptFact::Placement(Placement {
                collection,
                file,
                name: if live { stem.to_owned() } else { name.clone() },
                live,
                n: 1,
                parts,
                ..Default::default()
            }));
        }
        let now: Vec<(i64, i64)> = rows
            .iter()
            .map(|row| (id(row, "collectionID"), id(row, "fileID")))
            .collect();
        for (key, placement) in &old.decrypt.placements {
            let folder = &old.decrypt.folders[&key.0].name;
            for (index, part) in placement.parts.iter().enumerate() {
                let was = self.path(&format!("{folder}/metadata/{}.json", part.name));
                match placed.get(&(key.0, key.1, index)) {
                    Some(path) if self.path(path) != was => {
                        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
                        fs::rename(was, self.path(path)).unwrap();
                    }
                    Some(_) => {}
                    None => fs::remove_file(was).unwrap(),
                }
            }
            if !now.contains(key) {
                journal.append(&DecryptFact::Placement(Placement {
                    gone: true,
                    ..(**placement).clone()
                }));
            }
        }
        journal.sync().unwrap();
    }

    /// What is recorded of the sidecars.
    pub fn recorded(&self) -> Vec<facts::Sidecar> {
        let state = State::load(&self.state_dir()).unwrap();
        state.meta.sidecars.into_values().collect()
    }

    /// Gives one exported file another name.
    pub fn rename_part(&self, collection: i64, file: i64, name: &str) {
        let state = State::load(&self.state_dir()).unwrap();
        let mut placement = state.decrypt.placements[&(collection, file)].clone();
        let folder = &state.decrypt.folders[&collection].name;
        let old = format!("{folder}/metadata/{}.json", placement.parts[0].name);
        if self.path(&old).exists() {
            // As `ente-decrypt` does: out of the way of another one first.
            let aside = self.path(&format!("{folder}/metadata/{name}.json"));
            if !aside.exists() {
                fs::rename(self.path(&old), aside).unwrap();
            } else {
                fs::remove_file(self.path(&old)).unwrap();
            }
        }
        placement.parts[0].name = name.to_owned();
        placement.name = name.to_owned();
        let mut journal = Journal::open(&self.state_dir(), "decrypt").unwrap();
        journal.append(&DecryptFact::Placement(*placement));
        journal.sync().unwrap();
    }

    /// Damages the entries of a file, as if the server had.
    pub fn spoil(&mut self, file: i64) {
        for ((_, id), entry) in &mut self.entries {
            if *id == file {
                entry["encryptedKey"] = json!("AAAA");
            }
        }
        self.list();
    }

    /// Damages the edits of a file that all see.
    pub fn spoil_edits(&mut self, file: i64) {
        for ((_, id), entry) in &mut self.entries {
            if *id == file {
                entry["pubMagicMetadata"]["data"] = json!("AAAA");
            }
        }
        self.list();
    }

    /// What the stages before would print.
    pub fn records(&self, scope: &str) -> Vec<Value> {
        let mut records = vec![json!({
            "v": 1, "type": "begin", "tool": "ente-decrypt", "run": "0123456789abcdef", "scope": scope,
            "export": self.dir.path().to_str().unwrap(), "account": self.account,
        })];
        for entry in &self.collections {
            records.push(json!({"v": 1, "type": "collection", "id": entry["id"], "change": "new", "entry": entry}));
        }
        let state = State::load(&self.state_dir()).unwrap();
        let mut files: BTreeMap<i64, Vec<Value>> = BTreeMap::new();
        for (key, entry) in &self.entries {
            let mut placement = json!({"collection": key.0, "entry": entry});
            if scope != "listing"
                && let Some(placed) = state.decrypt.placements.get(key)
            {
                let parts = (0..placed.parts.len())
                    .map(|part| json!({"path": state.decrypt.path(*key, part).unwrap()}));
                placement["parts"] = parts.collect();
            }
            files.entry(key.1).or_default().push(placement);
        }
        for (file, placements) in files {
            if scope == "all" && placements.iter().all(|p| p.get("parts").is_none()) {
                continue;
            }
            records.push(json!({"v": 1, "type": "file", "id": file, "change": ["new"], "placements": placements}));
        }
        records.push(json!({"v": 1, "type": "end", "counts": {}}));
        records
    }

    pub fn run(&self, args: &[&str]) -> Run {
        self.pipe(args, &[])
    }

    pub fn pipe(&self, args: &[&str], input: &[Value]) -> Run {
        let dir = self.dir.path().to_str().unwrap();
        let keystore = self.keystore.path().to_str().unwrap();
        let args = args.iter().map(|arg| if *arg == "DIR" { dir } else { arg });
        let args = ["ente-meta", "--keystore", keystore]
            .into_iter()
            .chain(args);
        let args = Args::try_parse_from(args).unwrap();
        let input: String = input.iter().map(|record| format!("{record}\n")).collect();
        let output = Shared::default();
        let ui = Ui::capture("ente-meta");
        let mut io = Io {
            input: Box::new(Cursor::new(input.into_bytes())),
            records: Writer::new(Some(Box::new(output.clone()))),
            output: Box::new(output.clone()),
            ui: ui.clone(),
            interrupt: Interrupt::default(),
            clock: || 1_700_000_000_000_000,
        };
        let result = args.run(&mut io);
        let printed = output.0.lock().unwrap().clone();
        let records = serde_json::Deserializer::from_slice(&printed).into_iter();
        Run {
            result,
            records: records.map(Result::unwrap).collect(),
            messages: ui.captured(),
        }
    }

    /// All files below the export outside `.ente` that are sidecars, with their contents.
    pub fn tree(&self) -> BTreeMap<String, Vec<u8>> {
        self.files()
            .into_iter()
            .filter(|(path, _)| path.ends_with(".json") && !path.starts_with(".ente"))
            .collect()
    }

    pub fn sidecars(&self) -> Vec<String> {
        self.tree().into_keys().collect()
    }

    /// Every file of the export with its content.
    pub fn snapshot(&self) -> BTreeMap<String, Vec<u8>> {
        self.files()
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.dir.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(self.dir.path()).unwrap();
                    files.insert(name.to_str().unwrap().to_owned(), fs::read(&path).unwrap());
                }
            }
        }
        files
    }

    /// The export is not there (yet).
    pub fn forget(&self) {
        fs::remove_dir_all(self.state_dir()).unwrap();
    }

    pub fn sign_in_another(&self) {
        let eve = Account {
            user_id: 3,
            email: "eve@example.org".into(),
            ..self.account.clone()
        };
        let key_pair = KeyPair::new(SecretKey::from([8; 32]));
        Keystore::open(self.keystore.path())
            .save_keys(&eve, &MasterKey::from([9; 32]), &key_pair)
            .unwrap();
    }

    pub fn sign_out(&self, email: &str) {
        fs::remove_dir_all(self.keystore.path().join(email)).unwrap();
    }
}
