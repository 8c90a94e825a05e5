//! Makes the album folders equal to what was pulled.
