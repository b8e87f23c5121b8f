//! A process of the demo: killed, at the latest, when its value goes.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

use crate::{console::one_line, failure::Failure};

/// How long a process may take until it accepts calls.
const START: Duration = Duration::from_secs(15);
/// Lines of a log that are shown when it failed.
const LAST_LINES: usize = 5;

/// A running process that accepts calls.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// Where it listens: HOST:PORT.
    pub(super) address: String,
}

impl Process {
    /// Starts `command`, its stderr going to `log`, and waits for its line `listening on HOST:PORT`.
    pub(super) async fn start(mut command: Command, name: &str, log: PathBuf) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::Failed(format!("cannot start {name}: {error}; try again"));
        let stderr = File::options().create(true).append(true).open(&log).map_err(failed)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let mut process = Self { child: command.spawn().map_err(failed)?, address: String::new() };
        let (sender, first_line) = oneshot::channel();
        if let Some(stdout) = process.child.stdout.take() {
            let read = move || {
                let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
                let _ = sender.send(lines.next());
                // A pipe that nobody empties would stop the process.
                lines.for_each(drop);
            };
            thread::Builder::new().name(format!("output of {name}")).spawn(read).map_err(failed)?;
        }
        let line = timeout(START, first_line).await.ok().and_then(Result::ok).flatten().unwrap_or_default();
        let Some(address) = line.strip_prefix("listening on ") else {
            return Err(Failure::Failed(format!("{name} did not start: {}", last_lines(&log))));
        };
        address.clone_into(&mut process.address);
        Ok(process)
    }

    /// Kills it with SIGKILL, which it can't notice.
    pub(super) fn kill(mut self) {
        self.end();
    }

    /// Whether it still runs.
    #[cfg(test)]
    fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    fn end(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    match lines.get(lines.len().saturating_sub(LAST_LINES)..) {
        Some(last) if !last.is_empty() => one_line(&last.join("; ")),
        _ => "it said nothing".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str, dir: &Path) -> Result<Process, Failure> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        Process::start(command, "sh", dir.join("log")).await
    }

    #[tokio::test]
    async fn the_address_is_learnt_and_the_process_ends_with_its_value() {
        let dir = tempfile::tempdir().expect("a directory");
        let alive = dir.path().join("alive");
        let script = format!("mkfifo {0}; echo listening on 127.0.0.1:5; exec cat >/dev/null {0}", alive.display());
        let mut process = shell(&script, dir.path()).await.expect("started");
        assert_eq!(process.address, "127.0.0.1:5");
        assert!(process.is_running());
        let pid = process.child.id();
        drop(process);
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "the process was reaped");
    }

    #[tokio::test]
    async fn a_process_that_fails_at_start_is_quoted() {
        let dir = tempfile::tempdir().expect("a directory");
        let failure = shell("echo no port left >&2; exit 1", dir.path()).await.expect_err("it failed");
        assert_eq!(failure.to_string(), "sh did not start: no port left");
        let failure = shell("echo hello", dir.path()).await.expect_err("not the line that was agreed");
        assert!(failure.to_string().starts_with("sh did not start"));
    }
}
