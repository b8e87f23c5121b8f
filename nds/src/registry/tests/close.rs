use p2p_chat_model::{Epoch, Registration};

use crate::{
    registry::{Change, Refusal, Registry, Terms, Tombstone, Verdict},
    testing::{accepted, apply, at, claim, found, lab, person, register, registered, view},
};

#[test]
fn the_last_active_leader_closes_and_leaves_a_tombstone() {
    let mut registry = registered(3, &[1, 2]);
    let alone = claim(11, view(3, 11, &[1]));
    let mut alone_after_two = alone.clone();
    alone_after_two.view.next_id = p2p_chat_model::NodeId(3);
    let leader = person(1).peer();
    let tombstone = Tombstone { network: lab(), epoch: Epoch(3), leader, serial: 11, since: at(9) };
    let changes = accepted(registry.decide_close(at(9), &alone_after_two));
    assert_eq!(changes, [Change::Remove(tombstone.clone())]);
    apply(&mut registry, at(9), changes);
    assert_eq!((registry.len(), registry.tombstone(&lab())), (0, Some(&tombstone)));
    assert_eq!(registry.named(&"lab".parse().unwrap()), None, "the name is free");
    assert_eq!(registry.decide_close(at(10), &alone_after_two), Ok(Verdict::Standing), "a retry is answered OK");
    assert_eq!(registry.lapsed(at(0), at(99)), []);
}

#[test]
fn nobody_else_closes_and_nobody_while_others_are_active() {
    let registry = registered(3, &[1, 2]);
    let others = Refusal::OthersActive { name: "lab".parse().unwrap(), others: 1 };
    assert_eq!(registry.decide_close(at(9), &claim(11, view(3, 11, &[1, 2]))), Err(others));
    let not_leader = Err(Refusal::NotLeader { leader: person(1).peer(), epoch: Epoch(3) });
    for view in [view(3, 11, &[2]), view(9, 11, &[2]), view(4, 11, &[1])] {
        assert_eq!(registry.decide_close(at(9), &claim(11, view)), not_leader);
    }
    let replayed = claim(10, view(3, 10, &[1]));
    assert_eq!(registry.decide_close(at(9), &replayed), Err(Refusal::Outdated { serial: 10, version: 10 }));
    let unknown = Registration { network: found(2, "lab").0, ..replayed };
    assert_eq!(registry.decide_close(at(9), &unknown), Ok(Verdict::Standing));
}

#[test]
fn tombstones_stay_within_their_cap() {
    let mut registry = Registry::new(Terms { max_tombstones: 1, ..Terms::default() });
    let oldest = found(2, "old").0;
    let tombstone = Tombstone { network: oldest, epoch: Epoch(1), leader: person(2).peer(), serial: 1, since: at(0) };
    registry.apply(at(0), Change::Remove(tombstone));
    register(&mut registry, 3, &[1]);
    let changes = accepted(registry.decide_close(at(9), &claim(11, view(3, 11, &[1]))));
    assert_eq!(changes.len(), 2);
    assert_eq!(changes[0], Change::Forget(oldest));
    apply(&mut registry, at(9), changes);
    assert_eq!((registry.tombstone(&oldest), registry.tombstones.len()), (None, 1));
}
