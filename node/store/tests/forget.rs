//! Forgetting a large network: others go on meanwhile, and what a crash leaves of it is nobody's.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

mod support;

use std::time::{Duration, Instant};

use p2p_chat_model::Run;
use p2p_chat_store::{Pending, Store, Way, Write};
use support::{Author, deliver, open, sql, write_and_deliver};

/// Runs of the network that is to be forgotten: some slices.
const RUNS: i64 = 5_000;

async fn store_much(store: &Store) -> (Author, Vec<Write>) {
    let (mut alice, genesis, found) = Author::found(1, "lab");
    let writes = found.iter().cloned().chain(deliver(&genesis)).collect();
    store.commit(alice.network, writes).await.unwrap();
    let texts: Vec<Run> = (0..RUNS).map(|_| alice.texts(&["a very secret sentence"])).collect();
    let pending: Vec<Pending> = texts.iter().map(|run| store.commit(alice.network, write_and_deliver(run))).collect();
    let bob = Author::join(2, alice.network).peer();
    let acks = (1..2_000).map(|upto| Write::Ack { peer: bob, upto, way: Way::Direct, time_ms: 1 }).collect();
    store.commit(alice.network, acks).await.unwrap();
    for commit in pending {
        commit.await.unwrap();
    }
    (alice, found)
}

fn rows(store: &Store, table: &str) -> i64 {
    sql(store).query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The disk lets go of the runs up to this one, and of no more.
fn hold_from(store: &Store, key: i64) {
    let trigger =
        format!("CREATE TRIGGER held BEFORE DELETE ON run WHEN OLD.key = {key} BEGIN SELECT RAISE(ABORT, 'held'); END");
    sql(store).execute(&trigger, []).unwrap();
}

fn let_go(store: &Store) {
    sql(store).execute("DROP TRIGGER held", []).unwrap();
}

#[tokio::test]
async fn others_commit_while_a_large_network_is_forgotten() {
    let (_directory, store) = open();
    let (alice, _) = store_much(&store).await;
    let (bob, _, other) = Author::found(2, "den");
    store.commit(bob.network, other).await.unwrap();
    let transactions = || store.figures().transaction_time.count();
    let (before, mut commits) = (transactions(), 0);
    let mut forgetting = store.commit(alice.network, vec![Write::Forget]);
    loop {
        tokio::select! {
            biased;
            forgotten = &mut forgetting => break forgotten.unwrap(),
            done = store.commit(bob.network, vec![Write::State(vec![0])]) => done.unwrap(),
        }
        commits += 1;
        assert_eq!(store.networks().await.unwrap().len(), 1, "nobody finds it any more");
    }
    let slices = transactions() - before - commits;
    assert!(slices >= 6, "only in {slices} transactions");
    let left = ["network", "peer", "run", "stretch", "roster", "ack", "feed"].map(|table| rows(&store, table));
    assert_eq!(left, [1, 1, 1, 0, 1, 0, 1], "of the other");
}

#[tokio::test]
async fn a_network_can_be_begun_anew_while_what_was_is_deleted() {
    let (_directory, store) = open();
    let (alice, found) = store_much(&store).await;
    hold_from(&store, 1);
    let held = store.commit(alice.network, vec![Write::Forget]).await;
    assert!(held.is_err(), "it is not deleted yet");
    store.commit(alice.network, found).await.unwrap();
    assert!(rows(&store, "run") > RUNS, "there is more to be deleted");
    let_go(&store);
    store.check_writable(alice.network).await.unwrap();
    wait_until("what is left does not go", || rows(&store, "run") == 1);
    assert_eq!(store.entry_count(alice.network).await, Ok(1));
}

#[tokio::test]
async fn who_forgets_little_does_not_wait_for_what_is_left_of_others() {
    let (_directory, store) = open();
    let (alice, _) = store_much(&store).await;
    hold_from(&store, 1);
    assert!(store.commit(alice.network, vec![Write::Forget]).await.is_err());
    let (bob, _, other) = Author::found(2, "den");
    store.commit(bob.network, other).await.unwrap();
    assert_eq!(store.commit(bob.network, vec![Write::Forget]).await, Ok(()));
    assert_eq!(rows(&store, "network"), 1, "the first is still there");
}

#[tokio::test]
async fn who_forgets_again_what_could_not_be_deleted_waits_until_it_is() {
    let (_directory, store) = open();
    let (alice, found) = store_much(&store).await;
    hold_from(&store, 1);
    let held = store.commit(alice.network, vec![Write::Forget]).await;
    assert!(held.is_err());
    assert_eq!(store.commit(alice.network, vec![Write::Forget]).await, held, "all is still there");
    // What was begun anew hides nothing of what was before.
    store.commit(alice.network, found).await.unwrap();
    assert_eq!(store.commit(alice.network, vec![Write::Forget]).await, held);
    assert_eq!(rows(&store, "run"), RUNS + 2);
    let_go(&store);
    assert_eq!(store.commit(alice.network, vec![Write::Forget]).await, Ok(()));
    assert_eq!((rows(&store, "run"), rows(&store, "network")), (0, 0));
    assert_eq!(store.commit(alice.network, vec![Write::Forget]).await, Ok(()), "nothing is left");
}

#[tokio::test]
async fn what_could_not_be_deleted_goes_once_something_else_can_be_stored() {
    let (_directory, store) = open();
    let (alice, _) = store_much(&store).await;
    let (bob, _, other) = Author::found(2, "den");
    store.commit(bob.network, other).await.unwrap();
    hold_from(&store, 1);
    assert!(store.commit(alice.network, vec![Write::Forget]).await.is_err());
    let_go(&store);
    let begun = Instant::now();
    while rows(&store, "network") > 1 {
        assert!(begun.elapsed() < Duration::from_secs(60), "what is left does not go");
        store.commit(bob.network, vec![Write::State(vec![0])]).await.unwrap();
    }
    assert_eq!(rows(&store, "run"), 1);
}

#[tokio::test]
async fn what_an_end_in_the_middle_leaves_of_a_forgotten_network_is_nobodys_and_goes() {
    let (directory, store) = open();
    let (alice, found) = store_much(&store).await;
    hold_from(&store, RUNS - 500);
    assert!(store.commit(alice.network, vec![Write::Forget]).await.is_err());
    let left = rows(&store, "run");
    assert!(left > 500 && left < RUNS, "{left}");
    let_go(&store);
    drop(store);

    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.networks().await, Ok(vec![]));
    store.commit(alice.network, found).await.unwrap();
    assert_eq!(store.entry_count(alice.network).await, Ok(1));
    wait_until("nothing of it goes", || rows(&store, "run") == 1 && rows(&store, "network") == 1);
    drop(store);
    Store::open(directory.path()).unwrap();
}
