//! Objects that `ente-pull` leaves to `ente-decrypt`, told by one sum: whether all of them were decrypted shows without reading what each of them was.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;

use memchr::{memchr2_iter, memmem};
use serde::Deserialize;
use serde::de::{Error as _, IgnoredAny};

use super::facts::{DecryptFact, Dropped, Object};
use super::focus::row_at_sight;
use super::follow::Follow;
use super::hash::Digest;
use super::journal::{Facts as _, kind_of, parse_fact};
use super::rest::Mark;
use super::state::ContentKey;
use super::sum;
use crate::id::Version;

/// Some objects, each fetched so many times: how many they are, and a sum of what they are called, in whatever order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    count: u64,
    sum: u64,
}

impl Waiting {
    /// One more waits.
    pub fn add(&mut self, object: &Object) {
        self.count(number_of(object.id, object.version, object.fetch));
    }

    /// None waits.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn count(&mut self, number: u64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(number);
    }

    /// What `ente-decrypt` exported and then dropped since a place of its journal, and where that ends; `None` where it dropped what it had not written,
    /// said more, or anything is odd.
    pub(super) fn taken_since(state_dir: &Path, mark: &Mark) -> Option<(Self, Mark)> {
        let mut follow = Follow::after(state_dir, DecryptFact::FILE, mark).ok()??;
        let mut taken = Self::default();
        // What was written and not dropped yet: little at any time of an export, however many files it has.
        let mut written = HashSet::new();
        let mut is_odd = false;
        let result = follow.read_lines(u64::MAX, look, |seen| match seen {
            Seen::Written(content) => {
                written.insert(content);
            }
            Seen::Dropped { content, number } => {
                is_odd |= !written.remove(&content);
                taken.count(number);
            }
        });
        result.ok()?;
        (!is_odd).then(|| (taken, follow.end()))
    }
}

/// Stands for an object in the sum.
fn number_of(id: i64, version: Version, fetch: u32) -> u64 {
    Digest::of(format!("{id}-{version}-{fetch}").as_bytes()).into()
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.count, self.sum)
    }
}

/// What an export consists of.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// Content has its parts in some album.
    Written(ContentKey),
    /// An object was dropped.
    Dropped { content: ContentKey, number: u64 },
}

impl Seen {
    fn dropped(content: ContentKey, fetch: u32) -> Self {
        let number = number_of(content.0, content.1, fetch);
        Self::Dropped { content, number }
    }
}

/// An error for what may give `ente-pull` work.
///
/// Names, and how files are written, concern content that it had fetched. A placement that was written once and has no parts lost what it had, and
/// maybe the only plaintext.
fn look(line: &[u8]) -> Result<Option<Seen>, serde_json::Error> {
    match at_sight(line) {
        Some(seen) => Ok(seen),
        None => parse(line),
    }
}

/// What a line tells that is as we write it: there are three for each file, and parsing them takes several times as long.
fn at_sight(line: &[u8]) -> Option<Option<Seen>> {
    let row = row_at_sight(DecryptFact::FILE, line)?;
    let body = sum::body(line);
    let is_placement = row.collection.is_some();
    // What is searched for is nowhere within a text, where quotes are escaped.
    let has = |key: &[u8]| memmem::find(body, key).is_some();
    if is_placement && has(b"\"gone\":") {
        return None;
    }
    if is_placement && body.ends_with(b",\"n\":0") {
        return (!has(b"\"parts\":")).then_some(None);
    }
    const VERSION: &[u8] = b",\"version\":\"";
    let (members, version) = body.split_at(memmem::find(body, VERSION)?);
    // One within another member is not that of the line.
    let mut opened = memchr2_iter(b'{', b'[', members);
    if opened.any(|at| members[..at].ends_with(b"\":") && !members[..at].ends_with(b"\\\":")) {
        return None;
    }
    let (version, members) = version[VERSION.len()..].split_first_chunk::<16>()?;
    let version = std::str::from_utf8(version).ok()?.parse().ok()?;
    let content = (row.file, version);
    if is_placement {
        let counted = members.strip_prefix(b"\",\"n\":")?;
        let digits = counted.iter().take_while(|byte| byte.is_ascii_digit());
        let parts = counted[digits.count()..].strip_prefix(b",\"parts\":[{")?;
        // The parts end the line: what else there might be, as `gone`, would stand behind them.
        let is_last = parts.ends_with(b"}]") && memmem::find(parts, b"}],\"").is_none();
        return is_last.then_some(Some(Seen::Written(content)));
    }
    let fetch = std::str::from_utf8(members.strip_prefix(b"\",\"fetch\":")?).ok()?;
    Some(Some(Seen::dropped(content, fetch.parse().ok()?)))
}

fn parse(line: &[u8]) -> Result<Option<Seen>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Written {
        file: i64,
        version: Option<Version>,
        #[serde(default)]
        n: u32,
        #[serde(default)]
        parts: Vec<IgnoredAny>,
        #[serde(default)]
        gone: bool,
    }
    #[derive(Deserialize)]
    struct Stays {
        #[serde(default)]
        gone: bool,
    }
    let more = || Err(serde_json::Error::custom("more than an export"));
    match &*kind_of(line)? {
        "object" => {
            let Dropped { id, version, fetch } = parse_fact(line)?;
            Ok(Some(Seen::dropped((id, version), fetch)))
        }
        "placement" => match parse_fact(line)? {
            Written { gone: true, .. } => more(),
            Written { parts, n, .. } if parts.is_empty() => match n {
                0 => Ok(None),
                _ => more(),
            },
            Written { file, version, .. } => {
                Ok(version.map(|version| Seen::Written((file, version))))
            }
        },
        "folder" if !parse_fact::<Stays>(line)?.gone => Ok(None),
        "setting" | "rest" => Ok(None),
        _ => more(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Journal;
    use crate::manifest::facts::{Folder, Part, Placement, Setting, Verdict};
    use crate::manifest::rest::Rest;

    fn object(id: i64, fetch: u32) -> Object {
        Object {
            id,
            fetch,
            ..Object::default()
        }
    }

    fn dropped(id: i64, fetch: u32) -> DecryptFact {
        DecryptFact::Dropped(Dropped {
            id,
            fetch,
            ..Dropped::default()
        })
    }

    /// The objects 1 and 2, each fetched once.
    fn waiting() -> Waiting {
        let mut waiting = Waiting::default();
        waiting.add(&object(2, 1));
        waiting.add(&object(1, 1));
        waiting
    }

    /// Whether they are found taken, where `ente-decrypt` said this since it said something else.
    fn is_over(facts: &[DecryptFact]) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), DecryptFact::FILE).unwrap();
        journal.append(&dropped(1, 1));
        journal.flush().unwrap();
        let mut rest = Rest::new("1");
        rest.reads(dir.path(), DecryptFact::FILE);
        facts.iter().for_each(|fact| journal.append(fact));
        journal.flush().unwrap();
        let seen = Waiting::taken_since(dir.path(), &rest.read[DecryptFact::FILE]);
        if let Some((_, end)) = &seen {
            rest.reads(dir.path(), DecryptFact::FILE);
            assert_eq!(*end, rest.read[DecryptFact::FILE]);
        }
        seen.is_some_and(|(seen, _)| seen.to_string() == waiting().to_string())
    }

    #[test]
    fn it_is_over_when_all_that_waited_were_written_and_dropped_and_nothing_else_came() {
        let placement = |file, n, parts: &[Part], gone| {
            DecryptFact::Placement(Placement {
                file,
                version: Some(Version::default()),
                n,
                parts: parts.to_vec(),
                gone,
                ..Placement::default()
            })
        };
        let part = [Part {
            name: "a".into(),
            ..Part::default()
        }];
        let written = |file| placement(file, 1, &part, false);
        let left = placement(1, 1, &part, true);
        let lost = placement(1, 1, &[], false);
        let folder_left = DecryptFact::Folder(Folder {
            gone: true,
            ..Folder::default()
        });
        let folder = DecryptFact::Folder(Folder::default());
        let setting = DecryptFact::Setting(Setting {
            name: "link".into(),
            value: "copy".into(),
        });
        let rest = DecryptFact::Rest(Rest::new("1"));
        let verdict = DecryptFact::Verdict(Verdict::default());
        let all = [written(1), dropped(1, 1), written(2), dropped(2, 1)];
        let with = |other: &[DecryptFact]| [&all[..], other].concat();
        assert!(is_over(&all));
        assert!(is_over(&with(&[
            setting,
            folder,
            placement(3, 0, &[], false),
            written(3),
            rest
        ])));
        assert!(!is_over(&[]));
        assert!(!is_over(&all[..2]), "one waits");
        assert!(!is_over(&all[..3]), "one may wait");
        assert!(!is_over(&[&all[..3], &[dropped(2, 2)]].concat()));
        assert!(!is_over(&with(&[dropped(2, 1)])));
        let unwritten = [written(1), dropped(1, 1), dropped(2, 1)];
        assert!(!is_over(&unwritten), "one was thrown away");
        let late = [&unwritten[..], &[written(2)]].concat();
        assert!(!is_over(&late), "nothing was safe when it was dropped");
        for other in [left, lost, folder_left, verdict] {
            assert!(!is_over(&with(&[other])));
        }
    }

    #[test]
    fn lines_as_we_write_them_are_read_at_sight_and_others_parsed() {
        let fetch = 12;
        let content = (-7, "98c2787ef419b480".parse().unwrap());
        let name = r#"\","version":"0000000000000000","n":1,"parts":[{}],"n":0"#;
        let named = Placement {
            collection: 5,
            file: content.0,
            name: name.into(),
            ..Placement::default()
        };
        let part = Part {
            name: name.into(),
            ..Part::default()
        };
        let written = Placement {
            version: Some(content.1),
            n: 10,
            parts: vec![part.clone(), part],
            ..named.clone()
        };
        let number = number_of(content.0, content.1, fetch);
        let gone = Dropped {
            id: content.0,
            version: content.1,
            fetch,
        };
        let told = Seen::Written(content);
        for (fact, seen) in [
            (DecryptFact::Placement(named.clone()), Some(None)),
            (DecryptFact::Placement(written.clone()), Some(Some(told))),
            (
                DecryptFact::Dropped(gone),
                Some(Some(Seen::Dropped { content, number })),
            ),
            (
                DecryptFact::Placement(Placement {
                    gone: true,
                    ..written.clone()
                }),
                None,
            ),
            (
                DecryptFact::Placement(Placement {
                    parts: Vec::new(),
                    ..written.clone()
                }),
                None,
            ),
            (
                DecryptFact::Placement(Placement {
                    version: None,
                    ..written
                }),
                None,
            ),
            (DecryptFact::Placement(Placement { n: 1, ..named }), None),
            (DecryptFact::Verdict(Verdict::default()), None),
        ] {
            let mut line = Vec::new();
            fact.encode(&mut line);
            sum::add(&mut line, 0, sum::NONE);
            let text = String::from_utf8_lossy(&line);
            assert_eq!(at_sight(&line), seen, "{text}");
            if let Some(seen) = seen {
                assert_eq!(parse(&line).unwrap(), seen, "{text}");
            }
        }
    }

    #[test]
    fn members_of_later_releases_are_not_taken_for_parts() {
        let start = r#"{"fact":"placement","collection":5,"file":7,"name":"a""#;
        let version = r#","version":"98c2787ef419b480""#;
        let content = (7, "98c2787ef419b480".parse().unwrap());
        let written = format!(r#"{start}{version},"n":1,"parts":[{{"name":"a"}}]}}"#);
        let seen = |text: &str| {
            let mut line = text.as_bytes().to_vec();
            sum::add(&mut line, 0, sum::NONE);
            at_sight(&line)
        };
        assert_eq!(seen(&written), Some(Some(Seen::Written(content))));
        for other in [
            format!(r#"{start}{version},"n":1,"more":[{{}}]}}"#),
            format!(r#"{start}{version},"gone":true,"n":1,"parts":[{{"name":"a"}}]}}"#),
            format!(
                r#"{start}{version},"n":1,"parts":[{{"name":"a"}}],"gone":true,"more":[{{}}]}}"#
            ),
            format!(r#"{start},"gone":true{version},"n":1,"parts":[{{"name":"a"}}]}}"#),
            format!(
                r#"{start},"n":1,"was":[{{"at":1{version},"n":1,"parts":[{{"name":"a"}}]}}]}}"#
            ),
            format!(r#"{start},"gone":true,"n":0}}"#),
            format!(r#"{start},"parts":[{{"name":"a"}}],"n":0}}"#),
        ] {
            assert_eq!(seen(&other), None, "{other}");
        }
    }

    #[test]
    fn it_is_told_as_documented() {
        // `printf %s 1-0000000000000000-1 | b3sum`, the same of 2, and the sum of their first 16 digits.
        assert_eq!(waiting().to_string(), "2-a32ad7d90eb1bc7a");
    }

    #[test]
    fn a_journal_that_is_not_the_one_that_was_read_tells_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut rest = Rest::new("1");
        rest.reads(dir.path(), DecryptFact::FILE);
        let none_yet = rest.read[DecryptFact::FILE].clone();
        assert!(Waiting::taken_since(dir.path(), &none_yet).is_some());
        let mut journal = Journal::open(dir.path(), DecryptFact::FILE).unwrap();
        journal.append(&dropped(1, 1));
        journal.flush().unwrap();
        rest.reads(dir.path(), DecryptFact::FILE);
        let end = rest.read[DecryptFact::FILE].clone();
        assert!(Waiting::taken_since(dir.path(), &end).is_some());
        let other = Mark {
            sum: "00000000".into(),
            ..end.clone()
        };
        assert!(Waiting::taken_since(dir.path(), &other).is_none());
        let path = dir.path().join("decrypt.jsonl");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(Waiting::taken_since(dir.path(), &end).is_none());
    }
}
