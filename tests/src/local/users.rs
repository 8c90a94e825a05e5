//! Permissions, as they are for somebody who is not root.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::bench::{Bench, STEPS, shell, told, wait};
use super::{Case, Context, Need, Verdict};
use crate::harness::Outcome;

/// The numbers of nobody and its group, on every Linux.
const NOBODY: &str = "65534";

const NEEDS: &[Need] = &[Need::Root, Need::Program("setpriv", "util-linux")];

pub(super) const CASES: &[Case] = &[
    Case {
        name: "permissions: nothing may be made where the export is to be",
        needs: NEEDS,
        run: no_place,
    },
    Case {
        name: "permissions: the export is somebody else's",
        needs: NEEDS,
        run: somebody_elses,
    },
    Case {
        name: "permissions: an album may not be written",
        needs: NEEDS,
        run: |context| album(context, 0o555),
    },
    Case {
        name: "permissions: an album may not even be read",
        needs: NEEDS,
        run: |context| album(context, 0o000),
    },
];

/// A bench whose tools run as nobody.
struct Other {
    bench: Bench,
    tool: PathBuf,
}

impl Other {
    fn new(context: &Context) -> Result<Self, String> {
        let bench = Bench::new(&context.tool);
        // A place that everybody can reach.
        let home = bench.machine.home().to_owned();
        let tool = home.join("ente-tool");
        fs::copy(&context.tool, &tool).map_err(|error| error.to_string())?;
        chmod(&home, 0o755)?;
        give(&bench.machine.config())?;
        Ok(Self { bench, tool })
    }

    fn run(&self, tool: &str, export: &Path) -> Result<Outcome, String> {
        let as_root = self.bench.machine.command(&[]);
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
            .arg(&self.tool)
            .args([tool, &export.to_string_lossy()])
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .current_dir(self.bench.machine.home())
            .env_clear();
        for (name, value) in as_root.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        wait(command, tool)
    }

    /// Runs a tool that must end with this code, and say why.
    fn expect(&self, tool: &str, export: &Path, code: i32) -> Result<(), String> {
        let outcome = self.run(tool, export)?;
        let told = told(&outcome);
        if outcome.code != code {
            return Err(format!("`{tool}` ended with {}:\n{told}", outcome.code));
        }
        match told.contains("Permission denied") && told.contains("hint") {
            true => Ok(()),
            false => Err(format!("`{tool}` says too little:\n{told}")),
        }
    }
}

fn chmod(path: &Path, mode: u32) -> Result<(), String> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|error| error.to_string())
}

/// Makes everything below a path nobody's.
fn give(path: &Path) -> Result<(), String> {
    shell(&format!("chown -R {NOBODY}:{NOBODY} {}", path.display()))
}

fn no_place(context: &Context) -> Verdict {
    let mut other = Other::new(context)?;
    let export = other.bench.machine.export.clone();
    other.expect("ente-pull", &export, 15)?;
    if export.exists() {
        return Err("something was made".into());
    }
    fs::create_dir(&export).map_err(|error| error.to_string())?;
    other.expect("ente-pull", &export, 15)?;
    give(&export)?;
    let outcome = other.run("ente-pull", &export)?;
    if outcome.code != 0 {
        return Err(told(&outcome));
    }
    other.bench.heals(&export)?;
    Ok("exit code 15".into())
}

fn somebody_elses(context: &Context) -> Verdict {
    let mut other = Other::new(context)?;
    let export = other.bench.machine.export.clone();
    other.bench.heals(&export)?;
    other.bench.change();
    for tool in STEPS {
        other.expect(tool, &export, 15)?;
    }
    // All can be read, nothing can be written.
    shell(&format!("chmod -R a+rX {}", export.display()))?;
    other.expect("ente-pull", &export, 15)?;
    other.bench.heals(&export)?;
    Ok("exit code 15".into())
}

fn album(context: &Context, mode: u32) -> Verdict {
    let mut other = Other::new(context)?;
    let export = other.bench.machine.export.clone();
    other.bench.heals(&export)?;
    other.bench.add_mine(&export);
    other.bench.change();
    let before = crate::harness::tree(&export.join("Trip"));
    give(&export)?;
    chmod(&export.join("Trip"), mode)?;
    let outcome = other.run("ente-pull", &export)?;
    if outcome.code != 0 {
        return Err(told(&outcome));
    }
    other.expect("ente-decrypt", &export, 3)?;
    let later = other.run("ente-meta", &export)?;
    if ![0, 3].contains(&later.code) {
        return Err(format!(
            "`ente-meta` ended with {}:\n{}",
            later.code,
            told(&later)
        ));
    }
    if mode == 0 {
        let checked = other.run("ente-verify", &export)?;
        if ![3, 4].contains(&checked.code) {
            return Err(format!("`ente-verify` ended with {}", checked.code));
        }
    }
    // As before, so far as it could not be written.
    let after = crate::harness::tree(&export.join("Trip"));
    if before.keys().any(|path| !after.contains_key(path)) {
        return Err("something is gone from the album".into());
    }
    chmod(&export.join("Trip"), 0o755)?;
    other.bench.heals(&export)?;
    Ok("the album stays as it was, a problem tells so (3), all others are exported".into())
}
