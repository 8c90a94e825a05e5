//! Starts `ente-meta`; everything it does is in the library.

fn main() {}
