//! The only place that lets time pass.

use std::{fmt::Display, time::Duration};

use tokio::time::{Instant, sleep, timeout};

const INTERVAL: Duration = Duration::from_millis(20);

/// Probes until it succeeds, and panics with its last complaint when the deadline passes.
pub(crate) async fn eventually<T>(
    deadline: Duration,
    what: impl Display,
    probe: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let done = within(deadline, probe).await;
    done.unwrap_or_else(|complaint| panic!("{what} did not happen within {deadline:?}: {complaint}"))
}

/// Probes until it succeeds, or the deadline passes; then its last complaint.
pub(crate) async fn within<T>(
    deadline: Duration,
    mut probe: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, String> {
    let end = Instant::now() + deadline;
    let mut complaint = "it never answered".to_owned();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match timeout(left, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(now)) => complaint = now,
            Err(_) => return Err(complaint),
        }
        // A probe that never waits is never late.
        if left.is_zero() {
            return Err(complaint);
        }
        sleep(INTERVAL).await;
    }
}

/// Keeps a fault, or a load, up for a while: the duration is part of the test's story, not a wait for something.
pub(crate) async fn let_pass(duration: Duration) {
    sleep(duration).await;
}

/// An error unless `fact` holds.
pub(crate) fn ensure(fact: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if fact { Ok(()) } else { Err(otherwise()) }
}

/// Seconds, for short.
pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
