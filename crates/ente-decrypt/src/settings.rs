//! The settings that this tool owns: stored as facts at their first use, changed by naming another value later.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use clap::ValueEnum;
use ente_common::manifest::State;
use ente_common::manifest::facts::{DecryptFact, How, Setting};
use ente_common::manifest::parked;
use ente_common::manifest::setting::{OnRemove, stored, word};
use ente_common::naming::MAX_NAME_BYTES;

/// Which time an exported file bears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mtime {
    /// When the picture was taken.
    #[default]
    Taken,
    /// When the original was last modified.
    Modified,
    /// When it was written here.
    Now,
}

impl Mtime {
    /// The time to set, in microseconds; `None` leaves the time of writing.
    pub(crate) fn pick(self, taken: Option<i64>, modified: Option<i64>) -> Option<i64> {
        match self {
            Self::Taken => taken.or(modified),
            Self::Modified => modified.or(taken),
            Self::Now => None,
        }
    }
}

/// How a file gets into its second album.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LinkMode {
    /// The first that works of: reflink, hard link, copy.
    #[default]
    Auto,
    /// A copy that shares its blocks until one of the two changes.
    Reflink,
    /// A second name of the same file.
    Hard,
    /// A copy.
    Copy,
}

impl LinkMode {
    /// What is made so; `None` where any will do.
    pub(crate) fn how(self) -> Option<How> {
        match self {
            Self::Auto => None,
            Self::Reflink => Some(How::Reflink),
            Self::Hard => Some(How::Hard),
            Self::Copy => Some(How::Copy),
        }
    }
}

/// What holds in this run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// Which time files bear.
    pub mtime: Mtime,
    /// How further placements are made.
    pub link: LinkMode,
    /// What becomes of removed files.
    pub on_remove: OnRemove,
    /// The longest name that the file system takes, in bytes, less what a sidecar adds.
    pub name_bytes: usize,
    /// Objects stay after they were decrypted; `ente-pull` owns this one.
    pub keeps_objects: bool,
    /// Facts that are still to be stored.
    pub news: Vec<DecryptFact>,
    /// Files written before bear another time than `mtime` asks for.
    pub redates: bool,
}

impl Settings {
    /// What the command line asks for, else what is stored, else the default. `probe` tells the longest name that the file system takes.
    pub(crate) fn new(
        state: &State,
        mtime: Option<Mtime>,
        link: Option<LinkMode>,
        on_remove: Option<OnRemove>,
        probe: impl FnOnce() -> usize,
    ) -> Self {
        let mut news = Vec::new();
        let settings = &state.decrypt.settings;
        let was: Mtime = stored(settings, "mtime").unwrap_or_default();
        let mtime = settle("mtime", mtime, settings, &mut news);
        let name_bytes = settings.get("name_bytes");
        let name_bytes = match name_bytes.and_then(|value| value.parse().ok()) {
            Some(bytes) => bytes,
            None => {
                let bytes = probe().clamp(SHORTEST, MAX_NAME_BYTES);
                news.push(fact("name_bytes", bytes.to_string()));
                bytes
            }
        };
        Self {
            mtime,
            link: settle("link", link, settings, &mut news),
            on_remove: settle("on_remove", on_remove, settings, &mut news),
            name_bytes,
            keeps_objects: state.pull.keeps_objects(),
            redates: mtime != was && mtime != Mtime::Now,
            news,
        }
    }

    /// Takes out the facts that are to be stored now: another time for all files only once `are_dated`, or the next run would not go on with it.
    pub(crate) fn take_news(&mut self, are_dated: bool) -> Vec<DecryptFact> {
        let is_later = |fact: &DecryptFact| {
            self.redates
                && !are_dated
                && matches!(fact, DecryptFact::Setting(it) if it.name == "mtime")
        };
        let news = std::mem::take(&mut self.news).into_iter();
        let (later, now) = news.partition(is_later);
        self.news = later;
        now
    }

    /// Something was asked for that is not stored yet; the probed length of names alone is nothing to write for.
    pub(crate) fn changed(&self) -> bool {
        self.news.iter().any(
            |fact| !matches!(fact, DecryptFact::Setting(setting) if setting.name == "name_bytes"),
        )
    }
}

/// The longest name that the file system of a folder takes, in bytes, with room for the ending of a sidecar. With `tries` it is asked by
/// making a file there for a moment: encrypted and network file systems claim more than they take.
pub(crate) fn longest_name(dir: &Path, tries: bool) -> usize {
    let claimed = claimed_name(dir);
    let takes = |length: usize| {
        // In `partial/`, a start that finds such a file removes it.
        let path = dir.join(format!("{:x<length$}", parked::HALF));
        match fs::File::create_new(&path) {
            Ok(_) => {
                let _ = fs::remove_file(path);
                true
            }
            // What fails for another reason says nothing about names.
            Err(error) => error.kind() != io::ErrorKind::InvalidFilename,
        }
    };
    let longest = match tries && !takes(claimed) {
        true => {
            let lengths: Vec<usize> = (SHORTEST..claimed).collect();
            SHORTEST + lengths.partition_point(|length| takes(*length)) - 1
        }
        false => claimed,
    };
    longest.saturating_sub(".json".len())
}

/// No file system that can hold an export takes less.
const SHORTEST: usize = 64;

fn claimed_name(dir: &Path) -> usize {
    const USUAL: usize = 255;
    #[cfg(unix)]
    if let Ok(found) = rustix::fs::statvfs(dir) {
        return usize::try_from(found.f_namemax).map_or(USUAL, |claimed| claimed.min(USUAL));
    }
    #[cfg(not(unix))]
    let _ = dir;
    USUAL
}

fn settle<T: ValueEnum + Default + PartialEq>(
    name: &str,
    asked: Option<T>,
    settings: &BTreeMap<String, String>,
    news: &mut Vec<DecryptFact>,
) -> T {
    let Some(asked) = asked else {
        return stored(settings, name).unwrap_or_default();
    };
    let value = word(&asked);
    if settings.get(name) != Some(&value) {
        news.push(fact(name, value));
    }
    asked
}

fn fact(name: &str, value: String) -> DecryptFact {
    DecryptFact::Setting(Setting {
        name: name.to_owned(),
        value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(stored: &[(&str, &str)], mtime: Option<Mtime>) -> Settings {
        let mut state = State::default();
        for (name, value) in stored {
            state.decrypt.apply(fact(name, (*value).to_owned()));
        }
        Settings::new(&state, mtime, None, None, || 250)
    }

    #[test]
    fn asking_for_the_longest_name_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(longest_name(dir.path(), true), 250);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_setting_is_stored_when_it_is_asked_for_and_not_stored_yet() {
        let stored = |settings: &Settings| -> Vec<String> {
            let text = |fact: &DecryptFact| match fact {
                DecryptFact::Setting(setting) => format!("{}={}", setting.name, setting.value),
                other => panic!("{other:?}"),
            };
            settings.news.iter().map(text).collect()
        };
        let first = settings(&[], None);
        assert_eq!(stored(&first), ["name_bytes=250"]);
        assert!(!first.changed() && !first.redates);
        let asked = settings(&[("name_bytes", "143")], Some(Mtime::Taken));
        assert_eq!(stored(&asked), ["mtime=taken"]);
        assert!(asked.changed() && !asked.redates);
        assert_eq!(asked.name_bytes, 143);
        let other = settings(
            &[("name_bytes", "250"), ("mtime", "taken")],
            Some(Mtime::Modified),
        );
        assert_eq!(stored(&other), ["mtime=modified"]);
        assert!(other.redates, "files written before are dated anew");
        let again = settings(&[("name_bytes", "250"), ("mtime", "modified")], None);
        assert!(again.news.is_empty() && !again.redates);
        assert_eq!(again.mtime, Mtime::Modified);
    }
}
