//! Disks that are full, read-only or gone, and albums that lie on another one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::bench::{Bench, Known, STEPS, copy_tree, shell, told};
use super::{Case, Context, Need, Verdict};
use crate::harness::Outcome;
use crate::history::Op;
use crate::library::{Content, NewFile};
use crate::museum::Conditions;

const TMPFS: &[Need] = &[Need::Mount("tmpfs")];

pub(super) const CASES: &[Case] = &[
    Case {
        name: "disk full while the pipe runs",
        needs: TMPFS,
        run: full,
    },
    Case {
        name: "standard output full",
        needs: &[],
        run: full_output,
    },
    Case {
        name: "disk read-only",
        needs: TMPFS,
        run: read_only,
    },
    Case {
        name: "disk unmounted between runs",
        needs: TMPFS,
        run: unmounted,
    },
    Case {
        name: "disk unmounted while a run writes",
        needs: &[Need::Mount("ext4"), Need::Program("mkfs.ext4", "e2fsprogs")],
        run: torn_off,
    },
    Case {
        name: "album on another file system",
        needs: TMPFS,
        run: album_elsewhere,
    },
    Case {
        name: "export on an overlay",
        needs: &[Need::Mount("overlay"), Need::Mount("tmpfs")],
        run: overlay,
    },
];

/// Something mounted; dropping it unmounts.
struct Mounted(PathBuf);

impl Mounted {
    /// `kind` with `options` at `at`, which is made where it is not there.
    fn new(at: &Path, what: &str) -> Result<Self, String> {
        fs::create_dir_all(at).map_err(|error| error.to_string())?;
        shell(&format!("mount {what} {}", at.display()))?;
        Ok(Self(at.to_owned()))
    }

    fn remount(&self, options: &str) -> Result<(), String> {
        shell(&format!("mount -o remount,{options} {}", self.0.display()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A case that failed may have processes there still.
        let _ = shell(&format!("umount -l {}", self.0.display()));
    }
}

fn scratch() -> Result<tempfile::TempDir, String> {
    tempfile::tempdir().map_err(|error| error.to_string())
}

/// Four megabytes in twenty files of an album.
fn fill(bench: &Bench) {
    bench.museum.with_library(|library| {
        let live = library.live_mut();
        let album = live.create_album("Large");
        for number in 0..20_u8 {
            let content = Content::Bytes(0, Bytes::from(vec![number; 200_000]));
            live.upload(album, NewFile::new(&format!("{number}.bin"), content));
        }
    });
}

/// The exit code is one of these, and what went wrong is said with its cause and what to do.
fn ended(outcome: &Outcome, tool: &str, codes: &[i32]) -> Result<(), String> {
    let says = |text: &str| outcome.stderr.contains(text) || outcome.stdout.contains(text);
    if !codes.contains(&outcome.code) {
        let told = told(outcome);
        return Err(format!("`{tool}` ended with {}:\n{told}", outcome.code));
    }
    match outcome.code {
        0 | 4 | 141 => Ok(()),
        _ if says("cause") && says("hint") => Ok(()),
        _ => Err(format!("`{tool}` says too little: {}", outcome.stderr)),
    }
}

fn full(context: &Context) -> Verdict {
    let mut seen = Vec::new();
    for kilobytes in [64, 300, 1500, 4500, 6000] {
        let scratch = scratch()?;
        let at = scratch.path().join("disk");
        let disk = Mounted::new(&at, &format!("-t tmpfs -o size={kilobytes}k none"))?;
        let mut bench = Bench::new(&context.tool);
        fill(&bench);
        let mut known = Known::default();
        bench.learn(&mut known);
        bench.machine.export = at.join("Ente");
        let start = Instant::now();
        let outcomes = bench.machine.pipeline();
        if start.elapsed() > Duration::from_secs(60) {
            return Err(format!(
                "a pipe with {kilobytes} KiB took {:?}",
                start.elapsed()
            ));
        }
        // 1: cut input is all that a stage saw of it.
        for (outcome, tool) in outcomes.iter().zip(STEPS) {
            ended(outcome, tool, &[0, 1, 15, 141])?;
        }
        let codes: Vec<i32> = outcomes.iter().map(|outcome| outcome.code).collect();
        if !codes.contains(&15) {
            return Err(format!(
                "{kilobytes} KiB are full, and nobody says so: {codes:?}"
            ));
        }
        bench.only_whole(&at.join("Ente"), &known)?;
        disk.remount("size=64m")?;
        bench.heals(&at.join("Ente"))?;
        seen.push(format!("{kilobytes} KiB {codes:?}"));
    }
    Ok(format!(
        "exit codes of the four stages with {}",
        seen.join(", ")
    ))
}

fn full_output(context: &Context) -> Verdict {
    let mut bench = Bench::new(&context.tool);
    let export = bench.machine.export.clone();
    for tool in STEPS {
        let mut command = bench.machine.command(&[tool, bench.machine.dir()]);
        let full = fs::OpenOptions::new().write(true).open("/dev/full");
        command.stdout(full.map_err(|error| error.to_string())?);
        let outcome = super::bench::wait(command, tool)?;
        // `ente-verify` may have nothing to print.
        let codes: &[i32] = if tool == "ente-verify" {
            &[0, 4, 15]
        } else {
            &[15]
        };
        ended(&outcome, tool, codes)?;
    }
    bench.heals(&export)?;
    Ok("exit code 15".into())
}

fn read_only(context: &Context) -> Verdict {
    let mut codes = Vec::new();
    for (number, tool) in STEPS.into_iter().enumerate() {
        let scratch = scratch()?;
        let at = scratch.path().join("disk");
        let disk = Mounted::new(&at, "-t tmpfs -o size=64m none")?;
        let export = at.join("Ente");
        let mut bench = Bench::new(&context.tool);
        bench.heals(&export)?;
        bench.add_mine(&export);
        bench.change();
        for before in &STEPS[..number] {
            ended(
                &bench.run(&[before, &export.to_string_lossy()])?,
                before,
                &[0],
            )?;
        }
        let before = crate::harness::tree(&export);
        disk.remount("ro")?;
        let outcome = bench.run(&[tool, &export.to_string_lossy()])?;
        // An export on a read-only disk can be checked.
        let wanted: &[i32] = if tool == "ente-verify" { &[0] } else { &[15] };
        ended(&outcome, tool, wanted)?;
        if crate::harness::tree(&export) != before {
            return Err("a read-only tree changed".into());
        }
        codes.push(outcome.code);
        disk.remount("rw")?;
        bench.heals(&export)?;
    }
    Ok(format!("exit codes {codes:?}"))
}

fn unmounted(context: &Context) -> Verdict {
    let scratch = scratch()?;
    let mut bench = Bench::new(&context.tool);
    // As where a system removes the mount point of a disk that is taken away: what it was mounted in is there, it is not.
    let at = scratch.path().join("media/disk/Ente");
    let mut codes = Vec::new();
    for tool in STEPS {
        let outcome = bench.run(&[tool, &at.to_string_lossy()])?;
        ended(&outcome, tool, &[1])?;
        codes.push(outcome.code);
    }
    if scratch.path().join("media").exists() {
        return Err("folders were made where a disk is to be mounted".into());
    }
    let disk = Mounted::new(&scratch.path().join("media/disk"), "-t tmpfs none")?;
    bench.heals(&at)?;
    drop(disk);
    // As with a mount point that stays: nothing can tell that from a new folder but the three that make none.
    for tool in &STEPS[1..] {
        ended(&bench.run(&[tool, &at.to_string_lossy()])?, tool, &[1])?;
    }
    if at.exists() {
        return Err("an export was begun".into());
    }
    Ok(format!("exit codes {codes:?}"))
}

fn torn_off(context: &Context) -> Verdict {
    let scratch = scratch()?;
    let (image, at) = (scratch.path().join("image"), scratch.path().join("disk"));
    let image = image.display();
    shell(&format!("truncate -s 64M {image} && mkfs.ext4 -q {image}"))?;
    let mut seen = Vec::new();
    for (number, tool) in STEPS[..3].iter().enumerate() {
        let disk = Mounted::new(&at, &format!("-o loop {image}"))?;
        let export = at.join(format!("Ente{number}"));
        let mut bench = Bench::new(&context.tool);
        bench.heals(&export)?;
        bench.change();
        fill(&bench);
        for before in &STEPS[..number] {
            ended(
                &bench.run(&[before, &export.to_string_lossy()])?,
                before,
                &[0],
            )?;
        }
        // So slow that there is something under way when the disk goes.
        let slow = Conditions {
            bandwidth: Some(2_000_000),
            ..Conditions::default()
        };
        bench.museum.set_conditions(slow);
        let mut child = bench
            .machine
            .command(&[tool, "--records", "never", &export.to_string_lossy()])
            .spawn()
            .map_err(|error| error.to_string())?;
        let lock = export.join(format!(".ente/{}.lock", &tool[5..]));
        while !lock.exists() && child.try_wait().is_ok_and(|ended| ended.is_none()) {
            std::thread::yield_now();
        }
        shell(&format!("umount -l {}", at.display()))?;
        drop(disk);
        let output = child
            .wait_with_output()
            .map_err(|error| error.to_string())?;
        let outcome = Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::new(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        // 0: what was left to do was done through what was open already.
        ended(&outcome, tool, &[0, 1, 3])?;
        let left: Vec<_> = walk(&at);
        if !left.is_empty() {
            return Err(format!("`{tool}` wrote below the mount point: {left:?}"));
        }
        bench.museum.set_conditions(Conditions::default());
        shell(&format!("find {} -mindepth 1 -delete", at.display()))?;
        let _disk = Mounted::new(&at, &format!("-o loop {image}"))?;
        bench.heals(&export)?;
        seen.push(format!("{tool} {}", outcome.code));
    }
    Ok(format!("exit codes {}", seen.join(", ")))
}

/// Every file below a folder.
fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => files.extend(walk(&path)),
            path => files.push(path),
        }
    }
    files
}

fn album_elsewhere(context: &Context) -> Verdict {
    let scratch = scratch()?;
    let mut bench = Bench::new(&context.tool);
    let export = bench.machine.export.clone();
    bench.heals(&export)?;
    bench.add_mine(&export);
    let (album, away) = (export.join("Trip"), scratch.path().join("Trip"));
    copy_tree(&album, &away)?;
    let disk = Mounted::new(&album, "-t tmpfs none")?;
    let into =
        |from: &Path, to: &Path| shell(&format!("cp -a {}/. {}", from.display(), to.display()));
    into(&away, &album)?;
    bench.heals(&export)?;
    bench.happen(&[
        Op::Rename { file: 1, title: 3 },
        Op::Replace { file: 2 },
        Op::Move {
            file: 1,
            from: 0,
            album: 0,
        },
        Op::Upload {
            album: 1,
            title: 7,
            live: true,
        },
        Op::Upload {
            album: 1,
            title: 2,
            live: false,
        },
        Op::Trash { file: 3 },
        Op::Add { file: 0, album: 1 },
        Op::Caption { file: 2, text: 11 },
    ]);
    bench.heals(&export)?;
    // A mount point cannot be renamed: that is a problem until it is none any more.
    bench.happen(&[Op::RenameAlbum { album: 0, title: 2 }]);
    ended(
        &bench.run(&[STEPS[0], bench.machine.dir()])?,
        STEPS[0],
        &[0],
    )?;
    let outcome = bench.run(&[STEPS[1], bench.machine.dir()])?;
    ended(&outcome, STEPS[1], &[3])?;
    copy_tree(&album, &away)?;
    drop(disk);
    shell(&format!("find {} -mindepth 1 -delete", album.display()))?;
    into(&away, &album)?;
    bench.heals(&export)?;
    Ok("files come and go as elsewhere; another name for such an album is a problem (3)".into())
}

fn overlay(context: &Context) -> Verdict {
    let scratch = scratch()?;
    let lower = scratch.path().join("lower");
    fs::create_dir(&lower).map_err(|error| error.to_string())?;
    let mut bench = Bench::new(&context.tool);
    bench.heals(&lower.join("Ente"))?;
    bench.add_mine(&lower.join("Ente"));
    // An overlay cannot have its upper layer on every file system.
    let layers = scratch.path().join("layers");
    let _layers = Mounted::new(&layers, "-t tmpfs none")?;
    for name in ["upper", "work"] {
        fs::create_dir(layers.join(name)).map_err(|error| error.to_string())?;
    }
    let (low, layers) = (lower.display(), layers.display());
    let what =
        format!("-t overlay none -o lowerdir={low},upperdir={layers}/upper,workdir={layers}/work");
    let at = scratch.path().join("merged");
    let _merged = Mounted::new(&at, &what)?;
    bench.change();
    bench.heals(&at.join("Ente"))?;
    Ok("as elsewhere".into())
}
