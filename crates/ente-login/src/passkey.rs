//! A passkey, as a second factor: a page in a browser does it, here or on another machine, and the server is asked for the
//! result meanwhile.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ente_common::api::{App, Authorization, ErrorKind, PasskeySession};
use ente_common::exit::{Exit, Failure};
use ente_common::ui::Question;
use url::Url;
use zeroize::Zeroizing;

use crate::sign_in::{SignIn, Step, refusal, took_too_long};

/// Between two questions to the server: it allows ten a minute.
const PAUSE: Duration = Duration::from_secs(7);
const MAX_A_MINUTE: usize = 9;
const MINUTE: Duration = Duration::from_secs(60);

/// How long the server keeps the session.
const PATIENCE: Duration = Duration::from_secs(600);

/// The only address that the page leads back to for programs without a web page. Nobody listens there, which is why it
/// can be pasted.
const REDIRECT: &str = "ente-cli://passkey";

/// Shows the page, and waits until it was passed.
pub(crate) async fn pass(
    sign_in: &mut SignIn<'_>,
    session: &PasskeySession,
) -> Result<Step, Failure> {
    let email = sign_in.email;
    let plain_http = sign_in.client.endpoint().is_plain_http();
    let page = page(session, sign_in.app, plain_http).ok_or_else(|| {
        Failure::new(Exit::Failed, "the server's answer makes no sense")
            .cause("it asks for a passkey and names no page for it")
            .hint("check that the address is that of an Ente API server")
    })?;
    sign_in
        .io
        .ui
        .say(&format!("open this page and use the passkey: {page}"));
    open_browser(&page);
    let mut question = ask(sign_in);
    let started = Instant::now();
    let mut pace = Pace::default();
    while started.elapsed() < PATIENCE {
        if pace.allows(Instant::now()) {
            match sign_in.client.passkey_result(&session.id).await {
                Ok(answer) => return Ok(Step::Follow(answer.into())),
                Err(error) if error.code() == "SESSION_NOT_VERIFIED" || error.is_transient() => {}
                Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Gone) => {
                    sign_in
                        .io
                        .ui
                        .note("that took too long for the server; starting again");
                    return Ok(Step::Start);
                }
                Err(error) => return Err(refusal(email, error)),
            }
        }
        let Some(line) = wait_for_line(&mut question, sign_in).await? else {
            continue;
        };
        if let Some(answer) = pasted(&line, &session.id) {
            return Ok(Step::Follow(answer.into()));
        }
        if !line.is_empty() {
            sign_in.io.ui.warning(
                &Failure::new(
                    Exit::Refused,
                    "this is not the address that the page ends at",
                )
                .hint(format!("it starts with `{REDIRECT}?`")),
            );
        }
        question = ask(sign_in);
    }
    Err(took_too_long(email))
}

/// The address of the page; `None` if it is no web page.
fn page(session: &PasskeySession, app: App, plain_http: bool) -> Option<Url> {
    let mut page = Url::parse(&session.accounts_url).ok()?;
    let is_web = page.scheme() == "https" || plain_http && page.scheme() == "http";
    if !is_web || !page.has_host() {
        return None;
    }
    let path = format!("{}/passkeys/verify", page.path().trim_end_matches('/'));
    page.set_path(&path);
    page.query_pairs_mut()
        .clear()
        .append_pair("clientPackage", app.client_package())
        .append_pair("passkeySessionID", &session.id)
        .append_pair("redirect", REDIRECT);
    Some(page)
}

/// Opens the page where somebody can see it; elsewhere the address alone has to do.
fn open_browser(page: &Url) {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_desktop = cfg!(any(windows, target_os = "macos"));
    if is_desktop || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY") {
        // The address is shown, so nothing is lost.
        let _ = open::that_detached(page.as_str());
    }
}

/// Asks for the address that the page ends at; without a terminal nobody can be asked.
fn ask(sign_in: &SignIn<'_>) -> Option<Question> {
    let question =
        "press Enter when the browser is done, or paste the address that it cannot open: ";
    sign_in.io.ui.ask(question, false).ok()
}

/// What was typed before it is time to ask the server again.
async fn wait_for_line(
    question: &mut Option<Question>,
    sign_in: &SignIn<'_>,
) -> Result<Option<Zeroizing<String>>, Failure> {
    let Some(asked) = question else {
        tokio::time::sleep(PAUSE).await;
        return Ok(None);
    };
    match asked.wait(PAUSE, &sign_in.io.interrupt) {
        Ok(line) => Ok(line),
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Err(crate::interrupted()),
        // The terminal is gone, or there is nothing more to come from it.
        Err(_) => {
            *question = None;
            Ok(None)
        }
    }
}

/// The answer in the address that the page ends at, if it is that of this session.
fn pasted(line: &str, session: &str) -> Option<Authorization> {
    let url = Url::parse(line.trim()).ok()?;
    let member = |name: &str| {
        let mut pairs = url.query_pairs();
        pairs.find(|(key, _)| key == name).map(|(_, value)| value)
    };
    if url.scheme() != "ente-cli" || member("passkeySessionID")? != session {
        return None;
    }
    let text = member("response")?;
    let json = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
    Authorization::from_json(&Zeroizing::new(json))
}

/// When the server was asked within the last minute.
#[derive(Default)]
struct Pace(VecDeque<Instant>);

impl Pace {
    /// Whether it may be asked now; if so, that counts.
    fn allows(&mut self, now: Instant) -> bool {
        self.0.retain(|asked| now.duration_since(*asked) < MINUTE);
        let allows = self.0.len() < MAX_A_MINUTE;
        if allows {
            self.0.push_back(now);
        }
        allows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(accounts_url: &str) -> PasskeySession {
        PasskeySession {
            id: "a=b&c".to_owned(),
            accounts_url: accounts_url.to_owned(),
        }
    }

    #[test]
    fn the_page_is_a_web_page_and_its_values_are_encoded() {
        let found = page(
            &session("https://accounts.example.org/"),
            App::Locker,
            false,
        )
        .unwrap();
        assert_eq!(
            found.as_str(),
            "https://accounts.example.org/passkeys/verify?clientPackage=io.ente.locker&\
             passkeySessionID=a%3Db%26c&redirect=ente-cli%3A%2F%2Fpasskey"
        );
        for (address, plain_http, is_page) in [
            ("", false, false),
            ("accounts.example.org", false, false),
            ("file:///etc/passwd", false, false),
            ("javascript:alert(1)", true, false),
            ("http://accounts.example.org", false, false),
            ("http://localhost:3001", true, true),
            ("https://accounts.example.org/prefix?x=y", false, true),
        ] {
            let found = page(&session(address), App::Photos, plain_http);
            assert_eq!(found.is_some(), is_page, "{address}");
        }
    }

    #[test]
    fn only_the_address_of_this_session_is_taken() {
        let response = URL_SAFE_NO_PAD.encode(r#"{"id":7}"#);
        let taken = |line: &str| pasted(line, "s").map(|answer| answer.id);
        let good = format!("ente-cli://passkey?passkeySessionID=s&response={response}");
        assert_eq!(taken(&good), Some(7));
        assert_eq!(taken(&format!("  {good}=\t")), Some(7));
        for line in [
            "",
            "https://accounts.example.org/passkeys/verify",
            &good.replace("=s&", "=t&"),
            &good.replace(&response, "AAAA"),
            &good.replace("&response", "&answer"),
            &good.replace("ente-cli", "https"),
        ] {
            assert_eq!(taken(line), None, "{line}");
        }
    }

    #[test]
    fn ten_questions_a_minute_are_never_asked() {
        let start = Instant::now();
        let mut pace = Pace::default();
        // Somebody who keeps pressing Enter.
        let asked = (0..600).filter(|second| pace.allows(start + Duration::from_secs(*second)));
        assert_eq!(asked.count(), 90);
    }
}
