//! The tool against exports made by hand.
#![cfg(test)]

mod export;
mod objects;
mod scratch;
