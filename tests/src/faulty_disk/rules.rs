//! Which operation fails, and how.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What an operation does to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Looks at names and attributes.
    Look,
    /// Reads or lists.
    Read,
    /// Changes something, but needs no more room: removes, renames, syncs, dates.
    Change,
    /// Needs room: writes, makes files and folders.
    Store,
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Op {
    /// What it does.
    pub kind: Kind,
    /// Its name, as FUSE has it.
    pub name: &'static str,
    /// What it is about, below the root of the file system.
    pub path: PathBuf,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operation of one of these kinds with this number, counted from 0 among them, fails with `EIO`; none else.
    Broken(&'static [Kind], usize),
    /// From the operation with this number on, counted among those that need room, there is none: `ENOSPC`.
    Full(usize),
    /// From the operation with this number on, counted among all but looks, every operation fails with `EIO`.
    Dead(usize),
}

#[derive(Default)]
struct State {
    fault: Option<Fault>,
    seen: Vec<Op>,
    /// Operations that the fault counts.
    counted: usize,
    struck: usize,
}

/// Shared by the file system and whoever makes it fail.
#[derive(Default)]
pub(super) struct Rules(Mutex<State>);

impl Rules {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn arm(&self, fault: Option<Fault>) {
        *self.state() = State {
            fault,
            ..State::default()
        };
    }

    pub(super) fn seen(&self) -> (Vec<Op>, usize) {
        let state = self.state();
        (state.seen.clone(), state.struck)
    }

    /// Notes an operation; the error with which it is to fail, if it is.
    pub(super) fn meet(&self, kind: Kind, name: &'static str, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.seen.push(Op {
            kind,
            name,
            path: path.to_owned(),
        });
        let (counts, at, is_lasting, error) = match state.fault {
            None => return Ok(()),
            Some(Fault::Broken(kinds, at)) => {
                (kinds.contains(&kind), at, false, rustix::io::Errno::IO)
            }
            Some(Fault::Full(at)) => (kind == Kind::Store, at, true, rustix::io::Errno::NOSPC),
            Some(Fault::Dead(at)) => (kind != Kind::Look, at, true, rustix::io::Errno::IO),
        };
        if !counts {
            return Ok(());
        }
        let number = state.counted;
        state.counted += 1;
        if number == at || (is_lasting && number > at) {
            state.struck += 1;
            return Err(error.into());
        }
        Ok(())
    }
}
