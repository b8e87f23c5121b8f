//! Reflection in both versions and health, over the same port.

use p2p_chat_transport::{Limits, dial};
use tokio_stream::StreamExt;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::support::{Host, alice};

const LISTED: [&str; 4] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "p2pchat.v1.Liveness",
];

/// Both versions have the same messages under two names.
macro_rules! reflection_test {
    ($test:ident, $version:ident) => {
        #[tokio::test]
        async fn $test() {
            use tonic_reflection::pb::$version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
            };

            let host = Host::start(&alice(), Limits::default()).await;
            let mut client = ServerReflectionClient::new(dial::plaintext(&host.url()).unwrap());
            let ask = |message_request| ServerReflectionRequest {
                host: String::new(),
                message_request: Some(message_request),
            };
            let symbol = |name: &str| ask(MessageRequest::FileContainingSymbol(name.to_owned()));
            let questions = tokio_stream::iter([
                ask(MessageRequest::ListServices(String::new())),
                symbol("p2pchat.v1.Liveness"),
                symbol("grpc.health.v1.Health"),
                symbol(concat!("grpc.reflection.", stringify!($version), ".ServerReflection")),
            ]);
            let answers = client.server_reflection_info(questions).await.unwrap().into_inner();
            let answers: Vec<_> = answers.collect::<Result<Vec<_>, _>>().await.unwrap();
            let Some(MessageResponse::ListServicesResponse(list)) = &answers[0].message_response else {
                panic!("no list: {answers:?}")
            };
            let mut names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
            names.sort_unstable();
            assert_eq!(names, LISTED, "what is served, and nothing else of the contract");
            assert_eq!(answers.len(), 4);
            for answer in &answers[1..] {
                let response = answer.message_response.as_ref();
                assert!(matches!(response, Some(MessageResponse::FileDescriptorResponse(_))), "{answer:?}");
            }
        }
    };
}

reflection_test!(reflection_v1_answers, v1);
reflection_test!(reflection_v1alpha_answers, v1alpha);

#[tokio::test]
async fn health_answers_for_the_server_and_for_each_service() {
    let host = Host::start(&alice(), Limits::default()).await;
    let mut client = HealthClient::new(dial::plaintext(&host.url()).unwrap());
    for service in ["", "p2pchat.v1.Liveness"] {
        let answer = client.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{service}");
    }
    let status = client.check(HealthCheckRequest { service: "p2pchat.v1.Chat".to_owned() }).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound);
}
