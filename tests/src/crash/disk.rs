//! A disk that loses power: what of a run's calls is there afterwards.
//!
//! Nothing is taken for durable but what a sync names: the bytes and times of a file by a sync of that file, entries of a folder by a sync of
//! that folder, both as they were when the sync began. A sync of a file does not make its name durable, nor a sync of a folder the folder's own
//! name. A rename happens or does not; it is durable once either of its folders was synced. Of what is not durable anything may be there, in any
//! order: all of it, nothing, or some; of a file its beginning, followed by nothing or by zeros. Zeros between bytes that are there, and old bytes
//! of other files, are not modelled.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::library::seed::Stream;

use super::calls::{Call, What};

/// Which of the things that need not survive do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// None: nothing but what was synced.
    Everything,
    /// Names, but no content.
    Content,
    /// Content, but no names.
    Names,
    /// Some of each, and some files are torn.
    Some,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Content {
    bytes: Vec<u8>,
    modified: (i64, u32),
}

#[derive(Clone, Debug, Default)]
struct File {
    now: Content,
    durable: Content,
    mode: u32,
    /// Number of the last call that changed it.
    changed: usize,
}

type Id = usize;

/// A change of names, in the order of the calls.
#[derive(Clone, Debug)]
struct Change {
    /// The entry that goes.
    from: Option<(Id, OsString)>,
    /// The entry that comes.
    to: Option<(Id, OsString)>,
    node: Id,
    call: usize,
    is_durable: bool,
}

/// Everything below one folder.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    root: PathBuf,
    /// Entries of each folder as it was in the beginning; the root is 0.
    before: BTreeMap<Id, BTreeMap<OsString, Id>>,
    /// The same as it is now.
    now: BTreeMap<Id, BTreeMap<OsString, Id>>,
    files: HashMap<Id, File>,
    changes: Vec<Change>,
    next: Id,
    calls: usize,
}

impl Disk {
    /// A disk with what lies below `template`; calls will name it `root`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn of(template: &Path, root: &Path) -> io::Result<Self> {
        let mut disk = Self {
            root: root.to_owned(),
            before: BTreeMap::new(),
            now: BTreeMap::new(),
            files: HashMap::new(),
            changes: Vec::new(),
            next: 1,
            calls: 0,
        };
        disk.load(template, 0)?;
        disk.now = disk.before.clone();
        Ok(disk)
    }

    fn load(&mut self, folder: &Path, id: Id) -> io::Result<()> {
        let mut entries = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let node = self.next;
            self.next += 1;
            entries.insert(entry.file_name(), node);
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                self.load(&entry.path(), node)?;
                continue;
            }
            let content = Content {
                bytes: fs::read(entry.path())?,
                modified: (metadata.mtime(), metadata.mtime_nsec() as u32),
            };
            self.files.insert(
                node,
                File {
                    now: content.clone(),
                    durable: content,
                    mode: metadata.mode() & 0o777,
                    changed: 0,
                },
            );
        }
        self.before.insert(id, entries);
        Ok(())
    }

    /// Folder and name of a path below the root; `None` for any other.
    fn entry(&self, path: &Path) -> Option<(Id, OsString)> {
        let mut folder = 0;
        let mut components = path.strip_prefix(&self.root).ok()?.components().peekable();
        loop {
            let name = components.next()?.as_os_str().to_owned();
            if components.peek().is_none() {
                return Some((folder, name));
            }
            folder = *self.now.get(&folder)?.get(&name)?;
        }
    }

    fn node(&self, path: &Path) -> Option<Id> {
        if path == self.root {
            return Some(0);
        }
        let (folder, name) = self.entry(path)?;
        self.now.get(&folder)?.get(&name).copied()
    }

    fn bytes(&self, path: &Path) -> &[u8] {
        let file = self.node(path).and_then(|node| self.files.get(&node));
        file.map_or(&[], |file| &file.now.bytes)
    }

    /// The content of a file that this call changes.
    fn content(&mut self, path: &Path) -> Option<&mut Content> {
        let node = self.node(path)?;
        let file = self.files.get_mut(&node)?;
        file.changed = self.calls;
        Some(&mut file.now)
    }

    fn change(&mut self, from: Option<(Id, OsString)>, to: Option<(Id, OsString)>, node: Id) {
        let change = Change {
            from,
            to,
            node,
            call: self.calls,
            is_durable: false,
        };
        change.apply(&mut self.now);
        self.changes.push(change);
    }

    /// Does a call; those that concern other places change nothing here.
    pub(super) fn apply(&mut self, call: &Call) {
        match &call.what {
            What::Open {
                path,
                truncate,
                mode,
            } => self.open(path, *truncate, *mode),
            What::Append(path, bytes) => {
                if let Some(content) = self.content(path) {
                    content.bytes.extend_from_slice(bytes);
                }
            }
            What::WriteAt(path, at, bytes) => {
                if let Some(content) = self.content(path) {
                    let end = at + bytes.len();
                    content.bytes.resize(content.bytes.len().max(end), 0);
                    content.bytes[*at..end].copy_from_slice(bytes);
                }
            }
            What::Truncate(path, length) => {
                if let Some(content) = self.content(path) {
                    content.bytes.resize(*length, 0);
                }
            }
            What::Copy { from, to, length } => {
                let bytes = self.bytes(from).to_owned();
                if let Some(content) = self.content(to) {
                    let start = content.bytes.len().min(bytes.len());
                    let end = bytes.len().min(start.saturating_add(*length));
                    content.bytes.extend_from_slice(&bytes[start..end]);
                }
            }
            What::Time {
                path,
                seconds,
                nanos,
            } => {
                if let Some(content) = self.content(path) {
                    content.modified = (*seconds, *nanos);
                }
            }
            What::Rename(from, to) => {
                if let (Some(node), Some(from), Some(to)) =
                    (self.node(from), self.entry(from), self.entry(to))
                {
                    self.change(Some(from), Some(to), node);
                }
            }
            What::Link(from, to) => {
                if let (Some(node), Some(to)) = (self.node(from), self.entry(to)) {
                    self.change(None, Some(to), node);
                }
            }
            What::Remove(path) => {
                if let (Some(node), Some(entry)) = (self.node(path), self.entry(path)) {
                    self.change(Some(entry), None, node);
                }
            }
            What::MakeDir(path) => {
                if let Some(entry) = self.entry(path) {
                    let node = self.next;
                    self.next += 1;
                    self.before.insert(node, BTreeMap::new());
                    self.now.insert(node, BTreeMap::new());
                    self.change(None, Some(entry), node);
                }
            }
            What::Sync(path) => self.sync(path, call.began),
        }
        self.calls += 1;
    }

    fn open(&mut self, path: &Path, truncate: bool, mode: u32) {
        if self.node(path).is_some() {
            if truncate && let Some(content) = self.content(path) {
                content.bytes.clear();
            }
        } else if let Some(entry) = self.entry(path) {
            let node = self.next;
            self.next += 1;
            self.files.insert(
                node,
                File {
                    mode: mode & !0o022,
                    ..File::default()
                },
            );
            self.change(None, Some(entry), node);
        }
    }

    fn sync(&mut self, path: &Path, began: usize) {
        let Some(node) = self.node(path) else { return };
        if let Some(file) = self.files.get_mut(&node) {
            // What changed while the sync was under way may be in it or not.
            if file.changed < began {
                file.durable = file.now.clone();
            }
            return;
        }
        for change in self.changes.iter_mut().filter(|change| change.call < began) {
            let mut sides = [&change.from, &change.to].into_iter().flatten();
            if sides.any(|(folder, _)| *folder == node) {
                change.is_durable = true;
            }
        }
    }

    /// Everything that is not durable yet is lost, or some of it; what is left is laid out below `target`, an empty folder.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn lay_out(&self, target: &Path, loss: Loss, random: &mut Stream) -> io::Result<()> {
        let mut names = self.before.clone();
        for change in &self.changes {
            let survives = match loss {
                Loss::Everything | Loss::Names => change.is_durable,
                Loss::Content => true,
                Loss::Some => change.is_durable || random.below(2) == 0,
            };
            if survives {
                change.apply(&mut names);
            }
        }
        let mut contents = HashMap::new();
        let mut nodes: Vec<_> = self.files.iter().collect();
        nodes.sort_by_key(|(node, _)| **node);
        for (node, file) in nodes {
            let content = match loss {
                Loss::Everything | Loss::Content => file.durable.clone(),
                Loss::Names => file.now.clone(),
                Loss::Some => file.torn(random),
            };
            contents.insert(*node, (content, file.mode));
        }
        let mut written = HashMap::new();
        write_out(&names, &contents, 0, target, &mut written)
    }

    /// Everything as it is, as if nothing could be lost.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn lay_out_all(&self, target: &Path) -> io::Result<()> {
        let contents: HashMap<_, _> = self
            .files
            .iter()
            .map(|(node, file)| (*node, (file.now.clone(), file.mode)))
            .collect();
        write_out(&self.now, &contents, 0, target, &mut HashMap::new())
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<Id, BTreeMap<OsString, Id>>) {
        if let Some((folder, name)) = &self.from {
            let entries = names.entry(*folder).or_default();
            if entries.get(name) == Some(&self.node) {
                entries.remove(name);
            }
        }
        if let Some((folder, name)) = &self.to {
            names
                .entry(*folder)
                .or_default()
                .insert(name.clone(), self.node);
        }
    }
}

impl File {
    /// As it is durable, as it is now, or from some place on cut off or full of zeros.
    fn torn(&self, random: &mut Stream) -> Content {
        if self.now == self.durable {
            return self.now.clone();
        }
        let both = self.now.bytes.iter().zip(&self.durable.bytes);
        let same = both.take_while(|(now, durable)| now == durable).count();
        let new = (self.now.bytes.len() - same) as u64;
        let from = same + random.below(new + 1) as usize;
        let mut content = self.now.clone();
        match random.below(4) {
            0 => return self.durable.clone(),
            1 => {}
            2 => content.bytes[from..].fill(0),
            _ => {
                content.bytes.truncate(from);
                content.modified = self.durable.modified;
            }
        }
        content
    }
}

fn write_out(
    names: &BTreeMap<Id, BTreeMap<OsString, Id>>,
    contents: &HashMap<Id, (Content, u32)>,
    folder: Id,
    target: &Path,
    written: &mut HashMap<Id, PathBuf>,
) -> io::Result<()> {
    for (name, node) in names.get(&folder).into_iter().flatten() {
        let path = target.join(name);
        let Some((content, mode)) = contents.get(node) else {
            fs::create_dir(&path)?;
            write_out(names, contents, *node, &path, written)?;
            continue;
        };
        if let Some(first) = written.get(node) {
            fs::hard_link(first, &path)?;
            continue;
        }
        fs::write(&path, &content.bytes)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode | 0o600))?;
        let (seconds, nanos) = content.modified;
        if let Some(time) = time(seconds, nanos) {
            fs::File::options()
                .append(true)
                .open(&path)?
                .set_modified(time)?;
        }
        written.insert(*node, path);
    }
    Ok(())
}

fn time(seconds: i64, nanos: u32) -> Option<SystemTime> {
    let since = Duration::new(seconds.unsigned_abs(), 0);
    let whole = if seconds >= 0 {
        UNIX_EPOCH.checked_add(since)
    } else {
        UNIX_EPOCH.checked_sub(since)
    };
    whole?.checked_add(Duration::from_nanos(nanos.into()))
}
