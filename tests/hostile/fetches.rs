//! A member that has much sent to it, and reads none of it.

use p2p_chat_model::VectorClock;
use p2p_chat_proto::{convert::ToWire, v1};
use tonic::{Code, Status, Streaming};

use crate::{
    outlaw::Outlaw,
    support::{
        Cluster, LAB, Lines, NodeProcess, eventually, figure,
        wait::{ensure, secs},
    },
    table::request,
};

/// Fetches that mallory makes at one time.
const GREED: usize = 40;
/// Those that a node serves to one peer at one time.
const SERVED: usize = 4;
/// Of 60 KiB each: more than HTTP/2 takes of a few streams before anybody reads.
const TEXTS: usize = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fetches_that_nobody_reads_are_few_and_end_and_leave_room_for_who_catches_up() {
    let mut cluster = Cluster::of(Lines::Direct, &["alice"]).await;
    let mut mallory = Outlaw::new(0x67).await;
    mallory.join(&cluster, cluster.node("alice"), "mallory").await;
    for number in 0..TEXTS {
        let text = format!("{number} {}", "x".repeat(60 * 1024));
        cluster.ledger.say(cluster.node("alice"), &text).await.expect("the disk is fine");
    }

    let before = peak_mib(cluster.node("alice"));
    let mut streams = Vec::new();
    for _ in 0..GREED {
        match fetch(&mallory, cluster.node("alice")).await {
            Ok(stream) => streams.push(stream),
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status}"),
        }
    }
    assert_eq!(streams.len(), SERVED, "the others are refused");

    cluster.add("carol").await.start(&["--join", LAB]).await;
    cluster.node("carol").is_in(LAB).await;
    // Her own admission may come to alice's history later.
    let all = cluster.node("alice").history().await.len();
    eventually(secs(90), "carol has everything", async || {
        let has = cluster.node("carol").state().await?.entries;
        ensure(has >= all as u64, || format!("{has} of {all} entries"))
    })
    .await;
    let has = cluster.node("carol").history().await.len();
    assert!(has >= all, "carol shows {has} of {all} messages");
    figure(format!("{GREED} fetches, unread: {} MiB more", peak_mib(cluster.node("alice")) - before));

    eventually(secs(40), "a place for one more fetch", async || {
        let stream = fetch(&mallory, cluster.node("alice")).await;
        stream.map(drop).map_err(|status| status.to_string())
    })
    .await;
    drop(streams);
}

async fn fetch(mallory: &Outlaw, from: &NodeProcess) -> Result<Streaming<v1::FetchResponse>, Status> {
    let have = Some((&VectorClock::new()).into());
    let wanted = v1::FetchRequest { network: mallory.standing().network.to_wire(), have, not_of: vec![] };
    mallory.services(from).chat.fetch(request(wanted)).await.map(tonic::Response::into_inner)
}

fn peak_mib(node: &NodeProcess) -> u64 {
    node.process().memory_kib().1 / 1024
}
