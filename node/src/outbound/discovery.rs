//! Calls to discovery services: signs what is registered.

use bytes::Bytes;
use p2p_chat_engine::{CallError, DiscoveryAnswer, DiscoveryCall, Response};
use p2p_chat_model::{Epoch, PeerId, Registration, Seq, VectorClock, View, Vote, registration::Action};
use p2p_chat_proto::{
    convert::{FieldError, ToWire},
    v1::{self, discovery_client::DiscoveryClient},
};
use p2p_chat_transport::{Line, sizes::MAX_RECORD_BYTES};
use tonic::{Code, Status, codegen::http::HeaderValue};

use super::Outbound;
use crate::{network::Network, wire};

impl Outbound {
    pub(super) async fn discover_once(
        &self,
        network: &Network,
        service: usize,
        call: DiscoveryCall,
        cause: Option<HeaderValue>,
    ) -> Result<Response, CallError> {
        let channel =
            self.directory.channel(service).ok_or_else(|| CallError::Failed("bug: no such service".into()))?;
        let mut client = DiscoveryClient::new(channel.caused_by(cause)).max_decoding_message_size(MAX_RECORD_BYTES);
        let url = self.directory.url(service);
        let answer = match call {
            DiscoveryCall::Create { view, admission, serial } => {
                self.create((&mut client, url), network, view, &admission, serial).await?
            }
            DiscoveryCall::Update { view, expected, votes, serial } => {
                let registration = self.sign(network, view, Some(expected), serial, Action::Update);
                update((&mut client, url), registration, &votes).await?
            }
            DiscoveryCall::Renew { view, serial } => {
                renew((&mut client, url), self.sign(network, view, None, serial, Action::Renew)).await?
            }
            DiscoveryCall::Close { view, serial } => {
                let registration = Some(self.sign(network, view, None, serial, Action::Close));
                let closed = client.close_network(v1::CloseNetworkRequest { registration }).await;
                closed.map_err(|status| wire::discovery_error(&status, url))?;
                DiscoveryAnswer::Closed
            }
            DiscoveryCall::Lookup => lookup((&mut client, url), network).await?,
        };
        Ok(Response::Discovery(answer))
    }

    fn sign(
        &self,
        network: &Network,
        view: View,
        expected: Option<Epoch>,
        serial: u64,
        action: Action,
    ) -> v1::Registration {
        let expected_epoch = expected.unwrap_or(view.epoch);
        let statement = Registration { network: network.id, view, expected_epoch, serial };
        v1::Registration::signed(&statement, action, &self.identity)
    }

    async fn create(
        &self,
        (client, url): (&mut DiscoveryClient<Line>, &str),
        network: &Network,
        view: View,
        admission: &[(PeerId, Seq)],
        serial: u64,
    ) -> Result<DiscoveryAnswer, CallError> {
        let broken = |error: p2p_chat_store::StoreError| CallError::Failed(error.to_string());
        let (first, _) = self.store.runs_beyond(network.id, &VectorClock::new(), None, 1).await.map_err(broken)?;
        let genesis = first.into_iter().next().ok_or_else(|| CallError::Failed("the log is still empty".into()))?;
        let mut chain: Vec<Bytes> = Vec::new();
        for (author, seq) in admission {
            let runs = self.store.runs(network.id, *author, *seq, 1).await.map_err(broken)?;
            chain.extend(runs.into_iter().next());
        }
        let registration = Some(self.sign(network, view, None, serial, Action::Create));
        let request = v1::CreateNetworkRequest { registration, genesis, admission: chain };
        let answer = client.create_network(request).await;
        let answer = answer.map_err(|status| wire::discovery_error(&status, url))?.into_inner();
        Ok(DiscoveryAnswer::Accepted(wire::record(answer.record.as_ref()).map_err(nonsense)?))
    }
}

async fn update(
    (client, url): (&mut DiscoveryClient<Line>, &str),
    registration: v1::Registration,
    votes: &[Vote],
) -> Result<DiscoveryAnswer, CallError> {
    let votes = votes.iter().map(Into::into).collect();
    let request = v1::UpdateLeaderRequest { registration: Some(registration), votes };
    let answer = match client.update_leader(request).await {
        Err(status) => return unknown(&status, url),
        Ok(answer) => answer.into_inner(),
    };
    updated(&answer)
}

/// The answer to UpdateLeader.
pub(crate) fn updated(answer: &v1::UpdateLeaderResponse) -> Result<DiscoveryAnswer, CallError> {
    settle(answer.accepted, answer.refusal(), answer.record.as_ref(), 0)
}

async fn renew(
    (client, url): (&mut DiscoveryClient<Line>, &str),
    registration: v1::Registration,
) -> Result<DiscoveryAnswer, CallError> {
    let request = v1::RenewLeaseRequest { registration: Some(registration) };
    let answer = match client.renew_lease(request).await {
        Err(status) => return unknown(&status, url),
        Ok(answer) => answer.into_inner(),
    };
    renewed(&answer)
}

/// The answer to RenewLease.
pub(crate) fn renewed(answer: &v1::RenewLeaseResponse) -> Result<DiscoveryAnswer, CallError> {
    settle(answer.accepted, answer.refusal(), answer.record.as_ref(), answer.serial)
}

async fn lookup(
    (client, url): (&mut DiscoveryClient<Line>, &str),
    network: &Network,
) -> Result<DiscoveryAnswer, CallError> {
    let key = Some(v1::get_network_request::Key::Network(network.id.to_wire()));
    match client.get_network(v1::GetNetworkRequest { key }).await {
        Err(status) => unknown(&status, url),
        Ok(answer) => {
            let record = wire::record(answer.into_inner().record.as_ref()).map_err(nonsense)?;
            Ok(DiscoveryAnswer::Accepted(record))
        }
    }
}

/// An answer that may be a no.
fn settle(
    accepted: bool,
    refusal: v1::Refusal,
    record: Option<&v1::NetworkRecord>,
    serial: u64,
) -> Result<DiscoveryAnswer, CallError> {
    let record = wire::record(record).map_err(nonsense)?;
    Ok(match accepted {
        true => DiscoveryAnswer::Accepted(record),
        false => DiscoveryAnswer::Refused(wire::refusal(refusal), record, serial),
    })
}

/// That a network is not known is an answer.
fn unknown(status: &Status, url: &str) -> Result<DiscoveryAnswer, CallError> {
    if status.code() == Code::NotFound { Ok(DiscoveryAnswer::Unknown) } else { Err(wire::discovery_error(status, url)) }
}

fn nonsense(error: FieldError) -> CallError {
    CallError::Failed(format!("the discovery service's answer makes no sense: {error}"))
}
