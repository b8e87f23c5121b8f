//! What leaders state to a discovery service, up to what its registry makes of it.

use std::time::Duration;

use p2p_chat_model::{Epoch, Registration, View, registration::Action};
use p2p_chat_nds::{
    fuzzing::{STATEMENTS, decide, key, page},
    registry::{Answer, Answers, Change, Record, Registry, Terms, Tombstone, Verdict},
};
use p2p_chat_proto::{convert::ToWire, v1};
use prost::Message;
use tonic::Status;

use super::{calls, choices::Choices, limits, valid};

const NOW: Duration = Duration::from_secs(1_800_000_000);

/// What the registry knows of the network before.
fn registry(situation: u8) -> Registry {
    let mut registry =
        Registry::new(Terms { max_networks: 2, max_members: 1_500, max_tombstones: 2, ..Terms::default() });
    let heard = if situation & 4 == 0 { NOW } else { NOW - Duration::from_secs(3_600) };
    let record = |name: &str, network, view| Record::new(network, valid::name(name), view, 7, heard);
    match situation % 4 {
        0 => {}
        1 => {
            let tombstone = Tombstone {
                network: valid::network(),
                epoch: Epoch(3),
                leader: valid::peer(0),
                serial: 7,
                since: heard,
            };
            registry.apply(NOW, Change::Remove(tombstone));
        }
        _ => {
            let lab = record("lab", valid::network(), valid::view(3, 9, 0, &[0, 1, 2])).expect("it has a leader");
            registry.apply(NOW, Change::Put(lab));
        }
    }
    if situation % 4 == 3 {
        let den = p2p_chat_model::NetworkId::new([9; 32]);
        registry.apply(NOW, Change::Put(record("den", den, valid::view(1, 1, 3, &[3])).expect("it has a leader")));
    }
    registry
}

pub(crate) fn check(input: &[u8]) {
    let mut choices = Choices(input);
    let (which, situation) = (choices.byte(), choices.byte());
    let body = choices.0;
    let mut registry = registry(situation);
    match usize::from(which) % (STATEMENTS.len() + 2) {
        4 => {
            if let Some(Err(status)) = key(body) {
                limits::names_a_field(status.message());
            }
        }
        5 => listed(body, &registry),
        which => {
            let (call, answered) = (STATEMENTS[which], situation >> 3);
            settle(call, body, &mut registry, answered);
            if let Some(signed) = signed(call, body) {
                settle(call, &signed, &mut registry, answered);
                settle(call, &signed, &mut registry, answered);
            }
        }
    }
}

/// Decides, asks whom there is to ask, and carries out, as the service does.
fn settle(call: &str, body: &[u8], registry: &mut Registry, answered: u8) {
    let mut answers = Answers::new();
    for _ in 0..4 {
        let Some(decided) = decide(call, body, registry, NOW, &answers) else { return };
        match decided {
            Ok(Verdict::AskFirst(probes)) => {
                assert!(!probes.is_empty() && probes.len() <= 2, "{probes:?}");
                for probe in probes {
                    let leads_epoch = Epoch(u64::from(answered >> 1));
                    let answer = if answered & 1 == 0 { Answer::Reached { leads_epoch } } else { Answer::Unreachable };
                    assert!(answers.insert(probe, answer).is_none(), "the same is asked twice");
                }
            }
            Ok(Verdict::Accept(changes)) => return changes.into_iter().for_each(|change| carry_out(registry, change)),
            Ok(Verdict::Standing) => return,
            Err(status) => return refused(&status),
        }
    }
    panic!("it asks for ever");
}

fn carry_out(registry: &mut Registry, change: Change) {
    let network = change.network();
    let epoch = |registry: &Registry| {
        let buried = registry.tombstone(&network).map(|tombstone| tombstone.epoch);
        registry.record(&network).map(Record::epoch).or(buried)
    };
    let before = epoch(registry);
    registry.apply(NOW, change.clone());
    assert!(epoch(registry) >= before || matches!(change, Change::Forget(_)), "the epoch fell: {change:?}");
    let mut names = 0;
    for record in registry.list(None) {
        limits::view(record.view());
        limits::name(record.name());
        assert_eq!(registry.named(record.name()).map(Record::network), Some(record.network()));
        names += 1;
    }
    assert_eq!(names, registry.len(), "a name is lost or used twice");
    assert!(registry.len() <= registry.terms().max_networks);
}

fn refused(status: &Status) {
    limits::sentence(status.message());
    assert_ne!(status.code(), tonic::Code::Internal, "{status:?}");
}

fn listed(body: &[u8], registry: &Registry) {
    match page(body, registry, NOW) {
        Some(Ok(found)) => {
            assert!(found.records.len() <= registry.len() && found.encoded_len() <= 4 << 20);
            if !found.next_page_token.is_empty() {
                let next = v1::ListNetworksRequest { page_size: 0, page_token: found.next_page_token };
                let next = page(&next.encode_to_vec(), registry, NOW);
                assert!(matches!(next, Some(Ok(_))), "the service refuses its own token");
            }
        }
        Some(Err(status)) => limits::names_a_field(status.message()),
        None => {}
    }
}

/// The same, signed by the leader that it names, with votes that are genuine.
fn signed(call: &str, body: &[u8]) -> Option<Vec<u8>> {
    match call {
        "CreateNetwork" => {
            let mut request = v1::CreateNetworkRequest::decode(body).ok()?;
            sign(request.registration.as_mut()?, Action::Create)?;
            Some(request.encode_to_vec())
        }
        "UpdateLeader" => {
            let mut request = v1::UpdateLeaderRequest::decode(body).ok()?;
            sign(request.registration.as_mut()?, Action::Update)?;
            request.votes.iter_mut().take(20).for_each(calls::cast);
            Some(request.encode_to_vec())
        }
        "RenewLease" => {
            let mut request = v1::RenewLeaseRequest::decode(body).ok()?;
            sign(request.registration.as_mut()?, Action::Renew)?;
            Some(request.encode_to_vec())
        }
        _ => {
            let mut request = v1::CloseNetworkRequest::decode(body).ok()?;
            sign(request.registration.as_mut()?, Action::Close)?;
            Some(request.encode_to_vec())
        }
    }
}

fn sign(wire: &mut v1::Registration, action: Action) -> Option<()> {
    let view = View::try_from(wire.view.as_ref()?).ok()?;
    let identity = valid::identity_of(&view.leader()?.peer)?;
    let network = wire.network[..].try_into().ok()?;
    let statement = Registration { network, view, expected_epoch: Epoch(wire.expected_epoch), serial: wire.serial };
    *wire = v1::Registration::signed(&statement, action, identity);
    assert_eq!(wire.verified(action).as_ref(), Ok(&statement), "a genuine statement is refused");
    Some(())
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let statement = |view: View, expected: u64, serial: u64| Registration {
        network: valid::network(),
        view,
        expected_epoch: Epoch(expected),
        serial,
    };
    let registration = |statement: &Registration, who: usize, action| {
        Some(v1::Registration::signed(statement, action, valid::identity(who)))
    };
    let founding = statement(valid::view(1, 1, 0, &[0]), 1, 1);
    let again = statement(valid::view(5, 20, 1, &[1, 2]), 5, 9);
    let update = statement(valid::view(4, 10, 1, &[1, 2]), 3, 1);
    let renew = statement(valid::view(3, 10, 0, &[0, 1, 2, 3]), 3, 8);
    let close = statement(valid::view(3, 11, 0, &[0]), 3, 9);
    let genesis: bytes::Bytes = valid::genesis().encode().into();
    let admission: Vec<bytes::Bytes> = valid::alices_feed()[1..2].iter().map(|run| run.encode().into()).collect();
    let create = |statement: &Registration, who, admission| v1::CreateNetworkRequest {
        registration: registration(statement, who, Action::Create),
        genesis: genesis.clone(),
        admission,
    };
    let votes = (1..3).map(|voter| (&valid::vote(voter, 4, 1)).into()).collect();
    let update = v1::UpdateLeaderRequest { registration: registration(&update, 1, Action::Update), votes };
    let renew = v1::RenewLeaseRequest { registration: registration(&renew, 0, Action::Renew) };
    let close = v1::CloseNetworkRequest { registration: registration(&close, 0, Action::Close) };
    let by_id = v1::get_network_request::Key::Network(valid::network().to_wire());
    let bodies = [
        (0, create(&founding, 0, Vec::new()).encode_to_vec()),
        (0, create(&again, 1, admission).encode_to_vec()),
        (1, update.encode_to_vec()),
        (2, renew.encode_to_vec()),
        (3, close.encode_to_vec()),
        (4, v1::GetNetworkRequest { key: Some(by_id) }.encode_to_vec()),
        (5, v1::ListNetworksRequest { page_size: 1, page_token: hex::encode("den") }.encode_to_vec()),
    ];
    let situations = [0u8, 1, 2, 3, 6, 7, 8 + 2, 8 + 7, 0x70 + 2];
    let with = |situation: u8| bodies.iter().map(move |(which, body)| [&[*which, situation], &body[..]].concat());
    situations.into_iter().flat_map(with).collect()
}
