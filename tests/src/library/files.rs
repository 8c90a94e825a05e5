//! What happens to files. Each change gives the times of `updationTime` that the real server gives.
//!
//! IDs of things that do not exist are mistakes of the test, so they panic.

use serde_json::Value;

use super::content::{Content, Version};
use super::model::{Action, Envelope, File, Live, NewFile, Row, TrashRow};

/// How far the clock moves with each change: a second and a bit, so that no time is a whole number of seconds.
const TICK_US: i64 = 1_000_003;

impl Live {
    /// The server's time of the last change, in microseconds.
    pub fn now_us(&self) -> i64 {
        self.now_us
    }

    /// Makes changes that all carry the same time, which may lie in the past: ties, and what commits late.
    pub fn at<R>(&mut self, time_us: i64, change: impl FnOnce(&mut Self) -> R) -> R {
        let outer = self.held_us.replace(time_us);
        let result = change(self);
        self.held_us = outer;
        result
    }

    /// The time of the next change.
    pub(super) fn tick(&mut self) -> i64 {
        match self.held_us {
            Some(held_us) => held_us,
            None => {
                self.now_us += TICK_US;
                self.now_us
            }
        }
    }

    /// Uploads a file into a collection, as the collection's owner. Returns the file's ID.
    pub fn upload(&mut self, collection: i64, file: NewFile) -> i64 {
        let owner = self.collection_mut(collection).owner.id;
        self.upload_as(owner, collection, file)
    }

    /// Uploads a file into a collection as another participant.
    pub fn upload_by(&mut self, email: &str, collection: i64, file: NewFile) -> i64 {
        let owner = self.other_user(email).id;
        self.upload_as(owner, collection, file)
    }

    fn upload_as(&mut self, owner: i64, collection: i64, new: NewFile) -> i64 {
        let id = self.take_id();
        let time = self.tick();
        let mut public_magic = Envelope::default();
        if !new.public.is_empty() {
            public_magic = Envelope {
                version: 1,
                values: new.public,
            };
        }
        let file = File {
            owner,
            title: new.title,
            taken_at_us: new.taken_at_us,
            modified_at_us: new.modified_at_us,
            location: new.location,
            metadata: new.metadata,
            versions: vec![Version::new(new.content)],
            framing: new.framing,
            magic: Envelope::default(),
            public_magic,
            updated_at: time,
            has_info: new.has_info,
            deleted: false,
            scrubbed: false,
        };
        self.files.insert(id, file);
        self.put(collection, id, time);
        id
    }

    /// Adds a file to a further collection. Nothing happens if it is there.
    pub fn add(&mut self, file: i64, to: i64) {
        assert!(self.files.contains_key(&file), "no file {file}");
        if !self.is_active(to, file) {
            let time = self.tick();
            self.put(to, file, time);
        }
    }

    /// Moves a file from one collection to another.
    pub fn move_to(&mut self, file: i64, from: i64, to: i64) {
        let time = self.tick();
        if !self.is_active(to, file) {
            self.put(to, file, time);
        }
        self.take_out(from, file, time);
    }

    /// Removes a file from a collection. An own file that is nowhere else goes to Uncategorized, as the apps do it.
    pub fn remove(&mut self, file: i64, from: i64) {
        if self.is_mine(file) && self.places(file) == [from] {
            let uncategorized = self.uncategorized();
            self.move_to(file, from, uncategorized);
        } else {
            let time = self.tick();
            self.take_out(from, file, time);
        }
    }

    /// Moves a file into the default hidden collection, out of all others.
    pub fn hide(&mut self, file: i64) {
        let hidden = self.hidden();
        let places = self.places(file);
        self.add(file, hidden);
        for place in places.into_iter().filter(|place| *place != hidden) {
            let time = self.tick();
            self.take_out(place, file, time);
        }
    }

    /// Makes an own file a favourite.
    pub fn favorite(&mut self, file: i64) {
        let favorites = self.favorites();
        self.add(file, favorites);
    }

    /// Takes an own file out of the favourites.
    pub fn unfavorite(&mut self, file: i64) {
        let favorites = self.favorites();
        self.remove(file, favorites);
    }

    /// Moves an own file to the trash.
    pub fn trash(&mut self, file: i64) {
        let collection = *self.places(file).first().expect("a file that is somewhere");
        self.trash_from(file, collection);
    }

    pub(super) fn trash_from(&mut self, file: i64, collection: i64) {
        assert!(self.is_mine(file), "file {file} belongs to somebody else");
        let time = self.tick();
        for place in self.places(file) {
            self.collection_mut(place).updated_at = time;
        }
        // The real server freshens all rows, those that were tombstones before as well.
        for row in self.rows_of(file) {
            row.removed = true;
            row.updated_at = time;
        }
        self.file_mut(file).updated_at = time;
        // A row that is there keeps its collection.
        let collection = self
            .trash
            .get(&file)
            .map_or(collection, |row| row.collection);
        let row = TrashRow {
            collection,
            created_at: time,
            updated_at: time,
            restored: false,
            deleted: false,
        };
        self.trash.insert(file, row);
    }

    /// Brings a file back from the trash.
    pub fn restore(&mut self, file: i64, to: i64) {
        let time = self.tick();
        let row = self.trash.get_mut(&file).expect("a file in the trash");
        row.restored = true;
        row.updated_at = time;
        self.put(to, file, time);
    }

    /// Deletes a file of the trash for good.
    pub fn delete_forever(&mut self, file: i64) {
        let time = self.tick();
        let row = self.trash.get_mut(&file).expect("a file in the trash");
        row.deleted = true;
        row.updated_at = time;
        self.file_mut(file).deleted = true;
    }

    /// What the server does long after a deletion: the metadata becomes `-`. Rows that are left stay.
    pub fn scrub(&mut self, file: i64) {
        let file = self.file_mut(file);
        file.deleted = true;
        file.scrubbed = true;
    }

    /// Renames a file: `editedName`.
    pub fn rename(&mut self, file: i64, name: &str) {
        self.edit_public(file, "editedName", name.into());
    }

    /// Sets the caption.
    pub fn set_caption(&mut self, file: i64, caption: &str) {
        self.edit_public(file, "caption", caption.into());
    }

    /// Sets the capture time.
    pub fn set_taken_at(&mut self, file: i64, time_us: i64) {
        self.edit_public(file, "editedTime", time_us.into());
    }

    /// Sets the place.
    pub fn set_location(&mut self, file: i64, latitude: f64, longitude: f64) {
        let file_id = file;
        self.edit(file_id, |file| {
            file.public_magic.set("lat", latitude.into());
            file.public_magic
                .values
                .insert("long".to_owned(), longitude.into());
        });
    }

    /// Archives a file or takes it back.
    pub fn set_archived(&mut self, file: i64, archived: bool) {
        self.edit(file, |file| {
            file.magic.set("visibility", i64::from(archived).into())
        });
    }

    /// Sets any member of the public metadata; `null` removes it.
    pub fn edit_public(&mut self, file: i64, key: &str, value: Value) {
        self.edit(file, |file| file.public_magic.set(key, value));
    }

    /// The same, but so that no time changes: incremental listings do not show it.
    pub fn edit_public_unseen(&mut self, file: i64, key: &str, value: Value) {
        self.file_mut(file).public_magic.set(key, value);
    }

    /// Replaces the content under the same ID. Old links go on serving the old object.
    pub fn replace(&mut self, file: i64, content: Content) {
        let time = self.tick();
        let replaced = self.file_mut(file);
        replaced.versions.push(Version::new(content));
        replaced.metadata.remove("hash");
        replaced.updated_at = time;
        for collection in self.collections.values_mut() {
            if let Some(row) = collection.rows.get_mut(&file) {
                row.updated_at = time;
                collection.updated_at = time;
            }
        }
    }

    /// Notes that a participant asks the file's owner to act.
    pub fn suggest(&mut self, collection: i64, file: i64, action: Action, by: &str) {
        let by = self.other_user(by).id;
        let time = self.tick();
        let collection = self.collection_mut(collection);
        let row = collection
            .rows
            .get_mut(&file)
            .expect("a file of the collection");
        row.action = Some((action, by));
        row.updated_at = time;
        collection.updated_at = time;
    }

    /// Metadata edits: new times where the file is now, no others.
    fn edit(&mut self, file: i64, change: impl FnOnce(&mut File)) {
        let time = self.tick();
        let edited = self.file_mut(file);
        change(edited);
        edited.updated_at = time;
        for place in self.places(file) {
            let collection = self.collection_mut(place);
            collection.updated_at = time;
            collection
                .rows
                .get_mut(&file)
                .expect("an active row")
                .updated_at = time;
        }
    }

    pub(super) fn put(&mut self, collection: i64, file: i64, time: i64) {
        let row = Row {
            added_at: time,
            updated_at: time,
            removed: false,
            action: None,
        };
        let collection = self.collection_mut(collection);
        collection.rows.insert(file, row);
        collection.updated_at = time;
    }

    pub(super) fn take_out(&mut self, collection: i64, file: i64, time: i64) {
        let collection = self.collection_mut(collection);
        let row = collection
            .rows
            .get_mut(&file)
            .expect("a file of the collection");
        row.removed = true;
        row.updated_at = time;
        collection.updated_at = time;
    }

    fn rows_of(&mut self, file: i64) -> impl Iterator<Item = &mut Row> {
        self.collections
            .values_mut()
            .filter_map(move |c| c.rows.get_mut(&file))
    }

    pub(super) fn file_mut(&mut self, file: i64) -> &mut File {
        self.files
            .get_mut(&file)
            .unwrap_or_else(|| panic!("no file {file}"))
    }

    pub(super) fn take_id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id - 1
    }
}
