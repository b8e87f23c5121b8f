use std::{path::PathBuf, sync::Arc};

use p2p_chat_engine::{Config, Durable, Engine, FeedLog, Moment, Phase, Setup, Start};
use p2p_chat_model::{Entry, EntryHash, Genesis, Header, Identity, NetworkId, RosterOp, Run, VectorClock};
use p2p_chat_traces::Traces;
use tokio::{sync::watch, time::timeout};
use tonic::Code;

use super::*;
use crate::{
    hub::tests::Stage,
    local::fixture::snapshot,
    network::{Answer, Look, Message},
    wire,
};

const ME: PeerId = PeerId::new([1; 32]);
const ID: MessageId = MessageId::new([7; 16]);
/// What the user allows, and what it must not take whatever happens.
const PATIENCE: Duration = Duration::from_secs(3);
const FAR_TOO_LONG: Duration = Duration::from_secs(60);

/// A network whose task is played by the test, with the node as its only member.
fn network() -> (Network, mpsc::Receiver<Message>) {
    let name = "lab".parse().expect("a name");
    let (network, messages, _) = Network::new(NetworkId::new([2; 32]), name, Traces::default());
    (network, messages)
}

/// Sends a text, and waits for one member to have it.
async fn send(network: Network) -> Result<v1::SendResponse, Status> {
    let deadline = Instant::now() + PATIENCE;
    let begun = network.begin(Command::Send, Some("hi".to_owned()), None).await;
    let sending = Sending { network, wait: v1::Wait::One, deadline, begun, span: Span::default() };
    timeout(FAR_TOO_LONG, finish_sending(sending, ME)).await.expect("a send ends at its deadline")
}

async fn next_command(messages: &mut mpsc::Receiver<Message>) -> Answer {
    match messages.recv().await {
        Some(Message::Command { reply, .. }) => reply,
        _ => panic!("a text was to be sent"),
    }
}

fn write(reply: Answer) {
    let done = Done::Sent { seq: 1, lamport: 1 };
    reply.send(Ok(Outcome { done, message: Some(ID) })).expect("the outcome is awaited");
}

/// The message is named, since it is safe.
fn assert_late(sent: Result<v1::SendResponse, Status>, why: &str) {
    let status = sent.expect_err("nobody answered");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert_eq!(status.message(), format!("{why}; it is safe and still going out"));
    let id = status.metadata().get(MESSAGE_ID).and_then(|id| id.to_str().ok());
    assert_eq!(id, Some(ID.to_string().as_str()));
}

#[tokio::test]
async fn a_disk_that_hangs_after_the_text_is_safe_ends_the_send_in_time_with_its_id() {
    let (network, mut messages) = network();
    let task = async {
        write(next_command(&mut messages).await);
        let Some(Message::Look(reply)) = messages.recv().await else { panic!("who has it was to be asked") };
        reply.send(Look { snapshot: snapshot(), problem: None }).expect("the look is awaited");
        messages.recv().await
    };
    let (sent, asked) = tokio::join!(send(network), task);
    assert!(matches!(asked, Some(Message::WriteDown(_))));
    assert_late(sent, "0 of 0 other members have the message, but the node could not note that in time");
}

#[tokio::test]
async fn a_task_that_does_not_answer_who_has_the_text_ends_the_send_in_time_with_its_id() {
    let (network, mut messages) = network();
    let task = async {
        write(next_command(&mut messages).await);
        messages.recv().await
    };
    let (sent, asked) = tokio::join!(send(network), task);
    assert!(matches!(asked, Some(Message::Look(_))));
    assert_late(sent, "the node could not tell who has the message yet");
}

#[tokio::test]
async fn a_text_that_gets_no_turn_in_time_is_told_as_not_sent() {
    let stage = Stage::new();
    let (network, _messages) = network();
    stage.put(&network);
    let local = Local { hub: Arc::clone(&stage.hub), data_dir: PathBuf::new(), stop: watch::Sender::new(false) };
    let request = |timeout_ms| v1::SendRequest {
        network: "lab".to_owned(),
        text: "x".repeat(MAX_TEXT_BYTES),
        wait: v1::Wait::None.into(),
        timeout_ms,
    };
    // Its task takes nothing.
    let mut begun = Vec::new();
    let status = loop {
        match timeout(FAR_TOO_LONG, local.begin_sending(request(200), None)).await.expect("it ends at its deadline") {
            Ok(sending) => begun.push(sending),
            Err(status) => break status,
        }
    };
    assert!(!begun.is_empty());
    assert_eq!((status.code(), status.metadata().get(MESSAGE_ID)), (Code::Aborted, None), "{status}");
    assert!(status.message().ends_with("the message is not sent, try again"), "{status}");
}

#[tokio::test]
async fn what_a_stop_leaves_unanswered_is_not_told_as_a_leave() {
    for has_left in [false, true] {
        let name = "lab".parse().expect("a name");
        let (network, mut messages, shared) = Network::new(NetworkId::new([2; 32]), name, Traces::default());
        let task = async move {
            let _unanswered = next_command(&mut messages).await;
            if has_left {
                shared.end();
            }
        };
        let (sent, ()) = tokio::join!(send(network), task);
        let status = sent.expect_err("nobody answers");
        let (code, words) =
            if has_left { (Code::FailedPrecondition, "has left") } else { (Code::Unavailable, "is stopping") };
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(words), "{status}");
    }
}

#[tokio::test]
async fn a_text_that_is_not_on_the_disk_in_time_is_not_called_safe() {
    let (network, mut messages) = network();
    let (sent, _reply) = tokio::join!(send(network), next_command(&mut messages));
    let status = sent.expect_err("it was not written");
    assert_eq!((status.code(), status.metadata().get(MESSAGE_ID)), (Code::DeadlineExceeded, None), "{status}");
    assert!(status.message().ends_with("may still go out later"), "{status}");
}

/// How things stand at a founder who has admitted Bob and Carol and written up to `written`, of which Bob has `held`.
/// Carol had everything, and has left.
fn with_bob(written: Seq, held: Seq) -> (PeerId, Look) {
    let [me, bob, carol] = [1, 2, 3].map(|seed| Identity::from_seed([seed; 32]));
    let name = || "lab".parse().expect("a name");
    let (id, found) = Run::found(&me, &Genesis { salt: [0; 32], name: name(), creator: name() }, 1);
    let entry = |lamport, op: RosterOp| {
        let header = Header { lamport, wall_ms: 0, clock: VectorClock::new(), kind: op.kind() };
        Entry { header, body: op.encode().into() }
    };
    let admit = |lamport, peer| entry(lamport, RosterOp::Admit { peer, name: name(), past: 0 });
    let admissions = vec![admit(2, bob.peer()), admit(3, carol.peer())];
    let admissions = Run::sign(&me, id, 2, found.head(), admissions);
    let leave = Run::sign(&carol, id, 1, EntryHash::NONE, vec![entry(4, RosterOp::Leave)]);
    let facts = |run: &Run| run.entries.iter().map(|(hash, entry)| wire::entry_facts(entry, *hash)).collect::<Vec<_>>();
    let feed = |author: &Identity, last, roster| {
        let roster = (1..).zip(roster).collect();
        FeedLog { author: author.peer(), last, head: EntryHash::NONE, lamport: last + 3, held: Vec::new(), roster }
    };
    let log = vec![feed(&me, written, [facts(&found), facts(&admissions)].concat()), feed(&carol, 1, facts(&leave))];
    let (author, address) = (me.peer(), "127.0.0.1:1".parse().expect("an address"));
    let setup = Setup { identity: me, network: id, name: name(), address, services: 0, config: Config::LAN };
    let mut durable = Durable::new(Phase::Joined, 0);
    durable.acked.raise(bob.peer(), held);
    durable.acked.raise(carol.peer(), written);
    let moment = Moment { now: 0, wall_ms: 0, random: 0 };
    let snapshot = Engine::new(setup, Start::Resume { durable, log }, moment).snapshot();
    (author, Look { snapshot, problem: None })
}

/// What is told at the end where the task says, one after the other, that things stand so.
async fn unreplicated_of(looks: Vec<Look>) -> u64 {
    let (network, mut messages) = network();
    let task = async {
        for look in looks {
            let Some(Message::Look(reply)) = messages.recv().await else { panic!("how things stand was to be asked") };
            reply.send(look).expect("the look is awaited");
        }
    };
    let (me, _) = with_bob(2, 0);
    tokio::join!(unreplicated_in(&network, me, Instant::now() + PATIENCE), task).0
}

#[tokio::test]
async fn what_nobody_else_has_is_said_as_it_is_when_the_wait_ends() {
    let look = |written, held| with_bob(written, held).1;
    assert_eq!(unreplicated_of(vec![look(9, 2), look(9, 2), look(9, 7)]).await, 2, "Bob has got some meanwhile");
    assert_eq!(unreplicated_of(vec![look(9, 2), look(9, 9), look(10, 9)]).await, 1, "there is a new one");
    let broken = Look { problem: Some("the disk is full".to_owned()), ..look(9, 2) };
    assert_eq!(unreplicated_of(vec![broken]).await, 7, "what is on the disk counts");
}
