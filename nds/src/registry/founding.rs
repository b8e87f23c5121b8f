//! The proof that a network exists and that its leader was admitted to it.

use p2p_chat_model::{
    EntryKind, Epoch, Name, NetworkId, PeerId, Registration, RosterOp, Run, registration::check_admission,
};

use super::Refusal;

/// A network whose founding, and whose leader's admission, has been proved by signed runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founding {
    network: NetworkId,
    name: Name,
    leader: PeerId,
}

impl Founding {
    /// Checks that `genesis` founds the network of `claim`, and that the leader of its view is the creator, or was
    /// admitted by a chain of `admissions` (see [`check_admission`]). All runs must come from [`Run::decode`].
    ///
    /// # Errors
    /// [`Refusal::Genesis`], [`Refusal::NotCreator`], [`Refusal::NotAdmitted`], [`Refusal::Leaderless`].
    pub fn prove(genesis: &Run, admissions: &[Run], claim: &Registration) -> Result<Self, Refusal> {
        let network = claim.network;
        let refuse = |reason| Refusal::Genesis { network, reason };
        if genesis.network != network {
            return Err(refuse("it is of another network"));
        }
        let [(_, entry)] = genesis.entries.as_slice() else {
            return Err(refuse("it does not hold exactly one entry"));
        };
        if entry.header.kind != EntryKind::Genesis {
            return Err(refuse("its entry is not a genesis entry"));
        }
        let Ok(Some(RosterOp::Genesis(body))) = entry.roster_op() else {
            return Err(refuse("its entry is malformed"));
        };
        let leader = claim.view.leader().ok_or(Refusal::Leaderless(network))?.peer;
        if claim.view.epoch == Epoch(1) && leader != genesis.author {
            return Err(Refusal::NotCreator { network, signer: leader });
        }
        check_admission(genesis, admissions, leader).map_err(|_| Refusal::NotAdmitted { network, signer: leader })?;
        Ok(Self { network, name: body.name, leader })
    }

    /// The network.
    pub const fn network(&self) -> NetworkId {
        self.network
    }

    /// The name that its creator gave it.
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// Whose admission was proved.
    pub const fn leader(&self) -> PeerId {
        self.leader
    }
}
