//! A file under way that goes when nobody takes it.

use std::fs;
use std::io;
use std::mem;
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// A file in `partial/` that is removed when it is dropped, so that whatever fails leaves no plaintext there. What a kill leaves, the next start
/// removes.
#[derive(Debug)]
pub(crate) struct Draft(PathBuf);

impl Draft {
    /// The file at `path`, which need not be there yet. Nobody else may use that name.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Takes another name, and the place of what bears it; it is still removed when it is dropped.
    ///
    /// # Errors
    /// When it cannot be renamed; it is then removed.
    pub(crate) fn rename(mut self, to: PathBuf) -> io::Result<Self> {
        fs::rename(&self.0, &to)?;
        self.0 = to;
        Ok(self)
    }

    /// Leaves the file where it is.
    pub(crate) fn keep(mut self) -> PathBuf {
        mem::take(&mut self.0)
    }
}

impl Deref for Draft {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            // It may not have been made; and what stays is removed by the next start.
            let _ = fs::remove_file(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_kept_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let draft = |name: &str| {
            fs::write(path(name), name).unwrap();
            Draft::new(path(name))
        };
        drop(draft("a"));
        drop(Draft::new(path("never made")));
        let kept = draft("b").rename(path("c")).unwrap().keep();
        drop(draft("d").rename(path("e")).unwrap());
        assert!(draft("f").rename(path("no/folder")).is_err());
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!((left.len(), kept), (1, path("c")), "{left:?}");
    }
}
