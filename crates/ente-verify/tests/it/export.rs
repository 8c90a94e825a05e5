//! The tool against exports made by hand: every class, runs again, healing, names that nobody should give.

use std::fs;

use crate::scratch::{Ran, SIDECAR, Scratch, at, file, placement, version};
use ente_common::exit::Exit;
use ente_common::manifest::facts::{
    DecryptFact, File, Folder, Listing, MetaFact, Placement, PullFact, Verdict,
};
use ente_common::manifest::{Lock, State};

/// Class and path of each finding.
fn found(ran: &Ran) -> Vec<(String, String)> {
    ran.of("finding")
        .map(|it| {
            let text = |name: &str| it[name].as_str().unwrap_or_default().to_owned();
            (text("class"), text("path"))
        })
        .collect()
}

fn pairs(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter()
        .map(|(class, path)| ((*class).to_owned(), (*path).to_owned()))
        .collect()
}

#[test]
fn a_whole_export_passes_and_a_run_adds_one_line() {
    let export = Scratch::whole();
    let first = export.verify(&[]);
    assert_eq!(first.exit, Exit::Done, "{}", first.stderr);
    assert_eq!(found(&first), []);
    assert_eq!(first.stderr, "");
    assert_eq!(first.records[0]["type"], "begin");
    assert_eq!(first.records[0]["scope"], "only");
    let end = first.records.last().unwrap();
    assert_eq!(end["counts"]["ente-verify"]["files"], 3);
    let lines = || export.verify_lines().len();
    let before = lines();
    for quick in [&[][..], &["--quick"]] {
        assert_eq!(export.verify(quick).exit, Exit::Done);
    }
    assert_eq!(lines(), before + 2);
    assert!(!export.path(".ente/verify.lock").exists());
}

#[test]
fn every_difference_has_its_class_and_stands_until_it_is_gone() {
    let export = Scratch::whole();
    fs::remove_file(export.path("Lisbon/a.jpg")).unwrap();
    export.rot("Lisbon/b.jpg");
    fs::write(export.path("Porto/c.jpg"), "edited by me").unwrap();
    fs::remove_file(export.path("Lisbon/metadata/a.jpg.json")).unwrap();
    fs::write(export.path("Lisbon/metadata/b.jpg.json"), "{}").unwrap();
    fs::write(export.path("Lisbon/notes.txt"), "mine").unwrap();
    export.list(2, 9, version(9));
    let expected = pairs(&[
        ("not-exported", ""),
        ("missing", "Lisbon/a.jpg"),
        ("damaged", "Lisbon/b.jpg"),
        ("missing", "Lisbon/metadata/a.jpg.json"),
        ("sidecar-edited", "Lisbon/metadata/b.jpg.json"),
        ("modified", "Porto/c.jpg"),
        ("extra", "Lisbon/notes.txt"),
    ]);
    let ran = export.verify(&["--jobs", "1"]);
    assert_eq!(found(&ran), expected);
    assert_eq!(ran.exit, Exit::Differences);
    assert!(
        ran.stderr.contains("warning: 6 differences among 3 files"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("ente-pull"), "{}", ran.stderr);

    let missing = ran.of("finding").nth(1).unwrap();
    assert_eq!(
        (missing["file"].as_i64(), missing["collection"].as_i64()),
        (Some(1), Some(1))
    );
    let sidecar = ran.of("finding").nth(3).unwrap();
    assert_eq!(sidecar["what"], "sidecar");

    let state = export.state();
    assert!(state.broken((1, 1), 0).is_some() && state.broken((1, 2), 0).is_some());
    assert!(
        state.broken((2, 3), 0).is_none(),
        "what somebody changed is not healed"
    );
    assert!(state.sidecar_lost((1, 1, 0)) && !state.sidecar_lost((1, 2, 0)));

    // The same again: the facts stand, only the run itself is new.
    let before = export.verify_lines().len();
    assert_eq!(found(&export.verify(&[])), expected);
    assert_eq!(export.verify_lines().len(), before + 1);

    // Sizes and times see less, but do not clear what was read.
    let quick = export.verify(&["--quick"]);
    assert_eq!(found(&quick), expected);

    // Put right by hand, and by the others: the findings go.
    export.write(1, 1, "a.jpg", b"first", 2);
    export.write(1, 2, "b.jpg", b"second", 2);
    export.write(2, 3, "c.jpg", b"third", 2);
    export.write(2, 9, "d.jpg", b"ninth", 1);
    export.sidecar(1, 1, "a.jpg", 2);
    export.sidecar(1, 2, "b.jpg", 2);
    export.sidecar(2, 9, "d.jpg", 1);
    fs::remove_file(export.path("Lisbon/notes.txt")).unwrap();
    assert!(
        !export.state().sidecar_lost((1, 1, 0)),
        "a new writing is another file"
    );
    assert_eq!(export.verify(&[]).exit, Exit::Done);
    let state = export.state();
    assert!(state.verify.findings.is_empty() && state.verify.sidecars.is_empty());
    assert!(state.verify.extras.is_empty());
}

#[test]
fn a_file_that_was_only_touched_is_well_unless_nobody_reads_it() {
    let export = Scratch::whole();
    let file = fs::File::options()
        .write(true)
        .open(export.path("Lisbon/a.jpg"))
        .unwrap();
    file.set_modified(at(5)).unwrap();
    assert_eq!(export.verify(&[]).exit, Exit::Done);
    let quick = export.verify(&["--quick"]);
    assert_eq!(found(&quick), pairs(&[("modified", "Lisbon/a.jpg")]));
    assert_eq!(export.verify(&[]).exit, Exit::Done);
}

#[test]
fn a_stray_file_is_told_of_and_is_no_difference() {
    let export = Scratch::whole();
    fs::write(export.path("Lisbon/mine.txt"), "mine").unwrap();
    fs::create_dir_all(export.path("My own/empty")).unwrap();
    let ran = export.verify(&[]);
    assert_eq!(found(&ran), pairs(&[("extra", "Lisbon/mine.txt")]));
    assert_eq!((ran.exit, ran.stderr.as_str()), (Exit::Done, ""));
}

#[cfg(unix)]
#[test]
fn links_are_not_followed_and_names_of_any_bytes_come_out_whole() {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;

    let export = Scratch::whole();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("a.jpg"), "first").unwrap();
    fs::rename(export.path("Porto"), outside.path().join("Porto")).unwrap();
    symlink(outside.path().join("Porto"), export.path("Porto")).unwrap();
    fs::remove_file(export.path("Lisbon/a.jpg")).unwrap();
    symlink(outside.path().join("a.jpg"), export.path("Lisbon/a.jpg")).unwrap();
    let raw = std::ffi::OsStr::from_bytes(b"Lisbon/\xff\n\\");
    fs::write(export.path("").join(raw), "x").unwrap();

    let ran = export.verify(&[]);
    assert_eq!(
        found(&ran),
        pairs(&[
            ("modified", "Lisbon/a.jpg"),
            ("modified", "Porto/c.jpg"),
            ("sidecar-edited", "Porto/metadata/c.jpg.json"),
            ("extra", ""),
            ("extra", "Porto"),
        ])
    );
    let odd = ran.of("finding").find(|it| it["path"].is_object()).unwrap();
    assert_eq!(odd["path"]["base64"], "TGlzYm9uL/8KXA==");
    let before = export.verify_lines().len();
    let _ = export.verify(&[]);
    assert_eq!(export.verify_lines().len(), before + 1);
    fs::remove_file(export.path("").join(raw)).unwrap();
    let _ = export.verify(&[]);
    assert_eq!(export.state().verify.extras.len(), 1);
}

#[cfg(unix)]
#[test]
fn what_cannot_be_read_is_a_problem_and_not_missing() {
    use std::os::unix::fs::PermissionsExt as _;

    let export = Scratch::whole();
    export.rot("Porto/c.jpg");
    assert_eq!(export.verify(&[]).exit, Exit::Differences);
    let porto = export.path("Porto");
    fs::set_permissions(&porto, fs::Permissions::from_mode(0o000)).unwrap();
    let readable = fs::read_dir(&porto).is_ok();
    let ran = export.verify(&[]);
    fs::set_permissions(&porto, fs::Permissions::from_mode(0o755)).unwrap();
    if readable {
        return; // The superuser reads everything.
    }
    assert_eq!(ran.exit, Exit::Problems, "{}", ran.stderr);
    assert_eq!(found(&ran), []);
    assert!(ran.of("problem").all(|it| it["class"] == "unreadable"));
    assert!(
        export.state().broken((2, 3), 0).is_some(),
        "what was known stands"
    );
}

#[test]
fn an_interrupted_run_is_seen() {
    // A listing that was never closed, or none at all.
    let export = Scratch::empty();
    let ran = export.verify(&[]);
    assert_eq!(
        (ran.exit, found(&ran)),
        (Exit::Differences, pairs(&[("not-exported", "")]))
    );
    let export = Scratch::whole();
    export.pull(&[PullFact::File(file(1, 4, version(4)))]);
    let ran = export.verify(&[]);
    assert_eq!(found(&ran), pairs(&[("not-exported", "")]));
    assert!(
        ran.of("finding")
            .all(|it| it["cause"].as_str().unwrap().contains("cut off"))
    );

    // A file that waits in `partial/` for its place.
    let export = Scratch::whole();
    let waiting = format!(".ente/partial/new-1-1-0-{}", version(1));
    fs::create_dir(export.path(".ente/partial")).unwrap();
    fs::rename(export.path("Lisbon/a.jpg"), export.path(&waiting)).unwrap();
    let ran = export.verify(&[]);
    assert_eq!(found(&ran), pairs(&[("not-exported", "Lisbon/a.jpg")]));
    assert!(
        export.state().broken((1, 1), 0).is_none(),
        "nothing needs to be fetched"
    );
    // It is no better there: the next run would put it back and call it well.
    export.rot(&waiting);
    for how in [&[][..], &["--quick"]] {
        let ran = export.verify(how);
        assert_eq!(found(&ran), pairs(&[("damaged", "Lisbon/a.jpg")]));
        assert!(export.state().broken((1, 1), 0).is_some());
    }

    // Newer content that did not come, and why.
    let export = Scratch::whole();
    export.list(1, 1, version(8));
    export.decrypt(&[DecryptFact::Verdict(Verdict {
        id: 3,
        version: version(3),
        cause: "a chunk does not authenticate".into(),
        ..Verdict::default()
    })]);
    export.decrypt(&[DecryptFact::Placement(placement(2, 3, "c.jpg", None))]);
    let ran = export.verify(&[]);
    let findings: Vec<_> = ran.of("finding").collect();
    assert_eq!(findings[0]["path"], "Lisbon/a.jpg");
    assert_eq!(findings[1]["path"], "Porto/c.jpg");
    assert_eq!(findings[1]["cause"], "a chunk does not authenticate");
    assert!(
        ran.of("finding")
            .all(|it| it["class"] == "not-exported" || it["class"] == "extra")
    );
}

#[test]
fn a_second_sidecar_is_checked_too() {
    let export = Scratch::whole();
    export.list(1, 5, version(5));
    export.write(1, 5, "e-edited.jpg", b"fifth", 1);
    export.sidecar(1, 5, "e-edited.jpg", 1);
    export.meta(&[MetaFact::Sidecar(ente_common::manifest::facts::Sidecar {
        second: true,
        ..export.state().meta.sidecars[&(1, 5, 0)].clone()
    })]);
    let ran = export.verify(&[]);
    assert_eq!(
        found(&ran),
        pairs(&[("missing", "Lisbon/metadata/e.jpg.json")])
    );
    let first = export.path("Lisbon/metadata/e-edited.jpg.json");
    fs::copy(first, export.path("Lisbon/metadata/e.jpg.json")).unwrap();
    assert_eq!(export.verify(&[]).exit, Exit::Done);
}

#[test]
fn while_files_are_moved_nobody_looks() {
    let export = Scratch::whole();
    let state_dir = export.path(".ente");
    let lock = Lock::take(&state_dir, "ente-decrypt", "another", 0, false).unwrap();
    let before = export.verify_lines();
    assert_eq!(export.verify(&[]).exit, Exit::Locked);
    assert_eq!(export.verify_lines(), before);
    drop(lock);
    assert_eq!(export.verify(&[]).exit, Exit::Done);
}

#[test]
fn what_moves_on_during_a_check_is_looked_at_again() {
    let export = Scratch::whole();
    let there = export.clone();
    let ran = export.meanwhile(move || {
        // Album 2 is renamed, file 1 gets new content, file 2 is removed, file 6 comes: all recorded. File 3 is damaged as well.
        there.rot("Porto/c.jpg");
        fs::rename(there.path("Porto"), there.path("Oporto")).unwrap();
        fs::remove_file(there.path("Lisbon/b.jpg")).unwrap();
        fs::remove_file(there.path("Lisbon/metadata/b.jpg.json")).unwrap();
        there.decrypt(&[
            DecryptFact::Folder(Folder {
                collection: 2,
                name: "Oporto".into(),
                ..Folder::default()
            }),
            DecryptFact::Placement(Placement {
                collection: 1,
                file: 2,
                gone: true,
                ..Placement::default()
            }),
        ]);
        there.pull(&[
            PullFact::File(File {
                gone: true,
                ..file(1, 2, version(2))
            }),
            PullFact::Listing(Listing::default()),
        ]);
        there.write(1, 1, "a.jpg", b"other", 2);
        there.list(1, 6, version(6));
        there.write(1, 6, "f.jpg", b"sixth", 1);
    });
    assert_eq!(found(&ran), pairs(&[("damaged", "Oporto/c.jpg")]));
}

#[test]
fn checksums_come_from_the_record_alone() {
    let export = Scratch::whole();
    fs::remove_file(export.path("Lisbon/a.jpg")).unwrap();
    let ran = export.verify(&["--sums"]);
    assert_eq!(ran.exit, Exit::Done);
    let hash = |content: &[u8]| blake3::hash(content).to_hex().to_string();
    let sidecar = hash(SIDECAR);
    let expected = [
        (hash(b"first"), "Lisbon/a.jpg"),
        (hash(b"second"), "Lisbon/b.jpg"),
        (sidecar.clone(), "Lisbon/metadata/a.jpg.json"),
        (sidecar.clone(), "Lisbon/metadata/b.jpg.json"),
        (hash(b"third"), "Porto/c.jpg"),
        (sidecar, "Porto/metadata/c.jpg.json"),
    ];
    let expected: String = expected
        .iter()
        .map(|(hash, path)| format!("{hash}  {path}\n"))
        .collect();
    assert_eq!(ran.output, expected);
    assert!(
        !export.path(".ente/verify.jsonl").exists(),
        "nothing is written"
    );
}

#[test]
fn pruning_takes_old_trash_and_nothing_else() {
    let export = Scratch::whole();
    // The clock of these tests stands at 2026-11-22.
    for path in [
        "2026-10-01/Lisbon/old.jpg",
        "2026-10-01/objects/7-aa",
        "2026-10-23/x.jpg",
        "2026-10-24/Lisbon/young.jpg",
        "mine/keep.txt",
        "2026-10-01.txt",
    ] {
        export.put(&format!(".ente/trash/{path}"), b"1234");
    }
    let ran = export.verify(&["--prune"]);
    assert_eq!(ran.exit, Exit::Done, "{}", ran.stderr);
    assert_eq!(
        export.files(".ente/trash"),
        [
            "2026-10-01.txt",
            "2026-10-24/Lisbon/young.jpg",
            "mine/keep.txt"
        ]
    );
    assert!(
        !export.path(".ente/trash/2026-10-01").exists(),
        "emptied folders go too"
    );
    let pruned = export.state().verify.pruned;
    assert!(
        pruned.contains("2026-10-01/Lisbon/old.jpg") && pruned.contains("2026-10-01/objects/7-aa")
    );
    assert_eq!(pruned.len(), 3);
    assert_eq!(export.verify(&[]).exit, Exit::Done, "the tree is untouched");

    assert_eq!(export.verify(&["--prune=0"]).exit, Exit::Done);
    assert_eq!(
        export.files(".ente/trash"),
        ["2026-10-01.txt", "mine/keep.txt"]
    );
}

#[cfg(unix)]
#[test]
fn pruning_never_leaves_the_trash() {
    let export = Scratch::whole();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("precious"), "x").unwrap();
    fs::create_dir_all(export.path(".ente/trash/2026-01-01")).unwrap();
    std::os::unix::fs::symlink(outside.path(), export.path(".ente/trash/2026-01-01/link")).unwrap();
    std::os::unix::fs::symlink(outside.path(), export.path(".ente/trash/2026-01-02")).unwrap();
    assert_eq!(export.verify(&["--prune"]).exit, Exit::Done);
    assert!(outside.path().join("precious").exists());
    assert!(!export.path(".ente/trash/2026-01-01").exists());
    assert!(
        export
            .path(".ente/trash/2026-01-02")
            .symlink_metadata()
            .is_ok()
    );
}

#[test]
fn records_that_pass_are_checked_and_keep_what_others_added() {
    let export = Scratch::whole();
    export.rot("Lisbon/b.jpg");
    let file = |id: i64, collection: i64| {
        format!(
            r#"{{"v":1,"type":"file","mine":[1],"id":{id},"placements":[{{"collection":{collection}}}]}}"#
        )
    };
    let lines = [
        export.begin("all"),
        file(1, 1),
        file(2, 1),
        file(77, 1),
        r#"{"v":1,"type":"mine","x":null}"#.to_owned(),
        r#"{"v":1,"type":"end","counts":{"ente-pull":{"files":3}}}"#.to_owned(),
    ];
    let ran = export.feed(&["-"], &lines);
    assert_eq!(ran.exit, Exit::Differences);
    let types: Vec<_> = ran
        .records
        .iter()
        .map(|it| it["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        types,
        ["begin", "file", "file", "finding", "file", "mine", "end"]
    );
    assert_eq!(ran.records[0]["tool"], "ente-verify");
    assert_eq!(ran.records[1]["verified"], true);
    assert_eq!(ran.records[1]["mine"][0], 1);
    assert_eq!(ran.records[2]["verified"], false);
    assert_eq!(ran.records[3]["class"], "damaged");
    assert!(
        ran.records[4].get("verified").is_none(),
        "nothing is known of it"
    );
    let counts = &ran.records[6]["counts"];
    assert_eq!(
        (
            &counts["ente-pull"]["files"],
            &counts["ente-verify"]["files"]
        ),
        (&3.into(), &2.into())
    );
    assert!(export.state().broken((1, 2), 0).is_some());

    // Well again: the finding goes.
    export.write(1, 2, "b.jpg", b"second", 1);
    let ran = export.feed(
        &["-"],
        &[lines[0].clone(), lines[2].clone(), lines[5].clone()],
    );
    assert_eq!(ran.exit, Exit::Done, "{}", ran.stderr);
    assert!(export.state().verify.findings.is_empty());
}

#[test]
fn cut_input_problems_and_listings_are_passed_on() {
    let export = Scratch::whole();
    let problem = r#"{"v":1,"type":"problem","class":"not-found"}"#.to_owned();
    let end = r#"{"v":1,"type":"end","counts":{}}"#.to_owned();
    let cut = export.feed(&["-"], &[export.begin("all")]);
    assert_eq!(cut.exit, Exit::Failed);
    assert!(cut.records.iter().all(|it| it["type"] != "end"));
    let problems = export.feed(&["-"], &[export.begin("all"), problem, end.clone()]);
    assert_eq!(problems.exit, Exit::Problems);

    let listing = [
        export.begin("listing"),
        r#"{"v":1,"type":"file","id":1,"placements":[{"collection":1}]}"#.to_owned(),
        end,
    ];
    fs::remove_dir_all(export.path(".ente")).unwrap();
    let ran = export.feed(&["-"], &listing);
    assert_eq!((ran.exit, ran.records.len()), (Exit::Done, 3));
    assert!(ran.records[1].get("verified").is_none());
}

#[test]
fn a_removed_file_is_looked_for() {
    let export = Scratch::whole();
    let gone = |path: &str| {
        format!(
            r#"{{"v":1,"type":"file","id":50,"placements":[{{"collection":1,"gone":true,"did":"trashed","path":"{path}"}}]}}"#
        )
    };
    export.put("Lisbon/still.jpg", b"x");
    let lines = [
        export.begin("all"),
        gone("Lisbon/really gone.jpg"),
        gone("Lisbon/a.jpg"),
        gone("Lisbon/still.jpg"),
        gone("../etc/passwd"),
        r#"{"v":1,"type":"end","counts":{}}"#.to_owned(),
    ];
    let ran = export.feed(&["-"], &lines);
    assert_eq!(found(&ran), pairs(&[("extra", "Lisbon/still.jpg")]));
}

#[test]
fn an_interrupted_check_keeps_what_it_knew() {
    let export = Scratch::whole();
    export.rot("Lisbon/b.jpg");
    let _ = export.verify(&[]);
    let before = export.verify_lines();
    let ran = export.interrupted(&[]);
    assert!(ran.records.iter().all(|it| it["type"] != "end"));
    assert_eq!(export.verify_lines(), before);
    let _: State = export.state();
}
