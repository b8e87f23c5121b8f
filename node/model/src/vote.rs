//! Votes and certificates of the election.

use crate::{BadSignature, Epoch, Identity, NetworkId, PeerId, Signature, codec::Writer};

const DOMAIN: &str = "p2p-chat v1 vote";

/// A member's signed promise for one epoch: it votes for `candidate` and for no other. When the vote is that of
/// the leader of the reign before, it is also its consent to being replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    /// The network whose leader is elected.
    pub network: NetworkId,
    /// The reign voted on.
    pub epoch: Epoch,
    /// Who shall lead it.
    pub candidate: PeerId,
    /// Who says so.
    pub voter: PeerId,
    /// The voter's signature over the rest.
    pub signature: Signature,
}

impl Vote {
    /// Casts a vote. The caller has made the promise durable first.
    pub fn cast(identity: &Identity, network: NetworkId, epoch: Epoch, candidate: PeerId) -> Self {
        let signature = identity.sign(DOMAIN, &statement(network, epoch, candidate));
        Self { network, epoch, candidate, voter: identity.peer(), signature }
    }

    /// Checks the signature.
    pub fn verify(&self) -> Result<(), BadSignature> {
        self.voter.verify(DOMAIN, &statement(self.network, self.epoch, self.candidate), &self.signature)
    }
}

fn statement(network: NetworkId, epoch: Epoch, candidate: PeerId) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.fixed(network.as_bytes()).varint(epoch.0).fixed(candidate.as_bytes());
    writer.0
}

/// How well a reign is founded; of two leaders of one epoch the better founded one is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// The Node Discovery Service could not reach the leader before, or that leader handed over.
    Registered,
    /// A majority of the last view voted for it.
    Majority,
}

/// What a leader shows for its reign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// How the reign was won.
    pub rank: Rank,
    /// The votes it was won with; all for this epoch and leader. Empty for a network's first reign.
    pub votes: Vec<Vote>,
}

impl Certificate {
    /// The certificate of a network's first reign.
    pub const fn founding() -> Self {
        Self { rank: Rank::Registered, votes: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vote_holds_for_one_network_epoch_and_candidate() {
        let alice = Identity::from_seed([1; 32]);
        let vote = Vote::cast(&alice, NetworkId::new([7; 32]), Epoch(2), PeerId::new([3; 32]));
        assert_eq!(vote.verify(), Ok(()));
        assert!(Vote { epoch: Epoch(3), ..vote.clone() }.verify().is_err());
        assert!(Vote { network: NetworkId::new([8; 32]), ..vote.clone() }.verify().is_err());
        assert!(Vote { candidate: PeerId::new([4; 32]), ..vote.clone() }.verify().is_err());
        assert!(Vote { voter: PeerId::new([4; 32]), ..vote }.verify().is_err());
    }
}
