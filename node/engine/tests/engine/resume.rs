//! Founding a network, and going on after a restart.

use p2p_chat_engine::{
    CallError, Command, CommandError, CommandId, DiscoveryAnswer, DiscoveryCall, Done, Durable, Event, FeedLog, Input,
    Output, PeerCall, Phase, Refusal, Request, Response, Start, Write,
};
use p2p_chat_model::{Epoch, Rank, RosterOp, View};

use crate::common::*;

fn alice_founds(services: usize) -> (Node, Vec<Output>) {
    Node::start(ALICE, services, Start::Found { command: CommandId(0), genesis: genesis() })
}

fn resume(who: Who, durable: Durable, log: Vec<FeedLog>) -> (Node, Vec<Output>) {
    Node::start(who, 1, Start::Resume { durable, log })
}

fn founding_view() -> View {
    View::founding(ALICE.peer(), ALICE.address())
}

fn abandoned(node: &Node, error: CommandError) -> [Output; 4] {
    [
        event(Event::Abandoned),
        node.saved(|state| {
            state.phase = Phase::Left;
            state.view = None;
        }),
        event(Event::Stopped),
        Output::Done(CommandId(0), Err(error)),
    ]
}

#[test]
fn a_founder_saves_its_view_and_registers_everywhere() {
    let (node, outputs) = alice_founds(2);
    let create = DiscoveryCall::Create { view: founding_view(), admission: Vec::new(), serial: WALL };
    let expected = [
        node.saved(|state| *state = node.on_disk().clone()),
        node.discover(1, 0, create.clone()),
        node.discover(2, 1, create),
    ];
    assert_eq!(outputs, expected);
    let disk = node.on_disk();
    assert_eq!((disk.phase, disk.epoch, disk.view.as_ref()), (Phase::Founding, Epoch(1), Some(&founding_view())));
}

#[test]
fn one_service_that_accepts_is_enough() {
    let (mut node, _) = alice_founds(2);
    let (first, second) = (node.id(1), node.id(2));
    let close = DiscoveryCall::Close { view: founding_view(), serial: WALL + 1 };
    let outputs = node.answer(first, unreachable());
    assert_eq!(outputs, [node.discover(1, 0, close)], "it may have registered the network all the same");
    let close = discovery_call(&outputs);
    let outputs = node.answer(second, discovery(DiscoveryAnswer::Accepted(record(ALICE, 1))));
    let done = Output::Done(CommandId(0), Ok(Done::Created));
    assert_eq!(outputs[..2], [node.saved(|state| state.phase = Phase::Joined), done]);
    assert!(node.snapshot().leading);
    node.answer(close, discovery(DiscoveryAnswer::Closed));
    let outputs = node.pass(CONFIG.lease_retry_ms);
    let renews =
        |output: &Output| matches!(output, Output::Discover { service: 0, call: DiscoveryCall::Renew { .. }, .. });
    assert!(outputs.iter().any(renews), "the network goes on, there too: {outputs:?}");
}

#[test]
fn a_founding_that_fails_says_why_and_leaves_nothing_running() {
    let reason = "no route".to_owned();
    let cases = [
        (Err(CallError::Failed(reason.clone())), CommandError::Refused(format!("failed: {reason}"))),
        (Err(CallError::Exists("lab".to_owned())), CommandError::NameTaken),
        (Err(CallError::Unmet("not you".to_owned())), CommandError::NotReachable("not you".to_owned())),
    ];
    for (answer, error) in cases {
        let (mut node, _) = alice_founds(1);
        let outputs = node.answer(node.id(1), answer);
        assert_eq!(outputs, abandoned(&node, error));
        assert_eq!(node.engine.deadline(), None);
    }
    let (mut node, _) = alice_founds(1);
    let close = discovery_call(&node.answer(node.id(1), unreachable()));
    assert_eq!(node.answer(close, unreachable()), abandoned(&node, CommandError::NoDiscovery(reason)));
    let (_, outputs) = alice_founds(0);
    let error = CommandError::NoDiscovery("none is configured".to_owned());
    assert_eq!(outputs.last(), Some(&Output::Done(CommandId(0), Err(error))));
}

#[test]
fn a_name_taken_at_one_service_is_given_back_to_another_that_answers_later() {
    let (mut node, _) = alice_founds(3);
    let [first, second, third] = [1, 2, 3].map(|nth| node.id(nth));
    assert_eq!(node.answer(second, Err(CallError::Exists("lab".to_owned()))), []);
    let outputs = node.answer(first, discovery(DiscoveryAnswer::Accepted(record(ALICE, 1))));
    let close = DiscoveryCall::Close { view: founding_view(), serial: WALL + 1 };
    assert_eq!(outputs, [node.discover(1, 0, close)]);
    let close = discovery_call(&outputs);
    let last = discovery_call(&node.answer(third, unreachable()));
    assert_eq!(node.answer(close, discovery(DiscoveryAnswer::Closed)), []);
    let outputs = node.answer(last, discovery(DiscoveryAnswer::Closed));
    assert_eq!(outputs, abandoned(&node, CommandError::NameTaken));
}

#[test]
fn a_founder_that_crashed_before_the_answer_leads_and_brings_its_network_on_record() {
    let mut durable = durable(&founding_view());
    durable.phase = Phase::Founding;
    let (mut node, outputs) = resume(ALICE, durable, vec![founding_log(&[ALICE])]);
    assert_eq!(outputs, []);
    let outputs = node.next_tick();
    assert_eq!(outputs, [node.discover(1, 0, DiscoveryCall::Renew { view: founding_view(), serial: WALL })]);
    let outputs = node.answer(node.id(1), discovery(DiscoveryAnswer::Unknown));
    let create = DiscoveryCall::Create { view: founding_view(), admission: Vec::new(), serial: WALL + 1 };
    assert_eq!(outputs, [node.discover(1, 0, create)]);
}

#[test]
fn a_leader_that_starts_again_tells_everybody_its_reign() {
    let followed = view(4, 5, ALICE, &[ALICE, BOB, CAROL]);
    let mut durable = durable(&followed);
    durable.certificate = certificate(Rank::Majority, vec![BOB.vote(4, ALICE)]);
    durable.acked = clock(&[(BOB, 3), (CAROL, 3)]);
    let proof = durable.certificate.clone();
    let (node, outputs) = resume(ALICE, durable, vec![founding_log(&[ALICE, BOB, CAROL])]);
    let coordinate = PeerCall::Coordinate(followed, proof);
    let expected = [
        node.call(1, BOB, coordinate.clone(), CONFIG.deliver_timeout_ms),
        node.call(2, CAROL, coordinate, CONFIG.deliver_timeout_ms),
    ];
    assert_eq!(outputs, expected);
}

#[test]
fn a_leader_that_starts_again_elsewhere_tells_where_it_is() {
    let mut followed = view(4, 5, ALICE, &[ALICE, BOB]);
    followed.active[0].address = "elsewhere:1".parse().unwrap();
    let (node, outputs) = resume(ALICE, durable(&followed), vec![founding_log(&[ALICE, BOB])]);
    let now = view(4, 6, ALICE, &[ALICE, BOB]);
    assert_eq!(outputs[0], node.saved(|state| state.view = Some(now.clone())));
    assert!(outputs.iter().any(is_call(|call| matches!(call, PeerCall::Coordinate(told, _) if *told == now))));
}

#[test]
fn a_follower_that_starts_again_asks_its_leader_and_writes_after_its_answer() {
    let followed = view(4, 5, ALICE, &[ALICE, BOB]);
    let (mut node, outputs) = resume(BOB, durable(&followed), vec![founding_log(&[ALICE, BOB])]);
    assert_eq!(outputs, [node.call(1, ALICE, PeerCall::Join { request: 99 }, JOIN_MS)]);
    let join = node.id(1);
    assert_eq!(node.command(Command::Send), []);
    let sent = Output::Done(node.last_command(), Ok(Done::Sent { seq: 1, lamport: 3 }));
    let admission = (ALICE.peer(), 2);
    let outputs =
        node.answer(join, Ok(Response::Admitted { view: followed, admission, frontier: clock(&[(ALICE, 2)]) }));
    assert!(outputs.contains(&sent), "{outputs:?}");
}

#[test]
fn an_author_whose_disk_was_set_back_gives_no_number_twice() {
    let followed = view(4, 5, ALICE, &[ALICE, BOB]);
    let (mut node, outputs) = resume(BOB, durable(&followed), vec![founding_log(&[ALICE, BOB]), text_log(BOB, 2, 9)]);
    let join = call_to(&outputs, ALICE);
    assert_eq!(node.command(Command::Send), []);
    let sent = node.last_command();
    let frontier = clock(&[(ALICE, 2), (BOB, 3)]);
    let outputs = node.answer(join, Ok(Response::Admitted { view: followed, admission: (ALICE.peer(), 2), frontier }));
    assert!(!outputs.iter().any(|output| matches!(output, Output::Done(..))), "{outputs:?}");
    let fetch = call_to(&outputs, ALICE);
    let lost = run(1, BOB, 3, vec![text(BOB, 3, 10, &[])]);
    let mut outputs = node.step(Input::Fetched(fetch, vec![lost]));
    outputs.extend(node.answer(fetch, Ok(Response::FetchDone)));
    assert!(outputs.contains(&Output::Done(sent, Ok(Done::Sent { seq: 4, lamport: 11 }))), "{outputs:?}");
}

#[test]
fn who_leaves_after_a_restart_is_told_what_those_have_that_are_away() {
    let mut state = durable(&view(4, 5, BOB, &[BOB]));
    state.acked = clock(&[(CAROL, 2)]);
    let (mut node, _) = resume(BOB, state, vec![founding_log(&[ALICE, BOB, CAROL]), text_log(BOB, 3, 9)]);
    node.pass(CONFIG.own_word_ms);
    node.command(Command::Leave { wait_ms: 100, force: false });
    let told = Output::Done(node.last_command(), Err(CommandError::OnlyHere(1)));
    assert!(node.tick_until(|output| matches!(output, Output::Done(..))).contains(&told));
}

#[test]
fn an_author_that_starts_again_without_anybody_writes_after_a_moment() {
    let followed = view(4, 5, ALICE, &[ALICE, BOB]);
    let (mut node, outputs) = resume(BOB, durable(&followed), vec![founding_log(&[ALICE, BOB])]);
    node.answer(call_to(&outputs, ALICE), unreachable());
    node.command(Command::Send);
    let sent = Output::Done(node.last_command(), Ok(Done::Sent { seq: 1, lamport: 3 }));
    assert!(!node.pass(CONFIG.own_word_ms - 1).contains(&sent));
    assert!(node.pass(1).contains(&sent));
}

#[test]
fn what_the_author_knew_to_be_held_by_whom_survives_a_restart() {
    let followed = view(4, 5, ALICE, &[ALICE, BOB, CAROL]);
    let mut state = durable(&followed);
    state.acked = clock(&[(ALICE, 3), (CAROL, 1)]);
    let log = vec![founding_log(&[ALICE, BOB, CAROL]), text_log(BOB, 3, 9)];
    let (_, outputs) = resume(BOB, state, log);
    let pushes: Vec<_> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Call { peer, call: PeerCall::Deliver { from, upto, .. }, .. } => Some((*peer, *from, *upto)),
            _ => None,
        })
        .collect();
    assert_eq!(pushes, [(CAROL.peer(), 2, 3)]);
}

#[test]
fn a_reign_from_before_a_restart_counts_once_somebody_confirms_it() {
    let reign = || durable(&view(4, 5, ALICE, &[ALICE, BOB]));
    let log = || vec![founding_log(&[ALICE, BOB])];
    let (mut node, outputs) = resume(ALICE, reign(), log());
    assert!(node.snapshot().leading && !node.snapshot().leader_alive);
    let told = outputs.iter().find_map(|output| match output {
        Output::Call { id, peer, call: PeerCall::Coordinate(..), .. } if *peer == BOB.peer() => Some(*id),
        _ => None,
    });
    node.answer(told.expect("bob is told"), Ok(Response::Taken(true, None)));
    assert!(node.snapshot().leader_alive);

    let (node, _) = resume(BOB, durable(&view(4, 5, BOB, &[BOB])), log());
    assert!(node.snapshot().leader_alive, "there is nobody else to ask");
}

#[test]
fn a_first_join_that_a_crash_cut_short_is_tried_again_for_as_long_as_it_takes() {
    let (mut node, outputs) = resume(BOB, Durable::new(Phase::Joining, 5), Vec::new());
    assert_eq!(outputs, []);
    // The leader may have let this node in already, so it is looked for where everybody finds it.
    let mut call = node.next_tick();
    while call.is_empty() {
        call = node.next_tick();
    }
    assert_eq!(call, [node.discover(1, 0, DiscoveryCall::Lookup)]);
    for _ in 0..20 {
        assert_eq!(node.answer(node.id(1), discovery(DiscoveryAnswer::Unknown)), []);
        node.pass(CONFIG.join_timeout_ms);
        assert_eq!(node.snapshot().phase, Phase::Joining);
    }
    // Whoever wanted to get in can give that up, and needs no force for it.
    let outputs = node.command(Command::Leave { wait_ms: 500, force: false });
    let outputs = [outputs, node.pass(CONFIG.leave_timeout_ms)].concat();
    assert!(outputs.contains(&event(Event::Stopped)), "{outputs:?}");
    assert_eq!(node.snapshot().phase, Phase::Left);
}

#[test]
fn who_has_left_stays_out_after_a_restart() {
    let (mut node, outputs) = resume(BOB, Durable::new(Phase::Left, 5), vec![founding_log(&[ALICE, BOB])]);
    assert_eq!(outputs, [event(Event::Stopped)]);
    let outputs = node.request(ALICE, Request::Leave);
    assert_eq!(outputs, [node.reply(Err(Refusal::NotHere))]);
}

#[test]
fn a_leave_that_a_crash_cut_short_counts_once_its_entry_is_written() {
    let followed = view(4, 5, ALICE, &[ALICE, BOB]);
    let mut state = durable(&followed);
    state.phase = Phase::Leaving;
    let (node, _) = resume(BOB, state.clone(), vec![founding_log(&[ALICE, BOB])]);
    assert_eq!(node.snapshot().phase, Phase::Joined);
    let mut own = text_log(BOB, 1, 9);
    own.roster.push((1, op(BOB, 1, 9, &[], RosterOp::Leave)));
    let log = vec![founding_log(&[ALICE, BOB]), own];
    let (mut node, outputs) = resume(BOB, state.clone(), log.clone());
    let told = PeerCall::Deliver { author: BOB.peer(), from: 1, upto: 1 };
    assert_eq!(outputs, [node.call(1, ALICE, told, CONFIG.deliver_timeout_ms)], "nobody has it yet");
    let stopped = event(Event::Stopped);
    let outputs = node.answer(node.id(1), Ok(Response::Acked(clock(&[(BOB, 1)]))));
    assert!(outputs.contains(&stopped), "{outputs:?}");
    let (mut node, _) = resume(BOB, state.clone(), log.clone());
    assert!(node.pass(CONFIG.deliver_timeout_ms).contains(&stopped), "nobody can be reached");
    state.acked = clock(&[(ALICE, 1)]);
    let (node, outputs) = resume(BOB, state, log);
    assert_eq!((node.snapshot().phase, outputs.last()), (Phase::Left, Some(&stopped)), "it was told before");
}

#[test]
fn the_last_member_closes_the_network_even_if_a_crash_cut_its_leave_short() {
    let mut log = founding_log(&[ALICE]);
    log.last += 1;
    log.roster.push((log.last, op(ALICE, log.last, 9, &[], RosterOp::Leave)));
    let mut state = durable(&view(4, 5, ALICE, &[ALICE]));
    state.phase = Phase::Leaving;
    let (mut node, outputs) = resume(ALICE, state, vec![log]);
    assert!(outputs.iter().any(is_close), "{outputs:?}");
    let outputs = node.answer(discovery_call(&outputs), discovery(DiscoveryAnswer::Closed));
    assert_eq!(outputs.last(), Some(&event(Event::Stopped)));
}

fn is_close(output: &Output) -> bool {
    matches!(output, Output::Discover { call: DiscoveryCall::Close { .. }, .. })
}

#[test]
fn who_has_come_back_after_a_leave_stays_even_if_its_new_admission_has_not_arrived() {
    let mut state = durable(&view(4, 5, ALICE, &[ALICE, BOB]));
    state.admission = Some((ALICE.peer(), 3));
    let mut own = text_log(BOB, 1, 9);
    own.roster.push((1, op(BOB, 1, 9, &[], RosterOp::Leave)));
    let (mut node, _) = resume(BOB, state, vec![founding_log(&[ALICE, BOB]), own]);
    let outputs = node.pass(2 * CONFIG.deliver_timeout_ms);
    assert!(!outputs.contains(&event(Event::Stopped)), "{outputs:?}");
    let again = RosterOp::Admit { peer: BOB.peer(), name: BOB.name(), past: 1 };
    node.request(ALICE, Request::Deliver(vec![run(1, ALICE, 3, vec![op(ALICE, 3, 10, &[(BOB, 1)], again)])]));
    assert!(node.snapshot().roster.is_member(&BOB.peer()));
}

#[test]
fn a_vote_is_remembered() {
    let mut state = durable(&view(4, 5, ALICE, &[ALICE, BOB, CAROL, DAVE]));
    state.vote = Some((Epoch(5), CAROL.peer()));
    let (mut node, _) = resume(DAVE, state, vec![founding_log(&[ALICE, BOB, CAROL, DAVE])]);
    let outputs = node.request(BOB, Request::Elect(Epoch(5), BOB.node()));
    let outputs = node.answer(call_to(&outputs, ALICE), unreachable());
    assert_eq!(outputs, [node.reply(Ok(Response::Promised(Epoch(5))))]);
}

#[test]
fn what_was_held_back_before_a_restart_is_shown_once_its_past_arrives() {
    let held = text(CAROL, 2, 9, &[(DAVE, 1)]);
    let mut carols = text_log(CAROL, 2, 9);
    carols.held.push(held.clone());
    let everybody = [ALICE, BOB, CAROL, DAVE];
    let (mut node, _) = resume(BOB, durable(&view(4, 5, ALICE, &everybody)), vec![founding_log(&everybody), carols]);
    assert_eq!(node.snapshot().held, 1);
    let past = text(DAVE, 1, 8, &[]);
    let outputs = node.request(DAVE, Request::Deliver(vec![run(1, DAVE, 1, vec![past.clone()])]));
    let mut expected = vec![Output::Write(Write::Run(p2p_chat_engine::RunToken(1)))];
    expected.extend(delivered(DAVE, 1, past, true));
    expected.extend(delivered(CAROL, 2, held, false));
    expected.push(node.reply(Ok(Response::Acked(clock(&[(DAVE, 1)])))));
    assert_eq!(outputs, expected);
}

#[test]
fn what_members_acknowledged_before_a_restart_is_known_also_of_those_that_are_away() {
    let mut state = durable(&view(4, 5, ALICE, &[ALICE, BOB]));
    state.acked = clock(&[(ALICE, 3), (CAROL, 2)]);
    let (node, _) = resume(BOB, state, vec![founding_log(&[ALICE, BOB, CAROL, DAVE]), text_log(BOB, 3, 9)]);
    let holds: Vec<_> = node.snapshot().cursors.iter().map(|hold| (hold.peer, hold.acked)).collect();
    let mut expected = vec![(ALICE.peer(), 3), (CAROL.peer(), 2), (DAVE.peer(), 0)];
    expected.sort_unstable();
    assert_eq!(holds, expected);
    assert_eq!((node.figures().owed, node.figures().owed_active), (1 + 3, 0));
}

#[test]
fn whatever_the_engine_writes_down_can_be_read_back() {
    let mut node = Node::settled_with(BOB, 0, CONFIG, &view(3, 5, ALICE, &[ALICE, BOB, CAROL]));
    let reign = view(4, 6, CAROL, &[BOB, CAROL]);
    let votes = vec![BOB.vote(4, CAROL), CAROL.vote(4, CAROL)];
    node.request(CAROL, Request::Coordinate(reign, certificate(Rank::Majority, votes)));
    let disk = node.on_disk();
    assert_eq!(disk.certificate.rank, Rank::Majority);
    assert_eq!(Durable::decode(&disk.encode()).as_ref(), Ok(disk));
}
