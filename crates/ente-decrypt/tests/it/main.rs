//! Real ciphertext, made by libsodium, laid out as `ente-pull` does; what `ente-decrypt` makes of it is compared with what it has to be.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod crash;
mod golden;
mod mirror;
mod odd;
mod owner;
mod pipe;
mod user;
