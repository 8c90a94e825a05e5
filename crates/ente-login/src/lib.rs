//! Turns a password and second factor into saved credentials.
