//! What happens to collections.

use serde_json::Value;

use super::model::{Collection, Envelope, Kind, Live, Presence, User, Visibility};

impl Live {
    /// Creates an album. Returns its ID.
    pub fn create_album(&mut self, name: &str) -> i64 {
        self.create(Kind::Album, name)
    }

    /// Creates a device folder.
    pub fn create_folder(&mut self, name: &str) -> i64 {
        self.create(Kind::Folder, name)
    }

    /// The favourites, created when first asked for.
    pub fn favorites(&mut self) -> i64 {
        self.find_or_create(Kind::Favorites, "Favorites")
    }

    /// The collection of what is in no album, created when first asked for.
    pub fn uncategorized(&mut self) -> i64 {
        self.find_or_create(Kind::Uncategorized, "Uncategorized")
    }

    /// The default hidden collection, created when first asked for.
    pub fn hidden(&mut self) -> i64 {
        let found = self.collections.iter().find(|(_, collection)| {
            collection.presence == Presence::Live && collection.is_default_hidden()
        });
        if let Some((id, _)) = found {
            return *id;
        }
        let id = self.create(Kind::Album, ".hidden");
        self.edit_collection(id, "subType", 1.into());
        self.set_visibility(id, Visibility::Hidden);
        id
    }

    /// Another user shares an album of theirs with this account. Returns the album's ID.
    pub fn share_in(&mut self, owner_email: &str, name: &str) -> i64 {
        let owner = self.other_user(owner_email);
        let me = self.user.clone();
        let id = self.insert(owner, Kind::Album, name);
        let collection = self.collection_mut(id);
        collection.shared_at = Some(collection.updated_at);
        collection.sharees.push((me, "VIEWER"));
        id
    }

    /// A collection of somebody else is taken away, and listed as a tombstone.
    pub fn unshare(&mut self, collection: i64) {
        self.set_presence(collection, Presence::Deleted);
    }

    /// A collection of somebody else is shared again.
    pub fn share_again(&mut self, collection: i64) {
        self.set_presence(collection, Presence::Live);
        let collection = self.collection_mut(collection);
        collection.shared_at = Some(collection.updated_at);
    }

    /// A collection of somebody else disappears without a tombstone: its owner's account was deleted.
    pub fn vanish(&mut self, collection: i64) {
        self.collection_mut(collection).presence = Presence::Vanished;
    }

    /// Shares an own album with another user, who may add files to it.
    pub fn share_out(&mut self, album: i64, email: &str) {
        let user = self.other_user(email);
        let time = self.tick();
        let collection = self.collection_mut(album);
        collection.sharees.push((user, "COLLABORATOR"));
        collection.updated_at = time;
    }

    /// Takes an own album back from another user; what they had added leaves it.
    pub fn unshare_out(&mut self, album: i64, email: &str) {
        let user = self.other_user(email);
        let time = self.tick();
        let collection = &self.collections[&album];
        let added = collection
            .rows
            .keys()
            .filter(|file| self.files[file].owner == user.id);
        for file in added.copied().collect::<Vec<_>>() {
            self.take_out(album, file, time);
        }
        let collection = self.collection_mut(album);
        collection.sharees.retain(|(sharee, _)| *sharee != user);
        collection.updated_at = time;
    }

    /// Renames an own collection.
    pub fn rename_album(&mut self, collection: i64, name: &str) {
        let time = self.tick();
        let collection = self.collection_mut(collection);
        name.clone_into(&mut collection.name);
        collection.name_version += 1;
        collection.updated_at = time;
    }

    /// Archives, hides or shows a collection; for those of others that is this account's own choice.
    pub fn set_visibility(&mut self, collection: i64, visibility: Visibility) {
        self.edit_collection(collection, "visibility", (visibility as i64).into());
    }

    /// Sets any member of the private metadata of a collection, or of this account's view of it.
    pub fn edit_collection(&mut self, collection: i64, key: &str, value: Value) {
        let time = self.tick();
        let me = self.user.id;
        let collection = self.collection_mut(collection);
        let mine = collection.owner.id == me;
        let envelope = if mine {
            &mut collection.magic
        } else {
            &mut collection.shared_magic
        };
        envelope.set(key, value);
        collection.updated_at = time;
    }

    /// Deletes an own album and keeps its files, as the apps do it: what is nowhere else goes to Uncategorized.
    pub fn delete_album(&mut self, album: i64) {
        let rows = self.collections[&album]
            .rows
            .iter()
            .filter(|(_, row)| !row.removed);
        for file in rows.map(|(file, _)| *file).collect::<Vec<_>>() {
            self.remove(file, album);
        }
        self.set_presence(album, Presence::Deleted);
    }

    /// Deletes an own album with its files. They reach the trash only with [`Live::run_trash_queue`]; until then they
    /// are nowhere.
    pub fn delete_album_with_files(&mut self, album: i64) {
        self.set_presence(album, Presence::Deleted);
        self.collection_mut(album).trash_queued = true;
    }

    /// Moves what the deletion of albums left behind to the trash.
    pub fn run_trash_queue(&mut self) {
        let queued = self
            .collections
            .iter()
            .filter(|(_, collection)| collection.trash_queued);
        for id in queued.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.collection_mut(id).trash_queued = false;
            let rows = self.collections[&id]
                .rows
                .iter()
                .filter(|(_, row)| !row.removed);
            for file in rows.map(|(file, _)| *file).collect::<Vec<_>>() {
                if self.is_mine(file) {
                    self.trash_from(file, id);
                }
            }
        }
    }

    /// The user with this address, made up when first named.
    pub(super) fn other_user(&self, email: &str) -> User {
        let number = blake3::hash(email.as_bytes()).as_bytes()[..4]
            .try_into()
            .expect("four of 32");
        let id = 1_590_000_000_000_000 + i64::from(u32::from_le_bytes(number));
        User {
            id,
            email: email.to_owned(),
        }
    }

    pub(super) fn collection_mut(&mut self, id: i64) -> &mut Collection {
        self.collections
            .get_mut(&id)
            .unwrap_or_else(|| panic!("no collection {id}"))
    }

    fn create(&mut self, kind: Kind, name: &str) -> i64 {
        self.insert(self.user.clone(), kind, name)
    }

    fn find_or_create(&mut self, kind: Kind, name: &str) -> i64 {
        let mut own = self
            .collections
            .iter()
            .filter(|(_, c)| c.owner.id == self.user.id);
        match own.find(|(_, c)| c.kind == kind && c.presence == Presence::Live) {
            Some((id, _)) => *id,
            None => self.create(kind, name),
        }
    }

    fn insert(&mut self, owner: User, kind: Kind, name: &str) -> i64 {
        let id = self.take_id();
        let updated_at = self.tick();
        let collection = Collection {
            owner,
            kind,
            name: name.to_owned(),
            name_version: 1,
            magic: Envelope::default(),
            public_magic: Envelope::default(),
            shared_magic: Envelope::default(),
            sharees: Vec::new(),
            presence: Presence::Live,
            trash_queued: false,
            updated_at,
            shared_at: None,
            rows: std::collections::BTreeMap::new(),
        };
        self.collections.insert(id, collection);
        id
    }

    fn set_presence(&mut self, collection: i64, presence: Presence) {
        let time = self.tick();
        let collection = self.collection_mut(collection);
        collection.presence = presence;
        collection.updated_at = time;
    }
}

impl Collection {
    pub(super) fn is_default_hidden(&self) -> bool {
        self.magic
            .values
            .get("subType")
            .is_some_and(|sub_type| sub_type == 1)
    }
}
