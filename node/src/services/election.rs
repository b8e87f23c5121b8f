//! `Election`: ELECTION and COORDINATOR.

use p2p_chat_proto::v1::{self, election_server};
use tonic::{Request, Response, Status, async_trait};

use super::{Gate, settle};
use crate::wire::{answer, request};

/// The service.
pub(crate) struct Election {
    gate: Gate,
}

impl Election {
    pub(crate) fn new(gate: Gate) -> Self {
        Self { gate }
    }
}

#[async_trait]
impl election_server::Election for Election {
    async fn elect(&self, request: Request<v1::ElectRequest>) -> Result<Response<v1::ElectResponse>, Status> {
        let (peer, network) = self.gate.admit(&request, &request.get_ref().network)?;
        let span = self.gate.span("p2pchat.v1.Election/Elect", &request, peer, &network);
        let decoded = request::elect(request.get_ref());
        let response = settle(network.request(peer, decoded, span.context()).await, span)?;
        Ok(Response::new(answer::elect(response)?))
    }

    async fn coordinate(
        &self,
        request: Request<v1::CoordinateRequest>,
    ) -> Result<Response<v1::CoordinateResponse>, Status> {
        let (peer, network) = self.gate.admit(&request, &request.get_ref().network)?;
        let decoded = request::coordinate(request.get_ref())?;
        let span = self.gate.span("p2pchat.v1.Election/Coordinate", &request, peer, &network);
        let response = settle(network.request(peer, decoded, span.context()).await, span)?;
        Ok(Response::new(answer::coordinate(response)?))
    }
}
