//! A server has to prove who it is before it learns anything.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ente_tests::harness::Machine;
use ente_tests::library::{GoldenState, Library};
use ente_tests::museum::{Museum, Options};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::{EMAIL, PASSWORD};

fn vector(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("vectors/tls")
        .join(name)
}

/// What people see of a server that speaks TLS: requests are handed on to another one, which does not.
struct Front {
    port: u16,
    /// Requests that came through.
    requests: Arc<AtomicUsize>,
}

impl Front {
    fn start(certificate: &str, backend: &str) -> Self {
        let certificate = CertificateDer::from_pem_file(vector(certificate)).unwrap();
        let key = PrivateKeyDer::from_pem_file(vector("server.key")).unwrap();
        // A provider of its own: the process may have got one from somebody else.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth();
        let config = Arc::new(config.with_single_cert(vec![certificate], key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let backend = backend.trim_start_matches("http://").to_owned();
        let requests = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
                let stream = StreamOwned::new(tls, stream.unwrap());
                let (backend, seen) = (backend.clone(), Arc::clone(&seen));
                // A client that refuses the certificate goes away in the middle of the handshake.
                std::thread::spawn(move || serve(stream, &backend, &seen).unwrap_or_default());
            }
        });
        Self { port, requests }
    }
}

/// Hands one request on, and its answer back.
fn serve(
    mut client: StreamOwned<ServerConnection, TcpStream>,
    backend: &str,
    seen: &AtomicUsize,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    seen.fetch_add(1, Ordering::Relaxed);
    let head = String::from_utf8_lossy(&request).to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    client.read_exact(&mut body)?;
    // One request to a connection, so that the answer ends where the connection does.
    request.truncate(request.len() - 2);
    request.extend(b"connection: close\r\n\r\n");
    request.extend(body);
    let mut server = TcpStream::connect(backend)?;
    server.write_all(&request)?;
    std::io::copy(&mut server, &mut client)?;
    client.conn.send_close_notify();
    client.flush()
}

fn sign_in(machine: &Machine, endpoint: &str, options: &[&str]) -> i32 {
    let file = machine.home().join("password");
    std::fs::write(&file, PASSWORD).unwrap();
    let mut line = vec!["ente-login", "--endpoint", endpoint, "--password-file"];
    line.push(file.to_str().unwrap());
    line.extend(options);
    line.push(EMAIL);
    machine.run(&line).code
}

#[test]
fn a_server_that_cannot_prove_itself_learns_nothing() {
    let museum = Museum::start(Library::golden(GoldenState::Initial), Options::default());
    let authority = vector("ca.pem");
    let trust = ["--ca-file", authority.to_str().unwrap()];
    let good = Front::start("server.pem", museum.api_url());
    let expired = Front::start("expired.pem", museum.api_url());
    let machine = crate::machine();
    for (what, front, host, options) in [
        ("unknown authority", &good, "localhost", &[][..]),
        ("another name", &good, "127.0.0.1", &trust),
        ("long over", &expired, "localhost", &trust),
    ] {
        let endpoint = format!("https://{host}:{}", front.port);
        assert_eq!(sign_in(&machine, &endpoint, options), 13, "{what}");
        assert_eq!(front.requests.load(Ordering::Relaxed), 0, "{what}");
    }
    let endpoint = format!("https://localhost:{}", good.port);
    assert_eq!(sign_in(&machine, &endpoint, &trust), 0);
    let before = good.requests.load(Ordering::Relaxed);
    let refused = machine
        .run(&["ente-pull", "--list", machine.dir()])
        .expect(13);
    assert!(
        refused.stderr.contains("the certificate is not trusted"),
        "{}",
        refused.stderr
    );
    assert_eq!(good.requests.load(Ordering::Relaxed), before);
    let line = ["ente-pull", "--list", trust[0], trust[1], machine.dir()];
    let listed = machine.run(&line).expect(0);
    assert_eq!(listed.records_of("file").len(), 27);
    assert!(good.requests.load(Ordering::Relaxed) > before);
}
