use p2p_chat_model::{Entry, EntryHash, EntryKind, Header, Identity, NetworkId, Run, VectorClock};
use p2p_chat_store::{Way, Write};
use p2p_chat_traces::Traces;

use super::*;
use crate::{
    hub::tests::{Stage, name},
    network::Unmet,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_that_wait_are_written_when_the_task_is_stopped() {
    let stage = Stage::new();
    let (id, store) = (NetworkId::new([7; 32]), stage.hub.store.clone());
    let network = || vec![Write::Network { name: name("lab") }];
    store.commit(id, network()).await.expect("the disk is fine");
    let handle = Network::new(id, name("lab"), Traces::default());
    let mut driver = Driver::new(stage.hub.setup(id), store.clone(), stage.outbound(), handle);
    let bob = PeerId::new([2; 32]);
    driver.acks.join(vec![Write::Ack { peer: bob, upto: 3, way: Way::Direct, time_ms: 0 }]);

    let (stop, stopped) = oneshot::channel();
    drop(stop);
    assert!(!driver.run(Start::Resume, stopped).await, "it was stopped before the membership was over");
    // What is handed in later is written later.
    store.commit(id, network()).await.expect("the disk is fine");
    assert_eq!(store.acked(id).await, Ok(vec![(bob, 3)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_can_not_be_read_is_named_by_whatever_is_asked_of_it() {
    let stage = Stage::new();
    let network = stage.stopped_while_creating().await;
    // The last byte of the signature, to what no sound one ends with: its number S is below 2^253.
    stage.disk("UPDATE run SET bytes = CAST(substr(bytes, 1, length(bytes) - 1) || x'ff' AS BLOB)");

    stage.hub.start(network.id, name("lab"), Start::Resume);
    let network = stage.hub.active(&network.id).expect("it was started");
    let Err(Unmet::Unable(why)) = network.command(Command::Send, Some("hi".to_owned()), None).await else {
        panic!("it was written")
    };
    assert!(why.contains("damaged"), "{why}");
    let look = network.look().await.expect("its task answers");
    assert_eq!(look.problem, Some(why));
}

/// What a stranger hands over at once, about 2 MiB.
fn delivery(network: &Network) -> Message {
    let header = |lamport| Header { lamport, wall_ms: 0, clock: VectorClock::new(), kind: EntryKind::Text };
    let entries = (1..=4).map(|n| Entry { header: header(n), body: vec![b'x'; 60_000].into() }).collect();
    let stranger = Identity::from_seed([9; 32]);
    let run = Run::sign(&stranger, network.id, 1, EntryHash::NONE, entries);
    let bytes = bytes::Bytes::from(run.encode());
    let (reply, _) = oneshot::channel();
    let room = network.room(8 * bytes.len()).expect("there is room");
    Message::Deliver { from: stranger.peer(), runs: vec![(run, bytes); 8], _room: room, cause: None, reply }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_taken_in_at_once_than_one_commit_should_hold() {
    let stage = Stage::new();
    let network = stage.stopped_while_creating().await;
    let (id, store) = (network.id, stage.hub.store.clone());
    let handle = Network::new(id, name("lab"), Traces::default());
    let (inbox, mut driver) = (handle.0.clone(), Driver::new(stage.hub.setup(id), store, stage.outbound(), handle));
    let mut work = Work::begin(&mut driver, Start::Resume, 1).await.expect("its log is sound");
    for _ in 0..10 {
        inbox.inbox.try_send(delivery(&inbox)).expect("there is room");
    }
    let mut batches = Vec::new();
    while let Ok(first) = work.driver.messages.try_recv() {
        let before = inbox.waiting();
        work.take_batch(first);
        work.flush();
        batches.push(1 + before - inbox.waiting());
    }
    assert_eq!(batches, [3, 3, 3, 1], "a little over 4 MiB each");
    inbox.room(crate::network::INBOX_BYTES).expect("nothing waits any more");
}
