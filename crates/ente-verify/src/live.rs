//! The manifest as it stands now, though its writers may go on while this tool looks.

use ente_common::exit::Failure;
use ente_common::manifest::facts::{DecryptFact, MetaFact, PullFact};
use ente_common::manifest::journal::Follow;
use ente_common::manifest::{Export, State};

/// The facts of the other tools, kept up to date.
pub(crate) struct Live {
    /// What they come to; verify's own part stays empty.
    pub(crate) state: State,
    pull: Follow,
    decrypt: Follow,
    meta: Follow,
}

impl Live {
    pub(crate) fn load(export: &Export) -> Result<Self, Failure> {
        let dir = export.state_dir();
        let mut live = Self {
            state: State::default(),
            pull: Follow::new::<PullFact>(&dir),
            decrypt: Follow::new::<DecryptFact>(&dir),
            meta: Follow::new::<MetaFact>(&dir),
        };
        live.refresh()?;
        Ok(live)
    }

    /// Reads what was written since; `true` if anything was.
    pub(crate) fn refresh(&mut self) -> Result<bool, Failure> {
        let Self {
            state,
            pull,
            decrypt,
            meta,
        } = self;
        let mut news = 0;
        pull.catch_up(|fact| {
            news += 1;
            state.pull.apply(fact);
        })?;
        decrypt.catch_up(|fact| {
            news += 1;
            state.decrypt.apply(fact);
        })?;
        meta.catch_up(|fact| {
            news += 1;
            state.meta.apply(fact);
        })?;
        Ok(news > 0)
    }
}
