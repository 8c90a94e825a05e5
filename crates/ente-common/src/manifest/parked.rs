//! The names in `.ente/partial/`: each tells what waits under it (section 5 of `docs/formats/manifest.md`).

use std::fmt;

use super::{ContentKey, PartKey};
use crate::disk;
use crate::id::Version;

/// Something that waits in `partial/` for its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked {
    /// An object as far as it was downloaded.
    Download(ContentKey),
    /// The folder of an album on its way to another name: its collection ID.
    Album(i64),
    /// New content of a part, whole.
    New(PartKey, Version),
    /// A part on its way to another place.
    Old(PartKey, Version),
    /// A sidecar that `ente-meta` wrote.
    Meta {
        /// Whose it is.
        of: PartKey,
        /// The second one of its part.
        is_second: bool,
    },
    /// A sidecar that `ente-decrypt` moves with its part.
    Sidecar(PartKey),
}

impl Parked {
    /// What waits under this name; `None` for a name that is none of ours, or of something [half](is_half).
    pub fn parse(name: &str) -> Option<Self> {
        let (kind, rest) = name.split_once('-')?;
        let mut fields = rest.split('-');
        let mut next = || fields.next();
        let parked = match kind {
            "get" => Self::Download((next()?.parse().ok()?, next()?.parse().ok()?)),
            "album" => Self::Album(next()?.parse().ok()?),
            _ => {
                let of = (
                    next()?.parse().ok()?,
                    next()?.parse().ok()?,
                    next()?.parse().ok()?,
                );
                match kind {
                    "new" => Self::New(of, next()?.parse().ok()?),
                    "old" => Self::Old(of, next()?.parse().ok()?),
                    "sidecar" => Self::Sidecar(of),
                    "meta" => Self::Meta {
                        of,
                        is_second: next().is_some(),
                    },
                    _ => return None,
                }
            }
        };
        // One spelling only: what is found is looked for by its name.
        (parked.to_string() == name).then_some(parked)
    }

    /// Whether it is a sidecar.
    pub fn is_sidecar(self) -> bool {
        matches!(self, Self::Meta { .. } | Self::Sidecar(_))
    }
}

impl fmt::Display for Parked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Download((file, version)) => write!(f, "get-{file}-{version}"),
            Self::Album(collection) => write!(f, "album-{collection}"),
            Self::New((collection, file, part), version) => {
                write!(f, "new-{collection}-{file}-{part}-{version}")
            }
            Self::Old((collection, file, part), version) => {
                write!(f, "old-{collection}-{file}-{part}-{version}")
            }
            Self::Meta { of, is_second } => {
                let ending = if *is_second { "-2" } else { "" };
                write!(f, "meta-{}-{}-{}{ending}", of.0, of.1, of.2)
            }
            Self::Sidecar(of) => write!(f, "sidecar-{}-{}-{}", of.0, of.1, of.2),
        }
    }
}

/// The beginning of a name under which a file is being written.
pub const HALF: &str = "tmp-";

/// Under this name a file was being written: of no use to anybody else.
pub fn is_half(name: &str) -> bool {
    name.starts_with(HALF) || name.starts_with(disk::COPIED_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_told_by_its_name() {
        let (of, version) = ((13, 101, 1), Version::from_bytes([0xab; 8]));
        for (name, parked) in [
            ("get-101-abababababababab", Parked::Download((101, version))),
            ("album-13", Parked::Album(13)),
            ("new-13-101-1-abababababababab", Parked::New(of, version)),
            ("old-13-101-1-abababababababab", Parked::Old(of, version)),
            (
                "meta-13-101-1",
                Parked::Meta {
                    of,
                    is_second: false,
                },
            ),
            (
                "meta-13-101-1-2",
                Parked::Meta {
                    of,
                    is_second: true,
                },
            ),
            ("sidecar-13-101-1", Parked::Sidecar(of)),
        ] {
            assert_eq!(parked.to_string(), name);
            assert_eq!(Parked::parse(name), Some(parked), "{name}");
        }
        for name in [
            "",
            "album",
            "album-13-1",
            "album-013",
            "get-101",
            "get-101-xyz",
            "meta-13-101",
            "meta-13-101-1-3",
            "sidecar-13-x-0",
            "sidecar-13-101-1-2",
            "new-13-101-1",
            "new-13-101-1-abababababababab-1",
            "old-13-101-1-ABABABABABABABAB",
            "tmp-1",
        ] {
            assert_eq!(Parked::parse(name), None, "{name}");
        }
        assert!(is_half("tmp-1") && is_half(".ente-tmp-photo.jpg") && !is_half("album-1"));
    }
}
