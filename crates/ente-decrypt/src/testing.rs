//! Small states for the tests of the pure modules, and an empty export for those of the others.

use std::path::Path;

use ente_common::id::Version;
use ente_common::manifest::facts::{
    Collection, DecryptFact, File as Listed, Folder, Listing, Part, Placement, PullFact,
};
use ente_common::manifest::{Account, Digest, Export, Journal, State, private_dir};
use serde_json::Value;

use crate::settings::Settings;
use crate::tree::Tree;

/// An album: its title as listed, the folder name that it was given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Album {
    pub(crate) id: i64,
    pub(crate) title: &'static str,
    pub(crate) name: &'static str,
    pub(crate) files: &'static [File],
}

/// A file in it: its title as listed, the name that it was given, its content version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct File {
    pub(crate) id: i64,
    pub(crate) title: &'static str,
    pub(crate) name: &'static str,
    pub(crate) live: bool,
    pub(crate) version: u8,
    /// It has a name, but lies nowhere yet.
    pub(crate) pending: bool,
}

impl Album {
    pub(crate) fn new(id: i64, title: &'static str, name: &'static str, files: &[File]) -> Self {
        let files = files.to_vec().leak();
        Self {
            id,
            title,
            name,
            files,
        }
    }
}

impl File {
    pub(crate) const fn new(id: i64, title: &'static str, name: &'static str) -> Self {
        Self {
            id,
            title,
            name,
            live: false,
            version: 1,
            pending: false,
        }
    }

    pub(crate) const fn live(self) -> Self {
        Self { live: true, ..self }
    }

    pub(crate) const fn version(self, version: u8) -> Self {
        Self { version, ..self }
    }

    pub(crate) const fn pending(self) -> Self {
        Self {
            pending: true,
            ..self
        }
    }
}

pub(crate) fn version(byte: u8) -> Version {
    Version::from_bytes([byte; 8])
}

/// A new export that is being written to.
pub(crate) fn tree(dir: &Path) -> Tree {
    let account = Account {
        endpoint: "https://e".into(),
        app: "photos".into(),
        user_id: 1,
        email: "a@b".into(),
    };
    let export = Export::create(dir, account, Value::Null).unwrap();
    private_dir(&export.state_path("partial")).unwrap();
    let lock = export.lock(crate::NAME, "run", 0, false).unwrap();
    let journal = Journal::open(&export.state_dir(), "decrypt").unwrap();
    let settings = Settings::new(&State::default(), None, None, None, || 250);
    let mut tree = Tree::new(export, State::default(), settings, "2026-11-22".into());
    tree.begin_writing(journal, lock);
    tree
}

/// The names and files of `given` on disk, the listing of `listed`.
pub(crate) fn state(given: &[Album], listed: &[Album]) -> State {
    let mut state = State::default();
    for album in given {
        state.decrypt.apply(DecryptFact::Folder(Folder {
            collection: album.id,
            name: album.name.into(),
            digest: Digest::of(album.title.as_bytes()),
            title: Digest::of(album.title.as_bytes()),
            gone: false,
        }));
        for file in album.files {
            state
                .decrypt
                .apply(DecryptFact::Placement(placement(album.id, file)));
        }
    }
    for album in listed {
        state.pull.apply(PullFact::Collection(Collection {
            id: album.id,
            digest: Digest::of(album.title.as_bytes()),
            ..Collection::default()
        }));
        for file in album.files {
            state.pull.apply(PullFact::File(Listed {
                collection: album.id,
                id: file.id,
                version: Some(version(file.version)),
                digest: Digest::of(file.title.as_bytes()),
                ..Listed::default()
            }));
        }
    }
    state.pull.apply(PullFact::Listing(Listing::default()));
    state
}

fn placement(collection: i64, file: &File) -> Placement {
    let part = |name: String| Part {
        name,
        ..Part::default()
    };
    let parts = if file.pending {
        Vec::new()
    } else if file.live {
        vec![
            part(format!("{}.heic", file.name)),
            part(format!("{}.mov", file.name)),
        ]
    } else {
        vec![part(file.name.into())]
    };
    Placement {
        collection,
        file: file.id,
        name: file.name.into(),
        live: file.live,
        digest: Digest::of(file.title.as_bytes()),
        title: Digest::of(file.title.as_bytes()),
        version: (!parts.is_empty()).then(|| version(file.version)),
        n: u32::from(!parts.is_empty()),
        parts,
        ..Placement::default()
    }
}
