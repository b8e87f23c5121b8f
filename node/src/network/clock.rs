//! Time, as the task of a network meets it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use p2p_chat_engine::Moment;

/// Completes at that time; never, if there is none.
pub(super) async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Milliseconds since 1970.
pub(crate) fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The present, for an engine that was started then.
pub(super) fn moment(started: Instant) -> Moment {
    Moment { now: started.elapsed().as_millis() as u64, wall_ms: wall_ms(), random: rand::random() }
}
