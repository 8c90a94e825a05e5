//! Starts `ente-login`; everything it does is in the library.

fn main() {}
