//! Live photos: whatever the archive says, at most two files come of it, where the caller wants them, and what is told of them is true.

use std::fs;

use blake2::{Blake2b512, Digest as _};
use ente_common::naming;
use ente_decrypt::live::unpack;

use super::scratch;

pub(in crate::fuzz) fn run(data: &[u8]) {
    let dir = scratch();
    let archive = dir.path().join("archive");
    fs::write(&archive, data).expect("scratch");
    let result = unpack(&archive, "title.jpg", |part| {
        dir.path().join(format!("part-{part}"))
    });

    let left = fs::read_dir(dir.path()).expect("scratch");
    for entry in left.map(|entry| entry.expect("scratch")) {
        assert!(["archive", "part-0", "part-1"].contains(&&*entry.file_name().to_string_lossy()));
        assert!(entry.file_type().expect("scratch").is_file());
    }
    let Ok(halves) = result else {
        return;
    };
    assert!(halves.iter().any(Option::is_some), "nothing came out");
    for (part, half) in halves.iter().enumerate() {
        let Some(half) = half else { continue };
        assert_eq!(half.path, dir.path().join(format!("part-{part}")));
        let bytes = fs::read(&half.path).expect("scratch");
        assert_eq!(half.size, bytes.len() as u64);
        assert_eq!(half.blake3, blake3::hash(&bytes));
        assert_eq!(half.digest[..], Blake2b512::digest(&bytes)[..]);
        let name = format!("stem{}", half.extension);
        assert_eq!(naming::part_extension(&name), half.extension);
        assert!(half.extension.len() > 1 && naming::is_component(&name));
    }
    if let [Some(still), Some(video)] = halves {
        assert!(!still.extension.eq_ignore_ascii_case(&video.extension));
    }
}
