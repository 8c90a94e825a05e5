//! Time-based one-time codes (RFC 6238): six digits, SHA-1, steps of 30 seconds.

use ring::hmac;

/// How long one code is shown.
const STEP_S: i64 = 30;

/// The code that an authenticator with this secret shows at `unix_s`.
pub fn code(secret: &[u8], unix_s: i64) -> String {
    code_of_step(secret, unix_s.div_euclid(STEP_S))
}

/// The step whose code this is, if it is one of the present step or its two neighbours.
pub(crate) fn matching_step(secret: &[u8], code: &str, unix_s: i64) -> Option<i64> {
    let now = unix_s.div_euclid(STEP_S);
    (now - 1..=now + 1).find(|step| code_of_step(secret, *step) == code)
}

fn code_of_step(secret: &[u8], step: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let at = usize::from(tag[tag.len() - 1] & 0xf);
    let word = u32::from_be_bytes([tag[at] & 0x7f, tag[at + 1], tag[at + 2], tag[at + 3]]);
    format!("{:06}", word % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, SHA-1 rows, last six of eight digits.
    #[test]
    fn codes_equal_those_of_the_rfc() {
        let secret = b"12345678901234567890";
        for (unix_s, expected) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code(secret, unix_s), expected, "at {unix_s}");
        }
    }

    #[test]
    fn one_step_of_skew_is_allowed_each_way() {
        let secret = b"12345678901234567890";
        for (skew_s, accepted) in [
            (-60, false),
            (-30, true),
            (0, true),
            (30, true),
            (60, false),
        ] {
            let shown = code(secret, 90_000 + skew_s);
            assert_eq!(
                matching_step(secret, &shown, 90_000).is_some(),
                accepted,
                "skew {skew_s}"
            );
        }
    }
}
