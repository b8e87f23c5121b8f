//! What the discovery services are told by a leader.

use p2p_chat_engine::{
    CallError, DiscoveryAnswer, DiscoveryCall, DiscoveryRefusal, Durable, Event, Output, PeerCall, Request, Response,
    Start,
};
use p2p_chat_model::{Epoch, PeerId, Rank, limits::MAX_MEMBERS};

use crate::common::*;

fn alice() -> Node {
    Node::settled_with(ALICE, 1, CONFIG, &view(3, 5, ALICE, &[ALICE, BOB, CAROL]))
}

fn is_discovery(output: &Output) -> bool {
    matches!(output, Output::Discover { .. })
}

/// The next renewal is out.
fn renews(node: &mut Node) -> p2p_chat_engine::CallId {
    discovery_call(&node.tick_until(is_discovery))
}

fn refused(why: DiscoveryRefusal, leader: Who, epoch: u64, serial: u64) -> Result<Response, CallError> {
    discovery(DiscoveryAnswer::Refused(why, record(leader, epoch), serial))
}

#[test]
fn the_lease_is_renewed_in_time_under_a_growing_serial() {
    let mut node = alice();
    for serial in WALL + 1..WALL + 4 {
        let before = node.now;
        let mut outputs = node.tick_until(is_discovery);
        outputs.retain(is_discovery);
        let renew = DiscoveryCall::Renew { view: node.snapshot().view.unwrap(), serial };
        let id = discovery_call(&outputs);
        let timeout_ms = CONFIG.discovery_timeout_ms;
        assert_eq!(outputs, [Output::Discover { id, service: 0, call: renew, timeout_ms }]);
        assert_eq!(node.now - before, CONFIG.lease_renewal_ms);
        node.answer(id, discovery(DiscoveryAnswer::Accepted(record(ALICE, 3))));
    }
}

#[test]
fn a_renewal_that_failed_is_tried_again_soon() {
    let mut node = alice();
    let call = renews(&mut node);
    assert_eq!(node.answer(call, unreachable()), []);
    let before = node.now;
    renews(&mut node);
    assert_eq!(node.now - before, CONFIG.lease_retry_ms);
}

#[test]
fn a_service_that_lost_the_network_gets_it_again_with_the_leader_s_chain_of_admissions() {
    let mut node = Node::settled_with(CAROL, 1, CONFIG, &view(3, 5, CAROL, &[ALICE, BOB, CAROL]));
    let call = renews(&mut node);
    let outputs = node.answer(call, discovery(DiscoveryAnswer::Unknown));
    let view = node.snapshot().view.unwrap();
    let admission = vec![(ALICE.peer(), 3)];
    assert_eq!(outputs, [node.discover(1, 0, DiscoveryCall::Create { view, admission, serial: WALL + 2 })]);
}

#[test]
fn an_earlier_reign_on_record_is_replaced_with_the_certificate() {
    let mut node = alice();
    let call = renews(&mut node);
    let outputs = node.answer(call, refused(DiscoveryRefusal::Epoch, BOB, 2, 0));
    let view = node.snapshot().view.unwrap();
    let update = DiscoveryCall::Update { view, expected: Epoch(2), votes: Vec::new(), serial: WALL + 2 };
    assert_eq!(outputs, [node.discover(1, 0, update)]);
}

#[test]
fn a_leader_on_record_that_is_a_member_now_votes_for_another_reign_if_the_record_does_not_know_its_leader() {
    let mut node = Node::settled_with(ALICE, 1, CONFIG, &view(3, 6, ALICE, &[ALICE, BOB]));
    let renewal = renews(&mut node);
    let outputs = node.answer(renewal, refused(DiscoveryRefusal::NotLeader, BOB, 1, 0));
    let outputs = node.answer(discovery_call(&outputs), refused(DiscoveryRefusal::NotActive, BOB, 1, 0));
    let asked = outputs.iter().find_map(|output| match output {
        Output::Call { id, call: PeerCall::Elect(Epoch(4), _), .. } => Some(*id),
        _ => None,
    });
    let outputs = node.answer(asked.expect("bob is asked"), Ok(Response::Voted(BOB.vote(4, ALICE))));
    let with_consent = |output: &Output| matches!(output, Output::Discover { call: DiscoveryCall::Update { votes, .. }, .. } if votes.len() == 2);
    assert!(outputs.iter().any(with_consent), "{outputs:?}");
}

#[test]
fn a_leader_on_record_is_waited_for_although_a_majority_votes_before_it() {
    let mut node = Node::settled_with(ALICE, 2, CONFIG, &view(3, 7, ALICE, &[ALICE, BOB, CAROL]));
    let mut outputs = node.tick_until(is_discovery);
    outputs.retain(|output| matches!(output, Output::Discover { service: 1, .. }));
    let outputs = node.answer(discovery_call(&outputs), refused(DiscoveryRefusal::NotLeader, CAROL, 1, 0));
    let outputs = node.answer(discovery_call(&outputs), refused(DiscoveryRefusal::NotActive, CAROL, 1, 0));
    let elect = |to: Who| {
        let found = outputs.iter().find_map(|output| match output {
            Output::Call { id, peer, call: PeerCall::Elect(Epoch(4), _), .. } if *peer == to.peer() => Some(*id),
            _ => None,
        });
        found.expect("it is asked")
    };
    let early = node.answer(elect(BOB), Ok(Response::Voted(BOB.vote(4, ALICE))));
    assert!(!early.iter().any(is_discovery), "carol's consent is what it is for: {early:?}");
    let outputs = node.answer(elect(CAROL), Ok(Response::Voted(CAROL.vote(4, ALICE))));
    let with_consent = |output: &Output| matches!(output, Output::Discover { call: DiscoveryCall::Update { votes, .. }, .. } if votes.len() == 3);
    assert!(outputs.iter().any(with_consent), "{outputs:?}");
}

#[test]
fn an_earlier_leader_on_record_that_never_heard_of_this_one_is_met_by_a_join_and_then_told() {
    let mut node = Node::settled_with(ALICE, 1, CONFIG, &view(3, 6, ALICE, &[ALICE, BOB]));
    let renewal = renews(&mut node);
    let outputs = node.answer(renewal, refused(DiscoveryRefusal::NotLeader, CAROL, 1, 0));
    let update = discovery_call(&outputs);
    let outputs = node.answer(update, refused(DiscoveryRefusal::NotActive, CAROL, 1, 0));
    let told = call_to(&outputs, CAROL);
    let outputs = node.answer(told, Err(CallError::NotMember("join it first".to_owned())));
    let asked = call_to(&outputs, CAROL);
    assert!(outputs.iter().any(is_call(|call| matches!(call, PeerCall::Join { .. }))), "{outputs:?}");

    let theirs = view(1, 4, CAROL, &[ALICE, CAROL]);
    let admitted = Response::Admitted { view: theirs, admission: (CAROL.peer(), 2), frontier: clock(&[(CAROL, 2)]) };
    let outputs = node.answer(asked, Ok(admitted));
    assert_eq!(node.snapshot().epoch, Epoch(3));
    let mine = |call: &PeerCall| matches!(call, PeerCall::Coordinate(view, _) if view.epoch == Epoch(3));
    assert!(outputs.iter().any(is_call(mine)), "{outputs:?}");
    assert_eq!(callees(&outputs), [CAROL.peer()]);
}

#[test]
fn a_serial_that_is_too_low_is_raised_above_the_one_on_record() {
    let mut node = alice();
    let call = renews(&mut node);
    node.answer(call, refused(DiscoveryRefusal::Outdated, ALICE, 3, WALL + 500));
    let outputs = node.tick_until(is_discovery);
    let renew = DiscoveryCall::Renew { view: node.snapshot().view.unwrap(), serial: WALL + 501 };
    assert!(outputs.contains(&node.discover(1, 0, renew)), "{outputs:?}");
}

#[test]
fn a_service_that_keeps_saying_outdated_is_not_asked_without_pause() {
    let mut node = alice();
    let before = node.now;
    for turn in 0..5 {
        let call = renews(&mut node);
        node.answer(call, refused(DiscoveryRefusal::Outdated, ALICE, 3, WALL + turn));
    }
    assert!(node.now - before > CONFIG.lease_renewal_ms + CONFIG.lease_retry_ms, "{} ms", node.now - before);
}

#[test]
fn a_later_leader_on_record_is_asked_to_let_this_one_in() {
    let mut node = alice();
    let call = renews(&mut node);
    let outputs = node.answer(call, refused(DiscoveryRefusal::NotLeader, CAROL, 4, 0));
    assert_eq!(callees(&outputs), [CAROL.peer()]);
    assert!(outputs.iter().any(is_call(|call| matches!(call, PeerCall::Join { .. }))), "{outputs:?}");
}

#[test]
fn a_later_leader_on_record_that_is_gone_is_outvoted_with_an_epoch_above() {
    let mut node = alice();
    let call = renews(&mut node);
    let outputs = node.answer(call, refused(DiscoveryRefusal::NotLeader, DAVE, 4, 0));
    let outputs = node.answer(call_to(&outputs, DAVE), unreachable());
    let elect = PeerCall::Elect(Epoch(5), ALICE.node());
    let expected = [
        node.saved(|state| {
            state.vote = Some((Epoch(5), ALICE.peer()));
            state.addresses.insert(DAVE.peer(), DAVE.address());
        }),
        node.call(1, BOB, elect.clone(), CONFIG.elect_timeout_ms),
        node.call(2, CAROL, elect, CONFIG.elect_timeout_ms),
    ];
    assert_eq!(outputs, expected);
}

#[test]
fn a_leader_that_goes_above_a_reign_that_is_gone_is_not_sent_there_by_who_remembers_it() {
    let mut node = Node::settled_with(ALICE, 1, CONFIG, &view(1, 5, ALICE, &[ALICE, BOB]));
    // bob's reign of epoch 4 is on record at the service, and bob has left.
    let renewal = renews(&mut node);
    let outputs = node.answer(renewal, refused(DiscoveryRefusal::NotLeader, BOB, 4, 0));
    let outputs = node.answer(call_to(&outputs, BOB), Err(CallError::NotHere("gone".to_owned())));
    let elect = call_to(&outputs, BOB);
    let outputs = node.answer(elect, Ok(Response::Outdated(BOB.hint(4))));
    let stands = |output: &Output| matches!(output, Output::Discover { call: DiscoveryCall::Update { view, .. }, .. } if view.epoch == Epoch(5));
    assert!(outputs.iter().any(stands), "{outputs:?}");
}

#[test]
fn the_own_later_reign_on_record_from_before_a_crash_is_gone_beyond() {
    let mut node = alice();
    let call = renews(&mut node);
    node.answer(call, refused(DiscoveryRefusal::Epoch, ALICE, 6, 0));
    assert_eq!(node.on_disk().vote, Some((Epoch(7), ALICE.peer())));
}

#[test]
fn a_view_that_changes_during_a_renewal_is_brought_on_record_right_after() {
    let mut node = alice();
    let call = renews(&mut node);
    node.request(CAROL, Request::Leave);
    node.answer(call, discovery(DiscoveryAnswer::Accepted(record(ALICE, 3))));
    let before = node.now;
    let outputs = node.tick_until(is_discovery);
    let Some(Output::Discover { call: DiscoveryCall::Renew { view, .. }, .. }) =
        outputs.iter().find(|output| is_discovery(output))
    else {
        panic!("{outputs:?}")
    };
    assert_eq!((view.version, node.now - before <= 1), (6, true));
}

#[test]
fn addresses_stay_within_their_bound_or_the_state_could_not_be_read_back() {
    let mut state = durable(&view(3, 5, ALICE, &[ALICE, BOB]));
    for number in state.addresses.len()..MAX_MEMBERS {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        state.addresses.insert(PeerId::new(bytes), ERIN.address());
    }
    let log = vec![founding_log(&[ALICE, BOB])];
    let (mut node, outputs) = Node::start(ALICE, 1, Start::Resume { durable: state, log });
    node.calm(outputs);
    let call = renews(&mut node);
    let outputs = node.answer(call, refused(DiscoveryRefusal::NotLeader, DAVE, 3, 0));
    let disk = node.on_disk();
    assert!(callees(&outputs).contains(&DAVE.peer()), "dave is told of this reign: {outputs:?}");
    assert_eq!(disk.vote, Some((Epoch(4), ALICE.peer())));
    assert!(Durable::decode(&disk.encode()).is_ok_and(|back| back == *disk), "it can't be read back");
}

#[test]
fn a_follower_renews_nothing() {
    let mut node = Node::settled_with(BOB, 1, CONFIG, &view(3, 5, ALICE, &[ALICE, BOB, CAROL]));
    for _ in 0..60 {
        let standing = node.standing(None);
        node.request(ALICE, Request::Ping(standing));
        assert!(!node.pass(500).iter().any(is_discovery));
    }
}

#[test]
fn a_deposed_leader_stops_renewing() {
    let mut node = alice();
    let reign = view(4, 6, BOB, &[ALICE, BOB, CAROL]);
    node.request(BOB, Request::Coordinate(reign, certificate(Rank::Registered, Vec::new())));
    for _ in 0..60 {
        let standing = node.standing(None);
        node.request(BOB, Request::Ping(standing));
        assert!(!node.pass(500).iter().any(is_discovery));
    }
}

#[test]
fn a_service_that_can_not_reach_this_leader_where_it_listens_now_begins_no_election() {
    let mut node = alice();
    let call = renews(&mut node);
    let reason = format!("it can't reach this node at {}", ALICE.address());
    let outputs = node.answer(call, refused(DiscoveryRefusal::Unreachable, ALICE, 3, 0));
    assert_eq!(outputs, [event(Event::Unlisted(0, reason))]);
    assert_eq!(node.on_disk().vote, None);
    let before = node.now;
    renews(&mut node);
    assert_eq!(node.now - before, CONFIG.lease_retry_ms);
}

#[test]
fn why_a_service_does_not_list_the_network_is_told_once_and_shown_until_it_does() {
    let mut node = alice();
    let taken = || Err(CallError::Exists("lab is another network there".to_owned()));
    let mut tell = |answer| {
        let call = renews(&mut node);
        let outputs = node.answer(call, discovery(DiscoveryAnswer::Unknown));
        let told = node.answer(discovery_call(&outputs), answer);
        (told.len(), node.snapshot().unlisted)
    };
    let reason = "refused: lab is another network there".to_owned();
    assert_eq!(tell(taken()), (1, [(0, reason.clone())].into()));
    assert_eq!(tell(taken()), (0, [(0, reason.clone())].into()));
    assert_eq!(tell(unreachable()), (0, [(0, reason)].into()), "that says nothing new");
    assert_eq!(tell(discovery(DiscoveryAnswer::Accepted(record(ALICE, 3)))), (0, [].into()));
}
