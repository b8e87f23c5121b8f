//! Finding and fetching what is missing.

use std::collections::BTreeMap;

use p2p_chat_engine::{
    CallId, Command, Done, Event, Input, Output, PeerCall, Request, Response, RunToken, Standing, Write,
};
use p2p_chat_model::VectorClock;

use crate::common::*;

fn bob() -> Node {
    Node::settled_with(BOB, 0, CONFIG, &view(1, 5, ALICE, &[ALICE, BOB, CAROL, DAVE]))
}

/// `from` pings and shows that it has more.
fn shows(node: &mut Node, from: Who, frontier: &VectorClock) -> Vec<Output> {
    let standing = Standing { digest: 0, frontier: Some(frontier.clone()), ..node.standing(None) };
    node.request(from, Request::Ping(standing))
}

fn fetch_call(outputs: &[Output]) -> Option<CallId> {
    outputs.iter().find_map(|output| match output {
        Output::Call { id, call: PeerCall::Fetch(_), .. } => Some(*id),
        _ => None,
    })
}

/// More missing entries than one hand-over may bring.
const MANY: u64 = CONFIG.window_entries + 1;

fn fetch(node: &Node, nth: u64, from: Who) -> Output {
    let have = node.snapshot().frontier;
    node.call(nth, from, PeerCall::Fetch(have), CONFIG.fetch_timeout_ms)
}

#[test]
fn a_few_missing_entries_are_fetched_after_a_grace_in_which_their_author_may_bring_them() {
    let mut node = bob();
    let outputs = shows(&mut node, CAROL, &clock(&[(ALICE, 4), (DAVE, 2)]));
    assert_eq!(outputs.len(), 1, "only the answer to the ping: {outputs:?}");
    assert_eq!(node.snapshot().missing, clock(&[(DAVE, 2)]));
    let before = node.now;
    let outputs = node.next_tick();
    assert_eq!(outputs, [fetch(&node, 1, CAROL)]);
    assert_eq!(node.now, before + CONFIG.fetch_grace_ms);
}

#[test]
fn what_its_author_brings_in_time_is_not_fetched() {
    let mut node = bob();
    shows(&mut node, CAROL, &clock(&[(ALICE, 4), (DAVE, 1)]));
    node.request(DAVE, Request::Deliver(vec![run(1, DAVE, 1, vec![text(DAVE, 1, 9, &[])])]));
    assert_eq!(node.pass(CONFIG.fetch_grace_ms), []);
}

#[test]
fn much_is_fetched_at_once_and_said() {
    let mut node = bob();
    let outputs = shows(&mut node, CAROL, &clock(&[(ALICE, 4), (DAVE, 500)]));
    let expected = [fetch(&node, 1, CAROL), event(Event::CatchingUp { missing: 500, from: CAROL.peer() })];
    assert_eq!(outputs[1..], expected);
}

#[test]
fn a_chunk_is_stored_as_it_comes_and_the_end_is_told() {
    let mut node = bob();
    let outputs = shows(&mut node, CAROL, &clock(&[(ALICE, 4), (DAVE, MANY)]));
    let call = fetch_call(&outputs).unwrap();
    let chunk = |token, first: u64, last: u64| {
        run(token, DAVE, first, (first..=last).map(|seq| text(DAVE, seq, 10 + seq, &[])).collect())
    };
    let outputs = node.step(Input::Fetched(call, vec![chunk(1, 1, MANY - 1)]));
    assert_eq!(outputs[0], Output::Write(Write::Run(RunToken(1))));
    assert_eq!(outputs.len() as u64, 1 + 2 * (MANY - 1));
    node.step(Input::Fetched(call, vec![chunk(2, MANY, MANY)]));
    let outputs = node.answer(call, Ok(Response::FetchDone));
    assert_eq!(outputs, [event(Event::CaughtUp)]);
    assert!(node.snapshot().missing.is_empty());
}

#[test]
fn being_caught_up_is_told_even_if_the_authors_brought_the_rest_themselves() {
    let mut node = bob();
    let frontier = clock(&[(ALICE, 4), (DAVE, MANY)]);
    let outputs = shows(&mut node, CAROL, &frontier);
    let call = fetch_call(&outputs).unwrap();
    assert_eq!(node.answer(call, unreachable()), []);
    let entries = |first: u64, last: u64| (first..=last).map(|seq| text(DAVE, seq, 10 + seq, &[])).collect();
    let runs = vec![run(1, DAVE, 1, entries(1, MANY - 1)), run(2, DAVE, MANY, entries(MANY, MANY))];
    node.request(DAVE, Request::Deliver(runs));
    let outputs = shows(&mut node, CAROL, &frontier);
    assert_eq!(outputs.last(), Some(&event(Event::CaughtUp)));
}

#[test]
fn a_source_that_fails_is_followed_by_the_next_one() {
    let mut node = bob();
    shows(&mut node, CAROL, &clock(&[(ALICE, 4), (DAVE, 3)]));
    shows(&mut node, DAVE, &clock(&[(ALICE, 4), (DAVE, 2)]));
    let outputs = node.pass(CONFIG.fetch_grace_ms);
    assert_eq!(outputs, [fetch(&node, 1, CAROL)]);
    let outputs = node.answer(node.id(1), unreachable());
    assert_eq!(outputs, [fetch(&node, 1, DAVE)]);
}

#[test]
fn the_member_that_is_asked_is_known_until_it_has_brought_what_it_has() {
    let mut node = bob();
    shows(&mut node, CAROL, &clock(&[(ALICE, 5), (DAVE, 3)]));
    shows(&mut node, DAVE, &clock(&[(ALICE, 6)]));
    assert_eq!(node.snapshot().asking, BTreeMap::new(), "the authors may still bring it");
    let call = fetch_call(&node.pass(CONFIG.fetch_grace_ms)).unwrap();
    let (alice, carol, dave) = (ALICE.peer(), CAROL.peer(), DAVE.peer());
    assert_eq!(node.snapshot().asking, BTreeMap::from([(alice, carol), (dave, carol)]));
    node.step(Input::Fetched(call, vec![run(1, ALICE, 5, vec![text(ALICE, 5, 9, &[])])]));
    assert_eq!(node.snapshot().asking, BTreeMap::from([(dave, carol)]), "of alice carol has no more");
    node.answer(call, unreachable());
    assert_eq!(node.snapshot().asking, BTreeMap::from([(alice, dave)]), "and so the next one is asked");
}

#[test]
fn a_source_that_does_not_have_what_it_claims_is_not_asked_again_at_once_whatever_else_arrives() {
    let mut node = bob();
    shows(&mut node, CAROL, &clock(&[(ALICE, 4), (DAVE, 3)]));
    node.pass(CONFIG.fetch_grace_ms);
    let call = node.id(1);
    node.request(ALICE, Request::Deliver(vec![run(1, ALICE, 5, vec![text(ALICE, 5, 9, &[])])]));
    assert_eq!(node.answer(call, Ok(Response::FetchDone)), []);
    assert_eq!(node.snapshot().missing, VectorClock::new());
}

#[test]
fn a_fetch_is_answered_with_what_is_on_disk_and_the_caller_s_frontier_is_looked_at() {
    let mut node = bob();
    let have = clock(&[(ALICE, 2), (DAVE, MANY)]);
    let outputs = node.request(DAVE, Request::Fetch(have.clone()));
    let upto = clock(&[(ALICE, 4)]);
    assert_eq!(outputs[0], node.reply(Ok(Response::Serve { have, upto })));
    assert_eq!(outputs[1], fetch(&node, 1, DAVE));
}

#[test]
fn own_entries_that_are_only_elsewhere_come_back_before_anything_new_is_written() {
    let mut node = bob();
    let outputs = shows(&mut node, CAROL, &clock(&[(ALICE, 4), (BOB, 2)]));
    let call = fetch_call(&outputs).expect("they are fetched at once");
    assert!(!node.snapshot().writable);
    assert_eq!(node.command(Command::Send), []);
    let entries = vec![text(BOB, 1, 30, &[]), text(BOB, 2, 31, &[])];
    let outputs = node.step(Input::Fetched(call, vec![run(1, BOB, 1, entries.clone())]));
    let mut expected = vec![Output::Write(Write::Run(RunToken(1)))];
    expected.extend(delivered(BOB, 1, entries[0].clone(), false));
    expected.extend(delivered(BOB, 2, entries[1].clone(), false));
    let (text, op, clock) = (Some(node.last_command()), None, clock(&[(ALICE, 4)]));
    expected.push(Output::Write(Write::Own { text, op, seq: 3, lamport: 32, wall_ms: WALL, clock }));
    expected.push(event(Event::Delivered { author: BOB.peer(), seq: 3 }));
    expected.push(Output::Done(node.last_command(), Ok(Done::Sent { seq: 3, lamport: 32 })));
    assert_eq!(outputs[..expected.len()], expected);
}

#[test]
fn texts_that_wait_for_the_own_feed_are_bounded() {
    let mut node = bob();
    shows(&mut node, CAROL, &clock(&[(ALICE, 4), (BOB, 2)]));
    for _ in 0..CONFIG.max_waiting_texts {
        assert_eq!(node.command(Command::Send), []);
    }
    let outputs = node.command(Command::Send);
    assert_eq!(outputs, [Output::Done(node.last_command(), Err(p2p_chat_engine::CommandError::Busy))]);
}

#[test]
fn frontiers_are_compared_with_one_member_now_and_then() {
    let mut node = bob();
    let before = node.now;
    let mut compared = None;
    while compared.is_none() {
        let outputs = node.pass(500);
        compared = outputs.iter().find_map(|output| match output {
            Output::Call { call: PeerCall::Ping(standing), .. } => standing.frontier.clone(),
            _ => None,
        });
        let standing = node.standing(None);
        node.request(ALICE, Request::Ping(standing));
    }
    assert_eq!(compared, Some(clock(&[(ALICE, 4)])));
    assert!(node.now - before <= CONFIG.anti_entropy_ms + 500);
}

#[test]
fn who_wrote_what_is_held_back_is_asked_for_what_it_rests_on() {
    let mut node = bob();
    let rests_on_dave = run(1, CAROL, 1, vec![text(CAROL, 1, 9, &[(DAVE, 1)])]);
    node.request(CAROL, Request::Deliver(vec![rests_on_dave]));
    let end = node.now + 2 * CONFIG.anti_entropy_ms;
    let mut asked = BTreeMap::new();
    while node.now < end {
        for output in node.pass(500) {
            let Output::Call { id, peer, call: PeerCall::Ping(standing), .. } = output else { continue };
            if standing.frontier.is_some() {
                *asked.entry(peer).or_insert(0) += 1;
            }
            let standing = node.standing(None);
            node.answer(id, Ok(Response::Standing(standing)));
        }
        let standing = node.standing(None);
        node.request(ALICE, Request::Ping(standing));
    }
    // Each time; the others by chance only.
    let rounds = (CONFIG.anti_entropy_ms / CONFIG.missing_retry_ms) as i32;
    assert!(asked[&CAROL.peer()] >= rounds, "{asked:?}");
    assert!(asked.len() > 1, "not only carol: {asked:?}");
}

#[test]
fn a_frontier_that_claims_more_than_can_be_counted_is_borne() {
    let mut bob = Node::settled(BOB, ALICE, &[ALICE, BOB, CAROL]);
    let claimed = clock(&[(ALICE, u64::MAX), (CAROL, u64::MAX)]);
    let standing = bob.standing(Some(claimed));
    let outputs = bob.request(CAROL, Request::Ping(standing));
    assert!(outputs.iter().any(|output| matches!(output, Output::Reply(_, Ok(Response::Standing(_))))), "{outputs:?}");
}
