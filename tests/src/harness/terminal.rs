//! A tool at a terminal: what it shows, and a person who types.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use pty_process::blocking::{Command, Pty, open};

use super::{Machine, Outcome};

/// Longer than anything that a test waits for; a tool that hangs must not hang the tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// A tool whose controlling terminal is ours.
pub struct Terminal {
    keyboard: Pty,
    screen: Receiver<Vec<u8>>,
    /// A terminal that nobody has open shows nothing any more, and a tool may have it open for its questions only.
    held_open: OwnedFd,
    child: Child,
    shown: String,
    /// How much of `shown` was waited for.
    seen: usize,
}

impl Machine {
    /// Starts a tool on a terminal of its own.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn at_terminal(&self, line: &[&str]) -> Terminal {
        Terminal::start(self.command(line).into())
    }

    /// Starts a tool on a terminal of its own, with standard input, output and error leading elsewhere.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn at_terminal_redirected(&self, line: &[&str]) -> Terminal {
        let command = Command::from(self.command(line));
        Terminal::start(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        )
    }

    /// Starts tools joined by pipes on one terminal, as a shell does. The exit code is that of the last one.
    ///
    /// # Panics
    /// If they cannot be started.
    pub fn pipe_at_terminal(&self, stages: &[&[&str]]) -> Terminal {
        let stages = stages.iter().map(|stage| {
            let words = stage.iter().map(|word| format!(" '{word}'"));
            format!("'{}'{}", self.tool.display(), words.collect::<String>())
        });
        let line = stages.collect::<Vec<_>>().join(" | ");
        let tool = self.command(&[]);
        let variables = tool.get_envs();
        let mut shell = std::process::Command::new("sh");
        shell
            .args(["-c", &line])
            .current_dir(self.home())
            .env_clear()
            .envs(variables.filter_map(|(name, value)| Some((name, value?))));
        Terminal::start(shell.into())
    }
}

impl Terminal {
    fn start(command: Command) -> Self {
        let (keyboard, theirs) = open().expect("a pseudo-terminal");
        let held_open = theirs.as_fd().try_clone_to_owned();
        let child = command.spawn(theirs).expect("the tool starts");
        let copy = keyboard.as_fd().try_clone_to_owned();
        let mut reader = std::fs::File::from(copy.expect("a second handle"));
        let (send, screen) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // An error is how the end of a terminal looks.
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                let _ = send.send(buffer[..length].to_vec());
            }
        });
        Self {
            keyboard,
            screen,
            held_open: held_open.expect("a second handle"),
            child,
            shown: String::new(),
            seen: 0,
        }
    }

    /// Waits until `text` is shown, after what was waited for before.
    ///
    /// # Panics
    /// If the tool ends without it.
    pub fn wait_for(&mut self, text: &str) -> &mut Self {
        loop {
            if let Some(at) = self.shown[self.seen..].find(text) {
                self.seen += at + text.len();
                return self;
            }
            match self.screen.recv_timeout(PATIENCE) {
                Ok(bytes) => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("`{text}` is not shown, but:\n{}", self.shown),
            }
        }
    }

    /// Types something and Enter.
    ///
    /// # Panics
    /// If the terminal is gone.
    pub fn type_line(&mut self, text: &str) -> &mut Self {
        self.press(&format!("{text}\n"))
    }

    /// Types something.
    ///
    /// # Panics
    /// If the terminal is gone.
    pub fn press(&mut self, keys: &str) -> &mut Self {
        self.keyboard
            .write_all(keys.as_bytes())
            .expect("the terminal takes keys");
        self
    }

    /// The process of the tool.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end. What was shown, and what a redirected standard error took, is in `stderr`.
    ///
    /// # Panics
    /// If the tool does not end.
    pub fn end(mut self) -> Outcome {
        drop(self.held_open);
        loop {
            match self.screen.recv_timeout(PATIENCE) {
                Ok(bytes) => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(_) => panic!("the tool goes on; it shows:\n{}", self.shown),
            }
        }
        let mut outcome = Outcome::from(self.child.wait_with_output().expect("the tool ends"));
        outcome.stderr.insert_str(0, &self.shown.replace('\r', ""));
        outcome
    }
}
