//! Links, the object store, and what is recorded.

use std::time::Duration;

use super::super::Origin;
use super::{get, golden, send};
use crate::library::{GoldenState, Part};

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
