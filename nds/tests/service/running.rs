//! The service as an operator sees it.

use std::time::Duration;

use p2p_chat_nds::{
    Config, NdsError,
    registry::{Change, Record},
    serve,
    store::{Store, StoreError},
};
use p2p_chat_proto::v1;
use tempfile::TempDir;
use tonic::{
    Code, Request,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::support::{Network, Service};

#[tokio::test]
async fn a_caller_that_calls_too_often_is_held_back() {
    let dir = TempDir::new().unwrap();
    let mut nds = Service::start_with(Config { probing_calls_per_second: 1, ..Config::new(dir.path()) }).await;
    let lab = Network::found(1, "lab");
    let mut codes = Vec::new();
    for _ in 0..30 {
        let outcome = nds.client.create_network(lab.create(1, &lab.view(1, 1, &[1]))).await;
        codes.extend(outcome.err().map(|status| status.code()));
    }
    assert!((1..=20).contains(&codes.len()), "{codes:?}");
    assert!(codes.iter().all(|code| *code == Code::ResourceExhausted), "{codes:?}");
    assert_eq!(nds.list().await.len(), 1, "other calls have an allowance of their own");
    nds.stop().await;
}

#[tokio::test]
async fn after_a_long_rest_of_the_service_no_network_is_stale_at_once() {
    let dir = TempDir::new().unwrap();
    let lab = Network::found(1, "lab");
    let record = Record::new(lab.id, "lab".parse().unwrap(), lab.view(1, 1, &[1]), 1, Duration::from_secs(1)).unwrap();
    Store::open(dir.path()).unwrap().write(&[Change::Put(record)]).unwrap();
    let mut nds = Service::start(dir.path()).await;
    let listed: Vec<_> = nds.list().await.into_iter().map(|record| (record.name, record.stale)).collect();
    assert_eq!(listed, [("lab".to_owned(), false)]);
    nds.stop().await;
}

#[tokio::test]
async fn lists_that_nobody_reads_are_few_and_free_their_places_when_given_up() {
    let dir = TempDir::new().unwrap();
    let mut nds = Service::start(dir.path()).await;
    for creator in 1..=20 {
        nds.create(&Network::found(creator, &format!("net {creator}"))).await;
    }
    // As a stream, the answer is read when the test says so.
    let narrow = Endpoint::from_shared(nds.url.clone()).unwrap().initial_stream_window_size(1).connect_lazy();
    let list = async |channel: &Channel| {
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await.unwrap();
        let path = PathAndQuery::from_static("/p2pchat.v1.Discovery/ListNetworks");
        let codec = ProstCodec::<v1::ListNetworksRequest, v1::ListNetworksResponse>::default();
        client.server_streaming(Request::new(v1::ListNetworksRequest::default()), path, codec).await
    };
    let mut unread = Vec::new();
    let refused = loop {
        match list(&narrow).await {
            Ok(answer) => unread.push(answer),
            Err(refused) => break refused,
        }
    };
    assert_eq!((unread.len(), refused.code()), (32, Code::ResourceExhausted), "{refused}");
    drop(unread);
    let freed = async { while nds.client.list_networks(v1::ListNetworksRequest::default()).await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(20), freed).await.expect("the places are free again");
    drop(narrow);
    nds.stop().await;
}

#[tokio::test]
async fn health_and_both_reflections_answer() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tonic_reflection::pb::{v1, v1alpha};

    let dir = TempDir::new().unwrap();
    let nds = Service::start(dir.path()).await;
    for service in ["", "p2pchat.v1.Discovery"] {
        let question = HealthCheckRequest { service: service.to_owned() };
        let health = HealthClient::new(nds.channel.clone()).check(question).await.unwrap().into_inner();
        assert_eq!(health.status(), tonic_health::pb::health_check_response::ServingStatus::Serving);
    }
    let question = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(nds.channel.clone());
    let mut answers = client.server_reflection_info(tokio_stream::once(question)).await.unwrap().into_inner();
    let answer = format!("{:?}", answers.message().await.unwrap().unwrap());
    assert!(answer.contains("p2pchat.v1.Discovery") && answer.contains("grpc.health.v1.Health"), "{answer}");
    let question = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
            "p2pchat.v1.Discovery".to_owned(),
        )),
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(nds.channel.clone());
    let mut answers = client.server_reflection_info(tokio_stream::once(question)).await.unwrap().into_inner();
    let answer = format!("{:?}", answers.message().await.unwrap().unwrap());
    assert!(answer.contains("FileDescriptorResponse"), "{answer}");
    drop((client, answers));
    nds.stop().await;
}

#[tokio::test]
async fn a_damaged_record_keeps_the_service_from_starting_and_a_second_one_is_told() {
    let dir = TempDir::new().unwrap();
    let listen = async || tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut nds = Service::start(dir.path()).await;
    assert_eq!(nds.list().await, []);
    let second =
        serve(Config::new(dir.path()), listen().await, std::future::pending(), Default::default()).await.unwrap_err();
    assert!(matches!(second, NdsError::Store(StoreError::Locked(_))), "{second}");
    nds.stop().await;

    let file = dir.path().join(p2p_chat_nds::store::FILE_NAME);
    std::fs::write(&file, b"not a database, but long enough to look at: 0123456789").unwrap();
    let damaged =
        serve(Config::new(dir.path()), listen().await, std::future::pending(), Default::default()).await.unwrap_err();
    assert!(damaged.to_string().contains(&file.display().to_string()), "{damaged}");
    assert!(std::fs::read(&file).unwrap().starts_with(b"not a database"));
}
