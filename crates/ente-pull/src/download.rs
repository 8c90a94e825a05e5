//! One object from the server into `partial/`: resumed, checked for its length, hashed on the way.
//!
//! The name of a part binds it to a content version, so bytes of two versions never meet in one file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ente_common::api::{ApiError, Client, ErrorKind, Fetched, ObjectBody, Retry};
use ente_common::layout;
use ente_common::ui::Progress;
use url::Url;

use crate::jobs::Throttle;
use crate::plan::Fetch;
use crate::problems;

/// What a broken download must have brought for its next try to count as the first again.
const PROGRESS_BYTES: u64 = 1 << 20;
/// The most that is taken of an object whose size is not listed. The service stores nothing above 10 GiB.
const MAX_OBJECT_BYTES: u64 = 12 << 30;

/// An object that is there in full, not yet at its final place.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) fetch: Fetch,
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    /// BLAKE3 in hex.
    pub(crate) blake3: blake3::Hash,
    /// It was here already: nothing of it had to be fetched.
    pub(crate) found: bool,
}

/// Why an object did not come.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It concerns this object alone.
    Item { class: &'static str, cause: String },
    /// The token is no longer accepted.
    SignedOut,
    /// It cannot be written.
    Disk(PathBuf, io::Error),
}

impl Trouble {
    fn item(class: &'static str, cause: impl Into<String>) -> Self {
        Self::Item {
            class,
            cause: cause.into(),
        }
    }
}

impl From<ApiError> for Trouble {
    fn from(error: ApiError) -> Self {
        match error.kind {
            ErrorKind::Unauthorized => Self::SignedOut,
            kind => Self::item(problems::class_of(kind), error.to_string()),
        }
    }
}

/// How one request ended.
enum End {
    Whole,
    /// The link is no longer good.
    NewLink,
    /// The part did not fit what the server has: begin again.
    Restart,
    /// The answer stopped early.
    Cut,
}

/// Fetches objects; shared by all downloads of a run.
#[derive(Debug)]
pub(crate) struct Downloader {
    /// A client that does not repeat: the loop here does, and sees each sign of overload.
    pub(crate) client: Client,
    pub(crate) retry: Retry,
    pub(crate) throttle: Throttle,
    pub(crate) progress: Progress,
    pub(crate) state_dir: PathBuf,
    /// Bytes that came in so far.
    pub(crate) moved: AtomicU64,
    /// The server asked for less since somebody last looked.
    pub(crate) overloaded: AtomicBool,
}

impl Downloader {
    /// Fetches one object. What came of it stays in `partial/` when that fails or is dropped half-way.
    pub(crate) async fn fetch(&self, fetch: &Fetch) -> Result<Whole, Trouble> {
        let final_path = layout::join(&self.state_dir, &layout::object(fetch.id, fetch.version));
        let partial = layout::partial_download(fetch.id, fetch.version);
        let path = layout::join(&self.state_dir, &partial);
        let (size, adopt) = (fetch.size, fetch.adopt);
        let opening = tokio::task::spawn_blocking(move || {
            if adopt && fs::metadata(&final_path).is_ok_and(|found| Some(found.len()) == size) {
                return Part::open(&final_path, size);
            }
            Part::open(&path, size)
        });
        let mut part = match opening.await {
            Ok(opened) => opened?,
            Err(error) => return Err(Trouble::item("interrupted", error.to_string())),
        };
        self.progress.bytes(part.len);
        let found = Some(part.len) == fetch.size;
        self.complete(fetch, &mut part).await?;
        Ok(Whole {
            fetch: fetch.clone(),
            found,
            size: part.len,
            blake3: part.hasher.finalize(),
            path: part.path,
        })
    }

    /// Asks again and again until the part is whole or it makes no sense to go on.
    async fn complete(&self, fetch: &Fetch, part: &mut Part) -> Result<(), Trouble> {
        let mut link = None;
        let mut tries = 0;
        let mut links = 0;
        while fetch.size.is_none() || Some(part.len) != fetch.size {
            let before = part.len;
            let (cause, wait) = match self.attempt(fetch, part, &mut link).await {
                Ok(End::Whole) => return Ok(()),
                Ok(End::NewLink) if links == 0 => {
                    links = 1;
                    link = None;
                    continue;
                }
                Ok(End::NewLink) => {
                    let cause = "the object store refuses the links that the server gives";
                    return Err(Trouble::item(problems::FORBIDDEN, cause));
                }
                Ok(End::Restart) => (
                    Trouble::item("interrupted", "the object store has no such range"),
                    None,
                ),
                Ok(End::Cut) => (Trouble::item("interrupted", "the answer ended early"), None),
                Err(Attempt::Api(error)) if error.is_transient() => {
                    if error.is_overload() {
                        self.overloaded.store(true, Ordering::Relaxed);
                    }
                    let wait = error.retry_after();
                    (error.into(), wait)
                }
                Err(Attempt::Api(error)) => return Err(error.into()),
                Err(Attempt::Trouble(trouble)) => return Err(trouble),
            };
            if part.len >= before + PROGRESS_BYTES {
                tries = 0;
                links = 0;
            }
            if !self.retry.wait(tries, wait).await {
                return Err(cause);
            }
            tries += 1;
        }
        Ok(())
    }

    /// One request.
    async fn attempt(
        &self,
        fetch: &Fetch,
        part: &mut Part,
        link: &mut Option<Url>,
    ) -> Result<End, Attempt> {
        let address = match link {
            Some(address) => address,
            None => link.insert(self.client.object_link(fetch.id).await?),
        };
        match self.client.open_object(address, part.len).await? {
            Fetched::Body(body) => self.read(fetch, part, body).await,
            Fetched::RangeIgnored(body) => {
                part.restart()?;
                self.read(fetch, part, body).await
            }
            Fetched::PastEnd { total } => {
                if fetch.size.is_none() && part.len > 0 && total == Some(part.len) {
                    return Ok(End::Whole);
                }
                part.restart()?;
                Ok(End::Restart)
            }
            Fetched::LinkExpired => Ok(End::NewLink),
            Fetched::Missing => {
                let cause = "the object store does not have it";
                Err(Trouble::item(problems::NOT_FOUND, cause).into())
            }
        }
    }

    /// Appends what comes; the length on the server must be the one that was listed.
    async fn read(
        &self,
        fetch: &Fetch,
        part: &mut Part,
        mut body: ObjectBody,
    ) -> Result<End, Attempt> {
        let expected = fetch.size.or(body.total);
        if let (Some(total), Some(expected)) = (body.total, expected)
            && total != expected
        {
            return Err(part.mismatch(total, expected)?);
        }
        let most = expected.unwrap_or(MAX_OBJECT_BYTES);
        if most > MAX_OBJECT_BYTES {
            return Err(part.mismatch(most, MAX_OBJECT_BYTES)?);
        }
        while let Some(chunk) = body.chunk().await? {
            self.throttle.pass(chunk.len()).await;
            part.write(&chunk)?;
            self.moved.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            self.progress.bytes(chunk.len() as u64);
            if part.len > most {
                return Err(part.mismatch(part.len, most)?);
            }
        }
        match expected {
            Some(expected) if part.len < expected => Ok(End::Cut),
            _ if part.len == 0 => Err(part.mismatch(0, 1)?),
            _ => Ok(End::Whole),
        }
    }
}

enum Attempt {
    Api(ApiError),
    Trouble(Trouble),
}

impl From<ApiError> for Attempt {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<Trouble> for Attempt {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// What there is of an object so far.
struct Part {
    path: PathBuf,
    file: Option<File>,
    hasher: blake3::Hasher,
    len: u64,
}

impl Part {
    /// Takes up what an earlier run left; begins afresh where that is too long to be of this object.
    fn open(path: &Path, size: Option<u64>) -> Result<Self, Trouble> {
        let mut part = Self {
            path: path.to_owned(),
            file: None,
            hasher: blake3::Hasher::new(),
            len: 0,
        };
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
    fn restart(&mut self) -> Result<(), Trouble> {
        self.file = None;
        self.hasher.reset();
        self.len = 0;
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.disk(error)),
            _ => Ok(()),
        }
    }

    /// The object is not the one that was listed: nothing of it is of use.
    fn mismatch(&mut self, found: u64, expected: u64) -> Result<Attempt, Trouble> {
        self.restart()?;
        let cause = match found {
            0 => "the object is empty".to_owned(),
            _ if expected == MAX_OBJECT_BYTES => {
                "the object is larger than any that the service stores".to_owned()
            }
            _ => format!("the object has {found} bytes where {expected} were listed"),
        };
        Ok(Trouble::item(problems::SIZE_MISMATCH, cause).into())
    }

    fn disk(&self, error: io::Error) -> Trouble {
        Trouble::Disk(self.path.clone(), error)
    }
}
