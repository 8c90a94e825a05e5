//! Records: whatever a line holds is passed on as it is, and an input that was cut short is known to be.

use std::io::Cursor;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use ente_common::record::{self, Input, Problem, Record, Writer};

use super::spread;

const BEGIN: &str = r#"{"v":1,"type":"begin","tool":"ente-pull","run":"0123456789abcdef","scope":"all","export":"/x","account":{"endpoint":"https://e","app":"photos","user_id":1,"email":"a@b"}}
"#;

pub(in crate::fuzz) fn run(data: &[u8]) {
    if let Ok(input) = Input::open(Cursor::new(data)) {
        read(input);
    }
    let lines = [BEGIN.as_bytes(), data].concat();
    let whole = read_all(&lines);
    assert!(whole.records.len() <= data.iter().filter(|&&byte| byte == b'\n').count());

    // What is cut off at the end is all that is missing.
    let cut = read_all(&lines[..BEGIN.len() + spread(data, data.len())]);
    assert_eq!(cut.records, whole.records[..cut.records.len()]);
    assert!(whole.ended || !cut.ended);

    // Another stage reads what this one writes.
    let again = read_all(&[BEGIN.as_bytes(), &written(&whole.records)].concat());
    assert_eq!(again.records, whole.records);
    for record in whole.records {
        look_into(record);
    }
}

#[derive(Debug, PartialEq)]
struct Read {
    records: Vec<Record>,
    ended: bool,
}

fn read_all(lines: &[u8]) -> Read {
    read(Input::open(Cursor::new(lines)).expect("it begins as it should"))
}

fn read(mut input: Input<Cursor<&[u8]>>) -> Read {
    let mut records = Vec::new();
    while let Ok(Some(record)) = input.next_record() {
        records.push(record);
    }
    let count = |kind| {
        records
            .iter()
            .filter(|record| record.kind() == kind)
            .count() as u64
    };
    assert_eq!(input.upstream().problems, count("problem"));
    assert_eq!(input.upstream().findings, count("finding"));
    Read {
        ended: input.upstream().is_whole(),
        records,
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panics").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn written(records: &[Record]) -> Vec<u8> {
    let out = Shared::default();
    let mut writer = Writer::new(Some(Box::new(out.clone())));
    for record in records {
        writer.write(record).expect("memory takes everything");
    }
    drop(writer);
    let bytes = out.0.lock().expect("nobody panics").clone();
    // A terminal that shows records takes none of them for a command.
    let text = std::str::from_utf8(&bytes).expect("records are UTF-8");
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'));
    bytes
}

fn look_into(mut record: Record) {
    if let Ok(problem) = record.parse::<Problem>() {
        problem.to_failure();
        assert_eq!(problem.to_record().parse::<Problem>().ok(), Some(problem));
    }
    for value in record.members.values() {
        if let Some(path) = record::path_from_value(value) {
            let again = record::path_from_value(&record::path_to_value(&path));
            assert_eq!(again, Some(path) as Option<PathBuf>);
        }
    }
    let named = record.placement_collections().len();
    assert!(named <= record.placements_mut().len());
}
