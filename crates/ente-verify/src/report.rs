//! What becomes of findings: facts in the book, records for the pipe, a few lines for people.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use ente_common::cli::Io;
use ente_common::exit::{Exit, Failure};
use ente_common::layout::CIPHERTEXT;
use ente_common::manifest::facts::Finding;
use ente_common::manifest::{Export, State};
use ente_common::record::{Problem, Record, path_to_value};
use ente_common::ui::{human_count, shell_word};
use serde_json::{Map, Value};

use crate::NAME;
use crate::book::Book;
use crate::check::Class;
use crate::plan::{Expected, Subject, What};
use crate::span::Area;

/// One difference, with what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) class: Class,
    /// `None` where it is about a stray file or about the whole export.
    pub(crate) subject: Option<Subject>,
    pub(crate) path: Option<PathBuf>,
    pub(crate) cause: Option<String>,
}

impl Found {
    pub(crate) fn of(expected: &Expected, class: Class, cause: Option<String>) -> Self {
        Self {
            class,
            subject: Some(expected.subject.clone()),
            path: expected.path.as_ref().map(PathBuf::from),
            cause,
        }
    }

    pub(crate) fn extra(path: PathBuf) -> Self {
        Self {
            class: Class::Extra,
            subject: None,
            path: Some(path),
            cause: None,
        }
    }

    /// So many entries of what was listed are not as `ente-pull` wrote them.
    pub(crate) fn listing(lost: usize, of: usize) -> Self {
        Self {
            class: Class::Damaged,
            subject: None,
            path: Some(CIPHERTEXT.into()),
            cause: Some(format!(
                "{lost} of {of} entries are not as they were written; the next `ente-pull` lists them anew"
            )),
        }
    }

    /// The export as a whole is not finished.
    pub(crate) fn unfinished(cause: &str) -> Self {
        Self {
            class: Class::NotExported,
            subject: None,
            path: None,
            cause: Some(cause.to_owned()),
        }
    }

    fn to_record(&self) -> Record {
        let mut record = Record::new("finding").with("class", self.class.as_str());
        if let Some(of) = &self.subject {
            record = record.with("file", of.file);
            if of.what != What::Object {
                record = record
                    .with("collection", of.collection)
                    .with("part", of.part);
            }
            if let Some(version) = of.version {
                record = record.with("version", version.to_string());
            }
            if of.what != What::Content {
                record = record.with("what", of.what.as_str());
            }
        }
        if let Some(path) = &self.path {
            record = record.with("path", path_to_value(path));
        }
        if let Some(cause) = &self.cause {
            record = record.with("cause", cause.as_str());
        }
        record
    }

    /// The fact; `None` for what follows from the facts of others anyway.
    pub(crate) fn to_fact(&self, when: i64) -> Option<Finding> {
        let class = self.class.as_str().to_owned();
        match (&self.subject, &self.path) {
            (Some(of), _) => Some(Finding {
                collection: of.collection,
                file: of.file,
                part: of.part,
                what: of.what.as_str().to_owned(),
                version: of.version.filter(|_| of.what == What::Object),
                class,
                n: of.n,
                when,
                ..Finding::default()
            }),
            (None, Some(path)) => Some(Finding {
                path: Some(path.clone()),
                class,
                when,
                ..Finding::default()
            }),
            (None, None) => None,
        }
    }
}

pub(crate) const UNREADABLE_HINT: &str = "check the disk and who may read there, then verify again";

/// Paths of each class, and problems, that people are shown.
pub(crate) const SHOWN: usize = 5;

/// What a run found: counted, recorded, printed.
pub(crate) struct Report<'a> {
    pub(crate) export: &'a Export,
    pub(crate) book: Book,
    counts: BTreeMap<Class, u64>,
    examples: BTreeMap<Class, Vec<String>>,
    problems: u64,
}

impl<'a> Report<'a> {
    pub(crate) fn new(export: &'a Export, book: Book) -> Self {
        Self {
            export,
            book,
            counts: BTreeMap::new(),
            examples: BTreeMap::new(),
            problems: 0,
        }
    }

    /// Records findings and then prints them: a printed record stands for a fact that survives a kill.
    pub(crate) fn findings(&mut self, found: &[Found], io: &mut Io) -> Result<(), Failure> {
        if found.is_empty() {
            return Ok(());
        }
        self.book.open(self.export, io)?;
        let when = (io.clock)();
        for found in found {
            self.book.note(found, when);
        }
        self.book.flush()?;
        for found in found {
            *self.counts.entry(found.class).or_default() += 1;
            let examples = self.examples.entry(found.class).or_default();
            if examples.len() < SHOWN {
                examples.push(found.title());
            }
            io.print(&found.to_record())?;
        }
        Ok(())
    }

    /// Prints that a part or a sidecar could not be read.
    pub(crate) fn unreadable_part(
        &mut self,
        expected: &Expected,
        error: &dyn std::fmt::Display,
        io: &mut Io,
    ) -> Result<(), Failure> {
        let path = Path::new(expected.path.as_deref().unwrap_or_default());
        self.unreadable(Some(&expected.subject), path, error, io)
    }

    /// Prints that something could not be looked at.
    pub(crate) fn unreadable(
        &mut self,
        subject: Option<&Subject>,
        path: &Path,
        error: &dyn std::fmt::Display,
        io: &mut Io,
    ) -> Result<(), Failure> {
        if let Some(subject) = subject {
            self.book.leave(subject);
        }
        self.problems += 1;
        let problem = Problem {
            stage: NAME.into(),
            class: "unreadable".into(),
            file: subject.map(|of| of.file),
            collection: subject.map(|of| of.collection),
            version: subject.and_then(|of| of.version),
            path: Some(path.to_string_lossy().into_owned()),
            cause: error.to_string(),
            hint: UNREADABLE_HINT.into(),
        };
        io.print(&problem.to_record())
    }

    /// Findings of every class.
    pub(crate) fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    fn differences(&self) -> u64 {
        let counts = self.counts.iter();
        counts
            .filter(|(class, _)| class.is_difference())
            .map(|(_, count)| count)
            .sum()
    }

    /// This tool's entry in the counts of `end`.
    pub(crate) fn counts(&self, files: u64, bytes: u64) -> Value {
        let mut counts = Map::new();
        counts.insert("files".into(), files.into());
        counts.insert("bytes".into(), bytes.into());
        counts.insert("findings".into(), self.total().into());
        for (class, count) in &self.counts {
            counts.insert(class.as_str().into(), (*count).into());
        }
        counts.insert("problems".into(), self.problems.into());
        counts.into()
    }

    /// How the run ends, as far as this tool goes.
    pub(crate) fn exit(&self) -> Exit {
        match (self.differences(), self.problems) {
            (0, 0) => Exit::Done,
            (0, _) => Exit::Problems,
            _ => Exit::Differences,
        }
    }

    /// Tells people: one warning about differences, one about what could not be read, and to whoever watches which files.
    pub(crate) fn tell(&self, area: Area, files: u64, io: &Io) {
        let what = format!(
            "{} among {} in `{}`; each is a `finding` record",
            counted(self.differences(), "difference"),
            counted(files, area.noun()),
            self.dir(),
        );
        self.tell_of(what, self.hint(area), io);
    }

    /// As [`tell`](Self::tell), where nothing is exported: it is not the files that are wrong.
    pub(crate) fn tell_unexported(&self, state: &State, io: &Io) {
        let files: BTreeSet<i64> = state.pull.files.keys().map(|key| key.1).collect();
        let what = format!(
            "nothing is exported yet in `{}`: {} of the account to go",
            self.dir(),
            counted(files.len() as u64, "file"),
        );
        let dir = shell_word(self.export.dir());
        let objects = fs::read_dir(self.export.state_path("objects"));
        let is_stored = objects.is_ok_and(|mut shards| shards.next().is_some());
        let hint = match is_stored {
            true => format!(
                "`ente-decrypt {dir} | ente-meta -` exports what was pulled; `ente-verify --objects {dir}` checks an encrypted mirror"
            ),
            false => format!("`ente-pull {dir} | ente-decrypt - | ente-meta -` exports them"),
        };
        self.tell_of(what, hint, io);
    }

    fn dir(&self) -> std::path::Display<'_> {
        self.export.dir().display()
    }

    fn tell_of(&self, what: String, hint: String, io: &Io) {
        for (class, examples) in &self.examples {
            io.ui.note(&format!(
                "{} {}: {}{}",
                human_count(self.counts[class]),
                class.as_str(),
                examples.join(", "),
                if self.counts[class] > examples.len() as u64 {
                    ", …"
                } else {
                    ""
                },
            ));
        }
        if self.problems > 0 {
            let what = format!(
                "{} in `{}` could not be read; each is a `problem` record",
                counted(self.problems, "path"),
                self.dir(),
            );
            io.ui
                .warning(&Failure::new(Exit::Problems, what).hint(UNREADABLE_HINT));
        }
        let differences = self
            .counts
            .iter()
            .filter(|(class, _)| class.is_difference());
        let by_class: Vec<String> = differences
            .map(|(class, count)| format!("{} {}", human_count(*count), class.as_str()))
            .collect();
        if !by_class.is_empty() {
            io.ui.warning(
                &Failure::new(Exit::Differences, what)
                    .cause(by_class.join(", "))
                    .hint(hint),
            );
        }
    }

    /// What to type.
    fn hint(&self, area: Area) -> String {
        let dir = shell_word(self.export.dir());
        match area {
            _ if !self.counts.keys().any(|class| class.heals()) => {
                "what somebody changed is left alone; remove it to have it written again".into()
            }
            Area::Tree => format!(
                "`ente-pull {dir} | ente-decrypt - | ente-meta -` brings back what is missing, damaged or not exported"
            ),
            Area::Objects => format!("`ente-pull {dir}` fetches again what is missing or damaged"),
        }
    }
}

impl Found {
    /// For people: the path, or what else there is to say.
    fn title(&self) -> String {
        match (&self.path, &self.subject) {
            (Some(path), _) => format!("`{}`", path.display()),
            (None, Some(of)) => format!("file {} of collection {}", of.file, of.collection),
            (None, None) => self.cause.clone().unwrap_or_default(),
        }
    }
}

/// `1 file`, `12,480 files`.
pub(crate) fn counted(count: u64, of: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {of}{ending}", human_count(count))
}
