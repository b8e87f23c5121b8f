mod close;
mod create;
mod renew;
mod update;

use super::*;
use crate::testing::{at, found, lab, registered, view};

fn named(name: &str, creator: u8, heard: Duration) -> Record {
    let network = found(creator, name).0;
    Record::new(network, name.parse().unwrap(), view(1, 1, &[creator]), 1, heard).unwrap()
}

fn names<'a>(records: impl Iterator<Item = &'a Record>) -> Vec<&'a str> {
    records.map(|record| record.name().as_str()).collect()
}

#[test]
fn networks_are_listed_by_name_from_any_name_on() {
    let mut registry = Registry::new(Terms::default());
    for (name, creator) in [("c", 1), ("a", 2), ("b", 3)] {
        assert!(registry.apply(at(0), Change::Put(named(name, creator, at(0)))));
    }
    assert_eq!(names(registry.list(None)), ["a", "b", "c"]);
    assert_eq!(names(registry.list(Some(&"a".parse().unwrap()))), ["b", "c"]);
    assert_eq!(names(registry.list(Some(&"aa".parse().unwrap()))), ["b", "c"], "a name that is gone is no trouble");
    assert_eq!(names(registry.list(Some(&"c".parse().unwrap()))), [""; 0]);
}

#[test]
fn a_lease_runs_out_once() {
    let registry = registered(1, &[1]);
    let record = registry.record(&lab()).unwrap();
    assert!(!registry.is_stale(record, at(30) - Duration::from_millis(1)));
    assert!(registry.is_stale(record, at(30)));
    assert_eq!(registry.lapsed(at(0), at(29)), []);
    assert_eq!(registry.lapsed(at(29), at(30)), [lab()]);
    assert_eq!(registry.lapsed(at(30), at(31)), []);
    assert_eq!(registry.lapsed(Duration::ZERO, at(31)), [lab()]);
    assert_eq!(registry.lapsed(at(40), at(30)), [], "a clock that runs backwards harms nothing");
}

#[test]
fn nobody_is_silent_while_the_service_rests() {
    let registry = registered(1, &[1]).listening_since(at(1_000));
    let stale = |now| (registry.is_stale(registry.record(&lab()).unwrap(), now), registry.stale(now));
    assert_eq!(stale(at(1_029)), (false, 0));
    assert_eq!(stale(at(1_030)), (true, 1));
    assert_eq!(registry.lapsed(at(1_000), at(1_029)), []);
    assert_eq!(registry.lapsed(at(1_029), at(1_030)), [lab()]);
    assert_eq!(registry.lapsed(at(1_030), at(1_031)), []);
}

#[test]
fn only_what_is_listed_counts_as_a_visible_change() {
    let mut registry = registered(1, &[1, 2]);
    let touch = |serial, heard| Change::Touch { network: lab(), serial, heard };
    assert!(!registry.apply(at(10), touch(11, at(10))));
    assert!(registry.apply(at(50), touch(12, at(50))), "it was stale, and is fresh again");
    let same = Record::new(lab(), "lab".parse().unwrap(), view(1, 10, &[1, 2]), 13, at(51)).unwrap();
    assert!(!registry.apply(at(51), Change::Put(same.clone())));
    assert_eq!(registry.record(&lab()), Some(&same));
    let grown = Record::new(lab(), "lab".parse().unwrap(), view(1, 11, &[1, 2, 3]), 14, at(52)).unwrap();
    assert!(registry.apply(at(52), Change::Put(grown)));
}

#[test]
fn a_network_that_nobody_renews_is_purged_after_seven_days() {
    let mut registry = registered(4, &[2, 3]);
    let due = at(7 * 24 * 3600);
    assert_eq!(registry.upkeep(due - Duration::from_millis(1)), []);
    let leader = crate::testing::person(2).peer();
    let tombstone = Tombstone { network: lab(), epoch: p2p_chat_model::Epoch(4), leader, serial: 10, since: due };
    assert_eq!(registry.upkeep(due), [Change::Remove(tombstone.clone())]);
    assert!(registry.apply(due, Change::Remove(tombstone.clone())));
    assert_eq!(registry.tombstone(&lab()), Some(&tombstone));
    assert_eq!((registry.len(), registry.named(&"lab".parse().unwrap())), (0, None));
    assert_eq!(registry.upkeep(due), []);
}

#[test]
fn a_leader_that_outlived_a_long_rest_of_the_service_is_not_purged_before_it_can_renew() {
    let back = at(8 * 24 * 3600);
    let registry = registered(1, &[1]).listening_since(back);
    assert_eq!(registry.upkeep(back + Duration::from_secs(29)), []);
    assert_eq!(registry.upkeep(back + Duration::from_secs(30)).len(), 1);
}

/// Networks of one member each, "a" heard at 1 s, "b" at 2 s and so on.
fn filled(terms: Terms, networks: &[&str]) -> Registry {
    let mut registry = Registry::new(terms);
    for (name, number) in networks.iter().zip(1..) {
        registry.apply(at(number), Change::Put(named(name, number as u8, at(number))));
    }
    registry
}

#[test]
fn where_room_runs_out_the_networks_that_were_silent_for_longest_give_way() {
    let given_way = |registry: &Registry, now| {
        let gone = registry.upkeep(at(now)).into_iter().map(|change| change.network());
        gone.map(|network| registry.record(&network).unwrap().name().to_string()).collect::<Vec<_>>()
    };
    let networks = Terms { max_networks: 3, ..Terms::default() };
    let members = Terms { max_members: 3, ..Terms::default() };
    for terms in [networks, members] {
        let full = filled(terms, &["a", "b", "c", "d"]);
        assert_eq!(given_way(&full, 30), [""; 0], "whose lease runs gives way to nobody");
        assert_eq!(given_way(&full, 31), ["a"]);
        assert_eq!(given_way(&full, 99), ["a", "b"], "no more than there has to be");
        assert_eq!(given_way(&filled(terms, &["a", "b"]), 99), [""; 0], "there is room for one more");
    }
}

#[test]
fn room_is_made_before_there_is_none() {
    let terms = Terms { max_networks: 1_000, max_members: 5_000, ..Terms::default() };
    assert!(!terms.is_crowded(989, 4_949));
    assert!(terms.is_crowded(990, 0) && terms.is_crowded(0, 4_950));
}

#[test]
fn the_oldest_of_too_many_tombstones_goes() {
    let mut registry = Registry::new(Terms { max_tombstones: 2, ..Terms::default() });
    let bury = |creator: u8| bury(&named("x", creator, at(0)), 1, at(u64::from(creator)));
    for creator in [2, 1, 3] {
        registry.apply(at(9), Change::Remove(bury(creator)));
    }
    let due = at(7 * 24 * 3600);
    assert_eq!(registry.upkeep(due), [Change::Forget(bury(1).network)]);
    registry.apply(due, Change::Forget(bury(1).network));
    assert_eq!(registry.tombstone(&bury(1).network), None);
    assert_eq!(registry.upkeep(due), []);
}
