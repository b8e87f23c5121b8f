//! Alice founds the network "lab"; bob, carol and dave are around.

use std::time::Duration;

use p2p_chat_model::{
    ActiveMember, Entry, EntryHash, Epoch, Genesis, Header, Identity, NetworkId, NodeId, Registration, RosterOp, Run,
    VectorClock, View, Vote,
};

use crate::registry::{Answer, Answers, Change, Founding, Probe, Registry, Terms, Verdict};

pub(crate) const fn at(seconds: u64) -> Duration {
    Duration::from_secs(1_000_000_000 + seconds)
}

/// One of the cast: alice 1, bob 2, carol 3, dave 4.
pub(crate) fn person(number: u8) -> Identity {
    Identity::from_seed([number; 32])
}

pub(crate) fn found(creator: u8, name: &str) -> (NetworkId, Run) {
    let genesis = Genesis { salt: [creator; 32], name: name.parse().unwrap(), creator: "alice".parse().unwrap() };
    Run::found(&person(creator), &genesis, 0)
}

pub(crate) fn lab() -> NetworkId {
    found(1, "lab").0
}

pub(crate) fn member(node: u64, who: u8) -> ActiveMember {
    let address = format!("10.0.0.{who}:7500").parse().unwrap();
    ActiveMember { node: NodeId(node), peer: person(who).peer(), address, join_request: 0 }
}

/// The view of an epoch with these people, whose node ids are their numbers; the first named leads.
pub(crate) fn view(epoch: u64, version: u64, active: &[u8]) -> View {
    let mut sorted = active.to_vec();
    sorted.sort_unstable();
    let next_id = NodeId(u64::from(*sorted.last().unwrap()) + 1);
    let leader = NodeId(u64::from(active[0]));
    let active = sorted.iter().map(|who| member(u64::from(*who), *who)).collect();
    View { epoch: Epoch(epoch), version, leader, next_id, active }
}

pub(crate) fn claim(serial: u64, view: View) -> Registration {
    Registration { network: lab(), expected_epoch: view.epoch, view, serial }
}

pub(crate) fn update(expected: u64, view: View) -> Registration {
    Registration { network: lab(), expected_epoch: Epoch(expected), view, serial: 1 }
}

pub(crate) fn founding(claim: &Registration) -> Founding {
    Founding::prove(&found(1, "lab").1, &[], claim).unwrap()
}

/// The run in which `by` admits `whom` to "lab".
pub(crate) fn admission(by: u8, whom: u8) -> Run {
    let op = RosterOp::Admit { peer: person(whom).peer(), name: "someone".parse().unwrap(), past: 0 };
    let header = Header { lamport: 9, wall_ms: 0, clock: VectorClock::new(), kind: op.kind() };
    Run::sign(&person(by), lab(), 2, EntryHash::new([1; 32]), vec![Entry { header, body: op.encode().into() }])
}

pub(crate) fn votes(epoch: u64, candidate: u8, voters: &[u8]) -> Vec<Vote> {
    voters.iter().map(|who| Vote::cast(&person(*who), lab(), Epoch(epoch), person(candidate).peer())).collect()
}

pub(crate) fn probe(who: u8) -> Probe {
    Probe::of(lab(), &member(u64::from(who), who))
}

pub(crate) fn reached(leads_epoch: u64) -> Answer {
    Answer::Reached { leads_epoch: Epoch(leads_epoch) }
}

pub(crate) fn answers(all: &[(u8, Answer)]) -> Answers {
    all.iter().map(|(who, answer)| (probe(*who), *answer)).collect()
}

/// What a decision accepted.
pub(crate) fn accepted(verdict: Result<Verdict, crate::registry::Refusal>) -> Vec<Change> {
    match verdict {
        Ok(Verdict::Accept(changes)) => changes,
        other => panic!("not accepted: {other:?}"),
    }
}

pub(crate) fn apply(registry: &mut Registry, now: Duration, changes: Vec<Change>) {
    for change in changes {
        registry.apply(now, change);
    }
}

/// "lab" on record since [`at`] 0 with these active, in that epoch, version 10, serial 10; the first leads.
pub(crate) fn registered(epoch: u64, active: &[u8]) -> Registry {
    let mut registry = Registry::new(Terms::default());
    register(&mut registry, epoch, active);
    registry
}

pub(crate) fn register(registry: &mut Registry, epoch: u64, active: &[u8]) {
    let name = "lab".parse().unwrap();
    let record = crate::registry::Record::new(lab(), name, view(epoch, 10, active), 10, at(0)).unwrap();
    registry.apply(at(0), Change::Put(record));
}
