//! The two ports, what their handlers share, and the layer in front of them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::Listener;
use axum::{Router, serve};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::answer::NOT_FOUND;
use super::auth::{self, Auth};
use super::cache::Cache;
use super::harm::{self, Harm};
use super::log::{Log, Origin, Served};
use super::session::App;
use super::store::{self, Links};
use super::{Options, listing, lock, mail, passkey};
use crate::library::{Library, Token};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// What all handlers of a server share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) log: Log,
    pub(crate) harm: Harm,
    pub(crate) cache: Cache,
    pub(crate) links: Links,
    pub(crate) store_url: String,
    libraries: Mutex<Vec<Library>>,
    auth: Mutex<Auth>,
    sign_ins: AtomicI64,
}

impl Shared {
    pub(crate) fn libraries(&self) -> MutexGuard<'_, Vec<Library>> {
        lock(&self.libraries)
    }

    pub(crate) fn auth(&self) -> MutexGuard<'_, Auth> {
        lock(&self.auth)
    }

    /// Makes a session for an account and an app.
    pub(crate) fn issue_token(&self, account: usize, app: App) -> Token {
        let sign_in = self.sign_ins.fetch_add(1, Ordering::Relaxed);
        let token = self.libraries()[account].account().issue_token(sign_in);
        self.auth()
            .admit(&token, account, app, self.options.clock.now_s());
        token
    }
}

/// The two ports, kept from everybody else for as long as this lives, whether somebody listens there or not.
pub(crate) struct Ports {
    api: TcpSocket,
    store: TcpSocket,
}

impl Ports {
    pub(crate) fn reserve(api_port: u16) -> io::Result<Self> {
        Ok(Self {
            api: bind((Ipv4Addr::LOCALHOST, api_port).into())?,
            store: bind((Ipv4Addr::LOCALHOST, 0).into())?,
        })
    }

    pub(crate) fn api_url(&self) -> io::Result<String> {
        Ok(format!("http://{}", self.api.local_addr()?))
    }

    fn store_url(&self) -> io::Result<String> {
        Ok(format!("http://{}", self.store.local_addr()?))
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// What the handlers of a server share.
pub(crate) fn share(library: Library, options: Options, ports: &Ports) -> io::Result<Arc<Shared>> {
    Ok(Arc::new(Shared {
        log: Log::new(options.keeps_log),
        options,
        harm: Harm::default(),
        cache: Cache::default(),
        links: Links::new(random()),
        store_url: ports.store_url()?,
        libraries: Mutex::new(vec![library]),
        auth: Mutex::default(),
        sign_ins: AtomicI64::new(1),
    }))
}

/// Listens at both ports, on this runtime.
pub(crate) async fn listen(shared: &Arc<Shared>, ports: &Ports) -> io::Result<()> {
    for (port, origin, router) in [
        (
            &ports.api,
            Origin::Api,
            api_routes()
                .nest(PREFIX, api_routes())
                .fallback(|| async { NOT_FOUND }),
        ),
        (&ports.store, Origin::Store, store_routes()),
    ] {
        let listener = bind(port.local_addr()?)?.listen(BACKLOG)?;
        let front = Front {
            shared: Arc::clone(shared),
            origin,
        };
        let app = router
            .layer(middleware::from_fn_with_state(front.clone(), in_front))
            .with_state(Arc::clone(shared));
        tokio::spawn(serve(Counted { listener, front }, app).into_future());
    }
    Ok(())
}

/// Where the API is served once more, as behind a proxy that gives it a part of its paths.
const PREFIX: &str = "/behind/a/proxy";

fn api_routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/ping", get(listing::ping))
        .route("/users/srp/attributes", get(auth::attributes))
        .route("/users/srp/create-session", post(auth::create_session))
        .route("/users/srp/verify-session", post(auth::verify_session))
        .route("/users/ott", post(mail::send_code))
        .route("/users/verify-email", post(mail::verify))
        .route("/users/two-factor/verify", post(auth::verify_code))
        .route(
            "/users/two-factor/passkeys/get-token",
            get(passkey::get_token),
        )
        .route("/users/sessions", get(auth::sessions))
        .route("/users/session-validity/v2", get(listing::session_validity))
        .route("/users/logout", post(auth::logout))
        .route("/collections", get(listing::collections))
        .route("/collections/v2", get(listing::collections))
        .route("/collections/v2/diff", get(listing::diff))
        .route("/collections/file", get(listing::single_file))
        .route("/collections/{id}", get(listing::collection))
        .route("/trash/v2/diff", get(listing::trash))
        .route("/files/info", post(listing::info))
        .route("/files/download/{id}", get(listing::download))
        .route("/files/preview/{id}", get(listing::preview))
        .method_not_allowed_fallback(|| async { NOT_FOUND })
}

fn store_routes() -> Router<Arc<Shared>> {
    Router::new().fallback(store::serve_object)
}

#[derive(Clone)]
struct Front {
    shared: Arc<Shared>,
    origin: Origin,
}

/// Everything that happens to a request before and after its handler.
async fn in_front(State(front): State<Front>, request: Request, next: Next) -> Response {
    let number = front.shared.log.arrived(front.origin, &request);
    // Only GET is routed by the real API; axum would answer HEAD as well.
    let mut response = if front.origin == Origin::Api && request.method() == Method::HEAD {
        NOT_FOUND.into_response()
    } else {
        harm::answer(&front.shared, front.origin, request, next).await
    };
    if front.origin == Origin::Api {
        let id = HeaderValue::from_str(&format!("ser_{number:016x}")).expect("ASCII");
        response.headers_mut().insert("x-request-id", id);
    }
    let served = response.extensions_mut().remove::<Served>();
    front
        .shared
        .log
        .answered(number, response.status().as_u16(), served);
    response
}

/// A listener that counts connections.
struct Counted {
    listener: TcpListener,
    front: Front,
}

impl Listener for Counted {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let accepted = Listener::accept(&mut self.listener).await;
        self.front.shared.log.connected(self.front.origin);
        accepted
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Fresh random bytes: sessions and signatures need not repeat between runs.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    bytes
}
