//! A baseline JPEG encoder that keeps one colour per block of 8 × 8 pixels: enough for a picture that every viewer
//! shows, in a screen of code.

use super::Frame;

/// Code lengths of the DC differences by category, as in annex K of the standard.
const DC_LENGTHS: [u8; 16] = [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0];
/// The codes that follow from these lengths: (bits, length) by category.
const DC_CODES: [(u16, u8); 9] = [
    (0b00, 2),
    (0b010, 3),
    (0b011, 3),
    (0b100, 3),
    (0b101, 3),
    (0b110, 3),
    (0b1110, 4),
    (0b1_1110, 5),
    (0b11_1110, 6),
];

/// Encodes the frame as a whole JPEG file.
pub(super) fn encode(frame: &Frame<'_>) -> Vec<u8> {
    let (columns, rows) = (frame.picture.columns, frame.picture.rows);
    let mut file = vec![0xff, 0xd8];
    // One quantisation table: a DC step of 8 makes the stored value the mean of the block.
    segment(&mut file, 0xdb, &[&[0, 8][..], &[1; 63]].concat());
    let [height, width] = [(rows * 8).to_be_bytes(), (columns * 8).to_be_bytes()];
    let components = [3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0];
    segment(
        &mut file,
        0xc0,
        &[&[8][..], &height, &width, &components].concat(),
    );
    let categories: Vec<u8> = (0..12).collect();
    segment(
        &mut file,
        0xc4,
        &[&[0x00][..], &DC_LENGTHS, &categories].concat(),
    );
    // The AC table knows one code of one bit: end of block.
    let mut ac_lengths = [0; 16];
    ac_lengths[0] = 1;
    segment(&mut file, 0xc4, &[&[0x10][..], &ac_lengths, &[0]].concat());
    segment(&mut file, 0xda, &[3, 1, 0, 2, 0, 3, 0, 0, 63, 0]);
    let mut bits = Bits {
        file,
        pending: 0,
        count: 0,
    };
    let mut last = [0; 3];
    for row in 0..rows {
        for column in 0..columns {
            let levels = ycc(frame.colour(column, row));
            for (last, level) in last.iter_mut().zip(levels) {
                bits.difference(level - *last);
                bits.put(0, 1);
                *last = level;
            }
        }
    }
    bits.finish()
}

/// Application segments that readers skip, with this in them.
pub(super) fn padding(noise: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(noise.len() + noise.len() / 4096);
    for payload in noise.chunks(65_533) {
        segment(&mut out, 0xe9, payload);
    }
    out
}

/// Appends a marker segment.
pub(super) fn segment(file: &mut Vec<u8>, marker: u8, payload: &[u8]) {
    let len = u16::try_from(payload.len() + 2).expect("a segment is short");
    file.extend([0xff, marker]);
    file.extend(len.to_be_bytes());
    file.extend(payload);
}

/// Luminance and chrominance of a colour, centred on 0.
fn ycc([r, g, b]: [f32; 3]) -> [i16; 3] {
    let y = 0.299 * r + 0.587 * g + 0.114 * b - 128.0;
    let cb = -0.1687 * r - 0.3313 * g + 0.5 * b;
    let cr = 0.5 * r - 0.4187 * g - 0.0813 * b;
    [y, cb, cr].map(|level| level.clamp(-127.0, 127.0) as i16)
}

/// Writes bits, most significant first, and stuffs a zero after each 0xFF.
struct Bits {
    file: Vec<u8>,
    pending: u32,
    count: u8,
}

impl Bits {
    /// A DC difference: the code of its category, then its value.
    fn difference(&mut self, difference: i16) {
        let category = 16 - difference.unsigned_abs().leading_zeros() as u8;
        let (code, length) = DC_CODES[usize::from(category)];
        self.put(code, length);
        let value = if difference < 0 {
            difference - 1
        } else {
            difference
        };
        self.put(value as u16 & ((1 << category) - 1), category);
    }

    fn put(&mut self, bits: u16, length: u8) {
        self.pending = self.pending << length | u32::from(bits);
        self.count += length;
        while self.count >= 8 {
            self.count -= 8;
            let byte = (self.pending >> self.count) as u8;
            self.file.push(byte);
            if byte == 0xff {
                self.file.push(0);
            }
        }
    }

    fn finish(mut self) -> Vec<u8> {
        // Bits that are left over are filled with ones.
        self.put(0x7f, 7);
        self.file.extend([0xff, 0xd9]);
        self.file
    }
}
