//! The engine itself: its parts, the dispatch of inputs, and what every part needs to act.

use std::collections::{BTreeMap, VecDeque};

use p2p_chat_model::{Address, Epoch, NodeId, PeerId, RosterOp, Seq, VectorClock, View};

use crate::{
    admission::PendingJoin,
    catchup::CatchUp,
    delivery::Delivery,
    durable::{Durable, Phase},
    election::Election,
    feeds::Feeds,
    founding::Founding,
    io::{
        CallError, CallId, Command, CommandError, CommandId, Done, Event, Input, LeaderHint, Moment, Output, PeerCall,
        Refusal, Request, RequestId, Response, Write,
    },
    joining::Joining,
    leaving::Leaving,
    liveness::Liveness,
    registration::{Asked, Registrar},
    reign::Told,
    relay::RelayJob,
    roster::Roster,
    start::{FeedLog, Setup, Start},
    timers::{Timer, Timers},
    voting::Voting,
};

/// What a call in flight is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    Push(PeerId),
    RelayAsk { peer: PeerId, via: PeerId },
    RelayPush(RequestId),
    Compare(PeerId),
    LeaveCheck(PeerId, u64),
    Suspect(PeerId),
    Indirect { target: PeerId, via: PeerId },
    PingFor(RequestId),
    VoterCheck(PeerId),
    CallBack(RequestId),
    Join(LeaderHint),
    Leave,
    Handover(PeerId),
    Tell(PeerId),
    Announce(PeerId),
    Elect(PeerId, Epoch),
    Fetch(PeerId),
    Discovery(usize, Asked),
}

/// One network, as seen by one node. See the crate's documentation.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(crate) setup: Setup,
    pub(crate) me: PeerId,
    pub(crate) moment: Moment,
    draws: u64,
    pub(crate) state: Durable,
    pub(crate) roster: Roster,
    pub(crate) feeds: Feeds,
    pub(crate) timers: Timers,
    pub(crate) delivery: Delivery,
    pub(crate) relays: BTreeMap<RequestId, RelayJob>,
    pub(crate) catchup: CatchUp,
    pub(crate) liveness: Liveness,
    pub(crate) election: Election,
    pub(crate) voting: Voting,
    pub(crate) registrars: Vec<Registrar>,
    pub(crate) pending_joins: BTreeMap<RequestId, PendingJoin>,
    pub(crate) joining: Option<Joining>,
    pub(crate) leaving: Option<Leaving>,
    /// How often it was tried to leave.
    pub(crate) leave_attempts: u64,
    pub(crate) founding: Option<Founding>,
    pub(crate) waiting_texts: VecDeque<CommandId>,
    /// The clock of the own entry before, as far as this run of the program knows.
    pub(crate) last_clock: VectorClock,
    calls: BTreeMap<CallId, Purpose>,
    next_call: u64,
    outputs: VecDeque<Output>,
}

impl Engine {
    /// An engine that has just started. Its first outputs are waiting.
    pub fn new(setup: Setup, start: Start, moment: Moment) -> Self {
        let me = setup.identity.peer();
        let services = setup.services;
        let mut engine = Self {
            me,
            moment,
            draws: 0,
            state: Durable::new(Phase::Joining, 0),
            roster: Roster::default(),
            feeds: Feeds::default(),
            timers: Timers::default(),
            delivery: Delivery::default(),
            relays: BTreeMap::new(),
            catchup: CatchUp::default(),
            liveness: Liveness::default(),
            election: Election::default(),
            voting: Voting::default(),
            registrars: vec![Registrar::default(); services],
            pending_joins: BTreeMap::new(),
            joining: None,
            leaving: None,
            leave_attempts: 0,
            founding: None,
            waiting_texts: VecDeque::new(),
            last_clock: VectorClock::new(),
            calls: BTreeMap::new(),
            next_call: 0,
            outputs: VecDeque::new(),
            setup,
        };
        match start {
            Start::Found { command, genesis } => engine.found(command, genesis),
            Start::Join { command, leader, contacts, before, log } => {
                engine.restore_log(log);
                engine.start_join(command, leader, contacts, before);
            }
            Start::Resume { durable, log } => {
                engine.restore_log(log);
                engine.resume(durable);
            }
        }
        engine.settle();
        engine
    }

    /// Takes one input in. Drain [`Engine::poll`] afterwards.
    pub fn handle(&mut self, moment: Moment, input: Input) {
        let stalled = self.timers.next().is_some_and(|due| moment.now > due + self.setup.config.stall_ms);
        self.moment = moment;
        self.draws = 0;
        if self.state.phase == Phase::Left {
            self.decline(input);
            return;
        }
        if stalled {
            self.on_stall();
        }
        match input {
            Input::Command(id, command) => self.on_command(id, command),
            Input::Request(id, from, request) => self.on_request(id, from, request),
            Input::Response(id, result) => {
                if let Some(purpose) = self.calls.remove(&id) {
                    self.on_response(purpose, result);
                }
            }
            Input::Fetched(id, runs) => {
                if let Some(Purpose::Fetch(source)) = self.calls.get(&id).cloned() {
                    self.on_fetched(source, &runs);
                }
            }
            Input::Tick => {}
        }
        while let Some(timer) = self.timers.take_due(moment.now) {
            self.on_timer(timer);
        }
        self.settle();
    }

    /// The next thing to do. Nothing until the next [`Engine::handle`] once it is `None`.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Engine::handle`] with [`Input::Tick`] at the latest, in the time of [`Moment::now`].
    pub fn deadline(&self) -> Option<u64> {
        self.timers.next()
    }

    fn on_command(&mut self, id: CommandId, command: Command) {
        match command {
            Command::Send => self.on_send(id),
            Command::Leave { wait_ms, force } => self.on_leave_command(id, wait_ms, force),
        }
    }

    fn on_request(&mut self, id: RequestId, from: PeerId, request: Request) {
        if let Request::Join { request, name, address } = request {
            self.on_join(id, from, request, name, address);
            return;
        }
        if !self.admits(&from) {
            self.reply(id, Err(Refusal::NotMember));
            return;
        }
        self.heard(from);
        match request {
            Request::Join { .. } => {}
            Request::Leave => self.on_leave(id, from),
            Request::UpdateView(view, vote) => self.on_update_view(id, from, view, vote),
            Request::Elect(epoch, candidate) => self.on_elect(id, from, epoch, candidate),
            Request::Coordinate(view, certificate) => self.on_coordinate(id, from, view, certificate),
            Request::Ping(standing) => self.on_ping(id, from, standing),
            Request::PingVia(target) => self.on_ping_via(id, target),
            Request::Deliver(runs) => self.on_deliver(id, from, &runs),
            Request::Relay(target) => self.on_relay(id, from, target),
            Request::Fetch(have, not_of) => self.on_fetch(id, from, have, &not_of),
        }
    }

    fn on_response(&mut self, purpose: Purpose, result: Result<Response, CallError>) {
        match purpose {
            Purpose::Push(peer) => self.on_pushed(peer, result),
            Purpose::RelayAsk { peer, via } => self.on_relay_answer(peer, via, result),
            Purpose::RelayPush(job) => self.on_relay_pushed(job, result),
            Purpose::Compare(peer) => self.on_compared(peer, result),
            Purpose::LeaveCheck(peer, attempt) => {
                self.on_leave_checked(peer, attempt, &result);
                self.on_compared(peer, result);
            }
            Purpose::Suspect(peer) => self.on_suspect_pinged(peer, result),
            Purpose::Indirect { target, via } => self.on_indirect(target, via, result),
            Purpose::PingFor(request) => self.on_pinged_for(request, result),
            Purpose::VoterCheck(leader) => self.on_voter_checked(leader, result),
            Purpose::CallBack(join) => self.on_called_back(join, result),
            Purpose::Join(hint) => self.on_join_answer(hint, result),
            Purpose::Leave => self.on_leave_answer(result),
            Purpose::Handover(to) => self.on_handed_over(to, result),
            Purpose::Tell(peer) => self.on_told(peer, Told::View, result),
            Purpose::Announce(peer) => self.on_told(peer, Told::Reign, result),
            Purpose::Elect(peer, epoch) => self.on_elect_answer(peer, epoch, result),
            Purpose::Fetch(source) => self.on_fetch_done(source, result),
            Purpose::Discovery(service, asked) => self.on_discovery(service, asked, result),
        }
    }

    fn on_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Silence => self.on_silence(),
            Timer::Members => self.on_members(),
            Timer::ProbeAway => self.on_probe_away(),
            Timer::AntiEntropy => self.on_anti_entropy(),
            Timer::CatchUp => self.on_catch_up(),
            Timer::FetchTurn => self.on_fetch_turn(),
            Timer::Push(peer) => self.on_push(peer),
            Timer::Election => self.on_election_timer(),
            Timer::Lease => self.on_lease(),
            Timer::Seek => self.on_seek(),
            Timer::JoinDeadline => self.on_join_deadline(),
            Timer::Admission => self.on_admission_timer(),
            Timer::Leave => self.on_leave_timer(),
            // Texts that have waited are written by `settle`.
            Timer::OwnWord => {}
        }
    }

    /// What follows from any step: deliveries, pushes, joins that can be answered, texts that can be written.
    fn settle(&mut self) {
        self.deliver_ready();
        self.advance_leave();
        self.write_waiting_texts();
        self.answer_joins();
        self.pump();
    }

    /// What a node says that has left.
    fn decline(&mut self, input: Input) {
        match input {
            Input::Command(id, _) => self.done(id, Err(CommandError::Left)),
            Input::Request(id, ..) => self.reply(id, Err(Refusal::NotHere)),
            Input::Response(..) | Input::Fetched(..) | Input::Tick => {}
        }
    }

    /// The membership has ended: everything stops but the answer to who asks.
    pub(crate) fn stop(&mut self) {
        self.state.phase = Phase::Left;
        self.state.view = None;
        self.persist();
        self.timers.clear_all();
        self.calls.clear();
        let waiting = [
            std::mem::take(&mut self.pending_joins).into_keys().collect::<Vec<_>>(),
            std::mem::take(&mut self.relays).into_keys().collect(),
            self.liveness.take_requests(),
            self.voting.take_requests(),
        ];
        for request in waiting.into_iter().flatten() {
            self.reply(request, Err(Refusal::NotHere));
        }
        while let Some(id) = self.waiting_texts.pop_front() {
            self.done(id, Err(CommandError::Left));
        }
        self.event(Event::Stopped);
    }

    pub(crate) fn restore_log(&mut self, log: Vec<FeedLog>) {
        for feed in log {
            for (seq, entry) in &feed.roster {
                if let Some(op) = &entry.op {
                    self.roster.announce(feed.author, op);
                    self.roster.apply((entry.lamport, feed.author, *seq), op);
                }
            }
            for op in feed.held.iter().filter_map(|entry| entry.op.as_ref()) {
                self.roster.announce(feed.author, op);
            }
            self.feeds.restore(feed.author, feed.last, feed.head, feed.lamport, feed.held);
        }
    }

    /// Delivers all that can be, in causal order.
    pub(crate) fn deliver_ready(&mut self) {
        while let Some((author, seq, entry, late)) = self.feeds.next_deliverable() {
            let (op, lamport) = (entry.op.clone(), entry.lamport);
            self.write(Write::Deliver { author, seq, entry, late });
            self.event(Event::Delivered { author, seq });
            if let Some(op) = op {
                self.on_roster_change((lamport, author, seq), &op);
            }
        }
    }

    /// Writes the next own entry.
    pub(crate) fn append(&mut self, text: Option<CommandId>, op: Option<RosterOp>) -> (Seq, u64) {
        let lamport = self.feeds.lamport() + 1;
        let mut clock = self.feeds.delivered().clone();
        clock.set(self.me, 0);
        let seq = self.feeds.append_own(self.me, lamport);
        let delta = clock.since(&self.last_clock);
        self.last_clock = clock;
        let wall_ms = self.moment.wall_ms;
        self.write(Write::Own { text, op: op.clone(), seq, lamport, wall_ms, clock: delta });
        self.event(Event::Delivered { author: self.me, seq });
        if let Some(op) = op {
            self.on_roster_change((lamport, self.me, seq), &op);
        }
        self.delivery.pump_all = true;
        (seq, lamport)
    }

    /// Whether an own entry may be written: the own feed is whole, as far as others can tell, too.
    pub(crate) fn may_write(&self) -> bool {
        self.is_whole() && !self.timers.is_set(Timer::OwnWord)
    }

    /// Whether the own feed is whole as far as is known, and the own admission delivered.
    pub(crate) fn is_whole(&self) -> bool {
        let written = self.feeds.stored().at(&self.me);
        let whole = written >= self.state.own_floor
            && self.feeds.delivered().at(&self.me) == written
            && !self.catchup.is_claimed(written, self.moment.now, self.setup.config.own_claim_ms);
        self.state.phase == Phase::Joined && whole && self.has_arrived()
    }

    fn on_send(&mut self, id: CommandId) {
        match self.state.phase {
            Phase::Left | Phase::Leaving => self.done(id, Err(CommandError::Left)),
            _ if self.waiting_texts.len() >= self.setup.config.max_waiting_texts => {
                self.done(id, Err(CommandError::Busy));
            }
            _ => self.waiting_texts.push_back(id),
        }
    }

    fn write_waiting_texts(&mut self) {
        // While this node is on its way out, it is not yet clear whether anybody would get them.
        if self.waiting_texts.is_empty() || !self.may_write() || self.leaving.is_some() {
            return;
        }
        for id in std::mem::take(&mut self.waiting_texts) {
            let (seq, lamport) = self.append(Some(id), None);
            self.done(id, Ok(Done::Sent { seq, lamport }));
        }
    }
}

/// What every part needs.
impl Engine {
    pub(crate) fn write(&mut self, write: Write) {
        self.outputs.push_back(Output::Write(write));
    }

    pub(crate) fn persist(&mut self) {
        self.write(Write::State(Box::new(self.state.clone())));
    }

    pub(crate) fn reply(&mut self, id: RequestId, result: Result<Response, Refusal>) {
        self.outputs.push_back(Output::Reply(id, result));
    }

    pub(crate) fn done(&mut self, id: CommandId, result: Result<Done, CommandError>) {
        self.outputs.push_back(Output::Done(id, result));
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    pub(crate) fn call(&mut self, purpose: Purpose, peer: PeerId, address: Address, call: PeerCall, timeout_ms: u64) {
        let id = self.expect(purpose);
        self.outputs.push_back(Output::Call { id, peer, address, call, timeout_ms });
    }

    /// Calls a peer where it was last known to listen. Returns whether that is known.
    pub(crate) fn call_peer(&mut self, purpose: Purpose, peer: PeerId, call: PeerCall, timeout_ms: u64) -> bool {
        let Some(address) = self.address_of(&peer) else { return false };
        self.call(purpose, peer, address, call, timeout_ms);
        true
    }

    pub(crate) fn discover(&mut self, service: usize, asked: Asked, call: crate::io::DiscoveryCall) {
        let id = self.expect(Purpose::Discovery(service, asked));
        let timeout_ms = self.setup.config.discovery_timeout_ms;
        self.outputs.push_back(Output::Discover { id, service, call, timeout_ms });
    }

    fn expect(&mut self, purpose: Purpose) -> CallId {
        self.next_call += 1;
        let id = CallId(self.next_call);
        self.calls.insert(id, purpose);
        id
    }

    /// What calls for this purpose still bring is not wanted any more.
    pub(crate) fn forget_calls(&mut self, purpose: &Purpose) {
        self.calls.retain(|_, asked| asked != purpose);
    }

    /// Whether a call for this purpose is in flight.
    pub(crate) fn is_asking(&self, purpose: &Purpose) -> bool {
        self.calls.values().any(|asked| asked == purpose)
    }

    /// Whether what a call brings is still wanted.
    pub fn expects(&self, id: CallId) -> bool {
        self.calls.contains_key(&id)
    }

    /// What a call in flight is for.
    pub(crate) fn purpose(&self, id: CallId) -> Option<&Purpose> {
        self.calls.get(&id)
    }

    /// A number below `bound` (which is at least 1), drawn from the moment's chance.
    pub(crate) fn draw(&mut self, bound: u64) -> u64 {
        self.draws += 1;
        // SplitMix64 (Steele, Lea and Flood 2014).
        let mut z = self.moment.random.wrapping_add(self.draws.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }

    /// Sets a timer `after_ms` from now.
    pub(crate) fn set_timer(&mut self, timer: Timer, after_ms: u64) {
        self.timers.set(timer, self.moment.now + after_ms);
    }

    pub(crate) fn address_of(&self, peer: &PeerId) -> Option<Address> {
        let viewed = self.state.view.as_ref().and_then(|view| view.member(peer));
        viewed.map(|member| &member.address).or_else(|| self.state.addresses.get(peer)).cloned()
    }

    pub(crate) fn view(&self) -> Option<&View> {
        self.state.view.as_ref()
    }

    /// The leader that is followed; this node itself if it leads.
    pub(crate) fn leader(&self) -> Option<PeerId> {
        self.view().and_then(View::leader).map(|leader| leader.peer)
    }

    pub(crate) fn is_leading(&self) -> bool {
        self.state.phase != Phase::Founding && self.leader() == Some(self.me)
    }

    /// This node's id in the view.
    pub(crate) fn node(&self) -> Option<NodeId> {
        self.view().and_then(|view| view.member(&self.me)).map(|member| member.node)
    }

    /// The active members besides this node.
    pub(crate) fn others(&self) -> Vec<PeerId> {
        let active = self.view().map_or(&[][..], |view| &view.active);
        active.iter().map(|member| member.peer).filter(|peer| *peer != self.me).collect()
    }

    pub(crate) fn is_active(&self, peer: &PeerId) -> bool {
        self.view().is_some_and(|view| view.member(peer).is_some())
    }

    /// Whether requests of `peer` are listened to: it is a member, or the leader says that it is active.
    pub(crate) fn admits(&self, peer: &PeerId) -> bool {
        self.roster.is_member(peer) || self.is_active(peer)
    }

    /// Who leads, to be told to others.
    pub(crate) fn hint(&self) -> Option<LeaderHint> {
        let view = self.view()?;
        let leader = view.leader()?;
        Some(LeaderHint { epoch: view.epoch, peer: leader.peer, address: leader.address.clone() })
    }
}
