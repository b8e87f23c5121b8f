use p2p_chat_model::EntryKind;
use proptest::prelude::*;

use super::*;

const ALICE: PeerId = PeerId::new([1; 32]);
const BOB: PeerId = PeerId::new([2; 32]);
const CAROL: PeerId = PeerId::new([3; 32]);
const STRANGER: PeerId = PeerId::new([9; 32]);
const CAPS: (usize, usize) = (8, 12);

fn clock(past: &[(PeerId, Seq)]) -> VectorClock {
    past.iter().copied().collect()
}

fn hash(author: PeerId, seq: Seq) -> EntryHash {
    let mut bytes = *author.as_bytes();
    bytes[..8].copy_from_slice(&seq.to_be_bytes());
    EntryHash::new(bytes)
}

fn entry(author: PeerId, seq: Seq, lamport: u64, past: &[(PeerId, Seq)]) -> EntryFacts {
    EntryFacts { hash: hash(author, seq), lamport, wall_ms: 0, kind: EntryKind::Text, clock: clock(past), op: None }
}

fn roster() -> Roster {
    let mut roster = Roster::default();
    for peer in [ALICE, BOB, CAROL] {
        roster.announce(ALICE, &RosterOp::Admit { peer, name: "somebody".parse().unwrap(), past: 0 });
    }
    roster
}

fn offer(feeds: &mut Feeds, author: PeerId, first: Seq, entries: &[EntryFacts]) -> Offer {
    let previous = if first == 1 { EntryHash::NONE } else { hash(author, first - 1) };
    feeds.offer(author, first, previous, entries, &roster(), CAPS)
}

fn texts(author: PeerId, first: Seq, last: Seq) -> Vec<EntryFacts> {
    (first..=last).map(|seq| entry(author, seq, seq, &[])).collect()
}

/// Who was delivered, with what number, and whether late.
fn deliveries(feeds: &mut Feeds) -> Vec<(PeerId, Seq, bool)> {
    let next = || feeds.next_deliverable().map(|(author, seq, _, late)| (author, seq, late));
    std::iter::from_fn(next).collect()
}

#[test]
fn a_run_that_continues_its_feed_is_taken_once() {
    let mut feeds = Feeds::default();
    assert_eq!(offer(&mut feeds, ALICE, 1, &texts(ALICE, 1, 2)), Offer::Taken);
    assert_eq!(offer(&mut feeds, ALICE, 1, &texts(ALICE, 1, 2)), Offer::Duplicate);
    assert_eq!(offer(&mut feeds, ALICE, 1, &texts(ALICE, 1, 1)), Offer::Duplicate);
    assert_eq!(offer(&mut feeds, ALICE, 3, &texts(ALICE, 3, 3)), Offer::Taken);
    assert_eq!(feeds.stored(), &clock(&[(ALICE, 3)]));
    assert_eq!(feeds.delivered(), &clock(&[]));
    assert_eq!(deliveries(&mut feeds), [(ALICE, 1, false), (ALICE, 2, false), (ALICE, 3, false)]);
    assert_eq!(feeds.delivered(), &clock(&[(ALICE, 3)]));
}

#[test]
fn a_run_after_a_gap_is_too_early() {
    let mut feeds = Feeds::default();
    assert_eq!(offer(&mut feeds, ALICE, 2, &texts(ALICE, 2, 2)), Offer::TooEarly);
    assert_eq!(feeds.stored(), &clock(&[]));
}

#[test]
fn a_run_whose_clock_names_a_stranger_is_too_early_unless_it_admits_the_stranger() {
    let mut feeds = Feeds::default();
    let names = entry(ALICE, 1, 5, &[(STRANGER, 1)]);
    assert_eq!(offer(&mut feeds, ALICE, 1, &[names]), Offer::TooEarly);
    let op = RosterOp::Admit { peer: STRANGER, name: "erin".parse().unwrap(), past: 0 };
    let admission = EntryFacts { kind: op.kind(), op: Some(op), ..entry(ALICE, 1, 5, &[]) };
    let names = entry(ALICE, 2, 6, &[(STRANGER, 1)]);
    assert_eq!(offer(&mut feeds, ALICE, 1, &[admission, names]), Offer::Taken);
    assert_eq!(deliveries(&mut feeds), [(ALICE, 1, false)]);
}

#[test]
fn another_entry_under_a_stored_number_is_a_fork() {
    let mut feeds = Feeds::default();
    offer(&mut feeds, ALICE, 1, &texts(ALICE, 1, 2));
    let other = EntryFacts { hash: EntryHash::new([8; 32]), ..entry(ALICE, 2, 2, &[]) };
    assert_eq!(feeds.offer(ALICE, 2, hash(ALICE, 1), &[other], &roster(), CAPS), Offer::Fork(2));
}

#[test]
fn a_continuation_of_another_branch_is_a_fork() {
    let mut feeds = Feeds::default();
    offer(&mut feeds, ALICE, 1, &texts(ALICE, 1, 2));
    let previous = EntryHash::new([8; 32]);
    assert_eq!(feeds.offer(ALICE, 3, previous, &texts(ALICE, 3, 3), &roster(), CAPS), Offer::Fork(3));
}

#[test]
fn a_run_that_overlaps_what_is_stored_was_formed_a_second_time_and_is_a_fork() {
    let mut feeds = Feeds::default();
    offer(&mut feeds, ALICE, 1, &texts(ALICE, 1, 2));
    assert_eq!(offer(&mut feeds, ALICE, 2, &texts(ALICE, 2, 3)), Offer::Fork(2));
}

#[test]
fn a_frozen_feed_takes_nothing_more_and_is_frozen_once() {
    let mut feeds = Feeds::default();
    offer(&mut feeds, ALICE, 1, &texts(ALICE, 1, 1));
    assert!(feeds.freeze(ALICE));
    assert!(!feeds.freeze(ALICE));
    assert_eq!(offer(&mut feeds, ALICE, 2, &texts(ALICE, 2, 2)), Offer::Refused);
    assert_eq!(offer(&mut feeds, ALICE, 1, &texts(ALICE, 1, 1)), Offer::Duplicate);
}

#[test]
fn nothing_waits_for_an_author_that_has_contradicted_itself() {
    let mut feeds = Feeds::default();
    offer(&mut feeds, ALICE, 1, &texts(ALICE, 1, 1));
    offer(&mut feeds, CAROL, 1, &[entry(CAROL, 1, 9, &[(ALICE, 2)])]);
    assert_eq!(deliveries(&mut feeds), [(ALICE, 1, false)]);
    feeds.freeze(ALICE);
    assert_eq!(deliveries(&mut feeds), [(CAROL, 1, false)]);
    offer(&mut feeds, CAROL, 2, &[entry(CAROL, 2, 10, &[(ALICE, 7), (BOB, 1)])]);
    assert_eq!(deliveries(&mut feeds), []);
    offer(&mut feeds, BOB, 1, &texts(BOB, 1, 1));
    assert_eq!(deliveries(&mut feeds), [(BOB, 1, true), (CAROL, 2, false)]);
}

#[test]
fn what_waits_is_bounded_per_feed_and_in_all() {
    let blocked = |author, first: Seq, last: Seq| -> Vec<EntryFacts> {
        (first..=last).map(|seq| entry(author, seq, 50 + seq, &[(CAROL, 1)])).collect()
    };
    let mut feeds = Feeds::default();
    assert_eq!(offer(&mut feeds, ALICE, 1, &blocked(ALICE, 1, 8)), Offer::Taken);
    assert_eq!(offer(&mut feeds, ALICE, 9, &blocked(ALICE, 9, 9)), Offer::Refused);
    assert_eq!(offer(&mut feeds, BOB, 1, &blocked(BOB, 1, 4)), Offer::Taken);
    assert_eq!(offer(&mut feeds, BOB, 5, &blocked(BOB, 5, 5)), Offer::Refused);
    assert_eq!((deliveries(&mut feeds), feeds.held()), (vec![], 12));
    // What everybody waits for is taken whatever waits.
    assert_eq!(offer(&mut feeds, CAROL, 1, &texts(CAROL, 1, 1)), Offer::Taken);
    assert_eq!((deliveries(&mut feeds).len(), feeds.held()), (13, 0));
    assert_eq!(offer(&mut feeds, ALICE, 9, &blocked(ALICE, 9, 9)), Offer::Taken);
}

#[test]
fn an_entry_waits_for_every_author_it_depends_on() {
    let mut feeds = Feeds::default();
    offer(&mut feeds, CAROL, 1, &[entry(CAROL, 1, 9, &[(ALICE, 2), (BOB, 1)])]);
    assert_eq!(deliveries(&mut feeds), []);
    offer(&mut feeds, BOB, 1, &texts(BOB, 1, 1));
    assert_eq!(deliveries(&mut feeds), [(BOB, 1, false)]);
    offer(&mut feeds, ALICE, 1, &texts(ALICE, 1, 1));
    assert_eq!(deliveries(&mut feeds), [(ALICE, 1, true)]);
    offer(&mut feeds, ALICE, 2, &texts(ALICE, 2, 2));
    assert_eq!(deliveries(&mut feeds), [(ALICE, 2, false), (CAROL, 1, false)]);
}

#[test]
fn two_entries_that_wait_for_each_other_block_nobody_else() {
    let mut feeds = Feeds::default();
    offer(&mut feeds, ALICE, 1, &[entry(ALICE, 1, 9, &[(BOB, 1)])]);
    offer(&mut feeds, BOB, 1, &[entry(BOB, 1, 9, &[(ALICE, 1)])]);
    offer(&mut feeds, CAROL, 1, &texts(CAROL, 1, 1));
    assert_eq!(deliveries(&mut feeds), [(CAROL, 1, false)]);
    assert_eq!(feeds.held(), 2);
}

#[test]
fn an_own_entry_is_delivered_as_it_is_written_and_may_unblock_others() {
    let mut feeds = Feeds::default();
    offer(&mut feeds, BOB, 1, &[entry(BOB, 1, 9, &[(ALICE, 1)])]);
    assert_eq!(deliveries(&mut feeds), []);
    assert_eq!(feeds.append_own(ALICE, 7), 1);
    assert_eq!(feeds.delivered(), &clock(&[(ALICE, 1)]));
    assert_eq!(deliveries(&mut feeds), [(BOB, 1, false)]);
    assert_eq!(feeds.lamport(), 9);
}

#[test]
fn the_digest_changes_with_the_frontier() {
    let mut feeds = Feeds::default();
    let empty = feeds.digest();
    offer(&mut feeds, ALICE, 1, &texts(ALICE, 1, 1));
    let one = feeds.digest();
    assert_ne!(one, empty);
    assert_eq!(one, clock(&[(ALICE, 1)]).digest());
    feeds.append_own(BOB, 5);
    assert_eq!(feeds.digest(), clock(&[(ALICE, 1), (BOB, 1)]).digest());
}

#[test]
fn a_restored_feed_goes_on_where_it_was() {
    let mut feeds = Feeds::default();
    let held = vec![entry(ALICE, 3, 9, &[(BOB, 1)])];
    feeds.restore(ALICE, 3, hash(ALICE, 3), 9, held);
    assert_eq!((feeds.stored().at(&ALICE), feeds.delivered().at(&ALICE), feeds.held()), (3, 2, 1));
    assert_eq!(deliveries(&mut feeds), []);
    assert_eq!(offer(&mut feeds, ALICE, 4, &[entry(ALICE, 4, 10, &[])]), Offer::Taken);
    assert_eq!(offer(&mut feeds, BOB, 1, &texts(BOB, 1, 1)), Offer::Taken);
    assert_eq!(deliveries(&mut feeds), [(BOB, 1, true), (ALICE, 3, false), (ALICE, 4, false)]);
}

/// A conversation: in every step one of three authors, having seen some of what the others wrote, writes a run.
fn conversation() -> impl Strategy<Value = Vec<(PeerId, Seq, Vec<EntryFacts>)>> {
    let step = (0..3usize, 1..4u64, any::<[u8; 2]>());
    prop::collection::vec(step, 1..12).prop_map(|steps| {
        let authors = [ALICE, BOB, CAROL];
        let (mut written, mut lamports) = ([0u64; 3], [0u64; 3]);
        let mut seen = [[0u64; 3]; 3];
        let mut history: Vec<Vec<(u64, [u64; 3])>> = vec![Vec::new(); 3];
        let mut runs = Vec::new();
        for (author, length, looks) in steps {
            for (other, look) in (0..3).filter(|other| *other != author).zip(looks) {
                let upto = u64::from(look) % (written[other] + 1);
                // Whoever has seen an entry has seen its past.
                if let Some((lamport, past)) = upto.checked_sub(1).map(|at| history[other][at as usize]) {
                    seen[author][other] = seen[author][other].max(upto);
                    for third in (0..3).filter(|third| *third != author) {
                        seen[author][third] = seen[author][third].max(past[third]);
                    }
                    lamports[author] = lamports[author].max(lamport);
                }
            }
            let first = written[author] + 1;
            let mut entries = Vec::new();
            for seq in first..first + length {
                lamports[author] += 1;
                let others = (0..3).filter(|other| *other != author && seen[author][*other] > 0);
                let past: Vec<_> = others.map(|other| (authors[other], seen[author][other])).collect();
                entries.push(entry(authors[author], seq, lamports[author], &past));
                history[author].push((lamports[author], seen[author]));
            }
            written[author] += length;
            runs.push((authors[author], first, entries));
        }
        runs
    })
}

proptest! {
    #[test]
    fn every_order_of_arrival_delivers_the_same_entries_each_after_its_causal_past(
        (runs, order) in conversation().prop_flat_map(|runs| {
            let order = Just((0..runs.len()).collect::<Vec<_>>()).prop_shuffle();
            (Just(runs), order)
        })
    ) {
        let total: usize = runs.iter().map(|(_, _, entries)| entries.len()).sum();
        let mut feeds = Feeds::default();
        let mut shown = Vec::new();
        // What comes too early is offered again, as a fetch would.
        for _ in 0..runs.len() {
            for at in &order {
                let (author, first, entries) = &runs[*at];
                let previous = if *first == 1 { EntryHash::NONE } else { hash(*author, first - 1) };
                feeds.offer(*author, *first, previous, entries, &roster(), (1_000, 1_000));
                while let Some((author, seq, entry, late)) = feeds.next_deliverable() {
                    shown.push((author, seq, entry, late));
                }
            }
        }
        prop_assert_eq!(shown.len(), total);
        prop_assert_eq!(feeds.held(), 0);
        prop_assert_eq!(feeds.stored(), feeds.delivered());
        let mut before = VectorClock::new();
        let mut newest = None;
        for (author, seq, entry, late) in shown {
            prop_assert_eq!(seq, before.at(&author) + 1, "feeds are shown in their order");
            prop_assert!(before.covers(&entry.clock), "shown before its past");
            before.set(author, seq);
            let place = Some((entry.lamport, author, seq));
            prop_assert_eq!(late, place < newest, "late means: something later in the timeline is shown already");
            newest = newest.max(place);
        }
    }
}

#[test]
fn an_entry_whose_past_another_has_kept_to_itself_may_be_as_far_ahead_as_that_past_allows() {
    let mut feeds = Feeds::default();
    feeds.freeze(BOB);
    let far = |jumps: u64| entry(ALICE, 1, jumps * MAX_LAMPORT_JUMP + 1, &[(BOB, 2)]);
    assert_eq!(offer(&mut feeds, ALICE, 1, &[far(4)]), Offer::Taken);
    assert_eq!(deliveries(&mut feeds), []);

    let mut feeds = Feeds::default();
    feeds.freeze(BOB);
    assert_eq!(offer(&mut feeds, ALICE, 1, &[far(2)]), Offer::Taken);
    assert_eq!(deliveries(&mut feeds), [(ALICE, 1, false)]);
}

#[test]
fn what_rests_on_entries_that_cannot_be_had_drives_lamport_time_so_far_and_no_further() {
    let most = (1 + MAX_UNSEEN) * MAX_LAMPORT_JUMP;
    let rests_on = |seq: Seq, lamport: u64, bobs: Seq| entry(ALICE, seq, lamport, &[(BOB, bobs)]);
    let shown_of = |entries: &[EntryFacts]| {
        let mut feeds = Feeds::default();
        feeds.freeze(BOB);
        assert_eq!(offer(&mut feeds, ALICE, 1, entries), Offer::Taken);
        deliveries(&mut feeds).len()
    };
    assert_eq!(shown_of(&[rests_on(1, most, 1 << 43)]), 1, "so many may be unseen");
    assert_eq!(shown_of(&[rests_on(1, most + 1, 1 << 43)]), 0, "but no more");
    assert_eq!(shown_of(&[rests_on(1, most, 1 << 43), rests_on(2, 2 * most, 1 << 44)]), 1, "nor in two steps");
    let (two, three) = (2 * MAX_LAMPORT_JUMP, 4 * MAX_LAMPORT_JUMP);
    assert_eq!(shown_of(&[rests_on(1, two, 1), rests_on(2, three, 2)]), 2, "the second counts for itself");
    assert_eq!(shown_of(&[rests_on(1, two, 1), rests_on(2, three, 1)]), 1, "the first counts once");
}

#[test]
fn nothing_that_cannot_be_had_drives_lamport_time_to_its_end() {
    let end = MAX_LAMPORT_UNSEEN;
    for (from, lamport, shown) in [
        (end - 9, end - 9 + MAX_LAMPORT_JUMP, 1),
        (end - 9, end - 8 + MAX_LAMPORT_JUMP, 0),
        (end - 2 * MAX_LAMPORT_JUMP, end, 1),
        (end - 2 * MAX_LAMPORT_JUMP, end + 1, 0),
    ] {
        let mut feeds = Feeds::default();
        feeds.restore(CAROL, 1, hash(CAROL, 1), from, Vec::new());
        feeds.freeze(BOB);
        assert_eq!(offer(&mut feeds, ALICE, 1, &[entry(ALICE, 1, lamport, &[(BOB, 1 << 20)])]), Offer::Taken);
        assert_eq!(deliveries(&mut feeds).len(), shown, "from {from} to {lamport}");
    }
}

#[test]
fn a_feed_whose_lamport_time_does_not_grow_from_run_to_run_is_not_taken() {
    for (lamport, offered) in [(4, Offer::Refused), (5, Offer::Refused), (6, Offer::Taken)] {
        let next = [entry(ALICE, 2, lamport, &[])];
        let mut feeds = Feeds::default();
        assert_eq!(offer(&mut feeds, ALICE, 1, &[entry(ALICE, 1, 5, &[])]), Offer::Taken);
        assert_eq!(offer(&mut feeds, ALICE, 2, &next), offered, "after the one before");
        for held in [Vec::new(), vec![entry(ALICE, 1, 5, &[])]] {
            let mut feeds = Feeds::default();
            feeds.restore(ALICE, 1, hash(ALICE, 1), 5 * u64::from(held.is_empty()), held);
            assert_eq!(offer(&mut feeds, ALICE, 2, &next), offered, "after a restart");
        }
    }
}

#[test]
fn what_goes_on_where_this_node_has_written_itself_was_written_elsewhere() {
    let mut feeds = Feeds::default();
    feeds.append_own(ALICE, 1);
    assert_eq!(offer(&mut feeds, ALICE, 2, &texts(ALICE, 2, 2)), Offer::Fork(2));
    assert_eq!(feeds.stored(), &clock(&[(ALICE, 1)]));
}
