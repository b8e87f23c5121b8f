//! Within one reign a node id belongs to one peer, and a version is one view: what a leader says twice is the same.

use std::collections::BTreeMap;

use p2p_chat_model::{Epoch, NodeId, PeerId, View};

use super::Finding;

/// Reign and node id to peer; reign and version to view.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    owners: BTreeMap<(Epoch, PeerId, NodeId), PeerId>,
    views: BTreeMap<(Epoch, PeerId, u64), View>,
}

impl Ids {
    pub(crate) fn check_view(&mut self, view: &View) -> Finding {
        view.check().map_err(|error| error.to_string())?;
        let Some(leader) = view.leader().map(|leader| leader.peer) else { return Ok(()) };
        for member in &view.active {
            let owner = *self.owners.entry((view.epoch, leader, member.node)).or_insert(member.peer);
            if owner != member.peer {
                let (id, epoch) = (member.node, view.epoch);
                return Err(format!("in epoch {epoch} node {id} is {owner:?}, and then {:?}", member.peer));
            }
        }
        let known = self.views.entry((view.epoch, leader, view.version)).or_insert_with(|| view.clone());
        if known == view {
            return Ok(());
        }
        Err(format!(
            "{leader:?} has two views of version {} in epoch {}: {known:?}, {view:?}",
            view.version, view.epoch
        ))
    }
}
