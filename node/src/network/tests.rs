use std::{future::poll_fn, task::Poll};

use p2p_chat_model::Epoch;

use super::*;

const BOB: PeerId = PeerId::new([2; 32]);

fn network() -> (Network, mpsc::Receiver<Message>) {
    let (network, messages, _) =
        Network::new(NetworkId::new([7; 32]), "lab".parse().expect("a name"), Traces::default());
    (network, messages)
}

/// Lets it go as far as it comes now.
async fn advance<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Poll<T> {
    poll_fn(|context| Poll::Ready(std::pin::Pin::new(&mut *future).poll(context))).await
}

#[tokio::test]
async fn what_peers_hand_over_is_refused_where_too_many_bytes_wait() {
    let (network, mut messages) = network();
    let mebibytes = |count: usize| network.room(count << 20);
    let mut waiting = Vec::new();
    for _ in 0..INBOX_BYTES / (2 << 20) {
        let runs = (Vec::new(), mebibytes(2).expect("there is room"));
        let mut handed_over = Box::pin(network.deliver(BOB, runs, None));
        assert!(advance(&mut handed_over).await.is_pending());
        waiting.push(handed_over);
    }
    assert!(matches!(mebibytes(1), Err(Refused::Engine(Refusal::Busy(_)))));
    assert_eq!(network.counts.inbox_refusals.value(), 1);
    drop(messages.recv().await);
    mebibytes(2).expect("the task has taken some");
}

#[tokio::test]
async fn a_ping_waits_for_its_place_in_a_full_inbox_and_goes_before_what_comes_later() {
    let (network, mut messages) = network();
    let mut waiting = Vec::new();
    for _ in 0..INBOX {
        let mut asking = Box::pin(tokio::task::unconstrained(network.look()));
        assert!(advance(&mut asking).await.is_pending());
        waiting.push(asking);
    }
    let standing = || Standing {
        leader: None,
        epoch: Epoch(0),
        version: 0,
        digest: 0,
        frontier: None,
        peer_active: true,
        leaving: false,
    };
    let mut ping = Box::pin(network.ping(BOB, standing()));
    assert!(advance(&mut ping).await.is_pending());
    drop(messages.recv().await);
    let refused = network.request(BOB, Request::Ping(standing()), None).await;
    assert!(matches!(refused, Err(Refused::Engine(Refusal::Busy(_)))), "the place is the ping's: {refused:?}");
    assert!(advance(&mut ping).await.is_pending());
    for _ in 1..INBOX {
        drop(messages.recv().await);
    }
    assert!(matches!(messages.recv().await, Some(Message::Request { request: Request::Ping(_), .. })));
}

#[tokio::test]
async fn a_text_waits_for_its_turn_where_too_much_is_to_be_written_and_none_goes_before_it() {
    for (length, most) in [(1, Config::LAN.max_waiting_texts), (MAX_TEXT_BYTES, TEXT_BYTES / MAX_TEXT_BYTES)] {
        let (network, mut messages) = network();
        let say = |said: String| Box::pin(tokio::task::unconstrained(network.begin(Command::Send, Some(said), None)));
        let mut taken = Vec::new();
        for _ in 0..most {
            assert!(advance(&mut say("x".repeat(length))).await.is_ready(), "{length}");
            taken.push(messages.recv().await);
        }
        let (mut next, mut last) = (say("y".repeat(length)), say("z".to_owned()));
        assert!(advance(&mut next).await.is_pending() && advance(&mut last).await.is_pending(), "{length}");
        taken.pop();
        assert!(advance(&mut last).await.is_pending(), "it is not its turn");
        assert!(advance(&mut next).await.is_ready(), "one has been written");
    }
}
