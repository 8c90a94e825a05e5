//! What is in the tree that nobody recorded.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};
use std::sync::OnceLock;

use ente_common::cli::Interrupt;
use ente_common::layout::STATE_DIR;
use ente_common::naming::composed;
use rayon::prelude::*;
use walkdir::{DirEntry, WalkDir};

/// What a walk came to.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    /// Files, links and the like that are not `known`: paths below the root, sorted.
    pub(crate) extras: Vec<PathBuf>,
    /// Folders that could not be read.
    pub(crate) unreadable: Vec<walkdir::Error>,
}

/// Walks the tree below `start`, which is `root` or lies in it, `.ente` left out, following no link. `known` are the recorded paths.
pub(crate) fn extras(
    root: &Path,
    start: &Path,
    known: &Known<'_>,
    interrupt: &Interrupt,
) -> Walked {
    let top = WalkDir::new(start).min_depth(1).max_depth(1).into_iter();
    let top = top.filter_entry(|entry| entry.file_name() != STATE_DIR);
    let top: Vec<_> = top.collect();
    let below = |entry: walkdir::Result<DirEntry>| {
        let mut walked = Walked::default();
        match entry {
            Ok(entry) => {
                let mut entries = WalkDir::new(entry.path())
                    .follow_root_links(false)
                    .into_iter();
                while let Some(entry) = entries.next().filter(|_| !interrupt.is_set()) {
                    walked.take(entry, root, known);
                }
            }
            Err(error) => walked.unreadable.push(error),
        }
        walked
    };
    let all = top.into_par_iter().with_max_len(1).map(below);
    let mut walked = all.reduce(Walked::default, |mut all, one| {
        all.extras.extend(one.extras);
        all.unreadable.extend(one.unreadable);
        all
    });
    walked.extras.sort();
    walked
}

impl Walked {
    fn take(&mut self, entry: walkdir::Result<DirEntry>, root: &Path, known: &Known<'_>) {
        match entry {
            Ok(entry) if entry.file_type().is_dir() => {}
            Ok(entry) => {
                let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
                if !known.has(path) {
                    self.extras.push(path.to_owned());
                }
            }
            Err(error) => self.unreadable.push(error),
        }
    }
}

/// The recorded paths: text with `/`, whatever the platform writes between folders.
pub(crate) struct Known<'a> {
    /// Sorted.
    paths: &'a [&'a str],
    /// Their composed forms, made when the first path is not found as it is: some file systems list names decomposed.
    composed: OnceLock<HashSet<String>>,
}

impl<'a> Known<'a> {
    pub(crate) fn new(paths: &'a [&'a str]) -> Self {
        Self {
            paths,
            composed: OnceLock::new(),
        }
    }

    pub(crate) fn has(&self, path: &Path) -> bool {
        let Some(path) = path.to_str() else {
            return false;
        };
        let path = match MAIN_SEPARATOR {
            '/' => Cow::Borrowed(path),
            separator => Cow::Owned(path.replace(separator, "/")),
        };
        if self.paths.binary_search(&&*path).is_ok() {
            return true;
        }
        let odd = || self.paths.iter().filter(|path| !path.is_ascii());
        let composed = self
            .composed
            .get_or_init(|| odd().map(|path| composed(path)).collect());
        !path.is_ascii() && composed.contains(&self::composed(&path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_listed_in_another_form_is_known() {
        let paths = [
            "A/Cafe\u{301}.jpg",
            "B/Café.jpg",
            "C/x.jpg",
            "É/e\u{301}.jpg",
        ];
        let known = Known::new(&paths);
        for (path, expected) in [
            ("C/x.jpg", true),
            ("A/Cafe\u{301}.jpg", true),
            ("B/Cafe\u{301}.jpg", true),
            ("E\u{301}/e\u{301}.jpg", true),
            ("C/X.jpg", false),
            ("C", false),
        ] {
            assert_eq!(known.has(Path::new(path)), expected, "{path}");
        }
    }
}
