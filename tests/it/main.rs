//! Pipelines, resume, interop.
