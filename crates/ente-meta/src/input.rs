//! Reads records ahead, so that a batch can be closed while nothing comes.

use std::io::BufRead;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use ente_common::record::{Input, Record, RecordError};

/// Records that are held at most.
const AHEAD: usize = 256;

/// What comes from the stage before.
pub(crate) enum Incoming {
    /// The next record.
    Record(Record),
    /// It cannot be read on.
    Broken(RecordError),
    /// Its `end`; `None` if the input was cut short.
    End(Option<Record>),
}

/// Reads on in a thread of its own.
pub(crate) fn read_ahead<R>(mut input: Input<R>) -> Receiver<Incoming>
where
    R: BufRead + Send + 'static,
{
    let (sender, receiver) = sync_channel(AHEAD);
    // Left alone when the run ends first: it may hang on its input for good.
    thread::spawn(move || {
        loop {
            let incoming = match input.next_record() {
                Ok(Some(record)) => Incoming::Record(record),
                Ok(None) => Incoming::End(input.end().cloned()),
                Err(error) => Incoming::Broken(error),
            };
            let goes_on = matches!(incoming, Incoming::Record(_));
            if sender.send(incoming).is_err() || !goes_on {
                return;
            }
        }
    });
    receiver
}
