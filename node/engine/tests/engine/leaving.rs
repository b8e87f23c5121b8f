//! The way out.

use p2p_chat_engine::{
    CallError, Command, CommandError, DiscoveryAnswer, DiscoveryCall, Done, Event, Output, PeerCall, Phase, Refusal,
    Request, Response, Way, Write,
};
use p2p_chat_model::{Certificate, Epoch, Rank, RosterOp};

use crate::common::*;

const WAIT: u64 = 10_000;

fn leave_entry(node: &Node, seq: u64, lamport: u64, past: &[(Who, u64)]) -> [Output; 4] {
    let op = Some(RosterOp::Leave);
    [
        node.saved(|state| state.phase = Phase::Leaving),
        Output::Write(Write::Own { text: None, op, seq, lamport, wall_ms: WALL, clock: clock(past) }),
        event(Event::Delivered { author: node.who.peer(), seq }),
        event(Event::Left(node.who.peer())),
    ]
}

/// `who` turns out to have everything that is on disk here.
fn is_covered_by(node: &mut Node, who: Who) -> Vec<Output> {
    let outputs = node.tick_until(is_call(|call| matches!(call, PeerCall::Ping(_))));
    assert!(node.now < 2_000, "who leaves compares soon");
    for asked in callees(&outputs) {
        assert_ne!(asked, node.who.peer());
    }
    let standing = node.standing(None);
    let asked = if callees(&outputs).contains(&who.peer()) { call_to(&outputs, who) } else { node.id(1) };
    node.answer(asked, Ok(Response::Standing(standing)))
}

fn left(node: &Node, unreplicated: u64, closed: bool) -> [Output; 3] {
    [
        node.saved(|state| {
            state.phase = Phase::Left;
            state.view = None;
        }),
        event(Event::Stopped),
        Output::Done(node.last_command(), Ok(Done::Left { unreplicated, closed })),
    ]
}

#[test]
fn a_follower_signs_its_leave_and_waits_until_somebody_holds_it_before_it_asks_the_leader() {
    let mut node = Node::settled(BOB, ALICE, &[ALICE, BOB]);
    let outputs = node.command(Command::Leave(WAIT));
    let mut expected = leave_entry(&node, 1, 3, &[(ALICE, 2)]).to_vec();
    let push = PeerCall::Deliver { author: BOB.peer(), from: 1, upto: 1 };
    expected.push(node.call(1, ALICE, push, CONFIG.deliver_timeout_ms));
    assert_eq!(outputs, expected);

    let outputs = node.answer(node.id(1), Ok(Response::Acked(clock(&[(BOB, 1)]))));
    let expected = [
        Output::Write(Write::Ack { peer: ALICE.peer(), upto: 1, way: Way::Direct }),
        event(Event::Acked { peer: ALICE.peer(), upto: 1 }),
    ];
    assert_eq!(outputs, expected);
    let outputs = is_covered_by(&mut node, ALICE);
    assert_eq!(outputs, [node.call(1, ALICE, PeerCall::Leave, CONFIG.deliver_timeout_ms)]);

    let outputs = node.answer(node.id(1), Ok(Response::Left));
    let mut expected = left(&node, 0, false);
    expected[0] = node.saved(|state| {
        state.phase = Phase::Left;
        state.view = None;
        state.acked.set(ALICE.peer(), 1);
    });
    assert_eq!(outputs, expected);
    let outputs = node.command(Command::Send);
    assert_eq!(outputs, [Output::Done(node.last_command(), Err(CommandError::Left))]);
    let outputs = node.request(ALICE, Request::Leave);
    assert_eq!(outputs, [node.reply(Err(Refusal::NotHere))]);
}

#[test]
fn a_leave_whose_entry_reaches_nobody_ends_in_time_and_says_how_much_is_only_here() {
    let mut node = Node::settled(BOB, ALICE, &[ALICE, BOB]);
    node.command(Command::Leave(500));
    let (left_at, mut done) = (node.now, None);
    while done.is_none() {
        let outputs = node.next_tick();
        done = outputs.iter().find_map(|output| match output {
            Output::Done(_, result) => Some(result.clone()),
            _ => None,
        });
    }
    assert_eq!(done, Some(Ok(Done::Left { unreplicated: 1, closed: false })));
    assert_eq!(node.now, left_at + 500 + CONFIG.leave_timeout_ms);
}

#[test]
fn a_leader_hands_over_to_the_next_lowest_with_its_vote_and_then_leaves() {
    let mut node = Node::settled_with(ALICE, 0, CONFIG, &view(1, 5, ALICE, &[ALICE, BOB, CAROL]));
    let outputs = node.command(Command::Leave(WAIT));
    node.answer(call_to(&outputs, CAROL), Ok(Response::Acked(clock(&[(ALICE, 4)]))));
    let outputs = is_covered_by(&mut node, CAROL);
    let handed = view(2, 6, BOB, &[BOB, CAROL]);
    let call = PeerCall::UpdateView(handed, Some(ALICE.vote(2, BOB)));
    let expected = [
        node.saved(|state| {
            state.acked.set(CAROL.peer(), 4);
            state.vote = Some((Epoch(2), BOB.peer()));
        }),
        node.call(1, BOB, call, CONFIG.deliver_timeout_ms),
    ];
    assert_eq!(outputs, expected);
    let outputs = node.answer(node.id(1), Ok(Response::Taken(true, Some(BOB.hint(2)))));
    assert_eq!(outputs, left(&node, 0, false));
}

#[test]
fn a_successor_that_does_not_answer_is_passed_over_with_a_later_epoch() {
    let mut node = Node::settled_with(ALICE, 0, CONFIG, &view(1, 5, ALICE, &[ALICE, BOB, CAROL]));
    let outputs = node.command(Command::Leave(WAIT));
    node.answer(call_to(&outputs, CAROL), Ok(Response::Acked(clock(&[(ALICE, 4)]))));
    is_covered_by(&mut node, CAROL);
    let outputs = node.answer(node.id(1), unreachable());
    let handed = view(3, 7, CAROL, &[CAROL]);
    let call = PeerCall::UpdateView(handed, Some(ALICE.vote(3, CAROL)));
    assert!(outputs.contains(&node.call(2, CAROL, call, CONFIG.deliver_timeout_ms)), "{outputs:?}");
}

#[test]
fn the_successor_takes_office_before_it_answers_and_tells_everybody() {
    let mut node = Node::settled_with(BOB, 0, CONFIG, &view(1, 5, ALICE, &[ALICE, BOB, CAROL]));
    let handed = view(2, 6, BOB, &[BOB, CAROL]);
    let outputs = node.request(ALICE, Request::UpdateView(handed.clone(), Some(ALICE.vote(2, BOB))));
    let proof = certificate(Rank::Registered, vec![ALICE.vote(2, BOB)]);
    let coordinate = PeerCall::Coordinate(handed.clone(), proof.clone());
    let mut told = [ALICE, CAROL];
    told.sort_by_key(|who| who.peer());
    let expected = [
        event(Event::DroppedOut(ALICE.peer(), ALICE.node())),
        node.saved(|state| {
            state.epoch = Epoch(2);
            state.view = Some(handed);
            state.certificate = proof;
        }),
        event(Event::LeaderChanged { leader: BOB.peer(), node: BOB.node(), epoch: Epoch(2), after_ms: 0 }),
        node.call(1, told[0], coordinate.clone(), CONFIG.deliver_timeout_ms),
        node.call(2, told[1], coordinate, CONFIG.deliver_timeout_ms),
        node.reply(Ok(Response::Taken(true, Some(BOB.hint(2))))),
    ];
    assert_eq!(outputs, expected);
}

#[test]
fn a_handover_by_somebody_else_than_the_leader_is_refused() {
    let mut node = Node::settled_with(BOB, 0, CONFIG, &view(1, 5, ALICE, &[ALICE, BOB, CAROL]));
    let handed = view(2, 6, BOB, &[BOB, CAROL]);
    let outputs = node.request(CAROL, Request::UpdateView(handed, Some(CAROL.vote(2, BOB))));
    let refusal = Refusal::Invalid("the handover does not come from the leader, or not to this node");
    assert_eq!(outputs, [node.reply(Err(refusal))]);
}

#[test]
fn a_hand_over_that_another_leader_overtakes_becomes_a_leave_at_that_one() {
    let mut node = Node::settled_with(ALICE, 0, CONFIG, &view(1, 5, ALICE, &[ALICE, BOB, CAROL, DAVE]));
    let outputs = node.command(Command::Leave(WAIT));
    node.answer(call_to(&outputs, CAROL), Ok(Response::Acked(clock(&[(ALICE, 5)]))));
    let handed = call_to(&is_covered_by(&mut node, CAROL), BOB);
    let newer = view(7, 6, DAVE, &[ALICE, BOB, CAROL, DAVE]);
    let certificate = Certificate { rank: Rank::Registered, votes: Vec::new() };
    node.request(DAVE, Request::Coordinate(newer, certificate));
    let outputs = node.answer(handed, unreachable());
    assert_eq!(outputs, [node.call(1, DAVE, PeerCall::Leave, CONFIG.deliver_timeout_ms)]);
    assert_eq!(node.answer(node.id(1), Ok(Response::Left)).last(), left(&node, 0, false).last());
}

#[test]
fn the_last_one_out_closes_the_network() {
    let mut node = Node::settled(ALICE, ALICE, &[ALICE]);
    let outputs = node.command(Command::Leave(WAIT));
    let mut expected = leave_entry(&node, 2, 2, &[]).to_vec();
    let close = DiscoveryCall::Close { view: view(1, 5, ALICE, &[ALICE]), serial: WALL + 1 };
    expected.push(node.discover(1, 0, close));
    assert_eq!(outputs, expected);
    let outputs = node.answer(node.id(1), discovery(DiscoveryAnswer::Closed));
    assert_eq!(outputs, left(&node, 0, true));
}

#[test]
fn a_service_that_is_away_is_told_again_that_the_network_ends() {
    let mut node = Node::settled(ALICE, ALICE, &[ALICE]);
    node.command(Command::Leave(WAIT));
    assert_eq!(node.answer(node.id(1), unreachable()), []);
    node.pass(CONFIG.lease_retry_ms - 1);
    let close = DiscoveryCall::Close { view: view(1, 5, ALICE, &[ALICE]), serial: WALL + 2 };
    assert_eq!(node.next_tick(), [node.discover(1, 0, close)]);
    let outputs = node.answer(node.id(1), discovery(DiscoveryAnswer::Closed));
    assert_eq!(outputs, left(&node, 0, true));
}

#[test]
fn a_network_whose_record_is_another_leaders_is_left_and_not_called_closed() {
    let mut node = Node::settled(ALICE, ALICE, &[ALICE]);
    node.command(Command::Leave(WAIT));
    let outputs = node.answer(node.id(1), Err(CallError::NotMember("another leader is on record".to_owned())));
    assert_eq!(outputs, left(&node, 2, false));
}

#[test]
fn a_network_that_is_being_closed_is_not_registered_again() {
    let mut node = Node::settled(ALICE, ALICE, &[ALICE]);
    node.pass(CONFIG.lease_renewal_ms - 1);
    let outputs = node.next_tick();
    let renewal = discovery_call(&outputs);
    node.command(Command::Leave(WAIT));
    let outputs = node.answer(renewal, discovery(DiscoveryAnswer::Unknown));
    assert_eq!(outputs, []);
}

#[test]
fn the_leader_drops_out_who_signed_a_leave_and_tells_the_rest() {
    let mut node = Node::settled_with(ALICE, 0, CONFIG, &view(1, 5, ALICE, &[ALICE, BOB, CAROL]));
    let entry = op(BOB, 1, 9, &[(ALICE, 3)], RosterOp::Leave);
    let outputs = node.request(BOB, Request::Deliver(vec![run(1, BOB, 1, vec![entry.clone()])]));
    let next = view(1, 6, ALICE, &[ALICE, CAROL]);
    let [deliver, shown] = delivered(BOB, 1, entry, false);
    let expected = [
        Output::Write(Write::Run(p2p_chat_engine::RunToken(1))),
        deliver,
        shown,
        event(Event::Left(BOB.peer())),
        node.saved(|state| state.view = Some(next.clone())),
        node.call(1, CAROL, PeerCall::UpdateView(next, None), CONFIG.deliver_timeout_ms),
        node.reply(Ok(Response::Acked(clock(&[(BOB, 1)])))),
    ];
    assert_eq!(outputs, expected);
    assert!(!node.snapshot().roster.is_member(&BOB.peer()));
    let outputs = node.request(BOB, Request::Leave);
    assert_eq!(outputs, [node.reply(Err(Refusal::NotMember))]);
}

#[test]
fn a_follower_sends_the_leaver_to_the_leader() {
    let mut node = Node::settled(BOB, ALICE, &[ALICE, BOB, CAROL]);
    let outputs = node.request(CAROL, Request::Leave);
    assert_eq!(outputs, [node.reply(Ok(Response::NotLeader(ALICE.hint(1))))]);
}

#[test]
fn a_leave_while_joining_is_refused() {
    let log = vec![founding_log(&[ALICE, BOB])];
    let mut state = durable(&view(1, 5, ALICE, &[ALICE, BOB]));
    state.own_floor = 3;
    let (mut node, _) = Node::start(BOB, 0, p2p_chat_engine::Start::Resume { durable: state, log });
    let outputs = node.command(Command::Leave(WAIT));
    assert_eq!(outputs, [Output::Done(node.last_command(), Err(CommandError::Busy))]);
}

#[test]
fn an_answer_to_a_rejoin_does_not_call_a_leave_off() {
    let log = vec![founding_log(&[ALICE, BOB])];
    let followed = view(1, 5, ALICE, &[ALICE, BOB]);
    let (mut node, outputs) = Node::start(BOB, 0, p2p_chat_engine::Start::Resume { durable: durable(&followed), log });
    let rejoin = call_to(&outputs, ALICE);
    node.command(Command::Leave(WAIT));
    let frontier = clock(&[(ALICE, 2)]);
    let admitted = Response::Admitted { view: followed, admission: (ALICE.peer(), 2), frontier };
    node.answer(rejoin, Ok(admitted));
    assert_eq!(node.snapshot().phase, Phase::Leaving);
    let outputs = node.command(Command::Send);
    assert_eq!(outputs, [Output::Done(node.last_command(), Err(CommandError::Left))]);
}

#[test]
fn a_refused_leave_ends_all_the_same_because_the_signed_entry_counts() {
    let mut node = Node::settled(BOB, ALICE, &[ALICE, BOB]);
    node.command(Command::Leave(WAIT));
    node.answer(node.id(1), Ok(Response::Acked(clock(&[(BOB, 1)]))));
    is_covered_by(&mut node, ALICE);
    node.answer(node.id(1), Err(CallError::NotMember("you have left".to_owned())));
    assert_eq!(node.snapshot().phase, Phase::Left);
}
