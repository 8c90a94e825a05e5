//! The HTTP client: login calls, the listing of a library, and the fetching of objects.
//!
//! It speaks to two kinds of host. The **API** gets the token, the client package and JSON. The
//! **object store**, to which the API points by a redirect, gets a bare request: redirects are
//! followed by hand, so no header of ours can travel to another host.
//!
//! Bodies of the library are handed on as served, unparsed; what they mean is not known here.
//! Resuming, verifying and storing objects is the caller's.

mod account;
mod endpoint;
mod error;
mod library;
mod object;
mod retry;
#[cfg(test)]
mod test_server;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use clap::ValueEnum;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Certificate, ClientBuilder, RequestBuilder, Response, redirect};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

pub use account::{Authorization, Next, PasskeySession, Session, SrpAttributes, SrpSession};
pub use endpoint::{Endpoint, EndpointError};
pub use error::{Answer, ApiError, ErrorKind, session_ended};
pub use object::{Fetched, ObjectBody};
pub use retry::Retry;

use crate::exit::{Exit, Failure, chain};
use crate::manifest::Account;
use crate::token::Token;

/// Which app's data a session is for; a token and an e-mail code are only valid together with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum App {
    /// Ente Photos.
    #[default]
    Photos,
    /// Ente Locker.
    Locker,
}

impl App {
    /// As credentials and exports name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Photos => "photos",
            Self::Locker => "locker",
        }
    }

    /// The app of saved credentials.
    ///
    /// # Errors
    /// When this build does not know it.
    pub fn of(account: &Account) -> Result<Self, Failure> {
        let known = Self::value_variants().iter();
        let mut found = known.filter(|app| app.as_str() == account.app);
        found.next().copied().ok_or_else(|| {
            Failure::new(
                Exit::Failed,
                format!("the app `{}` is not known", account.app),
            )
            .hint("update the tools, or sign in again with `ente-login`")
        })
    }

    /// As requests name it. The official clients send the same.
    pub fn client_package(self) -> &'static str {
        match self {
            Self::Photos => "io.ente.photos",
            Self::Locker => "io.ente.locker",
        }
    }
}

/// The largest JSON body of a library that is read. A page of a listing has 2,500 entries of 1 to 2 KB; a bulk
/// move may put more into one.
const MAX_JSON_BYTES: usize = 64 * 1024 * 1024;

/// The largest JSON body about an account: some keys, or a list of sessions.
const MAX_ACCOUNT_BYTES: usize = 1024 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Turns at parsing, one for each core: more threads would only hold more memory.
static PARSERS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)));

/// How to reach the server: the options of every tool that does.
#[derive(Debug, Clone, clap::Args)]
pub struct Connection {
    /// Trust the certificates in this PEM file too (for self-hosted servers)
    #[arg(
        long,
        value_name = "FILE",
        env = "ENTE_CA_FILE",
        hide_env_values = true,
        help_heading = "Connection"
    )]
    pub ca_file: Option<PathBuf>,

    /// Speak plain `http` to a server on another machine, readable by everybody on the way
    #[arg(long, help_heading = "Connection")]
    pub insecure_http: bool,

    /// How often to repeat a request that failed for a reason that may pass
    #[arg(long, value_name = "N", default_value_t = Retry::default().retries, help_heading = "Connection")]
    pub retries: u32,

    /// How long a server may stay silent, before its answer and within it
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = parse_seconds, help_heading = "Connection")]
    pub timeout: Duration,
}

impl Connection {
    /// Whether a session may be shown to this server: not in the clear to another machine, unless that was agreed to.
    pub fn allows(&self, endpoint: &Endpoint) -> bool {
        !endpoint.is_plain_http() || endpoint.is_loopback() || self.insecure_http
    }
}

/// Parses a time that is worth waiting for: `30`, `0.5`.
fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if !(0.01..=86_400.0).contains(&seconds) {
        return Err("not between 0.01 and 86400".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            ca_file: None,
            insecure_http: false,
            retries: Retry::default().retries,
            timeout: Duration::from_secs(30),
        }
    }
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// Everybody on the way could read and use the session, and nobody agreed to that.
    #[error("`{0}` is plain http")]
    PlainHttp(Endpoint),
    /// The extra certificates cannot be read.
    #[error("cannot read the certificates in `{path}`")]
    CaFile {
        /// The file as given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds none.
    #[error("no certificate in PEM form in `{0}`")]
    NoCertificate(PathBuf),
    /// The platform's certificate store cannot be used, or a certificate cannot.
    #[error("cannot set up TLS")]
    Tls(#[from] reqwest::Error),
}

impl From<ConnectionError> for Failure {
    fn from(error: ConnectionError) -> Self {
        if let ConnectionError::PlainHttp(_) = error {
            return Failure::new(Exit::Usage, error.to_string())
                .cause("everybody on the way could read the session and use it")
                .hint("use `https`, or `--insecure-http` in a network that you trust");
        }
        Failure::new(Exit::Failed, "cannot prepare the connection")
            .cause(chain(&error))
            .hint("check the file that `--ca-file` or `ENTE_CA_FILE` names")
    }
}

/// A client of one server, with or without a session. Cheap to clone; connections are shared.
#[derive(Debug, Clone)]
pub struct Client {
    api: reqwest::Client,
    store: reqwest::Client,
    endpoint: Endpoint,
    token: Option<Token>,
    retry: Retry,
    on_wait: OnWait,
}

/// Somebody who is told of calls that take long.
#[derive(Clone, Default)]
struct OnWait(Option<(Duration, Arc<Tell>)>);

type Tell = dyn Fn(&str) + Send + Sync;

impl fmt::Debug for OnWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnWait")
    }
}

impl OnWait {
    /// Waits for a call to end, telling its name meanwhile.
    async fn through<T>(&self, name: &str, call: impl Future<Output = T>) -> T {
        let Some((patience, tell)) = &self.0 else {
            return call.await;
        };
        let mut call = std::pin::pin!(call);
        loop {
            match tokio::time::timeout(*patience, &mut call).await {
                Ok(result) => return result,
                Err(_) => tell(name),
            }
        }
    }
}

impl Client {
    /// Makes a client without a session. Nothing is sent.
    ///
    /// # Errors
    /// When the certificates cannot be used, and for plain http to another machine without consent.
    pub fn new(
        endpoint: Endpoint,
        app: App,
        connection: &Connection,
    ) -> Result<Self, ConnectionError> {
        if !connection.allows(&endpoint) {
            return Err(ConnectionError::PlainHttp(endpoint));
        }
        // Fails only when a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let extra = extra_certificates(connection)?;
        let base = || {
            let builder = ClientBuilder::new()
                .user_agent(concat!("ente-tools/", env!("CARGO_PKG_VERSION")))
                .redirect(redirect::Policy::none())
                // Before the other, which runs meanwhile and would not say what was waited for.
                .connect_timeout(CONNECT_TIMEOUT.min(connection.timeout * 9 / 10))
                .read_timeout(connection.timeout)
                .tls_certs_merge(extra.iter().cloned());
            // A proxy's loopback is another machine's.
            if endpoint.is_loopback() {
                builder.no_proxy()
            } else {
                builder
            }
        };
        let package = HeaderValue::from_static(app.client_package());
        let api = base()
            .default_headers(HeaderMap::from_iter([(
                "x-client-package".parse().expect("a valid name"),
                package,
            )]))
            .build()?;
        // HTTP/1.1, so that parallel downloads have a connection each: in HTTP/2 they would share
        // one, and one lost packet would hold up all.
        let store = base().http1_only().no_gzip().build()?;
        Ok(Self {
            api,
            store,
            endpoint,
            token: None,
            retry: Retry {
                retries: connection.retries,
                ..Retry::default()
            },
            on_wait: OnWait::default(),
        })
    }

    /// The same client with a session.
    pub fn with_token(self, token: Token) -> Self {
        Self {
            token: Some(token),
            ..self
        }
    }

    /// The same client, which tells the name of a call each time that it has taken `patience` more, repetitions and pauses
    /// included.
    pub fn on_wait(self, patience: Duration, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            on_wait: OnWait(Some((patience, Arc::new(tell)))),
            ..self
        }
    }

    /// The server that this client speaks to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A GET of JSON of a library, repeated while the failure may pass.
    async fn get<T: DeserializeOwned + Send + 'static>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, ApiError> {
        let name = format!("GET {}{path}", self.endpoint);
        self.repeat(&name, ApiError::is_transient, || {
            self.get_once(&name, path, query, MAX_JSON_BYTES)
        })
        .await
    }

    /// A GET of JSON about an account. These calls are few a minute, and each try counts: a refusal for being too many
    /// is not answered by more.
    async fn get_rationed<T: DeserializeOwned + Send + 'static>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, ApiError> {
        let may_pass =
            |error: &ApiError| error.is_transient() && error.kind != ErrorKind::TooManyRequests;
        let name = format!("GET {}{path}", self.endpoint);
        self.repeat(&name, may_pass, || {
            self.get_once(&name, path, query, MAX_ACCOUNT_BYTES)
        })
        .await
    }

    async fn get_once<T: DeserializeOwned + Send + 'static>(
        &self,
        name: &str,
        path: &str,
        query: &[(&str, &str)],
        limit: usize,
    ) -> Result<T, ApiError> {
        let request = self.api.get(self.endpoint.url(path, query));
        let response = success(self.ask(request, name).await?, name).await?;
        read_json(response, name, limit).await
    }

    /// A POST of JSON about an account, sent exactly once: repeating a proof or a code would spend it.
    async fn post<T: DeserializeOwned + Send + 'static>(
        &self,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Result<T, ApiError> {
        let name = format!("POST {}{path}", self.endpoint);
        let response = self.post_for_response(path, body).await?;
        read_json(response, &name, MAX_ACCOUNT_BYTES).await
    }

    /// [`Client::post`] without a look at the body of the answer.
    async fn post_for_response(
        &self,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Result<Response, ApiError> {
        let name = format!("POST {}{path}", self.endpoint);
        let request = self.api.post(self.endpoint.url(path, &[])).json(body);
        success(self.ask(request, &name).await?, &name).await
    }

    // Not an async closure: futures made of those are not known to be `Send`, so they could not be spawned.
    async fn repeat<T, F: Future<Output = Result<T, ApiError>>>(
        &self,
        name: &str,
        may_pass: impl Fn(&ApiError) -> bool,
        mut call: impl FnMut() -> F,
    ) -> Result<T, ApiError> {
        let repeated = async {
            let mut done = 0;
            loop {
                match call().await {
                    Err(error)
                        if may_pass(&error) && self.retry.wait(done, error.retry_after()).await =>
                    {
                        done += 1;
                    }
                    other => return other,
                }
            }
        };
        self.on_wait.through(name, repeated).await
    }

    /// Sends a request to the API, with the token if there is a session.
    async fn ask(&self, request: RequestBuilder, name: &str) -> Result<Response, ApiError> {
        let request = match &self.token {
            None => request,
            Some(token) => {
                let mut value =
                    HeaderValue::from_str(&token.text()).expect("base64 is a valid header value");
                value.set_sensitive(true);
                request.header("x-auth-token", value)
            }
        };
        let sent = request.send().await;
        sent.map_err(|error| ApiError::transport(error, name))
    }
}

fn extra_certificates(connection: &Connection) -> Result<Vec<Certificate>, ConnectionError> {
    let Some(path) = &connection.ca_file else {
        return Ok(Vec::new());
    };
    let pem = std::fs::read(path).map_err(|source| ConnectionError::CaFile {
        path: path.clone(),
        source,
    })?;
    match Certificate::from_pem_bundle(&pem)? {
        none if none.is_empty() => Err(ConnectionError::NoCertificate(path.clone())),
        some => Ok(some),
    }
}

/// Passes an answer with a status of success on and turns any other into its error.
async fn success(response: Response, name: &str) -> Result<Response, ApiError> {
    if response.status().is_success() {
        Ok(response)
    } else {
        Err(ApiError::from_answer(response, name).await)
    }
}

/// Reads a JSON body of at most `limit` bytes.
async fn read_json<T: DeserializeOwned + Send + 'static>(
    mut response: Response,
    name: &str,
    limit: usize,
) -> Result<T, ApiError> {
    let is_html = |value: &HeaderValue| value.as_bytes().starts_with(b"text/html");
    if response.headers().get(CONTENT_TYPE).is_some_and(is_html) {
        return Err(ApiError::new(
            ErrorKind::Protocol("JSON but a web page"),
            name,
        ));
    }
    // The announced length is no promise, and absent where the body is compressed.
    let announced = response.content_length().unwrap_or(0);
    let mut body = Vec::with_capacity(limit.min(usize::try_from(announced).unwrap_or(0)));
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| ApiError::transport(error, name))?
    {
        if body.len() + chunk.len() > limit {
            return Err(ApiError::new(ErrorKind::TooLarge, name));
        }
        body.extend_from_slice(&chunk);
    }
    // A page of a listing takes milliseconds, in which others come in.
    let _turn = PARSERS.acquire().await;
    let parsed = tokio::task::spawn_blocking(move || serde_json::from_slice(&body)).await;
    // The parser's own message may quote the body, so it is not kept.
    parsed
        .expect("parsing does not panic")
        .map_err(|_| ApiError::new(ErrorKind::Protocol("JSON of the expected form"), name))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn a_server_that_stays_silent_is_told_of_and_given_up() {
        // It accepts connections and never answers.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connection = Connection {
            retries: 0,
            timeout: Duration::from_millis(200),
            ..Connection::default()
        };
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let client = Client::new(Endpoint::parse(&url).unwrap(), App::Photos, &connection)
            .unwrap()
            .on_wait(Duration::from_millis(20), move |call| {
                heard.lock().unwrap().push(call.to_owned());
            });
        let error = client.collections().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::TimedOut);
        let told = told.lock().unwrap();
        assert_eq!(told[0], format!("GET {url}/collections/v2"));
    }

    /// Linux drops what asks for a connection while others wait to be accepted.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_server_that_drops_packets_is_out_of_reach() {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let _waiting = tokio::net::TcpStream::connect(address).await.unwrap();
        let connection = Connection {
            retries: 0,
            timeout: Duration::from_millis(200),
            ..Connection::default()
        };
        let endpoint = Endpoint::parse(&format!("http://{address}")).unwrap();
        let client = Client::new(endpoint, App::Photos, &connection).unwrap();
        let error = client.collections().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
        assert!(error.is_overload(), "a small server may do so under load");
    }

    #[test]
    fn seconds_are_read() {
        for (text, millis) in [
            ("30", Some(30_000)),
            ("0.25", Some(250)),
            ("0", None),
            ("-1", None),
            ("NaN", None),
            ("1e9", None),
            ("5m", None),
        ] {
            let parsed = parse_seconds(text).ok().map(|time| time.as_millis());
            assert_eq!(parsed, millis, "{text}");
        }
    }
}
