//! As the input ended, so does a stage: all that read records keep to the same exit codes.

use std::fs;

use serde_json::{Value, json};

use crate::golden;

/// What else may come in: its name, the lines with it, the exit code of whoever reads them, and whether they say that they are whole.
type Case = (&'static str, Vec<String>, i32, bool);

fn cases(lines: &str) -> Vec<Case> {
    let lines: Vec<String> = lines.lines().map(str::to_owned).collect();
    let (end, before) = lines.split_last().unwrap();
    let with = |more: &[&Value]| {
        let more = more.iter().map(ToString::to_string);
        before.iter().cloned().chain(more).collect::<Vec<_>>()
    };
    let whole = |more: &[&Value]| [with(more), vec![end.clone()]].concat();
    let problem = json!({"v": 1, "type": "problem", "stage": "x", "class": "server", "cause": "c", "hint": "h"});
    let finding =
        json!({"v": 1, "type": "finding", "class": "missing", "file": 101, "collection": 13});
    let newer = json!({"v": 9, "type": "file", "id": 101});
    vec![
        ("nothing", whole(&[]), 0, true),
        ("a problem", whole(&[&problem]), 3, true),
        ("a finding", whole(&[&finding]), 4, true),
        ("both", whole(&[&finding, &problem]), 4, true),
        ("cut short", with(&[]), 1, false),
        ("a bad line", whole(&[&json!("no record")]), 1, false),
        ("a newer version", whole(&[&newer]), 14, false),
    ]
}

#[test]
fn every_stage_ends_as_its_input_did() {
    let (_museum, machine) = golden();
    ente_tests::harness::expect_all(&machine.pipeline(), 0);
    let dir = machine.dir();
    let folder = machine.home().join("Pictures");
    fs::create_dir(&folder).unwrap();
    let adopt = ["ente-verify", "--adopt", folder.to_str().unwrap(), "-"];
    let run = machine.run(&["ente-pull", dir]).expect(0).stdout;
    let list = machine.run(&["ente-pull", "--list", dir]).expect(0).stdout;
    let named = machine.run_with(&["ente-meta", "-"], &list).expect(0);
    let stages: [(&str, &[&str]); 14] = [
        (&run, &["ente-decrypt", "-"]),
        (&run, &["ente-decrypt", "--dry-run", "-"]),
        (&run, &["ente-meta", "-"]),
        (&run, &["ente-meta", "--print", "-"]),
        (&run, &["ente-verify", "-"]),
        (&run, &["ente-pull", "--only", "-", dir]),
        (&list, &["ente-decrypt", "-"]),
        (&list, &["ente-decrypt", "--dry-run", "-"]),
        (&list, &["ente-meta", "-"]),
        (&list, &["ente-verify", "-"]),
        (&list, &["ente-verify", "--origin", "-"]),
        (&list, &["ente-verify", "--against", "-", dir]),
        (&list, &["ente-pull", "--only", "-", dir]),
        (&named.stdout, &adopt),
    ];
    let mut wrong = Vec::new();
    for (lines, stage) in stages {
        for (what, lines, code, is_whole) in cases(lines) {
            let outcome = machine.run_with(stage, &(lines.join("\n") + "\n"));
            let count = |kind| outcome.records_of(kind).len();
            let (problems, findings) = match what {
                "a problem" => (1, 0),
                "a finding" => (0, 1),
                "both" => (1, 1),
                _ => (0, 0),
            };
            // What was found is what this one is to fetch: it goes no further.
            let (code, findings) = match (stage[0], what) {
                ("ente-pull", "a finding") => (0, 0),
                ("ente-pull", "both") => (3, 0),
                _ => (code, findings),
            };
            let is_told = what != "cut short" || outcome.stderr.contains("cut short");
            if (outcome.code, is_told) != (code, true)
                || (count("problem"), count("finding")) != (problems, findings)
                || count("end") != usize::from(is_whole)
            {
                wrong.push(format!("{stage:?}, {what}: {outcome:#?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
