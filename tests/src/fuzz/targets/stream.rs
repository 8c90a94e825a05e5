//! Secretstreams, encrypted by RustCrypto: what it wrote comes out; after any damage nothing comes out but the chunks before it, and never a whole file.

use std::io::{Seek as _, Write as _};

use arbitrary::{Arbitrary, Result, Unstructured};
use crypto_secretstream::{Key, PushStream, Tag};
use ente_common::crypto::FileKey;
use ente_common::crypto::stream::{Decryptor, StreamError};
use ente_decrypt::write;

use crate::library::seal;

const KEY: [u8; 32] = [3; 32];

pub(in crate::fuzz) fn run(data: &[u8]) {
    // Bytes that nobody encrypted.
    let (released, end) = pull(&[data.to_vec()], [1; 24]);
    assert!(released.is_empty() && end.is_err());
    // Too little data makes an input that says nothing.
    let _ = sealed(&mut Unstructured::new(data));
}

fn sealed(input: &mut Unstructured<'_>) -> Result<()> {
    let header: [u8; 24] = input.arbitrary()?;
    let is_final = bool::arbitrary(input)?;
    let mut plain: Vec<Vec<u8>> = Vec::new();
    for _ in 0..input.int_in_range(1..=12)? {
        let length = input.int_in_range(0..=300)?;
        plain.push((0..length).map(|at| (at * 7 + plain.len()) as u8).collect());
    }
    let chunks = push(&plain, header, is_final, input.int_in_range(0..=2)?);

    let (released, end) = pull(&chunks, header);
    assert_eq!(released, plain);
    let bytes: usize = plain.iter().map(Vec::len).sum();
    let count = chunks.len() as u64;
    let expected = match is_final {
        true => Ok(bytes as u64),
        false => Err(StreamError::MissingFinal { chunks: count }),
    };
    assert_eq!(end, expected);

    let (damaged, other_header) = damage(input, &chunks, header)?;
    let (released, end) = pull(&damaged, other_header);
    assert!(plain.starts_with(&released), "bytes that nobody encrypted");
    if damaged != chunks || other_header != header {
        assert!(end.is_err() || !is_final, "damage that nobody noticed");
    }
    if other_header != header {
        assert!(released.is_empty());
    }
    as_files(&plain[0], header, &damaged.concat());
    Ok(())
}

fn push(plain: &[Vec<u8>], header: [u8; 24], is_final: bool, middle: u8) -> Vec<Vec<u8>> {
    let (_, mut stream) = PushStream::init(seal::Fixed(header), &Key::from(KEY));
    let last = plain.len() - 1;
    let seal = |(index, chunk): (usize, &Vec<u8>)| {
        let mut chunk = chunk.clone();
        let tag = match (index == last, middle) {
            (true, _) if is_final => Tag::Final,
            (false, 1) => Tag::Push,
            (false, 2) => Tag::Rekey,
            _ => Tag::Message,
        };
        stream.push(&mut chunk, &[], tag).expect("it fits");
        chunk
    };
    plain.iter().enumerate().map(seal).collect()
}

/// All that was released, and how it ended.
fn pull(
    chunks: &[Vec<u8>],
    header: [u8; 24],
) -> (Vec<Vec<u8>>, std::result::Result<u64, StreamError>) {
    let mut decryptor = Decryptor::new(&FileKey::from(KEY), &header, None);
    let mut released = Vec::new();
    for chunk in chunks {
        let mut plain = b"from before".to_vec();
        match decryptor.decrypt(chunk, &mut plain) {
            Ok(()) => released.push(plain),
            Err(error) => {
                assert!(plain.is_empty(), "bytes of a chunk that failed");
                assert_eq!(decryptor.decrypt(chunk, &mut plain), Err(error));
                return (released, decryptor.finish());
            }
        }
    }
    (released, decryptor.finish())
}

fn damage(
    input: &mut Unstructured<'_>,
    chunks: &[Vec<u8>],
    mut header: [u8; 24],
) -> Result<(Vec<Vec<u8>>, [u8; 24])> {
    let mut chunks = chunks.to_vec();
    for _ in 0..input.int_in_range(1..=3)? {
        let (at, other) = (
            input.choose_index(chunks.len())?,
            input.choose_index(chunks.len())?,
        );
        match input.int_in_range(0..=7)? {
            0 => header[input.choose_index(24)?] ^= 1 << input.int_in_range(0..=7)?,
            1 => drop(chunks.remove(at)),
            2 => chunks.swap(at, other),
            3 => chunks.insert(at, chunks[other].clone()),
            4 => chunks[at].truncate(other * 5),
            5 => chunks[at].extend(input.arbitrary::<[u8; 3]>()?),
            6 => chunks.insert(at, input.arbitrary::<[u8; 20]>()?.to_vec()),
            _ => {
                let byte = input.choose_index(chunks[at].len().max(1))?;
                if let Some(byte) = chunks[at].get_mut(byte) {
                    *byte ^= 1 << input.int_in_range(0..=7)?;
                }
            }
        }
        if chunks.is_empty() {
            break;
        }
    }
    Ok((chunks, header))
}

/// The same through files: one chunk as `ente-decrypt` writes it, and damaged bytes.
fn as_files(plain: &[u8], header: [u8; 24], damaged: &[u8]) {
    let whole = seal::object(&KEY, header, plain, seal::Framing::Standard);
    let (written, bytes) = through_files(&whole, header);
    assert_eq!(bytes, plain);
    assert!(written.is_some_and(|written| written.is_final && written.size == plain.len() as u64));
    let (written, bytes) = through_files(damaged, header);
    let is_sealed = damaged == whole;
    assert!(is_sealed || written.is_none_or(|written| !written.is_final || bytes == plain));
}

fn through_files(object: &[u8], header: [u8; 24]) -> (Option<write::Plain>, Vec<u8>) {
    let mut sealed = tempfile::tempfile().expect("scratch");
    sealed.write_all(object).expect("scratch");
    sealed.rewind().expect("scratch");
    let mut out = tempfile::tempfile().expect("scratch");
    let decryptor = Decryptor::new(&FileKey::from(KEY), &header, None);
    let written = write::decrypt(
        &mut sealed,
        decryptor,
        &mut out,
        &write::Shared::default(),
        &|_| Ok(()),
    )
    .ok();
    out.rewind().expect("scratch");
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut out, &mut bytes).expect("scratch");
    if let Some(written) = &written {
        assert_eq!(written.blake3, blake3::hash(&bytes));
    }
    (written, bytes)
}
