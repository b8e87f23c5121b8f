//! Who gets what, and by which way.

use crate::net::Who;

use super::{ALICE, BOB, CAROL, DAVE, ERIN, Story};

#[test]
fn pair_cut_is_relayed_and_nobody_drops_out() {
    let mut story = Story::lab(4);
    story.0.net.split(&[BOB], &[CAROL]);
    let mut last = 0;
    for _ in 0..15 {
        last = story.say(BOB);
        story.pass(1_000);
    }
    story.until("carol has it all", |story| story.shows(CAROL, BOB, last));
    assert!(story.count("an entry went by a relay") > 0);
    assert_eq!((story.count("a member dropped out"), story.count("ELECTION")), (0, 0));
    story.end();
}

#[test]
fn follower_cut_from_the_leader_only_stays_in_and_does_not_elect() {
    let mut story = Story::lab(4);
    story.0.net.split(&[DAVE], &[ALICE]);
    let said = story.say(DAVE);
    story.until("alice has it", |story| story.shows(ALICE, DAVE, said));
    story.pass(30_000);
    assert_eq!((story.epoch(DAVE), story.count("a member dropped out")), (1, 0));
    story.end();
}

#[test]
fn author_dies_after_partial_fan_out() {
    let mut story = Story::lab(5);
    let others = [ALICE, CAROL, DAVE];
    story.0.net.split(&[ERIN], &others);
    let said = story.say(ERIN);
    story.until("bob has it", |story| story.shows(BOB, ERIN, said));
    // Bob may have passed it on already, as a relay; whoever lacks it gets it from whoever has it.
    story.0.crash(ERIN);
    story.0.net.join(&[ERIN], &others);
    story.until("all have it", |story| others.iter().all(|who| story.shows(*who, ERIN, said)));
    story.end();
}

#[test]
fn author_that_dies_at_once_loses_nothing_it_was_told_is_safe() {
    let mut story = Story::lab(3);
    let everybody: Vec<Who> = vec![ALICE, BOB];
    story.0.net.split(&[CAROL], &everybody);
    let said = story.say(CAROL);
    story.0.crash(CAROL);
    story.0.net.join(&[CAROL], &everybody);
    story.pass(10_000);
    assert!(!story.shows(ALICE, CAROL, said));
    story.0.restart(CAROL);
    story.until("all have it", |story| everybody.iter().all(|who| story.shows(*who, CAROL, said)));
    story.end();
}

#[test]
fn clock_naming_something_missing_is_held_back_and_then_delivered() {
    let mut story = Story::lab(3);
    story.0.net.split(&[ALICE, CAROL], &[BOB]);
    story.0.net.join(&[CAROL], &[BOB]);
    // Only carol hears bob; alice hears carol, who answers him.
    story.0.net.cut(&[(ALICE, CAROL)]);
    let question = story.say(BOB);
    story.until("carol has the question", |story| story.shows(CAROL, BOB, question));
    let answer = story.say(CAROL);
    let holds = |story: &Story| story.snapshot(ALICE).is_some_and(|snapshot| snapshot.held > 0);
    story.until("alice holds the answer back", holds);
    assert!(!story.shows(ALICE, CAROL, answer));
    story.0.net.mend(&[(ALICE, CAROL)]);
    story.until("alice shows both", |story| story.shows(ALICE, BOB, question) && story.shows(ALICE, CAROL, answer));
    story.end();
}

#[test]
fn follower_that_was_away_gets_everything_it_missed() {
    let mut story = Story::lab(4);
    story.0.crash(DAVE);
    story.until("dave drops out", |story| story.sees(ALICE, &[ALICE, BOB, CAROL]));
    let mut last = 0;
    for _ in 0..300 {
        last = story.say(BOB);
    }
    story.0.restart(DAVE);
    story.until("dave is back", |story| story.sees(ALICE, &[ALICE, BOB, CAROL, DAVE]));
    story.until("dave has it all", |story| story.shows(DAVE, BOB, last));
    assert_eq!(story.id(DAVE).map(|id| id.0), Some(5));
    story.end();
}
