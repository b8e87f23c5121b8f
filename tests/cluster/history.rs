//! The log, a page or a search at a time, and what the local API says of who has what of it.

use p2p_chat_proto::v1::{self, HistoryRequest, Message, event::Event};
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::support::{
    Cluster, LAB, Lines, NodeProcess, eventually,
    node::call,
    wait::{ensure, secs},
};

/// More than the node reads at a time.
const MANY: usize = 300;

async fn ask(node: &NodeProcess, request: HistoryRequest) -> Result<Vec<Message>, Status> {
    let mut stream = node.client().history(call(request)).await?.into_inner();
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await? {
        messages.push(message);
    }
    Ok(messages)
}

fn lab() -> HistoryRequest {
    HistoryRequest { network: LAB.to_owned(), ..HistoryRequest::default() }
}

fn place(message: &Message) -> Option<v1::Cursor> {
    Some(v1::Cursor { lamport: message.lamport, author: message.author.clone(), seq: message.seq })
}

fn last(messages: &[Message], limit: usize) -> &[Message] {
    if limit == 0 { messages } else { &messages[messages.len().saturating_sub(limit)..] }
}

fn first(messages: &[Message], limit: usize) -> &[Message] {
    if limit == 0 { messages } else { &messages[..messages.len().min(limit)] }
}

/// A network of alice and bob, who both talk, and its whole history.
async fn talkative() -> (Cluster, Vec<Message>) {
    let cluster = Cluster::of(Lines::Direct, &["alice", "bob"]).await;
    let texts = ["ÄPFEL", "and", "Bä\u{308}ume", "äpfel", "ΟΔΟΣ", "οδοσα"];
    for (number, text) in texts.iter().cycle().take(MANY).enumerate() {
        let author = cluster.node(if number % 3 == 0 { "bob" } else { "alice" });
        cluster.ledger.say(author, &format!("{text} {number}")).await.expect("the disk is fine");
    }
    cluster.rest(&["alice", "bob"]).await;
    let all = cluster.node("alice").history().await;
    assert!(all.len() > MANY, "{} messages", all.len());
    (cluster, all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_next_to_the_place_that_was_named() {
    let (cluster, all) = talkative().await;
    let alice = cluster.node("alice");
    for index in [0, 1, 7, all.len() / 2, all.len() - 1] {
        for limit in [0, 1, 7, 280, 1_000] {
            let request = HistoryRequest { limit, ..lab() };
            let (what, limit) = (format!("{limit} next to {index}"), limit as usize);
            let before = HistoryRequest { before: place(&all[index]), ..request.clone() };
            assert_eq!(ask(alice, before).await.expect("a page"), last(&all[..index], limit), "{what}");
            let after = HistoryRequest { after: place(&all[index]), ..request };
            assert_eq!(ask(alice, after).await.expect("a page"), first(&all[index + 1..], limit), "{what}");
        }
    }
    for limit in [1, 7, 280, 1_000] {
        let newest = ask(alice, HistoryRequest { limit, ..lab() }).await.expect("a page");
        assert_eq!(newest, last(&all, limit as usize), "the newest {limit}");
    }
    let nowhere = |author: &str| Some(v1::Cursor { author: author.to_owned(), lamport: u64::MAX, seq: 1 });
    let end = HistoryRequest { before: nowhere(&"00".repeat(32)), limit: 2, ..lab() };
    assert_eq!(ask(alice, end).await.expect("a page"), last(&all, 2), "no message need be there");

    let both = HistoryRequest { before: place(&all[9]), after: place(&all[3]), ..lab() };
    for malformed in [both, HistoryRequest { after: nowhere("alice"), ..lab() }] {
        let refused = ask(alice, malformed).await.expect_err("that means nothing");
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_finds_the_nearest_texts_in_capitals_or_not() {
    let (cluster, all) = talkative().await;
    let alice = cluster.node("alice");
    for (wanted, part) in [("äPfEl", ["ÄPFEL", "äpfel"]), ("οδΟς 4", ["ΟΔΟς 4"; 2]), ("οδοΣ", ["ΟΔΟΣ", "οδοσ"])]
    {
        let matches = |message: &&Message| part.iter().any(|part| message.text.contains(part));
        let matching = |messages: &[Message]| messages.iter().filter(matches).cloned().collect::<Vec<_>>();
        for limit in [0, 1, 3, 70, 1_000] {
            let request = HistoryRequest { limit, contains: wanted.to_owned(), ..lab() };
            let (what, limit) = (format!("{limit} with {wanted}"), limit as usize);
            let newest = ask(alice, request.clone()).await.expect("an answer");
            assert_eq!(newest, last(&matching(&all), limit), "{what}");
            let middle = all.len() / 2;
            let before = HistoryRequest { before: place(&all[middle]), ..request.clone() };
            assert_eq!(ask(alice, before).await.expect("an answer"), last(&matching(&all[..middle]), limit), "{what}");
            let after = HistoryRequest { after: place(&all[middle]), ..request };
            let found = ask(alice, after).await.expect("an answer");
            assert_eq!(found, first(&matching(&all[middle + 1..]), limit), "{what}");
        }
    }
    // What is shown of changes of the roster is no text of anybody.
    assert!(all.iter().any(|message| message.text.contains("admitted")));
    let admitted = HistoryRequest { contains: "admitted".to_owned(), ..lab() };
    assert_eq!(ask(alice, admitted).await.expect("an answer"), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_say_how_much_of_the_own_feed_they_have_and_reading_is_remembered() {
    let mut cluster = Cluster::of(Lines::Direct, &["alice", "bob"]).await;
    let stored =
        async |cluster: &Cluster, member: &str| cluster.node("alice").member(member).await.map(|member| member.stored);
    let wait = v1::Wait::All;
    let first = cluster.ledger.say_and_wait(cluster.node("alice"), "for bob", wait).await.expect("bob stores it");
    assert_eq!(stored(&cluster, "alice").await, Ok(first.seq));
    assert_eq!(stored(&cluster, "bob").await, Ok(first.seq));
    cluster.node_mut("bob").kill();
    let second = cluster.ledger.say(cluster.node("alice"), "for nobody yet").await.expect("the disk is fine");
    assert_eq!(stored(&cluster, "alice").await, Ok(second.seq));
    assert_eq!(stored(&cluster, "bob").await, Ok(first.seq));
    cluster.node_mut("bob").restart().await;
    eventually(secs(20), "bob has it all", async || {
        let bob = stored(&cluster, "bob").await?;
        ensure(bob == second.seq, || format!("{bob} of {}", second.seq))
    })
    .await;

    let alice = cluster.node("alice");
    assert_eq!(alice.state().await.map(|state| state.read_position), Ok(0));
    let position = alice.history().await.last().expect("something was said").position;
    let mark = v1::MarkReadRequest { network: LAB.to_owned(), position };
    alice.client().mark_read(call(mark)).await.expect("the disk is fine");
    assert_eq!(alice.state().await.map(|state| state.read_position), Ok(position));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_while_a_node_was_away_is_marked_there_and_nowhere_else() {
    // A patient bob waits longer for what the others have to say, when he is back.
    let names = ["alice", "bob", "carol"];
    let mut cluster = Cluster::of_patient(Lines::Direct, &names).await;
    cluster.node_mut("bob").kill();
    for text in ["said in his absence", "and another thing"] {
        cluster.ledger.say(cluster.node("alice"), text).await.expect("the disk is fine");
    }
    // Whomever bob hears first knows of both.
    eventually(secs(45), "carol has it all", async || {
        let history = cluster.node("carol").history().await;
        let last = history.last().map_or("nothing", |message| &message.text);
        ensure(last == "and another thing", || format!("{last:?} is her last"))
    })
    .await;
    cluster.node_mut("bob").restart().await;
    cluster.rest(&names).await;
    // He may not write before he has caught up.
    cluster.ledger.say(cluster.node("bob"), "back again").await.expect("the disk is fine");
    cluster.rest(&names).await;
    cluster.ledger.say(cluster.node("carol"), "said in his presence").await.expect("the disk is fine");
    cluster.rest(&names).await;
    let marked = async |name: &str| -> Vec<String> {
        let history = cluster.node(name).history().await.into_iter();
        history.filter(|message| message.kind == "text" && message.late).map(|message| message.text).collect()
    };
    assert_eq!(marked("bob").await, ["said in his absence", "and another thing"]);
    assert_eq!(marked("alice").await, [""; 0]);
    assert_eq!(marked("carol").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_remembers_a_place_beyond_the_end_is_shown_what_comes() {
    let cluster = Cluster::of(Lines::Direct, &["alice"]).await;
    let alice = cluster.node("alice");
    cluster.ledger.say(alice, "before").await.expect("the disk is fine");
    let after = alice.history().await.len() as u64 + 5;
    let request = v1::SubscribeRequest { network: LAB.to_owned(), start: v1::Start::Position.into(), after };
    let mut events = alice.client().subscribe(request).await.expect("a stream").into_inner();
    let begins = events.message().await.expect("it goes on").and_then(|event| event.event);
    assert!(matches!(begins, Some(Event::BeginsAfter(end)) if end < after), "{begins:?}");
    let caught_up = events.message().await.expect("it goes on").and_then(|event| event.event);
    assert_eq!(caught_up, Some(Event::CaughtUp(true)));
    cluster.ledger.say(alice, "after").await.expect("the disk is fine");
    let next = events.message();
    let next = tokio::time::timeout(secs(20), next).await.expect("it is shown").expect("it goes on");
    let Some(Event::Message(message)) = next.and_then(|event| event.event) else { panic!("no message") };
    assert_eq!(message.text, "after");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_says_first_where_it_begins() {
    let cluster = Cluster::of(Lines::Direct, &["alice", "bob"]).await;
    let alice = cluster.node("alice");
    let first = async |start: v1::Start, after| {
        let request = v1::SubscribeRequest { network: LAB.to_owned(), start: start.into(), after };
        let mut stream = alice.client().subscribe(call(request)).await.expect("alice is in lab").into_inner();
        let mut next = async || {
            let event = timeout(secs(20), stream.message()).await.expect("an event in time").expect("the node runs");
            event.and_then(|event| event.event).expect("an event")
        };
        [next().await, next().await]
    };
    let [Event::BeginsAfter(begun), Event::CaughtUp(true)] = first(v1::Start::Now, 0).await else {
        panic!("there is nothing to show but what comes");
    };
    cluster.ledger.say(alice, "while nobody listened").await.expect("the disk is fine");
    let [Event::BeginsAfter(again), Event::Message(message)] = first(v1::Start::Position, begun).await else {
        panic!("one message came since");
    };
    assert_eq!((again, message.text.as_str()), (begun, "while nobody listened"));
    assert!(message.position > begun, "{} after {begun}", message.position);
}
