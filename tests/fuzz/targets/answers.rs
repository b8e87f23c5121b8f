//! What peers and discovery services answer, decoded as the node does that asked.

use p2p_chat::fuzzing::{ANSWERS, Answered, answer, encode_frontier, encode_standing};
use p2p_chat_engine::DiscoveryAnswer;
use p2p_chat_model::{Epoch, Vote};
use p2p_chat_proto::{convert::ToWire, v1};
use prost::Message;

use super::{calls, limits, valid};

pub(crate) fn check(input: &[u8]) {
    let (which, body) = input.split_first().unwrap_or((&0, &[]));
    let name = ANSWERS[usize::from(*which) % ANSWERS.len()];
    decode(name, body);
    if name == "Elect"
        && let Ok(mut answer) = v1::ElectResponse::decode(body)
        && let Some(v1::elect_response::Outcome::Vote(vote)) = &mut answer.outcome
    {
        calls::cast(vote);
        decode(name, &answer.encode_to_vec());
    }
}

fn decode(name: &str, body: &[u8]) {
    let network = valid::network();
    let Some(answered) = answer(name, body, network) else { return };
    assert_eq!(answer(name, body, network).as_ref(), Some(&answered), "the second look says something else");
    match answered {
        Ok(Answered::Peer(response)) => limits::response(&response),
        Ok(Answered::Runs(runs)) => {
            for (run, bytes) in &runs {
                limits::run(run, bytes);
                assert_eq!(run.network, network);
            }
        }
        Ok(Answered::Discovery(DiscoveryAnswer::Accepted(record) | DiscoveryAnswer::Refused(_, record, _))) => {
            limits::record(&record);
        }
        Ok(Answered::Discovery(DiscoveryAnswer::Closed | DiscoveryAnswer::Unknown)) => {}
        Ok(Answered::Listed(_, name, record)) => {
            limits::name(&name);
            limits::record(&record);
        }
        Err(reason) => limits::sentence(&reason),
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let hint = || v1::LeaderHint { epoch: 3, leader: valid::peer(0).to_wire(), address: "alice:7500".to_owned() };
    let view = valid::view(3, 9, 0, &[0, 1, 2]);
    let admitted = v1::Admitted {
        view: Some((&view).into()),
        genesis: valid::genesis().encode().into(),
        admission: Some(v1::FeedPosition { author: valid::peer(0).to_wire(), seq: 4 }),
        frontier: Some(encode_frontier(&valid::clock(&[(0, 9), (1, 3)]))),
    };
    let vote = Vote::cast(valid::identity(2), valid::network(), Epoch(4), valid::peer(1));
    let record = || v1::NetworkRecord {
        network: valid::network().to_wire(),
        name: "lab".to_owned(),
        epoch: 3,
        leader: valid::peer(0).to_wire(),
        leader_node_id: 1,
        leader_address: "alice:7500".to_owned(),
        members: 3,
        stale: false,
        view_version: 9,
        contacts: view.active.iter().map(Into::into).collect(),
    };
    let runs = valid::bobs_feed().iter().map(|run| run.encode().into()).collect();
    let joined = v1::join_response::Outcome::Admitted(admitted);
    let voted = v1::elect_response::Outcome::Vote((&vote).into());
    let standing = encode_standing(&calls::standing(Some(valid::clock(&[(0, 9)]))));
    let refused = v1::Refusal::LeaderAlive.into();
    let acked = Some(encode_frontier(&valid::clock(&[(0, 4), (1, 2)])));
    let bodies = [
        ("Join", v1::JoinResponse { outcome: Some(joined) }.encode_to_vec()),
        ("Leave", v1::LeaveResponse { outcome: Some(v1::leave_response::Outcome::NotLeader(hint())) }.encode_to_vec()),
        ("UpdateView", v1::UpdateViewResponse { accepted: true, epoch: 3, leader: Some(hint()) }.encode_to_vec()),
        ("Elect", v1::ElectResponse { outcome: Some(voted) }.encode_to_vec()),
        ("Coordinate", v1::CoordinateResponse { accepted: false, leader: Some(hint()) }.encode_to_vec()),
        ("Ping", v1::PingResponse { leads_epoch: 3, standing: Some(standing) }.encode_to_vec()),
        ("PingVia", v1::PingViaResponse { reached: true, leader: Some(hint()) }.encode_to_vec()),
        ("Deliver", v1::DeliverResponse { acked }.encode_to_vec()),
        ("Fetch", v1::FetchResponse { runs }.encode_to_vec()),
        (
            "UpdateLeader",
            v1::UpdateLeaderResponse { accepted: false, refusal: refused, record: Some(record()) }.encode_to_vec(),
        ),
        (
            "RenewLease",
            v1::RenewLeaseResponse { accepted: true, refusal: 0, record: Some(record()), serial: 7 }.encode_to_vec(),
        ),
        ("Record", record().encode_to_vec()),
    ];
    let number = |name: &str| ANSWERS.iter().position(|answer| *answer == name).expect("an answer") as u8;
    bodies.into_iter().map(|(name, body)| [vec![number(name)], body].concat()).collect()
}
