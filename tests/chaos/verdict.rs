//! What every node shows against what every writer was told: the sentence on a round, readable if it is a bad one.

use std::{collections::BTreeMap, fmt::Write};

use p2p_chat_proto::v1::Message;

use crate::support::{history, ledger::Book};

/// How many examples of each complaint are worth reading.
const EXAMPLES: usize = 10;

/// The histories of all nodes, by name.
pub(crate) type Histories = BTreeMap<&'static str, Vec<Message>>;

/// What was compared.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Compared {
    /// Messages over all nodes.
    pub(crate) deliveries: usize,
    /// Sends that were never answered, and were stored all the same.
    pub(crate) stored_unanswered: usize,
}

/// Whether nothing was lost, doubled, invented or misplaced, and all show the same.
pub(crate) fn verdict(histories: &Histories, book: &Book) -> Result<Compared, String> {
    let mut complaints = String::new();
    for (name, history) in histories {
        if let Err(error) = history::check(history, book) {
            let _ = writeln!(complaints, "{name}: {error}");
        }
    }
    for ((one, first), (other, second)) in histories.iter().zip(histories.iter().skip(1)) {
        if let Err(error) = history::check_equal(first, second) {
            let _ = writeln!(complaints, "{one} and {other} differ: {error}");
        }
    }
    if !complaints.is_empty() {
        lost(&mut complaints, histories, book);
        feeds(&mut complaints, histories);
        return Err(complaints);
    }
    let texts = histories.values().next().into_iter().flatten().filter(|message| message.kind == "text");
    let stored_unanswered = texts.filter(|message| !book.acknowledged.contains_key(&message.text)).count();
    Ok(Compared { deliveries: histories.values().map(Vec::len).sum(), stored_unanswered })
}

/// The acknowledged texts that somebody lacks, and who has them.
fn lost(complaints: &mut String, histories: &Histories, book: &Book) {
    let texts: BTreeMap<&str, std::collections::BTreeSet<&str>> = histories
        .iter()
        .map(|(name, history)| (*name, history.iter().map(|message| message.text.as_str()).collect()))
        .collect();
    let holders = |text: &str| -> Vec<&str> {
        texts.iter().filter(|(_, texts)| texts.contains(text)).map(|(name, _)| *name).collect()
    };
    let mut lacking: Vec<_> = book
        .acknowledged
        .iter()
        .map(|(text, sent)| (sent.lamport, sent.seq, text, holders(text)))
        .filter(|(.., holders)| holders.len() < histories.len())
        .collect();
    lacking.sort_unstable();
    if !lacking.is_empty() {
        let _ = writeln!(complaints, "{} acknowledged texts are not everywhere; the first:", lacking.len());
    }
    for (lamport, seq, text, holders) in lacking.iter().take(EXAMPLES) {
        let _ = writeln!(complaints, "    {text:?}, entry {seq}, Lamport time {lamport}: only at {holders:?}");
    }
}

/// What each node has of each feed.
fn feeds(complaints: &mut String, histories: &Histories) {
    for (name, history) in histories {
        let mut held: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for message in history {
            let (count, last) = held.entry(&message.author_name).or_default();
            (*count, *last) = (*count + 1, message.seq.max(*last));
        }
        let held: Vec<String> =
            held.iter().map(|(author, (count, last))| format!("{author} {count}, last {last}")).collect();
        let _ = writeln!(complaints, "{name} shows {} entries: {}", history.len(), held.join("; "));
    }
}
