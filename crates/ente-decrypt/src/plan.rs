//! From the present tree to the desired one: pure functions over facts, no disk.
//!
//! [`structure`] is everything that needs no content to be made: renames, moves, removals, restoring from the trash. What is left without its
//! content afterwards [`lacks`] it; [`source`] says where that comes from. Steps hold no paths: those follow from the facts when a step is done.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use ente_common::id::Version;
use ente_common::manifest::facts::{Part, Placement};
use ente_common::manifest::setting::OnRemove;
use ente_common::manifest::{ContentKey, PlacementKey, State};
use ente_common::naming;

use crate::adopt::Adoption;
use crate::desired::{Desired, Name};
use crate::settings::{LinkMode, Settings};

/// The folder of a live collection gets another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FolderRename {
    /// Collection ID.
    pub collection: i64,
    /// Its present name.
    pub from: String,
    /// Its new one.
    pub to: String,
}

/// What becomes of the files of one placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// They stay under their names and are dated anew.
    Stay,
    /// They get other names in their album.
    Rename,
    /// The placement ended; they become those of another one.
    Move(PlacementKey),
    /// They make room for content that comes in the same run, and go where replaced content goes.
    Displace,
    /// The placement ended; they go the way of `--on-remove`.
    Remove,
    /// The placement ended; nothing is done to them, and they are no longer ours.
    Forget,
}

/// One thing to do with the files of a placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// The placement.
    pub key: PlacementKey,
    /// What becomes of its files.
    pub fate: Fate,
    /// The modification time to set, where it changes. A file that leaves may bear it already: placements can share one file on disk, and another
    /// one was dated anew.
    pub mtime: Option<i64>,
}

/// Files in the trash that become those of a placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Restore {
    /// The placement.
    pub to: PlacementKey,
    /// Paths below `trash/`, in order of the parts.
    pub paths: Vec<String>,
}

/// Everything that can be done without making content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Structure {
    /// Folders to rename.
    pub folders: Vec<FolderRename>,
    /// What becomes of present files.
    pub steps: Vec<Step>,
    /// What comes back from the trash.
    pub restores: Vec<Restore>,
    /// What lies in the tree already.
    pub adoptions: Vec<Adoption>,
    /// Placements whose content is at hand, once what is there of the very same version has left: to be planned then.
    pub deferred: Vec<PlacementKey>,
    /// It is all that there is to do, and not that about some files alone.
    pub is_whole: bool,
}

impl Structure {
    /// There is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.folders.is_empty()
            && self.steps.is_empty()
            && self.restores.is_empty()
            && self.adoptions.is_empty()
    }

    /// What is in the place of content that comes leaves first, whatever else was planned for it.
    pub(crate) fn make_room(
        &mut self,
        state: &State,
        served: impl IntoIterator<Item = PlacementKey>,
    ) {
        for key in served {
            let placement = state.decrypt.placements.get(&key);
            if placement.is_some_and(|placement| !placement.parts.is_empty()) {
                self.steps.retain(|step| step.key != key);
                self.steps.push(Step {
                    key,
                    fate: Fate::Displace,
                    mtime: None,
                });
            }
        }
        self.steps.sort_by_key(|step| step.key);
    }

    /// Lets content come later where a damaged file of the same version is to leave first: both would be parked under one name.
    pub(crate) fn defer(&mut self, state: &State) {
        let is_there = |key: &PlacementKey| {
            let placement = state.decrypt.placements.get(key);
            placement.is_some_and(|placement| {
                let listed = state.pull.files.get(key).map(|file| file.version);
                !placement.parts.is_empty() && listed == Some(placement.version)
            })
        };
        let restores = self.restores.iter().map(|it| it.to);
        let adoptions = self.adoptions.iter().map(|it| it.to);
        self.deferred = restores.chain(adoptions).filter(is_there).collect();
        let deferred: HashSet<_> = self.deferred.iter().collect();
        self.restores.retain(|it| !deferred.contains(&it.to));
        self.adoptions.retain(|it| !deferred.contains(&it.to));
    }

    /// Takes out what concerns these placements, what stands in their way, and all folders.
    pub(crate) fn take(
        &mut self,
        state: &State,
        desired: &Desired,
        chosen: &BTreeSet<PlacementKey>,
    ) -> Structure {
        let mut chosen = chosen.clone();
        let mut taken = Structure {
            folders: std::mem::take(&mut self.folders),
            ..Structure::default()
        };
        loop {
            let places: HashSet<Place> = chosen
                .iter()
                .filter_map(|key| Place::wanted(state, desired, *key))
                .collect();
            let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.steps)
                .into_iter()
                .partition(|step| {
                    let target = match step.fate {
                        Fate::Move(to) => chosen.contains(&to),
                        _ => false,
                    };
                    target
                        || chosen.contains(&step.key)
                        || Place::present(state, desired, step.key)
                            .any(|place| places.contains(&place))
                });
            self.steps = later;
            if now.is_empty() {
                break;
            }
            // What is on its way may find its own place taken by yet another.
            for step in &now {
                chosen.insert(step.key);
                if let Fate::Move(to) = step.fate {
                    chosen.insert(to);
                }
            }
            taken.steps.extend(now);
        }
        let (now, later) = std::mem::take(&mut self.restores)
            .into_iter()
            .partition(|restore| chosen.contains(&restore.to));
        taken.restores = now;
        self.restores = later;
        let (now, later) = std::mem::take(&mut self.adoptions)
            .into_iter()
            .partition(|adoption| chosen.contains(&adoption.to));
        taken.adoptions = now;
        self.adoptions = later;
        let (now, later) = std::mem::take(&mut self.deferred)
            .into_iter()
            .partition(|key| chosen.contains(key));
        taken.deferred = now;
        self.deferred = later;
        taken
    }
}

/// A place in the tree, folded roughly: enough to see who may stand in whose way.
#[derive(PartialEq, Eq, Hash)]
struct Place {
    folder: String,
    /// Without extension: a live photo's are known only once it is there.
    stem: String,
}

impl Place {
    fn new(folder: &str, name: &str) -> Self {
        let stem = name.rfind('.').map_or(name, |dot| &name[..dot]);
        Self {
            folder: folder.to_lowercase(),
            stem: stem.to_lowercase(),
        }
    }

    fn wanted(state: &State, desired: &Desired, key: PlacementKey) -> Option<Self> {
        let name = desired.name(state, key)?;
        let folder = desired.folder(state, key.0)?;
        Some(if name.live {
            Self {
                folder: folder.to_lowercase(),
                stem: name.name.to_lowercase(),
            }
        } else {
            Self::new(folder, &name.name)
        })
    }

    fn present<'a>(
        state: &'a State,
        desired: &'a Desired,
        key: PlacementKey,
    ) -> impl Iterator<Item = Self> + 'a {
        let folder = desired.folder(state, key.0).unwrap_or_default();
        let parts = state
            .decrypt
            .placements
            .get(&key)
            .map_or(&[][..], |placement| &placement.parts);
        parts.iter().map(move |part| Self::new(folder, &part.name))
    }
}

/// The names that the parts of a placement bear under its name; `None` where a file and a live photo do not fit each other.
pub(crate) fn part_names<'a>(
    name: &str,
    live: bool,
    parts: impl ExactSizeIterator<Item = &'a str>,
) -> Option<Vec<String>> {
    if live {
        let named = |part: &str| format!("{name}{}", naming::part_extension(part));
        return Some(parts.map(named).collect());
    }
    (parts.len() == 1).then(|| vec![name.to_owned()])
}

fn names_of(parts: &[Part]) -> impl ExactSizeIterator<Item = &str> {
    parts.iter().map(|part| part.name.as_str())
}

/// The content version that a live placement is to have and has not, or not whole.
pub(crate) fn lacks(state: &State, desired: &Desired, key: PlacementKey) -> Option<Version> {
    let version = state.pull.files.get(&key)?.version?;
    let placement = state.decrypt.placements.get(&key);
    if placement.is_some_and(|placement| placement.version == Some(version)) && state.is_whole(key)
    {
        return None;
    }
    let is_named = placement.is_some() || desired.names.contains_key(&key);
    let is_readable = is_named && !desired.unreadable.contains(&key);
    (is_readable && desired.folder(state, key.0).is_some()).then_some(version)
}

/// Plans everything that needs no content to be made, for the whole account.
pub(crate) fn structure(state: &State, desired: &Desired, settings: &Settings) -> Structure {
    let folders = desired
        .folders
        .values()
        .filter_map(|folder| {
            let old = state.decrypt.folders.get(&folder.collection)?;
            (old.name != folder.name).then(|| FolderRename {
                collection: folder.collection,
                from: old.name.clone(),
                to: folder.name.clone(),
            })
        })
        .collect();
    let mut steps = Vec::new();
    let mut ended: BTreeMap<i64, Vec<PlacementKey>> = BTreeMap::new();
    for (&key, placement) in &state.decrypt.placements {
        if !state.pull.files.contains_key(&key) {
            ended.entry(key.1).or_default().push(key);
        } else if !placement.parts.is_empty() && !desired.unreadable.contains(&key) {
            steps.extend(stay(desired, settings, key, placement));
        }
    }
    let others: HashMap<i64, PlacementKey> = match ended.is_empty() {
        true => HashMap::new(),
        false => {
            let live = state.pull.files.keys();
            let of_ended = live.filter(|key| ended.contains_key(&key.1));
            of_ended.map(|key| (key.1, *key)).collect()
        }
    };
    let trashed = state.trashed();
    let moves = moves(state, desired, &ended, &trashed);
    let served: HashSet<PlacementKey> = moves.values().copied().collect();
    for key in ended.into_values().flatten() {
        let placement = &state.decrypt.placements[&key];
        let fate = match moves.get(&key) {
            Some(&to) => Fate::Move(to),
            None if placement.parts.is_empty() || settings.on_remove == OnRemove::Keep => {
                Fate::Forget
            }
            None => Fate::Remove,
        };
        let home = match fate {
            Fate::Move(to) => Some(to),
            _ => others.get(&key.1).copied(),
        };
        let name = home.and_then(|home| desired.name(state, home));
        let mtime = name.and_then(|name| redate(&name, placement, settings));
        steps.push(Step { key, fate, mtime });
    }
    let restores = restores(state, desired, &served, trashed);
    let served = served
        .into_iter()
        .chain(restores.iter().map(|restore| restore.to));
    let served: Vec<PlacementKey> = served.collect();
    let mut structure = Structure {
        folders,
        steps,
        restores,
        adoptions: Vec::new(),
        deferred: Vec::new(),
        is_whole: true,
    };
    structure.make_room(state, served);
    structure
}

/// What a placement that goes on needs: another name, another time.
fn stay(
    desired: &Desired,
    settings: &Settings,
    key: PlacementKey,
    placement: &Placement,
) -> Option<Step> {
    let name = desired.names.get(&key);
    let (text, live) = name.map_or((&placement.name, placement.live), |name| {
        (&name.name, name.live)
    });
    // A still alone under the name of a live photo, or the other way round, is out of date: it stays until its content is replaced.
    let renamed = part_names(text, live, names_of(&placement.parts))
        .is_some_and(|names| !names.iter().eq(names_of(&placement.parts)));
    let mtime = match name {
        Some(name) => redate(name, placement, settings),
        None => settings
            .mtime
            .pick(placement.taken, placement.modified)
            .filter(|us| is_dated_anew(placement, settings, *us)),
    };
    let fate = if renamed { Fate::Rename } else { Fate::Stay };
    (renamed || mtime.is_some()).then_some(Step { key, fate, mtime })
}

fn redate(name: &Name, placement: &Placement, settings: &Settings) -> Option<i64> {
    let new = settings.mtime.pick(name.taken, name.modified);
    let old = settings.mtime.pick(placement.taken, placement.modified);
    new.filter(|us| new != old || is_dated_anew(placement, settings, *us))
}

/// All files get another time than before, and these do not bear it yet.
fn is_dated_anew(placement: &Placement, settings: &Settings, us: i64) -> bool {
    settings.redates && placement.parts.iter().any(|part| part.mtime != us)
}

/// For placements that ended: the placement of the same file that takes their files over.
fn moves(
    state: &State,
    desired: &Desired,
    ended: &BTreeMap<i64, Vec<PlacementKey>>,
    trashed: &HashMap<ContentKey, Vec<&str>>,
) -> BTreeMap<PlacementKey, PlacementKey> {
    let mut moves = BTreeMap::new();
    if ended.is_empty() {
        return moves;
    }
    let mut homes: BTreeMap<i64, Vec<(PlacementKey, Version)>> = BTreeMap::new();
    for &key in state.pull.files.keys() {
        if ended.contains_key(&key.1)
            && let Some(version) = lacks(state, desired, key)
        {
            homes.entry(key.1).or_default().push((key, version));
        }
    }
    for (file, homes) in &mut homes {
        let sources = || ended[file].iter().filter(|key| state.is_whole(**key));
        for &source in sources() {
            let version = state.decrypt.placements[&source].version;
            if let Some(at) = homes
                .iter()
                .position(|(_, wanted)| version == Some(*wanted))
            {
                moves.insert(source, homes.remove(at).0);
            }
        }
        // Also what is out of date moves along: it stays in sight until its new content is there, which the trash gives at once.
        for &source in sources() {
            let parts = &state.decrypt.placements[&source].parts;
            let fits = |(home, wanted): &(PlacementKey, Version)| {
                if trashed.contains_key(&(*file, *wanted)) {
                    return false;
                }
                let is_bare = state
                    .decrypt
                    .placements
                    .get(home)
                    .is_none_or(|placement| placement.parts.is_empty());
                let name = desired.name(state, *home);
                is_bare
                    && name.is_some_and(|name| {
                        part_names(&name.name, name.live, names_of(parts)).is_some()
                    })
            };
            if !moves.contains_key(&source)
                && let Some(at) = homes.iter().position(fits)
            {
                moves.insert(source, homes.remove(at).0);
            }
        }
    }
    moves
}

/// What comes back from the trash: content that a placement lacks and no other has. Only the first of several placements takes it; the others
/// are linked to that.
fn restores(
    state: &State,
    desired: &Desired,
    served: &HashSet<PlacementKey>,
    mut trashed: HashMap<ContentKey, Vec<&str>>,
) -> Vec<Restore> {
    if trashed.is_empty() {
        return Vec::new();
    }
    for (key, placement) in &state.decrypt.placements {
        if let Some(version) = placement.version
            && trashed.contains_key(&(key.1, version))
            && state.pull.files.contains_key(key)
            && state.is_whole(*key)
        {
            trashed.remove(&(key.1, version));
        }
    }
    let mut restores = Vec::new();
    let wanted = |key: PlacementKey| {
        let version = state.pull.files.get(&key)?.version?;
        Some((key.1, version))
    };
    for content in served.iter().filter_map(|key| wanted(*key)) {
        trashed.remove(&content);
    }
    for &to in state.pull.files.keys() {
        let Some(content) = wanted(to).filter(|content| trashed.contains_key(content)) else {
            continue;
        };
        if lacks(state, desired, to).is_some()
            && let Some(paths) = trashed.remove(&content)
        {
            let paths = paths.into_iter().map(str::to_owned).collect();
            restores.push(Restore { to, paths });
        }
    }
    restores
}

/// In which collections a file has a name, or lost it in this run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Siblings {
    /// (file, collection), ascending.
    pairs: Vec<(i64, i64)>,
    collections: Vec<i64>,
}

impl Siblings {
    /// Of all placements that are recorded or listed.
    pub(crate) fn new(state: &State) -> Self {
        let recorded = state.decrypt.placements.keys();
        let mut pairs: Vec<_> = recorded
            .chain(state.pull.files.keys())
            .map(|&(collection, file)| (file, collection))
            .collect();
        pairs.sort_unstable();
        pairs.dedup();
        let collections = pairs.iter().map(|(_, collection)| *collection).collect();
        Self { pairs, collections }
    }

    /// The files in several collections, with those.
    fn shared(&self) -> impl Iterator<Item = (i64, &[i64])> {
        let groups = self.pairs.chunk_by(|(one, _), (other, _)| one == other);
        let files = groups
            .filter(|group| group.len() > 1)
            .map(|group| group[0].0);
        files.map(|file| (file, self.of(file)))
    }

    /// The collections of one file.
    pub(crate) fn of(&self, file: i64) -> &[i64] {
        let start = self.pairs.partition_point(|(id, _)| *id < file);
        let end = self.pairs.partition_point(|(id, _)| *id <= file);
        &self.collections[start..end]
    }
}

/// Placements that share the content of another one in another way than the setting asks for now: who has it, and who takes it anew from there.
pub(crate) fn relinks(
    state: &State,
    mode: LinkMode,
    siblings: &Siblings,
) -> Vec<(PlacementKey, Vec<PlacementKey>)> {
    let mut relinks = Vec::new();
    let Some(how) = mode.how() else {
        return relinks;
    };
    let is_other = |key: &PlacementKey| {
        let parts = &state.decrypt.placements[key].parts;
        let is_other = |part: &Part| part.how.is_linked() && part.how != how;
        parts.iter().any(is_other)
    };
    // Of other files, not all placements are known.
    let known = siblings.shared().filter(|(file, _)| state.knows(*file));
    for (file, collections) in known {
        let mut by_version: BTreeMap<Version, Vec<PlacementKey>> = BTreeMap::new();
        for &collection in collections {
            let key = (collection, file);
            let listed = state.pull.files.get(&key).and_then(|file| file.version);
            let recorded = state.decrypt.placements.get(&key);
            if let Some(version) = listed
                && recorded.and_then(|placement| placement.version) == listed
                && state.is_whole(key)
            {
                by_version.entry(version).or_default().push(key);
            }
        }
        for mut keys in by_version.into_values() {
            // Whoever stays as it is has the content to give; else the first.
            let from = keys.iter().position(|key| !is_other(key)).unwrap_or(0);
            let from = keys.remove(from);
            keys.retain(is_other);
            if !keys.is_empty() {
                relinks.push((from, keys));
            }
        }
    }
    relinks
}

/// Where content that is lacking comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Another placement has it.
    Placement(PlacementKey),
    /// Its object is at hand.
    Object,
    /// Its object was tried before and could not be exported.
    Refused,
    /// It has to be fetched first.
    Nowhere,
}

/// Where the content of a file comes from; `siblings` are the collections that the file has a name in.
pub(crate) fn source(state: &State, content: ContentKey, siblings: &[i64]) -> Source {
    let has = |key: PlacementKey| {
        let placement = state.decrypt.placements.get(&key);
        state.pull.files.contains_key(&key)
            && placement.is_some_and(|placement| placement.version == Some(content.1))
            && state.is_whole(key)
    };
    let sibling = siblings.iter().map(|&collection| (collection, content.0));
    if let Some(key) = sibling.clone().find(|key| has(*key)) {
        return Source::Placement(key);
    }
    let verdict = state.decrypt.verdicts.get(&content);
    match (state.object(content), verdict) {
        (Some(object), Some(verdict)) if verdict.fetch == object.fetch => Source::Refused,
        (Some(_), _) => Source::Object,
        (None, Some(_)) => Source::Refused,
        (None, None) => Source::Nowhere,
    }
}

#[cfg(test)]
mod tests {
    use ente_common::manifest::facts::{
        DecryptFact, Finding, How, Object, PullFact, Trash, Verdict, VerifyFact,
    };

    use super::*;
    use crate::desired::{FileTitle, Stale, Titles};
    use crate::testing::{Album, File, state, version};

    fn desire(state: &State, listed: &[Album]) -> Desired {
        let stale = Stale::of(state);
        let mut titles = Titles::default();
        for album in listed {
            if stale.collections.contains(&album.id) {
                titles.folders.insert(album.id, album.title.to_owned());
            }
            for file in album.files {
                let key = (album.id, file.id);
                if stale.files.contains(&key) {
                    let title = FileTitle {
                        title: file.title.to_owned(),
                        live: file.live,
                        ..FileTitle::default()
                    };
                    titles.files.insert(key, title);
                }
            }
        }
        Desired::new(state, &titles, 250)
    }

    fn settings() -> Settings {
        Settings::new(&State::default(), None, None, None, || 250)
    }

    /// The plan in words: `1/7 rename`, `1/7 move 2/7`, `2/8 restore`, `folder 1 A > B`.
    fn words(structure: &Structure) -> Vec<String> {
        let key = |key: PlacementKey| format!("{}/{}", key.0, key.1);
        let folders = structure.folders.iter().map(|folder| {
            format!(
                "folder {} {} > {}",
                folder.collection, folder.from, folder.to
            )
        });
        let steps = structure.steps.iter().map(|step| match step.fate {
            Fate::Stay => format!("{} date", key(step.key)),
            Fate::Rename => format!("{} rename", key(step.key)),
            Fate::Move(to) => format!("{} move {}", key(step.key), key(to)),
            Fate::Displace => format!("{} displace", key(step.key)),
            Fate::Remove => format!("{} remove", key(step.key)),
            Fate::Forget => format!("{} forget", key(step.key)),
        });
        let restores = structure
            .restores
            .iter()
            .map(|restore| format!("{} restore {}", key(restore.to), restore.paths.join(" ")));
        folders.chain(steps).chain(restores).collect()
    }

    fn planned(given: &[Album], listed: &[Album]) -> Vec<String> {
        let state = state(given, listed);
        words(&structure(&state, &desire(&state, listed), &settings()))
    }

    const X: File = File::new(7, "x.jpg", "x.jpg");
    const X1: File = File::new(8, "x.jpg", "x_1.jpg");

    fn a(files: &[File]) -> Album {
        Album::new(1, "A", "A", files)
    }

    fn b(files: &[File]) -> Album {
        Album::new(2, "B", "B", files)
    }

    #[test]
    fn every_change_has_its_steps() {
        let live = File::new(9, "l.heic", "l").live();
        type Row<'a> = (&'a str, &'a [Album], &'a [Album], &'a [&'a str]);
        let rows: &[Row<'_>] = &[
            (
                "nothing changed",
                &[a(&[X, X1, live])],
                &[a(&[X, X1, live])],
                &[],
            ),
            ("new files need content, not steps", &[], &[a(&[X])], &[]),
            (
                "renamed",
                &[a(&[X])],
                &[a(&[File::new(7, "y.jpg", "")])],
                &["1/7 rename"],
            ),
            (
                "a live photo renamed",
                &[a(&[live])],
                &[a(&[File::new(9, "m.heic", "").live()])],
                &["1/9 rename"],
            ),
            (
                "swapped: x.jpg and x_1.jpg",
                &[a(&[X, X1])],
                &[a(&[
                    File::new(7, "x_1.jpg", ""),
                    File::new(8, "x.jpg ", ""),
                ])],
                &["1/7 rename", "1/8 rename"],
            ),
            ("removed", &[a(&[X, X1])], &[a(&[X1])], &["1/7 remove"]),
            (
                "deleted, and another renamed to its name",
                &[a(&[X, X1])],
                &[a(&[File::new(8, "X.jpg", "")])],
                &["1/7 remove", "1/8 rename"],
            ),
            ("moved", &[a(&[X])], &[a(&[]), b(&[X])], &["1/7 move 2/7"]),
            (
                "added to a second album: a link needs content",
                &[a(&[X])],
                &[a(&[X]), b(&[X])],
                &[],
            ),
            (
                "removed from one of two albums",
                &[a(&[X]), b(&[X])],
                &[a(&[]), b(&[X])],
                &["1/7 remove"],
            ),
            (
                "out of two albums into a third",
                &[a(&[X]), b(&[X])],
                &[Album::new(3, "C", "", &[X])],
                &["1/7 move 3/7", "2/7 remove"],
            ),
            (
                "moved and replaced at once: the old version stays in sight",
                &[a(&[X])],
                &[b(&[X.version(2)])],
                &["1/7 move 2/7"],
            ),
            (
                "replaced: nothing moves before the new content is there",
                &[a(&[X])],
                &[a(&[X.version(2)])],
                &[],
            ),
            (
                "moved to where an old version lies",
                &[a(&[X.version(2)]), b(&[X])],
                &[b(&[X.version(2)])],
                &["1/7 move 2/7", "2/7 displace"],
            ),
            (
                "a live photo became an ordinary file: its parts wait",
                &[a(&[live])],
                &[a(&[File::new(9, "l.jpg", "").version(2)])],
                &[],
            ),
            (
                "an ordinary file became a live photo: renamed as far as it goes",
                &[a(&[X])],
                &[a(&[File::new(7, "y.jpg", "").live().version(2)])],
                &["1/7 rename"],
            ),
            (
                "an album renamed to the name of one deleted in the same round",
                &[a(&[X]), b(&[X1])],
                &[Album::new(2, "A", "", &[X1])],
                &["folder 2 B > A", "1/7 remove"],
            ),
            (
                "albums swapped",
                &[a(&[X]), b(&[X1])],
                &[Album::new(1, "B", "", &[X]), Album::new(2, "A", "", &[X1])],
                &["folder 1 A > B", "folder 2 B > A"],
            ),
            (
                "a name that was given and never used",
                &[a(&[X.pending()])],
                &[a(&[])],
                &["1/7 forget"],
            ),
        ];
        for (what, given, listed, expected) in rows {
            assert_eq!(&planned(given, listed), expected, "{what}");
        }
    }

    #[test]
    fn removal_follows_the_setting_and_times_follow_theirs() {
        let given = [a(&[X])];
        let mut state = state(&given, &[]);
        let keep = Settings::new(&state, None, None, Some(OnRemove::Keep), || 250);
        assert_eq!(
            words(&structure(&state, &Desired::default(), &keep)),
            ["1/7 forget"]
        );
        state = crate::testing::state(&given, &given);
        let modified = crate::settings::Mtime::Modified;
        let redated = Settings::new(&state, Some(modified), None, None, || 250);
        let plan = structure(&state, &Desired::default(), &redated);
        assert!(plan.is_empty(), "a file without times keeps its own");
        let placement = state.decrypt.placements.get_mut(&(1, 7)).unwrap();
        (placement.taken, placement.modified) = (Some(1), Some(2));
        let plan = structure(&state, &Desired::default(), &redated);
        assert_eq!(
            (plan.steps[0].fate, plan.steps[0].mtime),
            (Fate::Stay, Some(2))
        );
        let mut later = Name::of(&state.decrypt.placements[&(1, 7)]);
        later.taken = Some(5);
        let mut desired = Desired::default();
        desired.names.insert((1, 7), later);
        let plan = structure(&state, &desired, &settings());
        assert_eq!(plan.steps[0].mtime, Some(5));
    }

    #[test]
    fn the_trash_gives_back_what_is_whole() {
        let live = File::new(9, "l.heic", "l").live();
        let mut state = state(&[], &[a(&[X, live]), b(&[X])]);
        let mut trash = |path: &str, file, part, of, reason: &str| {
            state.decrypt.apply(DecryptFact::Trash(Trash {
                path: path.into(),
                collection: 5,
                file,
                part,
                of,
                version: Some(version(1)),
                reason: reason.into(),
                ..Trash::default()
            }));
        };
        trash("d/x.jpg", 7, 0, 1, "removed");
        trash("d/l.heic", 9, 0, 2, "removed");
        trash("d/l.mov", 9, 1, 2, "damaged");
        let desired = desire(&state, &[a(&[X, live]), b(&[X])]);
        assert_eq!(
            words(&structure(&state, &desired, &settings())),
            ["1/7 restore d/x.jpg"],
            "once, and no half of a live photo"
        );
        state.verify.pruned.insert("d/x.jpg".into());
        assert!(structure(&state, &desired, &settings()).is_empty());
    }

    #[test]
    fn what_the_trash_gives_back_is_not_kept_away_by_an_old_version_that_moves() {
        let listed = [b(&[X])];
        let mut state = state(&[a(&[X.version(2)])], &listed);
        state.decrypt.apply(DecryptFact::Trash(Trash {
            path: "d/x.jpg".into(),
            collection: 1,
            file: 7,
            of: 1,
            version: Some(version(1)),
            reason: "replaced".into(),
            ..Trash::default()
        }));
        let plan = structure(&state, &desire(&state, &listed), &settings());
        assert_eq!(words(&plan), ["1/7 remove", "2/7 restore d/x.jpg"]);
    }

    #[test]
    fn content_comes_from_the_nearest_source() {
        let listed = [a(&[X]), b(&[X])];
        let mut state = state(&[a(&[X.pending()]), b(&[X])], &listed);
        let content = (7, version(1));
        let from = |state: &State| source(state, content, &[1, 2]);
        let none = Desired::default();
        assert_eq!(lacks(&state, &none, (1, 7)), Some(version(1)));
        assert_eq!(lacks(&state, &none, (2, 7)), None);
        assert_eq!(from(&state), Source::Placement((2, 7)));
        state.verify.apply(VerifyFact::Finding(Finding {
            collection: 2,
            file: 7,
            class: "damaged".into(),
            n: 1,
            ..Finding::default()
        }));
        assert_eq!(lacks(&state, &none, (2, 7)), Some(version(1)));
        assert_eq!(from(&state), Source::Nowhere);
        state.pull.apply(PullFact::Object(Object {
            id: 7,
            version: version(1),
            fetch: 2,
            ..Object::default()
        }));
        assert_eq!(from(&state), Source::Object);
        for (fetch, expected) in [(1, Source::Object), (2, Source::Refused)] {
            state.decrypt.apply(DecryptFact::Verdict(Verdict {
                id: 7,
                version: version(1),
                fetch,
                ..Verdict::default()
            }));
            assert_eq!(from(&state), expected);
        }
    }

    #[test]
    fn links_of_another_kind_are_made_anew() {
        let listed = [a(&[X]), b(&[X]), Album::new(3, "C", "C", &[X, X1])];
        let mut state = state(&listed, &listed);
        let mut how = |collection, how: How| {
            let placement = state.decrypt.placements.get_mut(&(collection, 7));
            placement.unwrap().parts[0].how = how;
        };
        how(1, How::Hard);
        how(2, How::Written);
        how(3, How::Copy);
        let siblings = Siblings::new(&state);
        let rows = [
            (LinkMode::Auto, vec![]),
            (LinkMode::Copy, vec![((2, 7), vec![(1, 7)])]),
            (LinkMode::Hard, vec![((1, 7), vec![(3, 7)])]),
            (LinkMode::Reflink, vec![((2, 7), vec![(1, 7), (3, 7)])]),
        ];
        for (mode, expected) in rows {
            assert_eq!(relinks(&state, mode, &siblings), expected, "{mode:?}");
        }
        state.pull.files.remove(&(2, 7));
        let without = relinks(&state, LinkMode::Reflink, &siblings);
        assert_eq!(without, [((1, 7), vec![(3, 7)])]);
    }

    #[test]
    fn a_choice_takes_along_what_is_in_its_way() {
        let y = File::new(9, "y.jpg", "y.jpg");
        let listed = [a(&[
            File::new(7, "z.jpg", ""),
            File::new(8, "x.jpg ", ""),
            File::new(9, "w.jpg", ""),
        ])];
        let state = state(&[a(&[X, X1, y])], &listed);
        let desired = desire(&state, &listed);
        let mut rest = structure(&state, &desired, &settings());
        let taken = rest.take(&state, &desired, &BTreeSet::from([(1, 8)]));
        assert_eq!(words(&taken), ["1/7 rename", "1/8 rename"]);
        assert_eq!(words(&rest), ["1/9 rename"]);
    }
}
