//! When two names are the same.

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;

/// The form in which names are compared; equal forms mean that some file system may merge the two.
///
/// Canonical caseless matching of the Unicode standard (decompose, fold case, compose). Invisible characters are
/// dropped first, because HFS+ and case-folding ext4 ignore them.
pub(super) fn fold(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    name.nfd()
        .filter(|&c| !is_ignorable(c))
        .default_case_fold()
        .nfc()
        .collect()
}

/// The composed form (NFC) of a name: what a file system that stores names decomposed, such as HFS+, was given in most cases.
pub fn composed(name: &str) -> String {
    name.nfc().collect()
}

/// Unicode's `Default_Ignorable_Code_Point`: characters that show nothing.
pub(super) fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_system_may_merge_is_the_same() {
        let same = [
            ("IMG.JPG", "img.jpg"),
            ("Café", "Cafe\u{301}"),
            ("CAFE\u{301}", "café"),
            ("Straße", "STRASSE"),
            ("ΣΊΣΥΦΟΣ", "σίσυφος"),
            ("K", "k"),
            ("Å", "Å"),
            ("ﬁ", "FI"),
            ("\u{345}\u{308}", "\u{308}\u{345}"),
            ("❤\u{fe0f}", "❤"),
            ("a\u{200d}b", "AB"),
            ("각", "\u{1100}\u{1161}\u{11a8}"),
        ];
        for (a, b) in same {
            assert_eq!(fold(a), fold(b), "{a} {b}");
        }
    }

    #[test]
    fn different_names_stay_different() {
        for (a, b) in [
            ("a", "b"),
            ("a", "á"),
            ("ı", "i"),
            ("１", "1"),
            ("²", "2"),
            ("a ", "a"),
        ] {
            assert_ne!(fold(a), fold(b), "{a} {b}");
        }
    }
}
