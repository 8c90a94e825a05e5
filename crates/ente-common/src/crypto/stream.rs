//! File contents: a secretstream (XChaCha20-Poly1305, libsodium's construction) of 4 MiB chunks.
//!
//! ```text
//! object = chunk … chunk        header(24) apart, in the JSON
//! chunk  = encrypted tag(1) ‖ body(4 MiB; less only in the last one) ‖ MAC(16)
//! ```
//!
//! Tags before the end are 0 or 1 (2, which changes the key, is followed too); the last chunk has 3, FINAL. An empty file
//! is one empty FINAL chunk; a file of a whole number of chunks has no empty one at its end.
//!
//! [`read_chunk`] cuts an object into chunks, [`Decryptor`] opens one after the other. Both write into buffers of the
//! caller, so two of 4 MiB serve a whole file, or more of them where reading, decrypting and writing overlap.
//!
//! Each chunk is authentic when it is released, but the file is whole only once [`Decryptor::finish`] says so.

use std::io::{self, Read};

use dryoc::classic::crypto_secretstream_xchacha20poly1305::{
    State, crypto_secretstream_xchacha20poly1305_init_pull as init_pull,
    crypto_secretstream_xchacha20poly1305_pull as pull,
};

use super::{FileKey, Header};

/// Plain bytes in every chunk but the last: 4 MiB.
pub const PLAIN_CHUNK: usize = 4 << 20;

/// What a chunk adds to its content: 1 byte of tag and 16 of MAC.
pub const CHUNK_OVERHEAD: usize = 17;

/// Encrypted bytes of every chunk but the last.
pub const ENCRYPTED_CHUNK: usize = PLAIN_CHUNK + CHUNK_OVERHEAD;

/// What is wrong with a stream. Chunks count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The chunk was altered, moved here from elsewhere, or encrypted with another key.
    #[error("chunk {chunk} does not authenticate")]
    Authentication {
        /// The first chunk that fails; all before it are authentic.
        chunk: u64,
    },
    /// The object ends inside the chunk.
    #[error("the object ends inside chunk {chunk}")]
    Truncated {
        /// The incomplete chunk; all before it are authentic.
        chunk: u64,
    },
    /// The object goes on where it should end.
    #[error("data follows the end of the stream")]
    TrailingData,
    /// The chunk is authentic but has a tag that nobody writes.
    #[error("chunk {chunk} has the unexpected tag {tag}")]
    UnexpectedTag {
        /// The chunk.
        chunk: u64,
        /// Its decrypted tag.
        tag: u8,
    },
    /// Every chunk is authentic and was released, but the last one is not tagged as the last: chunks may be missing.
    #[error("the stream stops after {chunks} chunks without its final tag")]
    MissingFinal {
        /// How many chunks there are.
        chunks: u64,
    },
}

/// Opens the chunks of one stream in their order.
pub struct Decryptor {
    state: State,
    expected_len: Option<u64>,
    encrypted_len: u64,
    plain_len: u64,
    chunks: u64,
    progress: Progress,
}

enum Progress {
    Open,
    Final,
    Failed(StreamError),
}

impl Decryptor {
    /// Starts the stream of an object whose metadata names `header`.
    ///
    /// `expected_len` is how many encrypted bytes the object should have, where that is known. It makes no stream
    /// acceptable or not; it tells an object that was cut or lengthened from one that was altered.
    pub fn new(key: &FileKey, header: &Header, expected_len: Option<u64>) -> Self {
        let mut state = State::new();
        init_pull(&mut state, header, key.expose());
        Self {
            state,
            expected_len,
            encrypted_len: 0,
            plain_len: 0,
            chunks: 0,
            progress: Progress::Open,
        }
    }

    /// Decrypts the next `chunk` and replaces the content of `plaintext` with it.
    ///
    /// On an error `plaintext` is empty, and the stream stays failed: every later call returns the same error.
    pub fn decrypt(&mut self, chunk: &[u8], plaintext: &mut Vec<u8>) -> Result<(), StreamError> {
        let result = self.try_decrypt(chunk, plaintext);
        if let Err(error) = result {
            plaintext.clear();
            self.progress = Progress::Failed(error);
        }
        result
    }

    fn try_decrypt(&mut self, chunk: &[u8], plaintext: &mut Vec<u8>) -> Result<(), StreamError> {
        match self.progress {
            Progress::Open => {}
            // dryoc, like libsodium, would go on after FINAL.
            Progress::Final => return Err(StreamError::TrailingData),
            Progress::Failed(error) => return Err(error),
        }
        self.encrypted_len += chunk.len() as u64;
        let index = self.chunks;
        let plain_len = chunk
            .len()
            .checked_sub(CHUNK_OVERHEAD)
            .ok_or(StreamError::Truncated { chunk: index })?;
        plaintext.resize(plain_len, 0);
        let mut tag = u8::MAX;
        pull(&mut self.state, plaintext, &mut tag, chunk, None)
            .map_err(|_| self.explain_failure(chunk.len()))?;
        match tag {
            0..=2 => {}
            3 => self.progress = Progress::Final,
            _ => return Err(StreamError::UnexpectedTag { chunk: index, tag }),
        }
        self.plain_len += plain_len as u64;
        self.chunks += 1;
        Ok(())
    }

    /// Ends the stream; returns how many plain bytes it held.
    ///
    /// With [`StreamError::MissingFinal`] all plaintext was released and is authentic; whether it is all of the file
    /// must be judged by other means, such as the content hash.
    pub fn finish(self) -> Result<u64, StreamError> {
        match self.progress {
            Progress::Final => Ok(self.plain_len),
            Progress::Failed(error) => Err(error),
            // Even an empty file has a chunk.
            Progress::Open if self.chunks == 0 => Err(StreamError::Truncated { chunk: 0 }),
            Progress::Open => Err(StreamError::MissingFinal {
                chunks: self.chunks,
            }),
        }
    }

    /// Names the failure of the chunk just read. A MAC fails in the same way for a chunk that was altered, cut or
    /// lengthened; only the length that the object should have tells them apart.
    fn explain_failure(&self, chunk_len: usize) -> StreamError {
        let chunk = self.chunks;
        match self.expected_len {
            // Only the last piece of an object is shorter than a chunk.
            Some(expected) if self.encrypted_len < expected && chunk_len < ENCRYPTED_CHUNK => {
                StreamError::Truncated { chunk }
            }
            Some(expected) if self.encrypted_len > expected => StreamError::TrailingData,
            _ => StreamError::Authentication { chunk },
        }
    }
}

/// Replaces the content of `chunk` with the next chunk of an object: [`ENCRYPTED_CHUNK`] bytes, fewer only at its end.
///
/// Returns `false`, and leaves `chunk` empty, when nothing is left.
pub fn read_chunk(object: &mut impl Read, chunk: &mut Vec<u8>) -> io::Result<bool> {
    chunk.clear();
    chunk.reserve_exact(ENCRYPTED_CHUNK);
    object.take(ENCRYPTED_CHUNK as u64).read_to_end(chunk)?;
    Ok(!chunk.is_empty())
}

#[cfg(test)]
mod tests;
