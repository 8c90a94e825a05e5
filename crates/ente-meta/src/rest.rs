//! A run with nothing to do, told by the end of the manifest alone.

use std::path::Path;

use ente_common::exit::Failure;
use ente_common::layout::Sidecars;
use ente_common::manifest::facts::MetaFact;
use ente_common::manifest::{Rest, State, rest};

use crate::write::Writer;

const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// The rest of a run that loads the manifest after this.
pub(crate) fn begin(state_dir: &Path) -> Rest {
    let mut rest = Rest::new(RELEASE);
    rest.reads(state_dir, "verify");
    rest
}

/// The last run rested, and nothing changed since: whatever the facts are, there is nothing to do.
pub(crate) fn holds(state_dir: &Path, sidecars: Option<Sidecars>) -> bool {
    // Objects are none of our business.
    let is_idle = |journal: &str, kind: &str| {
        matches!(
            (journal, kind),
            ("verify", "checked") | ("pull" | "decrypt", "object") | ("pull", "failed")
        )
    };
    !rest::is_disturbed(state_dir, "meta")
        && Rest::last::<MetaFact>(state_dir).is_some_and(|rest| {
            let given = |name: &str| rest.given.get(name).map(String::as_str);
            given("release") == Some(RELEASE)
                && sidecars.is_none_or(|at| given("sidecars") == Some(at.as_str()))
                && rest.holds(state_dir, is_idle)
        })
}

/// Notes that nothing is left to do, so that the next run need not find that out.
pub(crate) fn note(writer: &mut Writer, state: &mut State, mut rest: Rest) -> Result<(), Failure> {
    let sidecars = state.meta.settings.get("sidecars");
    rest.given
        .extend(sidecars.map(|at| ("sidecars".to_owned(), at.clone())));
    let state_dir = writer.export().state_dir();
    if Rest::last::<MetaFact>(&state_dir).as_ref() == Some(&rest) {
        return Ok(());
    }
    writer.record(state, vec![MetaFact::Rest(rest)])
}
