//! Every operation of a run on the disk fails in turn: once, for good, or for want of room.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::bench::{Bench, Known, STEPS, copy_tree, told};
use super::{Case, Context, Need, Verdict};
use crate::faulty_disk::{Fault, FaultyDisk, Kind, Nature};
use crate::harness::Outcome;

const FUSE: &[Need] = &[Need::Fuse];

pub(super) const CASES: &[Case] = &[
    Case {
        name: "disk error at every change (simulated: FUSE)",
        needs: FUSE,
        run: |context| {
            sweep(context, &|at| {
                Fault::Broken(&[Kind::Change, Kind::Store], at)
            })
        },
    },
    Case {
        name: "disk error at every read (simulated: FUSE)",
        needs: FUSE,
        run: |context| sweep(context, &|at| Fault::Broken(&[Kind::Read], at)),
    },
    Case {
        name: "disk error at every look (simulated: FUSE)",
        needs: FUSE,
        run: |context| sweep(context, &|at| Fault::Broken(&[Kind::Look], at)),
    },
    Case {
        name: "disk full from every operation on (simulated: FUSE)",
        needs: FUSE,
        run: |context| sweep(context, &Fault::Full),
    },
    Case {
        name: "disk dead from every operation on (simulated: FUSE)",
        needs: FUSE,
        run: |context| sweep(context, &Fault::Dead),
    },
];

/// One tool's run, from a tree as the tools before it left it.
struct Stage {
    bench: Bench,
    disk: FaultyDisk,
    tool: &'static str,
    /// What the export is before the run.
    before: PathBuf,
    known: Known,
}

impl Stage {
    /// Where the export lies, behind the file system.
    fn behind(&self) -> PathBuf {
        self.disk.backing.join("Ente")
    }

    /// Runs the tool on the export as it was before, with a fault; tells how it ended and how often the fault struck.
    fn run(&self, fault: Option<Fault>) -> Result<(Outcome, Vec<Kind>, usize), String> {
        copy_tree(&self.before, &self.behind())?;
        self.disk.arm(fault);
        let export = self.disk.at.join("Ente");
        let outcome = self.bench.run(&[self.tool, &export.to_string_lossy()]);
        let (seen, struck) = self.disk.seen();
        self.disk.arm(None);
        let kinds = seen.iter().map(|op| op.kind).collect();
        Ok((outcome?, kinds, struck))
    }

    /// The operation that failed first, for people.
    fn culprit(&self, fault: Fault) -> String {
        format!("`{}` with {fault:?}", self.tool)
    }
}

/// Runs every tool with every fault of one kind, on a first run and on one after changes.
fn sweep(context: &Context, fault: &dyn Fn(usize) -> Fault) -> Verdict {
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut told = Vec::new();
    let mut faults = 0;
    let mut errors = Vec::new();
    for is_update in [false, true] {
        for number in 0..STEPS.len() {
            let scratch = scratch.path().join(format!("{is_update}-{number}"));
            let mut stage = prepare(context, &scratch, is_update, number)?;
            let mut codes: BTreeMap<i32, usize> = BTreeMap::new();
            let (_, kinds, _) = stage.run(None)?;
            let count = kinds.iter().filter(|kind| counts(fault(0), **kind)).count();
            for at in (0..count).step_by(context.every) {
                match strike(&mut stage, fault(at)) {
                    Ok(Some(code)) => *codes.entry(code).or_default() += 1,
                    Ok(None) => {}
                    Err(error) => errors.push(format!("{}: {error}", stage.culprit(fault(at)))),
                }
                faults += 1;
            }
            let what = if is_update { "update" } else { "first" };
            told.push(format!("{} {what} {codes:?}", &stage.tool[5..]));
        }
    }
    match errors.len() {
        0 => Ok(format!("{faults} faults; exit codes: {}", told.join(", "))),
        count => Err(format!(
            "{count} of {faults} faults; the first of them:\n{}",
            errors[..count.min(20)].join("\n---\n")
        )),
    }
}

fn counts(fault: Fault, kind: Kind) -> bool {
    match fault {
        Fault::Broken(kinds, _) => kinds.contains(&kind),
        Fault::Full(_) => kind == Kind::Store,
        Fault::Dead(_) => kind != Kind::Look,
    }
}

/// An export on the disk that is to fail, as the tools before this one left it.
fn prepare(
    context: &Context,
    scratch: &Path,
    is_update: bool,
    number: usize,
) -> Result<Stage, String> {
    let disk = FaultyDisk::mount(scratch, Nature::default()).map_err(|error| error.to_string())?;
    let mut bench = Bench::new(&context.tool);
    let behind = disk.backing.join("Ente");
    let mut known = Known::default();
    bench.learn(&mut known);
    if is_update {
        bench.heals(&behind)?;
        bench.add_mine(&behind);
        bench.change();
        bench.learn(&mut known);
    }
    for tool in &STEPS[..number] {
        let _ = bench.run(&[tool, &behind.to_string_lossy()])?.expect(0);
    }
    let before = scratch.join("before");
    copy_tree(&behind, &before)?;
    Ok(Stage {
        bench,
        disk,
        tool: STEPS[number],
        before,
        known,
    })
}

/// Lets one fault happen and looks at everything: what was said, what was left, whether the next run heals. The exit code, or none
/// where the run did not come to the fault.
fn strike(stage: &mut Stage, fault: Fault) -> Result<Option<i32>, String> {
    let (outcome, _, struck) = stage.run(Some(fault))?;
    let behind = stage.behind();
    said_well(&outcome, fault)
        .map_err(|error| format!("{error}; exit {}\n{}", outcome.code, told(&outcome)))?;
    stage.bench.only_whole(&behind, &stage.known)?;
    if stage.before.join("Anchor/mine.txt").exists() {
        stage.bench.mine_is_there(&behind)?;
    }
    stage.bench.heals(&behind).map_err(|error| {
        format!(
            "{error}\nthe run before had ended with {}:\n{}",
            outcome.code,
            told(&outcome)
        )
    })?;
    Ok((struck > 0).then_some(outcome.code))
}

/// The exit code is one of those for such a fault, and the message says what, why and what to do.
fn said_well(outcome: &Outcome, fault: Fault) -> Result<(), String> {
    let codes: &[i32] = match fault {
        Fault::Full(_) => &[0, 15],
        // 4: what could not be looked at may be missing for `ente-verify`.
        _ => &[0, 1, 3, 4],
    };
    if !codes.contains(&outcome.code) {
        return Err(format!("none of the codes {codes:?}"));
    }
    if outcome.stderr.contains("panicked") {
        return Err("it panicked".into());
    }
    let says = |text: &str| outcome.stderr.contains(text);
    match outcome.code {
        0 | 4 => Ok(()),
        3 if says("hint: ") || outcome.stdout.contains("\"hint\":\"") => Ok(()),
        1 | 15 if says(": error: ") && says("  cause: ") && says("  hint: ") => Ok(()),
        _ => Err("what, cause or hint is missing".into()),
    }
}
