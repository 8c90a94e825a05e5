//! Clocks that are wrong.

use super::bench::{Bench, STEPS, told, wait};
use super::{Case, Context, Need, Verdict};
use crate::history::Op;

pub(super) const CASES: &[Case] = &[Case {
    name: "clock set back by a year, ahead by a year, and right again",
    needs: &[Need::Program("faketime", "faketime")],
    run: wrong_clock,
}];

fn wrong_clock(context: &Context) -> Verdict {
    let mut bench = Bench::new(&context.tool);
    let export = bench.machine.export.clone();
    bench.heals(&export)?;
    bench.add_mine(&export);
    bench.change();
    at(&bench, "-400d")?;
    bench.heals(&export)?;
    bench.happen(&[
        Op::Upload {
            album: 1,
            title: 7,
            live: true,
        },
        Op::Replace { file: 1 },
        Op::Trash { file: 2 },
    ]);
    at(&bench, "+400d")?;
    bench.heals(&export)?;
    bench.happen(&[Op::Rename { file: 0, title: 0 }, Op::Replace { file: 0 }]);
    at(&bench, "-1d")?;
    bench.heals(&export)?;
    Ok("every change came at once, and nothing else".into())
}

/// Runs all tools with a clock that is off by so much; all must end well.
fn at(bench: &Bench, offset: &str) -> Result<(), String> {
    for tool in STEPS {
        let right = bench.machine.command(&[tool, bench.machine.dir()]);
        let mut command = std::process::Command::new("faketime");
        command
            .args(["--exclude-monotonic", "-f", offset])
            .arg(right.get_program())
            .args(right.get_args())
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .current_dir(bench.machine.home())
            .env_clear();
        for (name, value) in right.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        let outcome = wait(command, tool)?;
        if outcome.code != 0 {
            return Err(format!(
                "`{tool}` at {offset} ended with {}:\n{}",
                outcome.code,
                told(&outcome)
            ));
        }
    }
    Ok(())
}
