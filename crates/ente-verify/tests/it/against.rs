//! `--against -` and `--origin` against exports made by hand.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ente_common::exit::Exit;
use serde_json::{Value, json};

use crate::scratch::{Ran, Scratch};

/// A file as the server lists it, with content version `version`.
fn listed(id: i64, collections: &[i64], version: u8) -> String {
    let header = [&[version; 8][..], &[0; 16]].concat();
    let entry = |collection: &i64| {
        json!({"collection": collection, "entry": {
            "id": id, "ownerID": 1, "collectionID": collection, "updationTime": 5,
            "metadata": {"encryptedData": "eA=="}, "file": {"decryptionHeader": STANDARD.encode(&header)},
        }})
    };
    let placements: Vec<Value> = collections.iter().map(entry).collect();
    json!({"v": 1, "type": "file", "id": id, "placements": placements}).to_string()
}

const END: &str = "{\"v\":1,\"type\":\"end\",\"counts\":{}}";

fn against(export: &Scratch, files: &[String], rest: &[&str]) -> Ran {
    let albums = [1, 2].map(|id| json!({"v": 1, "type": "collection", "id": id}).to_string());
    let lines = [
        &[export.begin("listing")][..],
        &albums,
        files,
        &rest.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>(),
    ]
    .concat();
    export.feed(&["--against", "-"], &lines)
}

/// Class, file, collection and cause of each finding.
fn found(ran: &Ran) -> Vec<(String, i64, i64, String)> {
    let text = |it: &Value, name: &str| it[name].as_str().unwrap_or_default().to_owned();
    let int = |it: &Value, name: &str| it[name].as_i64().unwrap_or_default();
    ran.of("finding")
        .map(|it| {
            (
                text(it, "class"),
                int(it, "file"),
                int(it, "collection"),
                text(it, "cause"),
            )
        })
        .collect()
}

#[test]
fn what_the_account_holds_and_the_export_lacks_is_told_and_nothing_written() {
    let export = Scratch::whole();
    let before = export.files(".");
    let same = [listed(1, &[1], 1), listed(2, &[1], 2), listed(3, &[2], 3)];
    let well = against(&export, &same, &[END]);
    assert_eq!(well.exit, Exit::Done, "{}", well.stderr);

    let changed = [
        listed(1, &[1, 2], 1), // added to an album
        listed(2, &[1], 9),    // replaced
        listed(4, &[1], 4),    // new; 3 is gone
    ];
    let ran = against(&export, &changed, &[END]);
    assert_eq!(ran.exit, Exit::Differences);
    let row = |class: &str, file, collection, cause: &str| {
        (class.to_owned(), file, collection, cause.to_owned())
    };
    let expected = [
        row("not-exported", 4, 1, ""),
        row("not-exported", 1, 2, ""),
        row("not-exported", 2, 1, "the account holds newer content"),
        row("extra", 3, 2, "the account no longer has it there"),
    ];
    assert_eq!(found(&ran), expected);
    assert!(
        ran.of("file").next().is_none(),
        "what is piped on is what is lacking"
    );
    // Of a record that would be too long only the version is told.
    let mut short: Value = serde_json::from_str(&listed(1, &[1], 1)).unwrap();
    short["version"] = crate::scratch::version(1).to_string().into();
    short["placements"] = json!([{"collection": 1}]);
    let without = [short.to_string(), same[1].clone(), same[2].clone()];
    assert_eq!(against(&export, &without, &[END]).exit, Exit::Done);
    // A file that vanished from the disk is lacking too.
    std::fs::remove_file(export.path("Lisbon/a.jpg")).unwrap();
    assert_eq!(
        found(&against(&export, &same, &[END])),
        [row("missing", 1, 1, "")]
    );
    export.write(1, 1, "a.jpg", b"first", 1);
    assert_eq!(export.files("."), before, "no fact, no lock");
}

#[test]
fn a_listing_that_is_not_whole_says_so() {
    let export = Scratch::whole();
    let one = [listed(1, &[1], 1)];
    let cut = against(&export, &one, &[]);
    assert_eq!(cut.exit, Exit::Failed, "{}", cut.stderr);
    assert_eq!(found(&cut), [], "what did not come may be there");
    let problem =
        json!({"v": 1, "type": "problem", "stage": "ente-pull", "class": "server", "cause": "x"})
            .to_string();
    let ran = against(&export, &one, &[&problem, END]);
    assert_eq!(ran.exit, Exit::Problems, "{}", ran.stderr);
    assert_eq!(ran.of("problem").count(), 1);
    let lines = [export.begin("all"), END.to_owned()];
    let refused = export.feed(&["--against", "-"], &lines);
    assert_eq!(refused.exit, Exit::Usage);
    assert!(
        refused.stderr.contains("ente-pull --list"),
        "{}",
        refused.stderr
    );
    let foreign = export
        .begin("listing")
        .replace("\"user_id\":1", "\"user_id\":2");
    assert_eq!(
        export
            .feed(&["--against", "-"], &[foreign, END.to_owned()])
            .exit,
        Exit::Refused
    );
}
