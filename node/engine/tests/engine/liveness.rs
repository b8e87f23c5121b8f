//! Who is alive: silence, pings, pings by others.

use p2p_chat_engine::{
    CallError, Command, Config, Event, LeaderHint, Output, PeerCall, Refusal, Request, Response, Standing, Write,
};

use crate::common::*;

fn bob() -> Node {
    Node::settled(BOB, ALICE, &[ALICE, BOB, CAROL])
}

fn alice() -> Node {
    Node::settled_with(ALICE, 0, CONFIG, &view(1, 5, ALICE, &[ALICE, BOB, CAROL]))
}

fn ping(node: &Node) -> PeerCall {
    PeerCall::Ping(node.standing(None))
}

fn is_ping(output: &Output) -> bool {
    is_call(|call| matches!(call, PeerCall::Ping(_)))(output)
}

/// The silence of the leader has run out; the ping is out.
fn bob_pings_alice() -> Node {
    let mut node = bob();
    let before = node.now;
    let outputs = node.tick_until(is_ping);
    assert_eq!(outputs, [node.call(1, ALICE, ping(&node), CONFIG.ping_timeout_ms)]);
    let silence = node.now - before;
    assert!((CONFIG.silence_min_ms..=CONFIG.silence_max_ms).contains(&silence), "pinged after {silence} ms");
    node
}

/// The ping has failed and carol is asked.
fn carol_is_asked() -> Node {
    let mut node = bob_pings_alice();
    let outputs = node.answer(node.id(1), unreachable());
    assert_eq!(outputs, [node.call(1, CAROL, PeerCall::PingVia(ALICE.peer()), CONFIG.indirect_timeout_ms)]);
    node
}

#[test]
fn a_leader_that_answers_its_ping_is_left_in_peace() {
    let mut node = bob_pings_alice();
    let standing = node.standing(None);
    assert_eq!(node.answer(node.id(1), Ok(Response::Standing(standing))), []);
    let before = node.now;
    node.tick_until(is_ping);
    assert!(node.now - before >= CONFIG.silence_min_ms);
}

#[test]
fn traffic_of_the_leader_puts_the_ping_off() {
    let mut node = bob();
    let outputs = node.pass(900);
    assert_eq!(outputs, []);
    let standing = node.standing(None);
    let outputs = node.request(ALICE, Request::Ping(standing));
    assert_eq!(outputs, [node.reply(Ok(Response::Standing(node.standing(None))))]);
    assert_eq!(node.pass(CONFIG.silence_min_ms - 1), []);
}

#[test]
fn a_stranger_s_traffic_puts_nothing_off() {
    let mut node = bob();
    let due = node.engine.deadline();
    let standing = node.standing(None);
    let outputs = node.request(ERIN, Request::Ping(standing));
    assert_eq!(outputs, [node.reply(Err(Refusal::NotMember))]);
    assert_eq!(node.engine.deadline(), due);
}

#[test]
fn a_leader_that_another_member_reaches_lives_and_that_member_relays() {
    let mut node = carol_is_asked();
    assert_eq!(node.answer(node.id(1), Ok(Response::Pinged(true, None))), []);
    assert!(node.snapshot().leader_alive);
    let outputs = node.command(Command::Send);
    let (mut to_alice, to_carol) = (call_to(&outputs, ALICE), call_to(&outputs, CAROL));
    node.answer(to_carol, Ok(Response::Acked(clock(&[(BOB, 1)]))));
    let outputs = node.answer(to_alice, unreachable());
    assert_eq!(outputs, [node.call(1, ALICE, ping(&node), CONFIG.ping_timeout_ms)]);
    let retry = node.tick_until(is_call(|call| matches!(call, PeerCall::Deliver { .. })));
    to_alice = call_to(&retry, ALICE);
    let outputs = node.answer(to_alice, unreachable());
    let relay = PeerCall::Relay(ALICE.peer());
    assert_eq!(outputs, [node.call(1, CAROL, relay, 2 * CONFIG.deliver_timeout_ms)]);
}

#[test]
fn a_leader_that_nobody_reaches_is_lost() {
    let mut node = carol_is_asked();
    let since = node.now;
    node.now += 400;
    let outputs = node.answer(node.id(1), Ok(Response::Pinged(false, None)));
    let vote = node.saved(|state| state.vote = Some((p2p_chat_model::Epoch(2), BOB.peer())));
    let elect = PeerCall::Elect(p2p_chat_model::Epoch(2), BOB.node());
    let expected =
        [event(Event::Leaderless(p2p_chat_model::Epoch(1))), vote, node.call(1, CAROL, elect, CONFIG.elect_timeout_ms)];
    assert_eq!(outputs, expected);
    assert!(!node.snapshot().leader_alive);
    assert_eq!(since + 400, node.now);
}

#[test]
fn who_is_asked_to_ping_and_follows_a_later_leader_says_so_and_there_is_no_election() {
    let mut node = carol_is_asked();
    let outputs = node.answer(node.id(1), Ok(Response::Pinged(false, Some(CAROL.hint(2)))));
    let join = PeerCall::Join { request: 99 };
    assert!(matches!(&outputs[..], [Output::Call { peer, call, .. }] if *peer == CAROL.peer() && *call == join));
}

#[test]
fn nobody_to_ask_means_the_ping_decides() {
    let mut node = Node::settled(BOB, ALICE, &[ALICE, BOB]);
    node.tick_until(is_ping);
    let outputs = node.answer(node.id(1), unreachable());
    assert_eq!(outputs.first(), Some(&event(Event::Leaderless(p2p_chat_model::Epoch(1)))));
}

#[test]
fn a_leader_drops_a_silent_member_only_after_ping_and_indirect_ping_and_tells_the_rest() {
    let mut node = alice();
    let outputs = node.tick_until(
        |output| matches!(output, Output::Call { peer, call: PeerCall::Ping(_), .. } if *peer == BOB.peer()),
    );
    let asked = callees(&outputs);
    assert!(asked.contains(&BOB.peer()) && asked.contains(&CAROL.peer()), "both were silent: {outputs:?}");
    let standing = node.standing(None);
    node.answer(call_to(&outputs, CAROL), Ok(Response::Standing(standing)));
    let outputs = node.answer(call_to(&outputs, BOB), unreachable());
    assert_eq!(outputs, [node.call(1, CAROL, PeerCall::PingVia(BOB.peer()), CONFIG.indirect_timeout_ms)]);
    let outputs = node.answer(node.id(1), Ok(Response::Pinged(false, None)));
    let next = view(1, 6, ALICE, &[ALICE, CAROL]);
    let next = p2p_chat_model::View { next_id: p2p_chat_model::NodeId(4), ..next };
    let expected = [
        event(Event::DroppedOut(BOB.peer(), BOB.node())),
        node.saved(|state| state.view = Some(next.clone())),
        node.call(1, CAROL, PeerCall::UpdateView(next, None), CONFIG.deliver_timeout_ms),
    ];
    assert_eq!(outputs, expected);
    assert!(node.snapshot().roster.is_member(&BOB.peer()), "silence never removes");
}

#[test]
fn an_answer_left_over_from_an_earlier_suspicion_condemns_nobody() {
    let mut node = alice();
    let outputs = node.command(Command::Send);
    let to_bob = call_to(&outputs, BOB);
    let outputs = node.answer(to_bob, unreachable());
    let outputs = node.answer(call_to(&outputs, BOB), unreachable());
    let left_over = call_to(&outputs, CAROL);
    let standing = node.standing(None);
    node.request(BOB, Request::Ping(standing));
    let outputs = node.tick_until(is_call(|call| matches!(call, PeerCall::Deliver { .. })));
    let outputs = node.answer(call_to(&outputs, BOB), unreachable());
    assert!(outputs.iter().any(is_ping), "bob is suspected again: {outputs:?}");
    assert_eq!(node.answer(left_over, Ok(Response::Pinged(false, None))), []);
}

#[test]
fn a_ping_is_answered_with_the_frontier_only_when_it_differs() {
    let mut node = bob();
    let mut theirs = node.standing(None);
    theirs.digest += 1;
    let outputs = node.request(CAROL, Request::Ping(theirs));
    let mine = node.standing(Some(clock(&[(ALICE, 3)])));
    assert_eq!(outputs, [node.reply(Ok(Response::Standing(mine)))]);
}

#[test]
fn a_member_asked_to_ping_pings_and_reports_what_came_back() {
    let mut node = bob();
    let outputs = node.request(CAROL, Request::PingVia(ALICE.peer()));
    assert_eq!(outputs, [node.call(1, ALICE, ping(&node), CONFIG.ping_timeout_ms)]);
    let outputs = node.answer(node.id(1), unreachable());
    assert_eq!(outputs, [node.reply(Ok(Response::Pinged(false, Some(ALICE.hint(1)))))]);
    let outputs = node.request(CAROL, Request::PingVia(DAVE.peer()));
    assert_eq!(outputs, [node.reply(Ok(Response::Pinged(false, Some(ALICE.hint(1)))))]);
}

#[test]
fn pings_for_others_are_bounded() {
    let config = Config { max_pending_requests: 1, ..CONFIG };
    let mut node = Node::settled_with(BOB, 0, config, &view(1, 5, ALICE, &[ALICE, BOB, CAROL]));
    node.request(CAROL, Request::PingVia(ALICE.peer()));
    let outputs = node.request(ALICE, Request::PingVia(CAROL.peer()));
    assert_eq!(outputs, [node.reply(Err(Refusal::Busy("too many pings are under way")))]);
}

#[test]
fn a_follower_that_was_stopped_suspects_nobody_for_the_time_it_slept() {
    let mut node = bob();
    assert_eq!(node.wait(60_000).iter().filter(|output| is_ping(output)).count(), 1, "one random comparison is due");
    let before = node.now;
    let outputs = node.next_tick();
    assert!(node.now - before >= CONFIG.silence_min_ms, "{outputs:?} after {} ms", node.now - before);
}

#[test]
fn a_leader_that_was_stopped_asks_around_and_drops_nobody() {
    let mut node = alice();
    let outputs = node.wait(60_000);
    assert!(!outputs.iter().any(|output| matches!(output, Output::Write(Write::State(_)))), "{outputs:?}");
    let asked: std::collections::BTreeSet<_> = callees(&outputs).into_iter().collect();
    assert_eq!(asked, peers(&[BOB, CAROL]));
}

#[test]
fn a_suspicion_from_before_a_stall_does_not_count() {
    let mut node = bob_pings_alice();
    let call = node.id(1);
    node.wait(60_000);
    assert_eq!(node.answer(call, unreachable()), []);
}

#[test]
fn a_leader_that_knows_this_node_no_more_or_has_left_is_asked_to_let_it_in_and_others_about_it() {
    let mut node = bob_pings_alice();
    let outputs = node.answer(node.id(1), Ok(Response::Alive));
    let joins = is_call(|call| matches!(call, PeerCall::Join { .. }));
    assert!(outputs.iter().any(joins) && callees(&outputs) == [ALICE.peer(), CAROL.peer()], "{outputs:?}");
    let (join, via_carol) = (call_to(&outputs, ALICE), call_to(&outputs, CAROL));
    node.answer(join, Err(CallError::NotHere("this node is not in that network".to_owned())));
    let outputs = node.answer(via_carol, Ok(Response::Pinged(false, None)));
    assert_eq!(outputs.first(), Some(&event(Event::Leaderless(p2p_chat_model::Epoch(1)))));
}

#[test]
fn a_member_that_only_lives_is_dropped_when_no_join_can_be_under_way_any_more() {
    let mut node = alice();
    let end = node.now + CONFIG.join_timeout_ms;
    let pings_bob =
        |output: &Output| matches!(output, Output::Call { peer, call: PeerCall::Ping(_), .. } if *peer == BOB.peer());
    while node.now < end {
        let outputs = node.tick_until(pings_bob);
        let standing = node.standing(None);
        node.request(CAROL, Request::Ping(standing));
        let outputs = node.answer(call_to(&outputs, BOB), Ok(Response::Alive));
        let is_asked_about = outputs.iter().any(is_call(|call| *call == PeerCall::PingVia(BOB.peer())));
        assert_eq!(is_asked_about, node.now >= end, "at {}: {outputs:?}", node.now);
    }
}

#[test]
fn a_member_outside_the_leader_s_view_asks_to_be_let_in_again() {
    let mut node = bob_pings_alice();
    let outside = Standing { peer_active: false, ..node.standing(None) };
    let outputs = node.answer(node.id(1), Ok(Response::Standing(outside)));
    let [shown, Output::Call { peer, call, .. }] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(*shown, event(Event::Outside));
    assert_eq!((*peer, call), (ALICE.peer(), &PeerCall::Join { request: 99 }));
}

/// alice, started again elsewhere.
fn alice_elsewhere() -> LeaderHint {
    LeaderHint { address: "elsewhere:7501".parse().unwrap(), ..ALICE.hint(1) }
}

fn asks_elsewhere(outputs: &[Output]) -> bool {
    let there = alice_elsewhere().address;
    let asks = |output: &Output| matches!(output, Output::Call { address, call: PeerCall::Join { .. }, .. } if *address == there);
    outputs.iter().any(asks)
}

#[test]
fn a_leader_that_has_moved_is_asked_where_it_says_that_it_is() {
    let mut node = bob();
    let standing = Standing { peer_active: false, leader: Some(alice_elsewhere()), ..node.standing(None) };
    assert!(asks_elsewhere(&node.request(ALICE, Request::Ping(standing))));
}

#[test]
fn a_leader_that_has_moved_is_asked_where_others_say_that_it_is() {
    let mut node = carol_is_asked();
    let outputs = node.answer(node.id(1), Ok(Response::Pinged(true, Some(alice_elsewhere()))));
    assert!(asks_elsewhere(&outputs), "{outputs:?}");
    let mut node = carol_is_asked();
    assert_eq!(node.answer(node.id(1), Ok(Response::Pinged(true, Some(ALICE.hint(1))))), []);
}

#[test]
fn a_leader_that_others_reach_but_do_not_follow_any_more_gives_way_to_theirs() {
    // Of a later epoch, or of the same.
    for epoch in [2, 1] {
        let mut node = carol_is_asked();
        let outputs = node.answer(node.id(1), Ok(Response::Pinged(true, Some(CAROL.hint(epoch)))));
        assert!(outputs.iter().any(is_call(|call| matches!(call, PeerCall::Join { .. }))), "{outputs:?}");
        assert_eq!(callees(&outputs), [CAROL.peer()]);
    }
}

#[test]
fn a_member_with_an_older_view_is_told_the_newest() {
    let mut node = alice();
    let older = Standing { version: 4, ..node.standing(None) };
    let outputs = node.request(BOB, Request::Ping(older));
    let newest = PeerCall::UpdateView(node.snapshot().view.unwrap(), None);
    let expected =
        [node.reply(Ok(Response::Standing(node.standing(None)))), node.call(1, BOB, newest, CONFIG.deliver_timeout_ms)];
    assert_eq!(outputs, expected);
}

#[test]
fn a_follower_whose_leader_lives_after_all_stops_calling_on_who_is_away() {
    let followed = view(1, 5, ALICE, &[ALICE, BOB, DAVE]);
    let mut node = Node::settled_with(BOB, 0, CONFIG, &followed);
    let outputs = node.tick_until(is_ping);
    let outputs = node.answer(call_to(&outputs, ALICE), unreachable());
    let outputs = node.answer(call_to(&outputs, DAVE), Ok(Response::Pinged(false, None)));
    node.answer(call_to(&outputs, DAVE), unreachable());
    let mut calls = Vec::new();
    for _ in 0..40 {
        let standing = node.standing(None);
        node.request(ALICE, Request::Ping(standing));
        calls.extend(callees(&node.pass(500)));
    }
    assert!(!calls.contains(&CAROL.peer()), "carol is away, and alice looks after that");
}
