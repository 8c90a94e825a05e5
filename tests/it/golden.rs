//! The golden account: made by other implementations, so that nothing here checks our code with itself.

use std::collections::BTreeSet;

use ente_tests::harness::{Machine, Outcome, assert_golden, assert_same, expect_all, folded, tree};
use ente_tests::library::GoldenState;
use ente_tests::museum::Museum;

use crate::{expected, golden};

fn switch(museum: &Museum) {
    museum.with_library(|library| library.switch_to(GoldenState::Changed));
    museum.reset_log();
}

/// First export, change, nothing to do: the tree and the downloads are the expected ones each time.
fn three_runs(museum: &Museum, machine: &Machine, run: fn(&Machine) -> Vec<Outcome>) {
    expect_all(&run(machine), 0);
    assert_golden(&machine.export, &expected("1-initial"));
    assert!(museum.leaked_tokens().is_empty());

    switch(museum);
    expect_all(&run(machine), 0);
    assert_golden(&machine.export, &expected("2-changed"));
    assert_eq!(museum.fetched_objects(), BTreeSet::from([103, 127]));

    museum.reset_log();
    let before = tree(&machine.export);
    let outcomes = run(machine);
    expect_all(&outcomes, 0);
    assert_eq!(museum.fetched_objects(), BTreeSet::new());
    assert_same(&tree(&machine.export), &before);
    for outcome in &outcomes {
        assert!(
            outcome.records_of("file").is_empty(),
            "nothing changed, so no file is worth a record"
        );
    }
    assert!(museum.leaked_tokens().is_empty());
}

/// A tree without the times of sidecars, which are those of their writing.
fn undated_sidecars(
    machine: &Machine,
) -> std::collections::BTreeMap<String, ente_tests::harness::Entry> {
    let mut files = tree(&machine.export);
    for (path, file) in &mut files {
        if path.contains("/metadata/") {
            file.mtime_s = 0;
        }
    }
    files
}

#[test]
fn the_pipe_and_the_four_tools_lead_to_the_same_tree_and_manifest() {
    let (museum, piped) = golden();
    three_runs(&museum, &piped, Machine::pipeline);
    let (museum, stepped) = golden();
    three_runs(&museum, &stepped, Machine::steps);
    assert_same(&undated_sidecars(&piped), &undated_sidecars(&stepped));
    let (piped, stepped) = (folded(&piped.export), folded(&stepped.export));
    for (key, fact) in &piped {
        assert_eq!(Some(fact), stepped.get(key), "{key}");
    }
    assert_eq!(piped.len(), stepped.len());
}

#[test]
fn one_job_and_many_lead_to_the_same_tree() {
    for jobs in ["1", "16"] {
        let (_museum, machine) = golden();
        let outcomes = machine.pipe(&[
            &["ente-pull", "--jobs", jobs, machine.dir()],
            &["ente-decrypt", "--jobs", jobs, "-"],
            &["ente-meta", "-"],
        ]);
        expect_all(&outcomes, 0);
        assert_golden(&machine.export, &expected("1-initial"));
    }
}

#[test]
fn a_first_run_that_was_cut_in_half_gives_the_same_names() {
    let (_museum, machine) = golden();
    // The records stop after a few files: what came is exported, the rest on the next run.
    let pulled = machine.run(&["ente-pull", machine.dir()]).expect(0);
    let half: String = pulled
        .stdout
        .lines()
        .take(26)
        .map(|line| format!("{line}\n"))
        .collect();
    let outcome = machine.run_with(&["ente-decrypt", "-"], &half);
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    assert!(!tree(&machine.export).is_empty(), "{half}\n{outcome:?}");
    expect_all(&machine.steps(), 0);
    assert_golden(&machine.export, &expected("1-initial"));
}

#[test]
fn a_file_that_is_told_twice_has_its_sidecars_written_once() {
    let (_museum, machine) = golden();
    let outcomes = machine.pipe(&[&["ente-pull", machine.dir()], &["ente-decrypt", "-"]]);
    expect_all(&outcomes, 0);
    let twice: String = outcomes[1]
        .stdout
        .lines()
        .flat_map(|line| {
            let times = if line.contains(r#""type":"file""#) {
                2
            } else {
                1
            };
            std::iter::repeat_n(format!("{line}\n"), times)
        })
        .collect();
    let _ = machine.run_with(&["ente-meta", "-"], &twice).expect(0);
    assert_golden(&machine.export, &expected("1-initial"));
}

#[test]
fn every_record_of_the_pipe_is_there_with_what_each_tool_adds() {
    let (_museum, machine) = golden();
    let outcomes = machine.pipeline();
    expect_all(&outcomes, 0);
    let last = outcomes.last().expect("there are four");
    let records = last.records();
    assert_eq!(records.first().expect("begin")["type"], "begin");
    assert_eq!(records.last().expect("end")["type"], "end");
    let files = last.records_of("file");
    let photo = files
        .iter()
        .find(|record| record["id"] == 101)
        .expect("file 101");
    assert_eq!(photo["verified"], true);
    assert_eq!(photo["metadata"]["title"], "photo1.jpg");
    let paths: Vec<_> = photo["placements"]
        .as_array()
        .expect("placements")
        .iter()
        .map(|placement| placement["path"].clone())
        .collect();
    assert_eq!(
        paths,
        ["Vacation 2024/photo1.jpg", "Best Photos/photo1.jpg"]
    );
    assert_eq!(
        photo["placements"][0]["parts"][0]["sidecar"], "Vacation 2024/metadata/photo1.jpg.json",
        "{photo}"
    );
}

#[test]
fn nothing_is_written_by_what_only_lists() {
    let (museum, machine) = golden();
    let outcome = machine.pipe(&[
        &["ente-pull", "--list", machine.dir()],
        &["ente-decrypt", "-"],
        &["ente-meta", "-"],
        &["ente-verify", "-"],
    ]);
    expect_all(&outcome, 0);
    assert!(!machine.export.exists(), "a listing makes no export");
    let files = outcome.last().expect("there are four").records_of("file");
    assert_eq!(files.len(), 27);
    assert!(
        files
            .iter()
            .any(|file| file["metadata"]["caption"] == "Cake, \"candles\" & naïve café 🎂")
    );
    expect_all(&machine.steps(), 0);
    let before = (tree(&machine.export), folded(&machine.export));
    switch(&museum);
    expect_all(
        &[machine.run(&["ente-pull", "--dry-run", machine.dir()])],
        0,
    );
    expect_all(&[machine.run(&["ente-meta", "--print", machine.dir()])], 0);
    assert_same(&tree(&machine.export), &before.0);
    assert_eq!(folded(&machine.export), before.1);
    assert!(museum.fetched_objects().is_empty());
}

#[test]
fn one_album_chosen_by_name_is_exported_alone_and_narrowing_removes_nothing() {
    let (_museum, machine) = golden();
    let chosen = machine.pipe(&[
        &["ente-pull", "--list", machine.dir()],
        &["ente-meta", "--album", "vacation 2024", "-"],
        &["ente-pull", "--only", "-", machine.dir()],
        &["ente-decrypt", "-"],
        &["ente-meta", "-"],
    ]);
    expect_all(&chosen, 0);
    let folders: BTreeSet<String> = tree(&machine.export)
        .keys()
        .map(|path| path.split('/').next().unwrap_or_default().to_owned())
        .collect();
    // Two albums bear that name; a file that lies in another album too is exported only here.
    assert_eq!(
        folders,
        BTreeSet::from(["Vacation 2024".to_owned(), "Vacation 2024_1".to_owned()])
    );
    expect_all(&machine.pipeline(), 0);
    assert_golden(&machine.export, &expected("1-initial"));
}
