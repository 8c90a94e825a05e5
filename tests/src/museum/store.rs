//! The object store: presigned links on a second origin.

use std::collections::HashMap;
use std::convert::Infallible;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, ETAG, RANGE,
};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use sha2::{Digest, Sha256};

use super::answer::{store_error, with_type};
use super::log::Served;
use super::server::Shared;
use super::{lock, uuid};
use crate::library::{ObjectKey, Pieces};

/// Signs links, and knows which object each path stands for. Paths are never forgotten: an old link goes on serving
/// the object that it was made for.
pub(crate) struct Links {
    secret: [u8; 32],
    objects: Mutex<HashMap<String, (usize, ObjectKey)>>,
}

impl Links {
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        Self {
            secret,
            objects: Mutex::default(),
        }
    }

    /// The account and the object that a path of the store stands for.
    pub(crate) fn object(&self, path: &str) -> Option<(usize, ObjectKey)> {
        lock(&self.objects).get(path).copied()
    }

    /// Signature over the path and the rest of the query, in hex.
    fn sign(&self, path: &str, query: &str) -> String {
        let mut hasher = Sha256::new();
        hasher.update(self.secret);
        hasher.update(path);
        hasher.update("?");
        hasher.update(query);
        hex::encode(hasher.finalize())
    }
}

impl Shared {
    /// A link to an object that is valid from now on for the lifetime of the options.
    pub(crate) fn presign(&self, account: usize, user_id: i64, key: ObjectKey) -> String {
        let name = object_name(user_id, key);
        let path = format!("/bucket/{user_id}/{name}");
        lock(&self.links.objects).insert(path.clone(), (account, key));
        let query = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date={}&X-Amz-Expires={}&X-Amz-SignedHeaders=host\
             &response-content-disposition=attachment&response-content-type=application%2Foctet-stream",
            self.options.clock.now_s(),
            self.options.link_lifetime.as_secs(),
        );
        let signature = self.links.sign(&path, &query);
        format!(
            "{}{path}?{query}&X-Amz-Signature={signature}",
            self.store_url
        )
    }

    /// The encrypted bytes of an object.
    async fn object_bytes(&self, found: (usize, ObjectKey)) -> Option<Bytes> {
        if let Some(bytes) = self.cache.get(found) {
            return Some(bytes);
        }
        let (account, key) = found;
        let recipe = self.libraries()[account].stored().bytes(key)?;
        // Encrypting a large object takes a while: not on the threads that serve connections.
        let bytes = tokio::task::spawn_blocking(recipe).await.ok()?;
        self.cache.put(found, bytes.clone());
        Some(bytes)
    }

    /// Why a link is refused, if it is: the code and the message of the store.
    fn refusal(&self, path: &str, query: &str) -> Option<(&'static str, &'static str)> {
        let mismatch = (
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match",
        );
        let Some((signed, signature)) = query.rsplit_once("&X-Amz-Signature=") else {
            return Some(("AccessDenied", "Access Denied"));
        };
        if self.links.sign(path, signed) != signature {
            return Some(mismatch);
        }
        let value = |name: &str| -> Option<i64> {
            signed
                .split('&')
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
        };
        match (value("X-Amz-Date"), value("X-Amz-Expires")) {
            (Some(date), Some(lifetime)) if self.options.clock.now_s() < date + lifetime => None,
            (Some(_), Some(_)) => Some(("AccessDenied", "Request has expired")),
            _ => Some(mismatch),
        }
    }
}

/// The name of an object in the bucket, in the form of a UUID. A new version has a new name.
fn object_name(user_id: i64, key: ObjectKey) -> String {
    let digest = Sha256::digest(format!("{user_id} {key:?}"));
    uuid(digest[..16].try_into().expect("half of 32 bytes"))
}

/// Answers every request to the store.
pub(crate) async fn serve_object(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    if request.method() == Method::HEAD {
        // Links are signed for GET.
        return with_type(StatusCode::FORBIDDEN, "application/xml", Body::empty());
    }
    if request.method() != Method::GET {
        return store_error(StatusCode::FORBIDDEN, "AccessDenied", "Access Denied");
    }
    let path = request.uri().path();
    if let Some((code, message)) = shared.refusal(path, request.uri().query().unwrap_or_default()) {
        return store_error(StatusCode::FORBIDDEN, code, message);
    }
    let Some(found) = shared.links.object(path) else {
        return no_such_key();
    };
    let range = request
        .headers()
        .get(RANGE)
        .and_then(|value| value.to_str().ok());
    let (account, key) = found;
    let pieces = shared.libraries()[account].stored().pieces(key);
    if let Some((total, pieces)) = pieces {
        return respond(key, total, range, |range| piece_by_piece(pieces, range));
    }
    let Some(bytes) = shared.object_bytes(found).await else {
        return no_such_key();
    };
    respond(key, bytes.len() as u64, range, |range| {
        bytes.slice(range.start as usize..range.end as usize).into()
    })
}

/// A body of which no more is in memory than the piece that is being sent.
fn piece_by_piece(pieces: Pieces, range: Range<u64>) -> Body {
    let mut at = 0;
    let wanted = pieces.filter_map(move |piece| {
        let (start, end) = (at, at + piece.len() as u64);
        at = end;
        let from = range.start.clamp(start, end) - start;
        let to = range.end.clamp(start, end) - start;
        (from < to).then(|| Ok::<_, Infallible>(piece.slice(from as usize..to as usize)))
    });
    Body::from_stream(futures_util::stream::iter(wanted))
}

fn no_such_key() -> Response {
    store_error(
        StatusCode::NOT_FOUND,
        "NoSuchKey",
        "The specified key does not exist.",
    )
}

fn respond(
    key: ObjectKey,
    total: u64,
    range: Option<&str>,
    body: impl FnOnce(Range<u64>) -> Body,
) -> Response {
    let (status, range) = match range.map_or(Wanted::All, |range| parse_range(range, total)) {
        Wanted::All => (StatusCode::OK, 0..total),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Wanted::Beyond => {
            let status = StatusCode::RANGE_NOT_SATISFIABLE;
            let mut response = store_error(
                status,
                "InvalidRange",
                "The requested range is not satisfiable",
            );
            response
                .headers_mut()
                .insert(CONTENT_RANGE, ascii(&format!("bytes */{total}")));
            return response;
        }
    };
    let mut response = with_type(status, "application/octet-stream", body(range.clone()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(
        ETAG,
        ascii(&format!("\"{}-{:?}-{}\"", key.file, key.part, key.version)),
    );
    if status == StatusCode::PARTIAL_CONTENT {
        let content_range = format!("bytes {}-{}/{total}", range.start, range.end - 1);
        headers.insert(CONTENT_RANGE, ascii(&content_range));
    }
    response.extensions_mut().insert(Served { key, range });
    response
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("ASCII")
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Part(Range<u64>),
    Beyond,
}

/// Reads a single range. Anything else is ignored, as HTTP allows.
fn parse_range(header: &str, total: u64) -> Wanted {
    let parts = header
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'));
    let range = match parts {
        Some(("", last)) => last
            .parse()
            .ok()
            .map(|last: u64| total.saturating_sub(last)..total),
        Some((first, "")) => first.parse().ok().map(|first| first..total),
        Some((first, last)) => match (first.parse(), last.parse::<u64>()) {
            (Ok(first), Ok(last)) if first <= last => {
                Some(first..total.min(last.saturating_add(1)))
            }
            _ => None,
        },
        None => None,
    };
    match range {
        None => Wanted::All,
        Some(range) if range.start >= total || range.is_empty() => Wanted::Beyond,
        Some(range) => Wanted::Part(range),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_says() {
        let cases = [
            ("bytes=0-", Wanted::Part(0..10)),
            ("bytes=3-5", Wanted::Part(3..6)),
            ("bytes=3-99", Wanted::Part(3..10)),
            ("bytes=-4", Wanted::Part(6..10)),
            ("bytes=10-", Wanted::Beyond),
            ("bytes=-0", Wanted::Beyond),
            ("bytes=5-3", Wanted::All),
            ("bytes=0-1,4-5", Wanted::All),
            ("lines=0-1", Wanted::All),
        ];
        for (header, expected) in cases {
            assert_eq!(parse_range(header, 10), expected, "{header}");
        }
    }
}
