//! A minimal MP4: one track of JPEG frames, a second each.

use super::Picture;

const TIMESCALE: u32 = 1000;
/// Seconds from 1904, where MP4 begins to count, to 1970.
const MAC_EPOCH_S: i64 = 2_082_844_800;
const IDENTITY: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

/// A playable file of these frames, padded with a free box to the picture's least length.
pub(super) fn encode(picture: &Picture, frames: &[Vec<u8>]) -> Vec<u8> {
    let brand = bytes_box(b"ftyp", &[b"isom\x00\x00\x02\x00isomiso2mp41"]);
    let media = bytes_box(b"mdat", &[&frames.concat()]);
    let movie = movie(picture, frames, brand.len() as u32 + 8);
    let mut file = [brand, media, movie].concat();
    let missing = picture.min_len.saturating_sub(file.len() + 8);
    if missing > 0 {
        file.extend(bytes_box(b"free", &[&picture.noise(missing)]));
    }
    file
}

fn movie(picture: &Picture, frames: &[Vec<u8>], media_at: u32) -> Vec<u8> {
    let since_1904 = picture.taken_at_us.div_euclid(1_000_000) + MAC_EPOCH_S;
    let made = u32::try_from(since_1904).unwrap_or(0);
    let duration = TIMESCALE * frames.len() as u32;
    let (width, height) = (picture.columns * 8, picture.rows * 8);

    let header = [
        &[
            0,
            made,
            made,
            TIMESCALE,
            duration,
            0x1_0000,
            0x0100_0000,
            0,
            0,
        ][..],
        &IDENTITY,
        &[0; 6],
        &[2],
    ];
    let track_header = [
        &[7, made, made, 1, 0, duration, 0, 0, 0, 0][..],
        &IDENTITY,
        &[u32::from(width) << 16, u32::from(height) << 16],
    ];
    let media_header = [0, made, made, TIMESCALE, duration, 0x55c4_0000];
    let handler = bytes_box(b"hdlr", &[&[0; 8], b"vide", &[0; 12], b"VideoHandler\0"]);
    let reference = bytes_box(b"dref", &[&words(&[0, 1]), &numbers_box(b"url ", &[1])]);
    let sizes: Vec<u32> = frames.iter().map(|frame| frame.len() as u32).collect();
    let table = bytes_box(
        b"stbl",
        &[
            &bytes_box(b"stsd", &[&words(&[0, 1]), &sample_entry(width, height)]),
            &numbers_box(b"stts", &[0, 1, frames.len() as u32, TIMESCALE]),
            &numbers_box(b"stsc", &[0, 1, 1, frames.len() as u32, 1]),
            &numbers_box(
                b"stsz",
                &[&[0, 0, frames.len() as u32][..], &sizes].concat(),
            ),
            &numbers_box(b"stco", &[0, 1, media_at]),
        ],
    );
    let information = bytes_box(
        b"minf",
        &[
            &numbers_box(b"vmhd", &[1, 0, 0]),
            &bytes_box(b"dinf", &[&reference]),
            &table,
        ],
    );
    let media = bytes_box(
        b"mdia",
        &[&numbers_box(b"mdhd", &media_header), &handler, &information],
    );
    let track = bytes_box(
        b"trak",
        &[&numbers_box(b"tkhd", &track_header.concat()), &media],
    );
    bytes_box(
        b"moov",
        &[
            &numbers_box(b"mvhd", &header.concat()),
            &track,
            &place(picture),
        ],
    )
}

/// A visual sample entry whose decoder is JPEG.
fn sample_entry(width: u16, height: u16) -> Vec<u8> {
    // ES descriptor with object type 0x6C (JPEG), visual stream.
    let decoder = [&[0x04, 13, 0x6c, 0x11][..], &[0; 11]].concat();
    let descriptor = [
        &[0x03, 3 + decoder.len() as u8 + 3, 0, 1, 0][..],
        &decoder,
        &[0x06, 1, 2],
    ]
    .concat();
    let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
    let resolution = words(&[0x48_0000, 0x48_0000, 0]);
    bytes_box(
        b"mp4v",
        &[
            &[0, 0, 0, 0, 0, 0, 0, 1],
            &[0; 16],
            &size,
            &resolution,
            &[0, 1],
            &[0; 32],
            &[0, 24, 0xff, 0xff],
            &bytes_box(b"esds", &[&[0; 4], &descriptor]),
        ],
    )
}

/// User data with the place, as phones write it; empty without one.
fn place(picture: &Picture) -> Vec<u8> {
    let Some((latitude, longitude)) = picture.location else {
        return Vec::new();
    };
    let text = format!("{latitude:+08.4}{longitude:+09.4}/");
    let len = (text.len() as u16).to_be_bytes();
    bytes_box(
        b"udta",
        &[&bytes_box(
            b"\xa9xyz",
            &[&len, &[0x15, 0xc7], text.as_bytes()],
        )],
    )
}

fn bytes_box(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let len = (content.len() as u32 + 8).to_be_bytes();
    [&len[..], kind, &content].concat()
}

fn numbers_box(kind: &[u8; 4], numbers: &[u32]) -> Vec<u8> {
    bytes_box(kind, &[&words(numbers)])
}

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_be_bytes())
        .collect()
}
