//! What stands in the files: sizes, links, words, and places that exist on one machine only.

use std::collections::HashSet;
use std::path::Path;

use super::Finding;
use crate::workspace::{Source, root};

/// Lines from which on a file is worth another look, tests not counted.
const MANY_CODE_LINES: usize = 400;
/// The README is one page.
const MAX_README_LINES: usize = 150;

/// Long files.
pub(super) fn size(source: &Source) -> Option<Finding> {
    let is_test = source.is_test();
    let many = match source.path.as_str() {
        "README.md" => MAX_README_LINES,
        path if path.ends_with(".rs") && !is_test => MANY_CODE_LINES,
        _ => return None,
    };
    let lines = source.without_tests().lines().count();
    let what = format!("{lines} lines, more than {many}: look where to split it");
    (lines > many).then(|| Finding {
        // A long file is a place to look; the README is to stay one page.
        is_warning: source.path.ends_with(".rs"),
        ..Finding::new(source, 0, what)
    })
}

/// Links of Markdown files to files that are not there.
pub(super) fn links(source: &Source) -> Vec<Finding> {
    if !source.path.ends_with(".md") {
        return Vec::new();
    }
    let folder = root().join(&source.path);
    let folder = folder.parent().unwrap_or(Path::new("."));
    let mut findings = Vec::new();
    let mut in_code = false;
    for (index, line) in source.text.lines().enumerate() {
        in_code ^= line.trim_start().starts_with("```");
        let targets = line
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|_| !in_code) {
            let file = target.split('#').next().unwrap_or_default();
            let is_elsewhere = file.contains("://") || file.starts_with("mailto:");
            if !file.is_empty() && !is_elsewhere && !folder.join(file).exists() {
                findings.push(Finding::new(
                    source,
                    index + 1,
                    format!("dead link to `{target}`"),
                ));
            }
        }
    }
    findings
}

/// Words that the glossary replaces, with what to say instead.
const WORDS: [(&str, &str); 7] = [
    ("coll", "collection"),
    ("colls", "collections"),
    ("main_key", "master_key"),
    ("asset", "file"),
    ("profile", "account"),
    ("since_time", "cursor"),
    ("backup", "export"),
];

/// Ends of names that tell nothing about the thing named.
const HOLLOW: [&str; 5] = ["manager", "helper", "helpers", "util", "utils"];

/// Names in code that are not the house's.
pub(super) fn words(source: &Source) -> Vec<Finding> {
    if !source.path.ends_with(".rs") || source.path.starts_with("xtask/src/tidy") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let mut names = code
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .peekable();
        while let Some(name) = names.next() {
            if let Some((_, say)) = WORDS.iter().find(|(word, _)| name == *word) {
                findings.push(Finding::new(
                    source,
                    index + 1,
                    format!("say `{say}`, not `{name}`"),
                ));
            }
            let is_declaration = ["mod", "struct", "enum", "trait"].contains(&name);
            let declared = names
                .peek()
                .filter(|_| is_declaration)
                .map(|name| name.to_lowercase());
            if declared.is_some_and(|name| HOLLOW.iter().any(|hollow| name.ends_with(hollow))) {
                findings.push(Finding::new(
                    source,
                    index + 1,
                    "a name that tells what it is, please",
                ));
            }
        }
    }
    findings
}

/// Folders of the machine that something was written on.
pub(super) fn places(source: &Source) -> Vec<Finding> {
    let places = [
        concat!("/ro", "ot/"),
        concat!("/wo", "rk/"),
        concat!("/Us", "ers/"),
    ];
    let mut findings = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        for place in places.iter().filter(|place| line.contains(**place)) {
            findings.push(Finding::new(
                source,
                index + 1,
                format!("`{place}…` exists on one machine only"),
            ));
        }
    }
    findings
}

/// Files in `tests/it` that no `mod` names: nobody runs them.
pub(super) fn forgotten_tests(sources: &[Source]) -> Vec<Finding> {
    let module_of = |source: &Source| {
        let name = source.path.strip_prefix("tests/it/")?.strip_suffix(".rs")?;
        let name = name.strip_suffix("/mod").unwrap_or(name);
        (name != "main").then(|| name.rsplit('/').next().unwrap_or(name).to_owned())
    };
    let tests = || {
        sources
            .iter()
            .filter(|source| source.path.starts_with("tests/it/"))
    };
    tests()
        .filter(|source| {
            module_of(source).is_some_and(|module| {
                let named = format!("mod {module};");
                !tests().any(|test| {
                    test.text
                        .lines()
                        .any(|line| line.trim_end().ends_with(&named))
                })
            })
        })
        .map(|source| Finding::new(source, 0, "no `mod` names this file: its tests never run"))
        .collect()
}

/// Tests that a table of a page names in its last column, `shown by`, and that nobody wrote.
pub(super) fn lost_tests(sources: &[Source]) -> Vec<Finding> {
    let code = sources.iter().filter(|source| source.path.ends_with(".rs"));
    let functions: HashSet<&str> = code
        .flat_map(|source| source.text.split("fn ").skip(1))
        .filter_map(|rest| Some(rest.split_once('(')?.0))
        .collect();
    let is_name = |text: &str| {
        text.contains('_') && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let mut findings = Vec::new();
    for page in sources.iter().filter(|source| source.path.ends_with(".md")) {
        let mut is_shown = false;
        for (index, line) in page.text.lines().enumerate() {
            let cell = line.trim_end_matches('|').rsplit('|').next();
            let cell = cell.unwrap_or_default().trim();
            is_shown = line.starts_with('|') && (is_shown || cell == "shown by");
            let named = cell.split('`').skip(1).step_by(2).filter(|_| is_shown);
            for name in named.filter(|name| is_name(name) && !functions.contains(name)) {
                findings.push(Finding::new(page, index + 1, format!("no test `{name}`")));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_order_is_found() {
        let source = |path: &str, text: &str| Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let code = source(
            "crates/x/src/a.rs",
            "let coll = 1;\nstruct KeyManager;\n// coll\n",
        );
        let lines: Vec<_> = words(&code).iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [1, 2]);
        let page = source(
            "README.md",
            "[a](Cargo.toml) [b](missing.md#part) [c](https://example.org)\n",
        );
        let found: Vec<_> = links(&page).into_iter().map(|found| found.what).collect();
        assert_eq!(found, ["dead link to `missing.md#part`"]);
        let long = source("crates/x/src/b.rs", &"\n".repeat(500));
        assert!(size(&long).is_some_and(|finding| finding.is_warning));
        let tested = format!("\n#[cfg(test)]\nmod tests {{{}}}", "\n".repeat(500));
        assert!(size(&source("crates/x/src/c.rs", &tested)).is_none());
        let it = [
            source("tests/it/main.rs", "mod a;\n"),
            source("tests/it/a.rs", ""),
            source("tests/it/b.rs", ""),
        ];
        let forgotten: Vec<_> = forgotten_tests(&it).into_iter().map(|f| f.path).collect();
        assert_eq!(forgotten, ["tests/it/b.rs"]);
        let table =
            "| # | shown by |\n| - | - |\n| `not_here` | `a_b`, `cargo x`, `c_d` |\n\n`e_f`\n";
        let shown = [
            source("docs/a.md", table),
            source("tests/it/a.rs", "fn a_b() {}\n"),
        ];
        let lost: Vec<_> = lost_tests(&shown).into_iter().map(|f| f.what).collect();
        assert_eq!(lost, ["no test `c_d`"]);
    }
}
