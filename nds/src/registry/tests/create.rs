use p2p_chat_model::{
    Entry, EntryHash, EntryKind, Epoch, Header, Registration, Run, VectorClock, limits::MAX_EPOCH_JUMP,
};

use crate::{
    registry::{Answer, Answers, Change, Founding, Probe, Record, Refusal, Registry, Terms, Tombstone, Verdict, site},
    testing::{
        admission, answers, apply, at, claim, found, founding, lab, member, person, probe, reached, registered, view,
    },
};

fn empty() -> Registry {
    Registry::new(Terms::default())
}

fn tombstone(epoch: u64, leader: u8, serial: u64) -> Change {
    let leader = person(leader).peer();
    Change::Remove(Tombstone { network: lab(), epoch: Epoch(epoch), leader, serial, since: at(0) })
}

#[test]
fn a_network_is_registered_once_its_leader_answered() {
    let mut registry = empty();
    let first = claim(1, view(1, 1, &[1]));
    let founding = founding(&first);
    let asked = registry.decide_create(at(5), &first, &founding, &Answers::new());
    assert_eq!(asked, Ok(Verdict::AskFirst(vec![probe(1)])));

    let silent = registry.decide_create(at(5), &first, &founding, &answers(&[(1, Answer::Unreachable)]));
    let (address, peer) = (probe(1).address, probe(1).peer);
    assert_eq!(silent, Err(Refusal::Unreachable { address, peer }));

    let verdict = registry.decide_create(at(5), &first, &founding, &answers(&[(1, reached(0))])).unwrap();
    let record = Record::new(lab(), "lab".parse().unwrap(), view(1, 1, &[1]), 1, at(5)).unwrap();
    assert_eq!(verdict, Verdict::Accept(vec![Change::Put(record.clone())]));
    registry.apply(at(5), Change::Put(record.clone()));
    assert_eq!(registry.named(&"lab".parse().unwrap()), Some(&record));
}

#[test]
fn a_retry_stands_and_a_newer_statement_refreshes() {
    let registry = registered(1, &[1, 2]);
    let decide =
        |claim: &Registration| registry.decide_create(at(40), claim, &founding(claim), &answers(&[(1, reached(1))]));
    assert_eq!(decide(&claim(10, view(1, 10, &[1, 2]))), Ok(Verdict::Standing));
    assert_eq!(decide(&claim(11, view(1, 9, &[1]))), Ok(Verdict::Standing), "an older view changes nothing");
    let newer = Record::new(lab(), "lab".parse().unwrap(), view(1, 11, &[1, 2]), 11, at(40)).unwrap();
    assert_eq!(decide(&claim(11, view(1, 11, &[1, 2]))), Ok(Verdict::Accept(vec![Change::Put(newer)])));
}

#[test]
fn another_leader_or_epoch_has_to_use_update_leader() {
    let registry = registered(3, &[1, 2]);
    let registered = Refusal::Registered { name: "lab".parse().unwrap(), epoch: Epoch(3), leader: person(1).peer() };
    for view in [view(2, 11, &[1, 2]), view(3, 11, &[2, 1])] {
        let claim = claim(11, view);
        let founding = Founding::prove(&found(1, "lab").1, &[admission(1, 2)], &claim);
        let founding = founding.or_else(|_| Founding::prove(&found(1, "lab").1, &[], &claim)).unwrap();
        assert_eq!(registry.decide_create(at(1), &claim, &founding, &Answers::new()), Err(registered.clone()));
    }
}

#[test]
fn a_name_belongs_to_one_network() {
    let registry = registered(1, &[1]);
    let (network, genesis) = found(2, "lab");
    let other = Registration { network, ..claim(1, view(1, 1, &[2])) };
    let founding = Founding::prove(&genesis, &[], &other).unwrap();
    let taken = Refusal::NameTaken { name: "lab".parse().unwrap(), holder: lab() };
    assert_eq!(registry.decide_create(at(99), &other, &founding, &Answers::new()), Err(taken));
}

#[test]
fn the_founding_has_to_be_proved() {
    let (_, genesis) = found(1, "lab");
    let prove = |genesis: &Run, admissions: &[Run], view| {
        Founding::prove(genesis, admissions, &claim(1, view)).map(|founding| founding.leader())
    };
    let refused = |reason| Err(Refusal::Genesis { network: lab(), reason });
    let (alice, bob, carol) = (person(1).peer(), person(2).peer(), person(3).peer());
    assert_eq!(prove(&genesis, &[], view(1, 1, &[1])), Ok(alice));
    assert_eq!(prove(&found(2, "lab").1, &[], view(1, 1, &[1])), refused("it is of another network"));

    let header = Header { lamport: 2, wall_ms: 0, clock: VectorClock::new(), kind: EntryKind::Text };
    let text = Entry { header, body: b"hi".to_vec().into() };
    let founder = genesis.entries[0].1.clone();
    let two = Run::sign(&person(1), lab(), 1, EntryHash::NONE, vec![founder, text.clone()]);
    assert_eq!(prove(&two, &[], view(1, 1, &[1])), refused("it does not hold exactly one entry"));
    let other = Run::sign(&person(1), lab(), 1, EntryHash::NONE, vec![text]);
    assert_eq!(prove(&other, &[], view(1, 1, &[1])), refused("its entry is not a genesis entry"));

    let not_creator = Refusal::NotCreator { network: lab(), signer: bob };
    assert_eq!(prove(&genesis, &[admission(1, 2)], view(1, 1, &[2])), Err(not_creator));
    let not_admitted = Refusal::NotAdmitted { network: lab(), signer: bob };
    assert_eq!(prove(&genesis, &[], view(2, 1, &[2])), Err(not_admitted));
    assert_eq!(prove(&genesis, &[admission(2, 3), admission(1, 2)], view(7, 9, &[3])), Ok(carol));
}

#[test]
fn a_record_that_nobody_leads_any_more_is_taken_by_a_later_reign_of_a_member() {
    let registry = registered(3, &[1, 2]);
    let claim = claim(1, view(4, 11, &[5]));
    let founding = Founding::prove(&found(1, "lab").1, &[admission(1, 5)], &claim).unwrap();
    let decide = |now, answers: &Answers| registry.decide_create(at(now), &claim, &founding, answers);
    assert_eq!(decide(1, &Answers::new()), Ok(Verdict::AskFirst(vec![probe(1), probe(5)])));

    let refused = Refusal::Registered { name: "lab".parse().unwrap(), epoch: Epoch(3), leader: person(1).peer() };
    let leads = answers(&[(1, reached(3)), (5, reached(4))]);
    assert_eq!(decide(99, &leads), Err(refused.clone()), "the leader on record leads");
    let silent = answers(&[(1, Answer::Unreachable), (5, reached(4))]);
    assert_eq!(decide(29, &silent), Err(refused), "its lease has not run out");

    let record = Record::new(lab(), "lab".parse().unwrap(), view(4, 11, &[5]), 1, at(99)).unwrap();
    assert_eq!(decide(99, &silent), Ok(Verdict::Accept(vec![Change::Put(record)])));
    let record = Record::new(lab(), "lab".parse().unwrap(), view(4, 11, &[5]), 1, at(1)).unwrap();
    let deposed = answers(&[(1, reached(0)), (5, reached(4))]);
    assert_eq!(
        decide(1, &deposed),
        Ok(Verdict::Accept(vec![Change::Put(record)])),
        "it says itself that it does not lead"
    );
}

#[test]
fn a_leader_is_not_replaced_for_a_silence_while_the_service_was_down() {
    let registry = registered(3, &[1, 2]).listening_since(at(1_000));
    let claim = claim(1, view(4, 11, &[5]));
    let founding = Founding::prove(&found(1, "lab").1, &[admission(1, 5)], &claim).unwrap();
    let silent = answers(&[(1, Answer::Unreachable), (5, reached(4))]);
    let decide = |now| registry.decide_create(at(now), &claim, &founding, &silent);
    let refused = Refusal::Registered { name: "lab".parse().unwrap(), epoch: Epoch(3), leader: person(1).peer() };
    assert_eq!(decide(1_029), Err(refused), "there was nobody to hear it");
    assert!(matches!(decide(1_030), Ok(Verdict::Accept(_))));
}

#[test]
fn a_proof_serves_only_the_statement_that_it_was_made_for() {
    let by_alice = claim(1, view(2, 1, &[1]));
    let by_bob = claim(1, view(2, 1, &[2]));
    let verdict = empty().decide_create(at(0), &by_bob, &founding(&by_alice), &Answers::new());
    assert!(matches!(verdict, Err(Refusal::Genesis { .. })), "{verdict:?}");
    let unequal = Registration { expected_epoch: Epoch(1), ..by_alice.clone() };
    let verdict = empty().decide_create(at(0), &unequal, &founding(&by_alice), &Answers::new());
    assert_eq!(verdict, Err(Refusal::ExpectedEpoch { expected: Epoch(1), epoch: Epoch(2) }));
}

#[test]
fn an_epoch_never_goes_down_after_close_and_create() {
    let mut registry = empty();
    registry.apply(at(0), tombstone(5, 1, 20));
    let decide = |registry: &Registry, claim: &Registration| {
        registry.decide_create(at(1), claim, &founding(claim), &answers(&[(1, reached(5))]))
    };
    let gone = Refusal::Gone { network: lab(), epoch: Epoch(5), serial: 20 };
    assert_eq!(decide(&registry, &claim(99, view(4, 1, &[1]))), Err(gone.clone()));
    assert_eq!(decide(&registry, &claim(20, view(5, 1, &[1]))), Err(gone), "a replay brings nothing back");
    let again = claim(21, view(5, 1, &[1]));
    let changes = match decide(&registry, &again) {
        Ok(Verdict::Accept(changes)) => changes,
        other => panic!("{other:?}"),
    };
    apply(&mut registry, at(1), changes);
    assert_eq!(registry.record(&lab()).map(Record::epoch), Some(Epoch(5)));
    assert_eq!(registry.tombstone(&lab()), None);
}

#[test]
fn another_leader_needs_a_higher_epoch_than_the_closed_one() {
    let mut registry = empty();
    registry.apply(at(0), tombstone(5, 2, 20));
    let same = claim(99, view(5, 1, &[1]));
    let gone = Refusal::Gone { network: lab(), epoch: Epoch(5), serial: 20 };
    assert_eq!(registry.decide_create(at(1), &same, &founding(&same), &Answers::new()), Err(gone));
    let higher = claim(1, view(6, 1, &[1]));
    let asked = registry.decide_create(at(1), &higher, &founding(&higher), &Answers::new());
    assert_eq!(asked, Ok(Verdict::AskFirst(vec![probe(1)])));
}

#[test]
fn nobody_uses_the_epochs_up() {
    let decide = |epoch| {
        let claim = claim(1, view(epoch, 1, &[1]));
        empty().decide_create(at(0), &claim, &founding(&claim), &Answers::new())
    };
    let (epoch, most) = (Epoch(MAX_EPOCH_JUMP + 1), Epoch(MAX_EPOCH_JUMP));
    assert_eq!(decide(epoch.0), Err(Refusal::EpochTooHigh { network: lab(), epoch, most }));
    assert_eq!(decide(most.0), Ok(Verdict::AskFirst(vec![probe(1)])));
}

#[test]
fn a_full_registry_takes_no_more() {
    let claim = claim(1, view(1, 1, &[1, 2]));
    let decide = |terms| Registry::new(terms).decide_create(at(0), &claim, &founding(&claim), &Answers::new());
    let none = Terms { max_networks: 0, ..Terms::default() };
    assert_eq!(decide(none), Err(Refusal::Full("networks")));
    let one = Terms { max_members: 1, ..Terms::default() };
    assert_eq!(decide(one), Err(Refusal::Full("active members")));
    let two = Terms { max_networks: 1, max_members: 2, ..Terms::default() };
    assert_eq!(decide(two), Ok(Verdict::AskFirst(vec![probe(1)])));
}

/// Networks of their own that bob leads, at one address.
fn filled_by_bob(terms: Terms, networks: std::ops::Range<u8>, active: &[u8]) -> Registry {
    let mut registry = Registry::new(terms);
    for number in networks {
        let (network, _) = found(number, "many");
        let name = format!("n{number}").parse().unwrap();
        registry.apply(at(0), Change::Put(Record::new(network, name, view(1, 1, active), 1, at(0)).unwrap()));
    }
    registry
}

#[test]
fn one_host_fills_half_of_a_registry_and_the_rest_is_there_for_others() {
    let by_alice = claim(1, view(1, 1, &[1, 2]));
    let (bobs, genesis) = found(2, "one more");
    let by_bob = Registration { network: bobs, ..claim(1, view(1, 1, &[2])) };
    let founding_of_bob = Founding::prove(&genesis, &[], &by_bob).unwrap();
    let asked = |who: u8| {
        let network = if who == 1 { lab() } else { bobs };
        Ok(Verdict::AskFirst(vec![Probe::of(network, &member(who.into(), who))]))
    };

    let terms = Terms { max_networks: 8, ..Terms::default() };
    let (three, four) = (filled_by_bob(terms, 10..13, &[2]), filled_by_bob(terms, 10..14, &[2]));
    let decide = |registry: &Registry| registry.decide_create(at(1), &by_bob, &founding_of_bob, &Answers::new());
    assert_eq!((decide(&three), decide(&four)), (asked(2), Err(Refusal::Full("networks of this host"))));
    assert_eq!(four.decide_create(at(1), &by_alice, &founding(&by_alice), &Answers::new()), asked(1));

    let terms = Terms { max_members: 16, ..Terms::default() };
    let half = filled_by_bob(terms, 10..12, &[2, 3, 4, 5]);
    assert_eq!(decide(&half), Err(Refusal::Full("active members of this host")));
    assert_eq!(half.decide_create(at(1), &by_alice, &founding(&by_alice), &Answers::new()), asked(1));
    let grown = Registration { network: found(10, "many").0, ..claim(2, view(1, 2, &[2, 3, 4, 5, 6])) };
    let touched = Change::Touch { network: grown.network, serial: 2, heard: at(1) };
    assert_eq!(half.decide_renew(at(1), &grown, &Answers::new()), Ok(Verdict::Accept(vec![touched])));

    let mut emptied = half;
    for number in 10..12 {
        let network = found(number, "many").0;
        let gone = Tombstone { network, epoch: Epoch(1), leader: person(2).peer(), serial: 2, since: at(1) };
        emptied.apply(at(1), Change::Remove(gone));
    }
    assert_eq!(decide(&emptied), asked(2), "what is freed is there for anybody");
    assert!(emptied.shares.is_empty());
}

#[test]
fn a_host_is_one_whatever_it_is_called() {
    let same = |one: &str, other: &str| site(&one.parse().unwrap()) == site(&other.parse().unwrap());
    assert!(same("10.0.0.1:1", "10.0.0.1:2") && !same("10.0.0.1:1", "10.0.0.2:1"));
    assert!(same("[2001:db8::1]:1", "[2001:db8::2]:1") && !same("[2001:db8::1]:1", "[2001:db9::1]:1"));
    assert!(same("a.mallory.example:1", "b.a.Mallory.example:1") && !same("alice:1", "bob:1"));
    assert!(same("0x7f.1:1", "127.1:1"), "spellings that only resolvers know");
}
