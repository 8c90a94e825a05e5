//! What most cases start from: an account with some of everything, a machine that is signed in, and what has to come of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{Machine, Outcome, tree};
use crate::history::{History, Op, check, exported};
use crate::library::Library;
use crate::museum::{Museum, Options};

/// The tools that keep an export, in the order of the pipe.
pub(super) const STEPS: [&str; 4] = ["ente-pull", "ente-decrypt", "ente-meta", "ente-verify"];

/// So long no run of a small account takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(120);

const EMAIL: &str = "ada@example.org";
const PASSWORD: &str = "correct horse battery staple";
/// The user's own file in an album, and what it says.
const MINE: (&str, &str) = ("Anchor/mine.txt", "the user's");

/// An account of two states and a machine that exports it.
pub(super) struct Bench {
    pub(super) museum: Museum,
    pub(super) machine: Machine,
    history: History,
}

impl Bench {
    /// A first state: three albums, a live photo, one file in two albums.
    pub(super) fn new(tool: &Path) -> Self {
        let (library, mut history) = History::start(EMAIL, PASSWORD);
        let museum = Museum::start(library, Options::default());
        let machine = Machine::new(tool);
        let first = [
            Op::CreateAlbum { title: 3 },
            upload(2, 6, true),
            upload(1, 5, false),
            Op::Add { file: 1, album: 2 },
            Op::Caption { file: 1, text: 7 },
        ];
        museum.with_library(|library| {
            for op in &first {
                history.apply(library.live_mut(), op);
            }
        });
        let _ = machine.sign_in(museum.api_url(), EMAIL, PASSWORD).expect(0);
        Self {
            museum,
            machine,
            history,
        }
    }

    /// The second state, with one of every kind of change.
    pub(super) fn change(&mut self) {
        let changes = [
            Op::RenameAlbum { album: 1, title: 0 },
            Op::Rename { file: 1, title: 3 },
            Op::Replace { file: 2 },
            Op::Remove { file: 1, from: 1 },
            Op::Trash { file: 4 },
            Op::Date { file: 3, days: 30 },
            Op::Caption { file: 0, text: 9 },
            upload(0, 4, false),
            Op::Add { file: 0, album: 2 },
        ];
        self.happen(&changes);
    }

    /// Lets these things happen to the account.
    pub(super) fn happen(&mut self, ops: &[Op]) {
        let history = &mut self.history;
        self.museum.with_library(|library| {
            for op in ops {
                history.apply(library.live_mut(), op);
            }
        });
    }

    /// Puts a file of the user's into an album that stays.
    pub(super) fn add_mine(&self, export: &Path) {
        fs::write(export.join(MINE.0), MINE.1).expect("a file of the user's");
    }

    /// Runs one tool over the export; it must come to an end.
    pub(super) fn run(&self, line: &[&str]) -> Result<Outcome, String> {
        wait(self.machine.command(line), &line.join(" "))
    }

    /// The tools one after the other must end well, and the export be what the account says; the user's file is as it was.
    pub(super) fn heals(&mut self, export: &Path) -> Result<(), String> {
        let before = std::mem::replace(&mut self.machine.export, export.to_owned());
        let healed = self.heal();
        self.machine.export = before;
        healed
    }

    /// The tools one after the other must end well.
    pub(super) fn steps(&self, export: &Path) -> Result<(), String> {
        for tool in STEPS {
            let outcome = self.run(&[tool, &export.to_string_lossy()])?;
            if outcome.code != 0 {
                return Err(format!(
                    "afterwards `{tool}` ended with {}:\n{}",
                    outcome.code,
                    told(&outcome)
                ));
            }
        }
        Ok(())
    }

    fn heal(&self) -> Result<(), String> {
        let export = &self.machine.export;
        let mine = export.join(MINE.0);
        let had_mine = mine.exists();
        self.steps(export)?;
        if had_mine {
            self.mine_is_there(export)?;
            fs::remove_file(&mine).map_err(|error| error.to_string())?;
        }
        let exported = exported(&self.machine);
        if had_mine {
            self.add_mine(export);
        }
        let exported = exported?;
        self.museum
            .with_library(|library| check(&exported, library.live()))
    }

    /// The user's file is as it was.
    pub(super) fn mine_is_there(&self, export: &Path) -> Result<(), String> {
        match fs::read_to_string(export.join(MINE.0)) {
            Ok(text) if text == MINE.1 => Ok(()),
            found => Err(format!("the user's file is gone or changed: {found:?}")),
        }
    }

    /// No file bears a final name that is not whole: everything in the tree is content that the account has or had, a whole
    /// sidecar, or the user's.
    pub(super) fn only_whole(&self, export: &Path, known: &Known) -> Result<(), String> {
        if !export.exists() {
            return Ok(());
        }
        for (path, entry) in tree(export) {
            let is_whole = match path.ends_with(".json") {
                true => serde_json::from_slice::<serde_json::Value>(&entry.bytes).is_ok(),
                false => path == MINE.0 || known.0.contains(blake3::hash(&entry.bytes).as_bytes()),
            };
            if !is_whole {
                return Err(format!("`{path}` is not whole: {entry:?}"));
            }
        }
        Ok(())
    }

    /// Adds the contents that the account has now.
    pub(super) fn learn(&self, known: &mut Known) {
        self.museum.with_library(|library: &mut Library| {
            let live = library.live();
            for file in live.albums().iter().flat_map(|album| &album.files) {
                let contents = crate::history::contents(live, file.id);
                known
                    .0
                    .extend(contents.iter().map(|bytes| *blake3::hash(bytes).as_bytes()));
            }
        });
    }
}

/// What a tool told people: messages, problems and findings.
pub(super) fn told(outcome: &Outcome) -> String {
    let lines = outcome.stdout.lines();
    let lines = lines.filter(|line| line.contains("\"problem\"") || line.contains("\"finding\""));
    format!("{}{}", outcome.stderr, lines.collect::<Vec<_>>().join("\n"))
}

/// Contents that the account has or had.
#[derive(Default)]
pub(super) struct Known(BTreeSet<[u8; 32]>);

fn upload(album: usize, title: usize, live: bool) -> Op {
    Op::Upload { album, title, live }
}

/// Runs a command to its end, or tells that it has none.
pub(super) fn wait(mut command: Command, name: &str) -> Result<Outcome, String> {
    let mut child = command
        .spawn()
        .map_err(|error| format!("{name}: {error}"))?;
    let start = Instant::now();
    let id = child.id();
    // The pipes are read while it runs, or it would wait for us.
    let reader = std::thread::spawn(move || {
        let (mut out, mut err) = (String::new(), String::new());
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let errors = std::thread::spawn(move || {
            if let Some(mut stderr) = stderr {
                let _ = std::io::Read::read_to_string(&mut stderr, &mut err);
            }
            err
        });
        if let Some(mut stdout) = stdout {
            let _ = std::io::Read::read_to_string(&mut stdout, &mut out);
        }
        (out, errors.join().unwrap_or_default(), child.wait())
    });
    while !reader.is_finished() {
        if start.elapsed() > PATIENCE {
            let _ = shell(&format!("kill -9 {id}"));
            return Err(format!("`{name}` goes on for ever"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let (stdout, stderr, status) = reader.join().map_err(|_| "the reader broke off")?;
    let status = status.map_err(|error| error.to_string())?;
    use std::os::unix::process::ExitStatusExt as _;
    Ok(Outcome {
        code: status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
        stdout,
        stderr,
    })
}

/// Runs a line of a shell; its errors as text where it fails.
pub(super) fn shell(line: &str) -> Result<(), String> {
    let output = Command::new("sh").args(["-c", line]).output();
    let output = output.map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// Makes `to` the same tree as `from`, times included.
pub(super) fn copy_tree(from: &Path, to: &Path) -> Result<(), String> {
    let (from, to) = (from.display(), to.display());
    shell(&format!(
        "rm -rf {to} && if [ -e {from} ]; then cp -a {from} {to}; fi"
    ))
}
