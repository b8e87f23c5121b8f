//! `kill -9` at any moment: what was reported as committed is there.
//!
//! The system's page cache survives the death of a process, so this shows that nothing is reported early and that
//! every commit is whole; that a commit is synced rests on SQLite and the settings that `schema` asserts.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

mod support;

use std::{
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use p2p_chat_model::{NetworkId, Run};
use p2p_chat_store::{Store, Write};
use support::{Author, deliver, write_and_deliver};

const DIRECTORY: &str = "P2P_CHAT_STORE_TEST_DIRECTORY";
const NETWORKS: u8 = 3;
const ROUNDS: u64 = 12;

fn network(seed: u8) -> NetworkId {
    Author::found(seed, "lab").0.network
}

/// Commits for ever in several networks, several commits under way at a time, and reports each one that resolved.
async fn commit_for_ever(store: Store, seed: u8) {
    let (mut author, genesis, found) = Author::found(seed, "lab");
    match store.feeds(author.network).await.unwrap().first() {
        Some(feed) => author = Author::resume(seed, author.network, feed),
        None => {
            let writes = found.into_iter().chain(deliver(&genesis)).chain([state(1)]).collect();
            store.commit(author.network, writes).await.unwrap();
        }
    }
    loop {
        let mut pending = Vec::new();
        for _ in 0..4 {
            let run = author.texts(&["one", "two", "three"][..1 + (author.last % 3) as usize]);
            let mut writes = write_and_deliver(&run);
            writes.push(state(run.last()));
            pending.push((run.last(), store.commit(author.network, writes)));
        }
        for (last, commit) in pending {
            commit.await.unwrap();
            // In one piece, past the test harness.
            std::io::stdout().write_all(format!("\ncommitted {seed} {last}\n").as_bytes()).unwrap();
        }
    }
}

fn state(last: u64) -> Write {
    Write::State(last.to_be_bytes().to_vec())
}

/// Not a test of its own: what the test below starts as a process and kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let store = Store::open(Path::new(&directory)).unwrap();
    let tasks: Vec<_> = (1..=NETWORKS).map(|seed| tokio::spawn(commit_for_ever(store.clone(), seed))).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Runs a child, kills it after so many reports and a moment, and returns the last number it reported of each network.
fn run_and_kill(directory: &Path, reports: usize, moment: Duration) -> [u64; NETWORKS as usize] {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut last = [0; NETWORKS as usize];
    let mut seen = 0;
    let mut note = |line: &str| {
        let mut words = line.split(' ');
        if words.next() == Some("committed")
            && let (Some(seed), Some(seq)) = (words.next(), words.next())
        {
            last[seed.parse::<usize>().unwrap() - 1] = seq.parse().unwrap();
            seen += 1;
        }
        seen
    };
    while note(&lines.next().expect("the child goes on until it is killed").unwrap()) < reports {}
    // The moment of death, anywhere in a transaction: this is not a wait for anything.
    std::thread::sleep(moment);
    child.kill().unwrap();
    child.wait().unwrap();
    // What it reported before it died is in the pipe. The last line may be torn: then it was not reported.
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    for line in rest.iter().filter(|line| line.split(' ').count() == 3) {
        note(line);
    }
    last
}

async fn verify(store: &Store, seed: u8, reported: u64) {
    let network = network(seed);
    let feeds = store.feeds(network).await.unwrap();
    let Some(feed) = feeds.first() else {
        assert_eq!(reported, 0, "network {seed} is gone");
        return;
    };
    assert!(feed.last >= reported, "network {seed}: {reported} was reported, {} is there", feed.last);
    assert_eq!(feed.delivered, feed.last, "half a commit");
    let state = store.state(network).await.unwrap();
    assert_eq!(state, Some(feed.last.to_be_bytes().to_vec()), "half a commit");
    assert_eq!(store.last_position(network).await, Ok(feed.last));
    let runs = store.runs(network, feed.author, 1, usize::MAX).await.unwrap();
    let mut head = p2p_chat_model::EntryHash::NONE;
    for bytes in runs {
        let run = Run::decode(&bytes).unwrap();
        assert_eq!(run.previous, head);
        head = run.head();
    }
    assert_eq!(head, feed.head);
}

#[tokio::test]
async fn what_was_reported_survives_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let mut reported = [0; NETWORKS as usize];
    for round in 0..ROUNDS {
        // Different every time the test runs, so that over time it dies everywhere.
        let chance = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), round);
        let moment = Duration::from_micros(chance % 20_000);
        let last = run_and_kill(directory.path(), 1 + (chance >> 32) as usize % 60, moment);
        for (kept, last) in reported.iter_mut().zip(last) {
            *kept = last.max(*kept);
        }
        let store = Store::open(directory.path()).unwrap();
        for seed in 1..=NETWORKS {
            verify(&store, seed, reported[usize::from(seed) - 1]).await;
        }
    }
    assert!(reported.iter().all(|last| *last > ROUNDS), "{reported:?}: too little was committed to show anything");
}
