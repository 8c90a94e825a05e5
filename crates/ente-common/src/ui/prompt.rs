//! Questions on the terminal itself: they reach a person also where standard input and output are pipes.
//!
//! The terminal is read without blocking, so a question can be left: at Ctrl-C, or when its answer comes from elsewhere.

use std::io;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::cli::Interrupt;

/// How soon an answer or Ctrl-C is noticed.
const LOOK: Duration = Duration::from_millis(30);

/// A question that stands on the terminal. Dropped, it leaves the terminal as it was.
#[derive(Debug)]
pub struct Question(system::Question);

impl Question {
    /// Shows `text`; with `secret`, what is typed is not shown.
    pub(super) fn ask(text: &str, secret: bool) -> io::Result<Self> {
        system::Question::ask(text, secret).map(Self)
    }

    /// The line that was typed, or `None` if none was within `patience`.
    ///
    /// # Errors
    /// `Interrupted` when `interrupt` is set meanwhile; `UnexpectedEof` at the end of input (Ctrl-D).
    pub fn wait(
        &mut self,
        patience: Duration,
        interrupt: &Interrupt,
    ) -> io::Result<Option<Zeroizing<String>>> {
        let mut left = patience;
        loop {
            if interrupt.is_set() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let line = self.0.line()?;
            if line.is_some() || left.is_zero() {
                return Ok(line);
            }
            std::thread::sleep(LOOK);
            left = left.saturating_sub(LOOK);
        }
    }
}

/// Whether there is a terminal to ask on.
pub(super) fn has_terminal() -> bool {
    system::has_terminal()
}

#[cfg(unix)]
mod system {
    use std::fs::{File, OpenOptions};
    use std::io::{self, Read as _, Write as _};
    use std::os::unix::fs::OpenOptionsExt as _;

    use rustix::fs::OFlags;
    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
    use zeroize::Zeroizing;

    pub(super) fn has_terminal() -> bool {
        File::options().write(true).open("/dev/tty").is_ok()
    }

    /// A terminal hands over a line of at most 4095 bytes, its end included.
    const MAX_LINE_BYTES: usize = 4096;

    #[derive(Debug)]
    pub(super) struct Question {
        terminal: File,
        before: Option<Termios>,
        answered: bool,
    }

    impl Question {
        pub(super) fn ask(text: &str, secret: bool) -> io::Result<Self> {
            let mut terminal = File::options().write(true).open("/dev/tty")?;
            let before = secret.then(|| tcgetattr(&terminal)).transpose()?;
            if let Some(before) = &before {
                let mut silent = before.clone();
                silent.local_modes.remove(LocalModes::ECHO);
                silent.local_modes.insert(LocalModes::ECHONL);
                tcsetattr(&terminal, OptionalActions::Now, &silent)?;
            }
            terminal.write_all(text.as_bytes())?;
            Ok(Self {
                // Opened anew: the flag belongs to the opening, and standard input must not get it.
                terminal: OpenOptions::new()
                    .read(true)
                    .write(true)
                    .custom_flags(OFlags::NONBLOCK.bits() as i32)
                    .open("/dev/tty")?,
                before,
                answered: false,
            })
        }

        /// The line, if a whole one is there.
        pub(super) fn line(&mut self) -> io::Result<Option<Zeroizing<String>>> {
            let mut buffer = Zeroizing::new([0; MAX_LINE_BYTES]);
            let length = match self.terminal.read(&mut buffer[..]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(None),
                result => result?,
            };
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = std::str::from_utf8(&buffer[..length])
                .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            self.answered = true;
            Ok(Some(Zeroizing::new(
                line.trim_end_matches(['\r', '\n']).to_owned(),
            )))
        }
    }

    impl Drop for Question {
        fn drop(&mut self) {
            // There is nothing left to do for a terminal that is gone.
            if !self.answered {
                let _ = self.terminal.write_all(b"\n");
            }
            if let Some(before) = &self.before {
                let _ = tcsetattr(&self.terminal, OptionalActions::Now, before);
            }
        }
    }
}

#[cfg(not(unix))]
mod system {
    use std::io::{self, IsTerminal as _, Write as _};
    use std::sync::mpsc::{Receiver, TryRecvError, channel};

    use zeroize::Zeroizing;

    pub(super) fn has_terminal() -> bool {
        io::stdin().is_terminal()
    }

    /// Reading a line cannot be stopped here, so it waits on a thread of its own.
    #[derive(Debug)]
    pub(super) struct Question(Receiver<io::Result<String>>);

    impl Question {
        pub(super) fn ask(text: &str, secret: bool) -> io::Result<Self> {
            let (send, receive) = channel();
            let text = text.to_owned();
            std::thread::spawn(move || {
                let answer = if secret {
                    rpassword::prompt_password(text)
                } else {
                    shown(&text)
                };
                let _ = send.send(answer);
            });
            Ok(Self(receive))
        }

        pub(super) fn line(&mut self) -> io::Result<Option<Zeroizing<String>>> {
            match self.0.try_recv() {
                Ok(answer) => answer.map(|line| Some(Zeroizing::new(line))),
                Err(TryRecvError::Empty) => Ok(None),
                Err(TryRecvError::Disconnected) => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    fn shown(text: &str) -> io::Result<String> {
        if !io::stdin().is_terminal() {
            return Err(io::ErrorKind::NotFound.into());
        }
        io::stderr().write_all(text.as_bytes())?;
        let mut line = String::new();
        if io::stdin().read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}
