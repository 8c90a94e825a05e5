//! What there is of an object so far: a file in `partial/`, and the hash of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::download::Trouble;

/// What is handed to the other thread at once, and how often that may wait there.
const HANDED_BYTES: usize = 256 << 10;
const MOST_WAITING: usize = 4;

/// What there is of an object so far.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) path: PathBuf,
    file: Option<File>,
    hasher: blake3::Hasher,
    pub(crate) len: u64,
}

impl Part {
    /// Takes up what an earlier run left; begins afresh where that is too long to be of this object.
    pub(crate) fn open(path: &Path, size: Option<u64>) -> Result<Self, Trouble> {
        let mut part = Self::nothing(path);
        let found = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(part),
            result => result,
        };
        let read = found.and_then(|found| {
            part.len = found.metadata()?.len();
            part.hasher.update_reader(found)?;
            Ok(())
        });
        read.map_err(|error| part.disk(error))?;
        if size.is_some_and(|size| part.len > size) {
            part.restart()?;
        }
        Ok(part)
    }

    fn nothing(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            file: None,
            hasher: blake3::Hasher::new(),
            len: 0,
        }
    }

    /// Of all that is there.
    pub(crate) fn blake3(&self) -> blake3::Hash {
        self.hasher.finalize()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let file = match &mut self.file {
            Some(file) => Ok(file),
            none => {
                let opened = OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(&self.path);
                opened.map(|file| none.insert(file))
            }
        };
        file.and_then(|file| file.write_all(bytes))
            .map_err(|error| self.disk(error))?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Forgets what there is.
    pub(crate) fn restart(&mut self) -> Result<(), Trouble> {
        self.file = None;
        self.hasher.reset();
        self.len = 0;
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.disk(error)),
            _ => Ok(()),
        }
    }

    fn disk(&self, error: io::Error) -> Trouble {
        Trouble::Disk(self.path.clone(), error)
    }
}

/// Takes what comes of one answer.
pub(crate) enum Sink<'a> {
    /// Writes and hashes at once.
    Here(&'a mut Part),
    /// Lets another thread do so while more comes: for large objects, with some megabytes in memory.
    Beside(Beside<'a>),
}

/// A part on another thread, until [`Sink::finish`]. What it holds, it copied: a chunk may keep far more memory than it has bytes.
pub(crate) struct Beside<'a> {
    part: &'a mut Part,
    writing: JoinHandle<(Part, Result<(), Trouble>)>,
    /// Nothing once all was handed over.
    to_write: Option<mpsc::Sender<Vec<u8>>>,
    bytes: Vec<u8>,
}

impl<'a> Sink<'a> {
    /// The permit is given back when nothing more is written, also where the sink is dropped before.
    pub(crate) fn beside(part: &'a mut Part, permit: OwnedSemaphorePermit) -> Self {
        let mut away = Part::nothing(&part.path);
        std::mem::swap(&mut away, part);
        let (to_write, mut to_be_written) = mpsc::channel::<Vec<u8>>(MOST_WAITING);
        let writing = spawn_blocking(move || {
            let _permit = permit;
            while let Some(bytes) = to_be_written.blocking_recv() {
                if let Err(trouble) = away.write(&bytes) {
                    return (away, Err(trouble));
                }
            }
            (away, Ok(()))
        });
        Self::Beside(Beside {
            part,
            writing,
            to_write: Some(to_write),
            bytes: Vec::new(),
        })
    }

    /// Takes the next bytes; `false` where no more are wanted, as [`finish`](Self::finish) tells why.
    pub(crate) async fn write(&mut self, chunk: &[u8]) -> Result<bool, Trouble> {
        match self {
            Self::Here(part) => part.write(chunk).map(|()| true),
            Self::Beside(beside) => {
                beside.bytes.extend_from_slice(chunk);
                Ok(beside.bytes.len() < HANDED_BYTES || beside.hand_over().await)
            }
        }
    }

    /// Waits until all that came is written.
    pub(crate) async fn finish(self) -> Result<(), Trouble> {
        let Self::Beside(mut beside) = self else {
            return Ok(());
        };
        beside.hand_over().await;
        beside.to_write = None;
        let (part, result) = (&mut beside.writing).await.map_err(Trouble::broken_off)?;
        *beside.part = part;
        result
    }
}

impl Beside<'_> {
    async fn hand_over(&mut self) -> bool {
        let Some(to_write) = &self.to_write else {
            return false;
        };
        let Ok(place) = to_write.reserve().await else {
            return false;
        };
        let next = Vec::with_capacity(HANDED_BYTES);
        place.send(std::mem::replace(&mut self.bytes, next));
        true
    }
}

impl Drop for Beside<'_> {
    /// Of a download that ends half-way, what came is kept, but where the disk is far behind.
    fn drop(&mut self) {
        if let Some(to_write) = &self.to_write {
            let _ = to_write.try_send(std::mem::take(&mut self.bytes));
        }
    }
}
