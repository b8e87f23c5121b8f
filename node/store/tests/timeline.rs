//! The timeline against a list that is sorted by hand, over many mixtures of who wrote and what was delivered when.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

mod support;

use p2p_chat_model::{EntryKind, NetworkId};
use p2p_chat_store::{Lookup, Store, StoreError, StoredMessage, TimelineKey, Write};
use proptest::prelude::*;
use support::{ARRIVED_MS, Author, downgrade, open, sql, write};

/// What one author does next: so many entries, so far behind each other in Lamport time, delivered by so many at once.
#[derive(Debug, Clone)]
struct Deed {
    who: usize,
    jump: u64,
    entries: usize,
    step: u64,
    kind: EntryKind,
    portion: u64,
    late: bool,
    arrived_ms: u64,
    /// Whether each write is a commit of its own, or what comes next goes into the same.
    alone: bool,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let kind = prop_oneof![8 => Just(EntryKind::Text), 1 => Just(EntryKind::Unknown(99))];
    let step = prop_oneof![4 => Just(1u64), 1 => 2..9u64];
    let entries = (0..4usize, 1..80u64, 1..=64usize, step, kind);
    let delivery = (1..100u64, any::<bool>(), ARRIVED_MS..ARRIVED_MS + 2, any::<bool>());
    let deed =
        (entries, delivery).prop_map(|((who, jump, entries, step, kind), (portion, late, arrived_ms, alone))| Deed {
            who,
            jump,
            entries,
            step,
            kind,
            portion,
            late,
            arrived_ms,
            alone,
        });
    proptest::collection::vec(deed, 1..12)
}

/// Writes what is done and gives it as it was delivered.
async fn written(store: &Store, deeds: &[Deed]) -> (NetworkId, Vec<StoredMessage>) {
    let (_, genesis, found) = Author::found(9, "lab");
    let network = genesis.network;
    store.commit(network, found).await.unwrap();
    let mut authors: Vec<Author> = (1..=4).map(|seed| Author::join(seed, network)).collect();
    let (mut delivered, mut commits) = (Vec::new(), vec![Vec::new()]);
    for deed in deeds {
        let author = &mut authors[deed.who];
        let start = author.lamport + deed.jump;
        let text = |at: u64| (start + at * deed.step, deed.kind, format!("{at}").into_bytes());
        let run = author.sign((0..deed.entries as u64).map(text).collect());
        let (author, arrived_ms, late) = (run.author, deed.arrived_ms, deed.late);
        let mut writes = vec![write(&run), Write::State(vec![1])];
        for first in (run.first..=run.last()).step_by(deed.portion as usize) {
            let last = run.last().min(first + deed.portion - 1);
            writes.push(Write::Deliver { author, first, last, arrived_ms, late });
        }
        if deed.alone {
            commits.extend(writes.into_iter().map(|write| vec![write]));
            commits.push(Vec::new());
        } else {
            commits.last_mut().unwrap().extend(writes);
        }
        for (seq, (hash, entry)) in (run.first..).zip(&run.entries) {
            let header = &entry.header;
            let (id, position) = ((*hash).into(), delivered.len() as u64 + 1);
            let (lamport, wall_ms, kind, body) = (header.lamport, header.wall_ms, header.kind, entry.body.clone());
            let message = StoredMessage { id, author, seq, lamport, wall_ms, kind, body, position, late, arrived_ms };
            delivered.push(message);
        }
    }
    for writes in commits {
        store.commit(network, writes).await.unwrap();
    }
    (network, delivered)
}

/// What comes before the newest `count` that are shown.
fn before_newest(sorted: &[StoredMessage], count: usize) -> Option<TimelineKey> {
    let is_shown = |message: &&StoredMessage| message.kind == EntryKind::Text;
    (0..sorted.len())
        .rev()
        .find(|at| sorted[at + 1..].iter().filter(is_shown).count() == count)
        .map(|at| sorted[at].key())
}

/// Asks everything that can be asked of a timeline.
async fn compare(store: &Store, network: NetworkId, delivered: &[StoredMessage]) {
    let mut sorted = delivered.to_vec();
    sorted.sort_by_key(StoredMessage::key);
    assert_eq!(store.last_position(network).await, Ok(delivered.len() as u64));
    assert_eq!(store.history(network, None, u32::MAX).await.as_ref(), Ok(&sorted));
    assert_eq!(store.history_after(network, None, u32::MAX).await.as_ref(), Ok(&sorted));
    for at in (0..sorted.len()).step_by(7) {
        let place = sorted[at].key();
        assert_eq!(store.history(network, Some(place), 9).await.unwrap(), sorted[at.saturating_sub(9)..at]);
        // Between two places, too.
        let beside = TimelineKey { seq: place.seq - 1, ..place };
        let after = sorted[at..].iter().filter(|message| message.key() > beside).take(9).cloned().collect::<Vec<_>>();
        assert_eq!(store.history_after(network, Some(beside), 9).await.unwrap(), after);
        let arrived = store.arrivals_after(network, at as u64, 9).await.unwrap();
        assert_eq!(arrived, delivered[at..delivered.len().min(at + 9)]);
        let newest = store.before_newest(network, Some(place), 5).await.unwrap();
        assert_eq!(newest, before_newest(&sorted[..at], 5).filter(|_| delivered.len() > 5));
        let found = store.by_id(network, &sorted[at].id.to_string()).await.unwrap();
        assert_eq!(found, Lookup::Found(Box::new(sorted[at].clone())));
        store.commit(network, vec![Write::MarkRead { position: at as u64 }]).await.unwrap();
        let (me, read) = (sorted[0].author, store.read_position(network).await.unwrap() as usize);
        assert!(read >= at);
        let unread = delivered[read..].iter().filter(|it| it.kind == EntryKind::Text && it.author != me).count();
        assert_eq!(store.unread_count(network, me).await, Ok(unread as u64));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_question_has_the_answer_that_a_sorted_list_has(deeds in deeds()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (directory, store) = open();
            let (network, delivered) = written(&store, &deeds).await;
            compare(&store, network, &delivered).await;
            // The same without what is in memory.
            drop(store);
            compare(&Store::open(directory.path()).unwrap(), network, &delivered).await;
        });
    }
}

#[tokio::test]
async fn a_file_with_a_row_for_each_entry_is_taken_over_or_left_as_it_is() {
    let (directory, store) = open();
    let deed = |who, entries, portion| {
        let (jump, step, kind, late, arrived_ms, alone) = (3, 1, EntryKind::Text, false, ARRIVED_MS, true);
        Deed { who, jump, entries, step, kind, portion, late, arrived_ms, alone }
    };
    let (network, delivered) = written(&store, &[deed(0, 64, 64), deed(1, 40, 1), deed(0, 3, 2)]).await;
    let rows = |db: &rusqlite::Connection, table| {
        db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(rows(&sql(&store), "stretch"), 43, "one for each delivery");
    let file = store.file().to_owned();
    drop(store);
    let db = rusqlite::Connection::open(&file).unwrap();
    downgrade(&db);
    db.execute("UPDATE timeline SET seq = 1 WHERE position = 9", []).unwrap();
    drop(db);
    let before = std::fs::read(&file).unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert!(std::fs::read(&file).unwrap() == before, "a damaged one is not touched");

    let db = rusqlite::Connection::open(&file).unwrap();
    db.execute("UPDATE timeline SET seq = 9 WHERE position = 9", []).unwrap();
    drop(db);
    let store = Store::open(directory.path()).unwrap();
    compare(&store, network, &delivered).await;
    assert_eq!(rows(&sql(&store), "stretch"), 3, "what belongs together is joined");
}
