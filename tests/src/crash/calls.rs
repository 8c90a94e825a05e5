//! What a run did to the disk, call by call, from a log of `strace`.

use std::collections::HashMap;
use std::path::PathBuf;

/// A call that changed something, or made changes durable.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) what: What,
    /// How many calls were over when it began: what came later is not known to be in it.
    pub(super) began: usize,
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = format!("{:?}", self.what);
        f.write_str(text.get(..200).unwrap_or(&text))
    }
}

/// What a call does. Open files go by the path that they have at that moment.
#[derive(Clone, Debug)]
pub(super) enum What {
    Open {
        path: PathBuf,
        truncate: bool,
        mode: u32,
    },
    /// At the end of the file: the tools write no other way, or the final check would fail.
    Append(PathBuf, Vec<u8>),
    WriteAt(PathBuf, usize, Vec<u8>),
    Truncate(PathBuf, usize),
    Copy {
        from: PathBuf,
        to: PathBuf,
        length: usize,
    },
    Time {
        path: PathBuf,
        seconds: i64,
        nanos: u32,
    },
    Rename(PathBuf, PathBuf),
    Link(PathBuf, PathBuf),
    Remove(PathBuf),
    MakeDir(PathBuf),
    Sync(PathBuf),
}

/// The calls of a log, in the order in which they ended.
///
/// # Panics
/// If a line is not what `strace` writes.
pub(super) fn parse(log: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut under_way: HashMap<&str, (usize, &str)> = HashMap::new();
    for line in log.lines() {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        if let Some(begin) = rest.strip_suffix(" <unfinished ...>") {
            under_way.insert(thread, (calls.len(), begin));
            continue;
        }
        let (began, text) = match rest.strip_prefix("<... ") {
            Some(resumed) => {
                let end = resumed.split_once(" resumed>").map_or("", |(_, end)| end);
                let (began, begin) = under_way.remove(thread).expect("what is resumed has begun");
                (began, format!("{begin}{end}"))
            }
            None => (calls.len(), rest.to_owned()),
        };
        if let Some(what) = what(&text) {
            calls.push(Call { what, began });
        }
    }
    calls
}

fn what(text: &str) -> Option<What> {
    let (call, rest) = text.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let arguments = arguments.trim_end().strip_suffix(')')?;
    let result: i64 = result
        .split(['<', ' '])
        .next()?
        .parse()
        .ok()
        .filter(|result| *result >= 0)?;
    let files = files(arguments);
    let texts = quoted(arguments);
    let file = || files.first().cloned().flatten();
    let text = |index: usize| texts.get(index).map(|bytes| path(bytes));
    Some(match call {
        "openat" | "open" | "creat" => {
            let (create, truncate) = (arguments.contains("O_CREAT"), arguments.contains("O_TRUNC"));
            if !create && !truncate {
                return None;
            }
            let mode = arguments
                .rsplit(", ")
                .next()
                .and_then(|mode| u32::from_str_radix(mode, 8).ok());
            What::Open {
                path: text(0)?,
                truncate,
                mode: mode.unwrap_or(0o644),
            }
        }
        "write" => What::Append(file()?, texts.into_iter().next()?),
        "pwrite64" => {
            let at = arguments.rsplit(", ").next()?.parse().ok()?;
            What::WriteAt(file()?, at, texts.into_iter().next()?)
        }
        "ftruncate" => What::Truncate(file()?, arguments.rsplit(", ").next()?.parse().ok()?),
        "copy_file_range" => What::Copy {
            from: file()?,
            to: files.get(1).cloned().flatten()?,
            length: result as usize,
        },
        "sendfile" => What::Copy {
            from: files.get(1).cloned().flatten()?,
            to: file()?,
            length: result as usize,
        },
        "ioctl" if arguments.contains("FICLONE") => What::Copy {
            from: files.get(1).cloned().flatten()?,
            to: file()?,
            length: usize::MAX,
        },
        "utimensat" => {
            let (seconds, nanos) = arguments
                .rsplit_once("tv_sec=")?
                .1
                .split_once(", tv_nsec=")?;
            let nanos = nanos
                .split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()?;
            let path = text(0).or_else(file)?;
            What::Time {
                path,
                seconds: seconds.parse().ok()?,
                nanos,
            }
        }
        "rename" | "renameat" | "renameat2" => What::Rename(text(0)?, text(1)?),
        "link" | "linkat" => What::Link(text(0)?, text(1)?),
        "unlink" | "unlinkat" | "rmdir" => What::Remove(text(0)?),
        "mkdir" | "mkdirat" => What::MakeDir(text(0)?),
        "fsync" | "fdatasync" => What::Sync(file()?),
        _ => return None,
    })
}

fn path(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

/// The paths of the open files among the arguments; `None` for one that has no name any more, or is no file.
fn files(arguments: &str) -> Vec<Option<PathBuf>> {
    let mut files = Vec::new();
    let mut rest = arguments;
    while let Some(at) = rest.find(['<', '"']) {
        let (end, is_file) = if rest[at..].starts_with('<') {
            ('>', true)
        } else {
            ('"', false)
        };
        let inside = &rest[at + 1..];
        let Some(length) = inside.find(end) else {
            break;
        };
        if is_file && !rest[..at].ends_with("AT_FDCWD") {
            let bytes = unescape(&inside[..length]);
            let named = bytes.starts_with(b"/") && !bytes.ends_with(b" (deleted)");
            files.push(named.then(|| path(&bytes)));
        }
        rest = &inside[length + 1..];
    }
    files
}

/// The texts among the arguments: all their bytes come as `\xNN`.
fn quoted(arguments: &str) -> Vec<Vec<u8>> {
    arguments
        .split('"')
        .skip(1)
        .step_by(2)
        .map(unescape)
        .collect()
}

fn unescape(text: &str) -> Vec<u8> {
    let digits = text.split("\\x").skip(1);
    digits
        .map(|digits| u8::from_str_radix(digits, 16).expect("two digits a byte"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_strace_are_read() {
        let log = r#"7 openat(AT_FDCWD<\x2f>, "\x2f\x61", O_WRONLY|O_CREAT|O_CLOEXEC, 0600) = 3<\x2f\x61>
7 write(3<\x2f\x61>, "\x68\x00", 2) = 2
8 fsync(3<\x2f\x61> <unfinished ...>
7 rename("\x2f\x61", "\x2f\x62") = 0
8 <... fsync resumed>)          = 0
7 unlink("\x2f\x63") = -1 ENOENT (No such file or directory)
7 utimensat(3<\x2f\x62>, NULL, [UTIME_OMIT, {tv_sec=2, tv_nsec=500000000} /* 1970 */], 0) = 0"#;
        let calls = parse(log);
        let shown: Vec<_> = calls
            .iter()
            .map(|call| format!("{} {:?}", call.began, call.what))
            .collect();
        assert_eq!(
            shown,
            [
                r#"0 Open { path: "/a", truncate: false, mode: 384 }"#,
                r#"1 Append("/a", [104, 0])"#,
                r#"2 Rename("/a", "/b")"#,
                r#"2 Sync("/a")"#,
                r#"4 Time { path: "/b", seconds: 2, nanos: 500000000 }"#,
            ]
        );
    }
}
