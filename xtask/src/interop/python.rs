//! The scripts that know the pages only: that what they read is what the tools have, is found here.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{Stage, files_below};
use crate::Result;
use crate::workspace::root;

/// Compares what the script writes with the tree, and the titles that it lists with those of `ente-meta`.
pub(super) fn check(stage: &Stage) -> Result<String> {
    let script = root().join("tests/interop/read_export.py");
    let script = format!(
        "'{}' '{}' --password-file golden-password",
        stage.python,
        script.display()
    );
    stage.ask(&format!("{script} golden plain"), "")?;
    let mut wanted = 0;
    for (folder, placement) in placements(&stage.path("golden/.ente/decrypt.jsonl"))? {
        let plain = format!("plain/{}/{}", placement["collection"], placement["file"]);
        let plain = files_below(&stage.path(&plain))?;
        let parts = placement["parts"]
            .as_array()
            .ok_or("a placement without parts")?;
        if plain.len() != parts.len() {
            return Err(format!("{} files for {placement}", plain.len()).into());
        }
        // `image.…` sorts before `video.…`, as the still comes before the video in `parts`.
        for (plain, part) in plain.iter().zip(parts) {
            let name = part["name"].as_str().ok_or("a part without a name")?;
            let exported = stage.path("golden").join(&folder).join(name);
            if fs::read(plain)? != fs::read(&exported)? {
                return Err(
                    format!("{} differs from {}", exported.display(), plain.display()).into(),
                );
            }
        }
        wanted += parts.len();
    }
    let written = files_below(&stage.path("plain"))?.len();
    if written == 0 || written != wanted {
        return Err(format!("{written} files written, {wanted} in the tree").into());
    }
    let listed = titles(&stage.ask(&format!("{script} --list golden"), "")?)?;
    let known = stage.ask("ente-pull --list golden | ente-meta -", "")?;
    let known = stage_titles(&known)?;
    if listed != known {
        return Err("the titles differ from those of ente-meta".into());
    }
    Ok(format!("{written} files, {} titles", listed.len()))
}

/// Compares the secrets that the script finds in sealed files with those of plain ones.
pub(super) fn credentials(stage: &Stage) -> Result<String> {
    fs::write(stage.path("passphrase"), "red wax, naïve\n")?;
    let script = root().join("tests/interop/read_keystore.py");
    let script = format!(
        "'{}' '{}' --passphrase-file passphrase",
        stage.python,
        script.display()
    );
    let mut count = 0;
    for half in ["--export-token -", "--export-keys -"] {
        let plain = stage.ask(&format!("ente-login {half} --seal none"), "")?;
        let plain: Value = serde_json::from_str(&plain)?;
        let sealed = "--seal passphrase --passphrase-file passphrase";
        let opened = stage.ask(&format!("ente-login {half} {sealed} | {script}"), "")?;
        let opened: serde_json::Map<String, Value> = serde_json::from_str(&opened)?;
        for (name, secret) in &opened {
            if plain[name] != *secret {
                return Err(format!("`{name}` is another one").into());
            }
        }
        count += opened.len();
    }
    match count {
        4 => Ok("a token and three keys".to_owned()),
        _ => Err(format!("{count} secrets").into()),
    }
}

type Titles = BTreeMap<(Option<i64>, Option<i64>), Value>;

fn titles(lines: &str) -> Result<Titles> {
    let mut titles = Titles::new();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line)?;
        titles.insert(
            (line["collection"].as_i64(), line["file"].as_i64()),
            line["title"].clone(),
        );
    }
    Ok(titles)
}

fn stage_titles(records: &str) -> Result<Titles> {
    let mut titles = Titles::new();
    for line in records.lines() {
        let record: Value = serde_json::from_str(line)?;
        for placement in record["placements"].as_array().into_iter().flatten() {
            let key = (placement["collection"].as_i64(), record["id"].as_i64());
            titles.insert(key, record["metadata"]["title"].clone());
        }
    }
    Ok(titles)
}

/// Live placements that are on disk, each with the name of its folder: the last fact about a thing wins.
fn placements(journal: &Path) -> Result<Vec<(String, Value)>> {
    let mut folders = BTreeMap::new();
    let mut placements = BTreeMap::new();
    for line in fs::read_to_string(journal)?.lines() {
        let fact: Value = serde_json::from_str(line)?;
        let collection = fact["collection"].as_i64();
        if fact["fact"] == "folder" {
            folders.insert(collection, fact["name"].as_str().map(str::to_owned));
        } else if fact["fact"] == "placement" {
            placements.insert((collection, fact["file"].as_i64()), fact);
        }
    }
    placements.retain(|_, fact| fact["parts"].is_array());
    let with_folder = placements.into_iter().map(|((collection, _), fact)| {
        let folder = folders.get(&collection).cloned().flatten();
        Ok((folder.ok_or("a placement without a folder")?, fact))
    });
    with_folder.collect()
}
