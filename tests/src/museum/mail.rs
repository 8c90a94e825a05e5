//! Codes by e-mail.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value;

use super::answer::{ApiError, BAD_REQUEST};
use super::auth::{find_account, members};
use super::server::{Shared, random};
use super::session::App;

const CODE_LIFETIME_S: i64 = 3600;
/// Live codes of one address and app.
const MAX_LIVE_CODES: usize = 10;
/// Wrong codes that an address and app are allowed while codes are live.
const MAX_WRONG_CODES: u32 = 20;

/// What was mailed, and what was tried.
#[derive(Default)]
pub(crate) struct Mail {
    codes: Vec<Code>,
    sent: Vec<(String, String)>,
}

struct Code {
    email: String,
    app: App,
    text: String,
    sent_at_s: i64,
    wrong_tries: u32,
}

impl Mail {
    pub(crate) fn sent_to(&self, email: &str) -> Vec<String> {
        let to = self.sent.iter().filter(|(to, _)| to == email);
        to.map(|(_, code)| code.clone()).collect()
    }

    fn live(&mut self, email: &str, app: App, now_s: i64) -> Vec<&mut Code> {
        self.codes
            .retain(|code| now_s - code.sent_at_s < CODE_LIFETIME_S);
        let codes = self.codes.iter_mut();
        codes
            .filter(|code| code.email == email && code.app == app)
            .collect()
    }
}

pub(crate) async fn send_code(
    State(shared): State<Arc<Shared>>,
    app: App,
    body: Bytes,
) -> Result<(), ApiError> {
    let [email, purpose] = members(&body, ["email", "purpose"])?;
    let email = email.trim().to_lowercase();
    let mut auth = shared.auth();
    auth.count_call("ott", &shared)?;
    if purpose != "login" {
        // Any other would create accounts.
        return Err(BAD_REQUEST);
    }
    let unknown = |code| ApiError::Typed(StatusCode::NOT_FOUND, code);
    match find_account(&shared, |account| account.email == email) {
        None if shared.options.invents_attributes => return Ok(()),
        None => return Err(unknown("USER_NOT_REGISTERED")),
        Some((_, account)) if !account.keys_set_up => {
            return Err(unknown("USER_SIGNUP_INCOMPLETE"));
        }
        Some(_) => {}
    }
    let now_s = shared.options.clock.now_s();
    if auth.mail.live(&email, app, now_s).len() >= MAX_LIVE_CODES {
        return Err(ApiError::Plain(StatusCode::TOO_MANY_REQUESTS));
    }
    let text = format!("{:06}", u32::from_le_bytes(random()) % 1_000_000);
    auth.mail.sent.push((email.clone(), text.clone()));
    auth.mail.codes.push(Code {
        email,
        app,
        text,
        sent_at_s: now_s,
        wrong_tries: 0,
    });
    Ok(())
}

pub(crate) async fn verify(
    State(shared): State<Arc<Shared>>,
    app: App,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let [email, ott] = members(&body, ["email", "ott"])?;
    let email = email.trim().to_lowercase();
    let plain = |status| Err(ApiError::Plain(status));
    let account = {
        let mut auth = shared.auth();
        auth.count_call("verify-email", &shared)?;
        let mut live = auth.mail.live(&email, app, shared.options.clock.now_s());
        if live.is_empty() {
            return plain(StatusCode::GONE);
        }
        let wrong_tries: u32 = live.iter().map(|code| code.wrong_tries).sum();
        if wrong_tries >= MAX_WRONG_CODES {
            return plain(StatusCode::TOO_MANY_REQUESTS);
        }
        if !live.iter().any(|code| code.text == ott) {
            live[0].wrong_tries += 1;
            return plain(StatusCode::UNAUTHORIZED);
        }
        auth.mail
            .codes
            .retain(|code| code.email != email || code.text != ott);
        match find_account(&shared, |account| account.email == email) {
            Some((account, _)) => account,
            None => return plain(StatusCode::FORBIDDEN),
        }
    };
    Ok(Json(shared.authorization(account, app)))
}
