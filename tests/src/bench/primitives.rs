//! What the work of an export costs on one thread with nothing else going on: the least that the tools could need, put together from its parts.

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
#[derive(Clone, Copy, Debug)]
pub(super) struct Costs {
    pub(super) secretstream: f64,
    pub(super) blake2b: f64,
    pub(super) blake3: f64,
    pub(super) write: f64,
}

impl Costs {
    /// Measures the parts, writing in memory.
    pub(super) fn measure(setup: &Setup) -> Result<Self, String> {
        let folder = setup.scratch(&setup.memory)?;
        let path = folder.path().join("written");
        let (key, header) = ([7; 32], [9; 24]);
        let length = setup.scaled(BYTES) as u64;
        let sealed: Vec<_> = seal::chunks(&key, header, length, |_| ()).collect();
        let per_byte = |start: Instant| start.elapsed().as_secs_f64() / length as f64;

        let mut decryptor = Decryptor::new(&FileKey::from(key), &header, None);
        let mut plain = Vec::with_capacity(PLAIN_CHUNK);
        let start = Instant::now();
        for chunk in &sealed {
            decryptor
                .decrypt(chunk, &mut plain)
                .map_err(|error| error.to_string())?;
        }
        let secretstream = per_byte(start);
        decryptor.finish().map_err(|error| error.to_string())?;

        // The ciphertext serves as content from here on: other bytes in each chunk.
        let mut hasher = ContentHasher::new();
        let start = Instant::now();
        for chunk in &sealed {
            hasher.update(chunk);
        }
        std::hint::black_box(hasher.finish());
        let blake2b = per_byte(start);

        let mut hasher = blake3::Hasher::new();
        let start = Instant::now();
        for chunk in &sealed {
            hasher.update(chunk);
        }
        std::hint::black_box(hasher.finalize());
        let blake3 = per_byte(start);

        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let start = Instant::now();
        let mut file = File::create(&path).map_err(failed)?;
        for chunk in &sealed {
            file.write_all(chunk).map_err(failed)?;
        }
        let write = per_byte(start);
        Ok(Self {
            secretstream,
            blake2b,
            blake3,
            write,
        })
    }

    /// One thread's seconds for so many bytes: opened, hashed twice, written.
    pub(super) fn work_s(&self, bytes: u64) -> f64 {
        (self.secretstream + self.blake2b + self.blake3 + self.write) * bytes as f64
    }
}
