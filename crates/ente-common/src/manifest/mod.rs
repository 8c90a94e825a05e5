//! What an export holds: `.ente/` as `docs/formats/manifest.md` defines it.
//!
//! [`facts`] are the lines, [`journal`] reads and appends them, [`state`] folds them to what holds now, [`lock`] keeps writers apart.

mod account;
pub mod adoption;
pub mod ciphertext;
mod claim;
mod compact;
pub mod facts;
pub mod focus;
pub mod follow;
mod hash;
pub mod journal;
pub mod lock;
pub mod parked;
pub mod rest;
pub mod setting;
pub mod state;
mod sum;
mod waiting;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use account::{Account, PRODUCTION};
pub use claim::{Claim, Claimed};
pub use focus::{Focus, News};
pub use hash::Digest;
pub use journal::{FORMAT, Journal, JournalError};
pub use lock::{Lock, LockError};
pub use parked::Parked;
pub use rest::Rest;
pub use state::{ContentKey, PartKey, PlacementKey, State};
pub use waiting::Waiting;

use crate::disk;
use crate::exit::{Exit, Failure, chain};
use crate::layout::STATE_DIR;
use crate::ui::shell_word;
use crate::wire::KeyAttributes;

/// `export.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Format of the manifest.
    pub format: u32,
    /// Whose export it is.
    pub account: Account,
    /// Key attributes as served: ciphertext that the password opens.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub key_attributes: Value,
}

/// What `export.json` says in every format.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

/// An export directory that is there and of a format that we know.
#[derive(Clone, Debug)]
pub struct Export {
    dir: PathBuf,
    about: About,
}

impl Export {
    /// Whether there is an export at `dir`.
    ///
    /// # Errors
    /// When that cannot be told: nobody may then take it for a new one.
    pub fn is_at(dir: &Path) -> Result<bool, Failure> {
        let path = dir.join(STATE_DIR).join("export.json");
        path.try_exists()
            .map_err(|error| Failure::disk(format!("cannot look at `{}`", path.display()), &error))
    }

    /// Whether there is an export at `dir` whose `export.json` can be parsed, or is of a newer format. Why it cannot be opened, if so, is another
    /// matter.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn is_whole_at(dir: &Path) -> Result<bool, Failure> {
        if !Self::is_at(dir)? {
            return Ok(false);
        }
        let path = dir.join(STATE_DIR).join("export.json");
        let bytes = fs::read(&path)
            .map_err(|error| Failure::disk(format!("cannot read `{}`", path.display()), &error))?;
        let head = serde_json::from_slice::<Head>(&bytes);
        Ok(head.is_ok_and(|head| head.format > FORMAT)
            || serde_json::from_slice::<About>(&bytes).is_ok())
    }

    /// Opens the export at `dir`.
    ///
    /// # Errors
    /// When there is none, it cannot be read, or it is of a newer format.
    pub fn open(dir: &Path) -> Result<Self, Failure> {
        let path = dir.join(STATE_DIR).join("export.json");
        let bytes = fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Failure::new(
                Exit::Failed,
                format!("`{}` is not an export", dir.display()),
            )
            .cause(format!("there is no `{}`", path.display()))
            .hint(format!("start one with `ente-pull {}`", shell_word(dir))),
            _ => Failure::disk(format!("cannot read `{}`", path.display()), &error),
        })?;
        let damaged = |error: serde_json::Error| {
            Failure::new(Exit::Failed, format!("`{}` is damaged", path.display()))
                .cause(error)
                .hint("restore it from a copy of the export, or rebuild it: `ente-pull --init DIR` begins that")
        };
        let head: Head = serde_json::from_slice(&bytes).map_err(damaged)?;
        if head.format > FORMAT {
            return Err(JournalError::TooNew {
                path,
                found: head.format,
            }
            .into());
        }
        let about = serde_json::from_slice(&bytes).map_err(damaged)?;
        refuse_links(&dir.join(STATE_DIR))?;
        // Absolute, so that records name it in a way that holds in any folder.
        let dir = std::path::absolute(dir)
            .map_err(|error| Failure::disk("cannot tell the current folder", &error))?;
        Ok(Self { dir, about })
    }

    /// Makes a new export at `dir`, and `dir` itself where only that is not there.
    ///
    /// # Errors
    /// When it cannot be written, or the folder that is to hold `dir` is not there.
    pub fn create(dir: &Path, account: Account, key_attributes: Value) -> Result<Self, Failure> {
        let what = format!("cannot make an export at `{}`", dir.display());
        if dir.is_file() {
            return Err(Failure::new(Exit::Usage, what).cause("this is a file, not a folder"));
        }
        let failed = |error: io::Error| Failure::disk(what.clone(), &error);
        let dir = std::path::absolute(dir).map_err(failed)?;
        match fs::create_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // More is not made: what lacks may be a disk that is not mounted.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(failed(error)
                    .hint("mount the disk that it is to lie on, or make the folder above it"));
            }
            made => made
                .and_then(|()| disk::sync_parent(&dir))
                .map_err(failed)?,
        }
        private_dir(&dir.join(STATE_DIR)).map_err(failed)?;
        let export = Self {
            dir,
            about: About {
                format: FORMAT,
                account,
                key_attributes,
            },
        };
        export.write_about().map_err(failed)?;
        Ok(export)
    }

    /// Writes newer key attributes or a newer e-mail address of the same account. `false`: these key attributes may not open what is here, so
    /// the old ones stay.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn update(&mut self, account: Account, key_attributes: Value) -> Result<bool, Failure> {
        let old = &self.about.key_attributes;
        let is_taken = may_replace(old, &key_attributes);
        let about = About {
            format: FORMAT,
            account,
            key_attributes: if is_taken {
                key_attributes
            } else {
                old.clone()
            },
        };
        if about != self.about {
            self.about = about;
            self.write_about()
                .map_err(|error| Failure::disk("cannot write `export.json`", &error))?;
        }
        Ok(is_taken)
    }

    fn write_about(&self) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(&self.about)?;
        text.push(b'\n');
        disk::write_whole(&self.state_dir().join("export.json"), &text, false)
    }

    /// Finds the export: the argument, else the one that the records name, else `ENTE_EXPORT`, else the nearest parent that holds one.
    ///
    /// # Errors
    /// When none of them says where.
    pub fn locate(argument: Option<&Path>, records: Option<&Path>) -> Result<PathBuf, Failure> {
        if let Some(dir) = argument.or(records) {
            return Ok(dir.to_owned());
        }
        if let Some(dir) = std::env::var_os("ENTE_EXPORT").filter(|dir| !dir.is_empty()) {
            return Ok(dir.into());
        }
        let here = std::env::current_dir()
            .map_err(|error| Failure::disk("cannot tell the current folder", &error))?;
        here.ancestors()
            .find(|dir| dir.join(STATE_DIR).is_dir())
            .map(Path::to_owned)
            .ok_or_else(|| {
                Failure::new(Exit::Usage, "no export is named")
                    .cause("neither the current folder nor a parent of it holds one")
                    .hint("name its folder, such as `~/Ente`, or set `ENTE_EXPORT`")
            })
    }

    /// The export directory, absolute.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `.ente/` in it.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.join(STATE_DIR)
    }

    /// A path below `.ente/`.
    pub fn state_path(&self, relative: &str) -> PathBuf {
        crate::layout::join(&self.state_dir(), relative)
    }

    /// Where something waits for its place.
    pub fn parked(&self, parked: Parked) -> PathBuf {
        self.state_path(&format!("partial/{parked}"))
    }

    /// What `export.json` says.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Refuses credentials or records of another account.
    ///
    /// # Errors
    /// With [`Exit::Refused`] when `account` is not the export's.
    pub fn check_account(&self, account: &Account) -> Result<(), Failure> {
        let ours = &self.about.account;
        if ours.is(account) {
            return Ok(());
        }
        Err(Failure::new(
            Exit::Refused,
            format!("`{}` is the export of another account", self.dir.display()),
        )
        .cause(format!(
            "it belongs to `{}` ({}) at {}, not to `{}` ({}) at {}",
            ours.email,
            ours.user_id,
            ours.endpoint,
            account.email,
            account.user_id,
            account.endpoint
        ))
        .hint("choose the account with `--account`, or another folder"))
    }

    /// Takes the lock of `tool`; see [`Lock::take`].
    ///
    /// # Errors
    /// With [`Exit::Locked`] when another run holds it.
    pub fn lock(
        &self,
        tool: &str,
        run: &str,
        now_us: i64,
        break_foreign: bool,
    ) -> Result<Lock, Failure> {
        Lock::take(&self.state_dir(), tool, run, now_us, break_foreign)
            .map_err(|error| error.into_failure(&self.dir))
    }

    /// Refuses to go on while another run of one of `tools` writes: for a tool that needs what they own to stand still.
    ///
    /// # Errors
    /// With [`Exit::Locked`] when one does, and where that cannot be told; `pass_foreign` takes no heed of locks of another host or container.
    pub fn check_idle(&self, tools: &[&str], run: &str, pass_foreign: bool) -> Result<(), Failure> {
        for tool in tools {
            let holder = Lock::holder(&self.state_dir(), tool);
            if let Some(holder) = holder.map_err(|error| error.into_failure(&self.dir))?
                && holder.run != run
                && !(pass_foreign && holder.is_foreign())
            {
                return Err(LockError::Held(Box::new(holder)).into_failure(&self.dir));
            }
        }
        Ok(())
    }
}

/// Whether key attributes may take the place of the `old` ones, the only way in without the server: they are complete, and of the same key pair,
/// which an account keeps for ever.
fn may_replace(old: &Value, new: &Value) -> bool {
    let parse = |value: &Value| KeyAttributes::deserialize(value).unwrap_or_default();
    let (old, new) = (parse(old), parse(new));
    let needed = |it: &KeyAttributes| {
        let texts = [
            &it.kek_salt,
            &it.encrypted_key,
            &it.key_decryption_nonce,
            &it.public_key,
            &it.encrypted_secret_key,
            &it.secret_key_decryption_nonce,
        ];
        it.mem_limit > 0 && it.ops_limit > 0 && texts.iter().all(|text| !text.is_empty())
    };
    let recovers = |it: &KeyAttributes| {
        let texts = [
            &it.master_key_encrypted_with_recovery_key,
            &it.master_key_decryption_nonce,
        ];
        texts.iter().all(|text| !text.is_empty())
    };
    !needed(&old)
        || needed(&new) && new.public_key == old.public_key && (recovers(&new) || !recovers(&old))
}

/// Refuses a state folder with links in it or in `partial/`: what is written there would land elsewhere, and what waits there would be taken from
/// elsewhere. `.ente` itself may lie elsewhere; that is its owner's choice.
fn refuse_links(state_dir: &Path) -> Result<(), Failure> {
    for dir in [state_dir, &state_dir.join("partial")] {
        let failed = |error| Failure::disk(format!("cannot read `{}`", dir.display()), &error);
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let kind = match entry.file_type() {
                // Another tool is at work there.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                kind => kind.map_err(failed)?,
            };
            if kind.is_symlink() {
                let what = format!("`{}` is a link", entry.path().display());
                return Err(Failure::new(Exit::Failed, what)
                    .cause("links are not followed out of the export")
                    .hint("move it away, or put what it leads to in its place"));
            }
        }
    }
    Ok(())
}

/// Makes a folder that only its owner can enter; one that is there is left as it is.
///
/// # Errors
/// When it cannot be made.
pub fn private_dir(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    match builder.create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        // What comes into it would be lost with it in a power cut.
        result => result.and_then(|()| disk::sync_parent(path)),
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        match &error {
            JournalError::TooNew { .. } => Failure::new(Exit::FormatTooNew, error.to_string())
                .cause("a newer release wrote it")
                .hint("update the tools; nothing was read further and nothing was changed"),
            JournalError::Io { source, .. } => Failure::disk(error.to_string(), source),
            JournalError::Lost { .. } => Failure::new(Exit::Failed, "what was listed is damaged")
                .cause(chain(&error))
                .hint("`ente-pull --full DIR` lists it anew"),
            JournalError::Damaged { .. } => Failure::new(Exit::Failed, "the manifest is damaged")
                .cause(chain(&error))
                .hint("restore the file from a copy of the export; or `ente-pull --init DIR` sets the manifest aside, and `ente-verify --adopt DIR` finds what is exported, as its help shows; the exported files themselves are not touched"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(user_id: i64) -> Account {
        Account {
            endpoint: "https://e".into(),
            app: "photos".into(),
            user_id,
            email: "a@b".into(),
        }
    }

    #[test]
    fn an_export_is_made_found_again_and_kept_to_its_account() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Export::open(dir.path()).is_err());
        Export::create(dir.path(), account(1), Value::Null).unwrap();
        let export = Export::open(dir.path()).unwrap();
        let renamed = Account {
            email: "new@b".into(),
            ..account(1)
        };
        assert!(
            export.check_account(&renamed).is_ok(),
            "an e-mail address can change"
        );
        assert_eq!(
            export.check_account(&account(2)).unwrap_err().exit,
            Exit::Refused
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(
                fs::metadata(export.state_dir())
                    .unwrap()
                    .permissions()
                    .mode()
                    & 0o777,
                0o700
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_state_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        Export::create(dir.path(), account(1), Value::Null).unwrap();
        assert!(Export::open(dir.path()).is_ok());
        fs::create_dir(dir.path().join(".ente/partial")).unwrap();
        for at in [".ente/objects", ".ente/partial/album-1"] {
            let link = dir.path().join(at);
            std::os::unix::fs::symlink(dir.path(), &link).unwrap();
            assert_eq!(Export::open(dir.path()).unwrap_err().exit, Exit::Failed);
            fs::remove_file(link).unwrap();
        }
    }

    #[test]
    fn a_newer_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        Export::create(dir.path(), account(1), Value::Null).unwrap();
        fs::write(
            dir.path().join(".ente/export.json"),
            r#"{"format":9,"new":"shape"}"#,
        )
        .unwrap();
        assert_eq!(
            Export::open(dir.path()).unwrap_err().exit,
            Exit::FormatTooNew
        );
    }
}
