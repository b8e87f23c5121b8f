//! The way out: the wait until another member has everything, the signed Leave entry, the hand-over of a leader.

use std::collections::BTreeSet;

use p2p_chat_model::{Certificate, PeerId, Rank, RosterOp, Seq, VectorClock, View, Vote};

use crate::{
    durable::Phase,
    engine::{Engine, Purpose},
    io::{CallError, CommandError, CommandId, DiscoveryAnswer, Done, PeerCall, Refusal, RequestId, Response, Standing},
    roster::Member,
    timers::Timer,
};

/// How many leaders are asked one after the other, each named by the one before.
const MAX_HOPS: u32 = 8;

/// This node's way out.
#[derive(Debug, Clone, Hash)]
pub(crate) struct Leaving {
    /// `None` after a restart: the Leave is signed, and only has to be told.
    command: Option<CommandId>,
    /// Whether to go even if nobody else has what is here.
    force: bool,
    /// The try that is under way: what was said in answer to an earlier one does not count.
    attempt: u64,
    /// A member that leaves, too, and goes first. Until it is gone this node stays, and can be counted on.
    after: Option<PeerId>,
    /// What was here when this try began; others have to have it, too.
    past: VectorClock,
    /// What a member has that has all of that.
    covering: Option<VectorClock>,
    /// The Leave entry, once it is written: the point of no return.
    entry: Option<Seq>,
    /// How long the next step may wait for others.
    deadline: u64,
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
    pub(crate) fn on_leave_command(&mut self, command: CommandId, wait_ms: u64, force: bool) {
        // Who is not in yet has nothing that the others could lack.
        let force = force || self.state.phase == Phase::Joining;
        if self.leaving.is_some() || !self.is_whole() && !force {
            self.done(command, Err(CommandError::Busy));
            return;
        }
        self.begin_to_leave(Some(command), wait_ms, force);
        self.timers.hasten(Timer::AntiEntropy, self.moment.now);
    }

    fn begin_to_leave(&mut self, command: Option<CommandId>, wait_ms: u64, force: bool) {
        self.leave_attempts += 1;
        self.leaving = Some(Leaving {
            command,
            force,
            attempt: self.leave_attempts,
            after: None,
            past: self.feeds.stored().clone(),
            covering: None,
            entry: None,
            deadline: self.moment.now + wait_ms,
            asked: false,
            hops: 0,
            closing: None,
        });
        self.set_timer(Timer::Leave, wait_ms);
    }

    /// The program ended between the signed Leave and the end of leaving. Until somebody has the Leave, all others list a
    /// member that is away: it is handed over first, if that takes no longer than one try.
    pub(crate) fn resume_leaving(&mut self) {
        for peer in self.others() {
            self.start_pushing(peer);
        }
        self.begin_to_leave(None, self.setup.config.deliver_timeout_ms, true);
        if let Some(leaving) = &mut self.leaving {
            leaving.entry = Some(self.feeds.stored().at(&self.me));
        }
    }

    /// The try to leave that is under way, unless somebody else goes first.
    pub(crate) fn leave_attempt(&self) -> Option<u64> {
        self.leaving.as_ref().filter(|leaving| leaving.after.is_none()).map(|leaving| leaving.attempt)
    }

    /// Of those that leave at once the highest id goes first, and can count on the others meanwhile.
    pub(crate) fn on_others_way(&mut self, peer: PeerId, theirs: &Standing) {
        let node = |peer: &PeerId| self.view().and_then(|view| view.member(peer)).map(|member| member.node);
        let is_ahead = theirs.leaving && node(&peer) > node(&self.me);
        if let Some(leaving) = self.leaving.as_mut().filter(|leaving| leaving.entry.is_none()) {
            if is_ahead {
                leaving.after.get_or_insert(peer);
                leaving.covering = None;
            } else if leaving.after == Some(peer) {
                self.try_to_leave_again();
            }
        }
    }

    fn try_to_leave_again(&mut self) {
        self.leave_attempts += 1;
        if let Some(leaving) = &mut self.leaving {
            (leaving.after, leaving.covering) = (None, None);
            (leaving.attempt, leaving.past) = (self.leave_attempts, self.feeds.stored().clone());
        }
        self.timers.hasten(Timer::AntiEntropy, self.moment.now);
    }

    /// An active member says what it has. If that is everything, and it stays itself, this node may go. Only what it says
    /// after this try has begun counts: of two that leave at once, one then knows that the other does. Who follows no
    /// view is on its way in only, and may never get there.
    pub(crate) fn on_leave_checked(&mut self, peer: PeerId, attempt: u64, result: &Result<Response, CallError>) {
        let Ok(Response::Standing(theirs)) = result else { return };
        let same = (theirs.digest == self.feeds.digest()).then(|| self.feeds.stored().clone());
        let Some(frontier) = same.or_else(|| theirs.frontier.clone()) else { return };
        let stays = !theirs.leaving && theirs.version > 0 && self.is_active(&peer);
        if let Some(leaving) =
            self.leaving.as_mut().filter(|leaving| leaving.after.is_none() && leaving.attempt == attempt)
            && stays
            && frontier.covers(&leaving.past)
        {
            leaving.covering = Some(frontier);
        }
    }

    /// Goes on with leaving: first others get what is here, then one of them the signed Leave, then the leader is asked.
    pub(crate) fn advance_leave(&mut self) {
        if self.leaving.as_ref().is_some_and(|leaving| leaving.entry.is_none()) {
            self.prepare_leave();
        }
        let Some(Leaving { entry: Some(entry), asked: false, deadline, command, .. }) = &self.leaving else { return };
        if self.is_last() || self.has_been_handed_over(*entry) || self.moment.now >= *deadline {
            // After a restart, whoever leads has found out that this node was gone, or will.
            if command.is_some() || self.is_last() { self.ask_to_leave() } else { self.finish_leave(false) }
        }
    }

    /// Signs the Leave once another member has everything. If none has in time, nothing has changed.
    fn prepare_leave(&mut self) {
        let Some(Leaving { command, force, deadline, after, .. }) = self.leaving else { return };
        if after.is_some_and(|peer| !self.is_active(&peer) || !self.roster.is_member(&peer)) {
            self.try_to_leave_again();
        }
        let written = self.feeds.stored().at(&self.me);
        let is_late = self.moment.now >= deadline;
        let is_safe = self.leave_attempt().is_some() && self.is_covered() && self.has_been_handed_over(written);
        let may_go = self.is_last() || is_safe || force && is_late;
        if may_go && self.is_whole() {
            self.sign_leave();
        } else if is_late && force {
            // It is not in yet, or lacks what it has written itself, and who could help may never come back: to the others
            // it is a member that is away.
            self.finish_leave(false);
        } else if is_late {
            self.leaving = None;
            self.timers.clear(Timer::Leave);
            let error = if may_go { CommandError::Busy } else { CommandError::OnlyHere(self.unreplicated()) };
            if let Some(command) = command {
                self.done(command, Err(error));
            }
        }
    }

    fn sign_leave(&mut self) {
        self.state.phase = Phase::Leaving;
        // An answer that lets this node in again must not call the leave off.
        self.stop_seeking();
        self.persist();
        let (entry, _) = self.append(None, Some(RosterOp::Leave));
        // Time for one hand-over of it, at least.
        let soonest = self.moment.now + self.setup.config.deliver_timeout_ms;
        if let Some(leaving) = &mut self.leaving {
            leaving.entry = Some(entry);
            leaving.deadline = leaving.deadline.max(soonest);
            let wait = leaving.deadline - self.moment.now;
            self.set_timer(Timer::Leave, wait);
        }
    }

    /// Whether nobody else is a member. Members that are away may come back in time to take what nobody else has.
    fn is_last(&self) -> bool {
        let is_other = |(peer, member): (&PeerId, &Member)| *peer != self.me && member.stands();
        self.others().is_empty() && !self.roster.iter().any(is_other)
    }

    /// Whether an active member has the own feed up to there.
    fn has_been_handed_over(&self, upto: Seq) -> bool {
        let has = |peer: &PeerId| self.delivery.cursors.get(peer).is_some_and(|cursor| cursor.acked >= upto);
        self.others().iter().any(has)
    }

    /// Whether a member that stays has what was here when the leave was asked for, and all of those who have left since.
    /// What else came later, its author has.
    fn is_covered(&self) -> bool {
        let Some(theirs) = self.leaving.as_ref().and_then(|leaving| leaving.covering.as_ref()) else { return false };
        let is_kept = |(author, last): (PeerId, Seq)| {
            author == self.me || self.roster.is_member(&author) || theirs.at(&author) >= last
        };
        self.feeds.stored().iter().all(is_kept)
    }

    /// How many own entries nobody else is known to have.
    fn unreplicated(&self) -> u64 {
        let others = self.roster.iter().filter(|(peer, member)| **peer != self.me && member.stands());
        let held = others.map(|(peer, _)| self.acked_by(peer)).max().unwrap_or(0);
        self.feeds.stored().at(&self.me).saturating_sub(held)
    }

    fn ask_to_leave(&mut self) {
        if let Some(leaving) = &mut self.leaving {
            leaving.asked = true;
        }
        self.set_timer(Timer::Leave, self.setup.config.leave_timeout_ms);
        let timeout = self.setup.config.deliver_timeout_ms;
        if self.others().is_empty() && self.is_leading() {
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
        let Some(closing) = self.leaving.as_mut().and_then(|leaving| leaving.closing.as_mut()) else {
            // Asked for while the network was founded, which another service has registered since: so does this one.
            if self.state.phase == Phase::Joined {
                self.close_later(service);
            }
            return;
        };
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
        self.remember_vote(view.epoch, successor.peer);
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
        let unreplicated = if closed { 0 } else { self.unreplicated() };
        self.stop();
        if let Some(command) = leaving.command {
            self.done(command, Ok(Done::Left { unreplicated, closed }));
        }
    }
}
