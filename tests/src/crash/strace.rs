//! What is asked of `strace`: to count the calls that change something on disk, to kill at one of them, to write all of them down.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

/// The system calls that can change a file system. `?` lets off platforms that lack one.
const CHANGING: [&str; 26] = [
    "?open",
    "?openat",
    "?creat",
    "?rename",
    "?renameat",
    "?renameat2",
    "?link",
    "?linkat",
    "?symlink",
    "?symlinkat",
    "?unlink",
    "?unlinkat",
    "?mkdir",
    "?mkdirat",
    "?rmdir",
    "?write",
    "?writev",
    "?pwrite64",
    "?truncate",
    "?ftruncate",
    "?fsync",
    "?fdatasync",
    "?utimensat",
    "?copy_file_range",
    "?sendfile",
    "?ioctl",
];

/// A moment in the life of a process: just before a thread of it makes a call for the `nth` time. The call itself is not made any more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Point {
    /// Which stage of the pipe.
    pub(super) stage: usize,
    /// The call.
    pub(super) call: String,
    /// Counted from 1.
    pub(super) nth: u64,
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.stage, self.call, self.nth)
    }
}

impl std::str::FromStr for Point {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "a point is STAGE:CALL:NTH, as it is shown";
        let [stage, call, nth] = text.split(':').collect::<Vec<_>>()[..] else {
            return Err(wrong);
        };
        Ok(Self {
            stage: stage.parse().map_err(|_| wrong)?,
            call: call.to_owned(),
            nth: nth.parse().map_err(|_| wrong)?,
        })
    }
}

/// Whether `strace` is there and may trace; what to do about it where not.
pub(super) fn missing() -> Option<&'static str> {
    let traced = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "true"])
        .stdin(Stdio::null())
        .output();
    match traced {
        Ok(output) if output.status.success() => None,
        Ok(_) => Some("strace is there but may not trace (in a container: --cap-add=SYS_PTRACE)"),
        Err(_) => Some("strace is missing: apt-get install strace"),
    }
}

/// The process, killed at this point.
pub(super) fn killed_at(command: &Command, point: &Point) -> Command {
    // No `--seccomp-bpf`: with it strace 6.1 injects no signals.
    let inject = format!("inject={}:signal=SIGKILL:when={}", point.call, point.nth);
    let trace = format!("trace={}", point.call);
    under(
        command,
        &["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject],
    )
}

/// The process, each of its changing calls written to `log`: whole, with all bytes, or without them.
pub(super) fn logged(command: &Command, log: &Path, with_bytes: bool) -> Command {
    let log = log.to_str().expect("scratch paths are UTF-8");
    let trace = format!("trace={}", CHANGING.join(","));
    let bytes: &[&str] = if with_bytes {
        &["-xx", "-s", "100000000"]
    } else {
        &["-s", "0"]
    };
    let options = [
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-y",
        "-o",
        log,
        "-e",
        &trace,
        "-e",
        "signal=none",
    ];
    under(command, &[&options[..], bytes].concat())
}

fn under(command: &Command, options: &[&str]) -> Command {
    let mut strace = Command::new("strace");
    strace
        .args(options)
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args());
    strace.env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            strace.env(name, value);
        }
    }
    if let Some(dir) = command.get_current_dir() {
        strace.current_dir(dir);
    }
    strace
}

/// Every point at which one stage changes something below `home`, from a log of its run.
pub(super) fn points(log: &str, stage: usize, home: &Path) -> BTreeSet<Point> {
    let home = home.to_str().expect("scratch paths are UTF-8");
    let mut counts = std::collections::BTreeMap::<(&str, &str), u64>::new();
    let mut points = BTreeSet::new();
    for line in log.lines() {
        let Some((thread, rest)) = line.split_once(char::is_whitespace) else {
            continue;
        };
        let Some((call, arguments)) = rest.trim_start().split_once('(') else {
            continue;
        };
        if call.contains(' ') {
            continue;
        }
        let nth = counts.entry((thread, call)).or_default();
        *nth += 1;
        if changes(call, arguments, home) {
            let call = call.to_owned();
            points.insert(Point {
                stage,
                call,
                nth: *nth,
            });
        }
    }
    points
}

fn changes(call: &str, arguments: &str, home: &str) -> bool {
    let file = arguments.split(", ").next().unwrap_or_default();
    match call {
        "open" | "openat" => arguments.contains("O_CREAT") || arguments.contains("O_TRUNC"),
        "ioctl" => arguments.contains("FICLONE"),
        "write" | "writev" | "pwrite64" => file.contains(home),
        "copy_file_range" | "sendfile" => arguments.contains(home),
        _ => true,
    }
}
