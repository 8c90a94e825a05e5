//! A live photo's object is a ZIP of a still and a video; here they are told apart and taken out.
//!
//! Entries may bear any name (the archive can come from somebody else), so a name only tells which half an entry is and what extension it
//! has; where it is written is up to the caller. Number and size of what is taken out are bounded.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use blake3::Hash;
use ente_common::digest::ContentHasher;
use ente_common::naming;
use zip::ZipArchive;
use zip::result::ZipError;

/// More entries than this are no live photo.
const MAX_ENTRIES: usize = 1_000;
/// The directory of an archive of so many entries takes no more than this.
const MAX_DIRECTORY_BYTES: u64 = 2 << 20;
/// The most that one half may unpack to, in bytes: pictures and videos hardly shrink when they are packed, bombs do.
const MAX_HALF_BYTES: u64 = 128 << 20;
/// … and so many times the size of the archive above that.
const MAX_GROWTH: u64 = 8;

const IMAGES: [&str; 9] = [
    ".heic", ".heif", ".jpeg", ".jpg", ".png", ".gif", ".bmp", ".tiff", ".webp",
];
const VIDEOS: [&str; 12] = [
    ".mov", ".mp4", ".m4v", ".avi", ".wmv", ".flv", ".mkv", ".webm", ".3gp", ".3g2", ".ogv", ".mpg",
];

/// The still or the video, taken out.
#[derive(Debug, PartialEq, Eq)]
pub struct Half {
    /// Where it was written.
    pub path: PathBuf,
    /// Its extension with the dot; never empty.
    pub extension: String,
    /// Its size in bytes.
    pub size: u64,
    /// BLAKE3 of it.
    pub blake3: Hash,
    /// BLAKE2b-512 of it.
    pub digest: [u8; 64],
}

/// Why nothing was taken out.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// Not a ZIP at all: an object of another type under a wrong label.
    #[error("the object is no ZIP archive")]
    NotAZip,
    /// A ZIP, but none that can be a live photo, or one that asks for too much.
    #[error("the archive cannot be used: {0}")]
    Refused(String),
    /// An entry is not what its checksum says.
    #[error("the archive is damaged")]
    Damaged(#[source] io::Error),
    /// A half cannot be written.
    #[error("the file cannot be written")]
    Write(#[source] io::Error),
}

/// Takes the still and the video out of the archive at `path`; `out` says where each goes. `title` gives a still without extension one.
///
/// # Errors
/// When it is no archive, a half fails its checksum, or too much is in it. One missing half is no error, two are.
pub fn unpack(
    path: &Path,
    title: &str,
    out: impl Fn(usize) -> PathBuf,
) -> Result<[Option<Half>; 2], LiveError> {
    let file = File::open(path).map_err(LiveError::Damaged)?;
    let size = file.metadata().map_err(LiveError::Damaged)?.len();
    // The archive says itself how many entries it has, and all of them are read at once.
    let left = Cell::new(MAX_DIRECTORY_BYTES);
    let file = BufReader::new(Bounded { file, left: &left });
    let mut archive = ZipArchive::new(file).map_err(|error| match error {
        ZipError::InvalidArchive(_) => LiveError::NotAZip,
        ZipError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => LiveError::NotAZip,
        error => LiveError::Refused(error.to_string()),
    })?;
    left.set(u64::MAX);
    let max_bytes = MAX_HALF_BYTES.saturating_add(size.saturating_mul(MAX_GROWTH));
    if archive.len() > MAX_ENTRIES {
        return Err(LiveError::Refused(format!(
            "it has {} entries",
            archive.len()
        )));
    }
    let mut names = Vec::new();
    for index in 0..archive.len() {
        let entry = archive
            .by_index_data(index)
            .map_err(|error| LiveError::Refused(error.to_string()))?;
        if entry.is_file() && !entry.is_symlink() {
            let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
            names.push((index, name));
        }
    }
    let [image, video] = choose(&names);
    if image.is_none() && video.is_none() {
        return Err(LiveError::Refused(
            "neither a still nor a video is in it".into(),
        ));
    }
    let [image_extension, video_extension] = extensions(
        image.map(|(_, name)| name),
        video.map(|(_, name)| name),
        title,
    );
    let mut take = |entry: Option<(usize, &str)>, extension: String, part: usize| {
        entry
            .map(|(index, _)| take_out(&mut archive, index, &out(part), extension, max_bytes))
            .transpose()
    };
    Ok([
        take(image, image_extension, 0)?,
        take(video, video_extension, 1)?,
    ])
}

/// Which entries are the still and the video.
fn choose(names: &[(usize, String)]) -> [Option<(usize, &str)>; 2] {
    let based: Vec<(usize, &str)> = names
        .iter()
        .filter(|(_, name)| !name.starts_with("__MACOSX/"))
        .map(|(index, name)| (*index, name.rsplit(['/', '\\']).next().unwrap_or_default()))
        .collect();
    let starts = |name: &str, prefix: &str| {
        name.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let half = |prefix: &str, extensions: &[&str], not: &str| {
        let exact = |name: &str| {
            starts(name, prefix) && matches!(name.as_bytes().get(prefix.len()), None | Some(b'.'))
        };
        let listed = |name: &str| {
            let lower = name.to_ascii_lowercase();
            !starts(name, not)
                && extensions
                    .iter()
                    .any(|extension| lower.ends_with(extension))
        };
        let find = |test: &dyn Fn(&str) -> bool| based.iter().copied().find(|(_, name)| test(name));
        find(&exact)
            .or_else(|| find(&|name| starts(name, prefix)))
            .or_else(|| find(&listed))
    };
    [
        half("image", &IMAGES, "video"),
        half("video", &VIDEOS, "image"),
    ]
}

/// Extensions that keep the two apart. Each has one, so that the common stem can always be told from it.
fn extensions(image: Option<&str>, video: Option<&str>, title: &str) -> [String; 2] {
    let own = |name: Option<&str>| naming::part_extension(name.unwrap_or_default()).to_owned();
    let mut still = own(image);
    if still.is_empty() {
        still = naming::part_extension(title).to_owned();
    }
    if still.is_empty() {
        still = ".jpg".to_owned();
    }
    let mut moving = own(video);
    if moving.is_empty() || moving.eq_ignore_ascii_case(&still) {
        let is_free = |extension: &&&str| !still.eq_ignore_ascii_case(extension);
        moving = [".mov", ".mp4"]
            .iter()
            .find(is_free)
            .map_or_else(String::new, |extension| (*extension).to_owned());
    }
    [still, moving]
}

/// A file of which only so much more may be read.
struct Bounded<'a> {
    file: File,
    left: &'a Cell<u64>,
}

impl Read for Bounded<'_> {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(block)?;
        let left = self.left.get().checked_sub(count as u64);
        self.left
            .set(left.ok_or_else(|| io::Error::other("its directory is too large"))?);
        Ok(count)
    }
}

impl Seek for Bounded<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

fn take_out(
    archive: &mut ZipArchive<impl Read + Seek>,
    index: usize,
    path: &Path,
    extension: String,
    max_bytes: u64,
) -> Result<Half, LiveError> {
    let mut entry = archive.by_index(index).map_err(|error| match error {
        ZipError::Io(error) => LiveError::Damaged(error),
        ZipError::InvalidArchive(what) => LiveError::Damaged(io::Error::other(what.into_owned())),
        error => LiveError::Refused(error.to_string()),
    })?;
    let mut out = File::create_new(path).map_err(LiveError::Write)?;
    let mut digest = ContentHasher::new();
    let mut blake3 = blake3::Hasher::new();
    let mut block = vec![0; 256 << 10];
    let mut size = 0;
    loop {
        // The checksum is compared when the entry ends.
        let count = entry.read(&mut block).map_err(LiveError::Damaged)?;
        if count == 0 {
            break;
        }
        size += count as u64;
        // What the archive declares may be a lie.
        if size > max_bytes {
            return Err(LiveError::Refused("it unpacks to too much".into()));
        }
        let block = &block[..count];
        digest.update(block);
        blake3.update(block);
        out.write_all(block).map_err(LiveError::Write)?;
    }
    Ok(Half {
        path: path.to_owned(),
        extension,
        size,
        blake3: blake3.finalize(),
        digest: digest.finish(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str]) -> [Option<usize>; 2] {
        let names: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(index, name)| (index, (*name).to_owned()))
            .collect();
        choose(&names).map(|entry| entry.map(|(index, _)| index))
    }

    #[test]
    fn the_halves_are_told_by_their_names() {
        let rows: &[(&[&str], [Option<usize>; 2])] = &[
            (&["image.heic", "video.mov"], [Some(0), Some(1)]),
            (&["VIDEO.MOV", "Image.HEIC"], [Some(1), Some(0)]),
            (&["image", "video"], [Some(0), Some(1)]),
            (
                &["images.txt", "image.jpg", "video2.mov", "video.mov"],
                [Some(1), Some(3)],
            ),
            (&["../../image.jpg", "C:\\x\\video.mov"], [Some(0), Some(1)]),
            (
                &["__MACOSX/image.jpg", ".DS_Store", "image.jpg", "video.mov"],
                [Some(2), Some(3)],
            ),
            (&["IMG_1.HEIC", "IMG_1.MOV"], [Some(0), Some(1)]),
            // Only the last component counts, whatever the folders are called.
            (&["image/video.mov", "video/image.heic"], [Some(1), Some(0)]),
            (&["image.heic"], [Some(0), None]),
            (&["image.mov"], [Some(0), None]),
            (&["notes.txt"], [None, None]),
            (&[], [None, None]),
        ];
        for (names, expected) in rows {
            assert_eq!(chosen(names), *expected, "{names:?}");
        }
    }

    #[test]
    fn the_halves_never_share_a_name() {
        let rows = [
            (
                Some("image.HEIC"),
                Some("video.MOV"),
                "x",
                [".HEIC", ".MOV"],
            ),
            (Some("image"), Some("video"), "x.png", [".png", ".mov"]),
            (Some("image"), Some("video"), "x", [".jpg", ".mov"]),
            (Some("image.jpg"), Some("video.JPG"), "x", [".jpg", ".mov"]),
            (Some("image.mov"), Some("video.mov"), "x", [".mov", ".mp4"]),
            (Some("image.a/b"), Some("video.json"), "x", [".jpg", ".mov"]),
        ];
        for (image, video, title, expected) in rows {
            assert_eq!(
                extensions(image, video, title),
                expected,
                "{image:?} {video:?}"
            );
        }
    }

    /// A ZIP of stored entries, by the format's specification.
    fn archive(entries: &[(&str, &[u8], u32)]) -> Vec<u8> {
        let (mut bytes, mut directory) = (Vec::new(), Vec::new());
        for (name, content, crc) in entries {
            let at = bytes.len() as u32;
            let mut head = Vec::new();
            head.extend([20_u16, 0, 0, 0, 0].map(u16::to_le_bytes).concat());
            let size = content.len() as u32;
            head.extend([*crc, size, size].map(u32::to_le_bytes).concat());
            head.extend([name.len() as u16, 0].map(u16::to_le_bytes).concat());
            bytes.extend(b"PK\x03\x04");
            bytes.extend(&head);
            bytes.extend(name.as_bytes());
            bytes.extend(*content);
            directory.extend(b"PK\x01\x02\x14\x00");
            directory.extend(&head);
            directory.extend([0_u8; 10]);
            directory.extend(at.to_le_bytes());
            directory.extend(name.as_bytes());
        }
        let (at, count) = (bytes.len() as u32, entries.len() as u16);
        let length = directory.len() as u32;
        bytes.extend(directory);
        bytes.extend(b"PK\x05\x06\0\0\0\0");
        bytes.extend([count, count].map(u16::to_le_bytes).concat());
        bytes.extend([length, at].map(u32::to_le_bytes).concat());
        bytes.extend([0, 0]);
        bytes
    }

    fn unpacked(bytes: &[u8]) -> (Result<[Option<Half>; 2], LiveError>, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zip");
        std::fs::write(&path, bytes).unwrap();
        let result = unpack(&path, "a.jpg", |part| dir.path().join(part.to_string()));
        (result, dir)
    }

    // CRC-32 of "still" and "moving" as `gzip -l -v` tells them.
    const STILL: (&str, &[u8], u32) = ("image.jpg", b"123456789", 0xcbf4_3926);
    const MOVING: (&str, &[u8], u32) = ("video.mov", b"123456789", 0xcbf4_3926);

    #[test]
    fn both_halves_come_out_and_what_is_wrong_is_told_apart() {
        let (result, dir) = unpacked(&archive(&[STILL, MOVING]));
        let [image, video] = result.unwrap().map(Option::unwrap);
        assert_eq!((image.extension.as_str(), image.size), (".jpg", 9));
        assert_eq!(video.extension, ".mov");
        assert_eq!(std::fs::read(dir.path().join("1")).unwrap(), b"123456789");

        let (result, _dir) = unpacked(&archive(&[MOVING]));
        assert!(matches!(result.unwrap(), [None, Some(_)]));
        let (result, _dir) = unpacked(&archive(&[("image.jpg", b"123456788", 0xcbf4_3926)]));
        assert!(matches!(result, Err(LiveError::Damaged(_))), "{result:?}");
        let (result, _dir) = unpacked(b"\xff\xd8\xff\xe0 a JPEG under a wrong label");
        assert!(matches!(result, Err(LiveError::NotAZip)), "{result:?}");
        let (result, _dir) = unpacked(b"");
        assert!(matches!(result, Err(LiveError::NotAZip)), "{result:?}");
        let (result, _dir) = unpacked(&archive(&[("notes.txt", b"", 0)]));
        assert!(matches!(result, Err(LiveError::Refused(_))), "{result:?}");
        let many = vec![("x", &b""[..], 0); MAX_ENTRIES + 1];
        let (result, _dir) = unpacked(&archive(&many));
        assert!(result.is_err(), "{result:?}");
    }
}
