//! What becomes of what workers made: a batch of it is synced, recorded, given its place, and told.

use ente_common::exit::{Exit, Failure};
use ente_common::manifest::facts::{Placement, Verdict};
use ente_common::manifest::setting::word;
use ente_common::manifest::{ContentKey, PlacementKey};
use ente_common::record::Problem;

use crate::batch::Batch;
use crate::content::{Done, Refusal, Target};
use crate::moves::Why;
use crate::open::undecryptable;
use crate::place::sync_all;
use crate::pool::Group;
use crate::run::Run;
use crate::tree::problem;

/// What became of a job, once it is in the batch.
enum Settled {
    /// With the batch its files get their place, or its verdict is told: the object may be done with.
    Safe,
    /// There is nothing more to do about it in this run.
    Without,
    /// It is still to be done.
    Open,
    /// Nor can any other.
    Failed(Failure),
}

impl Run<'_> {
    /// Makes everything that workers handed in durable, records it, gives it its place; then prints what rests on it.
    pub(crate) fn close_batch(&mut self) -> Result<(), Failure> {
        let dones = self.pool.take_batch();
        sync_all(dones.iter().flat_map(Done::files))?;
        let mut batch = Batch::default();
        let mut failure = None;
        let mut safe = Vec::new();
        let mut finished = Vec::new();
        for done in dones {
            let content = (done.id, done.version);
            match self.settle(&mut batch, done)? {
                Settled::Safe => {
                    safe.push(content);
                    finished.push(content.0);
                }
                Settled::Without => finished.push(content.0),
                Settled::Open => {}
                Settled::Failed(first) => failure = failure.or(Some(first)),
            }
        }
        if !batch.is_empty() {
            self.tree.commit(batch)?;
        }
        safe.retain(|content| self.tree.is_safe(*content, self.siblings.of(content.0)));
        self.tree.drop_objects(&safe)?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        self.tell_problems()?;
        finished.into_iter().try_for_each(|id| self.group_done(id))
    }

    /// Puts into the batch what became of a job.
    fn settle(&mut self, batch: &mut Batch, done: Done) -> Result<Settled, Failure> {
        let content = (done.id, done.version);
        let collection = done.targets[0].key.0;
        Ok(match done.result {
            Ok(made) => {
                self.counts.bytes += made.bytes();
                self.tree
                    .place(batch, &self.desired, content, &done.targets, made)?;
                self.progress.file();
                Settled::Safe
            }
            Err(Refusal::Undecryptable(reason)) => {
                let problem = undecryptable(collection, Some(done.id), reason);
                self.tree.problems.push(problem);
                self.progress.failed();
                Settled::Without
            }
            Err(Refusal::Verdict {
                class,
                cause,
                blake3,
                aside,
            }) => {
                let object = self.tree.state.object(content);
                let verdict = Verdict {
                    id: done.id,
                    version: done.version,
                    fetch: object.map_or(0, |object| object.fetch),
                    class: class.to_owned(),
                    cause,
                    blake3,
                    gone: false,
                };
                self.pool.told.insert(content);
                self.tree
                    .judge(batch, content, collection, verdict, aside)?;
                self.progress.failed();
                Settled::Safe
            }
            Err(Refusal::SourceChanged(source)) => {
                self.source_changed(batch, content, &done.targets, source)
            }
            Err(Refusal::Interrupted) => Settled::Open,
            Err(Refusal::CannotLink(error)) => {
                let mode = word(&self.tree.settings.link);
                let what = format!("the file system cannot do `--link {mode}`");
                let failure = Failure::new(Exit::Failed, what).cause(&error);
                Settled::Failed(failure.hint("run the same command with `--link auto`"))
            }
            Err(Refusal::Disk(error)) => {
                let what = format!("cannot write the content of file {}", done.id);
                Settled::Failed(Failure::disk(what, &error))
            }
        })
    }

    /// What was to be linked or copied goes to the trash; it lacks content like the others then, and all are queued again.
    fn source_changed(
        &mut self,
        batch: &mut Batch,
        content: ContentKey,
        targets: &[Target],
        source: PlacementKey,
    ) -> Settled {
        let placement = self.tree.placement(source);
        let Some(looks) = self.tree.seen(&placement, None) else {
            return Settled::Without;
        };
        if !self.tree.let_go(batch, &placement, &looks, Why::Rotten) {
            return Settled::Without;
        }
        self.tree.problems.push(rotten(&placement));
        let keys = targets.iter().map(|target| target.key);
        let keys = keys.chain([source]).collect();
        let group = Group::lacking(content.0, content.1, keys);
        self.pool.queue.push_back(group);
        Settled::Open
    }
}

/// A file that was to be linked or copied and does not hold what was written there.
fn rotten(placement: &Placement) -> Problem {
    Problem {
        class: "damaged".into(),
        file: Some(placement.file),
        collection: Some(placement.collection),
        version: placement.version,
        cause: "an exported file no longer holds what was written there; it went to the trash".into(),
        hint: "run the same commands again: where nothing else has its content, it is fetched once more".into(),
        ..problem()
    }
}
