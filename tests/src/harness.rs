//! Runs the tools as a user does: processes with a home of their own, joined by pipes; and looks at what they left, without their code.

mod terminal;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Map, Value};
use tempfile::TempDir;

pub use terminal::Terminal;

/// What a tool did.
#[derive(Debug)]
pub struct Outcome {
    /// Exit code; 128 and more for signals, as a shell says it.
    pub code: i32,
    /// Standard output; empty for all but the last stage of a pipe.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// The records on standard output.
    ///
    /// # Panics
    /// If a line is no JSON.
    pub fn records(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }

    /// The records of one type.
    pub fn records_of(&self, kind: &str) -> Vec<Value> {
        self.records()
            .into_iter()
            .filter(|record| record["type"] == kind)
            .collect()
    }

    /// Asserts the exit code.
    ///
    /// # Panics
    /// If it is another one; shows what the tool said.
    #[must_use]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stderr:\n{}\nstdout:\n{}",
            self.stderr, self.stdout
        );
        self
    }
}

/// A user's machine: a home, saved credentials, an export.
pub struct Machine {
    tool: PathBuf,
    home: TempDir,
    /// The export.
    pub export: PathBuf,
}

impl Machine {
    /// A machine with nothing on it; `tool` is the binary that holds all five tools.
    ///
    /// # Panics
    /// If no scratch folder can be made.
    pub fn new(tool: impl Into<PathBuf>) -> Self {
        let home = tempfile::tempdir().expect("a scratch folder");
        let export = home.path().join("Ente");
        Self {
            tool: tool.into(),
            home,
            export,
        }
    }

    /// Leaves everything on the disk, to be looked at; tells where.
    pub fn keep(self) -> PathBuf {
        self.home.keep()
    }

    /// Its home.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where credentials are saved.
    pub fn config(&self) -> PathBuf {
        self.home.path().join("config")
    }

    /// The export as an argument.
    pub fn dir(&self) -> &str {
        self.export.to_str().expect("scratch paths are UTF-8")
    }

    /// A tool's process, not yet started: `ente-pull`, arguments.
    pub fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(&self.tool);
        command
            .args(line)
            .current_dir(self.home.path())
            .env_clear()
            .env("HOME", self.home.path())
            .env("ENTE_CONFIG_DIR", self.config())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// A tool's process in a shell that has done something else first, not yet started.
    #[cfg(unix)]
    pub fn in_shell(&self, first: &str, line: &[&str]) -> Command {
        let tool = self.command(line);
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{first}; exec \"$@\""), "sh"])
            .arg(tool.get_program())
            .args(tool.get_args())
            .current_dir(self.home())
            .env_clear()
            .envs(
                tool.get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            );
        command
    }

    /// Runs one tool to its end.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn run(&self, line: &[&str]) -> Outcome {
        self.command(line).output().expect("the tool starts").into()
    }

    /// Runs one tool with this text on standard input.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn run_with(&self, line: &[&str], input: &str) -> Outcome {
        let mut child = self
            .command(line)
            .stdin(Stdio::piped())
            .spawn()
            .expect("the tool starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        let input = input.to_owned();
        let feeder = std::thread::spawn(move || {
            // A tool that stops reading early closes the pipe; that is its right.
            let _ = stdin.write_all(input.as_bytes());
        });
        let result = child.wait_with_output().expect("the tool ends").into();
        feeder.join().expect("the feeder ends");
        result
    }

    /// Runs tools joined by pipes; one outcome per stage, the last with its standard output.
    ///
    /// # Panics
    /// If one cannot be started.
    pub fn pipe(&self, stages: &[&[&str]]) -> Vec<Outcome> {
        let mut children: Vec<Child> = Vec::new();
        let mut upstream = Stdio::null();
        for stage in stages {
            let mut child = self
                .command(stage)
                .stdin(upstream)
                .spawn()
                .expect("the tool starts");
            upstream = if children.len() + 1 < stages.len() {
                child.stdout.take().expect("it is piped").into()
            } else {
                Stdio::null()
            };
            children.push(child);
        }
        let waiting: Vec<_> = children
            .into_iter()
            .map(|child| {
                std::thread::spawn(move || {
                    Outcome::from(child.wait_with_output().expect("the tool ends"))
                })
            })
            .collect();
        waiting
            .into_iter()
            .map(|thread| thread.join().expect("the stage ends"))
            .collect()
    }

    /// Signs in with a password.
    pub fn sign_in(&self, endpoint: &str, email: &str, password: &str) -> Outcome {
        let file = self.home.path().join("password");
        fs::write(&file, password).expect("a scratch file");
        let file = file.to_str().expect("scratch paths are UTF-8");
        self.run(&[
            "ente-login",
            "--endpoint",
            endpoint,
            "--password-file",
            file,
            email,
        ])
    }

    /// The four-stage pipe over the export.
    pub fn pipeline(&self) -> Vec<Outcome> {
        self.pipe(&[
            &["ente-pull", self.dir()],
            &["ente-decrypt", "-"],
            &["ente-meta", "-"],
            &["ente-verify", "-"],
        ])
    }

    /// The four tools one after the other.
    pub fn steps(&self) -> Vec<Outcome> {
        ["ente-pull", "ente-decrypt", "ente-meta", "ente-verify"]
            .map(|tool| self.run(&[tool, self.dir()]))
            .into()
    }
}

impl From<std::process::Output> for Outcome {
    fn from(output: std::process::Output) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        let signal = || 128 + output.status.signal().unwrap_or(0);
        Self {
            code: output.status.code().unwrap_or_else(signal),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Asserts the same exit code of every stage.
///
/// # Panics
/// If one differs; shows what it said.
pub fn expect_all(outcomes: &[Outcome], code: i32) {
    for (stage, outcome) in outcomes.iter().enumerate() {
        assert_eq!(
            outcome.code, code,
            "stage {stage} said:\n{}",
            outcome.stderr
        );
    }
}

/// A file of a tree.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Modification time in whole seconds, rounded down.
    pub mtime_s: i64,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} bytes {} at {}",
            self.bytes.len(),
            &blake3::hash(&self.bytes).to_hex()[..8],
            self.mtime_s
        )
    }
}

/// Asserts that two trees are the same, byte by byte.
///
/// # Panics
/// If they are not; says where they differ.
pub fn assert_same(left: &BTreeMap<String, Entry>, right: &BTreeMap<String, Entry>) {
    for (path, entry) in left {
        assert_eq!(Some(entry), right.get(path), "`{path}`");
    }
    let more: Vec<_> = right
        .keys()
        .filter(|path| !left.contains_key(*path))
        .collect();
    assert!(more.is_empty(), "only on the right: {more:?}");
}

/// Every file below `dir` but `.ente`, by path with `/`.
///
/// # Panics
/// If the tree cannot be read.
pub fn tree(dir: &Path) -> BTreeMap<String, Entry> {
    let mut files = BTreeMap::new();
    walk(dir, "", &mut files);
    files
}

fn walk(dir: &Path, prefix: &str, files: &mut BTreeMap<String, Entry>) {
    for entry in fs::read_dir(dir).expect("the tree can be read") {
        let entry = entry.expect("the tree can be read");
        let name = entry
            .file_name()
            .into_string()
            .expect("exported names are UTF-8");
        if prefix.is_empty() && name == ".ente" {
            continue;
        }
        let path = format!("{prefix}{name}");
        let metadata = entry.metadata().expect("the tree can be read");
        if metadata.is_dir() {
            walk(&entry.path(), &format!("{path}/"), files);
        } else {
            use std::os::unix::fs::MetadataExt as _;
            let bytes = fs::read(entry.path()).expect("the tree can be read");
            files.insert(
                path,
                Entry {
                    bytes,
                    mtime_s: metadata.mtime(),
                },
            );
        }
    }
}

/// Folders below `dir` that hold nothing, `.ente` left out.
///
/// # Panics
/// If the tree cannot be read.
pub fn empty_folders(dir: &Path) -> Vec<PathBuf> {
    let mut empty = Vec::new();
    let mut stack = vec![dir.to_owned()];
    while let Some(folder) = stack.pop() {
        let mut count = 0;
        for entry in fs::read_dir(&folder).expect("the tree can be read") {
            let entry = entry.expect("the tree can be read");
            count += 1;
            if entry.file_type().expect("the tree can be read").is_dir()
                && entry.file_name() != ".ente"
            {
                stack.push(entry.path());
            }
        }
        if count == 0 {
            empty.push(folder);
        }
    }
    empty
}

/// The tree is exactly what a golden `expected.json` says: names, bytes, times, sidecar values, nothing else.
///
/// # Panics
/// If it is not; says what differs.
pub fn assert_golden(dir: &Path, expected: &Path) {
    let rows: Vec<Value> =
        serde_json::from_slice(&fs::read(expected).expect("the golden data is there"))
            .expect("the golden data is JSON");
    let mut files = tree(dir);
    for row in &rows {
        let album = row["album"].as_str().expect("a row has an album");
        for part in row["parts"].as_array().expect("a row has parts") {
            let name = part["name"].as_str().expect("a part has a name");
            let path = format!("{album}/{name}");
            let file = files
                .remove(&path)
                .unwrap_or_else(|| panic!("`{path}` is missing; there are {:?}", files.keys()));
            assert_eq!(
                file.bytes.len() as u64,
                part["size"].as_u64().expect("a part has a size"),
                "size of `{path}`"
            );
            assert_eq!(
                blake3::hash(&file.bytes).to_hex().as_str(),
                part["blake3"],
                "content of `{path}`"
            );
            assert_eq!(
                Value::from(file.mtime_s.to_string()),
                row["sidecar"]["photoTakenTime"],
                "time of `{path}`"
            );
            let path = format!("{album}/metadata/{name}.json");
            let sidecar = files
                .remove(&path)
                .unwrap_or_else(|| panic!("`{path}` is missing"));
            assert_sidecar(&path, &sidecar.bytes, row);
        }
    }
    // Names that importers would pair wrongly have a second sidecar: the golden account has none of them.
    assert!(
        files.is_empty(),
        "nothing else was expected: {:?}",
        files.keys()
    );
    assert_eq!(empty_folders(dir), Vec::<PathBuf>::new());
}

fn assert_sidecar(path: &str, bytes: &[u8], row: &Value) {
    let sidecar: Value = serde_json::from_slice(bytes).expect("a sidecar is JSON");
    let expected = row["sidecar"].as_object().expect("a row has a sidecar");
    let mut found = Map::new();
    for (name, value) in sidecar.as_object().expect("a sidecar is an object") {
        match name.as_str() {
            "photoTakenTime" | "modificationTime" => {
                found.insert(name.clone(), value["timestamp"].clone())
            }
            "description" | "geoData" | "favorited" => found.insert(name.clone(), value.clone()),
            _ => None,
        };
    }
    assert_eq!(&found, expected, "values of `{path}`");
    assert_eq!(
        sidecar["creationTime"], sidecar["photoTakenTime"],
        "`{path}`"
    );
    assert_eq!(sidecar["ente"]["file"], row["fileID"], "`{path}`");
}

/// The manifest folded to its last facts, after `docs/formats/manifest.md` alone; times and offsets left out.
///
/// # Panics
/// If a line is no fact.
pub fn folded(dir: &Path) -> BTreeMap<String, Value> {
    const KEYS: [&str; 8] = [
        "name",
        "id",
        "version",
        "collection",
        "file",
        "part",
        "path",
        "fact",
    ];
    let keys_of = |file: &str, fact: &str| -> &'static [&'static str] {
        match (file, fact) {
            (_, "setting") => &KEYS[..1],
            ("pull", "collection") => &["id"],
            ("pull", "file") => &["collection", "id"],
            (_, "object" | "failed" | "verdict" | "aside") => &["id", "version"],
            (_, "folder") => &["collection"],
            (_, "placement") => &["collection", "file"],
            (_, "trash" | "pruned") => &["path"],
            (_, "sidecar") => &["collection", "file", "part"],
            (_, "finding") => &["collection", "file", "part", "path"],
            _ => &[],
        }
    };
    let mut folded = BTreeMap::new();
    for file in ["pull", "decrypt", "meta", "verify"] {
        let Ok(text) = fs::read_to_string(dir.join(format!(".ente/{file}.jsonl"))) else {
            continue;
        };
        // A last line that was torn by a kill does not count.
        let lines = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        for line in lines.skip(1) {
            let mut fact: Map<String, Value> =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            // It tells where a fact stands among others, not what it says.
            fact.remove("sum");
            let kind = fact["fact"].as_str().expect("a fact has a kind").to_owned();
            if matches!(kind.as_str(), "listing" | "checked" | "rest") {
                continue;
            }
            let mut key = format!("{file} {kind}");
            for name in keys_of(file, &kind) {
                key.push_str(&format!(" {}", fact.get(*name).unwrap_or(&Value::Null)));
            }
            if fact.get("gone") == Some(&Value::Bool(true)) {
                folded.remove(&key);
                continue;
            }
            for time in ["when", "at", "len"] {
                fact.remove(time);
            }
            folded.insert(key, Value::Object(fact));
        }
    }
    folded
}
