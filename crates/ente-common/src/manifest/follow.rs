//! Reading a journal: its facts in order, and later those that came since.
//!
//! Much is read in pieces, on all cores. The sum of a line begins with that of the line above, which stands there: so a piece can be checked
//! without those before it, and nothing is believed of a piece until those are checked too.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::de::Error as _;

use super::focus::{Row, row_of};
use super::journal::{Facts, JournalError, MAX_LINE_BYTES, check_format, journal_path, kind_of};
use super::rest::Mark;
use super::sum;
use crate::disk::{read_at_most, read_exact_at};

/// What one thread reads at once, and the rest of a line.
const PIECE_BYTES: u64 = 256 << 10;
/// Pieces that are held in memory at once.
const PIECES: usize = 8;
/// What is read to find the end of a line.
const BLOCK_BYTES: usize = 4096;

/// Follows a file that its writer goes on appending to: each [`catch_up`](Follow::catch_up) reads what came since.
#[derive(Debug)]
pub struct Follow {
    path: PathBuf,
    file: Option<File>,
    /// Lines read so far, where the last of them ends, and its sum.
    lines: u64,
    end: u64,
    above: u32,
}

impl Follow {
    /// Follows the file of these facts from the first one; it need not be there yet.
    pub fn new<F: Facts>(state_dir: &Path) -> Self {
        Self::of(state_dir, F::FILE)
    }

    fn of(state_dir: &Path, journal: &str) -> Self {
        Self {
            path: journal_path(state_dir, journal),
            file: None,
            lines: 0,
            end: 0,
            above: sum::NONE,
        }
    }

    /// Follows a journal from a place on; `None` where that is no longer in it.
    pub(super) fn after(state_dir: &Path, journal: &str, mark: &Mark) -> io::Result<Option<Self>> {
        let mut follow = Self::of(state_dir, journal);
        let file = match File::open(&follow.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && mark.bytes == 0 => {
                return Ok(Some(follow));
            }
            file => file?,
        };
        let Some(above) = mark.above_in(&file)? else {
            return Ok(None);
        };
        (follow.end, follow.above) = (mark.bytes, above);
        follow.file = Some(file);
        Ok(Some(follow))
    }

    /// How many bytes were not read yet.
    pub(super) fn left(&self) -> io::Result<u64> {
        let length = match &self.file {
            Some(file) => file.metadata()?.len(),
            None => 0,
        };
        Ok(length.saturating_sub(self.end))
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
        wants: impl Fn(Row) -> bool + Sync,
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
        wants: impl Fn(Row) -> bool + Sync,
        each: impl FnMut(F),
    ) -> Result<(), JournalError> {
        let take = |line: &[u8]| match row_of(F::FILE, line) {
            Some(row) if !wants(row) => Ok(None),
            _ => parse(line),
        };
        self.read_lines(limit, take, each)
    }

    /// As [`catch_up`](Self::catch_up), but of facts that are about rows, only what they are about.
    ///
    /// # Errors
    /// As [`catch_up`](Self::catch_up).
    pub fn survey<F: Facts>(
        &mut self,
        mut each_row: impl FnMut(Row),
        mut each: impl FnMut(F),
    ) -> Result<(), JournalError> {
        enum Seen<F> {
            Row(Row),
            Fact(F),
        }
        let take = |line: &[u8]| match row_of(F::FILE, line) {
            Some(row) => Ok(Some(Seen::Row(row))),
            None => Ok(parse(line)?.map(Seen::Fact)),
        };
        self.read_lines(u64::MAX, take, |seen| match seen {
            Seen::Row(row) => each_row(row),
            Seen::Fact(fact) => each(fact),
        })
    }

    /// Reads the whole lines up to `limit`; `take` makes of each what is handed to `each`, in order.
    pub(super) fn read_lines<T: Send>(
        &mut self,
        limit: u64,
        take: impl Fn(&[u8]) -> Result<Option<T>, serde_json::Error> + Sync,
        mut each: impl FnMut(T),
    ) -> Result<(), JournalError> {
        let path = &self.path;
        let io = |source| JournalError::Io {
            path: path.clone(),
            source,
        };
        if self.file.is_none() {
            self.file = match File::open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                file => Some(file.map_err(io)?),
            };
        }
        let Some(file) = &self.file else {
            return Ok(());
        };
        loop {
            let pieces = pieces(file, self.end, self.above, limit).map_err(io)?;
            let read: Vec<_> = match &*pieces {
                [] => return Ok(()),
                // No threads are started for the little that most runs read.
                [piece] => vec![piece.read(path, file, &take)],
                pieces => pieces
                    .par_iter()
                    .map(|piece| piece.read(path, file, &take))
                    .collect(),
            };
            for (piece, read) in pieces.iter().zip(read) {
                let (read, result) = read;
                read.taken.into_iter().for_each(&mut each);
                result.map_err(|error| below(error, self.lines))?;
                self.lines += read.lines;
                (self.end, self.above) = (piece.end, read.above);
            }
        }
    }
}

/// Some whole lines.
struct Piece {
    start: u64,
    end: u64,
    /// The sum of the line above, as it stands there.
    above: u32,
}

/// What a piece came to.
struct Read<T> {
    taken: Vec<T>,
    lines: u64,
    /// The sum of its last line.
    above: u32,
}

/// The next pieces from `start` on.
fn pieces(file: &File, mut start: u64, mut above: u32, limit: u64) -> io::Result<Vec<Piece>> {
    let length = file.metadata()?.len().min(limit);
    let mut pieces = Vec::new();
    while pieces.len() < PIECES && start < length {
        let middle = length.min(start + PIECE_BYTES);
        let end = match first_line_end(file, middle, length)? {
            None => last_line_end(file, start, middle, read_at_most)?,
            end => end,
        };
        // What is left is torn, or is still being written.
        let Some(end) = end else { break };
        pieces.push(Piece { start, end, above });
        above = sum::above(file, end)?;
        start = end;
    }
    Ok(pieces)
}

impl Piece {
    /// What it comes to, up to the first line that cannot be taken.
    fn read<T>(
        &self,
        path: &Path,
        file: &File,
        take: impl Fn(&[u8]) -> Result<Option<T>, serde_json::Error>,
    ) -> (Read<T>, Result<(), JournalError>) {
        let mut read = Read {
            taken: Vec::new(),
            lines: 0,
            above: self.above,
        };
        let result = self.read_into(&mut read, path, file, take);
        (read, result)
    }

    fn read_into<T>(
        &self,
        read: &mut Read<T>,
        path: &Path,
        file: &File,
        take: impl Fn(&[u8]) -> Result<Option<T>, serde_json::Error>,
    ) -> Result<(), JournalError> {
        let io = |source| JournalError::Io {
            path: path.to_owned(),
            source,
        };
        let size = usize::try_from(self.end - self.start).unwrap_or(usize::MAX);
        if size > MAX_LINE_BYTES {
            let what = "a line is too long";
            return Err(io(io::Error::new(io::ErrorKind::InvalidData, what)));
        }
        let mut bytes = vec![0; size];
        read_exact_at(file, &mut bytes, self.start).map_err(io)?;
        let mut rest = &*bytes;
        while let Some(length) = memchr::memchr(b'\n', rest) {
            let line = &rest[..length];
            rest = &rest[length + 1..];
            read.lines += 1;
            let is_head = self.start == 0 && read.lines == 1;
            if is_head {
                // A newer format may have other sums.
                check_format(path, line)?;
            }
            let damaged = |source| JournalError::Damaged {
                path: path.to_owned(),
                line: read.lines,
                source,
            };
            let changed =
                || serde_json::Error::custom("it was changed, or one above it is missing");
            read.above = sum::check(line, read.above).ok_or_else(|| damaged(changed()))?;
            if !is_head {
                read.taken.extend(take(line).map_err(damaged)?);
            }
        }
        Ok(())
    }
}

/// An error in a piece, counted from the first line of the file.
fn below(error: JournalError, lines: u64) -> JournalError {
    match error {
        JournalError::Damaged { path, line, source } => JournalError::Damaged {
            path,
            line: lines + line,
            source,
        },
        error => error,
    }
}

/// The fact of a line; `None` for kinds that this build does not know.
fn parse<F: Facts>(line: &[u8]) -> Result<Option<F>, serde_json::Error> {
    F::parse(&kind_of(line)?, line)
}

/// Behind the first line feed in this range, of which a writer may cut off a torn line meanwhile.
fn first_line_end(file: &File, mut start: u64, end: u64) -> io::Result<Option<u64>> {
    let mut block = [0; BLOCK_BYTES];
    while start < end {
        let size = (end - start).min(BLOCK_BYTES as u64) as usize;
        let count = read_at_most(file, &mut block[..size], start)?;
        if let Some(at) = memchr::memchr(b'\n', &block[..count]) {
            return Ok(Some(start + at as u64 + 1));
        }
        start += size as u64;
    }
    Ok(None)
}

/// Behind the last line feed in this range, in what `read` makes of it.
pub(super) fn last_line_end(
    file: &File,
    start: u64,
    mut end: u64,
    read: impl Fn(&File, &mut [u8], u64) -> io::Result<usize>,
) -> io::Result<Option<u64>> {
    let mut block = [0; BLOCK_BYTES];
    while start < end {
        let size = (end - start).min(BLOCK_BYTES as u64) as usize;
        let from = end - size as u64;
        let count = read(file, &mut block[..size], from)?;
        if let Some(at) = memchr::memrchr(b'\n', &block[..count]) {
            return Ok(Some(from + at as u64 + 1));
        }
        end = from;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write as _;

    use super::*;
    use crate::manifest::Journal;
    use crate::manifest::facts::{self, PullFact, Setting};

    fn setting(value: &str) -> PullFact {
        PullFact::Setting(Setting {
            name: "objects".into(),
            value: value.into(),
        })
    }

    fn read<F: Facts>(path: &Path, each: impl FnMut(F)) -> Result<(), JournalError> {
        Follow::new::<F>(path.parent().unwrap()).catch_up(each)
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

    #[test]
    fn a_torn_line_that_its_writer_cuts_off_meanwhile_is_no_failure() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pull.jsonl");
        let mut journal = Journal::open(dir.path(), "pull").unwrap();
        journal.append(&setting("one"));
        journal.flush().unwrap();
        let torn = vec![b' '; 2 * PIECE_BYTES as usize];
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for _ in 0..50 {
                    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
                    file.write_all(&torn).unwrap();
                    drop(Journal::open(dir.path(), "pull").unwrap());
                }
            });
            while !writer.is_finished() {
                assert_eq!(values(&path), ["one"]);
            }
        });
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

    /// A journal of some pieces, and where each of its lines ends.
    fn long_journal(dir: &Path) -> Vec<u64> {
        let mut journal = Journal::open(dir, "pull").unwrap();
        for id in 0..40_000 {
            journal.append(&PullFact::File(facts::File {
                collection: id % 7,
                id,
                ..facts::File::default()
            }));
        }
        journal.flush().unwrap();
        let text = std::fs::read(dir.join("pull.jsonl")).unwrap();
        assert!(text.len() as u64 > 2 * PIECE_BYTES);
        let lines = text.split_inclusive(|byte| *byte == b'\n');
        let ends = lines.scan(0, |end, line| {
            *end += line.len() as u64;
            Some(*end)
        });
        ends.collect()
    }

    fn ids(facts: &mut Vec<i64>) -> impl FnMut(PullFact) {
        |fact| match fact {
            PullFact::File(file) => facts.push(file.id),
            fact => panic!("{fact:?}"),
        }
    }

    #[test]
    fn pieces_come_in_order_and_end_at_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let ends = long_journal(dir.path());
        let mut follow = Follow::new::<PullFact>(dir.path());
        let mut read = Vec::new();
        // The head is a line too.
        for limit in [ends[30_000], ends[30_001], u64::MAX] {
            follow.read_to(limit, |_| true, ids(&mut read)).unwrap();
            assert_eq!(follow.end().bytes, limit.min(ends[40_000]));
        }
        assert!(read.into_iter().eq(0..40_000));

        let (mut rows, mut wanted) = (Vec::new(), Vec::new());
        let mut follow = Follow::new::<PullFact>(dir.path());
        follow
            .survey::<PullFact>(|row| rows.push(row.file), |fact| panic!("{fact:?}"))
            .unwrap();
        assert!(rows.into_iter().eq(0..40_000));
        let mut follow = Follow::new::<PullFact>(dir.path());
        follow
            .catch_up_where(|row| row.collection == Some(3), ids(&mut wanted))
            .unwrap();
        assert!(wanted.into_iter().eq((3..40_000).step_by(7)));
    }

    #[test]
    fn damage_is_told_by_its_line_wherever_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pull.jsonl");
        let ends = long_journal(dir.path());
        let text = std::fs::read(&path).unwrap();
        // On both sides of each border of pieces, too.
        let at_borders = (1..3).flat_map(|piece| {
            let border = ends.partition_point(|end| *end <= piece * PIECE_BYTES);
            [border - 1, border, border + 1, border + 2]
        });
        for line in at_borders.chain([1, 20_000, 40_000]) {
            let mut changed = text.clone();
            changed[ends[line] as usize - 30] ^= 1;
            std::fs::write(&path, changed).unwrap();
            match read::<PullFact>(&path, |_| ()) {
                Err(JournalError::Damaged { line: told, .. }) => assert_eq!(told, line as u64 + 1),
                other => panic!("line {line}: {other:?}"),
            }
        }
        // A line is lost where one piece ends and the next begins.
        let border = ends.partition_point(|end| *end <= PIECE_BYTES);
        for lost in border - 1..border + 2 {
            let mut kept = text.clone();
            kept.drain(ends[lost - 1] as usize..ends[lost] as usize);
            std::fs::write(&path, kept).unwrap();
            let result = read::<PullFact>(&path, |_| ());
            assert!(
                matches!(result, Err(JournalError::Damaged { .. })),
                "line {lost}"
            );
        }
    }
}
