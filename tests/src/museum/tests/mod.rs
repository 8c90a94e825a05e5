//! The server over real connections, with a client of a few lines.

mod faults;
mod listing;
mod signing_in;
mod store;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use super::{Clock, Museum, Options};
use crate::library::{GoldenState, Library};

/// An answer as it came.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// Sends one request on a connection of its own and reads until the server closes it.
fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let (host, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut head = format!("{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).unwrap();
    let split = raw
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .expect("a head");
    let head = String::from_utf8(raw[..split].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap());
    Answer {
        status,
        headers: headers.map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
        body: raw[split + 4..].to_vec(),
    }
}

fn get(url: &str, token: &str) -> Answer {
    send("GET", url, &[("X-Auth-Token", token)], "")
}

fn golden() -> (Museum, String) {
    let options = Options {
        clock: Clock::fixed(1_700_000_000),
        ..Options::default()
    };
    let museum = Museum::start(Library::golden(GoldenState::Initial), options);
    let token = museum.issue_token();
    (museum, token)
}

fn post(museum: &Museum, path: &str, body: Value) -> Answer {
    send(
        "POST",
        &format!("{}{path}", museum.api_url()),
        &[],
        &body.to_string(),
    )
}
