use super::*;
use crate::screen::{
    model::timeline::{Key, Message},
    update::history::MATCHES,
};

fn asked(before: Option<Key>) -> Effect {
    Effect::Search { network: LAB.to_owned(), text: "needle".to_owned(), before }
}

fn found(messages: Vec<v1::Message>) -> Answer {
    let matches = messages.into_iter().filter_map(Message::from_wire).collect();
    Answer::Found { network: LAB.to_owned(), text: "needle".to_owned(), result: Ok(matches) }
}

#[test]
fn a_search_goes_from_match_to_match_and_loads_what_is_far() {
    let mut screen = Screen::in_lab(many(100));
    assert_eq!(screen.enters("/search needle"), [asked(None)]);
    screen.answer(found(vec![message(50, "bob", "a needle"), message(90, "bob", "message 90")]));
    assert!(screen.shows("message 90") && screen.shows("\"needle\" 1/2"), "{:#?}", screen.rows());
    screen.key("n");
    assert!(screen.shows("message 50") && screen.shows("\"needle\" 2/2"));
    assert_eq!(screen.key("n"), []);
    assert_eq!(said(&screen), "no more matches in this direction");
    screen.key("N");
    assert!(screen.shows("message 90"));
    screen.key("esc");
    screen.types("n");
    assert_eq!(screen.model.editor.text(), "n", "no search any more");
}

#[test]
fn where_the_matches_end_with_a_page_it_is_said_once_the_next_page_is_empty() {
    let mut screen = Screen::in_lab(many(MATCHES));
    assert_eq!(screen.enters("/search needle"), [asked(None)]);
    screen.answer(found(many(MATCHES)));
    for _ in 1..MATCHES {
        assert_eq!(screen.key("n"), []);
    }
    let oldest = screen.model.network().and_then(|lab| lab.timeline.first());
    assert_eq!(screen.key("n"), [asked(oldest)]);
    screen.answer(found(Vec::new()));
    assert_eq!(said(&screen), "no more matches in this direction");
    assert_eq!(screen.model.search.as_ref().map(|search| search.at), Some(99), "still at the last one");
}

#[test]
fn a_search_ends_with_a_look_at_another_network() {
    let mut screen = Screen::in_lab(many(100));
    with_ops(&mut screen, 0);
    screen.enters("/search needle");
    screen.answer(found(vec![message(50, "bob", "a needle")]));
    screen.key("alt-2");
    screen.types("no problem");
    assert_eq!(screen.model.editor.text(), "no problem");
    screen.key("ctrl-c");
    screen.key("alt-1");
    screen.enters("/search needle");
    screen.key("alt-2");
    assert_eq!(screen.answer(found(vec![message(50, "bob", "a needle")])), [], "nobody waits for it");
    let ops = screen.model.network().map(|ops| (ops.selected, ops.goal, ops.scroll));
    assert_eq!(ops, Some((None, None, Scroll::Follow)));
}

#[test]
fn keys_are_those_of_a_search_only_while_it_has_matches() {
    let mut screen = Screen::in_lab(many(100));
    screen.enters("/search needle");
    screen.types("n");
    assert_eq!(screen.model.editor.text(), "n", "nothing has been found yet");
    screen.key("ctrl-c");
    for result in [Ok(vec![]), Err(Failure::TimedOut("too long".to_owned()))] {
        screen.enters("/search needle");
        screen.answer(Answer::Found { network: LAB.to_owned(), text: "needle".to_owned(), result });
        assert_eq!(screen.model.search, None);
    }
}
