//! Which view is followed.

use p2p_chat_engine::{DiscoveryCall, Event, Output, PeerCall, Refusal, Request, Response, Standing, Write};
use p2p_chat_model::{ActiveMember, Certificate, Epoch, NodeId, PeerId, Rank, View, ViewError, limits::MAX_EPOCH_JUMP};

use crate::common::*;

fn bob() -> Node {
    Node::settled_with(BOB, 0, CONFIG, &view(3, 5, ALICE, &[ALICE, BOB, CAROL, DAVE]))
}

fn all_votes(epoch: u64, candidate: Who) -> Vec<p2p_chat_model::Vote> {
    [BOB, CAROL, DAVE].map(|voter| voter.vote(epoch, candidate)).to_vec()
}

fn writes_state(outputs: &[Output]) -> bool {
    outputs.iter().any(|output| matches!(output, Output::Write(Write::State(_))))
}

#[test]
fn a_newer_view_of_the_leader_is_on_disk_before_it_is_acknowledged() {
    let mut node = bob();
    let next = view(3, 6, ALICE, &[ALICE, BOB, CAROL]);
    let next = View { next_id: NodeId(5), ..next };
    let outputs = node.request(ALICE, Request::UpdateView(next.clone(), None));
    let expected = [
        event(Event::DroppedOut(DAVE.peer(), DAVE.node())),
        node.saved(|state| state.view = Some(next)),
        node.reply(Ok(Response::Taken(true, Some(ALICE.hint(3))))),
    ];
    assert_eq!(outputs, expected);
}

#[test]
fn the_same_view_again_is_acknowledged_and_an_older_one_is_not() {
    let mut node = bob();
    let same = node.snapshot().view.unwrap();
    let older = View { version: 4, ..same.clone() };
    let outputs = node.request(ALICE, Request::UpdateView(same, None));
    assert_eq!(outputs, [node.reply(Ok(Response::Taken(true, Some(ALICE.hint(3)))))]);
    let outputs = node.request(ALICE, Request::UpdateView(older, None));
    assert_eq!(outputs, [node.reply(Ok(Response::Taken(false, Some(ALICE.hint(3)))))]);
}

#[test]
fn a_view_or_reign_of_a_past_epoch_is_answered_with_the_present_one() {
    let mut node = bob();
    let past = view(2, 9, CAROL, &[BOB, CAROL, DAVE]);
    let outputs = node.request(CAROL, Request::UpdateView(past.clone(), None));
    assert_eq!(outputs, [node.reply(Ok(Response::Taken(false, Some(ALICE.hint(3)))))]);
    let proof = certificate(Rank::Majority, all_votes(2, CAROL));
    let outputs = node.request(CAROL, Request::Coordinate(past, proof));
    assert_eq!(outputs, [node.reply(Ok(Response::Taken(false, Some(ALICE.hint(3)))))]);
}

#[test]
fn a_later_reign_is_on_disk_before_it_is_acknowledged() {
    let mut node = bob();
    let next = view(4, 6, CAROL, &[BOB, CAROL, DAVE]);
    let proof = certificate(Rank::Registered, vec![CAROL.vote(4, CAROL)]);
    let outputs = node.request(CAROL, Request::Coordinate(next.clone(), proof.clone()));
    let expected = [
        event(Event::DroppedOut(ALICE.peer(), ALICE.node())),
        node.saved(|state| {
            state.epoch = Epoch(4);
            state.view = Some(next);
            state.certificate = proof;
        }),
        event(Event::LeaderChanged { leader: CAROL.peer(), node: CAROL.node(), epoch: Epoch(4), after_ms: 0 }),
        node.reply(Ok(Response::Taken(true, Some(CAROL.hint(4))))),
    ];
    assert_eq!(outputs, expected);
}

#[test]
fn of_two_leaders_of_one_epoch_the_majority_wins_then_the_lower_id() {
    // (rank and leader followed, rank and leader offered, taken)
    let cases = [
        (Rank::Registered, BOB, Rank::Majority, CAROL, true),
        (Rank::Majority, CAROL, Rank::Registered, BOB, false),
        (Rank::Registered, CAROL, Rank::Registered, BOB, true),
        (Rank::Registered, BOB, Rank::Registered, CAROL, false),
        (Rank::Majority, CAROL, Rank::Majority, BOB, true),
    ];
    for (rank, leader, offered, rival, taken) in cases {
        let mut node = Node::settled_with(DAVE, 0, CONFIG, &view(3, 5, ALICE, &[ALICE, BOB, CAROL, DAVE]));
        let reign = |leader: Who| view(4, 6, leader, &[BOB, CAROL, DAVE]);
        let proof = |rank, leader| match rank {
            Rank::Majority => certificate(rank, all_votes(4, leader)),
            Rank::Registered => certificate(rank, Vec::new()),
        };
        node.request(leader, Request::Coordinate(reign(leader), proof(rank, leader)));
        let outputs = node.request(rival, Request::Coordinate(reign(rival), proof(offered, rival)));
        let followed = if taken { rival } else { leader };
        let answer = node.reply(Ok(Response::Taken(taken, Some(followed.hint(4)))));
        assert_eq!(outputs.last(), Some(&answer), "{rank:?} of {leader:?} against {offered:?} of {rival:?}");
        assert_eq!(writes_state(&outputs), taken);
    }
}

#[test]
fn a_majority_of_votes_that_are_not_votes_for_it_is_none() {
    let strangers = [Who(10), Who(11), Who(12)].map(|who| who.identity());
    let forged = strangers.map(|it| p2p_chat_model::Vote::cast(&it, NETWORK, Epoch(4), CAROL.peer())).to_vec();
    let twice = vec![CAROL.vote(4, CAROL), CAROL.vote(4, CAROL), CAROL.vote(4, CAROL)];
    for votes in [forged, twice, all_votes(4, BOB), all_votes(5, CAROL)] {
        let mut node = Node::settled_with(DAVE, 0, CONFIG, &view(3, 5, ALICE, &[ALICE, BOB, CAROL, DAVE]));
        let reign = view(4, 6, CAROL, &[BOB, CAROL, DAVE]);
        node.request(CAROL, Request::Coordinate(reign, certificate(Rank::Majority, votes)));
        assert_eq!(node.on_disk().certificate.rank, Rank::Registered);
    }
}

#[test]
fn a_view_told_by_another_than_its_leader_is_refused() {
    let mut node = bob();
    let next = view(4, 6, ALICE, &[ALICE, BOB, CAROL]);
    let outputs = node.request(CAROL, Request::UpdateView(next.clone(), None));
    assert_eq!(outputs, [node.reply(Err(Refusal::Invalid("a view is told by its leader only")))]);
    let outputs = node.request(CAROL, Request::Coordinate(next, certificate(Rank::Registered, Vec::new())));
    assert_eq!(outputs, [node.reply(Err(Refusal::Invalid("only the leader itself announces its reign")))]);
}

#[test]
fn a_view_with_an_epoch_far_in_the_future_is_refused() {
    let far = Epoch(3 + MAX_EPOCH_JUMP + 1);
    let mut node = bob();
    let next = View { epoch: far, ..view(4, 6, ALICE, &[ALICE, BOB]) };
    let refusal = Refusal::Invalid("the epoch, version or next id is too far ahead");
    let outputs = node.request(ALICE, Request::UpdateView(next.clone(), None));
    assert_eq!(outputs, [node.reply(Err(refusal.clone()))]);
    let outputs = node.request(ALICE, Request::Coordinate(next.clone(), certificate(Rank::Registered, Vec::new())));
    assert_eq!(outputs, [node.reply(Err(refusal))]);
    let reachable = View { epoch: Epoch(3 + MAX_EPOCH_JUMP), ..next };
    let outputs = node.request(ALICE, Request::UpdateView(reachable, None));
    assert!(writes_state(&outputs));
}

#[test]
fn a_view_whose_numbers_nobody_can_have_counted_up_to_is_refused_everywhere() {
    let sane = view(3, 6, ALICE, &[ALICE, BOB, CAROL]);
    let far = [
        View { version: u64::MAX, ..sane.clone() },
        View { next_id: NodeId(u64::MAX), ..sane.clone() },
        View { epoch: Epoch(u64::MAX), ..sane },
    ];
    for view in far {
        let mut node = bob();
        let refusal = Err(Refusal::Invalid("the epoch, version or next id is too far ahead"));
        let outputs = node.request(ALICE, Request::UpdateView(view.clone(), None));
        assert_eq!(outputs, [node.reply(refusal.clone())]);
        let coordinate = Request::Coordinate(view, certificate(Rank::Registered, Vec::new()));
        let outputs = node.request(ALICE, coordinate);
        assert_eq!(outputs, [node.reply(refusal)]);
    }
}

#[test]
fn a_view_with_two_nodes_of_one_id_can_not_be_decoded() {
    let mut double = view(1, 1, ALICE, &[ALICE, BOB]);
    double.active[1].node = NodeId(1);
    assert_eq!(double.check(), Err(ViewError::Order(NodeId(1))));
    let mut writer = p2p_chat_model::codec::Writer::default();
    double.encode(&mut writer);
    assert!(View::decode(&mut p2p_chat_model::codec::Reader(&writer.0)).is_err());
}

#[test]
fn a_deposed_leader_steps_down_and_asks_to_be_let_in() {
    let mut node = Node::settled_with(ALICE, 0, CONFIG, &view(3, 5, ALICE, &[ALICE, BOB, CAROL]));
    let next = view(4, 6, BOB, &[BOB, CAROL]);
    let proof = certificate(Rank::Registered, Vec::new());
    let outputs = node.request(BOB, Request::Coordinate(next.clone(), proof));
    let [saved, changed, outside, Output::Call { peer, call, .. }, reply] = &outputs[..] else { panic!("{outputs:?}") };
    let expected = node.saved(|state| {
        state.epoch = Epoch(4);
        state.view = Some(next);
    });
    assert_eq!(*saved, expected);
    let leader_changed = Event::LeaderChanged { leader: BOB.peer(), node: BOB.node(), epoch: Epoch(4), after_ms: 0 };
    assert_eq!((changed, outside), (&event(leader_changed), &event(Event::Outside)));
    assert_eq!((*peer, call), (BOB.peer(), &PeerCall::Join { request: 99 }));
    assert_eq!(*reply, node.reply(Ok(Response::Taken(true, Some(BOB.hint(4))))));
}

#[test]
fn a_leader_that_a_better_founded_one_of_its_epoch_lets_in_follows_it_whatever_its_own_version() {
    let mut node = Node::settled_with(CAROL, 0, CONFIG, &view(3, 50, CAROL, &[BOB, CAROL, DAVE]));
    let outputs = node.request(BOB, Request::Ping(Standing { leader: Some(BOB.hint(3)), ..node.standing(None) }));
    let told = call_to(&outputs, BOB);
    let outputs = node.answer(told, Ok(Response::Taken(false, Some(BOB.hint(3)))));
    let join = call_to(&outputs, BOB);
    let theirs = view(3, 6, BOB, &[BOB, CAROL, DAVE]);
    let frontier = clock(&[(ALICE, 4)]);
    let admitted = Response::Admitted { view: theirs, admission: (ALICE.peer(), 3), frontier };
    node.answer(join, Ok(admitted));
    assert!(!node.snapshot().leading, "two leaders of one epoch");
    assert_eq!(node.leader_hint(), BOB.hint(3));
}

#[test]
fn who_refuses_a_mere_view_is_shown_how_the_reign_was_won_before_it_is_followed() {
    let mut node = Node::settled_with(CAROL, 0, CONFIG, &view(3, 50, CAROL, &[BOB, CAROL, DAVE]));
    let outputs = node.request(DAVE, Request::Leave);
    let refusal = Ok(Response::Taken(false, Some(BOB.hint(3))));
    let outputs = node.answer(call_to(&outputs, BOB), refusal.clone());
    let reign = node.snapshot().view.unwrap();
    let coordinate = PeerCall::Coordinate(reign, certificate(Rank::Registered, Vec::new()));
    assert_eq!(outputs, [node.call(1, BOB, coordinate, CONFIG.deliver_timeout_ms)]);
    let outputs = node.answer(call_to(&outputs, BOB), refusal);
    let [Output::Call { peer, call, .. }] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!((*peer, call), (BOB.peer(), &PeerCall::Join { request: 99 }));
}

#[test]
fn who_follows_a_leader_that_has_given_way_to_another_one_asks_that_one_to_be_let_in() {
    let mut node = bob();
    let gives_way = Standing { leader: Some(CAROL.hint(3)), ..node.standing(None) };
    let mine = node.standing(None);
    let outputs = node.request(ALICE, Request::Ping(gives_way));
    let [reply, Output::Call { peer, call, .. }] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(*reply, node.reply(Ok(Response::Standing(mine))));
    assert_eq!((*peer, call), (CAROL.peer(), &PeerCall::Join { request: 99 }));
}

#[test]
fn a_member_that_follows_an_older_reign_is_told_of_this_one() {
    let mut node = Node::settled_with(ALICE, 0, CONFIG, &view(3, 5, ALICE, &[ALICE, BOB, CAROL]));
    let behind = Standing { epoch: Epoch(2), ..node.standing(None) };
    let outputs = node.request(CAROL, Request::Ping(behind));
    let reign = node.snapshot().view.unwrap();
    let coordinate = PeerCall::Coordinate(reign, certificate(Rank::Registered, Vec::new()));
    let expected = [
        node.reply(Ok(Response::Standing(node.standing(None)))),
        node.call(1, CAROL, coordinate, CONFIG.deliver_timeout_ms),
    ];
    assert_eq!(outputs, expected);
}

#[test]
fn a_view_that_changes_while_it_is_told_is_told_again() {
    let mut node = Node::settled_with(ALICE, 0, CONFIG, &view(3, 5, ALICE, &[ALICE, BOB, CAROL, DAVE]));
    let outputs = node.request(DAVE, Request::Leave);
    let (bob, carol) = (call_to(&outputs, BOB), call_to(&outputs, CAROL));
    let outputs = node.request(CAROL, Request::Leave);
    assert_eq!(callees(&outputs), [], "bob is just being told");
    node.answer(carol, unreachable());
    let outputs = node.answer(bob, Ok(Response::Taken(true, Some(ALICE.hint(3)))));
    let compared = call_to(&outputs, BOB);
    let behind = Standing { version: 6, ..node.standing(None) };
    let outputs = node.answer(compared, Ok(Response::Standing(behind)));
    let newest = PeerCall::UpdateView(node.snapshot().view.unwrap(), None);
    assert_eq!(outputs, [node.call(1, BOB, newest, CONFIG.deliver_timeout_ms)]);
}

#[test]
fn a_changed_view_is_brought_on_record_at_once() {
    let mut node = Node::settled_with(ALICE, 1, CONFIG, &view(3, 5, ALICE, &[ALICE, BOB, CAROL]));
    let outputs = node.request(CAROL, Request::Leave);
    let view = node.snapshot().view.unwrap();
    assert_eq!(view.version, 6);
    assert!(outputs.contains(&node.discover(2, 0, DiscoveryCall::Renew { view, serial: WALL + 1 })), "{outputs:?}");
}

#[test]
fn who_drops_out_stays_on_record_for_as_long_as_an_election_takes() {
    let mut node = Node::settled_with(ALICE, 1, CONFIG, &view(3, 5, ALICE, &[ALICE, BOB, CAROL]));
    let outputs = node.tick_until(is_call(|call| matches!(call, PeerCall::Ping(_))));
    let outputs = node.answer(call_to(&outputs, CAROL), unreachable());
    node.answer(call_to(&outputs, BOB), Ok(Response::Pinged(false, None)));
    assert_eq!(node.snapshot().view.map(|view| view.active.len()), Some(2));
    let dropped = node.now;
    let outputs = node.tick_until(|output| matches!(output, Output::Discover { .. }));
    let renews = |output: &Output| matches!(output, Output::Discover { call: DiscoveryCall::Renew { view, .. }, .. } if view.active.len() == 2);
    assert!(outputs.iter().any(renews), "{outputs:?}");
    assert_eq!(node.now - dropped, CONFIG.lease_renewal_ms);
}

#[test]
fn a_follower_that_has_missed_a_view_asks_its_leader_for_it() {
    let mut node = bob();
    let later = Standing { version: 6, ..node.standing(None) };
    let outputs = node.request(CAROL, Request::Ping(later));
    let compares = |call: &PeerCall| matches!(call, PeerCall::Ping(Standing { frontier: Some(_), .. }));
    assert!(outputs.iter().any(is_call(compares)) && callees(&outputs) == [ALICE.peer()], "{outputs:?}");
}

#[test]
fn a_view_is_passed_on_to_who_has_not_heard_of_it_for_long_and_taken_where_its_leader_is_out_of_reach() {
    let mut carol = Node::settled_with(CAROL, 0, CONFIG, &view(3, 5, BOB, &[BOB, CAROL, DAVE]));
    let earlier = Standing { epoch: Epoch(2), version: 5, leader: Some(ALICE.hint(2)), ..carol.standing(None) };
    let passes_on = |outputs: &[Output]| outputs.iter().any(is_call(|call| matches!(call, PeerCall::Coordinate(..))));
    assert!(!passes_on(&carol.request(DAVE, Request::Ping(earlier.clone()))), "bob may only be about to tell");
    carol.request(BOB, Request::Ping(carol.standing(None)));
    carol.now += CONFIG.member_silence_ms + 1;
    assert!(passes_on(&carol.request(DAVE, Request::Ping(earlier))));

    let mut dave = Node::settled_with(DAVE, 0, CONFIG, &view(2, 5, ALICE, &[ALICE, BOB, CAROL, DAVE]));
    let passed_on = Request::Coordinate(view(3, 5, BOB, &[BOB, CAROL, DAVE]), Certificate::founding());
    let outputs = dave.request(CAROL, passed_on.clone());
    let refusal = Refusal::Invalid("only the leader itself announces its reign");
    assert_eq!(outputs, [dave.reply(Err(refusal))], "bob can be asked");
    let outputs = dave
        .request(CAROL, Request::Ping(Standing { epoch: Epoch(3), leader: Some(BOB.hint(3)), ..dave.standing(None) }));
    dave.answer(call_to(&outputs, BOB), unreachable());
    dave.request(CAROL, passed_on);
    assert_eq!((dave.snapshot().epoch, dave.leader_hint().peer), (Epoch(3), BOB.peer()));
}

#[test]
fn peers_that_were_active_and_that_nobody_has_admitted_are_forgotten() {
    let mut node = Node::settled(BOB, ALICE, &[ALICE, BOB, CAROL]);
    for version in 6..20 {
        let mut next = view(1, version, ALICE, &[ALICE, BOB]);
        next.active.push(ActiveMember {
            node: NodeId(version),
            peer: PeerId::new([version as u8; 32]),
            ..active(3, CAROL)
        });
        next.next_id = NodeId(version + 1);
        node.request(ALICE, Request::UpdateView(next, None));
    }
    let known: Vec<_> = node.snapshot().cursors.iter().map(|cursor| cursor.peer).collect();
    assert_eq!(known.len(), 3, "alice, carol who is away, and the newest: {known:?}");
}
