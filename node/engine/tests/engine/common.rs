//! One engine in the test's hand: alice, bob, carol and dave are identities from seeds, the network is the test
//! itself. `step` gives an input in and returns every output of it.

use std::collections::{BTreeMap, BTreeSet};

use p2p_chat_engine::{
    CallError, CallId, Command, CommandId, Config, DiscoveryAnswer, DiscoveryCall, Durable, Engine, EntryFacts, Event,
    FeedLog, Figures, Input, LeaderHint, Moment, Output, PeerCall, Phase, Record, Refusal, Request, RequestId,
    Response, RunFacts, RunToken, Setup, Snapshot, Standing, Start, Write,
};
use p2p_chat_model::{
    ActiveMember, Address, Certificate, EntryHash, EntryKind, Epoch, Genesis, Identity, Name, NetworkId, NodeId,
    PeerId, RosterOp, Seq, VectorClock, View, Vote,
};

pub(crate) const NETWORK: NetworkId = NetworkId::new([7; 32]);
/// The wall clock of every step.
pub(crate) const WALL: u64 = 1_700_000_000_000;
pub(crate) const CONFIG: Config = Config::LAN;
/// A join may take this long: a connection, two calls back, the wait for a witness.
pub(crate) const JOIN_MS: u64 = 3 * CONFIG.call_back_timeout_ms + CONFIG.admission_wait_ms;

const NAMES: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "frank"];

/// Somebody of the story.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Who(pub u8);

pub(crate) const ALICE: Who = Who(0);
pub(crate) const BOB: Who = Who(1);
pub(crate) const CAROL: Who = Who(2);
pub(crate) const DAVE: Who = Who(3);
pub(crate) const ERIN: Who = Who(4);
pub(crate) const FRANK: Who = Who(5);

impl Who {
    pub(crate) fn identity(self) -> Identity {
        Identity::from_seed([self.0 + 1; 32])
    }

    pub(crate) fn peer(self) -> PeerId {
        self.identity().peer()
    }

    pub(crate) fn name(self) -> Name {
        NAMES[usize::from(self.0)].parse().unwrap()
    }

    pub(crate) fn address(self) -> Address {
        format!("{}:7500", self.name()).parse().unwrap()
    }

    /// Node ids count from 1 in the order of admission.
    pub(crate) fn node(self) -> NodeId {
        NodeId(u64::from(self.0) + 1)
    }

    pub(crate) fn hint(self, epoch: u64) -> LeaderHint {
        LeaderHint { epoch: Epoch(epoch), peer: self.peer(), address: self.address() }
    }

    pub(crate) fn vote(self, epoch: u64, candidate: Who) -> Vote {
        Vote::cast(&self.identity(), NETWORK, Epoch(epoch), candidate.peer())
    }
}

pub(crate) fn active(node: u64, who: Who) -> ActiveMember {
    ActiveMember { node: NodeId(node), peer: who.peer(), address: who.address(), join_request: 0 }
}

/// A view in which everybody has the number given at the first admission.
pub(crate) fn view(epoch: u64, version: u64, leader: Who, members: &[Who]) -> View {
    let active: Vec<ActiveMember> = members.iter().map(|who| active(who.node().0, *who)).collect();
    let next_id = active.last().map_or(NodeId(1), |last| last.node.next());
    View { epoch: Epoch(epoch), version, leader: leader.node(), next_id, active }
}

pub(crate) fn clock(positions: &[(Who, Seq)]) -> VectorClock {
    positions.iter().map(|(who, seq)| (who.peer(), *seq)).collect()
}

/// A made-up hash, different for every author, number and `branch`.
pub(crate) fn hash(author: Who, seq: Seq, branch: u8) -> EntryHash {
    let mut bytes = [branch; 32];
    bytes[0] = author.0 + 1;
    bytes[1..9].copy_from_slice(&seq.to_be_bytes());
    EntryHash::new(bytes)
}

pub(crate) fn text(author: Who, seq: Seq, lamport: u64, past: &[(Who, Seq)]) -> EntryFacts {
    let clock = clock(past);
    EntryFacts { hash: hash(author, seq, 0), lamport, wall_ms: WALL, kind: EntryKind::Text, clock, op: None }
}

pub(crate) fn op(author: Who, seq: Seq, lamport: u64, past: &[(Who, Seq)], op: RosterOp) -> EntryFacts {
    EntryFacts { kind: op.kind(), op: Some(op), ..text(author, seq, lamport, past) }
}

pub(crate) fn genesis() -> EntryFacts {
    let found = Genesis { salt: [0; 32], name: "lab".parse().unwrap(), creator: ALICE.name() };
    op(ALICE, 1, 1, &[], RosterOp::Genesis(found))
}

pub(crate) fn admit(seq: Seq, who: Who) -> EntryFacts {
    op(ALICE, seq, seq, &[], RosterOp::Admit { peer: who.peer(), name: who.name(), past: 0 })
}

pub(crate) fn run(token: u64, author: Who, first: Seq, entries: Vec<EntryFacts>) -> RunFacts {
    let previous = if first == 1 { EntryHash::NONE } else { hash(author, first - 1, 0) };
    RunFacts { token: RunToken(token), author: author.peer(), first, previous, entries }
}

/// alice's feed: she founded the network and admitted the others, in their order.
pub(crate) fn founding_log(members: &[Who]) -> FeedLog {
    let admitted = members.iter().filter(|who| **who != ALICE);
    let mut roster = vec![(1, genesis())];
    roster.extend((2..).zip(admitted).map(|(seq, who)| (seq, admit(seq, *who))));
    let last = roster.len() as Seq;
    FeedLog { author: ALICE.peer(), last, head: hash(ALICE, last, 0), lamport: last, held: Vec::new(), roster }
}

/// A feed of nothing but delivered texts.
pub(crate) fn text_log(author: Who, last: Seq, lamport: u64) -> FeedLog {
    let (held, roster) = (Vec::new(), Vec::new());
    FeedLog { author: author.peer(), last, head: hash(author, last, 0), lamport, held, roster }
}

/// The state of a node that follows `view`.
pub(crate) fn durable(view: &View) -> Durable {
    let mut durable = Durable::new(Phase::Joined, 99);
    durable.epoch = view.epoch;
    durable.addresses = view.active.iter().map(|it| (it.peer, it.address.clone())).collect::<BTreeMap<_, _>>();
    durable.view = Some(view.clone());
    durable
}

pub(crate) fn unreachable<T>() -> Result<T, CallError> {
    Err(CallError::Unreachable("no route".to_owned()))
}

pub(crate) fn discovery(answer: DiscoveryAnswer) -> Result<Response, CallError> {
    Ok(Response::Discovery(answer))
}

pub(crate) fn record(leader: Who, epoch: u64) -> Record {
    Record { leader: leader.hint(epoch), contacts: Vec::new() }
}

/// One engine under test.
pub(crate) struct Node {
    pub(crate) engine: Engine,
    pub(crate) who: Who,
    pub(crate) now: u64,
    /// The chance of every step.
    pub(crate) random: u64,
    /// The state last written, before and after the latest step.
    before: Durable,
    written: Durable,
    /// The highest call id before the latest step.
    base: u64,
    calls: u64,
    requests: u64,
    commands: u64,
}

impl Node {
    pub(crate) fn start(who: Who, services: usize, start: Start) -> (Self, Vec<Output>) {
        Self::start_with(who, services, CONFIG, start)
    }

    pub(crate) fn start_with(who: Who, services: usize, config: Config, start: Start) -> (Self, Vec<Output>) {
        let written = match &start {
            Start::Resume { durable, .. } => durable.clone(),
            _ => Durable::new(Phase::Joining, 0),
        };
        let (identity, name, address) = (who.identity(), who.name(), who.address());
        let setup = Setup { identity, network: NETWORK, name, address, services, config };
        let moment = Moment { now: 1_000, wall_ms: WALL, random: 0 };
        let engine = Engine::new(setup, start, moment);
        let before = written.clone();
        let mut node =
            Self { engine, who, now: 1_000, random: 0, before, written, base: 0, calls: 0, requests: 0, commands: 0 };
        let outputs = node.drain();
        (node, outputs)
    }

    /// A member that has been in for long: nothing is in flight, nothing is owed.
    pub(crate) fn settled(who: Who, leader: Who, members: &[Who]) -> Self {
        Self::settled_with(who, 1, CONFIG, &view(1, 5, leader, members))
    }

    pub(crate) fn settled_with(who: Who, services: usize, config: Config, view: &View) -> Self {
        let members: Vec<Who> = (0..5).map(Who).filter(|it| view.member(&it.peer()).is_some()).collect();
        let everybody: Vec<Who> = (0..=members.iter().map(|it| it.0).max().unwrap_or(0)).map(Who).collect();
        let log = vec![founding_log(&everybody)];
        let mut durable = durable(view);
        durable.addresses = everybody.iter().map(|it| (it.peer(), it.address())).collect();
        let owned = if who == ALICE { everybody.len() as Seq } else { 0 };
        for peer in members.iter().filter(|peer| **peer != who) {
            durable.acked.set(peer.peer(), owned);
        }
        let (mut node, outputs) = Self::start_with(who, services, config, Start::Resume { durable, log });
        node.calm(outputs);
        node
    }

    /// Answers every call as a friend in perfect agreement would, until nothing is asked any more.
    pub(crate) fn calm(&mut self, outputs: Vec<Output>) {
        let mut queue: Vec<Output> = outputs;
        queue.extend(self.step(Input::Tick));
        while let Some(output) = (!queue.is_empty()).then(|| queue.remove(0)) {
            let answer = match output {
                Output::Call { id, peer, call, .. } => (id, self.friendly(peer, call)),
                Output::Discover { id, .. } => {
                    let hint = self.leader_hint();
                    (id, discovery(DiscoveryAnswer::Accepted(Record { leader: hint, contacts: Vec::new() })))
                }
                _ => continue,
            };
            let more = self.step(Input::Response(answer.0, answer.1));
            queue.extend(more);
        }
    }

    fn friendly(&mut self, peer: PeerId, call: PeerCall) -> Result<Response, CallError> {
        let snapshot = self.engine.snapshot();
        Ok(match call {
            PeerCall::Join { .. } => Response::Admitted {
                view: snapshot.view.unwrap(),
                admission: (ALICE.peer(), 1),
                frontier: snapshot.frontier,
            },
            PeerCall::Ping(_) => Response::Standing(Standing { peer_active: true, ..self.standing(None) }),
            PeerCall::Deliver { author, upto, .. } => Response::Acked([(author, upto)].into_iter().collect()),
            PeerCall::Coordinate(..) | PeerCall::UpdateView(..) => Response::Taken(true, None),
            other => panic!("nothing friendly to answer {peer:?} to {other:?}"),
        })
    }

    /// Where the engine under test stands, as told to an active member.
    pub(crate) fn standing(&self, frontier: Option<VectorClock>) -> Standing {
        let snapshot = self.engine.snapshot();
        Standing {
            leader: Some(self.leader_hint()),
            epoch: snapshot.epoch,
            version: snapshot.view.map_or(0, |view| view.version),
            digest: snapshot.frontier.digest(),
            frontier,
            peer_active: true,
            leaving: false,
        }
    }

    pub(crate) fn leader_hint(&self) -> LeaderHint {
        let view = self.engine.snapshot().view.unwrap();
        let leader = view.leader().unwrap();
        LeaderHint { epoch: view.epoch, peer: leader.peer, address: leader.address.clone() }
    }

    pub(crate) fn figures(&self) -> Figures {
        self.engine.figures()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.engine.snapshot()
    }

    /// Gives one input in; every output of it.
    pub(crate) fn step(&mut self, input: Input) -> Vec<Output> {
        let moment = Moment { now: self.now, wall_ms: WALL, random: self.random };
        self.engine.handle(moment, input);
        self.drain()
    }

    fn drain(&mut self) -> Vec<Output> {
        self.base = self.calls;
        self.before = self.written.clone();
        let outputs: Vec<Output> = std::iter::from_fn(|| self.engine.poll()).collect();
        for output in &outputs {
            match output {
                Output::Call { id, .. } | Output::Discover { id, .. } => self.calls = self.calls.max(id.0),
                Output::Write(Write::State(state)) => self.written = (**state).clone(),
                _ => {}
            }
        }
        outputs
    }

    /// A request of `from`; [`Node::reply`] names its answer.
    pub(crate) fn request(&mut self, from: Who, request: Request) -> Vec<Output> {
        self.requests += 1;
        self.step(Input::Request(RequestId(self.requests), from.peer(), request))
    }

    pub(crate) fn command(&mut self, command: Command) -> Vec<Output> {
        self.commands += 1;
        self.step(Input::Command(CommandId(self.commands), command))
    }

    pub(crate) fn answer(&mut self, call: CallId, result: Result<Response, CallError>) -> Vec<Output> {
        self.step(Input::Response(call, result))
    }

    /// Lets `after_ms` pass in one leap, then ticks. Less than the stall bound, or the engine takes itself for sick.
    pub(crate) fn wait(&mut self, after_ms: u64) -> Vec<Output> {
        self.now += after_ms;
        self.step(Input::Tick)
    }

    /// Goes on to the next deadline.
    pub(crate) fn next_tick(&mut self) -> Vec<Output> {
        self.now = self.engine.deadline().expect("a timer is set").max(self.now);
        self.step(Input::Tick)
    }

    /// Goes from deadline to deadline until one brings an output that is wanted.
    pub(crate) fn tick_until(&mut self, is_wanted: impl Fn(&Output) -> bool) -> Vec<Output> {
        for _ in 0..1_000 {
            let outputs = self.next_tick();
            if outputs.iter().any(&is_wanted) {
                return outputs;
            }
        }
        panic!("it never comes");
    }

    /// Goes from deadline to deadline up to `after_ms` from now; all outputs on the way.
    pub(crate) fn pass(&mut self, after_ms: u64) -> Vec<Output> {
        let end = self.now + after_ms;
        let mut outputs = Vec::new();
        while self.engine.deadline().is_some_and(|due| due <= end) {
            outputs.extend(self.next_tick());
        }
        self.now = end;
        outputs
    }

    /// The name of the `nth` call of the latest step, from 1.
    pub(crate) fn id(&self, nth: u64) -> CallId {
        CallId(self.base + nth)
    }

    /// The `nth` call of the latest step, as it should be.
    pub(crate) fn call(&self, nth: u64, to: Who, call: PeerCall, timeout_ms: u64) -> Output {
        Output::Call { id: self.id(nth), peer: to.peer(), address: to.address(), call, timeout_ms }
    }

    pub(crate) fn discover(&self, nth: u64, service: usize, call: DiscoveryCall) -> Output {
        Output::Discover { id: self.id(nth), service, call, timeout_ms: CONFIG.discovery_timeout_ms }
    }

    /// The answer to the latest request.
    pub(crate) fn reply(&self, result: Result<Response, Refusal>) -> Output {
        Output::Reply(RequestId(self.requests), result)
    }

    /// The end of the latest command.
    pub(crate) fn last_command(&self) -> CommandId {
        CommandId(self.commands)
    }

    /// The state as it was on disk before the latest step, changed.
    pub(crate) fn saved(&self, change: impl FnOnce(&mut Durable)) -> Output {
        let mut state = self.before.clone();
        change(&mut state);
        Output::Write(Write::State(Box::new(state)))
    }

    /// The state on disk.
    pub(crate) fn on_disk(&self) -> &Durable {
        &self.written
    }
}

pub(crate) fn event(event: Event) -> Output {
    Output::Event(event)
}

pub(crate) fn delivered(author: Who, seq: Seq, entry: EntryFacts, late: bool) -> [Output; 2] {
    let author = author.peer();
    [Output::Write(Write::Deliver { author, seq, entry, late }), event(Event::Delivered { author, seq })]
}

/// Whom the calls of `outputs` go to, in order.
pub(crate) fn callees(outputs: &[Output]) -> Vec<PeerId> {
    let callee = |output: &Output| match output {
        Output::Call { peer, .. } => Some(*peer),
        _ => None,
    };
    outputs.iter().filter_map(callee).collect()
}

/// The name of the call to `to`.
pub(crate) fn call_to(outputs: &[Output], to: Who) -> CallId {
    let calls = outputs.iter().find_map(|output| match output {
        Output::Call { id, peer, .. } if *peer == to.peer() => Some(*id),
        _ => None,
    });
    calls.unwrap_or_else(|| panic!("no call to {to:?} in {outputs:?}"))
}

/// The name of the call to a discovery service.
pub(crate) fn discovery_call(outputs: &[Output]) -> CallId {
    let calls = outputs.iter().find_map(|output| match output {
        Output::Discover { id, .. } => Some(*id),
        _ => None,
    });
    calls.unwrap_or_else(|| panic!("no discovery service is asked in {outputs:?}"))
}

pub(crate) fn is_call(wanted: impl Fn(&PeerCall) -> bool) -> impl Fn(&Output) -> bool {
    move |output| matches!(output, Output::Call { call, .. } if wanted(call))
}

pub(crate) fn peers(them: &[Who]) -> BTreeSet<PeerId> {
    them.iter().map(|who| who.peer()).collect()
}

pub(crate) fn certificate(rank: p2p_chat_model::Rank, votes: Vec<Vote>) -> Certificate {
    Certificate { rank, votes }
}
