//! Cut lines: between one pair, and between two halves.

use std::time::Instant;

use p2p_chat_proto::v1::Wait;

use crate::support::{
    Cluster, Lines, Writer, eventually, figure, let_pass,
    report::{skip, spread},
    wait::{ensure, secs},
};

const FOUR: [&str; 4] = ["alice", "bob", "carol", "dave"];
const SIX: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "frank"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_members_with_a_dead_line_between_them_talk_by_relay() {
    match Lines::wired() {
        Ok(lines) => pair_that_is_cut_off_talks_by_relay(lines).await,
        Err(reason) => skip("two members with a dead line between them talk by relay", reason),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_members_with_a_frozen_line_between_them_talk_by_relay() {
    pair_that_is_cut_off_talks_by_relay(Lines::proxied()).await;
}

async fn pair_that_is_cut_off_talks_by_relay(lines: Lines) {
    let cluster = Cluster::of_patient(lines, &FOUR).await;
    let before = cluster.rest(&FOUR).await;
    let writers = cluster.talk(&FOUR, 5);
    let_pass(secs(1)).await;

    cluster.lines.cut(&["bob"], &["carol"]);
    let cut = Instant::now();
    let first = cluster.ledger.say(cluster.node("bob"), "can carol hear me").await.expect("bob's disk is fine");
    writers[2].recorder().shows("can carol hear me").await;
    figure(format!("pair cut: the first message took {:.1?}", cut.elapsed()));
    let custody = eventually(secs(60), "bob's knowledge that carol has it", async || {
        let custody = cluster.node("bob").custody(&first.id, "carol").await?;
        ensure(custody.state == "stored", || format!("{custody:?}"))?;
        Ok(custody)
    })
    .await;
    assert!(custody.way.starts_with("relayed by "), "{custody:?}");
    let_pass(secs(30)).await;
    let during = cluster.agree(&FOUR, secs(60)).await;
    assert_eq!(
        (during.epoch, during.view_version),
        (before.epoch, before.view_version),
        "somebody dropped out, or there was an election"
    );
    let until = Instant::now() - secs(12);
    for (from, to) in [("bob", 2), ("carol", 1)] {
        let latencies = writers[to].recorder().latencies(&cluster.ledger, from, cut, until);
        assert!(latencies.len() > 20, "only {} messages of {from} came through", latencies.len());
        figure(format!("pair cut: {from} to {}: {}", FOUR[to], spread(latencies)));
    }

    cluster.lines.heal();
    let healed = Instant::now();
    let mut number = 0;
    eventually(secs(90), "the direct way", async || {
        number += 1;
        let text = format!("directly? {number}");
        let sent = cluster.ledger.say_and_wait(cluster.node("bob"), &text, Wait::All).await;
        let sent = sent.map_err(|status| status.to_string())?;
        let custody = cluster.node("bob").custody(&sent.id, "carol").await?;
        ensure(custody.way == "direct", || format!("{custody:?}"))
    })
    .await;
    figure(format!("pair healed: direct again after {:.1?}", healed.elapsed()));
    let rest = cluster.conclude(writers, &FOUR).await;
    assert_eq!((rest.epoch, rest.view_version), (before.epoch, before.view_version));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_halves_that_write_apart_are_one_group_again_when_they_meet() {
    let mut cluster = Cluster::of_patient(Lines::that_can_be_cut(), &SIX).await;
    cluster.invite_visitor().await;
    let (left, right) = SIX.split_at(3);
    let writers = cluster.talk(&SIX, 5);
    let_pass(secs(1)).await;

    cluster.lines.cut(left, right);
    let cut = Instant::now();
    let reign = cluster.agree(left, secs(90)).await;
    assert_eq!((reign.leader.as_str(), reign.epoch), ("alice", 1), "the half with the leader goes on under it");
    for (half, from, to) in [(left, "bob", 2), (right, "erin", 5)] {
        let text = format!("are you there, {half:?}");
        cluster.ledger.say(cluster.node(from), &text).await.expect("the disk is fine");
        writers[to].recorder().shows(&text).await;
    }
    let_pass(secs(60).saturating_sub(cut.elapsed())).await;
    let state = cluster.node("dave").state().await.expect("dave runs");
    assert!(!state.leading && !state.leader_alive, "the discovery service reaches the leader of the others: {state:?}");

    reunite(&cluster, writers, "alice").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_half_that_keeps_the_discovery_service_elects_and_wins_when_they_meet() {
    let mut cluster = Cluster::of_patient(Lines::that_can_be_cut(), &SIX).await;
    cluster.invite_visitor().await;
    let (left, right) = SIX.split_at(3);
    let writers = cluster.talk(&SIX, 5);
    let_pass(secs(1)).await;

    let with_discovery = ["dave", "erin", "frank", "nds"];
    cluster.lines.cut(left, &with_discovery);
    let cut = Instant::now();
    let reign = cluster.agree(right, secs(90)).await;
    figure(format!("halves cut: the half without the leader has its own after {:.1?}", cut.elapsed()));
    assert_eq!(reign.leader, "dave");
    assert!(reign.epoch > 1, "{reign:?}");
    let_pass(secs(45).saturating_sub(cut.elapsed())).await;
    let alice = cluster.node("alice").state().await.expect("alice runs");
    assert!(alice.epoch < reign.epoch, "she can't know: {alice:?}");

    reunite(&cluster, writers, "dave").await;
}

async fn reunite(cluster: &Cluster, writers: Vec<Writer>, leader: &str) {
    cluster.lines.heal();
    let healed = Instant::now();
    let reign = cluster.agree(&SIX, secs(120)).await;
    figure(format!("halves healed: one view after {:.1?}", healed.elapsed()));
    assert_eq!(reign.leader, leader);
    cluster.conclude(writers, &SIX).await;
    let listing = cluster.listed("the leader of all", |info| {
        info.epoch == reign.epoch && info.leader_address == cluster.node(leader).address
    });
    listing.await;
}
