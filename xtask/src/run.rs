//! Runs other programs: shows the line to type, waits, and fails when they fail.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::Result;
use crate::workspace::root;

/// Cargo, the one that started us, in the root of the checkout.
///
/// It does not see what `cargo run` tells us about our own package: build scripts (ring's) that look at these variables
/// would run again, and half of the dependencies be built again, whenever cargo is started in the other way.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// Builds a program of the tests and tells where it lies.
pub(crate) fn built(name: &str) -> Result<PathBuf> {
    run(&mut cargo(&[
        "build",
        "--locked",
        "--package",
        "ente-tests",
        "--bin",
        name,
    ]))?;
    Ok(std::env::current_exe()?.with_file_name(name))
}

/// The command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let program = program.file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    if word.is_empty() || word.contains(|c: char| c.is_whitespace() || "'\"|&;<>()*?$".contains(c))
    {
        format!("'{word}'")
    } else {
        word.into_owned()
    }
}

/// Shows the command, runs it, fails when it does.
pub(crate) fn run(command: &mut Command) -> Result {
    println!("\n$ {}", line(command));
    let status = command.stdin(Stdio::null()).status()?;
    if status.success() {
        return Ok(());
    }
    Err(format!("`{}` failed ({status})", line(command)).into())
}

/// Builds the long-running drivers of the tests, and what they drive, and runs one of them.
pub(crate) fn driver(name: &str, args: &[String]) -> Result {
    run(&mut cargo(&[
        "build",
        "--locked",
        "--package",
        "ente-tests",
        "--bins",
    ]))?;
    let start = [
        "run",
        "--quiet",
        "--locked",
        "--package",
        "ente-tests",
        "--bin",
        name,
        "--",
    ];
    run(cargo(&start).args(args))
}

/// What the command prints, as text; fails when it does.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    Err(format!("`{}` failed ({})", line(command), output.status).into())
}

/// As [`run`], handing each line of both outputs to `see` as well.
pub(crate) fn run_seen(command: &mut Command, mut see: impl FnMut(&str)) -> Result {
    println!("\n$ {}", line(command));
    let (reader, writer) = std::io::pipe()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()?;
    // Our copies of the writing end would keep the pipe open for ever.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    for line in BufReader::new(reader).lines() {
        let line = line?;
        println!("{line}");
        see(&line);
    }
    let status = child.wait()?;
    if status.success() {
        return Ok(());
    }
    Err(format!("`{}` failed ({status})", line(command)).into())
}
