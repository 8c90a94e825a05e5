//! The file system itself: passes every operation on to a folder.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenAccMode, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};
use rustix::fs::{CWD, renameat_with};

use super::names::Nature;
use super::rules::{Kind, Rules};

/// Nothing is cached, so that every operation is seen.
const TTL: Duration = Duration::ZERO;

enum Open {
    File(Arc<File>),
    Folder(Vec<(u64, FileType, OsString)>),
}

#[derive(Default)]
struct Tables {
    /// Where inodes lie, below the backing folder.
    paths: HashMap<u64, PathBuf>,
    open: HashMap<u64, Open>,
    handles: u64,
}

pub(super) struct Pass {
    backing: PathBuf,
    nature: Nature,
    rules: Arc<Rules>,
    tables: Mutex<Tables>,
}

impl Pass {
    pub(super) fn new(backing: PathBuf, nature: Nature, rules: Arc<Rules>) -> Self {
        let tables = Tables {
            paths: HashMap::from([(INodeNo::ROOT.0, backing.clone())]),
            ..Tables::default()
        };
        Self {
            backing,
            nature,
            rules,
            tables: Mutex::new(tables),
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where an inode lies; notes the operation.
    fn at(&self, kind: Kind, name: &'static str, inode: INodeNo) -> io::Result<PathBuf> {
        let path = self.tables().paths.get(&inode.0).cloned();
        let path = path.ok_or(rustix::io::Errno::STALE)?;
        self.meet(kind, name, &path)?;
        Ok(path)
    }

    /// Where a name in a folder lies, or would lie; notes the operation.
    fn below(
        &self,
        kind: Kind,
        name: &'static str,
        folder: INodeNo,
        entry: &OsStr,
    ) -> io::Result<PathBuf> {
        let folder = self.tables().paths.get(&folder.0).cloned();
        let folder = folder.ok_or(rustix::io::Errno::STALE)?;
        let path = self.nature.resolve(&folder, entry)?;
        self.meet(kind, name, &path)?;
        Ok(path)
    }

    fn meet(&self, kind: Kind, name: &'static str, path: &Path) -> io::Result<()> {
        let below = path.strip_prefix(&self.backing).unwrap_or(path);
        self.rules.meet(kind, name, below)
    }

    fn attributes(&self, path: &Path) -> io::Result<FileAttr> {
        let metadata = fs::symlink_metadata(path)?;
        let attributes = attributes(&metadata, path == self.backing);
        self.tables()
            .paths
            .insert(attributes.ino.0, path.to_owned());
        Ok(attributes)
    }

    fn keep(&self, open: Open) -> FileHandle {
        let mut tables = self.tables();
        tables.handles += 1;
        let handle = tables.handles;
        tables.open.insert(handle, open);
        FileHandle(handle)
    }

    fn file(&self, handle: FileHandle) -> io::Result<Arc<File>> {
        match self.tables().open.get(&handle.0) {
            Some(Open::File(file)) => Ok(Arc::clone(file)),
            _ => Err(rustix::io::Errno::BADF.into()),
        }
    }

    fn open_file(&self, inode: INodeNo, flags: OpenFlags) -> io::Result<FileHandle> {
        let path = self.at(Kind::Read, "open", inode)?;
        let writes = flags.acc_mode() != OpenAccMode::O_RDONLY;
        let reads = flags.acc_mode() != OpenAccMode::O_WRONLY;
        let file = OpenOptions::new().read(reads).write(writes).open(path)?;
        Ok(self.keep(Open::File(file.into())))
    }

    fn list(&self, inode: INodeNo) -> io::Result<FileHandle> {
        let path = self.at(Kind::Read, "opendir", inode)?;
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            entries.push((number(&metadata, false), kind(&metadata), entry.file_name()));
        }
        Ok(self.keep(Open::Folder(entries)))
    }

    fn make_file(
        &self,
        folder: INodeNo,
        name: &OsStr,
        mode: u32,
    ) -> io::Result<(FileAttr, FileHandle)> {
        let path = self.below(Kind::Store, "create", folder, name)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(mode);
        let file = options.open(&path)?;
        let attributes = self.attributes(&path)?;
        Ok((attributes, self.keep(Open::File(file.into()))))
    }

    fn set(&self, inode: INodeNo, changes: &Changes) -> io::Result<FileAttr> {
        let path = self.at(Kind::Change, "setattr", inode)?;
        if let Some(mode) = changes.mode {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o7777))?;
        }
        if let Some(size) = changes.size {
            OpenOptions::new().write(true).open(&path)?.set_len(size)?;
        }
        let mut times = FileTimes::new();
        if let Some(time) = changes.accessed {
            times = times.set_accessed(moment(time));
        }
        if let Some(time) = changes.modified {
            times = times.set_modified(moment(time));
        }
        if changes.accessed.is_some() || changes.modified.is_some() {
            File::open(&path)?.set_times(times)?;
        }
        self.attributes(&path)
    }

    fn go(
        &self,
        from: (INodeNo, &OsStr),
        to: (INodeNo, &OsStr),
        flags: RenameFlags,
    ) -> io::Result<()> {
        let from = self.below(Kind::Change, "rename", from.0, from.1)?;
        let folder = self.tables().paths.get(&to.0.0).cloned();
        let to = self
            .nature
            .resolve(&folder.ok_or(rustix::io::Errno::STALE)?, to.1)?;
        let flags = rustix::fs::RenameFlags::from_bits_retain(flags.bits());
        renameat_with(CWD, &from, CWD, &to, flags)?;
        for path in self.tables().paths.values_mut() {
            if let Ok(rest) = path.strip_prefix(&from) {
                // Joining nothing would leave a slash at the end.
                *path = match rest.as_os_str().is_empty() {
                    true => to.clone(),
                    false => to.join(rest),
                };
            }
        }
        Ok(())
    }
}

struct Changes {
    mode: Option<u32>,
    size: Option<u64>,
    accessed: Option<TimeOrNow>,
    modified: Option<TimeOrNow>,
}

fn moment(time: TimeOrNow) -> SystemTime {
    match time {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    }
}

/// Inode numbers of the backing folder, moved out of the way of the root's.
fn number(metadata: &fs::Metadata, is_root: bool) -> u64 {
    match is_root {
        true => INodeNo::ROOT.0,
        false => metadata.ino() + 1000,
    }
}

fn kind(metadata: &fs::Metadata) -> FileType {
    FileType::from_std(metadata.file_type()).unwrap_or(FileType::RegularFile)
}

fn attributes(metadata: &fs::Metadata, is_root: bool) -> FileAttr {
    let time = |time: io::Result<SystemTime>| time.unwrap_or(SystemTime::UNIX_EPOCH);
    FileAttr {
        ino: INodeNo(number(metadata, is_root)),
        size: metadata.len(),
        blocks: metadata.blocks(),
        atime: time(metadata.accessed()),
        mtime: time(metadata.modified()),
        ctime: time(metadata.modified()),
        crtime: SystemTime::UNIX_EPOCH,
        kind: kind(metadata),
        perm: (metadata.mode() & 0o7777) as u16,
        nlink: metadata.nlink() as u32,
        uid: metadata.uid(),
        gid: metadata.gid(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

fn end(reply: ReplyEmpty, result: io::Result<()>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error.into()),
    }
}

fn entry(reply: ReplyEntry, result: io::Result<FileAttr>) {
    match result {
        Ok(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
        Err(error) => reply.error(error.into()),
    }
}

fn opened(reply: ReplyOpen, result: io::Result<FileHandle>) {
    match result {
        Ok(handle) => reply.opened(handle, FopenFlags::empty()),
        Err(error) => reply.error(error.into()),
    }
}

impl Filesystem for Pass {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let path = self.below(Kind::Look, "lookup", parent, name);
        entry(reply, path.and_then(|path| self.attributes(&path)));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, fh: Option<FileHandle>, reply: ReplyAttr) {
        let result = match fh.map(|handle| self.file(handle)) {
            // What is open may have no name any more.
            Some(Ok(file)) => file.metadata().map(|metadata| attributes(&metadata, false)),
            _ => self
                .at(Kind::Look, "getattr", ino)
                .and_then(|path| self.attributes(&path)),
        };
        match result {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(error) => reply.error(error.into()),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        accessed: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let changes = Changes {
            mode,
            size,
            accessed,
            modified,
        };
        match self.set(ino, &changes) {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(error) => reply.error(error.into()),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        let target = self.at(Kind::Look, "readlink", ino).and_then(fs::read_link);
        match target {
            Ok(target) => reply.data(target.as_os_str().as_encoded_bytes()),
            Err(error) => reply.error(error.into()),
        }
    }

    fn symlink(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let path = self.below(Kind::Store, "symlink", parent, name);
        let made = path.and_then(|path| {
            std::os::unix::fs::symlink(target, &path)?;
            self.attributes(&path)
        });
        entry(reply, made);
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        let path = self.below(Kind::Store, "mkdir", parent, name);
        let made = path.and_then(|path| {
            fs::DirBuilder::new().mode(mode).create(&path)?;
            self.attributes(&path)
        });
        entry(reply, made);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let path = self.below(Kind::Change, "unlink", parent, name);
        end(reply, path.and_then(fs::remove_file));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let path = self.below(Kind::Change, "rmdir", parent, name);
        end(reply, path.and_then(fs::remove_dir));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        end(reply, self.go((parent, name), (newparent, newname), flags));
    }

    fn link(
        &self,
        _: &Request,
        ino: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        let path = self.below(Kind::Store, "link", newparent, newname);
        let from = self.tables().paths.get(&ino.0).cloned();
        let made = path.and_then(|path| {
            fs::hard_link(from.ok_or(rustix::io::Errno::STALE)?, &path)?;
            self.attributes(&path)
        });
        entry(reply, made);
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        opened(reply, self.open_file(ino, flags));
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        match self.make_file(parent, name, mode) {
            Ok((attributes, handle)) => {
                reply.created(
                    &TTL,
                    &attributes,
                    Generation(0),
                    handle,
                    FopenFlags::empty(),
                );
            }
            Err(error) => reply.error(error.into()),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = || {
            let file = self.file(fh)?;
            self.at(Kind::Read, "read", ino)?;
            let mut bytes = vec![0; size as usize];
            let mut filled = 0;
            while filled < bytes.len() {
                match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
                    0 => break,
                    count => filled += count,
                }
            }
            bytes.truncate(filled);
            io::Result::Ok(bytes)
        };
        match read() {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error.into()),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let write = || {
            let file = self.file(fh)?;
            self.at(Kind::Store, "write", ino)?;
            file.write_all_at(data, offset)
        };
        match write() {
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(error.into()),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        end(reply, self.at(Kind::Change, "fsync", ino).map(drop));
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        end(reply, self.at(Kind::Change, "fsyncdir", ino).map(drop));
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.tables().open.remove(&fh.0);
        reply.ok();
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        opened(reply, self.list(ino));
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let tables = self.tables();
        let Some(Open::Folder(entries)) = tables.open.get(&fh.0) else {
            return reply.error(Errno::EBADF);
        };
        for (index, (inode, kind, name)) in entries.iter().enumerate().skip(offset as usize) {
            if reply.add(INodeNo(*inode), index as u64 + 1, *kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.tables().open.remove(&fh.0);
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        // Much room: what is full is said by a fault.
        reply.statfs(
            1 << 30,
            1 << 29,
            1 << 29,
            1 << 20,
            1 << 19,
            4096,
            self.nature.claimed_bytes,
            4096,
        );
    }
}
