//! Opens what the listing holds: names of collections, titles and times of files, keys of content.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use ente_common::exit::chain;
use ente_common::keystore::KeysFile;
use ente_common::manifest::ciphertext::Ciphertext;
use ente_common::manifest::{Export, JournalError, PlacementKey, State, facts};
use ente_common::model::{FileType, OpenedCollection, OpenedFile};
use ente_common::record::Problem;
use ente_common::wire;
use rayon::prelude::*;
use serde_json::value::RawValue;

use crate::desired::{FileTitle, Stale, Titles};
use crate::tree::problem;

/// Files that are read before they are opened side by side.
const BLOCK: usize = 4096;

/// The encrypted library and what opens it.
#[derive(Debug)]
pub(crate) struct Library {
    keys: KeysFile,
    export: Export,
    ciphertext: Option<Ciphertext>,
    collections: HashMap<i64, Result<Arc<OpenedCollection>, Reason>>,
}

/// An entry as served and what opens it.
#[derive(Clone, Debug)]
pub(crate) struct Sealed {
    entry: Box<RawValue>,
    collection: Arc<OpenedCollection>,
}

/// A file that was opened.
#[derive(Debug)]
pub(crate) struct Open {
    /// The entry.
    pub entry: wire::FileEntry,
    /// Key and metadata.
    pub file: OpenedFile,
}

impl Sealed {
    /// Opens the file.
    ///
    /// # Errors
    /// With the reason, for people.
    pub(crate) fn open(&self) -> Result<Open, Reason> {
        OpenedFile::read(&*self.entry, &self.collection.key)
            .map(|(entry, file)| Open { entry, file })
            .map_err(|error| chain(&error).into())
    }

    /// The entry as served.
    pub(crate) fn entry(&self) -> &RawValue {
        &self.entry
    }
}

impl Library {
    /// The library of an export; nothing is read yet.
    pub(crate) fn new(keys: KeysFile, export: Export) -> Self {
        Self {
            keys,
            export,
            ciphertext: None,
            collections: HashMap::new(),
        }
    }

    /// Forgets what was read: the listing is a later one.
    pub(crate) fn reload(&mut self) {
        self.ciphertext = None;
        self.collections.clear();
    }

    fn ciphertext(&mut self) -> Result<&Ciphertext, JournalError> {
        match &mut self.ciphertext {
            Some(ciphertext) => Ok(ciphertext),
            none => Ok(none.insert(Ciphertext::open(&self.export.state_dir())?)),
        }
    }

    /// Opens a collection of the listing.
    ///
    /// # Errors
    /// With the reason, for people.
    pub(crate) fn collection(
        &mut self,
        fact: &facts::Collection,
    ) -> Result<Arc<OpenedCollection>, Reason> {
        if let Some(opened) = self.collections.get(&fact.id) {
            return opened.clone();
        }
        let entry = self
            .ciphertext()
            .and_then(|ciphertext| ciphertext.collection(fact));
        let opened = entry.map_err(Reason::from).and_then(|entry| {
            let opened = self.keys.read_collection(&*entry);
            opened.map(Arc::new).map_err(|error| chain(&error).into())
        });
        self.collections.insert(fact.id, opened.clone());
        opened
    }

    /// A file's entry with what opens it.
    ///
    /// # Errors
    /// With the reason, for people.
    pub(crate) fn sealed(&mut self, state: &State, key: PlacementKey) -> Result<Sealed, Reason> {
        let unlisted = || Reason::from("it is not listed".to_owned());
        let collection = state.pull.collections.get(&key.0).ok_or_else(unlisted)?;
        let collection = self.collection(collection)?;
        let file = state.pull.files.get(&key).ok_or_else(unlisted)?;
        if file.version.is_none() {
            let cause = "the header of its content is no header";
            return Err(cause.to_owned().into());
        }
        let entry = self.ciphertext()?.file(file)?;
        Ok(Sealed { entry, collection })
    }

    /// Reads the titles of everything that changed since it was named; what cannot be read becomes a problem.
    pub(crate) fn titles(
        &mut self,
        state: &State,
        stale: &Stale,
        problems: &mut Vec<Problem>,
    ) -> Titles {
        let mut titles = Titles::default();
        for id in &stale.collections {
            match self.collection(&state.pull.collections[id]) {
                Ok(opened) => {
                    let title = opened.collection.folder_title().to_owned();
                    titles.folders.insert(*id, title);
                    if let Some(unreadable) = &opened.unreadable {
                        titles.doubtful.insert(*id);
                        problems.push(undecryptable(*id, None, chain(unreadable).into()));
                    }
                }
                Err(reason) => problems.push(undecryptable(*id, None, reason)),
            }
        }
        for block in stale.files.chunks(BLOCK) {
            let sealed: Vec<_> = block
                .iter()
                .map(|key| (*key, self.sealed(state, *key)))
                .collect();
            let opened: Vec<_> = sealed
                .into_par_iter()
                .map(|(key, sealed)| (key, sealed.and_then(|sealed| sealed.open())))
                .collect();
            for (key, opened) in opened {
                match opened {
                    Ok(open) => {
                        if let Some(unreadable) = open.file.unreadable.first() {
                            problems.push(undecryptable(
                                key.0,
                                Some(key.1),
                                chain(unreadable).into(),
                            ));
                        }
                        titles.files.insert(key, title(&open.file));
                    }
                    Err(reason) => {
                        titles.unreadable.insert(key);
                        // One problem for a collection that cannot be opened says it of all its files.
                        if self.collections.get(&key.0).is_some_and(Result::is_ok) {
                            problems.push(undecryptable(key.0, Some(key.1), reason));
                        }
                    }
                }
            }
        }
        titles
    }
}

fn title(file: &OpenedFile) -> FileTitle {
    let metadata = &file.metadata;
    FileTitle {
        title: metadata.title.clone().unwrap_or_default(),
        live: metadata.file_type == FileType::LivePhoto,
        taken: metadata.taken_at_us,
        modified: metadata.modified_at_us,
        doubtful: !file.unreadable.is_empty(),
    }
}

/// Why something cannot be opened, for people.
#[derive(Clone, Debug)]
pub(crate) struct Reason {
    cause: String,
    hint: &'static str,
}

/// The account holds something odd.
impl From<String> for Reason {
    fn from(cause: String) -> Self {
        Self {
            cause,
            hint: "`ente-pull --full` lists it anew; if that does not help, look at it in one of Ente's apps",
        }
    }
}

/// What was listed cannot be read any more.
impl From<JournalError> for Reason {
    fn from(error: JournalError) -> Self {
        let is_gone = match &error {
            JournalError::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            error => matches!(error, JournalError::Lost { .. }),
        };
        Self {
            cause: chain(&error),
            hint: match is_gone {
                true => "`ente-pull --full` lists it anew; then it is tried again",
                false => "it is tried again in every run",
            },
        }
    }
}

/// The problem of something that cannot be opened.
pub(crate) fn undecryptable(collection: i64, file: Option<i64>, reason: Reason) -> Problem {
    Problem {
        class: "undecryptable".into(),
        collection: Some(collection),
        file,
        cause: reason.cause,
        hint: reason.hint.into(),
        ..problem()
    }
}
