//! Everything that a server or the network can do to a run: what it says then, that nothing wrong is written, that nothing is lost, and that
//! the next plain run puts everything right.

mod large;
mod listing;
mod network;
mod objects;
mod ranges;
mod removal;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use ente_tests::harness::{Entry, Machine, Outcome, assert_same, expect_all, folded, tree};
use ente_tests::library::{Content, Library, Live, NewFile};
use ente_tests::museum::{Fault, Match, Museum, Options};
use serde_json::Value;

const EMAIL: &str = "faults@example.org";
const PASSWORD: &str = "faults";

/// Gives up at the first failure and after half a second of silence.
const IMPATIENT: [&str; 4] = ["--retries", "0", "--timeout", "0.5"];

/// An account of seven files in three albums, a machine that is signed in, and what a plain export of it is.
struct Scene {
    museum: Museum,
    machine: Machine,
    reference: BTreeMap<String, Entry>,
    /// Albums by ascending ID: three files, three files, the first file once more and another one.
    albums: [i64; 3],
    /// Files by ascending ID.
    files: Vec<i64>,
    exports: usize,
}

fn content(seed: u8, len: usize) -> Content {
    let bytes: Vec<u8> = (0..len).map(|at| seed ^ (at / 7) as u8).collect();
    Content::Bytes(0, bytes.into())
}

fn photo(number: u8) -> NewFile {
    NewFile::new(&format!("{number}.jpg"), content(number, 40_000))
}

fn fill(live: &mut Live) -> ([i64; 3], Vec<i64>) {
    let albums = ["One", "Two", "Three"].map(|name| live.create_album(name));
    let mut files: Vec<i64> = (0..6)
        .map(|n| live.upload(albums[n / 3], photo(n as u8)))
        .collect();
    live.add(files[0], albums[2]);
    files.push(live.upload(albums[2], photo(6)));
    (albums, files)
}

impl Scene {
    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        let mut library = Library::empty(11, EMAIL, PASSWORD);
        let (albums, files) = fill(library.live_mut());
        let museum = Museum::start(library, options);
        let machine = crate::machine();
        let _ = machine.sign_in(museum.api_url(), EMAIL, PASSWORD).expect(0);
        let mut scene = Self {
            museum,
            machine,
            reference: BTreeMap::new(),
            albums,
            files,
            exports: 0,
        };
        scene.refer();
        scene.start_over();
        scene
    }

    /// Makes a plain export of the account as it is now, elsewhere, for comparison.
    fn refer(&mut self) {
        let export = self.machine.export.clone();
        self.start_over();
        expect_all(&self.machine.pipeline(), 0);
        self.reference = look(&self.machine.export);
        self.machine.export = export;
        self.museum.reset_log();
    }

    /// Changes the account, and with it what a plain export is.
    fn change<R>(&mut self, change: impl FnOnce(&mut Live) -> R) -> R {
        let result = self
            .museum
            .with_library(|library| change(library.live_mut()));
        self.refer();
        result
    }

    fn start_over(&mut self) {
        self.exports += 1;
        self.machine.export = self.machine.home().join(format!("export-{}", self.exports));
        self.museum.reset_log();
    }

    /// The whole pipe, with these options for `ente-pull`.
    fn run(&self, options: &[&str]) -> Vec<Outcome> {
        let mut pull = vec!["ente-pull"];
        pull.extend(options);
        pull.push(self.machine.dir());
        let outcomes = self.machine.pipe(&[
            &pull,
            &["ente-decrypt", "-"],
            &["ente-meta", "-"],
            &["ente-verify", "-"],
        ]);
        self.assert_nothing_wrong();
        outcomes
    }

    /// What is there has the bytes that it should have.
    fn assert_nothing_wrong(&self) {
        if !self.machine.export.exists() {
            return;
        }
        for (path, entry) in look(&self.machine.export) {
            // A sidecar names the albums that are known so far.
            if !path.contains("/metadata/") {
                assert_eq!(Some(&entry), self.reference.get(&path), "`{path}`");
            }
        }
        let leaked = self.museum.leaked_tokens();
        assert!(leaked.is_empty(), "{leaked:?}");
    }

    /// All is well again: a plain run makes the tree what it should be. Tells what was fetched for that.
    fn heal(&self) -> BTreeSet<i64> {
        self.museum.clear_faults();
        self.museum.reset_log();
        expect_all(&self.machine.pipeline(), 0);
        assert_same(&look(&self.machine.export), &self.reference);
        let partial = self.machine.export.join(".ente/partial");
        assert_eq!(std::fs::read_dir(partial).unwrap().count(), 0);
        let _ = self
            .machine
            .run(&["ente-verify", self.machine.dir()])
            .expect(0);
        self.museum.fetched_objects()
    }

    /// The time of an album as the export knows it.
    fn synced(&self, album: i64) -> i64 {
        let facts = folded(&self.machine.export);
        facts[&format!("pull collection {album}")]["synced"]
            .as_i64()
            .unwrap()
    }

    /// What a listing of this album from the beginning says.
    fn first_page(&self, album: i64) -> Value {
        let seen = Arc::new(Mutex::new(Value::Null));
        let sink = Arc::clone(&seen);
        let see = Fault::edit(move |answer| *sink.lock().unwrap() = answer.clone());
        self.museum.inject(Match::diff(album), see, Some(1));
        let _ = self
            .machine
            .run(&["ente-pull", "--list", "--full", self.machine.dir()])
            .expect(0);
        let seen = seen.lock().unwrap();
        seen.clone()
    }
}

/// The tree; the time of a sidecar is that of its writing, and of no interest.
fn look(dir: &Path) -> BTreeMap<String, Entry> {
    let mut files = tree(dir);
    for (path, entry) in &mut files {
        if path.contains("/metadata/") {
            entry.mtime_s = 0;
        }
    }
    files
}

/// The problems that come out of the pipe: class and what they are about. Each says what to do.
fn problems(outcomes: &[Outcome]) -> Vec<(String, i64)> {
    let problems = outcomes.last().unwrap().records_of("problem");
    let mut problems: Vec<(String, i64)> = problems
        .iter()
        .map(|problem| {
            for member in ["cause", "hint"] {
                let text = problem[member].as_str().unwrap_or_default();
                assert!(!text.is_empty(), "no {member}: {problem}");
            }
            let id = ["file", "collection"].map(|member| problem[member].as_i64());
            (
                problem["class"].as_str().unwrap().to_owned(),
                id[0].or(id[1]).unwrap_or(0),
            )
        })
        .collect();
    problems.sort();
    problems
}

fn problem(class: &str, id: i64) -> (String, i64) {
    (class.to_owned(), id)
}

/// The run ended with this code, and said why and what to do.
fn assert_ended(outcome: &Outcome, code: i32, why: &str) {
    assert_eq!(outcome.code, code, "{}", outcome.stderr);
    for part in ["cause: ", "hint: ", why] {
        assert!(outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
    }
}
