//! Votes: what becomes of them when the reign changes while the leader is being checked, and how far they bind.

use p2p_chat_engine::{Command, Output, PeerCall, Request, Response, Standing, Write};
use p2p_chat_model::{Epoch, Rank, limits::MAX_EPOCH_JUMP};

use crate::{common::*, election::alice_is_lost};

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

/// The last epoch that is taken after the first.
const LAST: Epoch = Epoch(1 + MAX_EPOCH_JUMP);

#[test]
fn a_vote_for_the_last_epoch_leaves_those_for_others_as_they_are() {
    let mut node = Node::settled_with(CAROL, 0, CONFIG, &view(1, 5, ALICE, &[ALICE, BOB, CAROL]));
    let mut asked = |epoch: Epoch| node.request(ALICE, Request::Elect(epoch, ALICE.node()));
    for epoch in [Epoch(3), LAST] {
        let voted = Ok(Response::Voted(CAROL.vote(epoch.0, ALICE)));
        let outputs = asked(epoch);
        assert!(
            outputs.iter().any(|output| matches!(output, Output::Reply(_, answer) if *answer == voted)),
            "{outputs:?}"
        );
    }
    assert_eq!(node.on_disk().vote, Some((Epoch(3), ALICE.peer())));
    let outputs = node.request(BOB, Request::Elect(Epoch(3), BOB.node()));
    let outputs = node.answer(call_to(&outputs, ALICE), unreachable());
    assert_eq!(outputs, [node.reply(Ok(Response::Promised(Epoch(3))))]);
}

/// bob has given this vote, and then the leader is lost.
fn bob_stands_after_a_vote_in(epoch: Epoch) -> (Node, Vec<Output>) {
    let mut node = Node::settled_with(BOB, 0, CONFIG, &view(1, 5, ALICE, &[ALICE, BOB, CAROL]));
    node.request(ALICE, Request::Elect(epoch, ALICE.node()));
    let outputs = alice_is_lost(&mut node);
    (node, outputs)
}

fn candidacy(epoch: Epoch) -> impl Fn(&Output) -> bool {
    is_call(move |call| *call == PeerCall::Elect(epoch, BOB.node()))
}

#[test]
fn nobody_has_to_stand_above_the_last_epoch() {
    let (mut node, outputs) = bob_stands_after_a_vote_in(LAST);
    assert!(outputs.iter().any(candidacy(Epoch(2))), "{outputs:?}");
    node.answer(node.id(1), Ok(Response::Promised(LAST)));
    let outputs = alice_is_lost(&mut node);
    assert!(outputs.iter().any(candidacy(Epoch(2))), "{outputs:?}");
}

#[test]
fn whoever_stands_in_vain_does_not_use_the_epochs_up() {
    let (mut node, _) = bob_stands_after_a_vote_in(Epoch(1));
    for _ in 0..5 {
        node.answer(node.id(1), unreachable());
        let outputs = alice_is_lost(&mut node);
        assert!(outputs.iter().any(candidacy(Epoch(2))), "{outputs:?}");
    }
}

#[test]
fn whoever_has_voted_in_the_epoch_before_the_last_can_still_stand() {
    let (mut node, outputs) = bob_stands_after_a_vote_in(Epoch(LAST.0 - 1));
    assert!(outputs.iter().any(candidacy(LAST)), "{outputs:?}");
    node.answer(node.id(1), unreachable());
    let outputs = alice_is_lost(&mut node);
    assert!(outputs.iter().any(candidacy(LAST)), "and again: {outputs:?}");
    node.answer(node.id(1), Ok(Response::Voted(CAROL.vote(LAST.0, BOB))));
    assert!(node.snapshot().leading);
}
