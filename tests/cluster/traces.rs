//! What nodes and discovery services export to an OpenTelemetry collector: one message, one join and one election are one
//! trace each, whatever nodes they pass through; and a collector that is away harms nobody.

use std::{fs, path::Path, time::Instant};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind::{Client, Internal, Server};
use p2p_chat_proto::v1::{self, Wait};
use tokio::net::{TcpListener, TcpSocket};

use crate::support::{
    Cluster, LAB, Lines,
    collector::{Collector, Span},
    eventually,
    node::call,
    wait::{ensure, secs, within},
};

const DELIVER: &str = "p2pchat.v1.Chat/Deliver";
const RELAY: &str = "p2pchat.v1.Chat/Relay";
const JOIN: &str = "p2pchat.v1.Membership/Join";
const CREATE: &str = "p2pchat.v1.Discovery/CreateNetwork";
const UPDATE: &str = "p2pchat.v1.Discovery/UpdateLeader";
const ELECT: &str = "p2pchat.v1.Election/Elect";
const COORDINATE: &str = "p2pchat.v1.Election/Coordinate";
const NDS: &str = "p2p-chat-nds";

/// Founds a network of these nodes; they and the discovery service export to `url`.
async fn traced(mut cluster: Cluster, names: &[&str], url: &str) -> Cluster {
    cluster.nds.kill();
    cluster.nds.restart_with(&["--otlp", url]).await;
    for name in names {
        let how = if *name == names[0] { "--create" } else { "--join" };
        cluster.add(name).await.start(&[how, LAB, "--otlp", url]).await;
        cluster.node(name).is_in(LAB).await;
    }
    cluster.rest(names).await;
    cluster
}

/// The span of a `send`, by the id that its author was told.
fn sent(collector: &Collector, id: &str) -> Result<Span, String> {
    collector.one(&format!("the sending of {id}"), |span| span.name == "send" && span.says("message_id") == id)
}

/// Follows a hand-over from below `cause` to the disk of the receiver.
fn handed_over(collector: &Collector, cause: &Span, from: &str, to: &str, peer: &str) -> Result<Span, String> {
    let is_it = |span: &Span| {
        let is_of = (&*span.parent, &*span.name, span.kind) == (&*cause.id, DELIVER, Client);
        is_of && span.says("peer") == &peer[..8] && span.failure.is_none()
    };
    let made = collector.one(&format!("the hand-over from {from} to {to}"), is_it)?;
    assert_eq!((made.node(), &made.trace), (from, &cause.trace));
    let answered = collector.child(&made, to, DELIVER, Server)?;
    let commit = collector.child(&answered, to, "commit", Internal)?;
    assert!(answered.time.0 <= commit.time.0 && commit.time.1 <= answered.time.1, "it was acked before the commit");
    Ok(answered)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_one_trace_from_its_author_to_the_disk_of_every_member() {
    let collector = Collector::start().await;
    let cluster = traced(Cluster::patient(Lines::Direct).await, &["alice", "bob", "carol"], &collector.url).await;
    let alice = cluster.node("alice");
    let [first, second] = ["follow me", "and not me"].map(|text| cluster.ledger.say_and_wait(alice, text, Wait::All));
    let (first, second) = (first.await.expect("all store it"), second.await.expect("all store it"));

    eventually(secs(30), "both traces", async || {
        let mut traces = Vec::new();
        for message in [&first, &second] {
            let send = sent(&collector, &message.id)?;
            assert_eq!((send.node(), send.says("network"), &*send.parent), ("alice", LAB, ""), "{send:?}");
            assert_eq!(send.says("seq"), message.seq.to_string());
            collector.child(&send, "alice", "commit", Internal)?;
            for to in ["bob", "carol"] {
                let answered = handed_over(&collector, &send, "alice", to, &cluster.node(to).peer)?;
                assert_eq!(answered.says("message_id"), message.id);
                assert_eq!(answered.says("author"), &alice.peer[..8]);
                assert_eq!(answered.says("peer"), &alice.peer[..8]);
            }
            traces.push(send.trace);
        }
        assert_ne!(traces[0], traces[1]);
        Ok(())
    })
    .await;

    let version = env!("CARGO_PKG_VERSION");
    for span in collector.spans().iter().filter(|span| span.node() != NDS) {
        let told = |key: &str| span.resource.get(key).map(String::as_str);
        assert_eq!(told("service.name"), Some("p2p-chat"));
        assert_eq!(told("service.instance.id"), Some(&*cluster.node(span.node()).peer));
        assert_eq!(told("service.version"), Some(version));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_handed_over_together_are_linked_to_their_spans() {
    let collector = Collector::start().await;
    let cluster = traced(Cluster::patient(Lines::Direct).await, &["alice", "bob"], &collector.url).await;
    cluster.node("bob").freeze();
    let alice = cluster.node("alice");
    let mut said = Vec::new();
    for number in 0..3 {
        said.push(cluster.ledger.say(alice, &format!("number {number}")).await.expect("it is on alice's disk"));
    }
    cluster.node("bob").thaw();
    // The first goes alone, or with the second, or with both; what is left goes together.
    eventually(secs(30), "a hand-over of two", async || {
        for pair in said.windows(2) {
            let [before, after] = pair else { continue };
            let (send, linked) = (sent(&collector, &before.id)?, sent(&collector, &after.id)?);
            let is_of_both = |span: &Span| {
                let link = span.links.iter().find(|(id, _)| *id == linked.id);
                let names_it = link.is_some_and(|(_, told)| told.get("message_id") == Some(&after.id));
                let is_made = span.name == DELIVER && span.kind == Client && span.failure.is_none();
                is_made && span.parent == send.id && names_it
            };
            if collector.spans().iter().any(is_of_both) {
                return Ok(());
            }
        }
        Err("each was handed over alone".to_owned())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_relayed_is_one_trace_through_the_relay() {
    let collector = Collector::start().await;
    let cluster = traced(Cluster::new(Lines::proxied()).await, &["alice", "bob", "carol"], &collector.url).await;
    cluster.lines.cut(&["bob"], &["carol"]);
    let bob = cluster.node("bob");
    let first = cluster.ledger.say_and_wait(bob, "can carol hear me", Wait::All).await.expect("carol has it somehow");
    eventually(secs(30), "the failed hand-over", async || {
        let send = sent(&collector, &first.id)?;
        let failed = |span: &Span| span.parent == send.id && span.name == DELIVER && span.failure.is_some();
        ensure(collector.spans().iter().any(failed), || "none failed".to_owned())
    })
    .await;

    // What carol fetches before it is passed on is not relayed: but of what is said right after a failure, it is.
    let mut number = 0;
    eventually(secs(120), "a trace over alice", async || {
        let mut said = Vec::new();
        for _ in 0..3 {
            number += 1;
            let text = format!("over alice {number}");
            let message = cluster.ledger.say_and_wait(bob, &text, Wait::All).await;
            said.push(message.map_err(|status| status.to_string())?.id);
        }
        let any = || said.iter().map(|id| relayed(&collector, &cluster, id)).reduce(Result::or).unwrap_or(Ok(()));
        within(secs(3), async || any()).await
    })
    .await;
    every_name_is_documented(&collector);
}

/// Follows a message of bob's over alice to carol.
fn relayed(collector: &Collector, cluster: &Cluster, id: &str) -> Result<(), String> {
    let send = sent(collector, id)?;
    let asked = collector.child(&send, "bob", RELAY, Client)?;
    assert_eq!(asked.says("target"), &cluster.node("carol").peer[..8]);
    let relay = collector.child(&asked, "alice", RELAY, Server)?;
    let last = handed_over(collector, &relay, "alice", "carol", &cluster.node("carol").peer)?;
    assert_eq!(last.says("author"), &cluster.node("bob").peer[..8]);
    // What was said before it and has not arrived either goes along, and first.
    ensure(last.says("message_id") == id, || "it is passed on with an earlier one".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_and_an_election_are_one_trace_each_over_nodes_and_discovery_service() {
    let collector = Collector::start().await;
    let mut cluster = traced(Cluster::patient(Lines::Direct).await, &["alice", "bob", "carol"], &collector.url).await;
    eventually(secs(30), "the traces of the founding and of a join", async || {
        let create = collector.one("the founding", |span| span.name == "create")?;
        let asked = collector.child(&create, "alice", CREATE, Client)?;
        collector.child(&asked, NDS, CREATE, Server)?;
        let join = collector.one("bob's join", |span| span.name == "join" && span.node() == "bob")?;
        let asked = collector.child(&join, "bob", JOIN, Client)?;
        let answered = collector.child(&asked, "alice", JOIN, Server)?;
        collector.child(&answered, "alice", "commit", Internal)
    })
    .await;

    cluster.node_mut("alice").kill();
    cluster.agree(&["bob", "carol"], secs(60)).await;
    eventually(secs(30), "the trace of the election", async || {
        let election =
            collector.one("bob's election", |span| span.name == "election" && span.says("outcome") == "won")?;
        assert_eq!((election.node(), election.says("epoch"), election.says("network")), ("bob", "2", LAB));
        let asked = collector.child(&election, "bob", ELECT, Client)?;
        collector.child(&asked, "carol", ELECT, Server)?;
        let registered = collector.child(&election, "bob", UPDATE, Client)?;
        let judged = collector.child(&registered, NDS, UPDATE, Server)?;
        assert_eq!((judged.says("epoch"), &judged.failure), ("2", &None));
        let is_carol = |span: &Span| span.says("peer") == &cluster.node("carol").peer[..8];
        let told = collector.one("COORDINATOR to carol", |span| {
            span.parent == election.id && span.name == COORDINATE && span.kind == Client && is_carol(span)
        })?;
        collector.child(&told, "carol", COORDINATE, Server)
    })
    .await;
    every_name_is_documented(&collector);
}

/// The handbook names every span, and everything that is said of one.
fn every_name_is_documented(collector: &Collector) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let text = fs::read_to_string(file).expect("the operator's handbook is there");
    let (_, after) = text.split_once("\n## Traces\n").expect("it has a section on traces");
    let section = after.split("\n## ").next().unwrap_or(after);
    for span in collector.spans() {
        let of_links = span.links.iter().flat_map(|(_, told)| told.keys());
        // The first ones are those of the OpenTelemetry SDK itself.
        let of_process = span.resource.keys().filter(|key| !key.starts_with("telemetry.sdk."));
        for name in of_links.chain(of_process).chain(span.attributes.keys()).chain([&span.name]) {
            assert!(section.contains(&format!("`{name}`")), "{name} is not described");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_or_says_nothing_harms_nobody_and_is_complained_of_once() {
    // Bound, so that nobody else gets it; but nobody listens yet.
    let absent = TcpSocket::new_v4().expect("a socket");
    absent.bind("127.0.0.1:0".parse().expect("an address")).expect("a port is free");
    // Accepted by the system, and never by anybody else.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let silent_url = format!("http://{}", silent.local_addr().expect("it has an address"));

    let mut cluster = Cluster::new(Lines::Direct).await;
    let absent_url = format!("http://{}", absent.local_addr().expect("it has an address"));
    for (name, how, url) in [("alice", "--create", &absent_url), ("bob", "--join", &silent_url)] {
        cluster.add(name).await.start(&[how, LAB, "--otlp", url, "--log", "info,p2p_chat_traces=debug"]).await;
        cluster.node(name).is_in(LAB).await;
    }
    let told = |name: &str, what: &str| {
        let log = cluster.node(name).process().log();
        log.lines().filter(|line| line.contains(what)).map(str::to_owned).collect::<Vec<_>>()
    };
    for (number, what) in ["can't export spans", "more spans are lost"].into_iter().enumerate() {
        let text = format!("heard by nobody else {number}");
        cluster.ledger.say_and_wait(cluster.node("alice"), &text, Wait::All).await.expect("bob stores it");
        eventually(secs(20), format!("{what:?} of each"), async || {
            let both = [told("alice", what), told("bob", what)];
            ensure(both.iter().all(|lines| !lines.is_empty()), || format!("{both:?}"))
        })
        .await;
    }
    for (name, url) in [("alice", &absent_url), ("bob", &silent_url)] {
        let complaints = told(name, "can't export spans");
        assert!(complaints.len() == 1 && complaints[0].contains(url), "{complaints:?}");
    }

    let collector = Collector::on(absent.listen(64).expect("the port is ours"));
    let again = cluster.ledger.say_and_wait(cluster.node("alice"), "heard again", Wait::All).await.expect("stored");
    eventually(secs(30), "the first span", async || sent(&collector, &again.id)).await;
    eventually(secs(20), "the news", async || {
        let log = cluster.node("alice").process().log();
        ensure(log.contains("exporting spans again"), || log)
    })
    .await;

    for name in ["bob", "alice"] {
        let asked = Instant::now();
        let ended = cluster.node_mut(name).terminate().await;
        assert!(ended.status.success(), "{ended:?}");
        // The last export may take 2 s; the rest is what a stop takes without one, on a busy machine.
        assert!(asked.elapsed() < secs(25), "{name} took {:?} to end", asked.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_that_have_just_ended_are_exported_before_the_process_ends() {
    let collector = Collector::start().await;
    let mut cluster = traced(Cluster::patient(Lines::Direct).await, &["alice"], &collector.url).await;
    let last = cluster.ledger.say(cluster.node("alice"), "my last words").await.expect("it is on disk");
    cluster.node_mut("alice").terminate().await;
    sent(&collector, &last.id).expect("it was exported by then");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_can_put_a_message_under_its_own_span_and_nonsense_for_one_is_ignored() {
    let collector = Collector::start().await;
    let cluster = traced(Cluster::patient(Lines::Direct).await, &["alice"], &collector.url).await;
    let say = async |text: &str, parent: &str| {
        let wait = Wait::None.into();
        let mut request = call(v1::SendRequest { network: LAB.to_owned(), text: text.to_owned(), wait, timeout_ms: 0 });
        request.metadata_mut().insert("traceparent", parent.parse().expect("it is ASCII"));
        cluster.node("alice").client().send(request).await.expect("it is on disk").into_inner().id
    };
    let mine = say("mine", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").await;
    let nobodys = say("nobody's", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more").await;
    eventually(secs(30), "both spans", async || {
        let (mine, nobodys) = (sent(&collector, &mine)?, sent(&collector, &nobodys)?);
        assert_eq!((&*mine.trace, &*mine.parent), ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"));
        assert!(nobodys.parent.is_empty() && nobodys.trace != mine.trace, "{nobodys:?}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_begins_a_trace_decides_for_all_whether_it_is_kept() {
    let collector = Collector::start().await;
    let mut cluster = Cluster::patient(Lines::Direct).await;
    let sampler = ["OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0"];
    let attributes = "OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=attic";
    cluster.add("alice").await.with_environment(&[&sampler[..], &[attributes]].concat());
    cluster.node_mut("alice").start(&["--create", LAB, "--otlp", &collector.url]).await;
    cluster.add("bob").await.start(&["--join", LAB, "--otlp", &collector.url]).await;
    cluster.node("bob").is_in(LAB).await;
    cluster.rest(&["alice", "bob"]).await;
    let say = async |name: &str| {
        let text = format!("by {name}");
        cluster.ledger.say_and_wait(cluster.node(name), &text, Wait::All).await.expect("the other stores it").id
    };
    let (dropped, kept) = (say("alice").await, say("bob").await);
    let answered = eventually(secs(30), "the trace of bob's message", async || {
        let send = sent(&collector, &kept)?;
        handed_over(&collector, &send, "bob", "alice", &cluster.node("alice").peer)
    })
    .await;
    assert_eq!(answered.resource.get("deployment.environment.name").map(String::as_str), Some("attic"));
    let of_dropped: Vec<Span> =
        collector.spans().into_iter().filter(|span| span.says("message_id") == dropped).collect();
    assert!(of_dropped.is_empty(), "{of_dropped:?}");
}
