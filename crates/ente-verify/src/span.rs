//! What a run looks at: the album folders or the encrypted objects, all of it or a share.

use std::collections::HashSet;
use std::path::Path;

use ente_common::layout::{CIPHERTEXT, STATE_DIR};
use ente_common::manifest::State;

use crate::objects;
use crate::plan::{self, Expected, Subject, What};
use crate::subset::Subset;

/// Which half of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    /// The album folders.
    Tree,
    /// `.ente/objects`.
    Objects,
}

impl Area {
    /// The tools that move about what lies there.
    pub(crate) fn movers(self) -> &'static [&'static str] {
        match self {
            Self::Tree => &["ente-decrypt", "ente-meta"],
            Self::Objects => &["ente-pull", "ente-decrypt"],
        }
    }

    /// What people call one of them.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Tree => "file",
            Self::Objects => "object",
        }
    }
}

/// What a run looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) area: Area,
    /// `None`: all of it.
    pub(crate) subset: Option<Subset>,
    /// Content is read, not only looked at.
    pub(crate) reads: bool,
}

impl Span {
    /// Everything that should be there, sorted by path.
    pub(crate) fn expected(&self, state: &State) -> Vec<Expected> {
        let mut expected = match self.area {
            Area::Tree => plan::whole(state),
            Area::Objects => objects::whole(state),
        };
        expected.retain(|it| self.has_file(it.subject.file));
        plan::sort(&mut expected);
        expected
    }

    /// What should be there, by newer facts, of what these are about; sorted by path.
    pub(crate) fn again<'a>(
        &self,
        state: &State,
        subjects: impl Iterator<Item = &'a Subject>,
    ) -> Vec<Expected> {
        let id = |of: &Subject| (of.collection, of.file, of.part, of.what);
        let ids: HashSet<_> = subjects.map(id).collect();
        let mut expected: Vec<Expected> = match self.area {
            Area::Tree => {
                let keys: HashSet<_> = ids.iter().map(|it| (it.0, it.1)).collect();
                keys.into_iter()
                    .flat_map(|key| plan::of_key(state, key))
                    .collect()
            }
            Area::Objects => objects::whole(state),
        };
        expected.retain(|it| ids.contains(&id(&it.subject)));
        plan::sort(&mut expected);
        expected
    }

    /// The run has something to say about this part, sidecar or object.
    pub(crate) fn has(&self, file: i64, what: What) -> bool {
        let area = match what {
            What::Content | What::Sidecar => Area::Tree,
            What::Object => Area::Objects,
        };
        area == self.area && self.has_file(file)
    }

    fn has_file(&self, file: i64) -> bool {
        self.subset.is_none_or(|subset| subset.has_file(file))
    }

    /// The run has something to say about a stray file at this path below the export.
    pub(crate) fn has_path(&self, path: &Path) -> bool {
        let area = if path.starts_with(STATE_DIR) {
            Area::Objects
        } else {
            Area::Tree
        };
        if path == Path::new(CIPHERTEXT) {
            return self.has_listing();
        }
        area == self.area && self.subset.is_none_or(|subset| subset.has_path(path))
    }

    /// What was listed is looked at too. It is one file, so it belongs to the first share.
    pub(crate) fn has_listing(&self) -> bool {
        self.reads && self.subset.is_none_or(Subset::is_first)
    }
}
