//! Figures: what this build does on this machine. They are printed and never judged, so they are not part of the
//! usual run:
//!
//! `cargo test --release --locked -p p2p-chat --test figures -- --ignored --test-threads 1`

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use p2p_chat_proto::v1::{self, Wait};

use crate::support::{Cluster, LAB, Lines, NodeProcess, eventually, figure, let_pass, node::call, report::spread};

// Shared with the other test programs, each of which uses its part.
#[allow(dead_code)]
#[path = "../support/mod.rs"]
mod support;

const NAMES: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];
const SIZE: usize = 256;
/// Messages for the figures about a long history.
const MANY: u64 = 100_000;
/// Sends that are under way at a time, a node.
const AT_ONCE: u64 = 64;

fn text(number: u64) -> String {
    let mut text = format!("message {number} ");
    text.push_str(&"x".repeat(SIZE - text.len()));
    text
}

async fn send(node: &NodeProcess, number: u64, wait: Wait) {
    let request = v1::SendRequest { network: LAB.into(), text: text(number), wait: wait.into(), timeout_ms: 20_000 };
    node.client().send(call(request)).await.expect("a working node");
}

/// Waits until a node has stored this many entries.
async fn has_entries(node: &NodeProcess, entries: u64) {
    eventually(Duration::from_secs(300), format!("{entries} entries at {}", node.name), async || {
        let state = node.state().await?;
        if state.entries >= entries { Ok(()) } else { Err(format!("it has {}", state.entries)) }
    })
    .await;
}

/// Has `count` messages sent by the nodes, as fast as each accepts them, and waits until all have all. Returns how
/// long it took until all were accepted, and until all were everywhere.
async fn flood(cluster: &Cluster, nodes: &[&str], count: u64) -> (Duration, Duration) {
    let before = cluster.node(nodes[0]).state().await.expect("a working node").entries;
    let started = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    let mut senders = Vec::new();
    for name in nodes {
        let client = cluster.node(name).client();
        for _ in 0..AT_ONCE {
            let (mut client, next) = (client.clone(), Arc::clone(&next));
            senders.push(tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let request = v1::SendRequest {
                        network: LAB.into(),
                        text: text(number),
                        wait: Wait::None.into(),
                        timeout_ms: 20_000,
                    };
                    client.send(call(request)).await.expect("a working node");
                }
            }));
        }
    }
    for sender in senders {
        sender.await.expect("a sender");
    }
    let accepted = started.elapsed();
    for node in cluster.running() {
        has_entries(node, before + count).await;
    }
    (accepted, started.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a figure"]
async fn failover() {
    let mut idle = Vec::new();
    let mut cluster = Cluster::of(Lines::Direct, &NAMES).await;
    for _ in 0..20 {
        let rest = cluster.rest(&NAMES).await;
        let leader = rest.leader.clone();
        let before = cluster.nds.record(LAB).await.expect("it is listed");
        cluster.node_mut(&leader).kill();
        let killed = Instant::now();
        loop {
            let now = cluster.nds.record(LAB).await.expect("it is listed");
            if now.epoch > before.epoch {
                break;
            }
            let_pass(Duration::from_millis(1)).await;
        }
        idle.push(killed.elapsed());
        cluster.node_mut(&leader).restart().await;
    }
    figure(format!("5 idle nodes, leader killed, until the new one is listed: {}", spread(idle)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a figure"]
async fn latency_and_idle_cost() {
    let cluster = Cluster::of(Lines::Direct, &NAMES).await;
    for node in cluster.running() {
        figure(format!("idle node {}: {} KiB resident", node.name, node.process().memory_kib().0));
    }
    let mut samples = Vec::new();
    for number in 0..1_000 {
        let started = Instant::now();
        send(cluster.node("bob"), number, Wait::All).await;
        samples.push(started.elapsed());
    }
    figure(format!("5 idle nodes, send until all 4 others have it on disk: {}", spread(samples)));

    let ticks = |cluster: &Cluster| cluster.running().map(|node| cpu_ticks(node.process().pid())).sum::<u64>();
    let (before, span) = (ticks(&cluster), Duration::from_secs(30));
    let_pass(span).await;
    // Linux counts in hundredths of a second.
    let share = (ticks(&cluster) - before) as f64 / span.as_secs_f64();
    figure(format!("5 idle nodes over {span:?}: {:.2} % of one core a node", share / 5.0));
}

/// User and system time of a process, in the kernel's ticks.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a running process");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
    fields[11].parse::<u64>().expect("a number") + fields[12].parse::<u64>().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a figure"]
async fn joins() {
    let mut cluster = Cluster::of(Lines::Direct, &NAMES).await;
    let mut samples = Vec::new();
    for number in 0..10 {
        let name = format!("joiner-{number}");
        cluster.add(&name).await.start(&[]).await;
        let started = Instant::now();
        let request = v1::JoinNetworkRequest { network: LAB.to_owned() };
        cluster.node(&name).client().join(call(request)).await.expect("a working leader");
        samples.push(started.elapsed());
    }
    figure(format!("join a network of 5 to 14 nodes: {}", spread(samples)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a figure"]
async fn throughput_history_and_catching_up() {
    let mut cluster = Cluster::of(Lines::Direct, &NAMES).await;
    for senders in [&NAMES[..1], &NAMES[..]] {
        let count = 10_000;
        let (accepted, everywhere) = flood(&cluster, senders, count).await;
        let rate = |took: Duration| count as f64 / took.as_secs_f64();
        figure(format!(
            "5 nodes, {} senders, {SIZE} bytes: {:.0} messages/s accepted, {:.0} messages/s until everywhere on disk",
            senders.len(),
            rate(accepted),
            rate(everywhere)
        ));
    }
    flood(&cluster, &NAMES, MANY - 20_000).await;
    for node in cluster.running() {
        let (now, most) = node.process().memory_kib();
        figure(format!("{} with {MANY} messages: {now} KiB resident, {most} KiB at most", node.name));
    }
    let restarted = Instant::now();
    cluster.node_mut("erin").terminate().await;
    cluster.node_mut("erin").restart().await;
    cluster.rest(&NAMES).await;
    let resident = cluster.node("erin").process().memory_kib().0;
    figure(format!("restart with {MANY} messages: {:.1?}, then {resident} KiB resident", restarted.elapsed()));

    cluster.add("frank").await.start(&["--join", LAB]).await;
    let joined = Instant::now();
    has_entries(cluster.node("frank"), MANY).await;
    let took = joined.elapsed();
    let rate = MANY as f64 / took.as_secs_f64();
    figure(format!("a new member catches up with {MANY} messages in {took:.1?}: {rate:.0} entries/s"));
}
