//! A scenario made ready once, then killed many times.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Machine, assert_golden, folded};
use crate::history;
use crate::library::GoldenState;

use super::check::{self, Digests, Whole};
use super::pipe::{self, Ended, Kill};
use super::scenario::{Kind, Scenario, Stage, Step};
use super::strace::{self, Point};

/// A scenario that is ready to be killed: the state that the line starts from, and what it leads to when nothing happens.
pub(super) struct Ready {
    pub(super) scenario: Scenario,
    pub(super) tool: PathBuf,
    pub(super) stage: Stage,
    pub(super) template: Machine,
    facts: BTreeMap<String, Value>,
    users: Vec<Vec<u8>>,
    codes: Vec<i32>,
    whole: Whole,
    known: Digests,
    /// What is there when the line has ended.
    pub(super) after_line: Whole,
    fetched: BTreeSet<i64>,
    wanted: BTreeMap<i64, (String, u64)>,
    /// Where it can be killed.
    pub(super) points: Vec<Point>,
    /// How long the line takes.
    pub(super) time: Duration,
}

/// What a round came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Played {
    pub(super) was_killed: bool,
    /// Objects that were there in part.
    pub(super) resumed: usize,
    /// Objects that were held after the kill.
    pub(super) held: usize,
    /// Objects that the run after it fetched.
    pub(super) fetched: usize,
}

impl Ready {
    /// Prepares a scenario.
    ///
    /// # Panics
    /// If it does not work even without a kill.
    pub(super) fn new(scenario: &Scenario, tool: &Path) -> Self {
        let mut stage = Stage::new(scenario.account);
        let template = stage.machine(tool);
        let mut users = Vec::new();
        for step in scenario.before {
            match step {
                Step::Run(line) => {
                    expect(
                        &pipe::run(&template, &stage.line(line, &template), &Kill::None),
                        &[],
                        line,
                    );
                }
                Step::Try(line) => drop(pipe::run(
                    &template,
                    &stage.line(line, &template),
                    &Kill::None,
                )),
                Step::Change => stage.change(),
                Step::Restore => stage.restore(),
                Step::UserFiles => users = add_users_files(&template.export),
                Step::Damage => damage(&template.export),
                Step::Forget => {
                    fs::remove_dir_all(template.export.join(".ente")).expect("an export");
                }
            }
        }
        let facts = folded(&template.export);
        let before = Whole::of(&template.export);

        stage.museum.reset_log();
        let reference = copy(&template, tool);
        let line = stage.line(scenario.line, &reference);
        let since = Instant::now();
        let ended = pipe::run(&reference, &line, &Kill::None);
        let time = since.elapsed();
        // Damage that was found is no failure.
        expect(&ended, &[4; 4], &line);
        let codes: Vec<_> = ended.iter().map(|ended| ended.code).collect();
        let half = Whole::of(&reference.export);
        for line in scenario.finish {
            expect(
                &pipe::run(&reference, &stage.line(line, &reference), &Kill::None),
                &[],
                line,
            );
        }
        let fetched = stage.museum.fetched_objects();
        let whole = Whole::of(&reference.export);
        let mut known = before.digests();
        known.extend(half.digests());
        known.extend(whole.digests());
        let mut ready = Self {
            wanted: check::wanted(&folded(&reference.export)),
            points: Vec::new(),
            scenario: scenario.clone(),
            tool: tool.to_owned(),
            stage,
            template,
            facts,
            users,
            codes,
            whole,
            known,
            after_line: half,
            fetched,
            time,
        };
        ready.assert_whole(&reference);
        ready.assert_account(&reference);
        ready.points = ready.count();
        ready
    }

    /// A machine in the state that the line starts from.
    pub(super) fn copy(&self) -> Machine {
        copy(&self.template, &self.tool)
    }

    /// Every point at which a stage of the line changes something.
    fn count(&self) -> Vec<Point> {
        let machine = self.copy();
        let logs = tempfile::tempdir().expect("a scratch folder");
        let line = self.stage.line(self.scenario.line, &machine);
        let log = |stage: usize| logs.path().join(stage.to_string());
        pipe::run_as(&machine, &line, &Kill::None, |stage, command| {
            strace::logged(&command, &log(stage), false)
        });
        let stages = 0..pipe::stages(&line).len();
        stages
            .flat_map(|stage| {
                let text = fs::read(log(stage)).expect("strace wrote a log");
                strace::points(&String::from_utf8_lossy(&text), stage, machine.home())
            })
            .collect()
    }

    /// Kills the line once, looks, runs it again, looks again.
    ///
    /// # Panics
    /// With what is wrong; the machine is then kept.
    pub(super) fn play(&self, kill: &Kill) -> Played {
        let machine = self.copy();
        self.kept_if_wrong(&machine, || {
            let line = self.stage.line(self.scenario.line, &machine);
            let killed = pipe::run(&machine, &line, kill);
            let played = self.see_and_heal(&machine, &killed);
            Played {
                was_killed: killed.iter().any(|ended| ended.code == 137),
                ..played
            }
        })
    }

    /// Does something with a machine; keeps a copy of it where that panics.
    pub(super) fn kept_if_wrong(&self, machine: &Machine, work: impl FnOnce() -> Played) -> Played {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        result.unwrap_or_else(|panic| {
            let kept = std::env::temp_dir().join(format!("ente-crash-{}", std::process::id()));
            let kept = kept.join(machine.home().file_name().unwrap_or_default());
            let _ = fs::create_dir_all(&kept);
            let _ = copy_home(machine.home(), &kept);
            println!("kept: {}", kept.display());
            std::panic::resume_unwind(panic)
        })
    }

    /// What must hold after a kill, and after the run that follows.
    pub(super) fn see_and_heal(&self, machine: &Machine, killed: &[Ended]) -> Played {
        let museum = &self.stage.museum;
        let line = self.stage.line(self.scenario.line, machine);
        check::assert_no_half(&machine.export, &self.known);
        check::assert_users_files(&machine.export, &self.users);
        check::assert_keystore(&machine.config());
        check::assert_facts_of(killed, &machine.export);
        // After a power cut, which leaves no stage to tell of, parts are not trusted: they are synced when they are whole.
        let parts = match killed {
            [] => BTreeMap::new(),
            _ => check::parts(&machine.export, &self.wanted),
        };
        let held = check::held(&machine.export, &self.facts, &self.wanted, &parts);

        museum.reset_log();
        if line.starts_with("ente-login") {
            // Sign-ins that were cut short count as failed, and ten of them are too many for an hour.
            museum.clock().advance(Duration::from_secs(3600));
        }
        expect(&pipe::run(machine, &line, &Kill::None), &self.codes, &line);
        self.finish(machine);
        let fetched = check::assert_fetched(museum, &held, &self.fetched);
        check::assert_resumed(museum, &parts);
        self.assert_whole(machine);
        Played {
            resumed: parts.keys().filter(|id| !held.contains(id)).count(),
            was_killed: true,
            held: held.len(),
            fetched,
        }
    }

    /// The export is the expected one, and holds by its own record.
    pub(super) fn assert_whole(&self, machine: &Machine) {
        Whole::of(&machine.export).assert_as(&self.whole, &machine.export);
        check::assert_users_files(&machine.export, &self.users);
        let verified = machine.run(&["ente-verify", machine.dir()]);
        assert_eq!(
            verified.code, 0,
            "ente-verify said: {}\n{}",
            verified.stderr, verified.stdout
        );
    }

    /// What the line leads to is what the account holds.
    fn assert_account(&self, reference: &Machine) {
        if !self.users.is_empty()
            || self.scenario.line.contains("--sidecars")
            || self.scenario.line.contains("--mtime")
        {
            return;
        }
        match self.scenario.account {
            Kind::Golden => {
                let state = if self
                    .scenario
                    .before
                    .iter()
                    .any(|step| matches!(step, Step::Change))
                {
                    GoldenState::Changed
                } else {
                    GoldenState::Initial
                };
                assert_golden(&reference.export, &state.folder().join("expected.json"));
            }
            Kind::Small | Kind::Large | Kind::Random(_) => {
                self.stage.museum.with_library(|library| {
                    let exported = history::exported(reference);
                    let checked =
                        exported.and_then(|exported| history::check(&exported, library.live()));
                    checked.unwrap_or_else(|error| panic!("{error}"));
                })
            }
        }
    }
}

/// Each stage ended as it did without a kill, or with 0, and there was no problem.
pub(super) fn expect(ended: &[Ended], codes: &[i32], line: &str) {
    for (stage, ended) in ended.iter().enumerate() {
        let problem = ended
            .stdout
            .lines()
            .find(|line| line.contains("\"type\":\"problem\""));
        assert!(problem.is_none(), "stage {stage} of `{line}`: {problem:?}");
        let may = codes.get(stage).copied().unwrap_or(0);
        assert!(
            ended.code == 0 || ended.code == may,
            "stage {stage} of `{line}` ended with {}:\n{}",
            ended.code,
            ended.stderr
        );
    }
}

fn copy(template: &Machine, tool: &Path) -> Machine {
    let machine = Machine::new(tool);
    copy_home(template.home(), machine.home()).expect("a home can be copied");
    machine
}

fn copy_home(from: &Path, to: &Path) -> std::io::Result<()> {
    let status = Command::new("cp")
        .arg("-a")
        .arg(from.join("."))
        .arg(to)
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(std::io::Error::other(format!("cp: {status}")))
    }
}

/// Files of the user's own: beside the albums, in one, and among its sidecars.
fn add_users_files(export: &Path) -> Vec<Vec<u8>> {
    let paths = [
        "notes.txt",
        "Mine/own.jpg",
        "Trip/notes.txt",
        "Trip/metadata/mine.json",
    ];
    let mut users = Vec::new();
    for path in paths {
        let bytes = format!("the user's {path}").into_bytes();
        let path = export.join(path);
        fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a scratch folder");
        fs::write(path, &bytes).expect("a scratch file");
        users.push(bytes);
    }
    users
}

/// What a failing disk does: one file has another bit, one is gone, and one sidecar.
fn damage(export: &Path) {
    let files = check::files_below(export);
    let ours = |path: &&String| path.ends_with(".jpg") && !path.starts_with("Mine/");
    let mut photos = files.keys().filter(ours);
    let (flipped, lost) = (
        photos.next().expect("a photo"),
        photos.next_back().expect("another"),
    );
    let path = export.join(flipped);
    let modified = fs::metadata(&path)
        .and_then(|metadata| metadata.modified())
        .expect("it is there");
    let mut bytes = files[flipped].bytes.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).expect("it can be written");
    let file = fs::File::options()
        .write(true)
        .open(&path)
        .expect("it is there");
    file.set_modified(modified).expect("it can be dated");
    fs::remove_file(export.join(lost)).expect("it is there");
    let sidecar = files
        .keys()
        .find(|path| path.contains("/metadata/live"))
        .expect("a sidecar");
    fs::remove_file(export.join(sidecar)).expect("it is there");
}
