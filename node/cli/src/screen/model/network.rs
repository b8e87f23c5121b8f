//! One network on the screen.

use std::collections::BTreeSet;

use p2p_chat_model::PeerId;
use p2p_chat_proto::v1;

use super::{
    text::harmless_line,
    timeline::{Key, Place, Timeline},
    truth::Truth,
};

/// Where the timeline is looked at. Bound to an item, not to a row: what comes in above does not move what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Scroll {
    /// At the end, whatever comes.
    #[default]
    Follow,
    /// With that row of that item at the top.
    Top { place: Place, row: usize },
}

/// Whether the network's events come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Subscription {
    #[default]
    None,
    Asked,
    Live,
}

/// One network.
#[derive(Debug, Clone, Default)]
pub(crate) struct Network {
    /// How the node names it: 64 hexadecimal digits.
    pub(crate) id: String,
    /// Harmless.
    pub(crate) name: String,
    /// Where the node stands in it.
    pub(crate) state: v1::NetworkState,
    pub(crate) subscription: Subscription,
    pub(crate) timeline: Timeline,
    pub(crate) scroll: Scroll,
    pub(crate) selected: Option<Key>,
    pub(crate) members: Vec<v1::Member>,
    pub(crate) truth: Truth,
    /// Texts of others that have not been seen.
    pub(crate) unread: u64,
    /// Whether one of them names this node.
    pub(crate) is_mentioned: bool,
    /// The first of them in everybody's order, as far as they are loaded.
    pub(crate) first_unread: Option<Key>,
    /// Late texts of others that came while the end was watched, and have not been in view since.
    pub(crate) late: BTreeSet<Key>,
    /// Up to where everything was read before this look at the network, and the newest that had arrived by then. What
    /// comes later is seen as it comes, or counted.
    pub(crate) read_before: u64,
    pub(crate) backlog_end: Option<u64>,
    /// The highest position that arrived, and the one up to which the node knows that it was read.
    pub(crate) arrived: u64,
    pub(crate) marked: u64,
    /// How much was missing at the worst moment of this catching up.
    pub(crate) missed: u64,
    /// Whether pages are loaded until the first unread message is among them.
    pub(crate) looks_for_unread: bool,
    /// Whether the last part of the log that was asked for could not be read, and that was complained of.
    pub(crate) is_unreadable: bool,
    /// A message to be shown as soon as it is loaded.
    pub(crate) goal: Option<Key>,
    /// Up to where the screen was emptied.
    pub(crate) cleared: Option<Place>,
    /// When the members were asked for last; 0: they are out of date.
    pub(crate) members_at_ms: u64,
}

impl Network {
    pub(crate) fn new(state: v1::NetworkState) -> Self {
        let mut network = Self {
            id: state.id.clone(),
            read_before: state.read_position,
            marked: state.read_position,
            ..Self::default()
        };
        network.update(state);
        network
    }

    /// Takes in where the node stands.
    pub(crate) fn update(&mut self, state: v1::NetworkState) {
        self.name = harmless_line(&state.name);
        let missing: u64 = state.missing.iter().map(|missing| missing.entries).sum();
        self.missed = if missing == 0 { 0 } else { self.missed.max(missing) };
        self.state = state;
    }

    /// Takes the members in.
    pub(crate) fn update_members(&mut self, members: Vec<v1::Member>) {
        self.truth.set(&members);
        self.timeline.name(&members);
        self.members = members;
    }

    /// Whether the node takes part in it.
    pub(crate) fn is_joined(&self) -> bool {
        matches!(self.state.phase(), v1::Phase::Joined | v1::Phase::Joining | v1::Phase::Broken)
    }

    /// Whether its log can be read: of a network that this node takes part in, once events come from it.
    pub(crate) fn is_loadable(&self) -> bool {
        !self.is_joined() || self.subscription == Subscription::Live
    }

    /// How many entries others have and this node lacks.
    pub(crate) fn missing(&self) -> u64 {
        self.state.missing.iter().map(|missing| missing.entries).sum()
    }

    /// Active members besides this node, and those of them to which entries go.
    pub(crate) fn others(&self) -> (u32, u32) {
        let is_inside = self.state.node_id > 0;
        let active = self.state.active.saturating_sub(u32::from(is_inside));
        let cut_off = self.state.owed.iter().filter(|owed| owed.way == "unreachable").count();
        (active, active.saturating_sub(u32::try_from(cut_off).unwrap_or(u32::MAX)))
    }

    /// Everything that arrived has been seen.
    pub(crate) fn all_read(&mut self) {
        self.unread = 0;
        self.is_mentioned = false;
    }

    /// The newest own message that is loaded.
    pub(crate) fn last_own(&self, me: &PeerId) -> Option<Key> {
        self.timeline.texts().rev().find(|message| message.key.author == *me).map(|message| message.key)
    }
}
