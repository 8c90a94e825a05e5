//! All five tools behind one name, always as current as the tests that start it: `ente-tool ente-pull ARGUMENTS`.
//!
//! With `ENTE_TEST_PEAK`, the path of a file, it adds a line there when the tool is done: its name and the most memory that it held, in KiB.

use std::fs::File;
use std::io::Write as _;
use std::process::ExitCode;

use ente_common::cli::main_from;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let name = args
        .first()
        .and_then(|name| name.to_str())
        .map(str::to_owned);
    let code = match name.as_deref() {
        Some("ente-login") => main_from::<ente_login::Args>(args),
        Some("ente-pull") => main_from::<ente_pull::Args>(args),
        Some("ente-decrypt") => main_from::<ente_decrypt::Args>(args),
        Some("ente-meta") => main_from::<ente_meta::Args>(args),
        Some("ente-verify") => main_from::<ente_verify::Args>(args),
        _ => ExitCode::from(2),
    };
    if let (Some(path), Some(name)) = (std::env::var_os("ENTE_TEST_PEAK"), name) {
        let line = format!("{name} {}\n", peak_kib());
        // Lines of the stages of a pipe do not mix: each is one short write at the end of the file.
        let file = File::options().create(true).append(true).open(path);
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
    code
}

/// As the kernel counts it; 0 where it does not say.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = peak.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.unwrap_or(0)
}
