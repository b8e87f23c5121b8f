//! `Chat`: entries.

use bytes::Bytes;
use p2p_chat_engine::Request as Ask;
use p2p_chat_model::{MessageId, NetworkId, VectorClock};
use p2p_chat_proto::{
    convert::{self, FieldError},
    v1::{self, chat_server},
};
use p2p_chat_store::Store;
use p2p_chat_traces::Span;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};

use super::{Gate, settle};
use crate::{
    network::{Incoming, Network},
    wire::{self, answer},
};

/// Most runs in one Deliver.
const MAX_RUNS: usize = 4_096;
/// Most bytes of runs in one Deliver.
const MAX_DELIVER_BYTES: usize = 2 << 20;
/// Most bytes of runs in one chunk of a Fetch.
const CHUNK_BYTES: usize = 1 << 20;

/// The service.
pub(crate) struct Chat {
    gate: Gate,
    store: Store,
}

impl Chat {
    pub(crate) fn new(gate: Gate, store: Store) -> Self {
        Self { gate, store }
    }
}

#[async_trait]
impl chat_server::Chat for Chat {
    async fn deliver(&self, request: Request<v1::DeliverRequest>) -> Result<Response<v1::DeliverResponse>, Status> {
        let (peer, network) = self.gate.admit(&request, &request.get_ref().network)?;
        let runs = decode_runs(request.get_ref(), network.id)?;
        let mut span = self.gate.span("p2pchat.v1.Chat/Deliver", &request, peer, &network);
        describe(&mut span, &runs);
        let response = settle(network.deliver(peer, runs, span.context()).await, span)?;
        Ok(Response::new(answer::deliver(response)?))
    }

    async fn relay(&self, request: Request<v1::RelayRequest>) -> Result<Response<v1::RelayResponse>, Status> {
        let (peer, network) = self.gate.admit(&request, &request.get_ref().network)?;
        let target = convert::peer(&request.get_ref().target, "target")?;
        let mut span = self.gate.span("p2pchat.v1.Chat/Relay", &request, peer, &network);
        span.set("target", target.short());
        let response = settle(network.request(peer, Ask::Relay(target), span.context()).await, span)?;
        Ok(Response::new(answer::relay(response)?))
    }

    type FetchStream = ReceiverStream<Result<v1::FetchResponse, Status>>;

    async fn fetch(&self, request: Request<v1::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let (peer, network) = self.gate.admit(&request, &request.get_ref().network)?;
        let have = frontier(request.get_ref())?;
        let span = self.gate.span("p2pchat.v1.Chat/Fetch", &request, peer, &network);
        match settle(network.request(peer, Ask::Fetch(have), span.context()).await, span)? {
            p2p_chat_engine::Response::Serve { have, .. } => {
                Ok(Response::new(stream(self.store.clone(), network, have)))
            }
            _ => Err(wire::mismatch()),
        }
    }
}

/// Decodes and verifies what a peer hands over.
pub(crate) fn decode_runs(request: &v1::DeliverRequest, network: NetworkId) -> Result<Vec<Incoming>, Status> {
    let size: usize = request.runs.iter().map(Bytes::len).sum();
    if request.runs.len() > MAX_RUNS || size > MAX_DELIVER_BYTES {
        return Err(FieldError::bad("runs", "too many at once").into());
    }
    request.runs.iter().map(|bytes| Ok(wire::incoming(bytes, network)?)).collect()
}

/// Says what is handed over: usually one run.
fn describe(span: &mut Span, runs: &[Incoming]) {
    let Some((run, _)) = runs.first().filter(|_| span.is_recorded()) else { return };
    span.set("author", run.author.short());
    span.set("entries", runs.iter().map(|(run, _)| run.entries.len() as i64).sum::<i64>());
    span.set("from", run.first.to_string());
    if let Some((hash, _)) = run.entries.first() {
        span.set("message_id", MessageId::from(*hash).to_string());
    }
}

/// What the caller of a Fetch has.
pub(crate) fn frontier(request: &v1::FetchRequest) -> Result<VectorClock, FieldError> {
    VectorClock::try_from(request.have.as_ref().ok_or(FieldError::missing("have"))?)
}

/// Streams what is stored beyond `have`, chunk by chunk, as fast as the caller reads.
fn stream(store: Store, network: Network, have: VectorClock) -> ReceiverStream<Result<v1::FetchResponse, Status>> {
    let (chunks, stream) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut cursor = None;
        loop {
            let chunk = store.runs_beyond(network.id, &have, cursor, CHUNK_BYTES).await;
            let (message, next) = match chunk {
                Ok((runs, next)) => (Ok(v1::FetchResponse { runs }), next),
                Err(error) => (Err(Status::resource_exhausted(error.to_string())), None),
            };
            if chunks.send(message).await.is_err() || next.is_none() {
                return;
            }
            cursor = next;
        }
    });
    ReceiverStream::new(stream)
}
