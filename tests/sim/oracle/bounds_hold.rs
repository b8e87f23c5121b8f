//! Every queue, window and table has a cap: entries held back, calls under way, outputs that wait for the disk.

use p2p_chat_engine::Config;

use super::Finding;
use crate::node::Node;

/// Calls that a node may have under way to each other node at the same time, and to the discovery service.
const MAX_CALLS_PER_PEER: usize = 12;
/// Outputs that may wait for the disk: what follows from the texts that may have waited to be written, and all others.
const MAX_WAITING: usize = 5 * Config::LAN.max_waiting_texts + 5_000;

pub(crate) fn check(node: &Node, calls: usize) -> Finding {
    let Some(engine) = &node.engine else { return Ok(()) };
    let snapshot = engine.snapshot();
    let peers = snapshot.roster.iter().count() + 2;
    let waiting = node.waiting();
    if snapshot.held > Config::LAN.max_held {
        Err(format!("{} holds {} entries back", node.name, snapshot.held))
    } else if calls > MAX_CALLS_PER_PEER * peers {
        Err(format!("{} has {calls} calls under way", node.name))
    } else if waiting > MAX_WAITING {
        Err(format!("{waiting} outputs of {} wait for its disk", node.name))
    } else {
        Ok(())
    }
}
