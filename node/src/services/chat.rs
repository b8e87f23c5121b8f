//! `Chat`: entries.

use std::collections::BTreeSet;

use bytes::Bytes;
use p2p_chat_engine::Request as Ask;
use p2p_chat_model::{MessageId, PeerId, VectorClock, limits::MAX_MEMBERS};
use p2p_chat_proto::{
    convert::{self, FieldError},
    v1::{self, chat_server},
};
use p2p_chat_store::Store;
use p2p_chat_traces::Span;
use p2p_chat_transport::hangup;
use tonic::{Request, Response, Status, async_trait};

use super::{
    Gate,
    fetches::{CHUNK_BYTES, CHUNK_TIMEOUT, Chunks},
    settle, unable,
};
use crate::{
    network::Incoming,
    wire::{self, answer},
};

/// Most runs in one Deliver.
const MAX_RUNS: usize = 4_096;
/// Most bytes of runs in one Deliver.
const MAX_DELIVER_BYTES: usize = 2 << 20;

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
        check_size(request.get_ref())?;
        let room = network.room(size(request.get_ref())).map_err(unable)?;
        let runs = wire::all_incoming(&request.get_ref().runs, network.id).await?;
        let mut span = self.gate.span("p2pchat.v1.Chat/Deliver", &request, peer, &network);
        describe(&mut span, &runs);
        // Nothing of it is held any longer than the runs are.
        drop(request);
        let response = settle(network.deliver(peer, (runs, room), span.context()).await, span)?;
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

    type FetchStream = Chunks;

    async fn fetch(&self, request: Request<v1::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let (peer, network) = self.gate.admit(&request, &request.get_ref().network)?;
        let (have, not_of) = wanted(request.get_ref())?;
        let (place, hangup) = (self.gate.fetches.place(peer)?, hangup(&request));
        let span = self.gate.span("p2pchat.v1.Chat/Fetch", &request, peer, &network);
        match settle(network.request(peer, Ask::Fetch(have, not_of), span.context()).await, span)? {
            p2p_chat_engine::Response::Serve(have) => {
                let source = (self.store.clone(), network.id);
                Ok(Response::new(Chunks::new((place, hangup), source, have, (CHUNK_BYTES, CHUNK_TIMEOUT))))
            }
            _ => Err(wire::mismatch()),
        }
    }
}

/// Whether so much may be handed over at once.
pub(crate) fn check_size(request: &v1::DeliverRequest) -> Result<(), FieldError> {
    let is_much = request.runs.len() > MAX_RUNS || size(request) > MAX_DELIVER_BYTES;
    if is_much { Err(FieldError::bad("runs", "too many at once")) } else { Ok(()) }
}

fn size(request: &v1::DeliverRequest) -> usize {
    request.runs.iter().map(Bytes::len).sum()
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

/// What the caller of a Fetch has, and of whom it wants nothing.
pub(crate) fn wanted(request: &v1::FetchRequest) -> Result<(VectorClock, BTreeSet<PeerId>), FieldError> {
    if request.not_of.len() > MAX_MEMBERS {
        return Err(FieldError::bad("not_of", "too many authors"));
    }
    let have = VectorClock::try_from(request.have.as_ref().ok_or(FieldError::missing("have"))?)?;
    let not_of = request.not_of.iter().map(|author| convert::peer(author, "not_of"));
    Ok((have, not_of.collect::<Result<_, _>>()?))
}
