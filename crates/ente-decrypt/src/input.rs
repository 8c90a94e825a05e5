//! Records of the stage before, read aside, so that nobody waits for it while there is work.

use std::io::BufRead;

use crossbeam_channel::{Receiver, bounded};
use ente_common::record::{Input, Record, RecordError};

/// Records that are read ahead.
const READ_AHEAD: usize = 256;

/// What comes from the stage before.
pub(crate) enum Event {
    Record(Record),
    Over(Ended),
}

/// How the input ended.
#[derive(Default)]
pub(crate) struct Ended {
    pub(crate) end: Option<Record>,
    pub(crate) problems: u64,
    pub(crate) findings: u64,
    pub(crate) error: Option<RecordError>,
}

/// Reads records aside, so that this thread never waits for the stage before while there is work.
pub(crate) fn events_of<R: BufRead + Send + 'static>(mut input: Input<R>) -> Receiver<Event> {
    let (send, events) = bounded(READ_AHEAD);
    // Not joined: it may wait for a stage before that never says another word.
    std::thread::spawn(move || {
        let mut ended = Ended::default();
        loop {
            match input.next_record() {
                Ok(Some(record)) => {
                    if send.send(Event::Record(record)).is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    ended.error = Some(error);
                    break;
                }
            }
        }
        ended.end = input.end().cloned();
        ended.problems = input.problems();
        ended.findings = input.findings();
        let _ = send.send(Event::Over(ended));
    });
    events
}

/// No stage before: a whole input without records.
pub(crate) fn no_events() -> Receiver<Event> {
    let (send, events) = bounded(1);
    let ended = Ended {
        end: Some(Record::new("end")),
        ..Ended::default()
    };
    // There is room for one.
    let _ = send.send(Event::Over(ended));
    events
}
