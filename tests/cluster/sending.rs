//! Many texts in one stream of the local API.

use p2p_chat_proto::v1::{self, send_outcome::Outcome};
use tokio_stream::iter;
use tonic::Code;

use crate::support::{Cluster, LAB, Lines, eventually, figure, wait::secs};

const NAMES: [&str; 2] = ["alice", "bob"];

fn request(network: &str, text: String) -> v1::SendRequest {
    v1::SendRequest { network: network.to_owned(), text, wait: v1::Wait::None.into(), timeout_ms: 10_000 }
}

fn numbered(number: u64) -> String {
    format!("number {number}")
}

/// Sends what is asked for in one stream, and returns what became of each.
async fn send_all(cluster: &Cluster, name: &str, requests: Vec<v1::SendRequest>) -> Vec<Outcome> {
    let mut client = cluster.node(name).client();
    let mut stream = client.send_stream(iter(requests)).await.expect("a stream").into_inner();
    let mut outcomes = Vec::new();
    while let Some(outcome) = stream.message().await.expect("the stream goes on") {
        outcomes.push(outcome.outcome.expect("an outcome says something"));
    }
    outcomes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_of_one_stream_are_written_in_their_order_and_a_bad_one_is_refused_alone() {
    let cluster = Cluster::of(Lines::Direct, &NAMES).await;
    let mut requests: Vec<v1::SendRequest> = (0..500).map(|number| request(LAB, numbered(number))).collect();
    requests[100].text.clear();
    requests[200].network = "garden".to_owned();
    let outcomes = send_all(&cluster, "alice", requests).await;
    assert_eq!(outcomes.len(), 500);
    let mut seqs = Vec::new();
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match (number, outcome) {
            (100, Outcome::Failed(failed)) => assert_eq!(failed.code, Code::InvalidArgument as i32, "{failed:?}"),
            (200, Outcome::Failed(failed)) => assert_eq!(failed.code, Code::NotFound as i32, "{failed:?}"),
            (_, Outcome::Sent(sent)) => seqs.push(sent.seq),
            (_, Outcome::Failed(failed)) => panic!("text {number} was refused: {failed:?}"),
        }
    }
    assert!(seqs.len() == 498 && seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{seqs:?}");
    let wanted: Vec<String> = (0..500).filter(|number| ![100, 200].contains(number)).map(numbered).collect();
    eventually(secs(20), "bob having all texts in their order", async || {
        let texts: Vec<String> = cluster.node("bob").history().await.into_iter().map(|message| message.text).collect();
        let said: Vec<String> = texts.into_iter().filter(|text| text.starts_with("number ")).collect();
        if said == wanted { Ok(()) } else { Err(format!("{} texts", said.len())) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_of_one_stream_keep_their_order_while_the_node_is_not_ready_to_write() {
    // Patient nodes wait longest after a start for the word of a member that is away.
    let mut cluster = Cluster::of_patient(Lines::Direct, &NAMES).await;
    cluster.node_mut("bob").kill();
    cluster.node_mut("alice").kill();
    cluster.node_mut("alice").restart().await;
    // More than may wait.
    let outcomes = send_all(&cluster, "alice", (0..3_000).map(|number| request(LAB, numbered(number))).collect()).await;
    let seq = |outcome| match outcome {
        Outcome::Sent(sent) => sent.seq,
        Outcome::Failed(failed) => panic!("a text was refused: {failed:?}"),
    };
    let seqs: Vec<u64> = outcomes.into_iter().map(seq).collect();
    assert!(seqs.len() == 3_000 && seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{seqs:?}");
    let said = cluster.node("alice").history().await.into_iter().map(|message| message.text);
    let said: Vec<String> = said.filter(|text| text.starts_with("number ")).collect();
    assert!(said == (0..3_000).map(numbered).collect::<Vec<_>>(), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_waits_for_others_where_a_request_asks_for_it() {
    let mut cluster = Cluster::of(Lines::Direct, &NAMES).await;
    let wait = |number: u64, timeout_ms: u32| v1::SendRequest {
        wait: v1::Wait::All.into(),
        timeout_ms,
        ..request(LAB, numbered(number))
    };
    let outcomes = send_all(&cluster, "alice", (0..3).map(|number| wait(number, 10_000)).collect()).await;
    let stored: Vec<u32> =
        outcomes.iter().map(|it| if let Outcome::Sent(sent) = it { sent.stored_by } else { 0 }).collect();
    assert_eq!(stored, [1, 1, 1]);
    cluster.node_mut("bob").kill();
    // The time bounds the write to alice's own disk, too.
    let outcomes = send_all(&cluster, "alice", vec![wait(3, 10_000)]).await;
    let [Outcome::Failed(late)] = &outcomes[..] else { panic!("bob can't have it: {outcomes:?}") };
    assert_eq!(late.code, Code::DeadlineExceeded as i32);
    let newest = cluster.node("alice").history().await.pop().expect("messages");
    assert_eq!((newest.text, newest.id), (numbered(3), late.id.clone()), "it is safe all the same, and named");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_before_a_leave_goes_out_before_it() {
    let cluster = Cluster::of(Lines::Direct, &NAMES).await;
    // Without end: some are on their way when the leave comes.
    let requests = (0_u64..).map(|number| request(LAB, numbered(number)));
    let mut client = cluster.node("bob").client();
    let mut stream = client.send_stream(iter(requests)).await.expect("a stream").into_inner();
    // The first is answered while the others wait to be written.
    stream.message().await.expect("the stream goes on").expect("an outcome");
    let leave = v1::LeaveNetworkRequest { network: LAB.to_owned(), timeout_ms: 10_000, force: false };
    cluster.node("bob").client().leave(leave).await.expect("bob may leave");
    let mut accepted = 1;
    while let Some(Outcome::Sent(_)) =
        stream.message().await.expect("it has no end").and_then(|outcome| outcome.outcome)
    {
        accepted += 1;
    }
    drop(stream);
    figure(format!("left in the middle: {accepted} texts were accepted"));
    let history = cluster.node("alice").history().await;
    let said = history.iter().filter(|message| message.text.starts_with("number ")).count();
    assert_eq!(said, accepted, "what was accepted is there, and nothing else");
    assert_eq!(history.last().map(|message| message.kind.as_str()), Some("leave"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_takes_nothing_along_that_nobody_else_has_but_by_force() {
    let mut cluster = Cluster::of(Lines::Direct, &NAMES).await;
    cluster.node_mut("alice").kill();
    let say = async |number| send_all(&cluster, "bob", vec![request(LAB, numbered(number))]).await;
    assert!(matches!(say(1).await[..], [Outcome::Sent(_)]));
    let leave = |force| v1::LeaveNetworkRequest { network: LAB.to_owned(), timeout_ms: 500, force };
    let refused = cluster.node("bob").client().leave(leave(false)).await.expect_err("alice lacks what bob has said");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains("(own entries that nobody else has: 1)"), "{refused}");
    assert!(refused.message().ends_with("or use --force"), "{refused}");
    assert!(matches!(say(2).await[..], [Outcome::Sent(_)]), "nothing has changed");
    let left = cluster.node("bob").client().leave(leave(true)).await.expect("bob may leave").into_inner();
    assert_eq!(left, v1::LeaveNetworkResponse { unreplicated: 3, closed: false }, "two texts and the leave");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_can_not_be_read_ends_the_stream_with_its_error_after_those_before() {
    let cluster = Cluster::of(Lines::Direct, &["alice"]).await;
    let requests = vec![request(LAB, numbered(1)), request(LAB, "x".repeat(5 << 20)), request(LAB, numbered(3))];
    let mut client = cluster.node("alice").client();
    let mut stream = client.send_stream(iter(requests)).await.expect("a stream").into_inner();
    let first = stream.message().await.expect("the first is sound").and_then(|outcome| outcome.outcome);
    assert!(matches!(first, Some(Outcome::Sent(_))), "{first:?}");
    let refused = stream.message().await.expect_err("who sent more must not take it for written");
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
}
