//! The connections that come in at the Unix socket.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::{UnixListener, UnixStream},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tracing::warn;

/// Pause after an accept that failed: out of file descriptors, it would fail again at once.
const PAUSE: Duration = Duration::from_millis(100);

/// The connections that come in at `listener`, ready for tonic. Never yields an error. Once it is dropped the socket is
/// closed.
pub(crate) fn incoming(listener: UnixListener) -> ReceiverStream<io::Result<UnixStream>> {
    let listener = Arc::new(listener);
    accepted(move || {
        let listener = Arc::clone(&listener);
        async move { listener.accept().await.map(|(stream, _)| stream) }
    })
}

fn accepted<T, F>(accept: impl Fn() -> F + Send + 'static) -> ReceiverStream<io::Result<T>>
where
    T: Send + 'static,
    F: Future<Output = io::Result<T>> + Send,
{
    let (sender, connections) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = accept() => accepted,
                () = sender.closed() => return,
            };
            match accepted {
                // Whoever takes it may have ended in the meantime.
                Ok(stream) => drop(sender.send(Ok(stream)).await),
                Err(error) => {
                    warn!(%error, "could not accept a connection to the local API");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    });
    ReceiverStream::new(connections)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio_stream::StreamExt;

    use super::*;

    #[tokio::test]
    async fn failed_accepts_are_survived_with_pauses() {
        let tries = AtomicU32::new(0);
        let mut connections = accepted(move || {
            let number = tries.fetch_add(1, Ordering::Relaxed);
            std::future::ready(if number < 2 { Err(io::ErrorKind::Other.into()) } else { Ok(number) })
        });
        let begun = tokio::time::Instant::now();
        let first = connections.next().await.expect("it never ends").expect("no error gets here");
        assert_eq!(first, 2);
        assert!(begun.elapsed() >= 2 * PAUSE);
    }
}
