//! All five tools behind one name, always as current as the tests that start it: `ente-tool ente-pull ARGUMENTS`.

use std::process::ExitCode;

use ente_common::cli::main_from;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    match args.first().and_then(|name| name.to_str()) {
        Some("ente-login") => main_from::<ente_login::Args>(args),
        Some("ente-pull") => main_from::<ente_pull::Args>(args),
        Some("ente-decrypt") => main_from::<ente_decrypt::Args>(args),
        Some("ente-meta") => main_from::<ente_meta::Args>(args),
        Some("ente-verify") => main_from::<ente_verify::Args>(args),
        _ => ExitCode::from(2),
    }
}
