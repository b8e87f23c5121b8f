//! In one epoch, at most one node leads by the same kind of certificate: the acceptance of one discovery service, the
//! hand-over of one and the same leader before, or a majority of one and the same view. (Of leaders by different kinds, and of
//! one that a service accepted and one that was handed the reign, the better rank and then the lower id is
//! followed; and so it is of two that two services accepted, out of reach of each other's. Views that failure detection has torn apart may each elect a leader by a majority of theirs, out of
//! reach of a service: there the lower id is followed.) And a majority is one: every such leader holds the votes
//! of more than half of the view that it followed before, and never its own alone.

use std::collections::{BTreeMap, BTreeSet};

use p2p_chat_model::{Certificate, Epoch, PeerId, Rank, View};

use super::Finding;
use crate::net::Service;

/// A service, and how often its disk was lost or set back before.
type Life = (Service, u32);

/// What one leader of an epoch rests on.
#[derive(Debug, Clone)]
struct Claim {
    leader: PeerId,
    /// The lives in which the services were when it was first seen: where none has accepted it, any might have.
    lives: BTreeSet<Life>,
    /// Who was active in the view whose majority it has, where it has one.
    electorate: Option<BTreeSet<PeerId>>,
}

/// Epoch and kind of certificate, with whoever handed the reign over, to leaders.
#[derive(Debug)]
pub(crate) struct Leaders {
    seen: BTreeMap<(Epoch, Rank, Option<PeerId>), Vec<Claim>>,
    /// The view on each node's disk.
    followed: BTreeMap<PeerId, View>,
    /// Which services have accepted a leader of an epoch, and in which of their lives.
    accepted: BTreeMap<(Epoch, PeerId), BTreeSet<Life>>,
    /// In which life each service is.
    lives: Vec<u32>,
}

impl Leaders {
    pub(crate) fn new(services: usize) -> Self {
        let (seen, followed, accepted) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { seen, followed, accepted, lives: vec![0; services] }
    }

    /// A service has accepted a reign.
    pub(crate) fn accept(&mut self, service: Service, epoch: Epoch, leader: PeerId) {
        self.accepted.entry((epoch, leader)).or_default().insert((service, self.lives[service]));
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
        // What a service has accepted in one life of its disk it does not know in another, nor does another service.
        let new = Claim { leader, lives: (0..).zip(self.lives.iter().copied()).collect(), electorate };
        let accepted = &self.accepted;
        let by = |claim: &Claim| accepted.get(&(epoch, claim.leader)).unwrap_or(&claim.lives).clone();
        let stands = |known: &&Claim| rank == Rank::Majority || !by(known).is_disjoint(&by(&new));
        let torn_apart = |known: &&Claim| rank == Rank::Majority && known.electorate != new.electorate;
        let other = seen.iter().find(|known| stands(known) && !torn_apart(known)).map(|known| known.leader);
        seen.push(new);
        other.map_or(Ok(()), |other| Err(format!("{leader:?} leads epoch {epoch} by {rank:?}, and so does {other:?}")))
    }

    /// A service has lost or forgotten what it accepted: it may accept another leader of the same epoch.
    pub(crate) fn nds_set_back(&mut self, service: Service) {
        self.lives[service] += 1;
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
