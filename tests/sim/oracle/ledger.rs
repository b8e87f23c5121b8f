//! What authors really wrote: noted when it became durable at its author, before anybody else could see it.

use std::collections::{BTreeMap, BTreeSet};

use p2p_chat_model::{EntryHash, EntryKind, PeerId, Run, Seq};

use super::Finding;

/// Author to number: what a node had delivered.
pub(crate) type Past = BTreeMap<PeerId, Seq>;

/// One entry, as its author wrote it.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) hash: EntryHash,
    pub(crate) lamport: u64,
    pub(crate) kind: EntryKind,
    /// What the author had delivered, other authors only.
    pub(crate) past: Past,
}

/// All entries ever written.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    written: BTreeMap<(PeerId, Seq), Written>,
    /// What a bad member said besides, under numbers of its feed.
    forks: BTreeSet<(PeerId, Seq, EntryHash)>,
}

impl Ledger {
    /// An author's run has become durable at its author. An own number is used once.
    pub(crate) fn write(&mut self, run: &Run) -> Finding {
        for (seq, (hash, entry)) in (run.first..).zip(&run.entries) {
            let (lamport, kind) = (entry.header.lamport, entry.header.kind);
            let new = Written { hash: *hash, lamport, kind, past: Past::new() };
            let old = self.written.insert((run.author, seq), new);
            if old.is_some_and(|old| old.hash != *hash) {
                return Err(format!("{:?} wrote two entries under number {seq}", run.author));
            }
        }
        Ok(())
    }

    /// What the author had delivered when it wrote that entry.
    pub(crate) fn rests_on(&mut self, author: PeerId, seq: Seq, mut past: Past) {
        past.remove(&author);
        self.written.entry((author, seq)).and_modify(|written| written.past = past);
    }

    /// An author says something else under numbers of its feed.
    pub(crate) fn fork(&mut self, run: &Run) {
        self.forks.extend((run.first..).zip(&run.entries).map(|(seq, (hash, _))| (run.author, seq, *hash)));
    }

    /// Whether the author has said this under that number.
    pub(crate) fn has_said(&self, author: PeerId, seq: Seq, hash: EntryHash) -> bool {
        self.entry(author, seq).is_some_and(|written| written.hash == hash) || self.forks.contains(&(author, seq, hash))
    }

    pub(crate) fn entry(&self, author: PeerId, seq: Seq) -> Option<&Written> {
        self.written.get(&(author, seq))
    }

    /// How far the feed of `bad` has to be there before an entry can be delivered. Its author may have excused itself
    /// from some of it, having seen a contradiction, while others that it rests on had seen more.
    pub(crate) fn bad_past(&self, entry: &Written, bad: PeerId) -> Seq {
        let of = |written: &Written| written.past.get(&bad).copied().unwrap_or(0);
        let entries = entry.past.iter().flat_map(|(author, upto)| self.written.range((*author, 0)..=(*author, *upto)));
        entries.map(|(_, written)| of(written)).max().unwrap_or(0).max(of(entry))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PeerId, Seq, &Written)> {
        self.written.iter().map(|((author, seq), written)| (*author, *seq, written))
    }

    /// Whether the peer ever wrote that it leaves.
    pub(crate) fn has_left(&self, peer: PeerId) -> bool {
        self.written.range((peer, 0)..=(peer, Seq::MAX)).any(|(_, written)| written.kind == EntryKind::Leave)
    }
}
