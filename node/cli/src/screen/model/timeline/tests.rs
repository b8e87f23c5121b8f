use super::*;

fn message(lamport: u64, author: u8) -> Message {
    Message {
        key: Key { lamport, author: PeerId::new([author; 32]), seq: lamport },
        id: format!("{lamport:08}"),
        author_name: format!("author {author}"),
        time_ms: lamport * 1_000,
        is_text: true,
        text: format!("{lamport} of {author}"),
        position: lamport,
        is_late: false,
    }
}

fn notice(text: &str) -> Notice {
    Notice { kind: v1::NoticeKind::Returned, time_ms: 0, text: text.to_owned() }
}

fn shown(timeline: &Timeline) -> Vec<String> {
    let text = |item: &Item| match item {
        Item::Message(message) => message.text.clone(),
        Item::Notice(notice) => notice.text.clone(),
    };
    timeline.items().map(|(_, item)| text(item)).collect()
}

fn opened(lamports: impl IntoIterator<Item = u64>) -> Timeline {
    let mut timeline = Timeline::default();
    timeline.load(Part::Newest);
    assert!(timeline.loaded(Part::Newest, lamports.into_iter().map(|lamport| message(lamport, 1)).collect()));
    timeline
}

#[test]
fn order_is_that_of_everybody_whatever_the_order_of_arrival() {
    let mut timeline = opened([3]);
    for (lamport, author) in [(5, 2), (5, 1), (4, 9), (6, 1)] {
        assert!(timeline.arrived(message(lamport, author)));
    }
    assert_eq!(shown(&timeline), ["3 of 1", "4 of 9", "5 of 1", "5 of 2", "6 of 1"]);
}

#[test]
fn notices_stay_where_they_happened() {
    let mut timeline = opened([3, 5]);
    timeline.happened(notice("first"));
    timeline.happened(notice("second"));
    timeline.arrived(message(4, 1));
    timeline.arrived(message(6, 1));
    assert_eq!(shown(&timeline), ["3 of 1", "4 of 1", "5 of 1", "first", "second", "6 of 1"]);
}

#[test]
fn notices_are_shown_before_there_are_messages() {
    let mut timeline = opened([]);
    timeline.happened(notice("here"));
    timeline.arrived(message(1, 1));
    assert_eq!(shown(&timeline), ["here", "1 of 1"]);
}

#[test]
fn what_arrives_while_a_page_is_on_its_way_is_not_lost() {
    let mut timeline = Timeline::default();
    timeline.load(Part::Newest);
    assert!(!timeline.arrived(message(7, 1)));
    timeline.loaded(Part::Newest, vec![message(5, 1), message(6, 1)]);
    assert_eq!(shown(&timeline), ["5 of 1", "6 of 1", "7 of 1"]);

    // One that comes late, into the middle of the page that was read before it came.
    assert_eq!(timeline.load_more(Keep::Oldest), Some(Part::Before(message(5, 1).key)));
    assert!(!timeline.arrived(message(3, 2)));
    timeline.loaded(Part::Before(message(5, 1).key), vec![message(2, 1), message(4, 1)]);
    assert_eq!(shown(&timeline), ["2 of 1", "3 of 2", "4 of 1", "5 of 1", "6 of 1", "7 of 1"]);
}

#[test]
fn what_is_outside_the_window_comes_with_its_page() {
    let mut timeline = opened([100, 101]);
    assert!(!timeline.arrived(message(50, 2)), "older than what is loaded");
    assert_eq!(shown(&timeline), ["100 of 1", "101 of 1"]);
    assert_eq!(timeline.load_more(Keep::Newest), None, "the end is loaded");
    assert_eq!(timeline.load_more(Keep::Oldest), Some(Part::Before(message(100, 1).key)));
    assert_eq!(timeline.load_more(Keep::Oldest), None, "one page at a time");
    timeline.loaded(Part::Before(message(100, 1).key), vec![message(50, 2)]);
    let first = message(50, 2).key;
    assert_eq!(timeline.load_more(Keep::Oldest), Some(Part::Before(first)));
    timeline.loaded(Part::Before(first), vec![]);
    assert!(timeline.reaches_start());
    assert!(timeline.arrived(message(1, 3)));
}

#[test]
fn a_window_that_grows_too_large_loses_its_far_end() {
    let mut timeline = opened(1..=2_001);
    timeline.happened(notice("at the end"));
    timeline.trim(Keep::Newest);
    assert_eq!(timeline.first(), Some(message(502, 1).key));
    assert!(!timeline.reaches_start() && timeline.reaches_end());
    let mut timeline = opened(1..=2_001);
    timeline.happened(notice("at the end"));
    timeline.trim(Keep::Oldest);
    assert!(!timeline.reaches_end());
    assert_eq!(shown(&timeline).last().map(String::as_str), Some("1500 of 1"));
    assert!(!timeline.arrived(message(2_002, 1)), "not beside a gap");
    let last = message(1_500, 1).key;
    assert_eq!(timeline.load_more(Keep::Newest), Some(Part::After(last)));
    timeline.loaded(Part::After(last), (1_501..=2_002).map(|lamport| message(lamport, 1)).collect());
    assert!(timeline.reaches_end(), "the newest that is known of is there");
}

#[test]
fn a_page_that_would_leave_a_gap_to_what_was_unloaded_meanwhile_is_passed_over() {
    let mut timeline = opened(1_001..=3_000);
    let before = timeline.load_more(Keep::Oldest).expect("there is more");
    assert_eq!(before, Part::Before(message(1_001, 1).key));
    timeline.arrived(message(3_001, 1));
    timeline.trim(Keep::Newest);
    assert!(!timeline.loaded(before, (801..=1_000).map(|lamport| message(lamport, 1)).collect()));
    assert_eq!(timeline.first(), Some(message(1_502, 1).key));
    assert_eq!(timeline.load_more(Keep::Oldest), Some(Part::Before(message(1_502, 1).key)), "it is asked for anew");

    let mut timeline = opened(1..=2_001);
    timeline.trim(Keep::Oldest);
    let after = timeline.load_more(Keep::Newest).expect("there is more");
    let early = Message { text: "x".repeat(MAX_BYTES), ..message(1, 2) };
    timeline.load(after);
    timeline.put(early);
    timeline.trim(Keep::Oldest);
    assert!(!timeline.loaded(after, vec![message(1_501, 1)]));
    // At the other end nothing is torn apart.
    let mut timeline = opened(1_001..=3_001);
    let before = timeline.load_more(Keep::Oldest).expect("there is more");
    timeline.trim(Keep::Oldest);
    assert!(timeline.loaded(before, vec![message(1_000, 1)]));
}

#[test]
fn long_messages_are_unloaded_sooner() {
    let long = |lamport| Message { text: "x".repeat(65_536), ..message(lamport, 1) };
    let mut timeline = Timeline::default();
    timeline.load(Part::Newest);
    timeline.loaded(Part::Newest, (1..=600).map(long).collect());
    timeline.trim(Keep::Newest);
    assert_eq!(timeline.first(), Some(message(351, 1).key));
    assert_eq!(timeline.items().count(), 250);
}

#[test]
fn an_answer_nobody_waits_for_changes_nothing() {
    let mut timeline = opened([1]);
    assert!(!timeline.loaded(Part::Newest, vec![message(9, 1)]));
    timeline.load(Part::Newest);
    timeline.load(Part::Around(message(1, 1).key));
    assert!(!timeline.loaded(Part::Newest, vec![message(9, 1)]));
    assert_eq!(shown(&timeline), ["1 of 1"]);
}

#[test]
fn what_a_notice_has_told_is_not_shown_again() {
    let mut timeline = opened([1]);
    timeline.told(message(2, 1).key);
    timeline.arrived(message(2, 1));
    timeline.load(Part::Newest);
    timeline.loaded(Part::Newest, vec![message(1, 1), message(2, 1)]);
    assert_eq!(shown(&timeline), ["1 of 1"]);

    let mut timeline = Timeline::default();
    timeline.load(Part::Newest);
    timeline.told(message(1, 1).key);
    timeline.loaded(Part::Newest, vec![message(1, 1)]);
    assert!(timeline.arrived(message(2, 1)), "what was told is known nevertheless");
}

#[test]
fn a_message_arrives_in_logarithmic_time() {
    // An insertion touches no other message: what is loaded stays what it is, and one more.
    let mut timeline = opened(1..=1_000);
    let before = timeline.items().count();
    timeline.arrived(message(1_001, 1));
    assert_eq!(timeline.items().count(), before + 1);
    assert_eq!(timeline.items().next_back().map(|(place, _)| place), Some((message(1_001, 1).key, 0)));
}
