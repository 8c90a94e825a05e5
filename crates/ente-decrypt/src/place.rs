//! Gives what the workers made its place: syncs it, puts what it replaces into the trash, records verdicts, drops objects that are done with.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ente_common::disk;
use ente_common::exit::Failure;
use ente_common::id::Version;
use ente_common::layout;
use ente_common::manifest::facts::{Aside, DecryptFact, Dropped, How, Part, Placement, Verdict};
use ente_common::manifest::{ContentKey, Parked, PlacementKey, private_dir};
use ente_common::record::Problem;

use crate::batch::Batch;
use crate::content::{ARCHIVE, Done, Files, Made, Refusal, Target};
use crate::desired::Desired;
use crate::draft::Draft;
use crate::moves::Arrival;
use crate::moves::Why;
use crate::plan::{Source, source};
use crate::tree::{Did, Look, Tree, problem};

/// Syncs of small files wait most of their time, and wait well together.
const SYNCS: usize = 16;

/// Makes files durable, side by side.
///
/// # Errors
/// With the first that fails.
pub(crate) fn sync_all<'a>(paths: impl Iterator<Item = &'a Path>) -> Result<(), Failure> {
    let paths: Vec<_> = paths.collect();
    let sync = |path: &&Path| {
        let file = fs::File::options().write(true).open(path);
        // A file of the user's mode that nobody may write, and that was dated anew.
        let file = file.or_else(|_| fs::File::open(path));
        file.and_then(|file| file.sync_all())
            .map_err(|error| Failure::disk(format!("cannot sync `{}`", path.display()), &error))
    };
    let share = paths.len().div_ceil(SYNCS).max(1);
    std::thread::scope(|scope| {
        let shares = paths.chunks(share);
        let threads: Vec<_> = shares
            .map(|share| scope.spawn(move || share.iter().try_for_each(sync)))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("syncing does not panic"))
    })
}

impl Done {
    /// The new files that have to be synced before facts rest on them.
    pub(crate) fn files(&self) -> Vec<&Path> {
        match &self.result {
            Ok(made) => {
                let parts = made.copies.iter().flatten();
                parts
                    .map(|(_, draft)| &**draft)
                    .chain(made.archive.as_deref())
                    .collect()
            }
            Err(Refusal::Verdict { aside, .. }) => {
                aside.iter().map(|(draft, _)| &**draft).collect()
            }
            Err(_) => Vec::new(),
        }
    }

    /// How many bytes they hold.
    pub(crate) fn bytes(&self) -> u64 {
        self.result.as_ref().map_or(0, Made::bytes)
    }
}

impl Made {
    /// How many bytes the files of the placements hold.
    pub(crate) fn bytes(&self) -> u64 {
        self.copies
            .iter()
            .flatten()
            .map(|(part, _)| part.size)
            .sum()
    }
}

impl Tree {
    /// Puts the new files of one content in the place of what is there, with the batch.
    ///
    /// # Errors
    /// When something cannot be written.
    pub(crate) fn place(
        &mut self,
        batch: &mut Batch,
        desired: &Desired,
        key: ContentKey,
        targets: &[Target],
        made: Made,
    ) -> Result<(), Failure> {
        let (id, version) = key;
        for (target, files) in targets.iter().zip(made.copies) {
            self.place_copy(batch, desired, version, target.key, files)?;
        }
        if self.state.decrypt.verdicts.contains_key(&key) {
            let gone = Verdict {
                id,
                version,
                gone: true,
                ..Verdict::default()
            };
            self.stage(batch, DecryptFact::Verdict(gone));
        }
        if let Some((class, cause)) = &made.remark {
            self.problems.push(Problem {
                class: (*class).into(),
                file: Some(id),
                version: Some(version),
                collection: Some(targets[0].key.0),
                path: self.state.decrypt.path(targets[0].key, 0),
                cause: cause.clone(),
                hint:
                    "look at it in one of Ente's apps, and upload it again if it is not well there"
                        .into(),
                ..problem()
            });
        }
        match made.archive {
            Some(archive) => {
                let cause = made.remark.as_ref().map_or("", |(class, _)| class);
                self.put_aside(batch, key, archive, ARCHIVE, cause)
            }
            None => self.clear_aside(batch, key),
        }
    }

    fn place_copy(
        &mut self,
        batch: &mut Batch,
        desired: &Desired,
        version: Version,
        key: PlacementKey,
        files: Files,
    ) -> Result<(), Failure> {
        let old = self.placement(key);
        // What has the same content already is only shared in another way.
        let is_same = old.version == Some(version) && self.state.is_whole(key);
        if !old.parts.is_empty() {
            let why = if is_same {
                Why::Relinked
            } else {
                Why::Replaced
            };
            let is_free = match self.seen(&old, None) {
                Some(looks) => self.let_go(batch, &old, &looks, why),
                None => false,
            };
            if !is_free {
                return Ok(());
            }
        }
        let is = |how: How| files.iter().any(|(part, _)| part.how == how);
        let (linked, adopted) = (!is(How::Written), is(How::Adopted));
        let mut parts = Vec::new();
        let mut drafts = Vec::new();
        for (index, (part, draft)) in files.into_iter().enumerate() {
            let parked = self
                .export
                .parked(Parked::New((key.0, key.1, index), version));
            // A leftover under this name would be of a run that never recorded it.
            drafts.push(draft.rename(parked.clone()).map_err(|error| {
                Failure::disk(format!("cannot write `{}`", parked.display()), &error)
            })?);
            parts.push((part, parked));
        }
        let arrival = Arrival {
            key,
            version: Some(version),
            n: old.n + 1,
            parts,
            sidecars: Vec::new(),
            did: match (is_same || old.parts.is_empty(), linked) {
                (false, _) => Did::Replaced,
                (true, _) if adopted => Did::Adopted,
                (true, true) => Did::Linked,
                (true, false) => Did::Written,
            },
        };
        let name = desired.name(&self.state, key).unwrap_or_default();
        if self.arrive(batch, &arrival, name) {
            // From here on they are the batch's.
            drafts.into_iter().for_each(|draft| drop(draft.keep()));
            self.settle_sidecars(batch, &old);
        }
        Ok(())
    }

    /// Sidecars stay with their parts when new content gives those other names; that of a part that is no more leaves.
    fn settle_sidecars(&mut self, batch: &mut Batch, old: &Placement) {
        let key = (old.collection, old.file);
        let folder = self.folder(key.0);
        let new = self.placement(key);
        for (index, part) in old.parts.iter().enumerate() {
            let name = new.parts.get(index).map(|part| part.name.as_str());
            if name == Some(part.name.as_str()) {
                continue;
            }
            match self.park_sidecar(batch, (key.0, key.1, index), &folder, &part.name) {
                Ok(Some(parked)) => self.carry_sidecar(batch, parked, &folder, name),
                Ok(None) => {}
                Err(error) => self.cannot_move(key, &self.path(&folder, &part.name), &error),
            }
        }
    }

    /// Records what was wrong with an object, and keeps its plaintext aside where there is some.
    ///
    /// # Errors
    /// When something cannot be written.
    pub(crate) fn judge(
        &mut self,
        batch: &mut Batch,
        key: ContentKey,
        collection: i64,
        verdict: Verdict,
        aside: Option<(Draft, String)>,
    ) -> Result<(), Failure> {
        if let Some((draft, extension)) = aside {
            self.put_aside(batch, key, draft, &extension, &verdict.cause)?;
        }
        self.problems.push(self.judged(&verdict, collection));
        self.stage(batch, DecryptFact::Verdict(verdict));
        Ok(())
    }

    fn put_aside(
        &mut self,
        batch: &mut Batch,
        key: ContentKey,
        draft: Draft,
        extension: &str,
        cause: &str,
    ) -> Result<(), Failure> {
        let dir = self.export.state_path("aside");
        let path = format!("{}-{}{extension}", key.0, key.1);
        let to = dir.join(&path);
        // What lies there is of the same object: a run was stopped before it recorded it.
        private_dir(&dir)
            .and_then(|()| draft.rename(to.clone()))
            .map(Draft::keep)
            .and_then(|_| disk::sync_dir(&dir))
            .map_err(|error| Failure::disk(format!("cannot write `{}`", to.display()), &error))?;
        let fact = Aside {
            id: key.0,
            version: key.1,
            path,
            cause: cause.to_owned(),
            gone: false,
        };
        self.stage(batch, DecryptFact::Aside(fact));
        Ok(())
    }

    /// What was put aside is exported after all.
    fn clear_aside(&mut self, batch: &mut Batch, key: ContentKey) -> Result<(), Failure> {
        let Some(aside) = self.state.decrypt.asides.get(&key).cloned() else {
            return Ok(());
        };
        let path = self.export.state_path("aside").join(&aside.path);
        batch.drop_parked(path);
        let gone = Aside {
            gone: true,
            ..aside
        };
        self.stage(batch, DecryptFact::Aside(gone));
        Ok(())
    }

    /// Removes spooled objects whose plaintext is safe, and notes it.
    ///
    /// # Errors
    /// When it cannot be noted.
    pub(crate) fn drop_objects(&mut self, contents: &[ContentKey]) -> Result<(), Failure> {
        if self.settings.keeps_objects {
            return Ok(());
        }
        let mut facts = Vec::new();
        for &content in contents {
            let Some(fetch) = self.state.stored(content).map(|object| object.fetch) else {
                continue;
            };
            let path = self
                .export
                .state_path(&layout::object(content.0, content.1));
            // A leftover object costs space, nothing else; it is tried again in the next run.
            if let Err(error) = fs::remove_file(path)
                && error.kind() != io::ErrorKind::NotFound
            {
                continue;
            }
            facts.push(DecryptFact::Dropped(Dropped {
                id: content.0,
                version: content.1,
                fetch,
            }));
        }
        self.note(facts)
    }

    /// A verdict as a problem.
    pub(crate) fn judged(&self, verdict: &Verdict, collection: i64) -> Problem {
        let object = self.state.pull.objects.get(&(verdict.id, verdict.version));
        let came_twice = object.is_some_and(|object| object.same);
        let refetch = format!("`ente-pull --refetch {}`", verdict.id);
        let hint = match verdict.class.as_str() {
            "damaged" if came_twice => format!(
                "the server sent the same bytes twice; look at it in one of Ente's apps; {refetch} tries again"
            ),
            "damaged" => format!(
                "run the same commands again: the object is fetched once more; after that only {refetch} does"
            ),
            _ => format!(
                "look at it in one of Ente's apps; the plaintext is kept in `.ente/aside`; {refetch} tries again"
            ),
        };
        Problem {
            class: verdict.class.clone(),
            file: Some(verdict.id),
            collection: Some(collection),
            version: Some(verdict.version),
            cause: verdict.cause.clone(),
            hint,
            ..problem()
        }
    }

    /// The content lies in the tree, or aside for good: its object is done with.
    pub(crate) fn is_safe(&self, content: ContentKey, siblings: &[i64]) -> bool {
        self.state.is_refused(content)
            || matches!(source(&self.state, content, siblings), Source::Placement(_))
    }

    /// The files of a placement, if all of them are as they were written.
    pub(crate) fn intact(&self, key: PlacementKey) -> Option<Vec<(PathBuf, Part)>> {
        let placement = self.placement(key);
        let looks = self.looks(&placement, None).ok()?;
        let folder = self.folder(key.0);
        let parts = placement.parts.iter();
        looks.iter().all(|look| *look == Look::Ours).then(|| {
            parts
                .map(|part| (self.path(&folder, &part.name), part.clone()))
                .collect()
        })
    }
}
