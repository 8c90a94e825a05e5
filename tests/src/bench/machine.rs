//! The machine that is measured on, and the foreign programs that it has.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Setup, yard};

/// A foreign program, and how to get it.
pub(super) struct Program(pub(super) &'static str, pub(super) &'static str);

pub(super) const CURL: Program = Program("curl", "apt-get install curl");
pub(super) const B2SUM: Program = Program("b2sum", "apt-get install coreutils");
pub(super) const B3SUM: Program = Program("b3sum", "apt-get install b3sum, or cargo install b3sum");
pub(super) const CP: Program = Program("cp", "apt-get install coreutils");
pub(super) const DD: Program = Program("dd", "apt-get install coreutils");

/// Why a program cannot be had, if it cannot.
pub(super) fn missing(program: &Program) -> Option<String> {
    let found = Command::new(program.0)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    found
        .is_err()
        .then(|| format!("no `{}` ({})", program.0, program.1))
}

/// Processor, memory, system, file systems, and the build that is measured.
pub(super) fn describe(setup: &Setup) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, name: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with(name))?
            .split_once(':')?
            .1
            .trim()
            .to_owned();
        Some(line)
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let processor = value(&read("/proc/cpuinfo"), "model name")
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let memory = value(&read("/proc/meminfo"), "MemTotal")
        .and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    let build = if cfg!(debug_assertions) {
        "debug build: figures mean nothing"
    } else {
        "release build"
    };
    format!(
        "{cores} cores of {processor}, {} GiB, Linux {}; memory {}, disk {}; {build}",
        memory.unwrap_or(0).div_ceil(1 << 20),
        read("/proc/sys/kernel/osrelease").trim(),
        file_system(&setup.memory),
        file_system(&setup.disk),
    )
}

/// The type of the file system that holds a folder.
fn file_system(folder: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let fields = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    let holding = fields.filter(|fields| fields.len() > 2 && real.starts_with(fields[1]));
    let nearest = holding.max_by_key(|fields| fields[1].len());
    nearest.map_or_else(|| "unknown".to_owned(), |fields| fields[2].to_owned())
}

/// Whether so many GiB fit into a folder; where not, it is said that `what` is left out.
pub(super) fn fits(folder: &Path, gib: u64, what: &str) -> bool {
    has_room(folder, gib)
        .inspect_err(|why| println!("left out {what}: {why}"))
        .is_ok()
}

/// Whether so many GiB fit into a folder; in memory, what is exported takes away from what programs have.
pub(super) fn has_room(folder: &Path, gib: u64) -> Result<(), String> {
    let free = yard::free_bytes(folder) >> 30;
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = meminfo.lines().find_map(|line| {
        line.strip_prefix("MemAvailable:")?
            .split_whitespace()
            .next()?
            .parse::<u64>()
            .ok()
    });
    let left = match file_system(folder) == "tmpfs" {
        true => free.min(available.unwrap_or(u64::MAX) >> 20),
        false => free,
    };
    match left >= gib {
        true => Ok(()),
        false => Err(format!(
            "needs {gib} GiB in `{}`, which has {left}",
            folder.display()
        )),
    }
}
