//! The caller of a route that needs a token.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::answer::{ApiError, BAD_REQUEST};
use super::server::Shared;

/// The decoded query.
pub(crate) type Params = Query<HashMap<String, String>>;

/// The app that a request says it comes from. Tokens and e-mail codes belong to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum App {
    Photos,
    Locker,
    Auth,
}

impl App {
    fn of(parts: &Parts) -> Self {
        let package = parts
            .headers
            .get("x-client-package")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if package.starts_with("io.ente.auth") {
            Self::Auth
        } else if package.starts_with("io.ente.locker") {
            Self::Locker
        } else {
            Self::Photos
        }
    }
}

impl<S: Sync> FromRequestParts<S> for App {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts))
    }
}

/// Proof that the request carried a live token of the app that it says it comes from.
pub(crate) struct Session {
    /// Index of the account.
    pub(crate) account: usize,
    pub(crate) app: App,
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
        let app = App::of(parts);
        let now_s = shared.options.clock.now_s();
        let account = shared.auth().account_of(&token, app, now_s);
        account
            .map(|account| Self {
                account,
                app,
                token,
            })
            .map_err(unauthorized)
    }
}
