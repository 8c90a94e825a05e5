//! What the ente tools share.

pub mod encoding;

#[cfg(feature = "crypto")]
pub mod crypto;
