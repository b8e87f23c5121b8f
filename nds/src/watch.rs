//! The stream of `WatchNetworks`: what exists, then what changes.

use p2p_chat_model::NetworkId;
use p2p_chat_proto::{
    convert::ToWire,
    v1::{WatchNetworksResponse, watch_networks_response::Change},
};
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::{error::CallError, registrar::Registrar, wire};

/// Most messages that wait for one reader.
const MAX_WAITING: usize = 16;
/// Records that are copied out of the registry at once.
const CHUNK: usize = 64;

pub(crate) type Changes = ReceiverStream<Result<WatchNetworksResponse, Status>>;

/// Streams until the reader hangs up, falls behind, or `stopping` becomes true. Holds `place` so long.
pub(crate) fn watch(registrar: Registrar, mut stopping: watch::Receiver<bool>, place: OwnedSemaphorePermit) -> Changes {
    let (reader, changes) = mpsc::channel(MAX_WAITING);
    tokio::spawn(async move {
        let end = tokio::select! {
            biased;
            // The service is gone as well when the sender of this is.
            _ = stopping.wait_for(|is_stopping| *is_stopping) => CallError::Stopping,
            () = reader.closed() => return,
            end = feed(&registrar, &reader) => match end {
                Some(error) => error,
                None => return,
            },
        };
        // The reader may have no room for it, but it must not hold up a shutdown.
        tokio::select! {
            _ = stopping.wait_for(|is_stopping| *is_stopping) => drop(reader.try_send(Err(end.into()))),
            _ = reader.send(Err(end.clone().into())) => {}
        }
        drop(place);
    });
    ReceiverStream::new(changes)
}

/// Feeds the reader. `None`: it hung up.
async fn feed(
    registrar: &Registrar,
    reader: &mpsc::Sender<Result<WatchNetworksResponse, Status>>,
) -> Option<CallError> {
    // Before the list is read, so that nothing falls between. A change only names its network, and what is on
    // record is looked up when it is sent: nothing older can follow something newer.
    let mut changed = registrar.changes();
    let mut after = None;
    loop {
        let chunk = registrar.read(|registry, now| {
            let listed = registry.list(after.as_ref()).take(CHUNK);
            let both = listed.map(|found| (found.name().clone(), wire::record(found, registry.is_stale(found, now))));
            both.collect::<Vec<_>>()
        });
        if chunk.is_empty() {
            break;
        }
        for (name, record) in chunk {
            send(reader, Change::Updated(record)).await?;
            after = Some(name);
        }
    }
    send(reader, Change::Synced(true)).await?;
    loop {
        match changed.recv().await {
            Ok(network) => send(reader, current(registrar, network)).await?,
            Err(broadcast::error::RecvError::Lagged(_)) => return Some(CallError::Lagged),
            Err(broadcast::error::RecvError::Closed) => return Some(CallError::Stopping),
        }
    }
}

fn current(registrar: &Registrar, network: NetworkId) -> Change {
    registrar.read(|registry, now| match registry.record(&network) {
        Some(record) => Change::Updated(wire::record(record, registry.is_stale(record, now))),
        None => Change::Removed(network.to_wire()),
    })
}

async fn send(reader: &mpsc::Sender<Result<WatchNetworksResponse, Status>>, change: Change) -> Option<()> {
    reader.send(Ok(WatchNetworksResponse { change: Some(change) })).await.ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;
    use tokio_stream::StreamExt;

    use super::*;
    use crate::{
        clock::Clock,
        registry::{Registry, Terms},
        store::Store,
        testing::lab,
    };

    #[tokio::test]
    async fn a_reader_that_is_too_slow_is_cut_off() {
        let (store, registry) = (Store::in_memory().unwrap(), Registry::new(Terms::default()));
        let (registrar, _running) = Registrar::start(store, registry, Clock::start(), Arc::default());
        let (_stop, stopping) = watch::channel(false);
        let places = Arc::new(Semaphore::new(1));
        let mut changes = watch(registrar.clone(), stopping, places.clone().try_acquire_owned().unwrap());
        let first = changes.next().await.unwrap().unwrap();
        assert_eq!(first.change, Some(Change::Synced(true)));
        registrar.announce(vec![lab(); 5_000]);
        let mut seen = 0;
        let end = loop {
            match changes.next().await.expect("an error before the end") {
                Ok(change) => assert_eq!(change.change, Some(Change::Removed(lab().to_wire()))),
                Err(status) => break status,
            }
            seen += 1;
        };
        assert_eq!(end.code(), tonic::Code::Aborted, "after {seen} changes");
        assert!(changes.next().await.is_none());
        assert!(places.acquire().await.is_ok(), "its place is free again");
    }
}
