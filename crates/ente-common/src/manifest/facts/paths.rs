//! How names and paths stand in facts, and which of them are taken.

/// Paths that may hold any bytes, in the form of records.
pub(super) mod path {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::Value;

    use crate::record::{path_from_value, path_to_value};

    pub(crate) fn serialize<S: Serializer>(
        path: &Option<PathBuf>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        path.as_deref().map(path_to_value).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<PathBuf>, D::Error> {
        Ok(path_from_value(&Value::deserialize(deserializer)?))
    }
}

/// Names and paths of files that the tools move, write and remove by. An export may have lain where others can write, so
/// a fact that would lead out of it is damage.
pub(super) mod inside {
    use serde::{Deserialize, Deserializer};

    /// One component of a path on any platform.
    fn is_name(name: &str) -> bool {
        !matches!(name, "" | "." | "..") && !name.contains(['/', '\\', ':', '\0'])
    }

    pub(crate) fn is_path(path: &str) -> bool {
        path.split('/').all(is_name)
    }

    fn check<E: serde::de::Error>(text: String, is_inside: fn(&str) -> bool) -> Result<String, E> {
        // Empty is what is not known yet.
        match text.is_empty() || is_inside(&text) {
            true => Ok(text),
            false => Err(E::custom("a name that leads elsewhere")),
        }
    }

    pub(crate) fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        check(String::deserialize(deserializer)?, is_name)
    }

    pub(crate) fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        check(String::deserialize(deserializer)?, is_path)
    }

    pub(crate) fn some_path<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<String>, D::Error> {
        let path = Option::deserialize(deserializer)?;
        path.map(|path| check(path, is_path)).transpose()
    }
}

/// As [`path`], where there always is one: absolute, or inside the export.
pub(super) mod some_path {
    use std::path::{Component, Path, PathBuf};

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::Value;

    use crate::record::{path_from_value, path_to_value};

    pub(crate) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        path_to_value(path).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<PathBuf, D::Error> {
        let path = path_from_value(&Value::deserialize(deserializer)?).unwrap_or_default();
        let is_plain = |it| matches!(it, Component::Normal(_));
        // What lies in the export is renamed: nothing beside it may be.
        match path.is_absolute() || path.components().all(is_plain) {
            true => Ok(path),
            false => Err(D::Error::custom("a path that leads elsewhere")),
        }
    }
}
