//! The server's half of SRP-6a over the 4096-bit group of RFC 5054, with SHA-256.
//!
//! Every number goes into a hash as 512 bytes, leading zeros included.

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Encoding, NonZero, Odd, U256, U4096};
use sha2::{Digest, Sha256};

/// Length of A, B, S and the verifier on the wire.
pub(crate) const NUMBER_BYTES: usize = 512;

const LIMBS: usize = U4096::LIMBS;

const MODULUS_HEX: &str = concat!(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74",
    "020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437",
    "4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED",
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF05",
    "98DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB",
    "9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B",
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF695581718",
    "3995497CEA956AE515D2261898FA051015728E5A8AAAC42DAD33170D04507A33",
    "A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7",
    "ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864",
    "D87602733EC86A64521F2B18177B200CBBE117577A615D6C770988C0BAD946E2",
    "08E24FA074E5AB3143DB5BFCE0FD108E4B82D120A92108011A723C12A787E6D7",
    "88719A10BDBA5B2699C327186AF4E23C1A946834B6150BDA2583E9CA2AD44CE8",
    "DBBBC2DB04DE8EF92E8EFC141FBECAA6287C59474E6BC05D99B2964FA090C3A2",
    "233BA186515BE7ED1F612970CEE2D7AFB81BDD762170481CD0069127D5B05AA9",
    "93B4EA988D8FDDC186FFB7DC90A6C08F4DF435C934063199FFFFFFFFFFFFFFFF",
);

const GENERATOR: U4096 = U4096::from_u8(5);

/// One sign-in as the server sees it: what it knows of the account, and its own secret.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    a_public: U4096,
    b_public: U4096,
    shared: U4096,
}

impl Exchange {
    /// Answers the client's `A` with the secret `b`.
    ///
    /// `None` if `A` does not have 512 bytes or is a multiple of the modulus.
    pub(crate) fn new(verifier: &[u8], a_public: &[u8], b_secret: &[u8; 32]) -> Option<Self> {
        let group = group();
        let a_public: [u8; NUMBER_BYTES] = a_public.try_into().ok()?;
        let a_public = U4096::from_be_bytes(a_public.into());
        let a = FixedMontyForm::new(&a_public.rem_vartime(&modulus()), &group);
        if a.retrieve() == U4096::ZERO {
            return None;
        }
        let v = FixedMontyForm::new(&number(verifier), &group);
        let b_secret = U256::from_be_slice(b_secret);
        let k = FixedMontyForm::new(
            &number(&hash(&[&bytes(&modulus()), &bytes(&GENERATOR)])),
            &group,
        );
        let b = k * v + FixedMontyForm::new(&GENERATOR, &group).pow(&b_secret);
        let b_public = b.retrieve();
        let u = U256::from_be_slice(&hash(&[&bytes(&a_public), &bytes(&b_public)]));
        let shared = (a * v.pow(&u)).pow(&b_secret).retrieve();
        Some(Self {
            a_public,
            b_public,
            shared,
        })
    }

    /// What the server sends: `B`.
    pub(crate) fn b_public(&self) -> [u8; NUMBER_BYTES] {
        bytes(&self.b_public)
    }

    /// The proof that the client must send.
    pub(crate) fn m1(&self) -> [u8; 32] {
        hash(&[
            &bytes(&self.a_public),
            &bytes(&self.b_public),
            &bytes(&self.shared),
        ])
    }

    /// The server's own proof.
    pub(crate) fn m2(&self) -> [u8; 32] {
        let key = hash(&[&bytes(&self.shared)]);
        hash(&[&bytes(&self.a_public), &self.m1(), &key])
    }
}

/// What registration stores for a user: `g^x`, with `x` from the salt, the SRP user ID and the login sub-key.
pub(crate) fn verifier(srp_user_id: &str, login_key: &[u8; 16], salt: &[u8]) -> [u8; NUMBER_BYTES] {
    let inner = hash(&[srp_user_id.as_bytes(), b":", login_key]);
    let x = U256::from_be_slice(&hash(&[salt, &inner]));
    bytes(&FixedMontyForm::new(&GENERATOR, &group()).pow(&x).retrieve())
}

fn modulus() -> NonZero<U4096> {
    NonZero::new(U4096::from_be_hex(MODULUS_HEX)).expect("the modulus is not zero")
}

fn group() -> FixedMontyParams<LIMBS> {
    FixedMontyParams::new_vartime(
        Odd::new(U4096::from_be_hex(MODULUS_HEX)).expect("the modulus is odd"),
    )
}

/// A number from at most 512 big-endian bytes.
fn number(bytes: &[u8]) -> U4096 {
    let mut padded = [0; NUMBER_BYTES];
    padded[NUMBER_BYTES - bytes.len()..].copy_from_slice(bytes);
    U4096::from_be_bytes(padded.into())
}

fn bytes(number: &U4096) -> [u8; NUMBER_BYTES] {
    number.to_be_bytes().into()
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// The other half, to try the server with.
#[cfg(test)]
pub(crate) struct Client {
    secret: U256,
}

#[cfg(test)]
impl Client {
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        Self {
            secret: U256::from_be_slice(&secret),
        }
    }

    pub(crate) fn a_public(&self) -> [u8; NUMBER_BYTES] {
        bytes(
            &FixedMontyForm::new(&GENERATOR, &group())
                .pow(&self.secret)
                .retrieve(),
        )
    }

    /// M1 and the M2 to expect.
    pub(crate) fn proofs(
        &self,
        user: &str,
        login_key: &[u8; 16],
        salt: &[u8],
        b: &[u8],
    ) -> ([u8; 32], Vec<u8>) {
        let group = group();
        let a_public = self.a_public();
        let x = U256::from_be_slice(&hash(&[salt, &hash(&[user.as_bytes(), b":", login_key])]));
        let u = U256::from_be_slice(&hash(&[&a_public, b]));
        let k = FixedMontyForm::new(
            &number(&hash(&[&bytes(&modulus()), &bytes(&GENERATOR)])),
            &group,
        );
        let g_x = FixedMontyForm::new(&GENERATOR, &group).pow(&x);
        let base = FixedMontyForm::new(&number(b), &group) - k * g_x;
        let shared = base.pow(&self.secret) * base.pow(&u).pow(&x);
        let shared = bytes(&shared.retrieve());
        let m1 = hash(&[&a_public, b, &shared]);
        (m1, hash(&[&a_public, &m1, &hash(&[&shared])]).to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::decode;
    use serde_json::Value;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../vectors/srp.json")).unwrap()
    }

    #[test]
    fn proofs_equal_the_vectors() {
        let vectors = vectors();
        let verifier = decode(&vectors["verifier"]);
        for session in vectors["sessions"].as_array().unwrap() {
            let secret: [u8; 32] = hex::decode(session["b"].as_str().unwrap())
                .unwrap()
                .try_into()
                .unwrap();
            let exchange = Exchange::new(&verifier, &decode(&session["A"]), &secret).unwrap();
            assert_eq!(
                exchange.b_public().to_vec(),
                decode(&session["B"]),
                "{}",
                session["name"]
            );
            assert_eq!(
                exchange.m1().to_vec(),
                decode(&session["M1"]),
                "{}",
                session["name"]
            );
            assert_eq!(
                exchange.m2().to_vec(),
                decode(&session["M2"]),
                "{}",
                session["name"]
            );
        }
    }

    #[test]
    fn the_verifier_equals_the_vector() {
        let vectors = vectors();
        let login_key: [u8; 16] = decode(&vectors["loginKey"]).try_into().unwrap();
        let made = verifier(
            vectors["userID"].as_str().unwrap(),
            &login_key,
            &decode(&vectors["salt"]),
        );
        assert_eq!(made.to_vec(), decode(&vectors["verifier"]));
    }

    #[test]
    fn an_a_that_is_zero_or_of_another_length_is_refused() {
        let verifier = decode(&vectors()["verifier"]);
        for a in [
            vec![0; 512],
            bytes(&modulus()).to_vec(),
            vec![1; 511],
            vec![1; 513],
        ] {
            assert!(
                Exchange::new(&verifier, &a, &[7; 32]).is_none(),
                "{} bytes",
                a.len()
            );
        }
    }
}
