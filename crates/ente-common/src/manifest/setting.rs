//! The settings of an export that more than one tool goes by, and how settings are spelled in facts: as on the command line.
//!
//! A word that this build does not know is one of a newer release, and counts as the default.

use std::collections::BTreeMap;

use clap::ValueEnum;

/// Whether encrypted objects stay in the export; `ente-pull` owns it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Objects {
    /// Drop each object once its plaintext is safe.
    #[default]
    Spool,
    /// Keep the whole encrypted mirror.
    Keep,
}

/// What becomes of a file that the account no longer has; `ente-decrypt` owns it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OnRemove {
    /// It goes to the trash of the export.
    #[default]
    Trash,
    /// It stays where it is and is no longer looked after.
    Keep,
    /// It is deleted.
    Delete,
}

/// The word for a value.
///
/// # Panics
/// For a value that the command line does not take, of which there are none.
pub fn word(value: &impl ValueEnum) -> String {
    let value = value.to_possible_value().expect("no value is skipped");
    value.get_name().to_owned()
}

/// The value of one of the stored settings; `None` if it is not stored, or not known here.
pub fn stored<T: ValueEnum>(settings: &BTreeMap<String, String>, name: &str) -> Option<T> {
    T::from_str(settings.get(name)?, false).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_comes_back_and_an_unknown_word_is_none() {
        let settings = |value: &str| BTreeMap::from([("x".to_owned(), value.to_owned())]);
        for value in OnRemove::value_variants() {
            assert_eq!(stored(&settings(&word(value)), "x"), Some(*value));
        }
        assert_eq!(stored::<OnRemove>(&settings("shred"), "x"), None);
        assert_eq!(stored::<OnRemove>(&settings("keep"), "y"), None);
    }
}
