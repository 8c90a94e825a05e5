//! The client's half of SRP-6a, as Ente's server speaks it: 4096-bit group of RFC 5054, SHA-256, every number padded to
//! 512 bytes wherever it is hashed or sent.
//!
//! ```text
//! k  = H(N ‖ g)          x  = H(salt ‖ H(user ID ‖ ":" ‖ login key))          A = g^a
//! u  = H(A ‖ B)          S  = (B − k·g^x)^(a + u·x)
//! M1 = H(A ‖ B ‖ S)      M2 = H(A ‖ M1 ‖ H(S))
//! ```
//!
//! M1 is this short form, not that of RFC 2945. Arithmetic on secrets takes constant time.

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U256, U512, U1024, U4096};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::LoginKey;

/// Length of A, B and S on the wire and in hashes, in bytes.
pub const PUBLIC_LENGTH: usize = 512;

/// Bits of `a + u·x`: the sum of two numbers of 512 bits.
const EXPONENT_BITS: u32 = 513;

const MODULUS: Odd<U4096> = Odd::<U4096>::from_be_hex(concat!(
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
));

const GENERATOR: U4096 = U4096::from_u8(5);

/// Why the exchange cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SrpError {
    /// The server's public value is of the wrong length, zero, or not below the modulus.
    #[error("the server's public value is not acceptable")]
    ServerPublic,
    /// The two public values cancel each other out (u = 0); chance does not do that.
    #[error("the public values cancel each other out")]
    Scrambler,
    /// The server does not know the verifier of this account: it is not the one that we registered with.
    #[error("the server did not prove that it knows this account")]
    ServerProof,
}

/// One exchange, from our public value to the proof.
#[derive(ZeroizeOnDrop)]
pub struct SrpClient {
    a: U512,
    x: U256,
    #[zeroize(skip)]
    public: [u8; PUBLIC_LENGTH],
}

impl SrpClient {
    /// Starts an exchange with the secret `a`: 64 random bytes, never used twice.
    ///
    /// `srp_user_id` enters the hash exactly as the server spells it.
    pub fn new(login_key: &LoginKey, srp_user_id: &str, salt: &[u8], a: &[u8; 64]) -> Self {
        let identity = Sha256::new()
            .chain_update(srp_user_id)
            .chain_update(b":")
            .chain_update(login_key.expose())
            .finalize();
        let a = U512::from_be_slice(a);
        Self {
            a,
            x: number(Sha256::new().chain_update(salt).chain_update(identity)),
            public: generator(&group()).pow(&a).retrieve().to_be_bytes().into(),
        }
    }

    /// Our public value A, to be sent to the server.
    pub fn public(&self) -> &[u8; PUBLIC_LENGTH] {
        &self.public
    }

    /// Answers the server's public value B.
    ///
    /// Refuses values that would let a server learn something, or sign us in, without knowing the verifier.
    pub fn respond(&self, server_public: &[u8]) -> Result<Proof, SrpError> {
        if server_public.len() != PUBLIC_LENGTH {
            return Err(SrpError::ServerPublic);
        }
        let b = U4096::from_be_slice(server_public);
        if b == U4096::ZERO || b >= *MODULUS.as_ref() {
            return Err(SrpError::ServerPublic);
        }
        let both = Sha256::new()
            .chain_update(self.public)
            .chain_update(server_public);
        let u = number(both.clone());
        if u == U256::ZERO {
            return Err(SrpError::Scrambler);
        }
        let secret = Zeroizing::new(self.shared_secret(&b, &u).to_be_bytes());
        let m1 = both.chain_update(*secret).finalize();
        let m2 = Sha256::new()
            .chain_update(self.public)
            .chain_update(m1)
            .chain_update(Sha256::digest(*secret))
            .finalize();
        Ok(Proof {
            m1: m1.into(),
            m2: m2.into(),
        })
    }

    /// S = (B − k·g^x)^(a + u·x)
    fn shared_secret(&self, b: &U4096, u: &U256) -> Zeroizing<U4096> {
        let group = group();
        let k = number(
            Sha256::new()
                .chain_update(MODULUS.as_ref().to_be_bytes())
                .chain_update(GENERATOR.to_be_bytes()),
        );
        let k = FixedMontyForm::new(&k.resize(), &group);
        let verifier = generator(&group).pow(&self.x);
        let base = FixedMontyForm::new(b, &group) - k * verifier;
        let mut exponent: U1024 = self.a.resize();
        exponent += u.concatenating_mul(&self.x).resize::<{ U1024::LIMBS }>();
        let secret = base.pow_bounded_exp(&exponent, EXPONENT_BITS).retrieve();
        exponent.zeroize();
        Zeroizing::new(secret)
    }
}

/// What both sides prove: that they arrived at the same secret.
#[derive(ZeroizeOnDrop)]
pub struct Proof {
    m1: [u8; 32],
    m2: [u8; 32],
}

impl Proof {
    /// Our proof, to be sent to the server.
    pub fn m1(&self) -> &[u8; 32] {
        &self.m1
    }

    /// Checks the server's proof, in constant time. Until it holds, nothing in the server's answer is to be trusted.
    pub fn verify(&self, server_m2: &[u8]) -> Result<(), SrpError> {
        if bool::from(self.m2.ct_eq(server_m2)) {
            Ok(())
        } else {
            Err(SrpError::ServerProof)
        }
    }
}

type Group = FixedMontyParams<{ U4096::LIMBS }>;

fn group() -> Group {
    Group::new_vartime(MODULUS)
}

fn generator(group: &Group) -> FixedMontyForm<{ U4096::LIMBS }> {
    FixedMontyForm::new(&GENERATOR, group)
}

/// The digest read as a big-endian number.
fn number(hash: Sha256) -> U256 {
    U256::from_be_slice(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::vectors::{self, array, bytes, text};

    fn secret(hex: &str) -> [u8; 64] {
        let bytes = hex::decode(hex).unwrap();
        let mut secret = [0; 64];
        secret[64 - bytes.len()..].copy_from_slice(&bytes);
        secret
    }

    #[test]
    fn golden_sessions() {
        let vectors = vectors::srp();
        let login_key = LoginKey::from(array(&vectors, "loginKey"));
        for session in vectors::list(&vectors, "sessions") {
            let name = text(session, "name");
            let client = SrpClient::new(
                &login_key,
                text(&vectors, "userID"),
                &bytes(&vectors, "salt"),
                &secret(text(session, "a")),
            );
            assert_eq!(client.public()[..], bytes(session, "A"), "{name}");
            let proof = client.respond(&bytes(session, "B")).unwrap();
            assert_eq!(proof.m1()[..], bytes(session, "M1"), "{name}");
            assert_eq!(proof.verify(&bytes(session, "M2")), Ok(()), "{name}");
        }
    }

    /// Published exchanges name the server's secret `b`; B follows from it as B = k·v + g^b.
    fn server_public(client: &SrpClient, b: &str) -> [u8; 512] {
        let group = group();
        let k = hex::decode("3509477ea9fca66eadb7cf7b1bd0eb508f54d3989a9c988006a7d0b338374dd2");
        let k = FixedMontyForm::new(&U256::from_be_slice(&k.unwrap()).resize(), &group);
        let verifier = generator(&group).pow(&client.x);
        let b = generator(&group).pow(&U512::from_be_slice(&secret(b)));
        (k * verifier + b).retrieve().to_be_bytes().into()
    }

    #[test]
    fn published_sessions() {
        let small = (
            "repro-user-id",
            &b"0123456789abcdef"[..],
            *b"1234567890abcdef",
        );
        let counting: [u8; 16] = std::array::from_fn(|index| index as u8);
        let full = (
            "7d1b5e0e-4c55-4bd5-9a3e-0f2f6b1d9c11",
            &counting[..],
            array_from_hex("48549ae68271ca08df89f31d66335672"),
        );
        let (b42, a44) = ("42".repeat(64), "44".repeat(64));
        let (a_full, b_full) = (
            "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20",
            "2122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f40",
        );
        // Account, a, b, SHA-256 of A and of B where published, M1, M2.
        let cases = [
            (
                small,
                "06de",
                &b42[..],
                Some((
                    "d21359f5ab51b69f2d68dcb220d10e8be53496a11498480e301f1e1801b4f4c2",
                    "4b18ec4d03fe41062373792b676febd0fe9d9e1b3353b8764434bd152df9c1f0",
                )),
                "c0953b8c74d400fbf664a515deb700d73b65231e7e207a2e2326ff8cf70567ac",
                "867014678fa90610b00da7a77c2ede58aae999d612f61580bb3aa199e612a561",
            ),
            (
                small,
                &a44[..],
                "071b",
                Some((
                    "30c878be0bd7f016755eb493fdd4cddb97f43e01d1020cb8542c813052e96e63",
                    "7a8a87bfb4c275b79b9aa254f197a047dad9d97447d70915bd1774122ed25d11",
                )),
                "b458eb9b93c9e81ec09da71a7a6f7e98f449c0df33a572a80de911741f5a1bd5",
                "1d8ca822d7b0046ee786449da0a3713dbb669bab58bbf99e9c8dad67a03c9dea",
            ),
            (
                small,
                "023d",
                &b42[..],
                Some((
                    "858ec64fa0d4d236bc28db800734cb56bc627f90687d588fcf8524db006d3195",
                    "4b18ec4d03fe41062373792b676febd0fe9d9e1b3353b8764434bd152df9c1f0",
                )),
                "96fb746347257ee12791a6a2fca5d2ad4a0f3e8f761ce9a8c61b3af3c411cb11",
                "b3a679fb5d47872bb29461ffd39543d9b5d215400ea8b75837fcedd731aababb",
            ),
            (
                full,
                a_full,
                b_full,
                None,
                "70cc3f88219760e1c7a76333d771b22f5c2fc961bbe9580b41efe3968523b009",
                "2fa317466d9cd8234fbcb116672a4ae5ba7e2fc6e6adee0ef3a53da384852928",
            ),
        ];
        for ((user_id, salt, login_key), a, b, publics, m1, m2) in cases {
            let login_key = LoginKey::from(login_key);
            let client = SrpClient::new(&login_key, user_id, salt, &secret(a));
            let server_public = server_public(&client, b);
            if let Some((a_hash, b_hash)) = publics {
                assert_eq!(hex::encode(Sha256::digest(client.public())), a_hash);
                assert_eq!(hex::encode(Sha256::digest(server_public)), b_hash);
            }
            let proof = client.respond(&server_public).unwrap();
            assert_eq!(hex::encode(proof.m1()), m1);
            assert_eq!(proof.verify(&hex::decode(m2).unwrap()), Ok(()));
        }
    }

    fn array_from_hex<const N: usize>(hex: &str) -> [u8; N] {
        hex::decode(hex).unwrap().try_into().unwrap()
    }

    #[test]
    fn the_modulus_is_the_published_one() {
        assert_eq!(
            hex::encode(Sha256::digest(MODULUS.as_ref().to_be_bytes())),
            "4ee95187682bcb230ad26a95205f6920e84708f6251b3894329b09ec23919e33"
        );
    }

    #[test]
    fn dangerous_server_values_are_refused() {
        let client = SrpClient::new(&LoginKey::from([1; 16]), "user", b"salt", &[2; 64]);
        let modulus: [u8; 512] = MODULUS.as_ref().to_be_bytes().into();
        let above = U4096::from_be_slice(&modulus).wrapping_add(&U4096::ONE);
        let above: [u8; 512] = above.to_be_bytes().into();
        let bad: [&[u8]; 8] = [
            &[],
            &[0; 512],
            &modulus,
            &above,
            &[0xff; 512],
            &[1; 511],
            &[1; 513],
            &[0; 1024],
        ];
        for server_public in bad {
            let error = client.respond(server_public).err();
            assert_eq!(error, Some(SrpError::ServerPublic));
        }
    }

    #[test]
    fn a_wrong_server_proof_is_refused() {
        let client = SrpClient::new(&LoginKey::from([1; 16]), "user", b"salt", &[2; 64]);
        let proof = client.respond(&[1; 512]).unwrap();
        let right = proof.m2;
        assert_eq!(proof.verify(&right), Ok(()));
        let mut wrong = right;
        wrong[31] ^= 1;
        for m2 in [&wrong[..], &[], &right[..31], &[&right[..], &[0]].concat()] {
            assert_eq!(proof.verify(m2), Err(SrpError::ServerProof));
        }
    }
}
