//! What must hold in every world, with what has to be remembered of the past for it. Shares no code with the engine.

use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
};

use p2p_chat_engine::{Durable, Output, PeerCall, Response};
use p2p_chat_model::{Certificate, Epoch, NodeId, PeerId, Rank, View};

use crate::fingerprint::print_of;

/// A property that does not hold, and what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) property: &'static str,
    pub(crate) what: String,
}

/// What was done before and must not be done otherwise again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct History {
    /// Epoch and kind of certificate to leader.
    leaders: BTreeMap<(Epoch, Rank, bool), PeerId>,
    /// Voter and epoch to candidate.
    votes: BTreeMap<(PeerId, Epoch), PeerId>,
    /// Reign and node id to peer.
    ids: BTreeMap<(Epoch, PeerId, NodeId), PeerId>,
    /// Reign and version to the print of the view.
    views: BTreeMap<(Epoch, PeerId, u64), u64>,
    /// The print of all of it.
    print: u64,
}

impl Hash for History {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.print.hash(hasher);
    }
}

type Finding = Result<(), Violation>;

fn found(property: &'static str, what: String) -> Finding {
    Err(Violation { property, what })
}

impl History {
    /// What an output says, or makes durable over `disk`, of the node `me`. `Some` if there is more to remember.
    pub(crate) fn with(&self, me: PeerId, disk: &Durable, output: &Output) -> Result<Option<Self>, Violation> {
        let mut after = self.clone();
        match output {
            Output::Write(p2p_chat_engine::Write::State(state)) => after.check_state(me, disk, state)?,
            Output::Call { call: PeerCall::Coordinate(view, certificate), .. } => {
                let leader = view.leader().map_or(me, |leader| leader.peer);
                after.check_leader(view.epoch, certificate, leader)?;
                after.check_view(view)?;
            }
            Output::Call { call: PeerCall::UpdateView(view, vote), .. } => match vote {
                Some(vote) => after.check_vote(vote.voter, vote.epoch, vote.candidate)?,
                None => after.check_view(view)?,
            },
            Output::Reply(_, Ok(Response::Voted(vote))) => after.check_vote(vote.voter, vote.epoch, vote.candidate)?,
            Output::Reply(_, Ok(Response::Admitted { view, .. })) => after.check_view(view)?,
            _ => return Ok(None),
        }
        if after == *self {
            return Ok(None);
        }
        after.print = print_of(&(&after.leaders, &after.votes, &after.ids, &after.views));
        Ok(Some(after))
    }

    fn check_state(&mut self, me: PeerId, before: &Durable, state: &Durable) -> Finding {
        let voted = |state: &Durable| state.vote.map_or(Epoch(0), |(epoch, _)| epoch);
        let view = state.view.as_ref().map_or(Epoch(0), |view| view.epoch);
        if state.epoch < before.epoch || voted(state) < voted(before) || view > state.epoch {
            let what = format!(
                "epoch {} after {}, voted in {} after {}, view of {view}",
                state.epoch,
                before.epoch,
                voted(state),
                voted(before)
            );
            return found("epoch_never_decreases", what);
        }
        if let Some((epoch, candidate)) = state.vote {
            self.check_vote(me, epoch, candidate)?;
        }
        let Some(view) = &state.view else { return Ok(()) };
        self.check_view(view)?;
        if view.leader().is_some_and(|leader| leader.peer == me) && view.epoch == state.epoch {
            self.check_leader(view.epoch, &state.certificate, me)?;
        }
        Ok(())
    }

    /// In one epoch, at most one node leads by the same kind of certificate: a majority's, the discovery service's, or
    /// the hand-over of the leader before.
    fn check_leader(&mut self, epoch: Epoch, certificate: &Certificate, leader: PeerId) -> Finding {
        let is_elected = certificate.votes.iter().any(|vote| vote.voter == leader);
        let first = *self.leaders.entry((epoch, certificate.rank, is_elected)).or_insert(leader);
        if first == leader {
            return Ok(());
        }
        let rank = certificate.rank;
        found("one_leader_per_epoch_and_rank", format!("{leader:?} leads epoch {epoch} by {rank:?}, so does {first:?}"))
    }

    /// A member votes for one candidate an epoch, whatever it forgets.
    fn check_vote(&mut self, voter: PeerId, epoch: Epoch, candidate: PeerId) -> Finding {
        let first = *self.votes.entry((voter, epoch)).or_insert(candidate);
        if first == candidate {
            return Ok(());
        }
        let what = format!("{voter:?} votes for {candidate:?} in epoch {epoch}, after having voted for {first:?}");
        found("one_vote_per_epoch", what)
    }

    /// Within one reign a node id belongs to one peer, and a version is one view, wherever it is.
    fn check_view(&mut self, view: &View) -> Finding {
        if let Err(error) = view.check() {
            return found("ids_never_reused", error.to_string());
        }
        let Some(leader) = view.leader().map(|leader| leader.peer) else { return Ok(()) };
        for member in &view.active {
            let owner = *self.ids.entry((view.epoch, leader, member.node)).or_insert(member.peer);
            if owner != member.peer {
                let what = format!("in epoch {} node {} is {owner:?}, and {:?}", view.epoch, member.node, member.peer);
                return found("ids_never_reused", what);
            }
        }
        let print = print_of(view);
        if *self.views.entry((view.epoch, leader, view.version)).or_insert(print) == print {
            return Ok(());
        }
        let what = format!("{leader:?} has two views of version {} in epoch {}: {view:?}", view.version, view.epoch);
        found("equal_views_are_equal", what)
    }
}
