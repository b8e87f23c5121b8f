//! What becomes of own messages.

use super::*;

#[test]
fn a_message_goes_from_on_its_way_to_stored_by_all() {
    let mut screen = Screen::in_lab(vec![message(1, "bob", "hi")]);
    assert_eq!(plain(screen.enters("hello")), [send("hello")]);
    assert!(screen.model.editor.is_empty());
    assert!(screen.shows("hello …"));
    let token = 2;
    let response = v1::SendResponse { id: "id".to_owned(), seq: 7, lamport: 9, ..Default::default() };
    screen.answer(Answer::Sent { network: LAB.to_owned(), token, result: Ok(response) });
    assert!(screen.shows("hello queued"));
    let own = v1::Message { seq: 7, lamport: 9, ..message(9, "alice", "hello") };
    screen.arrives(own);
    assert_eq!(screen.rows().iter().filter(|row| row.contains("hello")).count(), 1);
    screen.acknowledged("bob", 7);
    assert!(screen.shows("hello 1/2"));
    screen.acknowledged("carol", 7);
    assert!(screen.shows("hello ✓"));
}

#[test]
fn a_message_that_comes_back_before_the_answer_is_shown_once() {
    let mut screen = Screen::in_lab(vec![]);
    screen.enters("hello");
    screen.arrives(v1::Message { seq: 7, lamport: 9, ..message(9, "alice", "hello") });
    assert_eq!(screen.rows().iter().filter(|row| row.contains("hello")).count(), 1);
    let response = v1::SendResponse { id: "id".to_owned(), seq: 7, lamport: 9, ..Default::default() };
    screen.answer(Answer::Sent { network: LAB.to_owned(), token: 2, result: Ok(response) });
    assert_eq!(screen.rows().iter().filter(|row| row.contains("hello")).count(), 1);
}

#[test]
fn a_message_that_comes_back_after_the_answer_stands_for_no_other_with_its_text() {
    let mut screen = Screen::in_lab(vec![]);
    screen.enters("hello");
    screen.enters("hello");
    let response = v1::SendResponse { id: "id".to_owned(), seq: 7, lamport: 9, ..Default::default() };
    screen.answer(Answer::Sent { network: LAB.to_owned(), token: 2, result: Ok(response) });
    screen.arrives(v1::Message { seq: 7, lamport: 9, ..message(9, "alice", "hello") });
    assert!(screen.shows("hello queued") && screen.shows("hello …"), "{:#?}", screen.rows());
}

#[test]
fn what_could_not_be_sent_is_given_back() {
    let mut screen = Screen::in_lab(vec![]);
    screen.enters("hello");
    let result = Err(Failure::Failed("the disk is full".to_owned()));
    screen.answer(Answer::Sent { network: LAB.to_owned(), token: 2, result });
    assert_eq!(screen.model.editor.text(), "hello");
    assert_eq!(said(&screen), "not sent: the disk is full");
    assert!(!screen.shows("hello …"));
}

#[test]
fn what_could_not_be_sent_is_given_back_only_where_it_was_for() {
    let mut screen = Screen::in_lab(vec![]);
    with_ops(&mut screen, 0);
    screen.enters("hello");
    screen.key("alt-2");
    assert_eq!(screen.model.current.as_deref(), Some(OPS));
    let result = Err(Failure::Failed("the disk is full".to_owned()));
    screen.answer(Answer::Sent { network: LAB.to_owned(), token: 2, result });
    assert!(screen.model.editor.is_empty());
    assert_eq!(said(&screen), "not sent (Up brings it back): the disk is full");
    assert_eq!(unsent(&screen.model).as_deref(), Some("a message of yours may not have been sent: hello"));
}

#[test]
fn a_text_that_is_given_back_says_the_same_again() {
    for line in ["//quit", "///quit", "/me waves", "hello", "//me waves"] {
        let mut screen = Screen::in_lab(vec![]);
        let sent = plain(screen.enters(line));
        let result = Err(Failure::Failed("the disk is full".to_owned()));
        screen.answer(Answer::Sent { network: LAB.to_owned(), token: 2, result });
        assert_eq!(plain(screen.key("enter")), sent, "{line}");
    }
    let mut screen = Screen::in_lab(vec![]);
    screen.enters("//quit");
    let result = Err(Failure::Failed("the disk is full".to_owned()));
    screen.answer(Answer::Sent { network: LAB.to_owned(), token: 2, result });
    assert_eq!(screen.model.editor.text(), "//quit");
}

#[test]
fn of_several_that_could_not_be_sent_none_is_forgotten() {
    let mut screen = Screen::in_lab(vec![]);
    for text in ["one", "two", "three", "four"] {
        screen.enters(text);
    }
    let full = |token| {
        let result = Err(Failure::Failed("the disk is full".to_owned()));
        Answer::Sent { network: LAB.to_owned(), token, result }
    };
    let told = [
        "not sent: the disk is full",
        "not sent (Up brings it back): the disk is full",
        "not sent (Up brings back all 2): the disk is full",
        "not sent (Up brings back all 3): the disk is full",
    ];
    for (token, told) in (2..).zip(told) {
        screen.answer(full(token));
        assert_eq!(said(&screen), told);
    }
    assert_eq!(screen.model.editor.text(), "one");
    let named = |screen: &Screen| unsent(&screen.model).unwrap_or_default();
    assert_eq!(named(&screen), "3 messages of yours may not have been sent; the first of them: two");
    for text in ["four", "three", "two"] {
        screen.key("up");
        assert_eq!(screen.model.editor.text(), text);
    }
    screen.key("enter");
    screen.answer(Answer::Sent { network: LAB.to_owned(), token: 6, result: Ok(v1::SendResponse::default()) });
    assert_eq!(named(&screen), "2 messages of yours may not have been sent; the first of them: three");
    // One of them was sent all the same.
    screen.model.network_mut().expect("there").timeline.load(Part::Newest);
    screen.loaded(Part::Newest, vec![message(9, "alice", "three")]);
    assert_eq!(named(&screen), "a message of yours may not have been sent: four");
}

#[test]
fn what_nobody_has_answered_may_have_been_sent() {
    let mut screen = Screen::in_lab(vec![]);
    screen.enters("hello");
    let result = Err(Failure::Unreachable("the node has gone".to_owned()));
    screen.answer(Answer::Sent { network: LAB.to_owned(), token: 2, result });
    assert_eq!(said(&screen), "may not have been sent: the node has gone");
}

#[test]
fn what_may_not_have_been_sent_is_said_at_the_end() {
    let mut screen = Screen::in_lab(vec![]);
    assert_eq!(unsent(&screen.model), None);
    for text in ["one", "two", "three"] {
        screen.enters(text);
    }
    let result = Ok(v1::SendResponse { id: "id".to_owned(), seq: 7, lamport: 9, ..Default::default() });
    screen.answer(Answer::Sent { network: LAB.to_owned(), token: 2, result });
    let sentence = "your last 2 messages may not have been sent; the first of them: two";
    assert_eq!(unsent(&screen.model).as_deref(), Some(sentence));
    screen.arrives(v1::Message { seq: 8, lamport: 10, ..message(10, "alice", "two") });
    assert_eq!(unsent(&screen.model).as_deref(), Some("your last message may not have been sent: three"));
    screen.arrives(v1::Message { seq: 9, lamport: 11, ..message(11, "alice", "three") });
    screen.enters(&"é".repeat(61));
    let sentence = format!("your last message may not have been sent: {}…", "é".repeat(60));
    assert_eq!(unsent(&screen.model), Some(sentence));
}

#[test]
fn nothing_is_said_before_the_network_is_entered_or_after_it_was_left() {
    let mut screen = Screen::in_lab(vec![]);
    for (phase, why) in [(v1::Phase::Joining, "you are not in lab yet"), (v1::Phase::Left, "you have left lab")] {
        screen.status(status(vec![v1::NetworkState { phase: phase.into(), ..network_state("lab", LAB) }]));
        assert_eq!(screen.enters("hello"), []);
        assert!(said(&screen).starts_with(why), "{}", said(&screen));
        assert_eq!(screen.model.editor.text(), "hello");
        screen.key("ctrl-c");
    }
}

#[test]
fn only_so_many_messages_are_on_their_way_at_once() {
    let mut screen = Screen::in_lab(vec![]);
    let sent = (0..70).filter(|n| !screen.enters(&format!("message {n}")).is_empty()).count();
    assert_eq!(sent, 64);
    assert!(said(&screen).starts_with("your messages before this one"), "{}", said(&screen));
}

#[test]
fn too_long_a_text_stays_in_the_input_line() {
    let mut screen = Screen::in_lab(vec![]);
    screen.input(Input::Terminal(TerminalEvent::Paste("x".repeat(65_537))));
    assert_eq!(screen.key("enter"), []);
    assert!(said(&screen).starts_with("a message has at most 65536 bytes"), "{}", said(&screen));
    assert_eq!(screen.model.editor.text().len(), 65_537);
}

#[test]
fn a_pasted_block_is_sent_without_its_last_line_break_and_blanks_are_not_sent() {
    let mut screen = Screen::in_lab(vec![]);
    let pasted = |screen: &mut Screen, text: &str| {
        screen.input(Input::Terminal(TerminalEvent::Paste(text.to_owned())));
        plain(screen.key("enter"))
    };
    assert_eq!(pasted(&mut screen, "one\r\n  two\r\n\r\n"), [send("one\n  two")]);
    assert_eq!(pasted(&mut screen, "/quit\n"), [send("/quit")], "still no command");
    for blank in ["   ", "\n", " \n\t\n"] {
        assert_eq!(pasted(&mut screen, blank), [], "{blank:?}");
    }
}

#[test]
fn what_is_pasted_is_one_message_and_no_command() {
    let mut screen = Screen::in_lab(vec![]);
    screen.input(Input::Terminal(TerminalEvent::Paste("/quit\r\nnow".to_owned())));
    assert_eq!(plain(screen.key("enter")), [send("/quit\nnow")]);
}
