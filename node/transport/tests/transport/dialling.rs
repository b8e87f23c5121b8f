//! Channels: what they say when there is no connection, that they come back, and the Unix socket.

use std::{sync::Arc, time::Duration};

use p2p_chat_model::Address;
use p2p_chat_proto::v1::{PingViaRequest, liveness_client::LivenessClient};
use p2p_chat_transport::{
    DialError, DialSettings, Dialer, Limits, describe, dial, server,
    status::{dial_error, is_unanswered},
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpSocket, UnixListener},
    time::timeout,
};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::Request;

use crate::support::{Host, PATIENCE, alice, bob, dialer, loopback, patient, ping, witness};

/// An address where nothing listens, and nobody else can while the socket is kept.
fn nowhere() -> (TcpSocket, Address) {
    let bound = TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = bound.local_addr().unwrap().to_string().parse().unwrap();
    (bound, address)
}

#[tokio::test]
async fn a_refused_connection_says_so_with_the_address() {
    let (_bound, address) = nowhere();
    let channels =
        [dialer(&bob()).channel(alice().peer(), &address), dial::plaintext(&format!("http://{address}")).unwrap()];
    for channel in channels {
        let status = ping(&channel).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unavailable);
        assert!(matches!(dial_error(&status), Some(DialError::Connect { .. })), "{status:?}");
        let expected = format!("could not connect to {address}: connection refused; ");
        assert!(describe(&status).starts_with(&expected), "{}", describe(&status));
    }
}

#[tokio::test]
async fn an_unknown_host_is_named() {
    let channel = dial::plaintext_with("http://no-such-host.invalid:7400", patient(), &Arc::default());
    let status = ping(&channel.unwrap()).await.unwrap_err();
    assert!(describe(&status).starts_with("could not connect to no-such-host.invalid:7400: "), "{}", describe(&status));
}

#[tokio::test]
async fn a_peer_that_accepts_and_says_nothing_times_out() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string().parse().unwrap();
    let settings = DialSettings { connect_timeout: Duration::from_millis(100), ..DialSettings::default() };
    let impatient = Dialer::new(&bob()).unwrap().with_settings(settings);
    let status = ping(&impatient.channel(alice().peer(), &address)).await.unwrap_err();
    assert!(matches!(dial_error(&status), Some(DialError::TimedOut { .. })), "{status:?}");
    assert!(describe(&status).contains("timed out after 100 ms"), "{}", describe(&status));
}

#[tokio::test]
async fn keepalive_ends_a_connection_whose_other_side_is_dead() {
    // Accepts, and never answers: neither calls nor probes.
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let probe = Duration::from_millis(100);
    let settings = DialSettings { keepalive_interval: probe, keepalive_timeout: probe, ..DialSettings::default() };
    let url = format!("http://{}", dead.local_addr().unwrap());
    let status = ping(&dial::plaintext_with(&url, settings, &Arc::default()).unwrap()).await.unwrap_err();
    assert!(describe(&status).contains("timed out"), "{}: {status:?}", describe(&status));
}

#[tokio::test]
async fn a_connection_lost_during_a_call_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.read_u8().await.unwrap();
        }
    });
    let status = ping(&dial::plaintext(&url).unwrap()).await.unwrap_err();
    assert!(dial_error(&status).is_none() && is_unanswered(&status), "{status:?}");
    assert!(describe(&status).starts_with("the connection broke: "), "{}", describe(&status));
}

#[tokio::test]
async fn an_expired_deadline_says_timed_out() {
    let host = Host::start(&alice(), Limits::default()).await;
    let mut client = LivenessClient::new(dial::plaintext(&host.url()).unwrap());
    let mut request = Request::new(PingViaRequest::default());
    request.set_timeout(Duration::from_millis(50));
    let status = timeout(PATIENCE, client.ping_via(request)).await.unwrap().unwrap_err();
    assert!(is_unanswered(&status) && describe(&status).starts_with("timed out"), "{status:?}");

    let status = client.ping_via(PingViaRequest { target: vec![1].into(), ..PingViaRequest::default() }).await;
    assert!(!is_unanswered(&status.unwrap_err()), "a refusal is an answer");
}

#[tokio::test]
async fn a_channel_connects_when_used_and_again_after_a_loss() {
    let host = Host::start_at(TcpListener::bind(loopback()).await.unwrap(), &alice(), Limits::default()).await;
    let (socket, address) = (host.socket, host.address());
    let channel = dialer(&bob()).channel(alice().peer(), &address);
    ping(&channel).await.unwrap();
    timeout(PATIENCE, host.stop()).await.expect("the server ends").unwrap();
    ping(&channel).await.unwrap_err();
    let mut host = Host::start_at(TcpListener::bind(socket).await.unwrap(), &alice(), Limits::default()).await;
    ping(&channel).await.unwrap();
    assert_eq!(host.next_caller().await, Some(bob().peer()));
}

#[tokio::test]
async fn the_local_api_is_reached_over_a_unix_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.sock");
    let channel = dial::unix(&path);
    let status = ping(&channel).await.unwrap_err();
    let expected = format!("could not connect to {}: no such file or directory; ", path.display());
    assert!(describe(&status).starts_with(&expected), "{}", describe(&status));

    let (witness, mut callers) = witness();
    let incoming = UnixListenerStream::new(UnixListener::bind(&path).unwrap());
    tokio::spawn(server::base(&Arc::default()).add_service(witness).serve_with_incoming(incoming));
    ping(&channel).await.unwrap();
    assert_eq!(callers.recv().await, Some(None), "a caller over the socket has no peer's key");
}
