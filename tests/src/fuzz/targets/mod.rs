//! The targets, a file each. Oracles are other implementations, the standard library, or what two ways of reading must have in common.

pub(super) mod keystore;
pub(super) mod manifest;
pub(super) mod names;
pub(super) mod record;
pub(super) mod screen;
pub(super) mod sidecar;
pub(super) mod stream;
pub(super) mod wire;
pub(super) mod zip;

use std::path::Path;

use tempfile::TempDir;

/// A folder for one input's files; in memory where the platform has a place for that.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    made.expect("a scratch folder")
}

/// A number in `0..=most` made of all of `data`: where to cut it, for example.
fn spread(data: &[u8], most: usize) -> usize {
    let sum = data
        .iter()
        .fold(7_usize, |sum, &byte| sum.wrapping_mul(31) ^ byte as usize);
    sum % (most + 1)
}
