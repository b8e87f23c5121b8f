//! Several discovery services that know nothing of each other.

use p2p_chat_engine::Done;

use crate::{net::nds, world::World};

use super::{ALICE, BOB, CAROL, DAVE, Story};

#[test]
fn network_whose_name_is_taken_at_one_service_is_listed_there_once_it_is_free() {
    let mut story = Story(World::new(7, 1, true).with_services(2));
    // The one that knows the name can't say so in time.
    story.0.net.cut(&[(ALICE, nds(1))]);
    let created = story.0.create(ALICE);
    assert_eq!(story.until_done(created), Ok(Done::Created));
    story.0.nds_take_name(1);
    story.0.net.mend(&[(ALICE, nds(1))]);
    story.pass(10_000);
    assert!(story.is_listed_at(0, ALICE) && !story.is_listed_at(1, ALICE));
    story.0.nds_free_name(1);
    story.until("both services list it", |story| story.is_listed_at(1, ALICE));
    story.end();
}

#[test]
fn founding_of_a_name_that_one_service_knows_is_undone_at_the_other() {
    let mut story = Story(World::new(7, 1, true).with_services(2));
    // The other one calls alice back before it accepts, and so it is the later one.
    story.0.net.latency_ms = 1;
    story.0.nds_take_name(0);
    let created = story.0.create(ALICE);
    assert!(story.until_done(created).is_err());
    assert!(!story.is_listed_at(0, ALICE) && !story.is_listed_at(1, ALICE));
}

#[test]
fn election_is_judged_by_the_service_that_knows_the_network() {
    let mut story = Story::lab_of(2, 2);
    story.0.nds_wipe(0);
    story.0.nds_take_name(0);
    story.0.crash(ALICE);
    story.until("bob leads by the other service", |story| story.follows(BOB, BOB) && story.is_listed_at(1, BOB));
    story.0.restart(ALICE);
    story.end();
}

#[test]
fn of_two_leaders_of_one_epoch_by_two_services_the_lower_id_is_followed() {
    let mut story = Story::lab_of(3, 2);
    let (left, right) = ([BOB, nds(0)], [CAROL, nds(1)]);
    story.0.net.split(&left, &right);
    story.0.crash(ALICE);
    story.until("each side has its leader", |story| story.is_listed_at(0, BOB) && story.is_listed_at(1, CAROL));
    story.until("both lead", |story| story.follows(BOB, BOB) && story.follows(CAROL, CAROL));
    assert_eq!((story.epoch(BOB), story.epoch(CAROL)), (2, 2));
    story.0.net.join(&left, &right);
    story.until("bob leads both", |story| story.follows(CAROL, BOB) && story.is_listed_at(1, BOB));
    story.0.restart(ALICE);
    story.end();
}

#[test]
fn join_is_led_by_the_first_service_that_lists_the_network() {
    let mut story = Story(World::new(7, 2, true).with_services(3));
    let created = story.0.create(ALICE);
    story.until_done(created).expect("the network is founded");
    story.until("all list it", |story| (0..3).all(|service| story.is_listed_at(service, ALICE)));
    story.0.nds_down(0);
    story.0.nds_wipe(1);
    let joined = story.0.join(BOB);
    assert!(matches!(story.until_done(joined), Ok(Done::Joined(_))));
    story.end();
}

#[test]
fn group_cut_in_two_between_services_comes_together() {
    let mut story = Story::lab_of(4, 2);
    let (left, right) = ([ALICE, BOB, nds(0)], [CAROL, DAVE, nds(1)]);
    story.0.net.split(&left, &right);
    story.until("the right has a leader", |story| story.follows(DAVE, CAROL) && story.is_listed_at(1, CAROL));
    assert!(story.follows(BOB, ALICE) && story.is_listed_at(0, ALICE), "the left has kept its own");
    story.0.net.join(&left, &right);
    story.until("carol leads all", |story| (ALICE..=DAVE).all(|who| story.follows(who, CAROL)));
    story.until("both services know", |story| (0..2).all(|service| story.is_listed_at(service, CAROL)));
    story.end();
}

#[test]
fn leader_on_record_at_one_service_is_waited_for_until_it_consents_to_another() {
    let mut story = Story::lab_of(3, 2);
    // Carol's vote is always the last one.
    story.0.nodes[CAROL].sync_ms = 300;
    let (left, right) = ([ALICE, BOB, nds(0)], [CAROL, nds(1)]);
    story.0.net.split(&left, &right);
    story.0.crash(ALICE);
    story.until("each side has its leader", |story| story.is_listed_at(0, BOB) && story.is_listed_at(1, CAROL));
    story.0.restart(ALICE);
    story.until("alice is back", |story| story.follows(ALICE, BOB));
    story.0.net.join(&left, &right);
    story.until("bob leads all", |story| story.follows(CAROL, BOB) && story.is_listed_at(1, BOB));
    story.end();
}
