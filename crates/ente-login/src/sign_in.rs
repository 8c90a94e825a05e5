//! Signing in at the server: one step after the other, each following from what the server asked for.
//!
//! The password never leaves this machine: SRP proves that we know it, and the server proves in return that it knows the
//! account. Proofs and codes are sent once; a repeat would spend them.

use ente_common::api::{ApiError, App, Authorization, Client, ErrorKind, Next, SrpAttributes};
use ente_common::cli::Io;
use ente_common::crypto::{Kek, RecoveryKey};
use ente_common::exit::{Exit, Failure};
use ente_common::token::Token;
use ente_common::wire::KeyAttributes;

use crate::unlock::{self, Keys, UnlockError};
use crate::{Args, Target, ask, cost, email, passkey, password, totp};

/// How often a person may mistype.
pub(crate) const TRIES: u32 = 3;

/// How often a sign-in starts, when it took longer than the server waits.
const STARTS: u32 = 2;

/// A sign-in that succeeded and was confirmed.
pub(crate) struct SignedIn {
    pub(crate) user_id: i64,
    pub(crate) token: Token,
    pub(crate) keys: Keys,
}

/// What is to be done next.
pub(crate) enum Step {
    /// Ask how the account signs in.
    Start,
    /// Prove that the password is known.
    Password(SrpAttributes),
    /// Read a code in an e-mail.
    EmailCode,
    /// Do what an answer says.
    Follow(Box<Authorization>),
}

/// A sign-in under way.
pub(crate) struct SignIn<'a> {
    pub(crate) args: &'a Args,
    pub(crate) client: Client,
    pub(crate) email: &'a str,
    pub(crate) app: App,
    pub(crate) io: &'a mut Io,
    /// From a password that was typed already.
    pub(crate) kek: Option<Kek>,
    /// In place of the password.
    pub(crate) recovery_key: Option<RecoveryKey>,
}

/// Signs in; afterwards the session exists on the server, and nothing is saved yet.
pub(crate) async fn sign_in(
    args: &Args,
    client: Client,
    target: &Target,
    io: &mut Io,
) -> Result<SignedIn, Failure> {
    let email = &target.email;
    // Read now: a code must not be spent on a password that cannot be read.
    let recovery_key = ask::recovery_key(args, email, io)?;
    let mut sign_in = SignIn {
        args,
        client,
        email,
        app: target.app,
        io,
        kek: None,
        recovery_key,
    };
    let mut step = Step::Start;
    let mut starts = 0;
    loop {
        step = match step {
            Step::Start if starts == STARTS => return Err(took_too_long(email)),
            Step::Start => {
                starts += 1;
                sign_in.start().await?
            }
            Step::Password(attributes) => password::prove(&mut sign_in, attributes).await?,
            Step::EmailCode => email::prove(&mut sign_in).await?,
            Step::Follow(answer) => {
                let user_id = answer.id;
                match answer.next() {
                    Next::Totp(session) => totp::pass(&mut sign_in, &session).await?,
                    Next::Passkey(session) => passkey::pass(&mut sign_in, &session).await?,
                    Next::Either(totp, passkey) => {
                        totp::pass_or(&mut sign_in, &totp, &passkey).await?
                    }
                    Next::Open(attributes, token) => {
                        return sign_in.open(user_id, &attributes, &token).await;
                    }
                    Next::NoKeys => return Err(no_keys(email)),
                }
            }
        };
    }
}

impl SignIn<'_> {
    /// Asks how the account signs in. The recovery key opens the keys, but proves nothing to the server: that takes an
    /// e-mail.
    async fn start(&mut self) -> Result<Step, Failure> {
        if self.recovery_key.is_some() {
            return Ok(Step::EmailCode);
        }
        match self.client.srp_attributes(self.email).await {
            Ok(attributes) if attributes.email_mfa => Ok(Step::EmailCode),
            Ok(attributes) => Ok(Step::Password(attributes)),
            // No account, or one without SRP: the next call tells which.
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Step::EmailCode),
            Err(error) => Err(refusal(self.email, error)),
        }
    }

    /// Opens keys and token with the password or the recovery key, and asks the server whether the token is good.
    async fn open(
        mut self,
        user_id: i64,
        attributes: &KeyAttributes,
        encrypted_token: &str,
    ) -> Result<SignedIn, Failure> {
        let keys = open_keys(
            self.args,
            self.email,
            self.kek.take(),
            self.recovery_key.as_ref(),
            attributes,
            self.io,
        )?;
        let token = unlock::open_token(&keys.key_pair, encrypted_token)
            .map_err(|error| unlock_failure(self.email, error))?;
        // A token that the server does not take is better noticed now than at night.
        self.client.with_token(token.clone()).session().await?;
        Ok(SignedIn {
            user_id,
            token,
            keys,
        })
    }
}

/// Opens the keys with whatever was given; a person may mistype the password, which no server counts.
pub(crate) fn open_keys(
    args: &Args,
    email: &str,
    kek: Option<Kek>,
    recovery_key: Option<&RecoveryKey>,
    attributes: &KeyAttributes,
    io: &mut Io,
) -> Result<Keys, Failure> {
    let failed = |error| unlock_failure(email, error);
    if let Some(key) = recovery_key {
        return unlock::with_recovery_key(key, attributes).map_err(failed);
    }
    if let Some(kek) = kek {
        return unlock::with_kek(&kek, attributes).map_err(failed);
    }
    let cost = cost::Cost::of(attributes).map_err(failed)?;
    let mut tries = 1;
    loop {
        let kek = cost.derive(ask::password(args, email, io)?, email, io)?;
        match unlock::with_kek(&kek, attributes) {
            Err(error @ UnlockError::WrongPassword) if ask::may_mistype(args, tries) => {
                io.ui.warning(&unlock_failure(email, error));
                tries += 1;
            }
            opened => return opened.map_err(failed),
        }
    }
}

/// The start of every message about a sign-in that the server did not grant.
pub(crate) fn refused(email: &str) -> Failure {
    Failure::new(
        Exit::Refused,
        format!("the server refused the sign-in for `{email}`"),
    )
}

pub(crate) fn took_too_long(email: &str) -> Failure {
    refused(email)
        .cause("the sign-in took longer than the server waits")
        .hint("run the same command again")
}

pub(crate) fn no_keys(email: &str) -> Failure {
    refused(email)
        .cause("the account has no keys: its sign-up was never finished")
        .hint("finish signing up in one of Ente's own apps; there is nothing to export yet")
}

/// What a failed call of the sign-in means, where its step does not know better.
pub(crate) fn refusal(email: &str, error: ApiError) -> Failure {
    match (error.kind, error.code()) {
        (_, "ACCOUNT_SCHEDULED_FOR_DELETION") => refused(email)
            .cause("the account is to be deleted")
            .hint("write to the support of the server"),
        (ErrorKind::TooManyRequests, _) => refused(email)
            .cause("there were too many calls")
            .hint("wait a minute, then run the same command again"),
        (ErrorKind::Gone, _) => refused(email)
            .cause(&error)
            .hint("the account was deleted, or run the same command again"),
        (ErrorKind::Unauthorized | ErrorKind::NotFound, _) => refused(email)
            .cause(&error)
            .hint("check that the address of the server is that of an Ente API server"),
        _ => error.into(),
    }
}

/// What a password that opens nothing means.
pub(crate) fn unlock_failure(email: &str, error: UnlockError) -> Failure {
    let exit = match error {
        UnlockError::WrongPassword | UnlockError::WrongRecoveryKey => Exit::Refused,
        _ => Exit::Failed,
    };
    let hint = match &error {
        UnlockError::WrongPassword => {
            "try again; a password with accents may differ when typed on another system"
        }
        UnlockError::WrongRecoveryKey => "check the words, and that they are those of this account",
        UnlockError::NoRecoveryKey => "use the password: `--recovery-key` needs one that was made",
        UnlockError::Damaged(_) => "try an official app; if that works, report this",
        UnlockError::Kdf(error) => cost::hint(error),
    };
    Failure::new(exit, format!("cannot open the keys of `{email}`"))
        .cause(error)
        .hint(hint)
}
