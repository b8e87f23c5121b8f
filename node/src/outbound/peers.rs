//! Calls to peers.

use std::{collections::BTreeSet, time::Duration};

use p2p_chat_engine::{CallError, CallId, PeerCall, Response};
use p2p_chat_model::{PeerId, Seq, VectorClock};
use p2p_chat_proto::{
    convert::{FieldError, ToWire},
    v1::{
        self, chat_client::ChatClient, election_client::ElectionClient, liveness_client::LivenessClient,
        membership_client::MembershipClient,
    },
};
use p2p_chat_transport::{
    Line,
    sizes::{MAX_RUNS_BYTES, MAX_STANDING_BYTES, MAX_VIEW_BYTES},
};
use tonic::Status;

use super::Outbound;
use crate::{
    network::Network,
    wire::{all_incoming, call_error, encode_standing, response},
};

/// Most bytes of entries in one Deliver.
const MAX_DELIVER_BYTES: usize = p2p_chat_model::limits::MAX_RUN_BYTES;

impl Outbound {
    /// Makes a call that has one answer.
    pub(super) async fn call_once(
        &self,
        channel: Line,
        network: &Network,
        call: PeerCall,
    ) -> Result<Response, CallError> {
        match call {
            PeerCall::Join { .. } | PeerCall::Leave | PeerCall::UpdateView(..) => {
                self.membership(channel, network, call).await
            }
            PeerCall::Elect(..) | PeerCall::Coordinate(..) => election(channel, network, call).await,
            PeerCall::Ping(_) | PeerCall::PingVia(_) => liveness(channel, network, call).await,
            PeerCall::Deliver { author, from, upto } => self.deliver(channel, network, author, from, upto).await,
            PeerCall::Relay(target) => {
                let request = v1::RelayRequest { network: network.id.to_wire(), target: target.to_wire() };
                let answer = chat(channel).relay(request).await.map_err(failed)?.into_inner();
                Ok(Response::Relayed(answer.reached, answer.acked_seq))
            }
            PeerCall::Fetch(..) => Err(CallError::Failed("bug: a fetch has many answers".to_owned())),
        }
    }

    async fn membership(&self, channel: Line, network: &Network, call: PeerCall) -> Result<Response, CallError> {
        let mut client = MembershipClient::new(channel).max_decoding_message_size(MAX_VIEW_BYTES);
        let id = network.id.to_wire();
        match call {
            PeerCall::Join { request } => {
                let (name, address) = (self.name.to_string(), self.address.to_string());
                let request = v1::JoinRequest { network: id, request_id: request, name, address };
                let answer = client.join(request).await.map_err(failed)?.into_inner();
                response::join(&answer, network.id).map_err(nonsense)
            }
            PeerCall::UpdateView(view, vote) => {
                let handover = vote.as_ref().map(Into::into);
                let request = v1::UpdateViewRequest { network: id, view: Some((&view).into()), handover };
                let answer = client.update_view(request).await.map_err(failed)?.into_inner();
                response::taken(answer.accepted, answer.leader.as_ref()).map_err(nonsense)
            }
            _ => {
                let answer = client.leave(v1::LeaveRequest { network: id }).await.map_err(failed)?.into_inner();
                response::leave(&answer).map_err(nonsense)
            }
        }
    }

    /// Hands runs over as they are stored.
    async fn deliver(
        &self,
        channel: Line,
        network: &Network,
        author: PeerId,
        from: Seq,
        upto: Seq,
    ) -> Result<Response, CallError> {
        let wanted = usize::try_from(upto.saturating_sub(from)).map_or(MAX_DELIVER_BYTES, |more| {
            more.saturating_add(1).saturating_mul(p2p_chat_model::limits::MAX_SINGLE_RUN_BYTES).min(MAX_DELIVER_BYTES)
        });
        let runs = self.store.runs(network.id, author, from, wanted).await;
        let runs = runs.map_err(|error| CallError::Failed(error.to_string()))?;
        let request = v1::DeliverRequest { network: network.id.to_wire(), runs };
        let answer = chat(channel).deliver(request).await.map_err(failed)?.into_inner();
        response::deliver(&answer).map_err(nonsense)
    }

    /// Reads a stream of runs, chunk by chunk; the next chunk is read when the one before is on disk.
    pub(super) async fn fetch(
        &self,
        channel: Line,
        network: &Network,
        (generation, id): (u64, CallId),
        (have, not_of): (&VectorClock, &BTreeSet<PeerId>),
        timeout: Duration,
    ) -> Result<Response, CallError> {
        let late = |_| CallError::Unreachable(format!("no answer within {} ms", timeout.as_millis()));
        let not_of = not_of.iter().map(ToWire::to_wire).collect();
        let request = v1::FetchRequest { network: network.id.to_wire(), have: Some(have.into()), not_of };
        let mut client = chat(channel);
        let opened = tokio::time::timeout(timeout, client.fetch(request)).await.map_err(late)?;
        let mut stream = opened.map_err(failed)?.into_inner();
        loop {
            let chunk = tokio::time::timeout(timeout, stream.message()).await.map_err(late)?.map_err(failed)?;
            let Some(chunk) = chunk else { return Ok(Response::FetchDone) };
            let runs = all_incoming(&chunk.runs, network.id).await.map_err(nonsense)?;
            if !network.fetched(generation, id, runs).await {
                return Err(CallError::Failed("the fetch was given up".to_owned()));
            }
        }
    }
}

fn chat(channel: Line) -> ChatClient<Line> {
    ChatClient::new(channel).max_decoding_message_size(MAX_RUNS_BYTES)
}

async fn election(channel: Line, network: &Network, call: PeerCall) -> Result<Response, CallError> {
    let mut client = ElectionClient::new(channel).max_decoding_message_size(MAX_VIEW_BYTES);
    let id = network.id.to_wire();
    match call {
        PeerCall::Elect(epoch, node) => {
            let request = v1::ElectRequest { network: id, epoch: epoch.0, candidate: node.0 };
            let answer = client.elect(request).await.map_err(failed)?.into_inner();
            response::elect(&answer).map_err(nonsense)
        }
        PeerCall::Coordinate(view, certificate) => {
            let certificate = Some((&certificate).into());
            let request = v1::CoordinateRequest { network: id, view: Some((&view).into()), certificate };
            let answer = client.coordinate(request).await.map_err(failed)?.into_inner();
            response::taken(answer.accepted, answer.leader.as_ref()).map_err(nonsense)
        }
        _ => Err(CallError::Failed("bug: not a call of the election".to_owned())),
    }
}

async fn liveness(channel: Line, network: &Network, call: PeerCall) -> Result<Response, CallError> {
    let mut client = LivenessClient::new(channel).max_decoding_message_size(MAX_STANDING_BYTES);
    let id = network.id.to_wire();
    match call {
        PeerCall::Ping(standing) => {
            let request = v1::PingRequest { network: id, standing: Some(encode_standing(&standing)) };
            let answer = client.ping(request).await.map_err(failed)?.into_inner();
            response::ping(&answer).map_err(nonsense)
        }
        PeerCall::PingVia(target) => {
            let request = v1::PingViaRequest { network: id, target: target.to_wire() };
            let answer = client.ping_via(request).await.map_err(failed)?.into_inner();
            response::ping_via(&answer).map_err(nonsense)
        }
        _ => Err(CallError::Failed("bug: not a call about liveness".to_owned())),
    }
}

fn failed(status: Status) -> CallError {
    call_error(&status)
}

fn nonsense(error: FieldError) -> CallError {
    CallError::Failed(format!("the answer makes no sense: {error}"))
}
