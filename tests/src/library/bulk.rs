//! An account of up to millions of files that costs a server next to nothing: made for measuring.
//!
//! Every album holds as many files, called the same in each; all files have one key and one content. So the row of a file is put together from a few
//! texts that were encrypted beforehand, page by page, and an object is always the same bytes in memory. To the tools each file is one of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use blake2::{Blake2b512, Digest as _};
use bytes::Bytes;
use rand_core::RngCore as _;
use serde_json::{Value, json};

use super::account::Account;
use super::model::Live;
use super::seed::Seed;
use super::wire::Wrapped;
use super::{Denied, ObjectKey, Part, Pieces, Stored, encode, seal};

/// What a bulk account holds.
#[derive(Debug, Clone, Copy)]
pub struct BulkOptions {
    /// Albums.
    pub albums: usize,
    /// Files in each of them.
    pub files: usize,
    /// Plaintext bytes of each file.
    pub bytes: u64,
    /// Every album holds the very same files.
    pub shared: bool,
}

/// From this size on a file is called a video.
const VIDEO_BYTES: u64 = 8 << 20;
/// The first file's ID, above those of all albums.
const FIRST_FILE: i64 = 100_000_000;
/// When the first file was uploaded, after all albums were made; each further one came a minute later.
const FIRST_US: i64 = 1_700_100_000_000_000;
const MINUTE_US: i64 = 60_000_000;

/// A library made of few texts and one object.
pub struct Bulk {
    options: BulkOptions,
    /// The albums, without the files.
    live: Live,
    albums: Vec<i64>,
    file_key: [u8; 32],
    /// For each album, the members of a row that wrap the file's key.
    wrapped: Vec<String>,
    /// For each number within an album, the members that describe the file.
    described: Vec<Described>,
    object: Vec<Bytes>,
    object_len: u64,
    edits: BTreeMap<i64, Edit>,
    now_us: i64,
}

/// The members of a row that are the same in every album.
struct Described {
    fixed: String,
    public: String,
}

/// What was edited since the upload.
struct Edit {
    at_us: i64,
    revision: i64,
}

impl Bulk {
    /// Makes the texts and the object; memory is about twice 1.2 KiB for each file of one album, and the object.
    pub(super) fn new(seed: Seed, account: &Account, options: BulkOptions) -> Self {
        let mut live = Live::new(seed, account);
        let albums =
            (1..=options.albums).map(|number| live.create_album(&format!("Album {number:03}")));
        let albums: Vec<i64> = albums.collect();
        let file_key = seed.bytes("bulk file key", &[]);
        let wrapped = albums.iter().map(|album| {
            let Wrapped { key, nonce } = live.wrap(*album, FIRST_FILE, &file_key);
            format!(r#""encryptedKey":"{key}","keyDecryptionNonce":"{nonce}""#)
        });
        let wrapped = wrapped.collect();
        let (object, hash) = seal_object(seed, &file_key, options.bytes);
        let mut bulk = Self {
            options,
            live,
            albums,
            file_key,
            wrapped,
            described: Vec::new(),
            object_len: seal::sealed_len(options.bytes),
            object,
            edits: BTreeMap::new(),
            now_us: FIRST_US + MINUTE_US * (options.albums * options.files) as i64,
        };
        let described = (0..options.files).map(|number| bulk.describe(seed, number, &hash));
        bulk.described = described.collect();
        for number in 0..bulk.albums.len() {
            let last = bulk.added_at(number, options.files.saturating_sub(1));
            bulk.live.collection_mut(bulk.albums[number]).updated_at = last;
        }
        bulk
    }

    /// The albums, by ascending ID.
    pub fn albums(&self) -> &[i64] {
        &self.albums
    }

    /// The files, by ascending ID.
    pub fn files(&self) -> std::ops::Range<i64> {
        let albums = if self.options.shared {
            1
        } else {
            self.options.albums
        };
        FIRST_FILE..FIRST_FILE + (albums * self.options.files) as i64
    }

    /// Gives these files another caption, one after the other.
    pub fn edit_captions(&mut self, files: impl IntoIterator<Item = i64>) {
        for file in files {
            self.now_us += 1_000_000;
            let revision = self.edits.get(&file).map_or(0, |edit| edit.revision) + 1;
            let edit = Edit {
                at_us: self.now_us,
                revision,
            };
            self.edits.insert(file, edit);
            for album in self.albums_of(file) {
                self.live.collection_mut(album).updated_at = self.now_us;
            }
        }
    }

    /// The times from which on `page_size` rows of each album are asked for, page by page: what a whole listing of an account that nobody
    /// edited asks.
    pub fn page_starts(&self, page_size: usize) -> Vec<(i64, i64)> {
        let numbers = (0..self.options.files).step_by(page_size);
        let starts = self.albums.iter().enumerate().flat_map(|(album, id)| {
            let since = move |number: usize| match number {
                0 => 0,
                _ => self.added_at(album, number - 1),
            };
            numbers.clone().map(move |number| (*id, since(number)))
        });
        starts.collect()
    }

    fn albums_of(&self, file: i64) -> Vec<i64> {
        match self.options.shared {
            true => self.albums.clone(),
            false => vec![self.albums[(file - FIRST_FILE) as usize / self.options.files]],
        }
    }

    fn number_of(&self, album: i64) -> Option<usize> {
        self.albums.binary_search(&album).ok()
    }

    /// The ID of a file by the numbers of its album and within it.
    fn file_id(&self, album: usize, number: usize) -> i64 {
        let before = if self.options.shared {
            0
        } else {
            album * self.options.files
        };
        FIRST_FILE + (before + number) as i64
    }

    fn added_at(&self, album: usize, number: usize) -> i64 {
        FIRST_US + MINUTE_US * (album * self.options.files + number) as i64
    }

    /// (`updationTime`, number within the album) of what changed after `since_us`, ascending.
    fn changed(&self, album: usize, since_us: i64) -> impl Iterator<Item = (i64, usize)> + '_ {
        let first = (since_us - self.added_at(album, 0)).div_euclid(MINUTE_US) + 1;
        let first = (first.max(0) as usize).min(self.options.files);
        let ids = self.file_id(album, 0)..self.file_id(album, self.options.files);
        let edits = self
            .edits
            .range(ids.clone())
            .filter(move |(_, edit)| edit.at_us > since_us);
        let mut edited: Vec<_> = edits
            .map(|(id, edit)| (edit.at_us, (id - ids.start) as usize))
            .collect();
        edited.sort_unstable();
        let unedited = (first..self.options.files)
            .filter(move |number| !self.edits.contains_key(&self.file_id(album, *number)));
        unedited
            .map(move |number| (self.added_at(album, number), number))
            .chain(edited)
    }

    fn describe(&self, seed: Seed, number: usize, hash: &str) -> Described {
        let is_video = self.options.bytes >= VIDEO_BYTES;
        let taken_at_us = FIRST_US + 7_000_000 * number as i64;
        let metadata = json!({
            "title": if is_video { format!("MOV_{number:05}.MP4") } else { format!("IMG_{number:05}.JPG") },
            "fileType": i64::from(is_video),
            "creationTime": taken_at_us,
            "modificationTime": taken_at_us,
            "latitude": 38.7223 + number as f64 / 1e5,
            "longitude": -9.1393,
            "hash": hash,
        });
        let header: [u8; 24] = seed.bytes("bulk metadata", &[number as i64]);
        let part =
            |part: Part| json!({"decryptionHeader": encode(object_header(seed, part)), "size": 0});
        let metadata = seal::json_blob(&self.file_key, header, &metadata);
        let fixed = json!({
            "file": part(Part::Original),
            "thumbnail": part(Part::Thumbnail),
            "metadata": {"encryptedData": metadata, "decryptionHeader": encode(header), "size": 0},
        });
        Described {
            fixed: members(&fixed),
            public: self.public(seed, number, 0),
        }
    }

    /// The public metadata of a file, as a member.
    fn public(&self, seed: Seed, number: usize, revision: i64) -> String {
        let mut values = json!({"w": 4032, "h": 3024});
        if revision > 0 {
            values["caption"] = format!("caption {revision} of picture {number}").into();
        }
        let header: [u8; 24] = seed.bytes("bulk public", &[number as i64, revision]);
        let data = seal::json_blob(&self.file_key, header, &values);
        let count = values.as_object().map_or(0, serde_json::Map::len);
        members(
            &json!({"pubMagicMetadata": {"version": revision + 1, "count": count, "data": data, "header": encode(header)}}),
        )
    }

    fn write_row(&self, text: &mut String, album: usize, number: usize, updated_at: i64) {
        let (id, owner) = (self.file_id(album, number), self.live.user.id);
        let described = &self.described[number];
        let edited = self
            .edits
            .get(&id)
            .map(|edit| self.public(self.live.seed, number, edit.revision));
        let written = write!(
            text,
            r#"{{"id":{id},"ownerID":{owner},"collectionID":{},{},{},"collectionOwnerID":{owner},"collectionAddedAt":{},"isDeleted":false,"updationTime":{updated_at},{},"info":{{"fileSize":{},"thumbSize":1024}}}}"#,
            self.albums[album],
            self.wrapped[album],
            described.fixed,
            self.added_at(album, number),
            edited.as_deref().unwrap_or(&described.public),
            self.object_len,
        );
        written.expect("memory can be written");
    }
}

/// The members of an object, without the braces.
fn members(object: &Value) -> String {
    let text = object.to_string();
    text[1..text.len() - 1].to_owned()
}

fn object_header(seed: Seed, part: Part) -> [u8; 24] {
    seed.bytes("bulk object", &[part as i64])
}

/// Bytes that do not compress, encrypted chunk by chunk, and their content hash.
fn seal_object(seed: Seed, key: &[u8; 32], length: u64) -> (Vec<Bytes>, String) {
    let mut random = seed.stream("bulk content", &[]);
    let mut hasher = Blake2b512::new();
    let plain = |chunk: &mut [u8]| {
        random.fill_bytes(chunk);
        hasher.update(chunk);
    };
    let header = object_header(seed, Part::Original);
    let sealed = seal::chunks(key, header, length, plain).collect();
    (sealed, encode(hasher.finalize()))
}

impl Stored for Bulk {
    fn collections(&self) -> Vec<(i64, Value)> {
        self.live.collections()
    }

    fn collection(&self, id: i64) -> Option<Value> {
        self.live.collection(id)
    }

    fn rows(&self, collection: i64) -> Option<Vec<(i64, i64)>> {
        let album = self.number_of(collection)?;
        let rows = self.changed(album, 0);
        Some(
            rows.map(|(time, number)| (time, self.file_id(album, number)))
                .collect(),
        )
    }

    fn row(&self, collection: i64, file: i64) -> Value {
        let album = self
            .number_of(collection)
            .expect("a collection of this account");
        let number = (file - self.file_id(album, 0)) as usize;
        let edited = self.edits.get(&file).map(|edit| edit.at_us);
        let mut text = String::new();
        let updated_at = edited.unwrap_or_else(|| self.added_at(album, number));
        self.write_row(&mut text, album, number, updated_at);
        serde_json::from_str(&text).expect("rows are JSON")
    }

    fn page(&self, collection: i64, since_us: i64, size: usize) -> Option<String> {
        let album = self.number_of(collection)?;
        // No two rows have the same time, so a page may end anywhere.
        let mut rows = self.changed(album, since_us).peekable();
        let mut text = String::with_capacity(size * 1400);
        text.push_str(r#"{"diff":["#);
        for (index, (time, number)) in rows.by_ref().take(size).enumerate() {
            if index > 0 {
                text.push(',');
            }
            self.write_row(&mut text, album, number, time);
        }
        let has_more = rows.peek().is_some();
        let written = write!(text, r#"],"hasMore":{has_more}}}"#);
        written.expect("memory can be written");
        Some(text)
    }

    fn single(&self, collection: i64, file: i64) -> Option<Value> {
        let album = self.number_of(collection)?;
        let ids = self.file_id(album, 0)..self.file_id(album, self.options.files);
        ids.contains(&file).then(|| self.row(collection, file))
    }

    fn trash_rows(&self) -> Vec<(i64, i64)> {
        Vec::new()
    }

    fn trash_row(&self, file: i64) -> Value {
        self.live.trash_row(file)
    }

    fn object(&self, file: i64, part: Part) -> Result<ObjectKey, Denied> {
        let key = ObjectKey {
            file,
            part,
            version: 1,
        };
        match part == Part::Original && self.files().contains(&file) {
            true => Ok(key),
            false => Err(Denied::NotFound),
        }
    }

    fn bytes(&self, _: ObjectKey) -> Option<Box<dyn FnOnce() -> Bytes + Send>> {
        None
    }

    fn pieces(&self, _: ObjectKey) -> Option<(u64, Pieces)> {
        Some((self.object_len, Box::new(self.object.clone().into_iter())))
    }

    fn sizes(&self, file: i64) -> Option<(i64, i64)> {
        self.files()
            .contains(&file)
            .then_some((self.object_len as i64, 1024))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::Library;

    fn library(shared: bool) -> Library {
        let options = BulkOptions {
            albums: 3,
            files: 7,
            bytes: 100,
            shared,
        };
        Library::bulk(1, "ada@example.org", "password", options)
    }

    /// The rows of all pages: (file, time, caption's ciphertext).
    fn listed(library: &Library, album: i64, mut since: i64) -> Vec<Value> {
        let mut rows = Vec::new();
        loop {
            let page = library.stored().page(album, since, 3).unwrap();
            let page: Value = serde_json::from_str(&page).unwrap();
            rows.extend(page["diff"].as_array().unwrap().iter().cloned());
            if page["hasMore"] == false {
                return rows;
            }
            since = rows.last().unwrap()["updationTime"].as_i64().unwrap();
        }
    }

    #[test]
    fn pages_hold_each_row_once_and_edits_come_last() {
        let mut library = library(false);
        let albums = library.bulk_mut().albums().to_vec();
        let ids = |rows: &[Value]| {
            rows.iter()
                .map(|row| row["id"].as_i64().unwrap())
                .collect::<Vec<_>>()
        };
        let first = FIRST_FILE + 7;
        let before = listed(&library, albums[1], 0);
        assert_eq!(ids(&before), (first..first + 7).collect::<Vec<_>>());
        let cursor = before.last().unwrap()["updationTime"].as_i64().unwrap();
        library.bulk_mut().edit_captions([first + 4, first + 1]);
        let after = listed(&library, albums[1], cursor);
        assert_eq!(ids(&after), [first + 4, first + 1]);
        assert_ne!(after[0]["pubMagicMetadata"], before[4]["pubMagicMetadata"]);
        assert_eq!(
            ids(&listed(&library, albums[1], 0)),
            [0, 2, 3, 5, 6, 4, 1].map(|n| first + n)
        );
        assert_eq!(listed(&library, albums[0], cursor), Vec::<Value>::new());
        let updated = library.stored().collection(albums[1]).unwrap()["updationTime"].clone();
        assert_eq!(updated, after[1]["updationTime"]);
    }

    #[test]
    fn the_starts_of_pages_are_those_that_a_listing_asks_for() {
        let mut library = library(true);
        let bulk = library.bulk_mut();
        let (albums, starts) = (bulk.albums().to_vec(), bulk.page_starts(3));
        assert_eq!(starts.len(), 9);
        let page = library.stored().page(albums[0], starts[1].1, 3).unwrap();
        let page: Value = serde_json::from_str(&page).unwrap();
        assert_eq!(page["diff"][0]["id"], FIRST_FILE + 3);
        assert_eq!(page["hasMore"], true);
        let same = listed(&library, albums[2], 0);
        assert_eq!((same.len(), &same[6]["id"]), (7, &(FIRST_FILE + 6).into()));
    }
}
