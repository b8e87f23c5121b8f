//! In one epoch, at most one node leads by the same kind of certificate: a majority's, the discovery service's, or
//! the hand-over of the leader before. (Of leaders by different kinds, and of one that the service accepted and one
//! that was handed the reign, the better rank and then the lower id is followed.)

use std::collections::BTreeMap;

use p2p_chat_model::{Certificate, Epoch, PeerId, Rank};

use super::Finding;

/// Epoch and kind of certificate to leaders, each with the service's life in which it was first seen.
#[derive(Debug, Default)]
pub(crate) struct Leaders {
    seen: BTreeMap<(Epoch, Rank, bool), Vec<(PeerId, u32)>>,
    nds_life: u32,
}

impl Leaders {
    pub(crate) fn check(&mut self, epoch: Epoch, certificate: &Certificate, leader: PeerId) -> Finding {
        // Who is elected votes for itself.
        let is_elected = certificate.votes.iter().any(|vote| vote.voter == leader);
        let rank = certificate.rank;
        let seen = self.seen.entry((epoch, rank, is_elected)).or_default();
        if seen.iter().any(|(known, _)| *known == leader) {
            return Ok(());
        }
        let forgotten = |life: u32| rank == Rank::Registered && life < self.nds_life;
        let other = seen.iter().find(|(_, life)| !forgotten(*life)).map(|(other, _)| *other);
        seen.push((leader, self.nds_life));
        other.map_or(Ok(()), |other| Err(format!("{leader:?} leads epoch {epoch} by {rank:?}, and so does {other:?}")))
    }

    /// What the service has accepted is forgotten: it may accept another leader of the same epoch.
    pub(crate) fn nds_wiped(&mut self) {
        self.nds_life += 1;
    }
}
