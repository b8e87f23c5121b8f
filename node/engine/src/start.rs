//! What an engine starts from.

use p2p_chat_model::{Address, EntryHash, Identity, Name, NetworkId, PeerId, Seq};

use crate::{
    config::Config,
    durable::Durable,
    io::{CommandId, EntryFacts, LeaderHint},
};

/// Who this node is, and how it takes part.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The node's key. The engine casts votes with it.
    pub identity: Identity,
    /// The network.
    pub network: NetworkId,
    /// How this node calls itself.
    pub name: Name,
    /// Where it listens, as others reach it.
    pub address: Address,
    /// How many discovery services are configured.
    pub services: usize,
    /// Times and bounds.
    pub config: Config,
}

/// How the node comes to the network.
#[derive(Debug, Clone)]
pub enum Start {
    /// It founds the network. The genesis run is on disk as entry 1 of the own feed, and delivered.
    Found {
        /// Answered with [`Done::Created`](crate::Done::Created).
        command: CommandId,
        /// The genesis entry.
        genesis: EntryFacts,
    },
    /// It joins for the first time, or after having left.
    Join {
        /// Answered with [`Done::Joined`](crate::Done::Joined).
        command: CommandId,
        /// Who leads, says the discovery service.
        leader: LeaderHint,
        /// Who else can be asked.
        contacts: Vec<(PeerId, Address)>,
        /// The state on disk from a membership before: its votes still count, and what it knew of forks.
        before: Option<Durable>,
        /// What the disk holds of the network from a membership before.
        log: Vec<FeedLog>,
    },
    /// It was in, and starts again.
    Resume {
        /// The state on disk.
        durable: Durable,
        /// The log on disk.
        log: Vec<FeedLog>,
    },
}

/// One feed as the disk holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedLog {
    /// Whose it is.
    pub author: PeerId,
    /// The number of the last entry.
    pub last: Seq,
    /// The hash of the last entry.
    pub head: EntryHash,
    /// The Lamport time of the last delivered entry; where entries are held, a later one will do. 0 if none is delivered.
    pub lamport: u64,
    /// The entries that are stored but not delivered; they end with `last`.
    pub held: Vec<EntryFacts>,
    /// The roster changes among the delivered entries.
    pub roster: Vec<(Seq, EntryFacts)>,
}
