//! What a node said it has - by an acknowledgement, "sent", or a frontier - is on its disk then and ever after.

use std::collections::BTreeMap;

use p2p_chat_engine::{Done, Event, Output, PeerCall, Response, Standing};
use p2p_chat_model::{PeerId, Seq, VectorClock};

use super::Finding;
use crate::{net::Who, node::Node};

/// What each node ever said it has.
#[derive(Debug)]
pub(crate) struct Acked {
    said: Vec<BTreeMap<PeerId, Seq>>,
    /// Up to where each author was told "sent".
    sent: BTreeMap<PeerId, Seq>,
    /// Disks that were dropped hold nothing any more of what was said.
    dropped: Vec<bool>,
}

impl Acked {
    pub(crate) fn new(count: usize) -> Self {
        Self { said: vec![BTreeMap::new(); count], sent: BTreeMap::new(), dropped: vec![false; count] }
    }

    /// Up to where an author was told that its entries are safe.
    pub(crate) fn sent(&self) -> impl Iterator<Item = (PeerId, Seq)> {
        self.sent.iter().map(|(author, seq)| (*author, *seq))
    }

    /// An author has left with what nobody else may have.
    pub(crate) fn forgo(&mut self, author: PeerId) {
        self.sent.remove(&author);
    }

    pub(crate) fn check_output(&mut self, nodes: &[Node], who: Who, output: &Output) -> Finding {
        let node = &nodes[who];
        match output {
            Output::Reply(_, Ok(Response::Acked(upto))) => self.say(node, upto),
            Output::Reply(_, Ok(Response::Admitted { frontier, .. })) => self.say(node, frontier),
            Output::Reply(_, Ok(Response::Standing(Standing { frontier: Some(frontier), .. })))
            | Output::Call { call: PeerCall::Ping(Standing { frontier: Some(frontier), .. }), .. }
            | Output::Call { call: PeerCall::Fetch(frontier, _), .. } => self.say(node, frontier),
            Output::Done(_, Ok(Done::Sent { seq, .. })) => {
                self.sent.insert(node.peer, *seq);
                self.say(node, &[(node.peer, *seq)].into_iter().collect())
            }
            Output::Event(Event::Acked { peer, upto }) => {
                let Some(other) = nodes.iter().find(|other| other.peer == *peer && !self.dropped[other.who]) else {
                    return Ok(());
                };
                let (has, _) = other.disk.image().end(&node.peer);
                if has >= *upto {
                    return Ok(());
                }
                Err(format!("{} believes {} to have {upto} of its entries; it has {has}", node.name, other.name))
            }
            _ => Ok(()),
        }
    }

    fn say(&mut self, node: &Node, upto: &VectorClock) -> Finding {
        for (author, seq) in upto.iter() {
            let said = self.said[node.who].entry(author).or_default();
            *said = seq.max(*said);
            let (has, _) = node.disk.image().end(&author);
            if has < seq {
                return Err(format!("{} says it has {author:?}:{seq} on disk, where {has} is the last", node.name));
            }
        }
        Ok(())
    }

    /// Whether everything that was ever acknowledged is still there.
    pub(crate) fn check_disk(&self, node: &Node) -> Finding {
        for (author, seq) in &self.said[node.who] {
            let (has, _) = node.disk.image().end(author);
            if has < *seq {
                return Err(format!("{} has lost {author:?}:{seq}; {has} is the last", node.name));
            }
        }
        Ok(())
    }

    /// The disk was dropped. Who had said nothing, is believed nothing.
    pub(crate) fn forgotten(&mut self, who: Who) {
        self.dropped[who] |= !self.said[who].is_empty();
        self.said[who].clear();
    }

    /// Whatever it said or says counts for nothing.
    pub(crate) fn distrust(&mut self, who: Who) {
        self.said[who].clear();
        self.dropped[who] = true;
    }
}
