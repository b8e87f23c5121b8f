//! An election before the discovery services.

use p2p_chat_engine::{CallError, DiscoveryAnswer, DiscoveryCall, DiscoveryRefusal, Output, PeerCall, Response};
use p2p_chat_model::{Epoch, Rank};

use crate::{
    common::*,
    election::{alice_is_lost, asks_for_reign, bob_registers, node, refused, takes_office},
};

#[test]
fn a_minority_candidate_that_the_service_accepts_leads_with_the_lower_rank() {
    let mut node = node(BOB, 1, &[ALICE, BOB, CAROL]);
    let outputs = alice_is_lost(&mut node);
    let outputs = node.answer(call_to(&outputs, CAROL), unreachable());
    assert!(asks_for_reign(&outputs), "{outputs:?}");
    node.answer(node.id(1), discovery(DiscoveryAnswer::Accepted(record(BOB, 2))));
    assert_eq!(node.on_disk().certificate.rank, Rank::Registered);
    assert!(node.snapshot().leading);
}

#[test]
fn a_service_out_of_reach_leaves_the_decision_to_the_next_one() {
    let mut node = node(BOB, 2, &[ALICE, BOB]);
    let outputs = alice_is_lost(&mut node);
    let outputs = node.answer(discovery_call(&outputs), unreachable());
    let update = DiscoveryCall::Update {
        view: view(2, 6, BOB, &[BOB]),
        expected: Epoch(1),
        votes: vec![BOB.vote(2, BOB)],
        serial: WALL,
    };
    assert_eq!(outputs, [node.discover(1, 1, update)]);
}

#[test]
fn a_service_that_lost_the_network_is_shown_the_candidate_s_admission() {
    let mut node = node(BOB, 1, &[ALICE, BOB]);
    let outputs = alice_is_lost(&mut node);
    let outputs = node.answer(discovery_call(&outputs), discovery(DiscoveryAnswer::Unknown));
    let view = view(2, 6, BOB, &[BOB]);
    let admission = vec![(ALICE.peer(), 2)];
    assert_eq!(outputs, [node.discover(1, 0, DiscoveryCall::Create { view, admission, serial: WALL + 1 })]);
    let outputs = node.answer(node.id(1), discovery(DiscoveryAnswer::Accepted(record(BOB, 2))));
    assert!(takes_office(&outputs), "{outputs:?}");
}

#[test]
fn one_vote_is_a_majority_of_nothing() {
    // Everybody else may only have dropped out of this node's view.
    let mut node = Node::settled_with(ALICE, 1, CONFIG, &view(3, 5, ALICE, &[ALICE]));
    let outputs = node.tick_until(|output| matches!(output, Output::Discover { .. }));
    let outputs = node.answer(discovery_call(&outputs), refused(DiscoveryRefusal::Epoch, ALICE, 6));
    node.answer(discovery_call(&outputs), unreachable());
    assert_eq!(node.snapshot().epoch, Epoch(3));
}

#[test]
fn a_service_behind_in_epochs_is_asked_again_with_the_one_it_has() {
    let mut node = bob_registers();
    let outputs = node.answer(node.id(1), refused(DiscoveryRefusal::Epoch, ALICE, 0));
    let [Output::Discover { call: DiscoveryCall::Update { expected, serial, .. }, .. }] = &outputs[..] else {
        panic!("{outputs:?}")
    };
    assert_eq!((*expected, *serial), (Epoch(0), WALL + 1));
}

#[test]
fn a_service_that_has_a_later_leader_on_record_sends_the_candidate_there() {
    let mut node = bob_registers();
    let outputs = node.answer(node.id(1), refused(DiscoveryRefusal::Epoch, CAROL, 7));
    let join = is_call(|call| matches!(call, PeerCall::Join { request: 99 }));
    assert!(outputs.iter().any(join) && callees(&outputs) == [CAROL.peer()], "{outputs:?}");
}

#[test]
fn a_candidate_is_sent_to_a_leader_of_an_earlier_reign_if_that_answers_the_service() {
    let mut node = Node::settled_with(BOB, 1, CONFIG, &view(3, 5, ALICE, &[ALICE, BOB]));
    let outputs = alice_is_lost(&mut node);
    let outputs = node.answer(discovery_call(&outputs), refused(DiscoveryRefusal::NotActive, CAROL, 1));
    let outputs = node.answer(discovery_call(&outputs), Err(CallError::Exists("lab".to_owned())));
    assert_eq!(callees(&outputs), [CAROL.peer()]);
    assert!(outputs.iter().any(is_call(|call| matches!(call, PeerCall::Join { .. }))), "{outputs:?}");
}

#[test]
fn a_service_that_knows_another_network_of_the_name_decides_nothing() {
    let taken = || Err(CallError::Exists("lab".to_owned()));
    let mut node = node(BOB, 2, &[ALICE, BOB, CAROL]);
    alice_is_lost(&mut node);
    let outputs = node.answer(node.id(1), Ok(Response::Voted(CAROL.vote(2, BOB))));
    let outputs = node.answer(discovery_call(&outputs), discovery(DiscoveryAnswer::Unknown));
    let outputs = node.answer(discovery_call(&outputs), taken());
    assert!(asks_for_reign(&outputs), "the next one may list the network: {outputs:?}");
    let outputs = node.answer(discovery_call(&outputs), discovery(DiscoveryAnswer::Unknown));
    let outputs = node.answer(discovery_call(&outputs), taken());
    assert!(takes_office(&outputs), "two of three want bob: {outputs:?}");
}

#[test]
fn who_was_on_record_elsewhere_says_nothing_of_a_service_that_knows_another_network_of_the_name() {
    let mut node = node(BOB, 2, &[ALICE, BOB, CAROL]);
    alice_is_lost(&mut node);
    let outputs = node.answer(node.id(1), Ok(Response::Voted(CAROL.vote(2, BOB))));
    let outputs = node.answer(discovery_call(&outputs), refused(DiscoveryRefusal::NotActive, DAVE, 1));
    let outputs = node.answer(discovery_call(&outputs), unreachable());
    let outputs = node.answer(discovery_call(&outputs), discovery(DiscoveryAnswer::Unknown));
    let outputs = node.answer(discovery_call(&outputs), Err(CallError::Exists("lab".to_owned())));
    assert!(takes_office(&outputs), "{outputs:?}");
}
