//! The way out: the signed Leave entry, the wait until another member holds everything, the hand-over of a leader.

use std::collections::BTreeSet;

use p2p_chat_model::{Certificate, PeerId, Rank, RosterOp, Seq, View, Vote};

use crate::{
    durable::Phase,
    engine::{Engine, Purpose},
    io::{CallError, CommandError, CommandId, DiscoveryAnswer, Done, PeerCall, Refusal, RequestId, Response, Standing},
    timers::Timer,
};

/// How many leaders are asked one after the other, each named by the one before.
const MAX_HOPS: u32 = 8;

/// This node's way out.
#[derive(Debug, Clone, Hash)]
pub(crate) struct Leaving {
    command: CommandId,
    entry: Seq,
    deadline: u64,
    /// Another member has everything that is on disk here: what this node's entries depend on, too.
    covered: bool,
    asked: bool,
    /// How often somebody has named another leader to ask.
    hops: u32,
    /// The network ends with this node: how far that is.
    closing: Option<Closing>,
}

/// The discovery services are being told that the network ends.
#[derive(Debug, Clone, Hash)]
struct Closing {
    /// Who has not said yet what came of it.
    open: BTreeSet<usize>,
    refused: bool,
}

impl Engine {
    pub(crate) fn on_leave_command(&mut self, id: CommandId, wait_ms: u64) {
        if self.leaving.is_some() || !self.is_whole() {
            self.done(id, Err(CommandError::Busy));
            return;
        }
        self.state.phase = Phase::Leaving;
        // An answer that lets this node in again must not call the leave off.
        self.stop_seeking();
        self.persist();
        let (entry, _) = self.append(None, Some(RosterOp::Leave));
        let deadline = self.moment.now + wait_ms;
        self.leaving =
            Some(Leaving { command: id, entry, deadline, covered: false, asked: false, hops: 0, closing: None });
        self.set_timer(Timer::Leave, wait_ms);
        self.timers.hasten(Timer::AntiEntropy, self.moment.now + self.setup.config.fetch_grace_ms);
    }

    /// Where an active member stands was seen: it may have everything, and then this node may go.
    pub(crate) fn on_standing_while_leaving(&mut self, peer: PeerId, theirs: &Standing) {
        let same = theirs.digest == self.feeds.digest();
        let covered = same || theirs.frontier.as_ref().is_some_and(|frontier| frontier.covers(self.feeds.stored()));
        let active = self.is_active(&peer);
        if let Some(leaving) = &mut self.leaving {
            leaving.covered |= covered && active;
        }
    }

    /// Goes on with leaving once another member holds everything, or the wait is over.
    pub(crate) fn advance_leave(&mut self) {
        let Some(leaving) = &self.leaving else { return };
        let entry = leaving.entry;
        let others = self.others();
        let held = |peer: &PeerId| self.delivery.cursors.get(peer).is_some_and(|cursor| cursor.acked >= entry);
        let safe = leaving.covered && others.iter().any(held);
        // Members that are away may come back in time to take what nobody else has.
        let alone = others.is_empty() && self.roster.is_empty();
        let ready = alone || safe || self.moment.now >= leaving.deadline;
        if leaving.asked || !ready {
            return;
        }
        if let Some(leaving) = &mut self.leaving {
            leaving.asked = true;
        }
        self.set_timer(Timer::Leave, self.setup.config.leave_timeout_ms);
        let timeout = self.setup.config.deliver_timeout_ms;
        if others.is_empty() && self.is_leading() {
            // Members that are away come back to the network, and take the record over then.
            if self.roster.is_empty() { self.close() } else { self.finish_leave(false) }
        } else if self.is_leading() {
            self.hand_over();
        } else if let Some(leader) = self.leader() {
            self.call_peer(Purpose::Leave, leader, PeerCall::Leave, timeout);
        } else {
            self.finish_leave(false);
        }
    }

    fn close(&mut self) {
        let open: BTreeSet<usize> = (0..self.setup.services).collect();
        if open.is_empty() {
            self.finish_leave(true);
        } else if let Some(leaving) = &mut self.leaving {
            leaving.closing = Some(Closing { open, refused: false });
            self.close_everywhere();
        }
    }

    /// Whether the discovery services are being told that the network ends.
    pub(crate) fn is_closing(&self) -> bool {
        self.leaving.as_ref().is_some_and(|leaving| leaving.closing.is_some())
    }

    /// What came of telling a service. One that can't be reached is told again, as long as the leave may take.
    pub(crate) fn on_closed(&mut self, service: usize, result: &Result<DiscoveryAnswer, CallError>) {
        let Some(closing) = self.leaving.as_mut().and_then(|leaving| leaving.closing.as_mut()) else { return };
        match result {
            Ok(DiscoveryAnswer::Closed) => {}
            Err(CallError::Unreachable(_) | CallError::Busy(_)) => return self.close_later(service),
            Ok(_) | Err(_) => closing.refused = true,
        }
        closing.open.remove(&service);
        if closing.open.is_empty() {
            let closed = !closing.refused;
            self.finish_leave(closed);
        }
    }

    /// Hands the leadership to the next lowest id, which does the rest.
    fn hand_over(&mut self) {
        let Some(mut view) = self.view().cloned() else { return };
        view.active.retain(|member| member.peer != self.me);
        let (Some(successor), Some((voted, _))) =
            (view.active.first().cloned(), self.state.vote.or(Some((self.state.epoch, self.me))))
        else {
            self.finish_leave(false);
            return;
        };
        view.epoch = self.state.epoch.max(voted).next();
        view.version += 1;
        view.leader = successor.node;
        self.state.vote = Some((view.epoch, successor.peer));
        self.persist();
        let vote = Vote::cast(&self.setup.identity, self.setup.network, view.epoch, successor.peer);
        let call = PeerCall::UpdateView(view, Some(vote));
        let timeout = self.setup.config.deliver_timeout_ms;
        self.call_peer(Purpose::Handover(successor.peer), successor.peer, call, timeout);
    }

    pub(crate) fn on_handed_over(&mut self, to: PeerId, result: Result<Response, CallError>) {
        let Some(leaving) = &mut self.leaving else { return };
        if matches!(result, Ok(Response::Taken(true, _))) {
            self.finish_leave(false);
        } else if self.state.view.as_ref().and_then(View::leader).is_none_or(|leader| leader.peer != self.me) {
            // Somebody else has come to lead meanwhile, and is asked to let this node go.
            leaving.asked = false;
            let left = leaving.deadline.saturating_sub(self.moment.now);
            self.set_timer(Timer::Leave, left);
        } else {
            // The next one; who did not answer is no use as a leader.
            self.drop_out(to);
            if !self.others().is_empty() {
                self.hand_over();
            } else if self.roster.is_empty() {
                self.close();
            } else {
                self.finish_leave(false);
            }
        }
    }

    /// The leader hands its leadership to this node.
    pub(crate) fn on_handover(&mut self, id: RequestId, from: PeerId, view: View, vote: &Vote) {
        let fits = self.leader() == Some(from)
            && vote.voter == from
            && vote.candidate == self.me
            && vote.epoch == view.epoch
            && vote.network == self.setup.network
            && view.leader().is_some_and(|leader| leader.peer == self.me)
            && view.epoch > self.state.epoch
            && self.is_plausible_view(&view)
            && self.can_lead();
        if !fits {
            self.reply(id, Err(Refusal::Invalid("the handover does not come from the leader, or not to this node")));
            return;
        }
        let certificate = Certificate { rank: Rank::Registered, votes: vec![vote.clone()] };
        self.take_office(view, certificate);
        let hint = self.hint();
        self.reply(id, Ok(Response::Taken(true, hint)));
    }

    pub(crate) fn on_leave_answer(&mut self, result: Result<Response, CallError>) {
        let Some(leaving) = &mut self.leaving else { return };
        leaving.hops += 1;
        let may_go_on = leaving.hops < MAX_HOPS;
        match result {
            Ok(Response::NotLeader(hint)) if may_go_on && hint.peer != self.me && self.leader() != Some(hint.peer) => {
                let timeout = self.setup.config.deliver_timeout_ms;
                self.call(Purpose::Leave, hint.peer, hint.address, PeerCall::Leave, timeout);
            }
            // The signed Leave entry is what counts: whoever leads next finds it.
            _ => self.finish_leave(false),
        }
    }

    pub(crate) fn on_leave_timer(&mut self) {
        if self.leaving.as_ref().is_some_and(|leaving| leaving.asked) {
            self.finish_leave(false);
        }
    }

    fn finish_leave(&mut self, closed: bool) {
        let Some(leaving) = self.leaving.take() else { return };
        let written = self.feeds.stored().at(&self.me);
        let held = self.delivery.cursors.values().map(|cursor| cursor.acked).max().unwrap_or(0);
        let unreplicated = if closed { 0 } else { written.saturating_sub(held) };
        self.stop();
        self.done(leaving.command, Ok(Done::Left { unreplicated, closed }));
    }
}
