//! Taking in what others wrote, and showing it in causal order.

use p2p_chat_engine::{
    Config, EntryFacts, Event, Output, PeerCall, Refusal, Request, Response, RunFacts, RunToken, Write,
};

use crate::common::*;

fn bob_with(config: Config) -> Node {
    Node::settled_with(BOB, 0, config, &view(1, 5, ALICE, &[ALICE, BOB, CAROL, DAVE]))
}

fn bob() -> Node {
    bob_with(CONFIG)
}

fn one(token: u64, author: Who, seq: u64, entry: EntryFacts) -> Request {
    Request::Deliver(vec![run(token, author, seq, vec![entry])])
}

fn stored(token: u64) -> Output {
    Output::Write(Write::Run(RunToken(token)))
}

fn acked(node: &Node, positions: &[(Who, u64)]) -> Output {
    node.reply(Ok(Response::Acked(clock(positions))))
}

/// bob tells `to` what he has, to learn what comes before.
fn compares(node: &Node, to: Who) -> Output {
    let frontier = node.snapshot().frontier;
    node.call(1, to, PeerCall::Ping(node.standing(Some(frontier))), CONFIG.ping_timeout_ms)
}

#[test]
fn an_entry_is_stored_then_shown_then_acknowledged() {
    let mut node = bob();
    let entry = text(CAROL, 1, 9, &[(ALICE, 4)]);
    let outputs = node.request(CAROL, one(5, CAROL, 1, entry.clone()));
    let [write, shown] = delivered(CAROL, 1, entry, false);
    assert_eq!(outputs, [stored(5), write, shown, acked(&node, &[(CAROL, 1)])]);
}

#[test]
fn who_wrote_what_is_held_back_is_asked_soon_for_what_comes_before_it() {
    let mut node = bob();
    node.pass(CONFIG.missing_retry_ms);
    let began = node.now;
    node.request(CAROL, one(5, CAROL, 1, text(CAROL, 1, 12, &[(ALICE, 4), (DAVE, 1)])));
    node.tick_until(
        |output| matches!(output, Output::Call { peer, call: PeerCall::Ping(_), .. } if *peer == CAROL.peer()),
    );
    assert!(node.now - began <= CONFIG.missing_retry_ms, "after {} ms", node.now - began);
}

#[test]
fn an_entry_whose_past_is_missing_is_acknowledged_at_once_and_shown_after_its_past() {
    let mut node = bob();
    let reply = text(CAROL, 1, 12, &[(ALICE, 4), (DAVE, 1)]);
    let outputs = node.request(CAROL, one(5, CAROL, 1, reply.clone()));
    assert_eq!(outputs, [stored(5), acked(&node, &[(CAROL, 1)])]);
    assert_eq!(node.snapshot().held, 1);
    let question = text(DAVE, 1, 11, &[]);
    let outputs = node.request(DAVE, one(6, DAVE, 1, question.clone()));
    let mut expected = vec![stored(6)];
    expected.extend(delivered(DAVE, 1, question, false));
    expected.extend(delivered(CAROL, 1, reply, false));
    expected.push(acked(&node, &[(DAVE, 1)]));
    assert_eq!(outputs, expected);
}

#[test]
fn a_concurrent_entry_with_an_earlier_place_is_marked_as_late() {
    let mut node = bob();
    node.request(CAROL, one(1, CAROL, 1, text(CAROL, 1, 20, &[])));
    let entry = text(DAVE, 1, 10, &[]);
    let outputs = node.request(DAVE, one(2, DAVE, 1, entry.clone()));
    assert_eq!(outputs[1], delivered(DAVE, 1, entry, true)[0]);
}

#[test]
fn a_gap_in_a_feed_is_not_stored_but_asked_about() {
    let mut node = bob();
    let outputs = node.request(CAROL, one(1, CAROL, 3, text(CAROL, 3, 9, &[])));
    assert_eq!(outputs, [compares(&node, CAROL), acked(&node, &[])]);
}

#[test]
fn what_is_stored_already_is_acknowledged_again_and_nothing_else() {
    let mut node = bob();
    node.request(CAROL, one(1, CAROL, 1, text(CAROL, 1, 9, &[])));
    let outputs = node.request(CAROL, one(2, CAROL, 1, text(CAROL, 1, 9, &[])));
    assert_eq!(outputs, [acked(&node, &[(CAROL, 1)])]);
}

#[test]
fn entries_of_somebody_nobody_admitted_are_not_stored() {
    let mut node = bob();
    let outputs = node.request(CAROL, one(1, ERIN, 1, text(ERIN, 1, 9, &[])));
    assert_eq!(outputs, [compares(&node, CAROL), acked(&node, &[])]);
    let outputs = node.request(ERIN, one(1, ERIN, 1, text(ERIN, 1, 9, &[])));
    assert_eq!(outputs, [node.reply(Err(Refusal::NotMember))]);
}

#[test]
fn an_entry_that_names_somebody_nobody_admitted_waits_for_the_admission() {
    let mut node = bob();
    let outputs = node.request(CAROL, one(1, CAROL, 1, text(CAROL, 1, 9, &[(ERIN, 1)])));
    assert!(!outputs.contains(&stored(1)), "{outputs:?}");
    let runs = vec![
        run(2, ALICE, 5, vec![admit(5, ERIN)]),
        run(3, ERIN, 1, vec![text(ERIN, 1, 8, &[(ALICE, 5)])]),
        run(4, CAROL, 1, vec![text(CAROL, 1, 9, &[(ERIN, 1)])]),
    ];
    let outputs = node.request(CAROL, Request::Deliver(runs));
    assert_eq!(outputs.last(), Some(&acked(&node, &[(ALICE, 5), (ERIN, 1), (CAROL, 1)])));
    assert_eq!(node.snapshot().held, 0);
}

#[test]
fn two_entries_under_one_number_freeze_the_feed_before_the_second_and_are_told_once() {
    let mut node = bob();
    node.request(CAROL, one(1, CAROL, 1, text(CAROL, 1, 9, &[])));
    let other = EntryFacts { hash: hash(CAROL, 1, 1), ..text(CAROL, 1, 9, &[]) };
    let outputs = node.request(DAVE, one(2, CAROL, 1, other.clone()));
    let proof = Output::Write(Write::Fork(RunToken(2)));
    let frozen = node.saved(|state| state.frozen = [CAROL.peer()].into());
    let told = event(Event::Equivocation { author: CAROL.peer(), seq: 1 });
    assert_eq!(outputs, [proof, frozen, told, acked(&node, &[(CAROL, 1)])]);
    let outputs = node.request(DAVE, one(3, CAROL, 1, other));
    assert_eq!(outputs, [acked(&node, &[(CAROL, 1)])]);
    let outputs = node.request(CAROL, one(4, CAROL, 2, text(CAROL, 2, 10, &[])));
    assert_eq!(outputs, [acked(&node, &[(CAROL, 1)])]);
}

#[test]
fn a_branch_that_leaves_the_feed_further_back_freezes_it_as_well() {
    let mut node = bob();
    node.request(CAROL, one(1, CAROL, 1, text(CAROL, 1, 9, &[])));
    let branch = RunFacts { previous: hash(CAROL, 1, 1), ..run(2, CAROL, 2, vec![text(CAROL, 2, 10, &[])]) };
    let outputs = node.request(DAVE, Request::Deliver(vec![branch]));
    assert!(outputs.contains(&Output::Write(Write::Fork(RunToken(2)))));
    assert!(outputs.contains(&event(Event::Equivocation { author: CAROL.peer(), seq: 2 })));
}

#[test]
fn what_waits_is_bounded_per_author_and_in_all_but_what_can_be_shown_is_always_taken() {
    let mut node = bob_with(Config { max_held_per_feed: 2, max_held: 3, ..CONFIG });
    let waiting = |author, seq| text(author, seq, 20 + seq, &[(ALICE, 9)]);
    node.request(CAROL, one(1, CAROL, 1, waiting(CAROL, 1)));
    node.request(CAROL, one(2, CAROL, 2, waiting(CAROL, 2)));
    let outputs = node.request(CAROL, one(3, CAROL, 3, waiting(CAROL, 3)));
    assert_eq!(outputs, [acked(&node, &[(CAROL, 2)])], "two of carol's wait");
    node.request(DAVE, one(4, DAVE, 1, waiting(DAVE, 1)));
    let outputs = node.request(DAVE, one(5, DAVE, 2, waiting(DAVE, 2)));
    assert_eq!(outputs, [acked(&node, &[(DAVE, 1)])], "three wait in all");
    let outputs = node.request(ALICE, one(6, ALICE, 5, text(ALICE, 5, 30, &[])));
    assert_eq!(outputs[0], stored(6));
    assert_eq!(node.snapshot().held, 3);
}

#[test]
fn who_is_admitted_in_an_entry_that_waits_may_already_write() {
    let mut node = bob();
    let admission = EntryFacts { clock: clock(&[(DAVE, 1)]), ..admit(5, ERIN) };
    node.request(ALICE, one(1, ALICE, 5, admission));
    let outputs = node.request(CAROL, one(2, ERIN, 1, text(ERIN, 1, 9, &[(ALICE, 5)])));
    assert_eq!(outputs, [stored(2), acked(&node, &[(ERIN, 1)])]);
    assert_eq!(node.snapshot().held, 2);
    node.request(DAVE, one(3, DAVE, 1, text(DAVE, 1, 4, &[])));
    assert_eq!(node.snapshot().held, 0);
    assert!(node.snapshot().roster.is_member(&ERIN.peer()));
}

#[test]
fn once_an_author_has_contradicted_itself_whoever_others_vouch_for_counts_as_admitted() {
    let mut node = bob();
    node.request(CAROL, one(1, CAROL, 1, text(CAROL, 1, 9, &[])));
    let other = EntryFacts { hash: hash(CAROL, 1, 1), ..text(CAROL, 1, 9, &[]) };
    node.request(DAVE, one(2, CAROL, 1, other));
    let unknown = one(3, ERIN, 1, text(ERIN, 1, 9, &[]));
    assert!(!node.request(DAVE, unknown.clone()).contains(&stored(3)));
    // carol's entry that admits erin never arrives here. dave has it, and writes after erin.
    let outputs = node.request(DAVE, one(4, DAVE, 1, text(DAVE, 1, 10, &[(ERIN, 1)])));
    assert!(outputs.contains(&stored(4)), "{outputs:?}");
    assert!(node.request(DAVE, unknown).contains(&stored(3)));
    assert_eq!(node.snapshot().held, 0);
}
