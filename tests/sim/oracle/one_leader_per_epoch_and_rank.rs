//! In one epoch, at most one node leads by the same kind of certificate: the discovery service's acceptance, the
//! hand-over of one and the same leader before, or a majority of one and the same view. (Of leaders by different kinds, and of
//! one that the service accepted and one that was handed the reign, the better rank and then the lower id is
//! followed. Views that failure detection has torn apart may each elect a leader by a majority of theirs, out of
//! reach of the service: there the lower id is followed.) And a majority is one: every such leader holds the votes
//! of more than half of the view that it followed before, and never its own alone.

use std::collections::{BTreeMap, BTreeSet};

use p2p_chat_model::{Certificate, Epoch, PeerId, Rank, View};

use super::Finding;

/// What one leader of an epoch rests on.
#[derive(Debug, Clone)]
struct Claim {
    leader: PeerId,
    /// The service's life in which it was first seen.
    nds_life: u32,
    /// Who was active in the view whose majority it has, where it has one.
    electorate: Option<BTreeSet<PeerId>>,
}

/// Epoch and kind of certificate, with whoever handed the reign over, to leaders.
#[derive(Debug, Default)]
pub(crate) struct Leaders {
    seen: BTreeMap<(Epoch, Rank, Option<PeerId>), Vec<Claim>>,
    /// The view on each node's disk.
    followed: BTreeMap<PeerId, View>,
    /// In which life the service has accepted a leader of an epoch.
    accepted: BTreeMap<(Epoch, PeerId), u32>,
    nds_life: u32,
}

impl Leaders {
    /// The service has accepted a reign.
    pub(crate) fn accept(&mut self, epoch: Epoch, leader: PeerId) {
        self.accepted.insert((epoch, leader), self.nds_life);
    }

    /// A view has become durable on a node's disk.
    pub(crate) fn check_view(&mut self, node: PeerId, view: &View, certificate: &Certificate) -> Finding {
        let before = self.followed.insert(node, view.clone());
        if view.leader().is_none_or(|leader| leader.peer != node) {
            return Ok(());
        }
        let old = before.filter(|old| old.epoch < view.epoch);
        match (old, certificate.rank) {
            (Some(old), Rank::Majority) => {
                let electorate: BTreeSet<PeerId> = old.active.iter().map(|member| member.peer).collect();
                check_majority(&electorate, view.epoch, certificate, node)?;
                self.claim(view.epoch, certificate, node, Some(electorate))
            }
            _ => self.claim(view.epoch, certificate, node, None),
        }
    }

    /// A node announces the reign of `leader`.
    pub(crate) fn check_announced(&mut self, epoch: Epoch, certificate: &Certificate, leader: PeerId) -> Finding {
        self.claim(epoch, certificate, leader, None)
    }

    fn claim(
        &mut self,
        epoch: Epoch,
        certificate: &Certificate,
        leader: PeerId,
        electorate: Option<BTreeSet<PeerId>>,
    ) -> Finding {
        // Who is elected votes for itself.
        let is_elected = certificate.votes.iter().any(|vote| vote.voter == leader);
        // Who is handed the reign has the vote of the leader before; of two leaders each may hand its own on.
        let giver = certificate.votes.first().map(|vote| vote.voter).filter(|_| !is_elected);
        let rank = certificate.rank;
        let seen = self.seen.entry((epoch, rank, giver)).or_default();
        if seen.iter().any(|known| known.leader == leader) {
            return Ok(());
        }
        // What the service has accepted in one life of its disk it does not know in another.
        let nds_life = self.accepted.get(&(epoch, leader)).copied().unwrap_or(self.nds_life);
        let stands = |known: &&Claim| rank == Rank::Majority || known.nds_life == nds_life;
        let torn_apart = |known: &&Claim| rank == Rank::Majority && known.electorate != electorate;
        let other = seen.iter().find(|known| stands(known) && !torn_apart(known)).map(|known| known.leader);
        seen.push(Claim { leader, nds_life, electorate });
        other.map_or(Ok(()), |other| Err(format!("{leader:?} leads epoch {epoch} by {rank:?}, and so does {other:?}")))
    }

    /// The service has lost or forgotten what it accepted: it may accept another leader of the same epoch.
    pub(crate) fn nds_set_back(&mut self) {
        self.nds_life += 1;
    }

    /// A node has lost its disk.
    pub(crate) fn forgotten(&mut self, node: PeerId) {
        self.followed.remove(&node);
    }
}

fn check_majority(electorate: &BTreeSet<PeerId>, epoch: Epoch, certificate: &Certificate, leader: PeerId) -> Finding {
    let counts = certificate.votes.iter().filter(|vote| vote.epoch == epoch && vote.candidate == leader);
    let voters: BTreeSet<PeerId> = counts.map(|vote| vote.voter).filter(|voter| electorate.contains(voter)).collect();
    if voters.len() > 1 && 2 * voters.len() > electorate.len() {
        Ok(())
    } else {
        Err(format!("{leader:?} leads epoch {epoch} by {} votes of {}", voters.len(), electorate.len()))
    }
}
