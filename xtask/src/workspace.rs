//! The checkout: where it is and which files lie in it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;

/// The root of the checkout: cargo tells where this package lies.
pub(crate) fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let root = package.as_deref().and_then(Path::parent);
    root.unwrap_or(Path::new(".")).to_path_buf()
}

/// A text file of the checkout.
pub(crate) struct Source {
    /// Path below the root, with `/`.
    pub(crate) path: String,
    /// What it says.
    pub(crate) text: String,
}

impl Source {
    /// Holds nothing but tests and what they need.
    pub(crate) fn is_test(&self) -> bool {
        let of_a_tool = self.path.starts_with("crates/") && self.path.contains("/tests/");
        of_a_tool || self.path.starts_with("tests/it/") || self.path.ends_with("tests.rs")
    }

    /// The text up to the unit tests, which stand last in a file.
    pub(crate) fn without_tests(&self) -> &str {
        let tests = self.text.find("\n#[cfg(test)]\nmod ");
        tests.map_or(&self.text, |at| &self.text[..at])
    }
}

/// Every file of the checkout that is text, but for build products and test data, sorted by path.
pub(crate) fn sources(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let below = path
                .strip_prefix(root)?
                .to_string_lossy()
                .replace('\\', "/");
            let is_ours = !below.starts_with('.') || below.starts_with(".c");
            if path.is_dir() {
                if is_ours
                    && below != "target"
                    && below != "tests/golden"
                    && below != "tests/corpus"
                {
                    folders.push(path);
                }
            } else if is_ours && let Ok(text) = fs::read_to_string(&path) {
                sources.push(Source { path: below, text });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}
