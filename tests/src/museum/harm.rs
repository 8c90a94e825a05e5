//! Does to requests and answers what the rules and conditions say.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, LOCATION, RANGE, RETRY_AFTER};
use axum::http::response::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream;
use tokio::time::{Instant, sleep, sleep_until};

use super::answer::{ApiError, RATE_LIMITED, store_error, with_type};
use super::faults::{Conditions, Fault, Faults};
use super::lock;
use super::log::{Origin, Served};
use super::server::Shared;

/// A body goes out in pieces of this size when it is held back or cut.
const PIECE: usize = 16 * 1024;

/// Rules and conditions with what they have to remember.
#[derive(Default)]
pub(crate) struct Harm {
    pub(crate) faults: Faults,
    pub(crate) conditions: Mutex<Conditions>,
    /// Arrivals at the API and the store within the last second.
    recent: [Mutex<VecDeque<Instant>>; 2],
    /// When the next call of the API is to be answered.
    next_turn: Mutex<Option<Instant>>,
    /// When the line that all bodies share is free again.
    line_free_at: Mutex<Option<Instant>>,
}

impl Harm {
    /// Counts a request; `false` if it is one too many for this second.
    fn admit(&self, origin: Origin, limit: Option<usize>) -> bool {
        let Some(limit) = limit else { return true };
        let mut recent = lock(&self.recent[origin as usize]);
        let now = Instant::now();
        while recent
            .front()
            .is_some_and(|at| now - *at >= Duration::from_secs(1))
        {
            recent.pop_front();
        }
        if recent.len() >= limit {
            return false;
        }
        recent.push_back(now);
        true
    }

    /// Takes the next turn of so many a second; returns when it is.
    fn take_turn(&self, calls_per_s: u32) -> Instant {
        let mut next = lock(&self.next_turn);
        let turn = next.unwrap_or_else(Instant::now).max(Instant::now());
        *next = Some(turn + Duration::from_secs(1) / calls_per_s.max(1));
        turn
    }

    /// Takes the shared line for so many bytes; returns when they have passed.
    fn occupy_line(&self, bytes: usize, bytes_per_s: u64) -> Instant {
        let mut free_at = lock(&self.line_free_at);
        let start = free_at.unwrap_or_else(Instant::now).max(Instant::now());
        let end = start + transfer_time(bytes, bytes_per_s);
        *free_at = Some(end);
        end
    }
}

/// Answers a request through the handlers, with everything that is in force happening to it.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    origin: Origin,
    mut request: Request,
    next: Next,
) -> Response {
    let conditions = *lock(&shared.harm.conditions);
    let stored = shared
        .links
        .object(request.uri().path())
        .map(|(_, key)| key);
    let faults = shared.harm.faults.take(origin, request.uri(), stored);
    if !shared.harm.admit(origin, conditions.max_requests_per_s) {
        return match origin {
            Origin::Api => RATE_LIMITED.into_response(),
            Origin::Store => store_error(
                StatusCode::SERVICE_UNAVAILABLE,
                "SlowDown",
                "Please reduce your request rate.",
            ),
        };
    }
    if let (Some(calls_per_s), Origin::Api) = (conditions.calls_per_s, origin) {
        sleep_until(shared.harm.take_turn(calls_per_s)).await;
    }
    if !conditions.latency.is_zero() {
        sleep(conditions.latency).await;
    }
    for fault in &faults {
        if let Some(response) = before(fault, origin, &mut request).await {
            return response;
        }
    }
    let response = next.run(request).await;
    let shared_line = conditions.bandwidth.filter(|_| origin == Origin::Store);
    if faults.is_empty() && shared_line.is_none() {
        return response;
    }
    reshape(shared, response, &faults, shared_line).await
}

/// What a fault does before the handler; an answer takes the handler's place.
async fn before(fault: &Fault, origin: Origin, request: &mut Request) -> Option<Response> {
    match fault {
        Fault::Latency(delay) => sleep(*delay).await,
        Fault::StallHeaders => std::future::pending().await,
        Fault::IgnoreRange => {
            request.headers_mut().remove(RANGE);
        }
        Fault::OtherRange(by) => {
            if let Some(start) = range_start(request) {
                let range = format!("bytes={}-", start.saturating_sub(*by));
                let value = HeaderValue::from_str(&range).expect("ASCII");
                request.headers_mut().insert(RANGE, value);
            }
        }
        Fault::Status(status) => return Some(error(origin, *status)),
        Fault::Answer {
            status,
            content_type,
            body,
        } => {
            return Some(with_type(code(*status), content_type, body.clone().into()));
        }
        Fault::TooManyRequests { retry_after_s } => {
            let mut response = error(origin, 429);
            if let Some(seconds) = retry_after_s {
                response
                    .headers_mut()
                    .insert(RETRY_AFTER, (*seconds).into());
            }
            return Some(response);
        }
        Fault::ExpiredLink => {
            return Some(store_error(
                StatusCode::FORBIDDEN,
                "AccessDenied",
                "Request has expired",
            ));
        }
        Fault::RedirectLoop => return Some(redirect(&request.uri().to_string())),
        Fault::RedirectTo(url) => return Some(redirect(url)),
        Fault::Bandwidth(_)
        | Fault::StallBody { .. }
        | Fault::Cut { .. }
        | Fault::CorruptByte { .. }
        | Fault::WrongLength(_)
        | Fault::OtherBytes
        | Fault::Gzip
        | Fault::Endless
        | Fault::Header(..)
        | Fault::Edit(_) => {}
    }
    None
}

/// How a body ends.
#[derive(Clone, Copy)]
enum End {
    Clean,
    Short,
    Cut,
    Stalled,
    Never,
}

/// Gives the answer the body, the length and the pace that the faults want.
async fn reshape(
    shared: &Arc<Shared>,
    response: Response,
    faults: &[Fault],
    shared_line: Option<u64>,
) -> Response {
    let (mut parts, body) = response.into_parts();
    let mut bytes = to_bytes(body, usize::MAX)
        .await
        .expect("bodies are in memory");
    // What changes the body comes before what changes its way.
    for fault in faults {
        bytes = rewritten(fault, bytes, &mut parts);
    }
    let mut announced = bytes.len() as i64;
    let (mut end, mut sent, mut own_line) = (End::Clean, bytes.len(), None);
    for fault in faults {
        match fault {
            Fault::Bandwidth(bytes_per_s) => own_line = Some(*bytes_per_s),
            Fault::Cut { after } => (end, sent) = (End::Cut, *after),
            Fault::StallBody { after } => (end, sent) = (End::Stalled, *after),
            Fault::WrongLength(by) => {
                announced += by;
                end = if *by > 0 { End::Short } else { end };
            }
            Fault::Endless => end = End::Never,
            _ => {}
        }
    }
    bytes.truncate(sent);
    match end {
        End::Never => parts.headers.remove(CONTENT_LENGTH),
        _ => parts
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from(announced.max(0))),
    };
    let shared = Arc::clone(shared);
    let pieces = stream::unfold(bytes, move |mut left| {
        let shared = Arc::clone(&shared);
        async move {
            if left.is_empty() {
                return ending(end).await.map(|last| (last, left));
            }
            let piece = left.split_to(left.len().min(PIECE));
            if let Some(bytes_per_s) = own_line {
                sleep(transfer_time(piece.len(), bytes_per_s)).await;
            }
            if let Some(bytes_per_s) = shared_line {
                sleep_until(shared.harm.occupy_line(piece.len(), bytes_per_s)).await;
            }
            Some((Ok(piece), left))
        }
    });
    Response::from_parts(parts, Body::from_stream(pieces))
}

/// What follows the last piece; `None` ends the body.
async fn ending(end: End) -> Option<io::Result<Bytes>> {
    if matches!(end, End::Short | End::Cut) {
        // A moment for what was written to leave: what is still buffered is lost with the connection.
        sleep(Duration::from_millis(20)).await;
    }
    match end {
        End::Clean | End::Short => None,
        End::Cut => Some(Err(io::Error::other("cut on purpose"))),
        End::Stalled => std::future::pending().await,
        End::Never => Some(Ok(Bytes::from_static(&[b' '; PIECE]))),
    }
}

/// The body as a fault wants it, with headers that fit.
fn rewritten(fault: &Fault, bytes: Bytes, parts: &mut Parts) -> Bytes {
    match fault {
        Fault::CorruptByte { offset } => {
            let start = parts.extensions.get::<Served>();
            let start = start.map_or(0, |served| served.range.start);
            corrupted(&bytes, offset.checked_sub(start))
        }
        Fault::OtherBytes => bytes.iter().map(|byte| !byte).collect(),
        Fault::Edit(edit) => edit.apply(&bytes).into(),
        Fault::Header(name, value) => {
            parts.headers.insert(*name, HeaderValue::from_static(value));
            bytes
        }
        Fault::Gzip => {
            let gzip = HeaderValue::from_static("gzip");
            parts.headers.insert(CONTENT_ENCODING, gzip);
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            let written = encoder.write_all(&bytes).and_then(|()| encoder.finish());
            written.expect("memory can be written").into()
        }
        _ => bytes,
    }
}

fn range_start(request: &Request) -> Option<u64> {
    let range = request.headers().get(RANGE)?.to_str().ok()?;
    let (start, _) = range.strip_prefix("bytes=")?.split_once('-')?;
    start.parse().ok()
}

fn corrupted(bytes: &Bytes, at: Option<u64>) -> Bytes {
    let mut copy = bytes.to_vec();
    if let Some(byte) = at.and_then(|at| copy.get_mut(at as usize)) {
        *byte ^= 0x01;
    }
    copy.into()
}

fn transfer_time(bytes: usize, bytes_per_s: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 / bytes_per_s.max(1) as f64)
}

fn redirect(url: &str) -> Response {
    let mut response = with_type(
        StatusCode::TEMPORARY_REDIRECT,
        "text/html; charset=utf-8",
        Body::empty(),
    );
    response.headers_mut().insert(
        LOCATION,
        HeaderValue::from_str(url).expect("a URL is ASCII"),
    );
    response
}

fn error(origin: Origin, status: u16) -> Response {
    match origin {
        Origin::Api => ApiError::Plain(code(status)).into_response(),
        Origin::Store => store_error(
            code(status),
            "InternalError",
            "We encountered an internal error.",
        ),
    }
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("a status that HTTP knows")
}
