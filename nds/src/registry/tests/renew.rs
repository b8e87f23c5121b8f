use p2p_chat_model::{Epoch, NodeId, Registration};

use crate::{
    registry::{Answer, Answers, Change, Probe, Record, Refusal, Registry, Terms, Verdict},
    testing::{at, claim, lab, person, register, registered, view},
};

fn decide(registry: &Registry, claim: &Registration) -> Result<Verdict, Refusal> {
    registry.decide_renew(at(20), claim, &Answers::new())
}

#[test]
fn a_renewal_keeps_the_lease_and_brings_the_newest_view() {
    let registry = registered(3, &[1, 2]);
    let touched = Change::Touch { network: lab(), serial: 11, heard: at(20) };
    assert_eq!(decide(&registry, &claim(11, view(3, 10, &[1, 2]))), Ok(Verdict::Accept(vec![touched])));
    let grown = Record::new(lab(), "lab".parse().unwrap(), view(3, 11, &[1, 2, 3]), 12, at(20)).unwrap();
    assert_eq!(decide(&registry, &claim(12, view(3, 11, &[1, 2, 3]))), Ok(Verdict::Accept(vec![Change::Put(grown)])));
}

#[test]
fn a_replayed_or_older_statement_is_refused() {
    let registry = registered(3, &[1, 2]);
    let outdated = Err(Refusal::Outdated { serial: 10, version: 10 });
    assert_eq!(decide(&registry, &claim(10, view(3, 11, &[1, 2]))), outdated, "the serial was used");
    assert_eq!(decide(&registry, &claim(9, view(3, 11, &[1, 2]))), outdated);
    assert_eq!(decide(&registry, &claim(11, view(3, 9, &[1, 2]))), outdated, "the view is older");
    let mut reused = view(3, 11, &[1]);
    reused.next_id = NodeId(2);
    assert_eq!(decide(&registry, &claim(11, reused)), outdated, "node ids are never given again");
}

#[test]
fn only_the_leader_on_record_renews() {
    let registry = registered(3, &[1, 2]);
    let not_leader = Err(Refusal::NotLeader { leader: person(1).peer(), epoch: Epoch(3) });
    for view in [view(3, 11, &[2, 1]), view(2, 11, &[1, 2]), view(4, 11, &[1, 2]), view(3, 11, &[3])] {
        assert_eq!(decide(&registry, &claim(11, view)), not_leader);
    }
    let unequal = Registration { expected_epoch: Epoch(2), ..claim(11, view(3, 10, &[1, 2])) };
    assert_eq!(decide(&registry, &unequal), Err(Refusal::ExpectedEpoch { expected: Epoch(2), epoch: Epoch(3) }));
    let empty = Registry::new(Terms::default());
    assert_eq!(decide(&empty, &claim(11, view(3, 10, &[1, 2]))), Err(Refusal::Unknown(lab())));
}

#[test]
fn a_new_address_of_the_leader_is_called_back() {
    let registry = registered(3, &[1, 2]);
    let mut moved = view(3, 11, &[1, 2]);
    moved.active[0].address = "10.0.9.9:7500".parse().unwrap();
    let there = Probe::of(lab(), &moved.active[0]);
    let claim = claim(11, moved.clone());
    assert_eq!(decide(&registry, &claim), Ok(Verdict::AskFirst(vec![there.clone()])));
    let silent = Answers::from([(there.clone(), Answer::Unreachable)]);
    let refused = Refusal::Unreachable { address: there.address.clone(), peer: there.peer };
    assert_eq!(registry.decide_renew(at(20), &claim, &silent), Err(refused));
    let record = Record::new(lab(), "lab".parse().unwrap(), moved, 11, at(20)).unwrap();
    let reached = Answers::from([(there, Answer::Reached { leads_epoch: Epoch(3) })]);
    assert_eq!(registry.decide_renew(at(20), &claim, &reached), Ok(Verdict::Accept(vec![Change::Put(record)])));
}

#[test]
fn a_full_registry_lets_its_networks_shrink_and_go_on() {
    let mut registry = Registry::new(Terms { max_members: 2, ..Terms::default() });
    register(&mut registry, 3, &[1, 2, 3]);
    let touched = Change::Touch { network: lab(), serial: 11, heard: at(20) };
    let grown = claim(11, view(3, 11, &[1, 2, 3, 4]));
    assert_eq!(decide(&registry, &grown), Ok(Verdict::Accept(vec![touched])), "the leader is alive all the same");
    for active in [&[1, 2, 4][..], &[1, 4]] {
        assert!(matches!(decide(&registry, &claim(11, view(3, 11, active))), Ok(Verdict::Accept(_))));
    }
}
