//! Who asks: the saved token, and clients that use it.

use std::path::Path;
use std::time::Duration;

use ente_common::api::{App, Client, Connection, Endpoint};
use ente_common::cli::Io;
use ente_common::exit::{Exit, Failure};
use ente_common::manifest::{Account, Export};
use ente_common::record::Begin;

use crate::Args;

/// How long a call may take before those who watch are told that it still goes on.
const PATIENCE: Duration = Duration::from_secs(5);

/// A signed-in account and the clients for it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) account: Account,
    /// For listings; repeats what may pass.
    pub(crate) client: Client,
    /// For objects; repeats nothing by itself.
    pub(crate) downloads: Client,
}

impl Session {
    /// Loads the token of the account that is named, else of the export's, else the only or default one. Nothing is sent.
    pub(crate) fn open(args: &Args, dir: &Path, io: &Io) -> Result<Self, Failure> {
        let keystore = args.keystore.open(io)?;
        let is_there = match args.init {
            // What is damaged is to be replaced.
            true => Export::is_whole_at(dir)?,
            false => Export::is_at(dir)?,
        };
        let owner = match is_there {
            true => Some(Export::open(dir)?.about().account.clone()),
            false => None,
        };
        let select = match &owner {
            Some(owner) => args.keystore.select_for(owner),
            None => args.keystore.select(),
        };
        let saved = keystore.token(select)?;
        let endpoint = Endpoint::parse(&saved.account.endpoint).map_err(|error| {
            let what = format!("`{}` is no server", saved.account.endpoint);
            Failure::new(Exit::Failed, what).cause(error)
        })?;
        let app = App::of(&saved.account)?;
        let client = |connection: &Connection| {
            let client = Client::new(endpoint.clone(), app, connection)?;
            Ok::<_, Failure>(client.with_token(saved.token.clone()))
        };
        let once = Connection {
            retries: 0,
            ..args.connection.clone()
        };
        let ui = io.ui.clone();
        let tell =
            move |call: &str| ui.waiting(&format!("still waiting for an answer to `{call}`"));
        Ok(Self {
            client: client(&args.connection)?.on_wait(PATIENCE, tell),
            downloads: client(&once)?,
            account: saved.account,
        })
    }

    /// Refuses records of another account.
    pub(crate) fn check(&self, begin: &Begin) -> Result<(), Failure> {
        if self.account.is(&begin.account) {
            return Ok(());
        }
        Err(
            Failure::new(Exit::Refused, "the records are of another account")
                .cause(format!(
                    "they are of `{}` ({}) at {}; signed in is `{}` ({}) at {}",
                    begin.account.email,
                    begin.account.user_id,
                    begin.account.endpoint,
                    self.account.email,
                    self.account.user_id,
                    self.account.endpoint
                ))
                .hint("choose the account with `--account`"),
        )
    }
}
