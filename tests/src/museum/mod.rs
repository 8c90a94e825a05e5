//! A stand-in for the Ente server ("museum"), in process, on 127.0.0.1.
//!
//! [`Museum::start`] opens two ports: the API, and a second origin that plays the object store behind presigned
//! links. It runs on threads of its own until it is dropped. Tests change the account between runs through
//! [`Museum::with_library`], read what was asked from [`Museum::requests`], and make the server misbehave with
//! [`Museum::inject`].
//!
//! Left out: everything that writes to an account over HTTP, public links.

mod answer;
mod auth;
mod cache;
mod clock;
mod faults;
mod harm;
mod listing;
mod log;
mod mail;
mod paging;
mod passkey;
mod server;
mod session;
pub(crate) mod srp;
mod store;
#[cfg(test)]
mod tests;
pub mod totp;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::library::{Library, Part};

pub use clock::Clock;
pub use faults::{Conditions, Edit, Fault, Match};
pub use log::{Origin, Request, Served};

use server::{Ports, Shared};

/// How a server is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Port of the API; 0 for any that is free.
    pub api_port: u16,
    /// Entries that a page of a diff aims at.
    pub page_size: usize,
    /// How long a presigned link is valid.
    pub link_lifetime: Duration,
    /// The time that links, codes and sessions see.
    pub clock: Clock,
    /// Calls of one sign-in route that are answered per minute; the real server allows 10.
    pub sign_in_calls_per_minute: Option<usize>,
    /// Whether requests are kept to be looked at; a measurement of millions does without.
    pub keeps_log: bool,
    /// Whether an unknown address gets invented parameters in place of 404, as under attack.
    pub invents_attributes: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            api_port: 0,
            page_size: 2500,
            link_lifetime: Duration::from_secs(7 * 24 * 3600),
            clock: Clock::system(),
            sign_in_calls_per_minute: None,
            keeps_log: true,
            invents_attributes: false,
        }
    }
}

/// A running server. Dropping it closes both ports.
pub struct Museum {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
    api_url: String,
    ports: Ports,
}

impl Museum {
    /// Starts a server for one account.
    ///
    /// # Panics
    ///
    /// If no port or thread is to be had.
    pub fn start(library: Library, options: Options) -> Self {
        let ports = Ports::reserve(options.api_port).expect("ports are free");
        let shared = server::share(library, options, &ports);
        let mut museum = Self {
            shared: shared.expect("ports have addresses"),
            runtime: None,
            api_url: ports.api_url().expect("ports have addresses"),
            ports,
        };
        museum.revive();
        museum
    }

    /// Closes both ports and every connection, in the middle of whatever goes on. Sessions and links survive.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waits until nothing runs any more, so that all is closed.
            runtime.shutdown_timeout(Duration::from_secs(10));
        }
    }

    /// Listens at the same ports again.
    ///
    /// # Panics
    ///
    /// If no thread is to be had.
    pub fn revive(&mut self) {
        self.kill();
        let runtime = runtime();
        let listening = runtime.block_on(server::listen(&self.shared, &self.ports));
        listening.expect("reserved ports open");
        self.runtime = Some(runtime);
    }

    /// Base of the API, without a trailing slash.
    pub fn api_url(&self) -> &str {
        &self.api_url
    }

    /// Base of the object store, without a trailing slash.
    pub fn store_url(&self) -> &str {
        &self.shared.store_url
    }

    /// The clock that the server was started with.
    pub fn clock(&self) -> &Clock {
        &self.shared.options.clock
    }

    /// Adds another account.
    pub fn add_account(&self, library: Library) {
        self.shared.libraries().push(library);
    }

    /// Looks into or changes the first account. Requests wait meanwhile, and so would a call of this server from
    /// within.
    pub fn with_library<R>(&self, change: impl FnOnce(&mut Library) -> R) -> R {
        change(&mut self.shared.libraries()[0])
    }

    /// Looks into or changes the account with this address.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn with_library_of<R>(&self, email: &str, change: impl FnOnce(&mut Library) -> R) -> R {
        let mut libraries = self.shared.libraries();
        let library = libraries
            .iter_mut()
            .find(|library| library.account().email == email);
        change(library.expect("an account with this address"))
    }

    /// A session token of the first account, without signing in.
    pub fn issue_token(&self) -> String {
        self.shared.issue_token(0, session::App::Photos).plain
    }

    /// The codes that were sent to this address, in order.
    pub fn mailbox(&self, email: &str) -> Vec<String> {
        self.shared.auth().mail.sent_to(email)
    }

    /// Passes the passkey page with the newest session, as a person in a browser does. The address that the page
    /// leads to at its end.
    ///
    /// # Panics
    ///
    /// If no session waits for a passkey.
    pub fn pass_passkey(&self) -> String {
        self.shared.pass_passkey()
    }

    /// Ends every session, as a password change does.
    pub fn revoke_tokens(&self) {
        self.shared.auth().revoke_all();
    }

    /// From now on does this to the next `times` requests that fit, or with `None` to all of them.
    pub fn inject(&self, matches: Match, fault: Fault, times: Option<usize>) {
        self.shared.harm.faults.inject(matches, fault, times);
    }

    /// Takes back all faults. Conditions stay.
    pub fn clear_faults(&self) {
        self.shared.harm.faults.clear();
    }

    /// Sets what every request meets from now on.
    pub fn set_conditions(&self, conditions: Conditions) {
        *lock(&self.shared.harm.conditions) = conditions;
    }

    /// Every request since the start or the last [`Museum::reset_log`], in order of arrival; none where the log is not kept.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.log.requests()
    }

    /// The files whose original was asked for and served, wholly or in part, each once.
    pub fn fetched_objects(&self) -> BTreeSet<i64> {
        let requests = self.requests();
        let served = requests
            .iter()
            .filter_map(|request| request.served.as_ref());
        served
            .filter(|served| served.key.part == Part::Original)
            .map(|s| s.key.file)
            .collect()
    }

    /// The requests that carried a session token to the object store: there must never be one.
    pub fn leaked_tokens(&self) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|r| r.origin == Origin::Store && r.carries_token());
        requests
    }

    /// Forgets the requests and connections so far.
    pub fn reset_log(&self) {
        self.shared.log.reset();
    }

    /// Connections that were accepted since the start or the last [`Museum::reset_log`].
    pub fn connections(&self, origin: Origin) -> usize {
        self.shared.log.connections(origin)
    }
}

impl Drop for Museum {
    fn drop(&mut self) {
        // Requests may be stalled on purpose: nothing is waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("museum")
        .enable_all()
        .build()
        .expect("a runtime starts")
}

/// Locks; a test that panicked while holding a lock has failed already, so its poison is no news.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Sixteen bytes in the form of a UUID.
pub(crate) fn uuid(bytes: [u8; 16]) -> String {
    let digits = hex::encode(bytes);
    let (a, b, c) = (&digits[..8], &digits[8..12], &digits[12..16]);
    format!("{a}-{b}-{c}-{}-{}", &digits[16..20], &digits[20..])
}
