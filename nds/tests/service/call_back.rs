//! Calling back over real TLS: only the key decides.

use std::{sync::Arc, time::Duration};

use p2p_chat_model::{Address, Epoch, Identity, NetworkId};
use p2p_chat_nds::{
    probe::{NodePinger, Pinger},
    registry::{Answer, Probe},
};
use p2p_chat_proto::v1::{self, liveness_server::LivenessServer};
use p2p_chat_transport::{Limits, incoming, tls::server_config};
use tokio::net::{TcpListener, TcpSocket};
use tonic::{Request, Response, Status};

use crate::support::person;

/// Leads epoch 7 of the network of 32 ones.
struct Node;

#[tonic::async_trait]
impl v1::liveness_server::Liveness for Node {
    async fn ping(&self, request: Request<v1::PingRequest>) -> Result<Response<v1::PingResponse>, Status> {
        let leads_epoch = if request.get_ref().network == vec![1; 32] { 7 } else { 0 };
        Ok(Response::new(v1::PingResponse { leads_epoch, standing: None }))
    }

    async fn ping_via(&self, _: Request<v1::PingViaRequest>) -> Result<Response<v1::PingViaResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }
}

async fn node(identity: &Identity) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    let connections = incoming(listener, server_config(identity).unwrap(), Limits::default());
    let router = p2p_chat_transport::server::base(&Arc::default()).add_service(LivenessServer::new(Node));
    tokio::spawn(router.serve_with_incoming(connections));
    address
}

#[tokio::test]
async fn a_node_is_reached_only_under_its_own_key() {
    let pinger = Arc::new(NodePinger::new(&person(200), Duration::from_secs(10)).unwrap());
    let address = node(&person(1)).await;
    let probe = |who: u8, address: &Address, network: u8| Probe {
        peer: person(who).peer(),
        address: address.clone(),
        network: NetworkId::new([network; 32]),
    };
    assert_eq!(pinger.ping(&probe(1, &address, 1)).await, Some(Answer::Reached { leads_epoch: Epoch(7) }));
    assert_eq!(pinger.ping(&probe(1, &address, 2)).await, Some(Answer::Reached { leads_epoch: Epoch(0) }));
    assert_eq!(pinger.ping(&probe(2, &address, 1)).await, Some(Answer::Unreachable), "somebody else answers there");

    // Bound, so that nobody else gets it; but nobody listens.
    let bound = TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let nobody: Address = bound.local_addr().unwrap().to_string().parse().unwrap();
    assert_eq!(pinger.ping(&probe(1, &nobody, 1)).await, Some(Answer::Unreachable));
}
