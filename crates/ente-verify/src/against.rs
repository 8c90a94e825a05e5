//! `--against -`: what the account holds now, as a listing on standard input tells, in the place of what the last pull found.
//!
//! Entries are compared by content version and by digest, so no key is needed to see that something is newer.

use std::collections::HashSet;
use std::io::BufRead;

use ente_common::cli::Io;
use ente_common::exit::{Exit, Failure};
use ente_common::manifest::State;
use ente_common::manifest::facts::{File, entry_digest};
use ente_common::record::{Input, Record, Scope};
use ente_common::wire;
use serde_json::Value;

use crate::plan::{Expected, InAccount, What};

/// What a listing came to.
#[derive(Debug)]
pub(crate) struct Listed {
    /// How it ended, apart from what is found.
    pub(crate) exit: Exit,
    /// It was not cut short.
    pub(crate) has_ended: bool,
    /// It is of the whole account, and was read to its end: what it does not name is not in the account.
    pub(crate) is_whole: bool,
}

/// Reads a listing into `state`; problems and findings are passed on.
///
/// # Errors
/// When the records are no listing, or cannot be read.
pub(crate) fn read<R: BufRead>(
    mut input: Input<R>,
    state: &mut State,
    io: &mut Io,
) -> Result<Listed, Failure> {
    if input.begin().scope != Scope::Listing {
        let what = "the records are not a listing of the account";
        return Err(Failure::new(Exit::Usage, what).hint("`ente-pull --list` prints one"));
    }
    let mut collections = HashSet::new();
    state.pull.files.clear();
    while let Some(record) = input.next_record()? {
        match record.kind() {
            "collection" => collections.extend(record.int("id")),
            "file" => {
                for file in files(&record) {
                    let key = (file.collection, file.id);
                    state.pull.files.insert(key, Box::new(file));
                }
            }
            "problem" | "finding" => io.print(&record)?,
            _ => {}
        }
    }
    state
        .pull
        .collections
        .retain(|id, _| collections.contains(id));
    let upstream = input.upstream();
    let mut exit = upstream.exit();
    let is_partial = input.begin().partial;
    if is_partial {
        let what = "the listing is of a part of the account; only that is compared";
        let hint = "`ente-pull --list`, without a filter behind it, lists everything";
        io.ui.warning(&Failure::new(Exit::Done, what).hint(hint));
    }
    let has_ended = upstream.is_whole();
    if !has_ended {
        exit = exit.and(Exit::Failed);
        let what = "the listing was cut short; only what came is compared";
        let warning = Failure::new(Exit::Failed, what).hint("see what the tool before said");
        io.ui.warning(&warning);
    }
    Ok(Listed {
        exit,
        has_ended,
        is_whole: has_ended && !is_partial,
    })
}

/// The placements of a file, as facts. Of one whose entry was left out only the content version is known.
fn files(record: &Record) -> Vec<File> {
    let placements = record
        .members
        .get("placements")
        .and_then(|it| it.as_array());
    let fact = |placement: &Value| {
        if placement["gone"] == true {
            return None;
        }
        let text = placement["entry"].to_string();
        let entry = serde_json::from_str::<wire::FileEntry<wire::Text<'_>>>(&text);
        Some(match entry {
            Ok(entry) => File::listed(&entry, entry_digest(&text)),
            Err(_) => File {
                collection: placement["collection"].as_i64()?,
                id: record.int("id")?,
                version: record.members.get("version")?.as_str()?.parse().ok(),
                ..File::default()
            },
        })
    };
    placements.into_iter().flatten().filter_map(fact).collect()
}

impl Listed {
    /// Notes in each expectation how the account sees it by this listing, which `state` holds.
    pub(crate) fn compare(&self, state: &State, expected: &mut Vec<Expected>) {
        expected.retain_mut(|it| {
            let key = (it.subject.collection, it.subject.file);
            let listed = state.pull.files.get(&key);
            match (listed, it.subject.what) {
                // Only its files are worth a word.
                (None, What::Sidecar) => return false,
                (None, _) if !self.is_whole => return false,
                (None, _) => {
                    it.account = InAccount::Gone;
                    it.cause = Some("the account no longer has it there".to_owned());
                }
                (Some(file), What::Content) if it.is_first() && it.account == InAccount::Same => {
                    let placement = state.decrypt.placements.get(&key);
                    let digest = placement
                        .map(|placement| placement.digest)
                        .unwrap_or_default();
                    // None is noted where edits could not be read.
                    let is_known = !digest.is_unknown() && !file.digest.is_unknown();
                    if it.written.is_some() && is_known && digest != file.digest {
                        it.account = InAccount::Newer;
                        it.cause = Some("the account holds newer metadata".to_owned());
                    }
                }
                _ => {}
            }
            true
        });
    }
}
