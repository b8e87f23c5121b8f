//! Whoever asks to be let in is called back, at an address of its own choice: that leaves nothing behind.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use p2p_chat_model::Identity;
use p2p_chat_proto::v1::{
    self,
    liveness_server::{Liveness, LivenessServer},
    membership_client::MembershipClient,
};
use p2p_chat_transport::{Dialer, Limits, incoming, tls::server_config};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tonic::{Request, Response, Status, transport::Server};

use crate::{
    support::{
        Cluster, LAB, Lines, eventually,
        lines::loopback,
        wait::{ensure, secs},
    },
    table::request,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_called_back_in_vain_keeps_no_connection_of_the_leader() {
    let cluster = Cluster::of(Lines::Direct, &["alice"]).await;
    let network = cluster.nds.record(LAB).await.expect("it is listed").network;
    let identity = Identity::from_seed([0x5c; 32]);
    let (address, calls, open) = mute(&identity).await;

    let alice = cluster.node("alice");
    let dialer = Dialer::new(&identity).expect("the key makes a certificate");
    let (peer, at) = (alice.peer.parse().expect("a peer id"), alice.address.parse().expect("an address"));
    let join = v1::JoinRequest { network, request_id: 1, name: "mallory".to_owned(), address };
    let refused = MembershipClient::new(dialer.channel(peer, &at)).join(request(join)).await;
    refused.expect_err("whoever does not answer is not let in");
    assert!(calls.load(Ordering::SeqCst) > 0, "the stranger was called back");
    eventually(secs(20), "the leader hangs up", async || {
        let open = open.load(Ordering::SeqCst);
        ensure(open == 0, || format!("{open} connections are open"))
    })
    .await;
}

/// A peer that takes calls and never answers them: its address, how often it was called, and how many connections to it
/// are open.
async fn mute(identity: &Identity) -> (String, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let bind = async || TcpListener::bind((loopback(), 0)).await.expect("a loopback address can be bound");
    let (front, back) = (bind().await, bind().await);
    let address = |listener: &TcpListener| listener.local_addr().expect("a bound socket has an address");
    let (front_at, back_at) = (address(&front), address(&back));
    let (calls, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));

    let tls = server_config(identity).expect("the key makes a certificate");
    let server = Server::builder().add_service(LivenessServer::new(Mute { calls: Arc::clone(&calls) }));
    let connections = incoming(back, tls, Limits::default());
    tokio::spawn(async move { drop(server.serve_with_incoming(connections).await) });
    let counted = Arc::clone(&open);
    tokio::spawn(async move {
        while let Ok((mut from, _)) = front.accept().await {
            let counted = Arc::clone(&counted);
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                if let Ok(mut to) = TcpStream::connect(back_at).await {
                    // However it ends.
                    let _ = copy_bidirectional(&mut from, &mut to).await;
                }
                counted.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (front_at.to_string(), calls, open)
}

struct Mute {
    calls: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl Liveness for Mute {
    async fn ping(&self, _: Request<v1::PingRequest>) -> Result<Response<v1::PingResponse>, Status> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        pending().await
    }

    async fn ping_via(&self, _: Request<v1::PingViaRequest>) -> Result<Response<v1::PingViaResponse>, Status> {
        pending().await
    }
}
