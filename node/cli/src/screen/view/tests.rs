use insta::assert_snapshot;
use p2p_chat_proto::v1::{self, NoticeKind, Phase};

use crate::screen::{
    fixture::{LAB, MORNING_MS, Screen, member, message, network_state, peer, status},
    layout::block::FORMATTED,
    model::timeline::Part,
    update::{Answer, Input},
};

/// A conversation of some length, with what can happen in one.
fn chatting() -> Screen {
    let mut screen = Screen::in_lab(vec![
        v1::Message { kind: "create".to_owned(), ..message(1, "bob", "bob created the network") },
        v1::Message { time_ms: MORNING_MS - 86_400_000, ..message(2, "bob", "anybody here?") },
        message(
            3,
            "carol",
            "I am. Let us meet where the long corridor ends, beside the window that is never open, at noon",
        ),
        message(4, "alice", "fine with me"),
        message(5, "alice", "I bring the plans\nand the coffee"),
    ]);
    screen.acknowledged("bob", 5);
    screen.acknowledged("carol", 4);
    screen.later(60_000);
    screen.arrives(message(6, "bob", "thanks, Alice!"));
    screen.arrives(v1::Message { seq: 9, late: true, ..message(3, "dave", "did anybody see my keys?") });
    screen.happens(NoticeKind::Joined, "dave", 0, "dave joined");
    screen.happens(NoticeKind::DroppedOut, "carol", 0, "carol dropped out; it will catch up on return");
    screen.happens(NoticeKind::LeaderChanged, "bob", 2_480, "");
    screen.arrives(message(7, "dave", "/me looks for the window"));
    screen.enters("on my way");
    screen.types("typing th");
    screen
}

fn ops(screen: &mut Screen) {
    let id = "0b500000b5000000b5000000b5000000b5000000b5000000b5000000b5000000";
    let left = v1::NetworkState {
        phase: Phase::Left.into(),
        ..network_state("old times", "01d000001d0000001d0000001d0000001d0000001d0000001d0000001d000000")
    };
    let ops = v1::NetworkState { unread: 12, ..network_state("ops", id) };
    screen.status(status(vec![network_state("lab", LAB), ops, left]));
    screen.answer(Answer::Subscribed { network: id.to_owned(), result: Ok(()) });
}

#[test]
fn names_that_begin_alike_are_told_apart() {
    let said = [(1, "christopher"), (2, "christopher-2")];
    let said = said.map(|(number, name)| v1::Message {
        author_name: name.to_owned(),
        ..message(number, "bob", &format!("I am number {number}"))
    });
    let mut screen = Screen::in_lab(said.to_vec());
    screen.resized(80, 24);
    assert!(screen.shows("chris…pher │ I am number 1") && screen.shows("chris…er-2 │ I am number 2"));
    screen.resized(160, 24);
    assert!(screen.shows(" christopher │ I am number 1") && screen.shows(" christopher-2 │ I am number 2"));
    screen.resized(40, 24);
    assert!(screen.shows("chris…pher: I am"), "{:#?}", screen.rows());
}

#[test]
fn starting() {
    assert_snapshot!(Screen::new().drawn());
}

#[test]
fn joining() {
    let mut screen = Screen::new();
    screen.input(Input::Opened(None));
    screen.status(status(vec![]));
    screen.later(3_000);
    assert_snapshot!(screen.drawn());
}

#[test]
fn in_no_network() {
    let mut screen = Screen::new();
    screen.model.wanted = None;
    screen.input(Input::Opened(None));
    screen.status(status(vec![]));
    assert_snapshot!(screen.drawn());
}

#[test]
fn an_empty_network() {
    assert_snapshot!(Screen::in_lab(vec![]).drawn());
}

#[test]
fn a_conversation() {
    let mut screen = chatting();
    ops(&mut screen);
    let away = member("carol", 0, 4);
    let members = vec![member("bob", 1, 5), member("alice", 2, 6), member("dave", 4, 5), away];
    screen.answer(Answer::Members { network: LAB.to_owned(), result: Ok(members) });
    assert_snapshot!(screen.drawn());
}

#[test]
fn a_narrow_terminal() {
    let mut screen = chatting();
    screen.resized(40, 15);
    assert_snapshot!(screen.drawn());
}

#[test]
fn the_members_on_a_narrow_terminal() {
    let mut screen = chatting();
    screen.resized(40, 15);
    screen.key("alt-m");
    assert_snapshot!(screen.drawn());
}

#[test]
fn no_leader_and_no_discovery_service() {
    let mut screen = chatting();
    screen.happens(NoticeKind::Leaderless, "", 4, "the leader of epoch 4 can't be reached; messages still flow");
    let lab = v1::NetworkState { leader_peer: String::new(), leader_alive: false, ..network_state("lab", LAB) };
    let mut status = status(vec![lab]);
    for service in &mut status.discovery {
        service.reachable = false;
    }
    screen.status(status);
    assert_snapshot!(screen.drawn());
}

#[test]
fn catching_up() {
    let mut screen = chatting();
    let missing = |entries| v1::Missing {
        author_name: "bob".to_owned(),
        author_peer: peer("bob").to_string(),
        entries,
        asking: "carol".to_owned(),
    };
    let lab = |entries| v1::NetworkState { missing: vec![missing(entries)], ..network_state("lab", LAB) };
    screen.status(status(vec![lab(5_000)]));
    screen.status(status(vec![lab(3_200)]));
    assert_snapshot!(screen.drawn());
}

#[test]
fn wide_and_strange_characters() {
    let mut screen = Screen::in_lab(vec![
        message(
            1,
            "bob",
            "世界中の誰もが、この長い文章を読むことができるはずです。行の終わりで正しく折り返されますか？多分そうです。",
        ),
        message(2, "carol", "👨‍👩‍👧‍👦 family, 🏳️‍🌈 flag, e\u{301} accent, ❤️ heart"),
        message(3, "bob", "שלום עולם, مرحبا بالعالم"),
        message(4, "carol", "\u{1b}[2J\u{1b}]0;owned\u{7} gone? \u{202e}desrever a\tb"),
        v1::Message { author_name: "名前の長い人です".to_owned(), ..message(5, "dave", "a wide name") },
    ]);
    screen.types("日本語 in the input");
    assert_snapshot!(screen.drawn());
}

#[test]
fn who_has_a_message() {
    let mut screen = chatting();
    screen.key("alt-i");
    let custody = |name: &str, state: &str, way: &str, active| v1::Custody {
        member_name: name.to_owned(),
        member_peer: peer(name).to_string(),
        state: state.to_owned(),
        time_ms: if state == "stored" { MORNING_MS } else { 0 },
        way: way.to_owned(),
        active,
    };
    let inspection = v1::InspectResponse {
        message: Some(message(5, "alice", "I bring the plans\nand the coffee")),
        custody: vec![
            custody("alice", "stored", "author", true),
            custody("bob", "stored", "relayed by dave", true),
            custody("carol", "not yet", "", false),
        ],
    };
    let message = message(5, "alice", "").id;
    screen.answer(Answer::Inspected { message, result: Ok(inspection) });
    assert_snapshot!(screen.drawn());
}

#[test]
fn help() {
    let mut screen = chatting();
    screen.resized(100, 60);
    screen.key("f1");
    assert_snapshot!(screen.drawn());
}

#[test]
fn unread_messages_and_a_mention() {
    let mut screen = Screen::new();
    screen.input(Input::Opened(None));
    screen.model.tasks.clear();
    screen.status(status(vec![v1::NetworkState { read_position: 2, ..network_state("lab", LAB) }]));
    screen.answer(Answer::Subscribed { network: LAB.to_owned(), result: Ok(()) });
    screen.loaded(
        Part::Newest,
        vec![
            message(1, "bob", "good morning"),
            message(2, "bob", "how is everybody?"),
            v1::Message { late: true, ..message(3, "carol", "still asleep") },
            v1::Message { late: true, ..message(4, "bob", "alice: wake her, please") },
        ],
    );
    assert_snapshot!(screen.drawn());
}

#[test]
fn a_failed_command_says_why() {
    let mut screen = chatting();
    screen.key("ctrl-c");
    screen.enters("/dance with me");
    assert_snapshot!(screen.drawn());
}

/// Rows in which something is coloured, and by how many colours in all.
fn colours(screen: &Screen) -> usize {
    let backend = screen.drawn();
    let cells = backend.buffer().content().iter();
    cells.map(|cell| (cell.fg, cell.bg)).collect::<std::collections::HashSet<_>>().len()
}

#[test]
fn no_color_is_respected() {
    assert_eq!(colours(&chatting()), 1);
    let mut coloured = Screen::with(&[("TERM", "xterm")]);
    coloured.enter(vec![message(1, "bob", "hi"), message(2, "carol", "hi")]);
    assert!(colours(&coloured) > 4);
}

#[test]
fn a_draw_formats_what_is_in_view_however_much_there_is() {
    let formatted = |screen: &Screen| {
        FORMATTED.with(|count| count.set(0));
        screen.drawn();
        FORMATTED.with(std::cell::Cell::get)
    };
    let page = |from: u64| (from..from + 200).map(|n| message(n, "bob", &format!("message {n}"))).collect::<Vec<_>>();
    let mut screen = Screen::in_lab(page(99_801));
    let few = formatted(&screen);
    assert!(few <= 30, "{few} messages for 27 rows");
    for n in 100_001..101_501 {
        screen.arrives(message(n, "bob", &format!("message {n}")));
    }
    assert_eq!(formatted(&screen), few, "the end");
    for _ in 0..20 {
        screen.key("pageup");
    }
    assert!(formatted(&screen) <= few, "in the middle");
}

#[test]
fn an_arrival_formats_nothing() {
    let mut screen = Screen::in_lab((1..=1_000).map(|n| message(n, "bob", "x")).collect());
    FORMATTED.with(|count| count.set(0));
    screen.arrives(message(1_001, "carol", "y"));
    assert_eq!(FORMATTED.with(std::cell::Cell::get), 0);
}

#[test]
fn a_line_moves_to_the_left_only_where_it_has_no_room() {
    let mut screen = Screen::in_lab(vec![]);
    screen.resized(20, 8);
    screen.types("abcdefghijklmnopq");
    assert!(screen.shows("› abcdefghijklmnopq"), "{:#?}", screen.rows());
    screen.types("r");
    assert!(screen.shows("› bcdefghijklmnopqr"), "{:#?}", screen.rows());
}

#[test]
fn no_size_is_too_small() {
    for width in [0, 1, 2, 3, 5, 8, 13, 20, 30, 44, 71, 95, 120] {
        for height in [0, 1, 2, 3, 4, 5, 6, 8, 12, 20] {
            let mut screen = chatting();
            screen.resized(width, height);
            screen.drawn();
            for key in ["pageup", "alt-k", "alt-n", "alt-m", "pagedown", "esc", "f1", "end"] {
                screen.key(key);
                screen.drawn();
            }
        }
    }
}

#[test]
fn letters_that_take_less_room_together_keep_it() {
    let mut screen = Screen::in_lab(vec![message(1, "سلام", "سلام"), message(2, "alice", "سلام")]);
    screen.acknowledged("bob", 2);
    screen.acknowledged("carol", 2);
    for shown in ["سلام │ سلام", "alice │ سلام ✓"] {
        assert!(screen.shows(shown), "{shown}: {:#?}", screen.rows());
    }
    screen.key("alt-k");
    assert!(screen.shows("alice │ سلام ✓"), "{:#?}", screen.rows());
    screen.enters("/search لا");
    assert!(screen.shows("alice │ سلام ✓"), "{:#?}", screen.rows());
    screen.resized(40, 15);
    assert!(screen.shows("alice: سلام ✓"), "{:#?}", screen.rows());
}
