//! What becomes of a vote when the reign changes while the leader is being checked.

use p2p_chat_engine::{Command, Output, PeerCall, Request, Response, Standing, Write};
use p2p_chat_model::{Epoch, Rank};

use crate::common::*;

/// dave has an own entry that bob could not be handed over, and checks alice, its leader, because carol wants a vote;
/// before she answers, bob leads. Also the call to alice.
fn overtaken() -> (Node, p2p_chat_engine::CallId) {
    let mut node = Node::settled(DAVE, ALICE, &[ALICE, BOB, CAROL, DAVE]);
    let outputs = node.command(Command::Send);
    node.answer(call_to(&outputs, BOB), unreachable());
    let outputs = node.request(CAROL, Request::Elect(Epoch(3), CAROL.node()));
    let check = call_to(&outputs, ALICE);
    let reign = view(2, 6, BOB, &[BOB, CAROL, DAVE]);
    node.request(BOB, Request::Coordinate(reign, certificate(Rank::Registered, Vec::new())));
    assert_eq!(node.leader_hint(), BOB.hint(2));
    (node, check)
}

#[test]
fn what_the_leader_before_says_of_itself_is_not_taken_for_the_word_of_the_one_who_leads_now() {
    let (mut node, check) = overtaken();
    let has_dave = Standing { digest: 0, frontier: Some(clock(&[(ALICE, 4), (DAVE, 1)])), ..node.standing(None) };
    let outputs = node.answer(check, Ok(Response::Standing(has_dave)));
    let acked = |output: &Output| matches!(output, Output::Write(Write::Ack { peer, .. }) if *peer == BOB.peer());
    assert!(!outputs.iter().any(acked), "bob has said nothing: {outputs:?}");
}

#[test]
fn who_leads_now_is_checked_before_a_vote_against_it_is_given() {
    let (mut node, check) = overtaken();
    let outputs = node.answer(check, unreachable());
    let expected = PeerCall::Ping(node.standing(None));
    assert!(outputs.contains(&node.call(1, BOB, expected, CONFIG.ping_timeout_ms)), "{outputs:?}");
    let outputs = node.answer(call_to(&outputs, BOB), unreachable());
    let voted = Ok(Response::Voted(DAVE.vote(3, CAROL)));
    assert!(outputs.iter().any(|output| matches!(output, Output::Reply(_, answer) if *answer == voted)), "{outputs:?}");
}
