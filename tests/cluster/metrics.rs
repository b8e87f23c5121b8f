//! Nodes and the discovery service tell a monitor what they did, and only what is documented.

use std::{collections::BTreeSet, fs, path::Path};

use p2p_chat_proto::v1::Wait;
use tokio::net::TcpListener;

use crate::support::{
    Cluster, LAB, Lines, Process, eventually,
    scrape::{Scrape, address, http},
    wait::secs,
};

const METRICS: [&str; 2] = ["--metrics", "127.0.0.1:0"];
/// The label of what is counted in the network of the tests.
const LAB_ONLY: [&str; 1] = ["network=\"lab\""];

async fn scrape(process: &Process) -> Scrape {
    Scrape::of(&address(process).await).await
}

/// Two nodes that serve metrics, in one network.
async fn two(lines: Lines) -> Cluster {
    let mut cluster = Cluster::patient(lines).await;
    for (name, how) in [("alice", "--create"), ("bob", "--join")] {
        cluster.add(name).await.start(&[&[how, LAB], &METRICS[..]].concat()).await;
        cluster.node(name).is_in(LAB).await;
    }
    cluster.rest(&["alice", "bob"]).await;
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_delivered_and_acknowledged_is_counted_on_both_sides() {
    let mut cluster = two(Lines::Direct).await;
    for number in 0..5 {
        let text = format!("from alice {number}");
        cluster.ledger.say_and_wait(cluster.node("alice"), &text, Wait::All).await.expect("bob stores it");
    }
    cluster.ledger.say_and_wait(cluster.node("bob"), "from bob", Wait::All).await.expect("alice stores it");
    cluster.rest(&["alice", "bob"]).await;

    let [alice, bob] = ["alice", "bob"].map(|name| cluster.node(name).process());
    let alice = eventually(secs(20), "the numbers of alice and bob", async || {
        let (alice, bob) = (scrape(alice).await, scrape(bob).await);
        let expected = [
            ("p2p_chat_messages_sent_total", (5.0, 1.0)),
            ("p2p_chat_messages_delivered_total", (1.0, 5.0)),
            ("p2p_chat_delivery_latency_seconds_count", (1.0, 5.0)),
            ("p2p_chat_acks_outstanding", (0.0, 0.0)),
            ("p2p_chat_entries_held_back", (0.0, 0.0)),
            ("p2p_chat_entries_missing", (0.0, 0.0)),
            ("p2p_chat_frozen_feeds", (0.0, 0.0)),
            ("p2p_chat_storage_broken", (0.0, 0.0)),
            ("p2p_chat_elections_total", (0.0, 0.0)),
            ("p2p_chat_view_members", (2.0, 2.0)),
            ("p2p_chat_members", (2.0, 2.0)),
            ("p2p_chat_leading", (1.0, 0.0)),
            ("p2p_chat_leader_alive", (1.0, 1.0)),
            ("p2p_chat_epoch", (1.0, 1.0)),
            // The genesis entry, bob's admission, and the texts.
            ("p2p_chat_entries", (8.0, 8.0)),
        ];
        for (name, (of_alice, of_bob)) in expected {
            alice.is(of_alice, name, &LAB_ONLY)?;
            bob.is(of_bob, name, &LAB_ONLY)?;
        }
        calls_and_acks_agree(&alice, &bob)?;
        Ok(alice)
    })
    .await;
    let nds = cluster.nds.process();
    let nds = eventually(secs(20), "the numbers of the discovery service", async || {
        let nds = scrape(nds).await;
        the_discovery_service_counted(&nds)?;
        Ok(nds)
    })
    .await;
    every_name_is_documented(&[&alice, &nds]);
}

/// What alice said to bob is what bob heard.
fn calls_and_acks_agree(alice: &Scrape, bob: &Scrape) -> Result<(), String> {
    // An ack each for what alice wrote while bob was in; what was written before needs none from it.
    alice.is_at_least(5.0, "p2p_chat_ack_latency_seconds_count", &LAB_ONLY)?;
    alice.is_at_least(5.0, "p2p_chat_entries_acknowledged_total", &LAB_ONLY)?;
    // Everything but its own text, each once.
    bob.is(7.0, "p2p_chat_entries_received_total", &LAB_ONLY)?;
    let (made, answered) = ("p2p_chat_rpc_client_calls_total", "p2p_chat_rpc_server_calls_total");
    alice.is(5.0, answered, &["service=\"Node\"", "method=\"Send\"", "code=\"OK\""])?;
    let delivered = ["service=\"Chat\"", "method=\"Deliver\"", "code=\"OK\""];
    alice.is_at_least(5.0, made, &delivered)?;
    bob.is(alice.sum(made, &delivered)?, answered, &delivered)?;
    alice.is(1.0, "p2p_chat_discovery_reachable", &[])?;
    alice.is_at_least(6.0, "p2p_chat_store_transaction_seconds_count", &[])?;
    alice.is_at_least(501.0, "p2p_chat_socket_sent_bytes_total", &[])?;
    bob.is_at_least(501.0, "p2p_chat_socket_received_bytes_total", &[])?;
    alice.is_at_least(1e6, "p2p_chat_process_resident_memory_bytes", &[])
}

/// One network, created by alice and joined by bob.
fn the_discovery_service_counted(nds: &Scrape) -> Result<(), String> {
    nds.is(1.0, "p2p_chat_nds_networks", &[])?;
    nds.is(1.0, "p2p_chat_nds_statements_total", &["kind=\"create\""])?;
    nds.is(1.0, "p2p_chat_nds_rpc_server_calls_total", &["method=\"CreateNetwork\"", "code=\"OK\""])?;
    // Bob's joining is renewed at once.
    nds.is_at_least(1.0, "p2p_chat_nds_statements_total", &["kind=\"renew\""])?;
    // The creator was called back.
    nds.is(1.0, "p2p_chat_nds_probes_total", &["outcome=\"reached\""])?;
    nds.is_at_least(2.0, "p2p_chat_nds_store_write_seconds_count", &[])
}

/// `docs/operations.md` has a row for each metric, and speaks of no other.
fn every_name_is_documented(scrapes: &[&Scrape]) {
    let exported: BTreeSet<String> = scrapes.iter().flat_map(|scrape| scrape.names()).collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let text = fs::read_to_string(file).expect("the operator's handbook is there");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let described =
        rows.filter(|(_, rest)| ["counter", "gauge", "histogram"].iter().any(|kind| rest.starts_with(kind)));
    let described: BTreeSet<String> = described.map(|(name, _)| name.to_owned()).collect();
    assert_eq!(described, exported, "described, and exported");

    // In examples and rules, too; but "p2p_chat_store=debug" is a package.
    for (at, _) in text.match_indices("p2p_chat_") {
        let rest = &text[at..];
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let is_known = exported.contains(name.strip_suffix("_bucket").unwrap_or(name));
        assert!(is_known || after.starts_with(['=', '(']), "{name} is not exported");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_death_of_a_leader_shows_in_the_numbers_of_who_is_left() {
    let mut cluster = two(Lines::Direct).await;
    cluster.add("carol").await.start(&["--join", LAB]).await;
    cluster.node("carol").is_in(LAB).await;
    cluster.rest(&["alice", "bob", "carol"]).await;
    cluster.node_mut("alice").kill();
    cluster.agree(&["bob", "carol"], secs(60)).await;
    let _said = cluster.ledger.say(cluster.node("bob"), "alice lacks this").await.expect("it is on bob's disk");

    let [lab] = LAB_ONLY;
    eventually(secs(60), "the numbers of bob", async || {
        let bob = scrape(cluster.node("bob").process()).await;
        bob.is(1.0, "p2p_chat_elections_total", &[lab])?;
        bob.is(2.0, "p2p_chat_leader_changes_total", &[lab])?;
        bob.is(1.0, "p2p_chat_leader_losses_total", &[lab])?;
        bob.is(1.0, "p2p_chat_leading", &[lab])?;
        bob.is(2.0, "p2p_chat_epoch", &[lab])?;
        bob.is(2.0, "p2p_chat_view_members", &[lab])?;
        bob.is(3.0, "p2p_chat_members", &[lab])?;
        bob.is(1.0, "p2p_chat_acks_outstanding", &[lab, "members=\"away\""])?;
        bob.is_at_least(1.0, "p2p_chat_pings_total", &[lab, "outcome=\"unanswered\""])?;
        bob.is_at_least(1.0, "p2p_chat_rpc_client_calls_total", &["method=\"Ping\"", "code=\"UNAVAILABLE\""])
    })
    .await;
    let nds = cluster.nds.process();
    eventually(secs(20), "the numbers of the discovery service", async || {
        scrape(nds).await.is(1.0, "p2p_chat_nds_statements_total", &["kind=\"update\""])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_one_page_and_a_port_that_is_taken_is_named() {
    let mut cluster = Cluster::new(Lines::Direct).await;
    cluster.add("alice").await.start(&METRICS).await;
    let at = address(cluster.node("alice").process()).await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404 "),
        ("GET /metrics/ HTTP/1.0\r\n\r\n", "HTTP/1.0 404 "),
        ("POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 405 "),
        ("nonsense\r\n\r\n", "HTTP/1.1 400 "),
    ] {
        let (head, _) = http(&at, request).await;
        assert!(head.starts_with(status), "{request:?} was answered with {head:?}");
    }

    let holder = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let taken = holder.local_addr().expect("it has an address").to_string();
    let bob = cluster.add("bob").await;
    let ended = bob.try_start(&["--metrics", &taken]).await.expect_err("the port is taken");
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let expected = format!("can't serve metrics on {taken} (");
    assert!(ended.stderr.contains(&expected) && ended.stderr.contains("--metrics"), "{ended:?}");
    let dir = cluster.data_dir("second-nds").display().to_string();
    let words = ["nds", "--listen", "127.0.0.1:0", "--data-dir", &dir, "--metrics", &taken];
    let ended = crate::support::process::run(&words, &cluster.logs()).await;
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains(&expected) && ended.stdout.is_empty(), "{ended:?}");
}
