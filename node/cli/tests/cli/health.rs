//! `health` against real servers.

use p2p_chat_cli::Env;
use tokio::net::{TcpListener, TcpSocket};
use tokio_stream::wrappers::TcpListenerStream;
use tonic_health::ServingStatus;

use crate::support::{World, failed, ok};

async fn server(status: ServingStatus) -> String {
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter.set_service_status("", status).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address").to_string();
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

#[tokio::test]
async fn a_service_that_serves_is_healthy() {
    let mut world = World::new();
    world.env.clear();
    let address = server(ServingStatus::Serving).await;
    assert_eq!(world.run(&["health", &address]).await, ok("SERVING\n"));
    let url = format!("http://{address}/");
    let object = format!("{{\"address\":\"{address}\",\"status\":\"SERVING\"}}\n");
    assert_eq!(world.run(&["health", &url, "--json"]).await, ok(&object));
    assert_eq!(world.host.started(), []);
    assert!(Env::default().value("HOME").is_none(), "no home is needed for that");
}

#[tokio::test]
async fn a_service_that_does_not_serve_is_not() {
    let world = World::new();
    let address = server(ServingStatus::NotServing).await;
    let seen = world.run(&["health", &address]).await;
    assert_eq!((seen.code, seen.out.as_str()), (6, "NOT_SERVING\n"));
}

#[tokio::test]
async fn nobody_there_and_nobody_who_answers_are_told_apart() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address").to_string();
    let sentence = format!("{address} did not answer within 1 s; check that it runs there");
    assert_eq!(world.run(&["health", &address, "--timeout", "1"]).await, failed(6, &sentence));
    // Bound, so that nobody else gets it; but nobody listens.
    let bound = TcpSocket::new_v4().expect("a socket");
    bound.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
    let address = bound.local_addr().expect("an address").to_string();
    let seen = world.run(&["health", &address]).await;
    assert_eq!(seen.code, 6);
    assert!(seen.err.starts_with(&format!("p2p-chat: {address} can't be asked for its health: ")), "{}", seen.err);
    assert!(seen.err.contains("refused"), "{}", seen.err);
}
