//! The tool against exports made by hand.
#![cfg(test)]

mod against;
mod export;
mod objects;
mod scratch;
