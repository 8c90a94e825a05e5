//! The SRP exchange. Afterwards the server knows that we have the password, and we that it is the account's server.

use ente_common::api::{Authorization, ErrorKind, SrpAttributes, SrpSession};
use ente_common::crypto::kdf;
use ente_common::crypto::srp::{SrpClient, SrpError};
use ente_common::encoding::from_base64;
use ente_common::exit::{Exit, Failure};
use zeroize::Zeroizing;

use crate::ask;
use crate::cost::Cost;
use crate::sign_in::{SignIn, Step, refusal, refused, unlock_failure};

/// Proves that the password is known; where the server wants an e-mail code instead, that is the next step.
pub(crate) async fn prove(
    sign_in: &mut SignIn<'_>,
    attributes: SrpAttributes,
) -> Result<Step, Failure> {
    let email = sign_in.email;
    let mut secret = Zeroizing::new([0; 64]);
    getrandom::fill(&mut *secret).map_err(|error| {
        Failure::new(Exit::Failed, "this system gives no random numbers").cause(error)
    })?;
    let (memory, passes) = (attributes.mem_limit, attributes.ops_limit);
    let cost = Cost::new(attributes.kek_salt, memory, passes)
        .map_err(|error| unlock_failure(email, error.into()))?;
    let (user, salt) = (&attributes.srp_user_id, &attributes.srp_salt);

    // One session takes several proofs, and the server counts sessions: a mistyped password opens no second one.
    let mut session: Option<SrpSession> = None;
    let mut is_renewed = false;
    let mut tries = 1;
    loop {
        let kek = match (sign_in.at_hand.kek.take(), sign_in.at_hand.password.take()) {
            (Some(kek), _) => kek,
            (None, Some(password)) => cost.derive(password, email, sign_in.io)?,
            (None, None) => {
                let password = ask::password(email, sign_in.io)?;
                cost.derive(password, email, sign_in.io)?
            }
        };
        let srp = SrpClient::new(&kdf::login_key(&kek), user, salt, &secret);
        let opened = match session.take() {
            Some(session) => session,
            None => match sign_in.client.srp_create(user, srp.public()).await {
                Ok(session) => session,
                Err(error) if error.code() == "EMAIL_MFA_ENABLED" => {
                    sign_in.at_hand.kek = Some(kek);
                    return Ok(Step::EmailCode);
                }
                Err(error) if error.code() == "TOO_MANY_UNVERIFIED_SESSIONS" => {
                    return Err(refused(email)
                        .cause("ten sign-ins failed within the last hour")
                        .hint("wait an hour, then run the same command again"));
                }
                Err(error) => return Err(refusal(email, error)),
            },
        };
        let proof = srp
            .respond(&opened.srp_b)
            .map_err(|error| impostor(email, error))?;
        let sent = sign_in
            .client
            .srp_verify(user, &opened.session_id, proof.m1());
        match sent.await {
            Ok(answer) => {
                proof
                    .verify(&server_proof(&answer))
                    .map_err(|error| impostor(email, error))?;
                sign_in.at_hand.kek = Some(kek);
                return Ok(Step::Follow(answer.into()));
            }
            Err(error) if error.kind == ErrorKind::Unauthorized => {
                let failure = refused(email)
                    .cause("the address or the password is wrong")
                    .hint("try again; a password with accents may differ when typed on another system");
                if !ask::may_mistype(sign_in.args, tries) {
                    return Err(failure);
                }
                sign_in.io.ui.warning(&failure);
                session = Some(opened);
                tries += 1;
            }
            // The session is spent, by a proxy that repeats for instance. The password may be right.
            Err(error)
                if error.kind == ErrorKind::Gone && !error.code().is_empty() && !is_renewed =>
            {
                sign_in.at_hand.kek = Some(kek);
                is_renewed = true;
            }
            Err(error) if error.kind == ErrorKind::Gone && error.code().is_empty() => {
                return Err(refused(email)
                    .cause("the account was deleted")
                    .hint("check the address"));
            }
            Err(error) => return Err(refusal(email, error)),
        }
    }
}

/// What the server proves with; empty if it does not even try.
fn server_proof(answer: &Authorization) -> Vec<u8> {
    let proof = answer.srp_m2.as_deref().map(from_base64);
    proof.and_then(Result::ok).unwrap_or_default()
}

fn impostor(email: &str, error: SrpError) -> Failure {
    refused(email)
        .cause(error)
        .hint("do not use this server with your password before its operator has explained this")
}
