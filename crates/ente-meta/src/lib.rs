//! Decrypts metadata; enriches and filters records; writes sidecars.
