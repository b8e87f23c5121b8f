//! What the engine shows of itself, for `status`, `members` and `inspect`.

use std::collections::{BTreeMap, BTreeSet};

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
    /// Of authors whose entries are missing: the member that is being asked for them now.
    pub asking: BTreeMap<PeerId, PeerId>,
    /// Authors that have contradicted themselves: nothing more is taken of their feeds.
    pub frozen: BTreeSet<PeerId>,
    /// As leader: the discovery services, by number, that answer and do not list the network as it is, and why.
    pub unlisted: BTreeMap<usize, String>,
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

/// What of the engine can be told in numbers; see [`Engine::figures`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// The reign that is followed.
    pub epoch: u64,
    /// The version of the view that is followed; 0 without one.
    pub view_version: u64,
    /// How many members are in that view.
    pub active: usize,
    /// How many members there are.
    pub members: usize,
    /// Whether this node leads.
    pub leading: bool,
    /// Whether the leader has answered lately; see [`Snapshot::leader_alive`].
    pub leader_alive: bool,
    /// Whether this node is in the view.
    pub in_view: bool,
    /// How many entries are on disk.
    pub entries: u64,
    /// How many entries wait for what they depend on.
    pub held: usize,
    /// How many entries others are known to have that this node lacks.
    pub missing: u64,
    /// Over all other members, how many own entries they have not acknowledged.
    pub owed: u64,
    /// How many of those are owed to members in the view.
    pub owed_active: u64,
    /// How many authors have contradicted themselves.
    pub frozen: usize,
}

impl Engine {
    /// What of the engine can be told in numbers. Copies nothing, but looks at every member: some 20 us with 1,000 of
    /// them, so not for each message.
    pub fn figures(&self) -> Figures {
        let (stored, view) = (self.feeds.stored(), self.state.view.as_ref());
        let written = stored.at(&self.me);
        let lacks = |peer: &PeerId| match self.roster.is_member(peer) && *peer != self.me {
            true => written.saturating_sub(self.acked_by(peer)),
            false => 0,
        };
        let owed = self.roster.iter().map(|(peer, _)| lacks(peer)).sum();
        let owed_active = view.map_or(0, |view| view.active.iter().map(|member| lacks(&member.peer)).sum());
        let missing = self.catchup.missing(stored);
        Figures {
            epoch: self.state.epoch.0,
            view_version: view.map_or(0, |view| view.version),
            active: view.map_or(0, |view| view.active.len()),
            members: self.roster.len(),
            leading: self.is_leading(),
            leader_alive: !self.liveness.unconfirmed && self.has_leader(),
            in_view: self.node().is_some(),
            entries: stored.iter().map(|(_, seq)| seq).sum(),
            held: self.feeds.held(),
            missing: crate::catchup::count_beyond(&missing, stored),
            owed,
            owed_active,
            frozen: self.state.frozen.len(),
        }
    }

    /// Whether the node is in the view, has heard of another member how far things are (or has waited long enough for
    /// that), and lacks nothing that it knows of.
    pub fn has_everything(&self) -> bool {
        self.node().is_some() && self.may_write() && self.catchup.missing(self.feeds.stored()).is_empty()
    }

    /// Up to where the feed of `author` is on disk, or is being written.
    pub fn stored_of(&self, author: &PeerId) -> Seq {
        self.feeds.stored().at(author)
    }

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
            asking: self.catchup.asking(self.feeds.stored()),
            frozen: self.state.frozen.clone(),
            unlisted: self.refusals(),
            writable: self.may_write(),
            cursors: self.holds(),
        }
    }

    /// Each other member's hold on the own feed. Who has not been in the view since the start has no cursor, but what it
    /// acknowledged before is known.
    fn holds(&self) -> Vec<CursorState> {
        let mut holds = self.delivery.states(self.moment.now);
        let absent = self.roster.iter().map(|(peer, _)| *peer).filter(|peer| *peer != self.me);
        let absent = absent.filter(|peer| !self.delivery.cursors.contains_key(peer));
        let remembered = |peer| CursorState { peer, acked: self.acked_by(&peer), via: None, failing: false };
        holds.extend(absent.map(remembered));
        holds.sort_unstable_by_key(|hold| hold.peer);
        holds
    }

    /// Up to where a member has the own feed, as far as it has said.
    pub(crate) fn acked_by(&self, peer: &PeerId) -> Seq {
        self.delivery.cursors.get(peer).map_or_else(|| self.state.acked.at(peer), |cursor| cursor.acked)
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
