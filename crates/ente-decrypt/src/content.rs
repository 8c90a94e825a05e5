//! Makes plain files of one content for all placements that lack it: what a worker does, apart from the tree and its facts.
//!
//! Everything is written to `tmp-*` files in `partial/`; nothing here gives a file its final name.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use blake3::Hash;
use ente_common::cli::Interrupt;
use ente_common::crypto::stream::Decryptor;
use ente_common::digest::ContentHash;
use ente_common::disk;
use ente_common::encoding::array_from_base64;
use ente_common::exit::chain;
use ente_common::id::Version;
use ente_common::manifest::PlacementKey;
use ente_common::manifest::facts::{How, Part};
use ente_common::model::{EffectiveMetadata, FileType};
use ente_common::naming;
use ente_common::ui::Progress;

use crate::adopt::owners_digests;
use crate::links::{self, link};
use crate::live::{Half, LiveError, unpack};
use crate::open::{Open, Reason, Sealed};
use crate::settings::LinkMode;
use crate::structure::date;
use crate::write::{Plain, Shared, WriteError, decrypt};

/// What the archive of a live photo is called where it is kept.
pub(crate) const ARCHIVE: &str = ".zip";

/// A placement that lacks content, and the time that its files are to bear.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// The placement.
    pub key: PlacementKey,
    /// Modification time in microseconds; `None` leaves the time of writing.
    pub mtime: Option<i64>,
}

/// One content and everybody who lacks it.
#[derive(Debug)]
pub(crate) struct Job {
    /// File ID.
    pub id: i64,
    /// Content version.
    pub version: Version,
    /// Who lacks it; never empty.
    pub targets: Vec<Target>,
    /// Where it comes from.
    pub work: Work,
    /// How all but the first get it.
    pub link: LinkMode,
}

/// Where content comes from.
#[derive(Debug)]
pub(crate) enum Work {
    /// From an object.
    Decrypt {
        /// The object.
        object: PathBuf,
        /// How many bytes it should have, where the server says it.
        size: Option<u64>,
        /// What opens it.
        sealed: Sealed,
    },
    /// From the files of another placement.
    Link {
        /// The placement.
        source: PlacementKey,
        /// Its files.
        parts: Vec<(PathBuf, Part)>,
    },
    /// From files that are not ours and stay.
    Adopt {
        /// The files.
        parts: Vec<(PathBuf, Part)>,
        /// What tells the hash that the owner's device left.
        sealed: Sealed,
    },
}

/// What became of a job.
#[derive(Debug)]
pub(crate) struct Done {
    /// File ID.
    pub id: i64,
    /// Content version.
    pub version: Version,
    /// Who lacked it.
    pub targets: Vec<Target>,
    /// The files, or why there are none.
    pub result: Result<Made, Refusal>,
}

/// Plain files, whole but not synced: for each target its parts and where they lie.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// In the order of the targets.
    pub copies: Vec<Vec<(Part, PathBuf)>>,
    /// Something about it that is worth a problem: class and cause.
    pub remark: Option<(&'static str, String)>,
    /// An archive that is kept beside what was taken out of it.
    pub archive: Option<PathBuf>,
}

/// Why there are no files.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The entry does not open.
    Undecryptable(Reason),
    /// The object was judged.
    Verdict {
        /// Class of the problem.
        class: &'static str,
        /// What was seen.
        cause: String,
        /// BLAKE3 of the object, if there is one.
        blake3: Option<Hash>,
        /// Plaintext that is kept, and its extension.
        aside: Option<(PathBuf, String)>,
    },
    /// The files that it was to be linked to are no longer what was written there.
    SourceChanged(PlacementKey),
    /// The run was asked to stop.
    Interrupted,
    /// The file system does not link files in the way that is asked for.
    CannotLink(io::Error),
    /// Nothing can be written, or the disk fails.
    Disk(io::Error),
}

/// What all workers share.
#[derive(Debug)]
pub(crate) struct Workshop {
    /// `.ente/partial`.
    pub partial: PathBuf,
    /// Set when the run is to stop.
    pub interrupt: Interrupt,
    /// Bytes as they are done.
    pub progress: Progress,
    failed: AtomicBool,
    count: AtomicU64,
    shared: Shared,
}

impl Workshop {
    /// A workshop that writes into `partial`.
    pub(crate) fn new(partial: PathBuf, interrupt: Interrupt, progress: Progress) -> Self {
        Self {
            partial,
            interrupt,
            failed: AtomicBool::new(false),
            progress,
            count: AtomicU64::new(0),
            shared: Shared::default(),
        }
    }

    /// Lets all workers stop where they are: nobody takes what they make any more.
    pub(crate) fn stop(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.interrupt.is_set() || self.failed.load(Ordering::Relaxed)
    }

    /// A name that no other file of this run has.
    fn fresh(&self) -> PathBuf {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        self.partial.join(format!("tmp-{count}"))
    }

    /// Does a job; leaves no file behind where it fails.
    pub(crate) fn run(&self, job: Job) -> Done {
        let result = match &job.work {
            Work::Decrypt {
                object,
                size,
                sealed,
            } => self.decrypt(&job, object, *size, sealed),
            Work::Link { source, parts } => self.link(&job, *source, parts),
            Work::Adopt { parts, sealed } => self.adopt(&job, parts, sealed),
        };
        Done {
            id: job.id,
            version: job.version,
            targets: job.targets,
            result,
        }
    }

    fn link(
        &self,
        job: &Job,
        source: PlacementKey,
        parts: &[(PathBuf, Part)],
    ) -> Result<Made, Refusal> {
        let mut made = Made::default();
        for target in &job.targets {
            made.copies.push(
                self.copy(parts, target, job.link)?
                    .ok_or(Refusal::SourceChanged(source))?,
            );
        }
        if self.is_stopped() {
            return Err(Refusal::Interrupted);
        }
        Ok(made)
    }

    /// Copies files that are not ours for the first target, and links the others to that. What is made is held against the owner's hash.
    fn adopt(
        &self,
        job: &Job,
        parts: &[(PathBuf, Part)],
        sealed: &Sealed,
    ) -> Result<Made, Refusal> {
        let open = sealed.open().map_err(Refusal::Undecryptable)?;
        let digests = owners_digests(&open);
        let mut first: Vec<(Part, PathBuf)> = Vec::new();
        for (index, (from, part)) in parts.iter().enumerate() {
            let to = self.fresh();
            let made = links::adopt(from, &to, job.link, part.blake3)
                .and_then(|()| links::expect_origin(&to, digests.get(index)));
            if let Err(error) = made {
                let _ = fs::remove_file(&to);
                for (_, made) in first {
                    let _ = fs::remove_file(made);
                }
                return Err(match error.kind() {
                    io::ErrorKind::StorageFull => Refusal::Disk(error),
                    _ => not_as_adopted(from, &error),
                });
            }
            let mut part = part.clone();
            part.mtime = self.dated(&to, job.targets[0].mtime)?;
            self.progress.bytes(part.size);
            first.push((part, to));
        }
        let sources: Vec<_> = first
            .iter()
            .map(|(part, path)| (path.clone(), part.clone()))
            .collect();
        let mut made = Made {
            copies: vec![first],
            ..Made::default()
        };
        for target in &job.targets[1..] {
            made.copies.extend(self.copy(&sources, target, job.link)?);
        }
        if self.is_stopped() {
            return Err(Refusal::Interrupted);
        }
        Ok(made)
    }

    /// Makes the files of one more placement; `None` where a file to copy is no longer what was written.
    fn copy(
        &self,
        parts: &[(PathBuf, Part)],
        target: &Target,
        mode: LinkMode,
    ) -> Result<Option<Vec<(Part, PathBuf)>>, Refusal> {
        let mut copies = Vec::new();
        for (from, part) in parts {
            let to = self.fresh();
            let how = match link(from, &to, mode, part.blake3) {
                Ok(how) => how,
                Err(error) => {
                    let _ = fs::remove_file(&to);
                    let changed = matches!(
                        error.kind(),
                        io::ErrorKind::InvalidData | io::ErrorKind::NotFound
                    );
                    return match mode {
                        _ if changed => Ok(None),
                        LinkMode::Reflink | LinkMode::Hard
                            if error.kind() != io::ErrorKind::StorageFull =>
                        {
                            Err(Refusal::CannotLink(error))
                        }
                        _ => Err(Refusal::Disk(error)),
                    };
                }
            };
            let mut part = part.clone();
            part.how = how;
            part.mtime = self.dated(&to, target.mtime)?;
            copies.push((part, to));
        }
        Ok(Some(copies))
    }

    /// Dates a new file; tells what time it bears then.
    fn dated(&self, path: &Path, mtime: Option<i64>) -> Result<i64, Refusal> {
        let metadata = fs::metadata(path).map_err(Refusal::Disk)?;
        let now = disk::mtime_us(&metadata);
        mtime
            .map_or(Ok(now), |us| date(path, now, us))
            .map_err(Refusal::Disk)
    }

    fn decrypt(
        &self,
        job: &Job,
        object: &Path,
        size: Option<u64>,
        sealed: &Sealed,
    ) -> Result<Made, Refusal> {
        let open = sealed.open().map_err(Refusal::Undecryptable)?;
        let header = array_from_base64(&open.entry.file.decryption_header)
            .map_err(|error| Refusal::Undecryptable(error.to_string().into()))?;
        let plain_path = self.fresh();
        let decryptor = Decryptor::new(&open.file.key, &header, size);
        let result = self.write(object, decryptor, &plain_path);
        let plain = match result {
            Ok(plain) => plain,
            Err(error) => {
                let _ = fs::remove_file(&plain_path);
                return Err(self.refuse(object, error));
            }
        };
        let file = Decrypted {
            job,
            open: &open,
            object,
            size,
            plain,
            plain_path,
        };
        let (mut made, first) = self.accept(file)?;
        let mut copies = vec![first];
        for target in &job.targets[1..] {
            let from: Vec<_> = copies[0]
                .iter()
                .map(|(part, path)| (path.clone(), part.clone()))
                .collect();
            let more = self.copy(&from, target, job.link)?;
            copies.extend(more);
        }
        made.copies = copies;
        Ok(made)
    }

    fn write(&self, object: &Path, decryptor: Decryptor, to: &Path) -> Result<Plain, WriteError> {
        let mut object = File::open(object).map_err(WriteError::Read)?;
        let mut out = File::create_new(to).map_err(WriteError::Write)?;
        decrypt(&mut object, decryptor, &mut out, &self.shared, &|bytes| {
            self.progress.bytes(bytes);
            if self.is_stopped() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            Ok(())
        })
    }

    fn refuse(&self, object: &Path, error: WriteError) -> Refusal {
        match error {
            WriteError::Write(_) if self.is_stopped() => Refusal::Interrupted,
            WriteError::Write(error) => Refusal::Disk(error),
            WriteError::Damaged(error) => damaged(object, error.to_string()),
            WriteError::Read(error) => {
                damaged(object, format!("the object cannot be read: {error}"))
            }
        }
    }

    /// Checks what was decrypted against what its owner said; tells the parts of the first target.
    fn accept(&self, file: Decrypted<'_>) -> Result<(Made, Vec<(Part, PathBuf)>), Refusal> {
        let metadata = &file.open.file.metadata;
        let hash: Option<ContentHash> = metadata.hash.as_ref().and_then(|hash| hash.parse().ok());
        if metadata.file_type == FileType::LivePhoto {
            return self.accept_live(file, hash);
        }
        self.accept_whole(file, hash, Made::default())
    }

    /// An object that is exported as one file.
    fn accept_whole(
        &self,
        file: Decrypted<'_>,
        hash: Option<ContentHash>,
        mut made: Made,
    ) -> Result<(Made, Vec<(Part, PathBuf)>), Refusal> {
        let matches = match hash {
            Some(ContentHash::Whole(digest)) => Some(digest == file.plain.digest),
            Some(ContentHash::Live { .. }) | None => None,
        };
        file.check(matches, naming::part_extension(file.title()))?;
        if !file.plain.is_final {
            made.remark = Some(no_final_tag());
        }
        let extension = naming::part_extension(file.title());
        let part = Part {
            name: format!("{}{extension}", file.job.id),
            size: file.plain.size,
            blake3: Some(file.plain.blake3),
            mtime: self.dated(&file.plain_path, file.job.targets[0].mtime)?,
            hash: (matches == Some(true)).then_some(file.plain.digest),
            how: How::Written,
        };
        Ok((made, vec![(part, file.plain_path)]))
    }

    /// A ZIP with a still and a video, or what passes for one.
    fn accept_live(
        &self,
        file: Decrypted<'_>,
        hash: Option<ContentHash>,
    ) -> Result<(Made, Vec<(Part, PathBuf)>), Refusal> {
        let paths = [self.fresh(), self.fresh()];
        let clear = || {
            for path in &paths {
                let _ = fs::remove_file(path);
            }
        };
        let halves = match unpack(&file.plain_path, file.title(), |part| paths[part].clone()) {
            Ok(halves) => halves,
            Err(LiveError::NotAZip) => {
                let made = Made {
                    remark: Some((
                        "not-a-zip",
                        "it is called a live photo but is no archive; its bytes were exported as they are"
                            .into(),
                    )),
                    ..Made::default()
                };
                return self.accept_whole(file, hash, made);
            }
            Err(error) => {
                clear();
                return Err(file.refuse_archive(error));
            }
        };
        let digests_match = |half: &Option<Half>, digest: [u8; 64]| {
            half.as_ref().is_none_or(|half| half.digest == digest)
        };
        let matches = match hash {
            // Early uploads name the hash of the archive.
            Some(ContentHash::Whole(digest)) => Some(digest == file.plain.digest),
            Some(ContentHash::Live { image, video }) => {
                Some(digests_match(&halves[0], image) && digests_match(&halves[1], video))
            }
            None => None,
        };
        if let Err(refusal) = file.check(matches, ARCHIVE) {
            clear();
            return Err(refusal);
        }
        let mut made = Made::default();
        if !file.plain.is_final {
            made.remark = Some(no_final_tag());
        }
        if let Some(missing) = halves.iter().position(Option::is_none) {
            let missing = ["still", "video"][missing];
            let cause = format!(
                "the {missing} of the live photo is missing; the archive is kept in `.ente/aside`"
            );
            made.remark = Some(("missing-half", cause));
            made.archive = Some(file.plain_path.clone());
        } else {
            let _ = fs::remove_file(&file.plain_path);
        }
        let mut parts = Vec::new();
        for half in halves.into_iter().flatten() {
            let part = Part {
                name: format!("{}{}", file.job.id, half.extension),
                size: half.size,
                blake3: Some(half.blake3),
                mtime: self.dated(&half.path, file.job.targets[0].mtime)?,
                hash: match hash {
                    Some(ContentHash::Live { .. }) => Some(half.digest),
                    // That of the archive says nothing of a half.
                    _ => None,
                },
                how: How::Written,
            };
            parts.push((part, half.path));
        }
        Ok((made, parts))
    }
}

/// An object's plaintext and what is known of it.
struct Decrypted<'a> {
    job: &'a Job,
    open: &'a Open,
    object: &'a Path,
    size: Option<u64>,
    plain: Plain,
    plain_path: PathBuf,
}

impl Decrypted<'_> {
    fn title(&self) -> &str {
        let metadata: &EffectiveMetadata = &self.open.file.metadata;
        metadata.title.as_deref().unwrap_or_default()
    }

    /// Refuses plaintext whose hash is not the owner's, or whose end may be missing. `matches` is `None` where the owner left no hash;
    /// `extension` is for what is put aside.
    fn check(&self, matches: Option<bool>, extension: &str) -> Result<(), Refusal> {
        let length = fs::metadata(self.object).map_or(0, |metadata| metadata.len());
        let is_whole = self.plain.is_final || (self.size == Some(length) && matches == Some(true));
        if !is_whole {
            let _ = fs::remove_file(&self.plain_path);
            return Err(damaged(
                self.object,
                "its last chunk is not marked as the last: the end is missing".into(),
            ));
        }
        if matches == Some(false) {
            return Err(self.put_aside(
                "hash-mismatch",
                "its content is not what the owner's device uploaded: the content hash differs"
                    .into(),
                extension,
            ));
        }
        Ok(())
    }

    fn put_aside(&self, class: &'static str, cause: String, extension: &str) -> Refusal {
        Refusal::Verdict {
            class,
            cause,
            blake3: File::open(self.object).and_then(blake3_of).ok(),
            aside: Some((self.plain_path.clone(), extension.to_owned())),
        }
    }

    fn refuse_archive(&self, error: LiveError) -> Refusal {
        match error {
            LiveError::Write(error) => Refusal::Disk(error),
            LiveError::Damaged(_) => {
                let _ = fs::remove_file(&self.plain_path);
                damaged(self.object, chain(&error))
            }
            error => self.put_aside("bad-archive", chain(&error), ARCHIVE),
        }
    }
}

fn no_final_tag() -> (&'static str, String) {
    (
        "no-final-tag",
        "its last chunk is not marked as the last, but length and content hash are right: it was exported"
            .into(),
    )
}

fn damaged(object: &Path, cause: String) -> Refusal {
    Refusal::Verdict {
        class: "damaged",
        cause,
        blake3: File::open(object).and_then(blake3_of).ok(),
        aside: None,
    }
}

/// The verdict lets `ente-pull` fetch what was to be adopted.
fn not_as_adopted(path: &Path, error: &io::Error) -> Refusal {
    Refusal::Verdict {
        class: "damaged",
        cause: format!(
            "the adopted file `{}` cannot be used: {error}",
            path.display()
        ),
        blake3: None,
        aside: None,
    }
}

/// BLAKE3 of a file, read to its end.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn blake3_of(file: File) -> io::Result<Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(hasher.finalize())
}
