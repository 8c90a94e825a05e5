//! Records of a run that only lists: passed on with what is known, and nothing is written. The export need not exist.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;

use ente_common::cli::Io;
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
    io.print(&begin_of(input.begin_record(), None))?;
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
        io.print(&record)?;
        if io.interrupt.is_set() {
            return Ok(Exit::Done);
        }
    }
    let upstream = input.upstream();
    let end = upstream.end_with(NAME, json!({}));
    io.finish(upstream, &end)
}

/// The `begin` to print: that of the stage before under our name, with another scope where one is given.
pub(crate) fn begin_of(upstream: &Record, scope: Option<&str>) -> Record {
    let mut begin = upstream.clone().with("tool", NAME);
    if let Some(scope) = scope {
        begin = begin.with("scope", scope);
    }
    begin
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
) -> Result<(), Failure> {
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
        io.print(&record)?;
    }
    Ok(())
}
