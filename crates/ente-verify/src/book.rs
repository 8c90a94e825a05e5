//! Verify's own part of the manifest: which findings stand, and what this run adds and withdraws.

use std::collections::HashSet;
use std::path::PathBuf;

use ente_common::cli::Io;
use ente_common::exit::{Exit, Failure};
use ente_common::manifest::facts::{Checked, Finding, VerifyFact};
use ente_common::manifest::state::VerifyState;
use ente_common::manifest::{Claim, ContentKey, Export, Journal, Lock, PartKey};

use crate::check::Class;
use crate::plan::{Subject, What};
use crate::report::Found;
use crate::span::Span;

/// What a finding is about, in the facts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Content(PartKey),
    Sidecar(PartKey),
    Object(ContentKey),
    Path(PathBuf),
}

fn key_of(subject: &Subject) -> Key {
    let part = (subject.collection, subject.file, subject.part);
    match subject.what {
        What::Content => Key::Content(part),
        What::Sidecar => Key::Sidecar(part),
        What::Object => Key::Object((subject.file, subject.version.unwrap_or_default())),
    }
}

impl Key {
    /// A run over `span` has an answer for it.
    fn is_in(&self, span: &Span) -> bool {
        match self {
            Self::Content(part) => span.has(part.1, What::Content),
            Self::Sidecar(part) => span.has(part.1, What::Sidecar),
            Self::Object(content) => span.has(content.0, What::Object),
            Self::Path(path) => span.has_path(path),
        }
    }
}

/// The findings that stand; locked and opened for writing at the first fact.
pub(crate) struct Book {
    claim: Claim,
    standing: VerifyState,
    /// What this run has an answer for, or cannot have one: such findings stand.
    settled: HashSet<Key>,
    open: Option<(Lock, Journal)>,
    /// Nothing is written: the run only lists, or the medium cannot be written and the export on it can still be checked.
    is_shut: bool,
}

impl Book {
    /// `writes`: findings become facts.
    pub(crate) fn load(export: &Export, claim: Claim, writes: bool) -> Result<Self, Failure> {
        Ok(Self {
            claim,
            standing: VerifyState::load(&export.state_dir())?,
            settled: HashSet::new(),
            open: None,
            is_shut: !writes,
        })
    }

    /// Locks for writing, if that is not done. Where nothing can be written, says so and goes on without. True after a wait for another run: what
    /// was seen before may be history.
    pub(crate) fn open(&mut self, export: &Export, io: &Io) -> Result<bool, Failure> {
        if self.open.is_some() || self.is_shut {
            return Ok(false);
        }
        let opened = self.claim.take(export, &[], || Ok(())).and_then(|claimed| {
            let journal = Journal::open(&export.state_dir(), "verify")?;
            Ok((claimed.lock, journal, claimed.has_waited))
        });
        match opened {
            Ok((lock, journal, has_waited)) => {
                self.open = Some((lock, journal));
                // What another run wrote before we had the lock.
                self.standing = VerifyState::load(&export.state_dir())?;
                return Ok(has_waited);
            }
            Err(failure) if failure.exit == Exit::NotWritable => {
                self.is_shut = true;
                let what = "the findings of this run are not recorded";
                io.ui
                    .warning(&Failure::new(failure.exit, what).cause(failure));
            }
            Err(failure) => return Err(failure),
        }
        Ok(false)
    }

    /// It waits for other runs.
    pub(crate) fn waits(&self) -> bool {
        self.claim.waits()
    }

    fn append(&mut self, fact: Finding) {
        let fact = VerifyFact::Finding(fact);
        if let Some((_, journal)) = &mut self.open {
            journal.append(&fact);
        }
        self.standing.apply(fact);
    }

    fn standing(&self, key: &Key) -> Option<&Finding> {
        match key {
            Key::Content(part) => self.standing.findings.get(part),
            Key::Sidecar(part) => self.standing.sidecars.get(part),
            Key::Object(content) => self.standing.objects.get(content),
            Key::Path(path) => self.standing.extras.get(path),
        }
    }

    /// A finding of an earlier run that only reading the content can clear, as long as the file is the one that it was about.
    pub(crate) fn known(&self, subject: &Subject) -> Option<Class> {
        let standing = self.standing(&key_of(subject))?;
        [Class::Damaged, Class::Modified, Class::SidecarEdited]
            .into_iter()
            .find(|class| class.as_str() == standing.class && standing.n == subject.n)
    }

    /// Whether an earlier run found something about this part or sidecar.
    pub(crate) fn stands(&self, subject: &Subject) -> bool {
        self.standing(&key_of(subject)).is_some()
    }

    /// Records a finding, unless it stands already. Of two about one thing (a sidecar and its second) the first counts.
    pub(crate) fn note(&mut self, found: &Found, when: i64) {
        let Some(fact) = found.to_fact(when) else {
            return;
        };
        let key = match &found.subject {
            Some(subject) => key_of(subject),
            None => Key::Path(found.path.clone().unwrap_or_default()),
        };
        let same = self
            .standing(&key)
            .is_some_and(|old| (&old.class, old.n) == (&fact.class, fact.n));
        if self.settled.insert(key) && !same {
            self.append(fact);
        }
    }

    /// Of what is found from now on, nothing was settled: the stages before may have written it anew. Frees the lock until there is something to
    /// write again; who holds it then is waited for.
    pub(crate) fn next_round(&mut self, io: &Io) -> Result<(), Failure> {
        self.sync()?;
        self.settled.clear();
        self.open = None;
        self.claim.be_patient(io);
        Ok(())
    }

    /// What cannot be told this time stays as it was.
    pub(crate) fn leave(&mut self, subject: &Subject) {
        self.settled.insert(key_of(subject));
    }

    /// Records that this part or sidecar is well again.
    pub(crate) fn clear(&mut self, subject: &Subject) {
        self.withdraw(&key_of(subject));
    }

    /// Records that whatever stood within `span` and was not found this time is no more. Only for a run that looked at all of it.
    pub(crate) fn clear_rest(&mut self, span: &Span) {
        let standing = &self.standing;
        let contents = standing.findings.keys().copied().map(Key::Content);
        let sidecars = standing.sidecars.keys().copied().map(Key::Sidecar);
        let objects = standing.objects.keys().copied().map(Key::Object);
        let paths = standing.extras.keys().cloned().map(Key::Path);
        let rest: Vec<Key> = contents
            .chain(sidecars)
            .chain(objects)
            .chain(paths)
            .filter(|key| !self.settled.contains(key) && key.is_in(span))
            .collect();
        for key in &rest {
            self.withdraw(key);
        }
    }

    fn withdraw(&mut self, key: &Key) {
        if let Some(standing) = self.standing(key).cloned() {
            self.append(Finding {
                gone: true,
                ..standing
            });
        }
    }

    /// Records that the run looked at everything.
    pub(crate) fn checked(&mut self, checked: Checked) {
        if let Some((_, journal)) = &mut self.open {
            journal.append(&VerifyFact::Checked(checked));
        }
    }

    /// Everything noted so far survives a kill.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        match &mut self.open {
            Some((_, journal)) => Ok(journal.flush()?),
            None => Ok(()),
        }
    }

    /// Everything noted so far survives a power cut.
    pub(crate) fn sync(&mut self) -> Result<(), Failure> {
        match &mut self.open {
            Some((_, journal)) => Ok(journal.sync()?),
            None => Ok(()),
        }
    }
}
