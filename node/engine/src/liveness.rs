//! Who is alive. A failed ping is not a verdict: two other members are asked to ping the suspect (SWIM, Das,
//! Gupta and Motivala 2002), and only if they can't either it counts as lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hash, Hasher},
};

use p2p_chat_model::PeerId;

use crate::{
    engine::{Engine, Purpose},
    io::{CallError, Event, LeaderHint, PeerCall, Refusal, RequestId, Response, Standing},
    timers::Timer,
};

#[derive(Debug, Clone, Default)]
pub(crate) struct Liveness {
    /// When something was last heard of a member.
    heard: BTreeMap<PeerId, u64>,
    suspects: BTreeMap<PeerId, Suspicion>,
    /// Who reached a member that this node could not reach.
    pub(crate) helpers: BTreeMap<PeerId, PeerId>,
    /// Whether the reign in the view is from before a restart, and nobody has said since that it goes on.
    pub(crate) unconfirmed: bool,
    /// Since when the view is followed as it is.
    pub(crate) in_force_since: u64,
    /// When the leader was last pinged for its silence, or would have been.
    pub(crate) leader_pinged: u64,
    /// Who is pinged on whose behalf.
    pinging_for: BTreeMap<RequestId, PeerId>,
}

#[derive(Debug, Clone)]
struct Suspicion {
    since: u64,
    /// Who was asked and has not answered yet.
    asked: BTreeSet<PeerId>,
}

impl Liveness {
    pub(crate) fn is_suspect(&self, peer: &PeerId) -> bool {
        self.suspects.contains_key(peer)
    }

    /// Counts `peer` as heard of at `now`.
    pub(crate) fn hear_of(&mut self, peer: PeerId, now: u64) {
        self.heard.insert(peer, now);
    }

    /// Of how many something was heard after `then`.
    pub(crate) fn heard_since(&self, then: u64) -> usize {
        self.heard.values().filter(|heard| **heard > then).count()
    }

    /// Drops what is known of others.
    pub(crate) fn forget_all_but(&mut self, is_known: impl Fn(&PeerId) -> bool) {
        self.heard.retain(|peer, _| is_known(peer));
        self.helpers.retain(|peer, _| is_known(peer));
    }

    /// The requests that wait for a ping.
    pub(crate) fn take_requests(&mut self) -> Vec<RequestId> {
        std::mem::take(&mut self.pinging_for).into_keys().collect()
    }

    pub(crate) fn clear_suspicions(&mut self) {
        self.suspects.clear();
    }

    /// Only who leads asks of whom it was heard lately, and since when somebody is suspected shows in events only. Since when
    /// the view is in force is left out, too: it only delays what a follower passes on; and when the leader was pinged, which
    /// only shortens a wait that is hashed itself.
    pub(crate) fn hash<H: Hasher>(&self, is_leading: bool, hasher: &mut H) {
        is_leading.then_some(&self.heard).hash(hasher);
        self.suspects.iter().for_each(|(peer, suspicion)| (peer, &suspicion.asked).hash(hasher));
        (self.suspects.len(), &self.helpers, self.unconfirmed, &self.pinging_for).hash(hasher);
    }
}

impl Engine {
    /// Authenticated traffic of `peer` came in: it lives.
    pub(crate) fn heard(&mut self, peer: PeerId) {
        self.liveness.heard.insert(peer, self.moment.now);
        self.liveness.suspects.remove(&peer);
        if self.leader() == Some(peer) && !self.is_leading() {
            self.liveness.unconfirmed = false;
            if self.election.abort() {
                self.event(Event::LeaderBack(peer));
            }
            self.arm_silence();
        }
    }

    /// Starts the wait for the leader's next sign of life anew. However much it says otherwise, it is pinged now and then:
    /// only that tells where it stands, and whether it leads at all.
    pub(crate) fn arm_silence(&mut self) {
        let config = &self.setup.config;
        let (least, span) = (config.silence_min_ms, config.silence_max_ms - config.silence_min_ms);
        let latest = self.liveness.leader_pinged + config.member_silence_ms;
        let wait = least + self.draw(span + 1);
        self.set_timer(Timer::Silence, wait.min(latest.saturating_sub(self.moment.now).max(1)));
    }

    pub(crate) fn on_silence(&mut self) {
        if self.is_leading() || self.node().is_none() {
            return;
        }
        self.liveness.leader_pinged = self.moment.now;
        self.arm_silence();
        if let Some(leader) = self.leader().filter(|_| self.election.is_idle()) {
            self.suspect(leader);
        }
    }

    /// Where this node stands, as told to `peer`.
    pub(crate) fn standing(&mut self, peer: &PeerId) -> Standing {
        Standing {
            leader: self.hint(),
            epoch: self.state.epoch,
            version: self.view().map_or(0, |view| view.version),
            digest: self.feeds.digest(),
            frontier: None,
            peer_active: self.is_active(peer),
            leaving: self.leave_attempt().is_some(),
        }
    }

    pub(crate) fn on_ping(&mut self, id: RequestId, from: PeerId, theirs: Standing) {
        let mut mine = self.standing(&from);
        if theirs.digest != mine.digest {
            mine.frontier = Some(self.feeds.stored().clone());
        }
        self.reply(id, Ok(Response::Standing(mine)));
        self.learn(from, &theirs);
    }

    /// Draws the conclusions from where another member stands.
    pub(crate) fn learn(&mut self, peer: PeerId, theirs: &Standing) {
        if theirs.leader.as_ref().is_some_and(|leader| leader.peer == self.me && leader.epoch == self.state.epoch) {
            self.liveness.unconfirmed = false;
        }
        let has_a_say = self.admits(&peer);
        if let Some(frontier) = theirs.frontier.as_ref().filter(|_| has_a_say) {
            self.learn_frontier(peer, frontier);
        } else if has_a_say && theirs.digest == self.feeds.digest() {
            self.timers.clear(Timer::OwnWord);
            self.on_word_of_own_feed(peer);
        }
        self.on_others_way(peer, theirs);
        if theirs.epoch > self.state.epoch {
            self.follow_hint(theirs.leader.as_ref());
        } else if self.is_leading() {
            self.look_after(peer, theirs);
        } else if self.leader() != Some(peer) {
            self.compare_views(peer, theirs);
        } else if theirs.epoch == self.state.epoch {
            if !theirs.peer_active {
                self.go_outside(theirs.leader.as_ref());
            } else if theirs.leader.as_ref().is_some_and(|leader| leader.peer != peer) {
                // It has given way to another leader of this epoch: so does who followed it.
                self.follow_hint(theirs.leader.as_ref());
            }
        }
    }

    /// Another follower has an earlier view, or a later one. The leader tells everybody; one that does not hear it is told
    /// by others, and one that has missed it asks.
    fn compare_views(&mut self, peer: PeerId, theirs: &Standing) {
        let Some((version, leader)) = self.view().zip(self.leader()).map(|(view, leader)| (view.version, leader))
        else {
            return;
        };
        let is_same = theirs.epoch == self.state.epoch && theirs.leader.as_ref().is_some_and(|it| it.peer == leader);
        let is_behind = theirs.epoch < self.state.epoch || is_same && theirs.version < version;
        let in_force = self.moment.now.saturating_sub(self.liveness.in_force_since);
        if is_same && theirs.version > version {
            self.compare(leader);
        } else if is_behind && in_force > self.setup.config.member_silence_ms && self.is_active(&peer) {
            self.coordinate(peer);
        }
    }

    /// As leader: brings a member up to date that follows an older view, or another leader of the same epoch.
    fn look_after(&mut self, peer: PeerId, theirs: &Standing) {
        let other = theirs.leader.as_ref().is_some_and(|leader| leader.peer != self.me);
        let behind = theirs.epoch < self.state.epoch || other;
        if behind {
            self.coordinate(peer);
        } else if self.view().is_some_and(|view| theirs.version < view.version) && self.is_active(&peer) {
            self.tell_view(peer);
        }
    }

    /// Somebody says who leads a later reign, or the same one: asks that leader to be let in.
    pub(crate) fn follow_hint(&mut self, hint: Option<&LeaderHint>) {
        if let Some(hint) = hint.filter(|hint| hint.epoch >= self.state.epoch && hint.peer != self.me) {
            self.seek(hint.clone());
        }
    }

    /// Starts to doubt that `peer`, the leader or one of this leader's members, lives.
    pub(crate) fn suspect(&mut self, peer: PeerId) {
        if peer == self.me || !self.is_active(&peer) || self.liveness.is_suspect(&peer) {
            return;
        }
        let standing = self.standing(&peer);
        let timeout = self.setup.config.ping_timeout_ms;
        self.liveness.suspects.insert(peer, Suspicion { since: self.moment.now, asked: BTreeSet::new() });
        self.call_peer(Purpose::Suspect(peer), peer, PeerCall::Ping(standing), timeout);
    }

    pub(crate) fn on_suspect_pinged(&mut self, peer: PeerId, result: Result<Response, CallError>) {
        if let Ok(Response::Standing(standing)) = result {
            self.liveness.helpers.remove(&peer);
            if self.has_resigned(&peer, &standing) {
                self.on_lost(peer);
                return;
            }
            self.heard(peer);
            self.election.second_hand &= self.leader() != Some(peer);
            let differs = standing.digest != self.feeds.digest();
            self.learn(peer, &standing);
            if differs && standing.frontier.is_none() {
                self.compare(peer);
            }
            return;
        }
        if !self.liveness.is_suspect(&peer) {
            return;
        }
        if result == Ok(Response::Alive) {
            if self.may_be_joining(&peer) {
                self.liveness.suspects.remove(&peer);
                return;
            }
            if self.leader() == Some(peer) {
                // It may have learnt of a leave from before this node came back; or it has left: others know.
                self.go_outside(None);
            }
        }
        let mut others: Vec<PeerId> = self.others().into_iter().filter(|other| *other != peer).collect();
        let mut asked = BTreeSet::new();
        while asked.len() < self.setup.config.indirect_pings
            && let Some(via) = self.choose(&others)
        {
            others.retain(|other| *other != via);
            let timeout = self.setup.config.indirect_timeout_ms;
            self.call_peer(Purpose::Indirect { target: peer, via }, via, PeerCall::PingVia(peer), timeout);
            asked.insert(via);
        }
        let nobody = asked.is_empty();
        if let Some(suspicion) = self.liveness.suspects.get_mut(&peer) {
            suspicion.asked = asked;
        }
        if nobody {
            self.on_lost(peer);
        }
    }

    /// As leader: whether `peer`, who takes no part or does not know this leader, may be a joiner whose answer was lost. It
    /// asks again, for as long as a join may take.
    fn may_be_joining(&self, peer: &PeerId) -> bool {
        let is_recent = |heard: &u64| self.moment.now < heard + self.setup.config.join_timeout_ms;
        self.is_leading() && self.liveness.heard.get(peer).is_some_and(is_recent)
    }

    pub(crate) fn on_indirect(&mut self, target: PeerId, via: PeerId, result: Result<Response, CallError>) {
        let Some(suspicion) = self.liveness.suspects.get_mut(&target) else { return };
        // An answer that was asked for under an earlier suspicion is no evidence for this one.
        let last = suspicion.asked.remove(&via) && suspicion.asked.is_empty();
        match result {
            Ok(Response::Pinged(true, hint)) => {
                self.liveness.helpers.insert(target, via);
                self.heard(target);
                // A leader that has moved can be met where it is now; one that leads no more, or has given way to another
                // of its epoch, is out of the way.
                let known = self.address_of(&target);
                let news = |hint: &LeaderHint| {
                    hint.epoch > self.state.epoch || hint.peer != target || Some(&hint.address) != known.as_ref()
                };
                if self.leader() == Some(target) {
                    self.follow_hint(hint.filter(news).as_ref());
                }
                return;
            }
            Ok(Response::Pinged(false, hint)) => {
                let later = |hint: &LeaderHint| hint.epoch > self.state.epoch;
                if let Some(hint) = hint.filter(later) {
                    let since = suspicion.since;
                    self.liveness.suspects.remove(&target);
                    if self.leader() == Some(target) {
                        self.on_leader_replaced(since, &hint);
                    }
                    self.follow_hint(Some(&hint));
                    return;
                }
            }
            _ => {}
        }
        if last {
            self.on_lost(target);
        }
    }

    /// Whether the leader answers, but leads no more: it knows nothing of its reign since it left, or it follows
    /// another one that this node can't find.
    pub(crate) fn has_resigned(&self, peer: &PeerId, theirs: &Standing) -> bool {
        let elsewhere = theirs.leader.as_ref().is_none_or(|leader| leader.peer != *peer) && self.seeks_in_vain();
        self.leader() == Some(*peer) && !self.is_leading() && (theirs.epoch < self.state.epoch || elsewhere)
    }

    /// Nobody who was asked reaches `peer`.
    fn on_lost(&mut self, peer: PeerId) {
        let Some(suspicion) = self.liveness.suspects.remove(&peer) else { return };
        if self.leader() == Some(peer) {
            self.on_leader_lost(suspicion.since);
        } else if self.is_leading() {
            self.drop_out(peer);
        }
    }

    pub(crate) fn on_ping_via(&mut self, id: RequestId, target: PeerId) {
        let full = self.liveness.pinging_for.len() >= self.setup.config.max_pending_requests;
        if full || target == self.me || !self.is_active(&target) {
            let no = Response::Pinged(false, self.hint());
            self.reply(id, if full { Err(Refusal::Busy("too many pings are under way")) } else { Ok(no) });
            return;
        }
        let standing = self.standing(&target);
        let timeout = self.setup.config.ping_timeout_ms;
        self.liveness.pinging_for.insert(id, target);
        self.call_peer(Purpose::PingFor(id), target, PeerCall::Ping(standing), timeout);
    }

    pub(crate) fn on_pinged_for(&mut self, id: RequestId, result: Result<Response, CallError>) {
        let Some(target) = self.liveness.pinging_for.remove(&id) else { return };
        let reached = matches!(&result, Ok(Response::Standing(theirs)) if !self.has_resigned(&target, theirs));
        if let Ok(Response::Standing(standing)) = result {
            self.heard(target);
            self.learn(target, &standing);
        }
        let hint = self.hint();
        self.reply(id, Ok(Response::Pinged(reached, hint)));
    }

    /// The leader's round: who was silent for long is looked after.
    pub(crate) fn on_members(&mut self) {
        if !self.is_leading() {
            return;
        }
        self.set_timer(Timer::Members, self.setup.config.silence_min_ms);
        let silent_since = self.moment.now.saturating_sub(self.setup.config.member_silence_ms);
        for peer in self.others() {
            let heard = self.liveness.heard.entry(peer).or_insert(self.moment.now);
            if *heard < silent_since {
                self.suspect(peer);
            }
        }
    }

    /// Calls on one member that is away: so a healed partition is found even without a discovery service.
    pub(crate) fn on_probe_away(&mut self) {
        if !self.is_leading() && self.election.lost_since.is_none() {
            return;
        }
        self.set_timer(Timer::ProbeAway, self.setup.config.probe_away_ms);
        let away = |peer: &PeerId| *peer != self.me && !self.is_active(peer);
        let members = self.roster.iter().filter(|(_, member)| member.stands()).map(|(peer, _)| *peer);
        let away: Vec<PeerId> = members.filter(away).collect();
        if let Some(peer) = self.choose(&away) {
            self.compare(peer);
        }
    }

    /// One of `peers`, by chance.
    pub(crate) fn choose(&mut self, peers: &[PeerId]) -> Option<PeerId> {
        let index = self.draw(peers.len() as u64);
        peers.get(index as usize).copied()
    }

    /// The engine was called far too late: it is itself the sick one. Nobody is suspected for that time.
    pub(crate) fn on_stall(&mut self) {
        self.liveness.clear_suspicions();
        self.election.pause();
        let now = self.moment.now;
        self.liveness.heard.values_mut().for_each(|heard| *heard = now);
        if self.is_leading() {
            self.renew_soon();
            self.timers.hasten(Timer::ProbeAway, now);
            let mut others = self.others();
            for _ in 0..=self.setup.config.indirect_pings {
                if let Some(peer) = self.choose(&others) {
                    others.retain(|other| *other != peer);
                    self.compare(peer);
                }
            }
        } else if self.timers.is_set(Timer::Silence) {
            self.liveness.leader_pinged = now;
            self.arm_silence();
        }
    }
}
