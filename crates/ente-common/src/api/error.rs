//! How a call can fail, in classes that a tool can act on.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::time::Duration;

use reqwest::Response;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;

use super::Endpoint;
use crate::exit::{Exit, Failure};
use crate::manifest::Account;

/// The largest error body that is looked at.
const MAX_ERROR_BODY_BYTES: usize = 64 * 1024;

/// A call that did not succeed.
#[derive(Debug)]
pub struct ApiError {
    /// What to do about it depends on this.
    pub kind: ErrorKind,
    /// Method and address of the call; of the object store only the host. Never the query: it may
    /// hold an e-mail address or a signature.
    pub request: String,
    /// What the server said, if it answered.
    pub answer: Option<Answer>,
    /// What the transport said. Its root is part of the message, so it is not a `source` too.
    transport: Option<reqwest::Error>,
}

/// The classes of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// 401: the token, password or code is not accepted.
    Unauthorized,
    /// 403: not permitted.
    Forbidden,
    /// 404: no such thing, or no access to it.
    NotFound,
    /// 410: there was such a thing, but no longer.
    Gone,
    /// 429: too many calls, or too many wrong attempts.
    TooManyRequests,
    /// Any other status from 400 to 499: the request itself is at fault.
    Refused,
    /// 408 or 500 to 599: the server's trouble, which may pass.
    Server,
    /// No connection: name not found, refused, network down.
    Unreachable,
    /// A connection, but to a server whose certificate is not trusted.
    Untrusted,
    /// Nothing arrived for too long.
    TimedOut,
    /// The connection broke in the middle.
    Interrupted,
    /// The answer is not what the protocol says; the text names what was expected.
    Protocol(&'static str),
    /// The answer is larger than any honest one.
    TooLarge,
}

/// The parts of an unsuccessful answer that are worth showing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The typed error's `code`, for instance `EMAIL_MFA_ENABLED`.
    pub code: Option<String>,
    /// The server's gate refused the call before anybody looked at it: `{"error":…}`, for too many calls for instance.
    pub is_from_gate: bool,
    /// `X-Request-Id`: the operator finds the call in the server's log by it.
    pub request_id: Option<String>,
    /// How long the server asks to wait (seconds form of `Retry-After` only).
    pub retry_after: Option<Duration>,
}

impl ApiError {
    /// A failure that is not the transport's.
    pub(super) fn new(kind: ErrorKind, request: &str) -> Self {
        Self {
            kind,
            request: request.to_owned(),
            answer: None,
            transport: None,
        }
    }

    /// Classifies what went wrong below HTTP.
    pub(super) fn transport(error: reqwest::Error, request: &str) -> Self {
        // A timeout while connecting is both: nobody is there, or somebody drops what comes.
        let kind = if error.is_timeout() && !error.is_connect() {
            ErrorKind::TimedOut
        } else if is_certificate(&error) {
            ErrorKind::Untrusted
        } else if error.is_connect() {
            ErrorKind::Unreachable
        } else {
            ErrorKind::Interrupted
        };
        Self {
            // The URL may carry a signature.
            transport: Some(error.without_url()),
            ..Self::new(kind, request)
        }
    }

    /// Classifies an answer whose status is not the one that the call hopes for.
    pub(super) async fn from_answer(mut response: Response, request: &str) -> Self {
        let status = response.status().as_u16();
        let mut body = Vec::new();
        // A body that breaks off takes nothing from what the status says.
        while let Ok(Some(chunk)) = response.chunk().await {
            if body.len() + chunk.len() > MAX_ERROR_BODY_BYTES {
                break;
            }
            body.extend_from_slice(&chunk);
        }
        Self {
            answer: Some(Answer {
                status,
                code: error_code(&body),
                is_from_gate: is_from_gate(&body),
                request_id: header(response.headers(), "x-request-id").and_then(tame),
                retry_after: header(response.headers(), RETRY_AFTER.as_str())
                    .and_then(|text| text.trim().parse().ok())
                    .map(Duration::from_secs),
            }),
            ..Self::new(ErrorKind::of_status(status), request)
        }
    }

    /// Whether the same call may succeed a little later.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::TooManyRequests
                | ErrorKind::Server
                | ErrorKind::Unreachable
                | ErrorKind::TimedOut
                | ErrorKind::Interrupted
        )
    }

    /// Whether the other side is short of capacity: a sign to do less at a time.
    pub fn is_overload(&self) -> bool {
        // Who has no room for one more connection may let it wait too.
        let is_late = self.transport.as_ref().is_some_and(|it| it.is_timeout());
        is_late || self.kind == ErrorKind::TooManyRequests || self.status() == Some(503)
    }

    /// Whether it is the number of calls that is too large, and not that of wrong codes or proofs.
    pub fn is_too_fast(&self) -> bool {
        let answer = self.answer.as_ref();
        self.kind == ErrorKind::TooManyRequests && answer.is_some_and(|answer| answer.is_from_gate)
    }

    /// The HTTP status, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        self.answer.as_ref().map(|answer| answer.status)
    }

    /// The typed error's `code`, or `""`.
    pub fn code(&self) -> &str {
        let code = self
            .answer
            .as_ref()
            .and_then(|answer| answer.code.as_deref());
        code.unwrap_or_default()
    }

    /// How long the server asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.answer.as_ref().and_then(|answer| answer.retry_after)
    }
}

impl ErrorKind {
    fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            408 | 500..=599 => Self::Server,
            410 => Self::Gone,
            429 => Self::TooManyRequests,
            400..=499 => Self::Refused,
            _ => Self::Protocol("a status that belongs to this call"),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = &self.request;
        if let Some(answer) = &self.answer {
            write!(f, "the server answered {} to `{request}`", answer.status)?;
            if let Some(code) = &answer.code {
                write!(f, ", code `{code}`")?;
            }
            if let Some(id) = &answer.request_id {
                write!(f, ", request `{id}`")?;
            }
            return Ok(());
        }
        match self.kind {
            ErrorKind::TimedOut => write!(f, "nothing arrived in time for `{request}`")?,
            ErrorKind::Unreachable => write!(f, "no connection for `{request}`")?,
            ErrorKind::Untrusted => write!(f, "the certificate is not trusted for `{request}`")?,
            ErrorKind::Protocol(expected) => {
                write!(f, "unexpected answer to `{request}`: no {expected}")?;
            }
            ErrorKind::TooLarge => write!(f, "the answer to `{request}` is too large")?,
            _ => write!(f, "the connection broke during `{request}`")?,
        }
        match self.transport.as_ref().and_then(root) {
            Some(root) if self.kind != ErrorKind::TimedOut => write!(f, ": {root}"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for ApiError {}

impl From<ApiError> for Failure {
    /// What ends a run in which the whole session, not one item, is in question.
    fn from(error: ApiError) -> Self {
        let (exit, what, hint) = match error.kind {
            ErrorKind::Unauthorized => (
                Exit::NotSignedIn,
                "the server does not accept the session any more",
                "sign in again with `ente-login EMAIL`",
            ),
            ErrorKind::Untrusted => (
                Exit::Unreachable,
                "the server cannot prove who it is",
                "name the certificate of a self-hosted server with `--ca-file FILE`",
            ),
            ErrorKind::Unreachable => (
                Exit::Unreachable,
                "the server is out of reach",
                "check the network and the address of the server, then run the same command again",
            ),
            _ if error.is_transient() => (
                Exit::Unreachable,
                "the server cannot serve us now",
                "run the same command again later",
            ),
            ErrorKind::Protocol(_) | ErrorKind::TooLarge => (
                Exit::Failed,
                "the server's answer makes no sense",
                "check that the address is that of an Ente API server",
            ),
            _ => (
                Exit::Failed,
                "the server refused a request",
                "if it goes on, report it with the line above",
            ),
        };
        Failure::new(exit, what).cause(&error).hint(hint)
    }
}

/// The session of a saved account is no longer good: what to type.
pub fn session_ended(account: &Account) -> Failure {
    let email = &account.email;
    Failure::new(
        Exit::NotSignedIn,
        format!("the session of `{email}` has ended"),
    )
    .cause("the server no longer accepts the saved token")
    .hint(format!(
        "run `{}{}`, then the same command again",
        account.sign_in_line(),
        consent(account)
    ))
}

/// What the line to type needs in addition where the session would go over the network in the clear.
fn consent(account: &Account) -> &'static str {
    match Endpoint::parse(&account.endpoint) {
        Ok(endpoint) if endpoint.is_plain_http() && !endpoint.is_loopback() => " --insecure-http",
        _ => "",
    }
}

/// The last error of the chain: `Connection refused (os error 111)` rather than three layers of
/// `error sending request`.
fn root(error: &reqwest::Error) -> Option<&(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |error| (*error).source()).last()
}

/// Whether it is the server's certificate that was refused. An [`io::Error`] hides its content from
/// the source chain, and here one lies in another.
fn is_certificate(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return matches!(error, rustls::Error::InvalidCertificate(_));
    }
    if let Some(inner) = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        return is_certificate(inner);
    }
    error.source().is_some_and(is_certificate)
}

pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The `code` of a typed error body. The other shapes (`{}`, `{"error":…}`, HTML of a proxy) have
/// none.
fn error_code(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Typed {
        code: String,
    }
    let typed: Typed = serde_json::from_slice(body).ok()?;
    tame(&typed.code)
}

fn is_from_gate(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Gate {
        #[serde(rename = "error")]
        _error: serde::de::IgnoredAny,
    }
    serde_json::from_slice::<Gate>(body).is_ok()
}

/// Keeps a server's identifier only if it looks like one: nothing else reaches the terminal.
fn tame(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    (!text.is_empty() && text.len() <= 80 && text.chars().all(plain)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_from_typed_bodies_only() {
        for (body, code) in [
            (r#"{"code":"NOT_FOUND","message":""}"#, Some("NOT_FOUND")),
            ("{}", None),
            (r#"{"error":"token expired"}"#, None),
            (r#"{"error":{}}"#, None),
            (r#"{"code":"\u001b[2J"}"#, None),
            (r#"{"code":7}"#, None),
            ("<html>502 Bad Gateway</html>", None),
            ("", None),
        ] {
            assert_eq!(error_code(body.as_bytes()).as_deref(), code, "{body}");
        }
    }

    #[test]
    fn the_gate_is_told_from_what_lies_behind_it() {
        for (body, from_gate) in [
            (r#"{"error":"Rate limit breached, try later"}"#, true),
            ("{}", false),
            (r#"{"code":"TOO_MANY_WRONG_ATTEMPTS","message":""}"#, false),
            ("<html>429</html>", false),
        ] {
            assert_eq!(is_from_gate(body.as_bytes()), from_gate, "{body}");
        }
    }

    #[test]
    fn the_line_to_type_asks_for_consent_to_plain_http() {
        for (endpoint, line) in [
            (
                "http://localhost",
                "ente-login --endpoint http://localhost a@b",
            ),
            (
                "https://192.0.2.1",
                "ente-login --endpoint https://192.0.2.1 a@b",
            ),
            (
                "http://192.0.2.1",
                "ente-login --endpoint http://192.0.2.1 a@b --insecure-http",
            ),
        ] {
            let failure = session_ended(&Account {
                endpoint: endpoint.to_owned(),
                app: "photos".to_owned(),
                user_id: 1,
                email: "a@b".to_owned(),
            });
            let hint = format!("run `{line}`, then the same command again");
            assert_eq!(failure.hint, Some(hint));
        }
    }

    #[test]
    fn a_refused_certificate_is_found_however_deep() {
        use rustls::{CertificateError, Error};
        let wrapped = |error: Error| io::Error::other(io::Error::other(error));
        let certificate = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert!(is_certificate(&wrapped(certificate)));
        assert!(!is_certificate(&wrapped(Error::DecryptError)));
        assert!(!is_certificate(&io::Error::from_raw_os_error(111)));
    }

    #[test]
    fn every_status_has_a_class() {
        for (status, kind) in [
            (400, ErrorKind::Refused),
            (401, ErrorKind::Unauthorized),
            (403, ErrorKind::Forbidden),
            (404, ErrorKind::NotFound),
            (408, ErrorKind::Server),
            (410, ErrorKind::Gone),
            (413, ErrorKind::Refused),
            (429, ErrorKind::TooManyRequests),
            (500, ErrorKind::Server),
            (503, ErrorKind::Server),
        ] {
            assert_eq!(ErrorKind::of_status(status), kind, "{status}");
        }
        assert!(matches!(ErrorKind::of_status(302), ErrorKind::Protocol(_)));
    }
}
