//! `--init`: begins an export without fetching anything, also where the manifest of an old one is lost or damaged.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ente_common::cli::Io;
use ente_common::disk;
use ente_common::exit::{Exit, Failure};
use ente_common::layout::{self, STATE_DIR};
use ente_common::manifest::facts::{PullFact, Setting};
use ente_common::manifest::setting::word;
use ente_common::manifest::{Export, Journal, JournalError, Lock, State};

use crate::Args;
use crate::problems::{self, STAGE};
use crate::session::Session;

/// What the manifest consists of; objects and the trash stay where they are.
const MANIFEST: [&str; 6] = [
    "export.json",
    "pull.jsonl",
    "ciphertext.jsonl",
    "decrypt.jsonl",
    "meta.jsonl",
    "verify.jsonl",
];

/// Begins an export in `dir`; leaves one that is whole as it is.
pub(crate) async fn run(
    args: &Args,
    io: &mut Io,
    session: &Session,
    dir: &Path,
    run: &str,
) -> Result<(), Failure> {
    let now = (io.clock)();
    match whole(dir)? {
        Some(export) => {
            export.check_account(&session.account)?;
            io.ui.note(&format!(
                "`{}` is an export already; nothing was changed",
                dir.display()
            ));
            return Ok(());
        }
        None => {
            // Asked before anything is moved: without an answer all stays as it is.
            let served = session.client.session().await;
            let served = served.map_err(|error| problems::failure(&error, &session.account))?;
            let aside = set_aside(args, dir, run, now)?;
            let export = Export::create(dir, session.account.clone(), served.key_attributes)?;
            let old = |tool: &str| {
                let journal = aside.iter().map(|dir| dir.join(format!("{tool}.jsonl")));
                journal.flat_map(|path| settings_left(&path)).collect()
            };
            let mut settings: BTreeMap<String, String> = old("pull");
            if let Some(objects) = args.objects {
                settings.insert("objects".to_owned(), word(&objects));
            }
            if !settings.is_empty() {
                let _lock = export.lock(STAGE, run, now, args.break_lock)?;
                let mut journal = Journal::open(&export.state_dir(), "pull")?;
                for (name, value) in settings {
                    journal.append(&PullFact::Setting(Setting { name, value }));
                }
                journal.sync()?;
            }
            if let Some(aside) = &aside {
                io.ui.note(&format!(
                    "what was left of the manifest lies in `{}`",
                    aside.display()
                ));
            }
            for (tool, option) in [
                ("decrypt", "mtime"),
                ("decrypt", "link"),
                ("decrypt", "on_remove"),
                ("meta", "sidecars"),
            ] {
                if let Some(value) = old(tool).get(option) {
                    io.ui.warning(&forgotten(tool, option, value));
                }
            }
        }
    }
    io.ui.note(&format!(
        "`{}` is an export now; nothing was fetched",
        dir.display()
    ));
    Ok(())
}

/// The settings that a journal still tells, though it may be damaged.
fn settings_left(journal: &Path) -> BTreeMap<String, String> {
    let bytes = fs::read(journal).unwrap_or_default();
    let lines = bytes.split(|byte| *byte == b'\n');
    let facts = lines.filter_map(|line| {
        let is_setting = line.starts_with(br#"{"fact":"setting","#);
        is_setting.then(|| serde_json::from_slice::<Setting>(line).ok())?
    });
    facts.map(|fact| (fact.name, fact.value)).collect()
}

/// The next run of `tool` does not know the choice that was made for this export once.
fn forgotten(tool: &str, option: &str, value: &str) -> Failure {
    let option = option.replace('_', "-");
    Failure::new(
        Exit::Problems,
        format!("`ente-{tool}` is to be told again: `--{option} {value}`"),
    )
    .cause("that was set for this export, and its manifest is a new one")
}

/// The export in `dir`; none where its manifest is lost or damaged. Whatever else keeps it from being read is no reason to begin another.
fn whole(dir: &Path) -> Result<Option<Export>, Failure> {
    if !Export::is_whole_at(dir)? {
        return Ok(None);
    }
    let export = Export::open(dir)?;
    match State::load(&export.state_dir()) {
        Ok(_) => Ok(Some(export)),
        Err(JournalError::Damaged { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Moves what is left of a manifest out of the way; tells where to.
fn set_aside(args: &Args, dir: &Path, run: &str, now: i64) -> Result<Option<PathBuf>, Failure> {
    let state_dir = dir.join(STATE_DIR);
    let left: Vec<&str> = MANIFEST
        .into_iter()
        .filter(|name| fs::symlink_metadata(state_dir.join(name)).is_ok())
        .collect();
    if left.is_empty() {
        return Ok(None);
    }
    let cannot = |error| Failure::disk(format!("cannot write `{}`", state_dir.display()), &error);
    let lock = Lock::take(&state_dir, STAGE, run, now, args.break_lock);
    let _lock = lock.map_err(|error| error.into_failure(dir))?;
    let names = (0..).map(|number| match number {
        0 => format!("lost-{}", layout::day(now)),
        number => format!("lost-{}-{number}", layout::day(now)),
    });
    let mut folders = names.map(|name| state_dir.join(name));
    let aside = folders
        .find(|folder| fs::symlink_metadata(folder).is_err())
        .expect("there are more numbers than folders");
    ente_common::manifest::private_dir(&aside).map_err(cannot)?;
    for name in left {
        fs::rename(state_dir.join(name), aside.join(name)).map_err(cannot)?;
    }
    disk::sync_dir(&state_dir).map_err(cannot)?;
    Ok(Some(aside))
}
