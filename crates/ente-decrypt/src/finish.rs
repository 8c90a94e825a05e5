//! How a run ends: what no record named is told, what is left over is cleared away, the end is summed up. Or, in a dry run: what would be done.

use std::collections::BTreeSet;

use crossbeam_channel::Receiver;
use ente_common::exit::{Exit, Failure};
use ente_common::manifest::ContentKey;
use ente_common::record::{Record, Scope};
use ente_common::ui::human_count;
use ente_common::upstream::{Event, Upstream};
use serde_json::{Value, json};

use crate::NAME;
use crate::listing;
use crate::plan::lacks;
use crate::run::{Run, SHOWN_PROBLEMS};
use crate::tree::Did;

/// What a run did.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Placements with new content.
    pub written: u64,
    /// Plain bytes decrypted.
    pub bytes: u64,
    linked: u64,
    moved: u64,
    restored: u64,
    adopted: u64,
    removed: u64,
    /// Problems that were met.
    pub problems: u64,
}

impl Counts {
    /// Counts what was done for one placement.
    pub(crate) fn count(&mut self, did: Did) {
        let counter = match did {
            Did::Written | Did::Replaced => &mut self.written,
            Did::Linked => &mut self.linked,
            Did::Moved => &mut self.moved,
            Did::Restored => &mut self.restored,
            Did::Adopted => &mut self.adopted,
            Did::Trashed | Did::Deleted => &mut self.removed,
        };
        *counter += 1;
    }

    fn to_value(&self) -> Value {
        json!({
            "written": self.written,
            "bytes": self.bytes,
            "linked": self.linked,
            "moved": self.moved,
            "restored": self.restored,
            "adopted": self.adopted,
            "removed": self.removed,
            "problems": self.problems,
        })
    }
}

impl Run<'_> {
    /// Prints what was done and no record named.
    pub(crate) fn print_left(&mut self) -> Result<(), Failure> {
        let left: BTreeSet<i64> = self.tree.did.keys().map(|key| key.1).collect();
        for id in left {
            self.print_pending(id)?;
        }
        self.tell_problems()
    }

    /// What no record named is printed; what is left over is cleared away; the end.
    pub(crate) fn finish(mut self, ended: Upstream) -> Result<Exit, Failure> {
        if ended.end.is_some() && self.scope == Scope::All && !self.io.interrupt.is_set() {
            self.drop_leftovers()?;
        }
        self.print_left()?;
        let exit = self.exit().and(ended.exit());
        let is_whole = ended.is_whole() && !self.io.interrupt.is_set();
        let is_done = exit == Exit::Done && is_whole && self.scope == Scope::All;
        if is_done && self.surveyed && !self.is_behind {
            self.rest()?;
        }
        self.tree.sync()?;
        let end = ended.end_with(NAME, self.counts.to_value());
        self.summary(&end);
        if ended.error.is_none() && self.io.interrupt.is_set() {
            return Ok(exit);
        }
        Ok(self.io.finish(ended, &end)?.and(exit))
    }

    /// How the run ends, as far as it is about this tool.
    fn exit(&self) -> Exit {
        match self.counts.problems {
            0 => Exit::Done,
            _ => Exit::Problems,
        }
    }

    /// Drops spooled objects that nothing needs any more: a run was stopped before it could, or the account has other content by now.
    fn drop_leftovers(&mut self) -> Result<(), Failure> {
        // Whoever listed more meanwhile may have stored what that needs.
        if self.tree.settings.keeps_objects || self.is_behind {
            return Ok(());
        }
        let mut wanted: BTreeSet<ContentKey> = BTreeSet::new();
        for (key, file) in &self.tree.state.pull.files {
            if let Some(version) = file.version {
                let is_lacking = lacks(&self.tree.state, &self.desired, *key).is_some();
                if is_lacking || self.desired.unreadable.contains(key) {
                    wanted.insert((key.1, version));
                }
            }
        }
        let objects = self.tree.state.pull.objects.keys();
        let mut unneeded: Vec<ContentKey> = objects
            .filter(|key| !wanted.contains(*key) && self.tree.state.stored(**key).is_some())
            .copied()
            .collect();
        if unneeded.is_empty() {
            return Ok(());
        }
        unneeded.sort_unstable();
        if self.begin_writing()? {
            // Planned on what was the case before the lock.
            return self.drop_leftovers();
        }
        self.tree.drop_objects(&unneeded)
    }

    fn summary(&self, end: &Record) {
        let counts = &self.counts;
        if counts.problems > SHOWN_PROBLEMS || counts.problems > 0 && self.io.records.prints() {
            let of = match self.tree.state.focus {
                Some(_) => String::new(),
                None => format!(
                    " of {}",
                    human_count(self.tree.state.pull.files.len() as u64)
                ),
            };
            let what = format!(
                "{}{of} files were met with problems",
                human_count(counts.problems)
            );
            let failure = Failure::new(Exit::Problems, what)
                .cause("each is a `problem` record")
                .hint("run the same command again; it tries only those, unless their records say otherwise");
            self.io.ui.warning(&failure);
        }
        let evaded = self.tree.evaded.len() as u64;
        if evaded > 0 {
            self.io.ui.note(&format!(
                "{} took the next free name, because something of yours has theirs",
                human_count(evaded)
            ));
        }
        self.io.ui.summary(end);
    }

    /// Prints what would be done.
    pub(crate) fn dry_run(mut self, events: &Receiver<Event>) -> Result<Exit, Failure> {
        let mut ended = Upstream::default();
        for event in events {
            match event {
                // What the stages before found is theirs to say; files are planned from the manifest.
                Event::Record(record) if record.kind() == "file" => {}
                Event::Record(record) => self.io.print(&record)?,
                Event::Over(over) => {
                    ended = over;
                    break;
                }
            }
        }
        self.survey()?;
        let unread = std::mem::take(&mut self.unread);
        self.tree.problems.extend(unread);
        self.tell_problems()?;
        self.progress.finish();
        listing::plan(
            self.io,
            &self.tree,
            &self.desired,
            &self.steps,
            &self.siblings,
        )?;
        let end = ended.end_with(NAME, json!({}));
        Ok(self.io.finish(ended, &end)?.and(self.exit()))
    }
}
