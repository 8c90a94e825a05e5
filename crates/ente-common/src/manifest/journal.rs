//! One `.jsonl` file of the manifest: read by anybody, appended to by its one writer.
//!
//! A line is a fact. The first member of each is `fact`, its kind, so that the kind is known before the rest is parsed. The last line may be
//! torn by a crash: readers leave it out, the writer cuts it off. The last member of each is `sum`, by which a line that was changed, and one that
//! is missing, is noticed (`docs/formats/manifest.md` 1).

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::focus::{Row, row_of};
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
pub trait Facts: Sized {
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
    serde_json::from_slice(line)
}

/// Where a journal lies.
pub(super) fn journal_path(state_dir: &Path, name: &str) -> PathBuf {
    state_dir.join(format!("{name}.jsonl"))
}

/// Reads all whole facts of `path` in order; a file that is not there has none.
///
/// # Errors
/// When the file cannot be read, is of a newer format or damaged.
pub fn read<F: Facts>(path: &Path, each: impl FnMut(F)) -> Result<(), JournalError> {
    Follow::at(path.to_owned()).catch_up(each)
}

/// Follows a file that its writer goes on appending to: each [`catch_up`](Follow::catch_up) reads what came since.
#[derive(Debug)]
pub struct Follow {
    path: PathBuf,
    reader: Option<BufReader<File>>,
    line: Vec<u8>,
    /// Lines read so far, where the last of them ends, and its sum.
    number: u64,
    end: u64,
    above: u32,
}

impl Follow {
    /// Follows the file of these facts from the first one; it need not be there yet.
    pub fn new<F: Facts>(state_dir: &Path) -> Self {
        Self::at(state_dir.join(format!("{}.jsonl", F::FILE)))
    }

    fn at(path: PathBuf) -> Self {
        Self {
            path,
            reader: None,
            line: Vec::new(),
            number: 0,
            end: 0,
            above: sum::NONE,
        }
    }

    /// Where the last fact that was read ends.
    pub fn end(&self) -> Mark {
        Mark::new(self.end, self.above)
    }

    /// Reads the whole facts that came since the last time.
    ///
    /// # Errors
    /// When the file cannot be read, is of a newer format or damaged.
    pub fn catch_up<F: Facts>(&mut self, each: impl FnMut(F)) -> Result<(), JournalError> {
        self.catch_up_where(|_| true, each)
    }

    /// As [`catch_up`](Self::catch_up), without the facts about rows that are not wanted: their lines are checked, and not parsed.
    ///
    /// # Errors
    /// As [`catch_up`](Self::catch_up).
    pub fn catch_up_where<F: Facts>(
        &mut self,
        wants: impl FnMut(Row) -> bool,
        each: impl FnMut(F),
    ) -> Result<(), JournalError> {
        self.read_to(u64::MAX, wants, each)
    }

    /// As [`catch_up_where`](Self::catch_up_where), up to the line that ends at `limit`.
    ///
    /// # Errors
    /// As [`catch_up`](Self::catch_up).
    pub fn read_to<F: Facts>(
        &mut self,
        limit: u64,
        mut wants: impl FnMut(Row) -> bool,
        mut each: impl FnMut(F),
    ) -> Result<(), JournalError> {
        let Self {
            path,
            reader,
            line,
            number,
            end,
            above,
        } = self;
        let io = |source| JournalError::Io {
            path: path.clone(),
            source,
        };
        if *end >= limit {
            return Ok(());
        }
        let reader = match reader {
            Some(reader) => reader,
            None => match File::open(&path) {
                Ok(file) => reader.insert(BufReader::with_capacity(256 << 10, file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(io(error)),
            },
        };
        let mut take = |line: &[u8]| -> Result<bool, JournalError> {
            *number += 1;
            *end += line.len() as u64 + 1;
            if *number == 1 {
                // A newer format may have other sums.
                check_format(path, line)?;
            }
            *above = sum::check(line, *above).ok_or_else(|| JournalError::Damaged {
                path: path.clone(),
                line: *number,
                source: serde::de::Error::custom("it was changed, or one above it is missing"),
            })?;
            if *number > 1
                && row_of(F::FILE, line).is_none_or(&mut wants)
                && let Some(fact) = parse_line(path, *number, line)?
            {
                each(fact);
            }
            Ok(*end < limit)
        };
        loop {
            let buffer = reader.fill_buf().map_err(io)?;
            // Most lines lie in the buffer as a whole, and are not copied.
            let goes_on = match memchr::memchr(b'\n', buffer) {
                Some(length) => {
                    let goes_on = take(&buffer[..length])?;
                    reader.consume(length + 1);
                    goes_on
                }
                None if read_line(reader, line).map_err(io)? => take(line)?,
                None => break,
            };
            if !goes_on {
                return Ok(());
            }
        }
        if !line.is_empty() {
            // The rest of this line may come yet, or its writer starts afresh here: read it again next time.
            reader.seek(SeekFrom::Start(*end)).map_err(io)?;
        }
        Ok(())
    }
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

/// The fact of a line; `None` for kinds that this build does not know.
fn parse_line<F: Facts>(path: &Path, number: u64, line: &[u8]) -> Result<Option<F>, JournalError> {
    let damaged = |source| JournalError::Damaged {
        path: path.to_owned(),
        line: number,
        source,
    };
    let kind = kind_of(line).map_err(damaged)?;
    F::parse(&kind, line).map_err(damaged)
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
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(bytes);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    (&mut file).take(bytes).read_to_end(&mut tail)?;
    let mut lines = Vec::new();
    // The first may have lost its beginning.
    let Some(first) = tail.iter().position(|byte| *byte == b'\n') else {
        return Ok(lines);
    };
    let mut end = start + first as u64 + 1;
    let mut above = sum::above(&mut file, end)?;
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
                above = sum::above(&mut file, end)?;
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
        let end = whole_lines(&mut file).map_err(io)?;
        let above = sum::above(&mut file, end).map_err(io)?;
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

/// Where the last whole line ends.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut end = length;
    let mut block = [0; 4096];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let size = (end - start) as usize;
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block[..size])?;
        if let Some(at) = block[..size].iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::facts::{PullFact, Setting};

    fn setting(value: &str) -> PullFact {
        PullFact::Setting(Setting {
            name: "objects".into(),
            value: value.into(),
        })
    }

    fn values(path: &Path) -> Vec<String> {
        let mut values = Vec::new();
        read::<PullFact>(path, |fact| {
            if let PullFact::Setting(setting) = fact {
                values.push(setting.value);
            }
        })
        .unwrap();
        values
    }

    #[test]
    fn facts_come_back_in_order_and_a_torn_line_is_dropped_then_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pull.jsonl");
        let mut journal = Journal::open(dir.path(), "pull").unwrap();
        journal.append(&setting("spool"));
        journal.append(&setting("keep"));
        journal.sync().unwrap();
        OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"{\"fact\":\"sett")
            .unwrap();
        assert_eq!(values(&path), ["spool", "keep"]);
        let mut journal = Journal::open(dir.path(), "pull").unwrap();
        journal.append(&setting("three"));
        journal.flush().unwrap();
        assert_eq!(values(&path), ["spool", "keep", "three"]);
    }

    #[test]
    fn a_follower_sees_what_comes_later_and_forgets_a_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        let mut follow = Follow::new::<PullFact>(dir.path());
        let mut news = || {
            let mut values = Vec::new();
            follow
                .catch_up(|fact| {
                    if let PullFact::Setting(setting) = fact {
                        values.push(setting.value);
                    }
                })
                .unwrap();
            values
        };
        assert!(news().is_empty(), "not there yet");
        let mut journal = Journal::open(dir.path(), "pull").unwrap();
        journal.append(&setting("one"));
        journal.flush().unwrap();
        assert_eq!(news(), ["one"]);
        let mut file = OpenOptions::new()
            .append(true)
            .open(dir.path().join("pull.jsonl"))
            .unwrap();
        file.write_all(b"{\"fact\":\"sett").unwrap();
        assert!(news().is_empty());
        let mut journal = Journal::open(dir.path(), "pull").unwrap();
        journal.append(&setting("two"));
        journal.flush().unwrap();
        assert_eq!(news(), ["two"]);
        assert!(news().is_empty());
    }

    /// Lines as a writer would leave them.
    fn write_lines(path: &Path, lines: &[&str]) {
        let (mut text, mut above) = (Vec::new(), sum::NONE);
        for line in lines {
            let start = text.len();
            text.extend_from_slice(line.as_bytes());
            above = sum::add(&mut text, start, above);
            text.push(b'\n');
        }
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn unknown_kinds_and_members_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pull.jsonl");
        write_lines(
            &path,
            &[
                r#"{"format":1,"file":"pull"}"#,
                r#"{"fact":"future","x":1}"#,
                r#"{ "name":"objects", "value":"keep", "more":[], "fact":"setting" }"#,
            ],
        );
        assert_eq!(values(&path), ["keep"]);
    }

    #[test]
    fn a_newer_format_and_a_damaged_line_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pull.jsonl");
        // Its lines may have other sums, or none.
        std::fs::write(&path, "{\"format\":2}\n").unwrap();
        assert!(matches!(
            read::<PullFact>(&path, |_| ()),
            Err(JournalError::TooNew { found: 2, .. })
        ));
        write_lines(&path, &[r#"{"format":1}"#, r#"{"fact":"setting"}"#]);
        assert!(matches!(
            read::<PullFact>(&path, |_| ()),
            Err(JournalError::Damaged { line: 2, .. })
        ));
    }

    #[test]
    fn a_lost_line_is_damage_though_all_others_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pull.jsonl");
        let mut journal = Journal::open(dir.path(), "pull").unwrap();
        for value in ["one", "two", "three"] {
            journal.append(&setting(value));
        }
        journal.flush().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        for lost in 0..3 {
            let kept = text.split_inclusive('\n').enumerate();
            let kept: String = kept
                .filter(|(index, _)| *index != lost)
                .map(|(_, line)| line)
                .collect();
            std::fs::write(&path, kept).unwrap();
            assert!(
                matches!(
                    read::<PullFact>(&path, |_| ()),
                    Err(JournalError::Damaged { .. })
                ),
                "line {lost}"
            );
        }
    }
}
