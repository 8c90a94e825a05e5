//! What the work of an export costs on one thread with nothing else going on: the least that the tools could need, put together from its parts.

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::time::Instant;

use ente_common::crypto::FileKey;
use ente_common::crypto::stream::{Decryptor, PLAIN_CHUNK};
use ente_common::digest::ContentHasher;

use super::Setup;
use crate::library::seal;

/// Bytes that are worked on: far more than the caches hold.
const BYTES: usize = 256 << 20;

/// Seconds for each byte.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Costs {
    secretstream: f64,
    blake2b: f64,
    blake3: f64,
    write: f64,
}

impl Costs {
    /// Measures the parts, chunk by chunk, so that each finds the chunk where the one before it left it. Writing is to a new file in memory, of
    /// which the host of a virtual machine need not give the pages first.
    pub(super) fn measure(setup: &Setup) -> Result<Self, String> {
        let folder = setup.scratch(&setup.memory)?;
        let path = folder.path().join("written");
        let (key, header) = ([7; 32], [9; 24]);
        let length = setup.scaled(BYTES) as u64;
        let sealed: Vec<_> = seal::chunks(&key, header, length, |_| ()).collect();

        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut file = File::create(&path).map_err(failed)?;
        for chunk in &sealed {
            file.write_all(chunk).map_err(failed)?;
        }
        let mut file = File::create(&path).map_err(failed)?;
        let mut decryptor = Decryptor::new(&FileKey::from(key), &header, None);
        let mut plain = Vec::with_capacity(PLAIN_CHUNK);
        let (mut content, mut blake3) = (ContentHasher::new(), blake3::Hasher::new());
        let mut costs = Self::default();
        let mut last = Instant::now();
        let mut lap = |part: &mut f64| {
            let now = Instant::now();
            *part += (now - last).as_secs_f64() / length as f64;
            last = now;
        };
        for chunk in &sealed {
            let opened = decryptor.decrypt(chunk, &mut plain);
            opened.map_err(|error| error.to_string())?;
            lap(&mut costs.secretstream);
            content.update(&plain);
            lap(&mut costs.blake2b);
            blake3.update(&plain);
            lap(&mut costs.blake3);
            file.write_all(&plain).map_err(failed)?;
            lap(&mut costs.write);
        }
        decryptor.finish().map_err(|error| error.to_string())?;
        std::hint::black_box((content.finish(), blake3.finalize()));
        Ok(costs)
    }

    /// One thread's seconds for so many bytes: opened, hashed twice, written.
    pub(super) fn work_s(&self, bytes: u64) -> f64 {
        (self.secretstream + self.blake2b + self.blake3 + self.write) * bytes as f64
    }
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [self.secretstream, self.blake2b, self.blake3, self.write];
        let [secretstream, blake2b, blake3, write] = parts.map(|cost| cost * 1e9);
        write!(
            f,
            "secretstream {secretstream:.2}, BLAKE2b {blake2b:.2}, BLAKE3 {blake3:.2}, writing {write:.2} ns a byte"
        )
    }
}
