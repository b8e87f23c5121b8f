//! `demo`: a discovery service and four nodes as real processes of this very program, a conversation, the death of
//! the leader, and what holds afterwards.

mod checks;
mod process;
mod script;
mod stage;

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{
    console::{Console, one_line},
    failure::Failure,
    host::Host,
    render::text::count,
    run::{Run, interrupted},
};

/// How long anything may take that the demo waits for.
const LIMIT: Duration = Duration::from_secs(30);
/// How often to look whether it has happened.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// `p2p-chat demo`. The processes end and their data goes on every way out of here.
pub(crate) async fn run<H: Host>(run: &mut Run<'_, H>) -> Result<(), Failure> {
    let mut narrator = Narrator { console: &mut run.console, started: Instant::now() };
    let checks = tokio::select! {
        checks = script::play(&mut narrator) => checks?,
        () = run.interrupt.wait() => return Err(interrupted()),
    };
    narrator.summary(&checks)
}

/// Tells what happens, and when.
struct Narrator<'a> {
    console: &'a mut Console,
    started: Instant,
}

impl Narrator<'_> {
    /// A part of the play begins.
    fn part(&mut self, title: &str) -> Result<(), Failure> {
        self.console.progress(format!("\n== {title}"))?;
        self.console.flush()
    }

    /// Something happened.
    fn step(&mut self, what: impl AsRef<str>) -> Result<(), Failure> {
        let seconds = self.started.elapsed().as_secs_f64();
        self.console.progress(format!("{seconds:7.3} s  {}", one_line(what.as_ref())))?;
        self.console.flush()
    }

    fn summary(&mut self, checks: &[checks::Check]) -> Result<(), Failure> {
        self.part("What held")?;
        for check in checks {
            if self.console.json {
                self.console.object(check)?;
            } else {
                let mark = if check.passed { "ok    " } else { "FAILED" };
                self.console.line(format!("{mark}  {}: {}", check.check, one_line(&check.detail)))?;
            }
        }
        let passed = checks.iter().filter(|check| check.passed).count();
        let all = count(checks.len() as u64, "check");
        self.console.progress(format!("\n{passed} of {all} passed"))?;
        if passed == checks.len() {
            return Ok(());
        }
        Err(Failure::Failed(format!("{} failed; see above", count((checks.len() - passed) as u64, "check"))))
    }
}

/// Looks again and again until there is something.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<Option<T>, Failure>) -> Result<T, Failure> {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            let limit = LIMIT.as_secs();
            return Err(Failure::TimedOut(format!("{what} did not happen within {limit} s; the demo ends here")));
        }
        sleep(LOOK_AGAIN).await;
    }
}
