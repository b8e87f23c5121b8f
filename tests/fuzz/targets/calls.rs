//! What peers ask: the body of every call that a node serves to others, decoded as its service does.

use p2p_chat::fuzzing::{Asked, CALLS, call, encode_frontier, encode_standing};
use p2p_chat_engine::{Request, Standing};
use p2p_chat_model::{Epoch, VectorClock, Vote};
use p2p_chat_proto::{convert::ToWire, v1};
use prost::Message;
use tonic::Code;

use super::{limits, valid};

pub(crate) fn check(input: &[u8]) {
    let (which, body) = input.split_first().unwrap_or((&0, &[]));
    let name = CALLS[usize::from(*which) % CALLS.len()];
    decode(name, body);
    // Members sign what they like, so what they say also comes with votes that are genuine.
    if let Some(signed) = signed(name, body) {
        decode(name, &signed);
    }
}

fn decode(name: &str, body: &[u8]) {
    let network = valid::network();
    let Some(asked) = call(name, body, network) else { return };
    match asked {
        Ok(Asked::Engine(request)) => {
            limits::request(&request);
            let again = encode(name, &request);
            assert_eq!(call(name, &again, network).and_then(Result::ok), Some(Asked::Engine(request)));
        }
        Ok(Asked::Runs(runs)) => {
            let size: usize = runs.iter().map(|(_, bytes)| bytes.len()).sum();
            assert!(runs.len() <= 4_096 && size <= 2 << 20, "{} runs, {size} bytes", runs.len());
            for (run, bytes) in &runs {
                limits::run(run, bytes);
                assert_eq!(run.network, network);
            }
        }
        Ok(Asked::Alive) => {}
        Err(status) => {
            assert!(matches!(status.code(), Code::InvalidArgument | Code::Unauthenticated), "{status:?}");
            limits::names_a_field(status.message());
        }
    }
}

/// The request as a node sends it.
fn encode(name: &str, request: &Request) -> Vec<u8> {
    let network = valid::network().to_wire();
    match request {
        Request::Join { request, name, address } => {
            let (name, address) = (name.to_string(), address.to_string());
            v1::JoinRequest { network, request_id: *request, name, address }.encode_to_vec()
        }
        Request::Leave => v1::LeaveRequest { network }.encode_to_vec(),
        Request::UpdateView(view, handover) => {
            let handover = handover.as_ref().map(Into::into);
            v1::UpdateViewRequest { network, view: Some(view.into()), handover }.encode_to_vec()
        }
        Request::Elect(epoch, node) => v1::ElectRequest { network, epoch: epoch.0, candidate: node.0 }.encode_to_vec(),
        Request::Coordinate(view, certificate) => {
            let (view, certificate) = (Some(view.into()), Some(certificate.into()));
            v1::CoordinateRequest { network, view, certificate }.encode_to_vec()
        }
        Request::Ping(standing) => {
            v1::PingRequest { network, standing: Some(encode_standing(standing)) }.encode_to_vec()
        }
        Request::PingVia(target) => v1::PingViaRequest { network, target: target.to_wire() }.encode_to_vec(),
        Request::Relay(target) => v1::RelayRequest { network, target: target.to_wire() }.encode_to_vec(),
        Request::Fetch(have, not_of) => {
            let not_of = not_of.iter().map(ToWire::to_wire).collect();
            v1::FetchRequest { network, have: Some(encode_frontier(have)), not_of }.encode_to_vec()
        }
        Request::Deliver(_) => panic!("{name} is decoded as runs"),
    }
}

/// The same with votes that their voters have cast, where their keys are known here.
fn signed(name: &str, body: &[u8]) -> Option<Vec<u8>> {
    match name {
        "UpdateView" => {
            let mut request = v1::UpdateViewRequest::decode(body).ok()?;
            cast(request.handover.as_mut()?);
            Some(request.encode_to_vec())
        }
        "Coordinate" => {
            let mut request = v1::CoordinateRequest::decode(body).ok()?;
            request.certificate.as_mut()?.votes.iter_mut().take(20).for_each(cast);
            Some(request.encode_to_vec())
        }
        _ => None,
    }
}

/// Signs a vote for whatever it says.
pub(crate) fn cast(vote: &mut v1::Vote) {
    let (Ok(network), Ok(candidate)) = (vote.network[..].try_into(), vote.candidate[..].try_into()) else { return };
    let Ok(voter) = vote.voter[..].try_into() else { return };
    if let Some(identity) = valid::identity_of(&voter) {
        *vote = (&Vote::cast(identity, network, Epoch(vote.epoch), candidate)).into();
    }
}

pub(crate) fn standing(frontier: Option<VectorClock>) -> Standing {
    let leader = p2p_chat_engine::LeaderHint { epoch: Epoch(3), peer: valid::peer(0), address: valid::address(0) };
    Standing {
        leader: Some(leader),
        epoch: Epoch(3),
        version: 9,
        digest: 77,
        frontier,
        peer_active: true,
        leaving: true,
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let view = valid::view(3, 9, 0, &[0, 1, 2]);
    let requests = [
        ("Join", Request::Join { request: 5, name: valid::name("erin"), address: valid::address(4) }),
        ("Leave", Request::Leave),
        ("UpdateView", Request::UpdateView(view.clone(), None)),
        ("UpdateView", Request::UpdateView(view.clone(), Some(valid::vote(0, 4, 1)))),
        ("Elect", Request::Elect(Epoch(4), p2p_chat_model::NodeId(2))),
        ("Coordinate", Request::Coordinate(view, valid::certificate(3, 0))),
        ("Ping", Request::Ping(standing(None))),
        ("Ping", Request::Ping(standing(Some(valid::clock(&[(0, 9), (1, u64::MAX), (2, 1)]))))),
        ("PingVia", Request::PingVia(valid::peer(2))),
        ("Relay", Request::Relay(valid::peer(2))),
        ("Fetch", Request::Fetch(valid::clock(&[(0, 9), (3, 2)]), [valid::peer(2)].into())),
    ];
    let mut seeds: Vec<Vec<u8>> =
        requests.iter().map(|(name, request)| [vec![number(name)], encode(name, request)].concat()).collect();
    let runs = [valid::alices_feed(), valid::bobs_feed()].concat();
    let runs = runs.iter().map(|run| run.encode().into()).collect();
    let deliver = v1::DeliverRequest { network: valid::network().to_wire(), runs };
    seeds.push([vec![number("Deliver")], deliver.encode_to_vec()].concat());
    seeds
}

fn number(name: &str) -> u8 {
    CALLS.iter().position(|call| *call == name).expect("a call") as u8
}
