//! The election: Bully (Garcia-Molina 1982) with the LOWEST id winning, fenced by epochs and votes. The side of those
//! who are asked is in `voting`.
//!
//! ```text
//! Idle --leader lost--> Lower: ELECTION to every lower id
//!   a lower id takes over --> Awaiting COORDINATOR --too long--> Idle, suspect the leader again
//!   somebody reaches the leader --> Idle
//!   no lower id answers --> Votes: own vote on disk, ELECTION to every higher id
//!     --> Registering: the discovery service decides, the votes where it can't
//!           won --> leader of the new epoch      lost --> BackOff --> Lower
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hash, Hasher},
};

use p2p_chat_model::{ActiveMember, Certificate, Epoch, NodeId, PeerId, Rank, View, Vote};

use crate::{
    engine::{Engine, Purpose},
    io::{CallError, DiscoveryAnswer, DiscoveryCall, DiscoveryRefusal, Event, LeaderHint, PeerCall, Record, Response},
    registration::Asked,
    timers::Timer,
};

/// After so many failures in a row, for whatever reason, a candidate leaves the way to higher ids.
const FAILURES_BEFORE_OTHERS: u32 = 2;
/// After so many, whom a discovery service can't call back may be elected by votes: others had time to stand meanwhile.
const FAILURES_BEFORE_VOTES: u32 = 4;

#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
enum Stage {
    #[default]
    Idle,
    Lower {
        waiting: BTreeSet<PeerId>,
    },
    Awaiting,
    Votes {
        waiting: BTreeSet<PeerId>,
    },
    Registering {
        service: usize,
        tries: u32,
    },
    BackOff,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Election {
    stage: Stage,
    epoch: Epoch,
    votes: BTreeMap<PeerId, Vote>,
    failures: u32,
    /// Whether this node stands from outside the view.
    outside: bool,
    /// When the leader was found missing.
    pub(crate) lost_since: Option<u64>,
    /// The highest epoch that somebody has promised a vote for.
    promised: Epoch,
    /// The highest epoch whose leader did not let this node in.
    unreachable: Epoch,
    /// Another leader of the same epoch, as a discovery service says, who has been told of this one.
    pub(crate) challenged: Option<LeaderHint>,
    /// When this leader may stand again to win a record back.
    reassert_at: u64,
    /// Whether the view that is followed was passed on by others, and its leader has not been heard since.
    pub(crate) second_hand: bool,
}

impl Election {
    pub(crate) fn is_idle(&self) -> bool {
        self.stage == Stage::Idle
    }

    /// The reign of `epoch` can't be reached: whoever stands next has to go above it, and need not hear of it again.
    pub(crate) fn outbid(&mut self, epoch: Epoch) {
        self.promised = self.promised.max(epoch);
        self.unreachable = self.unreachable.max(epoch);
    }

    /// Whether an election has just failed, and the leader is looked at again only later.
    pub(crate) fn backs_off(&self) -> bool {
        self.stage == Stage::BackOff
    }

    /// Whether this node stands again and again, and never wins: a higher id may.
    pub(crate) fn is_in_vain(&self) -> bool {
        self.failures >= FAILURES_BEFORE_OTHERS
    }

    /// The leader lives after all. Returns whether it was missing.
    pub(crate) fn abort(&mut self) -> bool {
        if matches!(self.stage, Stage::Registering { .. }) {
            return false;
        }
        (self.stage, self.failures) = (Stage::Idle, 0);
        self.lost_since.take().is_some()
    }

    /// Whatever stage it was in says nothing any more. A leader that was missing still is, until it is heard.
    pub(crate) fn pause(&mut self) {
        if !matches!(self.stage, Stage::Registering { .. }) {
            self.stage = Stage::Idle;
        }
    }

    /// There is a leader.
    pub(crate) fn end(&mut self) {
        self.stage = Stage::Idle;
        self.failures = 0;
        self.votes.clear();
    }
}

impl Hash for Election {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        // All votes are for this candidate and this epoch, so their voters tell them; and since when the leader is
        // missing only shows in an event.
        (&self.stage, self.epoch, self.failures, self.outside, self.lost_since.is_some(), self.promised).hash(hasher);
        self.unreachable.hash(hasher);
        self.votes.keys().for_each(|voter| voter.hash(hasher));
        (self.votes.len(), &self.challenged, self.reassert_at, self.second_hand).hash(hasher);
    }
}

impl Engine {
    /// Nobody reaches the leader.
    pub(crate) fn on_leader_lost(&mut self, since: u64) {
        if self.is_leading() || self.node().is_none() {
            return;
        }
        self.miss_leader(since);
        if self.election.is_idle() || self.election.backs_off() {
            if self.can_lead() {
                self.stand();
            } else {
                self.fail();
                self.seek_anybody();
            }
        }
    }

    /// Says that the leader is missing.
    fn miss_leader(&mut self, since: u64) {
        if self.election.lost_since.is_none() {
            self.election.lost_since = Some(since);
            self.event(Event::Leaderless(self.state.epoch));
        }
    }

    /// The leader is missing, and the others follow a later one. Until that one lets this node in, it has none.
    pub(crate) fn on_leader_replaced(&mut self, since: u64, by: &LeaderHint) {
        if by.epoch <= self.election.unreachable && !self.is_leading() && self.node().is_some() {
            self.miss_leader(since);
        }
    }

    /// Whether the leader of this view does not let this node in: it follows what others pass on of that view.
    pub(crate) fn is_out_of_reach(&self, view: &View) -> bool {
        let Some(leader) = view.leader().filter(|_| view.member(&self.me).is_some()) else { return false };
        let is_later = view.epoch > self.state.epoch && view.epoch <= self.election.unreachable;
        let is_same = view.epoch == self.state.epoch && self.leader() == Some(leader.peer);
        is_later || is_same && self.election.second_hand
    }

    /// Who can't write admits nobody, and who is on its way out leads nobody any more.
    pub(crate) fn can_lead(&self) -> bool {
        self.is_whole() && self.roster.is_member(&self.me)
    }

    /// Stands for the next reign: asks the lower ids first.
    fn stand(&mut self) {
        let Some(mine) = self.node() else { return };
        self.election.epoch = self.next_epoch();
        self.election.votes.clear();
        let lower = self.others_where(|node, peer, leader| node < mine && Some(peer) != leader);
        if lower.is_empty() {
            self.seek_votes();
            return;
        }
        self.election.stage = Stage::Lower { waiting: lower.iter().copied().collect() };
        self.ask_to_elect(&lower, mine);
    }

    fn next_epoch(&self) -> Epoch {
        let promised = if self.can_be_outbid(self.election.promised) { self.election.promised } else { Epoch(0) };
        let least = self.state.epoch.max(promised).next();
        match self.state.vote {
            // It stands once more for what it stood for before: or one that never wins would use the epochs up.
            Some((voted, candidate)) if candidate == self.me => voted.max(least),
            Some((voted, _)) => voted.next().max(least),
            None => least,
        }
    }

    fn others_where(&self, is_meant: impl Fn(NodeId, PeerId, Option<PeerId>) -> bool) -> Vec<PeerId> {
        let leader = self.leader();
        let active = self.view().map_or(&[][..], |view| &view.active);
        let others = active.iter().filter(|member| member.peer != self.me);
        others.filter(|member| is_meant(member.node, member.peer, leader)).map(|member| member.peer).collect()
    }

    fn ask_to_elect(&mut self, peers: &[PeerId], mine: NodeId) {
        let timeout = self.setup.config.elect_timeout_ms;
        let epoch = self.election.epoch;
        self.set_timer(Timer::Election, timeout + self.setup.config.ping_timeout_ms);
        for peer in peers {
            self.call_peer(Purpose::Elect(*peer, epoch), *peer, PeerCall::Elect(epoch, mine), timeout);
        }
    }

    /// No lower id answers: this node is the candidate, votes for itself and asks the higher ids.
    fn seek_votes(&mut self) {
        let Some(mine) = self.node() else { return };
        self.vote_for_itself();
        let leading = self.is_leading();
        let higher = self.others_where(|node, peer, leader| node > mine && (leading || Some(peer) != leader));
        self.election.stage = Stage::Votes { waiting: higher.iter().copied().collect() };
        if higher.is_empty() {
            self.register_reign();
        } else {
            self.ask_to_elect(&higher, mine);
        }
    }

    fn vote_for_itself(&mut self) {
        let epoch = self.next_epoch();
        self.election.epoch = epoch;
        self.election.outside = self.node().is_none();
        self.remember_vote(epoch, self.me);
        let vote = Vote::cast(&self.setup.identity, self.setup.network, epoch, self.me);
        // Lower ids that leave the way to this one have voted by now.
        self.election.votes.retain(|_, earlier| earlier.epoch == epoch);
        self.election.votes.insert(self.me, vote);
    }

    /// This member is outside the view, and finds nobody who would let it in: whoever was active may have left, or be
    /// lost for good. Only a discovery service can grant it a reign, having asked the leader on record.
    pub(crate) fn stand_outside(&mut self) {
        let busy = !self.election.is_idle() && self.election.stage != Stage::BackOff;
        if busy || self.node().is_some() || self.view().is_none() || self.setup.services == 0 || !self.can_lead() {
            return;
        }
        self.vote_for_itself();
        self.election.stage = Stage::Registering { service: 0, tries: 0 };
        self.ask_newly(0);
    }

    /// As leader: the same epoch, or a later one, is on record for another leader that can't be found. Wins it back.
    pub(crate) fn reassert(&mut self, above: Epoch) {
        let due = self.moment.now >= self.election.reassert_at;
        if due && self.election.is_idle() && self.can_be_outbid(above) {
            self.election.reassert_at = self.moment.now + self.setup.config.lease_retry_ms;
            self.election.promised = self.election.promised.max(above);
            self.seek_votes();
        }
    }

    pub(crate) fn on_elect_answer(&mut self, peer: PeerId, epoch: Epoch, result: Result<Response, CallError>) {
        if result.is_ok() {
            self.liveness.hear_of(peer, self.moment.now);
        }
        // An answer to an earlier candidacy says nothing about this one.
        if epoch != self.election.epoch {
            return;
        }
        match (&result, &self.election.stage) {
            // A leader that goes above a reign which it has heard of need not hear of it again.
            (Ok(Response::Outdated(hint)), _) if hint.epoch < self.election.epoch && self.is_leading() => {}
            (Ok(Response::Outdated(hint)), _) if hint.epoch > self.state.epoch.max(self.election.unreachable) => {
                self.election.abort();
                let hint = hint.clone();
                self.follow_hint(Some(&hint));
                return;
            }
            (Ok(Response::LeaderAlive), Stage::Lower { .. } | Stage::Votes { .. }) if !self.is_leading() => {
                if let Some(leader) = self.leader() {
                    self.liveness.helpers.insert(leader, peer);
                    self.heard(leader);
                }
                return;
            }
            (Ok(Response::TakeOver), Stage::Lower { .. }) => {
                self.election.stage = Stage::Awaiting;
                self.set_timer(Timer::Election, self.setup.config.coordinator_timeout_ms);
                return;
            }
            (Ok(Response::Promised(epoch)), _) => self.election.promised = self.election.promised.max(*epoch),
            (Ok(Response::Voted(vote)), Stage::Lower { .. } | Stage::Votes { .. }) => self.count(peer, vote.clone()),
            (Err(CallError::NotMember(_)), _) => self.seek_at(peer),
            _ => {}
        }
        self.answered(peer);
    }

    fn count(&mut self, peer: PeerId, vote: Vote) {
        let fits = vote.voter == peer
            && vote.epoch == self.election.epoch
            && vote.candidate == self.me
            && vote.network == self.setup.network
            && self.is_active(&peer);
        if fits {
            self.election.votes.insert(peer, vote);
        }
    }

    /// `peer` has answered, or won't: goes on when nobody's answer can change anything any more.
    fn answered(&mut self, peer: PeerId) {
        // Who leads already is in no hurry: it stands since the leader on some record has to consent, whose vote may be last.
        let is_enough = self.has_majority() && !self.is_leading();
        match &mut self.election.stage {
            Stage::Lower { waiting } => {
                waiting.remove(&peer);
                if waiting.is_empty() {
                    self.seek_votes();
                }
            }
            Stage::Votes { waiting } => {
                waiting.remove(&peer);
                if waiting.is_empty() || is_enough {
                    self.register_reign();
                }
            }
            Stage::Idle | Stage::Awaiting | Stage::Registering { .. } | Stage::BackOff => {}
        }
    }

    /// Whether more than half of the view votes for this node. Who has left the view since it voted does not count;
    /// and one vote, the own, is no majority of anything: the others may only have dropped out of this node's view.
    fn has_majority(&self) -> bool {
        let votes = self.election.votes.keys().filter(|voter| self.is_active(voter)).count();
        votes > 1 && self.view().is_some_and(|view| view.is_majority(votes))
    }

    pub(crate) fn on_election_timer(&mut self) {
        match self.election.stage {
            Stage::Lower { .. } => self.seek_votes(),
            Stage::Votes { .. } => self.register_reign(),
            Stage::Awaiting | Stage::BackOff => {
                self.election.stage = Stage::Idle;
                if let Some(leader) = self.leader() {
                    self.suspect(leader);
                }
            }
            Stage::Idle | Stage::Registering { .. } => {}
        }
    }

    /// Puts the case before the discovery services, one after the other.
    fn register_reign(&mut self) {
        self.election.stage = Stage::Registering { service: 0, tries: 0 };
        self.ask_service(self.state.epoch);
    }

    fn ask_service(&mut self, expected: Epoch) {
        let Stage::Registering { service, .. } = self.election.stage else { return };
        if service >= self.setup.services {
            self.decide_alone();
            return;
        }
        let Some(view) = self.next_reign() else {
            self.fail();
            return;
        };
        let (votes, serial) = (self.election.votes.values().cloned().collect(), self.next_serial(service));
        self.discover(service, Asked::Reign, DiscoveryCall::Update { view, expected, votes, serial });
    }

    /// Nothing is on record, or a view that is too old to know this member: it shows its admission.
    fn ask_newly(&mut self, service: usize) {
        let (Some(view), Some(admission)) = (self.next_reign(), self.roster.admission_chain(&self.me)) else {
            self.fail();
            return;
        };
        let serial = self.next_serial(service);
        self.discover(service, Asked::Reign, DiscoveryCall::Create { view, admission, serial });
    }

    /// The view this candidate would lead: without the leader before and without the lower ids that did not answer;
    /// with the next id if it stands from outside. `None` if it was let in or has dropped out since.
    fn next_reign(&self) -> Option<View> {
        let mut view = self.view()?.clone();
        let mine = self.node().xor(self.election.outside.then_some(view.next_id))?;
        if self.election.outside {
            view.next_id = mine.next();
            let (address, join_request) = (self.setup.address.clone(), self.state.join_request);
            view.active.push(ActiveMember { node: mine, peer: self.me, address, join_request });
        }
        view.active.retain(|member| member.node >= mine);
        // It may have started again elsewhere since that view.
        for member in view.active.iter_mut().filter(|member| member.node == mine) {
            member.address = self.setup.address.clone();
        }
        view.epoch = self.election.epoch;
        view.version += 1;
        view.leader = mine;
        Some(view)
    }

    pub(crate) fn on_reign_answer(&mut self, service: usize, result: Result<DiscoveryAnswer, CallError>) {
        let Stage::Registering { service: current, tries } = self.election.stage else { return };
        if current != service {
            return;
        }
        match result {
            Ok(DiscoveryAnswer::Accepted(record)) if self.is_own_reign(&record) => self.win(),
            Ok(DiscoveryAnswer::Refused(why, record, serial)) => {
                self.see_serial(service, serial);
                let on_record = record.leader.epoch;
                self.go_beyond_own(&record);
                let again = matches!(why, DiscoveryRefusal::Epoch | DiscoveryRefusal::Outdated);
                if again && on_record < self.election.epoch && tries < 2 {
                    self.election.stage = Stage::Registering { service, tries: tries + 1 };
                    self.ask_service(on_record);
                } else if why == DiscoveryRefusal::NotActive {
                    self.election.challenged = Some(record.leader);
                    self.ask_newly(service);
                } else if on_record > self.state.epoch {
                    self.fail();
                    self.follow_hint(Some(&record.leader));
                } else if why == DiscoveryRefusal::Unreachable && self.election.failures >= FAILURES_BEFORE_VOTES {
                    // Nobody asks it in vain for ever to be led by whom it can't call back.
                    self.ask_next_service(service);
                } else {
                    self.fail();
                }
            }
            Ok(DiscoveryAnswer::Unknown) => {
                self.election.challenged = None;
                self.ask_newly(service);
            }
            // The leader on record answers and leads. If its reign is an earlier one, it has never heard of the later
            // one, nor of this member perhaps: asked to let it in, it does.
            // Whom nobody votes for gets no further with another service either.
            Err(CallError::Exists(_)) if self.election.challenged.is_some() || self.election.outside => {
                self.fail();
                if let Some(leader) = self.election.challenged.take() {
                    self.seek(leader);
                }
            }
            // It can't judge (it may know another network of this name), or answers what was asked for an earlier
            // election: the next one, or the votes.
            Ok(DiscoveryAnswer::Accepted(_) | DiscoveryAnswer::Closed) | Err(_) => self.ask_next_service(service),
        }
    }

    /// A reign of this node is on record that it has forgotten, as its disk was set back.
    pub(crate) fn go_beyond_own(&mut self, record: &Record) {
        if record.leader.peer == self.me && self.can_be_outbid(record.leader.epoch) {
            self.election.promised = self.election.promised.max(record.leader.epoch);
        }
    }

    fn ask_next_service(&mut self, service: usize) {
        self.election.stage = Stage::Registering { service: service + 1, tries: 0 };
        self.ask_service(self.state.epoch);
    }

    fn is_own_reign(&self, record: &Record) -> bool {
        record.leader.peer == self.me && record.leader.epoch == self.election.epoch
    }

    fn decide_alone(&mut self) {
        // Who leads already gains nothing that a service would know of.
        if self.has_majority() && !self.is_leading() { self.win() } else { self.fail() }
    }

    fn win(&mut self) {
        let rank = if self.has_majority() { Rank::Majority } else { Rank::Registered };
        let votes = self.election.votes.values().cloned().collect();
        match self.next_reign() {
            Some(view) => self.take_office(view, Certificate { rank, votes }),
            // Dropped out of the view meanwhile.
            None => self.fail(),
        }
    }

    fn fail(&mut self) {
        let config = &self.setup.config;
        let doublings = self.election.failures.min(8);
        let wait = (config.election_backoff_ms << doublings).min(config.election_backoff_max_ms);
        self.election.failures += 1;
        self.election.stage = Stage::BackOff;
        let jitter = self.draw(wait / 2 + 1);
        self.set_timer(Timer::Election, wait / 2 + jitter);
        self.timers.hasten(Timer::ProbeAway, self.moment.now + self.setup.config.probe_away_ms);
    }
}
