//! Fuzz targets: what every parser must keep to, whatever it is given.
//!
//! A target takes bytes and panics when an invariant is broken. [`driver`] feeds it on stable Rust, in `cargo test` and in `cargo xtask fuzz`; with
//! `--guided`, libFuzzer does. Inputs worth keeping lie in `tests/corpus/TARGET`. `docs/reliability.md` says how to run them and what they found.

pub mod driver;
mod targets;

use std::path::{Path, PathBuf};

/// A parser and what holds for it.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What it is called on the command line; its corpus bears that name too.
    pub name: &'static str,
    /// Panics when an invariant is broken.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 9] = [
    Target {
        name: "record",
        run: targets::record::run,
    },
    Target {
        name: "manifest",
        run: targets::manifest::run,
    },
    Target {
        name: "wire",
        run: targets::wire::run,
    },
    Target {
        name: "stream",
        run: targets::stream::run,
    },
    Target {
        name: "zip",
        run: targets::zip::run,
    },
    Target {
        name: "names",
        run: targets::names::run,
    },
    Target {
        name: "sidecar",
        run: targets::sidecar::run,
    },
    Target {
        name: "keystore",
        run: targets::keystore::run,
    },
    Target {
        name: "screen",
        run: targets::screen::run,
    },
];

impl Target {
    /// The target of this name.
    pub fn named(name: &str) -> Option<Self> {
        TARGETS.into_iter().find(|target| target.name == name)
    }

    /// Where its inputs lie.
    pub fn folder(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(self.name)
    }

    /// Its inputs, in the order of their names.
    ///
    /// # Panics
    /// If they cannot be read.
    pub fn corpus(&self) -> Vec<Vec<u8>> {
        let listing = std::fs::read_dir(self.folder()).expect("every target has a corpus");
        let mut paths: Vec<PathBuf> = listing
            .map(|entry| entry.expect("the corpus can be read").path())
            .collect();
        paths.sort();
        let read = |path| std::fs::read(path).expect("the corpus can be read");
        paths.into_iter().map(read).collect()
    }
}
