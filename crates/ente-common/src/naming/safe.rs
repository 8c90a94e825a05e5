//! One title into one path component.

use super::fold::is_ignorable;

/// A longer extension is none: it belongs to the stem.
pub(super) const MAX_EXT_BYTES: usize = 16;

/// A title made safe, in two parts; its length is not limited yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafeName {
    /// What stands before the extension; never empty.
    pub stem: String,
    /// The extension with its dot, or empty; at most 17 bytes.
    pub ext: String,
}

/// Makes a title safe on every platform (rules 1 to 4 of the [module](super)).
///
/// `stem` and `ext` joined are never empty and hold no separator, no control character and no dot or space at the
/// end. A title that shows nothing becomes the ID.
pub fn safe_name(title: &str, fallback_id: i64) -> SafeName {
    let name = safe_component(title, fallback_id);
    let (stem, ext) = split(&name);
    SafeName {
        stem: stem.to_owned(),
        ext: ext.to_owned(),
    }
}

/// Whether a name could have come from here: safe to join to a path on every platform.
///
/// For names that were read from a file, before they are trusted.
pub fn is_component(name: &str) -> bool {
    // The ID stands for an empty name only, and is not equal to one.
    !name.is_empty() && safe_component(name, 0) == name
}

/// The extension with its dot that a part of a live photo gets, from its entry in the archive; may be empty.
///
/// Entries may be called anything, so only letters and digits are accepted; a part called `.json` would pass for
/// a sidecar.
pub fn part_extension(entry_name: &str) -> &str {
    let ext = split_part(entry_name).1;
    if ext.eq_ignore_ascii_case(".json") {
        ""
    } else {
        ext
    }
}

/// Rules 1 to 3: the whole name, extension included.
pub(super) fn safe_component(title: &str, fallback_id: i64) -> String {
    let mut name: String = title
        .chars()
        .filter(|&c| !is_bidi_control(c))
        .map(replace)
        .collect();
    name.truncate(trim_end(&name).len());
    if shows_nothing(&name) {
        return fallback_id.to_string();
    }
    // Windows looks at what precedes the first dot: `aux.tar.gz` is a device too.
    let device = name.split('.').next().unwrap_or_default();
    if is_device(device.trim_end_matches(' ')) {
        name.insert(device.len(), '_');
    }
    name
}

/// Whether nobody could see or type the name; true for an empty one.
pub(super) fn shows_nothing(name: &str) -> bool {
    name.chars().all(|c| c.is_whitespace() || is_ignorable(c))
}

/// Stem and extension (rule 4): the extension has its dot, or is empty.
pub(super) fn split(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= 1 + MAX_EXT_BYTES => name.split_at(dot),
        _ => (name, ""),
    }
}

/// Stem and extension if this were a part of a live photo: only ASCII letters and digits make an extension.
pub(super) fn split_part(name: &str) -> (&str, &str) {
    let (stem, ext) = split(name);
    let is_plain = ext.len() != 1 && ext.bytes().skip(1).all(|byte| byte.is_ascii_alphanumeric());
    if is_plain { (stem, ext) } else { (name, "") }
}

/// Windows drops dots and spaces at the end of a name without a word.
pub(super) fn trim_end(name: &str) -> &str {
    name.trim_end_matches(['.', ' '])
}

/// At most so many bytes from the start, cut at a character.
pub(super) fn cut(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}

fn replace(c: char) -> char {
    match c {
        '/' | '\\' | '<' | '>' | ':' | '"' | '|' | '?' | '*' | '\u{fffd}' => '_',
        c if c.is_control() => '_',
        c => c,
    }
}

/// Characters that turn the reading direction: `gpj.exe` must not read as `exe.jpg`.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn is_device(name: &str) -> bool {
    const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];
    if DEVICES
        .iter()
        .any(|device| name.eq_ignore_ascii_case(device))
    {
        return true;
    }
    let Some((port, number)) = name.split_at_checked(3) else {
        return false;
    };
    let mut digits = number.chars();
    (port.eq_ignore_ascii_case("com") || port.eq_ignore_ascii_case("lpt"))
        && matches!(digits.next(), Some('0'..='9' | '¹' | '²' | '³'))
        && digits.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_become_safe_names() {
        let rows: &[(&str, &str, &str)] = &[
            ("photo.jpg", "photo", ".jpg"),
            ("AC/DC: live? \"2024\".", "AC_DC_ live_ _2024_", ""),
            ("a/b\\c:.jpg", "a_b_c_", ".jpg"),
            ("<a>|b*.png", "_a__b_", ".png"),
            ("tab\there\u{7f}\u{85}\0\u{fffd}", "tab_here____", ""),
            ("invoice\u{202e}gpj.exe", "invoicegpj", ".exe"),
            // Nothing but what is named above is touched.
            ("Cafe\u{301} 💍.HEIC", "Cafe\u{301} 💍", ".HEIC"),
            ("  leading.jpg", "  leading", ".jpg"),
            ("Grandma's birthday.jpg", "Grandma's birthday", ".jpg"),
            (
                "family 👨\u{200d}👩\u{200d}👧.jpg",
                "family 👨\u{200d}👩\u{200d}👧",
                ".jpg",
            ),
            // Dots and spaces at the end.
            ("photo.jpg . .", "photo", ".jpg"),
            ("photo .jpg", "photo ", ".jpg"),
            ("etc...", "etc", ""),
            ("dots...jpg", "dots..", ".jpg"),
            // What an extension is.
            (".jpg", ".jpg", ""),
            ("..jpg", ".", ".jpg"),
            ("archive.tar.gz", "archive.tar", ".gz"),
            ("a.0123456789abcdef", "a", ".0123456789abcdef"),
            ("a.0123456789abcdefg", "a.0123456789abcdefg", ""),
            // Nothing to see: the ID.
            ("", "77", ""),
            (".", "77", ""),
            ("..", "77", ""),
            (" . . ", "77", ""),
            ("\u{200b}\u{3000}\u{202e}", "77", ""),
            // Windows devices.
            ("CON", "CON_", ""),
            ("aux.jpg", "aux_", ".jpg"),
            ("aux .jpg", "aux _", ".jpg"),
            ("Nul.", "Nul_", ""),
            ("prn.tar.gz", "prn_.tar", ".gz"),
            ("com0", "com0_", ""),
            ("COM¹.txt", "COM¹_", ".txt"),
            ("lpt³", "lpt³_", ""),
            ("CONIN$", "CONIN$_", ""),
            ("a\u{202e}ux.jpg", "aux_", ".jpg"),
            ("COM10.txt", "COM10", ".txt"),
            ("CON_", "CON_", ""),
            ("console.jpg", "console", ".jpg"),
            ("ecom1", "ecom1", ""),
        ];
        for (title, stem, ext) in rows {
            let expected = SafeName {
                stem: (*stem).to_owned(),
                ext: (*ext).to_owned(),
            };
            assert_eq!(safe_name(title, 77), expected, "{title:?}");
        }
    }

    #[test]
    fn parts_get_plain_extensions_only() {
        let rows = [
            ("image.HEIC", ".HEIC"),
            ("a/../video.mov", ".mov"),
            ("image", ""),
            (".mov", ""),
            ("image.", ""),
            ("image.jpg_1", ""),
            ("image.j/g", ""),
            ("image.jpé", ""),
            ("image.Json", ""),
            ("image.0123456789abcdefg", ""),
        ];
        for (entry, ext) in rows {
            assert_eq!(part_extension(entry), ext, "{entry}");
        }
    }

    #[test]
    fn a_component_is_a_name_that_stays() {
        for name in ["a", ".ente", "photo 1.jpg", " x", "aux_.jpg", "長い.jpg"] {
            assert!(is_component(name), "{name:?}");
        }
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "..\\x",
            "a\n",
            "a.",
            "a ",
            "NUL",
            "c:",
            "\u{200b}",
            "a\u{202e}b",
        ] {
            assert!(!is_component(name), "{name:?}");
        }
    }
}
