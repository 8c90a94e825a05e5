//! The caller of a route that needs a token.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::answer::{ApiError, BAD_REQUEST};
use super::server::Shared;

/// The decoded query.
pub(crate) type Params = Query<HashMap<String, String>>;

/// Proof that the request carried a live token of the photos app.
pub(crate) struct Session {
    /// Index of the account.
    pub(crate) account: usize,
    pub(crate) token: String,
}

impl FromRequestParts<Arc<Shared>> for Session {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, ApiError> {
        let unauthorized = |error| ApiError::Layer(StatusCode::UNAUTHORIZED, error);
        let header = parts
            .headers
            .get("x-auth-token")
            .and_then(|value| value.to_str().ok());
        let token = match header {
            Some(token) => token.to_owned(),
            None => {
                let params = Params::try_from_uri(&parts.uri).map_err(|_| BAD_REQUEST)?;
                params
                    .get("token")
                    .ok_or(unauthorized("missing token"))?
                    .clone()
            }
        };
        // Tokens are stored per app, and every session here belongs to the photos app.
        let package = parts
            .headers
            .get("x-client-package")
            .and_then(|value| value.to_str().ok());
        let other_app = package
            .is_some_and(|p| p.starts_with("io.ente.auth") || p.starts_with("io.ente.locker"));
        if other_app {
            return Err(unauthorized("invalid token"));
        }
        let account = shared
            .auth()
            .account_of(&token, shared.options.clock.now_s());
        account
            .map(|account| Self { account, token })
            .map_err(unauthorized)
    }
}
