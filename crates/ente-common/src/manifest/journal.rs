//! One `.jsonl` file of the manifest: read by anybody, appended to by its one writer.
//!
//! A line is a fact. The first member of each is `fact`, its kind, so that the kind is known before the rest is parsed. The last line may be
//! torn by a crash: readers leave it out, the writer cuts it off. The last member of each is `sum`, by which a line that was changed, and one that
//! is missing, is noticed (`docs/formats/manifest.md` 1).

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::{DeserializeOwned, Error as _};

use super::follow::last_line_end;
use super::rest::Mark;
use super::sum;
use crate::disk;

/// The format that this build writes and the newest that it reads.
pub const FORMAT: u32 = 1;

/// The longest line that is read: far above any honest fact.
pub const MAX_LINE_BYTES: usize = 64 << 20;

/// Why a file of the manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Reading or writing failed.
    #[error("cannot use `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A newer release wrote it.
    #[error("`{}` is in format {found}; this build reads up to {FORMAT}", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// A line that a fact points to is not as it was written.
    #[error("`{}` is damaged at byte {at}", path.display())]
    Lost {
        /// The file.
        path: PathBuf,
        /// Where the line begins.
        at: u64,
    },
    /// A line is not what this page of the contract says.
    #[error("`{}` is damaged at line {line}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What the parser said.
        source: serde_json::Error,
    },
}

/// A set of facts of one file; made by [`facts!`](crate::manifest::facts).
pub trait Facts: Sized + Send {
    /// The file's name without its ending.
    const FILE: &'static str;
    /// Parses the fact of this kind; `None` for a kind that this build does not know.
    ///
    /// # Errors
    /// When the members do not fit the kind.
    fn parse(kind: &str, line: &[u8]) -> Result<Option<Self>, serde_json::Error>;
    /// Appends the line, without its line feed.
    fn encode(&self, line: &mut Vec<u8>);
}

#[derive(serde::Deserialize)]
struct Head {
    format: u32,
}

#[derive(serde::Deserialize)]
struct Kind<'a> {
    #[serde(borrow)]
    fact: std::borrow::Cow<'a, str>,
}

/// The kind of a fact: by the exact form that we write, else by parsing.
pub(super) fn kind_of(line: &[u8]) -> Result<std::borrow::Cow<'_, str>, serde_json::Error> {
    if let Some(rest) = line.strip_prefix(b"{\"fact\":\"")
        && let Some(end) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))
        && rest[end] == b'"'
        && let Ok(kind) = std::str::from_utf8(&rest[..end])
    {
        return Ok(kind.into());
    }
    serde_json::from_slice::<Kind<'_>>(line).map(|kind| kind.fact)
}

/// Writes `{"fact":"kind",` and the members of `fact`.
pub fn encode_fact(kind: &str, fact: &impl Serialize, line: &mut Vec<u8>) {
    line.extend_from_slice(b"{\"fact\":\"");
    line.extend_from_slice(kind.as_bytes());
    line.extend_from_slice(b"\",");
    let start = line.len();
    serde_json::to_writer(&mut *line, fact)
        .expect("a fact is plain data and writing to memory cannot fail");
    debug_assert_eq!(line[start], b'{');
    line.remove(start);
}

/// Parses the members of a fact.
///
/// # Errors
/// When they do not fit.
pub fn parse_fact<T: DeserializeOwned>(line: &[u8]) -> Result<T, serde_json::Error> {
    // Checked once, and not string by string.
    let text = std::str::from_utf8(line).map_err(serde_json::Error::custom)?;
    serde_json::from_str(text)
}

/// Where a journal lies.
pub(super) fn journal_path(state_dir: &Path, name: &str) -> PathBuf {
    state_dir.join(format!("{name}.jsonl"))
}

/// Refuses the head of a newer format, and what is none.
pub(super) fn check_format(path: &Path, head: &[u8]) -> Result<(), JournalError> {
    let head: Head = serde_json::from_slice(head).map_err(|source| JournalError::Damaged {
        path: path.to_owned(),
        line: 1,
        source,
    })?;
    if head.format > FORMAT {
        return Err(JournalError::TooNew {
            path: path.to_owned(),
            found: head.format,
        });
    }
    Ok(())
}

/// Reads one whole line without its line feed; `false` at the end or at a torn line.
pub(crate) fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    reader.take(MAX_LINE_BYTES as u64).read_until(b'\n', line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(true);
    }
    if line.len() == MAX_LINE_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a line is too long",
        ));
    }
    Ok(false)
}

/// The lines within the last bytes of a journal and where each ends: those after the last that is not as it was written; none where the last is torn.
pub(super) fn last_lines(path: &Path, bytes: u64) -> io::Result<Vec<(Vec<u8>, Mark)>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(bytes);
    let mut tail = vec![0; (length - start) as usize];
    disk::read_exact_at(&file, &mut tail, start)?;
    let mut lines = Vec::new();
    // The first may have lost its beginning.
    let Some(first) = tail.iter().position(|byte| *byte == b'\n') else {
        return Ok(lines);
    };
    let mut end = start + first as u64 + 1;
    let mut above = sum::above(&file, end)?;
    for line in tail[first + 1..].split_inclusive(|byte| *byte == b'\n') {
        end += line.len() as u64;
        let Some(line) = line.strip_suffix(b"\n") else {
            return Ok(Vec::new());
        };
        match sum::check(line, above) {
            Some(sum) => {
                above = sum;
                lines.push((line.to_vec(), Mark::new(end, above)));
            }
            None => {
                above = sum::above(&file, end)?;
                lines.clear();
            }
        }
    }
    Ok(lines)
}

/// The writer's hold on one file: facts gather in memory until [`flush`](Journal::flush) or [`sync`](Journal::sync).
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    pending: Vec<u8>,
    end: u64,
    /// The sum of the last line, written or pending.
    above: u32,
    /// Something was written since the last sync.
    dirty: bool,
}

impl Journal {
    /// Opens `NAME.jsonl` for appending; makes it where it is not there; cuts off a torn last line.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(state_dir: &Path, name: &str) -> Result<Self, JournalError> {
        let path = journal_path(state_dir, name);
        let io = |source| JournalError::Io {
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        // What cannot be read must not be taken for a torn line.
        let read = |file: &File, block: &mut [u8], at| {
            disk::read_exact_at(file, block, at).map(|()| block.len())
        };
        let end = last_line_end(&file, 0, length, read).map_err(io)?;
        let end = end.unwrap_or(0);
        let above = sum::above(&file, end).map_err(io)?;
        file.set_len(end).map_err(io)?;
        file.seek(SeekFrom::Start(end)).map_err(io)?;
        let mut journal = Self {
            path,
            file,
            pending: Vec::new(),
            end,
            above,
            dirty: false,
        };
        if end == 0 {
            // Syncs of a file do not make its name durable.
            disk::sync_dir(state_dir).map_err(|source| JournalError::Io {
                path: journal.path.clone(),
                source,
            })?;
            journal.append_line(|line| {
                let head = format!("{{\"format\":{FORMAT},\"file\":\"{name}\"}}");
                line.extend_from_slice(head.as_bytes());
            });
        }
        Ok(journal)
    }

    /// Adds a fact to what the next [`flush`](Self::flush) writes.
    pub fn append<F: Facts>(&mut self, fact: &F) {
        self.append_line(|line| fact.encode(line));
    }

    /// Adds a line, an object with members; tells the offset at which it will stand and its length without the line feed.
    pub fn append_line(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> (u64, u64) {
        let start = self.pending.len();
        encode(&mut self.pending);
        self.above = sum::add(&mut self.pending, start, self.above);
        let length = self.pending.len() - start;
        self.pending.push(b'\n');
        (self.end + start as u64, length as u64)
    }

    /// Bytes that wait for the next flush.
    pub fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// Hands everything to the system: it survives a kill of this process.
    ///
    /// # Errors
    /// When writing fails; what was pending stays pending.
    pub fn flush(&mut self) -> Result<(), JournalError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let result = self.file.write_all(&self.pending);
        if let Err(source) = result {
            // Half a line may stand there now; take it back, so that a later flush starts on a fresh line.
            let _ = self.file.set_len(self.end);
            let _ = self.file.seek(SeekFrom::Start(self.end));
            return Err(JournalError::Io {
                path: self.path.clone(),
                source,
            });
        }
        self.end += self.pending.len() as u64;
        self.pending.clear();
        self.dirty = true;
        Ok(())
    }

    /// Flushes and waits until it is on the disk: it survives a power cut.
    ///
    /// # Errors
    /// When writing or syncing fails.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.flush()?;
        if self.dirty {
            self.file.sync_data().map_err(|source| JournalError::Io {
                path: self.path.clone(),
                source,
            })?;
            self.dirty = false;
        }
        Ok(())
    }
}
