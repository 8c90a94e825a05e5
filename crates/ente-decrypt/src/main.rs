//! Starts `ente-decrypt`; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ente_common::cli::main::<ente_decrypt::Args>()
}
