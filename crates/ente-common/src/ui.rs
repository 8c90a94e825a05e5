//! The face that people see: messages, progress and prompts, all on standard error or the terminal itself.
//!
//! Nothing else writes to standard error. Text that comes from outside is cleaned before it is shown.

mod prompt;

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde_json::Value;
use zeroize::Zeroizing;

pub use prompt::Question;

use crate::cli::Interrupt;
use crate::exit::Failure;
use crate::record::Record;

/// How often it is said that something takes long.
const WAITING_EVERY: Duration = Duration::from_millis(4500);

/// Control characters, line breaks of any kind and direction changers made visible, so that a file's name can neither steer the terminal nor
/// pass for a message of ours.
pub fn clean(text: &str) -> Cow<'_, str> {
    fn is_foul(c: char) -> bool {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    }
    if !text.contains(is_foul) {
        return text.into();
    }
    text.chars()
        .map(|c| {
            if is_foul(c) {
                c.escape_unicode().to_string()
            } else {
                c.to_string()
            }
        })
        .collect::<String>()
        .into()
}

/// Where messages go; clones share it.
#[derive(Clone, Debug)]
pub struct Ui {
    tool: &'static str,
    /// Progress and summaries are shown.
    lively: bool,
    /// A later stage of the pipe may draw on this terminal.
    shares_screen: bool,
    colour: bool,
    out: Arc<Mutex<Out>>,
}

#[derive(Debug)]
struct Out {
    bar: ProgressBar,
    /// A captured screen, for tests.
    captured: Option<Vec<u8>>,
    /// When it was last said that something takes long.
    waited: Option<Instant>,
}

impl Ui {
    /// Messages on standard error. Progress where it is a terminal and no later stage of a pipe owns the screen.
    pub fn new(tool: &'static str, quiet: bool, in_pipe: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            tool,
            lively: terminal && !quiet && !in_pipe,
            shares_screen: terminal && in_pipe,
            colour,
            out: Arc::new(Mutex::new(Out {
                bar: ProgressBar::hidden(),
                captured: None,
                waited: None,
            })),
        }
    }

    /// Keeps messages in memory instead: see [`Ui::captured`].
    pub fn capture(tool: &'static str) -> Self {
        let out = Out {
            bar: ProgressBar::hidden(),
            captured: Some(Vec::new()),
            waited: None,
        };
        Self {
            tool,
            lively: false,
            shares_screen: false,
            colour: false,
            out: Arc::new(Mutex::new(out)),
        }
    }

    /// What was shown so far, where it is kept in memory.
    pub fn captured(&self) -> String {
        self.with_out(|out| {
            String::from_utf8_lossy(out.captured.as_deref().unwrap_or_default()).into_owned()
        })
    }

    /// Somebody watches: progress and a summary are wanted.
    pub fn is_lively(&self) -> bool {
        self.lively
    }

    fn with_out<T>(&self, use_it: impl FnOnce(&mut Out) -> T) -> T {
        use_it(
            &mut self
                .out
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }

    fn show(&self, text: &str) {
        self.with_out(|out| match &mut out.captured {
            Some(captured) => captured.extend_from_slice(text.as_bytes()),
            // A message that cannot be shown is no reason to stop a backup.
            None => out.bar.suspend(|| {
                let mut stderr = io::stderr().lock();
                if self.shares_screen {
                    // The stage that owns the screen may have drawn on this line.
                    let _ = stderr.write_all(b"\r\x1b[K");
                }
                let _ = stderr.write_all(text.as_bytes());
            }),
        });
    }

    fn message(&self, word: &str, ansi: &str, failure: &Failure) {
        let (on, off) = if self.colour {
            (ansi, "\x1b[0m")
        } else {
            ("", "")
        };
        let mut text = format!("{}: {on}{word}{off}: {}\n", self.tool, clean(&failure.what));
        if let Some(cause) = &failure.cause {
            text.push_str(&format!("  cause: {}\n", clean(cause)));
        }
        if let Some(hint) = &failure.hint {
            text.push_str(&format!("  hint: {}\n", clean(hint)));
        }
        self.show(&text);
    }

    /// What ended the run.
    pub fn error(&self, failure: &Failure) {
        self.message("error", "\x1b[1;31m", failure);
    }

    /// What the run goes on in spite of; the exit code of `failure` does not matter.
    pub fn warning(&self, failure: &Failure) {
        self.message("warning", "\x1b[1;33m", failure);
    }

    /// One line for whoever watches; silent in pipes and under cron.
    pub fn note(&self, text: &str) {
        if self.lively {
            self.show(&format!("{}: {}\n", self.tool, clean(text)));
        }
    }

    /// Says to whoever watches that something takes long, for instance that a server does not answer; one line in five seconds,
    /// however many things wait.
    pub fn waiting(&self, text: &str) {
        let is_news = self.with_out(|out| {
            let is_news = out.waited.is_none_or(|at| at.elapsed() >= WAITING_EVERY);
            if is_news {
                out.waited = Some(Instant::now());
            }
            is_news
        });
        if is_news {
            self.note(text);
        }
    }

    /// One line that has to be seen, wherever messages go.
    pub fn say(&self, text: &str) {
        self.show(&format!("{}: {}\n", self.tool, clean(text)));
    }

    /// Shows that something takes a while, with the seconds that went by, until the answer is dropped. Where nobody
    /// watches, nothing is shown.
    #[must_use]
    pub fn busy(&self, text: &str) -> Busy {
        let bar = if self.lively {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10))
        } else {
            ProgressBar::hidden()
        };
        let style = ProgressStyle::with_template("{prefix}: {msg} {spinner} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_prefix(self.tool);
        bar.set_message(clean(text).into_owned());
        if self.lively {
            bar.tick();
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Busy(bar)
    }

    /// Sums up for whoever watches: a line for each tool in the `counts` of an `end` record. The last stage of a pipe speaks
    /// for those before it, which are silent.
    pub fn summary(&self, end: &Record) {
        let counts = end.members.get("counts").and_then(Value::as_object);
        for (tool, counts) in counts.into_iter().flatten().filter(|_| self.lively) {
            self.show(&format!(
                "{}: {}\n",
                clean(tool),
                clean(&counts_line(counts))
            ));
        }
    }

    /// Starts a progress display of `files` and `bytes`; hidden where nobody watches.
    pub fn progress(&self, verb: &'static str, files: u64, bytes: u64) -> Progress {
        let bar = if self.lively {
            ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr_with_hz(10))
        } else {
            ProgressBar::hidden()
        };
        let counts = Arc::new(Mutex::new(Counts {
            files,
            ..Counts::default()
        }));
        let shared = Arc::clone(&counts);
        let style = ProgressStyle::with_template(
            "{msg} {bar:20} {counts}  {bytes}/{total_bytes}  {pace}{failed}",
        )
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
        .with_key(
            "counts",
            move |_: &ProgressState, w: &mut dyn std::fmt::Write| {
                let counts = lock(&shared);
                let _ = write!(w, "{}/{} files", counts.done, counts.files);
            },
        );
        // Before the first byte there is no rate, and no time left that follows from it.
        let style = style.with_key(
            "pace",
            |state: &ProgressState, w: &mut dyn std::fmt::Write| {
                if state.pos() > 0 {
                    let rate = human_bytes(state.per_sec() as u64);
                    let _ = write!(w, "{rate}/s  {:#} left", HumanDuration(state.eta()));
                }
            },
        );
        let shared = Arc::clone(&counts);
        let style = style.with_key(
            "failed",
            move |_: &ProgressState, w: &mut dyn std::fmt::Write| {
                let failed = lock(&shared).failed;
                if failed > 0 {
                    let _ = write!(w, "  {failed} failed");
                }
            },
        );
        bar.set_style(style);
        bar.set_message(verb);
        if self.lively {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        self.with_out(|out| out.bar = bar.clone());
        Progress { bar, counts }
    }

    /// Asks on the terminal, even where standard input and output are pipes. `secret` shows no echo.
    ///
    /// # Errors
    /// `NotFound` or the like where there is no terminal.
    pub fn ask(&self, question: &str, secret: bool) -> io::Result<Question> {
        Question::ask(&format!("{}: {}", self.tool, clean(question)), secret)
    }

    /// Whether there is a terminal to [`Ui::ask`] on.
    pub fn can_ask(&self) -> bool {
        prompt::has_terminal()
    }

    /// [`Ui::ask`]s and waits for the answer.
    ///
    /// # Errors
    /// As [`Question::wait`], and where there is no terminal.
    pub fn prompt(
        &self,
        question: &str,
        secret: bool,
        interrupt: &Interrupt,
    ) -> io::Result<Zeroizing<String>> {
        let mut question = self.ask(question, secret)?;
        loop {
            if let Some(answer) = question.wait(Duration::from_secs(1), interrupt)? {
                return Ok(answer);
            }
        }
    }
}

/// Something that takes a while; dropped, it is done.
#[derive(Debug)]
pub struct Busy(ProgressBar);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[derive(Debug, Default)]
struct Counts {
    files: u64,
    done: u64,
    failed: u64,
}

fn lock(counts: &Mutex<Counts>) -> std::sync::MutexGuard<'_, Counts> {
    counts
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A progress display; clones share it; cleared when [`finish`](Progress::finish)ed.
#[derive(Clone, Debug)]
pub struct Progress {
    bar: ProgressBar,
    counts: Arc<Mutex<Counts>>,
}

impl Progress {
    /// Bytes that are done.
    pub fn bytes(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// A file that is done.
    pub fn file(&self) {
        lock(&self.counts).done += 1;
    }

    /// A file that failed.
    pub fn failed(&self) {
        lock(&self.counts).failed += 1;
    }

    /// Takes the display away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// The counts of a tool as people read them: `58 files, 6.9 MiB, 1 problem`.
fn counts_line(counts: &Value) -> String {
    let counts = counts.as_object().into_iter().flatten();
    let counted: Vec<String> = counts
        .filter_map(|(name, count)| Some((name.as_str(), count.as_u64().filter(|&n| n > 0)?)))
        .map(|(name, count)| match (name, count) {
            ("bytes", bytes) => human_bytes(bytes),
            (name, 1) => format!("1 {}", name.strip_suffix('s').unwrap_or(name)),
            (name, count) => format!("{} {name}", human_count(count)),
        })
        .collect();
    if counted.is_empty() {
        return "nothing to do".to_owned();
    }
    counted.join(", ")
}

/// A path as a shell takes it for one word: for commands that a hint names.
pub fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+~,:@%".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// Bytes as people read them: `1.5 GiB`.
pub fn human_bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// A count as people read it: `12,480`.
pub fn human_count(count: u64) -> String {
    indicatif::HumanCount(count).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn a_message_says_what_why_and_what_to_type() {
        let ui = Ui::capture("ente-pull");
        ui.error(
            &Failure::new(
                Exit::Locked,
                "another run is using the export `a\u{1b}[2Jb`",
            )
            .cause("it is")
            .hint("wait"),
        );
        assert_eq!(
            ui.captured(),
            "ente-pull: error: another run is using the export `a\\u{1b}[2Jb`\n  cause: it is\n  hint: wait\n"
        );
    }

    #[test]
    fn counts_are_told_without_what_is_nought() {
        let counts = serde_json::json!({"files": 58, "bytes": 1536, "moved": 0, "problems": 1});
        assert_eq!(counts_line(&counts), "58 files, 1.50 KiB, 1 problem");
        assert_eq!(
            counts_line(&serde_json::json!({"files": 0})),
            "nothing to do"
        );
    }

    #[test]
    fn waiting_is_told_once_in_a_while_to_those_who_watch() {
        let mut ui = Ui::capture("ente-pull");
        ui.waiting("unseen");
        assert_eq!(ui.captured(), "");
        ui.lively = true;
        ui.with_out(|out| out.waited = None);
        ui.waiting("still waiting");
        ui.waiting("still waiting");
        assert_eq!(ui.captured(), "ente-pull: still waiting\n");
    }

    #[test]
    fn direction_changers_are_made_visible() {
        assert_eq!(clean("gpj.\u{202e}exe"), "gpj.\\u{202e}exe");
        assert_eq!(
            clean("a\u{61c}\u{2028}b\u{9b}"),
            "a\\u{61c}\\u{2028}b\\u{9b}"
        );
        assert_eq!(clean("naïve 写真 🎂"), "naïve 写真 🎂");
    }
}
