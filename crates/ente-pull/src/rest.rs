//! A round with nothing to do, told by the end of the manifest and the list of collections alone.

use std::fs;

use ente_common::cli::Io;
use ente_common::exit::Failure;
use ente_common::manifest::facts::PullFact;
use ente_common::manifest::setting::word;
use ente_common::manifest::{Export, News, Rest, rest};
use ente_common::record::{Expect, Scope};
use ente_common::ui::human_count;
use serde_json::value::RawValue;

use crate::place::is_full_listing_due;
use crate::problems::{self, STAGE};
use crate::round;
use crate::task::Task;

const RELEASE: &str = env!("CARGO_PKG_VERSION");
/// Journals that decide with our own what is to be done.
const READ: [&str; 2] = ["decrypt", "verify"];

/// The rest of a round that loads the manifest after this.
pub(crate) fn begin(export: &Export) -> Rest {
    let mut rest = Rest::new(RELEASE);
    for journal in READ {
        rest.reads(&export.state_dir(), journal);
    }
    rest
}

/// Bytes of what was listed as served: where some are gone, they are to be listed anew.
pub(crate) fn ciphertext_bytes(export: &Export) -> u64 {
    let metadata = fs::metadata(export.state_path("ciphertext.jsonl"));
    metadata.map_or(0, |metadata| metadata.len())
}

/// How many files there were.
pub(crate) fn files(rest: &Rest) -> usize {
    let files = rest.given.get("files").and_then(|files| files.parse().ok());
    files.unwrap_or_default()
}

/// Names what the server listed.
pub(crate) fn digest_of(served: &[Box<RawValue>]) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in served {
        hasher.update(&(text.get().len() as u64).to_le_bytes());
        hasher.update(text.get().as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// Ends a round in which nothing can be to be done, which `true` tells: the last one rested, and nothing changed here or on the server.
///
/// No lock is taken, as nothing is written.
pub(crate) async fn round(task: &Task<'_>, io: &mut Io) -> Result<bool, Failure> {
    let Some(rest) = find(task, (io.clock)())? else {
        return Ok(false);
    };
    let served = task.client.collections().await;
    let served = served.map_err(|error| problems::failure(&error, task.account))?;
    if rest.given.get("collections") != Some(&digest_of(&served)) {
        return Ok(false);
    }
    if !task.has_begun.replace(true) {
        let begin = round::begin(task, Expect::default())?;
        io.print(&begin.to_record())?;
    }
    let files = human_count(files(&rest) as u64);
    io.ui.note(&format!("nothing new; {files} files"));
    Ok(true)
}

fn find(task: &Task<'_>, now: i64) -> Result<Option<Rest>, Failure> {
    let args = task.args;
    let is_plain = task.scope() == Scope::All && !args.full && args.refetch.is_empty();
    if !is_plain || !task.finds_export()? {
        return Ok(None);
    }
    let export = Export::open(task.dir)?;
    export.check_account(task.account)?;
    let state_dir = export.state_dir();
    let Some(rest) = Rest::last::<PullFact>(&state_dir) else {
        return Ok(None);
    };
    let holds = is_as_asked(task, &export, &rest, now)
        && !is_disturbed(&export)
        && rest.holds(&state_dir, |journal, kind| {
            (journal, kind) == ("verify", "checked")
        });
    Ok(holds.then_some(rest))
}

/// A run that was killed, or that goes on, may have left more to do than the facts tell.
pub(crate) fn is_disturbed(export: &Export) -> bool {
    rest::is_disturbed(&export.state_dir(), STAGE.trim_start_matches("ente-"))
}

/// What came since the last round that found nothing to do, if this one asks for no more than that one.
pub(crate) fn news(task: &Task<'_>, export: &Export, now: i64) -> Option<News> {
    let is_plain = task.scope() == Scope::All && !task.args.full && task.args.refetch.is_empty();
    is_plain
        .then(|| News::of::<PullFact>(&export.state_dir()))?
        .filter(|news| is_as_asked(task, export, &news.rest, now))
}

/// Nothing but the account can have anything to do for this round, where the last one rested.
fn is_as_asked(task: &Task<'_>, export: &Export, rest: &Rest, now: i64) -> bool {
    let given = |name: &str| rest.given.get(name).map(String::as_str);
    let full = given("full").and_then(|full| full.parse().ok());
    let ciphertext: Option<u64> = given("ciphertext").and_then(|bytes| bytes.parse().ok());
    let objects = task.args.objects;
    given("release") == Some(RELEASE)
        && objects.is_none_or(|objects| given("objects") == Some(&word(&objects)))
        && ciphertext.is_some_and(|bytes| bytes <= ciphertext_bytes(export))
        && !is_full_listing_due(full, now)
}
