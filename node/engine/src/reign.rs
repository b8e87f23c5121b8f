//! Which view and which leader is followed: taking views over, telling them, and changing them as leader.
//!
//! A view is taken from the leader of its epoch only. Of two epochs the higher wins; of two leaders of one epoch the
//! better founded one, then the lower id. The epoch is on disk before anything is answered.

use std::collections::{BTreeMap, BTreeSet};

use p2p_chat_model::{ActiveMember, Address, Certificate, Epoch, NodeId, PeerId, Rank, View, Vote, limits};

use crate::{
    durable::Phase,
    engine::{Engine, Purpose},
    io::{CallError, Event, LeaderHint, PeerCall, Refusal, RequestId, Response},
    roster::Roster,
    timers::Timer,
};

/// What a peer was told of a view.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// The view.
    View,
    /// The view, and how its reign was won.
    Reign,
}

impl Engine {
    /// Follows `view` from now on.
    pub(crate) fn adopt(&mut self, view: View, certificate: Option<Certificate>) {
        let old = self.state.view.take();
        let new_reign = old.as_ref().is_none_or(|old| old.epoch != view.epoch || old.leader != view.leader);
        let before = old.map_or(Vec::new(), |old| old.active);
        self.announce_changes(&before, &view.active);
        self.remember_addresses(&view);
        self.state.epoch = self.state.epoch.max(view.epoch);
        self.liveness.in_force_since = self.moment.now;
        if let Some(certificate) = certificate {
            self.state.certificate = certificate;
        }
        self.state.view = Some(view);
        self.forget_strangers();
        self.persist();
        if new_reign {
            self.on_new_reign();
        }
        for gone in before.iter().map(|member| member.peer).filter(|peer| !self.is_active(peer)).collect::<Vec<_>>() {
            self.timers.clear(Timer::Push(gone));
        }
        for peer in self.others() {
            if before.iter().all(|member| member.peer != peer) {
                self.start_pushing(peer);
            }
        }
        if self.node().is_none() {
            self.go_outside(None);
        }
    }

    /// Drops what is known of peers that were active and are not, and that nobody has admitted.
    fn forget_strangers(&mut self) {
        let view = self.state.view.as_ref();
        let is_known = |peer: &PeerId| self.roster.knows(peer) || view.is_some_and(|view| view.member(peer).is_some());
        self.delivery.cursors.retain(|peer, _| is_known(peer));
        self.liveness.forget_all_but(is_known);
    }

    /// Says who has come into the view and who has dropped out of it. Nothing is said of a node's first view.
    fn announce_changes(&mut self, before: &[ActiveMember], after: &[ActiveMember]) {
        if before.is_empty() {
            return;
        }
        let me = self.me;
        let lacks = |list: &[ActiveMember], node: NodeId| list.iter().all(|member| member.node != node);
        for member in after.iter().filter(|new| new.peer != me && lacks(before, new.node)) {
            let back = self.state.addresses.contains_key(&member.peer);
            let event = if back { Event::Returned } else { Event::Joined };
            self.event(event(member.peer, member.node));
        }
        for member in before.iter().filter(|old| old.peer != me && lacks(after, old.node)) {
            let renumbered = after.iter().any(|new| new.peer == member.peer);
            if !renumbered && self.roster.is_member(&member.peer) {
                self.event(Event::DroppedOut(member.peer, member.node));
            }
        }
    }

    fn on_new_reign(&mut self) {
        let lost_since = self.election.lost_since.take().unwrap_or(self.moment.now);
        self.election.end();
        self.forget_record();
        self.liveness.unconfirmed = false;
        self.liveness.clear_suspicions();
        if let Some(view) = self.view()
            && let Some(leader) = view.leader()
        {
            let (leader, node, epoch) = (leader.peer, leader.node, view.epoch);
            let after_ms = self.moment.now - lost_since;
            self.event(Event::LeaderChanged { leader, node, epoch, after_ms });
        }
        for peer in self.others() {
            self.liveness.hear_of(peer, self.moment.now);
        }
        self.arm();
    }

    /// Sets the timers of a leader, or of a follower.
    pub(crate) fn arm(&mut self) {
        self.timers.hasten(Timer::AntiEntropy, self.moment.now + self.setup.config.anti_entropy_ms);
        if self.is_leading() {
            self.timers.clear(Timer::Silence);
            self.set_timer(Timer::Members, self.setup.config.silence_min_ms);
            self.set_timer(Timer::ProbeAway, self.setup.config.probe_away_ms);
            self.renew_soon();
        } else {
            self.timers.clear(Timer::Members);
            self.timers.clear(Timer::ProbeAway);
            self.timers.clear(Timer::Lease);
            self.liveness.leader_pinged = self.moment.now;
            self.arm_silence();
        }
    }

    fn remember_addresses(&mut self, view: &View) {
        for member in &view.active {
            self.state.addresses.insert(member.peer, member.address.clone());
        }
        trim(&mut self.state.addresses, limits::MAX_MEMBERS, &self.roster, Some(view));
    }

    /// Somebody outside the view may have to be called.
    pub(crate) fn remember_address(&mut self, peer: PeerId, address: Address) {
        trim(&mut self.state.addresses, limits::MAX_MEMBERS - 1, &self.roster, self.state.view.as_ref());
        if self.state.addresses.len() < limits::MAX_MEMBERS || self.state.addresses.contains_key(&peer) {
            self.state.addresses.insert(peer, address);
        }
    }

    pub(crate) fn on_update_view(&mut self, id: RequestId, from: PeerId, view: View, vote: Option<Vote>) {
        if let Some(vote) = vote {
            self.on_handover(id, from, view, &vote);
            return;
        }
        if view.leader().is_none_or(|leader| leader.peer != from) {
            self.reply(id, Err(Refusal::Invalid("a view is told by its leader only")));
            return;
        }
        if !self.is_plausible_view(&view) {
            self.reply(id, Err(Refusal::Invalid("the epoch, version or next id is too far ahead")));
            return;
        }
        self.election.second_hand &= self.leader() != Some(from);
        let current = self.view().map(|mine| (mine.epoch, mine.leader, mine.version));
        let taken = match current {
            Some((epoch, leader, version)) if epoch == view.epoch && epoch == self.state.epoch => {
                if leader == view.leader && view.version > version {
                    self.adopt(view, None);
                    true
                } else {
                    leader == view.leader && view.version == version
                }
            }
            _ if view.epoch > self.state.epoch => {
                self.adopt(view, Some(Certificate::founding()));
                true
            }
            _ => false,
        };
        let hint = self.hint();
        self.reply(id, Ok(Response::Taken(taken, hint)));
    }

    pub(crate) fn is_plausible(&self, epoch: Epoch) -> bool {
        epoch.0 <= self.state.epoch.0.saturating_add(limits::MAX_EPOCH_JUMP)
    }

    /// Whether there may be a reign above `epoch`.
    pub(crate) fn can_be_outbid(&self, epoch: Epoch) -> bool {
        self.is_plausible(epoch.next())
    }

    /// Whether the numbers of a view can have been counted up to: nobody can use them up for all.
    pub(crate) fn is_plausible_view(&self, view: &View) -> bool {
        let Some(mine) = self.view() else {
            return view.epoch.0.max(view.version).max(view.next_id.0) <= limits::MAX_NUMBER_JOINED;
        };
        let near = |theirs: u64, mine: u64| theirs <= mine.saturating_add(limits::MAX_VIEW_JUMP);
        self.is_plausible(view.epoch) && near(view.version, mine.version) && near(view.next_id.0, mine.next_id.0)
    }

    /// COORDINATOR came in: from the leader itself, or passed on where that one is out of reach.
    pub(crate) fn on_coordinate(&mut self, id: RequestId, from: PeerId, view: View, certificate: Certificate) {
        let leader = view.leader().map(|leader| leader.peer);
        if leader != Some(from) && !self.is_out_of_reach(&view) {
            self.reply(id, Err(Refusal::Invalid("only the leader itself announces its reign")));
            return;
        }
        if !self.is_plausible_view(&view) {
            self.reply(id, Err(Refusal::Invalid("the epoch, version or next id is too far ahead")));
            return;
        }
        let certificate = self.appraise(certificate, &view);
        let taken = self.is_better(&view, &certificate);
        if taken {
            self.adopt(view, Some(certificate));
        }
        if taken || self.leader() == Some(from) {
            self.election.second_hand = leader != Some(from);
        }
        let follows = taken || self.leader() == leader;
        let hint = self.hint();
        self.reply(id, Ok(Response::Taken(follows, hint)));
    }

    /// The certificate, with no higher rank than its votes are worth here.
    fn appraise(&self, mut certificate: Certificate, view: &View) -> Certificate {
        let leader = view.leader().map(|leader| leader.peer);
        let for_it = |vote: &&Vote| {
            vote.epoch == view.epoch && Some(vote.candidate) == leader && vote.network == self.setup.network
        };
        let votes = certificate.votes.iter().filter(for_it).map(|vote| vote.voter);
        let voters: BTreeSet<PeerId> = votes.filter(|voter| self.admits(voter)).collect();
        if self.view().is_some_and(|mine| !mine.is_majority(voters.len())) {
            certificate.rank = Rank::Registered;
        }
        certificate
    }

    fn is_better(&self, view: &View, certificate: &Certificate) -> bool {
        let Some(mine) = self.view() else { return view.epoch >= self.state.epoch };
        if view.epoch != self.state.epoch || mine.epoch != view.epoch {
            return view.epoch > self.state.epoch;
        }
        if view.leader == mine.leader && view.leader().map(|it| it.peer) == self.leader() {
            return view.version > mine.version;
        }
        let lower_first = |node: NodeId| std::cmp::Reverse(node);
        let theirs = (certificate.rank, lower_first(view.leader));
        theirs > (self.state.certificate.rank, lower_first(mine.leader))
    }

    /// Tells a member who is active.
    pub(crate) fn tell_view(&mut self, peer: PeerId) {
        let Some(view) = self.view().cloned() else { return };
        if self.is_telling(peer) {
            return;
        }
        let timeout = self.setup.config.deliver_timeout_ms;
        self.call_peer(Purpose::Tell(peer), peer, PeerCall::UpdateView(view, None), timeout);
    }

    fn is_telling(&self, peer: PeerId) -> bool {
        self.is_asking(&Purpose::Tell(peer)) || self.is_asking(&Purpose::Announce(peer))
    }

    /// COORDINATOR: tells a peer who leads: this node, or one that does not reach that peer.
    pub(crate) fn coordinate(&mut self, peer: PeerId) {
        let Some(view) = self.view().cloned() else { return };
        if self.is_telling(peer) {
            return;
        }
        let call = PeerCall::Coordinate(view, self.state.certificate.clone());
        let timeout = self.setup.config.deliver_timeout_ms;
        self.call_peer(Purpose::Announce(peer), peer, call, timeout);
    }

    /// A peer has answered what it was told, or has not.
    pub(crate) fn on_told(&mut self, peer: PeerId, told: Told, result: Result<Response, CallError>) {
        match result {
            Ok(Response::Taken(true, _)) => {
                // That others follow a leader does not say that it goes on.
                self.liveness.unconfirmed &= !self.is_leading();
                self.heard(peer);
                // The view may have changed while the call was under way.
                self.compare(peer);
            }
            Ok(Response::Taken(false, hint)) => {
                self.heard(peer);
                self.on_not_followed(peer, told, hint);
            }
            Err(CallError::Unreachable(_)) if self.is_leading() => self.suspect(peer),
            Err(CallError::NotMember(_)) if self.is_leading() => {
                // The leader of another reign has never heard of this node: only a join brings both together.
                if let Some(other) = self.election.challenged.take_if(|other| other.peer == peer) {
                    self.seek(other);
                }
            }
            _ => {}
        }
    }

    /// A member does not follow this leader.
    fn on_not_followed(&mut self, peer: PeerId, told: Told, hint: Option<LeaderHint>) {
        let Some(hint) = hint.filter(|hint| hint.peer != self.me) else { return };
        if !self.is_leading() || hint.epoch > self.state.epoch {
            self.follow_hint(Some(&hint));
        } else if hint.epoch == self.state.epoch && hint.peer == peer && told == Told::Reign {
            // The other leader of this epoch has seen how this reign was won, and finds its own the better founded one.
            self.follow_hint(Some(&hint));
        } else if hint.epoch == self.state.epoch {
            self.remember_address(hint.peer, hint.address);
            self.coordinate(hint.peer);
        }
    }

    /// As leader: puts a changed list of active members into force.
    pub(crate) fn change_view(&mut self, change: impl FnOnce(&mut View)) {
        let Some(mut view) = self.view().cloned() else { return };
        change(&mut view);
        view.version += 1;
        self.adopt(view, None);
        for peer in self.others() {
            self.tell_view(peer);
        }
        self.renew_soon();
    }

    /// As leader: takes a member out of the view. It stays a member.
    pub(crate) fn drop_out(&mut self, peer: PeerId) {
        if self.is_leading() && self.is_active(&peer) && peer != self.me {
            self.keep_record();
            self.change_view(|view| view.active.retain(|member| member.peer != peer));
        }
    }

    /// This node is not in the view: it asks to be let in again, where its leader says that it listens now.
    pub(crate) fn go_outside(&mut self, told: Option<&LeaderHint>) {
        if self.state.phase != Phase::Joined {
            return;
        }
        let leader = self.leader();
        let told = told.filter(|hint| Some(hint.peer) == leader && hint.epoch == self.state.epoch);
        if let Some(hint) = told.cloned().or_else(|| self.hint()) {
            if self.joining.is_none() {
                self.event(Event::Outside);
            }
            self.seek(hint);
        }
    }

    /// Leads from now on: tells everybody, those who were left out too.
    pub(crate) fn take_office(&mut self, view: View, certificate: Certificate) {
        let before = self.others();
        self.stop_seeking();
        self.adopt(view, Some(certificate));
        let told: BTreeSet<PeerId> = before.into_iter().chain(self.others()).collect();
        for peer in told {
            self.coordinate(peer);
        }
    }
}

/// Leaves no more than `most` addresses: who is no member is forgotten first, then who is away.
fn trim(addresses: &mut BTreeMap<PeerId, Address>, most: usize, roster: &Roster, view: Option<&View>) {
    let is_active = |peer: &PeerId| view.is_some_and(|view| view.member(peer).is_some());
    if addresses.len() > most {
        addresses.retain(|peer, _| roster.is_member(peer) || is_active(peer));
    }
    while addresses.len() > most
        && let Some(away) = addresses.keys().find(|peer| !is_active(peer)).copied()
    {
        addresses.remove(&away);
    }
}
