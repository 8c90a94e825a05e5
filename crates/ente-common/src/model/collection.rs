//! A collection as its participant sees it.

use serde_json::Value;

use super::lenient::int;
use super::metadata::Visibility;
use crate::wire;

/// A collection with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// Unique on the server.
    pub id: i64,
    /// Whose it is.
    pub owner_id: i64,
    /// Whether it is the account's own; else it is shared with the account.
    pub is_owned: bool,
    /// The name in plain text; may hold any characters, or none.
    pub name: String,
    /// What sort of collection it is.
    pub kind: CollectionKind,
    /// Where the account's apps show it.
    pub visibility: Visibility,
}

/// What sort of collection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CollectionKind {
    /// An album that somebody made.
    Album,
    /// A folder of a device.
    Folder,
    /// Favorites: the account's own, or somebody else's that are shared with it.
    Favorites {
        /// Whether they are the account's own.
        own: bool,
    },
    /// Files that were taken out of every album.
    Uncategorized,
    /// Files hidden one by one; an account may have several of it.
    DefaultHidden,
    /// Made to share selected files by a link.
    QuickLink,
}

impl Collection {
    /// Joins what the server sent with what was decrypted: the name, and the metadata that is private to this
    /// account (`magicMetadata` of its own collections, `sharedMagicMetadata` of the others).
    pub fn new(
        served: &wire::Collection,
        user_id: i64,
        name: String,
        private: Option<&Value>,
    ) -> Self {
        let is_owned = served.owner.id == user_id;
        // A sharee has no say in what the collection is.
        let sub_type = private
            .filter(|_| is_owned)
            .and_then(|private| int(private, "subType"));
        let kind = match (served.kind.as_str(), sub_type) {
            ("favorites", _) => CollectionKind::Favorites { own: is_owned },
            ("uncategorized", _) => CollectionKind::Uncategorized,
            (_, Some(1)) => CollectionKind::DefaultHidden,
            (_, Some(2)) => CollectionKind::QuickLink,
            ("folder", _) => CollectionKind::Folder,
            _ => CollectionKind::Album,
        };
        Self {
            id: served.id,
            owner_id: served.owner.id,
            is_owned,
            name,
            kind,
            visibility: Visibility::of(private),
        }
    }

    /// What its folder in the export is called before it is made safe.
    pub fn folder_title(&self) -> &str {
        match self.kind {
            // Its stored name, `.hidden`, is nobody's choice.
            CollectionKind::DefaultHidden => "Hidden",
            _ => &self.name,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn collection(kind: &str, owner: i64, private: &Value) -> Collection {
        let served = json!({"id": 1, "owner": {"id": owner}, "type": kind});
        let served = serde::Deserialize::deserialize(served).unwrap();
        Collection::new(&served, 7, "name".into(), Some(private))
    }

    #[test]
    fn the_kind_follows_type_and_subtype() {
        use CollectionKind::{Album, DefaultHidden, Favorites, Folder, QuickLink, Uncategorized};
        let rows = [
            ("album", 7, json!({}), Album, "name"),
            ("", 7, json!(null), Album, "name"),
            ("from the future", 7, json!({"subType": 9}), Album, "name"),
            ("folder", 7, json!({"subType": 0}), Folder, "name"),
            ("favorites", 7, json!({}), Favorites { own: true }, "name"),
            ("favorites", 8, json!({}), Favorites { own: false }, "name"),
            ("uncategorized", 7, json!({}), Uncategorized, "name"),
            ("album", 7, json!({"subType": 1}), DefaultHidden, "Hidden"),
            ("album", 7, json!({"subType": "2"}), QuickLink, "name"),
            ("album", 8, json!({"subType": 1}), Album, "name"),
        ];
        for (kind, owner, private, expected, folder) in rows {
            let collection = collection(kind, owner, &private);
            assert_eq!(collection.kind, expected, "{kind} {private}");
            assert_eq!(collection.folder_title(), folder, "{kind} {private}");
            assert_eq!(collection.is_owned, owner == 7);
        }
    }

    #[test]
    fn each_sees_with_their_own_visibility() {
        for (value, expected) in [
            (0, Visibility::Visible),
            (1, Visibility::Archived),
            (2, Visibility::Hidden),
        ] {
            for owner in [7, 8] {
                let visibility =
                    collection("album", owner, &json!({"visibility": value})).visibility;
                assert_eq!(visibility, expected);
            }
        }
    }
}
