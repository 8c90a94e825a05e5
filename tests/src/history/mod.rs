//! Random account histories: what can happen to an account, doing it, and what an export has to hold afterwards.
//!
//! Numbers in an [`Op`] choose among what is there at that moment, so any list of them is a history, and so is any list with
//! some left out. What does not apply is skipped.

mod account;
mod check;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

pub use account::History;
pub use check::{Exported, Key, Placed, check, contents, exported, placed};

/// One thing that happens to an account.
#[derive(Clone, Debug)]
#[expect(
    missing_docs,
    reason = "the names say it, as those of the functions of `Live` do"
)]
pub enum Op {
    Upload {
        album: usize,
        title: usize,
        live: bool,
    },
    Add {
        file: usize,
        album: usize,
    },
    Move {
        file: usize,
        from: usize,
        album: usize,
    },
    Remove {
        file: usize,
        from: usize,
    },
    Rename {
        file: usize,
        title: usize,
    },
    SwapTitles {
        file: usize,
        other: usize,
    },
    Caption {
        file: usize,
        text: u8,
    },
    Date {
        file: usize,
        days: u16,
    },
    Archive {
        file: usize,
        archived: bool,
    },
    Hide {
        file: usize,
    },
    Trash {
        file: usize,
    },
    Restore {
        file: usize,
        album: usize,
    },
    DeleteForever {
        file: usize,
    },
    Replace {
        file: usize,
    },
    Favorite {
        file: usize,
    },
    Unfavorite {
        file: usize,
    },
    CreateAlbum {
        title: usize,
    },
    RenameAlbum {
        album: usize,
        title: usize,
    },
    DeleteAlbum {
        album: usize,
    },
    DeleteAlbumWithFiles {
        album: usize,
    },
    RunTrashQueue,
    ShareIn {
        title: usize,
        files: u8,
    },
    Unshare,
    ShareAgain,
    Vanish,
    HideAlbum {
        album: usize,
        hidden: bool,
    },
}

/// Few titles, so that they clash often, also by case and Unicode form.
pub const TITLES: [&str; 8] = [
    "a.jpg",
    "A.JPG",
    "a_1.jpg",
    "b.jpg",
    "Cafe\u{301}.jpg",
    "Café.jpg",
    "a.png",
    "x/y.jpg",
];
/// Names that clash by case, by number and with a reserved one.
pub const ALBUMS: [&str; 5] = ["Trip", "trip", "Trip_1", "St. Petersburg", "metadata"];

/// Any one thing.
pub fn op() -> impl Strategy<Value = Op> {
    let n = || 0usize..64;
    let title = || 0..TITLES.len();
    let album = || 0..ALBUMS.len();
    prop_oneof![
        6 => (n(), title(), prop::bool::weighted(0.2)).prop_map(|(album, title, live)| Op::Upload { album, title, live }),
        3 => (n(), n()).prop_map(|(file, album)| Op::Add { file, album }),
        3 => (n(), n(), n()).prop_map(|(file, from, album)| Op::Move { file, from, album }),
        3 => (n(), n()).prop_map(|(file, from)| Op::Remove { file, from }),
        3 => (n(), title()).prop_map(|(file, title)| Op::Rename { file, title }),
        2 => (n(), n()).prop_map(|(file, other)| Op::SwapTitles { file, other }),
        1 => (n(), any::<u8>()).prop_map(|(file, text)| Op::Caption { file, text }),
        1 => (n(), any::<u16>()).prop_map(|(file, days)| Op::Date { file, days }),
        1 => (n(), any::<bool>()).prop_map(|(file, archived)| Op::Archive { file, archived }),
        1 => n().prop_map(|file| Op::Hide { file }),
        3 => n().prop_map(|file| Op::Trash { file }),
        3 => (n(), n()).prop_map(|(file, album)| Op::Restore { file, album }),
        1 => n().prop_map(|file| Op::DeleteForever { file }),
        3 => n().prop_map(|file| Op::Replace { file }),
        1 => n().prop_map(|file| Op::Favorite { file }),
        1 => n().prop_map(|file| Op::Unfavorite { file }),
        2 => album().prop_map(|title| Op::CreateAlbum { title }),
        3 => (n(), album()).prop_map(|(album, title)| Op::RenameAlbum { album, title }),
        1 => n().prop_map(|album| Op::DeleteAlbum { album }),
        1 => n().prop_map(|album| Op::DeleteAlbumWithFiles { album }),
        1 => Just(Op::RunTrashQueue),
        1 => (album(), 1u8..3).prop_map(|(title, files)| Op::ShareIn { title, files }),
        1 => Just(Op::Unshare),
        1 => Just(Op::ShareAgain),
        1 => Just(Op::Vanish),
        1 => (n(), any::<bool>()).prop_map(|(album, hidden)| Op::HideAlbum { album, hidden }),
    ]
}

/// Some rounds of a few things each.
pub fn rounds() -> impl Strategy<Value = Vec<Vec<Op>>> {
    prop::collection::vec(prop::collection::vec(op(), 1..12), 1..5)
}

/// What `strategy` makes of a seed: always the same.
///
/// # Panics
/// If the strategy rejects everything.
pub fn sample<S: Strategy>(strategy: S, seed: u64) -> S::Value {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let tree = strategy.new_tree(&mut runner);
    tree.expect("the strategy rejects nothing").current()
}
