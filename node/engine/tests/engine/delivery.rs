//! Handing the own feed over.

use p2p_chat_engine::{CallError, Command, Done, Event, Output, PeerCall, Request, Response, Standing, Way, Write};
use p2p_chat_model::NodeId;

use crate::common::*;

const PUSH_MS: u64 = CONFIG.deliver_timeout_ms;

fn bob() -> Node {
    Node::settled_with(BOB, 0, CONFIG, &view(1, 5, ALICE, &[ALICE, BOB, CAROL]))
}

fn push(from: u64, upto: u64) -> PeerCall {
    PeerCall::Deliver { author: BOB.peer(), from, upto }
}

fn has(upto: u64) -> Result<Response, CallError> {
    Ok(Response::Acked(clock(&[(BOB, upto)])))
}

fn acked(peer: Who, upto: u64, way: Way) -> [Output; 2] {
    let peer = peer.peer();
    [Output::Write(Write::Ack { peer, upto, way }), event(Event::Acked { peer, upto })]
}

/// bob writes `count` texts, and alice has them all; carol's first hand-over is in flight.
fn bob_writes(node: &mut Node, count: u64) -> p2p_chat_engine::CallId {
    let outputs = node.command(Command::Send);
    let (to_alice, to_carol) = (call_to(&outputs, ALICE), call_to(&outputs, CAROL));
    for _ in 1..count {
        node.command(Command::Send);
    }
    let mut call = to_alice;
    loop {
        let outputs = node.answer(call, has(count));
        let next = outputs.iter().find(|output| matches!(output, Output::Call { .. }));
        let Some(Output::Call { id, .. }) = next else { return to_carol };
        call = *id;
    }
}

/// The next hand-over to carol, after whatever else.
fn next_push(node: &mut Node) -> Vec<Output> {
    node.tick_until(|output| {
        matches!(output, Output::Call { peer, call: PeerCall::Deliver { .. } | PeerCall::Relay(_), .. }
            if *peer == CAROL.peer() || *peer == ALICE.peer())
    })
}

/// carol was out of reach twice; the request to relay is out.
fn carol_is_out_of_reach(node: &mut Node) -> p2p_chat_engine::CallId {
    let call = bob_writes(node, 1);
    node.answer(call, unreachable());
    let outputs = next_push(node);
    let outputs = node.answer(call_to(&outputs, CAROL), unreachable());
    assert_eq!(outputs, [node.call(1, ALICE, PeerCall::Relay(CAROL.peer()), 2 * PUSH_MS)]);
    node.id(1)
}

#[test]
fn it_is_said_when_every_other_member_is_taking_entries() {
    let mut node = bob();
    assert!(!node.engine.hands_over_to_all(), "nothing is under way");
    let outputs = node.command(Command::Send);
    assert!(node.engine.hands_over_to_all());
    let (to_alice, to_carol) = (call_to(&outputs, ALICE), call_to(&outputs, CAROL));
    node.answer(to_alice, has(1));
    assert!(!node.engine.hands_over_to_all(), "alice could take more");
    node.command(Command::Send);
    assert!(node.engine.hands_over_to_all());
    node.answer(to_carol, has(2));
    assert!(!node.engine.hands_over_to_all(), "carol could take more");
    let alone = Node::settled_with(BOB, 0, CONFIG, &view(1, 5, BOB, &[BOB]));
    assert!(!alone.engine.hands_over_to_all());
}

#[test]
fn a_text_is_written_before_it_is_called_sent_and_before_it_leaves() {
    let mut node = bob();
    let outputs = node.command(Command::Send);
    let text = Some(node.last_command());
    let (seq, lamport, wall_ms) = (1, 4, WALL);
    let mut others = [ALICE, CAROL];
    others.sort_by_key(|who| who.peer());
    let expected = [
        Output::Write(Write::Own { text, op: None, seq, lamport, wall_ms, clock: clock(&[(ALICE, 3)]) }),
        event(Event::Delivered { author: BOB.peer(), seq }),
        Output::Done(node.last_command(), Ok(Done::Sent { seq, lamport })),
        node.call(1, others[0], push(1, 1), PUSH_MS),
        node.call(2, others[1], push(1, 1), PUSH_MS),
    ];
    assert_eq!(outputs, expected);
}

#[test]
fn the_clock_of_the_next_entry_says_only_what_has_changed() {
    let mut node = bob();
    node.command(Command::Send);
    let clocks = |outputs: &[Output]| {
        outputs.iter().find_map(|output| match output {
            Output::Write(Write::Own { clock, .. }) => Some(clock.clone()),
            _ => None,
        })
    };
    let outputs = node.command(Command::Send);
    assert_eq!(clocks(&outputs), Some(clock(&[])));
    node.request(CAROL, Request::Deliver(vec![run(1, CAROL, 1, vec![text(CAROL, 1, 9, &[(ALICE, 3)])])]));
    let outputs = node.command(Command::Send);
    assert_eq!(clocks(&outputs), Some(clock(&[(CAROL, 1)])));
}

#[test]
fn an_ack_is_written_and_told() {
    let mut node = bob();
    let call = bob_writes(&mut node, 1);
    assert_eq!(node.answer(call, has(1)), acked(CAROL, 1, Way::Direct));
    assert_eq!(node.snapshot().cursors.iter().map(|cursor| cursor.acked).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn whatever_piled_up_goes_with_the_next_hand_over_and_one_is_in_flight_at_a_time() {
    let mut node = bob();
    let call = bob_writes(&mut node, 3);
    let outputs = node.answer(call, has(1));
    let [write, shown] = acked(CAROL, 1, Way::Direct);
    assert_eq!(outputs, [write, shown, node.call(1, CAROL, push(2, 3), PUSH_MS)]);
}

#[test]
fn a_hand_over_holds_no_more_than_the_window() {
    let mut node = bob();
    let window = CONFIG.window_entries;
    let last = window + 6;
    let call = bob_writes(&mut node, last);
    let outputs = node.answer(call, has(1));
    assert_eq!(outputs.last(), Some(&node.call(1, CAROL, push(2, 1 + window), PUSH_MS)));
    let outputs = node.answer(node.id(1), has(1 + window));
    assert_eq!(outputs.last(), Some(&node.call(1, CAROL, push(2 + window, last), PUSH_MS)));
}

#[test]
fn who_lacks_much_is_asked_how_far_it_is_with_the_newest_and_then_gets_the_rest() {
    let mut node = bob();
    let last = 2 + CONFIG.push_gap;
    let call = bob_writes(&mut node, last);
    assert_eq!(node.answer(call, has(1)), acked(CAROL, 1, Way::Direct));
    let outputs = next_push(&mut node);
    assert_eq!(outputs, [node.call(1, CAROL, push(last, last), PUSH_MS)]);
    node.answer(node.id(1), has(1));
    let standing = node.standing(None);
    let ahead = Standing { digest: 1, frontier: Some(clock(&[(ALICE, 3), (BOB, last - 3)])), ..standing };
    let outputs = node.request(CAROL, Request::Ping(ahead));
    let [write, shown] = acked(CAROL, last - 3, Way::Fetched);
    assert_eq!(outputs[1..3], [write, shown]);
    // It answers and lacks little now: no wait.
    assert_eq!(outputs[3..], [node.call(1, CAROL, push(last - 2, last), PUSH_MS)]);
}

#[test]
fn who_lost_its_disk_is_handed_everything_again() {
    let mut node = bob();
    let call = bob_writes(&mut node, 2);
    node.answer(call, has(2));
    let outputs = node.command(Command::Send);
    for who in [ALICE, CAROL] {
        node.answer(call_to(&outputs, who), has(0));
    }
    let outputs = next_push(&mut node);
    let pushes = outputs.iter().filter(|output| matches!(output, Output::Call { call, .. } if *call == push(1, 3)));
    assert_eq!(pushes.count(), 2);
}

#[test]
fn a_busy_receiver_is_given_more_and_more_time() {
    let mut node = bob();
    let mut call = bob_writes(&mut node, 1);
    let mut waits = Vec::new();
    for _ in 0..8 {
        assert_eq!(node.answer(call, Err(CallError::Busy("later".to_owned()))), []);
        let before = node.now;
        let outputs = node.tick_until(is_call(|call| matches!(call, PeerCall::Deliver { .. })));
        assert_eq!(outputs, [node.call(1, CAROL, push(1, 1), PUSH_MS)]);
        call = node.id(1);
        waits.push(node.now - before);
        let standing = node.standing(None);
        node.request(ALICE, Request::Ping(standing));
    }
    assert_eq!(waits, [200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
}

#[test]
fn a_receiver_that_answers_and_takes_nothing_is_given_more_and_more_time() {
    let mut node = bob();
    let mut call = bob_writes(&mut node, 1);
    let mut waits = Vec::new();
    for _ in 0..8 {
        assert_eq!(node.answer(call, has(0)), []);
        let before = node.now;
        let outputs = node.tick_until(is_call(|call| matches!(call, PeerCall::Deliver { .. })));
        call = call_to(&outputs, CAROL);
        waits.push(node.now - before);
        let standing = node.standing(None);
        node.request(ALICE, Request::Ping(standing));
    }
    assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
    assert!(!node.snapshot().cursors.iter().any(|cursor| cursor.failing), "she answers");
    node.answer(call, has(1));
    let outputs = node.command(Command::Send);
    let before = node.now;
    node.answer(call_to(&outputs, CAROL), has(1));
    node.tick_until(is_call(|call| *call == push(2, 2)));
    assert_eq!(node.now - before, 100, "once it has taken something it is asked soon again");
}

#[test]
fn after_two_failures_the_leader_is_asked_to_pass_it_on() {
    let mut node = bob();
    let relay = carol_is_out_of_reach(&mut node);
    let outputs = node.answer(relay, Ok(Response::Relayed(true, 1)));
    assert_eq!(outputs, acked(CAROL, 1, Way::Relayed(ALICE.peer())));
    let outputs = node.command(Command::Send);
    let calls: Vec<_> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Call { peer, call, .. } => Some((*peer, call.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(calls.len(), 2);
    for call in [push(2, 2), PeerCall::Relay(CAROL.peer())] {
        assert!(calls.contains(&(ALICE.peer(), call)), "both go to alice: {calls:?}");
    }
    assert_eq!(
        node.snapshot().cursors.iter().find(|it| it.peer == CAROL.peer()).and_then(|it| it.via),
        Some(ALICE.peer())
    );
}

#[test]
fn the_direct_way_is_tried_again_after_a_while_and_left_again_at_the_first_failure() {
    let mut node = bob();
    let relay = carol_is_out_of_reach(&mut node);
    node.answer(relay, Ok(Response::Relayed(true, 1)));
    let end = node.now + CONFIG.direct_retry_ms;
    while node.now < end {
        node.now += 500;
        let standing = node.standing(None);
        node.request(ALICE, Request::Ping(standing));
    }
    let outputs = node.command(Command::Send);
    let direct = |output: &Output| matches!(output, Output::Call { peer, call, .. } if *peer == CAROL.peer() && *call == push(2, 2));
    assert!(outputs.iter().any(direct), "{outputs:?}");
    let outputs = node.answer(call_to(&outputs, CAROL), unreachable());
    assert_eq!(outputs, [node.call(1, ALICE, PeerCall::Relay(CAROL.peer()), 2 * PUSH_MS)]);
}

#[test]
fn who_is_reached_directly_again_is_relayed_to_only_after_two_failures_again() {
    let mut node = bob();
    let relay = carol_is_out_of_reach(&mut node);
    node.answer(relay, Ok(Response::Relayed(true, 1)));
    let outputs = node.pass(CONFIG.direct_retry_ms);
    assert!(outputs.iter().any(is_call(|call| matches!(call, PeerCall::Ping(_)))), "alice was silent: {outputs:?}");
    let standing = node.standing(None);
    node.request(ALICE, Request::Ping(standing));
    let outputs = node.command(Command::Send);
    node.answer(call_to(&outputs, CAROL), has(2));
    let outputs = node.command(Command::Send);
    assert_eq!(node.answer(call_to(&outputs, CAROL), unreachable()), []);
}

#[test]
fn a_relay_that_can_not_reach_the_target_either_leaves_the_direct_way() {
    let mut node = bob();
    let relay = carol_is_out_of_reach(&mut node);
    assert_eq!(node.answer(relay, Ok(Response::Relayed(false, 0))), []);
    let outputs = next_push(&mut node);
    assert_eq!(outputs, [node.call(1, CAROL, push(1, 1), PUSH_MS)]);
}

#[test]
fn a_relay_that_lacks_the_feed_takes_nothing_back() {
    let mut node = bob();
    let call = bob_writes(&mut node, 1);
    node.answer(call, has(1));
    let outputs = node.command(Command::Send);
    let (to_alice, to_carol) = (call_to(&outputs, ALICE), call_to(&outputs, CAROL));
    node.answer(to_alice, has(2));
    node.answer(to_carol, unreachable());
    let outputs = next_push(&mut node);
    let outputs = node.answer(call_to(&outputs, CAROL), unreachable());
    assert_eq!(node.answer(call_to(&outputs, ALICE), Ok(Response::Relayed(true, 0))), []);
    assert_eq!(node.snapshot().cursors.iter().map(|cursor| cursor.acked).sum::<u64>(), 2 + 1);
}

#[test]
fn a_leader_that_does_not_take_entries_is_suspected() {
    let mut node = bob();
    let outputs = node.command(Command::Send);
    let outputs = node.answer(call_to(&outputs, ALICE), unreachable());
    assert_eq!(outputs, [node.call(1, ALICE, PeerCall::Ping(node.standing(None)), CONFIG.ping_timeout_ms)]);
}

#[test]
fn a_leader_suspects_whoever_does_not_take_entries() {
    let mut node = Node::settled_with(ALICE, 0, CONFIG, &view(1, 5, ALICE, &[ALICE, BOB, CAROL]));
    let outputs = node.command(Command::Send);
    let outputs = node.answer(call_to(&outputs, CAROL), unreachable());
    assert_eq!(outputs, [node.call(1, CAROL, PeerCall::Ping(node.standing(None)), CONFIG.ping_timeout_ms)]);
}

#[test]
fn who_is_away_is_handed_nothing_and_everything_when_it_is_back() {
    let mut node = Node::settled_with(BOB, 0, CONFIG, &view(1, 5, ALICE, &[ALICE, BOB]));
    let outputs = node.command(Command::Send);
    assert_eq!(callees(&outputs), [ALICE.peer()]);
    node.answer(node.id(1), has(1));
    let mut back = view(1, 6, ALICE, &[ALICE, BOB]);
    back.active.push(active(7, CAROL));
    back.next_id = NodeId(8);
    let outputs = node.request(ALICE, Request::UpdateView(back, None));
    assert_eq!(outputs.last(), Some(&node.call(1, CAROL, push(1, 1), PUSH_MS)));
}

#[test]
fn figures_are_those_of_the_snapshot_and_sum_up_what_is_owed() {
    let mut node = bob();
    bob_writes(&mut node, 3);
    let (figures, snapshot) = (node.figures(), node.snapshot());
    assert_eq!((figures.owed, figures.owed_active), (3, 3), "alice has all, carol nothing");
    assert_eq!((figures.epoch, figures.leading, figures.in_view), (snapshot.epoch.0, false, true));
    assert_eq!((figures.members, figures.active), (snapshot.roster.len(), 3));
    assert_eq!(figures.entries, snapshot.frontier.iter().map(|(_, seq)| seq).sum::<u64>());
    assert_eq!((figures.held, figures.missing, figures.frozen), (0, 0, 0));

    // carol drops out of the view: what she lacks is still owed.
    let smaller = view(1, 6, ALICE, &[ALICE, BOB]);
    node.request(ALICE, Request::UpdateView(smaller, None));
    assert_eq!((node.figures().owed, node.figures().owed_active, node.figures().active), (3, 0, 2));
}
