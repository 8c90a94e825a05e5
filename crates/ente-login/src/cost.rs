//! From the password to the KEK: what it costs, and what is said meanwhile.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use ente_common::cli::Io;
use ente_common::crypto::Kek;
use ente_common::crypto::kdf::{self, KdfError};
use ente_common::encoding::from_base64;
use ente_common::exit::{Exit, Failure};
use ente_common::ui::human_bytes;
use ente_common::wire::KeyAttributes;
use zeroize::Zeroizing;

use crate::sign_in::unlock_failure;
use crate::unlock::UnlockError;

/// The account's Argon2id parameters. Any others give another key.
pub(crate) struct Cost {
    salt: Vec<u8>,
    memory_bytes: u64,
    passes: u64,
}

impl Cost {
    /// Parameters that we are ready to pay for.
    pub(crate) fn new(salt: Vec<u8>, memory_bytes: u64, passes: u64) -> Result<Self, KdfError> {
        kdf::check_limits(memory_bytes, passes)?;
        Ok(Self {
            salt,
            memory_bytes,
            passes,
        })
    }

    /// Those in the key attributes.
    pub(crate) fn of(attributes: &KeyAttributes) -> Result<Self, UnlockError> {
        let salt = from_base64(&attributes.kek_salt)
            .map_err(|_| UnlockError::Damaged("the password salt"))?;
        Ok(Self::new(salt, attributes.mem_limit, attributes.ops_limit)?)
    }

    /// What is to be said where so little memory is free.
    fn shortage(&self, free_bytes: u64, email: &str) -> Option<Failure> {
        (free_bytes < self.memory_bytes).then(|| {
            let (memory, free) = (human_bytes(self.memory_bytes), human_bytes(free_bytes));
            let cause = format!(
                "the password of `{email}` takes {memory} for some seconds, and {free} are free"
            );
            let hint =
                "if the system stops this run, sign in on another machine and copy the credentials";
            Failure::new(Exit::Failed, "memory is short")
                .cause(cause)
                .hint(hint)
        })
    }

    /// Derives the KEK, which takes the memory and some seconds.
    pub(crate) fn derive(
        &self,
        password: Zeroizing<Vec<u8>>,
        email: &str,
        io: &mut Io,
    ) -> Result<Kek, Failure> {
        let memory = human_bytes(self.memory_bytes);
        if let Some(warning) = available_memory().and_then(|free| self.shortage(free, email)) {
            io.ui.warning(&warning);
        }
        let _shown = io.ui.busy(&format!(
            "working out the keys ({memory}, {} passes)",
            self.passes
        ));
        // On a thread of its own, which Ctrl-C leaves behind.
        let (send, receive) = channel();
        let (salt, memory_bytes, passes) = (self.salt.clone(), self.memory_bytes, self.passes);
        std::thread::spawn(move || {
            let _ = send.send(kdf::derive_kek(&password, &salt, memory_bytes, passes));
        });
        loop {
            match receive.recv_timeout(Duration::from_millis(50)) {
                Ok(kek) => return kek.map_err(|error| unlock_failure(email, error.into())),
                Err(_) if io.interrupt.is_set() => return Err(crate::interrupted()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::new(
                        Exit::Failed,
                        "the keys could not be worked out",
                    ));
                }
            }
        }
    }
}

/// What to do about a password that no KEK can be derived from.
pub(crate) fn hint(error: &KdfError) -> &'static str {
    match error {
        KdfError::OutOfMemory { .. } => {
            "sign in on a machine with more memory, then use `--export-token` and `--export-keys`"
        }
        _ => "no account needs that: check that the server is the one you mean",
    }
}

/// Memory that is free for us: what the system has, and what the container's limit leaves. `None` where neither is told.
fn available_memory() -> Option<u64> {
    let number = |path: &str| {
        std::fs::read_to_string(path)
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()
    };
    let system = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("MemAvailable:"))?;
            let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
            Some(kib * 1024)
        });
    // `max` where there is no limit.
    let container = number("/sys/fs/cgroup/memory.max").map(|limit| {
        let current = number("/sys/fs/cgroup/memory.current").unwrap_or(0);
        let stat = std::fs::read_to_string("/sys/fs/cgroup/memory.stat").unwrap_or_default();
        left_in_container(limit, current, &stat)
    });
    system.into_iter().chain(container).min()
}

/// What a container's limit leaves. The contents of files count as used there, and are dropped when memory is asked for.
fn left_in_container(limit: u64, current: u64, stat: &str) -> u64 {
    let files = stat.lines().filter_map(|line| {
        let (name, bytes) = line.split_once(' ')?;
        let is_file = matches!(name, "inactive_file" | "active_file");
        is_file.then(|| bytes.parse::<u64>().ok()).flatten()
    });
    limit.saturating_sub(current.saturating_sub(files.sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_of_memory_is_told_with_what_is_needed_and_what_is_there() {
        let cost = Cost::new(vec![0; 16], 1 << 30, 4).unwrap();
        assert_eq!(cost.shortage(1 << 30, "a@b"), None);
        let said = cost.shortage(512 << 20, "a@b").unwrap();
        assert_eq!(
            said.cause.as_deref(),
            Some("the password of `a@b` takes 1.00 GiB for some seconds, and 512.00 MiB are free")
        );
        assert!(said.hint.unwrap().contains("on another machine"));
    }

    #[test]
    fn what_files_take_of_a_container_is_free() {
        let stat = "anon 300\nfile 700\ninactive_anon 5\ninactive_file 400\nactive_file 200\n";
        for (limit, current, stat, free) in [
            (2000, 1000, stat, 1600),
            (2000, 1000, "", 1000),
            (2000, 1000, "inactive_file many\n", 1000),
            (500, 1000, stat, 100),
            (100, 1000, stat, 0),
            (2000, 100, stat, 2000),
        ] {
            assert_eq!(left_in_container(limit, current, stat), free, "{stat}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_system_says_what_is_free() {
        assert!(available_memory().is_some_and(|free| free > 0));
    }
}
