//! Finding and fetching what is missing.

use std::collections::BTreeMap;

use p2p_chat_engine::{
    CallId, Command, Done, Durable, Event, Input, Output, PeerCall, Request, RequestId, Response, RunFacts, RunToken,
    Standing, Way, Write,
};
use p2p_chat_model::{EntryHash, PeerId, RosterOp, VectorClock, limits::MAX_MEMBERS};

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
        Output::Call { id, call: PeerCall::Fetch(..), .. } => Some(*id),
        _ => None,
    })
}

/// More missing entries than one hand-over may bring.
const MANY: u64 = CONFIG.window_entries + 1;

fn fetch(node: &Node, nth: u64, from: Who) -> Output {
    let have = node.snapshot().frontier;
    node.call(nth, from, PeerCall::Fetch(have, peers(&[])), CONFIG.fetch_timeout_ms)
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
fn a_source_that_brings_little_and_never_ends_gives_the_others_a_turn() {
    let mut node = bob();
    let outputs = shows(&mut node, CAROL, &clock(&[(ALICE, 4), (CAROL, 1 << 40)]));
    let (endless, end) = (fetch_call(&outputs).unwrap(), node.now + CONFIG.fetch_turn_ms);
    shows(&mut node, DAVE, &clock(&[(ALICE, 4), (DAVE, 1)]));
    let bit = |seq| vec![run(seq, CAROL, seq, vec![text(CAROL, seq, 10 + seq, &[])])];
    let (mut asked, mut seq) = (Vec::new(), 0);
    while node.now < end {
        seq += 1;
        assert!(!node.step(Input::Fetched(endless, bit(seq))).is_empty(), "it is taken");
        asked.extend(node.pass(CONFIG.fetch_timeout_ms - 1));
    }
    let from_dave = fetch_call(&asked).expect("somebody else is asked");
    assert_eq!(
        call_to(&asked[asked.iter().position(is_call(|call| matches!(call, PeerCall::Fetch(..)))).unwrap()..], DAVE),
        from_dave
    );
    assert!(!node.engine.expects(endless) && node.engine.expects(from_dave));
    assert_eq!(node.step(Input::Fetched(endless, bit(seq + 1))), [], "nobody wants it any more");
    node.step(Input::Fetched(from_dave, vec![run(99, DAVE, 1, vec![text(DAVE, 1, 9, &[])])]));
    let outputs = node.answer(from_dave, Ok(Response::FetchDone));
    assert_eq!(outputs, [fetch(&node, 1, CAROL)], "its turn again");
}

#[test]
fn a_source_that_never_has_what_it_says_comes_after_the_others_however_often_it_ends() {
    let mut node = bob();
    let outputs = shows(&mut node, CAROL, &clock(&[(ALICE, 4), (CAROL, 1 << 40)]));
    let call = fetch_call(&outputs).unwrap();
    shows(&mut node, DAVE, &clock(&[(ALICE, 4), (DAVE, 1)]));
    node.step(Input::Fetched(call, vec![run(1, CAROL, 1, vec![text(CAROL, 1, 10, &[])])]));
    assert_eq!(node.answer(call, Ok(Response::FetchDone)), [fetch(&node, 1, DAVE)]);
}

#[test]
fn a_claim_to_the_own_feed_that_is_made_again_and_again_holds_up_writing_for_so_long_in_all() {
    let mut node = bob();
    let (step, mut held_up) = (CONFIG.own_claim_ms / 5, 0);
    for _ in 0..20 {
        shows(&mut node, CAROL, &clock(&[(ALICE, 4), (BOB, 2)]));
        node.pass(step);
        held_up += if node.snapshot().writable { 0 } else { step };
        shows(&mut node, CAROL, &clock(&[(ALICE, 4)]));
        assert!(node.snapshot().writable, "it is not claimed now");
        node.pass(step);
    }
    assert_eq!(held_up, CONFIG.own_claim_ms);
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
    let outputs = node.request(DAVE, Request::Fetch(have.clone(), peers(&[])));
    assert_eq!(outputs[0], node.reply(Ok(Response::Serve(have))));
    assert_eq!(outputs[1], fetch(&node, 1, DAVE));
}

#[test]
fn nothing_is_fetched_of_who_has_contradicted_itself() {
    let mut node = bob();
    let mut twice = text(ALICE, 4, 30, &[]);
    twice.hash = hash(ALICE, 4, 1);
    node.request(CAROL, Request::Deliver(vec![run(9, ALICE, 4, vec![twice])]));
    assert_eq!(node.snapshot().frozen, peers(&[ALICE]));
    let outputs = shows(&mut node, CAROL, &clock(&[(ALICE, MANY), (CAROL, MANY)]));
    let wanted = PeerCall::Fetch(node.snapshot().frontier, peers(&[ALICE]));
    assert_eq!(outputs[1], node.call(1, CAROL, wanted, CONFIG.fetch_timeout_ms));
}

#[test]
fn what_the_caller_of_a_fetch_does_not_want_is_left_out() {
    let mut node = bob();
    let outputs = node.request(DAVE, Request::Fetch(clock(&[(ALICE, 2)]), peers(&[ALICE, CAROL])));
    assert_eq!(outputs[0], node.reply(Ok(Response::Serve(clock(&[(ALICE, 4)])))));
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
    // Whoever gives it back has it.
    expected.push(Output::Write(Write::Ack { peer: CAROL.peer(), upto: 2, way: Way::Fetched }));
    expected.push(event(Event::Acked { peer: CAROL.peer(), upto: 2 }));
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

#[test]
fn no_more_feeds_and_acks_are_kept_than_a_clock_may_name() {
    let many = MAX_MEMBERS as u64 + 9;
    let stranger = |number: u64| {
        let mut bytes = [0xee; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        (PeerId::new(bytes), EntryHash::new(bytes))
    };
    let admit = |number: u64| RosterOp::Admit { peer: stranger(number).0, name: ERIN.name(), past: 0 };
    let mut node = bob();
    let admissions = (1..=many).map(|number| op(ALICE, 4 + number, 4 + number, &[], admit(number))).collect();
    node.request(ALICE, Request::Deliver(vec![run(0, ALICE, 5, admissions)]));
    for number in 1..=many {
        let (author, hash) = stranger(number);
        let entries = vec![p2p_chat_engine::EntryFacts { hash, ..text(ERIN, 1, 2 * many, &[]) }];
        let (token, first, previous) = (RunToken(number), 1, EntryHash::NONE);
        let run = RunFacts { token, author, first, previous, entries };
        node.step(Input::Request(RequestId(number), author, Request::Deliver(vec![run])));
    }
    assert_eq!(node.snapshot().frontier.len(), MAX_MEMBERS - 1, "one is left for its own feed");
    node.command(Command::Send);
    assert_eq!(node.snapshot().frontier.len(), MAX_MEMBERS);
    for number in 1..=many {
        let standing = Standing { digest: 0, frontier: Some(clock(&[(BOB, 1)])), ..node.standing(None) };
        node.step(Input::Request(RequestId(many + number), stranger(number).0, Request::Ping(standing)));
    }
    node.command(Command::Leave { wait_ms: 0, force: true });
    let state = node.on_disk();
    assert_eq!(state.acked.len(), MAX_MEMBERS);
    assert_eq!(Durable::decode(&state.encode()).as_ref(), Ok(state));
}
