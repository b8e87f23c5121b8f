use proptest::prelude::*;

use super::*;
use crate::VectorClock;

fn alice() -> Identity {
    Identity::from_seed([1; 32])
}

fn text(lamport: u64, body: &str) -> Entry {
    let header = Header { lamport, wall_ms: 1_700_000_000_000, clock: VectorClock::new(), kind: EntryKind::Text };
    Entry { header, body: Bytes::copy_from_slice(body.as_bytes()) }
}

fn network() -> NetworkId {
    NetworkId::new([7; 32])
}

fn two_texts() -> Run {
    let previous = EntryHash::new([5; 32]);
    Run::sign(&alice(), network(), 4, previous, vec![text(9, "one"), text(10, "two")])
}

#[test]
fn a_run_survives_its_encoding() {
    let run = two_texts();
    assert_eq!(Run::decode(&run.encode()), Ok(run.clone()));
    assert_eq!((run.first, run.last()), (4, 5));
    assert_eq!(run.head(), run.entries[1].0);
}

#[test]
fn no_byte_of_a_run_can_be_changed() {
    let bytes = two_texts().encode();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(Run::decode(&changed).is_err(), "byte {at} can be changed unnoticed");
    }
}

#[test]
fn a_run_signed_by_another_is_forged() {
    let mut run = two_texts();
    run.signature = Identity::from_seed([2; 32]).sign(DOMAIN, run.head().as_bytes());
    assert_eq!(Run::decode(&run.encode()), Err(RunError::Forged(BadSignature(alice().peer()))));
}

#[test]
fn a_network_is_the_hash_of_its_genesis() {
    let genesis = Genesis { salt: [3; 32], name: "lab".parse().unwrap(), creator: "alice".parse().unwrap() };
    let (network, run) = Run::found(&alice(), &genesis, 5);
    assert_eq!(run.head().as_bytes(), network.as_bytes());
    assert_eq!(Run::decode(&run.encode()).map(|run| run.network), Ok(network));

    let elsewhere = Run::sign(&alice(), NetworkId::new([8; 32]), 1, EntryHash::NONE, vec![genesis.entry(5)]);
    assert_eq!(Run::decode(&elsewhere.encode()), Err(RunError::Genesis(1)));
}

#[test]
fn bounds_are_refused() {
    let sign = |first, previous, entries| Run::sign(&alice(), network(), first, previous, entries).encode();
    let before = EntryHash::new([5; 32]);
    assert_eq!(Run::decode(&sign(0, EntryHash::NONE, vec![text(9, "x")])), Err(RunError::Bounds));
    assert_eq!(Run::decode(&sign(1, before, vec![text(9, "x")])), Err(RunError::Bounds));
    assert_eq!(Run::decode(&sign(2, EntryHash::NONE, vec![text(9, "x")])), Err(RunError::Bounds));
    assert_eq!(Run::decode(&sign(2, before, vec![])), Err(RunError::Bounds));
    assert_eq!(Run::decode(&sign(2, before, vec![text(9, "x"), text(9, "y")])), Err(RunError::Clock(3)));
    assert_eq!(Run::decode(&sign(2, before, vec![text(1, "x")])), Err(RunError::Clock(2)));
    assert_eq!(Run::decode(&sign(2, before, vec![text(u64::MAX / 2 + 1, "x")])), Err(RunError::Clock(2)));
    assert!(Run::decode(&sign(2, before, vec![text(9, "")])).is_err());
    assert!(Run::decode(&sign(2, before, vec![text(9, &"x".repeat(65_537))])).is_err());
    let texts = |count| (0..count).map(|n| text(9 + n, "x")).collect();
    assert!(Run::decode(&sign(2, before, texts(MAX_RUN_ENTRIES as u64))).is_ok());
    assert!(Run::decode(&sign(2, before, texts(MAX_RUN_ENTRIES as u64 + 1))).is_err());
    let last = u64::MAX - MAX_RUN_ENTRIES as u64 + 1;
    assert!(Run::decode(&sign(last, before, vec![text(u64::MAX, "x")])).is_err());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Run::decode(&bytes);
    }

    #[test]
    fn a_damaged_run_never_panics(at in 0usize..200, byte: u8, cut in 0usize..300) {
        let mut bytes = two_texts().encode();
        if let Some(target) = bytes.get_mut(at) { *target = byte; }
        bytes.truncate(cut);
        let _ = Run::decode(&bytes);
    }
}

#[test]
fn whoever_keeps_a_body_keeps_no_more_than_the_bodies_of_its_run() {
    let clock = (0..200).map(|author| (crate::PeerId::new([author; 32]), 1)).collect();
    let header = Header { lamport: 9, wall_ms: 0, clock, kind: EntryKind::Text };
    let entry = |body: &'static str| Entry { header: header.clone(), body: Bytes::from_static(body.as_bytes()) };
    let mut second = entry("two");
    second.header.lamport = 10;
    let run = Run::sign(&alice(), network(), 4, EntryHash::new([5; 32]), vec![entry("one"), second]);
    let decoded = Run::decode(&run.encode()).unwrap();
    assert_eq!(decoded, run);
    let mut bodies = decoded.entries.into_iter().map(|(_, entry)| entry.body);
    let (first, second) = (bodies.next().unwrap(), bodies.next().unwrap());
    drop(second);
    // The only one left, it can have its memory back: what there is of it is what it shared.
    assert!(first.try_into_mut().is_ok_and(|memory| memory.capacity() <= 8));
}
