//! In one epoch, at most one node leads by the same kind of certificate: a majority's, the discovery service's, or
//! the hand-over of the leader before. (Of leaders by different kinds, and of one that the service accepted and one
//! that was handed the reign, the better rank and then the lower id is followed.)

use std::collections::BTreeMap;

use p2p_chat_model::{Certificate, Epoch, PeerId, Rank};

use super::Finding;

/// Epoch and kind of certificate to leader.
#[derive(Debug, Default)]
pub(crate) struct Leaders(BTreeMap<(Epoch, Rank, bool), PeerId>);

impl Leaders {
    pub(crate) fn check(&mut self, epoch: Epoch, certificate: &Certificate, leader: PeerId) -> Finding {
        // Who is elected votes for itself.
        let is_elected = certificate.votes.iter().any(|vote| vote.voter == leader);
        let rank = certificate.rank;
        let first = *self.0.entry((epoch, rank, is_elected)).or_insert(leader);
        if first == leader {
            return Ok(());
        }
        Err(format!("{leader:?} leads epoch {epoch} by {rank:?}, and so does {first:?}"))
    }
}
