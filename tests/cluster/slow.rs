//! The members are far from each other, and from the discovery service.

use std::time::Duration;

use crate::support::{Cluster, LAB, Lines, eventually, figure, let_pass, wait::ensure, wait::secs};

const NAMES: [&str; 3] = ["alice", "bob", "carol"];

/// Each way: a round trip takes nearly a second, and a connection between nodes two (TCP and TLS), for which they have one
/// second in a building.
const DELAY: Duration = Duration::from_millis(480);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_with_long_round_trips_is_founded_and_talks_and_replaces_its_leader() {
    let mut cluster = Cluster::of_patient(Lines::slow(DELAY), &NAMES).await;
    let before = cluster.agree(&NAMES, secs(60)).await;
    let writers = cluster.talk(&NAMES, 5);
    let_pass(secs(15)).await;
    let after = cluster.agree(&NAMES, secs(60)).await;
    assert_eq!((after.epoch, after.view_version), (before.epoch, before.view_version), "nobody was suspected");
    let latencies = |to: usize, from| {
        let now = std::time::Instant::now();
        writers[to].recorder().latencies(&cluster.ledger, from, now - secs(10), now - secs(2))
    };
    let fastest = latencies(0, "bob").into_iter().min().expect("bob talks");
    assert!(fastest >= DELAY, "{fastest:?} is less than the line takes");
    figure(format!("slow lines: bob to alice: {fastest:.1?} at the least"));

    cluster.node_mut("alice").kill();
    let reign = cluster.agree(&NAMES[1..], secs(60)).await;
    assert_eq!(reign.leader, "bob");
    eventually(secs(60), "the new leader on record", async || {
        let record = cluster.nds.record(LAB).await.map_err(|error| error.to_string())?;
        ensure(record.epoch == reign.epoch, || format!("{record:?}"))
    })
    .await;
    cluster.node_mut("alice").restart().await;
    cluster.agree(&NAMES, secs(60)).await;
    cluster.conclude(writers, &NAMES).await;
}
