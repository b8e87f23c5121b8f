//! What can happen next, and what becomes of the world then.

use std::sync::Arc;

use crate::{
    bounds::{ANY, Bounds, Cut},
    cast::{NAMES, NDS, Who},
    fingerprint::WALL_CLOCK,
    properties::Violation,
    words,
    world::{Call, Stage, World},
};
use p2p_chat_engine::{
    CallError, CallId, Durable, Engine, Input, Moment, Output, PeerCall, Refusal, Request, RequestId, Response, Start,
    Write,
};

/// Something that can happen. Calls are told by their places in the world before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// The call's message arrives.
    Arrive(u8),
    /// The service asks a node.
    Probe(u8, u8),
    /// Time passes until the next timer of a node's engine.
    Tick(u8),
    /// Time passes until the caller of a call waits no longer.
    TimeOut(u8),
    /// Time passes until the service waits no longer for those it has called back.
    ProbesTimeOut(u8),
    Crash(u8),
    Restart(u8),
    Cut(Cut),
    Heal,
}

/// Something that happens: if at all, the node that acts crashes when it has carried out so many outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) action: Action,
    pub(crate) crash_after: Option<u8>,
}

/// What time it would be, and what happens then.
type Due = (u64, Action);

impl World {
    /// All that can happen, within the bounds.
    pub(crate) fn actions(&self, bounds: &Bounds, end: u64) -> Vec<Action> {
        let mut actions = self.arrivals();
        if self.left.overtakes == 0 {
            actions.retain(|action| !self.overtakes(*action));
        }
        self.add_ticks(bounds, end, &mut actions);
        let may_change = self.is_quiet();
        for (who, node) in self.nodes.iter().enumerate() {
            match node.engine {
                Some(_) if self.left.crashes > 0 => actions.push(Action::Crash(who as u8)),
                None if may_change => actions.push(Action::Restart(who as u8)),
                _ => {}
            }
        }
        match self.cut {
            Some(_) if may_change => actions.push(Action::Heal),
            None if may_change && self.left.cuts > 0 => actions.extend(bounds.cuts.iter().copied().map(Action::Cut)),
            _ => {}
        }
        actions
    }

    /// Whether something arrives that was sent after something else that is under way.
    fn overtakes(&self, action: Action) -> bool {
        match action {
            Action::Arrive(index) => !self.is_in_turn(index.into()),
            Action::Probe(index, which) => which > 0 || !self.is_in_turn(index.into()),
            _ => false,
        }
    }

    /// The messages that can arrive now.
    pub(crate) fn arrivals(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        for (index, call) in (0..).zip(&self.calls).filter(|(_, call)| self.is_moving(call)) {
            match &call.stage {
                Stage::Probing { open, .. } => {
                    let reached = |which: &u8| !self.is_cut(NDS, self.cast().who(&open[usize::from(*which)].peer));
                    actions.extend((0..open.len() as u8).filter(reached).map(|which| Action::Probe(index, which)));
                }
                _ => actions.push(Action::Arrive(index)),
            }
        }
        actions
    }

    /// What comes with time.
    pub(crate) fn dues(&self) -> Vec<Due> {
        let mut dues = Vec::new();
        for (who, node) in (0..).zip(&self.nodes) {
            let deadline = node.engine.as_ref().and_then(Engine::deadline);
            dues.extend(deadline.map(|due| (due, Action::Tick(who))));
        }
        for (index, call) in (0..).zip(&self.calls) {
            if call.is_awaited {
                dues.push((call.deadline, Action::TimeOut(index)));
            }
            if let Stage::Probing { until, .. } = call.stage {
                dues.push((until, Action::ProbesTimeOut(index)));
            }
        }
        dues
    }

    fn add_ticks(&self, bounds: &Bounds, end: u64, actions: &mut Vec<Action>) {
        let moving = self.calls.iter().filter(|call| !call.is_late && self.is_moving(call)).count();
        let dues = self.dues();
        let Some(first) = dues.iter().map(|(due, _)| *due).min() else { return };
        if moving <= usize::from(self.left.late) {
            let last = end.min(first + bounds.drift_ms);
            actions.extend(dues.into_iter().filter(|(due, _)| *due <= last).map(|(_, action)| action));
        }
    }

    /// The world after something has happened, and after which outputs of the acting node a crash would make a
    /// difference.
    pub(crate) fn after(&self, step: Step) -> (Self, Vec<u8>) {
        let mut world = self.clone();
        world.sights = Default::default();
        let points = world.act(step);
        (world, points)
    }

    fn act(&mut self, step: Step) -> Vec<u8> {
        self.tell(String::new);
        let line = words::step(self, step);
        self.tell(|| line);
        if self.left.overtakes != ANY && self.overtakes(step.action) {
            self.left.overtakes = self.left.overtakes.saturating_sub(1);
        }
        match step.action {
            Action::Arrive(index) => return self.arrive(index.into(), step.crash_after),
            Action::Probe(index, which) => self.probe(index.into(), which.into()),
            Action::Tick(who) => {
                let who = usize::from(who);
                let due = self.nodes[who].engine.as_ref().and_then(Engine::deadline);
                self.pass(due.unwrap_or(self.now));
                return self.handle(who, Input::Tick, step.crash_after);
            }
            Action::TimeOut(index) => return self.time_out(index.into(), step.crash_after),
            Action::ProbesTimeOut(index) => {
                if let Stage::Probing { until, .. } = self.calls[usize::from(index)].stage {
                    self.pass(until);
                }
                self.probes_time_out(index.into());
            }
            Action::Crash(who) => self.crash(who.into()),
            Action::Restart(who) => self.start(who.into()),
            Action::Cut(cut) => {
                self.left.cuts -= 1;
                self.cut = Some(cut);
            }
            Action::Heal => self.cut = None,
        }
        Vec::new()
    }

    /// Time passes: whatever has not arrived is late.
    fn pass(&mut self, until: u64) {
        self.now = until.max(self.now);
        for index in 0..self.calls.len() {
            if !self.calls[index].is_late && self.is_moving(&self.calls[index]) {
                self.calls[index].is_late = true;
                self.left.late = self.left.late.saturating_sub(1);
            }
        }
    }

    fn arrive(&mut self, index: usize, crash_after: Option<u8>) -> Vec<u8> {
        let (from, to) = (self.calls[index].from, self.calls[index].to);
        match self.calls[index].stage.clone() {
            // Nobody listens, and that is known at once.
            Stage::Asked(_) if self.nodes[to].engine.is_none() => {
                return self.land(index, Err(refused()), crash_after);
            }
            Stage::Asked(request) => {
                let request_id = RequestId(self.next_request);
                self.next_request += 1;
                self.calls[index].set(Stage::Handled(request_id));
                let peer = self.cast().peers[from];
                return self.handle(to, Input::Request(request_id, peer, (*request).clone()), crash_after);
            }
            Stage::AskedService(call) => self.decide(index, &call, Default::default()),
            Stage::Answered(result) => return self.land(index, (*result).clone(), crash_after),
            Stage::Handled(_) | Stage::Probing { .. } => {}
        }
        Vec::new()
    }

    /// A call ends at its caller, if that waits for it.
    fn land(&mut self, index: usize, result: Result<Response, CallError>, crash_after: Option<u8>) -> Vec<u8> {
        let call = self.calls.remove(index);
        if !call.is_awaited {
            return Vec::new();
        }
        self.handle(call.from, Input::Response(call.id, result), crash_after)
    }

    /// An answer goes back, if anybody waits for it.
    pub(crate) fn answer(&mut self, index: usize, result: Result<Response, CallError>) {
        let mut call = self.calls.remove(index);
        if call.is_awaited {
            call.set(Stage::Answered(Arc::new(result)));
            self.calls.push(call);
        }
    }

    fn time_out(&mut self, index: usize, crash_after: Option<u8>) -> Vec<u8> {
        self.pass(self.calls[index].deadline);
        let call = &mut self.calls[index];
        let (from, id) = (call.from, call.id);
        call.is_awaited = false;
        // A request that is late may still arrive; one that nothing can bring is gone.
        let goes_on = matches!(call.stage, Stage::Handled(_) | Stage::Probing { .. }) || call.is_late;
        if matches!(call.stage, Stage::Answered(_)) || !goes_on {
            self.calls.remove(index);
        }
        let error = CallError::Unreachable("no answer in time".to_owned());
        self.handle(from, Input::Response(id, Err(error)), crash_after)
    }

    fn moment(&self, who: Who) -> Moment {
        let wall_ms = WALL_CLOCK + self.nodes[who].life * 1_000_000;
        Moment { now: self.now, wall_ms, random: who as u64 + 1 }
    }

    /// Hands an input to an engine and carries its outputs out. Says after which a crash would make a difference.
    fn handle(&mut self, who: Who, input: Input, crash_after: Option<u8>) -> Vec<u8> {
        let moment = self.moment(who);
        let Some(engine) = &mut Arc::make_mut(&mut self.nodes[who]).engine else { return Vec::new() };
        engine.handle(moment, input);
        let outputs: Vec<Output> = std::iter::from_fn(|| engine.poll()).collect();
        let points = crash_points(&outputs);
        let count = crash_after.map_or(outputs.len(), usize::from);
        for output in outputs.into_iter().take(count) {
            self.carry_out(who, output);
        }
        if crash_after.is_some() {
            self.crash(who);
        }
        points
    }

    /// The process starts with what its disk holds.
    pub(crate) fn start(&mut self, who: Who) {
        let cast = self.cast();
        let node = Arc::make_mut(&mut self.nodes[who]);
        node.life += 1;
        let start = Start::Resume { durable: node.disk.clone(), log: cast.log.clone() };
        let moment = self.moment(who);
        let mut engine = Engine::new(cast.setup(who), start, moment);
        let outputs: Vec<Output> = std::iter::from_fn(|| engine.poll()).collect();
        Arc::make_mut(&mut self.nodes[who]).engine = Some(engine);
        for output in outputs {
            self.carry_out(who, output);
        }
    }

    /// The process is gone.
    pub(crate) fn crash(&mut self, who: Who) {
        self.left.crashes = self.left.crashes.saturating_sub(1);
        Arc::make_mut(&mut self.nodes[who]).engine = None;
        for call in self.calls.iter_mut().filter(|call| call.from == who) {
            call.is_awaited = false;
        }
        self.calls.retain(|call| call.is_awaited || !matches!(call.stage, Stage::Answered(_)));
        for index in (0..self.calls.len()).rev() {
            if self.calls[index].to == who && matches!(self.calls[index].stage, Stage::Handled(_)) {
                self.answer(index, Err(refused()));
            }
        }
    }

    fn carry_out(&mut self, who: Who, output: Output) {
        let me = self.cast().peers[who];
        match self.history.with(me, &self.nodes[who].disk, &output) {
            Ok(Some(history)) => self.history = Arc::new(history),
            Ok(None) => {}
            Err(violation) => {
                self.violation.get_or_insert(violation);
            }
        }
        self.sights.see_output(&output);
        self.tell(|| format!("    {}", words::output(who, &output)));
        match output {
            Output::Write(Write::State(state)) => self.write(who, *state),
            Output::Write(Write::Ack { .. }) | Output::Done(..) | Output::Event(_) => {}
            Output::Write(write) => self.outside_the_model(&write),
            Output::Reply(request, reply) => self.reply(request, reply),
            Output::Call { id, peer, call, timeout_ms, .. } => {
                let to = self.cast().who(&peer);
                match self.request(who, call) {
                    Some(request) => {
                        let stage = Stage::Asked(Arc::new(request));
                        self.calls.push(Call::new(id, who, to, self.now + timeout_ms, stage));
                    }
                    None => self.outside_the_model(&"entries are handed over"),
                }
            }
            Output::Discover { id, call, timeout_ms, .. } => self.discover(who, id, call, timeout_ms),
        }
    }

    fn write(&mut self, who: Who, state: Durable) {
        Arc::make_mut(&mut self.nodes[who]).disk = state;
    }

    fn discover(&mut self, who: Who, id: CallId, call: p2p_chat_engine::DiscoveryCall, timeout_ms: u64) {
        let stage = Stage::AskedService(Arc::new(call));
        self.calls.push(Call::new(id, who, NDS, self.now + timeout_ms, stage));
    }

    fn request(&self, who: Who, call: PeerCall) -> Option<Request> {
        let setup = self.cast().setup(who);
        Some(match call {
            PeerCall::Join { request } => Request::Join { request, name: setup.name, address: setup.address },
            PeerCall::Leave => Request::Leave,
            PeerCall::UpdateView(view, vote) => Request::UpdateView(view, vote),
            PeerCall::Elect(epoch, id) => Request::Elect(epoch, id),
            PeerCall::Coordinate(view, certificate) => Request::Coordinate(view, certificate),
            PeerCall::Ping(standing) => Request::Ping(standing),
            PeerCall::PingVia(peer) => Request::PingVia(peer),
            PeerCall::Relay(_) | PeerCall::Fetch(..) | PeerCall::Deliver { .. } => return None,
        })
    }

    fn reply(&mut self, request: RequestId, reply: Result<Response, Refusal>) {
        let is_it = |call: &Call| matches!(call.stage, Stage::Handled(handled) if handled == request);
        match self.calls.iter().position(is_it) {
            Some(index) => self.answer(index, reply.map_err(call_error)),
            None => self.outside_the_model(&"a request is answered twice"),
        }
    }

    fn outside_the_model(&mut self, what: &impl std::fmt::Debug) {
        self.violation.get_or_insert(Violation { property: "bug: outside of the model", what: format!("{what:?}") });
    }

    /// What has happened since the beginning, by names.
    pub(crate) fn with_story(mut self) -> Self {
        self.story = Some(vec![format!("{} start, everything is in order", NAMES[..self.nodes.len()].join(", "))]);
        self
    }
}

/// After how many outputs a crash leaves something else behind than before or after all of them.
fn crash_points(outputs: &[Output]) -> Vec<u8> {
    let matters = |output: &Output| !matches!(output, Output::Done(..) | Output::Event(_));
    let Some(last) = outputs.iter().rposition(matters) else { return Vec::new() };
    (1..=last).filter(|count| matters(&outputs[count - 1])).map(|count| count as u8).collect()
}

fn refused() -> CallError {
    CallError::Unreachable("connection refused".to_owned())
}

fn call_error(refusal: Refusal) -> CallError {
    let text = refusal.to_string();
    match refusal {
        Refusal::NotMember => CallError::NotMember(text),
        Refusal::NotHere => CallError::NotHere(text),
        Refusal::Unreachable(_) => CallError::Unmet(text),
        Refusal::Busy(_) => CallError::Busy(text),
        Refusal::Full => CallError::Full(text),
        Refusal::Invalid(_) => CallError::Failed(text),
    }
}
