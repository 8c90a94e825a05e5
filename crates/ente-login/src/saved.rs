//! What is done with saved credentials: showing, checking, choosing, moving, ending.

use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;

use ente_common::api::{
    App, Client, Connection, ConnectionError, Endpoint, ErrorKind, session_ended,
};
use ente_common::cli::{Io, output_failure};
use ente_common::disk;
use ente_common::exit::{Exit, Failure};
use ente_common::keystore::{Half, Keystore, KeystoreError, Seal, Select};
use ente_common::manifest::Account;
use ente_common::ui::clean;

/// Prints one line per account, without asking any server.
pub(crate) fn status(keystore: &Keystore, io: &mut Io) -> Result<Exit, Failure> {
    let (accounts, mut unreadable) = keystore.survey()?;
    if accounts.is_empty() {
        let error = unreadable.pop().map_or(KeystoreError::Empty, |it| it.error);
        return Err(error.into());
    }
    let mut text = String::new();
    for entry in accounts {
        let account = &entry.account;
        let held = match (entry.token, entry.keys) {
            (Some(token), Some(keys)) if token != keys => {
                let by = |seal| sealed(seal).strip_prefix(", ").unwrap_or("not sealed");
                format!("token ({}) and keys ({})", by(token), by(keys))
            }
            (Some(_), Some(keys)) => format!("token and keys{}", sealed(keys)),
            (Some(token), None) => format!("token only{}", sealed(token)),
            (None, keys) => format!("keys only{}", keys.map_or("", sealed)),
        };
        let app = match account.app.as_str() {
            "photos" => String::new(),
            app => format!(", {}", clean(app)),
        };
        let mark = if entry.is_default { ", default" } else { "" };
        let folder = keystore.dir().join(&entry.folder);
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            text,
            "{} (user {} at {}{app}): {held}{mark}, in {}",
            clean(&account.email),
            account.user_id,
            clean(&account.endpoint),
            clean(&folder.to_string_lossy()),
        );
    }
    print(io, text.as_bytes())?;
    let mut exit = Exit::Done;
    for it in unreadable {
        let failure = Failure::from(it.error);
        exit = failure.exit;
        io.ui.warning(&failure);
    }
    Ok(exit)
}

fn sealed(seal: Seal) -> &'static str {
    match seal {
        Seal::None => "",
        Seal::Passphrase => ", sealed by a passphrase",
        Seal::Keyring => ", sealed by the system's key store",
    }
}

fn print(io: &mut Io, text: &[u8]) -> Result<(), Failure> {
    io.output
        .write_all(text)
        .and_then(|()| io.output.flush())
        .map_err(|error| output_failure(&error))
}

/// Asks the server whether the session is still good. Prints one line in any case; the exit code says the same.
pub(crate) fn check(
    keystore: &Keystore,
    select: Select<'_>,
    connection: &Connection,
    io: &mut Io,
) -> Result<Exit, Failure> {
    let (exit, line) = match keystore.find(select) {
        Ok(entry) => {
            let (exit, said) = match last_used(keystore, &entry.account, connection, io) {
                Ok(at_us) => (Exit::Done, good(at_us, io)),
                Err(failure) => (failure.exit, one_line(&failure)),
            };
            (exit, format!("{}: {said}", entry.account.email))
        }
        Err(error) => {
            let failure = Failure::from(error);
            (failure.exit, one_line(&failure))
        }
    };
    print(io, format!("{}\n", clean(&line)).as_bytes())?;
    Ok(exit)
}

/// Says when a session that is good was used last.
fn good(last_used_at_us: Option<i64>, io: &Io) -> String {
    let Some(at_us) = last_used_at_us else {
        return "the session is good".to_owned();
    };
    let ago = match ((io.clock)() - at_us) / 86_400_000_000 {
        ..1 => "today".to_owned(),
        1 => "1 day ago".to_owned(),
        days => format!("{days} days ago"),
    };
    format!("the session is good; last used {ago}")
}

fn one_line(failure: &Failure) -> String {
    match &failure.hint {
        Some(hint) => format!("{failure}; {hint}"),
        None => failure.to_string(),
    }
}

fn last_used(
    keystore: &Keystore,
    account: &Account,
    connection: &Connection,
    io: &Io,
) -> Result<Option<i64>, Failure> {
    let saved = keystore.token(Select::Account(account))?;
    let (endpoint, app) = (endpoint(account)?, App::of(account)?);
    let client = Client::new(endpoint, app, connection)?.with_token(saved.token);
    crate::block_on(&io.interrupt, async {
        let answer = client.last_used().await;
        answer.map_err(|error| match error.kind {
            ErrorKind::Unauthorized => session_ended(account),
            _ => error.into(),
        })
    })
}

/// Writes one half of the credentials to a file that is complete in itself.
pub(crate) fn export(
    keystore: &Keystore,
    select: Select<'_>,
    half: Half,
    file: &Path,
    io: &mut Io,
) -> Result<Exit, Failure> {
    let text = keystore.export(select, half)?;
    if file.as_os_str() == "-" {
        print(io, &text)?;
    } else {
        disk::write_whole(file, &text, true)
            .map_err(|error| Failure::disk(format!("cannot write `{}`", file.display()), &error))?;
    }
    Ok(Exit::Done)
}

/// Saves what [`export`] wrote on another machine.
pub(crate) fn import(
    keystore: &Keystore,
    file: &Path,
    connection: &Connection,
    io: &mut Io,
) -> Result<Exit, Failure> {
    // What cannot be used is better refused here than at night.
    let allowed = |account: &Account| {
        let endpoint = endpoint(account)?;
        match connection.allows(&endpoint) {
            true => Ok(()),
            false => Err(ConnectionError::PlainHttp(endpoint).into()),
        }
    };
    let (name, imported) = if file.as_os_str() == "-" {
        let name = Path::new("standard input");
        (name, keystore.import(&mut io.input, name, allowed))
    } else {
        let opened = File::open(file)
            .map_err(|error| Failure::disk(format!("cannot read `{}`", file.display()), &error))?;
        (file, keystore.import(opened, file, allowed))
    };
    let (account, half) = imported.map_err(|error| match error {
        KeystoreError::Damaged(path) if path == name => {
            let what = format!("`{}` holds no credentials", name.display());
            Failure::new(Exit::Failed, what)
                .hint("make it with `ente-login --export-token FILE` or `--export-keys FILE`")
        }
        error => error.into(),
    })?;
    let what = match half {
        Half::Token => "the token",
        Half::Keys => "the keys",
    };
    io.ui
        .note(&format!("{what} of {} can be used here", account.email));
    Ok(Exit::Done)
}

/// Makes an account the one that is used where none is named.
pub(crate) fn make_default(
    keystore: &Keystore,
    select: Select<'_>,
    io: &Io,
) -> Result<Exit, Failure> {
    let entry = keystore.find(select)?;
    keystore.set_default(&entry)?;
    io.ui
        .note(&format!("{} is the default now", entry.account.email));
    Ok(Exit::Done)
}

/// Ends the session on the server and removes the account's credentials from this machine; the second also where the first
/// is not possible, as with damaged ones that are named, but not where the person changed their mind or has to agree first.
pub(crate) fn logout(
    keystore: &Keystore,
    select: Select<'_>,
    connection: &Connection,
    io: &Io,
) -> Result<Exit, Failure> {
    let entry = match (keystore.find(select), select.name()) {
        (Err(KeystoreError::Damaged(_)), Some(name)) => {
            keystore.remove_damaged(name)?;
            return Ok(still_alive("they are damaged", io));
        }
        (found, _) => found?,
    };
    let ended = match entry.token {
        Some(_) => end_session(keystore, &entry.folder, connection, io),
        None => Ok(()),
    };
    match &ended {
        Err(failure) if failure.exit == Exit::Interrupted => {
            let what = "interrupted; the credentials are still here";
            return Err(Failure::new(Exit::Interrupted, what));
        }
        Err(failure) if failure.exit == Exit::Usage => return Err(failure.clone()),
        _ => keystore.remove(&entry)?,
    }
    match ended {
        Ok(()) => {
            io.ui
                .note(&format!("{} is signed out", entry.account.email));
            Ok(Exit::Done)
        }
        Err(failure) => Ok(still_alive(failure, io)),
    }
}

/// Warns of a session that nobody but its owner can end now.
fn still_alive(cause: impl std::fmt::Display, io: &Io) -> Exit {
    let what = "the credentials are removed, but the session goes on at the server";
    io.ui.warning(
        &Failure::new(Exit::Problems, what)
            .cause(cause)
            .hint("end it under Active sessions in one of Ente's own apps"),
    );
    Exit::Problems
}

fn end_session(
    keystore: &Keystore,
    folder: &str,
    connection: &Connection,
    io: &Io,
) -> Result<(), Failure> {
    let saved = keystore.token(Select::Named(folder))?;
    let (endpoint, app) = (endpoint(&saved.account)?, App::of(&saved.account)?);
    let client = Client::new(endpoint, app, connection)?.with_token(saved.token);
    crate::block_on(&io.interrupt, async { Ok(client.logout().await?) })
}

/// The server of a saved account.
pub(crate) fn endpoint(account: &Account) -> Result<Endpoint, Failure> {
    Endpoint::parse(&account.endpoint).map_err(|error| {
        let what = format!(
            "the saved address of the server, `{}`, is no good",
            account.endpoint
        );
        Failure::new(Exit::Failed, what)
            .cause(error)
            .hint("sign in again with `--endpoint URL`")
    })
}
