//! Passing on what somebody else wrote.

use p2p_chat_engine::{Config, Output, PeerCall, Refusal, Request, Response};

use crate::common::*;

/// alice leads and holds three entries of bob.
fn alice_with(config: Config) -> Node {
    let mut node = Node::settled_with(ALICE, 0, config, &view(1, 5, ALICE, &[ALICE, BOB, CAROL]));
    let entries = (1..=3).map(|seq| text(BOB, seq, 3 + seq, &[])).collect();
    node.request(BOB, Request::Deliver(vec![run(1, BOB, 1, entries)]));
    node
}

fn alice() -> Node {
    alice_with(CONFIG)
}

fn push(node: &Node, from: u64, upto: u64) -> Output {
    let call = PeerCall::Deliver { author: BOB.peer(), from, upto };
    node.call(1, CAROL, call, CONFIG.deliver_timeout_ms)
}

#[test]
fn the_newest_entry_asks_how_far_the_target_is_and_the_rest_follows() {
    let mut node = alice();
    let outputs = node.request(BOB, Request::Relay(CAROL.peer()));
    assert_eq!(outputs, [push(&node, 3, 3)]);
    let outputs = node.answer(node.id(1), Ok(Response::Acked(clock(&[]))));
    assert_eq!(outputs, [push(&node, 1, 3)]);
    let outputs = node.answer(node.id(1), Ok(Response::Acked(clock(&[(BOB, 3)]))));
    assert_eq!(outputs, [node.reply(Ok(Response::Relayed(true, 3)))]);
}

#[test]
fn a_target_that_takes_nothing_is_not_asked_for_ever() {
    let mut node = alice();
    node.request(BOB, Request::Relay(CAROL.peer()));
    node.answer(node.id(1), Ok(Response::Acked(clock(&[]))));
    let outputs = node.answer(node.id(1), Ok(Response::Acked(clock(&[]))));
    assert_eq!(outputs, [node.reply(Ok(Response::Relayed(true, 0)))]);
}

#[test]
fn a_target_out_of_the_leader_s_reach_too_is_reported_and_then_suspected() {
    let mut node = alice();
    node.request(BOB, Request::Relay(CAROL.peer()));
    let outputs = node.answer(node.id(1), unreachable());
    let ping = PeerCall::Ping(node.standing(None));
    let expected = [node.reply(Ok(Response::Relayed(false, 0))), node.call(1, CAROL, ping, CONFIG.ping_timeout_ms)];
    assert_eq!(outputs, expected);
}

#[test]
fn nothing_is_passed_on_to_who_is_not_active_or_is_the_relay_itself() {
    let mut node = alice();
    for target in [DAVE, ALICE] {
        let outputs = node.request(BOB, Request::Relay(target.peer()));
        assert_eq!(outputs, [node.reply(Ok(Response::Relayed(false, 0)))]);
    }
}

#[test]
fn there_is_nothing_to_pass_on_of_who_has_written_nothing() {
    let mut node = alice();
    let outputs = node.request(CAROL, Request::Relay(BOB.peer()));
    assert_eq!(outputs, [node.reply(Ok(Response::Relayed(true, 0)))]);
}

#[test]
fn relays_are_bounded() {
    let mut node = alice_with(Config { max_pending_requests: 1, ..CONFIG });
    node.request(BOB, Request::Relay(CAROL.peer()));
    let outputs = node.request(BOB, Request::Relay(CAROL.peer()));
    assert_eq!(outputs, [node.reply(Err(Refusal::Busy("too many relays are under way")))]);
}
