//! One message can be followed through the logs of several nodes by its id.

use p2p_chat_proto::v1::Wait;
use serde_json::Value;

use crate::support::{
    Cluster, LAB, Lines, NodeProcess, eventually,
    process::run,
    wait::{ensure, secs},
};

/// What the log of a node says of a message, in order, every line of it checked.
fn told(node: &NodeProcess, id: &str) -> Result<Vec<Value>, String> {
    let log = node.process().log();
    let mut told = Vec::new();
    // What has no line break yet is still being written.
    for line in log.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let event: Value = serde_json::from_str(line).map_err(|error| format!("{line:?}: {error}"))?;
        let is_whole = ["timestamp", "level", "message", "target"].iter().all(|key| event[key].is_string());
        let numbers = ["node", "epoch", "seq"];
        let has_numbers = numbers.into_iter().all(|key| event[key].is_null() || event[key].is_u64());
        ensure(is_whole && has_numbers, || format!("{event}"))?;
        if event["message_id"] == id {
            ensure(event["network"] == LAB && event["level"] == "DEBUG", || format!("{event}"))?;
            told.push(event);
        }
    }
    Ok(told)
}

fn words(told: &[Value]) -> Vec<&str> {
    told.iter().filter_map(|event| event["message"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_followed_by_its_id_from_its_author_to_a_member_and_back() {
    let mut cluster = Cluster::patient(Lines::Direct).await;
    let debug = ["--log", "p2p_chat=debug", "--log-format", "json"];
    for (name, how) in [("alice", "--create"), ("bob", "--join")] {
        cluster.add(name).await.start(&[&[how, LAB], &debug[..]].concat()).await;
        cluster.node(name).is_in(LAB).await;
    }
    cluster.rest(&["alice", "bob"]).await;
    let sent = cluster.ledger.say_and_wait(cluster.node("alice"), "follow me", Wait::All).await.expect("bob stores it");
    let other =
        cluster.ledger.say_and_wait(cluster.node("alice"), "and not me", Wait::All).await.expect("bob stores it");
    let shown = cluster.node("bob").history().await;
    assert!(
        shown.iter().any(|message| message.id == sent.id && message.text == "follow me"),
        "the id is what users see"
    );

    eventually(secs(20), "the story in both logs", async || {
        let (alice, bob) = (told(cluster.node("alice"), &sent.id)?, told(cluster.node("bob"), &sent.id)?);
        let expected = ["written", "handed over to peer", "acknowledged"];
        ensure(words(&alice) == expected, || format!("alice: {alice:?}"))?;
        ensure(words(&bob) == ["stored", "delivered"], || format!("bob: {bob:?}"))?;
        let bob_is = &cluster.node("bob").peer[..8];
        ensure(alice[1]["peer"] == bob_is && alice[2]["peer"] == bob_is, || format!("{alice:?}"))?;
        ensure(alice[0]["seq"] == sent.seq, || format!("{alice:?}"))?;
        let author = &cluster.node("alice").peer[..8];
        ensure(bob.iter().all(|event| event["author"] == author), || format!("{bob:?}"))
    })
    .await;
    assert_ne!(other.id, sent.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_messages_is_logged_unless_asked_for_and_a_wrong_filter_is_refused() {
    let mut cluster = Cluster::of(Lines::Direct, &["alice", "bob"]).await;
    let sent = cluster.ledger.say_and_wait(cluster.node("alice"), "quietly", Wait::All).await.expect("bob stores it");
    let wrong = run(&["status", "--log", "p2p_chat=loud"], &cluster.logs()).await;
    assert_eq!((wrong.status.code(), wrong.stdout.as_str()), (Some(2), ""), "{wrong:?}");
    assert!(wrong.stderr.contains("\"p2p_chat=loud\"") && wrong.stderr.lines().count() == 1, "{wrong:?}");

    let status = eventually(secs(20), "a status", async || cluster.node("alice").status().await).await;
    assert!(status.uptime_ms > 0, "{status:?}");
    assert!(status.discovery[0].last_answer_age_ms.is_some_and(|age| age < status.uptime_ms), "{status:?}");
    assert!(status.networks[0].frozen.is_empty(), "{status:?}");

    for name in ["alice", "bob"] {
        let log = cluster.node_mut(name).terminate().await.stderr;
        assert!(log.contains("the node has stopped"), "this is not all of it: {log}");
        assert!(!log.contains(&sent.id), "{name} logs messages at info");
    }
}
