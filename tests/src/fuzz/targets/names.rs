//! Names: any titles give names that are legal everywhere, distinct on every file system, and stay.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use ente_common::naming::{Folder, Kind, MAX_NAME_BYTES, is_component, second_sidecar_name};
use unicode_normalization::UnicodeNormalization as _;

/// More say nothing that these do not.
const MAX_TITLES: i64 = 24;

/// A line is a title; its first byte tells what it is the title of.
pub(in crate::fuzz) fn run(data: &[u8]) {
    let mut media = Vec::new();
    let mut albums = Vec::new();
    for (line, id) in data.split(|&byte| byte == b'\n').zip(1..=MAX_TITLES) {
        let Some((kind, title)) = line.split_first() else {
            continue;
        };
        let title = String::from_utf8_lossy(title).into_owned();
        match kind % 3 {
            0 => media.push((title, Kind::File, id)),
            1 => media.push((title, Kind::LivePhoto, id)),
            _ => albums.push((title, Kind::Album, id)),
        }
    }
    for titles in [media, albums] {
        for max_bytes in [MAX_NAME_BYTES, 64] {
            one_folder(&titles, max_bytes);
        }
    }
}

fn one_folder(titles: &[(String, Kind, i64)], max_bytes: usize) {
    let given = claim_all(titles, max_bytes);
    assert_eq!(
        given,
        claim_all(titles, max_bytes),
        "names differ between runs"
    );

    let mut taken = BTreeMap::new();
    for (name, kind) in &given {
        assert_is_safe(name);
        for path in paths(name, *kind) {
            let most = max_bytes + if path.ends_with(".json") { 5 } else { 0 };
            assert!(
                path.len() <= most && path.encode_utf16().count() <= most,
                "{path:?}"
            );
            let other = taken.insert(folded(&path), path.clone());
            assert_eq!(other, None, "{path:?} lies on it");
        }
        if let Some(second) = second_sidecar_name(name) {
            assert!(
                second.ends_with(".json") && is_component(&second),
                "{second:?}"
            );
        }
    }

    // A later run takes the names that were given first, in any order, and each is still free.
    let mut folder = Folder::new(max_bytes);
    for (name, kind) in given.iter().rev() {
        assert!(folder.claim_exact(name, *kind), "{name:?} did not stay");
    }
}

fn claim_all(titles: &[(String, Kind, i64)], max_bytes: usize) -> Vec<(String, Kind)> {
    let mut folder = Folder::new(max_bytes);
    let claim = |(title, kind, id): &(String, Kind, i64)| (folder.claim(title, *kind, *id), *kind);
    titles.iter().map(claim).collect()
}

/// What design and platforms ask for, told without the code that makes names.
fn assert_is_safe(name: &str) {
    assert!(is_component(name), "{name:?}");
    let path = Path::new("/export").join(name);
    let below: Vec<_> = path.components().skip(2).collect();
    assert_eq!(below, [Component::Normal(name.as_ref())], "{name:?}");
    let is_foul = |c: char| {
        c.is_control()
            || "<>:\"/\\|?*\u{fffd}".contains(c)
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!name.contains(is_foul), "{name:?}");
    assert!(!name.ends_with(['.', ' ']), "{name:?}");
    let lower = name.to_lowercase();
    assert!(
        ![".", "..", ".ente", "metadata", ".meta"].contains(&&*lower),
        "{name:?}"
    );
    let stem = lower.split('.').next().unwrap_or_default().trim_end();
    assert!(
        !["con", "prn", "aux", "nul", "com1", "com9", "lpt1", "lpt9"].contains(&stem),
        "{name:?}"
    );
}

/// Everything that may come to lie in the folder under one name, sidecars included.
fn paths(name: &str, kind: Kind) -> Vec<String> {
    let extensions: &[&str] = match kind {
        Kind::LivePhoto => &["", ".jpg", ".MOV", ".0123456789abcdef"],
        _ => &[""],
    };
    let media = extensions
        .iter()
        .map(|extension| format!("{name}{extension}"));
    match kind {
        Kind::Album => media.collect(),
        _ => media
            .flat_map(|path| [format!("{path}.json"), path])
            .collect(),
    }
}

/// A coarser fold than the one in use: what this keeps apart, that must keep apart too.
fn folded(name: &str) -> String {
    name.nfc()
        .collect::<String>()
        .to_lowercase()
        .nfc()
        .collect()
}
