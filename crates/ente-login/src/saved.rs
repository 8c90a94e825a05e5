//! What is done with saved credentials: showing, choosing, ending.

use std::fmt::Write as _;

use ente_common::api::{App, Client, Connection, Endpoint};
use ente_common::cli::{Io, output_failure};
use ente_common::exit::{Exit, Failure};
use ente_common::keystore::{Keystore, KeystoreError, Select};
use ente_common::manifest::Account;
use ente_common::ui::clean;

/// Prints one line per account, without asking any server.
pub(crate) fn status(keystore: &Keystore, io: &mut Io) -> Result<Exit, Failure> {
    let accounts = keystore.accounts()?;
    if accounts.is_empty() {
        return Err(KeystoreError::Empty.into());
    }
    let mut text = String::new();
    for entry in accounts {
        let account = &entry.account;
        let held = match (entry.has_token, entry.has_keys) {
            (true, true) => "token and keys",
            (true, false) => "token only",
            (false, _) => "keys only",
        };
        let mark = if entry.is_default { ", default" } else { "" };
        let folder = keystore.dir().join(&entry.folder);
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            text,
            "{} (user {} at {}): {held}{mark}, in {}",
            clean(&account.email),
            account.user_id,
            clean(&account.endpoint),
            clean(&folder.to_string_lossy()),
        );
    }
    io.output
        .write_all(text.as_bytes())
        .and_then(|()| io.output.flush())
        .map_err(|error| output_failure(&error))?;
    Ok(Exit::Done)
}

/// Makes an account the one that is used where none is named.
pub(crate) fn make_default(keystore: &Keystore, name: &str, io: &Io) -> Result<Exit, Failure> {
    let entry = keystore.find(Select::Named(name))?;
    keystore.set_default(&entry)?;
    io.ui
        .note(&format!("{} is the default now", entry.account.email));
    Ok(Exit::Done)
}

/// Ends the session on the server and removes the account's credentials from this machine; the
/// second also where the first is not possible.
pub(crate) fn logout(
    keystore: &Keystore,
    select: Select<'_>,
    connection: &Connection,
    io: &Io,
) -> Result<Exit, Failure> {
    let entry = keystore.find(select)?;
    let ended = match entry.has_token {
        true => end_session(keystore, &entry.folder, connection, io),
        false => Ok(()),
    };
    keystore.remove(&entry)?;
    match ended {
        Ok(()) => {
            io.ui
                .note(&format!("{} is signed out", entry.account.email));
            Ok(Exit::Done)
        }
        Err(failure) => {
            let what = "the credentials are removed, but the session goes on at the server";
            io.ui.warning(
                &Failure::new(Exit::Problems, what)
                    .cause(failure)
                    .hint("end it under Active sessions in one of Ente's own apps"),
            );
            Ok(Exit::Problems)
        }
    }
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
