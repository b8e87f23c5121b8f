//! Stopping, starting again, and being in several networks.

use std::time::Instant;

use p2p_chat_proto::v1;
use tonic::Request;

use crate::support::{
    Cluster, LAB, Ledger, Lines, NodeProcess, eventually, figure, history,
    node::call,
    process::Finished,
    wait::{ensure, secs},
};

const NAMES: [&str; 3] = ["alice", "bob", "carol"];
const GARDEN: &str = "garden";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_stops_leader_and_member_cleanly_and_loses_nothing() {
    let mut cluster = Cluster::of(Lines::Direct, &NAMES).await;
    for name in ["carol", "alice"] {
        let (text, finished) = last_word(&mut cluster, name).await;
        assert!(finished.status.success(), "{finished:?}");
        assert_eq!(finished.stdout.lines().count(), 1, "stdout says where it listens, and nothing else: {finished:?}");
        assert!(!finished.stderr.contains("panicked"), "{finished:?}");
        let bob = cluster.node("bob");
        eventually(secs(30), format!("bob has {text:?}"), async || {
            let has = bob.history().await.iter().any(|message| message.text == text);
            ensure(has, || "not yet".to_owned())
        })
        .await;
    }
    cluster.node_mut("alice").restart().await;
    cluster.node_mut("carol").restart().await;
    cluster.assert_histories(&NAMES).await;
}

/// What a node says right before it is told to end, and what it leaves. It waits 5 s for another to have that, which a
/// busy machine may need for itself: then it says so, and there is another last word.
async fn last_word(cluster: &mut Cluster, name: &str) -> (String, Finished) {
    for number in 1..=3 {
        let text = format!("the last word of {name}, number {number}");
        cluster.ledger.say(cluster.node(name), &text).await.expect("the disk is fine");
        let told = Instant::now();
        let finished = cluster.node_mut(name).terminate().await;
        figure(format!("SIGTERM: {name} has stopped after {:.1?}", told.elapsed()));
        if !finished.stderr.contains("on this disk only") {
            return (text, finished);
        }
        cluster.node_mut(name).restart().await;
        cluster.rest(&NAMES).await;
    }
    panic!("{name} never waits for somebody to have its last word");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_is_answered_and_ends_a_node_as_cleanly_as_a_signal() {
    let mut cluster = Cluster::of(Lines::Direct, &["alice", "bob"]).await;
    cluster.ledger.say(cluster.node("bob"), "the last word of bob").await.expect("the disk is fine");
    let mut shutdown = Request::new(v1::ShutdownRequest { timeout_ms: 30_000 });
    shutdown.set_timeout(secs(60));
    let answer = cluster.node("bob").client().shutdown(shutdown).await.expect("an answer").into_inner();
    assert_eq!(answer.unreplicated, 0);
    let finished = cluster.node_mut("bob").end().await;
    assert!(finished.status.success(), "{finished:?}");
    assert!(finished.stderr.contains("the node has stopped"), "{finished:?}");
    for left in ["node.json", "node.sock"] {
        assert!(!cluster.node("bob").dir.join(left).exists(), "{left} is left behind");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_acknowledged_is_not_owed_again_after_a_restart() {
    let mut cluster = Cluster::of(Lines::Direct, &NAMES).await;
    cluster.ledger.say_and_wait(cluster.node("bob"), "everybody has this", v1::Wait::All).await.expect("all are up");
    for name in NAMES {
        cluster.node_mut(name).kill();
    }
    // Nobody else is there to say it again.
    cluster.node_mut("bob").restart().await;
    let owed = cluster.node("bob").state().await.expect("a working node").owed;
    assert!(owed.is_empty(), "{owed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_finds_everybody_again_when_all_come_back_at_other_addresses() {
    let mut cluster = Cluster::of(Lines::Direct, &NAMES).await;
    cluster.ledger.say_and_wait(cluster.node("bob"), "everybody has this", v1::Wait::All).await.expect("all are up");
    for name in NAMES {
        cluster.node_mut(name).kill();
    }
    for name in NAMES {
        cluster.node_mut(name).move_elsewhere();
        cluster.node_mut(name).restart().await;
    }
    cluster.assert_histories(&NAMES).await;

    let leader = cluster.rest(&NAMES).await.leader;
    for name in NAMES {
        cluster.node_mut(name).kill();
    }
    let others: Vec<&str> = NAMES.into_iter().filter(|name| *name != leader).collect();
    for name in &others {
        cluster.node_mut(name).move_elsewhere();
        cluster.node_mut(name).restart().await;
    }
    let back = Instant::now();
    cluster.agree(&others, secs(30)).await;
    figure(format!("two of three back at other addresses, the leader gone: a new one after {:.1?}", back.elapsed()));
    cluster.assert_histories(&others).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_discovery_service_stops_cleanly_on_sigterm() {
    let mut cluster = Cluster::new(Lines::Direct).await;
    let process = cluster.nds.process();
    process.signal(rustix::process::Signal::TERM);
    let finished = process.end(secs(30)).await;
    assert!(finished.status.success(), "{finished:?}");
    assert_eq!(finished.stdout.lines().count(), 1, "{finished:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_is_in_two_networks_that_know_nothing_of_each_other() {
    let mut cluster = Cluster::of(Lines::Direct, &NAMES[..2]).await;
    let garden = Ledger::of(GARDEN);
    create(cluster.node("bob"), GARDEN).await;
    cluster.add("carol").await.start(&["--join", GARDEN]).await;
    cluster.node("carol").is_in(GARDEN).await;
    for (ledger, name, text) in [
        (&cluster.ledger, "alice", "only in the lab"),
        (&garden, "carol", "only in the garden"),
        (&cluster.ledger, "bob", "bob in the lab"),
        (&garden, "bob", "bob in the garden"),
    ] {
        let sent = ledger.say_and_wait(cluster.node(name), text, v1::Wait::All).await;
        assert_eq!(sent.map(|sent| sent.stored_by).map_err(|status| status.to_string()), Ok(1), "{text}");
    }
    same_in(&cluster, &cluster.ledger, ["alice", "bob"]).await;
    same_in(&cluster, &garden, ["bob", "carol"]).await;
    let stranger = cluster.node("carol").history_of(LAB).await.expect_err("carol is not in the lab");
    assert_eq!(stranger.code(), tonic::Code::NotFound);

    // After a kill it is in both again, and nobody had to tell it.
    cluster.node_mut("bob").kill();
    cluster.node_mut("bob").restart().await;
    cluster.node("bob").is_in(LAB).await;
    cluster.node("bob").is_in(GARDEN).await;
    for (ledger, text) in [(&cluster.ledger, "back in the lab"), (&garden, "back in the garden")] {
        let sent = ledger.say_and_wait(cluster.node("bob"), text, v1::Wait::All).await;
        assert_eq!(sent.map(|sent| sent.stored_by).map_err(|status| status.to_string()), Ok(1), "{text}");
    }
    same_in(&cluster, &cluster.ledger, ["alice", "bob"]).await;
    same_in(&cluster, &garden, ["bob", "carol"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_was_killed_as_a_whole_goes_on_where_it_stopped() {
    let mut cluster = Cluster::of(Lines::Direct, &NAMES).await;
    let writers = cluster.talk(&NAMES, 20);
    eventually(secs(20), "some talk", async || {
        ensure(cluster.ledger.acknowledged() > 60, || "not enough was said".to_owned())
    })
    .await;
    cluster.nds.kill();
    for name in NAMES {
        cluster.node_mut(name).kill();
    }
    cluster.nds.restart().await;
    for name in NAMES {
        cluster.node_mut(name).restart().await;
    }
    let back = Instant::now();
    cluster.agree(&NAMES, secs(30)).await;
    figure(format!("all killed: one view again {:.1?} after the restarts", back.elapsed()));
    cluster.conclude(writers, &NAMES).await;
}

async fn create(node: &NodeProcess, network: &str) {
    let request = v1::CreateRequest { network: network.to_owned() };
    node.client().create(call(request)).await.unwrap_or_else(|status| panic!("could not create {network}: {status}"));
}

async fn same_in(cluster: &Cluster, ledger: &Ledger, names: [&str; 2]) {
    let histories = eventually(secs(20), format!("the same history at {names:?}"), async || {
        let mut histories = Vec::new();
        for name in names {
            let history = cluster.node(name).history_of(&ledger.network).await;
            histories.push(history.map_err(|status| status.to_string())?);
        }
        history::check_equal(&histories[0], &histories[1])?;
        Ok(histories)
    })
    .await;
    for history in histories {
        history::check(&history, &ledger.lock()).unwrap_or_else(|error| panic!("{error}"));
    }
}
