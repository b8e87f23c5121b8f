//! The world: virtual time, the ordered queue of events, and everybody in it.

use std::collections::BTreeMap;

use p2p_chat_engine::{CommandId, Done, Event, Output};
use p2p_chat_model::NetworkId;
use p2p_chat_nds::registry::Answer as ProbeAnswer;

use crate::{
    bad::Bad,
    calls::{Flight, FlightId},
    discovery::{DiscoveryService, Ping},
    edge::Answer,
    faults::{Fault, steps::Trap},
    net::{Net, Who},
    node::Node,
    notice::Noticed,
    oracle::Oracle,
    rng::Rng,
    tally::Tally,
    trace::Trace,
    users::{Act, Found, Promise},
};

/// How often the costly invariants are checked, in groups of a few.
const LOOK_MS: u64 = 250;

/// Something that is going to happen. `who` is the process that has to be awake for it.
#[derive(Debug, Clone)]
pub(crate) enum Happening {
    Wake { who: Who, generation: u64 },
    Synced { who: Who, incarnation: u64 },
    TryDisk { who: Who, incarnation: u64 },
    Discard { who: Who, incarnation: u64 },
    Arrive { who: Who, flight: FlightId },
    Answered { who: Who, flight: FlightId, answer: Answer },
    Timeout { who: Who, flight: FlightId, generation: u64 },
    PingArrives { who: Who, ping: Ping },
    Pinged { ping: Ping, answer: ProbeAnswer },
    Act(Act),
    Fault(Fault),
}

impl Happening {
    const fn target(&self) -> Option<Who> {
        match self {
            Self::Wake { who, .. }
            | Self::Synced { who, .. }
            | Self::TryDisk { who, .. }
            | Self::Discard { who, .. }
            | Self::Arrive { who, .. }
            | Self::Answered { who, .. }
            | Self::Timeout { who, .. }
            | Self::PingArrives { who, .. } => Some(*who),
            Self::Pinged { .. } | Self::Act(_) | Self::Fault(_) => None,
        }
    }
}

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Its name, as in the design.
    pub(crate) invariant: &'static str,
    /// What was seen.
    pub(crate) what: String,
}

/// Everything.
pub(crate) struct World {
    /// Milliseconds since the beginning.
    pub(crate) now: u64,
    pub(crate) rng: Rng,
    pub(crate) nodes: Vec<Node>,
    /// The discovery services.
    pub(crate) services: Vec<DiscoveryService>,
    pub(crate) net: Net,
    pub(crate) flights: BTreeMap<FlightId, Flight>,
    pub(crate) promises: BTreeMap<CommandId, Promise>,
    /// What those who want to join were told so far, in the order in which they ask.
    pub(crate) lookups: BTreeMap<CommandId, Vec<Option<Found>>>,
    pub(crate) oracle: Oracle,
    pub(crate) trace: Trace,
    pub(crate) tally: Tally,
    pub(crate) noticed: Noticed,
    pub(crate) trap: Option<Trap>,
    pub(crate) bad: Option<Bad>,
    /// The one network there is.
    pub(crate) network: Option<NetworkId>,
    /// Since when nothing goes wrong any more.
    pub(crate) calm_since: Option<u64>,
    /// Whether people go on talking when all faults have ended.
    pub(crate) people_talk: bool,
    /// How often the costly invariants are checked.
    pub(crate) look_ms: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    ids: u64,
    violation: Option<Violation>,
}

impl World {
    /// A world of one discovery service and `count` nodes that are up and in no network.
    pub(crate) fn new(seed: u64, count: usize, is_traced: bool) -> Self {
        let mut trace = Trace::new(is_traced);
        let nodes: Vec<Node> = (0..count).map(Node::new).collect();
        for node in &nodes {
            trace.name(node.peer, node.name);
        }
        Self {
            now: 0,
            rng: Rng::new(seed),
            nodes,
            services: vec![DiscoveryService::new(0)],
            net: Net::new(5),
            flights: BTreeMap::new(),
            promises: BTreeMap::new(),
            lookups: BTreeMap::new(),
            oracle: Oracle::new(count, 1),
            trace,
            tally: Tally::default(),
            noticed: Noticed::default(),
            trap: None,
            bad: None,
            network: None,
            calm_since: None,
            people_talk: false,
            look_ms: LOOK_MS,
            queue: BTreeMap::new(),
            ids: 0,
            violation: None,
        }
    }

    /// The same with so many discovery services; every node knows all of them.
    pub(crate) fn with_services(mut self, services: usize) -> Self {
        self.services = (0..services).map(DiscoveryService::new).collect();
        self.oracle = Oracle::new(self.nodes.len(), services);
        for node in &mut self.nodes {
            node.services = (0..services).collect();
        }
        self
    }

    /// A number that was never used before.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// Lets something happen in `delay_ms`.
    pub(crate) fn after(&mut self, delay_ms: u64, happening: Happening) {
        let order = self.next_id();
        self.queue.insert((self.now + delay_ms, order), happening);
    }

    /// Notes that an invariant does not hold; the first one counts.
    pub(crate) fn violated(&mut self, invariant: &'static str, what: String) {
        let what = self.trace.named(what);
        self.trace.add(self.now, "oracle", || format!("VIOLATED {invariant}: {what}"));
        self.violation.get_or_insert(Violation { invariant, what });
    }

    /// What went wrong so far, if anything.
    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Lets time pass until `end`, or until an invariant breaks.
    pub(crate) fn run_until(&mut self, end: u64) -> Result<(), Violation> {
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((time, _), happening) = entry.remove_entry();
            self.look_around(time);
            self.now = time;
            self.dispatch(happening);
            if let Some((invariant, what)) = self.oracle.take_finding() {
                self.violated(invariant, what);
            }
            if let Some(violation) = &self.violation {
                return Err(violation.clone());
            }
        }
        self.now = end;
        Ok(())
    }

    /// Lets that much time pass.
    pub(crate) fn run(&mut self, ms: u64) -> Result<(), Violation> {
        self.run_until(self.now + ms)
    }

    /// Checks what is too costly after each step, when time passes a whole interval.
    fn look_around(&mut self, time: u64) {
        if self.now / self.look_ms != time / self.look_ms {
            let mut calls = vec![0; self.nodes.len()];
            for flight in
                self.flights.values().filter(|flight| self.nodes[flight.caller].incarnation == flight.incarnation)
            {
                calls[flight.caller] += 1;
            }
            self.oracle.check_all(&self.nodes, &calls);
            self.look_for_rarities();
        }
    }

    fn dispatch(&mut self, happening: Happening) {
        if let Some(node) = happening.target().and_then(|who| self.nodes.get_mut(who))
            && node.is_paused
        {
            return node.inbox.push(happening);
        }
        match happening {
            Happening::Wake { who, generation } => self.on_wake(who, generation),
            Happening::Synced { who, incarnation } => self.on_synced(who, incarnation),
            Happening::TryDisk { who, incarnation } => self.try_disk(who, incarnation),
            Happening::Discard { who, incarnation } => self.discard(who, incarnation),
            Happening::Arrive { who, flight } => self.on_arrive(who, flight),
            Happening::Answered { flight, answer, .. } => self.on_answered(flight, answer),
            Happening::Timeout { flight, generation, .. } => self.on_timeout(flight, generation),
            Happening::PingArrives { who, ping } => self.on_ping(who, ping),
            Happening::Pinged { ping, answer } => self.on_pinged(ping, answer),
            Happening::Act(act) => self.act(act),
            Happening::Fault(fault) => self.strike(fault),
        }
    }

    /// Counts what a sweep has to have seen.
    pub(crate) fn notice(&mut self, output: &Output) {
        crate::describe::notable(output).into_iter().for_each(|what| self.tally.count(what));
    }

    /// What an engine tells whoever listens.
    pub(crate) fn on_event(&mut self, who: Who, event: &Event) {
        if *event == Event::Stopped {
            self.retire(who);
        }
    }

    /// What came of a command.
    pub(crate) fn outcome(&self, command: CommandId) -> Option<&Result<Done, String>> {
        self.promises.get(&command).and_then(|promise| promise.outcome.as_ref())
    }
}
