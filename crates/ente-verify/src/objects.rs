//! What should be below `.ente/objects`, as the facts tell: an expectation for each stored object and, in an export that keeps the encrypted
//! mirror, for each that was never fetched.
//!
//! Pure: facts in, expectations out.

use std::collections::BTreeSet;

use ente_common::layout;
use ente_common::manifest::facts::Object;
use ente_common::manifest::{ContentKey, State};

use crate::plan::{Expected, InAccount, Subject, What, Written};

/// Everything that should be in the mirror.
pub(crate) fn whole(state: &State) -> Vec<Expected> {
    let mut wanted: BTreeSet<ContentKey> = BTreeSet::new();
    if state.pull.keeps_objects() {
        let files = state.pull.files.values();
        wanted.extend(files.filter_map(|file| Some((file.id, file.version?))));
    }
    let stored = state.pull.objects.keys().copied();
    let stored = stored.filter_map(|key| Some((key, state.stored(key)?)));
    let mut expected: Vec<Expected> = stored
        .map(|(key, object)| {
            wanted.remove(&key);
            Expected {
                subject: subject(key, object.fetch),
                path: Some(path(key)),
                written: Some(written(object)),
                account: InAccount::Same,
                cause: None,
            }
        })
        .collect();
    expected.extend(wanted.into_iter().map(|key| Expected {
        subject: subject(key, 0),
        path: Some(path(key)),
        written: None,
        account: InAccount::Same,
        cause: Some(why_not(state, key)),
    }));
    expected
}

/// Why an object was not fetched, as far as the facts tell.
fn why_not(state: &State, key: ContentKey) -> String {
    let failed = state.pull.failed.get(&key).map(|failed| &failed.cause);
    let cause = failed.filter(|cause| !cause.is_empty());
    cause.map_or("it is not fetched yet".to_owned(), String::clone)
}

fn subject((file, version): ContentKey, fetch: u32) -> Subject {
    Subject {
        collection: 0,
        file,
        part: 0,
        what: What::Object,
        version: Some(version),
        n: fetch,
    }
}

fn path(key: ContentKey) -> String {
    format!("{}/{}", layout::STATE_DIR, layout::object(key.0, key.1))
}

fn written(object: &Object) -> Written {
    Written {
        size: object.size,
        blake3: object.blake3,
        origin: None,
        mtime: None,
    }
}
