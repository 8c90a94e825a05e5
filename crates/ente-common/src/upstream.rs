//! The stage before in a pipe: its records read ahead, and how it ended.

use std::io::BufRead;
use std::thread;

use serde_json::{Value, json};

use crate::exit::Exit;
use crate::record::{Input, Record, RecordError};

/// Records that are read ahead: so many fit between two stages.
pub const READ_AHEAD: usize = 256;

/// What comes from the stage before.
#[derive(Debug)]
pub enum Event {
    /// A record, but for `begin` and `end`.
    Record(Record),
    /// The last event.
    Over(Upstream),
}

/// How the input ended.
#[derive(Debug, Default)]
pub struct Upstream {
    /// The `end` record; `None` if the input was cut short.
    pub end: Option<Record>,
    /// Problems that passed.
    pub problems: u64,
    /// Findings that passed.
    pub findings: u64,
    /// Why it could not be read on.
    pub error: Option<RecordError>,
}

impl Upstream {
    /// Of a run that no stage is before.
    pub fn none() -> Self {
        Self {
            end: Some(Record::new("end")),
            ..Self::default()
        }
    }

    /// All of it came.
    pub fn is_whole(&self) -> bool {
        self.end.is_some() && self.error.is_none()
    }

    /// What passed, as an exit code: whoever is last in a pipe tells it.
    pub fn exit(&self) -> Exit {
        let exit = match self.problems {
            0 => Exit::Done,
            _ => Exit::Problems,
        };
        match self.findings {
            0 => exit,
            _ => exit.and(Exit::Differences),
        }
    }

    /// Its `end`, or a new one, with the counts of one more tool.
    pub fn end_with(&self, tool: &str, counts: Value) -> Record {
        let mut end = self.end.clone().unwrap_or_else(|| Record::new("end"));
        let all = end.members.entry("counts").or_insert_with(|| json!({}));
        if let Some(all) = all.as_object_mut() {
            all.insert(tool.to_owned(), counts);
        }
        end
    }
}

/// Reads on in a thread of its own, so that nobody waits for the stage before while there is work. `send` hands an event over; `false` ends the
/// reading. The thread is left alone when the run ends first: it may wait for a stage that never says another word.
pub fn read_ahead<R>(mut input: Input<R>, send: impl Fn(Event) -> bool + Send + 'static)
where
    R: BufRead + Send + 'static,
{
    thread::spawn(move || {
        let error = loop {
            match input.next_record() {
                Ok(Some(record)) => {
                    if !send(Event::Record(record)) {
                        return;
                    }
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        let over = Upstream {
            error,
            ..input.upstream()
        };
        send(Event::Over(over));
    });
}
