//! The timeline against a list that is sorted by hand, over many mixtures of who wrote and what was delivered when.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

mod support;

use p2p_chat_model::EntryKind;
use p2p_chat_store::{Lookup, Store, StoredMessage, TimelineKey, Write};
use proptest::prelude::*;
use support::{ARRIVED_MS, Author, open, sql, write};

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
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let kind = prop_oneof![8 => Just(EntryKind::Text), 1 => Just(EntryKind::Unknown(99))];
    let deed =
        (0..4usize, 1..80u64, 1..=64usize, prop_oneof![4 => Just(1u64), 1 => 2..9u64], kind, 1..100u64, any::<bool>());
    let deed = deed.prop_map(|(who, jump, entries, step, kind, portion, late)| Deed {
        who,
        jump,
        entries,
        step,
        kind,
        portion,
        late,
    });
    proptest::collection::vec(deed, 1..12)
}

/// Writes what is done and gives it as it was delivered.
async fn written(store: &Store, deeds: &[Deed]) -> (p2p_chat_model::NetworkId, Vec<StoredMessage>) {
    let (_, _, found) = Author::found(9, "lab");
    let network = Author::found(9, "lab").0.network;
    store.commit(network, found).await.unwrap();
    let mut authors: Vec<Author> = (1..=4).map(|seed| Author::join(seed, network)).collect();
    let mut delivered = Vec::new();
    for deed in deeds {
        let author = &mut authors[deed.who];
        let start = author.lamport + deed.jump;
        let entries =
            (0..deed.entries as u64).map(|at| (start + at * deed.step, deed.kind, format!("{at}").into_bytes()));
        let run = author.sign(entries.collect());
        store.commit(network, vec![write(&run)]).await.unwrap();
        let mut first = run.first;
        while first <= run.last() {
            let last = run.last().min(first + deed.portion - 1);
            let (author, arrived_ms, late) = (run.author, ARRIVED_MS, deed.late);
            store.commit(network, vec![Write::Deliver { author, first, last, arrived_ms, late }]).await.unwrap();
            first = last + 1;
        }
        for (seq, (hash, entry)) in (run.first..).zip(&run.entries) {
            delivered.push(StoredMessage {
                id: (*hash).into(),
                author: run.author,
                seq,
                lamport: entry.header.lamport,
                wall_ms: entry.header.wall_ms,
                kind: entry.header.kind,
                body: entry.body.clone(),
                position: delivered.len() as u64 + 1,
                late: deed.late,
                arrived_ms: ARRIVED_MS,
            });
        }
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
async fn compare(store: &Store, network: p2p_chat_model::NetworkId, delivered: &[StoredMessage]) {
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

/// Puts the timeline back to a row for each entry.
fn downgrade(db: &rusqlite::Connection) {
    db.execute_batch(
        "CREATE TABLE timeline (network INTEGER NOT NULL, position INTEGER NOT NULL, author INTEGER NOT NULL,
             seq ANY NOT NULL, lamport ANY NOT NULL, kind INTEGER NOT NULL, tag INTEGER NOT NULL,
             arrived_ms ANY NOT NULL, late INTEGER NOT NULL, PRIMARY KEY (network, position)) STRICT, WITHOUT ROWID;
         CREATE INDEX timeline_lamport ON timeline (network, lamport);",
    )
    .unwrap();
    let mut query = db
        .prepare("SELECT network, position, author, seq, lamport, kind, tags, arrived_ms, late FROM stretch")
        .unwrap();
    let mut rows = query.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let number = |column| row.get::<_, i64>(column).unwrap();
        for (at, tag) in (0..).zip(row.get::<_, Vec<u8>>(6).unwrap().chunks(6)) {
            let tag = tag.iter().fold(0, |tag, byte| tag << 8 | i64::from(*byte));
            let place = (number(0), number(1) + at, number(2), number(3) + at, number(4) + at, number(5));
            let rest = (tag, number(7), number(8));
            db.execute(
                "INSERT INTO timeline VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                (place.0, place.1, place.2, place.3, place.4, place.5, rest.0, rest.1, rest.2),
            )
            .unwrap();
        }
    }
    db.execute_batch("DROP TABLE stretch; PRAGMA user_version = 1").unwrap();
}

#[tokio::test]
async fn a_file_with_a_row_for_each_entry_is_taken_over_or_left_as_it_is() {
    let (directory, store) = open();
    let deed =
        |who, entries, portion| Deed { who, jump: 3, entries, step: 1, kind: EntryKind::Text, portion, late: false };
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
    let error = Store::open(directory.path()).unwrap_err();
    assert!(matches!(error, p2p_chat_store::StoreError::Corrupt { .. }), "{error}");

    let db = rusqlite::Connection::open(&file).unwrap();
    assert_eq!(rows(&db, "timeline"), 107, "a damaged one is not touched");
    db.execute("UPDATE timeline SET seq = 9 WHERE position = 9", []).unwrap();
    drop(db);
    let store = Store::open(directory.path()).unwrap();
    compare(&store, network, &delivered).await;
    assert_eq!(rows(&sql(&store), "stretch"), 3, "what belongs together is joined");
}
