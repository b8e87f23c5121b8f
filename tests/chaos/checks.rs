//! The verdict can be a bad one, and says what is wrong.

use p2p_chat_proto::v1::{Message, SendResponse};

use crate::{
    support::ledger::{Attempt, Ledger},
    verdict::{Compared, Histories, verdict},
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

/// Alice's and bob's words; the answer to the last was lost.
fn story() -> (Vec<Message>, Ledger) {
    let story = vec![message("alice", 1, 1, "one"), message("bob", 1, 2, "two"), message("alice", 2, 3, "three")];
    let ledger = Ledger::default();
    for Message { id, author, seq, lamport, text, .. } in story.iter().cloned() {
        let attempt = Attempt { author, at: std::time::Instant::now() };
        ledger.lock().attempted.insert(text.clone(), attempt);
        if text != "three" {
            let sent = SendResponse { id, seq, lamport, ..SendResponse::default() };
            ledger.lock().acknowledged.insert(text, sent);
        }
    }
    (story, ledger)
}

#[test]
fn equal_and_whole_histories_pass_with_or_without_what_was_not_answered() {
    let (story, ledger) = story();
    let both = |history: &[Message]| Histories::from([("alice", history.to_vec()), ("bob", history.to_vec())]);
    let with = verdict(&both(&story), &ledger.lock());
    assert_eq!(with, Ok(Compared { deliveries: 6, stored_unanswered: 1 }));
    let without = verdict(&both(&story[..2]), &ledger.lock());
    assert_eq!(without, Ok(Compared { deliveries: 4, stored_unanswered: 0 }));
}

#[test]
fn what_only_some_have_is_found_and_named() {
    let (story, ledger) = story();
    let complaint = |at_bob: &[Message]| {
        let histories = Histories::from([("alice", story.clone()), ("bob", at_bob.to_vec())]);
        verdict(&histories, &ledger.lock()).expect_err("bob lacks something")
    };
    let lost = complaint(&story[..1]);
    assert!(lost.contains("\"two\" was acknowledged and is lost"), "{lost}");
    assert!(lost.contains("\"two\", entry 1, Lamport time 2: only at [\"alice\"]"), "{lost}");
    let not_everywhere = complaint(&story[..2]);
    assert!(not_everywhere.contains("alice and bob differ: 3 messages and 2"), "{not_everywhere}");
}
