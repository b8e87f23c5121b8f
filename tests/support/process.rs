//! A child process: its output, its signals, its end.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::wait::{eventually, secs};

/// The program under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_p2p-chat");

/// What the user of the tests may have set.
const SETTINGS: [&str; 7] = [
    "P2P_CHAT_DATA_DIR",
    "P2P_CHAT_NDS",
    "P2P_CHAT_METRICS",
    "P2P_CHAT_OTLP",
    "RUST_LOG",
    "XDG_DATA_HOME",
    "XDG_CONFIG_HOME",
];

/// How long a process may take to say where it listens: the machine may be busy.
pub(crate) const START_DEADLINE: Duration = secs(30);

/// What a process left behind that ended by itself.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A child process. Dropping it kills it.
pub(crate) struct Process {
    name: String,
    child: Child,
    pid: Pid,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts `p2p-chat` with these arguments behind `prefix` (a command that ends by executing its arguments).
    /// Its output goes to files in `logs`. Nothing of the user's settings reaches it.
    pub(crate) fn start(name: &str, prefix: &[String], args: &[String], logs: &Path) -> Self {
        static RUN: AtomicUsize = AtomicUsize::new(1);
        let run = RUN.fetch_add(1, Ordering::Relaxed);
        let file = |kind: &str| logs.join(format!("{name}-{run:03}.{kind}"));
        let (stdout, stderr) = (file("out"), file("err"));
        let mut words = prefix.iter().map(String::as_str).chain(leash().iter().copied()).chain([BINARY]);
        let mut command = Command::new(words.next().unwrap_or(BINARY));
        command.args(words).args(args);
        if let Some(filter) = env::var_os("P2P_CHAT_TEST_LOG") {
            command.arg("--log").arg(filter);
        }
        for setting in SETTINGS {
            command.env_remove(setting);
        }
        command.env("HOME", logs).stdin(Stdio::null());
        command.stdout(File::create(&stdout).expect("the log directory is writable"));
        command.stderr(File::create(&stderr).expect("the log directory is writable"));
        let child = command.spawn().unwrap_or_else(|error| panic!("could not start {command:?}: {error}"));
        let pid = Pid::from_child(&child);
        Self { name: name.to_owned(), child, pid, stdout, stderr }
    }

    /// Waits for the line `listening on HOST:PORT`. An error if the process ends before.
    pub(crate) async fn listening(&mut self) -> Result<String, Finished> {
        let what = format!("the start of {}", self.name);
        eventually(START_DEADLINE, what, async || {
            let ended = self.finished();
            let said = fs::read_to_string(&self.stdout).unwrap_or_default();
            match (said.split_once('\n'), ended) {
                (Some((line, _)), _) => match line.strip_prefix("listening on ") {
                    Some(address) => Ok(Ok(address.to_owned())),
                    None => panic!("{} said {line:?} instead of where it listens", self.name),
                },
                (None, Some(finished)) => Ok(Err(finished)),
                (None, None) => Err(format!("it logged: {}", self.tail(5))),
            }
        })
        .await
    }

    /// What the process left, if it has ended.
    pub(crate) fn finished(&mut self) -> Option<Finished> {
        let status = self.child.try_wait().expect("the child can be waited for")?;
        let read = |path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        Some(Finished { status, stdout: read(&self.stdout), stderr: read(&self.stderr) })
    }

    /// Waits for the process to end by itself.
    pub(crate) async fn end(&mut self, deadline: Duration) -> Finished {
        let what = format!("the end of {}", self.name);
        eventually(deadline, what, async || self.finished().ok_or_else(|| "it still runs".to_owned())).await
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap_or_else(|error| panic!("could not signal {}: {error}", self.name));
    }

    /// `kill -9`, and waits until the system has taken the process away.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the child can be killed");
        self.child.wait().expect("the child can be waited for");
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory now and at its highest, in KiB.
    pub(crate) fn memory_kib(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name))?;
            value.trim().trim_end_matches(" kB").parse().ok()
        };
        (line("VmRSS:").unwrap_or(0), line("VmHWM:").unwrap_or(0))
    }

    /// All of its log so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap_or_default()).into_owned()
    }

    /// The last lines of its log.
    pub(crate) fn tail(&self, lines: usize) -> String {
        tail(&self.stderr, lines)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command that makes the system end a process with the thread that started it, where there is one: for tests that
/// are killed before they can clean up.
pub(crate) fn leash() -> &'static [&'static str] {
    const LEASH: &[&str] = &["setpriv", "--pdeathsig", "KILL"];
    static WORKS: LazyLock<bool> = LazyLock::new(|| {
        let tried = Command::new(LEASH[0]).args(&LEASH[1..]).arg("true").stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    });
    if *WORKS { LEASH } else { &[] }
}

/// The last lines of a file.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
}

/// Runs `p2p-chat` to its end, for commands that end by themselves.
pub(crate) async fn run(args: &[&str], logs: &Path) -> Finished {
    let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    Process::start("command", &[], &args, logs).end(secs(30)).await
}
