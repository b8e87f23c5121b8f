//! Equal entries make an equal roster and an equal timeline, whatever the order in which they came. The roster is
//! folded here a second time, straight from the disk.

use std::collections::{BTreeMap, BTreeSet};

use p2p_chat_engine::Snapshot;
use p2p_chat_model::{EntryHash, PeerId, RosterOp, Seq};

use super::Finding;
use crate::{disk::Image, node::Node};

/// Delivered entries, as a frontier: of each author the last one, and its hash.
type Frontier = Vec<(PeerId, Seq, Option<EntryHash>)>;

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

/// Whether nodes with the same entries show the same, in the same order.
pub(crate) fn check_agreement(nodes: &[Node]) -> Finding {
    let mut shown = BTreeMap::new();
    for node in nodes.iter().filter(|node| node.engine.is_some()) {
        let image = node.disk.image();
        let last = |author: &PeerId, seq: Seq| image.hash(author, seq);
        let frontier: Frontier =
            image.delivered.iter().map(|(author, seq)| (*author, *seq, last(author, *seq))).collect();
        let timeline = timeline(image);
        let (name, first) = shown.entry(frontier).or_insert_with(|| (node.name, timeline.clone()));
        if *first != timeline {
            return Err(format!("{} and {name} show the same entries differently", node.name));
        }
    }
    Ok(())
}

fn timeline(image: &Image) -> Vec<EntryHash> {
    let delivered = image.entries().filter(|(author, seq, ..)| *seq <= image.delivered(author));
    let mut places: Vec<(u64, PeerId, Seq, EntryHash)> =
        delivered.map(|(author, seq, hash, entry)| (entry.header.lamport, author, seq, hash)).collect();
    places.sort();
    places.into_iter().map(|(.., hash)| hash).collect()
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
