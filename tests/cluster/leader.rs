//! The leader dies, and the leader stands still.

use std::time::Instant;

use p2p_chat_proto::v1::NoticeKind;

use crate::support::{Cluster, LAB, Lines, eventually, figure, let_pass, wait::ensure, wait::secs};

const NAMES: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_is_followed_by_the_lowest_id_and_returns_with_a_new_one() {
    let mut cluster = Cluster::of_patient(Lines::Direct, &NAMES).await;
    let writers = cluster.talk(&NAMES, 20);
    let_pass(secs(2)).await;

    cluster.node_mut("alice").kill();
    let killed = Instant::now();
    let bob = hex::decode(&cluster.node("bob").peer).expect("a peer id");
    let record = cluster.nds.lists(LAB, "bob leads", |record| record.leader == bob).await;
    figure(format!("leader killed: the next one is listed after {:.1?}", killed.elapsed()));
    let reign = cluster.agree(&NAMES[1..], secs(60)).await;
    figure(format!("leader killed: all four others agree after {:.1?}", killed.elapsed()));
    assert_eq!((reign.leader.as_str(), reign.epoch), ("bob", record.epoch));
    assert!(record.epoch > 1 && record.leader_node_id == 2, "{record:?}");
    let_pass(secs(3)).await;

    let returned = Instant::now();
    cluster.node_mut("alice").restart().await;
    let after = cluster.agree(&NAMES, secs(60)).await;
    figure(format!("old leader back: in everybody's view after {:.1?}", returned.elapsed()));
    assert_eq!((after.leader.as_str(), after.epoch), ("bob", reign.epoch), "her return caused an election");
    assert_eq!(cluster.node("alice").is_in(LAB).await.node_id, 6, "a number is never used again");

    let rest = cluster.conclude(writers, &NAMES).await;
    assert_eq!(rest.epoch, reign.epoch);
    let record = cluster.nds.record(LAB).await.expect("it is listed");
    assert_eq!((record.epoch, record.leader == bob), (reign.epoch, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stood_still_steps_down_when_it_wakes_up() {
    let cluster = Cluster::of_patient(Lines::Direct, &NAMES).await;
    let writers = cluster.talk(&NAMES, 10);
    let_pass(secs(1)).await;

    let frozen = Instant::now();
    cluster.node("alice").freeze();
    let reign = cluster.agree(&NAMES[1..], secs(90)).await;
    figure(format!("leader stopped: the others agree on the next after {:.1?}", frozen.elapsed()));
    assert_eq!(reign.leader, "bob");
    let_pass(secs(30).saturating_sub(frozen.elapsed())).await;

    let woken = Instant::now();
    cluster.node("alice").thaw();
    eventually(secs(60), "the old leader's step down", async || {
        let state = cluster.node("alice").state().await?;
        ensure(!state.leading && state.epoch >= reign.epoch, || format!("{state:?}"))
    })
    .await;
    figure(format!("leader woken up: it has stepped down after {:.1?}", woken.elapsed()));
    let after = cluster.agree(&NAMES, secs(60)).await;
    assert_eq!((after.leader.as_str(), after.epoch), ("bob", reign.epoch));

    // Everybody is told of the new leader: alice too, though who reads there has lost the connection meanwhile, and may be
    // back only after that.
    for writer in &writers[1..] {
        writer.recorder().notice(NoticeKind::LeaderChanged, "").await;
    }
    let epoch = format!("epoch={}", reign.epoch);
    eventually(secs(60), "alice's word of a new leader", async || {
        let log = cluster.node("alice").process().log();
        let is_told = log.lines().any(|line| line.contains("new leader") && line.contains(&epoch));
        ensure(is_told, || log.lines().rev().take(5).collect::<Vec<_>>().join("\n"))
    })
    .await;
    let rest = cluster.conclude(writers, &NAMES).await;
    assert_eq!(rest.epoch, reign.epoch);
}
