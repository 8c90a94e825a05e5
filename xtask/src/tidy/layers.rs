//! Who may touch what: the streams, the world outside, other people's code.

use super::Finding;
use crate::Result;
use crate::run::{cargo, output};
use crate::workspace::Source;

/// The files of `ente-common` that may take hold of a standard stream, or end the process, which skips the wiping of keys
/// on drop: only who presses Ctrl-C twice wants that.
const OWNED: [(&str, &[&str]); 4] = [
    ("process::exit", &["cli.rs"]),
    ("io::stdout()", &["record.rs", "cli.rs"]),
    ("io::stderr()", &["ui.rs", "ui/prompt.rs"]),
    ("io::stdin()", &["cli.rs", "ui/prompt.rs"]),
];

/// Standard output belongs to records, standard error to messages; and nobody skips the wiping of keys.
pub(super) fn streams(source: &Source) -> Vec<Finding> {
    if !is_tool_code(source) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (owned, allowed) in OWNED {
        let common = source.path.strip_prefix("crates/ente-common/src/");
        if !common.is_some_and(|file| allowed.contains(&file)) {
            let why = format!("belongs to `ente-common` ({})", allowed.join(", "));
            findings.extend(find(source, &[owned], &why));
        }
    }
    findings
}

/// Modules of `ente-common` that turn values into values.
const PURE: [&str; 6] = ["crypto", "wire", "model", "naming", "record", "exit"];

/// What reaches the world.
const WORLD: [&str; 7] = [
    "std::fs",
    "fs::File",
    "std::net",
    "std::env",
    "std::thread::sleep",
    "SystemTime::now",
    "getrandom",
];

/// Pure modules get clock, randomness and files handed in.
pub(super) fn purity(source: &Source) -> Vec<Finding> {
    let module = source
        .path
        .strip_prefix("crates/ente-common/src/")
        .and_then(|file| file.split(['/', '.']).next());
    if !is_tool_code(source) || !module.is_some_and(|module| PURE.contains(&module)) {
        return Vec::new();
    }
    find(source, &WORLD, "does not belong into a pure module")
}

fn is_tool_code(source: &Source) -> bool {
    source.path.starts_with("crates/") && source.path.ends_with(".rs") && !source.is_test()
}

fn find(source: &Source, words: &[&str], why: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in source.without_tests().lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for word in words.iter().filter(|word| code.contains(**word)) {
            findings.push(Finding::new(source, index + 1, format!("`{word}` {why}")));
        }
    }
    findings
}

const NETWORK: [&str; 4] = ["reqwest", "hyper", "rustls", "ente-login"];
const CIPHERS: [&str; 5] = [
    "dryoc",
    "argon2",
    "chacha20poly1305",
    "crypto-bigint",
    "bip39",
];

/// Each tool carries only what its promise allows: least privilege begins with what is linked.
pub(super) fn dependencies() -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (tool, forbidden) in [
        ("ente-login", &[][..]),
        // The seal of its token needs two ciphers; no more.
        ("ente-pull", &["dryoc", "crypto-bigint", "bip39"][..]),
        ("ente-decrypt", &NETWORK[..]),
        ("ente-meta", &NETWORK[..]),
        ("ente-verify", &[&NETWORK[..], &CIPHERS[..]].concat()[..]),
    ] {
        let tree = output(&mut cargo(&[
            "tree",
            "--locked",
            "--package",
            tool,
            "--edges",
            "normal",
            "--prefix",
            "none",
        ]))?;
        let mut linked: Vec<_> = tree
            .lines()
            .filter_map(|line| line.split(' ').next())
            .collect();
        linked.sort_unstable();
        linked.dedup();
        for name in linked {
            let is_other_tool = name.starts_with("ente-") && name != tool && name != "ente-common";
            if is_other_tool || forbidden.contains(&name) {
                findings.push(Finding {
                    path: format!("crates/{tool}/Cargo.toml"),
                    line: 0,
                    what: format!(
                        "`{tool}` must not link `{name}` (see `cargo tree -p {tool} -i {name}`)"
                    ),
                    is_warning: false,
                });
            }
        }
    }
    Ok(findings)
}
