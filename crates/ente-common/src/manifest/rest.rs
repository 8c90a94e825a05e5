//! The last word of a tool that has nothing left to do: while nothing changed since, the next run reads the ends of the journals alone,
//! however many files there are.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Parked;
use super::facts::DecryptFact;
use super::follow::Follow;
use super::journal::{Facts, check_format, journal_path, kind_of, last_lines, read_line};
use super::sum;
use super::waiting::Waiting;

/// The kind of the fact.
const KIND: &str = "rest";

/// The journals of an export.
const JOURNALS: [&str; 4] = ["pull", "decrypt", "meta", "verify"];

/// The longest rest that is looked for.
const MAX_REST_BYTES: u64 = 16 << 10;
/// Where more came since, reading everything costs little beside it.
const MAX_TAIL_BYTES: u64 = 1 << 20;

/// A place between two lines of a journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Bytes before it.
    pub bytes: u64,
    /// The sum of the line before it, which is one of all that stands there: after a power cut, or from a copy, other lines of the same length may.
    pub sum: String,
}

impl Mark {
    /// A place by its offset and the sum of the line that ends there.
    pub(super) fn new(bytes: u64, above: u32) -> Self {
        Self {
            bytes,
            sum: format!("{above:08x}"),
        }
    }

    /// Goes through the lines after it and tells where the last of them ends; `None` where one is refused, the mark is not there, much came
    /// since, or something is odd.
    pub(super) fn each_since(
        &self,
        state_dir: &Path,
        journal: &str,
        mut takes: impl FnMut(&[u8]) -> bool,
    ) -> Option<u64> {
        let mut follow = Follow::after(state_dir, journal, self).ok()??;
        if follow.left().ok()? > MAX_TAIL_BYTES {
            return None;
        }
        let mut are_taken = true;
        let copy = |line: &[u8]| Ok(Some(line.to_vec()));
        let result = follow.read_lines(u64::MAX, copy, |line| {
            are_taken = are_taken && takes(&line);
        });
        result.ok()?;
        are_taken.then(|| follow.end().bytes)
    }

    /// The sum of the line before it; `None` where the mark is not in this file.
    pub(super) fn above_in(&self, file: &File) -> io::Result<Option<u32>> {
        if file.metadata()?.len() < self.bytes {
            return Ok(None);
        }
        let above = sum::above(file, self.bytes)?;
        Ok((Self::new(self.bytes, above) == *self).then_some(above))
    }

    /// The end of a journal.
    fn end_of(path: &Path) -> io::Result<Self> {
        let journal = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::new(0, sum::NONE));
            }
            journal => journal?,
        };
        let bytes = journal.metadata()?.len();
        Ok(Self::new(bytes, sum::above(&journal, bytes)?))
    }
}

/// Nothing is left to do. It holds as its writer's last fact, while the journals that it names have brought nothing since that matters to the
/// writer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rest {
    /// How far other journals, by name, were taken in.
    pub read: BTreeMap<String, Mark>,
    /// What else it rests upon, by name, as its writer sees fit.
    pub given: BTreeMap<String, String>,
    /// Objects that were left to `ente-decrypt`, as [`Waiting`] tells them: nothing is left to do once it exported them all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
}

impl Rest {
    /// Nothing is read yet. Other releases may find something to do where this one does not.
    pub fn new(release: &str) -> Self {
        Self {
            read: BTreeMap::new(),
            given: BTreeMap::from([("release".to_owned(), release.to_owned())]),
            waiting: None,
        }
    }

    /// Takes the present end of a journal, before that is read.
    pub fn reads(&mut self, state_dir: &Path, journal: &str) {
        // Of one that cannot be looked at, nothing was taken in.
        let end = Mark::end_of(&journal_path(state_dir, journal)).unwrap_or_default();
        self.read.insert(journal.to_owned(), end);
    }

    /// The last rest of the journal of `F` for which nothing waits any longer, and where it ends, if little came after it and all journals are of a
    /// known format.
    pub(super) fn latest<F: Facts>(state_dir: &Path) -> Option<(Self, Mark)> {
        if !all_begin_well(state_dir) {
            return None;
        }
        last_lines(&journal_path(state_dir, F::FILE), MAX_TAIL_BYTES)
            .ok()?
            .into_iter()
            .rev()
            .filter(|(line, _)| kind_of(line).is_ok_and(|kind| kind == KIND))
            .enumerate()
            .find_map(|(newer, (line, end))| {
                let rest: Self = serde_json::from_slice(&line).ok()?;
                if newer > 0 && rest.waiting.is_some() {
                    // The newest waited for some of the same.
                    return None;
                }
                Some((rest.settled(state_dir)?, end))
            })
    }

    /// The rest as it is now that `ente-decrypt` exported what waited; `None` where it did not, or did more.
    fn settled(mut self, state_dir: &Path) -> Option<Self> {
        let Some(waiting) = self.waiting.take() else {
            return Some(self);
        };
        let read = self.read.get_mut(DecryptFact::FILE)?;
        let (taken, end) = Waiting::taken_since(state_dir, read)?;
        *read = end;
        (taken.to_string() == waiting).then_some(self)
    }

    /// The rest that the journal of `F` ends with, in an export where all journals are of a known format.
    pub fn last<F: Facts>(state_dir: &Path) -> Option<Self> {
        if !all_begin_well(state_dir) {
            return None;
        }
        let path = journal_path(state_dir, F::FILE);
        let (line, _) = last_lines(&path, MAX_REST_BYTES).ok()?.pop()?;
        let is_rest = kind_of(&line).is_ok_and(|kind| kind == KIND);
        is_rest.then(|| serde_json::from_slice(&line).ok())?
    }

    /// Nothing waits, and the journals that were read say nothing new: but for rests, and for facts of which `is_idle` holds, told their journal and kind.
    ///
    /// Anything odd is news, so that whoever reads the whole finds out.
    pub fn holds(&self, state_dir: &Path, is_idle: impl Fn(&str, &str) -> bool) -> bool {
        let mut read = self.read.iter();
        self.waiting.is_none()
            && read.all(|(journal, mark)| {
                let is_idle = |line: &[u8]| {
                    kind_of(line).is_ok_and(|kind| kind == KIND || is_idle(journal, &kind))
                };
                mark.each_since(state_dir, journal, is_idle).is_some()
            })
    }
}

/// A run that was killed, or that goes on, may have left something that no journal tells: the lock of `tool`, or whole files that wait.
pub fn is_disturbed(state_dir: &Path, tool: &str) -> bool {
    // Parts of downloads alone are nothing to anybody but `ente-pull`, which knows of them.
    is_disturbed_by(state_dir, tool, |name| {
        !matches!(Parked::parse(name), Some(Parked::Download(_)))
    })
}

/// As [`is_disturbed`], where other tools may be at work, and of what waits only some `matters`, by its name.
pub fn is_disturbed_by(state_dir: &Path, tool: &str, matters: impl Fn(&str) -> bool) -> bool {
    let lock = state_dir.join(format!("{tool}.lock"));
    let waits = |entry: io::Result<fs::DirEntry>| {
        let name = entry.map(|entry| entry.file_name());
        name.map_or(true, |name| matters(&name.to_string_lossy()))
    };
    let partial = match fs::read_dir(state_dir.join("partial")) {
        Ok(mut entries) => entries.any(waits),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    };
    partial || fs::symlink_metadata(lock).is_ok()
}

/// All journals that are there are of a known format.
fn all_begin_well(state_dir: &Path) -> bool {
    let mut paths = JOURNALS
        .map(|name| journal_path(state_dir, name))
        .into_iter();
    paths.all(|path| begins_well(&path).unwrap_or(false))
}

/// The head of the journal is of a format that is known here, or there is none.
fn begins_well(path: &Path) -> io::Result<bool> {
    let journal = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        journal => journal?,
    };
    let mut head = Vec::new();
    Ok(read_line(&mut BufReader::new(journal), &mut head)? && check_format(path, &head).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Journal;
    use crate::manifest::facts::{
        Checked, DecryptFact, Listing, MetaFact, PullFact, Setting, VerifyFact,
    };

    fn append<F: Facts>(dir: &Path, fact: F) {
        let mut journal = Journal::open(dir, F::FILE).unwrap();
        journal.append(&fact);
        journal.sync().unwrap();
    }

    fn setting() -> Setting {
        Setting {
            name: "a".into(),
            value: "b".into(),
        }
    }

    /// `ente-meta` at rest over what the others wrote.
    fn scene() -> (tempfile::TempDir, Rest) {
        let dir = tempfile::tempdir().unwrap();
        append(dir.path(), PullFact::Listing(Listing::default()));
        append(dir.path(), DecryptFact::Setting(setting()));
        let mut rest = Rest::new("1");
        for journal in ["pull", "decrypt", "verify"] {
            rest.reads(dir.path(), journal);
        }
        append(dir.path(), MetaFact::Rest(rest.clone()));
        (dir, rest)
    }

    fn holds(dir: &Path) -> bool {
        let is_idle = |journal: &str, kind: &str| (journal, kind) == ("verify", "checked");
        Rest::last::<MetaFact>(dir).is_some_and(|rest| rest.holds(dir, is_idle))
    }

    #[test]
    fn a_rest_is_found_and_outlasts_what_is_idle() {
        let (dir, rest) = scene();
        assert_eq!(Rest::last::<MetaFact>(dir.path()), Some(rest.clone()));
        assert!(holds(dir.path()));
        append(dir.path(), VerifyFact::Checked(Checked::default()));
        append(dir.path(), PullFact::Rest(rest));
        assert!(holds(dir.path()));
        append(dir.path(), PullFact::Listing(Listing::default()));
        assert!(!holds(dir.path()), "there may be work");
    }

    #[test]
    fn a_rest_ends_with_the_next_fact_of_its_writer() {
        let (dir, _) = scene();
        append(dir.path(), MetaFact::Setting(setting()));
        assert!(!holds(dir.path()));
    }

    #[test]
    fn what_is_shorter_torn_or_changed_is_no_rest() {
        for (journal, change) in [
            ("decrypt", "cut"),
            ("decrypt", "gone"),
            ("meta", "cut"),
            ("meta", "flip"),
            ("meta", "torn"),
            ("meta", "newer"),
            ("pull", "newer"),
            ("pull", "another"),
        ] {
            let (dir, _) = scene();
            let path = journal_path(dir.path(), journal);
            let mut bytes = fs::read(&path).unwrap();
            match change {
                "cut" => bytes.truncate(bytes.len() - 1),
                "torn" => bytes.extend_from_slice(b"{\"fact\":"),
                "flip" => {
                    let at = bytes.len() - 40;
                    bytes[at] ^= 1;
                }
                "another" => {
                    let text = String::from_utf8(bytes).unwrap();
                    let (mut lines, mut above) = (Vec::new(), sum::NONE);
                    for line in text.replace(r#""when":0"#, r#""when":1"#).lines() {
                        let body = line.split_once(r#","sum""#).unwrap().0;
                        let start = lines.len();
                        lines.extend_from_slice(format!("{body}}}").as_bytes());
                        above = sum::add(&mut lines, start, above);
                        lines.push(b'\n');
                    }
                    assert_eq!(lines.len(), text.len());
                    bytes = lines;
                }
                "newer" => {
                    let text = String::from_utf8(bytes).unwrap();
                    bytes = text
                        .replacen("\"format\":1", "\"format\":2", 1)
                        .into_bytes();
                }
                _ => {}
            }
            match change {
                "gone" => fs::remove_file(&path).unwrap(),
                _ => fs::write(&path, bytes).unwrap(),
            }
            assert!(!holds(dir.path()), "{journal} {change}");
        }
    }

    #[test]
    fn what_a_killed_run_left_disturbs() {
        let dir = tempfile::tempdir().unwrap();
        let partial = dir.path().join("partial");
        assert!(!is_disturbed(dir.path(), "meta"));
        fs::create_dir(&partial).unwrap();
        fs::write(partial.join("get-1-0011223344556677"), "").unwrap();
        assert!(!is_disturbed(dir.path(), "meta"));
        fs::write(partial.join("meta-1-2-0"), "").unwrap();
        assert!(is_disturbed(dir.path(), "meta"));
        fs::remove_file(partial.join("meta-1-2-0")).unwrap();
        fs::write(dir.path().join("meta.lock"), "").unwrap();
        assert!(is_disturbed(dir.path(), "meta") && !is_disturbed(dir.path(), "decrypt"));
    }
}
