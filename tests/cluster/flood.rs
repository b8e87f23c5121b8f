//! A receiver that reads nothing while very much is sent.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use p2p_chat_proto::v1::Wait;
use tokio::task::JoinSet;

use crate::support::{Cluster, LAB, Ledger, Lines, NodeProcess, Recorder, Writer, figure, report::spread, wait::secs};

const NAMES: [&str; 4] = ["alice", "bob", "carol", "dave"];
const MESSAGES: usize = 50_000;
/// Calls of the local API at one time, at each of the two senders.
const CALLS: usize = 64;
/// How long a text may wait for its turn among those at the node, and for the answer: the disk may be slow.
const TURN: (Duration, Duration) = (secs(60), secs(70));
const MEMORY_LIMIT_KIB: u64 = 300 * 1024;
/// So many messages between healthy members are tried during the flood at the least.
const PROBES: usize = 5;
/// None of them takes longer than a quarter of the flood: one that is held up until the flood's end would. A slow machine
/// makes both longer.
const UNAFFECTED: u32 = 4;
/// So long may each take in any case: in a short flood a quarter is soon reached by chance.
const UNAFFECTED_SECS: u64 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_stands_still_costs_the_senders_no_memory_and_catches_up() {
    let mut cluster = Cluster::alone(Lines::Direct).await;
    cluster.found(&NAMES).await;
    let idle: Vec<u64> = NAMES.iter().map(|name| cluster.node(name).process().memory_kib().0).collect();
    let (recorder, seen_by_alice) =
        (Recorder::start(cluster.node("carol"), LAB), Recorder::start(cluster.node("alice"), LAB));
    cluster.node("dave").freeze();

    let begun = Instant::now();
    let senders = ["alice", "bob"].map(|name| flood(cluster.node(name), &cluster.ledger, MESSAGES / 2));
    let probing = Writer::start(cluster.node("carol"), &cluster.ledger, 4);
    for mut calls in senders {
        while let Some(ended) = calls.join_next().await {
            ended.unwrap_or_else(|error| panic!("a sender failed: {error}"));
        }
    }
    let sent = begun.elapsed();
    let rate = MESSAGES as f64 / sent.as_secs_f64();
    figure(format!("flood: {MESSAGES} messages sent in {sent:.1?}, {rate:.0} a second"));
    let latencies = seen_by_alice.latencies_and_waits(&cluster.ledger, "carol", begun);
    assert!(latencies.len() >= PROBES, "carol tried to say {} messages", latencies.len());
    let limit = (sent / UNAFFECTED).max(secs(UNAFFECTED_SECS));
    assert!(latencies.iter().max() < Some(&limit), "{latencies:?} of {sent:?}");
    figure(format!("flood: carol to alice meanwhile: {}", spread(latencies)));
    let (_, probe) = probing.stop().await;

    cluster.rest_within(&NAMES[..3], secs(60)).await;
    figure(format!("flood: all of it with the three that run after {:.1?}", begun.elapsed()));
    let woken = Instant::now();
    cluster.node("dave").thaw();
    let rest = cluster.rest_within(&NAMES, secs(120)).await;
    let rate = rest.entries as f64 / woken.elapsed().as_secs_f64();
    figure(format!("flood: the stopped one caught up in {:.1?}, {rate:.0} entries a second", woken.elapsed()));
    for (name, idle) in NAMES.iter().zip(idle) {
        let (now, peak) = cluster.node(name).process().memory_kib();
        figure(format!("flood: memory of {name}: idle {idle} KiB, now {now} KiB, at its highest {peak} KiB"));
        assert!(peak < MEMORY_LIMIT_KIB, "{name} took {peak} KiB");
    }
    cluster.assert_histories(&NAMES).await;
    for recorder in [&recorder, &probe] {
        recorder.has_shown(rest.entries as usize).await;
        recorder.check().unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Sends as fast as the node takes it.
fn flood(node: &NodeProcess, ledger: &Ledger, messages: usize) -> JoinSet<()> {
    let next = Arc::new(AtomicUsize::new(1));
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let (client, name, ledger, next) = (node.client(), node.name.clone(), ledger.clone(), Arc::clone(&next));
        calls.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number > messages {
                    return;
                }
                let text = format!("{name} floods {number} {}", "~".repeat(60));
                let sent = ledger.send_within(TURN, client.clone(), &name, &text, Wait::None).await;
                sent.unwrap_or_else(|status| panic!("{name} could not send {number}: {status}"));
            }
        });
    }
    calls
}
