use bytes::Bytes;
use p2p_chat_model::{Entry, EntryHash, EntryKind, Genesis, Header, Identity, Run, VectorClock};

use super::*;

fn found(seed: u8) -> (Identity, Run) {
    let identity = Identity::from_seed([seed; 32]);
    let genesis = Genesis { salt: [seed; 32], name: "lab".parse().unwrap(), creator: "alice".parse().unwrap() };
    let (_, run) = Run::found(&identity, &genesis, 1);
    (identity, run)
}

fn first_writes(run: &Run) -> Vec<Write> {
    vec![
        Write::Network { name: "lab".parse().unwrap() },
        Write::Run { run: run.clone(), bytes: Bytes::from(run.encode()) },
    ]
}

fn text(identity: &Identity, network: NetworkId, seq: u64, previous: EntryHash) -> Run {
    let header = Header { lamport: seq, wall_ms: 0, clock: VectorClock::new(), kind: EntryKind::Text };
    let body = vec![b'x'; 60_000];
    Run::sign(identity, network, seq, previous, vec![Entry { header, body: body.into() }])
}

// A cap on the file's pages fails like a full disk, on any machine.
#[tokio::test]
async fn commits_fail_together_when_the_file_can_not_grow_and_go_on_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open_capped(directory.path(), Some(200)).unwrap();
    let (alice, genesis) = found(1);
    let (_, ballast) = found(2);
    let (lab, den) = (genesis.network, ballast.network);
    store.commit(lab, first_writes(&genesis)).await.unwrap();
    let mut writes = first_writes(&ballast);
    writes.push(Write::State(vec![1; 400_000]));
    store.commit(den, writes).await.unwrap();

    let mut head = genesis.head();
    let mut runs = Vec::new();
    for seq in 2..12 {
        runs.push(text(&alice, lab, seq, head));
        head = runs[runs.len() - 1].head();
    }
    let write = |run: &Run| vec![Write::Run { run: run.clone(), bytes: Bytes::from(run.encode()) }];
    let writes: Vec<_> = runs.iter().map(write).collect();
    // While the writer waits for the file with one commit in hand, all others gather for the next transaction. It waits
    // 5 s for it.
    let rival = rusqlite::Connection::open(store.file()).unwrap();
    rival.execute_batch("BEGIN IMMEDIATE").unwrap();
    let holder = store.commit(lab, vec![Write::MarkRead { position: 0 }]);
    while store.inner.queue.waiting().commits > 0 {
        tokio::task::yield_now().await;
    }
    let pending: Vec<_> = writes.into_iter().map(|writes| store.commit(lab, writes)).collect();
    let bystander = store.commit(den, vec![Write::State(vec![2])]);
    rival.execute_batch("COMMIT").unwrap();
    let full = Err(StoreError::Full { file: store.file().to_owned() });
    holder.await.unwrap();
    for commit in pending {
        assert_eq!(commit.await, full);
    }
    assert_eq!(bystander.await, full, "one transaction, one fate");
    assert_eq!(store.figures().failures.value(), 11);
    assert_eq!(store.entry_count(lab).await, Ok(1));
    assert_eq!(store.runs(lab, alice.peer(), 2, 1).await, Ok(vec![]), "nor in memory");

    store.commit(den, vec![Write::Forget]).await.unwrap();
    store.check_writable(lab).await.unwrap();
    for run in &runs[..3] {
        store.commit(lab, write(run)).await.unwrap();
    }
    assert_eq!(store.entry_count(lab).await, Ok(4));
}

#[tokio::test]
async fn what_was_delivered_on_a_disk_that_is_full_is_delivered_when_it_fits() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open_capped(directory.path(), Some(120)).unwrap();
    let (alice, genesis) = found(1);
    let (_, ballast) = found(2);
    let (lab, den) = (genesis.network, ballast.network);
    store.commit(lab, first_writes(&genesis)).await.unwrap();
    let mut writes = first_writes(&ballast);
    writes.push(Write::State(vec![1; 250_000]));
    store.commit(den, writes).await.unwrap();
    let run = text(&alice, lab, 2, genesis.head());
    let author = alice.peer();
    let deliver = Write::Deliver { author, first: 1, last: 2, arrived_ms: 5, late: false };
    let write = || vec![Write::Run { run: run.clone(), bytes: Bytes::from(run.encode()) }, deliver.clone()];
    // Too much, after what was delivered.
    let writes = [write(), vec![Write::State(vec![3; 300_000])]].concat();
    assert!(matches!(store.commit(lab, writes).await, Err(StoreError::Full { .. })));
    assert_eq!(store.arrivals_after(lab, 0, 9).await, Ok(vec![]));

    // Not so much fits. (Nothing is forgotten to make room: the writer would forget with it what it remembers.)
    store.check_writable(lab).await.unwrap();
    store.commit(lab, write()).await.unwrap();
    let positions = |page: Vec<StoredMessage>| page.iter().map(|it| it.position).collect::<Vec<_>>();
    assert_eq!(positions(store.arrivals_after(lab, 0, 9).await.unwrap()), [1, 2]);
    assert_eq!(positions(store.history(lab, None, 9).await.unwrap()), [1, 2]);
}

#[tokio::test]
async fn what_is_delivered_of_several_runs_at_once_is_at_hand_without_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let (alice, genesis) = found(1);
    let lab = genesis.network;
    let (second, deliver) = (text(&alice, lab, 2, genesis.head()), |first, last| {
        vec![Write::Deliver { author: alice.peer(), first, last, arrived_ms: 5, late: false }]
    });
    let third = text(&alice, lab, 3, second.head());
    let write = |run: &Run| vec![Write::Run { run: run.clone(), bytes: Bytes::from(run.encode()) }];
    let at_once = [first_writes(&genesis), write(&second), write(&third), deliver(1, 2)].concat();
    store.commit(lab, at_once).await.unwrap();
    store.commit(lab, deliver(3, 3)).await.unwrap();
    let at_hand = store.inner.recent.arrivals_after(lab, 0, 9, usize::MAX).unwrap();
    assert_eq!(at_hand.iter().map(|message| message.seq).collect::<Vec<_>>(), [1, 2, 3]);
}

#[tokio::test]
async fn more_than_may_wait_is_refused_until_it_is_checked() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let (_, genesis) = found(1);
    let lab = genesis.network;
    store.commit(lab, first_writes(&genesis)).await.unwrap();
    let mebibytes: Vec<_> = (0..80).map(|_| vec![Write::State(vec![7; 1 << 20])]).collect();
    let rival = rusqlite::Connection::open(store.file()).unwrap();
    rival.execute_batch("BEGIN IMMEDIATE").unwrap();
    let pending: Vec<_> = mebibytes.into_iter().map(|writes| store.commit(lab, writes)).collect();
    let small = store.commit(lab, vec![Write::State(vec![8])]);
    rival.execute_batch("COMMIT").unwrap();
    let mut outcomes = Vec::new();
    for commit in pending {
        outcomes.push(commit.await);
    }
    let overloaded = Err(StoreError::Overloaded { file: store.file().to_owned() });
    let taken = outcomes.iter().take_while(|outcome| outcome.is_ok()).count();
    // What the writer had already taken does not wait any more.
    assert!((60..=68).contains(&taken), "{taken}");
    assert!(outcomes[taken..].iter().all(|outcome| *outcome == overloaded));
    assert_eq!(small.await, overloaded, "it would fit, but comes after what was refused");
    let figures = store.figures();
    assert_eq!((figures.commits.value(), figures.failures.value()), (1 + taken as u64, 81 - taken as u64));
    store.check_writable(lab).await.unwrap();
    store.commit(lab, vec![Write::State(vec![9])]).await.unwrap();
}
