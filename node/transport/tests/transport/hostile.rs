//! Clients that mean no good, or come in too great a number.

use std::time::Duration;

use p2p_chat_transport::{Dialer, Limits, dial};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

use crate::support::{Host, PATIENCE, alice, bob, limits, ping};

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
    let host = Host::start(&alice(), limits(300)).await;
    let begun = Instant::now();
    let hello_begun = &[0x16, 3, 1, 2, 0, 1, 0][..];
    let mut stuck = Vec::new();
    for first_bytes in [&b""[..], hello_begun, b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
        stuck.push(stranger(&host, first_bytes).await);
    }
    let channel = Dialer::new(&bob()).unwrap().channel(alice().peer(), &host.address());
    ping(&channel).await.unwrap();
    for stream in &mut stuck {
        closed(stream).await;
    }
    assert!(begun.elapsed() >= Duration::from_millis(300), "closed by the time-out, not before");
    ping(&channel).await.expect("a connection in use outlives the time-out of the handshake");
}

#[tokio::test]
async fn connections_beyond_the_handshake_cap_are_closed() {
    let host = Host::start(&alice(), Limits { max_handshakes: 2, ..limits(600_000) }).await;
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
    let host = Host::start(&alice(), Limits { max_connections: 2, ..limits(600_000) }).await;
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

#[tokio::test]
async fn a_stopped_server_closes_its_port_at_once_and_ends_with_its_last_connection() {
    let host = Host::start(&alice(), limits(600_000)).await;
    let channel = dial::plaintext(&host.url()).unwrap();
    ping(&channel).await.unwrap();
    let mut in_handshake = stranger(&host, b"").await;
    let socket = host.socket;
    let serving = host.stop();
    closed(&mut in_handshake).await;
    TcpListener::bind(socket).await.expect("the port is free");
    timeout(PATIENCE, serving).await.expect("the server ends").unwrap();
}
