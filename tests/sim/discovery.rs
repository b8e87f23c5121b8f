//! The Node Discovery Service: its real registry, with the calls back over the modelled network. Changes are on
//! disk before the answer, so a restart loses nothing but the calls under way; a wipe loses all.

use std::{collections::BTreeMap, time::Duration};

use p2p_chat_engine::{CallError, DiscoveryAnswer, DiscoveryCall, DiscoveryRefusal, LeaderHint, Record, Response};
use p2p_chat_model::{EntryKind, Epoch, NetworkId, PeerId, Registration, Run, Seq};
use p2p_chat_nds::registry::{self, Answers, Change, Founding, Probe, Refusal, Registry, Terms, Tombstone, Verdict};

use crate::{
    calls::FlightId,
    clock::Clock,
    describe,
    disk::Image,
    edge::Answer,
    faults::steps::Step,
    net::{Leg, NDS, Who},
    world::{Happening, World},
};

/// How long a node that is called back may take.
const PROBE_TIMEOUT_MS: u64 = 1_000;
/// Most contacts in a record.
const MAX_CONTACTS: usize = 16;

/// A call that waits for nodes to be called back.
struct Pending {
    caller: Who,
    call: DiscoveryCall,
    answers: Answers,
    open: usize,
}

/// The service.
pub(crate) struct DiscoveryService {
    pub(crate) registry: Registry,
    pub(crate) is_up: bool,
    pub(crate) clock: Clock,
    /// A copy of its disk.
    copy: Option<Registry>,
    pending: BTreeMap<FlightId, Pending>,
}

impl DiscoveryService {
    pub(crate) fn new() -> Self {
        let registry = Registry::new(Terms::default());
        Self { registry, is_up: true, clock: Clock::new(0), copy: None, pending: BTreeMap::new() }
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
    /// The service's process ends, or its machine does.
    pub(crate) fn nds_down(&mut self) {
        self.nds.is_up = false;
        self.nds.pending.clear();
        self.trace.add(self.now, "nds", || "CRASHES".to_owned());
    }

    /// The service starts again, with its disk. What its clock says lies ahead counts as heard just now.
    pub(crate) fn nds_up(&mut self) {
        self.nds.is_up = true;
        let now = Duration::from_millis(self.nds.clock.wall(self.now));
        let mut registry = Registry::new(Terms::default()).listening_since(now);
        for record in self.nds.registry.list(None) {
            let (name, view, heard) = (record.name().clone(), record.view().clone(), record.heard().min(now));
            let record = registry::Record::new(record.network(), name, view, record.serial(), heard);
            if let Some(record) = record {
                registry.apply(now, Change::Put(record));
            }
        }
        if let Some(tombstone) = self.network.and_then(|network| self.nds.registry.tombstone(&network)) {
            registry.apply(now, Change::Remove(Tombstone { since: tombstone.since.min(now), ..tombstone.clone() }));
        }
        self.nds.registry = registry;
        self.trace.add(self.now, "nds", || "STARTS AGAIN".to_owned());
    }

    /// The service loses its disk.
    pub(crate) fn nds_wipe(&mut self) {
        self.nds.registry = Registry::new(Terms::default());
        self.nds.pending.clear();
        self.oracle.nds_set_back(Epoch(0));
        self.trace.add(self.now, "nds", || "LOSES ITS DISK".to_owned());
    }

    /// Somebody copies the service's disk.
    pub(crate) fn nds_copy(&mut self) {
        self.nds.copy = Some(self.nds.registry.clone());
    }

    /// The copy takes the disk's place; without one, the service is as on its first day.
    pub(crate) fn nds_restore(&mut self) {
        self.nds.registry = self.nds.copy.clone().unwrap_or_else(|| Registry::new(Terms::default()));
        self.nds.pending.clear();
        let epoch = self.network.and_then(|network| self.nds.leader(&network)).map_or(Epoch(0), |(_, epoch)| epoch);
        self.oracle.nds_set_back(epoch);
        self.trace.add(self.now, "nds", || format!("IS SET BACK to epoch {epoch}"));
    }

    pub(crate) fn on_discovery_call(&mut self, flight: FlightId, caller: Who, call: DiscoveryCall) {
        if !self.nds.is_up {
            let refused = Answer::Error(CallError::Unreachable("connection refused".to_owned()));
            return self.send_answer(flight, NDS, refused);
        }
        let name = self.nodes[caller].name;
        self.trace.add(self.now, "nds", || format!("<- {name}: {}", describe::discovery_call(&call)));
        self.nds_decide(flight, Pending { caller, call, answers: Answers::new(), open: 0 });
    }

    fn nds_decide(&mut self, flight: FlightId, pending: Pending) {
        let Some(network) = self.network else { return };
        if pending.call == DiscoveryCall::Lookup {
            let listed = self.nds.listed(&network);
            let answer = listed.map_or(DiscoveryAnswer::Unknown, |(record, _)| DiscoveryAnswer::Accepted(record));
            return self.nds_answer(flight, Ok(answer));
        }
        let now = Duration::from_millis(self.nds.clock.wall(self.now));
        let image = self.nodes[pending.caller].disk.image();
        let verdict = decide(&self.nds.registry, now, network, image, &pending);
        if let (DiscoveryCall::Update { votes, .. }, Ok(verdict)) = (&pending.call, &verdict) {
            self.note_verdict(verdict, votes.len());
        }
        match verdict {
            Ok(Verdict::AskFirst(probes)) => self.nds_ask(flight, pending, probes),
            Ok(Verdict::Standing) => self.nds_done(flight, network, &pending.call),
            Ok(Verdict::Accept(changes)) => {
                for change in changes {
                    self.nds.registry.apply(now, change);
                }
                self.oracle.check_registry(self.nds.registry.record(&network));
                self.nds_done(flight, network, &pending.call);
                let is_reign = matches!(pending.call, DiscoveryCall::Update { .. });
                self.took_step(pending.caller, is_reign.then_some(Step::ServiceAccepted));
            }
            Err(refusal) => self.nds_refuse(flight, network, &pending.call, &refusal),
        }
    }

    fn nds_done(&mut self, flight: FlightId, network: NetworkId, call: &DiscoveryCall) {
        let answer = match (call, self.nds.listed(&network)) {
            (DiscoveryCall::Close { .. }, _) | (_, None) => DiscoveryAnswer::Closed,
            (_, Some((record, _))) => DiscoveryAnswer::Accepted(record),
        };
        self.nds_answer(flight, Ok(answer));
    }

    fn nds_refuse(&mut self, flight: FlightId, network: NetworkId, call: &DiscoveryCall, refusal: &Refusal) {
        if matches!(refusal, Refusal::LeaderAlive { .. } | Refusal::Registered { .. }) {
            self.tally.count("the NDS vetoed an election");
        }
        let is_answer = matches!(call, DiscoveryCall::Update { .. } | DiscoveryCall::Renew { .. });
        let answer = match (discovery_refusal(refusal), self.nds.listed(&network)) {
            (Some(why), Some((record, serial))) if is_answer => Ok(DiscoveryAnswer::Refused(why, record, serial)),
            _ => refused_call(refusal),
        };
        self.nds_answer(flight, answer);
    }

    fn nds_answer(&mut self, flight: FlightId, answer: Result<DiscoveryAnswer, CallError>) {
        self.trace.add(self.now, "nds", || format!("answers {answer:?}"));
        let answer = match answer {
            Ok(answer) => Answer::Response(Response::Discovery(answer)),
            Err(error) => Answer::Error(error),
        };
        self.send_answer(flight, NDS, answer);
    }

    fn nds_ask(&mut self, flight: FlightId, mut pending: Pending, probes: Vec<Probe>) {
        pending.open = probes.len();
        self.nds.pending.insert(flight, pending);
        for probe in probes {
            let target = self.nodes.iter().find(|node| node.peer == probe.peer && node.address == probe.address);
            let target = target.map(|node| node.who);
            let silence = Happening::Probed { flight, probe: probe.clone(), answer: registry::Answer::Unreachable };
            self.after(PROBE_TIMEOUT_MS, silence);
            if let Some(who) = target
                && let Some(delay) = self.net.leg(&mut self.rng, NDS, who, Leg::Request)
            {
                self.after(delay, Happening::ProbeArrives { who, flight, probe });
            }
        }
    }

    /// The service's ping is at a node. Nothing changes there.
    pub(crate) fn on_probe(&mut self, who: Who, flight: FlightId, probe: Probe) {
        let node = &self.nodes[who];
        let is_it = node.disk.image().network == Some(probe.network);
        let leads_epoch = node.engine.as_ref().filter(|_| is_it).map_or(Epoch(0), crate::oracle::leads_epoch);
        let answer = match node.is_up {
            true => registry::Answer::Reached { leads_epoch },
            false => registry::Answer::Unreachable,
        };
        if let Some(delay) = self.net.leg(&mut self.rng, who, NDS, Leg::Reply) {
            self.after(delay, Happening::Probed { flight, probe, answer });
        }
    }

    /// What came of a ping, or that nothing did in time.
    pub(crate) fn on_probed(&mut self, flight: FlightId, probe: Probe, answer: registry::Answer) {
        let Some(pending) = self.nds.pending.get_mut(&flight) else { return };
        if pending.answers.contains_key(&probe) {
            return;
        }
        pending.answers.insert(probe, answer);
        pending.open -= 1;
        if pending.open == 0
            && let Some(pending) = self.nds.pending.remove(&flight)
        {
            self.nds_decide(flight, pending);
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
