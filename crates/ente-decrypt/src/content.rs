//! Makes plain files of one content for all placements that lack it: what a worker does, apart from the tree and its facts.
//!
//! Everything is written to `tmp-*` files in `partial/`, each of which goes when it is dropped; nothing here gives a file its final name.

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
use ente_common::manifest::parked;
use ente_common::model::{EffectiveMetadata, FileType};
use ente_common::naming;
use ente_common::ui::Progress;

use crate::adopt::owners_digests;
use crate::draft::Draft;
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

/// The files of one placement, in order of the parts.
pub(crate) type Files = Vec<(Part, Draft)>;

/// Plain files, whole but not synced.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// Those of each target, in their order.
    pub copies: Vec<Files>,
    /// Something about it that is worth a problem: class and cause.
    pub remark: Option<(&'static str, String)>,
    /// An archive that is kept beside what was taken out of it.
    pub archive: Option<Draft>,
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
        aside: Option<(Draft, String)>,
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

    /// A file that is to be made, under a name that no other of this run has.
    fn fresh(&self) -> Draft {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        Draft::new(self.partial.join(format!("{}{count}", parked::HALF)))
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
            let parts = parts.iter().map(|(path, part)| (path.as_path(), part));
            let files = self.copy(parts, target, job.link)?;
            made.copies
                .push(files.ok_or(Refusal::SourceChanged(source))?);
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
        let mut first = Files::new();
        for (index, (from, part)) in parts.iter().enumerate() {
            let to = self.fresh();
            links::adopt(from, &to, job.link, part.blake3)
                .and_then(|()| links::expect_origin(&to, digests.get(index)))
                .map_err(|error| match error.kind() {
                    io::ErrorKind::StorageFull => Refusal::Disk(error),
                    _ => not_as_adopted(from, &error),
                })?;
            let mut part = part.clone();
            part.mtime = self.dated(&to, job.targets[0].mtime)?;
            self.progress.bytes(part.size);
            first.push((part, to));
        }
        let made = Made {
            copies: self.share(job, first)?,
            ..Made::default()
        };
        if self.is_stopped() {
            return Err(Refusal::Interrupted);
        }
        Ok(made)
    }

    /// The files of the first target, and of all others from these.
    fn share(&self, job: &Job, first: Files) -> Result<Vec<Files>, Refusal> {
        let mut copies = vec![first];
        for target in &job.targets[1..] {
            let first = copies[0].iter().map(|(part, draft)| (&**draft, part));
            let Some(files) = self.copy(first, target, job.link)? else {
                // The others get theirs in the next run.
                break;
            };
            copies.push(files);
        }
        Ok(copies)
    }

    /// Makes the files of one more placement; `None` where a file to copy is no longer what was written.
    fn copy<'a>(
        &self,
        parts: impl Iterator<Item = (&'a Path, &'a Part)>,
        target: &Target,
        mode: LinkMode,
    ) -> Result<Option<Files>, Refusal> {
        let mut files = Files::new();
        for (from, part) in parts {
            let to = self.fresh();
            let how = match link(from, &to, mode, part.blake3) {
                Ok(how) => how,
                Err(error) => {
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
            files.push((part, to));
        }
        Ok(Some(files))
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
        let draft = self.fresh();
        let decryptor = Decryptor::new(&open.file.key, &header, size);
        let plain = self
            .write(object, decryptor, &draft)
            .map_err(|error| self.refuse(object, error))?;
        let (made, first) = self.accept(Decrypted {
            job,
            open: &open,
            object,
            size,
            plain,
            draft,
        })?;
        Ok(Made {
            copies: self.share(job, first)?,
            ..made
        })
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
    fn accept(&self, file: Decrypted<'_>) -> Result<(Made, Files), Refusal> {
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
    ) -> Result<(Made, Files), Refusal> {
        let matches = match hash {
            Some(ContentHash::Whole(digest)) => Some(digest == file.plain.digest),
            Some(ContentHash::Live { .. }) | None => None,
        };
        let extension = naming::part_extension(file.title());
        let file = file.check(matches, extension)?;
        if !file.plain.is_final {
            made.remark = Some(no_final_tag());
        }
        let part = Part {
            name: format!("{}{extension}", file.job.id),
            size: file.plain.size,
            blake3: Some(file.plain.blake3),
            mtime: self.dated(&file.draft, file.job.targets[0].mtime)?,
            hash: (matches == Some(true)).then_some(file.plain.digest),
            how: How::Written,
        };
        Ok((made, vec![(part, file.draft)]))
    }

    /// A ZIP with a still and a video, or what passes for one.
    fn accept_live(
        &self,
        file: Decrypted<'_>,
        hash: Option<ContentHash>,
    ) -> Result<(Made, Files), Refusal> {
        let drafts = [self.fresh(), self.fresh()];
        let unpacked = unpack(&file.draft, file.title(), |part| drafts[part].to_owned());
        let halves = match unpacked {
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
            Err(error) => return Err(file.refuse_archive(error)),
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
        let file = file.check(matches, ARCHIVE)?;
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
            made.archive = Some(file.draft);
        } else {
            drop(file.draft);
        }
        let mut files = Files::new();
        for (half, draft) in halves.into_iter().zip(drafts) {
            let Some(half) = half else { continue };
            let part = Part {
                name: format!("{}{}", file.job.id, half.extension),
                size: half.size,
                blake3: Some(half.blake3),
                mtime: self.dated(&draft, file.job.targets[0].mtime)?,
                hash: match hash {
                    Some(ContentHash::Live { .. }) => Some(half.digest),
                    // That of the archive says nothing of a half.
                    _ => None,
                },
                how: How::Written,
            };
            files.push((part, draft));
        }
        Ok((made, files))
    }
}

/// An object's plaintext and what is known of it.
struct Decrypted<'a> {
    job: &'a Job,
    open: &'a Open,
    object: &'a Path,
    size: Option<u64>,
    plain: Plain,
    draft: Draft,
}

impl<'a> Decrypted<'a> {
    fn title(&self) -> &'a str {
        let metadata: &'a EffectiveMetadata = &self.open.file.metadata;
        metadata.title.as_deref().unwrap_or_default()
    }

    /// Refuses plaintext whose hash is not the owner's, or whose end may be missing. `matches` is `None` where the owner left no hash;
    /// `extension` is for what is put aside.
    fn check(self, matches: Option<bool>, extension: &str) -> Result<Self, Refusal> {
        let length = fs::metadata(self.object).map_or(0, |metadata| metadata.len());
        let is_whole = self.plain.is_final || (self.size == Some(length) && matches == Some(true));
        if !is_whole {
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
        Ok(self)
    }

    fn put_aside(self, class: &'static str, cause: String, extension: &str) -> Refusal {
        Refusal::Verdict {
            class,
            cause,
            blake3: File::open(self.object).and_then(blake3_of).ok(),
            aside: Some((self.draft, extension.to_owned())),
        }
    }

    fn refuse_archive(self, error: LiveError) -> Refusal {
        match error {
            LiveError::Write(error) => Refusal::Disk(error),
            LiveError::Damaged(_) => damaged(self.object, chain(&error)),
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

#[cfg(test)]
mod tests {
    use ente_common::ui::Ui;

    use super::*;
    use crate::testing::version;

    /// Copies two files for each of `targets`; `rotten` says whether the second is no longer what was written there. Tells how that ended and
    /// what lies in `partial/` then.
    fn copied(targets: i64, rotten: bool, prepare: fn(&Workshop)) -> (Done, usize) {
        let home = tempfile::tempdir().unwrap();
        let partial = home.path().join("partial");
        fs::create_dir(&partial).unwrap();
        let part = |name: &str, written: &str| {
            let path = home.path().join(name);
            fs::write(&path, written).unwrap();
            let part = Part {
                blake3: Some(blake3::hash(b"as written")),
                ..Part::default()
            };
            (path, part)
        };
        let second = if rotten { "rotten" } else { "as written" };
        let target = |collection| Target {
            key: (collection, 7),
            mtime: Some(1_000_000),
        };
        let progress = Ui::capture("test").progress("", 0, 0);
        let workshop = Workshop::new(partial.clone(), Interrupt::default(), progress);
        prepare(&workshop);
        let done = workshop.run(Job {
            id: 7,
            version: version(1),
            targets: (1..=targets).map(target).collect(),
            work: Work::Link {
                source: (9, 7),
                parts: vec![part("a", "as written"), part("b", second)],
            },
            link: LinkMode::Copy,
        });
        let left = fs::read_dir(partial).unwrap().count();
        (done, left)
    }

    #[test]
    fn what_fails_leaves_no_plaintext_behind() {
        let (done, left) = copied(3, false, |_| {});
        assert_eq!((done.result.unwrap().copies.len(), left), (3, 6));
        let (done, left) = copied(1, true, |_| {});
        assert!(matches!(done.result, Err(Refusal::SourceChanged((9, 7)))));
        assert_eq!(left, 0, "the part that was copied before");
        let (done, left) = copied(3, false, Workshop::stop);
        assert!(matches!(done.result, Err(Refusal::Interrupted)));
        assert_eq!(left, 0, "the copies for all targets");
    }
}
