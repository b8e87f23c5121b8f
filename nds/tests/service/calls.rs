//! The calls and their answers.

use p2p_chat_model::Epoch;
use p2p_chat_nds::registry::Answer;
use p2p_chat_proto::{convert::ToWire, v1};
use tempfile::TempDir;
use tonic::Code;

use crate::support::{Network, Service, address, by_name, person};

#[tokio::test]
async fn a_network_is_found_by_name_and_id_until_it_is_closed() {
    let dir = TempDir::new().unwrap();
    let mut nds = Service::start(dir.path()).await;
    let lab = Network::found(1, "lab");
    let record = nds.create(&lab).await;
    let expected = v1::NetworkRecord {
        network: lab.id.to_wire(),
        name: "lab".to_owned(),
        epoch: 1,
        leader: person(1).peer().to_wire(),
        leader_node_id: 1,
        leader_address: address(1).to_string(),
        members: 1,
        stale: false,
        view_version: 1,
        contacts: lab.view(1, 1, &[1]).active.iter().map(Into::into).collect(),
    };
    assert_eq!(record, expected);
    assert_eq!(nds.create(&lab).await, expected, "a retry gets the same answer");
    let found = nds.client.get_network(by_name("lab")).await.unwrap().into_inner();
    assert_eq!(found.record.as_ref(), Some(&expected));
    let by_id = v1::GetNetworkRequest { key: Some(v1::get_network_request::Key::Network(lab.id.to_wire())) };
    assert_eq!(nds.client.get_network(by_id).await.unwrap().into_inner(), found);
    assert_eq!(nds.list().await, [expected]);

    let together = nds.client.close_network(lab.close(2, &lab.view(1, 2, &[1, 2]))).await.unwrap_err();
    assert_eq!(together.code(), Code::FailedPrecondition);
    nds.client.close_network(lab.close(2, &lab.view(1, 2, &[1]))).await.unwrap();
    nds.client.close_network(lab.close(2, &lab.view(1, 2, &[1]))).await.unwrap();
    let gone = nds.client.get_network(by_name("lab")).await.unwrap_err();
    assert_eq!(
        (gone.code(), gone.message()),
        (Code::NotFound, "no network named \"lab\" is registered here; create it first")
    );
    nds.stop().await;
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let mut nds = Service::start(dir.path()).await;
    let lab = Network::found(1, "lab");
    nds.create(&lab).await;
    let renewed = nds.client.renew_lease(lab.renew(7, &lab.view(1, 5, &[1, 2, 3]))).await.unwrap().into_inner();
    assert_eq!((renewed.accepted, renewed.serial), (true, 7));
    let before = nds.list().await;
    nds.stop().await;

    let mut nds = Service::start(dir.path()).await;
    assert_eq!(nds.list().await, before);
    let replayed = nds.client.renew_lease(lab.renew(7, &lab.view(1, 5, &[1, 2, 3]))).await.unwrap().into_inner();
    assert_eq!((replayed.accepted, replayed.refusal(), replayed.serial), (false, v1::Refusal::Outdated, 7));
    nds.stop().await;
}

#[tokio::test]
async fn a_leader_that_answers_is_replaced_only_by_a_majority() {
    let dir = TempDir::new().unwrap();
    let mut nds = Service::start(dir.path()).await;
    let lab = Network::found(1, "lab");
    nds.create(&lab).await;
    nds.client.renew_lease(lab.renew(2, &lab.view(1, 2, &[1, 2, 3]))).await.unwrap();
    nds.pings.set(1, Answer::Reached { leads_epoch: Epoch(1) });

    let next = lab.view(2, 3, &[2, 3]);
    let alone = nds.client.update_leader(lab.update(1, &next, &[2])).await.unwrap().into_inner();
    assert_eq!((alone.accepted, alone.refusal()), (false, v1::Refusal::LeaderAlive));
    assert_eq!(alone.record.unwrap().leader, person(1).peer().to_wire());

    let together = nds.client.update_leader(lab.update(1, &next, &[2, 3])).await.unwrap().into_inner();
    let record = together.record.unwrap();
    assert!(together.accepted);
    assert_eq!((record.epoch, record.leader, record.members), (2, person(2).peer().to_wire(), 2));

    let deposed = nds.client.renew_lease(lab.renew(3, &lab.view(1, 3, &[1, 2, 3]))).await.unwrap().into_inner();
    assert_eq!((deposed.accepted, deposed.refusal()), (false, v1::Refusal::NotLeader));
    assert_eq!(deposed.record.unwrap().epoch, 2);

    nds.pings.set(2, Answer::Unreachable);
    let third = lab.view(3, 4, &[3]);
    let dead = nds.client.update_leader(lab.update(2, &third, &[])).await.unwrap().into_inner();
    assert!(dead.accepted, "the one before is dead");
    nds.stop().await;
}

#[tokio::test]
async fn an_address_that_leads_elsewhere_is_refused_and_named() {
    let dir = TempDir::new().unwrap();
    let mut nds = Service::start(dir.path()).await;
    nds.pings.set(1, Answer::Unreachable);
    let lab = Network::found(1, "lab");
    let refused = nds.client.create_network(lab.create(1, &lab.view(1, 1, &[1]))).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("10.0.0.1:7500"), "{}", refused.message());
    assert_eq!(nds.list().await, []);
    nds.stop().await;
}

#[tokio::test]
async fn the_list_comes_in_pages() {
    let dir = TempDir::new().unwrap();
    let mut nds = Service::start(dir.path()).await;
    for creator in 1..=5 {
        nds.create(&Network::found(creator, &format!("net {creator}"))).await;
    }
    let (mut names, mut sizes, mut page_token) = (Vec::new(), Vec::new(), String::new());
    loop {
        let request = v1::ListNetworksRequest { page_size: 2, page_token };
        let page = nds.client.list_networks(request).await.unwrap().into_inner();
        sizes.push(page.records.len());
        names.extend(page.records.into_iter().map(|record| record.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["net 1", "net 2", "net 3", "net 4", "net 5"]);
    assert_eq!(sizes, [2, 2, 1]);
    nds.stop().await;
}

#[tokio::test]
async fn of_two_candidates_at_the_same_time_one_leads() {
    let dir = TempDir::new().unwrap();
    let mut nds = Service::start(dir.path()).await;
    let lab = Network::found(1, "lab");
    nds.create(&lab).await;
    nds.client.renew_lease(lab.renew(2, &lab.view(1, 2, &[1, 2, 3]))).await.unwrap();
    nds.pings.set(1, Answer::Unreachable);
    let (mut one, mut other) = (nds.client.clone(), nds.client.clone());
    let (bob, carol) = tokio::join!(
        one.update_leader(lab.update(1, &lab.view(2, 3, &[2, 3]), &[])),
        other.update_leader(lab.update(1, &lab.view(2, 3, &[3, 2]), &[])),
    );
    let (bob, carol) = (bob.unwrap().into_inner(), carol.unwrap().into_inner());
    let (winner, loser) = if bob.accepted { (bob, carol) } else { (carol, bob) };
    assert!(winner.accepted);
    assert_eq!((loser.accepted, loser.refusal()), (false, v1::Refusal::Epoch));
    assert_eq!(loser.record, winner.record);
    assert_eq!(nds.list().await, [winner.record.unwrap()]);
    nds.stop().await;
}
