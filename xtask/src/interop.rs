//! `cargo xtask interop`: holds exports against programs that share nothing with the tools.

mod python;
mod recipes;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ente_tests::library::{GenerateOptions, GoldenState, Library};
use ente_tests::museum::Museum;
use serde_json::Value;

use crate::Result;
use crate::scene::{self, Scene};
use crate::workspace::root;

/// Program, what makes it answer, where it comes from.
const NEEDED: [(&str, &str, &str); 7] = [
    ("jq", "--version", "apt-get install jq"),
    ("b3sum", "--version", "apt-get install b3sum"),
    ("exiftool", "-ver", "apt-get install libimage-exiftool-perl"),
    ("parallel", "--version", "apt-get install parallel"),
    ("xargs", "--version", "apt-get install findutils"),
    ("b2sum", "--version", "apt-get install coreutils"),
    ("expect", "-v", "apt-get install expect"),
];

/// A check of what was prepared; tells how much it saw.
type Check = fn(&Stage) -> Result<String>;

const CHECKS: [(&str, Check); 11] = [
    ("b3sum accepts the checksum file", sums),
    ("b3sum accepts the stored objects", objects),
    ("b2sum agrees with the owners' hashes", origin),
    ("jq reads every fact and every record", facts),
    ("parallel works on the paths of records", paths),
    ("xargs works on the titles of records", titles),
    (
        "python reads the export with the password alone",
        python::check,
    ),
    (
        "python opens sealed credentials with the passphrase alone",
        python::credentials,
    ),
    ("expect signs in at a terminal", expect),
    ("exiftool sees the dates and places of the sidecars", exif),
    ("the recipes of the README work as typed", recipes::check),
];

/// Two exports: `golden`, with objects kept and both states gone through, and `made-up`; and the records of their making.
struct Stage {
    scene: Scene,
    python: String,
    /// Serves `golden` as long as checks list it.
    museum: Museum,
    /// Whose `golden` is.
    email: String,
}

impl Stage {
    /// What a line prints that is run in a folder; fails unless every stage of it ends with 0.
    fn ask(&self, line: &str, folder: &str) -> Result<String> {
        let outcome = self.scene.capture(line, folder)?;
        outcome.expect(&[0])?;
        Ok(outcome.stdout)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.scene.dir.join(path)
    }
}

/// Runs all checks; tells first what is missing for them.
pub(crate) fn run() -> Result {
    let python = find_programs()?;
    let scratch = tempfile::tempdir()?;
    let stage = prepare(Scene::new(scratch.path(), false)?, python)?;
    let mut failed = 0;
    println!();
    for (name, check) in CHECKS {
        match check(&stage) {
            Ok(seen) => println!("ok      {name}: {seen}"),
            Err(error) => {
                println!("FAILED  {name}: {error}");
                failed += 1;
            }
        }
    }
    if failed == 0 {
        return Ok(());
    }
    // The exports may tell more than the messages.
    let kept = scratch.keep();
    Err(format!("{failed} foreign checks failed; see {}", kept.display()).into())
}

/// Finds everything that the checks need, or tells what is missing; returns the Python to use (`$PYTHON` or `python3`).
fn find_programs() -> Result<String> {
    let works = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null());
        command.output().is_ok_and(|output| output.status.success())
    };
    let mut missing = String::new();
    for (program, question, source) in NEEDED {
        if !works(program, &[question]) {
            missing += &format!("\n  {program:<10} {source}");
        }
    }
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    if !works(&python, &["-c", "import nacl.bindings"]) {
        missing +=
            &format!("\n  PyNaCl     pip install pynacl, for {python} (or name another as PYTHON)");
    }
    if missing.is_empty() {
        return Ok(python);
    }
    Err(format!("missing, and how to get it:{missing}").into())
}

fn prepare(mut scene: Scene, python: String) -> Result<Stage> {
    scene.set("TZ", "UTC");
    let (museum, account) = scene::start(Library::golden(GoldenState::Initial), 0);
    scene.sign_in(&museum, &account)?;
    let owner = account.email;
    fs::copy(
        scene.dir.join("password"),
        scene.dir.join("golden-password"),
    )?;
    scene.need(
        "ente-pull --objects keep golden | ente-decrypt - | ente-meta - | ente-verify - > 1.jsonl",
    )?;
    museum.with_library(|library| library.switch_to(GoldenState::Changed));
    scene.need("ente-pull golden | ente-decrypt - | ente-meta - | ente-verify - > 2.jsonl")?;
    scene.need("ente-verify golden > 3.jsonl")?;
    let options = GenerateOptions {
        files: 80,
        ..GenerateOptions::default()
    };
    let (made_up, account) = scene::start(Library::generate(&options), 0);
    scene.sign_in(&made_up, &account)?;
    let email = account.email;
    scene.need(&format!(
        "ente-pull --account {email} made-up | ente-decrypt - | ente-meta - > made-up.jsonl"
    ))?;
    Ok(Stage {
        scene,
        python,
        museum,
        email: owner,
    })
}

/// Signs in beside what is saved already, and looks at what that left.
fn expect(stage: &Stage) -> Result<String> {
    let script = root().join("tests/interop/sign_in.exp");
    let path = std::env::var("PATH")?;
    let path = format!("{}:{path}", stage.scene.bin.display());
    let config = format!("env ENTE_CONFIG_DIR=config-of-expect 'PATH={path}'");
    let (server, email) = (stage.museum.api_url(), &stage.email);
    let script = script.display();
    stage.ask(
        &format!("{config} expect -f '{script}' {server} {email} golden-password"),
        "",
    )?;
    let status = stage.ask(&format!("{config} ente-login --status"), "")?;
    match status.contains(email.as_str()) {
        true => Ok(format!("{email} is signed in")),
        false => Err("the account is not saved".into()),
    }
}

fn sums(stage: &Stage) -> Result<String> {
    let sums = stage.ask("ente-verify --sums golden", "")?;
    fs::write(stage.path("sums"), &sums)?;
    stage.ask("b3sum --check --quiet ../sums", "golden")?;
    let files = files_below(&stage.path("golden"))?.len();
    if sums.lines().count() == files {
        return Ok(format!("{files} files"));
    }
    Err(format!("{} sums for {files} files", sums.lines().count()).into())
}

/// What `ente-verify --objects` compares, taken from the facts without it.
fn objects(stage: &Stage) -> Result<String> {
    let last = "[.[] | select(.fact == \"object\")] | group_by([.id, .version]) | map(last) | .[]";
    let path = ".ente/objects/\\(.version[:2])/\\(.id)-\\(.version)";
    let sums = stage.ask(
        &format!("jq -rs '{last} | select(.gone | not) | \"\\(.blake3)  {path}\"' golden/.ente/pull.jsonl"),
        "",
    )?;
    fs::write(stage.path("objects"), &sums)?;
    stage.ask("b3sum --check --quiet ../objects", "golden")?;
    stage.ask("ente-verify --objects golden", "")?;
    match sums.lines().count() {
        0 => Err("there are no objects".into()),
        count => Ok(format!("{count} objects")),
    }
}

/// What `ente-verify --origin` compares: the hashes that records bring, against the files as b2sum sees them.
fn origin(stage: &Stage) -> Result<String> {
    let hash = "select(.type == \"file\") | .metadata as $it | select($it.hash) | select($it.type != \"live-photo\" or ($it.hash | contains(\":\")))";
    let parts = ".placements[0].parts | to_entries[]";
    let wanted = stage.ask(
        &format!("jq -r '{hash} | {parts} | ($it.hash / \":\")[.key] + \"  \" + .value.path' ../made-up.jsonl"),
        "made-up",
    )?;
    let to_base64 = "import sys, base64\nfor line in sys.stdin:\n    digest, path = line.split(None, 1)\n    print(base64.b64encode(bytes.fromhex(digest)).decode() + \"  \" + path, end=\"\")";
    fs::write(stage.path("to_base64.py"), to_base64)?;
    let seen = stage.ask(
        &format!(
            "jq -r '{hash} | {parts} | .value.path' ../made-up.jsonl | xargs -d '\\n' b2sum | {} ../to_base64.py",
            stage.python
        ),
        "made-up",
    )?;
    stage.ask("ente-verify --origin made-up", "")?;
    same(&seen, &wanted)
}

fn facts(stage: &Stage) -> Result<String> {
    let is_fact = "select(.fact // .format)";
    let is_record = "select(.v == 1 and (.type | type) == \"string\")";
    let mut count = 0;
    for (path, filter) in [
        (
            "golden/.ente/export.json",
            "select(.format == 1 and .key_attributes.kekSalt)",
        ),
        ("golden/.ente/ciphertext.jsonl", "select(.entry // .format)"),
        ("golden/.ente/pull.jsonl", is_fact),
        ("golden/.ente/decrypt.jsonl", is_fact),
        ("golden/.ente/meta.jsonl", is_fact),
        ("golden/.ente/verify.jsonl", is_fact),
        ("1.jsonl", is_record),
        ("2.jsonl", is_record),
        ("3.jsonl", is_record),
        ("made-up.jsonl", is_record),
    ] {
        let all = stage.ask(&format!("jq -c . {path}"), "")?.lines().count();
        let right = stage
            .ask(&format!("jq -c '{filter}' {path}"), "")?
            .lines()
            .count();
        if right < all.max(1) {
            return Err(format!("{right} of {all} in {path} are as described").into());
        }
        count += all;
    }
    Ok(format!("{count} lines"))
}

/// The README's recipe: a program for each new file.
fn paths(stage: &Stage) -> Result<String> {
    let parts = "select(.type == \"file\") | .placements[].parts[]?";
    let seen = format!(
        "jq -r '{parts} | .path' ../made-up.jsonl | parallel --will-cite --keep-order b3sum"
    );
    let wanted = format!("jq -r '{parts} | .blake3 + \"  \" + .path' ../made-up.jsonl");
    same(
        &stage.ask(&seen, "made-up")?,
        &stage.ask(&wanted, "made-up")?,
    )
}

fn titles(stage: &Stage) -> Result<String> {
    let list = "ente-pull --list golden | ente-meta - | jq -r 'select(.type == \"file\") | .metadata.title'";
    let seen = stage.ask(&format!("{list} | xargs -d '\\n' -n 1 echo"), "")?;
    same(&seen, &stage.ask(list, "")?)
}

fn same(seen: &str, wanted: &str) -> Result<String> {
    if !seen.is_empty() && seen == wanted {
        return Ok(format!("{} lines", seen.lines().count()));
    }
    let mut pairs = seen.lines().zip(wanted.lines());
    let first = pairs.find(|(seen, wanted)| seen != wanted);
    Err(format!("not what was wanted; (seen, wanted) at the first difference: {first:?}").into())
}

fn exif(stage: &Stage) -> Result<String> {
    let tags = "-DateTimeOriginal -FileModifyDate -GPSLatitude# -GPSLongitude# -Error";
    let media = stage.ask(
        &format!("exiftool -q -json -d %s -r -ext jpg {tags} ."),
        "made-up",
    )?;
    let media: Vec<Value> = serde_json::from_str(&media)?;
    for photo in &media {
        let path = photo["SourceFile"]
            .as_str()
            .ok_or("a photo without a name")?;
        let sidecar = sidecar_of(&stage.path("made-up").join(path))?;
        let taken = &sidecar["photoTakenTime"]["timestamp"];
        let taken = taken.as_str().and_then(|text| text.parse().ok());
        let place = |axis: &str| sidecar["geoData"][axis].as_f64();
        for (tag, wanted, tolerance) in [
            ("DateTimeOriginal", taken, 0.0),
            ("FileModifyDate", taken, 0.0),
            ("GPSLatitude", place("latitude"), 1e-6),
            ("GPSLongitude", place("longitude"), 1e-6),
        ] {
            let seen = photo[tag].as_f64();
            let is_near = seen
                .zip(wanted)
                .is_none_or(|(seen, wanted)| (seen - wanted).abs() <= tolerance);
            if seen.is_some() != wanted.is_some() || !is_near || !photo["Error"].is_null() {
                return Err(format!(
                    "{path}: {tag} {seen:?}, sidecar {wanted:?} ({})",
                    photo["Error"]
                )
                .into());
            }
        }
    }
    if media.is_empty() {
        Err("no photo was seen".into())
    } else {
        Ok(format!("{} photos", media.len()))
    }
}

fn sidecar_of(photo: &Path) -> Result<Value> {
    let name = photo.file_name().unwrap_or_default().to_string_lossy();
    let path = photo
        .with_file_name("metadata")
        .join(format!("{name}.json"));
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}

/// All files below a folder but those of `.ente`, sorted.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if !path.is_dir() {
                files.push(path);
            } else if !path.ends_with(".ente") {
                folders.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
