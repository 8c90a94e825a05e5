//! Signing in, asking whether a session is still good, signing out.
//!
//! Keys and proofs come and go as bytes or ciphertext; what they mean is the login's business.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{ApiError, Client, ErrorKind};
use crate::encoding;
use crate::token::Token;
use crate::wire::KeyAttributes;

/// What the server knows about an account before any proof: public parameters.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SrpAttributes {
    /// The name that enters the proof, in exactly this spelling.
    #[serde(rename = "srpUserID")]
    pub srp_user_id: String,
    /// Salt of the proof.
    #[serde(deserialize_with = "base64_bytes")]
    pub srp_salt: Vec<u8>,
    /// Argon2id memory in bytes. A server may ask for anything: bound it.
    pub mem_limit: u64,
    /// Argon2id passes. Likewise.
    pub ops_limit: u64,
    /// Argon2id salt.
    #[serde(deserialize_with = "base64_bytes")]
    pub kek_salt: Vec<u8>,
    /// Whether signing in needs a code from an e-mail instead of the proof.
    #[serde(rename = "isEmailMFAEnabled", default = "yes")]
    pub email_mfa: bool,
}

/// An opened SRP exchange.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SrpSession {
    /// Names the exchange in the second call.
    #[serde(rename = "sessionID")]
    pub session_id: String,
    /// The server's public value.
    #[serde(rename = "srpB", deserialize_with = "base64_bytes")]
    pub srp_b: Vec<u8>,
}

/// What a proof, a code or a second factor leads to; [`Authorization::next`] says it in one word.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Authorization {
    /// The user ID.
    pub id: i64,
    /// The server's own proof, in base64; only in answers to [`Client::srp_verify`].
    #[serde(rename = "srpM2")]
    pub srp_m2: Option<String>,
    key_attributes: Option<KeyAttributes>,
    encrypted_token: Option<String>,
    #[serde(rename = "twoFactorSessionID")]
    totp_session: String,
    #[serde(rename = "twoFactorSessionIDV2")]
    totp_session_v2: String,
    #[serde(rename = "passkeySessionID")]
    passkey_session: String,
    accounts_url: String,
}

/// What the server wants next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing more. The keys, wrapped, and the token in a sealed box, in base64.
    Open(Box<KeyAttributes>, String),
    /// A code from an authenticator, for this session.
    Totp(String),
    /// A passkey.
    Passkey(PasskeySession),
    /// Whichever of the two is at hand.
    Either(String, PasskeySession),
    /// The account has no keys: its sign-up was never finished.
    NoKeys,
    /// Keys without a token, or a token that no key opens: no answer of an Ente server.
    Nonsense,
}

/// A passkey that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasskeySession {
    /// Names the session in the page's address and in [`Client::passkey_result`].
    pub id: String,
    /// Where the server says that the page for passkeys is. It may be anything.
    pub accounts_url: String,
}

impl Authorization {
    /// Reads a whole answer from JSON, as the passkey page hands it over.
    pub fn from_json(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// What is to be done.
    pub fn next(self) -> Next {
        // The server sends `""` for what does not apply.
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        let totp = given(self.totp_session).or(given(self.totp_session_v2));
        let passkey = given(self.passkey_session).map(|id| PasskeySession {
            id,
            accounts_url: self.accounts_url,
        });
        let token = self.encrypted_token.and_then(given);
        match (totp, passkey, self.key_attributes, token) {
            (Some(totp), Some(passkey), ..) => Next::Either(totp, passkey),
            (Some(totp), None, ..) => Next::Totp(totp),
            (None, Some(passkey), ..) => Next::Passkey(passkey),
            (None, None, Some(attributes), Some(token)) => Next::Open(Box::new(attributes), token),
            (None, None, None, None) => Next::NoKeys,
            _ => Next::Nonsense,
        }
    }
}

/// The state of a session that is still good.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// As served: ciphertext that, with the password, opens everything. Null without keys.
    #[serde(default)]
    pub key_attributes: Value,
}

impl Client {
    /// The parameters of an account.
    ///
    /// [`NotFound`](ErrorKind::NotFound): no such account, or one without SRP. An unknown address
    /// may also get invented parameters.
    pub async fn srp_attributes(&self, email: &str) -> Result<SrpAttributes, ApiError> {
        #[derive(Deserialize)]
        struct Body {
            attributes: SrpAttributes,
        }
        let query = [("email", email)];
        let body: Body = self.get_rationed("/users/srp/attributes", &query).await?;
        Ok(body.attributes)
    }

    /// Opens an SRP exchange with the client's public value (512 bytes). Each call counts against
    /// the account's limit, so it is never repeated by itself.
    pub async fn srp_create(&self, srp_user_id: &str, a: &[u8]) -> Result<SrpSession, ApiError> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(rename = "srpUserID")]
            srp_user_id: &'a str,
            #[serde(rename = "srpA")]
            a: String,
        }
        let a = encoding::to_base64(a);
        self.post("/users/srp/create-session", &Body { srp_user_id, a })
            .await
    }

    /// Sends the proof (32 bytes), once: a repeat would meet a spent session.
    ///
    /// [`Unauthorized`](ErrorKind::Unauthorized): wrong password or unknown account.
    pub async fn srp_verify(
        &self,
        srp_user_id: &str,
        session_id: &str,
        m1: &[u8],
    ) -> Result<Authorization, ApiError> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(rename = "srpUserID")]
            srp_user_id: &'a str,
            #[serde(rename = "sessionID")]
            session_id: &'a str,
            #[serde(rename = "srpM1")]
            m1: String,
        }
        let body = Body {
            srp_user_id,
            session_id,
            m1: encoding::to_base64(m1),
        };
        self.post("/users/srp/verify-session", &body).await
    }

    /// Sends an authenticator's code, once: a code is spent when it is used.
    ///
    /// [`Unauthorized`](ErrorKind::Unauthorized): wrong or used code;
    /// [`NotFound`](ErrorKind::NotFound): the session is older than ten minutes.
    pub async fn verify_totp(&self, session: &str, code: &str) -> Result<Authorization, ApiError> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(rename = "sessionID")]
            session: &'a str,
            code: &'a str,
        }
        self.post("/users/two-factor/verify", &Body { session, code })
            .await
    }

    /// Has a code sent to the address, for a sign-in only: the server would make accounts for unknown addresses.
    ///
    /// [`NotFound`](ErrorKind::NotFound): no such account, or one without keys. An unknown address may also be passed over
    /// in silence.
    pub async fn send_email_code(&self, email: &str) -> Result<(), ApiError> {
        #[derive(Serialize)]
        struct Body<'a> {
            email: &'a str,
            purpose: &'static str,
        }
        let purpose = "login";
        self.post_for_response("/users/ott", &Body { email, purpose })
            .await
            .map(drop)
    }

    /// Sends the code from an e-mail, once: it is spent when it is used.
    ///
    /// [`Unauthorized`](ErrorKind::Unauthorized): wrong code; [`Gone`](ErrorKind::Gone): no code is valid any more.
    pub async fn verify_email(&self, email: &str, code: &str) -> Result<Authorization, ApiError> {
        #[derive(Serialize)]
        struct Body<'a> {
            email: &'a str,
            ott: &'a str,
        }
        self.post("/users/verify-email", &Body { email, ott: code })
            .await
    }

    /// Asks whether the passkey was used meanwhile. At most ten times a minute, and the result is there for two minutes.
    ///
    /// The code `SESSION_NOT_VERIFIED`: not yet; [`NotFound`](ErrorKind::NotFound) and [`Gone`](ErrorKind::Gone): it took
    /// too long.
    pub async fn passkey_result(&self, session: &str) -> Result<Authorization, ApiError> {
        let query = [("sessionID", session)];
        self.get_rationed("/users/two-factor/passkeys/get-token", &query)
            .await
    }

    /// When the session of this client was used last before this call, in microseconds since 1970, as far as the server
    /// knows; downloads do not count.
    ///
    /// [`Unauthorized`](ErrorKind::Unauthorized): it has ended.
    pub async fn last_used(&self) -> Result<Option<i64>, ApiError> {
        #[derive(Deserialize)]
        struct Body {
            #[serde(default)]
            sessions: Vec<Item>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Item {
            #[serde(default)]
            token: Zeroizing<String>,
            #[serde(default)]
            last_used_time: Option<i64>,
        }
        let body: Body = self.get_rationed("/users/sessions", &[]).await?;
        let own = self.token.as_ref().map(Token::text);
        let mut items = body.sessions.into_iter();
        let found = items.find(|item| own.as_ref() == Some(&item.token));
        Ok(found.and_then(|item| item.last_used_time))
    }

    /// Whether the session is still good.
    ///
    /// [`Unauthorized`](ErrorKind::Unauthorized): it is not.
    pub async fn session(&self) -> Result<Session, ApiError> {
        self.get("/users/session-validity/v2", &[]).await
    }

    /// Ends the session. One that had ended before is no error.
    pub async fn logout(&self) -> Result<(), ApiError> {
        #[derive(Serialize)]
        struct Body {}
        let answer = self.post("/users/logout", &Body {}).await;
        match answer {
            Ok(serde::de::IgnoredAny) => Ok(()),
            Err(error) if error.kind == ErrorKind::Unauthorized => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// What a missing `isEmailMFAEnabled` means.
fn yes() -> bool {
    true
}

fn base64_bytes<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    encoding::from_base64(&text).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::test_server::{Canned, TestServer};

    #[test]
    fn the_next_step_follows_from_what_is_not_empty() {
        let passkey = || PasskeySession {
            id: "p".to_owned(),
            accounts_url: "https://a".to_owned(),
        };
        let open = || Next::Open(Box::default(), "s".to_owned());
        for (members, next) in [
            ("", Next::NoKeys),
            (r#","token":"plain""#, Next::NoKeys),
            (r#","encryptedToken":"s","keyAttributes":{}"#, open()),
            (r#","keyAttributes":{}"#, Next::Nonsense),
            (r#","keyAttributes":{},"encryptedToken":"""#, Next::Nonsense),
            (r#","encryptedToken":"s""#, Next::Nonsense),
            (
                r#","twoFactorSessionID":"","passkeySessionID":"","encryptedToken":"s","keyAttributes":{}"#,
                open(),
            ),
            (
                r#","twoFactorSessionID":"t","passkeySessionID":"""#,
                Next::Totp("t".to_owned()),
            ),
            (
                r#","twoFactorSessionIDV2":"v","passkeySessionID":"p","accountsUrl":"https://a""#,
                Next::Either("v".to_owned(), passkey()),
            ),
            (
                r#","twoFactorSessionIDV2":"","passkeySessionID":"p","accountsUrl":"https://a""#,
                Next::Passkey(passkey()),
            ),
        ] {
            let text = format!(r#"{{"id":1580559962386440{members}}}"#);
            let answer = Authorization::from_json(text.as_bytes()).unwrap();
            assert_eq!(answer.id, 1_580_559_962_386_440);
            assert_eq!(answer.next(), next, "{members}");
        }
    }

    #[tokio::test]
    async fn attributes_are_asked_for_with_the_address_encoded() {
        let server = TestServer::start([Canned::new(200).body(
            r#"{"attributes":{"srpUserID":"u","srpSalt":"AQI=","memLimit":268435456,
                "opsLimit":16,"kekSalt":"AwQ="}}"#,
        )]);
        let attributes = server.client().srp_attributes("a+b@c.d").await.unwrap();
        assert_eq!(attributes.srp_salt, [1, 2]);
        assert_eq!(attributes.kek_salt, [3, 4]);
        // Left out by the server: to be read as true.
        assert!(attributes.email_mfa);
        let request = &server.requests()[0];
        assert!(request.starts_with("GET /users/srp/attributes?email=a%2Bb%40c.d "));
        assert!(request.contains("x-client-package: io.ente.photos"));
        assert!(!request.contains("x-auth-token"));
    }

    #[tokio::test]
    async fn a_proof_is_sent_once_even_when_the_server_stumbles() {
        let server = TestServer::start([Canned::new(503), Canned::new(200).body("{}")]);
        let error = server
            .client()
            .srp_verify("u", "s", &[1])
            .await
            .unwrap_err();
        assert_eq!(error.status(), Some(503));
        assert_eq!(server.requests().len(), 1);
    }

    #[tokio::test]
    async fn logging_out_of_an_ended_session_succeeds() {
        let ended = Canned::new(401).body(r#"{"error":"token expired"}"#);
        let server = TestServer::start([ended]);
        server.client_with_token().logout().await.unwrap();
        assert!(server.requests()[0].starts_with("POST /users/logout "));
    }
}
