//! Order, grouping and failure of commits.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

mod support;

use p2p_chat_store::{FILE_NAME, MAX_ACKS, Store, StoreError, Way, Write};
use support::{Author, deliver, open, sql, write, write_and_deliver};

#[tokio::test]
async fn commits_that_wait_share_a_transaction_and_keep_their_order() {
    let (_directory, store) = open();
    let (mut alice, _, found) = Author::found(1, "lab");
    store.commit(alice.network, found).await.unwrap();
    let before = store.figures().transaction_time.count();

    // While another holds the file, the writer can't go on, so all but the first batch pile up. It waits 5 s for it.
    let runs: Vec<_> = (0..100).map(|n| alice.texts(&[&format!("text {n}")])).collect();
    let rival = sql(&store);
    rival.execute_batch("BEGIN IMMEDIATE").unwrap();
    let pending: Vec<_> = runs.iter().map(|run| store.commit(alice.network, vec![write(run)])).collect();
    rival.execute_batch("COMMIT").unwrap();
    for commit in pending {
        commit.await.unwrap();
    }
    let transactions = store.figures().transaction_time.count() - before;
    assert!((1..=2).contains(&transactions), "{transactions} transactions for 100 commits");

    // A run is refused unless it continues its feed: so all of them were taken in the order in which they came.
    let feeds = store.feeds(alice.network).await.unwrap();
    assert_eq!((feeds[0].last, feeds[0].head, feeds[0].delivered), (101, alice.head, 0));
}

#[tokio::test]
async fn a_refused_commit_leaves_no_trace_and_fails_alone() {
    let (_directory, store) = open();
    let (mut alice, genesis, found) = Author::found(1, "lab");
    let (bob, _, other) = Author::found(2, "den");
    store.commit(alice.network, found).await.unwrap();

    let run = alice.texts(&["one"]);
    let rival = sql(&store);
    rival.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut writes = vec![Write::State(b"trace".to_vec()), Write::MarkRead { position: 1 }];
    writes.extend(write_and_deliver(&run));
    let refused = store.commit(alice.network, writes);
    let following = store.commit(alice.network, vec![write(&run)]);
    let elsewhere = store.commit(bob.network, other);
    rival.execute_batch("COMMIT").unwrap();

    // Entry 1 has not been delivered, so entry 2 can't be.
    let error = refused.await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { network, .. } if network == alice.network), "{error}");
    assert_eq!(following.await, Err(error.clone()), "made in the belief that the first one holds");
    assert_eq!(elsewhere.await, Ok(()));
    assert_eq!(store.commit(alice.network, vec![write(&run)]).await, Err(error));
    assert_eq!(store.state(alice.network).await, Ok(None));
    assert_eq!(store.entry_count(alice.network).await, Ok(1));
    assert_eq!(store.runs(alice.network, alice.peer(), 2, 1 << 20).await, Ok(vec![]));

    store.check_writable(alice.network).await.unwrap();
    let right = deliver(&genesis).into_iter().chain(write_and_deliver(&run)).collect();
    store.commit(alice.network, right).await.unwrap();
    assert_eq!(store.last_position(alice.network).await, Ok(2));
}

#[tokio::test]
async fn what_contradicts_the_log_is_refused() {
    let (_directory, store) = open();
    let (mut alice, genesis, found) = Author::found(1, "lab");
    let (den, _, _) = Author::found(3, "den");
    store.commit(alice.network, found).await.unwrap();
    let feed = &store.feeds(alice.network).await.unwrap()[0];
    let mut stopped = Author::resume(1, alice.network, feed);
    let mut fork = Author::resume(1, alice.network, feed);
    fork.head = p2p_chat_model::EntryHash::new([9; 32]);
    let one = alice.texts(&["one"]);
    let two = alice.texts(&["two"]);
    let deliver = |seq| Write::Deliver { author: one.author, first: seq, last: seq, arrived_ms: 0, late: false };
    let contradictions = [
        (alice.network, write(&genesis)),
        (alice.network, write(&two)),
        (alice.network, write(&fork.texts(&["fork"]))),
        (alice.network, write(&stopped.text_at(feed.last_lamport, "its time does not grow"))),
        (alice.network, deliver(0)),
        (alice.network, deliver(2)),
        (alice.network, Write::Deliver { author: den.peer(), first: 1, last: 1, arrived_ms: 0, late: false }),
        (den.network, Write::State(vec![])),
        (den.network, write(&one)),
    ];
    for (network, write) in contradictions {
        let told = format!("{write:?}");
        let error = store.commit(network, vec![write]).await.expect_err(&told);
        assert!(matches!(error, StoreError::Refused { .. }), "{told}: {error}");
        store.check_writable(network).await.unwrap();
    }
    assert_eq!(store.entry_count(alice.network).await, Ok(1));
    store.commit(alice.network, vec![deliver(1), write(&one), deliver(2)]).await.unwrap();
}

#[tokio::test]
async fn what_a_refused_commit_had_delivered_is_nowhere() {
    let (_directory, store) = open();
    let (mut alice, genesis, found) = Author::found(1, "lab");
    let (mut den, other_genesis, other_found) = Author::found(3, "den");
    store.commit(alice.network, [found, deliver(&genesis)].concat()).await.unwrap();
    store.commit(den.network, [other_found, deliver(&other_genesis)].concat()).await.unwrap();
    let (run, other) = (alice.texts(&["one", "two"]), den.texts(&["three"]));
    let beyond = Write::Deliver { author: run.author, first: 4, last: 9, arrived_ms: 0, late: false };
    // What comes while the file is locked shares a transaction.
    let rival = sql(&store);
    rival.execute_batch("BEGIN IMMEDIATE").unwrap();
    let holder = store.commit(den.network, vec![Write::MarkRead { position: 1 }]);
    let refused = store.commit(alice.network, [write_and_deliver(&run), vec![beyond]].concat());
    let taken = store.commit(den.network, write_and_deliver(&other));
    rival.execute_batch("COMMIT").unwrap();
    holder.await.unwrap();
    assert!(matches!(refused.await, Err(StoreError::Refused { .. })));
    taken.await.unwrap();
    assert_eq!(store.last_position(alice.network).await, Ok(1));
    assert_eq!(store.arrivals_after(alice.network, 1, 9).await.unwrap(), []);
    assert_eq!(store.arrivals_after(den.network, 1, 9).await.unwrap().len(), 1);

    store.check_writable(alice.network).await.unwrap();
    store.commit(alice.network, write_and_deliver(&run)).await.unwrap();
    let positions = |page: Vec<p2p_chat_store::StoredMessage>| page.iter().map(|it| it.position).collect::<Vec<_>>();
    assert_eq!(positions(store.arrivals_after(alice.network, 1, 9).await.unwrap()), [2, 3]);
    assert_eq!(positions(store.history(alice.network, None, 9).await.unwrap()), [1, 2, 3]);
}

#[tokio::test]
async fn a_locked_file_fails_everybody_and_works_again_once_it_is_free() {
    let (_directory, store) = open();
    let (mut alice, _, found) = Author::found(1, "lab");
    store.commit(alice.network, found).await.unwrap();
    let rival = sql(&store);
    rival.execute_batch("BEGIN IMMEDIATE").unwrap();
    let run = alice.texts(&["one"]);
    let locked = store.commit(alice.network, vec![write(&run)]).await;
    assert_eq!(locked, Err(StoreError::Locked { file: store.file().to_owned() }));
    rival.execute_batch("COMMIT").unwrap();
    assert_eq!(store.entry_count(alice.network).await, Ok(1));
    store.check_writable(alice.network).await.unwrap();
    store.commit(alice.network, vec![write(&run)]).await.unwrap();
    assert_eq!(store.entry_count(alice.network).await, Ok(2));
}

#[tokio::test]
async fn everything_is_there_again_after_reopening() {
    let (directory, store) = open();
    let (mut alice, genesis, found) = Author::found(1, "lab");
    let mut bob = Author::join(2, alice.network);
    let texts = bob.texts(&["one", "two"]);
    let mut writes = found;
    writes.extend(deliver(&genesis));
    writes.extend(write_and_deliver(&texts));
    writes.push(write(&alice.texts(&["held back"])));
    writes.push(Write::State(b"state".to_vec()));
    writes.push(Write::Ack { peer: bob.peer(), upto: 2, way: Way::Direct, time_ms: 7 });
    writes.push(Write::MarkRead { position: 2 });
    store.commit(alice.network, writes).await.unwrap();

    let snapshot = async |store: &Store| {
        (
            store.networks().await.unwrap(),
            store.state(alice.network).await.unwrap(),
            store.feeds(alice.network).await.unwrap(),
            store.undelivered(alice.network).await.unwrap(),
            store.history(alice.network, None, 100).await.unwrap(),
            store.acked(alice.network).await.unwrap(),
            store.read_position(alice.network).await.unwrap(),
            store.runs(alice.network, alice.peer(), 1, 1 << 20).await.unwrap(),
        )
    };
    let before = snapshot(&store).await;
    // The last clone is gone, so the writer has written what waited.
    let unawaited = store.commit(alice.network, vec![Write::State(b"later".to_vec())]);
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    let mut after = snapshot(&store).await;
    assert_eq!(after.1.replace(b"state".to_vec()).as_deref(), Some(&b"later"[..]));
    assert_eq!(unawaited.await, Ok(()));
    assert_eq!(after, before);
    assert_eq!(store.last_position(alice.network).await, Ok(3));
}

#[tokio::test]
async fn forgetting_leaves_nothing_of_a_network_and_all_of_the_others() {
    let (directory, store) = open();
    let (mut alice, genesis, found) = Author::found(1, "lab");
    let (bob, other_genesis, other) = Author::found(2, "den");
    let secret = alice.texts(&["a very secret sentence"]);
    let peer = Author::join(7, alice.network).peer();
    let relay = Author::join(8, alice.network).peer();
    let mut writes = found.clone();
    writes.extend(deliver(&genesis));
    writes.extend(write_and_deliver(&secret));
    writes.push(Write::Ack { peer, upto: 1, way: Way::Relayed(relay), time_ms: 1 });
    store.commit(alice.network, writes).await.unwrap();
    store.commit(bob.network, other.into_iter().chain(deliver(&other_genesis)).collect()).await.unwrap();

    store.commit(alice.network, vec![Write::Forget]).await.unwrap();
    assert_eq!(store.networks().await.unwrap().len(), 1);
    assert_eq!(store.feeds(alice.network).await, Ok(vec![]));
    assert_eq!(store.runs(alice.network, alice.peer(), 1, 1 << 20).await, Ok(vec![]));
    assert_eq!(store.acked(alice.network).await, Ok(vec![]));
    assert_eq!(store.history(bob.network, None, 9).await.unwrap().len(), 1);
    let rows = |table: &str| -> i64 {
        sql(&store).query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    let counts = ["network", "peer", "feed", "run", "roster", "stretch", "ack"].map(rows);
    assert_eq!(counts, [1, 1, 1, 1, 1, 1, 0]);

    // From the beginning, with the same feed.
    store.commit(alice.network, found).await.unwrap();
    store.commit(alice.network, deliver(&genesis)).await.unwrap();
    assert_eq!(store.last_position(alice.network).await, Ok(1));
    drop(store);
    let file = std::fs::read(directory.path().join(FILE_NAME)).unwrap();
    let needle = b"a very secret sentence";
    assert!(!file.windows(needle.len()).any(|window| window == needle), "the text is still in the file");
}

#[tokio::test]
async fn forgetting_makes_a_refused_network_usable_again() {
    let (_directory, store) = open();
    let (alice, _, found) = Author::found(1, "lab");
    store.commit(alice.network, vec![Write::State(vec![])]).await.unwrap_err();
    store.commit(alice.network, found.clone()).await.unwrap_err();
    store.commit(alice.network, vec![Write::Forget]).await.unwrap();
    store.commit(alice.network, found).await.unwrap();
}

#[tokio::test]
async fn the_custody_log_is_bounded_and_keeps_the_newest() {
    let (_directory, store) = open();
    let (alice, _, found) = Author::found(1, "lab");
    let bob = Author::join(2, alice.network).peer();
    store.commit(alice.network, found).await.unwrap();
    let max = MAX_ACKS as u64;
    let acks = |range: std::ops::RangeInclusive<u64>| {
        range.map(|upto| Write::Ack { peer: bob, upto, way: Way::Direct, time_ms: upto }).collect::<Vec<_>>()
    };
    store.commit(alice.network, acks(1..=max)).await.unwrap();
    assert_eq!(store.custody(alice.network, 1).await.unwrap()[0].time_ms, 1);
    store.commit(alice.network, acks(max + 1..=max + 5)).await.unwrap();
    let rows: i64 = sql(&store).query_row("SELECT count(*) FROM ack", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, MAX_ACKS);
    assert_eq!(store.custody(alice.network, 1).await.unwrap()[0].time_ms, 6);
    assert_eq!(store.acked(alice.network).await, Ok(vec![(bob, max + 5)]));
}
