//! Photos that are here already: trees of other exporters, a camera's folder, an export whose manifest is lost. None is downloaded again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use ente_tests::harness::{Entry, Machine, Outcome, assert_golden, assert_same, expect_all, tree};
use ente_tests::journal::summed;
use ente_tests::museum::Museum;
use serde_json::{Value, json};

use crate::{expected, golden};

/// A file in an album as another exporter would have found it.
struct Row {
    file: i64,
    album: String,
    title: String,
    /// Extension and content of each part.
    parts: Vec<(String, Vec<u8>)>,
    hash: Option<String>,
}

/// The golden account's files in its albums, with their contents as exported in `machine`, by collection and file ID.
fn rows(machine: &Machine) -> Vec<Row> {
    let outcomes = machine.pipe(&[&["ente-pull", "--list", machine.dir()], &["ente-meta", "-"]]);
    expect_all(&outcomes, 0);
    let listed = &outcomes[1];
    let albums: HashMap<i64, String> = listed
        .records_of("collection")
        .iter()
        .filter_map(|it| Some((it["id"].as_i64()?, it["name"].as_str()?.to_owned())))
        .collect();
    let mut contents: HashMap<i64, Vec<(String, Vec<u8>)>> = HashMap::new();
    let golden: Vec<Value> =
        serde_json::from_slice(&fs::read(expected("1-initial")).unwrap()).unwrap();
    for row in &golden {
        let parts = row["parts"].as_array().unwrap().iter().map(|part| {
            let name = part["name"].as_str().unwrap();
            let bytes = fs::read(
                machine
                    .export
                    .join(row["album"].as_str().unwrap())
                    .join(name),
            )
            .unwrap();
            let extension = name.rfind('.').map_or("", |dot| &name[dot..]);
            (extension.to_owned(), bytes)
        });
        contents.insert(row["fileID"].as_i64().unwrap(), parts.collect());
    }
    let mut rows = Vec::new();
    for file in listed.records_of("file") {
        let id = file["id"].as_i64().unwrap();
        for placement in file["placements"].as_array().unwrap() {
            let collection = placement["collection"].as_i64().unwrap();
            rows.push(Row {
                file: id,
                album: albums[&collection].clone(),
                title: file["metadata"]["title"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
                parts: contents[&id].clone(),
                hash: file["metadata"]["hash"].as_str().map(str::to_owned),
            });
        }
    }
    rows
}

/// Those that nothing but a download brings: old clients left no hash, or that of a live photo's archive.
fn without_hash(rows: &[Row]) -> BTreeSet<i64> {
    let is_bare = |row: &&Row| {
        let hash = row.hash.as_deref().unwrap_or("");
        hash.is_empty() || row.parts.len() == 2 && !hash.contains(':')
    };
    rows.iter().filter(is_bare).map(|row| row.file).collect()
}

fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    assert!(!path.exists(), "{}", path.display());
    fs::write(path, bytes).unwrap();
}

/// As Ente Desktop numbers and cleans names: `(n)` before the extension, each half of a live photo for itself.
fn desktop(root: &Path, rows: &[Row]) {
    let clean = |name: &str| -> String {
        let bad = |c: char| "/?<>\\:*|\"".contains(c) || c.is_control();
        name.chars().map(|c| if bad(c) { '_' } else { c }).collect()
    };
    let split = |name: &str| match name.rfind('.').filter(|dot| *dot > 0) {
        Some(dot) => (name[..dot].to_owned(), name[dot..].to_owned()),
        None => (name.to_owned(), String::new()),
    };
    let mut names = serde_json::Map::new();
    for row in rows {
        let album = root.join(clean(&row.album));
        for (extension, bytes) in &row.parts {
            let title = match row.parts.len() {
                1 => row.title.clone(),
                _ => format!("{}{extension}", split(&row.title).0),
            };
            let (stem, ext) = split(&clean(&title));
            let numbered = (1..).map(|n| format!("{stem}({n}){ext}"));
            let mut free = std::iter::once(format!("{stem}{ext}")).chain(numbered);
            // Names that no file system takes were never exported.
            let name = free
                .find(|name| name.len() > 255 || !album.join(name).exists())
                .unwrap();
            let name = if name.len() > 255 {
                format!("{}.cut", row.file)
            } else {
                name
            };
            let sidecar = json!({"title": name, "photoTakenTime": {"timestamp": "0"}});
            put(
                &album.join("metadata").join(format!("{name}.json")),
                sidecar.to_string().as_bytes(),
            );
            put(&album.join(&name), bytes);
            names.insert(format!("{}_{}_1", row.file, row.album), name.into());
        }
    }
    let status = json!({"version": 5, "stage": 7, "fileExportNames": names});
    put(
        &root.join("export_status.json"),
        status.to_string().as_bytes(),
    );
}

/// As Ente's Go CLI does: `_n` by names in lower case, one sidecar per file in `.meta`.
fn go_cli(root: &Path, rows: &[Row]) {
    let mut taken: BTreeSet<(PathBuf, String)> = BTreeSet::new();
    for row in rows {
        let album = root.join(row.album.replace([':', '/'], "_").trim());
        let title = row.title.rsplit('/').next().unwrap_or_default();
        let stem = title.rfind('.').map_or(title, |dot| &title[..dot]);
        let mut names = Vec::new();
        for (extension, bytes) in &row.parts {
            let numbered = (1..).map(|n| format!("{stem}_{n}{extension}"));
            let mut free = std::iter::once(format!("{stem}{extension}")).chain(numbered);
            let name = free
                .find(|name| taken.insert((album.clone(), name.to_lowercase())))
                .unwrap();
            let name = if name.len() > 255 {
                format!("{}{extension}", row.file)
            } else {
                name
            };
            put(&album.join(&name), bytes);
            names.push(name);
        }
        let meta = album.join(".meta");
        fs::create_dir_all(&meta).unwrap();
        fs::write(
            meta.join("album_meta.json"),
            json!({"albumName": row.album}).to_string(),
        )
        .unwrap();
        let info = json!({"title": row.title, "info": {"id": row.file, "fileNames": names}});
        let _ = fs::write(meta.join(format!("{}.json", row.file)), info.to_string());
    }
}

/// As a camera or a phone does: no albums, other names, and photos that were never uploaded.
fn camera(root: &Path, rows: &[Row]) {
    let mut seen = BTreeSet::new();
    for row in rows.iter().filter(|row| seen.insert(row.file)) {
        for (extension, bytes) in &row.parts {
            put(
                &root.join(format!("DCIM/100ENTE/IMG_{}{extension}", row.file)),
                bytes,
            );
        }
    }
    put(&root.join("DCIM/100ENTE/IMG_9001.JPG"), b"never uploaded");
    put(&root.join("DCIM/101ENTE/IMG_9002.JPG"), b"nor was this one");
}

/// A machine with nothing exported, and the rows of an account that another machine exported.
fn scene() -> (Museum, Machine, Vec<Row>) {
    let (museum, machine) = golden();
    expect_all(&machine.pipeline(), 0);
    let rows = rows(&machine);
    fs::rename(&machine.export, machine.home().join("reference")).unwrap();
    (museum, machine, rows)
}

fn adopt(machine: &Machine, folder: &Path) -> Outcome {
    let outcomes = machine.pipe(&[
        &["ente-pull", "--list", machine.dir()],
        &["ente-meta", "-"],
        &["ente-verify", "--adopt", folder.to_str().unwrap(), "-"],
    ]);
    expect_all(&outcomes, 0);
    outcomes.into_iter().next_back().unwrap()
}

fn begin(machine: &Machine) {
    let _ = machine
        .run(&["ente-pull", "--init", machine.dir()])
        .expect(0);
}

#[test]
fn trees_of_others_are_taken_over_without_a_download_and_stay_as_they_are() {
    let (museum, machine, rows) = scene();
    let bare = without_hash(&rows);
    assert!(!bare.is_empty() && bare.len() < 6, "{bare:?}");
    let outside = machine.home().join("elsewhere");
    for (name, build) in [
        ("Ente Photos", desktop as fn(&Path, &[Row])),
        ("go-cli", go_cli),
        ("camera", camera),
    ] {
        for inside in [false, true] {
            let folder = if inside {
                machine.export.join(name)
            } else {
                outside.join(name)
            };
            build(&folder, &rows);
            let before = tree(&folder);
            begin(&machine);
            let told = adopt(&machine, &folder);
            let counts = &told.records_of("end")[0]["counts"]["ente-verify"];
            assert_eq!(counts["without_hash"], bare.len(), "{name}");
            assert_eq!(counts["adopted"], 27 - bare.len(), "{name}: {counts}");

            museum.reset_log();
            expect_all(&machine.pipeline(), 0);
            assert_eq!(museum.fetched_objects(), bare, "{name}");
            assert_same(&tree(&folder), &before);
            let inode = |path: &Path| fs::metadata(path).unwrap().ino();
            let exported: BTreeSet<u64> = tree(&machine.export)
                .keys()
                .filter(|path| !path.starts_with(name))
                .map(|path| inode(&machine.export.join(path)))
                .collect();
            let shared = before
                .keys()
                .filter(|path| exported.contains(&inode(&folder.join(path))));
            assert_eq!(
                shared.count(),
                0,
                "{name}: what is exported is no link to what is not ours"
            );
            if inside {
                fs::rename(&folder, machine.home().join(format!("was inside {name}"))).unwrap();
            }
            assert_golden(&machine.export, &expected("1-initial"));
            // Nothing is adopted twice, and the next run has nothing to do.
            museum.reset_log();
            expect_all(&machine.steps(), 0);
            assert!(museum.fetched_objects().is_empty());
            fs::remove_dir_all(&machine.export).unwrap();
        }
    }
}

#[test]
fn a_folder_is_told_apart_into_what_is_in_the_account_and_what_is_not() {
    let (_museum, machine, rows) = scene();
    let folder = machine.home().join("card");
    camera(&folder, &rows);
    begin(&machine);
    let told = adopt(&machine, &folder);
    let locals = told.records_of("local");
    let strange: Vec<&str> = locals
        .iter()
        .filter(|it| it["files"] == json!([]))
        .map(|it| it["path"].as_str().unwrap().rsplit('/').next().unwrap())
        .collect();
    let bare = without_hash(&rows);
    assert!(strange.contains(&"IMG_9001.JPG") && strange.contains(&"IMG_9002.JPG"));
    assert!(
        locals.iter().any(|it| it["files"] == json!([101])),
        "{locals:?}"
    );
    let adopted = told.records_of("file");
    for file in &adopted {
        let id = file["id"].as_i64().unwrap();
        let wanted = if bare.contains(&id) {
            &Value::Null
        } else {
            &Value::Bool(true)
        };
        assert_eq!(file.get("adopted").unwrap_or(&Value::Null), wanted, "{id}");
    }
    // What is gone from the folder is withdrawn by the next look.
    let facts = || fs::read_to_string(machine.export.join(".ente/verify.jsonl")).unwrap();
    fs::remove_file(folder.join("DCIM/100ENTE/IMG_102.jpg")).unwrap();
    let lines = facts().lines().count();
    adopt(&machine, &folder);
    let news: Vec<String> = facts().lines().skip(lines).map(str::to_owned).collect();
    assert_eq!(news.len(), 1, "{news:?}");
    assert!(
        news[0].contains("IMG_102.jpg") && news[0].contains("\"gone\":true"),
        "{news:?}"
    );
}

#[test]
fn what_changed_or_vanished_since_is_fetched_and_nothing_else() {
    let (museum, machine, rows) = scene();
    let folder = machine.home().join("card");
    camera(&folder, &rows);
    begin(&machine);
    adopt(&machine, &folder);
    let at = |name: &str| folder.join("DCIM/100ENTE").join(name);
    fs::remove_file(at("IMG_102.jpg")).unwrap();
    // One that only its content betrays.
    let path = at("IMG_104.jpg");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, bytes).unwrap();
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(time)
        .unwrap();

    let mut wanted = without_hash(&rows);
    wanted.insert(102);
    museum.reset_log();
    let outcomes = machine.pipeline();
    assert_eq!(outcomes[0].code, 0);
    assert_eq!(outcomes[1].code, 3, "{}", outcomes[1].stderr);
    let problems = outcomes[3].records_of("problem");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(
        (&problems[0]["class"], &problems[0]["file"]),
        (&json!("damaged"), &json!(104))
    );
    assert_eq!(museum.fetched_objects(), wanted);

    museum.reset_log();
    expect_all(&machine.pipeline(), 0);
    assert_eq!(museum.fetched_objects(), BTreeSet::from([104]));
    assert_golden(&machine.export, &expected("1-initial"));
}

/// A tree without the times of sidecars.
fn undated(files: BTreeMap<String, Entry>) -> BTreeMap<String, Entry> {
    let undate = |(path, mut file): (String, Entry)| {
        if path.ends_with(".json") {
            file.mtime_s = 0;
        }
        (path, file)
    };
    files.into_iter().map(undate).collect()
}

#[test]
fn a_lost_or_damaged_manifest_is_rebuilt_from_the_tree_and_the_account() {
    let (museum, machine) = golden();
    expect_all(&machine.pipeline(), 0);
    let bare = without_hash(&rows(&machine));
    put(&machine.export.join("Vacation 2024/notes.txt"), b"mine");
    put(
        &machine.export.join("my best/copy.jpg"),
        &fs::read(machine.export.join("Family/Grandma's birthday.jpg")).unwrap(),
    );
    let before = undated(tree(&machine.export));
    let inode = |path: &str| fs::metadata(machine.export.join(path)).unwrap().ino();
    let inodes: Vec<u64> = before.keys().map(|path| inode(path)).collect();
    for lost in [true, false] {
        if lost {
            fs::remove_dir_all(machine.export.join(".ente")).unwrap();
        } else {
            let journal = machine.export.join(".ente/decrypt.jsonl");
            let facts = fs::read_to_string(&journal).unwrap();
            fs::write(&journal, facts.replacen("\"fact\"", "\"f", 3)).unwrap();
            let stopped = machine.run(&["ente-pull", machine.dir()]).expect(1);
            assert!(
                stopped.stderr.contains("ente-pull --init"),
                "{}",
                stopped.stderr
            );
        }
        begin(&machine);
        assert_eq!(
            machine.export.join(".ente").read_dir().unwrap().any(|it| {
                it.unwrap()
                    .file_name()
                    .to_str()
                    .unwrap()
                    .starts_with("lost-")
            }),
            !lost
        );
        adopt(&machine, &machine.export);
        museum.reset_log();
        expect_all(&machine.pipeline(), 0);
        assert_eq!(museum.fetched_objects(), bare);
        assert_same(&undated(tree(&machine.export)), &before);
        let after: Vec<u64> = before.keys().map(|path| inode(path)).collect();
        assert_eq!(after, inodes, "not one file was written anew");
        let checked = machine.run(&["ente-verify", machine.dir()]).expect(0);
        let extras: Vec<Value> = checked
            .records_of("finding")
            .iter()
            .map(|it| it["path"].clone())
            .collect();
        assert_eq!(extras, ["Vacation 2024/notes.txt", "my best/copy.jpg"]);
        let whole = machine
            .run(&["ente-pull", "--init", machine.dir()])
            .expect(0);
        assert!(
            tree(&machine.export).len() == before.len(),
            "{}",
            whole.stderr
        );
    }
}

#[test]
fn a_photo_that_was_taken_over_outlasts_an_album_that_cannot_be_had() {
    let (_museum, machine) = golden();
    expect_all(&machine.pipeline(), 0);
    let album = machine.export.join("Family");
    let photo = fs::read(album.join("Grandma's birthday.jpg")).unwrap();
    fs::rename(&album, machine.export.join("Ours")).unwrap();
    fs::remove_dir_all(machine.export.join(".ente")).unwrap();
    begin(&machine);
    adopt(&machine, &machine.export);
    put(&album, b"a list of birthdays");
    let decrypt = ["ente-decrypt", "--on-remove", "delete", "-"];
    let outcomes = machine.pipe(&[&["ente-pull", machine.dir()], &decrypt]);
    assert_eq!(outcomes[1].code, 3, "{outcomes:?}");
    let kept = machine.export.join("Ours/Grandma's birthday.jpg");
    assert_eq!(fs::read(kept).unwrap(), photo);
    fs::remove_file(&album).unwrap();
    expect_all(&machine.pipeline(), 0);
    assert_eq!(
        fs::read(album.join("Grandma's birthday.jpg")).unwrap(),
        photo
    );
}

#[test]
fn what_lies_behind_a_link_by_now_is_fetched() {
    let (museum, machine) = golden();
    expect_all(&machine.pipeline(), 0);
    let (album, ours) = (machine.export.join("Family"), machine.export.join("Ours"));
    fs::rename(&album, &ours).unwrap();
    fs::remove_dir_all(machine.export.join(".ente")).unwrap();
    begin(&machine);
    adopt(&machine, &machine.export);
    let elsewhere = machine.home().join("another disk");
    fs::rename(&ours, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &ours).unwrap();
    let before = tree(&elsewhere);
    museum.reset_log();
    expect_all(&machine.pipeline(), 0);
    assert!(!museum.fetched_objects().is_empty());
    assert!(album.join("Grandma's birthday.jpg").is_file());
    assert_same(&tree(&elsewhere), &before);
}

#[test]
fn a_manifest_that_can_be_read_is_not_set_aside() {
    let (_museum, machine) = golden();
    expect_all(&machine.pipeline(), 0);
    let state = machine.export.join(".ente");
    let names = || -> BTreeSet<_> {
        let entries = fs::read_dir(&state).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    fs::remove_dir_all(state.join("objects")).unwrap();
    std::os::unix::fs::symlink(machine.home(), state.join("objects")).unwrap();
    let before = names();
    let init = ["ente-pull", "--init", machine.dir()];
    let refused = machine.run(&init).expect(1);
    assert!(refused.stderr.contains("is a link"), "{}", refused.stderr);
    assert_eq!(names(), before);
    fs::remove_file(state.join("objects")).unwrap();
    let _ = machine.run(&init).expect(0);
    // What cannot be parsed is.
    fs::write(state.join("export.json"), "{").unwrap();
    let _ = machine.run(&init).expect(0);
    let is_lost = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("lost-");
    assert!(names().iter().any(is_lost));
}

#[test]
fn a_new_manifest_goes_on_as_the_old_one_was_set() {
    let (museum, machine) = golden();
    let pull = ["ente-pull", "--objects", "keep", machine.dir()];
    let decrypt = ["ente-decrypt", "--on-remove", "keep", "-"];
    expect_all(&machine.pipe(&[&pull, &decrypt, &["ente-meta", "-"]]), 0);
    let journal = machine.export.join(".ente/pull.jsonl");
    let facts = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, facts.replacen("\"file\",", "\"fila\",", 1)).unwrap();
    let begun = machine.run(&["ente-pull", "--init", machine.dir()]);
    let begun = begun.expect(0);
    let told = "`ente-decrypt` is to be told again: `--on-remove keep`";
    assert!(begun.stderr.contains(told), "{}", begun.stderr);
    museum.reset_log();
    let pulled = machine.run(&["ente-pull", machine.dir()]).expect(0);
    assert!(museum.fetched_objects().is_empty());
    let counts = &pulled.records_of("end")[0]["counts"]["ente-pull"];
    assert_eq!(counts["fetched"], 0, "{counts}");
    let facts = fs::read_to_string(&journal).unwrap();
    assert!(facts.contains(r#""name":"objects","value":"keep""#));
}

#[test]
fn a_folder_with_photos_is_not_filled_without_a_word() {
    let (_museum, machine) = golden();
    put(&machine.export.join("2024/mine.jpg"), b"mine");
    let pulled = machine.run(&["ente-pull", machine.dir()]).expect(0);
    let way = format!("ente-verify --adopt {} -", machine.dir());
    assert!(pulled.stderr.contains(&way), "{}", pulled.stderr);
    let again = machine.run(&["ente-pull", machine.dir()]).expect(0);
    assert_eq!(again.stderr, "");
    // Without the hashes nothing would match.
    let folder = machine.home().to_str().unwrap();
    let outcomes = machine.pipe(&[
        &["ente-pull", "--list", machine.dir()],
        &["ente-verify", "--adopt", folder, "-"],
    ]);
    assert_eq!(outcomes[1].code, 2, "{outcomes:?}");
    assert!(outcomes[1].stderr.contains("ente-meta -"), "{outcomes:?}");
}

#[test]
fn the_tree_of_another_exporter_becomes_the_export_itself() {
    let (museum, machine, rows) = scene();
    desktop(&machine.export, &rows);
    put(&machine.export.join("diary.txt"), b"mine");
    begin(&machine);
    adopt(&machine, &machine.export);
    // A run that was killed while it renamed: the file goes back before anybody looks.
    let stray = machine.export.join("Vacation 2024/photo2.jpg");
    fs::create_dir_all(machine.export.join(".ente/partial")).unwrap();
    let golden: Vec<Value> =
        serde_json::from_slice(&fs::read(expected("1-initial")).unwrap()).unwrap();
    let version = fs::read_to_string(machine.export.join(".ente/verify.jsonl")).unwrap();
    let version = version
        .lines()
        .find(|line| line.contains("Vacation 2024/photo2.jpg\""))
        .unwrap();
    let version: Value = serde_json::from_str(version).unwrap();
    let version = version["of"][0]["version"].as_str().unwrap().to_owned();
    fs::rename(
        &stray,
        machine
            .export
            .join(format!(".ente/partial/old-999-102-0-{version}")),
    )
    .unwrap();
    museum.reset_log();
    let decrypted = machine.pipe(&[&["ente-pull", machine.dir()], &["ente-decrypt", "-"]]);
    expect_all(&decrypted, 0);
    let mut exported = BTreeSet::new();
    for row in &golden {
        for part in row["parts"].as_array().unwrap() {
            let (album, name) = (
                row["album"].as_str().unwrap(),
                part["name"].as_str().unwrap(),
            );
            let path = format!("{album}/{name}");
            let bytes = fs::read(machine.export.join(&path));
            let bytes = bytes.unwrap_or_else(|error| panic!("{path}: {error}"));
            assert_eq!(
                blake3::hash(&bytes).to_hex().as_str(),
                part["blake3"],
                "{path}"
            );
            exported.insert(path);
        }
    }
    let bare = without_hash(&rows);
    let mut wanted = bare.clone();
    wanted.insert(102);
    assert_eq!(museum.fetched_objects(), wanted);
    // What nobody could recognise, under a name that is not ours, stays the user's.
    let unknown = rows.iter().filter(|row| bare.contains(&row.file));
    let unknown: Vec<&Vec<u8>> = unknown
        .flat_map(|row| row.parts.iter().map(|part| &part.1))
        .collect();
    for (path, file) in tree(&machine.export) {
        let is_known = exported.contains(&path) || path.ends_with(".json") || path == "diary.txt";
        assert!(is_known || unknown.contains(&&file.bytes), "{path}");
    }
    // The other exporter's sidecars are the user's too.
    let told = machine.run(&["ente-meta", machine.dir()]);
    let sidecar = machine.export.join("Family/metadata/favourite.jpg.json");
    assert!(
        fs::read_to_string(sidecar)
            .unwrap()
            .contains("\"timestamp\":\"0\""),
        "{}",
        told.stderr
    );
    assert!(
        told.stderr.contains("left"),
        "{} {}",
        told.code,
        told.stderr
    );
}

#[test]
fn forged_facts_do_not_choose_what_is_exported() {
    let (museum, machine, rows) = scene();
    let folder = machine.home().join("card");
    let evil = b"not what anybody uploaded";
    for in_place in [false, true] {
        camera(&folder, &rows);
        begin(&machine);
        let (path, at) = match in_place {
            true => (
                "Family/Grandma's birthday.jpg".to_owned(),
                machine.export.join("Family/Grandma's birthday.jpg"),
            ),
            false => (
                folder.join("evil").to_str().unwrap().to_owned(),
                folder.join("evil"),
            ),
        };
        put(&at, evil);
        adopt(&machine, &folder);
        let journal = machine.export.join(".ente/verify.jsonl");
        let facts = fs::read_to_string(&journal).unwrap();
        let honest = facts
            .lines()
            .find(|line| line.contains("IMG_104.jpg"))
            .unwrap();
        let mut forged: Value = serde_json::from_str(honest).unwrap();
        forged["path"] = path.into();
        forged["size"] = evil.len().into();
        forged["blake3"] = blake3::hash(evil).to_hex().as_str().into();
        forged["mtime"] = {
            let time = fs::metadata(&at).unwrap();
            json!(time.mtime() * 1_000_000 + time.mtime_nsec() / 1000)
        };
        if in_place {
            // One that has the owner's hash is told by its content alone; this one has its own.
            forged["hash"] = "uoClP5gcTQ1qJ5e2nxL26UwhLxRoWsS3SxK7b9v/otF9h8U5Kqt5LcJS1d5FM8yVGNOKqNvxklq5I4bt1ACZIw==".into();
        }
        let others = facts.lines().filter(|line| !line.contains("IMG_104.jpg"));
        let text: String = others.map(|line| format!("{line}\n")).collect();
        fs::write(&journal, summed(format!("{text}{forged}\n").as_bytes())).unwrap();
        museum.reset_log();
        let _ = machine.pipeline();
        expect_all(
            &[
                machine.run(&["ente-pull", machine.dir()]),
                machine.run(&["ente-decrypt", machine.dir()]),
            ],
            0,
        );
        assert_eq!(fs::read(&at).unwrap(), evil, "it is not ours to move");
        let name = if in_place {
            "Family/Grandma's birthday_1.jpg"
        } else {
            "Family/Grandma's birthday.jpg"
        };
        let row = rows.iter().find(|row| row.file == 104).unwrap();
        assert_eq!(fs::read(machine.export.join(name)).unwrap(), row.parts[0].1);
        assert!(museum.fetched_objects().contains(&104));
        fs::remove_dir_all(&machine.export).unwrap();
        fs::remove_dir_all(&folder).unwrap();
    }
}
