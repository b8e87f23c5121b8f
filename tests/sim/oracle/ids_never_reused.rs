//! Within one reign a node id belongs to one peer, and a version is one view: what a leader says twice is the same.
//! And a member keeps its id from one version to the next, unless it has asked to be let in anew.

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
        let place = |version: u64| (view.epoch, leader, version);
        let known = self.views.entry(place(view.version)).or_insert_with(|| view.clone());
        if known != view {
            let (version, epoch) = (view.version, view.epoch);
            return Err(format!("{leader:?} has two views of version {version} in epoch {epoch}: {known:?}, {view:?}"));
        }
        let neighbours = [view.version - 1, view.version + 1];
        neighbours.iter().filter_map(|version| self.views.get(&place(*version))).try_for_each(|it| same_ids(it, view))
    }
}

/// Of two versions in a row: nobody has two ids by one request to be let in.
fn same_ids(one: &View, other: &View) -> Finding {
    for member in &one.active {
        let again = other.member(&member.peer).filter(|again| again.join_request == member.join_request);
        if again.is_some_and(|again| again.node != member.node) {
            let (peer, versions) = (member.peer, (one.version, other.version));
            return Err(format!("{peer:?} has two ids by one join, in versions {versions:?}: {one:?}, {other:?}"));
        }
    }
    Ok(())
}
