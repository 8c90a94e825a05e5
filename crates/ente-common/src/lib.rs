//! What the ente tools share.
