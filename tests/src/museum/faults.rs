//! Misbehaviour on demand: which requests it meets, and what happens to them.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::Uri;
use serde_json::Value;

use super::lock;
use super::log::Origin;
use crate::library::{ObjectKey, Part};

/// One way to misbehave.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The answer starts that much later.
    Latency(Duration),
    /// The body comes at this many bytes per second.
    Bandwidth(u64),
    /// This status with the body that such an error has; nothing else happens.
    Status(u16),
    /// This answer; nothing else happens.
    Answer {
        /// Status code.
        status: u16,
        /// Value of `Content-Type`.
        content_type: &'static str,
        /// The whole body.
        body: String,
    },
    /// 429, with `Retry-After` in seconds or without.
    TooManyRequests {
        /// Value of `Retry-After`.
        retry_after_s: Option<u32>,
    },
    /// Not even a status line, and the connection stays open.
    StallHeaders,
    /// The body stops after so many bytes, and the connection stays open.
    StallBody {
        /// Bytes that are still sent.
        after: usize,
    },
    /// The connection is closed after so many bytes of the body. What was asked for has happened nevertheless.
    Cut {
        /// Bytes that are still sent.
        after: usize,
    },
    /// One byte is wrong. For objects the offset counts in the object, whatever range was asked for.
    CorruptByte {
        /// Where.
        offset: u64,
    },
    /// The object store calls the link expired.
    ExpiredLink,
    /// `Content-Length` is off by so much.
    WrongLength(i64),
    /// A range that was asked for is overlooked: 200 with everything.
    IgnoreRange,
    /// A range begins so many bytes before the one that was asked for, and says so.
    OtherRange(u64),
    /// The bytes are others, as many as announced.
    OtherBytes,
    /// The answer is compressed, whether that was asked for or not.
    Gzip,
    /// The body goes on for ever: blanks after what belongs there, and no length.
    Endless,
    /// A header of the answer has this value.
    Header(&'static str, &'static str),
    /// The JSON of the answer is another.
    Edit(Edit),
    /// 307 to the same URL.
    RedirectLoop,
    /// 307 to this URL.
    RedirectTo(String),
}

impl Fault {
    /// Changes the JSON of an answer.
    pub fn edit(edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        Self::Edit(Edit(Arc::new(edit)))
    }

    /// Replaces the JSON of an answer.
    pub fn json(value: Value) -> Self {
        Self::edit(move |answer| *answer = value.clone())
    }
}

/// A change of a JSON body.
#[derive(Clone)]
pub struct Edit(Arc<dyn Fn(&mut Value) + Send + Sync>);

impl Edit {
    pub(crate) fn apply(&self, body: &[u8]) -> Vec<u8> {
        let mut value = serde_json::from_slice(body).unwrap_or_default();
        (self.0)(&mut value);
        value.to_string().into_bytes()
    }
}

impl fmt::Debug for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Edit")
    }
}

/// Which requests a fault meets. All that is set must fit.
#[derive(Debug, Clone, Default)]
pub struct Match {
    origin: Option<Origin>,
    path: Option<String>,
    ends: Option<&'static str>,
    query: Option<String>,
    object: Option<(i64, Part)>,
    skip: usize,
}

impl Match {
    /// Every request.
    pub fn any() -> Self {
        Self::default()
    }

    /// Every request to the API.
    pub fn api() -> Self {
        Self {
            origin: Some(Origin::Api),
            ..Self::default()
        }
    }

    /// Every request to the object store.
    pub fn store() -> Self {
        Self {
            origin: Some(Origin::Store),
            ..Self::default()
        }
    }

    /// Every request for the list of collections.
    pub fn collections() -> Self {
        Self {
            ends: Some("/collections/v2"),
            ..Self::api()
        }
    }

    /// Every request for the files of this collection.
    pub fn diff(collection: i64) -> Self {
        Self {
            ends: Some("/collections/v2/diff"),
            query: Some(format!("collectionID={collection}&")),
            ..Self::api()
        }
    }

    /// Every request to the API for a link to this file's original.
    pub fn download(file: i64) -> Self {
        Self {
            object: Some((file, Part::Original)),
            ..Self::api()
        }
    }

    /// Every request to the object store for the bytes of this file's original.
    pub fn object(file: i64) -> Self {
        Self {
            object: Some((file, Part::Original)),
            ..Self::store()
        }
    }

    /// Every request to the object store for this file's thumbnail.
    pub fn thumbnail(file: i64) -> Self {
        Self {
            object: Some((file, Part::Thumbnail)),
            ..Self::store()
        }
    }

    /// Only those whose path contains `part`, for instance `/collections/v2/diff`.
    #[must_use]
    pub fn path(mut self, part: &str) -> Self {
        self.path = Some(part.to_owned());
        self
    }

    /// Lets the first `requests` that fit go unharmed.
    #[must_use]
    pub fn skip(mut self, requests: usize) -> Self {
        self.skip = requests;
        self
    }

    fn fits(&self, origin: Origin, uri: &Uri, object: Option<(i64, Part)>) -> bool {
        let (path, query) = (uri.path(), uri.query().unwrap_or_default());
        self.origin.is_none_or(|wanted| wanted == origin)
            && self.ends.is_none_or(|end| path.ends_with(end))
            && self
                .query
                .as_ref()
                .is_none_or(|part| query.contains(part.as_str()))
            && self
                .path
                .as_ref()
                .is_none_or(|part| path.contains(part.as_str()))
            && self.object.is_none_or(|wanted| object == Some(wanted))
    }
}

/// What every request meets.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conditions {
    /// Each answer starts that much later.
    pub latency: Duration,
    /// Bytes per second that all bodies of the object store share.
    pub bandwidth: Option<u64>,
    /// Calls of the API per second that are answered; more of them wait for their turn, as at a server that is busy.
    pub calls_per_s: Option<u32>,
    /// Requests per second beyond which each port answers "too many".
    pub max_requests_per_s: Option<usize>,
}

struct Rule {
    matches: Match,
    fault: Fault,
    /// How often it still strikes; `None` for always.
    left: Option<usize>,
}

/// The rules in force.
#[derive(Default)]
pub(crate) struct Faults(Mutex<Vec<Rule>>);

impl Faults {
    pub(crate) fn inject(&self, matches: Match, fault: Fault, times: Option<usize>) {
        lock(&self.0).push(Rule {
            matches,
            fault,
            left: times,
        });
    }

    pub(crate) fn clear(&self) {
        lock(&self.0).clear();
    }

    /// What happens to this request, in the order of injection. Each rule that fits is used up by one.
    pub(crate) fn take(&self, origin: Origin, uri: &Uri, stored: Option<ObjectKey>) -> Vec<Fault> {
        let object = stored
            .map(|key| (key.file, key.part))
            .or_else(|| object_of_route(uri.path()));
        let mut rules = lock(&self.0);
        let mut taken = Vec::new();
        for rule in rules
            .iter_mut()
            .filter(|rule| rule.matches.fits(origin, uri, object))
        {
            if rule.matches.skip > 0 {
                rule.matches.skip -= 1;
            } else if rule.left != Some(0) {
                rule.left = rule.left.map(|left| left - 1);
                taken.push(rule.fault.clone());
            }
        }
        taken
    }
}

/// The object that a route of the API is about.
fn object_of_route(path: &str) -> Option<(i64, Part)> {
    let original = path
        .strip_prefix("/files/download/")
        .map(|id| (id, Part::Original));
    let thumbnail = || {
        path.strip_prefix("/files/preview/")
            .map(|id| (id, Part::Thumbnail))
    };
    let (id, part) = original.or_else(thumbnail)?;
    Some((id.parse().ok()?, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_meet_what_they_name() {
        let key = Some(ObjectKey {
            file: 7,
            part: Part::Original,
            version: 1,
        });
        let (api, store, object) = (Origin::Api, Origin::Store, "/bucket/1/x");
        let cases = [
            (Match::any(), api, "/ping", None, true),
            (Match::store(), api, "/ping", None, false),
            (Match::api().path("diff"), api, "/trash/v2/diff", None, true),
            (
                Match::api().path("diff"),
                api,
                "/collections/v2",
                None,
                false,
            ),
            (Match::collections(), api, "/collections/v2", None, true),
            (
                Match::collections(),
                api,
                "/collections/v2/diff",
                None,
                false,
            ),
            (
                Match::diff(7),
                api,
                "/collections/v2/diff?collectionID=7&sinceTime=0",
                None,
                true,
            ),
            (
                Match::diff(7),
                api,
                "/collections/v2/diff?collectionID=77&sinceTime=0",
                None,
                false,
            ),
            (Match::download(7), api, "/files/download/7", None, true),
            (Match::download(7), api, "/files/preview/7", None, false),
            (Match::object(7), api, "/files/download/7", None, false),
            (Match::object(7), store, object, key, true),
            (Match::object(8), store, object, key, false),
            (Match::thumbnail(7), store, object, key, false),
        ];
        for (matches, origin, path, key, expected) in cases {
            let faults = Faults::default();
            faults.inject(matches.clone(), Fault::Status(500), Some(1));
            assert_eq!(
                !faults.take(origin, &path.parse().unwrap(), key).is_empty(),
                expected,
                "{matches:?} {path}"
            );
        }
    }

    #[test]
    fn a_rule_skips_strikes_and_is_spent() {
        let faults = Faults::default();
        faults.inject(Match::any().skip(1), Fault::StallHeaders, Some(2));
        let struck: Vec<bool> = (0..4)
            .map(|_| {
                !faults
                    .take(Origin::Api, &Uri::from_static("/ping"), None)
                    .is_empty()
            })
            .collect();
        assert_eq!(struck, [false, true, true, false]);
    }
}
