//! What is measured.

mod content;
mod edits;
mod first;
mod growth;
mod jobs;
mod memory;
mod scale;
mod start;

use super::Setup;
use super::contest::Row;
use super::machine::Program;

/// Something to measure.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// In a few words.
    pub(super) about: &'static str,
    pub(super) needs: &'static [Program],
    pub(super) run: fn(&Setup) -> Result<Vec<Row>, String>,
}

/// Every case, in the order of the table.
pub(super) fn all() -> Vec<Case> {
    let groups = [
        first::cases(),
        growth::cases(),
        content::cases(),
        scale::cases(),
        edits::cases(),
        jobs::cases(),
        start::cases(),
        memory::cases(),
    ];
    groups.into_iter().flatten().collect()
}
