//! `--objects` and `--subset` against exports made by hand.

use std::collections::BTreeMap;
use std::fs;

use crate::scratch::{Ran, Scratch, version};
use ente_common::exit::Exit;
use ente_common::manifest::facts::{DecryptFact, Dropped, PullFact, Setting};

fn found(ran: &Ran) -> Vec<(String, String)> {
    let text =
        |it: &serde_json::Value, name: &str| it[name].as_str().unwrap_or_default().to_owned();
    ran.of("finding")
        .map(|it| (text(it, "class"), text(it, "path")))
        .collect()
}

/// An export that keeps its three objects.
fn mirror() -> (Scratch, [String; 3]) {
    let export = Scratch::whole();
    export.pull(&[PullFact::Setting(Setting {
        name: "objects".into(),
        value: "keep".into(),
    })]);
    let paths = [1, 2, 3].map(|id| export.object(id, format!("object {id}").as_bytes(), 1));
    (export, paths)
}

#[test]
fn objects_that_rotted_or_vanished_are_found_and_no_longer_at_hand() {
    let (export, [one, two, three]) = mirror();
    let well = export.verify(&["--objects"]);
    assert_eq!(well.exit, Exit::Done, "{}", well.stderr);
    assert_eq!(
        well.records.last().unwrap()["counts"]["ente-verify"]["files"],
        3
    );
    // What lies in the album folders is another question.
    fs::remove_file(export.path("Lisbon/a.jpg")).unwrap();
    assert_eq!(export.verify(&["--objects"]).exit, Exit::Done);

    export.rot(&one);
    fs::remove_file(export.path(&two)).unwrap();
    fs::write(export.path(&three), "cut").unwrap();
    export.put(".ente/objects/ff/stray", b"?");
    let ran = export.verify(&["--objects"]);
    let expected = [
        ("damaged".to_owned(), one.clone()),
        ("missing".to_owned(), two.clone()),
        ("damaged".to_owned(), three.clone()),
        ("extra".to_owned(), ".ente/objects/ff/stray".to_owned()),
    ];
    assert_eq!(found(&ran), expected);
    assert_eq!(ran.exit, Exit::Differences);
    assert!(
        ran.stderr.contains("3 differences among 3 objects"),
        "{}",
        ran.stderr
    );
    let finding = ran.of("finding").next().unwrap();
    assert_eq!(
        (&finding["what"], &finding["file"]),
        (&"object".into(), &1.into())
    );
    assert_eq!(finding["version"], version(1).to_string());
    assert!(finding.get("collection").is_none());
    let state = export.state();
    for id in 1..4 {
        assert!(state.object((id, version(id as u8))).is_none(), "{id}");
    }
    // A look at the album folders neither knows nor clears this; sizes alone do not clear it either.
    export.verify(&[]);
    assert_eq!(found(&export.verify(&["--objects", "--quick"])), expected);

    for id in 1..4 {
        export.object(id, format!("object {id}").as_bytes(), 2);
        assert!(export.state().object((id, version(id as u8))).is_some());
    }
    fs::remove_file(export.path(".ente/objects/ff/stray")).unwrap();
    let healed = export.verify(&["--objects"]);
    assert_eq!(healed.exit, Exit::Done, "{}", healed.stderr);
    assert!(export.state().verify.objects.is_empty());
    assert!(export.state().verify.extras.is_empty());
}

#[test]
fn a_mirror_lacks_what_was_never_fetched_and_a_spool_does_not() {
    let (export, _) = mirror();
    export.list(2, 9, version(9));
    let ran = export.verify(&["--objects"]);
    assert_eq!(
        found(&ran).iter().map(|it| &*it.0).collect::<Vec<_>>(),
        ["not-exported"]
    );
    assert_eq!(
        ran.of("finding").next().unwrap()["cause"],
        "it is not fetched yet"
    );
    export.pull(&[PullFact::Setting(Setting {
        name: "objects".into(),
        value: "spool".into(),
    })]);
    assert_eq!(export.verify(&["--objects"]).exit, Exit::Done);
    // One that was dropped after its plaintext was safe is not missed.
    export.decrypt(&[DecryptFact::Dropped(Dropped {
        id: 1,
        version: version(1),
        fetch: 1,
    })]);
    let dropped = export.state().pull.objects[&(1, version(1))].clone();
    let path = format!(
        ".ente/{}",
        ente_common::layout::object(dropped.id, dropped.version)
    );
    fs::remove_file(export.path(&path)).unwrap();
    assert_eq!(export.verify(&["--objects"]).exit, Exit::Done);
}

#[test]
fn shares_find_everything_once_and_leave_the_findings_of_others_alone() {
    const SHARES: usize = 7;
    let export = Scratch::whole();
    for id in 10..60 {
        let name = format!("{id}.jpg");
        export.list(1, id, version(id as u8));
        export.write(1, id, &name, name.as_bytes(), 1);
        export.sidecar(1, id, &name, 1);
        if id % 3 == 0 {
            export.rot(&format!("Lisbon/{name}"));
        }
        if id % 5 == 0 {
            export.put(&format!("Lisbon/mine {id}"), b"mine");
            fs::remove_file(export.path(&format!("Lisbon/metadata/{name}.json"))).unwrap();
        }
    }
    let all = found(&export.verify(&[]));
    assert_eq!(all.len(), 16 + 10 + 10);
    let standing = |export: &Scratch| {
        let state = export.state();
        state.verify.findings.len() + state.verify.sidecars.len() + state.verify.extras.len()
    };
    assert_eq!(standing(&export), all.len());
    let mut seen: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut files = 0;
    for share in 1..=SHARES {
        for mode in [&[][..], &["--quick"]] {
            let subset = format!("{share}/{SHARES}");
            let ran = export.verify(&[mode, &["--subset", &subset]].concat());
            // What a quick look knows of, it knows from the run before.
            found(&ran)
                .into_iter()
                .for_each(|it| *seen.entry(it).or_default() += 1);
            files += ran.records.last().unwrap()["counts"]["ente-verify"]["files"]
                .as_i64()
                .unwrap();
        }
    }
    assert_eq!(
        standing(&export),
        all.len(),
        "no share withdrew what another found"
    );
    assert_eq!(files, 2 * 53);
    assert!(seen.values().all(|count| *count == 2), "{seen:?}");
    let mut sorted = all.clone();
    sorted.sort();
    assert_eq!(seen.into_keys().collect::<Vec<_>>(), sorted);
    let last = export.verify_lines().pop().unwrap();
    assert!(last.contains("\"subset\":\"7/7\""), "{last}");
}

#[test]
fn what_is_not_exported_yet_is_told_as_such() {
    let export = Scratch::empty();
    for (collection, id) in [(1, 1), (2, 1), (1, 2)] {
        export.pull(&[PullFact::Collection(
            ente_common::manifest::facts::Collection {
                id: collection,
                ..Default::default()
            },
        )]);
        export.list(collection, id, version(id as u8));
    }
    let ran = export.verify(&[]);
    assert_eq!(ran.exit, Exit::Differences);
    assert_eq!(ran.of("finding").count(), 3);
    assert!(
        ran.stderr.contains("nothing is exported yet")
            && ran.stderr.contains("2 files of the account to go"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("`ente-pull "), "{}", ran.stderr);
    export.object(1, b"object", 1);
    let ran = export.verify(&[]);
    assert!(
        ran.stderr.contains("`ente-decrypt ") && ran.stderr.contains("`ente-verify --objects "),
        "{}",
        ran.stderr
    );
}

#[test]
fn options_about_whole_exports_take_no_records() {
    let export = Scratch::whole();
    for options in [
        &["--objects"][..],
        &["--subset", "1/2"],
        &["--sums"],
        &["--prune"],
    ] {
        let ran = export.feed(&[options, &["-"]].concat(), &[]);
        assert_eq!(ran.exit, Exit::Usage);
        assert!(ran.stderr.contains(options[0]), "{}", ran.stderr);
    }
}
