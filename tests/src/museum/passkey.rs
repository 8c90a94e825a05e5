//! Passkeys: the session that a browser has to pass, and the poll that waits for it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::answer::{ApiError, NOT_FOUND};
use super::auth::FACTOR_LIFETIME_S;
use super::server::{Shared, random};
use super::session::{App, Params};
use super::uuid;

/// Where the pages for passkeys are said to be. Nobody opens them.
pub(crate) const ACCOUNTS_URL: &str = "https://accounts.example.org";

/// How often, and for how long, the result can be read once the browser is done.
const MAX_READS: u32 = 2;
const RESULT_LIFETIME_S: i64 = 120;

/// All sessions, in the order of their opening.
#[derive(Default)]
pub(crate) struct Passkeys(Vec<Session>);

struct Session {
    id: String,
    account: usize,
    app: App,
    opened_at_s: i64,
    passed_at_s: Option<i64>,
    reads: u32,
}

pub(crate) async fn get_token(
    State(shared): State<Arc<Shared>>,
    params: Params,
) -> Result<Json<Value>, ApiError> {
    let typed = |status, code| ApiError::Typed(status, code);
    let id = params.get("sessionID").filter(|id| !id.is_empty());
    let id = id.ok_or(typed(StatusCode::BAD_REQUEST, "BAD_REQUEST"))?;
    let now_s = shared.options.clock.now_s();
    let (account, app) = {
        let mut auth = shared.auth();
        auth.count_call("passkey", &shared)?;
        let sessions = &mut auth.passkeys.0;
        sessions.retain(|session| now_s - session.opened_at_s < FACTOR_LIFETIME_S);
        let session = sessions.iter_mut().find(|session| session.id == *id);
        let session = session.ok_or(NOT_FOUND)?;
        let Some(passed_at_s) = session.passed_at_s else {
            return Err(typed(StatusCode::BAD_REQUEST, "SESSION_NOT_VERIFIED"));
        };
        if now_s - passed_at_s > RESULT_LIFETIME_S || session.reads == MAX_READS {
            return Err(typed(StatusCode::GONE, "INVALID_SESSION"));
        }
        session.reads += 1;
        (session.account, session.app)
    };
    Ok(Json(shared.keys(account, app)))
}

impl Shared {
    pub(crate) fn open_passkey_session(&self, account: usize, app: App, passed: bool) -> String {
        let now_s = self.options.clock.now_s();
        let id = uuid(random());
        self.auth().passkeys.0.push(Session {
            id: id.clone(),
            account,
            app,
            opened_at_s: now_s,
            passed_at_s: passed.then_some(now_s),
            reads: 0,
        });
        id
    }

    /// What happens in the browser; where it is led at the end.
    pub(crate) fn pass_passkey(&self) -> String {
        let (id, account, app) = {
            let mut auth = self.auth();
            let session = auth.passkeys.0.last_mut().expect("a session waits");
            session.passed_at_s = Some(self.options.clock.now_s());
            (session.id.clone(), session.account, session.app)
        };
        let answer = self.keys(account, app).to_string();
        let response = URL_SAFE_NO_PAD.encode(answer);
        format!("ente-cli://passkey?passkeySessionID={id}&response={response}")
    }
}
