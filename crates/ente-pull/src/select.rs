//! Which placements a run is about: everything, what records name, or what options choose. Pure.

use std::collections::{BTreeSet, HashMap};

use ente_common::exit::{Exit, Failure};
use ente_common::manifest::State;
use ente_common::manifest::facts::File;
use ente_common::record::Record;
use globset::GlobBuilder;

/// The findings that a download may heal; the others are the user's own doing.
const HEALED: [&str; 3] = ["missing", "damaged", "not-exported"];

/// Ids taken from records: files, and for each the collections, or all of them.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Ids(HashMap<i64, Option<BTreeSet<i64>>>);

impl Ids {
    /// Takes what a record names; nothing but ids.
    pub(crate) fn take(&mut self, record: &Record) {
        let (file, collections) = match record.kind() {
            "file" => (record.int("id"), record.placement_collections()),
            "finding" => {
                let class = record.members.get("class").and_then(|class| class.as_str());
                if !class.is_some_and(|class| HEALED.contains(&class)) {
                    return;
                }
                let collection = record.int("collection");
                (record.int("file"), collection.into_iter().collect())
            }
            _ => return,
        };
        let Some(file) = file else { return };
        let named = self.0.entry(file).or_insert_with(|| Some(BTreeSet::new()));
        match named {
            Some(named) if !collections.is_empty() => named.extend(collections),
            // No collection named means all of them.
            _ => *named = None,
        }
    }

    fn covers(&self, collection: i64, file: i64) -> bool {
        match self.0.get(&file) {
            None => false,
            Some(None) => true,
            Some(Some(collections)) => collections.contains(&collection),
        }
    }
}

/// What the options choose, by what the server can tell.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Only this album; may be given several times
    ///
    /// By its ID; or by its name, which may hold `*` and `?`, where `ente-decrypt` has named the album's folder in this export before.
    /// This tool holds no keys: for albums that it cannot know by name, let `ente-meta` choose and hand the choice back with `--only -`.
    #[arg(long, value_name = "ID|NAME", help_heading = "Selection")]
    album: Vec<String>,
    /// Not this album, by ID or name as above
    #[arg(long, value_name = "ID|NAME", help_heading = "Selection")]
    exclude_album: Vec<String>,
    /// Only files that this user uploaded
    #[arg(long, value_name = "ID", help_heading = "Selection")]
    owner: Option<i64>,
    /// No albums of other people
    #[arg(long, help_heading = "Selection")]
    no_shared: bool,
}

impl Options {
    /// Nothing is chosen: the run is about everything.
    pub(crate) fn choose_nothing(&self) -> bool {
        self.album.is_empty()
            && self.exclude_album.is_empty()
            && self.owner.is_none()
            && !self.no_shared
    }
}

/// The placements that a run is about.
#[derive(Debug, Default)]
pub(crate) struct Selection<'a> {
    ids: Option<&'a Ids>,
    albums: Option<BTreeSet<i64>>,
    without: BTreeSet<i64>,
    owner: Option<i64>,
}

impl<'a> Selection<'a> {
    /// Resolves the options against the listing in `state` of the account of `user_id`.
    ///
    /// # Errors
    /// When an album is not known by its ID or name.
    pub(crate) fn new(
        ids: Option<&'a Ids>,
        options: &Options,
        state: &State,
        user_id: i64,
    ) -> Result<Self, Failure> {
        let mut without = BTreeSet::new();
        for name in &options.exclude_album {
            without.extend(resolve(name, state)?);
        }
        if options.no_shared {
            let collections = state.pull.collections.values();
            let shared = collections.filter(|collection| collection.owner != user_id);
            without.extend(shared.map(|collection| collection.id));
        }
        let mut albums = None;
        for name in &options.album {
            let chosen = albums.get_or_insert_with(BTreeSet::new);
            chosen.extend(resolve(name, state)?);
        }
        Ok(Self {
            ids,
            albums,
            without,
            owner: options.owner,
        })
    }

    /// The placement is one of those chosen.
    pub(crate) fn covers(&self, file: &File) -> bool {
        self.ids
            .is_none_or(|ids| ids.covers(file.collection, file.id))
            && (self.albums.as_ref()).is_none_or(|albums| albums.contains(&file.collection))
            && !self.without.contains(&file.collection)
            && self.owner.is_none_or(|owner| owner == file.owner)
    }
}

/// The collections that an ID or a name stands for.
fn resolve(name: &str, state: &State) -> Result<Vec<i64>, Failure> {
    if let Ok(id) = name.parse()
        && state.pull.collections.contains_key(&id)
    {
        return Ok(vec![id]);
    }
    let glob = GlobBuilder::new(name)
        .case_insensitive(true)
        .build()
        .map_err(|error| {
            Failure::new(Exit::Usage, format!("`{name}` is no name of an album")).cause(error)
        })?
        .compile_matcher();
    let folders = state.decrypt.folders.values();
    let found: Vec<i64> = folders
        .filter(|folder| glob.is_match(&folder.name))
        .map(|folder| folder.collection)
        .filter(|id| state.pull.collections.contains_key(id))
        .collect();
    if found.is_empty() {
        return Err(Failure::new(Exit::Usage, format!("no album `{name}` is known here"))
            .cause("it is no ID of the account, and names can be read only with the keys, which this tool does not hold")
            .hint(format!("let the tool choose that has them: `ente-pull --list DIR | ente-meta --album '{name}' - | ente-pull --only - DIR | ente-decrypt - | ente-meta -`")));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ente_common::manifest::facts::{Collection, Folder};
    use serde_json::json;

    fn record(value: serde_json::Value) -> Record {
        Record {
            members: value.as_object().unwrap().clone(),
        }
    }

    #[test]
    fn only_ids_are_taken_from_records() {
        let mut ids = Ids::default();
        for value in [
            json!({"type":"file","id":1,"placements":[{"collection":10},{"collection":11,"path":"../x"}]}),
            json!({"type":"file","id":2}),
            json!({"type":"finding","class":"missing","file":3,"collection":10}),
            json!({"type":"finding","class":"modified","file":4,"collection":10}),
            json!({"type":"finding","class":"extra","path":"x"}),
            json!({"type":"collection","id":5}),
            json!({"type":"file","id":"6"}),
            json!({"type":"file","id":7,"placements":[{"collection":10}]}),
            json!({"type":"finding","class":"damaged","file":7,"collection":11}),
        ] {
            ids.take(&record(value));
        }
        let covered: Vec<(i64, i64)> = (1..8)
            .flat_map(|file| [(10, file), (11, file), (12, file)])
            .filter(|(collection, file)| ids.covers(*collection, *file))
            .collect();
        let expected = [
            (10, 1),
            (11, 1),
            (10, 2),
            (11, 2),
            (12, 2),
            (10, 3),
            (10, 7),
            (11, 7),
        ];
        assert_eq!(covered, expected);
    }

    #[test]
    fn options_choose_by_what_the_server_tells_and_by_folders_already_named() {
        let mut state = State::default();
        for (id, owner, folder) in [
            (10, 1, Some("Vacation 2024")),
            (11, 2, Some("Vacation_1")),
            (12, 1, None),
        ] {
            state.pull.collections.insert(
                id,
                Collection {
                    id,
                    owner,
                    ..Collection::default()
                },
            );
            if let Some(name) = folder {
                let folder = Folder {
                    collection: id,
                    name: name.into(),
                    ..Folder::default()
                };
                state.decrypt.folders.insert(id, folder);
            }
        }
        let strings = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let covered = |options: &Options| -> Option<Vec<(i64, i64)>> {
            let selection = Selection::new(None, options, &state, 1).ok()?;
            let files = (10..13).flat_map(|collection| [1, 2].map(|owner| (collection, owner)));
            let is_covered = |(collection, owner): &(i64, i64)| {
                selection.covers(&File {
                    collection: *collection,
                    id: 7,
                    owner: *owner,
                    ..File::default()
                })
            };
            Some(files.filter(is_covered).collect())
        };
        let options = Options::default();
        assert_eq!(covered(&options).map(|all| all.len()), Some(6));
        for (options, expected) in [
            (
                Options {
                    album: strings(&["12"]),
                    ..options.clone()
                },
                Some(vec![(12, 1), (12, 2)]),
            ),
            (
                Options {
                    album: strings(&["vacation*"]),
                    owner: Some(2),
                    ..options.clone()
                },
                Some(vec![(10, 2), (11, 2)]),
            ),
            (
                Options {
                    album: strings(&["Vacation*"]),
                    no_shared: true,
                    ..options.clone()
                },
                Some(vec![(10, 1), (10, 2)]),
            ),
            (
                Options {
                    exclude_album: strings(&["Vacation 2024", "12"]),
                    ..options.clone()
                },
                Some(vec![(11, 1), (11, 2)]),
            ),
            (
                Options {
                    album: strings(&["Secret"]),
                    ..options.clone()
                },
                None,
            ),
            (
                Options {
                    album: strings(&["99"]),
                    ..options.clone()
                },
                None,
            ),
        ] {
            assert_eq!(covered(&options), expected, "{options:?}");
        }
    }
}
