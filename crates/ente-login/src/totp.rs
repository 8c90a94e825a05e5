//! The code of an authenticator app, as a second factor.

use std::path::Path;
use std::time::Duration;

use ente_common::api::{ErrorKind, PasskeySession};
use ente_common::exit::{Exit, Failure};
use ente_common::secret;
use totp_rs::{Builder, Secret, Totp};

use crate::sign_in::{SignIn, Step, TRIES, refusal, refused};
use crate::{ask, passkey};

/// How long an authenticator shows a code.
const STEP_S: i64 = 30;

/// Passes the second factor with a code.
pub(crate) async fn pass(sign_in: &mut SignIn<'_>, session: &str) -> Result<Step, Failure> {
    let question = format!("code of the authenticator for {}: ", sign_in.email);
    match code_step(sign_in, session, &question, false).await? {
        Some(step) => Ok(step),
        None => Err(Failure::new(Exit::Refused, "the code is empty")),
    }
}

/// Passes it with a code or, where the person likes that better, with the passkey.
pub(crate) async fn pass_or(
    sign_in: &mut SignIn<'_>,
    session: &str,
    passkey: &PasskeySession,
) -> Result<Step, Failure> {
    if sign_in.args.passkey {
        return passkey::pass(sign_in, passkey).await;
    }
    let question = format!(
        "code of the authenticator for {}, or Enter for the passkey: ",
        sign_in.email
    );
    match code_step(sign_in, session, &question, true).await? {
        Some(step) => Ok(step),
        None => passkey::pass(sign_in, passkey).await,
    }
}

/// Sends codes until one is taken; `None` if the person gives none.
async fn code_step(
    sign_in: &mut SignIn<'_>,
    session: &str,
    question: &str,
    may_decline: bool,
) -> Result<Option<Step>, Failure> {
    let (args, email) = (sign_in.args, sign_in.email);
    let mut now_s = (sign_in.io.clock)() / 1_000_000;
    let mut tries = 1;
    loop {
        let code = match &sign_in.totp {
            Some(generator) => generator.code(now_s),
            None => ask::totp_code(args, question, may_decline, sign_in.io)?,
        };
        if code.is_empty() {
            return Ok(None);
        }
        let error = match sign_in.client.verify_totp(session, &code).await {
            Ok(answer) => return Ok(Some(Step::Follow(answer.into()))),
            Err(error) => error,
        };
        match error.kind {
            ErrorKind::Unauthorized => {
                let failure = refused(email)
                    .cause("the code is wrong or was used before")
                    .hint("wait for the authenticator's next code, then try again");
                let is_given = args.otp.is_some() || args.otp_source.source().is_some();
                if sign_in.totp.is_none() && !is_given && tries < TRIES {
                    sign_in.io.ui.warning(&failure);
                } else if sign_in.totp.is_some() && tries == 1 {
                    // A code works once, so a second sign-in within its half minute needs the next one.
                    let wait_us = (now_s / STEP_S + 1) * STEP_S * 1_000_000 - (sign_in.io.clock)();
                    let wait = Duration::from_micros(wait_us.max(0).unsigned_abs());
                    sign_in
                        .io
                        .ui
                        .note("the code was used before; waiting for the next one");
                    tokio::time::sleep(wait).await;
                    now_s += STEP_S;
                } else {
                    return Err(failure);
                }
                tries += 1;
            }
            // The session ran out, or the second factor was switched off meanwhile; no code was spent.
            ErrorKind::NotFound | ErrorKind::Refused => {
                sign_in
                    .io
                    .ui
                    .note("that took too long for the server; starting again");
                return Ok(Some(Step::Start));
            }
            ErrorKind::TooManyRequests if !error.is_too_fast() => {
                return Err(refused(email)
                    .cause("there were too many wrong codes")
                    .hint("run the same command again, with the authenticator's next code"));
            }
            _ => return Err(refusal(email, error)),
        }
    }
}

/// Makes codes as an authenticator does.
pub(crate) struct Generator(Totp);

impl Generator {
    /// Reads the secret as the apps show it, in base32, or as the `otpauth://` address in their QR code.
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let text = secret::from_file("the authenticator's secret", path)?;
        let parsed = std::str::from_utf8(&text).ok().and_then(parse);
        parsed.map(Self).ok_or_else(|| {
            let what = format!("`{}` holds no authenticator secret", path.display());
            Failure::new(Exit::Failed, what)
                .hint("give the secret as the apps show it: letters and digits, or `otpauth://…`")
        })
    }

    fn code(&self, now_s: i64) -> String {
        self.0.generate(now_s.unsigned_abs()).to_string()
    }
}

fn parse(text: &str) -> Option<Totp> {
    let text = text.trim();
    if text.starts_with("otpauth:") {
        return Totp::from_url(text).ok();
    }
    let plain: zeroize::Zeroizing<String> = text
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '-' | '='))
        .map(|c| c.to_ascii_uppercase())
        .collect::<String>()
        .into();
    let secret = Secret::try_from_base32(&*plain).ok()?;
    (!plain.is_empty()).then(|| Builder::new().with_secret(secret).build_noncompliant())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, SHA-1 rows, last six of eight digits.
    #[test]
    fn codes_equal_those_of_the_rfc() {
        // `12345678901234567890` in base32.
        const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        let spaced = "gezd gnbv gy3t qojq gezd gnbv gy3t qojq\n";
        let url = format!("otpauth://totp/ente:ada%40example.org?secret={SECRET}&issuer=ente");
        for text in [SECRET, spaced, &url] {
            let generator = Generator(parse(text).unwrap());
            for (unix_s, expected) in [
                (59, "287082"),
                (1_111_111_109, "081804"),
                (20_000_000_000, "353130"),
            ] {
                assert_eq!(generator.code(unix_s), expected, "at {unix_s} of {text}");
            }
        }
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        for text in [
            "",
            "123456",
            "otpauth://totp/x",
            "otpauth://hotp/x?secret=GEZDGNBVGY3TQOJQ",
        ] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
