//! Why a statement is not followed.

use p2p_chat_model::{Address, Epoch, Name, NetworkId, PeerId};

/// Why the registry does not do what a statement wants. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The view in the statement has no leader. Caller's fault.
    #[error("the view of network {} names no leader; send the view that the signer leads", .0.short())]
    Leaderless(NetworkId),
    /// The statement expects another epoch than that of its own view. Caller's fault.
    #[error("expected_epoch {expected} is not epoch {epoch} of the view; they are equal except in UpdateLeader")]
    ExpectedEpoch {
        /// What the statement expects.
        expected: Epoch,
        /// The epoch of its view.
        epoch: Epoch,
    },
    /// The run shown as genesis does not found the network. Caller's fault.
    #[error("genesis does not found network {}: {reason}; send the creator's first run as it was made", network.short())]
    Genesis {
        /// The network that was to be founded.
        network: NetworkId,
        /// What is wrong.
        reason: &'static str,
    },
    /// The signer leads epoch 1 without being the creator.
    #[error("epoch 1 of network {} belongs to its creator, not to peer {}", network.short(), signer.short())]
    NotCreator {
        /// The network.
        network: NetworkId,
        /// The signer.
        signer: PeerId,
    },
    /// The admissions shown do not lead from the creator to the signer.
    #[error("the admissions shown do not lead from the creator of network {} to peer {}; send the runs that admitted it", network.short(), signer.short())]
    NotAdmitted {
        /// The network.
        network: NetworkId,
        /// The signer.
        signer: PeerId,
    },
    /// Another network has the name.
    #[error("the name \"{name}\" belongs to network {holder}; join that one or choose another name")]
    NameTaken {
        /// The name.
        name: Name,
        /// Who has it.
        holder: NetworkId,
    },
    /// The network is on record with another leader or epoch.
    #[error("network \"{name}\" is registered in epoch {epoch} with leader {leader}; use UpdateLeader to replace it")]
    Registered {
        /// The network's name.
        name: Name,
        /// The epoch on record.
        epoch: Epoch,
        /// The leader on record.
        leader: PeerId,
    },
    /// The network was closed or purged in a later reign, or after a later statement.
    #[error("network {} was last registered in epoch {epoch} with serial {serial}; register it with higher ones", network.short())]
    Gone {
        /// The network.
        network: NetworkId,
        /// Its last epoch.
        epoch: Epoch,
        /// The last serial in it.
        serial: u64,
    },
    /// A first registration with an epoch out of all proportion.
    #[error("epoch {epoch} of network {} is more than this service takes in one step; register at most epoch {most}", network.short())]
    EpochTooHigh {
        /// The network.
        network: NetworkId,
        /// The epoch asked for.
        epoch: Epoch,
        /// The highest that is taken.
        most: Epoch,
    },
    /// The service holds all that it may.
    #[error("this discovery service is full ({0}); use another one or try again later")]
    Full(&'static str),
    /// The address does not lead to the leader.
    #[error(
        "{address} does not lead to peer {}, as far as the discovery service can tell; advertise an address that it can reach, and over long lines give everybody --preset wan",
        peer.short()
    )]
    Unreachable {
        /// The advertised address.
        address: Address,
        /// Who should have answered.
        peer: PeerId,
    },
    /// The network is not on record.
    #[error("no network {} is registered here; create it first", .0.short())]
    Unknown(NetworkId),
    /// No network of that name is on record.
    #[error("no network named \"{0}\" is registered here; create it first")]
    UnknownName(Name),
    /// The epoch on record is not the expected one, or not below the new one.
    #[error(
        "epoch {on_record} is on record, which {epoch} expecting {expected} does not follow; adopt it and try again"
    )]
    Epoch {
        /// The epoch on record.
        on_record: Epoch,
        /// The epoch asked for.
        epoch: Epoch,
        /// The epoch expected on record.
        expected: Epoch,
    },
    /// The candidate has no claim.
    #[error("peer {} is not active in the view on record and no majority of it votes for that peer", .0.short())]
    NotActive(PeerId),
    /// The leader on record lives and did not consent.
    #[error("leader {} answers at {address} and leads; follow it, or bring the votes of a majority", leader.short())]
    LeaderAlive {
        /// The leader on record.
        leader: PeerId,
        /// Where it answers.
        address: Address,
    },
    /// Another leader, or another reign, is on record.
    #[error("epoch {epoch} with leader {} is on record, not the signer's; use UpdateLeader", leader.short())]
    NotLeader {
        /// The leader on record.
        leader: PeerId,
        /// The epoch on record.
        epoch: Epoch,
    },
    /// The statement is older than the record.
    #[error("serial {serial} and view version {version} are on record; send a higher serial and no older view")]
    Outdated {
        /// The highest serial on record.
        serial: u64,
        /// The version of the view on record.
        version: u64,
    },
    /// Somebody else is active.
    #[error("{others} other members of network \"{name}\" are active; hand over to one of them and leave instead")]
    OthersActive {
        /// The network's name.
        name: Name,
        /// How many.
        others: usize,
    },
}
