//! The voters' side of an election. ELECTION comes from a lower id, which asks for a vote, or from a higher one, which
//! asks whether this node takes over. No answer before this node has pinged the leader itself, and one vote an epoch,
//! on disk before it is said.

use std::collections::BTreeMap;

use p2p_chat_model::{Epoch, NodeId, PeerId, Vote};

use crate::{
    engine::{Engine, Purpose},
    io::{CallError, PeerCall, Refusal, RequestId, Response},
};

/// A request to vote, which waits until this node has pinged the leader itself.
#[derive(Debug, Clone, Hash)]
struct Asker {
    from: PeerId,
    epoch: Epoch,
    node: NodeId,
}

/// What this node is asked in elections of others.
#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct Voting {
    askers: BTreeMap<RequestId, Asker>,
    checking: bool,
}

impl Voting {
    /// The requests that wait for a ping.
    pub(crate) fn take_requests(&mut self) -> Vec<RequestId> {
        std::mem::take(&mut self.askers).into_keys().collect()
    }
}

impl Engine {
    /// ELECTION came in.
    pub(crate) fn on_elect(&mut self, id: RequestId, from: PeerId, epoch: Epoch, node: NodeId) {
        let known = self.view().and_then(|view| view.node(node)).is_some_and(|member| member.peer == from);
        let hint = self.hint();
        if epoch <= self.state.epoch || !known {
            let answer = hint.map(Response::Outdated).ok_or(Refusal::Busy("no leader is known"));
            self.reply(id, answer);
        } else if !self.is_plausible(epoch) {
            self.reply(id, Err(Refusal::Invalid("the epoch is too far ahead")));
        } else if self.leader() == Some(from) {
            // A leader that moves on to a later epoch has nobody to be pinged.
            self.vote(id, from, epoch);
        } else if self.is_leading() {
            self.reply(id, Ok(Response::LeaderAlive));
        } else if self.voting.askers.len() >= self.setup.config.max_pending_requests {
            self.reply(id, Err(Refusal::Busy("too many elections are under way")));
        } else {
            self.voting.askers.insert(id, Asker { from, epoch, node });
            self.check_leader();
        }
    }

    /// No vote while this node reaches the leader itself.
    fn check_leader(&mut self) {
        let Some(leader) = self.leader() else { return };
        if !std::mem::replace(&mut self.voting.checking, true) {
            let standing = self.standing(&leader);
            let timeout = self.setup.config.ping_timeout_ms;
            self.call_peer(Purpose::VoterCheck(leader), leader, PeerCall::Ping(standing), timeout);
        }
    }

    /// Whoever led when the check began has answered, or not.
    pub(crate) fn on_voter_checked(&mut self, checked: PeerId, result: Result<Response, CallError>) {
        self.voting.checking = false;
        let alive = matches!(&result, Ok(Response::Standing(theirs)) if !self.has_resigned(&checked, theirs));
        if let Ok(Response::Standing(standing)) = result {
            if alive {
                self.heard(checked);
            }
            self.learn(checked, &standing);
        }
        let another = self.leader().is_some_and(|leader| leader != checked && leader != self.me);
        for (id, asker) in std::mem::take(&mut self.voting.askers) {
            if asker.epoch <= self.state.epoch {
                let hint = self.hint();
                let answer = hint.map(Response::Outdated).ok_or(Refusal::Busy("no leader is known"));
                self.reply(id, answer);
            } else if another {
                self.voting.askers.insert(id, asker);
                self.check_leader();
            } else if alive || self.is_leading() {
                self.reply(id, Ok(Response::LeaderAlive));
            } else if self.takes_over_from(asker.node) {
                self.reply(id, Ok(Response::TakeOver));
                self.on_leader_lost(self.moment.now);
            } else {
                self.vote(id, asker.from, asker.epoch);
            }
        }
    }

    /// Lower ids go first, unless they have stood in vain: one that no discovery service reaches, and that has no
    /// majority, would keep all others from leading for ever.
    fn takes_over_from(&self, candidate: NodeId) -> bool {
        self.can_lead() && !self.election.is_in_vain() && self.node().is_some_and(|mine| mine < candidate)
    }

    fn vote(&mut self, id: RequestId, candidate: PeerId, epoch: Epoch) {
        if let Some((voted, whom)) = self.state.vote
            && (voted > epoch || voted == epoch && whom != candidate)
        {
            self.reply(id, Ok(Response::Promised(voted)));
            return;
        }
        self.remember_vote(epoch, candidate);
        let vote = Vote::cast(&self.setup.identity, self.setup.network, epoch, candidate);
        self.reply(id, Ok(Response::Voted(vote)));
    }

    /// On disk before it is said. A vote for the last epoch that is taken is the only one that is not remembered: nobody
    /// could stand above it, so whoever likes could ask for it and keep the group from ever having a leader again.
    pub(crate) fn remember_vote(&mut self, epoch: Epoch, candidate: PeerId) {
        if self.can_be_outbid(epoch) {
            self.state.vote = Some((epoch, candidate));
            self.persist();
        }
    }
}
