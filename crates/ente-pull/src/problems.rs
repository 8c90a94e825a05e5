//! The problems of this stage: their classes, and what each tells people to do.

use std::path::Path;

use ente_common::api::{ApiError, ErrorKind, session_ended};
use ente_common::exit::{Exit, Failure, chain};
use ente_common::id::Version;
use ente_common::manifest::Account;
use ente_common::record::Problem;
use ente_common::ui::shell_word;

use crate::listing::ListingError;

/// The stage that all of them name.
pub(crate) const STAGE: &str = "ente-pull";
/// The length on the server is not the one that was listed.
pub(crate) const SIZE_MISMATCH: &str = "size-mismatch";
/// The server has no such object.
pub(crate) const NOT_FOUND: &str = "not-found";
/// The account may not have it, or not any more.
pub(crate) const FORBIDDEN: &str = "forbidden";
/// The bytes on the server do not decrypt.
pub(crate) const DAMAGED: &str = "damaged";
/// No connection.
pub(crate) const UNREACHABLE: &str = "unreachable";

/// After such a failure the listing is to be looked at again: the file may have been removed or replaced meanwhile.
pub(crate) fn may_be_outdated(class: &str) -> bool {
    [SIZE_MISMATCH, NOT_FOUND, FORBIDDEN].contains(&class)
}

/// The class of a call that failed.
pub(crate) fn class_of(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Unauthorized => "unauthorized",
        ErrorKind::Forbidden => FORBIDDEN,
        ErrorKind::NotFound | ErrorKind::Gone => NOT_FOUND,
        ErrorKind::TooManyRequests => "too-many-requests",
        ErrorKind::Refused => "refused",
        ErrorKind::Server => "server",
        ErrorKind::Unreachable => UNREACHABLE,
        ErrorKind::Untrusted => "untrusted",
        ErrorKind::TimedOut => "timed-out",
        ErrorKind::Interrupted => "interrupted",
        ErrorKind::Protocol(_) | ErrorKind::TooLarge => "unexpected-answer",
    }
}

/// What to do about a download that failed.
fn hint(class: &str, file: i64) -> String {
    match class {
        NOT_FOUND | FORBIDDEN => {
            "it may have been deleted or unshared meanwhile; the next run asks again".to_owned()
        }
        SIZE_MISMATCH => {
            "it may have been replaced meanwhile; run the same command again".to_owned()
        }
        DAMAGED => format!("if the server has a good copy again, run `ente-pull --refetch {file}`"),
        _ => "run the same command again; it retries only what failed".to_owned(),
    }
}

/// A file that could not be fetched.
pub(crate) fn not_fetched(file: i64, version: Version, class: &str, cause: &str) -> Problem {
    Problem {
        stage: STAGE.to_owned(),
        class: class.to_owned(),
        file: Some(file),
        version: Some(version),
        cause: cause.to_owned(),
        hint: hint(class, file),
        ..Problem::default()
    }
}

/// A collection whose files could not be listed; what was known of it stays.
pub(crate) fn unlisted(collection: i64, error: &ListingError) -> Problem {
    Problem {
        stage: STAGE.to_owned(),
        class: match error {
            ListingError::Api(error) => class_of(error.kind),
            _ => "unexpected-answer",
        }
        .to_owned(),
        collection: Some(collection),
        cause: format!("its files cannot be listed: {}", chain(error)),
        hint: "run the same command again; until then the album stays as it was".to_owned(),
        ..Problem::default()
    }
}

/// A collection whose files could not be listed from the start; what came since the last time was taken in.
pub(crate) fn unlisted_in_full(collection: i64, error: &ListingError) -> Problem {
    Problem {
        cause: format!(
            "its files cannot be listed from the start: {}",
            chain(error)
        ),
        hint: "run the same command again; until then only what is new in the album is taken in"
            .to_owned(),
        ..unlisted(collection, error)
    }
}

/// Something in a listing that cannot be read.
pub(crate) fn bad_entry(collection: Option<i64>, file: Option<i64>) -> Problem {
    Problem {
        stage: STAGE.to_owned(),
        class: "unreadable-entry".to_owned(),
        collection,
        file,
        cause: "the server lists something that is not what the protocol says".to_owned(),
        hint: "look for an update of these tools; everything else is taken in".to_owned(),
        ..Problem::default()
    }
}

/// A file that `--refetch` names and that this run is not about.
pub(crate) fn not_listed(file: i64) -> Problem {
    Problem {
        stage: STAGE.to_owned(),
        class: "not-listed".to_owned(),
        file: Some(file),
        cause: "no album that this run is about holds this file".to_owned(),
        hint: "check the ID given to `--refetch`".to_owned(),
        ..Problem::default()
    }
}

/// Removals that were not believed; the number `word` would let them through.
pub(crate) fn held_back(gone: usize, known: usize, word: usize, dir: &Path) -> Problem {
    let dir = shell_word(dir);
    Problem {
        stage: STAGE.to_owned(),
        class: "removals-held-back".to_owned(),
        cause: format!("the listing lacks {gone} of {known} files; nothing was removed"),
        hint: format!("if they were really deleted, run `ente-pull --max-remove {word} {dir}`"),
        ..Problem::default()
    }
}

/// Files that are in no album as it was listed, where one could not be listed or changed meanwhile; the number `word` would let them go.
pub(crate) fn in_doubt(files: usize, word: usize, dir: &Path) -> Problem {
    let dir = shell_word(dir);
    Problem {
        stage: STAGE.to_owned(),
        class: "removals-held-back".to_owned(),
        cause: format!(
            "{files} files left their albums and may be in one that could not be listed, or changed meanwhile; they were kept"
        ),
        hint: format!(
            "run the same command again; if they were really deleted, run `ente-pull --max-remove {word} {dir}`"
        ),
        ..Problem::default()
    }
}

/// An album that is not listed any more without having been deleted or unshared.
pub(crate) fn missing(collection: i64) -> Problem {
    Problem {
        stage: STAGE.to_owned(),
        class: "album-missing".to_owned(),
        collection: Some(collection),
        cause:
            "the server does not list it any more, and does not say that it was deleted or unshared"
                .to_owned(),
        hint: "run the same command again; until that is certain the album stays as it was"
            .to_owned(),
        ..Problem::default()
    }
}

/// Key attributes that may not open what is in the export.
pub(crate) fn other_keys() -> Problem {
    Problem {
        stage: STAGE.to_owned(),
        class: "unexpected-answer".to_owned(),
        cause: "the key attributes that the server sent are incomplete, or of another key pair; those in `export.json` were kept".to_owned(),
        hint: "check with `ente-login --status` that this is your server; the export opens as before".to_owned(),
        ..Problem::default()
    }
}

/// Time was up before everything was fetched.
pub(crate) fn out_of_time(left: usize) -> Problem {
    Problem {
        stage: STAGE.to_owned(),
        class: "out-of-time".to_owned(),
        cause: format!("`--max-duration` passed with {left} files still to be fetched"),
        hint: "run the same command again; it goes on where it stopped".to_owned(),
        ..Problem::default()
    }
}

/// The folder of a new export holds something: what if it is the same library?
pub(crate) fn strange_files(dir: &Path) -> Failure {
    let what = format!(
        "`{}` holds files that are not known here; they stay, and the library comes beside them",
        dir.display()
    );
    let dir = shell_word(dir);
    Failure::new(Exit::Problems, what)
    .hint(format!(
        "if they are of this account, stop and take them over: `ente-pull --init {dir}`, then `ente-pull --list {dir} | ente-meta - | ente-verify --adopt {dir} -`"
    ))
}

/// A call whose failure ends the run.
pub(crate) fn failure(error: &ApiError, account: &Account) -> Failure {
    let failure = |exit, what: &str| Failure::new(exit, what).cause(error);
    match error.kind {
        ErrorKind::Unauthorized => session_ended(account),
        ErrorKind::Forbidden => failure(Exit::Refused, "the server refused to list the account")
            .hint("check that the account is one of Ente Photos"),
        ErrorKind::Untrusted => failure(Exit::Unreachable, "the server cannot be trusted")
            .hint("for a server of your own, name its certificate with `--ca-file`"),
        _ if error.is_transient() => failure(Exit::Unreachable, "the server is out of reach")
            .hint("check the network, then run the same command again; nothing was removed"),
        _ => failure(Exit::Failed, "the account cannot be listed")
            .hint("check the address of the server with `ente-login --status`"),
    }
}
