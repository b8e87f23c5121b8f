//! An entry is delivered after all that its author had delivered when it wrote it, and each author's entries in
//! their order. The past is what the author's disk held, not what the entry's clock says. And an entry's Lamport
//! time is above that of all its past: so the order for everybody, by Lamport times, is a causal one. It grows from
//! run to run, too: what a bad author wrote otherwise is not even stored.

use std::collections::BTreeSet;

use p2p_chat_model::{EntryHash, PeerId, Run, Seq};

use super::{
    Finding,
    ledger::{Ledger, Past},
};
use crate::{disk::Image, net::Who};

/// A run of somebody else is on disk, after those before it.
pub(crate) fn check_run(name: &str, image: &Image, run: &Run) -> Finding {
    let before = image.lamport(&run.author, run.first - 1).unwrap_or(0);
    match run.entries.first().map(|(_, entry)| entry.header.lamport) {
        Some(lamport) if lamport <= before => {
            let place = (run.author, run.first);
            Err(format!("{name} stores {place:?} at Lamport time {lamport}, after {before}"))
        }
        _ => Ok(()),
    }
}

/// What each node has delivered, in the order in which its disk took it.
#[derive(Debug)]
pub(crate) struct Shown {
    nodes: Vec<Node>,
    /// A bad member, whose entries order nothing: there are more than one under a number.
    bad: Option<PeerId>,
}

#[derive(Debug, Default, Clone)]
struct Node {
    delivered: Past,
    /// Of these it has what a bad member said besides.
    second_stories: BTreeSet<(PeerId, Seq)>,
    /// The place of the last in the order for everybody: Lamport time, author, number.
    newest: Option<(u64, PeerId, Seq)>,
}

impl Shown {
    pub(crate) fn new(count: usize) -> Self {
        Self { nodes: vec![Node::default(); count], bad: None }
    }

    /// What an entry that the node writes now depends on.
    pub(crate) fn past(&self, who: Who) -> Past {
        self.nodes[who].delivered.clone()
    }

    /// The node has written an own entry.
    pub(crate) fn wrote(&mut self, ledger: &Ledger, who: Who, (me, own): (PeerId, Seq)) -> Finding {
        let node = &mut self.nodes[who];
        let lamport = ledger.entry(me, own).map_or(0, |written| written.lamport);
        let as_written = |place: &(&PeerId, &Seq)| !node.second_stories.contains(&(*place.0, *place.1));
        for (author, seq) in node.delivered.iter().filter(as_written) {
            if let Some(seen) = ledger.entry(*author, *seq).filter(|seen| seen.lamport >= lamport) {
                let times = (lamport, seen.lamport);
                return Err(format!("{me:?} writes {own} after {author:?}:{seq}, at Lamport times {times:?}"));
            }
        }
        node.delivered.insert(me, own);
        node.newest = node.newest.max(Some((lamport, me, own)));
        Ok(())
    }

    /// The node has delivered somebody's entry.
    pub(crate) fn deliver(
        &mut self,
        ledger: &Ledger,
        name: &str,
        who: Who,
        (author, seq, hash): (PeerId, Seq, EntryHash),
        late: bool,
    ) -> Finding {
        let node = &mut self.nodes[who];
        let before = node.delivered.insert(author, seq).unwrap_or(0);
        if seq != before + 1 {
            return Err(format!("{name} delivers entry {seq} of {author:?} after {before}"));
        }
        let Some(written) = ledger.entry(author, seq) else { return Ok(()) };
        if written.hash != hash {
            // Said besides by a bad member: nobody knows what it rests on.
            node.second_stories.insert((author, seq));
            return Ok(());
        }
        for (other, needed) in written.past.iter().filter(|(other, _)| Some(**other) != self.bad) {
            let has = node.delivered.get(other).copied().unwrap_or(0);
            if has < *needed {
                return Err(format!(
                    "{name} delivers {author:?}:{seq} with {other:?} at {has}; its author had seen {needed}"
                ));
            }
        }
        let key = Some((written.lamport, author, seq));
        // After a restart an engine knows the end of a feed's delivered part only roughly, and may call too much late.
        if !late && key < node.newest {
            return Err(format!("{name} delivers {author:?}:{seq} as not late, after {:?}", node.newest));
        }
        node.newest = node.newest.max(key);
        Ok(())
    }

    pub(crate) fn distrust(&mut self, bad: PeerId) {
        self.bad = Some(bad);
    }

    /// A bad member has delivered somebody's entry, whatever it may mean by that.
    pub(crate) fn trust(&mut self, who: Who, author: PeerId, seq: Seq) {
        self.nodes[who].delivered.insert(author, seq);
    }

    pub(crate) fn set_back(&mut self, who: Who, author: PeerId, end: Seq) {
        self.nodes[who].delivered.insert(author, end);
    }

    pub(crate) fn forgotten(&mut self, who: Who) {
        self.nodes[who] = Node::default();
    }
}
