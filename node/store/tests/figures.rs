//! Figures, not checks. Run them with `cargo test --release -p p2p-chat-store --test figures -- --ignored`; the number
//! of messages comes from `MESSAGES`, 100,000 if unset.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

mod support;

use std::{fs, io::Write as _, time::Instant};

use p2p_chat_model::{NetworkId, VectorClock};
use p2p_chat_store::{Store, Write};
use support::{Author, deliver, open, write_and_deliver};

const AUTHORS: usize = 5;
const BODY_BYTES: usize = 256;

fn tell(what: &str, start: Instant, count: u64) {
    let seconds = start.elapsed().as_secs_f64();
    let rate = count as f64 / seconds;
    std::io::stderr().write_all(format!("{what}: {seconds:.3} s, {rate:.0}/s\n").as_bytes()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures, takes minutes in a debug build"]
async fn figures() {
    let count: u64 = std::env::var("MESSAGES").map_or(100_000, |text| text.parse().unwrap());
    let (directory, store) = open();
    let (alice, genesis, found) = Author::found(1, "lab");
    let network = alice.network;
    let mut authors: Vec<_> =
        std::iter::once(alice).chain((2..).map(|seed| Author::join(seed, network))).take(AUTHORS).collect();
    store.commit(network, found.into_iter().chain(deliver(&genesis)).collect()).await.unwrap();
    let text = "x".repeat(BODY_BYTES);
    let (mut signed, mut lamport) = (Vec::new(), 1);
    for n in 0..count as usize {
        lamport += 1;
        signed.push(authors[n % AUTHORS].text_at(lamport, &text));
    }
    let encoded: usize = signed.iter().map(|run| run.encode().len()).sum();

    let start = Instant::now();
    let mut writes: Vec<_> = signed.iter().map(write_and_deliver).collect();
    let newest = writes.split_off(writes.len() - 200);
    // As a busy node does it: a window of commits under way.
    for window in writes.chunks(256) {
        let pending: Vec<_> = window.iter().map(|writes| store.commit(network, writes.clone())).collect();
        for commit in pending {
            commit.await.unwrap();
        }
    }
    tell("commits, 256 under way", start, writes.len() as u64);
    let start = Instant::now();
    for writes in newest {
        store.commit(network, writes).await.unwrap();
    }
    tell("commits, one after the other", start, 200);

    drop(store);
    let size = fs::metadata(directory.path().join(p2p_chat_store::FILE_NAME)).unwrap().len();
    let line = format!("{} bytes a message on disk, {} of them its run\n", size / count, encoded as u64 / count);
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    let start = Instant::now();
    let store = Store::open(directory.path()).unwrap();
    tell("open with check", start, count);

    let positions: VectorClock = authors.iter().map(|author| (author.peer(), author.last)).collect();
    read(&store, network, &positions).await;
    let start = Instant::now();
    store.commit(network, vec![Write::Forget]).await.unwrap();
    tell("forget", start, count);
}

async fn read(store: &Store, network: NetworkId, positions: &VectorClock) {
    let start = Instant::now();
    let (mut cursor, mut runs) = (None, 0);
    loop {
        let (page, next) = store.runs_beyond(network, &VectorClock::new(), cursor, 1 << 20).await.unwrap();
        runs += page.len() as u64;
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    tell("catch-up with everything", start, runs);
    let (author, last) = positions.iter().next().unwrap();
    let mut have = positions.clone();
    have.set(author, last - 1);
    let start = Instant::now();
    let (page, _) = store.runs_beyond(network, &have, None, 1 << 20).await.unwrap();
    tell("catch-up with the newest run", start, page.len() as u64);
    let start = Instant::now();
    let page = store.history(network, None, 100).await.unwrap();
    tell("newest 100 of the history", start, page.len() as u64);
    let newest = page.last().map(|message| message.id.to_string()).unwrap_or_default();
    let middle = store.arrivals_after(network, runs / 2, 1).await.unwrap().first().map(|message| message.key());
    let start = Instant::now();
    let behind = store.before_newest(network, middle, 100).await.unwrap();
    let page = store.history_after(network, behind, 100).await.unwrap();
    tell("100 from the middle of the history", start, page.len() as u64);
    let start = Instant::now();
    let mut before = None;
    while let Some(first) = store.history(network, before, 256).await.unwrap().first() {
        before = Some(first.key());
    }
    tell("everything from the newest on, as a search reads it", start, runs);
    let start = Instant::now();
    store.by_id(network, &newest).await.unwrap();
    tell("search by id through everything", start, runs);
    let start = Instant::now();
    let unread = store.unread_count(network, author).await.unwrap();
    tell("unread count", start, unread);
    let start = Instant::now();
    store.before_newest(network, None, runs - 1).await.unwrap();
    tell("start of nearly the whole history", start, runs);
}
