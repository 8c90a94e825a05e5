//! From a title to one name in one folder, legal on every platform and unique there.
//!
//! Everything here is pure and needs nothing but titles: no disk, no download. Names come out the same on every
//! machine as long as callers first [claim](Folder::claim_exact) the names already given and then claim new ones
//! in ascending order of collection ID and file ID.
//!
//! The rules, in the order in which they apply:
//!
//! 1. `/ \ < > : " | ? *`, control characters and U+FFFD become `_`; bidirectional controls are dropped; dots and
//!    spaces at the end are dropped. Nothing else is touched: the bytes of the title stay as they are.
//! 2. What shows nothing is replaced by the ID.
//! 3. A Windows device name (`CON`, `aux.jpg`) gets `_` behind it (`CON_`, `aux_.jpg`).
//! 4. The extension starts at the last dot, unless that dot is the first character or more than 16 bytes follow
//!    it. Folders have none.
//! 5. The stem is cut at a character so that the whole name fits.
//! 6. While the name is taken, `_1`, `_2`, … is put at the end of the stem, and the stem cut further if needed.
//!
//! A name is taken when it is reserved, when another name in the folder is the same, when its sidecar `NAME.json` or
//! that of another file would meet a file, or when it gets in the way of a live photo: one owns every name that
//! continues its stem with a plain extension (a dot and up to 16 ASCII letters and digits), and their sidecars.
//!
//! Two names are the same when they are equal after NFC, full Unicode case folding and without invisible
//! characters, which is at least as strict as any file system.

mod fold;
mod folder;
mod safe;
mod sidecar;

pub use fold::composed;
pub use folder::{Folder, Kind};
pub use safe::{SafeName, is_component, part_extension, safe_name};
pub use sidecar::second_sidecar_name;

/// The longest name that is given by default, in bytes of UTF-8; `NAME.json` then fits the usual 255.
///
/// UTF-16, in which some file systems count, never needs more units than UTF-8 needs bytes.
pub const MAX_NAME_BYTES: usize = 250;
