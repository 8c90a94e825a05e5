//! Work under way: what is queued, what workers have, and what they made that is still to be settled (`settle`).

use std::collections::{HashSet, VecDeque};
use std::path::Path;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use ente_common::exit::Failure;
use ente_common::id::Version;
use ente_common::layout;
use ente_common::manifest::facts::Adopted;
use ente_common::manifest::{ContentKey, PlacementKey};
use ente_common::record::Problem;

use crate::adopt::part_of;
use crate::batch::Batch;
use crate::content::{Done, Job, Target, Work};
use crate::moves::Why;
use crate::open::{Sealed, undecryptable};
use crate::plan::{Source, lacks, source};
use crate::run::Run;
use crate::tree::{Album, problem};

/// A batch closes after so many files,
pub(crate) const BATCH_FILES: usize = 64;
/// so many bytes,
const BATCH_BYTES: u64 = 64 << 20;
/// or so long after its first file was ready.
const BATCH_TIME: Duration = Duration::from_millis(200);
/// How often to look whether the run is to stop.
const TICK: Duration = Duration::from_millis(100);

/// Content that placements lack, or are to share in another way.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: i64,
    pub(crate) version: Version,
    pub(crate) keys: Vec<PlacementKey>,
    /// They have it, and take it anew from this placement.
    pub(crate) relink: Option<PlacementKey>,
}

impl Group {
    pub(crate) fn lacking(id: i64, version: Version, keys: Vec<PlacementKey>) -> Self {
        Self {
            id,
            version,
            keys,
            relink: None,
        }
    }
}

/// Work under way.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) queue: VecDeque<Group>,
    capacity: usize,
    in_flight: usize,
    done: Vec<Done>,
    bytes: u64,
    since: Option<Instant>,
    /// Contents whose standing verdict was told in this run.
    pub(crate) told: HashSet<ContentKey>,
}

impl Pool {
    pub(crate) fn new(jobs: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            // Workers go on while a batch is being committed.
            capacity: 2 * jobs + BATCH_FILES,
            in_flight: 0,
            done: Vec::new(),
            bytes: 0,
            since: None,
            told: HashSet::new(),
        }
    }

    /// How many jobs workers may have before they hand one in.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.in_flight == 0
    }

    pub(crate) fn has_batch(&self) -> bool {
        !self.done.is_empty()
    }

    /// The batch is to be closed.
    pub(crate) fn is_due(&self) -> bool {
        self.done.len() >= BATCH_FILES
            || self.bytes >= BATCH_BYTES
            || self
                .since
                .is_some_and(|since| since.elapsed() >= BATCH_TIME)
    }

    /// How long to wait for something to happen.
    pub(crate) fn patience(&self) -> Duration {
        let left = self
            .since
            .map(|since| BATCH_TIME.saturating_sub(since.elapsed()));
        left.unwrap_or(TICK)
    }

    /// Takes back what a worker made.
    pub(crate) fn hand_in(&mut self, done: Done) {
        self.in_flight -= 1;
        self.bytes += done.bytes();
        self.done.push(done);
        self.since.get_or_insert_with(Instant::now);
    }

    /// Lets go of what workers made: nobody will take it.
    pub(crate) fn discard(&mut self) {
        self.done.clear();
    }

    /// Starts nothing more.
    pub(crate) fn give_up(&mut self) {
        self.queue.clear();
    }

    pub(crate) fn take_batch(&mut self) -> Vec<Done> {
        self.bytes = 0;
        self.since = None;
        std::mem::take(&mut self.done)
    }
}

/// How to go on with content that placements lack.
enum Next {
    /// A worker can make it.
    Work(Work),
    /// This placement was to give it, and lacks it too by now.
    LacksToo(PlacementKey),
    /// It cannot be made now.
    Nothing,
}

impl Run<'_> {
    /// Hands queued work to the workers as far as they have room.
    pub(crate) fn start_jobs(&mut self, to_do: &Sender<Job>) -> Result<(), Failure> {
        while self.pool.in_flight < self.pool.capacity {
            let Some(group) = self.pool.queue.pop_front() else {
                break;
            };
            let id = group.id;
            let job = match group.relink {
                Some(from) => self.relink(group, from)?,
                None => self.job(group)?,
            };
            match job {
                Some(job) => {
                    self.pool.in_flight += 1;
                    // There is room for it, and workers stay as long as this end does.
                    let _ = to_do.send(job);
                }
                None => {
                    self.tell_problems()?;
                    self.group_done(id)?;
                }
            }
        }
        Ok(())
    }

    /// What a worker needs to share content in another way; what somebody changed keeps its way.
    fn relink(&mut self, group: Group, from: PlacementKey) -> Result<Option<Job>, Failure> {
        self.begin_writing_content()?;
        let is_intact = |key: &PlacementKey| {
            let folder = self.tree.folder(key.0);
            self.tree.album(&folder) == Album::Real && self.tree.intact(*key).is_some()
        };
        let keys: Vec<_> = group.keys.into_iter().filter(is_intact).collect();
        let Some(parts) = self.tree.intact(from).filter(|_| !keys.is_empty()) else {
            return Ok(None);
        };
        Ok(Some(Job {
            id: group.id,
            version: group.version,
            targets: keys.iter().map(|key| self.target(*key)).collect(),
            work: Work::Link {
                source: from,
                parts,
            },
            link: self.tree.settings.link,
        }))
    }

    /// What a worker needs to make content; `None` where it cannot be made now.
    fn job(&mut self, group: Group) -> Result<Option<Job>, Failure> {
        let (id, version) = (group.id, group.version);
        let content = (id, version);
        let mut keys = self.lacking(version, group.keys);
        if !self.tree.is_writing() && !keys.is_empty() && self.is_at_hand(content) {
            self.begin_writing_content()?;
            // They were planned on what was the case before the lock.
            keys = self.lacking(version, keys);
        }
        while let Some(&first) = keys.first() {
            match self.work_for(content, first)? {
                Next::Work(work) => {
                    return Ok(Some(Job {
                        id,
                        version,
                        targets: keys.iter().map(|key| self.target(*key)).collect(),
                        work,
                        link: self.tree.settings.link,
                    }));
                }
                Next::LacksToo(key) => {
                    keys.push(key);
                    keys.sort_unstable();
                    keys = self.lacking(version, keys);
                }
                Next::Nothing => break,
            }
        }
        Ok(None)
    }

    /// Those of `keys` that still lack this content, and whose album can be had.
    fn lacking(&mut self, version: Version, mut keys: Vec<PlacementKey>) -> Vec<PlacementKey> {
        let (state, desired) = (&self.tree.state, &self.desired);
        keys.retain(|key| lacks(state, desired, *key) == Some(version));
        keys.retain(|key| {
            let folder = self.tree.folder(key.0);
            self.tree.album(&folder).is_open()
        });
        keys
    }

    fn source(&self, content: ContentKey) -> Source {
        source(&self.tree.state, content, self.siblings.of(content.0))
    }

    fn is_at_hand(&self, content: ContentKey) -> bool {
        match self.source(content) {
            Source::Placement(_) | Source::Object => true,
            Source::Refused => false,
            Source::Nowhere => self.adoptable.elsewhere(content).is_some(),
        }
    }

    /// How a worker comes by content that `key` lacks, perhaps among others.
    fn work_for(&mut self, content: ContentKey, key: PlacementKey) -> Result<Next, Failure> {
        let work = match self.source(content) {
            Source::Placement(source) => match self.tree.intact(source) {
                Some(parts) => Some(Work::Link { source, parts }),
                None if self.let_go(source)? => return Ok(Next::LacksToo(source)),
                None => None,
            },
            Source::Object => self.decryption(content, key),
            Source::Refused => {
                self.tell_verdict(content, key);
                None
            }
            Source::Nowhere => self.adoption(content, key),
        };
        Ok(work.map_or(Next::Nothing, Next::Work))
    }

    fn decryption(&mut self, content: ContentKey, key: PlacementKey) -> Option<Work> {
        let sealed = self.sealed(key)?;
        let listed = self.tree.state.pull.files.get(&key);
        let object = layout::object(content.0, content.1);
        Some(Work::Decrypt {
            object: self.tree.export.state_path(&object),
            size: listed.and_then(|file| file.size),
            sealed,
        })
    }

    /// From files that lie elsewhere on this machine. Those that are not there any more are a problem, once a run.
    fn adoption(&mut self, content: ContentKey, key: PlacementKey) -> Option<Work> {
        let Some(adopted) = self.adoptable.elsewhere(content) else {
            if let Some(path) = self.adoptable.gone(content)
                && self.pool.told.insert(content)
            {
                let problem = adopted_gone(key, content.1, path);
                self.tree.problems.push(problem);
            }
            return None;
        };
        let part = |it: &&Adopted| (it.path.clone(), part_of(it));
        let parts = adopted.iter().map(part).collect();
        let sealed = self.sealed(key)?;
        Some(Work::Adopt { parts, sealed })
    }

    /// What opens a file; it is a problem where nothing does.
    fn sealed(&mut self, key: PlacementKey) -> Option<Sealed> {
        match self.library.sealed(&self.tree.state, key) {
            Ok(sealed) => Some(sealed),
            Err(reason) => {
                let problem = undecryptable(key.0, Some(key.1), reason);
                self.tree.problems.push(problem);
                None
            }
        }
    }

    /// Tells once a run why content was refused before.
    fn tell_verdict(&mut self, content: ContentKey, key: PlacementKey) {
        if let Some(verdict) = self.tree.state.decrypt.verdicts.get(&content)
            && self.pool.told.insert(content)
        {
            let problem = self.tree.judged(verdict, key.0);
            self.tree.problems.push(problem);
        }
    }

    fn target(&self, key: PlacementKey) -> Target {
        let name = self.desired.name(&self.tree.state, key).unwrap_or_default();
        let mtime = self.tree.settings.mtime.pick(name.taken, name.modified);
        Target { key, mtime }
    }

    /// A placement whose files are no longer what was written there gives them up; false where they cannot be moved.
    fn let_go(&mut self, key: PlacementKey) -> Result<bool, Failure> {
        let mut batch = Batch::default();
        let placement = self.tree.placement(key);
        let is_free = match self.tree.seen(&placement, None) {
            Some(looks) => self
                .tree
                .let_go(&mut batch, &placement, &looks, Why::Displaced),
            None => false,
        };
        self.tree.commit(batch)?;
        self.tell_problems()?;
        Ok(is_free)
    }
}

/// What was adopted is not where it was: `ente-pull` fetches it in its next run, unless it sees it then.
fn adopted_gone(key: PlacementKey, version: Version, path: &Path) -> Problem {
    Problem {
        class: "missing".into(),
        file: Some(key.1),
        collection: Some(key.0),
        version: Some(version),
        cause: format!(
            "`ente-verify --adopt` found its content at {}, and it is not there",
            path.display()
        ),
        hint: "connect the disk, or run the same commands again: `ente-pull` fetches what it does not find".into(),
        ..problem()
    }
}
