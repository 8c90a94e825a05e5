//! Everything random about a made-up library, derived from one number: the same seed gives the same bytes.

use rand_core::{CryptoRng, Error, RngCore};

/// The root of all keys, nonces, headers and contents of a library.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seed([u8; 32]);

impl Seed {
    pub(crate) fn new(number: u64) -> Self {
        Self(blake3::derive_key(
            "ente-tests library seed",
            &number.to_le_bytes(),
        ))
    }

    /// Bytes for one purpose, independent of those for any other `label` or `parts`.
    pub(crate) fn bytes<const N: usize>(&self, label: &str, parts: &[i64]) -> [u8; N] {
        let mut bytes = [0; N];
        self.stream(label, parts).fill_bytes(&mut bytes);
        bytes
    }

    /// An endless stream of bytes for one purpose.
    pub(crate) fn stream(&self, label: &str, parts: &[i64]) -> Stream {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(label.as_bytes());
        for part in parts {
            hasher.update(&part.to_le_bytes());
        }
        Stream(hasher.finalize_xof())
    }
}

/// Deterministic bytes in the form that the cryptographic crates draw their randomness from.
pub(crate) struct Stream(blake3::OutputReader);

impl Stream {
    /// A number in `0..bound`; the bias is of no matter here.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound
    }

    /// One of `choices`.
    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }
}

impl RngCore for Stream {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for Stream {}
