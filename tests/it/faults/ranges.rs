//! Downloads in several pieces.

use super::{IMPATIENT, Scene, content, problem, problems};
use ente_tests::harness::expect_all;
use ente_tests::library::Library;
use ente_tests::museum::{Fault, Match, Origin};
use std::collections::BTreeSet;

pub(super) fn ranges(scene: &Scene) -> Vec<String> {
    let requests = scene.museum.requests();
    let store = requests.iter().filter(|one| one.origin == Origin::Store);
    let ranges = store.filter_map(|one| one.header("range"));
    ranges.map(str::to_owned).collect()
}

/// Leaves the first 9,000 bytes of a file behind.
fn cut(scene: &Scene, id: i64) {
    scene
        .museum
        .inject(Match::object(id), Fault::Cut { after: 9_000 }, Some(1));
    let outcomes = scene.run(&IMPATIENT);
    assert_eq!(problems(&outcomes), [problem("interrupted", id)]);
    scene.museum.reset_log();
}

#[test]
fn a_wrong_answer_to_a_range_is_never_joined_to_what_was_there() {
    let mut scene = Scene::new();
    let id = scene.files[1];
    for (fault, class) in [
        (Fault::OtherRange(100), Some("unexpected-answer")),
        (Fault::OtherRange(u64::MAX), Some("unexpected-answer")),
        (Fault::WrongLength(3), Some("interrupted")),
        // Everything from the beginning is as good.
        (Fault::IgnoreRange, None),
        (Fault::OtherBytes, Some("damaged")),
        (
            Fault::Header("content-range", "bytes 9000-40016/7"),
            Some("size-mismatch"),
        ),
        (
            Fault::Header("content-range", "nonsense"),
            Some("unexpected-answer"),
        ),
        (Fault::Status(416), Some("interrupted")),
    ] {
        scene.start_over();
        cut(&scene, id);
        scene
            .museum
            .inject(Match::object(id), fault.clone(), Some(1));
        let outcomes = scene.run(&IMPATIENT);
        let expected: Vec<_> = class.map(|class| problem(class, id)).into_iter().collect();
        assert_eq!(problems(&outcomes), expected, "{fault:?}");
        assert_eq!(ranges(&scene), ["bytes=9000-"], "{fault:?}");
        // Where only the end was missing that had been announced, all bytes are there.
        let is_whole = matches!(fault, Fault::IgnoreRange | Fault::WrongLength(_));
        let rest = if is_whole {
            BTreeSet::new()
        } else {
            BTreeSet::from([id])
        };
        assert_eq!(scene.heal(), rest, "{fault:?}");
    }
}

#[test]
fn a_download_goes_on_where_it_was_cut_within_a_run_and_between_runs() {
    let mut scene = Scene::new();
    let id = scene.files[1];
    cut(&scene, id);
    expect_all(&scene.run(&IMPATIENT), 0);
    assert_eq!(ranges(&scene), ["bytes=9000-"]);
    assert_eq!(scene.heal(), BTreeSet::new());
    scene.start_over();
    let object = Match::object(id);
    scene
        .museum
        .inject(object.clone(), Fault::Cut { after: 9_000 }, Some(1));
    scene
        .museum
        .inject(object.skip(1), Fault::StallBody { after: 9_000 }, Some(1));
    expect_all(&scene.run(&["--timeout", "0.5"]), 0);
    assert_eq!(ranges(&scene), ["bytes=9000-", "bytes=18000-"]);
    assert_eq!(scene.heal(), BTreeSet::new());
}

#[test]
fn an_object_that_is_replaced_between_two_pieces_is_never_a_mixture() {
    // Of the same length, so that only the decryption can tell; and of another.
    for len in [40_000, 39_000] {
        let mut scene = Scene::new();
        let id = scene.files[1];
        cut(&scene, id);
        let replace = |library: &mut Library| library.live_mut().replace(id, content(77, len));
        scene.museum.with_library(replace);
        // The listing is stale, and the piece that is asked for is of the new object.
        let time = scene.synced(scene.albums[0]);
        let stale =
            Fault::edit(move |answer| answer["collections"][0]["updationTime"] = time.into());
        scene.museum.inject(Match::collections(), stale, Some(1));
        let outcomes = scene.run(&IMPATIENT);
        let class = if len == 40_000 {
            "damaged"
        } else {
            "size-mismatch"
        };
        assert_eq!(problems(&outcomes), [problem(class, id)]);
        assert_eq!(ranges(&scene), ["bytes=9000-"]);
        scene.refer();
        assert_eq!(scene.heal(), BTreeSet::from([id]));
    }
}
