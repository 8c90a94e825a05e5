//! Random account histories against a model: after each run the tree is what a fresh export of the same state would be, up to the names that
//! stay, and nothing was fetched that the model does not call for.

use std::collections::BTreeSet;

use proptest::test_runner::{Config, TestRunner};

use ente_tests::harness::{Machine, Outcome, expect_all};
use ente_tests::history::{History, Op, check, exported, rounds};
use ente_tests::museum::{Museum, Options, Request};

const EMAIL: &str = "history@example.org";
const PASSWORD: &str = "history";

fn start() -> (History, Museum) {
    let (library, history) = History::start(EMAIL, PASSWORD);
    (history, Museum::start(library, Options::default()))
}

fn signed_in(museum: &Museum) -> Machine {
    let machine = crate::machine();
    let _ = machine.sign_in(museum.api_url(), EMAIL, PASSWORD).expect(0);
    machine
}

fn expect_as_fresh(museum: &Museum, machine: &Machine) {
    let fresh = signed_in(museum);
    expect_all(&fresh.pipeline(), 0);
    assert!(
        exported(&fresh) == exported(machine),
        "a fresh export is the same"
    );
}

fn replay(rounds: &[Vec<Op>]) {
    let (mut history, museum) = start();
    let machine = signed_in(&museum);
    let mut held = BTreeSet::new();
    for (number, round) in std::iter::once(&Vec::new()).chain(rounds).enumerate() {
        museum.with_library(|library| {
            for op in round {
                history.apply(library.live_mut(), op);
            }
        });
        museum.reset_log();
        // In turn through the pipe and step by step: both keep the same manifest.
        let outcomes = if number % 2 == 0 {
            machine.pipeline()
        } else {
            machine.steps()
        };
        // An album that vanishes without a word is gone when a second run misses it too; till then, what left another may be in it.
        let is_uncertain = |outcome: &Outcome| {
            let problems = outcome.records_of("problem");
            let classes: Vec<_> = problems.iter().map(|one| one["class"].as_str()).collect();
            let known = [Some("album-missing"), Some("removals-held-back")];
            classes.contains(&known[0]) && classes.iter().all(|class| known.contains(class))
        };
        let outcomes = match outcomes.iter().any(is_uncertain) {
            true => machine.pipeline(),
            false => outcomes,
        };
        for outcome in &outcomes {
            let problems = outcome.records_of("problem");
            assert!(problems.is_empty(), "round {number}: {problems:#?}");
        }
        expect_all(&outcomes, 0);
        let tree = exported(&machine).unwrap();
        let wanted: BTreeSet<_> = museum.with_library(|library| {
            let live = library.live();
            check(&tree, live).unwrap_or_else(|error| panic!("round {number}: {error}"));
            live.albums()
                .iter()
                .flat_map(|album| {
                    album
                        .files
                        .iter()
                        .map(|file| (file.id, file.content_version))
                })
                .collect()
        });
        let called_for: BTreeSet<i64> = wanted.difference(&held).map(|(file, _)| *file).collect();
        assert_eq!(
            museum.fetched_objects(),
            called_for,
            "downloads of round {number}"
        );
        held.extend(wanted);
        // Where a run found nothing to do, the next one reads only what changed since.
        if number % 3 > 0 {
            museum.reset_log();
            expect_all(&machine.pipeline(), 0);
            assert!(museum.fetched_objects().is_empty(), "round {number}");
            assert!(
                exported(&machine).unwrap() == tree,
                "round {number}: a second run changes nothing"
            );
        }
    }
    let _ = machine.run(&["ente-verify", machine.dir()]).expect(0);
    expect_as_fresh(&museum, &machine);
}

#[test]
fn every_history_leads_to_what_a_fresh_export_would_be() {
    let cases = std::env::var("ENTE_HISTORIES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(8);
    let config = Config {
        cases,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&rounds(), |rounds| {
            replay(&rounds);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn cycles_swaps_and_names_of_the_deleted_come_out_right() {
    let upload = |title| Op::Upload {
        album: 1,
        title,
        live: false,
    };
    replay(&[
        vec![upload(0), upload(3), Op::CreateAlbum { title: 3 }],
        vec![Op::SwapTitles { file: 0, other: 3 }],
        vec![
            Op::Rename { file: 0, title: 2 },
            Op::Rename { file: 1, title: 0 },
            Op::Rename { file: 2, title: 2 },
        ],
        vec![
            Op::RenameAlbum { album: 1, title: 0 },
            Op::RenameAlbum { album: 0, title: 3 },
        ],
        vec![
            Op::DeleteAlbumWithFiles { album: 0 },
            Op::RenameAlbum { album: 0, title: 3 },
        ],
        vec![
            Op::RunTrashQueue,
            Op::Restore { file: 0, album: 0 },
            Op::Restore { file: 0, album: 0 },
        ],
    ]);
}

#[test]
fn an_album_that_vanishes_holds_back_what_left_another_for_one_run() {
    let share = Op::ShareIn { title: 0, files: 1 };
    let delete = Op::DeleteAlbumWithFiles { album: 0 };
    replay(&[vec![share], vec![delete, Op::Vanish]]);
}

#[test]
fn an_album_that_is_renamed_in_a_later_round_of_a_watch_gets_its_sidecars() {
    let (mut history, museum) = start();
    let machine = signed_in(&museum);
    for _ in 0..2 {
        expect_all(&machine.pipeline(), 0);
    }
    let pull = [
        "ente-pull",
        "--watch",
        "1s",
        "--max-duration",
        "4s",
        machine.dir(),
    ];
    let stages: [&[&str]; 3] = [&pull, &["ente-decrypt", "-"], &["ente-meta", "-"]];
    museum.reset_log();
    let has_listed = |request: &Request| request.path.ends_with("/collections/v2");
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| machine.pipe(&stages));
        // Twice: the first round has found nothing to do.
        while museum
            .requests()
            .iter()
            .filter(|one| has_listed(one))
            .count()
            < 2
        {
            std::thread::yield_now();
        }
        museum.with_library(|library| {
            let rename = Op::RenameAlbum { album: 0, title: 3 };
            history.apply(library.live_mut(), &rename);
        });
        expect_all(&watch.join().unwrap(), 0);
    });
    expect_as_fresh(&museum, &machine);
}
