//! `WatchNetworks`.

use std::time::Duration;

use p2p_chat_nds::Config;
use p2p_chat_proto::{
    convert::ToWire,
    v1::{self, watch_networks_response::Change},
};
use tempfile::TempDir;
use tonic::Code;

use crate::support::{Network, Service};

async fn next(changes: &mut tonic::Streaming<v1::WatchNetworksResponse>) -> Result<Change, tonic::Status> {
    let next = tokio::time::timeout(std::time::Duration::from_secs(20), changes.message()).await;
    next.expect("a change in time").map(|change| change.expect("no end without an error").change.unwrap())
}

#[tokio::test]
async fn a_watcher_sees_what_is_and_what_becomes() {
    let dir = TempDir::new().unwrap();
    let mut nds = Service::start(dir.path()).await;
    let (lab, other) = (Network::found(1, "lab"), Network::found(2, "pub"));
    let first = nds.create(&lab).await;
    let mut changes = nds.client.watch_networks(v1::WatchNetworksRequest {}).await.unwrap().into_inner();
    assert_eq!(next(&mut changes).await.unwrap(), Change::Updated(first));
    assert_eq!(next(&mut changes).await.unwrap(), Change::Synced(true));
    let second = nds.create(&other).await;
    assert_eq!(next(&mut changes).await.unwrap(), Change::Updated(second));
    nds.client.close_network(other.close(2, &other.view(1, 1, &[2]))).await.unwrap();
    assert_eq!(next(&mut changes).await.unwrap(), Change::Removed(other.id.to_wire()));
    nds.stop().await;
    let end = next(&mut changes).await.unwrap_err();
    assert_eq!(end.code(), Code::Unavailable, "{end:?}");
}

#[tokio::test]
async fn a_watcher_is_told_when_a_lease_runs_out_and_when_the_leader_is_back() {
    let dir = TempDir::new().unwrap();
    let mut nds = Service::start_with(Config { lease: Duration::from_secs(5), ..Config::new(dir.path()) }).await;
    let lab = Network::found(1, "lab");
    let fresh = nds.create(&lab).await;
    let stale = Change::Updated(v1::NetworkRecord { stale: true, ..fresh.clone() });
    let mut changes = nds.client.watch_networks(v1::WatchNetworksRequest {}).await.unwrap().into_inner();
    while next(&mut changes).await.unwrap() != stale {}
    nds.client.renew_lease(lab.renew(2, &lab.view(1, 1, &[1]))).await.unwrap();
    assert_eq!(next(&mut changes).await.unwrap(), Change::Updated(fresh));
    assert_eq!(next(&mut changes).await.unwrap(), stale);
    nds.stop().await;
}
