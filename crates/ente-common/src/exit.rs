//! How a run ends: exit codes, failures that end a run, problems that do not.
//!
//! Pure values; printing them belongs to [`crate::ui`] and [`crate::record`].

use std::fmt;
use std::process::ExitCode;

/// The exit codes of all five tools; an unknown code is a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything was done.
    Done = 0,
    /// Failed in a way that no other code names, or the input was cut short.
    Failed = 1,
    /// The command line was not understood.
    Usage = 2,
    /// Done, but for some items, each of which is a `problem` record.
    Problems = 3,
    /// `ente-verify` found differences.
    Differences = 4,
    /// Not signed in, token expired, or keys missing.
    NotSignedIn = 10,
    /// Another run is using the export.
    Locked = 11,
    /// Refused: the sign-in, or an export of another account.
    Refused = 12,
    /// The server is out of reach.
    Unreachable = 13,
    /// A newer release wrote the manifest.
    FormatTooNew = 14,
    /// The disk is full or cannot be written.
    NotWritable = 15,
    /// Stopped by Ctrl-C or a termination signal.
    Interrupted = 130,
    /// Whoever read our records went away.
    PipeClosed = 141,
}

impl Exit {
    /// The worse of two ends of one run: 4 over 3 over 1 over 0.
    #[must_use]
    pub fn and(self, other: Exit) -> Exit {
        let rank = |exit: Exit| match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Problems => 2,
            Exit::Differences => 3,
            Exit::Interrupted | Exit::PipeClosed => 5,
            _ => 4,
        };
        if rank(other) > rank(self) {
            other
        } else {
            self
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// What ends a run: what happened, why, and what to type next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What could not be done; lower case, no full stop, ids and values in backticks.
    pub what: String,
    /// Why, as far as known.
    pub cause: Option<String>,
    /// Something to type or to do.
    pub hint: Option<String>,
    /// The code that the process ends with.
    pub exit: Exit,
}

impl Failure {
    /// A failure without cause or hint.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            cause: None,
            hint: None,
            exit,
        }
    }

    /// Adds the cause: an error with all its sources, or a text.
    #[must_use]
    pub fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A file or folder that could not be read or written; a full or read-only disk gets its own code.
    pub fn disk(what: impl Into<String>, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Kind;
        let (exit, hint) = match error.kind() {
            Kind::StorageFull | Kind::QuotaExceeded => (
                Exit::NotWritable,
                Some("make room, then run the same command again: it goes on where it stopped"),
            ),
            Kind::ReadOnlyFilesystem | Kind::PermissionDenied => (
                Exit::NotWritable,
                Some("check who may write there, then run the same command again"),
            ),
            Kind::BrokenPipe => (Exit::PipeClosed, None),
            _ => (
                Exit::Failed,
                Some("see that the disk is there and in order, then run the same command again"),
            ),
        };
        let failure = Failure::new(exit, what).cause(error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(cause) = &self.cause {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// An error and its sources in one line, for a `cause`.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let part = error.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_end_wins() {
        for (a, b, worse) in [
            (Exit::Done, Exit::Problems, Exit::Problems),
            (Exit::Problems, Exit::Failed, Exit::Problems),
            (Exit::Differences, Exit::Problems, Exit::Differences),
            (Exit::Failed, Exit::Done, Exit::Failed),
        ] {
            assert_eq!(a.and(b), worse);
            assert_eq!(b.and(a), worse);
        }
    }

    #[test]
    fn each_trouble_with_a_disk_has_its_code_and_says_what_to_do() {
        use std::io::ErrorKind as Kind;
        for (kind, exit) in [
            (Kind::StorageFull, Exit::NotWritable),
            (Kind::QuotaExceeded, Exit::NotWritable),
            (Kind::ReadOnlyFilesystem, Exit::NotWritable),
            (Kind::PermissionDenied, Exit::NotWritable),
            (Kind::NotFound, Exit::Failed),
            (Kind::Other, Exit::Failed),
        ] {
            let failure = Failure::disk("cannot write `x`", &kind.into());
            assert_eq!(
                (failure.exit, failure.hint.is_some()),
                (exit, true),
                "{kind}"
            );
        }
        let closed = Failure::disk("cannot write", &Kind::BrokenPipe.into());
        assert_eq!(closed.exit, Exit::PipeClosed);
    }
}
