//! What is in the tree that nobody recorded.

use std::path::{Path, PathBuf};

use ente_common::cli::Interrupt;
use ente_common::layout::STATE_DIR;
use walkdir::WalkDir;

/// What a walk came to.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    /// Files, links and the like that are not `known`: paths below the root, sorted.
    pub(crate) extras: Vec<PathBuf>,
    /// Folders that could not be read.
    pub(crate) unreadable: Vec<walkdir::Error>,
}

/// Walks the tree below `start`, which is `root` or lies in it, `.ente` left out, following no link. `known` are the recorded paths, sorted.
pub(crate) fn extras(root: &Path, start: &Path, known: &[&str], interrupt: &Interrupt) -> Walked {
    let mut walked = Walked::default();
    let entries = WalkDir::new(start)
        .min_depth(1)
        .into_iter()
        .filter_entry(|entry| entry.depth() != 1 || entry.file_name() != STATE_DIR);
    for entry in entries {
        if interrupt.is_set() {
            break;
        }
        match entry {
            Ok(entry) if entry.file_type().is_dir() => {}
            Ok(entry) => {
                let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
                if !is_known(path, known) {
                    walked.extras.push(path.to_owned());
                }
            }
            Err(error) => walked.unreadable.push(error),
        }
    }
    walked.extras.sort();
    walked
}

/// Recorded paths are text with `/`, whatever the platform writes between folders.
pub(crate) fn is_known(path: &Path, known: &[&str]) -> bool {
    let components: Option<Vec<&str>> = path.iter().map(|component| component.to_str()).collect();
    components.is_some_and(|components| known.binary_search(&components.join("/").as_str()).is_ok())
}
