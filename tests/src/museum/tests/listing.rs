//! Collections, diffs in pages, trash.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::super::{Museum, Options};
use super::{get, golden, send};
use crate::library::{Content, GenerateOptions, GoldenState, Library, NewFile};

#[test]
fn the_wire_files_come_as_they_lie_on_disk() {
    let (museum, token) = golden();
    for state in [GoldenState::Initial, GoldenState::Changed] {
        museum.with_library(|library| library.switch_to(state));
        let wire = |name: &str| -> Value {
            serde_json::from_slice(&std::fs::read(state.folder().join("wire").join(name)).unwrap())
                .unwrap()
        };
        let api = museum.api_url();
        let collections = get(&format!("{api}/collections/v2?sinceTime=0"), &token).json();
        assert_eq!(collections, wire("collections.json"));
        assert_eq!(
            get(&format!("{api}/trash/v2/diff?sinceTime=0"), &token).json(),
            wire("trash.json")
        );
        for collection in collections["collections"].as_array().unwrap() {
            let id = &collection["id"];
            let answer = get(
                &format!("{api}/collections/v2/diff?collectionID={id}&sinceTime=0"),
                &token,
            );
            if collection["isDeleted"] == true {
                assert_eq!((answer.status, answer.text().as_str()), (404, "{}"));
            } else {
                assert_eq!(answer.json(), wire(&format!("diff/{id}.json")));
            }
        }
    }
}

#[test]
fn single_rows_and_sizes_are_answered() {
    let (museum, token) = golden();
    let api = museum.api_url();
    let file = get(
        &format!("{api}/collections/file?collectionID=13&fileID=101"),
        &token,
    )
    .json();
    assert_eq!(file["file"]["id"], 101);
    let removed = get(
        &format!("{api}/collections/file?collectionID=13&fileID=123"),
        &token,
    );
    assert_eq!(
        (removed.status, &removed.json()["code"]),
        (404, &json!("FILE_NOT_FOUND_IN_ALBUM"))
    );
    assert_eq!(
        get(&format!("{api}/collections/22"), &token).json()["collection"]["isDeleted"],
        true
    );
    let info = |ids: Value| {
        let body = json!({"fileIDs": ids}).to_string();
        send(
            "POST",
            &format!("{api}/files/info"),
            &[("X-Auth-Token", &token)],
            &body,
        )
    };
    let expected =
        json!({"filesInfo": [{"id": 101, "fileInfo": {"fileSize": 13213, "thumbSize": 1282}}]});
    assert_eq!(info(json!([101])).json(), expected);
    assert_eq!(
        info(json!([101, 120])).status,
        403,
        "120 belongs to somebody else"
    );
}

#[test]
fn a_generated_library_comes_whole_through_small_pages() {
    let generate = GenerateOptions {
        files: 120,
        albums: 3,
        ..GenerateOptions::default()
    };
    let options = Options {
        page_size: 7,
        ..Options::default()
    };
    let museum = Museum::start(Library::generate(&generate), options);
    let token = museum.issue_token();
    let api = museum.api_url();
    let mut seen = BTreeSet::new();
    for album in museum.with_library(|library| library.live().albums()) {
        let mut since = 0;
        let mut listed = BTreeMap::new();
        loop {
            let url = format!(
                "{api}/collections/v2/diff?collectionID={}&sinceTime={since}",
                album.id
            );
            let page = get(&url, &token).json();
            for row in page["diff"].as_array().unwrap() {
                since = since.max(row["updationTime"].as_i64().unwrap());
                listed.insert(row["id"].as_i64().unwrap(), row["isDeleted"] == false);
            }
            if page["hasMore"] == false {
                break;
            }
        }
        let live: Vec<i64> = listed
            .into_iter()
            .filter(|(_, live)| *live)
            .map(|(id, _)| id)
            .collect();
        assert_eq!(
            live,
            album.files.iter().map(|file| file.id).collect::<Vec<_>>()
        );
        seen.extend(live);
    }
    let trashed = museum.with_library(|library| library.live().trashed());
    assert_eq!(seen.len() + trashed.len(), 120);
}

#[test]
fn a_large_group_of_equal_times_is_one_page() {
    let mut library = Library::empty(1, "ada@example.org", "pw");
    let album = library.live_mut().at(1_000, |live| {
        let album = live.create_album("Moved at once");
        for number in 0..2_600 {
            let content = Content::Bytes(0, vec![0; number % 7].into());
            live.upload(album, NewFile::new("x.jpg", content));
        }
        album
    });
    let museum = Museum::start(library, Options::default());
    let token = museum.issue_token();
    let diff = |since: i64| {
        let api = museum.api_url();
        get(
            &format!("{api}/collections/v2/diff?collectionID={album}&sinceTime={since}"),
            &token,
        )
        .json()
    };
    let first = diff(0);
    assert_eq!(
        (first["diff"].as_array().unwrap().len(), &first["hasMore"]),
        (2_600, &json!(true))
    );
    assert_eq!(diff(1_000), json!({"diff": [], "hasMore": false}));
}
