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
use zeroize::Zeroizing;

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
    pub(crate) at_hand: AtHand,
    /// Makes the authenticator's codes.
    pub(crate) totp: Option<totp::Generator>,
}

/// What opens the keys, as far as nobody has to be asked for it any more.
#[derive(Default)]
pub(crate) struct AtHand {
    /// As given, not typed.
    pub(crate) password: Option<Zeroizing<Vec<u8>>>,
    /// From a password that was typed or given.
    pub(crate) kek: Option<Kek>,
    /// In place of the password.
    pub(crate) recovery_key: Option<RecoveryKey>,
}

impl AtHand {
    /// Nobody is to be asked.
    pub(crate) fn is_enough(&self) -> bool {
        self.password.is_some() || self.kek.is_some() || self.recovery_key.is_some()
    }
}

/// Signs in; afterwards the session exists on the server, and nothing is saved yet.
pub(crate) async fn sign_in(
    args: &Args,
    client: Client,
    target: &Target,
    io: &mut Io,
) -> Result<SignedIn, Failure> {
    let email = &target.email;
    // Read now: a code must not be spent before it is known that the rest can be read.
    let recovery_key = ask::recovery_key(args, email, io)?;
    let password = match recovery_key {
        Some(_) => None,
        None => ask::given_password(args, io)?,
    };
    let secret_file = args.totp_secret_file.as_deref();
    let totp = secret_file.map(totp::Generator::load).transpose()?;
    let mut sign_in = SignIn {
        args,
        client,
        email,
        app: target.app,
        io,
        at_hand: AtHand {
            password,
            recovery_key,
            kek: None,
        },
        totp,
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
                    Next::Nonsense => {
                        let what = "the server's answer makes no sense";
                        return Err(Failure::new(Exit::Failed, what)
                            .cause("it holds keys and no token, or a token and no keys")
                            .hint("check that the address is that of an Ente API server"));
                    }
                }
            }
        };
    }
}

impl SignIn<'_> {
    /// Asks how the account signs in. The recovery key opens the keys, but proves nothing to the server: that takes an
    /// e-mail.
    async fn start(&mut self) -> Result<Step, Failure> {
        if self.at_hand.recovery_key.is_some() {
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
        let at_hand = std::mem::take(&mut self.at_hand);
        let keys = open_keys(self.args, self.email, at_hand, attributes, self.io)?;
        let token = unlock::open_token(&keys.key_pair, encrypted_token)
            .map_err(|error| unlock_failure(self.email, error))?;
        // A token that the server does not take is better noticed now than at night. A server that cannot say takes nothing
        // from a sign-in that may have cost a code.
        match self.client.with_token(token.clone()).session().await {
            Err(error) if error.kind == ErrorKind::Unauthorized => return Err(error.into()),
            Err(error) => self.io.ui.warning(
                &Failure::new(
                    Exit::Problems,
                    "the server could not confirm the new session just now",
                )
                .cause(&error)
                .hint("the credentials are saved; see with `ente-login --check` later"),
            ),
            Ok(_) => {}
        }
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
    at_hand: AtHand,
    attributes: &KeyAttributes,
    io: &mut Io,
) -> Result<Keys, Failure> {
    let failed = |error| unlock_failure(email, error);
    if let Some(key) = &at_hand.recovery_key {
        return unlock::with_recovery_key(key, attributes).map_err(failed);
    }
    if let Some(kek) = at_hand.kek {
        return unlock::with_kek(&kek, attributes).map_err(failed);
    }
    let cost = cost::Cost::of(attributes).map_err(failed)?;
    let mut given = at_hand.password;
    let mut tries = 1;
    loop {
        let password = match given.take() {
            Some(password) => password,
            None => ask::password(email, io)?,
        };
        let kek = cost.derive(password, email, io)?;
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
