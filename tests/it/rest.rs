//! Runs with nothing to do: they read the ends of the manifest alone, and change nothing.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use ente_tests::harness::{Machine, Outcome, assert_golden, expect_all};
use ente_tests::journal::{SUM_BYTES, break_under_its_sum};
use ente_tests::library::{BulkOptions, Content, GoldenState, Library, NewFile, Picture};
use ente_tests::museum::{Museum, Options};

use crate::{expected, golden};

const EMAIL: &str = "ada@example.org";
const PASSWORD: &str = "password";
const JOURNALS: [&str; 3] = ["pull", "decrypt", "meta"];

/// An export at rest.
fn resting() -> (Museum, Machine) {
    let (museum, machine) = golden();
    // The first run does everything, the second sees that nothing is left.
    for _ in 0..2 {
        expect_all(&machine.pipeline(), 0);
    }
    museum.reset_log();
    (museum, machine)
}

fn journals(machine: &Machine) -> Vec<Vec<u8>> {
    let paths = JOURNALS.map(|name| machine.export.join(format!(".ente/{name}.jsonl")));
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Runs what exports, without a check, which would read everything.
fn export(machine: &Machine) -> Vec<Outcome> {
    machine.pipe(&[
        &["ente-pull", machine.dir()],
        &["ente-decrypt", "-"],
        &["ente-meta", "-"],
    ])
}

/// Makes the start of each journal unreadable: whoever reads it says so.
fn spoil(machine: &Machine) {
    for (name, mut bytes) in JOURNALS.iter().zip(journals(machine)) {
        let second_line = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        bytes[second_line] = b'?';
        fs::write(machine.export.join(format!(".ente/{name}.jsonl")), bytes).unwrap();
    }
}

#[test]
fn a_run_with_nothing_to_do_reads_ends_alone_and_writes_nothing() {
    let (museum, machine) = resting();
    let before = journals(&machine);
    spoil(&machine);
    let spoilt = journals(&machine);
    expect_all(&export(&machine), 0);
    for tool in ["ente-pull", "ente-decrypt", "ente-meta"] {
        let _ = machine.run(&[tool, machine.dir()]).expect(0);
    }
    assert_eq!(journals(&machine), spoilt);
    assert_eq!(museum.requests().len(), 2, "one call each");
    assert_ne!(before, spoilt);
}

#[test]
fn who_asks_for_more_does_not_rest() {
    let (_museum, machine) = resting();
    spoil(&machine);
    for line in [
        &["ente-pull", "--full"][..],
        &["ente-pull", "--refetch", "101"],
        &["ente-pull", "--objects", "keep"],
        &["ente-pull", "--list"],
        &["ente-decrypt", "--mtime", "now"],
        &["ente-decrypt", "--link", "copy"],
        &["ente-decrypt", "--on-remove", "keep"],
        &["ente-meta", "--sidecars", "beside"],
        &["ente-meta", "--print"],
    ] {
        let outcome = machine.run(&[line, &[machine.dir()]].concat());
        assert_eq!(outcome.code, 1, "{line:?}: {outcome:?}");
    }
}

#[test]
fn what_was_asked_for_before_is_no_news() {
    let (_museum, machine) = golden();
    let stages: [&[&str]; 3] = [
        &["ente-pull", "--objects", "keep", machine.dir()],
        &[
            "ente-decrypt",
            "--mtime",
            "modified",
            "--on-remove",
            "keep",
            "-",
        ],
        &["ente-meta", "--sidecars", "beside", "-"],
    ];
    for _ in 0..2 {
        expect_all(&machine.pipe(&stages), 0);
    }
    spoil(&machine);
    expect_all(&machine.pipe(&stages), 0);
}

#[test]
fn a_check_that_found_nothing_disturbs_nobody_and_one_that_did_does() {
    let (museum, machine) = resting();
    let before = journals(&machine);
    let _ = machine.run(&["ente-verify", machine.dir()]).expect(0);
    expect_all(&machine.pipeline(), 0);
    assert_eq!(journals(&machine), before);
    fs::remove_file(machine.export.join("Family/Grandma's birthday.jpg")).unwrap();
    let _ = machine.run(&["ente-verify", machine.dir()]).expect(4);
    museum.reset_log();
    expect_all(&machine.pipeline(), 0);
    assert_eq!(museum.fetched_objects().len(), 1);
    assert_golden(&machine.export, &expected("1-initial"));
}

#[test]
fn what_was_listed_is_missed_at_once() {
    let (museum, machine) = resting();
    fs::remove_file(machine.export.join(".ente/ciphertext.jsonl")).unwrap();
    expect_all(&machine.pipeline(), 0);
    assert!(machine.export.join(".ente/ciphertext.jsonl").is_file());
    assert!(museum.fetched_objects().is_empty());
}

#[test]
fn a_change_in_the_account_ends_the_rest() {
    let (museum, machine) = resting();
    museum.with_library(|library| library.switch_to(GoldenState::Changed));
    expect_all(&machine.pipeline(), 0);
    assert_golden(&machine.export, &expected("2-changed"));
}

#[test]
fn what_is_spooled_is_looked_at_until_it_is_decrypted() {
    let (museum, machine) = golden();
    for _ in 0..2 {
        let _ = machine.run(&["ente-pull", machine.dir()]).expect(0);
    }
    fs::remove_dir_all(machine.export.join(".ente/objects")).unwrap();
    museum.reset_log();
    let _ = machine.run(&["ente-pull", machine.dir()]).expect(0);
    assert!(!museum.fetched_objects().is_empty());
}

/// Facts about files, by journal.
const OF_FILES: [(&str, &str); 2] = [("pull", "file"), ("decrypt", "placement")];

/// Makes such facts of an album unreadable to whoever parses them, though no sum tells.
fn hide(machine: &Machine, album: i64, facts: &[(&str, &str)]) {
    for (name, kind) in facts {
        let start = format!("{{\"fact\":\"{kind}\",\"collection\":{album},");
        let path = machine.export.join(format!(".ente/{name}.jsonl"));
        let mut bytes = fs::read(&path).unwrap();
        let mut hidden = 0;
        for line in bytes.split_mut(|byte| *byte == b'\n') {
            let text = String::from_utf8_lossy(line);
            if let (true, Some(at)) = (text.starts_with(&start), text.find("\"digest\":\"")) {
                break_under_its_sum(line.split_at_mut(line.len() - SUM_BYTES).0, at + 10);
                hidden += 1;
            }
        }
        assert!(hidden > 0, "{name}");
        fs::write(&path, bytes).unwrap();
    }
}

/// Somebody with three albums of five files, who has signed in.
fn albums() -> (Museum, Machine) {
    let options = BulkOptions {
        albums: 3,
        files: 5,
        bytes: 100,
        shared: false,
    };
    signed_in(Library::bulk(1, EMAIL, PASSWORD, options))
}

fn signed_in(library: Library) -> (Museum, Machine) {
    let museum = Museum::start(library, Options::default());
    let machine = crate::machine();
    let _ = machine.sign_in(museum.api_url(), EMAIL, PASSWORD).expect(0);
    (museum, machine)
}

#[test]
fn the_run_after_a_first_export_does_not_read_all_of_it_again() {
    let (museum, machine) = albums();
    expect_all(&export(&machine), 0);
    let last = museum.with_library(|library| *library.bulk_mut().albums().last().unwrap());
    hide(&machine, last, &OF_FILES[..1]);
    for _ in 0..2 {
        expect_all(&export(&machine), 0);
    }
    museum.reset_log();
    spoil(&machine);
    expect_all(&export(&machine), 0);
    assert_eq!(museum.requests().len(), 1);
}

#[test]
fn what_was_not_decrypted_yet_is_read_again() {
    let (museum, machine) = albums();
    let _ = machine.run(&["ente-pull", machine.dir()]).expect(0);
    let last = museum.with_library(|library| *library.bulk_mut().albums().last().unwrap());
    hide(&machine, last, &OF_FILES[..1]);
    let read = machine.run(&["ente-pull", machine.dir()]);
    assert_eq!(read.code, 1, "{read:?}");
}

fn photo(name: &str, variant: u64) -> NewFile {
    NewFile::new(name, Content::Photo(Picture::new(variant)))
}

#[test]
fn what_lost_its_plaintext_while_other_content_waited_is_fetched_by_the_next_run() {
    let mut library = Library::empty(7, EMAIL, PASSWORD);
    let live = library.live_mut();
    let (first, second) = (live.create_album("First"), live.create_album("Second"));
    let lost = live.upload(first, photo("lost.jpg", 1));
    let (museum, machine) = signed_in(library);
    for _ in 0..2 {
        expect_all(&export(&machine), 0);
    }
    fs::remove_file(machine.export.join("First/lost.jpg")).unwrap();
    museum.with_library(|library| {
        let live = library.live_mut();
        live.add(lost, second);
        live.upload(first, photo("new.jpg", 2));
    });
    // The first finds out, the second fetches.
    for _ in 0..2 {
        expect_all(&export(&machine), 0);
    }
    for path in ["First/lost.jpg", "First/new.jpg", "Second/lost.jpg"] {
        assert!(machine.export.join(path).is_file(), "{path}");
    }
}

/// An export of two files, one of which `ente-verify --adopt` found in a folder elsewhere; `ente-pull` fetched the other alone.
fn half_adopted() -> (Museum, Machine, PathBuf) {
    let mut library = Library::empty(7, EMAIL, PASSWORD);
    let live = library.live_mut();
    let album = live.create_album("Album");
    let old = live.upload(album, photo("old.jpg", 1));
    let bytes = live.content(old);
    live.upload(album, photo("new.jpg", 2));
    let (museum, machine) = signed_in(library);
    let elsewhere = machine.home().join("elsewhere");
    fs::create_dir_all(&elsewhere).unwrap();
    fs::write(elsewhere.join("old.jpg"), bytes).unwrap();
    let folder = elsewhere.to_str().unwrap().to_owned();
    let pull = ["ente-pull", machine.dir()];
    let _ = machine
        .run(&["ente-pull", "--init", machine.dir()])
        .expect(0);
    expect_all(
        &machine.pipe(&[
            &["ente-pull", "--list", machine.dir()],
            &["ente-meta", "-"],
            &["ente-verify", "--adopt", &folder, "-"],
        ]),
        0,
    );
    let _ = machine.run(&pull).expect(0);
    assert_eq!(museum.fetched_objects().len(), 1, "the other is here");
    (museum, machine, elsewhere)
}

#[test]
fn what_was_to_be_copied_from_a_disk_that_is_away_is_copied_once_it_is_back() {
    let (museum, machine, elsewhere) = half_adopted();
    let away = elsewhere.with_extension("away");
    fs::rename(&elsewhere, &away).unwrap();
    let told = machine.run(&["ente-decrypt", machine.dir()]).expect(3);
    assert!(
        told.stdout.contains(r#""class":"missing""#),
        "{}",
        told.stdout
    );
    fs::rename(&away, &elsewhere).unwrap();
    expect_all(&export(&machine), 0);
    for path in ["Album/old.jpg", "Album/new.jpg"] {
        assert!(machine.export.join(path).is_file(), "{path}");
    }
    assert_eq!(museum.fetched_objects().len(), 1);
}

#[test]
fn what_was_to_be_copied_from_elsewhere_and_is_gone_is_fetched_by_the_next_run() {
    let (_museum, machine, elsewhere) = half_adopted();
    fs::remove_dir_all(elsewhere).unwrap();
    let _ = machine.run(&["ente-decrypt", machine.dir()]);
    for _ in 0..2 {
        expect_all(&export(&machine), 0);
    }
    for path in ["Album/old.jpg", "Album/new.jpg"] {
        assert!(machine.export.join(path).is_file(), "{path}");
    }
}

#[test]
fn what_another_run_fetched_while_this_one_decrypts_is_left_to_the_next() {
    let mut library = Library::empty(7, EMAIL, PASSWORD);
    let live = library.live_mut();
    let album = live.create_album("Album");
    live.upload(album, photo("old.jpg", 1));
    let (museum, machine) = signed_in(library);
    let pulled = machine.run(&["ente-pull", machine.dir()]).expect(0).stdout;
    let (files, end) = pulled.split_at(pulled.trim_end().rfind('\n').unwrap() + 1);
    let mut decrypt = machine.command(&["ente-decrypt", "-"]);
    let mut decrypt = decrypt.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = decrypt.stdin.take().unwrap();
    stdin.write_all(files.as_bytes()).unwrap();
    let lines = BufReader::new(decrypt.stdout.take().unwrap()).lines();
    let mut is_written = lines.map(|line| line.unwrap().contains(r#""did":"written""#));
    assert!(is_written.any(|is_written| is_written));
    museum.with_library(|library| library.live_mut().upload(album, photo("new.jpg", 2)));
    let _ = machine.run(&["ente-pull", machine.dir()]).expect(0);
    stdin.write_all(end.as_bytes()).unwrap();
    drop(stdin);
    is_written.for_each(drop);
    assert_eq!(decrypt.wait().unwrap().code(), Some(0));
    museum.reset_log();
    expect_all(&export(&machine), 0);
    assert!(museum.fetched_objects().is_empty());
    assert!(machine.export.join("Album/new.jpg").is_file());
}

#[test]
fn one_change_among_many_files_touches_the_facts_of_its_album_alone() {
    let (museum, machine) = albums();
    for _ in 0..2 {
        expect_all(&machine.pipeline(), 0);
    }
    let last = museum.with_library(|library| *library.bulk_mut().albums().last().unwrap());
    for run in 0..3 {
        // Neither this run nor one that follows a run with news needs the others.
        if run == 1 {
            hide(&machine, last, &OF_FILES);
        }
        museum.with_library(|library| {
            let bulk = library.bulk_mut();
            let first = bulk.files().start;
            bulk.edit_captions([first + run]);
        });
        museum.reset_log();
        let outcomes = export(&machine);
        expect_all(&outcomes, 0);
        assert_eq!(outcomes[2].records_of("file").len(), 1);
        assert!(museum.fetched_objects().is_empty());
    }
    for tool in ["ente-decrypt", "ente-meta"] {
        let _ = machine.run(&[tool, machine.dir()]).expect(0);
    }
    let read = machine.run(&["ente-pull", "--full", machine.dir()]);
    assert_eq!(read.code, 1, "what was hidden can be seen: {read:?}");
}

#[test]
fn what_a_filter_left_out_is_not_forgotten() {
    let (_museum, machine) = golden();
    for line in [
        &["ente-pull"][..],
        &["ente-decrypt"],
        &["ente-meta", "--album", "Family"],
        &["ente-meta"],
        &["ente-verify"],
    ] {
        let _ = machine.run(&[line, &[machine.dir()]].concat()).expect(0);
    }
    assert_golden(&machine.export, &expected("1-initial"));
}

/// A stage that is fed by hand, and each line that it prints.
fn fed(machine: &Machine, line: &[&str]) -> (Child, ChildStdin, Receiver<String>) {
    let mut stage = machine.command(line);
    let mut stage = stage.stdin(Stdio::piped()).spawn().unwrap();
    let stdin = stage.stdin.take().unwrap();
    let lines = BufReader::new(stage.stdout.take().unwrap()).lines();
    let (sender, printed) = channel();
    thread::spawn(move || {
        lines
            .map_while(Result::ok)
            .try_for_each(|it| sender.send(it))
    });
    (stage, stdin, printed)
}

/// The next line of this type that a stage prints; gives it time.
fn next(printed: &Receiver<String>, kind: &str) -> String {
    loop {
        let line = printed.recv_timeout(Duration::from_secs(20));
        let line = line.unwrap_or_else(|error| panic!("no `{kind}`: {error}"));
        if line.contains(&format!(r#""type":"{kind}""#)) {
            return line;
        }
    }
}

const FILE: &str = r#""type":"file""#;
const ROUND: &str = r#"{"v":1,"type":"round"}"#;
const END: &str = r#"{"v":1,"type":"end","counts":{}}"#;

/// An export with two photos, whose captions were edited since; what the stages before `ente-meta` print of that.
fn with_captions_edited() -> (Museum, Machine, Vec<String>) {
    let mut library = Library::empty(7, EMAIL, PASSWORD);
    let live = library.live_mut();
    let album = live.create_album("Album");
    let files = [("a.jpg", 1), ("b.jpg", 2)];
    let files = files.map(|(name, variant)| live.upload(album, photo(name, variant)));
    let (museum, machine) = signed_in(library);
    expect_all(&machine.pipeline(), 0);
    museum.with_library(|library| {
        for file in files {
            library.live_mut().set_caption(file, "new");
        }
    });
    let edited = machine.pipe(&[&["ente-pull", machine.dir()], &["ente-decrypt", "-"]]);
    expect_all(&edited, 0);
    let lines = edited[1].stdout.lines().map(str::to_owned);
    let lines = lines.filter(|line| !line.contains(r#""type":"end""#));
    (museum, machine, lines.collect())
}

#[test]
fn what_is_found_during_a_watch_is_mended_in_its_next_round() {
    let (_museum, machine, lines) = with_captions_edited();
    let (mut meta, mut to_meta, printed) = fed(&machine, &["ente-meta", "-"]);
    writeln!(to_meta, "{}\n{ROUND}", lines.join("\n")).unwrap();
    next(&printed, "round");
    let lost = machine.export.join("Album/metadata/a.jpg.json");
    for _ in 0..2 {
        fs::remove_file(&lost).unwrap();
        let _ = machine.run(&["ente-verify", machine.dir()]).expect(4);
        writeln!(to_meta, "{ROUND}").unwrap();
        next(&printed, "round");
        assert!(lost.is_file());
    }
    writeln!(to_meta, "{END}").unwrap();
    assert_eq!(meta.wait().unwrap().code(), Some(0));
}

#[test]
fn who_waits_for_the_next_round_keeps_nobody_out() {
    let (museum, machine) = golden();
    expect_all(&machine.pipeline(), 0);
    museum.with_library(|library| library.switch_to(GoldenState::Changed));
    let pulled = machine.run(&["ente-pull", machine.dir()]).expect(0).stdout;
    let lines: Vec<&str> = pulled.lines().collect();
    let (end, lines) = lines.split_last().unwrap();
    let (mut decrypt, mut to_decrypt, printed) = fed(&machine, &["ente-decrypt", "-"]);
    writeln!(to_decrypt, "{}\n{ROUND}", lines.join("\n")).unwrap();
    next(&printed, "round");
    let _ = machine.run(&["ente-meta", machine.dir()]).expect(0);
    let _ = machine.run(&["ente-verify", machine.dir()]).expect(0);
    writeln!(to_decrypt, "{end}").unwrap();
    assert_eq!(decrypt.wait().unwrap().code(), Some(0));
    assert_golden(&machine.export, &expected("2-changed"));
    expect_all(&machine.pipeline(), 0);
    spoil(&machine);
    expect_all(&export(&machine), 0);
}

/// The lock of a living run that is not ours: of this test itself.
fn hold(machine: &Machine, name: &str) -> PathBuf {
    let host = std::process::Command::new("uname").arg("-n").output();
    let holder = serde_json::json!({
        "tool": format!("ente-{name}"),
        "pid": std::process::id(),
        "host": String::from_utf8(host.unwrap().stdout).unwrap().trim(),
        "started": null,
        "run": "another",
        "since": 0,
    });
    let path = machine.export.join(format!(".ente/{name}.lock"));
    fs::write(&path, holder.to_string()).unwrap();
    path
}

#[test]
fn a_watch_waits_for_who_came_between_its_rounds() {
    let mut library = Library::empty(7, EMAIL, PASSWORD);
    let live = library.live_mut();
    let album = live.create_album("Album");
    let first = live.upload(album, photo("a.jpg", 1));
    let (museum, machine) = signed_in(library);
    expect_all(&machine.pipeline(), 0);
    let pull = || machine.run(&["ente-pull", machine.dir()]).expect(0).stdout;
    let begin = pull().lines().next().unwrap().to_owned();
    let stages = ["decrypt", "meta", "verify"].map(|name| {
        let (mut stage, mut input, printed) = fed(&machine, &[&format!("ente-{name}"), "-"]);
        let said = BufReader::new(stage.stderr.take().unwrap()).lines();
        writeln!(input, "{begin}\n{ROUND}").unwrap();
        next(&printed, "round");
        (name, stage, input, printed, said)
    });
    museum.with_library(|library| {
        let live = library.live_mut();
        live.set_caption(first, "new");
        live.upload(album, photo("b.jpg", 2));
    });
    let pulled = pull();
    let files: Vec<_> = pulled.lines().filter(|it| it.contains(FILE)).collect();
    assert_eq!(files.len(), 2, "{pulled}");
    for (name, stage, mut input, printed, said) in stages {
        if name == "verify" {
            fs::write(machine.export.join("Album/b.jpg"), "rotten").unwrap();
        }
        let lock = hold(&machine, name);
        writeln!(input, "{}\n{ROUND}", files.join("\n")).unwrap();
        let mut said = said.map_while(Result::ok);
        let waits = said.any(|line| line.contains("waits for it to end"));
        assert!(waits, "`ente-{name}` ended");
        fs::remove_file(&lock).unwrap();
        if name == "verify" {
            assert!(next(&printed, "finding").contains("b.jpg"));
        }
        next(&printed, "round");
        assert!(!lock.exists());
        writeln!(input, "{END}").unwrap();
        let code = if name == "verify" { 4 } else { 0 };
        assert_eq!(stage.wait_with_output().unwrap().status.code(), Some(code));
    }
    let sidecars = machine.export.join("Album/metadata");
    let sidecar = fs::read_to_string(sidecars.join("a.jpg.json")).unwrap();
    assert!(sidecar.contains(r#""caption": "new""#));
    assert!(sidecars.join("b.jpg.json").is_file());
}

#[test]
fn what_changes_while_a_round_waits_is_taken_in() {
    let mut library = Library::empty(7, EMAIL, PASSWORD);
    let live = library.live_mut();
    let album = live.create_album("Album");
    live.upload(album, photo("a.jpg", 1));
    let (museum, machine) = signed_in(library);
    expect_all(&machine.pipeline(), 0);
    let pull = || machine.run(&["ente-pull", machine.dir()]).expect(0).stdout;
    let begin = pull().lines().next().unwrap().to_owned();
    let (mut meta, mut to_meta, printed) = fed(&machine, &["ente-meta", "-"]);
    let said = BufReader::new(meta.stderr.take().unwrap()).lines();
    writeln!(to_meta, "{begin}\n{ROUND}").unwrap();
    next(&printed, "round");
    museum.with_library(|library| {
        library.live_mut().upload(album, photo("b.jpg", 2));
    });
    let _ = pull();
    let _ = machine.run(&["ente-decrypt", machine.dir()]).expect(0);
    let lock = hold(&machine, "meta");
    writeln!(to_meta, "{ROUND}").unwrap();
    let mut said = said.map_while(Result::ok);
    assert!(said.any(|line| line.contains("waits for it to end")));
    // Where its sidecar was to come, there is nothing to come to any more.
    museum.with_library(|library| library.live_mut().rename_album(album, "Renamed"));
    let _ = pull();
    let _ = machine.run(&["ente-decrypt", machine.dir()]).expect(0);
    fs::remove_file(&lock).unwrap();
    next(&printed, "round");
    writeln!(to_meta, "{END}").unwrap();
    assert_eq!(meta.wait().unwrap().code(), Some(0));
    assert!(machine.export.join("Renamed/metadata/b.jpg.json").is_file());
    assert!(!machine.export.join("Album").exists());
    let _ = machine.run(&["ente-verify", machine.dir()]).expect(0);
}

#[test]
fn two_stages_of_one_tool_do_not_wait_for_each_other() {
    let (_museum, machine, lines) = with_captions_edited();
    let files = lines
        .iter()
        .filter(|line| line.contains(r#""type":"file""#));
    let [first, second] = files.collect::<Vec<_>>()[..] else {
        panic!("{lines:?}");
    };
    let filters = ["ente-meta", "--album", "Album", "-"];
    let (mut one, mut to_one, from_one) = fed(&machine, &filters);
    writeln!(to_one, "{}\n{first}", lines[0]).unwrap();
    let begin = next(&from_one, "begin");
    let passed = next(&from_one, "file");
    // The first has its lock now, and goes on for long.
    let (mut two, mut to_two, from_two) = fed(&machine, &["ente-meta", "-"]);
    writeln!(to_two, "{begin}\n{passed}\n{second}").unwrap();
    next(&from_two, "file");
    next(&from_two, "file");
    writeln!(to_two, "{ROUND}").unwrap();
    next(&from_two, "round");
    writeln!(to_one, "{END}").unwrap();
    assert_eq!(one.wait().unwrap().code(), Some(0));
    writeln!(to_two, "{END}").unwrap();
    assert_eq!(two.wait().unwrap().code(), Some(0));
    for name in ["a", "b"] {
        let sidecar = format!("Album/metadata/{name}.jpg.json");
        let sidecar = fs::read_to_string(machine.export.join(sidecar)).unwrap();
        assert!(sidecar.contains(r#""caption": "new""#), "{name}");
    }
    let _ = machine.run(&["ente-verify", machine.dir()]).expect(0);
}
