//! Fetching encrypted objects: first a link from the API, then bytes from the object store.
//!
//! A link is good for days and for any number of ranged requests, and it goes on serving the object
//! that it was made for, even when the file's content has been replaced since.

use bytes::Bytes;
use reqwest::Response;
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE,
};
use url::Url;

use super::error::header;
use super::{ApiError, Client, ErrorKind};

/// How many redirects of the object store are followed.
const MAX_STORE_REDIRECTS: usize = 3;

/// What the object store answered.
#[derive(Debug)]
pub enum Fetched {
    /// Bytes from the offset that was asked for.
    Body(ObjectBody),
    /// The store ignored the range and sends the object from its beginning.
    RangeIgnored(ObjectBody),
    /// The offset is at or past the object's end; the total if the store says it.
    PastEnd {
        /// The object's size in bytes.
        total: Option<u64>,
    },
    /// The link is no longer valid: ask the API for another.
    LinkExpired,
    /// The store does not have the object.
    Missing,
}

/// An object on its way. Dropping it unread closes the connection.
#[derive(Debug)]
pub struct ObjectBody {
    /// Where in the object the first byte belongs.
    pub start: u64,
    /// The size of the whole object in bytes, if the store says it.
    pub total: Option<u64>,
    response: Response,
    name: String,
}

impl ObjectBody {
    /// The next bytes, or nothing at the end of the answer.
    ///
    /// Fails when the connection breaks, ends early, or stays silent for too long. An answer of
    /// unknown length can end early unnoticed: compare with the expected size.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ApiError> {
        let chunk = self.response.chunk().await;
        chunk.map_err(|error| ApiError::transport(error, &self.name))
    }
}

impl Client {
    /// A link to a file's object. The link holds a signature: keep it out of files and messages.
    ///
    /// [`NotFound`](ErrorKind::NotFound): unknown file or deleted object;
    /// [`Forbidden`](ErrorKind::Forbidden): no access any more.
    pub async fn object_link(&self, file: i64) -> Result<Url, ApiError> {
        let path = format!("/files/download/{file}");
        let name = format!("GET {}{path}", self.endpoint);
        let url = self.endpoint.url(&path, &[]);
        self.repeat(&name, ApiError::is_transient, || async {
            let response = self.ask(self.api.get(url.clone()), &name).await?;
            if response.status().is_redirection() {
                return location(&response)
                    .ok_or_else(|| ApiError::new(ErrorKind::Protocol("link to an object"), &name));
            }
            Err(match response.status().is_success() {
                true => ApiError::new(ErrorKind::Protocol("redirect to an object"), &name),
                false => ApiError::from_answer(response, &name).await,
            })
        })
        .await
    }

    /// Asks the object store for an object from `offset` on, once. Nothing of the account is sent.
    ///
    /// Answers that the caller's loop decides about are [`Fetched`]; overload (429, 503), other
    /// statuses and broken connections are errors.
    pub async fn open_object(&self, link: &Url, offset: u64) -> Result<Fetched, ApiError> {
        let mut link = link.clone();
        for _ in 0..=MAX_STORE_REDIRECTS {
            let name = format!("GET {}", link.host_str().unwrap_or_default());
            let mut request = self.store.get(link).header(ACCEPT_ENCODING, "identity");
            if offset > 0 {
                request = request.header(RANGE, format!("bytes={offset}-"));
            }
            let sent = request.send().await;
            let response = sent.map_err(|error| ApiError::transport(error, &name))?;
            if !response.status().is_redirection() {
                return judge(response, offset, name).await;
            }
            link = location(&response)
                .ok_or_else(|| ApiError::new(ErrorKind::Protocol("link to an object"), &name))?;
        }
        Err(ApiError::new(
            ErrorKind::Protocol("object behind a chain of redirects"),
            "GET object",
        ))
    }
}

/// Sorts a final answer of the store.
async fn judge(response: Response, offset: u64, name: String) -> Result<Fetched, ApiError> {
    let range = header(response.headers(), CONTENT_RANGE.as_str()).and_then(ContentRange::parse);
    let total = range.as_ref().and_then(|range| range.total);
    match response.status().as_u16() {
        // A store knows no sessions, so a 401 says nothing about ours.
        401 | 403 => return Ok(Fetched::LinkExpired),
        404 => return Ok(Fetched::Missing),
        416 => return Ok(Fetched::PastEnd { total }),
        200 | 206 => {}
        _ => return Err(ApiError::from_answer(response, &name).await),
    }
    // A captive portal, or a proxy's login page.
    let kind = header(response.headers(), CONTENT_TYPE.as_str());
    if kind.is_some_and(|kind| kind.starts_with("text/html")) {
        let kind = ErrorKind::Protocol("object but a web page");
        return Err(ApiError::new(kind, &name));
    }
    // Nothing compressed was asked for: what comes would not be the object.
    let coding = header(response.headers(), CONTENT_ENCODING.as_str());
    if coding.is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
        let kind = ErrorKind::Protocol("object as it is stored");
        return Err(ApiError::new(kind, &name));
    }
    if response.status().as_u16() == 200 {
        let body = ObjectBody {
            start: 0,
            total: response.content_length(),
            response,
            name,
        };
        return Ok(if offset == 0 {
            Fetched::Body(body)
        } else {
            Fetched::RangeIgnored(body)
        });
    }
    if range.is_none_or(|range| range.start != Some(offset)) {
        let kind = ErrorKind::Protocol("range that was asked for");
        return Err(ApiError::new(kind, &name));
    }
    Ok(Fetched::Body(ObjectBody {
        start: offset,
        total,
        response,
        name,
    }))
}

/// Where a redirect leads, if that is a web address.
fn location(response: &Response) -> Option<Url> {
    let text = header(response.headers(), LOCATION.as_str())?;
    let url = response.url().join(text).ok()?;
    (matches!(url.scheme(), "https" | "http") && url.has_host()).then_some(url)
}

/// `bytes 5-9/10`, `bytes 5-9/*` or `bytes */10`.
#[derive(Debug, PartialEq, Eq)]
struct ContentRange {
    start: Option<u64>,
    total: Option<u64>,
}

impl ContentRange {
    fn parse(text: &str) -> Option<Self> {
        let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
        Some(Self {
            start: range
                .split_once('-')
                .and_then(|(start, _)| start.parse().ok()),
            total: total.parse().ok(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::test_server::{Canned, TestServer};

    #[test]
    fn content_ranges_are_read() {
        for (text, range) in [
            ("bytes 5-9/10", Some((Some(5), Some(10)))),
            ("bytes 5-9/*", Some((Some(5), None))),
            ("bytes */10", Some((None, Some(10)))),
            ("items 5-9/10", None),
            ("bytes 5-9", None),
        ] {
            let parsed = ContentRange::parse(text).map(|range| (range.start, range.total));
            assert_eq!(parsed, range, "{text}");
        }
    }

    #[tokio::test]
    async fn the_link_is_the_redirect_and_the_store_learns_nothing_of_us() {
        let store = TestServer::start([Canned::new(206)
            .header("content-range", "bytes 2-4/5")
            .body("cde")]);
        let api = TestServer::start([
            Canned::new(307).header("location", &format!("{}/o/1?sig=s", store.url()))
        ]);
        let client = api.client_with_token();
        let link = client.object_link(1).await.unwrap();
        let Fetched::Body(mut body) = client.open_object(&link, 2).await.unwrap() else {
            panic!("no body");
        };
        assert_eq!((body.start, body.total), (2, Some(5)));
        assert_eq!(&body.chunk().await.unwrap().unwrap()[..], b"cde");
        assert!(body.chunk().await.unwrap().is_none());

        assert!(api.requests()[0].contains("x-auth-token: "));
        let seen = store.requests()[0].to_lowercase();
        assert!(seen.starts_with("get /o/1?sig=s "), "{seen}");
        assert!(seen.contains("range: bytes=2-") && seen.contains("accept-encoding: identity"));
        for secret in ["x-auth-token", "x-client-package", "referer"] {
            assert!(!seen.contains(secret), "{seen}");
        }
    }

    #[tokio::test]
    async fn each_answer_of_the_store_has_its_outcome() {
        for (canned, offset, outcome) in [
            (Canned::new(200).body("abc"), 0, "body at 0 of Some(3)"),
            (Canned::new(200).body("abc"), 2, "range ignored, Some(3)"),
            (Canned::new(403).body("<Error/>"), 2, "expired"),
            (Canned::new(401).body("<Error/>"), 2, "expired"),
            (Canned::new(404).body("<Error/>"), 2, "missing"),
            (
                Canned::new(200)
                    .header("content-encoding", "gzip")
                    .body("abc"),
                0,
                "Protocol(\"object as it is stored\")",
            ),
            (
                Canned::new(416).header("content-range", "bytes */3"),
                9,
                "past end of Some(3)",
            ),
            (
                Canned::new(206)
                    .header("content-range", "bytes 0-2/3")
                    .body("abc"),
                2,
                "Protocol(\"range that was asked for\")",
            ),
            (
                Canned::new(200)
                    .header("content-type", "text/html")
                    .body("<p>"),
                0,
                "Protocol(\"object but a web page\")",
            ),
            (
                Canned::new(503).header("retry-after", "7"),
                0,
                "Server, wait Some(7s)",
            ),
            (
                Canned::new(307).header("location", "file:///etc/passwd"),
                0,
                "Protocol(\"link to an object\")",
            ),
        ] {
            let store = TestServer::start([canned]);
            let link = Url::parse(&store.url()).unwrap();
            let seen = match store.client().open_object(&link, offset).await {
                Ok(Fetched::Body(body)) => format!("body at {} of {:?}", body.start, body.total),
                Ok(Fetched::RangeIgnored(body)) => format!("range ignored, {:?}", body.total),
                Ok(Fetched::PastEnd { total }) => format!("past end of {total:?}"),
                Ok(Fetched::LinkExpired) => "expired".to_owned(),
                Ok(Fetched::Missing) => "missing".to_owned(),
                Err(error) if error.retry_after().is_some() => {
                    format!("{:?}, wait {:?}", error.kind, error.retry_after())
                }
                Err(error) => format!("{:?}", error.kind),
            };
            assert_eq!(seen, outcome);
        }
    }

    #[tokio::test]
    async fn a_body_that_ends_early_is_an_error() {
        let cut = Canned::new(200).header("content-length", "10").body("abc");
        let store = TestServer::start([cut]);
        let link = Url::parse(&store.url()).unwrap();
        let Fetched::Body(mut body) = store.client().open_object(&link, 0).await.unwrap() else {
            panic!("no body");
        };
        let error = loop {
            match body.chunk().await {
                Ok(chunk) => assert!(chunk.is_some(), "the cut went unnoticed"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind, ErrorKind::Interrupted);
    }
}
