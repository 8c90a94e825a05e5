//! A run with nothing to do, told by the end of the manifest alone.

use ente_common::exit::Failure;
use ente_common::manifest::facts::DecryptFact;
use ente_common::manifest::setting::word;
use ente_common::manifest::state::VerifyState;
use ente_common::manifest::{News, Rest, rest};
use ente_common::record::Scope;

use crate::Args;
use crate::run::Run;

const RELEASE: &str = env!("CARGO_PKG_VERSION");

impl Run<'_> {
    /// The last run rested, and nothing changed since: whatever the facts are, there is nothing to do.
    pub(crate) fn is_at_rest(&self) -> bool {
        let state_dir = self.tree.export.state_dir();
        let is_checked = |journal: &str, kind: &str| (journal, kind) == ("verify", "checked");
        self.scope == Scope::All
            && !rest::is_disturbed(&state_dir, "decrypt")
            && Rest::last::<DecryptFact>(&state_dir).is_some_and(|rest| {
                asks_nothing_new(self.args, &rest) && rest.holds(&state_dir, is_checked)
            })
    }

    /// What can be touched since a run found nothing to do; `None`: everything.
    pub(crate) fn news(&self, verify: &VerifyState) -> Result<Option<News>, Failure> {
        let state_dir = self.tree.export.state_dir();
        let is_plain = self.scope == Scope::All && !self.args.dry_run && !self.tree.is_writing();
        let takes_all = self.wants_all || verify.adopts_from_tree();
        if !is_plain || takes_all || rest::is_disturbed(&state_dir, "decrypt") {
            return Ok(None);
        }
        let news = News::of::<DecryptFact>(&state_dir);
        let Some(mut news) = news.filter(|news| asks_nothing_new(self.args, &news.rest)) else {
            return Ok(None);
        };
        news.focus.widen(&state_dir)?;
        Ok(Some(news))
    }

    /// Notes that nothing is left to do, so that the next run need not find that out.
    pub(crate) fn rest(&mut self) -> Result<(), Failure> {
        let mut rest = std::mem::take(&mut self.basis);
        rest.read.insert("pull".to_owned(), self.follow.end());
        rest.given.extend(self.tree.state.decrypt.settings.clone());
        let state_dir = self.tree.export.state_dir();
        if Rest::last::<DecryptFact>(&state_dir).as_ref() == Some(&rest) {
            return Ok(());
        }
        // Who else wrote meanwhile knows better.
        if !self.begin_writing()? {
            self.tree.journal().append(&DecryptFact::Rest(rest));
        }
        Ok(())
    }
}

/// What a run reads from now on.
pub(crate) fn basis(state_dir: &std::path::Path) -> Rest {
    let mut rest = Rest::new(RELEASE);
    rest.reads(state_dir, "verify");
    rest
}

/// No option asks for what was not so before.
fn asks_nothing_new(args: &Args, rest: &Rest) -> bool {
    let is = |name: &str, value: Option<String>| {
        value.is_none_or(|value| rest.given.get(name) == Some(&value))
    };
    is("release", Some(RELEASE.to_owned()))
        && is("mtime", args.mtime.as_ref().map(word))
        && is("link", args.link.as_ref().map(word))
        && is("on_remove", args.on_remove.as_ref().map(word))
}
