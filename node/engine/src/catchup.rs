//! Anti-entropy (Demers et al. 1987): frontiers are compared on every ping and with a random member now and then;
//! what is missing is fetched from any member that has it, after a grace in which its author may still bring it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use p2p_chat_model::{EntryKind, PeerId, Seq, VectorClock, limits::MAX_MEMBERS};

use crate::{
    engine::{Engine, Purpose},
    feeds::Offer,
    io::{CallError, Event, PeerCall, RequestId, Response, RunFacts, Write},
    timers::Timer,
};

/// What is missing, and from whom it is being fetched.
#[derive(Debug, Clone, Default)]
pub(crate) struct CatchUp {
    /// Frontiers of members that have something this node lacks.
    sources: BTreeMap<PeerId, VectorClock>,
    fetching: Option<(PeerId, VectorClock)>,
    announced: bool,
    /// Members that have not brought all that they say they have, and how often: the others have their turn first.
    turns: BTreeMap<PeerId, u32>,
    /// Members that did not have what they said they have, and until when their word counts for nothing.
    fruitless: BTreeMap<PeerId, u64>,
    /// What members say, or have said, that they have of the own feed beyond what this node has.
    own_claims: BTreeMap<PeerId, OwnClaim>,
    /// Members that handed over what could not be taken yet: they are told when it can.
    early: BTreeSet<PeerId>,
}

/// A member's word that it has more of the own feed than this node.
#[derive(Debug, Clone, Copy, Default)]
struct OwnClaim {
    /// How much; 0 once it says so no longer.
    claimed: Seq,
    /// Since when it says so.
    since: u64,
    /// How long it said so before: its word counts for so long in all, or it could be given again and again.
    before: u64,
}

impl OwnClaim {
    fn make(&mut self, claimed: Seq, now: u64) {
        if self.claimed == 0 {
            self.since = now;
        }
        self.claimed = claimed;
    }

    fn withdraw(&mut self, now: u64) {
        if std::mem::take(&mut self.claimed) > 0 {
            self.before += now.saturating_sub(self.since);
        }
    }
}

impl CatchUp {
    /// Whether the word of somebody counts at `now` that it has more of the own feed than `written`.
    pub(crate) fn is_claimed(&self, written: Seq, now: u64, longest_ms: u64) -> bool {
        let counts = |claim: &OwnClaim| claim.before + now.saturating_sub(claim.since) <= longest_ms;
        self.own_claims.values().any(|claim| claim.claimed > written && counts(claim))
    }

    /// The member to fetch from: of those that have had the fewest turns the one that has most, and how many entries
    /// that is.
    fn best_source(&self, stored: &VectorClock) -> Option<(PeerId, u64)> {
        let turns = |peer: &PeerId| self.turns.get(peer).copied().unwrap_or(0);
        let sources = self.sources.iter().map(|(peer, frontier)| (*peer, count_beyond(frontier, stored)));
        sources.max_by_key(|(peer, missing)| (Reverse(turns(peer)), *missing))
    }

    /// A fetch from `source` has ended, and was all it said it has, or not.
    fn end_turn(&mut self, source: PeerId, is_all: bool) {
        if is_all {
            self.turns.remove(&source);
        } else {
            *self.turns.entry(source).or_default() += 1;
        }
    }

    /// What somebody has and `stored` lacks, as the frontier that would have it all.
    pub(crate) fn missing(&self, stored: &VectorClock) -> VectorClock {
        let mut missing = VectorClock::new();
        for frontier in self.sources.values() {
            missing.merge(&frontier.since(stored));
        }
        missing
    }

    /// Of authors of whom `stored` lacks something: the member that is being asked for it now.
    pub(crate) fn asking(&self, stored: &VectorClock) -> BTreeMap<PeerId, PeerId> {
        let Some((source, _)) = self.fetching else { return BTreeMap::new() };
        let lacking = self.sources.get(&source).map(|frontier| frontier.since(stored));
        lacking.iter().flat_map(VectorClock::iter).map(|(author, _)| (author, source)).collect()
    }
}

/// How many entries `frontier` has beyond `stored`.
pub(crate) fn count_beyond(frontier: &VectorClock, stored: &VectorClock) -> u64 {
    frontier.iter().fold(0, |sum, (author, seq)| sum.saturating_add(seq.saturating_sub(stored.at(&author))))
}

impl Engine {
    /// Another member's frontier was seen.
    pub(crate) fn learn_frontier(&mut self, peer: PeerId, frontier: &VectorClock) {
        self.on_frontier_of(peer, frontier);
        if self.catchup.fruitless.get(&peer).is_some_and(|until| self.moment.now < *until) {
            return;
        }
        self.learn_own_claim(peer, frontier.at(&self.me));
        // Nothing more is taken of a feed that contradicts itself.
        let wanted = frontier.iter().filter(|(author, _)| !self.state.frozen.contains(author)).collect();
        let missing = count_beyond(&wanted, self.feeds.stored());
        if missing == 0 {
            self.catchup.sources.remove(&peer);
            self.tell_caught_up();
            return;
        }
        self.catchup.sources.insert(peer, wanted);
        let many = missing > self.setup.config.window_entries;
        let grace = if many || !self.may_write() { 0 } else { self.setup.config.fetch_grace_ms };
        self.timers.hasten(Timer::CatchUp, self.moment.now + grace);
    }

    /// A member says how much of the own feed it has. If that is more than is on this disk, nothing is written until it
    /// has been fetched, or has turned out not to exist.
    fn learn_own_claim(&mut self, peer: PeerId, claimed: Seq) {
        self.timers.clear(Timer::OwnWord);
        let written = self.feeds.stored().at(&self.me);
        if claimed > written {
            self.catchup.own_claims.entry(peer).or_default().make(claimed, self.moment.now);
            return;
        }
        self.withdraw_own_claim(&peer);
        self.on_word_of_own_feed(peer);
    }

    /// A member says that it has no more of the own feed than this node. The leader's word is enough.
    pub(crate) fn on_word_of_own_feed(&mut self, peer: PeerId) {
        if self.leader() == Some(peer) {
            self.settle_own_floor(self.feeds.stored().at(&self.me));
        }
    }

    fn withdraw_own_claim(&mut self, peer: &PeerId) {
        if let Some(claim) = self.catchup.own_claims.get_mut(peer) {
            claim.withdraw(self.moment.now);
        }
    }

    /// Nobody has more of the own feed than `written`.
    fn settle_own_floor(&mut self, written: Seq) {
        let is_claimed = self.catchup.is_claimed(written, self.moment.now, self.setup.config.own_claim_ms);
        if !is_claimed && self.state.own_floor > written {
            self.state.own_floor = written;
            self.persist();
        }
    }

    pub(crate) fn on_catch_up(&mut self) {
        if self.catchup.fetching.is_some() {
            return;
        }
        let stored = self.feeds.stored().clone();
        self.catchup.sources.retain(|_, frontier| !stored.covers(frontier));
        let Some((source, missing)) = self.catchup.best_source(&stored) else { return };
        let timeout = self.setup.config.fetch_timeout_ms;
        // What is left of a feed that contradicts itself can be long, and nothing of it is taken.
        let fetch = PeerCall::Fetch(stored.clone(), self.state.frozen.clone());
        if !self.call_peer(Purpose::Fetch(source), source, fetch, timeout) {
            self.catchup.sources.remove(&source);
            self.timers.hasten(Timer::CatchUp, self.moment.now);
            return;
        }
        self.catchup.fetching = Some((source, stored));
        self.set_timer(Timer::FetchTurn, self.setup.config.fetch_turn_ms);
        if missing > self.setup.config.window_entries && !self.catchup.announced {
            self.catchup.announced = true;
            self.event(Event::CatchingUp { missing, from: source });
        }
    }

    pub(crate) fn on_fetched(&mut self, source: PeerId, runs: &[RunFacts]) {
        self.heard(source);
        for run in runs {
            self.take_run(run);
        }
        if let Some(own) = runs.iter().filter(|run| run.author == self.me).map(RunFacts::last).max() {
            let has = own.max(self.acked_by(&source)).min(self.feeds.stored().at(&self.me));
            self.on_hold(source, has);
        }
    }

    /// A fetch takes long. Whatever its source still has, it gives others a turn: or one that never ends, and brings
    /// little, would keep this node from what they have.
    pub(crate) fn on_fetch_turn(&mut self) {
        let Some((source, _)) = self.catchup.fetching.take() else { return };
        self.forget_calls(&Purpose::Fetch(source));
        self.catchup.end_turn(source, false);
        self.timers.hasten(Timer::CatchUp, self.moment.now);
    }

    pub(crate) fn on_fetch_done(&mut self, source: PeerId, result: Result<Response, CallError>) {
        let Some((_, before)) = self.catchup.fetching.take() else { return };
        self.timers.clear(Timer::FetchTurn);
        let stored = self.feeds.stored().clone();
        // What others brought meanwhile is not this source's doing.
        let lacked =
            |frontier: &VectorClock| frontier.since(&before).iter().any(|(it, _)| stored.at(&it) > before.at(&it));
        let brought = self.catchup.sources.get(&source).is_some_and(lacked);
        let is_all = self.catchup.sources.get(&source).is_none_or(|frontier| stored.covers(frontier));
        self.catchup.end_turn(source, is_all);
        if result.is_err() || !brought {
            self.catchup.sources.remove(&source);
            if !is_all && result.is_ok() {
                let until = self.moment.now + self.setup.config.fruitless_ms;
                self.catchup.fruitless.insert(source, until);
            }
        }
        if result.is_ok() {
            self.withdraw_own_claim(&source);
            self.settle_own_floor(stored.at(&self.me));
        }
        self.catchup.sources.retain(|_, frontier| !stored.covers(frontier));
        if brought {
            for peer in std::mem::take(&mut self.catchup.early) {
                self.compare(peer);
            }
        }
        if !self.catchup.sources.is_empty() {
            self.timers.hasten(Timer::CatchUp, self.moment.now);
        } else if result.is_ok() {
            self.tell_caught_up();
        }
    }

    /// Ends what [`Event::CatchingUp`] began, once nothing known of is missing.
    fn tell_caught_up(&mut self) {
        let done = self.catchup.sources.is_empty() && self.catchup.fetching.is_none();
        if done && std::mem::take(&mut self.catchup.announced) {
            self.event(Event::CaughtUp);
        }
    }

    /// Serves a member that catches up; its frontier is as good as any other.
    pub(crate) fn on_fetch(&mut self, id: RequestId, from: PeerId, have: VectorClock, not_of: &BTreeSet<PeerId>) {
        let mut beyond = have.clone();
        for author in not_of {
            beyond.raise(*author, self.feeds.stored().at(author));
        }
        self.reply(id, Ok(Response::Serve(beyond)));
        self.learn_frontier(from, &have);
    }

    /// Somebody handed over what can't be taken yet: what is missing before it?
    pub(crate) fn on_early(&mut self, from: PeerId) {
        self.catchup.early.insert(from);
        self.compare(from);
    }

    /// Tells `peer` this node's standing and frontier, and learns the peer's.
    pub(crate) fn compare(&mut self, peer: PeerId) {
        let attempt = self.leave_attempt();
        let purpose = attempt.map_or(Purpose::Compare(peer), |attempt| Purpose::LeaveCheck(peer, attempt));
        if peer == self.me || self.is_asking(&purpose) {
            return;
        }
        let mut standing = self.standing(&peer);
        standing.frontier = Some(self.feeds.stored().clone());
        let timeout = self.setup.config.ping_timeout_ms;
        self.call_peer(purpose, peer, PeerCall::Ping(standing), timeout);
    }

    pub(crate) fn on_compared(&mut self, peer: PeerId, result: Result<Response, CallError>) {
        match result {
            Ok(Response::Standing(standing)) => {
                self.heard(peer);
                self.learn(peer, &standing);
            }
            Err(CallError::Unreachable(_)) if self.is_leading() && self.is_active(&peer) => self.suspect(peer),
            _ => {}
        }
    }

    pub(crate) fn on_anti_entropy(&mut self) {
        let mut witnesses = self.feeds.witnesses_of_missing();
        witnesses.retain(|peer| *peer != self.me && self.is_active(peer));
        // Who leaves wants to know soon that somebody has everything; who lacks something, who has it.
        let config = &self.setup.config;
        let period = match (self.leaving.is_some(), witnesses.is_empty()) {
            (true, _) => config.join_retry_ms,
            (false, true) => config.anti_entropy_ms,
            (false, false) => config.missing_retry_ms,
        };
        let jitter = self.draw(period / 4 + 1);
        self.set_timer(Timer::AntiEntropy, period - period / 8 + jitter);
        let random = self.choose(&self.others());
        // Their authors had seen what entries wait for here. Not only they are asked: one may say so and not have it.
        let witness = self.choose(&witnesses.into_iter().collect::<Vec<_>>());
        for peer in random.into_iter().chain(witness) {
            self.compare(peer);
        }
        self.seek_admission();
    }

    /// Whether entries of `author` may be stored. Where somebody has contradicted itself, the admissions that it wrote
    /// may never arrive: then the word of the leader counts, who could as well write another one, and that of members
    /// whose entries depend on the author's.
    fn may_take(&self, author: &PeerId) -> bool {
        // Own entries, and frontiers, name no more authors than that.
        let stored = self.feeds.stored();
        if stored.at(author) == 0 && stored.iter().filter(|(peer, _)| *peer != self.me).count() >= MAX_MEMBERS - 1 {
            return false;
        }
        let vouched_for = || self.is_active(author) || self.feeds.is_waited_for(author);
        self.roster.knows(author) || !self.state.frozen.is_empty() && vouched_for()
    }

    /// Takes a run in, if it continues its feed. Returns whether it came too early.
    pub(crate) fn take_run(&mut self, run: &RunFacts) -> bool {
        let founds = run.entries.first().is_some_and(|entry| entry.kind == EntryKind::Genesis);
        if !founds && !self.may_take(&run.author) {
            return true;
        }
        let caps = (self.setup.config.max_held_per_feed, self.setup.config.max_held);
        match self.feeds.offer(run.author, run.first, run.previous, &run.entries, &self.roster, caps) {
            Offer::Taken => {
                self.write(Write::Run(run.token));
                for op in run.entries.iter().filter_map(|entry| entry.op.as_ref()) {
                    self.roster.announce(run.author, op);
                }
                self.deliver_ready();
                if self.feeds.held() > 0 {
                    self.timers.hasten(Timer::AntiEntropy, self.moment.now + self.setup.config.missing_retry_ms);
                }
                false
            }
            Offer::Fork(seq) => {
                if self.feeds.freeze(run.author) {
                    self.write(Write::Fork(run.token));
                    self.state.frozen.insert(run.author);
                    self.persist();
                    self.event(Event::Equivocation { author: run.author, seq });
                }
                false
            }
            Offer::TooEarly => true,
            Offer::Duplicate | Offer::Refused => false,
        }
    }
}
