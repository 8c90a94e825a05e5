//! Runs a pipe of tools, listens at each joint, and kills.

use std::io::Write as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::harness::Machine;

use super::strace::{self, Point};

/// Nothing here takes that long: a tool that does hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// What happens to a pipe on its way.
#[derive(Clone, Debug)]
pub(super) enum Kill {
    /// Nothing.
    None,
    /// One stage dies at this point; the others go on with what they have, or die with it.
    At { point: Point, all: bool },
    /// All stages die after this time.
    After(Duration),
}

/// How one stage ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// As a shell says it: 137 for one that was killed.
    pub(super) code: i32,
    /// What it printed.
    pub(super) stdout: String,
    /// What it said.
    pub(super) stderr: String,
}

/// The stages of `ente-pull DIR | ente-decrypt -`.
pub(super) fn stages(line: &str) -> Vec<Vec<&str>> {
    line.split(" | ")
        .map(|stage| stage.split(' ').collect())
        .collect()
}

/// Runs the line to its end.
///
/// # Panics
/// If a stage cannot be started, or does not end.
pub(super) fn run(machine: &Machine, line: &str, kill: &Kill) -> Vec<Ended> {
    let stages = stages(line);
    run_as(machine, line, kill, |number, command| match kill {
        Kill::At { point, .. } if point.stage.min(stages.len() - 1) == number => {
            strace::killed_at(&command, point)
        }
        _ => command,
    })
}

/// As [`run`], each process as `wrap` makes it.
pub(super) fn run_as(
    machine: &Machine,
    line: &str,
    kill: &Kill,
    wrap: impl Fn(usize, Command) -> Command,
) -> Vec<Ended> {
    let stages = stages(line);
    let mut children = Vec::new();
    let mut ears = Vec::new();
    let mut upstream: Option<std::process::ChildStdout> = None;
    for (number, stage) in stages.iter().enumerate() {
        let mut command = wrap(number, machine.command(stage));
        let input = if number == 0 {
            Stdio::null()
        } else {
            Stdio::piped()
        };
        command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{stage:?}: {error}"));
        if let Some(upstream) = upstream.take() {
            ears.push(listen(upstream, child.stdin.take()));
        }
        upstream = child.stdout.take();
        children.push(child);
    }
    ears.extend(upstream.map(|last| listen(last, None)));
    let mouths: Vec<_> = children
        .iter_mut()
        .map(|child| listen(child.stderr.take().expect("it is piped"), None))
        .collect();
    match kill {
        Kill::None => {}
        Kill::At { point, all } => {
            let _ = wait(&mut children[point.stage.min(stages.len() - 1)], line);
            if *all {
                kill_all(&mut children);
            }
        }
        Kill::After(time) => {
            thread::sleep(*time);
            kill_all(&mut children);
        }
    }
    let codes: Vec<_> = children
        .iter_mut()
        .map(|child| code(wait(child, line)))
        .collect();
    let text = |ear: JoinHandle<Vec<u8>>| {
        String::from_utf8_lossy(&ear.join().expect("an ear only listens")).into_owned()
    };
    let ended = codes.into_iter().zip(ears).zip(mouths);
    ended
        .map(|((code, ear), mouth)| Ended {
            code,
            stdout: text(ear),
            stderr: text(mouth),
        })
        .collect()
}

/// Keeps what comes out, and hands it on as long as somebody takes it.
fn listen(
    mut from: impl std::io::Read + Send + 'static,
    mut to: Option<std::process::ChildStdin>,
) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut heard = Vec::new();
        let mut block = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut block) {
            heard.extend_from_slice(&block[..length]);
            if let Some(next) = &mut to
                && next.write_all(&block[..length]).is_err()
            {
                // Nobody reads on: the writer is to see that its pipe is closed.
                break;
            }
        }
        heard
    })
}

fn kill_all(children: &mut [Child]) {
    for child in children {
        // It may have ended already.
        let _ = child.kill();
    }
}

fn wait(child: &mut Child, line: &str) -> ExitStatus {
    let since = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return status;
        }
        if since.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("`{line}` hangs");
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
