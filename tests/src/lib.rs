//! Harness of the pipeline tests.
