//! The second sidecar, for names that Ente's importer would mis-pair.
//!
//! The importer looks for the sidecar of `a(1).jpg` under `a.jpg(1).json`, because Google Takeout displaces the
//! number, and for that of `a-edited.jpg` under the original's name. A second sidecar of the same content under
//! the name that it tries first makes the pair.

/// Under which second name the importer finds the sidecar of an exported file; `None` if `NAME.json` does.
///
/// Leave the second sidecar out where a file or the first sidecar of another has its name: theirs comes first.
///
/// There is none for three sorts of names that no sidecar helps: without extension (the importer looks for
/// `NAMEundefined.json`), starting with a dot (it skips them), and with nothing before `(1)` or `-edited`
/// (the name that it looks for starts with a dot).
pub fn second_sidecar_name(exported_name: &str) -> Option<String> {
    // The importer's notion of an extension: whatever follows the last dot.
    let dot = exported_name.rfind('.').filter(|&dot| dot > 0)?;
    let (stem, ext) = exported_name.split_at(dot);
    let (original, number) = split_number(stem);
    let original = original.strip_suffix("-edited").unwrap_or(original);
    if original.len() == stem.len() || original.is_empty() || original.starts_with('.') {
        return None;
    }
    Some(format!("{original}{ext}{number}.json"))
}

/// A stem and the `(digits)` at its end, or nothing.
fn split_number(stem: &str) -> (&str, &str) {
    let digits = stem
        .strip_suffix(')')
        .map(|rest| rest.trim_end_matches(|c: char| c.is_ascii_digit()))
        .filter(|rest| rest.len() + 1 < stem.len())
        .and_then(|rest| rest.strip_suffix('('));
    match digits {
        Some(rest) => stem.split_at(rest.len()),
        None => (stem, ""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_mis_paired_names_have_one() {
        let rows = [
            ("a.jpg", None),
            ("a_1.jpg", None),
            ("a(1).jpg", Some("a.jpg(1).json")),
            ("a (1).jpg", Some("a .jpg(1).json")),
            ("a(12)(3).jpg", Some("a(12).jpg(3).json")),
            ("a-edited.jpg", Some("a.jpg.json")),
            ("a-edited(1).jpg", Some("a.jpg(1).json")),
            ("a-edited-edited.jpg", Some("a-edited.jpg.json")),
            ("a()).jpg", None),
            ("a().jpg", None),
            ("a1).jpg", None),
            ("a(1)b.jpg", None),
            ("a(x1).jpg", None),
            ("a-edited_1.jpg", None),
            ("photo(1)", None),
            ("(1).jpg", None),
            ("-edited.jpg", None),
            (".a(1).jpg", None),
            (".jpg", None),
        ];
        for (name, second) in rows {
            assert_eq!(second_sidecar_name(name).as_deref(), second, "{name}");
        }
    }

    /// Ente's importer, after the description of its matching rules: the keys that it tries for a media file.
    fn importer_keys(media: &str) -> Vec<String> {
        let units = |text: String| -> Vec<u16> { text.encode_utf16().collect() };
        let clip = |text: String, suffix: &str| {
            let head = units(text).into_iter().take(46);
            let clipped: Vec<u16> = head.chain(suffix.encode_utf16()).collect();
            String::from_utf16_lossy(&clipped)
        };
        let (original, ext) = match media.rfind('.') {
            Some(dot) if dot > 0 => (&media[..dot], media[dot..].to_owned()),
            _ => (media, "undefined".to_owned()),
        };
        let open = original.rfind('(');
        let suffix = open.map_or("", |open| {
            let suffix = &original[open..];
            let digits = suffix
                .strip_prefix('(')
                .and_then(|rest| rest.strip_suffix(')'))
                .unwrap_or("");
            if !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit()) {
                suffix
            } else {
                ""
            }
        });
        let mut stem = &original[..original.len() - suffix.len()];
        if stem.ends_with("-edited") {
            stem = &stem[..stem.len() - "-edited".len()];
        }
        const INFIX: &str = ".supplemental-metadata";
        let mut keys = vec![
            format!("{stem}{ext}{suffix}"),
            clip(format!("{stem}{ext}"), suffix),
            clip(format!("{stem}{ext}{INFIX}"), suffix),
        ];
        if !suffix.is_empty() {
            keys.push(clip(format!("{original}{ext}{INFIX}"), ""));
        }
        keys
    }

    /// Which of these sidecars the importer takes for a media file.
    fn importer_finds<'a>(media: &str, sidecars: &[&'a str]) -> Option<&'a str> {
        let keys = importer_keys(media);
        let found = |key: &String| {
            sidecars
                .iter()
                .find(|name| !name.starts_with('.') && name.strip_suffix(".json") == Some(key))
        };
        keys.iter().find_map(found).copied()
    }

    #[test]
    fn the_reference_importer_behaves_as_measured() {
        let long = format!("{}.jpg", "x".repeat(60));
        let (whole, clipped) = (format!("{long}.json"), format!("{}.json", &long[..46]));
        let rows = [
            ("a.jpg", "a.jpg.json", true),
            ("a(1).jpg", "a(1).jpg.json", false),
            ("a(1).jpg", "a.jpg(1).json", true),
            ("a(1).jpg", "a.jpg.supplemental-metadata(1).json", true),
            ("a(1).jpg", "a(1).jpg.supplemental-metadata.json", true),
            ("a (1).jpg", "a (1).jpg.json", false),
            ("a_1.jpg", "a_1.jpg.json", true),
            ("a-edited.jpg", "a-edited.jpg.json", false),
            ("a-edited.jpg", "a.jpg.json", true),
            (
                "a-edited(1).jpg",
                "a-edited(1).jpg.supplemental-metadata.json",
                true,
            ),
            ("noext", "noext.json", false),
            ("noext", "noextundefined.json", true),
            ("2.JPG", "2.jpg.json", false),
            (&long, &whole, true),
            (&long, &clipped, true),
        ];
        for (media, sidecar, expected) in rows {
            assert_eq!(
                importer_finds(media, &[sidecar]).is_some(),
                expected,
                "{media} {sidecar}"
            );
        }
    }

    proptest! {
        #[test]
        fn every_exported_name_finds_its_sidecar(
            stem in "[a長💍 ]{0,50}(-edited)?(\\([0-9]{0,2}\\))?(_1)?(-edited)?",
            ext in "\\.[a-z]{1,4}",
        ) {
            // Nothing before the number or `-edited`: documented as out of reach.
            let name = format!("a{stem}{ext}");
            let first = format!("{name}.json");
            let second = second_sidecar_name(&name);
            let written: Vec<&str> = std::iter::once(first.as_str()).chain(second.as_deref()).collect();
            let expected = second.as_deref().unwrap_or(&first);
            prop_assert_eq!(importer_finds(&name, &written), Some(expected));
        }
    }
}
