//! Small real media files, made from a few numbers: JPEG with EXIF, MP4, and the ZIP of a live photo.

mod exif;
mod jpeg;
mod mp4;

use std::io::{Cursor, Write};

use rand_core::RngCore;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::seed::Seed;

/// A made-up picture of an evening by the hills. The same numbers give the same bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Picture {
    /// Decides colours and shapes.
    pub variant: u64,
    /// Width in blocks of 8 pixels.
    pub columns: u16,
    /// Height in blocks of 8 pixels.
    pub rows: u16,
    /// Shorter files are padded to this length with what readers skip.
    pub min_len: usize,
    /// When it was taken, for EXIF; microseconds since the epoch, UTC.
    pub taken_at_us: i64,
    /// Latitude and longitude, for EXIF.
    pub location: Option<(f64, f64)>,
    /// Maker and model, for EXIF.
    pub camera: (&'static str, &'static str),
}

impl Default for Picture {
    fn default() -> Self {
        Self {
            variant: 0,
            columns: 12,
            rows: 9,
            min_len: 0,
            taken_at_us: 1_719_830_000_000_000,
            location: None,
            camera: ("Example", "Pinhole 1"),
        }
    }
}

impl Picture {
    /// A small picture that differs from those of other variants.
    pub fn new(variant: u64) -> Self {
        Self {
            variant,
            ..Self::default()
        }
    }

    /// A baseline JPEG with EXIF.
    pub fn jpeg(&self) -> Vec<u8> {
        let image = jpeg::encode(&self.frame(0));
        let exif = exif::segment(self);
        let padding =
            jpeg::padding(&self.noise(self.min_len.saturating_sub(image.len() + exif.len())));
        // Segments belong behind the two bytes that start an image.
        [&image[..2], &exif, &padding, &image[2..]].concat()
    }

    /// An MP4 with a motion JPEG track of three seconds.
    pub fn mp4(&self) -> Vec<u8> {
        let frames: Vec<_> = (0..3)
            .map(|second| jpeg::encode(&self.frame(second)))
            .collect();
        mp4::encode(self, &frames)
    }

    /// A JPEG without EXIF and padding, at most a thumbnail in size.
    pub fn thumbnail(&self) -> Vec<u8> {
        let small = Self {
            columns: self.columns.min(8),
            rows: self.rows.min(6),
            ..*self
        };
        jpeg::encode(&small.frame(0))
    }

    /// Bytes that no compression makes smaller.
    fn noise(&self, len: usize) -> Vec<u8> {
        let mut noise = vec![0; len];
        Seed::new(self.variant)
            .stream("noise", &[])
            .fill_bytes(&mut noise);
        noise
    }

    /// The picture with the sun as far down as after `second` seconds of video.
    fn frame(&self, second: u8) -> Frame<'_> {
        Frame {
            picture: self,
            second,
        }
    }
}

/// One picture to encode, block by block.
struct Frame<'a> {
    picture: &'a Picture,
    second: u8,
}

impl Frame<'_> {
    /// Colour of a block.
    fn colour(&self, column: u16, row: u16) -> [f32; 3] {
        let Picture {
            variant,
            columns,
            rows,
            ..
        } = *self.picture;
        let x = f32::from(column) / f32::from(columns);
        let y = f32::from(row) / f32::from(rows);
        // Eight independent numbers in 0..1 from the variant.
        let part = |index: u32| {
            ((variant.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (8 * index)) & 0xff) as f32 / 255.0
        };
        let sun = (x - part(0)).hypot((y - 0.3 - 0.05 * f32::from(self.second)) * 0.75);
        let ridge = 0.65 + 0.08 * (x * (3.0 + 6.0 * part(1)) + 6.0 * part(2)).sin();
        if y > ridge {
            let shade = 90.0 * (1.2 - y);
            return [
                shade * (0.4 + part(3)),
                shade * (0.7 + part(4)),
                shade * 0.8,
            ];
        }
        if sun < 0.08 + 0.05 * part(5) {
            return [255.0, 236.0, 180.0];
        }
        let glow = 60.0 * (1.0 - sun).max(0.0);
        [
            120.0 + 120.0 * y + glow,
            90.0 + 90.0 * part(6) + glow,
            200.0 - 110.0 * y * part(7),
        ]
    }
}

/// A ZIP of named entries: the first stored, the others deflated, as writers of live photos differ in that.
pub(super) fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (index, (name, bytes)) in entries.iter().enumerate() {
        let method = if index == 0 {
            CompressionMethod::Stored
        } else {
            CompressionMethod::Deflated
        };
        let options = SimpleFileOptions::default().compression_method(method);
        writer
            .start_file(*name, options)
            .expect("writing to memory");
        writer.write_all(bytes).expect("writing to memory");
    }
    writer.finish().expect("writing to memory").into_inner()
}
