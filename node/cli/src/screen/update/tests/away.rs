//! While the node is away.

use super::*;
use crate::screen::effects::refused;

/// Lets effects be refused, as while there is no node. Returns those that nobody is told of.
fn refuse(screen: &mut Screen, effects: Vec<Effect>) -> Vec<Effect> {
    let (mut left, mut untold) = (effects, Vec::new());
    while let Some(effect) = left.pop() {
        match refused(effect.clone()) {
            Some(answer) => left.extend(screen.answer(answer)),
            None => untold.push(effect),
        }
    }
    untold
}

#[test]
fn what_is_wanted_of_a_node_that_is_away_is_refused_at_once() {
    let mut screen = Screen::in_lab(many(3));
    screen.input(Input::Lost);
    for (words, told) in [
        ("/search needle", "can't search: the node is not there yet; a moment"),
        ("/inspect 00000001", "the node is not there yet; a moment"),
    ] {
        let effects = screen.enters(words);
        assert_eq!(refuse(&mut screen, effects), [], "{words}");
        assert_eq!(said(&screen), told);
    }
    assert!(screen.model.search.as_ref().is_none_or(|search| !search.is_running), "nothing is looked for");
    assert_eq!(screen.model.overlay, None, "nothing is waited for");
}

#[test]
fn what_was_read_is_marked_when_the_node_is_back() {
    let mut screen = Screen::in_lab(many(3));
    with_ops(&mut screen, 0);
    let mark = Effect::MarkRead { network: LAB.to_owned(), position: READ + 1 };
    screen.arrives(message(61, "bob", "seen"));
    screen.input(Input::Lost);
    let away = [screen.later(10), screen.key("alt-2"), screen.key("alt-1")].concat();
    assert!(!away.contains(&mark), "nobody would hear it");
    screen.enter(many(3));
    assert!(screen.later(10).contains(&mark));
    // It was on its way when the node went.
    screen.input(Input::Lost);
    screen.enter(many(3));
    assert!(screen.later(10).contains(&mark));
    screen.status(status(vec![v1::NetworkState { read_position: READ + 1, ..network_state("lab", LAB) }]));
    screen.input(Input::Lost);
    screen.enter(many(3));
    assert!(!screen.later(10).contains(&mark), "the node has said that it knows");
}
