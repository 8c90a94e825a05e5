//! Power cuts: a run is recorded call by call; then the disk is laid out as a cut after any of the calls may leave it, and the tools run again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Machine, folded};
use crate::library::seed::Stream;

use super::calls::{self, Call};
use super::check::Whole;
use super::disk::{Disk, Loss};
use super::pipe::{self, Ended, Kill};
use super::round::{Played, Ready};
use super::strace;

/// A run as the disk saw it.
pub(super) struct Recorded {
    before: Disk,
    /// What the manifest said at its end.
    facts: BTreeMap<String, Value>,
    /// What it did.
    pub(super) calls: Vec<Call>,
}

/// The host that is up again is on another start than the one that went down: locks tell.
fn start_again(export: &Path) {
    for tool in ["pull", "decrypt", "meta", "verify"] {
        let path = export.join(format!(".ente/{tool}.lock"));
        let text = fs::read(&path).unwrap_or_default();
        if let Ok(mut holder) = serde_json::from_slice::<Value>(&text) {
            holder["boot"] = "the one before".into();
            fs::write(path, holder.to_string()).expect("a scratch file");
        }
    }
}

impl Ready {
    /// Records the line, undisturbed.
    ///
    /// # Panics
    /// If what was recorded does not lead to what is there then: something would be overlooked.
    pub(super) fn record(&self) -> Recorded {
        let machine = self.copy();
        let logs = tempfile::tempdir().expect("a scratch folder");
        let log = logs.path().join("log");
        let shell = machine.command(&[]);
        let tool = shell.get_program().to_string_lossy().into_owned();
        let line = self.line(&machine);
        let stages = pipe::stages(&line)
            .into_iter()
            .map(|stage| format!("'{tool}' {}", stage.join(" ")));
        let line = stages.collect::<Vec<_>>().join(" | ");
        // One `strace` over the whole pipe, for one order of all calls.
        let mut command = Command::new("sh");
        command
            .args(["-c", &line])
            .env_clear()
            .current_dir(machine.home());
        command.envs(
            shell
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        let output = strace::logged(&command, &log, true)
            .output()
            .expect("strace starts");
        assert!(
            output.status.success() || output.status.code() == Some(4),
            "`{line}` under strace: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let log = fs::read(log).expect("strace wrote a log");
        let calls = calls::parse(&String::from_utf8_lossy(&log));
        let before =
            Disk::of(self.template.home(), machine.home()).expect("the template can be read");
        let mut disk = before.clone();
        calls.iter().for_each(|call| disk.apply(call));
        let again = Machine::new(&self.tool);
        disk.lay_out_all(again.home())
            .expect("a scratch folder can be filled");
        Whole::of(&machine.export).assert_files(&Whole::of(&again.export));
        for file in ["pull", "decrypt", "meta", "verify", "ciphertext"] {
            let journal = |machine: &Machine| {
                fs::read(machine.export.join(format!(".ente/{file}.jsonl"))).ok()
            };
            assert!(
                journal(&machine) == journal(&again),
                "{file}.jsonl as recorded and as it is"
            );
        }
        Recorded {
            before,
            calls,
            facts: folded(&machine.export),
        }
    }

    /// Cuts the power after so many calls of the recorded run, and runs the line again.
    ///
    /// # Panics
    /// With what is wrong then.
    pub(super) fn cut(
        &self,
        recorded: &Recorded,
        after: usize,
        loss: Loss,
        random: &mut Stream,
    ) -> Played {
        let machine = Machine::new(&self.tool);
        let mut disk = recorded.before.clone();
        recorded.calls[..after]
            .iter()
            .for_each(|call| disk.apply(call));
        disk.lay_out(machine.home(), loss, random)
            .expect("a scratch folder can be filled");
        start_again(&machine.export);
        self.kept_if_wrong(&machine, || {
            if after == recorded.calls.len() {
                // What a run has done survives its end. Parked files and emptied folders may be there again.
                self.after_line.assert_files(&Whole::of(&machine.export));
                assert!(
                    folded(&machine.export) == recorded.facts,
                    "facts of a run that ended"
                );
            }
            self.see_and_heal(&machine, &[])
        })
    }

    /// What then leads to a whole export.
    pub(super) fn finish(&self, machine: &Machine) {
        for line in self.scenario.finish {
            let ended: Vec<Ended> =
                pipe::run(machine, &self.stage.line(line, machine), &Kill::None);
            super::round::expect(&ended, &[], line);
        }
    }

    fn line(&self, machine: &Machine) -> String {
        self.stage.line(self.scenario.line, machine)
    }
}
