//! The election, on both sides.

use p2p_chat_engine::{
    CallError, Config, DiscoveryAnswer, DiscoveryCall, DiscoveryRefusal, Event, Output, PeerCall, Refusal, Request,
    Response,
};
use p2p_chat_model::{Epoch, NodeId, Rank};

use crate::common::*;

pub(crate) fn node(who: Who, services: usize, members: &[Who]) -> Node {
    Node::settled_with(who, services, CONFIG, &view(1, 5, ALICE, members))
}

/// alice falls silent, and nobody reaches her; the outputs of the last answer.
pub(crate) fn alice_is_lost(node: &mut Node) -> Vec<Output> {
    node.tick_until(
        |output| matches!(output, Output::Call { peer, call: PeerCall::Ping(_), .. } if *peer == ALICE.peer()),
    );
    let mut outputs = node.answer(node.id(1), unreachable());
    let asked: Vec<_> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Call { id, call: PeerCall::PingVia(_), .. } => Some(*id),
            _ => None,
        })
        .collect();
    for call in asked {
        outputs = node.answer(call, Ok(Response::Pinged(false, None)));
    }
    outputs
}

fn elect(epoch: u64, who: Who) -> PeerCall {
    PeerCall::Elect(Epoch(epoch), who.node())
}

pub(crate) fn asks_for_reign(outputs: &[Output]) -> bool {
    let is_update = |output: &Output| matches!(output, Output::Discover { call: DiscoveryCall::Update { .. }, .. });
    outputs.iter().any(is_update)
}

pub(crate) fn takes_office(outputs: &[Output]) -> bool {
    outputs.iter().any(is_call(|call| matches!(call, PeerCall::Coordinate(..))))
}

pub(crate) fn refused(why: DiscoveryRefusal, leader: Who, epoch: u64) -> Result<Response, CallError> {
    discovery(DiscoveryAnswer::Refused(why, record(leader, epoch), 0))
}

/// bob, the next lowest of three, with carol's vote, before the only discovery service.
pub(crate) fn bob_registers() -> Node {
    let mut node = node(BOB, 1, &[ALICE, BOB, CAROL]);
    alice_is_lost(&mut node);
    let outputs = node.answer(node.id(1), Ok(Response::Voted(CAROL.vote(2, BOB))));
    let mut votes = vec![BOB.vote(2, BOB), CAROL.vote(2, BOB)];
    votes.sort_by_key(|vote| vote.voter);
    let view = view(2, 6, BOB, &[BOB, CAROL]);
    let update = DiscoveryCall::Update { view, expected: Epoch(1), votes, serial: WALL };
    assert_eq!(outputs, [node.discover(1, 0, update)]);
    node
}

#[test]
fn the_next_lowest_votes_for_itself_on_disk_before_it_asks_the_higher_ones() {
    let mut node = node(BOB, 1, &[ALICE, BOB, CAROL, DAVE]);
    let outputs = alice_is_lost(&mut node);
    let expected = [
        event(Event::Leaderless(Epoch(1))),
        node.saved(|state| state.vote = Some((Epoch(2), BOB.peer()))),
        node.call(1, CAROL, elect(2, BOB), CONFIG.elect_timeout_ms),
        node.call(2, DAVE, elect(2, BOB), CONFIG.elect_timeout_ms),
    ];
    assert_eq!(outputs, expected);
}

#[test]
fn a_higher_one_asks_the_lower_ones_first_but_not_the_lost_leader() {
    let mut node = node(DAVE, 1, &[ALICE, BOB, CAROL, DAVE]);
    let outputs = alice_is_lost(&mut node);
    let expected = [
        event(Event::Leaderless(Epoch(1))),
        node.call(1, BOB, elect(2, DAVE), CONFIG.elect_timeout_ms),
        node.call(2, CAROL, elect(2, DAVE), CONFIG.elect_timeout_ms),
    ];
    assert_eq!(outputs, expected);
}

#[test]
fn who_is_taken_over_from_waits_for_coordinator_and_then_starts_again() {
    let mut node = node(CAROL, 1, &[ALICE, BOB, CAROL]);
    alice_is_lost(&mut node);
    assert_eq!(node.answer(node.id(1), Ok(Response::TakeOver)), []);
    let outputs = node.pass(CONFIG.coordinator_timeout_ms - 1);
    assert!(outputs.is_empty(), "{outputs:?}");
    let outputs = node.next_tick();
    assert_eq!(outputs, [node.call(1, ALICE, PeerCall::Ping(node.standing(None)), CONFIG.ping_timeout_ms)]);
}

#[test]
fn a_higher_one_stands_itself_when_no_lower_one_answers() {
    let mut node = node(CAROL, 1, &[ALICE, BOB, CAROL, DAVE]);
    alice_is_lost(&mut node);
    let outputs = node.answer(node.id(1), unreachable());
    let expected = [
        node.saved(|state| state.vote = Some((Epoch(2), CAROL.peer()))),
        node.call(1, DAVE, elect(2, CAROL), CONFIG.elect_timeout_ms),
    ];
    assert_eq!(outputs, expected);
}

#[test]
fn somebody_who_reaches_the_leader_ends_the_election() {
    let mut node = node(BOB, 1, &[ALICE, BOB, CAROL]);
    alice_is_lost(&mut node);
    assert_eq!(node.answer(node.id(1), Ok(Response::LeaderAlive)), [event(Event::LeaderBack(ALICE.peer()))]);
    assert!(node.snapshot().leader_alive);
}

#[test]
fn a_leader_that_was_missing_before_a_stall_is_told_to_be_back_once_it_is_heard() {
    let mut node = node(BOB, 1, &[ALICE, BOB, CAROL]);
    alice_is_lost(&mut node);
    let is_back = event(Event::LeaderBack(ALICE.peer()));
    assert!(!node.wait(60_000).contains(&is_back) && !node.snapshot().leader_alive);
    let standing = node.standing(None);
    assert!(node.request(ALICE, Request::Ping(standing)).contains(&is_back));
    assert!(node.snapshot().leader_alive);
}

#[test]
fn an_accepted_candidate_takes_office_on_disk_before_it_tells_anybody() {
    let mut node = bob_registers();
    let started = node.now;
    node.now += 100;
    let outputs = node.answer(node.id(1), discovery(DiscoveryAnswer::Accepted(record(BOB, 2))));
    let mut votes = vec![BOB.vote(2, BOB), CAROL.vote(2, BOB)];
    votes.sort_by_key(|vote| vote.voter);
    let reign = view(2, 6, BOB, &[BOB, CAROL]);
    let proof = certificate(Rank::Majority, votes);
    let coordinate = PeerCall::Coordinate(reign.clone(), proof.clone());
    let mut told = [ALICE, CAROL];
    told.sort_by_key(|who| who.peer());
    let after_ms = node.now - started;
    let expected = [
        event(Event::DroppedOut(ALICE.peer(), NodeId(1))),
        node.saved(|state| {
            state.epoch = Epoch(2);
            state.view = Some(reign.clone());
            state.certificate = proof;
        }),
        event(Event::LeaderChanged { leader: BOB.peer(), node: NodeId(2), epoch: Epoch(2), after_ms }),
        node.call(1, told[0], coordinate.clone(), CONFIG.deliver_timeout_ms),
        node.call(2, told[1], coordinate, CONFIG.deliver_timeout_ms),
        node.discover(3, 0, DiscoveryCall::Renew { view: reign, serial: WALL + 1 }),
    ];
    assert_eq!(outputs, expected);
}

#[test]
fn a_candidate_vetoed_by_the_discovery_service_waits_and_looks_at_the_leader_again() {
    let mut node = bob_registers();
    let outputs = node.answer(node.id(1), refused(DiscoveryRefusal::LeaderAlive, ALICE, 1));
    assert_eq!(outputs, []);
    let before = node.now;
    let outputs = node.tick_until(|output| matches!(output, Output::Call { .. }));
    assert_eq!(outputs, [node.call(1, ALICE, PeerCall::Ping(node.standing(None)), CONFIG.ping_timeout_ms)]);
    let wait = node.now - before;
    assert!((CONFIG.election_backoff_ms / 2..=CONFIG.election_backoff_ms).contains(&wait), "after {wait} ms");
}

#[test]
fn without_a_discovery_service_a_majority_of_the_last_view_decides() {
    let mut node = bob_registers();
    let outputs = node.answer(node.id(1), unreachable());
    assert!(takes_office(&outputs), "{outputs:?}");
    assert_eq!(node.on_disk().certificate.rank, Rank::Majority);
}

#[test]
fn without_a_discovery_service_and_without_a_majority_nobody_leads() {
    let mut node = node(BOB, 1, &[ALICE, BOB, CAROL, DAVE]);
    let outputs = alice_is_lost(&mut node);
    let (carol, dave) = (call_to(&outputs, CAROL), call_to(&outputs, DAVE));
    assert_eq!(node.answer(carol, Ok(Response::Voted(CAROL.vote(2, BOB)))), []);
    let outputs = node.answer(dave, unreachable());
    assert!(asks_for_reign(&outputs), "two of four are no majority, the service decides: {outputs:?}");
    assert_eq!(node.answer(node.id(1), unreachable()), []);
    assert_eq!(node.snapshot().epoch, Epoch(1));
    assert!(!node.snapshot().leader_alive);
}

#[test]
fn an_outdated_candidate_follows_whom_it_is_told_of() {
    let mut node = node(BOB, 1, &[ALICE, BOB, CAROL]);
    alice_is_lost(&mut node);
    let outputs = node.answer(node.id(1), Ok(Response::Outdated(CAROL.hint(5))));
    assert_eq!(callees(&outputs), [CAROL.peer()]);
    assert!(outputs.iter().any(is_call(|call| matches!(call, PeerCall::Join { .. }))), "{outputs:?}");
}

#[test]
fn a_later_leader_that_does_not_let_a_candidate_in_does_not_keep_it_from_standing() {
    let mut node = node(BOB, 0, &[ALICE, BOB, CAROL, DAVE, ERIN]);
    alice_is_lost(&mut node);
    // frank led carol in the second epoch, and has left since.
    let outputs = node.answer(node.id(1), Ok(Response::Outdated(FRANK.hint(2))));
    node.answer(call_to(&outputs, FRANK), Err(CallError::Failed("this node is not in that network".to_owned())));
    let mut outputs = alice_is_lost(&mut node);
    while !outputs.iter().any(is_call(|call| matches!(call, PeerCall::Elect(..)))) {
        outputs = node.next_tick();
    }
    let [carol, dave, erin] = [CAROL, DAVE, ERIN].map(|who| call_to(&outputs, who));
    node.answer(carol, Ok(Response::Outdated(FRANK.hint(2))));
    let (epoch, _) = node.on_disk().vote.expect("bob has voted for himself");
    node.answer(dave, Ok(Response::Voted(DAVE.vote(epoch.0, BOB))));
    node.answer(erin, Ok(Response::Voted(ERIN.vote(epoch.0, BOB))));
    assert!(epoch > Epoch(2) && node.snapshot().leading, "three of five have voted for bob in epoch {epoch}");
}

#[test]
fn a_promise_to_somebody_else_makes_the_next_candidacy_go_above_it() {
    let mut node = node(BOB, 0, &[ALICE, BOB, CAROL]);
    alice_is_lost(&mut node);
    assert_eq!(node.answer(node.id(1), Ok(Response::Promised(Epoch(8)))), []);
    alice_is_lost(&mut node);
    assert_eq!(node.on_disk().vote, Some((Epoch(9), BOB.peer())));
}

#[test]
fn a_vote_for_another_epoch_or_candidate_or_by_another_voter_does_not_count() {
    for vote in [CAROL.vote(3, BOB), CAROL.vote(2, DAVE), DAVE.vote(2, BOB)] {
        let mut node = node(BOB, 0, &[ALICE, BOB, CAROL]);
        alice_is_lost(&mut node);
        let outputs = node.answer(node.id(1), Ok(Response::Voted(vote)));
        assert!(!takes_office(&outputs), "{outputs:?}");
    }
}

#[test]
fn the_vote_of_somebody_who_has_left_the_view_since_is_no_part_of_a_majority() {
    let mut node = node(BOB, 1, &[ALICE, BOB, CAROL, DAVE, ERIN]);
    let outputs = alice_is_lost(&mut node);
    node.answer(call_to(&outputs, CAROL), Ok(Response::Voted(CAROL.vote(2, BOB))));
    let outputs = node.answer(call_to(&outputs, DAVE), Ok(Response::Voted(DAVE.vote(2, BOB))));
    let update = discovery_call(&outputs);
    // The leader was out of reach for a moment only, and has lost carol.
    node.request(ALICE, Request::UpdateView(view(1, 6, ALICE, &[ALICE, BOB, DAVE, ERIN]), None));
    let outputs = node.answer(update, discovery(DiscoveryAnswer::Accepted(record(BOB, 2))));
    let by_two_of_four =
        |call: &PeerCall| matches!(call, PeerCall::Coordinate(_, certificate) if certificate.rank == Rank::Registered);
    assert!(outputs.iter().any(is_call(by_two_of_four)), "{outputs:?}");
}

#[test]
fn the_wait_after_a_failed_election_doubles_up_to_its_bound() {
    let mut node = node(BOB, 0, &[ALICE, BOB, CAROL]);
    let mut outputs = alice_is_lost(&mut node);
    let mut longest = CONFIG.election_backoff_ms;
    for _ in 0..6 {
        assert_eq!(node.answer(call_to(&outputs, CAROL), unreachable()), []);
        let before = node.now;
        outputs = node.tick_until(
            |output| matches!(output, Output::Call { peer, call: PeerCall::Ping(_), .. } if *peer == ALICE.peer()),
        );
        let wait = node.now - before;
        assert!((longest / 2..=longest).contains(&wait), "{wait} ms, at most {longest}");
        longest = (2 * longest).min(CONFIG.election_backoff_max_ms);
        outputs = node.answer(call_to(&outputs, ALICE), unreachable());
        outputs = node.answer(call_to(&outputs, CAROL), Ok(Response::Pinged(false, None)));
    }
}

#[test]
fn a_member_votes_on_disk_first_and_only_after_it_failed_to_reach_the_leader_itself() {
    let mut node = node(CAROL, 0, &[ALICE, BOB, CAROL]);
    let outputs = node.request(BOB, Request::Elect(Epoch(2), BOB.node()));
    assert_eq!(outputs, [node.call(1, ALICE, PeerCall::Ping(node.standing(None)), CONFIG.ping_timeout_ms)]);
    let outputs = node.answer(node.id(1), unreachable());
    let expected = [
        node.saved(|state| state.vote = Some((Epoch(2), BOB.peer()))),
        node.reply(Ok(Response::Voted(CAROL.vote(2, BOB)))),
    ];
    assert_eq!(outputs, expected);
}

#[test]
fn a_member_that_reaches_the_leader_gives_no_vote() {
    let mut node = node(CAROL, 0, &[ALICE, BOB, CAROL]);
    node.request(BOB, Request::Elect(Epoch(2), BOB.node()));
    let standing = node.standing(None);
    let outputs = node.answer(node.id(1), Ok(Response::Standing(standing)));
    assert_eq!(outputs, [node.reply(Ok(Response::LeaderAlive))]);
    assert_eq!(node.on_disk().vote, None);
}

#[test]
fn one_vote_an_epoch_and_the_same_one_again_for_who_asks_again() {
    let mut node = node(DAVE, 0, &[ALICE, BOB, CAROL, DAVE]);
    node.request(CAROL, Request::Elect(Epoch(2), CAROL.node()));
    node.answer(node.id(1), unreachable());
    node.request(BOB, Request::Elect(Epoch(2), BOB.node()));
    let outputs = node.answer(node.id(1), unreachable());
    assert_eq!(outputs, [node.reply(Ok(Response::Promised(Epoch(2))))]);
    node.request(CAROL, Request::Elect(Epoch(2), CAROL.node()));
    let outputs = node.answer(node.id(1), unreachable());
    assert!(outputs.contains(&node.reply(Ok(Response::Voted(DAVE.vote(2, CAROL))))), "{outputs:?}");
}

#[test]
fn a_lower_one_that_is_asked_takes_over() {
    let mut node = node(BOB, 0, &[ALICE, BOB, CAROL]);
    node.request(CAROL, Request::Elect(Epoch(2), CAROL.node()));
    let outputs = node.answer(node.id(1), unreachable());
    let expected = [
        node.reply(Ok(Response::TakeOver)),
        event(Event::Leaderless(Epoch(1))),
        node.saved(|state| state.vote = Some((Epoch(2), BOB.peer()))),
        node.call(1, CAROL, elect(2, BOB), CONFIG.elect_timeout_ms),
    ];
    assert_eq!(outputs, expected);
}

#[test]
fn several_candidates_at_once_cost_one_ping_of_the_leader_and_get_an_answer_each() {
    let mut node = node(DAVE, 0, &[ALICE, BOB, CAROL, DAVE]);
    let outputs = node.request(CAROL, Request::Elect(Epoch(2), CAROL.node()));
    let call = call_to(&outputs, ALICE);
    assert_eq!(node.request(BOB, Request::Elect(Epoch(2), BOB.node())), []);
    let outputs = node.answer(call, unreachable());
    let replies = outputs.iter().filter(|output| matches!(output, Output::Reply(..))).count();
    assert_eq!(replies, 2);
}

#[test]
fn an_election_for_a_past_epoch_is_answered_with_the_present_one() {
    let mut node = node(CAROL, 0, &[ALICE, BOB, CAROL]);
    let outputs = node.request(BOB, Request::Elect(Epoch(1), BOB.node()));
    assert_eq!(outputs, [node.reply(Ok(Response::Outdated(ALICE.hint(1))))]);
}

#[test]
fn an_election_under_somebody_else_s_number_is_answered_with_the_present_reign() {
    let mut node = node(DAVE, 0, &[ALICE, BOB, CAROL, DAVE]);
    let outputs = node.request(CAROL, Request::Elect(Epoch(2), BOB.node()));
    assert_eq!(outputs, [node.reply(Ok(Response::Outdated(ALICE.hint(1))))]);
}

#[test]
fn an_election_far_in_the_future_is_refused() {
    let mut node = node(CAROL, 0, &[ALICE, BOB, CAROL]);
    let outputs = node.request(BOB, Request::Elect(Epoch(1 << 40), BOB.node()));
    assert_eq!(outputs, [node.reply(Err(Refusal::Invalid("the epoch is too far ahead")))]);
}

#[test]
fn the_leader_itself_says_that_it_lives() {
    let mut node = node(ALICE, 0, &[ALICE, BOB, CAROL]);
    let outputs = node.request(BOB, Request::Elect(Epoch(2), BOB.node()));
    assert_eq!(outputs, [node.reply(Ok(Response::LeaderAlive))]);
}

#[test]
fn votes_that_wait_are_bounded() {
    let config = Config { max_pending_requests: 1, ..CONFIG };
    let mut node = Node::settled_with(DAVE, 0, config, &view(1, 5, ALICE, &[ALICE, BOB, CAROL, DAVE]));
    node.request(CAROL, Request::Elect(Epoch(2), CAROL.node()));
    let outputs = node.request(BOB, Request::Elect(Epoch(2), BOB.node()));
    assert_eq!(outputs, [node.reply(Err(Refusal::Busy("too many elections are under way")))]);
}

#[test]
fn a_candidate_dropped_out_while_the_service_decides_can_stand_again_later() {
    let mut node = bob_registers();
    let call = node.id(1);
    let without = view(1, 6, ALICE, &[ALICE, CAROL]);
    let outputs = node.request(ALICE, Request::UpdateView(without, None));
    let join = outputs.iter().find_map(|output| match output {
        Output::Call { id, call: PeerCall::Join { .. }, .. } => Some(*id),
        _ => None,
    });
    node.answer(call, discovery(DiscoveryAnswer::Accepted(record(BOB, 2))));
    let mut back = view(1, 7, ALICE, &[ALICE, CAROL]);
    back.active.push(active(4, BOB));
    back.next_id = NodeId(5);
    let frontier = clock(&[(ALICE, 3)]);
    let admitted = Response::Admitted { view: back, admission: (ALICE.peer(), 2), frontier };
    node.answer(join.unwrap(), Ok(admitted));
    assert_eq!(node.snapshot().node, Some(NodeId(4)));
    let outputs = alice_is_lost(&mut node);
    assert!(outputs.iter().any(is_call(|call| matches!(call, PeerCall::Elect(..)))), "{outputs:?}");
}

#[test]
fn somebody_who_does_not_know_the_candidate_is_asked_to_let_it_in() {
    let mut node = node(CAROL, 0, &[ALICE, BOB, CAROL]);
    alice_is_lost(&mut node);
    let outputs = node.answer(node.id(1), Err(CallError::NotMember("join it first".to_owned())));
    assert_eq!(callees(&outputs), [BOB.peer()]);
    assert!(outputs.iter().any(is_call(|call| matches!(call, PeerCall::Join { .. }))), "{outputs:?}");
}

#[test]
fn what_a_service_grants_to_another_reign_is_no_answer() {
    for (leader, epoch, won) in [(BOB, 1, false), (CAROL, 2, false), (BOB, 2, true)] {
        let mut node = node(BOB, 1, &[ALICE, BOB, CAROL]);
        alice_is_lost(&mut node);
        // Without carol's vote only the service can decide.
        let outputs = node.answer(node.id(1), unreachable());
        assert!(asks_for_reign(&outputs), "{outputs:?}");
        let outputs = node.answer(node.id(1), discovery(DiscoveryAnswer::Accepted(record(leader, epoch))));
        assert_eq!(takes_office(&outputs), won, "{outputs:?}");
    }
}
