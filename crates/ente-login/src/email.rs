//! A code by e-mail: for accounts without SRP, those that ask for it, and whoever has the recovery key only.

use ente_common::api::{ApiError, ErrorKind};
use ente_common::exit::Failure;

use crate::ask;
use crate::sign_in::{SignIn, Step, TRIES, no_keys, refusal, refused};

/// Shows the server that its e-mail arrived.
pub(crate) async fn prove(sign_in: &mut SignIn<'_>) -> Result<Step, Failure> {
    let (args, email) = (sign_in.args, sign_in.email);
    let given = args.email_code.as_deref();
    if !sign_in.at_hand.is_enough() {
        ask::expect_terminal(sign_in.io)?;
    }
    if given.is_none() {
        send(sign_in).await?;
    }
    let mut is_renewed = false;
    let mut tries = 1;
    loop {
        let code = ask::email_code(args, email, sign_in.io)?;
        let error = match sign_in.client.verify_email(email, &code).await {
            Ok(answer) => return Ok(Step::Follow(answer.into())),
            Err(error) => error,
        };
        match error.kind {
            ErrorKind::Unauthorized => {
                let failure = refused(email)
                    .cause("the code from the e-mail is wrong")
                    .hint("only the newest e-mail counts; try again");
                let is_typed = given.is_none() && args.email_code_source.source().is_none();
                if !is_typed || tries == TRIES {
                    return Err(failure);
                }
                sign_in.io.ui.warning(&failure);
                tries += 1;
            }
            ErrorKind::Gone => {
                if given.is_some() {
                    return Err(refused(email)
                        .cause("the code was used before or has expired")
                        .hint("run the same command without `--email-code`: another one is sent"));
                }
                // For an address that it does not know, the server may say that it sent one.
                let failure =
                    refused(email).cause("the code was used before, has expired or was never sent");
                if is_renewed {
                    return Err(failure.hint("check the address, then run the same command again"));
                }
                sign_in
                    .io
                    .ui
                    .warning(&failure.hint("another one is on its way"));
                send(sign_in).await?;
                is_renewed = true;
            }
            ErrorKind::TooManyRequests if !error.is_too_fast() => {
                return Err(refused(email)
                    .cause("there were too many wrong codes")
                    .hint("wait an hour, then run the same command again"));
            }
            ErrorKind::Forbidden if error.code().is_empty() => return Err(unknown(email)),
            _ => return Err(refusal(email, error)),
        }
    }
}

async fn send(sign_in: &mut SignIn<'_>) -> Result<(), Failure> {
    let email = sign_in.email;
    let refused_to_send = |error: ApiError| match (error.kind, error.code()) {
        (ErrorKind::NotFound, "USER_SIGNUP_INCOMPLETE") => no_keys(email),
        (ErrorKind::NotFound, _) => unknown(email),
        (ErrorKind::TooManyRequests, _) if !error.is_too_fast() => refused(email)
            .cause("too many codes were asked for")
            .hint("wait some minutes, or use a code that came: `--email-code CODE`"),
        _ => refusal(email, error),
    };
    sign_in
        .client
        .send_email_code(email)
        .await
        .map_err(refused_to_send)?;
    sign_in
        .io
        .ui
        .note("a code is on its way; if no e-mail comes, check the address");
    Ok(())
}

fn unknown(email: &str) -> Failure {
    refused(email)
        .cause("there is no account with this address")
        .hint("check the address and `--endpoint`")
}
