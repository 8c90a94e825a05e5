//! The manifest as it stands now, though its writers may go on while this tool looks.

use ente_common::exit::Failure;
use ente_common::manifest::facts::{DecryptFact, MetaFact, PullFact};
use ente_common::manifest::focus::Row;
use ente_common::manifest::follow::Follow;
use ente_common::manifest::rest::Mark;
use ente_common::manifest::{Export, State};

use crate::span::Area;

/// The facts of the other tools, kept up to date.
pub(crate) struct Live {
    /// What they come to; verify's own part stays empty, and so do objects where only the tree is looked at.
    pub(crate) state: State,
    area: Area,
    pull: Follow,
    decrypt: Follow,
    meta: Follow,
}

impl Live {
    pub(crate) fn load(export: &Export, area: Area) -> Result<Self, Failure> {
        let dir = export.state_dir();
        let mut live = Self {
            state: State::default(),
            area,
            pull: Follow::new::<PullFact>(&dir),
            decrypt: Follow::new::<DecryptFact>(&dir),
            meta: Follow::new::<MetaFact>(&dir),
        };
        live.refresh()?;
        Ok(live)
    }

    /// Reads what was written since; `true` if anything was.
    pub(crate) fn refresh(&mut self) -> Result<bool, Failure> {
        let before = self.ends();
        let area = self.area;
        // Facts about content, wherever it is, are those of objects.
        let wants = |row: Row| area == Area::Objects || row.collection.is_some();
        let State {
            pull,
            decrypt,
            meta,
            ..
        } = &mut self.state;
        // The second is as long as the other two.
        let (others, written) = rayon::join(
            || {
                self.pull.catch_up_where(wants, |fact| pull.apply(fact))?;
                self.meta.catch_up(|fact| meta.apply(fact))
            },
            || {
                self.decrypt
                    .catch_up_where(wants, |fact| decrypt.apply(fact))
            },
        );
        others?;
        written?;
        Ok(self.ends() != before)
    }

    fn ends(&self) -> [Mark; 3] {
        [self.pull.end(), self.decrypt.end(), self.meta.end()]
    }
}
