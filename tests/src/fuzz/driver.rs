//! Feeds a target on stable Rust: its corpus as it is, then mutations of it, the same ones for the same seed.
//!
//! It does not see which code an input reaches. What libFuzzer found with its eyes open is in the corpus, and this walks around it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::Target;
use crate::library::seed::{Seed, Stream};

/// No input grows beyond this.
const MAX_BYTES: usize = 16 << 10;

/// Pieces that parsers look at, and that chance alone does not hit on.
const TOKENS: [&[u8]; 36] = [
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"null",
    b"true",
    b"\n",
    b"\0",
    b"-1",
    b"0",
    b"1e400",
    b"-0.0",
    b"9223372036854775807",
    b"18446744073709551616",
    b"NaN",
    b"\\ud800",
    b"\\u0000",
    b"\\u202e",
    b"..",
    b"/",
    b"../../x",
    b".json",
    b"metadata",
    b".ente",
    b"\x1b[31m",
    b"\xc2\x9b",
    b"\xff",
    b"\xe2\x80\xae",
    b"PK\x01\x02",
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    /// Inputs that were tried.
    pub inputs: u64,
    /// The longest that one took.
    pub slowest: Duration,
    /// The first input that broke an invariant.
    pub found: Option<Vec<u8>>,
}

/// Tries the corpus, then mutations of it while `goes_on` says so of the number of inputs, until one breaks an invariant.
pub fn run(target: &Target, seed: u64, mut goes_on: impl FnMut(u64) -> bool) -> Report {
    let corpus = target.corpus();
    let mut random = Seed::new(seed).stream(target.name, &[]);
    let mut report = Report {
        inputs: 0,
        slowest: Duration::ZERO,
        found: None,
    };
    let mut given = corpus.iter();
    while report.found.is_none() {
        let input = match given.next() {
            Some(input) => input.clone(),
            None if goes_on(report.inputs) => mutated(&corpus, &mut random),
            None => break,
        };
        let start = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| (target.run)(&input)));
        report.inputs += 1;
        report.slowest = report.slowest.max(start.elapsed());
        report.found = result.is_err().then_some(input);
    }
    report
}

/// One of the corpus with up to 16 changes.
fn mutated(corpus: &[Vec<u8>], random: &mut Stream) -> Vec<u8> {
    let mut input = random.pick(corpus).clone();
    for _ in 0..1 << random.below(5) {
        let range = piece(&input, random);
        match random.below(8) {
            0 => input.truncate(range.end),
            1 => drop(input.drain(range)),
            2 => input.extend_from_within(range),
            3 => {
                let token = random.pick(&TOKENS).iter().copied();
                drop(input.splice(range.start..range.start, token));
            }
            4 => {
                let other = random.pick(corpus);
                let other = other[piece(other, random)].to_vec();
                drop(input.splice(range, other));
            }
            change => {
                let Some(byte) = input.get_mut(range.start) else {
                    continue;
                };
                match change {
                    5 => *byte ^= 1 << random.below(8),
                    6 => *byte = random.below(256) as u8,
                    _ => *byte = *random.pick(&[0, 1, 0x7f, 0x80, 0xff]),
                }
            }
        }
    }
    input.truncate(MAX_BYTES);
    input
}

/// A piece of `bytes`: small ones are likelier.
fn piece(bytes: &[u8], random: &mut Stream) -> std::ops::Range<usize> {
    let start = random.below(bytes.len() as u64 + 1) as usize;
    let most = (bytes.len() - start).min(1 << random.below(12));
    start..start + random.below(most as u64 + 1) as usize
}
