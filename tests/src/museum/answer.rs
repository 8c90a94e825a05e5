//! Error bodies: the three shapes of the API, and the object store's XML.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::library::Denied;

/// An error of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ApiError {
    /// A status with the body `{}`.
    Plain(StatusCode),
    /// A typed error.
    Typed(StatusCode, &'static str),
    /// What comes from the layers in front of the routes.
    Layer(StatusCode, &'static str),
}

pub(crate) const BAD_REQUEST: ApiError = ApiError::Plain(StatusCode::BAD_REQUEST);
pub(crate) const FORBIDDEN: ApiError = ApiError::Plain(StatusCode::FORBIDDEN);
pub(crate) const NOT_FOUND: ApiError = ApiError::Plain(StatusCode::NOT_FOUND);
pub(crate) const RATE_LIMITED: ApiError = ApiError::Layer(
    StatusCode::TOO_MANY_REQUESTS,
    "Rate limit breached, try later",
);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match self {
            Self::Plain(status) => json_response(status, &json!({})),
            Self::Typed(status, code) => {
                json_response(status, &json!({"code": code, "message": ""}))
            }
            Self::Layer(status, error) => json_response(status, &json!({"error": error})),
        }
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::NotFound => NOT_FOUND,
            Denied::Forbidden => FORBIDDEN,
        }
    }
}

/// A JSON answer of the API.
pub(crate) fn json_response(status: StatusCode, body: &Value) -> Response {
    json_text(status, body.to_string())
}

/// The same, of a text that is JSON.
pub(crate) fn json_text(status: StatusCode, body: String) -> Response {
    with_type(status, "application/json; charset=utf-8", body.into())
}

/// An error of the object store.
pub(crate) fn store_error(status: StatusCode, code: &str, message: &str) -> Response {
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Error><Code>{code}</Code><Message>{message}</Message><Resource></Resource></Error>"
    );
    with_type(status, "application/xml", xml.into())
}

pub(crate) fn with_type(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
