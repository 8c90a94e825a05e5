//! The server over real connections, with a client of a few lines.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Clock, Conditions, Fault, Match, Museum, Options, Origin};
use crate::library::{Content, GenerateOptions, GoldenState, Library, NewFile, Part};

/// An answer as it came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// Sends one request on a connection of its own and reads until the server closes it.
pub(super) fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let (host, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut head = format!("{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).unwrap();
    let split = raw
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .expect("a head");
    let head = String::from_utf8(raw[..split].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap());
    Answer {
        status,
        headers: headers.map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
        body: raw[split + 4..].to_vec(),
    }
}

pub(super) fn get(url: &str, token: &str) -> Answer {
    send("GET", url, &[("X-Auth-Token", token)], "")
}

pub(super) fn golden() -> (Museum, String) {
    let options = Options {
        clock: Clock::fixed(1_700_000_000),
        ..Options::default()
    };
    let museum = Museum::start(Library::golden(GoldenState::Initial), options);
    let token = museum.issue_token();
    (museum, token)
}

fn post(museum: &Museum, path: &str, body: Value) -> Answer {
    send(
        "POST",
        &format!("{}{path}", museum.api_url()),
        &[],
        &body.to_string(),
    )
}

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
fn library_routes_want_a_live_token() {
    let (museum, token) = golden();
    let url = format!("{}/collections/v2", museum.api_url());
    let cases: [(&[(&str, &str)], u16); 5] = [
        (&[], 401),
        (&[("X-Auth-Token", "nonsense")], 401),
        (&[("X-Auth-Token", &token)], 200),
        (
            &[
                ("X-Auth-Token", &token),
                ("X-Client-Package", "io.ente.photos"),
            ],
            200,
        ),
        (
            &[
                ("X-Auth-Token", &token),
                ("X-Client-Package", "io.ente.auth"),
            ],
            401,
        ),
    ];
    for (headers, status) in cases {
        assert_eq!(send("GET", &url, headers, "").status, status, "{headers:?}");
    }
    let in_query = format!("{url}?token={}", token.replace('=', "%3D"));
    assert_eq!(send("GET", &in_query, &[], "").status, 200);
    assert_eq!(
        send("HEAD", &url, &[("X-Auth-Token", &token)], "").status,
        404
    );
    museum.clock().advance(Duration::from_secs(366 * 24 * 3600));
    assert_eq!(get(&url, &token).text(), r#"{"error":"token expired"}"#);
    museum.revoke_tokens();
    assert_eq!(get(&url, &token).text(), r#"{"error":"invalid token"}"#);
}

#[test]
fn a_download_goes_through_a_presigned_link_on_another_origin() {
    let (museum, token) = golden();
    let answer = get(&format!("{}/files/download/103", museum.api_url()), &token);
    assert_eq!(answer.status, 307);
    let link = answer.header("location").unwrap().to_owned();
    assert!(link.starts_with(museum.store_url()));
    let stored = std::fs::read(GoldenState::Initial.folder().join("objects/103")).unwrap();

    assert_eq!(send("GET", &link, &[], "").body, stored);
    let part = send("GET", &link, &[("Range", "bytes=100-199")], "");
    assert_eq!((part.status, &part.body[..]), (206, &stored[100..200]));
    let expected = format!("bytes 100-199/{}", stored.len());
    assert_eq!(part.header("content-range"), Some(expected.as_str()));
    assert_eq!(
        send("GET", &link, &[("Range", "bytes=6251-")], "").status,
        416
    );
    assert_eq!(send("HEAD", &link, &[], "").status, 403);
    let forged = send(
        "GET",
        &link.replace("X-Amz-Expires=", "X-Amz-Expires=9"),
        &[],
        "",
    );
    assert!(forged.status == 403 && forged.text().contains("SignatureDoesNotMatch"));

    museum.with_library(|library| library.switch_to(GoldenState::Changed));
    assert_eq!(
        send("GET", &link, &[], "").body,
        stored,
        "an old link serves the old object"
    );
    museum.clock().advance(Duration::from_secs(7 * 24 * 3600));
    let late = send("GET", &link, &[], "");
    assert!(late.status == 403 && late.text().contains("Request has expired"));

    let answer = get(&format!("{}/files/download/103", museum.api_url()), &token);
    let replaced = std::fs::read(GoldenState::Changed.folder().join("objects/103")).unwrap();
    assert_eq!(
        send("GET", answer.header("location").unwrap(), &[], "").body,
        replaced
    );
    let unknown = get(
        &format!("{}/files/download/99999", museum.api_url()),
        &token,
    );
    assert_eq!((unknown.status, unknown.text().as_str()), (404, "{}"));
}

#[test]
fn requests_are_recorded() {
    let (museum, token) = golden();
    let answer = get(&format!("{}/files/preview/101", museum.api_url()), &token);
    let thumbnail = answer.header("location").unwrap().to_owned();
    send("GET", &thumbnail, &[], "");
    let answer = get(&format!("{}/files/download/102", museum.api_url()), &token);
    send(
        "GET",
        answer.header("location").unwrap(),
        &[("Range", "bytes=5-")],
        "",
    );
    assert_eq!(
        museum.fetched_objects().into_iter().collect::<Vec<_>>(),
        [102]
    );
    let served: Vec<_> = museum
        .requests()
        .into_iter()
        .filter_map(|request| request.served)
        .collect();
    assert_eq!(served[0].key.part, Part::Thumbnail);
    assert_eq!(served[1].range, 5..11_822);
    assert_eq!(
        (
            museum.connections(Origin::Api),
            museum.connections(Origin::Store)
        ),
        (2, 2)
    );
    assert!(museum.leaked_tokens().is_empty());
    get(&thumbnail, &token);
    assert_eq!(museum.leaked_tokens().len(), 1);
    museum.reset_log();
    assert!(museum.requests().is_empty());
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
fn five_wrong_proofs_close_an_srp_session() {
    let (museum, _) = golden();
    let (user, vector) = museum.with_library(|library| {
        let a = include_str!("../../vectors/srp.json");
        let vectors: Value = serde_json::from_str(a).unwrap();
        (
            library.account().srp_user_id.clone(),
            vectors["sessions"][0]["A"].clone(),
        )
    });
    let opened = post(
        &museum,
        "/users/srp/create-session",
        json!({"srpUserID": user, "srpA": vector}),
    );
    let id = opened.json()["sessionID"].clone();
    let wrong = json!({"srpUserID": user, "sessionID": id, "srpM1": super::super::library::encode([0; 32])});
    for _ in 0..5 {
        let answer = post(&museum, "/users/srp/verify-session", wrong.clone());
        assert_eq!((answer.status, answer.text().as_str()), (401, "{}"));
    }
    let answer = post(&museum, "/users/srp/verify-session", wrong);
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (410, &json!("TOO_MANY_WRONG_ATTEMPTS"))
    );
    let short = json!({"srpUserID": user, "srpA": "AAAA"});
    assert_eq!(
        post(&museum, "/users/srp/create-session", short).json()["code"],
        "BAD_REQUEST"
    );
}

#[test]
fn ten_unverified_sessions_lock_the_route() {
    let (museum, _) = golden();
    let user = museum.with_library(|library| library.account().srp_user_id.clone());
    let body = json!({"srpUserID": user, "srpA": super::super::library::encode([1; 512])});
    for _ in 0..10 {
        assert_eq!(
            post(&museum, "/users/srp/create-session", body.clone()).status,
            200
        );
    }
    let answer = post(&museum, "/users/srp/create-session", body.clone());
    assert_eq!(answer.json()["code"], "TOO_MANY_UNVERIFIED_SESSIONS");
    museum.clock().advance(Duration::from_secs(3600));
    assert_eq!(post(&museum, "/users/srp/create-session", body).status, 200);
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
    let mut seen = std::collections::BTreeSet::new();
    for album in museum.with_library(|library| library.live().albums()) {
        let mut since = 0;
        let mut listed = std::collections::BTreeMap::new();
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

/// A link to the original of file 103.
fn link(museum: &Museum, token: &str) -> String {
    let answer = get(&format!("{}/files/download/103", museum.api_url()), token);
    answer.header("location").unwrap().to_owned()
}

#[test]
fn faults_harm_what_they_are_aimed_at() {
    let (museum, token) = golden();
    let link = link(&museum, &token);
    let whole = send("GET", &link, &[], "").body;
    let ranged = [("Range", "bytes=1000-")];
    let harmed = |fault: Fault| {
        museum.inject(Match::object(103), fault, Some(1));
        send("GET", &link, &ranged, "")
    };
    assert_eq!(harmed(Fault::Status(500)).status, 500);
    let busy = harmed(Fault::TooManyRequests {
        retry_after_s: Some(3),
    });
    assert_eq!((busy.status, busy.header("retry-after")), (429, Some("3")));
    assert!(
        harmed(Fault::ExpiredLink)
            .text()
            .contains("Request has expired")
    );
    let all = harmed(Fault::IgnoreRange);
    assert_eq!((all.status, all.body), (200, whole.clone()));
    let cut = harmed(Fault::Cut { after: 500 });
    assert_eq!(
        (cut.header("content-length"), &cut.body[..]),
        (Some("5251"), &whole[1000..1500])
    );
    let corrupt = harmed(Fault::CorruptByte { offset: 1003 });
    assert_eq!(corrupt.body[3], whole[1003] ^ 1);
    assert_eq!(
        (&corrupt.body[..3], &corrupt.body[4..]),
        (&whole[1000..1003], &whole[1004..])
    );
    assert_eq!(
        harmed(Fault::WrongLength(7)).header("content-length"),
        Some("5258")
    );
    assert_eq!(harmed(Fault::WrongLength(-7)).body.len(), 5244);
    assert!(link.ends_with(harmed(Fault::RedirectLoop).header("location").unwrap()));
    let slow = std::time::Instant::now();
    assert_eq!(harmed(Fault::Bandwidth(100_000)).body, whole[1000..]);
    assert!(slow.elapsed() > Duration::from_millis(50));
    assert_eq!(
        send("GET", &link, &[], "").body,
        whole,
        "all faults are spent"
    );
}

#[test]
fn an_answer_can_stall() {
    let (museum, token) = golden();
    let link = link(&museum, &token);
    for (fault, arrived) in [
        (Fault::StallHeaders, false),
        (Fault::StallBody { after: 10 }, true),
    ] {
        museum.inject(Match::store(), fault, Some(1));
        let (host, path) = link
            .strip_prefix("http://")
            .unwrap()
            .split_once('/')
            .unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
        let mut raw = Vec::new();
        let stalled = stream.read_to_end(&mut raw).unwrap_err();
        assert!(matches!(
            stalled.kind(),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        ));
        assert_eq!(!raw.is_empty(), arrived);
    }
}

#[test]
fn conditions_hold_for_every_request() {
    let (museum, token) = golden();
    let url = format!("{}/collections/v2", museum.api_url());
    museum.set_conditions(Conditions {
        max_requests_per_s: Some(1),
        ..Conditions::default()
    });
    let statuses: Vec<u16> = (0..3).map(|_| get(&url, &token).status).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    museum.set_conditions(Conditions {
        latency: Duration::from_millis(60),
        ..Conditions::default()
    });
    let start = std::time::Instant::now();
    assert_eq!(get(&url, &token).status, 200);
    assert!(start.elapsed() >= Duration::from_millis(60));
    museum.set_conditions(Conditions::default());
    museum.inject(
        Match::api().path("/collections"),
        Fault::RedirectTo(museum.store_url().to_owned()),
        Some(1),
    );
    assert_eq!(
        get(&url, &token).header("location"),
        Some(museum.store_url())
    );
}
