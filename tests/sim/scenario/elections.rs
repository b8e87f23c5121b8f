//! Who leads.

use crate::net::nds;

use super::{ALICE, BOB, CAROL, DAVE, ERIN, FRANK, Story};

#[test]
fn leader_crash_elects_the_lowest_id() {
    let mut story = Story::lab(5);
    story.0.crash(ALICE);
    let rest = [BOB, CAROL, DAVE, ERIN];
    story.until("bob leads", |story| rest.iter().all(|who| story.follows(*who, BOB)));
    story.until("the service knows", |story| story.is_listed(BOB));
    assert!(rest.iter().all(|who| story.epoch(*who) == 2 && story.sees(*who, &rest)));
    story.end();
}

#[test]
fn leader_that_returns_gets_a_new_id() {
    let mut story = Story::lab(3);
    story.0.crash(ALICE);
    story.until("bob leads", |story| story.follows(CAROL, BOB) && story.is_listed(BOB));
    let missed = story.say(CAROL);
    story.0.restart(ALICE);
    story.until("alice is back", |story| story.follows(ALICE, BOB) && story.sees(CAROL, &[ALICE, BOB, CAROL]));
    assert_eq!(story.id(ALICE).map(|id| id.0), Some(4));
    assert_eq!(story.epoch(CAROL), 2, "its return costs an election");
    story.until("alice has what she missed", |story| story.shows(ALICE, CAROL, missed));
    story.end();
}

#[test]
fn nobody_elects_while_the_leader_is_heard_of() {
    let mut story = Story::lab(6);
    for _ in 0..20 {
        story.say(FRANK);
        story.pass(3_000);
    }
    assert_eq!((story.count("ELECTION"), story.count("a node was leaderless")), (0, 0));
    story.end();
}

#[test]
fn two_member_network_elects_through_the_nds() {
    let mut story = Story::lab(2);
    story.0.crash(ALICE);
    story.until("bob leads", |story| story.follows(BOB, BOB) && story.is_listed(BOB));
    story.pass(1_000);
    assert!(story.count("COORDINATOR by the NDS") > 0);
    story.end();
}

#[test]
fn two_member_network_stays_leaderless_without_the_nds() {
    let mut story = Story::lab(2);
    story.0.nds_down(0);
    story.0.crash(ALICE);
    story.pass(30_000);
    assert_eq!(story.epoch(BOB), 1);
    let alone = story.say(BOB);
    story.0.restart(ALICE);
    story.until("the chat went on", |story| story.shows(ALICE, BOB, alone));
    story.end();
}

#[test]
fn nds_down_election_by_majority() {
    let mut story = Story::lab(5);
    story.0.nds_down(0);
    story.0.crash(ALICE);
    let rest = [BOB, CAROL, DAVE, ERIN];
    story.until("bob leads", |story| rest.iter().all(|who| story.follows(*who, BOB)));
    assert!(story.count("COORDINATOR by a majority") > 0);
    story.0.nds_up(0);
    story.until("the service catches up", |story| story.is_listed(BOB));
    story.end();
}

#[test]
fn nds_vetoes_while_it_reaches_the_leader() {
    let mut story = Story::lab(3);
    // Bob reaches the service, but neither alice nor carol, who could tell that she lives.
    story.0.net.split(&[BOB], &[ALICE, CAROL]);
    story.pass(20_000);
    assert!(story.count("the NDS vetoed an election") > 0);
    assert!(story.is_listed(ALICE) && story.follows(CAROL, ALICE));
    assert_eq!((story.epoch(BOB), story.epoch(ALICE)), (1, 1));
    story.end();
}

#[test]
fn partition_heals_to_one_leader() {
    let mut story = Story::lab(6);
    let (left, right) = ([ALICE, BOB], [CAROL, DAVE, ERIN, FRANK, nds(0)]);
    story.0.net.split(&left, &right);
    story.until("the right has a leader", |story| story.follows(FRANK, CAROL) && story.is_listed(CAROL));
    assert!(story.follows(BOB, ALICE), "the left has kept its own");
    let (one, two) = (story.say(BOB), story.say(FRANK));
    story.0.net.join(&left, &right);
    story.until("carol leads all", |story| (ALICE..=FRANK).all(|who| story.follows(who, CAROL)));
    story.until("both sides meet", |story| story.shows(FRANK, BOB, one) && story.shows(ALICE, FRANK, two));
    story.end();
}

#[test]
fn paused_leader_steps_down() {
    let mut story = Story::lab(4);
    story.0.pause(ALICE);
    story.until("bob leads", |story| story.follows(DAVE, BOB) && story.is_listed(BOB));
    story.0.go_on(ALICE);
    story.until("alice follows", |story| story.follows(ALICE, BOB) && story.epoch(ALICE) == 2);
    assert_eq!(story.epoch(DAVE), 2, "waking up costs an election");
    story.end();
}

#[test]
fn winner_that_crashes_before_it_takes_office_is_replaced_on_record() {
    let mut story = Story::lab(3);
    story.0.net.split(&[BOB, nds(0)], &[ALICE, CAROL]);
    story.until("bob is on record", |story| story.is_listed(BOB));
    story.0.crash(BOB);
    story.0.net.join(&[BOB, nds(0)], &[ALICE, CAROL]);
    // Nobody can tell whether bob leads until he says that he does not, or his lease runs out.
    story.pass(30_000);
    story.until("alice is on record again", |story| story.is_listed(ALICE) && story.follows(CAROL, ALICE));
    story.0.restart(BOB);
    story.until("bob follows", |story| story.follows(BOB, ALICE));
    story.end();
}

#[test]
fn restart_of_everyone() {
    let mut story = Story::lab(5);
    let all = [ALICE, BOB, CAROL, DAVE, ERIN];
    let last = story.say(ERIN);
    all.iter().for_each(|who| story.0.crash(*who));
    story.0.nds_down(0);
    story.pass(5_000);
    story.0.nds_up(0);
    all.iter().for_each(|who| story.0.restart(*who));
    story.until("all is as it was", |story| {
        all.iter().all(|who| story.follows(*who, ALICE) && story.shows(*who, ERIN, last))
    });
    story.end();
}

#[test]
fn wiped_nds_is_registered_again() {
    let mut story = Story::lab(3);
    story.0.crash(ALICE);
    story.until("bob leads", |story| story.follows(CAROL, BOB) && story.is_listed(BOB));
    story.0.nds_wipe(0);
    assert!(!story.is_listed(BOB));
    story.until("it is listed again", |story| story.is_listed(BOB));
    assert_eq!(story.epoch(BOB), 2);
    story.end();
}

#[test]
fn a_lowest_id_that_can_never_win_leaves_the_way_to_others() {
    let mut story = Story::lab(4);
    // Bob is next, but reaches no service, and two of four are no majority.
    story.0.net.split(&[BOB], &[nds(0)]);
    story.0.crash(ALICE);
    story.0.crash(DAVE);
    story.pass(40_000);
    assert!(story.is_listed(CAROL) && story.follows(CAROL, CAROL) && story.follows(BOB, CAROL));
    story.end();
}

#[test]
fn one_whom_the_service_can_not_call_back_leaves_the_way_to_others() {
    let mut story = Story::lab(4);
    story.0.services[0].cut_off.insert(BOB);
    story.0.crash(ALICE);
    story.pass(40_000);
    assert!(story.is_listed(CAROL) && [BOB, CAROL, DAVE].iter().all(|who| story.follows(*who, CAROL)));
    story.end();
}

#[test]
fn where_the_service_can_call_nobody_back_the_votes_decide() {
    let mut story = Story::lab(4);
    let rest = [BOB, CAROL, DAVE];
    story.0.services[0].cut_off.extend(rest);
    story.0.crash(ALICE);
    story.pass(60_000);
    assert!(rest.iter().any(|leader| rest.iter().all(|who| story.follows(*who, *leader))));
    story.0.services[0].cut_off.clear();
    story.end();
}

#[test]
fn who_does_not_reach_the_new_leader_follows_it_by_what_others_pass_on() {
    let mut story = Story::lab(4);
    story.0.net.split(&[BOB], &[DAVE]);
    story.0.crash(ALICE);
    story.until("bob leads", |story| story.follows(CAROL, BOB));
    story.pass(30_000);
    assert!(story.follows(DAVE, BOB) && story.epoch(DAVE) == story.epoch(BOB));
    story.0.restart(ALICE);
    story.until("dave hears that alice is back", |story| {
        story.sees(BOB, &[ALICE, BOB, CAROL, DAVE]) && story.sees(CAROL, &[ALICE, BOB, CAROL, DAVE])
    });
    story.pass(30_000);
    assert!(story.sees(DAVE, &[ALICE, BOB, CAROL, DAVE]) && story.follows(DAVE, BOB));
    story.end();
}

#[test]
fn a_leader_that_only_the_service_reaches_is_outvoted_all_the_same() {
    let mut story = Story::lab(5);
    // Bob would be next, and does not answer: so the election takes a while, and alice misses her members sooner.
    story.0.pause(BOB);
    story.say(ALICE);
    story.0.net.split(&[ALICE], &[CAROL, DAVE, ERIN]);
    story.pass(30_000);
    let rest = [CAROL, DAVE, ERIN];
    assert!(rest.iter().all(|who| story.follows(*who, CAROL)) && story.is_listed(CAROL));
    story.0.go_on(BOB);
    story.end();
}

#[test]
fn a_member_that_dropped_out_before_does_not_keep_a_leader_from_being_outvoted() {
    let mut story = Story::lab(4);
    story.0.crash(DAVE);
    story.until("dave has dropped out", |story| story.sees(ALICE, &[ALICE, BOB, CAROL]));
    // Alice hears of the others again, so that dave goes off the record.
    story.pass(5_000);
    story.0.net.split(&[ALICE], &[BOB, CAROL]);
    story.pass(20_000);
    assert!(story.follows(CAROL, BOB) && story.is_listed(BOB));
    story.end();
}
