//! A malicious sharer, server or neighbour: whatever they make up, nothing is written outside the export or over what the user has, nothing steers the
//! terminal, memory stays bounded, and everything else is exported.

mod archives;
mod planted;
mod screen;
mod server;
mod sizes;
mod titles;

use std::collections::BTreeMap;
use std::fs;

use bytes::Bytes;
use ente_tests::harness::{Machine, Outcome, tree};
use ente_tests::library::{Content, Library, NewFile, Picture};
use ente_tests::museum::{Museum, Options};
use serde_json::Value;

use crate::machine;

const EMAIL: &str = "ada@example.org";
const PASSWORD: &str = "correct horse";
const MALLORY: &str = "mallory@example.org";
/// The most memory that any tool may hold, in KiB, whatever it is sent.
const MAX_PEAK_KIB: u64 = 160 << 10;

/// An account with an album of its own that holds one good photo, and one that Mallory shares.
struct Scene {
    museum: Museum,
    machine: Machine,
    shared: i64,
    /// What lies on the machine beside the export.
    outside: BTreeMap<String, Vec<u8>>,
}

const GOOD: &str = "Own/good.jpg";

impl Scene {
    fn new() -> Self {
        let mut library = Library::empty(7, EMAIL, PASSWORD);
        let live = library.live_mut();
        let own = live.create_album("Own");
        live.upload(
            own,
            NewFile::new("good.jpg", Content::Photo(Picture::default())),
        );
        let shared = live.share_in(MALLORY, "Shared");
        let museum = Museum::start(library, Options::default());
        let machine = machine();
        let _ = machine.sign_in(museum.api_url(), EMAIL, PASSWORD).expect(0);
        // What a path that leads out of the export would meet.
        fs::write(machine.home().join("precious.jpg"), "the user's").unwrap();
        fs::create_dir(machine.home().join("metadata")).unwrap();
        fs::create_dir(machine.home().join("private")).unwrap();
        fs::write(machine.home().join("private/diary.txt"), "the user's").unwrap();
        let outside = outside(&machine);
        Self {
            museum,
            machine,
            shared,
            outside,
        }
    }

    /// Mallory uploads this under that title.
    fn upload(&self, title: &str, content: Content) -> i64 {
        let shared = self.shared;
        self.museum.with_library(|library| {
            let file = NewFile::new(title, content);
            library.live_mut().upload_by(MALLORY, shared, file)
        })
    }

    /// A file of Mallory's whose metadata decrypts to these bytes.
    fn upload_with_metadata(&self, plain: &[u8]) -> i64 {
        let file = self.upload("x.jpg", bytes(plain.len().to_string().as_bytes()));
        let shared = self.shared;
        self.museum.with_library(|library| {
            let patch = library.live().forged_metadata(file, plain);
            library.patch_row(shared, file, patch);
        });
        file
    }

    /// Runs the pipe and checks what must hold whatever was served; the last stage's outcome.
    fn pipeline(&self) -> Outcome {
        let mut outcomes = self.machine.pipeline();
        for outcome in &outcomes {
            assert!(matches!(outcome.code, 0 | 3 | 4), "{}", outcome.stderr);
            assert_tame(&outcome.stderr);
            assert_tame(&outcome.stdout);
        }
        self.assert_contained();
        assert!(
            tree(&self.machine.export).contains_key(GOOD),
            "{outcomes:#?}"
        );
        outcomes.pop().unwrap()
    }

    fn assert_contained(&self) {
        assert_eq!(
            outside(&self.machine),
            self.outside,
            "something outside of the export changed"
        );
        for entry in walkdir::WalkDir::new(&self.machine.export).min_depth(1) {
            let name = entry.unwrap().file_name().to_str().unwrap().to_owned();
            assert_tame(&name);
            assert!(
                name.len() <= 255 && !name.contains(['\\', ':', '\n']),
                "{name:?}"
            );
        }
    }
}

/// Every file and folder of the machine that is not in the export; links as what they lead to.
fn outside(machine: &Machine) -> BTreeMap<String, Vec<u8>> {
    let walk = walkdir::WalkDir::new(machine.home())
        .min_depth(1)
        .into_iter();
    let outside = walk.filter_entry(|entry| entry.path() != machine.export);
    let look = |entry: walkdir::DirEntry| {
        let name = entry.path().to_string_lossy().into_owned();
        let bytes = fs::read_link(entry.path()).map(|to| to.into_os_string().into_encoded_bytes());
        let bytes = bytes
            .or_else(|_| fs::read(entry.path()))
            .unwrap_or_default();
        (name, bytes)
    };
    outside.map(|entry| look(entry.unwrap())).collect()
}

/// No terminal takes any of it for a command, or shows it in another order.
fn assert_tame(text: &str) {
    let steers = |c: char| {
        c.is_control() && c != '\n'
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    // Records are JSON for programs: there, bidirectional characters are data.
    let lines = text.lines().filter(|line| !line.starts_with("{\"v\":"));
    for line in lines {
        assert!(!line.contains(steers), "{line:?}");
    }
    assert!(
        !text.contains(|c: char| c.is_control() && c != '\n'),
        "{text:?}"
    );
}

fn bytes(bytes: &[u8]) -> Content {
    Content::Bytes(0, Bytes::copy_from_slice(bytes))
}

fn archive(bytes: Vec<u8>) -> Content {
    Content::Bytes(2, bytes.into())
}

/// Class and file of each problem.
fn problems(outcome: &Outcome) -> Vec<(String, i64)> {
    let problems = outcome.records_of("problem");
    let told = |problem: &Value| {
        assert!(
            problem["hint"]
                .as_str()
                .is_some_and(|hint| !hint.is_empty()),
            "{problem}"
        );
        (
            problem["class"].as_str().unwrap().to_owned(),
            problem["file"].as_i64().unwrap_or(0),
        )
    };
    problems.iter().map(told).collect()
}

/// The four tools one after the other; none holds more memory than it may.
#[expect(clippy::print_stdout, reason = "the figures are worth seeing")]
fn measured(scene: &Scene) -> Vec<Outcome> {
    let file = scene.machine.home().join("peaks");
    let dir = scene.machine.dir();
    let lines: [&[&str]; 4] = [
        &["ente-pull", dir],
        &["ente-decrypt", dir],
        &["ente-meta", dir],
        &["ente-verify", dir],
    ];
    let run = |line: &[&str]| {
        let output = scene
            .machine
            .command(line)
            .env("ENTE_TEST_PEAK", &file)
            .output();
        let outcome = Outcome::from(output.unwrap());
        let text = fs::read_to_string(&file).unwrap();
        fs::remove_file(&file).unwrap();
        let (name, peak) = text.trim().split_once(' ').unwrap();
        println!("{name}: {peak} KiB, exit {}", outcome.code);
        assert!(
            peak.parse::<u64>().unwrap() < MAX_PEAK_KIB,
            "{name} held {peak} KiB"
        );
        outcome
    };
    lines.into_iter().map(run).collect()
}
