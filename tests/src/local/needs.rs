//! What a case needs of this machine.

use std::fs;
use std::process::{Command, Stdio};

use crate::faulty_disk::{FaultyDisk, Nature};

/// Something that not every machine has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Need {
    /// FUSE file systems can be mounted.
    Fuse,
    /// File systems of this type can be mounted, which takes root and the right to mount.
    Mount(&'static str),
    /// A program, and the package that has it.
    Program(&'static str, &'static str),
    /// The rights of root.
    Root,
}

impl Need {
    /// Why it cannot be had, and how it could; none where it is there.
    pub(super) fn missing(self) -> Option<String> {
        match self {
            Self::Fuse => {
                let scratch = tempfile::tempdir().ok()?;
                let error = FaultyDisk::mount(scratch.path(), Nature::default()).err()?;
                Some(format!(
                    "FUSE cannot be mounted here ({error}); it takes /dev/fuse and root, or fusermount3 (apt-get install fuse3)"
                ))
            }
            Self::Mount(kind) => missing_mount(kind),
            Self::Program(name, package) => {
                let found = Command::new(name)
                    .arg("--version")
                    .stdin(Stdio::null())
                    .output();
                let missing = format!("no `{name}` (apt-get install {package})");
                found.is_err().then_some(missing)
            }
            Self::Root => (!rustix::process::geteuid().is_root())
                .then(|| "this must be run as root".to_owned()),
        }
    }
}

fn missing_mount(kind: &str) -> Option<String> {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !known
        .lines()
        .any(|line| line.ends_with(&format!("\t{kind}")))
    {
        return Some(format!("this kernel has no {kind}"));
    }
    // The right to mount at all shows on the simplest of file systems.
    let scratch = tempfile::tempdir().ok()?;
    let mounted = super::bench::shell(&format!(
        "mount -t tmpfs none {0} && umount {0}",
        scratch.path().display()
    ));
    mounted
        .err()
        .map(|error| format!("nothing can be mounted here: {error}"))
}
