//! An object that fits neither in memory nor in 32 bits.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::bench::{Bench, STEPS};
use super::{Case, Context, Verdict};
use crate::library::{Content, NewFile};

pub(super) const CASES: &[Case] = &[Case {
    name: "object of many gigabytes",
    needs: &[],
    run: large,
}];

/// What a tool may hold at most.
const MAX_MEMORY_KB: u64 = 48 << 10;

fn large(context: &Context) -> Verdict {
    let Some(gib) = context.large_gib else {
        return Ok("left out: `--large 10` makes one of 10 GiB, and needs twice that room".into());
    };
    let length = gib << 30;
    let bench = Bench::new(&context.tool);
    bench.museum.with_library(|library| {
        let live = library.live_mut();
        let album = live.create_album("Large");
        live.upload(album, NewFile::new("large.mp4", Content::Zeros(length)));
    });
    // Beyond 4 GiB, where it is that large.
    let cut = length / 10 * 9;
    let is_cut = || downloaded(&bench.machine.export) >= cut;
    let (killed, _) = watched(&bench, STEPS[0], is_cut)?;
    if killed.is_some() {
        return Err(format!("`{}` ended before it was killed", STEPS[0]));
    }
    let mut seen = Vec::new();
    for tool in STEPS {
        let start = Instant::now();
        let (code, memory_kb) = watched(&bench, tool, || false)?;
        let seconds = start.elapsed().as_secs();
        if code != Some(0) || memory_kb > MAX_MEMORY_KB {
            return Err(format!(
                "`{tool}` ended with {code:?}, having held {memory_kb} KiB"
            ));
        }
        seen.push(format!("{tool} {} MiB, {seconds} s", memory_kb >> 10));
    }
    let requests = bench.museum.requests();
    let ranges: Vec<&str> = requests
        .iter()
        .filter_map(|request| request.header("range"))
        .collect();
    let resumed_at = match ranges[..] {
        [range] => range
            .strip_prefix("bytes=")
            .and_then(|it| it.strip_suffix('-')),
        _ => None,
    };
    let resumed_at: Option<u64> = resumed_at.and_then(|it| it.parse().ok());
    let resumed_at = resumed_at
        .filter(|at| *at >= cut)
        .ok_or_else(|| format!("resumed with {ranges:?}"))?;
    all_zeros(&bench.machine.export.join("Large/large.mp4"), length)?;
    Ok(format!(
        "{gib} GiB, resumed at {resumed_at}: {}",
        seen.join("; ")
    ))
}

/// The bytes of the object that is being fetched.
fn downloaded(export: &Path) -> u64 {
    let partial = fs::read_dir(export.join(".ente/partial"));
    let entries = partial.into_iter().flatten().flatten();
    let lengths = entries.filter_map(|entry| entry.metadata().ok());
    lengths.map(|metadata| metadata.len()).sum()
}

/// Runs a tool, and kills it once `enough`; its exit code, if it had one, and the most memory that it held, in KiB.
fn watched(
    bench: &Bench,
    tool: &str,
    enough: impl Fn() -> bool,
) -> Result<(Option<i32>, u64), String> {
    let mut command = bench
        .machine
        .command(&[tool, "--records", "never", bench.machine.dir()]);
    command.stdout(Stdio::null()).stderr(Stdio::inherit());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let mut most = 0;
    loop {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id()));
        let values: BTreeMap<&str, &str> = status
            .iter()
            .flat_map(|text| text.lines())
            .filter_map(|line| line.split_once(':'))
            .collect();
        let peak = values
            .get("VmHWM")
            .and_then(|value| value.split_whitespace().next());
        most = most.max(peak.and_then(|value| value.parse().ok()).unwrap_or(0));
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok((status.code(), most));
        }
        if enough() {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn all_zeros(path: &Path, length: u64) -> Result<(), String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let mut block = vec![0; 1 << 20];
    let mut read = 0;
    loop {
        match file.read(&mut block).map_err(|error| error.to_string())? {
            0 if read == length => return Ok(()),
            0 => return Err(format!("{read} bytes of {length}")),
            count if block[..count].iter().all(|byte| *byte == 0) => read += count as u64,
            _ => return Err(format!("other content at {read}")),
        }
    }
}
