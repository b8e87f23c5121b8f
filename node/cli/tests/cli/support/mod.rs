//! A run of the command line in a world of its own: directory, environment, streams, signals.

mod fake;
mod host;
mod streams;

use std::{
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::{civil::date, tz::TimeZone};
use p2p_chat_cli::{Cli, Env, Interrupt, Surroundings, Waits, run_in};
use tokio::sync::{oneshot, watch};

pub(crate) use fake::{ALICE, BOB, FakeNode, info, member, message, network_state, notice};
pub(crate) use host::{FakeHost, Started};
pub(crate) use streams::{Closed, Keyboard, Screen};

/// Below the patience of these tests.
const LONG: Waits = Waits { noticeable: Duration::from_secs(15), last_words: Duration::from_secs(15) };

/// What a run left behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A directory, an environment and a host.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) host: Arc<FakeHost>,
    pub(crate) env: Vec<(&'static str, String)>,
    pub(crate) is_terminal: bool,
    pub(crate) output_is_closed: bool,
    /// Where the next run can see that whoever reads its output has gone.
    pub(crate) out_pipe: Mutex<Option<OwnedFd>>,
    /// Longer than in life: a busy machine is not a slow node.
    pub(crate) waits: Waits,
}

/// A run that goes on.
pub(crate) struct Ongoing {
    pub(crate) out: Screen,
    pub(crate) err: Screen,
    pub(crate) keyboard: Keyboard,
    interrupt: watch::Sender<u32>,
    code: oneshot::Receiver<u8>,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let env = vec![("HOME", dir.path().display().to_string()), ("USER", "alice".to_owned())];
        Self {
            dir,
            host: Arc::default(),
            env,
            is_terminal: false,
            output_is_closed: false,
            out_pipe: Mutex::default(),
            waits: LONG,
        }
    }

    /// Runs a command to its end, with nothing to read.
    pub(crate) async fn run(&self, args: &[&str]) -> Outcome {
        self.run_with_input(args, b"").await
    }

    pub(crate) async fn run_with_input(&self, args: &[&str], input: &[u8]) -> Outcome {
        let ongoing = self.start(args);
        ongoing.keyboard.bytes(input);
        ongoing.end_of_input().await
    }

    /// Starts a command that goes on until it is told to stop.
    pub(crate) fn start(&self, args: &[&str]) -> Ongoing {
        let cli = Cli::try_parse(args).unwrap_or_else(|error| panic!("{args:?}: {error}"));
        let (out, err, keyboard) = (Screen::default(), Screen::default(), Keyboard::default());
        let (trigger, interrupt) = Interrupt::manual();
        let surroundings = Surroundings {
            env: self.env.iter().cloned().collect::<Env>(),
            out: if self.output_is_closed { Box::new(Closed) } else { Box::new(out.clone()) },
            err: Box::new(err.clone()),
            input: Box::new(keyboard.clone()),
            out_is_terminal: self.is_terminal,
            out_pipe: self.out_pipe.lock().expect("not poisoned").take(),
            input_is_terminal: self.is_terminal,
            has_screen: false,
            zone: TimeZone::UTC,
            today: date(2025, 11, 20),
            interrupt,
            waits: self.waits,
        };
        let host = self.host.clone();
        // As in the program: a runtime of its own, which ends with the run.
        let (sender, code) = oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let code = runtime.block_on(run_in(cli, &*host, surroundings));
            // Like the end of a process: nothing of it answers any more when the next one starts.
            drop(runtime);
            let _ = sender.send(code);
        });
        Ongoing { out, err, keyboard, interrupt: trigger, code }
    }
}

impl Ongoing {
    /// As by Ctrl-C.
    pub(crate) fn interrupt(&self) {
        self.interrupt.send_modify(|count| *count += 1);
    }

    pub(crate) async fn end_of_input(self) -> Outcome {
        self.keyboard.end();
        self.end().await
    }

    pub(crate) async fn interrupted(self) -> Outcome {
        self.interrupt();
        self.end().await
    }

    pub(crate) async fn end(self) -> Outcome {
        let code = streams::soon("the end of the run", self.code).await.expect("no panic");
        self.keyboard.end();
        Outcome { code, out: self.out.text(), err: self.err.text() }
    }
}

trait TryParse: Sized {
    fn try_parse(args: &[&str]) -> Result<Self, String>;
}

impl TryParse for Cli {
    fn try_parse(args: &[&str]) -> Result<Self, String> {
        let args = [&["p2p-chat"], args].concat();
        p2p_chat_cli::parse_from(args).map_err(|error| error.to_string())
    }
}

/// What a run that went well left behind.
pub(crate) fn ok(out: &str) -> Outcome {
    Outcome { code: 0, out: out.to_owned(), err: String::new() }
}

/// What a run that failed left behind.
pub(crate) fn failed(code: u8, err: &str) -> Outcome {
    Outcome { code, out: String::new(), err: format!("p2p-chat: {err}\n") }
}

/// What reading from nowhere gives.
pub(crate) fn closed() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}
