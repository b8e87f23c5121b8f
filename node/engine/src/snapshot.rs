//! What the engine shows of itself, for `status`, `members` and `inspect`.

use std::collections::BTreeSet;

use p2p_chat_model::{NodeId, PeerId, Seq, VectorClock, View};

use crate::{durable::Phase, engine::Engine, roster::Roster};

/// The engine at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What the node does in the network.
    pub phase: Phase,
    /// The view that is followed.
    pub view: Option<View>,
    /// The reign that is followed; may be above the view's while the node is outside.
    pub epoch: p2p_chat_model::Epoch,
    /// This node's id in the view.
    pub node: Option<NodeId>,
    /// Whether this node leads.
    pub leading: bool,
    /// Whether the leader has answered lately; of this node's own reign, whether anybody has confirmed it since a
    /// restart.
    pub leader_alive: bool,
    /// Everybody who is or was a member.
    pub roster: Roster,
    /// What is on disk.
    pub frontier: VectorClock,
    /// What is delivered.
    pub delivered: VectorClock,
    /// How many entries wait for what they depend on.
    pub held: usize,
    /// What others are known to have beyond the frontier.
    pub missing: VectorClock,
    /// Authors that have contradicted themselves: nothing more is taken of their feeds.
    pub frozen: BTreeSet<PeerId>,
    /// Whether an own entry could be written at once.
    pub writable: bool,
    /// Per other member: its hold on the own feed.
    pub cursors: Vec<CursorState>,
}

/// A member's hold on the own feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorState {
    /// Who.
    pub peer: PeerId,
    /// Up to where it has the own feed on disk.
    pub acked: Seq,
    /// Who passes entries on to it, if they don't go directly.
    pub via: Option<PeerId>,
    /// Whether the latest hand-over failed.
    pub failing: bool,
}

impl Engine {
    /// The engine as it is now. Copies the view and the roster: about 100 KiB with 1,000 members.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            phase: self.state.phase,
            view: self.state.view.clone(),
            epoch: self.state.epoch,
            node: self.node(),
            leading: self.is_leading(),
            leader_alive: !self.liveness.unconfirmed && self.has_leader(),
            roster: self.roster.clone(),
            frontier: self.feeds.stored().clone(),
            delivered: self.feeds.delivered().clone(),
            held: self.feeds.held(),
            missing: self.catchup.missing(self.feeds.stored()),
            frozen: self.state.frozen.clone(),
            writable: self.may_write(),
            cursors: self.delivery.states(self.moment.now),
        }
    }

    fn has_leader(&self) -> bool {
        self.is_leading() || self.node().is_some() && self.election.lost_since.is_none()
    }

    /// Whose requests are listened to: the members, and who is active.
    pub fn admitted(&self) -> BTreeSet<PeerId> {
        let members = self.roster.iter().filter(|(_, member)| member.stands()).map(|(peer, _)| *peer);
        let active = self.state.view.iter().flat_map(|view| &view.active).map(|member| member.peer);
        members.chain(active).collect()
    }

    /// The reign this node leads, if it leads one; cheap, for answering strangers' pings.
    pub fn leads(&self) -> Option<p2p_chat_model::Epoch> {
        (self.is_leading() && self.state.phase != Phase::Left).then_some(self.state.epoch)
    }
}
