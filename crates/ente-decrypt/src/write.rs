//! One object into one plain file: decrypted, hashed twice and written in one pass.
//!
//! ```text
//! in one thread:  read ─ decrypt ─ BLAKE2b ─ BLAKE3 ─ write, chunk by chunk
//! in stages:      [read ─ decrypt] ─▶ [BLAKE2b] ─▶ [BLAKE3 ─ write]      three threads; buffers go round
//! ```
//!
//! Stages keep the cores that other files leave idle busy. Where every core has a file of its own they would only hand each chunk from the
//! cache of one core to that of another: with 64 objects of 32 MB on two cores that took a tenth more processor time, and more memory.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use blake3::Hash;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use ente_common::crypto::stream::{Decryptor, ENCRYPTED_CHUNK, StreamError, read_chunk};
use ente_common::digest::ContentHasher;

/// Chunks of plaintext of one file in memory: one in each stage.
const BUFFERS: usize = 3;

/// What was written.
#[derive(Debug, PartialEq, Eq)]
pub struct Plain {
    /// Plain bytes.
    pub size: u64,
    /// BLAKE3 of them.
    pub blake3: Hash,
    /// BLAKE2b-512 of them, as in the owner's content hash.
    pub digest: [u8; 64],
    /// The last chunk is marked as the last. Without it all that is there is authentic, but the end may be missing.
    pub is_final: bool,
}

/// Why there is no plain file.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The object is not what it should be.
    #[error(transparent)]
    Damaged(#[from] StreamError),
    /// The object cannot be read.
    #[error("the object cannot be read")]
    Read(#[source] io::Error),
    /// The plain file cannot be written.
    #[error("the file cannot be written")]
    Write(#[source] io::Error),
}

/// What one thread hashes and writes at a time stays in its cache in between.
const PIECE_BYTES: usize = 256 << 10;

/// From this size on a file goes through stages whatever else is under way: it would be at it long after the others.
const LARGE_BYTES: u64 = 256 << 20;

/// What the files that are decrypted at the same time share.
#[derive(Debug)]
pub struct Shared {
    cores: usize,
    /// Files under way.
    files: AtomicUsize,
    /// Room for chunks that no file needs now; the next one takes it, since memory that was written to before costs less than new one.
    give: Sender<Vec<u8>>,
    take: Receiver<Vec<u8>>,
}

impl Default for Shared {
    /// For the cores that this process may use.
    fn default() -> Self {
        Self::new(thread::available_parallelism().map_or(1, usize::from))
    }
}

impl Shared {
    /// For so many cores.
    pub fn new(cores: usize) -> Self {
        let (give, take) = unbounded();
        Self {
            cores,
            files: AtomicUsize::new(0),
            give,
            take,
        }
    }

    fn take(&self) -> Vec<u8> {
        self.take.try_recv().unwrap_or_default()
    }

    fn give_back(&self, buffers: impl IntoIterator<Item = Vec<u8>>) {
        for buffer in buffers {
            // Both ends are here.
            let _ = self.give.send(buffer);
        }
    }
}

/// Told of plain bytes as they are done; an error stops the writing.
pub type Each<'a> = dyn Fn(u64) -> io::Result<()> + Sync + 'a;

/// Decrypts all of `object` into `out`; `each` is told of plain bytes as they are done.
///
/// # Errors
/// When the object is damaged or one of the files fails; what `out` holds then is worthless.
pub fn decrypt(
    object: &mut File,
    mut decryptor: Decryptor,
    out: &mut File,
    shared: &Shared,
    each: &Each<'_>,
) -> Result<Plain, WriteError> {
    let size = object.metadata().map_err(WriteError::Read)?.len();
    let files = shared.files.fetch_add(1, Ordering::Relaxed) + 1;
    let has_idle_cores = files < shared.cores;
    let has_stages = size > ENCRYPTED_CHUNK as u64 && (has_idle_cores || size >= LARGE_BYTES);
    let sums = if has_stages {
        in_stages(object, &mut decryptor, out, shared, each)
    } else {
        in_one_thread(object, &mut decryptor, out, shared, each)
    };
    shared.files.fetch_sub(1, Ordering::Relaxed);
    let sums = sums?;
    let (size, is_final) = match decryptor.finish() {
        Ok(size) => (size, true),
        Err(StreamError::MissingFinal { .. }) => (sums.size, false),
        Err(error) => return Err(error.into()),
    };
    Ok(Plain {
        size,
        blake3: sums.blake3.finalize(),
        digest: sums.digest,
        is_final,
    })
}

struct Sums {
    size: u64,
    blake3: Box<blake3::Hasher>,
    digest: [u8; 64],
}

fn in_one_thread(
    object: &mut File,
    decryptor: &mut Decryptor,
    out: &mut File,
    shared: &Shared,
    each: &Each<'_>,
) -> Result<Sums, WriteError> {
    let (mut encrypted, mut plain) = (shared.take(), shared.take());
    let mut digest = ContentHasher::new();
    let mut blake3 = Box::new(blake3::Hasher::new());
    let mut size = 0;
    while read_chunk(object, &mut encrypted).map_err(WriteError::Read)? {
        decryptor.decrypt(&encrypted, &mut plain)?;
        for piece in plain.chunks(PIECE_BYTES) {
            digest.update(piece);
            blake3.update(piece);
            out.write_all(piece).map_err(WriteError::Write)?;
        }
        size += plain.len() as u64;
        each(plain.len() as u64).map_err(WriteError::Write)?;
    }
    shared.give_back([encrypted, plain]);
    Ok(Sums {
        size,
        blake3,
        digest: digest.finish(),
    })
}

fn in_stages(
    object: &mut File,
    decryptor: &mut Decryptor,
    out: &mut File,
    shared: &Shared,
    each: &Each<'_>,
) -> Result<Sums, WriteError> {
    let (to_digest, to_be_digested) = bounded::<Vec<u8>>(1);
    let (to_write, to_be_written) = bounded::<Vec<u8>>(1);
    let (give_back, spare) = bounded::<Vec<u8>>(BUFFERS);
    for _ in 0..BUFFERS {
        // There is room for all of them.
        let _ = give_back.send(shared.take());
    }
    thread::scope(|scope| {
        let digesting = scope.spawn(move || {
            let mut digest = ContentHasher::new();
            for plain in to_be_digested {
                digest.update(&plain);
                if to_write.send(plain).is_err() {
                    // The last stage failed and says why.
                    break;
                }
            }
            digest.finish()
        });
        let writing = scope.spawn(move || -> io::Result<(u64, Box<blake3::Hasher>)> {
            let mut blake3 = Box::new(blake3::Hasher::new());
            let mut size = 0;
            for plain in to_be_written {
                blake3.update(&plain);
                out.write_all(&plain)?;
                size += plain.len() as u64;
                each(plain.len() as u64)?;
                // Nobody takes it back at the end.
                let _ = give_back.send(plain);
            }
            Ok((size, blake3))
        });
        let mut encrypted = shared.take();
        let mut read = || -> Result<(), WriteError> {
            while read_chunk(object, &mut encrypted).map_err(WriteError::Read)? {
                let Ok(mut plain) = spare.recv() else {
                    break;
                };
                decryptor.decrypt(&encrypted, &mut plain)?;
                if to_digest.send(plain).is_err() {
                    break;
                }
            }
            Ok(())
        };
        let result = read();
        drop(to_digest);
        let digest = digesting.join().expect("hashing does not panic");
        let written = writing.join().expect("writing does not panic");
        let (size, blake3) = written.map_err(WriteError::Write)?;
        result?;
        shared.give_back(spare.try_iter().chain([encrypted]));
        Ok(Sums {
            size,
            blake3,
            digest,
        })
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};

    use blake2::{Blake2b512, Digest as _};
    use crypto_secretstream::{Key, PushStream, Tag};
    use ente_common::crypto::FileKey;
    use rand_core::OsRng;

    use super::*;

    /// Two chunks and a bit, sealed by another implementation: plaintext, header, object.
    fn large() -> (Vec<u8>, [u8; 24], Vec<u8>) {
        let plain: Vec<u8> = (0..9_000_000_u32).map(|i| (i / 7) as u8).collect();
        let (header, mut stream) = PushStream::init(OsRng, &Key::from([7; 32]));
        let mut object = Vec::new();
        let mut chunks = plain.chunks(4 << 20).peekable();
        while let Some(chunk) = chunks.next() {
            let mut message = chunk.to_vec();
            let tag = if chunks.peek().is_some() {
                Tag::Message
            } else {
                Tag::Final
            };
            stream.push(&mut message, &[], tag).unwrap();
            object.extend(message);
        }
        (plain, *header.as_ref(), object)
    }

    /// With idle cores, in stages; without, in one thread.
    const CORES: [usize; 2] = [8, 1];

    fn decrypted(
        cores: usize,
        object: &[u8],
        header: [u8; 24],
        each: &Each<'_>,
    ) -> (Result<Plain, WriteError>, Vec<u8>) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(object).unwrap();
        file.rewind().unwrap();
        let mut out = tempfile::tempfile().unwrap();
        let decryptor = Decryptor::new(&FileKey::from([7; 32]), &header, None);
        let result = decrypt(&mut file, decryptor, &mut out, &Shared::new(cores), each);
        let mut written = Vec::new();
        out.rewind().unwrap();
        out.read_to_end(&mut written).unwrap();
        (result, written)
    }

    #[test]
    fn a_large_object_is_written_whole() {
        let (plain, header, object) = large();
        let expected = Plain {
            size: 9_000_000,
            blake3: blake3::hash(&plain),
            digest: Blake2b512::digest(&plain).into(),
            is_final: true,
        };
        for cores in CORES {
            let (result, written) = decrypted(cores, &object, header, &|_| Ok(()));
            assert!(written == plain);
            assert_eq!(result.unwrap(), expected);
        }
    }

    #[test]
    fn what_is_wrong_ends_all_stages() {
        let (_, header, object) = large();
        let mut flipped = object.clone();
        flipped[5 << 20] ^= 1;
        for cores in CORES {
            let (result, _) = decrypted(cores, &flipped, header, &|_| Ok(()));
            let damaged = StreamError::Authentication { chunk: 1 };
            assert!(matches!(result, Err(WriteError::Damaged(error)) if error == damaged));
            let two = &object[..2 * ENCRYPTED_CHUNK];
            let (result, _) = decrypted(cores, two, header, &|_| Ok(()));
            assert!(!result.unwrap().is_final, "cut where a chunk ends");
            let stop = |_| Err(io::Error::other("enough"));
            let (result, _) = decrypted(cores, &object, header, &stop);
            assert!(matches!(result, Err(WriteError::Write(_))));
        }
    }

    #[test]
    fn a_file_that_fails_leaves_its_core_to_the_next() {
        let (_, header, object) = large();
        let shared = Shared::new(1);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&object[..100]).unwrap();
        file.rewind().unwrap();
        let mut out = tempfile::tempfile().unwrap();
        let decryptor = Decryptor::new(&FileKey::from([7; 32]), &header, None);
        assert!(decrypt(&mut file, decryptor, &mut out, &shared, &|_| Ok(())).is_err());
        assert_eq!(shared.files.into_inner(), 0);
    }
}
