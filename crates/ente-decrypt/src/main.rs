//! Starts `ente-decrypt`; everything it does is in the library.

fn main() {}
