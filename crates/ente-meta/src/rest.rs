//! A run with nothing to do, told by the end of the manifest alone.

use std::path::Path;

use ente_common::exit::Failure;
use ente_common::layout::Sidecars;
use ente_common::manifest::facts::MetaFact;
use ente_common::manifest::{JournalError, News, Parked, Rest, State, rest};

use crate::settle::FROM;
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
        && Rest::last::<MetaFact>(state_dir)
            .is_some_and(|rest| asks_nothing_new(&rest, sidecars) && rest.holds(state_dir, is_idle))
}

/// What can be touched since a run found nothing to do; `None`: everything. With it comes the rest of a run that goes by it: what `ente-verify`
/// finds from now on is not among this news, and so is for the next run.
///
/// # Errors
/// When the manifest cannot be read.
pub(crate) fn news(
    state_dir: &Path,
    sidecars: Option<Sidecars>,
) -> Result<Option<(News, Rest)>, JournalError> {
    let begun = begin(state_dir);
    // `ente-decrypt` may be at work.
    let is_ours = |name: &str| Parked::parse(name).is_some_and(Parked::is_sidecar);
    if rest::is_disturbed_by(state_dir, "meta", is_ours) {
        return Ok(None);
    }
    let news = News::of::<MetaFact>(state_dir);
    let Some(mut news) = news.filter(|news| asks_nothing_new(&news.rest, sidecars)) else {
        return Ok(None);
    };
    news.focus.widen(state_dir)?;
    Ok(Some((news, begun)))
}

fn asks_nothing_new(rest: &Rest, sidecars: Option<Sidecars>) -> bool {
    let given = |name: &str| rest.given.get(name).map(String::as_str);
    given("release") == Some(RELEASE)
        && sidecars.is_none_or(|at| given("sidecars") == Some(at.as_str()))
}

/// Notes that nothing is left to do, so that the next run need not find that out.
pub(crate) fn note(writer: &mut Writer, state: &mut State, mut rest: Rest) -> Result<(), Failure> {
    let settings = &state.meta.settings;
    let from = settings.get(FROM);
    if from.is_some_and(|from| from != state.meta.sidecars_at().as_str()) {
        // Some may lie there still.
        return Ok(());
    }
    let sidecars = settings.get("sidecars");
    rest.given
        .extend(sidecars.map(|at| ("sidecars".to_owned(), at.clone())));
    let state_dir = writer.export().state_dir();
    if Rest::last::<MetaFact>(&state_dir).as_ref() == Some(&rest) {
        return Ok(());
    }
    writer.record(state, vec![MetaFact::Rest(rest)])
}

#[cfg(test)]
mod tests {
    use ente_common::crypto::{KeyPair, MasterKey, SecretKey};
    use ente_common::keystore::KeysFile;
    use ente_common::manifest::facts::{Finding, VerifyFact};
    use ente_common::manifest::{Account, Journal};

    use super::*;
    use crate::open::Library;

    #[test]
    fn what_is_found_while_news_are_taken_is_for_the_next_run() {
        let dir = tempfile::tempdir().unwrap();
        let _ = Journal::open(dir.path(), "pull").unwrap().sync();
        let mut verify = Journal::open(dir.path(), "verify").unwrap();
        let mut find = |file| {
            verify.append(&VerifyFact::Finding(Finding {
                collection: 1,
                file,
                what: "sidecar".to_owned(),
                class: "missing".to_owned(),
                ..Finding::default()
            }));
            verify.sync().unwrap();
        };
        find(1);
        let mut meta = Journal::open(dir.path(), "meta").unwrap();
        meta.append(&MetaFact::Rest(begin(dir.path())));
        meta.sync().unwrap();
        find(2);
        let (news, rest) = news(dir.path(), None).unwrap().unwrap();
        assert!(news.focus.has(2));
        find(3);
        let keys = KeysFile {
            account: Account {
                endpoint: String::new(),
                app: String::new(),
                user_id: 1,
                email: String::new(),
            },
            master_key: MasterKey::from([1; 32]),
            key_pair: KeyPair::new(SecretKey::from([2; 32])),
        };
        let mut library = Library::new(keys, Some(dir.path().to_owned()));
        library.load(Some((news, rest))).unwrap();
        assert!(!library.state.knows(3));
        meta.append(&MetaFact::Rest(library.rest().unwrap()));
        meta.sync().unwrap();
        assert!(!holds(dir.path(), None));
    }
}
