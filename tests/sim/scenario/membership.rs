//! Who is in.

use p2p_chat_engine::Done;
use p2p_chat_model::NodeId;

use crate::world::World;

use super::{ALICE, BOB, CAROL, DAVE, Story};

#[test]
fn join_retry_after_lost_reply_gets_the_same_id() {
    let mut story = Story(World::new(7, 3, true));
    let created = story.0.create(ALICE);
    story.until_done(created).expect("the network is founded");
    // A slow disk leaves the time to lose just the answer.
    story.0.nodes[ALICE].sync_ms = 100;
    let joined = story.0.join(BOB);
    story.until("alice lets bob in", |story| story.sees(ALICE, &[ALICE, BOB]));
    story.0.net.weather.reply_loss = 1_000;
    story.pass(150);
    story.0.net.weather.reply_loss = 0;
    story.pass(2_000);
    assert_eq!(story.0.outcome(joined), None);
    assert_eq!(story.until_done(joined), Ok(Done::Joined(NodeId(2))));
    story.end();
}

#[test]
fn leader_dies_in_the_middle_of_a_join() {
    // At whatever output of the join: it leaves no trace, or a member that everybody knows.
    for outputs in 0..25 {
        let mut story = Story::lab_with_guest(3);
        story.0.nodes[ALICE].crash_after = Some((outputs, 20_000));
        let joined = story.0.join(DAVE);
        story.until("dave is told", |story| story.0.outcome(joined).is_some());
        if story.0.outcome(joined).is_some_and(Result::is_err) {
            let again = story.0.join(DAVE);
            story.until("dave is told again", |story| story.0.outcome(again).is_some());
        }
        story.end();
    }
}

#[test]
fn join_of_a_network_whose_leader_has_just_died_finds_the_next() {
    let mut story = Story::lab_with_guest(3);
    story.0.crash(ALICE);
    let joined = story.0.join(DAVE);
    assert!(matches!(story.until_done(joined), Ok(Done::Joined(_))), "somebody lets dave in within the time of a join");
    story.until("bob leads all", |story| [BOB, CAROL, DAVE].iter().all(|who| story.follows(*who, BOB)));
    story.end();
}

#[test]
fn leaving_leader_hands_over() {
    let mut story = Story::lab(4);
    let last = story.say(ALICE);
    let left = story.0.leave(ALICE, false);
    assert_eq!(story.until_done(left), Ok(Done::Left { unreplicated: 0, closed: false }));
    let rest = [BOB, CAROL, DAVE];
    story.until("bob leads", |story| rest.iter().all(|who| story.follows(*who, BOB)) && story.is_listed(BOB));
    assert_eq!((story.count("ELECTION"), story.count("a node was leaderless")), (0, 0));
    story.until("nothing of alice's is lost", |story| rest.iter().all(|who| story.shows(*who, ALICE, last)));
    story.end();
}

#[test]
fn all_leave_at_once_and_the_last_one_closes_the_network() {
    let mut story = Story::lab(4);
    for who in [ALICE, BOB, CAROL, DAVE] {
        story.say(who);
    }
    let leaves = [ALICE, BOB, CAROL, DAVE].map(|who| story.0.leave(who, false));
    let outcomes = leaves.map(|left| story.until_done(left));
    let closed = Ok(Done::Left { unreplicated: 0, closed: true });
    let left = Ok(Done::Left { unreplicated: 0, closed: false });
    assert_eq!(outcomes, [closed, left.clone(), left.clone(), left]);
}

#[test]
fn who_leaves_waits_until_others_have_what_only_it_had_of_who_left_before() {
    let mut story = Story::lab(4);
    story.0.net.split(&[ALICE, DAVE], &[BOB, CAROL]);
    let last = story.say(DAVE);
    let left = story.0.leave(DAVE, false);
    assert_eq!(story.until_done(left), Ok(Done::Left { unreplicated: 0, closed: false }), "alice has it");
    // She has nothing of her own that others lack.
    story.0.net.join(&[ALICE, DAVE], &[BOB, CAROL]);
    let left = story.0.leave(ALICE, false);
    assert_eq!(story.until_done(left), Ok(Done::Left { unreplicated: 0, closed: false }));
    story.pass(5_000);
    assert!(story.shows(BOB, DAVE, last) && story.shows(CAROL, DAVE, last));
    story.end();
}

#[test]
fn last_member_closes_the_network() {
    let mut story = Story::lab(2);
    let left = story.0.leave(ALICE, false);
    story.until_done(left).expect("alice leaves");
    story.until("bob is on record", |story| story.is_listed(BOB));
    let left = story.0.leave(BOB, false);
    assert_eq!(story.until_done(left), Ok(Done::Left { unreplicated: 0, closed: true }));
    assert!(!story.is_listed(ALICE) && !story.is_listed(BOB));
}

#[test]
fn member_whose_others_are_only_away_leaves_by_force_only_and_does_not_close_the_network() {
    let mut story = Story::lab(2);
    story.0.crash(BOB);
    story.until("bob drops out", |story| story.sees(ALICE, &[ALICE]));
    let last = story.say(ALICE);
    let refused = story.0.leave(ALICE, false);
    let why = story.until_done(refused).expect_err("bob lacks what alice has just said");
    assert!(why.contains("nobody else that can be reached"), "{why}");
    assert!(story.say(ALICE) > last, "nothing has changed");
    let left = story.0.leave(ALICE, true);
    assert!(matches!(story.until_done(left), Ok(Done::Left { closed: false, .. })));
    story.0.restart(BOB);
    story.until("bob leads", |story| story.follows(BOB, BOB) && story.is_listed(BOB));
    story.end();
}

#[test]
fn member_that_left_can_come_back() {
    let mut story = Story::lab(3);
    let before = story.say(CAROL);
    let left = story.0.leave(CAROL, false);
    story.until_done(left).expect("carol leaves");
    story.until("carol is out", |story| story.sees(BOB, &[ALICE, BOB]));
    let missed = story.say(BOB);
    let joined = story.0.join(CAROL);
    assert_eq!(story.until_done(joined), Ok(Done::Joined(NodeId(4))));
    let after = story.say(CAROL);
    assert!(after > before);
    story.until("carol has what she missed", |story| story.shows(CAROL, BOB, missed));
    story.until("all have what she said", |story| story.shows(ALICE, CAROL, after) && story.shows(BOB, CAROL, after));
    story.end();
}

#[test]
fn member_that_comes_back_before_its_leave_is_known_stays_in() {
    let mut story = Story::lab(4);
    // Alice does not hear of dave's leave, and lets him in again.
    story.0.net.split(&[ALICE], &[BOB, CAROL, DAVE]);
    let left = story.0.leave(DAVE, false);
    story.until_done(left).expect("dave leaves");
    story.0.net.join(&[ALICE], &[DAVE]);
    let joined = story.0.join(DAVE);
    story.until_done(joined).expect("dave comes back");
    story.0.net.join(&[ALICE], &[BOB, CAROL]);
    story.until("all know that dave is in", |story| {
        [ALICE, BOB, CAROL]
            .iter()
            .all(|who| story.snapshot(*who).is_some_and(|snapshot| snapshot.roster.is_member(&story.peer(DAVE))))
    });
    story.end();
}

#[test]
fn silence_ends_no_membership() {
    let mut story = Story::lab(3);
    story.0.crash(CAROL);
    story.until("carol drops out", |story| story.sees(BOB, &[ALICE, BOB]));
    story.pass(60_000);
    let roster = story.snapshot(BOB).map(|snapshot| snapshot.roster.len());
    assert_eq!(roster, Some(3));
    story.end();
}
