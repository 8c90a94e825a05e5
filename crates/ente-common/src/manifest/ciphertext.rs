//! `ciphertext.jsonl`: collections and files as served, encrypted; read line by line where a thin fact points.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::disk::read_exact_at;
use crate::manifest::journal::{Journal, JournalError, MAX_LINE_BYTES};
use crate::manifest::{facts, sum};

#[derive(Deserialize)]
struct Line<'a> {
    collection: i64,
    file: Option<i64>,
    #[serde(borrow)]
    entry: &'a RawValue,
}

/// Appends the collection (`file` is `None`) or the file as served; tells offset and length of its line.
pub fn append(
    journal: &mut Journal,
    collection: i64,
    file: Option<i64>,
    entry: &RawValue,
) -> (u64, u64) {
    journal.append_line(|line| {
        let written = match file {
            Some(file) => write!(
                line,
                "{{\"collection\":{collection},\"file\":{file},\"entry\":"
            ),
            None => write!(line, "{{\"collection\":{collection},\"entry\":"),
        };
        written.expect("writing to memory cannot fail");
        let start = line.len();
        line.extend_from_slice(entry.get().as_bytes());
        // JSON allows line feeds between tokens; a record of ours is one line.
        for byte in &mut line[start..] {
            *byte = match *byte {
                b'\n' | b'\r' => b' ',
                other => other,
            };
        }
        line.push(b'}');
    })
}

/// Reads entries where thin facts point.
#[derive(Debug)]
pub struct Ciphertext {
    path: PathBuf,
    file: File,
}

impl Ciphertext {
    /// Opens `ciphertext.jsonl`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(state_dir: &Path) -> Result<Self, JournalError> {
        let path = state_dir.join("ciphertext.jsonl");
        match File::open(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(source) => Err(JournalError::Io { path, source }),
        }
    }

    /// The collection as served.
    ///
    /// # Errors
    /// When it cannot be read or is not in the file.
    pub fn collection(&self, fact: &facts::Collection) -> Result<Box<RawValue>, JournalError> {
        self.entry(fact.id, None, fact.at, fact.len)
    }

    /// The file's entry as served.
    ///
    /// # Errors
    /// When it cannot be read or is not in the file.
    pub fn file(&self, fact: &facts::File) -> Result<Box<RawValue>, JournalError> {
        self.entry(fact.collection, Some(fact.id), fact.at, fact.len)
    }

    fn entry(
        &self,
        collection: i64,
        file: Option<i64>,
        at: u64,
        len: u64,
    ) -> Result<Box<RawValue>, JournalError> {
        let line = match self.line_at(at, len) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            line => line.map_err(|source| JournalError::Io {
                path: self.path.clone(),
                source,
            })?,
        };
        let entry = line.and_then(|line| entry_of(&line, collection, file));
        entry.ok_or_else(|| JournalError::Lost {
            path: self.path.clone(),
            at,
        })
    }

    /// Whether the line that a thin fact points to is as it was written.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn is_whole(&self, at: u64, len: u64) -> io::Result<bool> {
        match self.line_at(at, len) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            line => Ok(line?.is_some()),
        }
    }

    /// The line that stands there; `None` if it is not as it was written.
    fn line_at(&self, at: u64, len: u64) -> io::Result<Option<Vec<u8>>> {
        let end = at.checked_add(len).filter(|_| len <= MAX_LINE_BYTES as u64);
        // The end of the line above is read with it.
        let start = at.saturating_sub(sum::END_BYTES as u64);
        let size = end.and_then(|end| usize::try_from(end - start).ok());
        let mut bytes = vec![0; size.ok_or(io::ErrorKind::UnexpectedEof)?];
        read_exact_at(&self.file, &mut bytes, start)?;
        let line = bytes.split_off((at - start) as usize);
        Ok(sum::check(&line, sum::of_end(&bytes)).map(|_| line))
    }
}

fn entry_of(line: &[u8], collection: i64, file: Option<i64>) -> Option<Box<RawValue>> {
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    (line.collection == collection && line.file == file).then(|| line.entry.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_from_their_own_place_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), "ciphertext").unwrap();
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let (at, len) = append(&mut journal, 13, None, &raw(r#"{"id":13}"#));
        let (file_at, file_len) = append(&mut journal, 13, Some(101), &raw("{\"id\":\n101}"));
        journal.flush().unwrap();
        let ciphertext = Ciphertext::open(dir.path()).unwrap();
        let collection = |at, len| facts::Collection {
            id: 13,
            at,
            len,
            ..facts::Collection::default()
        };
        let file = |at, len| facts::File {
            collection: 13,
            id: 101,
            at,
            len,
            ..facts::File::default()
        };
        assert_eq!(
            ciphertext.collection(&collection(at, len)).unwrap().get(),
            r#"{"id":13}"#
        );
        assert_eq!(
            ciphertext.file(&file(file_at, file_len)).unwrap().get(),
            r#"{"id": 101}"#
        );
        let lost = [
            ("of another line", file(at, len)),
            ("past the end", file(9_999_999, 40)),
            ("of no line", file(file_at + 1, file_len - 1)),
        ];
        for (place, fact) in lost {
            let entry = ciphertext.file(&fact);
            assert!(matches!(entry, Err(JournalError::Lost { .. })), "{place}");
        }
    }
}
