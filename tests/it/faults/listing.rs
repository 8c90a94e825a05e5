//! Listings that fail, lie, or never end.

use super::{IMPATIENT, Scene, assert_ended, look, problem, problems};
use ente_tests::harness::{assert_same, expect_all};
use ente_tests::library::{Live, NewFile};
use ente_tests::museum::{Fault, Match, Options};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};

fn failures() -> Vec<(Fault, i32, &'static str)> {
    let too_many = |retry_after_s| Fault::TooManyRequests { retry_after_s };
    vec![
        (Fault::Status(500), 13, "server"),
        (Fault::Status(502), 13, "server"),
        (Fault::Status(503), 13, "server"),
        (Fault::Status(408), 13, "server"),
        (too_many(None), 13, "too-many-requests"),
        (too_many(Some(1)), 13, "too-many-requests"),
        (Fault::StallHeaders, 13, "timed-out"),
        (Fault::StallBody { after: 20 }, 13, "timed-out"),
        (Fault::Cut { after: 20 }, 13, "interrupted"),
        (Fault::WrongLength(5), 13, "interrupted"),
        (Fault::WrongLength(-5), 1, "unexpected-answer"),
        (Fault::RedirectLoop, 1, "unexpected-answer"),
        (Fault::Endless, 1, "unexpected-answer"),
        (Fault::Status(403), 12, "forbidden"),
        (Fault::Status(404), 1, "not-found"),
        (Fault::json(json!([])), 1, "unexpected-answer"),
        (
            Fault::json(json!({"diff": 7, "collections": 7})),
            1,
            "unexpected-answer",
        ),
        (
            Fault::Answer {
                status: 200,
                content_type: "text/html",
                body: "<p>Please accept our terms".to_owned(),
            },
            1,
            "unexpected-answer",
        ),
    ]
}

#[test]
fn a_list_of_albums_that_fails_ends_the_run_and_changes_nothing() {
    let scene = Scene::new();
    expect_all(&scene.machine.pipeline(), 0);
    for (fault, code, _) in failures() {
        scene
            .museum
            .inject(Match::collections(), fault.clone(), None);
        let outcomes = scene.run(&IMPATIENT);
        assert_ended(&outcomes[0], code, "/collections/v2");
        scene.museum.clear_faults();
    }
    assert_same(&look(&scene.machine.export), &scene.reference);
    assert_eq!(scene.heal(), BTreeSet::new());
}

#[test]
fn an_album_that_cannot_be_listed_is_a_problem_and_the_others_come() {
    let mut scene = Scene::new();
    let album = scene.albums[1];
    for (fault, _, class) in failures() {
        scene.start_over();
        scene.museum.inject(Match::diff(album), fault.clone(), None);
        let outcomes = scene.run(&IMPATIENT);
        assert_eq!(problems(&outcomes), [problem(class, album)], "{fault:?}");
        assert_eq!(outcomes[0].code, 3, "{}", outcomes[0].stderr);
        let files = look(&scene.machine.export);
        assert!(files.contains_key("One/1.jpg") && files.contains_key("Three/6.jpg"));
        assert_eq!(scene.heal(), scene.files[3..6].iter().copied().collect());
    }
}

#[test]
fn compressed_answers_are_read() {
    let scene = Scene::new();
    scene.museum.inject(Match::api(), Fault::Gzip, None);
    expect_all(&scene.run(&IMPATIENT), 0);
    assert_eq!(scene.heal(), BTreeSet::new());
}

#[test]
fn a_new_date_that_one_album_does_not_tell_yet_is_no_users_edit() {
    let mut scene = Scene::new();
    let (shared, [_, _, album]) = (scene.files[0], scene.albums);
    expect_all(&scene.machine.pipeline(), 0);
    // One file in two albums: dated in one, it is dated in the other.
    let link = ["ente-decrypt", "--link", "hard", scene.machine.dir()];
    let _ = scene.machine.run(&link).expect(0);
    let date = |live: &mut Live| live.set_taken_at(shared, 1_000_000_000_000_000);
    scene.change(date);
    scene
        .museum
        .inject(Match::diff(album), Fault::Status(500), None);
    let outcomes = scene.machine.pipe(&[
        &["ente-pull", "--retries", "0", scene.machine.dir()],
        &["ente-decrypt", "-"],
        &["ente-meta", "-"],
    ]);
    expect_all(&outcomes, 3);
    scene.museum.clear_faults();
    scene.change(|live| live.remove(shared, album));
    scene.heal();
}

/// Each entry a microsecond later with every page, and always more to come.
fn endless() -> Fault {
    let page = AtomicI64::new(0);
    Fault::edit(move |answer| {
        let page = page.fetch_add(1, Ordering::Relaxed) + 1;
        for entry in answer["diff"].as_array_mut().unwrap() {
            entry["updationTime"] = (4_000_000_000_000_000 + page).into();
        }
        if answer["diff"] == json!([]) {
            answer["diff"] = json!([{"id": 1, "updationTime": 4_000_000_000_000_000_i64 + page}]);
        }
        answer["hasMore"] = true.into();
    })
}

#[test]
fn pages_without_end_come_to_an_end() {
    let mut scene = Scene::new();
    let album = scene.albums[1];
    let mut first_page = scene.first_page(album);
    first_page["hasMore"] = true.into();
    let again = move |answer: &mut Value| *answer = first_page.clone();
    for fault in [Fault::edit(again), endless()] {
        scene.start_over();
        scene.museum.inject(Match::diff(album), fault, None);
        let outcomes = scene.run(&IMPATIENT);
        assert_eq!(problems(&outcomes), [problem("unexpected-answer", album)]);
        assert_eq!(scene.heal(), scene.files[3..6].iter().copied().collect());
    }
}

#[test]
fn an_empty_page_that_promises_more_ends_the_listing_and_removes_nothing() {
    let scene = Scene::new();
    expect_all(&scene.machine.pipeline(), 0);
    let empty = || Fault::json(json!({"diff": [], "hasMore": true}));
    scene
        .museum
        .inject(Match::diff(scene.albums[1]), empty(), None);
    let outcomes = scene.run(&["--full"]);
    assert_eq!(
        problems(&outcomes),
        [problem("unexpected-answer", scene.albums[1])]
    );
    assert_same(&look(&scene.machine.export), &scene.reference);
    assert_eq!(scene.heal(), BTreeSet::new());
}

#[test]
fn pages_that_go_backwards_lose_nothing() {
    // Times fall from page to page; what was named once counts.
    let scene = Scene::with(Options {
        page_size: 1,
        ..Options::default()
    });
    let page = AtomicI64::new(0);
    let backwards = Fault::edit(move |answer| {
        let page = page.fetch_add(1, Ordering::Relaxed);
        for entry in answer["diff"].as_array_mut().unwrap() {
            let time = entry["updationTime"].as_i64().unwrap();
            entry["updationTime"] = (time - 10_000_000 * page).into();
        }
    });
    scene
        .museum
        .inject(Match::diff(scene.albums[0]), backwards, None);
    let outcomes = scene.run(&IMPATIENT);
    assert_eq!(
        problems(&outcomes),
        [problem("unexpected-answer", scene.albums[0])]
    );
    scene.heal();
}

#[test]
fn hundreds_of_entries_of_one_moment_cross_a_page_whole() {
    let mut scene = Scene::with(Options {
        page_size: 100,
        ..Options::default()
    });
    let album = scene.albums[0];
    scene.museum.with_library(|library| {
        let live = library.live_mut();
        // Sixty before, three hundred at once, sixty after.
        let upload = |live: &mut Live, n: u16| {
            let file = NewFile::new(
                &format!("many {n}.jpg"),
                super::content(n as u8, 60 + usize::from(n)),
            );
            live.upload(album, file)
        };
        (0..60).for_each(|n| {
            upload(live, n);
        });
        let now = live.now_us() + 1;
        live.at(now, |live| {
            (60..360).for_each(|n| {
                upload(live, n);
            })
        });
        (360..420).for_each(|n| {
            upload(live, n);
        });
    });
    scene.refer();
    assert_eq!(
        scene
            .reference
            .keys()
            .filter(|path| path.contains("many") && path.ends_with(".jpg"))
            .count(),
        420
    );
    expect_all(&scene.run(&IMPATIENT), 0);
    // And all of them touched at once, and listed once more.
    scene.museum.with_library(|library| {
        let live = library.live_mut();
        let now = live.now_us() + 1;
        let files = live.files_in(album);
        live.at(now, |live| {
            files
                .iter()
                .for_each(|file| live.set_caption(*file, "touched"))
        });
    });
    scene.refer();
    assert_eq!(scene.heal(), BTreeSet::new());
}
