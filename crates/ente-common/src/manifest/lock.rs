//! One writer per tool and export.
//!
//! `.ente/TOOL.lock` holds who writes: process, host, start of the process, run. It does not rest on locks of the file system, which networks get
//! wrong. It appears whole, by a rename that replaces nothing. A lock whose process is dead is taken over if it was made on this host; one of
//! another host only when asked. Whether a process in another container of this host lives, its `flock` on the file tells, where there is one.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::disk;
use crate::exit::{Exit, Failure};

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The tool.
    pub tool: String,
    /// Process ID on `host`.
    pub pid: u32,
    /// Host name.
    pub host: String,
    /// Start of the process as the system counts it, where known: process IDs are used again.
    pub started: Option<u64>,
    /// Which start of the host it was, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// Among which processes of the host `pid` counts, where known (Linux): containers have their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_namespace: Option<String>,
    /// The lock file is held by `flock` as long as the process lives.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flocked: bool,
    /// Run ID: stages of one pipe share it.
    pub run: String,
    /// When the lock was taken, in microseconds.
    pub since: i64,
}

/// Why a lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else writes.
    #[error("`{}` (process {} on `{}`) holds the lock", .0.tool, .0.pid, .0.host)]
    Held(Box<Holder>),
    /// The lock file cannot be read or written.
    #[error("cannot use `{}`", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl LockError {
    /// What ends a run over the export at `dir`: with [`Exit::Locked`], or as a disk that does not let us.
    pub fn into_failure(self, dir: &Path) -> Failure {
        match self {
            Self::Held(holder) => Failure::new(
                Exit::Locked,
                format!("another run is using the export `{}`", dir.display()),
            )
            .cause(Self::Held(holder))
            .hint("wait for it to end; the lock of a dead process of this host frees itself, that of another host or container goes with `--break-lock`"),
            Self::Io { path, source } => {
                Failure::disk(format!("cannot lock with `{}`", path.display()), &source)
            }
        }
    }
}

/// A lock that is held; dropping it frees it.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    me: Holder,
    follows_power_cut: bool,
    /// The lock file, for its `flock`.
    _file: File,
}

impl Lock {
    /// Takes the lock of `tool`. An earlier stage of the same run is waited for; `break_foreign` takes a lock of another host or container.
    ///
    /// # Errors
    /// [`LockError::Held`] if another run holds it.
    pub fn take(
        state_dir: &Path,
        tool: &str,
        run: &str,
        now_us: i64,
        break_foreign: bool,
    ) -> Result<Self, LockError> {
        let me = Holder {
            tool: tool.to_owned(),
            pid: std::process::id(),
            host: host(),
            started: stat(std::process::id()).map(|it| it.started),
            boot: boot(),
            pid_namespace: pid_namespace(),
            flocked: false,
            run: run.to_owned(),
            since: now_us,
        };
        Self::take_at(path_of(state_dir, tool), me, break_foreign)
    }

    fn take_at(path: PathBuf, mut me: Holder, break_foreign: bool) -> Result<Self, LockError> {
        let io = |source| LockError::Io {
            path: path.clone(),
            source,
        };
        loop {
            if let Some(file) = me.hold(&path).map_err(io)? {
                return Ok(Self {
                    path,
                    me,
                    follows_power_cut: false,
                    _file: file,
                });
            }
            let Some(holder) = read(&path).map_err(io)? else {
                continue;
            };
            if holder.is_dead(&path) || (break_foreign && holder.is_foreign()) {
                // Of all that find it one has its turn at a time, and looks once more: while it lasts, nobody else replaces that lock.
                let turn = path.with_added_extension("turn");
                let _turn = Self::take_at(turn, me.clone(), break_foreign)?;
                if read(&path).map_err(io)?.as_ref() == Some(&holder) {
                    let file = me.replace(&path).map_err(io)?;
                    return Ok(Self {
                        follows_power_cut: holder.boot != me.boot,
                        path,
                        me,
                        _file: file,
                    });
                }
            } else if holder.run == me.run && holder.pid != me.pid {
                std::thread::sleep(Duration::from_millis(20));
            } else {
                return Err(LockError::Held(Box::new(holder)));
            }
        }
    }

    /// The run before held the lock when its host stopped: what it had not synced may be lost, or full of zeros.
    pub fn follows_power_cut(&self) -> bool {
        self.follows_power_cut
    }

    /// A run of `tool` was killed while it held the lock, and none took it since.
    pub fn is_left(state_dir: &Path, tool: &str) -> bool {
        let path = path_of(state_dir, tool);
        let holder = read(&path).ok().flatten();
        holder.is_some_and(|holder| holder.is_dead(&path))
    }

    /// Who holds the lock of `tool`, if a living process does.
    ///
    /// # Errors
    /// When its file cannot be read: another user may hold it.
    pub fn holder(state_dir: &Path, tool: &str) -> Result<Option<Holder>, LockError> {
        let path = path_of(state_dir, tool);
        match read(&path) {
            Ok(holder) => Ok(holder.filter(|holder| !holder.is_dead(&path))),
            Err(source) => Err(LockError::Io { path, source }),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Somebody may have broken it. Best effort: the next run takes over the lock of a dead process.
        if matches!(read(&self.path), Ok(Some(holder)) if holder == self.me) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn path_of(state_dir: &Path, tool: &str) -> PathBuf {
    state_dir.join(format!("{}.lock", tool.trim_start_matches("ente-")))
}

/// Tells apart what processes and threads make beside a lock.
fn unique() -> String {
    let thread = format!("{:?}", std::thread::current().id());
    let digits = thread.chars().filter(char::is_ascii_digit);
    format!("{}-{}", std::process::id(), digits.collect::<String>())
}

/// The holder of a lock; that of one which a power cut left empty is long dead.
fn read(path: &Path) -> io::Result<Option<Holder>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(
            serde_json::from_slice(&bytes).unwrap_or_else(|_| Holder::nobody()),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Holder {
    fn nobody() -> Self {
        Self {
            tool: String::new(),
            pid: 0,
            host: host(),
            started: None,
            boot: None,
            pid_namespace: None,
            flocked: false,
            run: String::new(),
            since: 0,
        }
    }

    /// Takes the lock if nobody holds it.
    fn hold(&mut self, path: &Path) -> io::Result<Option<File>> {
        match self.write(path, disk::rename_new) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            written => written.map(Some),
        }
    }

    /// Takes the lock from whoever holds it.
    fn replace(&mut self, path: &Path) -> io::Result<File> {
        self.write(path, |new, path| fs::rename(new, path))
    }

    /// Makes a lock appear whole, and durable: by it the next start sees that this run was cut short.
    fn write(
        &mut self,
        path: &Path,
        rename: impl Fn(&Path, &Path) -> io::Result<()>,
    ) -> io::Result<File> {
        let new = path.with_added_extension(format!("new-{}", unique()));
        let mut write = || {
            let mut file = File::create(&new)?;
            self.flocked = flock(&file);
            file.write_all(&serde_json::to_vec(self).expect("a holder is plain data"))?;
            file.sync_all()?;
            rename(&new, path)?;
            disk::sync_parent(path)?;
            Ok(file)
        };
        write().inspect_err(|_| drop(fs::remove_file(&new)))
    }

    /// It holds the lock on another host or in another container, where nobody here can tell whether it lives.
    pub fn is_foreign(&self) -> bool {
        self.host != host() || differ(self.pid_namespace.as_ref(), pid_namespace().as_ref())
    }

    /// The process is known to be no more: it was of this host, and is not running or is another one by now.
    fn is_dead(&self, path: &Path) -> bool {
        if self.host != host() {
            return false;
        }
        if differ(self.boot.as_ref(), boot().as_ref()) {
            return true;
        }
        if self.is_foreign() {
            // In another container its number says nothing.
            return self.flocked && is_free(path);
        }
        #[cfg(unix)]
        {
            let Some(pid) = i32::try_from(self.pid)
                .ok()
                .and_then(rustix::process::Pid::from_raw)
            else {
                return true;
            };
            if rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH) {
                return true;
            }
        }
        match stat(self.pid) {
            // Its parent did not ask for its exit code, and perhaps never will, as in a container whose first process reaps nobody.
            Some(now) if now.is_over => true,
            now => matches!((self.started, now), (Some(then), Some(now)) if then != now.started),
        }
    }
}

fn host() -> String {
    #[cfg(unix)]
    return rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    #[cfg(not(unix))]
    return std::env::var("COMPUTERNAME").unwrap_or_default();
}

/// The present start of this host (Linux); elsewhere unknown.
fn boot() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(boot.trim().to_owned())
}

/// The namespace in which this process has its ID (Linux); elsewhere unknown.
fn pid_namespace() -> Option<String> {
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(namespace.to_string_lossy().into_owned())
}

/// Takes the `flock` of a lock file that is being made; false where there is no such thing. Windows would keep others from reading it.
fn flock(file: &File) -> bool {
    cfg!(unix) && file.try_lock().is_ok()
}

/// Nobody on this host has the `flock` of this file.
fn is_free(path: &Path) -> bool {
    // Shared, so that two that ask at a time do not see each other.
    cfg!(unix) && File::open(path).is_ok_and(|file| file.try_lock_shared().is_ok())
}

/// Both are known, and not the same.
fn differ(then: Option<&String>, now: Option<&String>) -> bool {
    matches!((then, now), (Some(then), Some(now)) if then != now)
}

/// What the system tells of a process.
struct Stat {
    /// It has ended, and only its exit code is left.
    is_over: bool,
    /// Its start in clock ticks since boot.
    started: u64,
}

/// What Linux tells of a process; elsewhere unknown.
fn stat(pid: u32) -> Option<Stat> {
    // Fields 3 and 22 of stat(5); the command name in parentheses may hold anything, so count from its end.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    Some(Stat {
        is_over: matches!(fields.next()?, "Z" | "X"),
        started: fields.nth(18)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_holder_that_ended_and_was_not_reaped_is_dead() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        let started = stat(pid).map(|it| it.started);
        let holder = Holder {
            pid,
            started,
            boot: boot(),
            ..Holder::nobody()
        };
        while !stat(pid).unwrap().is_over {
            std::thread::yield_now();
        }
        assert!(holder.is_dead(Path::new("")));
        child.wait().unwrap();
    }

    #[test]
    fn a_living_holder_keeps_others_out_and_a_dead_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock::take(dir.path(), "ente-pull", "run1", 0, false).unwrap();
        assert!(matches!(
            Lock::take(dir.path(), "ente-pull", "run2", 0, false),
            Err(LockError::Held(_))
        ));
        assert!(
            Lock::take(dir.path(), "ente-decrypt", "run2", 0, false).is_ok(),
            "another tool has a lock of its own"
        );
        assert!(!Lock::is_left(dir.path(), "ente-pull"));
        drop(lock);
        let dead = Holder {
            tool: "ente-pull".into(),
            pid: std::process::id(),
            host: host(),
            started: Some(1),
            boot: boot(),
            pid_namespace: pid_namespace(),
            flocked: false,
            run: "old".into(),
            since: 0,
        };
        fs::write(
            dir.path().join("pull.lock"),
            serde_json::to_vec(&dead).unwrap(),
        )
        .unwrap();
        #[cfg(target_os = "linux")]
        {
            assert!(Lock::is_left(dir.path(), "ente-pull"));
            let lock = Lock::take(dir.path(), "ente-pull", "run3", 0, false).unwrap();
            assert!(!lock.follows_power_cut());
            drop(lock);
            assert!(!Lock::is_left(dir.path(), "ente-pull"));
            // Process IDs and their ticks may come again after a start of the host.
            let before = Holder {
                boot: Some("another".into()),
                started: stat(std::process::id()).map(|it| it.started),
                ..dead.clone()
            };
            let before = serde_json::to_vec(&before).unwrap();
            fs::write(dir.path().join("pull.lock"), before).unwrap();
            let lock = Lock::take(dir.path(), "ente-pull", "run3", 0, false).unwrap();
            assert!(lock.follows_power_cut());
        }
        let foreign = Holder {
            host: "elsewhere".into(),
            ..dead
        };
        fs::write(
            dir.path().join("pull.lock"),
            serde_json::to_vec(&foreign).unwrap(),
        )
        .unwrap();
        assert!(matches!(
            Lock::take(dir.path(), "ente-pull", "run4", 0, false),
            Err(LockError::Held(_))
        ));
        assert!(Lock::take(dir.path(), "ente-pull", "run4", 0, true).is_ok());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn whether_a_holder_in_another_container_lives_cannot_be_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pull.lock");
        // Its number is that of nobody here, or of another process.
        let holder = Holder {
            tool: "ente-pull".into(),
            pid: std::process::id(),
            started: Some(1),
            boot: boot(),
            pid_namespace: Some("pid:[1]".into()),
            ..Holder::nobody()
        };
        let take = |holder: &Holder, break_foreign| {
            fs::write(&path, serde_json::to_vec(holder).unwrap()).unwrap();
            Lock::take(dir.path(), "ente-pull", "run", 0, break_foreign)
        };
        assert!(matches!(take(&holder, false), Err(LockError::Held(_))));
        assert!(take(&holder, true).is_ok());
        let before = Holder {
            boot: Some("another".into()),
            ..holder.clone()
        };
        assert!(take(&before, false).is_ok(), "nobody outlives the host");
        // Its lock on the file ends with it.
        let flocked = Holder {
            flocked: true,
            ..holder
        };
        assert!(take(&flocked, false).is_ok(), "it was killed");
        fs::write(&path, serde_json::to_vec(&flocked).unwrap()).unwrap();
        let living = File::open(&path).unwrap();
        living.lock().unwrap();
        assert!(matches!(
            Lock::take(dir.path(), "ente-pull", "run", 0, false),
            Err(LockError::Held(_))
        ));
        drop(living);
        assert!(Lock::take(dir.path(), "ente-pull", "run", 0, false).is_ok());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn of_many_that_find_a_dead_holder_one_takes_over_at_a_time() {
        use std::sync::atomic::{AtomicUsize, Ordering};

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pull.lock");
        let dead = Holder {
            tool: "ente-pull".into(),
            pid: std::process::id(),
            host: host(),
            started: Some(1),
            boot: boot(),
            pid_namespace: pid_namespace(),
            flocked: false,
            run: "old".into(),
            since: 0,
        };
        let (inside, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        for round in 0..50 {
            // Torn ones too: a power cut may leave an empty file.
            let text = serde_json::to_vec(&dead).unwrap();
            fs::write(&path, if round % 10 == 9 { &[][..] } else { &text }).unwrap();
            std::thread::scope(|scope| {
                for number in 0..8 {
                    let (dir, inside, taken) = (dir.path(), &inside, &taken);
                    scope.spawn(move || {
                        let run = format!("run{round}-{number}");
                        if let Ok(lock) = Lock::take(dir, "ente-pull", &run, 0, false) {
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold it");
                            taken.fetch_add(1, Ordering::SeqCst);
                            std::thread::yield_now();
                            inside.fetch_sub(1, Ordering::SeqCst);
                            drop(lock);
                        }
                    });
                }
            });
        }
        assert!(
            taken.load(Ordering::SeqCst) >= 50,
            "somebody always gets it"
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
