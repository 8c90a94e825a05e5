//! Records of a run that only lists: passed on with what is known, and nothing is written. The export need not exist.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;

use ente_common::cli::{Io, Tool as _, output_failure};
use ente_common::exit::{Exit, Failure};
use ente_common::manifest::{Export, State};
use ente_common::record::{Begin, Input, Record};
use serde_json::{Value, json};

use crate::desired::Desired;
use crate::plan::{Fate, Siblings, Source, Structure, lacks, source};
use crate::records::{annotate_collection, annotate_listed};
use crate::tree::Tree;
use crate::{Args, NAME};

/// Passes the records of a listing on.
///
/// # Errors
/// When keys or records cannot be read.
pub(crate) fn pass<R: BufRead>(
    args: &Args,
    io: &mut Io,
    mut input: Input<R>,
    begin: &Begin,
    dir: &Path,
) -> Result<Exit, Failure> {
    let export = match Export::is_at(dir)? {
        true => Some(Export::open(dir)?),
        false => None,
    };
    if let Some(export) = &export {
        export.check_account(&begin.account)?;
    }
    let keys = args.keystore.keys_of(&begin.account, io)?;
    let state = match &export {
        Some(export) => State::load(&export.state_dir())?,
        None => State::default(),
    };
    print(io, &begin_of(input.begin_record(), None))?;
    while let Some(mut record) = input.next_record()? {
        match record.kind() {
            "collection" => {
                let opened = record
                    .members
                    .get("entry")
                    .and_then(|entry| keys.read_collection(entry).ok());
                let name = opened
                    .as_ref()
                    .map(|opened| opened.collection.folder_title());
                annotate_collection(&state, name, &mut record);
            }
            "file" => annotate_listed(&state, &mut record),
            _ => {}
        }
        print(io, &record)?;
        if io.interrupt.is_set() {
            return Ok(Exit::Done);
        }
    }
    let mut exit = Exit::Done;
    if input.problems() > 0 {
        exit = exit.and(Exit::Problems);
    }
    if input.findings() > 0 {
        exit = exit.and(Exit::Differences);
    }
    match input.end() {
        Some(end) => print(io, &end_of(Some(end), json!({})))?,
        None => exit = exit.and(Exit::Failed),
    }
    Ok(exit)
}

/// The `begin` to print: that of the stage before under our name, with another scope where one is given.
pub(crate) fn begin_of(upstream: &Record, scope: Option<&str>) -> Record {
    let mut begin = upstream.clone().with("tool", NAME);
    if let Some(scope) = scope {
        begin = begin.with("scope", scope);
    }
    begin
}

/// The `end` to print: that of the stage before with our counts.
pub(crate) fn end_of(upstream: Option<&Record>, counts: Value) -> Record {
    let mut end = upstream.cloned().unwrap_or_else(|| Record::new("end"));
    let all = end.members.entry("counts").or_insert_with(|| json!({}));
    if let Some(all) = all.as_object_mut() {
        all.insert(Args::NAME.into(), counts);
    }
    end
}

/// Prints a record.
///
/// # Errors
/// When nobody reads it.
pub(crate) fn print(io: &mut Io, record: &Record) -> Result<(), Failure> {
    io.records
        .write(record)
        .map_err(|error| output_failure(&error))
}

/// Prints what would be done: a `file` record for each file, a line for each placement.
///
/// # Errors
/// When nobody reads it.
pub(crate) fn plan(
    io: &mut Io,
    tree: &Tree,
    desired: &Desired,
    structure: &Structure,
    siblings: &Siblings,
) -> Result<u64, Failure> {
    let state = &tree.state;
    let mut files: BTreeMap<i64, Vec<Value>> = BTreeMap::new();
    let mut add = |key: (i64, i64), did: &str, gone: bool| {
        let mut placement = json!({"collection": key.0});
        if gone {
            placement["gone"] = true.into();
        }
        let path = match (gone, desired.folder(state, key.0), desired.name(state, key)) {
            (true, ..) => state.decrypt.path(key, 0),
            (false, Some(folder), Some(name)) => Some(format!("{folder}/{}", name.name)),
            _ => None,
        };
        if let Some(path) = path {
            placement["path"] = path.into();
        }
        placement["did"] = did.into();
        files.entry(key.1).or_default().push(placement);
    };
    for folder in &structure.folders {
        io.ui.note(&format!(
            "rename folder `{}` to `{}`",
            folder.from, folder.to
        ));
    }
    let mut served = Vec::new();
    for step in &structure.steps {
        match step.fate {
            Fate::Stay | Fate::Displace => {}
            Fate::Rename => add(step.key, "moved", false),
            Fate::Move(to) => {
                served.push(to);
                add(to, "moved", false);
            }
            Fate::Remove => add(step.key, "trashed", true),
            Fate::Forget => add(step.key, "kept", true),
        }
    }
    for restore in &structure.restores {
        served.push(restore.to);
        add(restore.to, "restored", false);
    }
    for &key in state.pull.files.keys().filter(|key| !served.contains(key)) {
        if let Some(version) = lacks(state, desired, key) {
            let did = match source(state, (key.1, version), siblings.of(key.1)) {
                Source::Placement(_) => "linked",
                Source::Object => "written",
                Source::Refused | Source::Nowhere => "pending",
            };
            add(key, did, false);
        }
    }
    let count = files.len() as u64;
    for (id, placements) in files {
        for placement in &placements {
            let path = placement["path"].as_str().unwrap_or_default();
            let did = placement["did"].as_str().unwrap_or_default();
            io.ui.note(&format!("{did}: `{path}`"));
        }
        let record = Record::new("file")
            .with("id", id)
            .with("change", json!(["pending"]))
            .with("placements", placements);
        print(io, &record)?;
    }
    Ok(count)
}
