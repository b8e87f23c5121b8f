use p2p_chat_model::NetworkId;
use p2p_chat_traces::Traces;

use super::*;
use crate::{
    hub::tests::{Stage, name},
    local::fixture::snapshot,
    network::{Look, Message},
};

/// The code and the text with which a join and a create of `lab` are refused, where its task says that it is in this phase.
async fn refusals(phase: Phase) -> [(Code, String); 2] {
    let (stage, (network, mut messages, _)) =
        (Stage::new(), Network::new(NetworkId::new([2; 32]), name("lab"), Traces::default()));
    stage.put(&network);
    let task = tokio::spawn(async move {
        while let Some(message) = messages.recv().await {
            let Message::Look(reply) = message else { panic!("nothing else is asked") };
            let snapshot = p2p_chat_engine::Snapshot { phase, ..snapshot() };
            reply.send(Look { snapshot, problem: None }).expect("it is awaited");
        }
    });
    let local = Local { hub: Arc::clone(&stage.hub), data_dir: PathBuf::new(), stop: watch::Sender::new(false) };
    let joined = local.join_network("lab", None).await.expect_err("the node is in it");
    let created = local.create_network("lab", None).await.expect_err("the node is in it");
    task.abort();
    [joined, created].map(|status| (status.code(), status.message().to_owned()))
}

#[tokio::test]
async fn a_network_that_the_node_is_just_leaving_or_entering_can_be_entered_in_a_moment_and_one_it_is_in_can_not() {
    for (code, text) in refusals(Phase::Leaving).await {
        assert_eq!(code, Code::Aborted, "{text}");
        assert!(text.contains("just leaving lab"), "{text}");
    }
    for phase in [Phase::Founding, Phase::Joining] {
        for (code, text) in refusals(phase).await {
            assert_eq!(code, Code::Aborted, "{text}");
            assert!(text.contains("lab is being created or joined"), "{text}");
        }
    }
    for (code, text) in refusals(Phase::Joined).await {
        assert_eq!(code, Code::AlreadyExists, "{text}");
    }
}

#[tokio::test]
async fn marking_as_read_what_is_forgotten_meanwhile_is_told_as_unknown() {
    let (stage, (network, ..)) = (Stage::new(), Network::new(NetworkId::new([2; 32]), name("lab"), Traces::default()));
    // Found still, and stored no more.
    stage.put(&network);
    let local = Local { hub: Arc::clone(&stage.hub), data_dir: PathBuf::new(), stop: watch::Sender::new(false) };
    let request = v1::MarkReadRequest { network: "lab".to_owned(), position: 1 };
    let status =
        node_server::Node::mark_read(&local, Request::new(request)).await.expect_err("there is nothing to mark");
    assert_eq!(status.code(), Code::NotFound, "{status}");
    assert!(status.message().starts_with("this node is in no network lab"), "{status}");
}
