//! Misbehaviour as a client meets it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::super::{Conditions, Fault, Match, Museum};
use super::{get, golden, send};

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
    let other = harmed(Fault::OtherRange(100));
    assert_eq!(
        (other.header("content-range"), &other.body[..]),
        (Some("bytes 900-6250/6251"), &whole[900..])
    );
    let other = harmed(Fault::OtherBytes);
    let length = other.header("content-length");
    assert!(length == Some("5251") && other.body[0] == !whole[1000]);
    let header = harmed(Fault::Header("date", "then"));
    assert_eq!(header.header("date"), Some("then"));
    let packed = harmed(Fault::Gzip);
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    let mut unpacked = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(&packed.body[..]);
    decoder.read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, whole[1000..]);
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
fn a_listing_can_say_anything() {
    let (museum, token) = golden();
    let url = format!("{}/collections/v2", museum.api_url());
    let empty = serde_json::json!({"collections": []});
    museum.inject(Match::api(), Fault::json(empty.clone()), Some(1));
    let answer: serde_json::Value = serde_json::from_slice(&get(&url, &token).body).unwrap();
    assert_eq!(answer, empty);
}

#[test]
fn a_killed_server_comes_back_with_its_sessions() {
    let (mut museum, token) = golden();
    let url = format!("{}/collections/v2", museum.api_url());
    let host = museum.api_url().trim_start_matches("http://").to_owned();
    museum.inject(Match::api(), Fault::StallHeaders, Some(1));
    let mut open = TcpStream::connect(&host).unwrap();
    write!(open, "GET /ping HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    museum.kill();
    assert!(TcpStream::connect(&host).is_err());
    let mut raw = Vec::new();
    let ended = open.read_to_end(&mut raw);
    assert!(raw.is_empty(), "{ended:?}");
    museum.clear_faults();
    museum.revive();
    assert_eq!(get(&url, &token).status, 200);
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
