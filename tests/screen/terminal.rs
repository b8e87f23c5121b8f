//! A terminal with a person in front of it: a tmux server of its own, without anybody's configuration.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use crate::support::{
    eventually,
    process::leash,
    wait::{ensure, secs},
};

/// How long something may take to appear: the machine may be busy.
const PATIENCE: std::time::Duration = secs(30);
/// The only session's only window.
const PANE: &str = "main:0";

/// Columns and lines.
pub(crate) type Size = (u16, u16);

/// A terminal, and the program that was started in it. Dropping it ends both.
pub(crate) struct Terminal {
    name: String,
    socket: PathBuf,
    server: Child,
}

/// What a program can have changed about its terminal, and whether it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Modes {
    pub(crate) alternate: bool,
    pub(crate) cursor: bool,
    pub(crate) mouse: bool,
    pub(crate) ended: bool,
}

impl Terminal {
    /// Whether there are any on this machine; why not.
    pub(crate) fn are_there() -> Result<(), String> {
        let version = Command::new("tmux").arg("-V").output();
        let runs = version.is_ok_and(|output| output.status.success());
        ensure(runs, || "there is no tmux; install it, on Debian with `apt-get install tmux`".to_owned())?;
        // Where it knows the option it is the path that is wrong with this: there is no such directory.
        let serves = Command::new("tmux").args(["-f", "/dev/null", "-D", "-S", "/nowhere/at/all"]).output();
        let says =
            serves.map_or_else(|error| error.to_string(), |output| String::from_utf8_lossy(&output.stderr).into());
        ensure(!says.contains("usage"), || "this tmux can't serve in the foreground (-D); take a later one".to_owned())
    }

    /// Starts a program in a new terminal, with `dir` as its home and no environment but what a terminal gives.
    pub(crate) async fn start(name: &str, dir: &Path, size: Size, words: &[&str]) -> Self {
        let socket = dir.join(format!("{name}.tmux"));
        // Whoever had the name before has ended, but its socket is still there.
        let _ = std::fs::remove_file(&socket);
        let leash = leash().iter().copied().chain(["tmux"]);
        let mut command = words_of(leash);
        command.args(["-u", "-f", "/dev/null", "-D", "-S"]).arg(&socket).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", dir);
        command.envs([
            ("LANG", "C.UTF-8"),
            ("TZ", "UTC"),
            ("TERM", "xterm-256color"),
            ("SHELL", "/bin/sh"),
            ("PS1", "$ "),
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = command.spawn().expect("tmux can be started");
        let terminal = Self { name: name.to_owned(), socket, server };
        eventually(PATIENCE, "a tmux server", async || {
            terminal.try_tmux(&["set-option", "-g", "remain-on-exit", "on"]).map(drop)
        })
        .await;
        let (columns, lines) = (size.0.to_string(), size.1.to_string());
        let home = dir.display().to_string();
        let session = ["new-session", "-d", "-s", "main", "-c", &home, "-x", &columns, "-y", &lines, "--"];
        terminal.tmux(&[&session, words].concat());
        terminal
    }

    /// What is on the screen.
    pub(crate) fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-t", PANE])
    }

    /// Waits until this text is on the screen.
    pub(crate) async fn shows(&self, text: &str) {
        self.until(&format!("{text:?}"), |screen| screen.contains(text)).await;
    }

    /// Waits until the screen is as wanted; gives it.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        eventually(PATIENCE, format!("{what} on the screen of {}", self.name), async || {
            let screen = self.screen();
            ensure(wanted(&screen), || format!("it shows\n{screen}"))?;
            Ok(screen)
        })
        .await
    }

    /// Waits until the terminal's modes are as wanted.
    pub(crate) async fn until_modes(&self, what: &str, wanted: impl Fn(Modes) -> bool) {
        eventually(PATIENCE, format!("{what} at the terminal of {}", self.name), async || {
            let modes = self.modes();
            ensure(wanted(modes), || format!("it has {modes:?} and shows\n{}", self.screen()))
        })
        .await;
    }

    /// The terminal's modes.
    pub(crate) fn modes(&self) -> Modes {
        let told = self.tmux(&[
            "display-message",
            "-p",
            "-t",
            PANE,
            "#{alternate_on} #{cursor_flag} #{mouse_any_flag} #{pane_dead}",
        ]);
        let mut flags = told.split_whitespace().map(|flag| flag == "1");
        let mut flag = || flags.next().unwrap_or(false);
        Modes { alternate: flag(), cursor: flag(), mouse: flag(), ended: flag() }
    }

    /// Types a text as it is.
    pub(crate) fn types(&self, text: &str) {
        self.tmux(&["send-keys", "-t", PANE, "-l", "--", text]);
    }

    /// Types a line and Enter.
    pub(crate) fn enters(&self, line: &str) {
        self.types(line);
        self.presses(&["Enter"]);
    }

    /// Presses keys, by their names at tmux: `C-z`, `M-1`, `PageUp`.
    pub(crate) fn presses(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys", "-t", PANE], keys].concat());
    }

    /// Pastes a text, in brackets where the program has asked for them.
    pub(crate) fn pastes(&self, text: &str) {
        let file = self.socket.with_extension("paste");
        std::fs::write(&file, text).expect("the directory is writable");
        let file = file.display().to_string();
        self.tmux(&["load-buffer", &file, ";", "paste-buffer", "-p", "-t", PANE]);
    }

    /// Makes the terminal larger or smaller.
    pub(crate) fn resize(&self, (columns, lines): Size) {
        self.tmux(&["resize-window", "-t", PANE, "-x", &columns.to_string(), "-y", &lines.to_string()]);
    }

    fn tmux(&self, words: &[&str]) -> String {
        self.try_tmux(words).unwrap_or_else(|error| panic!("tmux {words:?} failed: {error}"))
    }

    fn try_tmux(&self, words: &[&str]) -> Result<String, String> {
        let Output { status, stdout, stderr } = Command::new("tmux")
            .args(["-u", "-S"])
            .arg(&self.socket)
            .args(words)
            .output()
            .map_err(|error| error.to_string())?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if status.success() { Ok(text(stdout)) } else { Err(text(stderr)) }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.try_tmux(&["kill-server"]);
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn words_of<'a>(mut words: impl Iterator<Item = &'a str>) -> Command {
    let mut command = Command::new(words.next().unwrap_or("tmux"));
    command.args(words);
    command
}
