//! A process: the driver around an engine, as the real one works. Outputs are executed in their order, those after
//! a write when it is synced, while other inputs go on being handled.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use p2p_chat_engine::{
    CommandId, Config, Durable, Engine, FeedLog, Input, Moment, Output, RequestId, Setup, Start, Write,
};
use p2p_chat_model::{
    Address, Entry, EntryKind, Header, Identity, Name, NetworkId, PeerId, RosterOp, Seq, VectorClock,
};

use crate::{
    calls::{FlightId, Waiting},
    clock::Clock,
    describe,
    disk::{Disk, Record},
    edge::{self, Tokens},
    net::{Service, Who},
    trace::name,
    world::{Happening, World},
};

/// Most outputs that one input may cause.
const MAX_OUTPUTS: usize = 20_000;
/// Most ticks at one moment.
const MAX_SPIN: u32 = 200;

/// An own entry that waits for being written in a run.
#[derive(Debug, Clone)]
pub(crate) struct OwnEntry {
    pub(crate) seq: Seq,
    pub(crate) entry: Entry,
}

/// An output on its way.
#[derive(Debug, Clone)]
pub(crate) enum Todo {
    Own(OwnEntry),
    Write(Record),
    Out(Box<Output>),
    /// Ask for the next chunk of a fetch.
    ReadOn(FlightId),
}

/// A node.
pub(crate) struct Node {
    pub(crate) who: Who,
    pub(crate) name: &'static str,
    pub(crate) identity: Identity,
    pub(crate) peer: PeerId,
    pub(crate) address: Address,
    /// The discovery services, in the order in which it asks them.
    pub(crate) services: Vec<Service>,
    pub(crate) disk: Disk,
    pub(crate) engine: Option<Engine>,
    pub(crate) is_up: bool,
    pub(crate) is_paused: bool,
    /// Its disk has failed: it takes no part until that works again.
    pub(crate) is_broken: bool,
    /// Whose requests it listened to when its disk failed.
    pub(crate) admitted: BTreeSet<PeerId>,
    /// Counts the lives of the process, and of what it makes of its network.
    pub(crate) incarnation: u64,
    /// What came while the process was paused.
    pub(crate) inbox: Vec<Happening>,
    pub(crate) requests: BTreeMap<RequestId, FlightId>,
    pub(crate) texts: BTreeMap<CommandId, String>,
    /// How long a sync may take.
    pub(crate) sync_ms: u64,
    /// How long it may take at present, with a disk that is slower than usual.
    pub(crate) slow_sync_ms: Option<u64>,
    pub(crate) is_disk_full: bool,
    /// The engine's state as it was last written.
    pub(crate) written: Option<Durable>,
    /// How many have been told of the view in it.
    pub(crate) told: u32,
    /// How often it has changed its address.
    pub(crate) moves: u64,
    /// The process crashes when it has executed that many more outputs, and stays down that long.
    pub(crate) crash_after: Option<(u64, u64)>,
    /// The process crashes during the next write, and stays down that long.
    pub(crate) crash_writing: Option<u64>,
    pub(crate) clock: Clock,
    pub(crate) todo: VecDeque<Todo>,
    pub(crate) behind_sync: VecDeque<Todo>,
    pub(crate) is_syncing: bool,
    wake: u64,
    spin: (u64, u32),
}

impl Node {
    pub(crate) fn new(who: Who) -> Self {
        let identity = Identity::from_seed([who as u8 + 1; 32]);
        let name = name(who);
        Self {
            who,
            name,
            peer: identity.peer(),
            identity,
            address: format!("{name}:7500").parse().expect("an address"),
            services: vec![0],
            disk: Disk::new(None),
            engine: None,
            is_up: true,
            is_paused: false,
            is_broken: false,
            admitted: BTreeSet::new(),
            incarnation: 1,
            inbox: Vec::new(),
            requests: BTreeMap::new(),
            texts: BTreeMap::new(),
            sync_ms: 5,
            slow_sync_ms: None,
            is_disk_full: false,
            written: None,
            told: 0,
            moves: 0,
            crash_after: None,
            crash_writing: None,
            clock: Clock::new(1_000_000 * (who as u64 + 1)),
            todo: VecDeque::new(),
            behind_sync: VecDeque::new(),
            is_syncing: false,
            wake: 0,
            spin: (0, 0),
        }
    }

    pub(crate) fn member_name(&self) -> Name {
        self.name.parse().expect("a name")
    }

    /// Whether nothing is on its way to the disk.
    pub(crate) fn is_settled(&self) -> bool {
        !self.is_syncing && self.todo.is_empty()
    }

    /// The engine is gone, and what it had said and was not done.
    pub(crate) fn drop_engine(&mut self) {
        self.engine = None;
        self.is_syncing = false;
        self.todo.clear();
        self.behind_sync.clear();
    }

    /// How many outputs wait for the disk.
    pub(crate) fn waiting(&self) -> usize {
        self.todo.len() + self.behind_sync.len()
    }

    fn own(&self, text: Option<CommandId>, op: Option<&RosterOp>, header: (u64, u64, VectorClock)) -> Entry {
        let (lamport, wall_ms, clock) = header;
        let kind = op.map_or(EntryKind::Text, RosterOp::kind);
        let body = match (op, text) {
            (Some(op), _) => op.encode(),
            (None, Some(command)) => self.texts.get(&command).cloned().unwrap_or_default().into_bytes(),
            (None, None) => Vec::new(),
        };
        Entry { header: Header { lamport, wall_ms, clock, kind }, body: body.into() }
    }

    fn todo(&self, output: Output, tokens: &Tokens) -> Todo {
        match output {
            Output::Write(Write::Own { text, op, seq, lamport, wall_ms, clock }) => {
                Todo::Own(OwnEntry { seq, entry: self.own(text, op.as_ref(), (lamport, wall_ms, clock)) })
            }
            Output::Write(Write::Run(token)) => match tokens.get(&token) {
                Some(run) => Todo::Write(Record::Run(run.clone())),
                None => panic!("the engine writes run {token:?}, which it was not given with this input"),
            },
            Output::Write(Write::Deliver { author, seq, entry, late }) => {
                Todo::Write(Record::Delivered { author, seq, hash: entry.hash, late })
            }
            Output::Write(Write::Fork(token)) => match tokens.get(&token) {
                Some(run) => Todo::Write(Record::Fork(run.clone())),
                None => panic!("the engine keeps run {token:?}, which it was not given with this input"),
            },
            Output::Write(Write::State(state)) => Todo::Write(Record::State(state.encode())),
            Output::Write(Write::Ack { peer, upto, way }) => Todo::Write(Record::Ack { peer, upto, way }),
            other => Todo::Out(Box::new(other)),
        }
    }
}

impl World {
    /// Starts an engine on a node that has none.
    pub(crate) fn start_engine(&mut self, who: Who, network: NetworkId, start: Start) {
        let moment = self.moment(who);
        let node = &mut self.nodes[who];
        let setup = Setup {
            identity: node.identity.clone(),
            network,
            name: node.member_name(),
            address: node.address.clone(),
            services: node.services.len(),
            config: Config::LAN,
        };
        node.engine = Some(Engine::new(setup, start, moment));
        self.drain(who, &Tokens::new(), None);
    }

    /// Starts the engine again from what the disk holds, if it holds a membership.
    pub(crate) fn resume_engine(&mut self, who: Who) {
        let image = self.nodes[who].disk.image();
        let resumed: Option<(Durable, Vec<FeedLog>)> = image.resume();
        match (image.network, resumed) {
            (Some(network), Some((durable, log))) if durable.phase != p2p_chat_engine::Phase::Left => {
                self.start_engine(who, network, Start::Resume { durable, log });
            }
            (Some(_), None) => self.forget(who),
            _ => {}
        }
    }

    /// Hands an input to a node's engine.
    pub(crate) fn handle(&mut self, who: Who, input: Input, tokens: Tokens) {
        self.handle_then(who, input, tokens, None);
    }

    /// Hands an input to a node's engine; when its outputs are executed, the named fetch goes on.
    pub(crate) fn handle_then(&mut self, who: Who, input: Input, tokens: Tokens, fetch: Option<FlightId>) {
        if !self.nodes[who].is_up {
            return;
        }
        let moment = self.moment(who);
        if let Some(engine) = self.nodes[who].engine.as_mut() {
            engine.handle(moment, input);
            self.drain(who, &tokens, fetch);
        }
    }

    pub(crate) fn moment(&mut self, who: Who) -> Moment {
        let node = &self.nodes[who];
        let (now, wall_ms) = (node.clock.monotonic(self.now), node.clock.wall(self.now));
        Moment { now, wall_ms, random: self.rng.next() }
    }

    fn drain(&mut self, who: Who, tokens: &Tokens, fetch: Option<FlightId>) {
        let mut count = 0;
        while let Some(output) = self.nodes[who].engine.as_mut().and_then(Engine::poll) {
            count += 1;
            if count > MAX_OUTPUTS {
                return self.violated("bounds_hold", format!("{} puts out without end", self.nodes[who].name));
            }
            let mut todo = self.nodes[who].todo(output, tokens);
            if let Todo::Own(own) = &mut todo {
                self.distort(who, &mut own.entry);
            }
            self.nodes[who].todo.push_back(todo);
        }
        self.nodes[who].todo.extend(fetch.map(Todo::ReadOn));
        self.set_wake(who);
        self.pump(who);
    }

    pub(crate) fn set_wake(&mut self, who: Who) {
        let node = &mut self.nodes[who];
        node.wake += 1;
        if let Some(deadline) = node.engine.as_ref().and_then(Engine::deadline) {
            let wait = node.clock.until(self.now, deadline);
            let (generation, jitter) = (node.wake, self.rng.below(3));
            self.after(wait + jitter, Happening::Wake { who, generation });
        }
    }

    /// The deadline of a node's engine has come.
    pub(crate) fn on_wake(&mut self, who: Who, generation: u64) {
        let node = &mut self.nodes[who];
        if !node.is_up || node.wake != generation {
            return;
        }
        node.spin = if node.spin.0 == self.now { (self.now, node.spin.1 + 1) } else { (self.now, 0) };
        if node.spin.1 > MAX_SPIN {
            return self.violated("bounds_hold", format!("{} ticks without end", self.nodes[who].name));
        }
        self.handle(who, Input::Tick, Tokens::new());
    }

    /// Executes what can be executed: up to the next write, which has to be synced first.
    fn pump(&mut self, who: Who) {
        while !self.nodes[who].is_syncing && self.nodes[who].is_up {
            match self.nodes[who].todo.front() {
                None => return,
                Some(Todo::Own(_) | Todo::Write(_)) => self.begin_sync(who),
                Some(Todo::Out(_) | Todo::ReadOn(_)) => {
                    if let Some(todo) = self.nodes[who].todo.pop_front() {
                        self.execute(who, todo);
                    }
                }
            }
        }
    }

    /// A sync has ended.
    pub(crate) fn on_synced(&mut self, who: Who, incarnation: u64) {
        if self.nodes[who].incarnation != incarnation || !self.nodes[who].is_up {
            return;
        }
        if self.nodes[who].is_disk_full {
            return self.disk_fails(who);
        }
        let synced = self.nodes[who].disk.sync();
        self.became_durable(who, synced);
        self.nodes[who].is_syncing = false;
        while self.nodes[who].is_up
            && let Some(todo) = self.nodes[who].behind_sync.pop_front()
        {
            self.execute(who, todo);
        }
        self.pump(who);
    }

    pub(crate) fn became_durable(&mut self, who: Who, records: Result<Vec<Record>, String>) {
        match records {
            Err(wrong) => self.violated("causal_order", format!("{}: {wrong}", self.nodes[who].name)),
            Ok(records) => {
                for record in records {
                    let state = match &record {
                        Record::State(bytes) => Some(Durable::decode(bytes).expect("the engine reads what it wrote")),
                        _ => None,
                    };
                    let line = || format!("disk {}", describe::record(&record, state.as_ref()));
                    self.trace.add(self.now, self.nodes[who].name, line);
                    self.oracle.check_record(&self.nodes[who], &record, state.as_ref());
                    describe::notable_record(&record).into_iter().for_each(|what| self.tally.count(what));
                    self.took_step_on_disk(who, &record, state);
                }
            }
        }
    }

    fn execute(&mut self, who: Who, todo: Todo) {
        if let Some((left, down_ms)) = self.nodes[who].crash_after {
            if left == 0 {
                return self.crash_for(who, down_ms, false);
            }
            self.nodes[who].crash_after = Some((left - 1, down_ms));
        }
        let output = match todo {
            Todo::ReadOn(flight) => return self.read_on(flight),
            Todo::Out(output) => output,
            Todo::Own(_) | Todo::Write(_) => return,
        };
        self.trace.add(self.now, self.nodes[who].name, || describe::output(&output));
        let wish = self.wish_behind(&output);
        self.oracle.check_output(&self.nodes, who, &output, wish);
        self.notice(&output);
        let step = self.step_of(who, &output);
        match *output {
            Output::Write(_) => {}
            Output::Reply(request, reply) => {
                let answer = edge::answer(self.nodes[who].disk.image(), self.is_ping(who, request), reply);
                self.reply(who, request, answer);
            }
            Output::Call { id, peer, address, call, timeout_ms } => {
                self.call_peer(who, id, (peer, address), call, timeout_ms);
            }
            Output::Discover { id, service, call, timeout_ms } => {
                self.call_discovery(who, Waiting::Engine(id), service, call, timeout_ms);
            }
            Output::Done(command, result) => self.on_done(who, command, result),
            Output::Event(event) => self.on_event(who, &event),
        }
        self.took_step(who, step);
    }
}
