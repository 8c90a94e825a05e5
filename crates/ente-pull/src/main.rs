//! Starts `ente-pull`; everything it does is in the library.

fn main() {}
