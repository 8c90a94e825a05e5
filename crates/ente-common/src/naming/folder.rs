//! Names that are unique within their folder.

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};

use super::fold::fold;
use super::safe::{self, MAX_EXT_BYTES, SafeName};

/// What a name is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An ordinary file; it may share its stem with files of another extension.
    File,
    /// A live photo. Its name is a stem: the extensions of its two parts come from its archive, so it owns every
    /// name with that stem.
    LivePhoto,
    /// An album's folder: the number goes to the very end (`St. Petersburg_1`).
    Album,
}

/// Folded names that nobody gets: they mean something to us or to other exporters.
const RESERVED: [&str; 3] = [".ente", "metadata", ".meta"];

/// A sidecar has the name of its file and this.
const SIDECAR_EXT: &str = ".json";

/// The names taken in one folder.
///
/// A file's sidecar `NAME.json` is taken along with `NAME`, wherever sidecars lie, so that names do not depend on
/// that setting.
#[derive(Debug)]
pub struct Folder {
    max_bytes: usize,
    /// Folded names.
    names: HashSet<String>,
    /// Folded stems, with how many names each is in use by.
    stems: HashMap<String, usize>,
    /// Folded stems that live photos own.
    owned_stems: HashSet<String>,
    /// For a folded name that was taken: up to which number everything is taken too. Without it, thousands of
    /// files called `image.jpg` would cost the square of their number.
    numbered: HashMap<(Kind, String), u64>,
}

impl Folder {
    /// An empty folder whose names may have so many bytes of UTF-8, at least 64; usually
    /// [`MAX_NAME_BYTES`](super::MAX_NAME_BYTES).
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            names: HashSet::new(),
            stems: HashMap::new(),
            owned_stems: HashSet::new(),
            numbered: HashMap::new(),
        }
    }

    /// Gives a title the first free name and takes it. `id` stands in for a title that shows nothing.
    ///
    /// Returns the whole name of a file or album, the stem of a live photo; behind that goes what
    /// [`part_extension`](super::part_extension) allows.
    pub fn claim(&mut self, title: &str, kind: Kind, id: i64) -> String {
        self.claim_unless(title, kind, id, |_| false)
    }

    /// Like [`Folder::claim`], and asks `is_taken` about every name that is free here: a user's own file may lie
    /// there. For a live photo it is asked about the stem.
    pub fn claim_unless(
        &mut self,
        title: &str,
        kind: Kind,
        id: i64,
        is_taken: impl Fn(&str) -> bool,
    ) -> String {
        let base = self.base(title, kind, id);
        let memo = (kind, fold(&self.candidate(&base, kind, 0)));
        let mut number = self.numbered.get(&memo).copied().unwrap_or(0);
        let name = loop {
            let candidate = self.candidate(&base, kind, number);
            if self.take(&candidate, kind, &is_taken) {
                break candidate;
            }
            number += 1;
        };
        if number > 0 {
            self.numbered.insert(memo, number + 1);
        }
        name
    }

    /// Takes a name given earlier (for a live photo, the stem); false if it is no safe name or no longer free.
    pub fn claim_exact(&mut self, name: &str, kind: Kind) -> bool {
        self.take(name, kind, &|_| false)
    }

    /// Gives back a name that [`Folder::claim`] or [`Folder::claim_exact`] took for the same kind; others stay.
    pub fn release(&mut self, name: &str, kind: Kind) {
        let used = Used::by(name, kind);
        if !self.names.remove(&used.name) {
            return;
        }
        if kind == Kind::LivePhoto {
            self.owned_stems.remove(&used.name);
        }
        for stem in used.stems {
            if let Entry::Occupied(mut uses) = self.stems.entry(stem) {
                *uses.get_mut() -= 1;
                if *uses.get() == 0 {
                    uses.remove();
                }
            }
        }
        // A lower number may be free again.
        self.numbered = HashMap::new();
    }

    /// What numbers are put behind, cut to what always fits.
    fn base(&self, title: &str, kind: Kind, id: i64) -> SafeName {
        let mut base = match kind {
            Kind::Album => SafeName {
                stem: safe::safe_component(title, id),
                ext: String::new(),
            },
            Kind::File | Kind::LivePhoto => safe::safe_name(title, id),
        };
        if kind == Kind::LivePhoto {
            base.ext.clear();
            // A part without extension bears the bare stem.
            base.stem.truncate(safe::trim_end(&base.stem).len());
            if safe::shows_nothing(&base.stem) {
                base.stem = id.to_string();
            }
        }
        base
    }

    fn candidate(&self, base: &SafeName, kind: Kind, number: u64) -> String {
        let number = if number == 0 {
            String::new()
        } else {
            format!("_{number}")
        };
        // Which extensions a live photo gets is known only once it is there, so the longest must fit.
        let ext_bytes = if kind == Kind::LivePhoto {
            1 + MAX_EXT_BYTES
        } else {
            base.ext.len()
        };
        let stem = safe::cut(
            &base.stem,
            self.max_bytes.saturating_sub(ext_bytes + number.len()),
        );
        let name = [stem, &number, &base.ext].concat();
        // Cutting may have bared a dot or space.
        safe::trim_end(&name).to_owned()
    }

    /// Takes a name if nothing stands in its way.
    fn take(&mut self, name: &str, kind: Kind, is_taken: &dyn Fn(&str) -> bool) -> bool {
        let used = Used::by(name, kind);
        // Also what remains of a title when it is cut may show nothing.
        if !safe::is_component(name) || !self.is_free(&used, kind) || is_taken(name) {
            return false;
        }
        if kind == Kind::LivePhoto {
            self.owned_stems.insert(used.name.clone());
        }
        for stem in used.stems {
            *self.stems.entry(stem).or_default() += 1;
        }
        self.names.insert(used.name);
        true
    }

    fn is_free(&self, used: &Used, kind: Kind) -> bool {
        let name = used.name.as_str();
        if RESERVED.contains(&name) || self.names.contains(name) {
            return false;
        }
        if kind == Kind::Album {
            return true;
        }
        let is_sidecar = name
            .strip_suffix(SIDECAR_EXT)
            .is_some_and(|media| self.names.contains(media));
        let is_sidecar_there = || self.names.contains(&format!("{name}{SIDECAR_EXT}"));
        let is_owned = self.owned_stems.contains(name)
            || used
                .stems
                .iter()
                .any(|stem| self.owned_stems.contains(stem));
        let can_own = kind != Kind::LivePhoto || !self.stems.contains_key(name);
        can_own && !is_owned && !is_sidecar && !is_sidecar_there()
    }
}

/// What one name takes, folded. The stem of a live photo takes what a file of that name would (a part without
/// extension has it), and is owned besides.
struct Used {
    name: String,
    /// `x.jpg` for `x.jpg.json`, and `x` too: there lies the sidecar of a part of live photo `x`.
    stems: Vec<String>,
}

impl Used {
    fn by(name: &str, kind: Kind) -> Self {
        let name = fold(name);
        let mut stems = Vec::new();
        if kind != Kind::Album {
            // Extensions that no part can have do not count. A number at the end of a name without extension
            // makes one of those, so that some number is always free.
            let (stem, ext) = safe::split_part(&name);
            stems.push(stem.to_owned());
            if ext == SIDECAR_EXT {
                stems.push(safe::split_part(stem).0.to_owned());
            }
        }
        Self { name, stems }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::naming::{MAX_NAME_BYTES, is_component, safe_name};

    use Kind::{Album, File, LivePhoto};

    /// Names for titles in this order.
    fn names(titles: &[(&str, Kind)]) -> Vec<String> {
        let mut folder = Folder::new(MAX_NAME_BYTES);
        titles
            .iter()
            .zip(1..)
            .map(|(&(title, kind), id)| folder.claim(title, kind, id))
            .collect()
    }

    #[test]
    fn clashes_get_numbers() {
        type Row<'a> = (&'a [(&'a str, Kind)], &'a [&'a str]);
        let rows: &[Row] = &[
            (
                &[("IMG.JPG", File), ("img.jpg", File)],
                &["IMG.JPG", "img_1.jpg"],
            ),
            (
                &[("a.jpg", File), ("a.jpg", File), ("a.jpg", File)],
                &["a.jpg", "a_1.jpg", "a_2.jpg"],
            ),
            (
                &[("a_1.jpg", File), ("a.jpg", File), ("a.jpg", File)],
                &["a_1.jpg", "a.jpg", "a_2.jpg"],
            ),
            (&[("é", File), ("e\u{301}", File)], &["é", "e\u{301}_1"]),
            (&[("a:b", File), ("a?b", File)], &["a_b", "a_b_1"]),
            (&[("", File), ("1", File), ("..", File)], &["1", "1_1", "3"]),
            // Ordinary files share a stem.
            (&[("A.jpg", File), ("A.mov", File)], &["A.jpg", "A.mov"]),
            // Live photos do not.
            (
                &[("photo2.jpg", File), ("photo2.jpg", LivePhoto)],
                &["photo2.jpg", "photo2_1"],
            ),
            (&[("p.heic", LivePhoto), ("P.png", File)], &["p", "P_1.png"]),
            (
                &[("p.heic", LivePhoto), ("p.jpg", LivePhoto)],
                &["p", "p_1"],
            ),
            (
                &[("p.heic", LivePhoto), ("p", File), ("p.x.jpg", File)],
                &["p", "p_1", "p.x.jpg"],
            ),
            (
                &[("x.jpg", File), ("x.jpg.heic", LivePhoto)],
                &["x.jpg", "x.jpg_1"],
            ),
            (
                &[("x.jpg.heic", LivePhoto), ("x.jpg", File)],
                &["x.jpg", "x_1.jpg"],
            ),
            (
                &[("v .heic", LivePhoto), ("...jpg", LivePhoto)],
                &["v", "2"],
            ),
            // A sidecar is taken along with its file.
            (
                &[("p.jpg", File), ("p.jpg.json", File)],
                &["p.jpg", "p.jpg_1.json"],
            ),
            (
                &[("p.jpg.JSON", File), ("p.jpg", File)],
                &["p.jpg.JSON", "p_1.jpg"],
            ),
            (
                &[("p.heic", LivePhoto), ("p.heic.json", File)],
                &["p", "p.heic_1.json"],
            ),
            (
                &[("p.heic.json", File), ("p.heic", LivePhoto)],
                &["p.heic.json", "p_1"],
            ),
            // Reserved names count as taken.
            (
                &[("metadata", File), ("Metadata", LivePhoto)],
                &["metadata_1", "Metadata_2"],
            ),
            (
                &[(".Ente", Album), (".meta", Album)],
                &[".Ente_1", ".meta_1"],
            ),
            (
                &[("metadata.jpg", File), ("metadata.json", File)],
                &["metadata.jpg", "metadata.json"],
            ),
            // Folders have no extension.
            (
                &[("St. Petersburg", Album), ("st. petersburg", Album)],
                &["St. Petersburg", "st. petersburg_1"],
            ),
            (&[("a", Album), ("a.json", Album)], &["a", "a.json"]),
        ];
        for (titles, expected) in rows {
            assert_eq!(&names(titles), expected, "{titles:?}");
        }
    }

    /// Titles and names of the golden account, per folder in order of file ID.
    #[test]
    fn the_golden_names_come_out() {
        assert_eq!(
            names(&[
                ("photo1.jpg", File),
                ("photo2.jpg", File),
                ("photo1.jpg", File),
                ("IMG_0001.JPG", LivePhoto),
                ("photo2.jpg", LivePhoto),
            ]),
            [
                "photo1.jpg",
                "photo2.jpg",
                "photo1_1.jpg",
                "IMG_0001",
                "photo2_1"
            ]
        );
        assert_eq!(
            names(&[
                ("Vacation 2024", Album),
                ("AC/DC: live? \"2024\".", Album),
                ("vacation 2024", Album)
            ]),
            ["Vacation 2024", "AC_DC_ live_ _2024_", "vacation 2024_1"]
        );
    }

    #[test]
    fn long_names_keep_extension_and_number() {
        let title = format!("{}.jpg", "長い名前".repeat(75));
        let first = format!("{}.jpg", &title[..246]);
        let second = format!("{}_1.jpg", &title[..243]);
        assert_eq!(
            names(&[(&title, File), (&title, File)]),
            [first.as_str(), &second]
        );
        assert_eq!((first.len(), second.len()), (250, 249));

        let album = names(&[(&title, Album), (&title, Album)]);
        assert_eq!(album[0], title[..249]);
        assert_eq!(album[1], format!("{}_1", &title[..246]));
        // A live photo leaves room for any extension.
        assert_eq!(names(&[(&title, LivePhoto)]), [&title[..231]]);
        // However the extension falls, a live photo in the way is walked around.
        let stem = "s".repeat(233);
        for ext in ["abcdefghijklmnopqrs", "長い長い長い長い", "jpg"] {
            let clash = names(&[(&stem, LivePhoto), (&format!("{stem}.{ext}"), File)]);
            assert_eq!(clash[0], stem);
            assert!(clash[1].len() <= MAX_NAME_BYTES, "{clash:?}");
        }
        // A cut that bares a space, and one that leaves nothing.
        assert_eq!(
            names(&[(&format!("{}{}x", "a".repeat(245), " ".repeat(9)), File)]),
            ["a".repeat(245)]
        );
        assert_eq!(
            names(&[(&format!("{}x", " ".repeat(300)), File)]),
            [format!("{}_1", " ".repeat(248))]
        );

        let mut short = Folder::new(143);
        assert_eq!(
            short.claim(&title, File, 1),
            format!("{}.jpg", &title[..138])
        );
    }

    #[test]
    fn given_names_stay_and_come_back() {
        let mut folder = Folder::new(MAX_NAME_BYTES);
        assert!(folder.claim_exact("a_1.jpg", File));
        assert!(!folder.claim_exact("A_1.jpg", File));
        assert!(!folder.claim_exact("a_1", LivePhoto));
        for unsafe_name in ["../a", "", "a/b", "nul"] {
            assert!(!folder.claim_exact(unsafe_name, File), "{unsafe_name}");
        }
        assert_eq!(folder.claim("a.jpg", File, 1), "a.jpg");
        assert_eq!(folder.claim("a.jpg", File, 2), "a_2.jpg");
        folder.release("a_1.jpg", File);
        assert_eq!(folder.claim("a.jpg", File, 3), "a_1.jpg");
        for name in ["a.jpg", "a_1.jpg", "a_2.jpg"] {
            folder.release(name, File);
        }
        assert!(folder.claim_exact("a", LivePhoto));
        folder.release("a", LivePhoto);
        assert_eq!(folder.claim("A.jpg", File, 4), "A.jpg");
    }

    #[test]
    fn the_users_own_files_are_walked_around() {
        let mut folder = Folder::new(MAX_NAME_BYTES);
        let on_disk = |name: &str| name == "a.jpg" || name == "a_1.jpg";
        assert_eq!(folder.claim_unless("a.jpg", File, 1, on_disk), "a_2.jpg");
    }

    /// Ends in no time, or in minutes if each claim tried every number.
    #[test]
    fn many_equal_titles_are_cheap() {
        let mut folder = Folder::new(MAX_NAME_BYTES);
        let last = (0..50_000)
            .map(|id| folder.claim("image.jpg", File, id))
            .last();
        assert_eq!(last.as_deref(), Some("image_49999.jpg"));
    }

    /// Titles that clash, are cut, or are odd far more often than chance would have it.
    fn title() -> impl Strategy<Value = String> {
        let nasty = prop::collection::vec(
            prop::sample::select(vec![
                "a", "A", ".", " ", "_1", "é", "e\u{301}", "/", "\u{202e}", "\u{200b}", ".jpg",
                ".json", ".JSON", "aux", "com¹", "metadata", "ß", "SS", "長",
            ]),
            0..6,
        );
        let long = (
            "[a長💍. ]{1,3}",
            60..120_usize,
            prop::sample::select(vec!["", ".jpg", ".json"]),
        );
        prop_oneof![
            nasty.prop_map(|parts| parts.concat()),
            long.prop_map(|(part, times, ext)| part.repeat(times) + ext),
            any::<String>(),
        ]
    }

    fn kind() -> impl Strategy<Value = Kind> {
        prop::sample::select(vec![File, LivePhoto])
    }

    /// Everything that may come to lie in the folder under one name, sidecars included.
    fn paths(name: &str, kind: Kind) -> Vec<String> {
        let exts: &[&str] = match kind {
            LivePhoto => &["", ".jpg", ".MOV", ".0123456789abcdef"],
            File | Album => &[""],
        };
        let media = exts.iter().map(|ext| format!("{name}{ext}"));
        media
            .flat_map(|path| [format!("{path}.json"), path])
            .collect()
    }

    proptest! {
        #[test]
        fn any_title_gives_a_safe_distinct_name(
            titles in prop::collection::vec((title(), kind()), 1..24),
        ) {
            let mut folder = Folder::new(MAX_NAME_BYTES);
            let mut seen = HashSet::new();
            let mut given = Vec::new();
            for ((title, kind), id) in titles.into_iter().zip(1..) {
                let name = folder.claim(&title, kind, id);
                prop_assert!(is_component(&name), "{name:?}");
                for path in paths(&name, kind) {
                    let max = if path.ends_with(".json") { 255 } else { 250 };
                    prop_assert!(path.len() <= max && path.encode_utf16().count() <= max);
                    prop_assert!(seen.insert(fold(&path)), "{path:?} twice");
                }
                given.push((name, kind));
            }

            // Taken again in any order, each name stays; given back, nothing is left.
            let mut again = Folder::new(MAX_NAME_BYTES);
            for (name, kind) in given.iter().rev() {
                prop_assert!(again.claim_exact(name, *kind), "{name:?}");
            }
            for (name, kind) in &given {
                again.release(name, *kind);
            }
            let left = [again.names.len(), again.stems.len(), again.owned_stems.len()];
            prop_assert_eq!(left, [0; 3]);
        }

        #[test]
        fn a_safe_name_is_safe_already(title in title()) {
            let name = safe_name(&title, 5);
            prop_assert_eq!(&safe_name(&format!("{}{}", name.stem, name.ext), 6), &name);
        }
    }
}
