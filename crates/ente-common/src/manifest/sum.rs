//! The sum that ends each line of a journal, against rot and lost lines; not against somebody who means harm.
//!
//! ```text
//! line  = BODY ,"sum":"XXXXXXXX"}          BODY: the object without its closing brace
//! sum   = CRC-32 (that of zlib) of BODY, begun with the sum of the line above; the first line with 0
//! ```
//!
//! In Python: `zlib.crc32(body, above)`.

use std::fs::File;
use std::io::{self, Write as _};

use crate::disk::read_exact_at;

/// What the first line begins with, and a line below one that has no sum.
pub(super) const NONE: u32 = 0;

const BEFORE: &[u8] = b",\"sum\":\"";
const AFTER: &[u8] = b"\"}";
const DIGITS: usize = 8;
const LENGTH: usize = BEFORE.len() + DIGITS + AFTER.len();
/// The end of a line that holds its sum, with the line feed.
pub(super) const END_BYTES: usize = LENGTH + 1;

/// Adds the sum to the object that begins at `start`; tells it.
pub(super) fn add(lines: &mut Vec<u8>, start: usize, above: u32) -> u32 {
    let brace = lines.pop();
    debug_assert_eq!(brace, Some(b'}'), "a line is an object");
    let sum = crc(&lines[start..], above);
    lines.extend_from_slice(BEFORE);
    write!(lines, "{sum:08x}").expect("writing to memory cannot fail");
    lines.extend_from_slice(AFTER);
    sum
}

/// The sum of a whole line, if it is the right one.
pub(super) fn check(line: &[u8], above: u32) -> Option<u32> {
    let sum = stored(line)?;
    (crc(body(line), above) == sum).then_some(sum)
}

/// A line that ends with a sum, without it: what it says, but for the closing brace.
pub(super) fn body(line: &[u8]) -> &[u8] {
    &line[..line.len().saturating_sub(LENGTH)]
}

/// The sum of the line that ends before `at`.
pub(super) fn above(file: &File, at: u64) -> io::Result<u32> {
    let mut end = [0; END_BYTES];
    let Some(start) = at.checked_sub(end.len() as u64) else {
        return Ok(NONE);
    };
    read_exact_at(file, &mut end, start)?;
    Ok(of_end(&end))
}

/// The sum of a line, given its last [`END_BYTES`]; fewer are no line.
pub(super) fn of_end(end: &[u8]) -> u32 {
    let line = end.strip_suffix(b"\n");
    line.and_then(stored).unwrap_or(NONE)
}

fn stored(line: &[u8]) -> Option<u32> {
    let tail = line.get(line.len().checked_sub(LENGTH)?..)?;
    let digits = tail.strip_prefix(BEFORE)?.strip_suffix(AFTER)?;
    // Without a branch for each digit, of which half would be guessed wrong.
    let (mut sum, mut odd) = (0, 0);
    for digit in digits {
        let value = VALUES[usize::from(*digit)];
        odd |= value & NO_DIGIT;
        sum = sum << 4 | u32::from(value);
    }
    (odd == 0).then_some(sum)
}

const NO_DIGIT: u8 = 0x80;

/// What a byte is worth as a lower-case hex digit.
const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value] as usize] = value as u8;
        value += 1;
    }
    values
};

fn crc(bytes: &[u8], above: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(above);
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `zlib.crc32` of Python.
    const LINES: [&str; 2] = [
        r#"{"format":1,"file":"pull","sum":"517c5c41"}"#,
        r#"{"fact":"setting","name":"objects","value":"keep","sum":"0772942c"}"#,
    ];

    #[test]
    fn lines_are_summed_as_zlib_does_it() {
        let mut above = NONE;
        for line in LINES {
            let (body, _) = line.split_once(r#","sum""#).unwrap();
            let mut ours = format!("{body}}}").into_bytes();
            let sum = add(&mut ours, 0, above);
            assert_eq!(std::str::from_utf8(&ours).unwrap(), line);
            assert_eq!(check(&ours, above), Some(sum));
            above = sum;
        }
    }

    #[test]
    fn every_flipped_bit_and_every_lost_line_shows() {
        let first = check(LINES[0].as_bytes(), NONE).unwrap();
        assert_eq!(check(LINES[1].as_bytes(), NONE), None, "the first is lost");
        for bit in 0..LINES[1].len() * 8 {
            let mut line = LINES[1].as_bytes().to_vec();
            line[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(check(&line, first), None, "bit {bit}");
        }
    }
}
