//! A file system that fails on demand, and that has the limits of others: a folder on disk, seen through FUSE.
//!
//! Every operation is numbered, so a test can let each of them fail in turn. Linux only; mounting needs root or `fusermount3`.

mod names;
mod pass;
mod rules;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fuser::{BackgroundSession, Config, MountOption, SessionACL};

pub use names::Nature;
pub use rules::{Fault, Kind, Op};

use pass::Pass;
use rules::Rules;

/// A mounted file system; dropping it unmounts.
pub struct FaultyDisk {
    /// Where it is mounted.
    pub at: PathBuf,
    /// The folder that holds what is on it.
    pub backing: PathBuf,
    rules: Arc<Rules>,
    /// Unmounts when it goes.
    _session: BackgroundSession,
}

impl FaultyDisk {
    /// Mounts an empty file system at `scratch/mount`; what is on it lies in `scratch/backing`.
    ///
    /// # Errors
    /// When FUSE is not to be had here.
    pub fn mount(scratch: &Path, nature: Nature) -> io::Result<Self> {
        let (at, backing) = (scratch.join("mount"), scratch.join("backing"));
        fs::create_dir_all(&at)?;
        fs::create_dir_all(&backing)?;
        let rules = Arc::new(Rules::default());
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("faulty".into())];
        config.acl = SessionACL::All;
        let pass = Pass::new(backing.clone(), nature, Arc::clone(&rules));
        let session = fuser::spawn_mount(pass, &at, &config)?;
        Ok(Self {
            at,
            backing,
            rules,
            _session: session,
        })
    }

    /// Counts anew from here on, and lets operations fail as `fault` says.
    pub fn arm(&self, fault: Option<Fault>) {
        self.rules.arm(fault);
    }

    /// The operations since [`arm`](Self::arm), in order, and how many of them failed on purpose.
    pub fn seen(&self) -> (Vec<Op>, usize) {
        self.rules.seen()
    }
}
