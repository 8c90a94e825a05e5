//! SRP, codes, tokens.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::srp::Client;
use super::super::{Clock, Museum, Options};
use super::{Answer, get, golden, post, send};
use crate::library::{GoldenState, Library, Passkey, decode, decode_text, encode, login_key};

#[test]
fn library_routes_want_a_live_token() {
    let (museum, token) = golden();
    let url = format!("{}/collections/v2", museum.api_url());
    let cases: [(&[(&str, &str)], u16); 5] = [
        (&[], 401),
        (&[("X-Auth-Token", "nonsense")], 401),
        (&[("X-Auth-Token", &token)], 200),
        (
            &[
                ("X-Auth-Token", &token),
                ("X-Client-Package", "io.ente.photos"),
            ],
            200,
        ),
        (
            &[
                ("X-Auth-Token", &token),
                ("X-Client-Package", "io.ente.auth"),
            ],
            401,
        ),
    ];
    for (headers, status) in cases {
        assert_eq!(send("GET", &url, headers, "").status, status, "{headers:?}");
    }
    let in_query = format!("{url}?token={}", token.replace('=', "%3D"));
    assert_eq!(send("GET", &in_query, &[], "").status, 200);
    assert_eq!(
        send("HEAD", &url, &[("X-Auth-Token", &token)], "").status,
        404
    );
    museum.clock().advance(Duration::from_secs(366 * 24 * 3600));
    assert_eq!(get(&url, &token).text(), r#"{"error":"token expired"}"#);
    museum.revoke_tokens();
    assert_eq!(get(&url, &token).text(), r#"{"error":"invalid token"}"#);
}

#[test]
fn five_wrong_proofs_close_an_srp_session() {
    let (museum, _) = golden();
    let user = museum.with_library(|library| library.account().srp_user_id.clone());
    let a = encode(Client::new([1; 32]).a_public());
    let opened = post(
        &museum,
        "/users/srp/create-session",
        json!({"srpUserID": user, "srpA": a}),
    );
    let id = opened.json()["sessionID"].clone();
    let wrong = json!({"srpUserID": user, "sessionID": id, "srpM1": encode([0; 32])});
    for _ in 0..5 {
        let answer = post(&museum, "/users/srp/verify-session", wrong.clone());
        assert_eq!((answer.status, answer.text().as_str()), (401, "{}"));
    }
    let answer = post(&museum, "/users/srp/verify-session", wrong);
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (410, &json!("TOO_MANY_WRONG_ATTEMPTS"))
    );
    let short = json!({"srpUserID": user, "srpA": "AAAA"});
    assert_eq!(
        post(&museum, "/users/srp/create-session", short).json()["code"],
        "BAD_REQUEST"
    );
}

#[test]
fn ten_unverified_sessions_lock_the_route() {
    let (museum, _) = golden();
    let user = museum.with_library(|library| library.account().srp_user_id.clone());
    let body = json!({"srpUserID": user, "srpA": encode([1; 512])});
    for _ in 0..10 {
        assert_eq!(
            post(&museum, "/users/srp/create-session", body.clone()).status,
            200
        );
    }
    let answer = post(&museum, "/users/srp/create-session", body.clone());
    assert_eq!(answer.json()["code"], "TOO_MANY_UNVERIFIED_SESSIONS");
    museum.clock().advance(Duration::from_secs(3600));
    assert_eq!(post(&museum, "/users/srp/create-session", body).status, 200);
}

/// Signs in as far as the password goes. The answer to the proof, and whether the server proved itself.
fn sign_in(museum: &Museum, email: &str, password: &str) -> (Answer, bool) {
    let url = format!(
        "{}/users/srp/attributes?email={}",
        museum.api_url(),
        email.replace('@', "%40")
    );
    let attributes = send("GET", &url, &[], "").json()["attributes"].clone();
    let limit = |name: &str| attributes[name].as_u64().unwrap() as u32;
    let salt = decode(&attributes["kekSalt"]);
    let login_key = login_key(password, &salt, limit("memLimit"), limit("opsLimit"));
    let user = attributes["srpUserID"].as_str().unwrap();
    let client = Client::new([9; 32]);
    let body = json!({"srpUserID": user, "srpA": encode(client.a_public())});
    let session = post(museum, "/users/srp/create-session", body).json();
    let b = decode(&session["srpB"]);
    let (m1, m2) = client.proofs(user, &login_key, &decode(&attributes["srpSalt"]), &b);
    let body = json!({"srpUserID": user, "sessionID": session["sessionID"], "srpM1": encode(m1)});
    let answer = post(museum, "/users/srp/verify-session", body);
    let proven = answer.status == 200 && decode(&answer.json()["srpM2"]) == m2;
    (answer, proven)
}

/// The token that the answer carries, opened with the account's key pair.
fn token(library: &Library, answer: &Value) -> String {
    use base64::Engine as _;
    let secret = crypto_box::SecretKey::from(library.account().secret_key);
    let raw = secret.unseal(&decode_text(answer["encryptedToken"].as_str().unwrap()).unwrap());
    base64::engine::general_purpose::URL_SAFE.encode(raw.unwrap())
}

#[test]
fn a_password_gives_keys_and_a_token_that_works() {
    for library in [
        Library::golden(GoldenState::Initial),
        Library::empty(5, "Ada@Example.org", "pässword"),
    ] {
        let (email, password) = (
            library.account().email.clone(),
            library.account().password.clone(),
        );
        let museum = Museum::start(library, Options::default());
        let (answer, proven) = sign_in(&museum, &email, &password);
        assert!(proven, "{answer:?}");
        let answer = answer.json();
        assert_eq!(answer["twoFactorSessionID"], "");
        assert_eq!(answer["keyAttributes"].as_object().unwrap().len(), 13);
        let token = museum.with_library(|library| token(library, &answer));
        let url = format!("{}/users/session-validity/v2", museum.api_url());
        let expected = json!({"hasSetKeys": true, "keyAttributes": answer["keyAttributes"]});
        assert_eq!(get(&url, &token).json(), expected);
        let logout = format!("{}/users/logout", museum.api_url());
        assert_eq!(
            send("POST", &logout, &[("X-Auth-Token", &token)], "{}").text(),
            "{}"
        );
        assert_eq!(get(&url, &token).status, 401);
        assert_eq!(sign_in(&museum, &email, "another").0.status, 401);
    }
}

#[test]
fn a_code_works_once_and_its_session_ten_minutes() {
    let mut library = Library::empty(5, "ada@example.org", "pw");
    library.account_mut().totp_enabled = true;
    let options = Options {
        clock: Clock::fixed(1_700_000_000),
        ..Options::default()
    };
    let museum = Museum::start(library, options);
    let open = || {
        let answer = sign_in(&museum, "ada@example.org", "pw").0.json();
        assert!(
            answer.get("encryptedToken").is_none(),
            "the second factor is still due"
        );
        answer["twoFactorSessionID"].clone()
    };
    let code = || museum.with_library(|l| l.account().totp_code(museum.clock().now_s()));
    let verify = |session: &Value, code: &str| {
        post(
            &museum,
            "/users/two-factor/verify",
            json!({"sessionID": session, "code": code}),
        )
    };
    let session = open();
    assert_eq!(verify(&session, "000000").status, 401);
    let answer = verify(&session, &code());
    assert!(answer.status == 200 && answer.json()["encryptedToken"].is_string());
    assert_eq!(verify(&open(), &code()).status, 401, "the code was used");
    museum.clock().advance(Duration::from_secs(30));
    assert_eq!(verify(&open(), &code()).status, 200);
    let late = open();
    museum.clock().advance(Duration::from_secs(600));
    assert_eq!(verify(&late, &code()).status, 404);
    let tried = open();
    for _ in 0..10 {
        assert_eq!(verify(&tried, "000000").status, 401);
    }
    assert_eq!(verify(&tried, &code()).status, 429);
}

#[test]
fn a_mailed_code_belongs_to_one_app_works_once_and_lives_an_hour() {
    let mut library = Library::empty(5, "ada@example.org", "pw");
    library.account_mut().srp_set_up = false;
    let options = Options {
        clock: Clock::fixed(1_700_000_000),
        ..Options::default()
    };
    let museum = Museum::start(library, options);
    let call = |path: &str, package: &str, body: Value| {
        let url = format!("{}{path}", museum.api_url());
        send(
            "POST",
            &url,
            &[("X-Client-Package", package)],
            &body.to_string(),
        )
    };
    let mail = || {
        let body = json!({"email": " Ada@example.org", "purpose": "login"});
        let answer = call("/users/ott", "io.ente.locker", body);
        assert_eq!((answer.status, answer.text().as_str()), (200, ""));
        museum.mailbox("ada@example.org").pop().unwrap()
    };
    let verify = |package: &str, code: &str| {
        let body = json!({"email": "ada@example.org", "ott": code});
        call("/users/verify-email", package, body)
    };
    assert_eq!(
        get(
            &format!(
                "{}/users/srp/attributes?email=ada@example.org",
                museum.api_url()
            ),
            ""
        )
        .json()["code"],
        "NOT_FOUND"
    );
    let code = mail();
    assert_eq!(verify("io.ente.photos", &code).status, 410);
    assert_eq!(verify("io.ente.locker", "nonsense").status, 401);
    let answer = verify("io.ente.locker.web", &code).json();
    let token = museum.with_library(|library| token(library, &answer));
    assert_eq!(verify("io.ente.locker", &code).status, 410, "spent");
    let url = format!("{}/users/sessions", museum.api_url());
    let used = |package: &str| {
        let headers = [("X-Auth-Token", &*token), ("X-Client-Package", package)];
        send("GET", &url, &headers, "")
    };
    assert_eq!(used("io.ente.photos").status, 401);
    museum.clock().advance(Duration::from_secs(60));
    let session = used("io.ente.locker").json()["sessions"][0].clone();
    assert_eq!(session["token"], *token);
    assert_eq!(session["lastUsedTime"], 1_700_000_000_000_000_i64);
    let late = mail();
    museum.clock().advance(Duration::from_secs(3600));
    assert_eq!(verify("io.ente.locker", &late).status, 410);
    let code = mail();
    for _ in 0..20 {
        assert_eq!(verify("io.ente.locker", "nonsense").status, 401);
    }
    assert_eq!(verify("io.ente.locker", &code).status, 429);
    for _ in 0..9 {
        mail();
    }
    let body = json!({"email": "ada@example.org", "purpose": "login"});
    assert_eq!(call("/users/ott", "io.ente.locker", body).status, 429);
}

#[test]
fn the_result_of_a_passkey_is_there_twice_for_two_minutes() {
    let mut library = Library::empty(5, "ada@example.org", "pw");
    library.account_mut().passkey = Passkey::Asks;
    let options = Options {
        clock: Clock::fixed(1_700_000_000),
        ..Options::default()
    };
    let museum = Museum::start(library, options);
    let open = || {
        let answer = sign_in(&museum, "ada@example.org", "pw").0.json();
        assert!(
            answer["accountsUrl"]
                .as_str()
                .unwrap()
                .starts_with("https://")
        );
        answer["passkeySessionID"].as_str().unwrap().to_owned()
    };
    let poll = |id: &str| {
        let path = "/users/two-factor/passkeys/get-token?sessionID=";
        get(&format!("{}{path}{id}", museum.api_url()), "")
    };
    let session = open();
    let answer = poll(&session);
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (400, &json!("SESSION_NOT_VERIFIED"))
    );
    assert!(museum.pass_passkey().starts_with(&format!(
        "ente-cli://passkey?passkeySessionID={session}&response="
    )));
    for status in [200, 200, 410] {
        assert_eq!(poll(&session).status, status);
    }
    let session = open();
    museum.pass_passkey();
    museum.clock().advance(Duration::from_secs(121));
    assert_eq!(poll(&session).json()["code"], "INVALID_SESSION");
    museum.clock().advance(Duration::from_secs(600));
    assert_eq!(poll(&session).status, 404);
}
