//! What a run gets from outside: environment, streams, clock and signals. Tests hand in their own.

use std::{
    fmt,
    io::{self, BufWriter, IsTerminal, Read, Write},
};

use jiff::{civil::Date, tz::TimeZone};
use tokio::sync::watch;

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
            input_is_terminal: io::stdin().is_terminal(),
            today: jiff::Timestamp::now().to_zoned(zone.clone()).date(),
            zone,
            interrupt: Interrupt::on_signals()
                .map_err(|error| Failure::Failed(format!("cannot listen to signals: {error}; try again")))?,
        })
    }
}

/// Whether this process talks to a terminal that can show more than lines.
pub(crate) fn has_screen(env: &Env) -> bool {
    let is_able = env.text("TERM").is_some_and(|term| term != "dumb");
    is_able && io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Tells when the user or the system wants the process to stop. Clones are told together.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Receiver<u32>);

impl Interrupt {
    /// An interrupt and what triggers it: a change of the number.
    pub fn manual() -> (watch::Sender<u32>, Self) {
        let (trigger, seen) = watch::channel(0);
        (trigger, Self(seen))
    }

    /// Told by SIGINT and SIGTERM.
    fn on_signals() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (trigger, interrupt) = Self::manual();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    got = int.recv() => if got.is_none() { return },
                    got = term.recv() => if got.is_none() { return },
                }
                trigger.send_modify(|count| *count += 1);
            }
        });
        Ok(interrupt)
    }

    /// Waits for the next interrupt that this clone has not seen; for ever if there can be none.
    pub async fn wait(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
