use p2p_chat_proto::v1::{self, NoticeKind};

use super::*;
use crate::screen::{
    fixture::{LAB, MORNING_MS, READ, Screen, member, message, network_state, peer, status},
    model::network::Scroll,
};

mod away;
mod entering;
mod search;
mod sending;

const OPS: &str = "0b500000b5000000b5000000b5000000b5000000b5000000b5000000b5000000";

fn send(text: &str) -> Effect {
    Effect::Send { network: LAB.to_owned(), token: 0, text: text.to_owned() }
}

fn enter(network: &str, way: Way) -> Effect {
    Effect::Enter { token: 0, network: network.to_owned(), way }
}

/// Effects without the tokens in them.
fn plain(effects: Vec<Effect>) -> Vec<Effect> {
    let plain = |effect| match effect {
        Effect::Send { network, text, .. } => Effect::Send { network, token: 0, text },
        Effect::Enter { network, way, .. } => Effect::Enter { token: 0, network, way },
        Effect::Leave { network, force, .. } => Effect::Leave { token: 0, network, force },
        Effect::Networks { .. } => Effect::Networks { token: 0 },
        effect => effect,
    };
    effects.into_iter().map(plain).collect()
}

fn many(count: u64) -> Vec<v1::Message> {
    (1..=count).map(|number| message(number, "bob", &format!("message {number}"))).collect()
}

fn with_ops(screen: &mut Screen, unread: u64) -> Vec<Effect> {
    let ops = v1::NetworkState { unread, ..network_state("ops", OPS) };
    screen.status(status(vec![network_state("lab", LAB), ops]))
}

fn said(screen: &Screen) -> &str {
    screen.model.said.as_ref().map_or("", |said| said.text.as_str())
}

#[test]
fn commands_do_what_they_say_and_unknown_ones_say_so() {
    let mut screen = Screen::in_lab(vec![]);
    assert_eq!(plain(screen.enters("/join new")), [enter("new", Way::Join)]);
    assert_eq!(plain(screen.enters("/create newer")), [enter("newer", Way::Found)]);
    for (line, force) in [("/leave", false), ("/leave lab --force", true)] {
        assert_eq!(plain(screen.enters(line)), [Effect::Leave { token: 0, network: LAB.to_owned(), force }]);
    }
    assert_eq!(plain(screen.enters("/networks")), [Effect::Networks { token: 0 }]);
    assert_eq!(plain(screen.enters("/me waves")), [send("/me waves")]);
    assert_eq!(plain(screen.enters("//quit")), [send("/quit")]);
    assert_eq!(screen.enters("/dance"), []);
    assert_eq!(said(&screen), "there is no command /dance; /help lists them, //text says /text");
    screen.key("ctrl-c");
    assert_eq!(screen.enters("/join"), []);
    assert_eq!(said(&screen), "write it as /join NET");
    screen.key("ctrl-c");
    assert_eq!(screen.enters("/leave nowhere"), []);
    assert_eq!(said(&screen), "you are not in nowhere; /networks lists what there is");
    screen.key("ctrl-c");
    assert_eq!(screen.enters("/quit"), [Effect::Quit]);
}

#[test]
fn the_bell_rings_for_live_mentions_only() {
    let mut screen = Screen::in_lab(vec![message(1, "bob", "alice?")]);
    assert_eq!(screen.arrives(message(2, "bob", "alice: hi")), [Effect::Ring]);
    assert_eq!(screen.arrives(message(3, "bob", "hi all")), []);
    assert_eq!(screen.arrives(v1::Message { late: true, ..message(4, "bob", "alice: old") }), []);
    assert_eq!(screen.arrives(message(5, "alice", "alice is me")), []);
    screen.model.config.bell = false;
    assert_eq!(screen.arrives(message(6, "bob", "alice: hi")), []);
}

#[test]
fn what_is_seen_is_marked_as_read_and_what_is_not_is_not() {
    let mut screen = Screen::in_lab(many(60));
    screen.arrives(message(61, "bob", "seen"));
    let mark = Effect::MarkRead { network: LAB.to_owned(), position: READ + 1 };
    assert!(screen.later(10).contains(&mark));
    assert!(!screen.later(10).contains(&mark), "once");
    screen.key("pageup");
    screen.arrives(message(62, "bob", "below"));
    assert!(!screen.later(10).iter().any(|effect| matches!(effect, Effect::MarkRead { .. })));
    assert!(screen.shows("1 new below"));
    screen.key("ctrl-end");
    let mark = Effect::MarkRead { network: LAB.to_owned(), position: READ + 2 };
    assert!(screen.later(10).contains(&mark));
}

#[test]
fn without_the_focus_nothing_is_read_and_a_line_shows_where_it_ended() {
    let mut screen = Screen::in_lab(many(3));
    screen.later(10);
    screen.input(Input::Terminal(TerminalEvent::FocusLost));
    screen.arrives(message(4, "bob", "while away"));
    assert_eq!(screen.later(10), []);
    screen.input(Input::Terminal(TerminalEvent::FocusGained));
    let rows = screen.rows();
    let marker = rows.iter().position(|row| row.contains(" unread ")).expect("a marker");
    assert!(rows.get(marker + 1).is_some_and(|row| row.contains("while away")));
    assert!(screen.later(10).iter().any(|effect| matches!(effect, Effect::MarkRead { .. })));
}

#[test]
fn what_was_seen_as_it_came_is_not_unread_when_it_is_loaded_again() {
    let mut screen = Screen::in_lab(many(3));
    let page = |n| v1::Message { position: READ + n, ..message(n + 3, "bob", &format!("message {n}")) };
    screen.arrives(page(1));
    screen.later(10);
    screen.model.network_mut().expect("there").timeline.load(Part::Newest);
    screen.loaded(Part::Newest, vec![page(1)]);
    assert!(!screen.shows(" unread "), "{:#?}", screen.rows());
    // What came while the node was not there is.
    screen.input(Input::Lost);
    screen.input(Input::Opened(None));
    screen.status(status(vec![network_state("lab", LAB)]));
    screen.answer(Answer::Subscribed { network: LAB.to_owned(), result: Ok(()) });
    screen.loaded(Part::Newest, (1..10).map(page).collect());
    assert_eq!(screen.model.network().and_then(|lab| lab.first_unread).map(|key| key.seq), Some(5));
    assert!(screen.shows(" unread "));
}

#[test]
fn what_comes_into_other_networks_is_counted_and_the_next_active_one_is_a_key_away() {
    let mut screen = Screen::in_lab(vec![]);
    let effects = with_ops(&mut screen, 0);
    assert!(effects.contains(&Effect::Subscribe { network: OPS.to_owned() }), "{effects:?}");
    screen.answer(Answer::Subscribed { network: OPS.to_owned(), result: Ok(()) });
    screen.key("alt-a");
    assert_eq!(said(&screen), "nothing new in other networks");
    screen.arrives_in(OPS, message(1, "bob", "news"));
    assert_eq!(screen.arrives_in(OPS, message(2, "bob", "alice!")), [Effect::Ring]);
    assert!(screen.shows("2 ops      @2"), "{:#?}", screen.rows());
    let effects = screen.key("alt-a");
    assert_eq!(screen.model.current.as_deref(), Some(OPS));
    assert!(effects.contains(&Effect::Load { network: OPS.to_owned(), part: Part::Newest }), "{effects:?}");
    screen.key("alt-1");
    assert_eq!(screen.model.current.as_deref(), Some(LAB));
    screen.key("ctrl-n");
    assert_eq!(screen.model.current.as_deref(), Some(OPS));
    screen.key("ctrl-n");
    assert_eq!(screen.model.current.as_deref(), Some(LAB), "around");
}

#[test]
fn late_arrivals_do_not_move_what_is_read() {
    let mut screen = Screen::in_lab(many(100));
    screen.key("pageup");
    let before = screen.rows();
    let late = v1::Message { seq: 1, late: true, ..message(10, "carol", "from the past") };
    screen.arrives(late);
    screen.arrives(message(101, "bob", "from now"));
    let timeline = |row: &String| row.split('│').skip(1).take(2).map(str::to_owned).collect::<Vec<_>>();
    let body = |rows: &[String]| rows.iter().skip(1).take(26).map(timeline).collect::<Vec<_>>();
    assert_eq!(body(&screen.rows()), body(&before));
}

#[test]
fn what_comes_late_above_the_view_is_told_until_it_has_been_seen() {
    let mut screen = Screen::in_lab(many(100));
    let late = |place, text: &str| v1::Message { seq: 1, late: true, ..message(place, "carol", text) };
    screen.arrives(late(98, "in view"));
    assert!(screen.shows("in view") && !screen.shows("late above"), "{:#?}", screen.rows());
    screen.arrives(late(10, "from the past"));
    screen.arrives(late(40, "from between"));
    screen.later(1_000);
    screen.enters("who answers has not seen it");
    assert!(screen.shows("2 came late above: Alt-u"), "{:#?}", screen.rows());
    screen.key("alt-u");
    assert!(screen.shows("from the past"), "{:#?}", screen.rows());
    screen.key("ctrl-end");
    assert!(screen.shows("1 came late above: Alt-u"));
    screen.key("esc");
    assert!(!screen.shows("late above"));
}

#[test]
fn what_comes_into_sight_is_loaded_before() {
    let mut screen = Screen::in_lab((1..=200).map(|n| message(n + 1_000, "bob", &format!("message {n}"))).collect());
    let first = screen.model.network().and_then(|lab| lab.timeline.first()).expect("loaded");
    let mut effects = Vec::new();
    for _ in 0..8 {
        effects.extend(screen.key("pageup"));
    }
    assert_eq!(effects, [Effect::Load { network: LAB.to_owned(), part: Part::Before(first) }], "once");
    let top = screen.rows().get(2).cloned();
    screen.loaded(Part::Before(first), (1..=200).map(|n| message(n + 800, "bob", "older")).collect());
    assert_eq!(screen.rows().get(2).cloned(), top, "what is read stays where it is");
}

#[test]
fn scrolling_down_to_the_end_follows_again() {
    let mut screen = Screen::in_lab(many(100));
    for _ in 0..3 {
        screen.key("pageup");
    }
    assert_ne!(screen.model.network().map(|lab| lab.scroll), Some(Scroll::Follow));
    for _ in 0..3 {
        screen.key("pagedown");
    }
    assert_eq!(screen.model.network().map(|lab| lab.scroll), Some(Scroll::Follow));
    for _ in 0..30 {
        screen.key("shift-up");
    }
    for _ in 0..30 {
        screen.key("shift-down");
    }
    assert_eq!(screen.model.network().map(|lab| lab.scroll), Some(Scroll::Follow));
}

#[test]
fn a_long_message_scrolls_row_by_row() {
    let long = (1..=60).map(|row| format!("row {row}")).collect::<Vec<_>>().join("\n");
    let mut screen = Screen::in_lab(vec![message(1, "bob", "before"), message(2, "bob", &long)]);
    let first_row =
        |screen: &Screen| screen.rows().get(1).map(|row| row.split('│').nth(2).unwrap_or("").trim().to_owned());
    assert_eq!(first_row(&screen).as_deref(), Some("row 34"));
    screen.key("shift-up");
    assert_eq!(first_row(&screen).as_deref(), Some("row 33"));
    screen.key("pageup");
    assert_eq!(first_row(&screen).as_deref(), Some("row 8"));
    screen.key("shift-down");
    assert_eq!(first_row(&screen).as_deref(), Some("row 9"));
}

#[test]
fn who_says_something_sees_it() {
    let mut screen = Screen::in_lab(many(100));
    screen.key("pageup");
    screen.enters("hello");
    assert!(screen.shows("hello …"));
}

#[test]
fn a_cleared_screen_shows_what_comes_and_scrolling_up_brings_the_rest_back() {
    let mut screen = Screen::in_lab(many(30));
    screen.enters("/clear");
    assert!(!screen.shows("message 30"));
    screen.arrives(message(31, "bob", "after"));
    assert!(screen.shows("after") && !screen.shows("message 30"));
    screen.key("shift-up");
    assert!(screen.shows("message 30"), "{:#?}", screen.rows());
}

#[test]
fn where_all_is_in_view_there_is_nothing_to_scroll() {
    let mut screen = Screen::in_lab(many(5));
    screen.loaded(Part::Before(screen.model.network().and_then(|lab| lab.timeline.first()).expect("there")), vec![]);
    screen.key("pageup");
    assert_eq!(screen.model.network().map(|lab| lab.scroll), Some(Scroll::Follow));
    assert_eq!(screen.key("enter"), [], "nothing is selected");
    assert!(screen.model.overlay.is_none());
}

#[test]
fn the_first_unread_message_is_looked_for_in_what_is_not_loaded() {
    let mut screen = Screen::new();
    screen.input(Input::Opened(None));
    let lab = v1::NetworkState { read_position: 700, unread: 300, ..network_state("lab", LAB) };
    screen.status(status(vec![lab]));
    screen.answer(Answer::Subscribed { network: LAB.to_owned(), result: Ok(()) });
    let page = |from: u64| (from..from + 200).map(|n| message(n, "bob", &format!("message {n}"))).collect::<Vec<_>>();
    screen.loaded(Part::Newest, page(801));
    let before = Part::Before(screen.model.network().and_then(|lab| lab.timeline.first()).expect("loaded"));
    assert_eq!(screen.key("alt-u"), [Effect::Load { network: LAB.to_owned(), part: before }]);
    screen.loaded(before, page(601));
    assert!(screen.shows("message 701") && screen.shows(" unread "), "{:#?}", screen.rows());
}

#[test]
fn what_is_loaded_on_the_way_to_the_first_unread_message_stays() {
    let mut screen = Screen::new();
    screen.input(Input::Opened(None));
    screen.model.tasks.clear();
    let lab = || v1::NetworkState { read_position: 0, unread: 5_000, ..network_state("lab", LAB) };
    screen.status(status(vec![lab()]));
    screen.answer(Answer::Subscribed { network: LAB.to_owned(), result: Ok(()) });
    let page = |from: u64| (from..from + 2_000).map(|n| message(n, "bob", &format!("message {n}"))).collect::<Vec<_>>();
    screen.loaded(Part::Newest, page(8_001));
    let first = |screen: &Screen| screen.model.network().and_then(|lab| lab.timeline.first()).expect("loaded");
    screen.key("alt-u");
    for from in [6_001, 4_001, 2_001] {
        let before = Part::Before(first(&screen));
        screen.loaded(before, page(from));
    }
    let network = screen.model.network().expect("there");
    assert!(network.looks_for_unread && !network.timeline.reaches_end(), "the newest ones had to go");
    let before = Part::Before(first(&screen));
    let result = Err(Failure::Failed("the disk is slow".to_owned()));
    screen.answer(Answer::Loaded { network: LAB.to_owned(), part: before, result });
    screen.status(status(vec![lab()]));
    let effects = screen.later(1_000);
    assert!(effects.contains(&Effect::Load { network: LAB.to_owned(), part: before }), "{effects:?}");
}

#[test]
fn what_could_not_be_loaded_is_asked_for_again() {
    let mut screen = Screen::in_lab(vec![]);
    let load = Effect::Load { network: LAB.to_owned(), part: Part::Newest };
    let fail = |screen: &mut Screen, part| {
        let result = Err(Failure::Failed("the disk is slow".to_owned()));
        screen.answer(Answer::Loaded { network: LAB.to_owned(), part, result });
    };
    screen.input(Input::Lost);
    screen.input(Input::Opened(None));
    screen.status(status(vec![network_state("lab", LAB)]));
    screen.model.network_mut().expect("there").timeline.unload_all();
    assert!(screen.answer(Answer::Subscribed { network: LAB.to_owned(), result: Ok(()) }).contains(&load));
    fail(&mut screen, Part::Newest);
    assert_eq!(said(&screen), "can't read the log: the disk is slow");
    screen.arrives(message(9, "bob", "nobody sees it yet"));
    assert!(screen.shows("reading the log") && !screen.shows("Nothing has been said"), "{:#?}", screen.rows());
    assert!(screen.later(1_000).contains(&load));
    assert!(!screen.later(1_000).contains(&load), "once at a time");
    screen.model.said = None;
    fail(&mut screen, Part::Newest);
    assert_eq!(said(&screen), "", "it has been said");
    screen.status(status(vec![network_state("lab", LAB)]));
    assert!(screen.later(1_000).contains(&load));
    screen.loaded(Part::Newest, vec![message(9, "bob", "nobody sees it yet")]);
    assert!(screen.shows("nobody sees it yet"));
    // So is the newest part, where something else is loaded.
    let network = screen.model.network_mut().expect("there");
    network.timeline.load(Part::Around(Key::START));
    screen.loaded(Part::Around(Key::START), many(100));
    assert!(screen.key("ctrl-end").contains(&load));
    fail(&mut screen, Part::Newest);
    assert_eq!(said(&screen), "can't read the log: the disk is slow");
    screen.status(status(vec![network_state("lab", LAB)]));
    assert!(screen.later(1_000).contains(&load));
}

#[test]
fn when_the_node_goes_all_is_asked_for_anew() {
    let mut screen = Screen::in_lab(many(3));
    screen.input(Input::Lost);
    assert!(screen.shows("no node") && !screen.shows("caught up"));
    assert!(screen.shows("the connection to the node broke"));
    assert_eq!(screen.enters("hello"), []);
    assert_eq!(said(&screen), "the node is not there yet; a moment");
    screen.input(Input::Opened(None));
    let effects = screen.status(status(vec![network_state("lab", LAB)]));
    assert!(effects.contains(&Effect::Subscribe { network: LAB.to_owned() }), "{effects:?}");
    let effects = screen.answer(Answer::Subscribed { network: LAB.to_owned(), result: Ok(()) });
    assert_eq!(effects, [Effect::Load { network: LAB.to_owned(), part: Part::Newest }]);
}

#[test]
fn notices_tell_what_happens_and_the_members_are_asked_for_again() {
    let mut screen = Screen::in_lab(many(3));
    let members = Effect::Members { network: LAB.to_owned() };
    let effects = screen.happens(NoticeKind::DroppedOut, "bob", 0, "bob dropped out; it will catch up on return");
    assert!(effects.contains(&members), "{effects:?}");
    screen.happens(NoticeKind::LeaderChanged, "alice", 2_480, "");
    screen.happens(NoticeKind::CatchingUp, "bob", 5, "fetching 5 missing entries from bob");
    assert!(screen.shows("bob dropped out"));
    assert!(screen.shows("you lead now (epoch 5, after 2.4 s)"));
    assert!(!screen.shows("fetching"), "that is the activity's");
    // The entry that says the same in the log is not shown beside the notice.
    screen.happens(NoticeKind::Joined, "dave", 0, "dave joined");
    screen.arrives(v1::Message { kind: "admit".to_owned(), ..message(4, "bob", "bob admitted dave") });
    assert!(screen.shows("dave joined") && !screen.shows("admitted"));
    // It is told of before its admission has arrived: the name follows.
    let short = peer("erin").short();
    screen.happens(NoticeKind::Joined, &short, 0, &format!("{short} joined"));
    assert!(screen.shows(&format!("{short} joined")));
    screen.answer(Answer::Members { network: LAB.to_owned(), result: Ok(vec![member("erin", 5, 0)]) });
    assert!(screen.shows("erin joined") && !screen.shows(&short));
}

#[test]
fn ctrl_c_clears_and_twice_on_nothing_ends() {
    let mut screen = Screen::in_lab(vec![]);
    screen.types("half a");
    assert_eq!(screen.key("ctrl-c"), []);
    assert!(screen.model.editor.is_empty());
    assert_eq!(screen.key("ctrl-c"), []);
    assert_eq!(screen.key("x"), []);
    screen.key("ctrl-c");
    assert_eq!(screen.key("ctrl-c"), [], "a key between them begins anew");
    assert_eq!(screen.key("ctrl-c"), [Effect::Quit]);
}

#[test]
fn a_selected_message_is_inspected() {
    let mut screen = Screen::in_lab(many(3));
    screen.key("alt-k");
    screen.key("alt-k");
    let id = message(2, "bob", "").id;
    assert_eq!(screen.key("enter"), [Effect::Inspect { network: LAB.to_owned(), message: id.clone() }]);
    // Kept current while it is looked at.
    assert!(screen.later(1_000).contains(&Effect::Inspect { network: LAB.to_owned(), message: id }));
    screen.key("esc");
    assert!(screen.model.overlay.is_none());
}

#[test]
fn the_mouse_scrolls_selects_inspects_and_goes_to_networks() {
    use crossterm::event::{KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
    let mut screen = Screen::in_lab(many(100));
    with_ops(&mut screen, 0);
    let mouse = |kind, column, row| {
        Input::Terminal(TerminalEvent::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }))
    };
    let click = |column, row| mouse(MouseEventKind::Down(MouseButton::Left), column, row);
    screen.input(mouse(MouseEventKind::ScrollUp, 40, 10));
    assert!(screen.rows().get(27).is_some_and(|row| row.contains("message 97")), "{:#?}", screen.rows());
    assert_eq!(screen.input(click(40, 27)), []);
    let selected = screen.model.network().and_then(|lab| lab.selected).map(|key| key.seq);
    assert_eq!(selected, Some(97));
    let inspect = Effect::Inspect { network: LAB.to_owned(), message: message(97, "bob", "").id };
    assert_eq!(screen.input(click(40, 27)), [inspect]);
    screen.input(click(40, 27));
    assert!(screen.model.overlay.is_none());
    screen.input(click(4, 2));
    assert_eq!(screen.model.current.as_deref(), Some(OPS));
    assert_eq!(screen.input(click(4, 20)), [], "no network there");
}

#[test]
fn names_commands_and_networks_are_completed() {
    let mut screen = Screen::in_lab(many(1));
    screen.types("ca");
    screen.key("tab");
    assert_eq!(screen.model.editor.text(), "carol: ");
    screen.key("ctrl-c");
    screen.types("/ins");
    screen.key("tab");
    assert_eq!(screen.model.editor.text(), "/inspect ");
}

#[test]
fn the_clock_only_asks_what_has_become_old() {
    let mut screen = Screen::in_lab(vec![]);
    assert_eq!(screen.later(400), []);
    assert_eq!(screen.later(600), [Effect::Status]);
    assert_eq!(screen.later(1_000), [], "an answer is waited for");
    screen.status(status(vec![network_state("lab", LAB)]));
    let effects = screen.later(9_000);
    assert_eq!(effects, [Effect::Status, Effect::Members { network: LAB.to_owned() }]);
    screen.answer(Answer::Members { network: LAB.to_owned(), result: Ok(vec![member("bob", 1, 0)]) });
    assert_eq!(screen.model.now_ms, MORNING_MS + 11_000);
    assert_eq!(screen.model.me.as_ref().map(|me| me.peer), Some(peer("alice")));
}

#[test]
fn a_clock_that_is_set_back_stops_nothing() {
    let mut screen = Screen::in_lab(vec![]);
    screen.later(1_000);
    screen.status(status(vec![network_state("lab", LAB)]));
    screen.key("ctrl-c");
    assert!(screen.model.said.is_some());
    let now_ms = screen.model.now_ms - 3_600_000;
    let effects = screen.input(Input::Tick { now_ms, steady_ms: screen.model.steady_ms + 10_000 });
    assert_eq!(effects, [Effect::Status, Effect::Members { network: LAB.to_owned() }]);
    assert_eq!(screen.model.said, None);
    screen.enters("hello");
    assert!(screen.shows("08:30"), "what is shown is the time on the wall: {:#?}", screen.rows());
}
