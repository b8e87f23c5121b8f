//! The time since 1970, as the service goes by it.

use std::time::{Duration, Instant, SystemTime};

/// Reads the wall clock once and counts on from there, so that setting the clock back or forth neither revives nor
/// purges a network while the service runs. In whole milliseconds, as times are stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Duration,
    since: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { started, since: Instant::now() }
    }

    pub(crate) fn now(&self) -> Duration {
        let now = self.started + self.since.elapsed();
        now - Duration::from_nanos(u64::from(now.subsec_nanos() % 1_000_000))
    }
}
