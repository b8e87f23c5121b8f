//! Delivery of the own feed: for every active member a cursor (up to where it has the feed on disk) and at most
//! one hand-over in flight. Live fan-out, retry and catching up are the same thing: whatever a member lacks goes
//! with the next hand-over. There is no queue of messages.

use std::collections::{BTreeMap, BTreeSet};

use p2p_chat_model::{PeerId, Seq, VectorClock, limits::MAX_MEMBERS};

use crate::{
    engine::{Engine, Purpose},
    io::{CallError, Event, PeerCall, RequestId, Response, RunFacts, Way, Write},
    snapshot::CursorState,
    timers::Timer,
};

/// How often the wait before the next hand-over is doubled at most.
const MAX_DOUBLINGS: u32 = 8;

/// What is known of a member's hold on the own feed.
#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct Cursor {
    pub(crate) acked: Seq,
    in_flight: bool,
    /// Whether a wait was cut short since the last progress.
    hastened: bool,
    /// Failures in a row.
    failures: u32,
    /// Answers in a row that brought no progress, or told that the rest is better fetched.
    fruitless: u32,
    /// Until when entries go by a relay instead of directly.
    relayed_until: u64,
    /// Who passed entries on since the direct way was last open.
    pub(crate) via: Option<PeerId>,
}

#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct Delivery {
    pub(crate) cursors: BTreeMap<PeerId, Cursor>,
    pub(crate) pump_all: bool,
    pump: BTreeSet<PeerId>,
}

impl Delivery {
    pub(crate) fn states(&self, now: u64) -> Vec<CursorState> {
        let state = |(peer, cursor): (&PeerId, &Cursor)| CursorState {
            peer: *peer,
            acked: cursor.acked,
            via: cursor.via.filter(|_| now < cursor.relayed_until),
            failing: cursor.failures > 0,
        };
        self.cursors.iter().map(state).collect()
    }
}

impl Engine {
    /// Whether entries of the own feed are under way to every other active member, so that more would have to wait:
    /// a hint to write more of them together. `false` where there is nobody else.
    pub fn hands_over_to_all(&self) -> bool {
        let is_under_way = |peer: &PeerId| self.delivery.cursors.get(peer).is_some_and(|cursor| cursor.in_flight);
        let active = self.view().map_or(&[][..], |view| &view.active);
        let mut others = active.iter().map(|member| &member.peer).filter(|peer| **peer != self.me).peekable();
        others.peek().is_some() && others.all(is_under_way)
    }

    /// Hands over what active members lack, where nothing is in flight and no wait is on.
    pub(crate) fn pump(&mut self) {
        if std::mem::take(&mut self.delivery.pump_all) {
            self.delivery.pump.extend(self.others());
        }
        for peer in std::mem::take(&mut self.delivery.pump) {
            self.push(peer);
        }
    }

    /// A member has come into the view: it is handed what it lacks.
    pub(crate) fn start_pushing(&mut self, peer: PeerId) {
        let acked = self.state.acked.at(&peer);
        let cursor = self.delivery.cursors.entry(peer).or_insert(Cursor { acked, ..Cursor::default() });
        cursor.failures = 0;
        cursor.fruitless = 0;
        cursor.relayed_until = 0;
        self.timers.clear(Timer::Push(peer));
        self.delivery.pump.insert(peer);
    }

    /// The wait before the next hand-over to `peer` is over.
    pub(crate) fn on_push(&mut self, peer: PeerId) {
        self.delivery.pump.insert(peer);
    }

    fn push(&mut self, peer: PeerId) {
        let last = self.feeds.stored().at(&self.me);
        let waiting = self.timers.is_set(Timer::Push(peer));
        let active = self.is_active(&peer) && peer != self.me;
        let Some(cursor) = self.delivery.cursors.get_mut(&peer) else { return };
        if !active || cursor.in_flight || waiting || cursor.acked >= last {
            return;
        }
        cursor.in_flight = true;
        // Who lacks much is catching up by itself; the newest run asks how far it is.
        let config = &self.setup.config;
        let from = if last - cursor.acked > config.push_gap { last } else { cursor.acked + 1 };
        let upto = last.min(from + config.window_entries - 1);
        let (timeout, relayed) = (config.deliver_timeout_ms, self.moment.now < cursor.relayed_until);
        if relayed && let Some(via) = self.relay_for(peer) {
            let purpose = Purpose::RelayAsk { peer, via };
            self.call_peer(purpose, via, PeerCall::Relay(peer), 2 * timeout);
            return;
        }
        let call = PeerCall::Deliver { author: self.me, from, upto };
        self.call_peer(Purpose::Push(peer), peer, call, timeout);
    }

    pub(crate) fn on_pushed(&mut self, peer: PeerId, result: Result<Response, CallError>) {
        let Some(cursor) = self.delivery.cursors.get_mut(&peer) else { return };
        cursor.in_flight = false;
        match result {
            Ok(Response::Acked(acked)) => {
                cursor.failures = 0;
                cursor.relayed_until = 0;
                cursor.via = None;
                let acked = acked.at(&self.me);
                self.heard(peer);
                self.on_progress(peer, acked, Way::Direct);
            }
            Err(CallError::Unreachable(_)) => self.on_push_failed(peer),
            _ => {
                cursor.failures += 1;
                self.push_later(peer);
            }
        }
    }

    /// An ack: moves the cursor, and goes on or waits.
    fn on_progress(&mut self, peer: PeerId, acked: Seq, way: Way) {
        let before = self.delivery.cursors.get(&peer).map_or(0, |cursor| cursor.acked);
        self.set_acked(peer, acked, way);
        let last = self.feeds.stored().at(&self.me);
        let goes_on = acked >= last || acked > before && last - acked <= self.setup.config.push_gap;
        if goes_on {
            self.delivery.pump.insert(peer);
        } else {
            self.push_later(peer);
        }
        if let Some(cursor) = self.delivery.cursors.get_mut(&peer) {
            cursor.fruitless = if goes_on { 0 } else { MAX_DOUBLINGS.min(cursor.fruitless + 1) };
        }
    }

    fn set_acked(&mut self, peer: PeerId, acked: Seq, way: Way) {
        let acked = acked.min(self.feeds.stored().at(&self.me));
        let Some(cursor) = self.delivery.cursors.get_mut(&peer) else { return };
        let before = std::mem::replace(&mut cursor.acked, acked);
        let is_kept = self.state.acked.at(&peer) > 0 || self.state.acked.len() < MAX_MEMBERS;
        if is_kept {
            self.state.acked.set(peer, acked);
        }
        if acked > before && is_kept {
            cursor.hastened = false;
            self.write(Write::Ack { peer, upto: acked, way });
            self.event(Event::Acked { peer, upto: acked });
        }
    }

    /// A member's frontier was seen: if it has more of the own feed than was acknowledged, it got it elsewhere.
    pub(crate) fn on_frontier_of(&mut self, peer: PeerId, frontier: &VectorClock) {
        let has = frontier.at(&self.me);
        if has <= self.feeds.stored().at(&self.me) {
            self.on_hold(peer, has);
        }
    }

    /// A member has the own feed up to `has`, which is here, too: it says so, or this node has it back from there.
    pub(crate) fn on_hold(&mut self, peer: PeerId, has: Seq) {
        let acked = self.state.acked.at(&peer);
        let cursor = self.delivery.cursors.entry(peer).or_insert(Cursor { acked, ..Cursor::default() });
        if cursor.in_flight {
            return;
        }
        if has != cursor.acked {
            self.set_acked(peer, has, Way::Fetched);
        }
        let lacks = self.feeds.stored().at(&self.me) - has;
        if let Some(cursor) = self.delivery.cursors.get_mut(&peer)
            && lacks <= self.setup.config.push_gap
            && !std::mem::replace(&mut cursor.hastened, true)
        {
            // It answers, so what it still lacks need not wait for the next try: once, until there is progress.
            self.timers.clear(Timer::Push(peer));
        }
        self.delivery.pump.insert(peer);
    }

    fn on_push_failed(&mut self, peer: PeerId) {
        let Some(cursor) = self.delivery.cursors.get_mut(&peer) else { return };
        cursor.failures += 1;
        // Where a relay served before, one failure of the direct way is enough: each costs a whole timeout.
        let use_relay = cursor.failures >= 2 || cursor.via.is_some();
        if self.leader() == Some(peer) || self.is_leading() {
            self.suspect(peer);
        }
        if use_relay && self.relay_for(peer).is_some() {
            let until = self.moment.now + self.setup.config.direct_retry_ms;
            if let Some(cursor) = self.delivery.cursors.get_mut(&peer) {
                cursor.relayed_until = until;
            }
            self.delivery.pump.insert(peer);
        } else {
            self.push_later(peer);
        }
    }

    fn push_later(&mut self, peer: PeerId) {
        let config = &self.setup.config;
        let Some(cursor) = self.delivery.cursors.get_mut(&peer) else { return };
        let doublings = cursor.failures.max(cursor.fruitless).min(MAX_DOUBLINGS);
        let wait = (config.deliver_backoff_ms << doublings).min(config.deliver_backoff_max_ms);
        self.set_timer(Timer::Push(peer), wait);
    }

    /// Who passes entries on to `peer`, whom this node can't reach: whoever reached it on this node's behalf
    /// before, else the leader.
    fn relay_for(&self, peer: PeerId) -> Option<PeerId> {
        let helper = self.liveness.helpers.get(&peer).copied();
        let relay = helper.or_else(|| self.leader()).filter(|relay| *relay != peer && *relay != self.me);
        relay.filter(|relay| self.is_active(relay))
    }

    pub(crate) fn on_relay_answer(&mut self, peer: PeerId, via: PeerId, result: Result<Response, CallError>) {
        let Some(cursor) = self.delivery.cursors.get_mut(&peer) else { return };
        cursor.in_flight = false;
        match result {
            Ok(Response::Relayed(true, acked)) => {
                cursor.failures = 0;
                cursor.via = Some(via);
                // A relay that lacks the own feed can't ask how far the target is.
                let acked = acked.max(cursor.acked);
                self.heard(via);
                self.on_progress(peer, acked, Way::Relayed(via));
                return;
            }
            Err(CallError::Unreachable(_)) if self.leader() == Some(via) => self.suspect(via),
            _ => {}
        }
        self.liveness.helpers.remove(&peer);
        if let Some(cursor) = self.delivery.cursors.get_mut(&peer) {
            cursor.failures += 1;
            cursor.relayed_until = 0;
        }
        self.push_later(peer);
    }

    pub(crate) fn on_deliver(&mut self, id: RequestId, from: PeerId, runs: &[RunFacts]) {
        let mut authors: Vec<PeerId> = runs.iter().map(|run| run.author).collect();
        let mut early = false;
        for run in runs {
            early |= self.take_run(run);
        }
        if early {
            self.on_early(from);
        }
        authors.sort_unstable();
        authors.dedup();
        let acked = authors.into_iter().map(|author| (author, self.feeds.stored().at(&author)));
        let acked = acked.filter(|(_, seq)| *seq > 0).collect();
        self.reply(id, Ok(Response::Acked(acked)));
    }
}
