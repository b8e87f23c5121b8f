//! The Node Discovery Service around its real registry: what it does with a call, and the nodes that it calls back.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use p2p_chat_engine::{
    CallError, DiscoveryAnswer, DiscoveryCall, DiscoveryRefusal, Engine, LeaderHint, Record, Response,
};
use p2p_chat_model::{Epoch, PeerId, Registration, Run, Seq, View};
use p2p_chat_nds::registry::{self, Answer, Answers, Change, Founding, Refusal, Registry, Terms, Verdict};

use crate::{
    cast::{Cast, NDS},
    fingerprint::{BEGINNING, WALL_CLOCK, print_of},
    properties::Violation,
    sights::Sight,
    world::{Stage, World},
};

/// How long a node that is called back may take.
const PROBE_TIMEOUT_MS: u64 = 1_000;

/// The service: its registry is on disk before it answers.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) registry: Registry,
    /// The record as it is, for those who look.
    record: registry::Record,
    print: u64,
}

impl Service {
    /// A service that has alice's view on record.
    pub(crate) fn new(cast: &Cast) -> Self {
        let name = "lab".parse().expect("a name");
        let record = registry::Record::new(cast.network, name, cast.view(), WALL_CLOCK, time(BEGINNING));
        let record = record.expect("the view has a leader");
        let mut registry = Registry::new(Terms::default());
        registry.apply(time(BEGINNING), Change::Put(record.clone()));
        Self { registry, print: print_of(record.view()), record }
    }

    pub(crate) const fn serial(&self) -> u64 {
        self.record.serial()
    }

    pub(crate) const fn epoch(&self) -> Epoch {
        self.record.epoch()
    }

    /// Who leads the network, and in which epoch.
    pub(crate) const fn leader(&self) -> (PeerId, Epoch) {
        (self.record.leader().peer, self.record.epoch())
    }

    fn listed(&self) -> Record {
        let line = self.record.leader();
        let leader = LeaderHint { epoch: self.record.epoch(), peer: line.peer, address: line.address.clone() };
        let others = self.record.view().active.iter().filter(|member| member.peer != line.peer);
        let contacts = std::iter::once(line).chain(others).map(|member| (member.peer, member.address.clone()));
        Record { leader, contacts: contacts.collect() }
    }

    fn apply(&mut self, now: Duration, changes: Vec<Change>) {
        let network = self.record.network();
        for change in changes {
            self.registry.apply(now, change);
        }
        // It is never closed, so it stays on record.
        if let Some(record) = self.registry.record(&network) {
            self.print = print_of(record.view());
            self.record = record.clone();
        }
    }
}

impl Hash for Service {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        // What matters of when the leader was heard of is when its lease runs out.
        let lapses = self.record.heard() + self.registry.terms().lease;
        (self.print, lapses.as_millis() as u64).hash(hasher);
    }
}

fn time(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl World {
    /// A call is at the service, or its last question to a node is answered: it decides.
    pub(crate) fn decide(&mut self, index: usize, call: &Arc<DiscoveryCall>, answers: Answers) {
        let service = self.service.clone();
        let answer = match self.verdict(index, call, &answers) {
            None => Ok(DiscoveryAnswer::Accepted(service.listed())),
            Some(Ok(Verdict::AskFirst(probes))) => {
                let until = self.now + PROBE_TIMEOUT_MS;
                let (call, answers, open) = (call.clone(), Arc::new(answers), Arc::new(probes));
                self.calls[index].set(Stage::Probing { call, answers, open, until });
                return;
            }
            Some(Ok(Verdict::Standing)) => Ok(DiscoveryAnswer::Accepted(service.listed())),
            Some(Ok(Verdict::Accept(changes))) => {
                self.put_on_record(call, changes);
                Ok(DiscoveryAnswer::Accepted(self.service.listed()))
            }
            Some(Err(refusal)) => {
                if matches!(refusal, Refusal::LeaderAlive { .. }) {
                    self.sights.see(Sight::Veto);
                }
                let answerable = matches!(**call, DiscoveryCall::Update { .. } | DiscoveryCall::Renew { .. });
                match refusal_of(&refusal).filter(|_| answerable) {
                    Some(why) => Ok(DiscoveryAnswer::Refused(why, service.listed(), service.serial())),
                    None => error_of(&refusal),
                }
            }
        };
        self.tell(|| format!("    the NDS answers {answer:?}"));
        self.answer(index, answer.map(Response::Discovery));
    }

    fn verdict(&self, index: usize, call: &DiscoveryCall, answers: &Answers) -> Option<Result<Verdict, Refusal>> {
        let (registry, now, cast) = (&self.service.registry, time(self.now), self.cast());
        let claim = |view: &View, expected_epoch: Epoch, serial: u64| Registration {
            network: cast.network,
            view: view.clone(),
            expected_epoch,
            serial,
        };
        Some(match call {
            DiscoveryCall::Lookup => return None,
            DiscoveryCall::Create { view, serial, .. } => {
                let claim = claim(view, view.epoch, *serial);
                let admissions: Vec<Run> = cast.admissions[self.calls[index].from].iter().cloned().collect();
                Founding::prove(&cast.genesis, &admissions, &claim)
                    .and_then(|founding| registry.decide_create(now, &claim, &founding, answers))
            }
            DiscoveryCall::Update { view, expected, votes, serial } => {
                registry.decide_update(now, &claim(view, *expected, *serial), votes, answers)
            }
            DiscoveryCall::Renew { view, serial } => {
                registry.decide_renew(now, &claim(view, view.epoch, *serial), answers)
            }
            DiscoveryCall::Close { view, serial } => registry.decide_close(now, &claim(view, view.epoch, *serial)),
        })
    }

    fn put_on_record(&mut self, call: &DiscoveryCall, changes: Vec<Change>) {
        let (leader, before) = self.service.leader();
        let incumbent = &self.nodes[self.cast().who(&leader)];
        let leads = incumbent.engine.as_ref().is_some_and(|engine| engine.leads() >= Some(before));
        if matches!(call, DiscoveryCall::Update { view, .. } if view.epoch > before) && leads {
            self.sights.see(Sight::Overruled);
        }
        let now = time(self.now);
        Arc::make_mut(&mut self.service).apply(now, changes);
        let after = self.service.epoch();
        if after < before {
            let what = format!("the NDS had epoch {before} on record, and now {after}");
            self.violation = Some(Violation { property: "epoch_never_decreases", what });
        }
    }

    /// One of the service's questions is answered by a node as it is now, or by its silence.
    pub(crate) fn probe(&mut self, index: usize, which: usize) {
        let Stage::Probing { call, answers, open, until } = self.calls[index].stage.clone() else { return };
        let (mut answers, mut open) = ((*answers).clone(), (*open).clone());
        let probe = open.remove(which);
        let who = self.cast().who(&probe.peer);
        let leads = |engine: &Engine| engine.leads().unwrap_or(Epoch(0));
        let answer = match self.nodes[who].engine.as_ref().filter(|_| !self.is_cut(NDS, who)) {
            Some(engine) => Answer::Reached { leads_epoch: leads(engine) },
            None => Answer::Unreachable,
        };
        self.tell(|| format!("    is {}: {answer:?}", crate::cast::NAMES[who]));
        answers.insert(probe, answer);
        if open.is_empty() {
            self.decide(index, &call, answers);
        } else {
            self.calls[index].set(Stage::Probing { call, answers: Arc::new(answers), open: Arc::new(open), until });
        }
    }

    /// The service waits no longer for those it has called back.
    pub(crate) fn probes_time_out(&mut self, index: usize) {
        let Stage::Probing { call, answers, open, .. } = self.calls[index].stage.clone() else { return };
        let mut answers = (*answers).clone();
        answers.extend(open.iter().map(|probe| (probe.clone(), Answer::Unreachable)));
        self.decide(index, &call, answers);
    }
}

fn refusal_of(refusal: &Refusal) -> Option<DiscoveryRefusal> {
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
fn error_of(refusal: &Refusal) -> Result<DiscoveryAnswer, CallError> {
    match refusal {
        Refusal::Unknown(_) => Ok(DiscoveryAnswer::Unknown),
        Refusal::NameTaken { .. } | Refusal::Registered { .. } => Err(CallError::Exists("registered".to_owned())),
        Refusal::Unreachable { .. } | Refusal::OthersActive { .. } => Err(CallError::Unmet("unmet".to_owned())),
        Refusal::Full(_) => Err(CallError::Busy("full".to_owned())),
        _ => Err(CallError::Failed("refused".to_owned())),
    }
}

/// The print of a call without its serial, and the serial.
pub(crate) fn print_of_call(call: &DiscoveryCall) -> (u64, u64) {
    match call {
        DiscoveryCall::Create { view, admission, serial } => (print_of(&("create", view, admission)), *serial),
        DiscoveryCall::Update { view, expected, votes, serial } => {
            let voters: Vec<(PeerId, Seq)> = votes.iter().map(|vote| (vote.voter, vote.epoch.0)).collect();
            (print_of(&("update", view, expected, voters)), *serial)
        }
        DiscoveryCall::Renew { view, serial } => (print_of(&("renew", view)), *serial),
        DiscoveryCall::Close { view, serial } => (print_of(&("close", view)), *serial),
        DiscoveryCall::Lookup => (1, 0),
    }
}

/// The print of an answer without the serial in it, and the serial.
pub(crate) fn print_of_answer(result: &Result<Response, CallError>) -> (u64, u64) {
    match result {
        Ok(Response::Discovery(DiscoveryAnswer::Refused(why, record, serial))) => (print_of(&(why, record)), *serial),
        other => (print_of(other), 0),
    }
}
