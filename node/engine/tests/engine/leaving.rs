//! The way out.

use p2p_chat_engine::{
    CallError, Command, CommandError, DiscoveryAnswer, DiscoveryCall, Done, Event, Output, PeerCall, Phase, Refusal,
    Request, Response, Standing, Way, Write,
};
use p2p_chat_model::{Certificate, Epoch, Rank, RosterOp};

use crate::common::*;

const LEAVE: Command = Command::Leave { wait_ms: 10_000, force: false };

fn leave_entry(node: &Node, seq: u64, lamport: u64, past: &[(Who, u64)]) -> [Output; 4] {
    let op = Some(RosterOp::Leave);
    [
        node.saved(|state| state.phase = Phase::Leaving),
        Output::Write(Write::Own { text: None, op, seq, lamport, wall_ms: WALL, clock: clock(past) }),
        event(Event::Delivered { author: node.who.peer(), seq }),
        event(Event::Left(node.who.peer())),
    ]
}

/// The node is told to leave, and at once asks somebody what it has. That turns out to be everything. What the node does
/// then: it signs its leave.
fn is_covered(node: &mut Node) -> Vec<Output> {
    let outputs = node.command(LEAVE);
    assert!(matches!(outputs[..], [Output::Call { call: PeerCall::Ping(_), .. }]), "{outputs:?}");
    let standing = node.standing(None);
    node.answer(node.id(1), Ok(Response::Standing(standing)))
}

/// The same, and `who` is handed the signed leave as entry `seq`. What the node does then.
fn is_let_go_by(node: &mut Node, who: Who, seq: u64) -> Vec<Output> {
    let outputs = is_covered(node);
    let acked = Response::Acked(clock(&[(node.who, seq)]));
    let outputs = node.answer(call_to(&outputs, who), Ok(acked));
    let expected = [
        Output::Write(Write::Ack { peer: who.peer(), upto: seq, way: Way::Direct }),
        event(Event::Acked { peer: who.peer(), upto: seq }),
    ];
    assert_eq!(outputs[..2], expected);
    outputs[2..].to_vec()
}

/// The node wants to leave, and for some time `who` says whenever it is asked where it stands; the others don't answer.
fn says(node: &mut Node, who: Who, standing: &Standing) {
    let (mut outputs, until) = (node.command(LEAVE), node.now + 4_000);
    while node.now < until && node.snapshot().phase == Phase::Joined {
        for output in std::mem::take(&mut outputs) {
            if let Output::Call { id, peer, call: PeerCall::Ping(_), .. } = output {
                let answer = Ok(Response::Standing(standing.clone()));
                outputs.extend(node.answer(id, if peer == who.peer() { answer } else { unreachable() }));
            }
        }
        outputs.extend(node.next_tick());
    }
}

/// What becomes of the command, from deadline to deadline, if nobody answers anything.
fn unanswered(node: &mut Node) -> Result<Done, CommandError> {
    loop {
        let outputs = node.next_tick();
        let done = outputs.into_iter().find_map(|output| match output {
            Output::Done(_, result) => Some(result),
            _ => None,
        });
        if let Some(done) = done {
            return done;
        }
    }
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
fn a_follower_signs_its_leave_once_somebody_has_everything_and_asks_the_leader_once_somebody_has_that() {
    let mut node = Node::settled(BOB, ALICE, &[ALICE, BOB]);
    let outputs = is_covered(&mut node);
    let mut expected = leave_entry(&node, 1, 3, &[(ALICE, 2)]).to_vec();
    let push = PeerCall::Deliver { author: BOB.peer(), from: 1, upto: 1 };
    expected.push(node.call(1, ALICE, push, CONFIG.deliver_timeout_ms));
    assert_eq!(outputs, expected);

    let outputs = node.answer(node.id(1), Ok(Response::Acked(clock(&[(BOB, 1)]))));
    let expected = [
        Output::Write(Write::Ack { peer: ALICE.peer(), upto: 1, way: Way::Direct }),
        event(Event::Acked { peer: ALICE.peer(), upto: 1 }),
        node.call(1, ALICE, PeerCall::Leave, CONFIG.deliver_timeout_ms),
    ];
    assert_eq!(outputs, expected);

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
fn a_leave_that_would_take_something_along_changes_nothing() {
    let mut node = Node::settled(BOB, ALICE, &[ALICE, BOB]);
    node.command(Command::Send);
    let asked_at = node.now;
    node.command(Command::Leave { wait_ms: 500, force: false });
    let leave = node.last_command();
    assert_eq!(node.command(Command::Send), [], "it waits for what becomes of the leave");
    let text = node.last_command();
    let outputs = node.tick_until(|output| matches!(output, Output::Done(..)));
    assert_eq!(node.now, asked_at + 500);
    assert_eq!(outputs[0], Output::Done(leave, Err(CommandError::OnlyHere(1))));
    assert!(outputs.contains(&Output::Done(text, Ok(Done::Sent { seq: 2, lamport: 4 }))), "{outputs:?}");
    assert_eq!(node.snapshot().phase, Phase::Joined);
    let again = node.command(LEAVE);
    assert!(!again.iter().any(|output| matches!(output, Output::Done(..))), "it can be tried again: {again:?}");
}

#[test]
fn who_has_everything_but_has_left_itself_lets_nobody_go() {
    for (who, phase) in [(CAROL, Phase::Joined), (ALICE, Phase::Leaving)] {
        let mut node = Node::settled_with(BOB, 0, CONFIG, &view(1, 5, ALICE, &[ALICE, BOB, CAROL]));
        let leave = vec![op(CAROL, 1, 9, &[(ALICE, 3)], RosterOp::Leave)];
        node.request(CAROL, Request::Deliver(vec![run(1, CAROL, 1, leave)]));
        let standing = node.standing(None);
        says(&mut node, who, &standing);
        assert_eq!(node.snapshot().phase, phase, "{who:?}");
    }
}

#[test]
fn who_lacks_something_of_what_was_here_lets_nobody_go() {
    for (has, phase) in [(0, Phase::Joined), (1, Phase::Leaving)] {
        let mut node = Node::settled_with(BOB, 0, CONFIG, &view(1, 5, ALICE, &[ALICE, BOB, CAROL]));
        node.request(CAROL, Request::Deliver(vec![run(1, CAROL, 1, vec![text(CAROL, 1, 9, &[(ALICE, 3)])])]));
        let frontier = Some(clock(&[(ALICE, 3), (CAROL, has)]));
        let standing = Standing { digest: 1, frontier, ..node.standing(None) };
        says(&mut node, ALICE, &standing);
        assert_eq!(node.snapshot().phase, phase);
    }
}

#[test]
fn nothing_is_signed_while_somebody_has_more_of_the_own_feed() {
    let mut node = Node::settled(BOB, ALICE, &[ALICE, BOB]);
    node.command(LEAVE);
    let (asked, standing) = (node.id(1), node.standing(None));
    let ahead = Standing { digest: 1, frontier: Some(clock(&[(ALICE, 2), (BOB, 5)])), ..standing.clone() };
    node.request(ALICE, Request::Ping(ahead));
    node.answer(asked, Ok(Response::Standing(standing)));
    assert_eq!(node.snapshot().phase, Phase::Joined, "its number may be taken");
}

#[test]
fn of_two_that_leave_at_once_neither_counts_on_the_other() {
    for (leaving, phase) in [(true, Phase::Joined), (false, Phase::Leaving)] {
        let mut node = Node::settled_with(BOB, 0, CONFIG, &view(1, 5, ALICE, &[ALICE, BOB, CAROL]));
        let standing = Standing { leaving, ..node.standing(None) };
        says(&mut node, ALICE, &standing);
        assert_eq!(node.snapshot().phase, phase);
    }
    let mut node = Node::settled_with(BOB, 0, CONFIG, &view(1, 5, ALICE, &[ALICE, BOB, CAROL]));
    let asked = |node: &mut Node| {
        let standing = node.standing(None);
        node.request(CAROL, Request::Ping(standing))
    };
    let mine = |leaving| Standing { leaving, ..node.standing(None) };
    let (stays, leaves) = (mine(false), mine(true));
    assert_eq!(asked(&mut node), [node.reply(Ok(Response::Standing(stays)))]);
    node.command(LEAVE);
    assert_eq!(asked(&mut node), [node.reply(Ok(Response::Standing(leaves)))]);
    assert_eq!(node.snapshot().phase, Phase::Joined, "what carol has said without being asked may be old");
}

#[test]
fn of_those_that_leave_at_once_the_highest_goes_first_and_can_count_on_the_others() {
    let mut node = Node::settled_with(BOB, 0, CONFIG, &view(1, 5, ALICE, &[ALICE, BOB, CAROL]));
    let asked = |node: &mut Node, by: Who, leaving: bool| {
        let standing = Standing { leaving, ..node.standing(None) };
        let outputs = node.request(by, Request::Ping(standing));
        let tells = |output: &Output| match output {
            Output::Reply(_, Ok(Response::Standing(mine))) => Some(mine.leaving),
            _ => None,
        };
        outputs.iter().find_map(tells).expect("an answer")
    };
    node.command(LEAVE);
    assert!(asked(&mut node, ALICE, true) && asked(&mut node, ALICE, true), "alice's id is lower");
    assert!(asked(&mut node, CAROL, true), "carol's is higher");
    assert!(!asked(&mut node, CAROL, true), "so she goes first");
    let standing = node.standing(None);
    let outputs = node.tick_until(is_call(|call| matches!(call, PeerCall::Ping(_))));
    for peer in callees(&outputs) {
        let who = if peer == ALICE.peer() { ALICE } else { CAROL };
        node.answer(
            call_to(&outputs, who),
            Ok(Response::Standing(Standing { leaving: who == CAROL, ..standing.clone() })),
        );
    }
    assert_eq!(node.snapshot().phase, Phase::Joined, "whoever has everything: bob waits");

    let leave = vec![op(CAROL, 1, 9, &[(ALICE, 3)], RosterOp::Leave)];
    node.request(CAROL, Request::Deliver(vec![run(1, CAROL, 1, leave)]));
    let outputs = node.tick_until(is_call(|call| matches!(call, PeerCall::Ping(_))));
    let standing = node.standing(None);
    node.answer(call_to(&outputs, ALICE), Ok(Response::Standing(standing)));
    assert_eq!(node.snapshot().phase, Phase::Leaving, "carol is gone");
}

#[test]
fn nothing_is_left_to_somebody_who_is_only_on_its_way_in() {
    let mut node = Node::settled(BOB, ALICE, &[ALICE, BOB]);
    let outputs = node.command(LEAVE);
    let standing = node.standing(None);
    let outside = Standing { epoch: Epoch(0), version: 0, leader: None, ..standing.clone() };
    node.answer(call_to(&outputs, ALICE), Ok(Response::Standing(outside)));
    let outputs = node.tick_until(is_call(|call| matches!(call, PeerCall::Ping(_))));
    assert_eq!(node.snapshot().phase, Phase::Joined, "alice may never be in again");
    node.answer(call_to(&outputs, ALICE), Ok(Response::Standing(standing)));
    assert_eq!(node.snapshot().phase, Phase::Leaving);
}

#[test]
fn who_waits_for_another_to_leave_goes_on_when_that_one_stays() {
    let mut node = Node::settled_with(BOB, 0, CONFIG, &view(1, 5, ALICE, &[ALICE, BOB, CAROL]));
    node.command(LEAVE);
    let standing = node.standing(None);
    node.request(CAROL, Request::Ping(Standing { leaving: true, ..standing.clone() }));
    assert_eq!(node.pass(300), [], "bob waits");
    let outputs = node.request(CAROL, Request::Ping(standing));
    assert!(outputs.iter().any(is_call(|call| matches!(call, PeerCall::Ping(mine) if mine.leaving))), "{outputs:?}");
}

#[test]
fn what_was_said_in_answer_to_an_earlier_try_says_nothing() {
    let mut node = Node::settled(BOB, ALICE, &[ALICE, BOB]);
    let outputs = node.command(Command::Leave { wait_ms: 100, force: false });
    let earlier = call_to(&outputs, ALICE);
    node.tick_until(|output| matches!(output, Output::Done(_, Err(CommandError::OnlyHere(0)))));
    let later = call_to(&node.command(LEAVE), ALICE);
    let standing = Ok(Response::Standing(node.standing(None)));
    node.answer(earlier, standing.clone());
    assert_eq!(node.snapshot().phase, Phase::Joined);
    node.answer(later, standing);
    assert_eq!(node.snapshot().phase, Phase::Leaving);
}

#[test]
fn who_has_what_was_here_when_the_leave_was_asked_for_has_enough() {
    let mut node = Node::settled_with(BOB, 0, CONFIG, &view(1, 5, ALICE, &[ALICE, BOB, CAROL]));
    let standing = Standing { digest: 1, frontier: Some(node.snapshot().frontier), ..node.standing(None) };
    node.command(LEAVE);
    let asked = node.id(1);
    node.request(CAROL, Request::Deliver(vec![run(1, CAROL, 1, vec![text(CAROL, 1, 9, &[(ALICE, 3)])])]));
    node.answer(asked, Ok(Response::Standing(standing)));
    assert_eq!(node.snapshot().phase, Phase::Leaving, "what came later its author spreads");
}

#[test]
fn what_somebody_wrote_who_left_meanwhile_is_not_left_to_its_author() {
    let mut node = Node::settled_with(BOB, 0, CONFIG, &view(1, 5, ALICE, &[ALICE, BOB, CAROL]));
    let before = Standing { digest: 1, frontier: Some(node.snapshot().frontier), ..node.standing(None) };
    node.command(LEAVE);
    let asked = node.id(1);
    let leave = vec![op(CAROL, 1, 9, &[(ALICE, 3)], RosterOp::Leave)];
    node.request(CAROL, Request::Deliver(vec![run(1, CAROL, 1, leave)]));
    node.answer(asked, Ok(Response::Standing(before)));
    assert_eq!(node.snapshot().phase, Phase::Joined, "alice does not have carol's leave");
    let is_ping_to_alice =
        |output: &Output| matches!(output, Output::Call { peer, call: PeerCall::Ping(_), .. } if *peer == ALICE.peer());
    let outputs = node.tick_until(is_ping_to_alice);
    let now = node.standing(None);
    node.answer(call_to(&outputs, ALICE), Ok(Response::Standing(now)));
    assert_eq!(node.snapshot().phase, Phase::Leaving, "now it has");
}

#[test]
fn a_leave_by_force_ends_in_time_and_says_how_much_is_only_here() {
    let mut node = Node::settled(BOB, ALICE, &[ALICE, BOB]);
    let asked_at = node.now;
    node.command(Command::Leave { wait_ms: 500, force: true });
    assert_eq!(unanswered(&mut node), Ok(Done::Left { unreplicated: 1, closed: false }));
    assert_eq!(node.now, asked_at + 500 + CONFIG.deliver_timeout_ms + CONFIG.leave_timeout_ms);
}

#[test]
fn a_leader_hands_over_to_the_next_lowest_with_its_vote_and_then_leaves() {
    let mut node = Node::settled_with(ALICE, 0, CONFIG, &view(1, 5, ALICE, &[ALICE, BOB, CAROL]));
    let outputs = is_let_go_by(&mut node, CAROL, 4);
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
    is_let_go_by(&mut node, CAROL, 4);
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
    let handed = call_to(&is_let_go_by(&mut node, CAROL, 5), BOB);
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
    let outputs = node.command(LEAVE);
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
    node.command(LEAVE);
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
    node.command(LEAVE);
    let outputs = node.answer(node.id(1), Err(CallError::NotMember("another leader is on record".to_owned())));
    assert_eq!(outputs, left(&node, 2, false));
}

#[test]
fn a_network_that_is_being_closed_is_not_registered_again() {
    let mut node = Node::settled(ALICE, ALICE, &[ALICE]);
    node.pass(CONFIG.lease_renewal_ms - 1);
    let outputs = node.next_tick();
    let renewal = discovery_call(&outputs);
    node.command(LEAVE);
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
    let outputs = node.command(LEAVE);
    assert_eq!(outputs, [Output::Done(node.last_command(), Err(CommandError::Busy))]);
}

#[test]
fn who_can_not_sign_a_leave_can_still_go_by_force() {
    let log = vec![founding_log(&[ALICE, BOB])];
    let mut state = durable(&view(1, 5, ALICE, &[ALICE, BOB]));
    state.own_floor = 3;
    let (mut node, _) = Node::start(BOB, 0, p2p_chat_engine::Start::Resume { durable: state, log });
    node.command(Command::Leave { wait_ms: 500, force: true });
    let outputs = node.pass(500);
    let signs = |output: &Output| matches!(output, Output::Write(Write::Own { .. }));
    assert!(!outputs.iter().any(signs), "it has not what it wrote before: {outputs:?}");
    let left = Output::Done(node.last_command(), Ok(Done::Left { unreplicated: 0, closed: false }));
    assert!(outputs.contains(&left), "{outputs:?}");
    assert_eq!(node.on_disk().phase, Phase::Left);
}

#[test]
fn an_answer_to_a_rejoin_does_not_call_a_leave_off() {
    let log = vec![founding_log(&[ALICE, BOB])];
    let followed = view(1, 5, ALICE, &[ALICE, BOB]);
    let (mut node, outputs) = Node::start(BOB, 0, p2p_chat_engine::Start::Resume { durable: durable(&followed), log });
    let rejoin = call_to(&outputs, ALICE);
    is_covered(&mut node);
    assert_eq!(node.snapshot().phase, Phase::Leaving);
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
    is_let_go_by(&mut node, ALICE, 1);
    node.answer(node.id(1), Err(CallError::NotMember("you have left".to_owned())));
    assert_eq!(node.snapshot().phase, Phase::Left);
}
