//! The library as the manifest and the records have it, opened with the account's keys.

use std::collections::HashMap;
use std::path::PathBuf;

use ente_common::exit::{Failure, chain};
use ente_common::keystore::KeysFile;
use ente_common::manifest::ciphertext::Ciphertext;
use ente_common::manifest::facts::{DecryptFact, PullFact};
use ente_common::manifest::follow::Follow;
use ente_common::manifest::state::{MetaState, VerifyState};
use ente_common::manifest::{Digest, JournalError, News, Rest, State};
use ente_common::model::{
    CollectionKind, EffectiveMetadata, OpenedCollection, OpenedFile, Visibility,
};
use ente_common::record::Record;
use ente_common::wire;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::rest;

/// Collections, files and facts; grows while the stages before go on.
#[derive(Debug)]
pub(crate) struct Library {
    keys: KeysFile,
    albums: HashMap<i64, Album>,
    manifest: Option<Manifest>,
    /// What the facts of all tools say.
    pub(crate) state: State,
    /// (file, collection), ascending, of the last closed listing.
    holders: Vec<(i64, i64)>,
    /// Something of a listing was loaded, and is not opened yet.
    is_listed: bool,
    /// What is to be read of the manifest before anybody may rest.
    rest: Rest,
}

#[derive(Debug)]
struct Manifest {
    dir: PathBuf,
    pull: Follow,
    decrypt: Follow,
    ciphertext: Option<Ciphertext>,
}

#[derive(Debug)]
struct Album {
    /// The digest of the collection in the listing; none for one that only a record knows.
    digest: Option<Digest>,
    opened: Result<OpenedCollection, String>,
}

/// Entries of one file, as served, by collection: the newest first.
pub(crate) type Entries = Vec<(i64, Box<RawValue>)>;

/// A file that was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The entry that it was opened from.
    pub(crate) entry: wire::FileEntry,
    /// Its metadata after all edits.
    pub(crate) metadata: EffectiveMetadata,
    /// Edits that could not be read, if there are any.
    pub(crate) unread: Option<String>,
}

impl Library {
    /// A library of which nothing is known but what records will tell; with `state_dir`, the manifest there too, once it is loaded.
    pub(crate) fn new(keys: KeysFile, state_dir: Option<PathBuf>) -> Self {
        let manifest = state_dir.map(|dir| Manifest {
            pull: Follow::new::<PullFact>(&dir),
            decrypt: Follow::new::<DecryptFact>(&dir),
            ciphertext: None,
            dir,
        });
        Self {
            keys,
            albums: HashMap::new(),
            manifest,
            state: State::default(),
            is_listed: false,
            rest: Rest::default(),
            holders: Vec::new(),
        }
    }

    /// Reads what is known of sidecars, and what `news` go by; of what is out of their focus, nothing is known from now on.
    ///
    /// # Errors
    /// When the manifest cannot be read.
    pub(crate) fn load(&mut self, news: Option<(News, Rest)>) -> Result<(), JournalError> {
        let Some(manifest) = &mut self.manifest else {
            return Ok(());
        };
        let dir = &manifest.dir;
        let (news, rest) = news.map_or((None, None), |(news, rest)| (Some(news), Some(rest)));
        self.rest = rest.unwrap_or_else(|| rest::begin(dir));
        manifest.pull = Follow::new::<PullFact>(dir);
        manifest.decrypt = Follow::new::<DecryptFact>(dir);
        let focus = news.as_ref().map(|news| &news.focus);
        self.state = State {
            meta: MetaState::load_within(dir, focus)?,
            verify: VerifyState::load(dir)?,
            ..State::default()
        };
        if let Some(news) = news {
            let State { pull, decrypt, .. } = &mut self.state;
            let wants = |row| news.focus.covers(row);
            manifest
                .pull
                .read_to(news.seen("pull"), wants, |fact| pull.apply(fact))?;
            manifest
                .decrypt
                .read_to(news.seen("decrypt"), wants, |fact| decrypt.apply(fact))?;
            self.state.focus = Some(news.focus);
        }
        self.is_listed = self.state.pull.listing.is_some();
        Ok(())
    }

    /// Takes in what `ente-verify` has found since; reads everything where that is about files of which nothing is known.
    ///
    /// # Errors
    /// When the manifest cannot be read.
    pub(crate) fn refresh_findings(&mut self) -> Result<(), JournalError> {
        let Some(manifest) = &self.manifest else {
            return Ok(());
        };
        let rest = rest::begin(&manifest.dir);
        if rest == self.rest {
            return Ok(());
        }
        let verify = VerifyState::load(&manifest.dir)?;
        let mut lost = verify.sidecars.iter().filter(|it| it.1.class == "missing");
        if lost.any(|(key, _)| !self.state.knows(key.1)) {
            return self.load(None);
        }
        self.state.verify = verify;
        self.rest = rest;
        Ok(())
    }

    /// What was taken in of the manifest so far.
    pub(crate) fn rest(&self) -> Option<Rest> {
        let manifest = self.manifest.as_ref()?;
        let mut rest = self.rest.clone();
        rest.read.extend([
            ("pull".to_owned(), manifest.pull.end()),
            ("decrypt".to_owned(), manifest.decrypt.end()),
        ]);
        Some(rest)
    }

    /// Takes in what the stages before have recorded since; tells whether a listing was closed.
    ///
    /// # Errors
    /// When the manifest cannot be read.
    pub(crate) fn refresh(&mut self) -> Result<bool, Failure> {
        let Some(manifest) = &mut self.manifest else {
            return Ok(false);
        };
        let mut listed = std::mem::take(&mut self.is_listed);
        let State {
            pull,
            decrypt,
            focus,
            ..
        } = &mut self.state;
        // What came since may be about anything.
        let mut is_strange = false;
        let is_unknown = |file| focus.as_ref().is_some_and(|focus| !focus.has(file));
        manifest.pull.catch_up(|fact| {
            match &fact {
                PullFact::Listing(_) => listed = true,
                PullFact::Collection(_) => is_strange = true,
                PullFact::File(file) => is_strange |= is_unknown(file.id),
                _ => {}
            }
            pull.apply(fact);
        })?;
        manifest.decrypt.catch_up(|fact| {
            match &fact {
                DecryptFact::Folder(_) => is_strange = true,
                DecryptFact::Placement(placement) => is_strange |= is_unknown(placement.file),
                _ => {}
            }
            decrypt.apply(fact);
        })?;
        if is_strange && focus.is_some() {
            self.load(None)?;
            return self.refresh();
        }
        if listed {
            self.open_albums();
            let files = self.state.pull.files.keys();
            self.holders = files
                .map(|&(collection, file)| (file, collection))
                .collect();
            self.holders.sort_unstable();
        }
        Ok(listed)
    }

    /// Opens what is new or changed in the listing and forgets what is gone.
    fn open_albums(&mut self) {
        let listed = &self.state.pull.collections;
        self.albums
            .retain(|id, album| album.digest.is_none() || listed.contains_key(id));
        for (&id, fact) in listed {
            // What a record of a listing told is newer than the manifest, which a listing does not write.
            let is_known = self
                .albums
                .get(&id)
                .is_some_and(|album| album.digest.is_none() || album.digest == Some(fact.digest));
            if is_known {
                continue;
            }
            let served = match self.manifest.as_mut().map(Manifest::ciphertext) {
                Some(Ok(ciphertext)) => ciphertext.collection(fact).map_err(|e| chain(&e)),
                Some(Err(error)) => Err(chain(&error)),
                None => continue,
            };
            let opened =
                served.and_then(|entry| self.keys.read_collection(&*entry).map_err(|e| chain(&e)));
            let digest = Some(fact.digest);
            self.albums.insert(id, Album { digest, opened });
        }
    }

    /// Opens the collection that a record holds; with `keep`, files of later records are opened with it.
    ///
    /// # Errors
    /// With the reason why it cannot be opened.
    pub(crate) fn open_record(
        &mut self,
        id: i64,
        entry: &Value,
        keep: bool,
    ) -> Result<(String, Visibility), String> {
        let opened = self.keys.read_collection(entry).map_err(|e| chain(&e));
        let name = match &opened {
            Ok(opened) => Ok((
                opened.collection.folder_title().to_owned(),
                opened.collection.visibility,
            )),
            Err(cause) => Err(cause.clone()),
        };
        if keep {
            let album = Album {
                digest: None,
                opened,
            };
            self.albums.insert(id, album);
        }
        name
    }

    /// An album that could be opened.
    pub(crate) fn album(&self, collection: i64) -> Option<&OpenedCollection> {
        self.albums.get(&collection)?.opened.as_ref().ok()
    }

    /// Name of an album as people see it, and where they see it.
    pub(crate) fn album_name(&self, collection: i64) -> Option<(&str, Visibility)> {
        let collection = &self.album(collection)?.collection;
        Some((collection.folder_title(), collection.visibility))
    }

    /// Names of all albums that could be opened.
    pub(crate) fn album_names(&self) -> Vec<&str> {
        let opened = self
            .albums
            .values()
            .filter_map(|album| album.opened.as_ref().ok());
        opened
            .map(|opened| opened.collection.folder_title())
            .collect()
    }

    /// The live collections that hold a file, ascending, by the last closed listing.
    pub(crate) fn holders(&self, file: i64) -> impl Iterator<Item = i64> + '_ {
        let start = self.holders.partition_point(|&(id, _)| id < file);
        self.holders[start..]
            .iter()
            .take_while(move |&&(id, _)| id == file)
            .map(|&(_, collection)| collection)
    }

    /// All files of the last closed listing, ascending.
    pub(crate) fn files(&self) -> Vec<i64> {
        let mut files: Vec<i64> = self.holders.iter().map(|&(file, _)| file).collect();
        files.dedup();
        files
    }

    /// The holders of a file in the order in which their entries are tried: the newest first.
    pub(crate) fn by_age(&self, file: i64) -> Vec<i64> {
        let mut holders: Vec<i64> = self.holders(file).collect();
        // Stable: equal times leave the order of the IDs.
        holders.sort_by_key(|&collection| {
            let fact = self.state.pull.files.get(&(collection, file));
            std::cmp::Reverse(fact.map_or(0, |fact| fact.updated))
        });
        holders
    }

    /// The entries of a file in the manifest; those that cannot be read are left out.
    pub(crate) fn entries(&mut self, file: i64) -> Entries {
        let order = self.by_age(file);
        let Some(Ok(ciphertext)) = self.manifest.as_mut().map(Manifest::ciphertext) else {
            return Entries::new();
        };
        let facts = &self.state.pull.files;
        order
            .into_iter()
            .filter_map(|collection| {
                let raw = ciphertext.file(facts.get(&(collection, file))?).ok()?;
                Some((collection, raw))
            })
            .collect()
    }

    /// Opens a file from the first entry that opens.
    ///
    /// # Errors
    /// With the reason why the first of them does not open.
    pub(crate) fn open(&self, entries: &Entries) -> Result<Opened, String> {
        let mut first = None;
        for (collection, raw) in entries {
            match self.open_entry(*collection, raw) {
                Ok(opened) => return Ok(opened),
                Err(cause) => first = first.or(Some(cause)),
            }
        }
        Err(first.unwrap_or_else(|| "no entry of it is at hand".to_owned()))
    }

    fn open_entry(&self, collection: i64, raw: &RawValue) -> Result<Opened, String> {
        let album = match self.albums.get(&collection).map(|album| &album.opened) {
            Some(Ok(album)) => album,
            Some(Err(cause)) => return Err(format!("collection {collection}: {cause}")),
            None => return Err(format!("collection {collection} is not known")),
        };
        let (entry, opened) = OpenedFile::read(raw, &album.key).map_err(|error| chain(&error))?;
        Ok(Opened {
            entry,
            metadata: opened.metadata,
            unread: opened.unreadable.first().map(|error| chain(error)),
        })
    }

    /// A file is in the account's own Favorites.
    pub(crate) fn is_favorite(&self, holders: &[i64]) -> bool {
        holders.iter().any(|&id| {
            self.album(id).is_some_and(|album| {
                album.collection.kind == CollectionKind::Favorites { own: true }
            })
        })
    }

    /// Where the apps show a file: as its owner chose, else as all of its albums are shown.
    pub(crate) fn visibility(&self, own: Visibility, holders: &[i64]) -> Visibility {
        if own != Visibility::Visible {
            return own;
        }
        let mut albums = holders
            .iter()
            .filter_map(|&id| self.album_name(id))
            .map(|(_, visibility)| visibility)
            .peekable();
        if albums.peek().is_none() {
            return own;
        }
        albums.fold(Visibility::Hidden, |least, album| match (least, album) {
            (_, Visibility::Visible) | (Visibility::Visible, _) => Visibility::Visible,
            (Visibility::Hidden, Visibility::Hidden) => Visibility::Hidden,
            _ => Visibility::Archived,
        })
    }
}

impl Manifest {
    /// Opened at first use: in a pipe it may not be there when the run begins.
    fn ciphertext(&mut self) -> Result<&Ciphertext, JournalError> {
        match &mut self.ciphertext {
            Some(ciphertext) => Ok(ciphertext),
            none => Ok(none.insert(Ciphertext::open(&self.dir)?)),
        }
    }
}

/// The placements of a record that did not end: collection and, where it is there, the entry.
fn live(record: &Record) -> impl Iterator<Item = (i64, Option<&Value>)> {
    let placements = record.members.get("placements").and_then(Value::as_array);
    placements.into_iter().flatten().filter_map(|placement| {
        let collection = placement["collection"].as_i64()?;
        (placement["gone"] != Value::Bool(true)).then(|| (collection, placement.get("entry")))
    })
}

/// The collections of a record that hold the file, ascending.
pub(crate) fn live_placements(record: &Record) -> Vec<i64> {
    let mut live: Vec<i64> = live(record).map(|(collection, _)| collection).collect();
    live.sort_unstable();
    live.dedup();
    live
}

/// The entries that a record holds.
pub(crate) fn record_entries(record: &Record) -> Entries {
    let mut entries: Vec<(i64, &Value)> = live(record)
        .filter_map(|(collection, entry)| Some((collection, entry?)))
        .collect();
    entries.sort_by_key(|(collection, entry)| {
        let updated = entry["updationTime"].as_i64().unwrap_or(0);
        (std::cmp::Reverse(updated), *collection)
    });
    entries
        .into_iter()
        .filter_map(|(id, entry)| Some((id, serde_json::value::to_raw_value(entry).ok()?)))
        .collect()
}
