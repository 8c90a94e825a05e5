//! Turns a password and second factor into saved credentials.
//!
//! It is the only tool that ever sees a password. What it saves is split in two, so that each of
//! the other tools can be given no more than it needs: `token` to ask the server, `keys` to
//! decrypt.

mod ask;
mod cost;
mod email;
mod passkey;
mod password;
mod saved;
mod sign_in;
mod totp;
mod unlock;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use ente_common::api::{App, Client, Connection, Endpoint};
use ente_common::cli::{Common, Interrupt, Io, Tool};
use ente_common::exit::{Exit, Failure};
use ente_common::keystore::{
    Entry, Half, Keystore, KeystoreArgs, KeystoreError, SEALED, Seal, Select,
};
use ente_common::manifest::{Account, Export};
use ente_common::secret_args;
use ente_common::wire::KeyAttributes;
use serde::Deserialize as _;

use unlock::Keys;

const EXAMPLES: &str = "\
Examples:
  ente-login ada@example.org                   # asks for password and code
  ente-login                                   # again, when the session has ended
  ente-login --endpoint https://photos.example.org ada@example.org
  ente-login --password-command 'pass show ente' --totp-secret-file ~/.totp ada@example.org
  ente-login --recovery-key ada@example.org    # the password is lost
  ente-login --seal passphrase                 # seal what is saved, or choose another passphrase
  ente-login --offline ~/Ente                  # without a server: only the keys
  ente-login --export-token - | ssh box ente-login --import -    # it can pull, and decrypt nothing
  ente-login --export-keys - | ssh box ente-login --import -     # it can decrypt, and ask nothing
  ente-login --check || mail -s 'sign in again' ada@example.org
  ente-login --logout ada@example.org

What the account wants is asked for on the terminal, one after the other: the password, a code from an
e-mail, the authenticator's code. For a passkey a page is shown, to be used in any browser; the address
that it ends at can be pasted where waiting does not help.

A password, recovery key or code comes from standard input where its file is `-`. A first run
without a terminal has the code sent that an account asks for by e-mail; a second one takes it:
`--email-code CODE`.";

/// Sign in and save credentials for the other tools
#[derive(Debug, Parser)]
#[command(name = "ente-login", version, after_help = EXAMPLES)]
pub struct Args {
    /// E-mail address of the account; default: the account that is signed in already
    #[arg(value_name = "EMAIL", conflicts_with_all = ["offline", "status", "default", "import"])]
    email: Option<String>,

    #[command(flatten)]
    action: Action,

    /// Sign in for this app's files [default: as before, or photos]
    #[arg(
        long,
        value_enum,
        value_name = "photos|locker",
        hide_possible_values = true
    )]
    app: Option<App>,

    #[command(flatten)]
    password_source: PasswordSource,

    /// Use the recovery key in place of the password; a code comes by e-mail
    #[arg(long, help_heading = "Recovery key")]
    recovery_key: bool,

    #[command(flatten)]
    recovery_key_source: RecoverySource,

    /// The code from an e-mail that came already (single use); no other is sent
    #[arg(
        long,
        value_name = "CODE",
        conflicts_with = "email-code-source",
        help_heading = "Codes"
    )]
    email_code: Option<String>,

    #[command(flatten)]
    email_code_source: EmailCodeSource,

    /// The authenticator's code (single use)
    #[arg(
        long,
        value_name = "CODE",
        conflicts_with_all = ["otp-source", "totp_secret_file"],
        help_heading = "Codes"
    )]
    otp: Option<String>,

    #[command(flatten)]
    otp_source: OtpSource,

    /// Make codes from the authenticator's secret in this file (base32 or `otpauth://`)
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "otp-source",
        help_heading = "Codes"
    )]
    totp_secret_file: Option<PathBuf>,

    /// Use the passkey where the authenticator's code would do too
    #[arg(long, help_heading = "Codes")]
    passkey: bool,

    /// Sign in anew and seal what is saved: with a new passphrase that each tool asks for, or with a key in the system's
    /// store [default: as before, or none]
    #[arg(
        long,
        value_enum,
        value_name = "none|passphrase|keyring",
        hide_possible_values = true,
        conflicts_with_all = ["status", "check", "logout", "default", "import"],
        help_heading = SEALED
    )]
    seal: Option<Seal>,

    #[command(flatten)]
    keystore: KeystoreArgs,

    /// API address of a self-hosted server [default: Ente's own]
    #[arg(
        long,
        value_name = "URL",
        env = "ENTE_ENDPOINT",
        hide_env_values = true,
        value_parser = Endpoint::parse,
        help_heading = "Connection"
    )]
    endpoint: Option<Endpoint>,

    #[command(flatten)]
    connection: Connection,

    // Prints no records, so it has no options about them.
    #[arg(skip)]
    common: Common,
}

/// What to do in place of signing in.
#[derive(Debug, Default, clap::Args)]
#[group(multiple = false)]
struct Action {
    /// Save the keys of the export in DIR, from its password or recovery key alone, without a server
    #[arg(long, value_name = "DIR")]
    offline: Option<PathBuf>,

    /// Show who is signed in on this machine, without asking the server
    #[arg(long, help_heading = "Saved credentials")]
    status: bool,

    /// Ask the server whether the session is still good: one line and an exit code, for monitors
    #[arg(long, help_heading = "Saved credentials")]
    check: bool,

    /// End the session and remove the credentials from this machine; machines that were given the token by `--export-token`
    /// are signed out too
    #[arg(long, help_heading = "Saved credentials")]
    logout: bool,

    /// Use this account from now on where several are signed in and none is named
    #[arg(long, value_name = "EMAIL|ID", help_heading = "Saved credentials")]
    default: Option<String>,

    /// Write the token, and no key, to FILE for another machine; `-` is standard output
    #[arg(long, value_name = "FILE", help_heading = "Saved credentials")]
    export_token: Option<PathBuf>,

    /// Write the keys, and no token, to FILE for another machine; `-` is standard output
    #[arg(long, value_name = "FILE", help_heading = "Saved credentials")]
    export_keys: Option<PathBuf>,

    /// Save what another machine exported to FILE; `-` is standard input
    #[arg(long, value_name = "FILE", help_heading = "Saved credentials")]
    import: Option<PathBuf>,
}

secret_args!(
    /// Where the password comes from, if not from the terminal.
    PasswordSource,
    "password",
    "the password",
    "Password"
);
secret_args!(
    /// Where the recovery key comes from.
    RecoverySource,
    "recovery-key",
    "the recovery key",
    "Recovery key"
);
secret_args!(
    /// Where codes from e-mails come from.
    EmailCodeSource,
    "email-code",
    "the code from the e-mail",
    "Codes"
);
secret_args!(
    /// Where codes of the authenticator come from.
    OtpSource,
    "otp",
    "the authenticator's code",
    "Codes"
);

impl Tool for Args {
    const NAME: &'static str = "ente-login";

    fn common(&self) -> &Common {
        &self.common
    }

    fn run(&self, io: &mut Io) -> Result<Exit, Failure> {
        let keystore = self.keystore.open(io)?.sealing(self.seal);
        let action = &self.action;
        if action.status {
            saved::status(&keystore, io)
        } else if let Some(name) = &action.default {
            saved::make_default(&keystore, self.select(Some(name)), io)
        } else if action.check {
            saved::check(&keystore, self.select(self.name()), &self.connection, io)
        } else if action.logout {
            saved::logout(&keystore, self.select(self.name()), &self.connection, io)
        } else if let Some(file) = &action.export_token {
            saved::export(&keystore, self.select(self.name()), Half::Token, file, io)
        } else if let Some(file) = &action.export_keys {
            saved::export(&keystore, self.select(self.name()), Half::Keys, file, io)
        } else if let Some(file) = &action.import {
            saved::import(&keystore, file, &self.connection, io)
        } else if let Some(dir) = &action.offline {
            self.sign_in_offline(&keystore, dir, io)
        } else {
            self.sign_in(&keystore, io)
        }
    }
}

impl Args {
    /// The account that is named, by whichever option.
    fn name(&self) -> Option<&str> {
        match (&self.email, self.keystore.select()) {
            (Some(email), _) => Some(email),
            (None, Select::Named(name)) => Some(name),
            (None, _) => None,
        }
    }

    /// The account of this name, of the server and app that are asked for.
    fn select<'a>(&'a self, name: Option<&'a str>) -> Select<'a> {
        Select::Within {
            name,
            endpoint: self.endpoint.as_ref().map(Endpoint::as_str),
            app: self.app.map(App::as_str),
        }
    }

    /// Signs in at the server and saves both credentials.
    fn sign_in(&self, keystore: &Keystore, io: &mut Io) -> Result<Exit, Failure> {
        let target = self.target(keystore)?;
        let endpoint = &target.endpoint;
        let client = Client::new(endpoint.clone(), target.app, &self.connection)?;
        if self.seal.is_some() && target.saved.is_some() {
            let text = "signing in anew; what is saved then replaces what was saved before";
            io.ui.note(text);
        }
        // A passphrase that cannot be had is better noticed before a code is spent.
        keystore.prepare(target.saved.as_ref())?;
        let interrupt = io.interrupt.clone();
        let work = sign_in::sign_in(self, client, &target, io);
        let signed_in = block_on(&interrupt, work)?;

        let account = Account {
            endpoint: endpoint.to_string(),
            app: target.app.as_str().to_owned(),
            user_id: signed_in.user_id,
            email: target.email,
        };
        save_keys(keystore, &account, &signed_in.keys)?;
        keystore.save_token(&account, &signed_in.token)?;
        io.ui.note(&format!("signed in as {}", account.email));
        Ok(Exit::Done)
    }

    /// Where to sign in and as whom: as the command line says, and else as before.
    fn target(&self, keystore: &Keystore) -> Result<Target, Failure> {
        let anywhere = self.name().map_or(Select::Default, Select::Named);
        let found = match keystore.find(self.select(self.name())) {
            // Not for this server or app yet; what was not said is as elsewhere.
            Err(KeystoreError::Unknown(_)) => keystore.find(anywhere),
            found => found,
        };
        let like = match (found, &self.email) {
            (Ok(entry), _) => Some(entry.account),
            (Err(KeystoreError::Empty | KeystoreError::Unknown(_)), Some(_)) => None,
            // The address is in use on several servers: all that would tell them apart was said.
            (Err(KeystoreError::Several(_)), Some(_)) if self.endpoint.is_some() => None,
            (Err(error), _) => return Err(error.into()),
        };
        let like = like.as_ref();
        let email = like.map(|like| &like.email).or(self.email.as_ref());
        let email = email.map_or_else(String::new, |email| email.trim().to_lowercase());
        let endpoint = match (&self.endpoint, like) {
            (Some(endpoint), _) => endpoint.clone(),
            (None, Some(like)) => saved::endpoint(like)?,
            (None, None) => Endpoint::production(),
        };
        let app = match (self.app, like) {
            (Some(app), _) => app,
            (None, Some(like)) => App::of(like)?,
            (None, None) => App::Photos,
        };
        let saved = keystore.find(Select::Within {
            name: Some(&email),
            endpoint: Some(endpoint.as_str()),
            app: Some(app.as_str()),
        });
        Ok(Target {
            saved: saved.ok(),
            email,
            endpoint,
            app,
        })
    }

    /// Opens the keys that an export carries, with the password or the recovery key and nothing else, and saves them.
    fn sign_in_offline(
        &self,
        keystore: &Keystore,
        dir: &Path,
        io: &mut Io,
    ) -> Result<Exit, Failure> {
        let export = Export::open(dir)?;
        let about = export.about();
        let attributes = KeyAttributes::deserialize(&about.key_attributes).map_err(|error| {
            Failure::new(
                Exit::Failed,
                format!("the export `{}` carries no keys", dir.display()),
            )
            .cause(error)
            .hint("run `ente-pull` once on a machine that is signed in")
        })?;
        let email = &about.account.email;
        let saved = keystore.find(Select::Account(&about.account)).ok();
        keystore.prepare(saved.as_ref())?;
        let recovery_key = ask::recovery_key(self, email, io)?;
        let password = match recovery_key {
            Some(_) => None,
            None => ask::given_password(self, io)?,
        };
        let at_hand = sign_in::AtHand {
            password,
            recovery_key,
            ..Default::default()
        };
        let keys = sign_in::open_keys(self, email, at_hand, &attributes, io)?;
        save_keys(keystore, &about.account, &keys)?;
        io.ui.note(&format!(
            "the keys of {email} are saved; `ente-decrypt` can use them"
        ));
        Ok(Exit::Done)
    }
}

/// Where to sign in and as whom.
struct Target {
    endpoint: Endpoint,
    app: App,
    email: String,
    /// The credentials that are to be renewed.
    saved: Option<Entry>,
}

fn save_keys(keystore: &Keystore, account: &Account, keys: &Keys) -> Result<(), Failure> {
    Ok(keystore.save_keys(account, &keys.master_key, &keys.key_pair)?)
}

/// Runs network work to its end, or until Ctrl-C.
fn block_on<T>(
    interrupt: &Interrupt,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, "cannot use the network").cause(error))?;
    let asked_to_stop = async {
        while !interrupt.is_set() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    runtime.block_on(async {
        tokio::select! {
            result = work => result,
            () = asked_to_stop => Err(interrupted()),
        }
    })
}

fn interrupted() -> Failure {
    Failure::new(Exit::Interrupted, "interrupted; nothing was saved")
}

#[cfg(test)]
mod golden {
    //! The golden account, as the server describes it.

    use ente_common::wire::KeyAttributes;
    use serde_json::Value;

    const ACCOUNT: &str = include_str!("../../../tests/golden/account/account.json");

    pub(crate) fn account() -> Value {
        serde_json::from_str(ACCOUNT).unwrap()
    }

    pub(crate) fn attributes() -> KeyAttributes {
        serde_json::from_value(account()["keyAttributes"].take()).unwrap()
    }
}

#[cfg(test)]
mod tests;
