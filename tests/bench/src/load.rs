//! The senders: each at its own pace, or as fast as what it sends is taken.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use tokio::task::JoinSet;

use crate::board::Board;

/// Has every sender send all its messages. `send` is called with the number of the sender and a text, and returns
/// when the text is accepted. Returns how long it took until all were.
///
/// With a rate, the messages of a sender are due at even times, whatever became of the ones before; only as many as
/// may be in flight can be overdue. The senders' times are spread over one interval.
pub(crate) async fn send_all<S, F>(board: &Arc<Board>, at_once: usize, send: S) -> Result<Duration>
where
    S: Fn(usize, String) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<()>> + Send,
{
    let load = board.load;
    let began = Instant::now();
    let mut workers = JoinSet::<Result<()>>::new();
    for sender in 0..load.senders {
        let next = Arc::new(AtomicUsize::new(0));
        for _ in 0..at_once.clamp(1, load.messages.max(1)) {
            let (board, next, send) = (Arc::clone(board), Arc::clone(&next), send.clone());
            workers.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= load.messages {
                        return Ok(());
                    }
                    if load.rate > 0 {
                        let intervals = number as f64 + sender as f64 / load.senders as f64;
                        let due = began + Duration::from_secs_f64(intervals / f64::from(load.rate));
                        tokio::time::sleep_until(due.into()).await;
                    }
                    send(sender, board.text(sender, number)).await?;
                }
            });
        }
    }
    while let Some(ended) = workers.join_next().await {
        ended.map_err(|error| anyhow!("bug: a sender broke: {error}"))??;
    }
    Ok(began.elapsed())
}

/// Waits until so many messages have arrived, or none has for `patience`.
pub(crate) async fn arrivals(board: &Board, expected: u64, patience: Duration) {
    reaches(|| board.arrived(), expected, patience).await;
}

/// Waits until the authors have seen of all messages that all others have them, or of no more for `patience`.
pub(crate) async fn acknowledgements(board: &Board, patience: Duration) {
    reaches(|| board.acked_all(), board.load.total() as u64, patience).await;
}

async fn reaches(count: impl Fn() -> u64, expected: u64, patience: Duration) {
    const LOOK: Duration = Duration::from_millis(10);
    let (mut before, mut since) = (0, Instant::now());
    loop {
        let now = count();
        if now >= expected {
            return;
        }
        if now > before {
            (before, since) = (now, Instant::now());
        } else if since.elapsed() > patience {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}
