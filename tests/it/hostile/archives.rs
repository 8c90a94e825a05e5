//! Live photos whose ZIP lies.

use ente_tests::harness::tree;

use super::{Scene, archive, measured, problems};

/// A ZIP of stored or deflated entries, written by hand so that it may lie.
mod zips {
    use flate2::Compression;
    use flate2::write::DeflateEncoder;
    use std::io::Write as _;

    pub(super) struct Entry {
        pub(super) name: &'static str,
        pub(super) content: Vec<u8>,
        /// Unix mode in the central directory: 0o120777 is a link.
        pub(super) mode: u32,
    }

    pub(super) fn entry(name: &'static str, content: &[u8]) -> Entry {
        Entry {
            name,
            content: content.to_vec(),
            mode: 0o100_644,
        }
    }

    /// Both directories of the format; `repeat` names each entry so many times in the central one.
    pub(super) fn archive(entries: &[Entry], repeat: usize) -> Vec<u8> {
        let (mut bytes, mut directory) = (Vec::new(), Vec::new());
        for entry in entries {
            let mut deflate = DeflateEncoder::new(Vec::new(), Compression::fast());
            deflate.write_all(&entry.content).unwrap();
            let packed = deflate.finish().unwrap();
            let mut crc = flate2::Crc::new();
            crc.update(&entry.content);
            let at = bytes.len() as u32;
            let mut head = [20_u16, 0, 8, 0, 0].map(u16::to_le_bytes).concat();
            head.extend(
                [crc.sum(), packed.len() as u32, entry.content.len() as u32]
                    .map(u32::to_le_bytes)
                    .concat(),
            );
            head.extend([entry.name.len() as u16, 0].map(u16::to_le_bytes).concat());
            bytes.extend(b"PK\x03\x04");
            bytes.extend(&head);
            bytes.extend(entry.name.as_bytes());
            bytes.extend(packed);
            for _ in 0..repeat {
                directory.extend(b"PK\x01\x02\x14\x03");
                directory.extend(&head);
                directory.extend([0_u8; 6]);
                directory.extend((entry.mode << 16).to_le_bytes());
                directory.extend(at.to_le_bytes());
                directory.extend(entry.name.as_bytes());
            }
        }
        let count = u16::try_from(entries.len() * repeat);
        let (at, length) = (bytes.len() as u32, directory.len() as u32);
        bytes.extend(&directory);
        if count.is_err() {
            // More than the old form can count: ZIP64.
            let start = bytes.len() as u64;
            let count = (entries.len() * repeat) as u64;
            bytes.extend(b"PK\x06\x06");
            bytes.extend(44_u64.to_le_bytes());
            bytes.extend([45_u16, 45].map(u16::to_le_bytes).concat());
            bytes.extend([0_u32, 0].map(u32::to_le_bytes).concat());
            bytes.extend(
                [count, count, u64::from(length), u64::from(at)]
                    .map(u64::to_le_bytes)
                    .concat(),
            );
            bytes.extend(b"PK\x06\x07\0\0\0\0");
            bytes.extend(start.to_le_bytes());
            bytes.extend(1_u32.to_le_bytes());
        }
        let count = count.unwrap_or(u16::MAX);
        bytes.extend(b"PK\x05\x06\0\0\0\0");
        bytes.extend([count, count].map(u16::to_le_bytes).concat());
        bytes.extend([length, at].map(u32::to_le_bytes).concat());
        bytes.extend([0, 0]);
        bytes
    }
}

#[test]
fn archives_that_lie_are_told_of_and_write_nothing_else() {
    use zips::{Entry, archive as zip, entry};
    let scene = Scene::new();
    let still = || entry("image.jpg", b"still");
    let moving = || entry("video.mov", b"moving");
    let link = Entry {
        mode: 0o120_777,
        ..entry("image.jpg", b"/etc/passwd")
    };
    let zeros = vec![0; 600 << 20];
    let rows: Vec<(&str, Vec<u8>, Option<&str>)> = vec![
        ("good.heic", zip(&[still(), moving()], 1), None),
        (
            "absolute.heic",
            zip(
                &[
                    entry("/tmp/image.jpg", b"still"),
                    entry("C:\\video.mov", b"moving"),
                ],
                1,
            ),
            None,
        ),
        (
            "climbing.heic",
            zip(
                &[
                    entry("../../../image.jpg", b"still"),
                    entry("..\\..\\video.mov", b"moving"),
                ],
                1,
            ),
            None,
        ),
        ("overlapping.heic", zip(&[still(), moving()], 3), None),
        (
            "images.heic",
            zip(&[still(), entry("image.png", b"second"), moving()], 1),
            None,
        ),
        ("link.heic", zip(&[link, moving()], 1), Some("missing-half")),
        ("no-image.heic", zip(&[moving()], 1), Some("missing-half")),
        (
            "nothing.heic",
            zip(&[entry("notes.txt", b"x")], 1),
            Some("bad-archive"),
        ),
        (
            "bomb.heic",
            zip(&[entry("image.jpg", &zeros), moving()], 1),
            Some("bad-archive"),
        ),
        (
            "many.heic",
            zip(&[still(), moving()], 400_000),
            Some("bad-archive"),
        ),
        (
            "cut.heic",
            zip(&[still(), moving()], 1)[..60].to_vec(),
            Some("not-a-zip"),
        ),
    ];
    drop(zeros);
    let mut expected = Vec::new();
    for (title, bytes, class) in rows {
        let file = scene.upload(title, archive(bytes));
        expected.extend(class.map(|class| (class.to_owned(), file)));
    }
    let mut found: Vec<_> = measured(&scene).iter().flat_map(problems).collect();
    scene.pipeline();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    let files = tree(&scene.machine.export);
    for stem in ["good", "absolute", "climbing", "overlapping", "images"] {
        assert_eq!(
            files[&format!("Shared/{stem}.jpg")].bytes,
            b"still",
            "{stem}"
        );
        assert_eq!(
            files[&format!("Shared/{stem}.mov")].bytes,
            b"moving",
            "{stem}"
        );
    }
    let total: usize = files.values().map(|entry| entry.bytes.len()).sum();
    assert!(total < 1 << 20, "{total} bytes of a bomb are in the tree");
}

#[test]
fn half_a_live_photo_whose_archive_lies_aside_comes_back_when_it_is_lost() {
    use ente_tests::harness::expect_all;
    use zips::{archive as zip, entry};
    let scene = Scene::new();
    scene.upload(
        "half.heic",
        archive(zip(&[entry("video.mov", b"moving")], 1)),
    );
    scene.pipeline();
    let half = scene.machine.export.join("Shared/half.mov");
    std::fs::remove_file(&half).unwrap();
    let dir = scene.machine.dir();
    let _ = scene.machine.run(&["ente-verify", dir]).expect(4);
    let outcomes = scene
        .machine
        .pipe(&[&["ente-pull", dir], &["ente-decrypt", "-"]]);
    expect_all(&outcomes[..1], 0);
    assert!(half.is_file());
}
