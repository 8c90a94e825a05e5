//! Exports made by hand, fact by fact.

use std::fs;
use std::io::{self, Cursor, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use clap::Parser as _;
use ente_common::cli::{Interrupt, Io, Tool as _};
use ente_common::disk::{mtime_us, system_time};
use ente_common::exit::Exit;
use ente_common::id::Version;
use ente_common::layout::{join, object};
use ente_common::manifest::facts::{
    Collection, DecryptFact, File, Folder, How, Listing, MetaFact, Object, Part, Placement,
    PullFact, Sidecar,
};
use ente_common::manifest::journal::Facts;
use ente_common::manifest::{Account, Export, Journal, State, ciphertext};
use ente_common::record::Writer;
use ente_common::ui::Ui;
use ente_verify::Args;
use serde_json::Value;
use serde_json::value::RawValue;

/// Content of every sidecar.
pub(crate) const SIDECAR: &[u8] = b"{\"title\":\"x\"}";

/// Modification time of every file, in seconds.
const TAKEN_S: i64 = 1_717_236_000;

/// 2026-11-22, a Sunday afternoon.
const NOW_US: i64 = 1_795_359_600_000_000;

pub(crate) fn version(byte: u8) -> Version {
    Version::from_bytes([byte; 8])
}

pub(crate) fn at(seconds: i64) -> SystemTime {
    system_time(seconds * 1_000_000).unwrap()
}

pub(crate) fn file(collection: i64, id: i64, version: Version) -> File {
    File {
        collection,
        id,
        version: Some(version),
        ..File::default()
    }
}

pub(crate) fn placement(collection: i64, file: i64, name: &str, part: Option<Part>) -> Placement {
    Placement {
        collection,
        file,
        name: name.into(),
        version: Some(version(file as u8)),
        n: 1,
        parts: part.into_iter().collect(),
        ..Placement::default()
    }
}

/// What a run left behind.
pub(crate) struct Ran {
    pub(crate) exit: Exit,
    pub(crate) records: Vec<Value>,
    pub(crate) output: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.records.iter().filter(move |it| it["type"] == kind)
    }
}

/// An export in a folder that goes away; clones share it.
#[derive(Clone)]
pub(crate) struct Scratch {
    dir: Arc<tempfile::TempDir>,
}

impl Scratch {
    /// An export that was never listed.
    pub(crate) fn empty() -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let account = Account {
            endpoint: "https://e".into(),
            app: "photos".into(),
            user_id: 1,
            email: "a@b".into(),
        };
        Export::create(dir.path(), account, Value::Null).unwrap();
        Self { dir }
    }

    /// Files 1 and 2 in album 1 (`Lisbon`), file 3 in album 2 (`Porto`), with sidecars.
    pub(crate) fn whole() -> Self {
        let export = Self::empty();
        for (collection, name) in [(1, "Lisbon"), (2, "Porto")] {
            export.pull(&[PullFact::Collection(Collection {
                id: collection,
                ..Collection::default()
            })]);
            export.decrypt(&[DecryptFact::Folder(Folder {
                collection,
                name: name.into(),
                ..Folder::default()
            })]);
        }
        for (collection, id, name, content) in [
            (1, 1, "a.jpg", &b"first"[..]),
            (1, 2, "b.jpg", b"second"),
            (2, 3, "c.jpg", b"third"),
        ] {
            export.list(collection, id, version(id as u8));
            export.write(collection, id, name, content, 1);
            export.sidecar(collection, id, name, 1);
        }
        export
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        join(self.dir.path(), relative)
    }

    pub(crate) fn put(&self, relative: &str, content: &[u8]) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn append<F: Facts>(&self, facts: &[F]) {
        let mut journal = Journal::open(&self.path(".ente"), F::FILE).unwrap();
        facts.iter().for_each(|fact| journal.append(fact));
        journal.flush().unwrap();
    }

    /// Facts of `ente-pull`, and the entries to which they point.
    pub(crate) fn pull(&self, facts: &[PullFact]) {
        let mut facts = facts.to_vec();
        let mut entries = Journal::open(&self.path(".ente"), "ciphertext").unwrap();
        let entry = RawValue::from_string("{}".to_owned()).unwrap();
        for fact in &mut facts {
            match fact {
                PullFact::Collection(it) => {
                    (it.at, it.len) = ciphertext::append(&mut entries, it.id, None, &entry);
                }
                PullFact::File(it) => {
                    (it.at, it.len) =
                        ciphertext::append(&mut entries, it.collection, Some(it.id), &entry);
                }
                _ => {}
            }
        }
        entries.flush().unwrap();
        self.append(&facts);
    }

    pub(crate) fn decrypt(&self, facts: &[DecryptFact]) {
        self.append(facts);
    }

    pub(crate) fn meta(&self, facts: &[MetaFact]) {
        self.append(facts);
    }

    /// A closed listing that has this file.
    pub(crate) fn list(&self, collection: i64, id: i64, version: Version) {
        self.pull(&[
            PullFact::File(file(collection, id, version)),
            PullFact::Listing(Listing::default()),
        ]);
    }

    fn folder(&self, collection: i64) -> &'static str {
        if collection == 1 { "Lisbon" } else { "Porto" }
    }

    /// A file and the fact that it was written for the `n`th time.
    pub(crate) fn write(&self, collection: i64, id: i64, name: &str, content: &[u8], n: u32) {
        let relative = format!("{}/{name}", self.folder(collection));
        self.put(&relative, content);
        let file = fs::File::options()
            .write(true)
            .open(self.path(&relative))
            .unwrap();
        file.set_modified(at(TAKEN_S)).unwrap();
        let part = Part {
            name: name.into(),
            size: content.len() as u64,
            blake3: Some(blake3::hash(content)),
            mtime: mtime_us(&file.metadata().unwrap()),
            how: How::Written,
            ..Part::default()
        };
        self.decrypt(&[DecryptFact::Placement(Placement {
            n,
            ..placement(collection, id, name, Some(part))
        })]);
    }

    /// A sidecar and the fact that it was written for the `n`th time.
    pub(crate) fn sidecar(&self, collection: i64, file: i64, name: &str, n: u32) {
        self.put(
            &format!("{}/metadata/{name}.json", self.folder(collection)),
            SIDECAR,
        );
        self.meta(&[MetaFact::Sidecar(Sidecar {
            collection,
            file,
            size: SIDECAR.len() as u64,
            blake3: Some(blake3::hash(SIDECAR)),
            n,
            ..Sidecar::default()
        })]);
    }

    /// A stored object and the fact that it was fetched for the `fetch`th time; tells its path.
    pub(crate) fn object(&self, id: i64, content: &[u8], fetch: u32) -> String {
        let version = version(id as u8);
        let path = format!(".ente/{}", object(id, version));
        self.put(&path, content);
        self.pull(&[PullFact::Object(Object {
            id,
            version,
            size: content.len() as u64,
            blake3: Some(blake3::hash(content)),
            fetch,
            ..Object::default()
        })]);
        path
    }

    /// Flips a bit and leaves size and time as they are.
    pub(crate) fn rot(&self, relative: &str) {
        let mut content = fs::read(self.path(relative)).unwrap();
        content[0] ^= 1;
        fs::write(self.path(relative), content).unwrap();
        let file = fs::File::options()
            .write(true)
            .open(self.path(relative))
            .unwrap();
        file.set_modified(at(TAKEN_S)).unwrap();
    }

    pub(crate) fn state(&self) -> State {
        State::load(&self.path(".ente")).unwrap()
    }

    pub(crate) fn verify_lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path(".ente/verify.jsonl")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// All files below `relative`, sorted.
    pub(crate) fn files(&self, relative: &str) -> Vec<String> {
        let root = self.path(relative);
        let mut files: Vec<String> = walkdir::WalkDir::new(&root)
            .into_iter()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| {
                entry
                    .path()
                    .strip_prefix(&root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        files.sort();
        files
    }

    pub(crate) fn begin(&self, scope: &str) -> String {
        serde_json::json!({
            "v": 1, "type": "begin", "tool": "ente-meta", "run": "0123456789abcdef", "scope": scope,
            "export": self.dir.path(), "account": {"endpoint": "https://e", "app": "photos", "user_id": 1, "email": "a@b"},
        })
        .to_string()
    }

    pub(crate) fn verify(&self, options: &[&str]) -> Ran {
        let dir = self.dir.path().to_str().unwrap();
        self.run(
            &[options, &[dir]].concat(),
            String::new(),
            Interrupt::default(),
        )
    }

    pub(crate) fn feed(&self, args: &[&str], lines: &[String]) -> Ran {
        let text = lines.iter().map(|line| format!("{line}\n")).collect();
        self.run(args, text, Interrupt::default())
    }

    /// A run that is told to stop before it begins.
    pub(crate) fn interrupted(&self, options: &[&str]) -> Ran {
        let dir = self.dir.path().to_str().unwrap();
        let interrupt = Interrupt::default();
        interrupt.set();
        self.run(&[options, &[dir]].concat(), String::new(), interrupt)
    }

    /// A run during which, once it has read the facts, something happens.
    pub(crate) fn meanwhile(&self, happens: impl FnOnce() + Send + 'static) -> Ran {
        let dir = self.dir.path().to_str().unwrap();
        let records = Shared(
            Arc::default(),
            Arc::new(Mutex::new(Some(Box::new(happens)))),
        );
        self.run_with(&[dir], String::new(), Interrupt::default(), records)
    }

    fn run(&self, args: &[&str], input: String, interrupt: Interrupt) -> Ran {
        self.run_with(args, input, interrupt, Shared::default())
    }

    fn run_with(&self, args: &[&str], input: String, interrupt: Interrupt, records: Shared) -> Ran {
        let args = Args::try_parse_from([&["ente-verify"], args].concat()).unwrap();
        let output = Shared::default();
        let mut io = Io {
            input: Box::new(Cursor::new(input.into_bytes())),
            records: Writer::new(Some(Box::new(records.clone()))),
            output: Box::new(output.clone()),
            ui: Ui::capture("ente-verify"),
            interrupt,
            clock: || NOW_US,
        };
        let exit = args.run(&mut io).unwrap_or_else(|failure| {
            io.ui.error(&failure);
            failure.exit
        });
        Ran {
            exit,
            records: records
                .text()
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect(),
            output: output.text(),
            stderr: io.ui.captured(),
        }
    }
}

/// A stream that is kept; at the first line something may happen.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>, Arc<Mutex<Option<Happens>>>);

type Happens = Box<dyn FnOnce() + Send>;

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(happens) = self.1.lock().unwrap().take() {
            happens();
        }
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
