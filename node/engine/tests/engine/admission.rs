//! The way in, seen by the leader.

use p2p_chat_engine::{
    CallError, Config, DiscoveryCall, Durable, Event, FeedLog, Output, PeerCall, Phase, Refusal, Request, Response,
    Start, Way, Write,
};
use p2p_chat_model::{ActiveMember, Identity, NodeId, PeerId, RosterOp, Seq, limits::MAX_MEMBERS};

use crate::common::*;

fn join(who: Who, request: u64) -> Request {
    Request::Join { request, name: who.name(), address: who.address() }
}

/// alice leads bob.
fn alice() -> Node {
    Node::settled(ALICE, ALICE, &[ALICE, BOB])
}

/// carol's join at alice, up to the answered call-back.
fn carol_is_called_back(node: &mut Node) -> Vec<Output> {
    node.request(CAROL, join(CAROL, 7));
    node.answer(node.id(1), Ok(Response::Alive))
}

#[test]
fn the_address_of_a_joiner_is_called_back_before_anything_changes() {
    let mut node = alice();
    let outputs = node.request(CAROL, join(CAROL, 7));
    let standing = p2p_chat_engine::Standing { peer_active: false, ..node.standing(None) };
    assert_eq!(outputs, [node.call(1, CAROL, PeerCall::Ping(standing), CONFIG.call_back_timeout_ms)]);
    let outputs = node.answer(node.id(1), unreachable());
    assert_eq!(outputs, [node.reply(Err(Refusal::Unreachable(CAROL.address())))]);
    assert_eq!(node.snapshot().roster.len(), 2);
}

#[test]
fn a_joiner_that_is_silent_is_called_back_once_more() {
    let silent = |node: &mut Node| {
        node.now += CONFIG.call_back_timeout_ms;
        node.answer(node.id(1), unreachable())
    };
    let called_again = || {
        let mut node = alice();
        let first = node.request(CAROL, join(CAROL, 7));
        let again = silent(&mut node);
        let ping = |outputs: &[Output]| match outputs {
            [Output::Call { peer, address, call, timeout_ms, .. }] => {
                (*peer, address.clone(), call.clone(), *timeout_ms)
            }
            other => panic!("not a call back: {other:?}"),
        };
        assert_eq!(ping(&again), ping(&first));
        node
    };
    let mut node = called_again();
    let outputs = node.answer(node.id(1), Ok(Response::Alive));
    assert!(outputs.contains(&event(Event::Joined(CAROL.peer(), NodeId(3)))), "{outputs:?}");

    let mut node = called_again();
    assert_eq!(silent(&mut node), [node.reply(Err(Refusal::Unreachable(CAROL.address())))], "twice is enough");
}

#[test]
fn an_admission_is_written_and_numbered_and_told_to_everybody() {
    let mut node = alice();
    let outputs = carol_is_called_back(&mut node);
    let op = RosterOp::Admit { peer: CAROL.peer(), name: CAROL.name(), past: 0 };
    let (seq, lamport, wall_ms) = (3, 3, WALL);
    let own = Write::Own { text: None, op: Some(op), seq, lamport, wall_ms, clock: clock(&[]) };
    let mut next = view(1, 6, ALICE, &[ALICE, BOB, CAROL]);
    next.active[2].join_request = 7;
    let push = |from| PeerCall::Deliver { author: ALICE.peer(), from, upto: 3 };
    let mut pushes = [(BOB, 3), (CAROL, 1)];
    pushes.sort_by_key(|(who, _)| who.peer());
    let expected = [
        Output::Write(own),
        event(Event::Delivered { author: ALICE.peer(), seq: 3 }),
        event(Event::Joined(CAROL.peer(), NodeId(3))),
        node.saved(|state| {
            state.addresses.insert(CAROL.peer(), CAROL.address());
            state.view = Some(next.clone());
        }),
        node.call(1, BOB, PeerCall::UpdateView(next.clone(), None), CONFIG.deliver_timeout_ms),
        node.call(2, CAROL, PeerCall::UpdateView(next.clone(), None), CONFIG.deliver_timeout_ms),
        node.discover(3, 0, DiscoveryCall::Renew { view: next, serial: WALL + 1 }),
        node.call(4, pushes[0].0, push(pushes[0].1), CONFIG.deliver_timeout_ms),
        node.call(5, pushes[1].0, push(pushes[1].1), CONFIG.deliver_timeout_ms),
    ];
    assert_eq!(outputs, expected);
}

#[test]
fn a_joiner_is_answered_once_another_member_holds_the_admission() {
    let mut node = alice();
    let outputs = carol_is_called_back(&mut node);
    let to_bob = outputs.iter().find_map(|output| match output {
        Output::Call { id, peer, call: PeerCall::Deliver { .. }, .. } if *peer == BOB.peer() => Some(*id),
        _ => None,
    });
    let outputs = node.answer(to_bob.unwrap(), Ok(Response::Acked(clock(&[(ALICE, 3)]))));
    let frontier = clock(&[(ALICE, 3)]);
    let admitted = Response::Admitted { view: node.snapshot().view.unwrap(), admission: (ALICE.peer(), 3), frontier };
    let expected = [
        Output::Write(Write::Ack { peer: BOB.peer(), upto: 3, way: Way::Direct }),
        event(Event::Acked { peer: BOB.peer(), upto: 3 }),
        node.reply(Ok(admitted)),
    ];
    assert_eq!(outputs, expected);
}

#[test]
fn a_joiner_is_answered_after_a_while_even_if_nobody_else_holds_the_admission() {
    let mut node = alice();
    carol_is_called_back(&mut node);
    let asked = node.now;
    let outputs = node.tick_until(|output| matches!(output, Output::Reply(..)));
    assert_eq!(node.now, asked + CONFIG.admission_wait_ms);
    assert!(outputs.iter().any(|output| matches!(output, Output::Reply(_, Ok(Response::Admitted { .. })))));
}

#[test]
fn a_lonely_leader_answers_at_once() {
    let mut node = Node::settled(ALICE, ALICE, &[ALICE]);
    node.request(BOB, join(BOB, 7));
    let outputs = node.answer(node.id(1), Ok(Response::Alive));
    assert!(outputs.iter().any(|output| matches!(output, Output::Reply(_, Ok(Response::Admitted { .. })))));
}

#[test]
fn a_retry_gets_the_same_number_and_admission_and_writes_nothing() {
    let mut node = alice();
    carol_is_called_back(&mut node);
    let outputs = node.request(CAROL, join(CAROL, 7));
    let view = node.snapshot().view.unwrap();
    assert_eq!(view.member(&CAROL.peer()).map(|member| member.node), Some(NodeId(3)));
    assert_eq!(view.next_id, NodeId(4));
    let (admission, frontier) = ((ALICE.peer(), 3), clock(&[(ALICE, 3)]));
    assert_eq!(outputs, [node.reply(Ok(Response::Admitted { view, admission, frontier }))]);
}

#[test]
fn a_member_that_comes_back_gets_a_new_number_without_a_new_admission() {
    let view = view(1, 5, ALICE, &[ALICE, CAROL]);
    let mut node = Node::settled_with(ALICE, 0, CONFIG, &view);
    node.request(BOB, join(BOB, 8));
    let outputs = node.answer(node.id(1), Ok(Response::Alive));
    assert!(!outputs.iter().any(|output| matches!(output, Output::Write(Write::Own { .. }))), "{outputs:?}");
    assert!(outputs.contains(&event(Event::Returned(BOB.peer(), NodeId(4)))), "{outputs:?}");
    let reply = outputs.iter().find_map(|output| match output {
        Output::Reply(_, Ok(Response::Admitted { view, admission, .. })) => Some((view.next_id, *admission)),
        _ => None,
    });
    assert_eq!(reply, Some((NodeId(5), (ALICE.peer(), 2))));
}

#[test]
fn a_member_with_a_new_address_keeps_its_number() {
    let mut node = alice();
    let address: p2p_chat_model::Address = "bob:7600".parse().unwrap();
    node.request(BOB, Request::Join { request: 0, name: BOB.name(), address: address.clone() });
    node.answer(node.id(1), Ok(Response::Alive));
    let view = node.snapshot().view.unwrap();
    assert_eq!(view.node(NodeId(2)).map(|member| &member.address), Some(&address));
    assert_eq!((view.active.len(), view.version), (2, 6));
}

#[test]
fn who_joins_anew_while_it_is_still_active_gets_a_new_number() {
    let mut node = alice();
    node.request(BOB, join(BOB, 8));
    node.answer(node.id(1), Ok(Response::Alive));
    let view = node.snapshot().view.unwrap();
    assert_eq!(view.active.iter().map(|member| member.node).collect::<Vec<_>>(), [NodeId(1), NodeId(3)]);
    assert_eq!(view.member(&BOB.peer()).map(|member| member.join_request), Some(8));
}

#[test]
fn an_admission_covers_what_the_joiner_wrote_before_even_if_the_leader_lacks_it() {
    let mut node = Node::settled_with(ALICE, 0, CONFIG, &view(1, 5, ALICE, &[ALICE, CAROL]));
    node.request(BOB, join(BOB, 8));
    let theirs =
        p2p_chat_engine::Standing { version: 0, frontier: Some(clock(&[(ALICE, 3), (BOB, 4)])), ..node.standing(None) };
    let outputs = node.answer(node.id(1), Ok(Response::Standing(theirs)));
    let op = Some(RosterOp::Admit { peer: BOB.peer(), name: BOB.name(), past: 4 });
    let (seq, lamport, wall_ms) = (4, 4, WALL);
    assert_eq!(outputs[0], Output::Write(Write::Own { text: None, op, seq, lamport, wall_ms, clock: clock(&[]) }));
}

#[test]
fn a_member_that_asks_anew_and_lacks_its_admission_gets_another() {
    let lacks = |admission: Seq| {
        let mut node = Node::settled(BOB, BOB, &[BOB, CAROL]);
        node.request(CAROL, join(CAROL, 8));
        let frontier = Some(clock(&[(ALICE, admission - 1)]));
        let theirs = p2p_chat_engine::Standing { frontier, ..node.standing(None) };
        node.answer(node.id(1), Ok(Response::Standing(theirs)))
    };
    let admits = |output: &Output| matches!(output, Output::Write(Write::Own { op: Some(RosterOp::Admit { .. }), .. }));
    // carol's admission is alice's third entry.
    assert!(lacks(3).iter().any(admits));
    assert!(!lacks(4).iter().any(admits));
}

#[test]
fn a_follower_names_the_leader() {
    let mut node = Node::settled(BOB, ALICE, &[ALICE, BOB]);
    let outputs = node.request(CAROL, join(CAROL, 7));
    assert_eq!(outputs, [node.reply(Ok(Response::NotLeader(ALICE.hint(1))))]);
}

#[test]
fn a_leader_does_not_join_itself() {
    let mut node = alice();
    let outputs = node.request(ALICE, join(ALICE, 7));
    assert_eq!(outputs, [node.reply(Err(Refusal::Invalid("the leader is in its network already")))]);
}

#[test]
fn joins_beyond_the_bound_are_told_to_wait() {
    let config = Config { max_pending_joins: 2, ..CONFIG };
    let mut node = Node::settled_with(ALICE, 0, config, &view(1, 5, ALICE, &[ALICE, BOB]));
    let many = Err(Refusal::Busy("many are joining"));
    let again = Err(Refusal::Busy("an earlier join of this node is under way"));
    let is_begun = |outputs: &[Output]| matches!(outputs, [Output::Call { call: PeerCall::Ping(_), .. }]);
    assert!(is_begun(&node.request(CAROL, join(CAROL, 7))));
    assert_eq!(node.request(CAROL, join(CAROL, 8)), [node.reply(again)]);
    assert_eq!(node.request(DAVE, join(DAVE, 7)), [node.reply(many)], "the other place is for members");
    assert!(is_begun(&node.request(BOB, join(BOB, 7))));
}

#[test]
fn a_full_network_admits_nobody_new_but_knows_its_own() {
    let mut log: FeedLog = founding_log(&[ALICE, BOB]);
    for number in 2..MAX_MEMBERS as u64 {
        let mut seed = [9; 32];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        let peer: PeerId = Identity::from_seed(seed).peer();
        let admitted = RosterOp::Admit { peer, name: "somebody".parse().unwrap(), past: 0 };
        log.last += 1;
        log.roster.push((log.last, op(ALICE, log.last, log.last, &[], admitted)));
    }
    let durable: Durable = durable(&view(1, 5, ALICE, &[ALICE]));
    let (mut node, _) = Node::start(ALICE, 0, Start::Resume { durable, log: vec![log] });
    let outputs = node.request(CAROL, join(CAROL, 7));
    assert_eq!(outputs, [node.reply(Err(Refusal::Full))]);
    let outputs = node.request(BOB, join(BOB, 7));
    assert_eq!(callees(&outputs), [BOB.peer()]);
}

#[test]
fn a_deposed_leader_answers_the_joiners_that_wait() {
    let mut node = alice();
    carol_is_called_back(&mut node);
    let next = view(2, 7, BOB, &[BOB]);
    node.request(BOB, Request::UpdateView(next, None));
    let outputs = node.tick_until(|output| matches!(output, Output::Reply(..)));
    let refusals = outputs.iter().filter_map(|output| match output {
        Output::Reply(_, result) => Some(result.clone()),
        _ => None,
    });
    assert_eq!(refusals.collect::<Vec<_>>(), [Err(Refusal::Busy("the leader is being replaced"))]);
}

#[test]
fn whoever_waits_for_a_leader_that_leaves_is_answered() {
    let mut node = Node::settled_with(ALICE, 0, CONFIG, &view(1, 5, ALICE, &[ALICE]));
    node.request(BOB, join(BOB, 7));
    let outputs = node.command(p2p_chat_engine::Command::Leave { wait_ms: 0, force: true });
    assert_eq!(node.snapshot().phase, Phase::Left);
    assert!(outputs.contains(&node.reply(Err(Refusal::NotHere))), "{outputs:?}");
}

#[test]
fn a_leave_that_overtakes_the_call_back_is_not_undone_by_an_admission() {
    let mut node = Node::settled_with(ALICE, 0, CONFIG, &view(1, 5, ALICE, &[ALICE, CAROL]));
    node.request(BOB, join(BOB, 8));
    let call = node.id(1);
    let leave = run(1, BOB, 1, vec![op(BOB, 1, 9, &[(ALICE, 3)], RosterOp::Leave)]);
    node.request(CAROL, Request::Deliver(vec![leave]));
    assert!(!node.snapshot().roster.is_member(&BOB.peer()));
    node.answer(call, Err(CallError::NotHere("bob is not in that network".to_owned())));
    assert!(!node.snapshot().roster.is_member(&BOB.peer()), "bob has left and is a member again");
}

/// alice leads a view of so many, of whom nobody but her is known by name.
fn crowd(active_members: usize) -> Durable {
    let mut full = view(1, 5, ALICE, &[ALICE]);
    for number in 1..active_members as u64 {
        let mut peer = [9; 32];
        peer[..8].copy_from_slice(&number.to_be_bytes());
        full.active.push(ActiveMember { node: NodeId(9 + number), peer: PeerId::new(peer), ..active(2, BOB) });
    }
    full.next_id = NodeId(9 + active_members as u64);
    durable(&full)
}

/// What the node would start from after a crash.
fn is_readable(durable: &Durable) -> bool {
    Durable::decode(&durable.encode()).is_ok_and(|read| read == *durable)
}

#[test]
fn of_two_that_are_called_back_at_once_only_one_takes_the_last_place() {
    let log = vec![founding_log(&[ALICE, BOB, CAROL])];
    let (mut node, _) = Node::start(ALICE, 0, Start::Resume { durable: crowd(MAX_MEMBERS - 1), log });
    node.request(BOB, join(BOB, 7));
    let to_bob = node.id(1);
    node.request(CAROL, join(CAROL, 7));
    let to_carol = node.id(1);
    node.answer(to_bob, Ok(Response::Alive));
    let outputs = node.answer(to_carol, Ok(Response::Alive));
    assert_eq!(outputs, [node.reply(Err(Refusal::Full))]);
    assert_eq!(node.snapshot().view.map(|view| view.active.len()), Some(MAX_MEMBERS));
    assert!(is_readable(node.on_disk()), "the node could not start again");
}

#[test]
fn the_address_of_a_stranger_is_not_kept_where_everybody_is_active() {
    let log = vec![founding_log(&[ALICE, BOB, CAROL])];
    let (mut node, outputs) = Node::start(ALICE, 0, Start::Resume { durable: crowd(MAX_MEMBERS), log });
    let coordinate = outputs.iter().find_map(|output| match output {
        Output::Call { id, call: PeerCall::Coordinate(..), .. } => Some(*id),
        _ => None,
    });
    // One of them follows bob.
    node.answer(coordinate.unwrap(), Ok(Response::Taken(false, Some(BOB.hint(1)))));
    // carol contradicts herself, and that is written down.
    for branch in [0, 1] {
        let entry = p2p_chat_engine::EntryFacts { hash: hash(CAROL, 1, branch), ..text(CAROL, 1, 9, &[]) };
        node.request(CAROL, Request::Deliver(vec![run(1, CAROL, 1, vec![entry])]));
    }
    assert!(node.on_disk().frozen.contains(&CAROL.peer()));
    assert!(is_readable(node.on_disk()), "{} addresses", node.on_disk().addresses.len());
}

#[test]
fn a_full_view_takes_not_even_its_own_in() {
    for (here, refused) in [(MAX_MEMBERS - 1, false), (MAX_MEMBERS, true)] {
        let (durable, log) = (crowd(here), vec![founding_log(&[ALICE, BOB])]);
        let (mut node, _) = Node::start(ALICE, 0, Start::Resume { durable, log });
        let outputs = node.request(BOB, join(BOB, 7));
        assert_eq!(outputs == [node.reply(Err(Refusal::Full))], refused, "with {here}: {outputs:?}");
    }
}

#[test]
fn the_word_of_who_is_not_let_in_counts_for_nothing() {
    let mut node = alice();
    let claims = |node: &mut Node, who: Who, seq: Seq| {
        let outputs = node.request(who, join(who, 7));
        let call = call_to(&outputs, who);
        let frontier = Some(clock(&[(ALICE, seq)]));
        let theirs = p2p_chat_engine::Standing { version: 0, frontier, ..node.standing(None) };
        node.answer(call, Ok(Response::Standing(theirs)))
    };
    claims(&mut node, CAROL, 1_000);
    assert!(!node.snapshot().writable, "a member may know of more than is on this disk");
    node.pass(CONFIG.own_claim_ms / 2);
    let busy = Refusal::Busy("the leader is being replaced");
    for claimed in [2_000, 1] {
        assert_eq!(claims(&mut node, DAVE, claimed), [node.reply(Err(busy.clone()))]);
    }
    assert_eq!(node.on_disk().acked.at(&DAVE.peer()), 0);
    node.pass(CONFIG.own_claim_ms * 3 / 4);
    assert!(node.snapshot().writable, "a stranger may not");
}
