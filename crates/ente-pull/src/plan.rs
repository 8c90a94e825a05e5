//! What to fetch, and what to say about each file: a pure function of the manifest.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use ente_common::id::Version;
use ente_common::manifest::facts::{File, Object};
use ente_common::manifest::{ContentKey, State};

use crate::problems;
use crate::select::Selection;

/// One object to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fetch {
    pub(crate) id: i64,
    pub(crate) version: Version,
    /// Size of the object, where the server says it.
    pub(crate) size: Option<u64>,
    /// Which fetch of this version it is, from 1.
    pub(crate) number: u32,
    /// A whole object that already lies at its place, left by a run that was killed, may be taken as it is.
    pub(crate) adopt: bool,
}

impl Fetch {
    pub(crate) fn key(&self) -> ContentKey {
        (self.id, self.version)
    }
}

/// A file that the run is about.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Target {
    pub(crate) owner: i64,
    /// The content that the server holds now; `None` where it names none.
    pub(crate) version: Option<Version>,
    pub(crate) size: Option<u64>,
    /// Collections of its placements that the run is about; ascending.
    pub(crate) collections: Vec<i64>,
    /// Collections that it left while it was exported there.
    pub(crate) left: Vec<i64>,
    updated: i64,
}

/// How the run is limited.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// `None`: everything.
    pub(crate) selection: Option<&'a Selection<'a>>,
    /// Fetch these files whatever is known of them.
    pub(crate) refetch: &'a BTreeSet<i64>,
    /// Objects are kept beside the plaintext.
    pub(crate) keep: bool,
    /// Objects that the manifest knows and that are not there.
    pub(crate) missing: &'a HashSet<ContentKey>,
    /// Content that `ente-verify --adopt` found on this machine.
    pub(crate) adopted: &'a HashSet<ContentKey>,
}

/// What is to be done about the content of one file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// The object is stored.
    AtHand,
    /// The plaintext is at hand: no object is needed.
    Exported,
    /// Fetch it.
    Fetch(Fetch),
    /// Bring the object back from the trash.
    Restore(Object),
    /// It was fetched again in vain.
    Hopeless {
        /// What `ente-decrypt` saw.
        cause: String,
    },
    /// It could not be exported, and another download would not help.
    Judged,
    /// The server names no content.
    Nameless,
}

/// What a run does.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Files that the run is about, by ID.
    pub(crate) targets: BTreeMap<i64, Target>,
    /// What to do about the content of each.
    pub(crate) steps: BTreeMap<i64, Step>,
}

impl Plan {
    /// Plans after the listing that `state` holds.
    pub(crate) fn new(state: &State, request: &Request<'_>) -> Self {
        let targets = targets(state, request.selection);
        let mut held = state.plaintexts();
        held.extend(request.adopted);
        let steps = targets
            .iter()
            .filter(|(_, target)| !target.collections.is_empty())
            .map(|(id, target)| (*id, step(state, request, &held, *id, target)))
            .collect();
        Self { targets, steps }
    }

    /// The objects to be fetched, by ascending file ID.
    pub(crate) fn fetches(&self) -> impl Iterator<Item = &Fetch> {
        self.steps.values().filter_map(|step| match step {
            Step::Fetch(fetch) => Some(fetch),
            _ => None,
        })
    }
}

/// Groups placements by file.
fn targets(state: &State, selection: Option<&Selection<'_>>) -> BTreeMap<i64, Target> {
    let is_chosen = |file: &File| {
        selection.is_none_or(|selection| selection.covers(file) || follows(state, file))
    };
    let mut targets: BTreeMap<i64, Target> = BTreeMap::new();
    for file in state.pull.files.values().filter(|file| is_chosen(file)) {
        let target = targets.entry(file.id).or_default();
        target.collections.push(file.collection);
    }
    if selection.is_some() {
        // What was exported before goes on following the account, whatever this run is about.
        for ((collection, id), placement) in &state.decrypt.placements {
            if !placement.parts.is_empty() && !state.pull.files.contains_key(&(*collection, *id)) {
                targets.entry(*id).or_default().left.push(*collection);
            }
        }
    }
    for file in state.pull.files.values() {
        let Some(target) = targets.get_mut(&file.id) else {
            continue;
        };
        // The server holds one version only; where placements were listed at different moments, the youngest knows it.
        if target.version.is_none() || file.updated > target.updated {
            target.version = file.version;
            target.size = file.size;
            target.updated = file.updated;
            target.owner = file.owner;
        }
    }
    targets
}

/// The placement is exported, and no longer as the account has it.
fn follows(state: &State, file: &File) -> bool {
    let placement = state.decrypt.placements.get(&(file.collection, file.id));
    placement.is_some_and(|placement| {
        !placement.parts.is_empty()
            && (placement.digest != file.digest || placement.version != file.version)
    })
}

fn step(
    state: &State,
    request: &Request<'_>,
    held: &HashSet<ContentKey>,
    id: i64,
    target: &Target,
) -> Step {
    let Some(version) = target.version else {
        return Step::Nameless;
    };
    let key = (id, version);
    let object = state.pull.objects.get(&key);
    let trashed = state.pull.trashed_objects.get(&key);
    let verdict = state.decrypt.verdicts.get(&key);
    let dropped = state.decrypt.dropped.get(&key).copied().unwrap_or(0);
    let fetches = [object, trashed]
        .into_iter()
        .flatten()
        .map(|object| object.fetch);
    let last = fetches.max().unwrap_or(0);
    let last = last.max(dropped).max(verdict.map_or(0, |one| one.fetch));
    let fetch = || {
        Step::Fetch(Fetch {
            id,
            version,
            size: target.size,
            number: last + 1,
            adopt: object.is_none() && verdict.is_none(),
        })
    };
    if request.refetch.contains(&id) {
        return fetch();
    }
    let at_hand = state.object(key).is_some() && !request.missing.contains(&key);
    let newest = object.map_or(0, |object| object.fetch);
    match verdict.filter(|verdict| verdict.fetch >= newest) {
        Some(verdict) if verdict.class == problems::DAMAGED => {
            return match object {
                Some(object) if object.same => Step::Hopeless {
                    cause: verdict.cause.clone(),
                },
                _ => fetch(),
            };
        }
        Some(_) if !at_hand && !held.contains(&key) && !request.missing.contains(&key) => {
            return Step::Judged;
        }
        _ => {}
    }
    if at_hand {
        return Step::AtHand;
    }
    if !request.keep && held.contains(&key) {
        return Step::Exported;
    }
    match trashed {
        Some(object) if is_in_trash(state, object) => Step::Restore((**object).clone()),
        _ => fetch(),
    }
}

fn is_in_trash(state: &State, object: &Object) -> bool {
    let path = object.trashed.as_ref();
    path.is_some_and(|path| !state.verify.pruned.contains(path))
}

/// Stored objects that nothing of the account needs any more. One that was replaced counts only once its successor is at hand.
pub(crate) fn unwanted(state: &State) -> Vec<Object> {
    let stored = state.pull.objects.values();
    let mut stored: Vec<&Object> = stored
        .map(|object| &**object)
        .filter(|object| state.stored((object.id, object.version)).is_some())
        .collect();
    if stored.is_empty() {
        return Vec::new();
    }
    let mut wanted: HashSet<ContentKey> = HashSet::new();
    let mut waiting: HashSet<i64> = HashSet::new();
    let held = state.plaintexts();
    for file in state.pull.files.values() {
        let Some(version) = file.version else {
            // Nobody knows which one it needs.
            waiting.insert(file.id);
            continue;
        };
        let key = (file.id, version);
        if wanted.insert(key) && state.object(key).is_none() && !held.contains(&key) {
            waiting.insert(file.id);
        }
    }
    stored.retain(|object| {
        !wanted.contains(&(object.id, object.version)) && !waiting.contains(&object.id)
    });
    stored.sort_by_key(|object| (object.id, object.version));
    stored.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ente_common::manifest::facts::{Part, Placement, Verdict};

    const ID: i64 = 7;

    fn version(byte: u8) -> Version {
        Version::from_bytes([byte; 8])
    }

    fn file(collection: i64, updated: i64, byte: u8) -> File {
        File {
            collection,
            id: ID,
            version: Some(version(byte)),
            size: Some(100),
            updated,
            ..File::default()
        }
    }

    fn object(fetch: u32, same: bool) -> Object {
        Object {
            id: ID,
            version: version(1),
            fetch,
            same,
            ..Object::default()
        }
    }

    /// What is known of the one version of file 7, in the order of `Case`.
    #[derive(Clone, Default)]
    struct Case {
        object: Option<(u32, bool)>,
        dropped: Option<u32>,
        verdict: Option<(u32, &'static str)>,
        exported: bool,
        trashed: bool,
        keep: bool,
        refetch: bool,
        missing: bool,
        adopted: bool,
    }

    fn planned(case: &Case) -> String {
        let key = (ID, version(1));
        let mut state = State::default();
        state.pull.files.insert((10, ID), file(10, 5, 1).into());
        state.pull.files.insert((11, ID), file(11, 5, 1).into());
        if let Some((fetch, same)) = case.object {
            state.pull.objects.insert(key, object(fetch, same).into());
        }
        if case.trashed {
            let path = Some("2026-11-22/objects/01/7".to_owned());
            let object = Object {
                trashed: path,
                gone: true,
                ..object(1, false)
            };
            state.pull.trashed_objects.insert(key, object.into());
        }
        if let Some(fetch) = case.dropped {
            state.decrypt.dropped.insert(key, fetch);
        }
        if let Some((fetch, class)) = case.verdict {
            let verdict = Verdict {
                id: ID,
                version: version(1),
                fetch,
                class: class.into(),
                ..Verdict::default()
            };
            state.decrypt.verdicts.insert(key, verdict);
        }
        if case.exported {
            let placement = Placement {
                version: Some(version(1)),
                parts: vec![Part::default()],
                ..Placement::default()
            };
            state.decrypt.placements.insert((10, ID), placement.into());
        }
        let refetch = BTreeSet::from_iter(case.refetch.then_some(ID));
        let missing = HashSet::from_iter(case.missing.then_some(key));
        let request = Request {
            selection: None,
            refetch: &refetch,
            keep: case.keep,
            missing: &missing,
            adopted: &HashSet::from_iter(case.adopted.then_some(key)),
        };
        let plan = Plan::new(&state, &request);
        assert_eq!(plan.steps.len(), 1, "once, whatever the number of albums");
        match &plan.steps[&ID] {
            Step::Fetch(fetch) => format!(
                "fetch {}{}",
                fetch.number,
                if fetch.adopt { " or adopt" } else { "" }
            ),
            Step::Restore(_) => "restore".to_owned(),
            other => format!("{other:?}")
                .split(' ')
                .next()
                .unwrap()
                .to_lowercase(),
        }
    }

    #[test]
    fn content_is_fetched_when_neither_object_nor_plaintext_is_at_hand() {
        let case = Case::default();
        let exported = Case {
            object: Some((1, false)),
            dropped: Some(1),
            exported: true,
            ..case.clone()
        };
        let damaged = Case {
            object: Some((1, false)),
            verdict: Some((1, "damaged")),
            ..case.clone()
        };
        for (what, case, step) in [
            ("new", case.clone(), "fetch 1 or adopt"),
            (
                "stored",
                Case {
                    object: Some((1, false)),
                    ..case.clone()
                },
                "athand",
            ),
            (
                "stored but not there",
                Case {
                    object: Some((1, false)),
                    missing: true,
                    ..case.clone()
                },
                "fetch 2",
            ),
            ("exported", exported.clone(), "exported"),
            (
                "adopted",
                Case {
                    adopted: true,
                    ..case.clone()
                },
                "exported",
            ),
            (
                "adopted, objects wanted",
                Case {
                    adopted: true,
                    keep: true,
                    ..case.clone()
                },
                "fetch 1 or adopt",
            ),
            (
                "adopted, and could not be used",
                Case {
                    adopted: true,
                    verdict: Some((0, "damaged")),
                    ..case.clone()
                },
                "fetch 1",
            ),
            (
                "exported, objects wanted",
                Case {
                    keep: true,
                    ..exported.clone()
                },
                "fetch 2",
            ),
            (
                "exported file lost",
                Case {
                    exported: false,
                    ..exported.clone()
                },
                "fetch 2",
            ),
            (
                "asked for",
                Case {
                    refetch: true,
                    ..exported.clone()
                },
                "fetch 2",
            ),
            (
                "object in the trash",
                Case {
                    trashed: true,
                    keep: true,
                    ..case.clone()
                },
                "restore",
            ),
            (
                "object in the trash, exported",
                Case {
                    trashed: true,
                    exported: true,
                    ..case.clone()
                },
                "exported",
            ),
            (
                "dropped, fact lost",
                Case {
                    dropped: Some(3),
                    ..case.clone()
                },
                "fetch 4 or adopt",
            ),
            ("damaged", damaged.clone(), "fetch 2"),
            (
                "damaged, dropped",
                Case {
                    dropped: Some(1),
                    ..damaged.clone()
                },
                "fetch 2",
            ),
            (
                "damaged, fetched again",
                Case {
                    object: Some((2, false)),
                    ..damaged.clone()
                },
                "athand",
            ),
            (
                "damaged twice, differently",
                Case {
                    object: Some((2, false)),
                    verdict: Some((2, "damaged")),
                    ..case.clone()
                },
                "fetch 3",
            ),
            (
                "damaged twice, the same",
                Case {
                    object: Some((2, true)),
                    verdict: Some((2, "damaged")),
                    ..case.clone()
                },
                "hopeless",
            ),
            (
                "damaged twice, asked for",
                Case {
                    object: Some((2, true)),
                    verdict: Some((2, "damaged")),
                    refetch: true,
                    ..case.clone()
                },
                "fetch 3",
            ),
            (
                "unreadable, kept",
                Case {
                    object: Some((1, false)),
                    verdict: Some((1, "undecryptable")),
                    ..case.clone()
                },
                "athand",
            ),
            (
                "unreadable, dropped",
                Case {
                    object: Some((1, false)),
                    dropped: Some(1),
                    verdict: Some((1, "undecryptable")),
                    ..case.clone()
                },
                "judged",
            ),
        ] {
            assert_eq!(planned(&case), step, "{what}");
        }
    }

    #[test]
    fn placements_listed_at_different_moments_agree_on_the_youngest() {
        let mut state = State::default();
        state.pull.files.insert((10, ID), file(10, 9, 2).into());
        state.pull.files.insert((11, ID), file(11, 5, 1).into());
        let target = &targets(&state, None)[&ID];
        assert_eq!(
            (target.version, &target.collections[..]),
            (Some(version(2)), &[10, 11][..])
        );
    }

    #[test]
    fn what_was_exported_before_follows_the_account_and_nothing_else_is_touched() {
        let mut state = State::default();
        let mut place = |collection, id, byte: Option<u8>, exported: Option<u8>| {
            if let Some(byte) = byte {
                let file = File {
                    id,
                    ..file(collection, 5, byte)
                };
                state.pull.files.insert((collection, id), file.into());
            }
            if let Some(byte) = exported {
                let placement = Placement {
                    version: Some(version(byte)),
                    parts: vec![Part::default()],
                    ..Placement::default()
                };
                state
                    .decrypt
                    .placements
                    .insert((collection, id), placement.into());
            }
        };
        place(10, 1, Some(1), None); // neither chosen nor exported
        place(10, 2, Some(1), Some(1)); // exported, unchanged
        place(10, 3, Some(2), Some(1)); // exported, replaced
        place(11, 3, Some(2), None); // its other album
        place(10, 4, None, Some(1)); // exported, removed
        place(12, 5, Some(1), None); // chosen
        let options = crate::select::Options::default();
        let mut ids = crate::select::Ids::default();
        let mut record = ente_common::record::Record::new("file").with("id", 5);
        record
            .placements_mut()
            .push(serde_json::json!({"collection": 12}));
        ids.take(&record);
        let selection = Selection::new(Some(&ids), &options, &state, 1).unwrap();
        let targets = targets(&state, Some(&selection));
        let seen: Vec<_> = targets
            .iter()
            .map(|(id, target)| (*id, target.collections.clone(), target.left.clone()))
            .collect();
        assert_eq!(
            seen,
            [
                (3, vec![10], vec![]),
                (4, vec![], vec![10]),
                (5, vec![12], vec![])
            ]
        );
    }

    #[test]
    fn an_object_goes_when_nothing_needs_it_and_its_successor_is_at_hand() {
        let mut state = State::default();
        let mut old = object(1, false);
        state
            .pull
            .objects
            .insert((ID, version(1)), old.clone().into());
        assert_eq!(unwanted(&state), [old.clone()], "the file is gone");
        state.pull.files.insert((10, ID), file(10, 5, 1).into());
        assert_eq!(unwanted(&state), []);
        state.pull.files.insert((10, ID), file(10, 6, 2).into());
        assert_eq!(unwanted(&state), [], "the new content has not come yet");
        let new = Object {
            version: version(2),
            ..object(1, false)
        };
        state.pull.objects.insert((ID, version(2)), new.into());
        assert_eq!(unwanted(&state), [old.clone()]);
        state.decrypt.dropped.insert((ID, version(1)), 1);
        assert_eq!(unwanted(&state), [], "it was dropped already");
        old.gone = true;
    }

    #[test]
    fn an_object_stays_while_the_server_names_no_content() {
        let mut state = State::default();
        let key = (ID, version(1));
        state.pull.objects.insert(key, object(1, false).into());
        let nameless = File {
            version: None,
            ..file(10, 6, 1)
        };
        state.pull.files.insert((10, ID), nameless.into());
        assert_eq!(unwanted(&state), []);
    }
}
