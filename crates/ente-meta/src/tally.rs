//! What a run came to: counted on the way, told to people and to the next stage at its end.

use std::collections::{BTreeSet, HashSet};

use ente_common::exit::{Exit, Failure};
use ente_common::record::{Problem, Record};
use ente_common::ui::{Ui, human_count};
use serde_json::{Value, json};

/// Problems that are shown one by one where nobody reads records.
const SHOWN: u64 = 5;

/// Counts of a run.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// `file` records that were printed.
    pub(crate) files: u64,
    /// Sidecars that were written.
    pub(crate) written: u64,
    /// Paths of what is not ours, or was edited, and was left alone.
    pub(crate) left: BTreeSet<String>,
    problems: u64,
    passed_problems: u64,
    shown: u64,
    findings: u64,
    /// Files that were said not to open: once is enough along a pipe.
    unopened: HashSet<i64>,
}

impl Tally {
    /// Takes in a problem of ours.
    pub(crate) fn problem(&mut self, problem: &Problem, ui: &Ui, prints: bool) {
        self.problems += 1;
        self.show(problem, ui, prints);
    }

    /// Takes in a problem or a finding of a stage before.
    pub(crate) fn passed(&mut self, record: &Record, ui: &Ui, prints: bool) {
        match record.kind() {
            "finding" => self.findings += 1,
            "problem" => {
                self.passed_problems += 1;
                // Another tool's may lack what ours have.
                let problem = record.parse::<Problem>().unwrap_or_default();
                if problem.class == "undecryptable" {
                    self.unopened.extend(problem.file);
                }
                self.show(&problem, ui, prints);
            }
            _ => {}
        }
    }

    /// Whether it is news that this file does not open.
    pub(crate) fn is_first_told(&mut self, file: i64) -> bool {
        self.unopened.insert(file)
    }

    /// The last stage of a pipe is the only one that can show a problem where nobody reads records.
    fn show(&mut self, problem: &Problem, ui: &Ui, prints: bool) {
        if prints || self.shown == SHOWN {
            return;
        }
        self.shown += 1;
        ui.warning(&problem.to_failure());
    }

    /// Sums up for people.
    pub(crate) fn tell(&self, ui: &Ui, prints: bool) {
        let all = self.problems + self.passed_problems;
        if prints && self.problems > 0 {
            let many = human_count(self.problems);
            let what = format!("{many} problems; each is a `problem` record");
            let hint = "run the same command again; it tries only those";
            ui.warning(&Failure::new(Exit::Problems, what).hint(hint));
        } else if !prints && all > self.shown {
            let many = human_count(all - self.shown);
            let hint = "`--records always` prints each of them";
            ui.warning(&Failure::new(Exit::Problems, format!("{many} more problems")).hint(hint));
        }
        if let Some(first) = self.left.first() {
            let many = human_count(self.left.len() as u64);
            let what = format!("left alone {many} of the sidecars: edited here, or not ours");
            let warning = Failure::new(Exit::Done, what).cause(format!("the first is `{first}`"));
            ui.warning(&warning.hint("move it away to have it written anew"));
        }
    }

    /// For the `end` record.
    pub(crate) fn counts(&self) -> Value {
        json!({
            "files": self.files,
            "sidecars": self.written,
            "left": self.left.len(),
            "problems": self.problems,
        })
    }

    /// How the run ends if nothing else is said.
    pub(crate) fn exit(&self) -> Exit {
        let problems = match self.problems + self.passed_problems {
            0 => Exit::Done,
            _ => Exit::Problems,
        };
        match self.findings {
            0 => problems,
            _ => problems.and(Exit::Differences),
        }
    }
}
