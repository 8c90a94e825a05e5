//! What the ente tools share.
//!
//! Pure modules first, then those that touch files, the terminal and the network. Two features bring in what not every tool may hold:
//! `crypto` (keys and the cryptography that needs them) and `api` (the HTTP client); `keystore` reads and writes saved credentials.

pub mod encoding;
pub mod exit;
pub mod id;
pub mod layout;
pub mod model;
pub mod naming;
pub mod record;
pub mod token;
pub mod upstream;
pub mod wire;

#[cfg(feature = "crypto")]
pub mod crypto;
#[cfg(feature = "digest")]
pub mod digest;

pub mod cli;
pub mod disk;
pub mod manifest;
pub mod ui;

#[cfg(feature = "keystore")]
pub mod keystore;
#[cfg(feature = "keystore")]
pub mod secret;

#[cfg(feature = "api")]
pub mod api;
