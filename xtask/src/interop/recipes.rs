//! The README's recipes, run as typed: each block of shell in a home of its own, with stand-ins for what belongs to
//! other machines (`ssh`, `rsync` and `mail`).

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use ente_tests::library::{Content, GenerateOptions, Library, NewFile, Picture};
use ente_tests::museum::Museum;

use super::{Stage, files_below};
use crate::Result;
use crate::scene::{self, TOOLS};
use crate::workspace::root;

/// Where the README's first line for a real account stands; what comes before builds and installs the tools.
const START: &str = "## Export your library";

/// What runs the blocks under a title and looks at what came of it.
type Recipe = fn(&Home, &[String]) -> Result;

/// By the first words of the title.
const RECIPES: [(&str, Recipe); 10] = [
    ("Export your library", export),
    ("Every night, from cron", cron),
    ("An encrypted mirror", mirror),
    ("Only one album", album),
    ("Captions with jq", captions),
    ("Run a program on each new file", each_new_file),
    ("Heal what was damaged", heal),
    ("Photos that are here already", adopt),
    ("For a monitor:", monitor),
    ("Check it without these tools", sums),
];

/// Programs that stand for the user's password and for other machines. `$BOX` is the home on the other one.
const STAND_INS: [(&str, &str); 4] = [
    (
        "ente-login",
        r#"exec "$TOOLS/ente-login" --password-file "$HOME/password" "$@""#,
    ),
    ("ssh", r#"shift; cd "$BOX" && HOME="$BOX" exec sh -c "$*""#),
    (
        "rsync",
        r#"mkdir -p "$3" && exec cp -a "$BOX/${2#box:}." "$3""#,
    ),
    ("mail", r#"exec cat > "$HOME/mail""#),
];

/// Runs every recipe; fails for one that nobody runs.
pub(super) fn check(stage: &Stage) -> Result<String> {
    let mut count = 0;
    for (title, blocks) in read(&fs::read_to_string(root().join("README.md"))?) {
        let (_, recipe) = RECIPES
            .iter()
            .find(|(words, _)| title.starts_with(words))
            .ok_or_else(|| format!("nobody runs the recipe `{title}`"))?;
        let home = Home::new(stage.path(&format!("recipe-{count}")), &stage.scene.bin)?;
        recipe(&home, &blocks).map_err(|error| format!("{title}: {error}"))?;
        count += 1;
    }
    if count < RECIPES.len() {
        return Err(format!("{} recipes are not in the README", RECIPES.len() - count).into());
    }
    Ok(format!("{count} recipes"))
}

/// Titles, in bold or as headings, and the blocks of shell under each.
fn read(readme: &str) -> Vec<(String, Vec<String>)> {
    let mut recipes: Vec<(String, Vec<String>)> = Vec::new();
    let mut block: Option<String> = None;
    for line in readme.lines().skip_while(|line| *line != START) {
        let title = line
            .strip_prefix("## ")
            .or_else(|| line.strip_prefix("**")?.split("**").next());
        match (&mut block, line) {
            (Some(text), "```") => {
                let text = std::mem::take(text);
                recipes.last_mut().expect("it starts with one").1.push(text);
                block = None;
            }
            (Some(text), line) => *text += &format!("{line}\n"),
            (None, "```sh") => block = Some(String::new()),
            (None, _) => recipes.extend(title.map(|title| (title.to_owned(), Vec::new()))),
        }
    }
    recipes.retain(|(_, blocks)| !blocks.is_empty());
    recipes
}

/// A user's home, with the tools where `cargo install` puts them, and a server that holds the user's account.
struct Home {
    dir: PathBuf,
    tools: PathBuf,
    museum: Museum,
}

impl Home {
    fn new(dir: PathBuf, tools: &Path) -> Result<Self> {
        let (museum, account) = scene::start(
            Library::generate(&GenerateOptions {
                files: 40,
                ..GenerateOptions::default()
            }),
            0,
        );
        museum.with_library(|library| {
            let live = library.live_mut();
            let album = live.create_album("Vacation 2024");
            live.upload(album, NewFile::new("photo1.jpg", photo(901)));
        });
        let bin = dir.join(".cargo/bin");
        fs::create_dir_all(&bin)?;
        fs::create_dir_all(dir.join("box"))?;
        fs::write(dir.join("password"), &account.password)?;
        for tool in &TOOLS[1..] {
            symlink(tools.join(tool), bin.join(tool))?;
        }
        for (name, body) in STAND_INS {
            let path = bin.join(name);
            fs::write(&path, format!("#!/bin/sh\n{body}\n"))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        let tools = tools.to_path_buf();
        Ok(Self { dir, tools, museum })
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    /// Runs lines in a folder of the home; returns the exit code and all that was printed.
    fn run(&self, lines: &str, folder: &str) -> Result<(i32, String)> {
        let bin = self.path(".cargo/bin");
        let output = Command::new("sh")
            .args(["-c", &format!("set -e\n{lines}")])
            .current_dir(self.path(folder))
            .env_clear()
            .env("HOME", &self.dir)
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .env("LC_ALL", "C.UTF-8")
            .env("TOOLS", &self.tools)
            .env("BOX", self.path("box"))
            .env("ENTE_ENDPOINT", self.museum.api_url())
            .output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said)?;
        Ok((output.status.code().unwrap_or(-1), said))
    }

    /// As [`Self::run`]; fails unless it ends with 0.
    fn need(&self, lines: &str, folder: &str) -> Result<String> {
        let (code, said) = self.run(lines, folder)?;
        if code == 0 {
            return Ok(said);
        }
        Err(format!("exit code {code} of\n{lines}\n{said}").into())
    }

    /// A first export, by the README's own lines.
    fn exported(&self) -> Result {
        self.need("ente-login ada@example.org\nente-pull ~/Ente | ente-decrypt - | ente-meta --records never -", "")?;
        Ok(())
    }

    fn damage(&self) -> Result {
        fs::remove_file(self.path("Ente/Vacation 2024/photo1.jpg"))?;
        Ok(())
    }
}

fn photo(variant: u64) -> Content {
    Content::Photo(Picture::new(variant))
}

fn wanted(is_so: bool, what: &str) -> Result {
    if is_so { Ok(()) } else { Err(what.into()) }
}

fn export(home: &Home, blocks: &[String]) -> Result {
    home.need(&blocks[0], "")?;
    let photo = home.path("Ente/Vacation 2024/photo1.jpg").exists();
    let sidecar = home.path("Ente/Vacation 2024/metadata/photo1.jpg.json");
    wanted(photo && sidecar.exists(), "the tree is not as shown")
}

fn cron(home: &Home, blocks: &[String]) -> Result {
    home.need("ente-login ada@example.org", "")?;
    let (table, mailing) = (&blocks[0], &blocks[1]);
    let jobs: Vec<&str> = table
        .lines()
        .filter_map(|line| line.split_once("* * *").map(|(_, command)| command))
        .collect();
    let path = table.lines().find(|line| line.starts_with("PATH="));
    let path = path.ok_or("the table sets no PATH")?;
    let path = path.replace("/home/ada", &home.dir.to_string_lossy());
    wanted(jobs.len() == 2, "there are not two jobs")?;
    for job in jobs {
        let said = home.need(&format!("{path}\n{job}"), "")?;
        wanted(said.is_empty(), &format!("`{job}` is not silent: {said}"))?;
    }
    let share = blocks[2].trim().split_once("* * *");
    let (_, share) = share.ok_or("no share of the export is read a night")?;
    // cron takes the backslashes away.
    let said = home.need(&share.replace("\\%", "%"), "")?;
    wanted(said.is_empty(), &format!("`{share}` is not silent: {said}"))?;
    let mail = home.path("mail");
    home.need(mailing, "")?;
    wanted(!mail.exists(), "a mail although all is well")?;
    home.damage()?;
    home.need(mailing, "")?;
    let mail = fs::read_to_string(mail)?;
    wanted(
        mail.contains("1 missing"),
        &format!("the mail says {mail:?}"),
    )
}

fn mirror(home: &Home, blocks: &[String]) -> Result {
    home.need("ente-login ada@example.org", "")?;
    home.need(&blocks[0], "")?;
    let on_box = files_below(&home.path("box"))?;
    wanted(
        on_box.iter().any(|path| path.ends_with("token")),
        "the box has no token",
    )?;
    wanted(
        !on_box.iter().any(|path| path.ends_with("keys")),
        "the box has keys",
    )?;
    // The server knows nobody any more and what was saved is gone: only the password is left.
    fs::remove_dir_all(home.path(".config"))?;
    home.museum.revoke_tokens();
    home.need(&blocks[1], "")?;
    home.need("ente-verify ~/Ente", "")?;
    wanted(
        home.path("Ente/Vacation 2024/photo1.jpg").exists(),
        "the mirror did not become an export",
    )
}

fn album(home: &Home, blocks: &[String]) -> Result {
    home.need("ente-login ada@example.org", "")?;
    home.need(&blocks[0], "")?;
    let files = files_below(&home.path("Ente"))?;
    let wanted_files = [
        "Ente/Vacation 2024/metadata/photo1.jpg.json",
        "Ente/Vacation 2024/photo1.jpg",
    ];
    wanted(
        files == wanted_files.map(|path| home.path(path)),
        &format!("the tree holds {files:?}"),
    )
}

fn captions(home: &Home, blocks: &[String]) -> Result {
    home.exported()?;
    let lines = home.need(&blocks[0], "")?;
    wanted(
        lines.contains("\tthe whole family\n"),
        &format!("no caption in {lines:?}"),
    )
}

fn each_new_file(home: &Home, blocks: &[String]) -> Result {
    home.exported()?;
    fs::create_dir(home.path("incoming"))?;
    home.museum.with_library(|library| {
        let live = library.live_mut();
        let album = live.create_album("New");
        live.upload(album, NewFile::new("it's new.jpg", photo(902)));
    });
    home.need(&blocks[0], "Ente")?;
    let files = files_below(&home.path("incoming"))?;
    wanted(
        files == [home.path("incoming/New/it's new.jpg")],
        &format!("the program saw {files:?}"),
    )
}

fn heal(home: &Home, blocks: &[String]) -> Result {
    home.exported()?;
    home.damage()?;
    home.need(&blocks[0], "")?;
    home.need("ente-verify ~/Ente", "")?;
    Ok(())
}

fn adopt(home: &Home, blocks: &[String]) -> Result {
    home.exported()?;
    // Everything lies somewhere else by now, without its manifest.
    fs::rename(home.path("Ente"), home.path("Pictures"))?;
    fs::remove_dir_all(home.path("Pictures/.ente"))?;
    home.museum.reset_log();
    home.need(&blocks[0], "")?;
    wanted(
        home.museum.fetched_objects().is_empty(),
        "something was downloaded",
    )?;
    fs::remove_dir_all(home.path("Ente/.ente"))?;
    home.need(&blocks[0].replace("~/Pictures", "~/Ente"), "")?;
    wanted(
        home.museum.fetched_objects().is_empty(),
        "the manifest was not rebuilt from the tree",
    )?;
    home.need("ente-verify --records never ~/Ente", "")?;
    Ok(())
}

fn monitor(home: &Home, blocks: &[String]) -> Result {
    home.exported()?;
    let said = home.need(&blocks[0], "")?;
    wanted(
        said.contains(" 0 findings, 0 problems"),
        &format!("all is well, and it says {said:?}"),
    )?;
    home.damage()?;
    let (code, said) = home.run(&blocks[0], "")?;
    let report = fs::read_to_string(home.path("report.jsonl"))?;
    wanted(
        code == 4 && said.contains(" 1 findings"),
        &format!("exit code {code}: {said:?}"),
    )?;
    wanted(
        report.contains("photo1.jpg"),
        "the report does not name the file",
    )
}

fn sums(home: &Home, blocks: &[String]) -> Result {
    home.exported()?;
    home.need(&blocks[0], "")?;
    home.damage()?;
    let (code, _) = home.run(
        &blocks[0].replace("ente-verify --sums ~/Ente > ente.b3 && ", ""),
        "",
    )?;
    wanted(code != 0, "b3sum sees no difference")
}
