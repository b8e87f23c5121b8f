//! Disks, clocks, and a discovery service with an old memory.

use p2p_chat_engine::Request;
use p2p_chat_model::Epoch;

use crate::{edge::Ask, net::ring};

use super::{ALICE, BOB, CAROL, DAVE, ERIN, FRANK, Story};

#[test]
fn leader_whose_disk_is_full_is_replaced_and_comes_back() {
    let mut story = Story::lab(4);
    story.0.nodes[ALICE].is_disk_full = true;
    story.0.say(ALICE);
    story.until("bob leads", |story| story.follows(DAVE, BOB) && story.is_listed(BOB));
    let missed = story.say(CAROL);
    story.0.nodes[ALICE].is_disk_full = false;
    story.until("alice is back", |story| story.follows(ALICE, BOB) && story.shows(ALICE, CAROL, missed));
    story.end();
}

#[test]
fn leader_that_wakes_up_a_minute_later_leads_on() {
    let mut story = Story::lab(4);
    story.0.leap(ALICE, 60_000);
    story.pass(20_000);
    assert_eq!((story.count("ELECTION"), story.count("a member dropped out")), (0, 0));
    assert!(story.follows(DAVE, ALICE));
    story.end();
}

#[test]
fn follower_that_wakes_up_a_minute_later_calls_no_election() {
    let mut story = Story::lab(4);
    story.0.leap(CAROL, 60_000);
    story.pass(20_000);
    assert_eq!((story.count("ELECTION"), story.count("a node was leaderless")), (0, 0));
    story.end();
}

#[test]
fn ring_of_cuts_keeps_the_chat_going() {
    let mut story = Story::lab(6);
    let all = [ALICE, BOB, CAROL, DAVE, ERIN, FRANK];
    story.0.net.cut(&ring(&all));
    let last: Vec<_> = all.iter().map(|who| (*who, story.say(*who))).collect();
    // Who is far away in the ring gets it from neighbour to neighbour, by comparing with a random member now and then.
    story.pass(120_000);
    story.until("all have it all", |story| {
        all.iter().all(|who| last.iter().all(|(author, seq)| story.shows(*who, *author, *seq)))
    });
    story.end();
}

#[test]
fn discovery_service_set_back_learns_of_the_later_reign() {
    let mut story = Story::lab(3);
    story.0.nds_copy(0);
    story.0.crash(ALICE);
    story.until("bob leads", |story| story.follows(CAROL, BOB) && story.is_listed(BOB));
    story.0.nds_restore(0);
    assert!(story.is_listed(ALICE));
    story.until("bob is listed again", |story| story.is_listed(BOB));
    story.0.restart(ALICE);
    story.until("alice follows", |story| story.follows(ALICE, BOB));
    story.end();
}

#[test]
fn leader_that_moves_while_others_are_away_is_found() {
    let mut story = Story::lab(3);
    story.0.crash(CAROL);
    story.until("carol drops out", |story| story.sees(BOB, &[ALICE, BOB]));
    story.0.crash(ALICE);
    story.0.move_away(ALICE);
    story.0.restart(ALICE);
    story.0.restart(CAROL);
    story.until("carol is back", |story| [ALICE, BOB].iter().any(|leader| story.follows(CAROL, *leader)));
    story.end();
}

#[test]
fn calls_for_old_elections_do_not_pass_for_a_sign_of_life() {
    let mut story = Story::lab(4);
    let dave = story.id(DAVE).expect("dave is in");
    // Dave's own engine would call an election: only what is sent in his name is left of him.
    story.0.crash(DAVE);
    story.0.crash(ALICE);
    for _ in 0..60 {
        for to in [BOB, CAROL] {
            let old = Request::Elect(Epoch(1), dave);
            story.0.send_besides(DAVE, to, Ask::Plain(Box::new(old)));
        }
        story.pass(200);
    }
    assert!(story.follows(CAROL, BOB) && story.is_listed(BOB), "alice is thought to live");
    story.end();
}

#[test]
fn author_whose_disk_was_set_back_uses_no_number_twice() {
    let mut story = Story::lab(3);
    let forgotten = story.say(BOB);
    story.until("the others have it", |story| story.shows(ALICE, BOB, forgotten) && story.shows(CAROL, BOB, forgotten));
    story.0.crash(BOB);
    let bob = story.peer(BOB);
    story.0.nodes[BOB].disk.set_back(bob);
    story.0.oracle.set_back(&story.0.nodes[BOB]);
    story.0.restart(BOB);
    assert_eq!(story.say(BOB), forgotten + 1);
    story.end();
}
