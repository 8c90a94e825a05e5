//! The pipe protocol of `docs/formats/record.md`: JSON Lines, edited in place, so that what a filter added survives.
//!
//! Works on the reader and writer that it is given.

use std::io::{self, BufRead, Read as _, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::exit::{Exit, Failure};
use crate::manifest::Account;
use crate::upstream::Upstream;

/// The version of the protocol that this build speaks.
pub const VERSION: u64 = 1;

/// The longest line that is read.
pub const MAX_LINE_BYTES: usize = 16 << 20;

/// Parsers of JSON stop at some depth, ours at 128, and a record holds entries some levels down.
const MAX_ENTRY_DEPTH: usize = 64;

/// How much of the account a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The whole account: at `end` each stage also does what is pending for it.
    All,
    /// Just the files that records name.
    Only,
    /// Nothing is written by anybody along the pipe.
    Listing,
}

/// The first record of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Begin {
    /// The tool that printed it last.
    pub tool: String,
    /// Run ID, the same along the pipe: 16 hex digits.
    pub run: String,
    /// How much of the account the run is about.
    pub scope: Scope,
    /// A listing is not of the whole account.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Tools that may stand in a pipe twice and write as the records come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writers: Vec<String>,
    /// The export, absolute.
    pub export: Value,
    /// Whose export it is.
    pub account: Account,
    /// What the run is about to move.
    #[serde(default)]
    pub expect: Expect,
}

/// What a run is about to move: an estimate for progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expect {
    /// Files.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Begin {
    /// The export as a path; `None` if it is not given in a form that this platform knows.
    pub fn export(&self) -> Option<PathBuf> {
        path_from_value(&self.export)
    }

    /// As a record.
    pub fn to_record(&self) -> Record {
        Record::of("begin", self)
    }
}

/// One thing that failed in a run that goes on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// The tool that met it.
    pub stage: String,
    /// What kind of failure: one word, as in `docs/formats/record.md`.
    pub class: String,
    /// File ID, where it is about a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<i64>,
    /// Collection ID, where it is about a collection or a placement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<i64>,
    /// Content version, where it is about content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<crate::id::Version>,
    /// Path below the export, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What was seen.
    pub cause: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

impl Problem {
    /// As a record.
    pub fn to_record(&self) -> Record {
        Record::of("problem", self)
    }

    /// In words, for where nobody reads records.
    pub fn to_failure(&self) -> Failure {
        let mut what = match (&self.path, self.file, self.collection) {
            (Some(path), ..) => format!("`{path}`"),
            (None, Some(file), _) => format!("file {file}"),
            (None, None, Some(collection)) => format!("album {collection}"),
            (None, None, None) => "the export".to_owned(),
        };
        if let (Some(_), Some(file)) = (&self.path, self.file) {
            what.push_str(&format!(" (file {file})"));
        }
        let failure = Failure::new(Exit::Problems, format!("{what}: {}", self.class));
        let failure = failure.cause(&self.cause);
        match self.hint.as_str() {
            "" => failure,
            hint => failure.hint(hint),
        }
    }
}

/// One record: an object whose members stay in the order in which they came.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// All members, `v` and `type` first in those that we make.
    pub members: Map<String, Value>,
}

impl Record {
    /// An empty record of this type.
    pub fn new(kind: &str) -> Self {
        let mut members = Map::new();
        members.insert("v".into(), VERSION.into());
        members.insert("type".into(), kind.into());
        Self { members }
    }

    /// A record of this type with the members of `body`.
    pub fn of(kind: &str, body: &impl Serialize) -> Self {
        let mut record = Self::new(kind);
        if let Ok(Value::Object(members)) = serde_json::to_value(body) {
            record.members.extend(members);
        }
        record
    }

    /// Sets a member; one that is there keeps its place.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.into(), value.into());
        self
    }

    /// Its type; empty if it has none.
    pub fn kind(&self) -> &str {
        self.members
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// A whole number.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.members.get(name).and_then(Value::as_i64)
    }

    /// The members as a typed value.
    ///
    /// # Errors
    /// When they do not fit.
    pub fn parse<T: for<'de> Deserialize<'de>>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(Value::Object(self.members.clone()))
    }

    /// The placements of a `file`; makes the member where it is not there.
    pub fn placements_mut(&mut self) -> &mut Vec<Value> {
        let value = self
            .members
            .entry("placements")
            .or_insert_with(|| json!([]));
        if !value.is_array() {
            *value = json!([]);
        }
        value.as_array_mut().expect("it was just made one")
    }

    /// The collections that a `file` names in its placements.
    pub fn placement_collections(&self) -> Vec<i64> {
        self.members
            .get("placements")
            .and_then(Value::as_array)
            .map(|placements| {
                placements
                    .iter()
                    .filter_map(|placement| placement["collection"].as_i64())
                    .collect()
            })
            .unwrap_or_default()
    }
}

/// Why records cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Standard input failed.
    #[error("cannot read the records")]
    Io(#[from] io::Error),
    /// A line is no record.
    #[error("line {line} is not a record")]
    NotARecord {
        /// The line, counted from 1.
        line: u64,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A line is too long.
    #[error("line {line} is longer than {MAX_LINE_BYTES} bytes")]
    TooLong {
        /// The line, counted from 1.
        line: u64,
    },
    /// A newer release wrote them.
    #[error("the records are of version {found}; this build reads version {VERSION}")]
    TooNew {
        /// Their version.
        found: u64,
    },
    /// The first record is not `begin`.
    #[error("the records do not start with `begin`")]
    NoBegin,
}

/// The records of the stage before: `begin` read, then one by one.
#[derive(Debug)]
pub struct Input<R> {
    reader: R,
    line: u64,
    begin: Begin,
    begin_record: Record,
    end: Option<Record>,
    problems: u64,
    findings: u64,
}

impl<R: BufRead> Input<R> {
    /// Reads `begin`.
    ///
    /// # Errors
    /// When there is none or it cannot be read.
    pub fn open(mut reader: R) -> Result<Self, RecordError> {
        let mut line = 0;
        let record = read_record(&mut reader, &mut line)?.ok_or(RecordError::NoBegin)?;
        if record.kind() != "begin" {
            return Err(RecordError::NoBegin);
        }
        let begin = record
            .parse()
            .map_err(|source| RecordError::NotARecord { line, source })?;
        Ok(Self {
            reader,
            line,
            begin,
            begin_record: record,
            end: None,
            problems: 0,
            findings: 0,
        })
    }

    /// What the run is about.
    pub fn begin(&self) -> &Begin {
        &self.begin
    }

    /// The `begin` to pass on, with what others added to it.
    pub fn begin_record(&self) -> &Record {
        &self.begin_record
    }

    /// The next record; `None` at `end` and where the input stops. Problems and findings are counted as they pass.
    ///
    /// # Errors
    /// When a line cannot be read.
    pub fn next_record(&mut self) -> Result<Option<Record>, RecordError> {
        if self.end.is_some() {
            return Ok(None);
        }
        let Some(record) = read_record(&mut self.reader, &mut self.line)? else {
            return Ok(None);
        };
        match record.kind() {
            "end" => {
                self.end = Some(record);
                return Ok(None);
            }
            "problem" => self.problems += 1,
            "finding" => self.findings += 1,
            _ => {}
        }
        Ok(Some(record))
    }

    /// How it ended, once it is read to its end.
    pub fn upstream(&self) -> Upstream {
        Upstream {
            end: self.end.clone(),
            problems: self.problems,
            findings: self.findings,
            error: None,
        }
    }
}

fn read_record(reader: &mut impl BufRead, number: &mut u64) -> Result<Option<Record>, RecordError> {
    let mut line = Vec::new();
    loop {
        line.clear();
        reader
            .take(MAX_LINE_BYTES as u64 + 1)
            .read_until(b'\n', &mut line)?;
        *number += 1;
        if line.len() > MAX_LINE_BYTES {
            return Err(RecordError::TooLong { line: *number });
        }
        // A line without its line feed was cut short: it may parse and still not be the whole.
        if line.pop() != Some(b'\n') {
            return Ok(None);
        }
        if !line.iter().all(u8::is_ascii_whitespace) {
            break;
        }
    }
    let members: Map<String, Value> =
        serde_json::from_slice(&line).map_err(|source| RecordError::NotARecord {
            line: *number,
            source,
        })?;
    if let Some(found) = members
        .get("v")
        .and_then(Value::as_u64)
        .filter(|found| *found > VERSION)
    {
        return Err(RecordError::TooNew { found });
    }
    Ok(Some(Record { members }))
}

/// The only way to standard output for records.
pub struct Writer {
    out: Option<Box<dyn Write + Send>>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("prints", &self.out.is_some())
            .finish()
    }
}

impl Writer {
    /// Prints records to `out`, or drops them where there is none.
    pub fn new(out: Option<Box<dyn Write + Send>>) -> Self {
        Self { out }
    }

    /// Records are printed, not dropped: whoever builds expensive ones may ask.
    pub fn prints(&self) -> bool {
        self.out.is_some()
    }

    /// Prints one line and flushes it.
    ///
    /// # Errors
    /// `BrokenPipe` when the reader went away; else what the system said.
    pub fn write(&mut self, record: &Record) -> io::Result<()> {
        let Some(out) = &mut self.out else {
            return Ok(());
        };
        let mut line = escape_controls(serde_json::to_string(&record.members)?);
        line.push('\n');
        out.write_all(line.as_bytes())?;
        out.flush()
    }
}

/// JSON lets DEL and the controls from U+0080 stand in a text as they are; a terminal that shows records may take them for commands.
fn escape_controls(line: String) -> String {
    // All of them have one of these bytes, and hardly any line has.
    if !line.bytes().any(|byte| matches!(byte, 0x7f | 0xc2)) {
        return line;
    }
    line.chars().fold(String::new(), |mut escaped, c| {
        if c.is_control() {
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            escaped.push(c);
        }
        escaped
    })
}

/// An entry as served, as a record holds it; `None` where members that nobody looked at are such that the record could not be read: nested
/// without end, or numbers beyond all bounds. The manifest has it all the same.
pub fn entry_to_value(entry: &RawValue) -> Option<Value> {
    let entry = serde_json::from_str(entry.get()).ok()?;
    (depth(&entry) <= MAX_ENTRY_DEPTH).then_some(entry)
}

fn depth(value: &Value) -> usize {
    let inner = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(members) => members.values().map(depth).max(),
        _ => return 0,
    };
    1 + inner.unwrap_or(0)
}

/// A path as a record holds it: text, or base64 of its bytes where it is not UTF-8.
pub fn path_to_value(path: &Path) -> Value {
    match path.to_str() {
        Some(text) => text.into(),
        None => {
            use base64::Engine as _;
            json!({ "base64": base64::engine::general_purpose::STANDARD.encode(path.as_os_str().as_encoded_bytes()) })
        }
    }
}

/// Reads what [`path_to_value`] made.
pub fn path_from_value(value: &Value) -> Option<PathBuf> {
    if let Some(text) = value.as_str() {
        return Some(text.into());
    }
    #[cfg(unix)]
    {
        use base64::Engine as _;
        use std::os::unix::ffi::OsStringExt as _;
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(value.get("base64")?.as_str()?)
            .ok()?;
        Some(std::ffi::OsString::from_vec(bytes).into())
    }
    #[cfg(not(unix))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = r#"{"v":1,"type":"begin","tool":"ente-pull","run":"0123456789abcdef","scope":"all","export":"/x","account":{"endpoint":"https://e","app":"photos","user_id":1,"email":"a@b"}}"#;

    fn input(rest: &str) -> Result<Input<io::Cursor<Vec<u8>>>, RecordError> {
        Input::open(io::Cursor::new(format!("{BEGIN}\n{rest}").into_bytes()))
    }

    #[test]
    fn an_entry_that_would_make_the_record_unreadable_stays_out_of_it() {
        let value = |text: String| entry_to_value(&RawValue::from_string(text).unwrap());
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(value(nested(MAX_ENTRY_DEPTH)).is_some());
        for text in [nested(MAX_ENTRY_DEPTH + 1), nested(10_000), "1e999".into()] {
            assert_eq!(value(text), None);
        }
    }

    #[test]
    fn members_of_others_stay_where_they_are() {
        let line =
            r#"{"mine":[1.50,"é",1.3333333333333333e+50],"v":1,"type":"file","id":7,"x":null}"#;
        let mut records = input(&format!("{line}\n")).unwrap();
        let record = records.next_record().unwrap().unwrap();
        assert_eq!(record.int("id"), Some(7));
        let printed = serde_json::to_string(&record.members).unwrap();
        assert_eq!(printed, line.replace("1.50", "1.5"));
    }

    #[test]
    fn a_line_holds_no_control_character_as_it_is() {
        let record = Record::new("file").with("title", "a\u{1b}\u{7f}\u{9b}31m\u{a0}é\n");
        let line = escape_controls(serde_json::to_string(&record.members).unwrap());
        assert_eq!(
            line,
            r#"{"v":1,"type":"file","title":"a\u001b\u007f\u009b31m é\n"}"#
        );
        let members: Map<String, Value> = serde_json::from_str(&line).unwrap();
        assert_eq!(members, record.members);
    }

    #[test]
    fn an_input_without_end_is_known_to_be_cut_short() {
        let mut records =
            input("{\"v\":1,\"type\":\"problem\"}\n{\"v\":1,\"type\":\"end\"}").unwrap();
        while records.next_record().unwrap().is_some() {}
        assert!(
            records.upstream().end.is_none(),
            "a last line without its line feed does not count"
        );
        assert_eq!(records.upstream().problems, 1);
        let mut records = input("{\"v\":1,\"type\":\"end\",\"counts\":{}}\n").unwrap();
        assert!(records.next_record().unwrap().is_none());
        assert!(records.upstream().is_whole());
    }

    #[test]
    fn what_is_no_record_is_refused_with_its_line() {
        let mut records = input("\n[]\n").unwrap();
        assert!(matches!(
            records.next_record(),
            Err(RecordError::NotARecord { line: 3, .. })
        ));
        let mut records = input("{\"v\":2,\"type\":\"file\"}\n").unwrap();
        assert!(matches!(
            records.next_record(),
            Err(RecordError::TooNew { found: 2 })
        ));
        assert!(matches!(
            Input::open(io::Cursor::new(b"".to_vec())),
            Err(RecordError::NoBegin)
        ));
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_not_text_survives() {
        use std::os::unix::ffi::OsStrExt as _;
        for bytes in [&b"/a/b"[..], b"/a/\xff"] {
            let path = Path::new(std::ffi::OsStr::from_bytes(bytes));
            assert_eq!(path_from_value(&path_to_value(path)).as_deref(), Some(path));
        }
    }
}
