//! What is streamed to members that catch up: only so much at a time, as a stream that nobody reads holds memory.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use p2p_chat_model::{NetworkId, PeerId, VectorClock};
use p2p_chat_proto::v1;
use p2p_chat_store::Store;
use p2p_chat_transport::Hangup;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tokio_stream::Stream;
use tonic::Status;

/// Fetches that are served at one time. Each holds up to three chunks: one that waits here, two on their way out.
const MAX_FETCHES: usize = 32;
/// Fetches that are served to one peer at one time: it makes one in each network, and makes it again when it breaks. Once
/// half of the places are taken, the others are for peers that have none.
const MAX_FETCHES_PER_PEER: usize = 4;
/// Most bytes of runs in one chunk, unless one run alone is larger. Who fetches waits for each for a few seconds only, so it
/// has to go through a slow line in that time.
pub(super) const CHUNK_BYTES: usize = 256 << 10;
/// How long a fetch may take. Above the turn that members give one source.
const MAX_FETCH_TIME: Duration = Duration::from_secs(120);
/// How long a chunk may wait until the one before is taken. Above what members wait for a chunk.
pub(super) const CHUNK_TIMEOUT: Duration = Duration::from_secs(20);

type Chunk = Result<v1::FetchResponse, Status>;

/// The fetches that are being served.
#[derive(Debug, Default)]
pub(crate) struct Fetches {
    under_way: Mutex<BTreeMap<PeerId, usize>>,
}

impl Fetches {
    /// A place for one more fetch of `peer`, if there is one.
    pub(super) fn place(self: &Arc<Self>, peer: PeerId) -> Result<Place, Status> {
        let mut under_way = self.under_way();
        let (all, of_peer) = (under_way.values().sum::<usize>(), under_way.get(&peer).copied().unwrap_or(0));
        let share = if all < MAX_FETCHES / 2 { MAX_FETCHES_PER_PEER } else { 1 };
        if all >= MAX_FETCHES || of_peer >= share {
            return Err(Status::resource_exhausted("too many fetches at once, try again in a moment"));
        }
        under_way.insert(peer, of_peer + 1);
        Ok(Place { fetches: Arc::clone(self), peer })
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeMap<PeerId, usize>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one fetch. Dropping it frees it.
#[derive(Debug)]
pub(super) struct Place {
    fetches: Arc<Fetches>,
    peer: PeerId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = self.fetches.under_way();
        let left = under_way.remove(&self.peer).unwrap_or(0).saturating_sub(1);
        if left > 0 {
            under_way.insert(self.peer, left);
        }
    }
}

/// The answer to a fetch. It has its place until the last chunk is out, or the caller has hung up: not only until it is
/// made, as what is made and not read is in memory.
pub(crate) struct Chunks {
    chunks: mpsc::Receiver<Chunk>,
    _place: Place,
}

impl Chunks {
    /// What is stored of `network` beyond `have`, chunk by chunk, as fast as the caller reads. When it does not read for
    /// `patience` this ends with an error, and its connection is closed: nothing else would free what waits there.
    pub(super) fn new(
        (place, hangup): (Place, Option<Hangup>),
        (store, network): (Store, NetworkId),
        have: VectorClock,
        (size, patience): (usize, Duration),
    ) -> Self {
        // One chunk may wait, and beside it there is always room for how it ends.
        let (sender, chunks) = mpsc::channel(2);
        tokio::spawn(async move {
            let Ok(end) = sender.clone().reserve_owned().await else { return };
            let (mut cursor, last) = (None, Instant::now() + MAX_FETCH_TIME);
            loop {
                let until = last.min(Instant::now() + patience);
                let room = match timeout_at(until, sender.reserve()).await {
                    Ok(Ok(room)) if Instant::now() < last => room,
                    Ok(Err(_)) => return,
                    Ok(Ok(_)) | Err(_) => {
                        end.send(Err(Status::aborted("the fetch was read too slowly; fetch again")));
                        hangup.inspect(Hangup::hang_up);
                        return;
                    }
                };
                match store.runs_beyond(network, &have, cursor, size).await {
                    Ok((runs, next)) => {
                        room.send(Ok(v1::FetchResponse { runs }));
                        cursor = next;
                    }
                    Err(error) => {
                        room.send(Err(Status::resource_exhausted(error.to_string())));
                        return;
                    }
                }
                if cursor.is_none() {
                    return;
                }
            }
        });
        Self { chunks, _place: place }
    }
}

impl Stream for Chunks {
    type Item = Chunk;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Chunk>> {
        self.chunks.poll_recv(context)
    }
}

#[cfg(test)]
mod tests {
    use p2p_chat_model::{Entry, EntryHash, EntryKind, Header, Identity, Run};
    use p2p_chat_store::Write;
    use tempfile::TempDir;
    use tokio::time::timeout;
    use tokio_stream::StreamExt;

    use super::*;

    const NETWORK: NetworkId = NetworkId::new([7; 32]);

    #[test]
    fn one_peer_has_few_places_all_together_have_some_and_what_is_freed_is_free() {
        let fetches = Arc::new(Fetches::default());
        let peer = |number| PeerId::new([number; 32]);
        let mut places: Vec<Place> = (0..MAX_FETCHES_PER_PEER).filter_map(|_| fetches.place(peer(1)).ok()).collect();
        assert_eq!(fetches.place(peer(1)).map_err(|status| status.code()).err(), Some(tonic::Code::ResourceExhausted));
        let half = (0..).map_while(|number| (places.len() + number < MAX_FETCHES / 2).then_some(20 + number as u8 / 4));
        places.extend(half.filter_map(|number| fetches.place(peer(number)).ok()).collect::<Vec<_>>());
        assert_eq!(places.len(), MAX_FETCHES / 2);
        assert!(fetches.place(peer(20)).is_err(), "the other half is for those who have none");
        places.extend((2..).map_while(|number| fetches.place(peer(number)).ok()));
        assert_eq!(places.len(), MAX_FETCHES);
        places.remove(0);
        assert!(fetches.place(peer(1)).is_err() && fetches.place(peer(99)).is_ok());
        drop(places);
        assert!(fetches.under_way().is_empty());
    }

    /// A fetch of five runs, each a chunk.
    async fn five(patience: Duration) -> (Chunks, Arc<Fetches>, TempDir) {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let store = Store::open(dir.path()).expect("the directory is empty");
        let (author, mut head) = (Identity::from_seed([1; 32]), EntryHash::NONE);
        let mut writes = vec![Write::Network { name: "lab".parse().expect("a name") }];
        for seq in 1..=5 {
            let header = Header { lamport: seq, wall_ms: 0, clock: VectorClock::new(), kind: EntryKind::Text };
            let run = Run::sign(&author, NETWORK, seq, head, vec![Entry { header, body: "hi".into() }]);
            head = run.head();
            writes.push(Write::Run { bytes: run.encode().into(), run });
        }
        store.commit(NETWORK, writes).await.expect("the disk is fine");
        let fetches = Arc::new(Fetches::default());
        let place = fetches.place(author.peer()).expect("there is one");
        (Chunks::new((place, None), (store, NETWORK), VectorClock::new(), (1, patience)), fetches, dir)
    }

    #[tokio::test]
    async fn who_reads_gets_everything_and_frees_the_place() {
        let (mut chunks, fetches, _dir) = five(CHUNK_TIMEOUT).await;
        let mut runs = 0;
        while let Some(chunk) = chunks.next().await {
            runs += chunk.expect("it is read in time").runs.len();
        }
        assert_eq!(runs, 5);
        drop(chunks);
        assert!(fetches.under_way().is_empty());
    }

    #[tokio::test]
    async fn who_does_not_read_in_time_gets_an_error_and_no_end() {
        let (mut chunks, fetches, _dir) = five(Duration::ZERO).await;
        let given_up = async {
            while chunks.chunks.sender_strong_count() > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(CHUNK_TIMEOUT, given_up).await.expect("nobody waits for ever");
        assert_eq!(fetches.under_way().len(), 1, "what was made has its place");
        assert!(chunks.next().await.is_some_and(|chunk| chunk.is_ok()));
        let end = chunks.next().await.and_then(Result::err).map(|status| status.code());
        assert_eq!(end, Some(tonic::Code::Aborted));
        assert!(chunks.next().await.is_none());
    }
}
