//! A member that does not lead dies; an author dies with its words still on its lips.

use std::time::{Duration, Instant};

use p2p_chat_proto::v1::{NoticeKind, Wait};

use crate::support::{
    Cluster, Lines, Recorder, eventually, figure, let_pass,
    report::spread,
    wait::{ensure, secs},
};

const NAMES: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// What a message to a healthy member would be held up by, if it waited for a hand-over to the dead one; patient nodes
/// know of its death later still.
const ONE_DELIVERY_TIMEOUT: Duration = secs(8);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_member_delays_nobody_and_catches_up_by_itself() {
    let mut cluster = Cluster::of_patient(Lines::Direct, &NAMES).await;
    let before = cluster.rest(&NAMES).await;
    let writers = cluster.talk(&NAMES, 10);
    let_pass(secs(1)).await;

    cluster.node_mut("carol").kill();
    let killed = Instant::now();
    for writer in writers.iter().filter(|writer| writer.recorder().name != "carol") {
        writer.recorder().notice(NoticeKind::DroppedOut, "carol").await;
    }
    figure(format!("member killed: the others were told after {:.1?}", killed.elapsed()));
    assert_eq!(cluster.node("dave").member("carol").await.expect("still a member").state, "away");
    let_pass(secs(4)).await;
    let until = Instant::now() - secs(1);
    let latencies = writers[3].recorder().latencies(&cluster.ledger, "bob", killed, until);
    assert!(latencies.len() > 10, "only {} messages came through", latencies.len());
    assert!(latencies.iter().max() < Some(&ONE_DELIVERY_TIMEOUT), "{latencies:?}");
    figure(format!("member killed: bob to dave: {}", spread(latencies)));

    let returned = Instant::now();
    cluster.node_mut("carol").restart().await;
    let after = cluster.agree(&NAMES, secs(45)).await;
    figure(format!("member back: in everybody's view after {:.1?}", returned.elapsed()));
    assert_eq!((&after.leader, after.epoch), (&before.leader, before.epoch), "a member's death is no election");
    writers[0].recorder().notice(NoticeKind::Returned, "carol").await;
    cluster.conclude(writers, &NAMES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_to_nobody_yet_goes_out_when_its_killed_author_is_back() {
    let names = &NAMES[..3];
    let mut cluster = Cluster::of(Lines::proxied(), names).await;
    let recorders: Vec<Recorder> =
        ["alice", "carol"].iter().map(|name| Recorder::start(cluster.node(name), "lab")).collect();
    for round in 1..=4 {
        let text = format!("last words of round {round}");
        // In the odd rounds nobody can have it; in the even ones the kill races with the delivery.
        if round % 2 == 1 {
            cluster.lines.cut(&["bob"], &["alice", "carol"]);
        }
        cluster.ledger.say(cluster.node("bob"), &text).await.expect("it is on bob's disk");
        cluster.node_mut("bob").kill();
        if round % 2 == 1 {
            for recorder in &recorders {
                let shown = recorder.seen().messages.iter().any(|(_, message)| message.text == text);
                assert!(!shown, "{} got the message over a cut line", recorder.name);
            }
            cluster.lines.heal();
        }
        cluster.node_mut("bob").restart().await;
        for recorder in &recorders {
            recorder.shows(&text).await;
        }
    }
    cluster.assert_histories(names).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_receiver_is_enough_for_the_words_of_a_dead_author() {
    let mut cluster = Cluster::of(Lines::proxied(), &NAMES).await;
    let recorders: Vec<Recorder> =
        ["alice", "carol"].iter().map(|name| Recorder::start(cluster.node(name), "lab")).collect();
    cluster.lines.cut(&["bob"], &["alice", "carol"]);
    let text = "for dave alone";
    let sent = cluster.ledger.say_and_wait(cluster.node("bob"), text, Wait::One).await.expect("dave can take it");
    cluster.node_mut("bob").kill();
    cluster.lines.heal();
    let dead = Instant::now();
    for recorder in &recorders {
        recorder.shows(text).await;
    }
    figure(format!("author dead: what one receiver had is with all others after {:.1?}", dead.elapsed()));
    assert_eq!(sent.members, 3, "{sent:?}");
    cluster.assert_histories(&["alice", "carol", "dave"]).await;

    cluster.node_mut("bob").restart().await;
    cluster.assert_histories(&NAMES).await;
    eventually(secs(30), "bob's knowledge of who has it", async || {
        for member in ["alice", "carol", "dave"] {
            let custody = cluster.node("bob").custody(&sent.id, member).await?;
            ensure(custody.state == "stored", || format!("{custody:?}"))?;
        }
        Ok(())
    })
    .await;
}
