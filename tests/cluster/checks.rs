//! The checks of the other tests can fail.

use p2p_chat_proto::v1::{Message, SendResponse};

use crate::support::{
    Ledger,
    history::{check, check_equal},
    ledger::Attempt,
    recorder::check_order,
};

fn message(author: &str, seq: u64, lamport: u64, text: &str) -> Message {
    Message {
        id: format!("{author}-{seq}"),
        author: author.to_owned(),
        author_name: author.to_owned(),
        seq,
        lamport,
        kind: "text".to_owned(),
        text: text.to_owned(),
        ..Message::default()
    }
}

fn story() -> Vec<Message> {
    vec![
        message("alice", 1, 1, "one"),
        message("bob", 1, 2, "two re:alice-1"),
        message("alice", 2, 3, "three re:bob-1"),
    ]
}

fn said(history: &[Message]) -> Ledger {
    let ledger = Ledger::default();
    for Message { id, author, seq, lamport, text, .. } in history.iter().cloned() {
        let attempt = Attempt { author, at: std::time::Instant::now() };
        ledger.lock().attempted.insert(text.clone(), attempt);
        let sent = SendResponse { id, seq, lamport, ..SendResponse::default() };
        ledger.lock().acknowledged.insert(text, sent);
    }
    ledger
}

#[test]
fn a_sound_history_passes() {
    let story = story();
    assert_eq!(check(&story, &said(&story).lock()), Ok(()));
    assert_eq!(check_order(&story), Ok(()));
    assert_eq!(check_equal(&story, &story), Ok(()));
}

#[test]
fn what_is_lost_doubled_invented_or_misplaced_is_found() {
    let ledger = said(&story());
    let complaint = |change: fn(&mut Vec<Message>)| {
        let mut changed = story();
        change(&mut changed);
        check(&changed, &ledger.lock()).expect_err("it was changed")
    };
    assert!(complaint(|story| drop(story.pop())).contains("is lost"));
    assert!(complaint(|story| story.push(message("carol", 1, 9, "never said"))).contains("nobody said"));
    assert!(complaint(|story| story.push(message("alice", 3, 9, "one"))).contains("there twice"));
    assert!(complaint(|story| story[1].author_name = "carol".to_owned()).contains("as the author"));
    assert!(complaint(|story| story.swap(0, 1)).contains("stands before"));
    assert!(complaint(|story| drop(story.remove(0))).contains("before what it answers to"));
    assert!(complaint(|story| story[2].seq = 3).contains("comes 3"));
    assert!(complaint(|story| story[2].id = "another".to_owned()).contains("was acknowledged as"));
}

#[test]
fn a_wrong_order_of_showing_is_found() {
    let changed = |order: [usize; 3]| check_order(order.map(|index| story()[index].clone()).iter());
    assert!(changed([1, 0, 2]).is_err_and(|error| error.contains("before what it answers to")));
    assert!(changed([2, 0, 1]).is_err_and(|error| error.contains("comes after")));
    assert!(changed([0, 0, 1]).is_err_and(|error| error.contains("comes after")));
    let mut doubled = story();
    doubled.push(Message { seq: 3, ..doubled[0].clone() });
    assert!(check_order(&doubled).is_err_and(|error| error.contains("twice")));
}

#[test]
fn different_histories_are_found() {
    let mut other = story();
    other[1].text = "too".to_owned();
    assert!(check_equal(&story(), &other).is_err());
    assert!(check_equal(&story(), &story()[..2]).is_err());
}
