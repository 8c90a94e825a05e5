//! Proves the export against its own record; names what to repair. Holds no key, no token, and uses no network.
//!
//! `whole` checks everything, `stream` what records name. `span` is what a run looks at, by half and by share; `live` holds the manifest, `plan` and
//! `objects` say from it what should be there (`against` corrects that by a fresh listing), `look` sees what is, `check` tells the two apart, `walk` finds what nobody recorded. `report` makes
//! findings of it: facts for the other tools (`book`), records for the pipe, a few lines for people. `adopt`, `prune` and `sums` stand alone.

mod whole;

mod stream;

mod span;
mod subset;

mod against;
mod live;
mod objects;
mod plan;

mod check;
mod look;
mod walk;

mod book;
mod report;

mod adopt;
mod prune;
mod sums;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Parser;
use ente_common::cli::{Common, Io, Source, Tool};
use ente_common::exit::{Exit, Failure};
use ente_common::manifest::Claim;

use look::How;
use span::{Area, Span};
use subset::Subset;

/// This tool's name.
pub const NAME: &str = "ente-verify";

const EXAMPLES: &str = "\
Examples:
  ente-verify ~/Ente             read every exported file, compare it with the record
  ente-verify --quick ~/Ente     look at sizes and times only
  ente-verify --subset 3/30 ~/Ente
                                 read a thirtieth tonight, another one tomorrow
  ente-verify --objects /srv/ente
                                 check an encrypted mirror; needs no key
  ente-verify --origin ~/Ente    hold files against what their owners' devices uploaded
  ente-pull --list ~/Ente | ente-verify --against - ~/Ente
                                 is everything here that the account holds now?
  ente-verify ~/Ente | ente-pull --only - ~/Ente | ente-decrypt - | ente-meta -
                                 … and bring back what is missing or damaged
  ente-pull ~/Ente | ente-decrypt - | ente-meta - | ente-verify -
                                 read back what a run has just written
  ente-pull --list ~/Ente | ente-meta - | ente-verify --adopt ~/Pictures -
                                 find what need not be downloaded
  ente-verify --prune=90 ~/Ente  empty the trash of what was removed 90 days ago or earlier
  ente-verify --sums ~/Ente > ente.b3 && cd ~/Ente && b3sum --check --quiet ~/ente.b3
                                 check the export without these tools

What it finds, each a `finding` record:
  missing         recorded, but not there
  damaged         other content under the recorded size and time: the disk did that
  not-exported    in the account, but not here yet: interrupted, or failed
  modified        changed by somebody; never touched
  sidecar-edited  the same for a sidecar
  extra           there, but not ours; told of, and no difference

The next `ente-pull`, `ente-decrypt` and `ente-meta`, in a pipe or not, put right what
is missing, damaged or not exported.

Exit status:
  0 as it should be, 1 failed, 2 usage, 3 some items could not be read, 4 differences
  found, 11 export being written to, 12 another account's export, 14 format too new,
  15 disk full or not writable, 130 interrupted, 141 pipe closed";

/// Prove an export against its own record and name what to repair
#[derive(Clone, Debug, Parser)]
#[command(name = NAME, version, after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    source: Source,
    /// Compare sizes and modification times only; read no content
    #[arg(long, conflicts_with_all = ["prune", "sums"])]
    quick: bool,
    /// Check the encrypted objects in place of the exported files
    #[arg(long, conflicts_with_all = ["prune", "sums"])]
    objects: bool,
    /// Hold files against the hashes that their owners' devices left in the account
    ///
    /// They are those that the manifest holds, or that records on standard input bring fresh from the account:
    /// `ente-pull --list DIR | ente-meta - | ente-verify --origin -`.
    #[arg(long, conflicts_with_all = ["prune", "sums", "quick", "objects"])]
    origin: bool,
    /// Tell what the account holds now and the export lacks, by a listing on standard input
    ///
    /// Files are looked at as with `--quick`. Nothing is written.
    #[arg(
        long,
        value_name = "-",
        value_parser = ["-"],
        hide_possible_values = true,
        conflicts_with_all = ["prune", "sums", "quick", "objects", "origin", "subset"]
    )]
    against: Option<String>,
    /// Find which files of FOLDER are already in the account, so that they need no download
    ///
    /// By the hashes in the records of `ente-pull --list DIR | ente-meta -`. The next `ente-pull` and `ente-decrypt` find the matches in the
    /// manifest: files of FOLDER are copied and never touched; where FOLDER is the export itself they are renamed into their places.
    #[arg(
        long,
        value_name = "FOLDER",
        conflicts_with_all = ["prune", "sums", "quick", "objects", "origin", "subset", "against"]
    )]
    adopt: Option<PathBuf>,
    /// Check only the I-th of N shares of the files; the same I and N always mean the same files
    #[arg(long, value_name = "I/N", conflicts_with_all = ["prune", "sums"])]
    subset: Option<Subset>,
    /// Delete what has lain in the trash for DAYS days or more, 30 if not given; checks nothing
    #[arg(
        long,
        value_name = "DAYS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "30",
        conflicts_with = "sums"
    )]
    prune: Option<u16>,
    /// Print checksums of all files and sidecars as `b3sum --check` reads them, from the record alone
    #[arg(long)]
    sums: bool,
    /// Files to read at once; 1 reads one after the other, which suits rotational disks [default: one per core]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Take over the lock that a run on another machine, or in another container, left behind
    #[arg(long)]
    break_lock: bool,
    #[command(flatten)]
    common: Common,
}

impl Tool for Args {
    const NAME: &'static str = NAME;

    fn common(&self) -> &Common {
        &self.common
    }

    fn run(&self, io: &mut Io) -> Result<Exit, Failure> {
        if let Some(option) = self.of_whole_exports()
            && self.source.reads_records()
        {
            let what = format!("`{option}` is about a whole export, not about records");
            return Err(Failure::new(Exit::Usage, what).hint("name the export in place of `-`"));
        }
        if let Some(folder) = &self.adopt {
            return adopt::run(self, folder, io);
        }
        match self.prune {
            Some(days) => prune::run(self, i64::from(days), io),
            None if self.sums => sums::run(self, io),
            None if self.source.reads_records() => stream::run(self, io),
            None => whole::run(self, io),
        }
    }
}

impl Args {
    /// An option that was given and has no meaning for records.
    fn of_whole_exports(&self) -> Option<&'static str> {
        let options = [
            (self.sums, "--sums"),
            (self.prune.is_some(), "--prune"),
            (self.objects, "--objects"),
            (self.subset.is_some(), "--subset"),
            (self.against.is_some(), "--against"),
        ];
        let given = options.into_iter().find(|(is_given, _)| *is_given);
        given.map(|(_, option)| option)
    }

    /// The claim of `run` to the lock.
    fn claim(&self, run: &str, io: &Io) -> Claim {
        Claim::new(NAME, run, self.break_lock, io)
    }

    /// What a run over a whole export looks at.
    fn span(&self) -> Span {
        Span {
            area: if self.objects {
                Area::Objects
            } else {
                Area::Tree
            },
            subset: self.subset,
            reads: self.how() != How::Quick,
        }
    }

    /// How closely it looks.
    fn how(&self) -> How {
        match (self.quick || self.against.is_some(), self.origin) {
            (true, _) => How::Quick,
            (_, true) => How::Origin,
            _ => How::Record,
        }
    }

    /// How it looks, as the facts spell it.
    fn mode(&self) -> &'static str {
        match (self.objects, self.how()) {
            (false, How::Record) => "full",
            (false, How::Quick) => "quick",
            (false, How::Origin) => "origin",
            (true, How::Quick) => "quick-objects",
            (true, _) => "objects",
        }
    }
}
