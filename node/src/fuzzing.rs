//! Doors for the fuzz targets in `tests/fuzz`: what decodes the bodies of calls and of answers, as functions of bytes.
//! For nothing else.

use bytes::Bytes;
use p2p_chat_engine::{DiscoveryAnswer, Request, Response, Standing};
use p2p_chat_model::{NetworkId, Run, VectorClock};
use p2p_chat_proto::{
    convert::{self, FieldError},
    v1,
};
use prost::Message;
use tonic::Status;

use crate::{
    outbound, services,
    wire::{self, request, response},
};

/// A peer's call, as far as it says more than who is meant.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum Asked {
    /// What the engine is asked.
    Engine(Request),
    /// Runs with their exact bytes.
    Runs(Vec<(Run, Bytes)>),
    /// A ping without a standing.
    Alive,
}

/// The calls of peers, by the names in the contract.
pub const CALLS: [&str; 10] =
    ["Join", "Leave", "UpdateView", "Elect", "Coordinate", "Ping", "PingVia", "Deliver", "Relay", "Fetch"];

/// Decodes the body of a call as its service does. `None` if it is no message at all: that is refused before any
/// service sees it.
pub fn call(name: &str, body: &[u8], network: NetworkId) -> Option<Result<Asked, Status>> {
    let engine = |request: Result<Request, FieldError>| request.map(Asked::Engine).map_err(Status::from);
    Some(match name {
        "Join" => engine(request::join(&message(body)?)),
        "Leave" => {
            let wire: v1::LeaveRequest = message(body)?;
            engine(convert::network(&wire.network, "network").map(|_| Request::Leave))
        }
        "UpdateView" => engine(request::update_view(&message(body)?)),
        "Elect" => engine(Ok(request::elect(&message(body)?))),
        "Coordinate" => engine(request::coordinate(&message(body)?)),
        "Ping" => {
            let wire: v1::PingRequest = message(body)?;
            match &wire.standing {
                Some(standing) => engine(wire::decode_standing(standing).map(Request::Ping)),
                None => Ok(Asked::Alive),
            }
        }
        "PingVia" => {
            let wire: v1::PingViaRequest = message(body)?;
            engine(convert::peer(&wire.target, "target").map(Request::PingVia))
        }
        "Deliver" => {
            let wire: v1::DeliverRequest = message(body)?;
            let decoded = services::check_size(&wire).and_then(|()| runs(&wire.runs, network));
            decoded.map(Asked::Runs).map_err(Status::from)
        }
        "Relay" => {
            let wire: v1::RelayRequest = message(body)?;
            engine(convert::peer(&wire.target, "target").map(Request::Relay))
        }
        "Fetch" => {
            let wire: v1::FetchRequest = message(body)?;
            engine(services::wanted(&wire).map(|(have, not_of)| Request::Fetch(have, not_of)))
        }
        _ => return None,
    })
}

/// An answer, as the engine gets it.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum Answered {
    /// The answer to a call of a peer.
    Peer(Response),
    /// A chunk of a fetch.
    Runs(Vec<(Run, Bytes)>),
    /// What a discovery service says.
    Discovery(DiscoveryAnswer),
    /// A listed network: its id, its name, and what is on record.
    Listed(NetworkId, p2p_chat_model::Name, p2p_chat_engine::Record),
}

/// The answers, by the calls that they belong to.
pub const ANSWERS: [&str; 12] = [
    "Join",
    "Leave",
    "UpdateView",
    "Elect",
    "Coordinate",
    "Ping",
    "PingVia",
    "Deliver",
    "Fetch",
    "UpdateLeader",
    "RenewLease",
    "Record",
];

/// Decodes the body of an answer. `None` if it is no message at all; the error is one sentence.
pub fn answer(name: &str, body: &[u8], network: NetworkId) -> Option<Result<Answered, String>> {
    let peer = |response: Result<Response, FieldError>| response.map(Answered::Peer).map_err(|error| error.to_string());
    let service = |answer: Result<DiscoveryAnswer, p2p_chat_engine::CallError>| {
        answer.map(Answered::Discovery).map_err(|error| error.to_string())
    };
    Some(match name {
        "Join" => peer(response::join(&message(body)?, network)),
        "Leave" => peer(response::leave(&message(body)?)),
        "UpdateView" => {
            let wire: v1::UpdateViewResponse = message(body)?;
            peer(response::taken(wire.accepted, wire.leader.as_ref()))
        }
        "Elect" => peer(response::elect(&message(body)?)),
        "Coordinate" => {
            let wire: v1::CoordinateResponse = message(body)?;
            peer(response::taken(wire.accepted, wire.leader.as_ref()))
        }
        "Ping" => peer(response::ping(&message(body)?)),
        "PingVia" => peer(response::ping_via(&message(body)?)),
        "Deliver" => peer(response::deliver(&message(body)?)),
        "Fetch" => {
            let wire: v1::FetchResponse = message(body)?;
            runs(&wire.runs, network).map(Answered::Runs).map_err(|error| error.to_string())
        }
        "UpdateLeader" => service(outbound::updated(&message(body)?)),
        "RenewLease" => service(outbound::renewed(&message(body)?)),
        "Record" => {
            let listed = crate::directory::listed(&message(body)?);
            listed.map(|it| Answered::Listed(it.id, it.name, it.record)).ok_or_else(|| "is not listed".to_owned())
        }
        _ => return None,
    })
}

/// A standing as it is sent.
pub fn encode_standing(standing: &Standing) -> v1::Standing {
    wire::encode_standing(standing)
}

/// A frontier as it is sent.
pub fn encode_frontier(frontier: &VectorClock) -> v1::VectorClock {
    frontier.into()
}

fn runs(runs: &[Bytes], network: NetworkId) -> Result<Vec<(Run, Bytes)>, FieldError> {
    runs.iter().map(|bytes| wire::incoming(bytes, network)).collect()
}

fn message<T: Message + Default>(body: &[u8]) -> Option<T> {
    T::decode(body).ok()
}
