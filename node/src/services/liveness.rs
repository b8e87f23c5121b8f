//! `Liveness`: pings. The one call of this node that anybody may make.

use p2p_chat_proto::{
    convert,
    v1::{self, liveness_server},
};
use p2p_chat_traces::Span;
use p2p_chat_transport::caller;
use tonic::{Request, Response, Status, async_trait};

use super::{Gate, settle};
use crate::{
    network::Refused,
    wire::{self, answer},
};

/// The service.
pub(crate) struct Liveness {
    gate: Gate,
}

impl Liveness {
    pub(crate) fn new(gate: Gate) -> Self {
        Self { gate }
    }
}

#[async_trait]
impl liveness_server::Liveness for Liveness {
    async fn ping(&self, request: Request<v1::PingRequest>) -> Result<Response<v1::PingResponse>, Status> {
        let alive = |leads_epoch| Ok(Response::new(v1::PingResponse { leads_epoch, standing: None }));
        let wire = request.get_ref();
        if wire.network.is_empty() {
            return alive(0);
        }
        let id = convert::network(&wire.network, "network")?;
        let Some(network) = self.gate.hub.active(&id) else { return alive(0) };
        let leads_epoch = network.leads();
        let peer = caller(&request).filter(|peer| network.admits(peer));
        let (Some(peer), Some(standing)) = (peer, &wire.standing) else { return alive(leads_epoch) };
        self.gate.identify(&request)?;
        let standing = wire::decode_standing(standing)?;
        match network.ping(peer, standing).await {
            Ok(p2p_chat_engine::Response::Standing(standing)) => {
                let standing = Some(wire::encode_standing(&standing));
                Ok(Response::new(v1::PingResponse { leads_epoch, standing }))
            }
            Ok(_) => Err(wire::mismatch()),
            Err(Refused::Engine(_)) => alive(leads_epoch),
            Err(Refused::Unable(problem)) => Err(Status::resource_exhausted(problem)),
        }
    }

    async fn ping_via(&self, request: Request<v1::PingViaRequest>) -> Result<Response<v1::PingViaResponse>, Status> {
        let (peer, network) = self.gate.admit(&request, &request.get_ref().network)?;
        let target = convert::peer(&request.get_ref().target, "target")?;
        let response =
            settle(network.request(peer, p2p_chat_engine::Request::PingVia(target), None).await, Span::default())?;
        Ok(Response::new(answer::ping_via(response)?))
    }
}
