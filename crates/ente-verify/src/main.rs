//! Starts `ente-verify`; everything it does is in the library.

fn main() {}
