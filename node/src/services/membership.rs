//! `Membership`: joins, leaves, views.

use p2p_chat_model::{NetworkId, VectorClock};
use p2p_chat_proto::v1::{self, membership_server};
use p2p_chat_store::Store;
use tonic::{Request, Response, Status, async_trait};

use super::{Gate, settle};
use crate::wire::{answer, request};

/// The service.
pub(crate) struct Membership {
    gate: Gate,
    store: Store,
}

impl Membership {
    pub(crate) fn new(gate: Gate, store: Store) -> Self {
        Self { gate, store }
    }

    /// The run that founds a network.
    async fn genesis(&self, network: NetworkId) -> Result<bytes::Bytes, Status> {
        let found = self.store.runs_beyond(network, &VectorClock::new(), None, 1).await;
        let (runs, _) = found.map_err(|error| Status::resource_exhausted(error.to_string()))?;
        runs.into_iter().next().ok_or_else(|| Status::aborted("this node is still catching up, try again in a moment"))
    }
}

#[async_trait]
impl membership_server::Membership for Membership {
    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        let peer = self.gate.identify(&request)?;
        let wire = request.get_ref();
        let network = self.gate.network(&wire.network)?;
        let decoded = request::join(wire)?;
        let span = self.gate.span("p2pchat.v1.Membership/Join", &request, peer, &network);
        let response = settle(network.request(peer, decoded, span.context()).await, span)?;
        let genesis = match response {
            p2p_chat_engine::Response::Admitted { .. } => self.genesis(network.id).await?,
            _ => bytes::Bytes::new(),
        };
        Ok(Response::new(answer::join(response, genesis)?))
    }

    async fn leave(&self, request: Request<v1::LeaveRequest>) -> Result<Response<v1::LeaveResponse>, Status> {
        let (peer, network) = self.gate.admit(&request, &request.get_ref().network)?;
        let span = self.gate.span("p2pchat.v1.Membership/Leave", &request, peer, &network);
        let response = settle(network.request(peer, p2p_chat_engine::Request::Leave, span.context()).await, span)?;
        Ok(Response::new(answer::leave(response)?))
    }

    async fn update_view(
        &self,
        request: Request<v1::UpdateViewRequest>,
    ) -> Result<Response<v1::UpdateViewResponse>, Status> {
        let (peer, network) = self.gate.admit(&request, &request.get_ref().network)?;
        let decoded = request::update_view(request.get_ref())?;
        let span = self.gate.span("p2pchat.v1.Membership/UpdateView", &request, peer, &network);
        let response = settle(network.request(peer, decoded, span.context()).await, span)?;
        Ok(Response::new(answer::update_view(response)?))
    }
}
