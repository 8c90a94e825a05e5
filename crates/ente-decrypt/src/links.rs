//! A second name, or a second file, for content that lies in another album already.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use blake3::Hash;
use ente_common::digest::ContentHasher;
use ente_common::manifest::facts::How;

use crate::content::blake3_of;
use crate::settings::LinkMode;

/// Makes `to` from `from` in the way that `mode` asks for; tells how it was done.
///
/// # Errors
/// When none of the ways works; a copy also when what was read has another BLAKE3 than `blake3` (`InvalidData`).
pub(crate) fn link(
    from: &Path,
    to: &Path,
    mode: LinkMode,
    blake3: Option<Hash>,
) -> io::Result<How> {
    let reflink = || reflink_copy::reflink(from, to).map(|()| How::Reflink);
    let hard = || fs::hard_link(from, to).map(|()| How::Hard);
    let copy = || copy(from, to, blake3).map(|()| How::Copy);
    match mode {
        LinkMode::Auto => reflink().or_else(|_| hard()).or_else(|_| copy()),
        LinkMode::Reflink => reflink(),
        LinkMode::Hard => hard(),
        LinkMode::Copy => copy(),
    }
}

/// Makes `to` from a file that is not ours and stays what it is, so never by a hard link.
///
/// # Errors
/// When neither way works; when what was made has another BLAKE3 than `blake3` (`InvalidData`).
pub(crate) fn adopt(
    from: &Path,
    to: &Path,
    mode: LinkMode,
    blake3: Option<Hash>,
) -> io::Result<()> {
    if mode == LinkMode::Copy || reflink_copy::reflink(from, to).is_err() {
        return copy(from, to, blake3);
    }
    expect(blake3_of(File::open(to)?)?, blake3)
}

/// A file has the content that the owner's device told of.
///
/// # Errors
/// With `InvalidData` when it has not, or nothing was told.
pub(crate) fn expect_origin(path: &Path, digest: Option<&[u8; 64]>) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut hasher = ContentHasher::new();
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block)? {
            0 => break,
            count => hasher.update(&block[..count]),
        }
    }
    if digest == Some(&hasher.finish()) {
        return Ok(());
    }
    let what = "its content is not what the owner's device uploaded";
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}

fn copy(from: &Path, to: &Path, blake3: Option<Hash>) -> io::Result<()> {
    let mut from = File::open(from)?;
    let mut to = File::create_new(to)?;
    let mut hasher = blake3::Hasher::new();
    let mut block = vec![0; 1 << 20];
    loop {
        let count = from.read(&mut block)?;
        if count == 0 {
            break;
        }
        hasher.update(&block[..count]);
        to.write_all(&block[..count])?;
    }
    // Every byte passes by here, so bit rot need not be copied.
    expect(hasher.finalize(), blake3)
}

fn expect(found: Hash, blake3: Option<Hash>) -> io::Result<()> {
    if Some(found) != blake3 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the file is not what was written there",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_gives_the_same_content() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("a");
        fs::write(&from, "content").unwrap();
        let blake3 = Some(blake3::hash(b"content"));
        for mode in [LinkMode::Auto, LinkMode::Hard, LinkMode::Copy] {
            let to = dir.path().join(format!("{mode:?}"));
            let how = link(&from, &to, mode, blake3).unwrap();
            assert!(how.is_linked());
            assert_eq!(fs::read(&to).unwrap(), b"content");
            assert!(
                link(&from, &to, mode, blake3).is_err(),
                "nothing is overwritten"
            );
        }
        let rotten = Some(blake3::hash(b"other"));
        let error = copy(&from, &dir.path().join("c"), rotten).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
