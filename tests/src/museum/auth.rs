//! Signing in by SRP and one-time code, and the sessions that come of it. E-mail codes and passkeys have modules of their own.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::answer::{ApiError, BAD_REQUEST, NOT_FOUND, RATE_LIMITED};
use super::server::{Shared, random};
use super::session::{App, Params, Session};
use super::srp::Exchange;
use super::{mail, passkey, totp, uuid};
use crate::library::{Account, Passkey, Token, decode_text, encode};

/// Wrong proofs that one SRP session takes.
const MAX_WRONG_PROOFS: u32 = 5;
/// Unverified SRP sessions of one account in an hour.
const MAX_UNVERIFIED_SESSIONS: usize = 10;
/// Wrong codes that one second-factor session takes.
const MAX_WRONG_CODES: u32 = 10;
/// How long a second factor may take.
pub(crate) const FACTOR_LIFETIME_S: i64 = 600;
/// How long a used code is remembered.
const CODE_MEMORY_S: i64 = 90;
const TOKEN_LIFETIME_S: i64 = 365 * 24 * 3600;

/// Everything that signing in has to remember.
#[derive(Default)]
pub(crate) struct Auth {
    srp: HashMap<String, SrpSession>,
    codes: HashMap<String, CodeSession>,
    /// (account, step of the code, when it was used).
    used_codes: Vec<(usize, i64, i64)>,
    tokens: HashMap<String, TokenState>,
    pub(crate) mail: mail::Mail,
    pub(crate) passkeys: passkey::Passkeys,
    /// When each sign-in route was called.
    calls: HashMap<&'static str, Vec<i64>>,
}

/// In place of an account that does not exist.
const NOBODY: usize = usize::MAX;

struct SrpSession {
    account: usize,
    exchange: Exchange,
    wrong_proofs: u32,
    verified: bool,
    created_at_s: i64,
}

struct CodeSession {
    account: usize,
    app: App,
    wrong_codes: u32,
    created_at_s: i64,
}

struct TokenState {
    account: usize,
    app: App,
    last_used_s: i64,
    /// The use before the last.
    used_before_s: i64,
}

impl Auth {
    /// Makes a token valid, for one app.
    pub(crate) fn admit(&mut self, token: &Token, account: usize, app: App, now_s: i64) {
        self.tokens.insert(
            token.plain.clone(),
            TokenState {
                account,
                app,
                last_used_s: now_s,
                used_before_s: now_s,
            },
        );
    }

    /// The account of a live token, whose life this call extends; or what the 401 says.
    pub(crate) fn account_of(
        &mut self,
        token: &str,
        app: App,
        now_s: i64,
    ) -> Result<usize, &'static str> {
        let state = self.tokens.get_mut(token).filter(|state| state.app == app);
        let state = state.ok_or("invalid token")?;
        if now_s - state.last_used_s > TOKEN_LIFETIME_S {
            return Err("token expired");
        }
        state.used_before_s = state.last_used_s;
        state.last_used_s = now_s;
        Ok(state.account)
    }

    pub(crate) fn revoke_all(&mut self) {
        self.tokens.clear();
    }

    /// Counts a call of a sign-in route against the limit per minute.
    pub(crate) fn count_call(
        &mut self,
        route: &'static str,
        shared: &Shared,
    ) -> Result<(), ApiError> {
        let now_s = shared.options.clock.now_s();
        let calls = self.calls.entry(route).or_default();
        calls.retain(|at_s| now_s - at_s < 60);
        if shared
            .options
            .sign_in_calls_per_minute
            .is_some_and(|limit| calls.len() >= limit)
        {
            return Err(RATE_LIMITED);
        }
        calls.push(now_s);
        Ok(())
    }

    fn unverified_sessions(&self, account: usize, now_s: i64) -> usize {
        let recent = |s: &&SrpSession| !s.verified && now_s - s.created_at_s < 3600;
        self.srp
            .values()
            .filter(|s| s.account == account)
            .filter(recent)
            .count()
    }
}

pub(crate) async fn attributes(
    State(shared): State<Arc<Shared>>,
    params: Params,
) -> Result<Json<Value>, ApiError> {
    shared.auth().count_call("attributes", &shared)?;
    let email = params
        .get("email")
        .ok_or(BAD_REQUEST)?
        .trim()
        .to_lowercase();
    match find_account(&shared, |account| account.email == email) {
        Some((_, account)) if account.srp_set_up => {
            Ok(Json(json!({"attributes": account.srp_attributes()})))
        }
        Some(_) => Err(ApiError::Typed(StatusCode::NOT_FOUND, "NOT_FOUND")),
        None if shared.options.invents_attributes => {
            Ok(Json(json!({"attributes": Account::invented_attributes()})))
        }
        None => Err(NOT_FOUND),
    }
}

pub(crate) async fn create_session(
    State(shared): State<Arc<Shared>>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let mut auth = shared.auth();
    auth.count_call("create-session", &shared)?;
    let [user, a] = members(&body, ["srpUserID", "srpA"])?;
    let (index, account) = match find_account(&shared, |account| account.srp_user_id == user) {
        Some(found) => found,
        // Whoever asks must not learn that there is no such account: the exchange goes on with that of nobody.
        None if shared.options.invents_attributes => {
            (NOBODY, shared.libraries()[0].account().clone())
        }
        None => return Err(ApiError::Plain(StatusCode::UNAUTHORIZED)),
    };
    if account.email_mfa {
        return Err(ApiError::Typed(StatusCode::CONFLICT, "EMAIL_MFA_ENABLED"));
    }
    let now_s = shared.options.clock.now_s();
    if auth.unverified_sessions(index, now_s) >= MAX_UNVERIFIED_SESSIONS {
        return Err(ApiError::Typed(
            StatusCode::TOO_MANY_REQUESTS,
            "TOO_MANY_UNVERIFIED_SESSIONS",
        ));
    }
    let malformed = ApiError::Typed(StatusCode::BAD_REQUEST, "BAD_REQUEST");
    let a = decode_text(&a).ok_or(malformed)?;
    let exchange = Exchange::new(&account.srp_verifier, &a, &random()).ok_or(malformed)?;
    let b = encode(exchange.b_public());
    let session = SrpSession {
        account: index,
        exchange,
        wrong_proofs: 0,
        verified: false,
        created_at_s: now_s,
    };
    let id = uuid(random());
    auth.srp.insert(id.clone(), session);
    Ok(Json(json!({"sessionID": id, "srpB": b})))
}

pub(crate) async fn verify_session(
    State(shared): State<Arc<Shared>>,
    app: App,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let wrong = ApiError::Plain(StatusCode::UNAUTHORIZED);
    let gone = |code| ApiError::Typed(StatusCode::GONE, code);
    let [user, id, m1] = members(&body, ["srpUserID", "sessionID", "srpM1"])?;
    let (index, m2) = {
        let mut auth = shared.auth();
        auth.count_call("verify-session", &shared)?;
        let m1 = decode_text(&m1)
            .filter(|m1| m1.len() == 32)
            .ok_or(ApiError::Typed(StatusCode::BAD_REQUEST, "BAD_REQUEST"))?;
        let account = find_account(&shared, |account| account.srp_user_id == user)
            .map_or(NOBODY, |(account, _)| account);
        let session = auth
            .srp
            .get_mut(&id)
            .filter(|s| s.account == account)
            .ok_or(wrong)?;
        if session.verified {
            return Err(gone("SESSION_ALREADY_VERIFIED"));
        }
        if session.wrong_proofs >= MAX_WRONG_PROOFS {
            return Err(gone("TOO_MANY_WRONG_ATTEMPTS"));
        }
        if session.exchange.m1()[..] != m1 {
            session.wrong_proofs += 1;
            return Err(wrong);
        }
        session.verified = true;
        (account, session.exchange.m2())
    };
    let mut answer = shared.authorization(index, app);
    answer["srpM2"] = encode(m2).into();
    Ok(Json(answer))
}

pub(crate) async fn verify_code(
    State(shared): State<Arc<Shared>>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let [id, code] = members(&body, ["sessionID", "code"])?;
    let now_s = shared.options.clock.now_s();
    let (index, app) = {
        let mut auth = shared.auth();
        auth.count_call("two-factor", &shared)?;
        let auth = &mut *auth;
        auth.codes
            .retain(|_, session| now_s - session.created_at_s < FACTOR_LIFETIME_S);
        auth.used_codes
            .retain(|(_, _, used_at_s)| now_s - used_at_s < CODE_MEMORY_S);
        let session = auth.codes.get_mut(&id).ok_or(NOT_FOUND)?;
        if session.wrong_codes >= MAX_WRONG_CODES {
            return Err(ApiError::Plain(StatusCode::TOO_MANY_REQUESTS));
        }
        let (account, app) = (session.account, session.app);
        let libraries = shared.libraries();
        let step = totp::matching_step(&libraries[account].account().totp_secret, &code, now_s);
        let used = |step: &i64| {
            auth.used_codes
                .iter()
                .any(|(a, s, _)| (*a, s) == (account, step))
        };
        let Some(step) = step.filter(|step| !used(step)) else {
            session.wrong_codes += 1;
            return Err(ApiError::Plain(StatusCode::UNAUTHORIZED));
        };
        auth.used_codes.push((account, step, now_s));
        auth.codes.remove(&id);
        (account, app)
    };
    Ok(Json(shared.keys(index, app)))
}

pub(crate) async fn logout(State(shared): State<Arc<Shared>>, session: Session) -> Json<Value> {
    shared.auth().tokens.remove(&session.token);
    Json(json!({}))
}

/// The sessions of an account, as its owner sees them.
pub(crate) async fn sessions(State(shared): State<Arc<Shared>>, session: Session) -> Json<Value> {
    let auth = shared.auth();
    let of_account = auth
        .tokens
        .iter()
        .filter(|(_, state)| state.account == session.account);
    let sessions: Vec<Value> = of_account
        .map(|(token, state)| {
            // The call that asks is a use too; what it wants to know is the one before.
            let own = *token == session.token;
            let used_s = if own {
                state.used_before_s
            } else {
                state.last_used_s
            };
            json!({
                "token": token,
                "creationTime": used_s * 1_000_000,
                "ip": "127.0.0.1",
                "ua": "",
                "prettyUA": "",
                "lastUsedTime": used_s * 1_000_000,
            })
        })
        .collect();
    Json(json!({"sessions": sessions}))
}

impl Shared {
    /// What a proof or an e-mail code leads to: the second factor where there is one, else the keys.
    pub(crate) fn authorization(&self, index: usize, app: App) -> Value {
        let account = self.libraries()[index].account().clone();
        let has_passkey = account.passkey != Passkey::None;
        let mut answer = json!({
            "id": account.user_id,
            "passkeySessionID": "",
            "accountsUrl": "",
            "twoFactorSessionID": "",
            "twoFactorSessionIDV2": "",
        });
        if account.totp_enabled {
            // Clients that know the first member only would overlook the passkey.
            let member = if has_passkey {
                "twoFactorSessionIDV2"
            } else {
                "twoFactorSessionID"
            };
            answer[member] = self.open_code_session(index, app).into();
        }
        if has_passkey {
            let at_once = account.passkey == Passkey::Approves;
            answer["passkeySessionID"] = self.open_passkey_session(index, app, at_once).into();
            answer["accountsUrl"] = passkey::ACCOUNTS_URL.into();
        }
        if !account.totp_enabled && !has_passkey {
            add_members(&mut answer, self.keys(index, app));
        }
        answer
    }

    /// The last answer of a sign-in: key attributes and a fresh sealed token.
    pub(crate) fn keys(&self, index: usize, app: App) -> Value {
        let token = self.issue_token(index, app);
        let libraries = self.libraries();
        let account = libraries[index].account();
        json!({
            "id": account.user_id,
            "keyAttributes": account.key_attributes,
            "encryptedToken": token.sealed,
        })
    }

    fn open_code_session(&self, account: usize, app: App) -> String {
        let id = uuid(random());
        let created_at_s = self.options.clock.now_s();
        let session = CodeSession {
            account,
            app,
            wrong_codes: 0,
            created_at_s,
        };
        self.auth().codes.insert(id.clone(), session);
        id
    }
}

fn add_members(to: &mut Value, from: Value) {
    let (Some(to), Value::Object(from)) = (to.as_object_mut(), from) else {
        return;
    };
    to.extend(from);
}

pub(crate) fn find_account(
    shared: &Shared,
    is_it: impl Fn(&Account) -> bool,
) -> Option<(usize, Account)> {
    let libraries = shared.libraries();
    let mut accounts = libraries
        .iter()
        .map(|library| library.account())
        .enumerate();
    accounts
        .find(|(_, account)| is_it(account))
        .map(|(index, account)| (index, account.clone()))
}

/// Required string members of a JSON body; 400 if one is missing or empty.
pub(crate) fn members<const N: usize>(
    body: &[u8],
    names: [&str; N],
) -> Result<[String; N], ApiError> {
    let body: Value = serde_json::from_slice(body).map_err(|_| BAD_REQUEST)?;
    let mut values = [const { String::new() }; N];
    for (value, name) in values.iter_mut().zip(names) {
        *value = body[name]
            .as_str()
            .filter(|text| !text.is_empty())
            .ok_or(BAD_REQUEST)?
            .to_owned();
    }
    Ok(values)
}
