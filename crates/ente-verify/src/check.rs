//! What is recorded against what is there: one small table. Pure.

use blake3::Hash;

use crate::plan::{Expected, InAccount, What};

/// What kind of difference was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Class {
    /// Recorded, but not there.
    Missing,
    /// The content differs, size and modification time do not: the disk did that.
    Damaged,
    /// In the account, but not written yet.
    NotExported,
    /// Changed by somebody.
    Modified,
    /// A sidecar that was changed by somebody.
    SidecarEdited,
    /// There, but nobody recorded it.
    Extra,
}

impl Class {
    /// As facts and records spell it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Damaged => "damaged",
            Self::NotExported => "not-exported",
            Self::Modified => "modified",
            Self::SidecarEdited => "sidecar-edited",
            Self::Extra => "extra",
        }
    }

    /// The export is not what it should be: exit code 4. A stray file of the user's is no fault of the export.
    pub(crate) fn is_difference(self) -> bool {
        self != Self::Extra
    }

    /// The next runs of the other tools put it right.
    pub(crate) fn heals(self) -> bool {
        matches!(self, Self::Missing | Self::Damaged | Self::NotExported)
    }
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nothing.
    Nothing,
    /// Something that is no regular file, or that is reached through something that is no folder of ours.
    Other,
    /// A regular file.
    File {
        /// Size in bytes.
        size: u64,
        /// Modification time in microseconds.
        mtime: i64,
        /// Digest of its content, if it was read.
        digest: Option<Digest>,
    },
}

/// Digest of a file that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Digest {
    /// The one that the record holds.
    Blake3(Hash),
    /// The one that the owner's device left.
    Origin([u8; 64]),
}

/// What is wrong with `expected`, given what was `seen` at its path; `None` if nothing is.
///
/// Where the content was read, it alone decides whether there is a difference: a file that was only touched is well. Where it was not, size and
/// modification time decide.
pub(crate) fn classify(expected: &Expected, seen: &Seen) -> Option<Class> {
    let Some(written) = &expected.written else {
        return Some(Class::NotExported);
    };
    let changed = match expected.subject.what {
        What::Content => Class::Modified,
        What::Sidecar => Class::SidecarEdited,
        // Nobody edits ciphertext.
        What::Object => Class::Damaged,
    };
    if expected.account == InAccount::Gone {
        return (*seen != Seen::Nothing).then_some(Class::Extra);
    }
    let (size, mtime, digest) = match seen {
        Seen::Nothing => return Some(Class::Missing),
        Seen::Other => return Some(changed),
        Seen::File {
            size,
            mtime,
            digest,
        } => (*size, *mtime, digest),
    };
    let same_content = match digest {
        Some(Digest::Blake3(digest)) => Some(*digest) == written.blake3,
        Some(Digest::Origin(digest)) => Some(*digest) == written.origin,
        None => size == written.size && written.mtime.is_none_or(|recorded| recorded == mtime),
    };
    if same_content {
        (expected.account == InAccount::Newer).then_some(Class::NotExported)
    } else if size == written.size && written.mtime == Some(mtime) {
        Some(Class::Damaged)
    } else {
        Some(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Subject, Written};

    fn expected(what: What, account: InAccount) -> Expected {
        Expected {
            subject: Subject {
                collection: 1,
                file: 2,
                part: 0,
                what,
                version: None,
                n: 1,
            },
            path: Some("A/x".into()),
            written: Some(Written {
                size: 3,
                blake3: Some(blake3::hash(b"abc")),
                origin: Some([7; 64]),
                mtime: (what == What::Content).then_some(50),
            }),
            account,
            cause: None,
        }
    }

    fn file(content: &[u8], mtime: i64, read: bool) -> Seen {
        Seen::File {
            size: content.len() as u64,
            mtime,
            digest: read.then(|| Digest::Blake3(blake3::hash(content))),
        }
    }

    fn origin(digest: u8, mtime: i64) -> Seen {
        Seen::File {
            size: 3,
            mtime,
            digest: Some(Digest::Origin([digest; 64])),
        }
    }

    #[test]
    fn each_sight_has_its_class() {
        use Class::{Damaged, Missing, Modified, NotExported, SidecarEdited};
        use What::{Content, Object, Sidecar};
        let rows = [
            (Content, Seen::Nothing, Some(Missing)),
            (Content, Seen::Other, Some(Modified)),
            (Content, file(b"abc", 50, true), None),
            (Content, file(b"abc", 51, true), None),
            (Content, file(b"abd", 50, true), Some(Damaged)),
            (Content, file(b"abd", 51, true), Some(Modified)),
            (Content, file(b"abcd", 50, true), Some(Modified)),
            // Not read: size and time decide.
            (Content, file(b"abd", 50, false), None),
            (Content, file(b"abc", 51, false), Some(Modified)),
            (Content, file(b"abcd", 50, false), Some(Modified)),
            (Sidecar, Seen::Nothing, Some(Missing)),
            (Sidecar, Seen::Other, Some(SidecarEdited)),
            (Sidecar, file(b"abc", 51, true), None),
            (Sidecar, file(b"abd", 50, true), Some(SidecarEdited)),
            (Sidecar, file(b"abcd", 50, false), Some(SidecarEdited)),
            (Sidecar, file(b"abd", 50, false), None),
            // Held against what the owner's device left.
            (Content, origin(7, 51), None),
            (Content, origin(8, 50), Some(Damaged)),
            (Content, origin(8, 51), Some(Modified)),
            (Object, file(b"abd", 51, true), Some(Damaged)),
            (Object, file(b"ab", 51, false), Some(Damaged)),
            (Object, Seen::Nothing, Some(Missing)),
        ];
        for (what, seen, class) in rows {
            assert_eq!(
                classify(&expected(what, InAccount::Same), &seen),
                class,
                "{what:?} {seen:?}"
            );
        }
        let outdated = expected(Content, InAccount::Newer);
        assert_eq!(
            classify(&outdated, &file(b"abc", 50, true)),
            Some(NotExported)
        );
        assert_eq!(classify(&outdated, &Seen::Nothing), Some(Missing));
        let never = Expected {
            written: None,
            ..expected(Content, InAccount::Same)
        };
        assert_eq!(classify(&never, &Seen::Nothing), Some(NotExported));
        let gone = expected(Content, InAccount::Gone);
        for (seen, class) in [
            (file(b"abc", 50, true), Some(Class::Extra)),
            (file(b"abd", 50, true), Some(Class::Extra)),
            (Seen::Nothing, None),
        ] {
            assert_eq!(classify(&gone, &seen), class, "{seen:?}");
        }
    }

    #[test]
    fn a_digest_that_cannot_be_read_equals_nothing() {
        let mut expected = expected(What::Content, InAccount::Same);
        if let Some(written) = &mut expected.written {
            written.blake3 = None;
        }
        assert_eq!(
            classify(&expected, &file(b"abc", 50, true)),
            Some(Class::Damaged)
        );
    }
}
