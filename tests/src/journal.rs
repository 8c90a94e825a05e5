//! Files of the manifest as somebody else would write them, by `docs/formats/manifest.md` alone.

/// What each line ends with.
pub const SUM_BYTES: usize = r#","sum":"00000000"}"#.len();

/// Gives each line, but torn ones and what is no object, its sum, in place of the one that it has.
pub fn summed(text: &[u8]) -> Vec<u8> {
    let mut above = 0;
    let mut summed = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let Some(body) = line.strip_suffix(b"}\n") else {
            summed.extend_from_slice(line);
            continue;
        };
        let old = body.len().checked_sub(SUM_BYTES - 1);
        let body = match old {
            Some(end) if body[end..].starts_with(br#","sum":""#) => &body[..end],
            _ => body,
        };
        above = crc32(body, above);
        summed.extend_from_slice(body);
        summed.extend_from_slice(format!(",\"sum\":\"{above:08x}\"}}\n").as_bytes());
    }
    summed
}

/// What stands before the rests that a journal ends with.
pub fn before_rest(text: &str) -> &str {
    let mut text = text;
    while let Some(last) = text.trim_end().rfind('\n')
        && text[last + 1..].starts_with(r#"{"fact":"rest","#)
    {
        text = &text[..=last];
    }
    text
}

/// Breaks the five bytes at `at` of a body so that whoever parses it fails, and whoever sums it notices nothing.
pub fn break_under_its_sum(body: &mut [u8], at: usize) {
    let wanted = crc32(body, 0);
    let whole = body[at];
    for flip in 0x80..=0xff {
        // No longer UTF-8, and what follows makes up for it.
        body[at] = whole ^ flip;
        let bytes = make_up(body, at + 1, wanted);
        body[at + 1..at + 5].copy_from_slice(&bytes);
        assert_eq!(crc32(body, 0), wanted);
        if !bytes.contains(&b'\n') {
            return;
        }
    }
    panic!("some way is without a line feed");
}

/// The four bytes at `at` with which a body has that sum, which depends on each of their bits alone.
fn make_up(body: &mut [u8], at: usize, wanted: u32) -> [u8; 4] {
    body[at..at + 4].fill(0);
    let zero = crc32(body, 0);
    let mut changes: Vec<(u32, u32)> = (0..32)
        .map(|bit| {
            body[at + bit / 8] = 1 << (bit % 8);
            let change = crc32(body, 0) ^ zero;
            body[at + bit / 8] = 0;
            (change, 1 << bit)
        })
        .collect();
    let (mut left, mut bits) = (wanted ^ zero, 0);
    for pivot in (0..32).map(|bit| 1 << bit) {
        let found = changes.iter().position(|(change, _)| change & pivot != 0);
        let (change, chosen) = changes.swap_remove(found.expect("four bytes give any sum"));
        for other in changes.iter_mut().filter(|other| other.0 & pivot != 0) {
            *other = (other.0 ^ change, other.1 ^ chosen);
        }
        if left & pivot != 0 {
            left ^= change;
            bits ^= chosen;
        }
    }
    bits.to_le_bytes()
}

/// CRC-32 as zlib has it, bit by bit.
fn crc32(bytes: &[u8], above: u32) -> u32 {
    let with_byte = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & 0u32.wrapping_sub(crc & 1))
        })
    };
    !bytes.iter().fold(!above, with_byte)
}
