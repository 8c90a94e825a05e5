//! How soon a tool is there.

use super::Case;
use crate::bench::Setup;
use crate::bench::contest::{Goal, Row};
use crate::bench::stopwatch::{Line, take};

const TOOLS: [&str; 5] = [
    "ente-login",
    "ente-pull",
    "ente-decrypt",
    "ente-meta",
    "ente-verify",
];
/// Runs of which the median is one sample.
const TIMES: usize = 50;

pub(super) fn cases() -> Vec<Case> {
    vec![Case {
        name: "start-up",
        about: "each tool's --version and --help, beside `true`",
        needs: &[],
        run: start_up,
    }]
}

fn start_up(setup: &Setup) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    let times = if setup.is_quick { 5 } else { TIMES };
    for tool in TOOLS {
        let program = setup.tools.join(tool);
        let size = std::fs::metadata(&program)
            .map_err(|error| format!("{}: {error}", program.display()))?
            .len();
        let program = program.to_string_lossy();
        let mut contest = setup.contest(&format!("start-up {tool}"));
        for words in [
            &["true"][..],
            &[&program, "--version"],
            &[&program, "--help"],
        ] {
            let line = Line {
                stages: vec![words.iter().map(|word| (*word).to_owned()).collect()],
                env: vec![("PATH".to_owned(), std::env::var("PATH").unwrap_or_default())],
                folder: setup.memory.clone(),
                times,
            };
            let name = words.last().copied().unwrap_or_default();
            contest.enter(name, move || {
                let mut taken = take(&line)?;
                taken.sort_by(|a, b| a.wall_s.total_cmp(&b.wall_s));
                taken
                    .into_iter()
                    .nth(times / 2)
                    .ok_or_else(|| "nothing was run".to_owned())
            });
        }
        let series = contest.run()?;
        setup.keep(&series)?;
        for option in ["--version", "--help"] {
            let row = series.versus(option, "true").goal(Goal::Seconds(0.003));
            rows.push(row.note(format!("{:.1} MB", size as f64 / 1e6)));
        }
    }
    Ok(rows)
}
