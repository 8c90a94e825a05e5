//! Faults at random: what, where, how often.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use crate::library::Live;
use crate::museum::{Fault, Match};

/// One fault that is injected.
#[derive(Clone, Debug)]
pub(super) struct Strike {
    /// What it is counted as.
    pub(super) kind: &'static str,
    fault: Fault,
    place: Place,
    /// Which of the files or albums that are there.
    number: usize,
    /// Requests that go by unharmed before.
    skip: usize,
    /// How often; `None` for the whole run.
    times: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// Both hosts.
    Anywhere,
    /// All objects, or one of them.
    Store,
    Object,
    /// The link to one of them.
    Link,
    /// The files of all albums, or of one.
    Diffs,
    Diff,
    Collections,
}

impl Strike {
    /// The requests that it meets, as the account is now.
    pub(super) fn matches(&self, live: &Live) -> Match {
        let files = live.file_ids();
        let albums = live.albums();
        let file = files[self.number % files.len()];
        let album = albums[self.number % albums.len()].id;
        let matches = match self.place {
            Place::Anywhere => Match::any(),
            Place::Store => Match::store(),
            Place::Object => Match::object(file),
            Place::Link => Match::download(file),
            Place::Diffs => Match::api().path("/diff"),
            Place::Diff => Match::diff(album),
            Place::Collections => Match::collections(),
        };
        matches.skip(self.skip)
    }

    /// What it does.
    pub(super) fn fault(&self) -> Fault {
        self.fault.clone()
    }

    /// How often it does that.
    pub(super) fn times(&self) -> Option<usize> {
        self.times
    }
}

/// Some faults for one run.
pub(super) fn strikes() -> impl Strategy<Value = Vec<Strike>> {
    prop::collection::vec(
        prop_oneof![3 => transport(), 2 => store(), 1 => listing()],
        1..6,
    )
}

/// What any request can meet.
fn transport() -> impl Strategy<Value = Strike> {
    let place = prop_oneof![
        Just(Place::Anywhere),
        Just(Place::Store),
        Just(Place::Object),
        Just(Place::Link),
        Just(Place::Diffs),
        Just(Place::Diff),
        Just(Place::Collections),
    ];
    let web_page = Fault::Answer {
        status: 200,
        content_type: "text/html",
        body: "<p>Please accept our terms".to_owned(),
    };
    let page = move || web_page.clone();
    let busy = |retry_after_s| Fault::TooManyRequests { retry_after_s };
    let fault = prop_oneof![
        Just(("500", Fault::Status(500))),
        Just(("502", Fault::Status(502))),
        Just(("503", Fault::Status(503))),
        Just(("408", Fault::Status(408))),
        Just(("429", busy(None))),
        Just(("429 with Retry-After", busy(Some(1)))),
        Just(("stall before the answer", Fault::StallHeaders)),
        (0usize..3_000).prop_map(|after| ("stall within the answer", Fault::StallBody { after })),
        (0usize..3_000).prop_map(|after| ("cut", Fault::Cut { after })),
        (1i64..500).prop_map(|by| ("length too great", Fault::WrongLength(by))),
        (1i64..500).prop_map(|by| ("length too small", Fault::WrongLength(-by))),
        Just(("redirect loop", Fault::RedirectLoop)),
        Just((
            "redirect to nowhere",
            Fault::RedirectTo("http://127.0.0.1:1/".to_owned())
        )),
        Just(("latency", Fault::Latency(Duration::from_millis(50)))),
        Just((
            "clock of the server",
            Fault::Header("date", "Thu, 01 Jan 1970 00:00:00 GMT")
        )),
        Just(("web page", page())),
    ];
    strike(
        place,
        fault,
        prop_oneof![3 => (1usize..3).prop_map(Some), 1 => Just(None)],
    )
}

/// What only an object store does.
fn store() -> impl Strategy<Value = Strike> {
    let place = prop_oneof![Just(Place::Store), Just(Place::Object)];
    let fault = prop_oneof![
        Just(("expired link", Fault::ExpiredLink)),
        Just(("401 of the store", Fault::Status(401))),
        Just(("404", Fault::Status(404))),
        Just(("range ignored", Fault::IgnoreRange)),
        (1u64..3_000).prop_map(|by| ("other range", Fault::OtherRange(by))),
        // Never the same damage twice: that would be a damaged original.
        (0u64..60_000).prop_map(|offset| ("other bytes", Fault::CorruptByte { offset })),
        Just(("compressed object", Fault::Gzip)),
        Just(("endless object", Fault::Endless)),
    ];
    strike(place, fault, (1usize..4).prop_map(Some))
}

/// What only a listing does. Lies that cannot be told from the truth are left out.
fn listing() -> impl Strategy<Value = Strike> {
    let times = || prop_oneof![Just(Some(1)), Just(None)];
    let collections = prop_oneof![
        Just(("no collections", Fault::json(json!({"collections": []})))),
        Just((
            "everything deleted",
            Fault::edit(|answer| {
                for collection in answer["collections"].as_array_mut().into_iter().flatten() {
                    collection["isDeleted"] = true.into();
                }
            })
        )),
        (0usize..20).prop_map(|number| (
            "a collection missing",
            Fault::edit(move |answer| {
                if let Some(all) = answer["collections"]
                    .as_array_mut()
                    .filter(|all| !all.is_empty())
                {
                    all.remove(number % all.len());
                }
            })
        )),
        Just(("compressed listing", Fault::Gzip)),
    ];
    let diffs = prop_oneof![
        Just((
            "empty page with more",
            Fault::json(json!({"diff": [], "hasMore": true}))
        )),
        Just((
            "the same page again",
            Fault::edit(|answer| answer["hasMore"] = true.into())
        )),
        Just(("listing refused", Fault::Status(403))),
        Just(("no list", Fault::json(json!({})))),
        Just(("compressed listing", Fault::Gzip)),
    ];
    let place = prop_oneof![Just(Place::Diffs), Just(Place::Diff)];
    prop_oneof![
        strike(Just(Place::Collections), collections, times()),
        strike(place, diffs, times()),
    ]
}

fn strike(
    place: impl Strategy<Value = Place>,
    fault: impl Strategy<Value = (&'static str, Fault)>,
    times: impl Strategy<Value = Option<usize>>,
) -> impl Strategy<Value = Strike> {
    let skip = prop_oneof![2 => Just(0usize), 1 => 1usize..8];
    (place, fault, times, 0usize..64, skip).prop_map(
        |(place, (kind, fault), times, number, skip)| Strike {
            kind,
            fault,
            place,
            number,
            skip,
            times,
        },
    )
}
