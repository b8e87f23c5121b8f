//! What authors really wrote: noted when it became durable at its author, before anybody else could see it.

use std::collections::BTreeMap;

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
pub(crate) struct Ledger(BTreeMap<(PeerId, Seq), Written>);

impl Ledger {
    /// An author's run has become durable at its author. An own number is used once.
    pub(crate) fn write(&mut self, run: &Run, past: &Past) -> Finding {
        for (seq, (hash, entry)) in (run.first..).zip(&run.entries) {
            let mut past = past.clone();
            past.remove(&run.author);
            let new = Written { hash: *hash, lamport: entry.header.lamport, kind: entry.header.kind, past };
            let old = self.0.insert((run.author, seq), new);
            if old.is_some_and(|old| old.hash != *hash) {
                return Err(format!("{:?} wrote two entries under number {seq}", run.author));
            }
        }
        Ok(())
    }

    pub(crate) fn entry(&self, author: PeerId, seq: Seq) -> Option<&Written> {
        self.0.get(&(author, seq))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PeerId, Seq, &Written)> {
        self.0.iter().map(|((author, seq), written)| (*author, *seq, written))
    }

    /// Whether the peer ever wrote that it leaves.
    pub(crate) fn has_left(&self, peer: PeerId) -> bool {
        self.0.range((peer, 0)..=(peer, Seq::MAX)).any(|(_, written)| written.kind == EntryKind::Leave)
    }
}
