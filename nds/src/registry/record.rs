//! What the registry keeps, and the values in which it speaks of what is to be done.

use std::{collections::BTreeMap, time::Duration};

use p2p_chat_model::{ActiveMember, Address, Epoch, Name, NetworkId, PeerId, View};

/// What is on record of one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    network: NetworkId,
    name: Name,
    view: View,
    leader: ActiveMember,
    serial: u64,
    heard: Duration,
}

impl Record {
    /// A record of what the leader of `view` stated under `serial`, `heard` at that time since 1970.
    /// `None` if the view has no leader.
    pub fn new(network: NetworkId, name: Name, view: View, serial: u64, heard: Duration) -> Option<Self> {
        let leader = view.leader()?.clone();
        Some(Self { network, name, view, leader, serial, heard })
    }

    /// The network.
    pub const fn network(&self) -> NetworkId {
        self.network
    }

    /// Its name, unique in a registry.
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// Who was active when the leader last said so.
    pub const fn view(&self) -> &View {
        &self.view
    }

    /// The leader's line of the view.
    pub const fn leader(&self) -> &ActiveMember {
        &self.leader
    }

    /// The leader's reign.
    pub const fn epoch(&self) -> Epoch {
        self.view.epoch
    }

    /// The highest serial that the leader has used in its reign.
    pub const fn serial(&self) -> u64 {
        self.serial
    }

    /// When the leader was last heard of, since 1970.
    pub const fn heard(&self) -> Duration {
        self.heard
    }

    pub(super) fn touch(&mut self, serial: u64, heard: Duration) {
        self.serial = serial;
        self.heard = heard;
    }
}

/// What is remembered of a network that was closed or purged, so that its epoch never goes down and no old
/// statement brings it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// The network.
    pub network: NetworkId,
    /// Its last epoch.
    pub epoch: Epoch,
    /// Who led it then.
    pub leader: PeerId,
    /// The highest serial that the leader had used in that reign.
    pub serial: u64,
    /// When the network left the record, since 1970.
    pub since: Duration,
}

/// One step of the registry. It is made durable first and then given to [`Registry::apply`](super::Registry::apply).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The network's record becomes this one; a tombstone of it goes.
    Put(Record),
    /// The leader was heard of, and its view is still the one on record.
    Touch {
        /// The network.
        network: NetworkId,
        /// The serial it used.
        serial: u64,
        /// When, since 1970.
        heard: Duration,
    },
    /// The network leaves the record and its name is free again.
    Remove(Tombstone),
    /// The network's tombstone goes, because there are too many.
    Forget(NetworkId),
}

impl Change {
    /// The network that it is about.
    pub const fn network(&self) -> NetworkId {
        match self {
            Self::Put(record) => record.network,
            Self::Touch { network, .. } | Self::Forget(network) => *network,
            Self::Remove(tombstone) => tombstone.network,
        }
    }
}

/// A question to the world outside: does this node answer at this address?
///
/// Whoever asks it pins the peer's key, so that an answer by anybody else counts as none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probe {
    /// Who has to answer.
    pub peer: PeerId,
    /// Where.
    pub address: Address,
    /// The network that the question is about.
    pub network: NetworkId,
}

impl Probe {
    /// The question whether `member` of `network` answers where its view says it listens.
    pub fn of(network: NetworkId, member: &ActiveMember) -> Self {
        Self { peer: member.peer, address: member.address.clone(), network }
    }
}

/// What came of a [`Probe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The node answered, and its key is the expected one.
    Reached {
        /// The reign of the network that the node leads; 0 if it leads none.
        leads_epoch: Epoch,
    },
    /// There was no answer in time, or it was not the expected node's.
    Unreachable,
}

/// Everything asked so far for one call.
pub type Answers = BTreeMap<Probe, Answer>;

/// What is to be done about a statement that is not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Make the changes durable, apply them in this order, then answer that it is done.
    Accept(Vec<Change>),
    /// The record says so already: answer that it is done.
    Standing,
    /// Ask these questions first, then decide again with their answers: the record may have changed meanwhile.
    AskFirst(Vec<Probe>),
}

/// How the registry is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How long after its last statement a leader counts as alive; then its network is listed as stale. After a start
    /// of the service it counts anew.
    pub lease: Duration,
    /// How long after its leader's last statement a network is purged. Far above `lease`.
    pub purge_after: Duration,
    /// Most networks on record. Stale ones give way shortly before.
    pub max_networks: usize,
    /// Most active members on record, summed over all networks: it bounds the memory that views take
    /// (about 120 bytes each). Stale networks give way shortly before.
    pub max_members: usize,
    /// Most tombstones. The oldest goes first.
    pub max_tombstones: usize,
}

impl Default for Terms {
    /// Lease 30 s, purge after 7 days, 100,000 networks with 2,000,000 active members together, 100,000 tombstones.
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            purge_after: Duration::from_secs(7 * 24 * 3600),
            max_networks: 100_000,
            max_members: 2_000_000,
            max_tombstones: 100_000,
        }
    }
}

impl Terms {
    /// Whether less than a hundredth of the room is left, for networks or for their active members.
    pub const fn is_crowded(&self, networks: usize, members: usize) -> bool {
        networks >= self.max_networks - self.max_networks / 100 || members >= self.max_members - self.max_members / 100
    }
}
