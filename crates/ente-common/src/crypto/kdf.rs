//! From the password to the KEK, and from the KEK to the login key.
//!
//! ```text
//! KEK       = Argon2id 1.3(password, salt, floor(mem_limit / 1024) KiB, ops_limit passes, 1 lane), 32 bytes
//! login key = the first 16 of 32 bytes of BLAKE2b(key = KEK, salt = LE64(1) ‖ 0^8, personal = "loginctx" ‖ 0^8)
//! ```

use argon2::{Algorithm, Argon2, Params, Version};
use dryoc::classic::crypto_kdf::crypto_kdf_derive_from_key;
use zeroize::Zeroizing;

use super::{Kek, LoginKey};

/// Most memory that a server may ask of us: four times the largest default that any client has used.
pub const MAX_MEMORY_BYTES: u64 = 4 << 30;

/// Most work that a server may ask of us, in bytes of memory times passes: sixteen times that of any known account,
/// about a minute on an ordinary computer.
pub const MAX_WORK: u64 = 1 << 36;

/// Least memory, as in libsodium.
const MIN_MEMORY_BYTES: u64 = 8 << 10;

/// Why no KEK was derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KdfError {
    /// The limits that the server names are outside of what any account needs.
    #[error("{mem_limit_bytes} bytes of memory and {ops_limit} passes are outside the limits")]
    Limits {
        /// Memory asked for.
        mem_limit_bytes: u64,
        /// Passes asked for.
        ops_limit: u64,
    },
    /// The salt is not 16 bytes long.
    #[error("a salt of {actual} bytes where 16 belong")]
    SaltLength {
        /// Length given, in bytes.
        actual: usize,
    },
    /// This computer has not got the memory that the account's password needs.
    #[error("{mem_limit_bytes} bytes of memory are needed and cannot be had")]
    OutOfMemory {
        /// Memory asked for.
        mem_limit_bytes: u64,
    },
    /// The password is longer than Argon2 can take (4 GiB).
    #[error("the password is too long")]
    PasswordLength,
}

/// Whether any account needs so much; what is beyond is a server that means harm.
pub fn check_limits(mem_limit_bytes: u64, ops_limit: u64) -> Result<(), KdfError> {
    let memory = MIN_MEMORY_BYTES..=MAX_MEMORY_BYTES;
    let work = mem_limit_bytes.saturating_mul(ops_limit);
    if memory.contains(&mem_limit_bytes) && (1..=MAX_WORK).contains(&work) {
        return Ok(());
    }
    Err(KdfError::Limits {
        mem_limit_bytes,
        ops_limit,
    })
}

/// Derives the KEK from `password` (raw bytes, not normalised) with exactly the limits that the server names: any
/// others give another key.
///
/// Takes `mem_limit_bytes` of memory and seconds of time.
pub fn derive_kek(
    password: &[u8],
    salt: &[u8],
    mem_limit_bytes: u64,
    ops_limit: u64,
) -> Result<Kek, KdfError> {
    check_limits(mem_limit_bytes, ops_limit)?;
    let limits = KdfError::Limits {
        mem_limit_bytes,
        ops_limit,
    };
    if salt.len() != 16 {
        return Err(KdfError::SaltLength { actual: salt.len() });
    }
    let passes = u32::try_from(ops_limit).map_err(|_| limits)?;
    let params = u32::try_from(mem_limit_bytes / 1024)
        .ok()
        .and_then(|memory_kib| Params::new(memory_kib, passes, 1, Some(32)).ok())
        .ok_or(limits)?;

    let mut kek = Box::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password, salt, &mut kek[..])
        .map_err(|error| match error {
            argon2::Error::OutOfMemory => KdfError::OutOfMemory { mem_limit_bytes },
            argon2::Error::PwdTooLong => KdfError::PasswordLength,
            _ => limits,
        })?;
    Ok(super::Key::from_box(kek))
}

/// Derives the secret that a sign-in proves knowledge of.
///
/// The 32-byte digest is cut; a 16-byte digest would be another value.
pub fn login_key(kek: &Kek) -> LoginKey {
    let mut subkey = Zeroizing::new([0; 32]);
    crypto_kdf_derive_from_key(&mut subkey[..], 1, b"loginctx", kek.expose())
        .expect("32 is a length that the function accepts");
    LoginKey::try_from(&subkey[..16]).expect("16 bytes were cut")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::vectors::{self, bytes, text};

    #[test]
    fn golden_keks() {
        for case in vectors::list(&vectors::crypto(), "argon2id") {
            let limit = |name: &str| case[name].as_u64().unwrap();
            let password = text(case, "password");
            let kek = derive_kek(
                password.as_bytes(),
                &bytes(case, "salt"),
                limit("memLimit"),
                limit("opsLimit"),
            );
            assert_eq!(kek.unwrap().expose()[..], bytes(case, "key"), "{password}");
        }
    }

    #[test]
    fn published_keks() {
        let own_salt = crate::encoding::from_base64("vd0dcYMGNLKn/gpT6uTFTw==").unwrap();
        let cases: [(&str, &[u8], u64, u64, &str); 5] = [
            (
                "test_password",
                &own_salt,
                67_108_864,
                2,
                "be9f1df0d79ed016c830be1a6fc0a9df8b989f2acdefb711c1397ddb47e5c93d",
            ),
            (
                "",
                &[0x42; 16],
                8192,
                1,
                "eef88e0a23481041fbbe805b6ba75ec2d2ff93114409cb0d29d67f870a7e43fb",
            ),
            (
                "correct horse battery staple",
                &[0x42; 16],
                67_108_864,
                2,
                "f1b5c57bd39c62014b69801ed1b7bfc7567e94303fce6de2b6853e6796206402",
            ),
            // What accounts of 2021 to 2025 cost; computed by libsodium.
            (
                "correct horse battery staple",
                &[0x42; 16],
                1 << 30,
                4,
                "65bf8899bc66c5d4ede4f7a6041bd02c592c2ac6b806f6bccdc650d965ee2306",
            ),
            // Not a whole number of KiB: rounded down.
            (
                "",
                &[0x42; 16],
                8192 + 1023,
                1,
                "eef88e0a23481041fbbe805b6ba75ec2d2ff93114409cb0d29d67f870a7e43fb",
            ),
        ];
        for (password, salt, memory, passes, expected) in cases {
            let kek = derive_kek(password.as_bytes(), salt, memory, passes).unwrap();
            assert_eq!(hex::encode(kek.expose()), expected, "{password}");
        }
    }

    #[test]
    fn limits_are_bounded() {
        let cases = [
            (8191, 1),
            (8192, 0),
            (0, 0),
            ((4 << 30) + 1, 1),
            (4 << 30, 17),
            (8192, (1 << 23) + 1),
            (8192, u64::MAX),
            (u64::MAX, u64::MAX),
        ];
        for (mem_limit_bytes, ops_limit) in cases {
            let error = KdfError::Limits {
                mem_limit_bytes,
                ops_limit,
            };
            let result = derive_kek(b"x", &[0; 16], mem_limit_bytes, ops_limit);
            assert_eq!(result.err(), Some(error));
        }
    }

    #[test]
    fn the_salt_has_one_length() {
        for actual in [0, 8, 15, 17] {
            let result = derive_kek(b"x", &vec![0; actual], 8192, 1);
            assert_eq!(result.err(), Some(KdfError::SaltLength { actual }));
        }
    }

    #[test]
    fn login_keys() {
        for case in vectors::list(&vectors::crypto(), "kdf") {
            if case["id"] == 1 {
                let kek = Kek::try_from(&bytes(case, "key")[..]).unwrap();
                assert_eq!(login_key(&kek).expose()[..], bytes(case, "loginKey"));
            }
        }
        let published = [
            ([0x42; 32], "40743fef4ad07599e23253cf1fdeb225"),
            (
                std::array::from_fn(|index| index as u8),
                "6970b5d34442fd11788a83b4b57e1e72",
            ),
            (
                hex::decode("be9f1df0d79ed016c830be1a6fc0a9df8b989f2acdefb711c1397ddb47e5c93d")
                    .unwrap()
                    .try_into()
                    .unwrap(),
                "48549ae68271ca08df89f31d66335672",
            ),
        ];
        for (kek, expected) in published {
            let login_key = login_key(&Kek::from(kek));
            assert_eq!(hex::encode(login_key.expose()), expected);
        }
    }
}
