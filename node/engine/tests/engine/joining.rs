//! The way in, seen by the joiner.

use p2p_chat_engine::{
    CallError, Command, CommandError, DiscoveryAnswer, DiscoveryCall, Done, Event, FeedLog, Input, Output, PeerCall,
    Phase, Record, Refusal, Request, Response, Standing, Start, Write,
};
use p2p_chat_model::{Epoch, NodeId, VectorClock, View, limits::MAX_NUMBER_JOINED};

use crate::common::*;

fn carol_joins(log: Vec<FeedLog>) -> (Node, Vec<Output>) {
    let contacts = vec![(BOB.peer(), BOB.address())];
    let command = p2p_chat_engine::CommandId(0);
    Node::start(CAROL, 1, Start::Join { command, leader: ALICE.hint(1), contacts, before: None, log })
}

fn ask(node: &Node) -> PeerCall {
    PeerCall::Join { request: node.on_disk().join_request }
}

fn admitted(epoch: u64) -> Result<Response, CallError> {
    let view = view(epoch, 3, ALICE, &[ALICE, BOB, CAROL]);
    let frontier = clock(&[(ALICE, 3)]);
    Ok(Response::Admitted { view, admission: (ALICE.peer(), 3), frontier })
}

#[test]
fn a_joiner_writes_down_its_request_and_asks_the_leader_it_was_told_of() {
    let (node, outputs) = carol_joins(Vec::new());
    let expected = [node.saved(|state| *state = node.on_disk().clone()), node.call(1, ALICE, ask(&node), JOIN_MS)];
    assert_eq!(outputs, expected);
    assert_eq!((node.on_disk().phase, node.on_disk().epoch, &node.on_disk().view), (Phase::Joining, Epoch(0), &None));
}

#[test]
fn an_admitted_joiner_saves_the_view_says_so_and_fetches_everything_at_once() {
    let (mut node, _) = carol_joins(Vec::new());
    let outputs = node.answer(node.id(1), admitted(1));
    let view = view(1, 3, ALICE, &[ALICE, BOB, CAROL]);
    let expected = [
        node.saved(|state| {
            state.phase = Phase::Joined;
            state.epoch = Epoch(1);
            state.admission = Some((ALICE.peer(), 3));
            state.addresses = durable(&view).addresses;
            state.view = Some(view);
        }),
        event(Event::LeaderChanged { leader: ALICE.peer(), node: NodeId(1), epoch: Epoch(1), after_ms: 0 }),
        Output::Done(p2p_chat_engine::CommandId(0), Ok(Done::Joined(NodeId(3)))),
        node.call(1, ALICE, PeerCall::Fetch(VectorClock::new(), peers(&[])), CONFIG.fetch_timeout_ms),
    ];
    assert_eq!(outputs, expected);
}

#[test]
fn an_admission_that_never_arrives_gives_way_to_a_newer_one() {
    let members = [ALICE, BOB, CAROL];
    let mut state = durable(&view(1, 5, ALICE, &members));
    state.admission = Some((BOB.peer(), 9));
    let (mut node, outputs) =
        Node::start(CAROL, 1, Start::Resume { durable: state, log: vec![founding_log(&members)] });
    assert!(!node.snapshot().writable);
    let frontier = clock(&[(ALICE, 3)]);
    let newer = Response::Admitted { view: view(1, 6, ALICE, &members), admission: (ALICE.peer(), 3), frontier };
    node.answer(call_to(&outputs, ALICE), Ok(newer));
    assert_eq!(node.on_disk().admission, Some((ALICE.peer(), 3)));
    assert!(node.snapshot().writable);
}

#[test]
fn a_member_whose_admission_does_not_arrive_asks_its_leader_for_another() {
    let members = [ALICE, BOB, CAROL];
    let mut state = durable(&view(1, 5, ALICE, &members));
    state.admission = Some((BOB.peer(), 9));
    let log = vec![founding_log(&members)];
    let (mut node, outputs) = Node::start(CAROL, 1, Start::Resume { durable: state, log });
    let frontier = clock(&[(ALICE, 3)]);
    let same = Response::Admitted { view: view(1, 5, ALICE, &members), admission: (BOB.peer(), 9), frontier };
    node.answer(call_to(&outputs, ALICE), Ok(same));
    let asks = is_call(|call| matches!(call, PeerCall::Join { .. }));
    let end = node.now + 2 * CONFIG.anti_entropy_ms;
    let outputs = node.tick_until(asks);
    assert!(node.now < end && callees(&outputs).contains(&ALICE.peer()), "{outputs:?}");
}

#[test]
fn a_member_whose_admission_can_never_arrive_asks_with_a_new_request() {
    let members = [ALICE, BOB, CAROL];
    let mut state = durable(&view(1, 5, ALICE, &members));
    state.admission = Some((BOB.peer(), 9));
    state.frozen = [BOB.peer()].into();
    let (before, log) = (state.join_request, vec![founding_log(&members)]);
    let (mut node, outputs) = Node::start(CAROL, 1, Start::Resume { durable: state, log });
    let frontier = clock(&[(ALICE, 3)]);
    let same = Response::Admitted { view: view(1, 5, ALICE, &members), admission: (BOB.peer(), 9), frontier };
    node.answer(call_to(&outputs, ALICE), Ok(same));
    node.random = 77;
    let outputs = node.tick_until(is_call(|call| matches!(call, PeerCall::Join { .. })));
    let request = node.on_disk().join_request;
    assert_ne!(request, before);
    assert!(outputs.iter().any(is_call(|call| *call == PeerCall::Join { request })), "{outputs:?}");
}

/// carol is outside the view of a leader whom nobody reaches, and stands before the first of the services.
fn carol_stands(services: usize) -> (Node, Vec<Output>) {
    let log = vec![founding_log(&[ALICE, BOB, CAROL])];
    let start = Start::Resume { durable: durable(&view(3, 7, ALICE, &[ALICE])), log };
    let (mut node, mut outputs) = Node::start(CAROL, services, start);
    let stands = |output: &Output| matches!(output, Output::Discover { call: DiscoveryCall::Create { .. }, .. });
    while !outputs.iter().any(stands) {
        assert!(node.now < 60_000, "carol waits for ever");
        outputs = match outputs.iter().find(|output| matches!(output, Output::Call { .. } | Output::Discover { .. })) {
            Some(Output::Call { id, .. } | Output::Discover { id, .. }) => node.answer(*id, unreachable()),
            _ => node.next_tick(),
        };
    }
    (node, outputs)
}

#[test]
fn a_member_that_nobody_is_left_to_let_in_is_granted_a_reign_by_the_discovery_service_alone() {
    let (mut node, outputs) = carol_stands(1);
    assert_eq!(node.on_disk().vote, Some((Epoch(4), CAROL.peer())));
    let outputs = node.answer(discovery_call(&outputs), discovery(DiscoveryAnswer::Accepted(record(CAROL, 4))));
    let view = node.on_disk().view.clone().unwrap();
    assert_eq!((view.epoch, view.leader, view.active.len()), (Epoch(4), NodeId(2), 1));
    assert!(node.snapshot().leading, "{outputs:?}");
}

#[test]
fn a_service_that_says_that_the_leader_lives_is_believed_before_another_is_asked() {
    let (mut node, outputs) = carol_stands(2);
    let outputs = node.answer(discovery_call(&outputs), Err(CallError::Exists("lab is registered".to_owned())));
    assert_eq!(outputs, []);
}

#[test]
fn an_admission_from_before_this_node_dropped_out_again_is_not_taken() {
    let mut node = Node::settled(CAROL, ALICE, &[ALICE, BOB, CAROL]);
    node.request(ALICE, Request::UpdateView(view(1, 6, ALICE, &[ALICE, BOB]), None));
    let asked = node.id(1);
    node.request(ALICE, Request::UpdateView(view(1, 8, ALICE, &[ALICE, BOB]), None));
    let let_in = view(1, 7, ALICE, &[ALICE, BOB, CAROL]);
    let late = Response::Admitted { view: let_in, admission: (ALICE.peer(), 3), frontier: clock(&[(ALICE, 3)]) };
    node.answer(asked, Ok(late));
    assert_eq!(node.on_disk().view.as_ref().map(|view| view.version), Some(8));
    let outputs = node.tick_until(|output| matches!(output, Output::Discover { .. } | Output::Call { .. }));
    assert!(!outputs.is_empty(), "it goes on asking");
}

#[test]
fn a_text_waits_until_the_own_admission_is_delivered() {
    let (mut node, _) = carol_joins(Vec::new());
    node.answer(node.id(1), admitted(1));
    let fetch = node.id(1);
    assert_eq!(node.command(Command::Send), []);
    let command = node.last_command();
    let early = vec![run(1, ALICE, 1, vec![genesis(), admit(2, BOB)])];
    let outputs = node.step(Input::Fetched(fetch, early));
    assert!(!outputs.iter().any(|output| matches!(output, Output::Write(Write::Own { .. }))), "{outputs:?}");
    let outputs = node.step(Input::Fetched(fetch, vec![run(2, ALICE, 3, vec![admit(3, CAROL)])]));
    let own =
        Write::Own { text: Some(command), op: None, seq: 1, lamport: 4, wall_ms: WALL, clock: clock(&[(ALICE, 3)]) };
    let push = PeerCall::Deliver { author: CAROL.peer(), from: 1, upto: 1 };
    let [deliver, shown] = delivered(ALICE, 3, admit(3, CAROL), false);
    let mut expected = vec![
        Output::Write(Write::Run(p2p_chat_engine::RunToken(2))),
        deliver,
        shown,
        Output::Write(own),
        event(Event::Delivered { author: CAROL.peer(), seq: 1 }),
        Output::Done(command, Ok(Done::Sent { seq: 1, lamport: 4 })),
    ];
    let mut others = [ALICE, BOB];
    others.sort_by_key(|who| who.peer());
    for (nth, who) in (1..).zip(others) {
        expected.push(node.call(nth, who, push.clone(), CONFIG.deliver_timeout_ms));
    }
    assert_eq!(outputs, expected);
}

#[test]
fn a_joiner_that_asked_a_follower_asks_the_leader_it_is_told() {
    let (mut node, _) = carol_joins(Vec::new());
    let outputs = node.answer(node.id(1), Ok(Response::NotLeader(BOB.hint(2))));
    assert_eq!(outputs, [node.call(1, BOB, ask(&node), JOIN_MS)]);
}

#[test]
fn nodes_that_name_each_other_as_leader_are_not_asked_without_end() {
    let (mut node, mut outputs) = carol_joins(Vec::new());
    for turn in 0.. {
        let (asked, other) = if turn % 2 == 0 { (ALICE, BOB) } else { (BOB, ALICE) };
        if outputs.is_empty() {
            assert!(turn <= 8, "asked {turn} times without a pause");
            return;
        }
        let call = call_to(&outputs, asked);
        outputs = node.answer(call, Ok(Response::NotLeader(other.hint(1))));
        outputs.retain(|output| matches!(output, Output::Call { .. }));
    }
}

#[test]
fn a_joiner_whose_address_leads_nowhere_gives_up_at_once() {
    let (mut node, _) = carol_joins(Vec::new());
    let outputs = node.answer(node.id(1), Err(CallError::Unmet("carol:7500 is not you".to_owned())));
    let expected = [
        event(Event::Abandoned),
        node.saved(|state| state.phase = Phase::Left),
        event(Event::Stopped),
        Output::Done(
            p2p_chat_engine::CommandId(0),
            Err(CommandError::NotReachable("carol:7500 is not you".to_owned())),
        ),
    ];
    assert_eq!(outputs, expected);
    assert_eq!(node.engine.deadline(), None);
}

#[test]
fn an_unreachable_leader_sends_the_joiner_to_the_discovery_service_and_to_whom_it_lists() {
    let (mut node, _) = carol_joins(Vec::new());
    assert_eq!(node.answer(node.id(1), unreachable()), []);
    let outputs = node.next_tick();
    assert_eq!(outputs, [node.discover(1, 0, DiscoveryCall::Lookup)]);
    let answer = Record { leader: BOB.hint(2), contacts: vec![(ALICE.peer(), ALICE.address())] };
    let outputs = node.answer(node.id(1), discovery(DiscoveryAnswer::Accepted(answer)));
    assert_eq!(outputs, [node.call(1, BOB, ask(&node), JOIN_MS)]);
}

#[test]
fn whoever_the_ways_in_lead_to_the_discovery_service_is_asked_every_second_time() {
    let (mut node, _) = carol_joins(Vec::new());
    assert_eq!(node.answer(node.id(1), unreachable()), []);
    let mut lookups = 0;
    for _ in 0..6 {
        let outputs = node.next_tick();
        let [Output::Discover { id, .. } | Output::Call { id, .. }] = outputs[..] else { panic!("{outputs:?}") };
        if matches!(outputs[..], [Output::Discover { .. }]) {
            lookups += 1;
            let answer = Record { leader: ALICE.hint(1), contacts: vec![(BOB.peer(), BOB.address())] };
            let outputs = node.answer(id, discovery(DiscoveryAnswer::Accepted(answer)));
            assert_eq!(outputs, [node.call(1, ALICE, ask(&node), JOIN_MS)]);
            assert_eq!(node.answer(node.id(1), unreachable()), []);
        } else {
            assert_eq!(node.answer(id, unreachable()), []);
        }
    }
    assert_eq!(lookups, 3);
}

#[test]
fn a_join_that_finds_nobody_ends_with_its_deadline_and_the_reason() {
    let (mut node, mut outputs) = carol_joins(Vec::new());
    let end = node.now + CONFIG.join_timeout_ms;
    loop {
        for output in std::mem::take(&mut outputs) {
            match output {
                Output::Call { id, .. } | Output::Discover { id, .. } => {
                    let more = node.answer(id, unreachable());
                    assert_eq!(more, []);
                }
                Output::Done(_, result) => {
                    let reason = "unreachable: no route".to_owned();
                    assert_eq!(result, Err(CommandError::NoLeader(reason)));
                    assert_eq!(node.now, end);
                    return;
                }
                _ => {}
            }
        }
        outputs = node.next_tick();
    }
}

#[test]
fn an_answer_of_a_leader_behind_the_own_epoch_is_not_taken_and_the_leader_told_so() {
    let state = durable(&view(4, 9, ALICE, &[ALICE, BOB, CAROL]));
    let log = vec![founding_log(&[ALICE, BOB, CAROL])];
    let (mut node, outputs) = Node::start(CAROL, 1, Start::Resume { durable: state, log });
    let call = call_to(&outputs, ALICE);
    let outputs = node.answer(call, admitted(3));
    assert_eq!(outputs, [node.call(1, ALICE, PeerCall::Ping(node.standing(None)), CONFIG.ping_timeout_ms)]);
    assert_eq!(node.snapshot().epoch, Epoch(4));
}

#[test]
fn an_answer_with_numbers_that_leave_no_next_one_is_not_taken() {
    for number in [u64::MAX, MAX_NUMBER_JOINED + 1] {
        let (mut node, _) = carol_joins(Vec::new());
        let sane = view(1, 5, ALICE, &[ALICE, BOB, CAROL]);
        let far = View { version: number, next_id: NodeId(number), epoch: Epoch(number), ..sane };
        let answer = Response::Admitted { view: far, admission: (ALICE.peer(), 3), frontier: clock(&[(ALICE, 3)]) };
        assert_eq!(node.answer(node.id(1), Ok(answer)), []);
        assert_eq!(node.snapshot().view, None);
    }
}

#[test]
fn who_left_before_joins_with_its_old_feed_and_writes_only_once_all_of_it_is_back() {
    let log = vec![founding_log(&[ALICE, BOB, CAROL]), text_log(CAROL, 4, 8)];
    let (mut node, _) = carol_joins(log);
    assert_eq!(node.on_disk().own_floor, 4);
    let view = view(1, 3, ALICE, &[ALICE, BOB, CAROL]);
    let frontier = clock(&[(ALICE, 3), (CAROL, 6)]);
    let admission = (ALICE.peer(), 3);
    let outputs = node.answer(node.id(1), Ok(Response::Admitted { view, admission, frontier }));
    let fetch = call_to(&outputs, ALICE);
    assert_eq!(node.on_disk().own_floor, 6);
    assert!(!node.snapshot().writable);
    assert_eq!(node.command(Command::Send), []);
    let back = run(5, CAROL, 5, vec![text(CAROL, 5, 9, &[]), text(CAROL, 6, 10, &[])]);
    let outputs = node.step(Input::Fetched(fetch, vec![back]));
    let sent = |output: &Output| matches!(output, Output::Done(_, Ok(Done::Sent { seq: 7, lamport: 11 })));
    assert!(outputs.iter().any(sent), "{outputs:?}");
}

#[test]
fn a_leader_that_does_not_know_the_joiner_yet_is_refused_and_changes_nothing() {
    let (mut node, _) = carol_joins(Vec::new());
    let standing = p2p_chat_engine::Standing {
        leader: Some(ALICE.hint(1)),
        epoch: Epoch(1),
        version: 1,
        digest: 0,
        frontier: None,
        peer_active: false,
        leaving: false,
    };
    let outputs = node.request(ALICE, Request::Ping(standing));
    assert_eq!(outputs, [node.reply(Err(p2p_chat_engine::Refusal::NotMember))]);
}

/// carol has joined anew; the leader says that there are six entries of hers, of which four are on her disk.
fn carol_lacks_her_own() -> (Node, p2p_chat_engine::CallId) {
    let log = vec![founding_log(&[ALICE, BOB, CAROL]), text_log(CAROL, 4, 8)];
    let (mut node, _) = carol_joins(log);
    let view = view(1, 3, ALICE, &[ALICE, BOB, CAROL]);
    let answer = Response::Admitted { view, admission: (ALICE.peer(), 3), frontier: clock(&[(ALICE, 3), (CAROL, 6)]) };
    let outputs = node.answer(node.id(1), Ok(answer));
    (node, call_to(&outputs, ALICE))
}

#[test]
fn own_entries_that_nobody_has_any_more_hold_up_writing_until_the_leader_says_so() {
    // A fetch that fails withdraws no claim: only time does.
    let (mut node, fetch) = carol_lacks_her_own();
    node.answer(fetch, unreachable());
    let standing = node.standing(Some(clock(&[(ALICE, 3), (CAROL, 4)])));
    let says_so = |node: &mut Node, who, standing: &p2p_chat_engine::Standing| {
        node.request(who, Request::Ping(standing.clone()));
        node.snapshot().writable
    };
    let ahead = p2p_chat_engine::Standing { frontier: Some(clock(&[(ALICE, 3), (CAROL, 6)])), ..standing.clone() };
    assert!(!says_so(&mut node, BOB, &ahead));
    assert!(!says_so(&mut node, ALICE, &standing), "bob has said that he has more");
    node.pass(CONFIG.own_claim_ms + 1);
    assert!(says_so(&mut node, ALICE, &standing), "his word has counted for long enough");
}

#[test]
fn a_leader_with_the_same_log_says_by_its_digest_that_there_is_no_more() {
    let (mut node, fetch) = carol_lacks_her_own();
    node.answer(fetch, unreachable());
    node.pass(CONFIG.own_claim_ms + 1);
    let same = node.standing(None);
    node.request(BOB, Request::Ping(same.clone()));
    assert!(!node.snapshot().writable, "bob does not lead");
    node.request(ALICE, Request::Ping(same));
    assert!(node.snapshot().writable);
}

#[test]
fn a_network_that_is_full_is_told_at_once() {
    let (mut node, outputs) = carol_joins(Vec::new());
    let full = Refusal::Full.to_string();
    let outputs = node.answer(call_to(&outputs, ALICE), Err(CallError::Full(full.clone())));
    let refused = Output::Done(p2p_chat_engine::CommandId(0), Err(CommandError::Refused(full)));
    assert!(outputs.contains(&refused), "{outputs:?}");
}

#[test]
fn a_stranger_that_poses_as_the_leader_of_an_earlier_reign_is_not_believed_either() {
    let mut node = Node::settled_with(BOB, 0, CONFIG, &view(3, 5, ALICE, &[ALICE, BOB]));
    // bob has dropped out, and a discovery service, or whoever says so, sends it to dave.
    node.request(ALICE, Request::UpdateView(view(3, 6, ALICE, &[ALICE]), None));
    let mut outputs = node.answer(node.id(1), Ok(Response::NotLeader(DAVE.hint(3))));
    let earlier = view(2, 9, DAVE, &[BOB, DAVE]);
    let let_in = Response::Admitted { view: earlier, admission: (DAVE.peer(), 1), frontier: clock(&[]) };
    outputs = node.answer(call_to(&outputs, DAVE), Ok(let_in));
    let claims = Standing { frontier: Some(clock(&[(BOB, 1_000)])), ..node.standing(None) };
    node.answer(call_to(&outputs, DAVE), Ok(Response::Standing(claims)));
    assert!(node.snapshot().writable, "nobody has admitted dave");
}
