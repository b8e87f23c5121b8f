//! Equal entries make an equal roster, whatever the order in which they came: it is folded here a second time, straight
//! from the disk. The timeline is the store's, and compared by its own tests and those of real nodes.

use std::collections::{BTreeMap, BTreeSet};

use p2p_chat_engine::Snapshot;
use p2p_chat_model::{PeerId, RosterOp, Seq};

use super::Finding;
use crate::{disk::Image, node::Node};

/// Whether the engine's roster is what its delivered entries say.
pub(crate) fn check(node: &Node, snapshot: &Snapshot) -> Finding {
    let folded = fold(node.disk.image());
    let listed = snapshot.roster.iter().filter(|(_, member)| member.stands()).map(|(peer, _)| *peer);
    let listed: BTreeSet<PeerId> = listed.collect();
    if folded == listed {
        return Ok(());
    }
    Err(format!("{} lists {listed:?}; its entries say {folded:?}", node.name))
}

/// A member was admitted, and its last leave was known to one who admitted it.
fn fold(image: &Image) -> BTreeSet<PeerId> {
    let mut admitted: BTreeMap<PeerId, Seq> = BTreeMap::new();
    let mut left: BTreeMap<PeerId, Seq> = BTreeMap::new();
    for (author, seq, _, entry) in image.entries().filter(|(author, seq, ..)| *seq <= image.delivered(author)) {
        match entry.roster_op().ok().flatten() {
            Some(RosterOp::Genesis(_)) => drop(admitted.entry(author).or_default()),
            Some(RosterOp::Admit { peer, past, .. }) => {
                let known = admitted.entry(peer).or_default();
                *known = past.max(*known);
            }
            Some(RosterOp::Leave) => {
                let last = left.entry(author).or_default();
                *last = seq.max(*last);
            }
            None => {}
        }
    }
    let last_leave = |peer: &PeerId| left.get(peer).copied().unwrap_or(0);
    admitted.into_iter().filter(|(peer, past)| last_leave(peer) <= *past).map(|(peer, _)| peer).collect()
}
