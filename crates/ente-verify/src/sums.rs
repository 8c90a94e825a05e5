//! `--sums`: a checksum file for `b3sum --check`, from the record alone.

use ente_common::cli::{Io, output_failure};
use ente_common::exit::{Exit, Failure};
use ente_common::manifest::Export;

use crate::live::Live;
use crate::span::Area;
use crate::{Args, plan};

/// Bytes that are printed at once.
const BLOCK_BYTES: usize = 64 << 10;

/// Prints one line for each exported file and sidecar, sorted by path.
pub(crate) fn run(args: &Args, io: &mut Io) -> Result<Exit, Failure> {
    let export = Export::open(&Export::locate(args.source.dir()?, None)?)?;
    let live = Live::load(&export, Area::Tree)?;
    let mut expected = plan::whole(&live.state);
    plan::sort(&mut expected);
    let mut block = String::new();
    for it in &expected {
        if let (Some(path), Some(written)) = (&it.path, &it.written)
            && let Some(hash) = written.blake3
        {
            block.push_str(&line(&hash.to_hex(), path));
        }
        if block.len() >= BLOCK_BYTES {
            put(io, &mut block)?;
        }
    }
    put(io, &mut block)?;
    io.output.flush().map_err(|error| output_failure(&error))?;
    Ok(Exit::Done)
}

fn put(io: &mut Io, block: &mut String) -> Result<(), Failure> {
    let written = io.output.write_all(block.as_bytes());
    block.clear();
    written.map_err(|error| output_failure(&error))
}

/// `HASH  PATH`; where the path holds a backslash or a line break, these are escaped and the line starts with a backslash.
fn line(hash: &str, path: &str) -> String {
    if path.contains(['\\', '\n']) {
        let path = path.replace('\\', r"\\").replace('\n', r"\n");
        format!("\\{hash}  {path}\n")
    } else {
        format!("{hash}  {path}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_b3sum() {
        // As b3sum 1.2 printed them for files of these names.
        for (path, expected) in [
            ("a b", "00  a b\n"),
            ("back\\slash", "\\00  back\\\\slash\n"),
            ("line\nbreak", "\\00  line\\nbreak\n"),
        ] {
            assert_eq!(line("00", path), expected);
        }
    }
}
