//! Signing in at the server: SRP, the second factor, the keys.
//!
//! The password never leaves this machine: SRP proves that we know it, and the server proves in
//! return that it knows the account. Proofs and codes are sent once; a repeat would spend them.

use ente_common::api::{ApiError, Authorization, Client, ErrorKind, SecondFactor};
use ente_common::cli::Io;
use ente_common::crypto::Kek;
use ente_common::crypto::kdf;
use ente_common::crypto::srp::SrpClient;
use ente_common::encoding::from_base64;
use ente_common::exit::{Exit, Failure};
use ente_common::token::Token;
use zeroize::Zeroizing;

use crate::unlock::{self, Keys, UnlockError};
use crate::{Args, secret};

/// How often a person may mistype a code.
const CODE_TRIES: u32 = 3;

/// A sign-in that succeeded and was confirmed.
pub(crate) struct SignedIn {
    pub(crate) user_id: i64,
    pub(crate) token: Token,
    pub(crate) keys: Keys,
}

/// Signs in; afterwards the session exists on the server, and nothing is saved yet.
pub(crate) async fn sign_in(
    args: &Args,
    client: Client,
    email: &str,
    io: &mut Io,
) -> Result<SignedIn, Failure> {
    let (kek, proven) = prove_password(args, &client, email, io).await?;
    let answer = match proven.second_factor() {
        None => proven,
        Some(SecondFactor::Totp(session)) => pass_totp(args, &client, session, email, io).await?,
        Some(SecondFactor::PasskeyOnly) => {
            return Err(refused(email)
                .cause("the account asks for a passkey, which this build cannot use yet")
                .hint("add an authenticator app as a second factor in Ente's settings"));
        }
    };
    let (Some(attributes), Some(encrypted_token)) =
        (&answer.key_attributes, &answer.encrypted_token)
    else {
        return Err(refused(email)
            .cause("the account has no keys: its sign-up was never finished")
            .hint("finish signing up in one of Ente's own apps; there is nothing to export yet"));
    };
    let failed = |error| unlock_failure(email, error);
    let keys = unlock::unlock(&kek, attributes).map_err(failed)?;
    let token = unlock::open_token(&keys.key_pair, encrypted_token).map_err(failed)?;
    // A token that the server does not take is better noticed now than at night.
    client.with_token(token.clone()).session().await?;
    Ok(SignedIn {
        user_id: answer.id,
        token,
        keys,
    })
}

/// The SRP exchange: returns the KEK and the server's answer, which has proven itself.
async fn prove_password(
    args: &Args,
    client: &Client,
    email: &str,
    io: &mut Io,
) -> Result<(Kek, Authorization), Failure> {
    let failed = |error| refusal(email, error);
    let attributes = client.srp_attributes(email).await.map_err(failed)?;
    if attributes.email_mfa {
        return Err(needs_email_code(email));
    }
    let password = secret::password(&args.password, email, io)?;
    io.ui
        .note("working out the keys; this may take some seconds");
    let (memory, passes) = (attributes.mem_limit, attributes.ops_limit);
    let kek = kdf::derive_kek(&password, &attributes.kek_salt, memory, passes)
        .map_err(|error| unlock_failure(email, error.into()))?;

    let mut secret = Zeroizing::new([0; 64]);
    getrandom::fill(&mut *secret).map_err(|error| {
        Failure::new(Exit::Failed, "this system gives no random numbers").cause(error)
    })?;
    let (user, salt) = (&attributes.srp_user_id, &attributes.srp_salt);
    let srp = SrpClient::new(&kdf::login_key(&kek), user, salt, &secret);
    let session = client
        .srp_create(user, srp.public())
        .await
        .map_err(failed)?;
    let impostor = |error| {
        refused(email).cause(error).hint(
            "do not use this server with your password before its operator has explained this",
        )
    };
    let proof = srp.respond(&session.srp_b).map_err(impostor)?;
    let answer = client
        .srp_verify(user, &session.session_id, proof.m1())
        .await
        .map_err(failed)?;
    let server_proof = answer.srp_m2.as_deref().map(from_base64);
    let server_proof = server_proof.and_then(Result::ok).unwrap_or_default();
    proof.verify(&server_proof).map_err(impostor)?;
    Ok((kek, answer))
}

/// Passes the second factor with the code given, or with one that the person types.
async fn pass_totp(
    args: &Args,
    client: &Client,
    session: &str,
    email: &str,
    io: &mut Io,
) -> Result<Authorization, Failure> {
    let mut tries = 0;
    loop {
        let code = match &args.otp {
            Some(code) => code.clone(),
            None => secret::code(email, io)?,
        };
        tries += 1;
        let error = match client.verify_totp(session, &code).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let failure = match error.kind {
            ErrorKind::Unauthorized => refused(email)
                .cause("the code is wrong or was used before")
                .hint("wait for the authenticator's next code, then try again"),
            ErrorKind::NotFound => refused(email)
                .cause("the sign-in took longer than ten minutes")
                .hint("run the same command again"),
            _ => return Err(refusal(email, error)),
        };
        let again = error.kind == ErrorKind::Unauthorized && args.otp.is_none();
        if !again || tries == CODE_TRIES {
            return Err(failure);
        }
        io.ui.warning(&failure);
    }
}

/// The start of every message about a sign-in that the server did not grant.
fn refused(email: &str) -> Failure {
    Failure::new(
        Exit::Refused,
        format!("the server refused the sign-in for `{email}`"),
    )
}

fn needs_email_code(email: &str) -> Failure {
    refused(email)
        .cause("the account asks for a code by e-mail, which this build cannot use yet")
        .hint(
            "switch e-mail verification off in Ente's settings (an authenticator app may stay on)",
        )
}

/// What a failed call of the sign-in means.
fn refusal(email: &str, error: ApiError) -> Failure {
    match (error.kind, error.code()) {
        (_, "EMAIL_MFA_ENABLED") => needs_email_code(email),
        (_, "ACCOUNT_SCHEDULED_FOR_DELETION") => refused(email)
            .cause("the account is to be deleted")
            .hint("write to the support of the server"),
        (ErrorKind::Unauthorized, _) => refused(email)
            .cause("the address or the password is wrong")
            .hint("try again; a password with accents may differ when typed on another system"),
        (ErrorKind::NotFound, _) => refused(email)
            .cause("no account with this address signs in by password here")
            .hint("check the address and `--endpoint`; accounts without a password are not supported yet"),
        (ErrorKind::Gone, _) => refused(email)
            .cause(&error)
            .hint("run the same command again, unless the account was deleted"),
        (ErrorKind::TooManyRequests, _) => refused(email)
            .cause("there were too many attempts")
            .hint("wait a minute; after ten wrong passwords, an hour"),
        _ => error.into(),
    }
}

/// What a password that opens nothing means.
pub(crate) fn unlock_failure(email: &str, error: UnlockError) -> Failure {
    let exit = match error {
        UnlockError::WrongPassword => Exit::Refused,
        _ => Exit::Failed,
    };
    let hint = match &error {
        UnlockError::WrongPassword => "try again",
        UnlockError::Damaged(_) => "try an official app; if that works, report this",
        UnlockError::Kdf(kdf::KdfError::OutOfMemory { .. }) => {
            "sign in on a machine with more memory and copy the credentials"
        }
        UnlockError::Kdf(_) => "check that the server is the one you mean",
    };
    Failure::new(exit, format!("cannot open the keys of `{email}`"))
        .cause(error)
        .hint(hint)
}
