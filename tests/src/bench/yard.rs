//! Where the tools are measured: a server with an account, a user who is signed in, folders in memory and on the disk.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Setup;
use super::stopwatch::{Line, Taken, take};
use crate::library::{BulkOptions, Library};
use crate::museum::{Conditions, Museum, Options};

const EMAIL: &str = "ada@example.org";
const PASSWORD: &str = "correct horse battery staple";
/// The folder of the sidecars in each album.
const SIDECARS: &str = "metadata";
/// What is read or written at once where only that is measured.
const PIECE_BYTES: usize = 256 << 10;
/// Rows that a page of the server holds.
pub(super) const PAGE_SIZE: usize = 2500;

/// A server and a user of it.
///
/// The server runs in the driver, which does nothing else while a line is timed: another process would give it the same threads.
pub(super) struct Yard<'a> {
    setup: &'a Setup,
    pub(super) museum: Museum,
    home: TempDir,
    token: String,
}

/// A folder for an export; it goes when this is dropped.
pub(super) struct Export {
    folder: TempDir,
}

impl Export {
    /// The export, as an argument.
    pub(super) fn dir(&self) -> String {
        self.path().to_string_lossy().into_owned()
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("Ente")
    }

    /// Reads these files of the export on one thread.
    pub(super) fn read(&self, files: &[String]) -> Result<Taken, String> {
        let mut piece = vec![0; PIECE_BYTES];
        let mut read = |file: &String| {
            let mut file = File::open(self.path().join(file))?;
            while file.read(&mut piece)? > 0 {}
            Ok::<_, io::Error>(())
        };
        Taken::timed(|| {
            let done = files.iter().try_for_each(&mut read);
            done.map_err(|error| format!("{}: {error}", self.dir()))
        })
    }

    /// The paths of the exported files below the export, without sidecars.
    pub(super) fn files(&self) -> Result<Vec<String>, String> {
        let mut files = Vec::new();
        for album in self.albums()? {
            for name in names(&self.path().join(&album))? {
                if name != SIDECARS {
                    files.push(format!("{album}/{name}"));
                }
            }
        }
        Ok(files)
    }

    /// The paths of the folders that hold the sidecars, below the export.
    pub(super) fn sidecar_folders(&self) -> Result<Vec<String>, String> {
        let albums = self.albums()?.into_iter();
        Ok(albums.map(|album| format!("{album}/{SIDECARS}")).collect())
    }

    fn albums(&self) -> Result<Vec<String>, String> {
        let mut albums = names(&self.path())?;
        albums.retain(|name| name != ".ente");
        Ok(albums)
    }

    /// Forgets what `ente-decrypt` and those after it did, so that they have it before them again. Objects are left, where they were kept.
    pub(super) fn forget_plaintext(&self) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", self.dir());
        for album in self.albums()? {
            fs::remove_dir_all(self.path().join(album)).map_err(failed)?;
        }
        for name in ["decrypt.jsonl", "meta.jsonl", "verify.jsonl"] {
            let path = self.path().join(".ente").join(name);
            if path.exists() {
                fs::remove_file(path).map_err(failed)?;
            }
        }
        Ok(())
    }
}

impl<'a> Yard<'a> {
    /// A server under these conditions, and a user who has signed in.
    pub(super) fn open(
        setup: &'a Setup,
        account: BulkOptions,
        conditions: Conditions,
    ) -> Result<Self, String> {
        Self::open_with(setup, account, conditions, false)
    }

    /// The same; the server may keep its log.
    pub(super) fn open_with(
        setup: &'a Setup,
        account: BulkOptions,
        conditions: Conditions,
        keeps_log: bool,
    ) -> Result<Self, String> {
        let library = Library::bulk(1, EMAIL, PASSWORD, account);
        let options = Options {
            page_size: PAGE_SIZE,
            keeps_log,
            ..Options::default()
        };
        let museum = Museum::start(library, options);
        let home = setup.scratch(&setup.memory)?;
        let token = museum.issue_token();
        let yard = Self {
            setup,
            museum,
            home,
            token,
        };
        yard.sign_in()?;
        yard.museum.set_conditions(conditions);
        Ok(yard)
    }

    fn sign_in(&self) -> Result<(), String> {
        let file = self.home.path().join("password");
        fs::write(&file, PASSWORD).map_err(|error| error.to_string())?;
        let file = file.to_string_lossy();
        let line = self.line(&[&[
            "ente-login",
            "--endpoint",
            self.museum.api_url(),
            "--password-file",
            &file,
            EMAIL,
        ]]);
        take(&line).map(drop)
    }

    /// A copy in memory of another export, times included.
    pub(super) fn copy_of(&self, other: &Export) -> Result<Export, String> {
        let copy = self.in_memory()?;
        let (from, to) = (other.dir(), copy.dir());
        let _ = self.run(&[&["cp", "--archive", &from, &to]])?;
        Ok(copy)
    }

    /// What the system takes on one thread to write each file of an export twice to new files in memory, as object and as plaintext, and to remove
    /// the object then.
    pub(super) fn written_twice(&self, account: &BulkOptions) -> Result<Taken, String> {
        let folder = self.in_memory()?.folder;
        let piece = vec![7; PIECE_BYTES];
        let write = |path: &Path| {
            let mut file = File::create(path)?;
            let mut left = account.bytes as usize;
            while left > 0 {
                left -= file.write(&piece[..left.min(PIECE_BYTES)])?;
            }
            Ok::<_, io::Error>(())
        };
        let object = folder.path().join("object");
        Taken::timed(|| {
            let done = (0..account.albums * account.files).try_for_each(|number| {
                write(&object)?;
                write(&folder.path().join(number.to_string()))?;
                fs::remove_file(&object)
            });
            done.map_err(|error| error.to_string())
        })
    }

    /// A fresh folder in memory.
    pub(super) fn in_memory(&self) -> Result<Export, String> {
        let folder = self.setup.scratch(&self.setup.memory)?;
        Ok(Export { folder })
    }

    /// A fresh folder on the disk.
    pub(super) fn on_disk(&self) -> Result<Export, String> {
        let folder = self.setup.scratch(&self.setup.disk)?;
        Ok(Export { folder })
    }

    /// Gives every file another caption.
    pub(super) fn edit_captions(&self) {
        self.museum.with_library(|library| {
            let bulk = library.bulk_mut();
            bulk.edit_captions(bulk.files());
        });
    }

    /// Tools joined by pipes, and other programs by their names.
    pub(super) fn line(&self, stages: &[&[&str]]) -> Line {
        let stage = |words: &&[&str]| {
            let name = words[0];
            let wrap = self.setup.wrap.iter().find(|(tool, _)| tool == name);
            let program = match name.starts_with("ente-") {
                true => self.setup.tools.join(name).to_string_lossy().into_owned(),
                false => name.to_owned(),
            };
            let rest = words[1..].iter().map(|word| (*word).to_owned());
            let wrapped = wrap.into_iter().flat_map(|(_, command)| command.clone());
            wrapped.chain([program]).chain(rest).collect()
        };
        let home = self.home.path();
        let env = [
            ("HOME", home.to_string_lossy().into_owned()),
            (
                "ENTE_CONFIG_DIR",
                home.join("config").to_string_lossy().into_owned(),
            ),
            ("PATH", std::env::var("PATH").unwrap_or_default()),
        ];
        Line {
            stages: stages.iter().map(stage).collect(),
            env: env
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            folder: home.to_owned(),
            times: 1,
        }
    }

    /// Runs tools joined by pipes.
    pub(super) fn run(&self, stages: &[&[&str]]) -> Result<Taken, String> {
        self.run_in(self.home.path(), stages)
    }

    /// The same, in this folder.
    pub(super) fn run_in(&self, folder: &Path, stages: &[&[&str]]) -> Result<Taken, String> {
        let line = Line {
            folder: folder.to_owned(),
            ..self.line(stages)
        };
        let taken = take(&line)?;
        taken
            .into_iter()
            .next()
            .ok_or_else(|| "nothing was run".to_owned())
    }

    /// `curl` fetching these addresses to nowhere, so many at once, as a client of the server: redirects are followed.
    pub(super) fn curl(&self, at_once: usize, addresses: &[String]) -> Result<Taken, String> {
        let config = self.home.path().join("curl");
        let text: String = addresses
            .iter()
            .map(|url| format!("url = \"{url}\"\noutput = \"/dev/null\"\n"))
            .collect();
        fs::write(&config, text).map_err(|error| error.to_string())?;
        let at_once = at_once.to_string();
        let header = format!("X-Auth-Token: {}", self.token);
        let config = config.to_string_lossy();
        let words = [
            "curl",
            "--silent",
            "--show-error",
            "--fail",
            "--location",
            "--parallel",
            "--parallel-max",
            &at_once,
            "--header",
            &header,
            "--config",
            &config,
        ];
        self.run(&[&words])
    }

    /// The addresses of all originals.
    pub(super) fn originals(&self) -> Vec<String> {
        let files = self
            .museum
            .with_library(|library| library.bulk_mut().files());
        files
            .map(|id| format!("{}/files/download/{id}", self.museum.api_url()))
            .collect()
    }

    /// The addresses of all pages of a whole listing.
    pub(super) fn pages(&self) -> Vec<String> {
        let starts = self
            .museum
            .with_library(|library| library.bulk_mut().page_starts(PAGE_SIZE));
        let address = |(album, since)| {
            format!(
                "{}/collections/v2/diff?collectionID={album}&sinceTime={since}",
                self.museum.api_url()
            )
        };
        starts.into_iter().map(address).collect()
    }
}

/// The names in a folder.
fn names(folder: &Path) -> Result<Vec<String>, String> {
    let entries =
        fs::read_dir(folder).and_then(|entries| entries.collect::<std::io::Result<Vec<_>>>());
    let entries = entries.map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(entries
        .iter()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect())
}

/// A program and its arguments.
pub(super) fn words<'a>(program: &'a str, rest: &'a [String]) -> Vec<&'a str> {
    std::iter::once(program)
        .chain(rest.iter().map(String::as_str))
        .collect()
}

/// Bytes that may be written below a folder.
pub(super) fn free_bytes(folder: &Path) -> u64 {
    rustix::fs::statvfs(folder).map_or(0, |found| found.f_bavail * found.f_frsize)
}
