//! A folder to try the tools in: real processes, joined by pipes, with credentials of their own, and a server to talk to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ente_tests::library::{Account, Library};
use ente_tests::museum::{Museum, Options};

use crate::Result;
use crate::run::{cargo, run};
use crate::workspace::root;

/// The five tools.
pub(crate) const TOOLS: [&str; 5] = [
    "ente-login",
    "ente-pull",
    "ente-decrypt",
    "ente-meta",
    "ente-verify",
];

/// The stand-in server for this account. With a port of 0, any that is free.
pub(crate) fn start(library: Library, port: u16) -> (Museum, Account) {
    let account = library.account().clone();
    let options = Options {
        api_port: port,
        ..Options::default()
    };
    (Museum::start(library, options), account)
}

/// Where tools run.
pub(crate) struct Scene {
    /// The current folder of every command.
    pub(crate) dir: PathBuf,
    /// Where the five tools are.
    pub(crate) bin: PathBuf,
    env: Vec<(&'static str, PathBuf)>,
}

/// How the stages of a pipe ended, and what the last one printed where it was asked for.
pub(crate) struct Outcome {
    line: String,
    codes: Vec<i32>,
    pub(crate) stdout: String,
}

impl Outcome {
    /// Fails unless every stage ended with one of these codes.
    pub(crate) fn expect(&self, codes: &[i32]) -> Result {
        if self.codes.iter().all(|code| codes.contains(code)) {
            return Ok(());
        }
        Err(format!("`{}` ended with {:?}", self.line, self.codes).into())
    }
}

impl Scene {
    /// Builds the five tools and prepares an empty folder for them.
    pub(crate) fn new(dir: &Path, release: bool) -> Result<Self> {
        let mut build = cargo(&["build", "--locked"]);
        for tool in TOOLS {
            build.args(["--package", tool]);
        }
        if release {
            build.arg("--release");
        }
        run(&mut build)?;
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let target = root().join(target.unwrap_or_else(|| "target".into()));
        let bin = target.join(if release { "release" } else { "debug" });
        fs::create_dir_all(dir)?;
        let dir = dir.canonicalize()?;
        let env = vec![("ENTE_CONFIG_DIR", dir.join("config"))];
        Ok(Self { dir, bin, env })
    }

    /// Adds a variable to the environment of every command.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<PathBuf>) {
        self.env.push((name, value.into()));
    }

    /// The lines that make a shell of the user's see what the commands see.
    pub(crate) fn prelude(&self) -> String {
        format!(
            "cd {}\nexport PATH={}:$PATH ENTE_CONFIG_DIR=$PWD/config",
            self.dir.display(),
            self.bin.display()
        )
    }

    /// Signs in to the server; the password lies in a file, as a script would have it.
    pub(crate) fn sign_in(&self, museum: &Museum, account: &Account) -> Result {
        fs::write(self.dir.join("password"), &account.password)?;
        let line = format!(
            "ente-login --endpoint {} --password-file password {}",
            museum.api_url(),
            account.email
        );
        self.need(&line)
    }

    /// As [`Scene::show`]; fails unless every stage ends with 0.
    pub(crate) fn need(&self, line: &str) -> Result {
        self.show(line)?.expect(&[0])
    }

    /// Shows the line as a user types it and runs it. What the last stage prints goes where `> FILE` says, or to our own
    /// standard output.
    pub(crate) fn show(&self, line: &str) -> Result<Outcome> {
        println!("\n$ {line}");
        match line.split_once(" > ") {
            Some((line, file)) => {
                let file = fs::File::create(self.dir.join(file))?;
                self.pipe(line, &self.dir, file.into())
            }
            None => self.pipe(line, &self.dir, Stdio::inherit()),
        }
    }

    /// Runs the line in a folder of the scene without showing it, and hands over what the last stage printed.
    pub(crate) fn capture(&self, line: &str, folder: &str) -> Result<Outcome> {
        self.pipe(line, &self.dir.join(folder), Stdio::piped())
    }

    /// Stages stand between ` | `; words are quoted by `'`. There is nothing else of a shell.
    fn pipe(&self, line: &str, dir: &Path, stdout: Stdio) -> Result<Outcome> {
        let stages = split_words(line);
        let mut children: Vec<Child> = Vec::new();
        let mut input = Stdio::null();
        let mut stdout = Some(stdout);
        for (index, stage) in stages.iter().enumerate() {
            let is_last = index + 1 == stages.len();
            let output = if is_last { stdout.take() } else { None };
            let mut child = self
                .command(stage)
                .current_dir(dir)
                .stdin(input)
                .stdout(output.unwrap_or_else(Stdio::piped))
                .spawn()
                .map_err(|error| format!("cannot start `{}`: {error}", stage[0]))?;
            input = match child.stdout.take_if(|_| !is_last) {
                Some(stdout) => stdout.into(),
                None => Stdio::null(),
            };
            children.push(child);
        }
        let Some(last) = children.pop() else {
            return Err("an empty line".into());
        };
        let last = last.wait_with_output()?;
        let mut codes = Vec::new();
        for mut child in children {
            codes.push(child.wait()?.code().unwrap_or(-1));
        }
        codes.push(last.status.code().unwrap_or(-1));
        let stdout = String::from_utf8(last.stdout)?;
        let line = line.to_owned();
        Ok(Outcome {
            line,
            codes,
            stdout,
        })
    }

    fn command(&self, words: &[String]) -> Command {
        let ours = words[0].starts_with("ente-");
        let mut command = if ours {
            Command::new(self.bin.join(&words[0]))
        } else {
            Command::new(&words[0])
        };
        command.args(&words[1..]);
        for (name, value) in &self.env {
            command.env(name, value);
        }
        command
    }
}

fn split_words(line: &str) -> Vec<Vec<String>> {
    let mut stages = vec![Vec::new()];
    for (index, piece) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            stages
                .last_mut()
                .expect("never empty")
                .push(piece.to_owned());
            continue;
        }
        for word in piece.split_whitespace() {
            if word == "|" {
                stages.push(Vec::new());
            } else {
                stages
                    .last_mut()
                    .expect("never empty")
                    .push(word.to_owned());
            }
        }
    }
    stages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_as_a_shell_splits_it() {
        let stages = split_words("ente-pull --list 'my | dir' | jq -r '.a + \"  \"'");
        assert_eq!(
            stages,
            [
                vec!["ente-pull", "--list", "my | dir"],
                vec!["jq", "-r", ".a + \"  \""]
            ]
        );
    }
}
