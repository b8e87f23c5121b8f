//! Between the engine's words and the wire's. Generated types stop here and in the services; decoding names the field
//! that is wrong, and verifies what is signed.

use bytes::Bytes;
use p2p_chat_engine::{
    CallError, DiscoveryRefusal, EntryFacts, LeaderHint, Record, Refusal, Request, Response, RunFacts, RunToken,
    Standing,
};
use p2p_chat_model::{
    Certificate, Entry, EntryHash, Epoch, NetworkId, Run, VectorClock, View, Vote, limits::MAX_CONTACTS,
};
use p2p_chat_proto::{
    convert::{self, FieldError, ToWire},
    v1,
};
use p2p_chat_transport::{describe, is_unanswered};
use tonic::{Code, Status};

use crate::network::Incoming;

/// An answer of the engine that does not belong to the request.
const MISMATCH: &str = "bug: the answer does not fit the call";

/// What the engine needs to know of a run.
pub(crate) fn facts(run: &Run, token: RunToken) -> RunFacts {
    let entries = run.entries.iter().map(|(hash, entry)| entry_facts(entry, *hash)).collect();
    RunFacts { token, author: run.author, first: run.first, previous: run.previous, entries }
}

/// What the engine needs to know of an entry.
pub(crate) fn entry_facts(entry: &Entry, hash: EntryHash) -> EntryFacts {
    EntryFacts {
        hash,
        lamport: entry.header.lamport,
        wall_ms: entry.header.wall_ms,
        kind: entry.header.kind,
        clock: entry.header.clock.clone(),
        // Whoever decoded the run has checked its bodies.
        op: entry.roster_op().ok().flatten(),
    }
}

/// Decodes and verifies a run from a peer.
pub(crate) fn run(bytes: &[u8], network: NetworkId) -> Result<Run, FieldError> {
    let run = Run::decode(bytes).map_err(|error| FieldError::bad("run", error))?;
    if run.network == network { Ok(run) } else { Err(FieldError::bad("run", "belongs to another network")) }
}

/// The same, with the bytes to be stored: a copy, so that what is kept of a call does not keep all of it in memory.
pub(crate) fn incoming(bytes: &[u8], network: NetworkId) -> Result<Incoming, FieldError> {
    Ok((run(bytes, network)?, Bytes::copy_from_slice(bytes)))
}

/// Most runs that are verified in one go: each takes some 50 us, in which nobody else is served here.
const FEW_RUNS: usize = 16;

/// Runs of a peer, decoded and verified, with others' calls in between.
pub(crate) async fn all_incoming(runs: &[Bytes], network: NetworkId) -> Result<Vec<Incoming>, FieldError> {
    let mut decoded = Vec::with_capacity(runs.len());
    for few in runs.chunks(FEW_RUNS) {
        if !decoded.is_empty() {
            tokio::task::yield_now().await;
        }
        for bytes in few {
            decoded.push(incoming(bytes, network)?);
        }
    }
    Ok(decoded)
}

/// The status of a refused request.
pub(crate) fn refused(refusal: &Refusal) -> Status {
    let code = match refusal {
        Refusal::NotMember => Code::PermissionDenied,
        Refusal::NotHere => Code::NotFound,
        Refusal::Unreachable(_) => Code::FailedPrecondition,
        Refusal::Invalid(_) => Code::InvalidArgument,
        Refusal::Busy(_) => Code::Aborted,
        Refusal::Full => Code::OutOfRange,
    };
    Status::new(code, refusal.to_string())
}

/// Why a call brought no answer.
pub(crate) fn call_error(status: &Status) -> CallError {
    let reason = describe(status);
    if is_unanswered(status) {
        return CallError::Unreachable(reason);
    }
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => CallError::NotMember(reason),
        Code::NotFound => CallError::NotHere(reason),
        Code::FailedPrecondition => CallError::Unmet(reason),
        Code::OutOfRange => CallError::Full(reason),
        Code::AlreadyExists => CallError::Exists(reason),
        Code::Aborted | Code::ResourceExhausted => CallError::Busy(reason),
        Code::Unavailable => CallError::Unreachable(reason),
        _ => CallError::Failed(reason),
    }
}

/// Why a call to the discovery service at `url` brought no answer. A server that does not know the call is none: a node,
/// perhaps, whose port was taken for that of a service.
pub(crate) fn discovery_error(status: &Status, url: &str) -> CallError {
    if status.code() == Code::Unimplemented && !is_unanswered(status) {
        return CallError::Unreachable(format!("what listens at {url} is no discovery service (a node?)"));
    }
    call_error(status)
}

/// A field that must be there.
fn need<T>(field: Option<T>, name: &'static str) -> Result<T, FieldError> {
    field.ok_or(FieldError::missing(name))
}

pub(crate) fn mismatch() -> Status {
    Status::internal(MISMATCH)
}

pub(crate) fn encode_hint(hint: &LeaderHint) -> v1::LeaderHint {
    v1::LeaderHint { epoch: hint.epoch.0, leader: hint.peer.to_wire(), address: hint.address.to_string() }
}

pub(crate) fn decode_hint(wire: &v1::LeaderHint) -> Result<LeaderHint, FieldError> {
    Ok(LeaderHint {
        epoch: Epoch(wire.epoch),
        peer: convert::peer(&wire.leader, "leader")?,
        address: convert::address(&wire.address, "leader's address")?,
    })
}

fn decode_optional_hint(wire: Option<&v1::LeaderHint>) -> Result<Option<LeaderHint>, FieldError> {
    wire.map(decode_hint).transpose()
}

pub(crate) fn encode_standing(standing: &Standing) -> v1::Standing {
    v1::Standing {
        epoch: standing.epoch.0,
        view_version: standing.version,
        leader: standing.leader.as_ref().map(encode_hint),
        frontier_digest: standing.digest,
        frontier: standing.frontier.as_ref().map(Into::into),
        peer_active: standing.peer_active,
        leaving: standing.leaving,
    }
}

pub(crate) fn decode_standing(wire: &v1::Standing) -> Result<Standing, FieldError> {
    Ok(Standing {
        leader: decode_optional_hint(wire.leader.as_ref())?,
        epoch: Epoch(wire.epoch),
        version: wire.view_version,
        digest: wire.frontier_digest,
        frontier: wire.frontier.as_ref().map(VectorClock::try_from).transpose()?,
        peer_active: wire.peer_active,
        leaving: wire.leaving,
    })
}

/// Requests of peers.
pub(crate) mod request {
    use super::*;

    pub(crate) fn join(wire: &v1::JoinRequest) -> Result<Request, FieldError> {
        Ok(Request::Join {
            request: wire.request_id,
            name: wire.name.parse().map_err(|error| FieldError::bad("name", error))?,
            address: convert::address(&wire.address, "address")?,
        })
    }

    pub(crate) fn update_view(wire: &v1::UpdateViewRequest) -> Result<Request, FieldError> {
        let view = View::try_from(need(wire.view.as_ref(), "view")?)?;
        Ok(Request::UpdateView(view, wire.handover.as_ref().map(Vote::try_from).transpose()?))
    }

    pub(crate) fn elect(wire: &v1::ElectRequest) -> Request {
        Request::Elect(Epoch(wire.epoch), p2p_chat_model::NodeId(wire.candidate))
    }

    pub(crate) fn coordinate(wire: &v1::CoordinateRequest) -> Result<Request, FieldError> {
        let view = View::try_from(need(wire.view.as_ref(), "view")?)?;
        Ok(Request::Coordinate(view, Certificate::try_from(need(wire.certificate.as_ref(), "certificate")?)?))
    }
}

/// The engine's answers, for peers.
pub(crate) mod answer {
    use super::*;

    pub(crate) fn join(response: Response, genesis: bytes::Bytes) -> Result<v1::JoinResponse, Status> {
        use v1::join_response::Outcome;
        let outcome = match response {
            Response::Admitted { view, admission: (author, seq), frontier } => Outcome::Admitted(v1::Admitted {
                view: Some((&view).into()),
                genesis,
                admission: Some(v1::FeedPosition { author: author.to_wire(), seq }),
                frontier: Some((&frontier).into()),
            }),
            Response::NotLeader(hint) => Outcome::NotLeader(encode_hint(&hint)),
            _ => return Err(mismatch()),
        };
        Ok(v1::JoinResponse { outcome: Some(outcome) })
    }

    pub(crate) fn leave(response: Response) -> Result<v1::LeaveResponse, Status> {
        use v1::leave_response::Outcome;
        let outcome = match response {
            Response::Left => Outcome::Left(true),
            Response::NotLeader(hint) => Outcome::NotLeader(encode_hint(&hint)),
            _ => return Err(mismatch()),
        };
        Ok(v1::LeaveResponse { outcome: Some(outcome) })
    }

    pub(crate) fn update_view(response: Response) -> Result<v1::UpdateViewResponse, Status> {
        let Response::Taken(accepted, hint) = response else { return Err(mismatch()) };
        let leader = hint.as_ref().map(encode_hint);
        Ok(v1::UpdateViewResponse { accepted, epoch: hint.map_or(0, |hint| hint.epoch.0), leader })
    }

    pub(crate) fn elect(response: Response) -> Result<v1::ElectResponse, Status> {
        use v1::elect_response::Outcome;
        let outcome = match response {
            Response::TakeOver => Outcome::TakeOver(true),
            Response::Voted(vote) => Outcome::Vote((&vote).into()),
            Response::LeaderAlive => Outcome::LeaderAlive(true),
            Response::Promised(epoch) => Outcome::Voted(epoch.0),
            Response::Outdated(hint) => Outcome::Outdated(encode_hint(&hint)),
            _ => return Err(mismatch()),
        };
        Ok(v1::ElectResponse { outcome: Some(outcome) })
    }

    pub(crate) fn coordinate(response: Response) -> Result<v1::CoordinateResponse, Status> {
        let Response::Taken(accepted, hint) = response else { return Err(mismatch()) };
        Ok(v1::CoordinateResponse { accepted, leader: hint.as_ref().map(encode_hint) })
    }

    pub(crate) fn ping_via(response: Response) -> Result<v1::PingViaResponse, Status> {
        let Response::Pinged(reached, hint) = response else { return Err(mismatch()) };
        Ok(v1::PingViaResponse { reached, leader: hint.as_ref().map(encode_hint) })
    }

    pub(crate) fn deliver(response: Response) -> Result<v1::DeliverResponse, Status> {
        let Response::Acked(acked) = response else { return Err(mismatch()) };
        Ok(v1::DeliverResponse { acked: Some((&acked).into()) })
    }

    pub(crate) fn relay(response: Response) -> Result<v1::RelayResponse, Status> {
        let Response::Relayed(reached, acked_seq) = response else { return Err(mismatch()) };
        Ok(v1::RelayResponse { reached, acked_seq })
    }
}

/// Peers' answers, for the engine.
pub(crate) mod response {
    use super::*;

    pub(crate) fn join(wire: &v1::JoinResponse, network: NetworkId) -> Result<Response, FieldError> {
        use v1::join_response::Outcome;
        match need(wire.outcome.as_ref(), "outcome")? {
            Outcome::NotLeader(hint) => Ok(Response::NotLeader(decode_hint(hint)?)),
            Outcome::Admitted(admitted) => {
                // The run that founds the network proves that this leader speaks of the network that was asked for.
                let genesis = run(&admitted.genesis, network)?;
                if genesis.head().as_bytes() != network.as_bytes() {
                    return Err(FieldError::bad("genesis", "does not found the network"));
                }
                let admission = need(admitted.admission.as_ref(), "admission")?;
                Ok(Response::Admitted {
                    view: View::try_from(need(admitted.view.as_ref(), "view")?)?,
                    admission: (convert::peer(&admission.author, "admission")?, admission.seq),
                    frontier: VectorClock::try_from(need(admitted.frontier.as_ref(), "frontier")?)?,
                })
            }
        }
    }

    pub(crate) fn leave(wire: &v1::LeaveResponse) -> Result<Response, FieldError> {
        use v1::leave_response::Outcome;
        match need(wire.outcome.as_ref(), "outcome")? {
            Outcome::Left(_) => Ok(Response::Left),
            Outcome::NotLeader(hint) => Ok(Response::NotLeader(decode_hint(hint)?)),
        }
    }

    pub(crate) fn taken(accepted: bool, leader: Option<&v1::LeaderHint>) -> Result<Response, FieldError> {
        Ok(Response::Taken(accepted, decode_optional_hint(leader)?))
    }

    pub(crate) fn elect(wire: &v1::ElectResponse) -> Result<Response, FieldError> {
        use v1::elect_response::Outcome;
        Ok(match need(wire.outcome.as_ref(), "outcome")? {
            Outcome::TakeOver(_) => Response::TakeOver,
            Outcome::Vote(vote) => Response::Voted(Vote::try_from(vote)?),
            Outcome::LeaderAlive(_) => Response::LeaderAlive,
            Outcome::Voted(epoch) => Response::Promised(Epoch(*epoch)),
            Outcome::Outdated(hint) => Response::Outdated(decode_hint(hint)?),
        })
    }

    pub(crate) fn ping(wire: &v1::PingResponse) -> Result<Response, FieldError> {
        wire.standing
            .as_ref()
            .map_or(Ok(Response::Alive), |standing| Ok(Response::Standing(decode_standing(standing)?)))
    }

    pub(crate) fn ping_via(wire: &v1::PingViaResponse) -> Result<Response, FieldError> {
        Ok(Response::Pinged(wire.reached, decode_optional_hint(wire.leader.as_ref())?))
    }

    pub(crate) fn deliver(wire: &v1::DeliverResponse) -> Result<Response, FieldError> {
        Ok(Response::Acked(VectorClock::try_from(need(wire.acked.as_ref(), "acked")?)?))
    }
}

/// What a discovery service has on record.
pub(crate) fn record(wire: Option<&v1::NetworkRecord>) -> Result<Record, FieldError> {
    let wire = need(wire, "record")?;
    if wire.contacts.len() > MAX_CONTACTS {
        return Err(FieldError::bad("contacts", format!("more than {MAX_CONTACTS}")));
    }
    let mut contacts = Vec::new();
    for contact in &wire.contacts {
        contacts.push((convert::peer(&contact.peer, "contact")?, convert::address(&contact.address, "contact")?));
    }
    let leader = LeaderHint {
        epoch: Epoch(wire.epoch),
        peer: convert::peer(&wire.leader, "leader")?,
        address: convert::address(&wire.leader_address, "leader's address")?,
    };
    Ok(Record { leader, contacts })
}

/// Why a discovery service did not do as asked. What it may say one day beyond this is taken for the most general.
pub(crate) fn refusal(wire: v1::Refusal) -> DiscoveryRefusal {
    match wire {
        v1::Refusal::Epoch => DiscoveryRefusal::Epoch,
        v1::Refusal::LeaderAlive => DiscoveryRefusal::LeaderAlive,
        v1::Refusal::Outdated => DiscoveryRefusal::Outdated,
        v1::Refusal::Unreachable => DiscoveryRefusal::Unreachable,
        v1::Refusal::NotActive => DiscoveryRefusal::NotActive,
        v1::Refusal::NotLeader | v1::Refusal::Unspecified => DiscoveryRefusal::NotLeader,
    }
}
