//! `ente-meta`: decrypts metadata, enriches and filters records, writes sidecars.

mod decide;
mod filter;
mod job;
mod open;
mod plan;
mod problem;
mod rest;
mod settle;
pub mod sidecar;
mod stage;
mod tally;
mod write;

use std::io;

use clap::Parser;
use ente_common::cli::{Common, Io, Source, Tool, When, run_id};
use ente_common::exit::{Exit, Failure};
use ente_common::keystore::KeystoreArgs;
use ente_common::layout::Sidecars;
use ente_common::manifest::{Claim, Export};
use ente_common::record::{Begin, Expect, Scope, Writer as Records, path_to_value};

use filter::Filter;
use open::Library;
use stage::{Plan, Stage};
use write::Writer;

const EXAMPLES: &str = "\
Examples:
  ente-pull ~/Ente | ente-decrypt - | ente-meta -
                                 the whole pipe
  ente-meta ~/Ente               write the sidecars that are missing or out of date
  ente-meta --sidecars beside ~/Ente
                                 have them beside the files from now on
  ente-meta --print ~/Ente | jq -r '.metadata.caption // empty'
                                 all captions
  ente-pull --list ~/Ente | ente-meta --album 'Vacation*' - |
    ente-pull --only - ~/Ente | ente-decrypt - | ente-meta -
                                 only some albums

Exit status:
  0 done, 1 failed, 2 usage, 3 done but for some items, 4 findings passed by, 10 no keys,
  11 export locked, 12 another account's export, 14 format too new, 15 disk full or not
  writable, 130 interrupted, 141 pipe closed";

/// Decrypt metadata: enrich and filter records, write sidecars
#[derive(Clone, Debug, Parser)]
#[command(name = "ente-meta", version, after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    source: Source,

    /// Where sidecars lie: metadata (in `ALBUM/metadata`), beside (their files), none; kept with the export
    #[arg(long, value_name = "WHERE", conflicts_with = "print")]
    sidecars: Option<Sidecars>,

    /// Print records with metadata and write nothing
    #[arg(long)]
    print: bool,

    /// Take over the lock that a run on another machine, or in another container, left behind
    #[arg(long)]
    break_lock: bool,

    #[command(flatten)]
    keystore: KeystoreArgs,

    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    filter: Filter,
}

impl Tool for Args {
    const NAME: &'static str = "ente-meta";

    fn common(&self) -> &Common {
        &self.common
    }

    fn run(&self, io: &mut Io) -> Result<Exit, Failure> {
        if self.print && self.common.records == When::Auto {
            // What was asked for is printed on a terminal too.
            let stdout = std::mem::replace(&mut io.output, Box::new(io::sink()));
            io.records = Records::new(Some(stdout));
        }
        let input = match self.source.reads_records() {
            true => Some(io.read_records()?),
            false => None,
        };
        let begin = input.as_ref().map(|input| input.begin());
        let listing = begin.is_some_and(|begin| begin.scope == Scope::Listing);
        if listing && self.sidecars.is_some() {
            return Err(Failure::new(Exit::Usage, "a listing writes no sidecars")
                .cause("the records come from a run that only lists")
                .hint("leave `--sidecars` out"));
        }
        let export = self.open_export(begin, listing)?;
        let account = match (&export, begin) {
            (Some(export), _) => &export.about().account,
            (None, Some(begin)) => &begin.account,
            (None, None) => return Err(Failure::new(Exit::Usage, "no export is named")),
        };
        let state_dir = export.as_ref().map(Export::state_dir);
        let library = Library::new(self.keystore.keys_of(account, io)?, state_dir);

        let writes = !listing && !self.print;
        let run = match begin {
            Some(begin) => begin.run.clone(),
            None => run_id(),
        };
        let scope = match begin.map_or(Scope::All, |begin| begin.scope) {
            _ if !writes => Scope::Listing,
            // Nobody may take what is left for the whole.
            _ if self.filter.is_active() => Scope::Only,
            scope => scope,
        };
        let is_part = scope == Scope::Listing && self.filter.is_active();
        let mut writers = begin.map_or_else(Vec::new, |begin| begin.writers.clone());
        let is_later = writers.iter().any(|tool| tool == Self::NAME);
        if writes && !is_later {
            writers.push(Self::NAME.to_owned());
        }
        let plan = Plan {
            filter: &self.filter,
            sidecars: self.sidecars,
            listing,
            is_later,
            whole: scope == Scope::All || (input.is_none() && writes),
        };
        let claim = Claim::new(Self::NAME, &run, self.break_lock, io);
        let writer = export.clone().filter(|_| writes);
        let writer = writer.map(|export| Writer::new(export, claim, io));
        match input {
            Some(input) => {
                let scope = serde_json::to_value(scope).unwrap_or_default();
                let begin = input.begin_record().clone();
                let mut begin = begin.with("tool", Self::NAME).with("scope", scope);
                if !writers.is_empty() {
                    begin = begin.with("writers", writers);
                }
                if is_part {
                    begin = begin.with("partial", true);
                }
                Stage::new(plan, io, library, writer).pass(input, &begin)
            }
            None => {
                let begin = Begin {
                    tool: Self::NAME.to_owned(),
                    run,
                    scope,
                    partial: is_part,
                    writers,
                    export: export
                        .as_ref()
                        .map_or_else(Default::default, |export| path_to_value(export.dir())),
                    account: account.clone(),
                    expect: Expect::default(),
                };
                Stage::new(plan, io, library, writer).walk(&begin.to_record(), self.print)
            }
        }
    }
}

impl Args {
    /// The export that is meant; `None` where a listing is of one that is not there yet.
    fn open_export(&self, begin: Option<&Begin>, listing: bool) -> Result<Option<Export>, Failure> {
        let named = begin.and_then(Begin::export);
        let dir = Export::locate(self.source.dir()?, named.as_deref())?;
        if listing && !Export::is_at(&dir)? {
            return Ok(None);
        }
        let export = Export::open(&dir)?;
        if let Some(begin) = begin {
            export.check_account(&begin.account)?;
        }
        Ok(Some(export))
    }
}
