//! What a run gets from outside: environment, streams, clock and signals. Tests hand in their own.

use std::{
    fmt,
    io::{self, BufWriter, IsTerminal, Read, Write},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::watch,
};

use crate::{failure::Failure, settings::Env};

/// Everything a run gets from outside.
pub struct Surroundings {
    /// The environment variables.
    pub env: Env,
    /// Where output goes.
    pub out: Box<dyn Write + Send>,
    /// Where errors, warnings and progress go.
    pub err: Box<dyn Write + Send>,
    /// Where input comes from. Read in a thread of its own that ends with the process.
    pub input: Box<dyn Read + Send>,
    /// Whether stdout is a terminal.
    pub out_is_terminal: bool,
    /// Where it can be seen that whoever reads the output has gone; nothing where nobody reads as it comes.
    pub out_pipe: Option<OwnedFd>,
    /// Whether stdin is a terminal, so that what is typed can be seen already.
    pub input_is_terminal: bool,
    /// Whether both are terminals that can show a screen, which is then taken from and given back to them directly.
    pub has_screen: bool,
    /// In which zone times are shown.
    pub zone: TimeZone,
    /// The date that is not printed because it is obvious.
    pub today: Date,
    /// Tells when to stop.
    pub interrupt: Interrupt,
    /// How long it waits.
    pub waits: Waits,
}

/// How long a run waits before it says so, or goes on without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// What takes longer is worth a word to the user.
    pub noticeable: Duration,
    /// How long after the end of the input of a chat the own messages may take to come back and be printed.
    pub last_words: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self { noticeable: Duration::from_millis(1_500), last_words: Duration::from_secs(2) }
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("out_is_terminal", &self.out_is_terminal).finish_non_exhaustive()
    }
}

impl Surroundings {
    /// Those of this process. From here on SIGINT and SIGTERM no longer end it by themselves.
    ///
    /// # Errors
    /// When the signal handlers can't be installed. Must be called inside a Tokio runtime.
    pub fn of_process() -> Result<Self, Failure> {
        let env = Env::of_process();
        let zone = TimeZone::try_system().unwrap_or(TimeZone::UTC);
        Ok(Self {
            has_screen: has_screen(&env),
            env,
            out: Box::new(BufWriter::new(io::stdout())),
            err: Box::new(io::stderr()),
            input: Box::new(io::stdin()),
            out_is_terminal: io::stdout().is_terminal(),
            // Without it the loss is seen at the next write.
            out_pipe: io::stdout().as_fd().try_clone_to_owned().ok().filter(|out| !out.is_terminal()),
            input_is_terminal: io::stdin().is_terminal(),
            today: now().to_zoned(zone.clone()).date(),
            zone,
            interrupt: Interrupt::on_signals()
                .map_err(|error| Failure::Failed(format!("cannot listen to signals: {error}; try again")))?,
            waits: Waits::default(),
        })
    }
}

/// Waits until whoever reads from this pipe or socket has gone; for ever where it is neither.
pub(crate) async fn reader_gone(pipe: Option<OwnedFd>) {
    #[expect(deprecated, reason = "an `OwnedFd` is what it should have asked for: it stays open while it is watched")]
    let watch = |pipe| AsyncFd::with_interest(pipe, Interest::WRITABLE);
    // The system refuses to watch files.
    let watched = pipe.and_then(|pipe| watch(pipe).ok());
    if let Some(watched) = watched {
        while let Ok(mut seen) = watched.ready(Interest::WRITABLE).await {
            if seen.ready().is_write_closed() {
                return;
            }
            // It says so again when somebody has read, and when the reader goes.
            seen.clear_ready();
        }
    }
    std::future::pending::<()>().await;
}

/// The present; the beginning of 1970 where the system's clock is out of all bounds.
pub(crate) fn now() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Whether this process talks to a terminal that can show more than lines.
pub(crate) fn has_screen(env: &Env) -> bool {
    let is_able = env.text("TERM").is_some_and(|term| term != "dumb");
    is_able && io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Tells when the user or the system wants the process to stop. Clones are told together.
#[derive(Debug, Clone)]
pub struct Interrupt {
    seen: watch::Receiver<u32>,
    /// Whether SIGINT is meant for another program.
    is_lent: Arc<AtomicBool>,
}

impl Interrupt {
    /// An interrupt and what triggers it: a change of the number.
    pub fn manual() -> (watch::Sender<u32>, Self) {
        let (trigger, seen) = watch::channel(0);
        (trigger, Self { seen, is_lent: Arc::default() })
    }

    /// Told by SIGINT and SIGTERM.
    fn on_signals() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (trigger, interrupt) = Self::manual();
        let is_lent = Arc::clone(&interrupt.is_lent);
        tokio::spawn(async move {
            loop {
                let is_for_others = tokio::select! {
                    got = int.recv() => if got.is_none() { return } else { is_lent.load(Ordering::SeqCst) },
                    got = term.recv() => if got.is_none() { return } else { false },
                };
                if !is_for_others {
                    trigger.send_modify(|count| *count += 1);
                }
            }
        });
        Ok(interrupt)
    }

    /// Leaves SIGINT to another program that has the terminal, until what is returned is dropped: Ctrl-C goes to both.
    pub(crate) fn lend(&self) -> Lent {
        self.is_lent.store(true, Ordering::SeqCst);
        Lent(Arc::clone(&self.is_lent))
    }

    /// Whether SIGINT is left to another program.
    #[cfg(test)]
    pub(crate) fn is_lent(&self) -> bool {
        self.is_lent.load(Ordering::SeqCst)
    }

    /// Waits for the next interrupt that this clone has not seen; for ever if there can be none.
    pub async fn wait(&mut self) {
        if self.seen.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// SIGINT is meant for another program.
pub(crate) struct Lent(Arc<AtomicBool>);

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Pid, Signal, getpid, kill_process};
    use tokio::{
        signal::unix::{SignalKind, signal},
        time::timeout,
    };

    use super::*;

    /// How long what has to happen may take.
    const SOON: Duration = Duration::from_secs(20);

    async fn is_sent(which: Signal, seen: &mut tokio::signal::unix::Signal) {
        let me: Pid = getpid();
        kill_process(me, which).expect("a signal to oneself");
        timeout(SOON, seen.recv()).await.expect("it came");
    }

    #[tokio::test]
    async fn the_reader_of_a_pipe_or_socket_is_seen_to_go() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let (peer, socket) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
        for (reader, writer) in [(OwnedFd::from(reader), OwnedFd::from(writer)), (peer.into(), socket.into())] {
            let mut gone = std::pin::pin!(reader_gone(Some(writer)));
            let early = timeout(Duration::from_millis(50), &mut gone).await;
            assert!(early.is_err(), "it is there");
            drop(reader);
            timeout(SOON, gone).await.expect("seen");
        }
        let file = OwnedFd::from(tempfile::tempfile().expect("a file"));
        assert!(timeout(Duration::from_millis(50), reader_gone(Some(file))).await.is_err(), "a file has no reader");
    }

    #[tokio::test]
    async fn an_interrupt_by_key_is_left_to_another_program_and_a_request_to_end_is_not() {
        let mut interrupt = Interrupt::on_signals().expect("handlers");
        let mut int = signal(SignalKind::interrupt()).expect("a handler");
        let mut term = signal(SignalKind::terminate()).expect("a handler");
        let lent = interrupt.lend();
        is_sent(Signal::INT, &mut int).await;
        is_sent(Signal::TERM, &mut term).await;
        timeout(SOON, interrupt.wait()).await.expect("told by SIGTERM");
        // Whatever has come is taken in meanwhile.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(*interrupt.seen.borrow(), 1, "SIGINT told nothing");
        drop(lent);
        is_sent(Signal::INT, &mut int).await;
        timeout(SOON, interrupt.wait()).await.expect("told by SIGINT");
    }
}
