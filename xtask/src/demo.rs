//! `cargo xtask demo`: what the tools do, in a minute, on an account made up for it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ente_tests::library::{
    AlbumView, Content, GenerateOptions, Kind, Library, Live, NewFile, Picture,
};
use ente_tests::museum::Museum;
use serde_json::Value;

use crate::Result;
use crate::scene::{self, Outcome, Scene};
use crate::workspace::root;

/// Where to play.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A folder that is not there yet [default: target/demo, made anew]
    dir: Option<PathBuf>,
}

const PIPE: &str = "ente-pull Ente | ente-decrypt - | ente-meta - | ente-verify -";

/// Plays the demo; what it made stays.
pub(crate) fn run(args: &Args) -> Result {
    let dir = scratch(args.dir.clone())?;
    title("The tools");
    let scene = Scene::new(&dir, true)?;
    title("An account");
    let (museum, account) = scene::start(Library::generate(&GenerateOptions::default()), 0);
    let (files, albums) = museum.with_library(|library| size(library.live()));
    say(&format!(
        "A stand-in for Ente's server runs inside this demo. It holds {files} files in {albums} albums of {}, all encrypted.\n\
         To type along, in another terminal:\n",
        account.email
    ));
    println!("{}", scene.prelude());
    scene.sign_in(&museum, &account)?;

    title("The export");
    say(
        "Four tools, one pipe: fetch, decrypt, describe, prove. Each needs only the secret of its own task.",
    );
    tell(&museum, || scene.show(&format!("{PIPE} > first.jsonl")))?;
    show_tree(&scene.dir.join("Ente"))?;

    title("The same again");
    say("Nothing changed, so nothing is fetched and nothing written.");
    tell(&museum, || scene.show(&format!("{PIPE} > again.jsonl")))?;

    title("The account changes");
    let changes = museum.with_library(|library| change(library.live_mut()));
    for change in changes {
        println!("  - {change}");
    }
    say("\nThe export follows; only new content is fetched.");
    tell(&museum, || scene.show(&format!("{PIPE} > changed.jsonl")))?;
    show_changes(&scene.dir.join("changed.jsonl"))?;

    title("The disk rots");
    let path = damage(&scene.dir)?;
    say(&format!(
        "One bit of `{path}` flips; its size and time stay."
    ));
    let found = scene.show("ente-verify Ente > findings.jsonl")?;
    for finding in records(&scene.dir.join("findings.jsonl"), "finding")? {
        println!(
            "  {}  {}",
            finding["class"].as_str().unwrap_or("?"),
            path_of(&finding["path"])
        );
    }
    found.expect(&[4])?;
    say("\nWhat verify finds heals through the same pipe.");
    tell(&museum, || {
        scene.show("ente-verify Ente | ente-pull --only - Ente | ente-decrypt - | ente-meta - > healed.jsonl")
    })?;
    scene.need("ente-verify Ente > proof.jsonl")?;
    println!("ente-verify found no difference");

    title("Yours");
    say(&format!(
        "The export stays for you to look at:\n\n  {}\n",
        scene.dir.join("Ente").display()
    ));
    say("With an account of your own:\n");
    println!(
        "for tool in login pull decrypt meta verify; do cargo install --locked --path crates/ente-$tool; done"
    );
    println!("ente-login you@example.org");
    println!("{}", PIPE.replace(" Ente ", " ~/Ente "));
    Ok(())
}

fn title(text: &str) {
    println!("\n\n{text}\n{}\n", "=".repeat(text.len()));
}

fn say(text: &str) {
    println!("{text}");
}

/// An empty folder: the one that is named, if nothing is there, or our own, emptied.
fn scratch(named: Option<PathBuf>) -> Result<PathBuf> {
    let dir = match named {
        Some(dir) if dir.exists() => {
            return Err(format!("`{}` is there already; name a new folder", dir.display()).into());
        }
        Some(dir) => std::path::absolute(dir)?,
        None => {
            let dir = root().join("target/demo");
            if dir.exists() {
                fs::remove_dir_all(&dir)?;
            }
            dir
        }
    };
    Ok(dir)
}

/// Files and collections of the account.
fn size(live: &Live) -> (usize, usize) {
    let albums = live.albums();
    let files: BTreeSet<i64> = albums
        .iter()
        .flat_map(|album| &album.files)
        .map(|file| file.id)
        .collect();
    (
        files.len(),
        albums
            .iter()
            .filter(|album| !album.files.is_empty())
            .count(),
    )
}

/// Runs something and tells how long it took and what the server was asked for.
fn tell(museum: &Museum, act: impl FnOnce() -> Result<Outcome>) -> Result {
    museum.reset_log();
    let start = Instant::now();
    let outcome = act()?;
    let files = museum.fetched_objects().len();
    let served = museum
        .requests()
        .into_iter()
        .filter_map(|request| request.served);
    let bytes: u64 = served
        .map(|served| served.range.end - served.range.start)
        .sum();
    println!(
        "{:.1} s; fetched the content of {files} {}, {:.1} MB",
        start.elapsed().as_secs_f64(),
        if files == 1 { "file" } else { "files" },
        bytes as f64 / 1e6
    );
    // Healing starts with a verify that ends with 4, as it should.
    outcome.expect(&[0, 4])
}

/// The first folders of the tree, with their first files.
fn show_tree(export: &Path) -> Result {
    println!();
    let folders = names(export)?;
    for folder in folders.iter().take(3) {
        println!("  {folder}/");
        show_first(&names(&export.join(folder))?, "    ");
        show_first(
            &names(&export.join(folder).join("metadata"))?[..1],
            "      ",
        );
    }
    println!("  … and {} more folders", folders.len().saturating_sub(3));
    Ok(())
}

fn show_first(names: &[String], indent: &str) {
    for name in names.iter().take(3) {
        println!("{indent}{name}");
    }
    if names.len() > 3 {
        println!("{indent}… and {} more", names.len() - 3);
    }
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| name != ".ente");
    names.sort();
    Ok(names)
}

/// One of every common kind of change; tells each in words.
fn change(live: &mut Live) -> Vec<String> {
    let is_plain =
        |album: &AlbumView| album.owned && album.kind == Kind::Album && album.files.len() >= 5;
    let albums: Vec<_> = live.albums().into_iter().filter(is_plain).collect();
    let (from, to, renamed) = (&albums[0], &albums[1], &albums[2]);
    let photos = from
        .files
        .iter()
        .filter(|file| file.file_type == 0 && live.albums_of(file.id).len() == 1);
    let photos: Vec<_> = photos.collect();
    let [captioned, titled, replaced, moved, trashed] = photos[..5] else {
        unreachable!("five are taken");
    };
    live.set_caption(captioned.id, "the one with the lighthouse");
    live.rename(titled.id, "Lighthouse.jpg");
    live.replace(replaced.id, photo(2026));
    live.move_to(moved.id, from.id, to.id);
    live.trash(trashed.id);
    let new_name = format!("{} with friends", renamed.name);
    live.rename_album(renamed.id, &new_name);
    for number in 1..=3 {
        let new = NewFile::new(&format!("New {number}.jpg"), photo(3000 + number));
        live.upload(to.id, new);
    }
    let title =
        |file: &ente_tests::library::FileView| format!("`{}` in `{}`", file.title, from.name);
    vec![
        format!("{} gets a caption", title(captioned)),
        format!("{} is called `Lighthouse.jpg` now", title(titled)),
        format!("{} is replaced by an edited version", title(replaced)),
        format!("{} moves to `{}`", title(moved), to.name),
        format!("{} goes to the trash", title(trashed)),
        format!("the album `{}` is renamed to `{new_name}`", renamed.name),
        format!("three new photos arrive in `{}`", to.name),
    ]
}

fn photo(variant: u64) -> Content {
    Content::Photo(Picture {
        columns: 60,
        rows: 45,
        min_len: 90_000,
        ..Picture::new(variant)
    })
}

/// What the records of a run say that was done.
fn show_changes(path: &Path) -> Result {
    println!();
    let mut only_sidecars = 0;
    for file in records(path, "file")? {
        let is_removed = file["change"][0] == "removed";
        let name = match file["metadata"]["title"].as_str() {
            Some(title) => title.to_owned(),
            None => format!("file {}", file["id"]),
        };
        for placement in file["placements"].as_array().into_iter().flatten() {
            match (placement["did"].as_str(), placement["path"].as_str()) {
                (Some("kept"), Some(path)) => println!("  sidecar   {path}"),
                (Some(did), Some(path)) => println!("  {did:<9} {path}"),
                (Some(did), None) if is_removed => println!("  {did:<9} {name}"),
                // The end of a placement that moved elsewhere.
                (Some(_), None) => {}
                (None, _) => only_sidecars += 1,
            }
        }
    }
    println!("  and {only_sidecars} sidecars that name the album");
    Ok(())
}

fn records(path: &Path, kind: &str) -> Result<Vec<Value>> {
    let mut records = Vec::new();
    for line in fs::read_to_string(path)?.lines() {
        let record: Value = serde_json::from_str(line)?;
        if record["type"] == kind {
            records.push(record);
        }
    }
    Ok(records)
}

fn path_of(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// Turns one bit in the middle of an exported file, as a failing disk does; tells which.
fn damage(dir: &Path) -> Result<String> {
    let files = records(&dir.join("first.jsonl"), "file")?;
    let paths = files
        .iter()
        .map(|file| path_of(&file["placements"][0]["path"]));
    let mut paths =
        paths.filter(|path| path.ends_with(".JPG") && dir.join("Ente").join(path).exists());
    let path = paths.nth(40).ok_or("no photo to damage")?;
    let file = dir.join("Ente").join(path);
    let modified = fs::metadata(&file)?.modified()?;
    let mut bytes = fs::read(&file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes)?;
    fs::File::options()
        .write(true)
        .open(&file)?
        .set_modified(modified)?;
    Ok(path.to_owned())
}
