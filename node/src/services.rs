//! What other nodes call. The cheap checks come first: the size (the transport's), the identity, the rate, the
//! network, the membership, and only then what costs: decoding and verifying.

mod chat;
mod election;
mod fetches;
mod liveness;
mod membership;

use std::{sync::Arc, time::Instant};

use p2p_chat_engine::{Refusal, Response};
use p2p_chat_model::PeerId;
use p2p_chat_proto::convert;
use p2p_chat_traces::{Kind, Span};
use p2p_chat_transport::caller;
use tonic::{Request, Status};

pub(crate) use self::{
    chat::{Chat, check_size, wanted},
    election::Election,
    fetches::Fetches,
    liveness::Liveness,
    membership::Membership,
};
use crate::{
    hub::Hub,
    network::{Network, Refused, Reply},
    rate::RateLimit,
    wire,
};

/// What every service of peers needs.
#[derive(Clone)]
pub(crate) struct Gate {
    hub: Arc<Hub>,
    rate: Arc<RateLimit>,
    fetches: Arc<Fetches>,
}

impl Gate {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Self { hub, rate: Arc::default(), fetches: Arc::default() }
    }

    /// Who calls, if it showed a key and does not call too often.
    fn identify<T>(&self, request: &Request<T>) -> Result<PeerId, Status> {
        let no_identity =
            || Status::unauthenticated("this call needs a TLS identity: connect with TLS and a node's key");
        let peer = caller(request).ok_or_else(no_identity)?;
        if self.rate.allows(peer, Instant::now()) {
            Ok(peer)
        } else {
            Err(Status::resource_exhausted("too many calls, try again in a moment"))
        }
    }

    /// The network a call is about.
    fn network(&self, id: &[u8]) -> Result<Network, Status> {
        let id = convert::network(id, "network")?;
        self.hub.active(&id).ok_or_else(|| wire::refused(&Refusal::NotHere))
    }

    /// The span of a call that was admitted.
    fn span<T>(&self, name: &'static str, request: &Request<T>, peer: PeerId, network: &Network) -> Span {
        let traces = &network.traces;
        if !traces.is_on() {
            return Span::default();
        }
        let mut span = traces.begin(name, Kind::Server, traces.incoming(request.metadata()).as_ref());
        span.set("rpc.system", "grpc");
        span.set("network", network.name.to_string());
        span.set("peer", peer.short());
        span
    }

    /// The network a call is about, for a caller that is a member of it.
    fn admit<T>(&self, request: &Request<T>, id: &[u8]) -> Result<(PeerId, Network), Status> {
        let peer = self.identify(request)?;
        let network = self.network(id)?;
        if network.admits(&peer) { Ok((peer, network)) } else { Err(wire::refused(&Refusal::NotMember)) }
    }
}

/// The engine's answer, or the status of its refusal; with it ends the span of the call.
fn settle(reply: Reply, mut span: Span) -> Result<Response, Status> {
    reply.map_err(|refused| {
        let status = unable(refused);
        span.fail(&status.message());
        status
    })
}

/// The status of a refusal.
fn unable(refused: Refused) -> Status {
    match refused {
        Refused::Engine(refusal) => wire::refused(&refusal),
        Refused::Unable(problem) => Status::resource_exhausted(problem),
    }
}
