//! The passphrase of sealed credentials: asked for when it is needed, and once.

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::{Arc, OnceLock};

use zeroize::Zeroizing;

use super::KeystoreError;
use crate::cli::{Interrupt, Io};
use crate::exit::{Exit, Failure};
use crate::manifest::Account;
use crate::secret::Source;
use crate::secret_args;
use crate::ui::Ui;

secret_args!(
    /// Where the passphrase of sealed credentials comes from, if not from the terminal.
    pub(super) PassphraseArgs,
    "passphrase",
    "the passphrase of sealed credentials",
    SEALED
);

/// The heading of options about sealed credentials.
pub const SEALED: &str =
    "Sealed credentials (environment: ENTE_PASSPHRASE_FILE, ENTE_PASSPHRASE_COMMAND)";

/// How often a person may mistype it.
const TRIES: u32 = 3;

/// The passphrase, or the way to it. Clones share what was learnt.
#[derive(Clone, Default)]
pub(super) struct Passphrase {
    source: Option<Source>,
    /// Who asks; nobody, where there is nobody to be asked.
    asker: Option<(Ui, Interrupt)>,
    known: Arc<OnceLock<Zeroizing<Vec<u8>>>>,
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase")
    }
}

impl PassphraseArgs {
    /// The option that is given, else the environment, else the terminal.
    pub(super) fn resolve(&self, io: &Io) -> Passphrase {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let source = self
            .source()
            .or_else(|| variable("ENTE_PASSPHRASE_FILE").map(|file| Source::File(file.into())))
            .or_else(|| variable("ENTE_PASSPHRASE_COMMAND").map(Source::Command));
        Passphrase {
            source,
            asker: Some((io.ui.clone(), io.interrupt.clone())),
            known: Arc::default(),
        }
    }
}

impl Passphrase {
    /// One that lies in a file.
    #[cfg(test)]
    pub(super) fn from_file(path: std::path::PathBuf) -> Self {
        Self {
            source: Some(Source::File(path)),
            ..Self::default()
        }
    }

    /// A way to another one, which is not known yet.
    #[cfg(feature = "crypto")]
    pub(super) fn another(&self) -> Self {
        Self {
            known: Arc::default(),
            ..self.clone()
        }
    }

    /// The passphrase, if it opened something already.
    pub(super) fn known(&self) -> Option<&[u8]> {
        self.known.get().map(|known| &known[..])
    }

    /// Opens what is sealed for `account`: tries what is known, then asks. `open` says `None` where the passphrase is wrong.
    pub(super) fn open<T>(
        &self,
        account: &Account,
        open: impl Fn(&[u8]) -> Result<Option<T>, KeystoreError>,
    ) -> Result<T, KeystoreError> {
        if let Some(known) = self.known()
            && let Some(opened) = open(known)?
        {
            return Ok(opened);
        }
        let question = format!("passphrase of the credentials of {}: ", account.email);
        let mut tries = 1;
        loop {
            let passphrase = self.get(&question)?;
            if let Some(opened) = open(&passphrase)? {
                // Another one may be known, of another file.
                let _ = self.known.set(passphrase);
                return Ok(opened);
            }
            let wrong = || {
                Failure::new(Exit::NotSignedIn, "the credentials stay sealed")
                    .cause("the passphrase is wrong, or the file was altered")
                    .hint(format!(
                        "try again; if it is lost, run `{} --seal passphrase`",
                        account.sign_in_line()
                    ))
            };
            match (&self.source, &self.asker) {
                (None, Some((ui, _))) if tries < TRIES => ui.warning(&wrong()),
                _ => return Err(wrong().into()),
            }
            tries += 1;
        }
    }

    /// Takes a new one, which a person types twice.
    pub(super) fn choose(&self) -> Result<&[u8], KeystoreError> {
        let chosen = self.get("new passphrase for the credentials: ")?;
        if self.source.is_none() && self.get("the same again: ")? != chosen {
            let what = "the two passphrases are not the same";
            return Err(Failure::new(Exit::Refused, what).hint("try again").into());
        }
        Ok(self.known.get_or_init(|| chosen))
    }

    fn get(&self, question: &str) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
        const HINT: &str = "give the passphrase with `--passphrase-file FILE`, `--passphrase-command COMMAND` or the \
            environment (`ENTE_PASSPHRASE_FILE`, `ENTE_PASSPHRASE_COMMAND`)";
        let none = |cause: &str| {
            Failure::new(Exit::NotSignedIn, "the credentials are sealed")
                .cause(cause)
                .hint(HINT)
        };
        if let Some(source) = &self.source {
            if matches!(source, Source::File(path) if path.as_os_str() == "-") {
                return Err(none("standard input is not for passphrases").into());
            }
            return Ok(source.read("the passphrase", &mut io::empty())?);
        }
        let Some((ui, interrupt)) = &self.asker else {
            return Err(none("nobody can be asked").into());
        };
        let typed = ui.prompt(question, true, interrupt);
        let typed = typed.map_err(|error| match error.kind() {
            ErrorKind::Interrupted => Failure::new(Exit::Interrupted, "interrupted"),
            _ => none("there is no terminal to ask on"),
        })?;
        if typed.is_empty() {
            return Err(Failure::new(Exit::Refused, "the passphrase is empty").into());
        }
        Ok(Zeroizing::new(typed.as_bytes().to_vec()))
    }
}
