//! Mirrors what the server holds, still encrypted, resumable.
