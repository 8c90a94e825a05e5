//! What was asked of the server.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use axum::extract::Request as HttpRequest;

use super::lock;
use crate::library::ObjectKey;

/// Which of the two ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The API.
    Api,
    /// The object store.
    Store,
}

/// One request as it came in, and what it was answered with.
#[derive(Debug, Clone)]
pub struct Request {
    /// The port it came to.
    pub origin: Origin,
    /// `GET`, `POST`, …
    pub method: String,
    /// The path, undecoded.
    pub path: String,
    /// The query without `?`, undecoded; empty if there is none.
    pub query: String,
    /// Headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Status of the answer; 0 while there is none.
    pub status: u16,
    /// The object that was sent, if one was.
    pub served: Option<Served>,
    /// When it came.
    pub arrived: Instant,
    /// When its answer began.
    pub answered: Option<Instant>,
}

/// The part of an object that an answer carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Which object.
    pub key: ObjectKey,
    /// The bytes of it that the answer announced.
    pub range: Range<u64>,
}

impl Request {
    /// The value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether a session token is in the headers or in the query.
    pub fn carries_token(&self) -> bool {
        self.header("x-auth-token").is_some()
            || self.query.split('&').any(|pair| pair.starts_with("token="))
    }
}

pub(crate) struct Log {
    keeps: bool,
    requests: Mutex<BTreeMap<u64, Request>>,
    next: AtomicU64,
    api_connections: AtomicUsize,
    store_connections: AtomicUsize,
}

impl Log {
    /// An empty log, which keeps requests or only counts connections.
    pub(crate) fn new(keeps: bool) -> Self {
        Self {
            keeps,
            requests: Mutex::default(),
            next: AtomicU64::default(),
            api_connections: AtomicUsize::default(),
            store_connections: AtomicUsize::default(),
        }
    }

    /// Notes a request at its arrival; the number is for [`Log::answered`].
    pub(crate) fn arrived(&self, origin: Origin, request: &HttpRequest) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if !self.keeps {
            return number;
        }
        let headers = request.headers().iter();
        let entry = Request {
            origin,
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            headers: headers
                .map(|(name, value)| {
                    (
                        name.to_string(),
                        String::from_utf8_lossy(value.as_bytes()).into_owned(),
                    )
                })
                .collect(),
            status: 0,
            served: None,
            arrived: Instant::now(),
            answered: None,
        };
        lock(&self.requests).insert(number, entry);
        number
    }

    /// Notes the answer. Does nothing for a request from before the last reset.
    pub(crate) fn answered(&self, number: u64, status: u16, served: Option<Served>) {
        if let Some(entry) = lock(&self.requests).get_mut(&number) {
            entry.status = status;
            entry.served = served;
            entry.answered = Some(Instant::now());
        }
    }

    pub(crate) fn connected(&self, origin: Origin) {
        self.counter(origin).fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn connections(&self, origin: Origin) -> usize {
        self.counter(origin).load(Ordering::Relaxed)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        lock(&self.requests).values().cloned().collect()
    }

    pub(crate) fn reset(&self) {
        lock(&self.requests).clear();
        self.api_connections.store(0, Ordering::Relaxed);
        self.store_connections.store(0, Ordering::Relaxed);
    }

    fn counter(&self, origin: Origin) -> &AtomicUsize {
        match origin {
            Origin::Api => &self.api_connections,
            Origin::Store => &self.store_connections,
        }
    }
}
