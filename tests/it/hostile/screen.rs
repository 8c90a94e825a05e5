//! What a terminal is shown.

use std::fs;

use ente_tests::library::NewFile;
use ente_tests::museum::{Fault, Match};
use serde_json::{Value, json};

use super::{EMAIL, MALLORY, PASSWORD, Scene, archive, assert_tame, bytes};
use crate::machine;

#[test]
fn no_text_from_outside_steers_the_terminal() {
    const FOUL: &str = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}\r\nente-pull: error: not me\u{7f}";
    let scene = Scene::new();
    let file = scene.upload(&format!("{FOUL}.jpg"), bytes(b"x"));
    scene.upload_with_metadata(b"{");
    scene.museum.with_library(|library| {
        let live = library.live_mut();
        let album = live.share_in(&format!("mallory{FOUL}@example.org"), FOUL);
        live.upload_by(MALLORY, album, NewFile::new(FOUL, archive(b"PK".to_vec())));
    });
    let body = json!({"code": FOUL, "message": FOUL}).to_string();
    let answer = |status| Fault::Answer {
        status,
        content_type: "application/json",
        body: body.clone(),
    };
    scene
        .museum
        .inject(Match::download(file), answer(403), None);
    scene.pipeline();
    scene.museum.clear_faults();
    scene.pipeline();

    // What the server says instead of a listing, and while signing in.
    for status in [400, 401, 403, 404, 410, 426] {
        scene.museum.inject(Match::api(), answer(status), None);
        let outcome = scene.machine.run(&["ente-pull", scene.machine.dir()]);
        assert_ne!(outcome.code, 0);
        assert_tame(&outcome.stderr);
        assert_tame(
            &machine()
                .sign_in(scene.museum.api_url(), EMAIL, PASSWORD)
                .stderr,
        );
        scene.museum.clear_faults();
    }

    // Names on disk, and text of the manifest.
    fs::write(
        scene
            .machine
            .export
            .join(format!("Own/{}", FOUL.replace('/', "_"))),
        "mine",
    )
    .unwrap();
    fs::write(scene.machine.export.join("Own/good.jpg"), "edited").unwrap();
    fs::write(scene.machine.home().join("x"), "").unwrap();
    let about = scene.machine.export.join(".ente/export.json");
    let whole = fs::read_to_string(&about).unwrap();
    let escaped = serde_json::to_string(FOUL).unwrap();
    let foul_account = whole.replace(&format!("\"{EMAIL}\""), &escaped);
    for text in [
        &whole,
        &foul_account,
        &foul_account.replace("\"photos\"", &escaped),
    ] {
        fs::write(&about, text).unwrap();
        for tool in ["ente-pull", "ente-decrypt", "ente-meta", "ente-verify"] {
            let outcome = scene
                .machine
                .run(&[tool, "--records", "always", scene.machine.dir()]);
            assert_tame(&outcome.stderr);
            assert_tame(&outcome.stdout);
        }
        for tool in [
            "ente-verify --sums",
            "ente-verify --quick",
            "ente-login --status",
        ] {
            let words: Vec<&str> = tool.split(' ').collect();
            let dir = if tool.starts_with("ente-login") {
                vec![]
            } else {
                vec![scene.machine.dir()]
            };
            let outcome = scene.machine.run(&[words, dir].concat());
            assert_tame(&outcome.stderr);
            assert_tame(&outcome.stdout);
        }
    }
    fs::write(&about, &whole).unwrap();

    // Records on standard input.
    let account: Value = serde_json::from_str(&whole).unwrap();
    let begin = |account: Value| json!({"v": 1, "type": "begin", "tool": FOUL, "run": FOUL, "scope": "only", "export": scene.machine.dir(), "account": account});
    let mut foreign = account["account"].clone();
    foreign["email"] = FOUL.into();
    foreign["endpoint"] = FOUL.into();
    let inputs = [
        begin(account["account"].clone()).to_string() + "\n" + &json!({"v": 1, "type": FOUL, "id": FOUL}).to_string() + "\n"
            + &json!({"v": 1, "type": "problem", "stage": FOUL, "class": FOUL, "path": FOUL, "cause": FOUL, "hint": FOUL}).to_string() + "\n"
            + &json!({"v": 1, "type": "file", "id": 5, "placements": [{"collection": 5, "path": FOUL, "entry": {"id": FOUL}, "parts": [{"path": FOUL}]}]}).to_string() + "\n"
            + &json!({"v": 1, "type": "end", "counts": {FOUL: {FOUL: FOUL}}}).to_string() + "\n",
        begin(foreign).to_string() + "\n",
        format!("{{\"v\":1,\"type\":\"{FOUL}\"}}\n"),
        begin(account["account"].clone()).to_string() + "\n{\"v\":1,\"" + FOUL + "\"\n",
    ];
    for input in &inputs {
        for tool in [
            &["ente-decrypt", "-"][..],
            &["ente-meta", "-"],
            &["ente-verify", "-"],
            &["ente-pull", "--only", "-", scene.machine.dir()],
        ] {
            let outcome = scene.machine.run_with(tool, input);
            assert!(outcome.code < 128, "{tool:?}: {}", outcome.stderr);
            assert_tame(&outcome.stderr);
            assert_tame(&outcome.stdout);
        }
    }
}
