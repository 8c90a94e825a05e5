//! What a file system makes of names.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization as _;

/// The limits of a file system.
#[derive(Clone, Copy, Debug)]
pub struct Nature {
    /// The longest name that it takes, in bytes; in UTF-16 units where it decomposes.
    pub name_bytes: usize,
    /// The longest name that it claims to take.
    pub claimed_bytes: u32,
    /// Names that differ in case or Unicode form only are the same, as on APFS and NTFS.
    pub folds: bool,
    /// Names are stored decomposed, as on HFS+.
    pub decomposes: bool,
}

impl Default for Nature {
    fn default() -> Self {
        Self {
            name_bytes: 255,
            claimed_bytes: 255,
            folds: false,
            decomposes: false,
        }
    }
}

impl Nature {
    /// The path that `name` in `folder` stands for, whether there is something or not.
    ///
    /// # Errors
    /// `ENAMETOOLONG`.
    pub(super) fn resolve(&self, folder: &Path, name: &OsStr) -> io::Result<PathBuf> {
        let name = match name.to_str() {
            Some(text) if self.decomposes => OsString::from(text.nfd().collect::<String>()),
            _ => name.to_owned(),
        };
        let length = match name.to_str() {
            Some(text) if self.decomposes => text.encode_utf16().count(),
            _ => name.len(),
        };
        if length > self.name_bytes {
            return Err(rustix::io::Errno::NAMETOOLONG.into());
        }
        let path = folder.join(&name);
        if !self.folds || fs::symlink_metadata(&path).is_ok() {
            return Ok(path);
        }
        let wanted = folded(&name);
        let mut there = fs::read_dir(folder)?.flatten();
        let same = there.find(|entry| folded(&entry.file_name()) == wanted);
        Ok(same.map_or(path, |entry| entry.path()))
    }
}

fn folded(name: &OsStr) -> String {
    let name = name.to_string_lossy();
    let folded = caseless::default_case_fold_str(&name.nfd().collect::<String>());
    folded.nfd().collect()
}
