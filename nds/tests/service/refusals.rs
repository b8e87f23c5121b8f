//! Who may not, and what can't be read: nothing changes.

use p2p_chat_proto::{convert::ToWire, v1};
use tempfile::TempDir;
use tonic::Code;

use crate::support::{Network, Service, by_name, person};

#[tokio::test]
async fn whoever_has_no_right_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let mut nds = Service::start(dir.path()).await;
    let lab = Network::found(1, "lab");
    nds.create(&lab).await;
    let before = nds.list().await;

    // Mallory, 9, signs in alice's name, with her own key, and with a signature for another call.
    let view = lab.view(1, 2, &[1]);
    let mut forged = lab.renew(2, &view);
    let by_mallory = lab.statement(p2p_chat_model::registration::Action::Renew, 2, 1, &lab.view(1, 2, &[9]));
    forged.registration.as_mut().unwrap().signature = by_mallory.signature.clone();
    let refused = nds.client.renew_lease(forged).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut swapped = lab.renew(2, &view);
    swapped.registration.as_mut().unwrap().signer = person(9).peer().to_wire();
    assert_eq!(nds.client.renew_lease(swapped).await.unwrap_err().code(), Code::InvalidArgument);
    let close = v1::CloseNetworkRequest { registration: lab.renew(2, &view).registration };
    assert_eq!(nds.client.close_network(close).await.unwrap_err().code(), Code::Unauthenticated);

    let renewed = nds.client.renew_lease(lab.renew(2, &lab.view(1, 2, &[9]))).await.unwrap().into_inner();
    assert_eq!((renewed.accepted, renewed.refusal()), (false, v1::Refusal::NotLeader));
    let led = nds.client.update_leader(lab.update(1, &lab.view(2, 2, &[9]), &[9])).await.unwrap().into_inner();
    assert_eq!((led.accepted, led.refusal()), (false, v1::Refusal::NotActive));
    let mut bad_vote = lab.update(1, &lab.view(2, 2, &[9]), &[1]);
    bad_vote.votes[0].epoch += 1;
    assert_eq!(nds.client.update_leader(bad_vote).await.unwrap_err().code(), Code::Unauthenticated);
    let closed = nds.client.close_network(lab.close(2, &lab.view(1, 2, &[9]))).await.unwrap_err();
    assert_eq!(closed.code(), Code::PermissionDenied);
    let taken = nds.client.create_network(lab.create(2, &lab.view(2, 2, &[9]))).await.unwrap_err();
    assert_eq!(taken.code(), Code::PermissionDenied);

    let other = Network::found(9, "lab");
    let named = nds.client.create_network(other.create(1, &other.view(1, 1, &[9]))).await.unwrap_err();
    assert_eq!(named.code(), Code::AlreadyExists);
    assert!(named.message().contains(&lab.id.to_string()), "{}", named.message());

    assert_eq!(nds.list().await, before);
    nds.stop().await;
}

#[tokio::test]
async fn malformed_requests_name_their_field_and_change_nothing() {
    let dir = TempDir::new().unwrap();
    let mut nds = Service::start(dir.path()).await;
    let lab = Network::found(1, "lab");
    let good = lab.create(1, &lab.view(1, 1, &[1]));
    type Change = fn(&mut v1::CreateNetworkRequest);
    let cases: [(&str, Change); 9] = [
        ("registration", |request| request.registration = None),
        ("view", |request| request.registration.as_mut().unwrap().view = None),
        ("view", |request| request.registration.as_mut().unwrap().view.as_mut().unwrap().active.clear()),
        ("signer", |request| request.registration.as_mut().unwrap().signer = vec![1; 31].into()),
        ("network", |request| request.registration.as_mut().unwrap().network = vec![].into()),
        ("signature", |request| request.registration.as_mut().unwrap().signature = vec![].into()),
        ("genesis", |request| request.genesis = vec![0; 4097].into()),
        ("genesis", |request| request.genesis = vec![].into()),
        ("admission", |request| request.admission = vec![vec![0; 300 * 1024].into(); 7]),
    ];
    for (field, change) in cases {
        let mut bad = good.clone();
        change(&mut bad);
        let refused = nds.client.create_network(bad).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{field}");
        assert!(refused.message().starts_with(field), "{field}: {}", refused.message());
    }
    for name in ["", "a\u{7}", &"x".repeat(65)] {
        assert_eq!(nds.client.get_network(by_name(name)).await.unwrap_err().code(), Code::InvalidArgument);
    }
    let nothing = v1::GetNetworkRequest { key: None };
    assert_eq!(nds.client.get_network(nothing).await.unwrap_err().code(), Code::InvalidArgument);
    let token = v1::ListNetworksRequest { page_token: "zz".to_owned(), ..Default::default() };
    assert_eq!(nds.client.list_networks(token).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(nds.list().await, []);
    nds.stop().await;
}
