//! Files of the manifest as somebody else would write them, by `docs/formats/manifest.md` alone.

/// Gives each line, but torn ones and what is no object, its sum, in place of the one that it has.
pub fn summed(text: &[u8]) -> Vec<u8> {
    const LENGTH: usize = r#","sum":"00000000"}"#.len();
    let mut above = 0;
    let mut summed = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let Some(body) = line.strip_suffix(b"}\n") else {
            summed.extend_from_slice(line);
            continue;
        };
        let old = body.len().checked_sub(LENGTH - 1);
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

/// CRC-32 as zlib has it, bit by bit.
fn crc32(bytes: &[u8], above: u32) -> u32 {
    let with_byte = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & 0u32.wrapping_sub(crc & 1))
        })
    };
    !bytes.iter().fold(!above, with_byte)
}
