//! `cargo xtask tidy`: what neither the compiler nor clippy can tell about the workspace.

mod layers;
mod text;

use std::fmt;

use crate::Result;
use crate::workspace::{Source, root, sources};

/// Something out of order.
struct Finding {
    path: String,
    /// From 1; 0 for the whole file.
    line: usize,
    what: String,
    /// Only to be looked at.
    is_warning: bool,
}

impl Finding {
    fn new(source: &Source, line: usize, what: impl Into<String>) -> Self {
        Self {
            path: source.path.clone(),
            line,
            what: what.into(),
            is_warning: false,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_warning { "warning" } else { "error" };
        write!(f, "tidy: {kind}: {}", self.path)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}", self.what)
    }
}

/// Runs all checks.
pub(crate) fn run() -> Result {
    println!("\n$ cargo xtask tidy");
    let sources = sources(&root())?;
    let mut findings = Vec::new();
    for source in &sources {
        findings.extend(text::size(source));
        findings.extend(text::links(source));
        findings.extend(text::words(source));
        findings.extend(text::places(source));
        findings.extend(layers::streams(source));
        findings.extend(layers::purity(source));
    }
    findings.extend(text::forgotten_tests(&sources));
    findings.extend(text::lost_tests(&sources));
    findings.extend(layers::dependencies()?);
    for finding in &findings {
        println!("{finding}");
    }
    let errors = findings
        .iter()
        .filter(|finding| !finding.is_warning)
        .count();
    if errors > 0 {
        return Err(format!("tidy found {errors} things to put in order").into());
    }
    println!("{} files are in order", sources.len());
    Ok(())
}
