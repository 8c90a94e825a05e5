//! The part of a manifest that a change since the last rest can touch: among a million files, those of a few albums.
//!
//! A tool that rested ([`Rest`]) had nothing left to do. What came since names collections and files. Facts of all others hold as they did, and
//! are neither parsed nor kept; their lines are only checked.

use std::collections::BTreeMap;
use std::path::Path;

use foldhash::HashSet;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::journal::{Facts, JournalError, kind_of};
use super::rest::{Mark, Rest};
use super::state::PullState;

/// What a fact of many is about: a file in a collection, or content of a file wherever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Collection ID, where the fact is about one.
    pub collection: Option<i64>,
    /// File ID.
    pub file: i64,
}

/// What may be touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Focus {
    /// Of these, everything is known.
    files: HashSet<i64>,
    /// Of these, all names are known.
    collections: HashSet<i64>,
}

/// What was said since a rest.
#[derive(Clone, Debug)]
pub struct News {
    /// The rest.
    pub rest: Rest,
    /// Where it ends in its journal.
    pub at: Mark,
    /// Collections and files that were named since.
    pub focus: Focus,
    /// How many bytes of each journal were looked at.
    seen: BTreeMap<String, u64>,
}

impl News {
    /// What came since the last rest of the journal of `F`; `None` where there is none, or more came than names of collections and files, or much.
    pub fn of<F: Facts>(state_dir: &Path) -> Option<Self> {
        let (rest, at) = Rest::latest::<F>(state_dir)?;
        let mut focus = Focus::default();
        let mut read = rest.read.clone();
        read.insert(F::FILE.to_owned(), at.clone());
        let mut seen = BTreeMap::new();
        for (journal, mark) in &read {
            // Facts of a listing that is still open would be lost.
            let mut is_open = false;
            let is_known = mark.each_since(state_dir, journal, |line| {
                let kind = kind_of(line).unwrap_or_default();
                match (&**journal, &*kind) {
                    ("pull", "collection" | "file") => is_open = true,
                    ("pull", "listing") => is_open = false,
                    _ => {}
                }
                focus.take(journal, &kind, line).is_some()
            });
            let end = is_known.filter(|_| !is_open)?;
            seen.insert(journal.clone(), end);
        }
        Some(Self {
            rest,
            at,
            focus,
            seen,
        })
    }

    /// How many bytes of a journal were looked at: what comes later may name others.
    pub fn seen(&self, journal: &str) -> u64 {
        self.seen.get(journal).copied().unwrap_or_default()
    }
}

impl Focus {
    /// Takes in what a fact names; `None` where it may touch anything.
    fn take(&mut self, journal: &str, kind: &str, line: &[u8]) -> Option<()> {
        #[derive(Deserialize)]
        struct Names {
            id: Option<i64>,
            collection: Option<i64>,
            file: Option<i64>,
            #[serde(default)]
            what: String,
            path: Option<IgnoredAny>,
        }
        let names = || serde_json::from_slice::<Names>(line).ok();
        match (journal, kind) {
            (_, "rest") | ("pull", "listing") | ("verify", "checked") => {}
            ("pull", "collection") => self.album(names()?.id?),
            ("decrypt", "folder") => self.album(names()?.collection?),
            ("pull", "object" | "failed") | ("decrypt", "object" | "verdict" | "aside") => {
                self.file(names()?.id?);
            }
            ("pull", "file") => {
                let names = names()?;
                self.album(names.collection?);
                self.file(names.id?);
            }
            ("decrypt", "placement" | "trash") | ("meta", "sidecar") => {
                let names = names()?;
                self.album(names.collection?);
                self.file(names.file?);
            }
            ("verify", "finding") => {
                let names = names()?;
                if names.path.is_some() {
                    return None;
                }
                if names.what != "object" {
                    self.album(names.collection?);
                }
                self.file(names.file?);
            }
            _ => return None,
        }
        Some(())
    }

    /// This collection is touched.
    pub fn album(&mut self, collection: i64) {
        self.collections.insert(collection);
    }

    /// This file is touched.
    pub fn file(&mut self, file: i64) {
        self.files.insert(file);
    }

    /// Takes in all files of the collections, given the `rows` of the manifest: (collection ID, file ID).
    pub fn take_files(&mut self, rows: &[(i64, i64)]) {
        let touched = rows.iter().filter(|row| self.collections.contains(&row.0));
        self.files.extend(touched.map(|row| row.1));
    }

    /// Takes in all files of the collections, and all collections of those files, for the names in them. Whatever is exported was listed once.
    ///
    /// # Errors
    /// As [`Follow::catch_up`](super::follow::Follow::catch_up).
    pub fn widen(&mut self, state_dir: &Path) -> Result<(), JournalError> {
        let (_, rows) = PullState::survey(state_dir)?;
        self.take_files(&rows);
        let touched = rows.iter().filter(|row| self.files.contains(&row.1));
        self.collections.extend(touched.map(|row| row.0));
        Ok(())
    }

    /// Of this file, everything is known.
    pub fn has(&self, file: i64) -> bool {
        self.files.contains(&file)
    }

    /// The fact about this is to be known.
    pub fn covers(&self, row: Row) -> bool {
        self.has(row.file)
            || row
                .collection
                .is_some_and(|id| self.collections.contains(&id))
    }
}

/// What a line is about, if its kind is one of which there are as many as files.
pub(super) fn row_of(journal: &str, line: &[u8]) -> Option<Row> {
    row_at_sight(journal, line).or_else(|| parse_row(journal, line))
}

/// As [`row_of`], for lines in other hands' spelling: what is out of focus must not depend on it.
fn parse_row(journal: &str, line: &[u8]) -> Option<Row> {
    #[derive(Deserialize)]
    struct Names {
        id: Option<i64>,
        collection: Option<i64>,
        file: Option<i64>,
    }
    let kind = kind_of(line).ok()?;
    let names = || serde_json::from_slice::<Names>(line).ok();
    let (collection, file) = match (journal, &*kind) {
        ("pull", "file") => names().map(|names| (names.collection, names.id))?,
        ("decrypt", "placement") | ("meta", "sidecar") => {
            names().map(|names| (names.collection, names.file))?
        }
        ("pull" | "decrypt", "object") => (None, names()?.id),
        _ => return None,
    };
    Some(Row {
        collection,
        file: file?,
    })
}

/// As [`row_of`], where the line begins as we write them.
pub(super) fn row_at_sight(journal: &str, line: &[u8]) -> Option<Row> {
    let (placed, id): (_, &[u8]) = match journal {
        "pull" => (
            line.strip_prefix(b"{\"fact\":\"file\",\"collection\":"),
            b"\"id\":",
        ),
        "decrypt" => (
            line.strip_prefix(b"{\"fact\":\"placement\",\"collection\":"),
            b"\"file\":",
        ),
        "meta" => (
            line.strip_prefix(b"{\"fact\":\"sidecar\",\"collection\":"),
            b"\"file\":",
        ),
        _ => return None,
    };
    let (collection, file) = match placed {
        Some(members) => {
            let (collection, members) = int(members)?;
            (Some(collection), members.strip_prefix(id)?)
        }
        None => (None, line.strip_prefix(b"{\"fact\":\"object\",\"id\":")?),
    };
    let (file, _) = int(file)?;
    Some(Row { collection, file })
}

/// A number and what follows its comma.
fn int(text: &[u8]) -> Option<(i64, &[u8])> {
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let mut number = 0_i64;
    for (at, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                number = number
                    .checked_mul(10)?
                    .checked_add(i64::from(byte - b'0'))?;
            }
            b',' if at > 0 => {
                let number = if is_negative { -number } else { number };
                return Some((number, &digits[at + 1..]));
            }
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::facts::{
        Collection, DecryptFact, Dropped, File, Finding, Listing, MetaFact, Object, Placement,
        PullFact, Setting, Sidecar, VerifyFact,
    };
    use crate::manifest::{Journal, State};

    fn line(fact: &impl Facts) -> Vec<u8> {
        let mut line = Vec::new();
        fact.encode(&mut line);
        line
    }

    #[test]
    fn rows_are_told_by_the_start_of_a_line() {
        let (collection, file) = (Some(-5), 7);
        let placed = Some(Row { collection, file });
        let content = Some(Row {
            collection: None,
            file,
        });
        let listed = PullFact::File(File {
            collection: -5,
            id: 7,
            ..File::default()
        });
        let placement = DecryptFact::Placement(Placement {
            collection: -5,
            file: 7,
            ..Placement::default()
        });
        let sidecar = MetaFact::Sidecar(Sidecar {
            collection: -5,
            file: 7,
            ..Sidecar::default()
        });
        let object = PullFact::Object(Object {
            id: 7,
            ..Object::default()
        });
        let dropped = DecryptFact::Dropped(Dropped {
            id: 7,
            ..Dropped::default()
        });
        assert_eq!(row_of("pull", &line(&listed)), placed);
        assert_eq!(row_of("decrypt", &line(&placement)), placed);
        assert_eq!(row_of("meta", &line(&sidecar)), placed);
        assert_eq!(row_of("pull", &line(&object)), content);
        assert_eq!(row_of("decrypt", &line(&dropped)), content);
        assert_eq!(
            row_of("pull", &line(&PullFact::Listing(Listing::default()))),
            None
        );
    }

    #[test]
    fn rows_are_told_in_any_spelling() {
        let row = |collection| {
            let file = 7;
            Some(Row { collection, file })
        };
        for (journal, text, expected) in [
            (
                "pull",
                r#"{"fact": "file","id": 7,"collection": 5}"#,
                row(Some(5)),
            ),
            (
                "decrypt",
                r#"{"fact":"placement", "file":7,"collection":5}"#,
                row(Some(5)),
            ),
            (
                "meta",
                r#"{ "fact":"sidecar","part":0,"file":7,"collection":5}"#,
                row(Some(5)),
            ),
            (
                "decrypt",
                r#"{"fact":"object","version":"x","id":7}"#,
                row(None),
            ),
            ("pull", r#"{"fact":"failed","id":7}"#, None),
            ("pull", r#"{"fact":"file","collection":5}"#, None),
        ] {
            assert_eq!(row_of(journal, text.as_bytes()), expected, "{text}");
        }
    }

    /// An album with two files of which one changed since a rest.
    fn scene(changes: Vec<PullFact>) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), "pull").unwrap();
        for (collection, id) in [(1, 10), (1, 11), (2, 11), (3, 12)] {
            journal.append(&PullFact::File(File {
                collection,
                id,
                ..File::default()
            }));
        }
        journal.append(&PullFact::Listing(Listing::default()));
        journal.append(&PullFact::Rest(Rest::new("1")));
        changes.iter().for_each(|fact| journal.append(fact));
        journal.sync().unwrap();
        dir
    }

    fn album(id: i64) -> PullFact {
        PullFact::Collection(Collection {
            id,
            ..Collection::default()
        })
    }

    #[test]
    fn a_change_is_followed_to_all_files_of_its_album_and_all_albums_of_those() {
        let dir = scene(vec![album(1), PullFact::Listing(Listing::default())]);
        let news = News::of::<PullFact>(dir.path()).unwrap();
        let mut focus = news.focus;
        let (_, rows) = PullState::survey(dir.path()).unwrap();
        assert_eq!(rows, [(1, 10), (1, 11), (2, 11), (3, 12)]);
        focus.widen(dir.path()).unwrap();
        assert!(focus.has(10) && focus.has(11) && !focus.has(12));
        let state = State::load_within(dir.path(), Some(focus)).unwrap();
        let known: Vec<_> = state.pull.files.keys().copied().collect();
        assert_eq!(known, [(1, 10), (1, 11), (2, 11)]);
        assert!(state.knows(11) && !state.knows(12));
    }

    #[test]
    fn what_may_touch_anything_leaves_no_focus() {
        let setting = PullFact::Setting(Setting {
            name: "objects".into(),
            value: "keep".into(),
        });
        let open = vec![album(1)];
        let closed = || vec![album(1), PullFact::Listing(Listing::default())];
        let many = std::iter::repeat_with(closed).take(20_000).flatten();
        assert!(News::of::<PullFact>(scene(closed()).path()).is_some());
        assert!(News::of::<PullFact>(scene(vec![setting]).path()).is_none());
        assert!(
            News::of::<PullFact>(scene(open).path()).is_none(),
            "its writer was killed"
        );
        assert!(
            News::of::<PullFact>(scene(many.collect()).path()).is_none(),
            "much"
        );
        let dir = scene(closed());
        std::fs::remove_file(dir.path().join("pull.jsonl")).unwrap();
        assert!(News::of::<PullFact>(dir.path()).is_none());
    }

    #[test]
    fn findings_touch_what_they_are_about() {
        let find = |path: Option<&str>| {
            let fact = VerifyFact::Finding(Finding {
                collection: 1,
                file: 10,
                path: path.map(Into::into),
                ..Finding::default()
            });
            let mut focus = Focus::default();
            let taken = focus.take("verify", "finding", &line(&fact));
            taken.map(|()| focus)
        };
        assert!(find(None).is_some_and(|focus| focus.has(10)));
        assert_eq!(find(Some(".ente/ciphertext.jsonl")), None);
    }
}
