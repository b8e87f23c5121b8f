//! The promise: nothing acknowledged is lost, doubled or shown out of order, and everybody sees the same.

use std::collections::{BTreeMap, BTreeSet};

use p2p_chat_proto::v1::Message;

use super::ledger::Book;

/// The message that a text answers to.
pub(crate) fn quoted(text: &str) -> Option<&str> {
    text.rsplit_once(" re:").map(|(_, id)| id)
}

/// Checks one node's whole history against what was said.
pub(crate) fn check(history: &[Message], book: &Book) -> Result<(), String> {
    in_order(history)?;
    let mut texts = BTreeMap::new();
    for message in history.iter().filter(|message| message.kind == "text") {
        let Some(attempt) = book.attempted.get(&message.text) else {
            return Err(format!("nobody said {:?}", message.text));
        };
        if attempt.author != message.author_name {
            return Err(format!("{} is shown as the author of {:?}", message.author_name, message.text));
        }
        if texts.insert(&*message.text, message).is_some() {
            return Err(format!("{:?} is there twice", message.text));
        }
    }
    for (text, sent) in &book.acknowledged {
        let Some(message) = texts.get(&**text) else { return Err(format!("{text:?} was acknowledged and is lost")) };
        if (&message.id, message.seq, message.lamport) != (&sent.id, sent.seq, sent.lamport) {
            return Err(format!("{text:?} was acknowledged as {sent:?} and is {message:?}"));
        }
    }
    Ok(())
}

fn in_order(history: &[Message]) -> Result<(), String> {
    let (mut ids, mut feeds) = (BTreeSet::new(), BTreeMap::new());
    let rank = |message: &Message| (message.lamport, message.author.clone(), message.seq);
    for pair in history.windows(2) {
        if let [before, after] = pair
            && rank(before) >= rank(after)
        {
            return Err(format!("{before:?} stands before {after:?}"));
        }
    }
    for message in history {
        let last = feeds.insert(&message.author, message.seq).unwrap_or(0);
        if message.seq != last + 1 {
            return Err(format!("after entry {last} of {} comes {}", message.author_name, message.seq));
        }
        if let Some(quoted) = quoted(&message.text).filter(|quoted| !ids.contains(*quoted)) {
            return Err(format!("{:?} stands before what it answers to, {quoted}", message.text));
        }
        if !ids.insert(&*message.id) {
            return Err(format!("message {} is there twice", message.id));
        }
    }
    Ok(())
}

/// Checks that two histories say the same in the same order.
pub(crate) fn check_equal(one: &[Message], other: &[Message]) -> Result<(), String> {
    let essence = |message: &Message| {
        let Message { id, author, author_name, seq, lamport, kind, text, .. } = message.clone();
        (id, author, author_name, seq, lamport, kind, text)
    };
    if let Some((a, b)) = one.iter().zip(other).find(|(a, b)| essence(a) != essence(b)) {
        return Err(format!("where one has {a:?}, the other has {b:?}"));
    }
    if one.len() == other.len() { Ok(()) } else { Err(format!("{} messages and {}", one.len(), other.len())) }
}
