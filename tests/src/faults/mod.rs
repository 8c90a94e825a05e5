//! Random faults of server and network over random histories of an account.
//!
//! While the faults last, nothing wrong may be written and nothing removed that the account still has; when they are over, plain runs must
//! make the tree what the account says, without fetching again what was at hand. [`run`] counts what was done and what went wrong.

mod strike;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::harness::{Entry, Machine, Outcome, tree};
use crate::history::{self, History, Key, Op, check, contents, exported, placed, sample};
use crate::library::Live;
use crate::museum::{Museum, Options};

use strike::{Strike, strikes};

const EMAIL: &str = "faults@example.org";
const PASSWORD: &str = "faults";

/// What a faulted run may end with: done, failed, problems, differences, signed out (a 401), refused (a 403), out of reach.
const CODES: [i32; 7] = [0, 1, 3, 4, 10, 12, 13];
/// Plain runs after which a tree must be right: one to see that an album is missing, one to make sure, one in which nothing is left.
const MOST_HEALING: usize = 3;

/// What to run.
#[derive(Debug)]
pub struct Plan {
    /// The binary with all tools.
    pub tool: PathBuf,
    /// Histories.
    pub rounds: u64,
    /// Of the first history; each further one has the next.
    pub seed: u64,
    /// Histories side by side.
    pub workers: usize,
}

/// What was done and what came of it.
#[derive(Debug, Default)]
pub struct Figures {
    rounds: u64,
    faulted_runs: u64,
    plain_runs: u64,
    kills: u64,
    strikes: BTreeMap<&'static str, u64>,
    /// How the faulted runs of `ente-pull` ended.
    codes: BTreeMap<i32, u64>,
    fetched: u64,
    refetched: u64,
    /// What went wrong, with the seed of the round.
    wrong: Vec<String>,
}

impl Figures {
    /// Everything was as it must be.
    pub fn are_good(&self) -> bool {
        self.wrong.is_empty() && self.refetched == 0
    }

    fn add(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.faulted_runs += other.faulted_runs;
        self.plain_runs += other.plain_runs;
        self.kills += other.kills;
        self.fetched += other.fetched;
        self.refetched += other.refetched;
        self.wrong.extend(other.wrong);
        for (kind, count) in other.strikes {
            *self.strikes.entry(kind).or_default() += count;
        }
        for (code, count) in other.codes {
            *self.codes.entry(code).or_default() += count;
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let strikes: u64 = self.strikes.values().sum();
        writeln!(f, "rounds                      {:>8}", self.rounds)?;
        writeln!(f, "runs under faults           {:>8}", self.faulted_runs)?;
        for (code, count) in &self.codes {
            writeln!(f, "  ente-pull ended with {code:>3}  {count:>8}")?;
        }
        writeln!(f, "plain runs                  {:>8}", self.plain_runs)?;
        writeln!(f, "faults injected             {strikes:>8}")?;
        for (kind, count) in &self.strikes {
            writeln!(f, "  {kind:<26}{count:>8}")?;
        }
        writeln!(f, "server killed in a run      {:>8}", self.kills)?;
        writeln!(f, "objects fetched             {:>8}", self.fetched)?;
        writeln!(f, "objects fetched needlessly  {:>8}", self.refetched)?;
        write!(f, "wrong trees                 {:>8}", self.wrong.len())
    }
}

/// Runs all rounds; `tell` hears of each that went wrong as soon as it did.
pub fn run(plan: &Plan, tell: impl Fn(&str) + Sync) -> Figures {
    let next = AtomicU64::new(0);
    let total = Mutex::new(Figures::default());
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= plan.rounds {
                return;
            }
            let figures = round(&plan.tool, plan.seed.wrapping_add(number));
            figures.wrong.iter().for_each(|wrong| tell(wrong));
            let mut total = total
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            total.add(figures);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..plan.workers {
            scope.spawn(work);
        }
    });
    total
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// One history with faults all along it.
fn round(tool: &Path, seed: u64) -> Figures {
    let (library, mut history) = History::start(EMAIL, PASSWORD);
    let options = Options {
        page_size: [1, 3, 2500][(seed % 3) as usize],
        ..Options::default()
    };
    let mut trial = Trial {
        museum: Museum::start(library, options),
        machine: Machine::new(tool),
        known: HashSet::new(),
        figures: Figures {
            rounds: 1,
            ..Figures::default()
        },
        dice: seed,
    };
    if let Err(wrong) = trial.go(&mut history, &sample(history::rounds(), seed)) {
        let kept = trial.machine.keep();
        let kept = kept.display();
        trial
            .figures
            .wrong
            .push(format!("seed {seed}: {wrong}; kept in {kept}"));
    }
    trial.figures
}

struct Trial {
    museum: Museum,
    machine: Machine,
    /// BLAKE3 of every content that the account ever had.
    known: HashSet<blake3::Hash>,
    figures: Figures,
    dice: u64,
}

impl Trial {
    fn go(&mut self, history: &mut History, rounds: &[Vec<Op>]) -> Result<(), String> {
        let signed_in = self.machine.sign_in(self.museum.api_url(), EMAIL, PASSWORD);
        if signed_in.code != 0 {
            return Err(signed_in.stderr);
        }
        for round in std::iter::once(&Vec::new()).chain(rounds) {
            self.museum.with_library(|library| {
                round
                    .iter()
                    .for_each(|op| history.apply(library.live_mut(), op));
            });
            self.learn();
            for _ in 0..self.roll(3) {
                self.suffer()?;
            }
            if self.roll(3) == 0 {
                self.heal()?;
            }
        }
        self.suffer()?;
        self.heal()
    }

    /// A number below `most`, another one each time.
    fn roll(&mut self, most: u64) -> u64 {
        self.dice = self
            .dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) % most
    }

    fn learn(&mut self) {
        let known = &mut self.known;
        self.museum.with_library(|library| {
            let live = library.live();
            let all = live
                .file_ids()
                .into_iter()
                .flat_map(|id| contents(live, id));
            known.extend(all.map(|content| blake3::hash(&content)));
        });
    }

    /// One run with faults; what must hold nevertheless.
    fn suffer(&mut self) -> Result<(), String> {
        let seed = self.dice;
        let kills = self.roll(6) == 0;
        let strikes: Vec<Strike> = sample(strikes(), seed);
        let museum = &self.museum;
        for strike in &strikes {
            let matches = museum.with_library(|library| strike.matches(library.live()));
            museum.inject(matches, strike.fault(), strike.times());
            *self.figures.strikes.entry(strike.kind).or_default() += 1;
        }
        let retries = ["0", "1"][(self.roll(4) == 0) as usize];
        let full = self.roll(3) == 0;
        let before = self.before();
        self.museum.reset_log();
        let outcomes = match kills {
            true => self.killed(retries),
            false => self.pipe(&options(retries, full)),
        };
        self.museum.clear_faults();
        self.figures.faulted_runs += 1;
        *self.figures.codes.entry(outcomes[0].code).or_default() += 1;
        let what = |wrong: String| format!("{wrong} (in a run with {strikes:?})");
        for outcome in &outcomes {
            if !CODES.contains(&outcome.code) {
                return Err(what(format!("exit {}: {}", outcome.code, outcome.stderr)));
            }
        }
        self.check(&before).map_err(what)
    }

    fn pipe(&self, options: &[&str]) -> Vec<Outcome> {
        let mut pull = vec!["ente-pull"];
        pull.extend(options);
        pull.push(self.machine.dir());
        let mut outcomes = self
            .machine
            .pipe(&[&pull, &["ente-decrypt", "-"], &["ente-meta", "-"]]);
        if self.machine.export.exists() && outcomes[0].code != 0 {
            // A person would try the rest by hand.
            outcomes.push(self.machine.run(&["ente-decrypt", self.machine.dir()]));
        }
        outcomes
    }

    /// A run in which the server dies after some requests; it is back afterwards.
    fn killed(&mut self, retries: &str) -> Vec<Outcome> {
        let last = 1 + self.roll(12) as usize;
        let line = [
            "ente-pull",
            "--timeout",
            "0.3",
            "--retries",
            retries,
            self.machine.dir(),
        ];
        let child = self.machine.command(&line).spawn();
        let mut child = child.expect("the tool starts");
        while self.museum.requests().len() < last && matches!(child.try_wait(), Ok(None)) {
            std::thread::yield_now();
        }
        self.museum.kill();
        self.figures.kills += 1;
        let output = child.wait_with_output().expect("the tool ends");
        self.museum.revive();
        let mut outcomes = vec![Outcome::from(output)];
        if self.machine.export.exists() {
            outcomes.push(self.machine.run(&["ente-decrypt", self.machine.dir()]));
        }
        outcomes
    }

    /// Plain runs, until nothing is left to say.
    fn heal(&mut self) -> Result<(), String> {
        let mut said = String::new();
        for _ in 0..MOST_HEALING {
            let before = self.before();
            self.museum.reset_log();
            let outcomes = self.machine.pipeline();
            self.figures.plain_runs += 1;
            self.check(&before)?;
            if outcomes.iter().all(|outcome| outcome.code == 0) {
                return self.check_whole();
            }
            said = outcomes.into_iter().map(|outcome| outcome.stderr).collect();
        }
        Err(format!("plain runs do not heal: {said}"))
    }

    fn check_whole(&self) -> Result<(), String> {
        let exported = exported(&self.machine)?;
        self.museum
            .with_library(|library| check(&exported, library.live()))
    }

    fn before(&self) -> Before {
        if !self.machine.export.exists() {
            return Before::default();
        }
        let files = tree(&self.machine.export);
        let placed = placed(&self.machine);
        let whole = |key: &Key| placed[key].iter().all(|part| part.check(&files).is_ok());
        let at_hand = placed
            .keys()
            .filter(|key| !placed[key].is_empty() && whole(key));
        let at_hand: BTreeSet<Key> = at_hand.copied().collect();
        let current = self.museum.with_library(|library| {
            let live = library.live();
            let ids: BTreeSet<i64> = at_hand.iter().map(|key| key.1).collect();
            ids.into_iter()
                .filter(|id| is_current(live, *id, &files))
                .collect()
        });
        Before { at_hand, current }
    }

    /// What holds after every run, whatever happened in it.
    fn check(&mut self, before: &Before) -> Result<(), String> {
        if let Some(leaked) = self.museum.leaked_tokens().first() {
            return Err(format!("the token went to {leaked:?}"));
        }
        let fetched = self.museum.fetched_objects();
        self.figures.fetched += fetched.len() as u64;
        self.figures.refetched += fetched.intersection(&before.current).count() as u64;
        if !self.machine.export.exists() {
            return Ok(());
        }
        let files = tree(&self.machine.export);
        for (path, file) in &files {
            if path.contains("/metadata/") {
                serde_json::from_slice::<serde_json::Value>(&file.bytes)
                    .map_err(|error| format!("`{path}`: {error}"))?;
            } else if !self.known.contains(&blake3::hash(&file.bytes)) {
                return Err(format!("`{path}` has bytes that the account never had"));
            }
        }
        let placed = placed(&self.machine);
        let kept: Vec<Key> = self.museum.with_library(|library| {
            let live = library.live();
            let albums = live.albums();
            let has = |(album, file): &Key| {
                let album = albums.iter().find(|one| one.id == *album);
                album.is_some_and(|album| album.files.iter().any(|one| one.id == *file))
            };
            before
                .at_hand
                .iter()
                .filter(|key| has(key))
                .copied()
                .collect()
        });
        for key in kept {
            let parts = placed.get(&key).filter(|parts| !parts.is_empty());
            let parts = parts.ok_or_else(|| format!("{key:?} was removed"))?;
            parts.iter().try_for_each(|part| part.check(&files))?;
        }
        Ok(())
    }
}

/// What a run starts from.
#[derive(Default)]
struct Before {
    /// Placements that are exported.
    at_hand: BTreeSet<Key>,
    /// Files whose present content is in the tree: fetching them would be needless.
    current: BTreeSet<i64>,
}

fn is_current(live: &Live, id: i64, files: &BTreeMap<String, Entry>) -> bool {
    contents(live, id)
        .iter()
        .all(|content| files.values().any(|file| file.bytes == *content))
}

fn options(retries: &str, full: bool) -> Vec<&str> {
    let mut options = vec!["--timeout", "0.3", "--retries", retries];
    options.extend(full.then_some("--full"));
    options
}
