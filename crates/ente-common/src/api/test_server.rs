//! A server for tests that says what it was told to say, one answer per connection, and remembers
//! what it was asked.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{App, Client, Connection, Endpoint, Retry};
use crate::token::Token;

/// One prepared answer.
pub(super) struct Canned {
    head: String,
    body: String,
}

impl Canned {
    pub(super) fn new(status: u16) -> Self {
        Self {
            head: format!("HTTP/1.1 {status} Canned\r\nconnection: close\r\n"),
            body: String::new(),
        }
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        write!(self.head, "{name}: {value}\r\n").unwrap();
        self
    }

    pub(super) fn body(mut self, body: &str) -> Self {
        self.body = body.to_owned();
        self
    }

    fn bytes(&self) -> String {
        let length = match self.head.contains("content-length") {
            true => String::new(),
            false => format!("content-length: {}\r\n", self.body.len()),
        };
        format!("{}{length}\r\n{}", self.head, self.body)
    }
}

/// A server on the loopback interface; its thread ends with the last answer.
pub(super) struct TestServer {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl TestServer {
    pub(super) fn start(answers: impl IntoIterator<Item = Canned>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let answers: Vec<_> = answers.into_iter().collect();
        std::thread::spawn(move || {
            for canned in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |length| length.parse().unwrap());
                let mut body = vec![0; length];
                stream.read_exact(&mut body).unwrap();
                seen.lock()
                    .unwrap()
                    .push(head + &String::from_utf8(body).unwrap());
                stream.write_all(canned.bytes().as_bytes()).unwrap();
            }
        });
        Self { url, requests }
    }

    pub(super) fn url(&self) -> String {
        self.url.clone()
    }

    /// Heads and bodies of the requests so far.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(super) fn client(&self) -> Client {
        client_of(&self.url)
    }

    pub(super) fn client_with_token(&self) -> Client {
        self.client()
            .with_token(Token::from_bytes(&[7; 32]).unwrap())
    }
}

/// A client that repeats twice, without a pause.
pub(super) fn client_of(url: &str) -> Client {
    let endpoint = Endpoint::parse(url).unwrap();
    let mut client = Client::new(endpoint, App::Photos, &Connection::default()).unwrap();
    client.retry = Retry {
        retries: 2,
        first_pause: Duration::ZERO,
        longest_pause: Duration::ZERO,
    };
    client
}
