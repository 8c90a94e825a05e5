//! Objects and the links to them.

use super::{IMPATIENT, Scene, problem, problems};
use ente_tests::harness::expect_all;
use ente_tests::library::{Content, Library, NewFile};
use ente_tests::museum::{Fault, Match, Museum, Options};
use serde_json::json;
use std::collections::BTreeSet;

fn too_many(retry_after_s: Option<u32>) -> Fault {
    Fault::TooManyRequests { retry_after_s }
}

fn web_page() -> Fault {
    Fault::Answer {
        status: 200,
        content_type: "text/html",
        body: "<p>Please accept our terms".to_owned(),
    }
}

/// What both hosts can do.
fn anywhere() -> Vec<(Fault, &'static str)> {
    vec![
        (Fault::Status(500), "server"),
        (Fault::Status(502), "server"),
        (Fault::Status(503), "server"),
        (Fault::Status(408), "server"),
        (too_many(None), "too-many-requests"),
        (too_many(Some(1)), "too-many-requests"),
        (Fault::StallHeaders, "timed-out"),
        (Fault::RedirectLoop, "unexpected-answer"),
        (web_page(), "unexpected-answer"),
    ]
}

#[test]
fn an_object_that_does_not_come_is_a_problem_and_comes_with_the_next_run() {
    let mut scene = Scene::new();
    let of_the_store = vec![
        (Fault::StallBody { after: 0 }, "timed-out"),
        (Fault::StallBody { after: 9_000 }, "timed-out"),
        (Fault::Cut { after: 9_000 }, "interrupted"),
        (Fault::WrongLength(5), "size-mismatch"),
        (Fault::WrongLength(-5), "size-mismatch"),
        (Fault::Endless, "size-mismatch"),
        (Fault::Gzip, "unexpected-answer"),
        (Fault::ExpiredLink, "forbidden"),
        (Fault::Status(401), "forbidden"),
        (Fault::Status(404), "not-found"),
        (
            Fault::RedirectTo("http://127.0.0.1:1/gone".into()),
            "unreachable",
        ),
        (
            Fault::RedirectTo("file:///etc/passwd".into()),
            "unexpected-answer",
        ),
    ];
    let id = scene.files[1];
    for (fault, class) in anywhere().into_iter().chain(of_the_store) {
        scene.start_over();
        scene.museum.inject(Match::object(id), fault.clone(), None);
        let outcomes = scene.run(&IMPATIENT);
        assert_eq!(problems(&outcomes), [problem(class, id)], "{fault:?}");
        expect_all(&outcomes[..3], 3);
        assert_eq!(scene.heal(), BTreeSet::from([id]), "{fault:?}");
    }
}

#[test]
fn a_link_that_does_not_come_is_a_problem_and_comes_with_the_next_run() {
    let mut scene = Scene::new();
    let of_the_api = vec![
        (Fault::Status(403), "forbidden"),
        (Fault::Status(404), "not-found"),
        (
            Fault::RedirectTo("http://127.0.0.1:1/gone".into()),
            "unreachable",
        ),
        (
            Fault::RedirectTo("file:///etc/passwd".into()),
            "unexpected-answer",
        ),
    ];
    let id = scene.files[1];
    for (fault, class) in anywhere().into_iter().chain(of_the_api) {
        scene.start_over();
        scene
            .museum
            .inject(Match::download(id), fault.clone(), None);
        let outcomes = scene.run(&IMPATIENT);
        assert_eq!(problems(&outcomes), [problem(class, id)], "{fault:?}");
        expect_all(&outcomes[..3], 3);
        assert_eq!(scene.heal(), BTreeSet::from([id]), "{fault:?}");
    }
}

#[test]
fn what_passes_goes_by_unnoticed() {
    let mut scene = Scene::new();
    let faults = [
        Fault::Status(500),
        too_many(None),
        Fault::StallHeaders,
        Fault::StallBody { after: 9_000 },
        Fault::Cut { after: 9_000 },
        Fault::ExpiredLink,
        Fault::RedirectLoop,
    ];
    // Every file meets another fault, once; the one before the last also loses its link.
    for (id, fault) in scene.files.clone().into_iter().zip(faults) {
        scene.museum.inject(Match::object(id), fault, Some(1));
    }
    scene
        .museum
        .inject(Match::download(scene.files[5]), Fault::Status(502), Some(1));
    expect_all(&scene.run(&["--timeout", "0.5"]), 0);
    assert_eq!(scene.heal(), BTreeSet::new());
    scene.start_over();
}

#[test]
fn a_server_that_asks_for_patience_gets_it() {
    let scene = Scene::new();
    scene
        .museum
        .inject(Match::object(scene.files[0]), too_many(Some(2)), Some(1));
    let start = std::time::Instant::now();
    expect_all(&scene.run(&["--retries", "1"]), 0);
    assert!(start.elapsed().as_secs() >= 2, "{:?}", start.elapsed());
    assert_eq!(scene.heal(), BTreeSet::new());
}

#[test]
fn a_session_that_ends_in_the_middle_ends_the_run_and_costs_nothing() {
    let scene = Scene::new();
    // The store knows nothing of sessions: only the API's word counts.
    scene
        .museum
        .inject(Match::download(scene.files[3]), Fault::Status(401), Some(1));
    let outcomes = scene.run(&["--jobs", "1"]);
    super::assert_ended(&outcomes[0], 10, "ente-login --endpoint");
    let fetched = scene.heal();
    assert_eq!(fetched.first(), Some(&scene.files[3]), "{fetched:?}");
}

#[test]
fn other_bytes_than_the_listed_ones_never_bear_a_name() {
    let mut scene = Scene::new();
    let id = scene.files[1];
    for fault in [Fault::OtherBytes, Fault::CorruptByte { offset: 17 }] {
        scene.start_over();
        scene.museum.inject(Match::object(id), fault, Some(1));
        let outcomes = scene.run(&[]);
        assert_eq!(problems(&outcomes), [problem("damaged", id)]);
        // Fetched once more, and only that.
        assert_eq!(scene.heal(), BTreeSet::from([id]));
    }
}

#[test]
fn an_object_of_unlisted_size_is_bounded_too() {
    let mut scene = Scene::new();
    let (album, id) = (scene.albums[0], scene.files[1]);
    let without_size = json!({"info": null});
    scene
        .museum
        .with_library(|library| library.patch_row(album, id, without_size));
    for fault in [
        Fault::WrongLength(20 << 30),
        Fault::WrongLength(5),
        Fault::Cut { after: 9_000 },
    ] {
        scene.start_over();
        scene.museum.inject(Match::object(id), fault.clone(), None);
        let outcomes = scene.run(&IMPATIENT);
        let class = match fault {
            Fault::WrongLength(by) if by > 5 => "size-mismatch",
            _ => "interrupted",
        };
        assert_eq!(problems(&outcomes), [problem(class, id)], "{fault:?}");
        // Where five bytes too many were announced, all of it is there: the store says so when it is asked for more.
        let rest = match fault {
            Fault::WrongLength(5) => BTreeSet::new(),
            _ => BTreeSet::from([id]),
        };
        assert_eq!(scene.heal(), rest, "{fault:?}");
    }
}

#[test]
fn the_token_goes_to_the_api_alone() {
    let mut scene = Scene::new();
    let stranger = Museum::start(Library::empty(1, "x@example.org", "x"), Options::default());
    let away = || Fault::RedirectTo(format!("{}/collections/v2", stranger.api_url()));
    // A listing is not followed anywhere; a link is, bare.
    for (matches, code) in [
        (Match::collections(), 1),
        (Match::diff(scene.albums[0]), 3),
        (Match::download(scene.files[0]), 3),
        (Match::object(scene.files[0]), 3),
    ] {
        scene.start_over();
        scene.museum.inject(matches.clone(), away(), None);
        let outcomes = scene.run(&IMPATIENT);
        assert_eq!(outcomes[0].code, code, "{matches:?} {}", outcomes[0].stderr);
        scene.heal();
    }
    let seen = stranger.requests();
    assert!(!seen.is_empty());
    for request in seen {
        assert!(!request.carries_token(), "{request:?}");
        for header in ["x-client-package", "authorization", "cookie", "referer"] {
            assert_eq!(request.header(header), None);
        }
    }
}

#[test]
fn objects_that_the_account_gains_meanwhile_are_left_to_the_next_run() {
    let mut scene = Scene::new();
    let (album, id) = (scene.albums[0], scene.files[1]);
    scene
        .museum
        .inject(Match::object(id), Fault::Cut { after: 9_000 }, None);
    let outcomes = scene.run(&IMPATIENT);
    assert_eq!(problems(&outcomes), [problem("interrupted", id)]);
    scene.museum.with_library(|library| {
        let live = library.live_mut();
        live.replace(id, Content::Bytes(0, vec![9; 41_000].into()));
        live.upload(album, NewFile::new("new.jpg", super::content(99, 100)));
    });
    scene.museum.clear_faults();
    scene.refer();
    assert_eq!(scene.heal().len(), 2);
}
