use p2p_chat_model::{Epoch, Registration, Vote, limits::MAX_EPOCH_JUMP};

use crate::{
    registry::{Answer, Answers, Change, Record, Refusal, Registry, Verdict},
    testing::{accepted, answers, apply, at, lab, person, probe, reached, registered, update, view, votes},
};

fn decide(
    registry: &Registry,
    claim: &Registration,
    votes: &[Vote],
    asked: &[(u8, Answer)],
) -> Result<Verdict, Refusal> {
    registry.decide_update(at(50), claim, votes, &answers(asked))
}

fn taken_over(view: p2p_chat_model::View) -> Result<Verdict, Refusal> {
    let record = Record::new(lab(), "lab".parse().unwrap(), view, 1, at(50)).unwrap();
    Ok(Verdict::Accept(vec![Change::Put(record)]))
}

fn leader_alive() -> Result<Verdict, Refusal> {
    Err(Refusal::LeaderAlive { leader: probe(1).peer, address: probe(1).address })
}

#[test]
fn the_leader_on_record_is_pinged_before_a_lone_candidate_is_believed() {
    let registry = registered(3, &[1, 2, 3, 4, 5]);
    let next = view(4, 11, &[2, 3, 4, 5]);
    let claim = update(3, next.clone());
    assert_eq!(decide(&registry, &claim, &[], &[]), Ok(Verdict::AskFirst(vec![probe(1), probe(2)])));
    assert_eq!(decide(&registry, &claim, &[], &[(1, Answer::Unreachable)]), Ok(Verdict::AskFirst(vec![probe(2)])));

    assert_eq!(decide(&registry, &claim, &[], &[(1, reached(3)), (2, reached(0))]), leader_alive());
    assert_eq!(decide(&registry, &claim, &[], &[(1, reached(9)), (2, reached(0))]), leader_alive());
    let unreachable = Err(Refusal::Unreachable { address: probe(2).address, peer: probe(2).peer });
    let silent = [(1, Answer::Unreachable), (2, Answer::Unreachable)];
    assert_eq!(decide(&registry, &claim, &[], &silent), unreachable);

    assert_eq!(decide(&registry, &claim, &[], &[(1, Answer::Unreachable), (2, reached(0))]), taken_over(next.clone()));
    let deposed = [(1, reached(2)), (2, reached(0))];
    assert_eq!(decide(&registry, &claim, &[], &deposed), taken_over(next), "it lives, but does not lead any more");
}

#[test]
fn a_majority_of_the_view_on_record_overrules_a_leader_that_answers() {
    let registry = registered(3, &[1, 2, 3, 4, 5]);
    let next = view(4, 11, &[2, 3, 4, 5]);
    let claim = update(3, next.clone());
    let majority = votes(4, 2, &[2, 3, 4]);
    assert_eq!(decide(&registry, &claim, &majority, &[]), Ok(Verdict::AskFirst(vec![probe(2)])), "no need to ask it");
    assert_eq!(decide(&registry, &claim, &majority, &[(1, reached(3)), (2, reached(0))]), taken_over(next));
}

#[test]
fn votes_that_are_stale_doubled_or_from_outside_do_not_count() {
    let registry = registered(3, &[1, 2, 3, 4, 5]);
    let claim = update(3, view(4, 11, &[2, 3, 4, 5]));
    let alive = [(1, reached(3)), (2, reached(0))];
    let two = votes(4, 2, &[2, 3]);
    let other_network = Vote::cast(&person(4), p2p_chat_model::NetworkId::new([9; 32]), Epoch(4), person(2).peer());
    let useless = [
        votes(3, 2, &[4]),
        votes(5, 2, &[4]),
        votes(4, 3, &[4]),
        votes(4, 2, &[3, 2]),
        votes(4, 2, &[6, 7, 8]),
        vec![other_network],
    ];
    for more in useless {
        let all = [two.clone(), more].concat();
        assert_eq!(decide(&registry, &claim, &all, &alive), leader_alive(), "{all:?}");
    }
    let three = [two, votes(4, 2, &[5])].concat();
    assert!(decide(&registry, &claim, &three, &alive).is_ok());
}

#[test]
fn half_is_no_majority() {
    let registry = registered(3, &[1, 2, 3, 4]);
    let claim = update(3, view(4, 11, &[2, 3, 4]));
    let alive = [(1, reached(3)), (2, reached(0))];
    assert_eq!(decide(&registry, &claim, &votes(4, 2, &[2, 3]), &alive), leader_alive());
    assert!(decide(&registry, &claim, &votes(4, 2, &[2, 3, 4]), &alive).is_ok());
}

#[test]
fn the_leader_on_record_may_hand_over() {
    let registry = registered(3, &[1, 2, 3, 4, 5]);
    let next = view(4, 11, &[2, 3, 4, 5]);
    let consent = votes(4, 2, &[1]);
    let alive = [(1, reached(3)), (2, reached(0))];
    assert_eq!(decide(&registry, &update(3, next.clone()), &consent, &alive), taken_over(next));
    let other = update(3, view(4, 11, &[3, 2, 4, 5]));
    let alive = [(1, reached(3)), (3, reached(0))];
    assert_eq!(decide(&registry, &other, &consent, &alive), leader_alive(), "consent is for one candidate");
}

#[test]
fn the_leader_on_record_needs_nobody_to_begin_a_new_reign() {
    let registry = registered(3, &[1, 2, 3]);
    let next = view(5, 11, &[1, 2, 3]);
    assert_eq!(decide(&registry, &update(3, next.clone()), &[], &[(1, reached(3))]), taken_over(next));
}

#[test]
fn a_candidate_that_is_not_on_record_needs_votes_of_those_who_are() {
    let registry = registered(3, &[1, 2, 3]);
    let next = view(4, 11, &[4, 2, 3]);
    let claim = update(3, next.clone());
    let dead = [(1, Answer::Unreachable), (4, reached(0))];
    let stranger = Err(Refusal::NotActive(person(4).peer()));
    assert_eq!(decide(&registry, &claim, &[], &dead), stranger);
    assert_eq!(decide(&registry, &claim, &votes(4, 4, &[4, 2]), &dead), stranger);
    assert_eq!(decide(&registry, &claim, &votes(4, 4, &[2, 3]), &dead), taken_over(next.clone()));
    assert_eq!(decide(&registry, &claim, &votes(4, 4, &[1]), &dead), taken_over(next));
}

#[test]
fn the_epoch_is_compared_and_set() {
    let registry = registered(3, &[1, 2, 3]);
    let majority = votes(4, 2, &[2, 3]);
    let refused =
        |expected, epoch| Err(Refusal::Epoch { on_record: Epoch(3), epoch: Epoch(epoch), expected: Epoch(expected) });
    let too_high = 3 + MAX_EPOCH_JUMP + 1;
    for (expected, epoch) in [(2, 4), (4, 5), (3, 3), (3, 2), (3, too_high), (3, u64::MAX)] {
        let claim = update(expected, view(epoch, 11, &[2, 3]));
        assert_eq!(decide(&registry, &claim, &majority, &[]), refused(expected, epoch));
    }
    let highest = update(3, view(too_high - 1, 11, &[2, 3]));
    assert!(decide(&registry, &highest, &[], &[]).is_ok());
    let unknown = Registry::new(*registry.terms());
    assert_eq!(decide(&unknown, &highest, &[], &[]), Err(Refusal::Unknown(lab())));
}

#[test]
fn of_two_candidates_asked_about_at_the_same_time_one_wins() {
    let mut registry = registered(3, &[1, 2, 3]);
    let (bob, carol) = (update(3, view(4, 11, &[2, 3])), update(3, view(4, 11, &[3, 2])));
    let dead = answers(&[(1, Answer::Unreachable), (2, reached(0)), (3, reached(0))]);
    let ask_bob = registry.decide_update(at(50), &bob, &[], &Answers::new());
    let ask_carol = registry.decide_update(at(50), &carol, &[], &Answers::new());
    assert!(matches!((ask_bob, ask_carol), (Ok(Verdict::AskFirst(_)), Ok(Verdict::AskFirst(_)))));

    let changes = accepted(registry.decide_update(at(51), &bob, &[], &dead));
    apply(&mut registry, at(51), changes);
    let late = registry.decide_update(at(51), &carol, &[], &dead);
    assert_eq!(late, Err(Refusal::Epoch { on_record: Epoch(4), epoch: Epoch(4), expected: Epoch(3) }));
    assert_eq!(registry.record(&lab()).map(|record| record.leader().peer), Some(person(2).peer()));

    let retry = registry.decide_update(at(52), &bob, &[], &Answers::new());
    assert_eq!(retry, Ok(Verdict::Standing), "the winner may have lost the reply");
}

#[test]
fn an_answer_from_where_the_leader_no_longer_listens_proves_nothing() {
    let mut registry = registered(3, &[1, 2, 3]);
    let claim = update(3, view(4, 11, &[2, 3]));
    let mut moved = view(3, 12, &[1, 2, 3]);
    moved.active[0].address = "10.0.9.9:7500".parse().unwrap();
    let record = Record::new(lab(), "lab".parse().unwrap(), moved.clone(), 11, at(49)).unwrap();
    registry.apply(at(49), Change::Put(record));
    let asked = decide(&registry, &claim, &[], &[(1, Answer::Unreachable), (2, reached(0))]);
    let there = crate::registry::Probe::of(lab(), &moved.active[0]);
    assert_eq!(asked, Ok(Verdict::AskFirst(vec![there])));
}
