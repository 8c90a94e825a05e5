//! Writing so that a crash leaves the old or the new, never a half; and never through a symbolic link out of the export.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Fills `buffer` with what stands at `offset`, wherever the file's own position is; on Windows that may move.
///
/// # Errors
/// When it cannot be read, or there is less (`UnexpectedEof`).
pub fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    match read_at_most(file, buffer, offset)? == buffer.len() {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// As [`read_exact_at`], as far as the file goes; tells how many bytes that are.
///
/// # Errors
/// When it cannot be read.
pub fn read_at_most(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    #[cfg(unix)]
    let read_at = std::os::unix::fs::FileExt::read_at;
    #[cfg(windows)]
    let read_at = std::os::windows::fs::FileExt::seek_read;
    let mut count = 0;
    while count < buffer.len() {
        match read_at(file, &mut buffer[count..], offset + count as u64) {
            Ok(0) => break,
            Ok(read) => count += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// Replaces `path` with `bytes`: written beside it, synced, renamed. `private` makes it readable by the owner alone.
///
/// # Errors
/// When a step fails; the old content is then still there.
pub fn write_whole(path: &Path, bytes: &[u8], private: bool) -> io::Result<()> {
    let temporary = beside(path);
    let mut options = OpenOptions::new();
    // Whoever makes a file or a link of this name meanwhile does not get what is written.
    options.write(true).create_new(true);
    #[cfg(unix)]
    if private {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    #[cfg(not(unix))]
    let _ = private;
    // A leftover of a killed run may have other permissions: start afresh.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = options.open(&temporary)?;
    file.write_all(bytes)?;
    // Sync before the rename: a power cut must leave the old file or the new one, never an empty one under the final name.
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_parent(path)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

/// Makes renames and removals in the folder of `path` durable.
///
/// # Errors
/// When the folder cannot be synced; file systems that do not know this are let off, and folders that we may write in and not read.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    std::path::absolute(path)?.parent().map_or(Ok(()), sync_dir)
}

/// Makes renames and removals in `dir` durable.
///
/// # Errors
/// As [`sync_parent`].
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    #[cfg(unix)]
    match File::open(dir).and_then(|dir| dir.sync_all()) {
        // Network and FUSE file systems may refuse to sync a folder; there is nothing more that we can do there.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput
                    | io::ErrorKind::Unsupported
                    | io::ErrorKind::PermissionDenied
            ) =>
        {
            Ok(())
        }
        result => result,
    }
    #[cfg(not(unix))]
    {
        let _ = dir;
        Ok(())
    }
}

/// Renames `from` to `to` unless something is there already.
///
/// # Errors
/// `AlreadyExists` if `to` is there (in any form, a dangling link too); else what the system said.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            // The file system does not know the flag.
            Err(
                rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP,
            ) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // A second name is never made over another one, on NFS neither; folders, and some file systems, have none: look first there.
    match fs::hard_link(from, to) {
        Ok(()) => return fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
        Err(_) => {}
    }
    if fs::symlink_metadata(to).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::rename(from, to)
}

/// As [`rename_new`], also to another file system, such as one that is mounted on an album: a file is then copied beside `to`, synced,
/// renamed, and only then removed at `from`. A stop before that leaves both.
///
/// # Errors
/// As [`rename_new`]; folders and links stay on their file system.
pub fn move_new(from: &Path, to: &Path) -> io::Result<()> {
    match rename_new(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            if fs::symlink_metadata(to).is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let copied = copy_beside(from, to)?;
            rename_new(&copied, to).inspect_err(|_| drop(fs::remove_file(&copied)))?;
            // The two file systems may reach the disk in any order.
            sync_parent(to)?;
            fs::remove_file(from)
        }
        result => result,
    }
}

/// As [`move_new`], in the place of a file of ours that is there.
///
/// # Errors
/// When a step fails; what was there is then still there.
pub fn move_over(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let copied = copy_beside(from, to)?;
            fs::rename(&copied, to).inspect_err(|_| drop(fs::remove_file(&copied)))?;
            sync_parent(to)?;
            fs::remove_file(from)
        }
        result => result,
    }
}

/// How the names of files begin that are copied to another file system, for that moment: as no photo and no file of the user's is called.
pub const COPIED_PREFIX: &str = ".ente-tmp-";

/// Copies a file, whole, dated and synced, into the folder of `to`, under a name that the next try takes again.
fn copy_beside(from: &Path, to: &Path) -> io::Result<PathBuf> {
    let metadata = fs::symlink_metadata(from)?;
    if !metadata.is_file() {
        return Err(io::ErrorKind::CrossesDevices.into());
    }
    let names = [from, to].map(|path| path.file_name().unwrap_or_default());
    // One of the two is a name in `partial/`, which is short; the other may be as long as names can be.
    let short = names.into_iter().min_by_key(|name| name.len());
    let mut name = std::ffi::OsString::from(COPIED_PREFIX);
    name.push(short.unwrap_or_default());
    let copied = to.with_file_name(name);
    let copy = || {
        // What a killed run left goes first: opened as it is, a link would be written through.
        let _ = fs::remove_file(&copied);
        let mut file = File::create_new(&copied)?;
        io::copy(&mut File::open(from)?, &mut file)?;
        file.set_permissions(metadata.permissions())?;
        file.set_modified(metadata.modified()?)?;
        file.sync_all()
    };
    copy().inspect_err(|_| drop(fs::remove_file(&copied)))?;
    Ok(copied)
}

/// Makes the folder `path` and those above it, durably.
///
/// # Errors
/// What the system said.
pub fn make_dir_all(path: &Path) -> io::Result<()> {
    // The last ancestor of a relative path is empty.
    let is_missing = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.exists();
    let missing: Vec<_> = path.ancestors().take_while(is_missing).collect();
    fs::create_dir_all(path)?;
    missing.into_iter().try_for_each(sync_parent)
}

/// Makes the folder `relative` below `root`, durably, refusing to pass through anything that is not a real folder.
///
/// # Errors
/// `NotADirectory` if a component is a link or a file; else what the system said.
pub fn make_dir_below(root: &Path, relative: &str) -> io::Result<PathBuf> {
    let mut path = root.to_owned();
    for component in relative
        .split('/')
        .filter(|component| !component.is_empty())
    {
        path.push(component);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::NotADirectory,
                    format!("`{}` is not a folder", path.display()),
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                // What comes into it would be lost with it in a power cut.
                result => result.and_then(|()| sync_parent(&path))?,
            },
            Err(error) => return Err(error),
        }
    }
    Ok(path)
}

/// A regular file of this size and modification time, in microseconds, is at `path`.
pub fn is_as_recorded(path: &Path, size: u64, mtime: i64) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| {
        metadata.is_file() && metadata.len() == size && mtime_us(&metadata) == mtime
    })
}

/// Modification time in microseconds since 1970, as the file system holds it.
pub fn mtime_us(metadata: &fs::Metadata) -> i64 {
    use std::time::UNIX_EPOCH;
    let Ok(time) = metadata.modified() else {
        return 0;
    };
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
        // Rounded down like the times after 1970.
        Err(before) => {
            let nanos = before.duration().as_nanos();
            -i64::try_from(nanos.div_ceil(1000)).unwrap_or(i64::MAX)
        }
    }
}

/// Microseconds since 1970 as a system time; `None` outside what the platform can hold.
pub fn system_time(us: i64) -> Option<std::time::SystemTime> {
    let magnitude = std::time::Duration::from_micros(us.unsigned_abs());
    if us >= 0 {
        std::time::UNIX_EPOCH.checked_add(magnitude)
    } else {
        std::time::UNIX_EPOCH.checked_sub(magnitude)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_private_where_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        write_whole(&path, b"one", true).unwrap();
        write_whole(&path, b"two", true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
    }

    #[test]
    fn nothing_is_renamed_over() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&from, "ours").unwrap();
        fs::write(&to, "theirs").unwrap();
        assert_eq!(
            rename_new(&from, &to).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(fs::read_to_string(&to).unwrap(), "theirs");
        fs::remove_file(&to).unwrap();
        rename_new(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), "ours");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_moves_to_another_file_system_whole_and_over_nothing() {
        // Memory on most machines; where it is the same file system, the plain rename is what is tested.
        let other = match Path::new("/dev/shm").is_dir() {
            true => tempfile::tempdir_in("/dev/shm").unwrap(),
            false => tempfile::tempdir().unwrap(),
        };
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("new-1-2-0");
        let to = other.path().join("x".repeat(255));
        let time = system_time(1_717_236_000_123_456).unwrap();
        let write = |text: &str| {
            fs::write(&from, text).unwrap();
            File::open(&from).unwrap().set_modified(time).unwrap();
        };
        // What may well be a photo's name is not taken for a copy under way.
        let photo = other.path().join("tmp-new-1-2-0");
        fs::write(&photo, "a photo").unwrap();
        write("one");
        move_new(&from, &to).unwrap();
        write("two");
        assert_eq!(
            move_new(&from, &to).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(fs::read_to_string(&to).unwrap(), "one");
        move_over(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), "two");
        assert_eq!(fs::metadata(&to).unwrap().modified().unwrap(), time);
        #[cfg(unix)]
        {
            let (theirs, link) = (
                dir.path().join("theirs"),
                other.path().join(".ente-tmp-new-1-2-0"),
            );
            fs::write(&theirs, "theirs").unwrap();
            std::os::unix::fs::symlink(&theirs, &link).unwrap();
            write("two");
            move_over(&from, &to).unwrap();
            assert_eq!(fs::read_to_string(&theirs).unwrap(), "theirs");
            fs::remove_file(theirs).unwrap();
            // Where no copy was needed, it is still there.
            let _ = fs::remove_file(link);
        }
        assert_eq!(fs::read_to_string(photo).unwrap(), "a photo");
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 2);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        move_new(&to, &from).unwrap();
        assert_eq!(fs::read_to_string(&from).unwrap(), "two");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_out_of_the_export_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("Album")).unwrap();
        assert!(make_dir_below(dir.path(), "Album/metadata").is_err());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        assert!(
            make_dir_below(dir.path(), "Other/metadata")
                .unwrap()
                .is_dir()
        );
    }

    #[test]
    fn times_before_1970_survive() {
        for us in [0, 1, -1, -446_752_800_000_000, 1_717_236_000_123_456] {
            let dir = tempfile::tempdir().unwrap();
            let file = File::create(dir.path().join("x")).unwrap();
            file.set_modified(system_time(us).unwrap()).unwrap();
            assert_eq!(mtime_us(&file.metadata().unwrap()), us);
        }
    }
}
