//! Makes the album folders equal to what was pulled.
//!
//! A run loads the facts, names everything in the listing (`desired`), plans what leads from the present tree to the desired one (`plan`),
//! does what needs no content to be made in one batch (`structure`, `adopt`), then makes content side by side (`content`, `write`, `live`,
//! `links`) and gives it its place in batches (`settle`, `place`). All of that goes through `partial/` and the facts first (`tree`), so that the next
//! start can finish or undo what a kill interrupted (`recover`). In a pipe the same happens while records come in (`run`).

mod adopt;
mod batch;
mod content;
mod desired;
mod draft;
mod finish;
mod links;
mod listing;
pub mod live;
mod moves;
mod open;
mod place;
mod plan;
mod pool;
mod records;
mod recover;
mod rest;
mod run;
mod settings;
mod settle;
mod structure;
mod tree;
pub mod write;

#[cfg(test)]
mod history;
#[cfg(test)]
mod testing;

use std::path::PathBuf;

use clap::Parser;
use ente_common::cli::{Common, Io, Source, Tool};
use ente_common::exit::{Exit, Failure};
use ente_common::keystore::KeystoreArgs;
use ente_common::manifest::Export;
use ente_common::manifest::setting::OnRemove;
use ente_common::record::Scope;

use crate::run::Run;
use crate::settings::{LinkMode, Mtime};

/// Name of this tool.
pub const NAME: &str = "ente-decrypt";

const EXAMPLES: &str = "\
Examples:
  ente-pull ~/Ente | ente-decrypt - | ente-meta -    # as part of the pipe
  ente-decrypt ~/Ente                                # after `ente-pull ~/Ente`, or offline
  ente-decrypt --dry-run ~/Ente                      # what would be done
  ente-decrypt --mtime modified ~/Ente               # from now on, and for all files that are there
  ente-decrypt ~/Ente | jq -r 'select(.type == \"file\") | .placements[].path'";

/// Make the album folders equal to what was pulled
#[derive(Clone, Debug, Parser)]
#[command(name = "ente-decrypt", version, after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    source: Source,

    /// Decrypt so many files at once [default: the number of cores]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,

    /// Which time files bear; another value than before dates all files anew [default: taken]
    #[arg(
        long,
        value_enum,
        value_name = "taken|modified|now",
        hide_possible_values = true
    )]
    mtime: Option<Mtime>,

    /// How a file gets into further albums; auto takes the first that works [default: auto]
    #[arg(
        long,
        value_enum,
        value_name = "auto|reflink|hard|copy",
        hide_possible_values = true
    )]
    link: Option<LinkMode>,

    /// What becomes of files that the account no longer has [default: trash]
    #[arg(
        long,
        value_enum,
        value_name = "trash|keep|delete",
        hide_possible_values = true
    )]
    on_remove: Option<OnRemove>,

    /// Say what would be done; write nothing
    #[arg(long)]
    dry_run: bool,

    /// Take over the lock that a run on another machine, or in another container, left behind
    #[arg(long)]
    break_lock: bool,

    #[command(flatten)]
    keystore: KeystoreArgs,

    #[command(flatten)]
    common: Common,
}

impl Tool for Args {
    const NAME: &'static str = NAME;

    fn common(&self) -> &Common {
        &self.common
    }

    fn run(&self, io: &mut Io) -> Result<Exit, Failure> {
        let input = if self.source.reads_records() {
            Some(io.read_records()?)
        } else {
            None
        };
        let begin = input.as_ref().map(|input| input.begin().clone());
        let named: Option<PathBuf> = begin.as_ref().and_then(|begin| begin.export());
        let dir = Export::locate(self.source.dir()?, named.as_deref())?;
        match (input, begin) {
            (Some(input), Some(begin)) if begin.scope == Scope::Listing => {
                listing::pass(self, io, input, &begin, &dir)
            }
            (input, begin) => {
                let export = Export::open(&dir)?;
                if let Some(begin) = &begin {
                    export.check_account(&begin.account)?;
                }
                let keys = self.keystore.keys_of(&export.about().account, io)?;
                Run::new(self, io, export, keys, begin).run(input)
            }
        }
    }
}

impl Args {
    /// How many files are decrypted at once.
    fn jobs(&self) -> usize {
        match self.jobs {
            Some(jobs) => jobs.into(),
            None => std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}
