//! What names and metadata may say.

use ente_tests::harness::{assert_same, expect_all, tree};
use ente_tests::library::NewFile;
use serde_json::Value;

use super::{MALLORY, Scene, bytes, problems};

/// Names that mean something to a shell, a file system, a terminal or us.
fn nasty_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "../precious.jpg",
        "../../precious.jpg",
        "..",
        ".",
        "/etc/passwd",
        "..\\..\\precious.jpg",
        "C:\\Windows\\x.dll",
        "a/b/c.jpg",
        "nul\0byte.jpg",
        "\u{202e}gpj.exe",
        "\u{1b}[31mred\u{1b}[0m.jpg",
        "\u{9b}2J.jpg",
        "line\nbreak.jpg",
        "tab\t.jpg",
        "CON",
        "aux.jpg",
        "COM1.txt",
        "metadata",
        ".ente",
        ".meta",
        ".ENTE",
        "Metadata",
        "METADATA",
        "",
        " ",
        "...",
        "photo.jpg ",
        "photo.jpg.",
        "photo.jpg",
        "PHOTO.JPG",
        "photo.jpg.json",
        "-rf",
        "--help",
        "$(reboot).jpg",
        "`reboot`.jpg",
        "%2e%2e%2fx.jpg",
        "~",
        "~root.jpg",
        "*",
        "?",
        "e\u{301}.jpg",
        "\u{e9}.jpg",
        "\u{fffd}",
        "metadata/x.json",
        "good.jpg",
        "Own",
        "export.json",
        "pull.jsonl",
        "x.jpg\u{2028}ente-pull: error: no",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push("long".repeat(2_500) + ".jpg");
    names.push("長".repeat(3_333) + ".jpg");
    names
}

#[test]
fn titles_and_album_names_stay_in_the_export_each_under_a_name_of_its_own() {
    let scene = Scene::new();
    let names = nasty_names();
    for (number, name) in names.iter().enumerate() {
        scene.upload(name, bytes(format!("file {number}").as_bytes()));
        scene.museum.with_library(|library| {
            let live = library.live_mut();
            let album = live.share_in(MALLORY, name);
            let file = NewFile::new(name, bytes(format!("album {number}").as_bytes()));
            live.upload_by(MALLORY, album, file);
        });
    }
    let outcome = scene.pipeline().expect(0);
    assert_eq!(problems(&outcome), []);
    let mut contents: Vec<Vec<u8>> = tree(&scene.machine.export)
        .into_iter()
        .filter(|(path, _)| !path.contains("/metadata/"))
        .map(|(_, entry)| entry.bytes)
        .filter(|bytes| bytes.starts_with(b"file ") || bytes.starts_with(b"album "))
        .collect();
    contents.sort();
    contents.dedup();
    assert_eq!(
        contents.len(),
        2 * names.len(),
        "each is there, none on another"
    );

    let before = tree(&scene.machine.export);
    expect_all(&scene.machine.pipeline(), 0);
    assert_same(&tree(&scene.machine.export), &before);
}

#[test]
fn metadata_of_any_form_costs_no_more_than_itself() {
    let scene = Scene::new();
    let readable: [&[u8]; 9] = [
        b"null",
        b"[]",
        b"\"text\"",
        br#"{"title":null,"creationTime":null,"fileType":null,"latitude":null}"#,
        br#"{"title":{"a":1},"creationTime":[1],"modificationTime":{},"fileType":"x","hash":5}"#,
        br#"{"title":"NaN","creationTime":"NaN","latitude":"NaN","longitude":"Infinity"}"#,
        br#"{"title":-1e308,"creationTime":1e308,"modificationTime":-9223372036854775808,"duration":1e300}"#,
        br#"{"title":"t.jpg","creationTime":9223372036854775807,"latitude":1e300,"longitude":-1e300,"version":1e99}"#,
        b"{\"title\":\"\\ud800\\u0000\\u001b[31m\xff.jpg\"}",
    ];
    for plain in readable {
        scene.upload_with_metadata(plain);
    }
    let deep = [b"[".repeat(50_000), b"]".repeat(50_000)].concat();
    let deep_title = [&b"{\"title\":"[..], &deep, b"}"].concat();
    let unreadable: Vec<i64> = [
        &b"{\"title\":NaN}"[..],
        b"{\"title\":1e999}",
        b"",
        b"{",
        &deep,
        &deep_title,
    ]
    .iter()
    .map(|plain| scene.upload_with_metadata(plain))
    .collect();
    let outcome = scene.pipeline().expect(3);
    let mut found = problems(&outcome);
    found.sort();
    found.dedup();
    let expected: Vec<_> = unreadable
        .iter()
        .map(|file| ("undecryptable".to_owned(), *file))
        .collect();
    assert_eq!(found, expected);
    let files = tree(&scene.machine.export);
    let exported = files
        .keys()
        .filter(|path| path.starts_with("Shared/") && !path.contains("/metadata/"));
    assert_eq!(exported.count(), readable.len());
    for (path, entry) in files.iter().filter(|(path, _)| path.contains("/metadata/")) {
        let sidecar = serde_json::from_slice::<Value>(&entry.bytes);
        assert!(sidecar.is_ok(), "`{path}`");
    }
}
