//! Whoever was a member stays one, until an entry of its own says that it leaves.

use std::collections::BTreeSet;

use p2p_chat_engine::Snapshot;
use p2p_chat_model::PeerId;

use super::{Finding, ledger::Ledger};
use crate::{net::Who, node::Node};

/// Whom each node ever listed as a member.
#[derive(Debug)]
pub(crate) struct Rosters(Vec<BTreeSet<PeerId>>);

impl Rosters {
    pub(crate) fn new(count: usize) -> Self {
        Self(vec![BTreeSet::new(); count])
    }

    pub(crate) fn check(&mut self, ledger: &Ledger, node: &Node, snapshot: &Snapshot) -> Finding {
        let listed = snapshot.roster.iter().filter(|(_, member)| member.stands()).map(|(peer, _)| *peer);
        let now: BTreeSet<PeerId> = listed.collect();
        let gone = self.0[node.who].difference(&now).find(|peer| !ledger.has_left(**peer)).copied();
        self.0[node.who] = now;
        gone.map_or(Ok(()), |peer| Err(format!("{} lists {peer:?} no longer, which never left", node.name)))
    }

    pub(crate) fn forgotten(&mut self, who: Who) {
        self.0[who].clear();
    }
}
