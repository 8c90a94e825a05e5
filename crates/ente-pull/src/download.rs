//! One object from the server into `partial/`: resumed, checked for its length, hashed on the way.
//!
//! The name of a part binds it to a content version, so bytes of two versions never meet in one file.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ente_common::api::{ApiError, Client, ErrorKind, Fetched, ObjectBody, Retry};
use ente_common::layout;
use ente_common::manifest::Parked;
use ente_common::ui::Progress;
use tokio::sync::Semaphore;
use tokio::task::JoinError;
use url::Url;

use crate::jobs::Throttle;
use crate::part::{Part, Sink};
use crate::plan::Fetch;
use crate::problems;

/// What a broken download must have brought for its next try to count as the first again.
const PROGRESS_BYTES: u64 = 1 << 20;
/// The most that is taken of an object whose size is not listed. The service stores nothing above 10 GiB.
const MAX_OBJECT_BYTES: u64 = 12 << 30;
/// From this size on, an object is written and hashed while more of it is received.
const LARGE_BYTES: u64 = 16 << 20;
/// Of how many objects at once, which bounds the memory: more keep the cores busy without that.
pub(crate) const MOST_BESIDE: u32 = 2;

/// An object that is there in full, not yet at its final place.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) fetch: Fetch,
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
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

    /// A fault of ours, or the end of the run.
    pub(crate) fn broken_off(error: JoinError) -> Self {
        Self::item("interrupted", error.to_string())
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
    /// [`MOST_BESIDE`] permits.
    pub(crate) beside: Arc<Semaphore>,
    /// Bytes that came in so far.
    pub(crate) moved: AtomicU64,
    /// The server asked for less since somebody last looked.
    pub(crate) overloaded: AtomicBool,
}

impl Downloader {
    /// Fetches one object. What came of it stays in `partial/` when that fails or is dropped half-way.
    pub(crate) async fn fetch(&self, fetch: &Fetch) -> Result<Whole, Trouble> {
        let final_path = layout::join(&self.state_dir, &layout::object(fetch.id, fetch.version));
        let parked = Parked::Download((fetch.id, fetch.version));
        let path = layout::join(&self.state_dir, &format!("partial/{parked}"));
        let (size, adopt) = (fetch.size, fetch.adopt);
        let opening = tokio::task::spawn_blocking(move || {
            if adopt && fs::metadata(&final_path).is_ok_and(|found| Some(found.len()) == size) {
                return Part::open(&final_path, size);
            }
            Part::open(&path, size)
        });
        let mut part = opening.await.map_err(Trouble::broken_off)??;
        self.progress.bytes(part.len);
        let found = Some(part.len) == fetch.size;
        self.complete(fetch, &mut part).await?;
        Ok(Whole {
            fetch: fetch.clone(),
            found,
            size: part.len,
            blake3: part.blake3(),
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
            return Err(mismatch(part, total, expected)?);
        }
        let most = expected.unwrap_or(MAX_OBJECT_BYTES);
        if most > MAX_OBJECT_BYTES {
            return Err(mismatch(part, most, MAX_OBJECT_BYTES)?);
        }
        let left = most.saturating_sub(part.len);
        let is_large = most >= LARGE_BYTES;
        let mut sink = match is_large.then(|| Arc::clone(&self.beside).try_acquire_owned()) {
            Some(Ok(permit)) => Sink::beside(part, permit),
            _ => Sink::Here(part),
        };
        let received = self.receive(&mut sink, &mut body, left).await;
        // What came is written, however it ended.
        sink.finish().await?;
        received?;
        if part.len > most {
            return Err(mismatch(part, part.len, most)?);
        }
        match expected {
            Some(expected) if part.len < expected => Ok(End::Cut),
            _ if part.len == 0 => Err(mismatch(part, 0, 1)?),
            _ => Ok(End::Whole),
        }
    }

    /// Waits until nothing writes any more, after downloads were dropped half-way.
    pub(crate) async fn settle(&self) {
        // Nobody closes it.
        let _all = self.beside.acquire_many(MOST_BESIDE).await;
    }

    /// Hands on what comes, and a little more than `most` bytes where more comes.
    async fn receive(
        &self,
        sink: &mut Sink<'_>,
        body: &mut ObjectBody,
        most: u64,
    ) -> Result<(), Attempt> {
        let mut received = 0;
        while let Some(chunk) = body.chunk().await? {
            let count = chunk.len();
            self.throttle.pass(count).await;
            let goes_on = sink.write(&chunk).await?;
            self.moved.fetch_add(count as u64, Ordering::Relaxed);
            self.progress.bytes(count as u64);
            received += count as u64;
            if !goes_on || received > most {
                break;
            }
        }
        Ok(())
    }
}

/// The object is not the one that was listed: nothing of it is of use.
fn mismatch(part: &mut Part, found: u64, expected: u64) -> Result<Attempt, Trouble> {
    part.restart()?;
    let cause = match found {
        0 => "the object is empty".to_owned(),
        _ if expected == MAX_OBJECT_BYTES => {
            "the object is larger than any that the service stores".to_owned()
        }
        _ => format!("the object has {found} bytes where {expected} were listed"),
    };
    Ok(Trouble::item(problems::SIZE_MISMATCH, cause).into())
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
