//! What a person is asked for, unless an option says where it comes from.

use std::io;

use ente_common::cli::Io;
use ente_common::crypto::{RecoveryKey, recovery};
use ente_common::exit::{Exit, Failure};
use ente_common::secret::Source;
use zeroize::Zeroizing;

use crate::Args;
use crate::sign_in::TRIES;

const PASSWORD_HINT: &str = "give the password with `--password-file FILE`, `--password-fd N` or `--password-command COMMAND`";

/// How many digits a code has, by e-mail or of the authenticator.
const CODE_DIGITS: usize = 6;

/// The account's password, where no person has to type it.
pub(crate) fn given_password(
    args: &Args,
    io: &mut Io,
) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    let source = args.password_source.source();
    source
        .map(|source| source.read("the password", &mut io.input))
        .transpose()
}

/// Makes sure that a person can be asked for the password later.
pub(crate) fn expect_terminal(io: &Io) -> Result<(), Failure> {
    match io.ui.can_ask() {
        true => Ok(()),
        false => Err(no_terminal().hint(PASSWORD_HINT)),
    }
}

/// The account's password, as a person types it.
pub(crate) fn password(email: &str, io: &Io) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let question = format!("password of {email}: ");
    let answer = terminal(io, &question, true, PASSWORD_HINT)?;
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
    let may_be = |code: &str| code.len() == CODE_DIGITS;
    let question = format!("code from the e-mail to {email}: ");
    let hint = "run it again with `--email-code CODE` once the e-mail is there";
    code(
        args.email_code.as_deref(),
        args.email_code_source.source(),
        &question,
        may_be,
        hint,
        io,
    )
}

/// A code of the authenticator; with `may_decline`, empty where a person gives none.
pub(crate) fn totp_code(
    args: &Args,
    question: &str,
    may_decline: bool,
    io: &mut Io,
) -> Result<String, Failure> {
    let may_be = |code: &str| code.len() == CODE_DIGITS || may_decline && code.is_empty();
    let hint =
        "give the code with `--otp CODE` or `--totp-secret-file FILE`; a passkey with `--passkey`";
    code(
        args.otp.as_deref(),
        args.otp_source.source(),
        question,
        may_be,
        hint,
        io,
    )
}

/// A code: as given, or as typed, where only what `may_be` one is taken. Wrong ones are counted by the server.
fn code(
    given: Option<&str>,
    source: Option<Source>,
    question: &str,
    may_be: impl Fn(&str) -> bool,
    hint: &str,
    io: &mut Io,
) -> Result<String, Failure> {
    // Apps and e-mails show codes in groups.
    let joined = |text: &str| text.split_whitespace().collect::<String>();
    match (given, source) {
        (Some(code), _) => Ok(joined(code)),
        (None, Some(source)) => {
            let text = source.read("the code", &mut io.input)?;
            Ok(joined(&String::from_utf8_lossy(&text)))
        }
        (None, None) => loop {
            let code = joined(&terminal(io, question, false, hint)?);
            if may_be(&code) && code.bytes().all(|byte| byte.is_ascii_digit()) {
                return Ok(code);
            }
            io.ui.say("a code has six digits");
        },
    }
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
        _ => no_terminal().cause(error).hint(hint),
    })
}

fn no_terminal() -> Failure {
    Failure::new(Exit::Usage, "there is no terminal to ask on")
}
