//! Clients that mean no good, or come in too great a number.

use std::time::Duration;

use p2p_chat_proto::v1::{PingViaRequest, liveness_client::LivenessClient};
use p2p_chat_transport::{Limits, dial};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    time::{Instant, timeout},
};
use tokio_stream::StreamExt;
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, ServerReflectionResponse, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

use crate::support::{Host, PATIENCE, alice, bob, dialer, limits, loopback, ping};

/// Waits until the server closes the connection, whatever it says before.
async fn closed(stream: &mut TcpStream) {
    let mut bytes = [0; 256];
    let drained = async { while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {} };
    timeout(PATIENCE, drained).await.expect("the server closes the connection");
}

async fn stranger(host: &Host, first_bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(host.socket).await.unwrap();
    stream.write_all(first_bytes).await.unwrap();
    stream
}

#[tokio::test]
async fn a_first_byte_that_is_neither_tls_nor_http2_is_closed_at_once() {
    // The time-out is far beyond the test's patience: it is not what closes.
    let host = Host::start(&alice(), limits(600_000)).await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\0", b"SSH-2.0-x\r\n", b"\xff\xff"] {
        closed(&mut stranger(&host, garbage).await).await;
    }
}

#[tokio::test]
async fn a_connection_that_stops_in_its_handshake_is_closed_and_holds_up_nobody() {
    // Long enough for an honest handshake on a busy machine.
    let host = Host::start(&alice(), limits(3_000)).await;
    let begun = Instant::now();
    let hello_begun = &[0x16, 3, 1, 2, 0, 1, 0][..];
    let mut stuck = Vec::new();
    for first_bytes in [&b""[..], hello_begun, b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
        stuck.push(stranger(&host, first_bytes).await);
    }
    let channel = dialer(&bob()).channel(alice().peer(), &host.address());
    ping(&channel).await.unwrap();
    for stream in &mut stuck {
        closed(stream).await;
    }
    assert!(begun.elapsed() >= Duration::from_secs(3), "closed by the time-out, not before");
    ping(&channel).await.expect("a connection in use outlives the time-out of the handshake");
}

/// Asks reflection for an answer of some 10 KiB. The stream goes on for as long as the client likes.
async fn ask_for_descriptors(channel: &Channel) -> Streaming<ServerReflectionResponse> {
    let symbol = MessageRequest::FileContainingSymbol("p2pchat.v1.Liveness".to_owned());
    let question = ServerReflectionRequest { host: String::new(), message_request: Some(symbol) };
    let questions = tokio_stream::once(question).chain(tokio_stream::pending());
    let mut client = ServerReflectionClient::new(channel.clone());
    let answer = timeout(PATIENCE, client.server_reflection_info(questions)).await;
    answer.expect("an answer").unwrap().into_inner()
}

#[tokio::test]
async fn who_does_not_read_answers_is_disconnected_and_who_has_nothing_to_read_is_not() {
    let host = Host::start(&alice(), Limits { answer_timeout: Duration::from_secs(3), ..limits(600_000) }).await;
    let idle = dial::plaintext(&host.url()).unwrap();
    let mut quiet = ask_for_descriptors(&idle).await;
    assert!(quiet.message().await.unwrap().is_some());

    let narrow = Endpoint::from_shared(host.url()).unwrap().initial_stream_window_size(1_000).connect_lazy();
    let _unread = ask_for_descriptors(&narrow).await;
    let mut client = LivenessClient::new(narrow);
    let open = client.ping_via(PingViaRequest::default());
    let cut = timeout(PATIENCE, open).await.expect("the connection is closed, with all its calls").unwrap_err();
    assert_eq!(cut.code(), tonic::Code::Unknown, "{cut}");

    ping(&idle).await.unwrap();
    assert!(timeout(Duration::from_millis(1), quiet.message()).await.is_err(), "the other one goes on");
}

#[tokio::test]
async fn connections_beyond_the_handshake_cap_are_closed() {
    let host = Host::start(&alice(), Limits { max_handshakes: 3, ..limits(600_000) }).await;
    let first = stranger(&host, b"").await;
    let _second = stranger(&host, b"").await;
    closed(&mut stranger(&host, b"").await).await;
    let mut first = first;
    first.write_all(b"G").await.unwrap();
    closed(&mut first).await;
    ping(&dial::plaintext(&host.url()).unwrap()).await.expect("a place was freed");
}

#[tokio::test]
async fn connections_beyond_the_cap_in_all_are_closed_until_one_ends() {
    let host = Host::start(&alice(), Limits { max_connections: 3, ..limits(600_000) }).await;
    let channels = [dial::plaintext(&host.url()).unwrap(), dial::plaintext(&host.url()).unwrap()];
    for channel in &channels {
        ping(channel).await.unwrap();
    }
    closed(&mut stranger(&host, b"").await).await;
    ping(&dial::plaintext(&host.url()).unwrap()).await.unwrap_err();
    for channel in &channels {
        ping(channel).await.expect("those who are in are not disturbed");
    }
    drop(channels);
    let freed = async { while ping(&dial::plaintext(&host.url()).unwrap()).await.is_err() {} };
    timeout(PATIENCE, freed).await.expect("the places are freed");
}

/// Elsewhere a machine has but one loopback address.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn one_address_can_not_have_all_connections() {
    let host = Host::start(&alice(), Limits { max_connections: 8, ..limits(600_000) }).await;
    let from = async |last: u8| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, last], 0).into()).unwrap();
        socket.connect(host.socket).await.unwrap()
    };
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(from(1).await);
    }
    closed(&mut from(1).await).await;
    held.push(from(2).await);
    closed(&mut from(2).await).await;
    ping(&dial::plaintext(&host.url()).unwrap()).await.expect_err("that is the first address again");
    let mut other = from(3).await;
    other.write_all(b"G").await.unwrap();
    closed(&mut other).await;
    drop(held);
    let freed = async { while ping(&dial::plaintext(&host.url()).unwrap()).await.is_err() {} };
    timeout(PATIENCE, freed).await.expect("the places are freed");
}

#[tokio::test]
async fn a_stopped_server_closes_its_port_at_once_and_ends_with_its_last_connection() {
    let listener = TcpListener::bind(loopback()).await.unwrap();
    let host = Host::start_at(listener, &alice(), limits(600_000)).await;
    let channel = dial::plaintext(&host.url()).unwrap();
    ping(&channel).await.unwrap();
    let mut in_handshake = stranger(&host, b"").await;
    let socket = host.socket;
    let serving = host.stop();
    closed(&mut in_handshake).await;
    TcpListener::bind(socket).await.expect("the port is free");
    timeout(PATIENCE, serving).await.expect("the server ends").unwrap();
}
