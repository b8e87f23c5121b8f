//! Calls between parties: every one ends exactly once at its caller, whatever happens to its legs.

use std::rc::Rc;

use p2p_chat_engine::{CallError, CallId, CommandId, DiscoveryCall, Input, PeerCall, Request, RequestId, Response};
use p2p_chat_model::{Address, PeerId, Run};

use crate::{
    describe, discovery,
    edge::{self, Answer, Ask, Tokens},
    life,
    net::{Leg, Service, Who, nds},
    world::{Happening, World},
};

/// Names a call over the whole run.
pub(crate) type FlightId = u64;

/// Who waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// The caller's engine.
    Engine(CallId),
    /// The caller's driver, which looks a network up before it has an engine: at the service that it asks in this place.
    Joiner(CommandId, usize),
    /// A bad member's call: nobody.
    Nobody,
}

/// What is carried.
#[derive(Debug, Clone)]
pub(crate) enum Cargo {
    Peer(Ask),
    Discovery(Service, DiscoveryCall),
}

/// A call under way.
#[derive(Debug, Clone)]
pub(crate) struct Flight {
    pub(crate) caller: Who,
    /// Which life of the caller waits.
    pub(crate) incarnation: u64,
    pub(crate) waiting: Waiting,
    pub(crate) to: Who,
    pub(crate) cargo: Cargo,
    pub(crate) timeout_ms: u64,
    /// When it has taken too long, by the caller's clock.
    deadline: u64,
    /// Counts the timeouts set: only the newest one is good.
    generation: u64,
    /// The chunks of a fetch that are still to come, and which life of the server sends them.
    stream: Option<(Vec<Vec<Rc<Run>>>, u64)>,
    /// Whether that fetch is served so slowly that it never ends.
    pub(crate) is_endless: bool,
    arrived: bool,
}

impl World {
    /// Executes a call of an engine.
    pub(crate) fn call_peer(&mut self, who: Who, id: CallId, to: (PeerId, Address), call: PeerCall, timeout_ms: u64) {
        let (peer, address) = to;
        let ask = edge::ask(&self.nodes[who], call, &mut self.rng);
        if matches!(&ask, Ask::Deliver(runs) if runs.is_empty()) {
            self.violated("acked_is_durable", format!("{} hands over entries it has not", self.nodes[who].name));
        }
        let target = self.nodes.iter().find(|node| node.address == address && node.peer == peer).map(|node| node.who);
        let to = target.unwrap_or(who);
        let ask = self.tamper_ask(who, to, ask);
        self.net.traffic.ask(&ask);
        let flight = self.take_off(who, Waiting::Engine(id), to, Cargo::Peer(ask), timeout_ms);
        match target {
            Some(to) => self.send_request(flight, who, to),
            // Nobody listens there any more: something says so, or nothing does.
            None if self.rng.chance(500) => self.refuse_connection(flight),
            None => {}
        }
    }

    /// Executes a call to the discovery service that the node asks in this place.
    pub(crate) fn call_discovery(
        &mut self,
        who: Who,
        waiting: Waiting,
        place: usize,
        call: DiscoveryCall,
        timeout_ms: u64,
    ) {
        let service = self.nodes[who].services[place];
        let flight = self.take_off(who, waiting, nds(service), Cargo::Discovery(service, call), timeout_ms);
        self.send_request(flight, who, nds(service));
    }

    pub(crate) fn take_off(
        &mut self,
        caller: Who,
        waiting: Waiting,
        to: Who,
        cargo: Cargo,
        timeout_ms: u64,
    ) -> FlightId {
        let id = self.next_id();
        let incarnation = self.nodes[caller].incarnation;
        let deadline = self.nodes[caller].clock.monotonic(self.now) + timeout_ms;
        let (stream, is_endless, arrived, generation) = (None, false, false, 0);
        let flight = Flight {
            caller,
            incarnation,
            waiting,
            to,
            cargo,
            timeout_ms,
            deadline,
            generation,
            stream,
            is_endless,
            arrived,
        };
        self.flights.insert(id, flight);
        self.set_timeout(id);
        id
    }

    /// Notes anew when a call has taken too long: its caller's clock may have leapt.
    pub(crate) fn set_timeout(&mut self, id: FlightId) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        flight.generation += 1;
        let (who, generation) = (flight.caller, flight.generation);
        let wait = self.nodes[who].clock.until(self.now, flight.deadline);
        self.after(wait, Happening::Timeout { who, flight: id, generation });
    }

    pub(crate) fn send_request(&mut self, flight: FlightId, from: Who, to: Who) {
        if let Some(delay) = self.net.leg(&mut self.rng, from, to, Leg::Request) {
            self.after(delay, Happening::Arrive { who: to, flight });
            if self.net.is_doubled(&mut self.rng) {
                self.tally.count("fault: request duplicated");
                let later = delay + self.rng.between(1, 400);
                self.after(later, Happening::Arrive { who: to, flight });
            }
            if delay > self.net.latency_ms {
                self.tally.count("fault: slow leg");
            }
        } else {
            self.tally.count("fault: request lost");
        }
    }

    fn refuse_connection(&mut self, flight: FlightId) {
        let caller = self.flights[&flight].caller;
        let answer = Answer::Error(CallError::Unreachable("connection refused".to_owned()));
        let delay = self.rng.between(1, 5);
        self.after(delay, Happening::Answered { who: caller, flight, answer });
    }

    /// A request is at its target.
    pub(crate) fn on_arrive(&mut self, to: Who, id: FlightId) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        flight.arrived = true;
        let (caller, cargo) = (flight.caller, flight.cargo.clone());
        match cargo {
            Cargo::Discovery(service, call) => self.on_discovery_call(service, id, caller, call),
            Cargo::Peer(ask) => self.on_peer_call(to, id, caller, ask),
        }
    }

    fn on_peer_call(&mut self, to: Who, id: FlightId, caller: Who, ask: Ask) {
        let from = self.nodes[caller].peer;
        if let Some(answer) = self.answer_at_the_door(to, caller, &ask).or_else(|| self.feign(to, &ask)) {
            return self.send_answer(id, to, answer);
        }
        if self.was_bad(caller) && !self.is_genuine(&ask) {
            let nonsense = Answer::Error(CallError::Failed("the runs are not genuine".to_owned()));
            return self.send_answer(id, to, nonsense);
        }
        let request = RequestId(self.next_id());
        self.nodes[to].requests.insert(request, id);
        let (body, tokens) = edge::request(ask);
        let sender = self.nodes[caller].name;
        self.trace.add(self.now, self.nodes[to].name, || format!("<- {sender}: {}", describe::request(&body)));
        self.oracle.check_request(&body);
        if let Request::Join { request, .. } = &body {
            self.note_join(to, from, *request);
        }
        self.handle(to, Input::Request(request, from, body), tokens);
    }

    /// What a process answers that does not ask an engine first. A ping is told that it lives, and no more: so are those
    /// whom a node with a broken disk did not know as members.
    fn answer_at_the_door(&self, to: Who, caller: Who, ask: &Ask) -> Option<Answer> {
        let (node, caller) = (&self.nodes[to], &self.nodes[caller]);
        let error = |error| Some(Answer::Error(error));
        let same_network = node.disk.image().network == caller.disk.image().network;
        if !node.is_up {
            error(CallError::Unreachable("connection refused".to_owned()))
        } else if node.is_broken && same_network && (!ask.is_ping() || node.admitted.contains(&caller.peer)) {
            error(life::unable())
        } else if node.engine.is_some() && same_network {
            None
        } else if ask.is_ping() {
            Some(Answer::Response(Response::Alive))
        } else {
            error(CallError::NotHere("this node is not in that network".to_owned()))
        }
    }

    /// Whether somebody still waits for the answer to this request, and it is a ping.
    pub(crate) fn is_ping(&self, who: Who, request: RequestId) -> bool {
        let flight = self.nodes[who].requests.get(&request).and_then(|flight| self.flights.get(flight));
        flight.is_some_and(|flight| matches!(&flight.cargo, Cargo::Peer(ask) if ask.is_ping()))
    }

    /// Executes a reply of an engine.
    pub(crate) fn reply(&mut self, who: Who, request: RequestId, answer: Answer) {
        match self.nodes[who].requests.remove(&request) {
            Some(flight) => {
                let caller = self.flights.get(&flight).map_or(who, |flight| flight.caller);
                let answer = self.tamper_answer(who, caller, answer);
                if let Some(answer) = self.stall(who, flight, answer) {
                    self.send_answer(flight, who, answer);
                }
            }
            None => self.violated("bounds_hold", format!("{} answers {request:?} twice", self.nodes[who].name)),
        }
    }

    /// Sends an answer back to where the call came from.
    pub(crate) fn send_answer(&mut self, id: FlightId, from: Who, answer: Answer) {
        self.send_answer_in(0, id, from, answer);
    }

    fn send_answer_in(&mut self, pause_ms: u64, id: FlightId, from: Who, answer: Answer) {
        let Some(caller) = self.flights.get(&id).map(|flight| flight.caller) else { return };
        if from < self.nodes.len() {
            self.net.traffic.answer(&answer);
        }
        match self.net.leg(&mut self.rng, from, caller, Leg::Reply) {
            Some(delay) => self.after(pause_ms + delay, Happening::Answered { who: caller, flight: id, answer }),
            None => self.tally.count("fault: reply lost"),
        }
    }

    /// An answer is back at its caller.
    pub(crate) fn on_answered(&mut self, id: FlightId, answer: Answer) {
        match answer {
            Answer::Response(response) => self.land(id, Ok(response), Tokens::new()),
            Answer::Error(error) => self.land(id, Err(error), Tokens::new()),
            Answer::Stream(mut chunks) => {
                chunks.reverse();
                let Some(flight) = self.flights.get_mut(&id).filter(|flight| flight.stream.is_none()) else { return };
                flight.stream = Some((chunks, self.nodes[flight.to].incarnation));
                self.read_on(id);
            }
            Answer::Chunk(runs) => {
                let Some(flight) = self.flights.get(&id) else { return };
                let (who, waiting) = (flight.caller, flight.waiting);
                if self.nodes[who].incarnation != flight.incarnation {
                    self.flights.remove(&id);
                    return;
                }
                let Waiting::Engine(call) = waiting else { return };
                if !self.is_wanted(id) {
                    self.flights.remove(&id);
                    return self.tally.count("a fetch was given up");
                }
                let (facts, tokens) = edge::tokens(runs);
                self.handle_then(who, Input::Fetched(call, facts), tokens, Some(id));
            }
        }
    }

    /// The caller is ready for the next chunk of a fetch.
    pub(crate) fn read_on(&mut self, id: FlightId) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let (caller, to) = (flight.caller, flight.to);
        let Some((chunks, server)) = &mut flight.stream else { return };
        let node = &self.nodes[to];
        if !node.is_up || node.is_paused || node.incarnation != *server {
            return;
        }
        let (chunk, is_endless) = (chunks.pop(), flight.is_endless);
        let chunk = if is_endless { Some(chunk.unwrap_or_default()) } else { chunk };
        let next = chunk.map_or(Answer::Response(Response::FetchDone), Answer::Chunk);
        flight.deadline = self.nodes[caller].clock.monotonic(self.now) + flight.timeout_ms;
        self.set_timeout(id);
        let pause_ms = if is_endless { self.pause_of_stall() } else { 0 };
        self.send_answer_in(pause_ms, id, to, next);
    }

    /// Whether the engine that made a call still wants what it brings.
    pub(crate) fn is_wanted(&self, id: FlightId) -> bool {
        let Some(flight) = self.flights.get(&id) else { return false };
        let node = &self.nodes[flight.caller];
        let Waiting::Engine(call) = flight.waiting else { return false };
        let expects = node.engine.as_ref().is_some_and(|engine| engine.expects(call));
        expects && node.incarnation == flight.incarnation
    }

    /// A call has taken too long.
    pub(crate) fn on_timeout(&mut self, id: FlightId, generation: u64) {
        let is_current = self.flights.get(&id).is_some_and(|flight| flight.generation == generation);
        if is_current {
            self.land(id, Err(CallError::Unreachable("no answer in time".to_owned())), Tokens::new());
        }
    }

    /// The end of a call.
    fn land(&mut self, id: FlightId, result: Result<Response, CallError>, tokens: Tokens) {
        let Some(flight) = self.flights.remove(&id) else { return };
        let node = &self.nodes[flight.caller];
        if node.incarnation != flight.incarnation || !node.is_up {
            return;
        }
        match flight.waiting {
            Waiting::Nobody => {}
            Waiting::Joiner(command, place) => self.on_looked_up(flight.caller, command, place, result),
            Waiting::Engine(call) => {
                let target = match &flight.cargo {
                    Cargo::Discovery(service, _) => discovery::name(*service),
                    Cargo::Peer(_) => self.nodes[flight.to].name,
                };
                let line = || format!("<- {target} answers {}", describe::result(&result));
                self.trace.add(self.now, node.name, line);
                if let Ok(response) = &result {
                    self.oracle.check_response(response);
                }
                self.handle(flight.caller, Input::Response(call, result), tokens);
            }
        }
    }

    /// The process that should answer is gone: those who wait for it notice at once, or by their timeouts.
    pub(crate) fn reset_connections(&mut self, who: Who) {
        let open = self.flights.iter().filter(|(_, flight)| flight.to == who && flight.arrived);
        let open: Vec<FlightId> = open.map(|(id, _)| *id).collect();
        for id in open {
            if self.rng.chance(500) {
                self.send_answer(id, who, Answer::Error(CallError::Unreachable("connection reset".to_owned())));
            }
        }
    }
}
