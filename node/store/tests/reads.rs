//! Every question, with its exact answer.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

mod support;

use p2p_chat_model::{EntryKind, NetworkId, Run};
use p2p_chat_store::{
    Custody, Lookup, RECENT_BYTES, Store, StoreError, StoredFeed, StoredMessage, StoredNetwork, TimelineKey, Way, Write,
};
use support::{ARRIVED_MS, Author, deliver, message_id, open, sql, write, write_and_deliver};

/// alice founds and admits bob; both write at the same Lamport times; alice's last entry is held back.
struct Lab {
    _directory: tempfile::TempDir,
    store: Store,
    alice: Author,
    bob: Author,
    /// In the order of delivery; the last one is not delivered.
    runs: Vec<Run>,
}

async fn lab() -> Lab {
    let (directory, store) = open();
    let (mut alice, genesis, found) = Author::found(1, "lab");
    let mut bob = Author::join(2, alice.network);
    let admit = alice.admit(&bob);
    let from_bob = bob.sign(vec![(3, EntryKind::Text, b"b1".into()), (4, EntryKind::Text, b"b2".into())]);
    let from_alice = alice.sign(vec![(3, EntryKind::Text, b"a3".into()), (4, EntryKind::Unknown(99), b"a4".into())]);
    let leave = bob.sign(vec![(5, EntryKind::Leave, vec![])]);
    let held = alice.sign(vec![(6, EntryKind::Text, b"a5".into()), (7, EntryKind::Leave, vec![])]);
    let runs = vec![genesis, admit, from_bob, from_alice, leave, held];
    store.commit(alice.network, found).await.unwrap();
    let mut writes = deliver(&runs[0]);
    runs[1..5].iter().for_each(|run| writes.extend(write_and_deliver(run)));
    writes.push(write(&runs[5]));
    // The first half of the held run goes out, so that delivery ends inside a run.
    writes.push(Write::Deliver { author: alice.peer(), first: 5, last: 5, arrived_ms: 77, late: true });
    store.commit(alice.network, writes).await.unwrap();
    Lab { _directory: directory, store, alice, bob, runs }
}

fn texts(messages: &[StoredMessage]) -> Vec<String> {
    messages.iter().map(|message| String::from_utf8_lossy(&message.body).into_owned()).collect()
}

#[tokio::test]
async fn the_first_proof_against_an_author_is_kept_until_the_network_is_forgotten() {
    let lab = lab().await;
    let (store, network, bob) = (&lab.store, lab.alice.network, lab.bob.peer());
    let proof = |run: &Run| Write::Fork { run: run.clone(), bytes: run.encode().into() };
    let (first, second) = (&lab.runs[2], &lab.runs[4]);
    assert_eq!(store.fork(network, bob).await, Ok(None));
    store.commit(network, vec![proof(first), proof(second)]).await.unwrap();
    assert_eq!(store.fork(network, bob).await, Ok(Some(first.encode().into())));
    sql(store).execute("UPDATE fork SET bytes = x'00'", []).unwrap();
    assert!(matches!(store.fork(network, bob).await, Err(StoreError::Damaged { .. })), "that proves nothing");
    store.commit(network, vec![Write::Forget]).await.unwrap();
    assert_eq!(store.fork(network, bob).await, Ok(None));
}

#[tokio::test]
async fn networks_feeds_and_what_an_engine_starts_from() {
    let lab = lab().await;
    let (store, network) = (&lab.store, lab.alice.network);
    store.commit(network, vec![Write::State(b"one".to_vec())]).await.unwrap();
    store.commit(network, vec![Write::State(b"two".to_vec())]).await.unwrap();
    store.commit(network, vec![Write::Network { name: "renamed".parse().unwrap() }]).await.unwrap();
    let stored = StoredNetwork { id: network, name: "renamed".parse().unwrap() };
    assert_eq!(store.networks().await, Ok(vec![stored]));
    assert_eq!(store.state(network).await, Ok(Some(b"two".to_vec())));

    let feed = |author: &Author, delivered| StoredFeed {
        author: author.peer(),
        last: author.last,
        head: author.head,
        last_lamport: author.lamport,
        delivered,
    };
    let mut feeds = vec![feed(&lab.alice, 5), feed(&lab.bob, 3)];
    feeds.sort_by_key(|feed| feed.author);
    assert_eq!(store.feeds(network).await, Ok(feeds));
    assert_eq!(store.undelivered(network).await, Ok(vec![lab.runs[5].clone()]));
    assert_eq!(store.entry_count(network).await, Ok(9));

    let roster = store.roster_entries(network).await.unwrap();
    let found: Vec<_> =
        roster.iter().map(|entry| (entry.author, entry.seq, entry.entry.header.kind, entry.delivered)).collect();
    let (alice, bob) = (lab.alice.peer(), lab.bob.peer());
    let expected = [
        (alice, 1, EntryKind::Genesis, true),
        (alice, 2, EntryKind::Admit, true),
        (bob, 3, EntryKind::Leave, true),
        (alice, 6, EntryKind::Leave, false),
    ];
    assert_eq!(found, expected);
    assert_eq!(roster[1].entry, lab.runs[1].entries[0].1);
    assert_eq!(roster[1].hash, lab.runs[1].entries[0].0);
}

#[tokio::test]
async fn history_is_in_the_order_of_lamport_time_author_and_number() {
    let lab = lab().await;
    let (store, network) = (&lab.store, lab.alice.network);
    let all = store.history(network, None, 100).await.unwrap();
    let mut by_key = all.clone();
    by_key.sort_by_key(StoredMessage::key);
    assert_eq!(all, by_key);
    let bodies = texts(&all);
    assert_eq!(bodies.len(), 8);
    // Equal times are decided by the author's key.
    let pair = |a: &str, b: &str| if lab.alice.peer() < lab.bob.peer() { [a, b].concat() } else { [b, a].concat() };
    assert_eq!(bodies[2..].concat(), [pair("a3", "b1"), pair("a4", "b2"), String::new(), "a5".into()].concat());

    let text = all.iter().find(|message| message.body == "b2").unwrap();
    let expected = StoredMessage {
        id: message_id(&lab.runs[2], 2),
        author: lab.bob.peer(),
        seq: 2,
        lamport: 4,
        wall_ms: 1_700_000_000_004,
        kind: EntryKind::Text,
        body: b"b2".to_vec().into(),
        position: 4,
        late: false,
        arrived_ms: ARRIVED_MS + 2,
    };
    assert_eq!(*text, expected);
    let last = all.last().unwrap();
    assert_eq!((last.position, last.late, last.arrived_ms), (8, true, 77));

    for limit in 1..=9 {
        let newest = &all[8usize.saturating_sub(limit)..];
        assert_eq!(store.history(network, None, limit as u32).await.unwrap(), newest);
    }
    for cut in 0..8 {
        let key = Some(all[cut].key());
        assert_eq!(store.history(network, key, 100).await.unwrap(), all[..cut]);
        assert_eq!(store.history_after(network, key, 2).await.unwrap(), all[cut + 1..(cut + 3).min(8)]);
    }
    let unknown = Some(TimelineKey { lamport: 4, author: p2p_chat_model::PeerId::new([0; 32]), seq: 0 });
    assert_eq!(store.history_after(network, unknown, 100).await.unwrap(), all[4..]);
}

#[tokio::test]
async fn a_page_of_history_starts_behind_the_message_before_as_many_as_are_wanted() {
    let lab = lab().await;
    let (store, network) = (&lab.store, lab.alice.network);
    let all = store.history(network, None, 100).await.unwrap();
    let known = |message: &&StoredMessage| !matches!(message.kind, EntryKind::Unknown(_));
    let ends = (0..8).map(Some).chain([None]);
    for end in ends {
        let before = end.map(|index| all[index].key());
        let older = &all[..end.unwrap_or(8)];
        for count in 0..=9 {
            let start = store.before_newest(network, before, count as u64).await.unwrap();
            let page = store.history_after(network, start, 100).await.unwrap();
            let page: Vec<_> = page.iter().filter(|message| before.is_none_or(|end| message.key() < end)).collect();
            let wanted: Vec<_> = older.iter().filter(known).collect();
            let wanted = &wanted[wanted.len().saturating_sub(count)..];
            assert_eq!(page.into_iter().filter(known).collect::<Vec<_>>(), wanted, "{count} before {end:?}");
        }
    }
    // A place at which there is no message will do.
    let between = TimelineKey { seq: all[3].seq + 1, ..all[3].key() };
    assert_eq!(store.before_newest(network, Some(between), 1).await, Ok(Some(all[2].key())));
}

#[tokio::test]
async fn arrivals_are_in_the_order_of_delivery_and_count_as_unread() {
    let lab = lab().await;
    let (store, network) = (&lab.store, lab.alice.network);
    let arrivals = store.arrivals_after(network, 2, 100).await.unwrap();
    assert_eq!(texts(&arrivals), ["b1", "b2", "a3", "a4", "", "a5"]);
    assert_eq!(arrivals.iter().map(|message| message.position).collect::<Vec<_>>(), [3, 4, 5, 6, 7, 8]);
    assert_eq!(store.arrivals_after(network, 3, 2).await.unwrap(), arrivals[1..3]);
    let again = Store::open(lab._directory.path()).unwrap();
    let from_file = again.arrivals_after(network, 0, 100).await.unwrap();
    assert_eq!(store.arrivals_after(network, 0, 100).await.unwrap(), from_file, "from memory, and from the file");
    drop(again);
    assert_eq!(store.arrivals_after(network, 8, 9).await, Ok(vec![]));
    assert_eq!(store.arrivals_after(network, u64::MAX, 9).await, Ok(vec![]));
    assert_eq!(store.last_position(network).await, Ok(8));

    let unread = async || {
        let (alice, bob) = (lab.alice.peer(), lab.bob.peer());
        let carol = Author::join(3, network).peer();
        let read = store.read_position(network).await.unwrap();
        let count = async |me| store.unread_count(network, me).await.unwrap();
        (read, count(alice).await, count(bob).await, count(carol).await)
    };
    assert_eq!(unread().await, (0, 2, 2, 4));
    let mark = async |position| store.commit(network, vec![Write::MarkRead { position }]).await.unwrap();
    mark(3).await;
    assert_eq!(unread().await, (3, 1, 2, 3));
    mark(1).await;
    assert_eq!(unread().await.0, 3, "backwards");
    mark(u64::MAX).await;
    assert_eq!(unread().await, (8, 0, 0, 0));
}

#[tokio::test]
async fn what_is_unread_is_counted_once_and_then_only_what_comes_and_is_read() {
    let lab = lab().await;
    let (store, network) = (&lab.store, lab.alice.network);
    let mut carol = Author::join(3, network);
    let alice = lab.alice.peer();
    let unread = async || store.unread_count(network, alice).await.unwrap();
    let mark = async |position| store.commit(network, vec![Write::MarkRead { position }]).await.unwrap();
    let say = async |run: Run| store.commit(network, write_and_deliver(&run)).await.unwrap();
    assert_eq!(unread().await, 2);
    // Whoever counts it again counts less.
    let db = rusqlite::Connection::open(store.file()).unwrap();
    db.execute("DELETE FROM stretch WHERE position <= 4", ()).unwrap();
    assert_eq!(unread().await, 2);
    say(carol.texts(&["c1", "c2", "c3", "c4"])).await;
    assert_eq!(unread().await, 6);
    mark(10).await;
    assert_eq!(unread().await, 2 + 2, "c1 and c2 are read, and what is gone counts as unread");
    say(carol.texts(&["c5"])).await;
    mark(12).await;
    say(carol.texts(&["c6", "c7"])).await;
    assert_eq!(unread().await, 2 + 3, "c5, c6 and c7");
}

#[tokio::test]
async fn what_was_forgotten_does_not_count_in_what_comes_in_its_place() {
    let lab = lab().await;
    let (store, network) = (&lab.store, lab.alice.network);
    let unread = async || store.unread_count(network, lab.alice.peer()).await.unwrap();
    assert_eq!(unread().await, 2);
    store.commit(network, vec![Write::Forget]).await.unwrap();
    assert_eq!(unread().await, 0);
    store.commit(network, vec![Write::Network { name: "lab".parse().unwrap() }]).await.unwrap();
    let texts: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let run = Author::join(2, network).texts(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    store.commit(network, write_and_deliver(&run)).await.unwrap();
    assert_eq!(unread().await, 20);
}

#[tokio::test]
async fn messages_are_found_by_the_beginning_of_their_id() {
    let lab = lab().await;
    let (store, network) = (&lab.store, lab.alice.network);
    for message in store.history(network, None, 100).await.unwrap() {
        let id = message.id.to_string();
        let plain = id.replace('-', "");
        for prefix in [&id[..], &id[..20], &id.to_uppercase(), &plain, &plain[..12], &plain[..8]] {
            assert_eq!(store.by_id(network, prefix).await, Ok(Lookup::Found(Box::new(message.clone()))), "{prefix}");
        }
        let last = if id.ends_with('0') { "1" } else { "0" };
        let close = [&id[..35], last].concat();
        assert_eq!(store.by_id(network, &close).await, Ok(Lookup::Missing));
    }
    for nonsense in ["", "xyz", "-", "é", "00000000-0000-0000-0000-0000000000000"] {
        assert_eq!(store.by_id(network, nonsense).await, Ok(Lookup::Missing), "{nonsense}");
    }
    let held = message_id(&lab.runs[5], 6).to_string();
    assert_eq!(store.by_id(network, &held).await, Ok(Lookup::Missing), "not delivered yet");

    // Seventeen ids and sixteen digits: two begin alike.
    let mut carol = Author::join(3, network);
    let many: Vec<String> = (0..17).map(|n| n.to_string()).collect();
    let run = carol.texts(&many.iter().map(String::as_str).collect::<Vec<_>>());
    store.commit(network, write_and_deliver(&run)).await.unwrap();
    let mut ambiguous = 0;
    for digit in "0123456789abcdef".chars() {
        let all = store.history(network, None, 100).await.unwrap();
        let alike = all.iter().filter(|message| message.id.to_string().starts_with(digit)).count();
        let answer = store.by_id(network, &digit.to_string()).await.unwrap();
        match alike {
            0 => assert_eq!(answer, Lookup::Missing),
            1 => assert!(matches!(answer, Lookup::Found(_))),
            _ => assert_eq!(answer, Lookup::Ambiguous),
        }
        ambiguous += usize::from(alike > 1);
    }
    assert!(ambiguous > 0);
}

#[tokio::test]
async fn custody_names_the_first_ack_that_covers_an_entry() {
    let lab = lab().await;
    let (store, network) = (&lab.store, lab.alice.network);
    let carol = Author::join(3, network).peer();
    let bob = lab.bob.peer();
    let ack = |peer, upto, way, time_ms| Write::Ack { peer, upto, way, time_ms };
    let writes = vec![
        ack(bob, 2, Way::Direct, 10),
        ack(bob, 2, Way::Fetched, 11),
        ack(bob, 1, Way::Fetched, 12),
        ack(carol, 3, Way::Relayed(bob), 13),
        ack(bob, 5, Way::Fetched, 14),
    ];
    store.commit(network, writes).await.unwrap();
    let by_bob = |time_ms, way| Custody { peer: bob, time_ms, way };
    let by_carol = Custody { peer: carol, time_ms: 13, way: Way::Relayed(bob) };
    let sorted = |mut custody: Vec<Custody>| {
        custody.sort_by_key(|custody| custody.peer);
        custody
    };
    for seq in [1, 2] {
        let expected = sorted(vec![by_bob(10, Way::Direct), by_carol.clone()]);
        assert_eq!(store.custody(network, seq).await, Ok(expected));
    }
    assert_eq!(store.custody(network, 3).await, Ok(sorted(vec![by_bob(14, Way::Fetched), by_carol])));
    assert_eq!(store.custody(network, 5).await, Ok(vec![by_bob(14, Way::Fetched)]));
    assert_eq!(store.custody(network, 6).await, Ok(vec![]));
    let mut acked = vec![(bob, 5), (carol, 3)];
    acked.sort_unstable();
    assert_eq!(store.acked(network).await, Ok(acked));
}

#[tokio::test]
async fn runs_are_the_same_from_memory_and_from_the_file() {
    let (directory, store) = open();
    let (mut alice, genesis, found) = Author::found(1, "lab");
    let network = alice.network;
    store.commit(network, found).await.unwrap();
    let long = "x".repeat(60_000);
    let mut runs = vec![genesis];
    // More than what is kept in memory, so that the first ones are read from the file.
    while runs.iter().map(|run| run.encode().len()).sum::<usize>() < 2 * RECENT_BYTES {
        let run = alice.texts(&[&long, "and a short one"]);
        store.commit(network, vec![write(&run)]).await.unwrap();
        runs.push(run);
    }
    let reopened = |store: Store| {
        drop(store);
        Store::open(directory.path()).unwrap()
    };
    let ask = async |store: &Store| {
        let mut answers = Vec::new();
        for from in 0..=alice.last + 1 {
            for max in [0, 100_000, usize::MAX] {
                answers.push((from, max, store.runs(network, alice.peer(), from, max).await.unwrap()));
            }
        }
        answers
    };
    let with_memory = ask(&store).await;
    let store = reopened(store);
    assert_eq!(ask(&store).await, with_memory);
    for (from, max, answer) in with_memory {
        let start = runs.iter().position(|run| run.last() >= from).unwrap_or(runs.len());
        let mut size = 0;
        let fitting = runs[start..].iter().take_while(|run| {
            let first = size == 0;
            size += run.encode().len();
            first || size <= max
        });
        let expected: Vec<_> = fitting.map(Run::encode).collect();
        assert_eq!(answer, expected, "from {from}, at most {max}");
    }
}

#[tokio::test]
async fn extreme_numbers_of_a_member_are_kept_and_sorted() {
    let (_directory, store) = open();
    let (mut alice, genesis, found) = Author::found(1, "lab");
    let network = alice.network;
    let mut bob = Author::join(2, network);
    store.commit(network, found).await.unwrap();
    let runs = [
        alice.text_at(1 << 40, "first"),
        bob.text_at(i64::MAX as u64, "second"),
        alice.text_at(1 << 63, "third"),
        bob.text_at(u64::MAX, "fourth"),
    ];
    let mut writes = deliver(&genesis);
    for index in [0, 2, 1, 3] {
        writes.extend(write_and_deliver(&runs[index]));
    }
    store.commit(network, writes).await.unwrap();
    let history = store.history(network, None, 4).await.unwrap();
    assert_eq!(texts(&history), ["first", "second", "third", "fourth"]);
    assert_eq!(history[3].lamport, u64::MAX);
    assert_eq!(texts(&store.history_after(network, Some(history[1].key()), 9).await.unwrap()), ["third", "fourth"]);
}

#[tokio::test]
async fn a_page_ends_when_its_bodies_are_large() {
    let (_directory, store) = open();
    let (mut alice, _, found) = Author::found(1, "lab");
    let network = alice.network;
    store.commit(network, found).await.unwrap();
    store
        .commit(network, vec![Write::Deliver { author: alice.peer(), first: 1, last: 1, arrived_ms: 0, late: false }])
        .await
        .unwrap();
    let long = "x".repeat(65_536);
    for _ in 0..40 {
        store.commit(network, write_and_deliver(&alice.texts(&[&long]))).await.unwrap();
    }
    assert_eq!(store.arrivals_after(network, 1, 1_000).await.unwrap().len(), 16);
    let newest = store.history(network, None, 1_000).await.unwrap();
    assert_eq!((newest.len(), newest[15].position), (16, 41));
    let mut read = 0;
    let mut after = None;
    loop {
        let page = store.history_after(network, after, 1_000).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.key());
        read += page.len();
    }
    assert_eq!(read, 41);
}

#[tokio::test]
async fn an_unknown_network_has_nothing() {
    let (_directory, store) = open();
    let network = NetworkId::new([5; 32]);
    let peer = Author::join(1, network).peer();
    assert_eq!(store.networks().await, Ok(vec![]));
    assert_eq!(store.state(network).await, Ok(None));
    assert_eq!(store.feeds(network).await, Ok(vec![]));
    assert_eq!(store.runs(network, peer, 1, 1).await, Ok(vec![]));
    assert_eq!(store.runs_beyond(network, &p2p_chat_model::VectorClock::new(), None, 1).await, Ok((vec![], None)));
    assert_eq!(store.by_id(network, "0000").await, Ok(Lookup::Missing));
    assert_eq!(store.read_position(network).await, Ok(0));
    assert_eq!(store.before_newest(network, None, 0).await, Ok(None));
}

#[tokio::test]
async fn damaged_runs_are_told_and_not_handed_on() {
    let lab = lab().await;
    let network = lab.alice.network;
    let directory = lab.store.file().parent().unwrap().to_owned();
    let damages = [
        "UPDATE run SET bytes = substr(bytes, 1, 80) WHERE key = 3",
        // The last byte of the body "b2", in front of the signature.
        "UPDATE run SET bytes = CAST(substr(bytes, 1, length(bytes) - 65) || x'00' || substr(bytes, -64) AS BLOB) WHERE key = 3",
        "UPDATE run SET bytes = (SELECT bytes FROM run WHERE key = 4) WHERE key = 3",
        // The signature, which the hashes don't cover: no sound one ends so, its number S is below 2^253.
        "UPDATE run SET bytes = CAST(substr(bytes, 1, length(bytes) - 1) || x'ff' AS BLOB) WHERE key = 3",
        "UPDATE run SET rank = 9 WHERE key = 3",
    ];
    for damage in damages {
        let copy = tempfile::tempdir().unwrap();
        let target = copy.path().join(p2p_chat_store::FILE_NAME);
        let vandal = rusqlite::Connection::open(directory.join(p2p_chat_store::FILE_NAME)).unwrap();
        vandal.execute("VACUUM INTO ?1", [target.to_str().unwrap()]).unwrap();
        assert_eq!(rusqlite::Connection::open(&target).unwrap().execute(damage, []), Ok(1), "{damage}");
        let store = Store::open(copy.path()).unwrap();
        let damaged = |error: Option<StoreError>| {
            let error = error.expect(damage);
            let is_its =
                matches!(&error, StoreError::Damaged { file, network: of, .. } if *file == target && *of == network);
            assert!(is_its, "{damage}: {error}");
        };
        damaged(store.runs(network, lab.bob.peer(), 2, 1).await.err());
        damaged(store.runs_beyond(network, &p2p_chat_model::VectorClock::new(), None, 1 << 20).await.err());
        damaged(store.history(network, None, 100).await.err());
        assert_eq!(store.runs(network, lab.alice.peer(), 1, usize::MAX).await.unwrap().len(), 4, "others are sound");
    }
    let rows: i64 = sql(&lab.store).query_row("SELECT count(*) FROM run", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 6);
}

#[tokio::test]
async fn a_damaged_genesis_does_not_keep_other_networks_from_being_read() {
    let (directory, store) = open();
    let (alice, genesis, found) = Author::found(1, "lab");
    let (den, other, other_found) = Author::found(3, "den");
    store.commit(alice.network, [found, deliver(&genesis)].concat()).await.unwrap();
    store.commit(den.network, [other_found, deliver(&other)].concat()).await.unwrap();
    // A byte of the network's id, which the hash of a genesis doesn't cover.
    let damage = "UPDATE run SET bytes = CAST(substr(bytes, 1, 9) ||
        CASE substr(bytes, 10, 1) WHEN x'00' THEN x'01' ELSE x'00' END || substr(bytes, 11) AS BLOB) WHERE key = 1";
    assert_eq!(sql(&store).execute(damage, []), Ok(1));
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    assert!(matches!(store.history(alice.network, None, 9).await, Err(StoreError::Damaged { .. })));
    assert_eq!(store.history(den.network, None, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn tables_that_contradict_each_other_are_refused() {
    let lab = lab().await;
    let directory = lab.store.file().parent().unwrap().to_owned();
    let damages = [
        "UPDATE run SET last = 1 WHERE key = 3",
        "DELETE FROM run WHERE key = 2",
        // A feed that ends too early: its numbers would be used again.
        "UPDATE feed SET last = last - 1 WHERE last > 1",
        "UPDATE feed SET head = zeroblob(32) WHERE last > 1",
        "UPDATE feed SET delivered = delivered + 1 WHERE last > delivered",
        "UPDATE stretch SET seq = 1 WHERE position = 2",
        "DELETE FROM stretch WHERE position = 2",
        "UPDATE stretch SET tags = zeroblob(12) WHERE position = 2",
        "UPDATE stretch SET tags = zeroblob(5) WHERE position = 2",
        "UPDATE stretch SET tags = zeroblob(390) WHERE position = 2",
        "DELETE FROM peer WHERE key = 2",
        "DELETE FROM network",
    ];
    for damage in damages {
        let copy = tempfile::tempdir().unwrap();
        let target = copy.path().join(p2p_chat_store::FILE_NAME);
        let vandal = rusqlite::Connection::open(directory.join(p2p_chat_store::FILE_NAME)).unwrap();
        vandal.execute("VACUUM INTO ?1", [target.to_str().unwrap()]).unwrap();
        drop(Store::open(copy.path()).unwrap());
        assert!(rusqlite::Connection::open(&target).unwrap().execute(damage, []).unwrap() > 0, "{damage}");
        let error = Store::open(copy.path()).expect_err(damage);
        assert!(matches!(&error, StoreError::Corrupt { file, .. } if *file == target), "{damage}: {error}");
    }
}
