//! The stream of `WatchNetworks`: what exists, then what changes.

use std::{convert::Infallible, time::Duration};

use p2p_chat_model::NetworkId;
use p2p_chat_proto::{
    convert::ToWire,
    v1::{WatchNetworksResponse, watch_networks_response::Change},
};
use p2p_chat_transport::Place;
use tokio::{
    sync::{broadcast, mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::{error::CallError, registrar::Registrar, wire};

/// Most messages that wait for one reader.
const MAX_WAITING: usize = 16;
/// Records that are copied out of the registry at once.
const CHUNK: usize = 64;
/// How long a reader may take until there is room for one more message.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

type Message = Result<WatchNetworksResponse, Status>;
pub(crate) type Changes = ReceiverStream<Message>;

/// Streams until the reader hangs up, falls behind, takes nothing for `patience`, or `stopping` becomes true. Holds
/// `place` so long. The reader is told why, after what it has not read yet.
pub(crate) fn watch(
    registrar: Registrar,
    mut stopping: watch::Receiver<bool>,
    place: Place,
    patience: Duration,
) -> Changes {
    // One more than may wait: for how it ends there is always room.
    let (reader, changes) = mpsc::channel(MAX_WAITING + 1);
    tokio::spawn(async move {
        let Ok(last) = reader.clone().reserve_owned().await else { return };
        let patient = Reader { messages: &reader, patience };
        let end = tokio::select! {
            biased;
            // The service is gone as well when the sender of this is.
            _ = stopping.wait_for(|is_stopping| *is_stopping) => CallError::Stopping,
            () = reader.closed() => return,
            Err(end) = feed(&registrar, &patient) => end,
        };
        last.send(Err(end.into()));
        drop(place);
    });
    ReceiverStream::new(changes)
}

/// Feeds the reader until there is a reason not to.
async fn feed(registrar: &Registrar, reader: &Reader<'_>) -> Result<Infallible, CallError> {
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
            reader.send(Change::Updated(record)).await?;
            after = Some(name);
        }
    }
    reader.send(Change::Synced(true)).await?;
    loop {
        match changed.recv().await {
            Ok(network) => reader.send(current(registrar, network)).await?,
            Err(broadcast::error::RecvError::Lagged(_)) => return Err(CallError::Lagged),
            Err(broadcast::error::RecvError::Closed) => return Err(CallError::Stopping),
        }
    }
}

fn current(registrar: &Registrar, network: NetworkId) -> Change {
    registrar.read(|registry, now| match registry.record(&network) {
        Some(record) => Change::Updated(wire::record(record, registry.is_stale(record, now))),
        None => Change::Removed(network.to_wire()),
    })
}

/// Who watches, and how long it may take to read.
struct Reader<'a> {
    messages: &'a mpsc::Sender<Message>,
    patience: Duration,
}

impl Reader<'_> {
    async fn send(&self, change: Change) -> Result<(), CallError> {
        let message = Ok(WatchNetworksResponse { change: Some(change) });
        match timeout(self.patience, self.messages.send(message)).await {
            Ok(Ok(())) => Ok(()),
            // Or it hung up, and is told nothing.
            Ok(Err(_)) | Err(_) => Err(CallError::Lagged),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::Arc};

    use p2p_chat_transport::Places;
    use tokio_stream::StreamExt;

    use super::*;
    use crate::{
        clock::Clock,
        registry::{Registry, Terms},
        store::Store,
        testing::lab,
    };

    fn watching(patience: Duration) -> (Registrar, Changes, Places, impl Sized) {
        let (store, registry) = (Store::in_memory().unwrap(), Registry::new(Terms::default()));
        let (registrar, running) = Registrar::start(store, registry, Clock::start(), Arc::default());
        let (stop, stopping) = watch::channel(false);
        let places = Places::new(1);
        let place = places.take(Ipv4Addr::LOCALHOST.into()).unwrap();
        let changes = watch(registrar.clone(), stopping, place, patience);
        (registrar, changes, places, (running, stop))
    }

    /// What the stream still has, and how it ends.
    async fn rest(changes: &mut Changes) -> (usize, Status) {
        let mut seen = 0;
        loop {
            match changes.next().await.expect("an error before the end") {
                Ok(change) => assert_eq!(change.change, Some(Change::Removed(lab().to_wire()))),
                Err(status) => return (seen, status),
            }
            seen += 1;
        }
    }

    #[tokio::test]
    async fn a_reader_that_is_too_slow_is_cut_off() {
        let (registrar, mut changes, places, _running) = watching(PATIENCE);
        let first = changes.next().await.unwrap().unwrap();
        assert_eq!(first.change, Some(Change::Synced(true)));
        registrar.announce(vec![lab(); 5_000]);
        let (seen, end) = rest(&mut changes).await;
        assert_eq!(end.code(), tonic::Code::Aborted, "after {seen} changes");
        assert!(changes.next().await.is_none());
        assert_eq!(places.taken_by_all(), 0, "its place is free again");
    }

    #[tokio::test]
    async fn a_reader_that_reads_nothing_loses_its_place_and_is_told_why() {
        let (registrar, mut changes, places, _running) = watching(Duration::from_millis(1));
        let first = changes.next().await.unwrap().unwrap();
        assert_eq!(first.change, Some(Change::Synced(true)));
        registrar.announce(vec![lab(); MAX_WAITING + 1]);
        let freed = async {
            while places.taken_by_all() > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, freed).await.expect("its place is free again");
        let (seen, end) = rest(&mut changes).await;
        assert_eq!((seen, end.code()), (MAX_WAITING, tonic::Code::Aborted));
        assert!(changes.next().await.is_none());
    }
}
