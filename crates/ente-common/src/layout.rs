//! Where things lie in an export: pure path arithmetic, shared by everybody who writes or reads the tree.
//!
//! Paths are relative to the export (or to `.ente/` where said), with `/`; [`join`] makes them real.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::id::Version;

/// The folder of the manifest in an export.
pub const STATE_DIR: &str = ".ente";

/// What the server listed, as served, in an export.
pub const CIPHERTEXT: &str = ".ente/ciphertext.jsonl";

/// Where sidecars lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sidecars {
    /// `ALBUM/metadata/NAME.json`.
    #[default]
    Metadata,
    /// `ALBUM/NAME.json`.
    Beside,
    /// Nowhere.
    None,
}

impl Sidecars {
    /// The value of the setting.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Beside => "beside",
            Self::None => "none",
        }
    }

    /// Path of the sidecar called `name` (with its `.json`) in `folder`; `None` if none are kept.
    pub fn path(self, folder: &str, name: &str) -> Option<String> {
        match self {
            Self::Metadata => Some(format!("{folder}/metadata/{name}")),
            Self::Beside => Some(format!("{folder}/{name}")),
            Self::None => None,
        }
    }
}

impl FromStr for Sidecars {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Metadata, Self::Beside, Self::None]
            .into_iter()
            .find(|value| value.as_str() == text)
            .ok_or_else(|| format!("`{text}` is none of metadata, beside, none"))
    }
}

/// The day of a moment given in microseconds, in UTC: what the folders of the trash are called.
pub fn day(now_us: i64) -> String {
    let now = jiff::Timestamp::from_microsecond(now_us).unwrap_or_default();
    now.strftime("%Y-%m-%d").to_string()
}

/// Path of an object below the state folder.
pub fn object(id: i64, version: Version) -> String {
    let version = version.to_string();
    format!("objects/{}/{id}-{version}", &version[..2])
}

/// A relative path with `/` below `root`.
///
/// The path must come from our own facts: its components are names that [`crate::naming`] made.
pub fn join(root: &Path, relative: &str) -> PathBuf {
    let mut path = root.to_owned();
    path.extend(relative.split('/'));
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_the_contract() {
        let version = Version::from_bytes([0x7f, 0x94, 0xed, 0xce, 0xcf, 0xcc, 0x66, 0xad]);
        assert_eq!(object(101, version), "objects/7f/101-7f94edcecfcc66ad");
        assert_eq!(
            Sidecars::Metadata.path("A", "x.jpg.json").as_deref(),
            Some("A/metadata/x.jpg.json")
        );
        assert_eq!("beside".parse(), Ok(Sidecars::Beside));
        assert!("near".parse::<Sidecars>().is_err());
    }
}
