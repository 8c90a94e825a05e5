//! Sees what is at a path: kind, size, time and, where asked, the digest of the content. Follows no link.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ente_common::cli::Interrupt;
use ente_common::digest::ContentHasher;
use ente_common::disk::mtime_us;
use ente_common::id::Version;
use ente_common::layout::{STATE_DIR, join};
use ente_common::manifest::{Export, Parked};
use ente_common::ui::Progress;

use crate::check::{Class, Digest, Seen, classify};
use crate::plan::{Expected, Subject, What, Written};

/// Plain reads of this size keep BLAKE3 busy; maps of files that may change under us would not be safe.
const PIECE_BYTES: u64 = 1 << 20;

/// Why a sidecar is not written, by the look of it.
const IN_THE_WAY: &str = "another file lies there; unless it is an older sidecar of this file, remove it to have one written";

/// Where files wait that are under way.
const PARTIAL: &str = ".ente/partial";

/// How closely files are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// By size and time.
    Quick,
    /// By the digest on record.
    Record,
    /// By the digest that the owner's device left, where it did; else by that on record.
    Origin,
}

/// What looking at one expectation came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is as it should be.
    Well,
    /// It is not; why, where more is known than the class.
    Wrong(Class, Option<String>),
    /// Whether it is cannot be told.
    Unreadable(io::Error),
    /// The run was stopped before it was looked at.
    Stopped,
}

/// Looks at the files of one export; shared by all threads.
pub(crate) struct Looker {
    root: PathBuf,
    how: How,
    interrupt: Interrupt,
    /// Of parts and their bytes; none where records are counted instead.
    progress: Option<Progress>,
    /// What the folders of the tree are, each looked at once.
    folders: Mutex<HashMap<String, Ground>>,
    bytes: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ground {
    Folder,
    Nothing,
    Other,
}

impl Looker {
    pub(crate) fn new(
        export: &Export,
        how: How,
        interrupt: Interrupt,
        progress: Option<Progress>,
    ) -> Self {
        Self {
            root: export.dir().to_owned(),
            how,
            interrupt,
            progress,
            folders: Mutex::default(),
            bytes: AtomicU64::new(0),
        }
    }

    /// Bytes read so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Takes the progress display away.
    pub(crate) fn finish(&self) {
        if let Some(progress) = &self.progress {
            progress.finish();
        }
    }

    /// Forgets what the folders were: a run that began meanwhile may have moved them.
    pub(crate) fn forget(&self) {
        lock(&self.folders).clear();
    }

    /// Whether anything is at `path`.
    pub(crate) fn is_there(&self, path: &str) -> bool {
        fs::symlink_metadata(join(&self.root, path)).is_ok()
    }

    /// Compares one expectation with what is there.
    pub(crate) fn check(&self, expected: &Expected) -> Outcome {
        if self.interrupt.is_set() {
            return Outcome::Stopped;
        }
        let (Some(path), Some(written)) = (&expected.path, &expected.written) else {
            let is_in_the_way =
                |path: &String| expected.subject.what == What::Sidecar && self.is_there(path);
            let cause = match expected.path.as_ref().is_some_and(is_in_the_way) {
                true => Some(IN_THE_WAY.to_owned()),
                false => expected.cause.clone(),
            };
            return Outcome::Wrong(Class::NotExported, cause);
        };
        let outcome = match self.look(path, written) {
            Ok(Some(seen)) => match classify(expected, &seen) {
                None => Outcome::Well,
                Some(Class::Missing) => self.missing(expected, written),
                Some(class @ (Class::NotExported | Class::Extra)) => {
                    Outcome::Wrong(class, expected.cause.clone())
                }
                Some(class) => Outcome::Wrong(class, None),
            },
            Ok(None) => Outcome::Stopped,
            Err(error) => Outcome::Unreadable(error),
        };
        if expected.subject.what.is_file()
            && let Some(progress) = &self.progress
        {
            match outcome {
                Outcome::Well => progress.file(),
                _ => progress.failed(),
            }
        }
        outcome
    }

    /// What is at `path`; the content is read only where it can tell more than the size. `None` when the run is to stop.
    fn look(&self, path: &str, written: &Written) -> io::Result<Option<Seen>> {
        match self.ground(path)? {
            Ground::Folder => {}
            Ground::Nothing => return Ok(Some(Seen::Nothing)),
            Ground::Other => return Ok(Some(Seen::Other)),
        }
        let path = join(&self.root, path);
        let Some(metadata) = stat(&path)? else {
            return Ok(Some(Seen::Nothing));
        };
        if !metadata.is_file() {
            return Ok(Some(Seen::Other));
        }
        let mut seen = (metadata.len(), mtime_us(&metadata), None);
        if self.how != How::Quick && metadata.len() == written.size {
            match self.digest(&path, written)? {
                Some(digest) => seen.2 = Some(digest),
                None => return Ok(None),
            }
        } else if let Some(progress) = self.progress.as_ref().filter(|_| self.how != How::Quick) {
            progress.bytes(written.size);
        }
        let (size, mtime, digest) = seen;
        Ok(Some(Seen::File {
            size,
            mtime,
            digest,
        }))
    }

    /// What the folders on the way to `path` are: none of those that hold albums may lead elsewhere.
    fn ground(&self, path: &str) -> io::Result<Ground> {
        if Path::new(path).starts_with(STATE_DIR) {
            // Where the repository lies, its owner may choose: objects take room.
            return Ok(Ground::Folder);
        }
        for (at, _) in path.match_indices('/') {
            let folder = &path[..at];
            let known = lock(&self.folders).get(folder).copied();
            let ground = match known {
                Some(ground) => ground,
                None => {
                    let ground = match stat(&join(&self.root, folder))? {
                        Some(metadata) if metadata.is_dir() => Ground::Folder,
                        Some(_) => Ground::Other,
                        None => Ground::Nothing,
                    };
                    lock(&self.folders).insert(folder.to_owned(), ground);
                    ground
                }
            };
            if ground != Ground::Folder {
                return Ok(ground);
            }
        }
        Ok(Ground::Folder)
    }

    /// The digest of a whole file that decides whether it is well; `None` when the run is to stop.
    fn digest(&self, path: &Path, written: &Written) -> io::Result<Option<Digest>> {
        let mut hasher = match written.origin {
            Some(_) if self.how == How::Origin => Hasher::Origin(Box::new(ContentHasher::new())),
            _ => Hasher::Blake3(Box::default()),
        };
        let is_whole = read_whole(path, written.size, |bytes| {
            hasher.update(bytes);
            self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            if let Some(progress) = &self.progress {
                progress.bytes(bytes.len() as u64);
            }
            !self.interrupt.is_set()
        })?;
        Ok(is_whole.then(|| hasher.finish()))
    }

    /// What to say of a file that is not in its place: a run that was cut off may have left it in `partial/` on its way there.
    fn missing(&self, expected: &Expected, written: &Written) -> Outcome {
        let path = expected.path.as_deref().unwrap_or_default();
        let parked = match self.under_way(&expected.subject, path) {
            Ok(Some(parked)) => parked,
            Ok(None) => return Outcome::Wrong(Class::Missing, None),
            Err(error) => return Outcome::Unreadable(error),
        };
        match self.look(&parked, written) {
            // The next run puts it back as it is.
            Ok(Some(seen)) if classify(expected, &seen) == Some(Class::Damaged) => {
                Outcome::Wrong(Class::Damaged, None)
            }
            Ok(Some(_)) => Outcome::Wrong(
                Class::NotExported,
                Some("an interrupted run left it in `.ente/partial`; the next run puts it in its place".into()),
            ),
            Ok(None) => Outcome::Stopped,
            Err(error) => Outcome::Unreadable(error),
        }
    }

    /// The path below the export of a file that waits in `partial/` on its way to `path`: by itself, in the folder of its album, or as that of
    /// the album that it left.
    fn under_way(&self, of: &Subject, path: &str) -> io::Result<Option<String>> {
        if of.what == What::Object {
            return Ok(None);
        }
        let key = (of.collection, of.file, of.part);
        let meta = |is_second| Parked::Meta { of: key, is_second };
        let parked = match (of.what, of.version) {
            (What::Content, Some(version)) => {
                vec![Parked::New(key, version), Parked::Old(key, version)]
            }
            (What::Sidecar, _) => vec![Parked::Sidecar(key), meta(false), meta(true)],
            _ => vec![],
        };
        let mut names: Vec<String> = parked.iter().map(Parked::to_string).collect();
        if let Some((_, below)) = path.split_once('/') {
            names.push(format!("{}/{below}", Parked::Album(of.collection)));
        }
        let paths = names.into_iter().map(|name| format!("{PARTIAL}/{name}"));
        let mut files = paths.filter(|path| join(&self.root, path).is_file());
        match (files.next(), of.what, of.version) {
            (None, What::Content, Some(version)) => self.on_the_move(of, version),
            (found, ..) => Ok(found),
        }
    }

    /// As [`under_way`](Self::under_way), of a part that was in any album.
    fn on_the_move(&self, of: &Subject, version: Version) -> io::Result<Option<String>> {
        let entries = match fs::read_dir(join(&self.root, PARTIAL)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name();
            let parked = name.to_str().and_then(Parked::parse);
            if let Some(parked @ Parked::Old((_, file, part), found)) = parked
                && (file, part, found) == (of.file, of.part, version)
            {
                return Ok(Some(format!("{PARTIAL}/{parked}")));
            }
        }
        Ok(None)
    }
}

/// Computes the digest that is asked for.
enum Hasher {
    Blake3(Box<blake3::Hasher>),
    Origin(Box<ContentHasher>),
}

impl Hasher {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Blake3(hasher) => {
                // Threads that are idle help.
                hasher.update_rayon(bytes);
            }
            Self::Origin(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> Digest {
        match self {
            Self::Blake3(hasher) => Digest::Blake3(hasher.finalize()),
            Self::Origin(hasher) => Digest::Origin(hasher.finish()),
        }
    }
}

/// Reads a file of about `size` bytes to its end, piece by piece; `false` where `take` wanted no more. Where there is more than one piece, the next
/// is read while one is taken, if a thread is idle.
pub(crate) fn read_whole(
    path: &Path,
    size: u64,
    mut take: impl FnMut(&[u8]) -> bool + Send,
) -> io::Result<bool> {
    let mut file = File::open(path)?;
    // One byte more than there should be, so that the end shows.
    let mut piece = vec![0; size.saturating_add(1).min(PIECE_BYTES) as usize];
    let mut filled = fill(&mut file, &mut piece)?;
    if filled < piece.len() {
        return Ok(take(&piece[..filled]));
    }
    let mut next = vec![0; PIECE_BYTES as usize];
    while filled > 0 {
        let (read, goes_on) = rayon::join(|| fill(&mut file, &mut next), || take(&piece[..filled]));
        if !goes_on {
            return Ok(false);
        }
        filled = read?;
        std::mem::swap(&mut piece, &mut next);
    }
    Ok(true)
}

/// Reads until the piece is full or the file at its end; tells how much that was.
fn fill(file: &mut File, piece: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < piece.len() {
        match file.read(&mut piece[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// What is at `path` itself; `None` if nothing is.
fn stat(path: &Path) -> io::Result<Option<fs::Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_whatever_its_record_says() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let piece = PIECE_BYTES as usize;
        for size in [0, 1, piece - 1, piece, piece + 1, 3 * piece, 3 * piece + 7] {
            let content: Vec<u8> = (0..size).map(|at| (at / 251) as u8).collect();
            fs::write(&path, &content).unwrap();
            for told in [0, 1, size / 2, size, size + 1, usize::MAX] {
                let mut read = Vec::new();
                let is_whole = read_whole(&path, told as u64, |bytes| {
                    read.extend_from_slice(bytes);
                    true
                });
                assert!(is_whole.unwrap());
                assert!(read == content, "{size} told as {told}");
            }
        }
    }

    #[test]
    fn who_wants_no_more_gets_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, vec![7; 4 * PIECE_BYTES as usize]).unwrap();
        let mut pieces = 0;
        let is_whole = read_whole(&path, 4 * PIECE_BYTES, |_| {
            pieces += 1;
            pieces < 2
        });
        assert!(!is_whole.unwrap());
        assert_eq!(pieces, 2);
        assert!(read_whole(dir.path(), 4, |_| true).is_err());
    }
}
