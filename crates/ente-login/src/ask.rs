//! What a person is asked for, unless an option says where it comes from.

use std::io;

use ente_common::cli::Io;
use ente_common::crypto::{RecoveryKey, recovery};
use ente_common::exit::{Exit, Failure};
use ente_common::secret::Source;
use zeroize::Zeroizing;

use crate::Args;
use crate::sign_in::TRIES;

/// The account's password.
pub(crate) fn password(
    args: &Args,
    email: &str,
    io: &mut Io,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    if let Some(source) = args.password_source.source() {
        return source.read("the password", &mut io.input);
    }
    let question = format!("password of {email}: ");
    let hint = "give the password with `--password-file FILE`, `--password-fd N` or `--password-command COMMAND`";
    let answer = terminal(io, &question, true, hint)?;
    if answer.is_empty() {
        return Err(Failure::new(Exit::Refused, "the password is empty"));
    }
    Ok(Zeroizing::new(answer.as_bytes().to_vec()))
}

/// Whether a wrong password is asked for once more: where a person types it, and not for ever.
pub(crate) fn may_mistype(args: &Args, tries: u32) -> bool {
    args.password_source.source().is_none() && tries < TRIES
}

/// The recovery key, if it is to be used.
pub(crate) fn recovery_key(
    args: &Args,
    email: &str,
    io: &mut Io,
) -> Result<Option<RecoveryKey>, Failure> {
    let text = match args.recovery_key_source.source() {
        Some(source) => source.read("the recovery key", &mut io.input)?,
        None if args.recovery_key => {
            let question = format!("recovery key of {email} (24 words): ");
            let hint = "give the recovery key with `--recovery-key-file FILE`, `--recovery-key-fd N` or `--recovery-key-command COMMAND`";
            Zeroizing::new(terminal(io, &question, true, hint)?.as_bytes().to_vec())
        }
        None => return Ok(None),
    };
    let wrong = Failure::new(Exit::Refused, "this is not a recovery key");
    let Ok(text) = std::str::from_utf8(&text) else {
        return Err(wrong.cause("it is not text"));
    };
    recovery::parse(text)
        .map(Some)
        .map_err(|error| wrong.cause(error))
}

/// A code from an e-mail that was sent.
pub(crate) fn email_code(args: &Args, email: &str, io: &mut Io) -> Result<String, Failure> {
    let question = format!("code from the e-mail to {email}: ");
    let hint = "run it again with `--email-code CODE` once the e-mail is there";
    code(
        args.email_code.as_deref(),
        args.email_code_source.source(),
        &question,
        hint,
        io,
    )
}

/// A code of the authenticator; empty where a person gives none.
pub(crate) fn totp_code(args: &Args, question: &str, io: &mut Io) -> Result<String, Failure> {
    let hint =
        "give the code with `--otp CODE` or `--totp-secret-file FILE`; a passkey with `--passkey`";
    code(
        args.otp.as_deref(),
        args.otp_source.source(),
        question,
        hint,
        io,
    )
}

fn code(
    given: Option<&str>,
    source: Option<Source>,
    question: &str,
    hint: &str,
    io: &mut Io,
) -> Result<String, Failure> {
    let text = match (given, source) {
        (Some(code), _) => code.to_owned(),
        (None, Some(source)) => {
            let text = source.read("the code", &mut io.input)?;
            String::from_utf8_lossy(&text).into_owned()
        }
        (None, None) => terminal(io, question, false, hint)?.to_string(),
    };
    // Apps and e-mails show codes in groups.
    Ok(text.split_whitespace().collect())
}

/// Asks on the terminal; `hint` says what to do where there is none.
pub(crate) fn terminal(
    io: &Io,
    question: &str,
    secret: bool,
    hint: &str,
) -> Result<Zeroizing<String>, Failure> {
    let answer = io.ui.prompt(question, secret, &io.interrupt);
    answer.map_err(|error| match error.kind() {
        io::ErrorKind::Interrupted => crate::interrupted(),
        io::ErrorKind::UnexpectedEof => Failure::new(Exit::Refused, "nothing was typed"),
        io::ErrorKind::InvalidData => Failure::new(Exit::Refused, "what was typed is no text"),
        _ => Failure::new(Exit::Usage, "there is no terminal to ask on")
            .cause(error)
            .hint(hint),
    })
}
