//! Proves the export against its own record; names what to repair.
