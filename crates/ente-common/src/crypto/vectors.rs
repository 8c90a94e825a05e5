//! Reads `tests/vectors`, which other implementations made: libsodium and `fast-srp-hap`.

use serde_json::Value;

pub(crate) fn crypto() -> Value {
    parse(include_str!("../../../../tests/vectors/crypto.json"))
}

pub(super) fn srp() -> Value {
    parse(include_str!("../../../../tests/vectors/srp.json"))
}

pub(crate) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    let list = value[name].as_array().expect("a list");
    assert!(!list.is_empty(), "no vectors under {name}");
    list
}

pub(crate) fn text<'a>(case: &'a Value, name: &str) -> &'a str {
    case[name].as_str().expect("a text")
}

/// Decodes a base64 member.
pub(super) fn bytes(case: &Value, name: &str) -> Vec<u8> {
    crate::encoding::from_base64(text(case, name)).expect("base64")
}

/// Decodes a base64 member of known length: a key, a nonce, a header.
pub(super) fn array<const N: usize>(case: &Value, name: &str) -> [u8; N] {
    crate::encoding::array_from_base64(text(case, name)).expect("base64 of that length")
}

fn parse(json: &str) -> Value {
    serde_json::from_str(json).expect("vectors are JSON")
}
