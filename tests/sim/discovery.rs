//! A Node Discovery Service: its real registry, with the calls back over the modelled network. Changes are on
//! disk before the answer, so a restart loses nothing but the calls under way; a wipe loses all. There may be several
//! of them, which know nothing of each other.

pub(crate) mod trouble;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use p2p_chat_engine::{CallError, DiscoveryAnswer, DiscoveryCall, DiscoveryRefusal, LeaderHint, Record, Response};
use p2p_chat_model::{EntryKind, Epoch, NetworkId, PeerId, Registration, Run, Seq};
use p2p_chat_nds::registry::{self, Answers, Founding, Probe, Refusal, Registry, Terms, Verdict};

use crate::{
    calls::FlightId,
    clock::Clock,
    describe,
    disk::Image,
    edge::Answer,
    faults::steps::Step,
    net::{Leg, Service, Who, nds},
    world::{Happening, World},
};

/// How long a node that is called back may take.
const PROBE_TIMEOUT_MS: u64 = 1_000;
/// What the services are called; there are no more of them than that.
const NAMES: [&str; 3] = ["nds", "nds2", "nds3"];
/// Most contacts in a record.
const MAX_CONTACTS: usize = 16;

/// The name of a service.
pub(crate) const fn name(service: Service) -> &'static str {
    NAMES[service]
}

/// A call back: a service pings a node because of a call.
#[derive(Debug, Clone)]
pub(crate) struct Ping {
    service: Service,
    flight: FlightId,
    probe: Probe,
}

/// A call that waits for nodes to be called back.
struct Pending {
    caller: Who,
    call: DiscoveryCall,
    answers: Answers,
    open: usize,
}

/// A service.
pub(crate) struct DiscoveryService {
    pub(crate) name: &'static str,
    pub(crate) registry: Registry,
    pub(crate) is_up: bool,
    pub(crate) clock: Clock,
    /// Nodes whose addresses it can't call back, though they reach it.
    pub(crate) cut_off: BTreeSet<Who>,
    /// A copy of its disk.
    copy: Option<Registry>,
    pending: BTreeMap<FlightId, Pending>,
}

impl DiscoveryService {
    pub(crate) fn new(service: Service) -> Self {
        let (name, registry) = (name(service), Registry::new(Terms::default()));
        Self {
            name,
            registry,
            is_up: true,
            clock: Clock::new(0),
            cut_off: BTreeSet::new(),
            copy: None,
            pending: BTreeMap::new(),
        }
    }

    /// Who leads the network, and in which epoch.
    pub(crate) fn leader(&self, network: &NetworkId) -> Option<(PeerId, Epoch)> {
        self.registry.record(network).map(|record| (record.leader().peer, record.epoch()))
    }

    fn listed(&self, network: &NetworkId) -> Option<(Record, u64)> {
        let record = self.registry.record(network)?;
        let leader = record.leader();
        let hint = LeaderHint { epoch: record.epoch(), peer: leader.peer, address: leader.address.clone() };
        let others = record.view().active.iter().filter(|member| member.peer != leader.peer);
        let contacts = std::iter::once(leader).chain(others).take(MAX_CONTACTS);
        let contacts = contacts.map(|member| (member.peer, member.address.clone())).collect();
        Some((Record { leader: hint, contacts }, record.serial()))
    }
}

impl World {
    pub(crate) fn on_discovery_call(&mut self, service: Service, flight: FlightId, caller: Who, call: DiscoveryCall) {
        if !self.services[service].is_up {
            let refused = Answer::Error(CallError::Unreachable("connection refused".to_owned()));
            return self.send_answer(flight, nds(service), refused);
        }
        let sender = self.nodes[caller].name;
        self.trace.add(self.now, name(service), || format!("<- {sender}: {}", describe::discovery_call(&call)));
        self.nds_decide(service, flight, Pending { caller, call, answers: Answers::new(), open: 0 });
    }

    fn nds_decide(&mut self, service: Service, flight: FlightId, pending: Pending) {
        let Some(network) = self.network else { return };
        if pending.call == DiscoveryCall::Lookup {
            let listed = self.services[service].listed(&network);
            let answer = listed.map_or(DiscoveryAnswer::Unknown, |(record, _)| DiscoveryAnswer::Accepted(record));
            return self.nds_answer(service, flight, Ok(answer));
        }
        let image = self.nodes[pending.caller].disk.image();
        let nds = &self.services[service];
        let now = Duration::from_millis(nds.clock.wall(self.now));
        let verdict = decide(&nds.registry, now, network, image, &pending);
        if let (DiscoveryCall::Update { votes, .. }, Ok(verdict)) = (&pending.call, &verdict) {
            self.note_verdict(service, verdict, votes.len());
        }
        match verdict {
            Ok(Verdict::AskFirst(probes)) => self.nds_ask(service, flight, pending, probes),
            Ok(Verdict::Standing) => self.nds_done(service, flight, network, &pending.call),
            Ok(Verdict::Accept(changes)) => {
                let registry = &mut self.services[service].registry;
                for change in changes {
                    registry.apply(now, change);
                }
                self.oracle.check_registry(service, registry.record(&network));
                self.nds_done(service, flight, network, &pending.call);
                let is_reign = matches!(pending.call, DiscoveryCall::Update { .. });
                self.took_step(pending.caller, is_reign.then_some(Step::ServiceAccepted));
            }
            Err(refusal) => self.nds_refuse(service, flight, network, &pending.call, &refusal),
        }
    }

    fn nds_done(&mut self, service: Service, flight: FlightId, network: NetworkId, call: &DiscoveryCall) {
        let answer = match (call, self.services[service].listed(&network)) {
            (DiscoveryCall::Close { .. }, _) | (_, None) => DiscoveryAnswer::Closed,
            (_, Some((record, _))) => DiscoveryAnswer::Accepted(record),
        };
        self.nds_answer(service, flight, Ok(answer));
    }

    fn nds_refuse(
        &mut self,
        service: Service,
        flight: FlightId,
        network: NetworkId,
        call: &DiscoveryCall,
        refusal: &Refusal,
    ) {
        if matches!(refusal, Refusal::LeaderAlive { .. } | Refusal::Registered { .. }) {
            self.tally.count("the NDS vetoed an election");
        }
        let is_answer = matches!(call, DiscoveryCall::Update { .. } | DiscoveryCall::Renew { .. });
        let answer = match (discovery_refusal(refusal), self.services[service].listed(&network)) {
            (Some(why), Some((record, serial))) if is_answer => Ok(DiscoveryAnswer::Refused(why, record, serial)),
            _ => refused_call(refusal),
        };
        self.nds_answer(service, flight, answer);
    }

    fn nds_answer(&mut self, service: Service, flight: FlightId, answer: Result<DiscoveryAnswer, CallError>) {
        self.trace.add(self.now, name(service), || format!("answers {answer:?}"));
        let answer = match answer {
            Ok(answer) => Answer::Response(Response::Discovery(answer)),
            Err(error) => Answer::Error(error),
        };
        self.send_answer(flight, nds(service), answer);
    }

    fn nds_ask(&mut self, service: Service, flight: FlightId, mut pending: Pending, probes: Vec<Probe>) {
        pending.open = probes.len();
        self.services[service].pending.insert(flight, pending);
        for probe in probes {
            let target = self.nodes.iter().find(|node| node.peer == probe.peer && node.address == probe.address);
            let target = target.map(|node| node.who).filter(|who| !self.services[service].cut_off.contains(who));
            let ping = Ping { service, flight, probe };
            let silence = Happening::Pinged { ping: ping.clone(), answer: registry::Answer::Unreachable };
            self.after(PROBE_TIMEOUT_MS, silence);
            if let Some(who) = target
                && let Some(delay) = self.net.leg(&mut self.rng, nds(service), who, Leg::Request)
            {
                self.after(delay, Happening::PingArrives { who, ping });
            }
        }
    }

    /// A service's ping is at a node. Nothing changes there.
    pub(crate) fn on_ping(&mut self, who: Who, ping: Ping) {
        let node = &self.nodes[who];
        let is_it = node.disk.image().network == Some(ping.probe.network);
        let leads_epoch = node.engine.as_ref().filter(|_| is_it).map_or(Epoch(0), crate::oracle::leads_epoch);
        let answer = match node.is_up {
            true => registry::Answer::Reached { leads_epoch },
            false => registry::Answer::Unreachable,
        };
        if let Some(delay) = self.net.leg(&mut self.rng, who, nds(ping.service), Leg::Reply) {
            self.after(delay, Happening::Pinged { ping, answer });
        }
    }

    /// What came of a ping, or that nothing did in time.
    pub(crate) fn on_pinged(&mut self, ping: Ping, answer: registry::Answer) {
        let Ping { service, flight, probe } = ping;
        let Some(pending) = self.services[service].pending.get_mut(&flight) else { return };
        if pending.answers.contains_key(&probe) {
            return;
        }
        pending.answers.insert(probe, answer);
        pending.open -= 1;
        if pending.open == 0
            && let Some(pending) = self.services[service].pending.remove(&flight)
        {
            self.nds_decide(service, flight, pending);
        }
    }
}

fn decide(
    registry: &Registry,
    now: Duration,
    network: NetworkId,
    image: &Image,
    pending: &Pending,
) -> Result<Verdict, Refusal> {
    let answers = &pending.answers;
    let claim = |view: &p2p_chat_model::View, expected_epoch: Epoch, serial: u64| Registration {
        network,
        view: view.clone(),
        expected_epoch,
        serial,
    };
    match &pending.call {
        DiscoveryCall::Create { view, admission, serial } => {
            let claim = claim(view, view.epoch, *serial);
            let (genesis, admissions) = proof(image, admission);
            let genesis = genesis.ok_or(Refusal::Genesis { network, reason: "the caller does not hold it" })?;
            let founding = Founding::prove(&genesis, &admissions, &claim)?;
            registry.decide_create(now, &claim, &founding, answers)
        }
        DiscoveryCall::Update { view, expected, votes, serial } => {
            registry.decide_update(now, &claim(view, *expected, *serial), votes, answers)
        }
        DiscoveryCall::Renew { view, serial } => registry.decide_renew(now, &claim(view, view.epoch, *serial), answers),
        DiscoveryCall::Close { view, serial } => registry.decide_close(now, &claim(view, view.epoch, *serial)),
        DiscoveryCall::Lookup => Err(Refusal::Unknown(network)),
    }
}

/// The runs that prove an admission, from the caller's disk.
fn proof(image: &Image, admission: &[(PeerId, Seq)]) -> (Option<Run>, Vec<Run>) {
    let founds =
        |run: &&std::rc::Rc<Run>| run.entries.first().is_some_and(|(_, entry)| entry.header.kind == EntryKind::Genesis);
    let genesis = image.feeds.values().flatten().find(founds).map(|run| run.as_ref().clone());
    let held = admission.iter().flat_map(|(author, seq)| image.runs(author, *seq, *seq));
    (genesis, held.map(|run| run.as_ref().clone()).collect())
}

fn discovery_refusal(refusal: &Refusal) -> Option<DiscoveryRefusal> {
    match refusal {
        Refusal::Epoch { .. } => Some(DiscoveryRefusal::Epoch),
        Refusal::LeaderAlive { .. } => Some(DiscoveryRefusal::LeaderAlive),
        Refusal::Outdated { .. } => Some(DiscoveryRefusal::Outdated),
        Refusal::NotLeader { .. } => Some(DiscoveryRefusal::NotLeader),
        Refusal::Unreachable { .. } => Some(DiscoveryRefusal::Unreachable),
        Refusal::NotActive(_) => Some(DiscoveryRefusal::NotActive),
        _ => None,
    }
}

/// A refusal that is an error on the wire, as the caller's driver reads it.
fn refused_call(refusal: &Refusal) -> Result<DiscoveryAnswer, CallError> {
    let text = refusal.to_string();
    match refusal {
        Refusal::Unknown(_) => Ok(DiscoveryAnswer::Unknown),
        Refusal::NameTaken { .. } | Refusal::Registered { .. } => Err(CallError::Exists(text)),
        Refusal::Unreachable { .. } | Refusal::OthersActive { .. } => Err(CallError::Unmet(text)),
        Refusal::Full(_) => Err(CallError::Busy(text)),
        _ => Err(CallError::Failed(text)),
    }
}
